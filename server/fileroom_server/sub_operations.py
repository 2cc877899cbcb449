"""The C-STORE sub-operations of C-MOVE and C-GET: sending stored objects, and keeping count."""

import logging
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum, auto
from io import SEEK_END
from typing import IO

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE, C_STORE
from pynetdicom.presentation import PresentationContext

from fileroom_server.command_set import C_STORE_RQ, DATA_SET_PRESENT, encode_command_set
from fileroom_server.dimse import Request, Response, SubOperations
from fileroom_server.identifier import write_failed_uids
from fileroom_server.metrics import table
from fileroom_server.pdu_writing import PduWindow
from fileroom_server.sent_messages import Fragment, fragment_length, is_over, send_message, send_with_pdus
from fileroom_server.status import (
    CANCELLED,
    PENDING,
    SUB_OPERATIONS_FAILED,
    SUB_OPERATIONS_FAILED_IN_PART,
    SUCCESS,
    Status,
)
from fileroom_server.upper_layer import UpperLayer
from fileroom_storage.errors import CannotTranscode, StorageError
from fileroom_storage.pixels.transfer_syntaxes import TARGETS
from fileroom_storage.storage import Storage, StoredInstance

_log = logging.getLogger(__name__)

_MOST = 0xFFFF  # the counts are US


class Outcome(Enum):
    COMPLETED = auto()
    WARNING = auto()
    FAILED = auto()


class Tally:
    """The counts of a retrieval, and its responses."""

    def __init__(self, request: Request, total: int) -> None:
        self._request = request
        self._service = "C-MOVE" if isinstance(request.message, C_MOVE) else "C-GET"
        self._remaining = total
        self._counts = dict.fromkeys(Outcome, 0)
        self._failed_uids: list[str] = []

    def count(self, instance: StoredInstance, outcome: Outcome) -> None:
        self._remaining -= 1
        self._counts[outcome] += 1
        table.RETRIEVED_INSTANCES.inc(self._service, outcome.name.lower())
        if outcome is not Outcome.FAILED:
            table.RETRIEVED_BYTES.inc(self._service, by=instance.size)
        if outcome is Outcome.FAILED:
            self._failed_uids.append(instance.sop_instance_uid)

    def pending(self, *, more: bool = False) -> Response:
        return Response(PENDING, sub_operations=self._sub_operations(self._remaining), more=more)

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
        self._contexts: dict[str, dict[str, PresentationContext]] = {}
        self._window: PduWindow | None = None
        self._ahead: _Opened | None = None

    def close(self) -> None:
        """Lets go of what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.rest.close()

    def send(self, instance: StoredInstance, following: StoredInstance | None = None) -> Outcome:
        """One C-STORE. Never raises: what goes wrong with one object must not keep the next from being sent.

        The `following` object is read while the peer is busy with this one.
        """
        if is_over(self._association):
            return Outcome.FAILED
        try:
            status = self._store(instance, following)
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

    def _store(self, instance: StoredInstance, following: StoredInstance | None) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        opened = self._opened(instance)
        if opened is None:
            context_id, data_set = self._fragments_of(instance)
            send_message(self._association, context_id, self._command(instance), data_set)
        else:
            self._send_opened(opened)
        if following is not None:
            with suppress(Exception):  # at its turn it is tried again, and told
                self._ahead = self._opened(following)
        return self._status()

    def _send_opened(self, opened: "_Opened") -> None:
        with closing(opened.rest):
            try:
                send_with_pdus(
                    opened.provider, opened.context_id, self._command(opened.instance), opened.first, opened.rest
                )
            except StorageError:
                # a part of it is with the peer, who would take the next message for the rest
                self._association.abort(block=False)
                raise

    def _opened(self, instance: StoredInstance) -> "_Opened | None":
        """What is sent as it is stored, over an association of ours."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead.instance is instance:
                return ahead
            ahead.rest.close()
        provider = self._association.dul
        context = self._accepted(instance).get(instance.transfer_syntax_uid)
        if context is None or not isinstance(provider, UpperLayer):
            return None
        if self._window is None:
            self._window = PduWindow(fragment_length(self._association))
        context_id = _identifier(context)
        pdus = self._window.pdus_of(self._storage.open_stretches(instance), instance.data_set_offset, context_id)
        return _Opened(instance, provider, context_id, next(pdus), pdus)

    def _accepted(self, instance: StoredInstance) -> dict[str, PresentationContext]:
        """By transfer syntax, the contexts in which the peer takes such objects."""
        accepted = self._contexts.get(instance.sop_class_uid)
        if accepted is None:
            accepted = self._contexts[instance.sop_class_uid] = {
                context.transfer_syntax[0]: context
                for context in self._association.accepted_contexts
                if context.abstract_syntax == instance.sop_class_uid and context.as_scu
            }
        return accepted

    def _fragments_of(self, instance: StoredInstance) -> tuple[int, Generator[Fragment, None, None]]:
        """The accepted context with the stored transfer syntax, else the first that there is a way to; the data set."""
        accepted = self._accepted(instance)
        reasons: list[str] = []
        for transfer_syntax in (UID(instance.transfer_syntax_uid), *TARGETS):
            if transfer_syntax in accepted:
                try:
                    return _identifier(accepted[transfer_syntax]), self._data_set(instance, transfer_syntax)
                except CannotTranscode as error:
                    reasons.append(str(error))
        if reasons:
            raise _CannotSend("; ".join(reasons))
        raise _CannotSend(
            f"no context for {instance.sop_class_uid} in {instance.transfer_syntax_uid} or what it can be turned into"
        )

    def _data_set(self, instance: StoredInstance, transfer_syntax: UID) -> Generator[Fragment, None, None]:
        if transfer_syntax == instance.transfer_syntax_uid:
            return self._stored_fragments(instance)
        from fileroom_storage.pixels.transcoding import transcode  # loads pydicom's decoders

        return self._transcoded_fragments(transcode(self._storage.header_with_pixels(instance), str(transfer_syntax)))

    def _transcoded_fragments(self, file: IO[bytes]) -> Generator[Fragment, None, None]:
        with file:
            length = file.seek(0, SEEK_END)
            file.seek(0)
            while length > 0 and (fragment := file.read(min(fragment_length(self._association), length))):
                length -= len(fragment)
                yield fragment

    def _stored_fragments(self, instance: StoredInstance) -> Generator[Fragment, None, None]:
        with self._storage.open_stretches(instance) as file:
            longest, offset = fragment_length(self._association), instance.data_set_offset
            size = instance.size if instance.origin is None else file.size
            while offset < size:
                fragment = file.read_at(offset, min(longest, size - offset))
                if not fragment:
                    raise _CannotSend("the stored object is shorter than the index says; `fileroom check` tells more")
                offset += len(fragment)
                yield fragment

    def _command(self, instance: StoredInstance) -> bytes:
        """PS3.7 9.3.1.1"""
        message = self._request.message
        elements: dict[int, int | str | tuple[int, ...]] = {
            0x0002: instance.sop_class_uid,
            0x0100: C_STORE_RQ,
            0x0110: self._message_id,
            0x0700: message.Priority or 0 if isinstance(message, C_MOVE | C_GET) else 0,
            0x0800: DATA_SET_PRESENT,
            0x1000: instance.sop_instance_uid,
        }
        if self._move_originator is not None:
            # PS3.7 9.1.1.1
            elements[0x1030] = self._move_originator
            elements[0x1031] = message.MessageID or 0
        return encode_command_set(elements)

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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A stored object whose first PDUs are ready; the rest is read while they are sent."""

    instance: StoredInstance
    provider: UpperLayer
    context_id: int
    first: memoryview
    rest: Generator[memoryview, None, None]


def _identifier(context: PresentationContext) -> int:
    if context.context_id is None:
        raise _CannotSend("the presentation context has no identifier")
    return context.context_id
