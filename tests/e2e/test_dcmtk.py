"""dcmtk's tools against a server started as in the README, on every database."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.databases import DATABASES, Databases, free_port
from tests.served import Served

CT = Path(str(get_testdata_file("CT_small.dcm")))
RLE = Path(str(get_testdata_file("MR_small_RLE.dcm")))
MANY = CT.parent / "dicomdirtests"


@dataclass
class Site:
    """A server, and a peer that it may send to."""

    served: Served
    received: Path

    def run(self, tool: str, *options: str, files: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        peer = ["127.0.0.1", str(self.served.dicom_port)]
        command = [tool, "-aec", "FILEROOM", *options, *peer, *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", params=DATABASES)
def site(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dcmtk")
    received, port = folder / "received", free_port()
    received.mkdir()
    configuration = folder / "fileroom.toml"
    configuration.write_text(f'[[peers]]\nae_title = "STORESCP"\nhost = "127.0.0.1"\nport = {port}\n')
    peer = subprocess.Popen(["storescp", "-aet", "STORESCP", "+xa", "-od", str(received), str(port)])
    try:
        with (
            databases.fresh(request.param, folder) as url,
            Served(folder / "data", url, "--config", str(configuration)) as served,
        ):
            yield Site(served, received)
    finally:
        peer.kill()
        peer.wait()


def found(output: str) -> int:
    return output.count("(Pending)")


def test_echoscu(site: Site) -> None:
    assert site.run("echoscu", "-v").returncode == 0


def test_storescu_findscu_getscu_movescu(site: Site, tmp_path: Path) -> None:
    sent = site.run("storescu", "-v", files=(CT,))
    assert sent.returncode == 0, sent.stderr
    sent = site.run("storescu", "-v", "-xr", files=(RLE,))
    assert sent.returncode == 0, sent.stderr
    dataset = dcmread(CT)

    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={dataset.StudyInstanceUID}"]
    answer = site.run("findscu", "-v", "-S", *keys, "-k", "PatientName=compressed*")
    assert answer.returncode == 0, answer.stderr
    assert found(answer.stdout + answer.stderr) == 1
    assert "CompressedSamples^CT1" in answer.stdout + answer.stderr

    got = tmp_path / "got"
    got.mkdir()
    answer = site.run("getscu", "-v", "-S", *keys, "-od", str(got))
    assert answer.returncode == 0, answer.stderr
    [path] = got.iterdir()
    # getscu writes lengths of sequences in its own way, and leaves out Data Set Trailing Padding
    sent_values = dataset.to_json_dict()
    sent_values.pop("FFFCFFFC")
    assert dcmread(path).to_json_dict() == sent_values

    answer = site.run("movescu", "-v", "-S", "-aem", "STORESCP", *keys)
    assert answer.returncode == 0, answer.stderr
    moved = [path for path in site.received.iterdir() if dataset.SOPInstanceUID in path.name]
    assert [dcmread(path).PixelData for path in moved] == [dataset.PixelData]


def test_movescu_of_a_compressed_object(site: Site) -> None:
    assert site.run("storescu", "-xr", files=(RLE,)).returncode == 0
    dataset = dcmread(RLE)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={dataset.StudyInstanceUID}"]
    answer = site.run("movescu", "-v", "-S", "-aem", "STORESCP", *keys)
    assert answer.returncode == 0, answer.stderr
    [moved] = [path for path in site.received.iterdir() if dataset.SOPInstanceUID in path.name]
    assert dcmread(moved).file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert dcmread(moved).PixelData == dataset.PixelData


def test_movescu_to_nobody_is_told_so(site: Site) -> None:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2"]
    answer = site.run("movescu", "-v", "-S", "-aem", "NOBODY", *keys)
    assert "MoveDestinationUnknown" in answer.stdout + answer.stderr


def test_dcmsend_of_a_folder(site: Site) -> None:
    sent = site.run("dcmsend", "+sd", "+r", "--no-halt", files=(MANY,))
    assert sent.returncode == 0, sent.stderr
    objects = [path for path in MANY.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM"]
    uids = {dataset.SOPInstanceUID for path in objects if "SOPInstanceUID" in (dataset := dcmread(path))}
    studies = {dataset.StudyInstanceUID for path in objects if "StudyInstanceUID" in (dataset := dcmread(path))}
    total = 0
    for study in studies:
        keys = [
            "-k",
            "QueryRetrieveLevel=SERIES",
            "-k",
            f"StudyInstanceUID={study}",
            "-k",
            "NumberOfSeriesRelatedInstances",
        ]
        answer = site.run("findscu", "-v", "-S", *keys)
        total += sum(map(int, re.findall(r"\(0020,1209\) IS \[(\d+) *\]", answer.stdout + answer.stderr)))
    assert total == len(uids)


def test_findscu_at_each_level_of_patient_root(site: Site) -> None:
    assert site.run("storescu", files=(CT,)).returncode == 0
    dataset = dcmread(CT)
    unique = [
        ("PATIENT", f"PatientID={dataset.PatientID}"),
        ("STUDY", f"StudyInstanceUID={dataset.StudyInstanceUID}"),
        ("SERIES", f"SeriesInstanceUID={dataset.SeriesInstanceUID}"),
        ("IMAGE", f"SOPInstanceUID={dataset.SOPInstanceUID}"),
    ]
    keys: list[str] = []
    for level, key in unique:
        keys += ["-k", key]
        answer = site.run("findscu", "-v", "-P", "-k", f"QueryRetrieveLevel={level}", *keys)
        assert found(answer.stdout + answer.stderr) == 1, (level, answer.stderr)
