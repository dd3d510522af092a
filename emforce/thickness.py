"""Slabs of another thickness: which rows differ in nothing else, and what their difference says about each of them.

K(E) of a slab has the steps of its subbands. One of L layers has them at energies of its own, each a share of about 1/L of the
whole. Where two slabs of L and L' layers are taken to err independently of each other by amounts in proportion to 1/L and
1/L', the difference D of what they give says about that of L layers

    sigma = |D| (1/L) / sqrt(1/L^2 + 1/L'^2) = |D| L' / sqrt(L^2 + L'^2)
"""

from __future__ import annotations

import math

from .settings import only_difference

#: the field of the layers of the embedding slabs
SLAB = "structure.thick_layers"


def other_layers(label: str, other: str) -> tuple[int, int] | None:
    """Layers of the embedding slabs of two presets' labels; None where they are equal or more of the wind force differs."""
    slabs = only_difference(label, other, SLAB)
    return None if slabs is None or slabs[0][0] == slabs[1][0] else (slabs[0][0], slabs[1][0])


def share(layers: int, other: int) -> float:
    """L'/sqrt(L^2 + L'^2): the share of a difference to a slab of `other` layers that is the sigma of one of `layers`."""
    return other / math.hypot(layers, other)


__all__ = ["SLAB", "other_layers", "share"]
