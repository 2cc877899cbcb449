"""The digest of what an object holds, read from the store: whether its bytes are still those that came in."""

import hashlib

from fileroom_storage.objects.object_store import ObjectStore

_CHUNK = 1 << 20


def content_digest(objects: ObjectStore, location: str, data_set_offset: int) -> str:
    """SHA-256 of the data set, as the index keeps it. Raises ObjectMissing, StorageUnavailable."""
    digest = hashlib.sha256()
    with objects.open_stretches(location) as file:
        while chunk := file.read_at(data_set_offset, _CHUNK):
            digest.update(chunk)
            data_set_offset += len(chunk)
    return digest.hexdigest()
