"""The attributes the index knows: declared once in `table.py`."""

from .attribute import Attribute, KeyType, Level, Origin, snake_case
from .matching_types import matching_types
from .registry import Registry, standard_registry
from .table import ATTRIBUTES

__all__ = [
    "ATTRIBUTES",
    "Attribute",
    "KeyType",
    "Level",
    "Origin",
    "Registry",
    "matching_types",
    "snake_case",
    "standard_registry",
]
