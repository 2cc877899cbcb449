"""Finds the rows of the attribute table by keyword, tag and level."""

from collections.abc import Iterable
from functools import cache

from .attribute import Attribute, KeyType, Level, Origin
from .table import ATTRIBUTES

# Many ask for studies by Modality, which is of series; what they mean is clear.
_MEANT = {(Level.STUDY, "Modality"): "ModalitiesInStudy"}


class Registry:
    """The attributes this index knows, in the order of their declaration."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self.attributes = tuple(attributes)
        self._by_keyword = {attribute.keyword: attribute for attribute in self.attributes}
        self._by_tag = {attribute.tag: attribute for attribute in self.attributes}
        if len(self._by_keyword) != len(self.attributes):
            raise ValueError("an attribute is declared twice")
        self._at_level = {
            level: tuple(attribute for attribute in self.attributes if attribute.level is level) for level in Level
        }
        self._in_header = {
            level: tuple(attribute for attribute in rows if attribute.origin is Origin.HEADER)
            for level, rows in self._at_level.items()
        }

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._by_keyword

    def __getitem__(self, keyword: str) -> Attribute:
        return self._by_keyword[keyword]

    def get(self, keyword: str) -> Attribute | None:
        return self._by_keyword.get(keyword)

    def by_tag(self, tag: int) -> Attribute | None:
        return self._by_tag.get(tag)

    def meant(self, attribute: Attribute, level: Level) -> Attribute:
        """The attribute that a query for `level` means by this one; mostly itself."""
        return self._by_keyword.get(_MEANT.get((level, attribute.keyword), ""), attribute)

    def at_level(self, level: Level) -> tuple[Attribute, ...]:
        return self._at_level[level]

    def in_header(self, level: Level) -> tuple[Attribute, ...]:
        """What is read from headers for this level."""
        return self._in_header[level]

    def unique_key(self, level: Level) -> Attribute:
        # PS3.4 C.2.2.1.1: one unique key a level
        return next(row for row in self._at_level[level] if row.key_type is KeyType.UNIQUE)


@cache
def standard_registry() -> Registry:
    """The registry of the declared table."""
    return Registry(ATTRIBUTES)
