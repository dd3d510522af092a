"""`emforce phonons`: phonons of bulk metals, from settings to host rows of the database.

A host row of a metal holds its electronic bands with their check and its phonons. Whoever writes such a row takes over what the
newest row of the same identity has of the other part (`emforce.database.Database.add_host`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emforce.campaign import Campaign, Placement
from emforce.database import Database
from emforce.errors import EmforceError, InputError
from emforce.hop_records import host_record
from emforce.materials import Material, material
from emforce.phonon_bands import ROOM_K, Phonons, Supercell, phonons, supercell
from emforce.plan import bulk_step, dft_document, setups
from emforce.record import Host
from emforce.settings import Settings, load_settings
from emforce.steps import Step, atoms_document
from emforce.store import Store
from emforce.stored import Check

#: what a rigid shift may cost before the sum rule is imposed, as a share of the force constant of one atom; of the grid's error
#: the rule leaves 4 % (measured: `emforce.kinetics_assess.SUM_RULE_LEFT`)
MAX_SUM_RULE = 0.1


@dataclass(frozen=True)
class PhononPlan:
    """Steps of the phonons of a metal: `forces`, and `bulk`, whose bands stand in the same row."""

    metal: Material
    settings: Settings
    cell: Supercell
    forces: Step
    bulk: Step


def plan_phonons(metal: str, settings: Settings) -> PhononPlan:
    """The steps of a metal. Raises `InputError` for an unknown one."""
    from emforce.dft import grid_points

    data, wanted = material(metal), settings.phonons
    size = wanted.fcc_size if data.structure == "fcc" else wanted.bcc_size
    a = data.lattice_constant(settings.dft.functional)
    cell = supercell(metal, data.structure, a, size, wanted.displacement_A)
    forces = Step("phonons", f"{metal} phonons, {len(cell.atoms)} atoms", {
        "atoms": atoms_document(cell.atoms),
        "displacements": [[atom, list(vector)] for atom, vector in cell.displacements],
        "setups": setups({metal}, settings.dft.recipe),
        "dft": dft_document(settings) | {"density_tolerance": wanted.density_tolerance},
        "kpts": list(wanted.kpts),
        "grid": grid_points(a * np.eye(3), settings.dft.grid_A, size),
    }, seconds=8.0 * len(cell.atoms))
    return PhononPlan(data, settings, cell, forces, bulk_step(metal, settings))


def compute(
    metals: Sequence[str], *, preset: str, overrides: Mapping[str, object], workers: int | None, database: str | None,
    store: Path, cluster: str = "local",
) -> list[Host]:
    """Compute and store the phonons of metals; returns their hosts, those with failed phonons included.

    Raises
    ------
    InputError before anything is written when a metal, a setting or a profile is not allowed
    StoreError when the disk is full; CampaignCancelled when somebody stopped it: finished steps are kept
    """
    settings = load_settings(preset, overrides).without_spin_orbit()
    if len(set(metals)) < len(metals):
        raise InputError("METAL", list(metals), "each metal once")
    plans = [plan_phonons(metal, settings) for metal in metals]
    place = Placement(cluster, workers, tuple(metals))
    place.check()
    disk = Store(store)
    with Database(database, create=True) as rows:
        with Campaign(disk, place) as campaign:
            failed = campaign.compute([step for plan in plans for step in (plan.bulk, plan.forces)])
        found = [host_with_phonons(plan, disk, failed) for plan in plans]
        for host in found:
            rows.add_host(host)
    return found


def host_with_phonons(plan: PhononPlan, store: Store, failed: Mapping[str, str]) -> Host:
    """The host of a metal with its phonons, or with the reason why there are none."""
    bulk, forces = (store.find(step.kind, step.key) for step in (plan.bulk, plan.forces))
    if bulk is None:
        raise EmforceError(f"{plan.bulk.title}: {failed.get(plan.bulk.name, 'its output is gone from the store')}")
    host = host_record(plan.metal.symbol, plan.settings, bulk)
    if forces is None:
        reason = failed.get(plan.forces.name, "the output is gone from the store")
        return replace(host, phonon_status=f"failed: {reason}", phonon_details=_settings_of(plan))
    values = forces.arrays("forces.npz")["forces"]
    return replace(host, **phonon_fields(plan, phonons(plan.cell, values)))


def phonon_fields(plan: PhononPlan, found: Phonons) -> dict[str, Any]:
    """The fields of a host that phonons fill; without bands and Debye temperature where they are not served."""
    check = Check("acoustic sum rule before correction, relative", found.sum_rule, MAX_SUM_RULE)
    reason = found.reason or ("" if check.passed else str(check))
    unknown = sorted(name for name, part in found.debye_parts_K.items() if np.isnan(part))
    if not reason and (unknown or np.isnan(found.debye_K)):
        part = ", ".join(unknown) or "the sound velocities"
        reason = f"no uncertainty from {part}: acoustic branches are unstable; a larger supercell helps"
    details = _settings_of(plan) | {
        "highest_THz": found.highest_THz, "lowest_THz": found.lowest_THz, "checks": [check.document()],
    }
    if reason:
        return {"phonon_status": f"failed: {reason}", "phonon_details": details}
    reference = plan.metal.debye_temperature
    details |= {
        "debye_sigma_parts_K": found.debye_parts_K, f"debye_at_{ROOM_K:g}_K": found.debye_room_K,
        "dos_frequency_THz": np.round(found.dos_THz, 5).tolist(), "dos_per_THz_atom": np.round(found.dos, 6).tolist(),
    }
    if reference is not None:
        details |= {"debye_measured_K": reference.value, "debye_measured_source": reference.source,
                    "debye_measured_verified": reference.verified}
    return {
        "phonon_status": "ok", "debye_temperature_K": found.debye_K, "debye_temperature_sigma_K": found.debye_sigma_K,
        "phonon_path": np.round(found.path, 6), "phonon_ticks": found.ticks, "phonon_bands_THz": np.round(found.bands_THz, 5),
        "phonon_details": details,
    }


def _settings_of(plan: PhononPlan) -> dict[str, Any]:
    p = plan.settings.phonons
    return {
        "supercell_atoms": len(plan.cell.atoms),
        "kpts": list(p.kpts),
        "displacement_A": p.displacement_A,
        "displacements": len(plan.cell.displacements),
        "lattice_constant_A": plan.metal.lattice_constant(plan.settings.dft.functional),
    }


def report(hosts: Sequence[Host]) -> str:
    """A table for the eye: Debye temperature with its uncertainty beside the measured one, and the highest frequency."""
    from emforce.tables import columns, plus_minus

    table = [["metal", "Theta_D (K)", "measured (K)", "difference", "highest (THz)", "sum rule", "status"]]
    for host in hosts:
        d, theta = host.phonon_details, host.debye_temperature_K
        measured = d.get("debye_measured_K")
        known = math.isfinite(theta)
        table.append([
            host.metal, plus_minus(theta, host.debye_temperature_sigma_K) if known else "",
            "" if measured is None else f"{measured:g}",
            f"{100 * (theta / measured - 1):+.1f} %" if known and measured else "",
            f"{d['highest_THz']:.2f}" if "highest_THz" in d else "",
            f"{d['checks'][0]['value']:.1e}" if "checks" in d else "", host.phonon_status,
        ])  # fmt: skip
    return columns(table)
