"""Every image of the wheel and the corpus in other transfer syntaxes: the same pixels, by pydicom."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from fileroom_storage.errors import CannotTranscode, UnusableObject
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import encode_file_meta, read_file_meta
from fileroom_storage.pixels.compression import targets_of
from fileroom_storage.pixels.transcoding import transcode
from fileroom_storage.pixels.transfer_syntaxes import COMPRESSED, TARGETS
from tests.corpus import corpus_files, corpus_studies, parameters, pydicom_files

_LONGEST = 400_000
_UNCOMPRESSED = (ExplicitVRLittleEndian, ExplicitVRBigEndian)
# Its samples go beyond Bits Stored; pydicom takes GDCM for it, which cuts them off.
_OVERSHOOTS = "jpeg2000-multiframe-multifragments.dcm"
# pyjpegls keeps too little room for the codestream of images of a few pixels
_FEW_PIXELS = 1500


def _small(files: list[Path]) -> list[Path]:
    return [path for path in files if path.stat().st_size <= _LONGEST]


def _header(file: bytes) -> Header | None:
    try:
        meta = read_file_meta(file)
        return parse_header(memoryview(file)[meta.data_set_offset :], meta.transfer_syntax_uid)
    except UnusableObject:
        return None


def _part10(header: Header, target: str) -> bytes:
    meta = encode_file_meta(sop_class_uid="1.2.3", sop_instance_uid="1.2.3.4", transfer_syntax_uid=target)
    with transcode(header, target, meta) as file:
        return file.read()


@pytest.mark.parametrize(
    "path", parameters([*_small(pydicom_files()), *_small(corpus_files()), *corpus_studies()[::90]])
)
def test_pixels_are_the_same(path: Path) -> None:
    file = path.read_bytes()
    header = _header(file)
    if header is None or header.pixel_data is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what these files hold
        try:
            expected = pixel_array(dcmread(BytesIO(file), force=True))
        except Exception:  # noqa: BLE001  # what pydicom cannot decode is no oracle
            return
        targets = targets_of(header)
        for target in (*_UNCOMPRESSED, *COMPRESSED):
            if target in targets and not _is_special(path, header, target, expected):
                assert np.array_equal(pixel_array(dcmread(BytesIO(_part10(header, target)))), expected), target.name


def _is_special(
    path: Path, header: Header, target: str, expected: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
) -> bool:
    if path.name == _OVERSHOOTS:
        return True
    single_bits = header.data_set.number(0x00280100) == 1
    if target == ExplicitVRBigEndian and single_bits:
        return True  # PS3.5 8.2 swaps the words of OW, which pydicom leaves as they are
    return expected.size < _FEW_PIXELS and target in COMPRESSED


@pytest.mark.parametrize("path", parameters(_small(pydicom_files())))
def test_what_is_not_listed_is_refused(path: Path) -> None:
    header = _header(path.read_bytes())
    if header is None:
        return
    for target in set(TARGETS) - set(targets_of(header)) - {header.transfer_syntax_uid}:
        with pytest.raises(CannotTranscode):
            transcode(header, target)
