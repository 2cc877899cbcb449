"""Objects as a ZIP archive, made while it is sent; its names are UIDs and say nothing of the patient."""

import re
from collections.abc import Generator, Sequence
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile

from .transfer_syntax_choice import Representation, chunks, length_of

# Readers that take an archive as it comes, as Java's do, need entries of unknown length to be deflated. Pixels shrink
# little more at higher levels.
_LEVEL = 1
# how long an entry is is told before it is there; not all readers know ZIP64
_LONG = 1 << 30
_NO_PART_OF_A_NAME = re.compile(r"[^0-9A-Za-z._-]|^\.+")


def zip_archive(representations: Sequence[Representation]) -> Generator[bytes, None, None]:
    """One file for each object, as study/series/instance.dcm."""
    sink = _Sink()
    with ZipFile(cast("IO[bytes]", sink), "w", ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for representation in representations:
            with representation.open() as file:
                is_long = length_of(file) > _LONG
                with archive.open(_name(representation), "w", force_zip64=is_long) as member:
                    for chunk in chunks(file):
                        member.write(chunk)
                        yield from sink.taken()
            yield from sink.taken()
    yield from sink.taken()


def _name(representation: Representation) -> str:
    instance = representation.instance
    uids = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    return "/".join(_NO_PART_OF_A_NAME.sub("_", uid) for uid in uids) + ".dcm"


class _Sink:
    """What zipfile writes to: it cannot be read or sought in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> Generator[bytes, None, None]:
        pieces, self._pieces = self._pieces, []
        yield from filter(None, pieces)
