"""Slabs of another thickness: which rows differ in nothing else, and what their difference says about each of them.

K(E) of a slab has the steps of its subbands. One of L layers has them at energies of its own, each a share of about 1/L of the
whole. Where two slabs of L and L' layers are taken to err independently of each other by amounts in proportion to 1/L and
1/L', the difference D of what they give says about that of L layers

    sigma = |D| (1/L) / sqrt(1/L^2 + 1/L'^2) = |D| L' / sqrt(L^2 + L'^2)
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from .errors import InputError
from .settings import Settings, settings_of

#: the field of the layers of the embedding slabs
SLAB = "structure.thick_layers"


@lru_cache(maxsize=4096)
def other_layers(label: str, other: str) -> tuple[int, int] | None:
    """Layers of the embedding slabs of two presets' labels; None where they are equal or more of the wind force differs."""
    try:
        one, two = settings_of(label), settings_of(other)
    except InputError:  # a label of another version
        return None
    layers = one.structure.thick_layers[0], two.structure.thick_layers[0]
    return layers if layers[0] != layers[1] and _but_slab(one) == _but_slab(two) else None


def _but_slab(settings: Settings) -> tuple[object, ...]:
    return settings.preset, replace(settings.structure, thick_layers=()), settings.dft, settings.host, settings.embedding


def share(layers: int, other: int) -> float:
    """L'/sqrt(L^2 + L'^2): the share of a difference to a slab of `other` layers that is the sigma of one of `layers`."""
    return other / math.hypot(layers, other)


__all__ = ["SLAB", "other_layers", "share"]
