"""The two nouns that the builders make: an `Image` (defect supercell at one point of the hop) and a `Hop`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from numpy.typing import NDArray

from emforce.errors import InputError
from emforce.spec import Spec

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Image:
    """Defect supercell with the mover at one point of its path.

    Fields
    ------
    fraction : position along the hop, 0 initial site, 1 final site
    label : "initial", "saddle", "final" or "s=0.25"
    atoms : the defect supercell, in the same cell as the host supercell; arrays read-only (copy() to change
        them)
    mover : index of the moving atom
    site_of_atom : (number of atoms,) index of the host-supercell site that each atom sits on, with the same
        species; -1 for an atom that is new (the mover always, adatoms, interstitials, foreign atoms)
    removed : host-supercell sites without their atom, increasing
    """

    fraction: float
    label: str
    atoms: Atoms
    mover: int
    site_of_atom: IntArray
    removed: tuple[int, ...]

    def __post_init__(self) -> None:
        sites = np.array(self.site_of_atom, dtype=np.int64)
        if sites.shape != (len(self.atoms),):
            raise InputError("site_of_atom", sites.shape, f"one site per atom, ({len(self.atoms)},)")
        if not 0 <= self.mover < len(self.atoms):
            raise InputError("mover", self.mover, f"0 to {len(self.atoms) - 1}")
        if sites[self.mover] != -1:
            raise InputError("site_of_atom", int(sites[self.mover]), "-1 for the mover")
        kept = sites[sites >= 0]
        if len(set(kept.tolist())) != len(kept) or set(kept.tolist()) & set(self.removed):
            raise InputError("site_of_atom", sites.tolist(), "each host site used once or removed")
        object.__setattr__(self, "site_of_atom", read_only(sites))
        object.__setattr__(self, "atoms", frozen_atoms(self.atoms))

    @property
    def mover_position(self) -> FloatArray:
        """(3,) position of the mover, Angstrom."""
        return np.array(self.atoms.positions[self.mover])


@dataclass(frozen=True)
class Hop:
    """A hop ready for the ground state: the host, the path of the mover, and how the two match.

    Fields
    ------
    spec : what was asked for
    host_unit : smallest host cell: 1x1 slab (pbc 1 1 0) or bulk cell (pbc 1 1 1); arrays read-only
    repeat : (n1, n2, n3); the host supercell is host_unit.repeat(repeat), in ASE's order
    images : defect supercells along the path, increasing fraction
    hop_vector : (3,) from the initial to the final site of the mover, Angstrom
    symmetric : the way back is the mirror image of the way there, so that images beyond s = 1/2 follow from
        those before it
    """

    spec: Spec
    host_unit: Atoms
    repeat: tuple[int, int, int]
    images: tuple[Image, ...]
    hop_vector: FloatArray
    symmetric: bool

    def __post_init__(self) -> None:
        vector = np.array(self.hop_vector, dtype=float)
        if vector.shape != (3,):
            raise InputError("hop_vector", vector.shape, "(3,)")
        object.__setattr__(self, "hop_vector", read_only(vector))
        object.__setattr__(self, "host_unit", frozen_atoms(self.host_unit))
        cell = np.asarray(self.repeat)[:, None] * self.host_unit.cell.array
        sites = len(self.host_unit) * int(np.prod(self.repeat))
        for image in self.images:
            if not np.allclose(image.atoms.cell.array, cell, atol=1e-6):
                raise InputError(
                    "defect cell", image.atoms.cell.array.tolist(), f"the host cell repeated {self.repeat}"
                )
            if np.count_nonzero(image.site_of_atom >= 0) + len(image.removed) != sites:
                raise InputError(
                    "removed", image.removed, f"all of the {sites} host sites occupied or removed"
                )

    def host_supercell(self) -> Atoms:
        """The host supercell, host_unit.repeat(repeat)."""
        return self.host_unit.repeat(self.repeat)

    def image(self, fraction: float) -> Image:
        """The image at a fraction of the hop; `InputError` if there is none."""
        for image in self.images:
            if abs(image.fraction - fraction) < 5e-4:
                return image
        raise InputError("image", fraction, ", ".join(f"{i.fraction:g}" for i in self.images))


def nearness(mover: int, places: Iterable[tuple[Atoms, FloatArray]]) -> FloatArray:
    """(atoms,) smallest distance of each atom from the mover, in units of the nearest atom's there; inf for the mover itself.

    places : structures, and where the mover is, or would be, in them
    """
    ratio: FloatArray | None = None
    for atoms, place in places:
        others = np.delete(np.arange(len(atoms)), mover)
        _, distance = find_mic(atoms.positions[others] - place, atoms.cell, atoms.pbc)
        if ratio is None:
            ratio = np.full(len(atoms), np.inf)
        ratio[others] = np.minimum(ratio[others], distance / distance.min())
    if ratio is None:
        raise InputError("places", (), "at least one")
    return ratio


def image_label(fraction: float) -> str:
    """Name of a point of the hop: initial (0), saddle (1/2), final (1), else s=fraction."""
    names = {0.0: "initial", 0.5: "saddle", 1.0: "final"}
    return names.get(round(fraction, 6), f"s={fraction:g}")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, marked read-only."""
    array.setflags(write=False)
    return array


def frozen_atoms(atoms: Atoms) -> Atoms:
    """A copy of the atoms without calculator and constraints, whose positions and cell cannot be changed in
    place.

    `copy()` and `repeat()` of it can be changed again.
    """
    frozen = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for array in frozen.arrays.values():
        array.setflags(write=False)
    frozen.cell.array.setflags(write=False)
    return frozen
