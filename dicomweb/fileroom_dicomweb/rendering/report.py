"""A structured report as a page to read (PS3.18 8.7.4, text/html) and as plain text."""

from collections.abc import Iterator
from html import escape

from .content_tree import ContentItem, StructuredReport

HTML = "text/html"
PLAIN_TEXT = "text/plain"
REPORT_MEDIA_TYPES = (HTML, PLAIN_TEXT)

_UNNAMED = "Report"
# PS3.3 C.17.3.2.4: what tells more of the item above it, rather than being content of its own
_BESIDE = frozenset({"HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS PROPERTIES", "SELECTED FROM"})
_DEEPEST_HEADING = 6
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }}
  h1, h2, h3, h4, h5, h6 {{ font-weight: 600; margin: 1.2em 0 .3em }}
  h3, h4, h5, h6 {{ font-size: 1rem }}
  table {{ border-collapse: collapse }}
  th {{ text-align: left; font-weight: 500; padding-right: 1rem; color: #5a6875 }}
  ul {{ margin: 0; padding-left: 1.2rem }} section {{ padding-left: .8rem; border-left: 1px solid #d5dce3 }}
  abbr {{ text-decoration: none }}
  .value {{ white-space: pre-wrap; overflow-wrap: anywhere }} .beside {{ color: #5a6875 }}
  @media (prefers-color-scheme: dark) {{
    body {{ background: #14191f; color: #dde4ec }} section {{ border-color: #39434e }}
  }}
</style>
"""


def report_html(report: StructuredReport) -> bytes:
    """A page without scripts; everything from the object is escaped."""
    title = escape(_name(report.root) or _UNNAMED)
    rows = "".join(f"<tr><th>{escape(label)}<td>{escape(text)}</tr>\n" for label, text in report.about)
    body = "".join(_html_children(report.root, 2))
    page = f"{_HEAD.format(title=title)}<h1>{title}</h1>\n<table>\n{rows}</table>\n{body}</html>\n"
    return page.encode("utf-8", "replace")


def report_text(report: StructuredReport) -> bytes:
    """The same, a line for each item."""
    title = _name(report.root) or _UNNAMED
    lines = [title, "=" * len(title), *(f"{label}: {text}" for label, text in report.about), ""]
    for child in report.root.children:
        lines += _text_lines(child, "")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _html_children(item: ContentItem, level: int) -> Iterator[str]:
    """Sections for containers, lists for what stands between them."""
    in_list = False
    for child in item.children:
        is_section = child.value is None
        if is_section and in_list:
            yield "</ul>\n"
        elif not is_section and not in_list:
            yield "<ul>\n"
        in_list = not is_section
        yield from _html_section(child, level) if is_section else _html_item(child, level)
    if in_list:
        yield "</ul>\n"


def _html_section(item: ContentItem, level: int) -> Iterator[str]:
    heading = min(level, _DEEPEST_HEADING)
    yield f"<section>\n<h{heading}>{_html_name(item) or '&hellip;'}</h{heading}>\n"
    yield from _html_children(item, level + 1)
    yield "</section>\n"


def _html_item(item: ContentItem, level: int) -> Iterator[str]:
    beside = ' class="beside"' if item.relationship in _BESIDE else ""
    name = _html_name(item)
    origins = "; ".join(code.origin for code in item.codes if code.origin)
    value = f'<span class="value" title="{escape(origins)}">{escape(item.value or "")}</span>'
    yield f"<li{beside}>{name + ': ' if name else ''}{value}\n"
    yield from _html_children(item, level)
    yield "</li>\n"


def _html_name(item: ContentItem) -> str:
    if item.name is None:
        return ""
    return f'<abbr title="{escape(item.name.origin)}">{escape(item.name.meaning)}</abbr>'


def _text_lines(item: ContentItem, indent: str) -> Iterator[str]:
    name = _name(item)
    if item.value is None:
        yield f"{indent}{name or '...'}"
    else:
        value = item.value.replace("\r\n", "\n").replace("\n", f"\n{indent}    ")
        yield f"{indent}{name + ': ' if name else ''}{value}"
    for child in item.children:
        yield from _text_lines(child, indent + "  ")


def _name(item: ContentItem) -> str:
    return item.name.meaning if item.name else ""
