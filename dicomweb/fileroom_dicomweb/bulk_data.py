"""WADO-RS bulk data (PS3.18 10.4.1.1.5): the values that metadata gives by URI."""

import re
from collections.abc import Generator
from contextlib import ExitStack, closing
from http import HTTPStatus

from flask import Response

from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.parse.frames import frame_layout
from fileroom_storage.parse.header import Header
from fileroom_storage.storage import ObjectFile, Storage, StoredInstance, Stretch

from .byte_order import little_endian_pixel_data, stored_big_endian
from .byte_range import RangeNotSatisfiable, content_range, requested_range
from .conditional import conditional, entity_tag
from .frame_media_types import EXPLICIT_VR_LITTLE_ENDIAN, frame_media_types
from .frames import frames_response
from .media_types import OCTET_STREAM, PDF, Offer
from .multipart import OutgoingPart, stored_part, whole_part
from .origin_server import OriginServer, Resource, negotiate, resource_of
from .problem import Problem
from .stored_answer import Opened
from .wado import multipart_response, single_part_response

# A tag, or the way to one through numbered items: 52009229/0/00289145
_PATH = re.compile(r"[0-9A-Fa-f]{8}(/[0-9]{1,6}/[0-9A-Fa-f]{8}){0,64}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}")
_PIXEL_DATA = "7FE00010"
_ENCAPSULATED_DOCUMENT = "00420011"
_MIME_TYPE_OF_ENCAPSULATED_DOCUMENT = 0x00420012
_ICC_PROFILE = "00282000"


def retrieve_bulk_data(server: OriginServer, resource: Resource, path: str) -> Response:
    """One value: a single part unless multipart is asked for."""
    if not _PATH.fullmatch(path):
        raise Problem(HTTPStatus.BAD_REQUEST, "Bulk data is found by the URIs that metadata gives as BulkDataURI.")
    path = path.upper()
    (instance,) = server.locate(resource)
    header = server.storage.header(instance)
    if path == _PIXEL_DATA and frame_media_types(instance.transfer_syntax_uid)[0] != OCTET_STREAM:
        # PS3.18 8.7.3.3: compressed pixel data is a part for each frame, without the encapsulation
        number_of_frames = _number_of_frames(instance, header)
        if not number_of_frames:
            raise InstanceNotFound("The instance has no pixel data.")
        return frames_response(server, instance, [range(1, number_of_frames + 1)])
    if path == _PIXEL_DATA and instance.origin is not None:
        header = server.storage.header_with_pixels(instance)
    value = header.bulk_data(path)
    own = media_type_of_value(header, path)
    names = (OCTET_STREAM,) if own is None else (own, OCTET_STREAM)
    offer = negotiate(*(Offer(name, multipart=multipart) for name in names for multipart in (False, True)))
    tag = entity_tag([instance], "bulk data", path, str(offer))
    location = f"{server.root_url()}{resource_of(instance).path}/bulkdata/{path}"

    def answer() -> Response:
        if path != _PIXEL_DATA:
            return _response(value, offer, location, tag)
        if not _is_given_as_stored(instance, header):
            return _response(_pixel_data(server.storage, instance, header), offer, location, tag)
        with ExitStack() as stack:
            file = stack.enter_context(server.storage.open_stretches(instance))
            response = _response(_stored_pixel_data(instance, header, file), offer, location, tag, file)
            stack.pop_all()
            return response

    return conditional(tag, answer, weak=offer.multipart)


def retrieve_all_bulk_data(server: OriginServer, resource: Resource) -> Response:
    """Every value that the metadata of a resource gives by URI, in parts that say which (PS3.18 10.4.3.3.5)."""
    instances = server.locate(resource)
    negotiate(Offer(OCTET_STREAM, multipart=True))
    root_url = server.root_url()

    def answer() -> Response:
        server.check_whole(instances)
        parts = (part for instance in instances for part in _parts(server.storage, instance, root_url))
        return multipart_response(OCTET_STREAM, parts)

    return conditional(entity_tag(instances, "all bulk data", root_url), answer)


def _parts(storage: Storage, instance: StoredInstance, root_url: str) -> Generator[OutgoingPart, None, None]:
    url = root_url + resource_of(instance).path
    header = storage.header(instance)
    paths: list[str] = []

    def noted(path: str) -> str:
        paths.append(path)
        return path

    header.dicom_json(bulk_data_uri=noted)
    for path in paths:
        location = ("Content-Location", f"{url}/bulkdata/{path}")
        if path != _PIXEL_DATA:
            yield whole_part(OCTET_STREAM, header.bulk_data(path), location)
            continue
        _, labelled, _ = frame_media_types(instance.transfer_syntax_uid)
        label = f"{OCTET_STREAM}; transfer-syntax={labelled}"
        if labelled == EXPLICIT_VR_LITTLE_ENDIAN:
            if _is_given_as_stored(instance, header):
                with storage.open_stretches(instance) as file:
                    yield stored_part(label, [_stored_pixel_data(instance, header, file)], location)
            else:
                with_pixels = storage.header_with_pixels(instance) if instance.origin is not None else header
                yield whole_part(label, _pixel_data(storage, instance, with_pixels), location)
        else:
            # PS3.18 8.7.3.3: a part for each compressed frame
            with closing(storage.frame_pieces(instance, [range(1, instance.number_of_frames + 1)])) as frames:
                for number, pieces in enumerate(frames, 1):
                    yield stored_part(label, pieces, ("Content-Location", f"{url}/frames/{number}"))


def _number_of_frames(instance: StoredInstance, header: Header) -> int:
    """How many there really are."""
    if instance.origin is not None:
        return instance.number_of_frames
    layout = frame_layout(header.buffer, header)
    return layout.number_of_frames if layout is not None else 0


def _is_given_as_stored(instance: StoredInstance, header: Header) -> bool:
    """Whether Pixel Data is the bytes of the file as they are there."""
    pixel_data = header.pixel_data
    return (
        pixel_data is not None
        and f"{pixel_data.tag:08X}" == _PIXEL_DATA
        and not pixel_data.encapsulated
        and not header.is_deflated
        and not stored_big_endian(instance.transfer_syntax_uid)
        and instance.origin is None
    )


def _stored_pixel_data(instance: StoredInstance, header: Header, file: ObjectFile) -> Stretch:
    if header.pixel_data is None:
        raise InstanceNotFound("The instance has no pixel data.")
    return Stretch(file, instance.data_set_offset + header.pixel_data.offset, header.pixel_data.length)


def _pixel_data(storage: Storage, instance: StoredInstance, header: Header) -> memoryview:
    swapped = stored_big_endian(instance.transfer_syntax_uid)
    return little_endian_pixel_data(storage, instance) if swapped else header.bulk_data(_PIXEL_DATA)


def media_type_of_value(header: Header, path: str) -> str | None:
    """What the value is beyond bytes (PS3.18 8.7.3.4), where that can be told."""
    last = path.rpartition("/")[2]
    if last == _ICC_PROFILE:
        return "application/vnd.iccprofile"
    if path == _ENCAPSULATED_DOCUMENT:
        declared = (header.text(_MIME_TYPE_OF_ENCAPSULATED_DOCUMENT) or "").lower()
        return declared if _MEDIA_TYPE.fullmatch(declared) else None
    return None


def _response(
    value: memoryview | Stretch, offer: Offer, location: str, tag: str, opened: Opened | None = None
) -> Response:
    length = value.length if isinstance(value, Stretch) else len(value)
    try:
        # of a value, in whatever form it comes: so does dicomweb-client ask for a part in a part
        asked = requested_range(length, tag)
    except RangeNotSatisfiable as error:
        if opened is not None:
            opened.close()
        return error.response()
    start, end = asked or (0, length)
    partial = (content_range(start, end, length),) if asked else ()
    part_headers = (("Content-Location", location), *partial) if offer.multipart else ()
    if isinstance(value, Stretch):
        part = stored_part(offer.media_type, [Stretch(value.file, value.offset + start, end - start)], *part_headers)
    else:
        part = whole_part(offer.media_type, value[start:end], *part_headers)
    if offer.multipart:
        response = multipart_response(offer.media_type, [part], opened=opened)
    else:
        response = single_part_response(part, opened)
    response.headers.extend(partial)
    response.headers["Accept-Ranges"] = "bytes"
    if asked:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
    # what came in an object is not to be taken for a page of ours; browsers show no PDF in a sandbox
    response.headers["X-Content-Type-Options"] = "nosniff"
    if offer.media_type != PDF:
        response.headers["Content-Security-Policy"] = "sandbox"
    return response
