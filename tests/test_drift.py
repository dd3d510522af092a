"""Drift along the directions of a surface: closed forms, symmetry, and the biased random walk that the formula stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emforce.diffusion import facet_operations
from emforce.drift import axes_of
from emforce.errors import InputError
from emforce.hosts import slab_unit
from emforce.materials import material
from emforce.physics.drift import drift_axes
from emforce.plan import rotation_to_x
from emforce.site_symmetry import _operations
from emforce.sites import ADATOM_HOPS
from emforce.spec import Spec

FACETS = [("Cu", "100"), ("Cu", "111"), ("Cu", "110"), ("W", "110"), ("W", "100")]


def rotation(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def walk(operations, hop, along, across, field):
    """Mean force on the adatom, F = D^-1 v at unit k_BT, from the rates of all hops biased by the work of their own force."""
    unit = hop / np.linalg.norm(hop)
    row = along * unit + across * np.array([-unit[1], unit[0]])
    velocity, spread = np.zeros(2), np.zeros((2, 2))
    for turn in operations:
        step, force = turn @ hop, turn @ row
        for sense in (1.0, -1.0):  # there and back, the barrier lowered by half of the work
            rate = math.exp(0.5e-6 * sense * np.linalg.norm(hop) * force @ field)
            velocity += rate * sense * step / 1e-6
            spread += 0.5 * np.outer(step, step)
    return np.linalg.pinv(spread) @ velocity


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("facet", [("fcc", "100"), ("fcc", "111"), ("bcc", "110"), ("bcc", "100")])
def test_drift_is_that_of_the_biased_walk(facet, angle):
    hop = np.array(next(iter(ADATOM_HOPS[facet].values()))[1]) - np.array(next(iter(ADATOM_HOPS[facet].values()))[0])
    turn = rotation(angle)
    operations = turn @ facet_operations(*facet) @ turn.T
    axes, weights = drift_axes(operations, turn @ hop)
    assert len(axes) == 2
    for axis, weight in zip(axes, weights, strict=True):
        force = walk(operations, turn @ hop, 30.0, 50.0, axis)
        assert axis @ force == pytest.approx(30.0 + weight * 50.0, rel=1e-5)


def test_an_axis_of_order_three_or_four_makes_drift_that_of_the_hop():
    for order in (3, 4, 6):
        turns = np.array([rotation(2 * math.pi * i / order) for i in range(order)])
        _, weights = drift_axes(turns, [0.3, 0.8])
        assert weights == pytest.approx([0.0, 0.0])


def test_on_bcc_110_the_weights_are_tangents_of_the_hop_s_angle():
    long, short = axes_of(Spec("w", "W", "110", "adatom", "hollow-bridge-hollow"), "bcc")
    assert (long.name, short.name) == ("[001]", "[1-10]")
    assert (long.site, short.site) == ("drift [001]", "drift [1-10]")
    assert long.weight == pytest.approx(-math.sqrt(2))  # the hop is 54.7 degrees from [001]
    assert short.weight == pytest.approx(1 / math.sqrt(2))


def test_names_are_those_of_the_surface_s_cell():
    a = material("W").lattice_constant("PBE")
    cell = np.array(slab_unit("W", "110", 4, 10.0, "PBE").cell)
    rows = cell[:2, :2]
    ends = np.array([i * rows[0] + j * rows[1] for i in range(-3, 4) for j in range(-3, 4) if (i, j) != (0, 0)])
    for axis, length in ((0, a), (1, a * math.sqrt(2))):  # [001] along x, [1-10] along y
        on_axis = ends[np.abs(ends[:, 1 - axis]) < 1e-6]
        assert np.abs(on_axis[:, axis]).min() == pytest.approx(length)


@pytest.mark.parametrize(("metal", "facet"), FACETS)
def test_the_turned_host_s_own_symmetry_gives_the_same(metal, facet):
    structure = material(metal).structure
    for name, (start, end) in ADATOM_HOPS[structure, facet].items():
        vector = np.append(np.array(end) - np.array(start), 0.0)
        turn = rotation_to_x(vector, keep_z=True)
        host = slab_unit(metal, facet, 4, 10.0, "PBE")
        own = [turn @ r @ turn.T for r, _, _ in _operations(host, 0.01) if r[2, 2] > 0.5]
        _, weights = drift_axes(np.array(own)[:, :2, :2], [1.0, 0.0])  # as in the records: the hop along x, across it along y
        found = axes_of(Spec("any", metal, facet, "adatom", name), structure)
        assert sorted(w for w in weights if w) == pytest.approx(sorted(axis.weight for axis in found)), name


def test_parallel_hops_drift_along_one_direction_only():
    axes, weights = drift_axes(facet_operations("fcc", "110"), [0.0, 1.0])
    assert np.abs(axes) == pytest.approx(np.array([[0.0, 1.0]]))
    assert weights == pytest.approx([0.0])
    assert axes_of(Spec("x", "Cu", "110", "adatom", "hollow-longbridge-hollow"), "fcc") == ()


@pytest.mark.parametrize(("operations", "hop", "field"), [
    (np.eye(3)[None], [1.0, 0.0], "operations"),
    (2 * np.eye(2)[None], [1.0, 0.0], "operations"),
    (np.eye(2)[None], [0.0, 0.0], "hop"),
])
def test_bad_input_names_its_field(operations, hop, field):
    with pytest.raises(InputError, match=field):
        drift_axes(operations, hop)
