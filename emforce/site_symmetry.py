"""Symmetry of the mover's site: which displaced runs are needed, and whether a hop mirrors itself.

Found by spglib on the defect supercell as built or relaxed, so that it never claims more than the
calculation has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from emforce.errors import EmforceError
from emforce.hop import FloatArray, Image

#: positions that agree within this count as equal, Angstrom; relaxed structures carry noise of this order
SYMMETRY_TOLERANCE = 0.01


@dataclass(frozen=True)
class ForceDirections:
    """Displacements of the mover that are enough for the whole tensor m[force, field].

    Fields
    ------
    axes : Cartesian axes (0, 1, 2) along which the mover has to be displaced; the others follow by symmetry
    rotations : (n, 3, 3) site symmetry group of the mover as Cartesian rotations R, the identity first;
        m = R m R^T for each of them
    """

    axes: tuple[int, ...]
    rotations: FloatArray


def force_directions(image: Image, host: Atoms, tolerance: float = SYMMETRY_TOLERANCE) -> ForceDirections:
    """Independent displacements of the mover under the symmetry of its site.

    Only operations that also belong to the point group of the host count: the current flows through the host.

    Parameters
    ----------
    image : defect supercell
    host : host cell (thin or thick slab, or bulk cell)
    tolerance : see `SYMMETRY_TOLERANCE`, Angstrom
    """
    atoms = image.atoms
    mover = atoms.cell.scaled_positions(atoms.positions[image.mover])
    host_rotations = [r for r, _, _ in _operations(host, tolerance)]
    kept = []
    for cartesian, rotation, translation in _operations(atoms, tolerance):
        moved = rotation @ mover + translation - mover
        fixes = np.linalg.norm((moved - np.round(moved)) @ atoms.cell.array) < 2 * tolerance
        if fixes and any(np.allclose(cartesian, r, atol=1e-3) for r in host_rotations):
            kept.append(cartesian)
    kept.sort(key=lambda r: -float(np.trace(r)))  # the identity has the largest trace
    rotations = np.array(kept)
    rotations.setflags(write=False)
    return ForceDirections(_independent_axes(rotations), rotations)


def hop_is_symmetric(image: Image, vector: FloatArray, tolerance: float = SYMMETRY_TOLERANCE) -> bool:
    """Whether some operation of the defect supercell without its mover turns the hop around its midpoint.

    That is R d = -d and the midpoint of the path onto itself: the image at 1 - s is then the mirror image of
    s.
    """
    rest = image.atoms[np.delete(np.arange(len(image.atoms)), image.mover)]
    middle = image.atoms.positions[image.mover] + (0.5 - image.fraction) * np.asarray(vector)
    scaled = rest.cell.scaled_positions(middle)
    for cartesian, rotation, translation in _operations(rest, tolerance):
        if np.linalg.norm(cartesian @ vector + vector) > 1e-3 * np.linalg.norm(vector):
            continue
        moved = rotation @ scaled + translation - scaled
        if np.linalg.norm((moved - np.round(moved)) @ rest.cell.array) < 2 * tolerance:
            return True
    return False


def _operations(atoms: Atoms, tolerance: float) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Space-group operations: (Cartesian rotation, scaled rotation, scaled translation)."""
    import spglib

    cell = atoms.cell.array
    data = spglib.get_symmetry(
        (cell, atoms.cell.scaled_positions(atoms.positions), atoms.numbers), symprec=tolerance
    )
    if data is None:
        raise EmforceError(
            f"spglib finds no symmetry of {atoms.symbols}: are two atoms closer than {tolerance} Angstrom?"
        )
    inverse = np.linalg.inv(cell.T)
    return [
        (cell.T @ r @ inverse, r.astype(float), t)
        for r, t in zip(data["rotations"], data["translations"], strict=True)
    ]


def _independent_axes(rotations: FloatArray) -> tuple[int, ...]:
    """Fewest Cartesian axes, the first ones preferred, whose images under the rotations span space."""
    choices = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    for axes in choices:
        span = np.concatenate([rotations[:, :, a] for a in axes])
        if np.linalg.svd(span, compute_uv=False)[-1] > 0.1 and len(span) >= 3:
            return axes
    return (0, 1, 2)
