"""The least that is an index of image sets: instances through `Storage.external`, versions and frames in memory."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fileroom_healthimaging.document import ImageFrame, read_document
from fileroom_healthimaging.encoded_instances import encoded_instances
from fileroom_healthimaging.frame_source import FramesOfInstance
from fileroom_healthimaging.image_set_version import DELETED, ImageSetName, ImageSetVersion
from fileroom_healthimaging.invalid_document import InvalidDocument
from fileroom_storage.external_change import ExternalChange, ExternalInstance
from fileroom_storage.storage import Storage

SOURCE = "healthimaging"


@dataclass(frozen=True)
class Told:
    error: str | None = None


class StorageIndex:
    def __init__(self, storage: Storage) -> None:
        self.versions: dict[ImageSetName, ImageSetVersion] = {}
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self._frames: dict[tuple[str, str], tuple[ImageFrame, ...]] = {}
        self._storage = storage
        self._lock = threading.Lock()

    def tell(self, versions: Sequence[ImageSetVersion]) -> list[Told]:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            outcomes, changes = [], []
            for version in versions:
                known = self.versions.get(version.name)
                if known is not None and (known.version_id or 0) > (version.version_id or 0):
                    outcomes.append(Told())
                    continue
                try:
                    changes.append(self._change(version))
                except InvalidDocument as error:
                    outcomes.append(Told(str(error)))
                    continue
                self.versions[version.name] = version
                outcomes.append(Told())
            self._storage.external(SOURCE).apply(changes)
            self.batches.append(len(versions))
            return outcomes

    def known_versions(self, datastore_id: str) -> Mapping[str, int | None]:
        return {
            name.image_set_id: one.version_id
            for name, one in self.versions.items()
            if name.datastore_id == datastore_id and one.state != DELETED
        }

    def frames_of(self, key: str, sop_instance_uid: str) -> FramesOfInstance | None:
        frames = self._frames.get((key, sop_instance_uid))
        return None if frames is None else FramesOfInstance(ImageSetName(*key.split("/")), frames)

    def _change(self, version: ImageSetVersion) -> ExternalChange:
        if version.document is None:
            return ExternalChange(str(version.name))
        encoded = list(encoded_instances(read_document(version.document)))
        for one in encoded:
            self._frames[str(version.name), one.sop_instance_uid] = one.frames
        return ExternalChange(
            str(version.name),
            [ExternalInstance(one.data_set, one.transfer_syntax_uid, len(one.frames)) for one in encoded],
        )
