"""Which atoms move when a hop is relaxed, and which symmetry that leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emforce.dft import shared_symmetry
from emforce.ground_state_jobs import _marked
from emforce.hop import Hop
from emforce.relaxation import _image_step, free_atoms
from emforce.settings import load_settings
from emforce.workflow import built_hop

SETTINGS = load_settings("quick", {"structure.relaxed": ""})


def _hop(name: str) -> Hop:
    return built_hop(Path("structures") / f"{name}.toml", SETTINGS)


@pytest.mark.parametrize("name, count", [
    ("cu100-adatom", 7),     # four atoms of each hollow, two of them shared
    ("cu111-adatom", 5),     # three atoms of each hollow, two of them shared
    ("w110-adatom", 7),
    ("cu-vacancy", 19),      # twelve neighbours of each of two neighbouring sites less the other one, four shared; the mover
])  # fmt: skip
def test_all_images_free_the_same_atoms_around_both_ends(name: str, count: int) -> None:
    hop = _hop(name)
    free = free_atoms(hop)
    assert len(free) == count
    assert hop.images[0].mover in free
    for image in hop.images:
        directions = np.array(_image_step(hop, image, SETTINGS, 0.05).inputs["directions"])
        assert np.flatnonzero(np.abs(directions).sum(axis=(1, 2))).tolist() == free


@pytest.mark.parametrize("name", ["cu100-adatom", "cu111-adatom", "w110-adatom", "cu-vacancy"])
def test_symmetry_of_a_relaxation_keeps_what_may_move(name: str) -> None:
    """Each operation takes a free atom to a free atom, and its allowed directions to those of the other: P_ga = R P_a R^T."""
    hop = _hop(name)
    operations = 0
    for image in hop.images:
        inputs = _image_step(hop, image, SETTINGS, 0.05).inputs
        directions = np.array(inputs["directions"])
        atoms = image.atoms.copy()
        symmetry = shared_symmetry([atoms, _marked(atoms, directions)], tuple(inputs["grid"]))
        if "rotations" not in symmetry:
            continue  # GPAW found no group
        cell = atoms.cell.array
        scaled = atoms.get_scaled_positions()
        for rotation, translation in zip(symmetry["rotations"], symmetry["translations"], strict=True):
            turn = cell.T @ rotation.T @ np.linalg.inv(cell.T)  # GPAW: scaled row vectors times the matrix
            moved = scaled @ rotation + translation
            for a, place in enumerate(moved):
                delta = scaled - place
                delta -= np.round(delta)
                b = int(np.linalg.norm(delta @ cell, axis=1).argmin())
                assert np.linalg.norm(delta[b] @ cell) < 0.01
                assert np.allclose(directions[b], turn @ directions[a] @ turn.T, atol=1e-6)
            operations += 1
    assert operations >= len(hop.images)


def test_a_vacancy_alone_has_more_symmetry_than_its_relaxation() -> None:
    """The lone vacancy has the whole cubic group, the atoms around it and its neighbour have not: why frozen atoms are marked."""
    image = _hop("cu-vacancy").image(0.0)
    inputs = _image_step(_hop("cu-vacancy"), image, SETTINGS, 0.05).inputs
    atoms, grid = image.atoms.copy(), tuple(inputs["grid"])
    whole = shared_symmetry([atoms], grid)
    left = shared_symmetry([atoms, _marked(atoms, np.array(inputs["directions"]))], grid)
    assert len(left["rotations"]) < len(whole["rotations"])
