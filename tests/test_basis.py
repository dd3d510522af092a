"""Bases generated from recipes, and the stored plane-wave references."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emforce.basis import (
    RadialFunction,
    Recipe,
    basis_name,
    basis_text,
    ensure_bases,
    generate,
    load_recipe,
    parse_recipe,
    recipes_table,
    setup_name,
)
from emforce.errors import CheckError, InputError, StoreError
from emforce.materials import material
from emforce.planewave import (
    PlaneWaveReference,
    birch_minimum,
    check_bulk_host,
    fermi_level,
    fermi_sums,
    followed_minimum,
    irreducible_mesh,
    load_reference,
    plasma_frequency,
    speed_squared,
    standard_path,
)

METALS = ("Cu", "Au", "Al", "Ag", "W", "Mo")


@pytest.mark.parametrize("symbol", METALS)
def test_every_metal_has_a_short_ranged_recipe_with_valence_p(symbol: str) -> None:
    for name in recipes_table()[symbol]:
        recipe = load_recipe(symbol, name)
        assert recipe.cutoff <= 8.0
        assert any(f.l == 1 and f.kind == "confined" for f in recipe.functions)
        assert basis_name(symbol, name) == recipe.basis


def test_generation_is_deterministic_and_gives_what_the_recipe_says() -> None:
    recipe = load_recipe("Cu")
    first, second = basis_text(recipe), basis_text(recipe)
    assert hashlib.sha256(first.encode()).hexdigest() == hashlib.sha256(second.encode()).hexdigest()
    basis = generate(recipe)
    assert basis.nao == recipe.orbitals
    assert max(f.rc for f in basis.bf_j) <= recipe.cutoff + 1 / 64


def test_confined_functions_are_those_of_gpaws_generator() -> None:
    from gpaw.atom.basisfromfile import BasisMaker, ValenceData
    from gpaw.setup_data import SetupData

    maker = BasisMaker(ValenceData.from_setupdata_onthefly_potentials(SetupData("Cu", "PBE")))
    theirs = maker.generate(1, 0, rcutmax=7.5, jvalues=[0, 1], txt=None).bf_j
    functions = (RadialFunction(0, "confined", 7.5), RadialFunction(1, "confined", 7.5))
    ours = generate(Recipe("Cu", "test", "paw", functions))
    for a, b in zip(ours.bf_j, theirs, strict=True):
        assert np.abs(a.phit_g - b.phit_g).max() < 1e-11


def test_functions_end_smoothly_at_their_cutoff() -> None:
    recipe = Recipe("Al", "test", "paw", (RadialFunction(0, "confined", 7.0, (4.0,)),
                                          RadialFunction(2, "gaussian", 6.0, width=1.7)))
    for function in generate(recipe).bf_j:
        largest = np.abs(function.phit_g).max()
        assert function.phit_g[-1] == 0.0
        assert np.abs(np.diff(function.phit_g[-3:])).max() < 1e-3 * largest


def test_a_split_function_ends_at_its_radius() -> None:
    recipe = Recipe("Cu", "test", "paw", (RadialFunction(0, "confined", 7.0, (4.0,)),))
    first, split = generate(recipe).bf_j
    assert split.rc == pytest.approx(4.0, abs=1 / 64) and first.rc == 7.0


def test_files_are_named_as_gpaw_looks_for_them(tmp_path: Path) -> None:
    from gpaw.basis_data import Basis

    names = ensure_bases(["Cu", "W"], tmp_path)
    assert names == {"Cu": basis_name("Cu"), "W": basis_name("W")}
    assert (tmp_path / f"Cu.{names['Cu']}.basis").is_file()
    file = tmp_path / f"W.6.{names['W']}.basis"
    assert Basis.read_path("W", names["W"], file).nao == load_recipe("W").orbitals
    before = file.stat().st_mtime_ns
    ensure_bases(["W"], tmp_path)
    assert file.stat().st_mtime_ns == before
    assert len(list(tmp_path.iterdir())) == 2


def test_two_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    threads = [threading.Thread(target=ensure_bases, args=(["Al"], tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = tmp_path.iterdir()
    assert file.read_text(encoding="utf-8") == basis_text(load_recipe("Al"))


def test_the_name_changes_with_the_recipe() -> None:
    recipe = load_recipe("Cu")
    other = replace(recipe, functions=(replace(recipe.functions[0], cutoff=7.0), *recipe.functions[1:]))
    assert other.basis != recipe.basis


@pytest.mark.parametrize(
    "table, field",
    [
        ({"functions": [{"l": 0, "kind": "confined", "cutoff": 7.0}], "colour": 1}, "basis recipe Cu.x"),
        ({"setup": "paw"}, "basis recipe Cu.x"),
        ({"functions": [{"l": 0, "kind": "confined", "cutoff": 7.0, "zeta": 2}]}, "function"),
        ({"functions": [{"l": 0, "kind": "confined"}]}, "function"),
        ({"functions": [{"l": 4, "kind": "confined", "cutoff": 7.0}]}, "l"),
        ({"functions": [{"l": 0, "kind": "slater", "cutoff": 7.0}]}, "kind"),
        ({"functions": [{"l": 0, "kind": "confined", "cutoff": 70.0}]}, "cutoff"),
        ({"functions": [{"l": 0, "kind": "confined", "cutoff": 7.0, "splits": [8.0]}]}, "splits"),
        ({"functions": [{"l": 3, "kind": "gaussian", "cutoff": 7.0}]}, "width"),
        ({"functions": []}, "functions"),
    ],
)
def test_bad_recipes(table: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=field):
        parse_recipe("Cu", "x", table)


def test_unknown_metal_recipe_and_state() -> None:
    with pytest.raises(InputError, match="metal: 'Xx'"):
        load_recipe("Xx")
    with pytest.raises(InputError, match="default"):
        basis_name("Cu", "huge")
    with pytest.raises(InputError, match="state"):
        generate(Recipe("Cu", "x", "paw", (RadialFunction(2, "confined", 6.0, state=1),)))
    with pytest.raises(InputError, match="plane-wave reference"):
        load_reference("Xx")


@pytest.mark.parametrize(("symbol", "functional"), [(symbol, functional) for symbol in METALS for functional in ("PBE", "LDA")])
def test_references_belong_to_the_materials_and_hold_together(symbol: str, functional: str) -> None:
    reference, metal = load_reference(symbol, functional=functional), material(symbol)
    assert (reference.symbol, reference.functional) == (symbol, functional)
    assert reference.setup == setup_name(symbol)
    assert reference.structure == metal.structure
    assert reference.lattice_constant == pytest.approx(metal.lattice_constant(functional), abs=1e-6)
    level = fermi_level(reference.energies, reference.weights, reference.electrons, reference.sigma)
    assert level == pytest.approx(reference.fermi_level, abs=1e-4)
    dos, transport = fermi_sums(reference.energies, reference.weights, reference.speed2, level, reference.sigma)
    assert dos == pytest.approx(reference.dos, rel=1e-3)
    assert plasma_frequency(transport, reference.volume) == pytest.approx(reference.omega_p, rel=1e-3)
    assert PlaneWaveReference.from_json(reference.to_json()).to_json() == reference.to_json()


def test_other_documents_are_refused() -> None:
    for text in ("{}", "[]", '{"format": 0}', "no json"):
        with pytest.raises(StoreError):
            PlaneWaveReference.from_json(text)


def test_inequivalent_points_integrate_as_the_whole_mesh() -> None:
    """The fcc mesh shifted by half a step has not the symmetry of the crystal; the sum must still be that of all."""
    from ase.build import bulk

    for atoms in (bulk("Cu", "fcc", a=3.6), bulk("W", "bcc", a=3.2)):
        points, weights = irreducible_mesh(atoms, 8)
        whole = (np.array(list(np.ndindex(8, 8, 8))) + 0.5) / 8
        lattice = np.array(list(np.ndindex(3, 3, 3))) - 1
        distances = np.linalg.norm(lattice @ np.array(atoms.cell), axis=1)
        neighbours = lattice[np.abs(distances - distances[distances > 0].min()) < 1e-6]

        def band(k: np.ndarray, neighbours: np.ndarray = neighbours) -> np.ndarray:
            return np.sin(np.cos(2 * np.pi * k @ neighbours.T).sum(axis=1))

        assert len(points) < len(whole) / 8
        assert weights @ band(points) == pytest.approx(band(whole).mean(), abs=1e-12)


def test_speeds_survive_a_band_crossing() -> None:
    """Two bands +-v k cross at the point: sorted bands, central difference zero, slope v."""
    step, v = 0.01, 5.0
    centre = np.zeros((1, 2))
    moved = np.array([[-v * step, v * step]])
    assert np.allclose(speed_squared(centre, moved, moved, step), v**2)


def test_free_electrons_have_the_classical_plasma_frequency() -> None:
    """Simple cubic crystal, one band hbar^2k^2/2m filled to a small sphere: omega_p^2 = n e^2/(eps0 m)."""
    from emforce.units import epsilon0, m_e

    a, n = 3.0, 60
    k = (np.array(list(np.ndindex(n, n, n))) + 0.5) / n - 0.5
    k *= 2 * np.pi / a
    energy = (k**2).sum(axis=1)[:, None] / (2 * m_e)
    speed2 = (k**2).sum(axis=1)[:, None] / m_e**2 / 3
    weights = np.full(len(k), 1 / len(k))
    level = fermi_level(energy, weights, 0.5, 0.3)
    _, transport = fermi_sums(energy, weights, speed2, level, 0.3)
    assert plasma_frequency(transport, a**3) == pytest.approx(np.sqrt(0.5 / a**3 / (epsilon0 * m_e)), rel=2e-3)


def test_the_path_starts_and_ends_at_labelled_points() -> None:
    from ase.build import bulk

    points, labels = standard_path(bulk("Cu", "fcc", a=3.6))
    assert labels[0] == "G" and len(points) - 1 in labels


def test_a_host_of_another_volume_is_refused() -> None:
    from emforce.physics.lcao import LCAOMatrices

    one = np.ones((1, 1, 1))
    host = LCAOMatrices(np.eye(3), np.zeros((1, 3)), np.array([1]), np.zeros((1, 3), int), one, one)
    with pytest.raises(InputError, match="primitive cell"):
        check_bulk_host(host, load_reference("Cu"))


def test_lattice_constant_of_an_equation_of_state() -> None:
    """Birch's energy is a cubic in a^-2: its minimum comes back to the last digits, wherever the points are."""
    a0, E = 3.2, lambda a: 5.0 * ((3.2 / a) ** 2 - 1) ** 2 + 1.7 * ((3.2 / a) ** 2 - 1) ** 3 - 8.0
    for centre in (3.2, 3.17, 3.25):
        constants = centre * np.linspace(0.97, 1.03, 7)
        assert birch_minimum(constants, E(constants)) == pytest.approx(a0, abs=1e-9)
    # a guess that is off: the points move after the minimum, and those known are not computed again
    for guess, most in ((3.2 / 0.968, 9), (3.2 / 1.045, 11), (3.2, 7)):
        asked: list[float] = []
        found, open_ = followed_minimum(lambda a, asked=asked: asked.append(a) or E(a), guess)
        assert found == pytest.approx(a0, abs=1e-9) and open_ < 1e-9
        assert len(asked) == len(set(asked)) == most
    with pytest.raises(CheckError, match="no energy minimum"):
        followed_minimum(E, 3.8)
    far = np.linspace(3.4, 3.6, 7)
    with pytest.raises(CheckError, match="no energy minimum"):
        birch_minimum(far, E(far))
