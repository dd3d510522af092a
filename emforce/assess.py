"""From the numbers of an embedding to values with uncertainties and checks.

K of an image is the component along the hop of its tensor after the symmetry of its site has been applied. Its uncertainty
is the quadrature of named parts, each the change of K when one thing is varied and everything else kept:

    fermi_energy       E_F -+ fermi_error_eV (largest change)
    smearing           the second width of the delta
    region             the other radii (root mean square change; one that cuts a shell of overlapping orbitals can be far off)
    layers             the other thick slab, with a coarser k-mesh in the plane (bulk: the coarser mesh alone)
    mesh               N of the bulk on a coarser mesh, and with the second width
    finite_difference  (2/3) (|H+ + H- - 2H|/|H+ - H-|)^2 |K|: third derivative as the square of the second; at a point
                       displaced to one side the largest ratio of the hop's others, none where all are
    basis              relative error of the host against plane waves, the larger of DOS and omega_p^2, times |K|
    geometry           GEOMETRY_SLOPE times the misplacement: UNRELAXED_MISPLACEMENT, or where relaxed the residual force and
                       BASIS_FORCE_ERROR over M (k_B Theta_D/hbar)^2/3 with BASIS_MISPLACEMENT, in quadrature
    path               (hop average only) parabola through three points against straight lines: |K_saddle - K_initial|/6

For the drift along a direction of an anisotropic surface (`emforce.drift`) the component is K_along + across K_across, force
along the hop by a field along and across it. Parts that are shares of |K| are then shares of |K_along| + |across K_across|, the
mesh apart, which scales both; the slope of the geometry counts sqrt(1 + across^2) times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import constants

from emforce import units
from emforce.physics.symmetry import known_part
from emforce.physics.wind import hop_average
from emforce.settings import Settings

#: change of K with a misplacement of the mover's neighbours, uOhm cm per Angstrom: 10 uOhm cm for 0.1 A was the largest seen in
#: trials on W and Cu adatoms with moved neighbours
GEOMETRY_SLOPE = 100.0
#: misplacement of a structure made from hard spheres, Angstrom: the W adatom on W(110) came down by this much on relaxation
UNRELAXED_MISPLACEMENT = 0.4
#: misplacement of a relaxed structure, Angstrom: equilibrium bonds of the bases are 0.7 % (W) to 1.0 % (Cu) longer than
#: the functional's (workflows/basis_scan.py geometry)
BASIS_MISPLACEMENT = 0.03
#: error of the bases' forces on adatom slabs against plane waves, eV/A (docs/bases.md)
BASIS_FORCE_ERROR = 0.1
#: below this, uOhm cm, a component of the tensor is zero up to rounding
FORBIDDEN = 1e-9
NAN = math.nan


@dataclass(frozen=True)
class Assessed:
    """Value of one image, or of the hop average.

    Attributes
    ----------
    k : uOhm cm along the hop, or of the drift
    tensor : (3, 3) uOhm cm, nan where not computed (the hop average has none)
    tensor_sigma : (3, 3) uOhm cm, of each component the same parts in quadrature; nan where it was not computed
    parts : named parts of the uncertainty, uOhm cm; nan: not estimated
    k_of_energy : (energies,) uOhm cm, at `Embedding.all_energies_eV`
    asymmetry : |K before - after symmetrization|, uOhm cm
    condition : largest condition number among all regions
    """

    k: float
    tensor: np.ndarray
    tensor_sigma: np.ndarray
    parts: dict[str, float]
    k_of_energy: np.ndarray
    asymmetry: float
    condition: float


def stiffness(mass_amu: float, debye_temperature_K: float) -> float:
    """M (k_B Theta_D/hbar)^2 / 3 in eV/A^2: spring constant of an atom in the Debye model's mean square frequency."""
    omega = constants.k * debye_temperature_K / constants.hbar
    return mass_amu * constants.atomic_mass * omega**2 / 3 / constants.e * 1e-20


def host_error(bulk: Mapping[str, Any]) -> float:
    """Relative error of a host against plane waves, the larger of DOS and omega_p^2; nan where the two were not compared."""
    check = bulk.get("check")
    return NAN if check is None else max(abs(check["dos_ratio"] - 1), abs(check["omega_p_ratio"] ** 2 - 1))


def component(tensor: np.ndarray, across: float) -> float:
    """Force along the hop, x, by a field along it and `across` times one across it, y; nan where that was not computed."""
    return float(tensor[0, 0]) if across == 0.0 else float(tensor[0, 0] + across * tensor[0, 1])


def magnitude(tensor: np.ndarray, across: float) -> float:
    """Sum of the sizes of the two terms of `component`, which may cancel there."""
    along = component(tensor, 0.0)
    return abs(along) + abs(component(tensor, across) - along)


def tensors(
    rows: Sequence[Any], scale: float, axes: Sequence[int], rotations: np.ndarray, across: float = 0.0
) -> tuple[np.ndarray, float]:
    """Symmetrized K tensor in uOhm cm from m with null rows, and the change that symmetrization made of its `component`."""
    raw = np.array([[NAN if x is None else x for x in row] for row in rows], dtype=float) * scale
    full = known_part(list(axes), np.array([raw[a] for a in axes]), rotations)
    return full, abs(component(full, across) - component(raw, across))


@dataclass(frozen=True)
class _Case:
    """One variant of the calculation: which embedding (-1: that of the far energies), width, radius and energy."""

    embedding: int
    sigma: int
    radius: int
    energy: int


def assess_images(
    wind: Mapping[str, Any],
    bulk: Mapping[str, Any],
    settings: Settings,
    axes: Sequence[Sequence[int]],
    rotations: Sequence[np.ndarray],
    one_sided: Sequence[bool],
    misplacement_A: Sequence[float],
    across: float = 0.0,
) -> list[Assessed]:
    """Values of all images from the finished wind and bulk steps; sequences are per image.

    across : weight of the field across the hop, for the drift along a direction of the surface; 0: K along the hop
    """
    scale = bulk["volume"] / bulk["n"] / units.uohm_cm
    energies, wide = list(settings.embedding.energies_eV), list(settings.embedding.wide_energies_eV)
    embeddings = [*wind["embeddings"], *([wind["wide"]] if wide else [])]
    zero = min(range(len(energies)), key=lambda i: abs(energies[i]))
    images = len(axes)
    central = [c for c, one in zip(wind["curvature"], one_sided, strict=True) if not one]
    curvature = [max(central, default=NAN) if one else c for c, one in zip(wind["curvature"], one_sided, strict=True)]
    found = []
    for image in range(images):
        def whole(case: _Case, image: int = image) -> tuple[np.ndarray, float]:
            entry = embeddings[case.embedding]
            rows = entry["m"][case.sigma * images + image][case.radius][case.energy]
            return tensors(rows, scale, axes[image], rotations[image], across)

        base, asymmetry = whole(_Case(0, 0, 0, zero))
        error = settings.embedding.fermi_error_eV
        cases = {
            "fermi_energy": [_Case(0, 0, 0, i) for i, e in enumerate(energies) if abs(abs(e) - error) < 1e-9],
            "smearing": [_Case(0, 1, 0, 0)],
            "region": [_Case(0, 0, r, 0) for r in range(1, len(settings.embedding.radii_A))],
            "layers": [_Case(e, 0, 0, 0) for e in range(1, len(wind["embeddings"]))],
        }
        varied = {name: [whole(case)[0] for case in those] for name, those in cases.items()}
        shares = {
            "mesh": max(abs(bulk["n_coarse"] / bulk["n"] - 1), abs(bulk["n_check"] / bulk["n"] - 1)),
            "finite_difference": 2 / 3 * curvature[image] ** 2,
            "basis": host_error(bulk),
        }
        moved = GEOMETRY_SLOPE * misplacement_A[image]
        parts = {name: float(part) for name, part in _parts(
            base, varied, shares, lambda tensor: component(tensor, across), lambda tensor: magnitude(tensor, across)).items()}
        parts["geometry"] = moved * math.hypot(1.0, across)
        each = _parts(base, varied, shares, np.asarray, np.abs) | {"geometry": moved}
        # what is zero in all variants is forbidden, by the symmetry of the site or as no current flows that way
        allowed = np.max(np.abs([base, *(tensor for those in varied.values() for tensor in those)]), axis=0) > FORBIDDEN
        unknown = np.isnan(base)
        sigma = np.where(unknown, NAN, np.where(allowed, np.sqrt(sum(np.nan_to_num(part) ** 2 for part in each.values())), 0.0))
        window = {e: _Case(0, 0, 0, i) for i, e in enumerate(energies)} | {e: _Case(-1, 0, 0, i) for i, e in enumerate(wide)}
        k_of_energy = np.array([component(whole(window[e])[0], across) for e in sorted(window)])
        condition = max(c for entry in embeddings for i, per in enumerate(entry["condition"])
                        if i % images == image for row in per for c in row)
        found.append(Assessed(component(base, across), np.where(unknown | allowed, base, 0.0), sigma, parts, k_of_energy,
                              asymmetry, condition))
    return found


def _parts(
    base: np.ndarray, varied: Mapping[str, Sequence[np.ndarray]], shares: Mapping[str, float],
    of: Callable[[np.ndarray], Any], size: Callable[[np.ndarray], Any],
) -> dict[str, Any]:
    """The parts that the head of the file names, but for the geometry, for each number that `of` makes of a tensor.

    varied : tensors with one thing changed; shares : parts that are shares of `size`, the mesh of the value itself
    """
    found: dict[str, Any] = {}
    for name, those in varied.items():
        changes = [np.abs(of(tensor) - of(base)) for tensor in those]
        found[name] = NAN if not changes else _rms(changes) if name == "region" else np.max(changes, axis=0)
    return found | {name: share * (np.abs(of(base)) if name == "mesh" else size(base)) for name, share in shares.items()}


def _rms(values: Sequence[Any]) -> Any:
    return np.sqrt(np.mean(np.square(values), axis=0))


def average(images: Sequence[Assessed], fractions: Sequence[float], symmetric: bool) -> Assessed:
    """Hop average; parts of the images add linearly (they err the same way), then in quadrature with the error of the path."""
    def mean(values: Sequence[float]) -> float:
        return hop_average(np.array(fractions), np.array(values), symmetric)

    parts = {name: mean([i.parts[name] for i in images]) for name in images[0].parts}
    ks = [i.k for i in images]
    parts["path"] = path_error(fractions, ks, symmetric)
    window = np.array([mean([i.k_of_energy[e] for i in images]) for e in range(len(images[0].k_of_energy))])
    return Assessed(mean(ks), np.full((3, 3), NAN), np.full((3, 3), NAN), parts, window, max(i.asymmetry for i in images),
                    max(i.condition for i in images))


def path_error(fractions: Sequence[float], values: Sequence[float], symmetric: bool) -> float:
    """Error of a hop average by straight lines: a parabola through three points, or the points between left out."""
    if len(values) == 2:
        return abs(values[1] - values[0]) / 6
    coarse = [(f, k) for f, k in zip(fractions, values, strict=True) if abs(f * 2 - round(f * 2)) < 1e-6]
    few = hop_average(np.array([f for f, _ in coarse]), np.array([k for _, k in coarse]), symmetric)
    return abs(few - hop_average(np.array(fractions), np.array(values), symmetric)) / 3


__all__ = ["Assessed", "assess_images", "average", "component", "host_error", "magnitude", "path_error", "stiffness", "tensors"]
