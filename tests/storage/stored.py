"""Putting objects in, and looking at what the index made of them."""

import zlib
from collections import defaultdict
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from sqlalchemy import select

from fileroom_storage.index.engine import create_engine
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Provenance, Storage, StoreOutcome
from tests.made import part10


def store(storage: Storage, dataset: Dataset) -> StoreOutcome:
    incoming = storage.receive()
    incoming.write(part10(dataset))
    return incoming.store(Provenance("import"))


def values_of(answer: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """By keyword: the value, or the list of them; a name's alphabetic group."""
    values: dict[str, Any] = {}
    for tag, element in answer.items():
        plain = [
            value["Alphabetic"] if isinstance(value, dict) and "Alphabetic" in value else value
            for value in element["Value"]
        ]
        values[keyword_for_tag(int(tag, 16))] = plain[0] if len(plain) == 1 else plain
    return values


def tables_of(storage: Storage) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    engine = create_engine(storage.settings.database_url)
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in standard_tables().metadata.sorted_tables
        }
    engine.dispose()
    return rows


def empty(storage: Storage) -> None:
    """As it was made, but for the numbers of rows to come."""
    storage._observers.clear()
    engine = create_engine(storage.settings.database_url)
    with engine.begin() as connection:
        for table in reversed(standard_tables().metadata.sorted_tables):
            if table.name not in ("audit_chain", "dicom_issuer"):  # nothing ever deletes from them
                connection.execute(table.delete())
    engine.dispose()
    for path in (storage.settings.data / "objects").rglob("*.dcm"):
        path.unlink()


def exact_counts(storage: Storage) -> bool:
    """Holds every kept count, size and set against what the rows below say."""
    rows = tables_of(storage)
    instances: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for instance in rows["dicom_instance"]:
        instances[instance["series_pk"]].append(instance)
    told: dict[int, set[str]] = defaultdict(set)
    told_classes: dict[int, set[str]] = defaultdict(set)
    for external in rows["dicom_external_series"]:
        uids = zlib.decompress(external["sop_instance_uids"]).decode().split("\\")
        assert external["number_of_instances"] == len(uids) > 0
        told[external["series_pk"]].update(uids)
        told_classes[external["series_pk"]].update(external["sop_class_uids"].split("\\"))
    series_of: dict[int, list[dict[str, Any]]] = defaultdict(list)
    number_of: dict[int, int] = {}
    for series in rows["dicom_series"]:
        here = {instance["sop_instance_uid"] for instance in instances[series["pk"]]}
        number_of[series["pk"]] = len(here | told[series["pk"]])
        assert series["number_of_external_instances"] == (
            len(told[series["pk"]] - here) if told[series["pk"]] else None
        )
        assert series["number_of_series_related_instances"] == number_of[series["pk"]] > 0
        assert series["size"] == sum(instance["size"] for instance in instances[series["pk"]])
        series_of[series["study_pk"]].append(series)
    studies_of: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for study in rows["dicom_study"]:
        below = series_of[study["pk"]]
        assert study["number_of_study_related_series"] == len(below) > 0
        assert study["number_of_study_related_instances"] == sum(number_of[series["pk"]] for series in below)
        assert study["size"] == sum(series["size"] for series in below)
        modalities = {series["modality"] for series in below if series["modality"]}
        assert study["modalities_in_study"] == ("\\".join(sorted(modalities)) or None)
        classes = {instance["sop_class_uid"] for series in below for instance in instances[series["pk"]]}
        classes.update(*(told_classes[series["pk"]] for series in below))
        assert study["sop_classes_in_study"] == "\\".join(sorted(classes))
        studies_of[study["patient_pk"]].append(study)
    for patient in rows["dicom_patient"]:
        below = studies_of[patient["pk"]]
        assert patient["number_of_patient_related_studies"] == len(below) > 0
        for what in ("series", "instances"):
            total = sum(study[f"number_of_study_related_{what}"] for study in below)
            assert patient[f"number_of_patient_related_{what}"] == total
    return True
