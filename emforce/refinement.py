"""Whether the overridden fields of a preset converge a calculation further than the preset does.

A larger cell or a denser mesh is a better value of the same thing, and so is one with spin-orbit coupling, which is there in
nature; another functional or a wider smearing is another thing. Force axes along which more is computed of the same tensor
change nothing about its component along the hop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .errors import InputError
from .keys import Group
from .settings import load_settings, preset_fields, preset_label, presets, settings_of

#: fields by which a calculation converges: 1 where a larger value does (of several numbers none may be smaller), -1 where a
#: smaller one does
FINER: Mapping[str, int] = {
    "structure.slab_size": 1, "structure.bulk_size": 1, "structure.primitive_size": 1, "structure.layers": 1,
    "structure.thick_layers": 1, "structure.vacuum_A": 1,
    "dft.grid_A": -1, "dft.density_tolerance": -1, "dft.max_iterations": 1, "dft.slab_kpts": 1, "dft.bulk_kpts": 1,
    "dft.matrix_kpts": 1, "dft.forces": 1, "dft.spin_orbit": 1,
    "host.bulk_kpts": 1, "host.bulk_matrix_kpts": 1, "host.bulk_mesh": 1, "host.bulk_mesh_max": 1, "host.n_tolerance": -1,
    "host.slab_mesh": 1, "host.embedding_mesh": 1,
    "kinetics.shells": 1, "kinetics.force_calls": 1, "kinetics.density_tolerance": -1, "kinetics.force_tolerance_eV_per_A": -1,
    "kinetics.newton_steps": 1, "kinetics.k_points_check": 1, "kinetics.k_points_steps": 1, "kinetics.formation_entropy": 1,
    "kinetics.plane_wave": 1, "kinetics.plane_wave_cutoff_eV": 1, "kinetics.plane_wave_slab_kpts": 1,
    "kinetics.plane_wave_bulk_kpts": 1, "kinetics.plane_wave_layers": 1,
}
#: fields that say how much of the same thing is computed, and how well none of it
EXTENT = ("dft.directions",)
#: the field that names the basis: those that pass the check of the host are equals
BASIS = "dft.recipe"
#: the field whose rows measure what the functional leaves open
FUNCTIONAL = "dft.functional"
#: the field that asks for spin-orbit coupling
COUPLING = "dft.spin_orbit"
#: the field that says when a density counts as self-consistent
TOLERANCE = "dft.density_tolerance"
#: fields that do not count where rows are compared by how far they are converged: a tighter tolerance measures the part
#: `self_consistency`, which is small, and does not stand for a larger cell; neighbours that move concern nu0 alone, by a part
UNCOUNTED = (TOLERANCE, "kinetics.shells")
#: sections of the settings that do not enter a group of values
_ELSEWHERE: Mapping[Group, tuple[str, ...]] = {
    "wind": ("direct", "heat", "kinetics", "phonons"),
    "direct": ("heat", "kinetics", "phonons"),
    "kinetics": ("embedding", "direct", "heat", "phonons"),
    "heat": ("direct", "phonons"),
}
FURTHER, AS_SHIPPED, OTHERWISE = 0, 1, 2


@lru_cache(maxsize=4096)
def refinement(label: str, group: Group) -> int:
    """What the overridden fields of a preset's label do to a group of values.

    Returns
    -------
    FURTHER : one or more of them converge it further, none does anything else
    AS_SHIPPED : none of them enters
    OTHERWISE : anything else, a label that today's settings do not know included
    """
    name, changed = preset_fields(label)
    entering = [field for field in changed if field.partition(".")[0] not in _ELSEWHERE.get(group, ())]
    if not entering:
        return AS_SHIPPED
    if name not in presets():
        return OTHERWISE
    try:
        shipped, settings = load_settings(name), settings_of(label)
    except InputError:
        return OTHERWISE
    steps = {_step(field, _field(shipped, field), _field(settings, field)) for field in entering} - {0}
    return AS_SHIPPED if not steps else FURTHER if steps == {1} else OTHERWISE


@lru_cache(maxsize=4096)
def refined_fields(label: str, group: Group) -> int:
    """How many overridden fields of a label converge a group of values further; 0 where something else is overridden too.

    Fields of `UNCOUNTED` are left out.
    """
    name, fields = preset_fields(label)
    counted = {field: value for field, value in fields.items() if field not in UNCOUNTED}
    if refinement(preset_label(name, counted), group) != FURTHER:
        return 0
    return sum(refinement(preset_label(name, {field: value}), group) == FURTHER for field, value in counted.items())


@lru_cache(maxsize=4096)
def outdone(label: str, other: str) -> bool:
    """Whether `other` has the same fields of the same preset overridden, converged further in one or more and no less in any."""
    (name, fields), (other_name, other_fields) = preset_fields(label), preset_fields(other)
    if name != other_name or fields.keys() != other_fields.keys() or fields == other_fields:
        return False
    try:
        own, its = settings_of(label), settings_of(other)
    except InputError:
        return False
    steps = {_step(field, _field(own, field), _field(its, field)) for field in fields}
    return 1 in steps and -1 not in steps


def along_the_hop(label: str) -> str:
    """A preset's label without the overridden fields that change nothing about K along the hop: `EXTENT`, those of Z_direct."""
    name, fields = preset_fields(label)
    return preset_label(name, {k: v for k, v in fields.items() if k not in EXTENT and not k.startswith("direct.")})


def _field(settings: object, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def _step(field: str, shipped: Any, value: Any) -> int:
    """1 where `value` converges further than `shipped`, 0 where they are equal, -1 for anything else."""
    if shipped == value or field in EXTENT:
        return 0
    if field not in FINER:
        return -1
    pairs = list(zip(shipped, value, strict=False)) if isinstance(shipped, tuple) else [(shipped, value)]
    if field == "kinetics.plane_wave_layers":  # 0: all layers
        pairs = [(a or math.inf, b or math.inf) for a, b in pairs]
    return 1 if all(FINER[field] * (b - a) >= 0 for a, b in pairs) else -1


__all__ = ["AS_SHIPPED", "BASIS", "COUPLING", "EXTENT", "FINER", "FUNCTIONAL", "FURTHER", "OTHERWISE", "TOLERANCE",
           "along_the_hop", "outdone", "refined_fields", "refinement"]
