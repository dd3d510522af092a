"""Total response of a periodic system: routes that must agree, invariance of the basis, theorems."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from models import HALF
from response_models import GaussianRing, constant_broadening, random_defect, random_mover, rebased
from scipy.special import expit

from emforce.errors import InputError
from emforce.physics.lcao import eigenvalues
from emforce.physics.position import BlochSums, covariant_matrices
from emforce.physics.response_kernel import frequencies, green_response, lowest_state, supercell_response


def some_k(count: int, seed: int = 0) -> np.ndarray:
    k = np.zeros((count, 3))
    k[:, :2] = np.random.default_rng(seed).uniform(0, 1, (count, 2))
    return k


@pytest.mark.parametrize(("omega", "seed"), [(0.05, 1), (0.3, 2), (1.0, 3)])
def test_eigenstates_and_green_functions_agree(omega: float, seed: int) -> None:
    """Every S^-1 of the covariant derivatives and of M is gone from the second route; both are the same number."""
    mover, k, level = random_mover(seed), some_k(4), 0.3
    states = supercell_response(mover, k, level, np.array([omega]), np.array([omega / (2 * np.pi)]))[0]
    green = green_response(mover, k, frequencies(level, omega, lowest_state(mover, k) - 1.0))
    np.testing.assert_allclose(green.total, states, atol=1e-6 * np.abs(states).max())
    assert min(np.abs(part).max() for part in (green.surface, green.sea, states - states.T)) > 0.05


@pytest.mark.parametrize(("explicit", "path", "error"), [(8, (14, 10), 1e-6), (6, (8, 6), 2e-4), (3, None, 4e-3)])
def test_fewer_frequencies_cost_what_is_said(explicit: int, path: tuple[int, int] | None, error: float) -> None:
    mover, k, level = random_mover(4), some_k(3), 0.1
    bottom = lowest_state(mover, k) - 1.0
    for omega in (0.1, 0.4):
        exact = supercell_response(mover, k, level, np.array([omega]), np.array([omega / (2 * np.pi)]))[0]
        found = green_response(mover, k, frequencies(level, omega, bottom, explicit, path)).total
        assert np.abs(found - exact).max() < error * np.abs(exact).max()


@pytest.mark.parametrize("seed", range(3))
def test_functions_that_move_otherwise_give_the_same(seed: int) -> None:
    """New functions Q(u) phi, said to sit elsewhere and other ones said to ride on u: B_u, a, d, M change, Z does not."""
    mover, k = random_mover(seed), some_k(3)
    rng = np.random.default_rng(seed)
    n = mover.h.n
    q, slope = np.eye(n) + 0.3 * rng.normal(size=(n, n)), rng.normal(size=(3, n, n))
    other = rebased(mover, q, slope, rng.normal(size=(3, 3)), (0, 2))
    omegas, kt = np.array([0.1, 0.8]), np.array([0.02, 0.1])
    z = supercell_response(mover, k, 0.3, omegas, kt)
    np.testing.assert_allclose(supercell_response(other, k, 0.3, omegas, kt), z, atol=1e-8)
    assert np.abs(other.connection.d - mover.connection.d).max() > 0.1


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="omega"):
        frequencies(0.0, 0.0, -5.0)
    with pytest.raises(InputError, match="bottom"):
        frequencies(0.0, 0.1, 1.0)
    with pytest.raises(InputError, match="explicit"):
        frequencies(0.0, 0.1, -1.0, 1)
    with pytest.raises(InputError, match="omegas"):
        supercell_response(random_mover(0), some_k(1), 0.0, np.array([0.1, -0.1]), np.array([0.1, 0.1]))


# --- other routes to the same number ----------------------------------------------------------------------------------


def test_constant_broadening_is_the_long_tau_limit() -> None:
    """Kubo and Bastin with G(e +- i omega/2), RA + RR, against the one kernel: 0.5 % at 0.2 eV and less at longer tau."""
    ring, level = random_defect(3, 2, 1).periodic((70, 1, 1)), -0.4
    gamma, off = np.zeros((1, 3)), []
    for omega in (0.2, 0.8):
        surface, sea = constant_broadening(ring, gamma, level, omega / 2)
        kt = np.array([omega / (2 * np.pi)])
        z = supercell_response(ring, gamma, level, np.array([omega]), kt)[0]
        local = supercell_response(ring, gamma, level, np.array([1e9]), kt)[0]
        off.append(np.abs(surface + sea - (z - local))[:, 0] / np.abs(z - local)[:, 0])
        assert np.abs(sea[:, 0]).min() > 0.02 * np.abs(surface[:, 0]).max()
    assert off[0].max() < 5e-3
    assert off[0].max() < 0.3 * off[1].max()


# --- one dimension, Gaussian functions ---------------------------------------------------------------------------------


def mesh(points: int) -> np.ndarray:
    k = np.zeros((points // 2, 3))
    k[:, 0] = (np.arange(points // 2) + 0.5) / points
    return k


def metal(functions: int, width: float) -> GaussianRing:
    """One electron per cell of 2 A, functions and well of the cell all moving."""
    return GaussianRing(2.0, 2.0 / functions * np.arange(functions), np.full(functions, width), np.ones(functions),
                        np.array([[-6.0, 0.3, 0.5]]), np.ones(1))


@pytest.mark.parametrize(("functions", "width", "error"), [(2, 0.8, 2e-3), (3, 0.55, 1e-3)])
def test_a_metal_moved_as_a_whole_has_its_drude_number(functions: int, width: float, error: float) -> None:
    """All electrons less those that stay behind: m_e times the Drude weight, at any omega. Without a it would be 0."""
    mover = metal(functions, width).mover(valence=1.0, reach=5)
    k = mesh(200)
    sums = BlochSums.of(mover.h)
    bands = eigenvalues(sums.value(mover.h.h, k), sums.value(mover.connection.s, k))[:, 0]
    level = 0.5 * (np.sort(bands)[49] + np.sort(bands)[50])
    spacing = 2 * np.pi / 2.0 / 200
    v = np.interp(0.25, k[:, 0], np.gradient(bands, spacing))
    drude = 2 * 2.0 / np.pi * v / (2 * HALF)  # (m/hbar^2)(2/2 pi) 2 |v|, times the cell
    z = supercell_response(mover, k, level, np.array([0.02, 0.2]), np.array([0.005, 0.005]))[:, 0, 0]
    np.testing.assert_allclose(z, drude, atol=error)
    assert drude < 0.995
    fixed = replace(mover.connection, a=0 * mover.connection.a)
    without = supercell_response(replace(mover, connection=fixed), k, level, np.array([0.2]), np.array([0.005]))[0, 0, 0]
    assert abs(without - drude) > 0.5


def test_charges_of_all_atoms_add_to_the_whole_and_to_nothing_in_an_insulator() -> None:
    """Two atoms per cell, each with three functions and a well: a Born charge is a number without tau, and their sum is 0."""
    centres = np.array([-0.35, 0.0, 0.35, 0.85, 1.2, 1.55])
    wells = np.array([[-9.0, 0.0, 0.35], [-5.0, 1.2, 0.35]])
    rides = np.repeat(np.eye(2), 3, axis=1)
    k = mesh(48)

    def charges(riding: np.ndarray, moving: np.ndarray, level: float | None, omega: float) -> float:
        ring = GaussianRing(2.4, centres, np.full(6, 0.4), riding, wells, moving)
        mover = ring.mover(valence=float(moving.sum()), reach=4)
        sums = BlochSums.of(mover.h)
        bands = eigenvalues(sums.value(mover.h.h, k), sums.value(mover.connection.s, k))
        middle = 0.5 * (bands[:, 0].max() + bands[:, 1].min())
        assert bands[:, 1].min() - bands[:, 0].max() > 1.0
        at = middle if level is None else level
        return float(supercell_response(mover, k, at, np.array([omega]), np.array([0.02]))[0, 0, 0])

    each = [charges(rides[i], np.eye(2)[i], None, 1e-3) for i in (0, 1)]
    whole = charges(np.ones(6), np.ones(2), None, 1e-3)
    assert sum(each) == pytest.approx(whole, abs=1e-6)
    assert abs(whole) < 5e-4
    assert abs(each[0]) > 0.1
    # static: the same at any small omega
    assert charges(rides[0], np.eye(2)[0], None, 0.05) == pytest.approx(each[0], abs=1e-3 * abs(each[0]) + 1e-3)


def test_a_molecule_has_the_slope_of_its_dipole() -> None:
    """Nothing periodic, functions that ride on one of two wells: Z is the derivative of the dipole, in any basis."""
    ring = GaussianRing(400.0, np.array([-0.9, -0.2, 0.3, 1.1, 1.7]), np.array([0.7, 0.5, 0.9, 0.6, 0.8]),
                        np.array([0.0, 0.0, 1.0, 1.0, 0.0]), np.array([[-12.0, -0.4, 0.5], [-9.0, 1.2, 0.4]]),
                        np.array([0.0, 1.0]))
    mover = ring.mover(valence=1.0, reach=0, step=2e-3)

    def dipole(u: float) -> float:
        h, s, r, _ = (t[0] for t in ring.tables(u, 0))
        c = scipy.linalg.eigh(h, s)[1][:, 0]
        return u - 2 * float(c @ r @ c)

    step = 1e-3
    slope = (8 * (dipole(step) - dipole(-step)) - dipole(2 * step) + dipole(-2 * step)) / (12 * step)
    e = scipy.linalg.eigh(mover.h.h[0], mover.connection.s[0], eigvals_only=True)
    level = 0.5 * (e[0] + e[1])
    z = supercell_response(mover, np.zeros((1, 3)), level, np.array([1e-4]), np.array([1e-3]))[0, 0, 0]
    assert z == pytest.approx(slope, abs=1e-6)
    assert abs(slope) > 0.05
    green = green_response(mover, np.zeros((1, 3)), frequencies(level, 0.05, e[0] - 3, 8, (20, 12))).total[0, 0]
    assert green == pytest.approx(slope, abs=2e-3)


@pytest.mark.parametrize("riding", ["fixed", "riding"])
def test_a_well_in_a_ring_by_momentum(riding: str) -> None:
    """Only the well pulls at the electrons: its Z is -N + m omega sigma(i omega), N from states and sigma from velocities.

    (D_u H)_nm = i Delta p_nm in a basis that knows both, so that the force is an optical sum that knows nothing of u. Functions
    fixed on a grid, and the same with those near the well riding on it; two routes each.
    """
    length, count = 24.0, 40
    centres = length / count * np.arange(count)
    ride = (np.abs(centres - 12.0) < 2.0).astype(float) * (riding == "riding")
    ring = GaussianRing(length, centres, np.full(count, 0.75), ride, np.array([[-3.0, 12.1, 0.7]]), np.ones(1))
    mover = ring.mover(reach=1)
    k, level, omegas = mesh(4), 2.3, np.array([0.3, 1.0])
    kt = omegas / (2 * np.pi)
    z = supercell_response(mover, k, level, omegas, kt)[:, 0, 0]
    expected = np.zeros(2)
    for point in k:
        states = covariant_matrices(mover.connection, mover.h, mover.gradient_h, point)
        e, v = states.energies[0], np.abs(states.dk_h[0, 0]) ** 2
        gap = e[:, None] - e[None, :]
        for i, omega in enumerate(omegas):
            f = expit((level - e) / kt[i])
            expected[i] += 2 * np.sum(v / (2 * HALF) * (f[:, None] - f[None, :]) * gap / (gap**2 + omega**2)) / len(k)
    np.testing.assert_allclose(z, expected, rtol=2e-5)
    assert (expected < -0.5).all()
    for omega, value in zip(omegas, z, strict=True):
        at = frequencies(level, float(omega), lowest_state(mover, k) - 1)
        assert green_response(mover, k, at).total[0, 0] == pytest.approx(value, rel=1e-6)
