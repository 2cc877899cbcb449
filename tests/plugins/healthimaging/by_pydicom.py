"""A data set as pydicom makes it of a document's attributes, slowly: the oracle of what is encoded."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}


def encoded_by_pydicom(attributes: Mapping[str, Any], vrs: Mapping[str, str]) -> bytes:
    """Explicit VR Little Endian, without group lengths, file meta information and pixel data."""
    data_set = _data_set(attributes, vrs)
    data_set.SpecificCharacterSet = "ISO_IR 192"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data_set)
    return buffer.getvalue()


def _data_set(attributes: Mapping[str, Any], vrs: Mapping[str, str]) -> Dataset:
    data_set = Dataset()
    for key, value in attributes.items():
        tag = tag_for_keyword(key)
        tag = int(key, 16) if tag is None else tag
        if tag >> 16 < 0x0008 or not tag & 0xFFFF or (tag == 0x7FE00010 and value is None) or tag == 0x00080005:
            continue
        vr = vrs.get(key) or dictionary_VR(tag)
        vr = "US" if vr == "US or OW" and not isinstance(value, str) else vr
        data_set[tag] = DataElement(tag, vr, _value(vr, value, vrs), validation_mode=IGNORE)
    return data_set


def _value(vr: str, value: Any, vrs: Mapping[str, str]) -> Any:
    if vr == "SQ":
        return Sequence([_data_set(item, vrs) for item in value or ()])
    if vr in _BINARY or (vr.endswith("OW") and isinstance(value, str)):
        return b64decode(value or "")
    if isinstance(value, list) and None in value:
        return [one or "" for one in value]
    return value
