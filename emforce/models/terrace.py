"""Rejection-free kinetic Monte Carlo of a layer that is one atom high: adatoms, islands and the steps around them.

A lattice gas on a torus of L1 x L2 sites with an energy -phi per pair of neighbours. An atom with n_i neighbours hops to
an empty neighbouring site where it will have n_f with the rate (units of Gamma0 = nu0 exp(-E_m/k_BT), the bare terrace hop)

    Gamma/Gamma0 = exp[ -(phi max(0, n_i - n_f) + phi_r min(n_i, n_f))/k_BT + w.d/(2 k_BT |d|) ]

    phi     per neighbour that is lost: leaving a step or a kink
    phi_r   per neighbour that is kept: running along a step; 0 is fastest, phi makes the rate depend on n_i only
    and exp(-corner/k_BT) for a hop round a corner, to a second neighbour, where the lattice has such hops

which obeys detailed balance with the energy above, and local detailed balance with the work w. phi and phi_r are settings
of the model in units of k_BT, not data of a metal; w comes from the database, the same <Z> for all hops until there are
values for steps. Lattices: the "layer" ones of `lattice`. No atom goes up or down a step.

Two quantities that need not point the same way are kept apart:

    mass drift   mean displacement of all atoms per time, the current of mass: along F = e <Z> E, always
    step drift   velocity of the pattern, the phase of its longest wave along the field: how the steps creep. Islands whose
                 atoms run along their edge creep along F. Where atoms cross the gap between two facing steps instead, the
                 steps creep against F, for atoms leave the step upstream of the gap and arrive at the one downstream.

N-fold way in blocks over many replicas at once: one event in each replica per step. The rates of a hop depend on sites
within two neighbours only and are recomputed there, not accumulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckError, InputError
from .lattice import SurfaceLattice

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Bonds:
    """Energies of the model in units of k_BT.

    Parameters
    ----------
    lost_kT : phi, per neighbour lost
    kept_kT : phi_r, per neighbour kept, 0 to phi
    corner_kT : for a hop to a second neighbour, round a corner, on lattices that have it
    """

    lost_kT: float
    kept_kT: float = 0.0
    corner_kT: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.lost_kT <= 30:
            raise InputError("bond", self.lost_kT, "0 to 30 k_BT")
        if not 0 <= self.kept_kT <= 30:
            raise InputError("kept bond", self.kept_kT, "0 to 30 k_BT")
        if not 0 <= self.corner_kT <= 30:
            raise InputError("corner", self.corner_kT, "0 to 30 k_BT")

    def rates(
        self, lattice: SurfaceLattice, work_kT: float, angle_degrees: float = 0.0, tensor: Floats | None = None
    ) -> Floats:
        """(n_i, n_f, hop) rates in units of Gamma0; field and tensor as for `SurfaceLattice.bias`."""
        if lattice.kinds > 1:
            raise InputError("lattice", lattice.name, "a lattice with one kind of sites")
        n = np.arange(lattice.bonds + 1)
        before, after = np.meshgrid(n, n, indexing="ij")
        barrier = self.lost_kT * np.maximum(0, before - after) + self.kept_kT * np.minimum(before, after)
        corner = np.where(np.arange(lattice.hops.shape[1]) < lattice.bonds, 0.0, self.corner_kT)
        return np.asarray(np.exp(-barrier[:, :, None] - corner) * lattice.bias(work_kT, angle_degrees, tensor)[0])


@dataclass(frozen=True, eq=False)
class Torus:
    """L1 x L2 sites of a lattice with one kind of sites, periodic both ways.

    Parameters
    ----------
    lattice, shape : as said
    neighbours : (sites, hops) site reached by each hop; the first `lattice.bonds` are the neighbours
    near : (sites, hops, m) sites whose rates may change when an atom makes a hop
    """

    lattice: SurfaceLattice
    shape: tuple[int, int]
    neighbours: Integers
    near: Integers
    _blocks: dict[int, Integers] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, lattice: SurfaceLattice, shape: tuple[int, int]) -> Torus:
        """A torus; its sides must be 3 or more, so that the neighbours of a site differ."""
        if lattice.kinds > 1:
            raise InputError("lattice", lattice.name, "a lattice with one kind of sites")
        if min(shape) < 3:
            raise InputError("shape", shape, "3 or more sites along each side")
        i, j = (index.ravel() for index in np.indices(shape))
        hops = [(int(a), int(b)) for a, b in lattice.shifts[0]]

        def reached(steps: list[tuple[int, int]]) -> Integers:
            return np.stack([((i + a) % shape[0]) * shape[1] + (j + b) % shape[1] for a, b in steps], axis=1)

        # occupation and counts change on the two sites and their neighbours; a rate depends on those of site and target
        touched = [(0, 0), *hops[: lattice.bonds]]
        zone = {(a - c, b - d) for a, b in touched for c, d in [(0, 0), *hops]}
        zones = [sorted(zone | {(a + c, b + d) for c, d in zone}) for a, b in hops]
        most = max(map(len, zones))
        near = np.stack([reached(steps + steps[:1] * (most - len(steps))) for steps in zones], axis=1)
        return cls(lattice, shape, reached(hops), near)

    def near_blocks(self, width: int) -> Integers:
        """(sites, hops, b) blocks of `width` sites in which those of `near` lie; some may be listed twice."""
        if width not in self._blocks:
            all_ = np.sort(self.near // width, axis=2)
            most = max(len(np.unique(row)) for row in all_.reshape(-1, all_.shape[2]))
            found = [np.pad(unique := np.unique(row), (0, most - len(unique)), mode="edge")
                     for row in all_.reshape(-1, all_.shape[2])]
            self._blocks[width] = np.array(found).reshape(*all_.shape[:2], most)
        return self._blocks[width]

    @property
    def sites(self) -> int:
        """Number of sites."""
        return self.shape[0] * self.shape[1]

    def fractions(self) -> Floats:
        """(sites, 2) position in units of the sides of the torus."""
        return np.indices(self.shape).reshape(2, -1).T / np.array(self.shape)

    def island(self, atoms: int) -> Integers:
        """The sites nearest to the middle, as many as `atoms`."""
        if not 1 <= atoms < self.sites:
            raise InputError("atoms", atoms, f"1 to {self.sites - 1}")
        off = self.fractions() - 0.5
        corners = np.array([(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)])
        sides = self.lattice.cell * np.array(self.shape)[:, None]
        distance = np.linalg.norm((off[:, None] + corners[None]) @ sides, axis=2).min(axis=1)
        return np.argsort(distance, kind="stable")[:atoms]

    def stripe(self, columns: int) -> Integers:
        """The sites of the first `columns` columns: two straight steps along the second side."""
        if not 1 <= columns < self.shape[0]:
            raise InputError("columns", columns, f"1 to {self.shape[0] - 1}")
        return np.arange(columns * self.shape[1])


class LatticeGas:
    """Replicas of one torus, each with its own clock.

    Parameters
    ----------
    torus : sites
    rates : (n_i, n_f, hop) of `Bonds.rates`
    occupied : sites occupied at the start, (atoms,) for all replicas or (replicas, atoms)
    replicas, seed : number of replicas; the same seed gives the same run
    """

    def __init__(self, torus: Torus, rates: Floats, occupied: Integers, replicas: int, seed: int) -> None:
        if replicas < 1:
            raise InputError("replicas", replicas, "1 or more")
        self.torus, self.replicas = torus, replicas
        self._rng = np.random.default_rng(seed)
        s, bonds, hops = torus.sites, torus.lattice.bonds, torus.neighbours.shape[1]
        self._width = max(4, math.isqrt(s))
        blocks = -(-s // self._width)
        self._row = np.arange(replicas)
        self.occupied = np.zeros((replicas, s), dtype=bool)
        self.occupied[self._row[:, None], np.broadcast_to(occupied, (replicas, np.shape(occupied)[-1]))] = True
        self._count = self.occupied[:, torus.neighbours[:, :bonds]].sum(axis=2)
        # table[n_i, 1 + count of an empty target or 0 for an occupied one, hop]; the atom itself is a neighbour of its
        # target where the hop is along a bond
        self._table = np.zeros((bonds + 1, bonds + 2, hops))
        for k in range(hops):
            own = int(k < bonds)
            self._table[:, 1 + own :, k] = rates[:, : bonds + 1 - own, k]
        self._hop = np.zeros((replicas, s, hops))
        self._site = np.zeros((replicas, blocks * self._width))
        self._block = np.zeros((replicas, blocks))
        self.time = np.zeros(replicas)
        self.displacement = np.zeros((replicas, 2))
        self.atoms = int(self.occupied[0].sum())
        self.refresh()

    def refresh(self) -> None:
        """All rates from the occupation."""
        bonds = self.torus.neighbours[:, : self.torus.lattice.bonds]
        self._count = np.ascontiguousarray(self.occupied[:, bonds].sum(axis=2))
        self._hop[:] = 0.0
        self._site[:] = 0.0
        self._update(np.broadcast_to(np.arange(self.torus.sites), self.occupied.shape))
        self._block[:] = self._site.reshape(self.replicas, -1, self._width).sum(axis=2)

    def _update(self, sites: Integers) -> None:
        """Rates of the hops of the atoms on (replicas, m) sites, from occupation and counts as they are."""
        s, hops = self.torus.sites, self._hop.shape[2]
        base = (self._row * s)[:, None]
        flat = (base + sites).ravel()
        kept = self.occupied.reshape(-1).take(flat)
        flat = flat[kept]
        row = np.repeat(self._row, sites.shape[1])[kept]
        targets = self.torus.neighbours.take(flat - row * s, axis=0)
        targets += (row * s)[:, None]
        code = np.where(self.occupied.reshape(-1).take(targets), 0, self._count.reshape(-1).take(targets) + 1)
        index = (self._count.reshape(-1).take(flat) * self._table.shape[1])[:, None] + code
        index *= hops
        index += np.arange(hops)
        new = self._table.reshape(-1).take(index)
        self._hop.reshape(-1, hops)[flat] = new
        self._site.reshape(-1)[flat + row * (self._site.shape[1] - s)] = new.sum(axis=1)

    def hold(self) -> Floats:
        """(replicas,) mean time until the next event in the present state."""
        return np.asarray(1.0 / self._block.sum(axis=1))

    def step(self) -> None:
        """One event in each replica."""
        row = self._row
        cumulated = np.cumsum(self._block, axis=1)
        total = cumulated[:, -1]
        if not np.all(total > 0):
            raise CheckError("no atom can move in one of the replicas")
        block, rest = _choose(cumulated, self._rng.random(self.replicas) * total)
        inside = self._site.reshape(self.replicas, -1, self._width)[row, block]
        place, rest = _choose(np.cumsum(inside, axis=1), rest)
        site = block * self._width + place
        hop, _ = _choose(np.cumsum(self._hop[row, site], axis=1), rest)
        self.time += self._rng.standard_exponential(self.replicas) / total
        target = self.torus.neighbours[site, hop]
        self.displacement += self.torus.lattice.hops[0, hop]
        self.occupied[row, site] = False
        self.occupied[row, target] = True
        bonds = self.torus.lattice.bonds
        self._count[row[:, None], self.torus.neighbours[site, :bonds]] -= 1
        self._count[row[:, None], self.torus.neighbours[target, :bonds]] += 1
        self._hop[row, site] = 0.0
        self._site[row, site] = 0.0
        near = self.torus.near[site, hop]
        self._update(near)
        changed = self.torus.near_blocks(self._width)[site, hop]
        self._block[row[:, None], changed] = self._site.reshape(self.replicas, -1, self._width)[row[:, None], changed].sum(axis=2)

    def bonds(self) -> Integers:
        """(replicas,) pairs of neighbours."""
        return np.asarray((self._count * self.occupied).sum(axis=1) // 2)

    def wave(self, side: int) -> NDArray[np.complex128]:
        """(replicas,) amplitude of the longest density wave along a side of the torus (0 or 1)."""
        return np.asarray(self.occupied @ np.exp(2j * np.pi * self.torus.fractions()[:, side]))


def _choose(cumulated: Floats, level: Floats) -> tuple[Integers, Floats]:
    """First index whose cumulated rate exceeds the level, and the level left within it."""
    # rounding may put the level a hair above the end: then the last entry with a rate
    index = (cumulated <= np.minimum(level, np.nextafter(cumulated[:, -1], 0.0))[:, None]).sum(axis=1)
    before = np.where(index > 0, cumulated[np.arange(len(index)), index - 1], 0.0)
    return index, np.maximum(level - before, 0.0)


@dataclass(frozen=True, eq=False)
class Drift:
    """Drift of a layer, against time.

    Parameters
    ----------
    time : (m, replicas) in 1/Gamma0
    mass : (m, replicas, 2) mean displacement of an atom, Angstrom
    pattern : (m, replicas) displacement of the pattern along the first side of the torus, Angstrom
    """

    time: Floats
    mass: Floats
    pattern: Floats

    def mass_velocity(self, direction: Floats) -> tuple[float, float]:
        """Mass drift along a unit vector in Angstrom Gamma0, and its standard error over the replicas."""
        return _ratio(self.mass[-1] @ direction, self.time[-1])

    def step_velocity(self) -> tuple[float, float]:
        """Step drift along the first side in Angstrom Gamma0, and its standard error."""
        return _ratio(self.pattern[-1], self.time[-1])


def drift(gas: LatticeGas, events: int, every: int, settle: int = 0) -> Drift:
    """Run a number of events per replica and note the drift every so many of them, after `settle` events."""
    if events < every or every < 1:
        raise InputError("events", events, f"a multiple of {max(every, 1)}")
    for _ in range(settle):
        gas.step()
    start_time, start_place = gas.time.copy(), gas.displacement.copy()
    phase, turned = np.angle(gas.wave(0)), np.zeros(gas.replicas)
    side = float(np.linalg.norm(gas.torus.lattice.cell[0])) * gas.torus.shape[0]
    times, mass, pattern = [np.zeros(gas.replicas)], [np.zeros((gas.replicas, 2))], [np.zeros(gas.replicas)]
    for n in range(1, events // every * every + 1):
        gas.step()
        if n % every == 0:
            now = np.angle(gas.wave(0))
            turned += np.angle(np.exp(1j * (now - phase)))
            phase = now
            times.append(gas.time - start_time)
            mass.append((gas.displacement - start_place) / gas.atoms)
            pattern.append(turned / (2 * np.pi) * side)
    return Drift(np.array(times), np.array(mass), np.array(pattern))


def _ratio(length: Floats, time: Floats) -> tuple[float, float]:
    mean = float(time.mean())
    v = float(length.mean()) / mean
    if len(time) < 2:
        return v, math.nan
    return v, float(((length - v * time) / mean).std(ddof=1) / math.sqrt(len(time)))
