"""Time of one embedding energy against region size, of host tables against the thickness of the slab, and peak memory.

    python benchmarks/embedding.py [--orbitals 17] [--radii 4.4 5.2 6.0 7.0 8.0] [--layers 4 8 12]

A synthetic slab of the size of a real one: square lattice, `orbitals` per atom, couplings that decay within 7 Angstrom. The
numbers mean nothing, their count and the work are those of a run. One thread; CPU seconds, the least of several repetitions, so
that other work on the machine disturbs little. GFLOP/s of the LU factors and solves are compared with the matrix product (zgemm)
of the same size in the same run. The sums from the k-mesh to lattice translations are compared with the plain product of phases
and matrices. The time of tables is the slope between two meshes: their closing costs the same for any mesh.
"""

# ruff: noqa: E402, B023 (threads are set before numpy is loaded; timed closures are called at once)

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is loaded

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg

from emforce.physics.embedding import RegionSites, add_decoupled, assemble, remove_orbitals, traces
from emforce.physics.fermi import HostTables, half_mesh, host_tables
from emforce.physics.lattice_sum import LatticeSum
from emforce.physics.lcao import LCAOMatrices, eigenstates

SPACING = 2.55  # Angstrom, nearest neighbours of copper
MEMORY_AIM_GiB = 4.0


def seconds(call: Callable[[], object], repeat: int = 3) -> float:
    """Least CPU time of a call."""
    best = np.inf
    for _ in range(repeat):
        begin = time.process_time()
        call()
        best = min(best, time.process_time() - begin)
    return best


def slab(layers: int, orbitals: int) -> LCAOMatrices:
    """A slab with Hermitian matrices that decay; the overlap is positive definite."""
    rng = np.random.default_rng(layers)
    R = np.array([(i, j, 0) for i in range(-3, 4) for j in range(-3, 4)])
    cell = np.diag([SPACING, SPACING, SPACING * layers + 12.0])
    level = np.arange(layers)
    positions = SPACING * np.array([0.5 * (level % 2), 0.5 * (level % 2), np.sqrt(0.5) * level]).T + (0.0, 0.0, 6.0)
    n = layers * orbitals
    atom = np.repeat(np.arange(layers), orbitals)
    distance = np.linalg.norm((R @ cell)[:, None, None] + positions[None, None] - positions[None, :, None], axis=3)
    decay = np.where(distance < 7.0, np.exp(-distance / 1.5), 0.0)[:, atom[:, None], atom[None, :]]
    h = rng.normal(size=(len(R), n, n)) * decay * 3.0
    s = rng.normal(size=(len(R), n, n)) * decay * 0.01
    h, s = h + h[::-1].swapaxes(1, 2), s + s[::-1].swapaxes(1, 2)  # R is listed so that reversed it is -R
    s[len(R) // 2] += np.eye(n)
    return LCAOMatrices(cell, positions, np.full(layers, orbitals), R, h, s)


def sites_within(host: LCAOMatrices, depth: int, radius: float) -> RegionSites:
    """Sites of the top `depth` layers within `radius` of a point above the surface."""
    centre = host.positions[-1] + np.array([0.5 * SPACING, 0.5 * SPACING, 1.8])
    reach = int(radius / SPACING) + 2
    cells, atoms = [], []
    for atom in range(len(host.positions) - depth, len(host.positions)):
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                if np.linalg.norm(host.positions[atom] + (i * SPACING, j * SPACING, 0.0) - centre) <= radius:
                    cells.append((i, j, 0))
                    atoms.append(atom)
    return RegionSites(np.array(cells), np.array(atoms))


def translations(sites: RegionSites) -> np.ndarray:
    return np.unique((sites.cells[:, None] - sites.cells[None]).reshape(-1, 3), axis=0)


def zgemm_rate(n: int) -> float:
    """GFLOP/s of the complex matrix product of size n."""
    a = np.random.default_rng(0).normal(size=(n, n)) + 0.5j
    return 8e-9 * n**3 / seconds(lambda: a @ a, 5)


def time_tables(layers: list[int], orbitals: int) -> None:
    print("host tables: 5 energies, 2 widths, 4 layers kept; CPU seconds per k-point pair and for a 64x64 mesh")
    print(" layers  orbitals    R   ms per pair   share of eigenstates   64x64 mesh, s")
    for count in layers:
        host = slab(count, orbitals)
        sites = sites_within(host, min(4, count), 6.0)
        kept = np.arange(orbitals * max(count - 4, 0), orbitals * count)
        R = translations(sites)
        k = half_mesh((8, 8, 1))
        energies = np.linspace(-0.2, 0.2, 5)
        few, many = (seconds(lambda: host_tables(host, mesh, energies, (0.15, 0.2), R, kept), 2)
                     for mesh in ((4, 4, 1), (8, 10, 1)))
        each = (many - few) / (40 - 8)
        eigen = seconds(lambda: eigenstates(*host.at(k))) / len(k)
        closing = few - 8 * each
        print(f"{count:7d} {host.n:9d} {len(R):4d} {1e3 * each:13.1f} {eigen / each:22.2f} {2048 * each + closing:16.1f}")


def time_sums(orbitals: int) -> None:
    print("\nsums from a k-mesh to translations, blocks of 4 atoms; CPU seconds a matrix: by lines, plain product, ratio")
    for name, mesh, reach in (("bulk", (22, 22, 22), (2, 2, 2)), ("slab", (32, 32, 1), (4, 4, 0))):
        R = np.array([r for r in np.ndindex(9, 9, 9)]) - 4
        R = R[(np.abs(R) <= reach).all(axis=1)]
        k, width = half_mesh(mesh), (4 * orbitals) ** 2
        sums = LatticeSum(k, R)
        block = next(sums.blocks(len(k) // 4))
        a = np.random.default_rng(0).normal(size=(len(block.points), width)) + 0.5j
        out = np.zeros((len(R), width), complex)
        phase = np.exp(-2j * np.pi * (R @ block.points.T))

        def plain() -> None:
            out[...] += phase @ a

        lines, product = (len(k) / len(a) * seconds(call) for call in (lambda: block.add(out, a), plain))
        points = "x".join(map(str, mesh))
        print(f"{name} {points:>9s}, {len(R):4d} translations: {lines:7.2f} {product:7.2f} {lines / product:7.2f}")


def time_embedding(radii: list[float], orbitals: int) -> None:
    print("\none embedding energy, one force axis, one site removed, one orbital set new; CPU seconds and share of each part")
    print(" radius  orbitals   total s   assemble  remove+new  factors  solves+traces   zgemm   LU / zgemm  solves / zgemm")
    host = slab(8, orbitals)
    rng = np.random.default_rng(1)
    for radius in radii:
        sites = sites_within(host, 4, radius)
        R = translations(sites)
        kept = np.arange(4 * orbitals, 8 * orbitals)
        shape = (1, len(R), len(kept), len(kept))
        table = HostTables(np.zeros(1), 0.15, R, kept, *(
            rng.normal(size=s) + 1j * rng.normal(size=s) for s in (shape, (1, 3, *shape[1:]))))
        removed = np.arange(orbitals)
        parts = {"assemble": seconds(lambda: assemble(table, 0, host.offsets, sites))}
        g, b = assemble(table, 0, host.offsets, sites)
        parts["remove"] = seconds(lambda: add_decoupled(*remove_orbitals(g, b, removed), orbitals))
        g, b = add_decoupled(*remove_orbitals(g, b, removed), orbitals)
        n = len(g)
        w = rng.normal(size=(n, n)) * 0.01
        w = w + w.T
        force = w[None]
        none = seconds(lambda: traces(g, b, w, force[:0]))
        parts["factors"] = none
        parts["solves"] = seconds(lambda: traces(g, b, w, force)) - none
        gemm = zgemm_rate(n)
        a = np.eye(n) - g @ w
        factors = scipy.linalg.lu_factor(a)
        lu = 8 / 3 * 1e-9 * n**3 / seconds(lambda: scipy.linalg.lu_factor(a))
        solve = 8e-9 * n**3 / seconds(lambda: scipy.linalg.lu_solve(factors, b[0]))
        total = sum(parts.values())
        share = {name: value / total for name, value in parts.items()}
        print(f"{radius:7.1f} {n:9d} {total:9.3f} {share['assemble']:10.2f} {share['remove']:11.2f} {share['factors']:8.2f} "
              f"{share['solves']:14.2f} {gemm:7.1f} {lu / gemm:12.2f} {solve / gemm:15.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orbitals", type=int, default=17, help="per atom (default %(default)s)")
    parser.add_argument("--radii", type=float, nargs="+", default=[4.4, 5.2, 6.0, 7.0, 8.0])
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8, 12])
    options = parser.parse_args()
    time_tables(options.layers, options.orbitals)
    time_sums(options.orbitals)
    time_embedding(options.radii, options.orbitals)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.2f} GiB, {peak / MEMORY_AIM_GiB:.2f} of the aim of {MEMORY_AIM_GiB} GiB per process")


if __name__ == "__main__":
    main()
