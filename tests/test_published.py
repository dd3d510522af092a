"""workflows/publish.py: what is in results/README.md is what the database holds, and its commands are real."""

from __future__ import annotations

import csv
import math
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import synthetic
import wire_rows

from emforce.best import Hops, best_rows
from emforce.commands.options import overrides
from emforce.database import Database
from emforce.errors import InputError
from emforce.keys import SIGMA_OF
from emforce.published import command_of, write
from emforce.published_points import settings_text, sigma_table
from emforce.settings import load_settings, preset_label
from emforce.tables import plus_minus

RECIPE = Path(__file__).parent.parent / "workflows" / "publish.py"


@pytest.fixture
def db(tmp_path):
    path = wire_rows.write(tmp_path / "emforce.db")
    with Database(path) as database:
        database.add(synthetic.record(metal="Mo", facet="110", species="Mo", site="hop average", fraction=math.nan,
                                      status="unconverged", reason="self-consistency not reached"))
    return path


def test_values_and_reasons_are_those_of_the_database(db, tmp_path):
    with Database(db) as database:
        files = {path.name: path.read_text(encoding="utf-8") for path in write(database, tmp_path / "out", 400.0)}
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
        hops = Hops(tuple(best_rows(database.rows([]))), hosts).at(400.0)
    assert set(files) == {"README.md", "hops.csv", "points.csv", "comparison.csv", "verdict.csv"}
    assert len(hops) == 2
    for row in hops:
        for name in ("k_wind_uohm_cm", "z_direct", "z_star"):
            assert f"| {plus_minus(row[name], row[SIGMA_OF[name]])} |" in files["README.md"]
    table = list(csv.DictReader(files["hops.csv"].splitlines()))
    assert [float(line["z_star"]) for line in table] == [row["z_star"] for row in hops]
    assert "| unconverged | self-consistency not reached |" in files["README.md"]
    assert "at 400 K" in files["README.md"]
    assert {line["metal"] for line in csv.DictReader(files["verdict.csv"].splitlines())} == {"Cu", "W"}


def test_every_point_of_every_set_of_settings(db, tmp_path):
    k = {"quick": {0.0: -50.0, 0.5: -60.0}, "quick (dft.functional=LDA)": {0.0: -40.0, 0.5: -45.0}}
    with Database(db) as database:
        for preset, values in k.items():
            for fraction, value in values.items():
                database.add(synthetic.record(metal="Cu", facet="100", species="Cu", preset=preset, fraction=fraction,
                                              site="saddle" if fraction else "initial", k_wind_uohm_cm=value))
        files = {path.name: path.read_text(encoding="utf-8") for path in write(database, tmp_path / "out")}
    lines = [line for line in csv.DictReader(files["points.csv"].splitlines()) if line["metal"] == "Cu" and line["fraction"]]
    found: dict[str, dict[float, float]] = {}
    for line in lines:
        found.setdefault(line["preset"], {})[float(line["fraction"])] = float(line["k_wind_uohm_cm"])
    assert found == k
    table = files["README.md"].partition("## Points")[2].partition("## ")[0]
    for preset, values in k.items():
        for value in values.values():
            (row,) = [line for line in table.splitlines() if f"| {settings_text(preset)} |" in line and f"| {value:.0f}" in line]
            assert row.startswith("| Cu(100) adatom |")


def test_tensors_have_each_component_with_its_uncertainty(db, tmp_path):
    nan = math.nan
    hop = {"metal": "Cu", "facet": "100", "species": "Cu", "k_wind_uohm_cm": -50.0}
    whole = {"k_tensor_uohm_cm": [[-50.0, 0, 0], [0, -70.0, 0], [2.0, 0, 0]],
             "k_tensor_sigma_uohm_cm": [[10.0, 0, 0], [0, 11.0, 0], [0.5, 0, 0]]}
    first = {"k_tensor_uohm_cm": [[-50.0, 1.0, 0], [nan] * 3, [nan] * 3],
             "k_tensor_sigma_uohm_cm": [[10.0, 3.0, 0], [nan] * 3, [nan] * 3]}
    bulk = {"k_tensor_uohm_cm": [[-50.0, 0, 0], [0, -70.0, 0], [0, 0, -80.0]],
            "k_tensor_sigma_uohm_cm": [[10.0, 0, 0], [0, 11.0, 0], [0, 0, 12.0]]}
    with Database(db) as database:
        database.add(synthetic.record(**hop, **whole, preset="quick (dft.directions=all)"))
        database.add(synthetic.record(**hop, **first))
        database.add(synthetic.record(**hop | {"facet": "bulk", "hop": "vacancy-110", "defect": "vacancy"}, **bulk))
        database.add(synthetic.record(**hop, preset="standard"))  # of an older version: no tensor
        files = {path.name: path.read_text(encoding="utf-8") for path in write(database, tmp_path / "out")}
    lines = list(csv.DictReader(files["tensors.csv"].splitlines()))
    found = {tuple(line[name] for name in ("facet", "preset", "force", "field")):
             (float(line["k_uohm_cm"]), float(line["k_sigma_uohm_cm"])) for line in lines}
    assert len(found) == len(lines) == 6 + 2 + 9  # no field along the normal of a surface
    assert found["100", "quick (dft.directions=all)", "normal", "along"] == (2.0, 0.5)
    assert found["100", "quick", "along", "across"] == (1.0, 3.0)
    assert found["bulk", "quick", "normal", "normal"] == (-80.0, 12.0)
    table = files["README.md"].partition("## Whole tensors")[2].partition("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| Cu")]
    assert [row.count(" ± ") for row in sorted(rows)] == [3, 3]  # the one of a force along the hop alone is no whole tensor
    assert "| -50 ± 10 | 0 |  | 0 | -70 ± 11 |  | 2.00 ± 0.50 | 0 |  |" in table


def test_the_largest_part_is_bold_and_an_open_one_is_said_to_be():
    row = {"metal": "Cu", "facet": "100", "defect": "adatom", "species": "Cu", "site": "hop average", "preset": "quick",
           "k": -10.0, "sigma": 5.0, "parts": {"fermi_energy": 3.0, "layers": 4.0, "mesh": None}}
    head, _, line = sigma_table([row], "k", "sigma", "parts")
    assert head == "| hop | settings | of | σ | fermi_energy | layers | mesh |"
    assert line == "| Cu(100) adatom | quick | hop average | 5 | 3 | **4** | open |"
    assert "| drift [001] |" in sigma_table([row | {"site": "drift [001]"}], "k", "sigma", "parts")[2]
    assert sigma_table([row | {"site": "saddle"}], "k", "sigma", "parts") == []


def test_a_metal_without_resistivity_at_the_temperature_is_left_out(db, tmp_path):
    with Database(db) as database:
        database.add(synthetic.record(metal="Mo", facet="110", species="Mo", site="hop average", fraction=math.nan))
        files = {path.name: path.read_text(encoding="utf-8") for path in write(database, tmp_path / "out", 1200.0)}
    assert {line["metal"] for line in csv.DictReader(files["points.csv"].splitlines())} == {"Cu", "W"}


def test_no_negative_zero():
    assert plus_minus(-0.3, 18.0) == "0 ± 18"
    assert plus_minus(-0.6, 18.0) == "-1 ± 18"


@pytest.mark.parametrize("changes", [
    {}, {"dft.smearing_eV": 0.2}, {"embedding.radii_A": [6.8, 7.4], "structure.layers": 5},
    {"dft.spin_orbit": True, "direct.compute": False, "structure.slab_size": [4, 3, 1]},
])
def test_command_gives_the_same_settings(changes):
    settings = load_settings("quick", changes)
    row = {"spec": "cu100-adatom", "preset": preset_label(settings.preset, dict(settings.overrides))}
    words = command_of(row, "wind").replace("'", "").split(" --set ")
    assert words[0] == "emforce run structures/cu100-adatom.toml --preset quick"
    assert load_settings("quick", overrides(words[1:])).digest == settings.digest
    for change in words[1:]:
        tomllib.loads(f"x = {change.partition('=')[2]}")


def test_recipe_writes_and_refuses(db, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["publish", "--db", db, "--out", str(tmp_path / "out"), *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(RECIPE), run_name="__main__")
        return ended.value.code, capsys.readouterr()

    code, printed = run("--temperature", "5000")
    assert code == 2 and printed.err.count("\n") == 1 and "5000" in printed.err
    assert not (tmp_path / "out").exists()
    code, printed = run()
    names = [Path(line).name for line in printed.out.splitlines()]
    assert code == 0 and names == ["README.md", "hops.csv", "points.csv", "comparison.csv", "verdict.csv"]


def test_an_empty_database_is_refused(tmp_path):
    with Database(tmp_path / "empty.db", create=True) as database, pytest.raises(InputError, match="no served hop average"):
        write(database, tmp_path / "out")
