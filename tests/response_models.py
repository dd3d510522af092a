"""Model systems for the total response: basis functions that move, with every integral exact or by symmetry alone.

`random_mover` has matrices with the right symmetries and nothing else, so that two routes to one number have no reason to
agree but algebra. `GaussianRing` is continuum physics in one dimension in Gaussian functions, whose overlap, kinetic energy,
potential, dipole and displacement integrals are closed forms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from models import HALF, WIDE, TwoCentre

from emforce.physics.direct_embedding import EmbeddedMover
from emforce.physics.embedding import RegionSites
from emforce.physics.lcao import Floats, LCAOMatrices
from emforce.physics.perturbation import Perturbation, host_matrix
from emforce.physics.position import Connection, covariant_matrices
from emforce.physics.response_kernel import PeriodicMover

CELL = np.array([[3.1, 0.2, 0.0], [0.0, 2.7, 0.1], [0.0, 0.0, 9.0]])


def hermitian(rng: np.random.Generator, R: np.ndarray, n: int, size: float, sign: int = 1) -> Floats:
    """Random A(R) that decays, with A(-R) = sign A(R)^T; R listed so that reversed it is -R."""
    a = rng.normal(size=(len(R), n, n)) * size * np.exp(-np.abs(R).sum(axis=1))[:, None, None]
    return a + sign * a[::-1].swapaxes(1, 2)


def random_mover(seed: int, orbitals: tuple[int, ...] = (2, 1, 3)) -> PeriodicMover:
    """A two-dimensional crystal without any symmetry whose second atom moves; S is positive definite."""
    rng = np.random.default_rng(seed)
    R = np.array([(i, j, 0) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    n = sum(orbitals)
    positions = rng.uniform(0, 2.5, size=(len(orbitals), 3))
    s = hermitian(rng, R, n, 0.03)
    s[len(R) // 2] += np.eye(n)
    h = hermitian(rng, R, n, 1.0)
    connection = Connection(
        CELL, positions, np.array(orbitals), R, s,
        np.array([hermitian(rng, R, n, 0.2) for _ in range(3)]),
        moved=(1,),
        a=np.array([hermitian(rng, R, n, 0.2, -1) for _ in range(3)]),
        ds=np.array([hermitian(rng, R, n, 0.1) for _ in range(3)]),
        dd=np.array([[hermitian(rng, R, n, 0.1) for _ in range(3)] for _ in range(3)]),
    )
    gradient = np.array([hermitian(rng, R, n, 0.7) for _ in range(3)])
    return PeriodicMover(connection, LCAOMatrices(CELL, positions, np.array(orbitals), R, h, s), gradient, 2.0)


def rebased(mover: PeriodicMover, q: Floats, slope: Floats, shifts: Floats, moved: tuple[int, ...]) -> PeriodicMover:
    """The same physics in the functions phi' = phi Q(u) of each cell, Q = q + u.slope, said to sit and move otherwise.

    q (n, n), slope (3, n, n); shifts (atoms, 3): where the new functions are said to be, from where the old ones are; moved:
    atoms that are said to ride on u. With r the position matrix, d = r - 1/2 {S, X}, all follows from r' = Q^T r Q and
    <phi'|d phi'/du> = Q^T <phi|d phi/du> Q + Q^T S dQ/du.
    """
    c, h = mover.connection, mover.h
    assert c.a is not None
    assert c.ds is not None
    assert c.dd is not None
    minus = np.array([int(np.flatnonzero((c.R == -r).all(axis=1))[0]) for r in c.R])
    vectors = c.R @ c.cell

    def labels(positions: Floats, axis: int) -> Floats:
        x = np.repeat(positions[:, axis], c.orbitals)
        return 0.5 * (x[:, None] + x[None, :] + vectors[:, axis, None, None])

    def riding(mask: Floats) -> Floats:
        return 0.5 * (mask[:, None] + mask[None, :])

    positions = c.positions + shifts
    s = q.T @ c.s @ q
    b = q.T @ (0.5 * c.ds + c.a) @ q + (q.T @ c.s)[None] @ slope[:, None]
    back = b[:, minus].swapaxes(-1, -2)
    new = replace(c, positions=positions, s=s, a=0.5 * (b - back), ds=b + back, moved=moved)
    d, dd = np.empty(c.d.shape), np.empty(c.dd.shape)
    for axis in range(3):
        old = labels(c.positions, axis)
        r = c.d[axis] + old * c.s
        d[axis] = q.T @ r @ q - labels(positions, axis) * s
        for u in range(3):
            r_u = c.dd[u, axis] + old * c.ds[u] + (u == axis) * riding(c.mask) * c.s
            r_u = q.T @ r_u @ q + slope[u].T @ r @ q + q.T @ r @ slope[u]
            dd[u, axis] = r_u - labels(positions, axis) * new.ds[u] - (u == axis) * riding(new.mask) * s
    gradient = q.T @ mover.gradient_h @ q + np.array([t.T @ h.h @ q + q.T @ h.h @ t for t in slope])
    h_new = LCAOMatrices(c.cell, positions, c.orbitals, c.R, q.T @ h.h @ q, s)
    return PeriodicMover(replace(new, d=d, dd=dd), h_new, gradient, mover.valence)


# --- one dimension, Gaussian functions, all integrals exact ----------------------------------------------------------


@dataclass(frozen=True)
class GaussianRing:
    """Electrons in one dimension, period `length`: functions exp(-(x - c)^2/2w^2) and Gaussian wells.

    Attributes
    ----------
    centres, widths : (n,) of the functions, A; riding : (n,) 1 where a function moves with u
    wells : (m, 3) height eV, centre A, width A; moving : (m,) 1 where a well moves with u
    """

    length: float
    centres: Floats
    widths: Floats
    riding: Floats
    wells: Floats
    moving: Floats

    def tables(self, u: float, reach: int) -> tuple[Floats, ...]:
        """R, h, s, r (position), b = <0|d/du R> of the functions displaced by u."""
        c, w = self.centres + u * self.riding, self.widths
        shifts = self.length * np.arange(-reach, reach + 1)
        p = 0.5 / w**2
        total = p[:, None] + p[None, :]
        reduced = p[:, None] * p[None, :] / total
        norm = (2 * p / np.pi) ** 0.25
        far = c[None, None, :] + shifts[:, None, None]
        gap = c[None, :, None] - far
        s = norm[:, None] * norm[None, :] * np.sqrt(np.pi / total) * np.exp(-reduced * gap**2)
        h = HALF * s * (2 * reduced - 4 * reduced**2 * gap**2)
        middle = (p[:, None] * c[None, :, None] + p[None, :] * far) / total
        for (height, x0, width), rides in zip(self.wells, self.moving, strict=True):
            q = 0.5 / width**2
            for image in self.length * np.arange(-reach - 2, reach + 3):
                away = middle - x0 - u * rides - image
                h = h + height * s * np.sqrt(total / (total + q)) * np.exp(-total * q / (total + q) * away**2)
        slope = 2 * reduced * gap * s  # of s with the second centre
        return h, s, middle * s, slope * self.riding

    def mover(self, valence: float = 0.0, reach: int = 3, step: float = 1e-2) -> PeriodicMover:
        """Matrices and u-derivatives (of h and r by five points, error step^4), all functions one atom each."""
        n = len(self.centres)
        R = np.array([(i, 0, 0) for i in range(-reach, reach + 1)])
        positions = np.zeros((n, 3))
        positions[:, 0] = self.centres
        cell = np.diag([self.length, WIDE, WIDE])
        labels = 0.5 * (self.centres[:, None] + self.centres[None, :] + (self.length * R[:, 0])[:, None, None])
        h, s, r, b = self.tables(0.0, reach)
        near = [self.tables(i * step, reach) for i in (-2, -1, 1, 2)]

        def derivative(index: int) -> Floats:
            lowest, low, high, highest = (t[index] for t in near)
            return (8 * (high - low) - (highest - lowest)) / (12 * step)

        back = b[::-1].swapaxes(-1, -2)
        empty = np.zeros((3, *h.shape))
        d, a, ds, gradient, dd = empty.copy(), empty.copy(), empty.copy(), empty.copy(), np.zeros((3, *empty.shape))
        d[0] = r - labels * s
        a[0], ds[0] = 0.5 * (b - back), b + back
        riding = 0.5 * (self.riding[:, None] + self.riding[None, :])
        dd[0, 0] = derivative(2) - labels * ds[0] - riding * s
        gradient[0] = derivative(0)
        moved = tuple(np.flatnonzero(self.riding)) or (0,)
        if not self.riding.any():  # a connection names what moves: undo the T of the name
            t = (np.arange(n) == 0).astype(float)
            dd[0, 0] -= 0.5 * (t[:, None] + t[None, :]) * s
        connection = Connection(cell, positions, np.ones(n, int), R, s, d, moved, a, ds, dd)
        return PeriodicMover(connection, LCAOMatrices(cell, positions, np.ones(n, int), R, h, s), gradient, valence)


# --- a defect in a few cells of a crystal, alone and in a supercell -----------------------------------------------------


@dataclass(frozen=True)
class LocalDefect:
    """A crystal with one atom per cell and a change of anything on some cells, with the mover on one of them.

    Attributes
    ----------
    host, connection : the crystal
    cells : (sites, 3) cells that the change may touch, the mover's is the first; gone : those without an atom
    new : orbitals that the host does not have, on an atom of their own at `place`
    dh, ds, gradient_h, gradient_s, a, dd, d_change : (..., n, n) on the kept cells in order, then the new orbitals
    """

    host: LCAOMatrices
    connection: Connection
    cells: np.ndarray
    gone: tuple[int, ...]
    new: int
    place: Floats
    dh: Floats
    ds: Floats
    gradient_h: Floats
    gradient_s: Floats
    a: Floats
    dd: Floats
    d_change: Floats
    valence: float = 2.0

    @property
    def kept(self) -> np.ndarray:
        return np.setdiff1d(np.arange(len(self.cells)), self.gone)

    def embedded(self) -> EmbeddedMover:
        n, kept = self.host.n, self.kept
        sites = RegionSites(self.cells[kept], np.zeros(len(kept), int))
        vectors = self.cells @ self.host.cell
        distance = np.linalg.norm(vectors - vectors[0], axis=1)
        gone = np.array(self.gone, int)
        perturbation = Perturbation(
            sites, RegionSites(self.cells[gone], np.zeros(len(gone), int)), distance[kept], distance[gone],
            np.full(len(kept), n), self.new, self.dh, self.ds, self.gradient_h, self.gradient_s, 0.0, 0.0, 0.0,
        )
        place = np.repeat(self.host.positions[0] + vectors[kept], n, axis=0)
        place = np.concatenate([place, np.repeat(self.place[None], self.new, axis=0)])
        s = self.ds.copy()
        s[: len(kept) * n, : len(kept) * n] += host_matrix(self.host, sites)[1]
        riding = np.zeros(len(s))
        riding[:n] = 1.0
        m0 = np.array([
            [self.dd[u, x] + self.a[u] * (place[None, :, x] - place[:, None, x])
             + (u == x) * 0.5 * (riding[:, None] + riding[None, :]) * s for x in range(3)] for u in range(3)
        ])
        return EmbeddedMover(perturbation, place, self.d_change, self.a, m0, self.valence)

    def periodic(self, repeat: tuple[int, int, int]) -> PeriodicMover:
        """The same in a supercell, which must hold `cells` around its cell 0 and be larger than the host's range."""
        n, host = self.host.n, self.host
        grid = np.array(list(np.ndindex(*repeat)))
        count = len(grid)
        R = np.array(list(np.ndindex(*np.where(np.array(repeat) > 1, 3, 1)))) - np.where(np.array(repeat) > 1, 1, 0)
        where = {tuple(r): i for i, r in enumerate(R)}
        home = [int(np.ravel_multi_index(tuple(np.mod(c, repeat)), repeat)) for c in self.cells]
        copy = np.floor_divide(self.cells, repeat)
        gone = [home[i] for i in self.gone]
        size = count * n + self.new
        left = np.concatenate([np.setdiff1d(np.arange(count * n), [g * n + i for g in gone for i in range(n)]),
                               np.arange(count * n, size)])
        local = np.concatenate([*(np.arange(home[i] * n, (home[i] + 1) * n) for i in self.kept), np.arange(count * n, size)])
        local_copy = np.concatenate([np.repeat(copy[self.kept], n, axis=0), np.zeros((self.new, 3), int)])

        def table(of_host: Floats | None, change: Floats) -> Floats:
            out = np.zeros((len(R), size, size))
            if of_host is not None:
                for i, cell in enumerate(grid):
                    for r, block in zip(host.R, of_host, strict=True):
                        target, folded = np.divmod(cell + r, repeat)[0], np.mod(cell + r, repeat)
                        j = int(np.ravel_multi_index(tuple(folded), repeat))
                        out[where[tuple(target)], i * n : (i + 1) * n, j * n : (j + 1) * n] += block
            for p, row in enumerate(local):
                for q in np.flatnonzero(change[p]):
                    out[where[tuple(local_copy[q] - local_copy[p])], row, local[q]] += change[p, q]
            return out[:, left[:, None], left[None, :]]

        atoms = np.setdiff1d(np.arange(count), gone)
        positions = np.concatenate([host.positions[0] + grid[atoms] @ host.cell, self.place[None]])
        orbitals = np.array([n] * len(atoms) + [self.new])
        if not self.new:
            positions, orbitals = positions[:-1], orbitals[:-1]
        cell = host.cell * np.array(repeat)[:, None]
        h, s = table(host.h, self.dh), table(host.s, self.ds)
        connection = Connection(
            cell, positions, orbitals, R, s,
            np.array([table(d, x) for d, x in zip(self.connection.d, self.d_change, strict=True)]),
            (int(np.flatnonzero(atoms == home[0])[0]),),
            np.array([table(None, x) for x in self.a]),
            np.array([table(None, x) for x in self.gradient_s]),
            np.array([[table(None, x) for x in row] for row in self.dd]),
        )
        gradient = np.array([table(None, x) for x in self.gradient_h])
        return PeriodicMover(connection, LCAOMatrices(cell, positions, orbitals, R, h, s), gradient, self.valence)


def random_defect(
    seed: int, orbitals: int, dimensions: int, gone: tuple[int, ...] = (), new: int = 0, hop: float = 0.5
) -> LocalDefect:
    """Nearest-neighbour crystal without symmetry and a random change on the mover's cell and its neighbours."""
    rng = np.random.default_rng(seed)
    unit = np.eye(3, dtype=int)
    steps = [unit[i] for i in range(dimensions)]
    R = np.array([-r for r in steps[::-1]] + [0 * unit[0]] + steps)
    cell = np.diag([2.0, 2.3, 2.6])
    n = orbitals

    def on_crystal(size: float) -> Floats:
        a = rng.normal(size=(len(R), n, n)) * size
        return a + a[::-1].swapaxes(1, 2)

    h, s = on_crystal(0.3 * hop), on_crystal(0.02)
    h[: len(R) // 2] -= hop * np.eye(n)
    h[len(R) // 2 + 1 :] -= hop * np.eye(n)
    s[len(R) // 2] += np.eye(n)
    position = rng.normal(size=(1, 3))
    host = LCAOMatrices(cell, position, np.array([n]), R, h, s)
    connection = Connection(cell, position, np.array([n]), R, s, np.array([on_crystal(0.1) for _ in range(3)]))
    neighbours = [sign * r for r in steps for sign in (1, -1)]
    cells = np.array([0 * unit[0], *neighbours])
    size = n * (len(cells) - len(gone)) + new

    def local(amount: float, sign: int = 1) -> Floats:
        a = rng.normal(size=(size, size)) * amount
        return a + sign * a.T

    dh, ds = local(0.2), local(0.015)
    ds[range(size - new, size), range(size - new, size)] = 1.0
    return LocalDefect(
        host, connection, cells, gone, new, position[0] + (0.4, 0.7, 0.9), dh, ds,
        np.array([local(0.4) for _ in range(3)]), np.array([local(0.03) for _ in range(3)]),
        np.array([local(0.1, -1) for _ in range(3)]), np.array([[local(0.05) for _ in range(3)] for _ in range(3)]),
        np.array([local(0.1) for _ in range(3)]),
    )


# --- two-centre crystals with a dipole and a moving basis ---------------------------------------------------------------

#: dipole between orbitals of neighbouring atoms over TwoCentre.radial, and of one atom, A: (field, left, right)
PAIR_DIPOLE = np.array([[[0.3, 0.2, -0.1], [0.2, -0.2, 0.1], [-0.1, 0.1, 0.25]],
                        [[0.0, 0.1, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0]],
                        [[0.1, -0.1, 0.2], [-0.1, 0.2, 0.0], [0.2, 0.0, -0.3]]])
ATOM_DIPOLE = np.array([[[0.0, 0.4, 0.0], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]],
                        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
                        [[0.0, 0.0, 0.4], [0.0, 0.0, 0.0], [0.4, 0.0, 0.0]]])


def two_centre_connection(model: TwoCentre, matrices: LCAOMatrices, mover: int | None = None) -> Connection:
    """Connection of a two-centre crystal: d a function of the distance, <mu|d nu/du> the derivative of S with nu's place."""
    step, n = 1e-3, matrices.n
    count = len(matrices.R)
    s, d = matrices.s.copy(), np.zeros((3, count, n, n))
    b, dd = np.zeros((3, count, n, n)), np.zeros((3, 3, count, n, n))
    home = int(np.flatnonzero((matrices.R == 0).all(axis=1))[0])
    for i, left in enumerate(matrices.orbitals):
        rows = slice(matrices.offsets[i], matrices.offsets[i + 1])
        d[:, home, rows, rows] = ATOM_DIPOLE[:, :left, :left]
        for j, right in enumerate(matrices.orbitals):
            cols = slice(matrices.offsets[j], matrices.offsets[j + 1])
            vectors = matrices.R @ matrices.cell + matrices.positions[j] - matrices.positions[i]
            for r in np.flatnonzero((np.linalg.norm(vectors, axis=1) < model.cutoff) & (np.abs(vectors).max(axis=1) > 1e-9)):
                dipole = PAIR_DIPOLE[:, :left, :right]
                d[:, r, rows, cols] = model.radial(float(np.linalg.norm(vectors[r]))) * dipole
                moves = (j == mover) - (i == mover)
                for u in range(3) if mover in (i, j) else ():
                    places = [vectors[r] + sign * step * np.eye(3)[u] for sign in (1, -1)]
                    slope = [model.pair(v, int(left), int(right))[1] for v in places]
                    b[u, r, rows, cols] = (j == mover) * (slope[0] - slope[1]) / (2 * step)
                    size = [model.radial(float(np.linalg.norm(v))) for v in places]
                    dd[u, :, r, rows, cols] = moves * (size[0] - size[1]) / (2 * step) * dipole
    if mover is None:
        return Connection(matrices.cell, matrices.positions, matrices.orbitals, matrices.R, s, d)
    minus = np.array([int(np.flatnonzero((matrices.R == -r).all(axis=1))[0]) for r in matrices.R])
    back = b[:, minus].swapaxes(-1, -2)
    return Connection(matrices.cell, matrices.positions, matrices.orbitals, matrices.R, s, d, (mover,),
                      0.5 * (b - back), b + back, dd)


def constant_broadening(mover: PeriodicMover, k: Floats, level: float, eta: float) -> tuple[Floats, Floats]:
    """Fermi-surface and Fermi-sea parts (3, 3) of Kubo and Bastin at T = 0 with G(e +- i eta), summed over eigenstates.

    -(1/pi) Re Tr[D_u H G(E_F - i eta) D_k H G(E_F + i eta)] and
    -(2/pi) Re i integral to E_F of (i/2) Tr[D_u H (G D_k H G' - G' D_k H G)] at e + i eta; G' = dG/de, in closed form.
    """
    surface, sea = np.zeros((3, 3)), np.zeros((3, 3))
    for point in np.concatenate([k, -k]):
        states = covariant_matrices(mover.connection, mover.h, mover.gradient_h, point)
        e = states.energies[0]
        products = np.array([[u[0] * x[0].T for x in states.dk_h] for u in states.du_h])  # (D_u)_nm (D_k)_mn
        low, high = 1 / (level - 1j * eta - e), 1 / (level + 1j * eta - e)
        surface -= np.real((products * (high[:, None] * low[None, :])).sum(axis=(-2, -1))) / np.pi / (2 * len(k))
        gap = e[:, None] - e[None, :]
        far = np.abs(gap) > 1e-9
        gap = np.where(far, gap, 1.0)
        log = np.log(level + 1j * eta - e)
        integral = (high[:, None] + high[None, :]) / gap + 2 * (log[:, None] - log[None, :]) / gap**2
        integral = np.where(far, integral, 0.0)  # of g_m^2 g_n - g_n^2 g_m
        sea -= 2 / np.pi * np.real(1j * 0.5j * (products * integral).sum(axis=(-2, -1))) / (2 * len(k))
    return surface, sea
