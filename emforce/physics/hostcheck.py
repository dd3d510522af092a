"""The standing check of a host: its bands against plane waves.

A local basis is only as good as the bands it gives at the Fermi level. Every host is compared with the plane-wave
reference of the same metal (same PAW setup, functional, lattice constant, mesh and smearing) in three numbers; a host
beyond tolerance is marked, and not served as a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerance:
    """What a host must reach.

    Attributes
    ----------
    band_rms : largest rms band error within `window` of the Fermi level (eV)
    dos, omega_p : largest relative error of the density of states and of the plasma frequency
    overlap : smallest eigenvalue of S(k) allowed; below it the basis is linearly dependent
    window : half width of the energy window of the band comparison (eV)
    """

    band_rms: float = 0.15
    dos: float = 0.05
    omega_p: float = 0.05
    overlap: float = 1e-4
    window: float = 2.0

    def __post_init__(self) -> None:
        for name in ("band_rms", "dos", "omega_p", "overlap", "window"):
            if not getattr(self, name) > 0:
                raise InputError(f"host tolerance: {name}", getattr(self, name), "a number above zero")


@dataclass(frozen=True)
class HostCheck:
    """Outcome of the comparison of one host with plane waves.

    Attributes
    ----------
    band_rms, band_max : rms and largest band error within the window (eV)
    bands_compared : number of reference energies (point and band) in the window
    dos_ratio, omega_p_ratio : LCAO over plane waves
    overlap_min : smallest eigenvalue of S(k) found
    passed : all within tolerance
    reasons : what is beyond tolerance, in words with value and limit; empty if passed
    """

    band_rms: float
    band_max: float
    bands_compared: int
    dos_ratio: float
    omega_p_ratio: float
    overlap_min: float
    passed: bool
    reasons: tuple[str, ...]


def band_errors(bands: Floats, reference: Floats, window: float) -> Floats:
    """Errors (eV) of the reference energies within the window, as one list.

    Both band sets are (points, bands), in eV relative to their own Fermi level, at the same points. Bands are matched
    in order of energy from the lowest one, so both must start at the same valence band.
    """
    bands, reference = np.sort(bands, axis=1), np.sort(reference, axis=1)
    if bands.shape[0] != reference.shape[0]:
        raise InputError("bands", bands.shape, f"the {reference.shape[0]} points of the reference path")
    inside = np.abs(reference) <= window
    needed = int(np.flatnonzero(inside.any(axis=0)).max(initial=-1)) + 1
    if needed == 0:
        raise InputError("reference", window, "a reference with bands within the window")
    if bands.shape[1] < needed:
        raise InputError("bands", bands.shape, f"at least {needed} bands, as many as the reference has in the window")
    return (bands[:, :needed] - reference[:, :needed])[inside[:, :needed]]


def compare_host(bands: Floats, reference_bands: Floats, *, dos: tuple[float, float], omega_p: tuple[float, float],
                 overlap_min: float, tolerance: Tolerance | None = None) -> HostCheck:
    """Compare a host with plane waves.

    Parameters
    ----------
    bands, reference_bands : (points, bands) on the same path, eV, each relative to its own dense-mesh Fermi level
    dos : density of states at the Fermi level of the host and of the reference (same unit; same mesh and smearing)
    omega_p : hbar times plasma frequency of the host and of the reference (same mesh and smearing)
    overlap_min : smallest eigenvalue of the host's S(k), on and off its mesh
    tolerance : limits; those of `Tolerance` if not given

    Raises
    ------
    InputError : arrays that do not belong together, or values that are not above zero
    """
    limits = Tolerance() if tolerance is None else tolerance
    for name, pair in (("dos", dos), ("omega_p", omega_p)):
        if not (np.isfinite(pair).all() and min(pair) > 0):
            raise InputError(f"host check: {name}", pair, "two finite numbers above zero (host, reference)")
    errors = band_errors(bands, reference_bands, limits.window)
    rms = float(np.sqrt(np.mean(errors**2)))
    dos_ratio, omega_p_ratio = dos[0] / dos[1], omega_p[0] / omega_p[1]
    reasons = []
    if not rms <= limits.band_rms:
        reasons.append(f"band rms error {rms:.3f} eV above {limits.band_rms} eV")
    if not abs(dos_ratio - 1) <= limits.dos:
        reasons.append(f"DOS(E_F) {100 * (dos_ratio - 1):+.1f} % off plane waves, limit {100 * limits.dos:g} %")
    if not abs(omega_p_ratio - 1) <= limits.omega_p:
        reasons.append(f"plasma frequency {100 * (omega_p_ratio - 1):+.1f} % off plane waves, "
                       f"limit {100 * limits.omega_p:g} %")
    if not overlap_min >= limits.overlap:
        reasons.append(f"smallest overlap eigenvalue {overlap_min:.1e} below {limits.overlap:g}")
    return HostCheck(rms, float(np.abs(errors).max()), errors.size, float(dos_ratio), float(omega_p_ratio),
                     float(overlap_min), not reasons, tuple(reasons))


def joined_path(distance: Floats, labels: Mapping[int, str]) -> tuple[Floats, tuple[tuple[float, str], ...]]:
    """Distances (n,) along a band path without its jumps, and its special points: distance and name, two that meet as "U|K".

    labels : name of a special point by index, increasing; two that follow each other at once are a jump
    """
    steps = np.diff(distance, prepend=distance[0])
    for i in labels:
        if i + 1 in labels:
            steps[i + 1] = 0.0
    path = np.asarray(np.cumsum(steps))
    names: dict[float, str] = {}
    for i, letter in labels.items():
        at = float(path[i])
        names[at] = f"{names[at]}|{letter}" if at in names else letter
    return path, tuple(names.items())
