"""The viewer behind a reverse proxy that has it below a path, and nothing else anywhere."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import BrowserContext

from tests.e2e.browser.test_studies import only_canvas, study_instance_uid, wait_for_image
from tests.e2e.browser.watched_page import WatchedPage
from tests.served import Served

PREFIX = "/sites/pacs"
PASSED_ON = ("Accept", "Accept-Encoding", "If-None-Match", "Range", "User-Agent")
PASSED_BACK = (
    "Cache-Control",
    "Content-Encoding",
    "Content-Security-Policy",
    "Content-Type",
    "ETag",
    "Location",
    "Vary",
)


@pytest.fixture
def proxied(served: Served) -> Iterator[str]:
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            headers |= {"X-Forwarded-Prefix": PREFIX, "X-Forwarded-Host": self.headers["Host"]}
            url = served.url + self.path.removeprefix(PREFIX)
            with requests.get(url, headers=headers, allow_redirects=False, stream=True, timeout=60) as answer:
                body = answer.raw.read()
                self.send_response(answer.status_code)
                for name in PASSED_BACK:
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # a browser that hangs up
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_address[1]}"
    proxy.shutdown()
    proxy.server_close()


def test_list_and_images(context: BrowserContext, proxied: str, corpus: Path) -> None:
    watched = WatchedPage(context, proxied)
    watched.open(f"{PREFIX}/")
    watched.page.get_by_text("MISTER, MR").wait_for()
    watched.open_study(f"{PREFIX}/viewer?StudyInstanceUIDs={study_instance_uid(corpus, 'mr-sr')}")
    assert watched.page.url.startswith(f"{proxied}{PREFIX}/viewer/viewer?")
    wait_for_image(watched, only_canvas(watched))  # a worker, and decoders in WebAssembly
    watched.page.locator("[data-cy=return-to-work-list]").click()
    watched.page.get_by_text("MISTER, MR").wait_for()
    watched.page.reload()
    watched.page.get_by_text("MISTER, MR").wait_for()
    assert watched.complaints == []
