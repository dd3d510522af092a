"""From forces and energies of the stationary points of a hop to its barrier and attempt frequency, with named uncertainties.

Barrier: E(saddle) - E(start) in the local basis, and where plane waves were run their difference of the same structures. With
k_points_check the change with one more k-point along each axis is added, or with as many more as k_points_steps says: the finest
mesh is served, what it changed against the one before is the error.
Parts of its uncertainty (nan: not varied, so not estimated):

    basis       with plane waves: |F.H^-1.F/2 at the saddle - at the start|, F the plane-wave forces on the moving atoms, H the
                Hessian in the local basis: what relaxing in plane waves would change. Without: the error of the bases' forces on
                adatom slabs (BASIS_FORCE_ERROR, measured) as the amplitude of a sine over half the hop d: |d|/pi times it
    relaxation  the same with the forces left in the local basis, both ends in quadrature
    k_points    change with the last k-point more along each periodic axis; where that was not computed, the largest change that
                was seen (K_POINTS_OF_SLAB, K_POINTS_OF_BULK)
    cut         where plane waves corrected the upper layers of a slab alone: what one layer more was seen to change (CUT_BARRIER)
    cell, layers    not varied

Formation energy: in plane waves only. In the local basis its error is not known, so that value is a detail and not served.

Attempt frequency: Vineyard's (physics/vineyard.py) for the largest set of atoms. Parts:

    neighbours  change when the outermost shell is held still; of the mover alone MOVER_ALONE times nu0
    sum_rule    SUM_RULE_LEFT times the change when the on-site blocks are taken as computed: what the grid's error leaves after
                the sum rule has been imposed
    noise       nu0/2 sqrt(|H_start^-1|^2 + |H_saddle^-1|^2) times the root mean square of (H - H^T)/2
    displacement, k_points, cell, layers    not varied

Formation entropy of a vacancy (physics/vineyard.py, all atoms of both cells): the parts `sum_rule` and `noise` in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.geometry import find_mic

from emforce.assess import BASIS_FORCE_ERROR
from emforce.errors import ConvergenceError
from emforce.hop import FloatArray, Hop
from emforce.physics.force_constants import Hessian, energy_left
from emforce.physics.vineyard import (
    Modes,
    attempt_frequency,
    crossing_mode,
    frequency_along,
    internal_hessian,
    migration_entropy,
    modes,
    vacancy_entropy,
)

NAN = math.nan
#: share of the grid's error in an on-site force constant that the sum rule leaves. An atom of a Cu crystal of 8, moved with the
#: whole crystal through half a grid spacing of 0.23 A: as computed 5.92 and 6.45 eV/A^2, by the sum rule 6.66 and 6.68, which is
#: 4 % of the spread and 3 % of the correction; rounded up
SUM_RULE_LEFT = 0.1
#: largest relative change of nu0 that a shell of neighbours was seen to make: Cu(100), 2.81 to 3.22 THz
MOVER_ALONE = 0.15
#: what plane waves on two upper layers of a slab changed against one, eV: Cu(100), barrier 0.529 and 0.505, formation energy of
#: the adatom 0.457 and 0.528
CUT_BARRIER, CUT_FORMATION = 0.024, 0.071
#: largest change of a barrier that one more k-point along each axis was seen to make, eV: Mo(110) 0.082, W(110) 0.058, Cu(100)
#: 0.052, Cu(111) 0.019, Au(111) 0.017; vacancies of Mo 0.313, W 0.264, Cu 0.165, Ag 0.091, Al 0.015
K_POINTS_OF_SLAB, K_POINTS_OF_BULK = 0.082, 0.313


@dataclass(frozen=True)
class Point:
    """A stationary point of a hop as it was found.

    Attributes
    ----------
    fraction : 0 start, 0.5 saddle, 1 end
    positions : (N, 3) Angstrom
    energy : eV, local basis
    forces : (n, 3) left on the atoms of the Hessian, eV/Angstrom
    forces_before : largest of them before Newton steps; newton_steps : how many were made
    hessian : of the moving atoms, the mover first
    force_calls : self-consistent calculations with forces
    force_call_seconds : mean of the displaced ones
    plane_wave : energy in plane waves, None where not computed; plane_wave_forces : (n, 3) there
    denser : energies with ever more k-points, empty where not computed
    """

    fraction: float
    positions: FloatArray
    energy: float
    forces: FloatArray
    forces_before: float
    newton_steps: int
    hessian: Hessian
    force_calls: int
    force_call_seconds: float
    plane_wave: float | None = None
    plane_wave_forces: FloatArray | None = None
    denser: tuple[float, ...] = ()

    @property
    def largest_force(self) -> float:
        """Largest force left, eV/Angstrom."""
        return float(np.linalg.norm(self.forces, axis=1).max())


@dataclass(frozen=True)
class Barrier:
    """E(saddle) - E(start), eV.

    Attributes
    ----------
    value : served, in plane waves where these were run; parts : named parts of its uncertainty, nan: not estimated
    lcao, plane_wave : in the two bases, on the k-points of the relaxation; nan where not computed
    k_points : changes with one more k-point along each axis, two more, ...; the last is contained in the value
    """

    value: float
    parts: Mapping[str, float]
    lcao: float
    plane_wave: float
    k_points: tuple[float, ...] = ()

    @property
    def sigma(self) -> float:
        """Standard uncertainty, eV."""
        return _quadrature(self.parts)


@dataclass(frozen=True)
class Attempt:
    """Attempt frequency.

    Attributes
    ----------
    nu0 : THz, nan where the numbers of imaginary modes are wrong; parts : named parts of its uncertainty
    by_shells : nu0 of the mover alone, with the first shell, ...; nan where that set has no such saddle
    start, saddle : modes of the largest set
    entropy : S_m/k_B, see physics/vineyard.py
    reason : what is wrong with the modes, or ""
    crossing : the saddle's mode that is left out; None where there is none
    """

    nu0: float
    parts: Mapping[str, float]
    by_shells: tuple[float, ...]
    start: Modes
    saddle: Modes
    entropy: float
    reason: str = ""
    crossing: int | None = None

    @property
    def flat(self) -> bool:
        """Whether the top is crossed through its plane, no mode being unstable."""
        return self.crossing is not None and not self.saddle.unstable

    @property
    def sigma(self) -> float:
        """Standard uncertainty, THz."""
        return _quadrature(self.parts)


def barrier(start: Point, saddle: Point, hop_length: float, cut: bool = False, bulk: bool = False, hump: float = 0.0) -> Barrier:
    """Barrier from one end to the saddle.

    Parameters
    ----------
    hop_length : between the two sites of the mover, Angstrom
    cut : whether plane waves, where they were run, had the upper layers of a slab alone
    bulk : whether the hop is one in bulk
    hump : how far the highest image lies above the middle, where that is a minimum, eV
    """
    lcao = saddle.energy - start.energy
    left = [energy_left(p.hessian.matrix, p.forces) for p in (start, saddle)]
    parts = {"basis": BASIS_FORCE_ERROR * hop_length / math.pi, "relaxation": math.hypot(*left),
             "k_points": K_POINTS_OF_BULK if bulk else K_POINTS_OF_SLAB, "cell": NAN, "layers": NAN}
    plane_wave = NAN
    if start.plane_wave is not None and saddle.plane_wave is not None:
        plane_wave = saddle.plane_wave - start.plane_wave
        wide = [energy_left(p.hessian.matrix, p.plane_wave_forces) for p in (start, saddle) if p.plane_wave_forces is not None]
        parts["basis"] = abs(wide[1] - wide[0]) if len(wide) == 2 else NAN
        if cut:
            parts["cut"] = CUT_BARRIER
    value = lcao if math.isnan(plane_wave) else plane_wave
    changes = tuple(b - a - lcao for a, b in zip(start.denser, saddle.denser, strict=False))
    if changes:
        value, parts["k_points"] = value + changes[-1], last_change(changes)
    if hump:
        value, parts["hump"] = value + hump, abs(hump)
    return Barrier(value, parts, lcao, plane_wave, changes)


def last_change(changes: Sequence[float]) -> float:
    """What the last of ever denser meshes changed: |c_n - c_n-1|, the first against no change."""
    return abs(changes[-1] - (changes[-2] if len(changes) > 1 else 0.0))


def hump_above_middle(energies_eV: Mapping[float, float]) -> float:
    """How far the highest relaxed image before the middle lies above the middle, 0 if none does, eV; nan where there are none."""
    before = [e for f, e in energies_eV.items() if 0 < f < 0.5]
    return max(0.0, max(before) - energies_eV[0.5]) if before and 0.5 in energies_eV else NAN


def attempt(
    start: Point, saddle: Point, shells: Sequence[Sequence[int]], masses: FloatArray, direction: FloatArray, plane: bool = False
) -> Attempt:
    """Attempt frequency from one end over the saddle.

    Parameters
    ----------
    shells : atoms of the Hessian, the mover, then each shell
    masses : amu, of all atoms of the structure
    direction : of the hop, seen from this end
    plane : the saddle is the middle of a hop that symmetry turns around, and may be crossed without an unstable mode
    """
    sets = [tuple(a for shell in shells[:n + 1] for a in shell) for n in range(len(shells)) if n == 0 or shells[n]]
    every = sets[-1]
    here, top = (modes(p.hessian.matrix, masses[list(every)]) for p in (start, saddle))
    across = direction if plane else None
    by_shells = tuple(_nu0(start, saddle, atoms, masses, across) for atoms in sets)
    nu0 = by_shells[-1]
    left_out = 0 if top.unstable else crossing_mode(top, 0, direction) if plane else None
    if math.isnan(nu0):
        try:
            attempt_frequency(here, top)
        except ConvergenceError as error:
            return Attempt(NAN, {}, by_shells, here, top, NAN, str(error), left_out)
    noise = math.hypot(*(float(np.linalg.norm(np.linalg.inv(p.hessian.matrix))) * p.hessian.noise for p in (start, saddle)))
    parts = {
        "neighbours": abs(nu0 - by_shells[-2]) if len(by_shells) > 1 else MOVER_ALONE * nu0,
        "sum_rule": SUM_RULE_LEFT * abs(nu0 - _nu0(start, saddle, every, masses, across, raw=True)),
        "noise": nu0 / 2 * noise,
        "displacement": NAN, "k_points": NAN, "cell": NAN, "layers": NAN,
    }
    along = frequency_along(start.hessian.block([every[0]]).matrix, masses[[every[0]]], 0, direction)
    return Attempt(nu0, parts, by_shells, here, top, migration_entropy(nu0, along), crossing=left_out)


def _nu0(
    start: Point, saddle: Point, atoms: Sequence[int], masses: FloatArray, across: FloatArray | None, raw: bool = False
) -> float:
    blocks = [p.hessian.block(atoms) for p in (start, saddle)]
    here, top = (modes(b.raw if raw else b.matrix, masses[list(atoms)]) for b in blocks)
    crossing = None if across is None or top.unstable else crossing_mode(top, 0, across)
    try:
        return attempt_frequency(here, top, crossing)
    except ConvergenceError:
        return NAN


def reaction_atoms(
    hop: Hop, points: Mapping[float, Point], atoms: Sequence[int], masses: FloatArray, mode: FloatArray
) -> dict[str, Any]:
    """How the atoms share in the hop: lists of equal length over the atoms of the Hessian.

    index, mass_amu; weight_mode: share of each atom in the square of the mass-weighted `mode` that leads over the saddle;
    weight_path: of each in m |R_saddle - R_start|^2; position_start, position_saddle: along the hop, from the middle between the
    two sites of the mover, in units of half their distance (mover at the start: -1).
    """
    chosen = list(atoms)
    first, top = points[0.0].positions, points[0.5].positions
    cell, pbc = hop.host_unit.cell.array * np.array(hop.repeat)[:, None], hop.host_unit.pbc
    mover = chosen[0]
    vector = hop.hop_vector if 1.0 not in points else find_mic(points[1.0].positions[mover] - first[mover] - hop.hop_vector,
                                                               cell, pbc)[0] + hop.hop_vector
    length = float(np.linalg.norm(vector))
    middle = first[mover] + vector / 2

    def place(positions: FloatArray) -> list[float]:
        # the image of each atom that is nearest to the mover at the saddle: the same at both ends
        lattice = top[chosen] - top[mover] - find_mic(top[chosen] - top[mover], cell, pbc)[0]
        return [float(x) for x in (positions[chosen] - lattice - middle) @ vector / (length**2 / 2)]

    shift = find_mic(top[chosen] - first[chosen], cell, pbc)[0]
    path = masses[chosen] * (shift**2).sum(axis=1)
    share = (mode**2).sum(axis=1)
    return {
        "index": chosen,
        "mass_amu": [float(m) for m in masses[chosen]],
        "weight_mode": [float(w) for w in share / share.sum()],
        "weight_path": [float(w) for w in path / path.sum()],
        "position_start": place(top - _unwrapped(top - first, cell, pbc)),
        "position_saddle": place(top),
    }


def _unwrapped(shift: FloatArray, cell: FloatArray, pbc: Any) -> FloatArray:
    return np.asarray(find_mic(shift, cell, pbc)[0])


@dataclass(frozen=True)
class Formation:
    """Formation energy of the adatom or vacancy.

    Attributes
    ----------
    value : in plane waves, eV; nan where not computed. lcao : in the local basis, whose error is not known
    parts : named parts of the uncertainty of `value`; method : in words
    k_points : changes with ever more k-points in cell and host; the last is contained in the value
    """

    value: float = NAN
    lcao: float = NAN
    parts: Mapping[str, float] = field(default_factory=dict)
    method: str = "not computed"
    k_points: tuple[float, ...] = ()

    @property
    def sigma(self) -> float:
        """Standard uncertainty, eV; nan where no part was estimated."""
        return _quadrature(self.parts)


def formation(
    start: Point, atoms: int, host_atoms: int, energies: Mapping[str, float], denser: Sequence[float] = (), cut: bool = False
) -> Formation:
    """Formation energy: the defect cell less the same host atoms in the host, an adatom's own atom from the bulk.

    vacancy E(N-1) - (N-1) E(host)/N,   adatom E(slab + 1) - E(slab) - E(bulk atom)

    Parameters
    ----------
    atoms, host_atoms : in the defect cell, and in the host cell whose energies are given
    energies : by `plane_wave_plan.FormationSteps`. Plane waves are served, with the energy that relaxing in them
        would still gain as the part "basis"
    denser : energies of the host on the denser meshes of `start.denser`
    cut : whether plane waves had the upper layers of a slab alone
    """
    adatom = "bulk" in energies
    if "host" not in energies:
        return Formation()

    cells = (atoms - 1 if adatom else atoms) / host_atoms

    def value(own: float, suffix: str) -> float:
        return own - cells * energies[f"host{suffix}"] - (energies[f"bulk{suffix}"] if adatom else 0.0)

    parts = {"basis": NAN, "relaxation": abs(energy_left(start.hessian.matrix, start.forces)), "k_points": NAN, "cell": NAN,
             "layers": NAN}
    found = value(start.energy, "")
    # with more k-points in the supercell and its host; the bulk atom is served on its finer mesh already
    changes = tuple(own - start.energy - cells * (host - energies["host"])
                    for own, host in zip(start.denser, denser, strict=False))
    known = [last_change(changes)] if changes else []
    if adatom:
        known.append(energies["bulk"] - energies["bulk, coarser"])
    if known:
        parts["k_points"] = math.hypot(*known)
    if start.plane_wave is None:
        return Formation(NAN, found, {}, "local basis only: its error is not known, not served")
    if math.isnan(parts["k_points"]):
        return Formation(NAN, found, {}, "k-points were not varied (kinetics.k_points_check): not served")
    wide = value(start.plane_wave, " in plane waves")
    if start.plane_wave_forces is not None:
        parts["basis"] = abs(energy_left(start.hessian.matrix, start.plane_wave_forces))
    if cut:
        parts["cut"] = CUT_FORMATION
    if not changes:
        return Formation(wide, found, parts, "plane waves")
    method = "plane waves, with the change by more k-points in the local basis"
    return Formation(wide + changes[-1], found, parts, method, changes)


@dataclass(frozen=True)
class Entropy:
    """Formation entropy of a vacancy.

    Attributes
    ----------
    value : S_f/k_B; nan where not computed, with the reason
    parts : named parts of its uncertainty; nan: not estimated
    """

    value: float = NAN
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = "not computed"

    @property
    def sigma(self) -> float:
        """Standard uncertainty."""
        return _quadrature(self.parts)


def formation_entropy(vacancy: Hessian, host: Hessian) -> Entropy:
    """S_f/k_B from the Hessians of all atoms of the cell with the vacancy and of its host; see `vacancy_entropy`."""
    try:
        value = vacancy_entropy(vacancy.matrix, host.matrix)
    except ConvergenceError as error:
        return Entropy(reason=str(error))
    try:
        rule = SUM_RULE_LEFT * abs(value - vacancy_entropy(vacancy.raw, host.raw))
    except ConvergenceError:
        rule = NAN
    noise = [0.5 * h.noise * float(np.linalg.norm(np.linalg.inv(internal_hessian(h.matrix)))) for h in (vacancy, host)]
    return Entropy(value, {"sum_rule": rule, "noise": math.hypot(*noise), "displacement": NAN, "k_points": NAN, "cell": NAN}, "")


def _quadrature(parts: Mapping[str, float]) -> float:
    known = [p for p in parts.values() if not math.isnan(p)]
    return math.hypot(*known) if known else NAN


__all__ = ["Attempt", "Barrier", "Entropy", "Formation", "Point", "attempt", "barrier", "formation", "formation_entropy",
           "reaction_atoms"]
