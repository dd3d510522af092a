"""Parts of sigma from rows of the same hop with another functional or supercell."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from emforce.database import Condition, Database
from emforce.keys import BY_NAME
from emforce.record import Record
from emforce.variations import UNRELAXED, add_with_variations, varied_field, with_variations

LDA = "quick (dft.functional=LDA)"
COUPLED = "quick (dft.spin_orbit=True)"
SMALL = "quick (dft.recipe=small)"
THICKER = "quick (direct.compute=False, structure.thick_layers=(16, 12))"
LARGER = "quick (structure.slab_size=(4, 4, 1))"
DIRECT = {"z_direct": 0.5, "z_direct_sigma_parts": {"region": 0.1}}


def hop(**changes):
    return synthetic.record(**{"site": "hop average", "fraction": math.nan, **DIRECT, **changes})


def served(database, preset):
    (found,) = database.records([Condition(BY_NAME["preset"], "=", (preset,))])
    return found


@pytest.mark.parametrize("preset, other, field", [
    ("quick", LDA, "dft.functional"),
    ("quick", LARGER, "structure.slab_size"),
    ("quick", "quick (dft.recipe=small)", "dft.recipe"),
    ("quick (host.sigma_eV=0.1)", "quick (dft.functional=LDA, host.sigma_eV=0.1)", "dft.functional"),
    ("quick", "quick", None),
    ("quick", "standard (dft.functional=LDA)", None),
    ("quick", "quick (dft.functional=LDA, host.sigma_eV=0.1)", None),
    ("quick", "quick (host.sigma_eV=0.1)", None),
])
def test_one_field_of_those_that_measure_a_part(preset, other, field):
    assert varied_field(preset, other) == field
    assert varied_field(other, preset) == field


def test_the_change_is_a_part_of_sigma():
    base = hop()
    found = with_variations(base, [
        base, hop(preset=LDA, k_wind_uohm_cm=-120.0, z_direct=0.3), hop(preset=LARGER, k_wind_uohm_cm=-140.0),
        hop(preset="quick (structure.layers=5)", k_wind_uohm_cm=-100.0, z_direct=0.6)])
    parts = found.k_wind_sigma_parts_uohm_cm
    assert parts["functional"] == pytest.approx(abs(-120.0 - base.k_wind_uohm_cm))
    assert parts["supercell"] == pytest.approx(abs(-100.0 - base.k_wind_uohm_cm))  # the larger of two changes
    assert found.z_direct_sigma_parts == pytest.approx({"region": 0.1, "functional": 0.2, "supercell": 0.1})
    assert found.z_direct_sigma == pytest.approx(math.hypot(0.1, 0.2, 0.1))
    total = math.hypot(base.k_wind_sigma_uohm_cm, parts["functional"], parts["supercell"])
    assert found.k_wind_sigma_uohm_cm == pytest.approx(total)
    assert found.k_wind_uohm_cm == base.k_wind_uohm_cm
    assert [entry["preset"] for entry in found.provenance["varied"]["supercell"]] == ["quick (structure.layers=5)", LARGER]
    # the row with the other functional keeps to itself, and without the others the parts go again
    assert with_variations(hop(preset=LDA), [base]).k_wind_sigma_parts_uohm_cm.keys() == base.k_wind_sigma_parts_uohm_cm.keys()
    again = with_variations(found, [])
    assert again.k_wind_sigma_uohm_cm == pytest.approx(base.k_wind_sigma_uohm_cm) and "varied" not in again.provenance


@pytest.mark.parametrize("other", [
    {"site": "saddle", "fraction": 0.5}, {"species": "Ag"}, {"method": "another"},
    {"provenance": synthetic.provenance(geometry=UNRELAXED)},
])
def test_what_is_not_the_same_hop_measures_nothing(other):
    base = hop()
    assert with_variations(base, [hop(preset=LDA, k_wind_uohm_cm=0.0, **other)]) is base


def test_a_second_basis_is_a_part() -> None:
    found = with_variations(hop(), [hop(preset="quick (dft.recipe=small)", basis="small", k_wind_uohm_cm=-130.0)])
    assert found.k_wind_sigma_parts_uohm_cm["second_basis"] == pytest.approx(abs(-130.0 - hop().k_wind_uohm_cm))


@pytest.mark.parametrize("order", list(itertools.permutations(["quick", LDA, THICKER])))
def test_a_row_that_converges_further_borrows_the_parts_that_it_lacks(tmp_path: Path, order: tuple[str, ...]) -> None:
    values = {"quick": (-110.0, 0.5), LDA: (-104.0, 0.3), THICKER: (-112.0, math.nan)}
    with Database(tmp_path / "a.db", create=True) as database:
        for preset in order:
            k, z = values[preset]
            direct = {"z_direct": z, "z_direct_sigma_parts": {} if math.isnan(z) else DIRECT["z_direct_sigma_parts"]}
            add_with_variations(database, [hop(preset=preset, k_wind_uohm_cm=k, **direct)])
        thicker, lda = served(database, THICKER), served(database, LDA)
    assert thicker.k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(6.0)  # -104 against the lender's -110, not -112
    assert thicker.z_direct_sigma_parts == {} and math.isnan(thicker.z_direct)
    (entry,) = thicker.provenance["varied"]["functional"]
    assert (entry["preset"], entry["lent_by"], entry["own_k_wind_uohm_cm"]) == (LDA, "quick", -110.0)
    assert "functional" not in lda.k_wind_sigma_parts_uohm_cm


@pytest.mark.parametrize("preset", [
    "quick (structure.thick_layers=(6, 4))",
    "standard (structure.thick_layers=(16, 12))",
    "quick (dft.smearing_eV=0.3, structure.thick_layers=(16, 12))",
])
def test_no_part_is_lent_to_a_row_that_converges_nothing_further(preset: str) -> None:
    rows = [hop(), hop(preset=LDA, k_wind_uohm_cm=-104.0)]
    assert "functional" not in with_variations(hop(preset=preset), rows).k_wind_sigma_parts_uohm_cm


@pytest.mark.parametrize("preset", ["quick (dft.directions=all)", "quick (dft.directions=all, direct.compute=False)",
                                    "quick (direct.compute=False)"])
def test_a_row_of_which_more_or_less_is_computed_has_the_parts_of_the_same_value(preset: str) -> None:
    rows = [hop(), hop(preset=LDA, k_wind_uohm_cm=-104.0), hop(preset=preset)]
    (own, _, other) = (with_variations(row, rows) for row in rows)
    assert other.k_wind_sigma_parts_uohm_cm["functional"] == own.k_wind_sigma_parts_uohm_cm["functional"] > 0
    assert other.k_wind_sigma_uohm_cm == own.k_wind_sigma_uohm_cm


@pytest.mark.parametrize("layers, excess", [(3.0, True), (math.nan, True), (15.0, False)])
def test_slabs_of_another_thickness_measure_what_the_two_of_one_row_have_not_shown(layers: float, excess: bool) -> None:
    """Errors in proportion to 1/8 and 1/16: of 15 the thin slab has 15 x 16/sqrt(320), the thick one half of it."""
    slabs = {"k_wind_sigma_parts_uohm_cm": {"fermi_energy": 5.0, "layers": layers}}
    rows = [hop(k_wind_uohm_cm=-110.0, **slabs), hop(preset=THICKER, k_wind_uohm_cm=-125.0, z_direct=0.9, **slabs)]
    for row, share in zip(rows, (16 / math.sqrt(320), 8 / math.sqrt(320)), strict=True):
        found = with_variations(row, rows)
        parts = found.k_wind_sigma_parts_uohm_cm
        own = 0.0 if math.isnan(layers) else layers
        assert math.hypot(own, parts["thickness"]) == pytest.approx(max(15 * share, own))
        assert (parts["thickness"] > 0) == excess
        assert found.k_wind_sigma_uohm_cm == pytest.approx(math.hypot(5.0, max(15 * share, own)))
        (entry,) = found.provenance["varied"]["thickness"]
        assert entry["share"] == pytest.approx(share) and entry["z_direct"] is None
        # Z of the row with direct.compute=False is another setting's, and its own sigma no concern of the wind's slabs
        assert "thickness" not in found.z_direct_sigma_parts
        assert with_variations(found, rows) is found or with_variations(found, rows) == found
    bulk = [replace(row, facet="bulk") for row in rows]
    assert "thickness" not in with_variations(bulk[0], bulk).k_wind_sigma_parts_uohm_cm
    both = [hop(z_direct=0.5), hop(preset="quick (structure.thick_layers=(16, 12))", z_direct=0.8)]
    assert with_variations(both[0], both).z_direct_sigma_parts["thickness"] == pytest.approx(0.3 * 16 / math.sqrt(320))


def test_the_thickness_is_lent_to_rows_of_the_same_slab_alone() -> None:
    coupled_thick = "quick (dft.spin_orbit=True, structure.thick_layers=(16, 12))"
    no_slabs = {"k_wind_sigma_parts_uohm_cm": {"fermi_energy": 5.0}}
    rows = [hop(preset=preset, k_wind_uohm_cm=k, **no_slabs) for preset, k in
            (("quick", -110.0), (THICKER, -125.0), (COUPLED, -100.0))]
    coupled = with_variations(rows[2], rows)
    assert coupled.k_wind_sigma_parts_uohm_cm["thickness"] == pytest.approx(15 * 16 / math.sqrt(320))
    (entry,) = coupled.provenance["varied"]["thickness"]
    assert (entry["lent_by"], entry["preset"], entry["own_k_wind_uohm_cm"]) == ("quick", THICKER, -110.0)
    thick = hop(preset=coupled_thick, k_wind_uohm_cm=-112.0, **no_slabs)
    own = with_variations(thick, [*rows, thick])  # measured on the coupled slab of 8 layers: nobody's difference but its own
    assert own.k_wind_sigma_parts_uohm_cm["thickness"] == pytest.approx(12 * 8 / math.sqrt(320))
    lent = with_variations(thick, [*rows[:2], thick])
    assert lent.k_wind_sigma_parts_uohm_cm["thickness"] == pytest.approx(15 * 8 / math.sqrt(320))


def test_another_basis_borrows_too() -> None:
    both = "quick (dft.recipe=small, structure.thick_layers=(16, 12))"
    rows = [hop(), hop(preset=LDA, k_wind_uohm_cm=-104.0), hop(preset=SMALL, k_wind_uohm_cm=-113.0),
            hop(preset=both, k_wind_uohm_cm=-112.0)]
    own = rows[0].k_wind_uohm_cm
    for row in rows[2:]:
        parts = with_variations(row, rows).k_wind_sigma_parts_uohm_cm
        assert parts["functional"] == pytest.approx(abs(-104.0 - own))
        assert parts["second_basis"] == pytest.approx(abs(-113.0 - own))


def test_what_self_consistency_leaves_open_is_a_part_of_wind_rows_without_the_tighter_tolerance_alone() -> None:
    tighter = "quick (dft.density_tolerance=1e-05)"
    rows = [hop(), hop(preset=tighter, k_wind_uohm_cm=-113.0), hop(preset=COUPLED, k_wind_uohm_cm=-100.0)]
    parts = [with_variations(row, rows).k_wind_sigma_parts_uohm_cm for row in rows]
    assert parts[0]["self_consistency"] == pytest.approx(abs(-113.0 - rows[0].k_wind_uohm_cm))
    assert "self_consistency" not in parts[1]
    assert parts[2]["self_consistency"] == parts[0]["self_consistency"]  # lent
    barriers = [kinetics("quick", 0.66, 0.37), kinetics(tighter, 0.68, 0.37)]
    assert "self_consistency" not in with_variations(barriers[0], barriers).kinetics_details["barrier_sigma_parts_eV"]


def test_spin_orbit_coupling_is_a_part_of_rows_without_it_alone() -> None:
    both = "quick (dft.spin_orbit=True, structure.thick_layers=(16, 12))"
    rows = [hop(preset=preset, k_wind_uohm_cm=k) for preset, k in
            (("quick", -110.0), (COUPLED, -100.0), (LDA, -104.0), (LARGER, -112.0), (both, -99.0))]
    parts = {row.preset: with_variations(row, rows).k_wind_sigma_parts_uohm_cm for row in rows}
    assert parts["quick"]["spin_orbit"] == pytest.approx(10.0)
    assert parts[LARGER]["spin_orbit"] == pytest.approx(10.0)  # lent
    for preset in (COUPLED, both):
        assert "spin_orbit" not in parts[preset]
        assert parts[preset]["functional"] == pytest.approx(6.0) and parts[preset]["supercell"] == pytest.approx(2.0)
    assert "spin_orbit" not in parts[LDA]


def test_an_own_measurement_stands_before_a_lent_one() -> None:
    both = "quick (dft.functional=LDA, structure.thick_layers=(16, 12))"
    rows = [hop(), hop(preset=LDA, k_wind_uohm_cm=-104.0), hop(preset=both, k_wind_uohm_cm=-109.0)]
    found = with_variations(hop(preset="quick (structure.thick_layers=(16, 12))", k_wind_uohm_cm=-112.0), rows)
    assert found.k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(3.0)


def test_a_failed_variation_measures_nothing():
    base = hop()
    failure = synthetic.failed(preset=LDA, site="hop average", fraction=math.nan)
    assert with_variations(base, [failure]) is base
    assert with_variations(failure, [base]) is failure


@pytest.mark.parametrize("order", [("quick", LDA), (LDA, "quick"), ("quick", LDA, "quick"), (LDA, "quick", LDA)])
def test_the_order_of_computing_does_not_matter(tmp_path, order):
    values = {"quick": -110.0, LDA: -104.0}
    with Database(tmp_path / "a.db", create=True) as database:
        for preset in order:
            returned = add_with_variations(database, [hop(preset=preset, k_wind_uohm_cm=values[preset])])
            assert returned[0].preset == preset
        base, lda = served(database, "quick"), served(database, LDA)
        count = len(database.rows(everything=True))
        add_with_variations(database, [base])
        assert len(database.rows(everything=True)) == count  # nothing new to say
    assert base.k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(6.0)
    assert "functional" not in lda.k_wind_sigma_parts_uohm_cm


@pytest.mark.parametrize("other, part", [(LARGER, "supercell"), (SMALL, "second_basis")])
@pytest.mark.parametrize("first", [True, False])
def test_of_two_supercells_or_bases_each_has_the_change_as_a_part(tmp_path: Path, other: str, part: str, first: bool) -> None:
    values = {other: -103.0, "quick": -110.0}
    with Database(tmp_path / "a.db", create=True) as database:
        for preset in sorted(values, key=lambda preset: (preset == other) != first):
            add_with_variations(database, [hop(preset=preset, k_wind_uohm_cm=values[preset])])
        for preset, value in values.items():
            row = served(database, preset)
            assert row.k_wind_uohm_cm == value
            assert row.k_wind_sigma_parts_uohm_cm[part] == pytest.approx(7.0)


def _points(preset: str, values: dict[float, float], average: float) -> list[Record]:
    sites = {0.0: "initial", 0.5: "saddle"}
    return [*(synthetic.record(**DIRECT | {"site": sites.get(f, f"s={f}"), "fraction": f, "preset": preset, "k_wind_uohm_cm": k})
              for f, k in values.items()), hop(preset=preset, k_wind_uohm_cm=average)]


@pytest.mark.parametrize("first", ["quick", LDA])
def test_averages_over_different_points_are_compared_on_those_that_both_have(tmp_path: Path, first: str) -> None:
    """PBE at three points, LDA at two: the change is that of (K(0) + K(0.5))/2, not of the averages as they are."""
    rows = {"quick": _points("quick", {0.0: 10.0, 0.25: 70.0, 0.5: 50.0}, 50.0), LDA: _points(LDA, {0.0: 6.0, 0.5: 44.0}, 25.0)}
    with Database(tmp_path / "a.db", create=True) as database:
        for preset in sorted(rows, key=lambda preset: preset != first):
            add_with_variations(database, rows[preset])
        found = {(row.preset, row.site): row for row in database.records([])}
    average = found["quick", "hop average"]
    assert average.k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(30.0 - 25.0)
    assert average.z_direct_sigma_parts["functional"] == pytest.approx(0.0)
    (entry,) = average.provenance["varied"]["functional"]
    assert entry["points"] == [0.0, 0.5] and entry["own_k_wind_uohm_cm"] == pytest.approx(30.0)
    assert found["quick", "saddle"].k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(6.0)
    assert "functional" not in found["quick", "s=0.25"].k_wind_sigma_parts_uohm_cm


def test_hops_of_one_campaign_keep_to_themselves(tmp_path: Path) -> None:
    """Two specifications stored at once: the points of the other are not taken for those of the first."""
    first = _points("quick", {0.0: 10.0, 0.25: 70.0, 0.5: 50.0}, 50.0)
    other = [replace(row, spec="another", k_wind_uohm_cm=-row.k_wind_uohm_cm, k_tensor_uohm_cm=-row.k_tensor_uohm_cm)
             for row in first]
    with Database(tmp_path / "a.db", create=True) as database:
        add_with_variations(database, _points(LDA, {0.0: 6.0, 0.5: 44.0}, 25.0))
        stored = add_with_variations(database, [*first, *other])
    assert stored[3].k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(30.0 - 25.0)
    assert all("functional" not in row.k_wind_sigma_parts_uohm_cm for row in stored[4:])


def test_a_drift_is_compared_on_the_points_that_both_have() -> None:
    """The drift of a point is its force along the hop by fields along and across it, with the weights of the direction."""
    weights = [1.0, -1.5]

    def rows(preset: str, tensors: dict[float, tuple[float, float]], drift: float) -> list[Record]:
        found = []
        for fraction, (along, across) in tensors.items():
            tensor = np.full((3, 3), math.nan)
            tensor[0] = along, across, 0.0
            found.append(hop(preset=preset, site=f"s={fraction}", fraction=fraction, k_wind_uohm_cm=along,
                             k_tensor_uohm_cm=tensor))
        origin = synthetic.provenance(drift={"direction": "[001]", "weights": weights})
        return [*found, hop(preset=preset, site="drift [001]", k_wind_uohm_cm=drift, provenance=origin)]

    own = rows("quick", {0.0: (10.0, 4.0), 0.25: (70.0, 9.0), 0.5: (50.0, 2.0)}, 33.0)
    other = rows(LDA, {0.0: (6.0, 4.0), 0.5: (44.0, 8.0)}, 16.0)
    found = with_variations(own[-1], [*own, *other])
    (entry,) = found.provenance["varied"]["functional"]
    assert entry["points"] == [0.0, 0.5]
    assert entry["own_k_wind_uohm_cm"] == pytest.approx((10.0 - 6.0 + 50.0 - 3.0) / 2)
    assert entry["k_wind_uohm_cm"] == pytest.approx((6.0 - 6.0 + 44.0 - 12.0) / 2)
    assert entry["z_direct"] is None  # no response to the field across
    assert found.k_wind_sigma_parts_uohm_cm["functional"] == pytest.approx(25.5 - 16.0)
    assert "functional" not in found.z_direct_sigma_parts
    # rows of before the drift: their points are enough, and none of the hop's own numbers is taken for the drift's
    older = [*other[:-1], hop(preset=LDA, k_wind_uohm_cm=25.0)]
    assert with_variations(own[-1], [*own, *older]).k_wind_sigma_parts_uohm_cm == found.k_wind_sigma_parts_uohm_cm
    alone = with_variations(own[-1], [*own, older[-1]])
    assert "functional" not in alone.k_wind_sigma_parts_uohm_cm


def test_points_that_do_not_reach_the_end_measure_nothing() -> None:
    rows = [*_points("quick", {0.0: 10.0, 0.5: 50.0}, 30.0), *_points(LDA, {0.25: 30.0, 0.5: 44.0}, 37.0)]
    found = with_variations(rows[2], rows)
    assert "functional" not in found.k_wind_sigma_parts_uohm_cm


def kinetics(preset: str, barrier: float, formation: float = math.nan, **changes) -> Record:
    """A vacancy's hop: E_a is barrier and formation energy together where that is known."""
    known = not math.isnan(formation)
    blank = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}, "energies_eV": [], "k_of_energy_uohm_cm": [],
             "z_direct": math.nan, "z_direct_sigma_parts": {}}
    sigma = math.hypot(0.03, 0.04)
    details = {"barrier_sigma_parts_eV": {"basis": 0.03, "k_points": 0.04, "cell": None},
               "nu0_sigma_parts_THz": {"neighbours": 0.3},
               "formation_energy": {"method": "made up", "sigma_parts_eV": {"k_points": 0.12} if known else {}}}
    return hop(**blank | {
        "preset": preset, "facet": "bulk", "defect": "vacancy", "method": "vineyard",
        "barrier_eV": barrier, "barrier_sigma_eV": sigma, "nu0_THz": 2.0, "nu0_sigma_THz": 0.3,
        "formation_energy_eV": formation, "formation_energy_sigma_eV": 0.12 if known else math.nan,
        "ea_eV": barrier + (formation if known else 0.0), "ea_sigma_eV": math.hypot(sigma, 0.12 if known else 0.0),
        "d0_m2_s": 2e-7, "d0_sigma_m2_s": 3e-8, "kinetics_details": details, **changes})


@pytest.mark.parametrize("order", [("quick", LDA), (LDA, "quick")])
def test_another_functional_is_a_part_of_barrier_formation_energy_and_their_sum(tmp_path: Path, order: tuple[str, ...]) -> None:
    """The changes of barrier and formation energy may cancel in E_a: its part is its own change."""
    made = {"quick": kinetics("quick", 0.66, 0.37), LDA: kinetics(LDA, 0.60, 0.47, nu0_THz=2.4)}
    with Database(tmp_path / "a.db", create=True) as database:
        for preset in order:
            add_with_variations(database, [made[preset]])
        own, lda = served(database, "quick"), served(database, LDA)
        count = len(database.rows(everything=True))
        add_with_variations(database, [own])
        assert len(database.rows(everything=True)) == count
    details = own.kinetics_details
    assert details["barrier_sigma_parts_eV"] == pytest.approx({"basis": 0.03, "k_points": 0.04, "cell": None, "functional": 0.06})
    assert details["formation_energy"]["sigma_parts_eV"] == pytest.approx({"k_points": 0.12, "functional": 0.10})
    assert details["formation_energy"]["method"] == "made up"
    assert details["ea_sigma_parts_eV"] == pytest.approx({"numerical": 0.13, "functional": 0.04})
    assert details["d0_sigma_parts_m2_s"] == pytest.approx({"numerical": 3e-8, "functional": 0.0})
    assert own.barrier_sigma_eV == pytest.approx(math.hypot(0.05, 0.06))
    assert own.formation_energy_sigma_eV == pytest.approx(math.hypot(0.12, 0.10))
    assert own.ea_sigma_eV == pytest.approx(math.hypot(0.13, 0.04))
    assert own.nu0_sigma_THz == pytest.approx(math.hypot(0.3, 0.4)) and own.d0_sigma_m2_s == pytest.approx(3e-8)
    assert lda == replace(made[LDA], provenance=lda.provenance)
    without = with_variations(own, [])
    assert (without.ea_sigma_eV, without.barrier_sigma_eV) == pytest.approx((0.13, 0.05))
    assert without.kinetics_details["ea_sigma_parts_eV"] == pytest.approx({"numerical": 0.13})
    (entry,) = own.provenance["varied"]["functional"]
    assert entry == {"preset": LDA, "barrier_eV": 0.60, "nu0_THz": 2.4, "formation_energy_eV": 0.47,
                     "ea_eV": pytest.approx(1.07), "d0_m2_s": 2e-7}


@pytest.mark.parametrize(("field", "left"), [("structure.bulk_size=(3, 2, 2)", "layers"), ("structure.layers=6", "cell")])
def test_another_cell_answers_the_null_of_a_barrier_and_no_other(field: str, left: str) -> None:
    parts = {"basis": 0.03, "k_points": 0.04, "cell": None, "layers": None}
    own, larger = kinetics("quick", 0.66, 0.37), kinetics(f"quick ({field})", 0.68, 0.35)
    own = replace(own, kinetics_details={**own.kinetics_details, "barrier_sigma_parts_eV": parts})
    found = with_variations(own, [own, larger])
    assert found.kinetics_details["barrier_sigma_parts_eV"] == pytest.approx(
        {"basis": 0.03, "k_points": 0.04, "supercell": 0.02, left: None})
    formation = {**own.kinetics_details["formation_energy"], "sigma_parts_eV": {"k_points": 0.12, "cell": None, "layers": None}}
    nulls = replace(own, kinetics_details={**own.kinetics_details, "formation_energy": formation})
    assert with_variations(nulls, [nulls, larger]).kinetics_details["formation_energy"]["sigma_parts_eV"] == pytest.approx(
        {"k_points": 0.12, "supercell": 0.02, left: None})
    lent = with_variations(replace(own, preset="quick (kinetics.k_points_check=True)"), [own, larger])
    assert lent.kinetics_details["barrier_sigma_parts_eV"] == found.kinetics_details["barrier_sigma_parts_eV"]
    assert found.barrier_sigma_eV == pytest.approx(math.hypot(0.05, 0.02))
    assert found.ea_sigma_eV == own.ea_sigma_eV  # 0.02 more and 0.02 less
    assert with_variations(found, [larger]).kinetics_details == found.kinetics_details
    assert with_variations(found, [found]).kinetics_details["barrier_sigma_parts_eV"] == parts
    # a row whose provenance names the other one already, and whose sigma is that of before
    stale = replace(found, kinetics_details=own.kinetics_details, barrier_sigma_eV=own.barrier_sigma_eV)
    mended = with_variations(stale, [own, larger])
    assert mended.kinetics_details["barrier_sigma_parts_eV"] == found.kinetics_details["barrier_sigma_parts_eV"]
    assert mended.barrier_sigma_eV == found.barrier_sigma_eV
    assert with_variations(found, [own, larger]) is found


def test_activation_energies_of_different_things_are_not_compared() -> None:
    """E_a of a vacancy that is there already against that of self-diffusion; D0 with and without the formation entropy."""
    alone, whole = kinetics("quick", 0.66), kinetics(LDA, 0.60, 0.47)
    found = with_variations(alone, [alone, whole])
    assert found.kinetics_details["barrier_sigma_parts_eV"]["functional"] == pytest.approx(0.06)
    assert found.ea_sigma_eV == alone.ea_sigma_eV and "ea_sigma_parts_eV" not in found.kinetics_details
    entropy = replace(whole, preset="quick", kinetics_details={**whole.kinetics_details, "formation_entropy": {"value_kB": 2.0}})
    with_entropy = with_variations(entropy, [entropy, replace(whole, d0_m2_s=5e-7)])
    assert with_entropy.d0_sigma_m2_s == whole.d0_sigma_m2_s
    assert with_entropy.provenance["varied"]["functional"][0]["d0_m2_s"] is None
    assert with_variations(alone, [alone]) is alone
