"""Events of image sets, redelivered and in any order: on each database and at each level the index is as a model says.

Versions tell of another patient than those before them, so that studies move between two. FUZZ_EXAMPLES sets how many
sequences are tried.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from fileroom_healthimaging.image_set_index import ImageSetIndex
from fileroom_healthimaging.image_set_version import ACTIVE, DELETED, ImageSetVersion
from fileroom_healthimaging.plugin_tables import TABLES
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query, Storage
from tests.databases import Databases
from tests.made import uid
from tests.plugins.healthimaging.documents import document, instance
from tests.plugins.healthimaging.indexed import (
    DATASTORE,
    contents,
    emptied,
    image_set_id,
    index_of,
    of_study,
    opened,
    version,
)
from tests.storage.stored import exact_counts, values_of

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))

# of each image set its study and series: two share a series, a third only the study, a fourth only the patient
PLACES = {"a": (1, 1), "b": (1, 1), "c": (1, 2), "e": (2, 1)}
LETTERS = st.sampled_from(sorted(PLACES))


@dataclass(frozen=True)
class Content:
    numbers: frozenset[int]
    description: str
    patient_id: str
    patient_name: str
    is_primary: bool | None


@dataclass(frozen=True)
class Telling:
    letter: str
    version: int
    with_document: bool
    is_deletion: bool


content = st.builds(
    Content,
    st.frozensets(st.integers(1, 3), min_size=1),
    st.sampled_from(["Head", "Chest"]),
    st.sampled_from(["P1", "P1", "P2"]),
    st.sampled_from(["Doe^Jane", "Roe^Jane"]),
    st.sampled_from([None, True, False]),
)
versions = st.fixed_dictionaries({(letter, number): content for letter in PLACES for number in (1, 2, 3)})
telling = st.builds(Telling, LETTERS, st.integers(1, 3), st.booleans(), st.sampled_from([False] * 7 + [True]))
Contents = dict[tuple[str, int], Content]
LEVELS = ("series", "instance", "frame")


class Model:
    """What is known in the end, worked out from all that was told at once."""

    def __init__(self, known: Contents, told: list[Telling]) -> None:
        self.documents: dict[str, Content] = {}
        self.is_primary: dict[str, bool | None] = {}
        for letter in PLACES:
            of_it = [one for one in told if one.letter == letter]
            with_document = [one.version for one in of_it if one.with_document and not one.is_deletion]
            if with_document and not any(one.is_deletion for one in of_it):
                self.documents[letter] = known[letter, max(with_document)]
                says = [known[letter, one.version].is_primary for one in sorted(of_it, key=lambda one: one.version)]
                self.is_primary[letter] = ([None] + [said for said in says if said is not None])[-1]

    @property
    def by_rank(self) -> list[str]:
        return sorted(self.documents, key=lambda letter: (not self.is_primary[letter], letter))

    def owners(self) -> dict[str, str]:
        """The key of the origin by SOP Instance UID."""
        owners: dict[str, str] = {}
        for letter in self.by_rank:
            for number in self.documents[letter].numbers:
                owners.setdefault(uid(*PLACES[letter], number), f"{DATASTORE}/{image_set_id(letter)}")
        return owners

    def studies(self) -> dict[str, tuple[str, str]]:
        """By Study Instance UID description and Patient ID: what the first of those with an instance there says."""
        found: dict[str, tuple[str, str]] = {}
        for letter in self._with_instances():
            says = self.documents[letter]
            found.setdefault(uid(PLACES[letter][0]), (says.description, says.patient_id))
        return found

    def patients(self) -> dict[str, str]:
        """The name by Patient ID: what the first says by whom a study is this patient's."""
        studies = self.studies()
        found: dict[str, str] = {}
        for letter in self._with_instances():
            says = self.documents[letter]
            if studies[uid(PLACES[letter][0])][1] == says.patient_id:
                found.setdefault(says.patient_id, says.patient_name)
        return found

    def conflicts(self) -> list[tuple[str, set[str]]]:
        if not {"a", "b"} <= self.documents.keys():
            return []
        one, other = self.documents["a"], self.documents["b"]
        differing = {"StudyDescription"} if one.description != other.description else set()
        differing |= {"PatientID"} if one.patient_id != other.patient_id else set()
        differing |= {"PatientName"} if one.patient_name != other.patient_name else set()
        kind = "attributes" if differing else "divided"
        return [("instances" if one.numbers & other.numbers else kind, differing)]

    def _with_instances(self) -> list[str]:
        owners = set(self.owners().values())
        return [letter for letter in self.by_rank if f"{DATASTORE}/{image_set_id(letter)}" in owners]


def told(known: Contents, one: Telling) -> ImageSetVersion:
    if one.is_deletion:
        return version(one.letter, one.version, state=DELETED)
    of_it, place = known[one.letter, one.version], PLACES[one.letter]
    json = None
    if one.with_document:
        images = [instance(uid(*place, number), InstanceNumber=str(number)) for number in sorted(of_it.numbers)]
        patient = {"PatientID": of_it.patient_id, "PatientName": of_it.patient_name}
        says = {"study": {"StudyDescription": of_it.description}, "patient": patient}
        json = of_study(document(*images, **says), uid(place[0]), uid(*place))
    return version(one.letter, one.version, json, state=ACTIVE, is_primary=of_it.is_primary)


def index_at(storage: Storage, level: str) -> ImageSetIndex:
    """As of a process whose configuration says so."""
    context = storage.plugins.context("healthimaging")
    return ImageSetIndex(replace(context, section=context.section.model_copy(update={"index_level": level})))


def check(storage: Storage, model: Model, level: str) -> None:
    owners = model.owners()
    instances = {values_of(one)["SOPInstanceUID"] for one in storage.find(Query(Level.IMAGE, {}))}
    assert instances == (owners.keys() if level != "series" else set())
    database = storage.plugins.context("healthimaging").database
    table, frame = database.tables.instance, TABLES.frame
    with database.read() as connection:
        rows = connection.execute(table.select().with_only_columns(table.c.sop_instance_uid, table.c.external_key))
        assert {row.sop_instance_uid: row.external_key for row in rows} == (owners if level != "series" else {})
        with_frames = select(table.c.sop_instance_uid).join(frame, frame.c.instance_pk == table.c.pk)
        found = sorted(connection.execute(with_frames).scalars())
        assert found == (sorted(owners) if level == "frame" else [])
    counts = Counter(one.rpartition(".")[0] for one in owners)
    series = [values_of(one) for one in storage.find(Query(Level.SERIES, {}))]
    assert {one["SeriesInstanceUID"]: one["NumberOfSeriesRelatedInstances"] for one in series} == counts
    keywords = frozenset({"StudyInstanceUID", "StudyDescription", "PatientID", "PatientName"})
    studies = [values_of(one) for one in storage.find(Query(Level.STUDY, {}, keywords))]
    assert {one["StudyInstanceUID"]: (one["StudyDescription"], one["PatientID"]) for one in studies} == model.studies()
    patients = [
        values_of(one) for one in storage.find(Query(Level.PATIENT, {}, frozenset({"PatientID", "PatientName"})))
    ]
    assert len(patients) == len(model.patients())
    assert {one["PatientID"]: _name(one["PatientName"]) for one in patients} == model.patients()
    conflicts = [one for one in index_of(storage).conflicts() if one.state == "open"]
    assert [(one.type, set(one.differing_attributes)) for one in conflicts] == model.conflicts()
    assert exact_counts(storage)
    assert list(storage.check(verify=True)) == []


def _name(value: Any) -> Any:
    return value["Alphabetic"] if isinstance(value, dict) else value


@pytest.fixture
def storages(databases: Databases, tmp_path: Path) -> Iterator[list[Storage]]:
    """One on SQLite, one on MariaDB."""
    with ExitStack() as stack:
        opened_ones = []
        for kind in ("sqlite", "mariadb"):
            folder = tmp_path / kind
            folder.mkdir()
            url = stack.enter_context(databases.fresh(kind, folder))
            opened_ones.append(stack.enter_context(opened(folder, url)))
        yield opened_ones


def test_the_order_of_events_changes_nothing(storages: list[Storage]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        # each example takes two databases some tenths of a second: to shrink one would take minutes
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        versions,
        st.lists(telling, min_size=2, max_size=9),
        st.tuples(*[st.sampled_from(LEVELS)] * 2),
        st.randoms(use_true_random=False),
    )
    def run(known: Contents, tellings: list[Telling], levels: tuple[str, str], chance: random.Random) -> None:
        model, found = Model(known, tellings), []
        for storage in storages:
            emptied(storage)
            redelivered = [*tellings, *chance.choices(tellings, k=3)]
            chance.shuffle(redelivered)
            level, changes_at = levels[0], chance.randint(0, len(redelivered))
            while redelivered:
                if level != levels[1] and len(redelivered) <= changes_at:
                    level = levels[1]
                    index_at(storage, level).adapt()
                size = chance.randint(1, 4)
                batch, redelivered = redelivered[:size], redelivered[size:]
                outcomes = index_at(storage, level).tell([told(known, one) for one in batch])
                assert all(one.error is None and one.unusable == () for one in outcomes)
            if level != levels[1]:
                index_at(storage, levels[1]).adapt()
            storage.purge_expired()
            check(storage, model, levels[1])
            found.append(contents(storage))
        assert found[0] == found[1]

    run()
