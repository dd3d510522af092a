"""Spin-orbit coupling in a local basis: matrices of spinors, what a defect changes in them, and how levels of a point split.

    H(k) = 1 x H0(k) + sum_v sigma_v x X_v(k),   S(k) = 1 x S0(k),   X_v(k) = i sum_R exp(2 pi i k.R) a_v(R)

H0 and S0 are the scalar-relativistic matrices, X_v the spin-orbit operator (emforce.dft.spin_orbit_matrices) with
a_v(R) real and a_v(-R) = -a_v(R)^T: X is Hermitian, and X_v(-k) = -X_v(k)*, so that with T = i sigma_y K time reversal
T H(k) T^-1 = H(-k) holds. Orbitals with spin up come first. The eigenproblem of twice the size is solved as a whole, at the
fixed scalar-relativistic potential: no perturbation theory, no self-consistency with spin-orbit coupling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emforce.errors import InputError
from emforce.physics.lcao import Complexes, Floats, Ints, LCAOMatrices, _frozen, _sum, eigenstates

#: sigma_x, sigma_y, sigma_z
PAULI: Complexes = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
#: scalar levels this near belong together, eV
DEGENERATE = 5e-3


@dataclass(frozen=True)
class SpinOrbit:
    """A scalar-relativistic crystal with its spin-orbit operator; a `Bloch` of twice as many orbitals.

    Attributes
    ----------
    scalar : H0(R), S0(R)
    translations : (nR, 3) lattice translations of the operator, closed under R -> -R
    a : (3, nR, n, n) real, eV; <0|X_v|R> = i a_v(R)
    axes : (3, 3) rotation; row v is the direction in spin space that sigma_v stands for. Eigenvalues do not depend on it
    """

    scalar: LCAOMatrices
    translations: Ints
    a: Floats
    axes: Floats

    def __post_init__(self) -> None:
        for name, dtype in (("translations", int), ("a", float), ("axes", float)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        n = self.scalar.n
        wanted = (3, len(self.translations), n, n)
        if self.a.shape != wanted:
            raise InputError("SpinOrbit.a", self.a.shape, f"shape {wanted}")
        if self.axes.shape != (3, 3) or np.abs(self.axes @ self.axes.T - np.eye(3)).max() > 1e-9:
            raise InputError("SpinOrbit.axes", self.axes.tolist(), "a rotation matrix (3, 3)")

    @classmethod
    def along_z(cls, scalar: LCAOMatrices, translations: Ints, a: Floats) -> SpinOrbit:
        """Spins up and down along z."""
        return cls(scalar, translations, a, np.eye(3))

    @property
    def n(self) -> int:
        """Number of orbitals with spin in the cell."""
        return 2 * self.scalar.n

    @property
    def R(self) -> Ints:
        """(nR, 3) lattice translations of H0, as many as or more than those of the operator."""
        return self.scalar.R if len(self.scalar.R) >= len(self.translations) else self.translations

    @property
    def cell(self) -> Floats:
        """(3, 3) lattice vectors as rows, Angstrom."""
        return self.scalar.cell

    @property
    def volume(self) -> float:
        """Cell volume, Angstrom^3."""
        return self.scalar.volume

    @cached_property
    def _sigma(self) -> Complexes:
        """(3, 2, 2) Pauli matrix of each Cartesian axis in the chosen spin axes."""
        return np.einsum("vw,vst->wst", self.axes, PAULI)

    def operator(self, k: Floats) -> Complexes:
        """H_SO(k) alone, (nk, 2n, 2n), eV."""
        return self._with_spin(1j * self._phase(k))

    def at(self, k: Floats) -> tuple[Complexes, Complexes]:
        """H(k), S(k), each (nk, 2n, 2n)."""
        h, s = self.scalar.at(k)
        return _doubled(h) + self.operator(k), _doubled(s)

    def gradient(self, k: Floats, axis: int) -> tuple[Complexes, Complexes]:
        """dH/dk and dS/dk along Cartesian `axis`, each (nk, 2n, 2n), eV Angstrom and Angstrom."""
        dh, ds = self.scalar.gradient(k, axis)
        slope = 1j * (self.translations @ self.scalar.cell)[:, axis]
        return _doubled(dh) + self._with_spin(1j * self._phase(k) * slope), _doubled(ds)

    def scaled(self, factor: float) -> SpinOrbit:
        """The same crystal with the operator times `factor`."""
        return SpinOrbit(self.scalar, self.translations, factor * self.a, self.axes)

    def _phase(self, k: Floats) -> Complexes:
        return np.exp(2j * np.pi * (np.atleast_2d(k) @ self.translations.T))

    def _with_spin(self, phase: Complexes) -> Complexes:
        n = self.scalar.n
        out = np.zeros((len(phase), 2, n, 2, n), complex)
        for a, sigma in zip(self.a, self._sigma, strict=True):
            x = _sum(phase, a)
            for i in range(2):
                for j in range(2):
                    if sigma[i, j] != 0:
                        out[:, i, :, j, :] += sigma[i, j] * x
        return out.reshape(len(phase), 2 * n, 2 * n)


def _doubled(a: Complexes) -> Complexes:
    """1 x A for a stack (nk, n, n): (nk, 2n, 2n)."""
    n = a.shape[-1]
    out = np.zeros((len(a), 2 * n, 2 * n), complex)
    out[:, :n, :n] = out[:, n:, n:] = a
    return out


@dataclass(frozen=True)
class SpinOrbitChange:
    """What a defect changes in the spin-orbit operator, on the orbitals of its `Perturbation` and in their order.

    Attributes
    ----------
    change : (3, n, n) A_v' - A_v, eV, first axis v; on new orbitals A_v' itself
    gradient : (3, 3, n, n) dA_v'/du, eV/Angstrom, first axis u, second v; NaN along an axis that was not computed
    """

    change: Floats
    gradient: Floats

    def __post_init__(self) -> None:
        n = self.change.shape[-1]
        for name, shape in (("change", (3, n, n)), ("gradient", (3, 3, n, n))):
            if getattr(self, name).shape != shape:
                raise InputError(f"SpinOrbitChange.{name}", getattr(self, name).shape, f"shape {shape}")


def added(a: Floats, operator: Floats) -> Complexes:
    """1 x a + sum_v sigma_v x i A_v, (2n, 2n), of a (n, n) and A (3, n, n)."""
    return np.asarray(np.kron(np.eye(2), a) + sum(np.kron(sigma, 1j * x) for sigma, x in zip(PAULI, operator, strict=True)))


@dataclass(frozen=True)
class SplitLevel:
    """What becomes of one level of a point when the coupling is switched on.

    Attributes
    ----------
    energy : of the scalar level, eV, on the scale of the matrices
    degeneracy : its number of states without spin
    energies : (2 degeneracy,) of the spinor states that are most like it, eV, ascending
    weight : mean share of these states in the space of the level; far below 1 where levels mix
    """

    energy: float
    degeneracy: int
    energies: Floats
    weight: float

    @property
    def splitting(self) -> float:
        """Highest minus lowest, eV."""
        return float(self.energies[-1] - self.energies[0])

    @property
    def shift(self) -> float:
        """Mean of the spinor levels minus the scalar one, eV; to first order zero."""
        return float(self.energies.mean() - self.energy)


def split_levels(crystal: SpinOrbit, k: Floats, window: tuple[float, float]) -> list[SplitLevel]:
    """Levels at one point k (3,) whose scalar energy lies in `window` (eV), each with the spinor states most like it.

    A spinor state is given to levels in order of its weight sum |<scalar level, either spin|S|spinor>|^2, every state once.
    """
    h0, s0 = crystal.scalar.at(k)
    e0, c0 = eigenstates(h0, s0)
    energies, c = (part[0] for part in eigenstates(*crystal.at(k)))
    n = crystal.scalar.n
    overlap = np.einsum("mi,mn,snj->isj", c0[0].conj(), s0[0], c.reshape(2, n, 2 * n))
    share = (np.abs(overlap) ** 2).sum(axis=1)  # (scalar state, spinor state)
    edges = np.flatnonzero(np.diff(e0[0]) > DEGENERATE) + 1
    groups = np.split(np.arange(n), edges)
    weights = np.array([share[g].sum(axis=0) for g in groups])
    taken: dict[int, list[int]] = {i: [] for i in range(len(groups))}
    left = set(range(2 * n))
    for flat in np.argsort(-weights, axis=None):
        i, j = divmod(int(flat), 2 * n)
        if j in left and len(taken[i]) < 2 * len(groups[i]):
            taken[i].append(j)
            left.remove(j)
    found = []
    for i, g in enumerate(groups):
        level = float(e0[0][g].mean())
        if window[0] <= level <= window[1]:
            found.append(SplitLevel(level, len(g), np.sort(energies[taken[i]]), float(weights[i, taken[i]].mean())))
    return found


__all__ = ["DEGENERATE", "PAULI", "SpinOrbit", "SpinOrbitChange", "SplitLevel", "added", "split_levels"]
