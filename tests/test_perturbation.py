"""What a defect changes, from supercells of two-centre crystals whose matrices are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import TwoCentre, dense_chain, fold, scattering

from emforce.errors import InputError
from emforce.physics.embedding import RegionSites
from emforce.physics.fermi import host_tables
from emforce.physics.lcao import LCAOMatrices, real_space
from emforce.physics.perturbation import (
    DefectGeometry,
    Perturbation,
    decode_sites,
    gather,
    host_matrix,
    nearest_images,
    perturbation,
    wrap_shifts,
)
from emforce.physics.wind import wind

A = 2.5
MODEL = TwoCentre(cutoff=2.2 * A, length=2.2)
DELTA = 0.02


@dataclass(frozen=True)
class Supercell:
    """A defect: atoms with positions, energies, orbitals and the host site each sits on."""

    positions: np.ndarray
    energies: np.ndarray
    orbitals: np.ndarray
    site_of_atom: np.ndarray
    removed: np.ndarray
    mover: int


@dataclass(frozen=True)
class Crystal:
    """A host cell, its repetition and the mesh of the supercell."""

    cell: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    orbitals: np.ndarray
    repeat: tuple[int, int, int]
    mesh: tuple[int, int, int]
    periodic: tuple[bool, bool, bool]

    @property
    def supercell(self) -> np.ndarray:
        return self.cell * np.array(self.repeat)[:, None]

    @property
    def site_positions(self) -> np.ndarray:
        """Of the perfect supercell, in the order of ASE's repeat: first axis slowest, atoms fastest."""
        return np.concatenate([self.positions + np.array(r) @ self.cell for r in np.ndindex(*self.repeat)])

    def host(self) -> LCAOMatrices:
        reach = np.where(self.periodic, 4, 0)
        return MODEL.matrices(self.cell, self.positions, self.energies, self.orbitals, reach)

    def perfect(self) -> Supercell:
        n = int(np.prod(self.repeat))
        return Supercell(
            self.site_positions, np.tile(self.energies, n), np.tile(self.orbitals, n),
            np.arange(n * len(self.positions)), np.array([], int), 0,
        )

    def folded(self, defect: Supercell, displacement: np.ndarray | None = None) -> LCAOMatrices:
        positions = defect.positions.copy()
        if displacement is not None:
            positions[defect.mover] += displacement
        reach = np.where(self.periodic, 3, 0)
        return fold(MODEL.matrices(self.supercell, positions, defect.energies, defect.orbitals, reach), self.mesh)

    def geometry(self, defect: Supercell) -> DefectGeometry:
        return DefectGeometry(
            self.supercell, self.periodic, self.repeat, defect.positions, defect.mover, defect.site_of_atom,
            defect.removed, self.site_positions,
        )

    def perturbation(
        self, defect: Supercell, axes: tuple[int, ...] = (0,), shift: float = 0.0, reach: float = 0.0
    ) -> Perturbation:
        displaced = {}
        for axis in axes:
            step = DELTA * np.eye(3)[axis]
            displaced[axis] = (
                self.folded(defect, step).shifted(shift), self.folded(defect, -step).shifted(shift), DELTA,
            )
        here = self.folded(defect).shifted(shift)
        return perturbation(self.host(), here, displaced, self.geometry(defect), self.mesh, reach)


def chain(repeat: int = 14, mesh: int = 3, orbitals: int = 1) -> Crystal:
    return Crystal(
        np.diag([A, 9.0, 9.0]), np.array([[0.3, 0.0, 0.0]]), np.array([0.0]), np.array([orbitals]),
        (repeat, 1, 1), (mesh, 1, 1), (True, False, False),
    )


def skew() -> Crystal:
    """Two kinds of atoms in a skew cell periodic in two directions."""
    cell = np.array([[3.2, 0.0, 0.0], [0.7, 3.4, 0.0], [0.0, 0.0, 12.0]])
    positions = np.array([[0.1, 0.1, 1.0], [1.7, 1.6, 3.1]])
    return Crystal(cell, positions, np.array([0.0, 0.6]), np.array([3, 1]), (4, 4, 1), (2, 3, 1), (True, True, False))


def relabelled(defect: Supercell, cell: np.ndarray, seed: int, axes: tuple[int, ...]) -> Supercell:
    """The same defect with its atoms in another order, some of them a supercell further, as wrapping would leave them."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(defect.positions))
    shifts = np.zeros((len(order), 3), int)
    for axis in axes:
        shifts[:, axis] = rng.integers(-1, 2, len(order))
    return replace(
        defect,
        positions=defect.positions[order] + shifts @ cell,
        energies=defect.energies[order],
        orbitals=defect.orbitals[order],
        site_of_atom=defect.site_of_atom[order],
        mover=int(np.flatnonzero(order == defect.mover)[0]),
    )


def displaced_atom(crystal: Crystal, site: int = 0, by: tuple[float, float, float] = (0.35, 0.0, 0.0)) -> Supercell:
    perfect = crystal.perfect()
    positions, energies = perfect.positions.copy(), perfect.energies.copy()
    positions[site] += by
    energies[site] -= 0.4
    return replace(perfect, positions=positions, energies=energies, mover=site)


def without(crystal: Crystal, defect: Supercell, site: int) -> Supercell:
    keep = np.flatnonzero(defect.site_of_atom != site)
    return replace(
        defect,
        positions=defect.positions[keep], energies=defect.energies[keep], orbitals=defect.orbitals[keep],
        site_of_atom=defect.site_of_atom[keep], removed=np.append(defect.removed, site),
        mover=int(np.flatnonzero(keep == defect.mover)[0]),
    )


# --- images and pairs ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_nearest_images_are_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = np.array([[6.0, 0.0, 0.0], [2.0, 7.0, 0.0], [0.0, 0.0, 9.0]])
    positions = rng.uniform(-12, 18, (12, 3))  # some several cells away, as a trajectory leaves them
    centre = rng.uniform(0, 6, 3)
    images = nearest_images(positions, cell, (True, True, False), centre)
    np.testing.assert_allclose(images.positions, positions + images.shifts @ cell, atol=1e-12)
    assert not images.shifts[:, 2].any()
    for i, j in np.ndindex(9, 9):
        others = positions + np.array([i - 4, j - 4, 0]) @ cell
        assert (np.linalg.norm(others - centre, axis=1) >= images.distances - 1e-5).all()


@pytest.mark.parametrize("mesh", [2, 3, 4])
def test_gather_finds_the_pair_that_is_meant(mesh: int) -> None:
    """Every pair between nearest images equals the two-centre formula at its true distance, however atoms are labelled."""
    crystal = chain(8, mesh, orbitals=3)
    defect = relabelled(displaced_atom(crystal), crystal.supercell, 3, (0,))
    images = nearest_images(defect.positions, crystal.supercell, crystal.periodic, defect.positions[defect.mover])
    h, s = gather(crystal.folded(defect), crystal.mesh, images.shifts)
    np.testing.assert_allclose(h, h.T, atol=1e-12)
    for a in range(8):
        for b in range(8):
            if a != b:
                vector = images.positions[b] - images.positions[a]
                exact = MODEL.pair(vector, 3, 3)
                for mine, true in zip((h, s), exact, strict=True):
                    np.testing.assert_allclose(mine[3 * a : 3 * a + 3, 3 * b : 3 * b + 3], true, atol=1e-12)


def test_sites_are_decoded_as_repeat_numbers_them() -> None:
    crystal = skew()
    index = np.arange(len(crystal.site_positions))
    sites = decode_sites(index, crystal.repeat, 2, np.zeros((len(index), 3), int))
    np.testing.assert_allclose(sites.cells @ crystal.cell + crystal.positions[sites.atoms], crystal.site_positions)


def test_wrap_shifts_put_atoms_inside() -> None:
    cell = np.array([[6.0, 0.0, 0.0], [2.0, 7.0, 0.0], [0.0, 0.0, 9.0]])
    positions = np.array([[-1.0, 3.0, 4.0], [13.0, 8.0, 20.0], [1.0, 1.0, 1.0]])
    shifts = wrap_shifts(positions, cell, (True, True, False))
    scaled = np.linalg.solve(cell.T, (positions + shifts @ cell).T).T
    assert ((scaled[:, :2] >= 0) & (scaled[:, :2] < 1)).all()
    assert not shifts[:, 2].any() and not shifts[2].any()


# --- perfect crystal, alignment --------------------------------------------------------------------------------------


@pytest.mark.parametrize("crystal", [chain(), chain(9, 2, 3), skew()], ids=["chain", "sp chain", "skew"])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_perfect_supercell_is_no_perturbation(crystal: Crystal, seed: int | None) -> None:
    defect = replace(crystal.perfect(), mover=3)
    if seed is not None:
        axes = tuple(i for i in range(3) if crystal.periodic[i])
        defect = relabelled(defect, crystal.supercell, seed, axes)
    p = crystal.perturbation(defect)
    assert np.abs(p.dh).max() < 1e-10 and np.abs(p.ds).max() < 1e-11
    assert abs(p.alignment) < 1e-11 and p.far_deviation < 1e-11
    assert p.new_orbitals == 0 and len(p.removed.atoms) == 0
    # the sites are where the atoms are, and all within the Wigner-Seitz cell around the mover
    at = p.sites.cells @ crystal.cell + crystal.positions[p.sites.atoms]
    mover = at[int(np.argmin(p.site_distance))]
    np.testing.assert_allclose(np.linalg.norm(at - mover, axis=1), p.site_distance, atol=1e-9)
    assert np.abs(p.gradient_h[0]).max() > 0.1  # moving one atom of it does change the matrices
    assert np.isnan(p.gradient_h[1:]).all()


def test_perfect_supercell_from_a_host_on_its_own_mesh() -> None:
    """The host as it comes from a mesh (unfolded by real_space) instead of from the formula."""
    crystal = skew()
    host, mesh = crystal.host(), (7, 7, 1)
    grid = np.array(list(np.ndindex(*mesh))) / np.array(mesh)
    host = real_space(host.cell, host.positions, host.orbitals, mesh, *host.at(grid))
    defect = crystal.perfect()
    p = perturbation(host, crystal.folded(defect), {}, crystal.geometry(defect), crystal.mesh)
    assert np.abs(p.dh).max() < 1e-10 and np.abs(p.ds).max() < 1e-11


@settings(max_examples=5, deadline=None, derandomize=True)
@given(shift=st.floats(-5, 5))
def test_a_rigid_shift_of_the_defects_energy_zero_is_removed(shift: float) -> None:
    crystal = chain(orbitals=3)
    defect = displaced_atom(crystal, 6)
    p, moved = crystal.perturbation(defect), crystal.perturbation(defect, shift=shift)
    assert moved.alignment - p.alignment == pytest.approx(shift, abs=1e-9)
    np.testing.assert_allclose(moved.dh, p.dh, atol=1e-9)
    np.testing.assert_allclose(moved.gradient_h[0], p.gradient_h[0], atol=1e-7)


def test_displaced_runs_are_aligned_one_by_one() -> None:
    """Each self-consistent run may come with its own energy zero; none of it reaches the derivative."""
    crystal = chain(orbitals=3)
    defect = displaced_atom(crystal, 6)
    step = np.array([DELTA, 0, 0])
    runs = [crystal.folded(defect, step).shifted(0.31), crystal.folded(defect, -step).shifted(-0.22)]
    p = perturbation(
        crystal.host(), crystal.folded(defect), {0: (runs[0], runs[1], DELTA)}, crystal.geometry(defect), crystal.mesh
    )
    np.testing.assert_allclose(p.gradient_h[0], crystal.perturbation(defect).gradient_h[0], atol=1e-9)


def test_far_atoms_are_untouched_by_a_short_ranged_defect() -> None:
    """The wrong Bloch phase or a wrong image shows here first: far from the mover W must vanish."""
    crystal = chain(orbitals=3)
    defect = relabelled(displaced_atom(crystal, 0), crystal.supercell, 5, (0,))
    p = crystal.perturbation(defect)
    starts = np.concatenate([[0], np.cumsum(p.site_orbitals)])
    orbital_distance = np.repeat(p.site_distance, p.site_orbitals)
    far = orbital_distance > MODEL.cutoff + 0.5
    assert far.sum() > 6 and starts[-1] == len(p.dh)
    assert np.abs(p.dh[far][:, far]).max() < 1e-11
    assert np.abs(p.gradient_h[0][far]).max() < 1e-9
    assert np.abs(p.dh).max() > 0.3


# --- derivatives -----------------------------------------------------------------------------------------------------


def test_gradient_is_the_analytic_one() -> None:
    """d<mover|H|b>/du by the two-centre formula, up to the third derivative of the central difference."""
    crystal = chain(orbitals=3)
    defect = displaced_atom(crystal, 6)
    p = crystal.perturbation(defect, axes=(0, 2))
    centre = int(np.argmin(p.site_distance))
    at = p.sites.cells[:, 0] * A + 0.3
    at[centre] += 0.35
    mine = slice(3 * centre, 3 * centre + 3)
    for axis in (0, 2):
        for b in range(len(at)):
            if b == centre:
                continue
            vector = np.array([at[b] - at[centre], 0.0, 0.0])
            step = 1e-4 * np.eye(3)[axis]
            sides = (MODEL.pair(vector + sign * step, 3, 3) for sign in (-1, 1))
            exact = [(x - y) / 2e-4 for x, y in zip(*sides, strict=True)]
            cols = slice(3 * b, 3 * b + 3)
            np.testing.assert_allclose(p.gradient_h[axis][mine, cols], exact[0], atol=3e-3)
            np.testing.assert_allclose(p.gradient_s[axis][mine, cols], exact[1], atol=3e-4)
    assert 0 < p.curvature < 0.2


def test_rigid_translation_of_everything_has_no_gradient() -> None:
    crystal = chain(orbitals=3)
    defect = relabelled(displaced_atom(crystal, 0), crystal.supercell, 4, (0,))
    runs = []
    for sign in (1, -1):
        moved = replace(defect, positions=defect.positions + sign * np.array([0.05, 0.0, 0.02]))
        runs.append(crystal.folded(moved))
    p = perturbation(
        crystal.host(), crystal.folded(defect), {0: (runs[0], runs[1], 0.05)}, crystal.geometry(defect), crystal.mesh
    )
    assert np.abs(p.gradient_h[0]).max() < 1e-10 and np.abs(p.gradient_s[0]).max() < 1e-11


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_labels_do_not_matter(seed: int) -> None:
    """Any order of the atoms, any of them on the other side of the cell: the same matrices on the same sites."""
    crystal = skew()
    defect = without(crystal, displaced_atom(crystal, 10, (0.2, 0.3, 0.1)), 13)
    first = crystal.perturbation(defect)
    second = crystal.perturbation(relabelled(defect, crystal.supercell, seed, (0, 1)))
    # sites may differ by one and the same supercell translation only
    def table(p: Perturbation) -> dict[tuple[int, ...], int]:
        centre = p.sites.cells[int(np.argmin(p.site_distance))]
        return {(*(c - centre), a): i for i, (c, a) in enumerate(zip(p.sites.cells, p.sites.atoms, strict=True))}

    one, two = table(first), table(second)
    shared = [key for key in one if key in two]
    assert len(shared) >= len(one) - 6  # atoms at equal distance from two images may go to either
    def orbitals(p: Perturbation, where: dict[tuple[int, ...], int]) -> np.ndarray:
        starts = np.concatenate([[0], np.cumsum(p.site_orbitals)])
        return np.concatenate([np.arange(starts[where[x]], starts[where[x] + 1]) for x in shared])

    i, j = orbitals(first, one), orbitals(second, two)
    np.testing.assert_allclose(second.dh[np.ix_(j, j)], first.dh[np.ix_(i, i)], atol=1e-9)
    np.testing.assert_allclose(second.gradient_h[0][np.ix_(j, j)], first.gradient_h[0][np.ix_(i, i)], atol=1e-7)
    c1, c2 = (p.sites.cells[int(np.argmin(p.site_distance))] for p in (first, second))
    np.testing.assert_array_equal(first.removed.cells - c1, second.removed.cells - c2)


def test_atom_that_relaxed_across_the_cell_face_keeps_its_site() -> None:
    """Site 0 lies at x = 0.3; moved by -0.5 and wrapped it appears at the far end of the supercell."""
    crystal = chain()
    defect = displaced_atom(crystal, 0, (-0.5, 0.0, 0.0))
    wrapped = replace(defect, positions=defect.positions.copy())
    wrapped.positions[0, 0] += 14 * A
    p, q = crystal.perturbation(defect), crystal.perturbation(wrapped)
    np.testing.assert_array_equal(q.sites.cells[:, 0] - 14, p.sites.cells[:, 0])
    np.testing.assert_allclose(q.dh, p.dh, atol=1e-10)
    np.testing.assert_allclose(q.site_distance, p.site_distance, atol=1e-10)


def test_orbital_counts_must_match_the_host() -> None:
    crystal = chain()
    defect = replace(crystal.perfect(), orbitals=np.array([3] + [1] * 13))
    with pytest.raises(InputError, match="same number"):
        crystal.perturbation(defect)


# --- the whole way ---------------------------------------------------------------------------------------------------


def infinite_chain(mover_at: float, energy: float, hole: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense H, S of cells -half..half of the infinite chain: cell 0 holds the mover at `mover_at`, cell `hole` nothing (NaN)."""
    edge = half + 4
    cells = np.array([c for c in range(-edge, edge + 1) if c != hole])
    x = A * cells.astype(float)
    x[cells == 0] = mover_at
    energies = np.where(cells == 0, energy, 0.0)
    cell = np.diag([1e3, 9.0, 9.0])
    positions = np.stack([x, 0 * x, 0 * x], 1)
    found = MODEL.matrices(cell, positions, energies, np.ones(len(x), int), np.zeros(3, int))
    n = 2 * half + 1
    h, s = np.full((n, n), np.nan), np.full((n, n), np.nan)
    inside = np.flatnonzero(np.abs(cells) <= half)
    target = np.ix_(cells[inside] + half, cells[inside] + half)
    pick = np.ix_(inside, inside)
    h[target], s[target] = found.h[0][pick], found.s[0][pick]
    return h, s


@pytest.mark.parametrize(("mesh", "seed"), [(3, None), (2, 7), (3, 9)])
def test_supercell_to_wind_against_wave_matching(mesh: int, seed: int | None) -> None:
    """Displaced foreign mover beside a vacancy in a chain: m from the folded supercell equals that of the S matrix.

    m = (1/pi)(F_+ - F_-), F = i v (r* dr/du + t* dt/du) (derived in test_wind), from the infinite chain.
    """
    crystal = chain(22, mesh)
    defect = without(crystal, displaced_atom(crystal, 4), 6)
    if seed is not None:
        defect = relabelled(defect, crystal.supercell, seed, (0,))
    p = crystal.perturbation(defect)
    assert abs(p.alignment) < 1e-10
    host = crystal.host()
    energy, sigma = -0.4, 4e-3
    R = np.arange(-14, 15)[:, None] * np.array([[1, 0, 0]])
    pair = host_tables(host, (12000, 1, 1), np.array([energy]), (sigma, 2 * sigma), R, np.array([0]))
    sharp, wide = (wind(t, 0, host.offsets, p, 5.5 * A).m[0, 0] for t in pair)
    half = 7
    h0, _ = dense_chain(host, half)
    waves = []
    for u in (-DELTA, 0.0, DELTA):
        h, s = infinite_chain(0.35 + u, -0.4, 2, half)
        np.testing.assert_allclose(h[:3, :3], h0[:3, :3], atol=1e-12)
        waves.append(scattering(host, energy, h, s))
    w = waves[1]

    def force(r: str, t: str) -> float:
        slope = {x: (getattr(waves[2], x) - getattr(waves[0], x)) / (2 * DELTA) for x in (r, t)}
        return float((1j * w.v * (np.conj(getattr(w, r)) * slope[r] + np.conj(getattr(w, t)) * slope[t])).real)

    exact = (force("r", "t") - force("r_right", "t_right")) / np.pi
    assert abs(exact) > 0.01
    # both sides carry a central difference of their own
    assert (4 * sharp - wide) / 3 == pytest.approx(exact, rel=5e-3)


def slab(layers: int) -> Crystal:
    """Rows along x, layers along z with the top one at z = 0, periodic along x only; atoms from the bottom up."""
    z = A * np.arange(-layers + 1, 1)
    return Crystal(
        np.diag([A, 9.0, 60.0]), np.stack([0 * z + 0.2, 0 * z, z], 1), np.zeros(layers), np.ones(layers, int),
        (10, 1, 1), (3, 1, 1), (True, False, False),
    )


def with_adatom(crystal: Crystal) -> Supercell:
    perfect = crystal.perfect()
    return Supercell(
        np.vstack([perfect.positions, [[0.2 + 0.3 * A, 0.0, 0.8 * A]]]), np.append(perfect.energies, -0.7),
        np.append(perfect.orbitals, 3), np.append(perfect.site_of_atom, -1), perfect.removed, len(perfect.positions),
    )


@cache
def slab_tables(layers: int, zero: float = 0.0) -> tuple:
    host = slab(layers).host().shifted(zero)
    R = np.arange(-8, 9)[:, None] * np.array([[1, 0, 0]])
    tables = host_tables(host, (200, 1, 1), np.array([-1.6 + zero]), (0.08,), R, np.arange(layers))[0]
    return tables, host.offsets


def test_thin_slab_embedded_in_a_thick_one() -> None:
    """W from 6 layers in a 10-layer host equals everything computed with 10 layers (W ends before the thin slab does)."""
    thin, thick = slab(6), slab(10)
    small = thin.perturbation(with_adatom(thin), axes=(0, 2))
    big = thick.perturbation(with_adatom(thick), axes=(0, 2))
    assert small.new_orbitals == 3
    radius = 3.2 * A
    tables, offsets = slab_tables(10)
    exact = wind(tables, 0, offsets, big, radius).m
    top = np.arange(6) + 4
    embedded = wind(tables, 0, offsets, small, radius, thick_atom=top).m
    np.testing.assert_allclose(embedded[[0, 2], 0], exact[[0, 2], 0], rtol=1e-8)
    assert np.abs(exact[[0, 2], 0]).min() > 1e-3 and np.isnan(exact[1]).all()
    # a thick host on another energy zero
    shifted = wind(*_args(slab_tables(10, 2.7)), small, radius, thick_atom=top, energy_shift=2.7).m
    np.testing.assert_allclose(shifted[[0, 2], 0], exact[[0, 2], 0], rtol=1e-6)
    # the thin host itself, and the wrong layers, give something else
    for other in (wind(*_args(slab_tables(6)), small, radius), wind(tables, 0, offsets, small, radius, thick_atom=top - 2)):
        assert np.abs(other.m[[0, 2], 0] / exact[[0, 2], 0] - 1).max() > 0.02


@pytest.mark.parametrize("seed", [None, 4])
def test_couplings_beyond_the_cell_make_a_small_supercell_exact(seed: int | None) -> None:
    """An adatom whose orbitals reach beyond a supercell of three sites: with its outer couplings kept the small cell has
    the couplings of the large one to rounding, and its m but for the on-site energies that the adatom's images change
    (1e-4 eV here); without them it does not.
    """
    small, large = replace(slab(6), repeat=(3, 1, 1)), slab(6)
    radius = 3.2 * A
    defect = with_adatom(small)
    if seed is not None:
        defect = relabelled(defect, small.supercell, seed, (0,))
    tables, offsets = slab_tables(6)

    def m(p: Perturbation) -> np.ndarray:
        return wind(tables, 0, offsets, p, radius).m[[0, 2], 0]

    whole = large.perturbation(with_adatom(large), axes=(0, 2))
    kept = small.perturbation(defect, axes=(0, 2), reach=radius, shift=1.3)
    cut = small.perturbation(defect, axes=(0, 2))
    exact = m(whole)
    np.testing.assert_allclose(m(kept)[0], exact[0], rtol=1e-3)
    assert abs(m(cut)[0] - exact[0]) > 20 * abs(m(kept)[0] - exact[0])

    def by_site(p: Perturbation) -> dict[tuple[int, ...], tuple[np.ndarray, ...]]:
        """Coupling of the new orbitals to each site within the radius (all sites have one orbital), and its derivative."""
        labels = [(*c, a) for c, a in zip(p.sites.cells.tolist(), p.sites.atoms.tolist(), strict=True)]
        assert len(set(labels)) == len(labels)
        n = len(labels)
        return {label: (p.dh[n:, i], p.ds[n:, i], p.gradient_h[0][n:, i]) for i, label in enumerate(labels)
                if p.site_distance[i] <= radius}

    here, there = by_site(kept), by_site(whole)
    if seed is None:  # relabelled atoms count cells from elsewhere
        assert here.keys() == there.keys()
        for label, blocks in there.items():
            for a, b in zip(here[label], blocks, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-12)


def test_couplings_that_the_mesh_cannot_tell_apart_are_left_out() -> None:
    """Three k-points know translations -1, 0, 1: an atom two cells away must not borrow the coupling of its mirror image."""
    small = replace(slab(6), repeat=(2, 1, 1))
    p = small.perturbation(with_adatom(small), reach=4.5 * A)
    far = p.site_distance > 3.2 * A  # beyond the cutoff of the model
    starts = np.concatenate([[0], np.cumsum(p.site_orbitals)])
    new = slice(int(starts[-1]), len(p.dh))
    for i in np.flatnonzero(far):
        assert np.abs(p.dh[new, starts[i] : starts[i + 1]]).max() < 1e-12


def _args(entry: tuple) -> tuple:
    return entry[0], 0, entry[1]


def test_host_matrix_is_the_infinite_crystal() -> None:
    crystal = skew()
    host = crystal.host()
    sites = RegionSites(np.array([[5, -3, 0], [6, -3, 0], [5, -2, 0]]), np.array([0, 1, 0]))
    h, _ = host_matrix(host, sites)
    vector = crystal.cell[0] + crystal.positions[1] - crystal.positions[0]
    np.testing.assert_allclose(h[:3, 3:4], MODEL.pair(vector, 3, 1)[0], atol=1e-12)
    np.testing.assert_allclose(h, h.T, atol=1e-12)


def test_every_atom_of_a_kind_may_be_removed() -> None:
    """A host cell of two atoms, the second kind absent from the whole region: the map of atoms must still hold it."""
    crystal = replace(chain(6), positions=np.array([[0.3, 0, 0], [0.3, 0, 2.4]]), energies=np.zeros(2), orbitals=np.ones(2, int))
    defect = displaced_atom(crystal, 4)
    for site in range(1, 12, 2):
        defect = without(crystal, defect, site)
    p = crystal.perturbation(defect)
    host = crystal.host()
    R = np.arange(-6, 7)[:, None] * np.array([[1, 0, 0]])
    table = host_tables(host, (200, 1, 1), np.array([-0.4]), (0.08,), R, np.arange(2))[0]
    assert np.isfinite(wind(table, 0, host.offsets, p, 99.0).m[0, 0])
