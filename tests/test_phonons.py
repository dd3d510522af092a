"""Phonons of bulk metals: against elastic constants of the same model, sum rules, what is stored, and one real GPAW step."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import synthetic
from ase.build import bulk
from ase.calculators.emt import EMT

from emforce import cli
from emforce.database import Database
from emforce.errors import CheckError, InputError
from emforce.keys import PHONON_KEYS
from emforce.phonon_bands import Phonons, Supercell, phonons, supercell
from emforce.phonons import host_with_phonons, phonon_fields, plan_phonons, report
from emforce.physics.debye import acoustic_debye_temperature, directions
from emforce.settings import load_settings

#: equilibrium of ASE's effective medium potential for Cu, Angstrom (minimum of the energy, found once by hand)
A_EMT = 3.589826


def emt_forces(cell: Supercell) -> np.ndarray:
    found = []
    for atom, vector in cell.displacements:
        moved = cell.atoms.copy()
        moved.positions[atom] += vector
        moved.calc = EMT()
        found.append(moved.get_forces())
    return np.array(found)


@cache
def copper(size: int = 3) -> tuple[Supercell, Phonons]:
    cell = supercell("Cu", "fcc", A_EMT, (size,) * 3, 0.01)
    return cell, phonons(cell, emt_forces(cell))


def elastic_constants() -> tuple[float, float, float]:
    """C11, C12, C44 of the model in eV/Angstrom^3 from the stress at small strains."""
    perfect = bulk("Cu", "fcc", a=A_EMT, cubic=True)

    def stress(strain: np.ndarray) -> np.ndarray:
        atoms = perfect.copy()
        atoms.set_cell(perfect.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = EMT()
        return np.asarray(atoms.get_stress())

    d = 1e-3
    long = np.diag([d, 0, 0])
    shear = np.array([[0, 0, 0], [0, 0, d], [0, d, 0]]) / 2
    c1 = (stress(long) - stress(-long)) / (2 * d)
    return float(c1[0]), float(c1[1]), float(((stress(shear) - stress(-shear)) / (2 * d))[3])


def test_sound_is_that_of_the_elastic_constants():
    """Velocities of the Christoffel equation give the same low-temperature Debye temperature."""
    c11, c12, c44 = elastic_constants()
    n, weights = directions()
    mass = 63.546 * 1.03642697e-4  # amu in eV ps^2/Angstrom^2
    density = mass / (A_EMT**3 / 4)
    outer = np.einsum("ni,nj->nij", n, n)
    christoffel = (c12 + c44) * outer + c44 * np.eye(3) + (c11 - c12 - 2 * c44) * np.einsum("ni,ij->nij", n**2, np.eye(3))
    velocities = np.sqrt(np.linalg.eigvalsh(christoffel) / density)
    assert copper()[1].debye_K == pytest.approx(acoustic_debye_temperature(velocities, weights, A_EMT**3 / 4), rel=0.01)


def test_sum_rules_and_symmetry():
    cell, found = copper()
    assert cell.displacements[0][0] == 0 and len(cell.displacements) == 1, "one displacement is enough for fcc"
    assert found.sum_rule < 1e-6 and found.lowest_THz > -1e-3 and found.reason == ""
    assert np.trapezoid(found.dos, found.dos_THz) == pytest.approx(3, rel=5e-3)
    at = {name: int(np.argmin(abs(found.path - distance))) for distance, name in found.ticks}
    assert list(at) == ["G", "X", "U|K", "L"] and np.abs(found.bands_THz[[0]]).max() < 1e-3
    transverse = found.bands_THz[1 : at["X"], :2]
    np.testing.assert_allclose(transverse[:, 0], transverse[:, 1], atol=1e-4)  # along <100> both transverse branches agree
    assert found.highest_THz == pytest.approx(found.bands_THz.max(), rel=0.02)
    assert 0 < found.debye_sigma_K < 0.02 * found.debye_K


def test_the_path_goes_on_at_an_equivalent_point():
    """U and K differ by a reciprocal lattice vector: the bands are the same there, and all distances increase."""
    found = copper()[1]
    at = {name: distance for distance, name in found.ticks}
    before, after = np.flatnonzero(np.abs(found.path - at["U|K"]) < 1e-9)
    np.testing.assert_allclose(found.bands_THz[before], found.bands_THz[after], atol=1e-3)
    assert (np.diff(found.path) >= 0).all()


def test_a_smaller_supercell_agrees_within_what_it_cannot_hold():
    assert copper(2)[1].debye_K == pytest.approx(copper()[1].debye_K, rel=0.02)


def test_an_error_of_the_moving_atom_does_not_change_the_sound():
    """The egg-box error pulls on the displaced atom only: the sum rule on site takes it out, a change of all pairs does not."""
    cell, exact = copper(2)
    forces = emt_forces(cell)
    forces[0, 0, 0] *= 1.01
    found = phonons(cell, forces)
    assert found.sum_rule == pytest.approx(0.01 / 1.01, rel=0.01)
    assert found.debye_K == pytest.approx(exact.debye_K, rel=1e-6)
    assert found.debye_parts_K["acoustic sum rule"] > 0.002 * found.debye_K
    np.testing.assert_allclose(found.bands_THz, exact.bands_THz, atol=1e-4)


def test_an_unstable_crystal_is_recorded_as_such():
    """Bcc copper shears away: imaginary modes, and no value is served."""
    cell = supercell("Cu", "bcc", 2.85, (3, 3, 3), 0.01)
    found = phonons(cell, emt_forces(cell))
    assert found.lowest_THz < -0.1 and "imaginary" in found.reason and math.isnan(found.debye_K)
    fields = phonon_fields(plan_phonons("Cu", load_settings("quick")), found)
    assert fields["phonon_status"].startswith("failed: imaginary") and "phonon_bands_THz" not in fields
    assert fields["phonon_details"]["lowest_THz"] == found.lowest_THz


@pytest.mark.parametrize(("change", "word"), [
    ({"structure": "hcp"}, "structure"), ({"displacement_A": 0.0}, "displacement_A"), ({"displacement_A": 2.0}, "displacement_A"),
])  # fmt: skip
def test_bad_supercells_are_refused(change, word):
    with pytest.raises(InputError, match=word):
        supercell(**{"symbol": "Cu", "structure": "fcc", "lattice_constant_A": 3.6, "size": (2, 2, 2),
                     "displacement_A": 0.05, **change})  # fmt: skip


def test_forces_of_another_shape_are_refused():
    cell = copper()[0]
    for forces in (np.zeros((1, 4, 3)), np.full((1, len(cell.atoms), 3), np.nan)):
        with pytest.raises(InputError, match="forces"):
            phonons(cell, forces)


# what is stored


def with_phonons(**changes):
    host = synthetic.host(facet="bulk")
    fields = phonon_fields(plan_phonons("Cu", load_settings("quick")), copper()[1])
    return replace(host, **(fields | changes))


def test_a_host_keeps_its_phonons_when_it_is_written_again(tmp_path):
    location = str(tmp_path / "emforce.db")
    host = with_phonons()
    with Database(location, create=True) as database:
        database.add_host(host)
        assert database.hosts() == [host]
        again = synthetic.host(facet="bulk", fermi_energy_eV=7.2)
        number = database.add_host(again)
        (newest,) = database.hosts()
        assert newest.fermi_energy_eV == 7.2 and database.host_rows()[0]["id"] == number
        assert all(np.array_equal(getattr(newest, name), getattr(host, name)) for name in PHONON_KEYS)
        # another failure of the phonons is not covered up by older ones
        database.add_host(replace(again, phonon_status="failed: imaginary modes"))
        assert math.isnan(database.hosts()[0].debye_temperature_K)
        # another identity has its own
        database.add_host(synthetic.host(facet="bulk", metal="W"))
        assert [h.phonon_status for h in database.hosts(metal="W")] == [""]


def test_phonons_are_served_whole_or_not_at_all():
    with pytest.raises(CheckError, match="bands"):
        with_phonons(phonon_bands_THz=np.zeros((0, 0)))
    with pytest.raises(InputError, match="only with phonon_status ok"):
        with_phonons(phonon_status="failed: imaginary modes")
    with pytest.raises(InputError, match="phonon_status"):
        with_phonons(phonon_status="good")


def test_the_table_compares_with_the_measured_value():
    line = report([with_phonons()]).splitlines()[-1]
    assert line.startswith("Cu") and "344.3" in line and "%" in line and line.rstrip().endswith("ok")


@pytest.mark.parametrize(("words", "named"), [
    (["Xx"], "metal"), (["Cu", "Cu"], "METAL"), (["Cu", "--set", "phonons.supercell=[2,2,2]"], "phonons.supercell"),
    (["Cu", "--workers", "0"], "--workers"), (["Cu", "--set", "phonons.displacement_A=-1"], "phonons.displacement_A"),
])  # fmt: skip
def test_bad_input_is_one_line(words, named, tmp_path, capsys):
    code = cli.main(["phonons", *words, "--db", str(tmp_path / "no.db"), "--store", str(tmp_path / "store")])
    err = capsys.readouterr().err
    assert code == 2 and named in err and len(err.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.gpaw
def test_a_real_step_gives_restoring_forces(tmp_path):
    """Four atoms of Al: the displaced atom is pulled back, the forces add up to nothing, a failed step is recorded."""
    from emforce.jobs import execute
    from emforce.store import Store

    coarse = {"phonons.fcc_size": [1, 1, 1], "phonons.displacement_A": 0.1, "dft.grid_A": 0.3}
    plan = plan_phonons("Al", load_settings("quick", coarse))
    store = Store(tmp_path)
    execute(plan.forces, str(tmp_path))
    forces = store.find("phonons", plan.forces.key).arrays("forces.npz")["forces"]
    assert forces.shape == (1, 4, 3) and forces[0, 0, 0] < -0.1
    np.testing.assert_allclose(forces.sum(axis=1), 0, atol=0.05)
    np.testing.assert_allclose(forces[0, :, 1:].sum(axis=0), 0, atol=1e-3)  # by symmetry
    with pytest.raises(Exception, match="Al bulk host"):
        host_with_phonons(plan, store, {plan.bulk.name: "self-consistency not reached"})


def test_a_supercell_too_small_for_its_uncertainty_is_not_served():
    """Force constants inside the inscribed sphere alone may be unstable: then there is no part, no uncertainty, and no value."""
    found = replace(copper()[1], debye_parts_K={"interaction range": float("nan"), "acoustic sum rule": 2.0})
    fields = phonon_fields(plan_phonons("Cu", load_settings("quick")), found)
    assert fields["phonon_status"].startswith("failed: no uncertainty from interaction range")
    assert "debye_temperature_K" not in fields
