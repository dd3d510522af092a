"""`emforce wires`: numbers against the formulas and against `emforce query`, output, bad input."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
import wire_rows
from scipy import constants as c

from emforce import cli
from emforce.database import Database
from emforce.errors import InputError
from emforce.evaluate import Wire, host_of, rho_lambda
from emforce.materials import material
from emforce.physics.wire import wire_resistivity
from emforce.wire_analysis import (
    COLUMNS,
    WireQuestion,
    carried_by,
    sign_changes,
    wind_share,
)

#: the parts of a synthetic record's sigma, in quadrature
SIGMA_K = math.hypot(10 / 3, math.pi)


@pytest.fixture
def db(tmp_path):
    return wire_rows.write(tmp_path / "emforce.db")


def run(capsys, *arguments):
    code = cli.main(["wires", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def rows_of(capsys, db, *arguments):
    code, out, err = run(capsys, *arguments, "--format", "json", "--db", db)
    assert code == 0 and not err
    return json.loads(out)


def test_the_drift_along_each_direction_is_shown_where_it_is_asked_for(capsys, db):
    with Database(db) as database:
        wire_rows.add_drifts(database)
    question = ("metal=W", "-T", "600", "--diameter-nm", "5", "--direct-model", "none")
    assert {row["site"] for row in rows_of(capsys, db, *question)} == {"hop average"}
    rows = {(row["site"], row["wire_diameter_nm"]): row for row in rows_of(capsys, db, *question, "--drift")}
    bulk = material("W").rho_uohm_cm(600)
    assert {site: rows[site, None]["z_wind"] * bulk for site in ("hop average", "drift [001]", "drift [1-10]")} == pytest.approx(
        {"hop average": 47.0, "drift [001]": -20.0, "drift [1-10]": 80.0})
    assert rows["drift [1-10]", 5.0]["rho_uohm_cm"] == pytest.approx(rows["hop average", 5.0]["rho_uohm_cm"])


def test_numbers_follow_from_the_formulas(capsys, db):
    rows = rows_of(capsys, db, "metal=W", "-T", "600", "--diameter-nm", "5", "--specularity", "0.2", "--reflection", "0.3")
    assert len(rows) == 2 * 4  # 5 nm and bulk, four direct parts
    bulk = material("W").rho_uohm_cm(600)
    rho = wire_resistivity(bulk, 840.0, 50.0, 0.2, "diameter", 0.3)
    for row in rows:
        expected = bulk if row["wire_diameter_nm"] is None else rho
        assert row["rho_uohm_cm"] == pytest.approx(expected, rel=1e-6)
        assert row["z_wind"] == pytest.approx(47.0 / expected)
        assert row["z_star"] == pytest.approx(row["z_direct_used"] + 47.0 / expected)
        assert row["force_per_j_fN_m2_TA"] == pytest.approx(
            c.e * (row["z_direct_used"] * expected + 47.0) * 1e-8 * 1e27)
        assert row["probability_upwind"] == pytest.approx(0.5 * (1 + math.erf(row["z_star"] / row["z_star_sigma"] / 2**0.5)))
    direct = {row["direct_model"]: row["z_direct_used"] for row in rows}
    assert direct["dft"] == 0.8 and direct["nominal"] == 6 and direct["none"] == 0
    volume = material("W").volume_per_atom()
    assert direct["drude"] == pytest.approx(c.m_e * volume * 1e-30 * c.epsilon_0 * (7.6 * c.e / c.hbar) ** 2 / c.e**2)


@pytest.mark.parametrize("facet", ["bulk", "100"])
def test_same_as_a_query_for_one_wire(capsys, tmp_path, facet):
    """Two routes to one number: the command, and `emforce query --best --wire-diameter-nm`.

    The workflow stores the host as "bulk" also for hops at a surface, and ties such rows to no host (host_id is null).
    """
    db = wire_rows.write(tmp_path / "emforce.db", host_facet=facet)
    rows = rows_of(capsys, db, "metal=Cu", "-T", "300", "--diameter-nm", "7", "--direct-model", "dft", "--reflection", "0.4")
    code = cli.main(["query", "metal=Cu", "-T", "300", "--best", "--wire-diameter-nm", "7", "--reflection", "0.4",
                     "--format", "json", "--db", db])
    (asked,) = json.loads(capsys.readouterr().out)
    assert code == 0
    names = ("z_star", "z_direct_used", "k_wind_uohm_cm", "force_per_j_fN_m2_TA")
    sigmas = ("z_star_sigma", "rho_sigma_uohm_cm", "z_wind_sigma", "force_per_j_sigma_fN_m2_TA", "k_wind_sigma_uohm_cm")
    for name in (*names, *sigmas):
        assert rows[0][name] == pytest.approx(asked[name], rel=1e-9), name
    assert "bands of the host" in asked["rho_source"] and "0.675 fΩ m²" in asked["rho_source"]
    with Database(db) as database:
        assert (database.rows()[0]["host_id"] is None) == (facet == "bulk")
        hop = database.hops(metal="Cu").at(300, direct_model="drude", wire=Wire(7.0))[0]
    assert hop["z_direct_used"] > 0 and "bands of the host" in hop["rho_source"]


def test_sigma_of_rho_lambda_is_in_the_wire(capsys, db):
    """In the thin limit rho is rho lambda times a number, so that their relative uncertainties agree."""
    with Database(db) as database:
        (hop,) = database.hops(metal="Cu").at(300, wire=Wire(0.05))
        host = next(row for row in database.host_rows(everything=True) if row["metal"] == "Cu")
    path = rho_lambda(host)
    assert path.relative == pytest.approx((9.1 / 8.85) ** 2 - 1)
    assert hop["rho_sigma_uohm_cm"] / hop["rho_uohm_cm"] == pytest.approx(path.relative, rel=0.02)
    assert hop["z_wind_sigma"] == pytest.approx(
        math.hypot(SIGMA_K, hop["z_wind"] * hop["rho_sigma_uohm_cm"]) / hop["rho_uohm_cm"])


def test_a_wire_without_a_host_says_so(capsys, tmp_path):
    db = wire_rows.write(tmp_path / "emforce.db", basis="another")
    assert cli.main(["query", "metal=W", "--best", "--wire-diameter-nm", "7", "--format", "json", "--db", db]) == 0
    printed = capsys.readouterr()
    assert "W: no host of its basis" in printed.err and "Gall" in json.loads(printed.out)[0]["rho_source"]


def test_uncertainties(capsys, db):
    """sigma(K), sigma(Z_direct), rho of the bulk (2 % for W) and rho lambda (the host's error against plane waves)."""
    wire, bulk = rows_of(capsys, db, "metal=W", "-T", "600", "--diameter-nm", "4", "--direct-model", "dft")
    assert bulk["rho_sigma_uohm_cm"] == pytest.approx(0.02 * bulk["rho_uohm_cm"])
    assert bulk["z_star_sigma"] == pytest.approx(math.hypot(0.3, SIGMA_K / bulk["rho_uohm_cm"], 0.02 * bulk["z_wind"]))
    with Database(db) as database:
        (host,) = (host for host in database.host_rows(everything=True) if host["metal"] == "W")
    path = rho_lambda(host)
    assert path.value == pytest.approx(840.0)
    assert path.relative == pytest.approx((9.1 / 8.85) ** 2 - 1)
    relative = wire["rho_sigma_uohm_cm"] / wire["rho_uohm_cm"]
    assert 0.02 < relative < path.relative  # the thin wire has most of it from rho lambda


def test_table_says_sign_and_term(capsys, db):
    code, out, _ = run(capsys, "metal=W,Cu", "-T", "300", "--diameter-nm", "3", "10", "--reflection", "0.3", "--db", db)
    assert code == 0
    for words in ("W(110) adatom", "hop average", "T = 300 K, p = 0, R = 0.3, D = d", "Z_direct (dft) = 0.80 ± 0.30",
                  "Z_direct (model: nominal) = 6", "Z* (model: drude)", "P(>0)", "bulk", "upwind by both", "downwind by the wind",
                  "no change of sign"):
        assert words in out, words
    assert len([line for line in out.splitlines() if line.startswith(("3 ", "10 ", "bulk"))]) == 6


def test_change_of_sign_is_named(capsys, tmp_path):
    """A wind against a larger direct part: Z* turns where Z_direct rho = -K, with its undecided range."""
    db = wire_rows.write(tmp_path / "emforce.db", z_direct=6.0, z_direct_low=5.7, z_direct_high=6.3)
    _, out, _ = run(capsys, "metal=Cu", "-T", "300", "--reflection", "0.3", "--direct-model", "dft", "--db", db)
    (line,) = [line for line in out.splitlines() if "changes sign at" in line]
    diameter = float(line.split("changes sign at ")[1].split(" nm")[0])
    rho = wire_resistivity(material("Cu").rho_uohm_cm(300), 675.0, 10 * diameter, 0.0, "diameter", 0.3)
    assert 6.0 * rho == pytest.approx(114.0, rel=0.02)
    assert "undecided from" in line
    with Database(db) as database:
        hosts = {row["id"]: row for row in database.host_rows(everything=True)}
        rows = [row for row in database.rows() if row["site"] == "hop average" and row["metal"] == "Cu"]
    ((_, change),) = sign_changes(rows, hosts, WireQuestion((300.0,), direct_models=("dft",)))
    assert change.diameter == pytest.approx(10 * diameter, rel=0.05)
    assert change.undecided[0][0] < change.diameter < change.undecided[0][1]


def test_what_was_not_computed_is_said_so(capsys, tmp_path):
    db = wire_rows.write(tmp_path / "emforce.db", direct=False)
    code, out, _ = run(capsys, "metal=W", "-T", "300", "--diameter-nm", "5", "--db", db)
    assert code == 0 and "Z_direct (dft) = not computed" in out
    rows = rows_of(capsys, db, "metal=W", "-T", "300", "--diameter-nm", "5", "--direct-model", "dft")
    assert all(row["z_star"] is None and row["direction_total"] == "not computed" for row in rows)


def test_an_interval_has_a_direction_and_no_number(capsys, tmp_path):
    interval = {"z_direct": math.nan, "z_direct_sigma_parts": {}, "z_direct_low": -1.0, "z_direct_high": 2.0}
    db = wire_rows.write(tmp_path / "emforce.db", **interval)
    rows = rows_of(capsys, db, "metal=Cu", "-T", "300", "--diameter-nm", "1", "50", "--direct-model", "dft")
    assert [row["direction_total"] for row in rows] == ["undecided", "downwind", "downwind"]
    assert all(row["z_star"] is None for row in rows)


def test_csv_and_sites(capsys, db):
    code, out, _ = run(capsys, "metal=Cu", "site=initial", "-T", "300", "--diameter-nm", "5", "--format", "csv", "--db", db)
    table = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and list(table[0]) == list(COLUMNS)
    assert {row["site"] for row in table} == {"initial"} and float(table[0]["k_wind_uohm_cm"]) == -228.0
    assert table[-1]["wire_diameter_nm"] == ""


def test_temperatures_beyond_the_table_are_left_out_aloud(capsys, db):
    code, out, err = run(capsys, "-T", "300", "2000", "--diameter-nm", "5", "--db", db)
    assert code == 0 and "Cu hollow-bridge-hollow at 2000 K left out" in err and "T = 2000 K" in out


def test_a_host_is_found_by_its_basis(db):
    with Database(db) as database:
        hosts = {row["id"]: row for row in database.host_rows(everything=True)}
        row = next(row for row in database.rows() if row["metal"] == "W")
    assert host_of(row, hosts)["metal"] == "W"
    assert host_of({**row, "basis": "another"}, hosts) is None
    failed = {i: {**host, "status": "failed"} for i, host in hosts.items()}
    assert host_of({**row, "host_id": None}, failed) is None


def test_terms():
    assert carried_by(3.0, 1.0) == carried_by(-3.0, -1.0) == "both"
    assert carried_by(-3.0, 1.0) == "wind" and carried_by(-3.0, 6.0) == "direct"
    assert carried_by(0.0, 0.0) == "" and wind_share(0.0, 0.0) is None
    assert wind_share(-3.0, 1.0) == 0.75


@pytest.mark.parametrize(("arguments", "words"), [
    (["--specularity", "1.5"], "specularity: 1.5"), (["--specularity", "none"], "--specularity: 'none'"),
    (["--reflection", "1"], "reflection: 1.0"), (["--diameter-nm", "-3"], "diameter: -3.0"),
    (["--diameter-nm", "nan"], "diameter: nan"), (["--grain-size-nm", "0"], "grain_size"),
    (["-T", "-5"], "temperature"), (["-T", "cold"], "temperature: 'cold'"), (["z_wind<0"], "stored keys only"),
    (["metall=W"], "metall"),
])
def test_bad_input_is_one_line(capsys, db, arguments, words):
    code, out, err = run(capsys, *arguments, "--db", db)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and words in err


def test_no_such_record(capsys, db):
    code, out, err = run(capsys, "metal=Au", "--db", db)
    assert code == 1 and out == "" and "no record meets this" in err
    with pytest.raises(SystemExit) as caught:
        cli.main(["wires", "--direct-model", "guess", "--db", db])
    assert caught.value.code == 2


@pytest.mark.parametrize("changes", [{"temperatures_K": ()}, {"diameters_nm": (0.0,)}, {"direct_models": ("x",)},
                                     {"grain_size_nm": -1.0}])
def test_bad_question(changes):
    with pytest.raises(InputError):
        WireQuestion(**changes)
