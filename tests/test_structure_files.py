"""Hosts and defects given as files, and structures written and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from emforce.errors import InputError, StoreError
from emforce.hosts import face_distances
from emforce.matching import match_sites
from emforce.relaxed import (
    Relaxation,
    Source,
    apply_relaxed,
    carried_over,
    follow_host,
    image_key,
    read_relaxed,
    relaxed_source,
    take_over,
    with_positions,
    write_built,
    write_relaxed,
)
from emforce.structure import Hop, Image, Spec, build_hop, describe, thick_host


def built(
    metal: str = "Cu", facet: str = "100", n: int = 3, images: tuple[float, ...] = (0.0, 0.25, 0.5),
    layers: int = 4, vacuum: float = 6.0, functional: str = "PBE",
) -> Hop:
    kind = "vacancy" if facet == "bulk" else "adatom"
    spec = Spec(f"{metal}{facet}", metal, facet, kind, images=images, cubic=facet == "bulk")
    return build_hop(spec, size=(n, n, n if facet == "bulk" else 1), layers=layers, vacuum=vacuum, functional=functional)


def spec_of_files(hop: Hop, folder: Path, suffix: str = "extxyz", **changes: Any) -> Spec:
    """Write a hop as files (fresh if there are none) and describe them as a user would."""
    host = folder / f"host.{suffix}"
    defects = tuple(folder / f"defect-{i.label}.{suffix}" for i in hop.images)
    if not host.exists():
        write(host, hop.host_unit)
        for path, image in zip(defects, hop.images):
            write(path, image.atoms)
    keys: dict[str, Any] = {
        "name": "mine", "metal": hop.spec.metal, "facet": hop.spec.facet, "kind": "files",
        "images": hop.spec.images, "host_file": host, "defect_files": defects,
        "mover": hop.images[0].mover, "hop_vector": tuple(hop.hop_vector), "species": hop.spec.species,
    }  # fmt: skip
    return Spec(**(keys | changes))


def from_files(spec: Spec) -> Hop:
    return build_hop(spec, size=(0, 0, 0), layers=0, vacuum=0.0)


KEYS = [("Cu", "100"), ("Cu", "111"), ("W", "110"), ("Cu", "bulk"), ("W", "bulk")]


@pytest.mark.parametrize("metal,facet", KEYS)
@pytest.mark.parametrize("suffix", ["extxyz", "vasp"])
def test_files_give_the_hop_that_wrote_them(tmp_path: Path, metal: str, facet: str, suffix: str) -> None:
    hop = built(metal, facet)
    same = from_files(spec_of_files(hop, tmp_path, suffix))
    assert same.repeat == hop.repeat and same.symmetric == hop.symmetric
    assert np.allclose(same.host_unit.positions, hop.host_unit.positions, atol=1e-6)
    assert (same.host_unit.pbc == hop.host_unit.pbc).all()
    for one, other in zip(same.images, hop.images):
        assert one.label == other.label and one.mover == other.mover and one.removed == other.removed
        assert np.array_equal(one.site_of_atom, other.site_of_atom)
        assert np.allclose(one.atoms.positions, other.atoms.positions, atol=1e-6)


@pytest.mark.parametrize("metal,facet", KEYS)
def test_shifted_shuffled_wrapped_files_give_the_same_geometry(
    tmp_path: Path, metal: str, facet: str
) -> None:
    """An origin on a cell face, another cell of the supercell and another order of atoms change nothing
    physical."""
    hop = built(metal, facet)
    rng = np.random.default_rng(3)
    order = rng.permutation(len(hop.images[0].atoms))
    bulk = facet == "bulk"
    corner = -hop.host_unit.positions[0] if bulk else -hop.host_unit.positions[0] * [1, 1, 0]
    lattice = hop.host_unit.cell.array[0] * 2 - hop.host_unit.cell.array[1]

    def shifted(atoms: Atoms, by: np.ndarray) -> Atoms:
        moved = atoms.copy()
        moved.pbc = True
        moved.positions += by
        moved.wrap()
        return moved

    write(tmp_path / "host.extxyz", shifted(hop.host_unit, corner))
    for image in hop.images:
        write(tmp_path / f"defect-{image.label}.extxyz", shifted(image.atoms, corner + lattice)[order])
    mover = int(np.flatnonzero(order == hop.images[0].mover)[0])
    other = from_files(spec_of_files(hop, tmp_path, mover=mover))
    assert other.symmetric == hop.symmetric
    strip = lambda text: text.split("\n", 1)[1]  # noqa: E731  # all but the line with the name
    assert strip(describe(other)) == strip(describe(hop))
    for image in other.images:
        assert face_distances(image.atoms).min() > 0.06
        host = other.host_supercell()
        on = image.site_of_atom >= 0
        delta = image.atoms.positions[on] - host.positions[image.site_of_atom[on]]
        assert np.abs(delta).max() < 1e-6
        assert face_distances(image.atoms)[image.mover, :2].min() > 1.0


def test_slab_split_by_the_open_face_is_put_together(tmp_path: Path) -> None:
    hop = built("Cu", "100")
    for name, atoms in [("host", hop.host_unit)] + [(f"defect-{i.label}", i.atoms) for i in hop.images]:
        moved = atoms.copy()
        moved.pbc = True
        moved.positions[:, 2] -= 8.0
        moved.wrap()
        write(tmp_path / f"{name}.extxyz", moved)
    other = from_files(spec_of_files(hop, tmp_path))
    for one, image in zip(hop.images, other.images):
        delta = image.atoms.positions - one.atoms.positions
        assert np.allclose(delta, delta[0], atol=1e-6)
        assert np.array_equal(one.site_of_atom, image.site_of_atom)


def test_foreign_atom_on_a_site_counts_as_new(tmp_path: Path) -> None:
    hop = built("Cu", "bulk", n=2, images=(0.0,))
    atoms = hop.images[0].atoms.copy()
    atoms.symbols[5] = "Au"
    write(tmp_path / "host.extxyz", hop.host_unit)
    write(tmp_path / "defect-initial.extxyz", atoms)
    found = from_files(spec_of_files(hop, tmp_path)).images[0]
    assert found.site_of_atom[5] == -1
    assert set(found.removed) == {*hop.images[0].removed, int(hop.images[0].site_of_atom[5])}
    au = from_files(spec_of_files(hop, tmp_path, mover=5, species="Au")).images[0]
    assert len(au.removed) == 2 and au.site_of_atom[hop.images[0].mover] >= 0


def test_octahedral_interstitial(tmp_path: Path) -> None:
    hop = built("Cu", "bulk", n=2, images=(0.0,))
    host = hop.host_supercell()
    host.rattle(0.1, seed=1)
    a = hop.host_unit.cell.array[0, 0]
    defect = host + Atoms("C", positions=[host.positions[0] + [a / 2, 0, 0]])
    write(tmp_path / "host.extxyz", hop.host_unit)
    write(tmp_path / "defect-initial.extxyz", defect)
    spec = spec_of_files(hop, tmp_path, species="C", mover=len(host), hop_vector=(a / 2, a / 2, 0.0))
    found = from_files(spec)
    assert found.images[0].removed == ()
    assert found.images[0].site_of_atom[: len(host)].min() >= 0
    assert len(set(found.images[0].site_of_atom.tolist())) == len(host) + 1


def test_matching_is_one_to_one_and_within_tolerance() -> None:
    host = Atoms("Cu3", positions=[[1, 1, 1], [2, 1, 1], [8.9, 1, 1]], cell=[10, 10, 10], pbc=True)
    atoms = Atoms(
        "Cu3", positions=[[1.4, 1, 1], [1.55, 1, 1], [0.2 - 1.0, 1, 1]], cell=[10, 10, 10], pbc=True
    )
    assert match_sites(atoms, host).tolist() == [0, 1, 2]
    assert match_sites(atoms, host, tolerance=0.2).tolist() == [-1, -1, -1]
    atoms.symbols[0] = "Au"
    assert match_sites(atoms, host)[0] == -1


def changed(hop: Hop, folder: Path, what: str, change: Any) -> None:
    """Write the hop's files with one of them changed."""
    spec_of_files(hop, folder)
    path = folder / f"{what}.extxyz"
    atoms = read(path)
    atoms = change(atoms) or atoms
    write(path, atoms)


def stretched(atoms: Atoms) -> None:
    atoms.set_cell(atoms.cell.array * 1.3, scale_atoms=True)


def displaced(atoms: Atoms) -> None:
    atoms.positions[:] += [1.1, 0.9, 0.7]


def reordered(atoms: Atoms) -> Atoms:
    return atoms[::-1]


def one_less(atoms: Atoms) -> Atoms:
    return atoms[1:]


@pytest.mark.parametrize(
    "what,change,field,allowed",
    [
        ("host", stretched, "defect_files", "whole number"),
        ("defect-initial", stretched, "defect_files", "cell"),
        ("defect-initial", displaced, "defect_files", "half"),
        ("defect-saddle", displaced, "images", "fraction"),
        ("defect-saddle", one_less, "defect_files", "same order"),
    ],
)
def test_files_that_do_not_match(tmp_path: Path, what: str, change: Any, field: str, allowed: str) -> None:
    hop = built("W", "bulk", n=2, images=(0.0, 0.5))
    changed(hop, tmp_path, what, change)
    if what == "defect-initial" and change is displaced:
        changed(hop, tmp_path, "defect-saddle", change)
    with pytest.raises(InputError) as caught:
        from_files(spec_of_files(hop, tmp_path))
    assert caught.value.field == field and allowed in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_must_agree_on_the_sites(tmp_path: Path) -> None:
    hop = built("Cu", "100", images=(0.0, 0.5))

    def swap(atoms: Atoms) -> Atoms:
        return atoms[[1, 0, *range(2, len(atoms))]]

    changed(hop, tmp_path, "defect-saddle", swap)
    with pytest.raises(InputError, match="same host site"):
        from_files(spec_of_files(hop, tmp_path))


def test_bad_mover_and_unreadable_files(tmp_path: Path) -> None:
    hop = built("Cu", "100", images=(0.0,))
    spec_of_files(hop, tmp_path)
    with pytest.raises(InputError, match=r"mover.*0 to 36"):
        from_files(spec_of_files(hop, tmp_path, mover=37))
    with pytest.raises(InputError, match="species"):
        from_files(spec_of_files(hop, tmp_path, species="Au"))
    with pytest.raises(InputError, match="no such file"):
        from_files(spec_of_files(hop, tmp_path, host_file=tmp_path / "none.cif"))
    for name, content in [
        ("a.cif", "no cif at all"),
        ("b.extxyz", "3\n\nCu 0"),
        ("c", ""),
        ("d.xyz", "1\n\nCu 0 0 0\n"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match="host_file"):
            from_files(spec_of_files(hop, tmp_path, host_file=tmp_path / name))
    tall = hop.host_unit.copy()
    tall.cell[2, 2] += 3
    write(tmp_path / "tall.extxyz", tall)
    with pytest.raises(InputError, match="whole number"):
        from_files(spec_of_files(hop, tmp_path, host_file=tmp_path / "tall.extxyz"))


def test_thick_host_of_files(tmp_path: Path) -> None:
    hop = built("Cu", "111", images=(0.0,))
    thick, _ = thick_host(hop.spec, 9, 6.0)
    moved = thick.copy()
    moved.pbc = True
    moved.positions += [0.7, 0.3, -8.0]
    moved.wrap()
    write(tmp_path / "thick.extxyz", moved)
    spec = spec_of_files(hop, tmp_path, thick_host_file=tmp_path / "thick.extxyz")
    mine = from_files(spec)
    found, top = thick_host(spec, 0, 0.0, relaxed=mine.host_unit)
    delta = found.positions[top] - mine.host_unit.positions
    assert np.allclose(delta, delta[0], atol=1e-6) and np.allclose(delta[0, :2], 0, atol=1e-6)
    with pytest.raises(InputError, match="thick_host_file"):
        thick_host(spec_of_files(hop, tmp_path), 0, 0.0, relaxed=mine.host_unit)
    write(tmp_path / "other.extxyz", built("Cu", "100").host_unit)
    with pytest.raises(InputError, match="in-plane cell"):
        thick_host(spec_of_files(hop, tmp_path, thick_host_file=tmp_path / "other.extxyz"), 0, 0.0,
                   relaxed=mine.host_unit)  # fmt: skip


# ---- relaxed structures
# -------------------------------------------------------------------------------------------

HOW = Relaxation(
    "PBE", "dz", 0.03, (3, 3, 1), 4, {"host": -10.5, "0.00": -99.25}, {"0.00": (30, 36)}, {"gpaw": "26.7"}
)


def relaxed_hop(hop: Hop) -> Hop:
    """A hop as a relaxation would leave it: small displacements of everything."""
    rng = np.random.default_rng(5)
    noise = {i.fraction: i.atoms.positions + rng.normal(0, 0.02, i.atoms.positions.shape) for i in hop.images}
    return with_positions(hop, hop.host_unit.positions + [0, 0, 0.02], noise)


@pytest.mark.parametrize("metal,facet", KEYS)
def test_relaxed_structures_come_back(tmp_path: Path, metal: str, facet: str) -> None:
    hop = built(metal, facet)
    moved = relaxed_hop(hop)
    write_relaxed(moved, tmp_path / "r", HOW)
    structures, how = read_relaxed(tmp_path / "r")
    assert how == HOW and set(structures) == {"host", "0.00", "0.25", "0.50"}
    assert structures["0.00"].info["energy_eV"] == -99.25
    assert structures["0.00"].info["relaxed_atoms"].tolist() == [30, 36]
    assert structures["host"].info["functional"] == "PBE"
    again = apply_relaxed(hop, tmp_path / "r")
    assert np.allclose(again.host_unit.positions, moved.host_unit.positions, atol=1e-7)
    for one, other in zip(again.images, moved.images):
        assert np.allclose(one.atoms.positions, other.atoms.positions, atol=1e-7)
        assert np.array_equal(one.site_of_atom, other.site_of_atom)
    assert not list((tmp_path / "r").glob(".*"))


def test_relaxed_structures_of_something_else_are_refused(tmp_path: Path) -> None:
    hop = built()
    write_relaxed(hop, tmp_path, HOW)
    with pytest.raises(InputError, match="same order"):
        apply_relaxed(built("Cu", "100", n=4), tmp_path)
    with pytest.raises(InputError, match="cell"):
        apply_relaxed(built("Cu", "111"), tmp_path)
    with pytest.raises(InputError, match="relax it"):
        apply_relaxed(built(images=(0.0, 0.75)), tmp_path)
    (tmp_path / "image-0.25.extxyz").write_text("broken")
    with pytest.raises(StoreError, match="relax again"):
        apply_relaxed(hop, tmp_path)
    with pytest.raises(StoreError, match="relaxed.json"):
        read_relaxed(tmp_path / "none")
    (tmp_path / "relaxed.json").write_text("[]")
    with pytest.raises(StoreError, match="relaxed.json"):
        read_relaxed(tmp_path)


def by_place(image: Image, places: np.ndarray) -> np.ndarray:
    """Indices of the atoms at these places relative to the mover."""
    _, apart = find_mic((image.atoms.positions - image.mover_position)[None] - places[:, None], image.atoms.cell, image.atoms.pbc)
    found = apart.argmin(axis=1)
    assert apart[np.arange(len(places)), found].max() < 0.2  # Angstrom, the displacements of the test
    return found


def find_mic(vectors: np.ndarray, cell: Any, pbc: Any) -> tuple[np.ndarray, np.ndarray]:
    from ase.geometry import find_mic as of_lists

    flat, lengths = of_lists(vectors.reshape(-1, 3), cell, pbc)
    return flat.reshape(vectors.shape), lengths.reshape(vectors.shape[:-1])


@pytest.mark.parametrize("metal,facet", KEYS)
def test_relaxed_structures_are_carried_over_into_a_larger_cell(tmp_path: Path, metal: str, facet: str) -> None:
    """Interatomic vectors around the mover are those of the small cell; elsewhere atoms stand as in the relaxed host."""
    small, rng = built(metal, facet), np.random.default_rng(7)
    followed = follow_host(small, small.host_unit.positions + ([0, 0, 0.03] if facet != "bulk" else [0, 0, 0]))
    noise, near = {}, {}
    for image in followed.images:
        _, distance = find_mic(image.atoms.positions - image.mover_position, image.atoms.cell, image.atoms.pbc)
        near[image.fraction] = np.flatnonzero(distance < 3.4)
        noise[image.fraction] = image.atoms.positions.copy()
        noise[image.fraction][near[image.fraction]] += rng.normal(0, 0.03, (len(near[image.fraction]), 3))
    relaxed = with_positions(followed, images=noise)
    layers = 0 if facet == "bulk" else 4
    write_relaxed(relaxed, tmp_path, replace(HOW, size=small.repeat, layers=layers))
    big = built(metal, facet, n=4, vacuum=7.5)
    carried = carried_over(big, tmp_path)
    for one, two, plain in zip(relaxed.images, carried.images, big.images):
        chosen = near[one.fraction]
        places, _ = find_mic(one.atoms.positions[chosen] - one.mover_position, one.atoms.cell, one.atoms.pbc)
        index = by_place(two, places)
        there, _ = find_mic(two.atoms.positions[index] - two.mover_position, two.atoms.cell, two.atoms.pbc)
        assert np.allclose(there, places, atol=1e-5)
        others = np.setdiff1d(np.arange(len(two.atoms)), index)
        shift = carried.host_unit.positions[0] - big.host_unit.positions[0]
        assert np.allclose(two.atoms.positions[others], plain.atoms.positions[others] + shift, atol=1e-5)
    same = carried_over(small, tmp_path)
    for one, two in zip(relaxed.images, same.images):
        assert np.allclose(one.atoms.positions, two.atoms.positions, atol=1e-5)


def test_structures_of_another_functional_are_scaled(tmp_path: Path) -> None:
    small, large = built("W", "110"), built("W", "110", n=4, functional="LDA")
    relaxed = relaxed_hop(small)
    write_relaxed(relaxed, tmp_path / "3x3x1-4l", HOW)
    scale = large.host_unit.cell.lengths()[0] / small.host_unit.cell.lengths()[0]
    assert 0.98 < scale < 0.99
    source = relaxed_source(large, tmp_path / "4x4x1-4l-LDA", "LDA")
    assert source == Source(tmp_path / "3x3x1-4l", 0.03, True)
    for one, two in zip(relaxed.images, take_over(large, source).images):
        _, distance = find_mic(one.atoms.positions - one.mover_position, one.atoms.cell, one.atoms.pbc)
        near = np.flatnonzero(distance < 4.0)
        places, _ = find_mic(one.atoms.positions[near] - one.mover_position, one.atoms.cell, one.atoms.pbc)
        index = by_place(two, scale * places)
        there, _ = find_mic(two.atoms.positions[index] - two.mover_position, two.atoms.cell, two.atoms.pbc)
        assert np.allclose(there, scale * places, atol=1e-5)


def test_where_relaxed_structures_come_from(tmp_path: Path) -> None:
    small, big = built(), built(n=4)
    own = tmp_path / "4x4x1-4l"
    assert relaxed_source(big, None, "PBE") is None and relaxed_source(big, own, "PBE") is None
    write_relaxed(relaxed_hop(small), tmp_path / "3x3x1-4l", HOW)
    write_relaxed(relaxed_hop(small), tmp_path / "3x3x1-4l-LDA", replace(HOW, functional="LDA"))
    found = relaxed_source(big, own, "PBE")
    assert found == Source(tmp_path / "3x3x1-4l", 0.03, True)
    assert relaxed_source(built(layers=5), tmp_path / "3x3x1-5l", "PBE") is None
    write_relaxed(relaxed_hop(big), own, replace(HOW, size=(4, 4, 1)))
    assert relaxed_source(big, own, "PBE") == Source(own, 0.03, False)
    # a larger cell has places that a smaller one has not
    assert relaxed_source(built(n=2), tmp_path / "2x2x1-4l", "PBE") is None
    # another vacuum is another cell
    assert relaxed_source(built(vacuum=8.0), tmp_path / "3x3x1-4l", "PBE") == Source(tmp_path / "3x3x1-4l", 0.03, True)
    taken = take_over(big, Source(own, 0.03, False))
    assert np.allclose(taken.images[0].atoms.positions, relaxed_hop(big).images[0].atoms.positions, atol=1e-7)


def test_structures_that_cannot_be_carried_over(tmp_path: Path) -> None:
    write_relaxed(relaxed_hop(built()), tmp_path, HOW)
    with pytest.raises(InputError, match="lattice and layers"):
        carried_over(built(n=4, layers=5), tmp_path)
    with pytest.raises(InputError, match="relaxed structure of this image"):
        carried_over(built(n=4, images=(0.0, 0.75)), tmp_path)
    write_relaxed(relaxed_hop(built()), tmp_path, replace(HOW, functional="unheard-of"))
    with pytest.raises(InputError, match="functional"):
        carried_over(built(n=4), tmp_path)


def test_atoms_that_left_their_site_are_refused() -> None:
    hop = built()
    gone = hop.images[0].atoms.positions.copy()
    gone[0, 2] += 1.8
    with pytest.raises(InputError, match="left its site"):
        with_positions(hop, images={0.0: gone})
    with pytest.raises(InputError, match="positions of shape"):
        with_positions(hop, images={0.0: gone[1:]})
    edge = hop.images[0].atoms.positions.copy()
    x = face_distances(hop.images[0].atoms)[:, 0]
    edge[x.argmin(), 0] += x.min() * (1 if edge[x.argmin(), 0] > 1 else -1)
    with pytest.raises(InputError, match="cell face"):
        with_positions(hop, images={0.0: edge})


def test_images_follow_a_relaxed_host() -> None:
    hop = built("Cu", "100")
    positions = hop.host_unit.positions + np.array([[0, 0, z] for z in (0.05, 0.0, 0.0, -0.06)])
    moved = follow_host(hop, positions)
    host = moved.host_supercell()
    for old, new in zip(hop.images, moved.images):
        on = new.site_of_atom >= 0
        assert np.allclose(new.atoms.positions[on], host.positions[new.site_of_atom[on]])
        assert new.mover_position[2] - old.mover_position[2] == pytest.approx(-0.06)


def test_built_structures_are_written(tmp_path: Path) -> None:
    hop = built()
    thick, _ = thick_host(hop.spec, 8, 6.0, relaxed=hop.host_unit)
    paths = write_built(hop, tmp_path / "b", thick)
    assert all(p.is_file() for p in paths)
    assert len(read(tmp_path / "b" / "host_thick.extxyz")) == 8
    again = read(tmp_path / "b" / "image-0.50.extxyz")
    assert np.allclose(again.positions, hop.image(0.5).atoms.positions, atol=1e-7)
    assert (again.pbc == [True, True, False]).all()
    assert describe(hop) in (tmp_path / "b" / "README.md").read_text()
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_built(hop, blocked / "b")


def test_keys_of_images() -> None:
    assert [image_key(s) for s in (0.0, 0.25, 0.5, 1.0, 1 / 3)] == [
        "0.00",
        "0.25",
        "0.50",
        "1.00",
        "0.333333",
    ]
