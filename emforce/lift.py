"""Adatoms off the height that they were relaxed to: what the error of that height is worth in the wind force.

    emforce run structures/w110-adatom.toml --set structure.mover_lift_A=0.05 --set direct.compute=false

computes the hop with the mover of every image 0.05 A farther out along the normal of the surface, everything else as it was
relaxed. A row of the hop as relaxed gets from it the part

    mover_height = |K(lift) - K| d/|lift|

where d is the misplacement that its part `geometry` grants (`emforce.assess`), as far as it is more than that part, whose slope
is one for all metals. A bond whose length is off by d moves the atom by more than d where it stands aslant: not in it.
"""

from __future__ import annotations

import math

import numpy as np

from .assess import GEOMETRY_SLOPE
from .errors import InputError
from .hop import Hop
from .record import Record
from .relaxed import Source, take_over, with_positions
from .settings import Settings, only_difference

#: the field of the settings
LIFT = "structure.mover_lift_A"


def lifted(hop: Hop, lift_A: float) -> Hop:
    """The hop with the mover of every image farther out along z, the normal of the surface; the same hop for 0.

    Raises
    ------
    InputError : a lift in bulk, or one that takes the mover out of the cell
    """
    if lift_A == 0.0:
        return hop
    if hop.host_unit.pbc[2]:
        raise InputError(LIFT, lift_A, "0 in bulk, where no normal is")
    up = lift_A * np.eye(3)[2]
    return with_positions(hop, images={
        image.fraction: image.atoms.positions + np.where(np.arange(len(image.atoms))[:, None] == image.mover, up, 0.0)
        for image in hop.images})


def placed(hop: Hop, source: Source | None, settings: Settings) -> Hop:
    """The hop as its wind force is computed: relaxed where there is a source, with the lift of the settings."""
    return lifted(hop if source is None else take_over(hop, source), settings.structure.mover_lift_A)


def lift_between(label: str, other: str) -> float | None:
    """Lift in A of the preset's label `other`, where it is all that tells its wind force from that of `label`, which has none."""
    own, lift = only_difference(label, other, LIFT) or (0.0, 0.0)
    return lift if own == 0.0 and lift != 0.0 else None


def misplacement_A(record: Record) -> float:
    """The misplacement in A that the part `geometry` of a row of the wind force grants: that part without its slope."""
    weights = record.provenance.get("drift", {}).get("weights", [1.0])
    return float(record.k_wind_sigma_parts_uohm_cm.get("geometry", math.nan)) / GEOMETRY_SLOPE / math.hypot(*weights)


__all__ = ["LIFT", "lift_between", "lifted", "misplacement_A", "placed"]
