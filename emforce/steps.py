"""What a step is: inputs that hash to the name of its output, the steps it builds on, and what it asks of a machine.

Inputs are JSON-able documents; matrices travel as files of finished steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from emforce.errors import InputError
from emforce.physics.lcao import LCAOMatrices, opposite
from emforce.physics.spin_orbit import SpinOrbit
from emforce.store import Finished, Store, content_hash, save_arrays

#: raise when a job gives other numbers for the same inputs
VERSION = 1
#: classes of steps by what they need: next to nothing; a self-consistent calculation; dense matrices of a host or a region
RESOURCES = ("light", "scf", "embedding")
Document = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A step of the graph.

    Attributes
    ----------
    kind : name of the job that runs it, a key of `emforce.jobs.JOBS`
    title : for people
    inputs : JSON-able
    needs : steps whose output this one reads, by the name it knows them under
    seconds : expected duration, for the progress line
    resources : one of RESOURCES; a cluster profile gives each its memory and time. Not part of the hash
    """

    kind: str
    title: str
    inputs: Document
    needs: Mapping[str, Step] = field(default_factory=dict)
    seconds: float = 60.0
    resources: str = "scf"

    def __post_init__(self) -> None:
        if self.resources not in RESOURCES:
            raise InputError("Step.resources", self.resources, ", ".join(RESOURCES))

    @property
    def key(self) -> str:
        """Content hash of the step and everything it builds on."""
        return content_hash([VERSION, self.kind, self.inputs, {name: step.key for name, step in self.needs.items()}])

    @property
    def name(self) -> str:
        """Unique name of the step's output."""
        return f"{self.kind}-{self.key}"


def atoms_document(atoms: Atoms) -> Document:
    """Structure as plain lists; positions rounded to 1e-9 Angstrom so that equal structures hash equally."""
    return {
        "symbols": list(atoms.get_chemical_symbols()),
        "positions": (np.round(atoms.get_positions(), 9) + 0.0).tolist(),
        "cell": (np.round(np.array(atoms.cell), 9) + 0.0).tolist(),
        "pbc": [bool(p) for p in atoms.pbc],
    }


def document_atoms(document: Mapping[str, Any]) -> Atoms:
    """The inverse of `atoms_document`."""
    return Atoms(document["symbols"], positions=document["positions"], cell=document["cell"], pbc=document["pbc"])


def save_matrices(folder: Path, matrices: LCAOMatrices) -> None:
    """Write matrices as arrays: of R and -R, whose matrices are transposes of each other, one."""
    partner = opposite(matrices.R)
    kept = np.flatnonzero(np.arange(len(partner)) <= partner)
    arrays = {name: getattr(matrices, name) for name in ("cell", "positions", "orbitals", "R")}
    save_arrays(folder, arrays | {"h": matrices.h[kept], "s": matrices.s[kept]}, "matrices.npz")


def load_matrices(step: Finished) -> LCAOMatrices:
    """Read what `save_matrices` wrote; an older emforce wrote the matrices of all R."""
    arrays = step.arrays("matrices.npz")
    R = arrays["R"]
    if len(arrays["h"]) < len(R):
        partner = opposite(R)
        first = np.minimum(np.arange(len(R)), partner)
        place = np.searchsorted(np.flatnonzero(np.arange(len(R)) <= partner), first)
        turned = partner < np.arange(len(R))
        for name in ("h", "s"):
            whole = arrays[name][place]
            whole[turned] = whole[turned].swapaxes(1, 2)
            arrays[name] = whole
    return LCAOMatrices(**arrays)


def load_spinors(scalar: LCAOMatrices, sums: Finished) -> SpinOrbit:
    """The matrices of a bulk host with the operator that a finished step `spin_orbit` left."""
    operator = sums.arrays("operator.npz")
    return SpinOrbit.along_z(scalar, operator["R"], operator["a"])


class Laps:
    """Seconds spent on the named parts of a step, for benchmarks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, part: str) -> None:
        """What has passed since the part before belongs to `part`."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


def cost(steps: Sequence[Step], store: Store) -> str:
    """Number of finished steps, those they build on included, and the processor time that they took, in words.

    Wall time where a step has no other: one that an older emforce computed. "30 of 34 steps" where the store has not all.
    """
    every: dict[str, Step] = {}
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        if step.name not in every:
            every[step.name] = step
            waiting += step.needs.values()
    spent = [found for step in every.values() if (found := store.spent(step.kind, step.key))]
    minutes = sum(wall if cpu is None else cpu for wall, cpu in spent) / 60
    kind = "wall" if any(cpu is None for _, cpu in spent) else "processor"
    count = f"{len(spent)}" if len(spent) == len(every) else f"{len(spent)} of {len(every)}"
    return f"{count} steps, {minutes:.1f} min of {kind} time"
