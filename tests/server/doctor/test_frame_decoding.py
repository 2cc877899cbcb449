"""Frames as a server may send them: whole, cut, of another size, labelled as something else."""

import json
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from fileroom_server.doctor.frame_decoding import FrameDescription, decoding_error


def described(name: str) -> tuple[dict[str, Any], bytes, UID]:
    """The metadata of an object, its first frame and its transfer syntax."""
    dataset = dcmread(str(get_testdata_file(name)))
    syntax = dataset.file_meta.TransferSyntaxUID
    frame = next(generate_frames(dataset.PixelData)) if syntax.is_encapsulated else bytes(dataset.PixelData)
    del dataset.PixelData
    return json.loads(dataset.to_json()), frame, syntax


def error(metadata: dict[str, Any], syntax: UID | None, frame: bytes) -> str | None:
    description = FrameDescription.of(metadata)
    assert description is not None
    return decoding_error(description, syntax, frame)


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_good_frames(name: str) -> None:
    metadata, frame, syntax = described(name)
    assert error(metadata, syntax, frame) is None


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm"])
def test_half_a_frame(name: str) -> None:
    metadata, frame, syntax = described(name)
    assert error(metadata, syntax, frame[: len(frame) // 2 & ~1]) is not None
    assert error(metadata, syntax, b"") is not None


def test_a_frame_of_another_size() -> None:
    metadata, frame, syntax = described("JPEG2000.dcm")
    metadata["00280010"]["Value"] = [17]
    assert "17" in str(error(metadata, syntax, frame))


def test_a_frame_labelled_as_something_else() -> None:
    metadata, frame, _ = described("JPEG2000.dcm")
    assert error(metadata, RLELossless, frame) is not None
    assert error(metadata, ExplicitVRLittleEndian, frame) is not None
    assert error(metadata, None, frame) is not None
    native, pixels, _ = described("CT_small.dcm")
    assert error(native, JPEG2000Lossless, pixels) is not None


def test_metadata_without_pixels_describe_none() -> None:
    assert FrameDescription.of({}) is None
    assert FrameDescription.of({"00280010": {"vr": "US", "Value": ["8"]}}) is None
