"""An application entity with a storage of its own, in this process, at a free port."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fileroom_server.application_entity import create_application_entity, drain, event_handlers, listen
from fileroom_server.config import DicomConfiguration, Peer
from fileroom_server.reception import Refusal
from fileroom_server.transport import AssociationServer
from fileroom_storage.storage import Storage, StorageSettings
from tests.databases import copy_index, free_port


@dataclass(frozen=True)
class Entity:
    """A listening application entity."""

    storage: Storage
    server: AssociationServer
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def port(self) -> int:
        port: int = self.server.server_address[1]
        return port


Listen = Callable[..., Entity]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    copy_index(tmp_path / "data")
    with Storage.open(StorageSettings(data=tmp_path / "data", durability="relaxed")) as storage:
        yield storage


@pytest.fixture
def listening(storage: Storage) -> Iterator[Listen]:
    """Makes application entities: `listening(peers, only_peers_may_call=…, maximum_associations=…)`."""
    with ExitStack() as stack:

        def make(peers: Iterable[Peer] = (), *, only_peers_may_call: bool = False, **settings: Any) -> Entity:
            dicom = DicomConfiguration(**settings)
            peers = tuple(peers)
            entity = create_application_entity(dicom, peers, only_peers_may_call=only_peers_may_call)
            handlers = event_handlers(
                storage,
                dicom.ae_title,
                peers,
                own_tls=dicom.tls,
                maximum_find_results=dicom.maximum_find_results,
            )
            refusals: list[Refusal] = []
            server = listen(entity, ("127.0.0.1", 0), handlers, refused=refusals.append)
            stack.callback(drain, server, 5.0)
            return Entity(storage, server, refusals)

        yield make


@pytest.fixture
def entity(listening: Listen) -> Entity:
    return listening()


@pytest.fixture
def destination() -> Peer:
    """A peer at a port that nobody listens on yet."""
    return Peer(ae_title="DESTINATION", host="127.0.0.1", port=free_port())
