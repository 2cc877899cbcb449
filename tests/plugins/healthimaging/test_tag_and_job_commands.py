"""`fileroom healthimaging tag …` and `job …`, as a person and a program use them."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fileroom_healthimaging.dicom_import_jobs_commands import job
from fileroom_healthimaging.tags_commands import tag
from fileroom_server.cli import main
from tests.fakes.image_set_documents import image_set_document
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.moto_server import Moto
from tests.fakes.small_image_sets import FRAME_ID, ROLE, document
from tests.made import made, part10, uid
from tests.plugins.healthimaging.conftest import AddSeries

Run = Callable[..., Result]
COMMANDS = {"tag": tag, "job": job}
FILEROOM = Path(sys.executable).with_name("fileroom")
SERIES = uid(1, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and a configuration that enables the plugin."""
    place = tmp_path_factory.mktemp("commands")
    (place / "data").mkdir()
    (place / "fileroom.toml").write_text('data = "data"\n[plugins.healthimaging]\n')
    return place


@pytest.fixture
def run(place: Path, aws: MedicalImaging, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(place)
    monkeypatch.setenv("FILEROOM_CONFIG", "fileroom.toml")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["healthimaging", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def store(medical_imaging: MedicalImaging) -> str:
    return medical_imaging.image_sets.create_datastore().datastore_id


def indexed(place: Path, column: str) -> list[str]:
    """What the index has of studies, joined with their series."""
    with closing(sqlite3.connect(place / "data" / "index.sqlite")) as connection:
        joined = "dicom_study JOIN dicom_series ON dicom_series.study_pk = dicom_study.pk"
        return [value for (value,) in connection.execute(f"SELECT {column} FROM {joined}")]


def test_tag_from_the_request_to_applied(run: Run, place: Path, datastore: str, add: AddSeries) -> None:
    image_set = add()
    asked = ("--datastore", datastore, "--level", "study", SERIES, "StudyDescription", "Thorax")
    told = json.loads(run("tag", "request", *asked, "--json").stdout)
    assert (told["state"], told["value"], told["image_set_id"]) == ("requested", "Thorax", None)
    pk = told["id"]
    assert f"Tag {pk} is asked for" in run("tag", "request", *asked).stdout  # the same one
    listed = run("tag", "list").stdout.splitlines()
    assert listed[0].split("\t")[:2] == [str(pk), "requested"]
    assert "Thorax" not in listed[0]
    result = run("tag", "run", "--wait")
    assert result.stdout == f"Tag {pk} is applied: image set {image_set.image_set_id} has it since version 2.\n"
    assert result.stderr == "1 tag applied, 0 waiting, 0 failed.\n"
    assert image_set.latest.document["Study"]["DICOM"]["StudyDescription"] == "Thorax"
    assert indexed(place, "study_description") == ["Thorax"]  # before any event has told of it
    assert run("tag", "list").stdout == ""
    [applied] = json.loads(run("tag", "list", "--all", "--json").stdout)
    assert (applied["id"], applied["state"], applied["version"], applied["due_at"]) == (pk, "applied", 2, None)
    assert json.loads(run("tag", "run", "--json").stdout) == []


def test_tag_that_fails_and_is_tried_again(run: Run, store: str, medical_imaging: MedicalImaging) -> None:
    medical_imaging.image_sets.add(store, document(), {FRAME_ID: b"frame"})
    medical_imaging.transitions.fail_next("It could not be")
    run("tag", "request", "--datastore", store, "--level", "study", SERIES, "StudyComments", "x")
    [failed] = json.loads(run("tag", "run", "--json", code=1).stdout)
    assert (failed["state"], failed["last_error"]) == ("failed", "It could not be")
    assert f"Tag {failed['id']} is due" in run("tag", "retry", str(failed["id"])).stdout
    assert "is applied" in run("tag", "run").stdout


def test_what_is_wrong_is_one_line(run: Run, store: str) -> None:
    told = run("tag", "request", "--datastore", store, SERIES, "NoSuchKeyword", "x", code=1).output
    assert told == "Error: NoSuchKeyword is no keyword of PS3.6; private attributes cannot be tags\n"
    assert run("tag", "retry", "999999", code=1).output.startswith("Error: there is no tag 999999; ")
    assert "there is no import job 999999" in run("job", "outcomes", "999999", code=1).output


@pytest.fixture
def bucket(moto: Moto, medical_imaging: MedicalImaging) -> str:
    medical_imaging.jobs.exporter = image_set_document
    bucket = moto.new_bucket()
    s3 = moto.client("s3")
    s3.put_object(
        Bucket=bucket,
        Key="in/1.dcm",
        Body=part10(made(StudyInstanceUID=uid(5), SeriesInstanceUID=uid(5, 5), SOPInstanceUID=uid(5, 5, 5))),
    )
    s3.put_object(Bucket=bucket, Key="in/notes.txt", Body=b"no DICOM")
    s3.close()
    return bucket


def start(run: Run, store: str, bucket: str, *more: str, code: int = 0) -> Result:
    places = ("--input", f"s3://{bucket}/in/", "--output", f"s3://{bucket}/out/")
    return run("job", "start", "--datastore", store, "--role", ROLE, *places, *more, code=code)


def test_job_from_the_start_to_the_outcomes(run: Run, place: Path, store: str, bucket: str) -> None:
    kept, completed = start(run, store, bucket, "--follow").stdout.splitlines()
    pk = kept.split()[2]
    assert completed == f"Import job {pk} is completed: 1 file imported into 1 image set, 1 failed."
    assert uid(5, 5) in indexed(place, "series_instance_uid")
    rows = [line.split("\t") for line in run("job", "outcomes", pk).stdout.splitlines()]
    assert rows[0] == ["in/notes.txt", "failed", "", "", "", "ValidationException: DICOM attributes does not exist"]
    assert (rows[1][:2], rows[1][3:]) == (["in/1.dcm", "imported"], ["1", "yes", ""])
    [failed] = map(json.loads, run("job", "outcomes", pk, "--failed", "--json").stdout.splitlines())
    assert (failed["input_file"], failed["outcome"]) == ("in/notes.txt", "failed")
    assert run("job", "list").stdout == ""
    [listed] = [one for one in json.loads(run("job", "list", "--all", "--json").stdout) if str(one["id"]) == pk]
    assert (listed["state"], listed["scanned_files"], listed["image_sets"]) == ("completed", 2, 1)


def test_job_that_is_followed_by_another_process(
    run: Run, store: str, bucket: str, medical_imaging: MedicalImaging
) -> None:
    medical_imaging.transitions.held = True
    [told] = json.loads(start(run, store, bucket, "--json").stdout)
    assert told["state"] == "submitted"
    assert told["name"].startswith("fileroom-")
    assert run("job", "list").stdout.split("\t")[1] == "submitted"
    assert "what is here is not all" in run("job", "outcomes", str(told["id"])).stderr
    medical_imaging.transitions.finish()
    assert "is completed" in run("job", "follow", str(told["id"])).stdout


def test_job_that_fails(run: Run, store: str, bucket: str, medical_imaging: MedicalImaging) -> None:
    medical_imaging.transitions.fail_next("It could not be")
    assert "has failed: It could not be" in start(run, store, bucket, "--follow", code=1).stdout


@pytest.mark.parametrize(
    ("group", "command"), [(group, name) for group, commands in COMMANDS.items() for name in commands.commands]
)
def test_help_has_an_example(group: str, command: str) -> None:
    text = CliRunner().invoke(COMMANDS[group], [command, "--help"]).output
    assert f"Example: fileroom healthimaging {group} {command}" in text


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_process_that_ends_while_it_follows(
    run: Run, store: str, bucket: str, medical_imaging: MedicalImaging, number: int, code: int
) -> None:
    medical_imaging.transitions.held = True
    places = ("--input", f"s3://{bucket}/in/", "--output", f"s3://{bucket}/out/")
    asked = ("healthimaging", "job", "start", "--follow", "--datastore", store, "--role", ROLE, *places)
    with subprocess.Popen([FILEROOM, *asked], stdout=subprocess.PIPE) as process:
        lines = process.stdout
        assert lines is not None
        assert b"is kept" in lines.readline()
        assert b"is submitted" in lines.readline()
        process.send_signal(number)
        assert process.wait(20) == code
    medical_imaging.transitions.finish()
    begun = time.monotonic()
    assert "is completed" in run("job", "follow").stdout
    assert time.monotonic() - begun < 60  # and not when a lease ends


@pytest.mark.parametrize(
    "asked",
    [
        ("tag", "run"),
        ("conflicts", "resolve", "1", "discard", "0" * 32),
        ("job", "start", "--datastore", "0" * 32, "--role", ROLE, "--input", "s3://in/", "--output", "s3://out/"),
    ],
)
def test_without_boto3(run: Run, asked: tuple[str, ...]) -> None:
    script = "import sys; sys.modules |= dict(boto3=None, botocore=None); from fileroom_server.cli import main; main()"
    command = [sys.executable, "-c", script, "healthimaging", *asked]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "pip install 'fileroom[healthimaging]'" in ended.stderr
    assert ended.stdout == ""
