"""What is tried, in this order, when a self-consistency loop does not converge; then it is an error that names all of it.

Only the way to the result changes. An attempt counts as converged at the smearing and the tolerances that were asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ase import Atoms

from emforce.dft import MORE, DFTSettings, GroundState, PlaneWaves, calculator, ground_state_of, iterate, load
from emforce.errors import ConvergenceError, InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One way to self-consistency.

    Attributes
    ----------
    name : for people and for records
    mixer : of the density, as GPAW takes it; empty for GPAW's own choice
    iterations : most iterations of each loop, in units of the number that is set
    smearings : widths of the occupation in units of the one that is set: a loop at each of them, from the density of the
        one before. The last must be 1
    """

    name: str
    mixer: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    iterations: float = 1.0
    smearings: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.smearings or self.smearings[-1] != 1.0 or min(self.smearings) <= 0:
            raise InputError("Attempt.smearings", self.smearings, "positive factors, the last of them 1")
        if self.iterations <= 0:
            raise InputError("Attempt.iterations", self.iterations, "a positive factor")


#: small steps with a short memory, long waves damped: slow, but it does not overshoot
SOFT = MappingProxyType({"name": "pulay", "beta": 0.03, "nmaxold": 5, "weight": 100.0})
#: iterations after which an attempt that gets nowhere is given up, where another one is left (`emforce.dft.iterate`)
PATIENCE = 20
ATTEMPTS = (
    Attempt("as set"),
    Attempt("soft mixer", SOFT, 2.0),
    Attempt("smearing schedule", SOFT, 2.0, (3.0, 1.0)),
)


@dataclass(frozen=True)
class Start:
    """How a self-consistent calculation in the local basis begins.

    Attributes
    ----------
    settings : what is asked for
    kpts, grid, symmetry : as `emforce.dft.calculator` takes them; not used where there is a density
    density : file of `emforce.dft.save` to start from; None for a superposition of atoms
    log : text of GPAW, appended to
    scratch : folder for files between the processes of several ranks; None for the system's temporary folder
    """

    settings: DFTSettings
    kpts: Mapping[str, Any] = field(default_factory=dict)
    grid: tuple[int, int, int] = (0, 0, 0)
    symmetry: Mapping[str, Any] | None = None
    density: Path | None = None
    log: Path | None = None
    scratch: Path | None = None

    def calculator(self, atoms: Atoms) -> Any:
        """A new calculator with the density that is to be started from, and the loop of the settings."""
        if self.density is not None:
            calc = load(self.density, self.log)
            _restore(calc, self.settings)  # a file brings the loop that it was written with
            calc.dft.results = {}
            return calc
        symmetry = None if self.symmetry is None else dict(self.symmetry)
        return calculator(atoms, self.settings, dict(self.kpts), self.grid, symmetry, self.log)


def self_consistent(
    make: Callable[[Atoms], Any],
    atoms: Atoms,
    settings: DFTSettings | PlaneWaves,
    forces: bool = False,
    calc: Any = None,
    attempts: Sequence[Attempt] = ATTEMPTS,
) -> tuple[Any, GroundState]:
    """Ground state at the positions of `atoms`, by the first attempt that converges.

    Parameters
    ----------
    make : gives a new calculator; each attempt but the first has its own, as a density that diverged is no start
    settings : the smearing and the number of iterations that are asked for
    calc : the first attempt goes on with this calculator and its density; None for a new one

    Returns
    -------
    calculator, with the settings asked for; ground state, with `attempts`: name, smearings (eV), iterations and outcome of
    each, the last being "converged"

    Raises
    ------
    ConvergenceError that names all attempts and how each ended
    """
    if not attempts:
        raise InputError("attempts", attempts, "at least one")
    records: list[Mapping[str, Any]] = []
    for number, attempt in enumerate(attempts, start=1):
        if calc is None:
            calc = make(atoms)
        total, reason = 0, ""
        for factor in attempt.smearings:
            _set(calc, attempt, settings, factor)
            steps, reason = iterate(calc, atoms, PATIENCE if number < len(attempts) else None)
            total += steps
            if reason:
                reason += f" at a smearing of {factor * settings.smearing_eV:g} eV" if len(attempt.smearings) > 1 else ""
                break
        records.append({"name": attempt.name, "iterations": total, "outcome": reason or "converged",
                        "smearings_eV": [factor * settings.smearing_eV for factor in attempt.smearings]})
        calc.log(f"\nself-consistency, {attempt.name}: {records[-1]['outcome']}\n", flush=True)
        if not reason:
            state = ground_state_of(calc, atoms, forces, total)
            if attempt != ATTEMPTS[0]:
                _restore(calc, settings)
            return calc, GroundState(state.energy, state.fermi_level, state.forces, total, tuple(records))
        logger.warning("%s, %s: self-consistency %s", atoms.get_chemical_formula(), attempt.name, reason)
        calc = None
    tried = "; ".join(f"{record['name']}: {record['outcome']}" for record in records)
    raise ConvergenceError(f"self-consistency of {atoms.get_chemical_formula()} failed. {tried}. {MORE[0].upper()}{MORE[1:]}")


def _set(calc: Any, attempt: Attempt, settings: DFTSettings | PlaneWaves, factor: float) -> None:
    """Give a calculator the loop of an attempt; it keeps its density."""
    if attempt == ATTEMPTS[0]:
        return
    loop = round(settings.max_iterations * attempt.iterations), dict(attempt.mixer), factor * settings.smearing_eV
    if getattr(calc, "dft", None) is None:  # nothing is built yet: it will be, from the parameters
        _set_parameters(calc, *loop)
    else:
        _set_loop(calc, *loop)
        calc.dft.results = {}


def _restore(calc: Any, settings: DFTSettings | PlaneWaves) -> None:
    """Give a calculator the loop of the settings again, so that what starts from it, or from its file, starts as set."""
    loop = settings.max_iterations, dict(ATTEMPTS[0].mixer), settings.smearing_eV
    _set_parameters(calc, *loop)
    _set_loop(calc, *loop)


def _set_parameters(calc: Any, iterations: int, mixer: Mapping[str, Any], width: float) -> None:
    from gpaw.dft import Mixer, Occupations

    calc.params.maxiter = iterations
    calc.params.mixer = Mixer.from_param(mixer)
    calc.params.occupations = Occupations.from_param({"name": "fermi-dirac", "width": width})


def _set_loop(calc: Any, iterations: int, mixer: Mapping[str, Any], width: float) -> None:
    """Change the loop alone: GPAW's own `DFT.change` loses the basis functions of LCAO. Width of the smearing in eV."""
    from gpaw.dft import Mixer
    from gpaw.occupations import FermiDiracCalculator

    dft = calc.dft
    density, loop = dft.density, dft.scf_loop
    loop.mixer = Mixer.from_param(mixer).build(
        desc=density.nt_sR.desc, atomdist=density.D_asii.layout.atomdist, setups=dft.setups, relpos_ac=dft.relpos_ac,
        world=dft.comm, ncomponents=density.ncomponents, xp=density.nt_sR.xp)
    loop.occ_calc.occ = FermiDiracCalculator(width, parallel_layout=loop.occ_calc.occ.parallel_layout)
    loop.maxiter = iterations


def ground_state(
    start: Start, atoms: Atoms, forces: bool = False, calc: Any = None, attempts: Sequence[Attempt] = ATTEMPTS
) -> tuple[Any, GroundState]:
    """`self_consistent` of a calculation in the local basis, in this process (or the ranks that run it together)."""
    return self_consistent(start.calculator, atoms, start.settings, forces, calc, attempts)
