"""C-FIND: hierarchy, extended negotiation, statuses, character sets, cancelling, streaming."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.transport import AddressInformation, AssociationSocket

from fileroom_server import c_find
from fileroom_server.application_entity import drain
from fileroom_storage.errors import StorageUnavailable
from fileroom_storage.query import Query
from fileroom_storage.storage import Storage
from tests.made import made, uid
from tests.server.dimse.conftest import Entity
from tests.server.dimse.scu import (
    PATIENT_ROOT_FIND,
    PATIENT_STUDY_ONLY_FIND,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    associated,
    find,
    identifier,
    run,
)
from tests.storage.stored import store

RELATIONAL = b"\x01"


@pytest.fixture
def filled(entity: Entity) -> Entity:
    """Two patients, two studies of two series of two instances each."""
    for study in (1, 2):
        for series in (1, 2):
            for instance in (1, 2):
                store(
                    entity.storage,
                    made(
                        StudyInstanceUID=uid(study),
                        SeriesInstanceUID=uid(study, series),
                        SOPInstanceUID=uid(study, series, instance),
                        PatientID=f"P{study}",
                        PatientName="Müller^Jürgen" if study == 1 else "山田^太郎",
                        StudyDate="20240229",
                        StudyTime="101500",
                        Modality="CT" if series == 1 else "SEG",
                        SeriesNumber=series,
                        InstanceNumber=instance,
                        RequestAttributesSequence=[
                            {"RequestedProcedureID": f"RP{series}", "ScheduledProcedureStepID": "S"}
                        ],
                    ),
                )
    return entity


def _find(
    entity: Entity, query: Dataset, model: str = STUDY_ROOT_FIND, **options: Any
) -> tuple[list[Dataset], Dataset]:
    with associated(entity.port, model, **options) as association:
        return find(association, query, model)


@pytest.mark.parametrize(
    ("model", "query", "count"),
    [
        (PATIENT_ROOT_FIND, identifier("PATIENT", PatientID=""), 2),
        (PATIENT_ROOT_FIND, identifier("STUDY", PatientID="P1", StudyInstanceUID=""), 1),
        (PATIENT_ROOT_FIND, identifier("STUDY", PatientName="*", StudyInstanceUID=""), 2),
        (PATIENT_ROOT_FIND, identifier("SERIES", PatientID="P1", StudyInstanceUID=uid(1), SeriesInstanceUID=""), 2),
        (STUDY_ROOT_FIND, identifier("STUDY", StudyInstanceUID=""), 2),
        (STUDY_ROOT_FIND, identifier("SERIES", StudyInstanceUID=uid(1), SeriesInstanceUID=""), 2),
        (
            STUDY_ROOT_FIND,
            identifier("IMAGE", StudyInstanceUID=uid(1), SeriesInstanceUID=uid(1, 1), SOPInstanceUID=""),
            2,
        ),
        (PATIENT_STUDY_ONLY_FIND, identifier("STUDY", PatientID="P1", StudyInstanceUID=""), 1),
        (STUDY_ROOT_FIND, identifier("STUDY", StudyInstanceUID="9.9.9"), 0),
    ],
)
def test_levels(filled: Entity, model: str, query: Dataset, count: int) -> None:
    answers, status = _find(filled, query, model)
    assert status.Status == 0x0000
    assert len(answers) == count
    for answer in answers:
        assert answer.QueryRetrieveLevel == query.QueryRetrieveLevel
        assert (answer.RetrieveAETitle, answer.InstanceAvailability) == ("FILEROOM", "ONLINE")


@pytest.mark.parametrize(
    ("model", "query", "keyword", "comment"),
    [
        (STUDY_ROOT_FIND, identifier("", StudyInstanceUID=""), "QueryRetrieveLevel", "QueryRetrieveLevel is missing"),
        (STUDY_ROOT_FIND, identifier("PATIENT", PatientID=""), "QueryRetrieveLevel", "is none of STUDY, SERIES, IMAGE"),
        (PATIENT_STUDY_ONLY_FIND, identifier("SERIES"), "QueryRetrieveLevel", "is none of PATIENT, STUDY"),
        (
            STUDY_ROOT_FIND,
            identifier("SERIES", SeriesInstanceUID=""),
            "StudyInstanceUID",
            "StudyInstanceUID is missing: a SERIES query needs it",
        ),
        (
            STUDY_ROOT_FIND,
            identifier("IMAGE", StudyInstanceUID=uid(1)),
            "SeriesInstanceUID",
            "SeriesInstanceUID is missing: an IMAGE query needs it",
        ),
        (
            PATIENT_ROOT_FIND,
            identifier("SERIES", StudyInstanceUID=uid(1)),
            "PatientID",
            "PatientID is missing: a SERIES query needs it",
        ),
        (
            STUDY_ROOT_FIND,
            identifier("SERIES", StudyInstanceUID=[uid(1), uid(2)]),
            "StudyInstanceUID",
            "StudyInstanceUID has to be one value in a SERIES query",
        ),
        (
            STUDY_ROOT_FIND,
            identifier("STUDY", SeriesInstanceUID=""),
            "SeriesInstanceUID",
            "SeriesInstanceUID is of level SERIES, below STUDY",
        ),
        (STUDY_ROOT_FIND, identifier("STUDY", StudyDate="20241301"), "StudyDate", "StudyDate needs"),
        (STUDY_ROOT_FIND, identifier("STUDY", StudyTime="25-"), "StudyTime", "StudyTime needs"),
    ],
)
def test_bad_identifiers(filled: Entity, model: str, query: Dataset, keyword: str, comment: str) -> None:
    answers, status = _find(filled, query, model)
    assert not answers
    assert status.Status == 0xA900
    assert comment in status.ErrorComment
    assert len(status.ErrorComment) <= 64
    assert status.OffendingElement == tag_for_keyword(keyword)


@pytest.mark.parametrize(("modality", "number"), [("", 2), ("CT", 2), ("SEG", 2), ("CT\\MR", 2), ("XA", 0)])
def test_studies_by_modality(filled: Entity, modality: str, number: int) -> None:
    """What many send, though Modality is of series: ModalitiesInStudy is meant."""
    query = identifier("STUDY", StudyInstanceUID="", Modality=modality, ModalitiesInStudy="")
    answers, status = _find(filled, query)
    assert status.Status == 0x0000
    assert len(answers) == number
    for answer in answers:
        assert "Modality" not in answer
        assert list(answer.ModalitiesInStudy) == ["CT", "SEG"]


def test_relational_queries_have_to_be_negotiated(filled: Entity) -> None:
    query = identifier("SERIES", SeriesInstanceUID="", Modality="SEG", PatientName="")
    assert _find(filled, query)[1].Status == 0xA900
    answers, status = _find(filled, query, extended={STUDY_ROOT_FIND: RELATIONAL})
    assert status.Status == 0x0000
    assert [answer.SeriesInstanceUID for answer in answers] == [uid(1, 2), uid(2, 2)]


@pytest.mark.parametrize(
    ("model", "requested", "answered"),
    [
        (STUDY_ROOT_FIND, b"\x01\x01\x01\x01\x01", b"\x01\x01\x01\x00\x00"),
        (STUDY_ROOT_FIND, b"\x01", b"\x01"),
        (STUDY_ROOT_FIND, b"\x00\x01\x00", b"\x00\x01\x00"),
        (PATIENT_ROOT_FIND, b"\x01\x01\x01\x01\x01\x01\x01", b"\x01\x01\x01\x00\x00"),
        (STUDY_ROOT_GET, b"\x01\x01", b"\x01\x00"),
    ],
)
def test_extended_negotiation(entity: Entity, model: str, requested: bytes, answered: bytes) -> None:
    with associated(entity.port, model, extended={model: requested}) as association:
        items = association.acceptor.user_information
        (item,) = (item for item in items if isinstance(item, SOPClassExtendedNegotiation))
        assert (item.sop_class_uid, item.service_class_application_information) == (model, answered)


def test_fuzzy_matching_has_to_be_negotiated(filled: Entity) -> None:
    query = identifier("STUDY", PatientName="Jurgen", StudyInstanceUID="")
    assert _find(filled, query)[0] == []
    answers, _ = _find(filled, query, extended={STUDY_ROOT_FIND: b"\x00\x00\x01"})
    assert [answer.StudyInstanceUID for answer in answers] == [uid(1)]


def test_combined_date_time_matching_has_to_be_negotiated(filled: Entity) -> None:
    query = identifier("STUDY", StudyDate="20240228-20240301", StudyTime="110000-120000", StudyInstanceUID="")
    assert _find(filled, query)[0] == []
    answers, _ = _find(filled, query, extended={STUDY_ROOT_FIND: b"\x00\x01"})
    assert len(answers) == 2


def test_unsupported_keys_are_told_of_and_left_out(filled: Entity) -> None:
    query = identifier("STUDY", StudyInstanceUID=uid(1), StudyDescription="", IssueDateOfImagingServiceRequest="")
    query.add_new(0x00091001, "LO", "private")
    with associated(filled.port, STUDY_ROOT_FIND) as association:
        responses = list(association.send_c_find(query, STUDY_ROOT_FIND))
    assert [status.Status for status, _ in responses] == [0xFF01, 0x0000]
    answer = responses[0][1]
    assert answer is not None
    assert "IssueDateOfImagingServiceRequest" not in answer
    assert 0x00091001 not in answer
    # a key without a value comes back empty
    assert answer["StudyDescription"].is_empty
    del query[0x00091001], query.IssueDateOfImagingServiceRequest
    with associated(filled.port, STUDY_ROOT_FIND) as association:
        assert [status.Status for status, _ in association.send_c_find(query, STUDY_ROOT_FIND)] == [0xFF00, 0x0000]


def _item(**keys: str) -> Dataset:
    item = Dataset()
    for keyword, value in keys.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    ("items", "count", "keywords"),
    [
        ([], 2, {"RequestedProcedureID", "ScheduledProcedureStepID"}),
        ([_item()], 2, {"RequestedProcedureID", "ScheduledProcedureStepID"}),
        ([_item(RequestedProcedureID="")], 2, {"RequestedProcedureID"}),
        ([_item(RequestedProcedureID="RP2")], 1, {"RequestedProcedureID"}),
        ([_item(RequestedProcedureID="RP?", RequestedProcedureDescription="")], 2, None),
        ([_item(RequestedProcedureID="RP9")], 0, None),
    ],
)
def test_sequences_as_keys(filled: Entity, items: list[Dataset], count: int, keywords: set[str] | None) -> None:
    query = identifier("SERIES", StudyInstanceUID=uid(1), RequestAttributesSequence=items)
    answers, status = _find(filled, query)
    assert status.Status == 0x0000
    assert len(answers) == count
    for answer in answers:
        (item,) = answer.RequestAttributesSequence
        found = {element.keyword for element in item}
        assert keywords is None or {keyword for keyword in found if not item[keyword].is_empty} == keywords
        assert "RequestedProcedureID" in found


@pytest.mark.parametrize(
    ("character_set", "name", "study", "answered"),
    [
        (None, "", 1, "ISO_IR 192"),
        ("ISO_IR 100", "MÜLLER*", 1, "ISO_IR 100"),
        ("ISO_IR 192", "Müller*", 1, "ISO_IR 192"),
        ("ISO_IR 100", "", 2, "ISO_IR 192"),
        (["", "ISO 2022 IR 87"], "山田*", 2, ["", "ISO 2022 IR 87"]),
        ("GB18030", "山田^太郎", 2, "GB18030"),
    ],
)
def test_character_sets(
    filled: Entity, character_set: str | list[str] | None, name: str, study: int, answered: str | list[str]
) -> None:
    query = identifier("STUDY", StudyInstanceUID=uid(study), PatientName=name)
    if character_set is not None:
        query.SpecificCharacterSet = character_set
    answers, _ = _find(filled, query)
    assert [answer.SpecificCharacterSet for answer in answers] == [answered]
    assert [str(answer.PatientName) for answer in answers] == ["Müller^Jürgen" if study == 1 else "山田^太郎"]


def test_an_unknown_character_set_is_no_error(filled: Entity) -> None:
    # as bytes, because pydicom would not write it
    output = run(
        "findscu", "-v", "-S", "127.0.0.1", filled.port, "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=M*",
        "-k", "SpecificCharacterSet=ISO_IR 999",
    )  # fmt: skip
    assert "Find Response: 1 (Pending)" in output
    assert "ISO_IR 192" in output
    assert "Success" in output


def test_findscu(filled: Entity) -> None:
    output = run(
        "findscu", "-v", "-S", "127.0.0.1", filled.port, "-k", "QueryRetrieveLevel=STUDY", "-k", "ModalitiesInStudy",
        "-k", "NumberOfStudyRelatedInstances",
    )  # fmt: skip
    assert output.count("(Pending)") == 2
    assert output.count(r"CT\SEG") == 2


def test_out_of_resources(filled: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Storage, query: Query) -> None:
        raise StorageUnavailable("the database does not answer; try again later")

    monkeypatch.setattr(Storage, "find", fail)
    _, status = _find(filled, identifier("STUDY", StudyInstanceUID=""))
    assert (status.Status, status.ErrorComment) == (0xA700, "the database does not answer; try again later")


class _Cursor:
    """Endless answers instead of those of an index, that know how many were taken, and when they are closed."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False
        self.pause = 0.0

    def find(self, query: Query) -> Iterator[dict[str, Any]]:
        try:
            while self.taken < 1_000_000:
                self.taken += 1
                time.sleep(self.pause)
                yield {"0020000D": {"vr": "UI", "Value": [uid(self.taken)]}}
        finally:
            self.closed = True

    def wait_until_closed(self) -> None:
        deadline = time.monotonic() + 20
        while not self.closed:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def cursor(monkeypatch: pytest.MonkeyPatch) -> _Cursor:
    cursor = _Cursor()
    monkeypatch.setattr(Storage, "find", lambda self, query: cursor.find(query))
    return cursor


def test_cancel(entity: Entity, cursor: _Cursor) -> None:
    cursor.pause = 0.002  # time for the request to arrive, however busy the machine is
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        statuses = []
        for number, (status, _) in enumerate(
            association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT_FIND, msg_id=3)
        ):
            statuses.append(status.Status)
            if number == 5:
                taken = cursor.taken
                association.send_c_cancel(3, query_model=STUDY_ROOT_FIND)
    assert statuses[-1] == 0xFE00
    cursor.wait_until_closed()
    assert cursor.taken - taken <= 100
    assert set(statuses[:-1]) == {0xFF00}


def test_findscu_cancels(entity: Entity, cursor: _Cursor) -> None:
    output = run(
        "findscu", "-v", "-S", "--cancel", "3", "127.0.0.1", entity.port, "-k", "QueryRetrieveLevel=STUDY",
        "-k", "StudyInstanceUID", expected=None,
    )  # fmt: skip
    cursor.wait_until_closed()
    assert "Cancel" in output


def test_an_abort_closes_the_cursor(entity: Entity, cursor: _Cursor) -> None:
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        responses = association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT_FIND)
        next(responses)
        association.abort()
    cursor.wait_until_closed()


@pytest.fixture
def unread(entity: Entity, cursor: _Cursor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Association]:
    """An association whose peer asked, and does not read the answers; its buffers are small, so they fill at once."""
    create_socket = AssociationSocket._create_socket

    def create_small(self: AssociationSocket, address: AddressInformation) -> socket.socket:
        created = create_socket(self, address)
        created.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return created

    monkeypatch.setattr(AssociationSocket, "_create_socket", create_small)
    assert entity.server.socket is not None
    entity.server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        assert association.dul.socket is not None
        connection = association.dul.socket.socket
        assert connection is not None
        responses = association.send_c_find(identifier("STUDY", StudyInstanceUID=""), STUDY_ROOT_FIND)
        next(responses)
        association.dul._kill_thread = True
        time.sleep(1.0)
        yield association
        connection.close()
        association.kill()


def test_a_peer_that_does_not_read_stops_the_cursor(unread: Association, cursor: _Cursor) -> None:
    taken = cursor.taken
    time.sleep(0.5)
    assert cursor.taken == taken < 200
    assert not cursor.closed


def test_a_peer_that_does_not_read_does_not_keep_the_server_from_stopping(
    entity: Entity, unread: Association, cursor: _Cursor
) -> None:
    drain(entity.server, 0.1)
    cursor.wait_until_closed()
    deadline = time.monotonic() + 20
    while entity.server.active_associations:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_answers(entity: Entity, cursor: _Cursor) -> None:
    cursor.taken = 1_000_000 - 3000
    answers, status = _find(entity, identifier("STUDY", StudyInstanceUID=""))
    assert status.Status == 0x0000
    assert len(answers) == len({answer.StudyInstanceUID for answer in answers}) == 3000


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Query]:
    """The queries that the index is asked."""
    queries: list[Query] = []
    find_in_index = Storage.find

    def counted(self: Storage, query: Query) -> Any:
        queries.append(query)
        return find_in_index(self, query)

    monkeypatch.setattr(Storage, "find", counted)
    return queries


def test_what_is_asked_again_is_answered_alike_without_the_index(filled: Entity, asked: list[Query]) -> None:
    query = identifier("STUDY", PatientName="*", StudyInstanceUID="", PatientBreedDescription="")
    (first, first_status), (second, second_status) = _find(filled, query), _find(filled, query)
    assert len(asked) == 1
    assert (len(first), first_status.Status, second_status.Status) == (2, 0x0000, 0x0000)
    assert second == first


def test_what_is_asked_otherwise_is_another_question(filled: Entity, asked: list[Query]) -> None:
    query = identifier("STUDY", PatientName="JURGEN", StudyInstanceUID="")
    assert len(_find(filled, query)[0]) == 0
    assert len(_find(filled, query, extended={STUDY_ROOT_FIND: b"\x00\x00\x01"})[0]) == 1
    assert len(_find(filled, query, PATIENT_ROOT_FIND)[0]) == 0
    assert len(asked) == 3


def test_whatever_is_committed_counts_at_once(filled: Entity, asked: list[Query]) -> None:
    query = identifier("STUDY", PatientName="*", StudyInstanceUID="", NumberOfStudyRelatedInstances="")
    with associated(filled.port, STUDY_ROOT_FIND) as association:
        for number in range(3, 12):
            store(
                filled.storage,
                made(StudyInstanceUID=uid(9), SeriesInstanceUID=uid(9, 9), SOPInstanceUID=uid(9, 9, number)),
            )
            counts = [answer.NumberOfStudyRelatedInstances for answer in find(association, query)[0]]
            assert sorted(counts) == sorted([4, 4, number - 2])
        filled.storage.delete({"StudyInstanceUID": uid(9)})
        assert len(find(association, query)[0]) == 2
    assert len(asked) == 10


def test_a_cancelled_answer_is_not_taken_for_the_whole(
    entity: Entity, cursor: _Cursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_find, "_LONGEST", 1 << 30)
    query = identifier("STUDY", StudyInstanceUID="", QueryRetrieveLevel="STUDY")
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        for number, (_status, _answer) in enumerate(association.send_c_find(query, STUDY_ROOT_FIND, msg_id=7)):
            if number == 3:
                association.send_c_cancel(7, query_model=STUDY_ROOT_FIND)
    taken = cursor.taken
    with associated(entity.port, STUDY_ROOT_FIND) as association:
        next(association.send_c_find(query, STUDY_ROOT_FIND, msg_id=8))
        association.send_c_cancel(8, query_model=STUDY_ROOT_FIND)
    assert cursor.taken > taken


def test_a_long_answer_is_not_kept(filled: Entity, asked: list[Query], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_find, "_LONGEST", 200)
    query = identifier("STUDY", PatientName="*", StudyInstanceUID="")
    assert _find(filled, query)[0] == _find(filled, query)[0]
    assert len(asked) == 2
