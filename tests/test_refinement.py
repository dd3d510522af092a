"""Which overridden fields make a better value of the same thing, and which row of a hop is served for it."""

from __future__ import annotations

import math

import pytest
import synthetic

from emforce.best import best_of_each, best_rows, without_doubles
from emforce.database import Database
from emforce.query import Question, select
from emforce.refinement import (
    AS_SHIPPED,
    FINER,
    FURTHER,
    OTHERWISE,
    along_the_hop,
    outdone,
    refined_fields,
    refinement,
)
from emforce.settings import load_settings, preset_label

SMALL = "quick (dft.recipe=small)"
LARGER = "quick (structure.slab_size=(4, 4, 1))"


@pytest.mark.parametrize("label, group, expected", [
    ("quick", "wind", AS_SHIPPED),
    (LARGER, "wind", FURTHER),
    ("quick (structure.slab_size=(4, 2, 1))", "wind", OTHERWISE),
    ("quick (structure.slab_size=(3, 3, 1))", "wind", AS_SHIPPED),
    ("quick (host.embedding_mesh=48, structure.primitive_size=(4, 4, 4))", "wind", FURTHER),
    ("quick (host.embedding_mesh=24, structure.primitive_size=(4, 4, 4))", "wind", OTHERWISE),
    ("quick (dft.grid_A=0.2)", "wind", FURTHER),
    ("quick (dft.grid_A=0.3)", "wind", OTHERWISE),
    ("quick (dft.functional=LDA)", "wind", OTHERWISE),
    ("quick (dft.functional=LDA, structure.slab_size=(4, 4, 1))", "wind", OTHERWISE),
    ("quick (host.sigma_eV=0.1)", "wind", OTHERWISE),
    ("quick (dft.spin_orbit=True)", "wind", FURTHER),
    ("quick (dft.functional=LDA, dft.spin_orbit=True)", "wind", OTHERWISE),
    ("quick (dft.directions=all)", "wind", AS_SHIPPED),  # more of the tensor, the same component along the hop
    ("standard (dft.directions=hop)", "wind", AS_SHIPPED),
    ("quick (dft.directions=all, structure.slab_size=(4, 4, 1))", "wind", FURTHER),
    ("quick (direct.compute=False)", "wind", AS_SHIPPED),
    ("quick (direct.vary=('region',))", "direct", OTHERWISE),
    ("quick (kinetics.shells=0)", "wind", AS_SHIPPED),
    ("quick (kinetics.shells=0)", "kinetics", OTHERWISE),
    ("quick (kinetics.k_points_check=True, kinetics.plane_wave=True)", "kinetics", FURTHER),
    ("quick (kinetics.plane_wave_layers=0)", "kinetics", FURTHER),
    ("production (kinetics.plane_wave_layers=3)", "kinetics", OTHERWISE),
    ("quick (embedding.radii_A=(7.4, 8.0, 6.8))", "kinetics", AS_SHIPPED),
    ("quick (structure.size=(4, 4, 1))", "wind", OTHERWISE),
    ("of somebody (dft.grid_A=0.1)", "wind", OTHERWISE),
])
def test_what_overridden_fields_do(label, group, expected):
    assert refinement(label, group) == expected


@pytest.mark.parametrize("field", sorted(FINER))
def test_every_field_that_converges_is_one_of_the_presets(field):
    value = load_settings("quick")
    for name in field.split("."):
        value = getattr(value, name)
    assert isinstance(value, int | float | tuple)


def hop(preset, k, sigma):
    return synthetic.record(site="hop average", fraction=math.nan, preset=preset, k_wind_uohm_cm=k,
                            k_wind_sigma_parts_uohm_cm={"layers": sigma}, k_wind_sigma_uohm_cm=sigma)


def test_the_larger_cell_is_served_and_another_functional_is_not(tmp_path):
    with Database(tmp_path / "a.db", create=True) as database:
        for record in (hop("quick", -110.0, 3.0), hop(LARGER, -100.0, 9.0), hop("quick (dft.functional=LDA)", -90.0, 1.0)):
            database.add(record)
        (best,) = best_rows(database.rows([]))
    assert (best["preset"], best["k_wind_uohm_cm"]) == (LARGER, -100.0)


INTERVAL = {"z_direct": math.nan, "z_direct_low": -0.4, "z_direct_high": 2.0}
VALUE = {"z_direct": 1.1, "z_direct_sigma_parts": {"region": 0.3}}


@pytest.mark.parametrize("rows, served", [
    ({"quick": INTERVAL, SMALL: VALUE}, SMALL),
    ({"quick": VALUE | {"z_direct": 0.9}, SMALL: VALUE}, "quick"),
    ({"quick": INTERVAL, SMALL: INTERVAL}, "quick"),
    ({"quick": INTERVAL, "quick (dft.functional=LDA)": VALUE}, "quick"),  # another thing
    ({LARGER: INTERVAL, SMALL: VALUE}, SMALL),
    ({LARGER: INTERVAL, "quick": VALUE}, "quick"),
    ({LARGER: VALUE | {"z_direct": 0.9}, "quick": VALUE}, LARGER),
    ({LARGER: INTERVAL, "quick (dft.functional=LDA)": VALUE}, LARGER),
])
def test_a_direct_valence_is_served_before_an_interval(tmp_path, rows, served):
    with Database(tmp_path / "a.db", create=True) as database:
        for preset, values in rows.items():
            database.add(synthetic.record(site="hop average", fraction=math.nan, preset=preset, **values))
        (best,) = best_rows(database.rows([]))
    assert best["joined"]["direct"]["preset"] == served
    assert best["z_direct"] == (rows[served]["z_direct"] if not math.isnan(rows[served]["z_direct"]) else None)
    assert best["joined"]["wind"]["preset"] == (LARGER if LARGER in rows else "quick")


def test_what_is_converged_further_in_more_ways_is_served(tmp_path):
    both = "quick (dft.spin_orbit=True, structure.slab_size=(4, 4, 1))"
    with Database(tmp_path / "a.db", create=True) as database:
        for record in (hop("quick (dft.spin_orbit=True)", -110.0, 3.0), hop(both, -100.0, 9.0), hop(LARGER, -105.0, 2.0)):
            database.add(record)
        (best,) = best_rows(database.rows([]))
    assert best["preset"] == both
    assert [refined_fields(label, "wind") for label in (both, LARGER, "quick", "quick (direct.compute=False)")] == [2, 1, 0, 0]
    tighter = "quick (dft.density_tolerance=1e-05)"  # does not stand for a larger cell
    assert refinement(tighter, "direct") == FURTHER and refined_fields(tighter, "direct") == 0
    mover_alone = "quick (kinetics.plane_wave=True, kinetics.shells=0, structure.slab_size=(4, 4, 1))"
    assert refined_fields(mover_alone, "kinetics") == 2 and refined_fields("quick (kinetics.shells=0)", "kinetics") == 0


def test_a_row_that_another_outdoes_in_the_same_fields_is_not_served_for_its_smaller_sigma(tmp_path):
    twelve, sixteen = (f"quick (direct.compute=False, structure.thick_layers={layers})" for layers in ("(12, 9)", "(16, 12)"))
    mixed = "quick (direct.compute=False, structure.thick_layers=(20, 8))"
    assert outdone(twelve, sixteen) and not outdone(sixteen, twelve) and not outdone(twelve, twelve)
    assert not outdone(twelve, mixed) and not outdone(mixed, twelve)  # neither is converged further than the other
    assert not outdone("quick", sixteen) and not outdone("quick (nothing.known=1)", "quick (nothing.known=2)")
    assert not outdone(f"{twelve[:-1]}, dft.recipe=small)", sixteen)
    assert not outdone("quick (dft.directions=hop)", "quick (dft.directions=all)")
    with Database(tmp_path / "a.db", create=True) as database:
        for record in (hop(sixteen, -100.0, 9.0), hop(twelve, -105.0, 2.0)):
            database.add(record)
        rows = database.rows([])
        (best,) = best_rows(rows)
        (alone,) = best_of_each(rows, "wind").values()
    assert best["preset"] == alone["preset"] == sixteen


@pytest.mark.parametrize("newest", [0, 1])
def test_of_two_heats_of_transport_that_are_converged_alike_the_surer_at_room_temperature_is_served(tmp_path, newest):
    thick, coupled = "quick (structure.thick_layers=(12, 10))", "quick (dft.spin_orbit=True)"
    made = [synthetic.record(site="hop average", fraction=math.nan, preset=label, k_wind_uohm_cm=math.nan, q_condition="E=0",
                             q_of_temperature={"temperature_K": [200.0, 300.0, 900.0], "q_el_eV": [0.1, 0.1, math.nan],
                                               "q_el_sigma_eV": [cold, room, math.nan]})
            for label, cold, room in ((thick, 0.01, 0.05), (coupled, 0.09, 0.04))]
    with Database(tmp_path / "a.db", create=True) as database:
        for record in made if newest else reversed(made):
            database.add(record)
        (best,) = best_rows(database.rows([]))
    assert best["joined"]["heat"]["preset"] == coupled


def test_a_heat_of_transport_that_lacks_a_part_of_its_uncertainty_is_not_served_for_being_surer(tmp_path):
    thick, coupled = "quick (structure.thick_layers=(12, 10))", "quick (dft.spin_orbit=True)"
    made = [synthetic.record(site="hop average", fraction=math.nan, preset=label, k_wind_uohm_cm=math.nan, q_condition="E=0",
                             provenance=synthetic.provenance(heat={"sigma_parts": {"q_el_eV": {"layers": [layers]}}}),
                             q_of_temperature={"temperature_K": [300.0], "q_el_eV": [0.1], "q_el_sigma_eV": [sigma]})
            for label, layers, sigma in ((thick, 0.04, 0.05), (coupled, None, 0.02))]
    with Database(tmp_path / "a.db", create=True) as database:
        for record in made:
            database.add(record)
        (best,) = best_rows(database.rows([]))
        (bare,) = select(database, [], Question(which="best", details=False)).rows
    assert best["joined"]["heat"]["preset"] == bare["joined"]["heat"]["preset"] == thick
    assert best["provenance"] and not bare["provenance"]


def test_a_row_that_holds_k_along_the_hop_once_more_is_not_served_for_its_smaller_sigma(tmp_path):
    thick = "quick (direct.compute=False, structure.thick_layers=(16, 12))"
    labels = ("quick (dft.directions=all, direct.compute=False)", "quick", "quick (dft.functional=LDA)", thick,
              "quick (dft.directions=all, direct.compute=False, structure.thick_layers=(16, 12))")
    with Database(tmp_path / "a.db", create=True) as database:
        for number, label in enumerate(labels):
            database.add(hop(label, -110.0 + number, 3.0 + abs(number - 2)))
        rows = database.rows([])
        (best,) = best_rows(rows)
        (quick,) = best_rows([row for row in rows if "thick" not in row["preset"]])
    assert (best["preset"], quick["preset"]) == (thick, "quick")
    assert {row["preset"] for row in without_doubles(rows)} == {"quick", labels[2], thick}
    only = [row for row in rows if row["preset"] == labels[0]]
    assert without_doubles(only) == only
    assert along_the_hop(labels[-1]) == along_the_hop(thick) == "quick (structure.thick_layers=(16, 12))"


def test_another_functional_is_not_served_for_its_smaller_sigma_where_neither_is_converged_further(tmp_path):
    """Rows of kinetics with fewer atoms that move are both beside the preset; sigma of LDA's lacks the part functional."""
    blank = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}, "energies_eV": [], "k_of_energy_uohm_cm": []}
    with Database(tmp_path / "a.db", create=True) as database:
        for label, barrier, sigma in (("quick (kinetics.shells=0)", 0.66, 0.27),
                                      ("quick (dft.functional=LDA, kinetics.shells=0)", 0.89, 0.19)):
            database.add(synthetic.record(site="hop average", fraction=math.nan, preset=label, method="vineyard",
                                          barrier_eV=barrier, barrier_sigma_eV=sigma, **blank))
        (best,) = best_rows(database.rows([]))
    assert best["barrier_eV"] == 0.66


def test_a_denser_mesh_is_served_in_whatever_basis_and_another_basis_alone_is_not(tmp_path):
    finer = {basis: preset_label("quick", {"host.embedding_mesh": 48} | basis_field)
             for basis, basis_field in {"default": {}, "small": {"dft.recipe": "small"}}.items()}
    for rows, served in (
        ([hop("quick", -82.0, 48.0), hop(SMALL, -62.0, 3.0)], "quick"),
        ([hop("quick", -82.0, 3.0), hop(finer["small"], -59.0, 20.0)], finer["small"]),
        ([hop(finer["default"], -112.0, 10.0), hop(finer["small"], -111.0, 7.0)], finer["small"]),  # equals: the smaller sigma
    ):
        with Database(tmp_path / f"{served} {len(rows)} {rows[0].preset}.db", create=True) as database:
            for record in rows:
                database.add(record)
            (best,) = best_rows(database.rows([]))
        assert best["preset"] == served


def test_labels_are_read_as_they_are_written():
    overrides = {"structure.slab_size": (4, 4, 1), "dft.grid_A": 0.2, "kinetics.plane_wave": True}
    assert refinement(preset_label("quick", overrides), "kinetics") == FURTHER


def vacancy(preset, **values):
    parts = {"basis": 0.01, "k_points": 0.1, "cell": None, "layers": None}
    no_wind = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}}
    kinetics = {"barrier_eV": 0.6, "barrier_sigma_eV": 0.1, "nu0_THz": 2.0, "nu0_sigma_THz": 0.3, "d0_m2_s": 2e-7,
                "d0_sigma_m2_s": 2e-8, "kinetics_details": {"barrier_sigma_parts_eV": parts}}
    place = {"facet": "bulk", "defect": "vacancy", "hop": "vacancy-110", "site": "hop average", "fraction": math.nan}
    return synthetic.record(preset=preset, **(place | no_wind | kinetics | values))


def test_an_activation_energy_with_the_formation_energy_is_served_though_its_sigma_is_larger(tmp_path):
    with Database(tmp_path / "a.db", create=True) as database:
        database.add(vacancy("quick (kinetics.shells=0)", ea_eV=0.6, ea_sigma_eV=0.1))
        database.add(vacancy("quick (kinetics.plane_wave=True, kinetics.shells=0)", formation_energy_eV=0.9,
                             formation_energy_sigma_eV=0.2, ea_eV=1.5, ea_sigma_eV=0.22))
        (best,) = best_rows(database.rows([]))
    assert (best["ea_eV"], best["formation_energy_eV"]) == (1.5, 0.9)


def test_a_prefactor_with_the_formation_entropy_is_served_though_its_sigma_is_larger(tmp_path):
    """D0 of self-diffusion has exp(S_f/k_B), a factor of 14 in Cu, and no sigma says that it was left out."""
    known = {"formation_energy_eV": 0.9, "formation_energy_sigma_eV": 0.2, "ea_eV": 1.5}
    with Database(tmp_path / "a.db", create=True) as database:
        without = vacancy("quick (kinetics.shells=0, structure.bulk_size=(3, 2, 2))", ea_sigma_eV=0.2, **known)
        database.add(without)
        details = {**without.kinetics_details, "formation_entropy": {"value_kB": 2.7}}
        database.add(vacancy("quick (kinetics.formation_entropy=True, kinetics.shells=0)", ea_sigma_eV=0.3,
                             **known | {"d0_m2_s": 3e-6, "kinetics_details": details}))
        database.add(vacancy("quick (kinetics.shells=0)", ea_eV=0.6, ea_sigma_eV=0.1,
                             kinetics_details=details))
        (best,) = best_rows(database.rows([]))
    assert (best["ea_eV"], best["d0_m2_s"]) == (1.5, 3e-6)
