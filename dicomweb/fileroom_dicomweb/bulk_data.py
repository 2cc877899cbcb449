"""WADO-RS bulk data (PS3.18 10.4.1.1.5): the values that metadata gives by URI."""

import re
from http import HTTPStatus

from flask import Response

from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.parse.frames import frame_layout

from .byte_order import little_endian_pixel_data, stored_big_endian
from .frames import frame_media_types, frames_response
from .media_types import OCTET_STREAM, Offer
from .multipart import whole_part
from .origin_server import OriginServer, Resource, negotiate
from .problem import Problem
from .wado import multipart_response, single_part_response

# A tag, or the way to one through numbered items: 52009229/0/00289145
_PATH = re.compile(r"[0-9A-Fa-f]{8}(/[0-9]{1,6}/[0-9A-Fa-f]{8}){0,64}")
_PIXEL_DATA = "7FE00010"


def retrieve_bulk_data(server: OriginServer, resource: Resource, path: str) -> Response:
    """One value: a single part unless multipart is asked for."""
    if not _PATH.fullmatch(path):
        raise Problem(HTTPStatus.BAD_REQUEST, "Bulk data is found by the URIs that metadata gives as BulkDataURI.")
    path = path.upper()
    (instance,) = server.locate(resource)
    storage = server.storage
    if path == _PIXEL_DATA and frame_media_types(instance.transfer_syntax_uid)[0] != OCTET_STREAM:
        # PS3.18 8.7.3.3: compressed pixel data is a part for each frame, without the encapsulation
        header = storage.header(instance)
        layout = frame_layout(header.buffer, header)
        if layout is None:
            raise InstanceNotFound("The instance has no pixel data.")
        return frames_response(storage, instance, range(1, layout.number_of_frames + 1))
    offer = negotiate(Offer(OCTET_STREAM), Offer(OCTET_STREAM, multipart=True))
    if path == _PIXEL_DATA and stored_big_endian(instance.transfer_syntax_uid):
        value = little_endian_pixel_data(storage, instance)
    else:
        value = storage.header(instance).bulk_data(path)
    part = whole_part(OCTET_STREAM, value)
    return multipart_response(OCTET_STREAM, [part]) if offer.multipart else single_part_response(part)
