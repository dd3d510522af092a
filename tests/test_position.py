"""Connection, covariant derivatives and curvature: gauges, theorems, and the Berry curvature of states in a larger space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from response_models import random_mover

from emforce.errors import InputError
from emforce.physics.lcao import eigenstates
from emforce.physics.position import BlochSums, Connection, covariant, covariant_matrices, curvature

K = np.array([[0.13, -0.31, 0.0], [0.4, 0.27, 0.0]])


def dagger(a: np.ndarray) -> np.ndarray:
    return a.conj().swapaxes(-1, -2)


# gauges


def test_position_gauge_turns_each_orbital_by_the_phase_of_its_place():
    c = random_mover(1).connection
    fraction = np.linalg.solve(c.cell.T, np.repeat(c.positions, c.orbitals, axis=0).T).T
    g = np.exp(2j * np.pi * K @ fraction.T)
    for lattice, position in zip(c.at(K), c.position_gauge(K), strict=True):
        np.testing.assert_allclose(g[:, :, None] * position * g.conj()[:, None, :], lattice, atol=1e-13)
        assert np.abs(position - lattice).max() > 0.1


def test_phase_follows_the_distance_of_the_orbitals():
    """An orbital said to sit one cell further, with its tables relabelled, is the same orbital."""
    c = random_mover(2).connection
    shift = np.array([1, 0, 0])
    positions = c.positions.copy()
    positions[1] += shift @ c.cell
    rows = np.repeat(np.arange(3), c.orbitals) == 1
    R = np.array([(i, j, 0) for i in range(-2, 3) for j in (-1, 0, 1)])
    s = np.zeros((len(R), *c.s.shape[1:]))
    for r, block in zip(c.R, c.s, strict=True):
        for into, of in ((0, ~rows[:, None] & ~rows), (0, rows[:, None] & rows), (-1, ~rows[:, None] & rows),
                         (1, rows[:, None] & ~rows)):
            s[np.flatnonzero((R == r + into * shift).all(axis=1))[0]] += block * of
    other = BlochSums(c.cell, positions, c.orbitals, R)
    np.testing.assert_allclose(other.value(s, K), c.bloch.value(c.s, K), atol=1e-13)
    np.testing.assert_allclose(other.gradient(s, K, 0), c.bloch.gradient(c.s, K, 0), atol=1e-13)
    assert np.abs(other.lattice(s, K) - c.bloch.lattice(c.s, K)).max() > 0.01


@pytest.mark.parametrize("axis", range(3))
def test_gradient_is_the_derivative_of_the_value(axis):
    mover = random_mover(3)
    sums = mover.connection.bloch
    step = 1e-4
    reciprocal = np.zeros(3)
    reciprocal[axis] = step
    dk = mover.connection.cell @ reciprocal / (2 * np.pi)  # fractions of the reciprocal vectors
    numeric = (sums.value(mover.h.h, K + dk) - sums.value(mover.h.h, K - dk)) / (2 * step)
    np.testing.assert_allclose(sums.gradient(mover.h.h, K, axis), numeric, atol=1e-6)
    assert np.abs(numeric).max() > 0.1


def test_parts_of_the_connections():
    c = random_mover(4).connection
    d, a = c.position_gauge(K)
    b = c.k_connection(K)
    np.testing.assert_allclose(b + dagger(b), [c.bloch.gradient(c.s, K, x) for x in range(3)], atol=1e-13)
    np.testing.assert_allclose(0.5j * (b - dagger(b)), d, atol=1e-13)
    b = c.u_connection(K)
    np.testing.assert_allclose(0.5 * (b - dagger(b)), a, atol=1e-13)
    np.testing.assert_allclose(b + dagger(b), [c.bloch.value(t, K) for t in c.ds], atol=1e-13)


def test_covariant_derivatives_are_hermitian_and_have_the_bands_slopes_on_their_diagonal():
    mover = random_mover(5)
    states = covariant_matrices(mover.connection, mover.h, mover.gradient_h, K)
    for matrix in (states.dk_h, states.du_h, states.m):
        np.testing.assert_allclose(matrix, dagger(matrix), atol=1e-11)
    step = 1e-4
    c = mover.connection
    for axis in range(2):
        reciprocal = np.zeros(3)
        reciprocal[axis] = step
        dk = c.cell @ reciprocal / (2 * np.pi)
        above, below = (eigenstates(c.bloch.value(mover.h.h, K + x), c.bloch.value(c.s, K + x))[0] for x in (dk, -dk))
        np.testing.assert_allclose(np.real(np.einsum("knn->kn", states.dk_h[axis])), (above - below) / (2 * step), atol=1e-5)


# theorem


class Family:
    """n functions chi(k, u) and a Hamiltonian in a space of N > n dimensions, both bilinear in two parameters."""

    def __init__(self, seed: int, full: int = 7, n: int = 4) -> None:
        rng = np.random.default_rng(seed)
        self.chi = rng.normal(size=(4, full, n)) + 1j * rng.normal(size=(4, full, n))
        h = rng.normal(size=(4, full, full)) + 1j * rng.normal(size=(4, full, full))
        self.h = h + dagger(h)

    @staticmethod
    def at(terms: np.ndarray, k: float, u: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value and derivatives along k and u."""
        return terms[0] + k * terms[1] + u * terms[2] + k * u * terms[3], terms[1] + u * terms[3], terms[2] + k * terms[3]

    def states(self, k: float, u: float, count: int) -> np.ndarray:
        """The lowest states as vectors of the large space."""
        chi, h = self.at(self.chi, k, u)[0], self.at(self.h, k, u)[0]
        return np.asarray(chi @ eigenstates((dagger(chi) @ h @ chi)[None], (dagger(chi) @ chi)[None])[1][0][:, :count])

    def response(self, k: float, u: float, count: int) -> float:
        """-<Tr f M> + <Im D_u H D_k H (f - f')/Delta^2>, through `covariant` and `curvature`."""
        (chi, chi_k, chi_u), (h, h_k, h_u) = self.at(self.chi, k, u), self.at(self.h, k, u)
        s = dagger(chi) @ chi
        b = {"k": dagger(chi) @ chi_k, "u": dagger(chi) @ chi_u}
        dh = {x: dagger(c) @ h @ chi + dagger(chi) @ d @ chi + dagger(chi) @ h @ c
              for x, c, d in (("k", chi_k, h_k), ("u", chi_u, h_u))}
        e, c = (x[0] for x in eigenstates((dagger(chi) @ h @ chi)[None], s[None]))
        mixed = dagger(chi) @ self.chi[3]
        dk_bu, du_bk = dagger(chi_k) @ chi_u + mixed, dagger(chi_u) @ chi_k + mixed
        m = curvature(s, np.zeros_like(s), 0.5 * (dk_bu - dagger(dk_bu)), 0.5j * (du_bk - dagger(du_bk)), (b["k"], b["u"]))
        dk_h, du_h = (covariant(dh[x], b[x], e, c) for x in "ku")
        f = (np.arange(len(e)) < count).astype(float)
        gap = e[:, None] - e[None, :] + np.eye(len(e))
        weights = (f[:, None] - f[None, :]) / gap**2
        return float(np.sum(np.imag(du_h * dk_h.T) * weights) - np.real(np.diag(dagger(c) @ m @ c)) @ f)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_response_is_the_berry_curvature_of_the_occupied_states(count):
    """2 Im <d_u psi|d_k psi>, basis turning and all, from overlaps around a small square; `count` = n has no sum over states."""
    family, k, u, step = Family(count), 0.3, -0.2, 1e-3
    corners = [(k + x * step, u + y * step) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))]  # along u first
    around = [family.states(*corner, count) for corner in corners]
    product = np.prod([np.linalg.det(dagger(a) @ b) for a, b in zip(around, around[1:] + around[:1], strict=True)])
    plaquette = np.angle(product) / (2 * step) ** 2
    assert family.response(k, u, count) == pytest.approx(plaquette, rel=1e-3)
    assert abs(plaquette) > 0.05


def test_complete_basis_has_no_curvature():
    family = Family(9, full=4, n=4)
    chi, chi_k, chi_u = family.at(family.chi, 0.1, 0.2)
    mixed = dagger(chi) @ family.chi[3]
    dk_bu, du_bk = dagger(chi_k) @ chi_u + mixed, dagger(chi_u) @ chi_k + mixed
    s = dagger(chi) @ chi
    m = curvature(s, np.zeros_like(s), 0.5 * (dk_bu - dagger(dk_bu)), 0.5j * (du_bk - dagger(du_bk)),
                  (dagger(chi) @ chi_k, dagger(chi) @ chi_u))
    assert np.abs(m).max() < 1e-10
    assert np.abs(dk_bu).max() > 1


# input


def test_wrong_shapes_and_movers_are_named():
    c = random_mover(6).connection
    with pytest.raises(InputError, match=r"Connection\.d"):
        replace(c, d=c.d[:2])
    with pytest.raises(InputError, match=r"Connection\.moved"):
        replace(c, moved=(7,))
    with pytest.raises(InputError, match=r"Connection\.moved"):
        replace(c, moved=())
    still = Connection(c.cell, c.positions, c.orbitals, c.R, c.s, c.d)
    assert still.at(K)[1] is None
    assert still.mask.sum() == 0
    assert not still.s.flags.writeable
    with pytest.raises(InputError, match=r"Connection\.moved"):
        still.u_connection(K)
    with pytest.raises(InputError, match=r"Connection\.dd"):
        covariant_matrices(replace(c, dd=None), random_mover(6).h, None, K)
