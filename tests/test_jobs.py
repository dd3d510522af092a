"""Steps as pure functions of their inputs: keys, documents, and one image with a displaced copy by GPAW."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from emforce.errors import ConvergenceError, InputError
from emforce.jobs import execute
from emforce.physics.lcao import LCAOMatrices, opposite
from emforce.plan import setups
from emforce.steps import Step, atoms_document, document_atoms, load_matrices, save_matrices
from emforce.store import Store, save_arrays

A = 4.04
DFT = {"functional": "PBE", "recipe": "default", "smearing_eV": 0.2, "grid_A": 0.3, "density_tolerance": 1e-4,
       "max_iterations": 40}


def al_pair() -> Atoms:
    atoms = bulk("Al", a=A).repeat((2, 1, 1))
    atoms.positions += 0.25 * np.array(atoms.cell).sum(axis=0)
    return atoms


def image(**dft: Any) -> tuple[Step, Step]:
    """Two atoms of Al and the same with the first one moved; coarse, to see the machinery and not a number."""
    common = {"atoms": atoms_document(al_pair()), "mover": 0, "setups": setups({"Al"}, "default"), "dft": DFT | dft,
              "matrix_kpts": [1, 3, 3]}
    first = Step("image", "pair", common | {"kpts": [1, 2, 2], "grid": [16, 8, 8], "displacements": [[0.05, 0, 0]],
                                            "forces": True})
    return first, Step("displaced", "pair, moved", common | {"displacement": [0.05, 0, 0]}, {"image": first})


def test_documents_keep_the_structure():
    atoms = Atoms("CuAu", positions=[[0.1, -0.0, 1 / 3], [4, 5, 6]], cell=[[3, 0, 0], [1, 4, 0], [0, 0, 9]], pbc=(1, 1, 0))
    document = atoms_document(atoms)
    again = document_atoms(document)
    assert again.get_chemical_symbols() == ["Cu", "Au"]
    assert again.positions == pytest.approx(atoms.positions, abs=1e-9)
    assert np.array(again.cell) == pytest.approx(np.array(atoms.cell), abs=1e-9)
    assert again.pbc.tolist() == [True, True, False]
    assert atoms_document(again) == document
    assert "-0.0" not in str(document)


def test_keys_follow_the_inputs_and_what_they_build_on():
    first, moved = image()
    again, moved_again = image()
    assert (first.key, moved.key) == (again.key, moved_again.key)
    finer, moved_finer = image(grid_A=0.2)
    assert finer.key != first.key
    assert moved_finer.key != moved.key
    assert Step("displaced", "x", moved.inputs, {"image": finer}).key not in (moved.key, moved_finer.key)
    assert Step("host", "x", first.inputs).key != first.key
    renamed = Step("image", "another title", first.inputs, seconds=5.0)
    assert renamed.key == first.key, "titles and guesses of the time are no inputs"
    assert pickle.loads(pickle.dumps(moved)).name == moved.name


@pytest.mark.gpaw
def test_an_image_and_its_displaced_copy(tmp_path):
    first, moved = image()
    assert execute(moved, str(tmp_path)) == moved.name  # what it needs is computed on the way
    store = Store(tmp_path)
    done, done_moved = store.find(first.kind, first.key), store.find(moved.kind, moved.key)
    assert done is not None
    assert done_moved is not None
    assert done_moved.values["iterations"] < done.values["iterations"]
    assert np.abs(done.values["forces"]).max() < 0.05
    a, b = load_matrices(done), load_matrices(done_moved)
    assert b.positions[0] - a.positions[0] == pytest.approx([0.05, 0, 0], abs=1e-9)
    assert b.positions[1] == pytest.approx(a.positions[1], abs=1e-9)
    assert 1e-4 < np.abs(a.s - b.s).max() < 0.2
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "steps").rglob("*")}
    execute(moved, str(tmp_path))
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "steps").rglob("*")} == before


@pytest.mark.gpaw
def test_a_ground_state_that_does_not_converge_is_not_kept(tmp_path):
    first, moved = image(max_iterations=2)
    for step in (first, moved):
        with pytest.raises(ConvergenceError, match="max_iterations"):
            execute(step, str(tmp_path))
    assert list((tmp_path / "steps").iterdir()) == []
    assert (Path(tmp_path) / "logs" / f"{first.name}.txt").exists()


def test_keys_follow_the_content_of_the_basis(monkeypatch):
    from emforce import basis
    from emforce.plan import bulk_step
    from emforce.settings import load_settings

    before = bulk_step("Al", load_settings("quick")).key
    table = basis.recipes_table()
    table["Al"]["default"]["functions"][0]["cutoff"] = 7.0
    monkeypatch.setattr(basis, "recipes_table", lambda: table)
    assert basis.basis_name("Al") != ""
    assert bulk_step("Al", load_settings("quick")).key != before


def lattice_matrices(R: Any, partner: list[int]) -> LCAOMatrices:
    """Random H(R), S(R) with H(-R) = H(R)^T."""
    random = np.random.default_rng(1)
    h, s = (random.normal(size=(len(R), 3, 3)) for _ in range(2))
    h, s = (x + x[partner].swapaxes(1, 2) for x in (h, s))
    return LCAOMatrices(np.eye(3), np.zeros((3, 3)), np.ones(3, dtype=int), np.array(R), h, s)


@pytest.mark.parametrize(("R", "partner"), [
    ([(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (0, 2, 0), (1, 2, 0), (2, 2, 0)],
     [0, 2, 1, 6, 8, 7, 3, 5, 4]),  # modulo a mesh of 3 x 3 x 1
    ([(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)], [0, 1, 2, 3]),  # of 1 x 2 x 2: every R is its own opposite
    ([(-1, 0, 0), (-1, 1, 0), (0, 0, 0), (1, -1, 0), (1, 0, 0)], [4, 3, 2, 1, 0]),  # not a whole box
])
def test_matrices_come_back_from_the_half_that_is_stored(tmp_path: Path, R: Any, partner: list[int]) -> None:
    assert opposite(np.array(R)).tolist() == partner
    given = lattice_matrices(R, partner)

    def write(folder: Path, log: Path) -> dict[str, Any]:
        save_matrices(folder, given)
        return {}

    done = Store(tmp_path).run("image", "k", {}, write)
    assert len(done.arrays("matrices.npz")["h"]) == sum(i <= p for i, p in enumerate(partner))
    back = load_matrices(done)
    for name in ("cell", "positions", "orbitals", "R", "h", "s"):
        assert np.array_equal(getattr(back, name), getattr(given, name)), name


def test_matrices_of_every_translation_are_read_as_they_are(tmp_path: Path) -> None:
    given = lattice_matrices([(-1, 0, 0), (0, 0, 0), (1, 0, 0)], [2, 1, 0])  # as an older emforce wrote them

    def write(folder: Path, log: Path) -> dict[str, Any]:
        save_arrays(folder, {name: getattr(given, name) for name in ("cell", "positions", "orbitals", "R", "h", "s")},
                    "matrices.npz")
        return {}

    assert np.array_equal(load_matrices(Store(tmp_path).run("image", "k", {}, write)).h, given.h)


def test_translations_without_their_opposite_are_refused() -> None:
    with pytest.raises(InputError, match="closed"):
        opposite(np.array([(0, 0, 0), (1, 0, 0), (0, 2, 0)]))
