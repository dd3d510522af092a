"""The printed numbers of the companion experiments against their formulas."""

from __future__ import annotations

import pytest

from emforce.models import companions as c
from emforce.models.parameters import Given


def found(quantity, metal=None, **given):
    (entry,) = [e for e in c.entries(given) if e.quantity.startswith(quantity) and metal in (None, e.metal)]
    return entry


@pytest.mark.parametrize(("quantity", "computed", "verdict"), [
    # as worked out by hand from the printed inputs
    ("surface flux J_s", 4.36e22, "agrees"),
    ("share of the drive", 99.987, "agrees"),
    ("temperature over the neck", 0.052, "agrees"),
    ("back stress, 400 to 200", 238.2, "disagrees: formula/printed = 1.78"),
    ("thermal flux J_T", 1.816e23, "agrees"),
    ("least temperature difference", 21.5, "disagrees: formula/printed = 0.51"),
    ("back stress, scaling", 160.2, "same order"),
    ("thermal conductivity by the flow", 3.88e-4, "other order: formula/printed = 0.017"),
])
def test_formulas_with_printed_inputs(quantity, computed, verdict):
    entry = found(quantity)
    assert entry.computed == pytest.approx(computed, rel=2e-3)
    assert entry.verdict == verdict
    assert entry.with_our_q is None


def test_what_lacks_an_input_is_not_computed_and_says_what():
    for entry in c.entries():
        assert (entry.computed is None) == (entry.verdict == "not computable")
        assert entry.computed is not None or entry.note
        assert not entry.computed or (entry.formula and entry.inputs)
    assert "exponent" in found("least gradient").note
    assert "length" in found("stress-driven flux").note


def test_our_heat_of_transport_goes_into_the_formulas_that_have_one():
    half = {"Cu": Given(0.085), "Al": Given(0.035)}
    for quantity in ("thermal flux J_T", "back stress, scaling", "back stress, 400"):
        entry = found(quantity, **half)
        factor = 0.85 if "scaling" in quantity else 0.5
        assert entry.with_our_q == pytest.approx(factor * entry.computed)
    least = found("least temperature difference", **half)
    assert least.with_our_q == pytest.approx(673 * (1 - (1 - least.computed / 673) ** 2))
    assert found("surface flux J_s", **half).with_our_q is None


def test_thin_wires_conduct_less():
    thin, thick = found("thermal conductivity, wire of 7"), found("thermal conductivity, wire of 40")
    assert 0 < thin.computed < thick.computed < 235
    assert thin.verdict.startswith("our formula")


def test_directions():
    assert c.Direction("W", "upwind", 3.6, 2.5).verdict == "agrees, 1.4 standard uncertainties from zero"
    assert c.Direction("W", "upwind", -3.6, 2.5).verdict.startswith("disagrees")
    assert c.Direction("W", "upwind", 1.0, 2.0).verdict.startswith("undecided")
    assert c.Direction("Au", "downwind").verdict == "no value yet"
    assert c.Direction("Cu", "downwind", -30.0).verdict == "agrees, uncertainty not known"


def test_rows_have_a_cell_for_each_column():
    for entry in c.entries():
        assert len(c.row(entry)) == len(c.columns())
