"""Hosts and defects given as structure files: any interstitial, foreign atom, step or kink.

The host file holds the smallest host cell, the defect files the supercell with the mover in place.
Everything else follows: how often the cell is repeated, which host site each atom sits on, which sites are
empty.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from scipy.optimize import linear_sum_assignment

from emforce.errors import InputError
from emforce.hop import FloatArray, Hop, Image, IntArray, image_label
from emforce.hosts import FACE_MARGIN, away_from_faces, face_distances, middle_of_gap
from emforce.sites import most_central
from emforce.spec import Spec

#: an atom within this distance of a host site of its own species sits on it, Angstrom
SITE_TOLERANCE = 0.8
#: the defect cell may differ from a whole multiple of the host cell by this much, in host cells
CELL_TOLERANCE = 1e-3
#: smallest distance of a defect atom from the cell faces: the 0.05 A of the displaced runs and a little
DEFECT_MARGIN = 0.06


def read_atoms(field: str, path: Path) -> Atoms:
    """Atoms of a file in any format that ASE knows; `InputError` naming the field when there are none."""
    from ase.io import read

    allowed = "a file with atoms and a cell, in a format that ASE reads"
    if not path.is_file():
        raise InputError(field, str(path), f"{allowed} (no such file)")
    try:
        atoms = read(path)
    except Exception as error:  # ASE's readers raise anything at all on a broken file
        reason = str(error).splitlines() or [type(error).__name__]
        raise InputError(field, str(path), f"{allowed} ({reason[0]})") from None
    if not isinstance(atoms, Atoms) or len(atoms) == 0 or abs(atoms.cell.volume) < 1e-3:
        raise InputError(field, str(path), allowed)
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise InputError(field, str(path), f"{allowed} (a coordinate is not a number)")
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def hop_from_files(spec: Spec) -> Hop:
    """The hop of a specification of kind "files".

    Host and defects must have one origin and one orientation: defect atoms are looked for at the sites of
    host.repeat(...). The whole is shifted, if need be, so that no atom lies near a cell face and the hop runs
    through the middle of the supercell. The mover always counts as new; an atom of another species than the
    site it sits on counts as new, and the site as empty. Slabs (facet other than bulk) are open along the
    third axis.

    Raises `InputError` when a file cannot be read or host, defects, mover and hop vector do not belong
    together.
    """
    host_file, mover, vector = _file_keys(spec)
    unit = read_atoms("host_file", host_file)
    defects = [read_atoms("defect_files", path) for path in spec.defect_files]
    _check_same_atoms(spec, mover, defects)
    repeat = _repeat(unit, defects[0], spec)
    unit, defects = _off_the_faces(unit, defects, repeat, (True, True, spec.facet == "bulk"))
    host = unit.repeat(repeat)
    steps = _mover_steps(spec, mover, vector, defects)
    first = defects[0].positions[mover]
    shift = _to_the_middle(first - spec.images[0] * vector, vector, host, unit.cell.array)
    images = tuple(
        _matched_image(name, s, _shifted(d, shift, mover, first + shift + step), mover, host)
        for name, s, d, step in zip(spec.defect_files, spec.images, defects, steps, strict=True)
    )
    for name, image in zip(spec.defect_files, images, strict=True):
        if not np.array_equal(image.site_of_atom, images[0].site_of_atom):
            raise InputError(
                "defect_files", name.name, "every atom but the mover on the same host site in all images"
            )
    from emforce.site_symmetry import hop_is_symmetric

    return Hop(spec, unit, repeat, images, vector, symmetric=hop_is_symmetric(images[0], vector))


def match_sites(atoms: Atoms, host: Atoms, tolerance: float = SITE_TOLERANCE) -> IntArray:
    """Host site of each atom, -1 where there is none.

    One-to-one, by the smallest sum of squared minimal-image distances; only sites of the atom's own species
    and within `tolerance` (Angstrom) count.
    """
    delta = (atoms.positions[:, None, :] - host.positions[None, :, :]).reshape(-1, 3)
    _, distance = find_mic(delta, host.cell, host.pbc)
    distance = distance.reshape(len(atoms), len(host))
    good = (distance < tolerance) & (atoms.numbers[:, None] == host.numbers[None, :])
    rows, columns = linear_sum_assignment(np.where(good, distance**2, 1e3 * tolerance**2))
    sites = np.full(len(atoms), -1, dtype=np.int64)
    matched = good[rows, columns]
    sites[rows[matched]] = columns[matched]
    return sites


def thick_host_from_files(spec: Spec, thin: Atoms | None) -> tuple[Atoms, IntArray]:
    """Thick slab of a specification of kind "files", in line with the thin slab; see `structure.thick_host`.

    The thick slab is shifted in the plane so that its top layers lie where those of the thin slab do. Raises
    `InputError` when no shift brings every atom of the thin slab onto one of the thick slab.
    """
    if spec.thick_host_file is None:
        raise InputError("thick_host_file", None, "the file of a thick slab with the same surface cell")
    thick = read_atoms("thick_host_file", spec.thick_host_file)
    thick.pbc = (True, True, False)
    if thin is None:
        return away_from_faces(_into_open_cell(thick)), np.arange(len(thick))
    if not np.allclose(thin.cell.array[:2], thick.cell.array[:2], atol=1e-2):
        raise InputError("thick_host_file", str(spec.thick_host_file), "the in-plane cell of the host file")
    thick = _into_open_cell(thick)
    top = int(np.argmax(thin.positions[:, 2]))
    highest = thick.positions[:, 2].max()
    for j in np.flatnonzero(thick.positions[:, 2] > highest - 0.3):
        shift = thin.positions[top] - thick.positions[j]
        moved = thick.copy()
        moved.positions += shift
        sites = match_sites(thin, moved)
        if (sites >= 0).all():
            result = thick.copy()
            result.positions[:, :2] += shift[:2]
            scaled = result.cell.scaled_positions(result.positions)
            scaled[:, :2] %= 1.0
            result.positions[:] = scaled @ result.cell.array
            return result, sites
    raise InputError(
        "thick_host_file",
        str(spec.thick_host_file),
        f"a slab whose top layers are those of the host file, within {SITE_TOLERANCE} Angstrom",
    )


def _check_same_atoms(spec: Spec, mover: int, defects: list[Atoms]) -> None:
    first = defects[0]
    if mover >= len(first):
        raise InputError("mover", mover, f"0 to {len(first) - 1}, an atom of {spec.defect_files[0].name}")
    for path, defect in zip(spec.defect_files, defects, strict=True):
        if not np.array_equal(defect.numbers, first.numbers):
            raise InputError(
                "defect_files", path.name, f"the atoms of {spec.defect_files[0].name} in the same order"
            )
        if not np.allclose(defect.cell.array, first.cell.array, atol=1e-3):
            raise InputError("defect_files", path.name, f"the cell of {spec.defect_files[0].name}")
    found = first.symbols[mover]
    if found != spec.species:
        raise InputError(
            "mover",
            mover,
            f"an atom of species {spec.species}; that atom is {found} (set species, or another mover)",
        )


def _repeat(unit: Atoms, defect: Atoms, spec: Spec) -> tuple[int, int, int]:
    """How often the host cell is repeated in the defect cell: a whole number along each axis."""
    ratio = defect.cell.array @ np.linalg.inv(unit.cell.array)
    whole = np.round(np.diag(ratio)).astype(int)
    if np.abs(ratio - np.diag(whole)).max() > CELL_TOLERANCE * max(1, whole.max()) or whole.min() < 1:
        raise InputError(
            "defect_files",
            [[round(float(x), 3) for x in row] for row in ratio],
            "a cell that is the host cell repeated a whole number of times along each axis "
            "(the matrix, in host cells, must be diagonal and whole)",
        )
    if spec.facet != "bulk" and whole[2] != 1:
        raise InputError("defect_files", int(whole[2]), "the height of the host cell, for a slab")
    return int(whole[0]), int(whole[1]), int(whole[2])


def _off_the_faces(
    unit: Atoms, defects: list[Atoms], repeat: tuple[int, int, int], pbc: tuple[bool, bool, bool]
) -> tuple[Atoms, list[Atoms]]:
    """Host and defects shifted together along the axes where an atom lies near a face, in the open cell of a
    slab.
    """
    cell = unit.cell.array * np.array(repeat)[:, None]
    scaled = unit.cell.scaled_positions(unit.positions) % 1.0
    heights = 1.0 / np.linalg.norm(np.linalg.inv(unit.cell.array), axis=0)
    shift = np.zeros(3)
    for axis in range(3):
        values = scaled[:, axis]
        if not pbc[axis]:  # the vacuum must hold the defect as well
            values = np.concatenate(
                [values, *(d.cell.scaled_positions(d.positions)[:, axis] % 1.0 for d in defects)]
            )
        near_face = (np.minimum(values, 1 - values) * heights[axis]).min() < FACE_MARGIN
        if near_face or (not pbc[axis] and _split(values)):
            shift[axis] = middle_of_gap(values)
    host = Atoms(numbers=unit.numbers, cell=unit.cell, pbc=pbc, scaled_positions=(scaled - shift) % 1.0)
    if face_distances(host).min() < FACE_MARGIN:
        raise InputError(
            "host_file",
            round(float(face_distances(host).min()), 3),
            f"a cell with a gap of {2 * FACE_MARGIN} Angstrom between its atoms along each axis",
        )
    moved = []
    for defect in defects:
        inside = (defect.cell.scaled_positions(defect.positions) - shift / np.array(repeat)) % 1.0
        moved.append(Atoms(numbers=defect.numbers, cell=cell, pbc=pbc, scaled_positions=inside))
    return host, moved


def _mover_steps(spec: Spec, mover: int, vector: FloatArray, defects: list[Atoms]) -> list[FloatArray]:
    """Where the mover is in each defect, from where it is in the first, checked against the fractions asked
    for.
    """
    steps = []
    for fraction, defect in zip(spec.images, defects, strict=True):
        delta = defect.positions[mover] - defects[0].positions[mover]
        # the hop may be longer than half a cell: the image nearest to where the mover should be, not the
        # nearest
        expected = (fraction - spec.images[0]) * vector
        rest, _ = find_mic(delta - expected, defect.cell, defect.pbc)
        off = float(rest @ vector / (vector @ vector))
        if abs(off) > 0.15:
            raise InputError(
                "images",
                fraction,
                f"the fraction where the file has the mover, {fraction + off:.2f}, "
                "within 0.15; or another hop_vector",
            )
        steps.append(expected + rest)
    return steps


def _to_the_middle(start: FloatArray, vector: FloatArray, host: Atoms, unit_cell: FloatArray) -> FloatArray:
    """Lattice translation of the host that brings the hop to the middle of the supercell, with the wrapping
    of it.
    """
    repeat = np.round(np.linalg.norm(host.cell.array, axis=1) / np.linalg.norm(unit_cell, axis=1)).astype(int)
    whole = np.array(list(np.ndindex(*repeat.tolist())))  # zero first: of equally good places the file's own
    return most_central(host, start + whole @ unit_cell, vector) - start


def _shifted(defect: Atoms, shift: FloatArray, mover: int, position: FloatArray) -> Atoms:
    """The defect translated and wrapped into the cell, its mover put at `position`, which need not be
    wrapped.
    """
    moved = defect.copy()
    scaled = moved.cell.scaled_positions(moved.positions + shift)
    scaled[:, moved.pbc] %= 1.0
    moved.positions[:] = scaled @ moved.cell.array
    moved.positions[mover] = position
    return moved


def _into_open_cell(slab: Atoms) -> Atoms:
    """A slab whose atoms lie between the faces of the third axis, the vacuum split between both sides."""
    scaled = slab.cell.scaled_positions(slab.positions) % 1.0
    height = 1.0 / np.linalg.norm(np.linalg.inv(slab.cell.array), axis=0)[2]
    near_face = (np.minimum(scaled[:, 2], 1 - scaled[:, 2]) * height).min() < FACE_MARGIN
    if near_face or _split(scaled[:, 2]):
        scaled[:, 2] = (scaled[:, 2] - middle_of_gap(scaled[:, 2])) % 1.0
    result = slab.copy()
    result.positions[:] = scaled @ slab.cell.array
    return result


def _split(scaled: FloatArray) -> bool:
    """Whether a slab is cut by the cell faces: its widest gap, the vacuum, lies inside of the cell."""
    values = np.sort(scaled)
    inside = float(np.diff(values).max()) if len(values) > 1 else 0.0
    return inside > values[0] + 1.0 - values[-1] + 1e-6


def _matched_image(name: Path, fraction: float, defect: Atoms, mover: int, host: Atoms) -> Image:
    """Image with its host sites; atoms placed at the periodic image nearest to their site."""
    sites = np.full(len(defect), -1, dtype=np.int64)
    others = np.delete(np.arange(len(defect)), mover)
    sites[others] = match_sites(defect[others], host)
    kept = np.flatnonzero(sites >= 0)
    if 2 * len(kept) < len(host):
        raise InputError(
            "defect_files",
            name.name,
            f"at least half of the {len(host)} host sites occupied within {SITE_TOLERANCE} Angstrom, not "
            f"{len(kept)}: the files need the same origin, orientation and lattice constant",
        )
    atoms = defect.copy()
    delta, _ = find_mic(defect.positions[kept] - host.positions[sites[kept]], host.cell, host.pbc)
    atoms.positions[kept] = host.positions[sites[kept]] + delta
    margin = float(face_distances(atoms).min())
    if margin < DEFECT_MARGIN:
        raise InputError(
            "defect_files",
            name.name,
            f"every atom at least {DEFECT_MARGIN} Angstrom inside the cell, not "
            f"{margin:.3f}; shift the origin of the host and defect files together",
        )
    removed = tuple(int(i) for i in np.setdiff1d(np.arange(len(host)), sites[kept]))
    return Image(fraction, image_label(fraction), atoms, mover, sites, removed)


def _file_keys(spec: Spec) -> tuple[Path, int, FloatArray]:
    """Host file, mover and hop vector, which `Spec` has checked for kind "files"."""
    if spec.host_file is None or spec.mover is None or spec.hop_vector is None:
        raise InputError("kind", spec.kind, "files")
    return spec.host_file, spec.mover, np.array(spec.hop_vector)
