"""Migrations: of a real file of schema version 1, on SQLite and PostgreSQL, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import lzma
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
import synthetic
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from emforce import schema
from emforce.audit import audit
from emforce.database import Database
from emforce.errors import InputError, StoreError
from emforce.record import Host, Record
from emforce.storage import Storage
from emforce.upgrade import migrate, upgrade_tables, version_of

#: results/emforce.db as it was shipped with schema version 1
OLD = Path(__file__).parent / "data" / "emforce-schema1.db.xz"


def unpacked(folder: Path) -> Path:
    path = folder / "emforce.db"
    path.write_bytes(lzma.decompress(OLD.read_bytes()))
    return path


def contents(path: Path) -> dict[str, list[dict]]:
    """Every row of every table, JSON as text, by the columns that the file has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in ("meta", "hosts", "records")}


@pytest.fixture
def old(location, tmp_path):
    """A database of schema version 1 with the shipped rows, of each kind."""
    file = unpacked(tmp_path)
    if not location.startswith("postgresql"):
        return str(file)
    storage, source = Storage(location), Storage(file)
    with storage.transaction(write=True) as connection, source.transaction() as copy:
        upgrade_tables(connection, 0, 1)
        tables = sa.MetaData()
        tables.reflect(connection, only=("hosts", "records"))
        for table in tables.sorted_tables:
            connection.execute(table.insert(), [dict(row) for row in copy.execute(sa.select(table)).mappings()])
    return location


def version(location: str) -> int:
    with Storage(location).transaction() as connection:
        return version_of(connection, location)


def test_an_older_file_is_refused_in_one_line(old):
    for create in (False, True):
        with pytest.raises(InputError, match=r"schema version 1.*schema version 4; `emforce migrate --db") as caught:
            Database(old, create=create)
        assert "\n" not in str(caught.value)
    assert version(old) == 1


def test_migration_keeps_every_row_and_a_copy(old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a server's copy goes into the working folder
    (tmp_path / "fresh").mkdir()
    before = contents(unpacked(tmp_path / "fresh"))
    done = migrate(old)
    assert (done.before, done.after) == (1, 4) and done.copy is not None
    copied = contents(done.copy)
    for name in ("meta", "hosts", "records"):
        assert [_plain(row) for row in copied[name]] == [_plain(row) for row in before[name]]
    with Database(old) as database:
        rows, hosts = database.rows(everything=True), database.host_rows(everything=True)
        assert len(rows) == len(before["records"]) == 9 and len(hosts) == 3
        for row, was in zip(rows, before["records"], strict=True):
            for name in was:
                if name != "content_hash":
                    assert row[name] == (json.loads(was[name]) if isinstance(row[name], list | dict) else was[name]), name
        # the same results come out of a new run with the same hash: nothing is stored twice
        numbers = [database.add(Record.from_document(row)) for row in rows]
        assert numbers == [row["id"] for row in rows]
        assert [database.add_host(Host.from_document(row)) for row in hosts] == [row["id"] for row in hosts]
        assert all(finding.passed for finding in audit(database))
    assert migrate(old).copy is None


def _plain(row: dict) -> dict:
    return {k: json.loads(v) if isinstance(v, str) and v.startswith(("[", "{")) else v for k, v in row.items()}


def test_migrations_make_what_the_keys_say(location):
    migrated = Storage(location, create=not location.startswith("postgresql"))
    with migrated.transaction(write=True) as connection:
        upgrade_tables(connection, 0)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    with Database(location) as database:
        database.add(synthetic.record())
        assert database.records() == [synthetic.record()]


def test_a_column_too_many_would_be_noticed(tmp_path):
    storage = Storage(tmp_path / "emforce.db", create=True)
    with storage.transaction(write=True) as connection:
        upgrade_tables(connection, 0)
        connection.exec_driver_sql("ALTER TABLE records ADD COLUMN stray DOUBLE")
        (difference,) = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    assert difference[0] == "remove_column" and difference[3].name == "stray"


KILLED = """
import sys, time
from emforce import upgrade
real = upgrade.upgrade_tables
def slow(*arguments):
    real(*arguments)
    print("migrated, not committed", flush=True)
    time.sleep(600)
upgrade.upgrade_tables = slow
upgrade.migrate(sys.argv[1])
"""


def test_killed_half_way_it_is_as_before(old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", KILLED, old]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=synthetic.environment())
    assert process.stdout.readline().startswith("migrated")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert version(old) == 1
    with Storage(old).transaction() as connection:
        assert "z_direct" not in {column["name"] for column in sa.inspect(connection).get_columns("records")}
    assert migrate(old).before == 1
    with Database(old) as database:
        assert len(database.rows()) == 9


def _migrate(location: str, folder: str, queue: multiprocessing.Queue) -> None:
    os.chdir(folder)
    queue.put(migrate(location).before)


def test_two_at_once(old, tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    both = [context.Process(target=_migrate, args=(old, str(tmp_path), queue)) for _ in range(2)]
    for process in both:
        process.start()
    found = sorted(queue.get(timeout=120) for _ in both)
    for process in both:
        process.join(60)
    assert found == [1, 4]  # the second finds nothing to do
    with Database(old) as database:
        assert len(database.rows(everything=True)) == 9


def test_without_a_copy_nothing_is_changed(tmp_path, monkeypatch):
    path = unpacked(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StoreError, match="No space left"):
        migrate(path)
    assert version(str(path)) == 1 and [p.name for p in tmp_path.iterdir()] == ["emforce.db"]


def test_what_cannot_be_migrated(tmp_path):
    path = unpacked(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(InputError, match="newer emforce"):
        migrate(path)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE x (y)")
    with pytest.raises(StoreError, match="not an emforce database"):
        migrate(tmp_path / "other.db")
    with pytest.raises(StoreError, match="no database there yet"):
        migrate(tmp_path / "none.db")
