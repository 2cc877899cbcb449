"""The services that a peer may be allowed or denied, by the names of the configuration."""

from enum import StrEnum


class PeerService(StrEnum):
    STORE = "store"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    COMMIT = "commit"
    ECHO = "echo"


ALL_SERVICES = frozenset(PeerService)
