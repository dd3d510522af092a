"""Total response Z(tau) of one moved atom in an infinite host: embedding at complex energies.

The defect is embedded as in physics/wind, at the complex energies of physics/response_kernel. In a region around the mover, with
G0 and K0 = G0(z1) A_k G0(z2) of the host, W(z) = (H' - H) - z (S' - S) and L(z) = [1 - G0(z) W(z)]^-1,

    Z(tau) = Z_val - 2 Tr M0 rho' - (1/pi) sum_x Re Tr[A_u(x) (L(z1) K0 L(z2)^T + G'(z1) dA G'(z2))]
    A_u = dH'/du - x dS'/du - i omega a,   dA = i (x_nu - x_mu)(dH - x dS) + omega (d' - d),   omega = hbar/tau

x_mu, the place of an orbital in A_k, is that of its host site even where the atom is relaxed away from it: any place gives the
same Z when d is taken from there, and the host's own A_k then needs no change far from the mover (docs/direct.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from emforce.errors import InputError
from emforce.physics.embedding import (
    NEW_ORBITAL_ENERGY,
    RegionSites,
    on_sites,
    site_orbitals,
    site_translations,
)
from emforce.physics.fermi import gaussian_green, half_mesh
from emforce.physics.lcao import Complexes, Floats, Ints, LCAOMatrices, eigenstates, times_real
from emforce.physics.perturbation import Perturbation
from emforce.physics.position import BlochSums, Connection
from emforce.physics.primitive import FoldedSum, Folding, folding
from emforce.physics.wind import region

#: meshes of the pairs that an average of width sigma takes beside the first, as shares of the first's
_SHARES = (0.6, 0.35, 0.2)
#: bytes that one block of k-points may take while kernels are summed
_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class EmbeddedMover:
    """What the response needs of a defect, on all orbitals of its perturbation and in their order.

    Attributes
    ----------
    perturbation : dH, dS and the derivatives of H' and S'
    positions : (n, 3) place of each orbital in A_k, Angstrom: its host site; its atom where the host has none
    d_change : (3, n, n) d' - d with d taken from these places; d' itself on new orbitals, Angstrom
    a : (3, n, n) antisymmetric part of <phi'|d phi'/du>, 1/Angstrom; first axis u
    m0 : (3, 3, n, n) 1/2 {S', T} - i da/dk + dd/du at these places; first axis u, second k
    valence : charge of the mover's core
    """

    perturbation: Perturbation
    positions: Floats
    d_change: Floats
    a: Floats
    m0: Floats
    valence: float

    def __post_init__(self) -> None:
        n = len(self.perturbation.dh)
        for name, shape in (("positions", (n, 3)), ("d_change", (3, n, n)), ("a", (3, n, n)), ("m0", (3, 3, n, n))):
            if np.shape(getattr(self, name)) != shape:
                raise InputError(f"EmbeddedMover.{name}", np.shape(getattr(self, name)), f"shape {shape}")


# --- host ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    """The host that a defect is embedded in.

    Attributes
    ----------
    matrices : every pair at its nearest image; connection : its d, any translations
    axes : of the field, along which the host is periodic
    atom : (atoms of the perturbation's host,) the same atom here, where the two differ (thick slab)
    energy_shift : energy zero of this host minus that of the perturbation's host, eV
    """

    matrices: LCAOMatrices
    connection: Connection
    axes: tuple[int, ...]
    atom: Ints | None = None
    energy_shift: float = 0.0

    def __post_init__(self) -> None:
        if not np.array_equal(self.matrices.orbitals, self.connection.orbitals):
            raise InputError("Host.connection", "orbitals per atom", "the same as those of the matrices")
        flat = [x for x in self.axes if np.abs((self.matrices.R @ self.matrices.cell)[:, x]).max() < 1e-9]
        if flat or not self.axes:
            raise InputError("Host.axes", self.axes, "directions along which the host is periodic")


@dataclass(frozen=True)
class HostKernel:
    """G0(z1), G0(z2) and K0 = G0(z1) A_k G0(z2) between the orbitals `orbitals` of cells 0 and R.

    Attributes
    ----------
    z : (2,) eV; R : (nR, 3), closed under R -> -R; orbitals : (m,); axes : of the field
    g : (2, nR, m, m) 1/eV; k : (axes, nR, m, m) Angstrom/eV
    """

    z: Complexes
    R: Ints
    orbitals: Ints
    axes: tuple[int, ...]
    g: Complexes
    k: Complexes


def averaged_poles(x: Complexes, sigma: float) -> Complexes:
    """1/x, averaged over a Gaussian of width sigma (eV) along the real axis; sigma = 0: 1/x itself.

    The Hilbert partner of physics/fermi, continued off the real axis; its conjugate below.
    """
    if sigma == 0:
        return np.asarray(1 / x)
    below = x.imag < 0
    found = gaussian_green(np.where(below, x.conj(), x), sigma)
    return np.where(below, found.conj(), found)


def host_kernels(
    host: Host, pairs: Complexes, mesh: tuple[int, int, int], R: Ints, orbitals: Ints, sigma: float = 0.0
) -> list[HostKernel]:
    """Tables for pairs (P, 2) of energies, from one pass over half the k-mesh.

    With sigma (eV) G0 and K0 are averaged over a Gaussian shift of all host bands, as the wind's tables are: with partial
    fractions, 1/((z1 - e_n)(z2 - e_m)) = (1/(z1 - e_n) - 1/(z2 - e_m))/(e_n - e_m + z2 - z1), an average of single poles, with
    A_k at each pole's own energy: the part that grows with tau is exactly the wind's. The mesh then needs to resolve sigma, not
    |Im z|.

    With P(R) a sum over half the mesh, time reversal gives G(R) = P(R) + P(-R)^T and, A_k being odd but for its term in
    omega, K(R; z1, z2) = P(R; z1, z2) - P(-R; z2, z1)^T. The error of a mesh with N points along a direction falls as
    exp(-N a |Im z|/v), v the velocity.
    """
    folded = folding(host.matrices, *((host.connection.R, host.connection.d[axis]) for axis in host.axes))
    own, sums = _primitive(host, folded), FoldedSum(folded, half_mesh(mesh), R, orbitals)
    bloch = BlochSums.of(own.matrices)
    g, k = sums.zeros(len(pairs), 2), sums.zeros(len(pairs), len(host.axes), 2)
    size = max(1, _BLOCK_BYTES // (16 * own.matrices.n**2 * (2 + 3 * len(host.axes))))
    for block in sums.blocks(size):
        part = folded.k(block.points)
        e, c = eigenstates(*own.matrices.at(part))
        cd = c.conj().swapaxes(1, 2)
        vertices = [[cd @ v @ c for v in _vertex(own, bloch, part, axis)] for axis in host.axes]
        kept, kept_dagger = c[:, sums.kept, :], cd[:, :, sums.kept]
        for p, energies in enumerate(pairs):
            poles = [averaged_poles(z - e, sigma) for z in energies]
            for i in (0, 1):
                block.add(g[p, i], (kept * poles[i][:, None, :]) @ kept_dagger)
            omega = (energies[1] - energies[0]) / 1j
            half = 0.5j * omega
            left, right = poles[0][:, :, None], poles[1][:, None, :]
            apart = 1 / (e[:, :, None] - e[:, None, :] + 2 * half)
            # A_k at the pole of each of the two: x is e_n + half there, and e_m - half
            by_h = (left - right) * apart
            by_s = ((e + half)[:, :, None] * left - (e - half)[:, None, :] * right) * apart
            for axis, (v_h, v_s, v_d) in enumerate(vertices):
                y = (v_h + omega * v_d) * by_h - v_s * by_s
                block.add(k[p, axis, 0], kept @ y @ kept_dagger)
                # the other order of the energies turns the two factors over
                y = (v_h - omega * v_d) * by_h.swapaxes(1, 2) - v_s * by_s.swapaxes(1, 2)
                block.add(k[p, axis, 1], kept @ y @ kept_dagger)
    total = int(np.prod(mesh))
    g, k = sums.whole(g), sums.whole(k)
    return [
        HostKernel(pairs[p], R, np.array(orbitals), host.axes, _with_reverse(g[p], g[p], sums.minus) / total,
                   _with_reverse(k[p, :, 0], -k[p, :, 1], sums.minus) / total)
        for p in range(len(pairs))
    ]


def _primitive(host: Host, folded: Folding) -> Host:
    """The host in its primitive cell."""
    if folded.count == 1:
        return host
    c, made = host.connection, folded.matrices(host.matrices)
    R, s = folded.table(c.R, c.s)
    d = np.array([folded.table(c.R, table)[1] for table in c.d])
    return Host(made, Connection(made.cell, made.positions, made.orbitals, R, s, d), host.axes)


def _with_reverse(a: Complexes, b: Complexes, minus: Ints) -> Complexes:
    """a(R) + b(-R)^T."""
    return np.asarray(a + b[:, minus].swapaxes(-1, -2))


def _vertex(host: Host, sums: BlochSums, k: Floats, axis: int) -> tuple[Complexes, Complexes, Complexes]:
    """dH/dk, dS/dk and d (nk, n, n) along an axis, the phases without orbital positions: A_k = dH/dk - x dS/dk + omega d."""
    h, s = host.matrices.at(k)
    x = sums.sites[:, axis]
    apart = 1j * (x[None, :] - x[:, None])
    dh, ds = host.matrices.gradient(k, axis)
    return dh + apart * h, ds + apart * s, host.connection.bloch.lattice(host.connection.d[axis], k)


def meshes(
    pairs: Complexes, mesh: tuple[int, int, int], omega: float, least: int = 8, sigma: float = 0.0
) -> list[tuple[int, int, int]]:
    """A mesh for every pair: `mesh` where an energy is omega/2 from the real axis, thinner in proportion farther away.

    With a Gaussian average of width sigma, which `mesh` resolves, the width grows from sigma on; only the first pair, which holds
    tau m, needs all of `mesh`, and the others share the few meshes of `_SHARES`, each of which takes eigenstates of its own.
    """
    found = []
    for number, (pair, level) in enumerate(zip(pairs, pairs[:, 0].real - pairs[0, 0].real, strict=True)):
        # on the way around the occupied states the distance to them is not only upwards
        away = max(float(np.abs(pair.imag).min()), -0.3 * float(level))
        share = 0.5 * omega / away
        if sigma > 0:
            wanted = sigma / (sigma + away)
            share = 1.0 if number == 0 else min(x for x in _SHARES if x >= min(wanted, _SHARES[0]))
        thin = [max(2 * int(np.ceil(0.5 * n * share)), min(least, n)) if n > 1 else 1 for n in mesh]
        found.append((min(thin[0], mesh[0]), min(thin[1], mesh[1]), min(thin[2], mesh[2])))
    return found


# --- embedding -------------------------------------------------------------------------------------------------------


def translations(movers: Sequence[EmbeddedMover], radius: float) -> Ints:
    """All lattice translations between sites of a region, closed under R -> -R."""
    found: set[tuple[int, ...]] = set()
    for mover in movers:
        kept, removed = region(mover.perturbation, radius)
        cells = np.concatenate([mover.perturbation.sites.cells[kept], mover.perturbation.removed.cells[removed]])
        cells = np.unique(cells, axis=0)
        found |= {tuple(int(x) for x in d) for d in (cells[:, None] - cells[None]).reshape(-1, 3)}
    return np.array(sorted(found))


@dataclass(frozen=True)
class Region:
    """Orbitals of a region: `pick` in the perturbation, then `sites` in the host with `removed` orbitals at the end."""

    pick: Ints
    sites: RegionSites
    removed: int
    new: int


def embedded_region(mover: EmbeddedMover, host: Host, radius: float) -> Region:
    """The orbitals of a mover within `radius` (Angstrom), and their sites in the host."""
    p = mover.perturbation
    kept, removed = region(p, radius)
    mapping = np.arange(len(host.matrices.orbitals)) if host.atom is None else host.atom
    sites = RegionSites(
        np.concatenate([p.sites.cells[kept], p.removed.cells[removed]]),
        mapping[np.concatenate([p.sites.atoms[kept], p.removed.atoms[removed]])],
    )
    starts = np.concatenate([[0], np.cumsum(p.site_orbitals)])
    orbitals = [np.arange(starts[i], starts[i + 1]) for i in kept] + [np.arange(starts[-1], len(p.dh))]
    gone = int(host.matrices.orbitals[mapping[p.removed.atoms[removed]]].sum())
    return Region(np.concatenate(orbitals), sites, gone, p.new_orbitals)


def host_dipoles(connection: Connection, sites: RegionSites) -> Floats:
    """(3, n, n) d of the perfect host between the orbitals of `sites`; zero where there is no such pair."""
    return on_sites(connection.orbitals, connection.R, connection.d, sites)


def _assemble(table: HostKernel, offsets: Ints, r: Region) -> tuple[Complexes, Complexes]:
    """G0(z1), G0(z2) (2, n, n) and K0 (axes, n, n) on a region, removed orbitals gone and new ones decoupled."""
    between = site_translations(table.R, r.sites)
    if (between < 0).any():
        raise InputError("region", "its lattice translations", "within the host kernels")
    place = np.full(int(offsets[-1]), -1)
    place[table.orbitals] = np.arange(len(table.orbitals))
    orbital, site = site_orbitals(offsets, r.sites)
    rows, cols = np.ix_(place[orbital], place[orbital])
    index = between[np.ix_(site, site)]
    g = np.array([t[index, rows, cols] for t in table.g])
    k = np.array([t[index, rows, cols] for t in table.k])
    n = len(orbital) - r.removed
    if r.removed:
        # infinite on-site energy: rows from the left at z1, columns from the right at z2
        ratio = [np.linalg.solve(t[n:, n:], t[n:, :n]).T for t in g]  # G_DV G_VV^-1, G symmetric
        g = np.array([t[:n, :n] - q @ t[n:, :n] for t, q in zip(g, ratio, strict=True)])
        half = k[:, :n] - ratio[0] @ k[:, n:]
        k = half[:, :, :n] - half[:, :, n:] @ ratio[1].T
    new = np.arange(n, n + r.new)
    g_all, k_all = np.zeros((2, n + r.new, n + r.new), complex), np.zeros((len(k), n + r.new, n + r.new), complex)
    g_all[:, :n, :n], k_all[:, :n, :n] = g, k
    g_all[:, new, new] = -1 / NEW_ORBITAL_ENERGY
    return g_all, k_all


@dataclass(frozen=True)
class PairTerm:
    """Traces of one pair of energies: value (3, axes) = Tr[A_u G' A_k' G'], density (3, axes) = Tr M0 (w1 G' + w2 G')."""

    value: Complexes
    density: Floats
    condition: float


def pair_term(mover: EmbeddedMover, host: Host, table: HostKernel, weights: Complexes, radius: float) -> PairTerm:
    """One pair of energies of one defect; weights (2,) of G'(z1) and G'(z2) in the density. NaN where dH'/du is not known."""
    p, r = mover.perturbation, embedded_region(mover, host, radius)
    g, k = _assemble(table, host.matrices.offsets, r)
    z = table.z - host.energy_shift
    x, omega = z.mean(), float(np.real((z[1] - z[0]) / 1j))
    pick = np.ix_(r.pick, r.pick)
    dh, ds = p.dh[pick], p.ds[pick]
    new = np.arange(len(r.pick) - r.new, len(r.pick))
    factors, condition = [], 0.0
    for t, energy in zip(g, z, strict=True):
        # in `carried` orbitals dS is the block of the new ones alone: the product with the real dH is most of the work
        tw = times_real(t, dh)
        changed = np.flatnonzero(ds.any(axis=0))
        tw[:, changed] -= energy * (t @ ds[:, changed])
        tw[:, new] -= NEW_ORBITAL_ENERGY * t[:, new]
        matrix = np.eye(len(t)) - tw
        lu = scipy.linalg.lu_factor(matrix, check_finite=False)
        gecon = scipy.linalg.get_lapack_funcs("gecon", (lu[0],))
        condition = max(condition, float(1 / max(gecon(lu[0], np.abs(matrix).sum(axis=0).max())[0], 1e-300)))
        factors.append(lu)
    known = [u for u in range(3) if not np.isnan(p.gradient_h[u, 0, 0])]
    place = mover.positions[r.pick]
    change = [
        1j * (place[None, :, axis] - place[:, None, axis]) * (dh - x * ds) + omega * mover.d_change[axis][pick]
        for axis in table.axes
    ]
    value = np.full((3, len(table.axes)), np.nan, complex)
    for u in known:
        force = p.gradient_h[u][pick] - x * p.gradient_s[u][pick] - 1j * omega * mover.a[u][pick]
        q = scipy.linalg.lu_solve(factors[1], force, trans=1, check_finite=False)  # L(z2)^T A_u
        q = scipy.linalg.lu_solve(factors[0], q.T, trans=1, check_finite=False)  # (L(z2)^T A_u L(z1))^T
        inner = g[0] @ q @ g[1]
        value[u] = [np.sum(q * k[i]) + np.sum(inner * change[i]) for i in range(len(table.axes))]
    density = np.full((3, len(table.axes)), np.nan)
    density[known] = 0.0
    near = {(u, axis): mover.m0[u, axis][pick] for u in known for axis in table.axes}
    # G' is symmetric, H and S being real: the columns in which M0 is not zero are enough
    columns = np.flatnonzero(np.any([m0.any(axis=0) for m0 in near.values()], axis=0))
    for t, lu, weight in zip(g, factors, weights, strict=True):
        if weight != 0:
            rho = np.real(weight * scipy.linalg.lu_solve(lu, t[:, columns], check_finite=False))
            for u in known:
                density[u] += [np.sum(near[u, axis][:, columns] * rho) for axis in table.axes]
    return PairTerm(value, density, condition)
