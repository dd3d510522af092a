"""From the responses of the direct valence to values with uncertainties.

Z_direct of an image is the component along the hop of its tensor after the symmetry of its site has been applied. Named parts
of its sigma, a part that was not estimated being nan:

    drift      largest |Z - tau m - Z_direct| at hbar/tau up to DRIFT_RANGE_eV: what the limit of long tau misses at a metal's
               own tau
    limit      change of Z_direct when the polynomial in hbar/tau that finds the limit loses its last power, or the data the
               smallest or the largest hbar/tau
    region, frequencies, fermi_energy    change of Z - tau m, each with its own m, at the middle hbar/tau, where a run varies them
                (a region that had to end early: 0.4 of what its last shells changed, emforce.direct_plan)
    edge        the same with the other way in which orbitals carry the host's couplings over the edge of the region
                (physics/carried.py)
    basis      relative error of the host against plane waves, as for K, times |Z_direct|
    path       (hop average only) as for K

For the drift along a direction of an anisotropic surface the component is that of `emforce.assess`, and the part of the basis a
share of |Z_along| + |across Z_across|.

Where the drift, the region, its edge or the frequencies leave more open than |Z_direct|, and more than NEGLIGIBLE, there is no
single value: the interval Z_direct -+ sigma is served.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emforce import units
from emforce.assess import component, host_error, magnitude, path_error
from emforce.physics.symmetry import known_part
from emforce.physics.wind import hop_average

NAN = math.nan
#: hbar/tau of metals between room temperature and 1000 K is 0.05 to 0.25 eV
DRIFT_RANGE_eV = 0.25
#: a valence below this is small beside any ion's charge and any wind: one that is known to be that small is a value
NEGLIGIBLE = 0.25
#: what a sigma of Z_direct leaves out unless a run varies it
NOT_ESTIMATED = ("fermi_energy", "smearing", "region", "edge", "frequencies", "layers", "geometry")


@dataclass(frozen=True)
class DirectValue:
    """Direct valence of one image, or of the hop average.

    Attributes
    ----------
    value : Z_direct along the hop
    parts : named parts of its uncertainty; nan: not estimated
    tensor : (3, 3), nan where not computed (the hop average has none)
    omegas, total : (n,) hbar/tau, eV, and Z along the hop
    remainder : (n,) Z - tau m along the hop, m of the response's own region
    sea : Fermi-sea part at the smallest hbar/tau, a diagnostic that depends on the basis
    k_free : uOhm cm along the hop, K of what grows with tau in a fit that does not know the wind force
    condition : largest condition number
    """

    value: float
    parts: dict[str, float]
    tensor: np.ndarray
    omegas: np.ndarray
    total: np.ndarray
    remainder: np.ndarray
    sea: float
    k_free: float
    condition: float

    @property
    def sigma(self) -> float:
        """The parts that were estimated, in quadrature."""
        return math.hypot(*(p for p in self.parts.values() if not math.isnan(p)))

    @property
    def is_interval(self) -> bool:
        """Whether drift or numerical parts exceed the value, and `NEGLIGIBLE`."""
        numerical = [self.parts.get(name, NAN) for name in ("region", "edge", "frequencies", "layers")]
        return not max(self.parts["drift"], *(p for p in numerical if not math.isnan(p)), 0.0) <= max(abs(self.value), NEGLIGIBLE)

    def fields(self) -> dict[str, Any]:
        """Fields of a record."""
        found: dict[str, Any] = {
            "z_direct_sigma_parts": self.parts,
            "z_direct_tensor": self.tensor,
            "z_total_of_tau": {"hbar_over_tau_eV": self.omegas, "values": self.total, "remainders": self.remainder},
            "z_fermi_sea": self.sea,
        }
        if self.is_interval:
            return found | {"z_direct_low": self.value - self.sigma, "z_direct_high": self.value + self.sigma}
        return found | {"z_direct": self.value, "z_direct_sigma": self.sigma}


def assess_direct(
    direct: Mapping[str, Any], bulk: Mapping[str, Any], axes: Sequence[Sequence[int]], rotations: Sequence[np.ndarray],
    across: float = 0.0,
) -> list[DirectValue]:
    """Values of all images from the finished steps `direct` and `bulk`.

    Parameters
    ----------
    axes : per image, force axes that were computed
    rotations : per image, rotations of its site
    across : weight of the field across the hop, for the drift along a direction of the surface; values are nan where that
        field was not computed
    """
    scale = bulk["volume"] / bulk["n"] / units.uohm_cm
    omegas = np.array(direct["omegas"])
    relative = host_error(bulk)
    smallest = int(omegas.argmin())
    found = []
    for image, own, turns in zip(direct["images"], axes, rotations, strict=True):
        def tensor(rows: Any, own: Sequence[int] = own, turns: np.ndarray = turns) -> np.ndarray:
            raw = np.array([rows[a] for a in own], dtype=float)
            unknown = np.isnan(raw).any(axis=0)
            # a field axis that was not computed has no part in the component along the hop, and stays unknown
            full = known_part(list(own), np.where(unknown, 0.0, raw), turns)
            full[:, unknown] = NAN
            return full

        def part(rows: Any, tensor: Any = tensor) -> float:
            return component(tensor(rows), across)

        z = tensor(image["z_direct"])
        value = component(z, across)
        drift = [abs(part(d)) for d, w in zip(image["drift"], omegas, strict=True) if w < DRIFT_RANGE_eV + 1e-9]
        parts = {"drift": max(drift, default=NAN), "limit": abs(part(image["z_direct_sigma"])),
                 "basis": relative * magnitude(z, across)}
        parts |= dict.fromkeys(NOT_ESTIMATED, NAN)
        for variation in image["variations"]:  # the largest change where there are several
            change = abs(part(variation["change"]))
            parts[variation["part"]] = float(np.fmax(parts[variation["part"]], change))
        total = np.array([part(t) for t in image["total"]])
        remainder = total - part(image["m"]) / omegas
        found.append(DirectValue(value, parts, z, omegas, total, remainder, part(image["sea"][smallest]),
                                 part(image["m_free"]) * scale, float(image["condition"])))
    return found


def average_direct(values: Sequence[DirectValue], fractions: Sequence[float], symmetric: bool) -> DirectValue:
    """The average along the hop; parts are averaged as they are, the error of an image being that of its neighbours too."""
    s = np.asarray(fractions)

    def mean(numbers: Sequence[float]) -> float:
        return hop_average(s, np.asarray(numbers, dtype=float), symmetric)

    parts = {name: mean([v.parts[name] for v in values]) for name in values[0].parts}
    parts["path"] = path_error(fractions, [v.value for v in values], symmetric)
    total, remainder = (np.array([mean([getattr(v, name)[i] for v in values]) for i in range(len(values[0].omegas))])
                        for name in ("total", "remainder"))
    return DirectValue(mean([v.value for v in values]), parts, np.full((3, 3), NAN), values[0].omegas, total, remainder,
                       mean([v.sea for v in values]), mean([v.k_free for v in values]), max(v.condition for v in values))
