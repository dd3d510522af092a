"""Total response of a periodic system: routes that must agree, invariance of the basis, theorems."""

from __future__ import annotations

import numpy as np
import pytest
from response_models import random_mover, rebased

from emforce.errors import InputError
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


@pytest.mark.parametrize(("explicit", "path", "error"), [(8, (14, 10), 1e-6), (6, (8, 6), 2e-4), (4, (6, 4), 8e-3)])
def test_fewer_frequencies_cost_what_is_said(explicit: int, path: tuple[int, int], error: float) -> None:
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
