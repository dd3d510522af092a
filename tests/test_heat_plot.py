"""The figure of the terms of the heat of transport: it shows what is stored, and says so when there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from test_heat_records import kinetics_record, made, row_of, wind_record

from emforce import cli
from emforce.database import Database
from emforce.heat_plot import terms_figure
from emforce.plot import NothingToDraw


def lines_of(axis):
    return {line.get_label(): line for line in axis.get_lines()}


def test_terms_are_what_is_stored():
    record = made(row_of(kinetics_record()))
    left, right = terms_figure([row_of(record)]).get_axes()
    drawn = lines_of(left)
    T, q = drawn["$Q^*(J=0)$"].get_data()
    np.testing.assert_allclose(T, record.q_of_temperature["temperature_K"])
    np.testing.assert_allclose(q, record.q_of_temperature["q_star_eV"])
    details = record.provenance["heat"]
    opened = drawn[r"$Q_\mathrm{el}(J=0)$"].get_ydata()
    served = np.isfinite(record.q_of_temperature["q_el_eV"])
    np.testing.assert_allclose(opened[served], np.array(details["q_el_open_circuit_eV"])[served])
    assert np.isnan(opened[~served]).all() and not served.all()
    assert any("interconnect" in label for label in drawn) and "cold" in left.figure.texts[0].get_text()
    measured = lines_of(right)["measured"]
    assert measured.get_ydata()[4] == pytest.approx(1.94)
    assert (lines_of(right)[r"$\tau$ constant"].get_ydata() < 0).all()


def test_each_hop_is_drawn_once_and_only_where_there_are_terms():
    rows = [row_of(made(), 1), row_of(made(row_of(kinetics_record())), 2), row_of(wind_record(), 3)]
    figure = terms_figure(rows)
    assert len(figure.get_axes()) == 2
    assert "$Q^*(J=0)$" in lines_of(figure.get_axes()[0])  # the newer of two rows of the same preset
    with pytest.raises(NothingToDraw, match="emforce heat"):
        terms_figure([row_of(wind_record())])


def test_command(capsys, tmp_path):
    with Database(tmp_path / "a.db", create=True) as rows:
        rows.add(made())
    options = ["--db", str(tmp_path / "a.db"), "--out", str(tmp_path), "--format", "svg"]
    assert cli.main(["plot", "--kind", "heat-terms", *options]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "heat-terms.svg")]
    assert (tmp_path / "heat-terms.svg").stat().st_size > 1000
