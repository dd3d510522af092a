"""The embedded defect against closed forms and against wave matching."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import (
    Waves,
    chain_sites,
    chain_tables,
    dense_chain,
    one_orbital,
    scattering,
    scattering_density,
    simple_cubic,
    two_orbital,
)

from emforce.errors import InputError
from emforce.physics.embedding import RegionSites, add_decoupled, assemble, remove_orbitals, scatter
from emforce.physics.fermi import HostTables, host_tables
from emforce.physics.lcao import LCAOMatrices

HALF = 5
#: (host, energy inside a single band); the tables of each are made once
HOSTS: dict[str, tuple[LCAOMatrices, float]] = {
    "one orbital": (one_orbital(0.0, -1.0, spacing=1.3), -0.7),
    "non-orthogonal": (one_orbital(0.1, -1.0, 0.08, overlaps=(0.2, 0.03), spacing=1.3), -0.6),
    "two orbitals": (two_orbital(False), -2.6),
    "two non-orthogonal": (two_orbital(True), -2.2),
}


@cache
def tables(name: str) -> list[HostTables]:
    return chain_tables(*HOSTS[name], HALF)


def embedded(host: LCAOMatrices, energy: float, pair: list[HostTables], h: np.ndarray, s: np.ndarray) -> np.ndarray:
    """X B_x X^dagger on the cells -HALF..HALF for a defect without new or removed orbitals, for a sharp delta."""
    h0, s0 = dense_chain(host, HALF)
    sites, _ = chain_sites(HALF)
    results = []
    for table in pair:
        g, b = assemble(table, 0, host.offsets, sites)
        results.append(scatter(g, b, h - h0 - energy * (s - s0)).density[0])
    return (4 * results[0] - results[1]) / 3


def random_defect(host: LCAOMatrices, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The host with random symmetric changes on the cells -1, 0, 1 (no symmetry left)."""
    rng = np.random.default_rng(seed)
    h, s = dense_chain(host, HALF)
    middle = slice((HALF - 1) * host.n, (HALF + 2) * host.n)
    dh, ds = rng.normal(size=(2, 3 * host.n, 3 * host.n))
    h[middle, middle] += 0.4 * (dh + dh.T)
    if np.abs(s - np.eye(len(s))).max() > 0:
        s[middle, middle] += 0.02 * (ds + ds.T)
    return h, s


def flux_is_conserved(w: Waves) -> bool:
    unitary = np.array([[w.r, w.t_right], [w.t, w.r_right]])
    return bool(np.allclose(unitary.conj().T @ unitary, np.eye(2), atol=1e-9))


def test_wave_matching_of_one_site_in_closed_form() -> None:
    """The judge itself: t = 1/(1 - U/(i |de/dk|)) = r + 1 for one site of a chain."""
    host, energy = HOSTS["one orbital"]
    h, s = dense_chain(host, HALF)
    h[HALF, HALF] += 0.9
    w = scattering(host, energy, h, s)
    slope = 2 * np.sin(np.arccos(-energy / 2))
    assert w.t == pytest.approx(1 / (1 - 0.9 / (1j * slope)), abs=1e-10)
    assert w.r == pytest.approx(w.t - 1, abs=1e-10)
    assert w.v == pytest.approx(slope * 1.3)
    assert flux_is_conserved(w)


@pytest.mark.parametrize("name", HOSTS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_embedded_density_is_that_of_the_scattering_states(name: str, seed: int) -> None:
    host, energy = HOSTS[name]
    h, s = random_defect(host, seed)
    w = scattering(host, energy, h, s)
    assert flux_is_conserved(w)
    exact = scattering_density(host, w)
    np.testing.assert_allclose(
        embedded(host, energy, tables(name), h, s), exact, atol=2e-4 * max(1, np.abs(exact).max())
    )


@pytest.mark.parametrize("name", HOSTS)
def test_no_defect_no_change(name: str) -> None:
    host, _ = HOSTS[name]
    sites, _ = chain_sites(HALF)
    g, b = assemble(tables(name)[0], 0, host.offsets, sites)
    result = scatter(g, b, np.zeros(g.shape))
    np.testing.assert_allclose(result.density, b, atol=1e-13)
    assert result.condition == pytest.approx(1.0)


@pytest.mark.parametrize("name", HOSTS)
def test_leaving_out_the_sites_without_perturbation_changes_nothing(name: str) -> None:
    """The region is exact as soon as it holds W."""
    host, energy = HOSTS[name]
    h, s = random_defect(host, 17)
    h0, s0 = dense_chain(host, HALF)
    w = h - h0 - energy * (s - s0)
    sites, _ = chain_sites(HALF)
    small = RegionSites(sites.cells[HALF - 1 : HALF + 2], sites.atoms[HALF - 1 : HALF + 2])
    part = slice((HALF - 1) * host.n, (HALF + 2) * host.n)
    big = scatter(*assemble(tables(name)[0], 0, host.offsets, sites), w).density[:, part, part]
    few = scatter(*assemble(tables(name)[0], 0, host.offsets, small), w[part, part]).density
    np.testing.assert_allclose(few, big, atol=1e-10)


def test_one_site_t_matrix_in_closed_form() -> None:
    """3-D: X = 1 + G0 |0> U/(1 - U G0(0)) <0|, and so X B X^dagger; written out by elements."""
    energy, u = -2.1, 1.7
    R = np.array(list(np.ndindex(5, 5, 5))) - 2
    table = host_tables(simple_cubic(), (24, 24, 24), np.array([energy]), (0.3,), R, np.array([0]))[0]
    cells = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0]])
    g, b = assemble(table, 0, np.array([0, 1]), RegionSites(cells, np.zeros(4, int)))
    w = np.zeros((4, 4))
    w[0, 0] = u
    density = scatter(g, b, w).density
    t = u / (1 - u * g[0, 0])
    for axis in range(3):
        for i in range(4):
            for j in range(4):
                exact = b[axis, i, j] + g[i, 0] * t * b[axis, 0, j] + b[axis, i, 0] * np.conj(t * g[j, 0])
                assert density[axis, i, j] == pytest.approx(exact, abs=1e-13)  # B(0, 0) = 0: no quadratic term
    # the current piles electrons up on one side: for E > 0 along x the density differs at +x and -x
    assert abs(density[0, 1, 1].real - density[0, 3, 3].real) > 1e-4
    assert density[0, 2, 2].real == pytest.approx(0, abs=1e-12)


# --- removed and new orbitals ----------------------------------------------------------------------------------------


def test_removed_orbitals_of_a_finite_cluster() -> None:
    """(K without rows and columns)^-1 from K^-1, and B from the states that vanish there."""
    rng = np.random.default_rng(4)
    k = rng.normal(size=(7, 7)) + 1j * rng.normal(size=(7, 7))
    state = rng.normal(size=7) + 1j * rng.normal(size=7)
    b = np.array([np.outer(state, state.conj())] * 3)
    removed, keep = np.array([2, 5]), np.array([0, 1, 3, 4, 6])
    g, b_out = remove_orbitals(np.linalg.inv(k), b, removed)
    np.testing.assert_allclose(g, np.linalg.inv(k[np.ix_(keep, keep)]), atol=1e-12)
    # psi = psi0 + G_:V f with f such that psi_V = 0
    full = np.linalg.inv(k)
    psi = state - full[:, removed] @ np.linalg.solve(full[np.ix_(removed, removed)], state[removed])
    np.testing.assert_allclose(psi[removed], 0, atol=1e-12)
    np.testing.assert_allclose(b_out[0], np.outer(psi[keep], psi[keep].conj()), atol=1e-11)


def test_nothing_removed_is_no_change() -> None:
    g, b = np.eye(2, dtype=complex), np.zeros((3, 2, 2), complex)
    assert remove_orbitals(g, b, np.array([], int))[0] is g


@pytest.mark.parametrize("name", HOSTS)
def test_removed_atoms_are_the_limit_of_a_high_site(name: str) -> None:
    """Infinite on-site energy is the limit of a finite one, which the embedding takes as any perturbation."""
    host, _ = HOSTS[name]
    sites, _ = chain_sites(HALF)
    g, b = assemble(tables(name)[0], 0, host.offsets, sites)
    gone = np.arange(HALF * host.n, (HALF + 1) * host.n)
    keep = np.setdiff1d(np.arange(len(g)), gone)
    w = np.zeros(g.shape)
    w[gone, gone] = 1e7
    limit = scatter(g, b, w).density[:, keep[:, None], keep]
    np.testing.assert_allclose(remove_orbitals(g, b, gone)[1], limit, atol=1e-5 * np.abs(limit).max())


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("out", [[0], [0, 1]])
def test_removed_atoms_equal_a_chain_with_the_atoms_left_out(
    name: str, out: list[int]) -> None:
    """Wave matching on the lattice without them, with a random change beside the hole on top."""
    host, energy = HOSTS[name]
    gone = np.concatenate([np.arange((HALF + i) * host.n, (HALF + i + 1) * host.n) for i in out])
    keep = np.setdiff1d(np.arange((2 * HALF + 1) * host.n), gone)
    h, s = random_defect(host, 5)
    h0, s0 = dense_chain(host, HALF)
    w = (h - h0 - energy * (s - s0))[np.ix_(keep, keep)]
    sites, _ = chain_sites(HALF)
    found = []
    for table in tables(name):
        g, b = remove_orbitals(*assemble(table, 0, host.offsets, sites), gone)
        found.append(scatter(g, b, w).density[0])
    h[gone] = h[:, gone] = np.nan
    s[gone] = s[:, gone] = np.nan
    waves = scattering(host, energy, h, s)
    assert flux_is_conserved(waves)
    exact = scattering_density(host, waves)[np.ix_(keep, keep)]
    np.testing.assert_allclose((4 * found[0] - found[1]) / 3, exact, atol=2e-4 * max(1, np.abs(exact).max()))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(level=st.floats(0.3, 30), sign=st.sampled_from([-1, 1]), seed=st.integers(0, 100))
def test_a_new_orbital_restores_a_removed_one(level: float, sign: int, seed: int) -> None:
    """Take out a site and put new orbitals with the host's own matrix elements: the perfect crystal again.

    Neither the energy of the decoupled block nor the choice of the new orbitals (any combination) matters.
    """
    host, energy = HOSTS["two non-orthogonal"]
    n = host.n
    sites, _ = chain_sites(HALF)
    gone = np.arange(HALF * n, (HALF + 1) * n)
    keep = np.setdiff1d(np.arange((2 * HALF + 1) * n), gone)
    order = np.concatenate([keep, gone])
    new = np.arange(len(keep), len(order))
    h, s = (a[np.ix_(order, order)] for a in dense_chain(host, HALF))
    a = np.eye(len(order))
    a[np.ix_(new, new)] = np.random.default_rng(seed).normal(size=(n, n)) + 3 * np.eye(n)
    w = a.T @ (h - energy * s) @ a
    w[: len(keep), : len(keep)] = 0
    w[new, new] -= sign * level
    found = []
    for table in tables("two non-orthogonal"):
        g0, b0 = assemble(table, 0, host.offsets, sites)
        g, b = add_decoupled(*remove_orbitals(g0, b0, gone), n, sign * level)
        found.append(a @ scatter(g, b, w).density[0] @ a.T - b0[0][np.ix_(order, order)])
    np.testing.assert_allclose((4 * found[0] - found[1]) / 3, 0, atol=1e-5)


# --- plumbing --------------------------------------------------------------------------------------------------------


def test_assemble_reads_cell_differences() -> None:
    host, energy = HOSTS["two orbitals"]
    table = chain_tables(host, energy, 2)[0]
    sites = RegionSites(np.array([[1, 0, 0], [-1, 0, 0]]), np.array([0, 0]))
    g, b = assemble(table, 0, host.offsets, sites)
    minus_two = int(np.flatnonzero(table.R[:, 0] == -2)[0])
    np.testing.assert_array_equal(g[:2, 2:], table.g[0, minus_two])  # <cell 1|G|cell -1> = G(-2)
    np.testing.assert_array_equal(b[:, :2, 2:], table.b[0, :, minus_two])
    far = RegionSites(np.array([[0, 0, 0], [9, 0, 0]]), np.array([0, 0]))
    with pytest.raises(InputError, match="host tables"):
        assemble(table, 0, host.offsets, far)


def test_condition_number_is_that_of_one_minus_gw() -> None:
    rng = np.random.default_rng(2)
    g = rng.normal(size=(5, 5)) + 1j * rng.normal(size=(5, 5))
    w = rng.normal(size=(5, 5))
    result = scatter(g, np.zeros((3, 5, 5), complex), w)
    assert result.condition == pytest.approx(np.linalg.cond(np.eye(5) - g @ w, 1), rel=0.5)
