"""The page at `/`: what runs here, and where."""

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


def start_page(root_url: str, addresses: Mapping[str, str]) -> Response:
    """The root of DICOMweb, which viewers want and which has no page of its own; then what can be opened, by name."""
    entries = f"<dt>DICOMweb: QIDO-RS, WADO-RS and STOW-RS</dt>\n<dd><code>{escape(root_url)}</code></dd>\n"
    entries += "".join(
        f'<dt>{escape(description)}</dt>\n<dd><a href="{escape(address)}">{escape(address)}</a></dd>\n'
        for description, address in addresses.items()
    )
    response = Response(_PAGE.format(entries=entries), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response
