"""STOW-RS, the Store Transaction (PS3.18 10.5): which form a request has, and its parts on their way to storage."""

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus

from flask import Response, request
from werkzeug.exceptions import HTTPException

from fileroom_storage.errors import StorageError

from .content_coding import decoded
from .media_types import DICOM, DICOM_JSON, DICOM_XML, MULTIPART_RELATED, OCTET_STREAM, MediaType, Offer, media_type
from .multipart_reader import BrokenMultipart, IncomingPart, MultipartReader
from .origin_server import OriginServer, Resource
from .problem import Problem
from .request_body import BrokenBody, body_chunks, discard_rest
from .status import CANNOT_UNDERSTAND
from .store_metadata import METADATA_MEDIA_TYPES, MetadataStore
from .store_transaction import StoreTransaction

# A part's own Content-Type; what comes without one is judged by its bytes.
_OBJECT_MEDIA_TYPES = frozenset({DICOM, OCTET_STREAM, None})
_FORM = "multipart/form-data"
STORE_OFFERS = (
    *(Offer(name, multipart=True) for name in (DICOM, DICOM_JSON, DICOM_XML)),
    *(Offer(name) for name in (DICOM, DICOM_JSON, DICOM_XML)),
)
_SEND = (
    f'Send {MULTIPART_RELATED}; type="{DICOM}" with one part for each object, or with type="{DICOM_JSON}" or '
    f'"{DICOM_XML}" metadata and bulk data in parts; or one object as {DICOM}.'
)


def store_instances(server: OriginServer, study: Resource) -> Response:
    """Stores every object that can be stored, and tells of each what became of it."""
    try:
        return _store_instances(server, study)
    except (Problem, HTTPException, StorageError):
        discard_rest(request)
        raise


def _store_instances(server: OriginServer, study: Resource) -> Response:
    study.check()
    body_type = _body_type()
    transaction = StoreTransaction(server, study)
    chunks = decoded(
        body_chunks(request, server.settings.maximum_body_size),
        request.headers.get("Content-Encoding", ""),
        server.settings.maximum_body_size,
    )
    try:
        _store_body(transaction, body_type, chunks)
    except (BrokenBody, BrokenMultipart) as error:
        timed_out = isinstance(error, BrokenBody) and error.timed_out
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT if timed_out else HTTPStatus.BAD_REQUEST,
            f"The request was not whole: {error}. What came whole before that is stored.",
            stored=transaction.response.stored_instance_uids,
        ) from None
    finally:
        transaction.end()
    if not len(transaction.response):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The request holds no object. {_SEND}")
    return transaction.response.response()


def _body_type() -> MediaType:
    """What the body is. Raises Problem for what is not stored."""
    declared = media_type(request.headers.get("Content-Type"))
    if declared is not None and (declared.name == DICOM or declared.name in METADATA_MEDIA_TYPES):
        return declared
    if declared is not None and declared.name == MULTIPART_RELATED:
        if declared.parameters.get("type", DICOM).lower() in (DICOM, *METADATA_MEDIA_TYPES):
            return declared
    elif declared is not None and declared.name == _FORM:
        # browsers send forms from any page to any server, without asking it first as CORS has it
        raise _unsupported(f"Forms are not taken, as any web page could send one. {_SEND}")
    raise _unsupported(_SEND)


def _unsupported(detail: str) -> Problem:
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, supported=[str(offer) for offer in STORE_OFFERS])


def _store_body(transaction: StoreTransaction, body_type: MediaType, chunks: Iterable[bytes]) -> None:
    if body_type.name == DICOM:
        transaction.store_object(chunks)
    elif body_type.name != MULTIPART_RELATED:
        _store_metadata(transaction, body_type, [({"content-type": body_type.name}, iter(chunks))])
    else:
        boundary = body_type.parameters.get("boundary")
        if not boundary:
            raise Problem(HTTPStatus.BAD_REQUEST, "The Content-Type names no boundary; multipart needs one.")
        _store_parts(transaction, body_type.parameters.get("type", "").lower(), MultipartReader(chunks, boundary))


def _store_parts(transaction: StoreTransaction, root_type: str, reader: MultipartReader) -> None:
    parts = iter(reader)
    first = next(parts, None)
    if first is None:
        return
    # RFC 2387 3.1 requires the parameter; where it is absent, the first part tells
    root = MediaType(root_type) if root_type else media_type(first.headers.get("content-type"))
    if root is not None and root.name in METADATA_MEDIA_TYPES:
        _store_metadata(transaction, root, ((part.headers, part.content) for part in _chained(first, parts)))
        return
    for part in _chained(first, parts):
        declared = media_type(part.headers.get("content-type"))
        if (declared.name if declared else None) in _OBJECT_MEDIA_TYPES:
            transaction.store_object(part.content)
        else:
            transaction.response.add_failed(CANNOT_UNDERSTAND, f"the part is no {DICOM}", None, None)


def _chained(first: IncomingPart, others: Iterator[IncomingPart]) -> Iterator[IncomingPart]:
    yield first
    yield from others


def _store_metadata(
    transaction: StoreTransaction, root: MediaType, parts: Iterable[tuple[Mapping[str, str], Iterator[bytes]]]
) -> None:
    with transaction.storage.spool() as spool:
        store = MetadataStore(transaction, spool, root, request.url)
        for headers, content in parts:
            store.take_part(headers, content)
        store.store()
