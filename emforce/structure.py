"""From a specification to a hop: host cell, supercell, and the defect at each point of the path.

`build_hop` is the one entry; `thick_host` makes the slab that the surface is embedded in; `describe` says in
words what was built. Geometries here are starting points (ideal lattice, hard-sphere heights): the ground
state relaxes them, and relaxed.py reads relaxed ones back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from emforce.errors import InputError
from emforce.hop import FloatArray, Hop, Image, image_label
from emforce.hosts import bulk_unit, neighbour_distance, slab_unit
from emforce.materials import material
from emforce.settings import Settings
from emforce.sites import adatom_path, contact_distance, contact_height, vacancy_path
from emforce.spec import Spec, list_hops, load_spec

__all__ = ["Hop", "Image", "Spec", "build_hop", "built_hop", "describe", "list_hops", "load_spec", "thick_host"]

Size = tuple[int, int, int]


def build_hop(spec: Spec, *, size: Size, layers: int, vacuum: float, functional: str = "PBE") -> Hop:
    """Host cell and defect supercells of a specification.

    Parameters
    ----------
    size : repetition of the smallest host cell, (n1, n2, 1) for a slab, (n1, n2, n3) for the bulk
    layers : layers of the slab (not used for the bulk)
    vacuum : empty space below the slab and above the adatom, Angstrom (not used for the bulk)
    functional : whose lattice constant to take, see materials.toml

    For kind "files" the files say it all, and size, layers and vacuum are not used.

    Raises `InputError` for sizes that are too small and for files that do not match.
    """
    if spec.kind == "files":
        from emforce.matching import hop_from_files

        return hop_from_files(spec)
    size = _check_size(spec, size)
    if spec.kind == "vacancy":
        return _vacancy_hop(spec, size, functional)
    return _adatom_hop(spec, size, layers, vacuum, functional)


def built_hop(path: Path, settings: Settings, between: bool = False) -> Hop:
    """The hop of a specification as built, not relaxed; with `between` also the images that only their energy is wanted of."""
    spec = load_spec(path)
    if between:
        spec = spec.with_between()
    s = settings.structure
    bulk = s.bulk_size if spec.cubic else s.primitive_size
    size = bulk if spec.facet == "bulk" else s.slab_size
    return build_hop(spec, size=size, layers=s.layers, vacuum=s.vacuum_A, functional=settings.dft.functional)


def _check_size(spec: Spec, size: Size) -> Size:
    slab = spec.kind == "adatom"
    allowed = "(n1, n2, 1) with n1, n2 of 2 or more" if slab else "three integers of 2 or more"
    ok = len(size) == 3 and all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in size)
    if not ok or min(size[:2]) < 2 or (size[2] != 1 if slab else size[2] < 2):
        raise InputError("size", tuple(size), allowed)
    return int(size[0]), int(size[1]), int(size[2])


def _adatom_hop(spec: Spec, size: Size, layers: int, vacuum: float, functional: str) -> Hop:
    contact = contact_distance(spec.metal, spec.species, functional)
    unit = slab_unit(
        spec.metal, spec.facet, layers, vacuum, functional, clearance=_clearance(spec, functional)
    )
    host = unit.repeat(size)
    start, vector = adatom_path((spec.metal, spec.facet, spec.hop), host, functional)
    images = []
    for fraction in spec.images:
        xy = start + fraction * vector[:2]
        position = np.append(xy, contact_height(host, xy, contact))
        images.append(_image(fraction, host, spec.species, position, removed=()))
    return Hop(spec, unit, size, tuple(images), vector, symmetric=_symmetric(images[0], vector))


def _clearance(spec: Spec, functional: str) -> float:
    """Room for the adatom above the top layer: one neighbour distance, the height of an atom on top of
    another.

    More than any image needs; taken so that all hops on a facet share one host.
    """
    return max(
        neighbour_distance(spec.metal, functional), contact_distance(spec.metal, spec.species, functional)
    )


def _vacancy_hop(spec: Spec, size: Size, functional: str) -> Hop:
    unit = bulk_unit(spec.metal, functional, cubic=spec.cubic)
    host = unit.repeat(size)
    initial, final, vector = vacancy_path(spec.metal, spec.hop, host, functional)
    start = host.positions[initial]
    removed = tuple(sorted((initial, final)))
    images = [_image(s, host, spec.species, start + s * vector, removed) for s in spec.images]
    return Hop(spec, unit, size, tuple(images), vector, symmetric=_symmetric(images[0], vector))


def _image(
    fraction: float, host: Atoms, species: str, position: FloatArray, removed: tuple[int, ...]
) -> Image:
    """Host supercell without the removed sites, and the mover as its last atom."""
    kept = np.setdiff1d(np.arange(len(host)), removed)
    atoms = host[kept] + Atoms(species, positions=[position])
    sites = np.append(kept, -1)
    return Image(fraction, image_label(fraction), atoms, len(kept), sites, removed)


def _symmetric(image: Image, vector: FloatArray) -> bool:
    from emforce.site_symmetry import hop_is_symmetric

    return hop_is_symmetric(image, vector)


def thick_host(
    spec: Spec, layers: int, vacuum: float, functional: str = "PBE", relaxed: Atoms | None = None
) -> tuple[Atoms, np.ndarray]:
    """Thick 1x1 slab for the embedding, whose top surface coincides with that of the thin slab.

    Parameters
    ----------
    layers : layers of the thick slab
    vacuum : empty space below, and above the room for the adatom, Angstrom
    relaxed : the thin slab (`Hop.host_unit`), relaxed or not; its upper interlayer spacings become those of
        the thick slab's upper half, its lower ones those of the lower half, with the bulk spacing in between

    Returns
    -------
    slab : Atoms, layers from the bottom up
    top_map : index of the atom of the thick slab that corresponds to each atom of the thin slab (or, without
        `relaxed`, to each of its own). x and y are the same; z differs by one constant for the layers of the
        upper half.

    Raises `InputError` for the bulk, for fewer layers than the thin slab has, or a thin slab of another cell.
    """
    if spec.kind == "files":
        from emforce.matching import thick_host_from_files

        return thick_host_from_files(spec, relaxed)
    if spec.facet == "bulk":
        raise InputError("facet", spec.facet, "a surface; a bulk host needs no thick slab")
    thick = slab_unit(
        spec.metal, spec.facet, layers, vacuum, functional, clearance=_clearance(spec, functional)
    )
    if relaxed is None:
        return thick, np.arange(layers)
    thin_layers = len(relaxed)
    if layers < thin_layers:
        raise InputError("layers", layers, f"at least the {thin_layers} layers of the thin slab")
    if not np.allclose(relaxed.cell.array[:2], thick.cell.array[:2], atol=1e-4):
        raise InputError(
            "relaxed", relaxed.cell.array[:2].tolist(), f"in-plane cell {thick.cell.array[:2].tolist()}"
        )
    if (np.diff(relaxed.positions[:, 2]) < 0.2).any() or set(relaxed.symbols) != {spec.metal}:
        raise InputError(
            "relaxed", str(relaxed.symbols), f"a 1x1 slab of {spec.metal}, layers from the bottom up"
        )
    return _with_spacings(thick, relaxed), np.arange(layers - thin_layers, layers)


def _with_spacings(thick: Atoms, thin: Atoms) -> Atoms:
    """The thick slab with the thin slab's surface spacings, and its layers above those of the thin slab."""
    gaps = np.diff(thick.positions[:, 2])
    thin_gaps = np.diff(thin.positions[:, 2])
    if len(thin) == len(thick):
        gaps = thin_gaps
    else:
        outer = len(thin) // 2  # the middle gap of an even slab counts as an upper and as a lower one
        outer = min(outer, len(gaps) // 2)
        gaps[:outer] = thin_gaps[:outer]
        gaps[len(gaps) - outer :] = thin_gaps[len(thin_gaps) - outer :]
    heights = thick.positions[0, 2] + np.concatenate([[0.0], np.cumsum(gaps)])
    slab = thick.copy()
    slab.cell[2, 2] += heights[-1] - thick.positions[-1, 2]  # the vacuum stays what it was
    slab.positions[:, 2] = heights
    # the in-plane offset of the stacking counts from the top, so that the thick slab goes on below the thin
    # one
    shift = thin.positions[-1, :2] - thick.positions[-1, :2]
    slab.positions[:, :2] += shift
    slab.positions[len(thick) - len(thin) :, :2] = _nearest_image(slab, thin)
    return slab


def _nearest_image(slab: Atoms, thin: Atoms) -> FloatArray:
    """In-plane positions of the thin slab, having checked that the thick one has the same stacking there."""
    upper = slab.positions[len(slab) - len(thin) :]
    delta = np.column_stack([thin.positions[:, :2] - upper[:, :2], np.zeros(len(thin))])
    _vectors, lengths = find_mic(delta, slab.cell, pbc=(True, True, False))
    if lengths.max() > 0.3:
        raise InputError(
            "relaxed", round(float(lengths.max()), 3), "the stacking of the ideal slab, within 0.3 Angstrom"
        )
    positions: FloatArray = thin.positions[:, :2]
    return positions


def describe(hop: Hop) -> str:
    """What was built, as a few lines of text: metal, facet, atoms, hop length, neighbours of the mover per
    image.
    """
    spec, n = hop.spec, hop.repeat
    structure = material(spec.metal).structure
    place = "bulk" if spec.facet == "bulk" else f"({spec.facet})"
    length = float(np.linalg.norm(hop.hop_vector))
    vector = ", ".join(f"{x:.3f}" for x in hop.hop_vector)
    sites = len(hop.host_unit) * int(np.prod(n))
    lines = [
        f"{spec.name}: {spec.species} on {structure} {spec.metal} {place}, {spec.kind}, hop {spec.hop}",
        f"host cell: {len(hop.host_unit)} atoms; supercell {n[0]} x {n[1]} x {n[2]} = {sites} sites",
        f"hop vector: ({vector}) Angstrom, length {length:.3f} Angstrom; "
        + ("the way back mirrors the way there" if hop.symmetric else "initial and final site differ"),
    ]
    for image in hop.images:
        shells = ", ".join(f"{count} at {d:.3f}" for d, count in neighbour_shells(image))
        lines.append(
            f"image {image.fraction:.2f} ({image.label}): {len(image.atoms)} atoms, "
            f"{len(image.removed)} sites empty; neighbours of the mover: {shells} Angstrom"
        )
    return "\n".join(lines)


def neighbour_shells(image: Image, within: float = 1.25) -> list[tuple[float, int]]:
    """Distances from the mover to its neighbours, nearest first, as (distance in Angstrom, how many).

    All shells up to `within` times the nearest one; distances closer than 0.01 Angstrom count as one
    shell.
    """
    atoms, m = image.atoms, image.mover
    others = np.delete(np.arange(len(atoms)), m)
    _, d = find_mic(atoms.positions[others] - atoms.positions[m], atoms.cell, atoms.pbc)
    d = np.sort(d[d <= within * d.min()])
    shells: list[tuple[float, int]] = []
    for x in d:
        if shells and x - shells[-1][0] < 0.01:
            shells[-1] = (shells[-1][0], shells[-1][1] + 1)
        else:
            shells.append((float(x), 1))
    return shells
