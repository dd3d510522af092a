"""Adatoms off their height: only the mover moves, and the change of K is a part of sigma of the rows as relaxed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import synthetic

from emforce.assess import GEOMETRY_SLOPE
from emforce.best import best_rows
from emforce.database import Database
from emforce.errors import InputError
from emforce.kinetics import kinetics
from emforce.lift import LIFT, lift_between, lifted, misplacement_A
from emforce.settings import load_settings
from emforce.structure import built_hop
from emforce.variations import add_with_variations, with_variations
from emforce.workflow import load_hops

STRUCTURES = Path(__file__).parents[1] / "structures"
RAISED = "quick (direct.compute=False, structure.mover_lift_A=0.05)"
COUPLED = "quick (dft.spin_orbit=True, structure.slab_size=(4, 3, 1))"
ACROSS = 1 / math.sqrt(2)


def hop(preset="quick", k=50.0, geometry=3.0, **changes):
    parts = {"fermi_energy": 12.0, "geometry": geometry}
    direct = {"z_direct": 0.5, "z_direct_sigma_parts": {"region": 0.1}}
    values = {"k_wind_uohm_cm": k, "k_wind_sigma_parts_uohm_cm": parts, **direct}
    return synthetic.record(**{"site": "hop average", "fraction": math.nan, "preset": preset, **values, **changes})


@pytest.mark.parametrize("name", ["w110-adatom", "cu111-adatom"])
def test_the_mover_alone_moves_and_along_the_normal(name):
    built = built_hop(STRUCTURES / f"{name}.toml", load_settings("quick"))
    moved = lifted(built, -0.05)
    for before, after in zip(built.images, moved.images, strict=True):
        change = after.atoms.positions - before.atoms.positions
        assert change[before.mover] == pytest.approx([0.0, 0.0, -0.05])
        assert np.abs(np.delete(change, before.mover, axis=0)).max() < 1e-12
    assert moved.hop_vector == pytest.approx(built.hop_vector)
    assert lifted(built, 0.0) is built


def test_the_setting_moves_the_relaxed_mover():
    spec = STRUCTURES / "w110-adatom.toml"
    (relaxed,), (raised,) = (load_hops([spec], preset="quick", overrides=changes) for changes in ({}, {LIFT: 0.05}))
    built = built_hop(spec, load_settings("quick"))
    image = relaxed.images[0]
    assert image.mover_position[2] < built.images[0].mover_position[2] - 0.1  # came down on relaxation
    assert raised.images[0].mover_position - image.mover_position == pytest.approx([0.0, 0.0, 0.05])


def test_not_in_bulk_and_in_no_other_command(tmp_path):
    with pytest.raises(InputError, match=r"structure\.mover_lift_A: 0\.05 is not allowed; allowed: 0 in bulk"):
        load_hops([STRUCTURES / "cu-vacancy.toml"], preset="quick", overrides={LIFT: 0.05})
    with pytest.raises(InputError, match=r"structure\.mover_lift_A.*0 here"):
        kinetics([STRUCTURES / "w110-adatom.toml"], preset="quick", overrides={LIFT: 0.05}, workers=1,
                 database=str(tmp_path / "a.db"), store=tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_lifts_that_are_all_the_difference():
    assert lift_between("quick", RAISED) == 0.05
    assert all(lift_between(*labels) is None for labels in ((COUPLED, RAISED), (RAISED, "quick"), (RAISED, RAISED)))
    assert lift_between("quick (dft.recipe=small)", "quick (dft.recipe=small, structure.mover_lift_A=-0.1)") == -0.1


@pytest.mark.parametrize(("k", "part"), [(60.0, math.sqrt(6.0**2 - 3.0**2)), (40.0, math.sqrt(6.0**2 - 3.0**2)), (53.0, 0.0)])
def test_the_change_for_the_misplacement_is_a_part_as_far_as_it_is_more_than_geometry(k, part):
    rows = [hop(), hop(RAISED, k), hop(COUPLED, 45.0)]
    assert misplacement_A(rows[0]) == pytest.approx(3.0 / GEOMETRY_SLOPE)
    for row in (rows[0], rows[2]):  # measured, and lent
        found = with_variations(row, rows)
        assert found.k_wind_sigma_parts_uohm_cm["mover_height"] == pytest.approx(part)
        assert found.k_wind_sigma_parts_uohm_cm["geometry"] == 3.0
        assert "mover_height" not in found.z_direct_sigma_parts  # not computed with the lift
        assert with_variations(found, rows) == found
        assert "mover_height" not in with_variations(found, []).k_wind_sigma_parts_uohm_cm
    assert with_variations(rows[0], rows).k_wind_sigma_uohm_cm == pytest.approx(math.hypot(12.0, 3.0, part))
    assert "mover_height" not in with_variations(rows[1], rows).k_wind_sigma_parts_uohm_cm


def test_of_a_drift_the_misplacement_is_the_same():
    drift = {"site": "drift [1-10]", "provenance": synthetic.provenance(drift={"direction": "[1-10]", "weights": [1.0, ACROSS]})}
    rows = [hop(k=60.0, geometry=3.0 * math.hypot(1.0, ACROSS), **drift), hop(RAISED, 80.0, **drift)]
    assert misplacement_A(rows[0]) == pytest.approx(0.03)
    entry = with_variations(rows[0], rows).provenance["varied"]["mover_height"][0]
    assert entry["share"] == pytest.approx(0.6) and entry["z_direct"] is None


def test_a_lifted_row_is_served_last(tmp_path):
    with Database(tmp_path / "a.db", create=True) as database:
        add_with_variations(database, [hop(), hop(RAISED, 60.0, geometry=0.1)])
        (best,) = best_rows(database.rows([]))
    assert best["preset"] == "quick" and best["k_wind_sigma_parts_uohm_cm"]["mover_height"] > 5.0
