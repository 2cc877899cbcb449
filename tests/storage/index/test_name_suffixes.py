"""The words of names can be found by their endings: those that come in, and those that an older index had."""

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, Table, delete, insert, select, text

from fileroom_storage.attributes import Level
from fileroom_storage.index import schema
from fileroom_storage.index.arrival import EntityRow
from fileroom_storage.index.engine import create_engine, write_transaction
from fileroom_storage.index.entities import delete_names, insert_searchable
from fileroom_storage.index.lineage import core_lineage
from fileroom_storage.index.name_suffixes import CUT, insert_suffixes, suffixes
from fileroom_storage.index.tables import WORD_LENGTH, Tables, standard_tables
from fileroom_storage.storage import Storage
from tests.databases import Databases
from tests.made import made, uid
from tests.storage.stored import store, tables_of

_CUT_WORD = "w" * WORD_LENGTH
_NOW = "2026-01-01 00:00:00"


def test_a_word_has_as_many_endings_as_letters() -> None:
    assert list(suffixes("anna")) == ["anna", "nna", "na", "a"]
    assert list(suffixes("李")) == ["李"]
    assert list(suffixes(_CUT_WORD))[-2:] == ["w", CUT]


def test_words_of_every_level_are_taken_in_once(storage: Storage) -> None:
    names = {"PatientName": "Anna^Ann", "ReferringPhysicianName": "Ann^Bo", "OperatorsName": "Bo^Éva"}
    for number in (1, 2):
        unique = {"StudyInstanceUID": uid(number), "SeriesInstanceUID": uid(number, 1)}
        store(storage, made(**names, **unique, SOPInstanceUID=uid(number, 1, 1), SpecificCharacterSet="ISO_IR 100"))
    words = {"anna", "ann", "bo", "eva"}
    rows = tables_of(storage)
    assert sorted((row["suffix"], row["word"]) for row in rows["dicom_name_suffix"]) == sorted(
        (suffix, word) for word in words for suffix in suffixes(word)
    )


def test_any_number_of_words_may_come_again(database_url: str) -> None:
    engine, tables = create_engine(database_url), standard_tables()
    schema.upgrade(engine)
    words = [f"{'x' * (number % 7)}{number}" for number in range(50)]
    for some in (words[:3], words, words, []):
        with write_transaction(engine) as connection:
            insert_suffixes(connection, tables, some)
    with engine.connect() as connection:
        assert _kept(connection, tables) == {(suffix, word) for word in words for suffix in suffixes(word)}
    engine.dispose()


def test_a_word_goes_with_the_last_name_that_has_it(storage: Storage) -> None:
    for number, (patient, physician) in enumerate((("Anna^Ann", "Bo"), ("Anna", "Ann"), ("Cy", f"{_CUT_WORD}w")), 1):
        unique = {"StudyInstanceUID": uid(number), "SeriesInstanceUID": uid(number, 1), "PatientID": str(number)}
        names = {"PatientName": patient, "ReferringPhysicianName": physician}
        store(storage, made(**names, **unique, SOPInstanceUID=uid(number, 1, 1)))
    for number, left in ((3, {"anna", "ann", "bo"}), (1, {"anna", "ann"}), (2, set())):
        storage.delete({"StudyInstanceUID": uid(number)})
        assert {row["word"] for row in tables_of(storage)["dicom_name_suffix"]} == left


def test_a_word_that_somebody_is_taking_in_stays(database_url: str) -> None:
    engine, tables = create_engine(database_url), standard_tables()
    schema.upgrade(engine)
    tag = tables.registry["PatientName"].tag
    with write_transaction(engine) as connection:
        _fill_names(connection, tables, [])
        _name(connection, tables, 1, tag)

    def forget() -> None:
        with write_transaction(engine) as connection:
            delete_names(connection, tables, Level.PATIENT, [1])

    with ThreadPoolExecutor(1) as others:
        with write_transaction(engine) as connection:
            _name(connection, tables, 2, tag)
            forgetting = others.submit(forget)
            assert not wait([forgetting], timeout=0.5).done
        forgetting.result()
    with engine.connect() as connection:
        assert ("anna", "anna") in _kept(connection, tables)
    with write_transaction(engine) as connection:
        delete_names(connection, tables, Level.PATIENT, [2])
        assert _kept(connection, tables) == set()
    engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    config = core_lineage().config()
    config.attributes |= {"connection": connection, "skipped": []}
    command.upgrade(config, revision)


def test_the_words_of_an_older_index_are_found_too(database_url: str) -> None:
    engine, tables = create_engine(database_url), standard_tables()
    words = {f"word{number:04d}" for number in range(2500)} | {"müller", "李", _CUT_WORD}
    with engine.connect() as connection:
        _upgrade(connection, "0002")
        _fill_names(connection, tables, sorted(words))
        connection.commit()
        _upgrade(connection, "0003")
        connection.commit()
    expected = {(suffix, word) for word in words for suffix in suffixes(word)}
    with engine.connect() as connection:
        assert _kept(connection, tables) == expected
    # as if it had been cut short in the middle
    with write_transaction(engine) as connection:
        connection.execute(delete(tables.name_suffix).where(tables.name_suffix.c.word > "word1000"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    with engine.connect() as connection:
        _upgrade(connection, "0003")
        connection.commit()
        assert _kept(connection, tables) == expected
    engine.dispose()


def test_postgresql_reads_studies_backwards_as_they_are_listed(databases: Databases, tmp_path: Path) -> None:
    """What has no date is last in the list, so it has to be first in the index."""
    with databases.fresh("postgresql", tmp_path) as url:
        engine = create_engine(url)
        schema.upgrade(engine)
        with engine.connect() as connection:
            named = text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ix_dicom_study_study_date%'")
            made_as = connection.execute(named).scalar_one()
        engine.dispose()
    assert "(study_date NULLS FIRST, study_time NULLS FIRST, pk, patient_pk)" in made_as


def _kept(connection: Connection, tables: Tables) -> set[tuple[str, str]]:
    return {(suffix, word) for suffix, word in connection.execute(select(tables.name_suffix))}


def _name(connection: Connection, tables: Tables, patient_pk: int, tag: int) -> None:
    row = EntityRow({}, {}, ((tag, "anna"),), ((tag, "anna", "AN"),))
    insert_searchable(connection, tables, Level.PATIENT, patient_pk, row)


def _fill_names(connection: Connection, tables: Tables, words: list[str]) -> None:
    """Two patients, who share some words, and one study's physician."""
    stamps = {"created_at": text(f"'{_NOW}'"), "updated_at": text(f"'{_NOW}'")}
    connection.execute(insert(tables.issuer), {"pk": 1, "issuer_of_patient_id": "X"})
    for pk in (1, 2):
        row = {"pk": pk, "issuer_pk": 1, "unidentified_study_uid": "", "patient_id": f"P{pk}"}
        connection.execute(insert(tables.patient).values(**row, **stamps))
    connection.execute(insert(tables.study).values(pk=1, patient_pk=1, study_instance_uid="1.2", **stamps))
    of_patient, of_study = (table.words for table in list(tables.by_level.values())[:2])
    for table, owner, some in (
        (of_patient, {"patient_pk": 1, "tag": 1}, words[:2000]),
        (of_patient, {"patient_pk": 2, "tag": 2}, words[1500:]),
        (of_study, {"study_pk": 1, "tag": 9}, words[-5:]),
    ):
        assert isinstance(table, Table)
        rows = [{**owner, "ordinal": number, "word": word, "phonetic": ""} for number, word in enumerate(some)]
        if rows:
            connection.execute(insert(table), rows)
