"""Traces of a running server, as an OTLP collector receives them: every span is a child of what it was done for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.dicomweb.objects import multipart
from tests.e2e.test_metrics import MULTIPART, associate, instance, send
from tests.made import part10, uid
from tests.served import Served

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans over OTLP/HTTP."""

    def __init__(self) -> None:
        self.spans: dict[bytes, Span] = {}
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans |= {span.span_id: span for span in scope.spans}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, name: str) -> list[Span]:
        return [span for span in list(self.spans.values()) if span.name == name]

    def ancestors(self, span: Span) -> list[str]:
        """The names of what it was done for, up to the root or to a span of somebody else."""
        names = []
        while span.parent_span_id in self.spans:
            parent = self.spans[span.parent_span_id]
            assert parent.trace_id == span.trace_id
            assert parent.start_time_unix_nano <= span.start_time_unix_nano + 1_000_000
            span = parent
            names.append(span.name)
        return names

    def children(self, span: Span) -> list[str]:
        of = [one for one in list(self.spans.values()) if one.parent_span_id == span.span_id]
        return [one.name for one in sorted(of, key=lambda one: one.start_time_unix_nano)]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def served(data: Path, collector: Collector, database: str | None = None, **environment: str) -> Served:
    tracing = {"FILEROOM_TRACING__ENABLED": "true", "FILEROOM_TRACING__ENDPOINT": collector.url}
    return Served(data, database, **tracing, OTEL_BSP_SCHEDULE_DELAY="200", **environment)


def attributes(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_an_association_is_traced_down_to_its_statements(tmp_path: Path, collector: Collector) -> None:
    with served(tmp_path / "data", collector) as server:
        association = associate(server)
        assert send(association, instance(1), instance(2), instance(3, StudyInstanceUID=None)) == [0, 0, 0xC005]
        association.release()
    [root] = collector.named("association")
    assert not root.parent_span_id
    assert attributes(root)["fileroom.calling_ae_title"] == "SENDER"
    assert attributes(root)["fileroom.end"] == "released"
    assert collector.children(root) == ["C-STORE"] * 3
    first, _, refused = sorted(collector.named("C-STORE"), key=lambda span: span.start_time_unix_nano)
    assert collector.children(first) == ["receive", "parse", "write", "sync", "wait", "commit"]
    assert attributes(first)["fileroom.status"] == "0x0000"
    assert collector.children(refused) == ["receive", "parse"]
    assert attributes(refused)["fileroom.status"] == "0xC005"
    inserts = collector.named("SQL INSERT")
    assert inserts
    for insert in inserts:
        assert collector.ancestors(insert) == ["commit", "C-STORE", "association"]
    # those of SQLAlchemy's own execution, and those on the driver's own cursor
    texts = " ".join(str(attributes(span)["db.query.text"]) for span in collector.spans.values() if "SQL" in span.name)
    assert "INSERT INTO dicom_instance" in texts
    assert "INSERT INTO dicom_issuer" in texts
    for secret in ("Doe", "P1", uid(1)):
        assert secret not in texts
    assert collector.services == {"fileroom"}


def test_a_request_belongs_to_the_trace_of_its_caller(tmp_path: Path, collector: Collector) -> None:
    headers = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"}
    with served(tmp_path / "data", collector) as server:
        body = multipart(part10(instance(1)))
        answer = requests.post(f"{server.dicomweb}/studies", body, headers={**MULTIPART, **headers}, timeout=30)
        assert answer.status_code == 200
        for _ in range(2):
            requests.get(f"{server.dicomweb}/studies?PatientName=Doe*", headers=headers, timeout=30).raise_for_status()
        unsampled = {"traceparent": f"00-{CALLER_TRACE}-{CALLER_SPAN}-00"}
        requests.get(f"{server.dicomweb}/series", headers=unsampled, timeout=30).raise_for_status()
    [store] = collector.named("POST store")
    assert store.trace_id.hex() == CALLER_TRACE
    assert store.parent_span_id.hex() == CALLER_SPAN
    assert collector.ancestors(collector.named("SQL INSERT")[0]) == ["commit", "POST store"]
    for search in collector.named("GET search_for_studies"):
        assert search.trace_id.hex() == CALLER_TRACE
    assert any("GET search_for_studies" in collector.ancestors(one) for one in collector.named("SQL SELECT"))
    assert not collector.named("GET search_for_series")
    told = b"".join(span.SerializeToString() for span in collector.spans.values())
    assert b"Doe" not in told


def test_objects_committed_together_are_traced_each(tmp_path: Path, collector: Collector, database_url: str) -> None:
    """Whoever commits for others does so in the trace of one, to which those of the others are linked."""
    threads: list[threading.Thread] = []
    with served(tmp_path / "data", collector, database_url, FILEROOM_DICOM__PROCESSES="1") as server:

        def sender(first: int) -> None:
            association = associate(server)
            assert send(association, *map(instance, range(first, first + 20))) == [0] * 20
            association.release()

        threads = [threading.Thread(target=sender, args=(100 * number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    stores = collector.named("C-STORE")
    assert len(stores) == 80
    assert {tuple(collector.ancestors(one)) for one in stores} == {("association",)}
    assert all("commit" in collector.children(one) for one in stores)
    assert {collector.ancestors(one)[-1] for one in collector.named("SQL INSERT")} == {"association"}


def test_a_collector_that_is_away_is_no_trouble(tmp_path: Path) -> None:
    environment = {"FILEROOM_TRACING__ENABLED": "true", "FILEROOM_TRACING__ENDPOINT": "http://127.0.0.1:9"}
    with Served(tmp_path / "data", **environment) as server:
        association = associate(server)
        assert send(association, instance(1)) == [0]
        association.release()


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from fileroom_server import tracing
    from fileroom_server.cli import main

    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(tracing, "find_spec", nothing)
    result = CliRunner().invoke(
        main, ["serve", "--data", str(tmp_path / "d")], env={"FILEROOM_TRACING__ENABLED": "true"}
    )
    assert result.exit_code == 1
    assert "pip install 'fileroom[tracing]'" in result.output
