"""Reads the Native DICOM Model (PS3.19 A.1), which is XML, into the DICOM JSON Model."""

import re
from collections.abc import Iterable
from typing import Any
from xml.parsers import expat  # nothing is ever fetched, and document types are refused

from ..errors import UnusableObject, UnusableReason
from .json_reading import MAXIMUM_EVENTS, MAXIMUM_TEXT, BrokenMetadata, JsonDataSet, MetadataTooLarge
from .nesting import MAXIMUM_DEPTH

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_SEPARATOR = "\n"
_TAG = re.compile("[0-9A-Fa-f]{8}")
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_INTEGER_VRS = frozenset({"SL", "SS", "SV", "UL", "US", "UV"})
_FLOAT_VRS = frozenset({"FD", "FL"})
_GROUPS = frozenset({"Alphabetic", "Ideographic", "Phonetic"})
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# What may stand in what.
_CHILDREN = {
    "": frozenset({"NativeDicomModel"}),
    "NativeDicomModel": frozenset({"DicomAttribute"}),
    "Item": frozenset({"DicomAttribute"}),
    "DicomAttribute": frozenset({"Value", "Item", "PersonName", "BulkData", "InlineBinary"}),
    "PersonName": _GROUPS,
    **dict.fromkeys(_GROUPS, frozenset(_COMPONENTS)),
}
_MAXIMUM_GAP = 10_000
_FIRST_BLOCK, _LAST_BLOCK = 0x10, 0xFF


def read_native_model(chunks: Iterable[bytes]) -> JsonDataSet:
    """The data set of one document. Raises BrokenMetadata, MetadataTooLarge, UnusableObject."""
    return _Reader().read(chunks)


class _DataSet:
    """A data set being read, with the private attributes whose block is known only when all of it is."""

    def __init__(self) -> None:
        self.elements: JsonDataSet = {}
        self.private: list[tuple[str, str, dict[str, Any]]] = []  # private creator, tag, element

    def add(self, tag: str, private_creator: str | None, element: dict[str, Any]) -> None:
        if private_creator is not None and int(tag[:4], 16) & 1:
            self.private.append((private_creator, tag, element))
        else:
            self._put(tag, element)

    def place_private_attributes(self) -> None:
        """PS3.19 A.1.5: the creator names the block; one that has none yet gets the next that is free."""
        for creator, tag, element in self.private:
            block = self._block(creator, tag)
            self._put(f"{tag[:4]}{block:02X}{tag[6:]}", element)

    def _block(self, creator: str, tag: str) -> int:
        group = tag[:4]
        given = int(tag[4:6], 16)
        number: int
        for number in (given, *range(_FIRST_BLOCK, _LAST_BLOCK + 1)):
            values = self.elements.get(f"{group}00{number:02X}", {}).get("Value") if number else None
            if values and values[0] == creator:
                return number
        used = {int(key[4:6], 16) for key in self.elements if key.startswith(group)}
        for number in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
            if f"{group}00{number:02X}" not in self.elements and number not in used:
                self._put(f"{group}00{number:02X}", {"vr": "LO", "Value": [creator]})
                return number
        raise UnusableObject(UnusableReason.MALFORMED, f"group {group} has no room for another private creator")

    def _put(self, tag: str, element: dict[str, Any]) -> None:
        if tag in self.elements:
            raise UnusableObject(UnusableReason.MALFORMED, f"({tag[:4]},{tag[4:]}) is there twice in one data set")
        self.elements[tag] = element


class _Reader:
    def __init__(self) -> None:
        self._names = [""]
        self._data_sets: list[_DataSet] = []
        self._elements: list[dict[str, Any]] = []  # the attributes that are open, one in another
        self._attributes: list[dict[str, str]] = []
        self._name: dict[str, list[str]] = {}
        self._group = ""
        self._text: list[str] | None = None
        self._taken = self._count = 0

    def read(self, chunks: Iterable[bytes]) -> JsonDataSet:
        parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._document_type
        try:
            for chunk in chunks:
                self._taken += len(chunk)
                if self._taken > MAXIMUM_TEXT:
                    raise MetadataTooLarge(
                        f"a document has more than {MAXIMUM_TEXT >> 20} MiB; send bulk data in parts of their own"
                    )
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except (expat.ExpatError, LookupError, ValueError):  # the latter two for an encoding that is not known
            raise BrokenMetadata("the metadata is no XML, or not whole") from None
        data_set = self._data_sets[0]
        return data_set.elements

    def _document_type(self, *_: object) -> None:
        raise BrokenMetadata("the XML has a document type declaration; leave it out")

    def _start(self, full_name: str, attributes: dict[str, str]) -> None:
        namespace, _, name = full_name.rpartition(_SEPARATOR)
        if namespace not in (_NAMESPACE, "") or name not in _CHILDREN.get(self._names[-1], ()):
            raise BrokenMetadata("the XML is no NativeDicomModel of PS3.19 A.1")
        self._count += 1
        if self._count > MAXIMUM_EVENTS:
            raise UnusableObject(UnusableReason.TOO_LARGE, "the metadata has too many values; send them as bulk data")
        self._names.append(name)
        if name in ("NativeDicomModel", "Item"):
            self._start_data_set(name, attributes)
        elif name == "DicomAttribute":
            self._elements.append({"vr": attributes.get("vr")})
            self._attributes.append(attributes)
        elif name == "PersonName":
            self._name = {}
            self._attributes.append(attributes)
        elif name in _GROUPS:
            self._group = name
            self._name[name] = [""] * len(_COMPONENTS)
        elif name == "BulkData":
            self._elements[-1]["BulkDataURI"] = attributes.get("uri") or attributes.get("uuid")
        else:
            self._text = []
            self._attributes.append(attributes)

    def _start_data_set(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._data_sets) > MAXIMUM_DEPTH:
            raise UnusableObject(
                UnusableReason.NESTED_TOO_DEEP, f"sequences are nested more than {MAXIMUM_DEPTH} levels deep"
            )
        self._data_sets.append(_DataSet())
        if name == "Item":
            self._put_value(attributes, self._data_sets[-1].elements, {})

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, _: str) -> None:
        name = self._names.pop()
        if name in ("NativeDicomModel", "Item"):
            self._data_sets[-1].place_private_attributes()
            if name == "Item":
                self._data_sets.pop()
        elif name == "DicomAttribute":
            self._end_attribute()
        elif name == "PersonName":
            groups = {group: "^".join(parts).rstrip("^") for group, parts in self._name.items()}
            self._put_value(self._attributes.pop(), {group: text for group, text in groups.items() if text} or None)
        elif self._text is not None:
            text, self._text = "".join(self._text), None
            attributes = self._attributes.pop()
            if name == "Value":
                self._put_value(attributes, _value(self._elements[-1]["vr"], text))
            elif name == "InlineBinary":
                self._elements[-1]["InlineBinary"] = text
            else:
                self._name[self._group][_COMPONENTS.index(name)] = text

    def _end_attribute(self) -> None:
        element, attributes = self._elements.pop(), self._attributes.pop()
        tag = attributes.get("tag", "")
        if not _TAG.fullmatch(tag):
            raise UnusableObject(UnusableReason.MALFORMED, "an attribute's tag is not 8 hexadecimal digits")
        self._data_sets[-1].add(tag.upper(), attributes.get("privateCreator"), element)

    def _put_value(self, attributes: dict[str, str], value: Any, empty: Any = None) -> None:
        """Values are numbered from 1, and those that are empty may be left out."""
        values = self._elements[-1].setdefault("Value", [])
        number = attributes.get("number", str(len(values) + 1))
        place = int(number) - 1 if _INTEGER.fullmatch(number) else -1
        if not len(values) <= place <= len(values) + _MAXIMUM_GAP:
            raise UnusableObject(UnusableReason.MALFORMED, "values are not numbered in ascending order from 1")
        values += [empty] * (place - len(values))
        values.append(value)


def _value(vr: str | None, text: str) -> Any:
    """The text as JSON has it; what is no number stays a text, to be refused with its tag."""
    if vr in _INTEGER_VRS and _INTEGER.fullmatch(text.strip()):
        return int(text)
    if vr in _FLOAT_VRS:
        try:
            number = float(text)
        except ValueError:
            return text
        return text.strip() if number != number or number in (float("inf"), float("-inf")) else number
    return text or None
