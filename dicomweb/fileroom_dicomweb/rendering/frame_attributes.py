"""The attributes that count for one frame: its own functional groups, then the shared ones, then the object's."""

from base64 import b64decode
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword

from fileroom_storage.parse.data_set import DataSet
from fileroom_storage.parse.dicom_json import element_json
from fileroom_storage.parse.header import Header

_SHARED_FUNCTIONAL_GROUPS = 0x52009229
_PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230


class Attributes:
    """Values of one data set by keyword, as numbers or text, whatever their VR."""

    def __init__(self, data_set: DataSet) -> None:
        self.data_set = data_set

    def numbers(self, keyword: str) -> list[float]:
        """Empty where there are none, or any is no number."""
        element = element_json(self.data_set, _tag(keyword))
        try:
            return [float(value) for value in element.get("Value", ())] if element else []
        except (TypeError, ValueError):
            return []

    def number(self, keyword: str) -> float | None:
        return next(iter(self.numbers(keyword)), None)

    def text(self, keyword: str) -> str:
        """The first value; empty where there is none."""
        element = element_json(self.data_set, _tag(keyword))
        values = element.get("Value") if element else None
        return str(values[0]).strip() if values and values[0] is not None else ""

    def data(self, keyword: str) -> bytes:
        """A binary value, little endian."""
        element = element_json(self.data_set, _tag(keyword))
        if element is None:
            return b""
        if "InlineBinary" in element:
            return b64decode(element["InlineBinary"])
        return np.array(element.get("Value", ()), "<i8").astype("<u2").tobytes()

    def words(self, keyword: str) -> npt.NDArray[np.uint16]:
        """A binary value, or one of integers, as words of 16 bits."""
        data = self.data(keyword)
        return np.frombuffer(data[: len(data) // 2 * 2], "<u2")

    def items(self, keyword: str) -> "Iterator[Attributes]":
        tag = _tag(keyword)
        if tag in self.data_set.elements and self.data_set.vr(tag, self.data_set.elements[tag]) == "SQ":
            yield from map(Attributes, self.data_set.items(tag))

    def first_item(self, keyword: str) -> "Attributes | None":
        return next(self.items(keyword), None)


class FrameAttributes(Attributes):
    """The object's attributes, and the functional groups of the frame with this number (PS3.3 C.7.6.16)."""

    def __init__(self, header: Header, frame_number: int) -> None:
        super().__init__(header.data_set)
        self._header = header
        self._groups = [
            group
            for group in (
                next(islice(self._items(_PER_FRAME_FUNCTIONAL_GROUPS), frame_number - 1, None), None),
                next(self._items(_SHARED_FUNCTIONAL_GROUPS), None),
            )
            if group is not None
        ]

    def functional_group(self, keyword: str) -> Attributes:
        """The item of a functional group's sequence; the object itself where neither frame nor object has one."""
        for group in self._groups:
            item = group.first_item(keyword)
            if item is not None:
                return item
        return self

    def _items(self, tag: int) -> Iterator[Attributes]:
        elements = self.data_set.elements
        if tag in elements and self.data_set.vr(tag, elements[tag]) == "SQ":
            yield from map(Attributes, self.data_set.items(tag))


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag
