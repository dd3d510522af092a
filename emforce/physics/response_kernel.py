"""Response of the force on a moved atom to a uniform field, at the scattering rate omega = hbar/tau, of a periodic system.

By eigenstates, f the Fermi function and D_u H, D_k H the covariant derivatives of physics/position:

    Z = Z_val - 2 <sum f c^dagger M c> + 2 <sum_nm Im[(D_u H)_nm (D_k H)_mn] (f_n - f_m)/(Delta^2 + omega^2)>,  Delta = e_n - e_m

The same by Green functions G(z) = (z S - H)^-1 at the temperature for which omega is the first bosonic frequency,
k_B T = omega/2 pi. The energies in D_u H, D_k H become z1 = x - i omega/2 and z2 = x + i omega/2 with x = E_F + i omega j,
and what is left over is local: all S^-1 of M and of D_u H, D_k H cancel (docs/direct.md).

    Z = Z_val - 2 <Tr M0 rho> - (1/pi) sum_j Re <Tr[A_u(x) G(z1) A_k(x) G(z2)]>,   j = ... -1, 0, 1 ...
    A_u = dH/du - x dS/du - i omega a,   A_k = dH/dk - x dS/dk + omega d,   M0 = 1/2 {S, T} - i da/dk + dd/du

j = 0, one advanced and one retarded function, is the Fermi-surface part; it holds all that grows with tau. The others are the
Fermi-sea part. k-points are fractions of the reciprocal vectors; matrices are in the position gauge.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.special import bernoulli, digamma, expit

from emforce.errors import InputError
from emforce.physics.lcao import Complexes, Floats, LCAOMatrices, eigenvalues
from emforce.physics.position import BlochSums, Connection, covariant_matrices

#: both spins
SPINS = 2


@dataclass(frozen=True)
class PeriodicMover:
    """A periodic system and how it changes when an atom (with its periodic images) moves.

    Attributes
    ----------
    connection : overlap, d, a, dS/du and dd/du of the basis
    h : Hamiltonian, eV; its own overlap is not used
    gradient_h : (3, nR, n, n) dH/du over the translations of `h`, eV/Angstrom
    valence : charge of the moved atoms' cores
    """

    connection: Connection
    h: LCAOMatrices
    gradient_h: Floats
    valence: float

    def __post_init__(self) -> None:
        if self.connection.a is None or self.connection.dd is None:
            raise InputError("PeriodicMover.connection", None, "a connection of a moved atom, with a, dS/du and dd/du")
        if np.shape(self.gradient_h) != (3, *self.h.h.shape):
            raise InputError("PeriodicMover.gradient_h", np.shape(self.gradient_h), f"shape {(3, *self.h.h.shape)}")


# --- eigenstates ---------------------------------------------------------------------------------------------------


def supercell_response(mover: PeriodicMover, k: Floats, level: float, omegas: Floats, temperature: Floats) -> Floats:
    """Z (n_omega, 3, 3), [force, field], by eigenstates, averaged over the k-points (nk, 3).

    Parameters
    ----------
    level : Fermi energy, eV
    omegas : hbar/tau, eV; temperature : kT of the occupations for each of them, eV

    The diagonal and degenerate terms vanish, both derivatives being Hermitian: on a finite mesh all of tau m comes from states
    that are close but not equal, and omega must exceed their distance. k and -k give the same, so that half a mesh is enough.
    """
    omegas, temperature = np.atleast_1d(omegas), np.atleast_1d(temperature)
    if (omegas <= 0).any() or (temperature <= 0).any():
        raise InputError("omegas, temperature", (omegas.tolist(), temperature.tolist()), "positive energies")
    out = np.zeros((len(omegas), 3, 3))
    for point in np.atleast_2d(k):
        states = covariant_matrices(mover.connection, mover.h, mover.gradient_h, point)
        e = states.energies[0]
        gap = e[:, None] - e[None, :]
        products = np.array([[np.imag(u[0] * x[0].T) for x in states.dk_h] for u in states.du_h])
        local = np.real(np.diagonal(states.m[:, :, 0], axis1=-2, axis2=-1))
        for i, omega in enumerate(omegas):
            f = expit((level - e) / temperature[i])
            out[i] += SPINS * (products * ((f[:, None] - f[None, :]) / (gap**2 + omega**2))).sum(axis=(-2, -1))
            out[i] -= SPINS * local @ f
    return mover.valence * np.eye(3) + out / len(np.atleast_2d(k))


# --- frequencies ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frequencies:
    """Complex energies and weights that replace the sum over all Matsubara frequencies.

    The first bosonic frequencies stand for themselves, with weights that fade out; from the middle of the fade the rest is an
    integral, turned from the imaginary axis to a path around the occupied states.

    Attributes
    ----------
    level : Fermi energy, eV; omega : hbar/tau = 2 pi k_B T, eV
    centres : (P,) x; centres[0] = E_F is the Fermi-surface pair
    weights : (P,) with Re sum_p weights_p F(centres_p) = sum_j F(E_F + i omega j)
    density : (P, 2) with rho = Re sum_p (density_p1 G(z1) + density_p2 G(z2))
    """

    level: float
    omega: float
    centres: Complexes
    weights: Complexes
    density: Complexes

    @property
    def pairs(self) -> Complexes:
        """(P, 2) z1 and z2, eV."""
        return np.stack([self.centres - 0.5j * self.omega, self.centres + 0.5j * self.omega], axis=1)


def _fading_weights(first: float, count: int, middle: float, shifts: tuple[float, ...]) -> Floats:
    """Weights w with sum_{j>=0} F(first + j) = sum_{j<count} w_j F(first + j) + integral of F from `middle`.

    For F = 1/(x + s), s = shift + i e with any real e, and for 1, x, x^2, sums and integrals to infinity taken with the
    convergence factor of the density: sum_j 1/(first + j + s) - integral = ln(middle + s) - psi(first + s), and powers by
    Bernoulli polynomials. Least squares over e; any F that matrices with real eigenvalues give is made of these.
    """
    x = first + np.arange(count)
    e = np.concatenate([-np.logspace(3, -2, 120), [0.0], np.logspace(-2, 3, 120)])
    rows: list[Floats] = []
    right: list[Floats] = []
    for shift in shifts:
        s = shift + 1j * e
        scale = np.abs(middle + s)  # relative to the size of F at the middle
        values = scale[:, None] / (x + s[:, None])
        exact = scale * (np.log(middle + s) - digamma(first + s))
        rows += [values.real, values.imag]
        right += [exact.real, exact.imag]
    numbers = bernoulli(3)
    for p in range(3):
        of_first = sum(comb(p + 1, q) * numbers[q] * first ** (p + 1 - q) for q in range(p + 2))
        rows.append(np.asarray(10 * (x**p)[None, :]))
        right.append(10 * np.array([(middle ** (p + 1) - of_first) / (p + 1)]))
    weights: Floats = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    return weights


def frequencies(
    level: float, omega: float, bottom: float, explicit: int = 8, path: tuple[int, int] | None = (14, 10)
) -> Frequencies:
    """Complex energies for states above `bottom` (eV, below every state of the system).

    Parameters
    ----------
    explicit : bosonic frequencies besides zero that stand for themselves
    path : Gauss-Legendre points up the imaginary axis, in the logarithm of the distance from E_F, and on the quarter circle
        from there to the real axis, at three times the distance of `bottom`; None: 3/2 points for every factor of e, and 3

    The error of a sum is measured in tests/test_direct.py.
    """
    if omega <= 0:
        raise InputError("omega", omega, "a positive energy")
    if bottom >= level:
        raise InputError("bottom", bottom, f"an energy below the Fermi energy, {level}")
    if explicit < 2 or (path is not None and min(path) < 2):
        raise InputError("explicit, path", (explicit, path), "at least 2 each")
    middle = (explicit + 1) / 2
    top = middle * omega
    radius = 3 * max(level - bottom, top)
    path = (int(np.ceil(1.5 * np.log(radius / top))), 3) if path is None else path
    boson = _fading_weights(1.0, explicit, middle, (-0.5, 0.5))
    fermion = 0.5 * sum(_fading_weights(0.5, explicit + 1, middle + half, (0.0,)) for half in (-0.5, 0.5))
    along, step = _path(top, radius, path)
    j = np.arange(explicit + 1)
    density = np.zeros((explicit + 1 + len(along), 2), complex)
    density[: explicit + 1, 1] = fermion * omega / np.pi
    density[explicit + 1 :] = 0.5 * step[:, None] / np.pi
    return Frequencies(
        level=level,
        omega=omega,
        centres=np.asarray(level + np.concatenate([1j * omega * j, along]), complex),
        weights=np.concatenate([[1.0], 2 * boson, 2 * step / omega]),
        density=density,
    )


def _path(top: float, radius: float, points: tuple[int, int]) -> tuple[Complexes, Complexes]:
    """Points z and steps dz/i from i top up to i radius and by a quarter circle to -radius, even in ln z on each leg."""
    z, step = [], []
    for start, rate, count in zip((top, radius), (np.log(radius / top), 0.5j * np.pi), points, strict=True):
        t, w = np.polynomial.legendre.leggauss(count)
        leg = 1j * start * np.exp(0.5 * (t + 1) * rate)
        z.append(leg)
        step.append(0.5 * w * rate * leg / 1j)
    return np.concatenate(z), np.concatenate(step)


# --- Green functions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """Z at one omega and its parts, each (3, 3), [force, field].

    Attributes
    ----------
    omega : hbar/tau, eV
    static : Z_val - 2 Tr M0 rho
    surface : Fermi-surface part, one advanced and one retarded Green function
    sea : Fermi-sea part, both on one side of the real axis
    """

    omega: float
    static: Floats
    surface: Floats
    sea: Floats

    @property
    def total(self) -> Floats:
        """Z, the sum of the parts; only this does not depend on the basis."""
        return self.static + self.surface + self.sea


def green_response(mover: PeriodicMover, k: Floats, at: Frequencies) -> Response:
    """Z by Green functions, averaged over k-points (nk, 3) and their negatives."""
    c, h = mover.connection, mover.h
    if c.a is None or c.ds is None or c.dd is None:
        raise InputError("PeriodicMover.connection", None, "a connection of a moved atom")
    k = np.atleast_2d(k)
    sums, h_sums = c.bloch, BlochSums.of(h)
    half = 0.5 * (c.mask[:, None] + c.mask[None, :])
    static = mover.valence * np.eye(3)
    surface, sea = np.zeros((3, 3)), np.zeros((3, 3))
    for point in np.concatenate([k, -k])[:, None, :]:
        share = 0.5 / len(k)
        h_k, s_k = h_sums.value(h.h, point)[0], sums.value(c.s, point)[0]
        u_h = np.array([h_sums.value(t, point)[0] for t in mover.gradient_h])
        u_s, a = (np.array([sums.value(t, point)[0] for t in table]) for table in (c.ds, c.a))
        k_h = np.array([h_sums.gradient(h.h, point, axis)[0] for axis in range(3)])
        k_s = np.array([sums.gradient(c.s, point, axis)[0] for axis in range(3)])
        d = np.array([sums.value(t, point)[0] for t in c.d])
        rho = np.zeros_like(h_k)
        for p, ((z1, z2), x) in enumerate(zip(at.pairs, at.centres, strict=True)):
            g1, g2 = np.linalg.inv(z1 * s_k - h_k), np.linalg.inv(z2 * s_k - h_k)
            # rho is Hermitian: the mean of w G and its adjoint, the mirror energies below the axis
            part = at.density[p, 0] * g1 + at.density[p, 1] * g2
            rho += 0.5 * (part + part.conj().T)
            forces = g2 @ (u_h - x * u_s - 1j * at.omega * a) @ g1
            fields = k_h - x * k_s + at.omega * d
            value = np.real(at.weights[p] * np.einsum("umn,knm->uk", forces, fields))
            into = surface if p == 0 else sea
            into -= share * SPINS / (2 * np.pi) * value
        for u in range(3):
            for axis in range(3):
                m0 = -1j * sums.gradient(c.a[u], point, axis)[0] + sums.value(c.dd[u, axis], point)[0]
                m0 = m0 + half * s_k if u == axis else m0
                static[u, axis] -= share * SPINS * np.real(np.sum(m0 * rho.T))
    return Response(at.omega, static, surface, sea)


def lowest_state(mover: PeriodicMover, k: Floats) -> float:
    """Lowest band energy on some k-points, eV."""
    sums, h_sums = mover.connection.bloch, BlochSums.of(mover.h)
    k = np.atleast_2d(k)
    return float(eigenvalues(h_sums.value(mover.h.h, k), sums.value(mover.connection.s, k)).min())
