"""WADO-RS metadata (PS3.18 10.4.1.1.2): whole headers as JSON or XML, bulk data by URI."""

from collections.abc import Generator
from typing import Any

import orjson
from flask import Response

from fileroom_storage.parse.header import Header
from fileroom_storage.parse.json_fragments import Additions, JsonFragments, name_utf_8
from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Storage, StoredInstance

from .answer_stream import AnswerStream, json_array
from .compression import gzipped, takes_gzip
from .conditional import conditional, entity_tag
from .kept_metadata import KeptMetadata
from .media_types import DICOM_JSON, DICOM_XML, JSON_OFFERS, Offer
from .multipart import whole_part
from .origin_server import OriginServer, Resource, negotiate, resource_of
from .wado import multipart_response, single_part_response

_AVAILABLE_TRANSFER_SYNTAX_UID = 0x00083002
_NUMBER_OF_FRAMES = 0x00280008
_FOLDER = "metadata"  # in the data folder
_XML_PARTS = Offer(DICOM_XML, multipart=True)
_XML_SINGLE = Offer(DICOM_XML)

Metadata = dict[str, dict[str, Any]]


def retrieve_metadata(server: OriginServer, resource: Resource) -> Response:
    """JSON in one array; XML in one part for each instance (PS3.18 8.7.3.2), or in a single part where there is one."""
    instances = server.locate_whole(resource)
    xml = (_XML_PARTS, _XML_SINGLE) if len(instances) == 1 else (_XML_PARTS,)
    offer = negotiate(*JSON_OFFERS, *xml)
    root_url = server.root_url()
    tag = entity_tag(instances, str(offer), root_url)

    def answer() -> Response:
        if offer in JSON_OFFERS:
            return _json(server, instances, root_url, tag)
        parts = (whole_part(DICOM_XML, native_model(item)) for item in _metadata(server.storage, instances, root_url))
        return multipart_response(DICOM_XML, parts) if offer.multipart else single_part_response(next(parts))

    return conditional(tag, answer)


def _json(server: OriginServer, instances: list[StoredInstance], root_url: str, tag: str) -> Response:
    """As it was kept, or made, and kept for the next who asks. One instance alone is not worth a file."""
    kept = KeptMetadata(server.storage.settings.data / _FOLDER, server.settings.metadata_cache_size)
    if len(instances) > 1 and takes_gzip():
        found = kept.find(tag)
        server.storage.monitor.looked_up("metadata", found=found is not None)
        if found is not None:
            response = Response(found, content_type=DICOM_JSON)
        else:
            chunks = gzipped(json_array(_items(server.storage, instances, root_url)))
            response = Response(AnswerStream(kept.keep(tag, chunks)), content_type=DICOM_JSON)
        response.headers["Content-Encoding"] = "gzip"
        return response
    return Response(AnswerStream(json_array(_items(server.storage, instances, root_url))), content_type=DICOM_JSON)


def json_response(items: Generator[Any, None, None]) -> Response:
    """Also where plain JSON was asked for, as clients that do so do not mind and others look for it."""
    return Response(AnswerStream(json_array(_encoded(items))), content_type=DICOM_JSON)


def _encoded(items: Generator[Any, None, None]) -> Generator[bytes, None, None]:
    try:
        for item in items:
            yield orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    finally:
        items.close()


def _items(storage: Storage, instances: list[StoredInstance], root_url: str) -> Generator[bytes, None, None]:
    """The metadata of each instance, encoded."""
    fragments = JsonFragments()
    for instance in instances:
        bulk_data_url = f"{root_url}{resource_of(instance).path}/bulkdata/"
        header = storage.header(instance)
        yield fragments.write(header, bulk_data_url.__add__, _additions(instance, header))


def _metadata(storage: Storage, instances: list[StoredInstance], root_url: str) -> Generator[Metadata, None, None]:
    for instance in instances:
        bulk_data_url = f"{root_url}{resource_of(instance).path}/bulkdata/"
        header = storage.header(instance)
        elements = header.dicom_json(bulk_data_uri=bulk_data_url.__add__)
        name_utf_8(elements)
        elements |= {f"{tag:08X}": element for tag, element in _additions(instance, header).items()}
        yield elements


def _additions(instance: StoredInstance, header: Header) -> Additions:
    """What the index knows better than the header: how the frames are to be had and, from elsewhere, how many."""
    additions: Additions = {_AVAILABLE_TRANSFER_SYNTAX_UID: {"vr": "UI", "Value": [instance.transfer_syntax_uid]}}
    told = instance.number_of_frames if instance.origin is not None else 0
    if told and told != (header.data_set.number(_NUMBER_OF_FRAMES) or 1):
        additions[_NUMBER_OF_FRAMES] = {"vr": "IS", "Value": [told]}
    return additions
