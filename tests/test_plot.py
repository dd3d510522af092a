from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from PIL import Image
from test_query import resistivity

from emforce import plot
from emforce.database import Database
from emforce.errors import InputError


@pytest.fixture
def rows(tmp_path):
    with Database(tmp_path / "emforce.db", create=True) as database:
        for metal, facet, K in (("Cu", "100", -135.0), ("W", "110", 70.0)):
            names = {"metal": metal, "facet": facet, "species": metal}
            database.add(synthetic.record(**names, site="initial", fraction=0.0, k_wind_uohm_cm=K))
            database.add(synthetic.record(**names, k_wind_uohm_cm=1.1 * K))
            database.add(
                synthetic.record(**names, site="hop average", fraction=math.nan, k_wind_uohm_cm=1.05 * K)
            )
        return database.rows()


def caption(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_hop_figure(rows):
    figure = plot.hop_figure(rows)
    assert [axis.get_title() for axis in figure.axes] == ["Cu(100) adatom", "W(110) adatom"]
    for axis, K in zip(figure.axes, (-135.0, 70.0), strict=True):
        assert axis.get_xlabel() == "Fraction of the hop $s$"
        assert axis.get_ylabel() == r"$K_\mathrm{wind}$ (µΩ cm)"
        (points,) = axis.containers  # the error bars
        assert np.allclose(points.lines[0].get_xydata(), [[0, K], [0.5, 1.1 * K]])
        bars = points.lines[2][0].get_segments()[0][:, 1]
        assert (bars[1] - bars[0]) / 2 == pytest.approx(rows[0]["k_wind_sigma_uohm_cm"])
        assert any(np.allclose(line.get_ydata(), 1.05 * K) for line in axis.lines)
        assert [text.get_text() for text in axis.get_legend().get_texts()] == ["hollow-bridge-hollow"]
    for words in ("upwind", "one standard uncertainty", "preset quick", "embedding", "GPAW", "2025-01-02"):
        assert words in caption(figure)


def test_wind_figure(rows):
    figure = plot.wind_figure(rows, (300.0, 600.0), resistivity)
    main = [axis for axis in figure.axes if axis.get_ylabel()]
    assert [axis.get_ylabel() for axis in main] == [r"$Z_\mathrm{wind}$"] * 2
    assert [axis.get_xlabel() for axis in main] == [r"$1/\rho$ (1/(µΩ cm))"] * 2
    (upper,) = main[0].child_axes
    assert upper.get_xlabel() == "Temperature $T$ (K)"
    assert [tick.get_text() for tick in upper.get_xticklabels()] == ["300", "600"]
    assert np.allclose(upper.get_xticks(), [1 / resistivity("Cu", 300.0), 1 / resistivity("Cu", 600.0)])
    first = main[0].containers[0].lines[0].get_ydata()
    assert np.allclose(first, [-135.0 / resistivity("Cu", T) for T in (300.0, 600.0)])
    assert [text.get_text() for text in main[0].get_legend().get_texts()] == [
        "initial",
        "saddle",
        "hop average",
    ]
    assert "ρ of Cu 300 K, Cu 600 K, W 300 K, W 600 K: given by the caller." in caption(figure)


def test_temperatures_beyond_melting_are_left_out(rows):
    copper = [row for row in rows if row["metal"] == "Cu"]
    figure = plot.wind_figure(copper, (300.0, 2000.0), resistivity)
    assert [tick.get_text() for tick in figure.axes[0].child_axes[0].get_xticklabels()] == ["300"]
    with pytest.raises(InputError, match="melting"):
        plot.wind_figure(copper, (2000.0,), resistivity)


def test_hosts_that_look_alike_are_drawn_once():
    host = synthetic.host(preset="quick (dft.spin_orbit=True)")
    rounded = replace(host, preset="quick", bands_lcao_eV=host.bands_lcao_eV + 1e-5)
    other = replace(host, preset="quick (structure.slab_size=(4, 3, 1))", bands_lcao_eV=host.bands_lcao_eV + 0.01)
    metal = replace(host, metal="Ag")
    longer = replace(host, preset="quick (y)", bands_lcao_eV=np.repeat(host.bands_lcao_eV, 2, axis=1))
    compared = replace(host, preset="quick (z)", omega_p_compared_eV=1.01 * host.omega_p_compared_eV)
    found = plot.different_bands([host, rounded, other, metal, longer, compared])
    assert [one.preset for one in found] == [one.preset for one in (rounded, other, metal, longer, compared)]


def test_host_figure():
    figure = plot.host_figure(synthetic.host(status="outside tolerance", reason="bands differ"))
    bands, side = figure.axes
    assert bands.get_ylabel() == r"$E - E_\mathrm{F}$ (eV)" and bands.get_xlabel() == "Wave vector"
    assert [tick.get_text() for tick in bands.get_xticklabels()] == [r"$\Gamma$", "X"]
    assert [text.get_text() for text in side.get_legend().get_texts()] == ["LCAO", "plane waves"]
    numbers = side.texts[0].get_text()
    assert "LCAO 9.1" in numbers and "plane waves 8.85  (+2.8 %)" in numbers and "(eV)" in numbers
    assert "outside tolerance; bands differ" in caption(figure)
    with pytest.raises(InputError, match="bands"):
        plot.host_figure(synthetic.host(bands_lcao_eV=np.zeros((0, 0))))


def test_colours_and_markers_tell_series_apart(rows):
    more = [{**row, "hop": "another"} for row in rows] + rows
    containers = plot.hop_figure(more).axes[0].containers
    assert len({bar.lines[0].get_color() for bar in containers}) == 2
    assert len({bar.lines[0].get_marker() for bar in containers}) == 2


def test_rows_without_numbers_are_no_figure():
    bad = synthetic.failed().document()
    for draw in (plot.hop_figure, plot.wind_figure):
        with pytest.raises(plot.NothingToDraw, match="plot"):
            draw([bad])


def test_files(rows, tmp_path):
    paths = plot.save(plot.hop_figure(rows), tmp_path / "new" / "k.v2")
    assert [path.name for path in paths] == ["k.v2.pdf", "k.v2.svg", "k.v2.png"]
    starts = [path.read_bytes()[:8] for path in paths]
    assert (
        starts[0].startswith(b"%PDF") and starts[1].startswith(b"<?xml") and starts[2] == b"\x89PNG\r\n\x1a\n"
    )
    with Image.open(paths[2]) as image:
        assert image.mode == "P" and image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert "Fraction of the hop" in paths[1].read_text(encoding="utf-8")  # text stays text
    again = plot.save(plot.hop_figure(rows), tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    with pytest.raises(InputError, match="pdf, svg, png"):
        plot.save(plot.hop_figure(rows), tmp_path / "x", ["gif"])
