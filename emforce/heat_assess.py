"""From K(eps) of a hop and the transport function of its host to Q_el and S with uncertainties.

The uncertainty is the quadrature of named parts, each the change of the result when one thing is varied and everything else kept:

    scattering_time   tau(eps) ~ 1/DOS(eps) in place of a constant tau
    fermi_energy      K, N and the density of states at E_F -+ fermi_error_eV (largest change)
    interpolation     the spline through every second point of K(eps) in place of that through all; with fewer than seven points
                      least-squares polynomials of order 2 and 3 (largest change)
    smearing          K before it was smeared by the Gaussian delta, to lowest order in its width
    host_smearing     N and the density of states with the second width
    mesh              N and the density of states on the coarser mesh
    wind_slope        K(eps) - K(0) stretched by sigma(K)/max|K(eps)|, sigma(K) without its part from the Fermi energy
    wind_force        that sigma(K) added to K(eps): no change without field, a change of Z* without current
    layers            the differences of K(eps) from K(0) between slabs of another thickness, times the share of the change that
                      is the row's own (`emforce.heat_slabs`; largest change); nan where there is no such slab, none in bulk
    functional, supercell, second_basis, spin_orbit, self_consistency    the difference of K(eps) of a row of the same hop with
                      another one of these (`emforce.heat_variations`; largest change), where there is such a row; sigma(K) above
                      is without them then
    direct            sigma of Z_direct; where that is an interval, half of it
    resistivity       sigma of rho where its source gives one
    host_basis        S times the error of the host against plane waves
    seebeck           Q_el(J=0) with the measured Seebeck coefficient in place of the computed one, where a verified one is known
                      (beyond its temperatures in proportion to T)
    beyond_window     what comes from energies beyond those at which K was computed
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import constants

from emforce.physics.heat import (
    Curve,
    TransportCurves,
    electronic_heat,
    host_thermal,
    mott_seebeck,
    open_circuit_heat,
    sommerfeld_heat,
)
from emforce.physics.lcao import Floats

BOLTZMANN_eV = constants.k / constants.e
#: k_B/e in uV/K
SEEBECK_UNIT = BOLTZMANN_eV * 1e6
NAN = math.nan


@dataclass(frozen=True)
class HopWind:
    """K of a hop against energy, and what is known about its error.

    Attributes
    ----------
    k : uOhm cm; k_sigma : standard uncertainty of K without its part from the Fermi energy
    width : of the Gaussian delta in K, eV
    fermi_error : uncertainty of the Fermi energy, eV
    z_direct, z_direct_sigma : nan where it was not computed; an interval counts with its middle and half of its length
    other_slabs : K between slabs of another thickness, and the share of the change that is this row's error; None in bulk
    changes : of K with other settings, by part of sigma; `k_sigma` is without these parts
    """

    k: Curve
    k_sigma: float
    width: float
    fermi_error: float
    z_direct: float = NAN
    z_direct_sigma: float = NAN
    other_slabs: tuple[tuple[Curve, float], ...] | None = ()
    changes: Mapping[str, Sequence[Curve]] = field(default_factory=dict)


@dataclass(frozen=True)
class HostCurves:
    """Transport function of a host: served, with the second width, on the coarser mesh; relative error against plane waves."""

    served: TransportCurves
    wider: TransportCurves
    coarser: TransportCurves
    error: float


@dataclass(frozen=True)
class Surroundings:
    """Temperature in K, resistivity in the unit of K with its uncertainty (None: unknown), measured S in uV/K (None: unknown)."""

    temperature_K: float
    rho: float
    rho_sigma: float | None = None
    seebeck_measured: float | None = None


@dataclass(frozen=True)
class Estimated:
    """A value with the named parts of its uncertainty."""

    value: float
    parts: Mapping[str, float]

    @property
    def sigma(self) -> float:
        """The parts in quadrature; those that are nan were not estimated."""
        known = [part for part in self.parts.values() if not math.isnan(part)]
        return NAN if math.isnan(self.value) else math.hypot(*known)


@dataclass(frozen=True)
class ElectronicPoint:
    """Electronic heat of transport at one temperature; > 0: towards the cold end.

    Attributes
    ----------
    temperature_K
    q : Q_el(E=0), eV; q_open : Q_el(J=0), eV, nan without a direct valence
    seebeck : uV/K
    share : of q from beyond the window of K
    z_wind, norm, mu : thermal averages of Z_wind and of N/N(0), chemical potential in eV
    inverse_dos : q, q_open and seebeck with tau ~ 1/DOS(eps)
    sommerfeld, mott : q and seebeck to lowest order in T
    """

    temperature_K: float
    q: Estimated
    q_open: Estimated
    seebeck: Estimated
    share: float
    inverse_dos: tuple[float, float, float]
    sommerfeld: float
    mott: float
    z_wind: float
    norm: float
    mu: float


@dataclass(frozen=True)
class _Case:
    """One variant: what the three results are made from."""

    k: Curve
    host: TransportCurves
    z_direct: float
    scattering: str = "constant"

    def results(self, kT: float, rho: float) -> Floats:
        """Q(E=0) in eV, Q(J=0) in eV, S in k_B/e."""
        thermal = host_thermal(self.host, kT, self.scattering)
        found = electronic_heat(self.k, rho, self.host, thermal)
        return np.array([found.q, open_circuit_heat(found.q, found.z_wind + self.z_direct, thermal.seebeck, kT), thermal.seebeck])


def electronic_points(wind: HopWind, host: HostCurves, at: Sequence[Surroundings]) -> list[ElectronicPoint]:
    """Q_el and S at several temperatures. See the head of the file for the parts of the uncertainty."""
    base = _Case(wind.k, host.served, wind.z_direct)
    variants = _variants(wind, host)
    return [_point(wind, host, here, base, variants) for here in at]


def _point(
    wind: HopWind, host: HostCurves, at: Surroundings, base: _Case, variants: Mapping[str, Sequence[_Case]]
) -> ElectronicPoint:
    kT, rho = BOLTZMANN_eV * at.temperature_K, at.rho
    thermal = host_thermal(host.served, kT)
    found = electronic_heat(wind.k, rho, host.served, thermal)
    z_star = found.z_wind + wind.z_direct
    values = base.results(kT, rho)
    parts = {name: np.max([np.abs(case.results(kT, rho) - values) for case in cases], axis=0) for name, cases in variants.items()}
    outside, error = abs(found.outside), host.error * abs(thermal.seebeck)
    measured = NAN if at.seebeck_measured is None else abs(at.seebeck_measured / SEEBECK_UNIT - thermal.seebeck)
    unknown = np.array([NAN, NAN, 0.0])
    parts |= {
        "host_basis": np.array([0.0, kT * abs(z_star) * error, error]),
        "beyond_window": np.array([outside, outside, 0.0]),
        "seebeck": np.array([0.0, kT * abs(z_star) * measured, 0.0]),
        "resistivity": unknown if at.rho_sigma is None else np.abs(base.results(kT, rho + at.rho_sigma) - values),
    }
    if wind.other_slabs is not None:
        parts.setdefault("layers", unknown)
    scale = np.array([1.0, 1.0, SEEBECK_UNIT])
    q, q_open, seebeck = (
        Estimated(float(values[i] * scale[i]), {name: float(part[i] * scale[i]) for name, part in parts.items()})
        for i in range(3)
    )
    other = variants["scattering_time"][0].results(kT, rho) * scale
    return ElectronicPoint(
        at.temperature_K, q, q_open, seebeck, found.share, (float(other[0]), float(other[1]), float(other[2])),
        sommerfeld_heat(wind.k.slope(), rho, kT), mott_seebeck(host.served, kT) * SEEBECK_UNIT,
        found.z_wind, thermal.norm, thermal.mu,
    )  # fmt: skip


def _toward(k: Curve, other: Curve, share: float) -> Curve:
    """The curve k with that share of the other one's differences from its value at the Fermi energy in place of its own."""
    shape = other(k.energies) - float(other(0.0)) - (k.values - float(k(0.0)))
    return Curve(k.energies, k.values + share * shape, k.order)


def _variants(wind: HopWind, host: HostCurves) -> dict[str, Sequence[_Case]]:
    k, curves, z = wind.k, host.served, wind.z_direct
    relative = wind.k_sigma / float(np.abs(k.values).max()) if np.any(k.values) else 0.0
    slabs = [_Case(_toward(k, other, share), curves, z) for other, share in wind.other_slabs or ()]
    found: dict[str, Sequence[_Case]] = {"layers": slabs} if slabs else {}
    for part, changes in wind.changes.items():
        found[part] = [_Case(Curve(k.energies, k.values + change(k.energies), k.order), curves, z) for change in changes]
    return found | {
        "scattering_time": [_Case(k, curves, z, "inverse dos")],
        "fermi_energy": [_Case(k.shifted(d), curves.shifted(d), z) for d in (-wind.fermi_error, wind.fermi_error)],
        "interpolation": [_Case(other, curves, z) for other in k.alternatives()],
        "smearing": [_Case(k.sharpened(wind.width), curves, z)],
        "host_smearing": [_Case(k, host.wider, z)],
        "mesh": [_Case(k, host.coarser, z)],
        "wind_slope": [_Case(k.tilted(1 + relative), curves, z)],
        "wind_force": [_Case(k.tilted(1.0, wind.k_sigma), curves, z)],
        "direct": [_Case(k, curves, z + (0.0 if math.isnan(wind.z_direct_sigma) else wind.z_direct_sigma))],
    }


__all__ = ["BOLTZMANN_eV", "ElectronicPoint", "Estimated", "HopWind", "HostCurves", "Surroundings", "electronic_points"]
