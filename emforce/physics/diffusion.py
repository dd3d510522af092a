r"""Random walk on a periodic network of sites: long-time diffusivity, and the correlation factor of the vacancy mechanism.

An atom on a site of kind a hops with rate Gamma_k from site a(k) to site b(k) along the vector d_k. With the rate matrix
L_ab = sum of the rates from a to b (rows add up to zero), the stationary share p of time on each kind and the mean
velocity b_a = sum_k Gamma_k d_k of each kind,

    p L = 0, sum p = 1,   v = sum_a p_a b_a,   L chi = -(b - v 1)

    D = 1/2 sum_k p_a(k) Gamma_k e_k e_k^T,    e_k = d_k + chi_b(k) - chi_a(k)

chi (kinds, dimensions) is the corrector: what the kind of site still promises in displacement; it takes the correlation of
successive hops into account exactly, and D is positive semidefinite whatever the rates. One kind of site: chi = 0 and
D = 1/2 sum_k Gamma_k d_k d_k^T.

Correlation factor of a tracer that a single vacancy moves on a lattice with one site (z neighbours at n_k): the mean cosine
of the angle between successive moves of the tracer, and from it f, are

    c = -(1/z) sum_k cos(n_1, n_k) G(n_k - n_1),    f = (1 + c)/(1 - c)

G(x) = int d^3q/(2 pi)^3 cos(q x)/(1 - lambda(q)), lambda = (1/z) sum_k cos(q n_k), the expected number of visits of a free
walk to x: the part of the visits that the tracer's own site blocks is the same for all k and drops out with sum_k cos = 0.

Sources: the diffusivity is that of J. R. Manning, Diffusion Kinetics for Atoms in Crystals (1968) and D. R. Trinkle,
Philos. Mag. 96, 2714 (2016), written with a corrector; the correlation factor follows K. Compaan, Y. Haven, Trans. Faraday
Soc. 52, 786 (1956) and H. L. Montet, Phys. Rev. B 7, 650 (1973). Both are derived again here; the diffusivity is tested
against onsager (PyPI), which gives the same f (difference below 2e-6 for fcc).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
#: points per axis of the grid over q; the error of f is below 1e-6 (test: 16 points give 2e-5)
_Q_POINTS = 32


def network_diffusivity(origin: ArrayLike, target: ArrayLike, vectors: ArrayLike, rates: ArrayLike) -> Floats:
    """Long-time diffusivity D (n, n) of one walker on a periodic network, in length²·rate units of the input.

    Parameters
    ----------
    origin, target : (hops,) kind of the site that each hop leaves and reaches, from 0
    vectors : (hops, n) displacement of each hop
    rates : (hops,) rate of each hop, not negative

    D is defined by <(x - v t)(x - v t)^T> -> 2 D t. Hops must lead from each kind to each other one.

    Raises
    ------
    InputError : shapes that do not match, a rate that is negative or not finite, kinds that fall into separate networks
    """
    start, end, d, gamma = _checked_hops(origin, target, vectors, rates)
    kinds = int(max(start.max(), end.max())) + 1
    scale = float(gamma.max())
    gamma = gamma / scale
    generator = np.zeros((kinds, kinds))
    np.add.at(generator, (start, end), gamma)
    np.add.at(generator, (start, start), -gamma)
    share = _stationary(generator)
    drift = np.zeros((kinds, d.shape[1]))
    np.add.at(drift, start, gamma[:, None] * d)
    corrector = np.linalg.lstsq(generator, -(drift - share @ drift), rcond=None)[0]
    moves = d + corrector[end] - corrector[start]
    return np.asarray(0.5 * scale * np.einsum("k,ki,kj->ij", share[start] * gamma, moves, moves))


def stationary_shares(origin: ArrayLike, target: ArrayLike, rates: ArrayLike) -> Floats:
    """(kinds,) share of time on each kind of site, adding up to 1. Raises `InputError` as `network_diffusivity` does."""
    rates = np.asarray(rates, dtype=float)
    start, end, _, gamma = _checked_hops(origin, target, np.zeros((rates.size, 1)), rates)
    kinds = int(max(start.max(), end.max())) + 1
    generator = np.zeros((kinds, kinds))
    np.add.at(generator, (start, end), gamma / gamma.max())
    np.add.at(generator, (start, start), -gamma / gamma.max())
    return _stationary(generator)


def _stationary(generator: Floats) -> Floats:
    """Null vector of p L = 0 by the elimination of Grassmann, Taksar and Heyman, Oper. Res. 33, 1107 (1985).

    It subtracts nothing, so that shares many orders of magnitude apart keep their digits.
    """
    n = len(generator)
    rate = generator - np.diag(np.diag(generator))
    for last in range(n - 1, 0, -1):
        out = rate[last, :last].sum()
        if out <= 0:
            raise InputError("rates", generator.tolist(), "hops that lead from each kind of site to each other one")
        rate[:last, last] /= out
        rate[:last, :last] += np.outer(rate[:last, last], rate[last, :last])
    share = np.zeros(n)
    share[0] = 1.0
    for kind in range(1, n):
        share[kind] = share[:kind] @ rate[:kind, kind]
    return np.asarray(share / share.sum())


def _checked_hops(
    origin: ArrayLike, target: ArrayLike, vectors: ArrayLike, rates: ArrayLike
) -> tuple[Integers, Integers, Floats, Floats]:
    start, end = np.asarray(origin, dtype=np.intp), np.asarray(target, dtype=np.intp)
    d, gamma = np.asarray(vectors, dtype=float), np.asarray(rates, dtype=float)
    if start.ndim != 1 or not start.size or start.shape != end.shape or min(start.min(), end.min()) < 0:
        raise InputError("origin, target", (start.shape, end.shape), "two lists of kinds from 0, of one length")
    if d.ndim != 2 or len(d) != len(start) or not np.isfinite(d).all():
        raise InputError("vectors", d.shape, f"({len(start)}, dimensions) finite numbers")
    if gamma.shape != start.shape or not np.isfinite(gamma).all() or (gamma < 0).any() or not gamma.any():
        raise InputError("rates", gamma.tolist(), f"({len(start)},) finite numbers, none negative, one or more above zero")
    return start, end, d, gamma


@lru_cache(maxsize=16)
def vacancy_correlation_factor(neighbours: tuple[tuple[int, int, int], ...], points: int = _Q_POINTS) -> float:
    """Correlation factor f of tracer diffusion by single vacancies, all vacancy hops of one rate.

    Parameters
    ----------
    neighbours : the z neighbour vectors of a lattice with one site, in integers (fcc (1, 1, 0), ...; bcc (1, 1, 1), ...)
    points : even number of points per axis of the midpoint grid over q

    fcc 0.78145, bcc 0.72719, simple cubic 0.65311.

    Raises
    ------
    InputError : vectors that are not all there with their opposites, or of different length; an odd number of points
    """
    n = np.array(neighbours, dtype=float)
    opposites = {tuple(-x for x in v) for v in neighbours}
    if n.ndim != 2 or n.shape[1] != 3 or opposites != set(neighbours) or np.ptp((n**2).sum(axis=1)) > 0:
        raise InputError("neighbours", neighbours, "integer vectors of one length, each with its opposite")
    if points < 4 or points % 2:
        raise InputError("points", points, "an even number, 4 or more")
    axis = (np.arange(points) + 0.5) * 2 * math.pi / points
    grid = np.stack(np.meshgrid(axis, axis, axis[: points // 2], indexing="ij"), axis=-1).reshape(-1, 3)
    phases = grid @ n.T
    cosines = n @ n[0] / (n[0] @ n[0])
    weighted = (np.exp(1j * (phases - phases[:, :1])) @ cosines).real
    mean_cosine = -float((weighted / (1 - np.cos(phases).mean(axis=1))).mean()) / len(n)
    return (1 + mean_cosine) / (1 - mean_cosine)


def arrhenius(temperatures_K: ArrayLike, values: ArrayLike, k_boltzmann: float) -> tuple[float, float, float]:
    """ln values = ln D0 - E_a/(k_B T) by least squares: D0 (unit of the values), E_a (unit of k_B K), largest |deviation| of ln.

    Raises
    ------
    InputError : fewer than two temperatures, or anything not above zero
    """
    T, v = np.asarray(temperatures_K, dtype=float), np.asarray(values, dtype=float)
    if T.ndim != 1 or T.size < 2 or T.shape != v.shape or not (np.isfinite(T).all() and np.isfinite(v).all()):
        raise InputError("temperatures_K, values", (T.shape, v.shape), "two or more temperatures with one value each")
    if T.min() <= 0 or v.min() <= 0 or np.ptp(T) == 0:
        raise InputError("temperatures_K, values", (T.tolist(), v.tolist()), "positive numbers, temperatures that differ")
    x, y = 1.0 / (k_boltzmann * T), np.log(v)
    dx = x - x.mean()
    slope = float(dx @ (y - y.mean()) / (dx @ dx))
    start = float(y.mean() - slope * x.mean())
    return math.exp(start), -slope, float(np.abs(start + slope * x - y).max())
