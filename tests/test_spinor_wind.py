"""The wind force of spinors: a gauge theorem, spin rotations, no coupling at all, time reversal, hosts of several cells.

The gauge theorem. On a chain of one orbital per cell with a coupling of one spin direction n, hops t exp(i phi) for one spin and
t exp(-i phi) for the other are those of a chain without spin-orbit coupling with orbitals turned by exp(i phi x). With a defect
turned in the same way, any H'(u) whatever, the force of the current is that of the chain without: a closed form for host,
change and force of the operator together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from models import CHAIN_MESH, CHAIN_SIGMA, chain_defect, chain_wind, dense_chain, derivative, one_orbital
from test_primitive import CASES, repeated, supercell
from test_spin_orbit import crystal
from test_wind import REACH, moving_defect

from emforce.errors import InputError
from emforce.physics.fermi import (
    fermi_energy,
    gaussian,
    gaussian_green,
    half_mesh,
    host_tables,
    level_on_mesh,
)
from emforce.physics.lcao import LCAOMatrices, eigenstates, velocities
from emforce.physics.perturbation import Perturbation
from emforce.physics.spin_orbit import SpinOrbit, SpinOrbitChange, added
from emforce.physics.wind import wind

PHI, ENERGY = 0.4, -0.7
FREE = one_orbital(0.0, -1.0, spacing=1.3)
#: directions in spin space
Z, TILTED = np.array([0.0, 0.0, 1.0]), np.array([2.0, -1.0, 2.0]) / 3


def turned_chain(direction: np.ndarray, phi: float = PHI) -> SpinOrbit:
    """The chain FREE with orbitals of spin up along `direction` turned by exp(i phi x), of spin down by exp(-i phi x)."""
    steps = FREE.R[:, 0]
    phase = np.exp(1j * phi * steps)[:, None, None]
    scalar = LCAOMatrices(FREE.cell, FREE.positions, FREE.orbitals, FREE.R, FREE.h * phase.real, FREE.s)
    return SpinOrbit.along_z(scalar, FREE.R, direction[:, None, None, None] * (FREE.h * phase.imag))


def turned_defect(
    at: Callable[[float], tuple[np.ndarray, np.ndarray]], u: float, places: np.ndarray, direction: np.ndarray,
    removed: np.ndarray | None = None,
) -> tuple[Perturbation, SpinOrbitChange]:
    """H'(u) of orbitals at `places`, turned in the same way, less the turned chain, without the cells `removed`."""
    apart = places[None, :] - places[:, None]

    def parts(x: float) -> tuple[np.ndarray, np.ndarray]:
        h = at(x)[0] * np.exp(1j * PHI * apart)
        return h.real, h.imag

    crystal = turned_chain(direction)
    p = chain_defect(crystal.scalar, lambda x: (parts(x)[0], at(x)[1]), u, REACH, removed)
    keep = np.setdiff1d(np.arange(2 * REACH + 1), [] if removed is None else removed + REACH)
    host = dense_chain(FREE, REACH)[0][np.ix_(keep, keep)] * np.sin(PHI * (keep[None, :] - keep[:, None]))
    change = parts(u)[1].copy()
    change[: len(host), : len(host)] -= host
    gradient = np.full((3, 3, *change.shape), np.nan)
    gradient[0] = direction[:, None, None] * derivative(lambda x: parts(x)[1], u)
    return p, SpinOrbitChange(direction[:, None, None] * change, gradient)


def spinor_wind(crystal: SpinOrbit, p: Perturbation, coupling: SpinOrbitChange) -> float:
    R = np.array([[i, 0, 0] for i in range(-2 * REACH, 2 * REACH + 1)])
    tables = host_tables(crystal, CHAIN_MESH, np.array([ENERGY]), (CHAIN_SIGMA, 2 * CHAIN_SIGMA), R, np.arange(crystal.scalar.n))
    sharp, wide = (wind(t, 0, crystal.scalar.offsets, p, 99.0, coupling=coupling).m[0, 0] for t in tables)
    return float((4 * sharp - wide) / 3)


@pytest.mark.parametrize("direction", [Z, TILTED], ids=["z", "tilted"])
@pytest.mark.parametrize("seed, u", [(1, 0.3), (2, -0.8), (3, 0.0)])
def test_a_coupling_that_a_gauge_makes_changes_no_force(direction, seed, u):
    at = moving_defect(FREE, seed)
    exact = chain_wind(FREE, ENERGY, chain_defect(FREE, at, u, REACH), 99.0)
    assert abs(exact) > 1e-3
    p, coupling = turned_defect(at, u, np.arange(-REACH, REACH + 1), direction)
    assert np.abs(coupling.change).max() > 0.03 and np.abs(coupling.gradient[0]).max() > 0.03
    found = spinor_wind(turned_chain(direction), p, coupling)
    assert found == pytest.approx(exact, abs=1e-7)
    # each part of the operator is needed
    still = SpinOrbitChange(coupling.change, 0 * coupling.gradient)
    assert abs(spinor_wind(turned_chain(direction), p, still) - exact) > 1e-3
    unchanged = SpinOrbitChange(0 * coupling.change, coupling.gradient)
    assert abs(spinor_wind(turned_chain(direction), p, unchanged) - exact) > 1e-3


def test_removed_and_new_orbitals():
    """An atom leaves cell 1 and two orbitals come in between cells."""
    rng = np.random.default_rng(5)
    removed = np.array([1])
    keep = np.setdiff1d(np.arange(-REACH, REACH + 1), removed)
    h0 = dense_chain(FREE, REACH)[0][np.ix_(keep + REACH, keep + REACH)]
    n = len(keep)
    mix = 0.2 * rng.normal(size=(2, 2, n + 2))
    near = np.exp(-np.abs(np.concatenate([keep, [0.0, 0.0]]) - 0.5))

    def at(u: float) -> tuple[np.ndarray, np.ndarray]:
        h, s = np.zeros((n + 2, n + 2)), np.eye(n + 2)
        h[:n, :n] = h0
        couplings = (mix[0] + np.sin(u) * mix[1]) * near
        h[n:, :n], h[:n, n:] = couplings[:, :n], couplings[:, :n].T
        h[n:, n:] = np.diag([0.5, -0.9]) + 0.1 * np.sin(2 * u)
        return h, s

    exact = chain_wind(FREE, ENERGY, chain_defect(FREE, at, 0.4, REACH, removed), 99.0)
    places = np.concatenate([keep, [0.5, 1.2]]).astype(float)
    p, coupling = turned_defect(at, 0.4, places, TILTED, removed)
    assert spinor_wind(turned_chain(TILTED), p, coupling) == pytest.approx(exact, abs=1e-7)
    assert abs(exact) > 1e-3


def test_without_coupling_the_force_is_that_without_spin():
    at = moving_defect(FREE, 4)
    p = chain_defect(FREE, at, 0.2, REACH)
    n = len(p.dh)
    nothing = SpinOrbitChange(np.zeros((3, n, n)), np.zeros((3, 3, n, n)))
    found = spinor_wind(SpinOrbit.along_z(FREE, FREE.R, np.zeros((3, *FREE.h.shape))), p, nothing)
    assert found == pytest.approx(chain_wind(FREE, ENERGY, p, 99.0), abs=1e-9)


def test_tables_of_spinors_and_a_coupling_belong_together():
    p, coupling = turned_defect(moving_defect(FREE, 1), 0.0, np.arange(-REACH, REACH + 1), Z)
    R = np.array([[i, 0, 0] for i in range(-2 * REACH, 2 * REACH + 1)])
    spinor, scalar = (host_tables(h, (40, 1, 1), np.array([0.0]), (0.5,), R, np.arange(1))[0]
                      for h in (turned_chain(Z), FREE))
    with pytest.raises(InputError, match="coupling"):
        wind(spinor, 0, FREE.offsets, p, 99.0)
    with pytest.raises(InputError, match="coupling"):
        wind(scalar, 0, FREE.offsets, p, 99.0, coupling=coupling)


def test_half_a_mesh_and_time_reversal_make_the_whole():
    so = crystal()
    mesh, sigma, energy = (4, 4, 4), 0.4, 0.3
    R = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    orbitals = np.array([0, 2, 5])
    (table,) = host_tables(so, mesh, np.array([energy]), (sigma,), R, orbitals)
    k = np.concatenate([half_mesh(mesh), -half_mesh(mesh)])
    e, c = eigenstates(*so.at(k))
    rows = np.concatenate([orbitals, orbitals + so.scalar.n])
    kept = c[:, rows]
    phase = np.exp(-2j * np.pi * k @ R.T) / len(k)
    for found, weight in [(table.g[0], gaussian_green(energy - e, sigma)),
                          *((table.b[0, axis], gaussian(energy - e, sigma) * velocities(c, e, *so.gradient(k, axis)))
                            for axis in range(3))]:
        whole = np.einsum("kr,kin,kn,kjn->rij", phase, kept, weight, kept.conj())
        np.testing.assert_allclose(found, whole, atol=1e-10)
        assert np.abs(whole).max() > 1e-2
    # up and down differ, and mix
    m = len(orbitals)
    assert np.abs(table.g[0][:, :m, :m] - table.g[0][:, m:, m:]).max() > 1e-3
    assert np.abs(table.g[0][:, :m, m:]).max() > 1e-3


@pytest.mark.parametrize("name", ["two atoms, twice", "fcc in its cubic cell"])
def test_tables_of_several_cells_are_those_of_one(name):
    """Any operator with a(-R) = -a(R)^T, without inversion: bands are single, and velocities well defined."""
    cell, orbitals, vectors = CASES[name]
    (small, _), (large, _), cells = supercell(cell, orbitals, vectors)
    rng = np.random.default_rng(2)
    a = rng.normal(size=(3, *small.h.shape)) * 0.2
    minus = [int(np.flatnonzero((small.R == -r).all(axis=1))[0]) for r in small.R]
    a = 0.5 * (a - a[:, minus].swapaxes(2, 3))
    big = [repeated(small.R, x, cells, vectors) for x in a]
    one, several = SpinOrbit.along_z(small, small.R, a), SpinOrbit.along_z(large, big[0][0], np.array([x for _, x in big]))
    # a mesh of the large cell, and the points of the small one that it stands for
    mesh = (2, 4, 2)
    sigma, energy, n = 0.8, 0.2, small.n
    (table,) = host_tables(several, mesh, np.array([energy]), (sigma,), np.zeros((1, 3), int), np.arange(large.n))
    steps = np.array(list(itertools.product(range(len(cells)), repeat=3)))
    k = np.concatenate([half_mesh(mesh), -half_mesh(mesh)])
    points = ((k[:, None] + steps[None]) @ np.linalg.inv(vectors).T).reshape(-1, 3)
    points = np.unique(np.round(np.mod(points + 1e-9, 1), 6), axis=0)
    assert len(points) == len(k) * len(cells)
    e, c = eigenstates(*one.at(points))
    green = np.einsum("kin,kn,kjn->ij", c, gaussian_green(energy - e, sigma), c.conj()) / len(points)
    v = velocities(c, e, *one.gradient(points, 0))
    current = np.einsum("kin,kn,kjn->ij", c, v * gaussian(energy - e, sigma), c.conj()) / len(points)
    first = np.concatenate([np.arange(n), large.n + np.arange(n)])
    np.testing.assert_allclose(table.g[0, 0][np.ix_(first, first)], green, atol=1e-7)
    np.testing.assert_allclose(table.b[0, 0, 0][np.ix_(first, first)], current, atol=1e-7)
    level = level_on_mesh(several, mesh, len(cells) * 1.0, sigma)
    assert level == pytest.approx(fermi_energy(e, 2.0, sigma), abs=1e-6)


def test_operator_of_both_spins():
    a = np.diag([1.0, 2.0])
    x = np.array([[[0, 1.0], [-1, 0]]] * 3) * np.array([0.1, 0.2, 0.3])[:, None, None]
    full = added(a, x)
    np.testing.assert_allclose(full, full.conj().T)
    np.testing.assert_allclose(full[:2, :2] + full[2:, 2:], 2 * a)
    assert full[0, 1] == pytest.approx(0.3j) and full[0, 3] == pytest.approx(0.1j + 0.2)
