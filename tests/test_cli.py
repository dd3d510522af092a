from __future__ import annotations

import csv
import io
import json
import math
import signal
import subprocess
import sys
import time
import types

import pytest
import synthetic
import yaml

import emforce
from emforce import cli
from emforce.database import Database
from emforce.errors import ConvergenceError
from emforce.materials import material
from emforce.schema import SCHEMA_VERSION

SPEC = """metal = "Cu"\nfacet = "100"\nkind = "adatom"\n"""


@pytest.fixture
def stored(tmp_path):
    """A database with rows of Cu(100) and W(110), a failed one and a superseded one."""
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database:
        database.add_host(synthetic.host())
        database.add(synthetic.record(k_wind_uohm_cm=-1.0))
        database.add(synthetic.record())
        database.add(synthetic.record(site="initial", fraction=0.0, k_wind_uohm_cm=-120.0))
        names = {"metal": "W", "facet": "110", "species": "W"}
        database.add(synthetic.record(**names, k_wind_uohm_cm=70.0))
        database.add(synthetic.failed(**names, site="initial", fraction=0.0))
    return str(path)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "cu100.toml"
    path.write_text(SPEC)
    return str(path)


@pytest.fixture
def workflow(monkeypatch):
    """Stands in for the calculation: the wrapper around it is what is tested here."""
    fake = types.ModuleType("emforce.workflow")
    fake.calls = []

    def run(specs, **options):
        fake.calls.append((list(map(str, specs)), options))
        return fake.records

    fake.run, fake.records = run, [synthetic.record()]
    fake.status = lambda store: [f"store {store}: 3 of 5 steps finished"]
    monkeypatch.setitem(sys.modules, "emforce.workflow", fake)
    monkeypatch.setattr(emforce, "workflow", fake, raising=False)
    return fake


def call(capsys, *arguments):
    """Exit code, standard output, standard error."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_query_table(capsys, stored):
    code, out, err = call(capsys, "query", "metal=W", "-T", "600", "--db", stored)
    assert (code, err) == (0, "")
    head, rule, line = out.splitlines()
    assert "K_wind (µΩ cm)" in head and set(rule) == {"-", " "}
    rho = material("W").rho_uohm_cm(600.0)
    assert f"{70 / rho:.2f}" in line and "600" in line.split() and "upwind" in line.split()


def test_query_json_and_csv(capsys, stored):
    code, out, _ = call(capsys, "query", "-T", "300", "600", "--format", "json", "--db", stored)
    rows = json.loads(out)
    assert code == 0 and len(rows) == 6
    for row in rows:
        rho = material(row["metal"]).rho_uohm_cm(row["temperature_K"])
        sources, verified = material(row["metal"]).resistivity_sources(row["temperature_K"])
        assert all(source in row["rho_source"] for source in sources)
        assert ("not verified" in row["rho_source"]) == (not verified)
        assert row["z_wind"] == pytest.approx(row["k_wind_uohm_cm"] / rho, rel=1e-14)
        assert row["direction"] == ("upwind" if row["metal"] == "W" else "downwind")
        assert row["status"] == "ok" and row["standing"] == "current"
    _, text, _ = call(capsys, "query", "-T", "300", "600", "--format", "csv", "--db", stored)
    assert [float(row["z_wind"]) for row in csv.DictReader(io.StringIO(text))] == [
        row["z_wind"] for row in rows
    ]


def test_query_yaml_is_the_same_as_json(capsys, stored):
    answers = [call(capsys, "query", "--format", kind, "--db", stored)[1] for kind in ("json", "yaml")]
    assert yaml.safe_load(answers[1]) == json.loads(answers[0])


def test_query_ranks_wires_and_models(capsys, stored):
    options = ["-T", "600", "--wire-diameter-nm", "8", "--direct-model", "nominal", "--sort=-z_star", "--db", stored]
    code, out, err = call(capsys, "query", *options, "--format", "json")
    rows = json.loads(out)
    assert code == 0 and len(rows) == 3
    # the hosts of these rows hold no rho lambda: said, a line per metal
    assert [line.split(": ")[1] for line in err.splitlines()] == ["Cu", "W"] and err.count("a published one is used") == 2
    assert [row["rank_value"] for row in rows] == sorted((-row["z_star"] for row in rows), reverse=True)
    assert rows[-1]["metal"] == "W" and rows[-1]["z_direct_used"] == 6.0 and rows[-1]["wire_diameter_nm"] == 8.0
    code, out, err = call(capsys, "query", *options)
    assert code == 0 and "Z*" in out.splitlines()[0] and "nominal" in out and "rank" in out
    # without a direct part there is no total, and the ranking says so
    code, out, err = call(capsys, "query", "--sort", "|z_star|*D", "--db", stored)
    assert code == 0 and "no row has z_star, d_m2_s" in err and "Z*" not in out


def test_published_values_beside_ours(capsys, stored):
    assert call(capsys, "reference", "--store", "--db", stored)[0] == 0
    code, out, _ = call(capsys, "query", "metal=W", "facet=110", "--literature", "--format", "json", "--db", stored)
    rows = json.loads(out)
    assert code == 0 and {row["standing"] for row in rows} == {"current", "literature"}
    published = [row["ea_eV"] for row in rows if row["source"] and row["ea_eV"] is not None]
    assert sorted(published) == pytest.approx([0.6938, 0.95], abs=1e-4)
    code, out, err = call(capsys, "query", "status=unverified", "metal=Au", "-T", "600", "--db", stored)
    assert code == 0 and "unverified" in out and "other temperatures than asked for: Au 1123 to 1273 K" in err
    assert call(capsys, "reference")[0] == 0


def test_backup_restore_migrate(capsys, stored, tmp_path):
    copy, again = str(tmp_path / "copy.db"), str(tmp_path / "again.db")
    assert call(capsys, "backup", copy, "--db", stored)[0] == 0
    assert call(capsys, "restore", copy, "--db", again)[0] == 0
    assert call(capsys, "query", "--all", "--db", again)[1] == call(capsys, "query", "--all", "--db", stored)[1]
    code, out, err = call(capsys, "restore", copy, "--db", again)
    assert (code, out) == (1, "") and len(err.splitlines()) == 1 and "empty" in err
    code, out, err = call(capsys, "restore", str(tmp_path / "none.db"), "--db", str(tmp_path / "not made.db"))
    assert code == 1 and "no such copy" in err and not (tmp_path / "not made.db").exists()
    thin = str(tmp_path / "thin.db")
    assert call(capsys, "backup", thin, "--served", "--db", stored)[0] == 0
    assert call(capsys, "query", "--db", thin)[1] == call(capsys, "query", "--db", stored)[1]
    assert call(capsys, "migrate", "--db", stored)[1] == f"schema version {SCHEMA_VERSION} already\n"


def test_an_older_database_is_one_line(capsys, stored):
    with Database(stored) as database, database._transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '1'")
    for command in ("query", "check", "plot"):
        code, out, err = call(capsys, command, "--db", stored)
        assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "emforce migrate" in err


def test_query_all_marks_what_is_not_served(capsys, stored):
    _, out, _ = call(capsys, "query", "--all", "--db", stored)
    assert len(out.splitlines()) == 2 + 5
    assert "superseded" in out and "failed: SCF did not converge" in out


def test_conditions_after_the_temperatures_are_conditions(capsys, stored):
    code, out, _ = call(
        capsys, "query", "-T", "300", "metal=W", "z_wind>0", "--format", "json", "--db", stored
    )
    assert code == 0 and [row["metal"] for row in json.loads(out)] == ["W"]


def test_a_question_without_an_answer_says_what_is_there(capsys, stored):
    code, out, err = call(capsys, "query", "metal=Au", "--db", stored)
    assert (code, out) == (1, "")
    assert "metal: Cu, W" in err and len(err.splitlines()) == 1
    code, out, err = call(capsys, "query", "metal=Au", "--format", "json", "--db", stored)
    assert (code, json.loads(out)) == (0, []) and "metal: Cu, W" in err


def test_database_from_the_environment(capsys, stored, monkeypatch):
    monkeypatch.setenv("EMFORCE_DB", stored)
    assert call(capsys, "query", "metal=W")[0] == 0


def test_no_database_yet(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMFORCE_DB", raising=False)
    for command in ("query", "plot", "check"):
        code, out, err = call(capsys, command)
        assert (code, out) == (1, "") and "emforce run" in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


BAD = [
    (["query", "colour=red"], "colour"),
    (["query", "metal"], "filter"),
    (["query", "z_wind<low"], "z_wind"),
    (["query", "-T", "0"], "temperature"),
    (["query", "-T", "-300"], "temperature"),
    (["query", "-T", "hot"], "temperature"),
    (["query", "-T", "nan"], "temperature"),
    (["query", "metal=Cu", "-T", "5000"], "temperature"),
    (["query", "--format", "xml"], "format"),
    (["query", "--db", "mysql://a/b"], "--db"),
    (["query", "k_wind_uohm_cm<-5e-8 ohm m"], "a number in µΩ cm, without the unit"),
    (["query", "-T", "600C"], "temperature"),
    (["query", "--sort", "foo*2"], "foo"),
    (["query", "--sort", "z_wind*("], "--sort"),
    (["query", "--direct-model", "guess"], "direct-model"),
    (["query", "--wire-diameter-nm", "-5"], "wire diameter"),
    (["query", "--wire-diameter-nm", "5", "--specularity", "2"], "specularity"),
    (["query", "--reflection", "0.3"], "--wire-diameter-nm"),
    (["query", "--best", "--all"], "not allowed with"),
    (["query", "--best", "site=saddle"], "site"),
    (["migrate", "--db", "mysql://a/b"], "--db"),
    (["backup"], "file"),
    (["plot", "z_wind<0"], "filter"),
    (["plot", "--kind", "pie"], "kind"),
    (["plot", "--format", "gif"], "format"),
    (["run", "SPEC", "--preset", "slow"], "preset"),
    (["run", "SPEC", "--workers", "0"], "--workers"),
    (["run", "SPEC", "--temperature", "5000"], "temperature"),
    (["run", "SPEC", "--set", "mesh"], "--set"),
    (["run", "absent.toml"], "absent.toml"),
    (["run", "SPEC", "--db", "http://x"], "--db"),
    (["run"], "SPEC"),
    (["dance"], "dance"),
    ([], "COMMAND"),
]


@pytest.mark.parametrize(
    "arguments, field", BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys, tmp_path, monkeypatch, stored, spec, workflow, arguments, field
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.setenv("EMFORCE_DB", stored)
    code, out, err = call(capsys, *(spec if word == "SPEC" else word for word in arguments))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and field in err
    assert workflow.calls == [] and list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "line, field", [('metal = "Xx"', "metal"), ('facet = "123"', "facet"), ('colour = "red"', "colour")]
)
def test_bad_specification_is_one_line(capsys, tmp_path, workflow, line, field):
    path = tmp_path / "bad.toml"
    name = line.split(" ")[0]
    path.write_text("\n".join([row for row in SPEC.splitlines() if not row.startswith(name)] + [line]))
    code, out, err = call(capsys, "run", str(path))
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert field in err and "allowed" in err and workflow.calls == []


def test_run_hands_over_and_prints_the_table(capsys, tmp_path, spec, workflow):
    arguments = ["--set", "mesh=48", "--set", "basis=vp", "--workers", "2", "--db", str(tmp_path / "a.db")]
    code, out, _ = call(capsys, "run", spec, *arguments)
    assert code == 0
    ((specs, options),) = workflow.calls
    assert specs == [spec]
    assert options["overrides"] == {"mesh": 48, "basis": "vp"} and options["workers"] == 2
    assert options["preset"] == "quick" and options["database"] == str(tmp_path / "a.db")
    assert "Z_wind(300 K)" in out and "Z_wind(800 K)" in out and "downwind" in out
    _, out, _ = call(capsys, "run", spec, "--temperature", "350", "700")
    assert "Z_wind(350 K)" in out and "Z_wind(700 K)" in out and "800" not in out


def test_a_failed_run_is_told_and_counts(capsys, spec, workflow):
    workflow.records = [synthetic.record(), synthetic.failed(site="initial", fraction=0.0)]
    code, out, _ = call(capsys, "run", spec)
    assert code == 1 and "failed: SCF did not converge" in out


@pytest.mark.parametrize("error, code", [(ConvergenceError("SCF:\nno"), 1), (KeyboardInterrupt(), 130)])
def test_errors_of_a_run_are_one_line(capsys, spec, workflow, error, code):
    def run(*_, **__):
        raise error

    workflow.run = run
    found, out, err = call(capsys, "run", spec)
    assert (found, out) == (code, "") and len(err.splitlines()) == 1 and "Traceback" not in err


def test_status(capsys, stored, workflow, tmp_path):
    code, out, _ = call(capsys, "status", "--db", stored)
    assert code == 0 and "3 of 5 steps" in out and "5 records (1 failed, 4 ok)" in out
    code, out, _ = call(capsys, "status", "--db", str(tmp_path / "none.db"))
    assert code == 0 and "no database there yet" in out


def test_plot_writes_each_figure(capsys, stored, tmp_path):
    out = tmp_path / "figures"
    code, text, _ = call(
        capsys, "plot", "--db", stored, "--out", str(out), "--format", "svg", "--format", "png"
    )
    assert code == 0
    names = sorted(path.name for path in out.iterdir())
    stems = ["host-Cu-100-vp-quick", "k-along-hop", "z-wind"]
    assert names == sorted(f"{stem}.{kind}" for stem in stems for kind in ("svg", "png"))
    assert len(text.splitlines()) == 6 and all(path.stat().st_size > 5000 for path in out.iterdir())
    code, _, err = call(capsys, "plot", "metal=Au", "--db", stored)
    assert code == 1 and "metal: Cu, W" in err


def test_a_host_that_was_compared_once_is_drawn_once(capsys, stored, tmp_path):
    with Database(stored) as database:
        database.add_host(synthetic.host(preset="quick (structure.slab_size=(4, 3, 1))"))
        database.add_host(synthetic.host(preset="quick (dft.functional=LDA)", band_rms_eV=0.5))
    code, _, _ = call(capsys, "plot", "--kind", "host", "--db", stored, "--out", str(tmp_path / "f"), "--format", "svg")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "host-Cu-100-vp-quick.svg", "host-Cu-100-vp-quick_dft.functional_LDA_.svg",
    ]


def test_check(capsys, stored):
    code, out, _ = call(capsys, "check", "--db", stored)
    assert code == 0 and ", 0 failed" in out
    with Database(stored) as database, database._transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE records SET k_wind_sigma_uohm_cm = 1 WHERE id = 2")
    code, out, _ = call(capsys, "check", "--db", stored)
    assert code == 1 and "FAILED" in out and "quadrature" in out


def test_help_lists_the_keys_and_imports_nothing_heavy():
    heavy = "gpaw ase dask distributed sqlalchemy matplotlib pymatgen numpy scipy"
    program = (
        "import sys, emforce, emforce.cli\n"
        "try: emforce.cli.main(['query', '--help'])\n"
        "except SystemExit: pass\n"
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=synthetic.environment(),
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "k_wind_uohm_cm" in done.stdout and "[µΩ cm]" in done.stdout


def test_build_writes_the_structures(capsys, tmp_path, spec, workflow):
    from emforce.structure import build_hop, load_spec

    workflow.load_hops = lambda specs, **_: [
        build_hop(load_spec(p), size=(2, 2, 1), layers=3, vacuum=6.0) for p in specs
    ]
    code, out, _ = call(capsys, "build", spec, "--out", str(tmp_path / "built"))
    assert code == 0 and "hop vector" in out
    assert (tmp_path / "built" / "cu100" / "host.extxyz").stat().st_size > 0


def test_interrupt_from_outside_is_one_line(tmp_path, spec):
    """A real SIGINT to a real process, in the middle of a run that takes for ever."""
    program = (
        "import sys, time, types, emforce\n"
        "fake = types.ModuleType('emforce.workflow')\n"
        "fake.run = lambda *a, **k: (print('running', flush=True), time.sleep(600))\n"
        "sys.modules['emforce.workflow'] = emforce.workflow = fake\n"
        "from emforce.cli import main\n"
        f"sys.exit(main(['run', {spec!r}]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=synthetic.environment(), cwd=tmp_path,
        # a shell that started the tests in the background made this process deaf to SIGINT, and its children too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline().strip() == "running"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and len(err.splitlines()) == 1 and "interrupted" in err


def test_a_reader_that_leaves_early_is_no_error(stored):
    command = f"{sys.executable} -m emforce.cli query --format json --db {stored} | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=synthetic.environment()
    )
    assert done.stdout == "[" and "Traceback" not in done.stderr and math.isfinite(done.returncode)
