"""Effective valence of a mover and what follows from it, with uncertainties to first order.

    Z*(T, d) = Z_direct + K/rho(d, T)
    F/j      = e (Z_direct rho + K)                    force per current density; rho cancels from the wind
    P(Z* > 0) = [1 + erf(Z*/(sqrt2 sigma))]/2          Z* taken as normal
    N_Drude  = m_e Omega eps0 omega_p^2/e^2            a model of Z_direct: Drude number of a host atom

K, Z_direct, rho of the bulk and rho lambda are taken as independent. A wire's rho is homogeneous of degree one in (rho_bulk,
rho_lambda), so that the two logarithmic derivatives add up to one. What describes a wire (specularity, reflection, grains)
has no sigma here: it is varied as a scenario.

Z > 0: along the field, against the electrons. Resistivities and K in one unit, rho_lambda in that unit times Angstrom, and
lengths in Angstrom: in internal units Angstrom, A^2, and F/j in A as well (e = hbar = 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq

from emforce.errors import InputError
from emforce.physics.wire import WireModel
from emforce.units import epsilon0, m_e

#: range of diameters in which a change of sign is looked for, Angstrom, and points per decade
DIAMETER_RANGE = (10.0, 1e5)
_PER_DECADE = 12


@dataclass(frozen=True)
class Estimate:
    """A number with its standard uncertainty, in one unit.

    Parameters
    ----------
    value : finite
    sigma : standard uncertainty, 0 for a number taken as exact (a model's)

    Raises
    ------
    InputError : a value or sigma that is not finite, a sigma below zero
    """

    value: float
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InputError("value", self.value, "a finite number")
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise InputError("sigma", self.sigma, "a finite number, 0 or more")

    @property
    def relative(self) -> float:
        """sigma over |value|."""
        return self.sigma / abs(self.value)


def wire_resistivity(model: WireModel, rho_bulk: Estimate, rho_lambda: Estimate, diameter: float) -> Estimate:
    """rho of a wire with the uncertainty that comes from rho of the bulk and rho lambda; unit of `rho_bulk`.

    Parameters
    ----------
    rho_bulk : at the temperature in question
    rho_lambda : in the unit of rho_bulk times Angstrom
    diameter : Angstrom; infinite for the bulk

    Raises
    ------
    InputError : as `WireModel.resistivity`
    """
    if diameter == math.inf:
        return rho_bulk
    rho = model.resistivity(rho_bulk.value, rho_lambda.value, diameter)
    step = 1e-4
    bulk_share = math.log(model.resistivity(rho_bulk.value * math.exp(step), rho_lambda.value, diameter) / rho) / step
    relative = math.hypot(bulk_share * rho_bulk.relative, (1 - bulk_share) * rho_lambda.relative)
    return Estimate(rho, relative * rho)


def wind_valence(k_wind: Estimate, rho: Estimate) -> Estimate:
    """Z_wind = K/rho, sigma^2 = (sigma_K^2 + Z_wind^2 sigma_rho^2)/rho^2."""
    _check_rho(rho)
    value = k_wind.value / rho.value
    return Estimate(value, math.hypot(k_wind.sigma, value * rho.sigma) / rho.value)


def effective_valence(k_wind: Estimate, rho: Estimate, z_direct: Estimate) -> Estimate:
    """Z* = Z_direct + K/rho; z_direct with sigma 0 is a model's number."""
    wind = wind_valence(k_wind, rho)
    return Estimate(z_direct.value + wind.value, math.hypot(z_direct.sigma, wind.sigma))


def force_per_current(k_wind: Estimate, rho: Estimate, z_direct: Estimate) -> Estimate:
    """F/j = e (Z_direct rho + K) with e = 1, in the unit of K; sigma^2 = (rho sigma_Z)^2 + (Z_direct sigma_rho)^2 + sigma_K^2."""
    _check_rho(rho)
    value = z_direct.value * rho.value + k_wind.value
    return Estimate(value, math.hypot(rho.value * z_direct.sigma, z_direct.value * rho.sigma, k_wind.sigma))


def probability_positive(number: Estimate) -> float:
    """Probability that a normally distributed number is above zero; 0.5 for an exact zero."""
    if number.sigma == 0:
        return 0.5 if number.value == 0 else float(number.value > 0)
    return 0.5 * math.erfc(-number.value / (math.sqrt(2) * number.sigma))


def drude_number(plasma_energy: float, volume: float) -> float:
    """N_Drude = m_e Omega eps0 omega_p^2/e^2, electrons per volume that the clean metal answers with.

    Parameters
    ----------
    plasma_energy : hbar omega_p, eV
    volume : Omega, per atom of the host, A^3
    """
    for name, number in (("plasma_energy", plasma_energy), ("volume", volume)):
        if not 0 < number < math.inf:
            raise InputError(name, number, "a positive number")
    return m_e * volume * epsilon0 * plasma_energy**2


@dataclass(frozen=True)
class SignChange:
    """Where Z* of a wire changes sign as its diameter changes.

    Attributes
    ----------
    diameter : Angstrom; None: Z* keeps its sign in the range looked at
    undecided : ranges of diameter, Angstrom, in which |Z*| is at most one sigma; an end of the range looked at stands for
        what lies beyond it
    thin, bulk : Z* at the thin end of the range and in the bulk
    """

    diameter: float | None
    undecided: tuple[tuple[float, float], ...]
    thin: Estimate
    bulk: Estimate


def sign_change(
    model: WireModel, rho_bulk: Estimate, rho_lambda: Estimate, k_wind: Estimate, z_direct: Estimate
) -> SignChange:
    """The diameter at which Z_direct rho(d, T) = -K, and the diameters around it that one sigma does not tell apart.

    rho(d) falls with d, so that there is one such diameter at most. The undecided ranges are where |Z*| <= sigma(Z*):
    Fieller's set for a ratio of two uncertain numbers, which may be empty, one range or two.
    """

    @cache
    def star(logarithm: float) -> Estimate:
        rho = wire_resistivity(model, rho_bulk, rho_lambda, math.exp(logarithm))
        return effective_valence(k_wind, rho, z_direct)

    def value(logarithm: float) -> float:
        return star(logarithm).value

    def margin(logarithm: float) -> float:
        return abs(star(logarithm).value) - star(logarithm).sigma

    low, high = (math.log(d) for d in DIAMETER_RANGE)
    grid = [float(x) for x in np.linspace(low, high, 1 + round(_PER_DECADE * (high - low) / math.log(10)))]
    roots = _roots(value, grid)
    # |Z*| has a kink at its zero: a root of the margin is looked for on each side of it
    borders = _roots(margin, sorted({*grid, *roots}))
    edges = [low, *borders, high]
    undecided = [(a, b) for a, b in pairwise(edges) if b > a and margin((a + b) / 2) <= 0]
    return SignChange(
        diameter=math.exp(roots[0]) if roots else None,
        undecided=tuple((math.exp(a), math.exp(b)) for a, b in undecided),
        thin=star(low),
        bulk=effective_valence(k_wind, rho_bulk, z_direct),
    )


def _roots(function: Callable[[float], float], grid: list[float]) -> list[float]:
    values = [function(x) for x in grid]
    found = []
    for i in range(len(grid) - 1):
        if values[i] * values[i + 1] < 0:
            found.append(float(brentq(function, grid[i], grid[i + 1], xtol=1e-9)))
    return found


def _check_rho(rho: Estimate) -> None:
    if rho.value <= 0:
        raise InputError("rho", rho.value, "a positive resistivity")
