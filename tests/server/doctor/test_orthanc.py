"""Another real server: Debian's Orthanc, whose ways are known."""

from pathlib import Path

from fileroom_server.doctor.findings import Client, Outcome, Severity
from fileroom_server.doctor.viewer_configuration import ohif_data_source
from tests.server.doctor.conftest import Examine, store
from tests.server.doctor.orthanc import Orthanc


def test_orthanc(tmp_path: Path, examined: Examine) -> None:
    with Orthanc(tmp_path / "orthanc") as orthanc:
        store(orthanc.dicomweb)
        examination = examined(orthanc.dicomweb, store=True)
    assert examination.fatal is None
    broken = {(f.client, f.request) for f in examination.findings if f.severity is Severity.BREAKS}
    # the ECG viewer of OHIF asks for one part, and this release serves bulk data in parts only
    assert broken == {(Client.OHIF, "waveform")}
    limited = {(f.client, f.request, f.code) for f in examination.findings if f.severity is Severity.LIMITED}
    assert (Client.OHIF, "several studies", "uid-list") in limited
    assert (Client.OHIF, "study list", "attribute-missing") in limited
    assert (Client.WEASIS, "rendered preview", "status-400") in limited
    for client, request in (
        (Client.OHIF, "series metadata"),
        (Client.CORNERSTONE, "last frame of many"),
        (Client.WEASIS, "whole series"),
        (Client.DICOMWEB_CLIENT, "retrieve_bulkdata"),
        (Client.DICOMWEB_CLIENT, "store_instances"),
        (Client.OHIF, "filter by name"),
    ):
        result = examination.result(client, request)
        assert result is not None
        assert result.outcome is not Outcome.NOT_TRIED
        assert result.outcome is not Outcome.BREAKS
    # it has no DELETE in DICOMweb
    assert examination.stays is not None
    source = ohif_data_source(examination)
    assert source["imageRendering"] == "wadors"
    assert source["qidoSupportsIncludeField"] is False
    assert source["supportsFuzzyMatching"] is False
    assert source["wadoUriRoot"].endswith("/wado")
