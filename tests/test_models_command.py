"""`emforce model ...` end to end on a small database: tables, figures, CSV files, and bad input in one line."""

from __future__ import annotations

import csv
import math

import pytest
import synthetic

from emforce.cli import main
from emforce.database import Database


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "emforce.db"
    with Database(path, create=True) as database:
        for metal, facet, K in (("Cu", "100", -114.0), ("W", "110", 47.0)):
            # the W hop that synthetic gives has a real length
            database.add(synthetic.record(metal=metal, facet=facet, species=metal, site="hop average", fraction=math.nan,
                                          k_wind_uohm_cm=K))
    return path


def run(db, out, *words):
    return main(["model", *words, "-T", "600", "--db", str(db), "--out", str(out)])


def table(path):
    with path.open(encoding="utf-8") as file:
        first = file.readline()
        rows = list(csv.DictReader(file))
    assert first.startswith("# Z* > 0: force along the field") and "against the electrons" in first
    return rows


def test_continuum(db, tmp_path, capsys):
    given = ("--set", "d0_m2_s=7.5e-8 # EMspice", "--set", "ea_eV=0.84", "--set", "modulus_GPa=100 # EMspice")
    assert run(db, tmp_path, "continuum", "metal=Cu", *given, "--critical-MPa", "40") == 0
    out = capsys.readouterr().out
    assert "Blech (jL)_c" in out and "wind part only" in out and "EMspice" in out and "given without a source" in out
    rows = table(tmp_path / "model-continuum-Cu.csv")
    last = [float(row["stress_MPa"]) for row in rows[-200:]]
    assert last[0] < 0 < last[-1]  # Cu: tension where the electrons come in
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".pdf", ".csv"}


def test_surface(db, tmp_path, capsys):
    assert run(db, tmp_path, "surface", "--set", "gamma_J_m2=1 # round", "--time-tau", "0.1") == 0
    lines = capsys.readouterr().out.splitlines()
    (cu,) = [line for line in lines if line.startswith("Cu(") and "electrons" in line]
    (w,) = [line for line in lines if line.startswith("W(") and "electrons" in line]
    assert "electrons go out" in cu and "electrons come in" in w
    assert {row["metal"] for row in table(tmp_path / "model-surface.csv")} == {"Cu", "W"}


def test_kmc_takes_the_tensor_of_the_drifts(tmp_path, capsys):
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database:
        for site, k in (("hop average", 47.0), ("drift [001]", 21.0), ("drift [1-10]", 60.0)):
            database.add(synthetic.record(metal="W", facet="110", species="W", site=site, fraction=math.nan, k_wind_uohm_cm=k))
    assert run(path, tmp_path, "kmc", "--events", "400") == 0
    out = capsys.readouterr().out
    assert "Z* along [001]" in out and "Z* along [1-10]" in out
    (row,) = table(tmp_path / "model-kmc.csv")
    w = float(row["work_kT"])  # the first hop sees 47, the other 60 (2/3) - 21 (1/3) = 33 per unit
    expected = math.sinh(w / 2) * 2 + math.sinh(w / 2 * (60.0 * 2 / 3 - 21.0 / 3) / 47.0) * 2 / 3
    assert float(row["adatom_exact_hops_gamma0"]) == pytest.approx(expected, rel=1e-6)
    assert run(path, tmp_path, "kmc", "--events", "400", "--set", "z_star=5") == 0
    assert "Z* along" not in capsys.readouterr().out


def test_kmc(db, tmp_path, capsys):
    assert run(db, tmp_path, "kmc", "--events", "400") == 0
    out = capsys.readouterr().out
    found = {row["metal"]: row for row in table(tmp_path / "model-kmc.csv")}
    for metal, sign in (("Cu", -1), ("W", 1)):
        row = {name: float(value) for name, value in found[metal].items() if name not in ("metal", "facet")}
        assert sign * row["work_kT"] > 0
        assert sign * row["mass_hops_gamma0"] > 3 * row["mass_sigma_hops_gamma0"]
        assert abs(row["adatom_hops_gamma0"] - row["adatom_exact_hops_gamma0"]) < 3.5 * row["adatom_sigma_hops_gamma0"]
    assert "upwind" in out and "downwind" in out


def test_companions(db, tmp_path, capsys):
    assert run(db, tmp_path, "companions", "--set", "Cu.q_star_eV=0.085 # a trial") == 0
    out = capsys.readouterr().out
    assert "disagrees: formula/printed = 1.78" in out and "no value yet" in out
    (flux,) = [row for row in table(tmp_path / "model-companions.csv") if row["quantity"] == "thermal flux J_T"]
    assert float(flux["with_our_q_star"]) == pytest.approx(0.5 * float(flux["computed"]), rel=1e-3)


@pytest.mark.parametrize(("words", "match"), [
    (("continuum", "metal=Cu"), "d0_m2_s, ea_eV, modulus_GPa"),
    (("continuum",), "1 hop"),
    (("surface", "metal=W"), "gamma_J_m2"),
    (("kmc", "metal=Xx"), "serves"),
    (("kmc", "--set", "speed=1"), "barrier_eV"),
    (("kmc", "--bias-kT", "-1"), "bias"),
])
def test_bad_input_is_one_line_and_leaves_nothing(db, tmp_path, capsys, words, match):
    assert run(db, tmp_path / "out", *words) == 2
    err = capsys.readouterr().err
    assert match in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_hops_in_bulk_are_left_out_of_models_of_surfaces(tmp_path, capsys):
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database:
        for facet, defect, hop in (("100", "adatom", "hollow-bridge-hollow"), ("bulk", "vacancy", "vacancy-110")):
            database.add(synthetic.record(facet=facet, defect=defect, hop=hop, site="hop average", fraction=math.nan,
                                          k_wind_uohm_cm=-80.0))
    words = ("--set", "gamma_J_m2=1 # a test")
    assert run(path, tmp_path, "surface", *words) == 0
    assert "Cu bulk vacancy-110 left out" in capsys.readouterr().err
    assert {row["metal"] for row in table(tmp_path / "model-surface.csv")} == {"Cu"}
    assert run(path, tmp_path, "surface", "facet=bulk", *words) == 2
    assert "filter" in capsys.readouterr().err
