"""Plane-wave energies of the upper layers of a slab: what is cut out, and how the difference of two bases is joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.dft.kpoints import monkhorst_pack

from emforce.errors import InputError
from emforce.hop import Hop
from emforce.kinetics_plan import KineticsHop, stationary_step
from emforce.plane_wave_plan import cut_out, formation_steps, upper_atoms, wide_steps
from emforce.settings import load_settings
from emforce.steps import Step, document_atoms
from emforce.store import Finished
from emforce.workflow import built_hop


def _item(name: str, layers: int) -> KineticsHop:
    settings = load_settings("quick", {"structure.relaxed": "", "kinetics.plane_wave": True,
                                       "kinetics.plane_wave_layers": layers})
    return KineticsHop(built_hop(Path("structures") / f"{name}.toml", settings), settings, Path(), {}, ((0,),))


def _hop(name: str) -> Hop:
    return _item(name, 2).hop


def _finished(step: Step, energy: float, forces: object = ()) -> Finished:
    return Finished(Path(), {"energy": energy, "forces": forces}, 1.0)


@pytest.mark.parametrize("name", ["cu100-adatom", "au111-adatom", "w110-adatom"])
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_cut_keeps_upper_layers_and_each_place_between_grid_points(name: str, layers: int) -> None:
    item = _item(name, layers)
    for image in item.hop.images:
        atoms = image.atoms.copy()
        kept = upper_atoms(item.hop, layers)
        assert len(kept) == 9 * layers + 1
        assert image.mover in kept
        highest_cut = max((atoms.positions[i, 2] for i in range(len(atoms)) if i not in kept), default=-np.inf)
        assert highest_cut < atoms.positions[list(kept), 2].min()
        grid = stationary_step(item, atoms, "x", False).inputs["grid"]
        small, points = cut_out(atoms, kept, grid)
        h = atoms.cell.array / np.array(grid)[:, None]
        assert np.allclose(small.cell.array / np.array(points)[:, None], h)
        moved = (atoms.positions[list(kept)] - small.positions) @ np.linalg.inv(h)
        assert np.allclose(moved, np.round(moved[0]))  # one vector of whole grid steps
        below, above = small.positions[:, 2].min(), small.cell[2, 2] - small.positions[:, 2].max()
        assert above == pytest.approx(atoms.cell[2, 2] - atoms.positions[:, 2].max())
        assert below >= atoms.positions[:, 2].min() - 1e-9


def test_all_layers_are_the_whole_slab() -> None:
    item = _item("cu100-adatom", 4)
    image = item.hop.image(0.0)
    step = stationary_step(item, image.atoms, "x", False)
    small, grid = cut_out(image.atoms, upper_atoms(item.hop, 4), step.inputs["grid"])
    assert list(grid) == list(step.inputs["grid"])
    assert np.allclose(small.positions, image.atoms.positions)


def test_difference_of_the_bases_is_added_to_the_whole() -> None:
    """E = E_lcao + E_pw(cut) - E_lcao(cut): nothing changes where the bases agree, and a shift of one comes out as it is."""
    item = _item("cu100-adatom", 2)
    atoms = item.hop.image(0.0).atoms
    wide = wide_steps(item, atoms, "initial")
    assert wide.local is not None
    n = len(wide.kept)
    full = np.arange(3.0 * len(atoms)).reshape(-1, 3)
    same = np.ones((n, 3))
    found = {s.name: _finished(s, -10.0, same.tolist()) for s in wide.steps}
    assert wide.energy(found, -40.0) == -40.0
    assert np.array_equal(wide.forces(found, full), full)
    found[wide.plane_wave.name] = _finished(wide.plane_wave, -10.3, (same + 0.5).tolist())
    assert wide.energy(found, -40.0) == pytest.approx(-40.3)
    change = wide.forces(found, full) - full
    cut = [i for i in range(len(atoms)) if i not in wide.kept]
    assert np.allclose(change[list(wide.kept)], 0.5)
    assert not change[cut].any()


@pytest.mark.parametrize("name, layers", [("cu100-adatom", 0), ("cu-vacancy", 2)])
def test_whole_slabs_and_bulk_cells_are_plane_waves_alone(name: str, layers: int) -> None:
    item = _item(name, layers)
    atoms = item.hop.image(0.0).atoms
    wide = wide_steps(item, atoms, "initial")
    assert wide.local is None
    assert wide.energy({wide.plane_wave.name: _finished(wide.plane_wave, -1.5)}, -40.0) == -1.5
    assert len(document_atoms(wide.plane_wave.inputs["atoms"])) == len(atoms)


def test_both_bases_of_a_cut_have_the_same_k_points_and_atoms() -> None:
    item = _item("w110-adatom", 2)
    steps = formation_steps(item)
    wide = wide_steps(item, item.hop.image(0.5).atoms, "saddle")
    assert steps.host is not None and steps.bulk is not None
    for pair in (wide, steps.host):
        assert pair.local is not None
        for name in ("atoms", "kpts", "gamma"):
            assert pair.local.inputs[name] == pair.plane_wave.inputs[name]
    unit = len(item.hop.host_unit)
    assert len(steps.host.kept) == 2 < unit
    assert steps.host.local is not None
    assert steps.host.local.inputs["kpts"] == [6, 6, 1]


def test_formation_energy_of_a_cut_slab_is_that_of_the_difference() -> None:
    """(N-1)/n cells of the host: each energy in plane waves is the local one with the difference of its own cut."""
    steps = formation_steps(_item("cu100-adatom", 2))
    energies = {s.name: -1.0 * i for i, s in enumerate(steps.steps, start=1)}
    found = {s.name: _finished(s, energies[s.name]) for s in steps.steps}
    got = steps.energies(found)
    assert steps.host is not None and steps.host.local is not None and steps.bulk is not None
    assert got["host in plane waves"] == (
        energies[steps.local["host"].name] + energies[steps.host.plane_wave.name] - energies[steps.host.local.name])
    assert got["bulk in plane waves"] == energies[steps.bulk.name]


def test_more_k_points_for_the_host_are_those_of_the_cell() -> None:
    item = _item("w110-adatom", 2)
    assert formation_steps(item).denser == ()
    item = replace(item, settings=load_settings("quick", {"kinetics.k_points_check": True, "kinetics.k_points_steps": 2}))
    steps = formation_steps(item)
    assert steps.local["host"].inputs["kpts"] == [6, 6, 1]
    assert [step.inputs["kpts"] for step in steps.denser] == [[9, 9, 1], [12, 12, 1]]
    assert {step.name for step in steps.denser} <= {step.name for step in steps.steps}


@pytest.mark.parametrize("name", ["cu-vacancy", "w-vacancy", "cu100-adatom", "au111-adatom"])
@pytest.mark.parametrize("size", [2, 3])
def test_host_mesh_folds_on_that_of_the_supercell(name: str, size: int) -> None:
    """Each point of the host's mesh lies, in the supercell, on one of its points, each as often: a perfect cell costs nothing."""
    item = _item(name, 2)
    mesh = [size, size, size] if item.bulk else [size, size, 1]
    settings = load_settings("quick", {f"dft.{'bulk' if item.bulk else 'slab'}_kpts": mesh})
    item = replace(item, settings=settings)
    unit, cell = item.hop.host_unit, item.hop.image(0.0).atoms
    on_host, on_cell = formation_steps(item).local["host"].inputs, stationary_step(item, cell, "x", False).inputs
    folded = _points(on_host, unit) * np.array(item.hop.repeat)
    apart = folded[:, None, :] - _points(on_cell, cell)[None, :, :]
    same = np.abs(apart - np.round(apart)).max(axis=2) < 1e-9
    assert (same.sum(axis=1) == 1).all()
    assert (same.sum(axis=0) == np.prod(item.hop.repeat)).all()


def _points(inputs: Mapping[str, Any], atoms: Atoms) -> np.ndarray:
    """Fractional k-points that GPAW makes of a step's inputs."""
    size, offsets = kpts2sizeandoffsets(size=inputs["kpts"], gamma=inputs["gamma"], atoms=atoms)
    return np.asarray(monkhorst_pack(size) + np.array(offsets))


@pytest.mark.parametrize("name, gamma", [("au111-adatom", True), ("cu100-adatom", False), ("w110-adatom", False),
                                         ("w-vacancy", False)])
def test_hexagonal_surfaces_have_gamma_in_every_mesh(name: str, gamma: bool) -> None:
    item = _item(name, 2)
    steps = formation_steps(item)
    wide = wide_steps(item, item.hop.image(0.5).atoms, "saddle")
    assert stationary_step(item, item.hop.image(0.0).atoms, "x", False).inputs["gamma"] is gamma
    assert wide.plane_wave.inputs["gamma"] is gamma
    assert steps.local["host"].inputs["gamma"] is gamma


@pytest.mark.parametrize("layers", [5, 9])
def test_more_layers_than_there_are_is_one_line(layers: int) -> None:
    with pytest.raises(InputError, match="plane_wave_layers"):
        upper_atoms(_hop("cu100-adatom"), layers)


def test_only_a_slab_is_cut() -> None:
    atoms = _hop("cu-vacancy").image(0.0).atoms
    with pytest.raises(InputError, match="slab"):
        cut_out(atoms, [0, 1], (32, 32, 32))
