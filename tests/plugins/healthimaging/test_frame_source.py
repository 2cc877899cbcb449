"""Frames of the fake service through `Storage`: whole, in order, kept, and never wrong ones."""

import threading
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import orjson
import pytest
from pydicom import dcmread

from fileroom_healthimaging.document import HTJ2K_LOSSLESS_RPCL, FrameChecksum, ImageFrame
from fileroom_healthimaging.frame_cache import FrameCache
from fileroom_healthimaging.frame_source import HealthImagingFrames, what_is_wrong
from fileroom_healthimaging.image_set_service import ImageSetService
from fileroom_healthimaging.image_set_version import ImageSetName, ImageSetVersion
from fileroom_storage.errors import PixelsUnavailable
from fileroom_storage.storage import Storage, StoredInstance
from tests.fakes.faults import Kind
from tests.fakes.frames import frames_of
from tests.fakes.image_set_documents import image_set_document
from tests.fakes.image_sets import ImageSet
from tests.fakes.medical_imaging import MedicalImaging
from tests.made import made, part10, uid
from tests.plugins.healthimaging.watched_index import WatchedIndex

NUMBER = 12
PIXELS = np.arange(NUMBER * 64 * 64, dtype=np.uint16).reshape(NUMBER, 64, 64)


def multi_frame() -> bytes:
    dataset = made(
        NumberOfFrames=str(NUMBER),
        Rows=64,
        Columns=64,
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        PixelData=PIXELS.tobytes(),
    )
    return part10(dataset)


@pytest.fixture
def image_set(aws: MedicalImaging, datastore: str, index: WatchedIndex) -> ImageSet:
    document, frames = image_set_document([multi_frame()], frames_of)
    image_set = aws.image_sets.add(datastore, document, frames)
    named = orjson.dumps(image_set.latest.document)
    [told] = index.tell([ImageSetVersion(datastore, image_set.image_set_id, 1, document=named)])
    assert told.error is None
    return image_set


@pytest.fixture
def cache(tmp_path: Path) -> FrameCache:
    return FrameCache(tmp_path / "frames", 1 << 20)


@pytest.fixture
def source(
    service: ImageSetService, index: WatchedIndex, cache: FrameCache, storage: Storage
) -> Iterator[HealthImagingFrames]:
    source = HealthImagingFrames(service, index.frames_of, cache, 4)
    storage.register_frame_source("healthimaging", source)
    yield source
    source.close()


@pytest.fixture
def instance(storage: Storage, image_set: ImageSet, source: HealthImagingFrames) -> StoredInstance:
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert instance.origin is not None
    return instance


def expected(image_set: ImageSet) -> list[bytes]:
    return list(image_set.frames.values())


def test_in_the_order_that_is_asked_for(
    source: HealthImagingFrames, instance: StoredInstance, image_set: ImageSet
) -> None:
    numbers = [12, 1, 5, 5, 2, 11, 3, 4, 6]
    assert list(source.frames(instance, numbers)) == [expected(image_set)[number - 1] for number in numbers]


def test_the_object_put_together(storage: Storage, instance: StoredInstance) -> None:
    with storage.open_object(instance) as file:
        dataset = dcmread(BytesIO(file.read()))
    assert np.array_equal(dataset.pixel_array, PIXELS)


def test_each_is_had_once(
    source: HealthImagingFrames, instance: StoredInstance, image_set: ImageSet, aws: MedicalImaging
) -> None:
    for _ in range(3):
        assert list(source.frames(instance, range(1, NUMBER + 1))) == expected(image_set)
    assert aws.requests.count("GetImageFrame") == NUMBER


def test_several_at_once_and_no_more(
    source: HealthImagingFrames, instance: StoredInstance, aws: MedicalImaging, service: ImageSetService
) -> None:
    lock, now, most = threading.Lock(), 0, 0
    ask = service.frame

    def counted(name: ImageSetName, image_frame_id: str, maximum_size: int) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        try:
            threading.Event().wait(0.02)
            return ask(name, image_frame_id, maximum_size)
        finally:
            with lock:
                now -= 1

    service.frame = counted  # type: ignore[method-assign]
    everything = [threading.Thread(target=lambda: list(source.frames(instance, range(1, 13)))) for _ in range(5)]
    for thread in everything:
        thread.start()
    for thread in everything:
        thread.join()
    assert 2 <= most <= 4


def test_whoever_reads_no_further_has_no_more_fetched(
    source: HealthImagingFrames, instance: StoredInstance, aws: MedicalImaging
) -> None:
    frames = source.frames(instance, range(1, NUMBER + 1))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert aws.requests.count("GetImageFrame") <= 5


@pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.CUT_BEFORE, Kind.CUT_IN_BODY, Kind.WRONG_BYTES])
def test_a_fault_passes(
    source: HealthImagingFrames, instance: StoredInstance, image_set: ImageSet, aws: MedicalImaging, kind: Kind
) -> None:
    aws.faults.add(kind, "GetImageFrame")
    assert list(source.frames(instance, [1, 2])) == expected(image_set)[:2]


@pytest.mark.parametrize("kind", [Kind.THROTTLING, Kind.INTERNAL, Kind.CUT_IN_BODY, Kind.WRONG_BYTES])
def test_a_fault_stays(
    storage: Storage,
    source: HealthImagingFrames,
    instance: StoredInstance,
    image_set: ImageSet,
    aws: MedicalImaging,
    kind: Kind,
) -> None:
    """Nothing wrong goes out, and nothing wrong is kept."""
    aws.faults.add(kind, "GetImageFrame", times=99)
    with pytest.raises(PixelsUnavailable, match="again"):
        list(source.frames(instance, [1]))
    aws.faults.release()
    assert list(source.frames(instance, [1])) == expected(image_set)[:1]


def test_a_torn_file_of_the_cache(
    source: HealthImagingFrames, instance: StoredInstance, image_set: ImageSet, tmp_path: Path
) -> None:
    list(source.frames(instance, [1]))
    [file] = (tmp_path / "frames").glob("*/*.frame")
    file.write_bytes(file.read_bytes()[:-3])
    assert list(source.frames(instance, [1])) == expected(image_set)[:1]


def test_a_frame_that_is_not_there(source: HealthImagingFrames, instance: StoredInstance) -> None:
    with pytest.raises(PixelsUnavailable, match="fileroom healthimaging import datastore:"):
        list(source.frames(instance, [NUMBER + 1]))


def test_an_image_set_that_was_deleted(
    source: HealthImagingFrames, instance: StoredInstance, image_set: ImageSet, aws: MedicalImaging
) -> None:
    aws.client().delete_image_set(datastoreId=image_set.datastore_id, imageSetId=image_set.image_set_id)
    with pytest.raises(PixelsUnavailable, match="is not there"):
        list(source.frames(instance, [1]))


class TestWhatIsWrong:
    """HTJ2K as modalities made it: size and checksum are of the pixels, so the code stream itself is looked at."""

    @pytest.fixture
    def code_stream(self) -> bytes:
        return bytes.fromhex("ff4fff51") + bytes(20) + bytes.fromhex("ffd9")

    def frame(self, content: bytes) -> ImageFrame:
        checksum = FrameChecksum(4, 4, zlib.crc32(content))
        return ImageFrame("1", frame_size=len(content), checksums=(FrameChecksum(2, 2, 1), checksum))

    def test_of_pixels(self, code_stream: bytes) -> None:
        frame = self.frame(b"pixels")
        assert what_is_wrong(code_stream, frame, HTJ2K_LOSSLESS_RPCL) == ""
        assert what_is_wrong(code_stream + b"\0", frame, HTJ2K_LOSSLESS_RPCL) == ""
        for broken in (code_stream[:-1], code_stream[1:], code_stream[:10]):
            assert "code stream" in what_is_wrong(broken, frame, HTJ2K_LOSSLESS_RPCL)

    def test_of_bytes(self) -> None:
        frame = self.frame(b"as stored")
        assert what_is_wrong(b"as stored", frame, "1.2.840.10008.1.2.4.50") == ""
        assert "8 bytes instead of 9" in what_is_wrong(b"as store", frame, "1.2.840.10008.1.2.4.50")
        assert "checksum" in what_is_wrong(b"as stores", frame, "1.2.840.10008.1.2.4.50")
        assert "empty" in what_is_wrong(b"", ImageFrame("1"), "1.2.840.10008.1.2.4.50")

    def test_nothing_is_known(self) -> None:
        assert what_is_wrong(b"any", ImageFrame("1"), "1.2.840.10008.1.2.4.50") == ""
