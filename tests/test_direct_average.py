"""The response averaged over a Gaussian: what grows with tau is the wind's m of the same width, and what is left is smooth."""

from __future__ import annotations

import numpy as np
import pytest
from response_models import random_defect
from scipy.special import roots_hermitenorm

from emforce.physics.direct import Accuracy, embedded_responses
from emforce.physics.direct_embedding import Host, averaged_poles, host_kernels
from emforce.physics.fermi import host_tables
from emforce.physics.wind import wind

LEVEL, SIGMA = -0.4, 0.2


@pytest.mark.parametrize("z", [0.3 + 0.2j, 0.3 - 0.2j, -2.0 + 1.0j])
def test_averaged_pole_is_the_average_over_a_gaussian(z):
    x, w = roots_hermitenorm(400)
    numbers = np.array([z, z - 0.1])
    wanted = (w / (numbers[:, None] - SIGMA * x)).sum(axis=1) / w.sum()
    assert averaged_poles(numbers, SIGMA) == pytest.approx(wanted, rel=1e-6)
    assert averaged_poles(numbers, 0.0) == pytest.approx(1 / numbers)


def test_kernels_are_averages_over_shifted_hosts():
    d = random_defect(3, 2, 1)
    R, orbitals = np.array([[-1, 0, 0], [0, 0, 0], [1, 0, 0]]), np.arange(d.host.n)
    pairs = LEVEL + np.array([[-0.2j, 0.2j], [0.4 + 0.1j, 0.4 + 0.5j]])
    mesh = (60, 1, 1)
    found = host_kernels(Host(d.host, d.connection, (0,)), pairs, mesh, R, orbitals, SIGMA)
    x, w = roots_hermitenorm(160)
    g = [0.0] * 2
    k = [0.0] * 2
    for shift, weight in zip(SIGMA * x, w / w.sum(), strict=True):
        tables = host_kernels(Host(d.host.shifted(shift), d.connection, (0,)), pairs, mesh, R, orbitals)
        for p, t in enumerate(tables):
            g[p], k[p] = g[p] + weight * t.g, k[p] + weight * t.k
    for p in range(2):
        assert np.abs(found[p].g - g[p]).max() < 1e-4 * np.abs(g[p]).max()
        assert np.abs(found[p].k - k[p]).max() < 1e-4 * np.abs(k[p]).max()


@pytest.mark.parametrize(("gone", "new"), [((), 0), ((2,), 0), ((), 1)])
def test_what_grows_with_tau_is_the_wind_of_the_same_width(gone, new):
    d = random_defect(3, 2, 1, gone, new)
    mover = d.embedded()
    host = Host(d.host, d.connection, (0,))
    mesh = (160, 1, 1)
    cells = np.arange(-12, 13)
    R = np.array([(c, 0, 0) for c in cells])
    (table,) = host_tables(d.host, mesh, np.array([LEVEL]), (SIGMA,), R, np.arange(d.host.n), 0)
    m = wind(table, 0, d.host.offsets, mover.perturbation, 99.0).m[:, 0]
    rest = []
    for omega in (0.002, 0.02, 0.04):
        (found, _), = embedded_responses(host, [mover], LEVEL, omega, Accuracy(mesh, 99.0, 8, (14, 10), 8, SIGMA), omega)
        rest.append(found.total[:, 0] - m / omega)
    assert np.abs(m).max() > 0.05
    # without the exact m the first of them would be hundreds of times the others
    assert np.abs(rest[0]).max() < 2 * max(np.abs(rest[1]).max(), 0.5)
    # and it goes to its limit linearly
    assert rest[0] == pytest.approx(2 * rest[1] - rest[2], abs=0.05 * max(1.0, np.abs(rest[1]).max()))
