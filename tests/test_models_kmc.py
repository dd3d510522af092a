"""Kinetic Monte Carlo: drift, diffusion, detailed balance, and which way steps creep."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from emforce.errors import CheckError, InputError
from emforce.models import terrace, walkers
from emforce.models.lattice import LATTICES, lattice_of, layer_lattice, surface_lattice
from emforce.models.parameters import HopParameters

ADATOMS = [name for name in LATTICES if "layer" not in name]
LAYERS = [name for name in LATTICES if "layer" in name]


def parameters(z=-30.0, **more):
    return HopParameters("Cu", 600.0, z, 5.0, 4.0, "100", 2.5, **more, sources={})


# lattices


@pytest.mark.parametrize("name", LATTICES)
def test_hops_go_from_site_to_site_and_back(name):
    lattice = surface_lattice(name, 2.7)
    lengths = np.linalg.norm(lattice.hops[0], axis=1) / 2.7
    square = [1] * 4 + [math.sqrt(2)] * 4
    expected = {"fcc(100) layer": square, "bcc(100) layer": square, "bcc(110) layer": [1] * 4 + [2 / math.sqrt(3)] * 2}
    assert lengths == pytest.approx(expected.get(name, [1] * len(lengths)))
    assert lattice.hops[0, 0] == pytest.approx([2.7, 0.0])
    assert lattice.hops.sum(axis=(0, 1)) == pytest.approx([0.0, 0.0], abs=1e-12)
    for kind, hop in itertools.product(range(lattice.kinds), range(lattice.hops.shape[1])):
        back = np.flatnonzero(np.all(np.isclose(lattice.hops[lattice.to_kind[kind, hop]], -lattice.hops[kind, hop]), axis=1))
        assert len(back) == 1
        assert np.array_equal(lattice.shifts[lattice.to_kind[kind, hop], back[0]], -lattice.shifts[kind, hop])


def test_areas_per_site():
    a = 3.6  # cubic lattice constant: area per surface atom from crystallography
    assert abs(np.linalg.det(surface_lattice("fcc(100)", a / math.sqrt(2)).cell)) == pytest.approx(a**2 / 2)
    assert abs(np.linalg.det(lattice_of("bcc", "100", a).cell)) == pytest.approx(a**2)
    assert abs(np.linalg.det(surface_lattice("bcc(110)", a * math.sqrt(3) / 2).cell)) == pytest.approx(a**2 / math.sqrt(2))
    adatom = lattice_of("fcc", "111", a / math.sqrt(6))
    for lattice in (adatom, layer_lattice(adatom)):
        assert abs(np.linalg.det(lattice.cell)) == pytest.approx(a**2 * math.sqrt(3) / 4)
    assert layer_lattice(adatom).hop_length == pytest.approx(a / math.sqrt(2))


def test_rates_along_and_against_the_field():
    hop = parameters(barrier_eV=0.5, nu0_THz=1.0)
    w = hop.work_eV(1e3)
    assert w == pytest.approx(-30 * 4e-8 * 1e13 * 2.5e-10)  # e Z rho j d
    factor = surface_lattice("fcc(100)", 2.5).bias(w / hop.kT_eV)[0]
    assert hop.gamma0_per_s * factor[0] == pytest.approx(1e12 * math.exp(-(0.5 - w / 2) / hop.kT_eV))
    assert factor[0] / factor[1] == pytest.approx(math.exp(w / hop.kT_eV))
    assert factor[2] == pytest.approx(1.0)


# walkers


@pytest.mark.parametrize("name", ADATOMS)
@pytest.mark.parametrize(("work", "angle"), [(0.4, 0.0), (-1.5, 25.0)])
def test_drift_velocity_within_three_sigma(name, work, angle):
    lattice = surface_lattice(name, 2.7)
    rates = lattice.bias(work, angle)
    v, sigma = walkers.walk(lattice, rates, 2000, 200, seed=1).drift_velocity()
    exact = walkers.exact_drift_velocity(lattice, rates)
    assert np.all(np.abs(v - exact) < 3 * sigma), (v, exact, sigma)
    assert sigma.max() < 0.05 * np.linalg.norm(exact)
    assert math.copysign(1, exact @ lattice.field(angle)) == math.copysign(1, work)


def test_closed_forms_of_the_drift():
    lattice = surface_lattice("fcc(100)", 2.5)
    v = walkers.exact_drift_velocity(lattice, lattice.bias(0.8))
    assert v == pytest.approx([2 * 2.5 * math.sinh(0.4), 0.0])
    for name in ("fcc(100)", "fcc(111)"):  # Einstein, isotropic
        lattice = surface_lattice(name, 2.5)
        v = walkers.exact_drift_velocity(lattice, lattice.bias(1e-4, 10.0))
        assert v == pytest.approx(walkers.exact_diffusion_coefficient(lattice) * 1e-4 / 2.5 * lattice.field(10.0), rel=1e-3)
    # bcc(110): the mobility along [1-10] (sum of two hops, a sqrt(2)) is twice that along [001] (their difference, a)
    lattice = surface_lattice("bcc(110)", 2.5)
    axes = [lattice.hops[0, 0] + sign * lattice.hops[0, 2] for sign in (1, -1)]
    assert np.linalg.norm(axes[0]) / np.linalg.norm(axes[1]) == pytest.approx(math.sqrt(2))
    long, short = (walkers.exact_drift_velocity(lattice, lattice.bias(1e-4, math.degrees(math.atan2(y, x)))) for x, y in axes)
    assert np.linalg.norm(long) == pytest.approx(2 * np.linalg.norm(short), rel=1e-6)
    assert long @ axes[0] == pytest.approx(np.linalg.norm(long) * np.linalg.norm(axes[0]))


def test_a_tensor_drifts_along_its_axes_with_its_components():
    """Einstein along each crystal direction: v = D Z E/k_BT, D twice as large along [1-10]."""
    lattice = surface_lattice("bcc(110)", 2.5)
    values = {"[001]": -3.0, "[1-10]": 6.0}
    whole = lattice.tensor(values)
    assert whole[0, 0] == pytest.approx(-3.0 / 3 + 2 * 6.0 / 3)  # along the hop
    tensor, work = whole / whole[0, 0], 1e-4
    mean = walkers.exact_diffusion_coefficient(lattice)
    for name, share in (("[001]", 2 / 3), ("[1-10]", 4 / 3)):
        x, y = lattice.directions[name]
        v = walkers.exact_drift_velocity(lattice, lattice.bias(work, math.degrees(math.atan2(y, x)), tensor))
        expected = share * mean * work / 2.5 * values[name] / whole[0, 0] * lattice.directions[name]
        assert v == pytest.approx(expected, rel=1e-6, abs=1e-9 * np.linalg.norm(v))
    assert lattice.bias(0.4, tensor=np.eye(2)) == pytest.approx(lattice.bias(0.4))
    for wrong, where in ((values | {"[111]": 1.0}, lattice), (values, surface_lattice("fcc(100)", 2.5))):
        with pytest.raises(InputError, match="directions"):
            where.tensor(wrong)


def test_two_kinds_of_sites_with_different_barriers():
    lattice = surface_lattice("fcc(111)", 1.5)
    rates = lattice.bias(0.7) * np.array([[1.0], [4.0]])  # hcp sites are left four times as fast
    v, sigma = walkers.walk(lattice, rates, 3000, 200, seed=2).drift_velocity()
    exact = walkers.exact_drift_velocity(lattice, rates)
    a, b = rates.sum(axis=1)
    by_hand = (b * (rates[0] @ lattice.hops[0]) + a * (rates[1] @ lattice.hops[1])) / (a + b)
    assert exact == pytest.approx(by_hand)
    assert np.all(np.abs(v - exact) < 3 * sigma)


@pytest.mark.parametrize("name", ADATOMS)
def test_tracer_diffusion_within_three_sigma(name):
    lattice = surface_lattice(name, 2.7)
    d, sigma = walkers.walk(lattice, lattice.bias(0.0), 4000, 100, seed=3).diffusion_coefficient()
    assert abs(d - walkers.exact_diffusion_coefficient(lattice)) < 3 * sigma < 0.1 * d


def test_same_seed_same_walk():
    lattice = surface_lattice("bcc(110)", 2.7)
    first, second, other = (walkers.walk(lattice, lattice.bias(0.1), 10, 20, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.displacement, second.displacement) and np.array_equal(first.time, second.time)
    assert not np.array_equal(first.time, other.time)


# layers


@pytest.mark.parametrize("name", LAYERS)
def test_every_rate_obeys_detailed_balance(name):
    lattice = surface_lattice(name, 2.5)
    for bonds, work in ((terrace.Bonds(2.0), 0.0), (terrace.Bonds(2.0, 1.0), 0.0), (terrace.Bonds(1.5, 1.5, 0.7), 0.6)):
        rates = bonds.rates(lattice, work)
        z = lattice.bonds
        back = [int(np.flatnonzero(np.all(np.isclose(lattice.hops[0], -d), axis=1))[0]) for d in lattice.hops[0]]
        for i, f, k in itertools.product(range(z + 1), range(z + 1), range(rates.shape[2])):
            gain = bonds.lost_kT * (f - i) + work * lattice.hops[0, k, 0] / 2.5
            assert rates[i, f, k] / rates[f, i, back[k]] == pytest.approx(math.exp(gain))


@pytest.mark.parametrize("name", LAYERS)
def test_times_in_each_state_are_those_of_boltzmann(name):
    """Three atoms on 3 x 4 sites against the sum over all states."""
    lattice = surface_lattice(name, 2.5)
    torus = terrace.Torus.make(lattice, (3, 4))
    bonds = terrace.Bonds(1.2, 0.4)
    weight = np.zeros(13)
    for sites in itertools.combinations(range(12), 3):
        pairs = sum(int(b in torus.neighbours[a, : lattice.bonds]) for a, b in itertools.combinations(sites, 2))
        weight[pairs] += math.exp(1.2 * pairs)
    gas = terrace.LatticeGas(torus, bonds.rates(lattice, 0.0), np.arange(3), 200, seed=4)
    spent = np.zeros((200, 13))
    for n in range(400):
        if n >= 50:
            spent[np.arange(200), gas.bonds()] += gas.hold()
        gas.step()
    share = spent / spent.sum(axis=1, keepdims=True)
    mean, sigma = share.mean(axis=0), share.std(axis=0) / math.sqrt(200)
    exact = weight / weight.sum()
    # ratio estimates of finite runs are biased by less than their spread
    assert np.all(np.abs(mean - exact) < 3.5 * sigma + 2e-3), (mean, exact)
    assert exact[:4].min() > 0.004  # no bin is empty by nature


@pytest.mark.parametrize("name", LAYERS)
def test_rates_kept_up_to_date_are_those_of_the_state(name):
    lattice = surface_lattice(name, 2.5)
    torus = terrace.Torus.make(lattice, (7, 5))
    rates = terrace.Bonds(1.0, 0.3).rates(lattice, 0.5)
    gas = terrace.LatticeGas(torus, rates, torus.island(12), 3, seed=5)
    for _ in range(300):
        gas.step()
    assert np.all(gas.occupied.sum(axis=1) == 12)
    fresh = terrace.LatticeGas(torus, rates, np.array([np.flatnonzero(row) for row in gas.occupied]), 3, seed=0)
    for name in ("occupied", "_count", "_hop", "_site"):
        assert np.array_equal(getattr(fresh, name), getattr(gas, name))
    assert np.allclose(gas._block, fresh._block, rtol=1e-14)
    # and the definition, site by site
    for site, hop in itertools.product(range(35), range(rates.shape[2])):
        target = torus.neighbours[site, hop]
        occupied = gas.occupied[0]
        bonds = torus.neighbours[:, : lattice.bonds]
        i, f = occupied[bonds[site]].sum(), occupied[bonds[target]].sum() - int(target in bonds[site])
        expected = rates[i, f, hop] if occupied[site] and not occupied[target] else 0.0
        assert gas._hop[0, site, hop] == expected


def test_adatoms_without_bonds_drift_as_an_exclusion_process():
    """Bonds of zero: v = (1 - c) times that of a single adatom, exactly (product measure)."""
    lattice = surface_lattice("fcc(100)", 2.5)
    torus = terrace.Torus.make(lattice, (10, 10))
    rates = terrace.Bonds(0.0).rates(lattice, 0.8)
    gas = terrace.LatticeGas(torus, rates, np.random.default_rng(0).permutation(100)[:30], 200, seed=6)
    v, sigma = terrace.drift(gas, 500, 500, settle=200).mass_velocity(lattice.field(0.0))
    exact = 2 * 2.5 * math.sinh(0.4) * (1 - 29 / 99)  # a given neighbouring site is empty with this probability
    assert abs(v - exact) < 3 * sigma < 0.1 * exact


@pytest.mark.parametrize(("name", "bonds"), [("bcc(110) layer", (4.0, 1.0)), ("fcc(100) layer", (5.0, 1.0, 1.0)),
                                             ("fcc(111) layer", (4.0, 1.0))])
@pytest.mark.parametrize("work", [0.6, -0.6])
def test_islands_creep_with_the_force(name, bonds, work):
    """W, Mo (w > 0) against the electrons, Cu, Au (w < 0) with them; edge diffusion."""
    lattice = surface_lattice(name, 2.5)
    torus = terrace.Torus.make(lattice, (12, 12))
    gas = terrace.LatticeGas(torus, terrace.Bonds(*bonds).rates(lattice, work), torus.island(40), 256, seed=7)
    found = terrace.drift(gas, 900, 150)
    for v, sigma in (found.mass_velocity(lattice.field(0.0)), found.step_velocity()):
        assert v * math.copysign(1, work) > 3 * sigma > 0


@pytest.mark.parametrize("work", [0.5, -0.5])
def test_steps_that_face_a_gap_creep_against_the_force(work):
    """Straight steps on fcc(100): mass crosses the gap along F, so that the steps go the other way, by mass balance."""
    lattice = surface_lattice("fcc(100)", 2.5)
    torus = terrace.Torus.make(lattice, (16, 8))
    gas = terrace.LatticeGas(torus, terrace.Bonds(2.8, 2.8).rates(lattice, work), torus.stripe(10), 256, seed=8)
    found = terrace.drift(gas, 900, 150, settle=200)
    mass, step = found.mass_velocity(lattice.field(0.0)), found.step_velocity()
    assert mass[0] * math.copysign(1, work) > 3 * mass[1]
    assert -step[0] * math.copysign(1, work) > 3 * step[1]


def test_bad_input():
    honeycomb, square = surface_lattice("fcc(111)", 1.5), surface_lattice("fcc(100)", 2.5)
    torus = terrace.Torus.make(square, (4, 4))
    rates = terrace.Bonds(1.0).rates(square, 0.0)
    for call, match in (
        (lambda: surface_lattice("hcp", 1.0), "lattice"),
        (lambda: surface_lattice("fcc(100)", 0.0), "hop_angstrom"),
        (lambda: lattice_of("bcc", "111", 1.0), "facet"),
        (lambda: terrace.Bonds(-1.0), "bond"),
        (lambda: terrace.Bonds(1.0, math.nan), "kept bond"),
        (lambda: terrace.Bonds(1.0).rates(honeycomb, 0.0), "lattice"),
        (lambda: terrace.Torus.make(square, (2, 5)), "shape"),
        (lambda: torus.island(16), "atoms"),
        (lambda: torus.stripe(4), "columns"),
        (lambda: terrace.LatticeGas(torus, rates, torus.island(2), 0, 1), "replicas"),
        (lambda: terrace.drift(terrace.LatticeGas(torus, rates, torus.island(2), 1, 1), 5, 10), "events"),
        (lambda: walkers.walk(square, np.ones((1, 3)), 2, 1, 0), "rates"),
        (lambda: walkers.walk(square, np.ones((1, 4)), 1, 1, 0), "walkers"),
        (lambda: replace(parameters(), hop_angstrom=0.0), "hop_angstrom"),
    ):
        with pytest.raises(InputError, match=match):
            call()
    full = terrace.LatticeGas(torus, rates, np.arange(16), 1, 1)
    with pytest.raises(CheckError, match="no atom can move"):
        full.step()
