"""Plugins made for tests, with migrations that are written where they are wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, Table, text

from fileroom_storage.plugin import (
    EnabledPlugin,
    ExactText,
    ExtractedRows,
    Header,
    Plugin,
    PluginDatabase,
    PluginSection,
    instance_key,
    plugin_metadata,
    plugin_table,
    surrogate_key,
)
from fileroom_storage.storage import Storage, StorageSettings

_REVISION = """
import sqlalchemy as sa
from alembic import op
from fileroom_storage.plugin import TABLE_OPTIONS, ExactText, surrogate_key
revision = {revision!r}
down_revision = {before!r}
branch_labels = depends_on = None

def upgrade():
    {steps}
"""
_TABLE = """op.create_table(
        "notes_image",
        sa.Column("pk", surrogate_key(), primary_key=True),
        sa.Column("instance_pk", surrogate_key(), sa.ForeignKey("dicom_instance.pk", ondelete="CASCADE",
                  name="fk_notes_image_instance_pk"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("patient", ExactText(16)),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_notes_image_instance_pk", "notes_image", ["instance_pk"])"""


def note(header: Header) -> ExtractedRows:
    """One row for each instance that has a number; what else a plugin may do wrong by Patient ID."""
    match header.text("PatientID"):
        case "RAISES":
            raise ValueError("of a patient")
        case "UNKNOWN TABLE":
            return {"notes_other": [{}]}
        case "NO NUMBER":
            return {"notes_image": [{"number": None}]}
    number = header.text("InstanceNumber")
    return {"notes_image": [{"number": int(number), "patient": header.text("PatientID")}]} if number else {}


def notes(
    folder: Path, extract: Callable[[Header], ExtractedRows] | None = note, *, revisions: int = 1, **options: Any
) -> EnabledPlugin:
    """A plugin with a table of its own; its second revision adds a column."""
    folder.mkdir(exist_ok=True)
    (folder / "one.py").write_text(_REVISION.format(revision="one", before=None, steps=_TABLE))
    metadata = plugin_metadata()
    _table(metadata, with_remark=revisions > 1)
    if revisions > 1:
        steps = 'op.add_column("notes_image", sa.Column("remark", ExactText(8)))'
        (folder / "two.py").write_text(_REVISION.format(revision="two", before="one", steps=steps))
    views = {"notes_of_images": lambda _: "SELECT n.pk, n.number AS Number FROM notes_image n"}
    plugin = Plugin(name="notes", database=PluginDatabase(metadata, folder, views), extract=extract, **options)
    return EnabledPlugin(plugin, PluginSection())


def _table(metadata: Any, *, with_remark: bool) -> Table:
    return plugin_table(
        metadata,
        "notes_image",
        Column("pk", surrogate_key(), primary_key=True),
        instance_key(),
        Column("number", Integer, nullable=False),
        Column("patient", ExactText(16)),
        *((Column("remark", ExactText(8)),) if with_remark else ()),
    )


@contextmanager
def opened(folder: Path, database: str, *plugins: EnabledPlugin, **options: Any) -> Iterator[Storage]:
    settings = StorageSettings(data=folder / "data", database=database, plugins=plugins)
    with Storage.open(settings, **options) as storage:
        storage.create_schema_if_empty()
        yield storage


def noted(storage: Storage) -> list[tuple[str, int]]:
    """SOP Instance UID and number of each row, in order."""
    return _rows(
        storage,
        "SELECT i.sop_instance_uid, n.number FROM notes_image n JOIN dicom_instance i"
        " ON i.pk = n.instance_pk ORDER BY i.sop_instance_uid, n.pk",
    )


def failures(storage: Storage) -> list[tuple[str, str, int]]:
    """SOP Instance UID, type of the error and attempts of each."""
    return _rows(
        storage,
        "SELECT i.sop_instance_uid, f.error, f.attempts FROM plugin_failure f JOIN dicom_instance i"
        " ON i.pk = f.instance_pk WHERE f.plugin = 'notes' ORDER BY i.sop_instance_uid",
    )


def _rows(storage: Storage, statement: str) -> list[Any]:
    from fileroom_storage.index.engine import create_engine

    engine = create_engine(storage.settings.database_url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(statement))]
    engine.dispose()
    return rows
