"""WADO-RS metadata (PS3.18 10.4.1.1.2): whole headers as JSON or XML, bulk data by URI."""

from collections.abc import Generator
from typing import Any

import orjson
from flask import Response

from fileroom_storage.parse.native_model import native_model
from fileroom_storage.storage import Storage, StoredInstance

from .answer_stream import AnswerStream, json_array
from .conditional import conditional, entity_tag
from .media_types import DICOM_JSON, DICOM_XML, JSON_OFFERS, Offer
from .multipart import whole_part
from .origin_server import OriginServer, Resource, negotiate, resource_of
from .wado import multipart_response, single_part_response

_AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"
_SPECIFIC_CHARACTER_SET = "00080005"
_XML_PARTS = Offer(DICOM_XML, multipart=True)
_XML_SINGLE = Offer(DICOM_XML)

Metadata = dict[str, dict[str, Any]]


def retrieve_metadata(server: OriginServer, resource: Resource) -> Response:
    """JSON in one array; XML in one part for each instance (PS3.18 8.7.3.2), or in a single part where there is one."""
    instances = server.locate_whole(resource)
    xml = (_XML_PARTS, _XML_SINGLE) if len(instances) == 1 else (_XML_PARTS,)
    offer = negotiate(*JSON_OFFERS, *xml)
    root_url = server.root_url()

    def answer() -> Response:
        server.check_whole(instances)
        items = _metadata(server.storage, instances, root_url)
        if offer in JSON_OFFERS:
            return json_response(items)
        parts = (whole_part(DICOM_XML, native_model(item)) for item in items)
        return multipart_response(DICOM_XML, parts) if offer.multipart else single_part_response(next(parts))

    return conditional(entity_tag(instances, str(offer), root_url), answer)


def json_response(items: Generator[Any, None, None]) -> Response:
    """Also where plain JSON was asked for, as clients that do so do not mind and others look for it."""
    return Response(AnswerStream(json_array(_encoded(items))), content_type=DICOM_JSON)


def _encoded(items: Generator[Any, None, None]) -> Generator[bytes, None, None]:
    try:
        for item in items:
            yield orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    finally:
        items.close()


def _metadata(storage: Storage, instances: list[StoredInstance], root_url: str) -> Generator[Metadata, None, None]:
    for instance in instances:
        bulk_data_url = f"{root_url}{resource_of(instance).path}/bulkdata/"
        elements = storage.header(instance).dicom_json(bulk_data_uri=bulk_data_url.__add__)
        _name_utf_8(elements)
        elements[_AVAILABLE_TRANSFER_SYNTAX_UID] = {"vr": "UI", "Value": [instance.transfer_syntax_uid]}
        yield elements


def _name_utf_8(elements: Metadata) -> None:
    """PS3.18 F.2: the text is UTF-8 now, whatever it was; who writes it as a data set again goes by this."""
    for tag, element in elements.items():
        if tag == _SPECIFIC_CHARACTER_SET:
            element["Value"] = ["ISO_IR 192"]
        elif element["vr"] == "SQ":
            for item in element.get("Value", ()):
                _name_utf_8(item)
