"""`emforce verdict`: probabilities against the normal law, both ends of an interval, the observed directions, bad input."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
import wire_rows

from emforce import cli
from emforce.best import best_drifts, best_rows
from emforce.database import Database
from emforce.errors import InputError
from emforce.materials import material
from emforce.models.verdict import DECIDED, _turns, findings
from emforce.models.verdict_plot import headline_figure
from emforce.models.verdict_text import cells
from emforce.wire_analysis import WireQuestion

ASKED = WireQuestion(temperatures_K=(300.0,), diameters_nm=(10.0, 3.0))


def found_in(path, asked=ASKED):
    with Database(path) as database:
        rows = best_rows(database.rows([]))
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
    return findings(rows, hosts, asked)[0]


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.fixture
def db(tmp_path):
    return wire_rows.write(tmp_path / "emforce.db")


def test_probability_is_that_of_the_observed_sign(db):
    for f in found_in(db):
        up = normal(f.value / f.sigma)
        assert f.observed == {"Cu": "downwind", "W": "upwind"}[f.metal]
        assert f.probability_low == f.probability_high == pytest.approx(up if f.observed == "upwind" else 1 - up, abs=1e-12)
        assert (f.low, f.high) == pytest.approx((f.value - f.sigma, f.value + f.sigma))
        chance = f.probability_low
        assert f.verdict == ("as observed" if chance >= DECIDED else "against" if chance <= 1 - DECIDED else "undecided")


def with_drifts(path):
    """All rows of a database to which the drift on W(110) is added, and its hosts."""
    with Database(path) as database:
        wire_rows.add_drifts(database)
        return database.rows([]), {int(row["id"]): row for row in database.host_rows(everything=True)}


def test_drift_along_each_direction_stands_behind_its_hop(db):
    rows, hosts = with_drifts(db)
    found = findings(best_rows(rows)[::-1] + best_drifts(rows), hosts, ASKED)[0]
    assert list(dict.fromkeys((f.metal, f.site) for f in found)) == [
        ("W", "hop average"), ("W", "drift [001]"), ("W", "drift [1-10]"), ("Cu", "hop average")]
    wind = {f.site: f for f in found if f.metal == "W" and f.term == "wind" and f.diameter_nm is None}
    assert wind["drift [001]"].probability_low < 0.5 < wind["drift [1-10]"].probability_low
    assert cells([wind["drift [1-10]"]])[1][1] == "along [1-10]" and cells([wind["hop average"]])[1][1] == "along the hop"


def test_total_is_direct_and_wind_at_every_diameter(db):
    found = found_in(db)
    direct = {f.metal: f for f in found if f.term == "direct"}
    wind = {(f.metal, f.diameter_nm): f for f in found if f.term == "wind"}
    totals = [f for f in found if f.term == "total" and f.direct_model == "dft"]
    assert len(totals) == len(wind) == 2 * 3
    for f in totals:
        parts = direct[f.metal], wind[f.metal, f.diameter_nm]
        assert f.value == pytest.approx(sum(p.value for p in parts))
        assert f.sigma == pytest.approx(math.hypot(*(p.sigma for p in parts)))
    assert all(f.diameter_nm is None for f in direct.values())


def test_wind_keeps_its_sign_in_thin_wires_and_loses_its_size(db):
    found = {f.diameter_nm: f.value for f in found_in(db) if f.term == "wind" and f.metal == "Cu"}
    assert found[None] < found[10.0] < found[3.0] < 0


def test_interval_gives_two_probabilities(tmp_path):
    ends = {"z_direct": math.nan, "z_direct_sigma_parts": {}, "z_direct_low": -9.0, "z_direct_high": 2.0}
    found = [f for f in found_in(wire_rows.write(tmp_path / "emforce.db", **ends)) if f.metal == "W"]
    wind = {f.diameter_nm: f for f in found if f.term == "wind"}
    totals = [f for f in found if f.term == "total" and f.direct_model == "dft"]
    for f in totals:
        w = wind[f.diameter_nm]
        assert f.value is None and f.sigma is None
        assert (f.low, f.high) == pytest.approx((-9 + w.value - w.sigma, 2 + w.value + w.sigma))
        assert f.probability_low == pytest.approx(normal((-9 + w.value) / w.sigma))
        assert f.probability_high == pytest.approx(normal((2 + w.value) / w.sigma))
    direct = next(f for f in found if f.term == "direct")
    assert (direct.probability_low, direct.probability_high, direct.verdict) == (0.0, 1.0, "undecided")


def test_largest_part_has_the_largest_share(db):
    for f in found_in(db):
        share = float(f.largest_part.rpartition("(")[2].removesuffix(" %)"))
        assert 0 < share <= 100
        assert f.largest_part.startswith("wind" if f.term == "wind" else ("direct", "wind"))


def test_bulk_hops_and_metals_without_observation_are_left_out(tmp_path):
    assert found_in(wire_rows.write(tmp_path / "a.db", facet="bulk", defect="vacancy")) == []
    assert found_in(wire_rows.write(tmp_path / "b.db", metal="Al", species="Al")) == []


def test_one_kind_of_wire(db):
    with pytest.raises(InputError, match="one value for the verdict"):
        found_in(db, WireQuestion(specularities=(0.0, 0.5)))


def test_formats_hold_the_same(capsys, db):
    def printed(*arguments):
        assert cli.main(["verdict", "--db", db, *arguments]) == 0
        return capsys.readouterr().out

    rows = json.loads(printed("--format", "json"))
    table = list(csv.DictReader(io.StringIO(printed("--format", "csv"))))
    assert [row["verdict"] for row in rows] == [row["verdict"] for row in table]
    assert len(printed().splitlines()) == len(rows) + 2
    markdown = printed("--format", "markdown").splitlines()
    assert len(markdown) == len(rows) + 2
    assert {line.count("|") for line in markdown} == {12}
    warm = json.loads(printed("metal=W", "-T", "400", "600", "--format", "json"))
    assert {row["temperature_K"] for row in warm} == {400.0, 600.0}


@pytest.mark.parametrize(("arguments", "message"), [
    (("--specularity", "2"), "specularity"),
    (("--reflection", "1"), "reflection"),
    (("--diameter-nm", "-3"), "diameter"),
    (("-T", "cold"), "cold"),
    (("metall=W",), "metall"),
])
def test_bad_input_is_one_line(capsys, db, arguments, message):
    assert cli.main(["verdict", "--db", db, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_nothing_to_judge(capsys, tmp_path):
    assert cli.main(["verdict", "--db", wire_rows.write(tmp_path / "b.db", metal="Al", species="Al")]) == 1
    assert "observed" in capsys.readouterr().err


def test_headline_shows_every_hop_and_its_values(db):
    with Database(db) as database:
        rows = best_rows(database.rows([]))
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
    direct, bulk, wire = headline_figure(rows, hosts, 300.0).axes
    assert [tick.get_text() for tick in bulk.get_xticklabels()] == ["Cu(100)", "W(110)"]
    found = {(f.metal, f.term, f.diameter_nm): f.value for f in found_in(db) if f.direct_model in ("", "dft")}

    def drawn(axis):
        return sorted(float(line.get_ydata()[0]) for line in axis.lines if line.get_marker() in ("o", "D", "^"))

    assert drawn(direct) == pytest.approx(sorted(found[m, "direct", None] for m in ("Cu", "W")))
    for axis, diameter in ((bulk, None), (wire, 3.0)):
        assert drawn(axis) == pytest.approx(sorted(found[m, t, diameter] for m in ("Cu", "W") for t in ("wind", "total")))


def test_headline_has_a_column_for_each_direction_of_drift(db):
    rows, hosts = with_drifts(db)
    bulk = headline_figure(best_rows(rows) + best_drifts(rows), hosts, 300.0).axes[1]
    assert [tick.get_text().split("\n")[-1] for tick in bulk.get_xticklabels()] == [
        "Cu(100)", "along hop", "$[001]$", r"$[1\bar{1}0]$"]
    wind = [float(line.get_ydata()[0]) for line in bulk.lines if line.get_marker() == "o"]
    rho = material("W").rho_uohm_cm(300.0)
    assert {round(value, 6) for value in (-20.0 / rho, 80.0 / rho)} <= {round(value, 6) for value in wind}


def test_headline_says_what_is_missing(capsys, tmp_path):
    db = wire_rows.write(tmp_path / "b.db", metal="Al", species="Al")
    assert cli.main(["plot", "--db", db, "--kind", "headline", "--out", str(tmp_path)]) == 1
    assert "no headline to draw" in capsys.readouterr().err


@pytest.mark.parametrize("forces, direct, where", [
    ((30.0, 20.0, 10.0, 0.0, -10.0), 0.0, 0.1),       # straight: where it is zero
    ((30.0, 25.0, 20.0, -20.0, -30.0), 0.0, 0.05),    # half way between two energies
    ((-5.0, 15.0, 20.0, 15.0, -45.0), 0.0, 0.125),    # the nearer of two: -0.175 and +0.125
    ((30.0, 25.0, 20.0, 15.0, 10.0), 0.0, None),
    ((30.0, 20.0, 10.0, 0.0, -10.0), 2.0, 0.2),       # Z_direct 2 against K/rho = -2 at rho = 5
])  # fmt: skip
def test_shift_of_the_fermi_energy_that_turns_the_sign(forces, direct, where):
    row = {"energies_eV": [-0.2, -0.1, 0.0, 0.1, 0.2], "k_of_energy_uohm_cm": list(forces)}
    turns, reach = _turns(row, 5.0, direct)
    assert reach == pytest.approx(0.2)
    assert turns == (None if where is None else pytest.approx(where))


def test_rows_without_energies_say_nothing_of_the_fermi_energy():
    assert _turns({"energies_eV": None, "k_of_energy_uohm_cm": None}, 5.0, 0.0) == (None, None)
