from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import synthetic

from emforce import keys
from emforce.errors import CheckError, InputError
from emforce.keys import HOST_KEYS, KEYS
from emforce.record import SIGMA_PARTS, Host, Record, along, direction, quadrature
from emforce.stored import Check


@pytest.mark.parametrize("kind, known", [(Record, KEYS), (Host, HOST_KEYS)])
def test_fields_are_the_stored_keys(kind, known):
    names = {key.name for key in known if key.stored} - {"created"}  # created is part of the provenance
    assert {field.name for field in dataclasses.fields(kind)} == names
    assert len({key.name for key in known}) == len(known)


def test_docs_page_is_current():
    page = Path(__file__).resolve().parent.parent / "docs" / "keys.md"
    assert page.read_text(encoding="utf-8") == keys.markdown(), "run: python -m emforce.keys > docs/keys.md"


def test_every_number_with_a_direction_states_its_sign():
    for name in ("k_wind_uohm_cm", "k_tensor_uohm_cm", "k_of_energy_uohm_cm", "z_wind"):
        assert "against the electrons (upwind)" in keys.key(name).sign


def test_unknown_key_suggests_a_near_one():
    with pytest.raises(InputError, match="z_wind"):
        keys.key("zwind")


def test_document_goes_through_json_without_losing_a_bit():
    item = synthetic.record()
    back = Record.from_document(json.loads(json.dumps(item.document(), allow_nan=False)))
    assert back == item
    assert back.content_hash == item.content_hash
    assert np.array_equal(back.k_tensor_uohm_cm, item.k_tensor_uohm_cm, equal_nan=True)
    assert back.k_wind_sigma_parts_uohm_cm["smearing"] == 1e-300
    assert math.isnan(back.k_wind_sigma_parts_uohm_cm["layers"])


def test_host_document_round_trip():
    item = synthetic.host()
    back = Host.from_document(json.loads(json.dumps(item.document(), allow_nan=False)))
    assert back == item
    assert back.path_ticks == ((0.0, "G"), (2.0, "X"))
    empty = Host("Cu", "100", "vp", "quick")
    assert Host.from_document(empty.document()) == empty


def test_records_travel_between_processes():
    assert pickle.loads(pickle.dumps(synthetic.record())) == synthetic.record()


def test_arrays_are_read_only_copies():
    tensor = synthetic.TENSOR.copy()
    item = synthetic.record(k_tensor_uohm_cm=tensor)
    tensor[0, 0] = 0
    assert item.k_tensor_uohm_cm[0, 0] != 0
    with pytest.raises(ValueError):
        item.k_tensor_uohm_cm[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        item.site = "initial"


def test_hash_leaves_the_time_out_and_nothing_else():
    item = synthetic.record()
    later = synthetic.record(provenance=synthetic.provenance(created="2030-01-01T00:00:00+00:00"))
    assert later.content_hash == item.content_hash and later != item
    assert synthetic.record(fraction=0.25).content_hash != item.content_hash
    other = synthetic.record(provenance=synthetic.provenance(gpaw="0"))
    assert other.content_hash != item.content_hash


def test_sigma_is_the_quadrature_of_its_parts():
    item = synthetic.record(k_wind_sigma_parts_uohm_cm={"fermi_energy": 3.0, "layers": 4.0, "mesh": math.nan})
    assert item.k_wind_sigma_uohm_cm == 5.0
    assert set(item.k_wind_sigma_parts_uohm_cm) == set(SIGMA_PARTS)
    assert math.isnan(quadrature({"mesh": math.nan}))
    with pytest.raises(CheckError, match="quadrature"):
        synthetic.record(k_wind_sigma_uohm_cm=4.9, k_wind_sigma_parts_uohm_cm={"fermi_energy": 5.0})


@pytest.mark.parametrize(
    "value, sigma, word",
    [
        (5.0, 4.999, "upwind"), (5.0, 5.0, "undecided"), (5.0, 5.001, "undecided"), (-5.0, 4.999, "downwind"),
        (-5.0, 5.0, "undecided"), (0.0, 0.0, "undecided"), (1e-9, 0.0, "upwind"),
        (math.nan, 1.0, "undecided"),
        (5.0, math.nan, "undecided"),
    ],
)  # fmt: skip
def test_direction_at_the_boundary(value, sigma, word):
    assert direction(value, sigma) == word


def test_component_along_the_hop():
    rng = np.random.default_rng(3)
    tensor, vector = rng.normal(size=(3, 3)), rng.normal(size=3)
    unit = vector / np.linalg.norm(vector)
    assert along(tensor, vector) == pytest.approx(unit @ tensor @ unit, rel=1e-14)
    assert along(synthetic.TENSOR, np.array([1.0, 1.0, 0.0])) == pytest.approx((-135 - 1 / 3 - 80 + 0.2) / 2)
    assert math.isnan(along(synthetic.TENSOR, np.array([0.0, 0.0, 1.0])))
    with pytest.raises(CheckError, match="d̂"):
        synthetic.record(k_wind_uohm_cm=-100.0, k_tensor_uohm_cm=synthetic.TENSOR)


def test_a_hop_average_follows_its_path():
    item = synthetic.record(
        site="hop average", fraction=math.nan, k_wind_uohm_cm=-100.0, k_tensor_uohm_cm=synthetic.TENSOR
    )
    assert item.k_wind_uohm_cm == -100.0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"metal": "copper"}, "metal: 'copper' is not allowed; allowed: a chemical symbol"),
        ({"facet": "(100)"}, "facet"), ({"site": "s=1.5"}, "site"), ({"site": "middle"}, "site"),
        ({"species": ""}, "species"), ({"fraction": 1.1}, "fraction"), ({"status": "fine"}, "status"),
        ({"k_wind_uohm_cm": math.inf}, "k_wind_uohm_cm"), ({"preset": " "}, "preset"),
        ({"k_wind_sigma_parts_uohm_cm": {"mesh": -1.0}}, "mesh"),
        ({"k_tensor_uohm_cm": np.zeros(3)}, "k_tensor"),
        ({"k_tensor_sigma_uohm_cm": -np.ones((3, 3))}, "k_tensor_sigma"),
        ({"k_tensor_uohm_cm": np.full((3, 3), math.nan), "k_tensor_sigma_uohm_cm": np.ones((3, 3))}, "k_tensor_sigma"),
        ({"k_of_energy_uohm_cm": np.zeros(4)}, "k_of_energy"), ({"status": "failed"}, "reason"),
        ({"checks": (Check("a", 0, 1), Check("a", 0, 1))}, "checks"),
    ],
)  # fmt: skip
def test_bad_fields_are_named(changes, message):
    with pytest.raises(InputError) as caught:
        synthetic.record(**changes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"checks": (Check("far atoms", 0.02, 0.01),)}, "far atoms"),
        ({"checks": (Check("far atoms", math.nan, 0.01),)}, "far atoms"),
        ({"k_wind_uohm_cm": math.nan}, "finite"),
        ({"k_wind_sigma_parts_uohm_cm": {}}, "finite"),
        ({"provenance": {"emforce": "0"}}, "git_commit"),
    ],
)
def test_what_fails_cannot_be_ok(changes, message):
    with pytest.raises(CheckError, match=message):
        synthetic.record(**changes)
    kept = synthetic.record(**changes, status="failed", reason="as said")
    assert Record.from_document(copy.deepcopy(kept.document())) == kept


NOTHING = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}}
DIRECT = {"z_direct": 0.4, "z_direct_sigma_parts": {"drift": 0.3, "smearing": 0.4}, "z_direct_low": -0.1, "z_direct_high": 0.9,
          "z_direct_tensor": np.diag([0.4, 0.5, math.nan]), "z_fermi_sea": 1.2,
          "z_total_of_tau": {"hbar_over_tau_eV": [0.05, 0.1], "values": [-20.0, -9.0]}}  # fmt: skip
KINETICS = {"barrier_eV": 0.5, "barrier_sigma_eV": 0.02, "nu0_THz": 3.0, "nu0_sigma_THz": 0.5, "d0_m2_s": 1e-7,
            "d0_sigma_m2_s": 2e-8, "ea_eV": 0.5, "ea_sigma_eV": 0.02, "kinetics_condition": "adatom",
            "kinetics_details": {"imaginary modes": 1, "neighbours": [3, 9]}}  # fmt: skip
HEAT = {"q_of_temperature": {"temperature_K": [300, 600], "q_star_eV": [0.1, math.nan], "q_star_sigma_eV": [0.02, math.nan]},
        "q_lattice_low_eV": -0.5, "q_lattice_high_eV": 0.5, "q_condition": "J=0"}  # fmt: skip


@pytest.mark.parametrize("group", [DIRECT, KINETICS, HEAT], ids=["direct", "kinetics", "heat"])
def test_each_group_alone_or_beside_the_wind_keeps_every_bit(group):
    for item in (synthetic.record(**group), synthetic.record(**NOTHING, **group)):
        back = Record.from_document(json.loads(json.dumps(item.document(), allow_nan=False)))
        assert back == item and back.content_hash == item.content_hash and back.status == "ok"
        assert all(check.passed for check in item.consistency())


def test_a_key_that_is_not_there_does_not_change_the_hash():
    document = synthetic.record().document()
    for key in KEYS:
        if key.stored and key.since > 1:
            assert document[key.name] in (None, "")
    assert synthetic.record(**DIRECT).content_hash != synthetic.record().content_hash


def test_a_direct_valence_that_drifts_is_an_interval():
    item = synthetic.record(**NOTHING, z_direct_low=-1.0, z_direct_high=2.0)
    assert item.status == "ok" and math.isnan(item.z_direct) and item.values() == ("z_direct_low",)


@pytest.mark.parametrize(
    "changes, error, word",
    [
        ({**NOTHING}, CheckError, "finite"),
        ({"z_direct": 0.4}, CheckError, "z_direct and its sigma"),
        ({"barrier_eV": 0.4}, CheckError, "barrier_eV and its sigma"),
        ({"q_of_temperature": {"temperature_K": [300.0], "q_star_eV": [0.1]}}, CheckError, "q_star_eV and its sigma"),
        ({**DIRECT, "z_direct_sigma": 0.6}, CheckError, "quadrature"),
        ({**DIRECT, "z_direct_low": 0.5}, CheckError, "interval"),
        ({"z_direct_low": 0.5}, InputError, "neither"), ({"z_direct_low": 0.5, "z_direct_high": 0.1}, InputError, "lower first"),
        ({"z_total_of_tau": {"values": [1.0]}}, InputError, "hbar_over_tau_eV"),
        ({"z_total_of_tau": {"hbar_over_tau_eV": [1.0, 2.0], "values": [1.0]}}, InputError, "equal length"),
        ({"q_of_temperature": {"temperature_K": [600.0, 300.0]}}, InputError, "increase"),
        ({"q_of_temperature": {"temperature_K": [600.0], "colour": [1.0]}}, InputError, "q_of_temperature"),
        ({"q_condition": "vacuum"}, InputError, "J=0"), ({"nu0_THz": -1.0}, InputError, "nu0_THz"),
        ({"ea_sigma_eV": -1.0}, InputError, "ea_sigma_eV"), ({"z_star_reported": -5.0}, InputError, "published"),
        ({"status": "literature"}, CheckError, "source"), ({"status": "unverified"}, InputError, "reason"),
    ],
)  # fmt: skip
def test_what_does_not_hold_together_is_refused(changes, error, word):
    with pytest.raises(error, match=word):
        synthetic.record(**changes)
