"""Kinetics with real GPAW in cells of a few atoms: far from converged, but every step is the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import fcc100

from emforce.cli import main
from emforce.database import Database
from emforce.errors import ConvergenceError
from emforce.kinetics_jobs import plane_wave, stationary
from emforce.kinetics_plan import KineticsHop, stationary_step
from emforce.plane_wave_plan import formation_steps
from emforce.query import Question, select
from emforce.relaxed import Relaxation, write_relaxed
from emforce.settings import load_settings
from emforce.steps import atoms_document
from emforce.store import Store
from emforce.workflow import built_hop, relaxed_folder

pytestmark = pytest.mark.gpaw

SPEC = """name = "al100-adatom"
metal = "Al"
facet = "100"
kind = "adatom"
hop = "hollow-bridge-hollow"
images = [0.0, 0.5]
"""
#: two layers, the fewest k-points, the mover alone; nothing is relaxed, so any force is accepted
TINY: dict[str, object] = {
    "structure.slab_size": [2, 2, 1], "structure.layers": 2, "structure.vacuum_A": 3.0, "dft.recipe": "small", "dft.grid_A": 0.36,
    "dft.slab_kpts": [1, 1, 1], "host.bulk_kpts": 2, "kinetics.shells": 0, "kinetics.density_tolerance": 1e-2,
    "kinetics.force_tolerance_eV_per_A": 50.0,
}


def test_command_from_structures_to_a_stored_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = TINY | {"structure.relaxed": str(tmp_path / "relaxed"), "kinetics.k_points_check": True,
                      "kinetics.k_points_steps": 2}
    settings = load_settings("quick", changes)
    spec = tmp_path / "al100-adatom.toml"
    spec.write_text(SPEC)
    hop = built_hop(spec, settings)
    folder = relaxed_folder(hop, settings)
    assert folder is not None
    write_relaxed(hop, folder, Relaxation("PBE", "small", 9.0, hop.repeat, 2))
    pairs = [part for name, value in changes.items()
             for part in ("--set", f'{name}="{value}"' if isinstance(value, str) else f"{name}={str(value).lower()}")]
    database = str(tmp_path / "emforce.db")
    command = ["kinetics", str(spec), "--workers", "1", "--store", str(tmp_path / "store"), "--db", database, *pairs]
    code = main(command)
    printed = capsys.readouterr().out
    assert "E_m eV" in printed
    with Database(database) as rows:
        (row,) = select(rows, [], Question(temperatures_K=(300.0,), which="all")).rows
    assert row["site"] == "hop average"
    details = row["kinetics_details"]
    assert details["force_calls"] <= 8
    assert len(details["modes_initial_THz"]) == 3
    first, second = details["barrier_k_points_changes_eV"]
    assert first != second and row["barrier_eV"] == pytest.approx(details["barrier_lcao_eV"] + second)
    assert details["barrier_sigma_parts_eV"]["k_points"] == pytest.approx(abs(second - first))
    store = Store(tmp_path / "store")
    kinds = {p.name.split("-")[0] for p in (store.root / "steps").iterdir()}
    assert kinds == {"stationary", "nudged"}
    assert (code == 0) == (row["status"] == "ok")
    if row["status"] == "ok":
        assert row["nu0_THz"] > 0
        assert "al100-adatom" in printed
    before = {p: p.stat().st_mtime_ns for p in (store.root / "steps").rglob("*")}
    assert main(command) == code
    assert {p: p.stat().st_mtime_ns for p in (store.root / "steps").rglob("*")} == before


def test_a_supercell_without_a_vacancy_costs_nothing(tmp_path: Path) -> None:
    """E(N)/N is the host's energy per atom on the mesh that folds on the supercell's, not on one of that size through Gamma."""
    settings = load_settings("quick", TINY | {"structure.relaxed": "", "structure.primitive_size": [2, 2, 2],
                                              "kinetics.density_tolerance": 1e-4})
    spec = tmp_path / "al-vacancy.toml"
    spec.write_text('name = "al-vacancy"\nmetal = "Al"\nfacet = "bulk"\nkind = "vacancy"\nhop = "vacancy-110"\ncubic = false\n'
                    "images = [0.0, 0.5]\n")
    hop = built_hop(spec, settings)
    item = KineticsHop(hop, settings, Path("nowhere"), {}, ((0,),))
    host = formation_steps(item).local["host"].inputs
    whole = stationary_step(item, hop.host_supercell(), "whole", False).inputs | {"forces": False}
    store = Store(tmp_path / "store")
    energies = [stationary(inputs, {}, tmp_path, tmp_path / "log.txt", store)["energy"] / len(inputs["atoms"]["symbols"])
                for inputs in (whole, host, host | {"gamma": True})]
    assert energies[1] == pytest.approx(energies[0], abs=1e-4)
    assert abs(energies[2] - energies[0]) > 0.02


def test_plane_wave_step_of_a_slab_pulls_both_faces_alike(tmp_path: Path) -> None:
    slab = fcc100("Al", (1, 1, 2), vacuum=3.0)
    inputs = {"atoms": atoms_document(slab), "setups": {"Al": "paw"}, "kpts": [2, 2, 1], "gamma": False, "cutoff": 150.0,
              "dft": {"functional": "PBE", "smearing_eV": 0.2, "density_tolerance": 1e-3, "max_iterations": 60}}
    values = plane_wave(inputs, {}, tmp_path, tmp_path / "log.txt", Store(tmp_path / "store"))
    forces = np.array(values["forces"])
    assert np.isfinite(values["energy"])
    assert abs(forces[0, 2]) > 0.05
    assert forces[0, 2] == pytest.approx(-forces[1, 2], abs=0.02)
    assert [record["name"] for record in values["attempts"]] == ["as set"]


def test_plane_waves_that_do_not_converge_are_tried_again(tmp_path: Path) -> None:
    slab = fcc100("Al", (1, 1, 2), vacuum=3.0)
    inputs = {"atoms": atoms_document(slab), "setups": {"Al": "paw"}, "kpts": [2, 2, 1], "gamma": False, "cutoff": 150.0,
              "dft": {"functional": "PBE", "smearing_eV": 0.2, "density_tolerance": 1e-2, "max_iterations": 4}}
    with pytest.raises(ConvergenceError, match="as set: not reached in 4 .*soft mixer: not reached in 8 .*smearing schedule"):
        plane_wave(inputs, {}, tmp_path, tmp_path / "log.txt", Store(tmp_path / "store"))
