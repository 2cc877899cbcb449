"""Where the bytes of objects are kept, as they came: a protocol, and a store on the filesystem."""

from fileroom_storage.objects.content_digest import content_digest
from fileroom_storage.objects.filesystem import FilesystemObjectStore
from fileroom_storage.objects.object_store import ObjectFile, ObjectStore, ObjectWriter

__all__ = ["FilesystemObjectStore", "ObjectFile", "ObjectStore", "ObjectWriter", "content_digest"]
