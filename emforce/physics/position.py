"""The moving basis in a response: position and displacement connections of the orbitals, covariant derivatives, curvature.

Orbitals phi_mu move with their atoms and do not span the whole space, so that d/dk and d/du of H and S alone miss how the
basis turns. Two matrices of the orbitals hold what is missing (docs/direct.md):

    d = <phi_mu| r - (R_mu + R_nu)/2 |phi_nu>      a = antisymmetric part of <phi_mu|d phi_nu/du>

Bloch sums: A(k) = sum_R exp(2 pi i k.R) <0|A|R> as in physics/lcao; in the position gauge the phase is that of the
orbitals' distance, exp(i k.(R + R_nu - R_mu)), and derivatives along u leave phases alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emforce.errors import InputError
from emforce.physics.lcao import Complexes, Floats, Ints, LCAOMatrices, _frozen, _sum


@dataclass(frozen=True)
class Connection:
    """Real-space overlap, dipole and displacement matrices of a basis, every pair at its true translation.

    Attributes
    ----------
    cell : (3, 3) lattice vectors as rows, Angstrom
    positions : (atoms, 3) Cartesian positions, Angstrom
    orbitals : (atoms,) number of orbitals of each atom; orbitals are ordered by atom
    R : (nR, 3) lattice translations, closed under R -> -R
    s : (nR, n, n) overlap <0|R>
    d : (3, nR, n, n) <0| r - (R_mu + R_nu + R)/2 |R>, Angstrom; d(-R) = d(R)^T
    moved : atoms that u moves, with all their periodic images; empty where the next three are None
    a : (3, nR, n, n) antisymmetric part of <0|d/du|R>, 1/Angstrom; a(-R) = -a(R)^T; first axis the direction of u
    ds : (3, nR, n, n) dS/du, 1/Angstrom, twice the symmetric part of <0|d/du|R>
    dd : (3, 3, nR, n, n) dd/du, first axis the direction of u, second that of r; None where not asked for
    """

    cell: Floats
    positions: Floats
    orbitals: Ints
    R: Ints
    s: Floats
    d: Floats
    moved: tuple[int, ...] = ()
    a: Floats | None = None
    ds: Floats | None = None
    dd: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("cell", "positions", "s", "d", "a", "ds", "dd"):
            value = getattr(self, name)
            if value is not None and (np.asarray(value).flags.writeable or np.asarray(value).dtype != float):
                object.__setattr__(self, name, _frozen(value, float))  # read-only ones are large and not copied
        for name in ("orbitals", "R"):
            object.__setattr__(self, name, _frozen(getattr(self, name), int))
        object.__setattr__(self, "moved", tuple(int(i) for i in self.moved))
        n = int(self.orbitals.sum())
        for name, first in (("s", ()), ("d", (3,)), ("a", (3,)), ("ds", (3,)), ("dd", (3, 3))):
            value = getattr(self, name)
            if value is not None and value.shape != (*first, len(self.R), n, n):
                raise InputError(f"Connection.{name}", value.shape, f"shape {(*first, len(self.R), n, n)}")
        if any(not 0 <= i < len(self.orbitals) for i in self.moved):
            raise InputError("Connection.moved", self.moved, f"atoms 0 to {len(self.orbitals) - 1}")
        if (self.a is None) != (not self.moved) or (self.ds is None) != (not self.moved):
            raise InputError("Connection.moved", self.moved, "a and ds given where atoms move, and only there")

    @property
    def bloch(self) -> BlochSums:
        """Bloch sums over this object's translations."""
        return BlochSums(self.cell, self.positions, self.orbitals, self.R)

    @property
    def mask(self) -> Floats:
        """(n,) 1 on the orbitals of the atoms that u moves, 0 on the others: the diagonal of T."""
        of_atom = np.isin(np.arange(len(self.orbitals)), self.moved)
        return np.repeat(of_atom, self.orbitals).astype(float)

    def at(self, k: Floats) -> tuple[Complexes, Complexes | None]:
        """d(k) (3, nk, n, n), Hermitian, and a(k) (3, nk, n, n), anti-Hermitian, in the Bloch convention of physics/lcao."""
        sums = self.bloch
        d = np.array([sums.lattice(t, k) for t in self.d])
        return d, None if self.a is None else np.array([sums.lattice(t, k) for t in self.a])

    def position_gauge(self, k: Floats) -> tuple[Complexes, Complexes | None]:
        """Return the same with the phase exp(i k.(R + R_nu - R_mu))."""
        sums = self.bloch
        d = np.array([sums.value(t, k) for t in self.d])
        return d, None if self.a is None else np.array([sums.value(t, k) for t in self.a])

    def k_connection(self, k: Floats) -> Complexes:
        """B_k = 1/2 dS/dk - i d (3, nk, n, n), Angstrom, position gauge: <chi|d chi/dk> of the cell-periodic Bloch sums."""
        sums = self.bloch
        return np.array([0.5 * sums.gradient(self.s, k, x) - 1j * sums.value(self.d[x], k) for x in range(3)])

    def u_connection(self, k: Floats) -> Complexes:
        """B_u = 1/2 dS/du + a (3, nk, n, n), 1/Angstrom, position gauge."""
        if self.a is None or self.ds is None:
            raise InputError("Connection.moved", self.moved, "at least one atom that moves")
        sums = self.bloch
        return np.array([0.5 * sums.value(self.ds[x], k) + sums.value(self.a[x], k) for x in range(3)])


@dataclass(frozen=True)
class BlochSums:
    """Sums over lattice translations in the position gauge, phase exp(i k.(R + R_nu - R_mu)); k in reciprocal vectors.

    Attributes
    ----------
    cell, positions, orbitals, R : as in LCAOMatrices
    """

    cell: Floats
    positions: Floats
    orbitals: Ints
    R: Ints

    @classmethod
    def of(cls, matrices: LCAOMatrices) -> BlochSums:
        """The sums that belong to real-space matrices."""
        return cls(matrices.cell, matrices.positions, matrices.orbitals, matrices.R)

    @cached_property
    def sites(self) -> Floats:
        """(n, 3) position of each orbital's atom, Angstrom."""
        return np.repeat(self.positions, self.orbitals, axis=0)

    def _gauge(self, k: Floats) -> Complexes:
        scaled = np.linalg.solve(self.cell.T, self.sites.T)
        return np.exp(2j * np.pi * (np.atleast_2d(k) @ scaled))

    def lattice(self, table: Floats, k: Floats) -> Complexes:
        """sum_R exp(2 pi i k.R) table(R) (nk, n, n), the convention of physics/lcao."""
        return _sum(np.exp(2j * np.pi * (np.atleast_2d(k) @ self.R.T)), table)

    def value(self, table: Floats, k: Floats) -> Complexes:
        """sum_R exp(i k.(R + R_nu - R_mu)) table(R), (nk, n, n)."""
        g = self._gauge(k)
        return g.conj()[:, :, None] * self.lattice(table, k) * g[:, None, :]

    def gradient(self, table: Floats, k: Floats, axis: int) -> Complexes:
        """Derivative of `value` along Cartesian `axis` of k, (nk, n, n), times Angstrom."""
        g = self._gauge(k)
        phase = np.exp(2j * np.pi * (np.atleast_2d(k) @ self.R.T))
        x = self.sites[:, axis]
        inside = _sum(phase * (1j * (self.R @ self.cell)[:, axis]), table)
        inside += 1j * (x[None, :] - x[:, None]) * _sum(phase, table)
        return g.conj()[:, :, None] * inside * g[:, None, :]


def covariant(dh: Complexes, b: Complexes, energies: Floats, c: Complexes) -> Complexes:
    """(D_x H)_nm = c_n^dagger (d_x H - e_m B_x^dagger - e_n B_x) c_m, Hermitian, shape (..., n, n).

    Between different states it is (e_m - e_n) <n|d_x m> of the states themselves, basis functions included; on the
    diagonal it is de_n/dx.

    Parameters
    ----------
    dh, b : (..., n, n) derivative of H along x (k or u) and B_x = <chi|d_x chi>, in one gauge
    energies, c : (..., n), (..., n, n) eigenstates, c^dagger S c = 1, in the same gauge
    """
    cd = c.conj().swapaxes(-1, -2)
    y = cd @ b @ c
    return np.asarray(cd @ dh @ c - y.conj().swapaxes(-1, -2) * energies[..., None, :] - energies[..., :, None] * y)


def curvature(s: Complexes, overlap: Complexes, dk_a: Complexes, du_d: Complexes, b: tuple[Complexes, Complexes]) -> Complexes:
    """M = i (K - K^dagger), K = <d_u chi| 1 - P |d_k chi>: what turns out of the space of the basis, (..., n, n), Hermitian.

    M = 1/2 {S, T} - i {d_k a - d_u(-i d) - B_k^dagger S^-1 B_u + B_u^dagger S^-1 B_k}

    Parameters
    ----------
    s : (..., n, n) overlap
    overlap : 1/2 {S, T} where u and k are along one axis, 0 where they are not
    dk_a, du_d : derivatives of a and d; b : (B_k, B_u); all in the position gauge
    """
    bk, bu = b
    inner = bk.conj().swapaxes(-1, -2) @ np.linalg.solve(s, bu)
    return np.asarray(overlap + du_d - 1j * (dk_a - inner + inner.conj().swapaxes(-1, -2)))


@dataclass(frozen=True)
class CovariantMatrices:
    """Everything that the response to u and k needs at some k-points, in the position gauge.

    Attributes
    ----------
    energies : (nk, n) eV; c : (nk, n, n) eigenvectors as columns
    dk_h : (3, nk, n, n) covariant derivative of H along k, between eigenstates, eV Angstrom
    du_h : (3, nk, n, n) along u, eV/Angstrom
    m : (3, 3, nk, n, n) curvature M between eigenstates, first axis u, second k, dimensionless
    """

    energies: Floats
    c: Complexes
    dk_h: Complexes
    du_h: Complexes
    m: Complexes


def covariant_matrices(connection: Connection, h: LCAOMatrices, dh_du: Floats | None, k: Floats) -> CovariantMatrices:
    """Covariant derivatives and curvature at fractional k-points (nk, 3).

    Parameters
    ----------
    connection : with a, ds and dd
    h : Hamiltonian; its own overlap is not used (it may be folded where the connection's is not)
    dh_du : (3, nR, n, n) dH/du over the translations of `h`, eV/Angstrom; None: zero, a rigid translation
    """
    from emforce.physics.lcao import eigenstates

    if connection.dd is None or connection.a is None:
        raise InputError("Connection.dd", None, "dd/du, asked for when the connection is made")
    k = np.atleast_2d(k)
    sums, h_sums = connection.bloch, BlochSums.of(h)
    s = sums.value(connection.s, k)
    energies, c = eigenstates(h_sums.value(h.h, k), s)
    cd = c.conj().swapaxes(-1, -2)
    bk, bu = connection.k_connection(k), connection.u_connection(k)
    dk_h = np.array([covariant(h_sums.gradient(h.h, k, x), bk[x], energies, c) for x in range(3)])
    zero = np.zeros_like(s)
    du_h = np.array([covariant(zero if dh_du is None else h_sums.value(dh_du[x], k), bu[x], energies, c) for x in range(3)])
    t = connection.mask
    overlap = 0.5 * s * (t[:, None] + t[None, :])
    m = np.empty((3, 3, *s.shape), complex)
    for u in range(3):
        for x in range(3):
            matrix = curvature(s, overlap if u == x else zero, sums.gradient(connection.a[u], k, x),
                               sums.value(connection.dd[u, x], k), (bk[x], bu[u]))
            m[u, x] = cd @ matrix @ c
    return CovariantMatrices(energies, c, dk_h, du_h, m)
