"""The items of encapsulated pixel data: a slide may have millions, so each takes twelve bytes and no object."""

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class Fragments(Sequence[tuple[int, int]]):
    """Of each item in turn, the offset of its tag and the length of its value; the Basic Offset Table comes first."""

    __slots__ = ("lengths", "offsets")

    def __init__(self, offsets: "array[int] | None" = None, lengths: "array[int] | None" = None) -> None:
        self.offsets = array("Q") if offsets is None else offsets
        self.lengths = array("I") if lengths is None else lengths

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.offsets, self.lengths, strict=True)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> "Fragments": ...
    def __getitem__(self, index: int | slice) -> "tuple[int, int] | Fragments":
        if isinstance(index, slice):
            return Fragments(self.offsets[index], self.lengths[index])
        return self.offsets[index], self.lengths[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"{list(self)}"
