"""Conflicts of image sets, listed and ended by commands, with the fake service."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fileroom_server.cli import main
from tests.fakes.medical_imaging import MedicalImaging
from tests.fakes.small_image_sets import FRAME_ID, document

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, datastore: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Two image sets with the same instance are in the index; the first is primary."""
    (tmp_path / "data").mkdir()
    section = f'data = "data"\n[plugins.healthimaging]\ndatastores = ["{datastore}"]\n'
    (tmp_path / "fileroom.toml").write_text(section)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILEROOM_CONFIG", "fileroom.toml")

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["healthimaging", *arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def both(run: Run, aws: MedicalImaging, datastore: str) -> tuple[Any, Any]:
    first = aws.image_sets.add(datastore, document(), {FRAME_ID: b"frame"})
    second = aws.image_sets.add(datastore, document(study={"StudyDescription": "B"}), {FRAME_ID: b"frame"})
    run("import")
    return first, second


def the_conflict(run: Run, *more: str) -> dict[str, Any]:
    [conflict] = json.loads(run("conflicts", "list", "--json", *more).stdout)
    found: dict[str, Any] = conflict
    return found


def test_one_is_discarded(run: Run, both: tuple[Any, Any], datastore: str, tmp_path: Path) -> None:
    first, second = both
    conflict = the_conflict(run)
    assert conflict["differing_attributes"] == {"StudyDescription": [None, "B"]} or conflict[
        "differing_attributes"
    ] == {"StudyDescription": ["B", None]}
    listed = run("conflicts", "list").stdout
    assert "StudyDescription" in listed
    assert "\tB\t" not in listed
    pk = str(conflict["id"])
    told = run("conflicts", "resolve", pk, "discard", second.image_set_id).stdout
    assert told == f"Conflict {pk} is resolved: image set {datastore}/{first.image_set_id} is left.\n"
    assert run("conflicts", "list").stdout == ""
    ended = the_conflict(run, "--all")
    assert (ended["state"], ended["resolution"]) == ("gone", "discard")
    assert json.loads(run("status", "--json").stdout)["index"]["image_sets"] == 1
    with closing(sqlite3.connect(tmp_path / "data" / "index.sqlite")) as connection:
        audited = connection.execute("SELECT detail FROM audit_log WHERE detail LIKE '%discard%'").fetchall()
    assert len(audited) == 1
    # it is not to be had twice
    assert (
        f"conflict {pk} is not open" in run("conflicts", "resolve", pk, "discard", second.image_set_id, code=1).stderr
    )


def test_one_is_copied_into_the_other(run: Run, aws: MedicalImaging, datastore: str) -> None:
    parts = [document(instances=2), document(instances=2)]
    for number, part in enumerate(parts):
        [series] = part["Study"]["Series"].values()
        series["Instances"] = dict(list(series["Instances"].items())[number : number + 1])
    first, second = (aws.image_sets.add(datastore, part, {f"{n:032x}": b"frame"}) for n, part in enumerate(parts, 1))
    run("import")
    conflict = the_conflict(run)
    assert conflict["type"] == "divided"
    told = json.loads(run("conflicts", "resolve", str(conflict["id"]), "copy", second.image_set_id, "--json").stdout)
    assert told["image_set"] == f"{datastore}/{first.image_set_id}"
    [series] = first.latest.document["Study"]["Series"].values()
    assert len(series["Instances"]) == 2
    ended = the_conflict(run, "--all")
    assert (ended["state"], ended["resolution"]) == ("resolved", "copy")
    # that both have it now is said, and what is resolved stays so
    run("import", f"datastore:{datastore}")
    assert the_conflict(run, "--all")["state"] == "resolved"


def test_what_the_service_refuses_leaves_it_open(run: Run, both: tuple[Any, Any]) -> None:
    """The primary image set of the series says otherwise of the study."""
    _, second = both
    pk = str(the_conflict(run)["id"])
    refused = run("conflicts", "resolve", pk, "promote", second.image_set_id, code=1)
    assert "CopyImageSet is in conflict with something else (ConflictException)" in refused.stderr
    assert the_conflict(run)["state"] == "open"
    stranger = run("conflicts", "resolve", pk, "promote", "0" * 32, code=1)
    assert "name one of them" in stranger.stderr
    assert "there is no conflict 99" in run("conflicts", "resolve", "99", "promote", second.image_set_id, code=1).stderr


def test_one_is_promoted(run: Run, aws: MedicalImaging, both: tuple[Any, Any], datastore: str) -> None:
    """After the primary one has been discarded; then the promoted and what it was made of are a pair."""
    first, _ = both
    run("conflicts", "resolve", str(the_conflict(run)["id"]), "discard", first.image_set_id)
    third = aws.image_sets.add(
        datastore,
        document(study={"StudyDescription": "B"}),
        {FRAME_ID: b"frame"},
        is_primary=False,
    )
    run("import")
    [conflict] = json.loads(run("conflicts", "list", "--json").stdout)
    told = json.loads(run("conflicts", "resolve", str(conflict["id"]), "promote", third.image_set_id, "--json").stdout)
    promoted = aws.image_sets.datastore(datastore).image_sets[told["image_set"].partition("/")[2]]
    assert promoted.latest.is_primary
    states = {one["id"]: one["state"] for one in json.loads(run("conflicts", "list", "--all", "--json").stdout)}
    assert states[conflict["id"]] == "resolved"
