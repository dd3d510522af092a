"""A defect whose orbitals carry the host's couplings across the edge of the region, so that nothing is cut there.

Where a region cuts the overlap of a displaced orbital with the atoms beyond its edge, S' of the whole crystal need not be
positive definite any more: G'(z) then has poles far off the real axis, and an integral over all frequencies notices. Here the
orbitals of the region, R, are written in those of the host and the new ones, phi' = phi F, with

    F^T S0 F = S'                       on R, S0 the host's overlap, on new orbitals S' itself

and beyond the edge S'(R, out) = F^T S0(R, out), likewise H' and the position r. The overlap of the whole is a congruence of
S0, and positive definite. With every operator on R taken to the other basis, A'' = F^-T A F^-1, S' - S0 is gone but for the new
orbitals, and the embedding is used as it is. r = d + 1/2 {S, X} and the derivatives transform as matrices, not d and M0, which
hold the places X of the orbitals:

    d'' = r'' - 1/2 {S'', X}            M0'' = (dr/du)'' - B''^T X - X B'',     B = 1/2 dS/du + a

Of all F with F^T S0 F = S' the symmetric positive one is taken, the geometric mean of S0^-1 and S'; the other that is 1 where
nothing changed, with S0 F symmetric, tells by how much the choice matters:

    F = S0^-1/2 (S0^1/2 S' S0^1/2)^1/2 S0^-1/2        or        F = S0^-1/2 (S0^-1/2 S' S0^-1/2)^1/2 S0^1/2

S' on R has to be positive definite itself. In a small cell it is not on a large region, which holds pairs of an atom and another
one's periodic copy that the supercell does not tell apart from what a single defect has: `usable_radius` ends the region before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, eigsh

from emforce.errors import EmforceError
from emforce.physics.direct_embedding import EmbeddedMover, Host, Region, embedded_region, host_dipoles
from emforce.physics.embedding import RegionSites
from emforce.physics.lcao import Floats
from emforce.physics.perturbation import host_matrix
from emforce.physics.wind import region

#: least eigenvalue of S' on a region, as a share of the host's on the same sites
LEAST_SHARE = 0.2
#: matrices smaller than this are diagonalised as a whole
_SMALL = 32


def orbital_change(s0: Floats, s: Floats, other: bool = False) -> Floats:
    """F with F^T s0 F = s: the symmetric positive one, or the `other`, with s0 F symmetric and positive.

    Raises
    ------
    EmforceError where one of the two overlaps (n, n) is not positive definite
    """
    root, inverse = _roots(s0)
    if other:
        middle, _ = _roots(inverse @ s @ inverse)
        return inverse @ middle @ root
    middle, _ = _roots(root @ s @ root)
    return inverse @ middle @ inverse


def _roots(s: Floats) -> tuple[Floats, Floats]:
    """s^1/2 and s^-1/2."""
    e, v = np.linalg.eigh(s)
    if e[0] <= 0:
        raise EmforceError(f"an overlap matrix of a region has the eigenvalue {e[0]:.2e}; all must be above zero")
    return (v * np.sqrt(e)) @ v.T, (v / np.sqrt(e)) @ v.T


def carried(mover: EmbeddedMover, host: Host, radius: float, other: bool = False) -> EmbeddedMover:
    """The mover on its region of `radius` (Angstrom) alone, in orbitals that carry the host's couplings beyond it.

    `other` : take the other F

    Raises
    ------
    InputError as `emforce.physics.wind.region`; EmforceError where an overlap on the region is not positive definite
    """
    p = mover.perturbation
    kept, removed = region(p, radius)
    r = embedded_region(mover, host, radius)
    pick, n, old = r.pick, len(r.pick), len(r.pick) - r.new
    sites = _kept_sites(r, len(kept))
    h0, s0 = host_matrix(host.matrices, sites)
    h0 = _larger(h0 - host.energy_shift * s0, n)
    d0 = np.array([_larger(x, n) for x in host_dipoles(host.connection, sites)])
    square = np.ix_(pick, pick)
    h, s = h0 + p.dh[square], _larger(s0, n) + p.ds[square]
    new = np.zeros((n, n))
    new[old:, old:] = s[old:, old:]
    metric = _larger(s0, n) + new
    c = np.linalg.inv(orbital_change(metric, s, other))

    def turned(a: Floats) -> Floats:
        return np.asarray(c.T @ a @ c)

    gradient_h, gradient_s, a = (np.array([turned(x[square]) for x in y]) for y in (p.gradient_h, p.gradient_s, mover.a))
    x = mover.positions[pick]
    d_change, m0 = np.empty((3, n, n)), np.empty((3, 3, n, n))
    for k in range(3):
        position = d0[k] + mover.d_change[k][square] + _between(s, x[:, k])
        d_change[k] = turned(position) - _between(metric, x[:, k]) - d0[k]
        for u in range(3):
            b = 0.5 * p.gradient_s[u][square] + mover.a[u][square]
            moved = mover.m0[u, k][square] + b.T * x[:, k] + x[:, k, None] * b
            b = 0.5 * gradient_s[u] + a[u]
            m0[u, k] = turned(moved) - b.T * x[:, k] - x[:, k, None] * b
    made = replace(
        p, sites=RegionSites(p.sites.cells[kept], p.sites.atoms[kept]),
        removed=RegionSites(p.removed.cells[removed], p.removed.atoms[removed]),
        site_distance=p.site_distance[kept], removed_distance=p.removed_distance[removed],
        site_orbitals=p.site_orbitals[kept], dh=turned(h) - h0, ds=new, gradient_h=gradient_h, gradient_s=gradient_s)
    return EmbeddedMover(made, x, d_change, a, m0, mover.valence)


def usable_radius(movers: Sequence[EmbeddedMover], host: Host, radius: float) -> float:
    """The largest radius up to `radius` (Angstrom), shell by shell, on whose region each mover's S' is safely positive definite.

    Raises
    ------
    EmforceError where there is none that holds the removed sites and a neighbour
    """
    shells = {round(float(d), 3) for m in movers for d in m.perturbation.site_distance if d < radius}
    least = max(max(m.perturbation.removed_distance.max(initial=0.0), m.perturbation.site_distance.min()) for m in movers)
    for tried in [radius, *(shell + 1e-3 for shell in sorted(shells, reverse=True) if shell + 1e-3 < radius)]:
        if tried >= least and all(_is_safe(m, host, tried) for m in movers):
            return tried
    raise EmforceError(f"no region of up to {radius:g} Angstrom has a positive definite overlap: the supercell is too small")


def _is_safe(mover: EmbeddedMover, host: Host, radius: float) -> bool:
    kept, _ = region(mover.perturbation, radius)
    r = embedded_region(mover, host, radius)
    _, s0 = host_matrix(host.matrices, _kept_sites(r, len(kept)))
    s = _larger(s0, len(r.pick)) + mover.perturbation.ds[np.ix_(r.pick, r.pick)]
    try:
        scipy.linalg.cholesky(s - LEAST_SHARE * least_eigenvalue(s0) * np.eye(len(s)), lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return False
    return True


def least_eigenvalue(s: Floats) -> float:
    """Smallest eigenvalue of a symmetric positive definite matrix (n, n), by Lanczos steps with its inverse.

    Raises
    ------
    numpy.linalg.LinAlgError where it is not positive definite
    """
    factor = scipy.linalg.cho_factor(s, lower=True, check_finite=False)
    if len(s) < _SMALL:
        return float(np.linalg.eigvalsh(s)[0])
    inverse = LinearOperator(s.shape, matvec=lambda x: scipy.linalg.cho_solve(factor, x, check_finite=False), dtype=float)
    start = np.linspace(1.0, 2.0, len(s))  # the same each time, so that a result is
    return float(1 / eigsh(inverse, k=1, v0=start, tol=1e-10, return_eigenvectors=False)[0])


def _kept_sites(r: Region, count: int) -> RegionSites:
    """The first `count` sites of a region, those with an atom, in the embedding host."""
    return RegionSites(r.sites.cells[:count], r.sites.atoms[:count])


def _larger(a: Floats, n: int) -> Floats:
    """With rows and columns of zeros for new orbitals."""
    out = np.zeros((n, n))
    out[: len(a), : len(a)] = a
    return out


def _between(s: Floats, x: Floats) -> Floats:
    """1/2 {s, x}, x (n,) the places of the orbitals."""
    return np.asarray(0.5 * s * (x[:, None] + x[None, :]))


__all__ = ["carried", "least_eigenvalue", "orbital_change", "usable_radius"]
