"""C-STORE: every storage SOP Class and transfer syntax, kept as received; what cannot be kept has its status."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from fileroom_storage.errors import StorageUnavailable, UnusableObject, UnusableReason
from fileroom_storage.storage import Storage
from tests.made import CT_IMAGE_STORAGE, encoded, made, uid
from tests.server.dimse.conftest import Entity
from tests.server.dimse.scu import associated, error_comment, run, store_bytes
from tests.storage.stored import tables_of

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"
PRIVATE_SYNTAX = "1.2.840.113619.5.2"
RETIRED_CLASS = "1.2.840.10008.5.1.4.1.1.6"  # Ultrasound Image Storage (Retired)
UNKNOWN_CLASS = "1.2.840.10008.5.1.4.1.1.9999.1"
SOP_INSTANCE = uid(1, 1, 1)


def _file(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def _stored(storage: Storage, sop_instance_uid: str) -> tuple[bytes, str]:
    (instance,) = storage.locate({"SOPInstanceUID": sop_instance_uid})
    return storage.read_data_set(instance), instance.transfer_syntax_uid


@pytest.mark.parametrize(
    ("name", "option", "transfer_syntax"),
    [
        ("CT_small.dcm", "-xe", EXPLICIT),
        ("MR_small_implicit.dcm", "-xi", IMPLICIT),
        ("SC_rgb_jpeg_dcmtk.dcm", "-xy", JPEGBaseline8Bit),
        ("SC_rgb_jpeg_lossy_gdcm.dcm", "-xy", JPEGBaseline8Bit),
        ("SC_rgb_jpeg_gdcm.dcm", "-xs", JPEGLosslessSV1),
        ("MR_small_jpeg_ls_lossless.dcm", "-xt", JPEGLSLossless),
        ("image_dfl.dcm", "-xd", DeflatedExplicitVRLittleEndian),
        ("MR_small_bigendian.dcm", "-xb", ExplicitVRBigEndian),
        ("MR_small_jp2klossless.dcm", "-xv", JPEG2000Lossless),
        ("MR_small_RLE.dcm", "-xr", RLELossless),
    ],
)
def test_storescu(entity: Entity, name: str, option: str, transfer_syntax: str) -> None:
    path = _file(name)
    sent = dcmread(path)
    run("storescu", "-R", option, "127.0.0.1", entity.port, path)
    (instance,) = entity.storage.locate({"SOPInstanceUID": sent.SOPInstanceUID})
    assert instance.transfer_syntax_uid == sent.file_meta.TransferSyntaxUID == transfer_syntax
    with entity.storage.open_object(instance) as file:
        # dcmtk writes the elements anew; the pixels are the same bytes
        assert dcmread(file).PixelData == sent.PixelData


@pytest.mark.parametrize("sop_class", [CT_IMAGE_STORAGE, PRIVATE_CLASS, RETIRED_CLASS, UNKNOWN_CLASS])
def test_every_sop_class_is_kept_byte_for_byte(entity: Entity, sop_class: str) -> None:
    data_set = encoded(made(SOPClassUID=sop_class), implicit=True)
    with associated(entity.port, (sop_class, IMPLICIT)) as association:
        assert store_bytes(association, data_set, sop_class, SOP_INSTANCE).Status == 0x0000
    assert _stored(entity.storage, SOP_INSTANCE) == (data_set, IMPLICIT)


def test_unknown_private_transfer_syntax(entity: Entity) -> None:
    data_set = encoded(made())
    with associated(entity.port, (CT_IMAGE_STORAGE, PRIVATE_SYNTAX)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert _stored(entity.storage, SOP_INSTANCE) == (data_set, PRIVATE_SYNTAX)


def test_the_first_transfer_syntax_that_is_proposed_is_accepted(entity: Entity) -> None:
    contexts = [
        (CT_IMAGE_STORAGE, [EXPLICIT, IMPLICIT]),
        (CT_IMAGE_STORAGE, [IMPLICIT, EXPLICIT]),
        (CT_IMAGE_STORAGE, [JPEG2000Lossless, EXPLICIT]),
    ]
    with associated(entity.port, *contexts) as association:
        accepted = [context.transfer_syntax[0] for context in association.accepted_contexts]
    assert accepted == [EXPLICIT, IMPLICIT, JPEG2000Lossless]


def test_what_is_no_storage_is_not_accepted(entity: Entity) -> None:
    others = [
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.3.10",  # Media Storage Directory Storage
        "1.2.840.10008.5.1.4.31",  # Modality Worklist - FIND
        "1.2.840.10008.3.1.2.1.1",  # Detached Patient Management (Retired)
    ]
    with associated(entity.port, CT_IMAGE_STORAGE, *others) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [CT_IMAGE_STORAGE]
        # PS3.8 9.3.3.2: abstract-syntax-not-supported
        assert {context.result for context in association.rejected_contexts} == {3}


def test_who_sent_it_is_recorded(entity: Entity) -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT), calling="MODALITY", called="ARCHIVE") as association:
        for number in (1, 2):
            data_set = encoded(made(SOPInstanceUID=uid(1, 1, number)), implicit=True)
            store_bytes(association, data_set, CT_IMAGE_STORAGE, uid(1, 1, number))
    rows = tables_of(entity.storage)["dicom_instance"]
    assert [(row["calling_ae_title"], row["called_ae_title"]) for row in rows] == [("MODALITY", "ARCHIVE")] * 2
    assert len({row["association"] for row in rows}) == 1
    assert rows[0]["association"]


def test_a_conflict_is_kept_and_a_success(entity: Entity) -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        for name in ("Doe^Jane", "Roe^Richard"):
            data_set = encoded(made(PatientName=name), implicit=True)
            assert store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert list(entity.storage.conflicts())


@pytest.mark.parametrize("other", [{"SOPInstanceUID": uid(1, 1, 2)}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}])
def test_an_object_announced_under_another_uid_is_kept_with_a_warning(entity: Entity, other: dict[str, str]) -> None:
    data_set = encoded(made(**other), implicit=True)
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        response = store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE)
    assert response.Status == 0xB007  # PS3.4 Table B.2-1
    assert "differ" in error_comment(response)
    assert _stored(entity.storage, other.get("SOPInstanceUID", SOP_INSTANCE)) == (data_set, IMPLICIT)


def test_a_large_object_goes_through_a_file(entity: Entity) -> None:
    data_set = encoded(made(PixelData=bytes(range(256)) * (80 << 10), Rows=1024, Columns=1024, BitsAllocated=8))
    assert len(data_set) > 20 << 20
    with associated(entity.port, (CT_IMAGE_STORAGE, EXPLICIT)) as association:
        assert store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert _stored(entity.storage, SOP_INSTANCE) == (data_set, EXPLICIT)


@pytest.mark.parametrize(
    ("data_set", "status", "comment"),
    [
        (encoded(made(), implicit=True)[:-3], 0xC001, "cut off"),
        (encoded(made(StudyInstanceUID=None), implicit=True), 0xC005, "StudyInstanceUID"),
        (encoded(made(StudyInstanceUID="../../etc/passwd"), implicit=True), 0xC006, "StudyInstanceUID"),
        # an element that announces 4 GiB
        (encoded(made(), implicit=True) + b"\xe0\x7f\x10\x00\xf0\xff\xff\xff", 0xC001, "cut off"),
    ],
    ids=["truncated", "no UID", "path as UID", "lying length"],
)
def test_what_cannot_be_kept(entity: Entity, data_set: bytes, status: int, comment: str) -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        response = store_bytes(association, data_set, CT_IMAGE_STORAGE, SOP_INSTANCE)
        assert response.Status == status
        assert comment in error_comment(response)
        assert len(error_comment(response)) <= 64
        # and the next one is served
        good = encoded(made(), implicit=True)
        assert store_bytes(association, good, CT_IMAGE_STORAGE, SOP_INSTANCE).Status == 0x0000
    assert len(list(entity.storage.locate({"StudyInstanceUID": uid(1)}))) == 1


def test_a_request_that_lacks_a_parameter_is_answered(entity: Entity) -> None:
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        response = store_bytes(association, encoded(made(), implicit=True), CT_IMAGE_STORAGE, None)
    assert response.Status == 0xC010
    assert error_comment(response) == "AffectedSOPInstanceUID is missing or too long"


@pytest.mark.parametrize(
    ("error", "status", "comment"),
    [
        (StorageUnavailable("the disk is full; free some space"), 0xA700, "the disk is full; free some space"),
        (UnusableObject(UnusableReason.NESTED_TOO_DEEP, "nested"), 0xC003, "nested"),
        (ZeroDivisionError("Doe^Jane"), 0x0110, "internal error; the log of the server tells more"),
    ],
)
def test_errors_of_storage(
    entity: Entity, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, comment: str
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Storage, "store_data_set", fail)
    with associated(entity.port, (CT_IMAGE_STORAGE, IMPLICIT)) as association:
        response = store_bytes(association, encoded(made(), implicit=True), CT_IMAGE_STORAGE, SOP_INSTANCE)
        assert (response.Status, error_comment(response)) == (status, comment)
        assert association.is_established
