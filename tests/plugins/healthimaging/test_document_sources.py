"""Documents from files, folders and S3."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fileroom_healthimaging import document_sources
from fileroom_healthimaging.aws import AwsClients
from fileroom_healthimaging.aws_errors import AwsNotFound
from fileroom_healthimaging.document_sources import FoundDocument, S3Documents, documents_of_path
from fileroom_healthimaging.importing import Import, UnknownSource, checked_source
from fileroom_healthimaging.intake import Intake
from fileroom_healthimaging.reconciliation import Reconciliation
from fileroom_storage.attributes import Level
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.storage import Query, Storage
from tests.fakes.moto_server import Moto
from tests.plugins.healthimaging.conftest import AddSeries
from tests.plugins.healthimaging.watched_index import WatchedIndex


def test_a_file_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "metadata"
    file.write_bytes(b"{}")
    assert list(documents_of_path(file)) == [FoundDocument(str(file), b"{}")]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.json", "a/x.json.gz", "a/y.GZ", "a/readme.txt", "c.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = {str(Path(one.where).relative_to(tmp_path)): one.content for one in documents_of_path(tmp_path)}
    assert found == {name: name.encode() for name in ("b.json", "a/x.json.gz", "a/y.GZ")}


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.json").write_bytes(b"{}")
    gone, good = sorted(documents_of_path(tmp_path), key=lambda one: one.content)
    assert gone.problem == "No such file or directory"
    assert good.content == b"{}"


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_sources, "MAXIMUM_SIZE", 10)
    (tmp_path / "large.json").write_bytes(b"x" * 11)
    (tmp_path / "small.json").write_bytes(b"x" * 10)
    large, small = documents_of_path(tmp_path)
    assert "more than" in large.problem
    assert not large.content
    assert small.content == b"x" * 10


class TestS3:
    @pytest.fixture
    def bucket(self, moto: Moto) -> str:
        return moto.new_bucket()

    @pytest.fixture
    def s3(self, clients: AwsClients) -> S3Documents:
        return S3Documents(clients, 4)

    def test_a_prefix(self, moto: Moto, bucket: str, s3: S3Documents, monkeypatch: pytest.MonkeyPatch) -> None:
        client = moto.client("s3")
        for number in range(7):
            client.put_object(Bucket=bucket, Key=f"sets/{number}.json.gz", Body=b"%d" % number)
        client.put_object(Bucket=bucket, Key="sets/readme.txt", Body=b"")
        client.put_object(Bucket=bucket, Key="other/8.json", Body=b"8")
        ask = s3._clients.s3.list_objects_v2
        pages: list[Any] = []

        def in_small_pages(**parameters: Any) -> Any:
            pages.append(parameters)
            return ask(**parameters, MaxKeys=3)

        monkeypatch.setattr(s3._clients.s3, "list_objects_v2", in_small_pages)
        found = list(s3.documents(f"s3://{bucket}/sets/"))
        assert [one.content for one in found] == [b"%d" % number for number in range(7)]
        assert found[0].where == f"s3://{bucket}/sets/0.json.gz"
        assert len(pages) == 3

    def test_one_object(self, moto: Moto, bucket: str, s3: S3Documents) -> None:
        moto.client("s3").put_object(Bucket=bucket, Key="metadata", Body=b"{}")
        assert [one.content for one in s3.documents(f"s3://{bucket}/metadata")] == [b"{}"]

    def test_too_large(self, moto: Moto, bucket: str, s3: S3Documents, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(document_sources, "MAXIMUM_SIZE", 10)
        moto.client("s3").put_object(Bucket=bucket, Key="large.json", Body=b"x" * 11)
        [one] = s3.documents(f"s3://{bucket}/")
        assert "more than" in one.problem

    def test_no_bucket(self, s3: S3Documents) -> None:
        with pytest.raises(AwsNotFound):
            list(s3.documents("s3://there-is-no-such-bucket/sets/"))

    def test_gone_since_it_was_listed(
        self, moto: Moto, bucket: str, s3: S3Documents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3, "_keys", lambda bucket, prefix: iter([("a.json", 2), ("b.json", 2)]))
        moto.client("s3").put_object(Bucket=bucket, Key="b.json", Body=b"{}")
        gone, there = s3.documents(f"s3://{bucket}/")
        assert "NoSuchKey" in gone.problem
        assert there.content == b"{}"


class TestImport:
    @pytest.fixture
    def done(self) -> list[int]:
        return []

    @pytest.fixture
    def run(
        self,
        intake: Intake,
        index: WatchedIndex,
        clients: AwsClients,
        service: Any,
        stopping: Any,
        done: list[int],
    ) -> Import:
        reconciliation = Reconciliation(service, index, intake, stopping)
        return Import(intake, reconciliation, S3Documents(clients, 4), done.append, stopping)

    @pytest.fixture
    def folder(self, tmp_path: Path, add: AddSeries) -> Path:
        """Two documents, one of them compressed, and what is none."""
        folder = tmp_path / "documents"
        folder.mkdir()
        for number, said in enumerate((add(1, 2), add(2, 1)), 1):
            content = json.dumps(said.latest.document).encode()
            (folder / f"{number}.json").write_bytes(content if number == 1 else gzip.compress(content))
        (folder / "3.json").write_bytes(b'{"PatientName": "Doe^Jane"')
        return folder

    def test_a_folder(self, run: Import, folder: Path, storage: Storage, done: list[int]) -> None:
        run.run(str(folder))
        assert sum(1 for _ in storage.find(Query(Level.IMAGE))) == 3
        assert (run.done.taken, list(run.done.failures)) == (2, [str(folder / "3.json")])
        assert "Doe" not in run.done.failures[str(folder / "3.json")]
        assert sum(done) == 3

    def test_s3(self, run: Import, folder: Path, storage: Storage, moto: Moto) -> None:
        bucket = moto.new_bucket()
        for file in folder.iterdir():
            moto.client("s3").upload_file(str(file), bucket, f"sets/{file.name}")
        run.run(f"s3://{bucket}/sets/")
        assert sum(1 for _ in storage.find(Query(Level.IMAGE))) == 3
        assert list(run.done.failures) == [f"s3://{bucket}/sets/3.json"]

    def test_a_datastore(self, run: Import, add: AddSeries, storage: Storage, datastore: str, done: list[int]) -> None:
        for series in range(1, 4):
            add(series)
        run.run(f"datastore:{datastore}")
        assert sum(1 for _ in storage.find(Query(Level.SERIES))) == 3
        assert (run.done.taken, run.done.listed, sum(done)) == (3, 3, 3)

    def test_an_image_set(self, run: Import, add: AddSeries, storage: Storage, datastore: str) -> None:
        add(1)
        run.run(f"datastore:{datastore}/{add(2).image_set_id}")
        assert sum(1 for _ in storage.find(Query(Level.SERIES))) == 1

    def test_the_same_image_set_twice(self, run: Import, folder: Path, storage: Storage, index: WatchedIndex) -> None:
        (folder / "4.json").write_bytes((folder / "1.json").read_bytes())
        run.run(str(folder))
        assert sum(1 for _ in storage.find(Query(Level.IMAGE))) == 3
        assert index.batches == [2, 1]

    def test_the_index_is_away(self, run: Import, folder: Path, index: WatchedIndex) -> None:
        index.failure = StorageUnavailable("the database is away")
        run.run(str(folder))
        assert run.done.failures[str(folder / "1.json")] == "the database is away"
        assert run.done.taken == 0


@pytest.mark.parametrize("source", ["s3://", "s3:///key", "datastore:", "datastore:xyz", "datastore:../x", "/no/such"])
def test_what_can_not_be_imported(source: str) -> None:
    with pytest.raises(UnknownSource, match=r"write|not like|no such"):
        checked_source(source)
