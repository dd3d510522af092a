"""Self-consistency loops on several MPI ranks: the one part of a step that runs on more than one process.

A step is one process. Where its profile grants several ranks, the loop and the forces run in a subprocess,

    mpirun -np RANKS PYTHON -m emforce.ranked_scf REQUEST.json

which writes density, wave functions and a small document of energy, Fermi level, forces and iterations. The step reads the
density and builds its matrices from it, as it does from a density of its own: GPAW gives matrices to the first rank only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from emforce import self_consistency
from emforce.dft import DFTSettings, GroundState, load, save
from emforce.errors import ConvergenceError, EmforceError, InputError
from emforce.self_consistency import ATTEMPTS, Attempt, Start
from emforce.step_server import die_with
from emforce.steps import document_atoms

if TYPE_CHECKING:
    from emforce.cluster_profile import Profile

#: tells a step how to start its ranks: {"ranks": number, "command": [words, the last being the interpreter]}
VARIABLE = "EMFORCE_RANKS"
#: without it GPAW does not look for other ranks
_WITH_MPI = {"GPAW_MPI_BACKEND": "cgpaw"}
CHECK_SECONDS = 120.0
_NO_MPI = 3


def ranks_variable(profile: Profile, step_class: str) -> dict[str, str]:
    """Environment by which steps of a class learn of their ranks; empty for one rank."""
    ranks = profile.steps[step_class].ranks
    if ranks == 1:
        return {}
    words = [word.replace("{ranks}", str(ranks)) for word in profile.environment.mpi_command]
    return {VARIABLE: json.dumps({"ranks": ranks, "command": [*words, _interpreter(profile)[1]]})}


def _interpreter(profile: Profile) -> tuple[str, str]:
    """Field and path of the interpreter of the ranks."""
    environment = profile.environment
    if environment.mpi_python:
        return "environment.mpi_python", environment.mpi_python
    return "environment.python", environment.python or sys.executable


def check_ranks(profile: Profile) -> None:
    """Can the interpreter of the ranks run them? Nothing is asked where no step has several.

    Raises
    ------
    InputError for an interpreter that is not there, or whose GPAW has no MPI. On a batch system with a prologue only the
    latter: what the nodes load may be missing here
    """
    if all(limits.ranks == 1 for limits in profile.steps.values()):
        return
    field, python = _interpreter(profile)
    allowed = "an interpreter with emforce and a GPAW that has MPI, such as .venv-mpi/bin/python after: make MPI=1 setup"
    # imported as a whole: Python then has compiled it once, and not each of the ranks by itself
    program = f"import sys, _gpaw\nif not hasattr(_gpaw, 'Communicator'): sys.exit({_NO_MPI})\n" \
              "import emforce.ranked_scf, gpaw.new.ase_interface, gpaw.lcao.tools, gpaw.new.lcao.builder"
    try:
        code = subprocess.run([python, "-c", program], check=False, capture_output=True, timeout=CHECK_SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired):
        code = 1
    if code == _NO_MPI or (code and not profile.environment.prologue):
        raise InputError(field, python, f"{allowed} (steps of several ranks need it)")


def ground_state(
    start: Start, atoms: Atoms, forces: bool = False, calc: Any = None, attempts: Sequence[Attempt] = ATTEMPTS
) -> tuple[Any, GroundState]:
    """`emforce.self_consistency.ground_state` on the ranks that the step was given; the calculator is always of one process.

    Raises
    ------
    ConvergenceError as that does; EmforceError if the ranks end otherwise than by themselves
    """
    told = os.environ.get(VARIABLE)
    if not told:
        return self_consistency.ground_state(start, atoms, forces, calc, attempts)
    how = json.loads(told)
    with tempfile.TemporaryDirectory(prefix="ranks-", dir=start.scratch) as name:
        folder = Path(name)
        before = None
        if calc is not None:
            before = folder / "before.gpw"
            save(calc, before)
        request = {"ranks": how["ranks"], "start": _start_document(start), "atoms": _exact_document(atoms), "forces": forces,
                   "before": before and str(before), "attempts": [ATTEMPTS.index(a) for a in attempts],
                   "setup_paths": _setup_paths(), "density": str(folder / "density.gpw"), "answer": str(folder / "answer.json")}
        wanted = folder / "request.json"
        wanted.write_text(json.dumps(request), encoding="utf-8")
        code = _launch([*how["command"], "-m", "emforce.ranked_scf", str(wanted)])
        answer = _answer(folder / "answer.json", code, how["command"][0])
        calc = load(folder / "density.gpw", start.log)
    force = None if answer["forces"] is None else np.array(answer["forces"])
    return calc, GroundState(answer["energy"], answer["fermi_level"], force, answer["iterations"], tuple(answer["attempts"]))


def _answer(path: Path, code: int, program: str) -> dict[str, Any]:
    """What the ranks have written, or the error that they ended with."""
    if not path.is_file():
        raise EmforceError(f"{program}: the ranks of a self-consistent calculation ended with exit code {code} and no result; "
                           "the log of the step says why")
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "not converged" in answer:
        raise ConvergenceError(answer["not converged"])
    if "refused" in answer:
        raise EmforceError(answer["refused"])
    return answer


def _launch(words: Sequence[str]) -> int:
    """Run a command in this process's group; it is told to end when this process does, however that happens."""
    variables = {name: value for name, value in os.environ.items() if name != VARIABLE} | _WITH_MPI
    own = os.getpid()
    try:
        return subprocess.run(words, check=False, env=variables, stdin=subprocess.DEVNULL,
                              preexec_fn=partial(die_with, own, signal.SIGTERM)).returncode
    except OSError as error:
        raise EmforceError(f"{words[0]}: {error.strerror}; environment.mpi_command must be a program of the node") from error


def _start_document(start: Start) -> dict[str, Any]:
    symmetry = {name: np.asarray(value).tolist() for name, value in start.symmetry.items()} if start.symmetry else None
    return {"settings": asdict(start.settings), "kpts": dict(start.kpts), "grid": [int(n) for n in start.grid],
            "symmetry": symmetry, "density": start.density and str(start.density.absolute()),
            "log": start.log and str(start.log.absolute())}


def _exact_document(atoms: Atoms) -> dict[str, Any]:
    return {"symbols": list(atoms.get_chemical_symbols()), "positions": atoms.get_positions().tolist(),
            "cell": np.array(atoms.cell).tolist(), "pbc": [bool(p) for p in atoms.pbc]}


def _setup_paths() -> list[str]:
    import gpaw

    return [str(path) for path in gpaw.setup_paths]


# on each rank


def _start(document: dict[str, Any], first: bool) -> Start:
    settings = dict(document["settings"])
    for name in ("basis", "setups"):
        settings[name] = tuple((symbol, value) for symbol, value in settings[name])
    symmetry = document["symmetry"]
    if symmetry is not None:
        symmetry = {name: np.array(value) if isinstance(value, list) else value for name, value in symmetry.items()}
    kpts = {name: tuple(value) if isinstance(value, list) else value for name, value in document["kpts"].items()}
    return Start(DFTSettings(**settings), kpts, tuple(document["grid"]), symmetry,
                 Path(document["density"]) if document["density"] else None,
                 Path(document["log"]) if document["log"] and first else None)


def main(path: str) -> int:
    """One rank; returns the exit code. The first rank writes the answer when the density is on disk."""
    die_with(os.getppid(), signal.SIGKILL)
    import gpaw
    from gpaw.mpi import world

    request = json.loads(Path(path).read_text(encoding="utf-8"))
    if world.size != request["ranks"]:
        text = f"{request['ranks']} ranks were asked for and {world.size} came; environment.mpi_command"
        return _write(request, {"refused": text + " must start as many as {ranks} says"})
    gpaw.setup_paths[:] = request["setup_paths"]
    start = _start(request["start"], world.rank == 0)
    attempts = [ATTEMPTS[i] for i in request["attempts"]]
    calc = load(Path(request["before"]), start.log) if request["before"] else None
    try:
        calc, state = self_consistency.ground_state(start, document_atoms(request["atoms"]), request["forces"], calc, attempts)
    except ConvergenceError as error:
        answer: dict[str, Any] = {"not converged": str(error)}
    else:
        calc.write(request["density"], mode="all")  # by all ranks together
        answer = asdict(state) | {"forces": None if state.forces is None else state.forces.tolist()}
    world.barrier()
    return _write(request, answer) if world.rank == 0 else 0


def _write(request: dict[str, Any], answer: dict[str, Any]) -> int:
    target = Path(request["answer"])
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(json.dumps(answer), encoding="utf-8")
    os.replace(temporary, target)
    return 0


if __name__ == "__main__":
    from emforce import ranked_scf

    sys.exit(ranked_scf.main(sys.argv[1]))
