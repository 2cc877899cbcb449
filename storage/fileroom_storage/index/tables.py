"""The tables of the index, built from the rows of the attribute table.

Every table has a surrogate key `pk`; `<entity>_pk` points at a parent, so that `patient_id` can mean Patient ID.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from ..attributes import Attribute, KeyType, Level, Origin, Registry, standard_registry
from . import plugin_tables
from .api_key_table import api_key_table
from .audit import tables as audit
from .commitment_tables import commitment_tables
from .external_tables import external_series, origin_columns, weight_column
from .types import ExactText, LongText, Uid, binary, column_type, microsecond_datetime, surrogate_key

DEFAULT_ISSUER = "DEFAULT_DOMAIN"
NO_PATIENT_ID = "NO_PID"
WORD_LENGTH = 64  # what is kept of a word of a name

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
# MariaDB would otherwise compare text as its server happens to be configured
TABLE_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
TABLE_OPTIONS |= {key.replace("mysql", "mariadb"): value for key, value in TABLE_OPTIONS.items()}


@dataclass(frozen=True)
class EntityTables:
    """The table of one information entity and those that make its values searchable."""

    entity: Table
    names: Table | None  # every component group of every person name, folded
    words: Table | None  # every word of them, for fuzzy matching
    sequences: dict[str, Table]  # by keyword: one row an item


class Tables:
    """All tables of the index for one registry of attributes."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.of_plugins: dict[str, dict[str, Table]] = {}  # those that extracted rows go to, by plugin and name
        self.prepared: dict[Hashable, Any] = {}  # statements of the hot path, by database and purpose
        self.metadata = MetaData(naming_convention=NAMING)
        self.issuer = self._issuer()
        self.by_level = {level: self._entity(level) for level in Level}
        self.patient = self.by_level[Level.PATIENT].entity
        self.study = self.by_level[Level.STUDY].entity
        self.series = self.by_level[Level.SERIES].entity
        self.instance = self.by_level[Level.IMAGE].entity
        self.external_series = external_series(self._table, self.instance)
        self.name_suffix = self._name_suffix()
        self.conflict = self._conflict()
        self.import_job = self._import_job()
        self.import_file = self._import_file()
        self.change = self._change()
        self.deletion = self._deletion()
        self.deleted_object = self._deleted_object()
        self.api_key = api_key_table(self._table)
        self.storage_commitment, self.storage_commitment_reference = commitment_tables(self._table)
        self.audit_log = audit.audit_log(self._table)
        self.audit_chain = audit.audit_chain(self._table)
        self.audit_delivery = audit.audit_delivery(self._table)
        self.plugin_failure = plugin_tables.plugin_failure(self._table)
        self.plugin_state = plugin_tables.plugin_state(self._table)

    def entity(self, level: Level) -> Table:
        return self.by_level[level].entity

    def _table(self, name: str, *columns: Any, **options: Any) -> Table:
        return Table(name, self.metadata, *columns, **TABLE_OPTIONS, **options)

    def _issuer(self) -> Table:
        return self._table(
            "dicom_issuer",
            Column("pk", surrogate_key(), primary_key=True),
            Column("issuer_of_patient_id", ExactText(), nullable=False),
            UniqueConstraint("issuer_of_patient_id"),
        )

    def _entity(self, level: Level) -> EntityTables:
        table = self._table(
            f"dicom_{level.entity}",
            Column("pk", surrogate_key(), primary_key=True),
            *_PARENTS[level](),
            *(
                attribute_column(attribute)
                for attribute in self.registry.at_level(level)
                if has_column(attribute) and attribute.keyword != "IssuerOfPatientID"
            ),
            Column("residue", LongText()),
            *_BOOKKEEPING[level](),
            *(UniqueConstraint(*columns) for columns in _UNIQUE[level]),
        )
        for attribute in self.registry.at_level(level):
            if attribute.indexed and attribute.column not in _COMPOSITE_INDEXED:
                Index(None, table.c[attribute.column])
        for index in _composite_indexes(level, table):
            Index(None, *index)
        has_names = any(attribute.vr == "PN" for attribute in self.registry.in_header(level))
        return EntityTables(
            table,
            self._names(level) if has_names else None,
            self._words(level) if has_names else None,
            {
                attribute.keyword: self._sequence(level, attribute)
                for attribute in self.registry.in_header(level)
                if attribute.items
            },
        )

    def _owner(self, level: Level) -> Column[Any]:
        return Column(
            f"{level.entity}_pk",
            surrogate_key(),
            ForeignKey(f"dicom_{level.entity}.pk", ondelete="CASCADE"),
            nullable=False,
        )

    def _names(self, level: Level) -> Table:
        return self._table(
            f"dicom_{level.entity}_name",
            self._owner(level),
            Column("tag", Integer, nullable=False),
            Column("ordinal", Integer, nullable=False),
            Column("folded", ExactText(), nullable=False),
            PrimaryKeyConstraint(f"{level.entity}_pk", "tag", "ordinal"),
            Index(None, "tag", "folded", f"{level.entity}_pk"),
        )

    def _words(self, level: Level) -> Table:
        return self._table(
            f"dicom_{level.entity}_name_word",
            self._owner(level),
            Column("tag", Integer, nullable=False),
            Column("ordinal", Integer, nullable=False),
            Column("word", ExactText(WORD_LENGTH), nullable=False),
            Column("phonetic", ExactText(WORD_LENGTH), nullable=False),
            PrimaryKeyConstraint(f"{level.entity}_pk", "tag", "ordinal"),
            Index(None, "tag", "word", f"{level.entity}_pk"),
            Index(None, "tag", "phonetic", f"{level.entity}_pk"),
        )

    def _name_suffix(self) -> Table:
        """Every ending of every different word of all names, so that what a word contains is a range of this table."""
        return self._table(
            "dicom_name_suffix",
            Column("suffix", ExactText(WORD_LENGTH), nullable=False),
            Column("word", ExactText(WORD_LENGTH), nullable=False),
            PrimaryKeyConstraint("suffix", "word"),
            sqlite_with_rowid=False,
        )

    def _sequence(self, level: Level, attribute: Attribute) -> Table:
        return self._table(
            f"dicom_{level.entity}_{attribute.column}",
            self._owner(level),
            Column("item", Integer, nullable=False),
            *(attribute_column(item) for item in attribute.item_attributes),
            PrimaryKeyConstraint(f"{level.entity}_pk", "item"),
        )

    def _conflict(self) -> Table:
        return self._table(
            "conflict",
            Column("pk", surrogate_key(), primary_key=True),
            Column("type", ExactText(32), nullable=False),
            Column("state", ExactText(16), nullable=False),
            # what makes a second report of the same conflict the same: type, both sides, differing values
            Column("fingerprint", ExactText(64), nullable=False),
            Column("study_instance_uid", Uid(), nullable=False),
            Column("series_instance_uid", Uid(), nullable=False),
            Column("sop_instance_uid", Uid(), nullable=False),
            Column("differences", LongText(), nullable=False),
            # the object that brought the conflict: its own copy where it is not the indexed one
            Column("location", ExactText()),
            Column("transfer_syntax_uid", ExactText()),
            Column("data_set_offset", BigInteger),
            Column("digest", ExactText(64)),
            Column("size", BigInteger),
            Column("occurrences", Integer, nullable=False),
            Column("detected_at", microsecond_datetime(), nullable=False),
            Column("resolved_at", microsecond_datetime()),
            Column("resolution", ExactText(16)),
            UniqueConstraint("fingerprint"),
            Index(None, "state"),
            Index(None, "sop_instance_uid"),
            Index(None, "location"),
        )

    def _import_job(self) -> Table:
        return self._table(
            "import_job",
            Column("pk", surrogate_key(), primary_key=True),
            Column("state", ExactText(16), nullable=False),
            Column("source", LongText(), nullable=False),
            Column("source_digest", ExactText(64), nullable=False),
            Column("stored", Integer, nullable=False),
            Column("already_stored", Integer, nullable=False),
            Column("refused", Integer, nullable=False),
            Column("failed", Integer, nullable=False),
            Column("started_at", microsecond_datetime(), nullable=False),
            Column("updated_at", microsecond_datetime(), nullable=False),
            Index(None, "source_digest"),
        )

    def _import_file(self) -> Table:
        return self._table(
            "import_file",
            Column("import_job_pk", surrogate_key(), ForeignKey("import_job.pk", ondelete="CASCADE"), nullable=False),
            # SHA-256 of the path with size and modification time: the path may be longer than an index allows
            Column("file_digest", ExactText(64), nullable=False),
            Column("path", LongText(), nullable=False),
            Column("outcome", ExactText(16), nullable=False),
            Column("reason", LongText()),
            Column("sop_instance_uid", ExactText()),
            PrimaryKeyConstraint("import_job_pk", "file_digest"),
        )

    def _change(self) -> Table:
        return self._table(
            "change",
            Column("sequence", surrogate_key(), primary_key=True),
            Column("at", microsecond_datetime(), nullable=False),
            Column("action", ExactText(16), nullable=False),
            Column("study_instance_uid", Uid(), nullable=False),
            Column("series_instance_uid", Uid(), nullable=False),
            Column("sop_instance_uid", Uid(), nullable=False),
        )

    def _deletion(self) -> Table:
        return self._table(
            "deletion",
            Column("pk", surrogate_key(), primary_key=True),
            Column("at", microsecond_datetime(), nullable=False),
            Column("reason", ExactText(16), nullable=False),
            # of a rejection: the code of DCM that says why, and the Key Object Selection document that brought it
            Column("code", ExactText(16)),
            Column("rejection_note_uid", Uid()),
            # what was asked for: without an instance the series, without a series the study
            Column("study_instance_uid", Uid(), nullable=False),
            Column("series_instance_uid", Uid()),
            Column("sop_instance_uid", Uid()),
            Column("number_of_objects", Integer, nullable=False),
            Column("size", BigInteger, nullable=False),
            # when its objects are purged; null: never by itself
            Column("purge_at", microsecond_datetime()),
            # a purge that has begun cannot be undone, only finished
            Column("purging", Boolean, nullable=False),
            # whoever has noted an ID must not restore another deletion by it
            sqlite_autoincrement=True,
        )

    def _deleted_object(self) -> Table:
        return self._table(
            "deleted_object",
            Column("pk", surrogate_key(), primary_key=True),
            Column("deletion_pk", surrogate_key(), ForeignKey("deletion.pk", ondelete="CASCADE"), nullable=False),
            Column("study_instance_uid", Uid(), nullable=False),
            Column("series_instance_uid", Uid(), nullable=False),
            Column("sop_instance_uid", Uid(), nullable=False),
            Column("location", ExactText(), nullable=False),
            Column("size", BigInteger, nullable=False),
            Column("digest", ExactText(64), nullable=False),
            Column("transfer_syntax_uid", ExactText(), nullable=False),
            # of the patient that it was indexed under; null where it was under none
            Column("issuer_of_patient_id", ExactText()),
            *_provenance(nullable=True),
            UniqueConstraint("location"),
            Index(None, "deletion_pk", "pk"),
            Index(None, "sop_instance_uid"),
        )


def has_column(attribute: Attribute) -> bool:
    """Sequences live in item tables; what is the same for all needs no column."""
    return attribute.origin is not Origin.SERVER and not attribute.items


def attribute_column(attribute: Attribute) -> Column[Any]:
    counted = attribute.origin is Origin.COUNTED
    number = counted and attribute.vr == "IS"
    return Column(
        attribute.column,
        column_type(attribute),
        nullable=attribute.key_type is not KeyType.UNIQUE and not number,
        server_default="0" if number else None,
    )


def _patient_parent() -> tuple[Column[Any], ...]:
    return (
        Column("issuer_pk", surrogate_key(), ForeignKey("dicom_issuer.pk"), nullable=False),
        # two studies without a Patient ID never share a patient: theirs is told apart by the study
        Column("unidentified_study_uid", Uid(), nullable=False),
    )


def _child(parent: str) -> tuple[Column[Any], ...]:
    return (Column(f"{parent}_pk", surrogate_key(), ForeignKey(f"dicom_{parent}.pk"), nullable=False),)


def _timestamps() -> tuple[Column[Any], ...]:
    return (
        Column("created_at", microsecond_datetime(), nullable=False),
        Column("updated_at", microsecond_datetime(), nullable=False),
    )


def _size() -> Column[Any]:
    return Column("size", BigInteger, nullable=False, server_default="0")


def _object() -> tuple[Column[Any], ...]:
    """Where an instance's bytes are, what they are, and who brought them."""
    return (
        _size(),
        Column("location", ExactText(), nullable=False),
        Column("digest", ExactText(64), nullable=False),  # SHA-256 of the encoded data set
        Column("data_set_offset", BigInteger, nullable=False),
        Column("pixel_data_offset", BigInteger),
        Column("pixel_data_length", BigInteger),
        Column("frame_count", Integer),
        Column("frame_length", BigInteger),
        Column("frame_table", binary()),
        *_provenance(nullable=False),
    )


def _provenance(*, nullable: bool) -> tuple[Column[Any], ...]:
    return (
        Column("source", ExactText(16), nullable=nullable),
        Column("called_ae_title", ExactText(64)),
        Column("calling_ae_title", ExactText(64)),
        Column("association", ExactText(64)),
        Column("remote_address", ExactText()),
        Column("received_at", microsecond_datetime(), nullable=nullable),
    )


_PARENTS: dict[Level, Callable[[], tuple[Column[Any], ...]]] = {
    Level.PATIENT: _patient_parent,
    Level.STUDY: lambda: _child("patient"),
    Level.SERIES: lambda: _child("study"),
    Level.IMAGE: lambda: _child("series"),
}
_UNIQUE = {
    Level.PATIENT: (("patient_id", "issuer_pk", "unidentified_study_uid"),),
    Level.STUDY: (("study_instance_uid",),),
    Level.SERIES: (("series_instance_uid",),),
    Level.IMAGE: (("sop_instance_uid",), ("location",)),
}
_BOOKKEEPING: dict[Level, Callable[[], tuple[Column[Any], ...]]] = {
    Level.PATIENT: _timestamps,
    Level.STUDY: lambda: (_size(), *_timestamps()),
    Level.SERIES: lambda: (_size(), weight_column(), *_timestamps()),
    Level.IMAGE: lambda: (*_object(), *origin_columns()),
}
# unique keys have their constraint; the others' index tells more than their own value
_COMPOSITE_INDEXED = frozenset(
    {"patient_id", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "study_date", "modality"}
)


def _composite_indexes(level: Level, table: Table) -> Iterator[tuple[ColumnElement[Any], ...]]:
    columns = table.c
    if level is Level.PATIENT:
        yield (columns.issuer_pk,)  # whoever sees one issuer's patients begins with them
    elif level is Level.STUDY:
        # a study list is read newest first, backwards, what has no date last: only PostgreSQL has to be told
        newest_last = (columns.study_date.nulls_first(), columns.study_time.nulls_first(), columns.pk)
        # with all that decides whether and where a study is in a list, so that only those shown are looked up
        yield (*newest_last, columns.patient_pk)
        yield (columns.patient_pk, columns.study_date, columns.study_time, columns.pk)
    elif level is Level.SERIES:
        yield columns.study_pk, columns.series_number, columns.pk
        yield columns.modality, columns.study_pk
    elif level is Level.IMAGE:
        yield columns.series_pk, columns.instance_number, columns.pk


def standard_tables() -> Tables:
    return Tables(standard_registry())
