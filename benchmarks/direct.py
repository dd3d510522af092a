"""Cost of the direct part: pairs of complex energies, time of host kernels and of a defect's pair, peak memory.

    python benchmarks/direct.py [--orbitals 17] [--layers 8] [--radii 5.2 6.8] [--meshes 16 32] [--omegas 0.15 0.2 0.3 0.4 0.6]

The synthetic slab of benchmarks/embedding.py with one new atom on it. The numbers mean nothing, their count and the work are
those of a run. One thread, CPU seconds. A pair is compared with the complex matrix products (zgemm) of the region's size that its
formula has at least: two with W, two LU factors (a third of a product each), two solves for the force, two products with G0,
one solve for the density.
"""

# ruff: noqa: E402 (threads are set before numpy is loaded)

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is loaded

import argparse
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from embedding import sites_within, slab, zgemm_rate

from emforce.physics.direct_embedding import (
    EmbeddedMover,
    Host,
    host_kernels,
    meshes,
    pair_term,
    translations,
)
from emforce.physics.embedding import RegionSites
from emforce.physics.perturbation import Perturbation
from emforce.physics.position import Connection
from emforce.physics.response_kernel import frequencies

MEMORY_AIM_GiB = 6.0


def host_and_mover(layers: int, orbitals: int, radius: float) -> tuple[Host, EmbeddedMover]:
    """A slab with a random d, and a random perturbation of everything within the radius by one new atom."""
    rng = np.random.default_rng(0)
    matrices = slab(layers, orbitals)
    d = rng.normal(size=(3, *matrices.h.shape)) * 0.1 * (np.abs(matrices.h) > 1e-4)
    d = d + d[:, ::-1].swapaxes(-1, -2)
    connection = Connection(matrices.cell, matrices.positions, matrices.orbitals, matrices.R, matrices.s, d)
    sites = sites_within(matrices, min(4, layers), radius)
    count = len(sites.atoms)
    n = (count + 1) * orbitals

    def symmetric(size: float, sign: int = 1) -> np.ndarray:
        a = rng.normal(size=(n, n)) * size
        return a + sign * a.T

    gradient_h, gradient_s = np.full((3, n, n), np.nan), np.full((3, n, n), np.nan)
    gradient_h[0], gradient_s[0] = symmetric(0.01), symmetric(0.001)
    ds = symmetric(0.0005)
    ds[n - orbitals :, n - orbitals :] += np.eye(orbitals)
    none = RegionSites(np.zeros((0, 3), int), np.zeros(0, int))
    change = Perturbation(sites, none, np.zeros(count), np.zeros(0), np.full(count, orbitals), orbitals,
                          symmetric(0.01), ds, gradient_h, gradient_s, 0.0, 0.0, 0.0)
    random = [np.array([symmetric(0.001, sign) for _ in range(3)]) for sign in (1, -1)]
    m0 = np.array([[symmetric(0.001) for _ in range(3)] for _ in range(3)])
    return Host(matrices, connection, (0,)), EmbeddedMover(change, rng.normal(size=(n, 3)), *random, m0, 11.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orbitals", type=int, default=17, help="per atom (default %(default)s)")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--radii", type=float, nargs="+", default=[5.2, 6.8])
    parser.add_argument("--meshes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--omegas", type=float, nargs="+", default=[0.15, 0.2, 0.3, 0.4, 0.6])
    options = parser.parse_args()
    print("omega   pairs   k-points of all pairs over those of the first, first mesh 64 x 64 at the smallest omega")
    for omega in options.omegas:
        at = frequencies(0.0, omega, -12.0, 3, None)
        first = max(12, 2 * round(32 * options.omegas[0] / omega))
        grids = meshes(at.pairs, (first, first, 1), omega, 12)
        print(f"{omega:5.2f} {len(at.pairs):7d} {sum(g[0] * g[1] for g in grids) / first**2:12.2f}     ({first} x {first})")
    at = frequencies(0.0, options.omegas[0], -12.0, 3, None)
    for radius in options.radii:
        host, mover = host_and_mover(options.layers, options.orbitals, radius)
        R, orbitals = translations([mover], 99.0), np.arange(host.matrices.n)
        seconds = []
        for n in options.meshes:
            begin = time.process_time()
            table = host_kernels(host, at.pairs[:1], (n, n, 1), R, orbitals)[0]
            seconds.append(time.process_time() - begin)
        each = (seconds[-1] - seconds[0]) / (options.meshes[-1] ** 2 - options.meshes[0] ** 2)
        begin = time.process_time()
        pair_term(mover, host, table, at.density[0], 99.0)
        pair = time.process_time() - begin
        size = len(mover.perturbation.dh)
        least = (2 + 2 / 3 + 2 + 2 + 1) * 8e-9 * size**3 / zgemm_rate(size)
        print(f"\nradius {radius} A, {size} orbitals, {len(R)} translations of {host.matrices.n} orbitals\n"
              f"  kernels {1e3 * each:.2f} ms per k-point of the mesh, 64 x 64: {4096 * each:.0f} s per pair\n"
              f"  a defect's pair {pair:.2f} s, {pair / least:.2f} of its matrix products alone")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.2f} GiB, {peak / MEMORY_AIM_GiB:.2f} of the aim of {MEMORY_AIM_GiB} GiB")


if __name__ == "__main__":
    main()
