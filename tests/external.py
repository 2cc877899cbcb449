"""A source of frames for tests: objects taken apart into the header that is indexed and frames that are elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from fileroom_storage.external_change import ExternalInstance, ExternalSeries
from fileroom_storage.storage import StoredInstance
from tests.made import encoded, made

SOURCE = "elsewhere"


@dataclass
class FramesElsewhere:
    """A FrameSource that has frames by key and SOP Instance UID; `failure` is raised instead of giving any."""

    kept: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    failure: Exception | None = None
    asked: list[list[int]] = field(default_factory=list)

    def frames(self, instance: StoredInstance, numbers: Sequence[int]) -> Iterator[bytes]:
        assert instance.origin is not None
        self.asked.append(list(numbers))
        if self.failure is not None:
            raise self.failure
        frames = self.kept[instance.origin.key, instance.sop_instance_uid]
        for number in numbers:
            yield frames[number - 1]

    def take(self, key: str, whole: Dataset | Path) -> ExternalInstance:
        """Keeps the frames of an object; what is left of it is to be indexed."""
        dataset = whole if isinstance(whole, Dataset) else dcmread(whole)
        frames: list[bytes] = []
        if "PixelData" in dataset:
            number = int(dataset.get("NumberOfFrames") or 1)
            pixels = dataset.PixelData
            if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
                frames = list(generate_frames(pixels, number_of_frames=number))
            else:
                length = len(pixels) // number
                frames = [pixels[start : start + length] for start in range(0, number * length, length)]
        self.kept[key, dataset.SOPInstanceUID] = frames
        syntax = dataset.file_meta.TransferSyntaxUID if frames else ExplicitVRLittleEndian
        return ExternalInstance(header_of(dataset), syntax, len(frames))


def header_of(dataset: Dataset) -> bytes:
    """Encoded without pixel data, in Explicit VR Little Endian."""
    header = Dataset({tag: element for tag, element in dataset.items() if tag != 0x7FE00010})
    return encoded(header)


def header(**attributes: object) -> ExternalInstance:
    """Of an instance without frames."""
    return ExternalInstance(encoded(made(**attributes)))


def series(sop_instance_uids: Iterable[str], **attributes: object) -> ExternalSeries:
    dataset = made(**attributes)
    return ExternalSeries(encoded(dataset), frozenset(sop_instance_uids), frozenset({dataset.SOPClassUID}))
