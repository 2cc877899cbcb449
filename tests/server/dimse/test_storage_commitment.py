"""Storage Commitment Push Model SCP: what is asked, what is looked at, what is reported and where."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from fileroom_server import committer, event_reports
from fileroom_server.application_entity import create_application_entity, drain, event_handlers, listen
from fileroom_server.committer import Committer
from fileroom_server.config import DicomConfiguration, Peer
from fileroom_server.config_storage_commitment import StorageCommitmentConfiguration
from fileroom_storage.errors import InstanceNotFound, StorageUnavailable
from fileroom_storage.storage import CommitmentState, Storage, StorageCommitments
from tests.certificates import Authority
from tests.databases import free_port
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.cli.senders import wait_until
from tests.server.dimse.conftest import Entity
from tests.server.dimse.requester import PUSH_MODEL, PUSH_MODEL_INSTANCE, Requester, action_information, send
from tests.server.dimse.scu import VERIFICATION, associated, store_bytes
from tests.storage.stored import store

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
TRANSACTION = uid(77, 1)

Committing = Callable[..., Entity]


@pytest.fixture
def committing(storage: Storage) -> Iterator[Committing]:
    """Makes an application entity with its committer: `committing(peers, first_pause=…)`."""
    with ExitStack() as stack:

        def make(*peers: Peer, dicom: DicomConfiguration | None = None, **settings: Any) -> Entity:
            dicom = dicom or DicomConfiguration()
            commitment = StorageCommitmentConfiguration(**{"first_pause": 0.1, "longest_pause": 1.0, **settings})
            entity = create_application_entity(dicom, peers)
            commitments = Committer(storage, entity, peers, commitment, "test/0")
            handlers = event_handlers(storage, dicom.ae_title, peers, commitments)
            server = listen(entity, ("127.0.0.1", 0), handlers)
            commitments.start()
            stack.callback(commitments.close)
            stack.callback(drain, server, 5.0)
            return Entity(storage, server)

        yield make


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which it is told whether an association is quiet."""
    clock = Clock()
    monkeypatch.setattr(event_reports, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, the report goes over the association of the request where it can."""
    monkeypatch.setattr(committer, "_PATIENCE_SECONDS", 600.0)


@pytest.fixture
def modality() -> Requester:
    return Requester()


@pytest.fixture
def peer() -> Peer:
    return Peer(ae_title="MODALITY", host="127.0.0.1", port=free_port())


@pytest.fixture
def stored(storage: Storage) -> list[str]:
    """Three instances."""
    uids = [uid(1, 1, number) for number in range(3)]
    for number, sop_instance_uid in enumerate(uids):
        store(storage, made(SOPInstanceUID=sop_instance_uid, InstanceNumber=number))
    return uids


def state(storage: Storage, transaction_uid: str = TRANSACTION) -> CommitmentState:
    return storage.commitments.read(transaction_uid).state


def wait_until_reported(storage: Storage, transaction_uid: str = TRANSACTION) -> None:
    wait_until(lambda: state(storage, transaction_uid) is CommitmentState.REPORTED)


class TestReport:
    def test_over_the_association_of_the_request(
        self, committing: Committing, modality: Requester, stored: list[str]
    ) -> None:
        entity = committing()
        with modality.calling(entity.port) as association:
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            report = modality.report()
        assert (report.event_type, report.own_association) == (1, True)
        assert report.transaction_uid == TRANSACTION
        assert report.information.RetrieveAETitle == "FILEROOM"
        assert report.committed == [(CT_IMAGE_STORAGE, one) for one in stored]
        assert "FailedSOPSequence" not in report.information
        wait_until_reported(entity.storage)
        assert modality.reports.empty()

    @pytest.mark.parametrize("negotiates_role", [True, False])
    def test_over_another_where_it_was_released(
        self, committing: Committing, modality: Requester, stored: list[str], peer: Peer, negotiates_role: bool
    ) -> None:
        entity = committing(peer)
        with modality.listening(peer.port, negotiates_role=negotiates_role):
            with modality.calling(entity.port, called="ALIAS") as association:
                assert modality.ask(association, TRANSACTION, stored) == 0x0000
            report = modality.report()
            wait_until_reported(entity.storage)
        assert (report.event_type, report.own_association) == (1, False)
        # as it knows us
        assert report.calling_ae_title == "ALIAS"
        assert report.committed == [(CT_IMAGE_STORAGE, one) for one in stored]
        assert modality.reports.empty()

    def test_over_another_where_that_is_configured(
        self, committing: Committing, modality: Requester, stored: list[str], peer: Peer
    ) -> None:
        entity = committing(peer, same_association=False)
        with modality.listening(peer.port), modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
            assert not modality.report().own_association

    def test_failures_of_each_kind(self, committing: Committing, modality: Requester, stored: list[str]) -> None:
        entity = committing()
        [lost] = entity.storage.locate({"SOPInstanceUID": stored[2]})
        (entity.storage.settings.data / "objects" / lost.location).unlink()
        asked = [
            (VERIFICATION, uid(8)),
            (CT_IMAGE_STORAGE, stored[0]),
            (MR_IMAGE_STORAGE, stored[1]),
            (CT_IMAGE_STORAGE, stored[2]),
            (CT_IMAGE_STORAGE, uid(9)),
        ]
        with modality.calling(entity.port) as association:
            assert modality.ask(association, TRANSACTION, asked) == 0x0000
            report = modality.report()
            wait_until_reported(entity.storage)
        assert report.event_type == 2
        assert report.committed == [(CT_IMAGE_STORAGE, stored[0])]
        assert report.failed == {uid(8): 0x0122, stored[1]: 0x0119, stored[2]: 0x0110, uid(9): 0x0112}
        commitment = entity.storage.commitments.read(TRANSACTION)
        assert commitment.number_of_failures == 4
        kept = entity.storage.commitments.failures(commitment.pk)
        assert {reference.sop_instance_uid: reason for reference, reason in kept} == report.failed

    def test_nothing_committed(self, committing: Committing, modality: Requester) -> None:
        entity = committing()
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, [uid(9)])
            report = modality.report()
        assert (report.event_type, report.failed) == (2, {uid(9): 0x0112})
        assert "ReferencedSOPSequence" not in report.information

    def test_other_bytes_where_the_digest_is_looked_at(
        self, committing: Committing, modality: Requester, stored: list[str]
    ) -> None:
        entity = committing(verify="digest")
        [damaged] = entity.storage.locate({"SOPInstanceUID": stored[2]})
        path = entity.storage.settings.data / "objects" / damaged.location
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
            assert modality.report().failed == {stored[2]: 0x0110}

    def test_a_thousand_references(self, committing: Committing, modality: Requester, peer: Peer) -> None:
        entity = committing(peer)
        with modality.listening(peer.port), modality.calling(entity.port) as association:
            instances = [uid(1, 1, number) for number in range(1000)]
            modality.ask(association, TRANSACTION, instances)
            assert list(modality.report().failed) == instances

    def test_explicit_vr(self, committing: Committing, stored: list[str], modality: Requester, peer: Peer) -> None:
        entity = committing(peer)
        with (
            modality.listening(peer.port),
            associated(entity.port, (PUSH_MODEL, ["1.2.840.10008.1.2.1"]), calling="MODALITY") as association,
        ):
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            association.release()
            assert len(modality.report().committed) == 3


class TestAssociationOfTheRequest:
    def test_other_requests_come_first(
        self, committing: Committing, modality: Requester, stored: list[str], clock: Clock
    ) -> None:
        """A C-STORE that waits for its response must not get a report instead."""
        entity = committing()
        with modality.calling(entity.port, CT_IMAGE_STORAGE) as association:
            modality.ask(association, TRANSACTION, stored)
            for number in range(20):
                data_set = encoded(made(SOPInstanceUID=uid(2, 1, number)), implicit=True)
                response = store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(2, 1, number), context_id=3)
                assert response.Status == 0x0000
            assert modality.reports.empty()
            clock.now += 0.4
            assert store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(2, 1, number), context_id=3).Status == 0
            clock.now += 0.4
            assert modality.reports.empty()
            clock.now += 0.2
            assert modality.report().own_association

    def test_one_that_is_never_quiet_is_not_waited_for(
        self,
        committing: Committing,
        modality: Requester,
        stored: list[str],
        peer: Peer,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(committer, "_PATIENCE_SECONDS", 1.0)
        entity = committing(peer)
        with modality.listening(peer.port), modality.calling(entity.port, VERIFICATION) as association:
            modality.ask(association, TRANSACTION, stored)
            assert not modality.report().own_association
            assert association.send_c_echo().Status == 0x0000
            wait_until_reported(entity.storage)

    def test_several_transactions(self, committing: Committing, modality: Requester, stored: list[str]) -> None:
        entity = committing()
        transactions = [uid(77, number) for number in range(5)]
        with modality.calling(entity.port) as association:
            for transaction in transactions:
                assert modality.ask(association, transaction, stored) == 0x0000
            assert {modality.report().transaction_uid for _ in transactions} == set(transactions)
            for transaction in transactions:
                wait_until_reported(entity.storage, transaction)

    def test_a_refused_report_comes_again(self, committing: Committing, stored: list[str], peer: Peer) -> None:
        modality = Requester(answers=[0x0110, 0x0110])
        entity = committing(peer)
        with modality.listening(peer.port), modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
            reports = [modality.report() for _ in range(3)]
            wait_until_reported(entity.storage)
        assert [report.own_association for report in reports] == [True, False, False]
        assert entity.storage.commitments.read(TRANSACTION).attempts == 3


class TestRetries:
    def test_a_peer_that_is_away_is_told_when_it_is_back(
        self, committing: Committing, modality: Requester, stored: list[str], peer: Peer
    ) -> None:
        entity = committing(peer)
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
        wait_until(lambda: entity.storage.commitments.read(TRANSACTION).attempts >= 2)
        waiting = entity.storage.commitments.read(TRANSACTION)
        assert waiting.state is CommitmentState.PENDING
        assert waiting.last_error == "MODALITY accepts no association for storage commitment"
        with modality.listening(peer.port):
            assert len(modality.report().committed) == 3
            wait_until_reported(entity.storage)

    def test_what_is_said_is_how_things_are_then(
        self, committing: Committing, modality: Requester, stored: list[str], peer: Peer
    ) -> None:
        entity = committing(peer)
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
        wait_until(lambda: entity.storage.commitments.read(TRANSACTION).attempts >= 1)
        entity.storage.delete({"SOPInstanceUID": stored[1]})
        with modality.listening(peer.port):
            wait_until(lambda: not modality.reports.empty())
            assert modality.report().failed == {stored[1]: 0x0112}

    def test_who_is_no_peer_is_told_over_its_association_only(
        self, committing: Committing, modality: Requester, stored: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        entity = committing()
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
        wait_until(lambda: entity.storage.commitments.read(TRANSACTION).attempts >= 1)
        assert "list it with its host and port under [[peers]]" in str(
            entity.storage.commitments.read(TRANSACTION).last_error
        )
        assert modality.reports.empty()
        # it asks again, and waits
        with modality.calling(entity.port) as association:
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            assert modality.report().own_association

    def test_a_peer_that_hangs_keeps_only_its_own_waiting(
        self, committing: Committing, modality: Requester, stored: list[str], peer: Peer
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hanging = Peer(ae_title="HANGING", host="127.0.0.1", port=silent.getsockname()[1])
            entity = committing(peer, hanging, dicom=DicomConfiguration(acse_timeout=200), longest_pause=0.1)
            hung = Requester("HANGING")
            with hung.calling(entity.port) as association:
                hung.ask(association, TRANSACTION, stored)
            silent.settimeout(30)
            connection, _ = silent.accept()  # it is asked for an association, and says nothing
            with connection:
                with modality.listening(peer.port):
                    with modality.calling(entity.port) as association:
                        modality.ask(association, uid(77, 2), stored)
                    assert not modality.report().own_association
                    wait_until_reported(entity.storage, uid(77, 2))
                # nor what goes over an association that it asks for itself
                with hung.calling(entity.port) as association:
                    hung.ask(association, uid(77, 3), stored)
                    assert hung.report().transaction_uid == uid(77, 3)
                assert entity.storage.commitments.read(TRANSACTION).attempts == 0

    def test_given_up_in_the_end(
        self, committing: Committing, modality: Requester, stored: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        entity = committing(give_up_after=0.5, longest_pause=0.2)
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
        wait_until(lambda: state(entity.storage) is CommitmentState.GIVEN_UP)
        assert f"`fileroom commitments retry {TRANSACTION}` tries again" in caplog.text

    def test_an_index_that_is_away_is_no_failure(
        self,
        committing: Committing,
        modality: Requester,
        stored: list[str],
        monkeypatch: pytest.MonkeyPatch,
        peer: Peer,
    ) -> None:
        entity = committing(peer)
        verify, away = entity.storage.verify_commitment, [True]

        def verify_later(*arguments: Any, **options: Any) -> Any:
            if away:
                raise StorageUnavailable("the index cannot be reached or used now")
            return verify(*arguments, **options)

        monkeypatch.setattr(entity.storage, "verify_commitment", verify_later)
        with modality.listening(peer.port), modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
            wait_until(lambda: entity.storage.commitments.read(TRANSACTION).attempts >= 1)
            assert modality.reports.empty()
            away.clear()
            assert len(modality.report().committed) == 3

    def test_an_index_that_is_away_is_told_once(
        self,
        storage: Storage,
        committing: Committing,
        modality: Requester,
        stored: list[str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        looks: list[bool] = []
        claim_due = StorageCommitments.claim_due

        def away(*arguments: Any) -> Any:
            looks.append(True)
            if len(looks) < 20:
                raise StorageUnavailable("the index cannot be reached or used now")
            return claim_due(*arguments)

        monkeypatch.setattr(committer, "_POLL_SECONDS", 0.05)
        monkeypatch.setattr(StorageCommitments, "claim_due", away)
        entity = committing()
        wait_until(lambda: len(looks) > 20)
        assert caplog.text.count("storage commitments wait") == 1
        with modality.calling(entity.port) as association:
            modality.ask(association, TRANSACTION, stored)
            assert len(modality.report().committed) == 3

    def test_what_is_left_when_it_stops_is_for_the_next(
        self,
        storage: Storage,
        committing: Committing,
        modality: Requester,
        stored: list[str],
        peer: Peer,
        clock: Clock,
    ) -> None:
        entity = create_application_entity(DicomConfiguration(), [peer])
        commitments = Committer(storage, entity, [peer], StorageCommitmentConfiguration(), "other/0")
        server = listen(entity, ("127.0.0.1", 0), event_handlers(storage, "FILEROOM", [peer], commitments))
        commitments.start()
        with modality.calling(server.server_address[1]) as association:
            modality.ask(association, TRANSACTION, stored)
            commitments.close()
        drain(server, 5.0)
        assert modality.reports.empty()
        committing(peer)
        with modality.listening(peer.port):
            assert len(modality.report().committed) == 3
            wait_until_reported(storage)


def without(keyword: str) -> Dataset:
    information = action_information(TRANSACTION, [uid(1)])
    owner = information.ReferencedSOPSequence[0] if keyword.startswith("ReferencedSOP") else information
    if keyword == "ReferencedSOPSequence":
        owner = information
    del owner[keyword]
    return information


def emptied(keyword: str) -> Dataset:
    information = action_information(TRANSACTION, [uid(1)])
    if keyword == "ReferencedSOPSequence":
        information.ReferencedSOPSequence = []
    elif keyword == "TransactionUID":
        information.TransactionUID = ""
    else:
        information.ReferencedSOPSequence[0][keyword].value = ""
    return information


def with_value(keyword: str, value: Any) -> Dataset:
    information = action_information(TRANSACTION, [uid(1)])
    owner = information if keyword == "TransactionUID" else information.ReferencedSOPSequence[0]
    owner[keyword]._value = value
    return information


def action(sop_class_uid: str, sop_instance_uid: str) -> N_ACTION:
    request = N_ACTION()
    request.MessageID = 7
    request.RequestedSOPClassUID = UID(sop_class_uid)
    request.RequestedSOPInstanceUID = UID(sop_instance_uid)
    request.ActionTypeID = 1
    return request


KEYWORDS = ("TransactionUID", "ReferencedSOPSequence", "ReferencedSOPClassUID", "ReferencedSOPInstanceUID")


class TestRequestsThatAreNotTaken:
    @pytest.mark.parametrize("keyword", KEYWORDS)
    def test_missing(self, committing: Committing, modality: Requester, keyword: str) -> None:
        with modality.calling(committing().port) as association:
            assert send(association, without(keyword)) == 0x0120
            assert send(association, emptied(keyword)) == 0x0121

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [
            ("TransactionUID", "1.2.3'; DROP TABLE storage_commitment; --"),
            ("TransactionUID", "1." * 40 + "1"),
            ("ReferencedSOPInstanceUID", "../../etc/passwd"),
            ("ReferencedSOPClassUID", "1.2\n3"),
        ],
    )
    def test_no_uid(self, committing: Committing, modality: Requester, keyword: str, value: str) -> None:
        with modality.calling(committing().port) as association:
            assert send(association, with_value(keyword, value)) == 0x0115

    def test_nothing_to_act_upon(self, committing: Committing, modality: Requester) -> None:
        with modality.calling(committing().port) as association:
            assert send(association, None) == 0x0120

    def test_another_action_or_instance(self, committing: Committing, modality: Requester, storage: Storage) -> None:
        information = action_information(TRANSACTION, [uid(1)])
        with modality.calling(committing().port, VERIFICATION) as association:
            assert send(association, information, action_type=2) == 0x0123
            assert send(association, information, sop_instance_uid=uid(1)) == 0x0112
            assert send(association, information) == 0x0000
        assert state(storage) is CommitmentState.PENDING

    def test_another_sop_class(self, committing: Committing, modality: Requester) -> None:
        information = action_information(TRANSACTION, [uid(1)])
        with modality.calling(committing().port) as association:
            request = action(CT_IMAGE_STORAGE, uid(1))
            assert asked_raw(association, request, encoded(information, implicit=True)) == 0x0118

    @pytest.mark.parametrize(
        "information",
        [
            b"\xff" * 64,
            encoded(action_information(TRANSACTION, [uid(1)]))[:-3],
            # (0008,1199) as text
            encoded(without("ReferencedSOPSequence")) + b"\x08\x00\x99\x11LO\x04\x00ABCD",
        ],
        ids=["none", "cut off", "no sequence"],
    )
    def test_what_cannot_be_read(self, committing: Committing, modality: Requester, information: bytes) -> None:
        context = (PUSH_MODEL, ["1.2.840.10008.1.2.1"])
        with associated(committing().port, context, VERIFICATION, calling="MODALITY") as association:
            assert asked_raw(association, action(PUSH_MODEL, PUSH_MODEL_INSTANCE), information) == 0x0115
            assert association.send_c_echo().Status == 0x0000

    def test_a_transaction_uid_in_use(self, committing: Committing, modality: Requester, stored: list[str]) -> None:
        entity = committing()
        with modality.calling(entity.port) as association:
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            assert modality.ask(association, TRANSACTION, stored[:1]) == 0x0131
            # the same again is the same
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            assert len(modality.report().committed) == 3
            wait_until_reported(entity.storage)
            assert modality.ask(association, TRANSACTION, stored) == 0x0131
        assert modality.reports.empty()

    def test_the_index_is_away(
        self, committing: Committing, modality: Requester, monkeypatch: pytest.MonkeyPatch, stored: list[str]
    ) -> None:
        entity = committing()

        def fail(*_: object) -> None:
            raise StorageUnavailable("the index cannot be reached or used now")

        with modality.calling(entity.port) as association:
            with monkeypatch.context() as patch:
                patch.setattr("fileroom_storage.index.commitments.StorageCommitments.request", fail)
                assert modality.ask(association, TRANSACTION, stored) == 0x0213
            assert modality.ask(association, TRANSACTION, stored) == 0x0000

    def test_a_response_that_nobody_waits_for_is_ignored(
        self, committing: Committing, modality: Requester, stored: list[str]
    ) -> None:
        entity = committing()
        with modality.calling(entity.port) as association:
            response = N_EVENT_REPORT()
            response.MessageIDBeingRespondedTo = 99
            response.AffectedSOPClassUID = PUSH_MODEL
            response.EventTypeID = 1
            response.Status = 0x0000
            association.dimse.send_msg(response, 1)
            assert modality.ask(association, TRANSACTION, stored) == 0x0000
            assert modality.report().event_type == 1

    def test_no_such_service_where_it_is_switched_off(self, entity: Entity) -> None:
        with associated(entity.port, PUSH_MODEL, VERIFICATION) as association:
            accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        assert accepted == {VERIFICATION}


def asked_raw(association: Any, request: N_ACTION, information: bytes) -> int:
    request.ActionInformation = BytesIO(information)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.0001)
    try:
        association.dimse.send_msg(request, 1)
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    status: int = response.Status
    return status


def test_objects_on_their_way_are_not_waited_for(
    committing: Committing, modality: Requester, storage: Storage, tmp_path: Path
) -> None:
    """A commitment is asked for once the objects have been acknowledged: what is not there then is a failure."""
    entity = committing()
    with modality.calling(entity.port) as association:
        modality.ask(association, TRANSACTION, [uid(1, 1, 1)])
        assert modality.report().failed == {uid(1, 1, 1): 0x0112}
        store(storage, made(SOPInstanceUID=uid(1, 1, 1)))
        assert modality.ask(association, uid(77, 2), [uid(1, 1, 1)]) == 0x0000
        assert modality.report().event_type == 1


class TestAccess:
    def test_a_peer_that_may_not_use_it(self, committing: Committing, peer: Peer, modality: Requester) -> None:
        entity = committing(peer.model_copy(update={"services": ("store", "echo")}))
        with associated(entity.port, PUSH_MODEL, VERIFICATION, calling="MODALITY") as association:
            assert [context.abstract_syntax for context in association.accepted_contexts] == [VERIFICATION]
            # over the context of another service
            association._accepted_cx[3].abstract_syntax = UID(PUSH_MODEL)
            assert modality.ask(association, TRANSACTION, [uid(1, 1, 0)]) == 0x0124
        with pytest.raises(InstanceNotFound):
            state(entity.storage)

    def test_a_peer_that_is_reported_to_over_tls(
        self, committing: Committing, peer: Peer, modality: Requester, stored: list[str], tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path, "authority")
        certificate = authority.issue("modality.example.org")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        peer = peer.model_copy(update={"tls": True, "tls_ca": str(authority.certificate)})
        entity = committing(peer, same_association=False)
        with modality.listening(peer.port, tls=context):
            with modality.calling(entity.port) as association:
                assert modality.ask(association, TRANSACTION, stored) == 0x0000
            assert len(modality.report().committed) == len(stored)
            wait_until_reported(entity.storage)
