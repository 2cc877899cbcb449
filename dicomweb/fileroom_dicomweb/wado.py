"""WADO-RS: studies, series and instances, as they were received or in another transfer syntax (PS3.18 10.4)."""

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from typing import IO

from flask import Response

from fileroom_storage.errors import CannotTranscode
from fileroom_storage.storage import StoredInstance

from .answer_stream import AnswerStream
from .compression import is_text
from .conditional import conditional, entity_tag
from .media_types import DICOM, ZIP, MediaType
from .multipart import OutgoingPart, content_length, content_type, message, new_boundary
from .origin_server import OriginServer, Resource, accepted
from .problem import not_acceptable
from .stored_answer import Opened, StoredAnswer
from .transfer_syntax_choice import (
    Container,
    Representation,
    choose_container,
    chunks,
    length_of,
    refusal,
    representations,
)
from .zip_archive import zip_archive

_MULTIPART = Container(DICOM, multipart=True)
_SINGLE = Container(DICOM)
_ZIP = Container(ZIP)


def retrieve_instances(server: OriginServer, resource: Resource) -> Response:
    """The objects as Part 10, part by part; one at a time is worked on where the transfer syntax is another one."""
    return instances_response(server, server.locate_whole(resource), accepted())


def instances_response(
    server: OriginServer, instances: Sequence[StoredInstance], ranges: Sequence[MediaType]
) -> Response:
    containers = (_MULTIPART, _SINGLE, _ZIP) if len(instances) == 1 else (_MULTIPART, _ZIP)
    container = choose_container(ranges, instances, containers)
    if container is None:
        # what objects can be turned into takes a look at each
        exact = any("transfer-syntax" in one.parameters for one in ranges)
        raise refusal(server.storage, instances, containers, exact=exact)
    chosen = representations(server, ranges, instances, container)
    if not chosen:
        raise refusal(server.storage, instances, containers, exact=True)
    if len(chosen) == len(instances):
        form = (str(container), *(one.transfer_syntax_uid for one in chosen))
        return conditional(entity_tag(instances, *form), lambda: _response(container, chosen, instances))
    response = _response(container, chosen, instances)
    # PS3.18 Table 10.4.3-1: only some representations are in the payload
    response.status_code = HTTPStatus.PARTIAL_CONTENT
    response.headers["Warning"] = (
        f'299 fileroom "{len(instances) - len(chosen)} of {len(instances)} instances are left out: '
        'there is no way to give them in a transfer syntax that Accept takes"'
    )
    return response


def multipart_response(
    part_media_type: str, parts: Iterable[OutgoingPart], length: int | None = None, opened: Opened | None = None
) -> Response:
    """`opened` is closed when the answer is sent, or will not be."""
    boundary = new_boundary()
    whole_type = content_type(part_media_type, boundary)
    return _answer(StoredAnswer(message(parts, boundary), opened), whole_type, part_media_type, length)


def single_part_response(part: OutgoingPart, opened: Opened | None = None) -> Response:
    return _answer(StoredAnswer(part.content(), opened), part.content_type, part.content_type, part.size)


def _answer(answer: StoredAnswer, whole_type: str, part_content_type: str, length: int | None) -> Response:
    response = Response(answer, content_type=whole_type)
    # the server takes the pieces as they are; text is compressed on its way there
    response.direct_passthrough = not is_text(part_content_type)
    if length is not None:
        response.content_length = length
    return response


def _response(container: Container, chosen: Sequence[Representation], instances: Sequence[StoredInstance]) -> Response:
    if container == _ZIP:
        return _zip_response(chosen)
    parts = [
        OutgoingPart(container.offer(one.transfer_syntax_uid).part_content_type, one.content, one.size)
        for one in chosen
    ]
    first, opened = chosen[0], None
    if first.instance.origin is not None or (len(instances) == 1 and not first.is_stored):
        # it is made before the status is sent, so that pixels that cannot be decoded, or had, still become a 406 or 503
        opened, parts[0] = _made(container, first)
    return (
        multipart_response(DICOM, parts, content_length(parts), opened)
        if container.multipart
        else single_part_response(parts[0], opened)
    )


def _made(container: Container, representation: Representation) -> tuple[IO[bytes], OutgoingPart]:
    try:
        file = representation.open()
    except CannotTranscode as error:
        as_stored = container.offer(representation.instance.transfer_syntax_uid)
        raise not_acceptable((as_stored,), f"{error}; ask for what is stored.") from error
    content_type_of_part = container.offer(representation.transfer_syntax_uid).part_content_type
    return file, OutgoingPart(content_type_of_part, partial(_closing_chunks, file), length_of(file))


def _closing_chunks(file: IO[bytes]) -> Generator[bytes, None, None]:
    with file:
        yield from chunks(file)


def _zip_response(chosen: Sequence[Representation]) -> Response:
    response = Response(AnswerStream(zip_archive(chosen)), content_type=ZIP)
    response.headers.set("Content-Disposition", "attachment", filename=f"{chosen[0].instance.study_instance_uid}.zip")
    return response
