"""Figures of the effective valence: what is drawn is what the rows say."""

from __future__ import annotations

import numpy as np
import pytest
import wire_rows

from emforce import cli, plot, units, valence_plot
from emforce.database import Database
from emforce.errors import InputError
from emforce.materials import material
from emforce.wire_analysis import WireQuestion


@pytest.fixture
def stored(tmp_path):
    return read(wire_rows.write(tmp_path / "emforce.db"))


def read(location):
    with Database(location) as database:
        return database.rows(), {row["id"]: row for row in database.host_rows(everything=True)}


def caption(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_bars(stored):
    figure = valence_plot.bars_figure(*stored, 300.0)
    assert [axis.get_title() for axis in figure.axes] == ["Cu(100) adatom", "W(110) adatom"]
    for axis, metal, ion in zip(figure.axes, ("Cu", "W"), (1, 6), strict=True):
        wind = wire_rows.K[metal] / material(metal).rho_uohm_cm(300)
        names = [tick.get_text() for tick in axis.get_xticklabels()]
        assert names == ["computed", "model:\nion charge", "model:\nDrude number", "wind alone"]
        bars = [patch for patch in axis.patches if patch.get_height()]
        computed = [bar for bar in bars if bar.get_x() < 0.5]
        assert sorted(bar.get_height() for bar in computed) == pytest.approx(sorted([wire_rows.Z_DIRECT, wind]))
        # parts of one sign stand on each other, parts of different sign hang from zero
        ends = {bar.get_y() for bar in computed}
        assert ends == ({0.0} if wind < 0 else {0.0, wire_rows.Z_DIRECT})
        totals = [container.lines[0].get_ydata()[0] for container in axis.containers if hasattr(container, "has_yerr")]
        assert totals[0] == pytest.approx(wire_rows.Z_DIRECT + wind) and totals[1] == pytest.approx(ion + wind)
        assert "units of $e$" in axis.get_ylabel()
    for words in ("upwind", "300 K", "models of the direct part", "Matula", "preset quick", "GPAW"):
        assert words in caption(figure), words


def test_bars_without_a_computed_part(tmp_path):
    rows, hosts = read(wire_rows.write(tmp_path / "emforce.db", direct=False))
    figure = valence_plot.bars_figure(rows, hosts)
    assert figure.axes[0].get_xticklabels()[0].get_text() == "computed:\nno value"
    without = valence_plot.bars_figure(rows, {})  # no host: no Drude number
    assert len(without.axes[0].get_xticklabels()) == len(figure.axes[0].get_xticklabels()) - 1


def test_wires(stored):
    asked = WireQuestion((600.0, 900.0), (3.0, 30.0), (0.5,), (0.2,))
    figure = valence_plot.wire_figure(*stored, asked)
    copper, tungsten = figure.axes
    assert copper.get_xscale() == "log" and copper.get_xlabel() == "Wire diameter $d$ (nm)"
    labels = [text.get_text() for text in tungsten.get_legend().get_texts()]
    assert labels == ["computed", "model: ion charge", "model: Drude number", "wind alone"]
    curves = {line.get_label(): line for line in tungsten.lines}
    x, wind = curves["wind alone"].get_data()
    assert x[0] == pytest.approx(3.0) and x[-1] == pytest.approx(300.0)
    assert np.all(np.diff(wind) > 0)  # fades as the wire thins
    assert curves["computed"].get_ydata() - wind == pytest.approx(np.full(len(x), wire_rows.Z_DIRECT))
    bulk = wire_rows.K["W"] / material("W").rho_uohm_cm(600)
    assert wind[-1] < bulk < 1.15 * wind[-1]
    assert len(tungsten.collections) >= 4  # a band for each
    for words in ("600 K", "specularity 0.5", "reflection 0.2", "rho lambda = 0.84 fΩ m²", "one standard uncertainty"):
        assert words in caption(figure), words


def test_rows_of_one_hop_are_told_apart(stored):
    (row,) = (row for row in stored[0] if row["metal"] == "W" and row.get("z_total_of_tau"))
    figure = valence_plot.tau_figure([row, {**row, "preset": "quick (dft.functional=LDA)"}], stored[1])
    assert len(figure.axes) == 4 and len({axis.get_position().y0 for axis in figure.axes}) == 1, "two hops in a row"
    titles = [figure.axes[i].get_title() for i in (0, 2)]
    assert titles[1] == titles[0] + "\ndft.functional=LDA"
    assert "LDA" not in valence_plot.tau_figure([{**row, "preset": "quick (dft.functional=LDA)"}], stored[1]).axes[0].get_title()


def test_rates(stored):
    """What K/rho(tau) leaves of a made-up Z = 2/rate + 0.8 - 0.5 rate."""
    rows = [row for row in stored[0] if row["metal"] == "W"]
    figure = valence_plot.tau_figure(rows, stored[1])
    left, right = figure.axes
    lines = {line.get_label(): line.get_data() for axis in (left, right) for line in axis.lines}
    rate, total = lines[r"total $Z(\tau)$"]
    assert total == pytest.approx(2 / rate + 0.8 - 0.5 * rate)
    x, wind = lines[r"wind part $\tau m$"]
    m = wire_rows.K["W"] * units.uohm_cm * units.epsilon0 * wire_rows.OMEGA["W"] ** 2
    assert wind * x == pytest.approx(np.full(len(x), m), rel=1e-6)
    assert lines[r"remainder $Z - \tau m$"][1] == pytest.approx((2.0 - m) / rate + 0.8 - 0.5 * rate, abs=1e-5)
    # a row that knows the remainder with the response's own m is drawn with it
    own = np.linspace(0.7, 0.8, len(rate))
    knowing = [{**row, "z_total_of_tau": {**row["z_total_of_tau"], "remainders": own.tolist()}}
               for row in rows if row["z_total_of_tau"]]
    drawn = {line.get_label(): line.get_data() for line in valence_plot.tau_figure(knowing, stored[1]).axes[1].lines}
    assert drawn[r"remainder $Z - \tau m$"][1] == pytest.approx(own)
    (point,) = right.containers
    assert point.lines[0].get_data() == ([0], [wire_rows.Z_DIRECT])
    (band,) = left.collections
    scale = units.uohm_cm * units.epsilon0 * wire_rows.OMEGA["W"] ** 2
    corners = band.get_paths()[0].vertices
    at_least = corners[np.isclose(corners[:, 0], rate.min())]
    assert at_least[:, 1].mean() == pytest.approx(wire_rows.K["W"] * scale / rate.min(), rel=0.05)
    assert left.get_xlabel() == r"Scattering rate $\hbar/\tau$ (eV)"


def test_nothing_to_draw(stored, tmp_path):
    rows, hosts = stored
    sites = [row for row in rows if row["site"] == "initial"]
    for draw in (lambda: valence_plot.bars_figure(sites, hosts), lambda: valence_plot.wire_figure(sites, hosts),
                 lambda: valence_plot.tau_figure(sites, hosts), lambda: valence_plot.wire_figure(rows, {})):
        with pytest.raises(plot.NothingToDraw, match=" to draw: "):
            draw()
    with pytest.raises(InputError, match="temperature_K"):
        valence_plot.bars_figure(rows, hosts, 5000.0)


def test_the_command_draws_what_there_is_data_for(stored, tmp_path, capsys):
    responses = ["z-of-tau-Cu", "z-of-tau-W"]  # a figure per metal
    assert [stem for _, stem in valence_plot.figures(*stored, None, 300.0)] == ["z-star-parts", "z-star-wire", *responses]
    assert [stem for _, stem in valence_plot.figures(*stored, ["tau"], 300.0)] == responses
    assert valence_plot.figures([row for row in stored[0] if row["site"] == "initial"], {}, None, 300.0) == []
    db, out = wire_rows.write(tmp_path / "second.db", direct=False), tmp_path / "figures"
    arguments = ["plot", "--kind", "wire", "--kind", "bars", "--format", "svg", "--out", str(out), "--db", db]
    assert cli.main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ["z-star-parts.svg", "z-star-wire.svg"]
    capsys.readouterr()
    assert cli.main(["plot", "--kind", "tau", "--db", db]) == 1
    printed = capsys.readouterr()
    assert "z_total_of_tau" in printed.err and len(printed.err.splitlines()) == 1 and not printed.out


def test_saved_as_vector_and_pixels(stored, tmp_path):
    paths = plot.save(valence_plot.bars_figure(*stored), tmp_path / "bars")
    assert sorted(path.suffix for path in paths) == [".pdf", ".png", ".svg"]
    assert all(path.stat().st_size > 5000 for path in paths)
