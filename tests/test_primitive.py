"""Hosts whose cell holds several primitive cells: found, folded, and their tables those of the primitive cell."""

import itertools

import numpy as np
import pytest
from models import simple_cubic
from response_models import hermitian

from emforce.physics.direct_embedding import Host, host_kernels
from emforce.physics.fermi import gaussian, gaussian_green, host_tables, level_on_mesh
from emforce.physics.lcao import LCAOMatrices, eigenstates, eigenvalues, velocities
from emforce.physics.position import Connection
from emforce.physics.primitive import folding

#: fcc and a cell of two atoms without any symmetry
FCC = 3.6 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
SKEW = np.array([[3.1, 0.2, 0.0], [0.4, 2.7, 0.1], [0.0, 0.3, 3.4]])


def crystal(cell: np.ndarray, orbitals: tuple[int, ...], seed: int = 0) -> tuple[LCAOMatrices, Connection]:
    rng = np.random.default_rng(seed)
    R, n = np.array(list(itertools.product((-1, 0, 1), repeat=3))), sum(orbitals)
    positions = rng.uniform(0, 0.4, size=(len(orbitals), 3)) @ cell
    s = hermitian(rng, R, n, 0.02)
    s[len(R) // 2] += np.eye(n)
    d = np.array([hermitian(rng, R, n, 0.2) for _ in range(3)])
    h = hermitian(rng, R, n, 1.0)
    return LCAOMatrices(cell, positions, np.array(orbitals), R, h, s), Connection(cell, positions, np.array(orbitals), R, s, d)


def repeated(R: np.ndarray, a: np.ndarray, cells: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table a(R) of a crystal in a cell of the rows of `vectors` (whole numbers), which holds the primitive cells `cells`."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    n = a.shape[1]
    for (i, one), (k, r) in itertools.product(enumerate(cells), enumerate(R)):
        target = one + r
        j, big = next((j, big) for j, other in enumerate(cells)
                      if np.allclose(big := (target - other) @ np.linalg.inv(vectors), np.round(big)))
        block = found.setdefault(tuple(int(x) for x in np.round(big)), np.zeros((n * len(cells),) * 2))
        block[i * n : (i + 1) * n, j * n : (j + 1) * n] = a[k]
    return np.array(list(found)), np.array(list(found.values()))


def supercell(cell: np.ndarray, orbitals: tuple[int, ...], vectors: np.ndarray):
    """The crystal, its supercell, and the primitive cells in it."""
    small, connection = crystal(cell, orbitals)
    steps = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    scaled = steps @ np.linalg.inv(vectors)
    cells = steps[((scaled > -1e-9) & (scaled < 1 - 1e-9)).all(axis=1)]
    positions = (small.positions[None] + (cells @ cell)[:, None]).reshape(-1, 3)
    count = np.tile(orbitals, len(cells))
    R, h = repeated(small.R, small.h, cells, vectors)
    _, s = repeated(small.R, small.s, cells, vectors)
    d = np.array([repeated(small.R, x, cells, vectors)[1] for x in connection.d])
    large = LCAOMatrices(vectors @ cell, positions, count, R, h, s)
    return (small, connection), (large, Connection(vectors @ cell, positions, count, R, s, d)), cells


CASES = {
    "fcc in its cubic cell": (FCC, (2,), np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])),
    "two atoms, twice": (SKEW, (2, 1), np.diag([1, 2, 1])),
    "three in a row": (SKEW, (2, 1), np.diag([3, 1, 1])),
    "two atoms, three times": (SKEW, (1, 2), np.array([[1, 1, 0], [0, 3, 0], [0, 0, 1]])),
}


@pytest.mark.parametrize("name", CASES)
def test_primitive_cell_is_found_with_its_bands(name):
    cell, orbitals, vectors = CASES[name]
    (small, _), (large, _), cells = supercell(cell, orbitals, vectors)
    found = folding(large)
    assert found.count == len(cells) == round(abs(np.linalg.det(vectors)))
    own = found.matrices(large)
    assert own.n == small.n and own.volume == pytest.approx(small.volume)
    k = np.random.default_rng(1).uniform(size=(5, 3))
    whole = eigenvalues(*large.at(k))
    parts = np.concatenate([eigenvalues(*own.at(found.k(k + shift))) for shift in found.shifts], axis=1)
    assert np.sort(parts, axis=1) == pytest.approx(whole, abs=1e-10)


def test_what_is_not_repeated_is_left_as_it_is():
    (small, _), (large, connection), _ = supercell(*CASES["two atoms, twice"])
    assert folding(small).count == 1
    assert folding(small).matrices(small) is small
    h = large.h.copy()
    h[len(h) // 2][0, 0] += 1e-3
    assert folding(LCAOMatrices(large.cell, large.positions, large.orbitals, large.R, h, large.s)).count == 1
    d = connection.d[0].copy()
    d[0][0, 1] += 1e-3
    assert folding(large, (connection.R, connection.d[0])).count == 2
    assert folding(large, (connection.R, d)).count == 1


def pairs_of(cells: np.ndarray, vectors: np.ndarray, R: np.ndarray, small_R: np.ndarray) -> np.ndarray:
    """Place in `small_R` of the translation between the copies i, j of the primitive cell in cells 0 and R: (nR, i, j)."""
    number = {tuple(r): i for i, r in enumerate(small_R.tolist())}
    return np.array([[[number[tuple((r @ vectors + b - a).tolist())] for b in cells] for a in cells] for r in R])


R_WANTED = np.array([(0, 0, 0), (0, 1, 0), (0, -1, 0), (1, 0, -1), (-1, 0, 1)])
ENERGIES, SIGMA = np.array([-0.3, 0.2]), 0.4


@pytest.mark.parametrize(("name", "mesh", "small_mesh"), [
    ("two atoms, twice", (6, 4, 5), (6, 8, 5)), ("three in a row", (2, 3, 5), (6, 3, 5)),
])
def test_tables_are_those_of_the_primitive_cell(name, mesh, small_mesh):
    (small, one), (large, two), cells = supercell(*CASES[name])
    n, vectors = small.n, CASES[name][2]
    near = (R_WANTED[:, None, None] @ vectors + cells[None, None] - cells[None, :, None]).reshape(-1, 3)
    near = np.unique(np.concatenate([near, -near]), axis=0)
    few = np.array([0, 2, 5])  # some orbitals of the large cell
    at = pairs_of(cells, vectors, R_WANTED, near)[:, few[:, None] // n, few[None] // n]
    rows, columns = few[:, None] % n, few[None] % n
    wide = host_tables(small, small_mesh, ENERGIES, (SIGMA,), near, np.arange(n))[0]
    found = host_tables(large, mesh, ENERGIES, (SIGMA,), R_WANTED, few)[0]
    assert found.g == pytest.approx(wide.g[:, at, rows, columns], abs=1e-11)
    assert found.b == pytest.approx(wide.b[:, :, at, rows, columns], abs=1e-11)
    pairs = np.array([[0.2 - 0.1j, 0.2 + 0.1j], [0.2 + 0.3j, 0.2 + 0.5j]])
    expected = host_kernels(Host(small, one, (0, 2)), pairs, small_mesh, near, np.arange(n), SIGMA)
    kernels = host_kernels(Host(large, two, (0, 2)), pairs, mesh, R_WANTED, few, SIGMA)
    for ours, theirs in zip(kernels, expected, strict=True):
        assert ours.g == pytest.approx(theirs.g[:, at, rows, columns], abs=1e-11)
        assert ours.k == pytest.approx(theirs.k[:, at, rows, columns], abs=1e-11)


def test_tables_of_a_cubic_cell_are_those_of_its_own_states():
    """No mesh of the primitive fcc cell has the points of the cubic one. Without any symmetry no states are degenerate."""
    (_, _), (large, _), _ = supercell(*CASES["fcc in its cubic cell"])
    found = host_tables(large, (4, 3, 5), ENERGIES, (SIGMA,), R_WANTED, np.arange(large.n))[0]
    k = (np.array(list(np.ndindex(4, 3, 5))) + 0.5) / (4, 3, 5)
    e, c = eigenstates(*large.at(k))
    phase = np.exp(-2j * np.pi * (R_WANTED @ k.T)) / len(k)
    for i, energy in enumerate(ENERGIES):
        green = (c * gaussian_green(energy - e, SIGMA)[:, None]) @ c.conj().swapaxes(1, 2)
        assert found.g[i] == pytest.approx(np.einsum("rk,kmn->rmn", phase, green), abs=1e-10)
        for axis in range(3):
            weight = 2 * gaussian(energy - e, SIGMA) * velocities(c, e, *large.gradient(k, axis))
            current = (c * weight[:, None]) @ c.conj().swapaxes(1, 2)
            assert found.b[i, axis] == pytest.approx(np.einsum("rk,kmn->rmn", phase, current), abs=1e-9)


def test_degenerate_states_of_a_large_cell_do_not_mix_their_velocities():
    """In a cell of 2 x 2 sites k + (1, 0) and k + (0, 1) have one energy wherever kx = ky: a whole plane of the mesh."""
    small = simple_cubic(1.0)
    cells, vectors = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]), np.diag([2, 2, 1])
    R, h = repeated(small.R, small.h, cells, vectors)
    _, s = repeated(small.R, small.s, cells, vectors)
    large = LCAOMatrices(vectors @ small.cell, cells @ small.cell, np.ones(4, int), R, h, s)
    near = np.array(list(itertools.product(range(-3, 4), range(-3, 4), (-1, 0, 1))))
    wide = host_tables(small, (8, 8, 6), ENERGIES, (SIGMA,), near, np.array([0]))[0]
    found = host_tables(large, (4, 4, 6), ENERGIES, (SIGMA,), R_WANTED, np.arange(4))[0]
    at = pairs_of(cells, vectors, R_WANTED, near)
    assert np.abs(wide.b).max() > 0.01
    assert found.b == pytest.approx(wide.b[:, :, at, 0, 0], abs=1e-11)
    level = level_on_mesh(small, (8, 8, 6), 0.7, SIGMA)
    assert level_on_mesh(large, (4, 4, 6), 4 * 0.7, SIGMA) == pytest.approx(level, abs=1e-9)
    # simple cubic, hopping 1, half filled: E_F is the middle of the band
    assert level_on_mesh(small, (8, 8, 6), 1.0, SIGMA) == pytest.approx(0.0, abs=1e-9)
