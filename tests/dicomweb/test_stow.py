"""STOW-RS: what is stored, what is refused and with which reason, and what broken requests leave behind."""

import gzip
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydicom import Dataset
from pydicom.uid import generate_uid

from fileroom_dicomweb import DicomwebSettings, content_coding, create_app, multipart_reader
from fileroom_storage.errors import StorageNotWritable, StorageUnavailable
from fileroom_storage.receive import IncomingObject
from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, json_of, multipart, part10
from tests.native_model import attributes_of

STUDIES = "/dicom-web/studies"
KIND = 'multipart/related; type="application/dicom"; boundary=a-boundary'


def stored(storage: Storage, *uids: str) -> list[str]:
    return [instance.sop_instance_uid for instance in storage.locate({"SOPInstanceUID": "\\".join(uids)})]


def object_count(storage: Storage, tmp_path: Path) -> int:
    return sum(1 for _ in (tmp_path / "data").rglob("*.dcm"))


def test_the_response_names_every_object(client: FlaskClient, store: Store, storage: Storage) -> None:
    study = generate_uid()
    objects = [data_set(StudyInstanceUID=study) for _ in range(3)]
    answer = store(*(part10(ds) for ds in objects))
    assert answer.status_code == 200
    assert answer.content_type == "application/dicom+json"
    response = Dataset.from_json(answer.text)
    assert response.RetrieveURL == f"http://localhost/dicom-web/studies/{study}"
    assert "FailedSOPSequence" not in response
    for ds, item in zip(objects, response.ReferencedSOPSequence, strict=True):
        assert item.ReferencedSOPInstanceUID == ds.SOPInstanceUID
        assert item.ReferencedSOPClassUID == ds.SOPClassUID
        assert "WarningReason" not in item
        assert client.get(item.RetrieveURL).status_code == 200
    assert len(stored(storage, *(ds.SOPInstanceUID for ds in objects))) == 3


def test_two_studies_have_no_common_url(store: Store) -> None:
    answer = store(part10(), part10())
    assert json_of(answer)["00081190"] == {"vr": "UR"}
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("application/dicom+json, application/json", "json"),
        ("application/json", "json"),
        ("application/dicom+json", "json"),
        ('multipart/related; type="application/dicom"', "json"),
        ("text/html", "json"),
        ("nonsense", "json"),
        ("application/dicom+xml", "xml"),
        ("application/dicom+xml, application/dicom+json;q=0.5", "xml"),
        ("application/dicom+json, application/dicom+xml", "json"),
    ],
)
def test_the_answer_is_json_unless_xml_is_asked_for(store: Store, accept: str | None, expected: str) -> None:
    good, bad = data_set(), data_set(StudyInstanceUID=None)
    answer = store(part10(good), part10(bad), headers={"Accept": accept} if accept else {})
    assert answer.status_code == 202
    assert answer.content_type == f"application/dicom+{expected}"
    if expected == "xml":
        attributes = {keyword: found.content for found in attributes_of(ET.fromstring(answer.data)).values()
                      if (keyword := found.keyword)}  # fmt: skip
        (item,) = attributes["ReferencedSOPSequence"]
        assert item["00081155", None].content == [good.SOPInstanceUID]
        (item,) = attributes["FailedSOPSequence"]
        assert item["00081197", None].content == [str(0xC000)]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: application/dicom\r\nContent-Transfer-Encoding: binary\r\nContent-Length: 12\r\n",
        b'Content-Disposition: inline; name="file[]"; filename="a.dcm"\r\nContent-Type: application/dicom\r\n',
        b"Content-Type:application/octet-stream\r\nX-Header:\r\n",
        b"CONTENT-TYPE: Application/DICOM;transfer-syntax=*\r\n",
        b"",
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"\r\n", b"\r\n"), (b"preamble\r\n", b"\r\nepilogue"), (b"\r\n", b"\0" * 100)],
)
def test_parts_in_the_wild(client: FlaskClient, head: bytes, before: bytes, after: bytes) -> None:
    body = before + b"--a b\r\n" + head + b"\r\n" + part10() + b"\r\n--a b--" + after
    answer = client.post(STUDIES, data=body, content_type='multipart/related; type=application/dicom; boundary="a b"')
    assert answer.status_code == 200, answer.text


def test_bare_line_feeds(client: FlaskClient, storage: Storage) -> None:
    ds = data_set()
    body = b"--x\nContent-Type: application/dicom\n\n" + part10(ds) + b"\n--x--\n"
    answer = client.post(STUDIES, data=body, content_type="multipart/related; type=application/dicom; boundary=x")
    assert answer.status_code == 200, answer.text
    assert stored(storage, ds.SOPInstanceUID)


def test_other_methods(client: FlaskClient) -> None:
    answer = client.put(STUDIES, data=multipart(part10()), content_type=KIND)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_sending_again_is_no_failure(store: Store) -> None:
    content = part10()
    assert store(content).status_code == 200
    assert store(content).status_code == 200


def test_the_sender_is_recorded(store: Store, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    store_object = IncomingObject.store

    def spy(self: IncomingObject, provenance: Any, **options: Any) -> Any:
        seen.append(provenance)
        return store_object(self, provenance, **options)

    monkeypatch.setattr(IncomingObject, "store", spy)
    store(part10(), environ_overrides={"REMOTE_ADDR": "192.0.2.9"})
    assert [(one.source, one.remote_address) for one in seen] == [("STOW-RS", "192.0.2.9")]


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; type="application/dicom"; boundary="a-boundary"',
        "multipart/related; type=application/dicom; boundary=a-boundary",
        "multipart/related;boundary=a-boundary",
        'Multipart/Related; Boundary="a-boundary"; Type="application/DICOM"; start="<1>"',
    ],
)
@pytest.mark.parametrize("part_type", ["application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"])
def test_content_types_in_the_wild(client: FlaskClient, content_type: str, part_type: str) -> None:
    body = multipart(part10(), content_type=part_type)
    assert client.post(STUDIES, data=body, content_type=content_type).status_code == 200


def test_parts_without_a_content_type(client: FlaskClient) -> None:
    body = b"--a-boundary\r\n\r\n" + part10() + b"\r\n--a-boundary--"
    assert client.post(STUDIES, data=body, content_type="multipart/related; boundary=a-boundary").status_code == 200


def test_one_object_without_multipart(client: FlaskClient, storage: Storage) -> None:
    ds = data_set()
    answer = client.post(STUDIES, data=part10(ds), content_type="application/dicom")
    assert answer.status_code == 200
    assert stored(storage, ds.SOPInstanceUID) == [ds.SOPInstanceUID]


def test_to_a_study(client: FlaskClient, store: Store, storage: Storage) -> None:
    study = generate_uid()
    mine, foreign = data_set(StudyInstanceUID=study), data_set()
    answer = store(part10(mine), part10(foreign), path=f"{STUDIES}/{study}")
    assert answer.status_code == 202
    response = Dataset.from_json(answer.text)
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [mine.SOPInstanceUID]
    (failed,) = response.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (foreign.SOPInstanceUID, 0xA900)
    assert failed.ReferencedSOPClassUID == foreign.SOPClassUID
    assert stored(storage, mine.SOPInstanceUID, foreign.SOPInstanceUID) == [mine.SOPInstanceUID]


def test_some_fail(store: Store, storage: Storage, tmp_path: Path) -> None:
    good, without_study = data_set(), data_set(StudyInstanceUID=None)
    answer = store(part10(without_study), b"not DICOM at all", part10(good), part10()[:-60], b"")
    assert answer.status_code == 202
    response = Dataset.from_json(answer.text)
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [good.SOPInstanceUID]
    failed, truncated = response.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (without_study.SOPInstanceUID, 0xC000)
    assert truncated.FailureReason == 0xC000
    assert [item.FailureReason for item in response.OtherFailuresSequence] == [0xC000, 0xC000]
    assert all(item[0x00000902].value for item in response.OtherFailuresSequence)
    assert object_count(storage, tmp_path) == 1


def test_all_fail(store: Store, storage: Storage, tmp_path: Path) -> None:
    answer = store(b"not DICOM", part10(SOPInstanceUID="1.22.333").replace(b"1.22.333", b"../../.."))
    assert answer.status_code == 409
    assert answer.content_type == "application/dicom+json"
    assert "00081199" not in json_of(answer)
    assert "00081190" not in json_of(answer)
    assert "Location" not in answer.headers
    assert object_count(storage, tmp_path) == 0


@pytest.mark.parametrize("part_type", ["application/dicom+json", "image/jpeg", "text/plain"])
def test_a_part_of_another_type_fails(client: FlaskClient, part_type: str) -> None:
    body = multipart(part10(), content_type=part_type)
    answer = client.post(STUDIES, data=body, content_type=KIND)
    assert answer.status_code == 409
    assert json_of(answer)["0008119A"]["Value"][0]["00081197"]["Value"] == [0xC000]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/octet-stream",
        "text/plain",
        "multipart/form-data; boundary=a-boundary",
        "multipart/mixed; boundary=a-boundary",
        'multipart/related; type="application/pdf"; boundary=a-boundary',
    ],
)
def test_unsupported_types(client: FlaskClient, content_type: str | None) -> None:
    answer = client.post(STUDIES, data=multipart(part10()), content_type=content_type)
    assert answer.status_code == 415
    assert answer.content_type == "application/problem+json"
    assert "multipart/related" in json_of(answer)["detail"]
    assert 'multipart/related; type="application/dicom"' in json_of(answer)["supported"]


@pytest.mark.parametrize("coding", ["gzip", "X-Gzip", "identity", ""])
def test_content_encodings(client: FlaskClient, coding: str) -> None:
    body = multipart(part10(), part10())
    # two members, one behind the other (RFC 1952 2.2)
    content = gzip.compress(body[:500]) + gzip.compress(body[500:]) if "zip" in coding.lower() else body
    answer = client.post(STUDIES, data=content, content_type=KIND, headers={"Content-Encoding": coding})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip"])
def test_other_content_encodings_are_unsupported(client: FlaskClient, coding: str) -> None:
    answer = client.post(STUDIES, data=b"x", content_type="application/dicom", headers={"Content-Encoding": coding})
    assert answer.status_code == 415
    assert json_of(answer)["supported"] == ["gzip", "identity"]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(multipart(part10()))[:-20], b""])
def test_broken_gzip(client: FlaskClient, storage: Storage, tmp_path: Path, content: bytes) -> None:
    answer = client.post(STUDIES, data=content, content_type=KIND, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert object_count(storage, tmp_path) == 0


def test_a_body_that_inflates_beyond_the_limit(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(bytes(4 << 20))
    limited = create_app(storage, DicomwebSettings(maximum_body_size=1 << 20)).test_client()
    options: dict[str, Any] = {"content_type": "application/dicom", "headers": {"Content-Encoding": "gzip"}}
    assert limited.post(STUDIES, data=bomb, **options).status_code == 413
    monkeypatch.setattr(content_coding, "_UNSUSPECTED", 1 << 20)
    unlimited = create_app(storage).test_client()
    assert unlimited.post(STUDIES, data=bomb, **options).status_code == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/related; boundary=a-boundary"),
        (b"--a-boundary--\r\n", "multipart/related; boundary=a-boundary"),
        (multipart(b"x"), "multipart/related; type=application/dicom"),
        (multipart(b"x"), "multipart/related; boundary=another"),
        (multipart(b"x"), f"multipart/related; boundary={'x' * 500}"),
        (multipart(b"x"), 'multipart/related; boundary=""'),
    ],
)
def test_broken_multipart(client: FlaskClient, body: bytes, content_type: str) -> None:
    answer = client.post(STUDIES, data=body, content_type=content_type)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"


def test_a_body_that_breaks_off_keeps_only_what_was_whole(
    client: FlaskClient, storage: Storage, tmp_path: Path
) -> None:
    whole, cut = data_set(), data_set()
    body = multipart(part10(whole), part10(cut))[:-40]
    answer = client.post(STUDIES, data=body, content_type="multipart/related; boundary=a-boundary")
    assert answer.status_code == 400
    assert json_of(answer)["stored"] == [whole.SOPInstanceUID]
    assert stored(storage, whole.SOPInstanceUID, cut.SOPInstanceUID) == [whole.SOPInstanceUID]
    assert object_count(storage, tmp_path) == 1
    assert not [path for path in (tmp_path / "data" / "objects").rglob("*") if path.is_file() and path.suffix != ".dcm"]


def test_a_body_that_is_too_large(storage: Storage) -> None:
    client = create_app(storage, DicomwebSettings(maximum_body_size=1000)).test_client()
    answer = client.post(STUDIES, data=bytes(1001), content_type="application/dicom")
    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("study", ["1.2.x/..", "..%2f..%2fetc", "1" * 65, "1..2*", "%20", "1.2%00", "1\\2"])
def test_impossible_studies(store: Store, study: str) -> None:
    assert store(part10(), path=f"{STUDIES}/{study}").status_code in (400, 404, 405)


@pytest.mark.parametrize(("error", "status"), [(StorageUnavailable, 503), (StorageNotWritable, 507)])
def test_unavailable_storage(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[StorageUnavailable], status: int
) -> None:
    tried = []

    def unavailable(*_: Any, **__: Any) -> Any:
        tried.append(1)
        raise error("it cannot be stored now; try again later")

    monkeypatch.setattr(IncomingObject, "store", unavailable)
    one, two = data_set(), data_set()
    answer = store(part10(one), part10(two))
    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) is (status == 503)
    failed = Dataset.from_json(answer.text).FailedSOPSequence
    assert [item.ReferencedSOPInstanceUID for item in failed] == [one.SOPInstanceUID, two.SOPInstanceUID]
    assert {item.FailureReason for item in failed} == {0xA700}
    assert len(tried) == 1


def test_a_surprise_hurts_one_object_only(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store_object = IncomingObject.store
    surprises = iter([ValueError("Doe^Jane"), None])

    def surprising(self: IncomingObject, *arguments: Any, **options: Any) -> Any:
        if (error := next(surprises)) is not None:
            raise error
        return store_object(self, *arguments, **options)

    monkeypatch.setattr(IncomingObject, "store", surprising)
    bad, good = data_set(), data_set()
    answer = store(part10(bad), part10(good))
    assert answer.status_code == 202
    response = Dataset.from_json(answer.text)
    assert [item.FailureReason for item in response.FailedSOPSequence] == [0x0110]
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [good.SOPInstanceUID]
    assert "unexpected ValueError at test_stow.py" in caplog.text
    assert "Doe" not in caplog.text + answer.text


def test_a_series_that_names_another_study_is_stored_with_a_warning(client: FlaskClient, store: Store) -> None:
    series = generate_uid()
    first, second = data_set(SeriesInstanceUID=series), data_set(SeriesInstanceUID=series)
    assert store(part10(first)).status_code == 200
    answer = store(part10(second))
    assert answer.status_code == 202
    (item,) = Dataset.from_json(answer.text).ReferencedSOPSequence
    assert item.WarningReason == 0xB000
    assert client.get(item.RetrieveURL).status_code == 200


@pytest.mark.parametrize("root", ["application/dicom", "application/dicom+json"])
def test_more_parts_than_anybody_sends(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    """Each is remembered until the answer is given, however small it is."""
    monkeypatch.setattr(multipart_reader, "MAXIMUM_PARTS", 10)
    kind = f'multipart/related; type="{root}"; boundary=a-boundary'
    body = multipart(*[b"x"] * 11, content_type="application/octet-stream\r\nContent-Location: x")
    answer = client.post(STUDIES, data=body, content_type=kind)
    assert answer.status_code == 413
    assert "more than 10 parts" in json_of(answer)["detail"]
