"""One defect in an infinite host: the limit of large supercells, removed and new orbitals, builders, Z = tau m + Z_direct."""

from __future__ import annotations

import numpy as np
import pytest
from response_models import LocalDefect, random_defect

from emforce.physics.direct import Accuracy, embedded_responses
from emforce.physics.direct_embedding import Host
from emforce.physics.response_kernel import Response, supercell_response

GAMMA = np.zeros((1, 3))
FINE = {"explicit": 8, "path": (14, 10)}


def alone(defect: LocalDefect, level: float, omega: float, mesh: tuple[int, int, int]) -> Response:
    axes = tuple(x for x in range(3) if mesh[x] > 1)
    host = Host(defect.host, defect.connection, axes)
    return embedded_responses(host, [defect.embedded()], level, omega, Accuracy(mesh, 99.0, **FINE), omega)[0][0]


def in_supercell(defect: LocalDefect, level: float, omega: float, repeat: tuple[int, int, int]) -> np.ndarray:
    kt = np.array([omega / (2 * np.pi)])
    return supercell_response(defect.periodic(repeat), GAMMA, level, np.array([omega]), kt)[0]


@pytest.mark.parametrize(("gone", "new"), [((), 0), ((), 2), ((2,), 0), ((1,), 1)],
                         ids=["changed", "new orbitals", "removed atom", "removed and new"])
def test_chain_is_the_limit_of_long_rings(gone: tuple[int, ...], new: int) -> None:
    """Two orbitals per cell, everything changed; the ring is longer than the mean free path v/omega, and no k-points in it."""
    defect, level, omega = random_defect(3, 2, 1, gone, new), -0.4, 0.8
    exact = alone(defect, level, omega, (200, 1, 1))
    short, long = (in_supercell(defect, level, omega, (n, 1, 1))[:, 0] for n in (8, 50))
    np.testing.assert_allclose(exact.total[:, 0], long, atol=2e-6)
    assert np.abs(short - long).max() > 1e-4
    assert np.isnan(exact.total[:, 1:]).all()
    assert min(np.abs(part[:, 0]).max() for part in (exact.surface, exact.sea, exact.static)) > 0.05


@pytest.mark.parametrize(("dimensions", "omega", "sizes", "mesh", "error"), [
    (2, 2.5, (6, 12), (48, 48, 1), 1e-4),
    (3, 6.0, (3, 6), (20, 20, 20), 2e-3),
])
def test_planes_and_crystals_are_the_limit_of_large_supercells(
    dimensions: int, omega: float, sizes: tuple[int, int], mesh: tuple[int, int, int], error: float
) -> None:
    """The finite-size error falls with exp(-L omega/2v); the larger supercell is within `error` of the embedded defect."""
    defect, level = random_defect(5, 1, dimensions, (), 1), -0.3
    exact = alone(defect, level, omega, mesh).total
    off = []
    for n in sizes:
        z = in_supercell(defect, level, omega, (n, n, n if dimensions == 3 else 1))
        off.append(np.abs((z - exact)[:, :dimensions]).max())
    assert off[1] < error
    assert off[1] < 0.02 * off[0]
