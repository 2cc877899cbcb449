"""The OHIF viewer at `/viewer`: its files as they were installed, its page and its configuration for this address."""

import base64
import hashlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from flask import Blueprint, Response, request, send_file
from werkzeug.security import safe_join

from .authentication_settings import ViewerLogin
from .problem import Problem
from .settings import DicomwebSettings
from .viewer_config import viewer_config

PATH = "/viewer"
# The modes by the names that OHIF gives their routes, and that links to a viewer at the root of a server have.
_MODES = ("basic", "dynamic-volume", "microscopy", "segmentation", "tmtv", "usAnnotation")

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml; charset=utf-8",
}
# A file with a hash of its content in its name never changes.
_HASHED = re.compile(r"(^|[.-])[0-9a-f]{16,}\.[a-z0-9.]+$")
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATED = "no-cache"

# In the place of files of the package. Its own service worker would fetch its library from a foreign host and keep old
# files; browsers that have one from elsewhere at this address get rid of it. Its page for tokens that are renewed in a
# frame asks a foreign host too, and speaks as a library that the viewer no longer has: this one tells oidc-client-ts.
_OURS = {
    "logged-out.html": b"""\
<!doctype html><meta charset="utf-8"><title>Logged out</title><link rel="icon" href="data:,">
<p>You are logged out.</p><p><a href="./">Log in again</a></p>
""",
    "silent-refresh.html": b'<!doctype html><meta charset="utf-8"><script src="silent-refresh.js"></script>\n',
    "silent-refresh.js": b"""\
window.parent.postMessage({ source: 'oidc-client', url: location.href, keepOpen: false }, location.origin);
""",
    "init-service-worker.js": b"""\
navigator.serviceWorker?.getRegistrations().then(registrations => {
  const place = new URL(window.PUBLIC_URL || '/', location.href).href;
  registrations.filter(each => each.scope.startsWith(place)).forEach(each => each.unregister());
});
""",
    "sw.js": b"""\
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.registration.unregister()));
""",
}

_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def is_installed(settings: DicomwebSettings) -> bool:
    return settings.viewer is not None and (settings.viewer / "index.html").is_file()


def base_path(settings: DicomwebSettings) -> str:
    """The path that all of fileroom is below, as the client sees it; no slash at its end."""
    path = request.root_path if settings.base_url is None else urlsplit(settings.base_url).path
    return path.rstrip("/")


def viewer_blueprint(settings: DicomwebSettings) -> Blueprint:
    """The viewer, looked for at each request: one that is installed while the server runs is there."""
    blueprint = Blueprint("viewer", __name__)

    @blueprint.get(PATH)
    def without_slash() -> Response:
        """Where links point that know OHIF at the root of a server, and where OHIF itself returns to its list."""
        _folder(settings)
        return _to("/viewer" if "StudyInstanceUIDs" in request.args else "/")

    def mode_at_the_root() -> Response:
        _folder(settings)
        return _to(request.path)

    for mode in _MODES:
        blueprint.add_url_rule(f"/{mode}", view_func=mode_at_the_root)

    @blueprint.get(f"{PATH}/")
    @blueprint.get(f"{PATH}/<path:path>")
    def file_or_route(path: str = "index.html") -> Response:
        response = _answer(_folder(settings), path)
        response.headers.setdefault("Content-Security-Policy", _policy(settings))
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"  # addresses name studies
        return response

    def _to(route: str) -> Response:
        query = request.query_string.decode("latin-1")
        return Response(
            status=HTTPStatus.FOUND,
            headers={"Location": f"{base_path(settings)}{PATH}{route}{'?' if query else ''}{query}"},
        )

    def _answer(folder: Path, path: str) -> Response:
        if path == "app-config.js":
            base = base_path(settings)
            script = viewer_config(base, base + PATH, base + settings.prefix, settings.viewer_config, _login(settings))
            return _generated(script, _TYPES[".js"])
        if path in _OURS:
            return _generated(_OURS[path], _TYPES[PurePosixPath(path).suffix])
        if path != "index.html":
            file = _file(folder, path)
            if file is not None:
                return _static(file)
            if PurePosixPath(path).suffix:
                raise Problem(HTTPStatus.NOT_FOUND, "The viewer has no such file.")
        return _page(folder, base_path(settings) + PATH, settings)

    return blueprint


def _login(settings: DicomwebSettings) -> ViewerLogin | None:
    return settings.authentication.viewer if settings.authentication is not None else None


def _folder(settings: DicomwebSettings) -> Path:
    if settings.viewer is None or not is_installed(settings):
        raise Problem(
            HTTPStatus.NOT_FOUND, "No viewer is installed here; on the server, `fileroom viewer install` gets it."
        )
    return settings.viewer


def _file(folder: Path, path: str) -> Path | None:
    joined = safe_join(str(folder), path)
    file = Path(joined) if joined is not None else None
    return file if file is not None and file.is_file() else None


def _static(file: Path) -> Response:
    media_type = _TYPES.get(file.suffix, "application/octet-stream")
    packed = file.with_name(f"{file.name}.gz")
    is_packed = request.accept_encodings["gzip"] > 0 and packed.is_file()
    response = send_file(packed if is_packed else file, mimetype=media_type, conditional=True, etag=True)
    response.headers["Content-Type"] = media_type
    response.headers.pop("Content-Disposition", None)  # it would name the packed file
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = _IMMUTABLE if _HASHED.search(file.name) else _REVALIDATED
    return response


def _generated(body: bytes, content_type: str) -> Response:
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = _REVALIDATED
    response.add_etag()
    response.make_conditional(request)
    return response


def _page(folder: Path, viewer_path: str, settings: DicomwebSettings) -> Response:
    """index.html, in which the address that it was built for, `/`, becomes ours."""
    page = (folder / "index.html").read_text(encoding="utf-8").replace('="/', f'="{viewer_path}/')
    response = _generated(page.encode(), _TYPES[".html"])
    response.headers["Content-Security-Policy"] = _policy(settings, _INLINE_SCRIPT.findall(page))
    return response


def _policy(settings: DicomwebSettings, inline_scripts: Iterable[str] = ()) -> str:
    """What the viewer may load: from here only. What it decoded it shows as blobs and data."""
    hashes = [_hash_source(script) for script in inline_scripts]
    ours = ["'self'", *([_origin(settings.base_url)] if settings.base_url else [])]
    login = _login(settings)
    # the viewer exchanges its code for tokens there, and has them renewed in a frame
    issuers = [_origin(login.issuer)] if login is not None else []
    directives = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'", *hashes],  # its decoders in WebAssembly make functions from text
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": [*ours, "data:", "blob:"],
        "media-src": [*ours, "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": [*ours, *issuers, "data:", "blob:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": [*ours, "blob:"],
        "frame-src": [*ours, *issuers, "blob:"],
        "frame-ancestors": ["'self'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _hash_source(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
