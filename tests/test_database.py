from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import synthetic

from emforce.database import Condition, Database, resolve
from emforce.errors import InputError, StoreError
from emforce.keys import key


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres():
    """A private PostgreSQL server on a socket of its own; it refuses to run as root."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed: pip install 'emforce[postgres]'")
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL server programs (initdb) are not installed")
    folder = Path(
        tempfile.mkdtemp(prefix="emforce-pg-", dir="/tmp")
    )  # short: socket paths have 107 characters
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60, **who)

    call(str(programs / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
    call(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", settings, "start")
    try:
        yield folder
    finally:
        call(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "new" / "emforce.db")
    folder = request.getfixturevalue("postgres")
    import psycopg2

    name = f"t{time.monotonic_ns()}"
    with contextlib.closing(
        psycopg2.connect(host=str(folder), user="tester", dbname="postgres")
    ) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"postgresql://tester@/{name}?host={folder}"


def test_round_trip_is_exact(location):
    ok, bad, bare = synthetic.record(), synthetic.failed(site="initial"), synthetic.host()
    with Database(location, create=True) as database:
        database.add_host(bare)
        database.add(ok)
        database.add(bad)
    with Database(location) as database:
        back = database.records(everything=True)
        assert back == [ok, bad]
        assert [item.content_hash for item in back] == [ok.content_hash, bad.content_hash]
        assert back[0].k_wind_uohm_cm == ok.k_wind_uohm_cm
        assert database.records() == [ok]
        assert database.hosts() == [bare]
        assert database.host_of(database.rows()[0]["host_id"]) == bare
        assert database.counts() == {"ok": 1, "failed": 1}


def test_a_new_run_supersedes_and_nothing_is_deleted(location):
    first, second = synthetic.record(), synthetic.record(k_wind_uohm_cm=-120.0)
    broken, other = synthetic.failed(), synthetic.record(preset="standard")
    with Database(location, create=True) as database:
        numbers = [database.add(item) for item in (first, first, second, broken, other)]
        assert numbers[0] == numbers[1] and len(set(numbers)) == 4
        assert database.records() == [second, other]
        standing = [row["standing"] for row in database.rows(everything=True)]
        assert standing == ["superseded", "current", "not served", "current"]
        # back to the first result: it is the newest again
        database.add(first)
        assert {item.content_hash for item in database.records()} == {first.content_hash, other.content_hash}
        assert len(database.rows(everything=True)) == 5


def test_a_host_outside_tolerance_stays_marked(location):
    with Database(location, create=True) as database:
        database.add_host(synthetic.host())
        late = synthetic.host(status="outside tolerance", reason="plasma energy 9 % off")
        database.add_host(late)
        assert database.hosts(metal="Cu") == [late]
        assert database.hosts(metal="W") == []
        assert len(database.host_rows(everything=True)) == 2


def test_conditions_on_columns_agree_with_conditions_on_values(location):
    items = [
        synthetic.record(), synthetic.record(site="initial", fraction=0.0, k_wind_uohm_cm=-90.0),
        synthetic.record(metal="W", species="W", facet="110", k_wind_uohm_cm=70.0),
        synthetic.record(site="hop average", fraction=math.nan),
    ]  # fmt: skip
    conditions = [
        Condition(key("metal"), "=", ("W",)), Condition(key("metal"), "!=", ("W", "Mo")),
        Condition(key("k_wind_uohm_cm"), "<", (-90.0,)), Condition(key("k_wind_uohm_cm"), "<=", (-90.0,)),
        Condition(key("k_wind_uohm_cm"), ">", (-90.0,)), Condition(key("k_wind_uohm_cm"), ">=", (-90.0,)),
        Condition(key("fraction"), "=", (0.5, 0.0)), Condition(key("fraction"), "!=", (0.5,)),
    ]  # fmt: skip
    with Database(location, create=True) as database:
        for item in items:
            database.add(item)
        rows = database.rows()
        for condition in conditions:
            expected = [row["id"] for row in rows if condition.holds(row[condition.key.name])]
            assert [row["id"] for row in database.rows([condition])] == expected
            assert 0 < len(expected) < len(items)


def test_four_writers_at_once(location):
    context, count = multiprocessing.get_context("spawn"), 15
    writers = [context.Process(target=synthetic.write_many, args=(location, i, count)) for i in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    with Database(location) as database:
        found = {item.hop: item for item in database.records()}
    assert len(found) == 4 * count
    for i in range(4):
        for turn in range(count):
            expected = synthetic.record(hop=f"hop-{i}-{turn}", k_wind_uohm_cm=i + turn / 1000)
            assert found[f"hop-{i}-{turn}"] == expected


def _start(task: str, location: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, synthetic.__file__, task, location],
        stdout=subprocess.PIPE, env=synthetic.environment(), text=True,
    )  # fmt: skip


def test_killed_writer_loses_nothing_it_finished(location):
    writer = _start("kill", location)
    stored = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    stored += [int(line) for line in writer.communicate()[0].splitlines() if line.strip()]
    assert writer.returncode == -signal.SIGKILL
    begin = time.monotonic()
    with Database(location, create=True) as database:
        rows = {row["hop"]: row for row in database.rows()}
        database.add(synthetic.record(hop="afterwards"))
    assert time.monotonic() - begin < 10
    for turn in stored:
        assert rows[f"hop-{turn}"]["k_wind_uohm_cm"] == -float(turn)
    # the record under way may have been stored just before the kill, but nothing else
    assert len(rows) - len(stored) in (0, 1)


def test_killed_in_a_transaction_leaves_no_lock_and_no_half(location):
    with Database(location, create=True) as database:
        database.add(synthetic.record())
    writer = _start("hang", location)
    assert writer.stdout.readline().strip() == "waiting"
    with Database(location) as database:  # readers do not wait for a writer
        assert len(database.rows()) == 1
    writer.kill()
    writer.communicate()
    begin = time.monotonic()
    with Database(location) as database:
        database.add(synthetic.record(site="initial", fraction=0.0))
        assert len(database.rows()) == 2
        with database._transaction() as connection:
            names = [row[0] for row in connection.exec_driver_sql("SELECT name FROM meta")]
    assert names == ["schema_version"]
    assert time.monotonic() - begin < 10


def test_sqlite_settings(tmp_path):
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database, database._transaction() as connection:
        pragmas = ("journal_mode", "foreign_keys", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == ["wal", 1, 30000]
    with Database(path) as database:
        database.add(synthetic.record())
        with pytest.raises(StoreError, match="FOREIGN KEY"), database._transaction(write=True) as connection:
            connection.exec_driver_sql("UPDATE records SET host_id = 99")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["emforce.db"]  # the log is folded in
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_makes_nothing(tmp_path):
    with pytest.raises(StoreError, match="emforce run"):
        Database(tmp_path / "deep" / "none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_only_be_read(tmp_path, monkeypatch):
    path = tmp_path / "results of others" / "emforce.db"
    with Database(path, create=True) as database:
        database.add(synthetic.record())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Database(path) as database:
        assert database.records() == [synthetic.record()]
        with pytest.raises(StoreError, match="readonly"):
            database.add(synthetic.record(fraction=0.25))


def test_what_is_not_a_database_is_left_alone(tmp_path):
    text, empty, foreign = tmp_path / "text.db", tmp_path / "empty.db", tmp_path / "foreign.db"
    text.write_text("not a database\n" * 100)
    empty.touch()
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE other (x)")
    for path, message in ((text, "not a database"), (empty, "not an emforce"), (foreign, "not an emforce")):
        with pytest.raises(StoreError, match=message) as caught:
            Database(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="not a database"):
        Database(text, create=True)
    assert text.read_text().startswith("not a database")
    with pytest.raises(InputError, match="folder"):
        Database(tmp_path, create=True)


def test_other_schema_version_is_refused(tmp_path):
    path = tmp_path / "emforce.db"
    Database(path, create=True).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE meta SET value = '99'")
    for create in (False, True):
        with pytest.raises(InputError, match="schema version 99.*newer"):
            Database(path, create=create)


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "http://x", "://"]
)
def test_locations_that_are_not_allowed(url):
    with pytest.raises(InputError, match="--db") as caught:
        resolve(url)
    assert "secret" not in str(caught.value)


def test_default_location(monkeypatch):
    monkeypatch.delenv("EMFORCE_DB", raising=False)
    assert resolve().database == "results/emforce.db"
    monkeypatch.setenv("EMFORCE_DB", "postgresql://me:secret@host/name")
    assert resolve().drivername == "postgresql+psycopg2"
    assert resolve("other.db").database == "other.db"
