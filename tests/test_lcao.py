"""Matrices in a local basis: Bloch sums, bands, velocities, and the way back from a mesh."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import one_orbital, simple_cubic, two_orbital

from emforce.errors import InputError
from emforce.physics.lcao import LCAOMatrices, eigenstates, real_space, velocities

K = np.array([[0.11, 0.0, 0.0], [0.37, 0.0, 0.0], [-0.21, 0.0, 0.0]])


def random_crystal(seed: int, reach: int = 1) -> LCAOMatrices:
    """Two atoms (2 and 1 orbitals) in a skew cell, random symmetric-consistent blocks decaying with R."""
    rng = np.random.default_rng(seed)
    R = np.array(list(np.ndindex(*(2 * reach + 1,) * 3))) - reach
    h, s = (scale * rng.normal(size=(len(R), 3, 3)) for scale in (1.0, 0.02))
    minus = [int(np.flatnonzero((R == -r).all(axis=1))[0]) for r in R]
    h, s = (0.5 * (a + a[minus].swapaxes(1, 2)) for a in (h, s))
    s[len(R) // 2] += np.eye(3)
    cell = np.array([[3.0, 0.0, 0.0], [0.4, 3.2, 0.0], [-0.3, 0.5, 2.9]])
    return LCAOMatrices(cell, np.array([[0.1, 0.2, 0.0], [0.4, 0.1, 0.3]]), np.array([2, 1]), R, h, s)


def test_bloch_sum_of_a_chain_in_closed_form() -> None:
    host = one_orbital(0.3, -1.1, 0.2, overlaps=(0.15, 0.02), spacing=1.7)
    theta = 2 * np.pi * K[:, 0]
    h, s = host.at(K)
    up = 0.3 - 2.2 * np.cos(theta) + 0.4 * np.cos(2 * theta)
    down = 1 + 0.3 * np.cos(theta) + 0.04 * np.cos(2 * theta)
    np.testing.assert_allclose(h[:, 0, 0], up, atol=1e-14)
    np.testing.assert_allclose(s[:, 0, 0], down, atol=1e-14)
    e, c = eigenstates(h, s)
    np.testing.assert_allclose(e[:, 0], up / down, atol=1e-13)
    np.testing.assert_allclose(np.abs(c[:, 0, 0]) ** 2, 1 / down, atol=1e-13)


def test_sign_of_the_bloch_phase() -> None:
    """An s orbital at 0 sees <0 s|H|+1 p> with exp(+i k a): H_sp(k) = 2 i <0 s|H|1 p> sin(ka) for odd hops."""
    host = two_orbital(False)
    theta = 2 * np.pi * K[:, 0]
    hop = [host.block((r, 0, 0))[0][0, 1] for r in (1, 2)]
    expected = 2j * (hop[0] * np.sin(theta) + hop[1] * np.sin(2 * theta))
    np.testing.assert_allclose(host.at(K)[0][:, 0, 1], expected, atol=1e-13)


def test_matrices_are_hermitian_and_time_reversed() -> None:
    host = random_crystal(3)
    k = np.array([[0.1, 0.27, -0.4]])
    for a in host.at(k):
        np.testing.assert_allclose(a, a.conj().swapaxes(1, 2), atol=1e-13)
    for a, b in zip(host.at(k), host.at(-k), strict=True):
        np.testing.assert_allclose(a, b.conj(), atol=1e-13)


def test_eigenstates_solve_the_generalised_problem() -> None:
    host = random_crystal(5)
    h, s = host.at(np.array([[0.3, -0.1, 0.2], [0.0, 0.0, 0.0]]))
    e, c = eigenstates(h, s)
    np.testing.assert_allclose(h @ c, s @ c * e[:, None, :], atol=1e-12)
    np.testing.assert_allclose(c.conj().swapaxes(1, 2) @ s @ c, np.broadcast_to(np.eye(3), h.shape), atol=1e-12)
    assert (np.diff(e) >= 0).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), axis=st.integers(0, 2))
def test_velocities_are_slopes_of_the_bands(seed: int, axis: int) -> None:
    host = random_crystal(seed)
    k = np.array([[0.13, 0.29, -0.31]])
    step = 5e-4
    # a Cartesian step dk in fractional coordinates: k = cell . k_cartesian / 2 pi
    dk = host.cell[:, axis] * step / (2 * np.pi)
    far_down, down, up, far_up = (eigenstates(*host.at(k + i * dk))[0] for i in (-2, -1, 1, 2))
    e, c = eigenstates(*host.at(k))
    v = velocities(c, e, *host.gradient(k, axis))
    if np.diff(e).min() > 0.4:  # finite differences follow a band only away from crossings
        np.testing.assert_allclose(v, (8 * (up - down) - (far_up - far_down)) / (12 * step), atol=1e-5)


def test_shifted_moves_the_bands_only() -> None:
    host = random_crystal(9)
    k = np.array([[0.2, 0.1, 0.4]])
    (e0, _), (e1, _) = eigenstates(*host.at(k)), eigenstates(*host.shifted(0.7).at(k))
    np.testing.assert_allclose(e1, e0 + 0.7, atol=1e-12)


@pytest.mark.parametrize("mesh", [(3, 3, 3), (5, 3, 5), (4, 4, 4)])
def test_real_space_undoes_the_bloch_sum(mesh: tuple[int, int, int]) -> None:
    host = random_crystal(11)
    grid = np.array(list(np.ndindex(*mesh))) / np.array(mesh)
    back = real_space(host.cell, host.positions, host.orbitals, mesh, *host.at(grid))
    if mesh != (3, 3, 3):  # skew cell: at 3 points the (1,1,1) neighbours are not all the nearest images
        for R in host.R:
            for mine, theirs in zip(back.block(tuple(R)), host.block(tuple(R)), strict=True):
                np.testing.assert_allclose(mine, theirs, atol=1e-12)
    for mine, theirs in zip(back.at(grid), host.at(grid), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    where = {tuple(R): i for i, R in enumerate(back.R)}
    for i, R in enumerate(back.R):
        j = where[tuple(-R)]
        np.testing.assert_array_equal(back.h[i], back.h[j].T)


def test_real_space_gives_each_pair_to_its_nearest_image() -> None:
    """Atom 1 sits at 0.9 of a cell of 6 A: its nearest copy to atom 0 is one cell back, whatever the mesh says."""
    cell = np.diag([6.0, 8.0, 8.0])
    positions = np.array([[0.0, 0.0, 0.0], [5.4, 0.0, 0.0]])
    # only hop: from atom 0 of cell 0 to atom 1 of cell -1, 0.6 A away
    R = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0]])
    h, s = np.zeros((3, 2, 2)), np.zeros((3, 2, 2))
    s[0] = np.eye(2)
    h[2, 0, 1] = h[1, 1, 0] = -1.0
    host = LCAOMatrices(cell, positions, np.array([1, 1]), R, h, s)
    grid = np.array([[0.0, 0, 0], [1 / 3, 0, 0], [2 / 3, 0, 0]])
    back = real_space(cell, positions, host.orbitals, (3, 1, 1), *host.at(grid))
    assert back.block((-1, 0, 0))[0][0, 1] == pytest.approx(-1.0)
    assert np.abs(back.block((0, 0, 0))[0]).max() < 1e-12
    off_mesh = np.array([[0.123, 0.0, 0.0]])
    np.testing.assert_allclose(back.at(off_mesh)[0], host.at(off_mesh)[0], atol=1e-12)


def test_even_mesh_shares_equally_near_images() -> None:
    """A hop over half the mesh is split between +N/2 and -N/2, so that bands keep their symmetry between mesh points."""
    host = one_orbital(0.0, -1.0, 0.5)
    grid = np.arange(4)[:, None] / 4 * np.array([[1.0, 0, 0]])
    back = real_space(host.cell, host.positions, host.orbitals, (4, 1, 1), *host.at(grid))
    assert back.block((2, 0, 0))[0][0, 0] == pytest.approx(back.block((-2, 0, 0))[0][0, 0])
    assert back.block((2, 0, 0))[0][0, 0] == pytest.approx(0.5)  # 2 x 0.5 folded on one entry, shared by two


def test_missing_block_is_zero_and_arrays_are_frozen() -> None:
    host = simple_cubic()
    assert not host.block((1, 1, 0))[0].any()
    with pytest.raises(ValueError, match="read-only"):
        host.h[0, 0, 0] = 1.0


def test_shapes_are_checked() -> None:
    host = simple_cubic()
    with pytest.raises(InputError, match="LCAOMatrices.h"):
        LCAOMatrices(host.cell, host.positions, host.orbitals, host.R, host.h[:3], host.s)
    with pytest.raises(InputError, match="positions"):
        LCAOMatrices(host.cell, np.zeros((2, 3)), host.orbitals, host.R, host.h, host.s)
