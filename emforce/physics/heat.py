"""Heat of transport of a migrating atom: electronic part, Seebeck coefficient of the host, lattice part.

Electrons. In a field E and a temperature gradient the distribution is f + tau v.[-eE - (eps - mu) grad T/T] (-f'): a gradient
acts as the field (eps - mu) grad T/(eT) at each energy. With the wind force e tau m(eps) E of `emforce.physics.wind`,

    F = e Z* E - Q_el grad T/T,        Q_el(E=0) = -INT (-f') (eps - mu) tau(eps) m(eps) deps
    J = 0:  E = S grad T,              S = -(1/eT) INT (-f') (eps - mu) tau N deps / INT (-f') tau N deps
    Q_el(J=0) = Q_el(E=0) - T e Z* S

tau is fixed by the measured resistivity, 1/rho = (e^2/Omega) INT (-f') tau N deps. With tau(eps) = tau_0 g(eps) and
K(eps) = m(eps) Omega/(e^2 N(0)), N at the Fermi energy, Omega and tau_0 drop out:

    Q_el(E=0) = -<(eps - mu) g K> / (rho <g N>/N(0)),    Z_wind = <g K> / (rho <g N>/N(0)),    <A> = INT (-f') A deps

For constant tau and to second order in T these are -(pi^2/3) (k_B T)^2 K'(0)/rho and K(0)/rho. Kept here: the whole integrals,
N(eps) in the relation of tau and rho, and mu(T) from the density of states. Models: tau constant, and tau ~ 1/DOS(eps) (phonons,
all final states alike). Left out: a tau that differs over the Fermi surface, phonon drag, the drift of the direct part.

Lattice. Energy-partition model after K. Wirtz (1943) and A. D. LeClaire (1954): atom a
supplies the share w_a of the activation energy E_m where it is, at s_a between start plane (-1) and end plane (+1) of the hop.
Planes a distance dT apart in temperature give the rate nu exp(-sum_a w_a E_m/k_B(T + s_a dT/2)) forth and with -s_a back, so

    Q_lattice = -E_m sum_a w_a s_a,         |Q_lattice| <= E_m:   +E_m where all of the energy is supplied at the start

Q > 0: towards the cold end. Energies in eV relative to the Fermi energy; K and rho in one and the same unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from emforce.errors import ConvergenceError, InputError
from emforce.physics.lcao import Floats

#: tau(eps) over its value at the Fermi energy: constant, or as 1/DOS(eps)
SCATTERING = ("constant", "inverse dos")
#: points of a curve from which on half of them are enough for another one
MANY = 7
#: points of the thermal integrals, (eps - mu)/k_BT; the trapezoidal rule on the analytic kernel is exact to 1e-12
_X = np.linspace(-40.0, 40.0, 801)
_KERNEL = 0.25 / np.cosh(0.5 * _X) ** 2 * (_X[1] - _X[0])


class Curve:
    """A quantity against energy: smooth through its points, its tangents beyond the window.

    Parameters
    ----------
    energies : (n,) eV relative to the Fermi energy, increasing, n >= 2
    values : (n,)
    order : None for a cubic spline through the points (not-a-knot), or the order of a least-squares polynomial

    Raises
    ------
    InputError : points that do not increase, are not finite, or are too few
    """

    def __init__(self, energies: Sequence[float] | Floats, values: Sequence[float] | Floats, order: int | None = None) -> None:
        self.energies, self.values, self.order = np.array(energies, float), np.array(values, float), order
        e, v = self.energies, self.values
        if not (e.ndim == 1 and e.shape == v.shape and np.isfinite(e).all() and np.isfinite(v).all() and (np.diff(e) > 0).all()):
            raise InputError("energies, values", (e.tolist(), v.tolist()), "as many finite values as increasing energies")
        if len(e) < (2 if order is None else order + 1):
            raise InputError("energies", e.tolist(), "two or more, and more than the order of the polynomial")
        if order is None:
            self._inside = CubicSpline(e, v)
        else:
            # a spline on a dense grid of a polynomial of order <= 3 is that polynomial
            dense = np.linspace(e[0], e[-1], 41)
            self._inside = CubicSpline(dense, np.polynomial.Polynomial.fit(e, v, order)(dense))
        self._slope = self._inside.derivative()
        self._integral = self._inside.antiderivative()

    @property
    def window(self) -> tuple[float, float]:
        """First and last energy."""
        return float(self.energies[0]), float(self.energies[-1])

    def __call__(self, energies: Floats | float) -> Floats:
        """Values at any energies; beyond the window along the tangent at its end."""
        e = np.asarray(energies, float)
        at = np.clip(e, *self.window)
        return np.asarray(self._inside(at) + self._slope(at) * (e - at))

    def slope(self, energy: float = 0.0) -> float:
        """Derivative at an energy."""
        return float(self._slope(np.clip(energy, *self.window)))

    def integral(self, energies: Floats) -> Floats:
        """Integral from the Fermi energy to the given energies."""
        e = np.asarray(energies, float)
        at = np.clip(e, *self.window)
        beyond = self._inside(at) * (e - at) + 0.5 * self._slope(at) * (e - at) ** 2
        return np.asarray(self._integral(at) + beyond - self._integral(np.clip(0.0, *self.window)))

    def shifted(self, shift: float) -> Curve:
        """The curve with the Fermi energy moved up by `shift`, eV."""
        return Curve(self.energies - shift, self.values, self.order)

    def tilted(self, factor: float, offset: float = 0.0) -> Curve:
        """The curve with its differences from the value at the Fermi energy times `factor`, and `offset` added."""
        centre = float(self(0.0))
        return Curve(self.energies, centre + offset + factor * (self.values - centre), self.order)

    def alternatives(self) -> list[Curve]:
        """Other curves that are as good a guess between the points.

        Least-squares polynomials of order 2 and 3; for `MANY` points and more, over which no such polynomial holds, the spline
        through every second point, both ends among them.
        """
        if len(self.energies) < MANY:
            return [Curve(self.energies, self.values, order) for order in (2, 3) if len(self.energies) > order]
        kept = np.unique([*range(0, len(self.energies), 2), len(self.energies) - 1])
        return [Curve(self.energies[kept], self.values[kept])]

    def sharpened(self, width: float) -> Curve:
        """The curve before it was smeared by a Gaussian, to lowest order: A - width^2 A''/2, A'' of a fit.

        The fit is cubic, for `MANY` points and more of order 5.
        """
        order = 5 if len(self.energies) >= MANY else min(3, len(self.energies) - 1)
        fit = np.polynomial.Polynomial.fit(self.energies, self.values, order)
        return Curve(self.energies, self.values - 0.5 * width**2 * fit.deriv(2)(self.energies), self.order)


@dataclass(frozen=True)
class TransportCurves:
    """N(eps) (eV A^2 per cell) and the density of states (1/eV per cell) of a bulk host."""

    n: Curve
    dos: Curve

    def shifted(self, shift: float) -> TransportCurves:
        """Both with the Fermi energy moved up by `shift`, eV."""
        return replace(self, n=self.n.shifted(shift), dos=self.dos.shifted(shift))


def thermal_average(function: Callable[[Floats], Floats], kT: float, mu: float = 0.0) -> float:
    """INT (-f'(eps - mu)) function(eps) deps."""
    return float(_KERNEL @ function(mu + kT * _X))


def chemical_potential(dos: Curve, kT: float) -> float:
    """mu(T) relative to the Fermi energy, eV: <INT_0^eps DOS> = 0, so that the number of electrons stays what it is.

    To lowest order -(pi^2/6) (k_BT)^2 DOS'/DOS.

    Raises
    ------
    ConvergenceError : no such mu inside the window
    """
    low, high = dos.window
    ends = [thermal_average(dos.integral, kT, mu) for mu in (low, high)]
    if not ends[0] < 0 < ends[1]:
        raise ConvergenceError(f"chemical potential at k_BT = {kT:g} eV is not inside {low:g} to {high:g} eV; widen the window")
    return float(brentq(lambda mu: thermal_average(dos.integral, kT, mu), low, high, xtol=1e-12))


@dataclass(frozen=True)
class HostThermal:
    """Thermal sums of a host at one temperature.

    Attributes
    ----------
    kT, mu : eV
    seebeck : S in units of k_B/e (86.17 uV/K); E = S grad T at J = 0
    scattering : one of `SCATTERING`
    norm : <g N>/N(0)
    """

    kT: float
    mu: float
    seebeck: float
    scattering: str
    norm: float


@lru_cache(maxsize=1024)  # the same host serves all sites and most variants of an error estimate
def host_thermal(host: TransportCurves, kT: float, scattering: str = "constant") -> HostThermal:
    """Chemical potential and Seebeck coefficient of a host; see the head of the file.

    Raises
    ------
    InputError : a model of tau that is not there, a temperature that is none
    """
    if scattering not in SCATTERING:
        raise InputError("scattering", scattering, ", ".join(SCATTERING))
    if not 0 < kT < np.inf:
        raise InputError("k_BT", kT, "above 0 eV")
    mu = chemical_potential(host.dos, kT)
    weight = _relative_time(host, scattering)
    conductance = thermal_average(lambda e: weight(e) * host.n(e), kT, mu)
    current = thermal_average(lambda e: (e - mu) * weight(e) * host.n(e), kT, mu)
    return HostThermal(kT, mu, -current / (kT * conductance), scattering, conductance / float(host.n(0.0)))


def _relative_time(host: TransportCurves, scattering: str) -> Callable[[Floats], Floats]:
    if scattering == "constant":
        return lambda e: np.ones_like(e)
    # beyond the window the tangent of the density of states could cross zero
    return lambda e: host.dos(0.0) / host.dos(np.clip(e, *host.dos.window))


@dataclass(frozen=True)
class ElectronicHeat:
    """Electronic part at one temperature and condition E = 0.

    Attributes
    ----------
    q : eV, > 0: towards the cold end
    outside : part of q from energies beyond the window of K, of its difference from K(mu), eV
    share : |outside|/(|outside| + |rest|)
    z_wind : thermal average of the wind valence
    """

    q: float
    outside: float
    share: float
    z_wind: float


def electronic_heat(k: Curve, rho: float, host: TransportCurves, thermal: HostThermal) -> ElectronicHeat:
    """Q_el(E=0) and Z_wind from K(eps) and rho in one unit.

    Raises
    ------
    InputError : a resistivity that is not positive
    """
    if not 0 < rho < np.inf:
        raise InputError("rho", rho, "above zero")
    weight = _relative_time(host, thermal.scattering)
    energies = thermal.mu + thermal.kT * _X
    scale = _KERNEL * weight(energies) / (rho * thermal.norm)
    # a constant K carries no heat; left in, it would be cut unevenly by the two ends of the window
    heat = -(energies - thermal.mu) * scale * (k(energies) - float(k(thermal.mu)))
    constant = -float(((energies - thermal.mu) * scale).sum()) * float(k(thermal.mu))
    low, high = k.window
    cell = thermal.kT * (_X[1] - _X[0])  # that of a point on the edge counts in part
    beyond = np.clip((low - energies) / cell + 0.5, 0, 1) + np.clip((energies - high) / cell + 0.5, 0, 1)
    outside = float(beyond @ heat)
    inside = float(heat.sum()) - outside
    size = abs(outside) + abs(inside)
    return ElectronicHeat(outside + inside + constant, outside, abs(outside) / size if size else 0.0,
                          float(scale @ k(energies)))


def sommerfeld_heat(slope: float, rho: float, kT: float) -> float:
    """-(pi^2/3) (k_BT)^2 K'(0)/rho: Q_el(E=0) to second order in T, tau constant; eV."""
    return -(np.pi**2) / 3 * kT**2 * slope / rho


def mott_seebeck(host: TransportCurves, kT: float) -> float:
    """-(pi^2/3) k_BT N'(0)/N(0): the Seebeck coefficient to first order in T, tau constant, in units of k_B/e."""
    return -(np.pi**2) / 3 * kT * host.n.slope() / float(host.n(0.0))


def open_circuit_heat(q: float, z_star: float, seebeck: float, kT: float) -> float:
    """Q_el(J=0) = Q_el(E=0) - T e Z* S in eV, S in units of k_B/e."""
    return q - kT * z_star * seebeck


@dataclass(frozen=True)
class LatticeBounds:
    """Estimates of the lattice part by name, eV, and the bounds that they span; > 0: towards the cold end."""

    low: float
    high: float
    estimates: Mapping[str, float]


def lattice_heat(barrier: float, weights: Sequence[float], positions: Sequence[float]) -> float:
    """-E_m sum_a w_a s_a in eV.

    Parameters
    ----------
    barrier : E_m, eV, > 0
    weights : share of the activation energy of each atom, >= 0, sum 1
    positions : along the hop, -1 at the start plane and +1 at the end plane; an atom beyond a plane counts as on it

    Raises
    ------
    InputError : lengths that differ, weights that are no shares, a barrier that is not positive
    """
    w, s = np.array(weights, float), np.array(positions, float)
    if not 0 < barrier < np.inf:
        raise InputError("barrier", barrier, "above 0 eV")
    if w.ndim != 1 or w.shape != s.shape or len(w) == 0 or not np.isfinite(s).all():
        raise InputError("weights, positions", (w.shape, s.shape), "a finite position for each weight")
    if not (w >= 0).all() or abs(w.sum() - 1) > 1e-6:
        raise InputError("weights", w.tolist(), "shares >= 0 whose sum is 1")
    return float(-barrier * (w @ np.clip(s, -1.0, 1.0)))


def lattice_bounds(
    barrier: float, weights: Mapping[str, Sequence[float]], positions: Mapping[str, Sequence[float]]
) -> LatticeBounds:
    """Every weighting with every set of positions; the bounds are the smallest and the largest of them."""
    found = {f"weights by {w}, positions at the {p}": lattice_heat(barrier, weights[w], positions[p])
             for w in weights for p in positions}
    return LatticeBounds(min(found.values()), max(found.values()), found)
