"""WADO-RS: studies, series and instances as they were received, and their metadata (PS3.18 10.4)."""

from collections.abc import Callable, Generator, Iterable

import orjson
from flask import Response

from fileroom_storage.storage import Storage, StoredInstance

from .answer_stream import CHUNK_SIZE, AnswerStream, json_array
from .media_types import DICOM, DICOM_JSON, JSON_OFFERS, Offer
from .multipart import OutgoingPart, content_length, content_type, message, new_boundary
from .origin_server import OriginServer, Resource, negotiate, resource_of

_AVAILABLE_TRANSFER_SYNTAX_UID = "00083002"


def retrieve_instances(server: OriginServer, resource: Resource) -> Response:
    """The objects as Part 10, in the transfer syntax they are stored in, part by part from the object store.

    PS3.18 8.7.3.3.2 has Explicit VR Little Endian where no transfer syntax is asked for; viewers that ask for none
    want what is stored.
    """
    instances = server.locate(resource)
    single_part = len(instances) == 1
    syntaxes = dict.fromkeys(instance.transfer_syntax_uid for instance in instances)
    # a refusal lists what would do for all of them
    listed = _offers(next(iter(syntaxes)) if len(syntaxes) == 1 else "*", single_part=single_part)
    chosen = {syntax: negotiate(*_offers(syntax, single_part=single_part), listed=listed) for syntax in syntaxes}
    parts = [
        OutgoingPart(
            chosen[instance.transfer_syntax_uid].part_content_type, _object(server.storage, instance), instance.size
        )
        for instance in instances
    ]
    if chosen[instances[0].transfer_syntax_uid].multipart:
        return multipart_response(DICOM, parts, content_length(parts))
    return single_part_response(parts[0])


def _offers(transfer_syntax_uid: str, *, single_part: bool) -> tuple[Offer, ...]:
    multipart = Offer(DICOM, multipart=True, transfer_syntax_uid=transfer_syntax_uid)
    return (multipart, Offer(DICOM, transfer_syntax_uid=transfer_syntax_uid)) if single_part else (multipart,)


def retrieve_metadata(server: OriginServer, resource: Resource) -> Response:
    """The whole headers as DICOM JSON; bulk data by URI."""
    negotiate(*JSON_OFFERS)
    instances = server.locate(resource)
    items = _metadata(server.storage, instances, server.root_url())
    return Response(AnswerStream(json_array(items)), content_type=DICOM_JSON)


def multipart_response(part_media_type: str, parts: Iterable[OutgoingPart], length: int | None = None) -> Response:
    boundary = new_boundary()
    response = Response(AnswerStream(message(parts, boundary)), content_type=content_type(part_media_type, boundary))
    if length is not None:
        response.content_length = length
    return response


def single_part_response(part: OutgoingPart) -> Response:
    response = Response(AnswerStream(part.content()), content_type=part.content_type)
    if part.size is not None:
        response.content_length = part.size
    return response


def _object(storage: Storage, instance: StoredInstance) -> Callable[[], Generator[bytes, None, None]]:
    def chunks() -> Generator[bytes, None, None]:
        with storage.open_object(instance) as file:
            while chunk := file.read(CHUNK_SIZE):
                yield chunk

    return chunks


def _metadata(storage: Storage, instances: list[StoredInstance], root_url: str) -> Generator[bytes, None, None]:
    for instance in instances:
        bulk_data_url = f"{root_url}{resource_of(instance).path}/bulkdata/"
        elements = storage.header(instance).dicom_json(bulk_data_uri=bulk_data_url.__add__)
        elements[_AVAILABLE_TRANSFER_SYNTAX_UID] = {"vr": "UI", "Value": [instance.transfer_syntax_uid]}
        yield orjson.dumps(elements, option=orjson.OPT_SORT_KEYS)
