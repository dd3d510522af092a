"""Matrices of a crystal in a local, non-orthogonal basis: H(R), S(R) -> H(k), S(k), bands, velocities.

Convention: A(k) = sum_R exp(2 pi i k.R) <0|A|R> with k and R in units of the reciprocal and direct lattice,
so that an eigenvector c(k) is the amplitude exp(2 pi i k.R) c on the orbitals of cell R.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.int64]


class Bloch(Protocol):
    """What bands and velocities are made of; `LCAOMatrices` is one, matrices of spinors are another."""

    @property
    def n(self) -> int:
        """Number of orbitals in the cell."""
        ...

    @property
    def R(self) -> Ints:
        """(nR, 3) lattice translations."""
        ...

    @property
    def volume(self) -> float:
        """Cell volume, Angstrom^3."""
        ...

    def at(self, k: Floats) -> tuple[Complexes, Complexes]:
        """H(k), S(k)."""
        ...

    def gradient(self, k: Floats, axis: int) -> tuple[Complexes, Complexes]:
        """dH/dk, dS/dk along a Cartesian axis."""
        ...


#: from this size on a matrix is solved alone by LAPACK's generalized solver; smaller ones are faster in one stack
_LARGE = 64


def _frozen(array: NDArray[np.generic], dtype: type) -> NDArray[np.generic]:
    out: NDArray[np.generic] = np.array(array, dtype=dtype)
    out.setflags(write=False)
    return out


@dataclass(frozen=True)
class LCAOMatrices:
    """Real-space Hamiltonian and overlap of a periodic system.

    Attributes
    ----------
    cell : (3, 3) lattice vectors as rows, Angstrom
    positions : (atoms, 3) Cartesian positions, Angstrom
    orbitals : (atoms,) number of orbitals of each atom; orbitals are ordered by atom
    R : (nR, 3) lattice translations, closed under R -> -R
    h : (nR, n, n) <0|H|R>, eV, real (no magnetic field, no spin-orbit coupling)
    s : (nR, n, n) <0|S|R>
    """

    cell: Floats
    positions: Floats
    orbitals: Ints
    R: Ints
    h: Floats
    s: Floats

    def __post_init__(self) -> None:
        for name in ("cell", "positions", "h", "s"):
            object.__setattr__(self, name, _frozen(getattr(self, name), float))
        for name in ("orbitals", "R"):
            object.__setattr__(self, name, _frozen(getattr(self, name), int))
        n = int(self.orbitals.sum())
        for name in ("h", "s"):
            shape = getattr(self, name).shape
            if shape != (len(self.R), n, n):
                raise InputError(f"LCAOMatrices.{name}", shape, f"shape {(len(self.R), n, n)}")
        if len(self.positions) != len(self.orbitals):
            raise InputError("LCAOMatrices.positions", len(self.positions), f"{len(self.orbitals)} atoms")

    @property
    def n(self) -> int:
        """Number of orbitals in the cell."""
        return int(self.orbitals.sum())

    @cached_property
    def offsets(self) -> Ints:
        """(atoms + 1,) first orbital of each atom, and the total at the end."""
        return np.concatenate([[0], np.cumsum(self.orbitals)])

    @property
    def volume(self) -> float:
        """Cell volume, Angstrom^3."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def _index(self) -> dict[tuple[int, int, int], int]:
        return {(int(r[0]), int(r[1]), int(r[2])): i for i, r in enumerate(self.R)}

    def block(self, R: tuple[int, int, int]) -> tuple[Floats, Floats]:
        """<0|H|R> and <0|S|R>; zeros where the crystal has no such pair."""
        i = self._index.get(R)
        if i is None:
            zero = np.zeros((self.n, self.n))
            return zero, zero
        return self.h[i], self.s[i]

    def at(self, k: Floats) -> tuple[Complexes, Complexes]:
        """H(k), S(k), each (nk, n, n), at fractional k-points (nk, 3)."""
        phase = np.exp(2j * np.pi * (np.atleast_2d(k) @ self.R.T))
        return _sum(phase, self.h), _sum(phase, self.s)

    def gradient(self, k: Floats, axis: int) -> tuple[Complexes, Complexes]:
        """dH/dk and dS/dk along Cartesian `axis`, each (nk, n, n), eV Angstrom and Angstrom."""
        phase = np.exp(2j * np.pi * (np.atleast_2d(k) @ self.R.T))
        weighted = phase * (1j * (self.R @ self.cell)[:, axis])
        return _sum(weighted, self.h), _sum(weighted, self.s)

    def shifted(self, energy: float) -> LCAOMatrices:
        """Return the same system with its energy zero moved: H + energy S."""
        return LCAOMatrices(self.cell, self.positions, self.orbitals, self.R, self.h + energy * self.s, self.s)


def _sum(phase: Complexes, a: Floats) -> Complexes:
    """Sum over R of phase (nk, nR) times real a(R) (nR, n, n): (nk, n, n)."""
    nk, nr = phase.shape
    return times_real(phase, a.reshape(nr, -1)).reshape((nk,) + a.shape[1:])


def times_real(a: Complexes, b: Floats) -> Complexes:
    """a (n, m) times the real b (m, l), at half of the cost of a product of complex matrices."""
    out = np.empty((len(a), b.shape[1]), complex)
    out.real = a.real @ b
    out.imag = a.imag @ b
    return out


def eigenstates(h: Complexes, s: Complexes) -> tuple[Floats, Complexes]:
    """Solve H c = e S c for a stack of matrices; c^dagger S c = 1.

    Parameters
    ----------
    h, s : (nk, n, n) Hermitian, s positive definite

    Returns
    -------
    energies (nk, n) ascending, eV; vectors (nk, n, n), a column a state
    """
    if h.shape[-1] >= _LARGE:
        solved = [scipy.linalg.eigh(a, b, driver="gvd", check_finite=False) for a, b in zip(h, s, strict=True)]
        return np.array([e for e, _ in solved]), np.array([c for _, c in solved])
    lower = np.linalg.cholesky(s)
    inverse = np.linalg.inv(lower)
    inverse_dagger = inverse.conj().swapaxes(-1, -2)
    energies, u = np.linalg.eigh(inverse @ h @ inverse_dagger)
    return energies, inverse_dagger @ u


def eigenvalues(h: Complexes, s: Complexes) -> Floats:
    """Energies (nk, n) of `eigenstates` alone, eV."""
    if h.shape[-1] >= _LARGE:
        return np.array([scipy.linalg.eigh(a, b, driver="gv", eigvals_only=True, check_finite=False)
                         for a, b in zip(h, s, strict=True)])
    return eigenstates(h, s)[0]


def velocities(c: Complexes, energies: Floats, dh: Complexes, ds: Complexes) -> Floats:
    """v_n = c_n^dagger (dH/dk - e_n dS/dk) c_n, in eV Angstrom, shape (nk, n)."""
    cc = c.conj()
    return np.real(np.einsum("kmn,kmn->kn", cc, dh @ c) - energies * np.einsum("kmn,kmn->kn", cc, ds @ c))


def real_space(
    cell: Floats,
    positions: Floats,
    orbitals: Ints,
    mesh: tuple[int, int, int],
    h_k: Complexes,
    s_k: Complexes,
) -> LCAOMatrices:
    """H(R), S(R) from H(k), S(k) on a full Gamma-centred mesh.

    A(R) = (1/N) sum_k exp(-2 pi i k.R) A(k). The mesh knows R only modulo its size N; every pair of atoms is given
    to the image in which the two are nearest, shared evenly where several are equally near, so that bands between
    mesh points are right (the Wigner-Seitz rule).

    Parameters
    ----------
    h_k, s_k : (N1 N2 N3, n, n) at k = (i1/N1, i2/N2, i3/N3), last index fastest, in this module's Bloch convention
    """
    R_list, (h, s) = _nearest(cell, positions, orbitals, mesh, (h_k, s_k), (1e-12, 1e-14))
    # Hermiticity A(-R) = A(R)^T holds up to rounding of the mesh sums; make it exact.
    minus = opposite(R_list)
    h = 0.5 * (h + h[minus].swapaxes(1, 2))
    s = 0.5 * (s + s[minus].swapaxes(1, 2))
    return LCAOMatrices(cell, positions, orbitals, R_list, h, s)


def real_space_odd(
    cell: Floats, positions: Floats, orbitals: Ints, mesh: tuple[int, int, int], x_k: Complexes
) -> tuple[Ints, Floats]:
    """R (nR, 3) and a(R) (m, nR, n, n), real, of Hermitian operators that time reversal turns round, X(-k) = -X(k)*.

    X(k) = i sum_R exp(2 pi i k.R) a(R),   a(-R) = -a(R)^T. Pairs of atoms and the mesh as in `real_space`.

    Parameters
    ----------
    x_k : (m, N1 N2 N3, n, n), m operators
    """
    R_list, a = _nearest(cell, positions, orbitals, mesh, tuple(-1j * x_k), (1e-14,) * len(x_k))
    stack = np.array(a)
    return R_list, 0.5 * (stack - stack[:, opposite(R_list)].swapaxes(2, 3))


def opposite(R: Ints) -> Ints:
    """Place of -R of each lattice translation R (nR, 3): of a set closed under R -> -R, or modulo the mesh that it fills.

    Raises
    ------
    InputError : some -R is not there
    """
    low, mesh = R.min(axis=0), np.ptp(R, axis=0) + 1
    place = {tuple(r): i for i, r in enumerate(((R - low) % mesh).tolist())}
    found = [place.get(tuple(r)) for r in ((-R - low) % mesh).tolist()]
    if None in found:
        raise InputError("R", R.tolist(), "translations closed under R -> -R")
    return np.array(found)


def _nearest(
    cell: Floats,
    positions: Floats,
    orbitals: Ints,
    mesh: tuple[int, int, int],
    stacks: tuple[Complexes, ...],
    limits: tuple[float, ...],
) -> tuple[Ints, list[Floats]]:
    """A(R) of each A(k), real, by the Wigner-Seitz rule; pairs of atoms with nothing above the limits are left out."""
    mesh_v = np.array(mesh)
    grid = np.array(list(np.ndindex(*mesh)))
    k = grid / mesh_v
    inverse_phase = np.exp(-2j * np.pi * (grid @ k.T)) / len(grid)
    n = stacks[0].shape[1]
    folded = [np.real(inverse_phase @ a.reshape(len(grid), -1)).reshape(-1, n, n) for a in stacks]

    periodic = mesh_v > 1
    images = np.array(list(np.ndindex(*np.where(periodic, 5, 1)))) - np.where(periodic, 2, 0)
    candidates = grid[:, None, :] + images[None, :, :] * mesh_v  # (nR, images, 3)
    offsets = np.concatenate([[0], np.cumsum(orbitals)])
    tables: dict[tuple[int, int, int], list[Floats]] = {}
    for a in range(len(orbitals)):
        rows = slice(offsets[a], offsets[a + 1])
        for b in range(len(orbitals)):
            cols = slice(offsets[b], offsets[b + 1])
            distance = np.linalg.norm(candidates @ cell + positions[b] - positions[a], axis=2)
            nearest = distance < distance.min(axis=1, keepdims=True) + 1e-4
            for i in range(len(grid)):
                picks = np.flatnonzero(nearest[i])
                if all(np.abs(f[i, rows, cols]).max() < limit for f, limit in zip(folded, limits, strict=True)):
                    continue
                for j in picks:
                    R = (int(candidates[i, j, 0]), int(candidates[i, j, 1]), int(candidates[i, j, 2]))
                    if R not in tables:
                        tables[R] = [np.zeros((n, n)) for _ in folded]
                        minus = (-R[0], -R[1], -R[2])
                        if minus not in tables:
                            tables[minus] = [np.zeros((n, n)) for _ in folded]
                    for table, f in zip(tables[R], folded, strict=True):
                        table[rows, cols] += f[i, rows, cols] / len(picks)
    R_list = np.array(sorted(tables))
    return R_list, [np.array([tables[tuple(r)][m] for r in R_list]) for m in range(len(folded))]
