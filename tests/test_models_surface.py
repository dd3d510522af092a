"""Profiles of nanowires: conservation, symmetry, small waves against closed forms, and who thickens where."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.models import surface as s
from emforce.models.parameters import SurfaceParameters

#: a metal with round numbers
METAL = SurfaceParameters("W", 1000.0, 3.0, math.nan, 25.0, omega_angstrom3=16.0, gamma_J_m2=2.0, delta_s_angstrom=2.5,
                          d_s_m2_s=1e-12, sources={})


def wave(wire, k, size):
    return wire.radius_nm + size * np.cos(k * wire.x_nm)


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_a_small_wave_grows_or_decays_as_mullins_and_rayleigh_say(modes):
    # L = 4 pi r0: k r0 = 0.5, 1.0, 1.5; the first grows, the second stands, the third decays
    wire = s.Wire(5.0, 4 * math.pi * 5.0, 0.0, ends="periodic", cells=192)
    k = modes / 2 / 5.0
    t = 0.2
    found = s.evolve(METAL, wire, wave(wire, k, 5e-3), [0.0, t], 1e-9)
    size = 2 * np.mean(found.radius_nm * np.cos(k * wire.x_nm), axis=1)
    rate = math.log(size[1] / size[0]) / t
    assert rate == pytest.approx(s.growth_rate(k * 5.0).real, abs=2e-3 * (1 + (k * 5) ** 4))
    assert found.volume_change < 1e-12


@pytest.mark.parametrize("z", [3.0, -3.0])
def test_a_small_wave_runs_against_the_atoms(z):
    wire = s.Wire(5.0, 4 * math.pi * 5.0, 200.0, ends="periodic", cells=192)
    metal = replace(METAL, z_star=z)
    strength = s.chi(metal, wire)
    assert math.copysign(1, strength) == math.copysign(1, z)
    k, t = 0.5 / 5.0, 0.3
    found = s.evolve(metal, wire, wave(wire, k, 5e-3), [0.0, t], 1e-9)
    mode = np.mean(found.radius_nm * np.exp(-1j * k * wire.x_nm), axis=1)
    rate = np.log(mode[1] / mode[0]) / t
    expected = s.growth_rate(0.5, strength)
    assert rate.real == pytest.approx(expected.real, abs=3e-3)
    assert rate.imag == pytest.approx(expected.imag, rel=3e-3)


def test_error_falls_with_the_square_of_the_cell():
    k, t, errors = 1.5, 0.1, []
    for cells in (24, 48, 96):
        wire = s.Wire(1.0, 4 * math.pi / 1.5, 0.0, ends="periodic", cells=cells)
        found = s.evolve(METAL, wire, wave(wire, k, 1e-4), [0.0, t], 1e-10)
        size = np.mean(found.radius_nm * np.cos(k * wire.x_nm), axis=1)
        errors.append(abs(math.log(size[1] / size[0]) / t - s.growth_rate(k).real))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.15), (errors, orders)


def test_number_of_the_current_and_time_in_units():
    wire = s.Wire(5.0, 50.0, 100.0)
    j = 100e-6 / (math.pi * 25e-18)
    assert wire.current_density_MA_cm2 == pytest.approx(j * 1e-10)
    force = 3 * 1.602176634e-19 * 25e-8 * j
    assert s.chi(METAL, wire) == pytest.approx(force * 25e-18 / (2.0 * 16e-30))
    kT = 1.380649e-23 * 1000
    # B = D_s gamma Omega² nu/k_BT with nu = delta_s/Omega atoms per area (Mullins)
    expected = (5e-9) ** 4 * kT / (1e-12 * 2.0 * (16e-30) ** 2 * (2.5e-10 / 16e-30))
    assert s.tau_s(METAL, 5.0) == pytest.approx(expected)
    assert math.isnan(s.tau_s(replace(METAL, d_s_m2_s=math.nan), 5.0))


@pytest.mark.parametrize(("z", "end"), [(3.0, "come in"), (-30.0, "go out")])
@pytest.mark.parametrize("current", [40.0, -40.0])
@pytest.mark.parametrize("neck", [1.0, 0.6])
def test_upwind_atoms_thicken_the_end_where_the_electrons_come_in(z, end, current, neck):
    wire = s.Wire(4.0, 30.0, current, cells=80)
    metal = replace(METAL, z_star=z, rho_uohm_cm=25.0 / abs(z) * 3)
    found = s.evolve(metal, wire, wire.hourglass_nm(neck), [0.0, 0.05, 0.2])
    assert end in found.thickened(current)
    # F = e Z* E: atoms gather on the right for Z* I > 0, on the left otherwise
    assert np.all(np.diff(found.asymmetry) * z * current > 0)
    assert found.volume_change < 1e-12


def test_reversed_current_mirrors_the_profile_and_no_current_keeps_it_symmetric():
    wire = s.Wire(4.0, 30.0, 40.0, cells=60)
    start = wire.hourglass_nm(0.7)
    there, back, none = (s.evolve(METAL, replace(wire, current_uA=current), start, [0.1], 1e-8).radius_nm[0]
                         for current in (40.0, -40.0, 0.0))
    assert there == pytest.approx(back[::-1], abs=1e-6)
    assert none == pytest.approx(none[::-1], abs=1e-6)
    assert np.abs(there - none).max() > 1e-2
    still = s.evolve(METAL, replace(wire, current_uA=0.0), start, [0.0, 0.1])
    assert still.thickened(0.0) == "neither"


def test_current_is_balanced_by_curvature():
    """A steady profile exists for a weak current: r J = 0 everywhere, so kappa' = chi/r² (units of r0)."""
    wire = s.Wire(4.0, 10.0, 0.5, cells=100)
    found = s.evolve(METAL, wire, np.full(100, 4.0), [0.0, 30.0, 60.0], 1e-9)
    r, h = found.radius_nm[-1] / 4.0, 2.5 / 100
    assert np.abs(found.radius_nm[2] - found.radius_nm[1]).max() < 1e-5
    slope, bend = np.gradient(r, h)[2:-2], np.gradient(np.gradient(r, h), h)[2:-2]
    kappa = 1 / (r[2:-2] * np.sqrt(1 + slope**2)) - bend / (1 + slope**2) ** 1.5
    rise = np.gradient(kappa, h)[3:-3]
    expected = (s.chi(METAL, wire) / r**2)[5:-5]
    assert np.abs(rise - expected).max() < 0.02 * expected.mean()


def test_heat_drives_atoms_to_the_cold_end():
    wire = s.Wire(4.0, 20.0, 0.0, temperature_rise_K=50.0, cells=60)
    metal = replace(METAL, q_star_eV=0.2)
    found = s.evolve(metal, wire, np.full(60, 4.0), [0.0, 0.1])
    assert found.asymmetry[1] < -1e-6 and found.thickened(0.0) == "left"
    # along a cylinder a uniform force -Q* dlnT/dx acts as does that of a current
    force = 0.2 * math.log(1025 / 975) / 200
    assert s.heat_number(metal, wire) == pytest.approx(-force * 1600 / (2.0 / 16.02176634 * 16.0))
    with pytest.raises(InputError, match="q_star_eV"):
        s.evolve(METAL, wire, np.full(60, 4.0), [0.1])


def test_a_long_neck_breaks_and_says_when():
    wire = s.Wire(1.0, 12.0, 0.0, cells=120)
    found = s.evolve(METAL, wire, wire.hourglass_nm(0.3), [0.0, 1.0, 1e3], 1e-5)
    assert 0 < found.broke_tau < 1e3
    assert found.time_tau[-1] < found.broke_tau


def test_bad_input():
    wire = s.Wire(4.0, 20.0, 0.0)
    for bad in ({"radius_nm": 0.0}, {"length_nm": math.nan}, {"ends": "open"}, {"cells": 3}, {"current_uA": math.inf}):
        with pytest.raises(InputError, match=next(iter(bad))):
            replace(wire, **bad)
    with pytest.raises(InputError, match="temperature_rise_K"):
        s.Wire(4.0, 20.0, 0.0, temperature_rise_K=1.0, ends="periodic")
    with pytest.raises(InputError, match="radius_nm"):
        s.evolve(METAL, wire, np.zeros(wire.cells), [1.0])
    with pytest.raises(InputError, match="times"):
        s.evolve(METAL, wire, np.full(wire.cells, 4.0), [])
    with pytest.raises(InputError, match="neck"):
        wire.hourglass_nm(0.0)
