"""Wind force of the scattering electrons on a mover, at one energy.

    m[a, b] = Tr[(dH'/du_a - E dS'/du_a) X B_b X^dagger]        eV; field along b, force along a
    Z_wind = tau m,   K = m Omega / (e^2 N),   Z_wind = K / rho    K in Angstrom (hbar/e^2); 41.0824 uOhm cm each

Z > 0 is along the field, against the electrons (upwind). A state that carries current along +k and is scattered
back pushes the mover along +k: <dH/du> < 0, m < 0, downwind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emforce.errors import InputError
from emforce.physics.embedding import (
    NEW_ORBITAL_ENERGY,
    RegionSites,
    add_decoupled,
    assemble,
    remove_orbitals,
    traces,
)
from emforce.physics.fermi import HostTables
from emforce.physics.lcao import Floats, Ints
from emforce.physics.perturbation import Perturbation
from emforce.physics.spin_orbit import SpinOrbitChange, added


@dataclass(frozen=True)
class Wind:
    """Wind tensor at one energy.

    Attributes
    ----------
    m : (3, 3) eV, [force axis, field axis]; NaN where the derivative along the force axis was not computed
    energy : eV, on the scale of the host tables
    radius : of the region, A; orbitals : its size
    condition : condition number of 1 - G0 W
    """

    m: Floats
    energy: float
    radius: float
    orbitals: int
    condition: float


def region(perturbation: Perturbation, radius: float) -> tuple[Ints, Ints]:
    """Sites and removed sites within `radius` (A) of the mover."""
    kept = np.flatnonzero(perturbation.site_distance <= radius)
    removed = np.flatnonzero(perturbation.removed_distance <= radius)
    if len(removed) < len(perturbation.removed_distance):
        raise InputError("radius", radius, f"at least {perturbation.removed_distance.max():.2f} A, to hold every removed atom")
    if len(kept) == 0:
        raise InputError("radius", radius, f"at least {perturbation.site_distance.min():.2f} A, the nearest host atom")
    return kept, removed


def wind(
    tables: HostTables,
    energy_index: int,
    offsets: Ints,
    perturbation: Perturbation,
    radius: float,
    thick_atom: Ints | None = None,
    energy_shift: float = 0.0,
    coupling: SpinOrbitChange | None = None,
) -> Wind:
    """Wind tensor m of a mover embedded in a host.

    Parameters
    ----------
    tables, offsets : G0 and B of the embedding host, and the first orbital of each of its atoms
    perturbation : of the defect against the host it was computed with
    radius : region, A
    thick_atom : atom of the embedding host for each atom of the defect's own host, where the two differ (thick slab)
    energy_shift : energy zero of the embedding host minus that of the defect's own host, eV
    coupling : what the defect changes in the spin-orbit operator, where the tables are of spinors

    Spinors have 1 x W + sum_v sigma_v x i dA_v and forces of the same form; the trace goes over both spins, which without
    coupling the factor 2 in B counts.
    """
    if (tables.spins == 2) != (coupling is not None):
        raise InputError("coupling", coupling, "given where the tables are of spinors, and only there")
    kept, removed = region(perturbation, radius)
    mapping = np.arange(len(offsets) - 1) if thick_atom is None else thick_atom
    sites = RegionSites(
        np.concatenate([perturbation.sites.cells[kept], perturbation.removed.cells[removed]]),
        mapping[np.concatenate([perturbation.sites.atoms[kept], perturbation.removed.atoms[removed]])],
    )
    g, b = assemble(tables, energy_index, offsets, sites)
    starts = np.concatenate([[0], np.cumsum(perturbation.site_orbitals)])
    orbitals = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in kept])
    each = len(g) // tables.spins
    gone = np.concatenate([spin * each + np.arange(len(orbitals), each) for spin in range(tables.spins)])
    g, b = remove_orbitals(g, b, gone)
    g, b = add_decoupled(g, b, tables.spins * perturbation.new_orbitals, NEW_ORBITAL_ENERGY)

    energy = float(tables.energies[energy_index])
    own = energy - energy_shift
    orbitals = np.concatenate([orbitals, np.arange(starts[-1], len(perturbation.dh))])
    pick = np.ix_(orbitals, orbitals)
    w = perturbation.dh[pick] - own * perturbation.ds[pick]
    n_host = len(orbitals) - perturbation.new_orbitals
    new = np.arange(n_host, len(orbitals))
    # host block of the new orbitals: H0 = E + level, S0 = 1, so W there is H' - E S' - (H0 - E S0)
    w[new, new] -= NEW_ORBITAL_ENERGY
    axes = [axis for axis in range(3) if not np.isnan(perturbation.gradient_h[axis, 0, 0])]
    forces = np.array([perturbation.gradient_h[a][pick] - own * perturbation.gradient_s[a][pick] for a in axes])
    if coupling is not None:
        # the order of G0: host orbitals of both spins, then new ones of both
        order = np.concatenate([spin * len(w) + part for part in (np.arange(n_host), new) for spin in range(2)])
        square = np.ix_(order, order)
        operator, *slopes = (x[:, pick[0], pick[1]] for x in (coupling.change, *(coupling.gradient[a] for a in axes)))
        forces = np.array([added(f, slope)[square] for f, slope in zip(forces, slopes, strict=True)])
        w = added(w, operator)[square]
    m = np.full((3, 3), np.nan)
    m[axes], condition = traces(g, b, w, forces)
    return Wind(m, energy, radius, len(orbitals), condition)


def wind_coefficient(m: Floats, volume: float, n_bulk: float) -> Floats:
    """K = m Omega/(e^2 N) in Angstrom (hbar/e^2); volume (A^3) and N (eV A^2) of the same bulk cell."""
    if n_bulk <= 0 or volume <= 0:
        raise InputError("n_bulk, volume", (n_bulk, volume), "positive numbers")
    return np.asarray(m) * volume / n_bulk


def hop_average(fractions: Floats, values: Floats, symmetric: bool) -> float:
    """(1/|d|^2) integral of d.Z(s).d ds over the hop, from d.Z(s).d/|d|^2 at some fractions s in [0, 1].

    With a mirror plane between the end sites (`symmetric`) values at s also hold at 1 - s. The trapezoidal rule on
    the points that are there, which must include s = 0 and, unless symmetric, s = 1.
    """
    s, v = np.asarray(fractions, float), np.asarray(values, float)
    if symmetric:
        s, v = np.concatenate([s, 1 - s]), np.concatenate([v, v])
    s, first = np.unique(np.round(s, 9), return_index=True)
    v = v[first]
    if not len(s) or s[0] > 1e-6 or s[-1] < 1 - 1e-6:
        raise InputError("fractions", s.tolist(), "points that reach from s = 0 to s = 1")
    return float(np.trapezoid(v, s))
