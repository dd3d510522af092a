"""From embedding numbers to values with uncertainties: each part is the change that one variation makes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emforce import units
from emforce.assess import assess_images, average, stiffness
from emforce.settings import load_settings

IDENTITY = np.eye(3)[None]


def tensor(k: float) -> list[list[float | None]]:
    """m along x only, as a run with displacements along the hop gives it."""
    return [[k, 0.0, 0.0], [None] * 3, [None] * 3]


def finished(base: float, *, sigma: float = 0.0, radius: float = 0.0, thick: float = 0.0, slope: float = 0.0) -> dict[str, Any]:
    """A wind step of two images (the second twice the first) with known changes per variation."""
    settings = load_settings("quick")
    energies, radii = settings.embedding.energies_eV, settings.embedding.radii_A

    def rows(scale: float) -> list[Any]:
        window = [tensor(scale * (base + slope * e)) for e in energies]
        return [window, *[[tensor(scale * (base + radius))] for _ in radii[1:]]]

    served = {"m": [rows(1), rows(2), [[tensor(base + sigma)]], [[tensor(2 * (base + sigma))]]],
              "condition": [[[10.0] * len(energies)] * len(radii)] * 4}
    other = {"m": [[[tensor(base + thick)]], [[tensor(2 * (base + thick))]]], "condition": [[[20.0]], [[30.0]]]}
    far = {"m": [[[tensor(scale * (base + slope * e)) for e in settings.embedding.wide_energies_eV]] for scale in (1, 2)],
           "condition": [[[15.0]], [[25.0]]]}
    return {"embeddings": [served, other], "wide": far, "curvature": [0.1, 0.2]}


BULK = {"volume": 10.0, "n": 10.0 / units.uohm_cm, "n_coarse": 10.2 / units.uohm_cm, "n_check": 10.1 / units.uohm_cm,
        "check": {"dos_ratio": 1.03, "omega_p_ratio": 0.99}}  # chosen so that K in uOhm cm equals m


def assess(wind: dict[str, Any], misplacement: float = 0.1, **changes: Any) -> list[Any]:
    rotations = np.array([np.diag(d) for d in ([1, 1, 1], [-1, 1, 1])], dtype=float)
    return assess_images(wind, BULK, load_settings("quick", changes), [(0,), (0,)], [rotations, rotations], [False, True],
                         [misplacement, misplacement])


def across(wind: dict[str, Any], ratio: float, weight: float, rotations: np.ndarray = IDENTITY) -> list[Any]:
    """Values of the drift, every m with a component across the hop that is `ratio` of that along it."""
    def with_field_across(entry: Any) -> Any:
        if isinstance(entry, list) and len(entry) == 3 and entry[1] == [None] * 3:
            return [[entry[0][0], ratio * entry[0][0], 0.0], *entry[1:]]
        return [with_field_across(one) for one in entry] if isinstance(entry, list) else entry

    wind = wind | {"embeddings": [one | {"m": with_field_across(one["m"])} for one in wind["embeddings"]]}
    wind["wide"] = wind["wide"] | {"m": with_field_across(wind["wide"]["m"])}
    return assess_images(wind, BULK, load_settings("quick"), [(0,), (0,)], [rotations] * 2, [False, True], [0.1, 0.1], weight)


@pytest.mark.parametrize(("ratio", "weight"), [(0.5, 1.4), (0.5, -2.0), (-0.3, 0.7)])
def test_drift_takes_the_field_across_the_hop_with_its_weight(ratio: float, weight: float) -> None:
    wind = finished(-50.0, sigma=3.0, radius=-2.0, thick=5.0, slope=40.0)
    share = 1 + ratio * weight
    for hop, drift in zip(across(wind, ratio, 0.0), across(wind, ratio, weight), strict=True):
        assert drift.k == pytest.approx(share * hop.k, abs=1e-12)
        assert drift.k_of_energy == pytest.approx(share * hop.k_of_energy, abs=1e-12)
        for name in ("fermi_energy", "smearing", "region", "layers", "mesh"):
            assert drift.parts[name] == pytest.approx(abs(share) * hop.parts[name], abs=1e-12), name
        # two terms that cancel do not make the error of either smaller
        assert drift.parts["basis"] == pytest.approx((1 + abs(ratio * weight)) * hop.parts["basis"])
        assert drift.parts["geometry"] == pytest.approx(math.hypot(1, weight) * hop.parts["geometry"])


def test_where_a_mirror_plane_holds_the_hop_drift_is_that_of_the_hop() -> None:
    plane = np.array([np.eye(3), np.diag([1.0, -1.0, 1.0])])
    for hop, drift in zip(across(finished(-50.0), 0.5, 0.0, plane), across(finished(-50.0), 0.5, 1.4, plane), strict=True):
        assert drift.k == pytest.approx(hop.k)
        assert drift.asymmetry == pytest.approx(abs(1.4 * 0.5 * hop.k))  # what the calculation broke is said


def test_value_is_m_omega_over_n_in_uohm_cm() -> None:
    first, second = assess(finished(-50.0))
    assert first.k == pytest.approx(-50.0)
    assert second.k == pytest.approx(-100.0)
    assert np.isnan(first.tensor[1]).all()  # not computed stays not computed


def whole(scale: float, base: np.ndarray, settings: Any) -> dict[str, Any]:
    """A wind step of one image with all nine components, all of which change by the same share in each variation."""
    energies, radii = settings.embedding.energies_eV, settings.embedding.radii_A
    window = [((1 + scale * e) * base).tolist() for e in energies]
    served = {"m": [[window, *[[(1.02 * base).tolist()] for _ in radii[1:]]], [[(1.03 * base).tolist()]]],
              "condition": [[[10.0] * len(energies)] * len(radii)] * 2}
    other = {"m": [[[(0.96 * base).tolist()]]], "condition": [[[20.0]]]}
    far = {"m": [[[((1 + scale * e) * base).tolist() for e in settings.embedding.wide_energies_eV]]], "condition": [[[15.0]]]}
    return {"embeddings": [served, other], "wide": far, "curvature": [0.1]}


def test_each_component_of_a_whole_tensor_has_the_uncertainty_that_it_would_have_alone() -> None:
    settings = load_settings("quick")
    # a mirror plane y -> -y, up to rounding; no current along z
    base = np.array([[-50.0, 3e-17, 0.0], [-1e-18, 30.0, 0.0], [4.0, 2e-16, 0.0]])
    wind = whole(0.5, base, settings)
    plane = np.array([np.eye(3), np.diag([1.0, -1.0, 1.0])])
    (found,) = assess_images(wind, BULK, settings, [(0, 1, 2)], [plane], [False], [0.1])
    assert found.tensor == pytest.approx(base)
    assert found.tensor_sigma[0, 0] == pytest.approx(math.hypot(*found.parts.values()))
    # along y the field and the force of the hop: the same numbers by a frame that is turned by 90 degrees
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = whole(0.5, turn @ base @ turn.T, settings)
    (other,) = assess_images(turned, BULK, settings, [(0, 1, 2)], [turn @ plane @ turn.T], [False], [0.1])
    assert found.tensor_sigma[1, 1] == pytest.approx(math.hypot(*other.parts.values()))
    # all changes are shares of the value, but for the geometry
    assert math.sqrt(found.tensor_sigma[2, 0] ** 2 - 10.0**2) == pytest.approx(
        4 / 50 * math.sqrt(found.tensor_sigma[0, 0] ** 2 - 10.0**2))
    # what is forbidden is zero, and known to be
    for matrix in (found.tensor, found.tensor_sigma):
        assert np.all(matrix[[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 1, 2]] == 0.0)


def test_components_that_were_not_computed_have_no_uncertainty() -> None:
    for image in assess(finished(-50.0, slope=40.0)):
        assert np.array_equal(np.isnan(image.tensor_sigma), np.isnan(image.tensor))
        assert image.tensor_sigma[0, 0] == pytest.approx(math.hypot(*image.parts.values()))
    mean = average(assess(finished(-50.0)), (0.0, 0.5), symmetric=True)
    assert np.isnan(mean.tensor).all() and np.isnan(mean.tensor_sigma).all()


@pytest.mark.parametrize(
    ("variation", "part", "expected"),
    [({"sigma": 3.0}, "smearing", 3.0), ({"radius": -2.0}, "region", 2.0), ({"thick": 5.0}, "layers", 5.0),
     ({"slope": 40.0}, "fermi_energy", 4.0)],
)
def test_each_part_is_the_change_of_its_own_variation(variation: dict[str, float], part: str, expected: float) -> None:
    first, second = assess(finished(-50.0, **variation))
    assert first.parts[part] == pytest.approx(expected)
    assert second.parts[part] == pytest.approx(2 * expected)
    quiet = assess(finished(-50.0))[0].parts
    for name in set(quiet) - {part}:
        assert first.parts[name] == pytest.approx(quiet[name], nan_ok=True), name


def test_parts_that_follow_from_the_bulk_and_the_geometry() -> None:
    first, second = assess(finished(-50.0), misplacement=0.02)
    assert first.parts["mesh"] == pytest.approx(50 * 0.02)
    assert first.parts["basis"] == pytest.approx(50 * 0.03)
    assert first.parts["geometry"] == pytest.approx(2.0)
    assert first.parts["finite_difference"] == pytest.approx(50 * 2 / 3 * 0.01)
    # one displacement only: the ratio of the point with two
    assert second.parts["finite_difference"] == pytest.approx(100 * 2 / 3 * 0.01)


def test_without_a_point_displaced_to_both_sides_the_finite_difference_is_open() -> None:
    rotations = np.array([np.diag(d) for d in ([1, 1, 1], [-1, 1, 1])], dtype=float)
    settings = load_settings("quick")
    found = assess_images(finished(-50.0), BULK, settings, [(0,), (0,)], [rotations] * 2, [True, True], [0.1, 0.1])
    assert all(math.isnan(image.parts["finite_difference"]) for image in found)  # not estimated, and said so


def test_average_is_linear_in_the_images_and_their_parts() -> None:
    images = assess(finished(-50.0, slope=40.0))
    mean = average(images, (0.0, 0.5), symmetric=True)
    assert mean.k == pytest.approx(-75.0)
    assert mean.parts["fermi_energy"] == pytest.approx((4.0 + 8.0) / 2)
    assert mean.parts["path"] == pytest.approx(50 / 6)
    assert mean.condition == pytest.approx(30.0)
    # one curve of near and far energies, in order
    energies = load_settings("quick").embedding.all_energies_eV
    assert len(energies) == 9 and list(energies) == sorted(energies)
    assert mean.k_of_energy == pytest.approx([1.5 * (-50.0 + 40.0 * e) for e in energies])


def test_far_energies_change_no_value_and_no_part() -> None:
    wind = finished(-50.0, slope=40.0, radius=-2.0, thick=5.0)
    few = assess({k: v for k, v in wind.items() if k != "wide"}, **{"embedding.wide_energies_eV": []})
    for one, other in zip(few, assess(wind), strict=True):
        assert one.k == other.k
        assert one.parts == pytest.approx(other.parts, nan_ok=True)
        assert one.k_of_energy == pytest.approx(other.k_of_energy[2:-2])


def test_the_condition_is_the_worst_of_all_regions() -> None:
    wind = finished(-50.0)
    wind["wide"]["condition"] = [[[15.0, 45.0]], [[25.0]]]
    assert [image.condition for image in assess(wind)] == [45.0, 30.0]


def test_average_over_a_cosine_is_its_mean() -> None:
    s = (0.0, 0.25, 0.5)
    image = assess(finished(1.0))[0]
    from dataclasses import replace

    images = [replace(image, k=-80 + 30 * math.cos(2 * math.pi * x)) for x in s]
    assert average(images, s, symmetric=True).k == pytest.approx(-80.0)


def test_stiffness_of_copper_is_a_few_ev_per_square_angstrom() -> None:
    # M (k Theta/hbar)^2/3 with M = 63.546 u, Theta = 344.3 K: 1.0552e-25 kg x (4.5076e13/s)^2 / 3 = 71.5 N/m = 4.46 eV/A^2
    assert stiffness(63.546, 344.3) == pytest.approx(4.46, abs=0.02)
