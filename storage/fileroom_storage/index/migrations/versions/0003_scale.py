"""What a name contains, and lists of studies that look up only what they show."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from fileroom_storage.index import types
from fileroom_storage.index.engine import insert_or_ignore

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPTIONS: Any = {
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
_WORD_LENGTH = 64
_PAGE = 1000  # words at a time


# (index, table, columns); MariaDB keeps no foreign key without an index, so what is new comes first
_MADE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "ix_dicom_study_study_date_study_time_pk_patient_pk",
        "dicom_study",
        ("study_date", "study_time", "pk", "patient_pk"),
    ),
    (
        "ix_dicom_study_patient_pk_study_date_study_time_pk",
        "dicom_study",
        ("patient_pk", "study_date", "study_time", "pk"),
    ),
    ("ix_dicom_series_modality_study_pk", "dicom_series", ("modality", "study_pk")),
)
_REPLACED = (
    ("ix_dicom_study_study_date_study_time_pk", "dicom_study"),
    ("ix_dicom_study_patient_pk", "dicom_study"),
    ("ix_dicom_series_modality", "dicom_series"),
)
_NEWEST_LAST = _MADE[0][0]


def upgrade() -> None:
    """May be cut short and begun again: MariaDB commits every step, and the words of a million names take a while."""
    connection = op.get_bind()
    there = sa.inspect(connection)
    if not there.has_table("dicom_name_suffix"):
        op.create_table(
            "dicom_name_suffix",
            sa.Column("suffix", types.ExactText(_WORD_LENGTH), nullable=False),
            sa.Column("word", types.ExactText(_WORD_LENGTH), nullable=False),
            sa.PrimaryKeyConstraint("suffix", "word", name=op.f("pk_dicom_name_suffix")),
            sqlite_with_rowid=False,
            **_OPTIONS,
        )
    indexes = {index["name"] for table in ("dicom_study", "dicom_series") for index in there.get_indexes(table)}
    for name, table, names in _MADE:
        if name not in indexes:
            columns: list[Any] = list(names)
            if name == _NEWEST_LAST and connection.dialect.name == "postgresql":
                # read backwards, what has no date comes last, as everywhere else
                columns[:2] = [sa.column(column).nulls_first() for column in names[:2]]
            op.create_index(op.f(name), table, columns)
    for name, table in _REPLACED:
        if name in indexes:
            op.drop_index(op.f(name), table)
    for level in ("patient", "study", "series"):
        for words in _words(connection, f"dicom_{level}_name_word"):
            _insert_suffixes(connection, words)


def _words(connection: sa.Connection, name: str) -> Iterator[list[str]]:
    """The different words of a table, a page at a time."""
    table = sa.table(name, sa.column("tag", sa.Integer), sa.column("word", types.ExactText(_WORD_LENGTH)))
    tag: int | None = None
    while True:
        next_tag = sa.select(sa.func.min(table.c.tag))
        tag = connection.execute(next_tag if tag is None else next_tag.where(table.c.tag > tag)).scalar()
        if tag is None:
            return
        words = [""]
        while words:
            page = sa.select(table.c.word).where(table.c.tag == tag, table.c.word > words[-1])
            page = page.distinct().order_by(table.c.word).limit(_PAGE)
            words = list(connection.execute(page).scalars())
            if words:
                yield words


def _insert_suffixes(connection: sa.Connection, words: list[str]) -> None:
    table = sa.Table(
        "dicom_name_suffix",
        sa.MetaData(),
        sa.Column("suffix", types.ExactText(_WORD_LENGTH), primary_key=True),
        sa.Column("word", types.ExactText(_WORD_LENGTH), primary_key=True),
    )
    # under the empty ending are the words that were cut
    rows = [
        {"suffix": word[start:], "word": word}
        for word in words
        for start in range(len(word) + (len(word) == _WORD_LENGTH))
    ]
    connection.execute(insert_or_ignore(table, connection.dialect.name), rows)
