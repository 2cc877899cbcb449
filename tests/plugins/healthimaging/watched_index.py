"""The index of image sets, with what it was told counted, and failing where a test wants it to."""

from collections.abc import Sequence

from fileroom_healthimaging.image_set_index import ImageSetIndex, Outcome
from fileroom_healthimaging.image_set_version import ImageSetVersion
from fileroom_storage.plugin import PluginContext


class WatchedIndex(ImageSetIndex):
    def __init__(self, context: PluginContext) -> None:
        super().__init__(context)
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def check(self) -> None:
        """Raises what the index is to fail with: a database that is away is so for all who ask."""
        if self.failure is not None:
            raise self.failure

    def tell(self, versions: Sequence[ImageSetVersion]) -> list[Outcome]:
        self.check()
        self.batches.append(len(versions))
        return super().tell(versions)
