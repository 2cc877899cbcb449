"""Accept, as clients are known to send it: each gets something, and what it can use."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from pydicom import dcmread
from pydicom.uid import generate_uid

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.storage import Storage, StorageSettings
from tests.corpus import PYDICOM
from tests.dicomweb.objects import data_set, json_of, part10

JSON = "application/dicom+json"
OCTETS = "application/octet-stream"
FILES = {
    "native": "MR_small.dcm",
    "RLE": "MR_small_RLE.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG": "SC_rgb_small_odd_jpeg.dcm",
}
CORNERSTONE = "multipart/related; type=application/octet-stream; transfer-syntax=*"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
AXIOS = "application/json, text/plain, */*"


@dataclass(frozen=True)
class Archive:
    """The paths of the instances by the names of FILES, and of `PDF`."""

    client: FlaskClient
    paths: dict[str, str]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with Storage.open(StorageSettings(tmp_path_factory.mktemp("accept") / "data")) as storage:
        storage.create_schema_if_empty()
        client = create_app(storage, DicomwebSettings()).test_client()
        paths = {name: _store(client, _of_its_own(file)) for name, file in FILES.items()}
        document = {"EncapsulatedDocument": bytes(5000), "MIMETypeOfEncapsulatedDocument": "application/pdf"}
        paths["PDF"] = _store(client, part10(data_set(PixelData=None, **document)))
        yield Archive(client, paths)


def _of_its_own(name: str) -> bytes:
    """The file as an instance of its own: several are the same one, encoded in different ways."""
    ds = dcmread(PYDICOM / "test_files" / name)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    buffer = BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def _store(client: FlaskClient, content: bytes) -> str:
    answer = client.post("/dicom-web/studies", data=content, content_type="application/dicom")
    (reference,) = json_of(answer)["00081199"]["Value"]
    return str(reference["00081190"]["Value"][0]).removeprefix("http://localhost")


# client, what is asked for, of what, its Accept, the media type of the answer or of its parts, in parts or not
REQUESTS = [
    # searches and metadata
    ("OHIF, dicomweb-client JS", "/../..", "native", "application/dicom+json", JSON, False),
    ("dicomweb-client Python", "/../..", "native", "application/dicom+json, application/json", JSON, False),
    ("Orthanc as a client", "/metadata", "native", "application/json", JSON, False),
    ("dcmjs examples (axios)", "/metadata", "native", AXIOS, JSON, False),
    ("3D Slicer", "/metadata", "native", "application/dicom+json", JSON, False),
    ("MONAI Label", "/metadata", "native", "application/dicom+json", JSON, False),
    ("Google's samples", "/metadata", "native", "application/dicom+json, multipart/related", JSON, False),
    (
        "Google's samples",
        "/metadata",
        "native",
        'application/dicom+json, multipart/related; type="application/dicom"; transfer-syntax=*',
        JSON,
        False,
    ),
    (
        "OHIF with octets",
        "/metadata",
        "native",
        f"application/dicom+json, multipart/related; type={OCTETS}",
        JSON,
        False,
    ),
    ("Weasis", "/metadata", "native", 'multipart/related; type="application/dicom+xml"', "application/dicom+xml", True),
    (
        "dcm4che wadors",
        "/metadata",
        "native",
        "multipart/related;type=application/dicom+xml",
        "application/dicom+xml",
        True,
    ),
    ("an XML tool", "/metadata", "native", "application/dicom+xml", "application/dicom+xml", False),
    ("curl", "/metadata", "native", "*/*", JSON, False),
    ("a browser's address line", "/metadata", "native", BROWSER, JSON, False),
    ("one that says nothing", "/metadata", "native", "", JSON, False),
    # objects
    ("dicomweb-client JS", "", "native", 'multipart/related; type="application/dicom"', "application/dicom", True),
    (
        "OHIF",
        "",
        "JPEG-LS",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        "application/dicom",
        True,
    ),
    (
        "OHIF, no quotation",
        "",
        "JPEG-LS",
        "multipart/related; type=application/dicom; transfer-syntax=*",
        "application/dicom",
        True,
    ),
    (
        "dicomweb-client Python",
        "",
        "native",
        'multipart/related; type="application/dicom"; transfer-syntax="*"',
        "application/dicom",
        True,
    ),
    ("Weasis", "", "native", "multipart/related;type=application/dicom", "application/dicom", True),
    ("Orthanc as a client", "", "native", "multipart/related; type=application/dicom", "application/dicom", True),
    ("Google's documentation", "", "native", "application/dicom; transfer-syntax=*", "application/dicom", False),
    ("curl", "", "native", "*/*", "application/dicom", True),
    (
        "parameters inside the type",
        "",
        "JPEG-LS",
        'multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"',
        "application/dicom",
        True,
    ),
    # frames
    ("cornerstone", "/frames/1", "native", CORNERSTONE, OCTETS, True),
    ("cornerstone", "/frames/1", "JPEG-LS", CORNERSTONE, OCTETS, True),
    ("cornerstone", "/frames/1", "JPEG 2000", CORNERSTONE, OCTETS, True),
    ("old cornerstone", "/frames/1", "native", f"multipart/related; type={OCTETS}", OCTETS, True),
    ("old cornerstone, quoted", "/frames/1", "native", f'multipart/related; type="{OCTETS}"', OCTETS, True),
    (
        "cornerstone's test of JPEG-LS",
        "/frames/1",
        "JPEG-LS",
        'multipart/related; type="image/x-jls"',
        "image/x-jls",
        True,
    ),
    (
        "cornerstone's test of JPEG-LS",
        "/frames/1",
        "JPEG-LS",
        f'multipart/related; type="{OCTETS}"; transfer-syntax="image/x-jls"',
        OCTETS,
        True,
    ),
    ("OHIF's list", "/frames/1", "JPEG", f'{CORNERSTONE}, multipart/related; type="image/jpeg"', "image/jpeg", True),
    (
        "OHIF's list",
        "/frames/1",
        "RLE",
        'multipart/related; type="image/dicom-rle"; transfer-syntax="*"',
        "image/dicom-rle",
        True,
    ),
    (
        "OHIF's list",
        "/frames/1",
        "JPEG",
        'multipart/related; type="image/dicom+jpeg"; transfer-syntax="*"',
        "image/jpeg",
        True,
    ),
    (
        "OHIF's list",
        "/frames/1",
        "JPEG 2000",
        'multipart/related; type="image/dicom+jp2"; transfer-syntax="*"',
        "image/jp2",
        True,
    ),
    ("image/dicom+jpx", "/frames/1", "JPEG 2000", "multipart/related; type=image/dicom+jpx", "image/jp2", True),
    ("image/jpx for Part 1", "/frames/1", "JPEG 2000", 'multipart/related; type="image/jpx"', "image/jp2", True),
    ("dcm4chee-web", "/frames/1", "JPEG-LS", "multipart/related;type=image/dicom+jpeg-ls", "image/jls", True),
    (
        "dicomweb-client Python",
        "/frames/1",
        "JPEG 2000",
        'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90',
        "image/jp2",
        True,
    ),
    ("single octets", "/frames/1", "native", f"{OCTETS}; transfer-syntax=*", OCTETS, False),
    ("dcmjs-imaging", "/frames/1", "native", OCTETS, OCTETS, False),
    (
        "upper case and spaces",
        "/frames/1",
        "native",
        f'MULTIPART/Related ;  TYPE = "{OCTETS.upper()}" ;Transfer-Syntax=*',
        OCTETS,
        True,
    ),
    (
        "a list with q",
        "/frames/1",
        "JPEG-LS",
        f"multipart/related; type={OCTETS}; transfer-syntax=*; q=0.1, multipart/related; type=image/jls; q=0.9",
        "image/jls",
        True,
    ),
    ("any", "/frames/1", "JPEG 2000", "*/*", "image/jp2", True),
    ("a browser's address line", "/frames/1", "JPEG", BROWSER, "image/jpeg", True),
    # bulk data
    ("OHIF, waveforms", "/bulkdata/00420011", "PDF", OCTETS, OCTETS, False),
    ("dicomweb-client JS", "/bulkdata/00420011", "PDF", f'multipart/related; type="{OCTETS}"', OCTETS, True),
    (
        "dicomweb-client Python",
        "/bulkdata/00420011",
        "PDF",
        f"multipart/related; type={OCTETS}; transfer-syntax=*",
        OCTETS,
        True,
    ),
    ("a PDF viewer", "/bulkdata/00420011", "PDF", "application/pdf", "application/pdf", False),
    (
        "OHIF, any bulk data",
        "/bulkdata/7FE00010",
        "native",
        f"application/dicom+json, multipart/related; type={OCTETS}",
        OCTETS,
        True,
    ),
    ("OHIF", "/bulkdata/7FE00010", "JPEG-LS", CORNERSTONE, OCTETS, True),
]


@pytest.mark.parametrize("by_parameter", [False, True], ids=["header", "parameter"])
@pytest.mark.parametrize(
    ("name", "of", "accept", "content_type", "multipart"),
    [pytest.param(*row[1:], id=f"{row[0]}: {row[1]} of {row[2]}") for row in REQUESTS],
)
def test_every_client_is_served(
    archive: Archive, name: str, of: str, accept: str, content_type: str, multipart: bool, by_parameter: bool
) -> None:
    path = archive.paths[of] + name
    if name == "/../..":
        path = f"/dicom-web/studies?StudyInstanceUID={archive.paths[of].split('/')[3]}"
    headers = {"Accept": accept} if accept else {}
    if by_parameter:
        headers = {"Accept": "text/html,*/*;q=0.1"}
        path += ("&" if "?" in path else "?") + f"accept={quote(accept)}"
    answer = archive.client.get(path, headers=headers if accept else {})
    assert answer.status_code == 200, answer.text
    declared = answer.content_type.partition("; transfer-syntax")[0]
    if multipart:
        assert declared.startswith(f'multipart/related; type="{content_type}"; boundary=')
        # some viewers look for exactly this
        assert b"\r\nContent-Type: " + content_type.encode() in answer.data[:200]
    else:
        assert declared == content_type


@pytest.mark.parametrize(
    ("name", "of", "accept"),
    [
        ("/metadata", "native", "text/html"),
        ("/metadata", "native", "application/dicom+json;q=0"),
        ("/metadata", "native", "image/jpeg, application/pdf"),
        ("", "native", "image/tiff"),
        ("/frames/1", "native", "multipart/related; type=text/html"),
        ("/bulkdata/00420011", "PDF", "image/png"),
    ],
)
def test_what_nobody_can_give(archive: Archive, name: str, of: str, accept: str) -> None:
    answer = archive.client.get(archive.paths[of] + name, headers={"Accept": accept})
    assert answer.status_code == 406
    acceptable = json_of(answer)["acceptable"]
    assert acceptable
    for offered in acceptable:
        assert archive.client.get(archive.paths[of] + name, headers={"Accept": offered}).status_code == 200, offered


@pytest.mark.parametrize(
    "query",
    [
        "accept=application/dicom%2Bjson",
        "accept=application/dicom+json",
        "accept=%22application/dicom%2Bjson%22",
        "accept=image/tiff&accept=application/dicom%2Bjson",
        "accept=image/tiff,application/dicom%2Bjson",
        "accept=application%2Fdicom%2Bjson%3Bq%3D0.5",
        "accept=",
    ],
)
def test_the_accept_parameter(archive: Archive, query: str) -> None:
    answer = archive.client.get(
        f"{archive.paths['native']}/metadata?{query}", headers={"Accept": "application/dicom+json"}
    )
    assert (answer.status_code, answer.content_type) == (200, JSON)


def test_files_are_what_the_table_takes_them_for() -> None:
    syntaxes = {
        name: dcmread(PYDICOM / "test_files" / file).file_meta.TransferSyntaxUID for name, file in FILES.items()
    }
    assert syntaxes == {
        "native": "1.2.840.10008.1.2.1",
        "RLE": "1.2.840.10008.1.2.5",
        "JPEG-LS": "1.2.840.10008.1.2.4.80",
        "JPEG 2000": "1.2.840.10008.1.2.4.90",
        "JPEG": "1.2.840.10008.1.2.4.50",
    }
