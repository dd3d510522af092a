"""D(T) = D0 exp(-E_a/k_BT) of the network that a hop and its symmetry-equivalent hops make.

An adatom walks over all hops that the symmetry of its facet makes of the one hop; D is that of the adatom itself, its mean
over the directions of the surface (trace/2), with the tensor in `Diffusion.details`:

    fcc(100), bcc(100)   square lattice            D = Gamma l^2
    bcc(110)             four hops along <111>     D = 2/3 (along [001]: x) and 4/3 (along [1-10]: y) Gamma l^2
    fcc(110)             one direction             D = Gamma l^2 along it and none across it: mean 1/2 Gamma l^2
    fcc(111)             fcc and hcp sites         D = (3/2) l^2 Gamma_f Gamma_r/(Gamma_f + Gamma_r)

Gamma = nu0 exp(-E_m/k_BT). On (111) two exponentials are involved (forward and reverse barrier), so that D0 and E_a come from a
straight line through ln D at stated temperatures; far below the difference of the barriers E_a is the larger of the two.

Vacancy: self-diffusion D = f c_v D_v with D_v of the vacancy's own network (fcc 2 Gamma l^2, bcc 4/3 Gamma l^2), f its
correlation factor and c_v = exp(S_f/k_B) exp(-E_f/k_BT): E_a = E_f + E_m. Where the formation entropy S_f is not known D0 lacks
its factor. Without a formation energy D is that of the vacancy.

Uncertainty: ln D0 takes those of ln nu0 and S_f/k_B, E_a those of E_m and E_f, as independent.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emforce import units
from emforce.errors import InputError
from emforce.physics.diffusion import (
    arrhenius,
    network_diffusivity,
    stationary_shares,
    vacancy_correlation_factor,
)
from emforce.sites import ADATOM_HOPS, VACANCY_HOPS
from emforce.spec import Spec

Floats = NDArray[np.float64]

#: where a D that is not exactly of the Arrhenius form is turned into D0 and E_a
TEMPERATURES_K = (300.0, 400.0, 500.0, 600.0, 700.0)
#: internal units of D: Angstrom² THz
_A2_THZ_IN_M2_S = 1e-20 * 1e12

#: rotations (degrees) and mirrors of a facet about an adatom site; hop vectors go over into equivalent ones
_TURNS = MappingProxyType({("fcc", "100"): 90, ("bcc", "100"): 90, ("fcc", "111"): 120, ("fcc", "110"): 180, ("bcc", "110"): 180})


@dataclass(frozen=True)
class HopRate:
    """Rate nu0 exp(-E_m/k_BT) of a hop, and what a diffusion coefficient needs beside it.

    Fields
    ------
    nu0_THz, barrier_eV : attempt frequency and barrier, with their standard uncertainties
    formation_energy_eV : of the vacancy; None where not known (not used for an adatom)
    formation_entropy_kB : of the vacancy, S_f/k_B; None where not known
    reverse_nu0_THz, reverse_barrier_eV : of the hop back, for a hop whose two ends differ; without a reverse attempt
        frequency that of the hop is taken
    """

    nu0_THz: float
    nu0_sigma_THz: float
    barrier_eV: float
    barrier_sigma_eV: float
    formation_energy_eV: float | None = None
    formation_energy_sigma_eV: float | None = None
    formation_entropy_kB: float | None = None
    formation_entropy_sigma_kB: float | None = None
    reverse_nu0_THz: float | None = None
    reverse_barrier_eV: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("nu0_THz", 1e-9), ("barrier_eV", 0.0), ("reverse_nu0_THz", 1e-9), ("reverse_barrier_eV", 0.0),
                            ("nu0_sigma_THz", 0.0), ("barrier_sigma_eV", 0.0), ("formation_energy_sigma_eV", 0.0),
                            ("formation_entropy_sigma_kB", 0.0), ("formation_energy_eV", -math.inf),
                            ("formation_entropy_kB", -math.inf)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise InputError(name, value, "a finite number" if least == -math.inf else f"a finite number, {least:g} or more")


@dataclass(frozen=True)
class Diffusion:
    """D(T) = d0_m2_s exp(-ea_eV/k_BT).

    Fields
    ------
    condition : what diffuses, over which hops, and what was left out
    correlation : correlation factor f contained in D0 (1: none)
    details : JSON-ready: "tensor_per_mean" D_ij/D with axes x along the first surface vector (cubic axes in the bulk),
        "hops_per_site", "hop_length_A", and for two kinds of site the temperatures of the line, D there, the largest
        deviation of ln D from it, and the shares of time on the two kinds
    """

    d0_m2_s: float
    d0_sigma_m2_s: float
    ea_eV: float
    ea_sigma_eV: float
    condition: str
    correlation: float = 1.0
    details: dict[str, Any] = field(default_factory=dict)

    def at(self, temperature_K: float) -> float:
        """D in m²/s at a temperature."""
        return self.d0_m2_s * math.exp(-self.ea_eV / (units.K * temperature_K))


@dataclass(frozen=True, eq=False)
class HopNetwork:
    """Sites and equivalent hops: kinds left and reached (hops,), vectors (hops, 2 or 3) in Angstrom, sense (0 hop, 1 reverse)."""

    origin: NDArray[np.intp]
    target: NDArray[np.intp]
    vectors: Floats
    reverse: NDArray[np.intp]

    @property
    def kinds(self) -> int:
        """Number of kinds of sites."""
        return int(self.origin.max()) + 1

    def diffusivity(self, rate: float, reverse_rate: float) -> Floats:
        """D (n, n) in Angstrom² × unit of the rates."""
        rates = np.where(self.reverse == 1, reverse_rate, rate)
        return network_diffusivity(self.origin, self.target, self.vectors, rates)

    def shares(self, rate: float, reverse_rate: float) -> Floats:
        """Share of time on each kind of site."""
        return stationary_shares(self.origin, self.target, np.where(self.reverse == 1, reverse_rate, rate))


def hop_network(spec: Spec, structure: str, lattice_constant_A: float) -> HopNetwork:
    """All hops that the symmetry of the facet (or the lattice) makes of the hop of a specification.

    Raises `InputError` for kind "files", whose network is not known, and a lattice constant that is not positive.
    """
    if not 0 < lattice_constant_A < math.inf:
        raise InputError("lattice_constant_A", lattice_constant_A, "a positive number of Angstrom")
    if spec.kind == "vacancy":
        vectors = lattice_constant_A * np.array(_vacancy_vectors(structure, spec.hop)) / 2
        zeros = np.zeros(len(vectors), dtype=np.intp)
        return HopNetwork(zeros, zeros, vectors, zeros)
    if spec.kind != "adatom" or (structure, spec.facet) not in _TURNS:
        raise InputError("kind", spec.kind, "adatom on a facet of spec.py, or vacancy: the hop network of files is not known")
    start, end = (np.array(p) for p in ADATOM_HOPS[structure, spec.facet][spec.hop])
    vectors = lattice_constant_A * _equivalent(end - start, facet_operations(structure, spec.facet))
    n = len(vectors)
    if spec.facet == "111" and structure == "fcc":  # the two ends are different sites; the way back leaves the other one
        kinds = np.repeat([0, 1], n).astype(np.intp)
        return HopNetwork(kinds, 1 - kinds, np.concatenate([vectors, -vectors]), kinds)
    zeros = np.zeros(n, dtype=np.intp)
    return HopNetwork(zeros, zeros, vectors, zeros)


def facet_operations(structure: str, facet: str) -> Floats:
    """Rotations and mirrors (n, 2, 2) of a facet about an adatom site: turns, and x -> -x after each."""
    angles = np.radians(np.arange(0, 360, _TURNS[structure, facet]))
    turns = np.array([[[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]] for a in angles])
    return np.concatenate([turns, np.diag([-1.0, 1.0]) @ turns])


def _equivalent(vector: Floats, operations: Floats) -> Floats:
    """Images of an in-plane vector under the operations of a facet, each once."""
    found: list[Floats] = []
    for image in operations @ vector:
        if not any(np.linalg.norm(image - other) < 1e-6 for other in found):
            found.append(image)
    return np.array(found)


def _vacancy_vectors(structure: str, hop: str) -> tuple[tuple[int, int, int], ...]:
    """Neighbour vectors in units of a/2: all permutations and signs of the hop's."""
    first = tuple(round(2 * abs(x)) for x in VACANCY_HOPS[structure][hop])
    found = {tuple(s * x for s, x in zip(signs, order, strict=True))
             for order in itertools.permutations(first) for signs in itertools.product((-1, 1), repeat=3)}  # fmt: skip
    return tuple(sorted((int(x), int(y), int(z)) for x, y, z in found))


def diffusion_of_hop(spec: Spec, structure: str, lattice_constant_A: float, rate: HopRate) -> Diffusion:
    """D0 and E_a of the network of a hop, see the head of this file.

    Parameters
    ----------
    structure : "fcc" or "bcc"
    lattice_constant_A : of the crystal, Angstrom

    Raises
    ------
    InputError : kind "files"; a hop between different sites without `rate.reverse_barrier_eV`
    """
    network = hop_network(spec, structure, lattice_constant_A)
    details: dict[str, Any] = {
        "hops_per_site": len(network.origin) // network.kinds,
        "hop_length_A": float(np.linalg.norm(network.vectors[0])),
    }
    if network.kinds > 1:
        return _two_kinds(spec, network, rate, details)
    tensor = network.diffusivity(rate.nu0_THz, rate.nu0_THz)
    mean = float(np.trace(tensor)) / len(tensor)
    details["tensor_per_mean"] = (tensor / mean).tolist()
    energy, sigma, factor, text = rate.barrier_eV, rate.barrier_sigma_eV, 1.0, _adatom_text(spec, tensor, mean)
    filled, spread = 1.0, rate.nu0_sigma_THz / rate.nu0_THz
    if spec.kind == "vacancy":
        text = "diffusion of the vacancy itself: its formation energy is not known"
        if rate.formation_energy_eV is not None:
            factor = vacancy_correlation_factor(_vacancy_vectors(structure, spec.hop))
            energy += rate.formation_energy_eV
            sigma = math.hypot(sigma, rate.formation_energy_sigma_eV or 0.0)
            text = f"tracer self-diffusion by single vacancies in equilibrium, correlation factor {factor:.5f}; "
            if rate.formation_entropy_kB is None:
                text += "the formation entropy of the vacancy is not computed, D0 lacks exp(S_f/k_B)"
            else:
                filled = math.exp(rate.formation_entropy_kB)
                spread = math.hypot(spread, rate.formation_entropy_sigma_kB or 0.0)
                text += f"D0 with exp(S_f/k_B), S_f = {rate.formation_entropy_kB:.2f} k_B"
            if rate.formation_energy_sigma_eV is None:
                text += "; the uncertainty of the formation energy is not known and not contained"
    d0 = filled * factor * mean * _A2_THZ_IN_M2_S
    return Diffusion(d0, d0 * spread, energy, sigma, text, factor, details)


def _adatom_text(spec: Spec, tensor: Floats, mean: float) -> str:
    text = f"tracer diffusion of one {spec.species} adatom on the terrace by this hop alone"
    ratios = np.linalg.eigvalsh(tensor) / mean
    if ratios[-1] - ratios[0] > 1e-9:
        x, y = np.diag(tensor) / mean
        text += f"; mean of the two directions of an anisotropic surface: along the first surface vector {x:.3f} times it, " \
                f"across {y:.3f} times"  # fmt: skip
    return text


def _two_kinds(spec: Spec, network: HopNetwork, rate: HopRate, details: dict[str, Any]) -> Diffusion:
    """Line through ln D at TEMPERATURES_K; both barriers share one uncertainty, as do both attempt frequencies."""
    if rate.reverse_barrier_eV is None:
        raise InputError("reverse_barrier_eV", None, f"the barrier of the way back: the ends of {spec.hop} differ")
    back_nu0 = rate.nu0_THz if rate.reverse_nu0_THz is None else rate.reverse_nu0_THz
    pairs = [(rate.nu0_THz * math.exp(-rate.barrier_eV / (units.K * T)),
              back_nu0 * math.exp(-rate.reverse_barrier_eV / (units.K * T))) for T in TEMPERATURES_K]  # fmt: skip
    tensors = np.array([network.diffusivity(*pair) for pair in pairs])
    values = np.trace(tensors, axis1=1, axis2=2) / 2 * _A2_THZ_IN_M2_S
    d0, ea, deviation = arrhenius(TEMPERATURES_K, values, units.K)
    details |= {
        "tensor_per_mean": (2 * tensors[0] / np.trace(tensors[0])).tolist(),
        "line_temperature_K": list(TEMPERATURES_K), "line_d_m2_s": values.tolist(), "line_largest_deviation_of_ln_d": deviation,
        "line_share_of_first_site": [float(network.shares(*pair)[0]) for pair in pairs],
    }  # fmt: skip
    first, second = spec.hop.split("-bridge-")
    text = (f"tracer diffusion of one {spec.species} adatom on the terrace over {first} and {second} sites; D0 and E_a from a "
            f"straight line through ln D at {TEMPERATURES_K[0]:.0f} to {TEMPERATURES_K[-1]:.0f} K (largest deviation of ln D "
            f"{deviation:.2g})")  # fmt: skip
    return Diffusion(d0, d0 * rate.nu0_sigma_THz / rate.nu0_THz, ea, rate.barrier_sigma_eV, text, 1.0, details)
