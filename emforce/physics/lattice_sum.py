"""Fourier sums from a k-mesh to lattice translations, line by line.

    P(R) = sum_k exp(-2 pi i k.R) A(k),   exp(-2 pi i k.R) = exp(-2 pi i k_a R_a) exp(-2 pi i (k_b R_b + k_c R_c))

The phases along one axis are the same on every line of the mesh. With N points to a line and n_a different R_a, the sum along the
lines takes n_a operations for every k-point and element of A, and the sum over the lines n_R/N: with 22 points to a line and
5 x 5 x 5 translations 5 + 5.7 where the plain sum takes 125.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emforce.errors import InputError
from emforce.physics.lcao import Complexes, Floats, Ints


@dataclass(frozen=True)
class MeshBlock:
    """Whole lines of a mesh, with the phases of their sums.

    Attributes
    ----------
    points : (nb, 3) k-points; place : where they are in the mesh
    along : (n_along, points to a line) phases along the lines
    across : for each of the n_along, the translations that have it, and their phases (translations, lines) across the lines
    """

    points: Floats
    place: slice
    along: Complexes
    across: Sequence[tuple[Ints, Complexes]]

    def add(self, out: Complexes, a: Complexes) -> None:
        """Add the share of the block: out (nR, m) takes the sum of exp(-2 pi i k.R) a (nb, m)."""
        lines = self.along @ a.reshape(-1, self.along.shape[1], a[0].size)  # (lines, n_along, m)
        for number, (rows, phase) in enumerate(self.across):
            out[rows] += phase @ lines[:, number]


class LatticeSum:
    """Sums over a mesh of k-points, in blocks of whole lines along the last axis with several points.

    Parameters
    ----------
    k : (nk, 3) fractional points of a full product mesh, last axis fastest, as `half_mesh` gives them
    R : (nR, 3) translations, whole numbers or not
    shifts : (N, 3) the mesh is taken N times, moved by each of them
    """

    def __init__(self, k: Floats, R: Floats | Ints, shifts: Ints | Sequence[tuple[int, int, int]] = ((0, 0, 0),)) -> None:
        counts = [len(np.unique(np.round(k[:, axis], 12))) for axis in range(3)]
        if int(np.prod(counts)) != len(k):
            raise InputError("k", f"{len(k)} points", f"a product mesh of {' x '.join(map(str, counts))} points")
        axis = max((axis for axis in range(3) if counts[axis] > 1), default=2)
        self._axis, self._across, self._length = axis, [x for x in range(3) if x != axis], counts[axis]
        self._k, self._R, self._shifts = k, R, np.asarray(shifts)
        _, one, which = np.unique(np.round(R[:, axis], 6), return_index=True, return_inverse=True)
        self._along = R[one, axis]
        self._rows = [np.flatnonzero(which == number) for number in range(len(one))]

    def blocks(self, size: int) -> Iterator[MeshBlock]:
        """Parts of the mesh of about `size` points."""
        step = max(1, size // self._length) * self._length
        for start in range(0, len(self._k), step):
            place = slice(start, min(start + step, len(self._k)))
            for shift in self._shifts:
                k = self._k[place] + shift
                line, across = k[: self._length, self._axis], k[:: self._length, self._across]
                yield MeshBlock(k, place, np.exp(-2j * np.pi * np.outer(self._along, line)), [
                    (rows, np.exp(-2j * np.pi * (self._R[rows][:, self._across] @ across.T))) for rows in self._rows
                ])


__all__ = ["LatticeSum", "MeshBlock"]
