"""Fermi-surface sums, Green functions and current matrices against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import CHAIN_MESH, CHAIN_SIGMA, gaussian_chain, one_orbital, simple_cubic, two_orbital
from scipy.integrate import quad
from scipy.special import erf, erfc, jv
from test_lcao import random_crystal

from emforce.errors import InputError
from emforce.physics.fermi import (
    FermiSurface,
    band_energies,
    bands_and_velocities,
    cubic_fermi_surfaces,
    fermi_energy,
    fermi_surface,
    gaussian,
    gaussian_green,
    half_mesh,
    host_tables,
    surface_from_bands,
)
from emforce.units import epsilon0, m_e

ORIGIN = np.array([[0, 0, 0]])


@pytest.mark.parametrize("x", [-1.3, -0.2, 0.0, 0.07, 0.5])
def test_gaussian_and_its_green_function_are_hilbert_partners(x: float) -> None:
    sigma = 0.15
    g = gaussian_green(np.array(x), sigma)
    assert -g.imag / np.pi == pytest.approx(float(gaussian(np.array(x), sigma)), rel=1e-12)
    # principal value: integral over y > 0 of (delta(x - y) - delta(x + y))/y
    real, _ = quad(
        lambda y: (gaussian(np.array(x - y), sigma) - gaussian(np.array(x + y), sigma)) / y, 0, 12 * sigma + abs(x)
    )
    assert g.real == pytest.approx(real, abs=1e-7)


def test_green_function_far_away_is_one_over_x() -> None:
    x, sigma = np.array([-9.0, 11.0]), 0.1
    np.testing.assert_allclose(gaussian_green(x, sigma), 1 / x * (1 + (sigma / x) ** 2), rtol=1e-6)


@pytest.mark.parametrize("mesh", [(4, 1, 1), (4, 3, 2), (1, 6, 1), (2, 2, 5)])
def test_half_mesh_and_its_negative_are_the_whole_mesh(mesh: tuple[int, int, int]) -> None:
    k = half_mesh(mesh)
    both = np.concatenate([k, -k]) % 1.0
    assert len(both) == np.prod(mesh)
    assert len(np.unique(np.round(both, 9) % 1.0, axis=0)) == np.prod(mesh)


def test_half_mesh_needs_an_even_axis() -> None:
    with pytest.raises(InputError, match="even"):
        half_mesh((3, 2, 1))
    with pytest.raises(InputError, match="even"):
        half_mesh((1, 1, 1))


def test_half_a_mesh_equals_the_whole_one() -> None:
    host = random_crystal(21)
    mesh = (6, 5, 4)
    whole = (np.array(list(np.ndindex(*mesh))) + 0.5) / np.array(mesh)
    level = float(np.median(band_energies(host, whole)))
    full = surface_from_bands(*bands_and_velocities(host, whole), level, 0.5, host.volume, mesh)
    half = surface_from_bands(*bands_and_velocities(host, half_mesh(mesh)), level, 0.5, host.volume, mesh)
    np.testing.assert_allclose(half.n_tensor, full.n_tensor, rtol=1e-12)
    np.testing.assert_allclose(half.inverse_rho_lambda, full.inverse_rho_lambda, rtol=1e-12)
    assert half.dos == pytest.approx(full.dos, rel=1e-12)


def test_inequivalent_points_of_a_cubic_crystal_equal_the_whole_mesh() -> None:
    mesh, sigma, host = (12, 12, 12), 0.4, simple_cubic(0.9, spacing=1.4)
    k = (np.array(list(np.ndindex(*mesh))) + 0.5) / 12
    folded = np.sort(np.abs(k - np.round(k)), axis=1)
    points, counts = np.unique(np.round(folded, 9), axis=0, return_counts=True)
    assert len(points) == 56  # 6 7 8/6 ordered triples
    found = cubic_fermi_surfaces(host, 0.7, points, counts / counts.sum(), (sigma, 2 * sigma), mesh)
    for mine, width in zip(found, (sigma, 2 * sigma), strict=True):
        whole = fermi_surface(host, 0.7, mesh, width)
        assert mine.fermi_energy == pytest.approx(whole.fermi_energy, abs=1e-8)
        assert mine.dos == pytest.approx(whole.dos, rel=1e-7)
        np.testing.assert_allclose(mine.n_tensor, whole.n_tensor, atol=1e-7)
        np.testing.assert_allclose(mine.inverse_rho_lambda, whole.inverse_rho_lambda, rtol=1e-7)


# --- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("electrons", [0.3, 1.0, 1.4])
def test_chain_in_closed_form(electrons: float) -> None:
    """e = -2t cos ka, n = 2 k_F a/pi; DOS = 2a/(pi v), N = 2 a v/pi, 1/(rho lambda) = DOS |v|/Omega, v = 2 t a sin k_F a."""
    t, a = 1.1, 1.7
    host = one_orbital(0.0, -t, spacing=a)
    surface = fermi_surface(host, electrons, (4000, 1, 1), 0.01)
    theta = np.pi * electrons / 2
    v = 2 * t * a * np.sin(theta)
    assert surface.fermi_energy == pytest.approx(-2 * t * np.cos(theta), abs=2e-4)
    assert surface.dos == pytest.approx(2 * a / (np.pi * v), rel=1e-3)
    assert surface.n_tensor[0, 0] == pytest.approx(2 * a * v / np.pi, rel=1e-3)
    assert surface.inverse_rho_lambda[0] == pytest.approx(2 * a / np.pi / host.volume, rel=1e-3)
    assert np.abs(surface.n_tensor[1:]).max() < 1e-20


def test_simple_cubic_density_of_states_in_closed_form() -> None:
    """DOS = (2/pi) integral cos(E s) J0(2 t s)^3 exp(-sigma^2 s^2/2) ds: the smearing is part of the closed form."""
    t, sigma = 0.8, 0.25
    host = simple_cubic(t)
    for level in (0.0, -2.9, 1.3):
        e, v = bands_and_velocities(host, half_mesh((40, 40, 40)))
        dos = surface_from_bands(e, v, level, sigma, host.volume, (40, 40, 40)).dos
        exact, _ = quad(
            lambda s: np.cos(level * s) * jv(0, 2 * t * s) ** 3 * np.exp(-0.5 * (sigma * s) ** 2), 0, 60, limit=400  # noqa: B023
        )
        assert dos == pytest.approx(2 / np.pi * exact, rel=1e-5)


def test_f_sum_rule() -> None:
    """N = (2/N_k) sum delta(E - e) v^2 = (2/N_k) sum f d2e/dk2 (integration by parts, any band and filling)."""
    mesh, sigma, t, a = (40, 40, 40), 0.2, 0.7, 1.9
    host = simple_cubic(t, on_site=0.4, spacing=a)
    k = half_mesh(mesh)
    for electrons in (0.2, 1.0, 1.6):
        surface = fermi_surface(host, electrons, mesh, sigma)
        occupied = 0.5 * erfc((band_energies(host, k)[:, 0] - surface.fermi_energy) / (np.sqrt(2) * sigma))
        mass = 2 * t * a**2 * np.cos(2 * np.pi * k[:, 2])
        assert surface.n_cubic == pytest.approx(2 * np.mean(occupied * mass), rel=1e-6)
        np.testing.assert_allclose(surface.n_tensor, surface.n_cubic * np.eye(3), atol=1e-12)


def test_f_sum_rule_of_non_orthogonal_bands() -> None:
    """The same for a two-band, non-orthogonal chain, with d2e/dk2 by finite differences of the bands."""
    host = two_orbital(True)
    sigma, mesh = 0.05, (2000, 1, 1)
    surface = fermi_surface(host, 1.2, mesh, sigma)
    k = half_mesh(mesh)
    step = 1e-3
    dk = np.array([[step * host.cell[0, 0] / (2 * np.pi), 0.0, 0.0]])
    e, up, down = (band_energies(host, k + shift) for shift in (0 * dk, dk, -dk))
    occupied = 0.5 * erfc((e - surface.fermi_energy) / (np.sqrt(2) * sigma))
    expected = 2 * (occupied * (up + down - 2 * e)).sum() / step**2 / len(k)
    assert surface.n_tensor[0, 0] == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(electrons=st.floats(0.2, 5.8), sigma=st.floats(0.05, 0.5), seed=st.integers(0, 50))
def test_fermi_energy_counts_the_electrons(electrons: float, sigma: float, seed: int) -> None:
    energies = band_energies(random_crystal(seed), half_mesh((4, 4, 4)))
    level = fermi_energy(energies, electrons, sigma)
    # count again, from the distribution function itself
    occupation = 0.5 * (1 - erf((energies - level) / (np.sqrt(2) * sigma)))
    assert 2 * occupation.sum() / len(energies) == pytest.approx(electrons, abs=1e-6)


@pytest.mark.parametrize("electrons", [0.0, -1.0, 2.0, 3.0])
def test_impossible_electron_counts_are_refused(electrons: float) -> None:
    with pytest.raises(InputError, match="electrons"):
        fermi_energy(np.zeros((4, 1)), electrons, 0.1)


def free_electrons(k_fermi: float, mass: float, edge: float = 3.0) -> FermiSurface:
    """Surface of e = k^2/2m, sampled in a box of reciprocal space that holds the Fermi sphere (cell of edge 1/box)."""
    n = 90
    side = 1.25 * 2 * k_fermi
    axis = side * ((np.arange(n) + 0.5) / n - 0.5)
    k = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    volume = (2 * np.pi / side) ** 3
    e = 0.5 * (k**2).sum(1) / mass
    return surface_from_bands(e[:, None], (k / mass).T[:, :, None], 0.5 * k_fermi**2 / mass,
                              0.04 * k_fermi**2 / mass, volume, (n, n, n))


def test_free_electron_gas_in_closed_form() -> None:
    """n = k_F^3/3pi^2: DOS = m k_F/pi^2, N/Omega = n/m, (hbar omega_p)^2 = n e^2/(eps0 m), rho lambda = 3pi^2/k_F^2."""
    k_fermi = 1.36  # A^-1, the density of copper's s electron
    gas = free_electrons(k_fermi, m_e)
    density = k_fermi**3 / (3 * np.pi**2)
    assert gas.dos / gas.volume == pytest.approx(m_e * k_fermi / np.pi**2, rel=5e-3)
    assert gas.n_cubic / gas.volume == pytest.approx(density / m_e, rel=5e-3)
    assert gas.plasma_energy == pytest.approx(np.sqrt(density / (epsilon0 * m_e)), rel=3e-3)
    assert gas.rho_lambda == pytest.approx(3 * np.pi**2 / k_fermi**2, rel=5e-3)
    # Drude: rho = m/(n e^2 tau)
    assert gas.relaxation_time(0.04) == pytest.approx(m_e / (density * 0.04), rel=5e-3)


def test_free_electron_plasma_energy_is_copper_sized() -> None:
    """One electron per 11.8 A^3 with the free mass: 10.8 eV, by sqrt(n e^2/(eps0 m)) in SI units."""
    from scipy import constants as c

    k_fermi = (3 * np.pi**2 / 11.8) ** (1 / 3)
    si = c.hbar * np.sqrt(1e30 / 11.8 * c.e**2 / (c.epsilon_0 * c.m_e)) / c.e
    assert free_electrons(k_fermi, m_e).plasma_energy == pytest.approx(si, rel=3e-3)


def test_nearly_free_band_has_the_plasma_energy_of_its_electrons() -> None:
    """A dilute simple-cubic band is a gas of mass 1/(2 t a^2), but for N = n <2 t cos k_x> = n 2t (1 - k_F^2/10)."""
    t, electrons, mesh = 1.0, 0.02, (80, 80, 80)
    host = simple_cubic(t)
    surface = fermi_surface(host, electrons, mesh, 0.1)
    free = np.sqrt(electrons * 2 * t / (epsilon0 * host.volume))
    k_fermi = (3 * np.pi**2 * electrons) ** (1 / 3)
    assert surface.plasma_energy == pytest.approx(free * np.sqrt(1 - k_fermi**2 / 10), rel=5e-3)


# --- tables ------------------------------------------------------------------------------------------------------------


def test_green_function_of_the_simple_cubic_band_in_closed_form() -> None:
    """G0(R) = -i integral exp(i E s - sigma^2 s^2/2) prod_j i^R_j J_R_j(2 t s) ds, from exp(-i H s) of the band."""
    t, sigma, level = 0.8, 0.25, -1.7
    R = np.array([[0, 0, 0], [1, 0, 0], [2, 1, 0], [1, 1, 1], [-1, 0, 0], [-2, -1, 0], [-1, -1, -1]])
    table = host_tables(simple_cubic(t), (40, 40, 40), np.array([level]), (sigma,), R, np.array([0]))[0]
    for r, mine in zip(R, table.g[0, :, 0, 0], strict=True):

        def integrand(s: float, r: np.ndarray = r) -> complex:
            phase = np.exp(1j * level * s - 0.5 * (sigma * s) ** 2)
            return -1j * phase * np.prod([1j ** abs(x) * jv(abs(x), 2 * t * s) for x in r])

        exact = quad(integrand, 0, 50, limit=400, complex_func=True)[0]
        assert mine == pytest.approx(exact, abs=2e-6)


def test_chain_green_function_and_current_matrix_in_closed_form() -> None:
    """G0(R) = exp(i k a |R|)/(i |de/dk|) inside the band, B(R) = -(2 i a/pi) sin(k a R): electrons go out, current is odd."""
    t, a, theta = 1.0, 1.6, 1.1
    energy = -2 * t * np.cos(theta)
    R = np.arange(-6, 7)[:, None] * np.array([[1, 0, 0]])
    sigmas = (CHAIN_SIGMA, 2 * CHAIN_SIGMA)
    sharp, wide = host_tables(one_orbital(0.0, -t, spacing=a), CHAIN_MESH, np.array([energy]), sigmas, R, np.array([0]))
    g = ((4 * sharp.g - wide.g) / 3)[0, :, 0, 0]
    b = ((4 * sharp.b - wide.b) / 3)[0, :, :, 0, 0]
    np.testing.assert_allclose(g, np.exp(1j * theta * np.abs(R[:, 0])) / (2j * t * np.sin(theta)), atol=1e-7)
    np.testing.assert_allclose(b[0], -2j * a / np.pi * np.sin(theta * R[:, 0]), atol=1e-7)
    assert not b[1:].any()


@pytest.mark.parametrize("host", [one_orbital(0.2, -1.0, 0.1, overlaps=(0.2, 0.03)), two_orbital(True)])
def test_green_function_inverts_the_chain(host) -> None:
    """sum_R' (E S - H)(R - R') G0(R') = delta, outside the band (g = 1/x there) and, for a sharp delta, inside it."""
    bottom = float(band_energies(host, half_mesh((64, 1, 1))).min())
    R = np.arange(-8, 9)[:, None] * np.array([[1, 0, 0]])
    energies = np.array([bottom - 2.0, bottom + 0.6])
    tables = host_tables(host, CHAIN_MESH, energies, (CHAIN_SIGMA, 2 * CHAIN_SIGMA), R, np.arange(host.n))
    for j, energy in enumerate(energies):
        g = (4 * tables[0].g[j] - tables[1].g[j]) / 3
        for at in range(-4, 5):
            total = np.zeros((host.n, host.n), complex)
            # rows at cell `at`: <at|ES - H|r> G(r, 0), and G(r, 0) = <0|G|-r>
            for i, r in enumerate(R[:, 0]):
                h, s = host.block((int(r) - at, 0, 0))
                total += (energy * s - h) @ g[len(R) - 1 - i]
            np.testing.assert_allclose(total, np.eye(host.n) * (at == 0), atol=3e-6)


def test_tables_obey_hermiticity_time_reversal_and_oddness() -> None:
    """G(R) = G(-R)^T (real H), B(R) = B(-R)^dagger = -B(-R)^T: B is imaginary and odd, no current at rest."""
    host = random_crystal(31)
    R = np.array(list(np.ndindex(3, 3, 3))) - 1
    energy = float(np.median(band_energies(host, half_mesh((4, 4, 4)))))
    table = host_tables(host, (8, 8, 8), np.array([energy]), (0.3,), R, np.arange(3))[0]
    minus = [int(np.flatnonzero((R == -r).all(axis=1))[0]) for r in R]
    g, b = table.g[0], table.b[0]
    np.testing.assert_allclose(g, g[minus].swapaxes(1, 2), atol=1e-14)
    np.testing.assert_allclose(b, b[:, minus].conj().swapaxes(2, 3), atol=1e-13)
    np.testing.assert_allclose(b, -b[:, minus].swapaxes(2, 3), atol=1e-13)
    assert np.abs(b.real).max() < 1e-13 < np.abs(b.imag).max()


def test_tables_from_half_the_mesh_equal_the_whole_sum() -> None:
    """Direct sum over the whole mesh with G(R) = (1/N_k) sum exp(-2 pi i k.R) c c^dagger g: phases, spin factor, shifts."""
    from emforce.physics.lcao import eigenstates, velocities

    host, mesh, sigma = random_crystal(8), (4, 3, 2), 0.4
    R = np.array([[1, 0, 0], [-1, 0, 0], [0, 2, -1], [0, -2, 1]])
    orbitals = np.array([2, 0])
    level = 0.3
    table = host_tables(host, mesh, np.array([level]), (0.1, sigma), R, orbitals)[1]
    k = (np.array(list(np.ndindex(*mesh))) + 0.5) / np.array(mesh)
    e, c = eigenstates(*host.at(k))
    for i, r in enumerate(R):
        phase = np.exp(-2j * np.pi * (k @ r))[:, None] / len(k)
        kept = c[:, orbitals]
        g = np.einsum("kn,kan,kbn->ab", phase * gaussian_green(level - e, sigma), kept, kept.conj())
        np.testing.assert_allclose(table.g[0, i], g, atol=1e-12)
        for axis in range(3):
            v = velocities(c, e, *host.gradient(k, axis))
            b = np.einsum("kn,kan,kbn->ab", phase * 2 * gaussian(level - e, sigma) * v, kept, kept.conj())
            np.testing.assert_allclose(table.b[0, axis, i], b, atol=1e-12)


def test_gaussian_chain_is_nearly_free() -> None:
    """The free-electron model of the wind tests: e = hbar^2 k^2/2m to 1e-5 at the energies used there."""
    from models import HALF

    host = gaussian_chain(0.75, 0.9, 12)
    k = np.array([[0.45, 0, 0], [0.75, 0, 0]]) / (2 * np.pi)
    np.testing.assert_allclose(band_energies(host, k)[:, 0], HALF * (2 * np.pi * k[:, 0] / 0.75) ** 2, rtol=1e-5)


def test_further_widths_at_one_energy_are_those_of_the_whole_table() -> None:
    host = one_orbital(0.0, -1.0, 0.2)
    R = np.arange(-3, 4)[:, None] * np.array([[1, 0, 0]])
    energies = np.array([-1.2, -0.9, -0.5])
    whole = host_tables(host, (120, 1, 1), energies, (0.1, 0.2), R, np.arange(1))
    part = host_tables(host, (120, 1, 1), energies, (0.1, 0.2), R, np.arange(1), check_at=1)
    np.testing.assert_array_equal(part[0].g, whole[0].g)
    assert part[1].energies.tolist() == [-0.9]
    np.testing.assert_array_equal(part[1].g[0], whole[1].g[1])
    np.testing.assert_array_equal(part[1].b[0], whole[1].b[1])
