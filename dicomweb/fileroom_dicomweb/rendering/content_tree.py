"""The content tree of a structured report (PS3.3 C.17.3) in words: names, values with units, references."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fileroom_storage.parse.header import Header

Item = dict[str, dict[str, Any]]

_VALUE_TYPE = "0040A040"
_RELATIONSHIP_TYPE = "0040A010"
_CONCEPT_NAME = "0040A043"
_CONTENT = "0040A730"
_MOST_COORDINATES = 12
_IN_THE_HEADER = (
    ("Patient", "00100010"),
    ("Patient ID", "00100020"),
    ("Birth date", "00100030"),
    ("Sex", "00100040"),
    ("Study date", "00080020"),
    ("Study", "00081030"),
    ("Accession number", "00080050"),
    ("Content date", "00080023"),
    ("Manufacturer", "00080070"),
    ("Completion", "0040A491"),
    ("Verification", "0040A493"),
)


@dataclass(frozen=True, slots=True)
class Code:
    """A coded entry (PS3.3 8.8): its meaning, and where it is from."""

    meaning: str
    origin: str = ""

    def __str__(self) -> str:
        return f"{self.meaning} ({self.origin})" if self.origin else self.meaning


@dataclass(frozen=True, slots=True)
class ContentItem:
    """A node of the tree. `value` is None for a container; `codes` are what is behind the words of the value."""

    name: Code | None
    value: str | None
    codes: tuple[Code, ...]
    relationship: str
    children: tuple["ContentItem", ...]


@dataclass(frozen=True, slots=True)
class StructuredReport:
    """`about` is what of the object's attributes a reader wants first, by label."""

    about: tuple[tuple[str, str], ...]
    root: ContentItem


def has_content_tree(header: Header) -> bool:
    return 0x0040A730 in header and 0x0040A040 in header


def structured_report(header: Header) -> StructuredReport:
    tags = [_IN_THE_HEADER[number][1] for number in range(len(_IN_THE_HEADER))]
    wanted = {int(tag, 16) for tag in (*tags, _VALUE_TYPE, _CONCEPT_NAME, _CONTENT)}
    item = header.dicom_json(wanted)
    about = ((label, _first(item, tag)) for label, tag in _IN_THE_HEADER)
    return StructuredReport(tuple((label, text) for label, text in about if text), _content_item(item))


def _content_item(item: Item) -> ContentItem:
    value, codes = _value(item)
    return ContentItem(
        name=_code(_items(item, _CONCEPT_NAME)),
        value=value,
        codes=codes,
        relationship=_first(item, _RELATIONSHIP_TYPE),
        children=tuple(_content_item(child) for child in _items(item, _CONTENT)),
    )


Value = tuple[str | None, tuple[Code, ...]]


def _value(item: Item) -> Value:
    value_type = _first(item, _VALUE_TYPE)
    if value_type == "CONTAINER":
        return None, ()
    reader = _READERS.get(value_type)
    if reader is not None:
        return reader(item)
    path = _all(item, "0040DB73")
    # PS3.3 C.17.3.2.5: by reference
    return (f"see item {'.'.join(path)}" if path else value_type), ()


def _plain(tag: str) -> Callable[[Item], Value]:
    return lambda item: (_first(item, tag), ())


def _numeric(item: Item) -> Value:
    for measured in _items(item, "0040A300"):
        units = _code(_items(measured, "004008EA"))
        # UCUM's 1 is no unit to be read
        shown = f" {units.meaning}" if units and units.meaning not in ("1", "no units", "unity") else ""
        return f"{_first(measured, '0040A30A')}{shown}", (units,) if units else ()
    qualifier = _code(_items(item, "0040A301"))
    return (qualifier.meaning if qualifier else "no value"), ((qualifier,) if qualifier else ())


def _coded(item: Item) -> Value:
    code = _code(_items(item, "0040A168"))
    return (code.meaning, (code,)) if code else ("", ())


def _reference(item: Item) -> Value:
    texts = []
    for referenced in _items(item, "00081199"):
        text = f"instance {_first(referenced, '00081155')}"
        for label, tag in (("frame", "00081160"), ("segment", "0062000B"), ("channel", "0040A0B0")):
            numbers = _all(referenced, tag)
            text += f", {label} {', '.join(numbers)}" if numbers else ""
        texts.append(text)
    return "; ".join(texts) or "no instance", ()


def _coordinates(item: Item) -> Value:
    numbers = _all(item, "00700022")
    shown = ", ".join(numbers[:_MOST_COORDINATES])
    more = f", … ({len(numbers)} numbers)" if len(numbers) > _MOST_COORDINATES else ""
    return f"{_first(item, '00700023').lower()} {shown}{more}".strip(), ()


def _temporal(item: Item) -> Value:
    numbers = [number for tag in ("0040A132", "0040A138", "0040A13A") for number in _all(item, tag)]
    return f"{_first(item, '0040A130').lower()} {', '.join(numbers)}".strip(), ()


_READERS: dict[str, Callable[[Item], Value]] = {
    "TEXT": _plain("0040A160"),
    "DATETIME": _plain("0040A120"),
    "DATE": _plain("0040A121"),
    "TIME": _plain("0040A122"),
    "UIDREF": _plain("0040A124"),
    "PNAME": _plain("0040A123"),
    "NUM": _numeric,
    "CODE": _coded,
    "COMPOSITE": _reference,
    "IMAGE": _reference,
    "WAVEFORM": _reference,
    "SCOORD": _coordinates,
    "SCOORD3D": _coordinates,
    "TCOORD": _temporal,
}


def _code(items: Iterable[Item]) -> Code | None:
    for item in items:
        value = _first(item, "00080100") or _first(item, "00080119") or _first(item, "00080120")
        meaning, scheme = _first(item, "00080104"), _first(item, "00080102")
        origin = ", ".join(text for text in (value, scheme) if text)
        return Code(meaning or value, origin) if meaning or value else None
    return None


def _items(item: Item, tag: str) -> list[Item]:
    element = item.get(tag)
    values = element.get("Value", ()) if element and element.get("vr") == "SQ" else ()
    return [value for value in values if isinstance(value, dict)]


def _first(item: Item, tag: str) -> str:
    return next(iter(_all(item, tag)), "")


def _all(item: Item, tag: str) -> list[str]:
    values = item.get(tag, {}).get("Value", ())
    return [_text(value) for value in values if value is not None]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        # PS3.18 F.2.2
        groups = [str(value[group]) for group in ("Alphabetic", "Ideographic", "Phonetic") if value.get(group)]
        return " = ".join(" ".join(group.replace("^", " ").split()) for group in groups)
    return str(value)
