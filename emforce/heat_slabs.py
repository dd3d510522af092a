"""What the thickness of a slab leaves open in a heat of transport, which is made of the slope of K(E): the same hop embedded in
slabs of another thickness (`emforce.thickness`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .best import hop_of
from .record import HOP_AVERAGE
from .refinement import FURTHER, refinement
from .settings import preset_fields, preset_label
from .steps import Document
from .thickness import SLAB, other_layers, share
from .variations import UNRELAXED

#: energies that a curve needs
FEWEST = 3


def other_slabs(row: Document, stored: Sequence[Document]) -> list[Document]:
    """Of each other thickness of the slab the newest served row of the same hop and site that has K(eps).

    Everything else of the preset's label that enters the wind force, the basis, the points of the hop, and whether the
    structures were relaxed are the same. A row for which there is none takes the difference that the thickness makes for one
    that it converges further (another cell, spin-orbit coupling).

    Returns
    -------
    list of {"row": id, "energies_eV", "k_of_energy_uohm_cm", "share"}, the share of the difference that is the row's sigma,
    in the order of the layers; with "lent_by", the id of such a row, where K is that of the row itself with the difference of
    two others. Empty in bulk
    """
    if row["facet"] == "bulk":
        return []
    found = _of_other_slabs(row, stored)
    if found:
        return found
    lenders = [one for one in stored if _converged_further(one, row) and alike(row, one)
               and one["energies_eV"] == row["energies_eV"]]
    # the one that is nearest to the row, of several the newest
    for lender in sorted(lenders, key=lambda one: (-len(preset_fields(str(one["preset"]))[1]), -int(one["id"]))):
        own, its = (np.array(one["k_of_energy_uohm_cm"]) for one in (row, lender))
        found = [slab | {"lent_by": lender["id"], "k_of_energy_uohm_cm": (own + slab["k_of_energy_uohm_cm"] - its).tolist()}
                 for slab in _of_other_slabs(lender, stored) if slab["energies_eV"] == row["energies_eV"]]
        if found:
            break
    return found


def _converged_further(row: Document, by: Document) -> bool:
    """Whether `by` has the preset of a row and more fields overridden, which converge the wind force further."""
    name, fields = preset_fields(str(row["preset"]))
    its_name, its_fields = preset_fields(str(by["preset"]))
    if name != its_name or not fields.items() < its_fields.items():
        return False
    more = {field: value for field, value in its_fields.items() if field not in fields}
    return SLAB not in more and refinement(preset_label(name, more), "wind") == FURTHER


def _of_other_slabs(row: Document, stored: Sequence[Document]) -> list[Document]:
    found: dict[int, Document] = {}
    for other in sorted(stored, key=lambda one: int(one["id"])):
        layers = other_layers(str(row["preset"]), str(other["preset"]))
        if layers is None or not alike(row, other) or len(other["k_of_energy_uohm_cm"] or ()) < FEWEST:
            continue
        if row["site"] == HOP_AVERAGE and points_of(row, stored) != points_of(other, stored):
            continue
        own, its = layers
        found[its] = {"row": other["id"], "share": share(own, its),
                      **{name: other[name] for name in ("energies_eV", "k_of_energy_uohm_cm")}}
    return [found[layers] for layers in sorted(found)]


def alike(row: Document, other: Document, same: Sequence[str] = ("site", "method", "basis")) -> bool:
    """Whether another row is served, of the same hop, alike in the named keys, and both or neither of relaxed structures."""
    unrelaxed = [one["provenance"].get("geometry") == UNRELAXED for one in (row, other)]
    return (all(row[name] == other[name] for name in same) and hop_of(row) == hop_of(other) and other["status"] == "ok"
            and unrelaxed[0] == unrelaxed[1])


def points_of(row: Document, stored: Sequence[Document]) -> set[float]:
    """Fractions of the points of the hop with a row of the same preset and basis."""
    return {float(one["fraction"]) for one in stored if one["fraction"] is not None
            and one["k_wind_uohm_cm"] is not None and (one["preset"], one["basis"]) == (row["preset"], row["basis"])}


__all__ = ["FEWEST", "alike", "other_slabs", "points_of"]
