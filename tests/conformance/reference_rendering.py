"""How a frame looks, slowly and obviously: pydicom's own functions, and numpy for what pydicom has none for.

Rules that the standard leaves open, and that fileroom's documentation states: the first VOI LUT stands before the first
window; a linear window narrower than 1 is an exact one; without either, pixels of up to 8 bits are shown as they are,
others from the least to the greatest value of the frame; pixel padding is black and does not count.
"""

import warnings
import zlib
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi,
    apply_windowing,
    convert_color_space,
)
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

Image = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]

# Two decoders of lossy JPEG may differ by more than a grey level in colour; it is not decoders that are compared.
_DECODERS = {JPEGBaseline8Bit: "pillow", JPEGExtended12Bit: "pillow"}
_GREY = ("MONOCHROME1", "MONOCHROME2")


def reference(ds: Dataset, index: int) -> Image:
    """The frame with this index, from 0, as grey values or as red, green and blue."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored, interpretation = _stored(ds, index)
        if interpretation in _GREY:
            return _grey(ds, stored, index, interpretation)
        return _colour(ds, stored, interpretation)


def _stored(ds: Dataset, index: int) -> tuple[Values, str]:
    syntax = ds.file_meta.TransferSyntaxUID
    if ds.get("BitsAllocated") == 1 and syntax in _BITS:
        frame = get_frame(ds.PixelData, index, number_of_frames=int(ds.NumberOfFrames))
        count = ds.Rows * ds.Columns
        bits = np.unpackbits(np.frombuffer(_BITS[syntax](frame), np.uint8), count=count, bitorder="little")
        return bits.reshape(ds.Rows, ds.Columns), ds.PhotometricInterpretation
    stored, properties = get_decoder(syntax).as_array(
        ds, index=index, raw=True, decoding_plugin=_DECODERS.get(syntax, "")
    )
    return stored, str(properties["photometric_interpretation"])


def _inflated(frame: bytes) -> bytes:
    return zlib.decompress(frame, -zlib.MAX_WBITS)


def _expanded(frame: bytes) -> bytes:
    """PS3.5 Annex G: a header of 64 bytes, then one segment."""
    out, position = bytearray(), 64
    while position < len(frame):
        control = frame[position]
        if control < 128:
            out += frame[position + 1 : position + 2 + control]
            position += 2 + control
        elif control > 128:
            out += frame[position + 1 : position + 2] * (257 - control)
            position += 2
        else:
            position += 1
    return bytes(out)


# pydicom decodes neither pixels of one bit in RLE nor deflated frames
_BITS = {RLELossless: _expanded, UID("1.2.840.10008.1.2.8.1"): _inflated}


def _colour(ds: Dataset, stored: Values, interpretation: str) -> Image:
    if interpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, _with_little_endian_palette(ds))
        return (colours >> 8 if colours.dtype == np.uint16 else colours).astype(np.uint8)
    if ds.BitsStored != 8:
        stored = np.rint(stored / (2**ds.BitsStored - 1) * 255).astype(np.uint8)
    if interpretation.startswith("YBR_FULL"):
        stored = convert_color_space(stored, interpretation, "RGB")
    return stored


def _with_little_endian_palette(ds: Dataset) -> Dataset:
    """pydicom takes big-endian palettes as they are, unless they are segmented."""
    if ds.original_encoding[1] or "RedPaletteColorLookupTableData" not in ds:
        return ds
    swapped = Dataset()
    swapped.update(ds)
    for channel in ("Red", "Green", "Blue"):
        entries = np.frombuffer(ds[f"{channel}PaletteColorLookupTableData"].value, ">u2")
        swapped[f"{channel}PaletteColorLookupTableData"] = copy(ds[f"{channel}PaletteColorLookupTableData"])
        swapped[f"{channel}PaletteColorLookupTableData"].value = entries.astype("<u2").tobytes()
    return swapped


def _grey(ds: Dataset, stored: Values, index: int, interpretation: str) -> Image:
    frame = _flat(ds, index)
    values = _modality(frame, stored).astype(np.float64)
    is_padding = _is_padding(ds, stored)
    shown = _voi(ds, frame, values, stored, is_padding)
    shown = np.rint(np.clip(np.nan_to_num(shown, nan=0.0), 0, 255))
    if interpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE":
        shown = 255 - shown
    shown[is_padding] = 0
    grey: Image = shown.astype(np.uint8)
    return grey


def _flat(ds: Dataset, index: int) -> Dataset:
    """What counts for this frame, as if the object had no other: functional groups taken out of their sequences."""
    flat = Dataset()
    keywords = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction")
    for keyword in (*keywords, "WindowCenter", "WindowWidth", "PixelRepresentation"):
        if keyword in ds:
            flat[keyword] = ds[keyword]
    groups = [ds[keyword].value[place] for keyword, place in _groups(index) if len(ds.get(keyword) or []) > place]
    for group in groups:
        for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group.get(sequence) or [])[:1]:
                if sequence.startswith("Frame"):
                    for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"):
                        flat.pop(keyword, None)
                flat.update(item)
    if "DoseGridScaling" in ds and "RescaleSlope" not in flat:
        flat.RescaleSlope, flat.RescaleIntercept = ds.DoseGridScaling, 0
    return flat


def _groups(index: int) -> list[tuple[str, int]]:
    return [("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", index)]


def _modality(frame: Dataset, stored: Values) -> Values:
    return apply_modality_lut(stored, frame)


def _is_padding(ds: Dataset, stored: Values) -> npt.NDArray[np.bool_]:
    if ds.get("PixelPaddingValue") is None or "PixelData" not in ds:
        return np.zeros(stored.shape, bool)
    ends = [ds.PixelPaddingValue, ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue)]
    low, high = sorted(int(np.array(end).astype(np.int64).astype(stored.dtype)) for end in ends)
    return (stored >= low) & (stored <= high)


def _voi(ds: Dataset, frame: Dataset, values: Values, stored: Values, is_padding: npt.NDArray[np.bool_]) -> Values:
    """Values from 0 to 255."""
    if frame.get("VOILUTSequence"):
        frame.file_meta = ds.file_meta
        bits = max(frame.VOILUTSequence[0].LUTDescriptor[2], int(np.max(_entries(frame))).bit_length())
        looked_up: Values = apply_voi(np.rint(values).astype(np.int64), frame)
        from_zero_to_white: Values = looked_up / (2**bits - 1) * 255
        return from_zero_to_white
    center, width = _first(frame.get("WindowCenter")), _first(frame.get("WindowWidth"))
    if center is not None and width is not None and width > 0:
        window = Dataset()
        window.WindowCenter, window.WindowWidth = center, width
        window.VOILUTFunction = str(frame.get("VOILUTFunction") or "LINEAR")
        if window.VOILUTFunction == "LINEAR" and width < 1:
            window.VOILUTFunction = "LINEAR_EXACT"
        # apply_windowing gives values in the range of the pixels that the data set describes: of 8 bits
        window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
        return apply_windowing(values, window)
    if "PixelData" in ds and ds.BitsStored <= 8 and ds.get("SegmentationType") != "LABELMAP":
        least = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
        most = least + 2**ds.BitsStored - 1
        if ds.get("SegmentationType") == "FRACTIONAL":
            most = ds.MaximumFractionalValue
        ends = _modality(frame, np.array([least, most], np.int16))
        low, high = float(min(ends)), float(max(ends))
    else:
        counted = values[~is_padding & np.isfinite(values)]
        low, high = (float(counted.min()), float(counted.max())) if counted.size else (0.0, 1.0)
    spread: Values = (values - low) / (high - low) * 255 if high > low else np.zeros(values.shape)
    return spread


def _entries(frame: Dataset) -> Values:
    data = frame.VOILUTSequence[0].LUTData
    return np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(np.array(data))


def _first(value: Any) -> float | None:
    values = value if isinstance(value, list) or hasattr(value, "__iter__") else [value]
    first = next(iter(values), None)
    return None if first in (None, "") else float(first)
