"""A fileroom with an object of each kind that the doctor looks for, and a server before it that spoils answers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from pydicom.data import get_testdata_file

from fileroom_server.doctor.examination import Examination, Plan, examine
from fileroom_server.doctor.findings import CLIENTS
from fileroom_server.doctor.prober import Prober
from tests.dicomweb.objects import data_set, multipart, part10
from tests.made import uid
from tests.served import Served
from tests.server.doctor.spoiling_proxy import Spoil, SpoilingProxy

# a compressed image, two frames, a waveform, a segmentation, a report
FILES = ("JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "waveform_ecg.dcm", "liver_1frame.dcm", "reportsi.dcm")
PDF = b"%PDF-1.4\n" + b"% nothing to read here\n" * 400 + b"%%EOF\n"
PATIENT = "Zebrawood^Quill"

Examine = Callable[..., Examination]


def objects() -> Iterator[bytes]:
    for name in FILES:
        yield Path(str(get_testdata_file(name))).read_bytes()
    for number in (1, 2):
        yield part10(
            data_set(
                StudyInstanceUID=uid(700),
                SeriesInstanceUID=uid(700, 1),
                SOPInstanceUID=uid(700, 1, number),
                PatientName=PATIENT,
                PatientID="MRN-700",
                AccessionNumber="ACC-700",
                StudyDescription="Thorax",
                SeriesDescription="Slices",
                StudyDate="20200229",
                StudyTime="101112",
                InstanceNumber=number,
            )
        )
    yield part10(
        data_set(
            SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1",
            Modality="DOC",
            Rows=None,
            Columns=None,
            PixelData=None,
            MIMETypeOfEncapsulatedDocument="application/pdf",
            EncapsulatedDocument=PDF + b"\0" * (len(PDF) % 2),
        )
    )


def store(url: str) -> None:
    content_type = 'multipart/related; type="application/dicom"; boundary=a-boundary'
    answer = requests.post(
        f"{url}/studies", data=multipart(*objects()), headers={"Content-Type": content_type}, timeout=60
    )
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The real server; nothing is changed in it by tests."""
    with Served(tmp_path_factory.mktemp("archive") / "data") as served:
        store(served.dicomweb)
        yield served


@pytest.fixture
def spoiled(archive: Served) -> Iterator[Callable[[Spoil], str]]:
    """The URL of a server that answers as the archive does, spoiled by a function."""
    proxies = []

    def start(spoil: Spoil) -> str:
        proxies.append(SpoilingProxy(archive.url, spoil))
        return f"{proxies[-1].url}/dicom-web"

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def examined() -> Examine:
    """What the doctor makes of the server at a URL."""

    def run(url: str, timeout: float = 60, **plan: object) -> Examination:
        plan.setdefault("clients", CLIENTS)
        prober = Prober(url, timeout=timeout)
        return examine(Plan(url, **plan), prober, lambda _done, _total, _what: None)  # type: ignore[arg-type]  # by name

    return run
