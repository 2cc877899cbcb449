"""The DICOM JSON Model (PS3.18 F.2) written as the Native DICOM Model, which is XML (PS3.19 A.1)."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydicom.datadict import keyword_for_tag

JsonDataSet = Mapping[str, Mapping[str, Any]]

_START = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">'
)
_END = "</NativeDicomModel>"
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")

# What XML 1.0 has no way to write; a reader would refuse the whole document for one of them.
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Readers turn a bare CR into LF, and in attributes every white space into a space.
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = _TEXT | str.maketrans({'"': "&quot;", "\t": "&#9;", "\n": "&#10;"})


def native_model(data_set: JsonDataSet) -> bytes:
    """The data set as an XML document in UTF-8. Nothing is decoded here: what the JSON says is what is written."""
    pieces = [_START]
    opened: list[Iterator[str | JsonDataSet]] = [_data_set(data_set)]
    # item by item without recursion, as the JSON was made
    while opened:
        piece = next(opened[-1], None)
        if piece is None:
            opened.pop()
        elif isinstance(piece, str):
            pieces.append(piece)
        else:
            opened.append(_data_set(piece))
    pieces.append(_END)
    return "".join(pieces).encode()


def _data_set(data_set: JsonDataSet) -> Iterator[str | JsonDataSet]:
    """The attributes as text; where items are nested, the items themselves."""
    for tag in sorted(data_set):
        element = data_set[tag]
        start = _start(tag, element["vr"], data_set)
        if element["vr"] == "SQ":
            yield start
            for number, item in enumerate(element.get("Value", ()), 1):
                yield f'<Item number="{number}">'
                yield item or {}
                yield "</Item>"
            yield "</DicomAttribute>"
        else:
            yield f"{start}{_content(element)}</DicomAttribute>"


def _start(tag: str, vr: str, data_set: JsonDataSet) -> str:
    if int(tag[3], 16) & 1 and tag[4:6] != "00":
        creator = _value(data_set, f"{tag[:4]}00{tag[4:6]}")
        if creator is not None:
            # PS3.19 Table A.1.5-2: the block's number gives way to its creator
            tag = f"{tag[:4]}00{tag[6:]}"
            return f'<DicomAttribute tag="{tag}" vr="{vr}" privateCreator="{_escaped(creator, _ATTRIBUTE)}">'
    keyword = _keyword(tag)
    return f'<DicomAttribute tag="{tag}" vr="{vr}"' + (f' keyword="{keyword}">' if keyword else ">")


@lru_cache(maxsize=8192)
def _keyword(tag: str) -> str:
    return keyword_for_tag(int(tag, 16))


def _value(data_set: JsonDataSet, tag: str) -> str | None:
    values = data_set.get(tag, {}).get("Value")
    return values[0] if values and isinstance(values[0], str) else None


def _content(element: Mapping[str, Any]) -> str:
    if "BulkDataURI" in element:
        return f'<BulkData uri="{_escaped(element["BulkDataURI"], _ATTRIBUTE)}"/>'
    if "InlineBinary" in element:
        return f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
    values = enumerate(element.get("Value", ()), 1)
    if element["vr"] == "PN":
        return "".join(_person_name(number, value or {}) for number, value in values)
    return "".join(f'<Value number="{number}">{_text(value)}</Value>' for number, value in values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _escaped(value if isinstance(value, str) else str(value), _TEXT)


def _person_name(number: int, value: Mapping[str, str]) -> str:
    groups = "".join(
        f"<{group}>{_name_components(value[group])}</{group}>" for group in _NAME_GROUPS if value.get(group)
    )
    return f'<PersonName number="{number}">{groups}</PersonName>'


def _name_components(text: str) -> str:
    # PS3.5 6.2.1.1; what stands behind a fifth circumflex is nobody's component and stays with the suffix
    components = zip(_NAME_COMPONENTS, text.split("^", len(_NAME_COMPONENTS) - 1), strict=False)
    return "".join(f"<{name}>{_escaped(part, _TEXT)}</{name}>" for name, part in components if part)


def _escaped(text: str, replacements: dict[int, str]) -> str:
    return _IMPOSSIBLE.sub("\ufffd", text).translate(replacements)
