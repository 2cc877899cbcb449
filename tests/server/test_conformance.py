"""The conformance statement in docs/ is what the code declares."""

from pathlib import Path

from fileroom_server.conformance import statement
from fileroom_storage.attributes import ATTRIBUTES

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == statement(), "run `make docs`"


def test_every_attribute_is_listed_once() -> None:
    text = statement()
    for attribute in ATTRIBUTES:
        tag = f"| ({attribute.tag_hex[:4]},{attribute.tag_hex[4:]}) |"
        assert text.count(tag) == 1, attribute.keyword
