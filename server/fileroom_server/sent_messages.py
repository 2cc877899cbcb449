"""DIMSE messages on their way to the peer: encoded here, sent as fast as the peer takes them (PS3.8 E.2)."""

import select
import time
from collections.abc import Generator, Iterable
from contextlib import closing

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT, A_RELEASE, P_DATA

from fileroom_server.pdu_writing import COMMAND, LAST, pdu_head
from fileroom_server.upper_layer import UpperLayer

Fragment = bytes | memoryview

_LONGEST_FRAGMENT = 1 << 18
_SENT_AT_ONCE = 1 << 16  # bytes: what is shorter goes out in one piece
_PAUSE = 0.0005


def is_over(association: Association) -> bool:
    """Whether an association has been aborted, released or lost; leaves that for pynetdicom to act upon.

    Takes in what the peer has sent meanwhile, a C-CANCEL say.
    """
    if not association.is_established or not association.dul.is_alive():
        return True
    return isinstance(association.dul.peek_next_pdu(), A_ABORT | A_P_ABORT | A_RELEASE)


def fragment_length(association: Association) -> int:
    """The most bytes of a data set that fit in one P-DATA-TF PDU to this peer."""
    # PS3.8 D.1: the maximum is that of the list of presentation data values, of which each has a head of 6 bytes
    maximum: int = association.dimse.maximum_pdu_size
    return min(maximum - 6, _LONGEST_FRAGMENT) if maximum else _LONGEST_FRAGMENT


def send_message(
    association: Association,
    context_id: int,
    command: bytes,
    data_set: Generator[Fragment, None, None] | None = None,
    *,
    more: bool = False,
) -> None:
    """Sends a command set and the fragments of a data set, each within `fragment_length`.

    The data set goes out while it is made. Its first fragment is made before anything is sent, so that one that cannot
    be made leaves the association as it was. With `more`, another message follows at once. Raises ConnectionError.
    """
    if data_set is None:
        _send_all(association, context_id, [(COMMAND | LAST, command)], more=more)
        return
    with closing(data_set):
        first = next(data_set, b"")
        _send_all(association, context_id, _with_headers(command, first, data_set), more=more)


def send_with_pdus(
    provider: UpperLayer, context_id: int, command: bytes, first: memoryview, rest: Iterable[memoryview]
) -> None:
    """Sends a command set, and with it the first PDUs of its data set; then the rest. Raises ConnectionError."""
    provider.send_data((pdu_head(context_id, COMMAND | LAST, len(command)), command, first))
    for pdus in rest:
        provider.send_data((pdus,))


def fragments_of(encoded: bytes, length: int) -> Generator[Fragment, None, None]:
    view = memoryview(encoded)
    for start in range(0, len(view), length):
        yield view[start : start + length]


def _with_headers(
    command: bytes, held: Fragment, rest: Iterable[Fragment]
) -> Generator[tuple[int, Fragment], None, None]:
    yield COMMAND | LAST, command
    for fragment in rest:
        yield 0, held
        held = fragment
    yield LAST, held


def _send_all(
    association: Association, context_id: int, fragments: Iterable[tuple[int, Fragment]], *, more: bool
) -> None:
    provider = association.dul
    if isinstance(provider, UpperLayer):
        pdus: list[Fragment] = []
        size = 0
        for header, fragment in fragments:
            pdus += (pdu_head(context_id, header, len(fragment)), fragment)
            size += len(fragment)
            if size >= _SENT_AT_ONCE:
                provider.send_data(pdus, more=more)
                pdus, size = [], 0
        if pdus:
            provider.send_data(pdus, more=more)
        return
    for header, fragment in fragments:
        # somebody else's application entity: pynetdicom's provider reads only when it has nothing to send
        _wait_until_sent(association)
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, bytes((header,)) + fragment))
        provider.send_pdu(data)


def _wait_until_sent(association: Association) -> None:
    """Returns when all that was queued is sent and all that the peer had sent by then is read."""
    while not is_over(association):
        if not association.dul.to_provider_queue.queue and not _readable(association):
            return
        time.sleep(_PAUSE)
    raise ConnectionError("the association ended")


def _readable(association: Association) -> bool:
    connection = association.dul.socket
    if connection is None or connection.socket is None:
        return False
    try:
        poll = select.poll()
        poll.register(connection.socket, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False
