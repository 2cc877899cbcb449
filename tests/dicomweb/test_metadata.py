"""WADO-RS metadata as JSON and XML, and what of it a client need not fetch twice."""

import xml.etree.ElementTree as ET
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from pydicom.uid import generate_uid

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_storage.reading import Reading
from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, json_of, part10, parts
from tests.native_model import attributes_of

XML = "application/dicom+xml"
XML_PARTS = f'multipart/related; type="{XML}"'
FORMS = ("application/dicom+json", XML_PARTS)


@pytest.fixture
def study(store: Store) -> str:
    """The path of a study of three instances in two series."""
    study, series = generate_uid(), generate_uid()
    objects = [
        data_set(
            StudyInstanceUID=study,
            SeriesInstanceUID=series if number < 3 else generate_uid(),
            InstanceNumber=number,
            SeriesNumber=1 if number < 3 else 2,
            PatientName="Müller^Jürgen=山田^花子",
            SpecificCharacterSet="GB18030",
            ReferencedStudySequence=[{"SpecificCharacterSet": "ISO_IR 101", "StudyDescription": "Häufig <&> selten"}],
        )
        for number in (1, 2, 3)
    ]
    assert store(*map(part10, objects)).status_code == 200
    return f"/dicom-web/studies/{study}"


def instance_path(client: FlaskClient, study: str) -> str:
    (url, *_) = json_of(client.get(f"{study}/instances?limit=1"))[0]["00081190"]["Value"]
    return str(url).removeprefix("http://localhost")


def xml_data_sets(client: FlaskClient, path: str) -> list[Any]:
    answer = client.get(f"{path}/metadata", headers={"Accept": XML_PARTS})
    assert answer.status_code == 200
    received = parts(answer.content_type, answer.data)
    assert {content_type for content_type, _ in received} == {XML}
    return [attributes_of(ET.fromstring(content)) for _, content in received]


def test_xml_has_a_part_for_each_instance(client: FlaskClient, study: str) -> None:
    data_sets = xml_data_sets(client, study)
    json = json_of(client.get(f"{study}/metadata"))
    for xml, elements in zip(data_sets, json, strict=True):
        assert {tag for tag, _ in xml} == elements.keys()
        assert xml["00080018", None].content == elements["00080018"]["Value"]
        assert xml["7FE00010", None].content == ["BulkData"]
        assert xml["00083002", None].content == elements["00083002"]["Value"]
    assert data_sets[0]["00100010", None].content == [
        {
            "Alphabetic": {"FamilyName": "Müller", "GivenName": "Jürgen"},
            "Ideographic": {"FamilyName": "山田", "GivenName": "花子"},
        }
    ]


def test_bulk_data_of_xml_is_found(client: FlaskClient, study: str) -> None:
    path = instance_path(client, study)
    answer = client.get(f"{path}/metadata", headers={"Accept": XML})
    assert answer.content_type == XML
    (bulk,) = [child for child in ET.fromstring(answer.data).iter() if child.tag.endswith("BulkData")]
    assert client.get(bulk.attrib["uri"]).data == bytes(range(128))


def test_a_single_part_where_there_is_one_instance(client: FlaskClient, study: str) -> None:
    assert client.get(f"{instance_path(client, study)}/metadata", headers={"Accept": XML}).status_code == 200
    refused = client.get(f"{study}/metadata", headers={"Accept": XML})
    assert refused.status_code == 406
    assert XML_PARTS in json_of(refused)["acceptable"]


def test_text_is_said_to_be_utf_8(client: FlaskClient, study: str) -> None:
    """Not what the object was in: pydicom, and others, write data sets by it."""
    for elements in json_of(client.get(f"{study}/metadata")):
        assert elements["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
        (item,) = elements["00081110"]["Value"]
        assert item["00080005"]["Value"] == ["ISO_IR 192"]
        assert item["00081030"]["Value"] == ["Häufig <&> selten"]


@pytest.mark.parametrize("accept", FORMS)
def test_what_a_client_has_is_not_sent_again(client: FlaskClient, study: str, accept: str) -> None:
    headers = {"Accept": accept}
    first = client.get(f"{study}/metadata", headers=headers)
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    assert "accept" in first.headers["Vary"].lower()
    strong = tag.removeprefix("W/")
    for known in (tag, strong, f'"other", {tag}', f'{strong},W/"other"', "*"):
        again = client.get(f"{study}/metadata", headers={**headers, "If-None-Match": known})
        assert (again.status_code, again.data) == (304, b""), known
        assert again.headers["ETag"] == tag
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
        assert again.headers["Vary"] == first.headers["Vary"]
        assert "Content-Type" not in again.headers
    for unknown in ('"other"', 'W/"other", "another"', "", "nonsense"):
        assert client.get(f"{study}/metadata", headers={**headers, "If-None-Match": unknown}).status_code == 200
    assert client.head(f"{study}/metadata", headers=headers).headers["ETag"] == tag
    assert client.head(f"{study}/metadata", headers={**headers, "If-None-Match": tag}).status_code == 304


def test_a_304_reads_no_object(
    client: FlaskClient, study: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = client.get(f"{study}/metadata").headers["ETag"]
    monkeypatch.delattr(Reading, "header")
    monkeypatch.delattr(Reading, "open_object")
    assert client.get(f"{study}/metadata", headers={"If-None-Match": tag}).status_code == 304


def test_tags_tell_everything_apart(client: FlaskClient, study: str, storage: Storage, store: Store) -> None:
    def tag(path: str, accept: str = FORMS[0], of: FlaskClient = client, host: str = "localhost") -> str:
        return of.get(path, headers={"Accept": accept, "Host": host}).headers["ETag"]

    instance = instance_path(client, study)
    series = instance.rpartition("/instances/")[0]
    elsewhere = create_app(storage, DicomwebSettings(prefix="/elsewhere")).test_client()
    tags = [
        *(tag(f"{path}/metadata", accept) for path in (study, series, instance) for accept in FORMS),
        tag(f"{instance}/metadata", XML),
        tag(f"{study}/metadata", host="pacs.example.org"),
        tag(f"{study}/metadata".replace("/dicom-web", "/elsewhere"), of=elsewhere),
        tag(instance, "*/*"),
        tag(f"{instance}/frames/1", "*/*"),
        tag(f"{instance}/bulkdata/7FE00010", "*/*"),
    ]
    assert len(set(tags)) == len(tags)
    before = tag(f"{study}/metadata")
    assert tag(f"{study}/metadata") == before
    store(part10(StudyInstanceUID=study.rpartition("/")[2]))
    assert tag(f"{study}/metadata") != before


def test_json_is_in_the_order_of_tags(client: FlaskClient, study: str) -> None:
    for elements in orjson.loads(client.get(f"{study}/metadata").data):
        assert list(elements) == sorted(elements)


def test_a_damaged_object_is_told_before_the_answer_begins(client: FlaskClient, study: str, storage: Storage) -> None:
    *_, last = storage.locate({"StudyInstanceUID": study.rpartition("/")[2]})
    storage._objects.delete(last.location)
    for accept in FORMS:
        answer = client.get(f"{study}/metadata", headers={"Accept": accept})
        assert answer.status_code == 500
        assert "fileroom check" in json_of(answer)["detail"]
        assert "ETag" not in answer.headers


def test_a_search_as_xml(client: FlaskClient, study: str) -> None:
    answer = client.get(f"{study}/instances", headers={"Accept": XML_PARTS})
    assert answer.status_code == 200
    found = [attributes_of(ET.fromstring(content)) for _, content in parts(answer.content_type, answer.data)]
    json = json_of(client.get(f"{study}/instances"))
    assert [one["00080018", None].content for one in found] == [one["00080018"]["Value"] for one in json]
    assert [one["00081190", None].content for one in found] == [one["00081190"]["Value"] for one in json]
    assert [{tag for tag, _ in one} for one in found] == [one.keys() for one in json]


def test_a_search_as_xml_that_finds_nothing(client: FlaskClient, study: str) -> None:
    answer = client.get("/dicom-web/studies?PatientID=nobody", headers={"Accept": XML_PARTS})
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    answer = client.get("/dicom-web/studies?PatientID=nobody")
    assert (answer.status_code, answer.data) == (200, b"[]")
