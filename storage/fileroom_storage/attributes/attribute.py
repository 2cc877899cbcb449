"""What one row of the attribute table says, and what follows from the standard's dictionary."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword


class Level(StrEnum):
    """Query/Retrieve Level (PS3.4 C.6), from the top of the hierarchy down."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"

    @property
    def rank(self) -> int:
        return _LEVELS.index(self)

    @property
    def entity(self) -> str:
        """The information entity at this level, as tables name it."""
        return "instance" if self is Level.IMAGE else self.value.lower()

    def up_to(self) -> tuple["Level", ...]:
        """This level and those above it, from PATIENT down."""
        return _LEVELS[: self.rank + 1]


_LEVELS = tuple(Level)


class KeyType(StrEnum):
    """How a C-FIND key has to be supported (PS3.4 C.2.2.1)."""

    UNIQUE = "U"
    REQUIRED = "R"
    OPTIONAL = "O"


class Origin(StrEnum):
    """Where an attribute's value comes from."""

    HEADER = "header"  # the objects' headers
    COUNTED = "counted"  # kept exact by the index as objects come and go
    SERVER = "server"  # the same for everything this server holds


_LONG_TEXT_VRS = frozenset({"LT", "ST", "UT", "UC", "UR"})
_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Attribute:
    """One searchable attribute: tag, VR and VM come from the standard's dictionary (PS3.6)."""

    keyword: str
    level: Level
    key_type: KeyType = KeyType.OPTIONAL
    indexed: bool = False
    origin: Origin = Origin.HEADER
    items: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if tag_for_keyword(self.keyword) is None:
            raise ValueError(f"{self.keyword} is not a keyword of the DICOM dictionary")
        if bool(self.items) != (self.vr == "SQ"):
            raise ValueError(f"{self.keyword}: a sequence, and only a sequence, names its item attributes")

    @cached_property
    def tag(self) -> int:
        tag = tag_for_keyword(self.keyword)
        if tag is None:
            raise KeyError(self.keyword)
        return tag

    @cached_property
    def tag_hex(self) -> str:
        return f"{self.tag:08X}"

    @cached_property
    def vr(self) -> str:
        # "US or SS" depends on Pixel Representation; the wider reading serves both
        return dictionary_VR(self.tag).replace("US or SS", "SS")

    @cached_property
    def vm(self) -> str:
        return dictionary_VM(self.tag)

    @cached_property
    def multi_valued(self) -> bool:
        return self.vm != "1" and self.vr != "SQ"

    @cached_property
    def long_text(self) -> bool:
        return self.vr in _LONG_TEXT_VRS

    @cached_property
    def column(self) -> str:
        return snake_case(self.keyword)

    @cached_property
    def item_attributes(self) -> tuple["Attribute", ...]:
        """The item attributes of a sequence, at the sequence's level."""
        return tuple(Attribute(keyword, self.level) for keyword in self.items)


def snake_case(keyword: str) -> str:
    """`SOPClassesInStudy` → `sop_classes_in_study`."""
    return _WORD_BREAK.sub("_", keyword.replace("IDs", "Ids").replace("UIDs", "Uids")).lower()
