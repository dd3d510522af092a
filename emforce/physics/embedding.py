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

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from emforce.errors import InputError
from emforce.physics.fermi import HostTables
from emforce.physics.lcao import Complexes, Floats, Ints, times_real

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
    """G0 (n, n) and B (3, n, n) between all orbitals of `sites`, at one energy of the tables; of spinors all with spin up first.

    Parameters
    ----------
    offsets : (atoms + 1,) first orbital of each atom in the host cell

    Raises
    ------
    InputError if two sites are further apart than the tables reach
    """
    between = site_translations(tables.R, sites)
    if (between < 0).any():
        i, j = np.argwhere(between < 0)[0]
        R = tuple(int(x) for x in sites.cells[j] - sites.cells[i])
        raise InputError("region", R, "a region whose lattice translations lie within the host tables")
    position = np.full(int(offsets[-1]), -1)
    position[tables.orbitals] = np.arange(len(tables.orbitals))
    orbital, site = site_orbitals(offsets, sites)
    place = np.concatenate([position[orbital] + spin * len(tables.orbitals) for spin in range(tables.spins)])
    rows, cols = np.ix_(place, place)
    R_index = np.tile(between[np.ix_(site, site)], (tables.spins, tables.spins))
    g = tables.g[energy_index, R_index, rows, cols]
    b = np.array([tables.b[energy_index, axis][R_index, rows, cols] for axis in range(3)])
    return g, b


def site_translations(R: Ints, sites: RegionSites) -> Ints:
    """(sites, sites) index in `R` of the lattice translation from the first site to the second; -1 where it is not in `R`."""
    wanted = (sites.cells[None, :, :] - sites.cells[:, None, :]).reshape(-1, 3)
    reach = np.maximum(np.abs(R).max(axis=0), np.abs(wanted).max(axis=0))
    table = np.full(2 * reach + 1, -1)
    table[tuple((R + reach).T)] = np.arange(len(R))
    return np.asarray(table[tuple((wanted + reach).T)]).reshape(len(sites.cells), len(sites.cells))


def site_orbitals(offsets: Ints, sites: RegionSites) -> tuple[Ints, Ints]:
    """Orbital of the host cell, and site, of each orbital of a region."""
    orbital = np.concatenate([np.arange(offsets[a], offsets[a + 1]) for a in sites.atoms])
    return orbital, np.repeat(np.arange(len(sites.atoms)), np.diff(offsets)[sites.atoms])


def on_sites(orbitals: Ints, R: Ints, tables: Iterable[Floats], sites: RegionSites) -> Floats:
    """(m, n, n) of m tables (nR, n', n') of a perfect host between the orbitals of `sites`; zero where it has no such pair."""
    orbital, site = site_orbitals(np.concatenate([[0], np.cumsum(orbitals)]), sites)
    index = site_translations(R, sites)[np.ix_(site, site)]
    rows, cols = np.ix_(orbital, orbital)
    return np.array([np.where(index >= 0, table[index, rows, cols], 0.0) for table in tables])


def remove_orbitals(g: Complexes, b: Complexes, removed: Ints) -> tuple[Complexes, Complexes]:
    """Host with the orbitals `removed` at infinite on-site energy, on the orbitals that remain.

    g (n, n) and b (3, n, n) as from `assemble`; the result drops the removed rows and columns.
    """
    if len(removed) == 0:
        return g, b
    keep: Ints | slice = np.setdiff1d(np.arange(len(g)), removed)
    gone: Ints | slice = removed
    first = len(g) - len(removed)
    if np.array_equal(removed, np.arange(first, len(g))):
        keep, gone = slice(first), slice(first, None)  # the usual case, without copies of b
    ratio = np.linalg.solve(g[gone][:, gone].T, g[keep][:, gone].T).T  # G_DV G_VV^-1
    g_out = g[keep][:, keep] - ratio @ g[gone][:, keep]
    # T B T^dagger, with T = [1, -ratio]: never as a full matrix product
    right = (b[:, keep][:, :, gone] - ratio @ b[:, gone][:, :, gone]) @ ratio.conj().T
    return g_out, b[:, keep][:, :, keep] - ratio @ b[:, gone][:, :, keep] - right


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
    lu, condition = _factors(g, w)
    out = np.empty_like(b)
    for axis in range(3):
        half = scipy.linalg.lu_solve(lu, b[axis])
        full = scipy.linalg.lu_solve(lu, half.conj().T).conj().T
        out[axis] = 0.5 * (full + full.conj().T)
    return Scattering(out, condition)


def traces(g: Complexes, b: Complexes, w: Complexes | Floats, forces: Floats) -> tuple[Floats, float]:
    """Tr[F_a X B_b X^dagger] (forces, 3) of Hermitian F_a (forces, n, n), and the condition number of 1 - G0 W.

    The same numbers as from the density of `scatter`, as Tr[(X^dagger F_a X) B_b]: two solves for each force in place of two
    for each field.
    """
    lu, condition = _factors(g, w)
    out = np.empty((len(forces), 3))
    for number, force in enumerate(forces):
        half = scipy.linalg.lu_solve(lu, force.astype(complex), trans=2)  # X^dagger F
        dressed = scipy.linalg.lu_solve(lu, half.conj().T, trans=2)  # its conjugate transpose is X^dagger F X, Hermitian too
        out[number] = [np.real(np.vdot(dressed, current)) for current in b]
    return out, condition


def _factors(g: Complexes, w: Complexes | Floats) -> tuple[tuple[Complexes, Ints], float]:
    """LU factors of 1 - G0 W and its condition number."""
    a = np.eye(len(g)) - (g @ w if np.iscomplexobj(w) else times_real(g, w.real))
    lu = scipy.linalg.lu_factor(a)
    norm = np.abs(a).sum(axis=0).max()
    gecon = scipy.linalg.get_lapack_funcs("gecon", (lu[0],))
    reciprocal, _ = gecon(lu[0], norm)
    return lu, float(1 / max(reciprocal, 1e-300))
