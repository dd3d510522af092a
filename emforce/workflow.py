"""The main job: from specifications to stored records. Reads like the method section: structures, steps, values, records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from emforce.database import Database
from emforce.errors import EmforceError, InputError
from emforce.farm import Task, run_tasks
from emforce.hop import Hop
from emforce.jobs import Document, Step, execute
from emforce.materials import material
from emforce.physics.hostcheck import Tolerance
from emforce.plan import HopPlan, displaced_axes, plan, structure_digest
from emforce.progress import Progress
from emforce.record import HOP_AVERAGE, Host, Record, preset_label
from emforce.relaxed import apply_relaxed, read_relaxed
from emforce.settings import Settings, load_settings
from emforce.site_symmetry import force_directions
from emforce.store import Finished, Store
from emforce.stored import Check
from emforce.structure import build_hop, load_spec
from emforce.units import uohm_cm

METHOD = "wind force, LCAO T-matrix embedding"
#: limits of the checks that a served record has passed
MAX_CONDITION = 1e6
MAX_FAR_DEVIATION_eV = 0.15
MAX_ASYMMETRY_SHARE = 0.2
MAX_RESIDUAL_FORCE = 0.3


@dataclass(frozen=True)
class Prepared:
    """A hop with its settings, its plan, and how it was relaxed (None: as built)."""

    hop: Hop
    settings: Settings
    plan: HopPlan
    residual_force: float | None


def load_hops(spec_paths: Sequence[Path], *, preset: str, overrides: Mapping[str, object]) -> list[Hop]:
    """Structures of specifications as a preset builds them, relaxed where relaxed structures are at hand."""
    settings = load_settings(preset, overrides)
    return [_hop(path, settings)[0] for path in spec_paths]


def built_hop(path: Path, settings: Settings) -> Hop:
    """The hop of a specification as built, not relaxed."""
    spec = load_spec(path)
    s = settings.structure
    size = s.bulk_size if spec.facet == "bulk" else s.slab_size
    return build_hop(spec, size=size, layers=s.layers, vacuum=s.vacuum_A, functional=settings.dft.functional)


def _hop(path: Path, settings: Settings) -> tuple[Hop, float | None]:
    hop = built_hop(path, settings)
    folder = relaxed_folder(hop, settings)
    if folder is None or not (folder / "relaxed.json").is_file():
        return hop, None
    _, relaxation = read_relaxed(folder)
    return apply_relaxed(hop, folder), float(relaxation.fmax_eV_per_A)


def relaxed_folder(hop: Hop, settings: Settings) -> Path | None:
    """Folder of the relaxed structures of a hop in the cell of these settings; None where they are not wanted."""
    if not settings.structure.relaxed:
        return None
    layers = "" if hop.spec.facet == "bulk" else f"-{settings.structure.layers}l"
    return Path(settings.structure.relaxed) / hop.spec.name / ("x".join(map(str, hop.repeat)) + layers)


def run(
    spec_paths: Sequence[Path],
    *,
    preset: str,
    overrides: Mapping[str, object],
    workers: int,
    database: str | None,
    store: Path,
) -> list[Record]:
    """Compute and store the wind force of every specification; returns the records, failed ones included.

    Raises
    ------
    InputError before anything is written when a specification or a setting is not allowed
    """
    settings = load_settings(preset, overrides)
    prepared = []
    for path in spec_paths:
        hop, residual = _hop(path, settings)
        _check_reach(hop)
        prepared.append(Prepared(hop, settings, plan(hop, settings), residual))
    if len({p.hop.spec.name for p in prepared}) < len(prepared):
        raise InputError("SPEC", [p.hop.spec.name for p in prepared], "specifications with different names")
    disk = Store(store)
    with Database(database, create=True) as rows:
        failed = _compute(prepared, disk, workers)
        records = []
        for item in prepared:
            made, host = _records(item, disk, failed)
            if host is not None:
                rows.add_host(host)
            for record in made:
                rows.add(record)
            records += made
    return records


def _check_reach(hop: Hop) -> None:
    """The average along the hop needs points from end to end, or half of them where the way back mirrors the way there."""
    fractions = [image.fraction for image in hop.images]
    needed = (0.0, 0.5) if hop.symmetric else (0.0, 1.0)
    if min(fractions) > needed[0] + 1e-6 or max(fractions) < needed[1] - 1e-6:
        raise InputError("images", fractions, f"points of the hop that reach from {needed[0]:g} to {needed[1]:g}")


def _compute(prepared: Sequence[Prepared], store: Store, workers: int) -> dict[str, str]:
    """Run what is not finished, longest chains first; returns the reasons of failed steps by name."""
    steps = {step.name: step for item in prepared for step in item.plan.steps()}
    found = {name for name, step in steps.items() if store.find(step.kind, step.key) is not None}
    with Progress([(steps[n].title, steps[n].seconds) for n in steps], workers=workers) as progress:
        for name in found:
            progress.finish(steps[name].title, note="cached")
        if len(found) == len(steps):
            return {}
        order = sorted((n for n in steps if n not in found), key=lambda n: -_tail(steps[n], steps))
        tasks = {
            n: Task(execute, (steps[n], str(store.root)), tuple(x.name for x in steps[n].needs.values() if x.name not in found))
            for n in order
        }

        def report(name: str, event: str) -> None:
            if event == "begin":
                progress.begin(steps[name].title)
            else:
                progress.finish(steps[name].title, note="" if event == "done" else event)

        return run_tasks(tasks, workers, report)


def _tail(step: Step, steps: Mapping[str, Step]) -> float:
    """Seconds from the start of a step to the end of the longest chain that waits for it."""
    after = [s for s in steps.values() if any(n.name == step.name for n in s.needs.values())]
    return step.seconds + max((_tail(s, steps) for s in after), default=0.0)


# records


def _failure(item: Prepared, failed: Mapping[str, str]) -> str | None:
    names = [step.name for step in item.plan.steps()]
    reasons = [failed[n] for n in names if n in failed and not failed[n].startswith("needs ")]
    return reasons[0] if reasons else next((failed[n] for n in names if n in failed), None)


def _records(item: Prepared, store: Store, failed: Mapping[str, str]) -> tuple[list[Record], Host | None]:
    bulk = store.find("bulk", item.plan.bulk.key)
    reason = _failure(item, failed)
    check = None if bulk is None else bulk.values["check"]
    host = None if bulk is None else _host_record(item, bulk)
    common = _identity(item, check)
    if reason is not None or bulk is None:
        status = "unconverged" if "self-consistency" in (reason or "") else "failed"
        site = [(i.label, i.fraction) for i in item.hop.images] + [(HOP_AVERAGE, math.nan)]
        return [Record(site=label, fraction=f, status=status, reason=reason or "the bulk host is missing", **common)
                for label, f in site], host
    wind = store.find("wind", item.plan.wind.key)
    if wind is None:
        raise EmforceError("the embedding finished but its output is gone from the store; run the same command again")
    return _values(item, wind.values, bulk.values, common), host


def _values(item: Prepared, wind: Document, bulk: Document, common: dict[str, Any]) -> list[Record]:
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
    images = assess_images(
        wind, bulk, settings, [tuple(w) for w in wanted], [s.rotations for s in symmetry],
        [all(signs == ("+",) for signs in w.values()) for w in wanted], [misplacement] * len(hop.images),
    )
    found = []
    for number, (image, value) in enumerate(zip(hop.images, images, strict=True)):
        checks = _checks(value, bulk, item, wind["far_deviation"][number])
        found.append(_record(image.label, image.fraction, value, checks, item, common))
    mean = average(images, [i.fraction for i in hop.images], hop.symmetric)
    checks = _checks(mean, bulk, item, max(wind["far_deviation"]))
    found.append(_record(HOP_AVERAGE, math.nan, mean, checks, item, common))
    return found


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
        hop_vector_angstrom=item.plan.hop.hop_vector,
        energies_eV=np.array(item.settings.embedding.energies_eV),
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
        verdict = "no plane-wave reference for this metal"
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
    origin["geometry"] = "as built, not relaxed" if item.residual_force is None else str(relaxed_folder(item.hop, settings))
    return {
        "spec": spec.name,
        "metal": spec.metal,
        "facet": spec.facet,
        "defect": spec.kind,
        "hop": spec.hop,
        "species": spec.species,
        "preset": preset_label(settings.preset, dict(settings.overrides)),
        "method": METHOD,
        "basis": basis_name(spec.metal, settings.dft.recipe),
        "provenance": origin,
    }


def _host_record(item: Prepared, bulk: Finished) -> Host | None:
    spec, settings = item.hop.spec, item.settings
    values = bulk.values
    check = values["check"]
    identity = {
        "metal": spec.metal, "facet": "bulk", "basis": basis_name(spec.metal, settings.dft.recipe),
        "preset": preset_label(settings.preset, dict(settings.overrides)), "functional": settings.dft.functional,
        "fermi_energy_eV": values["fermi_energy"], "dos_per_eV_atom": values["dos"], "omega_p_eV": values["plasma_energy"],
        "n_eV_angstrom2": values["n"], "rho_lambda_fohm_m2": values["rho_lambda"] / uohm_cm * 1e-3,
    }
    origin = {**provenance.versions(), "git_commit": provenance.git_commit(), "settings_hash": settings.digest}
    if check is None:
        return Host(**identity, status="outside tolerance", reason="no plane-wave reference for this metal", provenance=origin)
    bands = bulk.arrays("bands.npz")
    path = _joined(bands["path"], [int(i) for i in check["labels"]])
    names: dict[float, str] = {}
    for i, letter in check["labels"].items():
        at = float(path[int(i)])
        names[at] = f"{names[at]}|{letter}" if at in names else letter
    ticks = tuple(names.items())
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


def _joined(path: np.ndarray, special: Sequence[int]) -> np.ndarray:
    """Distances along a band path without its jumps: between two special points that follow each other at once."""
    steps = np.diff(path, prepend=path[0])
    for i in special:
        if i + 1 in special:
            steps[i + 1] = 0.0
    return np.asarray(np.cumsum(steps))


def status(store: Path) -> list[str]:
    """Lines that say what the store holds: finished steps by kind with their time, and damage that was found."""
    folder = Path(store) / "steps"
    if not folder.is_dir():
        return [f"{store}: no step has been run"]
    import json

    kinds: dict[str, list[float]] = {}
    for meta in folder.glob("[!.]*/meta.json"):
        data = json.loads(meta.read_text(encoding="utf-8"))
        kinds.setdefault(data["kind"], []).append(float(data["seconds"]))
    lines = [f"{store}: {sum(map(len, kinds.values()))} finished steps"]
    lines += [f"  {kind}: {len(t)} finished, {sum(t) / 60:.1f} min in all" for kind, t in sorted(kinds.items())]
    running = sorted(p.name for p in folder.glob(".*"))
    if running:
        lines.append(f"  {len(running)} under way or left by a killed process: {', '.join(running)}")
    damaged = Path(store) / "damaged.log"
    if damaged.is_file():
        lines.append(f"  damaged files that were computed again: {damaged}")
    return lines


__all__ = ["built_hop", "load_hops", "relaxed_folder", "run", "status"]
