"""Transcoding: what comes out says what went in, by pydicom's reading of both."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fileroom_storage.errors import CannotTranscode
from fileroom_storage.parse.header import parse_header
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.pixels.transcoding import transcode
from tests.corpus import PYDICOM
from tests.made import encoded, made

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
UNCOMPRESSED = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "priv_SQ.dcm"]
COMPRESSED = [
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
]


def _parts(name: str) -> tuple[bytes, str]:
    file = (PYDICOM / "test_files" / name).read_bytes()
    meta = read_file_meta(file)
    return file[meta.data_set_offset :], meta.transfer_syntax_uid


def _read(data_set: bytes, transfer_syntax: str) -> Dataset:
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        transfer_syntax, data_set = ExplicitVRLittleEndian, bytes(parse_header(data_set, transfer_syntax).buffer)
    implicit, little = transfer_syntax == ImplicitVRLittleEndian, transfer_syntax != ExplicitVRBigEndian
    read = read_dataset(BytesIO(data_set), is_implicit_VR=implicit, is_little_endian=little)
    file = FileDataset(Path("x"), read, is_implicit_VR=implicit, is_little_endian=little)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return file


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what these files hold
@pytest.mark.parametrize("target", SYNTAXES, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("name", UNCOMPRESSED)
def test_encoded_anew(name: str, target: str) -> None:
    data_set, stored = _parts(name)
    result = _transcoded(data_set, stored, target)
    before, after = _json(data_set, stored), _json(result, target)
    assert after.keys() == before.keys()
    different = {tag for tag in before if before[tag] != after[tag]}
    # where one of the encodings has no VR, the other's is what the dictionary says
    assert all(before[tag].get("vr") == "UN" or after[tag].get("vr") == "UN" for tag in different)
    original = dcmread(PYDICOM / "test_files" / name)
    if "PixelData" in original:
        assert np.array_equal(_read(result, target).pixel_array, original.pixel_array)


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("name", COMPRESSED)
def test_decompressed(name: str, target: str) -> None:
    data_set, stored = _parts(name)
    original = dcmread(PYDICOM / "test_files" / name)
    result = _read(_transcoded(data_set, stored, target), target)
    assert result.SOPInstanceUID == original.SOPInstanceUID
    assert result.get("NumberOfFrames") == original.get("NumberOfFrames")
    assert np.array_equal(result.pixel_array, original.pixel_array)
    if result.SamplesPerPixel == 3:
        assert result.PhotometricInterpretation == "RGB"
    untouched = set(_json(data_set, stored)) - {"00280004", "00280006", "7FE00010"}
    after = _json(_transcoded(data_set, stored, target), target)
    assert {tag: after[tag] for tag in untouched} == {tag: _json(data_set, stored)[tag] for tag in untouched}


def test_texts_and_private_elements_stay_as_they_are() -> None:
    # Latin-1 where UTF-8 is declared
    data_set = encoded(made(PatientComments="x")).replace(b"x ", b"\xe9 ")
    private = b"\x09\x00\x10\x00LO\x04\x00ACME" + b"\x09\x00\x01\x10UN\x00\x00\x03\x00\x00\x00\x00\x01\xff"
    data_set = (
        data_set[: data_set.index(b"\x10\x00\x10\x00PN")] + private + data_set[data_set.index(b"\x10\x00\x10\x00PN") :]
    )
    implicit = _transcoded(data_set, ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    assert b"\x10\x00\x00\x40\x02\x00\x00\x00\xe9 " in implicit
    assert b"\x09\x00\x01\x10\x04\x00\x00\x00\x00\x01\xff\x00" in implicit


def test_values_too_long_for_their_vr_become_un() -> None:
    data_set = encoded(made(SeriesDescription="x" * 70_000), implicit=True)
    explicit = _transcoded(data_set, ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    # PS3.5 6.2.2
    assert b"\x08\x00\x3e\x10UN\x00\x00" + (70_000).to_bytes(4, "little") + b"xxx" in explicit


def test_what_cannot_be_decoded() -> None:
    data_set, stored = _parts("MR_small_jp2klossless.dcm")
    broken = data_set.replace(b"\xff\x4f\xff\x51", b"\x00\x00\x00\x00")
    assert broken != data_set
    with pytest.raises(CannotTranscode):
        _transcoded(broken, stored, ExplicitVRLittleEndian)
    with pytest.raises(CannotTranscode):
        _transcoded(*_parts("JPGExtended.dcm"), ExplicitVRLittleEndian)  # 12 bits, for which there is no decoder
    with pytest.raises(CannotTranscode):
        _transcoded(data_set, "1.2.840.113619.5.2", ExplicitVRLittleEndian)
    with pytest.raises(CannotTranscode):
        _transcoded(*_parts("CT_small.dcm"), "1.2.840.10008.1.2.4.91")  # lossy: never
    with pytest.raises(CannotTranscode):
        _transcoded(*_parts("rtplan.dcm"), RLELossless)


def _transcoded(data_set: bytes, stored: str, target: str) -> bytes:
    with transcode(parse_header(data_set, stored), target) as file:
        return file.read()


def _json(data_set: bytes, transfer_syntax: str) -> dict[str, dict[str, object]]:
    elements = parse_header(data_set, transfer_syntax).dicom_json(bulk_data_uri=lambda path: path)
    return dict(_without_bulk_data(elements))


def _without_bulk_data(elements: dict[str, dict[str, object]]) -> Iterator[tuple[str, dict[str, object]]]:
    for tag, element in elements.items():
        yield tag, {} if tag == "7FE00010" else element
