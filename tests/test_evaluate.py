"""What follows from a stored row: identities between the evaluated keys, limits, and what is not there."""

from __future__ import annotations

import math

import pytest
import synthetic

from emforce import units
from emforce.errors import CheckError, InputError
from emforce.evaluate import DIRECT_MODELS, Situation, Wire, drude_number, evaluate
from emforce.keys import KEYS
from emforce.materials import material
from emforce.physics.wire import WireModel
from emforce.record import Record

HOST = {"id": 1, "basis": "vp", "functional": "PBE", "omega_p_eV": 9.0, "rho_lambda_fohm_m2": 0.67}
DIRECT = {"z_direct": 0.4, "z_direct_sigma_parts": {"drift": 0.3, "smearing": 0.4}}
HEAT = {"temperature_K": [300.0, 500.0, 700.0], "q_star_eV": [0.1, 0.3, math.nan], "q_star_sigma_eV": [0.01, 0.02, math.nan]}


def row(**changes: object) -> dict:
    return synthetic.record(**changes).document()


def test_total_is_direct_plus_wind():
    found = evaluate(row(**DIRECT), Situation(600.0))
    rho, K = material("Cu").rho_uohm_cm(600.0), found["k_wind_uohm_cm"]
    assert found["z_star"] == pytest.approx(0.4 + K / rho, rel=1e-14)
    assert found["z_star_sigma"] == pytest.approx(math.hypot(0.5, found["z_wind_sigma"]), rel=1e-14)
    assert (found["z_star_low"] + found["z_star_high"]) / 2 == pytest.approx(found["z_star"])
    assert found["direction_total"] == "downwind" and found["direct_model"] == "dft"
    # F/j = e Z* rho, in fN per TA/m²
    force = 1.602176634e-19 * found["z_star"] * rho * 1e-8 * 1e12 * 1e15
    assert found["force_per_j_fN_m2_TA"] == pytest.approx(force, rel=1e-12)
    assert list(found) == [key.name for key in KEYS]


def test_uncertainty_of_rho_enters_where_it_is_known():
    tungsten = row(metal="W", species="W", k_wind_uohm_cm=70.0)
    found = evaluate(tungsten, Situation(600.0))
    relative = material("W").rho_sigma_uohm_cm(600.0) / material("W").rho_uohm_cm(600.0)
    assert relative > 0.01 and found["rho_sigma_uohm_cm"] == pytest.approx(relative * found["rho_uohm_cm"])
    expected = abs(found["z_wind"]) * math.hypot(found["k_wind_sigma_uohm_cm"] / 70.0, relative)
    assert found["z_wind_sigma"] == pytest.approx(expected, rel=1e-12)
    given = evaluate(tungsten, Situation(600.0, resistivity=lambda *_: 13.0))
    assert given["rho_sigma_uohm_cm"] is None and given["z_wind_sigma"] == pytest.approx(found["k_wind_sigma_uohm_cm"] / 13.0)


@pytest.mark.parametrize("model", DIRECT_MODELS)
def test_models_of_the_direct_part(model):
    found = evaluate(row(), Situation(300.0, model), HOST)
    direct = {"dft": None, "nominal": 1.0, "drude": drude_number("Cu", HOST), "none": 0.0}[model]
    assert found["direct_model"] == model and found["z_direct_used"] == direct
    if direct is None:  # nothing stands in for what was not computed
        assert found["z_star"] is None and found["z_star_low"] is None and found["direction_total"] == ""
    else:
        assert found["z_star"] == pytest.approx(found["z_wind"] + direct)
        assert found["z_star_sigma"] == pytest.approx(found["z_wind_sigma"])


def test_drude_number_of_a_host():
    electrons = units.m_e * material("Cu").volume_per_atom("PBE") * units.epsilon0 * 81.0
    assert drude_number("Cu", HOST) == pytest.approx(electrons) and 0.6 < electrons < 0.8
    assert drude_number("Cu", None) is None and evaluate(row(), Situation(300.0, "drude"))["z_star"] is None


def test_an_interval_stays_an_interval():
    found = evaluate(row(z_direct_low=-0.5, z_direct_high=0.7), Situation(600.0))
    wind, sigma = found["z_wind"], found["z_wind_sigma"]
    assert found["z_star"] is None and found["z_direct_used"] is None
    assert (found["z_star_low"], found["z_star_high"]) == pytest.approx((wind - sigma - 0.5, wind + sigma + 0.7))
    wide = evaluate(row(z_direct_low=-100.0, z_direct_high=100.0), Situation(600.0))
    assert wide["direction"] == "downwind" and wide["direction_total"] == "undecided"


def test_thick_wires_are_bulk_and_thin_ones_resist():
    bulk = evaluate(row(), Situation(400.0))
    thick = evaluate(row(), Situation(400.0, wire=Wire(1e7)), HOST)
    thin = evaluate(row(), Situation(400.0, wire=Wire(5.0, WireModel(reflection=0.3))), HOST)
    assert thick["z_wind"] == pytest.approx(bulk["z_wind"], rel=1e-4)
    assert thin["rho_uohm_cm"] > 2 * bulk["rho_uohm_cm"] and abs(thin["z_wind"]) < abs(bulk["z_wind"]) / 2
    assert thin["wire_diameter_nm"] == 5.0 and "R = 0.3" in thin["rho_source"] and "host" in thin["rho_source"]
    # e K: the wind's part of the force per current density does not depend on the wire
    forces = [evaluate(row(), Situation(400.0, "none", wire), HOST)["force_per_j_fN_m2_TA"] for wire in (None, Wire(5.0))]
    assert forces[0] == pytest.approx(forces[1])
    published = evaluate(row(), Situation(400.0, wire=Wire(5.0)))  # without a host: the materials file
    assert material("Cu").rho_lambda.source in published["rho_source"]


def test_kinetics():
    values = {"d0_m2_s": 2e-7, "d0_sigma_m2_s": 4e-8, "ea_eV": 0.5, "ea_sigma_eV": 0.03, "nu0_THz": 3.0, "nu0_sigma_THz": 1.0,
              "barrier_eV": 0.5, "barrier_sigma_eV": 0.03}  # fmt: skip
    cold, hot = (evaluate(row(**values), Situation(T)) for T in (300.0, 600.0))
    slope = math.log(hot["d_m2_s"] / cold["d_m2_s"]) / (1 / (8.617333262e-5 * 300) - 1 / (8.617333262e-5 * 600))
    assert slope == pytest.approx(0.5, rel=1e-8)
    assert math.log(cold["d_factor"]) == pytest.approx(math.hypot(0.2, 0.03 / (8.617333262e-5 * 300)), rel=1e-8)
    assert hot["rate_per_s"] / 3e12 == pytest.approx(hot["d_m2_s"] / 2e-7)


@pytest.mark.parametrize(
    "temperature, value", [(300.0, 0.1), (400.0, 0.2), (500.0, 0.3), (600.0, None), (700.0, None), (299.0, None), (701.0, None)]
)
def test_heat_between_its_temperatures_only(temperature, value):
    found = evaluate(row(q_of_temperature=HEAT), Situation(temperature))
    assert found["q_star_eV"] == (None if value is None else pytest.approx(value)) and found["q_el_eV"] is None


def test_published_values_hold_at_their_temperatures():
    item = Record(
        spec="literature x", metal="Au", facet="bulk", defect="vacancy", hop="vacancy-110", site="hop average", species="Au",
        preset="literature", method="measured", z_star_reported=-8.0, reported_low_K=1100.0, reported_high_K=1200.0,
        d0_m2_s=1e-5, ea_eV=1.8, status="literature", source="a book", provenance={"seen": "here"},
    )  # fmt: skip
    inside, outside = (evaluate(item.document(), Situation(T)) for T in (1150.0, 600.0))
    assert inside["z_star"] == -8.0 and inside["z_star_sigma"] is None and inside["direct_model"] == "reported"
    assert inside["direction_total"] == "undecided" and inside["d_m2_s"] > 0  # no sigma, no direction
    assert outside["z_star"] is None and outside["d_m2_s"] is None and outside["direction_total"] == ""
    assert evaluate(item.document(), Situation(1150.0, wire=Wire(5.0)))["z_star"] is None


def test_what_needs_no_resistivity_is_given_without_one():
    kinetics = {"d0_m2_s": 2e-7, "d0_sigma_m2_s": 4e-8, "ea_eV": 4.0, "ea_sigma_eV": 0.1}
    mover = row(metal="Mo", species="Mo", k_wind_uohm_cm=math.nan, k_wind_sigma_parts_uohm_cm={}, **kinetics)
    high = material("Mo").temperature_range_K[1] + 100
    if high < material("Mo").melting_temperature.value:
        found = evaluate(mover, Situation(high))
        assert found["d_m2_s"] > 0 and found["rho_uohm_cm"] is None
    with pytest.raises(InputError, match="melts"):
        evaluate(mover, Situation(3000.0))
    with pytest.raises(InputError, match="temperature"):
        evaluate(row(), Situation(5000.0))


@pytest.mark.parametrize(
    "arguments, word", [((0.0,), "temperature"), ((math.nan,), "temperature"), ((300.0, "guess"), "nominal")]
)
def test_bad_situations(arguments, word):
    with pytest.raises(InputError, match=word):
        Situation(*arguments)
    with pytest.raises(InputError, match="nm"):
        Wire(-1.0)
    with pytest.raises(CheckError, match="not positive"):
        evaluate(row(), Situation(300.0, resistivity=lambda *_: -1.0))
