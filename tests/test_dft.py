"""GPAW in the local basis: phases, gauges, symmetry, restarts. Small cells of Al with GPAW's own basis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from emforce.errors import ConvergenceError, InputError
from emforce.physics.lcao import LCAOMatrices, eigenstates
from emforce.physics.perturbation import DefectGeometry, Perturbation, perturbation

pytestmark = pytest.mark.gpaw

A = 4.04
SPACING = 0.3


def al_settings(**changes: Any) -> Any:
    from emforce.dft import DFTSettings

    # szp(dzp): s, p and a polarisation d
    values = {"basis": (("Al", "szp(dzp)"),), "grid_A": SPACING, "smearing_eV": 0.2, "density_tolerance": 1e-5}
    return DFTSettings(**(values | changes))


def primitive() -> Atoms:
    atoms = bulk("Al", a=A)
    atoms.positions += 0.25 * np.array(atoms.cell).sum(axis=0)
    return atoms


def gamma_mesh(*size: int) -> dict[str, Any]:
    return {"size": size, "gamma": True}


def converged(atoms: Atoms, kpts: dict[str, Any], repeat: tuple[int, int, int], symmetry: Any = None, **changes: Any) -> Any:
    """Calculator of `repeat` x the primitive cell or of a defect in it, at self-consistency, and its state."""
    from emforce.dft import calculator, converge, grid_points

    settings = al_settings(**changes)
    grid = grid_points(np.array(primitive().cell), settings.grid_A, repeat)
    calc = calculator(atoms, settings, kpts, grid, symmetry)
    return calc, converge(calc, atoms)


@pytest.fixture(scope="module")
def chain_host() -> Any:
    return converged(primitive(), gamma_mesh(4, 2, 2), (1, 1, 1))[0]


@pytest.fixture(scope="module")
def chain_pair() -> Any:
    """The host repeated twice along its first axis, with the same k-points and grid."""
    return converged(primitive().repeat((2, 1, 1)), gamma_mesh(2, 2, 2), (2, 1, 1))[0]


@pytest.fixture(scope="module")
def host() -> Any:
    return converged(primitive(), gamma_mesh(4, 4, 4), (1, 1, 1))[0]


@pytest.fixture(scope="module")
def perfect() -> Any:
    return converged(primitive().repeat((2, 2, 2)), gamma_mesh(2, 2, 2), (2, 2, 2))[0]


# Bloch phases


def pair_difference(host: LCAOMatrices, pair: LCAOMatrices, name: str, mesh: int) -> float:
    """Largest deviation of the supercell's blocks <0,i|A|R,j> from the host's <0|A|2R + j - i>, R modulo the mesh."""
    n = host.n
    of_host = {tuple(np.mod(r, (mesh, 3, 3))): m for r, m in zip(host.R, getattr(host, name), strict=True)}
    largest = 0.0
    for r, matrix in zip(pair.R, getattr(pair, name), strict=True):
        for i in range(2):
            for j in range(2):
                expected = of_host[((2 * r[0] + j - i) % mesh, r[1] % 3, r[2] % 3)]
                largest = max(largest, np.abs(matrix[i * n : (i + 1) * n, j * n : (j + 1) * n] - expected).max())
    return float(largest)


def opposite_phase(matrices: LCAOMatrices) -> LCAOMatrices:
    """What a reader with the other sign of the Bloch phase would get: A(-R) in the place of A(R)."""
    return LCAOMatrices(matrices.cell, matrices.positions, matrices.orbitals, -matrices.R, matrices.h, matrices.s)


def test_supercell_holds_the_blocks_of_the_primitive_cell(chain_host, chain_pair):
    from emforce.dft import folded_matrices

    one, two = folded_matrices(chain_host, (6, 3, 3)), folded_matrices(chain_pair, (3, 3, 3))
    assert pair_difference(one, two, "s", 6) < 1e-9
    assert pair_difference(one, two, "h", 6) < 2e-3
    # odd orbitals make the sign visible: a p and an s function on neighbours change sign with R
    wrong_one, wrong_two = opposite_phase(one), opposite_phase(two)
    assert pair_difference(wrong_one, wrong_two, "s", 6) > 0.1
    assert pair_difference(wrong_one, wrong_two, "h", 6) > 1.0


def test_host_matrices_and_folded_matrices_agree_on_the_mesh(chain_host):
    from emforce.dft import folded_matrices, host_matrices

    mesh = (3, 3, 3)
    k = np.array(list(np.ndindex(*mesh))) / 3
    for a, b in zip(host_matrices(chain_host, mesh).at(k), folded_matrices(chain_host, mesh).at(k), strict=True):
        assert np.abs(a - b).max() < 1e-10


# bands


def test_bands_equal_gpaws_eigenvalues(host):
    from emforce.dft import host_matrices

    matrices = host_matrices(host, (4, 4, 4))
    k = host.get_ibz_k_points()
    energies, _ = eigenstates(*matrices.at(k))
    gpaw = np.array([host.get_eigenvalues(i) for i in range(len(k))])
    bands = min(gpaw.shape[1], energies.shape[1])
    assert bands >= 4
    assert np.abs(energies[:, :bands] - gpaw[:, :bands]).max() < 2e-4


def test_matrices_are_hermitian_and_fit_their_atoms(host, perfect):
    from emforce.dft import folded_matrices, host_matrices, orbitals_per_atom

    for matrices, atoms in ((host_matrices(host, (3, 3, 3)), 1), (folded_matrices(perfect, (2, 2, 2)), 8)):
        assert len(matrices.orbitals) == atoms
        assert matrices.h.shape[1] == matrices.orbitals.sum() == 9 * atoms
        h, s = matrices.at(np.array([[0.31, 0.12, -0.2]])) if atoms == 1 else matrices.at(np.array([[0.5, 0.0, 0.5]]))
        assert np.abs(h - h.conj().swapaxes(1, 2)).max() < 1e-9
        assert np.linalg.eigvalsh(s).min() > 1e-4
    assert orbitals_per_atom(host).tolist() == [9]


# a supercell against its host


def against_host(host: Any, calc: Any, kept: list[int], mover: int, right: bool = True) -> Perturbation:
    from emforce.dft import folded_matrices, host_matrices

    atoms = calc.atoms
    repeat = tuple(np.round(atoms.cell.lengths() / host.atoms.cell.lengths()).astype(int))
    supercell = host.atoms.repeat(repeat)
    mesh = (3, 3, 3) if max(repeat) < 4 else (5, 5, 1)
    geometry = DefectGeometry(
        cell=np.array(atoms.cell), periodic=(True, True, True), repeat=repeat, positions=atoms.get_positions(), mover=mover,
        site_of_atom=np.array(kept), removed=np.array(sorted(set(range(len(supercell))) - set(kept)), dtype=int),
        host_positions=supercell.get_positions(),
    )
    host_mesh = tuple(m * r for m, r in zip(mesh, repeat, strict=True))
    one, many = host_matrices(host, host_mesh), folded_matrices(calc, mesh)
    if not right:  # the other sign of the Bloch phase, in both
        one, many = opposite_phase(one), opposite_phase(many)
    return perturbation(one, many, {}, geometry, mesh)


def test_a_perfect_supercell_is_no_perturbation(host, perfect):
    found = against_host(host, perfect, list(range(8)), 0)
    assert np.abs(found.ds).max() < 1e-9
    assert np.abs(found.dh).max() < 2e-3
    assert abs(found.alignment) < 2e-3
    wrong = against_host(host, perfect, list(range(8)), 0, right=False)
    assert np.abs(wrong.ds).max() > 0.1
    assert np.abs(wrong.dh).max() > 1.0


def test_positions_outside_the_cell_are_taken_as_given(host):
    """GPAW wraps atoms into the cell; the matrices still belong to the images that were given."""
    atoms = primitive().repeat((2, 2, 2))
    cell = np.array(atoms.cell)
    atoms.positions -= cell.sum(axis=0) * 3 / 16  # a multiple of the grid; the lower atoms now stick out
    atoms.positions[3] -= cell[0]
    atoms.positions[6] += cell[1] - 2 * cell[2]
    calc, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 2, 2))
    assert np.abs(calc.atoms.get_positions() - atoms.get_positions()).max() < 1e-9
    found = against_host(host, calc, list(range(8)), 0)
    assert np.abs(found.ds).max() < 1e-9
    assert np.abs(found.dh).max() < 5e-3


def test_positions_of_a_host_outside_the_cell(chain_host):
    """Two atoms per cell, one of them outside: same bands off the mesh as with both inside."""
    from emforce.dft import host_matrices

    atoms = primitive().repeat((2, 1, 1))
    inside, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 1, 1))
    atoms.positions[1] -= 2 * atoms.cell[0] + atoms.cell[2]
    outside, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 1, 1))
    k = np.array([[0.11, 0.23, -0.4]])
    a, _ = eigenstates(*host_matrices(inside, (3, 5, 5)).at(k))
    b, _ = eigenstates(*host_matrices(outside, (3, 5, 5)).at(k))
    assert np.abs(a - b).max() < 2e-3


def test_perturbation_of_a_vacancy_decays(host):
    atoms = primitive().repeat((1, 1, 6))
    middle = atoms.get_center_of_mass()
    removed = int(np.argmin(np.linalg.norm(atoms.positions - middle, axis=1)))
    kept = [i for i in range(len(atoms)) if i != removed]
    hole = atoms.positions[removed]
    del atoms[removed]
    calc, _ = converged(atoms, gamma_mesh(4, 4, 1), (1, 1, 6))
    distance = np.linalg.norm(atoms.positions - hole, axis=1)
    found = against_host(host, calc, kept, int(np.argmin(distance)))
    n = found.site_orbitals[0]
    # the distance to the hole, through the periodic cell
    vectors = atoms.positions - hole
    from ase.geometry import find_mic

    order = np.argsort(find_mic(vectors, atoms.cell)[1])
    near, far = order[0], order[-1]

    def change(i: int) -> float:
        return float(np.linalg.norm(found.dh[i * n : (i + 1) * n, i * n : (i + 1) * n]))

    assert np.abs(found.ds).max() < 0.05  # through the projectors of the removed atom
    assert change(near) > 0.3
    assert change(far) < 0.25 * change(near)
    other = order[-2]
    off_site = np.linalg.norm(found.dh[far * n : (far + 1) * n, other * n : (other + 1) * n])
    assert off_site < 0.25 * change(near)


# translations


def test_translation_by_a_grid_spacing_changes_nothing():
    from emforce.dft import folded_matrices

    atoms = primitive().repeat((2, 1, 1))
    atoms.rattle(0.1, seed=3)
    before, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 1, 1), symmetry={"point_group": False})
    points = before.dft.density.nt_sR.desc.size
    atoms.positions += atoms.cell[0] / points[0]
    after, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 1, 1), symmetry={"point_group": False})
    one, two = folded_matrices(before, (2, 2, 2)), folded_matrices(after, (2, 2, 2))
    assert np.abs(one.s - two.s).max() < 1e-10
    assert np.abs(one.h - two.h).max() < 1e-3


def test_overlap_does_not_change_when_all_atoms_move_together():
    """The derivatives of S for the movement of each atom add up to that of all atoms, which is zero."""
    from emforce.dft import folded_matrices

    base = primitive().repeat((2, 1, 1))
    delta = 0.01

    def overlap(moved: list[int], step: float) -> Any:
        atoms = base.copy()
        atoms.positions[moved] += step * np.array([0.0, 0.6, 0.8])
        calc, _ = converged(atoms, gamma_mesh(1, 1, 1), (2, 1, 1), {"point_group": False}, density_tolerance=0.1)
        return folded_matrices(calc, (3, 2, 2)).s

    each = [(overlap([a], delta) - overlap([a], -delta)) / (2 * delta) for a in range(2)]
    assert np.abs(each[0]).max() > 0.05
    assert np.abs(each[0] + each[1]).max() < 1e-3
    assert np.abs(overlap([0, 1], 0.037) - overlap([], 0.0)).max() < 1e-10


# restart


STEP = (0.0, 0.0, 0.05)  # keeps one of the mirror planes
BACK = (0.0, 0.0, -0.05)


def vacancy_cell() -> Atoms:
    atoms = primitive().repeat((2, 2, 1))
    del atoms[3]
    return atoms


def moved(atoms: Atoms, vector: tuple[float, float, float]) -> Atoms:
    new = atoms.copy()
    new.positions[0] += vector
    return new


@pytest.fixture(scope="module")
def restart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A saved image and the symmetry that it shares with its displaced copies."""
    from emforce.dft import grid_points, save, shared_symmetry

    atoms = vacancy_cell()
    grid = grid_points(np.array(primitive().cell), SPACING, (2, 2, 1))
    shared = shared_symmetry([atoms, moved(atoms, STEP), moved(atoms, BACK)], grid)
    calc, _ = converged(atoms, gamma_mesh(2, 2, 2), (2, 2, 1), shared)
    path = tmp_path_factory.mktemp("density") / "density.gpw"
    save(calc, path)
    assert [p.name for p in path.parent.iterdir()] == ["density.gpw"]
    return shared, path


def test_restart_equals_a_fresh_run_in_fewer_iterations(restart):
    from emforce.dft import converge, folded_matrices, load

    shared, path = restart
    atoms = moved(vacancy_cell(), STEP)
    again = load(path)
    state = converge(again, atoms)
    fresh, fresh_state = converged(atoms, gamma_mesh(2, 2, 2), (2, 2, 1), shared)
    assert state.iterations < fresh_state.iterations
    assert state.energy == pytest.approx(fresh_state.energy, abs=2e-3)
    assert state.fermi_level == pytest.approx(fresh_state.fermi_level, abs=2e-3)
    one, two = folded_matrices(again, (2, 2, 3)), folded_matrices(fresh, (2, 2, 3))
    assert np.abs(one.s - two.s).max() < 1e-10
    assert np.abs(one.h - two.h).max() < 2e-3


def test_shared_symmetry_is_of_all_structures_and_changes_no_result(restart):
    from emforce.dft import folded_matrices, grid_points, shared_symmetry

    atoms = vacancy_cell()
    grid = grid_points(np.array(primitive().cell), SPACING, (2, 2, 1))
    alone = shared_symmetry([atoms], grid)
    shared, _ = restart
    assert 1 < len(shared["rotations"]) < len(alone["rotations"])
    assert len(shared["rotations"]) == len(shared["translations"])
    image = moved(atoms, STEP)
    with_symmetry, a = converged(image, gamma_mesh(2, 2, 2), (2, 2, 1), shared)
    without, b = converged(image, gamma_mesh(2, 2, 2), (2, 2, 1), {"point_group": False})
    assert len(with_symmetry.get_ibz_k_points()) <= len(without.get_ibz_k_points())
    assert a.energy == pytest.approx(b.energy, abs=1e-3)
    one, two = folded_matrices(with_symmetry, (2, 2, 3)), folded_matrices(without, (2, 2, 3))
    assert np.abs(one.h - two.h).max() < 2e-3


def test_forces_only_where_asked_for():
    from emforce.dft import calculator, converge, grid_points

    atoms = moved(vacancy_cell(), (0.1, 0, 0))
    grid = grid_points(np.array(primitive().cell), SPACING, (2, 2, 1))
    calc = calculator(atoms, al_settings(), gamma_mesh(1, 1, 1), grid)
    before = atoms.get_positions()
    state = converge(calc, atoms, forces=True)
    assert state.forces is not None
    assert state.forces.shape == (3, 3)
    assert np.abs(state.forces).max() > 0.05
    assert np.array_equal(atoms.get_positions(), before)
    assert converge(calc, atoms).forces is None


# failures


def test_too_few_iterations_are_an_error_of_ours(tmp_path):
    from emforce.dft import calculator, converge

    atoms = primitive()
    log = tmp_path / "log.txt"
    calc = calculator(atoms, al_settings(max_iterations=2), gamma_mesh(2, 2, 2), (8, 8, 8), log=log)
    with pytest.raises(ConvergenceError, match="self-consistency of Al not reached in 2 iter.*max_iterations"):
        converge(calc, atoms)
    assert log.stat().st_size > 100


def test_save_leaves_nothing_half_written(tmp_path):
    from emforce.dft import save

    class Broken:
        def write(self, path: str, mode: str) -> None:
            Path(path).write_bytes(b"half")
            raise OSError("no space left")

    target = tmp_path / "density.gpw"
    with pytest.raises(OSError, match="no space"):
        save(Broken(), target)
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"older")
    with pytest.raises(OSError, match="no space"):
        save(Broken(), target)
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize(("field", "value"), [
    ("smearing_eV", 0.0), ("grid_A", -0.1), ("density_tolerance", float("nan")), ("max_iterations", 0),
])
def test_settings_name_the_field(field, value):
    with pytest.raises(InputError, match=field):
        al_settings(**{field: value})


def test_grid_of_a_supercell_is_a_multiple_of_the_cells():
    from emforce.dft import grid_points

    cell = np.array(primitive().cell)
    for repeat in ((2, 3, 1), (4, 4, 4), (3, 2, 5)):
        for spacing in (0.15, 0.2, 0.25, 0.3):
            points = grid_points(cell, spacing, repeat)
            assert all(n % r == 0 for n, r in zip(points, repeat, strict=True))
            assert all(2.34 / (n / r) <= spacing for n, r in zip(points, repeat, strict=True))  # 2.34 A between planes
    for spacing in (0.15, 0.2, 0.25, 0.3, 0.6):
        points = grid_points(np.diag([3.0, 4.0, 20.0]), spacing)
        assert all(p % 4 == 0 and p >= 4 for p in points)
        assert all(length / p <= spacing + 1e-9 or p == 4 for length, p in zip((3.0, 4.0, 20.0), points, strict=True))


def test_setup_path_is_added_once(tmp_path):
    import gpaw

    from emforce.dft import add_setup_path

    try:
        add_setup_path(tmp_path)
        add_setup_path(tmp_path)
        assert list(map(str, gpaw.setup_paths)).count(str(tmp_path)) == 1
    finally:
        gpaw.setup_paths.remove(str(tmp_path))
