"""From a hop and settings to steps: which there are, what their hashes follow, which cells and meshes they have."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emforce.hop import Hop
from emforce.plan import HopPlan, displaced_axes, plan, rotation_to_x, structure_digest, turned_hop
from emforce.settings import Settings, load_settings
from emforce.site_symmetry import force_directions
from emforce.spec import load_spec
from emforce.structure import build_hop

pytestmark = pytest.mark.gpaw

STRUCTURES = Path(__file__).parent.parent / "structures"
ADATOMS = ("cu100-adatom", "w110-adatom", "al111-adatom")
VACANCIES = ("cu-vacancy", "w-vacancy")


@cache
def built(name: str, layers: int = 4) -> Hop:
    spec = load_spec(STRUCTURES / f"{name}.toml")
    return build_hop(spec, size=(3, 3, 1) if spec.kind == "adatom" else (2, 2, 2), layers=layers, vacuum=5.0)


def settings(preset: str = "quick", **changes: Any) -> Settings:
    return load_settings(preset, {key.replace("__", "."): value for key, value in changes.items()})


@cache
def planned(name: str) -> HopPlan:
    return plan(built(name), settings())


def keys(made: HopPlan) -> dict[str, str]:
    return {"bulk": made.bulk.key, "wind": made.wind.key} | {name: step.key for name, step in made.wind.needs.items()}


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


@pytest.mark.parametrize("name", ["cu100-adatom", "w110-adatom"])
def test_steps_of_the_main_job(name):
    made = planned(name)
    kinds = [step.kind for step in made.steps()]
    # bulk, thin host, two thick hosts, two images, the mover displaced once in each (the site mirrors the hop), embedding
    assert sorted(kinds) == sorted(["bulk", "host", "host", "host", "image", "image", "displaced", "displaced", "wind"])
    names = [step.name for step in made.steps()]
    assert len(set(names)) == len(names)
    for step in made.steps():
        assert all(names.index(need.name) < names.index(step.name) for need in step.needs.values())
    assert kinds[-1] == "wind"


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
    assert other.pop("wind") != before["wind"]
    assert {k: v for k, v in other.items() if k != "bulk"} == {k: v for k, v in before.items() if k not in ("wind", "bulk")}


def test_what_else_steps_follow():
    before = keys(planned("cu100-adatom"))

    def same(**change: Any) -> set[str]:
        other = keys(plan(built("cu100-adatom"), settings(**change)))
        return {name for name in other if before.get(name) == other[name]}

    images = {name for name in before if name.startswith("image")}
    hosts = {"host", *(name for name in before if name.startswith("thick"))}
    assert same(structure__thick_layers=[10, 6]) == {"bulk", "host", "thick 6"} | images
    assert same(dft__displacement_A=0.04) == {"bulk"} | hosts
    assert same(dft__slab_kpts=[3, 3, 1]) == {"bulk"}
    assert same(host__bulk_kpts=14) == set(before) - {"bulk"}
    # 1e-10 Angstrom is rounding
    hop = built("cu100-adatom")
    atoms = hop.images[0].atoms.copy()
    atoms.positions[0] += 1e-12
    assert np.array_equal(np.round(atoms.positions, 9), np.round(hop.images[0].atoms.positions, 9))


# meshes


@pytest.mark.parametrize("name", ADATOMS + VACANCIES)
@pytest.mark.parametrize("preset", ["quick", "standard", "production"])
@pytest.mark.parametrize("spacing", [0.24, 0.2, 0.17])
def test_host_and_supercell_share_k_points_and_grid(name, preset, spacing):
    made = plan(built(name), settings(preset, dft__grid_A=spacing))
    repeat = np.array(made.hop.repeat)
    host = made.wind.needs["host"].inputs
    for image in made.images:
        assert (np.array(image.inputs["kpts"]) * repeat).tolist() == list(host["kpts"])
        assert (np.array(host["grid"]) * repeat).tolist() == list(image.inputs["grid"])
        assert (np.array(image.inputs["matrix_kpts"]) * repeat).tolist() == list(host["matrix_kpts"])
    cell = np.array(made.hop.host_unit.cell)
    for axis in range(3):
        height = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[axis - 2], cell[axis - 1]))
        assert height / host["grid"][axis] <= spacing + 1e-9
    for step in made.wind.needs.values():
        if step.kind == "host" and not made.hop.host_unit.pbc[2]:
            assert list(step.inputs["kpts"]) == list(host["kpts"])
            assert list(step.inputs["grid"][:2]) == list(host["grid"][:2])
