"""Where viewers look for the bulk data that metadata point at."""

import pytest

from fileroom_server.doctor.links import bulk_data_uris, bulk_data_url

BASE = "https://pacs.example.org/fileroom/dicom-web"


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("https://elsewhere.example.org/b/1", "https://elsewhere.example.org/b/1"),
        ("/fileroom/dicom-web/b/1", "https://pacs.example.org/fileroom/dicom-web/b/1"),
        ("instances/3/bulkdata/00420011", f"{BASE}/studies/1/series/2/instances/3/bulkdata/00420011"),
        ("series/2/instances/3/bulkdata/00420011", f"{BASE}/studies/1/series/2/instances/3/bulkdata/00420011"),
        ("bulkdata/00420011", f"{BASE}/studies/1/bulkdata/00420011"),
        ("../../bulkdata/00420011", f"{BASE}/studies/1/bulkdata/00420011"),
    ],
)
def test_the_url_that_ohif_asks_for(uri: str, url: str) -> None:
    assert bulk_data_url(uri, BASE, "1", "2") == url


def test_uris_in_sequences_count_and_those_of_pixels_do_not() -> None:
    waveform = {"vr": "SQ", "Value": [{"54001010": {"vr": "OW", "BulkDataURI": "inner"}}, None]}
    assert list(bulk_data_uris({"54000100": waveform, "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}})) == ["inner"]
