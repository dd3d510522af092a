from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
import synthetic

from emforce import schema
from emforce.copies import backup
from emforce.database import Condition, Database, _is_newest, resolve
from emforce.errors import InputError, StoreError
from emforce.keys import key
from emforce.materials import material
from emforce.record import Record
from emforce.reference import reference_records, store
from emforce.served_copy import rested_on, served_copy


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


def test_hops_join_the_best_of_each_group(location):
    average = {"site": "hop average", "fraction": math.nan}
    nothing = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}}
    diffusion = {"d0_m2_s": 1e-7, "d0_sigma_m2_s": 2e-8, "ea_eV": 0.7, "ea_sigma_eV": 0.05}
    kinetics = {**average, **nothing, **diffusion, "method": "barriers"}
    with Database(location, create=True) as database:
        database.add_host(synthetic.host(preset="standard"))
        database.add(synthetic.record(**average, k_wind_uohm_cm=-90.0))
        best = database.add(synthetic.record(**average, k_wind_uohm_cm=-110.0, preset="standard"))
        database.add(synthetic.record(**average, k_wind_uohm_cm=-70.0, preset="standard (host.sigma_eV=0.3)"))
        database.add(synthetic.record())  # a site, no average
        moved = database.add(synthetic.record(**kinetics))
        database.add(synthetic.record(**average, metal="W", species="W", facet="110", k_wind_uohm_cm=50.0))
        hops = database.hops(metal="Cu", facet="100")
        assert len(hops) == 1 and len(database.hops()) == 2 and len(database.hops(metal="Au")) == 0
        (row,) = hops.at(600.0, direct_model="nominal")
    assert row["k_wind_uohm_cm"] == -110.0 and row["ea_eV"] == 0.7 and row["z_direct"] is None
    assert {group: source["id"] for group, source in row["joined"].items()} == {"wind": best, "kinetics": moved}
    rho = material("Cu").rho_uohm_cm(600.0)
    assert row["z_star"] == pytest.approx(1 - 110 / rho) and row["direct_model"] == "nominal"
    assert row["d_m2_s"] == pytest.approx(1e-7 * math.exp(-0.7 / (8.617333262e-5 * 600)))


def test_a_sigma_that_lacks_a_part_is_not_the_better_one(location):
    row = {"site": "hop average", "fraction": math.nan, "method": "barriers", "k_wind_uohm_cm": math.nan,
           "k_wind_sigma_parts_uohm_cm": {}}

    def barrier(shells, value, sigma, **parts):
        details = {"barrier_sigma_parts_eV": parts}
        return synthetic.record(**row, preset=f"quick (kinetics.shells={shells})", barrier_eV=value, barrier_sigma_eV=sigma,
                                kinetics_details=details)

    with Database(location, create=True) as database:
        database.add(barrier(0, 0.60, 0.02, basis=0.02, k_points=None, cell=None))
        known = database.add(barrier(1, 0.75, 0.17, basis=0.02, k_points=0.169, cell=None))
        database.add(barrier("1, kinetics.newton_steps=1", 0.74, 0.18, basis=0.02, k_points=0.179, cell=None))
        (found,) = database.hops().at(600.0, direct_model="nominal")
    assert found["barrier_eV"] == 0.75 and found["joined"]["kinetics"]["id"] == known


def test_published_rows_stay_apart_until_asked_for(location):
    published = next(r for r in reference_records() if r.status == "literature")
    doubtful = next(r for r in reference_records() if r.status == "unverified")
    with Database(location, create=True) as database:
        database.add(synthetic.record())
        assert store(database, [published, doubtful, published]) == 2
        assert [row["standing"] for row in database.rows()] == ["current"]
        assert {row["standing"] for row in database.rows(everything=True)} == {"current", "literature", "unverified"}
        (row,) = database.rows(standing=["literature"])
        assert Record.from_document(row) == published


def test_a_copy_restores_everything(location, tmp_path):
    copy, empty = tmp_path / "copy.db", tmp_path / "empty"
    with Database(location, create=True) as database:
        database.add_host(synthetic.host())
        database.add(synthetic.record())
        database.add(synthetic.record(k_wind_uohm_cm=-120.0))
        database.add(synthetic.failed(site="initial"))
        before = database.rows(everything=True), database.host_rows(everything=True)
        assert backup(location, copy) == 5  # with the schema version
        with pytest.raises(StoreError, match="there already"):
            backup(location, copy)
        with pytest.raises(StoreError, match="empty"):
            database.restore(copy)
        assert database.rows(everything=True) == before[0]
    with Database(empty, create=True) as fresh:
        assert fresh.restore(copy) == 4
        assert (fresh.rows(everything=True), fresh.host_rows(everything=True)) == before
        assert fresh.add(synthetic.record(site="final", fraction=1.0)) == 4  # numbers go on where they were
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("new")) == ["copy.db", "empty"]


def test_a_copy_of_what_is_served_leaves_out_what_was_superseded(location, tmp_path):
    copy = tmp_path / "served.db"
    with Database(location, create=True) as database:
        hosts = [database.add_host(synthetic.host(dos_per_eV_atom=value)) for value in (0.4, 0.41)]
        old = database.add(synthetic.record())
        under_heat = database.add(synthetic.record(k_wind_uohm_cm=-120.0))
        hosts.append(database.add_host(synthetic.host(dos_per_eV_atom=0.42)))
        new = database.add(synthetic.record(k_wind_uohm_cm=-121.0))
        broken = database.add(synthetic.failed(site="initial"))
        detail = {**synthetic.record().provenance, "heat": {"wind_row": under_heat, "kinetics_row": None}}
        heat = database.add(synthetic.record(hop="another", provenance=detail))
        assert served_copy(location, copy) == 4 + 2 + 1  # with the schema version
        with pytest.raises(StoreError, match="there already"):
            served_copy(location, copy)
        served = database.rows(), database.hosts()
    with Database(copy) as thin:
        assert [row["id"] for row in thin.rows(everything=True)] == [under_heat, new, broken, heat]
        assert old not in [row["id"] for row in thin.rows(everything=True)]
        # the first host: neither the newest nor that of a row that was kept
        assert [row["id"] for row in thin.host_rows(everything=True)] == hosts[1:]
        assert (thin.rows(), thin.hosts()) == served
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("new")) == ["served.db"]


@pytest.mark.parametrize("under", [{"wind_row": 2}, {"direct_row": 2}, {"kinetics_row": 2}, {"other_slabs_rows": [2]},
                                   {"other_settings_rows": [2]}])
def test_every_row_under_a_heat_of_transport_is_rested_on(under):
    superseded = [{"id": i, "standing": "superseded", "provenance": {}} for i in (1, 2)]
    heat = {"id": 3, "standing": "current", "provenance": {"heat": under}}
    assert [row["id"] for row in rested_on([*superseded, heat])] == [2, 3]


def test_a_copy_goes_into_a_server_and_numbers_go_on(location, tmp_path):
    with Database(tmp_path / "file.db", create=True) as database:
        database.add_host(synthetic.host())
        for turn in range(3):
            database.add(synthetic.record(hop=f"hop-{turn}"))
        rows = database.rows(everything=True)
    with Database(location, create=True) as server:
        server.restore(tmp_path / "file.db")
        assert server.rows(everything=True) == rows
        assert server.add(synthetic.record(hop="afterwards")) == 4
        assert server.add_host(synthetic.host(metal="Au")) == 2


def test_a_copy_is_taken_of_one_moment_while_others_write(location, tmp_path):
    Database(location, create=True).close()
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=synthetic.write_many, args=(location, 0, 40))
    writer.start()
    copies = []
    while writer.is_alive() and len(copies) < 20:
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        backup(location, copies[-1])
    writer.join(120)
    assert writer.exitcode == 0 and copies
    for copy in copies:
        with Database(copy) as database:
            hops = [row["hop"] for row in database.rows()]
        assert hops == [f"hop-0-{turn}" for turn in range(len(hops))]


def test_questions_use_the_indexes(tmp_path):
    """The plan of a question for one hop: both the rows and what supersedes them are looked up, nothing is scanned."""
    conditions = [Condition(key(name), "=", (value,)) for name, value in (("metal", "W"), ("facet", "110"))]
    with Database(tmp_path / "emforce.db", create=True) as database, database._transaction() as connection:
        found = sa.select(schema.records.c.id).where(*(c.clause(schema.records) for c in conditions))
        found = found.where(schema.records.c.status.in_(["ok"]), _is_newest())
        text = str(found.compile(connection, compile_kwargs={"literal_binds": True}))
        steps = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert any("records USING INDEX ix_records_hop (metal=? AND facet=?" in step for step in steps), steps
    assert any("later USING" in step for step in steps), steps
    assert not any(step.startswith("SCAN") for step in steps), steps
