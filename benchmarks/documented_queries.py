"""The queries whose cost does not grow with the index: timed by `make bench-scale`, their plans asserted by tests."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.synthetic import Example
from fileroom_storage.attributes import Level
from fileroom_storage.storage import Query

LIMIT = 100
SHOWN = frozenset(
    {"StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID", "ModalitiesInStudy"}
    | {"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "StudyDescription", "PatientBirthDate"}
)


@dataclass(frozen=True)
class DocumentedQuery:
    """`narrowed`: the longer the text of its one key, the less it finds; as long as a person would make it."""

    name: str
    query: Query
    narrowed: tuple[str, ...] = ()  # values of PatientName to go through until few answers are left


def documented_queries(example: Example) -> Iterator[DocumentedQuery]:
    """In the order of the table of results."""
    family, _, given = example.patient_name.split("=")[0].partition("^")
    inner = example.patient_name.split("=")[0]
    year = f"{example.newest - dt.timedelta(days=364):%Y%m%d}-{example.newest:%Y%m%d}"
    month = f"{example.newest - dt.timedelta(days=29):%Y%m%d}-{example.newest:%Y%m%d}"
    yield _studies("study list, newest 100")
    yield _studies("study list, page 10", offset=9 * LIMIT)
    yield _studies("PatientID", PatientID=example.patient_id)
    yield _studies("AccessionNumber", AccessionNumber=example.accession_number)
    yield _narrowed("name prefix", [f"{inner[:length]}*" for length in range(3, len(inner) + 1)])
    yield _studies("name prefix of one letter", PatientName="m*")
    yield _narrowed(
        "name *contains*, accents folded", [f"*{inner[1 : 1 + length]}*" for length in range(3, len(inner))]
    )
    yield _studies("name *contains* of a frequent name", PatientName="*ontge*")
    yield _studies("name *contains* of two letters", PatientName="*an*")
    yield _studies("name of two parts", PatientName=f"*{family[1:]}^*{given[-2:]}*")
    yield _studies("name by sound", fuzzy=True, PatientName=f"{given} {family}")
    yield _studies("name with birth date", PatientName=f"{family[0]}*", PatientBirthDate=f"{example.birth_date:%Y%m%d}")
    yield _studies("date range with modality", StudyDate=year, ModalitiesInStudy="CT")
    yield _studies("a month with a rare modality", StudyDate=month, ModalitiesInStudy="NM")
    yield _studies("rare modality of all time", ModalitiesInStudy="OPT")
    yield _studies("referring physician", ReferringPhysicianName=example.referring_physician_name)
    yield _studies("StudyDescription", StudyDescription="Thorax*")
    yield _studies("StudyInstanceUID", StudyInstanceUID=example.study_instance_uid)
    study = {"StudyInstanceUID": example.study_instance_uid}
    yield DocumentedQuery("series of a study", Query(Level.SERIES, study))
    series = {**study, "SeriesInstanceUID": example.series_instance_uid}
    yield DocumentedQuery("instances of a series", Query(Level.IMAGE, series))
    yield DocumentedQuery("instances of a study", Query(Level.IMAGE, study))
    yield DocumentedQuery("an instance", Query(Level.IMAGE, {**series, "SOPInstanceUID": example.sop_instance_uid}))
    patients = Query(Level.PATIENT, {"PatientName": f"{family}*"}, frozenset({"PatientID", "PatientName"}), LIMIT)
    yield DocumentedQuery("patients by name", patients)
    whole = Query(Level.STUDY, {"PatientName": f"{family}^{given}*"}, SHOWN)
    yield DocumentedQuery("name prefix, without a limit", whole)


def _studies(name: str, *, offset: int = 0, fuzzy: bool = False, **matches: str) -> DocumentedQuery:
    return DocumentedQuery(name, Query(Level.STUDY, matches, SHOWN, LIMIT, offset, fuzzy))


def _narrowed(name: str, names: list[str]) -> DocumentedQuery:
    return DocumentedQuery(name, Query(Level.STUDY, {"PatientName": names[-1]}, SHOWN, LIMIT), tuple(names))
