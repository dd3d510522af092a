"""Kinetic Monte Carlo of one metal from its parameters: adatoms that drift, and the steps of an island."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..materials import material
from .lattice import Floats, SurfaceLattice, lattice_of, layer_lattice
from .parameters import HopParameters
from .terrace import Bonds, Drift, LatticeGas, Torus, drift
from .walkers import Walk, exact_drift_velocity, walk


@dataclass(frozen=True)
class Settings:
    """Size of a run; bonds are settings of the model, not data of a metal (`emforce.models.terrace`).

    Parameters
    ----------
    walkers, hops : single adatoms, and hops of each
    side, atoms : sites along each side of the torus, and atoms of the island
    replicas, events : replicas of the island, and events in each
    bonds : energies in units of k_BT
    seed : of the random numbers
    """

    walkers: int = 4000
    hops: int = 200
    side: int = 16
    atoms: int = 70
    replicas: int = 256
    events: int = 3000
    bonds: Bonds = field(default_factory=lambda: Bonds(4.0, 1.0, 1.0))
    seed: int = 1


@dataclass(frozen=True, eq=False)
class MetalRun:
    """Adatoms and an island of one metal under a current along the first hop.

    Parameters
    ----------
    parameters : of the hop
    current_density_MA_cm2, work_kT : j and w/k_BT of a hop along the field
    lattice : of the adatoms
    walk : adatoms; times in 1/Gamma0
    drift : the island
    tensor : Z in units of its component along the first hop; None: isotropic
    """

    parameters: HopParameters
    current_density_MA_cm2: float
    work_kT: float
    lattice: SurfaceLattice
    walk: Walk
    drift: Drift
    tensor: Floats | None = None

    def summary(self) -> dict[str, float]:
        """Velocities along the field in hops × Gamma0 with standard errors, and the closed form."""
        d, x = self.lattice.hop_length, np.array([1.0, 0.0])
        v, sigma = self.walk.drift_velocity()
        mass, mass_sigma = self.drift.mass_velocity(x)
        step, step_sigma = self.drift.step_velocity()
        exact = float(exact_drift_velocity(self.lattice, self.lattice.bias(self.work_kT, tensor=self.tensor))[0])
        return {"adatom": v[0] / d, "adatom_sigma": sigma[0] / d, "adatom_exact": exact / d, "mass": mass / d,
                "mass_sigma": mass_sigma / d, "steps": step / d, "steps_sigma": step_sigma / d}


def current_for_bias(parameters: Sequence[HopParameters], largest_kT: float) -> float:
    """Current density (MA/cm², > 0) at which the largest |w| of several metals is `largest_kT` times k_BT."""
    if not 0 < largest_kT <= 5:
        raise InputError("bias", largest_kT, "above 0, up to 5 k_BT")
    unit = max(abs(p.work_eV(1.0)) / p.kT_eV for p in parameters)
    if unit == 0:
        raise InputError("z_star", 0.0, "a force other than zero")
    return largest_kT / unit


def run_metal(
    parameters: HopParameters, current_density_MA_cm2: float, settings: Settings, drifts: Mapping[str, float] | None = None
) -> MetalRun:
    """Adatoms and an island under a current along the first hop.

    Z is the same number for all hops, or with `drifts`, its values along the `directions` of the lattice, a tensor. An adatom's
    hop may be half of a hop of the layer (fcc(111)): the work is then that of the longer hop.
    """
    lattice = lattice_of(material(parameters.metal).structure, parameters.facet, parameters.hop_angstrom)
    work = parameters.work_eV(current_density_MA_cm2) / parameters.kT_eV
    tensor = None
    if drifts:
        whole = lattice.tensor(drifts)
        tensor = whole / whole[0, 0]
        work *= float(whole[0, 0]) / parameters.z_star
    adatoms = walk(lattice, lattice.bias(work, tensor=tensor), settings.walkers, settings.hops, settings.seed)
    layer = layer_lattice(lattice)
    torus = Torus.make(layer, (settings.side, settings.side))
    rates = settings.bonds.rates(layer, work * layer.hop_length / lattice.hop_length, tensor=tensor)
    gas = LatticeGas(torus, rates, torus.island(settings.atoms), settings.replicas, settings.seed)
    found = drift(gas, settings.events, max(1, settings.events // 20))
    return MetalRun(parameters, current_density_MA_cm2, work, lattice, adatoms, found, tensor)
