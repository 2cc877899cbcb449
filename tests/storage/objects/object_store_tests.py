"""The conformance suite of every ObjectStore: a backend's test class inherits it and provides the `store` fixture."""

import io
import random
import threading
import time

import pytest

from fileroom_storage.errors import ObjectMissing
from fileroom_storage.objects import ObjectStore

BYTES = random.Random(2).randbytes(300_000)

HOSTILE_KEYS = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../../../../etc/passwd",
    "2024/01/01/ab/../../../../../etc/passwd",
    "2024/01/01/ab/..",
    "2024/01/01/ab/",
    "1.2.840.10008.1.2",
    "2024/01/01/ab/1.2.3.dcm",
    "2024\\01\\01\\ab\\ab34567890123456789012345678901a.dcm",
    "/2024/01/01/ab/ab34567890123456789012345678901a.dcm",
    "2024/01/01/ab/ab34567890123456789012345678901a.dcm\n",
    "2024/01/01/ab/ab34567890123456789012345678901a.dcm\0",
    "2024/01/01/ab/cd34567890123456789012345678901a.dcm",
    "２０２４/01/01/ab/ab34567890123456789012345678901a.dcm",
    "2024/01/01/ab/ab34567890123456789012345678901a.dcm/../x",
    "incoming/x.part",
    "a" * 100_000,
]


def put(store: ObjectStore, data: bytes) -> str:
    """Store one object and return its key."""
    with store.create() as writer:
        writer.write(data)
        return writer.commit()


class ObjectStoreTests:
    @pytest.mark.parametrize("length", [0, 1, 4095, 4096, 300_000])
    def test_bytes_out_equal_bytes_in(self, store: ObjectStore, length: int) -> None:
        key = put(store, BYTES[:length])
        with store.open(key) as file:
            assert file.read() == BYTES[:length]
        assert store.size(key) == length

    @pytest.mark.parametrize("length", [0, 1, 300_000, 1 << 20, (1 << 20) + 1, 3_000_000])
    def test_bytes_out_equal_bytes_read_from_a_source(self, store: ObjectStore, length: int) -> None:
        data = random.Random(length).randbytes(length)
        with store.create() as writer:
            writer.write(b"head")
            source = io.BytesIO(data)
            while taken := writer.write_from(source):
                assert writer.size == 4 + source.tell()
                assert taken <= 1 << 20
            assert bytes(writer.buffer()) == b"head" + data
            key = writer.commit()
        with store.open(key) as file:
            assert file.read() == b"head" + data

    def test_stretches_of_an_open_object(self, store: ObjectStore) -> None:
        key = put(store, BYTES)
        with store.open_stretches(key) as file:
            assert file.size == len(BYTES)
            for offset, length in ((0, 0), (0, 10), (123_456, 100_000), (299_999, 10), (300_000, 1), (400_000, 1)):
                assert file.read_at(offset, length) == BYTES[offset : offset + length]
            with open(file.fileno(), "rb", closefd=False) as same:
                assert same.read() == BYTES
        with pytest.raises(ValueError, match="closed"):
            file.read_at(0, 1)
        file.close()

    def test_stretches_into_buffers(self, store: ObjectStore) -> None:
        key = put(store, BYTES)
        with store.open_stretches(key) as file:
            for lengths in ([], [0], [10], [7] * 3000, [0, 5, 0, 100_000, 0], [200_000, 200_000]):
                for offset in (0, 17, 250_000, 300_000):
                    buffers = [bytearray(length) for length in lengths]
                    expected = BYTES[offset : offset + sum(lengths)]
                    assert file.read_into([memoryview(buffer) for buffer in buffers], offset) == len(expected)
                    assert b"".join(buffers)[: len(expected)] == expected

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_pieces_of_any_kind_are_appended(
        self, store: ObjectStore, kind: type[bytes] | type[bytearray] | type[memoryview]
    ) -> None:
        with store.create() as writer:
            for start in range(0, len(BYTES), 7_001):
                writer.write(kind(BYTES[start : start + 7_001]))
            assert writer.size == len(BYTES)
            key = writer.commit()
        with store.open(key) as file:
            assert file.read() == BYTES

    def test_a_view_of_wide_items_is_written_by_its_bytes(self, store: ObjectStore) -> None:
        with store.create() as writer:
            writer.write(memoryview(BYTES[:400]).cast("I"))
            assert writer.size == 400
            key = writer.commit()
        assert store.read_at(key, 0, 400) == BYTES[:400]

    def test_the_buffer_shows_what_was_written_so_far(self, store: ObjectStore) -> None:
        with store.create() as writer:
            assert bytes(writer.buffer()) == b""
            writer.write(BYTES[:5_000])
            assert bytes(writer.buffer()) == BYTES[:5_000]
            writer.write(BYTES[5_000:])
            assert bytes(writer.buffer()) == BYTES

    def test_a_view_of_the_buffer_outlives_the_writer(self, store: ObjectStore) -> None:
        with store.create() as writer:
            writer.write(BYTES)
            view = memoryview(writer.buffer())[100:200]
            key = writer.commit()
        assert bytes(view) == BYTES[100:200]
        store.delete(key)
        assert bytes(view) == BYTES[100:200]

    def test_the_buffer_is_read_only(self, store: ObjectStore) -> None:
        with store.create() as writer:
            writer.write(BYTES)
            assert memoryview(writer.buffer()).readonly

    def test_nothing_is_visible_before_it_is_published(self, store: ObjectStore) -> None:
        with store.create() as writer:
            writer.write(BYTES)
            writer.sync()
            assert list(store.keys()) == []
            key = writer.publish()
            assert list(store.keys()) == [key]

    def test_a_batch_is_synced_by_writer_and_folder(self, store: ObjectStore) -> None:
        writers = [store.create() for _ in range(20)]
        for number, writer in enumerate(writers):
            writer.write(BYTES[:number])
            writer.sync()
        keys = [writer.publish() for writer in writers]
        store.sync_folders(keys)
        assert sorted(store.keys()) == sorted(keys)
        assert [store.size(key) for key in keys] == list(range(20))

    def test_sync_folders_of_nothing(self, store: ObjectStore) -> None:
        store.sync_folders([])

    def test_every_object_has_its_own_key(self, store: ObjectStore) -> None:
        assert len({put(store, b"the same") for _ in range(50)}) == 50

    def test_keys_name_the_day_first(self, store: ObjectStore) -> None:
        before = time.strftime("%Y/%m/%d/", time.gmtime())
        key = put(store, BYTES)
        after = time.strftime("%Y/%m/%d/", time.gmtime())
        assert key.startswith((before, after))

    def test_discarded_objects_leave_nothing(self, store: ObjectStore) -> None:
        writer = store.create()
        writer.write(BYTES)
        writer.discard()
        writer.discard()
        assert list(store.keys()) == []

    def test_an_error_on_the_way_in_discards(self, store: ObjectStore) -> None:
        def store_and_fail() -> None:
            with store.create() as writer:
                writer.write(BYTES)
                raise KeyError

        with pytest.raises(KeyError):
            store_and_fail()
        assert list(store.keys()) == []

    def test_discard_after_publish_keeps_the_object(self, store: ObjectStore) -> None:
        writer = store.create()
        writer.write(BYTES)
        key = writer.commit()
        writer.discard()
        assert store.size(key) == len(BYTES)

    def test_a_finished_writer_takes_no_more(self, store: ObjectStore) -> None:
        writer = store.create()
        writer.commit()
        for action in (lambda: writer.write(b"more"), writer.sync, writer.publish):
            with pytest.raises(ValueError, match="already published or discarded"):
                action()

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, 10, BYTES[:10]),
            (299_990, 10, BYTES[-10:]),
            (299_990, 1_000, BYTES[-10:]),
            (300_000, 5, b""),
            (2**62, 5, b""),
            (5, 0, b""),
            (0, 2**62, BYTES),
        ],
    )
    def test_read_at(self, store: ObjectStore, offset: int, length: int, expected: bytes) -> None:
        assert store.read_at(put(store, BYTES), offset, length) == expected

    @pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1)])
    def test_read_at_counts_from_the_start(self, store: ObjectStore, offset: int, length: int) -> None:
        key = put(store, BYTES)
        with pytest.raises(ValueError, match="from the start"):
            store.read_at(key, offset, length)

    def test_opened_objects_can_be_searched(self, store: ObjectStore) -> None:
        with store.open(put(store, BYTES)) as file:
            file.seek(1_000)
            assert file.read(10) == BYTES[1_000:1_010]

    def test_modified_is_now(self, store: ObjectStore) -> None:
        assert abs(store.modified(put(store, BYTES)) - time.time()) < 60

    def test_delete(self, store: ObjectStore) -> None:
        kept, gone = put(store, b"kept"), put(store, b"gone")
        store.delete(gone)
        store.delete(gone)
        assert list(store.keys()) == [kept]
        for read in (store.open, store.size, store.modified, lambda key: store.read_at(key, 0, 1)):
            with pytest.raises(ObjectMissing, match="fileroom check"):
                read(gone)

    @pytest.mark.parametrize("key", HOSTILE_KEYS, ids=range(len(HOSTILE_KEYS)))
    def test_hostile_keys_name_nothing(self, store: ObjectStore, key: str) -> None:
        put(store, BYTES)
        actions = (
            store.open,
            store.open_stretches,
            store.size,
            store.modified,
            store.delete,
            lambda key: store.read_at(key, 0, 1),
            lambda key: store.sync_folders([key]),
        )
        for action in actions:
            with pytest.raises(ObjectMissing):
                action(key)

    def test_many_threads_store_at_once(self, store: ObjectStore) -> None:
        keys: list[list[str]] = [[] for _ in range(8)]

        def store_some(number: int) -> None:
            keys[number].extend(put(store, b"%d %d" % (number, count)) for count in range(25))

        threads = [threading.Thread(target=store_some, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(store.keys()) == sorted(key for some in keys for key in some)
        for number, some in enumerate(keys):
            assert [store.read_at(key, 0, 100) for key in some] == [b"%d %d" % (number, count) for count in range(25)]

    def test_writable(self, store: ObjectStore) -> None:
        store.writable()
        assert list(store.keys()) == []

    def test_nothing_is_stale_at_first(self, store: ObjectStore) -> None:
        put(store, BYTES)
        with store.create() as writer:
            writer.write(BYTES)
            assert store.remove_stale_temporary() == 0
            writer.commit()
        assert len(list(store.keys())) == 2
