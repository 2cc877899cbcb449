"""Metadata that is kept: what is given is what would be made now, whatever lies in the folder."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fileroom_dicomweb import DicomwebSettings, create_app
from fileroom_dicomweb.kept_metadata import KeptMetadata
from fileroom_storage.parse.json_fragments import JsonFragments
from fileroom_storage.storage import Resolution, Storage
from tests.made import made, uid
from tests.storage.stored import store

PATH = f"/dicom-web/studies/{uid(1)}/series/{uid(1, 1)}/metadata"
GZIP = {"Accept-Encoding": "gzip"}


def folder(storage: Storage) -> Path:
    return storage.settings.data / "metadata"


def kept_files(storage: Storage) -> list[Path]:
    return sorted(folder(storage).iterdir()) if folder(storage).is_dir() else []


@pytest.fixture
def made_headers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each header that is written."""
    written: list[int] = []
    write = JsonFragments.write

    def counted(self: JsonFragments, *arguments: Any) -> bytes:
        written.append(1)
        return write(self, *arguments)

    monkeypatch.setattr(JsonFragments, "write", counted)
    return written


@pytest.fixture
def two(storage: Storage) -> None:
    for number in (1, 2):
        store(storage, made(SOPInstanceUID=uid(1, 1, number), InstanceNumber=number))


def content(answer: TestResponse) -> bytes:
    assert answer.status_code == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    return gzip.decompress(answer.data)


@pytest.mark.usefixtures("two")
def test_it_is_made_once_and_is_the_same(client: FlaskClient, storage: Storage, made_headers: list[int]) -> None:
    plain = client.get(PATH)
    assert "Content-Encoding" not in plain.headers
    made_headers.clear()
    for _ in range(3):
        answer = client.get(PATH, headers=GZIP)
        assert content(answer) == plain.data
        assert answer.headers["ETag"] == plain.headers["ETag"]
        assert "Accept-Encoding" in answer.headers["Vary"]
    assert len(made_headers) == 2
    [kept] = kept_files(storage)
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("two")
def test_whatever_happens_to_the_series_counts_at_once(client: FlaskClient, storage: Storage) -> None:
    def check(count: int) -> None:
        answer = content(client.get(PATH, headers=GZIP))
        assert answer == client.get(PATH).data
        assert answer.count(b'"00080018"') == count

    check(2)
    store(storage, made(SOPInstanceUID=uid(1, 1, 3)))
    check(3)
    deletion = storage.delete({"SOPInstanceUID": uid(1, 1, 1)})
    check(2)
    storage.restore(deletion.pk)
    check(3)
    store(storage, made(SOPInstanceUID=uid(1, 1, 3), InstanceNumber=33))
    [conflict] = storage.conflicts()
    storage.resolve_conflict(conflict.pk, Resolution.ACCEPT)
    check(3)
    assert b"33" in content(client.get(PATH, headers=GZIP))


@pytest.mark.usefixtures("two")
def test_each_root_has_its_own(client: FlaskClient, storage: Storage) -> None:
    store(storage, made(SOPInstanceUID=uid(1, 1, 3), EncapsulatedDocument=bytes(5000)))
    for host in ("pacs.example.org", "other.example.org", "pacs.example.org"):
        assert f"http://{host}/".encode() in content(client.get(PATH, headers={**GZIP, "Host": host}))
    assert len(kept_files(storage)) == 2


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("damage", [b"", b"fileroom", "cut", "changed", "longer", "foreign"])
def test_what_is_torn_or_foreign_is_made_again(
    client: FlaskClient, storage: Storage, damage: bytes | str, made_headers: list[int]
) -> None:
    right = content(client.get(PATH, headers=GZIP))
    [kept] = kept_files(storage)
    whole = kept.read_bytes()
    spoiled = {
        "cut": whole[:-5],
        "changed": whole[:-5] + bytes(5),
        "longer": whole + b"x",
        "foreign": gzip.compress(b"[]"),
    }
    kept.write_bytes(damage if isinstance(damage, bytes) else spoiled[damage])
    made_headers.clear()
    assert content(client.get(PATH, headers=GZIP)) == right
    assert len(made_headers) == 2
    assert kept.read_bytes() == whole


@pytest.mark.usefixtures("two")
def test_a_lost_object_is_told_of_though_its_metadata_is_kept(client: FlaskClient, storage: Storage) -> None:
    content(client.get(PATH, headers=GZIP))
    next((storage.settings.data / "objects").rglob("*.dcm")).unlink()
    assert client.get(PATH, headers=GZIP).status_code == 500


@pytest.mark.usefixtures("two")
def test_it_can_be_switched_off(storage: Storage, made_headers: list[int]) -> None:
    client = create_app(storage, DicomwebSettings(metadata_cache_size=0)).test_client()
    for _ in range(2):
        content(client.get(PATH, headers=GZIP))
    assert len(made_headers) == 4
    assert kept_files(storage) == []


@pytest.mark.usefixtures("two")
def test_a_folder_that_cannot_be_written_does_no_harm(client: FlaskClient, storage: Storage) -> None:
    folder(storage).write_bytes(b"in the way")
    assert content(client.get(PATH, headers=GZIP)) == client.get(PATH).data


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    kept = KeptMetadata(tmp_path, 5000)

    def chunks(number: int) -> Any:
        yield bytes([number]) * 500
        yield bytes([number]) * 500

    for number in range(8):
        assert b"".join(kept.keep(f"{number:032x}", chunks(number))) == bytes([number]) * 1000
        kept.find(f"{0:032x}")
    assert kept.find(f"{0:032x}") == bytes(1000)
    assert kept.find(f"{1:032x}") is None
    assert kept.find(f"{7:032x}") == bytes([7]) * 1000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5000


def test_an_answer_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    kept = KeptMetadata(tmp_path, 5000)

    def broken() -> Any:
        yield b"half"
        raise OSError("the object is gone")

    with pytest.raises(OSError, match="gone"):
        list(kept.keep("0" * 32, broken()))
    passed = kept.keep("1" * 32, (part for part in [b"half", b"rest"]))
    next(passed)
    passed.close()
    assert list(tmp_path.iterdir()) == []
