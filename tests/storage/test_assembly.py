"""Whole objects of what is elsewhere: a header here, frames of a source."""

import tracemalloc
from collections.abc import Iterator, Sequence
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from fileroom_storage.errors import CannotTranscode, FrameOutOfRange, ObjectDamaged, PixelsUnavailable
from fileroom_storage.external_change import ExternalInstance
from fileroom_storage.storage import Storage, StoredInstance
from tests.external import SOURCE
from tests.made import encoded, made, uid

MIB = 1 << 20


class Counted:
    """Frames that are made when they are asked for."""

    def __init__(self, length: int, ends_at: int | None = None) -> None:
        self.length = length
        self.ends_at = ends_at

    def frames(self, instance: StoredInstance, numbers: Sequence[int]) -> Iterator[bytes]:
        for number in numbers:
            if number == self.ends_at:
                raise ConnectionError("Doe^Jane")
            yield bytes([number]) * self.length


def told(storage: Storage, source: Counted, number_of_frames: int, syntax: str, **attributes: object) -> StoredInstance:
    storage.register_frame_source(SOURCE, source)
    instance = ExternalInstance(encoded(made(**attributes)), syntax, number_of_frames)
    storage.external(SOURCE).replace("a", [instance])
    [located] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    return located


def test_pixel_data_stands_where_its_tag_does(sqlite_storage: Storage) -> None:
    instance = told(sqlite_storage, Counted(3), 2, RLELossless, DataSetTrailingPadding=b"\0" * 8, NumberOfFrames=2)
    with sqlite_storage.open_stretches(instance) as file:
        content = file.read_at(0, file.size)
    assert content[:128] == bytes(128)
    dataset = dcmread(BytesIO(content))
    assert [element.tag for element in dataset][-2:] == [0x7FE00010, 0xFFFCFFFC]
    # PS3.5 A.4: an empty Basic Offset Table, then a fragment of even length for each frame
    assert dataset.PixelData == b"".join(
        b"\xfe\xff\x00\xe0" + length.to_bytes(4, "little") + value
        for length, value in ((0, b""), (4, b"\1\1\1\0"), (4, b"\2\2\2\0"))
    )
    assert content[instance.data_set_offset :] == sqlite_storage.read_data_set(instance)
    with sqlite_storage.open_object(instance) as whole:
        assert whole.read() == content


@pytest.mark.parametrize(("bits", "vr"), [(8, "OB"), (16, "OW")])
def test_native_pixel_data_is_of_even_length(sqlite_storage: Storage, bits: int, vr: str) -> None:
    instance = told(sqlite_storage, Counted(3), 3, ExplicitVRLittleEndian, BitsAllocated=bits)
    with sqlite_storage.open_object(instance) as file:
        dataset = dcmread(file)
        assert vr == dataset["PixelData"].VR
        assert dataset.PixelData == b"\1\1\1\2\2\2\3\3\3\0"


def test_frames_that_end_within_a_byte_are_not_put_together_wrongly(sqlite_storage: Storage) -> None:
    shape = {"Rows": 3, "Columns": 5, "SamplesPerPixel": 1, "BitsAllocated": 1}
    instance = told(sqlite_storage, Counted(2), 2, ExplicitVRLittleEndian, **shape)
    with pytest.raises(CannotTranscode, match="within a byte"):
        sqlite_storage.open_object(instance)
    assert sqlite_storage.frame(instance, 2) == b"\2\2"


def test_a_header_tells_how_frames_are_encoded(sqlite_storage: Storage) -> None:
    instance = told(sqlite_storage, Counted(3), 2, RLELossless)
    pixel_data = sqlite_storage.header(instance).pixel_data
    assert pixel_data is not None
    assert pixel_data.encapsulated
    assert bytes(sqlite_storage.header_with_pixels(instance).bulk_data("7FE00010"))[8:] == (
        b"\xfe\xff\x00\xe0\4\0\0\0\1\1\1\0\xfe\xff\x00\xe0\4\0\0\0\2\2\2\0"
    )
    assert sqlite_storage.bulk_data(instance, "7FE00010")[16:19] == b"\1\1\1"
    assert sqlite_storage.frame(instance, 2) == b"\2\2\2"
    with pytest.raises(FrameOutOfRange):
        sqlite_storage.frame(instance, 3)
    with pytest.raises(FrameOutOfRange):
        sqlite_storage.frame_pieces(instance, [range(1, 1 << 40)])


def test_a_source_that_fails_leaves_nothing(sqlite_storage: Storage) -> None:
    instance = told(sqlite_storage, Counted(3, ends_at=2), 3, RLELossless)
    with pytest.raises(PixelsUnavailable) as raised:
        sqlite_storage.open_stretches(instance)
    assert instance.sop_instance_uid in str(raised.value)
    assert "Doe" not in str(raised.value)
    assert list((sqlite_storage.settings.data / "incoming").iterdir()) == []


def test_a_damaged_header_is_told(sqlite_storage: Storage) -> None:
    instance = told(sqlite_storage, Counted(3), 1, RLELossless)
    path = sqlite_storage.settings.data / "objects" / instance.location
    path.write_bytes(path.read_bytes()[:-2])
    assert sqlite_storage.damaged([instance]) == [instance]
    for read in (sqlite_storage.header, sqlite_storage.open_stretches, sqlite_storage.open_object):
        with pytest.raises(ObjectDamaged):
            read(instance)


def test_memory_does_not_grow_with_the_number_of_frames(sqlite_storage: Storage) -> None:
    instance = told(sqlite_storage, Counted(MIB), 40, RLELossless)
    tracemalloc.start()
    try:
        with sqlite_storage.open_stretches(instance) as file:
            assert file.size > 40 * MIB
        pieces = sqlite_storage.frame_pieces(instance, [range(1, 41)])
        assert sum(len(piece) for frame in pieces for piece in frame if isinstance(piece, bytes)) == 40 * MIB
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
