"""Relaxed structures on disk, and how a hop takes them over.

    structures/relaxed/<spec name>/<key>/   relaxed.json   how they were relaxed, written last
                                            host.extxyz    smallest host cell
                                            image-0.00.extxyz, image-0.50.extxyz, ...

`write_built` writes what was built, before any relaxation, for a look at it in any viewer.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from emforce.errors import InputError, StoreError
from emforce.hop import FloatArray, Hop, Image
from emforce.hosts import face_distances
from emforce.matching import DEFECT_MARGIN
from emforce.structure import build_hop, describe

#: cells of a relaxed file and of the hop agree within this, Angstrom
CELL_TOLERANCE = 1e-4
#: an atom that went farther than this from where it was built left its site, Angstrom
MAX_DISPLACEMENT = 1.5
#: places of two cells are the same within this, Angstrom
SAME_PLACE = 0.05
#: positions in files are exact to this, Angstrom
WRITTEN = 1e-6


@dataclass(frozen=True)
class Relaxation:
    """How a set of structures was relaxed.

    Fields
    ------
    functional : exchange-correlation functional, "PBE"
    basis : name of the basis
    fmax_eV_per_A : largest force left on a relaxed atom, eV/Angstrom
    size : repetition of the host cell
    layers : layers of the slab, 0 for the bulk
    energies_eV : energy of "host" and of each image ("0.00", "0.50"), eV
    relaxed_atoms : indices of the atoms that were free to move, "host" and each image
    provenance : versions, commit, date, settings: anything that tells how to do it again
    """

    functional: str
    basis: str
    fmax_eV_per_A: float
    size: tuple[int, int, int]
    layers: int
    energies_eV: Mapping[str, float] = field(default_factory=dict)
    relaxed_atoms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


def image_key(fraction: float) -> str:
    """Key of an image in files and tables: its fraction with two decimals, more if it needs them."""
    text = f"{fraction:.2f}"
    return text if abs(float(text) - fraction) < 5e-4 else f"{fraction:.6f}".rstrip("0")


def with_positions(
    hop: Hop, host_unit: FloatArray | None = None, images: Mapping[float, FloatArray] | None = None
) -> Hop:
    """The same hop with other positions (Angstrom) of the host cell and of some images, in the same order of
    atoms.

    Raises `InputError` for a wrong number of atoms, an atom that left its site, or one near a cell face.
    """
    unit = hop.host_unit if host_unit is None else _moved(hop.host_unit, host_unit, "host")
    changed = []
    for image in hop.images:
        found = [p for s, p in (images or {}).items() if abs(s - image.fraction) < 5e-4]
        if found:
            image = replace(image, atoms=_moved(image.atoms, found[0], f"image {image_key(image.fraction)}"))
        changed.append(image)
    return replace(hop, host_unit=unit, images=tuple(changed))


def follow_host(hop: Hop, host_unit: FloatArray) -> Hop:
    """The hop on a relaxed host: every atom moves with its site, the mover with its nearest neighbours.

    Parameters
    ----------
    host_unit : (atoms, 3) relaxed positions of the host cell, Angstrom
    """
    unit = _moved(hop.host_unit, host_unit, "host")
    steps = np.tile(unit.positions - hop.host_unit.positions, (int(np.prod(hop.repeat)), 1))
    positions = {}
    for image in hop.images:
        moved = image.atoms.positions.copy()
        on_site = image.site_of_atom >= 0
        moved[on_site] += steps[image.site_of_atom[on_site]]
        _, d = find_mic(image.atoms.positions - image.mover_position, image.atoms.cell, image.atoms.pbc)
        d[~on_site] = np.inf
        near = image.site_of_atom[d < 1.1 * d.min()]
        moved[image.mover] += steps[near].mean(axis=0)
        positions[image.fraction] = moved
    return with_positions(hop, host_unit, positions)


def write_relaxed(hop: Hop, directory: str | Path, relaxation: Relaxation, keys: Sequence[str] | None = None) -> None:
    """Write the host and the images of a relaxed hop; each file appears whole or not at all, the index last.

    `keys` names the structures to write, None for all; the files of the others stay as they are.
    Raises `StoreError` when the folder cannot be written.
    """
    folder = Path(directory)
    info = {
        "functional": relaxation.functional,
        "basis": relaxation.basis,
        "fmax_eV_per_A": relaxation.fmax_eV_per_A,
        "size": list(relaxation.size),
        "layers": relaxation.layers,
    }
    for key, atoms in _structures(hop).items():
        if keys is not None and key not in keys:
            continue
        extra: dict[str, object] = dict(info)
        if key in relaxation.energies_eV:
            extra["energy_eV"] = float(relaxation.energies_eV[key])
        if relaxation.relaxed_atoms.get(key):
            extra["relaxed_atoms"] = list(relaxation.relaxed_atoms[key])
        _write_atoms(folder / _file_name(key), atoms, extra)
    _write_text(folder / "relaxed.json", json.dumps(asdict(relaxation), indent=1, sort_keys=True) + "\n")


def read_relaxed(directory: str | Path) -> tuple[dict[str, Atoms], Relaxation]:
    """Structures by key ("host", "0.00", ...) and how they were relaxed; `StoreError` when they cannot be
    read.
    """
    folder = Path(directory)
    try:
        data = json.loads((folder / "relaxed.json").read_text(encoding="utf-8"))
        values = {f.name: data[f.name] for f in fields(Relaxation)}
        values["size"] = tuple(values["size"])
        values["relaxed_atoms"] = {k: tuple(v) for k, v in values["relaxed_atoms"].items()}
        relaxation = Relaxation(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{folder / 'relaxed.json'} cannot be read as the index of relaxed structures: {error!r}"
        ) from None
    structures = {}
    for path in sorted([folder / "host.extxyz", *folder.glob("image-*.extxyz")]):
        structures[path.stem.removeprefix("image-")] = _read_atoms(path)
    return structures, relaxation


def apply_relaxed(hop: Hop, directory: str | Path) -> Hop:
    """The hop with the relaxed positions of a folder, host and every image.

    Raises `StoreError` when the folder cannot be read, `InputError` when it holds another cell, other
    species, another order of atoms, or lacks an image.
    """
    structures, _ = read_relaxed(directory)
    for key, built in _structures(hop).items():
        name = str(Path(directory) / _file_name(key))
        if key not in structures:
            raise InputError(
                "relaxed", name, "a relaxed structure of this image; relax it, or leave the image out"
            )
        found = structures[key]
        if not np.array_equal(found.numbers, built.numbers):
            raise InputError(
                "relaxed", name, f"the atoms of the built structure in the same order, {built.symbols}"
            )
        if not np.allclose(found.cell.array, built.cell.array, atol=CELL_TOLERANCE):
            raise InputError(
                "relaxed",
                name,
                f"the cell of the built structure, {built.cell.array.round(4).tolist()}: "
                "the same size, layers, vacuum and functional",
            )
    return with_positions(
        hop,
        structures["host"].positions,
        {i.fraction: structures[image_key(i.fraction)].positions for i in hop.images},
    )


@dataclass(frozen=True)
class Source:
    """Where the geometry of a hop comes from.

    Attributes
    ----------
    folder : of relaxed structures
    residual_force : largest force left there, eV/Angstrom
    carried : the structures were relaxed in another cell: size, vacuum or lattice constant
    """

    folder: Path
    residual_force: float
    carried: bool


def relaxed_source(hop: Hop, folder: Path | None, functional: str) -> Source | None:
    """The relaxed structures for a hop: those of `folder` if it holds any, else of the cells beside it.

    Those have the same layers and are no larger; the same functional comes first, then the largest. None where there are none:
    the hop stays as built.
    """
    if folder is None:
        return None
    if (folder / "relaxed.json").is_file():
        structures, relaxation = read_relaxed(folder)
        carried = not np.allclose(structures["host"].cell.array, hop.host_unit.cell.array, atol=CELL_TOLERANCE)
        return Source(folder, float(relaxation.fmax_eV_per_A), carried or relaxation.size != hop.repeat)
    return _of_cells_beside(hop, folder, functional)


def relaxed_smaller(hop: Hop, folder: Path, functional: str) -> Source | None:
    """The relaxed structures of a smaller cell beside `folder`, to start a relaxation from; as `relaxed_source` chooses."""
    return _of_cells_beside(hop, folder, functional, smaller=True)


def _of_cells_beside(hop: Hop, folder: Path, functional: str, smaller: bool = False) -> Source | None:
    if hop.spec.kind == "files":  # they are the geometry
        return None
    layers = len(set(np.round(hop.host_unit.positions[:, 2], 3))) if not hop.host_unit.pbc[2] else 0
    found = []
    for index in sorted(folder.parent.glob("*/relaxed.json")):
        _, relaxation = read_relaxed(index.parent)
        same_size = tuple(relaxation.size) == tuple(hop.repeat)
        if relaxation.layers == layers and all(np.array(relaxation.size) <= hop.repeat) and not (smaller and same_size):
            source = Source(index.parent, float(relaxation.fmax_eV_per_A), True)
            found.append(((relaxation.functional == functional, int(np.prod(relaxation.size))), source))
    return max(found, key=lambda entry: entry[0])[1] if found else None


def take_over(hop: Hop, source: Source) -> Hop:
    """The hop with the structures of a source; raises as `apply_relaxed` and `carried_over`."""
    return (carried_over if source.carried else apply_relaxed)(hop, source.folder)


def carried_over(hop: Hop, directory: str | Path, host_unit: FloatArray | None = None) -> Hop:
    """The hop with the displacements of structures that were relaxed in another cell: another size, vacuum or lattice constant.

    Layers and images have to be the same; displacements are scaled with the lattice constant. Every atom moves as its site in the
    relaxed host, and those that were free around the mover by what they went beyond it, found again by their places as built from
    the mover or the end of its hop that is nearest. Atoms that only the larger cell has stay as the host has them: what they
    would still do is not in the residual force of the folder.

    Parameters
    ----------
    host_unit : (atoms, 3) relaxed positions of the host cell to put them on, Angstrom; None: those of the folder, scaled

    Raises
    ------
    StoreError when the folder cannot be read; InputError when it holds another lattice, other layers, or lacks an image
    """
    structures, relaxation = read_relaxed(directory)
    small = _as_it_was_built(hop, structures, relaxation, Path(directory))
    scale = float(np.linalg.norm(hop.host_unit.cell[0]) / np.linalg.norm(small.host_unit.cell[0]))
    if host_unit is None:
        host_unit = hop.host_unit.positions + scale * _between(small.host_unit, structures["host"].positions)
    large, small = follow_host(hop, host_unit), follow_host(small, structures["host"].positions)
    positions = {}
    for image in large.images:
        key = image_key(image.fraction)
        if key not in structures:
            raise InputError("relaxed", str(Path(directory) / _file_name(key)), "a relaxed structure of this image")
        before = small.image(image.fraction)
        gone = _between(before.atoms, structures[key].positions)
        moved = image.atoms.positions.copy()
        along = np.array([0.0, -image.fraction, 1.0 - image.fraction])[:, None]  # the mover, and both ends of its hop
        for atom in np.flatnonzero(np.linalg.norm(gone, axis=1) > WRITTEN):
            # in a cell of two lattice constants an atom beside one end is as far from the other to the left as to the right
            places = before.mover_position + along * small.hop_vector
            away, far = find_mic(before.atoms.positions[atom] - places, before.atoms.cell, before.atoms.pbc)
            near = int(np.argmin(np.round(far, 3)))
            there = image.mover_position + along[near] * large.hop_vector + scale * away[near]
            _, apart = find_mic(image.atoms.positions - there, image.atoms.cell, image.atoms.pbc)
            same = int(apart.argmin())
            if apart[same] > SAME_PLACE:
                raise InputError("relaxed", str(directory), f"atoms at the same places; none at {np.round(away, 3).tolist()} A "
                                 f"from the mover in the image {key} of a cell of {hop.repeat}")
            moved[same] += scale * gone[atom]
        positions[image.fraction] = moved
    return with_positions(large, images=positions)


def _as_it_was_built(hop: Hop, structures: Mapping[str, Atoms], relaxation: Relaxation, folder: Path) -> Hop:
    """The hop of the folder before its relaxation."""
    stored, slab = structures["host"], not hop.host_unit.pbc[2]

    def built(vacuum: float) -> Hop:
        return build_hop(hop.spec, size=relaxation.size, layers=relaxation.layers or 1, vacuum=vacuum,
                         functional=relaxation.functional)

    vacuum = 10.0
    if slab:  # the height of the cell tells the vacuum
        vacuum += 0.5 * float(stored.cell[2, 2] - built(vacuum).host_unit.cell[2, 2])
    small = built(vacuum)
    axes = slice(2 if slab else 3)
    own, cells = small.host_unit, [atoms.cell.array for atoms in (stored, hop.host_unit)]
    same_atoms = all(np.array_equal(own.numbers, atoms.numbers) for atoms in (stored, hop.host_unit))
    scale = np.linalg.norm(cells[1][0]) / np.linalg.norm(own.cell.array[0])
    if not (same_atoms and np.allclose(own.cell.array, cells[0], atol=CELL_TOLERANCE)
            and np.allclose(scale * own.cell.array[axes], cells[1][axes], atol=CELL_TOLERANCE)):
        raise InputError("relaxed", str(folder), f"structures of the same lattice and layers as {hop.spec.name} here")
    return small


def _between(atoms: Atoms, positions: FloatArray) -> FloatArray:
    """Displacements (atoms, 3) to other positions, to their nearest images."""
    if len(atoms) != len(positions):
        raise InputError("relaxed", len(positions), f"{len(atoms)} atoms")
    return np.asarray(find_mic(positions - atoms.positions, atoms.cell, atoms.pbc)[0])


def write_built(hop: Hop, directory: str | Path, thick: Atoms | None = None) -> list[Path]:
    """Write the built structures: host.extxyz, host_thick.extxyz (if given), one file per image, index.json,
    README.md.

    Returns the files. Raises `StoreError` when the folder cannot be written.
    """
    folder = Path(directory)
    paths = []
    structures = _structures(hop) | ({} if thick is None else {"host_thick": thick})
    for key, atoms in structures.items():
        paths.append(folder / _file_name(key))
        _write_atoms(paths[-1], atoms, {"spec": hop.spec.name, "hop": hop.spec.hop})
    index = {
        "spec": {k: _plain(v) for k, v in asdict(hop.spec).items()},
        "repeat": list(hop.repeat),
        "hop_vector_A": hop.hop_vector.tolist(),
        "symmetric": hop.symmetric,
        "files": [p.name for p in paths],
        "images": [_image_entry(i) for i in hop.images],
    }
    _write_text(folder / "index.json", json.dumps(index, indent=1) + "\n")
    _write_text(
        folder / "README.md",
        f"# {hop.spec.name}\n\nBuilt by `emforce build`, not relaxed.\n\n```\n{describe(hop)}\n```\n",
    )
    return [*paths, folder / "index.json", folder / "README.md"]


def _image_entry(image: Image) -> dict[str, object]:
    return {
        "fraction": image.fraction,
        "label": image.label,
        "file": _file_name(image_key(image.fraction)),
        "mover": image.mover,
        "site_of_atom": image.site_of_atom.tolist(),
        "removed": list(image.removed),
    }


def _structures(hop: Hop) -> dict[str, Atoms]:
    return {"host": hop.host_unit} | {image_key(i.fraction): i.atoms for i in hop.images}


def _file_name(key: str) -> str:
    return f"{key}.extxyz" if key.startswith("host") else f"image-{key}.extxyz"


def _moved(atoms: Atoms, positions: FloatArray, what: str) -> Atoms:
    """A copy with other positions, wrapped to the image nearest to the old ones and checked."""
    new = np.asarray(positions, dtype=float)
    if new.shape != atoms.positions.shape or not np.isfinite(new).all():
        raise InputError(what, new.shape, f"finite positions of shape {atoms.positions.shape}")
    delta, length = find_mic(new - atoms.positions, atoms.cell, atoms.pbc)
    if length.max() > MAX_DISPLACEMENT:
        raise InputError(
            what,
            f"atom {int(length.argmax())} moved by {length.max():.2f} Angstrom",
            f"at most {MAX_DISPLACEMENT}: the atom left its site",
        )
    moved = atoms.copy()
    moved.positions[:] = atoms.positions + delta
    margin = face_distances(moved).min()
    if margin < DEFECT_MARGIN:
        raise InputError(what, f"an atom {margin:.3f} Angstrom from a cell face", f"at least {DEFECT_MARGIN}")
    return moved


def _write_atoms(path: Path, atoms: Atoms, info: Mapping[str, object]) -> None:
    from io import StringIO

    from ase.io import write

    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    plain.info.update(info)
    text = StringIO()
    write(text, plain, format="extxyz")
    _write_text(path, text.getvalue())


def _read_atoms(path: Path) -> Atoms:
    from ase.io import read

    try:
        atoms = read(path, format="extxyz")
    except Exception as error:  # ASE's readers raise anything at all on a broken file
        raise StoreError(f"{path} cannot be read: {error!r}; relax again") from None
    if not isinstance(atoms, Atoms):
        raise StoreError(f"{path} holds no single structure; relax again")
    return atoms


def _write_text(path: Path, text: str) -> None:
    """Write to a temporary file beside it and rename: a reader sees the old file or the new one, never half
    of it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from None


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.name
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
