"""Which atoms move when a hop is relaxed, and which symmetry that leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emforce.basis import basis_name
from emforce.dft import shared_symmetry
from emforce.errors import InputError
from emforce.ground_state_jobs import _marked
from emforce.hop import Hop
from emforce.relaxation import _at_hand, _image_step, _Plan, at_start, between_neighbours, free_atoms
from emforce.relaxed import Relaxation, follow_host, image_key, relaxed_smaller, with_positions, write_relaxed
from emforce.settings import load_settings
from emforce.structure import build_hop, load_spec
from emforce.workflow import built_hop

SETTINGS = load_settings("quick", {"structure.relaxed": ""})


def _hop(name: str) -> Hop:
    return built_hop(Path("structures") / f"{name}.toml", SETTINGS)


def _plan(hop: Hop) -> _Plan:
    return _Plan(hop, tuple(image.fraction for image in hop.images), tuple(free_atoms(hop)), None)


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
        directions = np.array(_image_step(_plan(hop), image, SETTINGS, 0.05).inputs["directions"])
        assert np.flatnonzero(np.abs(directions).sum(axis=(1, 2))).tolist() == free


@pytest.mark.parametrize("name", ["cu100-adatom", "cu111-adatom", "w110-adatom", "cu-vacancy"])
def test_symmetry_of_a_relaxation_keeps_what_may_move(name: str) -> None:
    """Each operation takes a free atom to a free atom, and its allowed directions to those of the other: P_ga = R P_a R^T."""
    hop = _hop(name)
    operations = 0
    for image in hop.images:
        inputs = _image_step(_plan(hop), image, SETTINGS, 0.05).inputs
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


@pytest.mark.parametrize("name, size, folder", [
    ("cu-vacancy", {"structure.bulk_size": (3, 2, 2)}, "2x2x2"),
    ("w110-adatom", {"structure.slab_size": (4, 3, 1)}, "3x3x1-4l"),
])
def test_a_larger_cell_starts_from_the_displacements_of_a_smaller_one(name: str, size: dict[str, object], folder: str) -> None:
    """Those around the mover; the other atoms stay as the host has them, and the relaxation keeps its symmetry."""
    settings = load_settings("quick", {"structure.relaxed": "", **size})
    large, small = built_hop(Path("structures") / f"{name}.toml", settings), _hop(name)
    source = relaxed_smaller(large, Path("structures/relaxed") / name / "larger", "PBE")
    assert source is not None and source.folder.name == folder
    host = large.host_unit.positions
    started = at_start(large, host, source)
    assert np.array_equal(started.host_unit.positions, host)
    for image in at_start(large, host, None).images:
        assert np.array_equal(image.atoms.positions, large.image(image.fraction).atoms.positions)
    free = free_atoms(large)
    for image in started.images:
        gone = image.atoms.positions - large.image(image.fraction).atoms.positions
        far = np.linalg.norm(gone, axis=1)
        assert far[free].max() > 0.02 and np.delete(far, free).max() < 1e-6
        assert abs(gone[image.mover] @ large.hop_vector) < 1e-4 or image.fraction == 0.0
        inputs = _image_step(_plan(large), large.image(image.fraction), settings, 0.05).inputs
        marks, grid = np.array(inputs["directions"]), tuple(inputs["grid"])
        counts = [len(shared_symmetry([atoms, _marked(atoms, marks)], grid).get("rotations", [0]))
                  for atoms in (image.atoms.copy(), large.image(image.fraction).atoms.copy())]
        assert counts[0] == counts[1]
    assert relaxed_smaller(small, Path("structures/relaxed") / name / folder, "PBE") is None


def test_a_vacancy_alone_has_more_symmetry_than_its_relaxation() -> None:
    """The lone vacancy has the whole cubic group, the atoms around it and its neighbour have not: why frozen atoms are marked."""
    image = _hop("cu-vacancy").image(0.0)
    inputs = _image_step(_plan(_hop("cu-vacancy")), image, SETTINGS, 0.05).inputs
    atoms, grid = image.atoms.copy(), tuple(inputs["grid"])
    whole = shared_symmetry([atoms], grid)
    left = shared_symmetry([atoms, _marked(atoms, np.array(inputs["directions"]))], grid)
    assert len(left["rotations"]) < len(whole["rotations"])


def _relaxed_ends(hop: Hop, folder: Path, fmax: float = 0.04) -> Hop:
    """The first and the last image moved by random displacements on a moved host, and written."""
    rng = np.random.default_rng(7)
    ends = replace(hop, images=(hop.images[0], hop.images[-1]))
    host = hop.host_unit.positions + [0.0, 0.0, 0.05]
    ends = follow_host(ends, host)
    shaken = {i.fraction: i.atoms.positions + 0.1 * (rng.random((len(i.atoms), 3)) - 0.5) for i in ends.images}
    ends = with_positions(ends, images=shaken)
    free = dict.fromkeys([image_key(i.fraction) for i in ends.images], tuple(free_atoms(hop)))
    basis = basis_name(hop.spec.metal, "default")
    write_relaxed(ends, folder, Relaxation("PBE", basis, fmax, hop.repeat, 4, {"host": -1.0}, free))
    return ends


def test_images_at_hand_are_kept_and_a_new_one_starts_between_them(tmp_path: Path) -> None:
    """Half way between two images every atom is displaced by the mean of theirs; the mover keeps its place along the hop."""
    hop = _with_images("cu111-adatom", (0.0, 0.25, 0.5))
    ends = _relaxed_ends(hop, tmp_path)
    plan = _at_hand(hop, tmp_path, SETTINGS, 0.05)
    assert plan.wanted == (0.25,)
    assert plan.free == tuple(free_atoms(hop))
    for image in ends.images:
        assert np.allclose(plan.hop.image(image.fraction).atoms.positions, image.atoms.positions, atol=1e-6)
    as_built = follow_host(hop, ends.host_unit.positions)
    gone = [plan.hop.image(f).atoms.positions - as_built.image(f).atoms.positions for f in (0.0, 0.25, 0.5)]
    others = np.arange(len(gone[0])) != hop.images[0].mover
    assert np.allclose(gone[1][others], 0.5 * (gone[0] + gone[2])[others], atol=1e-6)
    step = gone[1][hop.images[0].mover]
    assert abs(step @ hop.hop_vector) < 1e-6
    assert np.allclose(np.cross(step - 0.5 * (gone[0] + gone[2])[hop.images[0].mover], hop.hop_vector), 0.0, atol=1e-5)


def test_files_that_are_kept_are_not_written_again(tmp_path: Path) -> None:
    hop = _with_images("cu111-adatom", (0.0, 0.25, 0.5))
    _relaxed_ends(hop, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    plan = _at_hand(hop, tmp_path, SETTINGS, 0.05)
    assert plan.kept is not None
    write_relaxed(plan.hop, tmp_path, replace(plan.kept, fmax_eV_per_A=0.049), ["0.25"])
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() - before.keys() == {"image-0.25.extxyz"}
    assert {name for name, data in before.items() if after[name] != data} == {"relaxed.json"}


def test_beyond_the_last_image_displacements_are_those_of_the_nearest() -> None:
    hop = _with_images("cu111-adatom", (0.0, 0.25, 0.5, 1.0))
    moved = np.zeros((len(hop.images[0].atoms), 3))
    moved[3] = [0.0, 0.02, 0.03]
    known = replace(hop, images=hop.images[1:3])
    known = with_positions(known, images={i.fraction: i.atoms.positions + moved for i in known.images})
    for image in between_neighbours(hop, known).images:
        assert np.allclose(image.atoms.positions, hop.image(image.fraction).atoms.positions + moved, atol=1e-9)


def test_structures_of_another_kind_are_not_kept(tmp_path: Path) -> None:
    hop = _with_images("cu111-adatom", (0.0, 0.25, 0.5))
    _relaxed_ends(hop, tmp_path)
    with pytest.raises(InputError, match="emf-small.*emf-default|emf-default.*emf-small"):
        _at_hand(hop, tmp_path, load_settings("quick", {"dft.recipe": "small"}), 0.05)
    _relaxed_ends(hop, tmp_path, fmax=0.08)
    with pytest.raises(InputError, match="forces up to 0.080"):
        _at_hand(hop, tmp_path, SETTINGS, 0.05)


def _with_images(name: str, fractions: tuple[float, ...]) -> Hop:
    spec = replace(load_spec(Path("structures") / f"{name}.toml"), images=fractions)
    return build_hop(spec, size=(3, 3, 1), layers=4, vacuum=5.0, functional="PBE")
