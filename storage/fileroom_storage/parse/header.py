"""The header of an object: everything but its pixels, found in one pass and decoded when asked for."""

import mmap
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from pydicom.datadict import tag_for_keyword

from ..errors import HeaderTooLarge, UnusableObject, UnusableReason
from .data_set import DataSet
from .dicom_json import DEFAULT_THRESHOLD, MOST_OF_HEADER, bulk_data, data_set_json, element_json
from .encoding import (
    DEFLATED_TRANSFER_SYNTAXES,
    NATIVE_TRANSFER_SYNTAXES,
    PIXEL_DATA_TAGS,
    UNDEFINED,
    Buffer,
    View,
    encoding_of,
    observed_encoding,
    tag_and_length,
)
from .fragments import Fragments
from .likeness import Likeness, Models
from .nesting import MAXIMUM_DEPTH, Nesting
from .scan import ObjectScan

MAXIMUM_INFLATED = 256 << 20
_INFLATED_CHUNK = 1 << 20
_IN_MEMORY = 4 << 20
_PADDING = " \0"
# most of what is asked for; ASCII without escape sequences and with one value needs no more than to be stripped
_SHORT_TEXTS = frozenset({"AE", "CS", "LO", "SH", "UI"})
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where the pixel data is. Offset and length are those of the value, in `Header.buffer`."""

    tag: int
    vr: str
    offset: int
    length: int
    encapsulated: bool


class Header:
    """The elements of an object's data set. Make one with `parse_header`.

    `buffer` is what all offsets count from: the buffer that was parsed, or what came out of it when it was deflated
    (`is_deflated`). It is only referred to: it has to stay open as long as the header is used. `likeness` tells what is
    the same as in an object before it, where that is known.
    """

    def __init__(
        self,
        data_set: DataSet,
        transfer_syntax_uid: str,
        fragments: Fragments | None,
        *,
        is_deflated: bool,
        likeness: Likeness | None = None,
    ) -> None:
        self.data_set = data_set
        self.likeness = likeness
        self.transfer_syntax_uid = transfer_syntax_uid
        self.fragments = fragments
        self.is_deflated = is_deflated
        self.pixel_data = _pixel_data(data_set, is_native=transfer_syntax_uid in NATIVE_TRANSFER_SYNTAXES)

    @property
    def buffer(self) -> View:
        return self.data_set.view

    @property
    def specific_character_set(self) -> tuple[str, ...]:
        """The values of (0008,0005) as they stand; empty where it is absent or empty."""
        values = self.data_set.character_set.values
        return values if any(values) else ()

    def __contains__(self, tag: int) -> bool:
        return tag in self.data_set.elements

    def text(self, tag: int | str) -> str | None:
        """The first value of an element, by tag or keyword, as text without padding; None where there is none."""
        number = tag if isinstance(tag, int) else tag_for_keyword(tag)
        found = self.data_set.elements.get(number) if number is not None else None
        if number is None or found is None:
            return None
        if found[0] in _SHORT_TEXTS:
            value = self.data_set.value(found)
            if value.isascii() and b"\x1b" not in value and b"\\" not in value:
                return value.decode("ascii").strip(_PADDING).strip() or None
        element = self.element(number)
        values = element.get("Value") if element else None
        if not values or values[0] is None:
            return None
        first = values[0]
        if isinstance(first, dict):
            return "=".join(first.get(group, "") for group in _NAME_GROUPS).rstrip("=")
        if isinstance(first, str):
            return first.strip() or None
        return str(first)

    def element(self, tag: int, most: int = MOST_OF_HEADER) -> dict[str, Any] | None:
        """The element as DICOM JSON has it, bulk data inline.

        None where it is absent, or is the pixel data, or holds more than is worth to be known by: `most`, in bytes.
        """
        try:
            return element_json(self.data_set, tag, most)
        except HeaderTooLarge:
            return None

    def dicom_json(
        self,
        tags: Collection[int] | None = None,
        *,
        bulk_data_uri: Callable[[str], str] | None = None,
        bulk_data_threshold: int = DEFAULT_THRESHOLD,
    ) -> dict[str, dict[str, Any]]:
        """The header in the DICOM JSON Model (PS3.18 F.2), ordered by tag; only the elements in `tags` if given.

        Binary values of more than `bulk_data_threshold` bytes, and pixel data of any size, become what `bulk_data_uri`
        makes of their path (see `bulk_data`). Without it they are inline, and pixel data is left out.
        Raises HeaderTooLarge.
        """
        return data_set_json(self.data_set, tags, bulk_data_uri, bulk_data_threshold)

    def bulk_data(self, path: str) -> memoryview:
        """The bytes, little endian, that `dicom_json` gave this path to, such as `7FE00010` or `52009229/0/00289145`.

        Encapsulated pixel data comes as it is encoded, item by item. Raises InvalidQuery, InstanceNotFound.
        """
        return bulk_data(self.data_set, path)


def parse_header(
    buffer: Buffer,
    transfer_syntax_uid: str,
    offset: int = 0,
    *,
    through_pixel_data: bool = True,
    maximum_depth: int = MAXIMUM_DEPTH,
    models: Models | None = None,
) -> Header:
    """The header of the data set that starts at `offset` of the buffer and goes to its end.

    Pixels are not read. With `through_pixel_data` false not even the item headers of encapsulated pixel data are: right
    for objects that were checked before; `pixel_data.length` then counts to the end of the buffer. `models` are what
    was read before with the same ones: what is like one of them is read sooner.
    Raises UnusableObject (TRUNCATED, MALFORMED, NESTED_TOO_DEEP, TOO_LARGE).
    """
    view: View = buffer if isinstance(buffer, bytes) else memoryview(buffer)
    is_deflated = transfer_syntax_uid in DEFLATED_TRANSFER_SYNTAXES
    if is_deflated:
        view, offset = _inflate(view, offset), 0
    if is_deflated or offset or maximum_depth != MAXIMUM_DEPTH:
        models = None
    if models is not None:
        likeness = models.find(view, transfer_syntax_uid)
        if likeness is not None:
            return _like(view, transfer_syntax_uid, likeness, through_pixel_data, maximum_depth)
    encoding = encoding_of(transfer_syntax_uid)
    start = _behind_command_elements(view, offset)
    encoding = observed_encoding(view, start, len(view), encoding)
    nesting = Nesting(view, encoding, maximum_depth)
    scan = ObjectScan(view, start, encoding, nesting, through_pixel_data=through_pixel_data)
    data_set = DataSet(view, scan.elements, encoding, nesting)
    likeness = None
    if models is not None and start == 0:
        likeness = models.learn(view, transfer_syntax_uid, encoding, scan)
    return Header(data_set, transfer_syntax_uid, scan.fragments, is_deflated=is_deflated, likeness=likeness)


def _like(
    view: View, transfer_syntax_uid: str, likeness: Likeness, through_pixel_data: bool, maximum_depth: int
) -> Header:
    """The header of an object whose elements stand, up to its pixel data, where those of another stand."""
    layout = likeness.model.layout
    encoding, elements = layout.encoding, dict(layout.elements)
    nesting = Nesting(view, encoding, maximum_depth)
    scan = ObjectScan(view, layout.length, encoding, nesting, through_pixel_data=through_pixel_data, before=elements)
    data_set = DataSet(view, scan.elements, encoding, nesting)
    # an element that comes again behind the pixel data takes the place of the first
    alike = likeness if layout.elements.items() <= scan.elements.items() else None
    return Header(data_set, transfer_syntax_uid, scan.fragments, is_deflated=False, likeness=alike)


def _behind_command_elements(view: View, offset: int) -> int:
    """PS3.7 6.3.1: elements of group 0000 that a receiver left before the data set are implicit little endian."""
    while offset + 8 <= len(view):
        tag, length = tag_and_length(view, offset, False)
        if tag >> 16 or not (tag or length) or offset + 8 + length > len(view):
            break
        offset += 8 + length
    return offset


def _inflate(view: View, offset: int) -> View:
    # PS3.5 A.5
    with SpooledTemporaryFile(_IN_MEMORY, prefix="fileroom-") as file:
        size = _inflate_into(file, view[offset:])
        file.seek(0)
        if size <= _IN_MEMORY:
            return file.read()
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _inflate_into(file: IO[bytes], deflated: View) -> int:
    """How many bytes come out of it."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    try:
        while not inflater.eof:
            chunk = inflater.decompress(deflated, _INFLATED_CHUNK)
            file.write(chunk)
            size += len(chunk)
            if size > MAXIMUM_INFLATED:
                raise UnusableObject(
                    UnusableReason.TOO_LARGE,
                    f"the data set inflates to more than {MAXIMUM_INFLATED >> 20} MiB; send it as it is, not deflated",
                )
            deflated = inflater.unconsumed_tail
            if not deflated and not chunk:
                raise UnusableObject(UnusableReason.TRUNCATED, "the deflated data set is cut off; send it whole")
    except zlib.error as error:
        raise UnusableObject(UnusableReason.MALFORMED, "the deflated data set cannot be inflated") from error
    return size


def _pixel_data(data_set: DataSet, *, is_native: bool) -> PixelData | None:
    for tag in PIXEL_DATA_TAGS:
        element = data_set.elements.get(tag)
        if element is not None:
            _, offset, length, flags = element
            # some writers give encapsulated pixel data a length
            items = not is_native and data_set.view[offset : offset + 4] == b"\xfe\xff\x00\xe0"
            return PixelData(tag, data_set.vr(tag, element), offset, length, bool(flags & UNDEFINED or items))
    return None
