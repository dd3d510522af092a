"""Heat of transport: closed forms of a free-electron scatterer, the Sommerfeld limit, theorems, and the energy partition.

A scatterer with transport cross-section sigma_tr ~ eps^r in free electrons (N ~ eps^(3/2), DOS ~ eps^(1/2)), tau constant:
each electron hands over its momentum at the rate v sigma_tr per density, so

    m(eps) = -(N/Omega) m_e v sigma_tr ~ -eps^(3/2) eps^(1/2) eps^r,     K(eps) = K_F (eps/eps_F)^(r+2),    K_F < 0
    Q_el(E=0) = -(pi^2/3)(k_BT)^2 K'(0)/rho = +(pi^2/3) (k_BT)^2 (r + 2) |Z|/eps_F,        Z = K_F/rho = -|Z|
    S = -(pi^2/3)(k_B/e) k_BT (3/2)/eps_F                                                    negative
    -T e Z S = -(pi^2/3) (k_BT)^2 (3/2) |Z|/eps_F
    Q_el(J=0) = (pi^2/3) (k_BT)^2 (r + 1/2) |Z|/eps_F

to second order in T. r = -2: the valence does not depend on energy and Q_el(E=0) = 0. r = -1/2: the force is proportional to the
current at each energy, so without a current there is none, at every temperature and for every tau(eps).
"""

from __future__ import annotations

import numpy as np
import pytest

from emforce.errors import ConvergenceError, InputError
from emforce.physics.heat import (
    SCATTERING,
    Curve,
    TransportCurves,
    chemical_potential,
    electronic_heat,
    host_thermal,
    lattice_bounds,
    lattice_heat,
    mott_seebeck,
    open_circuit_heat,
    sommerfeld_heat,
    thermal_average,
)

FERMI = 7.0
WINDOW = np.linspace(-2.0, 2.0, 81)
KT = 0.02585
RHO = 2.0


def power(exponent: float, scale: float = 1.0, window: np.ndarray = WINDOW) -> Curve:
    return Curve(window, scale * (1 + window / FERMI) ** exponent)


FREE = TransportCurves(n=power(1.5, 40.0), dos=power(0.5, 0.3))


def parts(r: float, kT: float = KT, scattering: str = "constant") -> tuple[float, float, float]:
    """Q(E=0), S and Q(J=0) of the scatterer with K_F = -100."""
    thermal = host_thermal(FREE, kT, scattering)
    found = electronic_heat(power(r + 2, -100.0), RHO, FREE, thermal)
    return found.q, thermal.seebeck, open_circuit_heat(found.q, found.z_wind, thermal.seebeck, kT)


@pytest.mark.parametrize("r", [-2.0, -0.5, 0.0, 1.0])
def test_free_electron_scatterer_gives_the_analytic_slopes_and_signs(r):
    unit = np.pi**2 / 3 * KT**2 * (100 / RHO) / FERMI
    q, seebeck, open_circuit = parts(r)
    assert q == pytest.approx((r + 2) * unit, abs=2e-3 * unit)
    assert seebeck == pytest.approx(-(np.pi**2) / 3 * KT * 1.5 / FERMI, rel=2e-3)
    assert open_circuit == pytest.approx((r + 0.5) * unit, abs=2e-3 * unit)
    if r > -0.5:
        assert q > 0 > seebeck and open_circuit > 0  # hot electrons push towards the cold end


@pytest.mark.parametrize("scattering", SCATTERING)
@pytest.mark.parametrize("kT", [0.02, 0.1])
def test_a_force_proportional_to_the_current_needs_a_current(scattering, kT):
    assert abs(parts(-0.5, kT, scattering)[2]) < 1e-9


@pytest.mark.parametrize("kT", [0.02, 0.1])
def test_constant_valence_has_no_electronic_heat_without_field(kT):
    flat = Curve([-0.2, 0.0, 0.2], [-80.0, -80.0, -80.0])
    thermal = host_thermal(FREE, kT)
    found = electronic_heat(flat, RHO, FREE, thermal)
    assert abs(found.q) < 1e-12
    assert found.z_wind == pytest.approx(-40.0 / thermal.norm)
    assert open_circuit_heat(found.q, -40.0, thermal.seebeck, kT) == pytest.approx(40.0 * kT * thermal.seebeck, abs=1e-12)


@pytest.mark.parametrize("order", [None, 1, 2, 3])
def test_linear_k_is_sommerfeld_at_any_temperature(order):
    k = Curve([-0.2, -0.1, 0.0, 0.1, 0.2], [-100 - 37 * e for e in (-0.2, -0.1, 0.0, 0.1, 0.2)], order)
    host = TransportCurves(n=Curve(WINDOW, np.full(81, 40.0)), dos=Curve(WINDOW, np.full(81, 0.3)))
    for kT in (0.01, 0.05, 0.1):
        found = electronic_heat(k, RHO, host, host_thermal(host, kT))
        assert found.q == pytest.approx(sommerfeld_heat(-37.0, RHO, kT), rel=1e-9)
        assert found.z_wind == pytest.approx(-50.0, rel=1e-9)


def test_thermal_moments():
    """<1> = 1, <x^2> = pi^2/3, <x^4> = 7 pi^4/15 in units of k_BT; odd ones vanish."""
    assert thermal_average(lambda e: np.ones_like(e), KT, 0.3) == pytest.approx(1, rel=1e-12)
    assert thermal_average(lambda e: e**2, KT) == pytest.approx(np.pi**2 / 3 * KT**2, rel=1e-10)
    assert thermal_average(lambda e: e**4, KT) == pytest.approx(7 * np.pi**4 / 15 * KT**4, rel=1e-10)
    assert thermal_average(lambda e: e**3, KT) == pytest.approx(0, abs=1e-18)


def test_cubic_k_adds_its_fourth_moment():
    """K = a e + b e^3: Q = -(a <e^2> + b <e^4>)/rho."""
    k = Curve(WINDOW, 10 * WINDOW + 50 * WINDOW**3)
    host = TransportCurves(n=Curve(WINDOW, np.full(81, 40.0)), dos=Curve(WINDOW, np.full(81, 0.3)))
    wanted = -(10 * np.pi**2 / 3 * 0.05**2 + 50 * 7 * np.pi**4 / 15 * 0.05**4) / RHO
    assert electronic_heat(k, RHO, host, host_thermal(host, 0.05)).q == pytest.approx(wanted, rel=1e-6)


def test_share_from_beyond_the_window_grows_with_temperature():
    """For linear K: 1 - INT_(-c)^(c) x^2(-f')dx/(pi^2/3), c the window over k_BT."""
    from scipy.integrate import quad

    k = Curve([-0.2, 0.0, 0.2], [99.0, 100.0, 101.0])  # the constant changes nothing
    host = TransportCurves(n=Curve(WINDOW, np.full(81, 40.0)), dos=Curve(WINDOW, np.full(81, 0.3)))
    shares = []
    for kT in (0.02, 0.04, 0.08):
        c = 0.2 / kT
        inner = quad(lambda x: x**2 / (4 * np.cosh(x / 2) ** 2), -c, c)[0]
        found = electronic_heat(k, RHO, host, host_thermal(host, kT))
        assert found.share == pytest.approx(1 - inner / (np.pi**2 / 3), abs=1e-3)
        assert found.outside / found.q == pytest.approx(found.share)
        shares.append(found.share)
    assert shares == sorted(shares)


def test_chemical_potential_and_mott_seebeck_to_lowest_order():
    assert chemical_potential(FREE.dos, KT) == pytest.approx(-(np.pi**2) / 12 * KT**2 / FERMI, rel=1e-3)
    assert host_thermal(FREE, KT).seebeck == pytest.approx(mott_seebeck(FREE, KT), rel=2e-3)
    # with tau ~ 1/DOS the logarithmic slope of sigma loses that of the density of states
    assert host_thermal(FREE, KT, "inverse dos").seebeck == pytest.approx(-(np.pi**2) / 3 * KT * 1.0 / FERMI, rel=2e-3)


def test_hole_like_host_has_a_positive_seebeck_coefficient():
    host = TransportCurves(n=power(-1.5, 40.0), dos=power(0.5, 0.3))
    assert host_thermal(host, KT).seebeck > 0


def test_shift_tilt_and_sharpening_of_a_curve():
    cubic = Curve(WINDOW, 3 + 2 * WINDOW + WINDOW**2)
    assert float(cubic.shifted(0.1)(0.0)) == pytest.approx(3 + 0.2 + 0.01)
    assert cubic.slope(0.5) == pytest.approx(3.0)
    assert float(cubic.tilted(2.0, 1.0)(0.0)) == pytest.approx(4.0)
    assert cubic.tilted(2.0, 1.0).slope() == pytest.approx(2 * cubic.slope())
    # a Gaussian of width w adds w^2 to e^2
    assert float(cubic.sharpened(0.3)(0.7)) == pytest.approx(3 + 1.4 + 0.49 - 0.09)
    assert cubic.integral(np.array([1.0]))[0] == pytest.approx(3 + 1 + 1 / 3)


def test_other_guesses_between_the_points_of_a_curve():
    few = Curve([-0.2, -0.1, 0.0, 0.1, 0.2], [1.0, 2.0, 0.0, 1.0, 3.0])
    assert [other.order for other in few.alternatives()] == [2, 3]
    wide = np.array([-0.6, -0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4, 0.6])
    (other,) = Curve(wide, wide**3 - wide).alternatives()
    assert other.energies == pytest.approx([-0.6, -0.2, 0.0, 0.2, 0.6])
    assert other(np.linspace(-1, 1, 9)) == pytest.approx(Curve(wide, wide**3 - wide)(np.linspace(-1, 1, 9)))  # a cubic either way
    step = np.tanh(wide / 0.1)  # one that the points do not resolve: seen
    (other,) = Curve(wide, step).alternatives()
    assert abs(float(other(0.1)) - float(np.tanh(1.0))) > 0.1
    assert [c.window for c in Curve(wide[:-1], step[:-1]).alternatives()] == [(-0.6, 0.4)], "the end stays"


def test_sharpening_of_many_points_follows_a_fifth_order():
    e = np.linspace(-1.0, 1.0, 9)
    # to lowest order a Gaussian of width w adds w^2/2 times the second derivative
    assert Curve(e, e**4).sharpened(0.1).values == pytest.approx(e**4 - 0.06 * e**2)
    assert Curve(e, e**5).sharpened(0.1).values == pytest.approx(e**5 - 0.1 * e**3)


def test_curve_goes_on_along_its_tangent():
    curve = Curve([-1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert float(curve(2.0)) == pytest.approx(1 + 2.0)
    assert curve.integral(np.array([2.0]))[0] == pytest.approx(1 / 3 + 2.0)


@pytest.mark.parametrize("energies, values, order", [([0.0, 0.0], [1.0, 2.0], None), ([0.0], [1.0], None),
                                                     ([0.0, 1.0], [1.0, np.nan], None), ([0.0, 1.0], [1.0, 2.0], 2)])
def test_curve_refuses_points_that_are_none(energies, values, order):
    with pytest.raises(InputError):
        Curve(energies, values, order)


def test_unknown_scattering_temperature_and_resistivity_are_refused():
    with pytest.raises(InputError, match="constant, inverse dos"):
        host_thermal(FREE, KT, "none")
    with pytest.raises(InputError):
        host_thermal(FREE, 0.0)
    with pytest.raises(InputError):
        electronic_heat(power(1.0), 0.0, FREE, host_thermal(FREE, KT))
    with pytest.raises(ConvergenceError, match="widen the window"):
        chemical_potential(Curve([-0.01, 0.01], [0.0, 1.0]), 1.0)


# lattice part


def rate(barrier: float, weights: np.ndarray, positions: np.ndarray, kT: float, difference: float) -> float:
    """exp(-sum w E_m/k_B T(s)), the end plane `difference` (in eV) hotter than the start plane."""
    return float(np.exp(-(weights * barrier / (kT + 0.5 * positions * difference)).sum()))


def test_lattice_part_is_the_drift_of_rates_in_a_temperature_gradient():
    """(forth - back)/(2 Gamma) = -Q/(2 k_BT) dT/T for a small difference: the definition of Q in J = -(D C/k_BT) Q grad ln T."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        w = rng.random(6)
        w /= w.sum()
        s = rng.uniform(-1, 1, 6)
        kT, step = 0.05, 1e-6
        forth, back = rate(0.6, w, s, kT, step), rate(0.6, w, -s, kT, step)
        drift = (forth - back) / (forth + back)
        assert lattice_heat(0.6, w, s) == pytest.approx(-2 * drift * kT**2 / step, rel=1e-4)


def test_all_energy_at_the_start_plane_drives_to_the_cold_end_with_the_whole_barrier():
    assert lattice_heat(0.7, [1.0], [-1.0]) == 0.7
    assert lattice_heat(0.7, [1.0], [1.0]) == -0.7
    assert lattice_heat(0.7, [0.5, 0.25, 0.25], [0.0, -0.6, 0.6]) == pytest.approx(0.0, abs=1e-15)


def test_bounds_never_exceed_the_barrier():
    rng = np.random.default_rng(1)
    for _ in range(50):
        w = rng.random((2, 5))
        w /= w.sum(axis=1)[:, None]
        s = rng.normal(0, 2, (2, 5))
        found = lattice_bounds(0.4, {"mode": w[0], "path": w[1]}, {"start": s[0], "saddle": s[1]})
        assert -0.4 <= found.low <= found.high <= 0.4
        assert len(found.estimates) == 4 and found.low == min(found.estimates.values())


@pytest.mark.parametrize("barrier, weights, positions", [
    (0.0, [1.0], [0.0]), (0.5, [0.6, 0.6], [0.0, 0.0]), (0.5, [1.2, -0.2], [0.0, 0.0]), (0.5, [1.0], [0.0, 0.0]),
    (0.5, [1.0], [np.nan]), (0.5, [], []),
])
def test_partition_refuses_what_is_none(barrier, weights, positions):
    with pytest.raises(InputError):
        lattice_heat(barrier, weights, positions)
