"""Self-consistency loops on several MPI ranks: two real ranks against one process, on the primitive cell of Al."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from step_functions import alive, wait_for
from test_self_consistency import cell, start

from emforce.campaign import Placement
from emforce.cluster_profile import load_profile
from emforce.errors import ConvergenceError, EmforceError, InputError
from emforce.ranked_scf import VARIABLE, check_ranks, ranks_variable

ROOT = Path(__file__).parent.parent
MPI_PYTHON = ROOT / ".venv-mpi" / "bin" / "python"
#: GPAW for MPI is a build of its own; the machine that tests may be one on which nobody made it
needs_mpi = pytest.mark.skipif(not MPI_PYTHON.exists() or shutil.which("mpirun") is None,
                               reason="no GPAW with MPI here: MPI=1 make setup makes .venv-mpi")
PROFILE = """
kind = "local"
[job]
cores = 2
[environment]
mpi_python = {python!r}
mpi_command = ["mpirun", "-np", "{{ranks}}", "--bind-to", "none", "--oversubscribe"]
[steps.scf]
ranks = {ranks}
"""


@pytest.fixture
def profile(tmp_path):
    """Write a profile; returns its path."""
    def write(python: str | Path = MPI_PYTHON, ranks: int = 2) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(PROFILE.format(python=str(python), ranks=ranks))
        return str(path)
    return write


@pytest.fixture
def two_ranks(profile, monkeypatch):
    """The environment of a step that has two ranks."""
    for name, value in ranks_variable(load_profile(profile()), "scf").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def pair() -> Any:
    """Two atoms without symmetry: forces, and off-diagonal blocks."""
    atoms = cell().repeat((2, 1, 1))
    atoms.positions[1] += [0.10, 0.05, 0.02]
    return atoms


def pair_start(tmp_path: Path, **changes: Any) -> Any:
    from emforce.dft import grid_points, shared_symmetry

    grid = grid_points(np.array(cell().cell), 0.3, (2, 1, 1))
    return replace(start(tmp_path / "log.txt", **changes), grid=grid, kpts={"size": (1, 2, 2), "gamma": True},
                   symmetry=shared_symmetry([pair()], grid), scratch=tmp_path)


@needs_mpi
@pytest.mark.gpaw
def test_two_ranks_give_what_one_process_gives(two_ranks, tmp_path, monkeypatch):
    """Energy, forces and matrices; from atoms, and then from the density of the positions before."""
    from emforce.dft import folded_matrices, save
    from emforce.ranked_scf import ground_state

    wanted = pair_start(tmp_path)
    atoms = pair()
    calc, state = ground_state(wanted, atoms, forces=True)
    moved = atoms.copy()
    moved.positions[1] += [0.0, 0.0, 0.003]  # so little that the density before is nearly right
    again, next_state = ground_state(wanted, moved, True, calc)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.txt", "mine.toml"]
    again.log.fd.flush()
    assert "cores: 2" in " ".join((tmp_path / "log.txt").read_text().lower().split())
    save(again, tmp_path / "density.gpw")  # an image's density is written by the step itself

    monkeypatch.delenv(VARIABLE)
    one, serial = ground_state(wanted, atoms, forces=True)
    two, next_serial = ground_state(wanted, moved, True, one)
    for a, b in ((state, serial), (next_state, next_serial)):
        assert a.energy == pytest.approx(b.energy, abs=1e-5)
        assert a.fermi_level == pytest.approx(b.fermi_level, abs=1e-4)
        assert np.abs(a.forces - b.forces).max() < 1e-3
        assert np.abs(b.forces).max() > 0.05
        assert [r["outcome"] for r in a.attempts] == ["converged"]
    found, expected = folded_matrices(again, (3, 3, 3)), folded_matrices(two, (3, 3, 3))
    assert np.abs(found.s - expected.s).max() < 1e-10
    assert np.abs(found.h - expected.h).max() < 1e-3
    assert np.array_equal(found.positions, expected.positions)


@needs_mpi
@pytest.mark.gpaw
def test_what_does_not_converge_on_ranks_fails_as_on_one(two_ranks, tmp_path):
    from emforce.ranked_scf import ground_state

    with pytest.raises(ConvergenceError, match="as set: not reached in 1 iter.*soft mixer: .*smearing schedule: "):
        ground_state(replace(start(max_iterations=1), scratch=tmp_path), cell())


@needs_mpi
def test_ranks_that_do_not_come_are_an_error(two_ranks, tmp_path, monkeypatch, capfd):
    """Another number than asked for, an interpreter whose GPAW has no MPI, no program at all."""
    from emforce.ranked_scf import ground_state

    wanted = replace(start(), scratch=tmp_path)
    told = os.environ[VARIABLE]
    monkeypatch.setenv(VARIABLE, told.replace('"ranks": 2', '"ranks": 3'))
    with pytest.raises(EmforceError, match="3 ranks were asked for and 2 came; environment.mpi_command"):
        ground_state(wanted, cell())
    monkeypatch.setenv(VARIABLE, told.replace('"mpirun"', '"no-such-mpirun"'))
    with pytest.raises(EmforceError, match="no-such-mpirun: No such file"):
        ground_state(wanted, cell())
    monkeypatch.setenv(VARIABLE, told.replace(str(MPI_PYTHON), sys.executable))
    with pytest.raises(EmforceError, match="mpirun: the ranks .* ended with exit code 1 and no result"):
        ground_state(wanted, cell())
    assert "GPAW" in capfd.readouterr().err, "the log says why"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]


STEP = """
import sys
from pathlib import Path
from emforce.ranked_scf import _launch
print("ready", flush=True)
_launch(["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none", sys.executable, "-c",
         "import os, sys, time\\nopen(os.path.join(sys.argv[1], os.environ['OMPI_COMM_WORLD_RANK']), 'w').write(str(os.getpid()))"
         "\\ntime.sleep(300)", sys.argv[1]])
"""


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun here")
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to tell of the end of a parent")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "kill -9"])
def test_the_ranks_end_with_their_step(two_ranks, tmp_path, number):
    folder = tmp_path / "pids"
    folder.mkdir()
    step = subprocess.Popen([sys.executable, "-c", STEP, str(folder)], start_new_session=True)
    try:
        wait_for(lambda: len([p for p in folder.iterdir() if p.read_text()]) == 2, 60, "the ranks")
        pids = [int(p.read_text()) for p in folder.iterdir()]
        os.kill(step.pid, number)
        step.wait(30)
        wait_for(lambda: not any(alive(pid) for pid in pids), 30, "the end of the ranks")
    finally:
        try:
            os.killpg(step.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_a_step_learns_its_ranks_from_its_profile(profile):
    import json

    mine = load_profile(profile("/x/python", 2))
    assert ranks_variable(mine, "light") == {}
    told = json.loads(ranks_variable(mine, "scf")[VARIABLE])
    assert told == {"ranks": 2, "command": ["mpirun", "-np", "2", "--bind-to", "none", "--oversubscribe", "/x/python"]}
    own = replace(mine, environment=replace(mine.environment, mpi_python=""))
    assert json.loads(ranks_variable(own, "scf")[VARIABLE])["command"][-1] == sys.executable


def test_an_interpreter_that_cannot_run_ranks_is_told_before_anything_starts(profile, tmp_path):
    """The one that is missing, and the one whose GPAW has no MPI."""
    if shutil.which("mpirun") is None:
        pytest.skip("no mpirun here: that is refused first")
    with pytest.raises(InputError, match="environment.mpi_python: '/no/python' is not allowed; allowed: .*MPI=1 setup"):
        Placement(profile("/no/python")).check()
    serial = tmp_path / "python"  # stands for an interpreter whose GPAW has no MPI
    serial.write_text("#!/bin/sh\nexit 3\n")
    serial.chmod(0o755)
    with pytest.raises(InputError, match="environment.mpi_python: .* a GPAW that has MPI"):
        Placement(profile(serial)).check()
    # on a batch system the nodes may load what is missing here, but a GPAW without MPI stays one
    batch = load_profile(profile("/no/python"))
    batch = replace(batch, environment=replace(batch.environment, prologue=("module load mpi",)))
    check_ranks(batch)
    with pytest.raises(InputError, match="mpi_python"):
        check_ranks(replace(batch, environment=replace(batch.environment, mpi_python=str(serial))))
    Placement(profile("/no/python", 1)).check()


@needs_mpi
def test_a_profile_with_ranks_is_taken(profile):
    Placement(profile()).check()


def test_only_self_consistent_calculations_have_ranks(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('kind = "local"\n[job]\ncores = 2\n[steps.embedding]\nranks = 2\n')
    with pytest.raises(InputError, match="steps.embedding.ranks: 2 is not allowed; allowed: 1"):
        load_profile(path)
