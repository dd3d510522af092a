"""GPAW's two-centre integrals and PAW corrections as real-space matrices of the moving basis.

Orbitals are all-electron ones, phi = (1 + sum_a (|phi_i^a> - |phit_i^a>) <p_i^a|) phit: the pseudo orbitals phit as in
GPAW's basis, corrected inside each sphere. With P = <p_i^a|phit_mu> and one-centre differences "all-electron minus
pseudo" of 1 (dO_ii), r - R_a (Delta_iiL) and nabla (nabla_iiv), all of GPAW's setups:

    S   = <phit|phit>                 + sum_a P^T dO P
    d   = <phit|r - middle|phit>      + sum_a P^T (Delta + (R_a - middle) dO) P
    B_u = <phit|d phit/du>            + sum_a P^T (dO dP/du - [u moves a] nabla P)
    A_v = sum_a P^T D_v P, the spin-orbit operator i A_v of spheres with D of emforce.dft.sphere_spin_orbit

so that pairs that meet only in a sphere contribute as well. Every pair is at its true translation, with the positions as
given (GPAW wraps them into the cell); the sums end where the functions end. Derivation and checks: docs/direct.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr

from emforce.dft import DFTSettings
from emforce.errors import InputError
from emforce.physics.lcao import Floats, Ints
from emforce.physics.position import Connection
from emforce.two_centre import X_Y_Z, TwoCentreIntegrals


def setups_of(calc: Any) -> Any:
    """PAW setups of a calculation, one per atom, with their bases: all of `calc` that the matrices here need."""
    return calc.dft.setups


@dataclass(frozen=True)
class _Neighbours:
    """Atoms within reach of one atom: their indices, translations and vectors (bohr) from it."""

    atoms: Ints
    R: Ints
    vectors: Floats


@dataclass(frozen=True)
class _Columns:
    """Orbitals of one translation R around a sphere.

    p = <p_i|phit>, its derivative with respect to the orbital's position, and the vectors from orbitals to sphere
    (3, orbitals); bohr.
    """

    R: tuple[int, int, int]
    orbitals: Ints
    atoms: Ints
    p: Floats
    dp: Floats
    to_sphere: Floats


class RealSpaceBasis:
    """The functions of a structure at their true translations: who reaches whom, and the integrals between them.

    Parameters
    ----------
    setups : PAW setups of a calculation with these atoms, in this order (`setups_of`)
    atoms : cell, periodicity and positions, taken as given; another geometry of the same atoms is fine
    """

    def __init__(self, setups: Any, atoms: Atoms, integrals: TwoCentreIntegrals | None = None) -> None:
        if len(setups) != len(atoms):
            raise InputError("atoms", len(atoms), f"{len(setups)} atoms, one per PAW setup")
        self.integrals = integrals or TwoCentreIntegrals(setups)
        self.atoms = atoms
        self.orbitals = self.integrals.orbitals
        self.offsets = np.concatenate([[0], np.cumsum(self.orbitals)])
        kinds = self.integrals.species
        reach = np.array([self.integrals.orbital_reach[i] for i in kinds])
        sphere = np.array([self.integrals.projector_reach[i] for i in kinds])
        self.pairs = [self._within(a, reach[a] + reach) for a in range(len(atoms))]
        self.spheres = [self._columns(a, self._within(a, sphere[a] + reach)) for a in range(len(atoms))]
        met = {tuple(r) for pair in self.pairs for r in pair.R.tolist()}
        for sphere_columns in self.spheres:
            seen = np.array([c.R for c in sphere_columns])
            met |= {tuple(r) for r in (seen[None, :] - seen[:, None]).reshape(-1, 3).tolist()}
        self.R = np.array(sorted(met | {(-x, -y, -z) for x, y, z in met}))
        self.index = {tuple(r): i for i, r in enumerate(self.R.tolist())}

    @property
    def n(self) -> int:
        """Number of orbitals in the cell."""
        return int(self.offsets[-1])

    def rows(self, atom: int) -> slice:
        """Orbitals of an atom."""
        return slice(int(self.offsets[atom]), int(self.offsets[atom + 1]))

    def _within(self, atom: int, reach: Floats) -> _Neighbours:
        """Atoms (with translation) whose distance from `atom` is below reach[other], bohr."""
        cell = np.array(self.atoms.cell) / Bohr
        vectors = self.atoms.get_positions() / Bohr - self.atoms.positions[atom] / Bohr
        heights = 1 / np.linalg.norm(np.linalg.inv(self.atoms.cell.complete()), axis=0) / Bohr
        scaled = np.linalg.solve(np.array(self.atoms.cell.complete()).T / Bohr, vectors.T).T
        span = [range(int(np.floor(-s.max() - reach.max() / h)), int(np.ceil(-s.min() + reach.max() / h)) + 1) if p else [0]
                for s, h, p in zip(scaled.T, heights, self.atoms.pbc, strict=True)]
        R = np.array([(x, y, z) for x in span[0] for y in span[1] for z in span[2]])
        apart = vectors[None, :] + (R @ cell)[:, None]
        where, other = np.nonzero(np.linalg.norm(apart, axis=2) < reach[None, :])
        return _Neighbours(other, R[where], apart[where, other])

    def _columns(self, atom: int, near: _Neighbours) -> list[_Columns]:
        """Projections on the sphere of `atom`, one entry per translation."""
        ints = self.integrals
        out = []
        for r in sorted({tuple(r) for r in near.R.tolist()}):
            chosen = np.flatnonzero((near.R == r).all(axis=1))
            orbitals = np.concatenate([np.arange(self.offsets[b], self.offsets[b + 1]) for b in near.atoms[chosen]])
            owner = np.concatenate([np.full(self.orbitals[near.atoms[i]], i) for i in chosen])
            p = [ints.projection(atom, near.atoms[i], near.vectors[i]) for i in chosen]
            dp = [ints.projection_gradient(atom, near.atoms[i], near.vectors[i]) for i in chosen]
            out.append(_Columns(r, orbitals, near.atoms[owner], np.concatenate(p, axis=1), np.concatenate(dp, axis=2),
                                -near.vectors[owner].T))
        return out

    def overlap(self) -> Floats:
        """S (nR, n, n)."""
        out = np.zeros((1, len(self.R), self.n, self.n))
        self._add_pairs(out, lambda a, b, v: self.integrals.overlap(a, b, v)[None])
        self._add_spheres(out, lambda a, c: c.p, lambda a, c: (self._d_o(a) @ c.p)[None])
        return np.asarray(out[0])

    def dipole(self) -> Floats:
        """d (3, nR, n, n), Angstrom: symmetric part of <0|r - R_nu - R|R>, whose rest is 1/2 (R_mu - R_nu - R) S."""
        out = np.zeros((3, len(self.R), self.n, self.n))
        self._add_pairs(out, self.integrals.dipole)
        self._add_spheres(out, lambda a, c: c.p, self._local_dipole)
        out *= 0.5 * Bohr
        return self._symmetric(out, 1)

    def spin_orbit(self, spheres: Mapping[str, Floats]) -> Floats:
        """A_v (3, nR, n, n), eV, of the spin-orbit operator i A_v: sum_a P^T D P over the spheres, A_v(-R) = -A_v(R)^T.

        Parameters
        ----------
        spheres : of each species, D (3, i, i) of `emforce.dft.sphere_spin_orbit`
        """
        out = np.zeros((3, len(self.R), self.n, self.n))
        symbols = self.atoms.get_chemical_symbols()
        missing = sorted(set(symbols) - set(spheres))
        if missing:
            raise InputError("spheres", sorted(spheres), f"the spin-orbit coupling of {', '.join(missing)} too")
        self._add_spheres(out, lambda a, c: c.p, lambda a, c: np.asarray(spheres[symbols[a]] @ c.p))
        return out

    def moving(self, moved: Sequence[int]) -> tuple[Floats, Floats]:
        """a and dS/du, each (3, nR, n, n) in 1/Angstrom, for atoms that move together with all their images."""
        moves = self._moves(moved)
        out = np.zeros((3, len(self.R), self.n, self.n))
        self._add_pairs(out, lambda a, b, v: self.integrals.overlap_gradient(a, b, v) if moves[b] else None)

        def right(a: int, c: _Columns) -> Floats | None:
            change = moves[c.atoms] - moves[a]
            nabla = self.integrals.setups[a].nabla_iiv.transpose(2, 0, 1)
            if not change.any() and not moves[a]:
                return None
            return np.asarray(self._d_o(a) @ (change * c.dp) - moves[a] * (nabla @ c.p))

        self._add_spheres(out, lambda a, c: c.p, right)
        out /= Bohr
        a = self._symmetric(0.5 * out, -1)
        return a, self._symmetric(out, 1)

    def dipole_change(self, moved: Sequence[int]) -> Floats:
        """Derivative of `dipole` with respect to u, (3 u, 3 r, nR, n, n)."""
        moves = self._moves(moved)
        out = np.zeros((9, len(self.R), self.n, self.n))
        by_u = out.reshape(3, 3, *out.shape[1:])

        def pair(a: int, b: int, v: Floats) -> Floats | None:
            if moves[a] == moves[b]:
                return None
            gradient = self.integrals.dipole_gradient(a, b, v)
            return np.asarray((moves[b] - moves[a]) * gradient.reshape(9, *gradient.shape[2:]))

        def right(a: int, c: _Columns) -> Floats | None:
            change = moves[c.atoms] - moves[a]
            if not change.any():
                return None
            dp = change * c.dp
            local = self._delta(a) @ dp[:, None] + self._d_o(a) @ (c.to_sphere[:, None] * dp[:, None])
            for x in range(3):
                local[x, x] -= self._d_o(a) @ (change * c.p)
            return np.asarray(local.reshape(9, *local.shape[2:]))

        self._add_pairs(out, pair)
        self._add_spheres(out, lambda a, c: c.p, right)
        for u in range(3):

            def left(a: int, c: _Columns, u: int = u) -> Floats | None:
                change = moves[c.atoms] - moves[a]
                return change * c.dp[u] if change.any() else None

            self._add_spheres(by_u[u], left, self._local_dipole)
        out *= 0.5
        return self._symmetric(out, 1).reshape(by_u.shape)

    def _local_dipole(self, atom: int, c: _Columns) -> Floats:
        """(3, i, orbitals) one-centre difference of <phi_i|r - R_nu|phi_nu>."""
        return np.asarray(self._delta(atom) @ c.p + self._d_o(atom) @ (c.to_sphere[:, None] * c.p))

    def _d_o(self, atom: int) -> Floats:
        return np.asarray(self.integrals.setups[atom].dO_ii)

    def _delta(self, atom: int) -> Floats:
        """(3, i, i) one-centre difference of <phi_i|r - R_a|phi_j>, bohr."""
        delta = self.integrals.setups[atom].Delta_iiL
        return np.asarray(np.sqrt(4 * np.pi / 3) * delta[:, :, list(X_Y_Z)].transpose(2, 0, 1))

    def _moves(self, moved: Sequence[int]) -> Floats:
        if not moved or any(not 0 <= i < len(self.atoms) for i in moved):
            raise InputError("moved", list(moved), f"atoms 0 to {len(self.atoms) - 1}, at least one")
        return np.isin(np.arange(len(self.atoms)), moved).astype(float)

    def _symmetric(self, table: Floats, sign: int) -> Floats:
        """A(R) + sign A(-R)^T, written over the table: those of a supercell are large."""
        minus = [self.index[-x, -y, -z] for x, y, z in self.R.tolist()]
        for component in table:
            component += sign * component[minus].swapaxes(-1, -2)
        return table

    def _add_pairs(self, out: Floats, integral: Callable[[int, int, Floats], Floats | None]) -> None:
        for a, near in enumerate(self.pairs):
            for b, r, vector in zip(near.atoms.tolist(), near.R.tolist(), near.vectors, strict=True):
                value = integral(a, b, vector)
                if value is not None:
                    out[:, self.index[tuple(r)], self.rows(a), self.rows(b)] += value

    def _add_spheres(
        self,
        out: Floats,
        left: Callable[[int, _Columns], Floats | None],
        right: Callable[[int, _Columns], Floats | None],
    ) -> None:
        """Add left^T right over the spheres, left (i, orbitals) and right (components, i, orbitals)."""
        for a, columns in enumerate(self.spheres):
            lefts = [(c, left(a, c)) for c in columns]
            rights = [(c, right(a, c)) for c in columns]
            for c2, y in rights:
                if y is None:
                    continue
                for c1, x in lefts:
                    if x is None:
                        continue
                    r = self.index[c2.R[0] - c1.R[0], c2.R[1] - c1.R[1], c2.R[2] - c1.R[2]]
                    out[:, r, c1.orbitals[:, None], c2.orbitals[None, :]] += x.T @ y


def connection(setups: Any, atoms: Atoms, moved: Sequence[int] = (), curvature: bool = False) -> Connection:
    """Overlap, dipole and displacement matrices of a crystal or a supercell, as a `Connection`.

    Parameters
    ----------
    setups : PAW setups of a calculation with these atoms (`setups_of`)
    atoms : positions as given
    moved : atoms that u moves, each with its periodic images; several at once are the sum over them
    curvature : also dd/du, which the curvature M takes
    """
    basis = RealSpaceBasis(setups, atoms)
    a, ds = basis.moving(moved) if moved else (None, None)
    dd = basis.dipole_change(moved) if moved and curvature else None
    s, d = basis.overlap(), basis.dipole()
    for table in (s, d, a, ds, dd):
        if table is not None:
            table.setflags(write=False)
    return Connection(np.array(atoms.cell), atoms.get_positions(), basis.orbitals, basis.R, s, d, tuple(moved), a, ds, dd)


def setups_for(atoms: Atoms, settings: DFTSettings) -> Any:
    """PAW setups with their bases, one per atom, as a calculation with these settings has them; nothing is calculated."""
    from gpaw.dft import Parameters
    from gpaw.mpi import serial_comm
    from gpaw.new.logger import Logger

    parameters = Parameters(mode="lcao", xc=settings.functional, basis=dict(settings.basis), setups=dict(settings.setups))
    return parameters.dft_component_builder(atoms.copy(), log=Logger(None, serial_comm), comm=serial_comm).setups
