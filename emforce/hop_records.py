"""From finished steps to records: values with uncertainties, checks and provenance of every image of a hop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emforce import provenance
from emforce.assess import (
    BASIS_FORCE_ERROR,
    BASIS_MISPLACEMENT,
    UNRELAXED_MISPLACEMENT,
    Assessed,
    assess_images,
    average,
    stiffness,
)
from emforce.basis import basis_name
from emforce.direct_assess import DirectValue, assess_direct, average_direct
from emforce.drift import axes_of
from emforce.errors import EmforceError, InputError
from emforce.hop import Hop
from emforce.materials import material
from emforce.physics.hostcheck import Tolerance, joined_path
from emforce.plan import HopPlan, displaced_axes, structure_digest
from emforce.record import HOP_AVERAGE, Host, Record
from emforce.relaxed import Source
from emforce.settings import Settings, preset_label
from emforce.site_symmetry import force_directions
from emforce.steps import Document, Step, cost
from emforce.store import Finished, Store
from emforce.stored import Check
from emforce.units import uohm_cm
from emforce.variations import UNRELAXED

METHOD = "wind force, LCAO T-matrix embedding"
#: limits of the checks that a served record has passed
MAX_CONDITION = 1e6
MAX_FAR_DEVIATION_eV = 0.15
MAX_ASYMMETRY_SHARE = 0.2
MAX_RESIDUAL_FORCE = 0.3


@dataclass(frozen=True)
class Prepared:
    """A hop with its settings, its plan, and where its geometry comes from (None: as built)."""

    hop: Hop
    settings: Settings
    plan: HopPlan
    relaxed: Source | None

    @property
    def residual_force(self) -> float | None:
        """Largest force left by the relaxation, eV/A; None where there was none."""
        return None if self.relaxed is None else self.relaxed.residual_force


def relaxed_folder(hop: Hop, settings: Settings) -> Path | None:
    """Folder of the relaxed structures of a hop in the cell of these settings; None where they are not wanted."""
    if not settings.structure.relaxed:
        return None
    layers = "" if hop.spec.facet == "bulk" else f"-{settings.structure.layers}l"
    functional = "" if settings.dft.functional == "PBE" else f"-{settings.dft.functional}"
    return Path(settings.structure.relaxed) / hop.spec.name / ("x".join(map(str, hop.repeat)) + layers + functional)


def _failure(steps: Sequence[Step], failed: Mapping[str, str]) -> str | None:
    names = [step.name for step in steps]
    reasons = [failed[n] for n in names if n in failed and not failed[n].startswith("needs ")]
    return reasons[0] if reasons else next((failed[n] for n in names if n in failed), None)


def records(item: Prepared, store: Store, failed: Mapping[str, str]) -> tuple[list[Record], Host | None]:
    """Records of every image and of the average, failed ones included, and the bulk host if it is there.

    Raises
    ------
    EmforceError where a step that was reported finished has no output any more
    """
    bulk = store.find("bulk", item.plan.bulk.key)
    reason = _failure(item.plan.wind_steps(), failed)
    check = None if bulk is None else bulk.values["check"]
    if bulk is not None and item.plan.spin_orbit is not None:
        sums = store.find("spin_orbit", item.plan.spin_orbit.key)
        bulk = None if sums is None else replace(bulk, values=with_spin_orbit(bulk.values, sums.values))
    host = None if bulk is None else host_record(item.hop.spec.metal, item.settings, bulk)
    common = _identity(item, check)
    common["provenance"]["cost"] = cost(item.plan.steps(), store)
    if reason is not None or bulk is None:
        status = "unconverged" if "self-consistency" in (reason or "") else "failed"
        drifts = [(axis.site, math.nan) for axis in axes_of(item.hop.spec, material(item.hop.spec.metal).structure)]
        site = [(i.label, i.fraction) for i in item.hop.images] + [(HOP_AVERAGE, math.nan), *drifts]
        return [Record(site=label, fraction=f, status=status, reason=reason or "the bulk host is missing", **common)
                for label, f in site], host
    wind = store.find(item.plan.wind.kind, item.plan.wind.key)
    if wind is None:
        raise EmforceError("the embedding finished but its output is gone from the store; run the same command again")
    return _values(item, wind.values, bulk.values, _with_direct(item, failed, common), store), host


def _with_direct(item: Prepared, failed: Mapping[str, str], common: dict[str, Any]) -> dict[str, Any]:
    """The identity with word of the direct valence in its provenance; a failed one does not take the wind force with it."""
    step = item.plan.direct
    if step is None:
        word = f"not computed ({'dft.spin_orbit is true' if item.settings.dft.spin_orbit else 'direct.compute is false'})"
    else:
        word = _failure([s for s in item.plan.steps() if s not in item.plan.wind_steps()], failed) or ""
        word = f"failed: {word}" if word else "whole response at several hbar/tau less what grows with tau"
    return common | {"provenance": common["provenance"] | {"direct": word}}


def _values(item: Prepared, wind: Document, bulk: Document, common: dict[str, Any], store: Store) -> list[Record]:
    hop, settings = item.plan.hop, item.settings
    data = material(hop.spec.metal)
    symmetry = [force_directions(image, hop.host_unit) for image in hop.images]
    wanted = [displaced_axes(image, hop.host_unit, settings) for image in hop.images]
    force = item.residual_force
    misplacement = UNRELAXED_MISPLACEMENT
    if force is not None:
        if data.debye_temperature is None:
            raise InputError("debye_temperature", None, f"a value for {data.symbol} in the materials file")
        soft = math.hypot(force, BASIS_FORCE_ERROR) / stiffness(data.mass_amu, data.debye_temperature.value)
        misplacement = math.hypot(soft, BASIS_MISPLACEMENT)
    axes, rotations = [tuple(w) for w in wanted], [s.rotations for s in symmetry]
    one_sided = [all(signs == ("+",) for signs in w.values()) for w in wanted]
    fractions = [i.fraction for i in hop.images]
    step = item.plan.direct
    done = None if step is None else store.find(step.kind, step.key)

    def values(across: float) -> tuple[list[Assessed], list[DirectValue] | None]:
        images = assess_images(wind, bulk, settings, axes, rotations, one_sided, [misplacement] * len(axes), across)
        if done is None:
            return images, None
        direct = assess_direct(done.values, bulk, axes, rotations, across)
        # none where the response to the field of a drift was not computed
        return images, None if any(math.isnan(value.value) for value in direct) else direct

    def mean(site: str, images: list[Assessed], direct: list[DirectValue] | None, common: dict[str, Any]) -> Record:
        value = average(images, fractions, hop.symmetric)
        checks = _checks(value, bulk, item, max(wind["far_deviation"]))
        more = {} if direct is None else _direct_fields(average_direct(direct, fractions, hop.symmetric), value, common)
        return _record(site, math.nan, value, checks, item, common | more)

    images, direct = values(0.0)
    found = []
    for number, (image, value) in enumerate(zip(hop.images, images, strict=True)):
        checks = _checks(value, bulk, item, wind["far_deviation"][number])
        more = {} if direct is None else _direct_fields(direct[number], value, common)
        found.append(_record(image.label, image.fraction, value, checks, item, common | more))
    found.append(mean(HOP_AVERAGE, images, direct, common))
    for axis in axes_of(hop.spec, data.structure):
        word = common["provenance"] | {"drift": {"direction": axis.name, "weights": [1.0, axis.weight]}}
        found.append(mean(axis.site, *values(axis.weight), common | {"provenance": word}))
    return found


def _direct_fields(direct: DirectValue, wind: Assessed, common: dict[str, Any]) -> dict[str, Any]:
    """Fields of the direct valence; withheld, with the reason, where the response's own wind force contradicts the served one."""
    sigma = math.hypot(*(part for part in wind.parts.values() if not math.isnan(part)))
    checks = (
        Check("K of a free fit to the response against K", abs(direct.k_free - wind.k), 2 * sigma, "<=", "µΩ cm"),
        Check("condition number of 1 - G0 W in the response", direct.condition, MAX_CONDITION),
    )
    broken = "; ".join(str(c) for c in checks if not c.passed)
    if broken:
        return {"provenance": common["provenance"] | {"direct": f"computed, not served: {broken}"}}
    word = f"{common['provenance']['direct']}; K of a free fit {direct.k_free:.1f} µΩ cm"
    return direct.fields() | {"provenance": common["provenance"] | {"direct": word}}


def _checks(value: Assessed, bulk: Document, item: Prepared, far: float) -> list[Check]:
    check = bulk["check"]
    found = [
        Check("condition number of 1 - G0 W", value.condition, MAX_CONDITION),
        Check("spread of far on-site energies", far, MAX_FAR_DEVIATION_eV, "<=", "eV"),
        Check("change of K by symmetrization", value.asymmetry,
              MAX_ASYMMETRY_SHARE * max(abs(value.k), 20.0), "<=", "µΩ cm"),
        Check("host passes against plane waves", float(check is not None and check["passed"]), 1.0, ">="),
    ]
    if item.residual_force is not None:
        found.append(Check("residual force", item.residual_force, MAX_RESIDUAL_FORCE, "<=", "eV/Å"))
    return found


def _record(label: str, fraction: float, value: Assessed, checks: list[Check], item: Prepared, common: dict[str, Any]) -> Record:
    broken = [c for c in checks if not c.passed]
    status, reason = "ok", ""
    if broken:
        host = any(c.name.startswith("host passes") for c in broken)
        status = "outside tolerance" if host else "failed"
        reason = "; ".join(str(c) for c in broken)
    return Record(
        site=label,
        fraction=fraction,
        k_wind_uohm_cm=value.k,
        k_wind_sigma_parts_uohm_cm=value.parts,
        k_tensor_uohm_cm=value.tensor,
        k_tensor_sigma_uohm_cm=value.tensor_sigma,
        hop_vector_angstrom=item.plan.hop.hop_vector,
        energies_eV=np.array(item.settings.embedding.all_energies_eV),
        k_of_energy_uohm_cm=value.k_of_energy,
        residual_force_eV_per_angstrom=math.nan if item.residual_force is None else item.residual_force,
        status=status,
        reason=reason,
        checks=tuple(checks),
        **common,
    )


def _identity(item: Prepared, check: Document | None) -> dict[str, Any]:
    spec, settings = item.hop.spec, item.settings
    if check is None:
        verdict = "no plane-wave reference for this metal and functional"
    else:
        verdict = "passed" if check["passed"] else "; ".join(check["reasons"])
        verdict += (f" (band rms {check['band_rms']:.3f} eV, DOS {100 * (check['dos_ratio'] - 1):+.1f} %, "
                    f"omega_p {100 * (check['omega_p_ratio'] - 1):+.1f} % off plane waves)")
    origin = provenance.collect(
        settings_hash=settings.digest,
        structure_hash=structure_digest(item.hop),
        host_check=verdict,
        rho_source="; ".join(material(spec.metal).resistivity_sources(300.0)[0]),
    )
    origin["geometry"] = UNRELAXED if item.relaxed is None else str(item.relaxed.folder)
    notes = []
    if item.relaxed is not None and item.relaxed.carried:
        notes.append("relaxed in a cell of another size, vacuum or lattice constant; displacements carried over")
    if settings.structure.mover_lift_A:
        lift = f"{settings.structure.mover_lift_A:g} Å"
        notes.append(f"the mover then moved {lift} out of its place; the residual force is that before")
    if notes:
        origin["geometry_note"] = "; ".join(notes)
    return hop_identity(item.hop, settings, METHOD) | {"provenance": origin}


def hop_identity(hop: Hop, settings: Settings, method: str) -> dict[str, Any]:
    """What every record of a hop says of itself, but for the site and where it comes from."""
    spec = hop.spec
    return {
        "spec": spec.name,
        "metal": spec.metal,
        "facet": spec.facet,
        "defect": spec.kind,
        "hop": spec.hop,
        "species": spec.species,
        "preset": preset_label(settings.preset, dict(settings.overrides)),
        "method": method,
        "basis": basis_name(spec.metal, settings.dft.recipe),
    }


def with_spin_orbit(bulk: Document, sums: Document) -> Document:
    """Values of the step `bulk` with the sums of spinors in place of those without spin; both are of its mesh and widths."""
    served, wider, coarser = (sums["spinor"][name] for name in ("served", "wider", "coarser"))
    return bulk | {name: served[name] for name in ("fermi_energy", "dos", "plasma_energy", "rho_lambda", "n")} | {
        "n_check": wider["n"], "n_coarse": coarser["n"]}


def host_record(metal: str, settings: Settings, bulk: Finished) -> Host:
    """The finished step of a bulk host as it is stored: sums over the Fermi surface, bands, check against plane waves."""
    values = bulk.values
    check = values["check"]
    identity = {
        "metal": metal, "facet": "bulk", "basis": basis_name(metal, settings.dft.recipe),
        "preset": preset_label(settings.preset, dict(settings.overrides)), "functional": settings.dft.functional,
        "fermi_energy_eV": values["fermi_energy"], "dos_per_eV_atom": values["dos"], "omega_p_eV": values["plasma_energy"],
        "n_eV_angstrom2": values["n"], "rho_lambda_fohm_m2": values["rho_lambda"] / uohm_cm * 1e-3,
    }
    origin = {**provenance.versions(), "git_commit": provenance.git_commit(), "settings_hash": settings.digest}
    if settings.dft.spin_orbit:
        origin["bands"] = "bands and their comparison with plane waves are without spin-orbit coupling"
    if check is None:
        reason = "no plane-wave reference for this metal and functional"
        return Host(**identity, status="outside tolerance", reason=reason, provenance=origin)
    bands = bulk.arrays("bands.npz")
    path, ticks = joined_path(bands["path"], {int(i): letter for i, letter in check["labels"].items()})
    limits = Tolerance()
    checks = (
        Check("band rms error", check["band_rms"], limits.band_rms, "<=", "eV"),
        Check("DOS(E_F) against plane waves, relative", abs(check["dos_ratio"] - 1), limits.dos),
        Check("plasma energy against plane waves, relative", abs(check["omega_p_ratio"] - 1), limits.omega_p),
        Check("smallest eigenvalue of S(k)", check["overlap_min"], limits.overlap, ">="),
    )
    return Host(
        **identity,
        status="ok" if check["passed"] else "outside tolerance",
        reason="; ".join(check["reasons"]),
        dos_compared_per_eV_atom=check["dos"],
        omega_p_compared_eV=check["omega_p"],
        dos_plane_wave_per_eV_atom=check["dos_plane_wave"],
        omega_p_plane_wave_eV=check["omega_p_plane_wave"],
        band_rms_eV=check["band_rms"],
        path=path,
        path_ticks=ticks,
        bands_lcao_eV=bands["bands"],
        bands_plane_wave_eV=bands["reference"],
        checks=checks,
        provenance=origin,
    )
