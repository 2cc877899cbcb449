"""Objects whose every byte follows from their UIDs, so that what comes back can be told from what was sent."""

import hashlib
import random
import struct
from dataclasses import dataclass

from tests.made import CT_IMAGE_STORAGE, ROOT

EXPLICIT = "1.2.840.10008.1.2.1"
_PATIENTS = 3
_SMALL = (200, 8_000)
_LARGE = (70_000, 120_000)  # written to the disk while it is received
_ONE_IN = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object stands, by the numbers that its UIDs end with; `version` is one of its possible contents."""

    root: str  # of one sender
    study: int
    series: int
    instance: int
    version: int = 0

    @property
    def study_instance_uid(self) -> str:
        return f"{ROOT}.{self.root}.{self.study}"

    @property
    def series_instance_uid(self) -> str:
        return f"{self.study_instance_uid}.{self.series}"

    @property
    def sop_instance_uid(self) -> str:
        return f"{self.series_instance_uid}.{self.instance}"

    @classmethod
    def of_uid(cls, sop_instance_uid: str) -> "Place":
        root, study, series, instance = sop_instance_uid.removeprefix(f"{ROOT}.").rsplit(".", 3)
        return cls(root, int(study), int(series), int(instance))


def data_set(place: Place) -> bytes:
    """The encoded data set, explicit VR little endian."""
    seed = f"{place.sop_instance_uid}#{place.version}"
    chance = random.Random(seed)
    length = chance.randrange(*(_SMALL if chance.randrange(_ONE_IN) else _LARGE)) & ~1
    return b"".join(
        (
            _element(0x0008, 0x0016, b"UI", CT_IMAGE_STORAGE),
            _element(0x0008, 0x0018, b"UI", place.sop_instance_uid),
            _element(0x0008, 0x0060, b"CS", "CT"),
            _element(0x0010, 0x0010, b"PN", f"Fault^Number {place.study % _PATIENTS}"),
            # several senders and studies share a patient
            _element(0x0010, 0x0020, b"LO", f"FAULT{place.study % _PATIENTS}"),
            _element(0x0020, 0x000D, b"UI", place.study_instance_uid),
            _element(0x0020, 0x000E, b"UI", place.series_instance_uid),
            _element(0x0020, 0x0013, b"IS", str(place.instance)),
            _number(0x0028, 0x0002, 1),
            _element(0x0028, 0x0004, b"CS", "MONOCHROME2"),
            _number(0x0028, 0x0010, 1),
            _number(0x0028, 0x0011, length // 2),
            _number(0x0028, 0x0100, 16),
            _number(0x0028, 0x0101, 16),
            _number(0x0028, 0x0102, 15),
            _number(0x0028, 0x0103, 0),
            struct.pack("<HH2sxxI", 0x7FE0, 0x0010, b"OW", length),
            chance.randbytes(length),
        )
    )


def part10(place: Place) -> bytes:
    content = b"".join(
        (
            struct.pack("<HH2sxxI", 0x0002, 0x0001, b"OB", 2) + b"\0\1",
            _element(0x0002, 0x0002, b"UI", CT_IMAGE_STORAGE),
            _element(0x0002, 0x0003, b"UI", place.sop_instance_uid),
            _element(0x0002, 0x0010, b"UI", EXPLICIT),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(content))
    return bytes(128) + b"DICM" + length + content + data_set(place)


def digest(place: Place) -> str:
    return hashlib.sha256(data_set(place)).hexdigest()


def _element(group: int, element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def _number(group: int, element: int, value: int) -> bytes:
    return struct.pack("<HH2sHH", group, element, b"US", 2, value)
