"""Two-centre integrals between GPAW's basis functions and projectors as functions of the distance: overlap, projection, dipole.

Overlaps and projections are GPAW's own (gpaw.lcao.tci), the same splines, so that the same numbers come out; the dipole
integral, which GPAW does not have, is put together from the same parts. Lengths are in bohr in here.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import spherical_jn

from emforce.physics.lcao import Floats

#: places of x, y, z among GPAW's spherical harmonics of l = 1, which are y, z, x
X_Y_Z = (3, 1, 2)
#: radial points of the transforms for the dipole integrals
_POINTS = 1024


class TwoCentreIntegrals:
    """Integrals between the basis functions and projectors of a set of PAW setups, as functions of the distance.

    The dipole integral is an overlap with x times a function, which is a sum of functions of l + 1 and l - 1:
    x f r^l Y_L = sqrt(4 pi/3) sum_L' G(L, x, L') f r^(l+1) Y_L'.
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
                table[i, j].lmaxspline = l1 + l2 + 1  # GPAW counts one more where the sum is odd and has no l = 8
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
        blocks.append(np.array([np.concatenate([coefficients[here, x, p].T for p in parts]) for x in X_Y_Z]))
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
