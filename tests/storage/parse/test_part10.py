"""File Meta Information: as written, and as met."""

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import read_partial
from pydicom.uid import UID

from fileroom_storage.errors import UnusableObject, UnusableReason
from fileroom_storage.parse.part10 import encode_file_meta, read_file_meta
from tests.corpus import corpus_files, parameters, pydicom_files
from tests.storage.parse.encoded import BIG_ENDIAN, IMPLICIT, JPEG, LITTLE_ENDIAN, explicit, implicit

SOP_INSTANCE = explicit(0x00080018, "UI", b"1.2\0")
# in the folders of pydicom's test files
NOT_DICOM = {
    *("FileInfo.txt", "README", "README.txt", "crayons.icc", "rtplan.dump", "rtstruct.dump", "test1.json"),
    *("test_PN.json", "zipMR.gz"),
    "no_meta.dcm",  # starts with a blank
}
STUDY = explicit(0x0020000D, "UI", b"1.2.3\0")


def meta(transfer_syntax_uid: str = LITTLE_ENDIAN, title: str | None = "MODALITY") -> bytes:
    return encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=transfer_syntax_uid,
        source_application_entity_title=title,
    )


def test_what_is_written_is_read() -> None:
    file_meta = read_file_meta(meta(JPEG) + SOP_INSTANCE)
    assert file_meta.transfer_syntax_uid == JPEG
    assert file_meta.media_storage_sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert file_meta.media_storage_sop_instance_uid == "1.2.3"
    assert file_meta.source_application_entity_title == "MODALITY"
    assert file_meta.data_set_offset == len(meta(JPEG))
    assert file_meta.has_preamble


def test_pydicom_reads_what_is_written() -> None:
    data_set = pydicom.dcmread(io.BytesIO(meta() + SOP_INSTANCE))
    assert data_set.SOPInstanceUID == "1.2"
    assert data_set.file_meta.FileMetaInformationGroupLength == len(meta()) - 144
    assert data_set.file_meta.FileMetaInformationVersion == b"\0\1"
    assert UID(data_set.file_meta.ImplementationClassUID).is_valid
    assert data_set.file_meta.ImplementationVersionName == "FILEROOM"
    assert data_set.file_meta.SourceApplicationEntityTitle == "MODALITY"


def test_an_unknown_sender_is_left_out() -> None:
    assert read_file_meta(meta(title=None) + SOP_INSTANCE).source_application_entity_title is None


@pytest.mark.parametrize("garbled", ["1.2\0.840.10008.1.2.1", "\xe9.2.840", "1." * 40 + "1"])
def test_a_transfer_syntax_that_is_no_uid_is_that_of_the_data_set(garbled: str) -> None:
    value = garbled.encode("latin_1")
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    content = bytes(128) + b"DICM" + element + SOP_INSTANCE + STUDY
    assert read_file_meta(content).transfer_syntax_uid == LITTLE_ENDIAN


def test_any_buffer() -> None:
    content = meta() + SOP_INSTANCE
    expected = read_file_meta(content)
    assert read_file_meta(bytearray(content)) == expected
    assert read_file_meta(memoryview(content)) == expected


def test_without_preamble() -> None:
    content = meta(IMPLICIT)[132:] + implicit(0x00080018, b"1.2\0")
    file_meta = read_file_meta(content)
    assert file_meta.transfer_syntax_uid == IMPLICIT
    assert not file_meta.has_preamble
    assert file_meta.data_set_offset == len(meta(IMPLICIT)) - 132


@pytest.mark.parametrize(
    ("data_set", "transfer_syntax_uid"),
    [
        (SOP_INSTANCE + STUDY, LITTLE_ENDIAN),
        (implicit(0x00080018, b"1.2\0") + implicit(0x0020000D, b"1.2.3\0"), IMPLICIT),
        (explicit(0x00080018, "UI", b"1.2\0", order=">") + explicit(0x0020000D, "UI", b"1.3\0", order=">"), BIG_ENDIAN),
    ],
)
@pytest.mark.parametrize("preamble", [b"", bytes(128) + b"DICM"])
def test_without_meta_the_transfer_syntax_is_what_the_data_set_shows(
    data_set: bytes, transfer_syntax_uid: str, preamble: bytes
) -> None:
    file_meta = read_file_meta(preamble + data_set)
    assert file_meta.transfer_syntax_uid == transfer_syntax_uid
    assert file_meta.data_set_offset == len(preamble)
    assert file_meta.has_preamble == bool(preamble)


def test_the_group_length_is_not_believed() -> None:
    content = bytearray(meta())
    content[140:144] = b"\xff\xff\0\0"
    assert read_file_meta(bytes(content) + SOP_INSTANCE).data_set_offset == len(content)


@pytest.mark.parametrize("order", ["<", ">"])
def test_meta_in_another_encoding(order: str) -> None:
    group = explicit(0x00020002, "UI", b"1.2\0", order=order) + explicit(0x00020010, "UI", JPEG.encode(), order=order)
    assert read_file_meta(bytes(128) + b"DICM" + group + SOP_INSTANCE).transfer_syntax_uid == JPEG
    group = implicit(0x00020002, b"1.2\0", order=order) + implicit(0x00020010, JPEG.encode(), order=order)
    assert read_file_meta(bytes(128) + b"DICM" + group + SOP_INSTANCE).transfer_syntax_uid == JPEG


def test_the_prefix_may_be_part_of_a_value() -> None:
    data_set = explicit(0x00080005, "CS", b"ISO_IR 100") + explicit(0x00080080, "LO", b"x" * 102 + b"DICM" + b"y" * 20)
    assert data_set[128:132] == b"DICM"
    file_meta = read_file_meta(data_set + STUDY)
    assert (file_meta.data_set_offset, file_meta.has_preamble) == (0, False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"DICOM",
        b"\0" * 200,
        b"hello, world\n" * 100,
        b"PK\3\4" + bytes(300),
        b"\x1f\x8b\x08\0" + bytes(range(256)),
    ],
)
def test_what_is_not_dicom(content: bytes) -> None:
    with pytest.raises(UnusableObject, match="not a DICOM file") as caught:
        read_file_meta(content)
    assert caught.value.reason is UnusableReason.NOT_DICOM


@pytest.mark.parametrize("length", [132, 140, 150, 200, 300])
def test_cut_off_in_the_meta(length: int) -> None:
    with pytest.raises(UnusableObject) as caught:
        read_file_meta(meta()[:length])
    assert caught.value.reason is UnusableReason.TRUNCATED


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values that are not as they should be
@pytest.mark.parametrize("path", parameters([*pydicom_files(), *corpus_files()]))
def test_against_pydicom(path: Path) -> None:
    content = path.read_bytes()
    if path.name in NOT_DICOM:
        with pytest.raises(UnusableObject, match="not a DICOM file"):
            read_file_meta(content)
        return
    file_meta = read_file_meta(content)
    expected = read_partial(io.BytesIO(content), lambda _tag, _vr, _length: True, force=True).file_meta
    assert file_meta.media_storage_sop_class_uid == (expected.get("MediaStorageSOPClassUID") or None)
    assert file_meta.media_storage_sop_instance_uid == (expected.get("MediaStorageSOPInstanceUID") or None)
    assert file_meta.source_application_entity_title == (expected.get("SourceApplicationEntityTitle") or None)
    if "TransferSyntaxUID" in expected:
        assert file_meta.transfer_syntax_uid == expected.TransferSyntaxUID
