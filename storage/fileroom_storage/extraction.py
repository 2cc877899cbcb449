"""What plugins make of the header of an object that comes in. Whatever goes wrong in one harms nothing else."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from .index.arrival import Extracted, ExtractedRows
from .parse.header import Header

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Extractor:
    """`tables` are those that it may give rows for."""

    plugin: str
    sop_classes: frozenset[str] | None
    tables: Collection[str]
    extract: Callable[[Header], ExtractedRows]

    def __call__(self, header: Header) -> Extracted:
        try:
            rows = self.extract(header)
            if unknown := rows.keys() - set(self.tables):
                raise LookupError(f"no table with instance_pk is called {', '.join(sorted(unknown))}")
            return Extracted(self.plugin, {name: list(of_it) for name, of_it in rows.items()})
        except Exception as error:  # noqa: BLE001  # the object is stored all the same
            # without the error's text, which may quote the object
            _log.warning("plugin %s failed on an object: %s", self.plugin, type(error).__name__)
            return Extracted(self.plugin, None, type(error).__name__)


class Extraction:
    """By all plugins that extract."""

    def __init__(self, extractors: Sequence[Extractor] = ()) -> None:
        self._extractors = tuple(extractors)

    def __call__(self, header: Header, sop_class_uid: str) -> tuple[Extracted, ...]:
        if not self._extractors:
            return ()
        return tuple(one(header) for one in self.concerned(sop_class_uid))

    def concerned(self, sop_class_uid: str) -> list[Extractor]:
        return [one for one in self._extractors if one.sop_classes is None or sop_class_uid in one.sop_classes]

    def of_plugin(self, name: str) -> Extractor | None:
        return next((one for one in self._extractors if one.plugin == name), None)
