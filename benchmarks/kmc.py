"""Hops per CPU second of the kinetic Monte Carlo, against a plain loop over the same rates.

    python benchmarks/kmc.py [--side 24] [--atoms 150] [--replicas 16 64 256 1024]

The plain loop keeps a set of atoms in Python and makes the list of all hops and rates anew for each event, as one writes it
first. Adatoms that do not meet are compared with a loop over one walker. Same lattice, same bonds, same bias; one thread.
"""

# ruff: noqa: E402 (threads are set before numpy is loaded)

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import random
import time

import numpy as np

from emforce.models.lattice import surface_lattice
from emforce.models.terrace import Bonds, LatticeGas, Torus
from emforce.models.walkers import walk


def plain_gas(torus: Torus, rates: np.ndarray, start: np.ndarray, events: int) -> float:
    """Hops per CPU second of the plain loop on one torus."""
    bonds = torus.lattice.bonds
    table, targets = rates.tolist(), torus.neighbours.tolist()
    occupied, rng, clock = set(start.tolist()), random.Random(1), 0.0
    begin = time.process_time()
    for _ in range(events):
        moves, weights = [], []
        for site in occupied:
            before = sum(n in occupied for n in targets[site][:bonds])
            for hop, target in enumerate(targets[site]):
                if target not in occupied:
                    after = sum(n in occupied for n in targets[target][:bonds]) - (hop < bonds)
                    moves.append((site, target))
                    weights.append(table[before][after][hop])
        clock += rng.expovariate(sum(weights))
        site, target = rng.choices(moves, weights)[0]
        occupied.remove(site)
        occupied.add(target)
    return events / (time.process_time() - begin)


def plain_walker(lattice: object, rates: np.ndarray, hops: int) -> float:
    """Hops per CPU second of a loop over one walker."""
    rng, vectors, weights = random.Random(1), lattice.hops[0].tolist(), rates[0].tolist()
    total, x, y, clock = sum(weights), 0.0, 0.0, 0.0
    begin = time.process_time()
    for _ in range(hops):
        dx, dy = rng.choices(vectors, weights)[0]
        x, y, clock = x + dx, y + dy, clock + rng.expovariate(total)
    return hops / (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=24, help="sites along each side (default %(default)s)")
    parser.add_argument("--atoms", type=int, default=150, help="atoms of the island (default %(default)s)")
    parser.add_argument("--replicas", type=int, nargs="+", default=[16, 64, 256, 1024])
    options = parser.parse_args()
    print(f"island of {options.atoms} atoms on {options.side} x {options.side} sites")
    print(" lattice           plain loop   replicas      ours   ours / plain loop")
    for name in ("fcc(100) layer", "fcc(111) layer", "bcc(110) layer"):
        lattice = surface_lattice(name, 2.6)
        torus = Torus.make(lattice, (options.side, options.side))
        rates, start = Bonds(3.0, 1.0, 1.0).rates(lattice, 0.1), torus.island(options.atoms)
        plain = plain_gas(torus, rates, start, 300)
        for replicas in options.replicas:
            gas = LatticeGas(torus, rates, start, replicas, seed=1)
            gas.step()  # tables that are made on first use
            events = max(30, 20_000 // replicas)
            begin = time.process_time()
            for _ in range(events):
                gas.step()
            ours = events * replicas / (time.process_time() - begin)
            print(f" {name:16} {plain:11.0f} {replicas:10d} {ours:9.0f} {ours / plain:19.0f}")
    lattice = surface_lattice("fcc(100)", 2.6)
    rates = lattice.bias(0.1)
    plain = plain_walker(lattice, rates, 200_000)
    begin = time.process_time()
    walk(lattice, rates, 4000, 200, seed=1)
    ours = 800_000 / (time.process_time() - begin)
    print(f"\nsingle adatoms: plain loop {plain:.0f}, 4000 walkers {ours:.0f} hops/s, ratio {ours / plain:.1f}")


if __name__ == "__main__":
    main()
