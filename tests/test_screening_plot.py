"""Screening figures: what is drawn is what the rows say, what is left out is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import synthetic
from wire_rows import OMEGA, RHO_LAMBDA, K

from emforce import cli, screening, screening_plot, valence_plot
from emforce.database import Database
from emforce.errors import InputError
from emforce.evaluate import FORCE_PER_J
from emforce.materials import material
from emforce.plot import NothingToDraw
from emforce.record import Record

Z_DIRECT = {"Cu": 0.8, "W": -1.5}
PARTS = {"fermi_energy": 12.0, "layers": 9.0, "mesh": 8.0, "finite_difference": math.nan}
SIGMA_K = 17.0  # 12, 9 and 8 in quadrature
KINETICS = {"d0_m2_s": 2e-7, "d0_sigma_m2_s": 4e-8, "ea_eV": 0.55, "ea_sigma_eV": 0.03, "barrier_eV": 0.55,
            "barrier_sigma_eV": 0.03}  # fmt: skip
HEAT = {"temperature_K": np.array([300.0, 500.0, 700.0]), "q_star_eV": np.array([0.12, 0.2, 0.31]),
        "q_star_sigma_eV": np.array([0.02, 0.03, 0.04]), "q_el_eV": np.array([0.02, 0.05, 0.09]),
        "q_el_sigma_eV": np.array([0.005, 0.006, 0.008])}  # fmt: skip
HOP = {"defect": "adatom", "hop": "hollow-bridge-hollow", "site": "hop average"}


def published(metal: str, facet: str, **changes: object) -> Record:
    return Record(**{
        "spec": f"literature {metal}", "metal": metal, "facet": facet, "species": metal, **HOP, "preset": "literature",
        "method": "measured, made up", "status": "literature", "source": f"a book on {metal}", "provenance": {"seen": "here"},
        **changes})  # fmt: skip


def write(path, *, full: bool = True) -> str:
    """Cu(100), W(110) and Mo(110); `full`: with every kind of value and what is published about them."""
    with Database(path, create=True) as database:
        for metal, facet in (("Cu", "100"), ("W", "110")):
            names = {"metal": metal, "facet": facet, "species": metal, "fraction": math.nan, "site": "hop average"}
            added: dict = {}
            if full:
                added = {"z_direct": Z_DIRECT[metal], "z_direct_sigma_parts": {"drift": 0.4, "k_mesh": 0.3}}
            if full and metal == "Cu":
                added |= {**KINETICS, "q_of_temperature": HEAT, "q_lattice_low_eV": 0.03, "q_lattice_high_eV": 0.11,
                          "q_condition": "E=0", "formation_energy_eV": 0.6, "formation_energy_sigma_eV": 0.05}
            database.add_host(synthetic.host(metal=metal, facet="bulk", rho_lambda_fohm_m2=RHO_LAMBDA[metal],
                                             omega_p_eV=OMEGA[metal]))
            database.add(synthetic.record(**names, k_wind_uohm_cm=K[metal], k_wind_sigma_parts_uohm_cm=PARTS, **added))
        if full:
            moly = {"metal": "Mo", "facet": "110", "species": "Mo", "fraction": math.nan, "site": "hop average"}
            database.add(synthetic.record(**moly, k_wind_uohm_cm=90.0, z_direct_low=-40.0, z_direct_high=8.0,
                                          k_wind_sigma_parts_uohm_cm={"layers": 30.0}))
            database.add(published("W", "110", d0_m2_s=5.4e-7, ea_eV=0.95, kinetics_condition="single atoms"))
            database.add(published("Mo", "110", d0_m2_s=1e-6, ea_eV=0.9, reported_low_K=900.0, reported_high_K=1100.0))
            database.add(published("Cu", "100", spec="z", source="a paper", z_star_reported=-60.0, z_star_reported_sigma=9.0,
                                   z_wind_reported=-61.0, reported_low_K=280.0, reported_high_K=320.0))
            database.add(published("Cu", "100", spec="hot", source="another paper", z_star_reported=-20.0,
                                   reported_low_K=800.0, reported_high_K=900.0))
            database.add(published("Cu", "100", spec="barrier", barrier_eV=0.69, barrier_sigma_eV=0.05,
                                   kinetics_condition="hop"))
            database.add(published("Cu", "100", spec="doubtful", source="a rumour", z_star_reported=-99.0, barrier_eV=9.0,
                                   reported_low_K=280.0, reported_high_K=320.0, status="unverified", reason="not seen"))
    return str(path)


def read(location):
    with Database(location) as database:
        # everything, so that the figures themselves have to leave out what was not seen at its source
        theirs = database.rows(standing=("literature", "unverified"))
        return database.rows(), theirs, {row["id"]: row for row in database.host_rows(everything=True)}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return read(write(tmp_path_factory.mktemp("full") / "emforce.db"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return read(write(tmp_path_factory.mktemp("bare") / "emforce.db", full=False))


def caption(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def drawn(axis):
    """Value, lower and upper end of each horizontal error bar, by its label."""
    found = {}
    for container in axis.containers:
        value = container.lines[0].get_xdata()[0]
        (ends,) = container.lines[2][0].get_segments()
        found[container.get_label().removeprefix("_")] = (value, ends[0, 0], ends[1, 0])
    return found


def test_force_is_that_of_the_rows(stored):
    rows, _, hosts = stored
    figure = screening_plot.force_figure(rows, hosts, 400.0)
    (axis,) = figure.axes
    assert "fN m²/TA" in axis.get_xlabel() and "|Z^*|" in axis.get_xlabel()
    found = drawn(axis)
    for metal, hop in (("Cu", "Cu(100) adatom"), ("W", "W(110) adatom")):
        rho, rho_sigma = material(metal).rho_uohm_cm(400.0), material(metal).rho_sigma_uohm_cm(400.0) or 0.0
        force = Z_DIRECT[metal] * rho + K[metal]
        sigma = math.hypot(SIGMA_K, 0.5 * rho, Z_DIRECT[metal] * rho_sigma)
        assert found[f"{hop} dft"] == pytest.approx(
            [FORCE_PER_J * x for x in (abs(force), abs(force) - sigma, abs(force) + sigma)])
        assert found[f"{hop} none"][0] == pytest.approx(FORCE_PER_J * abs(K[metal]))
    fills = {c.get_label()[1:]: c.lines[0].get_fillstyle() for c in axis.containers}
    assert fills["Cu(100) adatom dft"] == "none" and fills["W(110) adatom dft"] == "full"  # downwind, upwind
    # Mo has an interval across zero for its computed direct part: a bar without a marker, from zero to its farther end
    (interval,) = [line for line in axis.lines if line.get_label() == "_interval"]
    rho = material("Mo").rho_uohm_cm(400.0)
    assert interval.get_xdata()[0] == 0.0
    sigma_wind = math.hypot(30.0, 90.0 / rho * (material("Mo").rho_sigma_uohm_cm(400.0) or 0.0)) / rho
    farther = max(abs(-40 + 90.0 / rho - sigma_wind), abs(8 + 90.0 / rho + sigma_wind)) * rho
    assert interval.get_xdata()[1] == pytest.approx(FORCE_PER_J * farther)
    assert "Mo(110) adatom dft" not in found
    # ranked by the wind alone, the first direct part that every hop has a number for
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["Cu(100) adatom", "Mo(110) adatom", "W(110) adatom"]
    for words in ("400 K", "Ranked by: wind alone", "upwind", "one standard uncertainty", "Matula", "intervals"):
        assert words in caption(figure), words


def test_d_of_a_vacancy_alone_is_no_measure_of_drift(tmp_path):
    """Without its formation energy a vacancy's D is orders of magnitude above that of self-diffusion, and of another thing."""
    place = {"spec": "cu-vacancy", "facet": "bulk", "defect": "vacancy", "hop": "vacancy-110", "site": "hop average",
             "fraction": math.nan, "z_direct": 0.8, "z_direct_sigma_parts": {"drift": 0.1}}
    measured = published("Cu", "bulk", defect="vacancy", hop="vacancy-110", d0_m2_s=6e-5, ea_eV=2.1)
    origins = []
    for number, more in enumerate(({}, {"formation_energy_eV": 1.2, "formation_energy_sigma_eV": 0.1})):
        with Database(tmp_path / f"{number}.db", create=True) as database:
            database.add(synthetic.record(**place, **KINETICS, **more))
            database.add(measured)
        rows, theirs, hosts = read(tmp_path / f"{number}.db")
        (point,) = screening.merits(rows, theirs, hosts, 600.0, ["dft"]).points
        origins.append(point.diffusion)
        compared = {pair.quantity for pair in screening.pairs(rows, theirs, hosts, 600.0)[0]}
        assert ("ea_eV" in compared, "d_m2_s" in compared) == (bool(more), bool(more))
    assert origins[0].startswith("a book on Cu") and origins[1] == screening.COMPUTED


def test_merit_is_force_times_d(stored):
    rows, theirs, hosts = stored
    figure = screening_plot.merit_figure(rows, theirs, hosts, 400.0, ["dft"])
    (axis,) = figure.axes
    assert axis.get_xscale() == "log" and axis.get_xlabel().endswith("(m²/s µΩ cm)")
    found, kT = drawn(axis), 8.617333262e-5 * 400
    rho, sigma_rho = material("Cu").rho_uohm_cm(400.0), material("Cu").rho_sigma_uohm_cm(400.0) or 0.0
    force = abs(0.8 * rho + K["Cu"])
    value = force * 2e-7 * math.exp(-0.55 / kT)
    spread = math.exp(math.hypot(math.hypot(SIGMA_K, 0.5 * rho, 0.8 * sigma_rho) / force, 0.2, 0.03 / kT))
    assert found["Cu(100) adatom dft"] == pytest.approx([value, value / spread, value * spread], rel=1e-6)
    tungsten = abs(-1.5 * material("W").rho_uohm_cm(400.0) + K["W"]) * 5.4e-7 * math.exp(-0.95 / kT)
    assert found["W(110) adatom dft"][0] == pytest.approx(tungsten, rel=1e-6)
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert names == ["Cu(100) adatom\nD computed", "W(110) adatom\nD published [1]"]
    for words in ("no diffusion data: Mo(110) adatom (published: 900 to 1100 K)", "[1] a book on W (single atoms",
                  "D of W(110) adatom has no stated uncertainty", "temperatures not stated"):
        assert words in caption(figure), words
    with pytest.raises(InputError, match="melts"):
        screening_plot.merit_figure(rows, theirs, hosts, 5000.0)


def test_heat(stored):
    figure = screening_plot.heat_figure(stored[0], stored[1])
    (axis,) = figure.axes
    assert axis.get_xlabel() == "Temperature $T$ (K)" and axis.get_ylabel() == "Heat of transport (eV)"
    lines = {container.get_label(): container for container in axis.containers}
    for label, name in (("$Q^*$ computed", "q_star"), (r"$Q_\mathrm{el}$ computed", "q_el")):
        data = lines[label].lines[0].get_xydata()
        assert data == pytest.approx(np.column_stack([HEAT["temperature_K"], HEAT[f"{name}_eV"]]))
        ends = np.array([segment[:, 1] for segment in lines[label].lines[2][0].get_segments()])
        assert (ends[:, 1] - ends[:, 0]) / 2 == pytest.approx(HEAT[f"{name}_sigma_eV"])
    assert axis.get_title() == "Cu(100) adatom, E=0" and "cold end" in caption(figure)


def test_parity(stored):
    rows, theirs, hosts = stored
    figure = screening_plot.parity_figure(rows, theirs, hosts, 300.0)
    labels = [axis.get_xlabel() for axis in figure.axes]
    assert labels == ["$Z^*$ (units of $e$), published", r"$Z_\mathrm{wind}$ (units of $e$), published",
                      r"$E_\mathrm{m}$ (eV), published"]
    star, _, barrier = figure.axes
    (point,) = barrier.containers
    assert point.lines[0].get_xydata() == pytest.approx(np.array([[0.69, 0.55]]))
    across, up = (line.get_segments()[0] for line in point.lines[2])
    assert across[:, 0] == pytest.approx([0.64, 0.74]) and up[:, 1] == pytest.approx([0.52, 0.58])
    assert barrier.get_xlim() == barrier.get_ylim()
    diagonal = next(line for line in barrier.lines if line.get_label() == "_equal")
    assert diagonal.get_xdata() == pytest.approx(diagonal.get_ydata())
    # the published values at 300 K and, in the middle of its own temperatures, at 850 K; never the unverified one
    at = {container.get_label(): container.lines[0].get_xydata()[0] for container in star.containers}
    expected = {T: 0.8 + K["Cu"] / material("Cu").rho_uohm_cm(T) for T in (300.0, 850.0)}
    assert at["Cu(100) adatom, 300 K [1]"] == pytest.approx([-60.0, expected[300.0]])
    assert at["Cu(100) adatom, 850 K [2]"] == pytest.approx([-20.0, expected[850.0]])
    assert "Left out" not in caption(figure)  # nothing of Mo could be compared
    assert len(at) == 2 and "rumour" not in caption(figure) and "[1] a paper" in caption(figure)


def test_diffusion_is_compared_where_the_resistivity_is_not_known(stored):
    """Published D of molybdenum holds above the temperatures at which its resistivity is known."""
    rows, theirs, hosts = stored
    ours = [{**row, **KINETICS} if row["metal"] == "Mo" else row for row in rows]
    found, notes = screening.pairs(ours, theirs, hosts, 300.0)
    (pair,) = [pair for pair in found if pair.quantity == "d_m2_s"]
    assert pair.temperature_K == 1000.0 > material("Mo").temperature_range_K[1] and not notes
    assert pair.computed[0] == pytest.approx(2e-7 * math.exp(-0.55 / (8.617333262e-5 * 1000)), rel=1e-6)
    assert pair.published == pytest.approx([1e-6 * math.exp(-0.9 / (8.617333262e-5 * 1000))] * 3, rel=1e-6)
    assert pair.computed[2] / pair.computed[0] == pytest.approx(
        math.exp(math.hypot(0.2, 0.03 / (8.617333262e-5 * 1000))), rel=1e-6)


def test_parts_of_sigma(stored):
    figure = screening_plot.sigma_figure(stored[0])
    wind, direct = figure.axes
    assert wind.get_xlabel() == r"Uncertainty of $K_\mathrm{wind}$ (µΩ cm)" and "units of $e$" in direct.get_xlabel()
    hops = [tick.get_text() for tick in wind.get_yticklabels()]
    assert hops[0] == "Mo(110) adatom"
    assert sum(bar.patches[0].get_width() for bar in wind.containers) == pytest.approx(30.0)
    pieces = {bar.get_label(): bar.patches[hops.index("W(110) adatom")].get_width() for bar in wind.containers}
    assert pieces == pytest.approx({"Fermi energy": 144 / 17, "layers": 81 / 17, "mesh": 64 / 17})
    assert sum(pieces.values()) == pytest.approx(SIGMA_K)
    assert sum(bar.patches[0].get_width() for bar in direct.containers) == pytest.approx(0.5)
    assert "finite difference (every hop)" in caption(figure) and "mesh (Mo(110) adatom)" in caption(figure)
    colours = {bar.patches[0].get_facecolor() for axis in figure.axes for bar in axis.containers}
    assert len(colours) == 5  # five parts in all


def test_published_valences_beside_the_bars(stored):
    rows, theirs, hosts = stored
    figure = valence_plot.bars_figure(rows, hosts, 300.0, theirs)
    copper, _, tungsten = figure.axes
    assert copper.get_title() == "Cu(100) adatom" and copper.get_xticklabels()[-1].get_text() == "published:\nmeasured"
    points = {c.get_label(): c for c in copper.containers if hasattr(c, "has_yerr")}
    assert points["published $Z^*$"].lines[0].get_ydata()[0] == -60.0
    (ends,) = points["published $Z^*$"].lines[2][0].get_segments()
    assert ends[:, 1] == pytest.approx([-69.0, -51.0])
    assert points[r"published $Z_\mathrm{wind}$"].lines[0].get_ydata()[0] == -61.0
    assert not any("published" in tick.get_text() for tick in tungsten.get_xticklabels())
    assert "Published: Cu, a paper (280 to 320 K)." in caption(figure) and "rumour" not in caption(figure)
    assert "other temperatures, not drawn: Cu, another paper (800 to 900 K)." in caption(figure)


def test_nothing_to_draw_is_said(bare):
    rows, theirs, hosts = bare
    with pytest.raises(NothingToDraw, match=r"no diffusion data: Cu\(100\) adatom, W\(110\) adatom"):
        screening_plot.merit_figure(rows, theirs, hosts)
    with pytest.raises(NothingToDraw, match="no Z\\* with direct part dft"):
        screening_plot.force_figure(rows, hosts, 300.0, ["dft"])
    with pytest.raises(NothingToDraw, match="q_of_temperature"):
        screening_plot.heat_figure(rows)
    with pytest.raises(NothingToDraw, match="both computed and published"):
        screening_plot.parity_figure(rows, theirs, hosts)
    with pytest.raises(NothingToDraw, match="k_wind_sigma_parts_uohm_cm"):
        screening_plot.sigma_figure([{**row, "k_wind_sigma_parts_uohm_cm": None} for row in rows])
    assert screening.forces(rows, hosts, 300.0).points


def test_the_command(tmp_path, capsys):
    db, out = write(tmp_path / "emforce.db", full=False), tmp_path / "figures"
    arguments = ["--format", "svg", "--out", str(out), "--db", db]
    assert cli.main(["plot", "--kind", "heat", "--kind", "force", "--direct-model", "none", *arguments]) == 1
    printed = capsys.readouterr()
    assert [path.name for path in out.iterdir()] == ["force-per-current.svg"]
    assert printed.err.splitlines() == ["emforce: no heat of transport to draw: no row with q_of_temperature"]
    assert "fN m²/TA" in (out / "force-per-current.svg").read_text(encoding="utf-8")
    assert cli.main(["plot", "--kind", "merit", "-T", "9999", *arguments]) == 2
    assert "melts" in capsys.readouterr().err
