"""From the transfer syntax an object is stored in to one that a peer takes: decompressed, or only encoded anew."""

import struct
import warnings
from array import array
from collections.abc import Mapping
from io import BytesIO

from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from fileroom_server.data_set_encoding import deflated
from fileroom_server.negotiation import UNCOMPRESSED
from fileroom_storage.parse.data_set import DataSet
from fileroom_storage.parse.header import parse_header

Replacements = Mapping[int, tuple[str, bytes]]

_PIXEL_DATA = 0x7FE00010
# what of an image is needed to decode it, and what decoding it changes (PS3.5 8.2)
_IMAGE_PIXEL = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
_CHANGED_NUMBERS = (
    "SamplesPerPixel",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002})
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})  # PS3.5 7.1.2
_WORDS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), "H"),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), "I"),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), "Q"),
}


class CannotTranscode(Exception):
    """An object that there is no way to send in the transfer syntax a peer takes."""


def transcode(data_set: bytes, stored: str, target: str) -> bytes:
    """An encoded data set, stored in one transfer syntax, in another, uncompressed one.

    The SOP Instance UID stays, because the pixels are those that it stands for; so do texts and private elements, byte
    for byte. Raises CannotTranscode.
    """
    if target not in UNCOMPRESSED:
        raise CannotTranscode(f"nothing here compresses to {target}")
    try:
        header = parse_header(data_set, stored)
        replaced: Replacements = {}
        if header.pixel_data is not None and header.pixel_data.encapsulated:
            replaced = _decompressed(data_set, UID(stored))
        elif stored not in UNCOMPRESSED and UID(stored).is_private:
            raise CannotTranscode("the stored transfer syntax is private")
        encoded = _Encoder(target).data_set(header.data_set, replaced)
    except CannotTranscode:
        raise
    except Exception as error:  # decoders raise what they like
        raise CannotTranscode(f"{type(error).__name__} on the way from {stored} to {target}") from error
    return deflated(encoded) if target == DeflatedExplicitVRLittleEndian else encoded


def _decompressed(data_set: bytes, stored: UID) -> Replacements:
    """The elements of the Image Pixel Module as they are once its pixels are decoded, little endian."""
    image = read_dataset(
        BytesIO(data_set), is_implicit_VR=False, is_little_endian=True, specific_tags=list(map(Tag, _IMAGE_PIXEL))
    )
    image.file_meta = FileMetaDataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.file_meta.TransferSyntaxUID = stored
        # colour comes out as RGB
        image.decompress(generate_instance_uid=False)
    pixel_data = image["PixelData"]
    replaced = {
        _PIXEL_DATA: (pixel_data.VR, bytes(pixel_data.value)),
        int(Tag("PhotometricInterpretation")): ("CS", str(image.PhotometricInterpretation).encode("ascii")),
    }
    for keyword in _CHANGED_NUMBERS:
        if image.get(keyword) is not None:
            replaced[int(Tag(keyword))] = ("US", struct.pack("<H", image[keyword].value))
    return replaced


class _Encoder:
    """Writes what was parsed in another encoding, without decoding values (PS3.5 7.1)."""

    def __init__(self, transfer_syntax_uid: str) -> None:
        self._implicit = transfer_syntax_uid == ImplicitVRLittleEndian
        self._big_endian = transfer_syntax_uid == ExplicitVRBigEndian
        self._order = ">" if self._big_endian else "<"

    def data_set(self, data_set: DataSet, replaced: Replacements) -> bytes:
        parts: list[bytes] = []
        for tag in sorted(data_set.elements.keys() | replaced.keys()):
            # group lengths would be wrong, and are retired (PS3.5 7.2); offset tables tell of fragments
            if not tag & 0xFFFF or tag >> 16 <= 2 or (replaced and tag in _OFFSET_TABLES):
                continue
            if tag in replaced:
                vr, value = replaced[tag]
                parts += self._element(tag, vr, self._ordered(value, vr, big_endian=False))
                continue
            element = data_set.elements[tag]
            vr = data_set.vr(tag, element)
            if vr == "SQ":
                parts += self._element(tag, vr, b"".join(self._item(item) for item in data_set.items(tag)))
            else:
                value = self._ordered(data_set.value(element), vr, big_endian=data_set.is_big_endian(element))
                parts += self._element(tag, vr, value)
        return b"".join(parts)

    def _item(self, item: DataSet) -> bytes:
        content = self.data_set(item, {})
        return struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(content)) + content

    def _element(self, tag: int, vr: str, value: bytes) -> tuple[bytes, bytes, bytes]:
        padding = b""
        if len(value) % 2:
            padding = b"\x00" if vr in ("OB", "UI", "UN") else b" "
        length = len(value) + len(padding)
        head = struct.pack(f"{self._order}HH", tag >> 16, tag & 0xFFFF)
        if self._implicit:
            return head + struct.pack("<I", length), value, padding
        if vr not in _LONG_VRS:
            if length <= 0xFFFE:
                return head + vr.encode() + struct.pack(f"{self._order}H", length), value, padding
            vr = "UN"  # PS3.5 6.2.2, note on values that are too long for their VR
        return head + vr.encode() + b"\x00\x00" + struct.pack(f"{self._order}I", length), value, padding

    def _ordered(self, value: bytes, vr: str, *, big_endian: bool) -> bytes:
        code = _WORDS.get(vr)
        if code is None or big_endian == self._big_endian:
            return value
        words = array(code)
        whole = len(value) // words.itemsize * words.itemsize
        words.frombytes(value[:whole])
        words.byteswap()
        return words.tobytes() + value[whole:]
