"""Objects that come as metadata, JSON or XML, with their bulk data in parts of their own (PS3.18 10.5.1.4, 8.6.1.3)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.json_reading import (
    BrokenMetadata,
    JsonDataSet,
    MetadataTooLarge,
    read_json_data_sets,
)
from fileroom_storage.parse.native_model_reading import read_native_model
from fileroom_storage.parse.object_encoding import NOT_OF_THE_OBJECT, BulkValue, encode_object
from fileroom_storage.parse.part10 import encode_file_meta
from fileroom_storage.parse.value_encoding import UnfitValue
from fileroom_storage.storage import Spool, Spooled

from .bulk_data_parts import BulkDataParts
from .media_types import DICOM_JSON, DICOM_XML, JSON, MediaType, media_type
from .problem import Problem
from .status import CANNOT_UNDERSTAND
from .store_pixel_data import pixel_data_of
from .store_transaction import StoreTransaction, Uids

# Plain JSON is what dcm4che's stowrs sends.
METADATA_MEDIA_TYPES = frozenset({DICOM_JSON, JSON, DICOM_XML})

_SOP_CLASS_UID = "00080016"
_SOP_INSTANCE_UID = "00080018"


@dataclass(frozen=True, slots=True)
class _Metadata:
    """A part with one data set, or a JSON array of them."""

    media_type: MediaType
    text: Spooled


class MetadataStore:
    """Takes the parts of a message onto the disk, and stores the objects once all of them are there."""

    def __init__(self, transaction: StoreTransaction, spool: Spool, root: MediaType, base_url: str) -> None:
        self._transaction = transaction
        self._spool = spool
        self._root = root  # the media type of parts that name none
        self._metadata: list[_Metadata] = []
        self._bulk_data = BulkDataParts(base_url)
        self._unreadable: list[str] = []

    def take_part(self, headers: Mapping[str, str], content: Iterable[bytes]) -> None:
        """Raises BrokenBody, BrokenMultipart, StorageUnavailable."""
        start = self._spool.size
        for chunk in content:
            self._spool.write(chunk)
        value = self._spool.since(start)
        declared = media_type(headers.get("content-type"))
        if declared is None and not self._metadata:
            declared = self._root  # RFC 2387 3.2: the root is the first
        if declared is not None and declared.name in METADATA_MEDIA_TYPES:
            self._metadata.append(_Metadata(declared, value))
        else:
            self._bulk_data.add(headers, value)

    def store(self) -> None:
        """Raises Problem for metadata that cannot be read at all, with what came before it stored."""
        for metadata in self._metadata:
            self._store_all(metadata)
        response = self._transaction.response
        if self._unreadable:
            if not len(response):
                raise Problem(HTTPStatus.BAD_REQUEST, self._unreadable[0])
            for reason in self._unreadable:
                response.add_failed(CANNOT_UNDERSTAND, reason, None, None)
        unreferenced = self._bulk_data.unreferenced
        if unreferenced and len(response):
            response.warn(f"{unreferenced} parts of bulk data are dropped: no BulkDataURI that was stored names them")

    def _store_all(self, metadata: _Metadata) -> None:
        transfer_syntax = metadata.media_type.parameters.get("transfer-syntax", "").strip('"') or None
        try:
            for data_set in _data_sets(metadata):
                self._store_one(data_set, transfer_syntax)
        except BrokenMetadata as error:
            if metadata.media_type.name == DICOM_XML:
                self._unreadable.append(str(error))  # each document is an object of its own
            else:
                raise self._unusable(HTTPStatus.BAD_REQUEST, error) from None
        except MetadataTooLarge as error:
            raise self._unusable(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error) from None

    def _unusable(self, status: HTTPStatus, error: Exception) -> Problem:
        return Problem(
            status,
            f"{error}. What came whole before that is stored.",
            stored=self._transaction.response.stored_instance_uids,
        )

    def _store_one(self, data_set: JsonDataSet | UnusableObject, transfer_syntax: str | None) -> None:
        def content() -> Iterator[bytes]:
            if isinstance(data_set, UnusableObject):
                raise data_set
            return self._part10(data_set, transfer_syntax)

        def uids() -> Uids:
            if isinstance(data_set, UnusableObject):
                return None, None
            return _uid(data_set, _SOP_CLASS_UID), _uid(data_set, _SOP_INSTANCE_UID)

        self._transaction.attempt(content, uids)

    def _part10(self, data_set: JsonDataSet, declared_transfer_syntax: str | None) -> Iterator[bytes]:
        pixel_data, transfer_syntax_uid = pixel_data_of(data_set, self._bulk_data, declared_transfer_syntax)
        pieces = encode_object(data_set, self._value_at, pixel_data)
        self._pass_over(data_set)
        yield encode_file_meta(
            sop_class_uid=_required_uid(data_set, _SOP_CLASS_UID, "SOPClassUID"),
            sop_instance_uid=_required_uid(data_set, _SOP_INSTANCE_UID, "SOPInstanceUID"),
            transfer_syntax_uid=transfer_syntax_uid,
        )
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.chunks()

    def _value_at(self, uri: str) -> list[BulkValue]:
        parts = self._bulk_data.find(uri)
        if not parts:
            raise UnfitValue("no part of the request is at its BulkDataURI")
        return [part.value for part in parts]

    def _pass_over(self, data_set: JsonDataSet) -> None:
        """Bulk data that is dropped with its element is not forgotten by the client."""
        for tag in NOT_OF_THE_OBJECT & data_set.keys():
            uri = data_set[tag].get("BulkDataURI") if isinstance(data_set[tag], dict) else None
            if isinstance(uri, str):
                self._bulk_data.find(uri)


def _data_sets(metadata: _Metadata) -> Iterator[JsonDataSet | UnusableObject]:
    if metadata.media_type.name != DICOM_XML:
        yield from read_json_data_sets(metadata.text.reader())
        return
    try:
        yield read_native_model(metadata.text.chunks())
    except UnusableObject as error:
        yield error


def _uid(data_set: Mapping[str, Any], tag: str) -> str | None:
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        value = data_set[tag]["Value"][0]
        return value if value and isinstance(value, str) and value.isascii() else None
    return None


def _required_uid(data_set: Mapping[str, Any], tag: str, keyword: str) -> str:
    uid = _uid(data_set, tag)
    if uid is None:
        raise UnusableObject(
            UnusableReason.MISSING_UID, f"the metadata has no {keyword}; without it, it cannot be found"
        )
    return uid
