"""Fourier sums from a k-mesh to lattice translations, line by line.

    P(R) = sum_k exp(-2 pi i k.R) A(k),   exp(-2 pi i k.R) = exp(-2 pi i k_a R_a) exp(-2 pi i (k_b R_b + k_c R_c))

The phases along one axis are the same on every line of the mesh. With N points to a line and n_a different R_a, the sum along the
lines takes n_a operations for every k-point and element of A, and the sum over the lines n_R/N: with 22 points to a line and
5 x 5 x 5 translations 5 + 5.7 where the plain sum takes 125.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emforce.errors import InputError
from emforce.physics.lcao import Complexes, Floats, Ints


class LatticeSum:
    """Sums over a mesh of k-points, in blocks of whole lines along the last axis with several points.

    Parameters
    ----------
    k : (nk, 3) fractional points of a full product mesh, last axis fastest, as `half_mesh` gives them
    R : (nR, 3) translations, whole numbers or not
    """

    def __init__(self, k: Floats, R: Floats | Ints) -> None:
        counts = [len(np.unique(np.round(k[:, axis], 12))) for axis in range(3)]
        if int(np.prod(counts)) != len(k):
            raise InputError("k", f"{len(k)} points", f"a product mesh of {' x '.join(map(str, counts))} points")
        self._axis = max((axis for axis in range(3) if counts[axis] > 1), default=2)
        self._k, self._R, self._length = k, R, counts[self._axis]
        _, one, self._which = np.unique(np.round(R[:, self._axis], 6), return_index=True, return_inverse=True)
        self._along = R[one, self._axis]
        self._across = [axis for axis in range(3) if axis != self._axis]

    def blocks(self, size: int) -> Iterator[slice]:
        """Parts of the mesh of about `size` points, each of whole lines."""
        step = max(1, size // self._length) * self._length
        for start in range(0, len(self._k), step):
            yield slice(start, min(start + step, len(self._k)))

    def add(self, out: Complexes, block: slice, a: Complexes, shift: Ints | tuple[int, int, int] = (0, 0, 0)) -> None:
        """Add the share of a block: out (nR, m) takes the sum over the block of exp(-2 pi i (k + shift).R) a (nb, m)."""
        k = self._k[block] + np.asarray(shift)
        first = k[:: self._length]
        inner = np.exp(-2j * np.pi * np.outer(self._along, k[: self._length, self._axis]))
        lines = inner @ a.reshape(len(first), self._length, -1)  # (lines, along, m)
        for number in range(len(inner)):
            rows = np.flatnonzero(self._which == number)
            phase = np.exp(-2j * np.pi * (self._R[rows][:, self._across] @ first[:, self._across].T))
            out[rows] += phase @ lines[:, number]


__all__ = ["LatticeSum"]
