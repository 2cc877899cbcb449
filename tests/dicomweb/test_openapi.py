"""schemathesis reads the OpenAPI document and exercises every operation on stored objects, with data right and wrong.

FUZZ_EXAMPLES is how many requests of each operation are made; `make fuzz` sets more than the usual few.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from schemathesis import CheckContext, GenerationMode, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_dicomweb.openapi_operations import OPERATIONS
from fileroom_storage.storage import Storage, StorageSettings
from tests.dicomweb.objects import data_set, json_of, multipart, part10

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
ROOT = "/dicom-web"
# Images native, in JPEG 2000 and in frames of RLE, an SR, a waveform, an encapsulated document.
NAMES = (
    "CT_small.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle_2frame.dcm",
    "reportsi.dcm",
    "waveform_ecg.dcm",
    "test-SR.dcm",
)
SERVICES = list(dict.fromkeys(operation.service for operation in OPERATIONS.values()))


@schemathesis.check
def problem_bodies(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """RFC 9457, and a detail that is more than the title."""
    # STOW-RS says of each object why it was refused
    media_types = response.headers.get("content-type", [""])
    if response.status_code < 400 or media_types[0].startswith("application/dicom+"):
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    problem = response.json()
    assert problem["type"]
    assert problem["status"] == response.status_code
    assert len(problem["detail"]) > len(problem["title"])


CHECKS = [
    problem_bodies,
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ACCEPTS = (
    None,
    "*/*",
    "application/dicom+json",
    "application/dicom+xml",
    'multipart/related; type="application/dicom+xml"',
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    "multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
    "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
    "application/octet-stream",
    "application/zip",
    "image/jpeg, image/png;q=0.5",
    "image/*;q=2, */*;q=-1",
    "text/html",
    "nonsense",
    'a/b; "',
)
BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
# Of all that a client may say, what is right half the time, so that most requests get past the first check.
FRAME_LISTS = st.sampled_from(("1", "2", "1,2", "2-1", "1-2", "0", "3", "999999999", "1-999999999", "1,,2", "x", "-1"))
VALUES = st.sampled_from(("7FE00010", "7fe00010", "00420011", "54000100/0/54001010", "00100010", "0", "7FE00010/0"))
CODES = st.sampled_from(("113001^DCM", "113037", "113038^DCM", "113039^DCM", "113001^99X", "1"))


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An object; mostly some of its bytes are changed, or it is cut off."""
    content = bytearray(draw(st.sampled_from(OBJECTS)))
    if draw(st.booleans()):
        return bytes(content)
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, min(len(content), 2000) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


IN_STUDY = data_set(StudyInstanceUID="1.2.3")
OBJECTS = [part10(data_set()), part10(IN_STUDY)]
DELETIONS = range(1, 4)
BODIES = st.lists(st.one_of(damaged(), st.binary(max_size=200)), max_size=3).map(
    lambda objects: multipart(*objects, boundary=BOUNDARY)
)
schemathesis.openapi.media_type("application/dicom", damaged())
schemathesis.openapi.media_type("multipart/related", st.one_of(BODIES, damaged()))


XML = st.sampled_from(
    (
        b"<NativeDicomModel/>",
        b'<NativeDicomModel><DicomAttribute tag="0020000D" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>',
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
        b"\xff",
    )
)
schemathesis.openapi.media_type("application/dicom+xml", XML)


@schemathesis.serializer("application/dicom", "application/dicom+xml", "multipart/related")
def as_it_is(_context: SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with Storage.open(StorageSettings(tmp_path_factory.mktemp("openapi") / "data")) as storage:
        storage.create_schema_if_empty()
        app = create_app(storage, DicomwebSettings(allow_delete=True))
        client = app.test_client()
        body = multipart(*OBJECTS, *map(sample, NAMES), boundary=BOUNDARY)
        assert client.post(f"{ROOT}/studies", data=body, content_type=MULTIPART).status_code == 200
        for _ in DELETIONS:
            ds = data_set()
            assert client.post(f"{ROOT}/studies", data=part10(ds), content_type="application/dicom").status_code == 200
            assert client.delete(f"{ROOT}/studies/{ds.StudyInstanceUID}").status_code == 200
        yield app


@pytest.fixture(scope="module")
def schema(app: Flask) -> BaseSchema:
    return schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", app)


@pytest.fixture(scope="module")
def stored() -> list[dict[str, str]]:
    """The path parameters of what is stored."""
    keywords = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
    read = [IN_STUDY, *(dcmread(str(get_testdata_file(name))) for name in NAMES)]
    return [{name: str(ds[keyword].value) for name, keyword in keywords.items()} for ds in read]


@pytest.fixture(scope="module")
def examples(app: Flask) -> dict[str, Any]:
    """A right value for each query parameter that has one in the document."""
    document = json_of(app.test_client().get(f"{ROOT}/openapi.json"))
    return {name: one["example"] for name, one in document["components"]["parameters"].items() if "example" in one}


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation(
    app: Flask, schema: BaseSchema, stored: list[dict[str, str]], examples: dict[str, Any], service: str
) -> None:
    exercised = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if service in operation.definition.raw["tags"]:
            exercise(app, operation, stored, examples)
            exercised += 1
    assert exercised


def exercise(
    app: Flask, operation: APIOperation[Any, Any, Any, Any], stored: list[dict[str, str]], examples: dict[str, Any]
) -> None:
    """Requests as the document has them, and others that it excludes."""
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    takes_anything = bool(operation.path_parameters or operation.query or operation.body)
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(right, right, wrong) if takes_anything else right,
        known=st.one_of(st.sampled_from(stored), st.sampled_from(stored), st.none()),
        named=st.fixed_dictionaries(
            {"frame_list": FRAME_LISTS, "path": VALUES, "code": CODES, "deletion": st.sampled_from((*DELETIONS, 99))}
        ),
        kept=st.one_of(st.none(), st.integers(0, 4)),
        accept=st.one_of(st.none(), st.sampled_from(ACCEPTS)),
    )
    def one(
        case: Case[Any], known: dict[str, str] | None, named: dict[str, Any], kept: int | None, accept: str | None
    ) -> None:
        if kept is not None:
            # so many parameters, each with a value that it may have
            case.query = {name: examples[name] for name in list(case.query or {})[:kept] if name in examples}
            if operation.body:
                case.media_type, case.body = "multipart/related", multipart(part10(IN_STUDY), boundary=BOUNDARY)
        if known is not None:
            asked = {**known, **named}
            if operation.method == "post" and operation.path == "/studies/{study}":
                asked["study"] = str(IN_STUDY.StudyInstanceUID)
            case.path_parameters = {name: asked.get(name, value) for name, value in case.path_parameters.items()}
            if operation.path == "/wado":
                uids = zip(("studyUID", "seriesUID", "objectUID"), known.values(), strict=True)
                case.query = {**case.query, "requestType": "WADO", **dict(uids)}
        headers = {"Accept-Encoding": "identity", **({"Accept": accept} if accept else {})}
        if case.media_type == "multipart/related":
            headers["Content-Type"] = MULTIPART
        # the path of WADO-URI is not below the root
        base_url = "http://localhost" if operation.path == "/wado" else None
        response = case.call_and_validate(base_url, headers=headers, checks=CHECKS)
        statuses.add(response.status_code)
        if operation.method in ("delete", "post"):
            undo(app, response)

    one()
    # otherwise nothing but refusals would be tested
    assert min(statuses) < 400, (operation.label, statuses)


def undo(app: Flask, response: Response) -> None:
    """What was deleted is there again for the next request."""
    if response.status_code == 200 and b'"restore":"' in response.content and b'"purge_at"' in response.content:
        deletion = response.json()
        if isinstance(deletion, dict):
            app.test_client().post(deletion["restore"].removeprefix("http://localhost"))
