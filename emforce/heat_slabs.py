"""What the thickness of a slab leaves open in a heat of transport: the same hop embedded in slabs of another thickness.

K(eps) of a slab has the steps of its subbands, and the heat of transport is made of its slope. One of L layers has steps at
energies of its own, each a share of about 1/L of the whole. Where two slabs of L and L' layers are taken to err independently
of each other by amounts in proportion to 1/L and 1/L', the difference D of what they give says about that of L layers

    sigma = |D| (1/L) / sqrt(1/L^2 + 1/L'^2) = |D| L' / sqrt(L^2 + L'^2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from .best import hop_of
from .errors import InputError
from .record import HOP_AVERAGE
from .settings import Settings, settings_of
from .steps import Document
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
        layers = _other_layers(str(row["preset"]), str(other["preset"]))
        if layers is None or not _alike(row, other) or len(other["k_of_energy_uohm_cm"] or ()) < FEWEST:
            continue
        if row["site"] == HOP_AVERAGE and _points(row, stored) != _points(other, stored):
            continue
        own, its = layers
        found[its] = {"row": other["id"], "share": its / math.hypot(own, its),
                      **{name: other[name] for name in ("energies_eV", "k_of_energy_uohm_cm")}}
    return [found[layers] for layers in sorted(found)]


def _alike(row: Mapping[str, object], other: Mapping[str, object]) -> bool:
    same = all(row[name] == other[name] for name in ("site", "method", "basis"))
    return same and hop_of(row) == hop_of(other) and other["status"] == "ok" and _unrelaxed(row) == _unrelaxed(other)


def _unrelaxed(row: Mapping[str, object]) -> bool:
    origin = row["provenance"]
    return isinstance(origin, Mapping) and origin.get("geometry") == UNRELAXED


def _points(row: Mapping[str, object], stored: Sequence[Document]) -> set[float]:
    """Fractions of the points of the hop with a row of the same preset and basis."""
    return {float(one["fraction"]) for one in stored if one["fraction"] is not None
            and one["k_wind_uohm_cm"] is not None and (one["preset"], one["basis"]) == (row["preset"], row["basis"])}


@lru_cache(maxsize=4096)
def _other_layers(label: str, other: str) -> tuple[int, int] | None:
    """Layers of the slabs of two presets' labels; None where they are equal or anything else of the wind force differs."""
    try:
        one, two = settings_of(label), settings_of(other)
    except InputError:  # a label of another version
        return None
    layers = one.structure.thick_layers[0], two.structure.thick_layers[0]
    return layers if layers[0] != layers[1] and _but_slab(one) == _but_slab(two) else None


def _but_slab(settings: Settings) -> tuple[object, ...]:
    return settings.preset, replace(settings.structure, thick_layers=()), settings.dft, settings.host, settings.embedding


__all__ = ["FEWEST", "other_slabs"]
