"""Command sets, held against pynetdicom's own encoding."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from fileroom_server.command_set import C_STORE_RQ, decode_command_set, encode_command_set, number, text


def test_what_pynetdicom_reads() -> None:
    encoded = encode_command_set(
        {
            0x0002: "1.2.840.10008.5.1.4.1.1.2",
            0x0100: 0x8001,
            0x0120: 7,
            0x0800: 0x0101,
            0x0900: 0xA700,
            0x0901: (0x00100010, 0x00100020),
            0x0902: "odd",
            0x1000: "1.2.3",
        }
    )
    read = decode(BytesIO(encoded), True, True)
    assert read.CommandGroupLength == len(encoded) - 12
    assert read.AffectedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert (read.CommandField, read.MessageIDBeingRespondedTo, read.CommandDataSetType) == (0x8001, 7, 0x0101)
    assert (read.Status, read.ErrorComment, read.AffectedSOPInstanceUID) == (0xA700, "odd", "1.2.3")
    assert [int(tag) for tag in read.OffendingElement] == [0x00100010, 0x00100020]


def test_what_pynetdicom_writes() -> None:
    command = Dataset()
    command.CommandGroupLength = 0
    command.AffectedSOPClassUID = "1.2.840.10008.1.1"
    command.CommandField = C_STORE_RQ
    command.MessageID = 65535
    command.MoveOriginatorApplicationEntityTitle = "MOVER"
    elements = decode_command_set(encode(command, True, True) or b"")
    assert text(elements, 0x0002) == "1.2.840.10008.1.1"
    assert number(elements, 0x0100) == C_STORE_RQ
    assert number(elements, 0x0110) == 65535
    assert text(elements, 0x1030) == "MOVER"
    assert number(elements, 0x0700) is None
    assert text(elements, 0x1000) is None


@pytest.mark.parametrize(
    "encoded",
    [b"\x00", b"\x00\x00\x02\x00\xff\xff\x00\x00", b"\x08\x00\x02\x00\x02\x00\x00\x001 ", bytes(7)],
    ids=["one byte", "a length beyond the end", "another group", "half a head"],
)
def test_what_is_none(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="command set"):
        decode_command_set(encoded)


def test_a_number_of_the_wrong_length_is_none() -> None:
    assert number({0x0110: b"\x01"}, 0x0110) is None
