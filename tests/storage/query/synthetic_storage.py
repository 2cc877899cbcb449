"""A storage whose index is filled with synthetic rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import insert

from benchmarks.synthetic import SyntheticIndex, instance_rows, series_of_groups
from fileroom_storage.index.engine import create_engine, write_transaction
from fileroom_storage.index.tables import standard_tables
from fileroom_storage.storage import Storage, StorageSettings

_ANALYZE = {"sqlite": "ANALYZE", "mysql": "ANALYZE TABLE", "postgresql": "ANALYZE"}


@contextmanager
def synthetic_storage(database_url: str, folder: Path, groups: int) -> Iterator[Storage]:
    """Twenty studies a group, one instance a series; statistics are fresh."""
    settings = StorageSettings(data=folder / "data", database=database_url, durability="relaxed")
    with Storage.open(settings) as storage:
        storage.create_schema_if_empty()
        tables = standard_tables()
        synthetic = SyntheticIndex(tables)
        engine = create_engine(database_url, durability="relaxed")
        with write_transaction(engine) as connection:
            connection.execute(*synthetic.issuers())
            for table, rows in synthetic.rows(0, groups, (1, 1)).items():
                connection.execute(insert(table), rows)
            connection.execute(instance_rows(tables, *series_of_groups(0, groups), 1))
            if connection.dialect.name == "postgresql":  # which counts keys of its own only
                for name in ("issuer", "patient", "study", "series"):
                    sequence = f"pg_get_serial_sequence('dicom_{name}', 'pk')"
                    connection.exec_driver_sql(f"SELECT setval({sequence}, (SELECT max(pk) FROM dicom_{name}))")
        with engine.connect() as connection:
            for table in tables.metadata.sorted_tables:
                name = connection.dialect.identifier_preparer.quote(table.name)
                connection.exec_driver_sql(f"{_ANALYZE[connection.dialect.name]} {name}")
            connection.commit()
        engine.dispose()
        yield storage
