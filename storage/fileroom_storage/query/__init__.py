"""From a Query to SQL to answers."""

from .query import MatchValue, Query
from .select import Answer, Finder

__all__ = ["Answer", "Finder", "MatchValue", "Query"]
