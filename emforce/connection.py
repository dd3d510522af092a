"""GPAW's two-centre integrals and PAW corrections as real-space matrices of the moving basis.

Orbitals are all-electron ones, phi = (1 + sum_a (|phi_i^a> - |phit_i^a>) <p_i^a|) phit: the pseudo orbitals phit as in
GPAW's basis, corrected inside each sphere. With P = <p_i^a|phit_mu> and one-centre differences "all-electron minus
pseudo" of 1 (dO_ii), r - R_a (Delta_iiL) and nabla (nabla_iiv), all of GPAW's setups:

    S   = <phit|phit>                 + sum_a P^T dO P
    d   = <phit|r - middle|phit>      + sum_a P^T (Delta + (R_a - middle) dO) P
    B_u = <phit|d phit/du>            + sum_a P^T (dO dP/du - [u moves a] nabla P)

so that pairs that meet only in a sphere contribute as well. Every pair is at its true translation, with the positions as
given (GPAW wraps them into the cell); the sums end where the functions end. Derivation and checks: docs/direct.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr
from scipy.special import spherical_jn

from emforce.dft import DFTSettings
from emforce.errors import InputError
from emforce.physics.lcao import Floats, Ints
from emforce.physics.position import Connection

#: places of x, y, z among GPAW's spherical harmonics of l = 1, which are y, z, x
_X_Y_Z = (3, 1, 2)
#: radial points of the transforms for the dipole integrals
_POINTS = 1024


def setups_of(calc: Any) -> Any:
    """PAW setups of a calculation, one per atom, with their bases: all of `calc` that the matrices here need."""
    return calc.dft.setups


class TwoCentreIntegrals:
    """Integrals between the basis functions and projectors of a set of PAW setups, as functions of the distance.

    Overlaps and projections are GPAW's own (gpaw.lcao.tci): the same splines, so that the same numbers come out. The dipole
    integral is an overlap with x times a function, which is a sum of functions of l + 1 and l - 1:
    x f r^l Y_L = sqrt(4 pi/3) sum_L' G(L, x, L') f r^(l+1) Y_L'.
    Lengths are in bohr in here.
    """

    def __init__(self, setups: Any) -> None:
        from gpaw.lcao.tci import TCIExpansions

        self.setups = list(setups)
        self.tables = TCIExpansions.new_from_setups(setups)
        self.species = [int(i) for i in self.tables.I_a]
        self.orbitals = np.array([setup.nao for setup in self.setups])
        kinds = list(setups.setups.values())
        self.functions = [list(kind.basis_functions_J) for kind in kinds]
        self.orbital_reach = list(self.tables.phit_rcmax_I)
        self.projector_reach = list(self.tables.pt_rcmax_I)
        self._dipole: dict[tuple[int, int], tuple[Any, Floats]] = {}
        self._on_site: dict[int, Any] = {}

    def overlap(self, a: int, b: int, vector: Floats) -> Floats:
        """<phit^a|phit^b>, b at a + vector."""
        return _values(self.tables.O_expansions.get(a, b), vector)

    def overlap_gradient(self, a: int, b: int, vector: Floats) -> Floats:
        """(3, ...) derivative of `overlap` with respect to the vector.

        At distance zero GPAW's splines for l > 0 hold the value of the next point: harmless there, but not for the
        derivative (0.1 %), so that functions of one atom have their own splines here.
        """
        if not vector.any():
            return _gradients(self._own(self.species[a]), vector)
        return _gradients(self.tables.O_expansions.get(a, b), vector)

    def projection(self, a: int, b: int, vector: Floats) -> Floats:
        """<p^a|phit^b>, b at a + vector."""
        return _values(self.tables.P_expansions.get(a, b), vector)

    def projection_gradient(self, a: int, b: int, vector: Floats) -> Floats:
        """(3, ...) derivative of `projection` with respect to the vector."""
        return _gradients(self.tables.P_expansions.get(a, b), vector)

    def dipole(self, a: int, b: int, vector: Floats) -> Floats:
        """(3, ...) <phit^a| r - R_b |phit^b>, b at a + vector."""
        expansion, mix = self._raised(self.species[a], self.species[b])
        return np.asarray(np.einsum("mx,axn->amn", _values(expansion, vector), mix))

    def dipole_gradient(self, a: int, b: int, vector: Floats) -> Floats:
        """(3, 3, ...) derivative of `dipole` with respect to the vector, which is the first axis."""
        expansion, mix = self._raised(self.species[a], self.species[b])
        return np.asarray(np.einsum("umx,axn->uamn", _gradients(expansion, vector), mix))

    def _own(self, kind: int) -> Any:
        """Overlaps among the functions of one species, from our own transforms."""
        if kind not in self._on_site:
            functions = [(f, f.get_angular_momentum_number(), 0) for f in self.functions[kind]]
            self._on_site[kind] = self._expansion(functions, functions)
        return self._on_site[kind]

    def _expansion(self, left: list[tuple[Any, int, int]], right: list[tuple[Any, int, int]]) -> Any:
        from gpaw.lcao.overlap import OverlapExpansion, TwoSiteOverlapExpansions

        table = np.empty((len(left), len(right)), object)
        for i, (f, l1, p1) in enumerate(left):
            for j, (g, l2, p2) in enumerate(right):
                product = self._bessel.forward(f, l1, p1) * self._bessel.forward(g, l2, p2)
                table[i, j] = OverlapExpansion(l1, l2, self._bessel.splines(product, l1, l2))
        return TwoSiteOverlapExpansions([l for _, l, _ in left], [l for _, l, _ in right], table)

    def _raised(self, one: int, two: int) -> tuple[Any, Floats]:
        """Overlaps of the functions of one species with those of l +- 1 of the other, and how x makes these."""
        if (one, two) not in self._dipole:
            left = [(f, f.get_angular_momentum_number(), 0) for f in self.functions[one]]
            expansion = self._expansion(left, _raised_functions(self.functions[two]))
            self._dipole[one, two] = (expansion, _mixing(self.functions[two]))
        return self._dipole[one, two]

    @cached_property
    def _bessel(self) -> BesselTransforms:
        return BesselTransforms(max(self.orbital_reach))


def _raised_functions(functions: list[Any]) -> list[tuple[Any, int, int]]:
    """What x times each radial function holds: (function, l', power of r) with l' = l + 1, then l - 1."""
    out = []
    for f in functions:
        l = f.get_angular_momentum_number()
        out += [(f, l + 1, 0)] if l == 0 else [(f, l + 1, 0), (f, l - 1, 2)]
    return out


def _mixing(functions: list[Any]) -> Floats:
    """(3, orbitals of _raised_functions, orbitals): x Y_L = sqrt(4 pi/3) sum_L' G(L, x, L') Y_L' for x, y, z."""
    from gpaw.sphere.gaunt import gaunt

    ls = [f.get_angular_momentum_number() for f in functions]
    coefficients = gaunt(max(1, *ls, 0))
    blocks = []
    for l in ls:
        here = slice(l * l, (l + 1) ** 2)
        parts = [slice((l + 1) ** 2, (l + 2) ** 2)] + ([slice((l - 1) ** 2, l * l)] if l else [])
        blocks.append(np.array([np.concatenate([coefficients[here, x, p].T for p in parts]) for x in _X_Y_Z]))
    out = np.zeros((3, sum(b.shape[1] for b in blocks), sum(b.shape[2] for b in blocks)))
    row = column = 0
    for b in blocks:
        out[:, row : row + b.shape[1], column : column + b.shape[2]] = b
        row, column = row + b.shape[1], column + b.shape[2]
    return np.sqrt(4 * np.pi / 3) * out


def _values(expansion: Any, vector: Floats) -> Floats:
    from gpaw.lcao.overlap import LazySphericalHarmonics

    return np.asarray(expansion.evaluate(float(np.linalg.norm(vector)), LazySphericalHarmonics(vector)))


def _gradients(expansion: Any, vector: Floats) -> Floats:
    from gpaw.lcao.overlap import LazySphericalHarmonics, LazySphericalHarmonicsDerivative

    length = float(np.linalg.norm(vector))
    direction = vector / length if length > 0 else np.zeros(3)
    return np.asarray(expansion.derivative(length, direction, LazySphericalHarmonics(vector),
                                           LazySphericalHarmonicsDerivative(vector)))


class BesselTransforms:
    """Radial functions in momentum space and back, by sums over even grids.

    GPAW's own transform divides by powers of k that lose all digits at l = 7, which f functions need here.
    """

    def __init__(self, reach: float) -> None:
        self.reach = reach
        self.r = reach / _POINTS * np.arange(_POINTS)
        self.k = np.pi / (2 * reach) * np.arange(_POINTS)  # periodic in 4 reach: overlaps end at 2 reach
        self._forward: dict[int, Floats] = {}

    def forward(self, function: Any, l: int, power: int) -> Floats:
        """Integral of r^2 j_l(kr) r^l r^power f(r) at each k; f is GPAW's radial function, without r^l."""
        if l not in self._forward:
            self._forward[l] = spherical_jn(l, self.k[:, None] * self.r) * self.r[1]
        values = function.map(self.r)
        return np.asarray(self._forward[l] @ (self.r ** (2 + l + power) * values))

    def splines(self, product: Floats, l1: int, l2: int) -> list[Any]:
        """Radial parts, one per l, of the overlap of two functions whose transforms have this product."""
        from gpaw.spline import Spline

        points = 257
        distance = 2 * self.reach / (points - 1) * np.arange(points)
        result = []
        for l in range((l1 + l2) % 2, l1 + l2 + 1, 2):
            values = 8 * spherical_jn(l, distance[:, None] * self.k) @ (product * self.k**2) * self.k[1]
            values[1:] /= distance[1:] ** l
            # j_l(kx)/x^l -> k^l/(2l + 1)!!
            values[0] = 8 * self.k[1] * np.dot(product, self.k ** (2 + l)) / np.prod(np.arange(2 * l + 1, 0, -2))
            values *= (-1.0) ** ((l1 - l2 - l) // 2)
            result.append(Spline.from_data(l, 2 * self.reach, values))
        return result


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
        return self._symmetric(out, 1) * (0.5 * Bohr)

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
        return self._symmetric(out, -1) * (0.5 / Bohr), self._symmetric(out, 1) / Bohr

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
        return (self._symmetric(out, 1) * 0.5).reshape(by_u.shape)

    def _local_dipole(self, atom: int, c: _Columns) -> Floats:
        """(3, i, orbitals) one-centre difference of <phi_i|r - R_nu|phi_nu>."""
        return np.asarray(self._delta(atom) @ c.p + self._d_o(atom) @ (c.to_sphere[:, None] * c.p))

    def _d_o(self, atom: int) -> Floats:
        return np.asarray(self.integrals.setups[atom].dO_ii)

    def _delta(self, atom: int) -> Floats:
        """(3, i, i) one-centre difference of <phi_i|r - R_a|phi_j>, bohr."""
        delta = self.integrals.setups[atom].Delta_iiL
        return np.asarray(np.sqrt(4 * np.pi / 3) * delta[:, :, list(_X_Y_Z)].transpose(2, 0, 1))

    def _moves(self, moved: Sequence[int]) -> Floats:
        if not moved or any(not 0 <= i < len(self.atoms) for i in moved):
            raise InputError("moved", list(moved), f"atoms 0 to {len(self.atoms) - 1}, at least one")
        return np.isin(np.arange(len(self.atoms)), moved).astype(float)

    def _symmetric(self, table: Floats, sign: int) -> Floats:
        """A(R) + sign A(-R)^T."""
        minus = [self.index[-x, -y, -z] for x, y, z in self.R.tolist()]
        return np.asarray(table + sign * table[:, minus].swapaxes(-1, -2))

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
    return Connection(np.array(atoms.cell), atoms.get_positions(), basis.orbitals, basis.R, basis.overlap(),
                      basis.dipole(), tuple(moved), a, ds, dd)


def setups_for(atoms: Atoms, settings: DFTSettings) -> Any:
    """PAW setups with their bases, one per atom, as a calculation with these settings has them; nothing is calculated."""
    from gpaw.dft import Parameters
    from gpaw.mpi import serial_comm
    from gpaw.new.logger import Logger

    parameters = Parameters(mode="lcao", xc=settings.functional, basis=dict(settings.basis), setups=dict(settings.setups))
    return parameters.dft_component_builder(atoms.copy(), log=Logger(None, serial_comm), comm=serial_comm).setups
