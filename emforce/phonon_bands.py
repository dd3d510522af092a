"""From forces to the phonons of a bulk crystal with phonopy: force constants, bands, density of modes, Debye temperature.

Displacements are those that symmetry asks for (one for fcc and bcc), in a supercell of the cubic cell. The acoustic sum rule
(a rigid shift costs nothing) is looked at before it is imposed. The Debye temperature is the low-temperature limit, from the
sound velocities of the same force constants at q -> 0 in all directions (emforce.physics.debye).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from emforce.errors import InputError
from emforce.physics.debye import acoustic_debye_temperature, debye_temperature, directions

Floats = NDArray[np.float64]

#: special points of the path in units of the cubic reciprocal cell 2 pi/a; "|": it goes on elsewhere
PATHS: Mapping[str, tuple[tuple[tuple[str, tuple[float, float, float]], ...], ...]] = {
    "fcc": ((("G", (0, 0, 0)), ("X", (0, 1, 0)), ("U", (0.25, 1, 0.25))),
            (("K", (0.75, 0.75, 0)), ("G", (0, 0, 0)), ("L", (0.5, 0.5, 0.5)))),
    "bcc": ((("G", (0, 0, 0)), ("H", (0, 1, 0)), ("P", (0.5, 0.5, 0.5)), ("G", (0, 0, 0)), ("N", (0.5, 0.5, 0))),),
}  # fmt: skip
_CENTRING = {"fcc": "F", "bcc": "I"}
#: q-points per 1/Angstrom of the path, mesh of the density of modes, small |q| of the sound velocities in 1/Angstrom
_PATH_DENSITY, _MESH, _SMALL_Q = 40.0, 31, 0.01
#: frequencies below minus this are imaginary modes and not noise of the sum rule, THz
IMAGINARY_THZ = 0.05
#: a second Debye temperature is stated at room temperature
ROOM_K = 298.15


@dataclass(frozen=True, eq=False)
class Supercell:
    """A supercell of the cubic cell and the displacements that symmetry asks for.

    Fields
    ------
    structure : "fcc" or "bcc"
    atoms : the perfect supercell
    displacements : (atom, vector in Angstrom) pairs
    phonopy : phonopy's object, without forces
    """

    structure: str
    atoms: Atoms
    displacements: tuple[tuple[int, tuple[float, float, float]], ...]
    phonopy: Any


@dataclass(frozen=True, eq=False)
class Phonons:
    """Phonons of a crystal with one atom per cell.

    Fields
    ------
    path : (k,) distance along the path, 1/Angstrom; ticks : ((distance, name), ...)
    bands_THz : (k, 3), imaginary ones as negative numbers
    dos_THz, dos : frequencies and modes per THz and atom (integral 3)
    debye_K : low-temperature limit; nan with imaginary modes
    debye_parts_K : parts of its uncertainty by name
    debye_room_K : from the heat capacity at ROOM_K
    highest_THz, lowest_THz : on the mesh, imaginary ones as negative numbers
    sum_rule : what a rigid shift costs before the correction (`sum_rule_on_site`), as a share of the force constant of one atom
    reason : "" or why these phonons are not served
    """

    path: Floats
    ticks: tuple[tuple[float, str], ...]
    bands_THz: Floats
    dos_THz: Floats
    dos: Floats
    debye_K: float
    debye_parts_K: dict[str, float]
    debye_room_K: float
    highest_THz: float
    lowest_THz: float
    sum_rule: float
    reason: str

    @property
    def debye_sigma_K(self) -> float:
        """The parts in quadrature."""
        return math.hypot(*self.debye_parts_K.values()) if self.debye_parts_K else math.nan


def supercell(symbol: str, structure: str, lattice_constant_A: float, size: Sequence[int], displacement_A: float) -> Supercell:
    """The supercell `size` of the cubic cell with the displacements of its symmetry.

    Raises
    ------
    InputError : a structure without a path, or a displacement that is not positive
    """
    from ase.build import bulk
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    if structure not in PATHS:
        raise InputError("structure", structure, ", ".join(PATHS))
    if not 0 < displacement_A < lattice_constant_A / 10:
        raise InputError("displacement_A", displacement_A, f"above 0, below a tenth of {lattice_constant_A:g} Angstrom")
    cell = bulk(symbol, structure, a=lattice_constant_A, cubic=True)
    unit = PhonopyAtoms(symbols=cell.get_chemical_symbols(), cell=cell.cell.array, scaled_positions=cell.get_scaled_positions())
    made = Phonopy(unit, supercell_matrix=np.diag(size), primitive_matrix=_CENTRING[structure], log_level=0)
    made.generate_displacements(distance=displacement_A)
    s = made.supercell
    atoms = Atoms(s.symbols, positions=s.positions, cell=s.cell, pbc=True)
    moved = tuple((int(d["number"]), tuple(float(x) for x in d["displacement"])) for d in made.dataset["first_atoms"])
    return Supercell(structure, atoms, moved, made)  # type: ignore[arg-type]  # three numbers each


def phonons(cell: Supercell, forces: Floats) -> Phonons:
    """Bands, density of modes and Debye temperature from forces (displacements, atoms, 3) in eV/Angstrom.

    Raises
    ------
    InputError : forces of another shape, or not finite
    """
    expected = (len(cell.displacements), len(cell.atoms), 3)
    if np.shape(forces) != expected or not np.isfinite(forces).all():
        raise InputError("forces", np.shape(forces), f"{expected}, finite numbers")
    made = cell.phonopy.replicate()
    made.dataset = cell.phonopy.dataset
    made.forces = forces
    made.produce_force_constants()
    constants = made.force_constants.copy()
    rigid = float(np.abs(constants[0].sum(axis=0)).max() / np.abs(constants[0, made.primitive.p2s_map[0]]).max())
    even = acoustic_limit(_evenly(made))
    made.force_constants = sum_rule_on_site(constants)
    path, ticks, bands = _bands(made, cell.structure)
    made.run_mesh([_MESH] * 3, is_gamma_center=True)
    made.run_total_dos()
    frequencies = np.asarray(made.mesh.frequencies, dtype=float)
    lowest = float(min(frequencies.min(), bands.min()))
    low, room, parts, reason = math.nan, math.nan, {}, ""
    if lowest < -IMAGINARY_THZ:
        reason = f"imaginary modes: the lowest frequency is {abs(lowest):.2f}i THz"
    else:
        low = acoustic_limit(made)
        room = debye_temperature(np.clip(frequencies, 0, None), made.mesh.weights, ROOM_K)
        parts = {"interaction range": abs(_within_sphere(made) - low), "acoustic sum rule": abs(even - low)}
    dos_at, dos = (np.asarray(x, dtype=float) for x in (made.total_dos.frequency_points, made.total_dos.dos))
    return Phonons(path, ticks, bands, dos_at, dos, low, parts, room, float(frequencies.max()), lowest, rigid, reason)


def acoustic_limit(made: Any) -> float:
    """Low-temperature Debye temperature in K from the slopes of the acoustic branches at q -> 0; nan for an unstable one."""
    n, weights = directions()
    slopes = []
    for q in (_SMALL_Q, 2 * _SMALL_Q):
        made.run_qpoints(_fractional(made, q * n))
        slopes.append(2 * math.pi * np.asarray(made.qpoints.frequencies) / q)
    velocities = (4 * slopes[0] - slopes[1]) / 3  # frequencies are odd in |q|: what is left is of order q^4
    if velocities.min() <= 0:
        return math.nan
    return acoustic_debye_temperature(velocities, weights, made.primitive.volume)


def _within_sphere(made: Any) -> float:
    """The same without the force constants that reach out of the sphere inscribed in the supercell; nan as above."""
    cut = made.replicate()
    cut.force_constants = made.force_constants.copy()
    cell = made.supercell.cell
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(np.roll(cell, 1, 0), np.roll(cell, 2, 0)), axis=1)
    cut.set_force_constants_zero_with_radius(float(heights.min()) / 2 - 0.01)
    cut.force_constants = sum_rule_on_site(cut.force_constants)
    return acoustic_limit(cut)


def sum_rule_on_site(constants: Floats) -> Floats:
    """Force constants (atoms, atoms, 3, 3) that obey Phi_ij = Phi_ji^T, and sum_j Phi_ij = 0 by a change of Phi_ii alone.

    What breaks the sum rule is the error of the force that an atom feels as it moves against the grid of the density (egg-box),
    which is its own. Spread over all pairs it would be a force of any range, and change the velocity of sound.
    """
    found = (constants + constants.transpose(1, 0, 3, 2)) / 2
    own = np.arange(len(found))
    found[own, own] -= found.sum(axis=1)
    return np.asarray(found)


def _evenly(made: Any) -> Any:
    """A copy with the sum rule imposed by the same change of all pairs, which is phonopy's way."""
    other = made.replicate()
    other.force_constants = made.force_constants.copy()
    other.symmetrize_force_constants()
    return other


def _fractional(made: Any, q: Floats) -> Floats:
    """Wave vectors in 1/Angstrom in units of the reciprocal vectors of the primitive cell."""
    return np.asarray(q @ np.array(made.primitive.cell).T / (2 * math.pi))


def _bands(made: Any, structure: str) -> tuple[Floats, tuple[tuple[float, str], ...], Floats]:
    unit = 2 * math.pi / float(made.unitcell.cell[0, 0])
    paths: list[Floats] = []
    distances: list[Floats] = []
    ticks: list[tuple[float, str]] = []
    at = 0.0
    for number, segment in enumerate(PATHS[structure]):
        for (name, a), (_, b) in pairwise(segment):
            start, end = unit * np.array(a), unit * np.array(b)
            length = float(np.linalg.norm(end - start))
            share = np.linspace(0, 1, max(3, round(_PATH_DENSITY * length)))
            paths.append(_fractional(made, start + share[:, None] * (end - start)))
            distances.append(at + share * length)
            joined = f"{ticks.pop()[1]}|{name}" if number and ticks and abs(ticks[-1][0] - at) < 1e-9 else name
            if not (ticks and abs(ticks[-1][0] - at) < 1e-9):
                ticks.append((at, joined))
            at += length
        ticks.append((at, segment[-1][0]))
    made.run_band_structure(paths)
    found = made.band_structure.frequencies
    return np.concatenate(distances), tuple(ticks), np.concatenate([np.asarray(f, dtype=float) for f in found])
