"""How a data set is encoded: transfer syntaxes, VR codes, and reading one data element's header."""

import mmap
import struct
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, get_private_entry
from pydicom.tag import BaseTag

from ..errors import UnusableObject, UnusableReason

Buffer = bytes | bytearray | memoryview | mmap.mmap
View = bytes | memoryview

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_TRANSFER_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
NATIVE_TRANSFER_SYNTAXES = DEFLATED_TRANSFER_SYNTAXES | {
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
}

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_DELIMITATION = 0xFFFEE00D
SEQUENCE_DELIMITATION = 0xFFFEE0DD
# an Item or a Sequence Delimitation Item, and whether it is big endian
SEQUENCE_STARTS = {
    b"\xfe\xff\x00\xe0": False,
    b"\xfe\xff\xdd\xe0": False,
    b"\xff\xfe\xe0\x00": True,
    b"\xff\xfe\xe0\xdd": True,
}
SPECIFIC_CHARACTER_SET = 0x00080005
NUMBER_OF_FRAMES = 0x00280008
PIXEL_REPRESENTATION = 0x00280103
LUT_DESCRIPTOR = 0x00283002
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
PIXEL_DATA = 0x7FE00010
PIXEL_DATA_TAGS = (PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA)
DATA_SET_TRAILING_PADDING = 0xFFFCFFFC

# PS3.5 7.1.2: these VRs have a length of 16 bits, all others, future ones included, of 32
SHORT_VRS = {
    vr.encode(): vr
    for vr in (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"),
        *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
}
LONG_VRS = {vr.encode(): vr for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")}

# an element: VR ("" where the encoding does not tell), offset and length of its value, flags
Element = tuple[str, int, int, int]
IMPLICIT = 1  # encoded without VR, and so is what is nested in it
UNDEFINED = 2  # of undefined length; the length in the tuple is the one found, without the delimiter


class Encoding(NamedTuple):
    implicit: bool
    big_endian: bool


class ElementHeader(NamedTuple):
    tag: int
    vr: str
    value: int
    length: int
    flags: int


_IMPLICIT_HEADER = {False: struct.Struct("<HHL"), True: struct.Struct(">HHL")}
_EXPLICIT_HEADER = {False: struct.Struct("<HH2sH"), True: struct.Struct(">HH2sH")}
_LENGTH = {False: struct.Struct("<L"), True: struct.Struct(">L")}
_GROUP = {False: struct.Struct("<H"), True: struct.Struct(">H")}

_FIRST_GROUPS = (0x0002, 0x0004, 0x0008)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    # PS3.5 A.4: every other transfer syntax, private ones included, is explicit little endian
    return Encoding(
        implicit=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian=transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
    )


def observed_encoding(view: View, offset: int, end: int, announced: Encoding) -> Encoding:
    """The encoding that the first element shows; senders announce another one more often than one would think."""
    if offset + 8 > end:
        return announced
    big_endian = announced.big_endian
    (group,) = _GROUP[big_endian].unpack_from(view, offset)
    (swapped,) = _GROUP[not big_endian].unpack_from(view, offset)
    if swapped in _FIRST_GROUPS and group not in _FIRST_GROUPS:
        big_endian = not big_endian
    return Encoding(implicit=not is_vr_like(view, offset + 4), big_endian=big_endian)


def sequence_encoding(view: View, offset: int, end: int, encoding: Encoding, *, implicit: bool) -> Encoding:
    """The encoding inside a sequence: its items' tags show the byte order, whatever is around them."""
    if implicit and not encoding.implicit:
        # PS3.5 6.2.2: what became UN is implicit little endian
        encoding = Encoding(implicit=True, big_endian=False)
    if offset + 4 <= end:
        big_endian = SEQUENCE_STARTS.get(bytes(view[offset : offset + 4]))
        if big_endian is not None:
            return encoding._replace(big_endian=big_endian)
    return encoding


def item_encoding(view: View, offset: int, end: int, encoding: Encoding, outermost: Encoding) -> Encoding:
    """The encoding of an item's elements, as its first one shows."""
    if offset + 8 > end:
        return encoding
    if not encoding.implicit:
        return encoding if is_vr_like(view, offset + 4) else encoding._replace(implicit=True)
    code = bytes(view[offset + 4 : offset + 6])
    if not outermost.implicit and (code in SHORT_VRS or code in LONG_VRS):
        return encoding._replace(implicit=False)
    return encoding


def is_vr_like(view: View, offset: int) -> bool:
    return 0x41 <= view[offset] <= 0x5A and 0x41 <= view[offset + 1] <= 0x5A


def tag_and_length(view: View, offset: int, big_endian: bool) -> tuple[int, int]:
    """What stands at an item, a delimiter or an element without VR."""
    group, element, length = _IMPLICIT_HEADER[big_endian].unpack_from(view, offset)
    return group << 16 | element, length


def element_header(view: View, offset: int, end: int, encoding: Encoding) -> ElementHeader:
    """One data element's header, with what is known of writers that do not keep to the standard.

    Raises UnusableObject(TRUNCATED) where `end` cuts it.
    """
    if offset + 8 > end:
        raise truncated(None, offset)
    big_endian = encoding.big_endian
    if encoding.implicit:
        tag, length = tag_and_length(view, offset, big_endian)
        return ElementHeader(tag, "", offset + 8, length, IMPLICIT)
    group, element, code, short_length = _EXPLICIT_HEADER[big_endian].unpack_from(view, offset)
    tag = group << 16 | element
    vr = SHORT_VRS.get(code)
    if vr is not None:
        return ElementHeader(tag, vr, offset + 8, short_length, 0)
    (implicit_length,) = _LENGTH[big_endian].unpack_from(view, offset + 4)
    if group == 0xFFFE:
        return ElementHeader(tag, "", offset + 8, implicit_length, IMPLICIT)
    vr = LONG_VRS.get(code)
    if vr is None and not is_vr_like(view, offset + 4):
        # No VR at all: an implicit element amid explicit ones. Or a VR that is blank or "??", with its short length.
        if not _leads_on(view, offset + 8 + implicit_length, end, tag, big_endian) and _leads_on(
            view, offset + 8 + short_length, end, tag, big_endian
        ):
            return ElementHeader(tag, "UN", offset + 8, short_length, 0)
        return ElementHeader(tag, "", offset + 8, implicit_length, IMPLICIT)
    if offset + 12 > end:
        if vr is None:
            return ElementHeader(tag, "UN", offset + 8, short_length, 0)
        raise truncated(tag, offset)
    (long_length,) = _LENGTH[big_endian].unpack_from(view, offset + 8)
    if vr is None:
        # a VR of a later edition has a long length, a VR of some vendor's own often a short one
        is_long = short_length == 0 and _leads_on(view, offset + 12 + long_length, end, tag, big_endian)
        if is_long:
            return ElementHeader(tag, "UN", offset + 12, long_length, 0)
        return ElementHeader(tag, "UN", offset + 8, short_length, 0)
    if (
        short_length
        and long_length != UNDEFINED_LENGTH
        and offset + 12 + long_length > end
        and _leads_on(view, offset + 8 + short_length, end, tag, big_endian)
    ):
        return ElementHeader(tag, vr, offset + 8, short_length, 0)
    return ElementHeader(tag, vr, offset + 12, long_length, 0)


def _leads_on(view: View, offset: int, end: int, tag: int, big_endian: bool) -> bool:
    """Whether the next element, a delimiter or the end follows there."""
    if offset + 8 > end:
        return offset == end
    following, _ = tag_and_length(view, offset, big_endian)
    return following > tag


def truncated(tag: int | None, offset: int, missing: str = "") -> UnusableObject:
    where = f"in ({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {offset}" if tag is not None else f"at byte {offset}"
    # the place first: an Error Comment has room for no more
    return UnusableObject(UnusableReason.TRUNCATED, f"cut off, or a wrong length, {where}{missing}; send it whole")


def too_large(what: str) -> UnusableObject:
    return UnusableObject(UnusableReason.TOO_LARGE, f"the object has {what}; no information object needs that")


def malformed(what: str, offset: int) -> UnusableObject:
    return UnusableObject(UnusableReason.MALFORMED, f"the object is not encoded as DICOM says: {what} at byte {offset}")


_dictionary_vrs: dict[int, str | None] = {}


def dictionary_vr(tag: int) -> str | None:
    """The VR, or the choice of VRs such as "US or SS", that PS3.6 gives; None for a tag it does not have."""
    try:
        return _dictionary_vrs[tag]
    except KeyError:
        pass
    vr: str | None
    if tag & 0xFFFF == 0:
        vr = "UL"
    else:
        try:
            vr = str(dictionary_VR(tag))
        except KeyError:
            vr = None
    if len(_dictionary_vrs) < 20_000:  # the tags are the sender's: what is kept of them has a bound
        _dictionary_vrs[tag] = vr
    return vr


def private_dictionary_vr(tag: int, private_creator: str) -> str:
    """The VR that pydicom's list of private elements gives, else UN."""
    try:
        return str(get_private_entry(BaseTag(tag), private_creator)[0])
    except KeyError:
        return "UN"
