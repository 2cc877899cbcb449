"""Frames: parts, their labels, and whether what they hold is what the metadata say and can be decoded."""

from collections.abc import Iterator

from pydicom.uid import UID, AllTransferSyntaxes

from ..exchange import Check, Exchange
from ..findings import Fault, Severity
from ..frame_decoding import FrameDescription, decoding_error
from ..multipart_answer import head_faults

# The types that cornerstone knows a transfer syntax for where the part names none (its wadors loader).
_SYNTAX_OF_TYPE = {
    "image/jpeg": "1.2.840.10008.1.2.4.50",
    "image/x-dicom-rle": "1.2.840.10008.1.2.5",
    "image/x-jls": "1.2.840.10008.1.2.4.80",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jll": "1.2.840.10008.1.2.4.70",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
}
_KNOWN = frozenset(str(uid) for uid in AllTransferSyntaxes)


def parts(number: int) -> Check:
    def check(exchange: Exchange) -> Iterator[Fault]:
        if len(exchange.parts) != number and exchange.answer.is_whole:
            yield Fault(
                "part-count",
                f"{len(exchange.parts)} parts came for {number} frame{'' if number == 1 else 's'}",
                "Send one part for each frame, in the order of the list (PS3.18 10.4.1.1.6).",
            )

    return check


def part_heads(exchange: Exchange) -> Iterator[Fault]:
    seen = set()
    for part in exchange.parts:
        for fault in head_faults(part):
            if fault.code not in seen:
                seen.add(fault.code)
                yield fault


def transfer_syntax_told(exchange: Exchange) -> Iterator[Fault]:
    """Without it cornerstone takes the frame for native, little endian."""
    for part in exchange.parts:
        told = part.transfer_syntax_uid
        if told is not None and told not in _KNOWN:
            yield Fault(
                "transfer-syntax",
                f"a part is labelled with the transfer syntax {told[:64]}, which is none",
                "Name the UID of the transfer syntax that the frame has.",
            )
            return
        if told is None and _looks_compressed(part.content) and _media_type(part.content_type) not in _SYNTAX_OF_TYPE:
            yield Fault(
                "transfer-syntax",
                "a compressed frame came without a transfer-syntax parameter in its Content-Type",
                "Write `Content-Type: application/octet-stream; transfer-syntax=UID` (PS3.18 8.7.3.5.2).",
                effect="The viewer draws the compressed bytes as noise, or nothing.",
            )
            return


def frames_decode(exchange: Exchange) -> Iterator[Fault]:
    """Each frame is what the metadata say, and a decoder can read it."""
    description = FrameDescription.of(exchange.subject.metadata)
    if description is None or not exchange.answer.is_whole:
        return
    for number, part in enumerate(exchange.parts, 1):
        syntax = part.transfer_syntax_uid or _SYNTAX_OF_TYPE.get(_media_type(part.content_type) or "")
        if syntax is None and _looks_compressed(part.content):
            return  # told already
        if syntax is not None and syntax not in _KNOWN:
            return
        error = decoding_error(description, UID(syntax) if syntax else None, part.content)
        if error is not None:
            yield Fault(
                "frame-damaged",
                f"part {number} cannot be decoded: {error}",
                "See whether the stored object is damaged, or the frame is cut, transcoded or labelled wrongly.",
            )
            return


def image_comes(exchange: Exchange) -> Iterator[Fault]:
    """What is labelled as an image begins as one."""
    begins = {
        "image/jpeg": (b"\xff\xd8",),
        "image/png": (b"\x89PNG",),
        "image/gif": (b"GIF8",),
        "application/pdf": (b"%PDF",),
    }
    media_type = exchange.answer.media_type
    if media_type in begins and not exchange.answer.body.startswith(begins[media_type]):
        yield Fault("image-damaged", f"what is labelled {media_type} is none", "Label it as what it is.")
    elif not media_type.startswith(("image/", "video/", "text/", "application/pdf")):
        yield Fault(
            "content-type",
            f"it is labelled {media_type or 'as nothing'}",
            "Label it with its media type.",
            Severity.LIMITED,
        )


def _media_type(content_type: str | None) -> str | None:
    return content_type.partition(";")[0].strip().lower() if content_type else None


def _looks_compressed(content: bytes) -> bool:
    return content.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP"))


def objects(exchange: Exchange) -> Iterator[Fault]:
    """Each part is a Part 10 file: 128 bytes, then DICM (PS3.10 7.1)."""
    for part in exchange.parts:
        if part.content[128:132] != b"DICM" and (len(part.content) >= 132 or exchange.answer.is_whole):
            yield Fault(
                "no-object",
                "a part is no DICOM file: DICM is not where it should be",
                "Send objects as files with preamble and File Meta Information (PS3.18 10.4.1.1.1).",
            )
            return
