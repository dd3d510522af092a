"""Effective valence: sums, uncertainties against random numbers, the change of sign against Fieller's theorem."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants as c

from emforce import units
from emforce.errors import InputError
from emforce.physics.valence import (
    DIAMETER_RANGE,
    Estimate,
    drude_number,
    effective_valence,
    force_per_current,
    probability_positive,
    sign_change,
    wind_valence,
    wire_resistivity,
)
from emforce.physics.wire import WireModel

K, RHO, DIRECT = Estimate(-114.0, 22.0), Estimate(1.723, 0.02), Estimate(0.8, 0.3)


def test_sum_and_its_limits():
    z = effective_valence(K, RHO, DIRECT)
    assert z.value == pytest.approx(0.8 - 114 / 1.723)
    assert effective_valence(K, Estimate(1e9), DIRECT).value == pytest.approx(0.8)  # the wind fades
    assert effective_valence(Estimate(0.0), RHO, DIRECT) == DIRECT
    assert force_per_current(K, RHO, DIRECT).value == pytest.approx(z.value * RHO.value)


def test_uncertainties_against_random_numbers():
    random = np.random.default_rng(1)
    n = 200_000
    k, rho, direct = (random.normal(e.value, e.sigma, n) for e in (K, RHO, DIRECT))
    for found, sample in ((wind_valence(K, RHO), k / rho), (effective_valence(K, RHO, DIRECT), direct + k / rho),
                          (force_per_current(K, RHO, DIRECT), direct * rho + k)):
        assert found.value == pytest.approx(sample.mean(), abs=5 * sample.std() / math.sqrt(n))
        assert found.sigma == pytest.approx(sample.std(), rel=0.01)
    z = Estimate(0.7, 1.1)
    assert probability_positive(z) == pytest.approx((random.normal(0.7, 1.1, n) > 0).mean(), abs=0.005)


def test_probability():
    assert probability_positive(Estimate(0.0, 1.0)) == 0.5
    assert probability_positive(Estimate(1.0, 1.0)) == pytest.approx(0.841345, abs=1e-6)
    assert probability_positive(Estimate(3.0)) == 1 and probability_positive(Estimate(-3.0)) == 0
    assert probability_positive(Estimate(0.0)) == 0.5


def test_uncertainty_of_a_wire():
    """Thin: that of rho lambda only (rho = rho_lambda/d); thick: that of the bulk only; between: against differences."""
    bulk, path, model = Estimate(5.0, 0.1), Estimate(800.0, 40.0), WireModel()
    assert wire_resistivity(model, bulk, path, 0.05).relative == pytest.approx(0.05, rel=0.01)
    assert wire_resistivity(model, bulk, path, 1e6).relative == pytest.approx(0.02, rel=0.01)
    assert wire_resistivity(model, bulk, path, math.inf) == bulk
    random = np.random.default_rng(2)
    sample = [model.resistivity(random.normal(5, 0.1), random.normal(800, 40), 60.0) for _ in range(500)]
    assert wire_resistivity(model, bulk, path, 60.0).sigma == pytest.approx(np.std(sample), rel=0.1)


def test_drude_number():
    """omega_p^2 = n e^2/(eps0 m): free electrons give their number back, in any unit of volume."""
    density = 3 / 16.5  # per A^3
    omega_p = math.sqrt(density * 1e30 * c.e**2 / (c.epsilon_0 * c.m_e))
    assert drude_number(c.hbar * omega_p / c.e, 16.5) == pytest.approx(3.0, rel=1e-9)
    # Cu, 11.95 A^3: plasma energy 8.85 eV from plane waves, 9.34 eV from GPAW's dzp basis
    assert drude_number(8.85, 11.95) == pytest.approx(0.68, abs=0.01)
    assert drude_number(9.34, 11.95) == pytest.approx(0.75, abs=0.01)
    assert drude_number(1.0, 1.0) == pytest.approx(units.m_e * units.epsilon0)


@pytest.mark.parametrize(("bulk", "k", "direct"), [(2.0, -100.0, 6.0), (5.0, 60.0, -1.5), (2.0, -30.0, 1.0)])
def test_sign_change_where_it_must_be(bulk, k, direct):
    model, path = WireModel(0.2, 0.3), Estimate(700.0)
    found = sign_change(model, Estimate(bulk), path, Estimate(k), Estimate(direct))
    assert found.undecided == ()  # no uncertainty, no undecided range
    assert model.resistivity(bulk, 700.0, found.diameter) == pytest.approx(-k / direct, rel=1e-6)
    assert found.thin.value * found.bulk.value < 0


def test_undecided_range_is_that_of_fieller():
    """(Z_direct + K x)^2 <= sigma_Z^2 + sigma_K^2 x^2 with x = 1/rho: a quadratic, whose roots are the borders."""
    model, bulk, path = WireModel(), Estimate(2.0), Estimate(700.0)
    k, direct = Estimate(-100.0, 20.0), Estimate(6.0, 1.0)
    found = sign_change(model, bulk, path, k, direct)
    roots = np.roots([k.value**2 - k.sigma**2, 2 * k.value * direct.value, direct.value**2 - direct.sigma**2])
    ((low, high),) = found.undecided
    assert low < found.diameter < high
    borders = sorted(1 / model.resistivity(2.0, 700.0, d) for d in (low, high))
    assert borders == pytest.approx(sorted(roots), rel=1e-5)


def test_no_change_of_sign():
    model, bulk, path = WireModel(), Estimate(5.0), Estimate(800.0)
    same = sign_change(model, bulk, path, Estimate(50.0, 5.0), Estimate(6.0))
    assert same.diameter is None and same.undecided == ()
    assert same.bulk.value == pytest.approx(16.0) and same.thin.value < same.bulk.value
    # an uncertain wind alone is as uncertain in every wire
    wind = sign_change(model, bulk, path, Estimate(50.0, 60.0), Estimate(0.0))
    assert wind.diameter is None
    assert wind.undecided == (pytest.approx(DIAMETER_RANGE),)
    # an uncertain direct part: undecided where the wind has faded, decided in the bulk
    ((low, high),) = sign_change(model, bulk, path, Estimate(50.0, 5.0), Estimate(-0.1, 1.0)).undecided
    assert low == pytest.approx(DIAMETER_RANGE[0]) and high < 100


@pytest.mark.parametrize("make", [
    lambda: Estimate(math.nan), lambda: Estimate(1.0, -1.0), lambda: Estimate(1.0, math.inf),
    lambda: wind_valence(K, Estimate(0.0)), lambda: force_per_current(K, Estimate(-1.0), DIRECT),
    lambda: drude_number(-1.0, 10.0), lambda: drude_number(9.0, math.nan),
    lambda: wire_resistivity(WireModel(), RHO, Estimate(700.0), -5.0),
])
def test_bad_numbers(make):
    with pytest.raises(InputError):
        make()
