"""Figures of kinetics and phonons: what is drawn is what the rows say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from emforce import cli, kinetics_plot, phonon_plot, plot, units
from emforce.database import Database
from emforce.errors import InputError
from emforce.record import Record
from emforce.reference import reference_records, store

NAN = float("nan")
D0, EA = 2e-7, 0.55


def kinetics(**changes) -> Record:
    values = {
        "spec": "cu100", "site": "hop average", "method": "barrier and Hessian, LCAO", "fraction": NAN,
        "k_wind_uohm_cm": NAN, "k_wind_sigma_parts_uohm_cm": {}, "energies_eV": np.zeros(0), "k_of_energy_uohm_cm": np.zeros(0),
        "barrier_eV": EA, "barrier_sigma_eV": 0.03, "d0_m2_s": D0, "d0_sigma_m2_s": 0.3 * D0, "ea_eV": EA, "ea_sigma_eV": 0.03,
        "kinetics_condition": "tracer diffusion of one Cu adatom", "checks": (),
        "kinetics_details": {"energies_along_hop": {"fraction": [0.0, 0.5], "energy_eV": [0.0, EA]}},
    }  # fmt: skip
    return synthetic.record(**(values | changes))


@pytest.fixture
def location(tmp_path):
    path = tmp_path / "emforce.db"
    with Database(path, create=True) as database:
        x = np.linspace(0, 3, 31)
        bands = np.abs(np.sin(x))[:, None] * np.array([4.0, 5.0, 7.0])
        database.add_host(synthetic.host(
            facet="bulk", phonon_status="ok", debye_temperature_K=320.0, debye_temperature_sigma_K=4.0, phonon_path=x,
            phonon_ticks=((0.0, "G"), (3.0, "X")), phonon_bands_THz=bands,
            phonon_details={"highest_THz": 7.0, "supercell_atoms": 32, "debye_measured_K": 344.3,
                            "debye_measured_source": "D. L. Martin",
                            "dos_frequency_THz": [0, 4, 7], "dos_per_THz_atom": [0, 1, 0]}))
        database.add(kinetics())
        database.add(synthetic.record(spec="cu100", site="initial", fraction=0.0, k_wind_uohm_cm=-20.0))
        database.add(synthetic.record(spec="cu100", site="saddle", fraction=0.5, k_wind_uohm_cm=-60.0))
        database.add(kinetics(spec="cu-vacancy", facet="bulk", defect="vacancy", hop="vacancy-110", ea_eV=2.0,
                              formation_energy_eV=1.2, formation_energy_sigma_eV=0.1, kinetics_details={}, d0_m2_s=1e-5,
                              d0_sigma_m2_s=1e-6))
        store(database, reference_records())
    return path


def caption(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def read(location):
    with Database(location) as database:
        return database.rows(), database.rows(standing=("literature",)), database.hosts()


def test_path(location):
    rows, _, _ = read(location)
    ((figure, stem),) = kinetics_plot.path_figures(rows)
    left, right = figure.axes
    assert stem.startswith("path-Cu-100-") and "upwind" in caption(figure) and "0.550 ± 0.030 eV" in caption(figure)
    points = np.concatenate([line.get_xydata() for line in left.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(sorted(map(tuple, points)), [(0, 0), (0.5, 550), (1, 0)], atol=1e-9)
    forces = np.concatenate([line.get_xydata() for line in right.lines if line.get_marker() == "s"])
    np.testing.assert_allclose(sorted(map(tuple, forces)), [(0, -20), (0.5, -60), (1, -20)], atol=1e-9)
    guide = np.concatenate([line.get_ydata() for line in left.lines if line.get_linestyle() == ":"])
    assert guide.min() >= -1e-9 and guide.max() == pytest.approx(550.0)


def test_path_has_the_barriers_as_served(location):
    """The local basis has 0.40 eV, plane waves made 0.55 of it; the way back is lower by 0.10 eV."""
    with Database(location) as database:
        local = {"fraction": [0.0, 0.5, 1.0], "energy_eV": [0.0, 0.4, 0.02]}
        database.add(kinetics(spec="cu111", facet="111", hop="fcc-bridge-hcp",
                              kinetics_details={"energies_along_hop": local, "reverse": {"barrier_eV": EA - 0.1}}))
    figure, _ = next(found for found in kinetics_plot.path_figures(read(location)[0]) if "111" in found[1])
    points = np.concatenate([line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "o"])
    np.testing.assert_allclose(sorted(map(tuple, points)), [(0, 0), (0.5, 550), (1, 100)], atol=1e-9)


def test_path_shows_images_between_in_the_local_basis(location):
    with Database(location) as database:
        images = {"fraction": [0.0, 0.25, 0.375, 0.5], "energy_eV": [-7.0, -6.8, -6.55, -6.6]}
        stationary = {"fraction": [0.0, 0.5], "energy_eV": [0.0, 0.4]}
        details = {"energies_along_hop": stationary, "energies_as_relaxed": images}
        database.add(kinetics(spec="flat", facet="110", kinetics_details=details))
    found = kinetics_plot.path_figures(read(location)[0])
    figure, _ = next(item for item in found if "110" in item[1])
    points = np.concatenate([line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "D"])
    expected = [(0, 0), (0.25, 200), (0.375, 450), (0.5, 400), (0.5, 400), (0.625, 450), (0.75, 200), (1, 0)]
    np.testing.assert_allclose(sorted(map(tuple, points)), expected, atol=1e-9)
    assert "local basis" in caption(figure)
    other, _ = next(item for item in found if "110" not in item[1])
    assert "local basis" not in caption(other)


def test_path_has_the_wind_that_is_served_and_not_the_newest(location):
    """A later row with another functional, and one that holds K along the hop once more, change nothing."""
    with Database(location) as database:
        rows = [record for record in database.records() if record.k_wind_uohm_cm == record.k_wind_uohm_cm]
        for preset in ("quick (dft.functional=LDA)", "quick (dft.directions=all)"):
            for record in rows:
                database.add(replace(record, preset=preset, k_wind_uohm_cm=record.k_wind_uohm_cm - 7.0))
            database.add(replace(rows[0], preset=preset, site="hop average", fraction=math.nan))
        alone = kinetics_plot.path_figures(database.rows())
        database.add(replace(rows[0], site="hop average", fraction=math.nan))
        served = kinetics_plot.path_figures(database.rows())
    drawn = {}
    for name, ((figure, _),) in (("alone", alone), ("served", served)):
        lines = [line.get_xydata() for line in figure.axes[1].lines if line.get_marker() == "s"]
        drawn[name] = sorted(map(tuple, np.concatenate(lines)))
    np.testing.assert_allclose(drawn["served"], [(0, -20), (0.5, -60), (1, -20)], atol=1e-9)
    assert drawn["alone"] != drawn["served"]  # the only averages are of the other rows: their points go with them


def test_path_without_wind_says_so(location):
    rows = [row for row in read(location)[0] if row["k_wind_uohm_cm"] is None]
    ((figure, _),) = kinetics_plot.path_figures(rows)
    assert "no wind force" in figure.axes[1].texts[0].get_text()


def test_diffusion(location):
    rows, published, _ = read(location)
    figure = kinetics_plot.diffusion_figure(rows, published)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["adatoms", "bulk"]
    (own,) = (line for line in figure.axes[0].lines if line.get_label() == "Cu(100)")
    x, d = own.get_data()
    np.testing.assert_allclose(d, D0 * np.exp(-EA * x / 1e3 / units.K), rtol=1e-12)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    hot = float(x.min())
    width = math.log(band[np.isclose(band[:, 0], hot), 1].max() / band[np.isclose(band[:, 0], hot), 1].min())
    assert width == pytest.approx(2 * math.hypot(0.3, 0.03 * hot / 1e3 / units.K), rel=1e-6)
    names = [line.get_label() for line in figure.axes[1].lines]
    assert "Cu bulk, Krautheim 1979" in names and not any("Ag" in name for name in names), "only hops that are ours"
    (krautheim,) = (line for line in figure.axes[1].lines if "Krautheim" in str(line.get_label()))
    assert 1e3 / krautheim.get_xdata().max() == pytest.approx(1078) and krautheim.get_linestyle() == "None"
    assert "Krautheim" in caption(figure) and "one standard uncertainty of ln D" in caption(figure)


def test_lines_that_are_not_alike_look_different(location):
    """W(110) has two published lines without temperatures; a vacancy alone is not self-diffusion."""
    with Database(location) as database:
        database.add(kinetics(spec="w110", metal="W", species="W", facet="110"))
        database.add(kinetics(spec="au-vacancy", metal="Au", species="Au", facet="bulk", defect="vacancy", hop="vacancy-110",
                              kinetics_condition="diffusion of the vacancy itself: its formation energy is not known"))
    rows, published, _ = read(location)
    surface, bulk = kinetics_plot.diffusion_figure(rows, published).axes[:2]
    theirs = [line for line in surface.lines if str(line.get_label()).startswith("W(110), ")]
    assert len(theirs) == 2 and len({str(line.get_linestyle()) for line in theirs}) == 2
    names = {str(line.get_label()) for line in bulk.lines}
    assert "Au bulk, vacancy alone" in names and "Cu bulk" in names


def test_phonons(location):
    _, _, (host,) = read(location)
    figure = phonon_plot.phonon_figure(host)
    drawn = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata()) == len(host.phonon_path)]
    assert len(drawn) == 3 and max(map(max, drawn)) == pytest.approx(host.phonon_bands_THz.max())
    for words in ("320 ± 4 K", "measured 344.3 K", "7.00 THz", "32 atoms", "preset quick"):
        assert words in caption(figure), words
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == [r"$\Gamma$", "X"]


def test_nothing_to_draw():
    with pytest.raises(plot.NothingToDraw, match="emforce kinetics"):
        kinetics_plot.path_figures([])
    with pytest.raises(plot.NothingToDraw, match="emforce kinetics"):
        kinetics_plot.diffusion_figure([], [])
    with pytest.raises(InputError, match="phonons"):
        phonon_plot.phonon_figure(synthetic.host())


def test_command(location, tmp_path, capsys):
    kinds = [word for kind in ("phonons", "path", "diffusion") for word in ("--kind", kind)]
    assert cli.main(["plot", *kinds, "--format", "svg", "--out", str(tmp_path / "out"), "--db", str(location)]) == 0
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "out").iterdir()) == ["diffusion.svg", "path", "phonons"]
    assert len(capsys.readouterr().out.splitlines()) == 3
