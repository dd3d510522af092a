"""From the stationary points of a hop to its stored record: values, uncertainties, checks, details, provenance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase.data import atomic_masses

from emforce import provenance
from emforce.diffusion import Diffusion, HopRate, diffusion_of_hop
from emforce.errors import InputError
from emforce.hop_records import hop_identity
from emforce.kinetics_assess import (
    Attempt,
    Barrier,
    Entropy,
    Formation,
    Point,
    attempt,
    barrier,
    formation,
    formation_entropy,
    hump_above_middle,
    reaction_atoms,
)
from emforce.kinetics_plan import KineticsHop
from emforce.materials import material
from emforce.physics.force_constants import Hessian
from emforce.plan import structure_digest
from emforce.record import HOP_AVERAGE, Record
from emforce.stored import Check

METHOD = "barrier and Hessian, LCAO"
METHOD_PLANE_WAVE = "barrier in plane waves, Hessian in LCAO"
#: limits of the checks that a served record has passed
MAX_ASYMMETRY = 0.1
MAX_NEIGHBOUR_CHANGE = 0.3
#: deepest minimum in the middle of a hop, eV: k_B T where vacancies move. In a deeper one the atom rests, and the hop is two
MAX_HUMP = 0.05


@dataclass(frozen=True)
class Outcome:
    """What was found for a hop: points by fraction, energies for the formation energy; or why nothing was.

    `denser` : energies of the host on the denser meshes of `Point.denser`

    `whole` : Hessians of all atoms with the vacancy and of its host, where the formation entropy is wanted; `whole_calls`: what
    they took
    """

    item: KineticsHop
    points: Mapping[float, Point] = field(default_factory=dict)
    energies: Mapping[str, float] = field(default_factory=dict)
    denser: tuple[float, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    whole: tuple[Hessian, Hessian] | None = None
    whole_calls: int = 0


def kinetics_record(outcome: Outcome) -> Record:
    """The record of a hop, failed ones included."""
    if outcome.reason:
        status = "unconverged" if "self-consistency" in outcome.reason else "failed"
        details = {"saddle": {"found": "nothing: a calculation failed"}, **outcome.notes}
        return Record(status=status, reason=outcome.reason, kinetics_details=details, **_identity(outcome.item, METHOD))
    item, points = outcome.item, outcome.points
    hop = item.hop
    start, saddle = points[0.0], points[0.5]
    masses = np.array([atomic_masses[n] for n in hop.image(0.0).atoms.numbers])
    length = float(np.linalg.norm(hop.hop_vector))
    cut, bulk = item.cut_layers > 0, item.bulk
    hump = hump_above_middle(item.energies_eV) if hop.symmetric else math.nan
    rate = attempt(start, saddle, item.shells, masses, hop.hop_vector, plane=not math.isnan(hump))
    height = barrier(start, saddle, length, cut, bulk, hump if rate.flat else 0.0)
    back = None
    if 1.0 in points:
        back = barrier(points[1.0], saddle, length, cut, bulk), attempt(points[1.0], saddle, item.shells, masses, -hop.hop_vector)
    energy = formation(start, len(start.positions), len(hop.host_unit), outcome.energies, outcome.denser, cut)
    checks = _checks(outcome, height, rate, back, hump)
    broken = [c for c in checks if not c.passed]
    reason = "; ".join(x for x in (rate.reason, back[1].reason if back else "", *map(str, broken)) if x)
    entropy = Entropy() if outcome.whole is None else formation_entropy(*outcome.whole)
    spread, word = (None, "") if reason else _diffusion(item, height, rate, back, energy, entropy)
    details = _details(outcome, height, rate, back, energy, masses)
    if outcome.whole is not None:
        details["formation_entropy"] = _no_nan({
            "value_kB": entropy.value, "sigma_kB": entropy.sigma, "sigma_parts_kB": dict(entropy.parts), "reason": entropy.reason,
            "atoms": [len(h.atoms) for h in outcome.whole], "force_calls": outcome.whole_calls})
    if word:
        details["diffusion"] = word
    if spread is not None:
        details["diffusion"] = {"correlation": spread.correlation, **spread.details}
    fields: dict[str, Any] = {} if spread is None else {
        "d0_m2_s": spread.d0_m2_s, "d0_sigma_m2_s": spread.d0_sigma_m2_s, "ea_eV": spread.ea_eV,
        "ea_sigma_eV": spread.ea_sigma_eV, "kinetics_condition": spread.condition}
    return Record(
        barrier_eV=height.value, barrier_sigma_eV=height.sigma,
        nu0_THz=rate.nu0, nu0_sigma_THz=rate.sigma,
        formation_energy_eV=energy.value, formation_energy_sigma_eV=energy.sigma,
        hop_vector_angstrom=hop.hop_vector,
        residual_force_eV_per_angstrom=max(p.largest_force for p in points.values()),
        kinetics_details=details,
        status="failed" if reason else "ok", reason=reason, checks=checks,
        **fields, **_identity(item, METHOD if math.isnan(height.plane_wave) else METHOD_PLANE_WAVE),
    )


def _checks(
    outcome: Outcome, height: Barrier, rate: Attempt, back: tuple[Barrier, Attempt] | None, hump: float
) -> tuple[Check, ...]:
    points = outcome.points.values()
    if rate.flat:
        kind = Check("depth of the minimum in the middle", hump, MAX_HUMP, "<=", "eV")
    else:
        kind = Check("imaginary modes at the saddle, off from one", abs(rate.saddle.unstable - 1), 0)
    found = [
        kind,
        Check("imaginary modes at the start", rate.start.unstable, 0),
        Check("force left on the moving atoms", max(p.largest_force for p in points),
              outcome.item.settings.kinetics.force_tolerance_eV_per_A, "<=", "eV/Å"),
        Check("asymmetry of the Hessian, relative", max(p.hessian.asymmetry for p in points), MAX_ASYMMETRY),
        Check("barrier", height.value, 0.0, ">=", "eV"),
    ]
    if back is not None:
        found += [Check("imaginary modes at the end", back[1].start.unstable, 0),
                  Check("barrier back", back[0].value, 0.0, ">=", "eV")]
    if "neighbours" in rate.parts and len(rate.by_shells) > 1:
        change = rate.parts["neighbours"] / rate.nu0
        found.append(Check("change of nu0 with the outermost shell, relative", change, MAX_NEIGHBOUR_CHANGE))
    return tuple(found)


def _diffusion(
    item: KineticsHop, height: Barrier, rate: Attempt, back: tuple[Barrier, Attempt] | None, energy: Formation, entropy: Entropy
) -> tuple[Diffusion | None, str]:
    """D0 and E_a of the network that the hop makes; None with the reason where no network is known for it."""
    spec, functional = item.hop.spec, item.settings.dft.functional
    data = material(spec.metal)
    known = not math.isnan(energy.value)
    given = HopRate(
        nu0_THz=rate.nu0, nu0_sigma_THz=rate.sigma, barrier_eV=height.value, barrier_sigma_eV=height.sigma,
        formation_energy_eV=energy.value if known else None, formation_energy_sigma_eV=energy.sigma if known else None,
        formation_entropy_kB=None if math.isnan(entropy.value) else entropy.value,
        formation_entropy_sigma_kB=None if math.isnan(entropy.sigma) else entropy.sigma,
        reverse_nu0_THz=None if back is None else back[1].nu0, reverse_barrier_eV=None if back is None else back[0].value,
    )
    try:
        return diffusion_of_hop(spec, data.structure, data.lattice_constant(functional), given), ""
    except InputError as error:
        return None, f"no diffusion coefficient: {error}"


def _details(
    outcome: Outcome, height: Barrier, rate: Attempt, back: tuple[Barrier, Attempt] | None, energy: Formation, masses: np.ndarray
) -> dict[str, Any]:
    item, points = outcome.item, outcome.points
    order = sorted(points)
    relaxed = sorted(item.energies_eV)
    saddle = points[0.5]
    found = {
        "barrier_lcao_eV": height.lcao,
        "barrier_plane_wave_eV": height.plane_wave,
        "plane_wave_layers": None if item.bulk or math.isnan(height.plane_wave) else item.cut_layers,
        "barrier_k_points_change_eV": (height.k_points or (math.nan,))[-1],
        "barrier_k_points_changes_eV": list(height.k_points),
        "barrier_sigma_parts_eV": dict(height.parts),
        "nu0_by_shells_THz": list(rate.by_shells),
        "nu0_sigma_parts_THz": dict(rate.parts),
        "shell_atoms": [list(shell) for shell in item.shells],
        "modes_initial_THz": rate.start.frequencies_THz.tolist(),
        "modes_saddle_THz": rate.saddle.frequencies_THz.tolist(),
        "migration_entropy_kB": rate.entropy,
        "force_calls": sum(p.force_calls for p in points.values()),
        "force_call_seconds": float(np.mean([p.force_call_seconds for p in points.values()])),
        "formation_energy": {"method": energy.method, "lcao_eV": energy.lcao,
                             "k_points_change_eV": (energy.k_points or (math.nan,))[-1],
                             "k_points_changes_eV": list(energy.k_points),
                             "sigma_parts_eV": dict(energy.parts)},
        "energies_along_hop": {"fraction": order, "energy_eV": [points[f].energy - points[0.0].energy for f in order]},
        "energies_as_relaxed": {"fraction": relaxed,
                                "energy_eV": [item.energies_eV[f] - item.energies_eV[relaxed[0]] for f in relaxed]},
        "saddle": {
            "found": f"{rate.saddle.unstable} imaginary modes, largest force {saddle.largest_force:.4f} eV/Å"
                     + _crossed(rate, height),
            "imaginary_modes": rate.saddle.unstable,
            "residual_force_eV_per_A": saddle.largest_force,
        },
        "newton": {f"{f:g}": {"steps": points[f].newton_steps, "force_before_eV_per_A": points[f].forces_before,
                              "force_after_eV_per_A": points[f].largest_force} for f in order},
        "hessian": {f"{f:g}": {"asymmetry": points[f].hessian.asymmetry, "noise_eV_per_A2": points[f].hessian.noise,
                               "sum_rule_eV_per_A2": points[f].hessian.sum_rule} for f in order},
        **outcome.notes,
    }
    if rate.crossing is not None:
        found["reaction_atoms"] = reaction_atoms(item.hop, points, item.atoms, masses, rate.saddle.vectors[rate.crossing])
    if back is not None:
        found["reverse"] = {"barrier_eV": back[0].value, "barrier_sigma_eV": back[0].sigma, "nu0_THz": back[1].nu0,
                            "nu0_sigma_THz": back[1].sigma, "modes_final_THz": back[1].start.frequencies_THz.tolist()}
    return _no_nan(found)


def _crossed(rate: Attempt, height: Barrier) -> str:
    if rate.crossing is None or not rate.flat:
        return ""
    across = f"; the softest mode across the middle, {rate.saddle.frequencies_THz[rate.crossing]:.2f} THz, is stable: "
    hump = height.parts.get("hump")
    what = "no image beside it lies higher" if hump is None else f"a minimum {hump:.4f} eV below the humps before and behind it"
    return f"{across}{what}; crossed through its plane"


def _no_nan(value: Any) -> Any:
    """The same with None for what was not computed: JSON has no nan."""
    if isinstance(value, Mapping):
        return {str(k): _no_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value


def _identity(item: KineticsHop, method: str) -> dict[str, Any]:
    settings = item.settings
    origin = {
        **provenance.collect(settings_hash=settings.digest, structure_hash=structure_digest(item.hop), host_check="",
                             rho_source=""),
        "geometry": str(item.folder),
    }
    return hop_identity(item.hop, settings, method) | {
        "site": HOP_AVERAGE,
        "provenance": {name: value for name, value in origin.items() if value != ""},
    }


__all__ = ["METHOD", "METHOD_PLANE_WAVE", "Outcome", "kinetics_record"]
