"""The JavaScript dicomweb-client in a browser, on a page of the same origin and on one of another."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import BrowserContext
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.e2e.browser.watched_page import WatchedPage
from tests.made import made, part10, uid
from tests.served import Served

PAGE = "<!doctype html><title>dicomweb-client</title><script src='dicomweb-client.js'></script>"


@pytest.fixture(scope="module")
def served(other_site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own, for these tests store in it, that lets the other site in."""
    with Served(tmp_path_factory.mktemp("client") / "data", FILEROOM_HTTP__CORS_ORIGINS=other_site) as served:
        yield served


@pytest.fixture(scope="module")
def other_site(javascript_client: str) -> Iterator[str]:
    """A web server of another site, which has the page."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_script = self.path == "/page/dicomweb-client.js"
            body = (javascript_client if is_script else PAGE).encode()
            self.send_response(200 if self.path.startswith("/page/") else 204)
            self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
            self.send_header("Content-Length", str(len(body)) if self.path.startswith("/page/") else "0")
            self.end_headers()
            if self.path.startswith("/page/"):
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_address[1]}"
    site.shutdown()
    site.server_close()


@pytest.fixture(params=["same origin", "another origin"])
def page(
    request: pytest.FixtureRequest, context: BrowserContext, served: Served, other_site: str, javascript_client: str
) -> Iterator[WatchedPage]:
    if request.param == "same origin":
        watched = WatchedPage(context, served.url)
        watched.page.route("**/page/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        watched.page.route(
            "**/page/dicomweb-client.js",
            lambda route: route.fulfill(body=javascript_client, content_type="text/javascript"),
        )
        watched.page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    else:
        watched = WatchedPage(context, other_site, served.url)
    watched.open("/page/")
    yield watched
    assert watched.complaints == []


def run(page: WatchedPage, served: Served, script: str, **names: object) -> Any:
    """What `script` returns, with `client`, `bytes` and the names at hand."""
    return page.page.evaluate(
        """async ([script, url, names]) => {
          const client = new DICOMwebClient.api.DICOMwebClient({ url });
          const bytes = buffer =>
            btoa(Array.from(new Uint8Array(buffer), byte => String.fromCharCode(byte)).join(''));
          const buffer = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
          const tools = { client, bytes, buffer, ...names };
          const AsyncFunction = (async () => {}).constructor;
          return await new AsyncFunction(...Object.keys(tools), script)(...Object.values(tools));
        }""",
        [script, served.dicomweb, names],
    )


def test_the_package_drives_every_resource(page: WatchedPage, served: Served) -> None:
    path = str(get_testdata_file("CT_small.dcm"))
    dataset = dcmread(path)
    with open(path, "rb") as file:  # noqa: PTH123
        encoded = base64.b64encode(file.read()).decode()
    uids = {
        "studyInstanceUID": dataset.StudyInstanceUID,
        "seriesInstanceUID": dataset.SeriesInstanceUID,
        "sopInstanceUID": dataset.SOPInstanceUID,
    }
    stored = run(page, served, "return await client.storeInstances({ datasets: [buffer(file)] })", file=encoded)
    assert stored is not None

    def called(method: str, **options: object) -> Any:
        return run(page, served, f"return await client.{method}(options)", options={**uids, **options})

    query = {"queryParams": {"PatientID": dataset.PatientID}}
    [study] = run(page, served, "return await client.searchForStudies(options)", options=query)
    assert study["0020000D"]["Value"] == [dataset.StudyInstanceUID]
    [series] = called("searchForSeries")
    assert series["0020000E"]["Value"] == [dataset.SeriesInstanceUID]
    [instance] = called("searchForInstances")
    assert instance["00080018"]["Value"] == [dataset.SOPInstanceUID]
    for method in ("retrieveStudyMetadata", "retrieveSeriesMetadata"):
        [metadata] = called(method)
        assert metadata["00280010"]["Value"] == [dataset.Rows]
    metadata = called("retrieveInstanceMetadata")
    assert (metadata[0] if isinstance(metadata, list) else metadata)["00280010"]["Value"] == [dataset.Rows]

    whole = run(page, served, "return bytes(await client.retrieveInstance(options))", options=uids)
    assert base64.b64decode(whole)[128:132] == b"DICM"
    for method in ("retrieveSeries", "retrieveStudy"):
        parts = run(page, served, f"return (await client.{method}(options)).map(bytes)", options=uids)
        assert [base64.b64decode(part)[128:132] for part in parts] == [b"DICM"]
    [frame] = run(
        page,
        served,
        "return (await client.retrieveInstanceFrames(options)).map(bytes)",
        options={**uids, "frameNumbers": [1]},
    )
    assert base64.b64decode(frame) == dataset.PixelData

    [rendered] = run(
        page,
        served,
        "return (await client.retrieveInstanceRendered(options)).map(bytes)",
        options={**uids, "mediaTypes": [{"mediaType": "image/png"}]},
    )
    assert base64.b64decode(rendered).startswith(b"\x89PNG")
    [rendered] = run(
        page,
        served,
        "return (await client.retrieveInstanceFramesRendered(options)).map(bytes)",
        options={**uids, "frameNumbers": [1], "mediaTypes": [{"mediaType": "image/jpeg"}]},
    )
    assert base64.b64decode(rendered).startswith(b"\xff\xd8\xff")


def test_bulk_data(page: WatchedPage, served: Served) -> None:
    content = bytes(range(256)) * 40
    names = {"StudyInstanceUID": uid(60), "SeriesInstanceUID": uid(60, 1), "SOPInstanceUID": uid(60, 1, 1)}
    document = made(**names, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", EncapsulatedDocument=content)
    encoded = base64.b64encode(part10(document)).decode()
    run(page, served, "await client.storeInstances({ datasets: [buffer(file)] })", file=encoded)
    uids = {"studyInstanceUID": uid(60), "seriesInstanceUID": uid(60, 1)}
    [metadata] = run(page, served, "return await client.retrieveSeriesMetadata(options)", options=uids)
    address = metadata["00420011"]["BulkDataURI"]
    parts = run(
        page, served, "return (await client.retrieveBulkData(options)).map(bytes)", options={"BulkDataURI": address}
    )
    assert [base64.b64decode(part) for part in parts] == [content]


def test_an_origin_that_is_not_named_reads_nothing(context: BrowserContext, served: Served, other_site: str) -> None:
    page = context.new_page()
    page.goto(other_site.replace("127.0.0.1", "localhost") + "/page/")
    read = page.evaluate(
        "url => fetch(url).then(answer => answer.status, error => error.name)", f"{served.dicomweb}/studies?limit=1"
    )
    assert read == "TypeError"
