"""Reads the Native DICOM Model (PS3.19 A.1) for comparison."""

import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


class Attribute(NamedTuple):
    """An attribute: `content` is of texts, of names as dicts, of items as Attributes, or the word BulkData."""

    vr: str
    keyword: str | None
    content: list[Any]


Attributes = dict[tuple[str, str | None], Attribute]


def attributes_of(element: ET.Element) -> Attributes:
    """By tag and private creator. Raises ValueError for what must not be in a data set."""
    found: Attributes = {}
    for attribute in element:
        if attribute.tag != f"{NAMESPACE}DicomAttribute":
            raise ValueError(attribute.tag)
        tag, vr = attribute.attrib["tag"], attribute.attrib["vr"]
        content = [_content(child) for child in attribute]
        found[tag, attribute.get("privateCreator")] = Attribute(vr, attribute.get("keyword"), content)
    return found


def _content(element: ET.Element) -> Any:
    match element.tag.removeprefix(NAMESPACE):
        case "Item":
            return attributes_of(element)
        case "PersonName":
            return {
                group.tag.removeprefix(NAMESPACE): {
                    component.tag.removeprefix(NAMESPACE): component.text for component in group if component.text
                }
                for group in element
                if any(component.text for component in group)
            }
        case "BulkData":
            return "BulkData"
        case "Value" | "InlineBinary":
            return element.text or ""
        case name:
            raise ValueError(name)
