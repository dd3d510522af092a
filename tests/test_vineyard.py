"""Vineyard's attempt frequency: closed forms, invariances, and what is not a saddle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants as c

from emforce.errors import ConvergenceError, InputError
from emforce.physics.vineyard import (
    attempt_frequency,
    crossing_mode,
    frequency_along,
    internal_hessian,
    migration_entropy,
    modes,
    vacancy_entropy,
)


def symmetric(seed: int, values: list[float]) -> np.ndarray:
    """A symmetric matrix with given eigenvalues."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    return turn @ np.diag(values) @ turn.T


def orthogonal(seed: int, n: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def test_atom_in_a_cosine_potential() -> None:
    """V = -(E/2) cos(2 pi x/a) along x, springs k across, unchanged at the top: nu0 = sqrt(V''(0)/m)/2 pi, V'' = 2 pi^2 E/a^2."""
    barrier, a, mass, k = 0.5, 2.56, 63.546, 3.0
    along = 2 * math.pi**2 * barrier / a**2
    start, saddle = (modes(np.diag([sign * along, k, k]), np.array([mass])) for sign in (1, -1))
    expected = math.sqrt(along * c.e * 1e20 / (mass * c.atomic_mass)) / (2 * math.pi) * 1e-12
    assert attempt_frequency(start, saddle) == pytest.approx(expected, rel=1e-12)
    assert saddle.frequencies_THz[0] == pytest.approx(-expected, rel=1e-12)
    assert migration_entropy(expected, frequency_along(np.diag([along, k, k]), np.array([mass]), 0, np.array([2.0, 0, 0]))) == \
        pytest.approx(0.0, abs=1e-12)


def test_vibrations_of_a_chain_with_fixed_ends() -> None:
    """n equal masses between walls, transverse springs g: nu_j = 2 sqrt(k/m) sin(j pi/(2n + 2))/2 pi along the chain."""
    n, k, g, mass = 5, 4.0, 1.0, 40.0
    along = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    hessian = np.kron(k * along, np.diag([1.0, 0, 0])) + np.kron(np.eye(n), np.diag([0, g, g]))
    got = modes(hessian, np.full(n, mass)).frequencies_THz
    unit = math.sqrt(c.e * 1e20 / (mass * c.atomic_mass)) / (2 * math.pi) * 1e-12
    chain = [2 * math.sqrt(k) * math.sin(j * math.pi / (2 * n + 2)) * unit for j in range(1, n + 1)]
    assert got == pytest.approx(sorted([*chain, *[math.sqrt(g) * unit] * (2 * n)]), rel=1e-12)


def test_flux_through_the_plane_of_a_shallow_minimum() -> None:
    """V = E (1 - u)^2 (1 + 3 u) + k(u) (y^2 + z^2)/2, u = (x/a)^2: sites at +-a, a minimum E in the middle, humps of 1.053 E.

    The flux through x = 0 over the population of one site, sqrt(kT/2 pi m) Z(plane)/Z(site), by integration at a low
    temperature, is nu0 exp(-E/kT) without the mode along x, stable as it is.
    """
    energy, a, mass, k0, k1 = 0.9, 1.4, 95.95, 9.0, 4.0
    start = modes(np.diag([32 * energy / a**2, k1, k1]), np.array([mass]))
    middle = modes(np.diag([2 * energy / a**2, k0, k0]), np.array([mass]))
    assert middle.unstable == 0
    nu0 = attempt_frequency(start, middle, crossing_mode(middle, 0, np.array([3.0, 0, 0])))
    kT = energy / 80
    x = np.linspace(-1.8 * a, 0, 200001)
    u = (x / a) ** 2
    weight = np.exp(-energy * (1 - u) ** 2 * (1 + 3 * u) / kT) / (k0 + (k1 - k0) * u)
    site = np.trapezoid(np.where(k0 + (k1 - k0) * u > 0, weight, 0.0), x)
    speed = math.sqrt(kT * c.e / (2 * math.pi * mass * c.atomic_mass)) * 1e10 * 1e-12  # Angstrom THz
    flux = speed * math.exp(-energy / kT) / k0 / site
    assert flux == pytest.approx(nu0 * math.exp(-energy / kT), rel=0.03)


def test_the_crossing_mode_is_the_softest_that_goes_along() -> None:
    """Two atoms around the mover: even modes leave it alone, however soft they are."""
    soft, along, stiff = 0.1, 1.0, 5.0
    even, odd, both = np.array([0, 1, -1.0]) / math.sqrt(2), np.array([1.0, 0, 0]), np.array([0, 1, 1.0]) / math.sqrt(2)
    x = soft * np.outer(even, even) + along * np.outer(odd, odd) + stiff * np.outer(both, both)
    found = modes(np.kron(x, np.diag([1.0, 0, 0])) + np.kron(np.eye(3), np.diag([0, 9.0, 9.0])), np.ones(3))
    at = crossing_mode(found, 0, np.array([1.0, 0, 0]))
    assert at == 1 and abs(found.vectors[at, 0, 0]) == pytest.approx(1.0)
    assert crossing_mode(modes(np.diag([1.0, 2, 3]), np.ones(1)), 0, np.array([0, 0, 1.0])) == 2
    still = modes(np.diag([1.0, 2, 3, 4, 5, 6]), np.ones(2))
    assert crossing_mode(type(still)(still.frequencies_THz[3:], still.vectors[3:]), 0, np.array([1.0, 0, 0])) is None


def test_a_crossing_mode_and_an_unstable_one_are_no_saddle() -> None:
    start = modes(symmetric(1, [1, 2, 3]), np.ones(1))
    with pytest.raises(ConvergenceError, match="1 at the saddle"):
        attempt_frequency(start, modes(symmetric(2, [-1, 2, 3]), np.ones(1)), crossing=0)
    with pytest.raises(ConvergenceError, match="0 at the saddle"):
        attempt_frequency(start, modes(symmetric(2, [1, 2, 3]), np.ones(1)))


def test_heavier_isotope_hops_slower_by_the_square_root() -> None:
    start, saddle = symmetric(1, [1, 2, 3, 4, 5, 6]), symmetric(2, [-1, 2, 2, 4, 5, 7])
    nu = [attempt_frequency(modes(start, m * np.ones(2)), modes(saddle, m * np.ones(2))) for m in (10.0, 40.0)]
    assert nu[0] == pytest.approx(2 * nu[1], rel=1e-12)


def test_axes_and_order_of_atoms_do_not_matter() -> None:
    start, saddle, masses = symmetric(3, [1, 2, 3, 4, 5, 6]), symmetric(4, [-0.5, 2, 3, 3, 5, 6]), np.array([10.0, 55.0])
    nu = attempt_frequency(modes(start, masses), modes(saddle, masses))
    turn = np.kron(np.eye(2), orthogonal(5, 3))  # other axes at each end
    other = np.kron(np.eye(2), orthogonal(6, 3))
    assert attempt_frequency(modes(turn @ start @ turn.T, masses), modes(other @ saddle @ other.T, masses)) == \
        pytest.approx(nu, rel=1e-10)
    swap = np.kron(np.eye(2)[::-1], np.eye(3))
    assert attempt_frequency(modes(swap @ start @ swap.T, masses[::-1]), modes(swap @ saddle @ swap.T, masses[::-1])) == \
        pytest.approx(nu, rel=1e-10)


def test_product_is_the_ratio_of_determinants_whatever_the_coupling() -> None:
    """nu0 = sqrt(det D_start/|det D_saddle|) |nu_unstable|/..., an independent way to the same number."""
    start, saddle, masses = symmetric(7, [1, 2, 3, 4, 5, 9]), symmetric(8, [-2, 1, 3, 4, 5, 6]), np.array([27.0, 196.0])
    at_saddle = modes(saddle, masses)
    ratio = math.sqrt(np.linalg.det(start) / -np.linalg.det(saddle))
    assert attempt_frequency(modes(start, masses), at_saddle) == pytest.approx(ratio * -at_saddle.frequencies_THz[0], rel=1e-10)


def test_an_uncoupled_atom_drops_out() -> None:
    """An atom that the hop does not touch has the same modes at both ends."""
    start, saddle = symmetric(9, [1, 2, 3]), symmetric(10, [-1, 2, 2])
    far = symmetric(11, [3, 4, 5])
    wide = [np.block([[h, np.zeros((3, 3))], [np.zeros((3, 3)), far]]) for h in (start, saddle)]
    alone = attempt_frequency(modes(start, np.array([64.0])), modes(saddle, np.array([64.0])))
    assert attempt_frequency(*(modes(h, np.array([64.0, 12.0])) for h in wide)) == pytest.approx(alone, rel=1e-12)


def test_vectors_are_normalised_and_the_unstable_one_points_along_the_hop() -> None:
    found = modes(np.diag([-1.0, 2, 2, 3, 3, 3]), np.array([10.0, 20.0]))
    assert (found.vectors**2).sum(axis=(1, 2)) == pytest.approx(np.ones(6))
    assert found.vectors[0, 0] ** 2 == pytest.approx([1, 0, 0])
    assert found.unstable == 1


@pytest.mark.parametrize("start, saddle", [([1, 1, 1], [1, 1, 1]), ([1, 1, 1], [-1, -1, 1]), ([-1, 1, 1], [-1, 1, 1])])
def test_wrong_number_of_imaginary_modes_gives_no_number(start: list[float], saddle: list[float]) -> None:
    with pytest.raises(ConvergenceError, match="imaginary modes at the start"):
        attempt_frequency(*(modes(np.diag(np.array(v, dtype=float)), np.array([50.0])) for v in (start, saddle)))


@pytest.mark.parametrize("hessian, masses", [
    (np.eye(3), [1.0, 2.0]), (np.eye(3) * np.nan, [1.0]), (np.eye(3), [0.0]), (np.arange(9.0).reshape(3, 3), [1.0])])
def test_bad_input_is_refused(hessian: np.ndarray, masses: list[float]) -> None:
    with pytest.raises(InputError):
        modes(hessian, np.array(masses))


def springs(atoms: int, k: float) -> np.ndarray:
    """Hessian of atoms with a spring, of the same strength along x, y and z, between any two of them: N k, 3N - 3 times."""
    return np.kron(k * (atoms * np.eye(atoms) - np.ones((atoms, atoms))), np.eye(3))


@pytest.mark.parametrize("k", [0.02, 1.0, 30.0])
@pytest.mark.parametrize("atoms", [4, 9, 32])
def test_formation_entropy_of_an_atom_bound_to_all_others(atoms: int, k: float) -> None:
    """All frequencies are sqrt(N k): S_f/k_B = (3N - 6)/2 ln(N/(N-1)), whatever the spring; 3/2 for many atoms."""
    found = vacancy_entropy(springs(atoms - 1, k), springs(atoms, k))
    assert found == pytest.approx((3 * atoms - 6) / 2 * math.log(atoms / (atoms - 1)))


def test_softer_bonds_around_a_vacancy_raise_its_entropy() -> None:
    host, vacancy = springs(8, 1.0), springs(7, 1.0)
    pair = np.zeros((7, 7))
    pair[:2, :2] = [[-0.3, 0.3], [0.3, -0.3]]
    softer = vacancy + np.kron(pair, np.diag([1.0, 0.0, 0.0]))
    # one mode, the two atoms against each other along x, goes from 7 to 7 - 0.6
    assert vacancy_entropy(softer, host) - vacancy_entropy(vacancy, host) == pytest.approx(-0.5 * math.log(6.4 / 7))


def test_formation_entropy_takes_minima_that_differ_by_one_atom() -> None:
    with pytest.raises(InputError, match="one atom"):
        vacancy_entropy(springs(6, 1.0), springs(8, 1.0))
    with pytest.raises(ConvergenceError, match="vacancy"):
        vacancy_entropy(-springs(7, 1.0), springs(8, 1.0))
    with pytest.raises(InputError):
        internal_hessian(np.eye(3))


def test_translations_cost_nothing_and_are_left_out() -> None:
    assert np.linalg.eigvalsh(internal_hessian(springs(5, 2.0))) == pytest.approx(10.0 * np.ones(12))
    held = springs(5, 2.0) + 7.0 * np.kron(np.ones((5, 5)), np.eye(3))  # a spring to the centre of mass
    assert internal_hessian(held) == pytest.approx(internal_hessian(springs(5, 2.0)))
