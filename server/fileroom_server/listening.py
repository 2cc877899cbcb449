"""Listening on an address, and what to do where that is not possible."""

import errno
import socket

_BACKLOG = 1024


class CannotListen(Exception):
    """An address that nothing can be received at; the text says what to do."""

    def __init__(self, service: str, host: str, port: int, option: str, error: OSError) -> None:
        super().__init__(f"{service} cannot listen on {address(host, port)}: {_advice(error, option)}")


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # "localhost" is both; what is told to the person is 127.0.0.1
    family, *_, place = min(found, key=lambda entry: entry[0] is not socket.AF_INET)
    return socket.create_server(place, family=family, backlog=_BACKLOG)


def address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """What to write into a URL on this machine for a host that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nothing is bound here


def _advice(error: OSError, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; stop what uses it, or choose another with {option}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 need root; choose another with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; correct the host in the configuration"
    if isinstance(error, socket.gaierror):
        return "the name is not known; correct the host in the configuration"
    return f"{error.strerror or error}"
