"""Rows of the heat of transport: values, uncertainties, what is withheld and why; the step `transport`; the command."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import models
import numpy as np
import pytest
import synthetic
from ase import Atoms

from emforce import cli, heat
from emforce.basis import basis_name
from emforce.best import best_rows
from emforce.commands.heat import direction, heat_table, values_at
from emforce.database import Database
from emforce.errors import InputError
from emforce.evaluate import Situation, evaluate
from emforce.heat_assess import BOLTZMANN_eV, HostCurves, Surroundings, electronic_points
from emforce.heat_jobs import transport, transport_step
from emforce.heat_records import HeatInput, failures, hop_wind, records
from emforce.heat_slabs import other_slabs
from emforce.heat_variations import other_settings
from emforce.materials import material
from emforce.physics.fermi import bands_and_velocities, fermi_surface
from emforce.physics.heat import Curve, TransportCurves, sommerfeld_heat
from emforce.physics.spin_orbit import SpinOrbit
from emforce.planewave import irreducible_mesh
from emforce.record import HOP_AVERAGE
from emforce.seebeck import expected_at, measured_at, measured_of
from emforce.settings import load_settings
from emforce.steps import Step, atoms_document, save_matrices
from emforce.store import Finished
from emforce.variations import add_with_variations

SETTINGS = load_settings("quick")
ENERGIES = np.array(SETTINGS.embedding.energies_eV)
SLOPE = -45.0
GRID = np.linspace(-1.2, 1.2, 49)
#: N = 5.5 + 0.9 e, DOS = 0.29 - 0.04 e, as in Cu
CURVES = {"n": (5.5 + 0.9 * GRID).tolist(), "dos": (0.29 - 0.04 * GRID).tolist()}
TRANSPORT = {name: CURVES for name in ("served", "wider", "coarser")}
BULK = {"check": {"dos_ratio": 0.98, "omega_p_ratio": 1.02, "passed": True, "reasons": []}}
#: mover at the start plane, then in the middle; two neighbours on the end planes
ATOMS = {"index": [0, 1, 2], "mass_amu": [63.5] * 3, "weight_mode": [0.9, 0.05, 0.05], "weight_path": [0.8, 0.1, 0.1],
         "position_start": [-1.0, -1.2, 1.2], "position_saddle": [0.0, -1.2, 1.2]}
STEP = Step("transport", "made up", {"energies": GRID.tolist()})


def wind_record(**changes):
    return synthetic.record(**{
        "energies_eV": ENERGIES, "k_of_energy_uohm_cm": -110 + SLOPE * ENERGIES, "k_wind_uohm_cm": -110.0, "z_direct": 0.5,
        "z_direct_sigma_parts": {"drift": 0.1}, "k_wind_sigma_parts_uohm_cm": {"fermi_energy": 5.0, "geometry": 11.0},
        "site": HOP_AVERAGE, "fraction": math.nan, "basis": basis_name("Cu", "default"), **changes,
    })


def row_of(record, number=1):
    return {"id": number, **record.document()}


def kinetics_record(**changes):
    blank = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}, "energies_eV": [], "k_of_energy_uohm_cm": []}
    return synthetic.record(**{
        **blank, "site": HOP_AVERAGE, "fraction": math.nan, "method": "vineyard", "barrier_eV": 0.5, "barrier_sigma_eV": 0.04,
        "kinetics_details": {"reaction_atoms": ATOMS}, **changes,
    })


def made(kinetics=None, settings=SETTINGS, bulk=BULK, **changes):
    (found,) = records(HeatInput(settings, (row_of(wind_record(**changes)),), kinetics, STEP), bulk, TRANSPORT)
    return found


def column(record, name):
    return dict(zip(record.q_of_temperature["temperature_K"], record.q_of_temperature[name], strict=True))


def test_electronic_part_without_field_is_sommerfeld_with_the_resistivity_of_the_metal():
    found = made()
    assert found.status == "ok" and found.q_condition == "E=0"
    for T in (200.0, 300.0, 600.0):
        wanted = sommerfeld_heat(SLOPE, material("Cu").rho_uohm_cm(T), BOLTZMANN_eV * T)
        assert column(found, "q_el_eV")[T] == pytest.approx(wanted, rel=0.02)  # mu(T) and <N> are of higher order
        assert 0 < column(found, "q_el_sigma_eV")[T] < math.inf


def test_open_circuit_adds_the_term_of_the_seebeck_coefficient():
    found = made()
    details = found.provenance["heat"]
    at = details["temperature_K"].index(300.0)
    z_star = details["z_wind"][at] + 0.5
    term = details["q_el_open_circuit_eV"][at] - column(found, "q_el_eV")[300.0]
    assert term == pytest.approx(-300.0 * z_star * column(found, "seebeck_uV_K")[300.0] * 1e-6, rel=1e-9)
    assert column(found, "seebeck_uV_K")[300.0] < 0  # N rises with the energy: like free electrons
    assert term < 0  # both Z* and S are negative


def test_total_needs_the_lattice_part_and_carries_its_bounds():
    assert "q_star_eV" not in made().q_of_temperature
    found = made(row_of(kinetics_record(), 7))
    # +0.9 E_m and +0.8 E_m at the start, 0 at the saddle, neighbours cancel
    assert (found.q_lattice_low_eV, found.q_lattice_high_eV) == pytest.approx((0.0, 0.45))
    assert found.q_condition == "J=0"
    details = found.provenance["heat"]
    at = details["temperature_K"].index(300.0)
    assert column(found, "q_star_eV")[300.0] == pytest.approx(details["q_el_open_circuit_eV"][at] + 0.225)
    parts = details["sigma_parts"]["q_star_eV"]
    assert parts["lattice_bounds"][at] == pytest.approx(0.225) and parts["barrier"][at] == pytest.approx(0.225 * 0.04 / 0.5)
    total = math.hypot(*(part[at] for part in parts.values() if part[at] is not None))
    assert column(found, "q_star_sigma_eV")[300.0] == pytest.approx(total)


def test_a_partition_that_is_none_leaves_the_lattice_part_out_and_says_why():
    broken = kinetics_record(kinetics_details={"reaction_atoms": {**ATOMS, "weight_mode": [0.9, 0.9, 0.9]}})
    found = made(row_of(broken))
    assert math.isnan(found.q_lattice_low_eV) and "q_star_eV" not in found.q_of_temperature
    assert "whose sum is 1" in found.provenance["q_lattice"]


def test_values_that_come_from_beyond_the_window_are_withheld():
    found = made()
    details = found.provenance["heat"]
    values = found.q_of_temperature["q_el_eV"]
    for T, share, q in zip(details["temperature_K"], details["share_beyond_window"], values, strict=True):
        assert math.isnan(q) == (share > SETTINGS.heat.max_outside_share), T
    assert math.isnan(column(found, "q_el_eV")[1000.0]) and math.isfinite(column(found, "seebeck_uV_K")[1000.0])
    wide = np.linspace(-0.6, 0.6, 13)
    longer = made(energies_eV=wide, k_of_energy_uohm_cm=-110 + SLOPE * wide)
    assert math.isfinite(column(longer, "q_el_eV")[1000.0])


def test_named_parts():
    wind = hop_wind(row_of(wind_record()), SETTINGS)
    assert wind.k_sigma == pytest.approx(11.0)  # without the part of the Fermi energy
    curves = TransportCurves(Curve(GRID, CURVES["n"]), Curve(GRID, CURVES["dos"]))
    host = HostCurves(curves, curves, curves, 0.05)
    point = electronic_points(wind, host, [Surroundings(300.0, 2.0, 0.1, 2.0)])[0]
    assert point.q.parts["mesh"] == point.q.parts["host_smearing"] == 0.0
    assert point.q.parts["interpolation"] < 1e-3 * abs(point.q.value)  # linear K: all orders agree
    assert point.q.parts["smearing"] < 1e-9
    assert point.q.parts["resistivity"] == pytest.approx(abs(point.q.value) * 0.1 / 2.1, rel=1e-6)
    assert point.q.parts["wind_force"] < 0.02 * abs(point.q.value)  # a constant adds no heat without field
    shift = 300.0 * 11.0 / 2.0 * abs(point.seebeck.value) * 1e-6
    assert point.q_open.parts["wind_force"] == pytest.approx(shift, rel=0.05)
    z_star = point.z_wind + 0.5
    assert point.q_open.parts["seebeck"] == pytest.approx(300e-6 * abs(z_star) * abs(2.0 - point.seebeck.value))
    assert point.q.parts["scattering_time"] == pytest.approx(abs(point.inverse_dos[0] - point.q.value))
    assert math.isnan(electronic_points(wind, host, [Surroundings(300.0, 2.0)])[0].q_open.parts["seebeck"])


def test_an_interval_of_the_direct_valence_counts_with_half_its_length():
    record = wind_record(z_direct=math.nan, z_direct_sigma_parts={}, z_direct_low=-1.0, z_direct_high=3.0)
    wind = hop_wind(row_of(record), SETTINGS)
    assert (wind.z_direct, wind.z_direct_sigma) == (1.0, 2.0)


def test_without_a_direct_valence_there_is_no_open_circuit_value():
    found = made(row_of(kinetics_record()), z_direct=math.nan, z_direct_sigma_parts={})
    assert "q_star_eV" not in found.q_of_temperature and np.isfinite(found.q_of_temperature["q_el_eV"][0])
    assert found.provenance["heat"]["q_el_open_circuit_eV"][0] is None


def test_a_host_that_fails_its_check_is_not_served():
    bad = {"check": {**BULK["check"], "passed": False, "reasons": ["DOS off"]}}
    assert made(bulk=bad).status == "outside tolerance"
    assert made(bulk={"check": None}).status == "outside tolerance"


def test_wild_k_of_energy_is_not_served():
    noisy = np.linspace(-0.2, 0.2, 21)
    found = made(energies_eV=noisy, k_of_energy_uohm_cm=-110 + SLOPE * noisy + 60 * np.random.default_rng(3).normal(size=21))
    assert found.status == "failed" and "Sommerfeld" in found.reason


def test_failed_steps_are_recorded_as_such():
    item = HeatInput(SETTINGS, (row_of(wind_record()),), None, STEP)
    (found,) = failures(item, "out of memory")
    assert (found.status, found.reason) == ("failed", "out of memory") and not found.q_of_temperature


def test_rows_are_stored_evaluated_and_joined(tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record())
        rows.add(kinetics_record())
        rows.add(made(row_of(kinetics_record(), 2)))
        (joined,) = best_rows(rows.rows())
    found = evaluate(joined, Situation(300.0))
    assert set(joined["joined"]) >= {"wind", "kinetics", "heat"}
    assert found["q_star_eV"] is not None and found["q_star_sigma_eV"] > 0 and found["seebeck_uV_K"] < 0
    assert evaluate(joined, Situation(1000.0))["q_star_eV"] is None


# the step


def test_transport_step_is_the_fermi_surface_sum_at_each_energy(tmp_path):
    matrices = models.simple_cubic(hop=0.4)
    atoms = Atoms("Cu", cell=np.eye(3), pbc=True)
    save_matrices(tmp_path, matrices)
    bulk = Finished(tmp_path, {"fermi_energy": -0.8, "mesh": 16}, 0.0)
    inputs = {"atoms": atoms_document(atoms), "energies": [-0.2, 0.0, 0.2], "sigmas": [0.2, 0.3]}
    found = transport(inputs, {"bulk": bulk}, tmp_path, tmp_path / "log", SimpleNamespace())
    assert found["served"]["mesh"] > found["coarser"]["mesh"] == 16 and found["wider"]["sigma"] == 0.3
    surface = fermi_surface(matrices, 0.4, (24, 24, 24), 0.2)
    here = transport({**inputs, "energies": [surface.fermi_energy + 0.8]}, {"bulk": bulk}, tmp_path, tmp_path, SimpleNamespace())
    assert here["served"]["n"][0] == pytest.approx(surface.n_cubic, rel=1e-6)
    assert here["served"]["dos"][0] == pytest.approx(surface.dos, rel=1e-6)


def test_transport_of_spinors_is_the_sum_over_theirs(tmp_path):
    """With no operator that of the scalar crystal; with one the sums over bands of one electron each, from their Fermi energy."""
    scalar, atoms = models.simple_cubic(hop=0.4), Atoms("Cu", cell=np.eye(3), pbc=True)
    translations = np.array([[-1, 0, 0], [0, 0, 0], [1, 0, 0]])
    a = np.array([[-c, 0.0, c] for c in (0.1, -0.2, 0.15)])[:, :, None, None]
    (tmp_path / "bulk").mkdir()
    save_matrices(tmp_path / "bulk", scalar)
    inputs = {"atoms": atoms_document(atoms), "energies": [-0.2, 0.0, 0.3], "sigmas": [0.2, 0.3]}
    bulk = Finished(tmp_path / "bulk", {"fermi_energy": 0.4, "mesh": 4}, 0.0)

    def coupled(factor, level):
        folder = tmp_path / f"{factor}"
        folder.mkdir()
        np.savez(folder / "operator.npz", R=translations, a=factor * a)
        needs = {"bulk": bulk, "spin_orbit": Finished(folder, {"spinor": {"served": {"fermi_energy": level}}}, 0.0)}
        return transport(inputs, needs, folder, folder / "log", SimpleNamespace())

    plain, none = transport(inputs, {"bulk": bulk}, tmp_path, tmp_path, SimpleNamespace()), coupled(0.0, 0.4)
    for name in ("served", "wider", "coarser"):
        assert none[name]["n"] == pytest.approx(plain[name]["n"], rel=1e-6)
        assert none[name]["dos"] == pytest.approx(plain[name]["dos"], rel=1e-6)
    found = coupled(1.0, 0.1)
    k, weights = irreducible_mesh(atoms, found["served"]["mesh"])
    energies, v = bands_and_velocities(SpinOrbit.along_z(scalar, translations, a), k)
    delta = np.exp(-0.5 * ((energies - 0.1) / 0.2) ** 2) / (0.2 * math.sqrt(2 * math.pi))
    assert found["served"]["dos"][1] == pytest.approx(float((weights[:, None] * delta).sum()), rel=1e-9)
    assert found["served"]["n"][1] == pytest.approx(float((weights[:, None] * delta * v**2).sum()) / 3, rel=1e-9)
    assert found["served"]["dos"] != pytest.approx(plain["served"]["dos"], rel=0.01)


def test_transport_step_follows_its_settings_and_its_bulk_host():
    bulk = Step("bulk", "b", {"symbol": "Cu", "atoms": {}})
    step = transport_step(bulk, SETTINGS.heat)
    energies = step.inputs["energies"]
    assert energies[0] == -1.2 and energies[-1] == 1.2 and 0.0 in energies
    assert step.key != transport_step(Step("bulk", "b", {"symbol": "W", "atoms": {}}), SETTINGS.heat).key
    assert step.key != transport_step(bulk, load_settings("quick", {"heat.sigma_eV": 0.12}).heat).key
    coupling = Step("spin_orbit", "s", {"symbol": "Cu"}, {"bulk": bulk})
    spinors = transport_step(bulk, SETTINGS.heat, coupling)
    assert spinors.needs == {"bulk": bulk, "spin_orbit": coupling} and spinors.key != step.key


# the command


def test_table_says_where_the_atom_goes():
    table = heat_table([made(row_of(kinetics_record()))], (300.0, 1000.0, 5000.0))
    lines = table.splitlines()
    assert len(lines) == 4  # head, rule, two temperatures
    assert "towards the cold end" in lines[2] and "+1.9" in lines[2] and "+0.00 to +0.45" in lines[2]
    values = values_at(made(), 300.0)
    assert direction({**values, "q_open": (-0.5, 0.1)}) == "towards the hot end (electrons)"
    assert direction({**values, "q_open": (-0.05, 0.1)}) == "undecided (electrons)"
    assert direction({**values, "q_star": (0.5, 0.1)}) == "towards the cold end"
    assert values_at(made(), 250.0)["q_el"][0] == pytest.approx(column(made(), "q_el_eV")[250.0])


SPEC = 'name = "cu100-adatom"\nmetal = "Cu"\nfacet = "100"\nkind = "adatom"\n'


def command(capsys, tmp_path, *arguments):
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    db, store = str(tmp_path / "a.db"), str(tmp_path / "store")
    code = cli.main(["heat", str(tmp_path / "spec.toml"), "--db", db, "--store", store, *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("arguments, said", [
    ((), "emforce run"), (("--set", "heat.temperatures_K=[5000]"), "heat.temperatures_K"), (("--workers", "0"), "--workers"),
    (("--set", "heat.spacing_eV=0"), "heat.spacing_eV"), (("--set", "heat.temperatures_K=[300, 200]"), "increasing"),
    (("-T", "cold"), "temperature"),
])
def test_bad_input_is_one_line_and_leaves_nothing(capsys, tmp_path, arguments, said):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record(preset="standard"))
    code, out, err = command(capsys, tmp_path, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and said in err
    assert not (tmp_path / "store").exists()


@pytest.fixture
def finished(monkeypatch, tmp_path):
    """The steps of the command are there already."""
    class NoCampaign:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def compute(self, steps):
            kinds = [step.kind for step in steps]
            assert kinds in (["bulk", "transport"], ["bulk", "spin_orbit", "transport"])
            return {}

    monkeypatch.setattr(heat, "Campaign", NoCampaign)
    monkeypatch.setattr(heat.Store, "find", lambda self, kind, key: Finished(
        tmp_path, {"bulk": BULK, "transport": TRANSPORT}[kind], 0.0))


@pytest.mark.usefixtures("finished")
def test_the_command_takes_the_newest_rows_of_its_preset_and_stores_one_row_each(capsys, tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record(k_of_energy_uohm_cm=-110 + 0 * ENERGIES))
        rows.add(wind_record())
        rows.add(wind_record(site="initial", fraction=0.0))
        rows.add(wind_record(preset="standard", k_of_energy_uohm_cm=-110 + 99 * ENERGIES))
        rows.add(kinetics_record())
    code, out, err = command(capsys, tmp_path, "-T", "300")
    assert code == 0, err
    assert "towards the cold end" in out and "Roberts" in out
    with Database(tmp_path / "a.db") as rows:
        stored = [row for row in rows.rows() if row["q_of_temperature"]]
    assert [row["site"] for row in stored] == ["initial", HOP_AVERAGE]
    assert stored[1]["q_condition"] == "J=0" and stored[0]["q_lattice_low_eV"] is None
    assert stored[1]["provenance"]["heat"]["wind_row"] == stored[1]["provenance"]["heat"]["direct_row"] == 2
    assert json.dumps(stored[1]["provenance"], allow_nan=False)
    assert cli.main(["query", "--db", str(tmp_path / "a.db"), "--best", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["q_star_eV"] is not None


@pytest.mark.usefixtures("finished")
def test_a_row_without_direct_valence_takes_the_best_of_the_same_site(capsys, tmp_path):
    none = {"z_direct": math.nan, "z_direct_sigma_parts": {}}
    thick = {**none, "preset": "quick (direct.compute=False, structure.thick_layers=(16, 12))"}
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record(z_direct=0.7))
        rows.add(wind_record(site="initial", fraction=0.0, z_direct=-3.0))
        rows.add(wind_record(**thick, k_of_energy_uohm_cm=-110 + 2 * SLOPE * ENERGIES))
        rows.add(wind_record(**thick, site="saddle", fraction=0.5))
        rows.add(kinetics_record())
    overrides = ("--set", "structure.thick_layers=[16,12]", "--set", "direct.compute=false")
    code, _, err = command(capsys, tmp_path, "-T", "300", *overrides)
    assert code == 0, err
    with Database(tmp_path / "a.db") as rows:
        found = {row["site"]: row for row in rows.rows() if row["q_of_temperature"]}
    heat_of = {site: row["provenance"]["heat"] for site, row in found.items()}
    assert heat_of.keys() == {"saddle", HOP_AVERAGE}
    assert (heat_of[HOP_AVERAGE]["wind_row"], heat_of[HOP_AVERAGE]["direct_row"]) == (3, 1)
    assert heat_of[HOP_AVERAGE]["z_direct"] == [0.7, pytest.approx(0.1)] and found[HOP_AVERAGE]["q_condition"] == "J=0"
    # no row of the saddle has one, and that of another site is not taken
    assert heat_of["saddle"]["direct_row"] is None and set(heat_of["saddle"]["q_el_open_circuit_eV"]) == {None}


THICK = "quick (direct.compute=False, structure.thick_layers=(16, 12))"


def test_the_share_of_a_slab_is_that_of_errors_that_fall_with_its_layers():
    eight, sixteen = row_of(wind_record(), 1), row_of(wind_record(preset=THICK), 2)
    (of_eight,), (of_sixteen,) = other_slabs(eight, [eight, sixteen]), other_slabs(sixteen, [eight, sixteen])
    assert (of_eight["row"], of_sixteen["row"]) == (2, 1)
    assert of_eight["share"] / of_sixteen["share"] == pytest.approx(2.0)  # half the error with twice the layers
    assert math.hypot(of_eight["share"], of_sixteen["share"]) == pytest.approx(1.0)  # together they are the difference


@pytest.mark.parametrize("changes", [
    {"preset": "quick"}, {"preset": "quick (direct.compute=False)"}, {"preset": "quick (dft.directions=all)"},
    {"preset": "quick (dft.functional=LDA, structure.thick_layers=(16, 12))"}, {"preset": "standard"},
    {"preset": "quick (nothing.known=1, structure.thick_layers=(16, 12))"},
    {"preset": THICK, "basis": "another"}, {"preset": THICK, "site": "initial", "fraction": 0.0},
    {"preset": THICK, "hop": "another"},
    {"preset": THICK, "status": "failed", "reason": "made up"},
    {"preset": THICK, "energies_eV": [-0.1, 0.1], "k_of_energy_uohm_cm": [-1.0, 1.0]},
    {"preset": THICK, "provenance": {"geometry": "as built, not relaxed"}},
])
def test_rows_that_differ_by_more_or_less_than_the_slab_say_nothing_about_it(changes):
    row, other = row_of(wind_record(), 1), row_of(wind_record(), 2)
    thick = other | {"preset": THICK}
    assert [slab["row"] for slab in other_slabs(row, [row, thick])] == [2]
    assert other_slabs(row, [row, other | changes]) == []


def test_in_bulk_there_are_no_slabs_and_averages_rest_on_the_same_points():
    row, thick = row_of(wind_record(), 1), row_of(wind_record(preset=THICK), 2)
    assert other_slabs(row | {"facet": "bulk"}, [thick | {"facet": "bulk"}]) == []
    points = [row_of(wind_record(site="initial", fraction=0.0), 3), row_of(wind_record(site="saddle", fraction=0.5), 4)]
    thicker = [point | {"preset": THICK, "id": 10 + point["id"]} for point in points]
    assert other_slabs(row, [row, thick, *points, thicker[0]]) == []
    assert [slab["row"] for slab in other_slabs(row, [row, thick, *points, *thicker])] == [2]


COUPLED, LARGER = "quick (dft.spin_orbit=True)", "quick (dft.spin_orbit=True, structure.slab_size=(4, 3, 1))"


def test_a_row_without_another_slab_takes_the_difference_of_one_that_it_converges_further():
    eight = row_of(wind_record(), 1)
    sixteen = row_of(wind_record(preset=THICK, k_of_energy_uohm_cm=-110 + 3 * SLOPE * ENERGIES), 2)
    coupled = row_of(wind_record(preset=COUPLED, k_of_energy_uohm_cm=-90 + 5 * SLOPE * ENERGIES), 3)
    larger = row_of(wind_record(preset=LARGER, k_of_energy_uohm_cm=-95 + 4 * SLOPE * ENERGIES), 4)
    for row, own in ((coupled, -90 + 5 * SLOPE * ENERGIES), (larger, -95 + 4 * SLOPE * ENERGIES)):
        (slab,) = other_slabs(row, [eight, sixteen, coupled, larger])
        assert (slab["row"], slab["lent_by"], slab["share"]) == (2, 1, pytest.approx(16 / math.hypot(8, 16)))
        assert slab["k_of_energy_uohm_cm"] == pytest.approx(own + 2 * SLOPE * ENERGIES)
        (record,) = records(HeatInput(SETTINGS, (row | {"other_slabs": [slab]},), None, STEP), BULK, TRANSPORT)
        assert record.provenance["heat"]["other_slabs_rows"] == [2, 1]
        # nothing is lent by a row with another functional, on other energies, or by the row of another site
        for change in ({"preset": LDA}, {"energies_eV": (2 * ENERGIES).tolist()}, {"site": "initial", "fraction": 0.0}):
            assert other_slabs(row, [eight | change, sixteen, row]) == []
    own_slab = row_of(wind_record(preset="quick (dft.spin_orbit=True, structure.thick_layers=(12, 10))"), 5)
    assert [slab["row"] for slab in other_slabs(coupled, [eight, sixteen, coupled, own_slab])] == [5]
    # a slab of another thickness is not lent its own difference
    assert other_slabs(sixteen, [sixteen | {"id": 9}, sixteen]) == []


def test_slope_between_other_slabs_is_a_part_of_sigma_and_a_constant_is_none():
    steeper = -90.0 + 3 * SLOPE * ENERGIES  # three times the slope, and another K(0)
    slab = {"row": 2, "energies_eV": ENERGIES.tolist(), "k_of_energy_uohm_cm": steeper.tolist(), "share": 0.8}
    (alone,) = records(HeatInput(SETTINGS, (row_of(wind_record()),), None, STEP), BULK, TRANSPORT)
    (found,) = records(HeatInput(SETTINGS, (row_of(wind_record()) | {"other_slabs": [slab]},), None, STEP), BULK, TRANSPORT)
    details = found.provenance["heat"]
    at = details["temperature_K"].index(300.0)
    assert details["other_slabs_rows"] == [2] and alone.provenance["heat"]["other_slabs_rows"] == []
    assert alone.provenance["heat"]["sigma_parts"]["q_el_eV"]["layers"][at] is None  # not estimated
    slope_alone = sommerfeld_heat(SLOPE, material("Cu").rho_uohm_cm(300.0), BOLTZMANN_eV * 300)
    assert details["sigma_parts"]["q_el_eV"]["layers"][at] == pytest.approx(0.8 * 2 * abs(slope_alone), rel=0.02)
    assert column(found, "q_el_eV") == pytest.approx(column(alone, "q_el_eV"), nan_ok=True)
    quadrature = math.hypot(column(alone, "q_el_sigma_eV")[300.0], details["sigma_parts"]["q_el_eV"]["layers"][at])
    assert column(found, "q_el_sigma_eV")[300.0] == pytest.approx(quadrature)
    bulk = row_of(wind_record(facet="bulk", defect="vacancy", hop="vacancy-110"))
    (in_bulk,) = records(HeatInput(SETTINGS, (bulk,), None, STEP), BULK, TRANSPORT)
    assert "layers" not in in_bulk.provenance["heat"]["sigma_parts"]["q_el_eV"]
    flat = slab | {"k_of_energy_uohm_cm": (-90.0 + SLOPE * ENERGIES).tolist()}
    (same,) = records(HeatInput(SETTINGS, (row_of(wind_record()) | {"other_slabs": [flat]},), None, STEP), BULK, TRANSPORT)
    assert same.provenance["heat"]["sigma_parts"]["q_el_eV"]["layers"][at] == pytest.approx(0.0, abs=1e-12)


LDA, SMALL = "quick (dft.functional=LDA)", "quick (dft.recipe=small)"


def varied_row(number=1, **changes):
    """A row that a row with LDA measures the functional of, and the part of its sigma(K)."""
    parts = {"fermi_energy": 5.0, "geometry": 11.0, "functional": 30.0}
    row = row_of(wind_record(k_wind_sigma_parts_uohm_cm=parts, **changes), number)
    row["provenance"]["varied"] = {"functional": [{"preset": LDA}], "thickness": [{"preset": THICK}]}
    return row


def test_the_difference_of_the_whole_curve_with_another_setting():
    row = varied_row()
    other = row_of(wind_record(preset=LDA, k_of_energy_uohm_cm=-80 + 3 * SLOPE * ENERGIES), 2)
    (found,) = other_settings(row, [row, other])  # the slab of another thickness is not among them
    assert (found["part"], found["rows"], found["energies_eV"]) == ("functional", [1, 2], ENERGIES.tolist())
    assert found["change_uohm_cm"] == pytest.approx(30 + 2 * SLOPE * ENERGIES)
    newest = row_of(wind_record(preset=LDA, k_of_energy_uohm_cm=-80 + 4 * SLOPE * ENERGIES), 9)
    assert other_settings(row, [newest, row, other])[0]["rows"] == [1, 9]


def test_of_an_adatoms_height_the_change_is_that_of_the_misplacement():
    lifted = "quick (structure.mover_lift_A=0.05)"
    row = varied_row()
    row["provenance"]["varied"] = {"mover_height": [{"preset": lifted, "share": 0.6}]}
    other = row_of(wind_record(preset=lifted, k_of_energy_uohm_cm=-80 + 3 * SLOPE * ENERGIES), 2)
    (found,) = other_settings(row, [row, other])
    assert found["part"] == "mover_height" and found["change_uohm_cm"] == pytest.approx(0.6 * (30 + 2 * SLOPE * ENERGIES))


@pytest.mark.parametrize("changes", [
    {"preset": SMALL}, {"site": "initial", "fraction": 0.0}, {"hop": "another"}, {"method": "another"},
    {"status": "failed", "reason": "made up"}, {"provenance": {"geometry": "as built, not relaxed"}},
    {"energies_eV": [-0.1, 0.1], "k_of_energy_uohm_cm": [-1.0, 1.0]},
    {"energies_eV": (ENERGIES * 2).tolist()},
])
def test_rows_with_which_the_curve_is_not_compared(changes):
    row, other = varied_row(), row_of(wind_record(preset=LDA), 2)
    assert len(other_settings(row, [row, other])) == 1
    assert other_settings(row, [row, other | changes]) == []


def test_a_lent_part_is_the_difference_of_the_rows_that_measured_it():
    row = row_of(wind_record(preset=THICK), 3)
    row["provenance"]["varied"] = {"functional": [{"preset": LDA, "lent_by": "quick"}]}
    lender, other = row_of(wind_record(), 1), row_of(wind_record(preset=LDA, k_of_energy_uohm_cm=-80 + SLOPE * ENERGIES), 2)
    (found,) = other_settings(row, [row, lender, other])
    assert found["rows"] == [1, 2] and found["change_uohm_cm"] == pytest.approx(np.full(len(ENERGIES), 30.0))
    assert other_settings(row, [row, other]) == []  # the lender is gone


def test_averages_are_compared_over_the_points_that_both_have():
    """K = -100 - 40 s in one; twice as steep against energy in the other, at s = 0 and 1/2 only. Symmetric: s = 1 is s = 0."""
    row = varied_row()
    row["provenance"]["varied"]["functional"] = [{"preset": LDA, "points": [0.0, 0.5]}]

    def points(preset, first, fractions, slope):
        made = [wind_record(preset=preset, site=f"s={s}", fraction=s, k_of_energy_uohm_cm=-100 - 40 * s + slope * ENERGIES)
                for s in fractions]
        return [row_of(one, number) for number, one in enumerate(made, start=first)]

    own, other = points("quick", 10, (0.0, 0.25, 0.5), SLOPE), points(LDA, 20, (0.0, 0.5), 2 * SLOPE)
    average = row_of(wind_record(preset=LDA, k_of_energy_uohm_cm=7 * ENERGIES), 2)  # over other points: not taken
    (found,) = other_settings(row, [row, average, *own, *other])
    assert found["rows"] == [10, 12, 20, 21]
    assert found["change_uohm_cm"] == pytest.approx(SLOPE * ENERGIES)
    assert other_settings(row, [row, average, *own, other[0]]) == []
    drift = {**row, "site": "drift along [001]", "provenance": {**row["provenance"], "drift": {"weights": [0.0, 1.0]}}}
    assert other_settings(drift, [drift, average, *own, *other]) == []


def test_another_setting_is_a_part_of_sigma_of_its_own():
    """The functional adds a constant to K(E) and makes it three times as steep; its part of sigma(K) counts nowhere else then."""
    row, other = varied_row(), row_of(wind_record(preset=LDA, k_of_energy_uohm_cm=-80 + 3 * SLOPE * ENERGIES), 2)
    without = row_of(wind_record(), 1)

    def heat_of(one, changes):
        (record,) = records(HeatInput(SETTINGS, (one | {"other_settings": changes},), None, STEP), BULK, TRANSPORT)
        return record, record.provenance["heat"]

    found, details = heat_of(row, other_settings(row, [row, other]))
    alone, plain = heat_of(without, [])
    _, guessed = heat_of(row, [])
    at = details["temperature_K"].index(300.0)
    parts = details["sigma_parts"]["q_el_eV"]
    assert details["other_settings_rows"] == [1, 2] and plain["other_settings_rows"] == []
    slope_alone = sommerfeld_heat(SLOPE, material("Cu").rho_uohm_cm(300.0), BOLTZMANN_eV * 300)
    assert parts["functional"][at] == pytest.approx(2 * abs(slope_alone), rel=0.05)
    assert "functional" not in plain["sigma_parts"]["q_el_eV"]
    for part in ("wind_slope", "wind_force"):
        assert parts[part] == pytest.approx(plain["sigma_parts"]["q_el_eV"][part])
        assert guessed["sigma_parts"]["q_el_eV"]["wind_slope"][at] > 2 * parts["wind_slope"][at]
    assert column(found, "q_el_eV") == pytest.approx(column(alone, "q_el_eV"), nan_ok=True)
    total = math.hypot(column(alone, "q_el_sigma_eV")[300.0], parts["functional"][at])
    assert column(found, "q_el_sigma_eV")[300.0] == pytest.approx(total)


@pytest.mark.usefixtures("finished")
def test_the_command_takes_the_rows_with_spin_orbit_coupling(capsys, tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record())
        rows.add(wind_record(preset=COUPLED, k_of_energy_uohm_cm=-90 + 2 * SLOPE * ENERGIES, z_direct=math.nan,
                             z_direct_sigma_parts={}))
    assert command(capsys, tmp_path)[0] == 0
    assert command(capsys, tmp_path, "--set", "dft.spin_orbit=true")[0] == 0
    with Database(tmp_path / "a.db") as rows:
        found = {row["preset"]: row for row in rows.rows() if row["q_of_temperature"]}
        (best,) = best_rows(rows.rows())
    heat_of = {preset: row["provenance"]["heat"] for preset, row in found.items()}
    assert (heat_of["quick"]["wind_row"], heat_of[COUPLED]["wind_row"], heat_of[COUPLED]["direct_row"]) == (1, 2, 1)
    assert best["joined"]["heat"]["id"] == found[COUPLED]["id"]


@pytest.mark.usefixtures("finished")
def test_the_command_finds_the_rows_with_other_settings(capsys, tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        add_with_variations(rows, [wind_record()])
        add_with_variations(rows, [wind_record(preset=LDA, k_of_energy_uohm_cm=-110 + 2 * SLOPE * ENERGIES)])
    assert command(capsys, tmp_path)[0] == 0
    with Database(tmp_path / "a.db") as rows:
        (found,) = [row["provenance"]["heat"] for row in rows.rows() if row["q_of_temperature"]]
        numbers = sorted(row["id"] for row in rows.rows() if row["k_wind_uohm_cm"] is not None)
    assert found["other_settings_rows"] == numbers and len(numbers) == 2
    assert found["sigma_parts"]["q_el_eV"]["functional"][found["temperature_K"].index(300.0)] > 0


@pytest.mark.usefixtures("finished")
def test_the_command_finds_the_other_slab_in_either_row(capsys, tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(wind_record())
        rows.add(wind_record(preset=THICK, z_direct=math.nan, z_direct_sigma_parts={},
                             k_of_energy_uohm_cm=-110 + 2 * SLOPE * ENERGIES))
    assert command(capsys, tmp_path)[0] == 0
    assert command(capsys, tmp_path, "--set", "structure.thick_layers=[16,12]", "--set", "direct.compute=false")[0] == 0
    with Database(tmp_path / "a.db") as rows:
        found = {row["preset"]: row["provenance"]["heat"] for row in rows.rows() if row["q_of_temperature"]}
    assert (found["quick"]["other_slabs_rows"], found[THICK]["other_slabs_rows"]) == ([2], [1])
    at = found[THICK]["temperature_K"].index(300.0)
    thin, thick = (found[label]["sigma_parts"]["q_el_eV"]["layers"][at] for label in ("quick", THICK))
    assert thin == pytest.approx(2 * thick, rel=1e-6)


# measured values


def test_measured_seebeck_coefficients_hold_where_they_were_measured():
    value, source = measured_at("Mo", 425.65)
    assert value == pytest.approx((3.9 + 7.5) / 2) and source.verified and "Fiflis" in source.source
    assert measured_at("Mo", 900.0) is None and measured_at("W", 300.0)[0] == 1.0
    assert measured_at("Au", 300.0)[0] == 1.94 and measured_at("Au", 400.0) is None
    assert measured_at("Cu", 300.0)[0] == pytest.approx(1.94) and measured_at("Fe", 300.0) is None
    # for error estimates: in proportion to T beyond, and only from what is verified
    assert expected_at("Mo", 425.65) == pytest.approx(5.7) and expected_at("Mo", 1096.3) == pytest.approx(15.0)
    assert expected_at("Au", 600.0) == pytest.approx(3.88) and expected_at("Al", 300.0) is None


@pytest.mark.parametrize("change", [{"temperature_K": [300, 200]}, {"temperature_K": [300]}, {"source": " "}, {"verified": 1},
                                    {"note": "x"}])
def test_bad_entries_are_refused(change):
    entry = {"metal": "Cu", "temperature_K": [200, 300], "seebeck_uV_K": [1.0, 2.0], "source": "a", "seen": "b", "verified": True}
    assert measured_of(entry).at(250.0) == 1.5
    with pytest.raises(InputError, match=r"seebeck\.toml Cu"):
        measured_of(entry | change)
