"""What `fileroom healthimaging import` does with each thing that it is given, and what became of all."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from fileroom_storage.plugin import StorageUnavailable

from .document import read_document
from .document_sources import FoundDocument, S3Documents, documents_of_path
from .image_set_version import ImageSetName, ImageSetVersion
from .intake import Intake, Status, Taken, batches
from .invalid_document import InvalidDocument
from .reconciliation import Reconciled, Reconciliation

_IN_A_DATASTORE = re.compile(r"datastore:([0-9a-z]{32})(?:/([0-9a-z]{32}))?")
_OF_S3 = "s3://"


class UnknownSource(Exception):
    """What was given is nothing that can be imported."""


@dataclass(slots=True)
class Imported:
    """What became of all that was given."""

    taken: int = 0
    listed: int = 0  # by the service
    failures: dict[str, str] = field(default_factory=dict)  # the reason, by where or by name of the image set


Advance = Callable[[int], None]


class Import:
    """`advance` is told how many image sets are done. `stopping` ends it with what was taken until then."""

    def __init__(
        self,
        intake: Intake,
        reconciliation: Reconciliation,
        s3: S3Documents,
        advance: Advance,
        stopping: Event,
    ) -> None:
        self.done = Imported()
        self._intake = intake
        self._reconciliation = reconciliation
        self._s3 = s3
        self._advance = advance
        self._stopping = stopping

    def run(self, source: str) -> None:
        """A path, s3://bucket/prefix, datastore:ID or datastore:ID/IMAGESETID.

        Raises UnknownSource before anything is read; StorageError where a list cannot be had.
        """
        named = checked_source(source)
        if isinstance(named, ImageSetName):
            self._note(self._intake.take({named: None}))
        elif isinstance(named, Path):
            self._take(documents_of_path(named))
        elif named.startswith(_OF_S3):
            self._take(self._s3.documents(named))
        else:
            self._reconcile(named)

    def _reconcile(self, datastore_id: str) -> None:
        before = 0

        def progress(reconciled: Reconciled) -> None:
            nonlocal before
            self._advance(reconciled.differed - before)
            before = reconciled.differed

        try:
            reconciled = self._reconciliation.run(datastore_id, progress)
        except StorageUnavailable:
            if self._stopping.is_set():
                self.done.taken += before
                return
            raise
        self.done.listed += reconciled.listed
        self.done.taken += reconciled.taken
        self.done.failures |= reconciled.failures

    def _take(self, documents: Iterator[FoundDocument]) -> None:
        # where each came from, for what the index says of an image set
        places: dict[ImageSetName, str] = {}
        for batch in batches(self._versions(documents, places)):
            taken = self._intake.tell(batch)
            self._note({name: one for name, one in taken.items() if one.status is Status.TAKEN})
            for name, one in taken.items():
                if one.status is not Status.TAKEN:
                    self._fail(places[name], one.reason)

    def _versions(
        self, documents: Iterator[FoundDocument], places: dict[ImageSetName, str]
    ) -> Iterator[ImageSetVersion]:
        for document in documents:
            if self._stopping.is_set():
                return
            if document.problem:
                self._fail(document.where, document.problem)
                continue
            try:
                read = read_document(document.content)
            except InvalidDocument as error:
                self._fail(document.where, str(error))
                continue
            version = ImageSetVersion(read.datastore_id, read.image_set_id, None, document=document.content)
            places[version.name] = document.where
            yield version

    def _note(self, taken: dict[ImageSetName, Taken]) -> None:
        for name, one in taken.items():
            if one.status is Status.TAKEN:
                self.done.taken += 1
                self._advance(1)
            elif one.status is Status.UNUSABLE or not self._stopping.is_set():
                self._fail(str(name), one.reason)

    def _fail(self, where: str, reason: str) -> None:
        self.done.failures[where] = reason
        self._advance(1)


def checked_source(source: str) -> ImageSetName | Path | str:
    """An image set; a path; the URL of S3 or the id of a data store. Raises UnknownSource."""
    if source.startswith("datastore:"):
        found = _IN_A_DATASTORE.fullmatch(source)
        if found is None:
            raise UnknownSource(
                f"{source} is not like datastore:ID or datastore:ID/IMAGESETID; an ID has 32 characters"
            )
        return ImageSetName(found[1], found[2]) if found[2] else found[1]
    if source.startswith(_OF_S3):
        if source == _OF_S3 or source.startswith("s3:///"):
            raise UnknownSource(f"{source} names no bucket; write s3://bucket/prefix")
        return source
    path = Path(source)
    if not path.exists():
        raise UnknownSource(f"{source}: there is no such file or folder")
    return path
