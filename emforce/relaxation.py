"""Relaxed structures of a hop: the host, and the mover with its neighbours at every image, the saddle too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import units

from emforce import provenance
from emforce.basis import basis_name
from emforce.campaign import Campaign, Placement
from emforce.errors import ConvergenceError, EmforceError
from emforce.hop import Hop, Image, nearness
from emforce.jobs import Step, atoms_document
from emforce.materials import material
from emforce.plan import dft_document, host_grid, setups, title_of
from emforce.relaxed import Relaxation, follow_host, image_key, with_positions, write_relaxed
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
) -> list[Path]:
    """Relax host and images of every specification; returns the folders written.

    The images start from the relaxed host. At s = 0 and 1 the mover is free; elsewhere it stays in the plane through its
    position normal to the hop vector, which at the saddle of a symmetric hop is no constraint at all.

    Raises
    ------
    EmforceError naming the relaxations that failed; those that finished stay in the store
    """
    settings = load_settings(preset, overrides)
    place = Placement(cluster, workers, tuple(map(str, spec_paths)))
    place.check()
    hops = [built_hop(path, settings, between=True) for path in spec_paths]
    hosts = {hop.spec.name: _host_step(hop, settings, force_tolerance_eV_per_A) for hop in hops}
    disk = Store(store)
    with Campaign(disk, place) as campaign:
        _run(campaign, list(hosts.values()))
        followed, images = [], {}
        for hop in hops:
            hop = follow_host(hop, np.array(_find(disk, hosts[hop.spec.name]).values["positions"]))
            followed.append(hop)
            images[hop.spec.name] = [_image_step(hop, image, settings, force_tolerance_eV_per_A) for image in hop.images]
        _run(campaign, [step for steps in images.values() for step in steps])
    written = []
    for hop in followed:
        folder = relaxed_folder(hop, settings)
        if folder is None:
            raise EmforceError("structure.relaxed is empty: name a folder for the relaxed structures")
        host = _find(disk, hosts[hop.spec.name])
        done = [_find(disk, step) for step in images[hop.spec.name]]
        positions = {i.fraction: np.array(d.values["positions"]) for i, d in zip(hop.images, done, strict=True)}
        relaxed = with_positions(hop, images=positions)
        write_relaxed(relaxed, folder, _relaxation(hop, settings, host, done))
        written.append(folder)
    return written


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


def _image_step(hop: Hop, image: Image, settings: Settings, tolerance: float) -> Step:
    from emforce.dft import grid_points

    projector = np.zeros((len(image.atoms), 3, 3))
    projector[free_atoms(hop)] = np.eye(3)
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


def _relaxation(hop: Hop, settings: Settings, host: Finished, images: Sequence[Finished]) -> Relaxation:
    keys = [image_key(image.fraction) for image in hop.images]
    energies = {"host": host.values["energy"]} | {k: i.values["energy"] for k, i in zip(keys, images, strict=True)}
    moved = {"host": tuple(range(len(hop.host_unit)))}
    moved |= dict.fromkeys(keys, tuple(free_atoms(hop)))
    return Relaxation(
        functional=settings.dft.functional,
        basis=basis_name(hop.spec.metal, settings.dft.recipe),
        fmax_eV_per_A=max(i.values["force"] for i in images),
        size=hop.repeat,
        layers=0 if hop.spec.facet == "bulk" else settings.structure.layers,
        energies_eV=energies,
        relaxed_atoms=moved,
        provenance={**provenance.versions(), "git_commit": provenance.git_commit(), "settings_hash": settings.digest},
    )


__all__ = ["free_atoms", "relax_hops"]
