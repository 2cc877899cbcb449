"""Native pixels of big-endian objects as DICOMweb hands them out: little endian (PS3.18 8.7.3.3.2)."""

from fileroom_storage.pixels.byte_order import native_pixels, stored_big_endian
from fileroom_storage.storage import Storage, StoredInstance


def little_endian_pixel_data(storage: Storage, instance: StoredInstance) -> memoryview:
    return memoryview(b"".join(native_pixels(storage.header(instance), big_endian=False)))


__all__ = ["little_endian_pixel_data", "stored_big_endian"]
