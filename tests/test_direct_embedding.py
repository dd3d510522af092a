"""One defect in an infinite host: the limit of large supercells, removed and new orbitals, builders, Z = tau m + Z_direct."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from models import chain_defect, chain_wind, dense_chain, one_orbital, scattering
from response_models import LocalDefect, random_defect, two_centre_connection
from test_perturbation import DELTA, MODEL, Crystal, Supercell, relabelled, slab, with_adatom

from emforce.errors import EmforceError, InputError
from emforce.physics.carried import carried, least_eigenvalue, orbital_change, usable_radius
from emforce.physics.direct import Accuracy, direct_response, embedded_mover, embedded_responses, split
from emforce.physics.direct_embedding import EmbeddedMover, Host
from emforce.physics.lcao import LCAOMatrices
from emforce.physics.perturbation import Perturbation, left_site
from emforce.physics.position import Connection
from emforce.physics.response_kernel import PeriodicMover, Response, supercell_response

GAMMA = np.zeros((1, 3))
FINE = {"explicit": 8, "path": (14, 10)}


def alone(defect: LocalDefect, level: float, omega: float, mesh: tuple[int, int, int]) -> Response:
    axes = tuple(x for x in range(3) if mesh[x] > 1)
    host = Host(defect.host, defect.connection, axes)
    return embedded_responses(host, [defect.embedded()], level, omega, Accuracy(mesh, 99.0, **FINE), omega)[0][0]


def in_supercell(defect: LocalDefect, level: float, omega: float, repeat: tuple[int, int, int]) -> np.ndarray:
    kt = np.array([omega / (2 * np.pi)])
    return supercell_response(defect.periodic(repeat), GAMMA, level, np.array([omega]), kt)[0]


@pytest.mark.parametrize(("gone", "new"), [((), 0), ((), 2), ((2,), 0), ((1,), 1)],
                         ids=["changed", "new orbitals", "removed atom", "removed and new"])
def test_chain_is_the_limit_of_long_rings(gone: tuple[int, ...], new: int) -> None:
    """Two orbitals per cell, everything changed; the ring is longer than the mean free path v/omega, and no k-points in it."""
    defect, level, omega = random_defect(3, 2, 1, gone, new), -0.4, 0.8
    exact = alone(defect, level, omega, (200, 1, 1))
    short, long = (in_supercell(defect, level, omega, (n, 1, 1))[:, 0] for n in (8, 50))
    np.testing.assert_allclose(exact.total[:, 0], long, atol=2e-6)
    assert np.abs(short - long).max() > 1e-4
    assert np.isnan(exact.total[:, 1:]).all()
    assert min(np.abs(part[:, 0]).max() for part in (exact.surface, exact.sea, exact.static)) > 0.05


@pytest.mark.parametrize(("dimensions", "omega", "sizes", "mesh", "error"), [
    (2, 2.5, (6, 12), (48, 48, 1), 1e-4),
    (3, 6.0, (3, 6), (20, 20, 20), 2e-3),
])
def test_planes_and_crystals_are_the_limit_of_large_supercells(
    dimensions: int, omega: float, sizes: tuple[int, int], mesh: tuple[int, int, int], error: float
) -> None:
    """The finite-size error falls with exp(-L omega/2v); the larger supercell is within `error` of the embedded defect."""
    defect, level = random_defect(5, 1, dimensions, (), 1), -0.3
    exact = alone(defect, level, omega, mesh).total
    off = []
    for n in sizes:
        z = in_supercell(defect, level, omega, (n, n, n if dimensions == 3 else 1))
        off.append(np.abs((z - exact)[:, :dimensions]).max())
    assert off[1] < error
    assert off[1] < 0.02 * off[0]


# --- from the matrices of a defect supercell --------------------------------------------------------------------------


def relaxed_adatom(crystal: Crystal) -> Supercell:
    """An adatom whose neighbours in the top layer have moved out of their sites."""
    defect = with_adatom(crystal)
    positions = defect.positions.copy()
    near = np.argsort(np.linalg.norm(positions[:-1] - positions[-1], axis=1))[:2]
    positions[near] += [[-0.15, 0.0, 0.05], [0.1, 0.0, -0.08]]
    return replace(defect, positions=positions)


def matrices_of(crystal: Crystal, defect: Supercell, by: tuple[float, ...] = (0.0, 0.0, 0.0)) -> LCAOMatrices:
    """Matrices with every pair at its true translation; no function reaches beyond `cutoff`."""
    positions = defect.positions.copy()
    positions[defect.mover] += by
    span = np.ptp(positions[:, 0]) + MODEL.cutoff
    reach = np.where(crystal.periodic, int(np.ceil(span / crystal.supercell[0, 0])), 0)
    return MODEL.matrices(crystal.supercell, positions, defect.energies, defect.orbitals, reach)


@cache
def on_a_ring(cells: int, level: float, omega: float) -> np.ndarray:
    crystal = replace(slab(3), repeat=(cells, 1, 1))
    whole = relaxed_adatom(crystal)
    here = matrices_of(crystal, whole)
    gradient = np.zeros((3, *here.h.shape))
    for u in (0, 2):
        plus, minus = (matrices_of(crystal, whole, tuple(sign * DELTA * np.eye(3)[u])) for sign in (1, -1))
        gradient[u] = (plus.h - minus.h) / (2 * DELTA)
    ring = PeriodicMover(two_centre_connection(MODEL, here, whole.mover), here, gradient, 3.0)
    return supercell_response(ring, GAMMA, level, np.array([omega]), np.array([omega / (2 * np.pi)]))[0]


@pytest.mark.parametrize(("repeat", "seed", "reach", "error"), [(10, None, 0.0, 5e-6), (10, 4, 0.0, 5e-6), (4, 4, 9.0, 2e-4)],
                         ids=["cell", "other labels", "small cell"])
def test_supercell_to_response(repeat: int, seed: int | None, reach: float, error: float) -> None:
    """An adatom on three rows, neighbours relaxed, from the folded matrices of its supercell: Z of a long ring."""
    crystal, omega, level = replace(slab(3), repeat=(repeat, 1, 1)), 2.0, -1.6
    matrices = crystal.host()
    connection = two_centre_connection(MODEL, matrices)
    defect = relaxed_adatom(crystal)
    if seed is not None:
        defect = relabelled(defect, crystal.supercell, seed, (0,))
    image = two_centre_connection(MODEL, matrices_of(crystal, defect), defect.mover)
    change = crystal.perturbation(defect, axes=(0, 2), reach=reach)
    mover = embedded_mover((matrices, connection), image, crystal.geometry(defect), change, 3.0, reach)
    accuracy = Accuracy((120, 1, 1), 11.0 if repeat > 4 else 9.0, **FINE)
    z = embedded_responses(Host(matrices, connection, (0,)), [mover], level, omega, accuracy, omega)[0][0].total

    exact = on_a_ring(24, level, omega)
    np.testing.assert_allclose(z[[0, 2], 0], exact[[0, 2], 0], atol=error)
    assert np.isnan(z[1]).all()
    assert np.isnan(z[:, 1:]).all()
    assert np.abs(exact[[0, 2], 0]).min() > 0.02
    if seed is None:
        with pytest.raises(InputError, match="image"):
            embedded_mover((matrices, connection), connection, crystal.geometry(defect), change, 3.0, reach)


def test_thin_slab_in_a_thick_one() -> None:
    """The defect of six layers in a host of ten, on another energy zero, is the defect of ten layers in ten."""
    omega, level, radius = 2.0, -1.6, 7.9

    def host_and_mover(layers: int) -> tuple:
        crystal = replace(slab(layers), repeat=(8, 1, 1))
        matrices, defect = crystal.host(), with_adatom(crystal)
        connection = two_centre_connection(MODEL, matrices)
        image = two_centre_connection(MODEL, matrices_of(crystal, defect), defect.mover)
        change = crystal.perturbation(defect, axes=(0,))
        return matrices, connection, embedded_mover((matrices, connection), image, crystal.geometry(defect), change, 3.0)

    _, _, thin = host_and_mover(6)
    matrices, connection, thick = host_and_mover(10)
    accuracy = Accuracy((60, 1, 1), radius)
    exact = embedded_responses(Host(matrices, connection, (0,)), [thick], level, omega, accuracy, omega)[0][0]
    host = Host(matrices.shifted(2.7), connection, (0,), np.arange(6) + 4, 2.7)
    found = embedded_responses(host, [thin], level + 2.7, omega, accuracy, omega)[0][0]
    for part in ("static", "surface", "sea"):
        assert getattr(found, part)[0, 0] == pytest.approx(getattr(exact, part)[0, 0], rel=2e-5)
        assert abs(getattr(exact, part)[0, 0]) > 0.01


# --- Z = tau m + Z_direct ----------------------------------------------------------------------------------------------


def well(height: float) -> tuple[Host, EmbeddedMover, float, float]:
    """A smooth well moving along a chain of fixed orthogonal orbitals: no M, no a, no d. Its m by momentum balance."""
    host, half, b, energy = one_orbital(2.0, -1.0, spacing=1.4), 12, 1.2, 0.15
    h0, s0 = dense_chain(host, half)
    x = np.arange(-half, half + 1)

    def at(u: float) -> tuple[np.ndarray, np.ndarray]:
        return h0 + np.diag(height * np.exp(-0.5 * ((x - u / 1.4) / b) ** 2)), s0

    change, n = chain_defect(host, at, 0.3, half), len(x)
    w = scattering(host, energy, *at(0.3))
    m = -4 / np.pi * w.k * w.v * abs(w.r) ** 2
    none = np.zeros((3, n, n))
    place = np.zeros((n, 3))
    place[:, 0] = 1.4 * x
    mover = EmbeddedMover(change, place, none, none, np.zeros((3, 3, n, n)), 0.0)
    still = Connection(host.cell, host.positions, host.orbitals, host.R, host.s, np.zeros((3, *host.h.shape)))
    return Host(host, still, (0,)), mover, energy, float(m)


def test_slope_with_tau_is_the_wind() -> None:
    """m of Z(tau) = tau m + Z_direct is the momentum balance of the well, and what physics/wind makes of the same matrices."""
    host, mover, energy, m = well(0.6)
    omegas = np.array([0.0025, 0.005, 0.01, 0.02, 0.035])
    found = direct_response(host, [mover], energy, omegas, Accuracy((9000, 1, 1), 99.0, **FINE))[0]
    assert found.split.m[0, 0] == pytest.approx(m, rel=1e-4)
    assert found.split.m[0, 0] == pytest.approx(chain_wind(host.matrices, energy, mover.perturbation, 99.0), rel=1e-4)
    # all of it in the Fermi-surface part, and no part of Z_direct is that of the Fermi sea alone
    assert omegas[0] * found.surface[0, 0, 0] == pytest.approx(m, rel=0.02)
    assert abs(found.sea[0, 0, 0]) < 0.15
    assert found.split.z_direct[0, 0] == pytest.approx(1.1523, abs=2e-3)


@pytest.mark.parametrize(("height", "exact"), [(0.6, (-0.35909, 1.1523)), (-1.5, (-0.09011, -1.5524))])
@pytest.mark.parametrize("omegas", [(0.05, 0.1, 0.2, 0.3, 0.4), (0.05, 0.1, 0.15, 0.25, 0.4), (0.1, 0.15, 0.2, 0.3, 0.4)])
def test_split_from_short_tau_is_right_within_its_sigma(
    height: float, exact: tuple[float, float], omegas: tuple[float, ...]
) -> None:
    """omega up to three times E_F above the band edge: far from long tau. Exact values from omega = 0.0025 ... 0.035 eV."""
    host, mover, energy, _ = well(height)
    z = direct_response(host, [mover], energy, np.array(omegas), Accuracy((500, 1, 1), 99.0)).pop()
    assert abs(z.split.z_direct[0, 0] - exact[1]) < z.split.sigma[0, 0]
    assert abs(z.split.m[0, 0] - exact[0]) < z.split.m_sigma[0, 0]
    assert z.split.sigma[0, 0] < 0.6
    given = split(np.array(omegas), z.total, np.full((3, 3), exact[0]))
    assert abs(given.z_direct[0, 0] - exact[1]) < 2 * given.sigma[0, 0] < 0.2
    assert given.m[0, 0] == exact[0]
    drift = z.total - z.split.m / np.array(omegas)[:, None, None] - z.split.z_direct
    np.testing.assert_allclose(z.split.drift[:, 0, 0], drift[:, 0, 0])
    assert abs(drift[-1, 0, 0]) > abs(drift[0, 0, 0])


def test_split_of_a_polynomial_is_exact() -> None:
    omegas = np.array([0.3, 0.05, 0.2, 0.1, 0.4])
    z = (0.4 / omegas + 1.3 - 2.0 * omegas)[:, None, None] * np.arange(1.0, 10.0).reshape(3, 3)
    z[:, 1, 2] = np.nan
    found = split(omegas, z)
    known = ~np.isnan(z[0])
    np.testing.assert_allclose(found.m[known], 0.4 * np.arange(1.0, 10.0).reshape(3, 3)[known], atol=1e-10)
    np.testing.assert_allclose(found.z_direct[known], 1.3 * np.arange(1.0, 10.0).reshape(3, 3)[known], atol=1e-9)
    assert np.nanmax(found.sigma) < 1e-8
    assert np.isnan(found.z_direct[1, 2])
    with pytest.raises(InputError, match="five"):
        split(omegas[:4], z[:4])
    m = 0.4 * np.arange(1.0, 10.0).reshape(3, 3)
    given = split(omegas[:3], z[:3], m)
    np.testing.assert_allclose(given.z_direct[known], 1.3 * np.arange(1.0, 10.0).reshape(3, 3)[known], atol=1e-9)
    with pytest.raises(InputError, match="three"):
        split(omegas[:2], z[:2], m)


# --- neighbours that left their site -----------------------------------------------------------------------------------


def _pairs(p: Perturbation) -> dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, float]]:
    """dH and dS of every pair of sites with one orbital each."""
    labels = [(*c, a) for c, a in zip(p.sites.cells.tolist(), p.sites.atoms.tolist(), strict=True)]
    return {(one, two): (p.dh[i, j], p.ds[i, j]) for i, one in enumerate(labels) for j, two in enumerate(labels)}


def test_relaxed_neighbours_keep_their_couplings_beyond_a_small_cell() -> None:
    """In a supercell of three sites what the relaxed neighbours change in couplings to sites beyond it is that of a large one."""
    large, small = replace(slab(3), repeat=(10, 1, 1)), replace(slab(3), repeat=(3, 1, 1))
    reach = 8.0
    whole = _pairs(large.perturbation(relaxed_adatom(large), reach=reach))
    defect = relaxed_adatom(small)
    kept = small.perturbation(defect, reach=reach)
    found = _pairs(kept)
    moved = {(*c, a) for c, a, left in zip(kept.sites.cells.tolist(), kept.sites.atoms.tolist(),
                                           left_site(small.geometry(defect))[small_atoms(small, kept)], strict=True) if left}
    inner = {(*c, a) for c, a in zip(kept.sites.cells[:9].tolist(), kept.sites.atoms[:9].tolist(), strict=True)}
    beyond = [pair for pair in found if pair[0] in moved & inner and pair[1] not in inner | moved]
    assert len(beyond) > 4
    assert max(abs(whole[pair][1]) for pair in beyond) > 1e-3
    for pair in beyond:
        np.testing.assert_allclose(found[pair][1], whole[pair][1], atol=1e-12)  # dS: the same two atoms
        np.testing.assert_allclose(found[pair][0], whole[pair][0], atol=2e-3)  # dH: the on-site energies differ a little


def small_atoms(crystal: Crystal, p: Perturbation) -> np.ndarray:
    """Site in the supercell of each site of a perturbation."""
    n = len(crystal.host().orbitals)
    return np.asarray(np.mod(p.sites.cells[:, 0], crystal.repeat[0]) * n + p.sites.atoms)


def test_orbital_change_joins_two_overlaps() -> None:
    """F^T S0 F = S', F or S0 F symmetric and positive, and 1 where nothing changed."""
    rng = np.random.default_rng(3)
    a, b = (x @ x.T + 0.1 * np.eye(6) for x in rng.normal(size=(2, 6, 6)))
    f = orbital_change(a, b)
    np.testing.assert_allclose(f.T @ a @ f, b, atol=1e-10)
    np.testing.assert_allclose(f, f.T, atol=1e-10)
    assert np.linalg.eigvalsh(f)[0] > 0
    np.testing.assert_allclose(orbital_change(a, a), np.eye(6), atol=1e-10)
    second = orbital_change(a, b, other=True)
    np.testing.assert_allclose(second.T @ a @ second, b, atol=1e-10)
    np.testing.assert_allclose(a @ second, (a @ second).T, atol=1e-10)
    assert np.linalg.eigvalsh(a @ second)[0] > 0
    np.testing.assert_allclose(orbital_change(a, a, other=True), np.eye(6), atol=1e-10)
    with pytest.raises(EmforceError, match="eigenvalue"):
        orbital_change(a, b - 2 * np.linalg.eigvalsh(b)[-1] * np.eye(6))


def _relaxed_mover() -> tuple[Host, EmbeddedMover]:
    crystal = replace(slab(3), repeat=(10, 1, 1))
    matrices = crystal.host()
    connection = two_centre_connection(MODEL, matrices)
    defect = relaxed_adatom(crystal)
    image = two_centre_connection(MODEL, matrices_of(crystal, defect), defect.mover)
    change = crystal.perturbation(defect, axes=(0, 2))
    mover = embedded_mover((matrices, connection), image, crystal.geometry(defect), change, 3.0)
    return Host(matrices, connection, (0,)), mover


def _carried_response(radius: float) -> list[np.ndarray]:
    """Z of the relaxed adatom as it is, and with orbitals that carry the host's couplings over the edge, in both ways."""
    omega, level = 2.0, -1.6
    host, mover = _relaxed_mover()
    ways = [mover, carried(mover, host, radius), carried(mover, host, radius, other=True)]
    found = embedded_responses(host, ways, level, omega, Accuracy((120, 1, 1), radius, **FINE), omega)
    return [response.total for response, _ in found]


def test_carried_orbitals_give_the_response_of_a_long_ring() -> None:
    """With a region that holds all that changes, carrying the host's couplings over its edge changes next to nothing."""
    exact = on_a_ring(24, -1.6, 2.0)[[0, 2], 0]
    plain, first, second = (z[[0, 2], 0] for z in _carried_response(11.0))
    np.testing.assert_allclose(plain, exact, atol=5e-6)
    np.testing.assert_allclose(first, exact, atol=5e-4)
    np.testing.assert_allclose(second, exact, atol=5e-4)


def _spoilt(mover: EmbeddedMover, shell: int) -> tuple[EmbeddedMover, float]:
    """The mover with an overlap that is not positive definite as soon as a site of this shell is in the region."""
    p = mover.perturbation
    site = int(np.argsort(p.site_distance, kind="stable")[shell])
    starts = np.concatenate([[0], np.cumsum(p.site_orbitals)])
    ds = p.ds.copy()
    block = slice(int(starts[site]), int(starts[site + 1]))
    ds[block, block] -= 3 * np.eye(block.stop - block.start)
    return replace(mover, perturbation=replace(p, ds=ds)), float(p.site_distance[site])


@pytest.mark.parametrize("n", [5, 200])
def test_least_eigenvalue_of_an_overlap(n: int) -> None:
    rng = np.random.default_rng(n)
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0]
    e = np.concatenate([[3e-4], rng.uniform(3.3e-4, 5.0, n - 1)])
    assert least_eigenvalue((turn * e) @ turn.T) == pytest.approx(3e-4, rel=1e-8)
    with pytest.raises(np.linalg.LinAlgError):
        least_eigenvalue((turn * (e - 4e-4)) @ turn.T)


def test_a_region_ends_before_its_overlap_is_not_positive_definite() -> None:
    host, mover = _relaxed_mover()
    assert usable_radius([mover], host, 11.0) == 11.0
    far, distance = _spoilt(mover, 9)
    radius = usable_radius([mover, far], host, 11.0)
    distances = mover.perturbation.site_distance
    inside = distances[distances < distance - 1e-6].max()
    assert inside < radius < distance
    assert usable_radius([far], host, 0.5 * (inside + distance)) == 0.5 * (inside + distance)
    carried(far, host, radius)
    with pytest.raises(EmforceError, match="eigenvalue"):
        carried(far, host, 11.0)
    near, _ = _spoilt(mover, 0)
    with pytest.raises(EmforceError, match="supercell is too small"):
        usable_radius([near], host, 11.0)
