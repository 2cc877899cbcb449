"""Encapsulated video (PS3.5 8.2.5 on): the stream as it is, and what it is called."""

from collections.abc import Iterator

from fileroom_storage.parse.header import Header

_ITEM_HEADER = 8
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
_MPEG_2 = ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101")
_HEVC = ("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108")
_TRANSPORT_PACKET = 188


def holds_video(transfer_syntax_uid: str) -> bool:
    return transfer_syntax_uid.startswith(_VIDEO)


def is_video(header: Header) -> bool:
    return (
        holds_video(header.transfer_syntax_uid)
        and header.pixel_data is not None
        and header.pixel_data.encapsulated
        and bool(header.fragments and len(header.fragments) > 1)
    )


def video_stream(header: Header) -> list[memoryview]:
    """The stream of all fragments, in pieces of the stored object; nothing is copied."""
    return list(_fragments(header))


def video_media_type(header: Header) -> str | None:
    """What the stream is in truth: DICOM also allows MPEG-2 transport and elementary streams (PS3.5 10.9)."""
    head = bytes(next(_fragments(header))[: _TRANSPORT_PACKET + 1])
    if head[4:8] == b"ftyp":
        return "video/mp4"
    if head[:1] == b"\x47" == head[_TRANSPORT_PACKET:]:
        return "video/mp2t"
    if head.startswith((b"\0\0\1\xba", b"\0\0\1\xb3")):
        return "video/mpeg"
    if head.startswith((b"\0\0\1", b"\0\0\0\1")) and not header.transfer_syntax_uid.startswith(_MPEG_2):
        return "video/h265" if header.transfer_syntax_uid.startswith(_HEVC) else "video/h264"
    return None


def _fragments(header: Header) -> Iterator[memoryview]:
    buffer = memoryview(header.buffer)
    for offset, length in (header.fragments or ())[1:]:
        yield buffer[offset + _ITEM_HEADER : offset + _ITEM_HEADER + length]
