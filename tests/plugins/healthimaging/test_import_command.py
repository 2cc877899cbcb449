"""`fileroom healthimaging import` of files: at each level, and with nothing of patients in what it says and logs."""

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.made import uid
from tests.plugins.healthimaging.documents import Json, document, instance
from tests.plugins.healthimaging.indexed import of_study
from tests.served import FILEROOM

PATIENT = {"PatientName": "Verysecret^Jane", "PatientID": "SECRET-7", "PatientBirthDate": "19510203"}
ROWS = {"series": (0, 0), "instance": (3, 0), "frame": (3, 3)}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Two image sets of a study."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for series, numbers in ((1, (1, 2)), (2, (1,))):
        images = [instance(uid(1, series, number), InstanceNumber=str(number)) for number in numbers]
        said = of_study(document(*images, patient=PATIENT), uid(1), uid(1, series))
        write(folder / f"{series}.json", said | {"ImageSetID": str(series) * 32})
    return folder


def write(path: Path, said: Json) -> None:
    path.write_text(json.dumps(said))


def run(data: Path, *sources: Path, level: str = "frame", code: int = 0) -> str:
    """All that the command says and logs."""
    data.mkdir(exist_ok=True)
    variables = {"FILEROOM_PLUGINS__HEALTHIMAGING__INDEX_LEVEL": level, "FILEROOM_LOGGING__LEVEL": "debug"}
    command = [FILEROOM, "healthimaging", "import", "--data", str(data), *map(str, sources)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def rows(data: Path) -> tuple[int, int, int]:
    """The number of instances that the study says, and of rows of instances and frames."""
    with sqlite3.connect(data / "index.sqlite") as connection:
        [[told]] = connection.execute("SELECT number_of_study_related_instances FROM dicom_study").fetchall()
        [[instances]] = connection.execute("SELECT count(*) FROM dicom_instance").fetchall()
        [[frames]] = connection.execute("SELECT count(*) FROM healthimaging_frame").fetchall()
    connection.close()
    return told, instances, frames


def test_levels_are_raised_and_lowered_by_the_configuration_alone(tmp_path: Path, documents: Path) -> None:
    data = tmp_path / "data"
    assert "2 image sets taken, 0 failures" in run(data, documents, level="series")
    assert rows(data) == (3, *ROWS["series"])
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    for level in ("frame", "instance", "series", "instance"):
        assert f"2 image sets brought to index_level {level}" in run(data, nothing, level=level)
        assert rows(data) == (3, *ROWS[level])
        assert "brought to" not in run(data, nothing, level=level)


def test_nothing_of_patients_is_said_or_logged(tmp_path: Path, documents: Path) -> None:
    """Fault: PHI is printed to logs. Here at the level of debugging, with documents among them that cannot be read."""
    said = json.loads((documents / "1.json").read_text())
    write(documents / "3.json", said | {"ImageSetID": None})
    of_another = said | {"ImageSetID": "4" * 32, "Patient": {"DICOM": PATIENT | {"PatientID": "SECRET-8"}}}
    write(documents / "4.json", of_another)
    (documents / "5.json").write_text(json.dumps(said)[:-40])
    text = run(tmp_path / "data", documents, code=1)
    assert "3 image sets taken, 2 failures" in text
    for secret in ("Verysecret", "VERYSECRET", "SECRET-", "19510203"):
        assert secret not in text
