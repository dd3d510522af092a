"""Heat capacities and Debye temperatures: closed forms and limits."""

import math

import numpy as np
import pytest
from scipy import constants as c

from emforce.errors import InputError
from emforce.physics.debye import (
    THZ_IN_K,
    acoustic_debye_temperature,
    debye_heat_capacity,
    debye_temperature,
    directions,
    heat_capacity,
)


def debye_spectrum(theta, n=20000):
    """Frequencies of a Debye model, equally likely: f = f_D u^(1/3)."""
    u = (np.arange(n) + 0.5) / n
    return (theta / THZ_IN_K * u ** (1 / 3))[:, None], np.ones(n)


@pytest.mark.parametrize("T", [40.0, 150.0, 300.0, 900.0])
def test_debye_spectrum_gives_back_its_temperature(T):
    assert debye_temperature(*debye_spectrum(343.0), T) == pytest.approx(343.0, rel=1e-4)


def test_cold_limit_is_the_cube_law():
    """12 pi⁴/5 (T/Theta)³ per atom, a third of it per mode."""
    assert debye_heat_capacity(400.0, 4.0) == pytest.approx(4 * math.pi**4 / 5 * 1e-6, rel=1e-8)


def test_hot_limit_is_dulong_and_petit():
    assert debye_heat_capacity(300.0, 30000.0) == pytest.approx(1 - 1 / 20 * 1e-4, abs=1e-9)
    assert heat_capacity([[5.0, 8.0, 0.0]], [1.0], 1e5) == pytest.approx(1.0, abs=1e-5)


def test_one_frequency_is_einsteins_formula():
    x = 1.7
    expected = x**2 * math.exp(x) / (math.exp(x) - 1) ** 2
    assert heat_capacity([[x * 300 / THZ_IN_K]], [2.0], 300.0) == pytest.approx(expected, rel=1e-12)
    assert THZ_IN_K == pytest.approx(47.9924, abs=1e-4)


def test_weights_are_multiplicities():
    f = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert heat_capacity(f, [1, 2], 50.0) == pytest.approx(heat_capacity(f[[0, 1, 1]], [1, 1, 1], 50.0), rel=1e-14)


def test_isotropic_sound_is_the_textbook_formula():
    n, w = directions()
    v, volume = 25.0, 12.0
    expected = c.hbar / c.k * v * 100 * (6 * math.pi**2 / (volume * 1e-30)) ** (1 / 3)
    assert acoustic_debye_temperature(np.full((len(n), 3), v), w, volume) == pytest.approx(expected, rel=1e-12)
    unequal = np.tile([20.0, 20.0, 40.0], (len(n), 1))
    mean = (3 / (2 / 20**3 + 1 / 40**3)) ** (1 / 3)
    assert acoustic_debye_temperature(unequal, w, volume) == pytest.approx(expected * mean / v, rel=1e-12)


def test_sphere_is_integrated_exactly():
    n, w = directions(6)
    assert w.sum() == pytest.approx(4 * math.pi, rel=1e-14)
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", w, n, n), 4 * math.pi / 3 * np.eye(3), atol=1e-13)
    assert w @ (n[:, 0] ** 2 * n[:, 1] ** 2 * n[:, 2] ** 2) == pytest.approx(4 * math.pi / 105, rel=1e-12)


def test_simple_cubic_springs_have_both_limits():
    """Scalar springs: omega² = 4 k/m sum sin²(q a/2) in each polarisation; v = a sqrt(k/m) in all directions."""
    a, root = 3.0, 20.0  # sqrt(k/m) in rad THz
    N = 90
    q = (np.arange(N) + 0.5) / N * math.pi  # q a/2 runs over half of it by symmetry
    sines = np.sin(q / 2) ** 2
    f = 2 * root * np.sqrt(sines[:, None, None] + sines[None, :, None] + sines[None, None, :]).reshape(-1, 1) / (2 * math.pi)
    n, w = directions(4)
    limit = acoustic_debye_temperature(np.full((len(n), 3), a * root), w, a**3)
    warmer, colder = (debye_temperature(f, np.ones(len(f)), limit / T) for T in (25, 40))
    extrapolated = colder + (colder - warmer) / ((40 / 25) ** 2 - 1)  # Theta(T) = Theta_0 - b T² + ...
    assert warmer < colder < limit and extrapolated == pytest.approx(limit, rel=5e-3)
    second_moment = math.sqrt(5 / 3 * float((f**2).mean())) * THZ_IN_K  # hot limit of Theta(T)
    assert debye_temperature(f, np.ones(len(f)), 20 * limit) == pytest.approx(second_moment, rel=1e-3)


@pytest.mark.parametrize("call", [
    lambda: heat_capacity([[-0.1]], [1.0], 300.0), lambda: heat_capacity([[1.0]], [1.0, 1.0], 300.0),
    lambda: heat_capacity([[1.0]], [1.0], 0.0), lambda: heat_capacity([[1.0]], [-1.0], 300.0),
    lambda: acoustic_debye_temperature([[1.0, 1.0, 0.0]], [1.0], 10.0), lambda: debye_heat_capacity(-1.0, 3.0),
    lambda: acoustic_debye_temperature([[1.0, 1.0, 1.0]], [1.0], math.nan), lambda: directions(1),
    lambda: acoustic_debye_temperature([[1.0, 1.0]], [1.0], 10.0),
])  # fmt: skip
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
