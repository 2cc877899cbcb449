"""Values that no column can hold as they are: the object is kept and found all the same, on every database."""

from typing import Any

import pytest

from fileroom_storage.attributes import Level
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.index.types import LONG_TEXT_LENGTH
from fileroom_storage.storage import Provenance, Query, Storage
from tests.made import made, part10, uid
from tests.storage.stored import store, tables_of, values_of

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    ("keyword", "value", "query"),
    [
        ("PatientName", "Do\0e^Jane", "doe^jane"),
        ("ImageType", ["ORI\0GINAL", "PRIMARY"], "ORIGINAL"),
        ("OtherPatientIDs", ["A\0B", "C"], "AB"),
        ("PatientID", "A\0B", "AB"),
        ("StudyDescription", "A\0B", "A\0B"),
    ],
)
def test_a_nul_in_a_text_does_not_count(storage: Storage, keyword: str, value: Any, query: str) -> None:
    assert store(storage, made(**{keyword: value})).status == "stored"
    assert store(storage, made(**{keyword: value})).status == "already stored"
    assert storage.count(Query(Level.IMAGE, {keyword: query})) == 1


def test_a_text_longer_than_a_statement_may_be(storage: Storage) -> None:
    """MariaDB hangs up on a statement of more than 16 MiB, and would on each of the others in its batch."""
    length = 15 << 20
    incoming = storage.receive()
    incoming.write(part10(made(ImageComments="x" * length, ImageType=["y" * length]), IMPLICIT_VR_LITTLE_ENDIAN))
    assert incoming.store(Provenance("import")).status == "stored"
    [answer] = storage.find(Query(Level.IMAGE))
    values = values_of(answer)
    assert values["ImageComments"] == "x" * LONG_TEXT_LENGTH
    assert "ImageType" not in values
    [instance] = storage.locate({"SOPInstanceUID": uid(1, 1, 1)})
    assert storage.header(instance).text("ImageComments") == "x" * length


def test_every_level_has_the_uids_that_it_was_stored_by(storage: Storage) -> None:
    data = part10(made(SOPInstanceUID=uid(1, 1, 11))).replace(uid(1, 1, 11).encode(), uid(1, 1, 1).encode() + b"\n")
    for expected in ("stored", "already stored"):
        incoming = storage.receive()
        incoming.write(data)
        assert incoming.store(Provenance("import")).status == expected
    column = standard_tables().registry["SOPInstanceUID"].column
    assert [row[column] for row in tables_of(storage)["dicom_instance"]] == [uid(1, 1, 1)]
