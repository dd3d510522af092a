"""Specifications: what is accepted, and that bad input names field, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from emforce.errors import InputError
from emforce.settings import load_settings
from emforce.structure import Spec, build_hop, built_hop, list_hops, load_spec

SPECS = sorted((Path(__file__).parents[1] / "structures").glob("*.toml"))
GOOD = 'metal = "Cu"\nfacet = "100"\nkind = "adatom"\n'
FILES = (
    'metal = "Cu"\nfacet = "bulk"\nkind = "files"\nhost_file = "h.cif"\ndefect_file = "d.cif"\n'
    "mover = 3\nhop_vector = [1.8, 1.8, 0.0]\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "my-hop.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_shipped_specs_build(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    assert spec.hop in list_hops(spec.metal, spec.facet)
    size = (2, 2, 2) if spec.facet == "bulk" else (3, 3, 1)
    hop = build_hop(spec, size=size, layers=3, vacuum=5.0)
    # half the hop is enough where the way back mirrors the way there: not from fcc to hcp on a (111) surface
    assert hop.symmetric == (spec.facet != "111")
    named = [i.label for i in hop.images if not i.label.startswith("s=")]
    assert named == ["initial", "saddle", "final"][: 2 if hop.symmetric else 3]
    assert [i.fraction for i in hop.images] == sorted(spec.images)


def test_the_specs_that_the_project_promises_are_there() -> None:
    names = {p.stem for p in SPECS}
    for metal in ("cu", "au", "w", "mo"):
        assert f"{metal}-vacancy" in names
        assert any(n.startswith(metal) and n.endswith("-adatom") for n in names)


def test_defaults(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD))
    assert spec == Spec("my-hop", "Cu", "100", "adatom", "hollow-bridge-hollow", "Cu", (0.0, 0.5))
    hash(spec)


def test_further_fractions_are_images_where_they_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "between = [0.25, 0.375]\n")
    spec = load_spec(path)
    assert spec.images == (0.0, 0.5) and spec.between == (0.25, 0.375)
    assert spec.with_between().images == (0.0, 0.25, 0.375, 0.5) and spec.with_between().between == ()
    settings = load_settings("quick")
    assert [i.fraction for i in built_hop(path, settings).images] == [0.0, 0.5]
    whole = built_hop(path, settings, between=True)
    assert [i.fraction for i in whole.images] == [0.0, 0.25, 0.375, 0.5] and whole.symmetric


def test_files_are_relative_to_the_spec(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, FILES))
    assert spec.host_file == tmp_path / "h.cif" and spec.defect_files == (tmp_path / "d.cif",)
    assert spec.images == (0.0,) and spec.mover == 3 and spec.hop_vector == (1.8, 1.8, 0.0)


@pytest.mark.parametrize(
    "text,field,allowed",
    [
        (GOOD.replace("Cu", "Unobtainium"), "metal", "Cu"),
        (GOOD.replace("Cu", "W").replace("100", "111"), "facet", "110 | 100"),
        (GOOD.replace("100", "bulk"), "facet", "111"),
        (GOOD.replace("adatom", "vacancy"), "facet", "bulk"),
        (GOOD.replace("adatom", "islands"), "kind", "adatom | vacancy | files"),
        (GOOD + 'hop = "fcc-bridge-hcp"\n', "hop", "hollow-bridge-hollow"),
        (GOOD + 'species = "Qq"\n', "species", "chemical symbol"),
        (GOOD + 'species = "X"\n', "species", "chemical symbol"),
        (GOOD + "speed = 3\n", "speed", "known key"),
        (GOOD + "images = []\n", "images", "between 0 and 1"),
        (GOOD + "images = [0.5, 0.0]\n", "images", "increasing"),
        (GOOD + "images = [0.0, 1.5]\n", "images", "between 0 and 1"),
        (GOOD + "images = [0.0, nan]\n", "images", "between 0 and 1"),
        (GOOD + "images = [true]\n", "images", "between 0 and 1"),
        (GOOD + "images = 0.5\n", "images", "list"),
        (GOOD + "images = [[0.0]]\n", "images", "between 0 and 1"),
        (GOOD + f"images = [{10**400}]\n", "images", "between 0 and 1"),
        (GOOD + "between = [0.5]\n", "between", "no images"),
        (GOOD + "between = [0.4, 0.2]\n", "between", "increasing"),
        (GOOD + "between = [2.0]\n", "between", "between 0 and 1"),
        (GOOD + 'between = ["x"]\n', "between", "increasing"),
        (GOOD + "between = 0.25\n", "between", "list"),
        (FILES + "between = [0.25]\n", "between", "none for kind files"),
        (GOOD.replace('"Cu"', '["Cu"]'), "metal", "text"),
        (GOOD + "cubic = true\n", "cubic", "bulk"),
        (GOOD + 'cubic = "yes"\n', "cubic", "true or false"),
        (GOOD + 'host_file = "a.cif"\n', "host_file", 'kind = "files"'),
        (GOOD + 'defect_file = "a.cif"\n', "defect_files", 'kind = "files"'),
        (GOOD + "mover = 3\n", "mover", 'kind = "files"'),
        (GOOD + 'name = "a/../b"\n', "name", "letters"),
        (GOOD + "name = 5\n", "name", "text"),
        (GOOD.replace('"100"', "100"), "facet", "text"),
        ('metal = "Cu"\nkind = "adatom"\n', "facet", "needed"),
        (GOOD + "this is not TOML", "spec", "TOML"),
        (FILES.replace("mover = 3", "mover = -1"), "mover", "0 or more"),
        (FILES.replace("mover = 3", "mover = 1.5"), "mover", "index"),
        (FILES.replace("mover = 3\n", ""), "mover", "index"),
        (FILES.replace("[1.8, 1.8, 0.0]", "[1.8, 1.8]"), "hop_vector", "three numbers"),
        (FILES.replace("[1.8, 1.8, 0.0]", "[0.0, 0.0, 0]"), "hop_vector", "longer"),
        (FILES.replace("[1.8, 1.8, 0.0]", '"x"'), "hop_vector", "list"),
        (FILES.replace('"h.cif"', "7"), "host_file", "file"),
        (FILES.replace('host_file = "h.cif"\n', ""), "host_file", "smallest host cell"),
        (FILES + 'defect_files = ["a.cif"]\n', "defect_file", "not both"),
        (FILES + "images = [0.0, 0.5]\n", "defect_files", "one file per image"),
        (FILES.replace("bulk", "surface"), "facet", "digits"),
    ],
)
def test_bad_spec_names_field_and_what_is_allowed(
    tmp_path: Path, text: str, field: str, allowed: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_spec(path)
    assert caught.value.field.endswith(field)
    assert allowed in str(caught.value) and "my-hop.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_spec(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match="spec"):
            load_spec(path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="TOML"):
        load_spec(binary)


def test_vacancy_moves_an_atom_of_the_host() -> None:
    with pytest.raises(InputError, match="species"):
        Spec("x", "Cu", "bulk", "vacancy", species="Au")


def test_hops_of_a_facet_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="facet"):
        list_hops("W", "111")
    with pytest.raises(InputError):
        list_hops("Unobtainium", "111")
