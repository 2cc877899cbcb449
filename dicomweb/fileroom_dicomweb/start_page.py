"""The page at `/about`, and at `/` without a viewer: what runs here, and where."""

from collections.abc import Mapping
from html import escape

from flask import Response

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fileroom</title>
<style>
  body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem; color: #1c2733 }}
  h1 {{ font-weight: 600 }}
  dt {{ font-weight: 600; margin-top: 1rem }}
  dd {{ margin: 0 }}
  a {{ color: #0b5cad }}
  @media (prefers-color-scheme: dark) {{ body {{ background: #14191f; color: #dde4ec }} a {{ color: #7db7f0 }} }}
</style>
<h1>fileroom</h1>
<p>A PACS metadata server. It keeps DICOM objects as they came and answers from an index of their headers.</p>
<dl>
{entries}</dl>
"""


_GET_VIEWER = """\
<dt>Viewer</dt>
<dd>Not installed. On the server, <code>fileroom viewer install</code> gets it; then it is at this address.</dd>
"""


def start_page(root_url: str, addresses: Mapping[str, str], viewer_url: str | None) -> Response:
    """The viewer, or how to get it; the root of DICOMweb, which viewers want; then what can be opened, by name."""
    entries = _link("Viewer", viewer_url) if viewer_url else _GET_VIEWER
    entries += f"<dt>DICOMweb: QIDO-RS, WADO-RS and STOW-RS</dt>\n<dd><code>{escape(root_url)}</code></dd>\n"
    entries += "".join(_link(description, address) for description, address in addresses.items())
    response = Response(_PAGE.format(entries=entries), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response


def _link(description: str, address: str) -> str:
    return f'<dt>{escape(description)}</dt>\n<dd><a href="{escape(address)}">{escape(address)}</a></dd>\n'
