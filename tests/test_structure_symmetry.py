"""Tensors under the symmetry of a site."""

from __future__ import annotations

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.physics.symmetry import symmetrize_tensor, tensor_from_rows
from emforce.site_symmetry import force_directions
from emforce.structure import Spec, build_hop

CASES = [("Cu", "100"), ("Cu", "111"), ("Cu", "110"), ("W", "110"), ("W", "bulk"), ("Cu", "bulk")]


def directions(metal: str, facet: str, fraction: float):  # type: ignore[no-untyped-def]
    kind = "vacancy" if facet == "bulk" else "adatom"
    spec = Spec("x", metal, facet, kind, images=(fraction,), cubic=facet == "bulk")
    hop = build_hop(spec, size=(2, 2, 2) if facet == "bulk" else (3, 3, 1), layers=3, vacuum=5.0)
    return force_directions(hop.images[0], hop.host_unit)


@pytest.mark.parametrize("metal,facet", CASES)
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5])
def test_tensor_from_the_rows_of_independent_displacements(metal: str, facet: str, fraction: float) -> None:
    found = directions(metal, facet, fraction)
    rng = np.random.default_rng(1)
    m = symmetrize_tensor(rng.normal(size=(5, 3, 3)), found.rotations)
    for r in found.rotations:
        assert np.allclose(r @ m @ r.T, m)
    assert np.allclose(symmetrize_tensor(m, found.rotations), m)
    rows = np.array([m[:, axis, :] for axis in found.axes])
    assert np.allclose(tensor_from_rows(found.axes, rows, found.rotations), m)


def test_what_symmetry_allows() -> None:
    m = np.arange(9.0).reshape(3, 3)
    square = symmetrize_tensor(m, directions("Cu", "100", 0.0).rotations)
    assert np.allclose(square, np.diag([2.0, 2.0, 8.0]))  # 4mm: xx = yy, no off-diagonal element
    bridge = symmetrize_tensor(m, directions("Cu", "100", 0.5).rotations)
    assert np.allclose(bridge, np.diag([0.0, 4.0, 8.0]))  # 2mm: diagonal
    three = symmetrize_tensor(m, directions("Cu", "111", 0.0).rotations)
    assert np.allclose(three, np.diag([2.0, 2.0, 8.0]))  # 3m
    saddle = symmetrize_tensor(m, directions("W", "110", 0.5).rotations)
    assert saddle[2, 0] == pytest.approx(0) and saddle[0, 1] == pytest.approx(m[0, 1])  # 2: xy stays


def test_rows_that_break_the_symmetry_are_averaged() -> None:
    found = directions("Cu", "100", 0.0)
    rows = np.array([[1.0, 0.1, 0.0], [0.0, 0.0, 2.0]])
    assert np.allclose(tensor_from_rows((0, 2), rows, found.rotations), np.diag([1.0, 1.0, 2.0]))


def test_too_few_displacements() -> None:
    with pytest.raises(InputError, match="span space"):
        tensor_from_rows((0,), np.ones((1, 3)), directions("Cu", "100", 0.0).rotations)
