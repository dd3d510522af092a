"""Relaxed structures of a hop: the host, and the mover with its neighbours at every image, the saddle too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import units
from ase.geometry import find_mic

from emforce import provenance
from emforce.basis import basis_name
from emforce.campaign import Campaign, Placement
from emforce.errors import ConvergenceError, EmforceError, InputError
from emforce.hop import FloatArray, Hop, Image, nearness
from emforce.jobs import Step, atoms_document
from emforce.materials import material
from emforce.plan import dft_document, host_grid, setups, title_of
from emforce.relaxed import (
    Relaxation,
    Source,
    apply_relaxed,
    carried_over,
    follow_host,
    image_key,
    read_relaxed,
    relaxed_smaller,
    with_positions,
    write_relaxed,
)
from emforce.settings import Settings, load_settings
from emforce.store import Finished, Store
from emforce.workflow import built_hop, relaxed_folder

#: host atoms within this many nearest-neighbour distances of the mover, anywhere on its way, move with it
NEIGHBOUR_REACH = 1.25
MAX_STEPS = 40


def relax_hops(
    spec_paths: Sequence[Path],
    *,
    preset: str,
    overrides: Mapping[str, object],
    workers: int | None,
    store: Path,
    cluster: str = "local",
    force_tolerance_eV_per_A: float = 0.05,
    keep: bool = False,
) -> list[Path]:
    """Relax host and images of every specification; returns the folders written.

    The images start from the relaxed host, with the displacements of a smaller cell's relaxed structures where there are some
    beside the folder (`at_start`). At s = 0 and 1 the mover is free; elsewhere it stays in the plane through its
    position normal to the hop vector, which at the saddle of a symmetric hop is no constraint at all.

    Parameters
    ----------
    keep : host and images that the folder has already stay as they are; those that it lacks start between their neighbours

    Raises
    ------
    InputError where `keep` meets structures of another cell, functional, basis or larger forces
    EmforceError naming the relaxations that failed; those that finished stay in the store
    """
    settings = load_settings(preset, overrides).without_spin_orbit().as_relaxed()
    place = Placement(cluster, workers, tuple(map(str, spec_paths)))
    place.check()
    hops = [built_hop(path, settings, between=True) for path in spec_paths]
    folders = {hop.spec.name: _folder(hop, settings) for hop in hops}
    kept = {hop.spec.name: _at_hand(hop, folders[hop.spec.name], settings, force_tolerance_eV_per_A)
            for hop in hops if keep and (folders[hop.spec.name] / "relaxed.json").is_file()}
    hosts = {hop.spec.name: _host_step(hop, settings, force_tolerance_eV_per_A) for hop in hops if hop.spec.name not in kept}
    disk = Store(store)
    with Campaign(disk, place) as campaign:
        _run(campaign, list(hosts.values()))
        plans = {}
        for hop in hops:
            plan = kept.get(hop.spec.name)
            if plan is None:
                unit = np.array(_find(disk, hosts[hop.spec.name]).values["positions"])
                hop = at_start(hop, unit, relaxed_smaller(hop, folders[hop.spec.name], settings.dft.functional))
                plan = _Plan(hop, tuple(image.fraction for image in hop.images), tuple(free_atoms(hop)), None)
            plans[hop.spec.name] = plan
        images = {name: {f: _image_step(plan, plan.hop.image(f), settings, force_tolerance_eV_per_A) for f in plan.wanted}
                  for name, plan in plans.items()}
        _run(campaign, [step for steps in images.values() for step in steps.values()])
    for name, plan in plans.items():
        done = {f: _find(disk, step) for f, step in images[name].items()}
        if done:
            relaxed = with_positions(plan.hop, images={f: np.array(d.values["positions"]) for f, d in done.items()})
            host = _find(disk, hosts[name]) if name in hosts else None
            keys = None if plan.kept is None else [image_key(f) for f in done]
            write_relaxed(relaxed, folders[name], _relaxation(plan, settings, host, done), keys)
    return list(folders.values())


@dataclass(frozen=True)
class _Plan:
    """A hop about to be relaxed.

    Attributes
    ----------
    hop : on its relaxed host
    wanted : fractions of the images to be relaxed
    free : atoms that move
    kept : what is known of the host and of the images that stay; None where all are relaxed
    """

    hop: Hop
    wanted: tuple[float, ...]
    free: tuple[int, ...]
    kept: Relaxation | None


def _folder(hop: Hop, settings: Settings) -> Path:
    folder = relaxed_folder(hop, settings)
    if folder is None:
        raise InputError("structure.relaxed", "", "a folder for the relaxed structures")
    return folder


def _at_hand(hop: Hop, folder: Path, settings: Settings, tolerance: float) -> _Plan:
    """The hop with the structures of a folder, and between them, for a start, in the images that it lacks."""
    structures, found = read_relaxed(folder)
    known = [image for image in hop.images if image_key(image.fraction) in structures]
    if not known:
        raise InputError("--keep", str(folder), "a folder with at least one image of the hop beside the host")
    same = (settings.dft.functional, basis_name(hop.spec.metal, settings.dft.recipe), hop.repeat)
    there = (found.functional, found.basis, tuple(found.size))
    if there != same:
        raise InputError("--keep", f"{folder}: {there}", f"structures with functional, basis and size {same}")
    if not found.fmax_eV_per_A <= tolerance:
        raise InputError("--keep", f"{folder}: forces up to {found.fmax_eV_per_A:.3f} eV/A", f"at most {tolerance} eV/A")
    whole = between_neighbours(hop, apply_relaxed(replace(hop, images=tuple(known)), folder))
    free = found.relaxed_atoms.get(image_key(known[0].fraction), ()) or tuple(free_atoms(hop))
    wanted = tuple(image.fraction for image in hop.images if image_key(image.fraction) not in structures)
    return _Plan(whole, wanted, tuple(free), found)


def at_start(hop: Hop, host_unit: FloatArray, smaller: Source | None) -> Hop:
    """The hop as its relaxation begins: on its relaxed host, displaced from it as the structures of a smaller cell from theirs.

    Parameters
    ----------
    hop : as built
    host_unit : (atoms, 3) relaxed positions of the host cell, Angstrom
    smaller : by `relaxed_smaller`; where there is none, or it does not fit (other images), the atoms stay as the host has them
    """
    if smaller is not None:
        try:
            return carried_over(hop, smaller.folder, host_unit)
        except InputError:
            pass
    return follow_host(hop, host_unit)


def between_neighbours(hop: Hop, known: Hop) -> Hop:
    """The hop with the images of `known`, and the others displaced from the relaxed host by what their neighbours are.

    Between two known images the displacements are interpolated in the fraction, beyond the last they are those of the nearest.
    The mover keeps its place along the hop.
    """
    hop = follow_host(hop, known.host_unit.positions)
    fractions = [image.fraction for image in known.images]
    gone = np.array([find_mic(image.atoms.positions - hop.image(image.fraction).atoms.positions,
                              image.atoms.cell, image.atoms.pbc)[0] for image in known.images])
    unit = hop.hop_vector / np.linalg.norm(hop.hop_vector)
    positions = {}
    for image in hop.images:
        if image.fraction in fractions:
            positions[image.fraction] = known.image(image.fraction).atoms.positions
            continue
        weights = [np.interp(image.fraction, fractions, of_one) for of_one in np.eye(len(fractions))]
        moved = np.tensordot(weights, gone, axes=1)
        moved[image.mover] -= (moved[image.mover] @ unit) * unit
        positions[image.fraction] = image.atoms.positions + moved
    return with_positions(hop, images=positions)


def _run(campaign: Campaign, steps: Sequence[Step]) -> None:
    titles = {step.name: step.title for step in steps}
    failed = campaign.compute(steps)
    if failed:
        raise ConvergenceError("; ".join(f"{titles[name]}: {reason}" for name, reason in failed.items()))


def _find(store: Store, step: Step) -> Finished:
    found = store.find(step.kind, step.key)
    if found is None:
        raise EmforceError(f"{step.title}: finished but gone from the store; run the same command again")
    return found


def _host_step(hop: Hop, settings: Settings, tolerance: float) -> Step:
    """Slab: all layers free along z. Bulk: nothing to relax, one evaluation."""
    atoms = hop.host_unit
    slab = not atoms.pbc[2]
    projector = np.zeros((len(atoms), 3, 3))
    if slab:
        projector[:, 2, 2] = 1.0
    kpts = settings.dft.slab_kpts if slab else settings.dft.bulk_kpts
    return Step("relax", f"relax {title_of(hop)} host", {
        "atoms": atoms_document(atoms),
        "setups": setups(set(atoms.get_chemical_symbols()), settings.dft.recipe),
        "dft": dft_document(settings),
        "kpts": [k * r for k, r in zip(kpts, hop.repeat, strict=True)],
        "grid": host_grid(atoms, hop.repeat, settings),
        "directions": projector.tolist(),
        "force_tolerance": 0.4 * tolerance,
        "steps": MAX_STEPS,
        "stiffness": stiffness(hop.spec.metal),
    }, seconds=60.0)


def stiffness(metal: str) -> float:
    """On-site force constant of a Debye solid, 3/5 m (k_B Theta/hbar)^2 per direction, eV/Angstrom^2: Cu 8, Mo 18, W 29.

    Where the relaxation's Hessian begins; 10 where no Debye temperature is known.
    """
    data = material(metal)
    if data.debye_temperature is None:
        return 10.0
    omega = data.debye_temperature.value * units.kB / (units._hbar / units._e)
    return float(0.6 * data.mass_amu * units._amu * omega**2 / units._e * 1e-20)


def free_atoms(hop: Hop, reach: float = NEIGHBOUR_REACH) -> list[int]:
    """The mover and its neighbours at any image and at the end of the hop: the same atoms for all images, increasing.

    Neighbours are within `reach` times the distance of the nearest one there.
    """
    first = hop.images[0]
    places = [(image.atoms, image.mover_position) for image in hop.images]
    if hop.symmetric and first.fraction < 1e-6:
        places.append((first.atoms, first.mover_position + hop.hop_vector))
    near = nearness(first.mover, places) <= reach
    near[first.mover] = True
    return [int(i) for i in np.flatnonzero(near)]


def _image_step(plan: _Plan, image: Image, settings: Settings, tolerance: float) -> Step:
    from emforce.dft import grid_points

    hop = plan.hop
    projector = np.zeros((len(image.atoms), 3, 3))
    projector[list(plan.free)] = np.eye(3)
    if 1e-6 < image.fraction < 1 - 1e-6:
        unit = hop.hop_vector / np.linalg.norm(hop.hop_vector)
        projector[image.mover] = np.eye(3) - np.outer(unit, unit)
    slab = not image.atoms.pbc[2]
    return Step("relax", f"relax {title_of(hop)} {image.label}", {
        "atoms": atoms_document(image.atoms),
        "setups": setups(set(image.atoms.get_chemical_symbols()), settings.dft.recipe),
        "dft": dft_document(settings),
        "kpts": settings.dft.slab_kpts if slab else settings.dft.bulk_kpts,
        "grid": grid_points(np.array(hop.host_unit.cell), settings.dft.grid_A, hop.repeat),
        "directions": projector.tolist(),
        "force_tolerance": tolerance,
        "steps": MAX_STEPS,
        "stiffness": stiffness(hop.spec.metal),
    }, seconds=20.0 * len(image.atoms))


def _relaxation(plan: _Plan, settings: Settings, host: Finished | None, images: Mapping[float, Finished]) -> Relaxation:
    """How the structures of a hop were relaxed: those at hand, and those that have just been."""
    energies = {image_key(f): done.values["energy"] for f, done in images.items()}
    moved = dict.fromkeys(energies, plan.free)
    fmax = max(done.values["force"] for done in images.values())
    origin = {**provenance.versions(), "git_commit": provenance.git_commit(), "settings_hash": settings.digest}
    if host is not None:
        energies["host"], moved["host"] = host.values["energy"], tuple(range(len(plan.hop.host_unit)))
    if plan.kept is not None:
        energies, moved = {**plan.kept.energies_eV, **energies}, {**plan.kept.relaxed_atoms, **moved}
        fmax = max(fmax, plan.kept.fmax_eV_per_A)
        origin |= {f"kept_{name}": plan.kept.provenance[name] for name in ("git_commit", "settings_hash")
                   if name in plan.kept.provenance}
    return Relaxation(
        functional=settings.dft.functional,
        basis=basis_name(plan.hop.spec.metal, settings.dft.recipe),
        fmax_eV_per_A=fmax,
        size=plan.hop.repeat,
        layers=0 if plan.hop.spec.facet == "bulk" else settings.structure.layers,
        energies_eV=energies,
        relaxed_atoms=moved,
        provenance=origin,
    )


__all__ = ["between_neighbours", "free_atoms", "relax_hops"]
