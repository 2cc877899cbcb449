"""STOW-RS, the Store Transaction (PS3.18 10.5): objects go part by part from the socket to the object store."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from flask import Response, request
from werkzeug.exceptions import HTTPException

from fileroom_storage.errors import StorageError, StorageUnavailable, UnusableObject
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.storage import Provenance

from .media_types import DICOM, MULTIPART_RELATED, OCTET_STREAM, media_type
from .multipart import BrokenMultipart, MultipartReader
from .origin_server import OriginServer, Resource
from .problem import Problem, log_unexpected
from .request_body import BrokenBody, body_chunks, discard_rest
from .status import CANNOT_UNDERSTAND, failure_reason
from .store_response import StoreResponse

# Enough of an object to hold its file meta information, which names it even where the rest is unusable.
_META_SIZE = 16 * 1024

# A part's own Content-Type; what comes without one is judged by its bytes.
_PART_MEDIA_TYPES = frozenset({DICOM, OCTET_STREAM, None})

_ACCEPTED = f'Send {MULTIPART_RELATED}; type="{DICOM}" with one part for each object, or one object as {DICOM}.'


def store_instances(server: OriginServer, study: Resource) -> Response:
    """Stores every object that can be stored, and tells of each what became of it."""
    try:
        return _store_instances(server, study)
    except (Problem, HTTPException):
        discard_rest(request)
        raise


def _store_instances(server: OriginServer, study: Resource) -> Response:
    study.check()
    boundary = _boundary()
    transaction = _StoreTransaction(server, study)
    chunks = body_chunks(request, server.settings.maximum_body_size)
    try:
        if boundary is None:
            transaction.store(chunks)
        else:
            for part in MultipartReader(chunks, boundary):
                declared = media_type(part.headers.get("content-type"))
                if (declared.name if declared else None) in _PART_MEDIA_TYPES:
                    transaction.store(part.content)
                else:
                    transaction.response.add_failed(CANNOT_UNDERSTAND, f"the part is no {DICOM}", None, None)
    except (BrokenBody, BrokenMultipart) as error:
        timed_out = isinstance(error, BrokenBody) and error.timed_out
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT if timed_out else HTTPStatus.BAD_REQUEST,
            f"The request was not whole: {error}. What came whole before that is stored.",
            stored=transaction.response.stored_instance_uids,
        ) from None
    if not len(transaction.response):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The request holds no object. {_ACCEPTED}")
    return transaction.response.response()


def _boundary() -> str | None:
    """Of a multipart body; None for a body that is one object. Raises Problem for any other."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
    declared = media_type(request.headers.get("Content-Type"))
    if declared is not None and declared.name == DICOM:
        return None
    if (
        declared is None
        or declared.name != MULTIPART_RELATED
        or declared.parameters.get("type", DICOM).lower() != DICOM
    ):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _ACCEPTED)
    boundary = declared.parameters.get("boundary")
    if not boundary:
        raise Problem(HTTPStatus.BAD_REQUEST, "The Content-Type names no boundary; multipart needs one.")
    return boundary


class _StoreTransaction:
    """One request's objects, one after the other."""

    def __init__(self, server: OriginServer, study: Resource) -> None:
        self._storage = server.storage
        self._study_instance_uid = study.study_instance_uid
        self._provenance = Provenance(source="STOW-RS", remote_address=request.remote_addr)
        self._unavailable: StorageUnavailable | None = None
        self.response = StoreResponse(server.root_url(), study.study_instance_uid)

    def store(self, chunks: Iterable[bytes]) -> None:
        """Raises BrokenBody or BrokenMultipart, with nothing kept of an object that did not come whole."""
        start = bytearray()
        chunks = _copying_start(chunks, start)
        try:
            if self._unavailable is not None:
                raise self._unavailable
            self._store(chunks)
        except (BrokenBody, BrokenMultipart, HTTPException):
            raise  # of the request, not of this object
        except StorageError as error:
            if isinstance(error, StorageUnavailable):
                # what follows would wait in vain
                self._unavailable = error
            self._fail(chunks, start, error)
        except Exception as error:  # noqa: BLE001  # one object must not keep the others out
            log_unexpected(error)
            self._fail(chunks, start, error)

    def _store(self, chunks: Iterable[bytes]) -> None:
        incoming = self._storage.receive()
        try:
            for chunk in chunks:
                incoming.write(chunk)
        except BaseException:
            incoming.discard()
            raise
        self.response.add_stored(incoming.store(self._provenance, study_instance_uid=self._study_instance_uid))

    def _fail(self, chunks: Iterable[bytes], start: bytearray, error: Exception) -> None:
        for _ in chunks:
            pass  # the next part comes after the rest of this one
        try:
            meta = read_file_meta(bytes(start))
        except UnusableObject:
            sop_class_uid = sop_instance_uid = None
        else:
            sop_class_uid, sop_instance_uid = meta.media_storage_sop_class_uid, meta.media_storage_sop_instance_uid
        comment = str(error) if isinstance(error, StorageError) else "processing failure; the server's log says where"
        self.response.add_failed(failure_reason(error), comment, sop_class_uid, sop_instance_uid)


def _copying_start(chunks: Iterable[bytes], start: bytearray) -> Iterator[bytes]:
    for chunk in chunks:
        if len(start) < _META_SIZE:
            start += chunk[: _META_SIZE - len(start)]
        yield chunk
