"""Values of the direct valence from responses whose split is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic

from emforce.direct_assess import NOT_ESTIMATED, DirectValue, assess_direct, average_direct
from emforce.direct_jobs import direct
from emforce.direct_plan import STILL_TO_COME
from emforce.units import uohm_cm

OMEGAS = (0.1, 0.15, 0.2, 0.3, 0.4)
M, Z_DIRECT = np.diag([-1.2, -0.8, 0.3]), np.array([[0.4, 0.1, 0.0], [0.0, -0.2, 0.0], [0.0, 0.0, 0.7]])
BULK = {"volume": 12.0, "n": 4.0, "check": {"dos_ratio": 1.02, "omega_p_ratio": 0.98}}


class Finished:
    def __init__(self, values):
        self.values = values


def response(omega: float, z: np.ndarray, curve: float = 0.0, factor: float = 1.0) -> Finished:
    total = factor * M / omega + z + curve * omega
    image = {"total": total.tolist(), "static": z.tolist(), "surface": (M / omega).tolist(),
             "sea": (curve * omega * np.eye(3)).tolist(), "m": (factor * M).tolist(), "condition": 10.0 + omega,
             "edge": (0.03 * np.eye(3)).tolist()}
    return Finished({"omega": omega, "fermi_energy": 5.0, "images": [image, image]})


def joined(curve: float = 0.0) -> dict:
    needs = {f"response {w:g}": response(w, Z_DIRECT, curve) for w in OMEGAS}
    # another radius: another m, and Z_direct higher by 0.07; other levels: lower by 0.02, higher by 0.05
    varied = {"region 6": (0.8, 0.07), "low": (0.9, -0.02), "high": (1.2, 0.05)}
    others = {name: response(0.2, Z_DIRECT + d * np.eye(3), curve, factor) for name, (factor, d) in varied.items()}
    entries = [{"part": "region" if name.startswith("region") else "fermi_energy", "response": name} for name in varied]
    inputs = {"responses": list(needs), "middle": "response 0.2", "variations": entries, "edge": True}
    return direct(inputs, needs | others, None, None, None)


def values(curve: float = 0.0, rotations: np.ndarray | None = None) -> list[DirectValue]:
    turns = np.eye(3)[None] if rotations is None else rotations
    return assess_direct(joined(curve), BULK, [(0, 1, 2), (0,)], [turns, np.eye(3)[None]])


def test_the_split_comes_back_with_its_parts():
    first = values(curve=0.3)[0]
    assert first.tensor == pytest.approx(Z_DIRECT, abs=1e-9)
    assert first.value == pytest.approx(0.4, abs=1e-9)
    assert first.remainder == pytest.approx(0.4 + 0.3 * np.array(OMEGAS))
    assert first.parts["drift"] == pytest.approx(0.3 * 0.2)
    assert first.parts["limit"] == pytest.approx(0.0, abs=1e-9)
    assert first.parts["basis"] == pytest.approx(0.4 * max(0.02, 1 - 0.98**2))
    assert first.parts["region"] == pytest.approx(0.07)
    assert first.parts["fermi_energy"] == pytest.approx(0.05)
    assert first.parts["edge"] == pytest.approx(0.03)
    assert all(math.isnan(first.parts[name]) for name in NOT_ESTIMATED if name not in ("region", "edge", "fermi_energy"))
    assert first.sigma == pytest.approx(math.hypot(0.06, 0.07, 0.03, 0.05, first.parts["basis"]))
    assert first.k_free == pytest.approx(M[0, 0] * BULK["volume"] / BULK["n"] / uohm_cm)
    assert first.total == pytest.approx([M[0, 0] / w + 0.4 + 0.3 * w for w in OMEGAS])
    assert first.sea == pytest.approx(0.3 * min(OMEGAS))
    assert first.condition == pytest.approx(10.4)


def test_a_force_axis_that_was_not_computed_stays_unknown():
    second = values()[1]
    assert second.value == pytest.approx(0.4)
    assert np.isnan(second.tensor[1]).all()


def test_the_site_symmetry_is_applied():
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turns = np.array([np.linalg.matrix_power(quarter, n) for n in range(4)])
    first = values(rotations=turns)[0]
    assert first.tensor[0, 0] == pytest.approx(0.5 * (0.4 - 0.2))
    assert first.tensor[0, 0] == pytest.approx(first.tensor[1, 1])


def test_a_field_along_the_hop_alone_is_enough():
    """A run that asks for the component along the hop knows one number of the tensor; a fourfold axis gives it twice."""
    document = joined()
    for image in document["images"]:
        for name in ("z_direct", "z_direct_sigma", "m", "m_free"):
            image[name] = [[image[name][0][0], None, None], [None] * 3, [None] * 3]
        for name in ("total", "static", "surface", "sea", "drift"):
            image[name] = [[[t[0][0], None, None], [None] * 3, [None] * 3] for t in image[name]]
        for variation in image["variations"]:
            variation["change"] = [[variation["change"][0][0], None, None], [None] * 3, [None] * 3]
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turns = np.array([np.linalg.matrix_power(quarter, n) for n in range(4)])
    for value in assess_direct(document, BULK, [(0,), (0,)], [turns, np.eye(3)[None]]):
        assert value.value == pytest.approx(0.4)
        assert value.sigma > 0
        assert value.k_free == pytest.approx(M[0, 0] * BULK["volume"] / BULK["n"] / uohm_cm)
        assert np.isfinite(value.total).all()
        assert np.isnan(value.tensor[:, 1:]).all()


def known(value: float, drift: float) -> DirectValue:
    nothing = np.full((3, 3), math.nan)
    flat = np.full(5, value)
    return DirectValue(value, {"drift": drift, "basis": 0.0}, nothing, np.array(OMEGAS), flat, flat, 0.1, -100.0, 5.0)


@pytest.mark.parametrize("drift", [0.5, 1.5])
def test_a_drift_beyond_the_value_makes_an_interval(drift):
    value = known(1.0, drift)
    fields = value.fields()
    record = synthetic.record(**fields)
    if drift > 1.0:
        assert value.is_interval
        assert (record.z_direct_low, record.z_direct_high) == pytest.approx((-0.5, 2.5))
        assert math.isnan(record.z_direct)
    else:
        assert record.z_direct == 1.0
        assert record.z_direct_sigma == pytest.approx(0.5)
        assert math.isnan(record.z_direct_low)
    assert record.z_total_of_tau["hbar_over_tau_eV"] == pytest.approx(OMEGAS)
    assert record.z_total_of_tau["remainders"] == pytest.approx([1.0] * len(OMEGAS))


def test_a_drift_that_is_not_known_makes_an_interval_too():
    assert known(1.0, math.nan).is_interval


@pytest.mark.parametrize("symmetric", [True, False])
def test_hop_average(symmetric):
    images = [known(1.0, 0.2), known(4.0, 0.4)]
    mean = average_direct(images, [0.0, 0.5] if symmetric else [0.0, 1.0], symmetric)
    assert mean.value == pytest.approx(2.5)
    assert mean.parts["drift"] == pytest.approx(0.3)
    assert mean.parts["path"] == pytest.approx(0.5)
    assert mean.total == pytest.approx(np.full(5, 2.5))
    assert np.isnan(mean.tensor).all()


@pytest.mark.parametrize(("drift", "interval"), [(0.1, False), (0.24, False), (0.3, True)])
def test_a_valence_known_to_be_small_is_a_value(drift, interval):
    """0.05 +- 0.1 says that there is next to no direct force: more than an interval would."""
    value = known(0.05, drift)
    assert value.is_interval is interval
    assert math.isnan(synthetic.record(**value.fields()).z_direct) is interval


def test_a_region_that_ended_early_has_a_share_of_its_last_change():
    """The run with a smaller radius ended at the same place and says nothing; what counts is the region beside the served one."""
    needs = {f"response {w:g}": response(w, Z_DIRECT) for w in OMEGAS}
    needs["region 6"] = response(0.2, Z_DIRECT)
    for finished in needs.values():
        finished.values["radius"] = 4.6
    needs["region 6"].values["images"] = []  # as the step leaves them then
    for image in needs["response 0.2"].values["images"]:
        image["region"] = (-0.3 * np.eye(3)).tolist()
    inputs = {"responses": [name for name in needs if name.startswith("response")], "middle": "response 0.2", "edge": True,
              "variations": [{"part": "region", "response": "region 6"}], "still_to_come": STILL_TO_COME}
    first = assess_direct(direct(inputs, needs, None, None, None), BULK, [(0, 1, 2), (0,)], [np.eye(3)[None]] * 2)[0]
    assert first.parts["region"] == pytest.approx(0.3 * STILL_TO_COME)
    assert first.parts["edge"] == pytest.approx(0.03)
