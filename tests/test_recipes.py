"""The recipes of workflows/ with real GPAW on the smallest cells: far from converged, but every step is the real one.

One store for all of them, and each uses what those before it left.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic
from ase import Atoms
from ase.build import bulk
from ase.io import write
from workflow_files import loaded

import emforce.campaign
from emforce import recipe
from emforce.convergence import Point, convergence_figure, varied
from emforce.plot import NothingToDraw
from emforce.settings import load_settings
from emforce.store import Store

ROOT = Path(__file__).parent.parent
RECIPES = ("adatom_hop", "bulk_hop", "convergence_study", "host_table", "materials_screening")
TINY = [
    "structure.relaxed=''", "dft.recipe=small", "dft.grid_A=0.4", "dft.smearing_eV=0.4",
    "dft.slab_kpts=[1,1,1]", "dft.bulk_kpts=[1,1,1]", "dft.density_tolerance=1e-2", "host.bulk_kpts=4", "host.bulk_matrix_kpts=5",
    "host.bulk_mesh=16", "host.bulk_mesh_max=16", "host.slab_mesh=16", "host.embedding_mesh=8", "embedding.radii_A=[4.5,3.5]",
    "embedding.energies_eV=[-0.1,0.0,0.1]", "direct.compute=false",
]
#: a square monolayer, and the cubic cell of the bulk, Angstrom
SQUARE, HEIGHT, CUBE = 2.86, 8.0, 4.0396


def run(name: str, arguments: list[str]) -> int:
    """A recipe in this process, as the last lines of its file run it."""
    return recipe.ended(lambda: loaded(name).main(arguments), name)


def printed(name: str, arguments: list[str], code: int) -> str:
    """What it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(name, arguments) == code
    return out.getvalue()


def settings() -> list[str]:
    return [word for pair in TINY for word in ("--set", pair)]


def specification(folder: Path, name: str, host: Atoms, images: list[Atoms], hop_vector: list[float]) -> None:
    """A hop of the last atom, given as files."""
    write(folder / f"{name}-host.traj", host)
    for label, atoms in zip(("initial", "saddle"), images, strict=True):
        write(folder / f"{name}-{label}.traj", atoms)
    (folder / f"{name}.toml").write_text(f"""
metal = "Al"
facet = "{'bulk' if host.pbc.all() else '100'}"
kind = "files"
hop = "one step"
host_file = "{folder / name}-host.traj"
defect_files = ["{folder / name}-initial.traj", "{folder / name}-saddle.traj"]
mover = {len(images[0]) - 1}
hop_vector = {hop_vector}
""")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two specifications: an adatom on a 2x2 monolayer, and a vacancy hop in a layer of 2x2 bulk cells."""
    folder = tmp_path_factory.mktemp("recipes")
    layer = Atoms("Al", positions=[[0.2 * SQUARE, 0.2 * SQUARE, 3.0]], cell=[SQUARE, SQUARE, HEIGHT], pbc=(True, True, False))
    above = [layer.repeat((2, 2, 1)) + Atoms("Al", positions=[[x * SQUARE, 0.7 * SQUARE, 5.0]]) for x in (0.7, 1.2)]
    specification(folder, "adatom", layer, above, [SQUARE, 0.0, 0.0])
    cell = bulk("Al", a=CUBE)
    cell.positions += 0.25 * np.array(cell.cell).sum(axis=0)
    along, across = np.array(cell.cell)[:2]
    staying = [cell.positions[0] + across, cell.positions[0] + along + across]
    images = [Atoms("Al3", positions=[*staying, cell.positions[0] + s * along], cell=cell.repeat((2, 2, 1)).cell, pbc=True)
              for s in (0.0, 0.5)]
    specification(folder, "vacancy", cell, images, along.tolist())
    return folder


def options(place: Path, *more: str) -> list[str]:
    return [*settings(), "--workers", "1", "--store", str(place / "store"), "--db", str(place / "emforce.db"), *more]


def kinds(place: Path) -> dict[str, int]:
    """Finished steps by kind."""
    found: dict[str, int] = {}
    for path in (Store(place / "store").root / "steps").iterdir():
        kind = path.name.partition("-")[0]
        found[kind] = found.get(kind, 0) + 1
    return found


@pytest.fixture(scope="module")
def adatom(place: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the recipe of an adatom prints, run once for all tests."""
    return printed("adatom_hop", [str(place / "adatom.toml"), *options(place)], 0)


@pytest.fixture(scope="module")
def vacancy(place: Path, adatom: str) -> str:
    """The same for a vacancy; its bulk host is the adatom's."""
    return printed("bulk_hop", [str(place / "vacancy.toml"), *options(place)], 1)


@pytest.mark.gpaw
def test_adatom_hop(adatom: str) -> None:
    assert "supercell 2 x 2 x 1 = 4 sites" in adatom
    assert re.search(r"Al +100 +one step +hop average +-\d+ ± \d+", adatom), adatom
    assert adatom.count("uOhm cm of the uncertainty from") == 9
    assert "rho(300 K) of Al: 2.7" in adatom


@pytest.mark.gpaw
def test_bulk_hop(place: Path, vacancy: str) -> None:
    assert "initial: 3 atoms in (2, 2, 1) host cells, 2 sites without an atom" in vacancy
    # a cell this small has no atom far from the mover, and the check of those says so
    assert "initial: failed: spread of far on-site energies" in vacancy
    lines = re.findall(r"k-points, (initial|saddle): K along the hop (?:[+-]\d+\.\d \((?:4.5|3.5) A\)(?:, )?)+ uOhm cm", vacancy)
    assert lines == ["initial", "saddle"] * 2, "two images on two meshes"
    assert vacancy.count("(4.5 A), ") == 2 and vacancy.count("(3.5 A)") == 2, "the second radius on the first mesh only"
    found = kinds(place)
    assert (found["bulk"], found["image"]) == (1, 4), "the bulk host of both hops is one step"


@pytest.mark.gpaw
def test_convergence_study_runs_only_what_the_setting_changes(
    place: Path, adatom: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emforce.campaign, "PRELOAD", ("emforce.jobs",))  # no ground state is to be run, so no GPAW
    before = kinds(place)
    arguments = [str(place / "adatom.toml"), "--vary", "embedding.radii_A", "4.5", "3.5", *options(place),
                 "--out", str(place)]
    assert run("convergence_study", arguments) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\d\.5) +(-\d+ ± \d+) +(-|[+-]\d+\.\d) +(\d+) of (\d+) +ok$", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["4.5", "3.5"]
    served = re.search(r"hop average +(-\d+ ± \d+)", adatom)
    assert served is not None and rows[0][1] == served[1], "4.5 A is what the settings have"
    after = kinds(place)
    assert {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]} == {
        "tables": 2, "embedding": 6, "wind": 1}, "no ground state; the coarser mesh and far energies have the smaller region only"
    assert rows[1][3] == "9"
    assert all((place / f"convergence-adatom-embedding.radii_A.{end}").stat().st_size > 1000 for end in ("pdf", "svg", "png"))


@pytest.mark.gpaw
def test_materials_screening_ranks_what_is_served(
    place: Path, adatom: str, vacancy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = kinds(place)
    arguments = [str(place / "adatom.toml"), str(place / "vacancy.toml"), *options(place), "-T", "400", "--out", str(place)]
    assert run("materials_screening", arguments) == 1
    out = capsys.readouterr().out
    assert kinds(place) == before, "nothing is missing, nothing is computed"
    (rank,) = re.findall(r"^1 +Al\(100\) files +none +(\S+) +(\S+) to (\S+) +downwind$", out, re.MULTILINE)
    served = re.search(r"hop average +-(\d+) ± (\d+)", adatom)
    assert served is not None
    # F/j = e K for the wind alone: 1.602 fN m^2/TA per uOhm cm
    assert float(rank[0]) == pytest.approx(1.602 * float(served[1]), rel=0.01)
    assert float(rank[2]) - float(rank[0]) == pytest.approx(1.602 * float(served[2]), rel=0.02)
    assert re.search(r"bulk +one step +hop average .* failed: spread of far", out), "not served, not ranked, and said"
    assert (place / "force-per-current.pdf").stat().st_size > 1000


@pytest.mark.gpaw
def test_host_table_is_the_same_on_dask_workers(
    place: Path, adatom: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("host_table", ["Al", *options(place)]) == 0
    serial = capsys.readouterr().out
    row = r"^Al +4\.040 +0\.\d+ ± 0\.\d+ +0\.573 \? +1\d\.\d+ ± 0\.\d+ +0\.\d+ ± 0\.\d+ +0\.5 +[+-]\d.* ok$"
    assert re.search(row, serial, re.MULTILINE), serial
    arguments = ["Al", *settings(), "--workers", "2", "--store", str(tmp_path / "store"), "--db", str(tmp_path / "emforce.db")]
    assert run("host_table", arguments) == 0
    captured = capsys.readouterr()
    assert captured.out == serial
    assert "2 processes on this machine" in captured.err


def test_a_number_for_a_list_goes_to_its_front_and_the_others_stay() -> None:
    base = load_settings("quick", {"dft.grid_A": 0.3})
    assert base.embedding.radii_A == (6.8, 7.4, 6.2)
    found = varied(base, "embedding.radii_A", [6.2, 7.0])
    assert [one.embedding.radii_A for one in found] == [(6.2, 6.8, 7.4), (7.0, 6.8, 7.4, 6.2)]
    assert {one.dft.grid_A for one in found} == {0.3}
    (two, three) = varied(base, "dft.slab_kpts", [[2, 2, 1], [3, 3, 1]])
    assert (two.dft.slab_kpts, three.dft.slab_kpts) == ((2, 2, 1), (3, 3, 1))


def test_figure_of_values_on_a_scale_and_side_by_side() -> None:
    mean = {"site": "hop average", "fraction": math.nan}
    records = [synthetic.record(k_wind_uohm_cm=K, **mean) for K in (-120.0, -135.0)] + [synthetic.failed(**mean)]
    for values, ticks in (([0.2, 0.1, 0.3], [0.2, 0.1]), (["[2, 2, 1]", "[3, 3, 1]", "[4, 4, 1]"], [0.0, 1.0])):
        found = [Point(str(value), value if isinstance(value, float) else None, record, 1, 2)
                 for value, record in zip(values, records, strict=True)]
        figure = convergence_figure("x", found)
        (axis,) = figure.axes
        (points,) = axis.containers
        assert np.allclose(points.lines[0].get_xydata(), np.transpose([ticks, [-120.0, -135.0]]))
        assert axis.get_title() == "Cu(100), hollow-bridge-hollow"
        caption = " ".join(figure.texts[0].get_text().split())
        for words in (f"Not served: x = {values[2]}.", "upwind", "preset quick and x as on the axis"):
            assert words in caption
    assert [label.get_text() for label in axis.get_xticklabels()] == values[:2]
    with pytest.raises(NothingToDraw, match="at no value of x"):
        convergence_figure("x", found[2:])


@pytest.mark.parametrize(("name", "arguments", "field"), [
    ("adatom_hop", ["none.toml"], "none.toml"),
    ("adatom_hop", ["SPEC", "--set", "dft.grid_A=-1"], "dft.grid_A"),
    ("bulk_hop", ["SPEC", "--cluster", "slurn"], "--cluster: 'slurn'"),
    ("bulk_hop", ["SPEC", "--workers", "0"], "--workers"),
    ("convergence_study", ["SPEC", "--vary", "dft.smearing_eV", "0.1"], "--vary"),
    ("convergence_study", ["SPEC", "--vary", "dft.smearing_eV", "0.1", "0.1"], "--vary"),
    ("convergence_study", ["SPEC", "--vary", "dft.smear", "0.1", "0.2"], "dft.smear"),
    ("host_table", ["Xx"], "metal: 'Xx'"),
    ("materials_screening", ["SPEC", "SPEC"], "SPEC"),
    ("materials_screening", ["SPEC", "-T", "5000"], "temperature"),
])
def test_bad_input_is_one_line_exit_2_nothing_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str,
    arguments: list[str], field: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, [str(place / "vacancy.toml") if word == "SPEC" else word for word in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{name}: ") and err.count("\n") == 1
    assert field in err and "allowed" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", RECIPES)
def test_options_are_those_of_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(name, ["--nonsense"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        run(name, ["--help"])
    text = capsys.readouterr().out
    for option in ("--preset", "--set", "--cluster", "--workers", "--store", "--db"):
        assert option in text
    assert f"python workflows/{name}.py " in text
    assert name in (ROOT / "workflows" / "README.md").read_text(encoding="utf-8")


def test_the_code_of_an_error_is_that_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from emforce.campaign import CampaignCancelled

    def stop(error: BaseException) -> int:
        raise error

    assert recipe.ended(lambda: stop(CampaignCancelled("a\nb")), "x") == 3
    assert recipe.ended(lambda: stop(KeyboardInterrupt()), "x") == 130
    assert capsys.readouterr().err.startswith("x: a b\nx: interrupted")
