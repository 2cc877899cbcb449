"""The C-STORE sub-operations of C-MOVE and C-GET: sending stored objects, and keeping count."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from enum import Enum, auto
from io import SEEK_END
from typing import IO

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from fileroom_server.dimse import Request, Response, SubOperations, is_over
from fileroom_server.identifier import write_failed_uids
from fileroom_server.status import (
    CANCELLED,
    PENDING,
    SUB_OPERATIONS_FAILED,
    SUB_OPERATIONS_FAILED_IN_PART,
    SUCCESS,
    Status,
)
from fileroom_storage.errors import CannotTranscode, ObjectMissing, StorageError
from fileroom_storage.pixels.transfer_syntaxes import TARGETS
from fileroom_storage.storage import Storage, StoredInstance

_log = logging.getLogger(__name__)

_LONGEST_FRAGMENT = 1 << 18
_FRAGMENTS_AT_A_TIME = 4
_MOST = 0xFFFF  # the counts are US
_PAUSE = 0.0005


class Outcome(Enum):
    COMPLETED = auto()
    WARNING = auto()
    FAILED = auto()


class Tally:
    """The counts of a retrieval, and its responses."""

    def __init__(self, request: Request, total: int) -> None:
        self._request = request
        self._remaining = total
        self._counts = dict.fromkeys(Outcome, 0)
        self._failed_uids: list[str] = []

    def count(self, instance: StoredInstance, outcome: Outcome) -> None:
        self._remaining -= 1
        self._counts[outcome] += 1
        if outcome is Outcome.FAILED:
            self._failed_uids.append(instance.sop_instance_uid)

    def pending(self) -> Response:
        return Response(PENDING, sub_operations=self._sub_operations(self._remaining))

    def cancelled(self) -> Response:
        # PS3.4 C.4.2.3.1: the number of those that remain is told
        return Response(CANCELLED, self._failed(), self._sub_operations(self._remaining))

    def final(self, comment: str = "") -> Response:
        """Success, or which failed (PS3.4 C.4.2.1.5)."""
        failed, completed, warning = (
            self._counts[outcome] for outcome in (Outcome.FAILED, Outcome.COMPLETED, Outcome.WARNING)
        )
        status = SUCCESS
        if failed and not completed and not warning:
            status = Status(SUB_OPERATIONS_FAILED, comment or "no instance could be sent")
        elif failed or warning:
            status = Status(SUB_OPERATIONS_FAILED_IN_PART, comment)
        return Response(status, self._failed(), self._sub_operations(None))

    def _failed(self) -> bytes | None:
        return write_failed_uids(self._failed_uids, self._request.transfer_syntax) if self._failed_uids else None

    def _sub_operations(self, remaining: int | None) -> SubOperations:
        return SubOperations(
            None if remaining is None else min(remaining, _MOST),
            *(min(self._counts[outcome], _MOST) for outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.WARNING)),
        )


class Sender:
    """Sends stored objects over an association, in the transfer syntax they are stored in or in one its peer takes."""

    def __init__(
        self, association: Association, storage: Storage, request: Request, move_originator: str | None = None
    ) -> None:
        self._association = association
        self._storage = storage
        self._request = request
        self._move_originator = move_originator
        self._message_id = request.message.MessageID or 0

    def send(self, instance: StoredInstance) -> Outcome:
        """One C-STORE. Never raises: what goes wrong with one object must not keep the next from being sent."""
        if is_over(self._association):
            return Outcome.FAILED
        try:
            context, data_set = self._prepared(instance)
            status = self._store(instance, context, data_set)
        except Exception as error:  # noqa: BLE001  # see above
            expected = isinstance(error, StorageError | _CannotSend | ConnectionError)
            _log.warning(
                "%s was not sent to %s: %s",
                instance.sop_instance_uid,
                self._association.remote["ae_title"],
                error,
                exc_info=None if expected else error,
            )
            return Outcome.FAILED
        if status == 0x0000:
            return Outcome.COMPLETED
        # PS3.7 C.1.1: what is a warning
        if status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116):
            return Outcome.WARNING
        _log.warning(
            "%s was refused by %s with 0x%04X", instance.sop_instance_uid, self._association.remote["ae_title"], status
        )
        return Outcome.FAILED

    def _prepared(self, instance: StoredInstance) -> tuple[PresentationContext, Generator[bytes, None, None]]:
        """The accepted context with the stored transfer syntax, else the first that there is a way to; the data set."""
        accepted = {
            context.transfer_syntax[0]: context
            for context in self._association.accepted_contexts
            if context.abstract_syntax == instance.sop_class_uid and context.as_scu
        }
        reasons: list[str] = []
        for transfer_syntax in (UID(instance.transfer_syntax_uid), *TARGETS):
            if transfer_syntax in accepted:
                try:
                    return accepted[transfer_syntax], self._data_set(instance, transfer_syntax)
                except CannotTranscode as error:
                    reasons.append(str(error))
        if reasons:
            raise _CannotSend("; ".join(reasons))
        raise _CannotSend(
            f"no context for {instance.sop_class_uid} in {instance.transfer_syntax_uid} or what it can be turned into"
        )

    def _data_set(self, instance: StoredInstance, transfer_syntax: UID) -> Generator[bytes, None, None]:
        if transfer_syntax == instance.transfer_syntax_uid:
            return self._stored_fragments(instance)
        from fileroom_storage.pixels.transcoding import transcode  # loads pydicom's decoders

        return self._transcoded_fragments(transcode(self._storage.header(instance), str(transfer_syntax)))

    def _transcoded_fragments(self, file: IO[bytes]) -> Generator[bytes, None, None]:
        with file:
            length = file.seek(0, SEEK_END)
            file.seek(0)
            yield from _fragments(file.read, length, self._fragment_length)

    def _stored_fragments(self, instance: StoredInstance) -> Generator[bytes, None, None]:
        with self._storage.open_object(instance) as file:
            if file.seek(0, SEEK_END) != instance.size:
                raise ObjectMissing("the object store has only a part of the object, or another; run `fileroom check`")
            file.seek(instance.data_set_offset)
            yield from _fragments(file.read, instance.size - instance.data_set_offset, self._fragment_length)

    @property
    def _fragment_length(self) -> int:
        # PS3.8 D.1: the maximum is that of the list of presentation data values, of which each has a head of 6 bytes
        maximum: int = self._association.dimse.maximum_pdu_size
        return min(maximum - 6, _LONGEST_FRAGMENT) if maximum else _LONGEST_FRAGMENT

    def _store(
        self, instance: StoredInstance, context: PresentationContext, data_set: Generator[bytes, None, None]
    ) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        with closing(data_set):
            self._send_request(instance, context, data_set)
        return self._status()

    def _send_request(
        self, instance: StoredInstance, context: PresentationContext, data_set: Generator[bytes, None, None]
    ) -> None:
        primitive = C_STORE()
        primitive.MessageID = self._message_id
        primitive.AffectedSOPClassUID = UID(instance.sop_class_uid)
        primitive.AffectedSOPInstanceUID = UID(instance.sop_instance_uid)
        primitive.Priority = self._request.message.Priority
        if self._move_originator is not None:
            # PS3.7 9.1.1.1
            primitive.MoveOriginatorApplicationEntityTitle = self._move_originator
            primitive.MoveOriginatorMessageID = self._request.message.MessageID
        message = C_STORE_RQ()
        message.primitive_to_message(primitive)
        message.data_set = None
        message.command_set.CommandDataSetType = 0x0001
        context_id = context.context_id
        if context_id is None:
            raise _CannotSend("the presentation context has no identifier")
        # an object that cannot be read has to fail before its request is on the way
        held = next(data_set, b"")
        for command in message.encode_msg(context_id, self._fragment_length + 6):
            self._association.dul.send_pdu(command)
        # The data set goes out while it is read, and no faster than the peer takes it. PS3.8 E.2: bit 1 marks the last
        # fragment.
        for fragment in data_set:
            self._send_fragment(context_id, b"\x00", held)
            held = fragment
        self._send_fragment(context_id, b"\x02", held)

    def _send_fragment(self, context_id: int, control_header: bytes, fragment: bytes) -> None:
        dul = self._association.dul
        while len(dul.to_provider_queue.queue) > _FRAGMENTS_AT_A_TIME:
            if is_over(self._association):
                raise ConnectionError("the association ended")
            time.sleep(_PAUSE)
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, control_header + fragment))
        dul.send_pdu(data)

    def _status(self) -> int:
        _, response = self._association.dimse.get_msg(block=True)
        if (
            isinstance(response, C_STORE)
            and response.MessageIDBeingRespondedTo == self._message_id
            and response.Status is not None
        ):
            return response.Status
        if not is_over(self._association):
            # whatever comes now cannot be told from a late answer
            self._association.abort(block=False)
        raise ConnectionError("there was no response")


class _CannotSend(Exception):
    """An object that this peer does not take in any way we have."""


def _fragments(read: Callable[[int], bytes], length: int, fragment_length: int) -> Generator[bytes, None, None]:
    while length > 0:
        fragment = read(min(fragment_length, length))
        if not fragment:
            raise _CannotSend("the stored object is shorter than the index says; `fileroom check` tells more")
        length -= len(fragment)
        yield fragment
