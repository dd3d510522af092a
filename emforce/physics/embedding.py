"""One defect embedded in a perfect host: the states that scatter from it, in a region of orbitals.

The host is known by G0 and B between the orbitals of the region (`HostTables`), the defect by the difference of its
matrices from the host's. With E the energy,

    W = (H' - H) - E (S' - S),   X = [1 - G0 W]^-1,   incoming state c -> X c

The labels of the region need not be the same basis functions in host and defect: an atom that has moved keeps its
label. Orbitals that the host does not have are a decoupled block of the host at any energy, with no current. Orbitals
that the defect does not have are removed by an infinite on-site energy:

    G -> G - G_:V G_VV^-1 G_V:,   B -> T B T^dagger,   T = [1, -G_DV G_VV^-1]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from emforce.errors import InputError
from emforce.physics.fermi import HostTables
from emforce.physics.lcao import Complexes, Floats, Ints

#: the decoupled block of new orbitals lies this far above E, in eV; any value gives the same result
NEW_ORBITAL_ENERGY = 1.0


@dataclass(frozen=True)
class RegionSites:
    """Host atoms whose orbitals make up a region.

    Attributes
    ----------
    cells : (sites, 3) lattice translation of each site's host cell
    atoms : (sites,) its atom in the host cell
    """

    cells: Ints
    atoms: Ints


def assemble(tables: HostTables, energy_index: int, offsets: Ints, sites: RegionSites) -> tuple[Complexes, Complexes]:
    """G0 (n, n) and B (3, n, n) between all orbitals of `sites`, at one energy of the tables.

    Parameters
    ----------
    offsets : (atoms + 1,) first orbital of each atom in the host cell

    Raises
    ------
    InputError if two sites are further apart than the tables reach
    """
    where = {(int(r[0]), int(r[1]), int(r[2])): i for i, r in enumerate(tables.R)}
    position = {int(orbital): i for i, orbital in enumerate(tables.orbitals)}
    local = [[position[o] for o in range(offsets[a], offsets[a + 1])] for a in sites.atoms]
    starts = np.concatenate([[0], np.cumsum([len(x) for x in local])])
    n = int(starts[-1])
    g = np.empty((n, n), complex)
    b = np.empty((3, n, n), complex)
    for i, (cell_i, orbitals_i) in enumerate(zip(sites.cells, local, strict=True)):
        rows = slice(starts[i], starts[i + 1])
        for j, (cell_j, orbitals_j) in enumerate(zip(sites.cells, local, strict=True)):
            R = tuple(int(x) for x in cell_j - cell_i)
            if R not in where:
                raise InputError("region", R, "a region whose lattice translations lie within the host tables")
            cols = slice(starts[j], starts[j + 1])
            left, right = np.ix_(orbitals_i, orbitals_j)
            g[rows, cols] = tables.g[energy_index, where[R], left, right]
            b[:, rows, cols] = tables.b[energy_index, :, where[R]][:, left, right]
    return g, b


def remove_orbitals(g: Complexes, b: Complexes, removed: Ints) -> tuple[Complexes, Complexes]:
    """Host with the orbitals `removed` at infinite on-site energy, on the orbitals that remain.

    g (n, n) and b (3, n, n) as from `assemble`; the result drops the removed rows and columns.
    """
    if len(removed) == 0:
        return g, b
    keep = np.setdiff1d(np.arange(len(g)), removed)
    g_kv = g[np.ix_(keep, removed)]
    ratio = np.linalg.solve(g[np.ix_(removed, removed)].T, g_kv.T).T  # G_DV G_VV^-1
    g_out = g[np.ix_(keep, keep)] - ratio @ g[np.ix_(removed, keep)]
    t = np.zeros((len(keep), len(g)), complex)
    t[np.arange(len(keep)), keep] = 1.0
    t[:, removed] = -ratio
    return g_out, t @ b @ t.conj().T


def add_decoupled(g: Complexes, b: Complexes, count: int, level: float = NEW_ORBITAL_ENERGY) -> tuple[Complexes, Complexes]:
    """Append `count` orbitals that the host does not have: G0 = 1/(E - e0) with e0 = E + level, and no current."""
    n = len(g)
    g_out = np.zeros((n + count, n + count), complex)
    g_out[:n, :n] = g
    g_out[range(n, n + count), range(n, n + count)] = -1.0 / level
    b_out = np.zeros((3, n + count, n + count), complex)
    b_out[:, :n, :n] = b
    return g_out, b_out


@dataclass(frozen=True)
class Scattering:
    """X B_b X^dagger on the region, and how well X was determined.

    Attributes
    ----------
    density : (3, n, n) current-carrying density matrix for a field along x, y, z, in Angstrom (times e E tau)
    condition : reciprocal-norm condition number of 1 - G0 W; a region that cuts overlapping orbitals badly gives a large one
    """

    density: Complexes
    condition: float


def scatter(g: Complexes, b: Complexes, w: Complexes | Floats) -> Scattering:
    """Response of the region to the host's current: X B X^dagger with X = [1 - G0 W]^-1.

    The density is returned symmetrised to be exactly Hermitian; X is never formed, one LU serves all.
    """
    a = np.eye(len(g)) - g @ w
    lu = scipy.linalg.lu_factor(a)
    norm = np.abs(a).sum(axis=0).max()
    gecon = scipy.linalg.get_lapack_funcs("gecon", (lu[0],))
    reciprocal, _ = gecon(lu[0], norm)
    out = np.empty_like(b)
    for axis in range(3):
        half = scipy.linalg.lu_solve(lu, b[axis])
        full = scipy.linalg.lu_solve(lu, half.conj().T).conj().T
        out[axis] = 0.5 * (full + full.conj().T)
    return Scattering(out, float(1 / max(reciprocal, 1e-300)))
