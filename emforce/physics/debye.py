r"""Heat capacity of a phonon spectrum, and the Debye temperatures that go with it.

    c_v(T) = (1/N) sum_i w_i C(x_i),  C(x) = k_B x² e^x/(e^x - 1)²,  x_i = h f_i/(k_B T)          per mode
    Debye    c_v(T) = 3 k_B (T/Theta)³ int_0^(Theta/T) x⁴ e^x/(e^x - 1)² dx                       per mode, 0 to k_B

Low-temperature limit: only sound counts. With velocities v_j(n) of the three acoustic branches in direction n and the volume
Omega per atom of a crystal with one atom per cell,

    Theta_0 = (hbar/k_B) (6 pi² <n>/Omega)^(1/3),   1/<n> = (1/3) sum_j int dn/(4 pi) v_j(n)^-3

that is the T³ law of the heat capacity, with which measured low-temperature values are made. Theta(T) at any other temperature
is the one whose Debye heat capacity equals c_v(T). A Debye spectrum (density of modes ~ f² up to a cut-off) has one Theta at
all T.

Units: frequencies in THz, velocities in Angstrom THz (100 m/s), temperatures in K, heat capacities in k_B per mode.

Source: M. Born, K. Huang, Dynamical Theory of Crystal Lattices (1954), sections 4 to 6; the formulas are derived again here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.integrate import quad
from scipy.optimize import brentq

from emforce.errors import InputError

Floats = NDArray[np.float64]
#: h/k_B x 1 THz and hbar/k_B x 1 THz rad, in K
THZ_IN_K = constants.h * 1e12 / constants.k
_HBAR_K = constants.hbar * 1e12 / constants.k


def heat_capacity(frequencies_THz: ArrayLike, weights: ArrayLike, temperature_K: float) -> float:
    """Harmonic heat capacity in k_B per mode, 0 to 1.

    Parameters
    ----------
    frequencies_THz : (q, modes), above zero, or zero for a mode that counts in full
    weights : (q,) of the wave vectors, in any unit

    Raises
    ------
    InputError : a negative (imaginary) frequency, weights that do not fit, a temperature that is not positive
    """
    f, w = _spectrum(frequencies_THz, weights)
    if not 0 < temperature_K < math.inf:
        raise InputError("temperature_K", temperature_K, "a positive number")
    per_q = _einstein(THZ_IN_K * f / temperature_K).mean(axis=1)
    return float(w @ per_q / w.sum())


def debye_heat_capacity(theta_K: float, temperature_K: float) -> float:
    """Heat capacity of the Debye model in k_B per mode, 0 to 1."""
    if not (theta_K > 0 and temperature_K > 0):
        raise InputError("theta_K, temperature_K", (theta_K, temperature_K), "positive numbers")
    top = theta_K / temperature_K
    value, _ = quad(lambda x: x**2 * float(_einstein(np.array(x))), 0.0, min(top, 60.0), epsabs=0, epsrel=1e-10, limit=200)
    return 3 * value / top**3


def debye_temperature(frequencies_THz: ArrayLike, weights: ArrayLike, temperature_K: float) -> float:
    """Theta(T) in K: the Debye model of the same heat capacity at this temperature. Raises as `heat_capacity`."""
    wanted = heat_capacity(frequencies_THz, weights, temperature_K)
    if not 0 < wanted < 1:
        raise InputError("temperature_K", temperature_K, "a temperature at which the heat capacity lies between 0 and k_B")
    low, high = 1e-6 * temperature_K, 1e4 * temperature_K
    return float(brentq(lambda theta: debye_heat_capacity(theta, temperature_K) - wanted, low, high, rtol=1e-10))


def acoustic_debye_temperature(velocities: ArrayLike, weights: ArrayLike, volume_per_atom_A3: float) -> float:
    """Theta_0 in K: the low-temperature limit from the sound velocities.

    Parameters
    ----------
    velocities : (directions, 3) of the acoustic branches, Angstrom THz (omega/q with omega = 2 pi f)
    weights : (directions,) solid angles, in any unit

    Raises
    ------
    InputError : a velocity or a volume that is not positive
    """
    v, w = _spectrum(velocities, weights)
    if v.shape[1] != 3 or v.min() <= 0:
        raise InputError("velocities", float(v.min()), "three positive velocities in each direction")
    if not 0 < volume_per_atom_A3 < math.inf:
        raise InputError("volume_per_atom_A3", volume_per_atom_A3, "a positive number")
    mean = float(w @ (v**-3).mean(axis=1) / w.sum())
    return _HBAR_K * (6 * math.pi**2 / (volume_per_atom_A3 * mean)) ** (1 / 3)


def directions(polar: int = 12) -> tuple[Floats, Floats]:
    """Directions (n, 3) and solid angles (n,), exact for polynomials of degree 2 polar - 1 (Gauss-Legendre times uniform)."""
    if polar < 2:
        raise InputError("polar", polar, "2 or more")
    z, w = np.polynomial.legendre.leggauss(polar)
    angle = (np.arange(2 * polar) + 0.5) * math.pi / polar
    rho = np.sqrt(1 - z**2)
    points = np.stack([np.outer(rho, np.cos(angle)), np.outer(rho, np.sin(angle)), np.repeat(z[:, None], 2 * polar, 1)], axis=-1)
    return points.reshape(-1, 3), np.repeat(w, 2 * polar) * math.pi / polar


def _einstein(x: Floats) -> Floats:
    """x² e^x/(e^x - 1)² = (x/2 / sinh(x/2))²; 1 at x = 0."""
    half = np.minimum(np.asarray(x, dtype=float) / 2, 350.0)
    safe = np.where(half > 1e-6, half, 1.0)
    return np.asarray(np.where(half > 1e-6, (safe / np.sinh(safe)) ** 2, 1.0))


def _spectrum(values: ArrayLike, weights: ArrayLike) -> tuple[Floats, Floats]:
    f, w = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    if f.ndim != 2 or not f.size or w.shape != f.shape[:1]:
        raise InputError("values, weights", (f.shape, w.shape), "(points, modes) values and a weight for each point")
    if not np.isfinite(f).all() or f.min() < 0:
        raise InputError("values", float(f.min()), "finite numbers, none negative: an imaginary mode has no heat capacity")
    if not np.isfinite(w).all() or w.min() < 0 or w.sum() <= 0:
        raise InputError("weights", float(w.min()), "finite numbers, none negative, not all zero")
    return f, w
