"""What the thickness of a slab leaves open in a heat of transport, which is made of the slope of K(E): the same hop embedded in
slabs of another thickness (`emforce.thickness`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .best import hop_of
from .record import HOP_AVERAGE
from .steps import Document
from .thickness import other_layers, share
from .variations import UNRELAXED

#: energies that a curve needs
FEWEST = 3


def other_slabs(row: Mapping[str, object], stored: Sequence[Document]) -> list[Document]:
    """Of each other thickness of the slab the newest served row of the same hop and site that has K(eps).

    Everything else of the preset's label that enters the wind force, the basis, the points of the hop, and whether the
    structures were relaxed are the same.

    Returns
    -------
    list of {"row": id, "energies_eV", "k_of_energy_uohm_cm", "share"}, the share of the difference that is the row's sigma,
    in the order of the layers; empty in bulk
    """
    if row["facet"] == "bulk":
        return []
    found: dict[int, Document] = {}
    for other in sorted(stored, key=lambda one: int(one["id"])):
        layers = other_layers(str(row["preset"]), str(other["preset"]))
        if layers is None or not _alike(row, other) or len(other["k_of_energy_uohm_cm"] or ()) < FEWEST:
            continue
        if row["site"] == HOP_AVERAGE and _points(row, stored) != _points(other, stored):
            continue
        own, its = layers
        found[its] = {"row": other["id"], "share": share(own, its),
                      **{name: other[name] for name in ("energies_eV", "k_of_energy_uohm_cm")}}
    return [found[layers] for layers in sorted(found)]


def _alike(row: Mapping[str, object], other: Mapping[str, object]) -> bool:
    same = all(row[name] == other[name] for name in ("site", "method", "basis"))
    return same and hop_of(row) == hop_of(other) and other["status"] == "ok" and unrelaxed(row) == unrelaxed(other)


def unrelaxed(row: Mapping[str, object]) -> bool:
    """Whether a row is of structures as built."""
    origin = row["provenance"]
    return isinstance(origin, Mapping) and origin.get("geometry") == UNRELAXED


def _points(row: Mapping[str, object], stored: Sequence[Document]) -> set[float]:
    """Fractions of the points of the hop with a row of the same preset and basis."""
    return {float(one["fraction"]) for one in stored if one["fraction"] is not None
            and one["k_wind_uohm_cm"] is not None and (one["preset"], one["basis"]) == (row["preset"], row["basis"])}


__all__ = ["FEWEST", "other_slabs", "unrelaxed"]
