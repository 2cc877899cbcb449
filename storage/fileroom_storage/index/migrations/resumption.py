"""Going on with an upgrade that was cut short where the database commits every step: MariaDB and MySQL."""

import logging
from collections.abc import Sequence
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import DBAPIError

from fileroom_storage.errors import SchemaNotCurrent

_log = logging.getLogger(__name__)

# table, column, index or constraint is there already; table or index is gone already
_DONE_ALREADY = frozenset({1050, 1051, 1060, 1061, 1091, 1826})


def skip_what_is_done(context: MigrationContext, skipped: list[str]) -> None:
    """Takes a step that was done before for done, and tells of it in `skipped`. What is no DDL has to be repeatable."""
    if context.dialect.name != "mysql":
        return  # elsewhere an upgrade is one transaction
    implementation: Any = context.impl
    execute = implementation._exec

    def execute_unless_done(construct: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return execute(construct, *arguments, **options)
        except DBAPIError as error:
            code = error.orig.args[0] if error.orig is not None and error.orig.args else None
            if code not in _DONE_ALREADY:
                raise
            skipped.append(str(error.orig))
            return None

    implementation._exec = execute_unless_done


def check_skipped(connection: Connection, metadata: MetaData, skipped: Sequence[str]) -> None:
    """Raises SchemaNotCurrent where what was there already is not what the steps would have made."""
    if not skipped:
        return
    _log.warning(
        "an upgrade of the index that was cut short has been finished; %d steps were done before", len(skipped)
    )
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    if any(_is_of(metadata, difference) for difference in compare_metadata(context, metadata)):
        raise SchemaNotCurrent(
            "the database has tables of the index's names that are not the index's; "
            f"give the index a database of its own ({skipped[0][:100]})"
        )


def _is_of(metadata: MetaData, difference: Any) -> bool:
    """Other tables of the same database are nobody's business."""
    if isinstance(difference, list):
        return True  # of a column
    kind, subject = difference[:2]
    if kind == "remove_table":
        return False
    return kind not in ("remove_index", "remove_constraint") or subject.table.name in metadata.tables
