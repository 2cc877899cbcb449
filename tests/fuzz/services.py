"""Targets that go through a service: DICOMweb over a storage with objects in it, identifiers, compressed frames."""

import atexit
import io
import random
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from pydicom.encaps import generate_frames
from pydicom.filereader import dcmread

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_server.identifier import read_find_identifier, read_retrieve_identifier
from fileroom_server.negotiation import MODELS, Options
from fileroom_storage.attributes import standard_registry
from fileroom_storage.errors import CannotDecode, InvalidQuery, UnusableObject
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.pixels.decoding import decode_frame
from fileroom_storage.storage import Storage, StorageSettings
from tests.dicomweb.objects import multipart
from tests.fuzz import seeds
from tests.fuzz.target import Target
from tests.made import encoded, made

_ROOT = "/dicom-web"
_STUDY = f"{_ROOT}/studies/{seeds.UIDS['StudyInstanceUID']}"
_SERIES = f"{_STUDY}/series/{seeds.UIDS['SeriesInstanceUID']}"
_INSTANCE = f"{_SERIES}/instances/{seeds.UIDS['SOPInstanceUID']}"
_OPTIONS = (Options(), Options(relational=True, combined_datetime=True, fuzzy=True))
# what may be said of a request that cannot be served: anything but that the server failed on it
_NO_FAILURE = (501, 503)
_IMAGES = (
    "SC_rgb_small_odd_jpeg.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPGExtended.dcm",
)


@cache
def storage() -> Storage:
    folder = tempfile.TemporaryDirectory(prefix="fileroom-fuzz-")
    opened = Storage.open(StorageSettings(Path(folder.name) / "data", durability="relaxed"))
    opened.create_schema_if_empty()
    atexit.register(folder.cleanup)
    atexit.register(opened.close)
    return opened


@cache
def client() -> FlaskClient:
    app = create_app(storage(), DicomwebSettings(maximum_results=50, maximum_body_size=1 << 24))
    app.testing = False
    client = app.test_client()
    for content in seeds.FILES[:1] + seeds.SMALL_SAMPLES:
        answer = client.post(f"{_ROOT}/studies", data=content, content_type="application/dicom")
        assert answer.status_code in (200, 202), answer.text
    return client


def _ask(path: str, **options: Any) -> Any:
    answer = client().open(path, **options)
    body = answer.data
    assert answer.status_code < 500 or answer.status_code in _NO_FAILURE, (answer.status_code, body)
    for name, value in answer.headers:
        assert not set("\r\n\0") & set(name + value), (name, value)
    answer.close()
    return answer


def _text(content: bytes) -> str:
    return content.decode("latin-1").replace("\r", "").replace("\n", "")


def search(content: bytes) -> None:
    query = _text(content)
    for level in ("studies", "series", "instances"):
        _ask(f"{_ROOT}/{level}", query_string=query)


def wado_uri(content: bytes) -> None:
    _ask("/wado", query_string=_text(content))


def rendered(content: bytes) -> None:
    for path in ("rendered", "thumbnail"):
        _ask(f"{_INSTANCE}/{path}", query_string=_text(content))


def accept(content: bytes) -> None:
    headers = {"Accept": _text(content)}
    for path in (_STUDY, _INSTANCE, f"{_INSTANCE}/frames/1", f"{_INSTANCE}/rendered", f"{_SERIES}/metadata"):
        _ask(path, headers=headers)


def headers(content: bytes) -> None:
    """Every header that anybody here reads, with the same text."""
    text = _text(content)
    names = ("Range", "If-None-Match", "If-Range", "Accept-Encoding", "Origin", "Forwarded", "X-Forwarded-For", "Host")
    for name in names:
        _ask(f"{_INSTANCE}/bulkdata/7FE00010", headers={name: text})
    _ask(f"{_ROOT}/studies", method="POST", data=b"--a--", headers={"Content-Type": text, "Content-Encoding": text})


def path(content: bytes) -> None:
    text = _text(content).replace("?", "")
    for start in ("/", f"{_STUDY}/", f"{_INSTANCE}/frames/", f"{_INSTANCE}/bulkdata/", "/viewer/"):
        _ask(start, environ_overrides={"PATH_INFO": start + text})


def store(content: bytes) -> None:
    """An object, and all that may be asked of it afterwards."""
    answer = _ask(f"{_ROOT}/studies", method="POST", data=content, content_type="application/dicom")
    stored = (answer.json or {}).get("00081199", {}).get("Value", [])
    for item in stored:
        instance = item["00081190"]["Value"][0].removeprefix("http://localhost")
        for resource in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata"):
            _ask(instance + resource, headers={"Accept": "*/*"})
        _ask(f"{instance}/metadata", headers={"Accept": "application/dicom+xml"})
        _ask(instance, headers={"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"})
        _ask(instance, headers={"Accept": "application/zip"})


def store_message(content: bytes) -> None:
    kind = f'multipart/related; type="application/dicom+json"; boundary={seeds.BOUNDARY}'
    _ask(f"{_ROOT}/studies", method="POST", data=content, content_type=kind)
    _ask(f"{_ROOT}/studies", method="POST", data=content, content_type=kind.replace("+json", ""))


def identifier(content: bytes) -> None:
    for model in MODELS:
        for options in _OPTIONS:
            with suppress(InvalidQuery, UnusableObject):
                find = read_find_identifier(content, seeds.IMPLICIT, model, options, standard_registry())
                list(storage().find(find.query))
            with suppress(InvalidQuery, UnusableObject):
                keys = read_retrieve_identifier(content, seeds.IMPLICIT, model, options, standard_registry())
                list(storage().locate(keys))


@cache
def _images() -> tuple[tuple[Header, bytes], ...]:
    from pydicom.data import get_testdata_file

    images = []
    for name in _IMAGES:
        content = Path(str(get_testdata_file(name))).read_bytes()
        ds = dcmread(io.BytesIO(content))
        frame = next(iter(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1)))))
        meta = read_file_meta(content)
        images.append((parse_header(content[meta.data_set_offset :], meta.transfer_syntax_uid), frame))
    return tuple(images)


def _frame(number: int, content: bytes) -> None:
    with suppress(CannotDecode):
        decode_frame(_images()[number][0], content)


def _frame_target(number: int) -> Target:
    return Target(lambda content: _frame(number, content), (_images()[number][1][:20_000], _images()[number][1]), 15)


def _identifiers() -> tuple[bytes, ...]:
    level = b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY "
    keys = encoded(made(SOPClassUID=None, SOPInstanceUID=None, Modality=None, **seeds.SEQUENCES), implicit=True)
    return (
        level + keys,
        level + b"\x10\x00\x10\x00\x04\x00\x00\x00D*?\\",
        level + b"\x20\x00\x0d\x00\x04\x00\x00\x001.2\x00",
    )


def _metadata_message() -> bytes:
    frame = random.Random(1).randbytes(128)
    return multipart(seeds.JSON[0], content_type="application/dicom+json")[:-16] + multipart(
        frame, content_type="application/octet-stream\r\nContent-Location: frames"
    )


TARGETS = {
    "search": Target(search, seeds.QUERIES, 15),
    "wado_uri": Target(wado_uri, seeds.WADO_URIS, 10),
    "rendered": Target(rendered, (b"viewport=64,64,0,0,32,32&window=40,400,linear&quality=50&iccprofile=yes",), 20),
    "accept": Target(accept, seeds.ACCEPTS, 15),
    "headers": Target(headers, (b"bytes=0-10,-5", b'W/"a", "b"', b"for=1.2.3.4;host=a;proto=https", b"gzip;q=0"), 15),
    "path": Target(path, (b"1,2-3", b"7FE00010", b"00081110/0/00081155", b"../../etc/passwd", b"%2e%2e/"), 15),
    "store": Target(store, seeds.FILES + seeds.SMALL_SAMPLES[-2:], 60),
    "store_message": Target(store_message, (*seeds.MULTIPART, _metadata_message()), 30),
    "identifier": Target(identifier, _identifiers(), 15),
    **{f"frame_{name.partition('.')[0]}": _frame_target(number) for number, name in enumerate(_IMAGES)},
}
