"""The steps of kinetics that run GPAW. What they leave:

stationary   energy and forces of a structure in the local basis; with `restart` a density that displaced runs start from
nudged       forces with one atom displaced, from that density
plane_wave   energy and forces of the same structure in plane waves
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.ground_state_jobs import dft_settings, ground_state_values
from emforce.steps import Document, document_atoms
from emforce.store import Finished, Store


def stationary(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `stationary`."""
    from emforce.dft import save, shared_symmetry
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    # a density that displaced runs start from may use no symmetry that these have not: time reversal alone
    symmetry = {"point_group": False} if inputs["restart"] else shared_symmetry([atoms], grid)
    mesh = {"size": tuple(inputs["kpts"]), "gamma": bool(inputs["gamma"])}
    start = Start(dft_settings(inputs, store), mesh, grid, symmetry, log=log, scratch=folder)
    calc, state = ground_state(start, atoms, inputs["forces"])
    if inputs["restart"]:
        save(calc, folder / "density.gpw")
    forces = None if state.forces is None else state.forces.tolist()
    return {"forces": forces, **ground_state_values(state)}


def nudged(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `nudged`."""
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    start = Start(dft_settings(inputs, store), density=needs["stationary"].folder / "density.gpw", log=log, scratch=folder)
    atoms = document_atoms(inputs["atoms"])
    atoms.positions[inputs["atom"]] += inputs["displacement"]
    _, state = ground_state(start, atoms, forces=True)
    assert state.forces is not None
    return {"forces": np.asarray(state.forces).tolist(), **ground_state_values(state)}


def plane_wave(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `plane_wave`."""
    from emforce.dft import PlaneWaves, plane_wave_calculator
    from emforce.self_consistency import self_consistent

    d = inputs["dft"]
    setups = tuple((s, name) for s, name in sorted(inputs["setups"].items()) if name != "paw")
    kpts = {"size": tuple(inputs["kpts"]), "gamma": bool(inputs["gamma"])}
    settings = PlaneWaves(d["functional"], setups, d["smearing_eV"], d["density_tolerance"], d["max_iterations"], kpts,
                          inputs["cutoff"])
    atoms = document_atoms(inputs["atoms"])
    _, state = self_consistent(lambda new: plane_wave_calculator(new, settings, log), atoms, settings, forces=True)
    assert state.forces is not None
    return {"forces": np.asarray(state.forces).tolist(), **ground_state_values(state)}
