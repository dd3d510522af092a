"""Stress evolution against closed forms, and the parameters it is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.models import continuum as c
from emforce.models.parameters import (
    ContinuumParameters,
    Given,
    HopParameters,
    SurfaceParameters,
    parse_given,
)

#: numbers that EMspice takes for copper; here they only have to be of a real size
CU = ContinuumParameters("Cu", 373.0, -10.0, math.nan, 3.0, d0_m2_s=7.5e-8, ea_eV=0.84, omega_angstrom3=11.82,
                         modulus_GPa=100.0, q_star_eV=0.17, sources={"z_star": "EMspice"})
LINE = c.Line(length_um=20.0, current_density_MA_cm2=1.0, cells=100)
TAU = LINE.length_um**2 * 1e-12 / c.kappa_m2_s(CU)


def test_units_of_the_force_and_of_kappa():
    # e Z* rho j = 10 x 3e-8 ohm m x 1e10 A/m² = 3000 eV/m, against the field
    assert c.force_eV_per_angstrom(CU, LINE) == pytest.approx(-10 * 3e-8 * 1e10 * 1e-10)
    kT = 1.380649e-23 * 373
    d = 7.5e-8 * math.exp(-0.84 * 1.602176634e-19 / kT)
    assert c.kappa_m2_s(CU) == pytest.approx(d * 1e11 * 1.182e-29 / kT)
    assert c.drift_velocity_nm_s(CU, LINE) == pytest.approx(-1e9 * d / kT * 1.602176634e-19 * 3000)
    assert c.stress_slope_MPa_um(CU, LINE) == pytest.approx(1e-12 * 3000 * 1.602176634e-19 / 1.182e-29)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_series_of_korhonen(method):
    times = TAU * np.array([0.001, 0.01, 0.1, 0.5])
    found = c.evolve(CU, LINE, times, method)
    scale = abs(c.stress_slope_MPa_um(CU, LINE)) * LINE.length_um
    for i, t in enumerate(times):
        inside, ends = c.korhonen_series_MPa(CU, LINE, t)
        assert np.abs(found.stress_MPa[i] - inside).max() < 1e-4 * scale
        assert (found.left_MPa[i], found.right_MPa[i]) == pytest.approx(tuple(ends), abs=3e-4 * scale)


def test_short_times_follow_the_square_root():
    times = TAU * np.array([2e-4, 2e-3, 2e-2])
    found = c.evolve(CU, replace(LINE, cells=800), times)
    expected = c.short_time_end_MPa(CU, LINE, times)
    assert found.left_MPa == pytest.approx(expected, rel=2e-3)
    assert found.right_MPa == pytest.approx(-expected, rel=2e-3)


def test_steady_stress_is_linear_and_is_reached():
    final = c.steady(CU, LINE)
    slope = c.stress_slope_MPa_um(CU, LINE)
    assert final.stress_MPa[0] == pytest.approx(slope * (final.x_um - 10.0), abs=1e-9)
    late = c.evolve(CU, LINE, [5 * TAU])
    assert late.stress_MPa[0] == pytest.approx(final.stress_MPa[0], abs=1e-4 * abs(slope) * 20)
    # Z* < 0, field along +x: atoms are pushed to x = 0, tension at x = L where the electrons enter
    assert final.right_MPa[0] > 0 > final.left_MPa[0]


def test_blech_product_is_where_the_end_just_reaches_the_critical_stress():
    critical = 40.0
    limit = c.blech_product_A_cm(CU, 2 * critical)  # two blocked ends: half of the difference at either
    assert limit == pytest.approx(80e6 * 1.182e-29 / (1.602176634e-19 * 10 * 3e-8) * 1e-2)
    j = limit / (LINE.length_um * 1e-4) * 1e-6
    assert c.nucleation_time_s(CU, replace(LINE, current_density_MA_cm2=0.999 * j), critical) == math.inf
    above = c.nucleation_time_s(CU, replace(LINE, current_density_MA_cm2=1.05 * j), critical)
    assert 0.1 * TAU < above < 2 * TAU
    assert c.blech_product_A_cm(replace(CU, z_star=0.0), 1.0) == math.inf


def test_nucleation_time_at_high_current_follows_from_the_square_root():
    line = replace(LINE, current_density_MA_cm2=50.0, cells=2000)
    slope = c.stress_slope_MPa_um(CU, line)
    critical = 0.02 * slope * line.length_um
    expected = math.pi / 4 / c.kappa_m2_s(CU) * (critical / slope * 1e-6) ** 2
    assert c.nucleation_time_s(CU, line, critical) == pytest.approx(expected, rel=3e-3)


def test_atoms_are_conserved_between_blocked_ends():
    line = replace(LINE, temperature_rise_K=60.0)
    found = c.evolve(CU, line, TAU * np.array([0.01, 0.1, 1.0]))
    # lost_um is the sum over all cells: rounding of the solver's linear algebra only
    assert np.abs(found.lost_um).max() < 1e-12 * LINE.length_um
    assert np.abs(found.stress_MPa).max() > 50


def test_reversed_current_mirrors_the_line():
    times = TAU * np.array([0.02, 0.3])
    there, back = (c.evolve(CU, replace(LINE, current_density_MA_cm2=j), times) for j in (1.0, -1.0))
    size = np.abs(there.stress_MPa).max()
    assert np.abs(there.stress_MPa - back.stress_MPa[:, ::-1]).max() < 1e-9 * size
    assert np.abs(there.stress_MPa + back.stress_MPa).max() < 1e-5 * size
    opposite = c.evolve(replace(CU, z_star=10.0), LINE, times)
    assert opposite.stress_MPa == pytest.approx(back.stress_MPa, abs=1e-9 * size)


def test_thermomigration_stops_at_q_dlnT():
    line = replace(LINE, current_density_MA_cm2=0.0, temperature_rise_K=100.0, cells=400)
    final = c.steady(CU, line)
    expected = c.thermal_stress_MPa(0.17, 11.82, 323.0, 423.0)
    assert expected == pytest.approx(0.17 * 1.602176634e-19 * math.log(423 / 323) / 1.182e-29 * 1e-6)
    assert final.right_MPa[0] - final.left_MPa[0] == pytest.approx(expected, rel=1e-5)
    # the solver in time gets there too, with D that changes fiftyfold along the line
    late = c.evolve(CU, line, [200 * TAU])
    assert late.right_MPa[0] - late.left_MPa[0] == pytest.approx(expected, rel=1e-3)
    assert late.right_MPa[0] > 0  # Q* > 0: atoms leave the hot end


def test_current_and_heat_can_balance():
    # uniform force e Z* E against Q* dlnT/dx at the middle: nothing moves there to first order
    rise = c.force_eV_per_angstrom(replace(CU, z_star=10.0), LINE) * 20e4 * 373 / 0.17
    line = replace(LINE, temperature_rise_K=rise, current_density_MA_cm2=1.0)
    alone = c.steady(replace(CU, z_star=10.0), LINE)
    both = c.steady(replace(CU, z_star=10.0), line)
    assert abs(both.right_MPa[0] - both.left_MPa[0]) < 0.1 * abs(alone.right_MPa[0] - alone.left_MPa[0])


def test_error_falls_with_the_square_of_the_cell():
    t = 0.05 * TAU
    errors = []
    for cells in (20, 40, 80):
        line = replace(LINE, cells=cells)
        found = c.evolve(CU, line, [t], "Radau", 1e-11)
        errors.append(np.abs(found.stress_MPa[0] - c.korhonen_series_MPa(CU, line, t)[0]).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.1), orders


def test_void_at_an_open_end():
    # Cu: atoms leave through x = 0 (an open end takes them); the void saturates at G L²/(2B)
    line = replace(LINE, left="open")
    final = c.steady(CU, line)
    slope = c.stress_slope_MPa_um(CU, line)
    assert final.stress_MPa[0] == pytest.approx(slope * final.x_um, rel=1e-9)
    assert final.lost_um[0] == pytest.approx(slope * 20**2 / 2 / 1e5, rel=1e-9)
    late = c.evolve(CU, line, [20 * TAU])
    assert late.lost_um[0] == pytest.approx(final.lost_um[0], rel=1e-4)
    # until the blocked end is felt, the void grows with the drift velocity
    times = TAU * np.array([1e-3, 5e-3])
    early = c.evolve(CU, line, times)
    assert early.lost_um == pytest.approx(-1e-3 * c.drift_velocity_nm_s(CU, line) * times, rel=1e-3)


def test_two_open_ends_pass_the_drift_velocity():
    line = replace(LINE, left="open", right="open")
    assert np.abs(c.steady(CU, line).stress_MPa).max() < 1e-9 * c.stress_slope_MPa_um(CU, line)


@pytest.mark.parametrize("bad", [
    {"length_um": 0.0}, {"current_density_MA_cm2": math.nan}, {"left": "shut"}, {"cells": 2}, {"temperature_rise_K": math.inf},
])
def test_bad_lines(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        replace(LINE, **bad)


def test_bad_questions():
    hot = replace(LINE, temperature_rise_K=10.0)
    with pytest.raises(InputError, match="q_star_eV"):
        c.evolve(replace(CU, q_star_eV=math.nan), hot, [1.0])
    with pytest.raises(InputError, match="temperature_rise_K"):
        c.steady(CU, replace(LINE, temperature_rise_K=800.0))
    with pytest.raises(InputError, match="times_s"):
        c.evolve(CU, LINE, [2.0, 1.0])
    with pytest.raises(InputError, match="critical"):
        c.nucleation_time_s(CU, LINE, -1.0)
    with pytest.raises(InputError, match="ends"):
        c.nucleation_time_s(CU, replace(LINE, left="open"), 1.0)
    with pytest.raises(InputError, match="modulus_GPa"):
        replace(CU, modulus_GPa=-1.0)


# parameters

ROW = {"id": 7, "metal": "Cu", "facet": "100", "defect": "adatom", "hop": "a-b", "site": "hop average", "preset": "quick",
       "temperature_K": 600.0, "rho_uohm_cm": 3.8, "rho_source": "a table", "z_wind": -30.0, "z_wind_sigma": 6.0,
       "hop_vector_angstrom": [2.556, 0.0, 0.0]}


def test_a_row_gives_what_it_has_and_names_what_it_lacks():
    hop = HopParameters.from_row(ROW)
    assert (hop.z_star, hop.z_star_sigma, hop.hop_angstrom, hop.rho_uohm_cm) == (-30.0, 6.0, 2.556, 3.8)
    assert math.isnan(hop.gamma0_per_s)
    assert "wind part only" in hop.sources["z_star"] and "row 7" in hop.sources["z_star"]
    assert hop.sources["rho_uohm_cm"] == "a table"
    with pytest.raises(InputError, match="d0_m2_s, ea_eV, modulus_GPa: None"):
        ContinuumParameters.from_row(ROW)
    with pytest.raises(InputError, match="gamma_J_m2"):
        SurfaceParameters.from_row(ROW)
    with pytest.raises(InputError, match="temperature_K"):
        HopParameters.from_row({**ROW, "temperature_K": None})


def test_total_valence_and_kinetics_of_a_row_are_used():
    row = {**ROW, "z_star": -29.0, "z_star_sigma": 7.0, "direct_model": "dft", "barrier_eV": 0.5, "nu0_THz": 2.0,
           "d0_m2_s": 1e-7, "ea_eV": 0.8, "kinetics_condition": "adatom", "q_star_eV": 0.1, "q_condition": "J=0"}
    hop = HopParameters.from_row(row)
    assert (hop.z_star, hop.z_star_sigma) == (-29.0, 7.0)
    assert hop.gamma0_per_s == pytest.approx(2e12 * math.exp(-0.5 * 1.602176634e-19 / (1.380649e-23 * 600)))
    given = {"modulus_GPa": Given(100.0, "a book"), "gamma_J_m2": Given(1.0)}
    line = ContinuumParameters.from_row(row, given)
    assert (line.d0_m2_s, line.q_star_eV, line.modulus_GPa) == (1e-7, 0.1, 100.0)
    assert line.sources["modulus_GPa"] == "a book"
    wire = SurfaceParameters.from_row(row, given)
    assert wire.d_s_m2_s == pytest.approx(float(line.d_m2_s(600.0)))
    assert wire.delta_s_angstrom == pytest.approx(wire.omega_angstrom3 ** (1 / 3))
    assert wire.sources["gamma_J_m2"] == "given without a source"
    assert 11.7 < wire.omega_angstrom3 < 11.9  # 4 atoms in (3.615 Angstrom)³
    names = [name for name, _, _ in wire.table()]
    assert "gamma_J_m2" in names and "q_star_eV" in names


def test_given_numbers():
    found = parse_given(["barrier_eV=0.5 # J. Doe 1999", "W.gamma_J_m2 = 3", "z_star=-2"])
    assert found == {"": {"barrier_eV": Given(0.5, "J. Doe 1999"), "z_star": Given(-2.0)}, "W": {"gamma_J_m2": Given(3.0)}}
    assert HopParameters.from_row(ROW, found[""]).z_star == -2.0
    for bad in ("barrier", "barrier_eV=", "what=1", "barrier_eV=x", "barrier_eV=nan"):
        with pytest.raises(InputError, match="--set"):
            parse_given([bad])
