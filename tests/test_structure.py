"""Hosts, hops and their symmetry: what must hold by geometry, whatever the lattice constant."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.geometry import find_mic

from emforce.errors import InputError
from emforce.hosts import (
    FACE_MARGIN,
    away_from_faces,
    bulk_unit,
    face_distances,
    neighbour_distance,
    slab_unit,
)
from emforce.materials import material
from emforce.site_symmetry import force_directions
from emforce.sites import ADATOM_HOPS, CONTACT, SITES, VACANCY_HOPS
from emforce.spec import FACETS, HOP_LABELS
from emforce.structure import Hop, Spec, build_hop, describe, list_hops, neighbour_shells, thick_host

SURFACES = [("Cu", "100"), ("Cu", "111"), ("Cu", "110"), ("W", "110"), ("W", "100")]
BULKS = [("Cu", False), ("Cu", True), ("W", False), ("W", True)]
ADATOMS = [(m, f, h) for m, f in SURFACES for h in HOP_LABELS[("fcc" if m == "Cu" else "bcc"), f]]
ALL_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


def adatom(metal: str, facet: str, hop: str = "", n: int = 3, layers: int = 4, **keys: object) -> Hop:
    spec = Spec(f"{metal}{facet}", metal, facet, "adatom", hop, images=ALL_FRACTIONS, **keys)  # type: ignore[arg-type]
    return build_hop(spec, size=(n, n, 1), layers=layers, vacuum=6.0)


def vacancy(metal: str, cubic: bool, n: int = 3) -> Hop:
    spec = Spec(f"{metal}v", metal, "bulk", "vacancy", images=ALL_FRACTIONS, cubic=cubic)
    return build_hop(spec, size=(n, n, n), layers=0, vacuum=0.0)


def every_hop() -> list[Hop]:
    return [adatom(*key) for key in ADATOMS] + [vacancy(m, c, n=2 if c else 3) for m, c in BULKS]


@pytest.mark.parametrize("metal,facet,hop", ADATOMS)
@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("layers", [2, 3, 4, 5])
def test_no_atom_is_near_a_face_and_the_hop_is_in_the_middle(
    metal: str, facet: str, hop: str, n: int, layers: int
) -> None:
    built = adatom(metal, facet, hop, n, layers)
    for image in built.images:
        distances = face_distances(image.atoms)
        assert distances.min() > FACE_MARGIN
        wrapped = image.atoms.copy()
        wrapped.wrap(eps=0)
        assert np.allclose(wrapped.positions, image.atoms.positions)
        assert distances[image.mover].min() > 0.3
    # for n > 2 the mover stays farther from the faces than half of the shortest surface vector would take it
    if n > 2:
        assert min(face_distances(i.atoms)[i.mover].min() for i in built.images) > 1.5


@pytest.mark.parametrize("hop", every_hop(), ids=lambda h: f"{h.spec.name}-{h.spec.hop}-{len(h.host_unit)}")
class TestEveryHop:
    def test_supercell_is_the_unit_repeated(self, hop: Hop) -> None:
        host = hop.host_unit.repeat(hop.repeat)
        for image in hop.images:
            assert np.allclose(image.atoms.cell.array, host.cell.array)
            assert (image.atoms.pbc == hop.host_unit.pbc).all()
            on_site = image.site_of_atom >= 0
            assert np.allclose(image.atoms.positions[on_site], host.positions[image.site_of_atom[on_site]])
            assert set(image.site_of_atom[on_site]) | set(image.removed) == set(range(len(host)))
            assert np.flatnonzero(~on_site).tolist() == [image.mover]

    def test_path_is_straight_in_the_plane_and_starts_at_zero(self, hop: Hop) -> None:
        start = hop.images[0].mover_position
        for image in hop.images:
            step = image.mover_position - start - image.fraction * hop.hop_vector
            assert np.allclose(step[:2], 0, atol=1e-9)
            if hop.spec.facet == "bulk":
                assert abs(step[2]) < 1e-9

    def test_labels(self, hop: Hop) -> None:
        assert [i.label for i in hop.images] == ["initial", "s=0.25", "saddle", "s=0.75", "final"]

    def test_a_symmetric_hop_has_the_same_neighbours_there_and_back(self, hop: Hop) -> None:
        expected = hop.spec.facet != "111"
        assert hop.symmetric is expected
        pairs = [(0, 4), (1, 3)]
        same = all(np.allclose(all_distances(hop, a), all_distances(hop, b), atol=1e-6) for a, b in pairs)
        assert same is expected

    def test_nothing_comes_closer_than_the_contact(self, hop: Hop) -> None:
        nn = neighbour_distance(hop.spec.metal, "PBE")
        for image in hop.images:
            nearest = neighbour_shells(image)[0][0]
            if hop.spec.kind == "adatom":
                assert nearest == pytest.approx(CONTACT * nn, abs=1e-6)
            else:
                assert nearest > 0.8 * nn

    def test_structures_cannot_be_changed_in_place(self, hop: Hop) -> None:
        with pytest.raises(ValueError, match="read-only"):
            hop.host_unit.positions[0] = 0.0
        with pytest.raises(ValueError, match="read-only"):
            hop.images[0].atoms.cell.array[0, 0] = 1.0
        changed = hop.images[0].atoms.copy()
        changed.positions[0] += 0.1
        assert not np.allclose(changed.positions[0], hop.images[0].atoms.positions[0])

    def test_described_in_words(self, hop: Hop) -> None:
        text = describe(hop)
        assert hop.spec.metal in text and hop.spec.hop in text and "saddle" in text
        assert f"{np.linalg.norm(hop.hop_vector):.3f}" in text


def all_distances(hop: Hop, index: int) -> np.ndarray:
    image = hop.images[index]
    _, d = find_mic(image.atoms.positions - image.mover_position, image.atoms.cell, image.atoms.pbc)
    return np.sort(d)


# ---- what a surface scientist expects
# -----------------------------------------------------------------------------


def shells(hop: Hop, fraction: float) -> list[int]:
    """How many neighbours the mover touches, up to 3 % beyond the nearest."""
    return [n for _, n in neighbour_shells(hop.image(fraction), within=1.03)]


@pytest.mark.parametrize(
    "metal,facet,hop,touching,length",
    [
        ("Cu", "100", "hollow-bridge-hollow", {0: 4, 0.5: 2, 1: 4}, np.sqrt(1 / 2)),
        ("Cu", "111", "fcc-bridge-hcp", {0: 3, 0.5: 2, 1: 3}, np.sqrt(1 / 6)),
        ("Cu", "110", "hollow-longbridge-hollow", {0: 5, 0.5: 2, 1: 5}, np.sqrt(1 / 2)),
        ("Cu", "110", "hollow-shortbridge-hollow", {0: 5, 0.5: 2, 1: 5}, 1.0),
        ("W", "110", "hollow-bridge-hollow", {0: 2, 0.5: 2, 1: 2}, np.sqrt(3 / 4)),
        ("W", "100", "hollow-bridge-hollow", {0: 4, 0.5: 2, 1: 4}, 1.0),
    ],
)
def test_neighbours_of_the_adatom(
    metal: str, facet: str, hop: str, touching: dict[float, int], length: float
) -> None:
    built = adatom(metal, facet, hop)
    a = material(metal).lattice_constant("PBE")
    assert np.linalg.norm(built.hop_vector) == pytest.approx(length * float(a))
    for fraction, count in touching.items():
        assert sum(shells(built, fraction)) == count


def test_fcc_site_has_no_atom_below_it_and_hcp_has_one_in_the_second_layer() -> None:
    built = adatom("Cu", "111", "fcc-bridge-hcp")
    layers = np.unique(built.host_unit.positions[:, 2].round(3))[::-1]
    for fraction, layer in [(0.0, 2), (1.0, 1)]:
        image = built.image(fraction)
        delta = image.atoms.positions - image.mover_position
        delta[:, 2] = 0
        _, rho = find_mic(delta, image.atoms.cell, (True, True, False))
        below = [a for a in np.flatnonzero(rho < 1e-6) if a != image.mover]
        highest = max(image.atoms.positions[below, 2])
        assert highest == pytest.approx(layers[layer], abs=2e-3)


def test_bcc110_hollow_continues_the_crystal() -> None:
    slab = adatom("W", "110", layers=4)
    host5 = slab_unit("W", "110", 5, 6.0, "PBE")
    step = host5.positions[4] - host5.positions[3]
    top = slab.host_supercell().positions[:, 2].max()
    host = slab.host_supercell()
    nearest = slab.image(0.0).mover_position[:2] - (
        host.positions[np.isclose(host.positions[:, 2], top), :2] + step[:2]
    )
    _, d = find_mic(np.column_stack([nearest, np.zeros(len(nearest))]), host.cell, host.pbc)
    assert d.min() < 1e-6


@pytest.mark.parametrize(
    "metal,facet,count",
    [
        ("Cu", "100", 1),
        ("Cu", "111", 1),
        ("Cu", "110", 2),
        ("W", "110", 1),
        ("W", "100", 1),
        ("Cu", "bulk", 1),
        ("W", "bulk", 1),
    ],
)
def test_number_of_distinct_hops(metal: str, facet: str, count: int) -> None:
    assert len(list_hops(metal, facet)) == count


def test_every_listed_facet_has_hops() -> None:
    assert {(s, f) for s, facets in FACETS.items() for f in facets} == set(HOP_LABELS)
    for key, labels in HOP_LABELS.items():
        table = VACANCY_HOPS[key[0]] if key[1] == "bulk" else ADATOM_HOPS[key]
        assert tuple(table) == labels


def hops_between_neighbours(metal: str, facet: str, stable: tuple[str, ...]) -> set[tuple[str, str, float]]:
    """Neighbouring pairs of stable sites found by distance: (from, to, length in a), one per kind and length.

    Two sites are neighbours when no other stable site lies closer to the middle of the step (the rule of a
    Gabriel graph), and the middle is not on top of an atom, which is a summit and no saddle. Steps of one
    length between sites of the same kinds are related by the surface's symmetry here.
    """
    structure = "fcc" if metal == "Cu" else "bcc"
    a = float(material(metal).lattice_constant("PBE"))
    cell = slab_unit(metal, facet, 4, 6.0, "PBE").cell.array[:2, :2] / a
    steps = np.array([(i, j) for i in range(-3, 4) for j in range(-3, 4)]) @ cell
    sites = [(name, np.array(SITES[structure, facet][name]) + t) for name in stable for t in steps]
    found = set()
    for name in stable:
        start = np.array(SITES[structure, facet][name])
        for other, end in sites:
            length = np.linalg.norm(end - start)
            if not 0.01 < length < 1.5:
                continue
            middle = (start + end) / 2
            if np.linalg.norm(steps - middle, axis=1).min() < 1e-6:
                continue
            if min(np.linalg.norm(p - middle) for _, p in sites) > length / 2 - 1e-6:
                found.add((*sorted((name, other)), round(float(length), 4)))
    return found


@pytest.mark.parametrize("metal,facet", SURFACES)
def test_list_of_hops_is_complete(metal: str, facet: str) -> None:
    stable = ("fcc", "hcp") if facet == "111" else ("hollow",)
    found = hops_between_neighbours(metal, facet, stable)
    structure = "fcc" if metal == "Cu" else "bcc"
    listed = set()
    for label in list_hops(metal, facet):
        start, end = (np.array(p) for p in ADATOM_HOPS[structure, facet][label])
        names = label.split("-")
        listed.add((*sorted((names[0], names[2])), round(float(np.linalg.norm(end - start)), 4)))
    assert found == listed


@pytest.mark.parametrize("metal,facet", SURFACES)
def test_sites_agree_with_pymatgen(metal: str, facet: str) -> None:
    """pymatgen's finder and our table name the same points; it calls four-fold hollows bridges."""
    from pymatgen.analysis.adsorption import AdsorbateSiteFinder
    from pymatgen.core.surface import Slab
    from pymatgen.io.ase import AseAtomsAdaptor

    structure = "fcc" if metal == "Cu" else "bcc"
    unit = slab_unit(metal, facet, 6, 6.0, "PBE")
    bulk_like = AseAtomsAdaptor.get_structure(Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True))
    slab = Slab(
        bulk_like.lattice, bulk_like.species, bulk_like.frac_coords, (0, 0, 1), bulk_like, 0, np.eye(3)
    )
    finder = AdsorbateSiteFinder(slab)  # it turns the slab: compare in its lattice's coordinates
    sites = finder.find_adsorption_sites(distance=1.5)["all"]
    found = finder.slab.lattice.get_fractional_coords(sites) @ unit.cell.array
    a = float(material(metal).lattice_constant("PBE"))
    ours = {name: a * np.array(xy) + unit.positions[-1, :2] for name, xy in SITES[structure, facet].items()}
    named = set()
    for point in found:
        distance = {}
        for name, xy in ours.items():
            # all symmetry images: the table has one of each kind, pymatgen may choose another
            orbit = symmetry_images(unit, np.append(xy, unit.positions[-1, 2] + 1.5))
            delta = np.column_stack([orbit[:, :2] - point[:2], np.zeros(len(orbit))])
            distance[name] = find_mic(delta, unit.cell, (True, True, False))[1].min()
        nearest = min(distance, key=lambda k: distance[k])
        # pymatgen puts the threefold site at the centre of mass of its triangle, we at equal distances
        assert distance[nearest] < (0.25 if nearest == "threefold" else 1e-3)
        named.add(nearest)
    assert named == set(ours)
    assert len(found) == len(ours)


def symmetry_images(unit: Atoms, point: np.ndarray) -> np.ndarray:
    import spglib

    data = spglib.get_symmetry((unit.cell.array, unit.get_scaled_positions(), unit.numbers), symprec=1e-3)
    scaled = unit.cell.scaled_positions(point)
    images = [r @ scaled + t for r, t in zip(data["rotations"], data["translations"])]
    keep = [p for p, r in zip(images, data["rotations"]) if r[2, 2] == 1]
    return np.array(keep) @ unit.cell.array


# ---- hosts
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metal,facet", SURFACES)
def test_one_atom_per_layer_and_bulk_distances(metal: str, facet: str) -> None:
    slab = slab_unit(metal, facet, 7, 5.0, "PBE")
    assert len(slab) == 7 and (np.diff(slab.positions[:, 2]) > 0.5).all()
    nn = neighbour_distance(metal, "PBE")
    big = slab.repeat((5, 5, 1))
    middle = 7 * 12 + 3  # the middle layer of the middle cell
    _, d = find_mic(big.positions - big.positions[middle], big.cell, big.pbc)
    assert np.sum(np.abs(d - nn) < 1e-6) == (12 if metal == "Cu" else 8)
    assert slab.positions[0, 2] == pytest.approx(5.0)
    assert slab.cell.array[2, 2] - slab.positions[-1, 2] == pytest.approx(5.0)


@pytest.mark.parametrize("metal,facet", SURFACES)
def test_vacuum_counts_from_the_adatom(metal: str, facet: str) -> None:
    built = adatom(metal, facet)
    for image in built.images:
        assert image.atoms.cell.array[2, 2] - image.mover_position[2] >= 6.0
        assert image.atoms.positions[:, 2].min() == pytest.approx(6.0)


def test_all_hops_of_a_facet_share_one_host() -> None:
    one, other = (adatom("Cu", "110", h).host_unit for h in list_hops("Cu", "110"))
    assert np.array_equal(one.positions, other.positions) and np.array_equal(one.cell.array, other.cell.array)


@pytest.mark.parametrize(
    "metal,cubic,atoms", [("Cu", False, 1), ("Cu", True, 4), ("W", False, 1), ("W", True, 2)]
)
def test_bulk_cells(metal: str, cubic: bool, atoms: int) -> None:
    unit = bulk_unit(metal, "PBE", cubic=cubic)
    a = float(material(metal).lattice_constant("PBE"))
    per_cube = 4 if metal == "Cu" else 2
    assert len(unit) == atoms and unit.cell.volume == pytest.approx(a**3 * atoms / per_cube)
    assert face_distances(unit).min() > 0.5


def test_cell_without_a_gap_is_refused() -> None:
    row = Atoms("H20", positions=[[0.15 * i, 1, 1] for i in range(20)], cell=[3.0, 3.0, 3.0], pbc=True)
    with pytest.raises(InputError, match="cell faces"):
        away_from_faces(row)


# ---- thick hosts
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metal,facet", SURFACES)
@pytest.mark.parametrize("layers", [2, 3, 4, 5])
@pytest.mark.parametrize("thick_layers", [5, 8, 13])
def test_thick_top_coincides_with_thin(metal: str, facet: str, layers: int, thick_layers: int) -> None:
    built = adatom(metal, facet, layers=layers)
    thick, top = thick_host(built.spec, thick_layers, 6.0, relaxed=built.host_unit)
    delta = thick.positions[top] - built.host_unit.positions
    assert np.allclose(delta, delta[0], atol=1e-9) and np.allclose(delta[0, :2], 0, atol=1e-9)
    assert top.tolist() == list(range(thick_layers - layers, thick_layers))
    assert face_distances(thick).min() > FACE_MARGIN
    gap = [a.cell.array[2, 2] - a.positions[:, 2].max() for a in (thick, built.host_unit)]
    assert gap[0] == pytest.approx(gap[1])


def test_thick_slab_takes_both_surface_relaxations() -> None:
    built = adatom("Cu", "100", layers=6)
    thin = built.host_unit.copy()
    thin.positions[:, 2] += [0.06, 0.01, 0.0, 0.0, -0.02, -0.09]
    thick, top = thick_host(built.spec, 12, 6.0, relaxed=thin)
    gaps, thin_gaps = np.diff(thick.positions[:, 2]), np.diff(thin.positions[:, 2])
    ideal = np.diff(built.host_unit.positions[:, 2])[0]
    assert np.allclose(gaps[-3:], thin_gaps[-3:]) and np.allclose(gaps[:3], thin_gaps[:3])
    assert np.allclose(gaps[3:-3], ideal)
    delta = (thick.positions[top] - thin.positions)[
        -4:
    ]  # the upper half lies exactly where that of the thin slab does
    assert np.allclose(delta, delta[-1])
    same, _ = thick_host(built.spec, 6, 6.0, relaxed=thin)
    assert np.allclose(same.positions - thin.positions, same.positions[0] - thin.positions[0])


def test_thick_slab_bad_input() -> None:
    built = adatom("Cu", "100")
    with pytest.raises(InputError, match="layers"):
        thick_host(built.spec, 3, 6.0, relaxed=built.host_unit)
    with pytest.raises(InputError, match="surface"):
        thick_host(vacancy("Cu", True, 2).spec, 8, 6.0)
    with pytest.raises(InputError, match="in-plane"):
        thick_host(built.spec, 8, 6.0, relaxed=adatom("Cu", "111").host_unit)
    alone, top = thick_host(built.spec, 8, 6.0)
    assert len(alone) == 8 and top.tolist() == list(range(8))


# ---- vacancies
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metal,cubic", BULKS)
def test_vacancy_saddle_lies_half_way_between_two_empty_sites(metal: str, cubic: bool) -> None:
    hop = vacancy(metal, cubic, n=2 if cubic else 3)
    host = hop.host_supercell()
    for image in hop.images:
        assert len(image.removed) == 2 and len(image.atoms) == len(host) - 1
        ends = host.positions[list(image.removed)]
        assert np.allclose(hop.image(0.5).mover_position, ends.mean(axis=0))
        assert min(np.linalg.norm(ends - hop.image(0.0).mover_position, axis=1)) < 1e-9
        assert min(np.linalg.norm(ends - hop.image(1.0).mover_position, axis=1)) < 1e-9
    assert np.linalg.norm(hop.hop_vector) == pytest.approx(neighbour_distance(metal, "PBE"))


def test_neighbours_beside_a_vacancy() -> None:
    fcc, bcc = vacancy("Cu", True, 2), vacancy("W", True, 3)
    assert sum(n for _, n in neighbour_shells(fcc.image(0.0), 1.05)) == 11
    assert sum(n for _, n in neighbour_shells(fcc.image(0.5), 1.05)) == 4
    assert sum(n for _, n in neighbour_shells(bcc.image(0.0), 1.05)) == 7
    assert sum(n for _, n in neighbour_shells(bcc.image(0.5), 1.05)) == 6


# ---- symmetry
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metal,facet,orders,axes",
    [
        ("Cu", "100", {0: 8, 0.25: 2, 0.5: 4}, {0: (0, 2), 0.5: (0, 1, 2)}),
        ("Cu", "111", {0: 6, 0.5: 2, 1: 6}, {0: (0, 2), 0.5: (0, 1, 2)}),
        ("Cu", "110", {0: 4, 0.25: 2, 0.5: 4}, {0: (0, 1, 2)}),
        ("W", "110", {0: 4, 0.25: 1, 0.5: 2}, {0: (0, 1, 2), 0.25: (0, 1, 2)}),
        ("W", "100", {0: 8, 0.25: 2, 0.5: 4}, {0: (0, 2)}),
    ],
)
def test_site_symmetry(
    metal: str, facet: str, orders: dict[float, int], axes: dict[float, tuple[int, ...]]
) -> None:
    hop = adatom(metal, facet)
    for fraction, order in orders.items():
        found = force_directions(hop.image(fraction), hop.host_unit)
        assert len(found.rotations) == order
        assert np.allclose(found.rotations[0], np.eye(3))
        if fraction in axes:
            assert found.axes == axes[fraction]
    rotations = force_directions(hop.image(0.0), hop.host_unit).rotations
    for r in rotations:  # a group of isometries that keep the surface normal
        assert np.allclose(r @ r.T, np.eye(3), atol=1e-6) and r[2, 2] == pytest.approx(1)
        assert any(np.allclose(q, r.T, atol=1e-6) for q in rotations)


def test_site_symmetry_of_a_vacancy_hop() -> None:
    fcc, bcc = vacancy("Cu", True, 2), vacancy("W", True, 2)
    assert len(force_directions(fcc.image(0.5), fcc.host_unit).rotations) == 8  # D2h
    assert len(force_directions(fcc.image(0.0), fcc.host_unit).rotations) == 4  # C2v
    assert len(force_directions(bcc.image(0.5), bcc.host_unit).rotations) == 12  # D3d
    assert force_directions(bcc.image(0.5), bcc.host_unit).axes == (0,)


def test_supercell_shape_and_host_lower_the_symmetry() -> None:
    spec = Spec("long", "Cu", "100", "adatom")
    long = build_hop(spec, size=(4, 3, 1), layers=3, vacuum=6.0)
    assert len(force_directions(long.image(0.0), long.host_unit).rotations) == 4
    square = adatom("Cu", "100")
    host = slab_unit("Cu", "110", 4, 6.0, "PBE")
    assert len(force_directions(square.image(0.0), host).rotations) == 4


# ---- sizes and foreign atoms
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 3, 1), (3, 3, 2), (3, 3), (3.0, 3, 1), (0, 0, 0), (True, 3, 1)])
def test_bad_sizes_of_a_slab(size: tuple) -> None:
    with pytest.raises(InputError, match="size"):
        build_hop(Spec("x", "Cu", "100", "adatom"), size=size, layers=4, vacuum=6.0)


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 2, 1), (2, 2)])
def test_bad_sizes_of_a_bulk(size: tuple) -> None:
    with pytest.raises(InputError, match="size"):
        build_hop(Spec("x", "Cu", "bulk", "vacancy"), size=size, layers=4, vacuum=6.0)


@pytest.mark.parametrize(
    "layers,vacuum,word",
    [
        (1, 6.0, "layers"),
        (2.0, 6.0, "layers"),
        (True, 6.0, "layers"),
        (4, 0.0, "vacuum"),
        (4, float("nan"), "vacuum"),
    ],
)
def test_bad_slabs(layers: int, vacuum: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        build_hop(Spec("x", "Cu", "100", "adatom"), size=(3, 3, 1), layers=layers, vacuum=vacuum)


def test_foreign_adatom_sits_by_its_size() -> None:
    own, foreign = adatom("Cu", "100"), adatom("Cu", "100", species="Au")
    image = foreign.image(0.0)
    assert image.atoms.symbols[image.mover] == "Au"
    assert image.mover_position[2] > own.image(0.0).mover_position[2]
