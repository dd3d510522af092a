"""Kinetics with the EMT potential through the same functions as with GPAW: Hessians, Newton steps, records, failures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from emt_steps import EMTCampaign, emt_hop, energy_and_forces

from emforce.commands.kinetics import kinetics_table
from emforce.diffusion import HopRate, diffusion_of_hop
from emforce.errors import InputError
from emforce.hop import Image
from emforce.kinetics import explore, kinetics, prepare
from emforce.kinetics_assess import barrier, formation
from emforce.kinetics_plan import KineticsHop, shells_of, symmetric_structure, with_hessians
from emforce.kinetics_records import kinetics_record
from emforce.materials import material
from emforce.physics.force_constants import (
    Displacement,
    Group,
    displacements,
    energy_left,
    hessian,
    hessian_rows,
    newton_step,
)
from emforce.physics.vineyard import vacancy_entropy
from emforce.record import Record
from emforce.settings import load_settings
from emforce.steps import Step
from emforce.store import Store
from emforce.workflow import built_hop

ROOT = Path(__file__).parent.parent
SMALL = (2, 2, 1)


@pytest.fixture(scope="module")
def square() -> KineticsHop:
    """Cu adatom on Cu(100) in a small cell."""
    return emt_hop("cu100-adatom", SMALL, 3)


@pytest.fixture(scope="module")
def square_record(square: KineticsHop, tmp_path_factory: pytest.TempPathFactory) -> Record:
    campaign = EMTCampaign(Store(tmp_path_factory.mktemp("store")))
    return kinetics_record(explore([square], campaign.store, campaign.compute)[0])


def brute_force(atoms, chosen, length):  # type: ignore[no-untyped-def]
    """All displacements to both sides, no symmetry."""
    rows = {}
    for a in chosen:
        row = np.zeros((len(atoms), 3, 3))
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[a, axis] += sign * length
                ends.append(energy_and_forces(moved)[1])
            row[:, axis, :] = -(ends[0] - ends[1]) / (2 * length)
        rows[a] = row
    return rows


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_hessian_from_few_displacements_is_that_of_all(square: KineticsHop, fraction: float) -> None:
    atoms, group = symmetric_structure(square.hop.image(fraction).atoms, square.kpts, 0.02)
    length = 0.002
    few = displacements(group, square.atoms, length)
    assert len(few) < 6 * len(square.atoms) / 2
    forces = []
    for d in few:
        moved = atoms.copy()
        moved.positions[d.atom] += d.vector
        forces.append(energy_and_forces(moved)[1])
    rows = hessian_rows(group, few, np.array(forces), energy_and_forces(atoms)[1])
    expected = brute_force(atoms, square.atoms, length)
    for a in square.atoms:
        assert rows[a] == pytest.approx(expected[a], abs=2e-3)
    found = hessian(rows, square.atoms)
    assert found.asymmetry < 1e-3
    assert found.sum_rule < 1e-6  # EMT has no grid
    assert found.matrix == pytest.approx(found.raw, abs=1e-6)


def test_displacements_of_a_centre_of_cubic_symmetry_and_of_none() -> None:
    """One run where the site turns an axis into all of space and on itself; six where there is no symmetry."""
    full = [np.array(p) @ np.diag(s) for p in (np.eye(3), np.eye(3)[[1, 2, 0]], np.eye(3)[[2, 0, 1]])
            for s in ((a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1))]
    centre = Group(np.array(full), np.zeros((24, 1), dtype=np.int64))
    assert len(displacements(centre, [0], 0.02)) == 1
    alone = Group(np.eye(3)[None], np.zeros((1, 1), dtype=np.int64))
    assert len(displacements(alone, [0], 0.02)) == 6
    assert len(displacements(alone, [0], 0.02, both_signs=[])) == 3


def test_sum_rule_takes_out_a_force_that_holds_an_atom_in_place() -> None:
    """An atom on a spring to another one, and each on a spring to the grid: only the first is physics."""
    spring, grid, length = 2.0, 0.3, 0.01
    group = Group(np.eye(3)[None], np.array([[0, 1]]))
    moved = [Displacement(a, tuple(s * length * np.eye(3)[x])) for a in (0, 1) for x in range(3) for s in (1, -1)]  # type: ignore[arg-type]

    def force(u: np.ndarray) -> np.ndarray:
        return -spring * (u - u[::-1]) - grid * u

    forces = []
    for d in moved:
        u = np.zeros((2, 3))
        u[d.atom] = d.vector
        forces.append(force(u))
    found = hessian(hessian_rows(group, moved, np.array(forces), np.zeros((2, 3))), [0, 1])
    assert found.sum_rule == pytest.approx(grid)
    assert found.raw[0, 0] == pytest.approx(spring + grid)
    assert found.matrix[0, 0] == pytest.approx(spring)
    assert found.matrix[0, 3] == pytest.approx(-spring)
    assert found.block([1]).matrix == pytest.approx(spring * np.eye(3))


def test_newton_step_finds_the_stationary_point_of_a_saddle() -> None:
    h, top = np.diag([-1.0, 2.0, 3.0]), np.array([0.01, -0.02, 0.03])
    force = h @ top  # at x = 0: F = -H (x - top)
    assert newton_step(h, force, 1.0).ravel() == pytest.approx(top)
    assert energy_left(h, force) == pytest.approx(top @ h @ top / 2)
    assert np.linalg.norm(newton_step(h, force, 0.005)) == pytest.approx(0.005)


def test_record_of_an_adatom_hop(square: KineticsHop, square_record: Record) -> None:
    r, d = square_record, square_record.kinetics_details
    assert r.status == "ok", r.reason
    energies = [energy_and_forces(square.hop.image(f).atoms)[0] for f in (0.0, 0.5)]
    assert r.barrier_eV == pytest.approx(energies[1] - energies[0], abs=1e-6)
    assert 0.5 < r.nu0_THz < 20
    assert r.ea_eV == pytest.approx(r.barrier_eV)  # one adatom: no formation energy in it
    length = float(np.linalg.norm(r.hop_vector_angstrom))
    assert r.d0_m2_s == pytest.approx(r.nu0_THz * 1e12 * (length * 1e-10) ** 2)  # square lattice: D = Gamma l^2
    assert d["force_calls"] <= 40
    assert len(d["modes_initial_THz"]) == len(d["modes_saddle_THz"]) == 3 * len(square.atoms)
    assert [n < 0 for n in d["modes_saddle_THz"]].count(True) == 1
    assert d["nu0_by_shells_THz"][-1] == r.nu0_THz
    assert r.nu0_sigma_THz >= abs(d["nu0_by_shells_THz"][-1] - d["nu0_by_shells_THz"][-2])
    assert d["barrier_sigma_parts_eV"]["cell"] is None  # not varied: said, not made up
    assert r.barrier_sigma_eV >= 0.1 * length / math.pi  # one basis alone is not better than its forces


def test_vineyards_product_from_the_stored_modes(square_record: Record) -> None:
    d = square_record.kinetics_details
    product = math.prod(d["modes_initial_THz"]) / math.prod(n for n in d["modes_saddle_THz"] if n > 0)
    assert square_record.nu0_THz == pytest.approx(product, rel=1e-9)


def test_reaction_atoms_of_a_symmetric_hop(square: KineticsHop, square_record: Record) -> None:
    atoms = square_record.kinetics_details["reaction_atoms"]
    assert len({len(v) for v in atoms.values()}) == 1
    assert atoms["index"][0] == square.hop.image(0.0).mover
    assert sum(atoms["weight_mode"]) == pytest.approx(1)
    assert sum(atoms["weight_path"]) == pytest.approx(1)
    assert atoms["weight_mode"][0] > 0.8
    assert atoms["position_start"][0] == pytest.approx(-1)
    assert atoms["position_saddle"][0] == pytest.approx(0, abs=1e-3)


def test_formation_energy_of_an_adatom_is_the_energy_that_it_costs(square: KineticsHop, square_record: Record) -> None:
    from ase.build import bulk

    host = square.hop.host_supercell()
    atom = bulk("Cu", a=square.hop.host_unit.cell.lengths()[0] * math.sqrt(2))
    cost = energy_and_forces(square.hop.image(0.0).atoms)[0] - energy_and_forces(host)[0] - energy_and_forces(atom)[0]
    assert square_record.kinetics_details["formation_energy"]["lcao_eV"] == pytest.approx(cost, abs=1e-5)
    assert math.isnan(square_record.formation_energy_eV)  # the basis' error is not known: not served without plane waves


def test_the_finer_mesh_is_served_and_its_change_is_the_error() -> None:
    def point(energy: float, finer: float | None, wide: float | None, finest: float | None = None) -> SimpleNamespace:
        return SimpleNamespace(energy=energy, denser=tuple(e for e in (finer, finest) if e is not None), plane_wave=wide,
                               plane_wave_forces=None, hessian=SimpleNamespace(matrix=np.eye(3)), forces=np.zeros((1, 3)))

    coarse = barrier(point(-10.0, None, None), point(-9.4, None, None), 2.5)  # type: ignore[arg-type]
    assert coarse.value == pytest.approx(0.6)
    assert coarse.k_points == () and coarse.parts["k_points"] == pytest.approx(0.082)  # the largest that was seen
    fine = barrier(point(-10.0, -11.0, None), point(-9.4, -10.2, None), 2.5)  # type: ignore[arg-type]
    assert (fine.value, fine.lcao) == pytest.approx((0.8, 0.6))
    both = barrier(point(-10.0, -11.0, -7.0), point(-9.4, -10.5, -6.3), 2.5)  # type: ignore[arg-type]
    assert (both.value, both.plane_wave, both.lcao, *both.k_points) == pytest.approx((0.7 - 0.1, 0.7, 0.6, -0.1))
    assert both.parts["k_points"] == pytest.approx(0.1)
    # of two denser meshes the last is served, what it changed against the one before is the error
    twice = barrier(point(-10.0, -11.0, -7.0, -11.2), point(-9.4, -10.5, -6.3, -10.67), 2.5)  # type: ignore[arg-type]
    assert twice.k_points == pytest.approx((-0.1, -0.07))
    assert (twice.value, twice.parts["k_points"]) == pytest.approx((0.7 - 0.07, 0.03))
    # in bulk the largest that was seen is larger
    unvaried = barrier(point(-10.0, None, None), point(-9.4, None, None), 2.5, bulk=True)  # type: ignore[arg-type]
    assert (unvaried.value, unvaried.parts["k_points"]) == pytest.approx((0.6, 0.313)) and unvaried.sigma > 0.313
    varied = barrier(point(-10.0, -11.0, None), point(-9.4, -10.2, None), 2.5, bulk=True)  # type: ignore[arg-type]
    assert varied.parts["k_points"] == pytest.approx(0.2)


@pytest.mark.parametrize("bulk, cells, expected", [(False, 31 / 4, 0.2 - 31 / 4 * 0.1), (True, 30 / 4, None)])
def test_k_points_of_a_formation_energy(bulk: bool, cells: float, expected: float | None) -> None:
    """More k-points shift the cell by 0.2, its host by 0.1 eV; the coarser bulk atom is off by 0.03 eV."""
    start = SimpleNamespace(energy=-100.0, denser=(-99.8,), hessian=SimpleNamespace(matrix=np.eye(3)),
                            forces=np.zeros((1, 3)), plane_wave=-90.0, plane_wave_forces=None)
    energies = {"host": -13.0, "host in plane waves": -12.0}
    if bulk:
        energies |= {"bulk": -3.0, "bulk, coarser": -3.03, "bulk in plane waves": -2.9}
    found = formation(start, 31, 4, energies, (-12.9,))  # type: ignore[arg-type]
    wanted = abs(expected) if expected is not None else math.hypot(0.2 - cells * 0.1, 0.03)
    assert found.parts["k_points"] == pytest.approx(wanted)
    (change,) = found.k_points
    assert change == pytest.approx(0.2 - cells * 0.1)
    assert found.value == pytest.approx(-90.0 + cells * 12.0 + (2.9 if bulk else 0.0) + change)
    start.denser = (-99.8, -99.7)
    twice = formation(start, 31, 4, energies, (-12.9, -12.88))  # type: ignore[arg-type]
    assert twice.k_points == pytest.approx((change, 0.3 - cells * 0.12))
    assert twice.parts["k_points"] == pytest.approx(math.hypot(0.1 - cells * 0.02, 0.03 if bulk else 0.0))
    assert twice.value - found.value == pytest.approx(0.1 - cells * 0.02)
    start.denser = ()
    without = formation(start, 31, 4, energies)  # type: ignore[arg-type]
    if bulk:
        assert without.parts["k_points"] == pytest.approx(0.03)
    else:  # nothing is known about the k-points of a cell that has few
        assert math.isnan(without.value) and "k_points_check" in without.method


def test_stored_document_reads_back(square_record: Record) -> None:
    text = json.dumps(square_record.document(), allow_nan=False)
    assert Record.from_document(json.loads(text)) == square_record
    table = kinetics_table([square_record.document()])
    assert "cu100-adatom" in table
    assert f"{square_record.barrier_eV:.3f}" in table
    assert "E_m eV" in table


@pytest.mark.parametrize("layers, part", [(0, 1e-6), (2, 5e-4)])
def test_second_basis_corrects_the_barrier(square: KineticsHop, tmp_path: Path, layers: int, part: float) -> None:
    """Plane waves of this test give 1.01 times the energy and force: so must the barrier be. Two layers of four do nearly all."""
    item = replace(square, settings=load_settings("quick", {"kinetics.plane_wave": True, "kinetics.k_points_check": True,
                                                            "kinetics.plane_wave_layers": layers}))
    campaign = EMTCampaign(Store(tmp_path))
    r = kinetics_record(explore([item], campaign.store, campaign.compute)[0])
    d = r.kinetics_details
    assert r.method == "barrier in plane waves, Hessian in LCAO"
    assert r.barrier_eV == pytest.approx(1.01 * d["barrier_lcao_eV"], rel=part)
    assert d["barrier_plane_wave_eV"] == r.barrier_eV
    assert d["barrier_sigma_parts_eV"]["k_points"] == pytest.approx(0, abs=1e-9)  # EMT has no k-points
    assert d["barrier_sigma_parts_eV"]["basis"] < 0.01  # its stationary points are the same
    assert r.formation_energy_eV == pytest.approx(1.01 * d["formation_energy"]["lcao_eV"], rel=max(part, 1e-6) * 4)
    # what one more layer may change is in sigma where layers were left out
    barrier, formed = d["barrier_sigma_parts_eV"], d["formation_energy"]["sigma_parts_eV"]
    assert (barrier.get("cut"), formed.get("cut")) == ((0.024, 0.071) if layers else (None, None))
    assert r.barrier_sigma_eV >= barrier.get("cut", 0.0) and r.formation_energy_sigma_eV >= formed.get("cut", 0.0)
    assert {s.kind for s in campaign.ran} == {"stationary", "nudged", "plane_wave"}


def test_formation_entropy_of_a_vacancy(tmp_path: Path) -> None:
    """A few displacements and symmetry against all 180 of them, one by one; and what the diffusion coefficient makes of it."""
    wanted = dict.fromkeys(("kinetics.formation_entropy", "kinetics.plane_wave", "kinetics.k_points_check"), True)
    item = emt_hop("cu-vacancy", (2, 2, 2), 0, {"kinetics.shells": 0, "kinetics.displacement_A": 0.005} | wanted)
    campaign = EMTCampaign(Store(tmp_path))
    r = kinetics_record(explore([item], campaign.store, campaign.compute)[0])
    found = r.kinetics_details["formation_entropy"]
    assert found["atoms"] == [31, 32]
    assert found["force_calls"] < 15
    cells = [item.hop.image(0.0).atoms, item.hop.host_supercell()]
    vacancy, host = (hessian(brute_force(a, range(len(a)), 0.005), range(len(a))).matrix for a in cells)
    assert found["value_kB"] == pytest.approx(vacancy_entropy(vacancy, host), abs=5e-3)
    assert 0.5 < found["value_kB"] < 3.0
    assert found["sigma_parts_kB"]["cell"] is None
    without = diffusion_of_hop(item.hop.spec, "fcc", material("Cu").lattice_constant("PBE"),
                               HopRate(r.nu0_THz, r.nu0_sigma_THz, r.barrier_eV, r.barrier_sigma_eV, r.formation_energy_eV,
                                       r.formation_energy_sigma_eV))  # fmt: skip
    assert r.d0_m2_s == pytest.approx(math.exp(found["value_kB"]) * without.d0_m2_s)
    table = kinetics_table([r.document()])
    assert f"{found['value_kB']:.2f} ± " in table


def test_a_failed_step_of_the_entropy_leaves_the_rest(tmp_path: Path) -> None:
    item = emt_hop("cu-vacancy", (2, 2, 2), 0, {"kinetics.shells": 0, "kinetics.formation_entropy": True})
    campaign = EMTCampaign(Store(tmp_path))

    def compute(steps: Sequence[Step]) -> dict[str, str]:
        broken = {s.name: "out of memory" for s in steps if s.title.startswith("Cu(bulk) host supercell")}
        return campaign.compute([s for s in steps if s.name not in broken]) | broken

    r = kinetics_record(explore([item], campaign.store, compute)[0])
    assert r.status == "ok" and r.barrier_eV > 0
    assert r.kinetics_details["not computed: formation entropy"] == "out of memory"
    assert "formation_entropy" not in r.kinetics_details


def test_finished_steps_are_not_run_again(square: KineticsHop, tmp_path: Path) -> None:
    first, again = (EMTCampaign(Store(tmp_path)) for _ in range(2))
    one = kinetics_record(explore([square], first.store, first.compute)[0])
    two = kinetics_record(explore([square], again.store, again.compute)[0])
    assert first.ran
    assert not again.ran
    assert one.barrier_eV == two.barrier_eV
    assert one.nu0_THz == two.nu0_THz


def test_newton_steps_take_out_the_forces_that_are_left(square: KineticsHop, tmp_path: Path) -> None:
    start = square.hop.image(0.0)
    atoms = start.atoms.copy()
    atoms.positions[start.mover, 2] += 0.08
    pushed = replace(square.hop, images=(replace(start, atoms=atoms), *square.hop.images[1:]))
    settings = load_settings("quick", {"kinetics.force_tolerance_eV_per_A": 0.02})
    campaign = EMTCampaign(Store(tmp_path))
    r = kinetics_record(explore([replace(square, hop=pushed, settings=settings)], campaign.store, campaign.compute)[0])
    moved = r.kinetics_details["newton"]["0"]
    assert r.status == "ok", r.reason
    assert moved["steps"] >= 1
    assert moved["force_before_eV_per_A"] > 0.1
    assert moved["force_after_eV_per_A"] <= 0.02
    expected = np.subtract(*[energy_and_forces(square.hop.image(f).atoms)[0] for f in (0.5, 0.0)])
    assert r.barrier_eV == pytest.approx(expected, abs=0.003)


def test_forces_that_stay_are_recorded_and_not_served(square: KineticsHop, tmp_path: Path) -> None:
    start = square.hop.image(0.0)
    atoms = start.atoms.copy()
    atoms.positions[start.mover, 2] += 0.08
    pushed = replace(square.hop, images=(replace(start, atoms=atoms), *square.hop.images[1:]))
    settings = load_settings("quick", {"kinetics.newton_steps": 0})
    campaign = EMTCampaign(Store(tmp_path))
    r = kinetics_record(explore([replace(square, hop=pushed, settings=settings)], campaign.store, campaign.compute)[0])
    assert r.status == "failed"
    assert "force left on the moving atoms" in r.reason
    assert math.isnan(r.d0_m2_s)


def test_no_imaginary_mode_is_recorded_with_what_was_found(square: KineticsHop, tmp_path: Path) -> None:
    """The start in place of the saddle."""
    start, saddle = square.hop.images[0], square.hop.images[-1]
    fake = Image(0.5, saddle.label, start.atoms, saddle.mover, saddle.site_of_atom, saddle.removed)
    campaign = EMTCampaign(Store(tmp_path))
    item = replace(square, hop=replace(square.hop, images=(start, fake)))
    r = kinetics_record(explore([item], campaign.store, campaign.compute)[0])
    assert r.status == "failed"
    assert "0 at the saddle" in r.reason
    assert math.isnan(r.nu0_THz)
    assert r.kinetics_details["saddle"]["imaginary_modes"] == 0
    assert "reaction_atoms" not in r.kinetics_details


@pytest.mark.parametrize("depth, status", [(0.02, "ok"), (-0.1, "ok"), (0.2, "failed"), (None, "failed")])
def test_a_flat_top_is_crossed_through_its_plane(
    square: KineticsHop, tmp_path: Path, depth: float | None, status: str
) -> None:
    """The unstable mode of the saddle made softly stable: the same attempt frequency, and the barrier is that of the humps."""
    campaign = EMTCampaign(Store(tmp_path))
    (outcome,) = explore([square], campaign.store, campaign.compute)
    true = kinetics_record(outcome)
    top = outcome.points[0.5]
    flat = {}
    for name in ("matrix", "raw"):
        matrix = getattr(top.hessian, name)
        values, vectors = np.linalg.eigh(matrix)
        assert values[0] < 0 < values[1]
        flat[name] = matrix + (0.01 - values[0]) * np.outer(vectors[:, 0], vectors[:, 0])
    points = {**outcome.points, 0.5: replace(top, hessian=replace(top.hessian, **flat))}
    energies = {0.0: 0.0, 0.5: 0.5} | ({} if depth is None else {0.25: 0.3, 0.375: 0.5 + depth})
    r = kinetics_record(replace(outcome, item=replace(square, energies_eV=energies), points=points))
    assert r.status == status, r.reason
    d = r.kinetics_details
    if depth is None:  # nothing is known of what lies beside the middle
        assert "0 at the saddle" in r.reason and "images between" in r.reason and math.isnan(r.nu0_THz)
        assert "hump" not in d["barrier_sigma_parts_eV"]
        return
    assert r.nu0_THz == pytest.approx(true.nu0_THz, rel=1e-9)
    hump = max(depth, 0.0)
    assert r.barrier_eV == pytest.approx(true.barrier_eV + hump)
    assert d["barrier_sigma_parts_eV"].get("hump", 0.0) == pytest.approx(hump)
    assert "crossed through its plane" in d["saddle"]["found"] and d["saddle"]["imaginary_modes"] == 0
    assert d["reaction_atoms"]["weight_mode"] == pytest.approx(true.kinetics_details["reaction_atoms"]["weight_mode"], abs=1e-9)
    assert ("depth of the minimum in the middle" in r.reason) == (status == "failed")


def test_failed_step_makes_an_unconverged_record(square: KineticsHop, tmp_path: Path) -> None:
    campaign = EMTCampaign(Store(tmp_path), {"saddle at rest": "self-consistency of Cu13 not reached in 80 iterations"})
    r = kinetics_record(explore([square], campaign.store, campaign.compute)[0])
    assert r.status == "unconverged"
    assert "saddle" in r.reason
    assert math.isnan(r.barrier_eV)


def test_ends_of_a_hop_on_111_differ(tmp_path: Path) -> None:
    item = emt_hop("cu111-adatom", SMALL, 2, {"kinetics.shells": 1})
    campaign = EMTCampaign(Store(tmp_path))
    r = kinetics_record(explore([item], campaign.store, campaign.compute)[0])
    d = r.kinetics_details
    assert r.status == "ok", r.reason
    back = d["reverse"]
    energies = [energy_and_forces(item.hop.image(f).atoms)[0] for f in (0.0, 1.0)]
    assert r.barrier_eV - back["barrier_eV"] == pytest.approx(energies[1] - energies[0], abs=2e-3)
    assert d["energies_along_hop"]["fraction"] == [0.0, 0.5, 1.0]


def test_vacancy_shells_and_symmetry() -> None:
    """fcc: a start with the full symmetry of the vacancy, a saddle with the eight operations of the bond's middle."""
    from emforce.structure import build_hop, load_spec

    hop = build_hop(load_spec(ROOT / "structures" / "cu-vacancy.toml"), size=(2, 2, 2), layers=0, vacuum=0.0, functional="PBE")
    settings = load_settings("quick", {"kinetics.shells": 1})
    item = KineticsHop(hop, settings, Path("nowhere"), {}, shells_of(hop, 1))
    assert [len(s) for s in item.shells] == [1, 18]  # 12 + 12 neighbours, four of them shared, less the two ends themselves
    start, saddle = with_hessians(item, {image.label: image.atoms for image in map(hop.image, item.fractions)})
    assert len(start.group.rotations) == 48
    assert len(saddle.group.rotations) == 8
    assert len(start.nudged) + len(saddle.nudged) + 2 <= 40


def test_unrelaxed_hop_is_one_line_that_says_what_comes_first(tmp_path: Path) -> None:
    settings = load_settings("quick", {"structure.relaxed": str(tmp_path / "none")})
    with pytest.raises(InputError, match="emforce relax"):
        prepare(ROOT / "structures" / "cu100-adatom.toml", settings)


@pytest.mark.parametrize("name, value", [("kinetics.shells", 5), ("kinetics.shells", -1), ("kinetics.displacement_A", 0.0),
                                         ("kinetics.plane_wave", "yes")])
def test_bad_settings(name: str, value: object) -> None:
    with pytest.raises(InputError, match="kinetics"):
        load_settings("quick", {name: value})


def test_more_meshes_of_a_check_that_is_not_made_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kinetics\.k_points_steps.*1 where kinetics\.k_points_check is false"):
        kinetics([ROOT / "structures" / "cu-vacancy.toml"], preset="quick", overrides={"kinetics.k_points_steps": 2}, workers=1,
                 database=str(tmp_path / "a.db"), store=tmp_path / "store")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="k_points_steps"):
        load_settings("quick", {"kinetics.k_points_check": True, "kinetics.k_points_steps": 0})


@pytest.mark.parametrize("kpts, operations", [((2, 2, 1), 8), ((3, 3, 1), 8), ((2, 3, 1), 4)])
def test_only_operations_of_the_k_points_count(square: KineticsHop, kpts: tuple[int, int, int], operations: int) -> None:
    """A hollow site has eight operations; a mesh with fewer points along one axis keeps the four that leave the axes alone."""
    _, group = symmetric_structure(square.hop.image(0.0).atoms, kpts, 0.02)
    assert len(group.rotations) == operations


def test_shifted_mesh_of_a_hexagonal_cell_has_no_threefold_axis() -> None:
    from ase.build import fcc111

    slab = fcc111("Cu", (1, 1, 2), vacuum=4.0)
    shifted = symmetric_structure(slab, (2, 2, 1), 0.02)[1]
    assert not any(np.trace(r) == pytest.approx(0) for r in shifted.rotations)
    for size in (2, 3):
        full = symmetric_structure(slab, (size, size, 1), 0.02, gamma=True)[1]
        assert any(np.trace(r) == pytest.approx(0) for r in full.rotations)


@pytest.mark.parametrize("name", ["cu111-adatom", "cu100-adatom", "w110-adatom", "cu-vacancy", "w-vacancy"])
def test_hops_of_the_data_set_take_at_most_forty_force_calls(name: str) -> None:
    """As built, with the shells of the preset; symmetry and the k-points leave these."""
    settings = load_settings("quick", {"structure.relaxed": ""})
    hop = built_hop(Path("structures") / f"{name}.toml", settings)
    item = KineticsHop(hop, settings, Path("nowhere"), {}, shells_of(hop, settings.kinetics.shells))
    structures = with_hessians(item, {hop.image(f).label: hop.image(f).atoms for f in item.fractions})
    assert 10 < sum(len(s.steps) for s in structures) <= 40


def test_structure_is_symmetric_after_averaging(square: KineticsHop) -> None:
    atoms = square.hop.image(0.0).atoms.copy()
    atoms.positions += np.random.default_rng(1).normal(scale=0.002, size=atoms.positions.shape)
    found, group = symmetric_structure(atoms, square.kpts, 0.02)
    assert len(group.rotations) == 8
    force = energy_and_forces(found)[1]
    assert group.symmetrized(force) == pytest.approx(force, abs=1e-9)


def test_relaxed_structures_of_the_folder_serve_a_preset_with_another_vacuum() -> None:
    """`standard` has the cell of `quick` with one Angstrom more of vacuum on both sides: the same folder, carried over."""
    spec = ROOT / "structures" / "cu100-adatom.toml"
    own, wider = (prepare(spec, load_settings(preset)).hop for preset in ("quick", "standard"))
    assert own.repeat == wider.repeat
    assert wider.host_unit.cell[2, 2] == pytest.approx(own.host_unit.cell[2, 2] + 2.0)
    for fraction in (0.0, 0.5):
        shift = wider.image(fraction).atoms.positions - own.image(fraction).atoms.positions
        assert np.allclose(shift, shift.mean(axis=0), atol=1e-5)
        assert shift.mean(axis=0) == pytest.approx([0.0, 0.0, 1.0], abs=1e-5)
