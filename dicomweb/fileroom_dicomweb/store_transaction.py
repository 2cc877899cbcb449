"""One Store Transaction (PS3.18 10.5): objects go one after the other into storage, and each has its own outcome."""

from collections.abc import Callable, Iterable, Iterator

from flask import request
from werkzeug.exceptions import HTTPException

from fileroom_storage.errors import StorageError, StorageUnavailable, UnusableObject
from fileroom_storage.index.audit.event import Outcome
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.storage import Provenance

from .access import principal
from .audit import store_transfer
from .multipart_reader import BrokenMultipart
from .origin_server import OriginServer, Resource
from .problem import log_unexpected
from .request_body import BrokenBody
from .status import failure_reason, http_status
from .store_response import StoreResponse

# Enough of an object to hold its file meta information, which names it even where the rest is unusable.
_META_SIZE = 16 * 1024

Uids = tuple[str | None, str | None]  # SOP Class, SOP Instance


class StoreTransaction:
    """Collects what becomes of the objects of one request."""

    def __init__(self, server: OriginServer, study: Resource) -> None:
        self.storage = server.storage
        self.response = StoreResponse(server.root_url(), study.study_instance_uid)
        self._study_instance_uid = study.study_instance_uid
        self._transfer = store_transfer(server.storage)
        self._provenance = Provenance(source="STOW-RS", remote_address=request.remote_addr, transfer=self._transfer)
        self._authority = principal().authority
        self._unavailable: StorageUnavailable | None = None

    def end(self) -> None:
        """To be called when no more objects come."""
        if self._transfer is not None:
            self._transfer.end()

    def store_object(self, chunks: Iterable[bytes]) -> None:
        """A Part 10 file. Raises BrokenBody or BrokenMultipart, with nothing kept of what did not come whole."""
        start = bytearray()
        chunks = _copying_start(chunks, start)

        def uids() -> Uids:
            for _ in chunks:
                pass  # the next part comes after the rest of this one
            try:
                meta = read_file_meta(bytes(start))
            except UnusableObject:
                return None, None
            return meta.media_storage_sop_class_uid, meta.media_storage_sop_instance_uid

        self.attempt(lambda: chunks, uids)

    def attempt(self, content: Callable[[], Iterable[bytes]], uids: Callable[[], Uids]) -> None:
        """Stores what `content` gives; `uids` says which object it was that could not be stored."""
        try:
            if self._unavailable is not None:
                raise self._unavailable
            self._store(content())
        except (BrokenBody, BrokenMultipart, HTTPException):
            raise  # of the request, not of this object
        except StorageError as error:
            if isinstance(error, StorageUnavailable):
                # what follows would wait in vain
                self._unavailable = error
                self.response.unavailable = http_status(error)
            self._add_failed(error, str(error), *uids())
        except Exception as error:  # noqa: BLE001  # one object must not keep the others out
            log_unexpected(error)
            self._add_failed(error, "processing failure; the server's log says where", *uids())

    def _add_failed(self, error: Exception, detail: str, sop_class_uid: str | None, uid: str | None) -> None:
        self.storage.monitor.refused(self._provenance.source, error)
        reason = failure_reason(error)
        self.response.add_failed(reason, detail, sop_class_uid, uid)
        if self._transfer is not None:
            outcome = Outcome.MINOR_FAILURE if isinstance(error, UnusableObject) else Outcome.SERIOUS_FAILURE
            study = self._study_instance_uid
            self._transfer.count_failed(outcome, f"Failure Reason {reason:04X}", study, sop_class_uid)

    def _store(self, chunks: Iterable[bytes]) -> None:
        incoming = self.storage.receive()
        try:
            for chunk in chunks:
                incoming.write(chunk)
        except BaseException:
            incoming.discard()
            raise
        outcome = incoming.store(
            self._provenance, study_instance_uid=self._study_instance_uid, authority=self._authority
        )
        self.response.add_stored(outcome)


def _copying_start(chunks: Iterable[bytes], start: bytearray) -> Iterator[bytes]:
    for chunk in chunks:
        if len(start) < _META_SIZE:
            start += chunk[: _META_SIZE - len(start)]
        yield chunk
