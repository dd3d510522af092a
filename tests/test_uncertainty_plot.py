"""Figures of the parts of an uncertainty: bars are the stored parts, and what was not estimated is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic

from emforce import cli
from emforce.best import best_rows
from emforce.database import Database
from emforce.plot import NothingToDraw
from emforce.uncertainty_plot import parts_of, uncertainty_figures

K_PARTS = {"fermi_energy": 12.0, "layers": 9.0, "mesh": 8.0, "path": 0.05, "finite_difference": math.nan}  # 17 together
AVERAGE = {"site": "hop average", "fraction": math.nan}
WIND = {**AVERAGE, "k_wind_uohm_cm": -114.0, "k_wind_sigma_parts_uohm_cm": K_PARTS, "energies_eV": np.array([-0.1, 0.0, 0.1]),
        "k_of_energy_uohm_cm": np.array([-110.0, -114.0, -118.0])}  # fmt: skip
DETAILS = {"barrier_sigma_parts_eV": {"basis": 0.08, "relaxation": 0.06, "k_points": None},
           "nu0_sigma_parts_THz": {"sum_rule": 0.3, "noise": 0.4}, "nu0_by_shells_THz": [2.8, 3.2, 3.0],
           "shell_atoms": [[36], [3, 7, 15, 19, 27, 31], [2, 14]],
           "formation_energy": {"sigma_parts_eV": {}}}  # fmt: skip
HEAT = {"temperature_K": [300.0, 500.0], "sigma_parts": {"q_el_eV": {"scattering_time": [0.03, 0.05], "smearing": [0.04, 0.12],
                                                                     "resistivity": [None, None]}}}  # fmt: skip


CU, W = "uncertainty-Cu-100-hollow-bridge-hollow-Cu", "uncertainty-W-110-hollow-bridge-hollow-W"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """Cu(100): wind and direct part under two settings, kinetics, heat; W(110): a wind force with an interval of Z_direct."""
    path = tmp_path_factory.mktemp("uncertainty") / "emforce.db"
    with Database(path, create=True) as database:
        direct = {"drift": 0.3, "region": 0.4, "layers": math.nan}
        database.add(synthetic.record(**WIND, z_direct=0.7, z_direct_sigma_parts=direct))
        database.add(synthetic.record(**{**WIND, "k_wind_uohm_cm": -100.0},
                                      preset="quick (embedding.radii_A=(8.0, 7.4), structure.layers=6)"))
        database.add(synthetic.record(site="initial", fraction=0.0, energies_eV=WIND["energies_eV"],
                                      k_of_energy_uohm_cm=np.array([-100.0, -101.0, -102.0])))
        bare = {"k_wind_uohm_cm": math.nan, "k_wind_sigma_parts_uohm_cm": {}, "energies_eV": np.zeros(0),
                "k_of_energy_uohm_cm": np.zeros(0)}  # fmt: skip
        database.add(synthetic.record(**AVERAGE, **bare, method="barrier", barrier_eV=0.5, barrier_sigma_eV=0.1, nu0_THz=3.0,
                                      nu0_sigma_THz=0.5, kinetics_details=DETAILS))
        database.add(synthetic.record(
            **AVERAGE, **bare, method="heat", q_condition="E=0", provenance=synthetic.provenance(heat=HEAT),
            q_of_temperature={"temperature_K": np.array([300.0, 500.0]), "q_el_eV": np.array([0.1, 0.2]),
                              "q_el_sigma_eV": np.array([0.05, 0.13])}))
        database.add(synthetic.record(**{**WIND, "k_wind_uohm_cm": 47.0}, metal="W", facet="110", species="W", z_direct_low=-1.0,
                                      z_direct_high=3.0, z_direct_sigma_parts={"region": 2.0}))
    return str(path)


@pytest.fixture(scope="module")
def rows(db):
    with Database(db) as database:
        return database.rows()


@pytest.fixture(scope="module")
def figures(rows):
    return {stem: figure for figure, stem in uncertainty_figures(rows, 480.0)}


def panel(figure, words):
    return next(axis for axis in figure.axes if words in axis.get_title())


def bars(axis):
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    return dict(zip(names, (bar.get_width() for bar in axis.patches), strict=True))


def words(axis):
    return " ".join(" ".join(text.get_text() for text in axis.texts).split())


def test_bars_are_the_parts(figures):
    assert set(figures) == {CU, W}
    wind = panel(figures[CU], "114")
    assert bars(wind) == pytest.approx({"total": math.hypot(17, 0.05), "Fermi energy": 12.0, "layers": 9.0, "mesh": 8.0})
    assert "not estimated: smearing, region, finite difference, geometry, basis" in words(wind)
    assert "below 1 % of σ: path" in words(wind)
    assert wind.get_xlabel().endswith("(µΩ cm)") and "−114 ± 17 µΩ cm" in wind.get_title()
    direct = panel(figures[CU], "0.70 ± 0.50")
    assert bars(direct) == pytest.approx({"total": 0.5, "region": 0.4, "drift": 0.3}) and "units of $e$" in direct.get_xlabel()
    barrier = panel(figures[CU], "0.50 ± 0.10 eV")
    assert bars(barrier) == pytest.approx({"total": 0.1, "basis": 0.08, "relaxation": 0.06})
    assert words(barrier).endswith("not estimated: k points")
    rate = panel(figures[CU], "3.00 ± 0.50 THz")
    assert bars(rate) == pytest.approx({"total": 0.5, "noise": 0.4, "sum rule": 0.3})


def test_heat_is_that_of_the_nearest_stored_temperature(figures):
    heat = panel(figures[CU], "500 K")
    assert bars(heat) == pytest.approx({"total": 0.13, "smearing": 0.12, "scattering time": 0.05})
    assert "not estimated: resistivity" in words(heat)


def test_what_is_stored_beside_the_value_is_drawn(figures):
    figure = figures[CU]
    energies = {line.get_label(): line.get_ydata() for line in panel(figure, "(E)").lines}
    assert list(energies["hop average"]) == [-110.0, -114.0, -118.0] and list(energies["initial"]) == [-100.0, -101.0, -102.0]
    settings = panel(figure, "under other settings")
    assert [container.lines[0].get_xdata()[0] for container in settings.containers] == [-114.0, -100.0]
    labels = [tick.get_text() for tick in settings.get_yticklabels()]
    assert labels == ["quick\nas shipped", "embedding.radii_A=(8.0,\n7.4)\nstructure.layers=6"]
    fills = [container.lines[0].get_markerfacecolor() for container in settings.containers]
    assert fills[1] == "white" and fills[0] != "white"  # the row that is served
    shells = panel(figure, "atoms that move")
    assert shells.lines[0].get_xydata().tolist() == [[1, 2.8], [7, 3.2], [9, 3.0]]
    assert not any("other settings" in axis.get_title() for axis in figures[W].axes)


def test_an_interval_has_a_total_too(figures):
    direct = panel(figures[W], "−1 to 3")
    assert bars(direct) == pytest.approx({"total": 2.0, "region": 2.0})


def test_no_texts_overlap_in_a_panel(figures):
    figure = figures[CU]
    figure.draw_without_rendering()
    for axis in figure.axes:
        if axis.texts:
            (note,) = [text for text in axis.texts if text.get_transform() == axis.transAxes]
            low = min(bar.get_window_extent().y0 for bar in axis.patches)
            assert note.get_window_extent().y1 < low


def test_nothing_to_draw(rows):
    (row,) = best_rows([row for row in rows if row["metal"] == "W"])
    bare = {**row, "k_wind_sigma_parts_uohm_cm": None, "z_direct_sigma_parts": None}
    assert parts_of(bare, None, 300.0) == []
    with pytest.raises(NothingToDraw, match="named parts"):
        uncertainty_figures([bare])


def test_the_command(db, tmp_path, capsys):
    assert cli.main(["plot", "metal=W", "--kind", "uncertainty", "--format", "svg", "--out", str(tmp_path), "--db", db]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{W}.svg"]
