"""Lattices of surface sites and their hops, and the rate of a hop under a force.

    Gamma+- = nu0 exp(-(E_m -+ w/2)/k_BT),   w = e <Z> E.d        along (+) and against (-) the field

so Gamma+/Gamma- = exp(w/k_BT): local detailed balance with the work w. <Z> is a number, or where the drift along two crystal
directions of the surface is known (bcc(110), `emforce.drift`) a tensor with these axes: w = e d.Z.E. Lattices, x along the first
hop (nearest-neighbour distance b):

    fcc(100)   square, four hops of length b along <110>
    fcc(111)   fcc and hcp sites, three hops of length b/sqrt(3) from each, to sites of the other kind
    bcc(110)   centred rectangle, four hops of length b along <111>
    bcc(100)   square of the hollows, four hops of the length of the lattice constant

and of a growing layer, where an atom must be able to go round the corner of an island without leaving it:

    fcc(100) layer   four neighbours; hops to them, and to the four second neighbours round a corner
    fcc(111) layer   fcc sites only: six neighbours at b; a hop to them is two of the above, over an hcp site
    bcc(110) layer   the four neighbours along <111> and the two along [001] at 2b/sqrt(3), taken as equal: six in all
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class SurfaceLattice:
    """Sites with one to several kinds, and the hops between them.

    Parameters
    ----------
    name : see above
    cell : (2, 2) cell vectors as rows, Angstrom
    hops : (kinds, hops) arrays: vectors (kinds, hops, 2) in Angstrom
    to_kind : (kinds, hops) kind of the site reached
    shifts : (kinds, hops, 2) cell of the site reached
    bonds : the first so many hops lead to neighbours, to which an atom has bonds
    directions : name of a crystal direction and unit vector, where the drift differs between them (`emforce.drift`)
    """

    name: str
    cell: Floats
    hops: Floats
    to_kind: Integers
    shifts: Integers
    bonds: int
    directions: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cell", "hops", "to_kind", "shifts"):
            array = np.array(getattr(self, name))
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def kinds(self) -> int:
        """Number of kinds of sites."""
        return len(self.hops)

    @property
    def hop_length(self) -> float:
        """Length of the first hop, Angstrom."""
        return float(np.linalg.norm(self.hops[0, 0]))

    def field(self, angle_degrees: float) -> Floats:
        """Unit vector at an angle from the first hop."""
        return np.array([math.cos(math.radians(angle_degrees)), math.sin(math.radians(angle_degrees))])

    def tensor(self, values: Mapping[str, float]) -> Floats:
        """(2, 2) tensor with a value for each of `directions`."""
        if values.keys() != self.directions.keys() or not values:
            raise InputError("directions", ", ".join(values), ", ".join(self.directions) or f"none for {self.name}")
        return np.asarray(sum(values[name] * np.outer(unit, unit) for name, unit in self.directions.items()))

    def bias(self, work_kT: float, angle_degrees: float = 0.0, tensor: Floats | None = None) -> Floats:
        """(kinds, hops) exp(w.d/(2 k_BT |d|)), the factor of each rate under a field at an angle.

        `work_kT` is w/k_BT of a hop along the field; with a `tensor` Z in units of its component along the first hop that of the
        first hop with the field along it, and every hop has d.Z.E.
        """
        field = self.field(angle_degrees) if tensor is None else tensor @ self.field(angle_degrees)
        return np.asarray(np.exp(0.5 * work_kT * self.hops @ field / self.hop_length))


def _one_kind(name: str, cell: Floats, shifts: list[tuple[int, int]], bonds: int) -> SurfaceLattice:
    steps = np.array([shifts])
    return SurfaceLattice(name, cell, steps @ cell, np.zeros(steps.shape[:2], dtype=int), steps, bonds)


_FOUR = [(1, 0), (-1, 0), (0, 1), (0, -1)]


def _square(d: float, name: str = "fcc(100)") -> SurfaceLattice:
    return _one_kind(name, d * np.eye(2), _FOUR, 4)


def _square_layer(d: float, name: str = "fcc(100) layer") -> SurfaceLattice:
    return _one_kind(name, d * np.eye(2), [*_FOUR, (1, 1), (-1, -1), (1, -1), (-1, 1)], 4)


def _triangular_layer(d: float) -> SurfaceLattice:
    cell = d * np.array([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    return _one_kind("fcc(111) layer", cell, [*_FOUR, (1, -1), (-1, 1)], 6)


def _rectangular_cell(d: float) -> Floats:
    # <111> directions in (110): the cosine of the angle between them is 1/3; their difference is [001]
    return d * np.array([[1.0, 0.0], [1 / 3, math.sqrt(8) / 3]])


def _rectangular(d: float) -> SurfaceLattice:
    cell = _rectangular_cell(d)
    names = {"[001]": cell[0] - cell[1], "[1-10]": cell[0] + cell[1]}
    return replace(_one_kind("bcc(110)", cell, _FOUR, 4), directions={n: v / np.linalg.norm(v) for n, v in names.items()})


def _rectangular_layer(d: float) -> SurfaceLattice:
    return _one_kind("bcc(110) layer", _rectangular_cell(d), [*_FOUR, (1, -1), (-1, 1)], 6)


def _honeycomb(d: float) -> SurfaceLattice:
    angles = np.radians([0.0, 120.0, 240.0])
    out = d * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cell = np.array([out[0] - out[1], out[0] - out[2]])
    shifts = np.array([[(0, 0), (-1, 0), (0, -1)], [(0, 0), (1, 0), (0, 1)]])
    return SurfaceLattice("fcc(111)", cell, np.array([out, -out]), np.array([[1] * 3, [0] * 3]), shifts, 3)


_MAKERS: Mapping[str, Callable[[float], SurfaceLattice]] = {
    "fcc(100)": _square, "fcc(111)": _honeycomb, "bcc(110)": _rectangular, "bcc(100)": partial(_square, name="bcc(100)"),
    "fcc(100) layer": _square_layer, "fcc(111) layer": _triangular_layer, "bcc(110) layer": _rectangular_layer,
    "bcc(100) layer": partial(_square_layer, name="bcc(100) layer"),
}
LATTICES = tuple(_MAKERS)
_OF_FACET = MappingProxyType({("fcc", "100"): "fcc(100)", ("fcc", "111"): "fcc(111)", ("bcc", "110"): "bcc(110)",
                             ("bcc", "100"): "bcc(100)"})


def surface_lattice(name: str, hop_angstrom: float) -> SurfaceLattice:
    """The lattice called `name`, with hops of the given length."""
    if name not in _MAKERS:
        raise InputError("lattice", name, ", ".join(LATTICES))
    if not 0 < hop_angstrom < math.inf:
        raise InputError("hop_angstrom", hop_angstrom, "a positive number of Angstrom")
    return _MAKERS[name](float(hop_angstrom))


def lattice_of(structure: str, facet: str, hop_angstrom: float) -> SurfaceLattice:
    """The lattice of the adatom sites of a surface, "fcc" or "bcc" with a facet such as "100"."""
    if (structure, facet) not in _OF_FACET:
        known = ", ".join(f"{s}({f})" for s, f in _OF_FACET)
        raise InputError("facet", f"{structure}({facet})", known)
    return surface_lattice(_OF_FACET[structure, facet], hop_angstrom)


def layer_lattice(lattice: SurfaceLattice) -> SurfaceLattice:
    """The lattice of a growing layer on the same surface, for the same hops of an adatom."""
    stretch = math.sqrt(3) if lattice.kinds > 1 else 1.0
    return surface_lattice(f"{lattice.name} layer", stretch * lattice.hop_length)
