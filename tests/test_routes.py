"""Two routes to one number: forces dressed by the scattering against the density that scatters."""

from __future__ import annotations

import numpy as np

from emforce.physics.embedding import RegionSites, remove_orbitals, scatter, site_translations, traces
from emforce.physics.lcao import eigenstates, eigenvalues


def hermitian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    a = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return 0.5 * (a + a.conj().swapaxes(-1, -2))


def test_dressed_forces_give_the_traces_of_the_scattered_density():
    rng = np.random.default_rng(5)
    n = 23
    g = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    b, w = hermitian(rng, 3, n, n), rng.normal(size=(n, n))
    forces = rng.normal(size=(2, n, n))
    forces = forces + forces.swapaxes(1, 2)
    w = w + w.T
    density = scatter(g, b, w)
    found, condition = traces(g, b, w, forces)
    wanted = np.einsum("fij,bji->fb", forces, density.density).real
    assert np.allclose(found, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())
    assert condition == density.condition


def test_removed_orbitals_act_as_one_projection():
    rng = np.random.default_rng(6)
    n, removed = 12, np.array([2, 7, 8])
    g, b = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)), hermitian(rng, 3, n, n)
    keep = np.setdiff1d(np.arange(n), removed)
    t = np.zeros((len(keep), n), complex)
    t[np.arange(len(keep)), keep] = 1
    t[:, removed] = -g[np.ix_(keep, removed)] @ np.linalg.inv(g[np.ix_(removed, removed)])
    g_out, b_out = remove_orbitals(g, b, removed)
    assert np.allclose(g_out, (t @ g)[:, keep], rtol=1e-10)
    assert np.allclose(b_out, t @ b @ t.conj().T, rtol=1e-10, atol=1e-10)


def test_translations_between_sites_are_found_or_marked():
    R = np.array([(i, j, 0) for i in range(-1, 2) for j in range(-1, 2)])
    sites = RegionSites(np.array([(0, 0, 0), (1, 0, 0), (2, -1, 0), (0, 0, 1)]), np.zeros(4, int))
    index = site_translations(R, sites)
    for i in range(4):
        for j in range(4):
            step = sites.cells[j] - sites.cells[i]
            hit = np.flatnonzero((R == step).all(axis=1))
            assert index[i, j] == (hit[0] if len(hit) else -1)


def test_large_and_small_matrices_are_solved_alike(monkeypatch):
    rng = np.random.default_rng(7)
    h, s = hermitian(rng, 4, 70, 70), 0.02 * hermitian(rng, 4, 70, 70) + np.eye(70)
    alone, values = eigenstates(h, s), eigenvalues(h, s)
    monkeypatch.setattr("emforce.physics.lcao._LARGE", 1000)
    stacked = eigenstates(h, s)
    assert np.allclose(alone[0], stacked[0], rtol=0, atol=1e-10)
    assert np.allclose(values, stacked[0], rtol=0, atol=1e-10)
    for e, c in (alone, stacked):
        assert np.allclose(c.conj().swapaxes(1, 2) @ s @ c, np.eye(70), atol=1e-10)
        assert np.allclose(h @ c, (s @ c) * e[:, None, :], atol=1e-9)
