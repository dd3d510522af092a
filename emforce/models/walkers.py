"""Rejection-free kinetic Monte Carlo of adatoms that do not meet (A. B. Bortz, M. H. Kalos, J. L. Lebowitz, J. Comput.
Phys. 17, 10 (1975); D. T. Gillespie, ibid. 22, 403 (1976)): every step is a hop, the waiting time is exponential.

Closed forms, for a stationary share p_a of time on sites of kind a (p_a sum_k G_ak = what flows in):

    v = sum_a p_a sum_k Gamma_ak d_ak
    one kind, field along hop d:       v = 2 Gamma0 |d| sinh(w/2k_BT) + the other hops
    no field, one kind, or two alike:  D = sum_k Gamma_k |d_k|²/4
    small field:                       v = D w/(k_BT |d|)                (Einstein)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .lattice import SurfaceLattice

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Walk:
    """Many walkers after a number of hops.

    Parameters
    ----------
    displacement : (walkers, 2) Angstrom
    time : (walkers,) in units of 1/rate
    hops : hops of each walker
    """

    displacement: Floats
    time: Floats
    hops: int

    def drift_velocity(self) -> tuple[Floats, Floats]:
        """Velocity (2,) in Angstrom × rate, and its standard error from the spread of the walkers."""
        mean = self.time.mean()
        v = self.displacement.mean(axis=0) / mean
        residual = (self.displacement - np.outer(self.time, v)) / mean
        return v, residual.std(axis=0, ddof=1) / math.sqrt(len(self.time))

    def diffusion_coefficient(self) -> tuple[float, float]:
        """<R²>/(4 t) in Angstrom² × rate, for walkers without drift, and its standard error."""
        squares, mean = (self.displacement**2).sum(axis=1), self.time.mean()
        d = float(squares.mean() / mean / 4)
        residual = (squares / 4 - d * self.time) / mean
        return d, float(residual.std(ddof=1) / math.sqrt(len(self.time)))


def walk(lattice: SurfaceLattice, rates: Floats, walkers: int, hops: int, seed: int) -> Walk:
    """Let walkers that do not see one another make a number of hops each; they start on sites of kind 0.

    Parameters
    ----------
    rates : (kinds, hops) of each hop, in any unit
    seed : the same seed gives the same walk
    """
    rates = _checked(lattice, rates)
    if walkers < 2 or hops < 1:
        raise InputError("walkers, hops", (walkers, hops), "two or more walkers, one or more hops")
    rng = np.random.default_rng(seed)
    total = rates.sum(axis=1)
    share = np.cumsum(rates, axis=1) / total[:, None]
    share[:, -1] = 1.0
    kind = np.zeros(walkers, dtype=np.intp)
    place, time = np.zeros((walkers, 2)), np.zeros(walkers)
    for _ in range(hops):
        chosen = (rng.random(walkers)[:, None] >= share[kind]).sum(axis=1)
        time += rng.standard_exponential(walkers) / total[kind]
        place += lattice.hops[kind, chosen]
        kind = lattice.to_kind[kind, chosen]
    return Walk(place, time, hops)


def exact_drift_velocity(lattice: SurfaceLattice, rates: Floats) -> Floats:
    """Velocity (2,) in Angstrom × rate of a walker in its stationary state."""
    rates = _checked(lattice, rates)
    n = lattice.kinds
    flow = np.zeros((n, n))
    np.add.at(flow, (lattice.to_kind, np.arange(n)[:, None]), rates)
    flow -= np.diag(rates.sum(axis=1))
    share = np.linalg.lstsq(np.vstack([flow, np.ones(n)]), np.append(np.zeros(n), 1.0), rcond=None)[0]
    return np.asarray(np.einsum("a,ak,akx->x", share, rates, lattice.hops))


def exact_diffusion_coefficient(lattice: SurfaceLattice, rate: float = 1.0) -> float:
    """D = (hops per site) rate |d|²/4 in Angstrom² × rate, with all hops alike and no field."""
    return lattice.hops.shape[1] * rate * lattice.hop_length**2 / 4


def _checked(lattice: SurfaceLattice, rates: Floats) -> Floats:
    rates = np.asarray(rates, dtype=float)
    if rates.shape != lattice.hops.shape[:2] or not np.all(np.isfinite(rates)) or np.any(rates <= 0):
        raise InputError("rates", rates.shape, f"positive rates of shape {lattice.hops.shape[:2]}")
    return rates
