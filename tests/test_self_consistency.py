"""Fallbacks of the self-consistency loop. Real GPAW on the primitive cell of Al, where a loop takes five iterations."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from emforce.errors import ConvergenceError, InputError
from emforce.store import Store

pytestmark = pytest.mark.gpaw

#: iterations of which a plain loop needs more, and twice of which are enough
TOO_FEW = 3


def cell() -> Atoms:
    atoms = bulk("Al", a=4.04)
    atoms.positions += 0.25 * np.array(atoms.cell).sum(axis=0)
    return atoms


def start(log: Path | None = None, density: Path | None = None, **changes: Any) -> Any:
    from emforce.dft import DFTSettings, grid_points
    from emforce.self_consistency import Start

    values = {"basis": (("Al", "sz(dzp)"),), "grid_A": 0.3, "smearing_eV": 0.2, "density_tolerance": 1e-5}
    settings = DFTSettings(**(values | changes))
    return Start(settings, {"size": (2, 2, 2), "gamma": True}, grid_points(np.array(cell().cell), 0.3), None, density, log)


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Any, Any]:
    """Calculator, ground state and matrices of a run without fallbacks."""
    from emforce.dft import folded_matrices
    from emforce.self_consistency import ground_state

    calc, state = ground_state(start(), cell())
    assert [dict(record) for record in state.attempts] == [
        {"name": "as set", "iterations": state.iterations, "outcome": "converged", "smearings_eV": [0.2]}]
    assert TOO_FEW < state.iterations < 2 * TOO_FEW, "the other tests need a loop of this length"
    return calc, state, folded_matrices(calc, (3, 3, 3))


def test_the_second_attempt_gives_what_a_plain_run_gives(plain, tmp_path, caplog):
    from emforce.dft import load, save
    from emforce.self_consistency import ground_state

    log = tmp_path / "log.txt"
    with caplog.at_level(logging.WARNING):
        calc, state = ground_state(start(log, max_iterations=TOO_FEW), cell())
    assert state.energy == pytest.approx(plain[1].energy, abs=1e-3)
    assert state.fermi_level == pytest.approx(plain[1].fermi_level, abs=1e-3)
    assert [(r["name"], r["outcome"]) for r in state.attempts] == [
        ("as set", f"not reached in {TOO_FEW} iterations"), ("soft mixer", "converged")]
    assert state.iterations == state.attempts[1]["iterations"] > TOO_FEW
    assert f"Al, as set: self-consistency not reached in {TOO_FEW} iterations" in caplog.text
    # the density on disk starts with the settings asked for, not with those that helped
    save(calc, tmp_path / "density.gpw")
    for one in (calc, load(tmp_path / "density.gpw")):
        assert one.params.maxiter == one.dft.scf_loop.maxiter == TOO_FEW
        assert one.params.todict()["occupations"]["width"] == 0.2
        assert "MSR1" in str(one.dft.scf_loop.mixer)
        assert one.get_potential_energy() == pytest.approx(state.energy, abs=1e-9)
    calc.log.fd.flush()
    text = log.read_text()  # one after the other, in one file
    first, second = text.split(f"self-consistency, as set: not reached in {TOO_FEW} iterations")
    assert "MSR1-Mixer" in first and "Pulay-Mixer" not in first
    assert "Pulay-Mixer" in second and "0.03" in second and "MSR1-Mixer" not in second
    assert "maximum number of iterations: 3" in first and "maximum number of iterations: 6" in second
    assert "self-consistency, soft mixer: converged" in second


@pytest.mark.parametrize(("errors", "patience", "steps"), [
    ([0.5] * 40, 20, 20),
    ([0.5] * 15 + [0.09] + [0.5] * 24, 20, 26),  # ten in a row
    ([0.5] * 19 + [0.05] + [1e-3] * 5, 20, 25),  # late, but on its way
    ([0.5] * 40, None, 40),
    ([0.5] * 19, 20, 19),
])
def test_a_loop_that_gets_nowhere_is_given_up_where_there_is_another_way(errors, patience, steps):
    from types import SimpleNamespace

    from gpaw.mpi import serial_comm

    from emforce.dft import iterate

    seen = []

    def iconverge(atoms: Any, need_wfs: bool) -> Any:
        for error in errors:
            seen.append(error)
            yield SimpleNamespace(dens=SimpleNamespace(error=11 * error), wfs=SimpleNamespace(nvalence=11, world=serial_comm))

    done, reason = iterate(SimpleNamespace(iconverge=iconverge), cell(), patience)
    assert done == len(seen) == steps
    given_up = f"given up after {steps} iterations, the density still changing by 0.5 per electron"
    assert reason == ("" if steps == len(errors) else given_up)


def test_matrices_after_the_smearing_schedule_are_those_of_a_direct_run(plain):
    from emforce.dft import folded_matrices
    from emforce.self_consistency import ATTEMPTS, ground_state

    calc, state = ground_state(start(), cell(), attempts=ATTEMPTS[2:])
    assert state.attempts[0]["smearings_eV"] == pytest.approx([0.6, 0.2])
    assert state.iterations > plain[1].iterations, "a loop at each smearing"
    assert state.energy == pytest.approx(plain[1].energy, abs=1e-4)
    assert "0.2000" in str(calc.dft.scf_loop.occ_calc)
    found = folded_matrices(calc, (3, 3, 3))
    assert np.abs(found.s - plain[2].s).max() < 1e-10
    assert np.abs(found.h - plain[2].h).max() < 1e-4


def test_the_smearing_makes_a_difference_that_the_schedule_does_not_keep(plain):
    """Otherwise the test above could not fail."""
    from emforce.self_consistency import ground_state

    _, wide = ground_state(start(smearing_eV=0.6), cell())
    assert abs(wide.fermi_level - plain[1].fermi_level) > 1e-3


def test_a_density_that_failed_is_not_started_from(plain, tmp_path):
    """From a density on disk every attempt starts from that density."""
    from emforce.dft import save
    from emforce.self_consistency import ground_state

    calc, _ = ground_state(replace(start(), symmetry={"point_group": False}), cell())
    save(calc, tmp_path / "density.gpw")
    moved = cell()
    moved.positions += [0.0, 0.0, 0.1]
    calc, state = ground_state(start(density=tmp_path / "density.gpw", max_iterations=2), moved)
    assert state.attempts[0]["outcome"] == "not reached in 2 iterations"
    assert state.attempts[-1]["outcome"] == "converged"
    assert state.energy == pytest.approx(plain[1].energy, abs=2e-3)


def inputs(**dft: Any) -> dict[str, Any]:
    from emforce.steps import atoms_document

    settings = {"functional": "PBE", "smearing_eV": 0.2, "grid_A": 0.3, "density_tolerance": 1e-5, "max_iterations": 150}
    return {"atoms": atoms_document(cell()), "setups": {"Al": {"setup": "paw"}}, "dft": settings | dft, "kpts": [2, 2, 2],
            "gamma": True, "grid": [8, 8, 8], "matrix_kpts": [3, 3, 3], "mover": 0, "displacements": [], "forces": False,
            "directions": np.eye(3)[None].tolist(), "force_tolerance": 0.01, "steps": 2, "stiffness": 5.0}


@pytest.fixture
def own_basis(monkeypatch):
    """Settings of a step with GPAW's own basis, so that none need be generated."""
    from emforce import ground_state_jobs
    from emforce.dft import DFTSettings

    monkeypatch.setattr(ground_state_jobs, "dft_settings",
                        lambda inputs, store: DFTSettings(basis=(("Al", "sz(dzp)"),), **inputs["dft"]))


def test_a_step_that_fails_with_all_is_failed_with_all_names(own_basis, tmp_path):
    from emforce.ground_state_jobs import host
    from emforce.runner import run_here

    store = Store(tmp_path)
    wanted = inputs(max_iterations=1)

    def run() -> None:
        store.run("host", "x", wanted, lambda folder, log: host(wanted, {}, folder, log, store))

    failure = run_here((run, ()), None).failure
    assert failure.cause == "inputs", "the same inputs would fail again"
    assert "as set: not reached in 1 iterations; soft mixer: not reached in 2 iterations; " in failure.reason
    assert "smearing schedule: not reached in 2 iterations at a smearing of 0.6 eV" in failure.reason
    assert "max_iterations" in failure.reason
    assert store.find("host", "x") is None
    assert list((tmp_path / "partial").iterdir()) == []


def test_steps_keep_what_was_tried_and_a_relaxation_goes_on(own_basis, tmp_path):
    from emforce.ground_state_jobs import image, relax

    store = Store(tmp_path)
    wanted = inputs(max_iterations=TOO_FEW, smearing_eV=0.2)
    done = store.run("image", "x", wanted, lambda folder, log: image(wanted, {}, folder, log, store))
    assert [r["name"] for r in done.values["attempts"]] == ["as set", "soft mixer"]
    assert sorted(p.name for p in done.folder.iterdir()) == ["density.gpw", "matrices.npz", "meta.json"]
    relaxed = store.run("relax", "x", wanted, lambda folder, log: relax(wanted, {}, folder, log, store))
    assert relaxed.values["force"] < 0.01  # by symmetry
    assert relaxed.values["energy"] == pytest.approx(done.values["energy"], abs=1e-3)
    assert [[r["name"] for r in records] for records in relaxed.values["attempts"]] == [["as set", "soft mixer"]]


def test_bfgs_asks_for_one_state_per_step(tmp_path):
    from emforce.bfgs import relax
    from emforce.dft import GroundState

    spring, asked = 2.0, []

    def state(atoms: Atoms) -> Any:
        asked.append(atoms.positions[0].copy())
        return GroundState(0.5 * spring * float((atoms.positions**2).sum()), 0.0, -spring * atoms.positions, 1)

    atoms = Atoms("Al", positions=[[0.1, 0.0, 0.0]])
    relaxed, force, energy, steps = relax(state, atoms, np.eye(3)[None], 1e-3, 20, tmp_path / "t.extxyz", 5.0)
    assert len(asked) == steps + 1
    assert force <= 1e-3 and energy < 1e-6
    assert np.abs(relaxed.positions).max() < 1e-3
    with pytest.raises(ConvergenceError, match="after 0 steps"):
        relax(state, atoms, np.eye(3)[None], 1e-3, 0, tmp_path / "other.extxyz", 5.0)


@pytest.mark.parametrize(("changes", "field"), [
    ({"smearings": (3.0,)}, "smearings"), ({"smearings": ()}, "smearings"), ({"smearings": (-1.0, 1.0)}, "smearings"),
    ({"iterations": 0.0}, "iterations"),
])
def test_an_attempt_ends_at_the_smearing_asked_for(changes, field):
    from emforce.self_consistency import ATTEMPTS, Attempt

    with pytest.raises(InputError, match=field):
        Attempt("x", **changes)
    assert all(attempt.smearings[-1] == 1.0 for attempt in ATTEMPTS)
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS) == 3
    assert replace(ATTEMPTS[1], name="y").smearings == (1.0,)
