"""Tables of a host whose cell holds several primitive cells, from the states of the primitive one.

A crystal in a cell of N primitive ones has the states of one k of the cell at N wave vectors k' = k + G of the primitive cell,
from matrices N times smaller. In the large cell, k' that symmetry maps on each other make degenerate states, which mix, and the
velocities of mixed states are not those of any. With tau_a the translation that takes an atom of the primitive cell to the atom
a, and A(k') a function of the states at k' (a Green function, a current matrix),

    A_ab(k) = (1/N) sum_G exp(i k'.(tau_a - tau_b)) A(k')
    sum_k exp(-i k.R) A_ab(k) = (1/N) sum_k' exp(-i k'.rho) A(k'),   rho = R + tau_b - tau_a

Exact where the matrices do have the translations, which is looked up in the matrices themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emforce.errors import InputError
from emforce.physics.lattice_sum import LatticeSum
from emforce.physics.lcao import Complexes, Floats, Ints, LCAOMatrices, opposite

Table = tuple[Ints, Floats]
#: elements between atoms that a translation joins may differ by so much (eV; overlap: 1; dipoles: Angstrom)
SAME = 1e-6
#: two fractional positions that are one site
_ON_SITE = 1e-6


@dataclass(frozen=True)
class Folding:
    """How a cell is made of primitive ones; of one, itself, where it is primitive.

    Attributes
    ----------
    orbitals : (atoms,) number of orbitals of the cell's atoms
    vectors : (3, 3) primitive lattice vectors, in units of the cell's
    atom : (atoms,) atom of the primitive cell that each is a copy of
    tau : (atoms, 3) translation from it, in units of the cell's vectors
    first : atoms of the cell that make up the primitive one
    shifts : (N, 3) G, in units of the cell's reciprocal vectors
    """

    orbitals: Ints
    vectors: Floats
    atom: Ints
    tau: Floats
    first: Ints
    shifts: Ints

    @property
    def count(self) -> int:
        """N, the number of primitive cells."""
        return len(self.shifts)

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.orbitals)])

    @cached_property
    def orbital(self) -> Ints:
        """(n,) orbital of the primitive cell that each of the cell's is a copy of."""
        starts = np.concatenate([[0], np.cumsum(self.orbitals[self.first])])
        return np.concatenate([np.arange(starts[a], starts[a + 1]) for a in self.atom])

    @cached_property
    def atom_of_orbital(self) -> Ints:
        """(n,) atom of the cell of each of its orbitals."""
        return np.repeat(np.arange(len(self.orbitals)), self.orbitals)

    def k(self, points: Floats) -> Floats:
        """Fractions of the primitive cell's reciprocal vectors, of points (nk, 3) in those of the cell's."""
        return np.asarray(points @ self.vectors.T)

    def table(self, R: Ints, a: Floats) -> Table:
        """Translations of the primitive cell, and a table a (nR, n, n) of the cell over them."""
        rows = np.concatenate([np.arange(self._starts[i], self._starts[i + 1]) for i in self.first])
        moved = np.round((R[:, None] + self.tau[None]) @ np.linalg.inv(self.vectors)).astype(int)  # (nR, atoms, 3)
        found, place = np.unique(moved.reshape(-1, 3), axis=0, return_inverse=True)
        place = place.reshape(moved.shape[:2])
        out = np.zeros((len(found), len(rows), len(rows)))
        for copy in range(len(self.orbitals)):
            of_cell = np.arange(self._starts[copy], self._starts[copy + 1])
            out[place[:, copy, None], :, self.orbital[of_cell]] = a[:, rows][:, :, of_cell].swapaxes(1, 2)
        return found, out

    def matrices(self, whole: LCAOMatrices) -> LCAOMatrices:
        """H and S of the primitive cell."""
        if self.count == 1:
            return whole
        R, h = self.table(whole.R, whole.h)
        return LCAOMatrices(self.vectors @ whole.cell, whole.positions[self.first], self.orbitals[self.first], R, h,
                            self.table(whole.R, whole.s)[1])

    def translations(self, R: Ints) -> tuple[Floats, Ints]:
        """rho (n_rho, 3), in units of the cell's vectors, and the place in it (nR, atoms, atoms) of R + tau_b - tau_a."""
        if self.count == 1:
            pairs = (len(R), len(self.atom), len(self.atom))
            return np.asarray(R, float), np.broadcast_to(np.arange(len(R))[:, None, None], pairs)
        rho = R[:, None, None] + self.tau[None, None] - self.tau[None, :, None]
        _, first, place = np.unique(np.round(rho.reshape(-1, 3), 6), axis=0, return_index=True, return_inverse=True)
        return rho.reshape(-1, 3)[first], place.reshape(rho.shape[:3])


class FoldedSum:
    """Sums over all k' of a mesh, for tables (..., nR, m, m) between some orbitals of the cell.

    Attributes
    ----------
    blocks : of the mesh, as `LatticeSum` has them; their points are k + G in fractions of the cell's reciprocal vectors
    kept : (m',) orbitals of the primitive cell that the m of the cell are copies of, ascending
    minus : (nR,) place of -R
    """

    def __init__(self, folded: Folding, k: Floats, R: Ints, orbitals: Ints) -> None:
        rho, self._place = folded.translations(R)
        self._folded, self._orbitals, self._count = folded, orbitals, len(rho)
        self.blocks = LatticeSum(k, rho, folded.shifts).blocks
        self.kept, self._index = np.unique(folded.orbital[orbitals], return_inverse=True)
        self.minus = opposite(R)

    def zeros(self, *shape: int) -> Complexes:
        """(*shape, n_rho, m'^2), what the blocks are added to."""
        return np.zeros((*shape, self._count, len(self.kept) ** 2), complex)

    def whole(self, sums: Complexes) -> Complexes:
        """Tables (..., nR, m, m), from sums (..., n_rho, m'^2) over all k'; divided by N."""
        parts = sums.reshape(*sums.shape[:-1], len(self.kept), len(self.kept))
        if self._folded.count == 1 and np.array_equal(self._index, np.arange(len(self._index))):
            return parts
        atoms = self._folded.atom_of_orbital[self._orbitals]
        at = self._place[:, atoms[:, None], atoms[None, :]]
        out = np.empty((*parts.shape[:-3], *at.shape), complex)
        for number in np.ndindex(parts.shape[:-3]):
            out[number] = parts[number][at, self._index[:, None], self._index[None, :]]
        out /= self._folded.count
        return out


def folding(matrices: LCAOMatrices, *more: Table) -> Folding:
    """The primitive cells of a host, from its H and S and from `more` tables (R, (nR, n, n)) between the same orbitals."""
    scaled: Floats = np.asarray(np.linalg.solve(matrices.cell.T, matrices.positions.T).T, float)
    tables = [(matrices.R, matrices.h), (matrices.R, matrices.s), *more]
    n = len(scaled)
    found = [(np.zeros(3), np.arange(n), np.zeros((n, 3), int))]
    for other in range(1, n):
        t: Floats = np.asarray(scaled[other] - scaled[0], float)
        t -= np.floor(t + _ON_SITE)
        image, cells = _image(scaled, t)
        if (image >= 0).all() and all(_same(matrices.orbitals, table, image, cells) for table in tables):
            found.append((t, image, cells))
    vectors = np.eye(3) if len(found) == 1 else _basis(np.array([t for t, _, _ in found]), matrices.cell)
    first = np.unique(np.array([image for _, image, _ in found]).min(axis=0))
    atom, tau = np.empty(n, int), np.empty((n, 3))
    for own, start in enumerate(first):
        for t, image, cells in found:
            atom[image[start]], tau[image[start]] = own, t - cells[start]
    return Folding(matrices.orbitals, vectors, atom, tau, first, _shifts(np.array([t for t, _, _ in found])))


def _image(scaled: Floats, t: Floats) -> tuple[Ints, Ints]:
    """Atom that each atom is moved to, -1 where there is none, and the cell that it is then in."""
    apart = scaled[:, None] + t - scaled[None]
    cells = np.round(apart)
    hit = np.abs(apart - cells).max(axis=2) < _ON_SITE
    image = np.where(hit.any(axis=1), hit.argmax(axis=1), -1)
    return image, cells[np.arange(len(scaled)), image].astype(int)


def _same(orbitals: Ints, table: Table, image: Ints, cells: Ints) -> bool:
    """Whether a table is the same between all pairs of atoms and those that they are moved to."""
    if (orbitals[image] != orbitals).any():
        return False
    (R, a), starts = table, np.concatenate([[0], np.cumsum(orbitals)])
    parts = [slice(starts[i], starts[i + 1]) for i in range(len(orbitals))]
    number = {tuple(r): i for i, r in enumerate(R.tolist())}
    for i, j in itertools.product(range(len(orbitals)), repeat=2):
        to = np.array([number.get(tuple(r), -1) for r in (R + cells[j] - cells[i]).tolist()])
        there = a[to, parts[image[i]], parts[image[j]]]
        there[to < 0] = 0.0
        if np.abs(a[:, parts[i], parts[j]] - there).max() > SAME:
            return False
    return True


def _basis(t: Floats, cell: Floats) -> Floats:
    """Short primitive vectors, in units of the cell's, of the lattice of a cell with the translations t (N, 3)."""
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    found = (t[:, None] + steps[None]).reshape(-1, 3)
    found = found[np.abs(found).max(axis=1) > _ON_SITE]
    found = found[np.argsort(np.linalg.norm(found @ cell, axis=1), kind="stable")]
    for count in (30, len(found)):
        for three in itertools.combinations(found[:count], 3):
            if abs(abs(np.linalg.det(np.array(three))) * len(t) - 1) < 1e-6:
                return np.array(three)
    raise InputError("host", f"{len(t)} translations in its cell", "a lattice")


def _shifts(t: Floats) -> Ints:
    """One G for each of the N ways in which exp(i G.t) can be, with the smallest components."""
    found: dict[tuple[float, ...], Sequence[int]] = {}
    for shift in sorted(itertools.product(range(len(t)), repeat=3), key=sum):
        found.setdefault(tuple(np.round(np.mod(t @ np.array(shift) + _ON_SITE, 1.0), 4)), shift)
    return np.array(list(found.values()))


__all__ = ["SAME", "FoldedSum", "Folding", "folding"]
