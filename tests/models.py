"""Model crystals and defects for the theorems, and an independent solution of 1-D scattering by wave matching.

Nothing here uses the Fermi-surface, Green-function or embedding code that the tests judge: matrices come from
explicit formulas, and scattering states from the Bloch and evanescent waves of the leads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from emforce.physics.embedding import RegionSites
from emforce.physics.fermi import HostTables, host_tables
from emforce.physics.lcao import Complexes, Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import Perturbation
from emforce.physics.wind import Wind, wind

#: hbar^2 / 2m of the continuum models, eV A^2 (a free electron has 3.81)
HALF = 3.81
#: transverse edge of the cells of chains, A; nothing depends on it
WIDE = 10.0
#: k-points of the chains and width of their delta
CHAIN_MESH = (12000, 1, 1)
CHAIN_SIGMA = 2e-3


# --- hosts ---------------------------------------------------------------------------------------------------------


def chain(blocks_h: list[Floats], blocks_s: list[Floats], spacing: float = 1.0) -> LCAOMatrices:
    """One atom per cell; blocks_h[r] = <0|H|r> for r >= 0 (the others follow from hermiticity)."""
    h = [b.T for b in blocks_h[:0:-1]] + list(blocks_h)
    s = [b.T for b in blocks_s[:0:-1]] + list(blocks_s)
    reach = len(blocks_h) - 1
    R = np.array([[r, 0, 0] for r in range(-reach, reach + 1)])
    n = len(blocks_h[0])
    return LCAOMatrices(
        np.diag([spacing, WIDE, WIDE]), np.zeros((1, 3)), np.array([n]), R, np.array(h), np.array(s)
    )


def one_orbital(*hops: float, overlaps: tuple[float, ...] = (), spacing: float = 1.0) -> LCAOMatrices:
    """Chain with one s orbital: hops = (on-site, first, second ... neighbour) energies, overlaps beyond the unit one."""
    s = [1.0, *overlaps] + [0.0] * (len(hops) - 1 - len(overlaps))
    return chain([np.array([[x]]) for x in hops], [np.array([[x]]) for x in s], spacing)


def two_orbital(overlap: bool) -> LCAOMatrices:
    """Chain with s and p orbitals, Slater-Koster hops to first and second neighbours, Gaussian-like overlaps."""

    def hop(r: float) -> Floats:
        return np.exp(-1.1 * (r - 1)) * np.array([[-1.0, 0.9], [-0.9, 1.3]])

    def over(r: float) -> Floats:
        return overlap * np.exp(-0.35 * r**2) * np.array([[0.20, -0.17], [0.17, -0.22]])

    on_site = np.diag([-1.5, 3.5])
    return chain([on_site, hop(1.0), hop(2.0)], [np.eye(2), over(1.0), over(2.0)], 2.5)


def simple_cubic(hop: float = 1.0, on_site: float = 0.0, spacing: float = 1.0) -> LCAOMatrices:
    """s band e = on_site - 2 hop (cos kx + cos ky + cos kz), orthogonal."""
    R = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    h = np.full((7, 1, 1), -hop)
    h[0] = on_site
    s = np.zeros((7, 1, 1))
    s[0] = 1.0
    return LCAOMatrices(np.eye(3) * spacing, np.zeros((1, 3)), np.array([1]), R, h, s)


# --- Gaussian functions in one dimension, all integrals exact --------------------------------------------------------


def gaussian_basis(
    centres: Floats, widths: Floats, wells: list[tuple[float, float, float]]
) -> tuple[Floats, Floats]:
    """H and S of H = -HALF d2/dx2 + sum_w height exp(-(x-x0)^2/(2 b^2)) in normalised Gaussians exp(-(x-c)^2/(2 w^2)).

    wells : (height eV, centre A, width b A) each
    """
    p = 0.5 / widths**2
    total = p[:, None] + p[None, :]
    reduced = p[:, None] * p[None, :] / total
    d = centres[:, None] - centres[None, :]
    norm = (2 * p / np.pi) ** 0.25
    s = norm[:, None] * norm[None, :] * np.sqrt(np.pi / total) * np.exp(-reduced * d**2)
    h = HALF * s * (2 * reduced - 4 * reduced**2 * d**2)
    middle = (p[:, None] * centres[:, None] + p[None, :] * centres[None, :]) / total
    for height, x0, b in wells:
        q = 0.5 / b**2
        h = h + height * s * np.sqrt(total / (total + q)) * np.exp(-total * q / (total + q) * (middle - x0) ** 2)
    return h, s


def gaussian_chain(spacing: float, width: float, reach: int) -> LCAOMatrices:
    """Free electrons on a chain of equal Gaussians: e(k) = HALF k^2 up to the basis error."""
    centres = spacing * np.arange(reach + 1)
    h, s = gaussian_basis(centres, np.full(reach + 1, width), [])
    return chain([h[:1, [r]] for r in range(reach + 1)], [s[:1, [r]] for r in range(reach + 1)], spacing)


def reflection_of_well(energy: float, height: float, b: float) -> float:
    """|r|^2 of a continuum Gaussian well for free electrons, by integrating Schroedinger's equation."""
    from scipy.integrate import solve_ivp

    k = np.sqrt(energy / HALF)
    edge = 8 * b

    def slope(x: float, y: Complexes) -> list[complex]:
        return [y[1], (height * np.exp(-0.5 * (x / b) ** 2) - energy) / HALF * y[0]]

    start = np.array([np.exp(1j * k * edge), 1j * k * np.exp(1j * k * edge)])
    out = solve_ivp(slope, (edge, -edge), start, method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    forward, backward = out[0] + out[1] / (1j * k), out[0] - out[1] / (1j * k)
    return float(abs(backward / forward) ** 2)


# --- wave matching -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waves:
    """Scattering states of a chain at one energy; one pair of propagating waves.

    k : of the right-moving wave (v > 0), 1/A; v : its velocity, eV A
    r, t : amplitudes for a wave from the left; r_right, t_right : from the right (waves normalised to one per cell,
    phases counted from cell 0)
    left, right : (n,) states on the cells -half..half for a wave from the left, from the right
    """

    k: float
    v: float
    r: complex
    t: complex
    r_right: complex
    t_right: complex
    left: Complexes
    right: Complexes


def _range(host: LCAOMatrices) -> int:
    """Largest R along the chain with a block that is not zero."""
    coupled = np.abs(host.h).max(axis=(1, 2)) + np.abs(host.s).max(axis=(1, 2)) > 0
    return int(host.R[coupled, 0].max())


def _lead_waves(host: LCAOMatrices, energy: float) -> tuple[Complexes, Complexes, Complexes]:
    """Factors per cell and vectors of all waves lambda^j phi of a chain, and the blocks E S - H for R = 0, 1, ..."""
    reach = _range(host)
    n = host.n
    blocks = [energy * host.block((r, 0, 0))[1] - host.block((r, 0, 0))[0] for r in range(-reach, reach + 1)]
    # sum_r lambda^(r + reach) K_r phi = 0 as a generalised eigenproblem
    size = 2 * reach * n
    a, b = np.zeros((size, size)), np.eye(size)
    a[: size - n, n:] = np.eye(size - n)
    for i in range(2 * reach):
        a[size - n :, i * n : (i + 1) * n] = -blocks[i]
    b[size - n :, size - n :] = blocks[-1]
    factors, vectors = scipy.linalg.eig(a, b)
    return factors, vectors[:n], np.array(blocks)


def scattering(host: LCAOMatrices, energy: float, defect_h: Floats, defect_s: Floats) -> Waves:
    """Scattering by a defect of an otherwise perfect chain.

    defect_h, defect_s : dense matrices of the cells -half..half; outside the chain is perfect, and so are the blocks
    between inside and outside. Their order may leave out cells only as NaN rows (removed orbitals).
    """
    n, reach = host.n, _range(host)
    half = (len(defect_h) // n - 1) // 2
    factors, vectors, blocks = _lead_waves(host, energy)
    spacing = host.cell[0, 0]
    outgoing: dict[str, list[int]] = {"left": [], "right": []}
    wave: dict[str, int] = {}
    speeds: dict[str, float] = {}
    for i, factor in enumerate(factors):
        if abs(abs(factor) - 1) < 1e-7:
            phi = vectors[:, i]
            weight, slope = 0.0 + 0.0j, 0.0 + 0.0j
            for r in range(-reach, reach + 1):
                h, s = host.block((r, 0, 0))
                weight += factor**r * (phi.conj() @ s @ phi)
                slope += 1j * r * spacing * factor**r * (phi.conj() @ (h - energy * s) @ phi)
            vectors[:, i] /= np.sqrt(weight.real)
            v = float((slope / weight).real)
            side = "right" if v > 0 else "left"
            if side in wave:
                raise ValueError("more than one pair of propagating waves")
            wave[side], speeds[side] = i, v
        else:
            side = "right" if abs(factor) < 1 else "left"
        outgoing[side].append(i)
    # the same phase for both waves of a pair: the left-moving one is the complex conjugate of the other
    vectors[:, wave["left"]] = vectors[:, wave["right"]].conj()

    first = -half - 2 * reach  # cells whose amplitudes enter any equation
    cells = np.arange(first, half + 2 * reach + 1)
    inner = 2 * half + 1
    rows = np.arange(-half - reach, half + reach + 1)
    matrix = np.zeros((len(rows) * n, len(cells) * n), complex)
    for i, row in enumerate(rows):
        for r in range(-reach, reach + 1):
            j = row + r - first
            matrix[i * n : (i + 1) * n, j * n : (j + 1) * n] = blocks[r + reach]
    gone = np.isnan(np.diag(defect_h))
    inside = slice(reach * n, (reach + inner) * n)
    columns = slice(2 * reach * n, (2 * reach + inner) * n)
    matrix[inside, columns] = np.nan_to_num(energy * defect_s - defect_h)

    def ansatz(i: int, side: str) -> Complexes:
        """Wave i on the lead at `side`, scaled to one at the lead's first cell."""
        out = np.zeros(len(cells) * n, complex)
        origin = 0 if i in wave.values() else (-half - 1 if side == "left" else half + 1)
        for c, cell in enumerate(cells):
            if (side == "left" and cell < -half) or (side == "right" and cell > half):
                out[c * n : (c + 1) * n] = factors[i] ** (cell - origin) * vectors[:, i]
        return out

    basis = np.zeros((len(cells) * n, inner * n + 2 * reach * n), complex)
    basis[columns, : inner * n] = np.eye(inner * n)
    for j, i in enumerate(outgoing["left"]):
        basis[:, inner * n + j] = ansatz(i, "left")
    for j, i in enumerate(outgoing["right"]):
        basis[:, inner * n + reach * n + j] = ansatz(i, "right")
    system = matrix @ basis
    removed = np.flatnonzero(gone)
    system[reach * n + removed] = 0.0
    system[reach * n + removed, removed] = 1.0
    results = {}
    for side, incoming in (("left", wave["right"]), ("right", wave["left"])):
        rhs = -matrix @ ansatz(incoming, side)
        rhs[reach * n + removed] = 0.0
        results[side] = np.linalg.solve(system, rhs)
    back = inner * n + outgoing["left"].index(wave["left"])
    onward = inner * n + reach * n + outgoing["right"].index(wave["right"])
    k = float(np.angle(factors[wave["right"]]) / spacing)
    return Waves(
        k=k,
        v=speeds["right"],
        r=results["left"][back],
        t=results["left"][onward],
        r_right=results["right"][onward],
        t_right=results["right"][back],
        left=results["left"][: inner * n],
        right=results["right"][: inner * n],
    )


def scattering_density(host: LCAOMatrices, waves: Waves) -> Complexes:
    """X B X^dagger from states: (2/N_k) sum delta(E - e) v psi psi^dagger = (a/pi)(psi+ psi+^dagger - psi- psi-^dagger).

    (1/N_k) sum_k = a integral dk/2pi, delta(E - e) = delta(k - k_F)/|v|, two spins.
    """
    plus, minus = waves.left, waves.right
    return host.cell[0, 0] / np.pi * (np.outer(plus, plus.conj()) - np.outer(minus, minus.conj()))


# --- defects ---------------------------------------------------------------------------------------------------------


def dense_chain(host: LCAOMatrices, half: int) -> tuple[Floats, Floats]:
    """Perfect H, S on the cells -half..half."""
    cells = range(-half, half + 1)
    parts = [[host.block((j - i, 0, 0)) for j in cells] for i in cells]
    return np.block([[p[0] for p in row] for row in parts]), np.block([[p[1] for p in row] for row in parts])


def chain_sites(half: int) -> tuple[RegionSites, Floats]:
    cells = np.array([[i, 0, 0] for i in range(-half, half + 1)])
    return RegionSites(cells, np.zeros(len(cells), int)), np.abs(cells[:, 0]).astype(float)


def derivative(of: Callable[[float], Floats], at: float, step: float = 1e-3) -> Floats:
    """df/du by a five-point difference (error of order step^4)."""
    return (8 * (of(at + step) - of(at - step)) - (of(at + 2 * step) - of(at - 2 * step))) / (12 * step)


def chain_defect(
    host: LCAOMatrices,
    matrices: Callable[[float], tuple[Floats, Floats]],
    u: float,
    half: int,
    removed: Ints | None = None,
    step: float = 1e-3,
) -> Perturbation:
    """Perturbation of a chain by H'(u), S'(u) on the cells -half..half (without `removed` ones), then new orbitals."""
    sites, distance = chain_sites(half)
    gone = np.zeros(len(distance), bool)
    if removed is not None:
        gone[removed + half] = True
    h0, s0 = dense_chain(host, half)
    keep = np.flatnonzero(~np.repeat(gone, host.n))
    h0, s0 = h0[np.ix_(keep, keep)], s0[np.ix_(keep, keep)]
    h, s = matrices(u)
    dh, ds = h.copy(), s.copy()
    dh[: len(h0), : len(h0)] -= h0
    ds[: len(h0), : len(h0)] -= s0
    gradient_h, gradient_s = np.full((3, *h.shape), np.nan), np.full((3, *h.shape), np.nan)
    gradient_h[0] = derivative(lambda x: matrices(x)[0], u, step)
    gradient_s[0] = derivative(lambda x: matrices(x)[1], u, step)
    return Perturbation(
        sites=RegionSites(sites.cells[~gone], sites.atoms[~gone]),
        removed=RegionSites(sites.cells[gone], sites.atoms[gone]),
        site_distance=distance[~gone],
        removed_distance=distance[gone],
        site_orbitals=np.full(int((~gone).sum()), host.n),
        new_orbitals=len(h) - len(h0),
        dh=dh,
        ds=ds,
        gradient_h=gradient_h,
        gradient_s=gradient_s,
        alignment=0.0,
        far_deviation=0.0,
        curvature=0.0,
    )


def chain_tables(host: LCAOMatrices, energy: float, half: int, sigma: float = CHAIN_SIGMA) -> list[HostTables]:
    """Tables at sigma and twice that, for extrapolation to a sharp delta.

    sigma must exceed the level spacing 2 pi v/(N a) of the mesh, or the sums depend on where the levels lie.
    """
    R = np.array([[i, 0, 0] for i in range(-2 * half, 2 * half + 1)])
    return host_tables(host, CHAIN_MESH, np.array([energy]), (sigma, 2 * sigma), R, np.arange(host.n))


def chain_wind(
    host: LCAOMatrices, energy: float, perturbation: Perturbation, radius: float, tables: list[HostTables] | None = None
) -> float:
    """m[x, x], extrapolated to a sharp delta (the error of a Gaussian is of order sigma^2)."""
    half = int(np.abs(perturbation.sites.cells).max())
    tables = chain_tables(host, energy, half) if tables is None else tables
    sharp, wide = (wind_xx(t, host, perturbation, radius) for t in tables)
    return (4 * sharp.m[0, 0] - wide.m[0, 0]) / 3


def wind_xx(tables: HostTables, host: LCAOMatrices, perturbation: Perturbation, radius: float) -> Wind:
    return wind(tables, 0, host.offsets, perturbation, radius)


# --- two-centre crystals of any geometry, and their supercells as a plane-wave-like code would deliver them ----------


@dataclass(frozen=True)
class TwoCentre:
    """s (one orbital) or s, px, pz (three orbitals) on each atom, functions of the distance that end at `cutoff`.

    On-site energies feel the neighbours too, so that a defect changes more than its own rows.
    """

    cutoff: float
    length: float

    def radial(self, d: float) -> float:
        return float(np.exp(-((d / self.length) ** 2)) * max(0.0, 1 - (d / self.cutoff) ** 2) ** 3)

    def pair(self, vector: Floats, left: int, right: int) -> tuple[Floats, Floats]:
        """<left at 0|H, S|right at vector>."""
        d = float(np.linalg.norm(vector))
        f = self.radial(d)
        unit = vector[[0, 2]] / d
        h, s = np.empty((3, 3)), np.empty((3, 3))
        h[0, 0], s[0, 0] = -4.0 * f, 0.35 * f
        h[0, 1:], s[0, 1:] = 3.0 * f * unit, -0.25 * f * unit
        h[1:, 0], s[1:, 0] = -h[0, 1:], -s[0, 1:]
        h[1:, 1:] = f * (4.5 * np.outer(unit, unit) - 1.0 * np.eye(2))
        s[1:, 1:] = f * (-0.4 * np.outer(unit, unit) + 0.1 * np.eye(2))
        return h[:left, :right], s[:left, :right]

    def matrices(self, cell: Floats, positions: Floats, energies: Floats, orbitals: Ints, reach: Ints) -> LCAOMatrices:
        """H(R), S(R) of a crystal; `energies` (atoms,) s on-site energy each, `reach` (3,) largest |R| per axis."""
        R = np.array(list(np.ndindex(*(2 * np.asarray(reach) + 1)))) - reach
        offsets = np.concatenate([[0], np.cumsum(orbitals)])
        n = int(offsets[-1])
        h, s = np.zeros((len(R), n, n)), np.zeros((len(R), n, n))
        centre = len(R) // 2
        for a in range(len(positions)):
            rows = slice(int(offsets[a]), int(offsets[a + 1]))
            h[centre, rows, rows] += np.diag([energies[a], energies[a] + 5.0, energies[a] + 5.0])[: orbitals[a], : orbitals[a]]
            s[centre, rows, rows] += np.eye(orbitals[a])
            for b in range(len(positions)):
                cols = slice(int(offsets[b]), int(offsets[b + 1]))
                vectors = R @ cell + positions[b] - positions[a]
                for i in np.flatnonzero(np.linalg.norm(vectors, axis=1) < self.cutoff):
                    d = float(np.linalg.norm(vectors[i]))
                    if d < 1e-9:
                        continue
                    h[i, rows, cols], s[i, rows, cols] = self.pair(vectors[i], int(orbitals[a]), int(orbitals[b]))
                    h[centre, rows, rows] -= 0.5 * (1 + 0.2 * energies[b]) * self.radial(d) * np.eye(orbitals[a])
        return LCAOMatrices(cell, positions, orbitals, R, h, s)


def fold(matrices: LCAOMatrices, mesh: tuple[int, int, int]) -> LCAOMatrices:
    """The same crystal as a k-mesh delivers it: by A(k) and back, R known modulo the mesh only."""
    grid = np.array(list(np.ndindex(*mesh)))
    inverse = np.exp(-2j * np.pi * (grid @ (grid / np.array(mesh)).T)) / len(grid)
    parts = [
        np.real(inverse @ a.reshape(len(grid), -1)).reshape(-1, matrices.n, matrices.n)
        for a in matrices.at(grid / np.array(mesh))
    ]
    return LCAOMatrices(matrices.cell, matrices.positions, matrices.orbitals, grid, *parts)
