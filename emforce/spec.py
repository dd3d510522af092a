"""What to build: the specification of a hop, written by hand in `structures/*.toml`.

A `Spec` names a host (metal and facet) and a hop on or in it; it says nothing about supercell size, number of
layers or vacuum, which belong to the preset. `load_spec` reads one from TOML and raises nothing but
`InputError`.
"""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ase.data import atomic_numbers

from emforce.errors import InputError
from emforce.materials import material

#: facets that can be built for each crystal structure; "bulk" is the crystal itself
FACETS: Mapping[str, tuple[str, ...]] = {"fcc": ("111", "100", "110", "bulk"), "bcc": ("110", "100", "bulk")}

#: hops of each host and kind, the first is the default; see sites.py for the geometry behind each label
HOP_LABELS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("fcc", "111"): ("fcc-bridge-hcp", "hcp-bridge-fcc"),
    ("fcc", "100"): ("hollow-bridge-hollow",),
    ("fcc", "110"): ("hollow-longbridge-hollow", "hollow-shortbridge-hollow"),
    ("bcc", "110"): ("hollow-bridge-hollow",),
    ("bcc", "100"): ("hollow-bridge-hollow",),
    ("fcc", "bulk"): ("vacancy-110",),
    ("bcc", "bulk"): ("vacancy-111",),
}

KINDS = ("adatom", "vacancy", "files")


@dataclass(frozen=True)
class Spec:
    """One hop of one atom, as the user asks for it.

    Fields
    ------
    name : short name, used for folders and in tables
    metal : chemical symbol of the host, an entry of materials.toml
    facet : "111", "100", "110" (surface) or "bulk"; for kind "files" any three or four digits
    kind : "adatom" (on a surface), "vacancy" (bulk) or "files" (host and defect given as structure files)
    hop : label of the hop, see `list_hops`; free text for kind "files"; "" takes the first one
    species : chemical symbol of the mover; "" takes the host metal
    images : fractions along the hop, increasing, each in [0, 1]; 0 initial site, 0.5 saddle, 1 final site
    between : further fractions, relaxed for the energy along the hop alone; no wind force is computed there
    cubic : bulk only: take the conventional cubic cell as the smallest host cell, so that supercells are
        cubic
    host_file : kind "files": smallest host cell, any format that ASE reads
    defect_files : kind "files": defect supercell with the mover, one file per image, atoms in the same order
    mover : kind "files": index of the mover in the defect files, from 0
    hop_vector : kind "files": vector from the initial to the final site of the mover, Angstrom
    thick_host_file : kind "files": a thick slab with the same surface, for the embedding; optional
    """

    name: str
    metal: str
    facet: str
    kind: str
    hop: str = ""
    species: str = ""
    images: tuple[float, ...] = (0.0, 0.5)
    between: tuple[float, ...] = ()
    cubic: bool = False
    host_file: Path | None = None
    defect_files: tuple[Path, ...] = ()
    mover: int | None = None
    hop_vector: tuple[float, float, float] | None = None
    thick_host_file: Path | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name, r"[A-Za-z0-9][A-Za-z0-9._+-]*", "letters, digits and . _ + -")
        structure = material(self.metal).structure
        if self.kind not in KINDS:
            raise InputError("kind", self.kind, " | ".join(KINDS))
        self._check_facet(structure)
        if not self.species:
            object.__setattr__(self, "species", self.metal)
        if atomic_numbers.get(self.species, 0) == 0:
            raise InputError("species", self.species, "a chemical symbol")
        if not isinstance(self.cubic, bool) or (self.cubic and self.facet != "bulk"):
            raise InputError("cubic", self.cubic, "true or false; true for bulk only")
        object.__setattr__(self, "images", check_images(self.images))
        object.__setattr__(self, "between", self._checked_between())
        if self.kind == "files":
            self._check_files()
        else:
            self._check_hop(structure)
            self._check_no_files()

    def _checked_between(self) -> tuple[float, ...]:
        allowed = "increasing numbers between 0 and 1 that are no images; none for kind files"
        if not isinstance(self.between, (list, tuple)) or (self.between and self.kind == "files"):
            raise InputError("between", self.between, allowed)
        try:
            values = check_images(self.between) if self.between else ()
            check_images(sorted((*values, *self.images)))
        except InputError:
            raise InputError("between", list(self.between), allowed) from None
        return values

    def with_between(self) -> Spec:
        """The same hop with all fractions as images."""
        return replace(self, images=tuple(sorted((*self.images, *self.between))), between=())

    def _check_facet(self, structure: str) -> None:
        if self.kind == "files":
            _check_text("facet", self.facet, r"bulk|\d{3,4}", "bulk or three or four digits")
            return
        allowed = FACETS[structure]
        if self.kind == "vacancy":
            allowed = ("bulk",)
        elif self.kind == "adatom":
            allowed = tuple(f for f in allowed if f != "bulk")
        if self.facet not in allowed:
            raise InputError(
                "facet", self.facet, f"{' | '.join(allowed)} for kind {self.kind} on {structure} {self.metal}"
            )

    def _check_hop(self, structure: str) -> None:
        labels = HOP_LABELS[structure, self.facet]
        if not self.hop:
            object.__setattr__(self, "hop", labels[0])
        if self.hop not in labels:
            raise InputError("hop", self.hop, f"{' | '.join(labels)} on {structure} {self.facet}")
        if self.kind == "vacancy" and self.species != self.metal:
            raise InputError(
                "species",
                self.species,
                f"{self.metal}: a vacancy hop moves an atom of the host; "
                "a foreign atom beside a vacancy is a hop of kind files",
            )

    def _check_no_files(self) -> None:
        for key in ("host_file", "mover", "hop_vector", "thick_host_file"):
            if getattr(self, key) is not None:
                raise InputError(key, str(getattr(self, key)), 'only for kind = "files"')
        if self.defect_files:
            raise InputError("defect_files", [str(p) for p in self.defect_files], 'only for kind = "files"')

    def _check_files(self) -> None:
        if self.host_file is None:
            raise InputError("host_file", None, "the file of the smallest host cell")
        if len(self.defect_files) != len(self.images):
            raise InputError(
                "defect_files",
                [p.name for p in self.defect_files],
                f"one file per image, here {len(self.images)} (images = {list(self.images)})",
            )
        if (
            self.mover is None
            or isinstance(self.mover, bool)
            or not isinstance(self.mover, int)
            or self.mover < 0
        ):
            raise InputError("mover", self.mover, "index of the mover in the defect file, 0 or more")
        vector = self.hop_vector
        if vector is None or len(vector) != 3 or not all(_is_number(x) for x in vector):
            raise InputError("hop_vector", vector, "three numbers in Angstrom")
        if math.hypot(*vector) < 0.1:
            raise InputError("hop_vector", list(vector), "a vector longer than 0.1 Angstrom")
        object.__setattr__(self, "hop_vector", tuple(float(x) for x in vector))
        if not self.hop:
            object.__setattr__(self, "hop", "user")


def list_hops(metal: str, facet: str) -> tuple[str, ...]:
    """Labels of the symmetry-distinct nearest-neighbour hops on a facet (or in the bulk) of a metal.

    A hop and its reverse count once; steps over the top of an atom are summits, not saddles, and do not count
    (bcc(110) along [001], the diagonals of the square facets). Only single-atom hops along the surface are
    listed: exchange of the adatom with an atom of the surface moves two atoms and is left out. The field may
    point anywhere: hops in symmetry-related directions have the same tensor, rotated.

    Raises `InputError` for an unknown metal or a facet that does not exist for its structure.
    """
    structure = material(metal).structure
    if facet not in FACETS[structure]:
        raise InputError("facet", facet, f"{' | '.join(FACETS[structure])} for {structure} {metal}")
    labels = HOP_LABELS[structure, facet]
    return tuple(label for n, label in enumerate(labels) if _reverse(label) not in labels[:n])


def check_images(images: object) -> tuple[float, ...]:
    """Fractions along the hop as a tuple: at least one, increasing, each in [0, 1]; `InputError`
    otherwise.
    """
    allowed = "one or more increasing numbers between 0 and 1, at least 0.001 apart"
    if not isinstance(images, (list, tuple)) or not images or not all(_is_number(x) for x in images):
        raise InputError("images", images, allowed)
    values = tuple(round(float(x), 6) for x in images)
    steps = [b - a for a, b in itertools.pairwise(values)]
    if min(values) < 0 or max(values) > 1 or (steps and min(steps) < 1e-3):
        raise InputError("images", list(images), allowed)
    return values


def load_spec(path: str | Path) -> Spec:
    """Read a specification from a TOML file.

    The keys are the fields of `Spec` (the name defaults to the file's name); `defect_file` may stand for
    `defect_files` with one entry. File names are relative to the TOML file.

    Raises `InputError`, with the file's name, when the file cannot be read, a key is unknown or missing, or a
    value is not allowed; nothing else.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("spec", str(path), f"a readable TOML file ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError("spec", str(path), f"a TOML file ({error})") from None
    try:
        return spec_from_mapping(data, default_name=path.stem, folder=path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error.field}", error.value, error.allowed) from None


def spec_from_mapping(data: Mapping[str, object], *, default_name: str, folder: Path) -> Spec:
    """A `Spec` from the keys of a TOML document; file names are taken relative to `folder`. Raises
    `InputError`.
    """
    known = {f.name: f for f in fields(Spec)}
    values: dict[str, object] = dict(data)
    if "defect_file" in values:
        if "defect_files" in values:
            raise InputError(
                "defect_file", values["defect_file"], "either defect_file or defect_files, not both"
            )
        values["defect_files"] = [values.pop("defect_file")]
        values.setdefault("images", [0.0])
    for key in values:
        if key not in known:
            raise InputError(key, values[key], f"a known key: {', '.join([*known, 'defect_file'])}")
    values.setdefault("name", default_name)
    for key in ("metal", "facet", "kind"):
        if key not in values:
            raise InputError(key, None, "this key is needed")
    for key in ("name", "metal", "facet", "kind", "hop", "species"):
        if key in values and not isinstance(values[key], str):
            raise InputError(key, values[key], 'a text in quotes, such as "100"')
    for key in ("host_file", "thick_host_file"):
        if key in values:
            values[key] = _as_path(key, values[key], folder)
    for key in ("images", "between", "defect_files", "hop_vector"):
        if key in values:
            given = values[key]
            if not isinstance(given, list):
                raise InputError(key, given, "a list, [ ... ]")
            values[key] = (
                tuple(_as_path(key, x, folder) for x in given) if key == "defect_files" else tuple(given)
            )
    return Spec(**values)  # type: ignore[arg-type]  # every field is checked again in Spec.__post_init__


def _reverse(label: str) -> str:
    return "-".join(reversed(label.split("-")))


def _as_path(key: str, value: object, folder: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(key, value, "the name of a file")
    return folder / value


def _check_text(field: str, value: object, pattern: str, allowed: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise InputError(field, value, allowed)


def _is_number(value: object) -> bool:
    """Whether a value is a finite number; integers too large for a float, which TOML allows, are not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -1e300 < value < 1e300
