"""C-MOVE SCP: sends what is asked for to a peer, over associations of its own."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_MOVE
from pynetdicom.presentation import PresentationContext, build_context

from fileroom_server.associations import WaitingAssociation, request_association
from fileroom_server.config import Peer
from fileroom_server.config_tls import NO_CERTIFICATE, DicomTlsConfiguration
from fileroom_server.dimse import Request, Response, send_response
from fileroom_server.dimse_audit import Retrieval
from fileroom_server.identifier import read_retrieve_identifier
from fileroom_server.negotiation import options, retrieve_model
from fileroom_server.sent_messages import is_over
from fileroom_server.status import MoveDestinationUnknown, SopClassNotSupported
from fileroom_server.sub_operations import Outcome, Sender, Tally
from fileroom_server.tls import client_tls
from fileroom_storage.attributes import standard_registry
from fileroom_storage.pixels.transfer_syntaxes import COMPRESSED, UNCOMPRESSED
from fileroom_storage.storage import Storage, StoredInstance

_log = logging.getLogger(__name__)

_CONTEXTS = 128  # PS3.8 9.3.2.2: identifiers are odd numbers of one byte
_LOST_ASSOCIATIONS = 3  # after so many, the destination is given up
# one transfer syntax a context leaves the choice to us; every peer should know the second (PS3.5 10.1)
_FALLBACK = (*UNCOMPRESSED[:2], *COMPRESSED)


def handle_c_move(
    request: Request, storage: Storage, peers: Mapping[str, Peer], own_tls: DicomTlsConfiguration = NO_CERTIFICATE
) -> Iterator[Response]:
    """A pending response a sub-operation, then the outcome with the UIDs of what could not be sent.

    `own_tls` has the certificate that is shown to peers that are sent to over TLS.
    """
    model = retrieve_model(request.sop_class_uid)
    message = request.message
    if model is None or not isinstance(message, C_MOVE):
        raise SopClassNotSupported("there is no C-MOVE for this SOP Class")
    destination = str(message.MoveDestination or "").strip(" ")
    peer = peers.get(destination)
    if peer is None:
        raise MoveDestinationUnknown(f"{destination} is not among the configured peers")
    keys = read_retrieve_identifier(
        request.data_set,
        request.transfer_syntax,
        model,
        options(request.association, request.abstract_syntax),
        standard_registry(),
    )
    instances = list(storage.locate(keys))
    tally = Tally(request, len(instances))
    # PS3.4 C.4.2.3.1: a pending response at any time. A peer that is both the caller and the destination, as movescu
    # is, may look for our association only when something comes over its own.
    delivery = _Delivery(request, storage, Destination(peer, own_tls), lambda: send_response(request, tally.pending()))
    retrieval = Retrieval(request, storage, instances)
    with closing(retrieval), closing(delivery.send(instances)) as outcomes:
        for instance, outcome in outcomes:
            tally.count(instance, outcome)
            retrieval.count(instance, is_sent=outcome is not Outcome.FAILED)
            if request.is_cancelled():
                yield tally.cancelled()
                return
            yield tally.pending()
    yield tally.final(delivery.comment)


class _Delivery:
    """Sends instances to a peer. `comment` tells why all of them failed, if it is known.

    `connected` is called when a connection to the peer is made.
    """

    def __init__(
        self, request: Request, storage: Storage, destination: "Destination", connected: Callable[[], None]
    ) -> None:
        self._connected = connected
        self._request = request
        self._storage = storage
        self._destination = destination
        self._lost = 0
        self.comment = ""

    def send(self, instances: Iterable[StoredInstance]) -> Generator[tuple[StoredInstance, Outcome], None, None]:
        for contexts, group in _groups(instances):
            waiting = deque(group)
            while waiting:
                if self._lost >= _LOST_ASSOCIATIONS:
                    yield waiting.popleft(), Outcome.FAILED
                    continue
                with self._destination.associated(self._request.association, contexts, self._connected) as association:
                    yield from self._send_over(association, waiting)

    def _send_over(
        self, association: WaitingAssociation, waiting: deque[StoredInstance]
    ) -> Iterator[tuple[StoredInstance, Outcome]]:
        """Sends until nothing waits or the association is lost: one object may have been too much for the peer."""
        if not association.is_established:
            peer = self._destination.peer
            self.comment = f"{peer.ae_title} accepts no association"
            _log.warning(
                "C-MOVE: %s at %s:%d accepts no association%s",
                peer.ae_title,
                peer.host,
                peer.port,
                f": {association.failure}" if association.failure else "",
            )
            self._lost = _LOST_ASSOCIATIONS
            return
        with closing(Sender(association, self._storage, self._request, self._request.calling_ae_title)) as sender:
            while waiting:
                instance = waiting.popleft()
                yield instance, sender.send(instance, waiting[0] if waiting else None)
                if is_over(association):
                    self._lost += 1
                    return


def _groups(instances: Iterable[StoredInstance]) -> Iterator[tuple[list[PresentationContext], list[StoredInstance]]]:
    """The instances in their order, parted where one association has no room for more presentation contexts."""
    proposals: dict[tuple[str, tuple[str, ...]], None] = {}
    group: list[StoredInstance] = []
    for instance in instances:
        wanted = dict.fromkeys(_proposals(instance))
        if len(proposals | wanted) > _CONTEXTS:
            yield _contexts(proposals), group
            proposals, group = {}, []
        proposals |= wanted
        group.append(instance)
    if group:
        yield _contexts(proposals), group


def _proposals(instance: StoredInstance) -> list[tuple[str, tuple[str, ...]]]:
    """Abstract syntax with transfer syntaxes: the stored one by itself, then what it can be turned into."""
    stored = instance.transfer_syntax_uid
    return [
        (instance.sop_class_uid, (stored,)),
        *((instance.sop_class_uid, (fallback,)) for fallback in _FALLBACK if fallback != stored),
    ]


def _contexts(proposals: Iterable[tuple[str, tuple[str, ...]]]) -> list[PresentationContext]:
    return [build_context(abstract, list(transfer)) for abstract, transfer in proposals]


@dataclass(frozen=True, slots=True)
class Destination:
    """A peer that is sent to, and the certificate that it is shown."""

    peer: Peer
    own_tls: DicomTlsConfiguration

    @contextmanager
    def associated(
        self, association: Association, contexts: list[PresentationContext], connected: Callable[[], None]
    ) -> Iterator[WaitingAssociation]:
        """An association with the peer for as long as the block lasts; look whether it is established."""
        peer = self.peer
        with_peer = request_association(
            association.ae,
            (peer.host, peer.port),
            peer.ae_title,
            contexts,
            connected,
            tls=client_tls(peer, self.own_tls),
        )
        try:
            yield with_peer
        finally:
            if not with_peer.is_established:
                pass
            elif is_over(with_peer):
                with_peer.abort(block=False)
            else:
                with_peer.release()
