"""One frame decoded, of every compression; what is damaged is an error by name, whatever the decoder does."""

import random
import signal
import subprocess
import sys
from itertools import chain
from typing import Any
from zlib import compress as deflated

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000Lossless

from fileroom_storage.errors import CannotDecode
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.pixels.codestream import codestream_size
from fileroom_storage.pixels.decoder_process import request_facts
from fileroom_storage.pixels.decoding import DEFLATED_IMAGE_FRAME, decode_frame
from fileroom_storage.pixels.isolated_decoder import IsolatedDecoder
from tests.corpus import PYDICOM
from tests.dicomweb.objects import encapsulated, part10

_FILES = PYDICOM / "test_files"
_LOSSLESS = (
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "rtdose_rle.dcm",
)
_LOSSY = ("SC_rgb_jpeg_gdcm.dcm", "JPEGLSNearLossless_16.dcm", "JPEG2000.dcm")


def _header(data: bytes) -> Header:
    meta = read_file_meta(data)
    return parse_header(memoryview(data)[meta.data_set_offset :], meta.transfer_syntax_uid)


def _file(name: str) -> tuple[Header, list[bytes]]:
    ds = dcmread(_FILES / name)
    frames = generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1)))
    return _header((_FILES / name).read_bytes()), list(frames)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("name", _LOSSLESS)
def test_stored_values_are_those_of_pydicom(name: str) -> None:
    header, frames = _file(name)
    ds = dcmread(_FILES / name)
    expected, properties = get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, index=0, raw=True)
    decoded = decode_frame(header, frames[0])
    assert np.array_equal(decoded.samples, expected)
    assert decoded.photometric_interpretation == properties["photometric_interpretation"]


def test_a_jpeg_that_names_its_colours_is_red_green_and_blue() -> None:
    header, [frame] = _file("SC_jpeg_no_color_transform_2.dcm")
    assert decode_frame(header, frame).photometric_interpretation == "RGB"


@pytest.mark.parametrize("name", [*_LOSSLESS, *_LOSSY])
def test_damage_is_an_error_by_name(name: str) -> None:
    header, frames = _file(name)
    changes = random.Random(name)
    for _ in range(8):
        damaged = bytearray(frames[0])
        for _ in range(changes.randint(1, 4)):
            damaged[changes.randrange(min(len(damaged), 400))] = changes.randrange(256)
        del damaged[changes.randrange(1, 2 * len(damaged)) :]
        try:
            decode_frame(header, bytes(damaged))
        except CannotDecode as error:
            assert str(error)  # noqa: PT017  # whether this damage can be seen is the decoder's to say
    with pytest.raises(CannotDecode):
        decode_frame(header, b"")
    with pytest.raises(CannotDecode):
        decode_frame(header, frames[0][:20])


_REQUEST = request_facts("1.2.840.10008.1.2.4.50", ["pillow"], {"rows": 8, "columns": 8, "samples_per_pixel": 1})


def test_a_decoder_that_dies_is_an_error_and_the_next_frame_has_another() -> None:
    dying = IsolatedDecoder((sys.executable, "-c", "import os; os.read(0, 1); os.abort()"))
    for _ in range(2):
        with pytest.raises(CannotDecode, match="the decoder failed"):
            dying.decode(_REQUEST, bytes(1_000_000))
    dying.close()


@pytest.mark.parametrize(
    "program", ["import time; time.sleep(600)", "import os; os.read(0, 1); [0 for _ in iter(int, 1)]"]
)
def test_a_decoder_that_never_ends_is_ended(program: str) -> None:
    endless = IsolatedDecoder((sys.executable, "-c", program), start_seconds=0.5, patience=0.01)
    with pytest.raises(CannotDecode, match="did not end"):
        endless.decode(_REQUEST, bytes(1_000_000))
    assert endless._process is None
    endless.close()


_LIES = {
    "4 GB of samples": "struct.pack('<QQ', 2, 1 << 32) + b'{}'",
    "4 GB of facts": "struct.pack('<QQ', 1 << 32, 0)",
    "no JSON": "struct.pack('<QQ', 2, 0) + b'{x'",
    "no facts": "struct.pack('<QQ', 2, 0) + b'{}'",
    "objects": 'struct.pack(\'<QQ\', 27, 8) + b\'{"dtype":"O","shape":[1]}\' + bytes(8)',
    "too few": 'struct.pack(\'<QQ\', 29, 8) + b\'{"dtype":"<u2","shape":[9]}\' + bytes(8)',
}


@pytest.mark.parametrize("lie", _LIES)
def test_a_decoder_that_was_taken_over_is_not_believed(lie: str) -> None:
    program = f"import os, struct, sys; sys.stdout.buffer.write({_LIES[lie]}); sys.stdout.flush(); os.read(0, 1 << 20)"
    lying = IsolatedDecoder((sys.executable, "-c", program))
    with pytest.raises(CannotDecode, match="the frame is damaged"):
        lying.decode(_REQUEST, bytes(1000))
    lying.close()


def test_what_a_frame_may_take_is_limited() -> None:
    program = "from fileroom_storage.pixels import decoder_process as one; one._limit(%r); x = bytearray(3 << 30)"
    done = subprocess.run([sys.executable, "-c", program % _REQUEST], capture_output=True, text=True)
    assert "MemoryError" in done.stderr
    program = "from fileroom_storage.pixels import decoder_process as one; one._limit(%r)\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", program % _REQUEST]).returncode == -signal.SIGXCPU


def test_a_native_frame_that_is_cut_off() -> None:
    header = _header(part10())
    assert decode_frame(header, bytes(128)).samples.shape == (8, 8)
    with pytest.raises(CannotDecode, match="127 of 128 bytes"):
        decode_frame(header, bytes(127))


@pytest.mark.parametrize(
    "attributes",
    [{"Rows": 0}, {"Columns": None}, {"BitsAllocated": 12}, {"BitsStored": 17}, {"SamplesPerPixel": 4}],
    ids=str,
)
def test_a_header_that_describes_no_image(attributes: dict[str, Any]) -> None:
    [keyword] = attributes
    name = "".join(chain.from_iterable((" ", letter) if letter.isupper() else letter for letter in keyword)).strip()
    with pytest.raises(CannotDecode, match=name.replace(" Per ", " per ")):
        decode_frame(_header(part10(**attributes)), bytes(128))


def test_rows_and_columns_that_nobody_has_memory_for() -> None:
    with pytest.raises(CannotDecode, match="too large"):
        decode_frame(_header(part10(Rows=65535, Columns=65535)), bytes(128))


def test_a_codestream_of_another_size_is_not_decoded() -> None:
    header, [frame] = _file("SC_rgb_jpeg_gdcm.dcm")
    assert codestream_size(frame) == (100, 100)
    at = frame.index(b"\x00\x64\x00\x64")
    huge = frame[:at] + b"\xff\xff\xff\xff" + frame[at + 4 :]
    with pytest.raises(CannotDecode, match="65535 rows of 65535 pixels, the header says 100 of 100"):
        decode_frame(header, huge)


def _stored_as(transfer_syntax_uid: str, frame: bytes) -> Header:
    """pydicom writes no objects of transfer syntaxes that it does not know; headers are explicit little endian."""
    data = encapsulated([frame], JPEG2000Lossless)
    return parse_header(memoryview(data)[read_file_meta(data).data_set_offset :], transfer_syntax_uid)


def test_a_transfer_syntax_without_a_decoder() -> None:
    with pytest.raises(CannotDecode, match=r"1\.2\.840\.10008\.1\.2\.4\.110"):
        decode_frame(_stored_as("1.2.840.10008.1.2.4.110", b"\0\0"), b"\0\0")


def test_a_deflated_frame() -> None:
    pixels = bytes(range(128))
    frame = deflated(pixels)[2:-4]
    header = _stored_as(DEFLATED_IMAGE_FRAME, frame)
    assert decode_frame(header, frame).samples.astype("<u2").tobytes() == pixels
    for damaged in (frame[:-20], b"\xff" * 40):
        with pytest.raises(CannotDecode):
            decode_frame(header, damaged)


def test_bits_above_bits_stored_are_cleared() -> None:
    header = _header(part10(BitsStored=12, HighBit=11, PixelRepresentation=1))
    values = np.full(64, 0x7801, "<u2")
    assert set(decode_frame(header, values.tobytes()).samples.reshape(-1).tolist()) == {-2047}
