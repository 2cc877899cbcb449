"""Objects on their way in: what their sender is told, their digest, and what waits on the disk."""

import hashlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from fileroom_storage import ready_object, retrieve
from fileroom_storage.index import new_instances
from fileroom_storage.parse import mapped_pages
from fileroom_storage.parse.encoding import View
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.ready_object import DIGESTED_MEANWHILE
from fileroom_storage.storage import Provenance, Storage
from tests.large_bodies import large_fragments, large_object, new_study
from tests.made import made
from tests.storage.stored import store, tables_of


def test_other_bytes_under_a_known_uid_are_stored_once(storage: Storage) -> None:
    first, other = made(PatientName="One"), made(PatientName="Other")
    assert store(storage, first).status == "stored"
    assert store(storage, first).status == "already stored"
    assert store(storage, other).status == "stored"
    again = store(storage, other)
    assert (again.status, len(again.conflicts)) == ("already stored", 1)


@pytest.mark.parametrize("kind", ["native", "fragments"])
def test_what_is_let_go_of_while_it_is_read_is_read_all_the_same(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    released: list[int] = []
    let_go = mapped_pages.let_go_of_pages

    def counted(view: View) -> None:
        released.append(len(view))
        let_go(view)

    monkeypatch.setattr(mapped_pages, "let_go_of_pages", counted)
    monkeypatch.setattr(ready_object, "let_go_of_pages", counted)
    study, size = new_study(), 3 * mapped_pages.STRETCH + 12_345
    content = large_object(size + 1, study) if kind == "native" else large_fragments(size // 50_000, 50_000, study)
    incoming = sqlite_storage.receive()
    for chunk in content:
        incoming.write(chunk)
    outcome = incoming.store(Provenance("import"))
    assert len(released) >= 4
    (instance,) = sqlite_storage.locate({"SOPInstanceUID": outcome.sop_instance_uid})
    (row,) = tables_of(sqlite_storage)["dicom_instance"]
    data_set = sqlite_storage.read_data_set(instance)
    assert row["digest"] == hashlib.sha256(data_set).hexdigest()


def test_frames_that_the_index_has_no_room_for_are_read_and_let_go_of(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_instances, "FRAME_TABLE_LENGTH", 0)
    count = 2 * mapped_pages.STRETCH // 50_000 + 10
    incoming = sqlite_storage.receive()
    for chunk in large_fragments(count, 50_000, new_study()):
        incoming.write(chunk)
    outcome = incoming.store(Provenance("import"))
    (instance,) = sqlite_storage.locate({"SOPInstanceUID": outcome.sop_instance_uid})
    assert instance.frames is None
    released: list[int] = []
    monkeypatch.setattr(retrieve, "let_go_of_pages", lambda view: released.append(len(view)))
    frames = list(sqlite_storage.frames(instance, [range(1, count + 1)]))
    assert (len(frames), {len(frame) for frame in frames}) == (count, {50_000})
    assert len(released) == 2


def test_a_spool_gives_back_what_was_written_and_leaves_nothing(sqlite_storage: Storage) -> None:
    incoming = Path(sqlite_storage.settings.data, "incoming")
    with sqlite_storage.spool() as spool:
        spool.write(b"abc")
        start = spool.size
        spool.write(b"x" * 3_000_000)
        spool.write(b"end")
        spooled = spool.since(start)
        spool.write(b"behind")
        assert b"".join(spooled.chunks()) == b"x" * 3_000_000 + b"end"
        reader = spooled.reader()
        assert (reader.read(3_000_001), reader.read(), reader.read(1)) == (b"x" * 3_000_000 + b"e", b"nd", b"")
        assert len(list(incoming.iterdir())) == 1
    assert list(incoming.iterdir()) == []


EDGES = DIGESTED_MEANWHILE.start, DIGESTED_MEANWHILE.stop


@pytest.mark.parametrize("size", [edge + beside for edge in EDGES for beside in (-20_000, -2, 0, 2, 20_000)])
@pytest.mark.parametrize("fragment", [4_000, 131_060, 1 << 22])
def test_the_digest_is_that_of_the_data_set_whenever_it_is_worked_out(
    sqlite_storage: Storage, size: int, fragment: int
) -> None:
    content = b"".join(large_object(size + 1, new_study()))
    meta = read_file_meta(memoryview(content))
    dataset = dcmread(BytesIO(content), stop_before_pixels=True)
    data_set = content[meta.data_set_offset :]
    incoming = sqlite_storage.receive_data_set(
        sop_class_uid=dataset.SOPClassUID,
        sop_instance_uid=dataset.SOPInstanceUID,
        transfer_syntax_uid=meta.transfer_syntax_uid,
        provenance=Provenance("C-STORE"),
    )
    for start in range(0, len(data_set), fragment):
        incoming.write(data_set[start : start + fragment])
    assert incoming.store().status == "stored"
    (row,) = tables_of(sqlite_storage)["dicom_instance"]
    assert row["digest"] == hashlib.sha256(data_set).hexdigest()
    again = sqlite_storage.receive()
    again.write(content)
    assert again.store(Provenance("STOW-RS")).status == "already stored"
