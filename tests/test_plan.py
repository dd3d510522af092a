"""From a hop and settings to steps: which there are, what their hashes follow, which cells and meshes they have."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emforce.errors import InputError
from emforce.hop import Hop
from emforce.plan import HopPlan, displaced_axes, plan, rotation_to_x, structure_digest, turned_hop
from emforce.settings import Settings, load_settings
from emforce.site_symmetry import force_directions
from emforce.structure import built_hop

pytestmark = pytest.mark.gpaw

STRUCTURES = Path(__file__).parent.parent / "structures"
ADATOMS = ("cu100-adatom", "w110-adatom", "al111-adatom")
VACANCIES = ("cu-vacancy", "w-vacancy")
#: of Cu(100) as built, preset quick, from the revision before the embedding was split into steps
KEPT_NAMES = {
    "host": "host-441a81e074337ae5cb6e",
    "image 0": "image-a75fbb6dc26e5b3be8f0",
    "image 0 +0": "displaced-2ad4ea221f3540fa2ea4",
    "image 0.5": "image-6eb4e82c3f7a74ea8ea8",
    "image 0.5 +0": "displaced-500a3465483c610aa75b",
    "thick 8": "host-076fd6f45d960df42f1e",
    "thick 6": "host-207024b16a80fbbd312e",
    "bulk": "bulk-86590f52842a9ff296d7",
}


@cache
def built(name: str, layers: int = 4) -> Hop:
    return built_hop(STRUCTURES / f"{name}.toml", load_settings("quick", {"structure.layers": layers}))


def settings(preset: str = "quick", **changes: Any) -> Settings:
    return load_settings(preset, {key.replace("__", "."): value for key, value in changes.items()})


@cache
def planned(name: str) -> HopPlan:
    return plan(built(name), settings())


def keys(made: HopPlan) -> dict[str, str]:
    """Of every step of the wind force: ground states under the names the embeddings know them by, the others by title."""
    found = {"bulk": made.bulk.key, "wind": made.wind.key} | {name: step.key for name, step in made.ground_states.items()}
    for step in made.wind.needs.values():
        found |= {step.title: step.key, step.needs["tables"].title: step.needs["tables"].key}
    return found


def embedding_steps(of: dict[str, str]) -> set[str]:
    """Names of what comes after the ground states."""
    return {name for name in of if " embedded in " in name or " Green functions of " in name or name == "wind"}


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
def test_the_hop_lies_along_x(name):
    hop = built(name)
    flat = turned_hop(hop)
    length = np.linalg.norm(hop.hop_vector)
    assert flat.hop_vector == pytest.approx([length, 0, 0], abs=1e-9)
    first, last = flat.images[0], flat.images[-1]
    step = last.mover_position - first.mover_position
    along = step[:2] if name in ADATOMS else step  # the adatom rises over the bridge
    assert along == pytest.approx([(last.fraction - first.fraction) * length] + [0] * (len(along) - 1), abs=1e-6)
    rotation = rotation_to_x(hop.hop_vector, keep_z=name in ADATOMS)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    if name in ADATOMS:
        assert rotation[2] == pytest.approx([0, 0, 1])
    for old, new in zip(hop.images, flat.images, strict=True):
        assert new.atoms.get_all_distances(mic=True) == pytest.approx(old.atoms.get_all_distances(mic=True), abs=1e-8)
        assert np.array(new.atoms.cell) == pytest.approx(np.array(flat.repeat)[:, None] * np.array(flat.host_unit.cell))


@pytest.mark.parametrize("vector", [(1, 0, 0), (-1, 0, 0), (0, 0, 2), (0, 0, -1), (1, 1, 1), (-0.3, 2, 0.1)])
def test_rotation_of_any_vector(vector):
    rotation = rotation_to_x(np.array(vector, float), keep_z=False)
    assert rotation @ vector == pytest.approx([np.linalg.norm(vector), 0, 0], abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("points", [[0.0, 0.5], [0.0, 0.25, 0.5]])
def test_steps_of_the_main_job(points, tmp_path):
    hop = tmp_path / "cu100-adatom.toml"
    text = (STRUCTURES / hop.name).read_text(encoding="utf-8")
    hop.write_text(re.sub("(?m)^images = .*$", f"images = {points}", text), encoding="utf-8")
    made, count = plan(built_hop(hop, settings()), settings()), len(points)
    assert [image.fraction for image in made.hop.images] == points
    kinds = [step.kind for step in made.wind_steps()]
    # bulk, thin host, two thick hosts, the images, the mover displaced once where the site mirrors the hop else twice,
    # tables of each thick host, and of the first far from E_F, each image embedded in each of them, and what joins these
    displaced = 2 + 2 * (count - 2)
    assert sorted(kinds) == sorted(["bulk"] + 3 * ["host", "tables"] + count * ["image"] + displaced * ["displaced"]
                                   + 3 * count * ["embedding"] + ["wind"])
    names = [step.name for step in made.steps()]
    assert len(set(names)) == len(names)
    assert set(names) >= {step.name for step in made.wind_steps()}
    for step in made.steps():
        assert all(names.index(need.name) < names.index(step.name) for need in step.needs.values())
    assert kinds[-1] == "wind"


def test_an_embedding_waits_for_its_own_image_and_host_only():
    made = planned("cu100-adatom")
    for step in made.wind.needs.values():
        images = [need for need in step.needs.values() if need.kind == "image"]
        assert [i.name for i in images] == [made.ground_states[step.inputs["image"]["name"]].name]
        tables = step.needs["tables"]
        assert [need.name for need in tables.needs.values()] == [step.needs["thick"].name]
    # both images of a host are embedded with the same tables
    assert len({step.needs["tables"].name for step in made.wind.needs.values()}) == 3


def test_far_energies_have_tables_of_their_own_and_leave_the_other_steps_as_they_are():
    hop, settings = built("cu100-adatom"), load_settings("quick")
    without = plan(hop, load_settings("quick", {"embedding.wide_energies_eV": []}))
    made = plan(hop, settings)
    assert {step.key for step in without.steps()} - {step.key for step in made.steps()} == {without.wind.key}
    assert made.direct.key == without.direct.key, "the response does not wait for them"
    far = [made.wind.needs[name] for name in made.wind.inputs["wide"]["steps"]]
    assert len(far) == len(hop.images)
    for step in far:
        assert step.needs["tables"].inputs["energies"] == list(settings.embedding.wide_energies_eV)
        assert len(step.needs["tables"].inputs["sigmas"]) == len(step.inputs["radii"]) == 1
    assert made.wind.inputs["embeddings"] == without.wind.inputs["embeddings"]


@pytest.mark.parametrize("name", ["w110-adatom", "cu-vacancy"])
def test_spin_orbit_coupling_takes_the_ground_states_that_are_there(name):
    plain, made = planned(name), plan(built(name), settings(dft__spin_orbit=True))
    assert {n: step.key for n, step in made.ground_states.items()} == {n: step.key for n, step in plain.ground_states.items()}
    assert made.direct is None
    kinds = Counter(step.kind for step in made.steps())
    assert {kind: kinds[kind] for kind in ("spheres", "spinor_embedding", "spinor_wind", "spin_orbit")} == {
        "spheres": 1, "spinor_embedding": 3, "spinor_wind": 1, "spin_orbit": 1}
    assert not kinds.keys() & {"tables", "embedding", "wind", "response"}
    served = made.wind.needs[made.wind.inputs["embeddings"][0]]
    assert made.wind.needs[made.wind.inputs["wide"]].inputs["energies"] == list(settings().embedding.wide_energies_eV)
    tables = plain.wind.needs[plain.wind.inputs["embeddings"][0]["steps"][0]].needs["tables"]
    for field in ("mesh", "sigmas", "energies", "translations"):
        assert served.inputs[field] == tables.inputs[field]
    assert made.spin_orbit in made.wind_steps()


def test_spin_orbit_coupling_is_refused_where_it_is_not_there(tmp_path):
    spec = tmp_path / "ag-on-cu.toml"
    spec.write_text((STRUCTURES / "cu100-adatom.toml").read_text().replace('species = "Cu"', 'species = "Ag"'))
    with pytest.raises(InputError, match=r"dft.spin_orbit.*Cu"):
        plan(built_hop(spec, load_settings("quick")), settings(dft__spin_orbit=True))
    with pytest.raises(InputError, match=r"dft.spin_orbit.*wind force and heat of transport alone"):
        settings(dft__spin_orbit=True).without_spin_orbit()


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
def test_resources_follow_the_kind_of_work(name):
    wanted = {"bulk": "scf", "host": "scf", "image": "scf", "displaced": "scf", "tables": "embedding",
              "embedding": "embedding", "wind": "light"}
    for step in planned(name).wind_steps():
        assert step.resources == wanted[step.kind], step.title


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
def test_tables_hold_every_translation_of_the_regions(name):
    """Against the region as the perturbation makes it, from the atoms' nearest images and their outer copies."""
    from emforce.embedding_jobs import defect_geometry

    for step in planned(name).wind.needs.values():
        tables, radius = step.needs["tables"], max(step.inputs["radii"])
        R = [tuple(r) for r in tables.inputs["translations"]]
        assert R == sorted(set(R)), "in order"
        assert [tuple(-x for x in r) for r in reversed(R)] == R, "closed"
        geometry = defect_geometry(step.inputs, step.inputs["image"])
        unit = geometry.cell / np.array(geometry.repeat)[:, None]
        per_cell = len(geometry.host_positions) // int(np.prod(geometry.repeat))
        centre = geometry.positions[geometry.mover]
        # every host site of the infinite crystal within the radius, by brute force over many cells
        spans = [range(-8, 12) if p else range(1) for p in geometry.periodic]
        cells = np.array([(i, j, k) for i in spans[0] for j in spans[1] for k in spans[2]])
        vectors = (cells @ unit)[:, None] + geometry.host_positions[None, :per_cell] - centre
        inside = cells[(np.linalg.norm(vectors, axis=2) <= radius).any(axis=1)]
        assert len(inside) > 4
        needed = {tuple(int(x) for x in r) for r in (inside[:, None] - inside[None]).reshape(-1, 3)}
        assert needed <= set(R)
        assert len(R) <= 2.5 * len(needed)


def test_all_directions_are_displaced_both_ways():
    everything = settings("quick", dft__directions="all")
    for image in turned_hop(built("cu100-adatom")).images:
        wanted = displaced_axes(image, turned_hop(built("cu100-adatom")).host_unit, everything)
        assert set(wanted) == set(force_directions(image, turned_hop(built("cu100-adatom")).host_unit).axes)
        assert all(signs == ("+", "-") for signs in wanted.values())


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
def test_one_displacement_only_where_the_site_mirrors_it(name):
    flat = turned_hop(built(name))
    for image in flat.images:
        (signs,) = displaced_axes(image, flat.host_unit, settings()).values()
        # independent of spglib: does turning or mirroring about the mover map the atoms on themselves and x on -x?
        vectors = image.atoms.get_distances(image.mover, range(len(image.atoms)), mic=True, vector=True)
        lengths = np.linalg.norm(vectors, axis=1)
        inner = vectors[lengths < 0.999 * lengths.max()]
        reach = min(np.linalg.norm(np.array(image.atoms.cell)[:2], axis=1)) / 2 - 0.1
        inner = inner[np.linalg.norm(inner, axis=1) < reach]

        def maps(operation: list[float], inner: Any = inner) -> bool:
            turned = inner * operation
            return all(np.linalg.norm(inner - v, axis=1).min() < 0.01 for v in turned)

        candidates = [[-1.0, 1, 1], [-1.0, -1, 1]] + ([[-1.0, -1, -1], [-1.0, 1, -1]] if name in VACANCIES else [])
        mirrored = any(maps(c) for c in candidates)
        if signs == ("+",):
            assert mirrored, image.label
        else:  # the stacking below makes fcc and hcp sides differ, beyond the atoms seen here
            assert name == "al111-adatom" or not mirrored, image.label


# hashes


def test_the_same_input_gives_the_same_hashes():
    assert keys(plan(built("cu100-adatom"), settings())) == keys(planned("cu100-adatom"))
    assert structure_digest(built("cu100-adatom")) == structure_digest(built("cu100-adatom"))
    assert structure_digest(built("cu100-adatom")) != structure_digest(built("cu100-adatom", layers=5))


DFT = ["dft__grid_A", "dft__smearing_eV", "dft__density_tolerance"]


@pytest.mark.parametrize("field", DFT)
def test_every_step_follows_the_density_functional_settings(field):
    section, _, name = field.partition("__")
    value = getattr(getattr(settings(), section), name)
    other = keys(plan(built("cu100-adatom"), settings(**{field: 0.9 * value})))
    before = keys(planned("cu100-adatom"))
    assert set(other) == set(before)
    assert all(other[name] != before[name] for name in before)


@pytest.mark.parametrize("change", [
    {"embedding__radii_A": [6.0, 5.0]}, {"embedding__energies_eV": [-0.1, 0.0, 0.1]}, {"host__slab_mesh": 48},
    {"host__sigma_check_eV": 0.25},
], ids=lambda c: next(iter(c)))
def test_the_embedding_uses_finished_ground_states_again(change):
    other = keys(plan(built("cu100-adatom"), settings(**change)))
    before = keys(planned("cu100-adatom"))
    assert other["wind"] != before["wind"]
    kept = set(before) - embedding_steps(before) - {"bulk"}
    assert {name: other[name] for name in kept} == {name: before[name] for name in kept}
    assert set(other) - embedding_steps(other) == kept | {"bulk"}


def test_what_else_steps_follow():
    before = keys(planned("cu100-adatom"))

    def same(**change: Any) -> set[str]:
        other = keys(plan(built("cu100-adatom"), settings(**change)))
        return {name for name in other if before.get(name) == other[name]}

    images = {name for name in before if name.startswith("image ")}
    hosts = {"host", *(name for name in before if name.startswith("thick"))}
    thin = {name for name in before if "thick 6" in name}
    tables = {name for name in before if "Green functions" in name}
    assert same(structure__thick_layers=[10, 6]) == {"bulk", "host"} | thin | images
    assert same(dft__displacement_A=0.04) == {"bulk"} | hosts | tables
    of_radii = {n for n in before if "embedded in thick 8" in n and "far from E_F" not in n}
    assert len(of_radii) == len(built("cu100-adatom").images)
    assert same(embedding__radii_A=[6.8, 7.4]) == set(before) - of_radii - {"wind"}
    assert same(dft__slab_kpts=[3, 3, 1]) == {"bulk"}
    assert same(host__bulk_kpts=14) == set(before) - {"bulk"}
    # 1e-10 Angstrom is rounding
    hop = built("cu100-adatom")
    atoms = hop.images[0].atoms.copy()
    atoms.positions[0] += 1e-12
    assert np.array_equal(np.round(atoms.positions, 9), np.round(hop.images[0].atoms.positions, 9))


def test_ground_states_keep_the_hashes_that_stores_hold():
    """Regression: names of finished steps in stores made before the embedding was split (Cu(100) as built, preset quick)."""
    made = planned("cu100-adatom")
    names = {name: step.name for name, step in made.ground_states.items()} | {"bulk": made.bulk.name}
    assert {name: names[name] for name in KEPT_NAMES} == KEPT_NAMES


# meshes


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
@pytest.mark.parametrize("preset", ["quick", "standard", "production"])
@pytest.mark.parametrize("spacing", [0.24, 0.2, 0.17])
def test_host_and_supercell_share_k_points_and_grid(name, preset, spacing):
    made = plan(built(name), settings(preset, dft__grid_A=spacing))
    repeat = np.array(made.hop.repeat)
    host = made.ground_states["host"].inputs
    for image in made.images:
        assert (np.array(image.inputs["kpts"]) * repeat).tolist() == list(host["kpts"])
        assert (np.array(host["grid"]) * repeat).tolist() == list(image.inputs["grid"])
        assert (np.array(image.inputs["matrix_kpts"]) * repeat).tolist() == list(host["matrix_kpts"])
    cell = np.array(made.hop.host_unit.cell)
    for axis in range(3):
        height = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[axis - 2], cell[axis - 1]))
        assert height / host["grid"][axis] <= spacing + 1e-9
    for step in made.ground_states.values():
        if step.kind == "host" and not made.hop.host_unit.pbc[2]:
            assert list(step.inputs["kpts"]) == list(host["kpts"])
            assert list(step.inputs["grid"][:2]) == list(host["grid"][:2])


@pytest.mark.parametrize("name, host", [("cu100-adatom", "thick 6"), ("cu-vacancy", "host")])
def test_the_direct_part_is_compared_with_the_host_that_the_wind_force_is(name, host):
    """The other slab, in bulk the coarser mesh: its own tables, dipoles and mesh, the same movers and region."""
    settings = load_settings("quick", {"direct.vary": ["layers"]})
    made = plan(built(name), settings)
    (entry,) = made.direct.inputs["variations"]
    assert entry["part"] == "layers"
    other, served = made.direct.needs[entry["response"]], made.direct.needs[made.direct.inputs["middle"]]
    tables = made.wind.needs[made.wind.inputs["embeddings"][1]["steps"][0]].needs["tables"]
    assert other.needs["tables"].key == tables.key and other.inputs["mesh"] == tables.inputs["mesh"]
    assert other.inputs["omega"] == served.inputs["omega"] and other.inputs["radius"] == served.inputs["radius"]
    assert {n: s.key for n, s in other.needs.items() if n.startswith("mover")} == {
        n: s.key for n, s in served.needs.items() if n.startswith("mover")}
    thick = other.needs.get("thick", other.needs["host"])
    assert thick.key == made.ground_states[host].key and other.needs["dipoles"].needs["host"].key == thick.key
    assert tables.inputs["mesh"][0] < served.inputs["mesh"][0]
    assert not plan(built(name), load_settings("quick", {"direct.vary": []})).direct.inputs["variations"]


@pytest.mark.parametrize(("name", "changes", "axes"), [
    ("cu100-adatom", {}, [0]), ("al111-adatom", {}, [0]), ("w-vacancy", {}, [0]),
    ("w110-adatom", {}, [0, 1]),  # its drift depends on the direction of the current in the surface
    ("cu100-adatom", {"dft__directions": "all"}, [0, 1]), ("w-vacancy", {"dft__directions": "all"}, [0, 1, 2]),
])
def test_the_response_is_asked_for_the_fields_that_drift_needs(name, changes, axes):
    made = plan(built(name), settings(**changes))
    assert made.direct is not None
    responses = [step for step in made.direct.needs.values() if step.kind == "response"]
    assert responses and all(step.inputs["axes"] == axes for step in responses)
