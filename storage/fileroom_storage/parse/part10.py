"""The DICOM File Format (PS3.10 7.1): preamble, prefix and File Meta Information, read and written."""

import re
import struct
from dataclasses import dataclass

from ..errors import UnusableObject, UnusableReason
from .encoding import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    Buffer,
    Encoding,
    View,
    element_header,
    observed_encoding,
)

IMPLEMENTATION_CLASS_UID = "2.25.196522184703128190614827049533408281351"
IMPLEMENTATION_VERSION_NAME = "FILEROOM"

_PREFIX = b"DICM"
_PREAMBLE_LENGTH = 128
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
_MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
_TRANSFER_SYNTAX_UID = 0x00020010
_SOURCE_APPLICATION_ENTITY_TITLE = 0x00020016
_USED = frozenset(
    {
        _MEDIA_STORAGE_SOP_CLASS_UID,
        _MEDIA_STORAGE_SOP_INSTANCE_UID,
        _TRANSFER_SYNTAX_UID,
        _SOURCE_APPLICATION_ENTITY_TITLE,
    }
)
_LONGEST_VALUE = 1024  # bytes; none of these has as many
_UID = re.compile("[0-9.]{1,64}")  # PS3.5 9.1
_GUESSES = (
    Encoding(implicit=False, big_endian=False),
    Encoding(implicit=True, big_endian=False),
    Encoding(implicit=False, big_endian=True),
)
_ELEMENTS_TO_BELIEVE = 3
_LAST_FIRST_GROUP = 0x0100  # data sets start with group 0008, or with a command, meta or directory group


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What File Meta Information says, or what the data set shows where it is missing."""

    transfer_syntax_uid: str
    media_storage_sop_class_uid: str | None
    media_storage_sop_instance_uid: str | None
    source_application_entity_title: str | None
    data_set_offset: int
    has_preamble: bool


def read_file_meta(buffer: Buffer) -> FileMeta:
    """The File Meta Information of a Part 10 file, or of what was meant to be one.

    The preamble, single elements or all of it may be missing; the transfer syntax is then the one that the data set
    shows. Raises UnusableObject(NOT_DICOM or TRUNCATED).
    """
    view: View = buffer if isinstance(buffer, bytes) else memoryview(buffer)
    start = _behind_prefix(view)
    if start is None and not _is_believable(view, 0):
        raise UnusableObject(UnusableReason.NOT_DICOM, "this is not a DICOM file: neither prefix nor data set is there")
    values, data_set_offset = _read_group_2(view, start or 0)
    texts = {tag: value.decode("latin_1").strip(" \0") for tag, value in values.items()}
    transfer_syntax_uid = texts.get(_TRANSFER_SYNTAX_UID, "")
    if not _UID.fullmatch(transfer_syntax_uid):
        transfer_syntax_uid = ""  # missing, or garbled
    if data_set_offset == len(view):
        raise UnusableObject(UnusableReason.TRUNCATED, "the file ends before its data set; send it whole")
    return FileMeta(
        transfer_syntax_uid=transfer_syntax_uid or _observed_transfer_syntax(view, data_set_offset),
        media_storage_sop_class_uid=texts.get(_MEDIA_STORAGE_SOP_CLASS_UID) or None,
        media_storage_sop_instance_uid=texts.get(_MEDIA_STORAGE_SOP_INSTANCE_UID) or None,
        source_application_entity_title=texts.get(_SOURCE_APPLICATION_ENTITY_TITLE) or None,
        data_set_offset=data_set_offset,
        has_preamble=start == _PREAMBLE_LENGTH + len(_PREFIX),
    )


def encode_file_meta(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    source_application_entity_title: str | None = None,
) -> bytes:
    """What goes before a data set to make it a Part 10 file."""
    elements = [
        (0x0001, b"OB", b"\0\1"),
        (0x0002, b"UI", sop_class_uid.encode("ascii")),
        (0x0003, b"UI", sop_instance_uid.encode("ascii")),
        (0x0010, b"UI", transfer_syntax_uid.encode("ascii")),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    if source_application_entity_title:
        elements.append((0x0016, b"AE", source_application_entity_title.encode("ascii", "replace")[:16]))
    group = b"".join(_encoded(number, vr, value) for number, vr, value in elements)
    length = _encoded(0x0000, b"UL", struct.pack("<L", len(group)))
    return bytes(_PREAMBLE_LENGTH) + _PREFIX + length + group


def _encoded(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr in SHORT_VRS:
        return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
    return struct.pack("<HH2s2xL", 0x0002, number, vr, len(value)) + value


def _behind_prefix(view: View) -> int | None:
    for start in (_PREAMBLE_LENGTH, 0):
        end = start + len(_PREFIX)
        if view[start:end] == _PREFIX and not _is_in_a_value(view, end):
            return end
    return None


def _is_in_a_value(view: View, behind_prefix: int) -> bool:
    """Whether the four letters are there by chance, in a data set without preamble."""
    group_2 = view[behind_prefix : behind_prefix + 2] in (b"\2\0", b"\0\2")
    return not group_2 and not _is_believable(view, behind_prefix) and _is_believable(view, 0)


def _read_group_2(view: View, offset: int) -> tuple[dict[int, bytes], int]:
    """The values of group 0002 that are used, by tag, and where it ends; the group length is not believed."""
    values: dict[int, bytes] = {}
    # PS3.10 7.1 says explicit little endian; not all writers do
    encoding = observed_encoding(view, offset, len(view), _GUESSES[0])
    while offset + 8 <= len(view):
        header = element_header(view, offset, len(view), encoding)
        if header.tag >> 16 != 0x0002:
            break
        end = header.value + header.length
        if end > len(view):
            raise UnusableObject(
                UnusableReason.TRUNCATED, f"the file ends in its File Meta Information at byte {offset}; send it whole"
            )
        if header.tag in _USED and header.length <= _LONGEST_VALUE:
            values[header.tag] = bytes(view[header.value : end])
        offset = end
    if offset < len(view) < offset + 8:
        raise UnusableObject(UnusableReason.TRUNCATED, f"the file ends in an element at byte {offset}; send it whole")
    return values, offset


def _is_believable(view: View, offset: int) -> bool:
    """Whether a data set starts here: its first elements make sense in some encoding."""
    return any(_starts_data_set(view, offset, encoding) for encoding in _GUESSES)


def _starts_data_set(view: View, offset: int, encoding: Encoding) -> bool:
    previous, end = -1, len(view)
    for count in range(_ELEMENTS_TO_BELIEVE):
        if count and offset == end:
            return True
        try:
            tag, vr, value, length, _ = element_header(view, offset, end, encoding)
        except UnusableObject:
            return False
        group = tag >> 16
        if tag <= previous or (not count and (group > _LAST_FIRST_GROUP or group & 1)):
            return False
        if not encoding.implicit and count == 0 and bytes(view[offset + 4 : offset + 6]) not in (*SHORT_VRS, *LONG_VRS):
            return False
        if length == UNDEFINED_LENGTH:
            return bool(count) or vr in ("SQ", "UN")
        offset, previous = value + length, tag
        if offset > end:
            # one long value may be cut off, and is for others to refuse; at the very start it shows nothing
            return bool(count)
    return True


def _observed_transfer_syntax(view: View, offset: int) -> str:
    encoding = observed_encoding(view, offset, len(view), Encoding(implicit=True, big_endian=False))
    if encoding.implicit:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if encoding.big_endian else EXPLICIT_VR_LITTLE_ENDIAN
