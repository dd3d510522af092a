"""What the symmetry of the mover's site says about the tensor m[force axis, field axis].

Force and field are vectors: for every rotation R (proper or not, as a Cartesian matrix) that maps the defect
onto itself, m = R m R^T.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError

FloatArray = NDArray[np.float64]


def symmetrize_tensor(m: FloatArray, rotations: FloatArray) -> FloatArray:
    """The part of a tensor that the site symmetry allows, (1/n) sum_R R m R^T.

    Parameters
    ----------
    m : (..., 3, 3) tensor [..., force axis, field axis], any unit
    rotations : (n, 3, 3) site symmetry group as Cartesian rotations

    Returns
    -------
    (..., 3, 3), the unit of m. What was projected out measures how far the calculation broke the symmetry.
    """
    m, rotations = np.asarray(m, dtype=float), np.asarray(rotations, dtype=float)
    return np.einsum("nab,...bc,ndc->...ad", rotations, m, rotations) / len(rotations)


def tensor_from_rows(axes: Sequence[int], rows: FloatArray, rotations: FloatArray) -> FloatArray:
    """The whole tensor from the rows of the displacements that were run.

    From e.m = row follows (R e).m = row R^T for every rotation of the site; the tensor is the least-squares
    solution of all of these together, which is exact when the rows obey the symmetry, and symmetrized
    otherwise.

    Parameters
    ----------
    axes : Cartesian axes along which the mover was displaced
    rows : (len(axes), ..., 3) force along each of these axes, the last index the field axis
    rotations : (n, 3, 3) site symmetry group as Cartesian rotations

    Returns
    -------
    (..., 3, 3) tensor [..., force axis, field axis], the unit of the rows

    Raises
    ------
    InputError : the displacements and their images do not span space
    """
    rotations, rows = np.asarray(rotations, dtype=float), np.asarray(rows, dtype=float)
    directions = np.concatenate([rotations[:, :, axis] for axis in axes])
    if np.linalg.matrix_rank(directions, tol=1e-3) < 3:
        raise InputError("axes", tuple(axes), "displacements whose images under the site symmetry span space")
    turned = np.concatenate([np.einsum("...b,nab->n...a", row, rotations) for row in rows])
    m = np.tensordot(np.linalg.pinv(directions), turned, axes=1)  # [force, ..., field]
    return symmetrize_tensor(np.moveaxis(m, 0, -2), rotations)


def known_part(axes: Sequence[int], rows: FloatArray, rotations: FloatArray) -> FloatArray:
    """What the rows say of the tensor where the displacements do not span space: unknown rows are nan.

    Parameters as for `tensor_from_rows`, rows (len(axes), 3). With displacements along the hop only, a site with two
    mirror planes still gives every in-plane component.
    """
    rotations, rows = np.asarray(rotations, dtype=float), np.asarray(rows, dtype=float)
    directions = np.concatenate([rotations[:, :, axis] for axis in axes])
    turned = np.concatenate([np.einsum("b,nab->na", row, rotations) for row in rows])
    inverse = np.linalg.pinv(directions, rcond=1e-3)
    m = inverse @ turned
    reached = np.abs(np.diagonal(inverse @ directions) - 1) < 1e-6  # projector on what the displacements span
    m[~reached] = np.nan
    return np.asarray(m)
