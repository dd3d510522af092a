"""Pairs of orbitals of a perturbation in tables of its supercell at true translations: dipoles, the spin-orbit operator.

The perturbation of H and S is made of matrices folded on the supercell's k-mesh (physics/perturbation). Matrices that are had at
every translation are taken on the same sites, and with the same pairs left as the host has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError
from emforce.physics.embedding import RegionSites, site_orbitals, site_translations
from emforce.physics.lcao import Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import DefectGeometry, Perturbation, left_site, nearest_images, outer_copies

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ImagePairs:
    """The orbitals of a perturbation, in its order, as orbitals of a supercell.

    Attributes
    ----------
    labels : defect atom and its supercell translation (as `cells`) of every site and every new atom
    orbital, label : (n,) orbital of the supercell, and place in `labels`
    on_host : the first so many orbitals are on host sites
    still : (n,) orbitals of periodic copies of the mover, which stay where they are
    unchanged : (n, n) pairs that are as in the host: of two sites, one of them outside the cell, neither of which its atom left
    share : (n, n) of a change that belongs to its first atom, as `emforce.physics.perturbation.pair_weights` has it
    """

    labels: RegionSites
    orbital: Ints
    label: Ints
    on_host: int
    still: Flags
    unchanged: Flags
    share: Floats

    def pick(self, R: Ints) -> tuple[Flags, tuple[Ints, Ints, Ints]]:
        """Which pairs have a translation in R (nR, 3), and the index (translation, row, column) of each in a table over R."""
        index = site_translations(R, self.labels)[np.ix_(self.label, self.label)]
        rows, cols = np.ix_(self.orbital, self.orbital)
        return index >= 0, (index, rows, cols)

    def of(self, R: Ints, table: Floats) -> Floats:
        """(n, n) of a table (nR, n', n') over R; zero where it has no such pair."""
        known, pick = self.pick(R)
        return np.where(known, table[pick], 0.0)

    @property
    def moves(self) -> Flags:
        """(n, n) pairs without a copy of the mover that stays."""
        return np.asarray(~(self.still[:, None] | self.still[None, :]))

    def change(self, full: Floats, host: Floats) -> Floats:
        """What the defect changes, (n, n): `full` less `host` (on_host, on_host) where both are, on new orbitals `full`."""
        out = full.copy()
        out[: self.on_host, : self.on_host] -= host
        out[self.unchanged] = 0.0
        return out * self.share


def image_pairs(
    host: LCAOMatrices, supercell: tuple[Ints, Floats], geometry: DefectGeometry, perturbation: Perturbation, reach: float = 0.0
) -> ImagePairs:
    """The orbitals of a perturbation in its supercell.

    Parameters
    ----------
    host : that the perturbation refers to; reach : as it was for the perturbation
    supercell : (atoms,) orbitals of each atom, and (atoms, 3) its position; those of `geometry`
    """
    orbitals, positions = supercell
    if np.abs(positions - geometry.positions).max() > 1e-6:
        raise InputError("image.positions", "positions", "those of the defect, on the same periodic images")
    labels = _labels(host, geometry, perturbation, reach)
    orbital, label = site_orbitals(np.concatenate([[0], np.cumsum(orbitals)]), labels)
    count, on_site = len(perturbation.sites.atoms), int((geometry.site_of_atom >= 0).sum())
    n0 = int(perturbation.site_orbitals.sum())
    still = ((labels.atoms == geometry.mover) & labels.cells.any(axis=1))[label]
    # two host sites are changed inside the cell only, but for those whose atom left, as in the perturbation
    outer = (label >= on_site) & (label < count)
    unchanged = np.zeros((len(label), len(label)), bool)
    unchanged[:n0, :n0] = outer[:n0, None] | outer[None, :n0]
    left = left_site(geometry)[labels.atoms][label]
    inner, copies = left & (label < on_site), left & outer
    unchanged &= ~((inner[:, None] & outer[None, :]) | (outer[:, None] & inner[None, :]))
    share = np.where((inner[:, None] & copies[None, :]) | (copies[:, None] & inner[None, :]), 0.5, 1.0)
    return ImagePairs(labels, orbital, label, n0, still, unchanged, share)


def _labels(host: LCAOMatrices, geometry: DefectGeometry, perturbation: Perturbation, reach: float) -> RegionSites:
    images = nearest_images(geometry.positions, geometry.cell, geometry.periodic, geometry.positions[geometry.mover])
    on_site, fresh = (np.flatnonzero(kind) for kind in (geometry.site_of_atom >= 0, geometry.site_of_atom < 0))
    sites = perturbation.sites
    atoms, shifts = [on_site], [images.shifts[on_site]]
    if len(sites.atoms) > len(on_site):
        first = RegionSites(sites.cells[: len(on_site)], sites.atoms[: len(on_site)])
        outer = outer_copies(host, geometry, images, first, reach)
        if len(outer.atoms) + len(on_site) != len(sites.atoms):
            raise InputError("reach", reach, "what the perturbation was made with")
        atoms, shifts = [on_site, outer.atoms], [images.shifts[on_site], outer.shifts]
    return RegionSites(np.concatenate([*shifts, images.shifts[fresh]]), np.concatenate([*atoms, fresh]))


__all__ = ["ImagePairs", "image_pairs"]
