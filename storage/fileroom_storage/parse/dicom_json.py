"""A data set in the DICOM JSON Model (PS3.18 Annex F), and the bulk data that it refers to."""

from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from ..errors import HeaderTooLarge, InstanceNotFound, InvalidQuery
from .data_set import DataSet
from .encoding import PIXEL_DATA_TAGS, UNDEFINED, Element
from .values import BINARY_WORD, DECODERS, little_endian

JsonElement = dict[str, Any]
BulkDataUri = Callable[[str], str]

DEFAULT_THRESHOLD = 1024
# What is held of one header at a time. Values of more than some KiB are bulk data, or nonsense.
LONGEST_VALUE = 16 << 20
# Bytes of values, with as many for each element and item as there are values of some use in it. In memory it is up to
# six times as much. A cine loop of 5000 frames has a quarter of it.
MOST_OF_HEADER = 128 << 20
_COST = 64


def data_set_json(
    data_set: DataSet,
    tags: Collection[int] | None = None,
    bulk_data_uri: BulkDataUri | None = None,
    bulk_data_threshold: int = DEFAULT_THRESHOLD,
) -> dict[str, JsonElement]:
    """The elements with these tags, or all of them, by tag in ascending order, with everything nested in them.

    Raises HeaderTooLarge.
    """
    writer = _Writer(bulk_data_uri, bulk_data_threshold)
    wanted = sorted(presentable_tags(data_set.elements) if tags is None else data_set.elements.keys() & set(tags))
    return writer.write(data_set, wanted)


def element_json(data_set: DataSet, tag: int, most: int = MOST_OF_HEADER) -> JsonElement | None:
    """One element with all that is nested in it, bulk data inline; None where there is no such element.

    Raises HeaderTooLarge where it holds more than `most`.
    """
    element = data_set.elements.get(tag)
    if element is None:
        return None
    decoder = DECODERS.get(element[0])
    if decoder is not None:
        _, offset, length, _ = element
        if length > LONGEST_VALUE:
            raise _too_long(tag)
        value = bytes(data_set.view[offset : offset + length])
        values = decoder(value, data_set.character_set, data_set.encoding.big_endian)
        return {"vr": element[0], "Value": values} if values else {"vr": element[0]}
    return _Writer(None, 0, most).write(data_set, (tag,)).get(f"{tag:08X}")


def bulk_data(data_set: DataSet, path: str) -> memoryview:
    """The value at a path like `7FE00010` or `52009229/0/00289145`, little endian; a copy only where bytes are swapped.

    Raises InvalidQuery for what is no such path, InstanceNotFound where nothing is there.
    """
    *steps, last = path.split("/")
    if len(steps) % 2:
        raise InvalidQuery("a path to bulk data is tag/item/tag/…/tag, tags of 8 hexadecimal digits", path)
    for tag_text, number in zip(steps[::2], steps[1::2], strict=True):
        data_set = _item(data_set, _tag(tag_text), number)
    tag = _tag(last)
    element = data_set.elements.get(tag)
    if element is None:
        raise InstanceNotFound(f"the instance has no bulk data at {path}")
    _, offset, length, _ = element
    value = memoryview(data_set.view)[offset : offset + length]
    return memoryview(little_endian(value, data_set.vr(tag, element), data_set.is_big_endian(element)))


def _tag(text: str) -> int:
    if len(text) != 8 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        raise InvalidQuery("a path to bulk data names elements by 8 hexadecimal digits", text)
    return int(text, 16)


def _item(data_set: DataSet, tag: int, number: str) -> DataSet:
    if not (number.isascii() and number.isdigit()):
        raise InvalidQuery("a path to bulk data numbers items from 0", number)
    element = data_set.elements.get(tag)
    if element is not None and data_set.vr(tag, element) == "SQ":
        for index, item in enumerate(data_set.items(tag)):
            if index == int(number):
                return item
    raise InstanceNotFound(f"the instance has no item {number} in {tag:08X}")


def presentable_tags(tags: Iterable[int]) -> list[int]:
    """Without group lengths (PS3.5 7.2), and without command and file meta elements that got into the data set."""
    return [tag for tag in tags if tag & 0xFFFF and tag >> 16 not in (0x0000, 0x0002)]


class _OpenSequence(NamedTuple):
    items: Iterator[tuple[int, DataSet]]
    json: JsonElement
    path: str


class _Writer:
    """Writes a data set item by item, depth first, without recursion: one item a level is in hand at a time."""

    def __init__(self, bulk_data_uri: BulkDataUri | None, bulk_data_threshold: int, most: int = MOST_OF_HEADER) -> None:
        self._left = most
        self._bulk_data_uri = bulk_data_uri
        self._threshold = bulk_data_threshold
        self._opened: list[_OpenSequence] = []

    def write(self, data_set: DataSet, tags: Iterable[int]) -> dict[str, JsonElement]:
        result: dict[str, JsonElement] = {}
        self._write_elements(data_set, tags, result, "")
        while self._opened:
            sequence = self._opened[-1]
            number, item = next(sequence.items, (0, None))
            if item is None:
                self._opened.pop()
                continue
            self._pay(_COST)
            item_json: dict[str, JsonElement] = {}
            sequence.json.setdefault("Value", []).append(item_json)
            self._write_elements(item, sorted(presentable_tags(item.elements)), item_json, f"{sequence.path}{number}/")
        return result

    def _write_elements(
        self, data_set: DataSet, tags: Iterable[int], result: dict[str, JsonElement], path: str
    ) -> None:
        elements, view, big_endian = data_set.elements, data_set.view, data_set.encoding.big_endian
        character_set = data_set.character_set
        held = 0
        for tag in tags:
            element = elements[tag]
            vr, offset, length, _ = element
            decoder = DECODERS.get(vr)
            key = f"{tag:08X}"
            held += _COST
            if decoder is not None:
                if length > LONGEST_VALUE:
                    raise _too_long(tag)
                held += length
                values = decoder(bytes(view[offset : offset + length]), character_set, big_endian)
                result[key] = {"vr": vr, "Value": values} if values else {"vr": vr}
            else:
                other = self._other(data_set, tag, element, key, path)
                if other is not None:
                    result[key] = other
        self._pay(held)

    def _other(self, data_set: DataSet, tag: int, element: Element, key: str, path: str) -> JsonElement | None:
        """An element that is a sequence, or binary, or whose VR is only in the dictionary."""
        vr = data_set.vr(tag, element)
        if vr == "SQ":
            return self._sequence(data_set, tag, f"{path}{key}/")
        if vr in BINARY_WORD:
            return self._binary(data_set, tag, element, vr, path + key)
        if element[2] > LONGEST_VALUE:
            raise _too_long(tag)
        self._pay(element[2])
        values = DECODERS[vr](data_set.value(element), data_set.character_set, data_set.is_big_endian(element))
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _pay(self, cost: int) -> None:
        self._left -= cost
        if self._left < 0:
            raise HeaderTooLarge("it has too many elements and items")

    def _sequence(self, data_set: DataSet, tag: int, path: str) -> JsonElement:
        json: JsonElement = {"vr": "SQ"}
        self._opened.append(_OpenSequence(enumerate(data_set.items(tag)), json, path))
        return json

    def _binary(self, data_set: DataSet, tag: int, element: Element, vr: str, path: str) -> JsonElement | None:
        length, flags = element[2:]
        is_pixel_data = tag in PIXEL_DATA_TAGS and data_set.parent is None
        if self._bulk_data_uri is not None and (length > self._threshold or is_pixel_data or flags & UNDEFINED):
            # PS3.18 F.2.6
            return {"vr": vr, "BulkDataURI": self._bulk_data_uri(path)}
        if is_pixel_data:
            return None
        if not length:
            return {"vr": vr}
        if length > LONGEST_VALUE:
            raise _too_long(tag)
        self._pay(2 * length)
        value = little_endian(data_set.value(element), vr, data_set.is_big_endian(element))
        return {"vr": vr, "InlineBinary": b64encode(value).decode("ascii")}


def _too_long(tag: int) -> HeaderTooLarge:
    return HeaderTooLarge(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) has more than {LONGEST_VALUE >> 20} MiB")
