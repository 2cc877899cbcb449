"""WADO-RS bulk data (PS3.18 10.4.1.1.5): the values that metadata gives by URI."""

import re
from collections.abc import Generator
from http import HTTPStatus

from flask import Response

from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.parse.frames import frame_layout
from fileroom_storage.parse.header import Header
from fileroom_storage.storage import Storage, StoredInstance

from .byte_order import little_endian_pixel_data, stored_big_endian
from .byte_range import RangeNotSatisfiable, content_range, requested_range
from .conditional import conditional, entity_tag
from .frame_media_types import EXPLICIT_VR_LITTLE_ENDIAN, frame_media_types
from .frames import frames_response
from .media_types import OCTET_STREAM, PDF, Offer
from .multipart import OutgoingPart, whole_part
from .origin_server import OriginServer, Resource, negotiate, resource_of
from .problem import Problem
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
        layout = frame_layout(header.buffer, header)
        if layout is None:
            raise InstanceNotFound("The instance has no pixel data.")
        return frames_response(server.storage, instance, [range(1, layout.number_of_frames + 1)])
    value = header.bulk_data(path)
    own = media_type_of_value(header, path)
    names = (OCTET_STREAM,) if own is None else (own, OCTET_STREAM)
    offer = negotiate(*(Offer(name, multipart=multipart) for name in names for multipart in (False, True)))
    tag = entity_tag([instance], "bulk data", path, str(offer))
    location = f"{server.root_url()}{resource_of(instance).path}/bulkdata/{path}"

    def answer() -> Response:
        known = _pixel_data(server.storage, instance, header) if path == _PIXEL_DATA else value
        return _response(known, offer, location, tag)

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
            yield whole_part(label, _pixel_data(storage, instance, header), location)
        else:
            # PS3.18 8.7.3.3: a part for each compressed frame
            for number, frame in enumerate(storage.frames(instance, [range(1, instance.number_of_frames + 1)]), 1):
                yield whole_part(label, frame, ("Content-Location", f"{url}/frames/{number}"))


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


def _response(value: memoryview, offer: Offer, location: str, tag: str) -> Response:
    try:
        # of a value, in whatever form it comes: so does dicomweb-client ask for a part in a part
        asked = requested_range(len(value), tag)
    except RangeNotSatisfiable as error:
        return error.response()
    start, end = asked or (0, len(value))
    partial = (content_range(start, end, len(value)),) if asked else ()
    part_headers = (("Content-Location", location), *partial) if offer.multipart else ()
    part = whole_part(offer.media_type, value[start:end], *part_headers)
    response = multipart_response(offer.media_type, [part]) if offer.multipart else single_part_response(part)
    response.headers.extend(partial)
    response.headers["Accept-Ranges"] = "bytes"
    if asked:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
    # what came in an object is not to be taken for a page of ours; browsers show no PDF in a sandbox
    response.headers["X-Content-Type-Options"] = "nosniff"
    if offer.media_type != PDF:
        response.headers["Content-Security-Policy"] = "sandbox"
    return response
