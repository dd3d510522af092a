"""D(T) of hop networks: closed forms, theorems of random walks, and onsager."""

import itertools
import math

import numpy as np
import pytest
from scipy import constants as c

from emforce.diffusion import TEMPERATURES_K, HopRate, diffusion_of_hop, hop_network
from emforce.errors import InputError
from emforce.materials import material
from emforce.models.lattice import lattice_of
from emforce.models.walkers import walk
from emforce.physics.diffusion import (
    arrhenius,
    network_diffusivity,
    stationary_shares,
    vacancy_correlation_factor,
)
from emforce.spec import Spec, list_hops

K_eV = c.k / c.e
FCC = tuple(v for v in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, v)) == 2)
BCC = tuple(itertools.product((-1, 1), repeat=3))
SC = tuple(v for v in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, v)) == 1)
RATE = HopRate(2.0, 0.2, 0.5, 0.05)


def spec(metal, facet, hop="", kind="adatom"):
    return Spec("test", metal, facet, kind, hop)


# the walk itself


def test_square_lattice_is_rate_times_length_squared():
    d = 2.5 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    D = network_diffusivity([0] * 4, [0] * 4, d, [3.0] * 4)
    np.testing.assert_allclose(D, 3.0 * 2.5**2 * np.eye(2), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("forward", "reverse"), [(1.0, 1.0), (5.0, 0.2), (1e-12, 1.0)])
def test_honeycomb_with_two_kinds(forward, reverse):
    network = hop_network(spec("Cu", "111"), "fcc", 3.6)
    expected = 1.5 * 3.6**2 / 6 * forward * reverse / (forward + reverse)
    np.testing.assert_allclose(network.diffusivity(forward, reverse), expected * np.eye(2), rtol=1e-12, atol=1e-12 * expected)
    np.testing.assert_allclose(network.shares(forward, reverse)[0], reverse / (forward + reverse), rtol=1e-12)


def test_chain_with_two_rates_adds_their_times():
    """In one dimension D = L²/(2 L sum of 1/rate): the harmonic mean, which no mean over hops alone gives."""
    g, h = 7.0, 0.3
    D = network_diffusivity([0, 1, 1, 0], [1, 0, 0, 1], [[1.0], [-1.0], [1.0], [-1.0]], [g, g, h, h])
    assert D[0, 0] == pytest.approx(2 / (1 / g + 1 / h), rel=1e-12)


def test_dead_ends_slow_a_walk_by_the_time_spent_there():
    """A trap beside each site: D times the share of time on the line."""
    line = network_diffusivity([0, 0], [0, 0], [[1.0], [-1.0]], [2.0, 2.0])[0, 0]
    trapped = network_diffusivity([0, 0, 0, 1], [0, 0, 1, 0], [[1.0], [-1.0], [0.4], [-0.4]], [2.0, 2.0, 5.0, 0.5])[0, 0]
    share = stationary_shares([0, 0, 0, 1], [0, 0, 1, 0], [2.0, 2.0, 5.0, 0.5])[0]
    assert share == pytest.approx(0.5 / 5.5, rel=1e-12)
    assert trapped == pytest.approx(line * share, rel=1e-12)


def test_biased_walk_keeps_the_spread_of_a_poisson_process():
    assert network_diffusivity([0, 0], [0, 0], [[1.0], [-1.0]], [3.0, 1.0])[0, 0] == pytest.approx(2.0, rel=1e-12)


def test_where_a_site_is_drawn_does_not_matter():
    """Moving all sites of one kind changes single hops, not D."""
    rng = np.random.default_rng(5)
    start, end = np.array([0, 1, 0, 1, 1, 0]), np.array([1, 0, 1, 0, 1, 0])
    d, rates, shift = rng.normal(size=(6, 3)), rng.uniform(0.1, 3, 6), rng.normal(size=(2, 3))
    moved = d + shift[end] - shift[start]
    expected = network_diffusivity(start, end, d, rates)
    np.testing.assert_allclose(network_diffusivity(start, end, moved, rates), expected, rtol=1e-10)


def test_walkers_spread_as_the_formula_says():
    lattice = lattice_of("fcc", "111", 1.5)
    rates = np.array([[1.0] * 3, [4.0] * 3])
    value, error = walk(lattice, rates, walkers=4000, hops=200, seed=2).diffusion_coefficient()
    expected = np.trace(hop_network(spec("Cu", "111"), "fcc", 1.5 * math.sqrt(6)).diffusivity(1.0, 4.0)) / 2
    assert abs(value - expected) < 4 * error < 0.1 * expected


def test_random_network_against_onsager():
    """Two kinds of sites with different energies and barriers in one plane cell."""
    from onsager import OnsagerCalc, crystal

    cell = np.array([[1.0, 0.3], [0.0, 1.4]])
    crys = crystal.Crystal(cell, [[np.zeros(2), np.array([0.35, 0.6])]], noreduce=True)
    sitelist = [[0], [1]]
    rng = np.random.default_rng(11)
    energies, jumps, barriers = np.array([0.0, 0.8]), [], []
    for pair, steps in (((0, 1), [(0, 0), (-1, 0), (0, -1)]), ((0, 0), [(1, 0)]), ((1, 1), [(0, 1)])):
        for step in steps:
            i, j = pair
            dx = (crys.basis[0][j] - crys.basis[0][i] + np.array(step)) @ crys.lattice.T
            jumps.append([((i, j), dx), ((j, i), -dx)])
            barriers.append(rng.uniform(1.5, 3.0))
    calculator = OnsagerCalc.Interstitial(crys, 0, [[sorted(s)[0]] for s in sitelist], jumps)
    D = calculator.diffusivity(np.ones(2), energies, np.ones(len(jumps)), np.array(barriers))
    flat = [(pair, dx, math.exp(energies[pair[0]] - barrier)) for jump, barrier in zip(jumps, barriers) for pair, dx in jump]
    ours = network_diffusivity([p[0] for p, _, _ in flat], [p[1] for p, _, _ in flat], [dx for _, dx, _ in flat],
                               [r for _, _, r in flat])  # fmt: skip
    np.testing.assert_allclose(ours, D, rtol=1e-9)


@pytest.mark.parametrize(("start", "end", "vectors", "rates"), [
    ([0], [0, 0], [[1.0]], [1.0]), ([], [], np.zeros((0, 2)), []), ([0], [0], [1.0], [1.0]), ([0], [0], [[1.0]], [-1.0]),
    ([0], [0], [[1.0]], [math.nan]), ([0], [0], [[math.inf]], [1.0]), ([0], [0], [[1.0]], [0.0]), ([-1], [0], [[1.0]], [1.0]),
    ([0, 1], [0, 1], [[1.0], [1.0]], [1.0, 1.0]),
])  # fmt: skip
def test_bad_networks_are_refused(start, end, vectors, rates):
    with pytest.raises(InputError):
        network_diffusivity(start, end, vectors, rates)


# correlation factor


@pytest.mark.parametrize(("neighbours", "published"), [(FCC, 0.7815), (BCC, 0.7272), (SC, 0.6531)])
def test_correlation_factor_is_the_published_one(neighbours, published):
    assert vacancy_correlation_factor(neighbours) == pytest.approx(published, abs=6e-5)
    assert vacancy_correlation_factor(neighbours, 16) == pytest.approx(vacancy_correlation_factor(neighbours), abs=1e-4)


@pytest.mark.parametrize(("neighbours", "points"), [(FCC[:-1], 32), ((*SC, (2, 0, 0), (-2, 0, 0)), 32), (FCC, 31), (FCC, 2)])
def test_correlation_factor_refuses(neighbours, points):
    with pytest.raises(InputError):
        vacancy_correlation_factor(neighbours, points)


# hops of the program


@pytest.mark.parametrize(("metal", "facet", "hop", "xx", "yy"), [
    ("Cu", "100", "", 1.0, 1.0), ("W", "100", "", 1.0, 1.0), ("W", "110", "", 2 / 3, 4 / 3),
    ("Cu", "110", "hollow-longbridge-hollow", 0.0, 1.0), ("Cu", "110", "hollow-shortbridge-hollow", 1.0, 0.0),
])  # fmt: skip
def test_adatom_diffusion_in_units_of_rate_and_length(metal, facet, hop, xx, yy):
    a, structure = 3.0, material(metal).structure
    found = diffusion_of_hop(spec(metal, facet, hop), structure, a, RATE)
    length = {("fcc", "100"): a / math.sqrt(2), ("bcc", "100"): a, ("bcc", "110"): a * math.sqrt(0.75)}.get(
        (structure, facet), a if "short" in hop else a / math.sqrt(2))
    assert found.details["hop_length_A"] == pytest.approx(length, rel=1e-12)
    unit = RATE.nu0_THz * 1e12 * (length * 1e-10) ** 2
    tensor = np.array(found.details["tensor_per_mean"]) * found.d0_m2_s
    np.testing.assert_allclose(tensor, unit * np.diag([xx, yy]), rtol=1e-12, atol=1e-12 * unit)
    assert found.d0_m2_s == pytest.approx(unit * (xx + yy) / 2, rel=1e-12)
    assert (found.ea_eV, found.ea_sigma_eV, found.correlation) == (0.5, 0.05, 1.0)
    assert found.d0_sigma_m2_s == pytest.approx(0.1 * found.d0_m2_s, rel=1e-12)


@pytest.mark.parametrize(("structure", "metal", "facet"), [("fcc", "Cu", "100"), ("fcc", "Cu", "111"), ("bcc", "W", "110")])
def test_networks_are_those_of_the_models(structure, metal, facet):
    """The lattices of the growth models have x along the hop; D of equal rates does not depend on that up to a rotation."""
    network = hop_network(spec(metal, facet), structure, 3.0)
    lattice = lattice_of(structure, facet, float(np.linalg.norm(network.vectors[0])))
    hops = lattice.hops.reshape(-1, 2)
    theirs = network_diffusivity(np.repeat(range(lattice.kinds), lattice.hops.shape[1]), lattice.to_kind.ravel(), hops,
                                 np.ones(len(hops)))  # fmt: skip
    assert len(network.vectors) == len(hops)
    np.testing.assert_allclose(np.linalg.eigvalsh(network.diffusivity(1.0, 1.0)), np.linalg.eigvalsh(theirs), rtol=1e-9)


@pytest.mark.parametrize(("metal", "per_a2", "factor"), [("Cu", 1.0, 0.78145), ("W", 1.0, 0.72719)])
def test_vacancy_self_diffusion(metal, per_a2, factor):
    """Textbook: D = f a² nu0 exp(-(E_f + E_m)/kT) for fcc and bcc."""
    a = 3.2
    rate = HopRate(5.0, 0.5, 0.7, 0.03, 1.2, 0.04)
    found = diffusion_of_hop(spec(metal, "bulk", kind="vacancy"), material(metal).structure, a, rate)
    assert found.d0_m2_s == pytest.approx(factor * per_a2 * a**2 * 5.0 * 1e-8, rel=1e-5)
    assert found.ea_eV == pytest.approx(1.9) and found.ea_sigma_eV == pytest.approx(0.05)
    assert found.correlation == pytest.approx(factor, abs=1e-5)
    np.testing.assert_allclose(found.details["tensor_per_mean"], np.eye(3), atol=1e-12)
    assert "entropy" in found.condition
    assert found.at(900.0) == pytest.approx(found.d0_m2_s * math.exp(-1.9 / (K_eV * 900)), rel=1e-9)


def test_formation_entropy_fills_the_crystal_with_vacancies():
    """c_v = exp(S_f/k_B) exp(-E_f/kT): D0 grows by the one factor, E_a stays."""
    known = {"nu0_THz": 5.0, "nu0_sigma_THz": 0.5, "barrier_eV": 0.7, "barrier_sigma_eV": 0.03, "formation_energy_eV": 1.2}
    without, found = (diffusion_of_hop(spec("Cu", "bulk", kind="vacancy"), "fcc", 3.6, HopRate(**known, **more))
                      for more in ({}, {"formation_entropy_kB": 1.5, "formation_entropy_sigma_kB": 0.2}))
    assert found.d0_m2_s == pytest.approx(math.exp(1.5) * without.d0_m2_s)
    assert found.d0_sigma_m2_s == pytest.approx(found.d0_m2_s * math.hypot(0.1, 0.2))
    assert found.ea_eV == without.ea_eV
    assert "lacks" in without.condition and "S_f = 1.50 k_B" in found.condition
    plain, alone = (diffusion_of_hop(spec("Cu", "bulk", kind="vacancy"), "fcc", 3.6, HopRate(5.0, 0.5, 0.7, 0.03, **more))
                    for more in ({}, {"formation_entropy_kB": 1.5}))
    assert alone.d0_m2_s == plain.d0_m2_s, "a vacancy that is there already"


def test_vacancy_without_formation_energy_is_the_vacancy():
    found = diffusion_of_hop(spec("Cu", "bulk", kind="vacancy"), "fcc", 3.6, RATE)
    assert found.correlation == 1.0 and found.ea_eV == 0.5 and "vacancy itself" in found.condition


def test_fcc_111_goes_over_to_the_larger_barrier():
    def one(rate, hop=""):
        return diffusion_of_hop(spec("Au", "111", hop), "fcc", 4.1, rate)

    same = one(HopRate(1.0, 0.1, 0.12, 0.01, reverse_barrier_eV=0.12))
    assert same.ea_eV == pytest.approx(0.12, abs=1e-12)
    assert same.d0_m2_s == pytest.approx(0.75 * 4.1**2 / 6 * 1e-8, rel=1e-9)
    apart = one(HopRate(1.0, 0.1, 0.35, 0.01, reverse_barrier_eV=0.05))
    assert apart.ea_eV == pytest.approx(0.35, abs=1e-2)
    assert apart.d0_m2_s == pytest.approx(2 * same.d0_m2_s, rel=0.1)
    between = one(HopRate(1.0, 0.1, 0.12, 0.01, reverse_nu0_THz=1.5, reverse_barrier_eV=0.10))
    assert 0.10 < between.ea_eV < 0.12
    back = one(HopRate(1.5, 0.15, 0.10, 0.01, reverse_nu0_THz=1.0, reverse_barrier_eV=0.12), "hcp-bridge-fcc")
    assert back.d0_m2_s == pytest.approx(between.d0_m2_s, rel=1e-9) and back.ea_eV == pytest.approx(between.ea_eV, rel=1e-9)
    for T, D in zip(TEMPERATURES_K, between.details["line_d_m2_s"]):
        assert abs(math.log(between.at(T) / D)) <= between.details["line_largest_deviation_of_ln_d"] + 1e-12
    assert f"{TEMPERATURES_K[0]:.0f} to {TEMPERATURES_K[-1]:.0f} K" in between.condition


def test_fcc_111_needs_the_way_back():
    with pytest.raises(InputError, match="reverse_barrier_eV"):
        diffusion_of_hop(spec("Cu", "111"), "fcc", 3.6, RATE)


@pytest.mark.parametrize("metal", ["Cu", "W"])
def test_every_hop_of_the_program_has_a_network(metal):
    structure = material(metal).structure
    for facet in ("100", "110", "111", "bulk") if structure == "fcc" else ("100", "110", "bulk"):
        for hop in list_hops(metal, facet):
            network = hop_network(spec(metal, facet, hop, "vacancy" if facet == "bulk" else "adatom"), structure, 3.0)
            # no site drifts: the hops from each kind add up to nothing
            for kind in range(network.kinds):
                np.testing.assert_allclose(network.vectors[network.origin == kind].sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("values", [{"nu0_THz": 0.0}, {"barrier_eV": math.nan}, {"barrier_sigma_eV": -1.0}])
def test_bad_rates_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        HopRate(**({"nu0_THz": 1.0, "nu0_sigma_THz": 0.1, "barrier_eV": 0.5, "barrier_sigma_eV": 0.1} | values))


def test_arrhenius_gives_back_its_line():
    T = np.array([300.0, 500.0, 900.0])
    d0, ea, deviation = arrhenius(T, 3e-7 * np.exp(-0.4 / (K_eV * T)), K_eV)
    assert d0 == pytest.approx(3e-7, rel=1e-10) and ea == pytest.approx(0.4, rel=1e-10) and deviation < 1e-12
    with pytest.raises(InputError):
        arrhenius([300.0, 300.0], [1.0, 2.0], K_eV)
