"""Directions of a facet in which the drift of an adatom differs from that of its hop: rows with the site "drift [...]".

The formulas are in `emforce.physics.drift`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from emforce.diffusion import facet_operations
from emforce.keys import DRIFT
from emforce.physics.drift import drift_axes
from emforce.sites import ADATOM_HOPS
from emforce.spec import Spec

#: crystal directions of the first surface vector and across it
_NAMES = MappingProxyType({("bcc", "110"): ("[001]", "[1-10]")})


@dataclass(frozen=True)
class DriftAxis:
    """A direction of the current in the surface.

    Attributes
    ----------
    name : crystal direction, such as [001]
    weight : K of the drift is k_along + weight k_across, forces along the hop by a field along and across it
    """

    name: str
    weight: float

    @property
    def site(self) -> str:
        """Site of its rows."""
        return DRIFT + self.name


def axes_of(spec: Spec, structure: str) -> tuple[DriftAxis, ...]:
    """The directions of a facet in which drift is not that along the hop; none on facets where it is the same in all.

    structure : "fcc" or "bcc"
    """
    facet = (structure, spec.facet)
    if spec.kind != "adatom" or facet not in _NAMES:
        return ()
    start, end = (np.array(p) for p in ADATOM_HOPS[facet][spec.hop])
    axes, weights = drift_axes(facet_operations(*facet), end - start)
    found = {int(np.abs(axis).argmax()): weight for axis, weight in zip(axes, weights, strict=True)}
    return tuple(DriftAxis(_NAMES[facet][i], float(found[i])) for i in sorted(found) if found[i] != 0.0)


__all__ = ["DriftAxis", "axes_of"]
