"""The table of statuses."""

import pytest

from fileroom_server.status import (
    FAILURE_MEANINGS,
    InvalidArgumentValue,
    InvalidRequest,
    MissingAttribute,
    MissingAttributeValue,
    MoveDestinationUnknown,
    NoSuchAction,
    NoSuchSopClass,
    NoSuchSopInstance,
    Service,
    SopClassNotSupported,
    comment,
    failure_reason,
    status_of,
)
from fileroom_storage.errors import (
    DuplicateTransaction,
    InvalidQuery,
    ObjectDamaged,
    ObjectMissing,
    SchemaNotCurrent,
    StorageNotWritable,
    StorageUnavailable,
    UnusableObject,
    UnusableReason,
)
from fileroom_storage.storage import NotCommitted

STORE, FIND, MOVE, GET = Service.C_STORE, Service.C_FIND, Service.C_MOVE, Service.C_GET
ACTION = Service.N_ACTION


@pytest.mark.parametrize(
    ("error", "service", "code"),
    [
        (StorageUnavailable("away"), ACTION, 0x0213),
        (SchemaNotCurrent("old"), ACTION, 0x0213),
        (InvalidRequest("bad"), ACTION, 0x0115),
        (NoSuchAction("no"), ACTION, 0x0123),
        (NoSuchSopClass("no"), ACTION, 0x0118),
        (NoSuchSopInstance("no"), ACTION, 0x0112),
        (MissingAttribute("no"), ACTION, 0x0120),
        (MissingAttributeValue("no"), ACTION, 0x0121),
        (InvalidArgumentValue("no"), ACTION, 0x0115),
        (DuplicateTransaction("twice"), ACTION, 0x0131),
        (UnusableObject(UnusableReason.TRUNCATED, "cut"), ACTION, 0x0115),
        (OSError("disk"), ACTION, 0x0110),
        (StorageUnavailable("away"), STORE, 0xA700),
        (StorageUnavailable("away"), FIND, 0xA700),
        (StorageUnavailable("away"), MOVE, 0xA701),
        (StorageUnavailable("away"), GET, 0xA701),
        (StorageNotWritable("full"), STORE, 0xA700),
        (StorageNotWritable("full"), MOVE, 0xA701),
        (SchemaNotCurrent("old"), STORE, 0xA700),
        (SchemaNotCurrent("old"), GET, 0xA701),
        (InvalidQuery("bad"), FIND, 0xA900),
        (InvalidQuery("bad"), MOVE, 0xA900),
        (InvalidRequest("bad"), STORE, 0xC010),
        (SopClassNotSupported("no"), FIND, 0x0122),
        (MoveDestinationUnknown("who"), MOVE, 0xA801),
        (ObjectMissing("lost"), GET, 0x0110),
        (ObjectDamaged("other bytes"), GET, 0x0110),
        (OSError("disk"), STORE, 0x0110),
        (RecursionError(), FIND, 0x0110),
    ],
)
def test_codes(error: Exception, service: Service, code: int) -> None:
    assert status_of(error, service).code == code


@pytest.mark.parametrize("reason", UnusableReason)
def test_every_reason_has_a_code(reason: UnusableReason) -> None:
    status = status_of(UnusableObject(reason, "it is so"), STORE)
    # PS3.4 Table B.2-1
    assert 0xA900 <= status.code <= 0xA9FF or 0xC000 <= status.code <= 0xCFFF
    assert status.comment == "it is so"
    assert status_of(UnusableObject(reason, "it is so"), FIND).code == 0xA900


def test_reasons_are_told_apart() -> None:
    codes = [status_of(UnusableObject(reason, ""), STORE).code for reason in UnusableReason]
    own = [code for code in codes if code >= 0xC000]
    assert len(set(own)) == len(own) == len(UnusableReason) - 1  # another study than asked for is A900


def test_offending_elements() -> None:
    assert status_of(InvalidQuery("bad", "StudyDate"), FIND).offending_element == 0x00080020
    assert status_of(InvalidQuery("bad"), FIND).offending_element is None


def test_damage_is_told_and_is_no_surprise() -> None:
    assert status_of(ObjectDamaged("the store has other bytes"), GET).comment == "the store has other bytes"


def test_what_nobody_expected_is_not_told() -> None:
    assert "Doe" not in status_of(ValueError("Doe^Jane"), STORE).comment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("x" * 64, "x" * 64),
        ("x" * 100, "x" * 64),
        ("Größe\\Länge\nx", "Gr??e/L?nge x"),
        (
            "the first clause says enough; the second says much more than there is room for",
            "the first clause says enough",
        ),
        ("one two three four five six seven eight nine ten eleven twelve thirteen", None),
    ],
)
def test_comments(text: str, expected: str | None) -> None:
    cut = comment(text)
    assert len(cut) <= 64
    assert cut.isascii()
    if expected is None:
        assert text.startswith(f"{cut} ")
    else:
        assert cut == expected


def test_what_is_wrong_is_named() -> None:
    assert status_of(MissingAttribute("it is missing", "TransactionUID"), ACTION).offending_element == 0x00081195


def test_every_reason_for_no_commitment_is_told() -> None:
    told = {failure_reason(why, is_storage_class=of_storage) for why in NotCommitted for of_storage in (True, False)}
    assert told == FAILURE_MEANINGS.keys()
