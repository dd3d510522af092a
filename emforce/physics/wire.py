"""Resistivity of thin wires and films: scattering at surfaces and grain boundaries (Boltzmann, free-electron sphere).

    kappa = d/lambda,  lambda = rho_lambda/rho0,  E(x) = (1 - e^-x)/(1 - p e^-x)

    round wire (Dingle, Chambers)   rho0/rho = 1 - 12 (1-p)/(pi kappa) int dtheta dpsi sin^2 cos^2(theta) sin(psi) E(x),
                                    x = kappa sin(psi)/sin(theta), both angles from 0 to pi/2
    film (Fuchs, Sondheimer)        rho0/rho = 1 - 3 (1-p)/(2 kappa) int_1^oo dt (t^-3 - t^-5) E(kappa t)
    grains (Mayadas, Shatzkes)      rho0/rho = 3 [1/3 - a/2 + a^2 - a^3 ln(1 + 1/a)] = 3 int_0^1 dx x^3/(x + a),
                                    a = (lambda/D) R/(1 - R)

theta: angle with the axis of the wire; psi: 2r sin(psi) is the chord that the path draws on the cross-section; a specular
reflection in a round wire keeps that chord, so that its sum over reflections is exact. Surfaces and grains together:

    "combined"      boundaries stand across the current and shorten the path in direction theta to lambda h,
                    h = cos(theta)/(cos(theta) + a); that path goes into the surface integral (Mayadas and Shatzkes 1970
                    for a film; the same steps for the round wire here)
    "matthiessen"   rho = rho(surfaces) + rho(grains) - rho0: parts added as if they were independent

In a round wire the sum is the larger one (4 % for Cu, d = 5 nm, R = 0.3): electrons that run along the axis escape both.
Classical: no subbands, so a diameter far above the Fermi wavelength (0.3 to 0.5 nm in these metals); smooth walls; rho_lambda
is of the whole Fermi surface, direction averaged. Measured layers of a few nm are more resistive (docs/wires.md).

Lengths in Angstrom. Resistivities in one unit, rho_lambda in that unit times Angstrom: in internal units Angstrom and A^2.

Sources: K. Fuchs, Proc. Camb. Philos. Soc. 34, 100 (1938); E. H. Sondheimer, Adv. Phys. 1, 1 (1952); R. B. Dingle,
Proc. R. Soc. A 201, 545 (1950); R. G. Chambers, Proc. R. Soc. A 202, 378 (1950); A. F. Mayadas, M. Shatzkes,
Phys. Rev. B 1, 1382 (1970). The integrals above were derived again from the path picture; the tests hold their limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]
Geometry = Literal["round", "square", "film"]
Combination = Literal["combined", "matthiessen"]

#: smallest d/lambda at which the square-wire formula is given; see `square_wire_ratio`
SQUARE_WIRE_KAPPA = 2.0
#: the integrands live on scales kappa, 1/kappa, 1 - p and a: panels shrink by _RATIO towards each end; 1e-7 for all kappa
#: between 1e-3 and 1e3 (test)
_RATIO, _PANELS, _NODES = 6.0, 8, 10


@dataclass(frozen=True)
class WireModel:
    """What scatters electrons in a wire beyond its bulk.

    Parameters
    ----------
    specularity : p, share of electrons that the surface reflects as a mirror, 0 to 1
    reflection : R of a grain boundary, 0 to below 1
    grain_size : D, mean distance of boundaries along the wire in Angstrom, or "diameter" for D = d, as found in
        narrow interconnects
    geometry : "round", "square" (an approximation, d at least 2 lambda) or "film"; d is diameter, side, thickness
    combination : "combined" or "matthiessen", see above

    Raises
    ------
    InputError : a value outside its range
    """

    specularity: float = 0.0
    reflection: float = 0.0
    grain_size: float | Literal["diameter"] = "diameter"
    geometry: Geometry = "round"
    combination: Combination = "combined"

    def __post_init__(self) -> None:
        _in_range("specularity", self.specularity, 0.0, 1.0)
        _in_range("reflection", self.reflection, 0.0, 1.0, below=True)
        if self.grain_size != "diameter":
            _positive("grain_size", self.grain_size, "Angstrom, or 'diameter'", infinite=True)
        for name, allowed in (("geometry", get_args(Geometry)), ("combination", get_args(Combination))):
            if getattr(self, name) not in allowed:
                raise InputError(name, getattr(self, name), ", ".join(allowed))
        if self.geometry == "square" and self.combination == "combined" and 0 < self.reflection:
            raise InputError("combination", self.combination, "matthiessen for a square wire with grain boundaries")

    def resistivity(self, rho_bulk: float, rho_lambda: float, diameter: float) -> float:
        """Resistivity of the wire, in the unit of `rho_bulk`.

        Parameters
        ----------
        rho_bulk : of the bulk metal at the temperature in question
        rho_lambda : resistivity times mean free path, in the unit of `rho_bulk` times Angstrom
        diameter : Angstrom

        Raises
        ------
        InputError : a value that is not positive and finite; a square wire thinner than its formula allows
        """
        _positive("rho_bulk", rho_bulk, "same unit as rho_lambda per Angstrom")
        _positive("rho_lambda", rho_lambda, "unit of rho_bulk times Angstrom")
        _positive("diameter", diameter, "Angstrom")
        path = rho_lambda / rho_bulk
        grain = diameter if self.grain_size == "diameter" else float(self.grain_size)
        alpha = path / grain * self.reflection / (1 - self.reflection)
        kappa, p = diameter / path, self.specularity
        if self.combination == "combined":
            return rho_bulk * self._surface(kappa, p, alpha)
        return rho_bulk * (self._surface(kappa, p, 0.0) + 1 / grain_conductivity(alpha) - 1)

    def _surface(self, kappa: float, p: float, alpha: float) -> float:
        """rho/rho0 with the surface of the geometry."""
        if self.geometry == "square":
            return square_wire_ratio(kappa, p)
        return 1 / (round_wire_conductivity if self.geometry == "round" else film_conductivity)(kappa, p, alpha)


def wire_resistivity(
    rho_bulk: float,
    rho_lambda: float,
    diameter: float,
    specularity: float,
    grain_size: float | Literal["diameter"],
    reflection: float,
) -> float:
    """Resistivity of a round wire, in the unit of `rho_bulk`: `WireModel.resistivity` with its other defaults.

    rho_lambda in the unit of rho_bulk times Angstrom, diameter and grain_size in Angstrom. Raises InputError.
    """
    return WireModel(specularity, reflection, grain_size).resistivity(rho_bulk, rho_lambda, diameter)


def grain_conductivity(alpha: float) -> float:
    """rho0/rho of Mayadas and Shatzkes, 3 int_0^1 x^3/(x + alpha) dx, for alpha = (lambda/D) R/(1 - R) >= 0."""
    if alpha == 0:
        return 1.0
    if alpha < 1:
        return 3 * (1 / 3 - alpha / 2 + alpha**2 - alpha**3 * math.log1p(1 / alpha))
    x, weight = _gauss(24)  # the closed form loses digits as alpha^4; the integrand is smooth here
    x, weight = (x + 1) / 2, weight / 2
    return float(3 * weight @ (x**3 / (x + alpha)))


@lru_cache(maxsize=4096)
def round_wire_conductivity(kappa: float, p: float, alpha: float = 0.0) -> float:
    """rho0/rho of a round wire of diameter kappa lambda, with grain boundaries of strength alpha ("combined").

    kappa -> oo: 1 - 3(1-p)/(4 kappa);  kappa -> 0: kappa (1+p)/(1-p)  (both without grains).
    """
    theta, theta_weight = _graded(0.5 * math.pi, both_ends=True)
    psi, psi_weight = _graded(0.5 * math.pi)
    h = _shortening(np.cos(theta), alpha)
    x = kappa * np.sin(psi) / (h * np.sin(theta))[:, None]
    # path lambda h [1 - (1-p) E(x)/x] averaged over the chord: both terms in one, as their difference is small for kappa -> 0
    weight = theta_weight * np.sin(theta) * np.cos(theta) ** 2 * h
    chord = psi_weight * np.sin(psi) ** 2
    return float(12 / math.pi * weight @ _kept(x, p) @ chord)


@lru_cache(maxsize=4096)
def film_conductivity(kappa: float, p: float, alpha: float = 0.0) -> float:
    """rho0/rho along a film of thickness kappa lambda, with grain boundaries of strength alpha ("combined").

    kappa -> oo: 1 - 3(1-p)/(8 kappa);  kappa -> 0: (3 kappa/4)(1+p)/(1-p) ln(1/kappa)  (both without grains).
    """
    u, u_weight = _graded(1.0, both_ends=True)  # u = 1/t: cosine of the angle with the normal of the film
    if alpha == 0:
        return float(1.5 * (u_weight * (1 - u**2)) @ _kept(kappa / u, p))
    phi, phi_weight = _graded(0.5 * math.pi, both_ends=True)
    h = _shortening(np.sqrt(1 - u**2)[:, None] * np.cos(phi), alpha)
    kept = _kept(kappa / (h * u[:, None]), p)
    return float(6 / math.pi * (u_weight * (1 - u**2)) @ (h * kept) @ (phi_weight * np.cos(phi) ** 2))


def square_wire_ratio(kappa: float, p: float) -> float:
    """rho/rho0 of a square wire of side kappa lambda: 1 + 3(1-p)/(4 kappa), first order in 1/kappa.

    The usual formula for interconnects. Raises InputError below kappa = SQUARE_WIRE_KAPPA; there it is 5 % below
    `diffuse_square_wire_conductivity` for p = 0, and 1 % at kappa = 5 (test).
    """
    if kappa < SQUARE_WIRE_KAPPA:
        raise InputError("diameter", f"{kappa:.3g} mean free paths",
                         f"{SQUARE_WIRE_KAPPA:g} mean free paths or more for a square wire; 'round' has no such limit")
    return 1 + 0.75 * (1 - p) / kappa


def diffuse_square_wire_conductivity(kappa: float) -> float:
    """rho0/rho of a square wire with p = 0, exact: Chambers' integral over the chords of a square.

    A direction at angle phi <= pi/4 to a side draws full chords 1/cos(phi) over the width cos(phi) - sin(phi), and chords
    from nothing to that length over two widths sin(phi).
    """
    theta, theta_weight = _graded(0.5 * math.pi, both_ends=True)
    phi, phi_weight = _graded(0.25 * math.pi)
    x = kappa / (np.cos(phi) * np.sin(theta)[:, None])
    over = (1 - np.tan(phi)) * _kept(x, 0.0)
    corners = 2 * np.tan(phi) * _kept_in_corner(x)
    return float(12 / math.pi * (theta_weight * np.sin(theta) * np.cos(theta) ** 2) @ (over + corners) @ phi_weight)


# pieces


def _kept(x: Floats, p: float) -> Floats:
    """1 - (1 - p) E(x)/x: the share of the free path that is left on average along a chord of x free paths."""
    loss = -np.expm1(-x)
    near = x < 1e-3
    far = 1 - (1 - p) * loss / (x * (1 - p + p * loss))
    # for short chords the two terms cancel: x - loss by its series
    less = x**2 * (0.5 - x / 6 + x**2 / 24 - x**3 / 120)
    close = ((1 - p) * less + p * x * loss) / (x * (1 - p + p * loss))
    return np.asarray(np.where(near, close, far))


def _kept_in_corner(x: Floats) -> Floats:
    """int_0^1 ds s kept(x s) with p = 0: chords that grow evenly from nothing to x free paths."""
    series = sum((-1) ** (n + 1) * x**n / math.factorial(n + 2) for n in range(1, 12))
    return np.asarray(np.where(x < 0.5, series, 0.5 - 1 / x - np.expm1(-x) / x**2))


def _shortening(cosine: Floats, alpha: float) -> Floats:
    """h = path with grain boundaries over path without them, cos/(cos + alpha)."""
    return cosine / (cosine + alpha) if alpha else np.ones_like(cosine)


@lru_cache(maxsize=4)
def _gauss(n: int) -> tuple[Floats, Floats]:
    x, weight = np.polynomial.legendre.leggauss(n)
    return x, weight


@lru_cache(maxsize=16)
def _graded(end: float, both_ends: bool = False) -> tuple[Floats, Floats]:
    """Nodes and weights on (0, end), Gauss-Legendre in panels that shrink towards 0, or towards both ends."""
    x, weight = _gauss(_NODES)
    edges = np.concatenate([[0.0], _RATIO ** np.arange(-_PANELS, 0.5)])
    if both_ends:
        edges = 0.5 * edges
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    nodes = (middle[:, None] + half[:, None] * x).ravel()
    weights = (half[:, None] * weight).ravel()
    if both_ends:
        nodes, weights = np.concatenate([nodes, 1 - nodes[::-1]]), np.concatenate([weights, weights[::-1]])
    nodes, weights = end * nodes, end * weights
    for array in (nodes, weights):
        array.setflags(write=False)
    return nodes, weights


def _in_range(name: str, value: float, low: float, high: float, below: bool = False) -> None:
    allowed = f"{low:g} to {'below ' if below else ''}{high:g}"
    if not _is_number(value) or not low <= value <= high or (below and value == high):
        raise InputError(name, value, allowed)


def _positive(name: str, value: object, unit: str, infinite: bool = False) -> None:
    if not _is_number(value) or not 0 < float(value) or (float(value) == math.inf and not infinite):  # type: ignore[arg-type]
        raise InputError(name, value, f"a positive number, {unit}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and value == value
