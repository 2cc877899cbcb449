"""WADO-RS frames (PS3.18 10.4.1.1.6): each labelled with what it is, as stored or in another transfer syntax."""

import re
from collections.abc import Generator, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from itertools import chain

from flask import Response, request

from fileroom_storage.errors import CannotTranscode
from fileroom_storage.pixels.compression import targets_of
from fileroom_storage.pixels.transcoding import transcode_frame
from fileroom_storage.storage import FramePieces, Storage, StoredInstance

from .byte_order import stored_big_endian
from .conditional import conditional, entity_tag
from .frame_media_types import EXPLICIT_VR_LITTLE_ENDIAN, frame_media_types, made_offers, stored_offers
from .media_types import MULTIPART_RELATED, OCTET_STREAM, MediaType, Offer, accept_ranges, preferred
from .multipart import OutgoingPart, content_length, stored_part, whole_part
from .origin_server import OriginServer, Resource, accepted
from .problem import Problem, not_acceptable
from .recent_answers import INDEX_VERSION, STORED_INSTANCE
from .wado import multipart_response, single_part_response

_KNOWN_NEGOTIATIONS = 256
# The length of an answer of more frames is not told: it would take a look at each of them first.
_MEASURED_FRAMES = 64
_NUMBER = "[0-9]{1,9}"
_FRAME_LIST = re.compile(f"{_NUMBER}(-{_NUMBER})?(,{_NUMBER}(-{_NUMBER})?)*")


def retrieve_frames(server: OriginServer, resource: Resource, frame_list: str) -> Response:
    """Frames by number, counted from 1, in the order asked for."""
    numbers = frame_ranges(frame_list)
    request.environ[INDEX_VERSION] = server.storage.version()  # before the index is looked at
    (instance,) = server.locate(resource)
    return frames_response(server, instance, numbers)


def frames_response(server: OriginServer, instance: StoredInstance, numbers: Sequence[int | range]) -> Response:
    """One frame at a time is read, and worked on where another transfer syntax is asked for."""
    storage = server.storage
    count = sum(len(number) if isinstance(number, range) else 1 for number in numbers)
    offer = _negotiated(storage, instance, single_part=count == 1)

    def answer() -> Response:
        if _is_as_stored(instance, offer):
            return _stored_response(instance, storage.frame_pieces(instance, numbers), count, offer)
        frames = _transcoded_frames(server, instance, numbers, offer)
        parts = (whole_part(offer.part_content_type, frame) for frame in frames)
        try:
            return multipart_response(offer.media_type, parts) if offer.multipart else single_part_response(next(parts))
        except CannotTranscode as error:
            stored = stored_offers(instance.transfer_syntax_uid, single_part=count == 1)
            raise not_acceptable(stored, f"{error}; ask for what is stored.") from error

    tag = entity_tag([instance], "frames", str(numbers), str(offer))
    return conditional(tag, answer, weak=offer.multipart)


def _negotiated(storage: Storage, instance: StoredInstance, *, single_part: bool) -> Offer:
    """PS3.18 8.7.3.3.2: octets are uncompressed where no transfer syntax is asked for; viewers that decode say `*`.

    What nothing here decodes comes as it is stored.
    """
    transfer_syntax_uid = instance.transfer_syntax_uid
    offer = _preferred_as_stored(
        request.headers.get("Accept"), request.query_string.decode("latin-1"), transfer_syntax_uid, single_part
    )
    if offer is not None:
        return offer
    stored = stored_offers(transfer_syntax_uid, single_part=single_part)
    targets = targets_of(storage.header(instance))
    made = [
        one for one in made_offers(transfer_syntax_uid, single_part=single_part) if one.transfer_syntax_uid in targets
    ]
    ranges = accepted()
    offer = preferred([_with_default(one) for one in ranges], stored, made) or preferred(ranges, stored, made)
    if offer is None:
        raise not_acceptable((*stored, *made))
    return offer


@lru_cache(_KNOWN_NEGOTIATIONS)
def _preferred_as_stored(
    accept: str | None, query_string: str, transfer_syntax_uid: str, single_part: bool
) -> Offer | None:
    """The form in which frames as they are stored are liked better than whatever they could be made into, if any."""
    stored = stored_offers(transfer_syntax_uid, single_part=single_part)
    made = made_offers(transfer_syntax_uid, single_part=single_part)
    offer = preferred([_with_default(one) for one in accept_ranges(accept, query_string)], stored, made)
    return offer if offer in stored else None


def _with_default(accepted_range: MediaType) -> MediaType:
    parameters = accepted_range.parameters
    name = parameters.get("type", "").lower() if accepted_range.name == MULTIPART_RELATED else accepted_range.name
    if name != OCTET_STREAM or "transfer-syntax" in parameters:
        return accepted_range
    return MediaType(accepted_range.name, {**parameters, "transfer-syntax": EXPLICIT_VR_LITTLE_ENDIAN})


def frame_ranges(frame_list: str) -> list[range]:
    """What `1,3,5-9` names, in its order. Raises Problem."""
    if not _FRAME_LIST.fullmatch(frame_list):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "A list of frames is written as numbers and ranges of them parted by commas, as in 1,2,5-9.",
        )
    bounds = [part.partition("-") for part in frame_list.split(",")]
    numbers = [range(int(first), int(last or first) + 1) for first, _, last in bounds]
    if any(not one for one in numbers):
        raise Problem(HTTPStatus.BAD_REQUEST, "A range of frames goes from the lower number to the higher, as in 5-9.")
    if any(0 in one for one in numbers):
        raise Problem(HTTPStatus.BAD_REQUEST, "Frames are counted from 1.")
    return numbers


def _is_as_stored(instance: StoredInstance, offer: Offer) -> bool:
    _, labelled, _ = frame_media_types(instance.transfer_syntax_uid)
    return offer.transfer_syntax_uid == labelled and not stored_big_endian(instance.transfer_syntax_uid)


def _stored_response(instance: StoredInstance, frames: FramePieces, count: int, offer: Offer) -> Response:
    parts: Iterable[OutgoingPart] = (stored_part(offer.part_content_type, pieces) for pieces in frames)
    length = None
    try:
        if instance.origin is not None:
            if count == 1:
                parts = list(parts)
                length = content_length(parts)
        elif count <= _MEASURED_FRAMES:
            parts = list(parts)
            length = content_length(parts)
            request.environ[STORED_INSTANCE] = instance
        if offer.multipart:
            return multipart_response(offer.media_type, parts, length, frames)
        return single_part_response(next(iter(parts)), frames)
    except BaseException:
        frames.close()
        raise


def _transcoded_frames(
    server: OriginServer, instance: StoredInstance, numbers: Sequence[int | range], offer: Offer
) -> Generator[bytes, None, None]:
    frames = server.storage.frames(instance, numbers)
    header = server.storage.header(instance)
    target = offer.transfer_syntax_uid or EXPLICIT_VR_LITTLE_ENDIAN
    for number, frame in zip(_each(numbers), frames, strict=True):
        with server.renderings.one():
            transcoded = transcode_frame(header, frame, number, target)
        yield transcoded


def _each(numbers: Iterable[int | range]) -> Iterable[int]:
    return chain.from_iterable(number if isinstance(number, range) else (number,) for number in numbers)
