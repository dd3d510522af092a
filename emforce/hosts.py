"""Perfect hosts: the smallest slab or bulk cell, placed so that no atom lies near a face of its cell.

GPAW wraps positions into the cell. An atom that relaxes across a face would change its place in the table of
neighbours, so every atom is kept at least `FACE_MARGIN` from the faces of the periodic directions.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bcc100, bcc110, bulk, fcc100, fcc110, fcc111

from emforce.errors import InputError
from emforce.hop import FloatArray
from emforce.materials import material

#: smallest distance of an atom from a cell face, Angstrom; moved (0.05 A) and relaxed atoms must not cross it
FACE_MARGIN = 0.1
#: fewest layers of a slab: with one, a hollow and the site below it cannot be told apart
MIN_LAYERS = 2

_BUILDERS = {"fcc111": fcc111, "fcc100": fcc100, "fcc110": fcc110, "bcc110": bcc110, "bcc100": bcc100}


def neighbour_distance(metal: str, functional: str) -> float:
    """Nearest-neighbour distance of the bulk metal, Angstrom: a/sqrt(2) (fcc), a sqrt(3)/2 (bcc)."""
    data = material(metal)
    a = float(data.lattice_constant(functional))
    return a / np.sqrt(2) if data.structure == "fcc" else a * np.sqrt(3) / 2


def slab_unit(
    metal: str, facet: str, layers: int, vacuum: float, functional: str, clearance: float = 0.0
) -> Atoms:
    """1x1 slab with `layers` atoms, one per layer, from the bottom up; the last atom is the top layer.

    Parameters
    ----------
    vacuum : empty space below the bottom layer, and above the top layer plus `clearance`, Angstrom
    clearance : room above the top layer for an adatom, Angstrom

    Returns
    -------
    Atoms with pbc (1, 1, 0); in-plane cell primitive; bottom layer at z = vacuum. bcc(110) takes the two
    shortest surface vectors a/2<111>, so that n x n supercells keep both mirror planes in the cell's shape.

    Raises `InputError` when the facet, layers or vacuum is not allowed.
    """
    data = material(metal)
    key = f"{data.structure}{facet}"
    if key not in _BUILDERS:
        allowed = " | ".join(k[3:] for k in _BUILDERS if k.startswith(data.structure))
        raise InputError("facet", facet, f"{allowed} for a slab of {data.structure} {metal}")
    if isinstance(layers, bool) or not isinstance(layers, (int, np.integer)) or layers < MIN_LAYERS:
        raise InputError("layers", layers, f"an integer, {MIN_LAYERS} or more")
    if not np.isfinite(vacuum) or vacuum < 2.0:
        raise InputError("vacuum", vacuum, "2 Angstrom or more")
    a = float(data.lattice_constant(functional))
    slab = _BUILDERS[key](metal, size=(1, 1, layers), a=a, vacuum=vacuum)
    cell = slab.cell.array.copy()
    if key == "bcc110":
        cell[0], cell[1] = cell[1].copy(), cell[1] - cell[0]
    cell[2, 2] += clearance
    atoms = Atoms(slab.symbols, positions=slab.positions, cell=cell, pbc=(True, True, False))
    # ASE puts the top atom at the origin. Six layers hold every stacking position of fcc and bcc: the shift
    # is then the same for any number of layers, and a thick slab has its top atom where the thin one has it.
    full = _BUILDERS[key](metal, size=(1, 1, 6), a=a, vacuum=vacuum)
    full.set_cell(atoms.cell, scale_atoms=False)
    return away_from_faces(atoms, like=full)


def bulk_unit(metal: str, functional: str, *, cubic: bool) -> Atoms:
    """Primitive cell of the metal (one atom), or the conventional cubic one (four atoms fcc, two bcc)."""
    data = material(metal)
    cell = bulk(metal, data.structure, a=float(data.lattice_constant(functional)), cubic=cubic)
    atoms = Atoms(cell.symbols, positions=cell.positions, cell=cell.cell, pbc=True)
    return away_from_faces(atoms)


def away_from_faces(atoms: Atoms, like: Atoms | None = None) -> Atoms:
    """Shift all atoms together along the periodic directions, as far from the cell faces as can be.

    The faces go through the middle of the widest gap in the scaled coordinates (of `like`, if given, in the
    same cell); atoms are wrapped along the periodic directions. Raises `InputError` if an atom still lies
    within `FACE_MARGIN` of a face (a cell with so many layers along a periodic direction that no gap is
    left), or leaves the cell along an open one.
    """
    scaled = atoms.cell.scaled_positions(atoms.positions)
    model = scaled if like is None else atoms.cell.scaled_positions(like.positions)
    for axis in np.flatnonzero(atoms.pbc):
        scaled[:, axis] = (scaled[:, axis] - middle_of_gap(model[:, axis])) % 1.0
    shifted = atoms.copy()
    shifted.positions[:] = scaled @ atoms.cell.array
    margin = float(face_distances(shifted).min())
    if margin < FACE_MARGIN:
        raise InputError(
            "host cell", round(margin, 4), f"every atom at least {FACE_MARGIN} Angstrom from the cell faces"
        )
    return shifted


def face_distances(atoms: Atoms) -> FloatArray:
    """(atoms, 3) distance of each atom from the nearer of the two cell faces along each axis, Angstrom.

    Negative for an atom outside of the cell.
    """
    scaled = atoms.cell.scaled_positions(atoms.positions)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    distances: FloatArray = np.minimum(scaled, 1.0 - scaled) * heights
    return distances


def middle_of_gap(scaled: FloatArray) -> float:
    """Middle of the widest gap between scaled coordinates on the circle [0, 1)."""
    # rounding keeps two atoms with the same coordinate together, and makes the choice among equal gaps stable
    values = np.unique(np.round(scaled % 1.0, 6) % 1.0)
    gaps = np.diff(np.append(values, values[0] + 1.0))
    widest = int(np.flatnonzero(gaps > gaps.max() - 1e-6)[-1])
    return float((values[widest] + gaps[widest] / 2) % 1.0)
