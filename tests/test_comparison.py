"""Computed against published: the numbers are those of both rows, and nothing from memory decides anything."""

from __future__ import annotations

import csv
import json
import math

import pytest
import synthetic

from emforce import cli, comparison, comparison_text
from emforce.best import best_rows
from emforce.commands import compare as command
from emforce.comparison import MEMORY, NOTHING, PLANE_WAVES, compare
from emforce.database import Database
from emforce.errors import InputError
from emforce.materials import material
from emforce.record import Record
from emforce.seebeck import published_heats

HOP = {"defect": "adatom", "hop": "hollow-bridge-hollow", "site": "hop average"}
OURS = {"d0_m2_s": 2e-7, "d0_sigma_m2_s": 1e-7, "ea_eV": 0.50, "ea_sigma_eV": 0.04, "barrier_eV": 0.50, "barrier_sigma_eV": 0.08,
        "formation_energy_eV": 0.6, "formation_energy_sigma_eV": 0.05}  # fmt: skip


def published(metal: str, facet: str, name: str, **changes: object) -> Record:
    return Record(**{
        "spec": f"literature {name}", "metal": metal, "facet": facet, "species": metal, **HOP, "preset": "literature",
        "method": "measured, made up", "status": "literature", "source": f"source {name}", "provenance": {"seen": "here"},
        **changes})  # fmt: skip


@pytest.fixture
def db(tmp_path):
    """Cu(100) with kinetics, W(110) with an interval of Z_direct, hosts, and what is published about both."""
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database:
        database.add_host(synthetic.host(facet="bulk", rho_lambda_fohm_m2=0.675, dos_compared_per_eV_atom=0.30,
                                         dos_plane_wave_per_eV_atom=0.31))
        database.add_host(synthetic.host(facet="bulk", metal="W", status="failed", reason="bands", rho_lambda_fohm_m2=0.84))
        average = {"site": "hop average", "fraction": math.nan}
        parts = {"k_wind_sigma_parts_uohm_cm": {"layers": 20.0}}
        database.add(synthetic.record(**average, k_wind_uohm_cm=-114.0, z_direct=0.7, z_direct_sigma_parts={"drift": 0.1},
                                      **parts, **OURS))
        database.add(synthetic.record(**average, metal="W", facet="110", species="W", k_wind_uohm_cm=47.0, z_direct_low=-1.0,
                                      z_direct_high=3.0, **parts))
        for record in (
            published("Cu", "100", "a", barrier_eV=0.69),
            published("Cu", "100", "b", barrier_eV=0.39, barrier_sigma_eV=0.06),
            published("Cu", "100", "c", barrier_eV=9.0, status="unverified", reason="not seen"),
            published("Cu", "100", "d", ea_eV=9.0, status="unverified", reason="not seen"),
            published("Cu", "100", "e", d0_m2_s=4e-7, ea_eV=0.52, hop="another hop"),
            published("Cu", "100", "f", formation_energy_eV=0.7, hop="another hop"),
            published("Cu", "100", "g", z_star_reported=-30.0, z_star_reported_sigma=3.0, reported_low_K=500.0,
                      reported_high_K=700.0),
            published("W", "110", "h", z_star_reported=4.0, reported_low_K=290.0, reported_high_K=310.0),
            published("W", "110", "i", d0_m2_s=5e-7, ea_eV=0.95),
            published("Mo", "110", "j", barrier_eV=0.9),
        ):  # fmt: skip
            database.add(record)
    return str(path)


def lines(db, *filters, quantity=None, **options):
    with Database(db) as database:
        found, notes = compare(database, filters, **options)
    return [line for line in found if quantity in (None, line.quantity)], notes


def of(db, source):
    return next(line for line in lines(db)[0] if line.source == f"source {source}")


def test_differences_are_in_units_of_what_is_stated(db):
    both, alone = of(db, "b"), of(db, "a")
    assert both.difference == pytest.approx(0.11) and both.ratio == pytest.approx(0.50 / 0.39)
    assert both.sigmas == pytest.approx(0.11 / 0.1) and both.sigma_of == "both" and both.verdict == "within 2 σ"
    assert alone.sigmas == pytest.approx(-0.19 / 0.08) and alone.sigma_of == "computed alone"
    assert alone.verdict == "open: no σ published" and alone.published_sigma is None and alone.verified is True
    assert of(db, "f").verdict == "within 2 σ"  # a formation energy does not depend on the hop


def test_a_prefactor_is_compared_in_its_logarithm(db):
    with Database(db) as database:
        database.add(published("Cu", "100", "k", d0_m2_s=4e-7, d0_sigma_m2_s=1e-7, ea_eV=0.52))
    prefactor, coefficient = (line for line in lines(db)[0] if line.source == "source k" and line.quantity != "ea_eV")
    assert prefactor.sigmas == pytest.approx(math.log(0.5) / math.hypot(0.5, 0.25))
    assert prefactor.difference == pytest.approx(-2e-7)
    kT = 8.617333262e-5 * 300
    assert coefficient.temperature_K == 300.0 and coefficient.ratio == pytest.approx(0.5 * math.exp(0.02 / kT), rel=1e-6)
    assert coefficient.sigmas == pytest.approx(math.log(coefficient.ratio) / math.hypot(0.5, 0.04 / kT), rel=1e-6)
    assert coefficient.sigma_of == "computed alone"


def test_what_is_from_memory_decides_nothing(db):
    for source, verdict in (("c", ""), ("d", NOTHING)):  # beside published values that were seen, and alone
        line = of(db, source)
        assert line.from_memory == 9.0 and line.published is None and line.verified is False
        assert (line.difference, line.sigmas, line.ratio, line.verdict) == (None, None, None, verdict)
    table, sources = comparison_text.cells(lines(db, quantity="ea_eV")[0])
    assert table[0][-1] == MEMORY and table[1][4] == NOTHING and table[1][-1] == "9 (no σ stated) [1] measured"
    assert sources[0].startswith("[1] source d") and "seen: here" in sources[0]


def test_what_is_missing_is_said(db):
    found, notes = lines(db)
    said = {(line.metal, line.quantity): line for line in found if line.verdict == NOTHING and line.kind == "hop"}
    assert set(said) == {("Cu", "ea_eV"), ("Cu", "d0_m2_s")}
    assert said["Cu", "d0_m2_s"].computed == 2e-7
    assert {line.quantity for line in found if line.verdict == "not computed"} == {"d0_m2_s", "ea_eV"}
    assert notes == ["Cu(100) adatom: E_a, D0, D published, nothing computed", "Mo(110) adatom: E_m published, nothing computed"]


def test_a_valence_is_taken_where_the_published_one_holds(db):
    copper, tungsten = of(db, "g"), of(db, "h")
    rho = material("Cu").rho_uohm_cm(600.0)
    assert copper.temperature_K == 600.0 and copper.computed == pytest.approx(0.7 - 114.0 / rho)
    assert tungsten.temperature_K == 300.0 and tungsten.computed is None
    assert tungsten.computed_low < 4.0 < tungsten.computed_high
    assert (tungsten.verdict, tungsten.difference, tungsten.sigmas) == ("inside the interval", 0.0, None)
    above = comparison._with_difference(comparison.replace(tungsten, published=99.0))
    assert above.verdict == "outside the interval" and above.difference == pytest.approx(tungsten.computed_high - 99.0)


def test_heats_of_transport_of_other_places_are_not_compared(db):
    with Database(db) as database:
        (row,) = best_rows([row for row in database.rows() if row["metal"] == "Cu"])
    table = {"temperature_K": [200.0, 400.0], "q_star_eV": [0.1, 0.3], "q_star_sigma_eV": [0.1, 0.1]}
    found = comparison.of_hops([{**row, "q_of_temperature": table, "q_condition": "J=0"}], [], {}, 300.0)
    heats = [line for line in found if line.quantity == "q_star_eV"]
    assert [line.published for line in heats] == [heat.q_eV for heat in published_heats("Cu") if heat.verified]
    for line in heats:
        assert line.computed == pytest.approx(0.2) and line.verdict == "not comparable" and line.sigmas is None
        assert "not of this hop" in line.condition


def test_hosts(db):
    found = {line.quantity: line for line in lines(db)[0] if line.kind == "host"}
    assert {line.metal for line in found.values()} == {"Cu"}  # that of W failed its check
    waves = found["dos_compared_per_eV_atom"]
    assert waves.method == PLANE_WAVES and waves.verified is None and waves.ratio == pytest.approx(0.30 / 0.31)
    product, known = found["rho_lambda_fohm_m2"], material("Cu").rho_lambda
    assert product.published == pytest.approx(0.1 * known.value) and product.source == known.source
    assert product.computed_sigma > 0 and product.sigma_of == "computed alone"
    gamma = found["dos_per_eV_atom"]
    # gamma = pi² k_B² D/3 per atom: 0.6910 mJ/(mol K²) is 0.293 states/(eV atom)
    assert gamma.published == pytest.approx(material("Cu").sommerfeld_gamma.value * 0.42424, rel=1e-4)
    assert gamma.verdict == "not comparable"
    assert "debye_temperature_K" not in found


def test_debye_temperature():
    host = {"id": 7, "metal": "W", "facet": "bulk", "status": "ok", "basis": "b", "preset": "quick", "functional": "PBE",
            "debye_temperature_K": 438.0, "debye_temperature_sigma_K": 17.0}  # fmt: skip
    (line,) = comparison.of_hosts([host])
    assert line.published == material("W").debye_temperature.value and line.computed_sigma == 17.0
    assert line.sigmas == pytest.approx((438.0 - line.published) / 17.0)
    (line,) = comparison.of_hosts([{**host, "debye_temperature_K": None, "phonon_status": "failed: sum rule"}])
    assert line.verdict == "not served" and line.condition == "failed: sum rule"


def test_the_command(db, capsys):
    def run(*words):
        code = cli.main(["compare", "--db", db, *words])
        return code, capsys.readouterr()

    code, printed = run("metal=Cu", "--quantity", "barrier", "--format", "json")
    rows = json.loads(printed.out)
    assert code == 0 and [row["source"] for row in rows] == ["source a", "source b", "source c"]
    code, printed = run("--format", "csv", "--quantity", "barrier", "--quantity", "rho_lambda")
    table = list(csv.DictReader(printed.out.splitlines()))
    assert [row["quantity"] for row in table] == ["barrier_eV"] * 3 + ["rho_lambda_fohm_m2"]
    assert "Mo(110) adatom: E_m published" in printed.err
    code, printed = run("facet=110")
    assert code == 0 and "Cu" not in printed.out and "[1] source h" in printed.out
    code, printed = run("--format", "markdown")
    assert "### Hops" in printed.out and "### Hosts" in printed.out
    heads = [line for line in printed.out.splitlines() if line.startswith("| hop or host")]
    assert len(heads) == 2 and all(MEMORY in head for head in heads)
    assert run("metal=Pb")[0] == 1
    assert run("z_star<0")[0] == 2


def test_names_of_quantities_are_those_of_the_command():
    assert command.QUANTITIES == tuple(comparison.QUANTITIES)


def test_refusals_and_an_empty_literature(tmp_path):
    with Database(tmp_path / "emforce.db", create=True) as database:
        database.add(synthetic.record(site="hop average", fraction=math.nan))
        found, notes = compare(database)
        assert "emforce reference --store" in notes[0] and all(line.published is None for line in found)
        with pytest.raises(InputError):
            compare(database, ["nonsense"])


@pytest.mark.parametrize("known", [True, False])
def test_diffusion_of_a_vacancy_itself_is_not_that_of_tracers(tmp_path, known):
    """Without its formation energy E_a is that of a vacancy that is there already."""
    place = {"facet": "bulk", "defect": "vacancy", "hop": "vacancy-110"}
    ours = OURS if known else {k: v for k, v in OURS.items() if not k.startswith("formation")}
    with Database(tmp_path / "v.db", create=True) as database:
        database.add(synthetic.record(site="hop average", fraction=math.nan, **place, k_wind_uohm_cm=-50.0, **ours))
        database.add(published("Cu", "bulk", "t", defect="vacancy", hop="vacancy-110", ea_eV=2.1, ea_sigma_eV=0.05, d0_m2_s=5e-5))
    found = {line.quantity: line for line in lines(str(tmp_path / "v.db"))[0] if line.source == "source t"}
    assert found["ea_eV"].difference == pytest.approx(-1.6)
    for name in ("ea_eV", "d0_m2_s"):
        assert (found[name].verdict == "not comparable") is not known
        assert ("of the vacancy itself" in found[name].condition) is not known
