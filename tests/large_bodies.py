"""Objects and bodies of Store Transactions as large as wanted, made while they are sent."""

import secrets
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.made import encoded, made, part10, uid

BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
METADATA_MULTIPART = f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'
JPEG_LS = "1.2.840.10008.1.2.4.80"
MEBIBYTE = 1 << 20

# not all alike, so that nothing on the way could leave out what is zero
_PIXELS = bytes(range(256)) * (MEBIBYTE // 256)


def new_study() -> str:
    """A UID short enough to be the root of those of a series and its instances."""
    return uid(8, secrets.randbits(48))


def pixel_bytes(length: int) -> Iterator[bytes]:
    for _ in range(length // MEBIBYTE):
        yield _PIXELS
    yield _PIXELS[: length % MEBIBYTE]


def large_object(pixels: int, study: str) -> Iterator[bytes]:
    """A Part 10 file with this many bytes of native pixel data."""
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": generate_uid()}
    head = part10(made(**uids, Rows=1024, Columns=1024, BitsAllocated=8, SamplesPerPixel=1))
    yield head + b"\xe0\x7f\x10\x00OW\x00\x00" + pixels.to_bytes(4, "little")
    yield from pixel_bytes(pixels)


def multi_frame(frames: int, study: str, sop_instance: str) -> Iterator[bytes]:
    """A bare data set of native frames of half a mebibyte each; explicit VR little endian."""
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": sop_instance}
    head = encoded(made(**uids, Rows=512, Columns=512, BitsAllocated=16, SamplesPerPixel=1, NumberOfFrames=frames))
    length = frames * (MEBIBYTE // 2)
    yield head + b"\xe0\x7f\x10\x00OW\x00\x00" + length.to_bytes(4, "little")
    yield from pixel_bytes(length)


def large_fragments(fragments: int, length: int, study: str) -> Iterator[bytes]:
    """A Part 10 file whose pixel data is encapsulated, a frame in each fragment."""
    yield part10(_of_fragments(fragments, study, generate_uid()), JPEG_LS)
    yield from _encapsulated(fragments, length)


def fragmented(fragments: int, length: int, study: str, sop_instance: str) -> Iterator[bytes]:
    """A bare data set of them, for the transfer syntax JPEG_LS."""
    yield encoded(_of_fragments(fragments, study, sop_instance))
    yield from _encapsulated(fragments, length)


def _of_fragments(fragments: int, study: str, sop_instance: str) -> Dataset:
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": sop_instance}
    return made(**uids, Rows=256, Columns=256, BitsAllocated=8, SamplesPerPixel=3, NumberOfFrames=fragments)


def _encapsulated(fragments: int, length: int) -> Iterator[bytes]:
    yield b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    content = b"\xff\xd8" + _PIXELS[: length - 4] + b"\xff\xd9"
    for _ in range(fragments):
        yield b"\xfe\xff\x00\xe0" + length.to_bytes(4, "little") + content
    yield b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def message(*objects: Iterator[bytes]) -> Iterator[bytes]:
    for chunks in objects:
        yield f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield from chunks
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def metadata_message(metadata: bytes, *bulk_data: Iterator[bytes]) -> Iterator[bytes]:
    """Metadata, and its bulk data at `0`, `1` and so on."""
    yield f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom+json\r\n\r\n".encode() + metadata
    for number, chunks in enumerate(bulk_data):
        yield f"\r\n--{BOUNDARY}\r\nContent-Location: {number}\r\n\r\n".encode()
        yield from chunks
    yield f"\r\n--{BOUNDARY}--\r\n".encode()
