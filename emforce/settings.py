"""Settings of a run: presets are TOML files, every field can be overridden."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from emforce.errors import InputError

Mesh = tuple[int, int, int]


@dataclass(frozen=True)
class Structure:
    """What is built.

    Attributes
    ----------
    slab_size, bulk_size, primitive_size : repetition of the host cell in the supercell of a surface, of a bulk
        hop in the cubic cell, and of one in the primitive cell (`cubic = false` in the specification)
    layers : of the slab that carries the defect
    thick_layers : of the slabs that the defect is embedded in; the first is served, the others measure the error
    vacuum_A : above the mover and below the slab
    mover_lift_A : how far an adatom is moved out of its place along the surface normal, to see what that does to its wind force
    relaxed : folder of relaxed structures, a folder per spec; "" for the structures as built
    """

    slab_size: Mesh
    bulk_size: Mesh
    primitive_size: Mesh
    layers: int
    thick_layers: tuple[int, ...]
    vacuum_A: float
    mover_lift_A: float
    relaxed: str


@dataclass(frozen=True)
class GroundStates:
    """The density functional theory.

    Attributes
    ----------
    functional : exchange and correlation
    recipe : of the basis, data/bases.toml
    smearing_eV, grid_A, density_tolerance, max_iterations : see emforce.dft.DFTSettings
    slab_kpts, bulk_kpts : mesh of the supercell, half a spacing off Gamma.
        The host has the same points: mesh times repetition
    matrix_kpts : points along each periodic axis of the supercell for its matrices, Gamma-centred
    displacement_A : of the mover, for dH/du
    forces : also compute the forces left on each image
    spin_orbit : wind force with spin-orbit coupling in host and defect, at the potential without it; nothing else has it
    """

    functional: str
    recipe: str
    smearing_eV: float
    grid_A: float
    density_tolerance: float
    max_iterations: int
    slab_kpts: Mesh
    bulk_kpts: Mesh
    matrix_kpts: int
    displacement_A: float
    directions: str
    forces: bool
    spin_orbit: bool


@dataclass(frozen=True)
class HostSums:
    """Meshes of the host.

    Attributes
    ----------
    bulk_kpts : self-consistency of the primitive bulk cell; bulk_matrix_kpts : its matrices (odd)
    bulk_mesh : Fermi-surface sums of the bulk (even), made denser up to bulk_mesh_max until N changes by less than the
        share n_tolerance; slab_mesh : points of slabs in the plane (even)
    embedding_mesh : Green-function tables of a bulk host of a bulk hop, points of the primitive cell per axis
    sigma_eV : width of the Gaussian delta; sigma_check_eV : a second width, for the error
    """

    bulk_kpts: int
    bulk_matrix_kpts: int
    bulk_mesh: int
    bulk_mesh_max: int
    n_tolerance: float
    slab_mesh: int
    embedding_mesh: int
    sigma_eV: float
    sigma_check_eV: float


@dataclass(frozen=True)
class Embedding:
    """The embedding.

    Attributes
    ----------
    radii_A : of the region; the first is served, the others measure the error
    energies_eV : relative to the Fermi energy, increasing, 0 and +-fermi_error_eV among them
    wide_energies_eV : more of them, beyond the former on both sides, where K(eps) alone is computed; for the heat of transport
        of hot metals. None: K(eps) ends with energies_eV
    fermi_error_eV : uncertainty of the Fermi energy
    """

    radii_A: tuple[float, ...]
    energies_eV: tuple[float, ...]
    wide_energies_eV: tuple[float, ...]
    fermi_error_eV: float

    @property
    def all_energies_eV(self) -> tuple[float, ...]:
        """Where K(eps) is known, in order."""
        return tuple(sorted((*self.energies_eV, *self.wide_energies_eV)))


@dataclass(frozen=True)
class Direct:
    """The direct valence.

    Attributes
    ----------
    compute : whether to compute it; the wind force does not need it
    omegas_eV : hbar/tau at which the whole response is computed, three or more
    vary : parts of the uncertainty that are computed: region (the next smaller radius), edge (the other way in which orbitals
        carry the host's couplings over it), frequencies (three times as many), layers (the other thick slab on its coarser
        mesh; in bulk the coarser mesh alone), fermi_energy (E_F -+ embedding.fermi_error_eV)
    radius_A : of the region
    mesh_share : k-points of the response along each axis, as a share of those of the wind's tables
    """

    compute: bool
    omegas_eV: tuple[float, ...]
    vary: tuple[str, ...]


@dataclass(frozen=True)
class Heat:
    """The heat of transport.

    Attributes
    ----------
    window_eV, spacing_eV : energies around E_F at which N and the density of states of the bulk host are computed
    sigma_eV : width of the Gaussian delta there; sigma_check_eV : a second width, for the error
    max_outside_share : an electronic part of which a larger share comes from beyond the energies of K is not served
    temperatures_K : of the table, increasing; those without a known resistivity are left out
    """

    window_eV: float
    spacing_eV: float
    sigma_eV: float
    sigma_check_eV: float
    max_outside_share: float
    temperatures_K: tuple[float, ...]


@dataclass(frozen=True)
class Kinetics:
    """Barrier and attempt frequency.

    Attributes
    ----------
    shells : of neighbours around both ends of the hop that move in the Hessian (0: the mover alone, to 4)
    force_calls : aim for a hop; where central differences for all atoms need more, outer shells are displaced to one side
    displacement_A : of the finite differences
    density_tolerance : of these runs, tighter than that of the wind force: forces are differentiated
    force_tolerance_eV_per_A : largest force left on the mover and its shells; above it Newton steps are made
    newton_steps : at most so many
    symmetry_tolerance_A : within which positions count as symmetric
    k_points_check : also the energies with one more k-point along each periodic axis, which are served; their change is the error
    k_points_steps : of that check, each with one more k-point along each periodic axis than the one before; the last is served,
        and what it changed is the error
    formation_entropy : of a vacancy, from the Hessians of all atoms of both cells
    plane_wave : correct the barrier by plane-wave energies of the same structures, up to
        plane_wave_cutoff_eV : cutoff; plane_wave_slab_kpts, plane_wave_bulk_kpts : meshes of the supercell
        plane_wave_layers : of a slab, from above, that are computed in both bases for their difference; 0: the whole slab in
            plane waves
    """

    shells: int
    force_calls: int
    displacement_A: float
    density_tolerance: float
    force_tolerance_eV_per_A: float
    newton_steps: int
    symmetry_tolerance_A: float
    k_points_check: bool
    k_points_steps: int
    formation_entropy: bool
    plane_wave: bool
    plane_wave_cutoff_eV: float
    plane_wave_slab_kpts: Mesh
    plane_wave_bulk_kpts: Mesh
    plane_wave_layers: int


@dataclass(frozen=True)
class Phonons:
    """Phonons of the bulk.

    Attributes
    ----------
    fcc_size, bcc_size : supercell in cubic cells
    kpts : mesh of the supercell, half a spacing off Gamma
    displacement_A : of one atom
    density_tolerance : of these runs, tighter than that of the wind force: forces are differentiated
    """

    fcc_size: Mesh
    bcc_size: Mesh
    kpts: Mesh
    displacement_A: float
    density_tolerance: float


@dataclass(frozen=True)
class Settings:
    """All settings of a run, and the name of the preset they came from with what was changed."""

    preset: str
    overrides: tuple[tuple[str, Any], ...]
    structure: Structure
    dft: GroundStates
    host: HostSums
    embedding: Embedding
    direct: Direct
    heat: Heat
    kinetics: Kinetics
    phonons: Phonons

    def without_spin_orbit(self) -> Settings:
        """These settings; raises `InputError` where they ask for spin-orbit coupling, as `emforce run` and `heat` may."""
        if self.dft.spin_orbit:
            allowed = "false here: wind force and heat of transport alone are computed with spin-orbit coupling"
            raise InputError("dft.spin_orbit", True, allowed)
        return self

    def as_relaxed(self) -> Settings:
        """These settings; raises `InputError` where they move the adatom off its place, as `emforce run` alone may."""
        if self.structure.mover_lift_A != 0.0:
            raise InputError("structure.mover_lift_A", self.structure.mover_lift_A, "0 here: it is for the wind force alone")
        return self

    @property
    def digest(self) -> str:
        """Content hash of all numbers in here, whatever the preset is called."""
        data = {name: asdict(getattr(self, name)) for name in _SECTIONS}
        if not self.structure.mover_lift_A:  # as before there was the field
            del data["structure"]["mover_lift_A"]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


_SECTIONS = {"structure": Structure, "dft": GroundStates, "host": HostSums, "embedding": Embedding, "direct": Direct,
             "heat": Heat, "kinetics": Kinetics, "phonons": Phonons}
_POSITIVE = {"force_tolerance_eV_per_A", "symmetry_tolerance_A", "plane_wave_cutoff_eV", "window_eV", "spacing_eV",
             "max_outside_share", "layers", "vacuum_A", "smearing_eV", "grid_A", "density_tolerance", "max_iterations",
             "k_points_steps", "matrix_kpts", "displacement_A", "bulk_matrix_kpts", "bulk_mesh", "slab_mesh", "sigma_eV",
             "sigma_check_eV", "fermi_error_eV", "embedding_mesh", "bulk_mesh_max", "n_tolerance"}
_EVEN = {"bulk_mesh", "bulk_mesh_max", "slab_mesh", "embedding_mesh"}
_ODD = {"matrix_kpts", "bulk_matrix_kpts"}
_CHOICES = {"directions": ("hop", "all"), "vary": ("region", "edge", "frequencies", "layers", "fermi_energy")}
_COUNTS = {"shells", "newton_steps", "plane_wave_layers"}  # whole numbers that may be 0
_MAY_BE_EMPTY = {"wide_energies_eV"}


def presets() -> tuple[str, ...]:
    """Names of the shipped presets."""
    folder = files("emforce") / "data" / "presets"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def load_settings(preset: str, overrides: Mapping[str, object] | None = None) -> Settings:
    """A preset with overrides {"section.field": value}.

    Raises
    ------
    InputError naming the field, the value and what is allowed
    """
    if preset not in presets():
        raise InputError("preset", preset, ", ".join(presets()))
    text = (files("emforce") / "data" / "presets" / f"{preset}.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    changes = dict(overrides or {})
    for name, value in changes.items():
        section, _, field = name.partition(".")
        if section not in _SECTIONS or field not in {f.name for f in fields(_SECTIONS[section])}:
            allowed = [f"{s}.{f.name}" for s, kind in _SECTIONS.items() for f in fields(kind)]
            raise InputError("--set", name, ", ".join(allowed))
        tables[section][field] = value
    sections = {}
    for section, kind in _SECTIONS.items():
        table = tables[section]
        sections[section] = kind(**{f.name: _value(f"{section}.{f.name}", f.name, f.type, table[f.name]) for f in fields(kind)})
    settings = Settings(preset, tuple(sorted((k, _plain(v)) for k, v in changes.items())), **sections)
    if settings.dft.functional == "experiment":  # the measured lattice constants stand beside those of functionals
        raise InputError("dft.functional", "experiment", "a functional that the metal has a lattice constant for, such as PBE")
    _check_embedding(settings.embedding)
    kelvins = settings.heat.temperatures_K
    if list(kelvins) != sorted(set(kelvins)) or min(kelvins) <= 0:
        raise InputError("heat.temperatures_K", kelvins, "increasing temperatures above 0 K")
    omegas = settings.direct.omegas_eV
    if len(set(omegas)) < 3 or min(omegas) <= 0:
        raise InputError("direct.omegas_eV", omegas, "three or more different energies above zero")
    if settings.kinetics.shells > 4:
        raise InputError("kinetics.shells", settings.kinetics.shells, "0 to 4")
    return settings


def preset_label(preset: str, overrides: Mapping[str, object]) -> str:
    """Name of a preset with its overridden fields, so that "quick" always means the file as shipped."""
    if not overrides:
        return preset
    changed = ", ".join(f"{name}={overrides[name]}" for name in sorted(overrides))
    return f"{preset} ({changed})"


def preset_fields(label: str) -> tuple[str, dict[str, str]]:
    """The preset and the overridden fields of a label, as text: the inverse of `preset_label`."""
    preset, _, changed = label.partition(" (")
    # commas within a list do not part fields
    parts = re.split(r", (?=[a-z]+\.\w+=)", changed.removesuffix(")")) if changed else []
    pairs = (part.partition("=") for part in parts)
    return preset, {name: value for name, _, value in pairs}


def settings_of(label: str) -> Settings:
    """The settings that a stored row names in its preset, such as "quick (dft.functional=LDA)".

    Raises
    ------
    InputError as `load_settings`
    """
    preset, changed = preset_fields(label)
    return load_settings(preset, {name: _from_text(text) for name, text in changed.items()})


@lru_cache(maxsize=4096)
def only_difference(label: str, other: str, field: str) -> tuple[Any, Any] | None:
    """Both values of a field of the section structure, where nothing else tells the wind force of one label from the other's.

    None where something else does, or a label is of another version.
    """
    try:
        both = settings_of(label), settings_of(other)
    except InputError:
        return None
    name = field.removeprefix("structure.")
    own, its = (getattr(settings.structure, name) for settings in both)
    one, two = ((settings.preset, replace(settings.structure, **{name: own}), settings.dft, settings.host, settings.embedding)
                for settings in both)
    return (own, its) if one == two else None


def _from_text(text: str) -> Any:
    """A value as a label shows it: Python's words for numbers, truth values and tuples, anything else as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _value(where: str, name: str, kind: object, value: Any) -> Any:
    """The value as the type of its field, checked."""
    number = (int, float)
    if kind == "Mesh":
        if not (isinstance(value, list | tuple) and len(value) == 3
                and all(isinstance(v, int) and not isinstance(v, bool) and v >= 1 for v in value)):
            raise InputError(where, value, "three whole numbers of at least 1")
        return tuple(value)
    if kind == "tuple[str, ...]":
        allowed = _CHOICES[name]
        if not isinstance(value, list | tuple) or not all(v in allowed for v in value):
            raise InputError(where, value, f"a list of: {', '.join(allowed)}")
        return tuple(value)
    if isinstance(kind, str) and kind.startswith("tuple"):
        ok = isinstance(value, list | tuple) and len(value) >= (name not in _MAY_BE_EMPTY)
        if not ok or not all(isinstance(v, number) and not isinstance(v, bool) and math.isfinite(v) for v in value):
            raise InputError(where, value, "a list of numbers")
        if "int" in kind:
            if not all(isinstance(v, int) and v >= 2 for v in value):
                raise InputError(where, value, "whole numbers of at least 2")
            return tuple(value)
        return tuple(float(v) for v in value)
    if kind == "bool":
        if not isinstance(value, bool):
            raise InputError(where, value, "true or false")
        return value
    if kind == "str":
        if not isinstance(value, str) or (name in _CHOICES and value not in _CHOICES[name]):
            raise InputError(where, value, ", ".join(_CHOICES.get(name, ("text",))))
        return value
    if isinstance(value, bool) or not isinstance(value, number) or (kind == "int" and not isinstance(value, int)):
        raise InputError(where, value, "a whole number" if kind == "int" else "a number")
    if not math.isfinite(value):
        raise InputError(where, value, "a finite number")
    if name in _COUNTS and value < 0:
        raise InputError(where, value, "a whole number of at least 0")
    if (name in _POSITIVE or (kind == "int" and name not in _COUNTS)) and not value > 0:
        raise InputError(where, value, "above zero")
    if name in _EVEN and value % 2:
        raise InputError(where, value, "an even number")
    if name in _ODD and (value % 2 == 0 or value < 3):
        # with one point per axis a pair on opposite sides of the mover would be the sum over both of its images
        raise InputError(where, value, "an odd number of at least 3")
    return value if kind == "int" else float(value)


def _check_embedding(embedding: Embedding) -> None:
    energies = embedding.energies_eV
    if list(energies) != sorted(set(energies)):
        raise InputError("embedding.energies_eV", energies, "increasing energies")
    for needed in (0.0, -embedding.fermi_error_eV, embedding.fermi_error_eV):
        if not any(abs(e - needed) < 1e-9 for e in energies):
            raise InputError("embedding.energies_eV", energies, "a list that holds 0 and +-embedding.fermi_error_eV")
    wide = embedding.wide_energies_eV
    if list(wide) != sorted(set(wide)) or any(energies[0] <= e <= energies[-1] for e in wide):
        raise InputError("embedding.wide_energies_eV", wide, "increasing energies beyond embedding.energies_eV")
    if any(r <= 0 for r in embedding.radii_A):
        raise InputError("embedding.radii_A", embedding.radii_A, "radii above zero")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


