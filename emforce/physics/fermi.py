"""Fermi-surface properties of a host and its Green-function and current tables.

    DOS = (2/N_k) sum_nk delta(E - e)                       per cell and eV
    N_ab = (2/N_k) sum_nk delta(E - e) v_a v_b              per cell, eV A^2 (e = hbar = 1)
    sigma = e^2 tau N / Omega,   (hbar omega_p)^2 = e^2 N / (eps0 Omega)
    1/(rho lambda) = e^2 (2/N_k) sum_nk delta(E - e) v_b^2 / |v| / Omega
    G0(E) = sum_nk c c^dagger g(E - e),  g = -i sqrt(pi/2)/sigma w((E - e)/(sqrt2 sigma))
    B_b(E) = (2/N_k) sum_nk delta(E - e) v_b c c^dagger     current matrix

delta is a Gaussian of width sigma and g its Hilbert partner (w: Faddeeva function): Lorentzian tails of d bands
would spoil every one of these sums. A mesh is shifted by half a step, so that no k-point is its own negative and time
reversal e(-k) = e(k), c(-k) = c(k)* halves the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfc, wofz

from emforce.errors import ConvergenceError, InputError
from emforce.physics.lattice_sum import MeshBlock
from emforce.physics.lcao import (
    Bloch,
    Complexes,
    Floats,
    Ints,
    LCAOMatrices,
    eigenstates,
    eigenvalues,
    velocities,
)
from emforce.physics.primitive import FoldedSum, Folding, folding
from emforce.physics.spin_orbit import PAULI, SpinOrbit
from emforce.units import epsilon0

#: bytes that one block of k-points may take while tables are summed
_BLOCK_BYTES = 2**26
#: a Gaussian farther than this many widths from its centre is below 1e-15 of its peak
_REACH = 8.5


def gaussian(x: Floats, sigma: float) -> Floats:
    """delta(x) as a Gaussian of width sigma, 1/eV."""
    return np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def gaussian_green(x: Floats, sigma: float) -> Complexes:
    """g(x) = integral of gaussian(y)/(x - y + i0) dy, 1/eV; -Im g/pi is `gaussian`, and g -> 1/x far away."""
    return np.asarray(-1j * np.sqrt(np.pi / 2) / sigma * wofz(x / (np.sqrt(2) * sigma)))


def half_mesh(mesh: tuple[int, int, int]) -> Floats:
    """One of each pair k, -k of the mesh shifted by half a step; an axis with one point stays at k = 0.

    The whole mesh has prod(mesh) points; the first axis with several points must have an even number.
    """
    axis = next((i for i in range(3) if mesh[i] > 1), None)
    if axis is None or mesh[axis] % 2:
        raise InputError("mesh", mesh, "an even number of k-points along the first sampled axis")
    half = list(mesh)
    half[axis] //= 2
    shift = np.where(np.array(mesh) > 1, 0.5, 0.0)
    return (np.array(list(np.ndindex(*half))) + shift) / np.array(mesh)


def _block_size(matrices: Bloch) -> int:
    """Number of k-points for which one complex matrix, or one Bloch phase per translation, fits into _BLOCK_BYTES."""
    return max(1, _BLOCK_BYTES // (16 * max(matrices.n**2, len(matrices.R))))


def _blocks(k: Floats, matrices: Bloch) -> Iterator[Floats]:
    size = _block_size(matrices)
    for start in range(0, len(k), size):
        yield k[start : start + size]


@dataclass(frozen=True)
class FermiSurface:
    """Numbers of a host at its Fermi energy; Gaussian delta of width `sigma`.

    Attributes
    ----------
    fermi_energy : eV, on the energy scale of the matrices
    dos : per eV and cell, both spins
    n_tensor : (3, 3) N_ab, eV A^2 per cell
    inverse_rho_lambda : (3,) per axis, 1/A^2 in units hbar/e^2 = 1 (rho lambda in A^2)
    volume : of the cell, A^3
    sigma : width of the delta, eV
    mesh : k-points along each axis
    """

    fermi_energy: float
    dos: float
    n_tensor: Floats
    inverse_rho_lambda: Floats
    volume: float
    sigma: float
    mesh: tuple[int, int, int]

    @property
    def n_cubic(self) -> float:
        """N averaged over the three axes, eV A^2 per cell; the N of a cubic metal."""
        return float(np.trace(self.n_tensor) / 3)

    @property
    def plasma_energy(self) -> float:
        """hbar omega_p of a cubic metal, eV."""
        return float(np.sqrt(self.n_cubic / (epsilon0 * self.volume)))

    def relaxation_time(self, rho: float) -> float:
        """tau = Omega / (rho N) in hbar/eV, for a resistivity rho in Angstrom (units hbar/e^2)."""
        return self.volume / (rho * self.n_cubic)

    @property
    def rho_lambda(self) -> float:
        """rho times mean free path, A^2 (units hbar/e^2), averaged over the axes."""
        return float(1 / np.mean(self.inverse_rho_lambda))


def band_energies(matrices: Bloch, k: Floats) -> Floats:
    """Band energies (nk, n), eV, at fractional k-points (nk, 3)."""
    return np.concatenate([eigenvalues(*matrices.at(part)) for part in _blocks(k, matrices)])


def level_on_mesh(
    matrices: LCAOMatrices | SpinOrbit, mesh: tuple[int, int, int], electrons: float, sigma: float
) -> float:
    """E_F of a host (eV) on a shifted mesh, from the bands of its primitive cell."""
    folded, own, spins = _primitive(matrices)
    k = half_mesh(mesh)
    bands = [band_energies(own, folded.k(k + shift)) for shift in folded.shifts]
    return fermi_energy(np.concatenate(bands, axis=1), spins * electrons, sigma)


def bands_and_velocities(matrices: Bloch, k: Floats) -> tuple[Floats, Floats]:
    """Energies (nk, n), eV, and velocities (3, nk, n), eV A, at fractional k-points."""
    energies, speeds = [], []
    for part in _blocks(k, matrices):
        e, c = eigenstates(*matrices.at(part))
        energies.append(e)
        speeds.append([velocities(c, e, *matrices.gradient(part, axis)) for axis in range(3)])
    return np.concatenate(energies), np.concatenate(speeds, axis=1)


def fermi_energy(energies: Floats, electrons: float, sigma: float) -> float:
    """E_F from (2/N_k) sum erfc((e - E_F)/(sqrt2 sigma))/2 = electrons; energies (nk, n), all k of equal weight."""
    return _weighted_fermi_energy(energies, np.full(len(energies), 1 / len(energies)), electrons, sigma)


def _weighted_fermi_energy(energies: Floats, weights: Floats, electrons: float, sigma: float) -> float:
    if not 0 < electrons < 2 * energies.shape[1]:
        raise InputError("electrons", electrons, f"between 0 and {2 * energies.shape[1]} (two per orbital)")

    def excess(level: float) -> float:
        return float(weights @ erfc((energies - level) / (np.sqrt(2) * sigma)).sum(axis=1) - electrons)

    low, high = float(energies.min()) - 10 * sigma, float(energies.max()) + 10 * sigma
    level = brentq(excess, low, high, xtol=1e-10)
    if abs(excess(level)) > 1e-6 * max(electrons, 1.0):
        raise ConvergenceError(f"Fermi energy: electron count off by {excess(level):.2e}; use a denser mesh")
    return float(level)


def surface_from_bands(
    energies: Floats,
    v: Floats,
    level: float,
    sigma: float,
    volume: float,
    mesh: tuple[int, int, int],
    weights: Floats | None = None,
    per_band: int = 2,
) -> FermiSurface:
    """Sums over the Fermi surface at `level` from bands (nk, n) and velocities (3, nk, n); weights average to 1.

    `per_band` : electrons that a band holds at each k, 2, or 1 for bands of spinors.
    """
    weight = per_band / len(energies) * gaussian(energies - level, sigma)
    if weights is not None:
        weight = weight * weights[:, None]
    speed = np.linalg.norm(v, axis=0)
    return FermiSurface(
        fermi_energy=level,
        dos=float(weight.sum()),
        n_tensor=np.einsum("kn,akn,bkn->ab", weight, v, v),
        inverse_rho_lambda=np.array([(weight * va**2 / np.maximum(speed, 1e-12)).sum() for va in v]) / volume,
        volume=volume,
        sigma=sigma,
        mesh=mesh,
    )


def fermi_surface(
    matrices: LCAOMatrices, electrons: float, mesh: tuple[int, int, int], sigma: float
) -> FermiSurface:
    """Recount the electrons on `mesh` and sum over the Fermi surface.

    Time reversal leaves N_ab, DOS and rho lambda unchanged, so half the mesh is enough. The Fermi energy of a
    self-consistent calculation is off by up to 0.1 eV; this one is not.
    """
    energies, v = bands_and_velocities(matrices, half_mesh(mesh))
    level = fermi_energy(energies, electrons, sigma)
    return surface_from_bands(energies, v, level, sigma, matrices.volume, mesh)


def cubic_fermi_surfaces(
    matrices: Bloch,
    electrons: float,
    k: Floats,
    weights: Floats,
    sigmas: tuple[float, ...],
    mesh: tuple[int, int, int],
    per_band: int = 2,
) -> list[FermiSurface]:
    """The sums of a cubic crystal for several widths, from inequivalent k-points (nk, 3) and their weights (sum 1).

    N_ab and 1/(rho lambda) are averaged over the axes, which the point group of a cubic crystal makes exact. `per_band`:
    electrons that a band holds at each k, 2, or 1 for bands of spinors.
    """
    energies, v = bands_and_velocities(matrices, k)
    count = len(weights)
    found = []
    for sigma in sigmas:
        level = _weighted_fermi_energy(energies, weights, electrons * (2 / per_band), sigma)
        surface = surface_from_bands(energies, v, level, sigma, matrices.volume, mesh, count * weights, per_band)
        isotropic = np.eye(3) * surface.n_cubic
        average = np.full(3, surface.inverse_rho_lambda.mean())
        found.append(replace(surface, n_tensor=isotropic, inverse_rho_lambda=average))
    return found


@dataclass(frozen=True)
class HostTables:
    """G0 and B between the orbitals `orbitals` of cells 0 and R, at several energies.

    Attributes
    ----------
    energies : (nE,) eV
    sigma : Gaussian width, eV
    R : (nR, 3), closed under R -> -R
    orbitals : (m,) orbitals of the host cell that the tables keep
    g : (nE, nR, m, m) <0|G0(E)|R>, 1/eV
    b : (nE, 3, nR, m, m) current matrices for a field along x, y, z, Angstrom
    spins : 1; 2 for spinors, where m counts every orbital with spin up and then every one with spin down
    """

    energies: Floats
    sigma: float
    R: Ints
    orbitals: Ints
    g: Complexes
    b: Complexes
    spins: int = 1


def host_tables(
    matrices: LCAOMatrices | SpinOrbit,
    mesh: tuple[int, int, int],
    energies: Floats,
    sigmas: tuple[float, ...],
    R: Ints,
    orbitals: Ints,
    check_at: int | None = None,
) -> list[HostTables]:
    """Tables of G0 and B for every width in `sigmas`, from one pass over the k-mesh.

    With `check_at` the widths after the first, which measure an error, are tabulated at that one of the energies only.

    With P(R) = sum over half the mesh of exp(-2 pi i k.R) A(k), time reversal gives G(R) = P(R) + P(-R)^T and, as v is
    odd, B(R) = P(R) - P(-R)^T. B is Hermitian in (0, R) and purely odd, which is checked by a test. The spinors of a crystal
    with spin-orbit coupling have G(R) = P(R) + U P(-R)^T U^dagger and B(R) = P(R) - U P(-R)^T U^dagger, U = i sigma_y; each
    holds one electron, so that B has no factor 2. The two of a Kramers pair have one velocity where there is inversion.
    """
    folded, own, spins = _primitive(matrices)
    sums = FoldedSum(folded, half_mesh(mesh), R, orbitals)
    total = int(np.prod(mesh))
    # no velocity across a slab: all of its translations lie in the plane
    axes = [axis for axis in range(3) if np.abs((matrices.R @ matrices.cell)[:, axis]).max() > 1e-9]
    wanted = [energies if i == 0 or check_at is None else energies[[check_at]] for i in range(len(sigmas))]
    g = [sums.zeros(len(at), spins, spins) for at in wanted]
    b = [sums.zeros(len(at), 3, spins, spins) for at in wanted]
    size = len(sums.kept)
    chosen = np.concatenate([spin * (own.n // spins) + sums.kept for spin in range(spins)])

    def add(block: MeshBlock, out: Complexes, a: Complexes) -> None:
        for s, t in np.ndindex(spins, spins):
            block.add(out[s, t], a[:, s * size : (s + 1) * size, t * size : (t + 1) * size])

    for block in sums.blocks(_block_size(own)):
        part = folded.k(block.points)
        e, c = eigenstates(*own.at(part))
        # only states near some energy carry current there: their velocities are enough
        current_states = np.flatnonzero((np.abs(e[..., None] - energies) < _REACH * max(sigmas)).any(axis=(0, 2)))
        c_near, e_near = c[:, :, current_states], e[:, current_states]
        v = {axis: velocities(c_near, e_near, *own.gradient(part, axis)) for axis in axes}
        kept = c[:, chosen, :]
        kept_dagger = kept.conj().swapaxes(1, 2)
        for i, sigma in enumerate(sigmas):
            for j, energy in enumerate(wanted[i]):
                green = (kept * gaussian_green(energy - e, sigma)[:, None, :]) @ kept_dagger
                add(block, g[i][j], green)
                near = np.flatnonzero((np.abs(energy - e_near) < _REACH * sigma).any(axis=0))
                delta = (2 / spins) * gaussian(energy - e_near[:, near], sigma)
                left, right = kept[:, :, current_states[near]], kept_dagger[:, current_states[near], :]
                for axis in axes:
                    current = (left * (delta * v[axis][:, near])[:, None, :]) @ right
                    add(block, b[i][j, axis], current)
    found = []
    for sigma, at, half_g, half_b in zip(sigmas, wanted, g, b, strict=True):
        green, current = (_joined(sums.whole(half)) for half in (half_g, half_b))
        green = (green + _reversed(green, sums.minus, spins)) / total
        current = (current - _reversed(current, sums.minus, spins)) / total
        found.append(HostTables(np.array(at), sigma, R, np.array(orbitals), green, current, spins))
    return found


def _primitive(matrices: LCAOMatrices | SpinOrbit) -> tuple[Folding, Bloch, int]:
    """The primitive cells of a host, its matrices in one of them, and the spins that its orbitals have."""
    if isinstance(matrices, LCAOMatrices):
        folded = folding(matrices)
        return folded, folded.matrices(matrices), 1
    folded = folding(matrices.scalar, *((matrices.translations, a) for a in matrices.a))
    if folded.count == 1:
        return folded, matrices, 2
    tables = [folded.table(matrices.translations, a) for a in matrices.a]
    operator = np.array([a for _, a in tables])
    return folded, SpinOrbit(folded.matrices(matrices.scalar), tables[0][0], operator, matrices.axes), 2


def _joined(blocks: Complexes) -> Complexes:
    """(..., nR, spins m, spins m) of (..., spins, spins, nR, m, m)."""
    spins, m = blocks.shape[-4], blocks.shape[-1]
    moved = np.moveaxis(blocks, (-5, -4, -3, -2, -1), (-4, -2, -5, -3, -1))
    return moved.reshape(*moved.shape[:-4], spins * m, spins * m)


def _reversed(table: Complexes, minus: Ints, spins: int) -> Complexes:
    """A(-R)^T, of spinors U A(-R)^T U^dagger with U = i sigma_y: what the other half of the mesh adds by time reversal."""
    other = table[..., minus, :, :].swapaxes(-1, -2)
    if spins == 1:
        return other
    u = np.kron(1j * PAULI[1], np.eye(table.shape[-1] // 2))
    return np.asarray(u @ other @ u.conj().T)
