"""GPAW: self-consistent ground states, matrices in the local basis, forces and relaxation.

Everything that leaves this file is in emforce's units (eV, Angstrom) and in plain arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from emforce.errors import ConvergenceError
from emforce.physics.lcao import LCAOMatrices, real_space


@dataclass(frozen=True)
class DFTSettings:
    """Settings of one family of calculations that are compared with each other.

    Attributes
    ----------
    functional : exchange and correlation, GPAW's name
    basis : {symbol: basis name} as GPAW takes it
    setups : {symbol: setup name}, only those that differ from GPAW's default
    smearing_eV : width of the Fermi-Dirac occupation
    grid_A : largest grid spacing
    density_tolerance : electrons per valence electron, GPAW's convergence criterion
    max_iterations : of the self-consistency loop
    """

    functional: str = "PBE"
    basis: tuple[tuple[str, str], ...] = ()
    setups: tuple[tuple[str, str], ...] = ()
    smearing_eV: float = 0.1
    grid_A: float = 0.2
    density_tolerance: float = 1e-5
    max_iterations: int = 200


def grid_points(cell: np.ndarray, spacing: float, repeat: Sequence[int] = (1, 1, 1)) -> tuple[int, int, int]:
    """Grid of a supercell that is a whole multiple of its unit cell's grid (multiples of 4 in the unit cell along z).

    `cell` is the unit cell; the same unit grid in host and supercell makes the egg-box error cancel in H' - H.
    """
    points = []
    for axis in range(3):
        # distance between the planes that the other two vectors span
        height = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[axis - 2], cell[axis - 1]))
        multiple = 4 if repeat[axis] == 1 else 2
        n = int(np.ceil(height / spacing / multiple - 1e-9)) * multiple
        points.append(max(n, 4) * int(repeat[axis]))
    return points[0], points[1], points[2]
