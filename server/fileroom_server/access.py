"""Which peers may call, from where and with which certificate, and what they may ask for."""

import hashlib
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION

from fileroom_server.association_counts import address_of
from fileroom_server.config import Peer
from fileroom_server.peer_services import ALL_SERVICES, PeerService

_SERVICES: dict[type, PeerService] = {
    C_STORE: PeerService.STORE,
    C_FIND: PeerService.FIND,
    C_MOVE: PeerService.MOVE,
    C_GET: PeerService.GET,
    C_ECHO: PeerService.ECHO,
    N_ACTION: PeerService.COMMIT,
}


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """What a client has shown over TLS, and OpenSSL has found good: its fingerprint and the names it is for."""

    fingerprint: str
    names: frozenset[str]


class NotAuthorized(Exception):
    """A request for a service that this peer may not use."""


class AccessRules:
    """What the configuration says of its peers. Who is none of them is for the application entity to turn away."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        self._peers = {peer.ae_title: peer for peer in peers}

    def refusal(self, calling_ae_title: str, address: str, certificate: PeerCertificate | None) -> str | None:
        """Why somebody who calls with the AE title of a peer is not taken for it; None where all is well."""
        peer = self._peers.get(calling_ae_title.strip(" "))
        if peer is None:
            return None
        if peer.address and not _is_within(address, peer.address):
            return "this peer does not call from there; see its address under [[peers]]"
        if peer.certificate:
            if certificate is None:
                return "it shows no client certificate; see its certificate under [[peers]]"
            if not _is_of(certificate, peer.certificate):
                return "its client certificate is another peer's; see its certificate under [[peers]]"
        return None

    def services(self, calling_ae_title: str) -> frozenset[PeerService]:
        """What may be asked for by whoever calls with this AE title."""
        peer = self._peers.get(calling_ae_title.strip(" "))
        return ALL_SERVICES if peer is None else frozenset(peer.services)


def allow(association: Association, services: frozenset[PeerService]) -> None:
    vars(association)["fileroom_services"] = services


def check_allowed(association: Association, message: object) -> None:
    """Raises NotAuthorized for a DIMSE request of a service that is not allowed."""
    services: frozenset[PeerService] = vars(association).get("fileroom_services", ALL_SERVICES)
    service = _SERVICES.get(type(message))
    if service is not None and service not in services:
        raise NotAuthorized(f"this peer may not use the service {service}")


def certificate_of(association: Association) -> PeerCertificate | None:
    """The client certificate that the caller of an association has shown."""
    connection = association.dul.socket.socket if association.dul.socket is not None else None
    if not isinstance(connection, ssl.SSLSocket):
        return None
    encoded = connection.getpeercert(binary_form=True)
    decoded: Any = connection.getpeercert()
    if not encoded or not decoded:
        return None
    names = {value for kind, value in decoded.get("subjectAltName", ()) if kind in ("DNS", "IP Address")}
    for relative_name in decoded.get("subject", ()):
        names.update(value for kind, value in relative_name if kind == "commonName")
    return PeerCertificate(f"sha256:{hashlib.sha256(encoded).hexdigest()}", frozenset(names))


def _is_within(address: str, networks: Iterable[str]) -> bool:
    place = address_of(address)
    return any(place in ipaddress.ip_network(network) for network in networks)


def _is_of(certificate: PeerCertificate, accepted: Iterable[str]) -> bool:
    return any(one == certificate.fingerprint or one in certificate.names for one in accepted)
