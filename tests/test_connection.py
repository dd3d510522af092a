"""Dipole and displacement matrices from GPAW's integrals: against GPAW's overlap, derivatives, grids and dipole moments.

Everything here is real GPAW. Self-consistency is needed only where a Hamiltonian is; overlaps come from one iteration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr

from emforce.errors import InputError
from emforce.physics.lcao import Floats, eigenstates
from emforce.physics.position import BlochSums
from emforce.physics.response_kernel import PeriodicMover, supercell_response

pytestmark = pytest.mark.gpaw

#: no symmetry at all, one atom given outside the cell, another one two cells away
LOW = Atoms("CON", cell=[[2.3, 0.1, 0], [0.2, 2.5, 0.3], [0, 0.4, 2.9]], pbc=True,
            scaled_positions=[[-0.2, 0.1, 0.3], [0.2, 1.25, 0.5], [0.9, 0.6, 2.1]])
K = np.array([[0.13, -0.31, 0.22], [0.4, 0.27, -0.05]])


def prepared(atoms: Atoms, basis: str, density_tolerance: float = 100.0, functional: str = "LDA", grid: float = 0.3) -> Any:
    """A calculation without symmetry; with the huge tolerance it ends at once, with its setups and integrals."""
    from emforce.dft import DFTSettings, calculator, converge, grid_points

    names = tuple((symbol, basis) for symbol in sorted(set(atoms.get_chemical_symbols())))
    settings = DFTSettings(functional, names, grid_A=grid, smearing_eV=0.05, density_tolerance=density_tolerance)
    points = grid_points(np.array(atoms.cell), grid)
    calc = calculator(atoms, settings, {"size": (1, 1, 1)}, points, {"point_group": False})
    converge(calc, atoms)
    return calc


@pytest.fixture(scope="module")
def low() -> Any:
    return prepared(LOW, "szp(dzp)")


@pytest.fixture(scope="module")
def integrals(low: Any) -> Any:
    from emforce.connection import setups_of
    from emforce.two_centre import TwoCentreIntegrals

    return TwoCentreIntegrals(setups_of(low))


def basis_at(integrals: Any, positions: Floats) -> Any:
    from emforce.connection import RealSpaceBasis

    atoms = LOW.copy()
    atoms.positions[:] = positions
    return RealSpaceBasis(integrals.setups, atoms, integrals)


def at_k(basis: Any, table: Floats) -> np.ndarray:
    """Bloch sums in the lattice gauge, over the first axes of a table."""
    sums = BlochSums(np.array(LOW.cell), LOW.positions, basis.orbitals, basis.R)
    flat = table.reshape(-1, *table.shape[-3:])
    found = np.array([sums.lattice(t, K) for t in flat])
    return found.reshape(*table.shape[:-3], *found.shape[1:])


def richardson(quantity: Any, atom: int, axis: int, step: float = 0.02) -> np.ndarray:
    """Derivative along one position by central differences of two steps, error step^4."""

    def difference(h: float) -> np.ndarray:
        ends = []
        for sign in (1, -1):
            positions = LOW.positions.copy()
            positions[atom, axis] += sign * h
            ends.append(quantity(positions))
        return np.asarray((ends[0] - ends[1]) / (2 * h))

    return np.asarray((4 * difference(step / 2) - difference(step)) / 3)


# overlap


def test_overlap_from_the_same_integrals_is_gpaws(low, integrals):
    from emforce.dft import folded_matrices

    mesh = (3, 2, 2)
    k = np.array(list(np.ndindex(*mesh))) / np.array(mesh)
    basis = basis_at(integrals, LOW.positions)
    sums = BlochSums(np.array(LOW.cell), LOW.positions, basis.orbitals, basis.R)
    found, expected = sums.lattice(basis.overlap(), k), folded_matrices(low, mesh).at(k)[1]
    assert np.abs(found - expected).max() < 1e-12
    assert np.abs(expected.imag).max() > 0.1


@pytest.mark.parametrize(("atom", "axis"), [(0, 0), (1, 2), (2, 1)])
def test_symmetric_part_is_the_derivative_of_the_overlap(integrals, atom, axis):
    """The overlap is GPAW's by the test above; its finite difference knows nothing of our gradients."""
    ds = at_k(basis_at(integrals, LOW.positions), basis_at(integrals, LOW.positions).moving([atom])[1])[axis]

    def overlap(positions: Floats) -> np.ndarray:
        basis = basis_at(integrals, positions)
        return at_k(basis, basis.overlap())

    numeric = richardson(overlap, atom, axis)
    assert np.abs(ds - numeric).max() < 1e-4  # GPAW's splines: third derivatives jump at their points
    assert np.abs(numeric).max() > 0.3


def test_pairs_that_meet_only_in_the_mover_contribute(integrals):
    basis = basis_at(integrals, LOW.positions)
    a, ds = basis.moving([2])
    rows = slice(0, basis.offsets[2])  # orbitals of the atoms that stay
    assert np.abs(a[:, :, rows, rows]).max() > 1e-3
    assert np.abs(ds[:, :, rows, rows]).max() > 1e-3


def test_sum_over_all_atoms_is_a_rigid_translation(integrals):
    basis = basis_at(integrals, LOW.positions)
    each = [basis.moving([i]) for i in range(3)]
    a, ds = basis.moving([0, 1, 2])
    np.testing.assert_allclose(sum(x[0] for x in each), a, atol=1e-12)
    np.testing.assert_allclose(sum(x[1] for x in each), ds, atol=1e-12)
    assert np.abs(ds).max() < 1e-8
    assert np.abs(basis.dipole_change([0, 1, 2])).max() < 1e-8
    on_site = a[:, basis.index[0, 0, 0], : basis.offsets[1], : basis.offsets[1]]
    assert np.abs(on_site).max() > 0.3  # -nabla between s and p


# dipole


def test_dipole_symmetry_parity_and_origin(integrals):
    basis = basis_at(integrals, LOW.positions)
    d = basis.dipole()
    minus = [basis.index[tuple((-r).tolist())] for r in basis.R]
    np.testing.assert_allclose(d[:, minus].swapaxes(-1, -2), d, atol=1e-15)
    other = basis_at(integrals, LOW.positions + [1.3, -2.1, 0.7])
    assert np.array_equal(other.R, basis.R)
    np.testing.assert_allclose(other.dipole(), d, atol=1e-12)


def test_on_site_dipole_of_an_atom_joins_opposite_parities_only():
    from emforce.connection import connection, setups_of

    atoms = Atoms("Al", cell=[15.0] * 3, pbc=True, positions=[[1.0, 2.0, 3.0]])
    calc = prepared(atoms, "szp(dzp)", grid=1.2)
    c = connection(setups_of(calc), atoms)
    l = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    d = c.d[:, np.flatnonzero((c.R == 0).all(axis=1))[0]]
    same = (l[:, None] + l[None, :]) % 2 == 0
    assert np.abs(d[:, same]).max() < 1e-12
    # <s|x|px>, px the last of GPAW's y, z, x; the same for the other axes
    np.testing.assert_allclose([d[0, 0, 3], d[1, 0, 1], d[2, 0, 2]], d[0, 0, 3], rtol=1e-6)
    assert abs(d[0, 0, 3]) > 0.3


@pytest.mark.parametrize(("atom", "axis"), [(0, 0), (2, 1)])
def test_change_of_the_dipole_is_its_derivative(integrals, atom, axis):
    def dipole(positions: Floats) -> np.ndarray:
        basis = basis_at(integrals, positions)
        return at_k(basis, basis.dipole())

    basis = basis_at(integrals, LOW.positions)
    found, numeric = at_k(basis, basis.dipole_change([atom]))[axis], richardson(dipole, atom, axis)
    assert np.abs(found - numeric).max() < 1e-4
    assert np.abs(numeric).max() > 0.3


def test_dipole_integral_is_the_same_from_both_atoms(integrals):
    """<phi_a|r - R_a|phi_b> = <phi_b|r - R_a|phi_a> = <phi_a|r - R_b|phi_b> + (R_b - R_a) <phi_a|phi_b>: other splines."""
    for vector in (np.array([2.0, 3.0, 4.0]), np.array([0.3, -5.0, 1.0])):
        for a, b in ((0, 0), (0, 2)):
            one = integrals.dipole(a, b, vector) + vector[:, None, None] * integrals.overlap(a, b, vector)
            np.testing.assert_allclose(one, integrals.dipole(b, a, -vector).swapaxes(1, 2), atol=2e-7)


def test_f_functions(tmp_path):
    """x raises f to g, whose overlap with f goes up to l = 7, beyond GPAW's own transforms."""
    import gpaw

    from emforce.basis import RadialFunction, Recipe, write_basis
    from emforce.connection import setups_for
    from emforce.dft import DFTSettings, add_setup_path
    from emforce.two_centre import TwoCentreIntegrals

    recipe = Recipe("Al", "f", "paw", (RadialFunction(0, "confined", 7.0), RadialFunction(3, "gaussian", 6.0, width=2.0)))
    write_basis(recipe, tmp_path)
    try:
        add_setup_path(tmp_path)
        setups = setups_for(Atoms("Al", cell=[9.0] * 3, pbc=True), DFTSettings("PBE", (("Al", recipe.basis),)))
    finally:
        gpaw.setup_paths.remove(str(tmp_path))
    ints = TwoCentreIntegrals(setups)
    for vector in (np.array([1.0, 2.0, 2.5]), np.array([-4.0, 0.3, 2.0])):  # GPAW's overlap of two f below 2 bohr is noise
        one = ints.dipole(0, 0, vector) + vector[:, None, None] * ints.overlap(0, 0, vector)
        np.testing.assert_allclose(one, ints.dipole(0, 0, -vector).swapaxes(1, 2), atol=2e-7)
        assert np.abs(ints.dipole(0, 0, vector)[:, 1:, 1:]).max() > 0.02


def test_pseudo_part_against_the_real_space_grid(integrals):
    """The same integrals by summing the basis functions' values on a fine grid."""
    atoms = Atoms("CN", cell=[10.0, 10.0, 10.0], pbc=False, positions=[[4.6, 4.8, 5.1], [5.4, 5.7, 5.0]])
    points, spacing = 100, 10.0 / 100
    axis = spacing * np.arange(points)
    grid = np.array(np.meshgrid(axis, axis, axis, indexing="ij"))
    functions = [values_on_grid(integrals, a, grid - atoms.positions[i][:, None, None, None]) for i, a in enumerate((0, 2))]
    vector = (atoms.positions[1] - atoms.positions[0]) / Bohr
    found = integrals.dipole(0, 2, vector)
    for x in range(3):
        weighted = functions[1] * (grid[x] - atoms.positions[1][x]) / Bohr
        numeric = np.einsum("mi,ni->mn", functions[0].reshape(9, -1), weighted.reshape(len(weighted), -1))
        numeric *= (spacing / Bohr) ** 3
        assert np.abs(found[x] - numeric).max() < 2e-3
        assert np.abs(numeric).max() > 0.3


def values_on_grid(integrals: Any, atom: int, apart: Floats) -> np.ndarray:
    """Basis functions of an atom on points given by their vector from it (3, ...), A; values in bohr^-3/2."""
    from gpaw.sphere.spherical_harmonics import Y

    vector = apart / Bohr
    r = np.ascontiguousarray(np.sqrt((vector**2).sum(axis=0)))
    out = []
    for f in integrals.functions[integrals.species[atom]]:
        l = f.get_angular_momentum_number()
        radial = f.map(np.minimum(r, f.get_cutoff()).ravel()).reshape(r.shape)
        out += [radial * Y(L, *vector) for L in range(l * l, (l + 1) ** 2)]
    return np.array(out)


# a molecule: everything at once, against GPAW's own dipole moment


CARBON_MONOXIDE = Atoms("OC", positions=[[2.8, 2.5, 2.6], [3.4, 3.0, 3.45]], cell=[6.0, 6.0, 6.4], pbc=False)


def dipole_moment(calc: Any, atoms: Atoms) -> Floats:
    """Nuclei and five doubly occupied orbitals, e Angstrom, from d, S and the matrices of GPAW."""
    from emforce.connection import connection, setups_of
    from emforce.dft import folded_matrices

    c, h = connection(setups_of(calc), atoms), folded_matrices(calc, (1, 1, 1)).h
    _, states = eigenstates(h.astype(complex), c.s.astype(complex))
    occupied = states[0][:, :5]
    place = np.repeat(atoms.positions, c.orbitals, axis=0).T
    r = c.d[:, 0] + 0.5 * c.s[0] * (place[:, :, None] + place[:, None, :])
    electrons = 2 * np.real(np.einsum("mi,xmn,ni->x", occupied.conj(), r, occupied))
    charges = np.array([setup.Nv for setup in setups_of(calc)])
    return np.asarray(charges @ atoms.positions - electrons)


def test_charge_tensor_of_a_molecule_is_the_change_of_gpaws_dipole_moment():
    """Z along one displacement of carbon, with dH/du of GPAW: the sum over states and M give d(dipole)/du.

    GPAW takes its dipole moment from the density on the grid and the compensation charges. Nothing of it is in ours.
    """
    from emforce.connection import connection, setups_of
    from emforce.dft import folded_matrices

    delta, direction = 0.02, np.array([0.6, 0.0, 0.8])
    runs = []
    for sign in (0, 1, -1):
        atoms = CARBON_MONOXIDE.copy()
        atoms.positions[1] += sign * delta * direction
        runs.append((atoms, prepared(atoms, "szp(dzp)", 1e-6, grid=0.19)))
    moments = [calc.get_dipole_moment() for _, calc in runs]
    assert np.abs(dipole_moment(runs[0][1], runs[0][0]) - moments[0]).max() < 2e-3
    h0, plus, minus = (folded_matrices(calc, (1, 1, 1)) for _, calc in runs)
    dh = direction[:, None, None, None] * (plus.h - minus.h) / (2 * delta)  # along the direction, spread over the axes
    c = connection(setups_of(runs[0][1]), CARBON_MONOXIDE, [1], curvature=True)
    gap = runs[0][1].get_fermi_level()
    z = supercell_response(PeriodicMover(c, h0, dh, 4.0), np.zeros((1, 3)), gap, np.array([1e-3]), np.array([0.01]))[0]
    charge = direction @ z
    expected = (moments[1] - moments[2]) / (2 * delta)
    np.testing.assert_allclose(charge, expected, atol=3e-3)
    assert np.abs(expected).max() > 0.2


# input


def test_wrong_atoms_are_named(low, integrals):
    from emforce.connection import RealSpaceBasis, connection, setups_of

    with pytest.raises(InputError, match="one per PAW setup"):
        connection(setups_of(low), LOW[:2])
    with pytest.raises(InputError, match="moved"):
        RealSpaceBasis(integrals.setups, LOW, integrals).moving([3])
