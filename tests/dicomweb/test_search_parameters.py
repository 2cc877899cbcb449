"""From URL parameters to a Query, without an index."""

from urllib.parse import parse_qsl

import pytest

from fileroom_dicomweb.origin_server import Resource
from fileroom_dicomweb.search_parameters import Search, read_search
from fileroom_storage.attributes import Level, standard_registry
from fileroom_storage.errors import InvalidQuery


def read(query_string: str, level: Level = Level.STUDY, within: Resource | None = None, **options: int) -> Search:
    parameters = parse_qsl(query_string, keep_blank_values=True)
    return read_search(parameters, level, within or Resource(), standard_registry(), **options)


@pytest.mark.parametrize(
    ("query_string", "matches"),
    [
        ("", {}),
        ("PatientName=*x*&00100020=*y*", {"PatientName": "*x*", "PatientID": "*y*"}),
        ("0020000d=1.2", {"StudyInstanceUID": "1.2"}),
        ("StudyInstanceUID=1.2%5C1.3", {"StudyInstanceUID": "1.2\\1.3"}),
        ("StudyInstanceUID=1.2,1.3", {"StudyInstanceUID": "1.2\\1.3"}),
        ("StudyInstanceUID=1.2&StudyInstanceUID=1.3", {"StudyInstanceUID": "1.2\\1.3"}),
        ("ModalitiesInStudy=CT%2CMR", {"ModalitiesInStudy": "CT\\MR"}),
        ("ModalitiesInStudy=CT%5CMR", {"ModalitiesInStudy": "CT\\MR"}),
        ("PatientName=Doe,+Jane", {"PatientName": "Doe, Jane"}),
        ("StudyDescription=a,b", {"StudyDescription": "a,b"}),
        ("PatientName=", {"PatientName": ""}),
        ('PatientID=""', {"PatientID": '""'}),
        ("StudyDate=20200101-20201231&StudyTime=-1200", {"StudyDate": "20200101-20201231", "StudyTime": "-1200"}),
        ("PatientName=%E5%B1%B1%E7%94%B0", {"PatientName": "山田"}),
        ("accept=application/dicom%2Bjson&charset=utf-8", {}),
        ("0010,0020=P1", {"PatientID": "P1"}),
        ("(0010,0020)=P1&(0020,000d)=1.2", {"PatientID": "P1", "StudyInstanceUID": "1.2"}),
        # a search for studies by the attribute of their series
        ("Modality=CT", {"ModalitiesInStudy": "CT"}),
        ("00080060=CT,MR", {"ModalitiesInStudy": "CT\\MR"}),
        ("Modality=CT&ModalitiesInStudy=MR", {"ModalitiesInStudy": "CT\\MR"}),
        # what a form leaves empty
        ("limit=&offset=&fuzzymatching=&emptyvaluematching=", {}),
    ],
)
def test_matches(query_string: str, matches: dict[str, str]) -> None:
    search = read(query_string)
    assert search.query.matches == matches
    assert search.query.combined_datetime
    assert not search.ignored


@pytest.mark.parametrize(
    "query_string",
    [
        "RequestAttributesSequence.RequestedProcedureID=RP1&RequestAttributesSequence.ScheduledProcedureStepID=S",
        "00400275.00401001=RP1&00400275.00400009=S",
        "00400275.RequestedProcedureID=RP1&RequestAttributesSequence.00400009=S",
    ],
)
def test_sequences(query_string: str) -> None:
    search = read(query_string, Level.SERIES)
    assert search.query.matches == {
        "RequestAttributesSequence": {"RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "S"}
    }


def test_paging() -> None:
    assert (read("limit=101&offset=202").query.limit, read("limit=101&offset=202").query.offset) == (101, 202)
    assert (read("").query.limit, read("").query.offset) == (None, 0)
    assert read("limit=999999999999999999").query.limit == 2**31 - 1
    assert read("limit=500", maximum_results=100).query.limit == 100
    assert read("", maximum_results=100).query.limit == 100
    assert read("limit=5", maximum_results=100).query.limit == 5


def test_switches() -> None:
    assert not read("").query.fuzzy
    assert read("fuzzymatching=true").query.fuzzy
    assert not read("fuzzymatching=FALSE&emptyvaluematching=true&multiplevaluematching=true").query.fuzzy


def test_default_attributes() -> None:
    study, series, image = (
        read("", level).query.return_keys or frozenset() for level in (Level.STUDY, Level.SERIES, Level.IMAGE)
    )
    assert {"PatientName", "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "InstanceAvailability"} <= study
    assert "Modality" not in study
    assert "RetrieveAETitle" not in study
    assert {"Modality", "SeriesNumber", "StudyInstanceUID", "PatientName"} <= series
    assert {"SOPClassUID", "Rows", "Modality", "PatientName"} <= image
    within_study = read("", Level.IMAGE, Resource("1.2")).query.return_keys or frozenset()
    assert "Modality" in within_study
    assert "PatientName" not in within_study
    within_series = read("", Level.IMAGE, Resource("1.2", "1.3")).query.return_keys or frozenset()
    assert {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"} <= within_series
    assert "Modality" not in within_series


def test_include_field() -> None:
    defaults = read("").query.return_keys or frozenset()
    asked = read("includefield=PatientComments,00321032&includefield=RetrieveAETitle&includefield=").query.return_keys
    assert (asked or frozenset()) - defaults == {"PatientComments", "RequestingPhysician", "RetrieveAETitle"}
    # of the dictionary but not of the index or not of the level, private, sequences
    assert read("includefield=PixelData,Modality,00091001,00080060,MessageID").query.return_keys == defaults
    series = read("includefield=RequestAttributesSequence.RequestedProcedureID,OperatorsName", Level.SERIES)
    assert {"RequestAttributesSequence", "OperatorsName"} <= (series.query.return_keys or frozenset())
    assert read("includefield=all&includefield=PatientID").query.return_keys is None
    assert "PatientComments" in (read("PatientComments=x").query.return_keys or frozenset())


@pytest.mark.parametrize(
    "fields",
    [
        "includefield=00321032,PatientComments",
        "includefield=00321032%2CPatientComments",
        "includefield=00321032%5CPatientComments",
        "includefield=00321032&includefield=PatientComments",
        "includefield=0032,1032,0010,4000",
        "includefield=(0032,1032),(0010,4000)",
        "includefield=%200032,1032%20,%20PatientComments%20",
    ],
)
def test_lists_of_fields(fields: str) -> None:
    defaults = read("").query.return_keys or frozenset()
    search = read(fields)
    assert (search.query.return_keys or frozenset()) - defaults == {"RequestingPhysician", "PatientComments"}
    assert not search.ignored


def test_unknown_fields_are_ignored_and_named() -> None:
    search = read("includefield=PatientNmae,OfANewerDictionary,PatientComments")
    assert search.ignored == ("PatientNmae", "OfANewerDictionary")
    assert "PatientComments" in (search.query.return_keys or frozenset())


def test_parameters_of_other_servers_are_ignored_and_named() -> None:
    search = read("orderby=-StudyDate&includedefaults=false&_count=5&_=1700000000&PatientID=1")
    assert search.query.matches == {"PatientID": "1"}
    assert search.ignored == ("orderby", "includedefaults", "_count", "_")


def test_what_the_path_names_is_matched() -> None:
    within = Resource("1.2", "1.3")
    assert read("", Level.IMAGE, within).query.matches == {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}
    assert read("StudyInstanceUID=1.1,1.2", Level.SERIES, Resource("1.2")).query.matches == {"StudyInstanceUID": "1.2"}
    with pytest.raises(InvalidQuery, match="given by the path"):
        read("StudyInstanceUID=1.1", Level.SERIES, Resource("1.2"))


def test_what_is_not_indexed_is_ignored_and_named() -> None:
    search = read(
        "ReasonForStudy=x&00091001=y&PatientID=1&ReferencedStudySequence.ReferencedSOPInstanceUID=1.2"
        "&RequestAttributesSequence.CodeValue=1",
        Level.SERIES,
    )
    assert search.query.matches == {"PatientID": "1"}
    assert search.ignored == (
        "ReasonForStudy",
        "00091001",
        "ReferencedStudySequence.ReferencedSOPInstanceUID",
        "RequestAttributesSequence.CodeValue",
    )


@pytest.mark.parametrize(
    ("query_string", "reason"),
    [
        ("limit=-1", "limit needs a number"),
        ("limit=x", "limit needs a number"),
        ("limit=1.5", "limit needs a number"),
        ("limit=٣", "limit needs a number"),
        ("offset=1e3", "offset needs a number"),
        ("fuzzymatching=yes", "fuzzymatching is"),
        ("patientname=x", "did you mean PatientName"),
        ("PatientNam=x", "did you mean PatientName"),
        ("fuzzyMatching=true", "did you mean fuzzymatching"),
        ("includefields=all", "did you mean includefield"),
        ("qwertz=1", "eight hexadecimal digits"),
        ("0010=1", "eight hexadecimal digits"),
        ("001000200=1", "eight hexadecimal digits"),
        (".=1", "neither a parameter"),
        ("=1", "neither a parameter"),
        ("SeriesDescription=x", "level SERIES"),
        ("SOPInstanceUID=1.2", "level IMAGE"),
        ("PatientID=1&PatientID=2", "PatientID is given twice"),
        ("PatientID=1&00100020=2", "PatientID is given twice"),
        ("PatientID=a%00b", "UTF-8"),
        ("PatientName=M%FCller", "UTF-8"),
    ],
)
def test_bad_parameters(query_string: str, reason: str) -> None:
    with pytest.raises(InvalidQuery, match=reason):
        read(query_string)


def test_a_sequence_key_given_twice() -> None:
    with pytest.raises(InvalidQuery, match="twice"):
        read("00400275.00401001=1&RequestAttributesSequence.RequestedProcedureID=2", Level.SERIES)
