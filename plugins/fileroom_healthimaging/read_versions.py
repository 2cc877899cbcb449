"""A version of an image set as it was told → what the index is made of, with its document read and encoded."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from .document import ImageSetDocument, read_document
from .encoded_instances import EncodedInstance, encoded_instances
from .image_set_version import ImageSetName, ImageSetVersion
from .invalid_document import InvalidDocument
from .tables import ID_LENGTH
from .told_versions import Told

UID_LENGTH = 64
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that can be indexed. `content` is compressed by gzip; digests are SHA-256."""

    digest: str
    content: bytes
    metadata: ImageSetDocument
    instances: Sequence[EncodedInstance]

    @property
    def series(self) -> dict[str, frozenset[str]]:
        """SOP Instance UIDs by Series Instance UID."""
        return {
            series.series_instance_uid: frozenset(one.sop_instance_uid for one in series.instances)
            for series in self.metadata.series
        }

    @property
    def patient_key(self) -> str | None:
        """What the patient is the same by; None where the document has no Patient ID: such are never the same."""
        identity = [self.metadata.patient_attributes.get(name) for name in ("PatientID", "IssuerOfPatientID")]
        return digest_of(identity) if identity[0] not in (None, "") else None


@dataclass(frozen=True, slots=True)
class ReadVersion:
    name: ImageSetName
    told: Told
    document: Document | None


def read_version(version: ImageSetVersion) -> ReadVersion:
    """Raises InvalidDocument."""
    if any(not 0 < len(part) <= ID_LENGTH or "/" in part for part in version.name):
        raise InvalidDocument("", f"is of an image set whose identifiers are not of 1 to {ID_LENGTH} characters")
    document = None if version.document is None else kept_document(version.document)
    if document is not None:
        metadata = document.metadata
        if metadata.datastore_id != version.datastore_id:
            raise InvalidDocument("DatastoreID", "is another data store than the one it was told of")
        if metadata.image_set_id != version.image_set_id:
            raise InvalidDocument("ImageSetID", "is another image set than the one it was told of")
        uids = [metadata.study_instance_uid, *(one.series_instance_uid for one in metadata.series)]
        if any(len(uid) > UID_LENGTH for uid in uids):
            raise InvalidDocument(
                "Study", f"has a UID of study or series longer than {UID_LENGTH} characters (PS3.5 9.1)"
            )
    return ReadVersion(version.name, Told.of(version), document)


def kept_document(content: bytes) -> Document:
    """Raises InvalidDocument."""
    metadata = read_document(content)
    compressed = content if content.startswith(_GZIP) else gzip.compress(content, 6, mtime=0)
    return Document(hashlib.sha256(content).hexdigest(), compressed, metadata, list(encoded_instances(metadata)))


def digest_of(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def differing_attributes(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """By keyword the values of both, where they differ; what only one has and is empty is no difference."""
    return {
        key: [one.get(key), other.get(key)]
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and not (_is_empty(one.get(key)) and _is_empty(other.get(key)))
    }


def _is_empty(value: Any) -> bool:
    return value in (None, "", [])
