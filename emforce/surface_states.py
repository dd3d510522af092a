"""Surface states of slabs in the local basis against plane waves: how far they are off, for each surface that was compared.

Hosts are checked against plane waves in bulk (`emforce.physics.hostcheck`). A local basis may be right there and off at a
surface: a surface state reaches into the vacuum, farther than the orbitals do, and what is held too tightly lies too high. K(E)
steps where a band of surface states begins, so that an error of its energy is an error of the energy at which K is to be taken.

data/surface_states.toml is written by workflows/surface_states.py, which computes both sides; nothing in it is typed in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Floats = NDArray[np.float64]

FILE = "surface_states.toml"
#: half width of the energy window of the comparison, eV, and outermost layers of either side on which a surface state lies
WINDOW_eV = 0.5
OUTER_LAYERS = 2
#: width of the delta function in the Fermi-surface sums of K (host.sigma_eV): what is at the Fermi energy, eV
WIDTH_eV = 0.15
#: of what a state spread evenly has not on the outer layers, the share that a surface state has there at least
CONCENTRATION = 0.3


@dataclass(frozen=True)
class SurfaceStates:
    """Surface states of one slab, local basis against plane waves.

    Attributes
    ----------
    metal, facet, basis, functional : what it is for
    layers, kpts, points : layers of the slab, mesh of the self-consistent runs, number of k-points that were compared
    cutoff_eV, smearing_eV : of the plane waves; of the occupation of both
    energies_eV, errors_eV, weights : of the surface states within WINDOW_eV of the Fermi energy: energy in the local basis
        relative to it, local basis less plane waves, and weight of the k-point; those in the middle of the zone come first
    middle : how many of them lie in the middle of the surface Brillouin zone
    origin : version of GPAW, commit, date
    """

    metal: str
    facet: str
    basis: str
    functional: str
    layers: int
    kpts: tuple[int, ...]
    points: int
    cutoff_eV: float
    smearing_eV: float
    energies_eV: tuple[float, ...]
    errors_eV: tuple[float, ...]
    weights: tuple[float, ...]
    middle: int
    origin: str

    @property
    def at_fermi_energy_eV(self) -> float:
        """Rms error of the states at the Fermi energy, each with the weight w exp(-E^2/2s^2), s = WIDTH_eV; 0 without states."""
        energies, errors, weights = map(np.array, (self.energies_eV, self.errors_eV, self.weights))
        share = weights * np.exp(-0.5 * (energies / WIDTH_eV) ** 2)
        return float(np.sqrt(share @ errors**2 / share.sum())) if len(share) else 0.0

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What it is for."""
        return self.metal, self.facet, self.basis, self.functional


def are_surface_states(weights: Floats, share: float) -> NDArray[np.bool_]:
    """Which states have w >= share + CONCENTRATION (1 - share) of themselves on the outer layers.

    Parameters
    ----------
    weights : norm of each state on the outer layers of both sides, 0 to 1
    share : that of a state spread evenly over the slab, the outer layers' share of its atoms, below 1
    """
    if not 0 < share < 1:
        raise InputError("share", share, "a number between 0 and 1")
    return np.asarray(weights >= share + CONCENTRATION * (1 - share))


def surface_errors(
    bands: Floats, reference: Floats, weights: Floats, share: float, window: float = WINDOW_eV
) -> tuple[Floats, Floats, NDArray[np.int_]]:
    """Surface states within the window of the Fermi energy: energies, errors (eV), and the k-point of each, in their order.

    Parameters
    ----------
    bands, weights : (points, bands) energies of the local basis, increasing, and the states' norms on the outer layers
    reference : (points, bands) energies in plane waves; bands are matched in the order of energy, the lowest first
    share : see `are_surface_states`

    Energies in eV, each set relative to its own Fermi energy. Both sets begin with the same valence band.
    """
    if bands.shape != weights.shape or bands.shape[0] != reference.shape[0]:
        raise InputError("bands", [bands.shape, weights.shape, reference.shape], "states at equal k-points, with weights")
    inside = are_surface_states(weights, share) & (np.abs(bands) <= window)
    count = min(bands.shape[1], reference.shape[1])
    if inside[:, count:].any():
        raise InputError("reference", reference.shape, "as many bands as the local basis has in the window")
    inside = inside[:, :count]
    return bands[:, :count][inside], (bands[:, :count] - reference[:, :count])[inside], np.nonzero(inside)[0]


@lru_cache(maxsize=1)
def stored() -> Mapping[tuple[str, str, str, str], SurfaceStates]:
    """All that were compared, by `SurfaceStates.identity`."""
    file = resources.files("emforce").joinpath("data", FILE)
    return parse(file.read_text(encoding="utf-8")) if file.is_file() else {}


def find(metal: str, facet: str, basis: str, functional: str) -> SurfaceStates | None:
    """What is known of a surface in a basis; None where the two were not compared."""
    return stored().get((metal, facet, basis, functional))


def parse(text: str) -> dict[tuple[str, str, str, str], SurfaceStates]:
    """Entries of the file.

    Raises
    ------
    InputError : a missing or unknown name, two entries of one surface
    """
    found: dict[tuple[str, str, str, str], SurfaceStates] = {}
    names = [field.name for field in fields(SurfaceStates)]
    for entry in tomllib.loads(text).get("surface", []):
        if sorted(entry) != sorted(names):
            raise InputError(FILE, sorted(entry), ", ".join(names))
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
        one = SurfaceStates(**values)
        if one.identity in found:
            raise InputError(FILE, one.identity, "one entry of each surface, basis and functional")
        found[one.identity] = one
    return found


def write(entries: Sequence[SurfaceStates], path: Path) -> None:
    """Put entries into a file beside those of other surfaces that it holds."""
    held = parse(path.read_text(encoding="utf-8")) if path.is_file() else {}
    held |= {one.identity: one for one in entries}
    lines = ["# Surface states in the local basis against plane waves (emforce/surface_states.py).",
             "# Written by workflows/surface_states.py."]
    for one in (held[identity] for identity in sorted(held)):
        lines += ["", "[[surface]]", *(f"{name} = {_toml(value)}" for name, value in asdict(one).items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(round(value, 4)) if isinstance(value, float) else str(value)


__all__ = [
    "CONCENTRATION",
    "FILE",
    "OUTER_LAYERS",
    "SurfaceStates",
    "WIDTH_eV",
    "WINDOW_eV",
    "are_surface_states",
    "find",
    "parse",
    "stored",
    "surface_errors",
    "write",
]
