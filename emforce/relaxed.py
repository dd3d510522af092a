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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from emforce.errors import InputError, StoreError
from emforce.hop import FloatArray, Hop, Image
from emforce.hosts import face_distances
from emforce.matching import DEFECT_MARGIN
from emforce.structure import describe

#: cells of a relaxed file and of the hop agree within this, Angstrom
CELL_TOLERANCE = 1e-4
#: an atom that went farther than this from where it was built left its site, Angstrom
MAX_DISPLACEMENT = 1.5


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


def write_relaxed(hop: Hop, directory: str | Path, relaxation: Relaxation) -> None:
    """Write the host and the images of a relaxed hop; each file appears whole or not at all, the index last.

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
