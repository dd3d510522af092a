"""Adsorption sites and hops of an adatom, and the vacancy hop: the geometry behind the labels of spec.py.

Sites are given relative to an atom of the top layer, in units of the lattice constant a, with ASE's axes: x
along the first surface vector. Only nearest-neighbour hops of one atom are listed; exchange hops move two
atoms.

    fcc(100)  x along [1-10]: hollow (4 neighbours) over the bridge (2)
    fcc(111)  x along [1-10]: three-fold fcc (no atom below it in the second layer) over the bridge to hcp
    fcc(110)  x along [001], y along [1-10] (the channel): hollow along the channel over the long bridge, or
    across
              the close-packed row over the short bridge
    bcc(110)  x along [001], y along [1-10]: hollow = where the crystal would go on (the "long bridge"
    between two
              atoms a apart: 2 neighbours, and 2 + 1 second neighbours), along <111> over the short bridge
    bcc(100)  x along [100]: hollow (4 neighbours) over the bridge (2)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from emforce.errors import EmforceError, InputError
from emforce.hop import FloatArray
from emforce.hosts import face_distances, neighbour_distance
from emforce.materials import material

#: contact distance of the starting geometry in units of the bulk neighbour distance: atoms at the surface
#: sit closer
CONTACT = 0.97
#: the mover's path keeps this distance from the cell faces of the periodic directions, Angstrom
PATH_MARGIN = 0.3

_B = 1 / sqrt(2)  # nearest-neighbour distance of fcc in units of a

#: in-plane sites relative to a top-layer atom, in units of a
SITES: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]] = {
    ("fcc", "100"): {"ontop": (0, 0), "bridge": (_B / 2, 0), "hollow": (_B / 2, _B / 2)},
    ("fcc", "111"): {
        "ontop": (0, 0),
        "bridge": (_B / 2, 0),
        "fcc": (_B / 2, _B * sqrt(3) / 6),
        "hcp": (_B, _B / sqrt(3)),
    },
    ("fcc", "110"): {
        "ontop": (0, 0),
        "longbridge": (0.5, 0),
        "shortbridge": (0, _B / 2),
        "hollow": (0.5, _B / 2),
    },
    ("bcc", "110"): {
        "ontop": (0, 0),
        "bridge": (0.25, _B / 2),
        "hollow": (0.5, 0),
        "threefold": (0.5, _B / 4),
    },
    ("bcc", "100"): {"ontop": (0, 0), "bridge": (0.5, 0), "hollow": (0.5, 0.5)},
}

#: hop label -> (initial site, final site), in units of a, relative to a top-layer atom
ADATOM_HOPS: Mapping[tuple[str, str], Mapping[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    ("fcc", "100"): {"hollow-bridge-hollow": ((_B / 2, _B / 2), (3 * _B / 2, _B / 2))},
    ("fcc", "111"): {
        "fcc-bridge-hcp": ((_B / 2, _B * sqrt(3) / 6), (_B / 2, -_B * sqrt(3) / 6)),
        "hcp-bridge-fcc": ((_B / 2, -_B * sqrt(3) / 6), (_B / 2, _B * sqrt(3) / 6)),
    },
    ("fcc", "110"): {
        "hollow-longbridge-hollow": ((0.5, -_B / 2), (0.5, _B / 2)),
        "hollow-shortbridge-hollow": ((-0.5, _B / 2), (0.5, _B / 2)),
    },
    ("bcc", "110"): {"hollow-bridge-hollow": ((0.5, 0.0), (1.0, _B))},
    ("bcc", "100"): {"hollow-bridge-hollow": ((0.5, 0.5), (1.5, 0.5))},
}

#: jump of the atom beside a vacancy, in units of a: fcc 1/2<110>, bcc 1/2<111>
VACANCY_HOPS: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "fcc": {"vacancy-110": (0.5, 0.5, 0.0)},
    "bcc": {"vacancy-111": (0.5, 0.5, 0.5)},
}


def contact_distance(metal: str, species: str, functional: str) -> float:
    """Starting distance between an adatom and its neighbours, Angstrom: `CONTACT` times the neighbour
    distance.

    For a foreign adatom the host's neighbour distance is scaled by the covalent radii (Cordero et al., Dalton
    Trans. 2008, 2832, as in ase.data): d (r_species + r_host) / (2 r_host). Only a start for the relaxation.
    """
    host, guest = (covalent_radii[Atoms(s).numbers[0]] for s in (metal, species))
    return CONTACT * neighbour_distance(metal, functional) * float(guest + host) / (2 * float(host))


def contact_height(slab: Atoms, xy: FloatArray, contact: float) -> float:
    """Z at which a hard sphere lowered at (x, y) touches the slab, Angstrom.

    z = max over atoms (and their periodic images) of z_i + sqrt(contact^2 - rho_i^2), rho_i the in-plane
    distance.
    """
    steps = np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)]) @ slab.cell.array[:2, :2]
    # the nearest image of each atom, whatever the shape of the cell
    delta = slab.positions[:, None, :2] + steps[None] - xy
    scaled = np.linalg.solve(slab.cell.array[:2, :2].T, (slab.positions[:, :2] - xy).T).T
    delta -= (np.round(scaled) @ slab.cell.array[:2, :2])[:, None, :]
    rho2 = (delta**2).sum(axis=2)
    touching = rho2 < contact**2
    if not touching.any():
        raise EmforceError(
            "no surface atom within contact distance of the adatom: is the slab a closed surface?"
        )
    heights = np.where(
        touching, slab.positions[:, 2:3] + np.sqrt(np.clip(contact**2 - rho2, 0, None)), -np.inf
    )
    return float(heights.max())


def adatom_path(
    spec_key: tuple[str, str, str], slab: Atoms, functional: str
) -> tuple[FloatArray, FloatArray]:
    """Initial in-plane position of the adatom, in the middle of the supercell, and the hop vector.

    Parameters
    ----------
    spec_key : (metal, facet, hop label)
    slab : host supercell, top layer highest

    Returns
    -------
    (2,) initial position and (3,) hop vector (no z component), Angstrom
    """
    metal, facet, label = spec_key
    a = float(material(metal).lattice_constant(functional))
    start, end = (a * np.array(p) for p in ADATOM_HOPS[material(metal).structure, facet][label])
    top = slab.positions[slab.positions[:, 2] > slab.positions[:, 2].max() - 0.3, :2]
    vector = np.append(end - start, 0.0)
    starts = np.column_stack([top + start, np.full(len(top), slab.positions[:, 2].max())])
    return most_central(slab, starts, vector)[:2], vector


def vacancy_path(metal: str, label: str, host: Atoms, functional: str) -> tuple[int, int, FloatArray]:
    """Two neighbouring sites in the middle of a bulk supercell: (initial site, final site, hop vector in
    Angstrom).
    """
    data = material(metal)
    vector = float(data.lattice_constant(functional)) * np.array(VACANCY_HOPS[data.structure][label])
    start = most_central(host, host.positions, vector)
    initial, final = (
        int(np.argmin(np.linalg.norm(host.positions - p, axis=1))) for p in (start, start + vector)
    )
    if np.linalg.norm(host.positions[final] - host.positions[initial] - vector) > 1e-6:
        raise InputError("size", "too small", "a supercell that holds both ends of the hop")
    return initial, final, vector


def most_central(host: Atoms, starts: FloatArray, vector: FloatArray) -> FloatArray:
    """Of several equivalent starting points (n, 3), wrapped into the cell, the one whose path stays farthest
    from the faces of the periodic directions; `InputError` when even that comes closer than `PATH_MARGIN`.
    """
    scaled = host.cell.scaled_positions(starts)
    scaled[:, host.pbc] %= 1.0
    starts = scaled @ host.cell.array
    ends = np.concatenate([starts, starts + vector])
    probe = Atoms(f"X{len(ends)}", positions=ends, cell=host.cell, pbc=host.pbc)
    margins = face_distances(probe)[:, host.pbc].min(axis=1).reshape(2, -1).min(axis=0)
    best = int(np.flatnonzero(margins > margins.max() - 1e-6)[0])
    if margins[best] < PATH_MARGIN:
        raise InputError(
            "size",
            "too small",
            f"a supercell in which the hop stays {PATH_MARGIN} Angstrom from the cell faces",
        )
    chosen: FloatArray = starts[best]
    return chosen
