"""Column types by VR, the same on every database: text compares byte by byte, numbers and dates as what they are."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, Date, DateTime, Double, Integer, LargeBinary, String, Text, Time, TypeDecorator
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from ..attributes import Attribute

# PS3.5 6.2 allows 64 characters at most for LO; what devices send is longer at times.
TEXT_LENGTH = 255
UID_LENGTH = 64  # PS3.5 9.1
# PS3.5 6.2 allows 10240 characters for LT. A row must stay far below what MariaDB takes in one statement, 16 MiB.
LONG_TEXT_LENGTH = 65_536
RESIDUE_LENGTH = 1 << 20  # bytes
FRAME_TABLE_LENGTH = 4 << 20  # bytes


def _exact_collation(dialect: Dialect) -> str:
    # utf8mb4_bin would pad with spaces before it compares: "a" = "a ", and "a\n" < "a"
    return "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"


class ExactText(TypeDecorator[str]):
    """A short text with byte order and case kept apart: PS3.4 C.2.2.2.1 matches all but PN case-sensitively."""

    impl = String
    cache_ok = True

    def __init__(self, length: int = TEXT_LENGTH) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return mysql.VARCHAR(self.length, charset="utf8mb4", collation=_exact_collation(dialect))
        if dialect.name == "postgresql":
            return postgresql.VARCHAR(self.length, collation="C")
        return String(self.length)


class Uid(TypeDecorator[str]):
    """A key UID: ASCII, 64 characters at most."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return mysql.VARCHAR(UID_LENGTH, charset="ascii", collation="ascii_bin")
        if dialect.name == "postgresql":
            return postgresql.VARCHAR(UID_LENGTH, collation="C")
        return String(UID_LENGTH)


class LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return mysql.MEDIUMTEXT(charset="utf8mb4", collation=_exact_collation(dialect))
        if dialect.name == "postgresql":
            return postgresql.TEXT(collation="C")
        return Text()


def microsecond_time() -> TypeEngine[Any]:
    return Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")


def microsecond_datetime() -> TypeEngine[Any]:
    return DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def surrogate_key() -> TypeEngine[Any]:
    # only INTEGER is an alias of SQLite's rowid
    return BigInteger().with_variant(Integer(), "sqlite")


def binary() -> TypeEngine[Any]:
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


_BY_VR: dict[str, Callable[[], TypeEngine[Any]]] = {
    "DA": Date,
    "TM": microsecond_time,
    "DT": microsecond_datetime,
    "IS": BigInteger,
    "SL": BigInteger,
    "SS": BigInteger,
    "UL": BigInteger,
    "US": BigInteger,
    "DS": Double,
    "FD": Double,
    "FL": Double,
}


def column_type(attribute: Attribute) -> TypeEngine[Any]:
    """The type of an attribute's column; several values are one text, parted by backslashes (PS3.5 6.2)."""
    if attribute.multi_valued or attribute.long_text or attribute.vr == "PN":
        return LongText()
    if attribute.vr == "UI":
        return Uid() if attribute.indexed else ExactText()
    return _BY_VR.get(attribute.vr, ExactText)()
