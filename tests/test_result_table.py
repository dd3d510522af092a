"""The table at the end of a run: Z* where the direct valence is known, Z_wind where it is not."""

from __future__ import annotations

import math

import numpy as np
import synthetic

from emforce.tables import result_table


def rho(metal: str, T: float) -> float:
    return 2.0 * T / 300


def cells(text: str) -> tuple[list[str], list[list[str]]]:
    lines = text.splitlines()
    starts = [i for i in range(len(lines[1])) if lines[1][i] == "-" and (i == 0 or lines[1][i - 1] == " ")]
    ends = [*starts[1:], None]
    split = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines]
    return split[0], split[2:]


def row(**changes):
    return synthetic.record(k_wind_uohm_cm=-100.0, k_wind_sigma_parts_uohm_cm={"fermi_energy": 10.0}, **changes).document()


def known(value: float, sigma: float):
    return {"z_direct": value, "z_direct_sigma": sigma, "z_direct_sigma_parts": {"drift": sigma}}


def test_without_any_direct_valence_the_wind_alone_is_shown():
    head, (line,) = cells(result_table([row()], (300.0, 600.0), rho))
    assert head[4:] == ["K_wind (µΩ cm)", "Z_wind(300 K)", "Z_wind(600 K)", "direction"]
    assert line[4:] == ["-100 ± 10", "-50.0 ± 5.0", "-25.0 ± 2.5", "downwind"]


def test_with_it_the_sum():
    head, (line,) = cells(result_table([row(**known(0.7, 0.2))], (300.0, 600.0), rho))
    assert head[4:] == ["K_wind (µΩ cm)", "Z_direct", "Z*(300 K)", "Z*(600 K)", "direction"]
    assert line[5] == "0.70 ± 0.20"
    assert float(line[6].split()[0]) == -49.3
    assert float(line[7].split()[0]) == -24.3
    assert line[8] == "downwind"


def test_a_direction_that_changes_with_temperature_is_said():
    _, (line,) = cells(result_table([row(**known(30.0, 0.1))], (300.0, 900.0), rho))
    assert line[8] == "changes with T"


def test_an_interval_stands_as_one():
    _, (line,) = cells(result_table([row(z_direct_low=-1.0, z_direct_high=2.0)], (300.0,), rho))
    assert line[5] == "-1 to 2"
    low, high = (float(x) for x in line[6].split(" to "))
    assert np.isclose(low, -50 - 1 - 5, rtol=0.01)
    assert np.isclose(high, -50 + 2 + 5, rtol=0.01)


def test_a_row_without_it_beside_one_that_has_it():
    lines = cells(result_table([row(**known(0.7, 0.2)), row(site="initial", fraction=0.0)], (300.0,), rho))[1]
    assert sorted(line[6] == "-" for line in lines) == [False, True]
    assert not math.isnan(float(lines[0][4].split()[0]))
