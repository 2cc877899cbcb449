"""Objects that come and go here, and contents that a source replaces, in any order: the index is as a model says."""

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileroom_storage.attributes import Level
from fileroom_storage.errors import InstanceNotFound
from fileroom_storage.storage import Query, Storage
from tests.external import SOURCE, header, series
from tests.made import made, uid
from tests.storage.stored import empty, exact_counts, store, tables_of, values_of

EXAMPLES = {"sqlite": 40, "mariadb": 10, "postgresql": 10}

Instance = tuple[int, int, int]  # study, series, instance

INSTANCES: list[Instance] = [(study, one, number) for study in (1, 2) for one in (1, 2) for number in (1, 2)]
KEYS = ("a", "b", "c")


@dataclass(frozen=True)
class Stores:
    instance: Instance


@dataclass(frozen=True)
class Deletes:
    instance: Instance


@dataclass(frozen=True)
class Restores:
    which: int


@dataclass(frozen=True)
class Replaces:
    key: str
    instances: frozenset[Instance]
    version: int
    takes_over: bool


@dataclass(frozen=True)
class ReplacesSeries:
    key: str
    instances: frozenset[Instance]


@dataclass(frozen=True)
class Removes:
    key: str


Step = Stores | Deletes | Restores | Replaces | ReplacesSeries | Removes

one = st.sampled_from(INSTANCES)
some = st.frozensets(one, min_size=1, max_size=5)
key = st.sampled_from(KEYS)
step: st.SearchStrategy[Step] = st.one_of(
    st.builds(Stores, one),
    st.builds(Deletes, one),
    st.builds(Restores, st.integers(0, 3)),
    st.builds(Replaces, key, some, st.integers(1, 2), st.booleans()),
    st.builds(ReplacesSeries, key, some),
    st.builds(Removes, key),
)


@dataclass
class Model:
    """Who has each row, None being us; and what the source tells of series."""

    rows: dict[Instance, str | None] = field(default_factory=dict)
    told: dict[str, frozenset[Instance]] = field(default_factory=dict)
    deleted: list[tuple[Instance, str | None]] = field(default_factory=list)

    def apply(self, step: Step) -> None:
        match step:
            case Stores(instance):
                self.rows[instance] = None
            case Deletes(instance):
                if instance in self.rows:
                    self.deleted.append((instance, self.rows.pop(instance)))
            case Restores(which):
                if which < len(self.deleted):
                    instance, owner = self.deleted.pop(which)
                    if owner is None or instance not in self.rows:
                        self.rows[instance] = owner
            case Replaces(key, instances, _, takes_over):
                self._remove(key)
                for instance in instances:
                    owner = self.rows.get(instance, key)
                    if owner is not None and (takes_over or owner == key):
                        self.rows[instance] = key
            case ReplacesSeries(key, instances):
                self._remove(key)
                self.told[key] = instances
            case Removes(key):
                self._remove(key)

    def _remove(self, key: str) -> None:
        self.told.pop(key, None)
        self.rows = {instance: owner for instance, owner in self.rows.items() if owner != key}

    @property
    def counts(self) -> dict[str, int]:
        """Of instances, by Series and Study Instance UID."""
        counted: dict[str, set[Instance]] = defaultdict(set)
        for instance in {*self.rows, *(instance for told in self.told.values() for instance in told)}:
            counted[uid(*instance[:2])].add(instance)
            counted[uid(instance[0])].add(instance)
        return {one: len(instances) for one, instances in counted.items()}


def attributes(instance: Instance) -> dict[str, str]:
    study, one, _ = instance
    return {
        "StudyInstanceUID": uid(study),
        "SeriesInstanceUID": uid(study, one),
        "SOPInstanceUID": uid(*instance),
        "PatientID": f"P{study}",
    }


class Real:
    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.external = storage.external(SOURCE)
        self.deletions: list[int] = []

    def apply(self, step: Step) -> None:
        match step:
            case Stores(instance):
                store(self.storage, made(**attributes(instance)))
            case Deletes(instance):
                with suppress(InstanceNotFound):
                    self.deletions.append(self.storage.delete({"SOPInstanceUID": uid(*instance)}).pk)
            case Restores(which):
                if which < len(self.deletions):
                    self.storage.restore(self.deletions.pop(which))
            case Replaces(key, instances, version, takes_over):
                told = [header(InstanceNumber=str(version), **attributes(one)) for one in sorted(instances)]
                self.external.replace(key, told, takes_over=takes_over)
            case ReplacesSeries(key, instances):
                by_series: dict[Instance, list[str]] = {}
                for instance in sorted(instances):
                    by_series.setdefault((*instance[:2], 0), []).append(uid(*instance))
                self.external.replace_series(
                    key, [series(uids, **attributes(first)) for first, uids in by_series.items()]
                )
            case Removes(key):
                self.external.remove(key)


def test_the_index_is_as_the_model_says(shared_storage: Storage) -> None:
    database = shared_storage.settings.database_url.partition(":")[0].partition("+")[0].replace("mysql", "mariadb")

    @settings(
        max_examples=EXAMPLES[database],
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(st.lists(step, min_size=2, max_size=12))
    def run(steps: list[Step]) -> None:
        empty(shared_storage)
        model, real = Model(), Real(shared_storage)
        for taken in steps:
            model.apply(taken)
            real.apply(taken)
        rows = tables_of(shared_storage)
        found = {row["sop_instance_uid"]: row["external_key"] for row in rows["dicom_instance"]}
        assert found == {uid(*instance): owner for instance, owner in model.rows.items()}
        assert exact_counts(shared_storage)
        counts = {}
        for level, keyword, number in (
            (Level.SERIES, "SeriesInstanceUID", "NumberOfSeriesRelatedInstances"),
            (Level.STUDY, "StudyInstanceUID", "NumberOfStudyRelatedInstances"),
        ):
            for answer in map(values_of, shared_storage.find(Query(level, {}))):
                counts[answer[keyword]] = answer[number]
        assert counts == model.counts
        assert rows["conflict"] == []
        shared_storage.purge_expired()
        assert list(shared_storage.check(verify=True)) == []

    run()
