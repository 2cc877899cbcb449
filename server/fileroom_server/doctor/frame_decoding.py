"""Whether one frame that came from a server can be decoded, by the decoders that fileroom itself uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID

from fileroom_storage.errors import CannotDecode, StorageError
from fileroom_storage.parse.header import parse_header
from fileroom_storage.pixels.decoding import decode_frame

from .reading import value

_NUMBERS = {
    "SamplesPerPixel": "00280002",
    "PlanarConfiguration": "00280006",
    "Rows": "00280010",
    "Columns": "00280011",
    "BitsAllocated": "00280100",
    "BitsStored": "00280101",
    "HighBit": "00280102",
    "PixelRepresentation": "00280103",
}
_NEEDED = ("Rows", "Columns", "BitsAllocated")


@dataclass(frozen=True, slots=True)
class FrameDescription:
    """What the metadata say of every frame."""

    numbers: Mapping[str, int]
    photometric_interpretation: str

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "FrameDescription | None":
        """None where the metadata do not describe pixels."""
        numbers = {}
        for keyword, tag in _NUMBERS.items():
            number = value(metadata, tag)
            if isinstance(number, int):
                numbers[keyword] = number
        if any(keyword not in numbers for keyword in _NEEDED):
            return None
        return cls(numbers, str(value(metadata, "00280004") or "MONOCHROME2"))


def decoding_error(description: FrameDescription, transfer_syntax_uid: UID | None, frame: bytes) -> str | None:
    """What is wrong with the frame; None where it is what it should be, or there is no decoder here to tell."""
    compressed = transfer_syntax_uid is not None and transfer_syntax_uid.is_encapsulated
    if not compressed:
        return _length_error(description, frame)
    if not frame:
        return "it is empty"
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "2.25.1"
    for keyword, number in description.numbers.items():
        setattr(dataset, keyword, number)
    dataset.PhotometricInterpretation = description.photometric_interpretation
    dataset.PixelData = encapsulate([frame], has_bot=False)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    buffer = BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, enforce_file_format=False)
    try:
        decode_frame(parse_header(buffer.getvalue(), str(transfer_syntax_uid)), frame)
    except CannotDecode as error:
        return None if "no decoder here" in str(error) else str(error)
    except StorageError as error:
        return str(error)
    return None


def _length_error(description: FrameDescription, frame: bytes) -> str | None:
    numbers = description.numbers
    samples = numbers["Rows"] * numbers["Columns"] * numbers.get("SamplesPerPixel", 1)
    if description.photometric_interpretation == "YBR_FULL_422":
        samples = samples // 3 * 2
    length = (samples * numbers["BitsAllocated"] + 7) // 8
    if length <= len(frame) <= length + 1:
        return None
    return f"it has {len(frame):,} bytes, {length:,} are expected of {numbers['Rows']} × {numbers['Columns']} pixels"
