"""Drift along a direction of an anisotropic surface, from the force along one hop and the surface's symmetry.

A hop d and its images R d under the operations R of the surface have equal rates Gamma. A field E biases each by the work
W = |d| d̂·K·E along its path, so that the mean velocity and the diffusion tensor are

    v = (Gamma/k_B T) sum_R R d (R k·E) |d|,    D = Gamma sum_R R d (R d)^T,    k = (d̂·K)^T averaged along the path

and the force that drives the drift, F = k_B T D^-1 v, is linear in the field: F = K_drift E. With p̂ across the hop in the
surface, k = k_along d̂ + k_across p̂,

    K_drift = k_along 1 + k_across T,    T = (sum_R R d̂ (R d̂)^T)^-1 sum_R R d̂ (R p̂)^T

On surfaces with a threefold or fourfold axis, and where all hops are parallel, e·T·e = 0: the drift along e is that of the hop.
On bcc(110) it is not: [001] and [1-10] differ, and the field across a hop matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]


def drift_axes(operations: ArrayLike, hop: ArrayLike) -> tuple[Floats, Floats]:
    """Principal axes of diffusion and, for each, the weight of the force along the hop by a field across it.

    Parameters
    ----------
    operations : (n, 2, 2) point group of the surface in its plane, the identity among them
    hop : (2,) hop vector, any unit

    Returns
    -------
    axes : (m, 2) unit vectors, m = 1 where all hops are parallel, else 2
    weights : (m,) e·T·e, see above; K_drift along e is k_along + weight k_across, with p̂ = d̂ turned by +90 degrees

    Raises
    ------
    InputError : a hop of length zero, operations of another shape or that are not orthogonal
    """
    turns, vector = np.asarray(operations, dtype=float), np.asarray(hop, dtype=float)
    if turns.ndim != 3 or turns.shape[1:] != (2, 2) or not np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(2)):
        raise InputError("operations", turns.shape, "orthogonal matrices, (n, 2, 2)")
    if vector.shape != (2,) or not np.linalg.norm(vector) > 0:
        raise InputError("hop", vector.tolist(), "two numbers, not both 0")
    along = vector / np.linalg.norm(vector)
    across = np.array([-along[1], along[0]])
    hops, sides = turns @ along, turns @ across
    spread, mixed = hops.T @ hops, hops.T @ sides
    sizes, vectors = np.linalg.eigh(spread)
    axes = vectors.T[sizes > 1e-9 * sizes[-1]]
    weights = np.einsum("ma,ab,bc,mc->m", axes, np.linalg.pinv(spread, rcond=1e-9), mixed, axes)
    return axes, np.where(np.abs(weights) < 1e-9, 0.0, weights)


__all__ = ["drift_axes"]
