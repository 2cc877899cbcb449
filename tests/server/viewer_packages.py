"""Packages like that of the viewer, small, and a registry that has one."""

import hashlib
import io
import json
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INDEX = (
    '<!doctype html><html><head><script>window.PUBLIC_URL="/"</script><link rel="icon" href="/assets/favicon.ico">'
    '<script src="/app-config.js"></script><script defer src="/app.bundle.0123456789abcdef.js"></script></head></html>'
)
BUNDLE = b"""
__webpack_require__.p = "/";
const imported = await window.browserImportFunction('/dicom-microscopy-viewer/it.js');
"""
FILES: dict[str, bytes] = {
    "package/package.json": json.dumps({"name": "@ohif/app", "version": "9.9.9"}).encode(),
    "package/LICENSE": b"MIT",
    "package/dist/index.html": INDEX.encode(),
    "package/dist/app-config.js": b"window.config = {'wadoRoot': 'https://cloud.example.org'};",
    "package/dist/app.bundle.0123456789abcdef.js": BUNDLE + b"// " + b"x" * 2000,
    "package/dist/app.bundle.css": b"@font-face { src: url(/a.woff2) }",
    "package/dist/manifest.json": b'{"icons": [{"src": "/assets/a.png"}], "start_url": "./index.html"}',
    "package/dist/assets/favicon.ico": b"\0\0\1\0",
    "package/dist/ort/big.wasm": b"\0asm",
    "package/dist/sw.js": b"importScripts('https://storage.googleapis.com/workbox.js')",
}


def package(path: Path, files: dict[str, bytes] | None = None, *members: tarfile.TarInfo) -> Path:
    """A package with these files and further members without content."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (FILES if files is None else files).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def sha512(content: bytes) -> str:
    return f"sha512-{b64encode(hashlib.sha512(content).digest()).decode()}"


@contextmanager
def registry(content: bytes, promised: str) -> Iterator[str]:
    """The address of a registry that has one release of the viewer, 9.9.9."""

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers["Host"]
            metadata = {"dist": {"tarball": f"http://{host}/it.tgz", "integrity": promised}}
            answers = {"/@ohif%2Fapp/9.9.9": json.dumps(metadata).encode(), "/it.tgz": content}
            answer = answers.get(self.path)
            self.send_response(200 if answer is not None else 404)
            self.send_header("Content-Length", str(len(answer or b"")))
            self.end_headers()
            self.wfile.write(answer or b"")

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
