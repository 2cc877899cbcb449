"""WADO-RS frames (PS3.18 10.4.1.1.6): single frames as they are encoded, each labelled with what it is."""

import re
from collections.abc import Generator, Sequence
from http import HTTPStatus

from flask import Response

from fileroom_storage.storage import Storage, StoredInstance

from .byte_order import little_endian_frames, stored_big_endian
from .media_types import OCTET_STREAM, Offer
from .multipart import whole_part
from .origin_server import OriginServer, Resource, negotiate
from .problem import Problem
from .wado import multipart_response, single_part_response

_FRAME_LIST = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

# What frames are once the encapsulation is gone: PS3.18 Table 8.7.3-5, with the older names that clients still send.
_MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2.5": ("image/dicom-rle", "image/x-dicom-rle"),
    "1.2.840.10008.1.2.4.50": ("image/jpeg",),
    "1.2.840.10008.1.2.4.51": ("image/jpeg",),
    "1.2.840.10008.1.2.4.57": ("image/jpeg",),
    "1.2.840.10008.1.2.4.70": ("image/jpeg",),
    "1.2.840.10008.1.2.4.80": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.81": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.90": ("image/jp2",),
    "1.2.840.10008.1.2.4.91": ("image/jp2",),
    "1.2.840.10008.1.2.4.92": ("image/jpx",),
    "1.2.840.10008.1.2.4.93": ("image/jpx",),
    "1.2.840.10008.1.2.4.110": ("image/jxl",),
    "1.2.840.10008.1.2.4.111": ("image/jxl",),
    "1.2.840.10008.1.2.4.112": ("image/jxl",),
    "1.2.840.10008.1.2.4.201": ("image/jphc",),
    "1.2.840.10008.1.2.4.202": ("image/jphc",),
    "1.2.840.10008.1.2.4.203": ("image/jphc",),
    "1.2.840.10008.1.2.4.100": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.100.1": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.101": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.101.1": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.102": ("video/mp4",),
    "1.2.840.10008.1.2.4.102.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.103": ("video/mp4",),
    "1.2.840.10008.1.2.4.103.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.104": ("video/mp4",),
    "1.2.840.10008.1.2.4.104.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.105": ("video/mp4",),
    "1.2.840.10008.1.2.4.105.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.106": ("video/mp4",),
    "1.2.840.10008.1.2.4.106.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.107": ("video/mp4",),
    "1.2.840.10008.1.2.4.108": ("video/mp4",),
}

# Native data sets; the last holds its uncompressed frames in fragments.
_NATIVE = frozenset(
    {
        "1.2.840.10008.1.2",
        EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.113619.5.2",
        "1.2.840.10008.1.2.1.98",
    }
)


def retrieve_frames(server: OriginServer, resource: Resource, frame_list: str) -> Response:
    """Frames by number, counted from 1."""
    numbers = _numbers(frame_list)
    (instance,) = server.locate(resource)
    return frames_response(server.storage, instance, numbers)


def frames_response(storage: Storage, instance: StoredInstance, numbers: Sequence[int]) -> Response:
    offer = negotiate(*_offers(instance.transfer_syntax_uid, single_part=len(numbers) == 1))
    parts = (whole_part(offer.part_content_type, frame) for frame in _frames(storage, instance, numbers))
    return multipart_response(offer.media_type, parts) if offer.multipart else single_part_response(next(parts))


def frame_media_types(transfer_syntax_uid: str) -> tuple[str, str, tuple[str, ...]]:
    """The media type of a frame, the transfer syntax it is labelled with, and what else it may be called."""
    if transfer_syntax_uid in _NATIVE:
        return OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, ()
    named = _MEDIA_TYPES.get(transfer_syntax_uid, ())
    return (*named, OCTET_STREAM)[0], transfer_syntax_uid, (*named, OCTET_STREAM)[1:]


def _offers(transfer_syntax_uid: str, *, single_part: bool) -> list[Offer]:
    name, labelled, others = frame_media_types(transfer_syntax_uid)
    offers = [Offer(one, multipart=True, transfer_syntax_uid=labelled) for one in (name, *others)]
    if single_part:
        offers += [Offer(one, transfer_syntax_uid=labelled) for one in (name, *others)]
    return offers


def _numbers(frame_list: str) -> list[int]:
    if not _FRAME_LIST.fullmatch(frame_list):
        raise Problem(HTTPStatus.BAD_REQUEST, "A list of frames is written as numbers parted by commas, as in 1,2,5.")
    numbers = [int(number) for number in frame_list.split(",")]
    if 0 in numbers:
        raise Problem(HTTPStatus.BAD_REQUEST, "Frames are counted from 1.")
    return numbers


def _frames(storage: Storage, instance: StoredInstance, numbers: Sequence[int]) -> Generator[bytes, None, None]:
    if stored_big_endian(instance.transfer_syntax_uid):
        yield from little_endian_frames(storage, instance, numbers)
    else:
        yield from storage.frames(instance, numbers)
