"""Relaxation of some degrees of freedom by the method of Broyden, Fletcher, Goldfarb and Shanno. Knows no code of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms

from emforce.dft import GroundState
from emforce.errors import ConvergenceError
from emforce.physics.lcao import Floats


def relax(
    ground_state: Callable[[Atoms], GroundState],
    atoms: Atoms,
    directions: Floats,
    force_tolerance: float,
    steps: int,
    trajectory: Path,
    stiffness: float,
) -> tuple[Atoms, float, float, int]:
    """Relax some degrees of freedom by BFGS, every step written to `trajectory` before the next one starts.

    Parameters
    ----------
    ground_state : gives energy and forces at the positions of the atoms it is called with
    directions : (atoms, 3, 3) projector of each atom's allowed movement; zero for a fixed atom
    force_tolerance : largest projected force at the end, eV/A
    trajectory : extxyz; where it holds steps already, the last one is the start
    stiffness : diagonal of the Hessian to begin with, eV/A^2. Too soft a start makes steps that overshoot and come back

    Returns
    -------
    relaxed atoms, largest projected force (eV/A), energy (eV), steps taken

    Raises
    ------
    ConvergenceError if the tolerance is not reached in `steps`, or as `ground_state` does
    """
    from ase.io import read, write

    work = atoms.copy()
    if trajectory.is_file():
        work.positions = read(trajectory, index=-1).positions
    free = np.flatnonzero(np.abs(directions).sum(axis=(1, 2)) > 0)
    n = 3 * len(free)
    hessian = np.eye(n) * stiffness
    previous: tuple[Floats, Floats] | None = None
    largest = np.inf
    for step in range(steps + 1):
        state = ground_state(work)
        if state.forces is None:
            raise ValueError("relax: the ground state comes without forces")
        force = np.einsum("aij,aj->ai", directions, state.forces)[free].ravel()
        largest = float(np.linalg.norm(force.reshape(-1, 3), axis=1).max(initial=0.0))
        work.info = {"energy_eV": state.energy, "largest_force_eV_per_A": largest}
        write(trajectory, work, append=True, format="extxyz")
        if largest <= force_tolerance:
            return work, largest, state.energy, step
        x = work.positions[free].ravel()
        if previous is not None:
            dx, df = x - previous[0], previous[1] - force
            if dx @ df > 1e-8:
                hx = hessian @ dx
                hessian += np.outer(df, df) / (dx @ df) - np.outer(hx, hx) / (dx @ hx)
        previous = (x, force)
        move = np.linalg.solve(hessian, force).reshape(-1, 3)
        move = np.einsum("aij,aj->ai", directions[free], move)
        move *= min(1.0, 0.15 / max(float(np.linalg.norm(move, axis=1).max()), 1e-12))
        work.positions[free] += move
    raise ConvergenceError(
        f"relaxation: force {largest:.3f} eV/A after {steps} steps, wanted {force_tolerance}; allow more steps"
    )
