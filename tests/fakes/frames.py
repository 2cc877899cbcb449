"""Frames as a data store keeps them: HTJ2K where an object has them so, otherwise lossless JPEG 2000.

No encoder of HTJ2K is at hand under a licence that the project takes, so that HTJ2K is what modalities made of it.
"""

from io import BytesIO

import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless

_KEPT = {HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K, JPEG2000Lossless}


def frames_of(content: bytes) -> tuple[str, list[bytes]]:
    """The frames of a Part 10 object and their transfer syntax UID; no frames where it has no pixels."""
    dataset = pydicom.dcmread(BytesIO(content))
    if "PixelData" not in dataset:
        return str(dataset.file_meta.TransferSyntaxUID), []
    if dataset.file_meta.TransferSyntaxUID not in _KEPT:
        dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    number = int(dataset.get("NumberOfFrames") or 1)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=number))
    return str(dataset.file_meta.TransferSyntaxUID), frames
