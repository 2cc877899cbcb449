"""Objects whose elements stand where those of an earlier object stood: most slices of a series. They need no scan.

The bytes before the pixel data are read as one number, whose bits tell against an earlier object's what is different.
All that has decided where the elements are has to be the same; of values, those who remember something of the earlier
object ask.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..errors import UnusableObject
from .encoding import LONG_VRS, SHORT_VRS, UNDEFINED, Encoding, View
from .nesting import MAY_HOLD_ITEMS, Nesting
from .scan import Elements, ObjectScan

_LONGEST_HEAD = 1 << 16  # bytes
_MODELS = 8  # of a thread, which mostly receives one series at a time


class Layout:
    """Where elements stand before the pixel data of objects that are alike. `notes` are its users', by user."""

    __slots__ = ("elements", "encoding", "length", "notes", "pixel_data", "structure", "transfer_syntax_uid")

    def __init__(
        self,
        transfer_syntax_uid: str,
        encoding: Encoding,
        elements: Elements,
        length: int,
        pixel_data: bytes,
        shallow: int,
    ) -> None:
        self.transfer_syntax_uid = transfer_syntax_uid
        self.encoding = encoding
        self.elements = elements
        self.length = length
        self.pixel_data = pixel_data  # its tag, as it is encoded
        self.structure = self._structure(shallow)
        self.notes: dict[Any, Any] = {}

    def mask(self, tags: Iterable[int]) -> int:
        """The bits of these elements' values."""
        mask = 0
        for tag in tags:
            element = self.elements.get(tag)
            if element is not None:
                mask |= ((1 << 8 * element[2]) - 1) << 8 * element[1]
        return mask

    def _structure(self, shallow: int) -> int:
        """The bits of all that the scan has looked at: everything but values, and values that may hold items."""
        looked_at = bytearray(b"\xff" * self.length)
        for vr, value, length, flags in self.elements.values():
            if not flags & UNDEFINED and (length < shallow or vr not in MAY_HOLD_ITEMS):
                looked_at[value : value + length] = bytes(length)
        return int.from_bytes(looked_at, "little")


class Model:
    """An object that others are compared with. `notes` are what its users remember of it, by user."""

    __slots__ = ("head", "layout", "notes")

    def __init__(self, layout: Layout, head: int) -> None:
        self.layout = layout
        self.head = head
        self.notes: dict[Any, Any] = {}


class Likeness:
    """An object whose elements stand where those of the model stand."""

    __slots__ = ("_difference", "_models", "model")

    def __init__(self, model: Model, difference: int, models: list[Model]) -> None:
        self.model = model
        self._difference = difference
        self._models = models

    @property
    def is_model(self) -> bool:
        """Whether nothing before the pixel data is different."""
        return not self._difference

    def same(self, mask: int) -> bool:
        """Whether the bytes under the mask are the same in both."""
        return not self._difference & mask

    def become_model(self) -> Model:
        """For what comes next: this object, in place of its model."""
        model = Model(self.model.layout, self.model.head ^ self._difference)
        self._models[:] = [model, *(one for one in self._models if one is not self.model)][:_MODELS]
        return model


class Models(threading.local):
    """What a thread has scanned last. Objects are learnt from the second of their kind on."""

    def __init__(self) -> None:
        self._models: list[Model] = []
        self._seen: deque[tuple[Any, ...]] = deque(maxlen=2 * _MODELS)
        self._refused: deque[tuple[Any, ...]] = deque(maxlen=2 * _MODELS)

    def find(self, view: View, transfer_syntax_uid: str) -> Likeness | None:
        """A model that the data set at the start of the view is like."""
        for number, model in enumerate(self._models):
            layout = model.layout
            length = layout.length
            if layout.transfer_syntax_uid != transfer_syntax_uid or view[length : length + 4] != layout.pixel_data:
                continue
            difference = int.from_bytes(view[:length], "little") ^ model.head
            if not difference & layout.structure:
                if number:
                    self._models.insert(0, self._models.pop(number))
                return Likeness(model, difference, self._models)
        return None

    def learn(self, view: View, transfer_syntax_uid: str, encoding: Encoding, scan: ObjectScan) -> Likeness | None:
        """To be told of each scan from the start of a view that was like none."""
        length = scan.pixel_data_offset
        if length is None or length > _LONGEST_HEAD:
            return None
        kind = (transfer_syntax_uid, encoding, length, len(scan.elements))
        if kind in self._refused:
            return None
        if kind not in self._seen:
            self._seen.append(kind)
            return None
        elements = {tag: element for tag, element in scan.elements.items() if element[1] <= length}
        head = bytes(view[:length])
        shallow = _scanned_alone(head, elements, encoding)
        if shallow is None:
            self._refused.append(kind)
            return None
        layout = Layout(transfer_syntax_uid, encoding, elements, length, bytes(view[length : length + 4]), shallow)
        model = Model(layout, int.from_bytes(head, "little"))
        self._models[:] = [model, *self._models][:_MODELS]
        return Likeness(model, 0, self._models)


def _scanned_alone(head: bytes, elements: Elements, encoding: Encoding) -> int | None:
    """The least length of a value that the scan looks into; None where values decide where elements are.

    That is so where a writer did not keep to the standard: what follows is then looked at to make out what is meant.
    """
    if not encoding.implicit:
        for vr, value, _, _ in elements.values():
            code = vr.encode()
            if code in SHORT_VRS:
                regular = head[value - 4 : value - 2] == code
            else:
                regular = code in LONG_VRS and head[value - 8 : value - 4] == code + b"\0\0"
            if not regular:
                return None
    nesting = Nesting(head, encoding)
    try:
        alone = ObjectScan(head, 0, encoding, nesting, through_pixel_data=False)
    except UnusableObject:
        return None
    return nesting.shallow if alone.elements == elements else None
