"""Sums from a k-mesh to lattice translations against the plain sum."""

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.physics.fermi import half_mesh
from emforce.physics.lattice_sum import LatticeSum


@pytest.mark.parametrize("mesh", [(6, 5, 4), (8, 6, 1), (1, 6, 3), (1, 1, 4), (10, 1, 1)])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_sum_by_lines_is_the_plain_sum(mesh, size):
    rng = np.random.default_rng(0)
    reach = [2 if n > 1 else 0 for n in mesh]
    R = np.array([r for r in np.ndindex(5, 5, 5)]) - 2
    R = R[(np.abs(R) <= reach).all(axis=1)]
    R = R[rng.permutation(len(R))][: max(1, 3 * len(R) // 4)]  # any set, in any order
    k = half_mesh(mesh)
    a = rng.normal(size=(len(k), 3, 2)) + 1j * rng.normal(size=(len(k), 3, 2))
    plain = np.exp(-2j * np.pi * (R @ k.T)) @ a.reshape(len(k), -1)
    sums, out = LatticeSum(k, R), np.zeros((len(R), 6), complex)
    seen = 0
    for block in sums.blocks(size):
        block.add(out, a[block.place])
        seen += len(block.points)
    assert seen == len(k)
    assert np.abs(out - plain).max() < 1e-12 * len(k)


def test_points_that_are_no_product_mesh_are_refused():
    k = half_mesh((4, 4, 1))
    with pytest.raises(InputError, match="a product mesh of 2 x 4 x 1 points"):
        LatticeSum(k[:-1], np.zeros((1, 3), int))
