"""Which transfer syntax each object of an answer is given in, by what the client takes and what there is a way to."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from io import SEEK_END
from typing import IO

from fileroom_storage.parse.part10 import encode_file_meta
from fileroom_storage.pixels.compression import targets_of
from fileroom_storage.pixels.transcoding import transcode
from fileroom_storage.pixels.transfer_syntaxes import TARGETS
from fileroom_storage.storage import Piece, Storage, StoredInstance, Stretch

from .answer_stream import CHUNK_SIZE
from .media_types import MediaType, Offer, choose, preferred
from .origin_server import OriginServer
from .problem import not_acceptable


@dataclass(frozen=True, slots=True)
class Container:
    """What the objects of an answer come in."""

    media_type: str
    multipart: bool = False

    def offer(self, transfer_syntax_uid: str) -> Offer:
        return Offer(self.media_type, self.multipart, transfer_syntax_uid)


@dataclass(frozen=True, slots=True)
class Representation:
    """An object as it is to be given: as it is stored, or made into a Part 10 file of another transfer syntax."""

    server: OriginServer
    instance: StoredInstance
    transfer_syntax_uid: str

    @property
    def is_stored(self) -> bool:
        return self.transfer_syntax_uid == self.instance.transfer_syntax_uid

    @property
    def size(self) -> int | None:
        return self.instance.size if self.is_stored and self.instance.origin is None else None

    def open(self) -> IO[bytes]:
        """The file, to be closed. Raises CannotTranscode, ObjectMissing, and Problem where too many are made."""
        storage = self.server.storage
        if self.is_stored:
            return storage.open_object(self.instance)
        meta = encode_file_meta(
            sop_class_uid=self.instance.sop_class_uid,
            sop_instance_uid=self.instance.sop_instance_uid,
            transfer_syntax_uid=self.transfer_syntax_uid,
        )
        with self.server.renderings.one():
            return transcode(storage.header_with_pixels(self.instance), self.transfer_syntax_uid, meta)

    def content(self) -> Generator[Piece, None, None]:
        if self.is_stored:
            with self.server.storage.open_stretches(self.instance) as stored:
                yield Stretch(stored, 0, stored.size)
            return
        with self.open() as file:
            yield from chunks(file)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_SIZE):
        yield chunk


def length_of(file: IO[bytes]) -> int:
    length = file.seek(0, SEEK_END)
    file.seek(0)
    return length


def choose_container(
    ranges: Sequence[MediaType], instances: Sequence[StoredInstance], containers: Sequence[Container]
) -> Container | None:
    """The container liked best, for any transfer syntax that there might be a way to."""
    syntaxes = dict.fromkeys((*(instance.transfer_syntax_uid for instance in instances), *map(str, TARGETS)))
    offers = {container.offer(syntax): container for container in containers for syntax in syntaxes}
    offer = choose(ranges, list(offers))
    return offers[offer] if offer is not None else None


def representations(
    server: OriginServer, ranges: Sequence[MediaType], instances: Sequence[StoredInstance], container: Container
) -> list[Representation]:
    """The objects that there is a way to give, as the client likes them; what is stored is given first.

    PS3.18 8.7.3.3.2 has Explicit VR Little Endian where no transfer syntax is asked for; viewers that ask for none
    want what is stored, and get it.
    """
    chosen = []
    possible = _Possible(server.storage)
    for instance in instances:
        stored = [container.offer(instance.transfer_syntax_uid)]
        offer = preferred(ranges, stored, [container.offer(target) for target in TARGETS])
        if offer is not None and offer.transfer_syntax_uid != instance.transfer_syntax_uid:
            offer = preferred(ranges, stored, [container.offer(target) for target in possible(instance)])
        if offer is not None and offer.transfer_syntax_uid is not None:
            chosen.append(Representation(server, instance, offer.transfer_syntax_uid))
    return chosen


def refusal(
    storage: Storage, instances: Sequence[StoredInstance], containers: Sequence[Container], *, exact: bool
) -> Exception:
    """What would do for all of the objects; `exact` looks at each of them for it."""
    stored = {instance.transfer_syntax_uid for instance in instances}
    offers = [container.offer(syntax) for container in containers for syntax in (stored if len(stored) == 1 else "*")]
    if exact:
        possible = _Possible(storage)
        common = [
            target
            for target in TARGETS
            if all(target == one.transfer_syntax_uid or target in possible(one) for one in instances)
        ]
        offers += [container.offer(target) for container in containers for target in common]
    return not_acceptable(tuple(offers))


class _Possible:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, Sequence[str]] = {}

    def __call__(self, instance: StoredInstance) -> Sequence[str]:
        known = self._known.get(instance.sop_instance_uid)
        if known is None:
            known = self._known[instance.sop_instance_uid] = targets_of(self._storage.header(instance))
        return known
