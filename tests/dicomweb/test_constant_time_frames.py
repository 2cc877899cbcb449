"""Any frame of an object of 100,000 is as cheap as the first: the bytes read and the statements made are counted."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from sqlalchemy import event
from sqlalchemy.engine import Engine

from fileroom_storage.index.prepared import Prepared
from fileroom_storage.objects import FilesystemObjectStore, file_writing, filesystem
from fileroom_storage.storage import Storage
from tests.dicomweb.conftest import Store
from tests.dicomweb.objects import data_set, part10, parts

FRAMES = 100_000
ANY = "multipart/related; type=application/octet-stream; transfer-syntax=*"
_PIXELS = 8  # of 8 bits: a frame's number


def frame(number: int) -> bytes:
    return struct.pack(">Q", number)


def _attributes() -> dict[str, object]:
    return {
        "StudyInstanceUID": generate_uid(),
        "NumberOfFrames": FRAMES,
        "Rows": 1,
        "Columns": _PIXELS,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
    }


@pytest.fixture(params=["native", "with an offset table", "without one"])
def path(request: pytest.FixtureRequest, store: Store) -> str:
    ds = data_set(**_attributes(), PixelData=b"".join(map(frame, range(1, FRAMES + 1))))
    syntax = ExplicitVRLittleEndian
    if request.param != "native":
        syntax = JPEGLSLossless
        table = struct.pack(f"<{FRAMES}I", *range(0, FRAMES * 16, 16)) if "with an" in request.param else b""
        items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, 8) + frame(number) for number in range(1, FRAMES + 1))
        ds.PixelData = struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table + items
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    assert store(part10(ds, syntax)).status_code == 200
    return f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


class Work:
    """What was done: reads of stored objects with their lengths, files opened, statements."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.opened = 0
        self.statements = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Work) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"{vars(self)}"


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    work = Work()
    read_at, descriptor, executed = file_writing.read_at, FilesystemObjectStore._descriptor, Prepared._executed

    def counting_read_at(file: int, offset: int, length: int) -> bytes:
        work.reads.append(length)
        return read_at(file, offset, length)

    def counting_descriptor(store: FilesystemObjectStore, key: str) -> int:
        work.opened += 1
        return descriptor(store, key)

    def counting_executed(statement: Prepared, *arguments: Any, **options: Any) -> Any:
        work.statements += 1
        return executed(statement, *arguments, **options)

    def count_statement(*_: object) -> None:
        work.statements += 1

    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "read_at", counting_read_at)
        patch.setattr(FilesystemObjectStore, "_descriptor", counting_descriptor)
        patch.setattr(Prepared, "_executed", counting_executed)
        event.listen(Engine, "before_cursor_execute", count_statement)
        try:
            yield work
        finally:
            event.remove(Engine, "before_cursor_execute", count_statement)


def test_work_does_not_depend_on_the_number(
    client: FlaskClient, storage: Storage, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {}
    for number in (1, 2, FRAMES // 2, FRAMES):
        with counted(monkeypatch) as work:
            answer = client.get(f"{path}/frames/{number}", headers={"Accept": ANY})
            assert [content for _, content in parts(answer.content_type, answer.data)] == [frame(number)]
        done[number] = work
    assert all(work == done[1] for work in done.values()), done
    # neither the object nor the table of its frames was read
    assert sum(done[1].reads) <= 16
    assert done[1].opened == 1
    assert done[1].statements in (1, 2)


def test_a_thousand_frames_take_a_handful_of_statements(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for numbers in (range(1, 1001), range(FRAMES, FRAMES - 1000, -1), range(7, FRAMES, FRAMES // 1000)):
        with counted(monkeypatch) as work:
            answer = client.get(f"{path}/frames/{','.join(map(str, numbers))}", headers={"Accept": ANY})
            received = [content for _, content in parts(answer.content_type, answer.data)]
        assert received == list(map(frame, numbers))
        # an item header, where there is one, and a frame
        assert len(work.reads) in (len(numbers), 2 * len(numbers))
        assert sum(work.reads) in (8 * len(numbers), 16 * len(numbers))
        assert 1 <= work.statements <= 21
        assert work.opened == 1


def test_all_frames_by_a_range(client: FlaskClient, path: str) -> None:
    answer = client.get(f"{path}/frames/1-{FRAMES}", headers={"Accept": ANY}, buffered=False)
    body = b"".join(answer.iter_encoded())
    assert body.count(b"Content-Type: ") == FRAMES
    assert frame(FRAMES) in body[-200:]
