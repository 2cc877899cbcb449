"""Servers with one fault each: the doctor finds exactly that one, in the right clients."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from fileroom_server.doctor.examination import SLOW, Examination, Plan, examine
from fileroom_server.doctor.findings import Client, Outcome, Severity
from fileroom_server.doctor.prober import Answer, Prober
from fileroom_server.doctor.viewer_configuration import ohif_data_source
from tests.served import Served
from tests.server.doctor.conftest import Examine
from tests.server.doctor.spoiling_proxy import Passing, Spoil

OHIF, CORNERSTONE, WEASIS, SCRIPTS, ANY = Client
Spoiled = Callable[[Spoil], str]


def serious(examination: Examination) -> set[tuple[str, Client]]:
    """What is more than a note, and does not depend on how fast the machine is."""
    findings = [f for f in examination.findings if f.severity > Severity.NOTE and f.code != SLOW]
    return {(finding.code, finding.client) for finding in findings}


def data_sets(passing: Passing, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes every data set of a DICOM JSON answer."""
    if "json" in passing.headers.get("Content-Type", "") and passing.status == 200:
        document = json.loads(passing.body)
        for item in document if isinstance(document, list) else []:
            change(item)
        passing.body = json.dumps(document).encode()


def is_list_of(passing: Passing, resource: str) -> bool:
    return passing.method == "GET" and urlsplit(passing.path).path.endswith(f"/{resource}")


def is_frames(passing: Passing) -> bool:
    return "/frames/" in passing.path and passing.status == 200 and passing.method == "GET"


def valueless_modalities(passing: Passing) -> None:
    if is_list_of(passing, "studies"):
        data_sets(passing, lambda item: item.update({"00080061": {"vr": "CS"}}))


def no_study_uid(passing: Passing) -> None:
    # only what OHIF's own list asks for, so that there are studies to try with
    if "/studies?limit=101&offset=0" in passing.path:
        data_sets(passing, lambda item: item.pop("0020000D"))


def no_descriptions(passing: Passing) -> None:
    if is_list_of(passing, "studies") and "limit=101&offset=0" in passing.path:
        data_sets(passing, lambda item: item.pop("00081030", None))


def names_as_text(passing: Passing) -> None:
    if is_list_of(passing, "studies"):
        data_sets(passing, lambda item: item.update({"00100010": {"vr": "PN", "Value": ["Somebody"]}}))


def no_vrs(passing: Passing) -> None:
    if is_list_of(passing, "series"):
        data_sets(passing, lambda item: item["0020000E"].pop("vr"))


def one_object(passing: Passing) -> None:
    if passing.path.endswith("/series"):
        passing.body = json.dumps(json.loads(passing.body)[0]).encode()


def no_limit(passing: Passing) -> None:
    if "limit=2&offset=0" in passing.path:
        passing.body = json.dumps(json.loads(passing.body) * 2).encode()


class OffsetIgnored:
    """Gives the first page again and again."""

    def __init__(self) -> None:
        self.first = b"[]"

    def __call__(self, passing: Passing) -> None:
        if not is_list_of(passing, "studies"):
            return
        query = parse_qs(urlsplit(passing.path).query)
        if query.get("limit") == ["10"] and query.get("offset") == ["0"]:
            self.first = passing.body
        elif int(query.get("offset", ["0"])[0]) > 1000:
            passing.status, passing.body = 200, self.first
            passing.headers["Content-Type"] = "application/dicom+json"


class FiltersIgnored:
    """Gives the whole list for every filter but that by Study Instance UID."""

    def __init__(self) -> None:
        self.all = b"[]"

    def __call__(self, passing: Passing) -> None:
        if not is_list_of(passing, "studies") or passing.status not in (200, 204):
            return
        if re.search(r"studies\?limit=101$", passing.path):
            self.all = passing.body
        elif re.search(r"(PatientName|ModalitiesInStudy|StudyDate)=", passing.path) and "nonsense" not in passing.path:
            passing.status, passing.body = 200, self.all
            passing.headers["Content-Type"] = "application/dicom+json"


def part_headers_in_lower_case(passing: Passing) -> None:
    if is_frames(passing):
        passing.body = passing.body.replace(b"\r\nContent-Type:", b"\r\ncontent-type:")


def part_headers_in_another_order(passing: Passing) -> None:
    if is_frames(passing):
        passing.body = re.sub(
            rb"\r\n(Content-Type: [^\r]*)\r\n((?:[^\r]+\r\n)*)\r\n",
            rb"\r\nContent-Location: elsewhere\r\n\1\r\n\2\r\n",
            passing.body,
            count=1,
        )


def no_closing_boundary(passing: Passing) -> None:
    if is_frames(passing):
        passing.body = passing.body[: passing.body.rindex(b"\r\n--")]


def another_boundary(passing: Passing) -> None:
    if is_frames(passing):
        passing.headers["Content-Type"] = re.sub(
            r"boundary=[^;]+", "boundary=of-something-else", passing.headers["Content-Type"]
        )


def no_boundary(passing: Passing) -> None:
    if is_frames(passing):
        passing.headers["Content-Type"] = re.sub(r";\s*boundary=[^;]+", "", passing.headers["Content-Type"])


def line_feeds_only(passing: Passing) -> None:
    if is_frames(passing):
        head, _, rest = passing.body.partition(b"\r\n\r\n") if passing.body[:2] != b"\r\n" else (b"", b"", b"")
        if not head:
            start, _, rest = passing.body[2:].partition(b"\r\n\r\n")
            head = b"\r\n" + start.replace(b"\r\n", b"\n")
        passing.body = head + b"\n\n" + rest


def frames_cut_off(passing: Passing) -> None:
    if is_frames(passing):
        end = passing.body.rindex(b"\r\n--")
        passing.body = passing.body[: end - 10] + passing.body[end:]


def frames_without_transfer_syntax(passing: Passing) -> None:
    if is_frames(passing):
        passing.body = re.sub(
            rb"(?i)\r\nContent-Type:[^\r]*", b"\r\nContent-Type: application/octet-stream", passing.body
        )


def two_frames_for_one(passing: Passing) -> None:
    if is_frames(passing) and passing.path.endswith("/frames/1"):
        end = passing.body.rindex(b"\r\n--")
        start = passing.body.index(b"--")
        passing.body = passing.body[:end] + b"\r\n" + passing.body[start:]


def bulk_data_nowhere(passing: Passing) -> None:
    if passing.path.endswith("/metadata"):
        passing.body = re.sub(rb'("BulkDataURI": ?")http://[^/]*/', rb"\1http://bulk-data.invalid/", passing.body)


def waveforms_only_in_parts(passing: Passing) -> None:
    if passing.request_headers.get("Accept") == "application/octet-stream" and "bulkdata" in passing.path:
        passing.status, passing.body = 400, b"multipart only"


def no_unquoted_accept(passing: Passing) -> None:
    if "type=application" in passing.request_headers.get("Accept", ""):
        passing.status, passing.body = 406, b"quote it"


def no_quoted_accept(passing: Passing) -> None:
    if 'transfer-syntax="' in passing.request_headers.get("Accept", ""):
        passing.status, passing.body = 406, b"do not quote it"


def metadata_of_one_instance_less(passing: Passing) -> None:
    if re.search(r"/series/[0-9.]+/metadata$", passing.path) and passing.status == 200:
        document = json.loads(passing.body)
        passing.body = json.dumps(document[:1] if len(document) == 2 else document).encode()


def metadata_without_rows(passing: Passing) -> None:
    if re.search(r"/series/[0-9.]+/metadata$", passing.path):
        data_sets(passing, lambda item: item.pop("00280010", None))


def numbers_as_text(passing: Passing) -> None:
    def change(item: dict[str, Any]) -> None:
        if "00280010" in item:
            item["00280010"]["Value"] = [str(item["00280010"]["Value"][0])]

    if re.search(r"/series/[0-9.]+/metadata$", passing.path):
        data_sets(passing, change)


def retrieve_urls_without_a_host(passing: Passing) -> None:
    def change(item: dict[str, Any]) -> None:
        item["00081190"] = {"vr": "UR", "Value": ["/dicom-web/studies/elsewhere"]}

    if "includefield" in passing.path and is_list_of(passing, "series"):
        data_sets(passing, change)


def objects_that_are_none(passing: Passing) -> None:
    if (
        passing.request_headers.get("Accept", "")
        .replace(" ", "")
        .startswith('multipart/related;type="application/dicom"')
    ):
        passing.body = passing.body.replace(b"DICM", b"MCID")


def failures_for_mistakes(passing: Passing) -> None:
    if passing.status in (400, 404):
        passing.status = 500


def store_with_charset(passing: Passing) -> None:
    if passing.method == "POST":
        passing.headers["Content-Type"] = "application/dicom+json; charset=utf-8"


def store_refused_in_the_body(passing: Passing) -> None:
    if passing.method == "POST":
        failed = {"00081197": {"vr": "US", "Value": [272]}}
        passing.body = json.dumps({"00081198": {"vr": "SQ", "Value": [failed]}}).encode()


def json_as_text(passing: Passing) -> None:
    if is_list_of(passing, "series"):
        passing.headers["Content-Type"] = "text/plain"


FAULTS: list[tuple[Spoil, tuple[Client, ...], set[tuple[str, Client]]]] = [
    (valueless_modalities, (OHIF,), {("modality-without-value", OHIF)}),
    (no_study_uid, (OHIF,), {("uid-missing", OHIF)}),
    (no_descriptions, (OHIF,), {("attribute-missing", OHIF)}),
    (names_as_text, (OHIF,), {("person-name", OHIF)}),
    (no_vrs, (OHIF, SCRIPTS), {("vr-missing", OHIF), ("vr-missing", SCRIPTS)}),
    (one_object, (OHIF,), {("json-shape", OHIF)}),
    (no_limit, (OHIF,), {("limit-ignored", OHIF)}),
    (OffsetIgnored(), (SCRIPTS,), {("offset-ignored", SCRIPTS)}),
    (FiltersIgnored(), (OHIF,), {("filter-ignored", OHIF)}),
    (json_as_text, (OHIF,), {("content-type", OHIF)}),
    (
        part_headers_in_lower_case,
        (OHIF, CORNERSTONE, SCRIPTS),
        {("part-content-type", OHIF), ("part-content-type", CORNERSTONE)},
    ),
    (part_headers_in_another_order, (CORNERSTONE,), {("part-header-order", CORNERSTONE)}),
    (no_closing_boundary, (CORNERSTONE,), {("multipart-end", CORNERSTONE)}),
    (another_boundary, (CORNERSTONE,), {("multipart-boundary", CORNERSTONE)}),
    (no_boundary, (SCRIPTS,), {("multipart-boundary", SCRIPTS)}),
    (line_feeds_only, (CORNERSTONE,), {("multipart-line-ends", CORNERSTONE)}),
    (frames_cut_off, (CORNERSTONE,), {("frame-damaged", CORNERSTONE)}),
    (two_frames_for_one, (CORNERSTONE,), {("part-count", CORNERSTONE)}),
    (bulk_data_nowhere, (OHIF, SCRIPTS), {("unreachable", OHIF), ("unreachable", SCRIPTS)}),
    (waveforms_only_in_parts, (OHIF,), {("status-400", OHIF)}),
    (no_unquoted_accept, (CORNERSTONE,), {("status-406", CORNERSTONE)}),
    (no_quoted_accept, (OHIF,), {("status-406", OHIF)}),
    (metadata_of_one_instance_less, (OHIF,), {("metadata-incomplete", OHIF)}),
    (metadata_without_rows, (OHIF,), {("pixel-description", OHIF)}),
    (numbers_as_text, (OHIF,), {("number-as-text", OHIF)}),
    (retrieve_urls_without_a_host, (WEASIS,), {("retrieve-url", WEASIS)}),
    (objects_that_are_none, (WEASIS, SCRIPTS), {("no-object", WEASIS), ("no-object", SCRIPTS)}),
    (failures_for_mistakes, (CORNERSTONE,), {("server-error", ANY)}),
]


@pytest.mark.parametrize(
    ("spoil", "clients", "expected"),
    [pytest.param(*row, id=getattr(row[0], "__name__", type(row[0]).__name__)) for row in FAULTS],
)
def test_the_fault_is_found_and_no_other(
    spoiled: Spoiled,
    examined: Examine,
    spoil: Spoil,
    clients: tuple[Client, ...],
    expected: set[tuple[str, Client]],
) -> None:
    examination = examined(spoiled(spoil), clients=clients)
    assert serious(examination) == expected
    assert examination.fatal is None


def test_nothing_is_found_where_nothing_is_spoiled(spoiled: Spoiled, examined: Examine) -> None:
    examination = examined(spoiled(lambda passing: None))
    assert serious(examination) == set()
    assert examination.is_good


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (store_with_charset, {("content-type", SCRIPTS)}),
        (store_refused_in_the_body, {("not-stored", OHIF), ("not-stored", SCRIPTS)}),
    ],
)
def test_faults_in_storing(
    spoiled: Spoiled, examined: Examine, spoil: Spoil, expected: set[tuple[str, Client]]
) -> None:
    assert serious(examined(spoiled(spoil), clients=(OHIF, SCRIPTS), store=True)) == expected


def test_compressed_frames_have_to_name_their_transfer_syntax(spoiled: Spoiled, examined: Examine) -> None:
    study = jpeg_2000_study()
    examination = examined(spoiled(frames_without_transfer_syntax), clients=(CORNERSTONE,), study_instance_uid=study)
    assert serious(examination) == {("transfer-syntax", CORNERSTONE)}


def test_what_settings_of_ohif_mend_is_in_its_configuration(spoiled: Spoiled, examined: Examine) -> None:
    quoting = examined(spoiled(no_unquoted_accept), clients=(OHIF,))
    assert serious(quoting) == {("status-406", OHIF)}
    assert quoting.is_good
    assert ohif_data_source(quoting)["omitQuotationForMultipartRequest"] is False
    url = spoiled(bulk_data_nowhere)
    moved = examined(url, clients=(OHIF,))
    assert ohif_data_source(moved)["bulkDataURI"] == {
        "enabled": True,
        "startsWith": "http://bulk-data.invalid",
        "prefixWith": url.removesuffix("/dicom-web"),
    }


def jpeg_2000_study() -> str:
    return str(dcmread(str(get_testdata_file("JPEG2000.dcm"))).StudyInstanceUID)


def test_cors_counts_for_a_viewer_elsewhere(spoiled: Spoiled, examined: Examine) -> None:
    url = spoiled(lambda passing: None)
    assert serious(examined(url, clients=(CORNERSTONE,))) == set()
    elsewhere = examined(url, clients=(CORNERSTONE,), viewer_origin="https://viewer.example.org")
    assert {code for code, _ in serious(elsewhere)} <= {"cors", "cors-preflight"}
    assert ("cors", CORNERSTONE) in serious(elsewhere)
    assert not elsewhere.is_good


def allowing(passing: Passing) -> None:
    passing.headers["Access-Control-Allow-Origin"] = passing.request_headers.get("Origin", "*")
    if passing.method == "OPTIONS":
        passing.status, passing.body = 204, b""
        passing.headers["Access-Control-Allow-Headers"] = "*"


def test_a_star_does_not_allow_authorization(spoiled: Spoiled, examined: Examine) -> None:
    origin = "https://viewer.example.org"
    examination = examined(spoiled(allowing), clients=(CORNERSTONE,), viewer_origin=origin)
    assert serious(examination) == {("cors-headers", CORNERSTONE)}


class SlowProber(Prober):
    """Tells of every answer that it took long."""

    def send(
        self, method: str, url: str, headers: Mapping[str, str], *, limit: int, body: bytes | None = None
    ) -> Answer:
        return replace(super().send(method, url, headers, limit=limit, body=body), seconds=11.0)


def test_slow_answers_are_told_and_break_nothing(archive: Served) -> None:
    plan = Plan(archive.dicomweb, (CORNERSTONE,))
    examination = examine(plan, SlowProber(archive.dicomweb, timeout=60), lambda _done, _total, _what: None)
    assert {finding.code for finding in examination.findings if finding.severity > Severity.NOTE} == {SLOW}
    assert examination.is_good
    result = examination.result(CORNERSTONE, "frame")
    assert result is not None
    assert result.outcome is Outcome.SLOW
    assert "11.0 s" in result.findings[0].what
