"""The steps of kinetics that run GPAW. What they leave:

stationary   energy and forces of a structure in the local basis; with `restart` a density that displaced runs start from
nudged       forces with one atom displaced, from that density
plane_wave   energy and forces of the same structure in plane waves
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.ground_state_jobs import dft_settings
from emforce.steps import Document, document_atoms
from emforce.store import Finished, Store


def stationary(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `stationary`."""
    from emforce.dft import calculator, converge, save, shared_symmetry

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    # a density that displaced runs start from may use no symmetry that these have not: time reversal alone
    symmetry = {"point_group": False} if inputs["restart"] else shared_symmetry([atoms], grid)
    mesh = {"size": tuple(inputs["kpts"]), "gamma": bool(inputs["gamma"])}
    calc = calculator(atoms, dft_settings(inputs, store), mesh, grid, symmetry, log)
    state = converge(calc, atoms, forces=inputs["forces"])
    if inputs["restart"]:
        save(calc, folder / "density.gpw")
    forces = None if state.forces is None else state.forces.tolist()
    return {"energy": state.energy, "forces": forces, "fermi_level": state.fermi_level, "iterations": state.iterations}


def nudged(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `nudged`."""
    from emforce.dft import converge, load

    dft_settings(inputs, store)  # the bases must be on GPAW's path
    calc = load(needs["stationary"].folder / "density.gpw", log)
    atoms = document_atoms(inputs["atoms"])
    atoms.positions[inputs["atom"]] += inputs["displacement"]
    state = converge(calc, atoms, forces=True)
    assert state.forces is not None
    return {"energy": state.energy, "forces": np.asarray(state.forces).tolist(), "iterations": state.iterations}


def plane_wave(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `plane_wave`."""
    from emforce.dft import PlaneWaves, plane_wave_state

    d = inputs["dft"]
    setups = tuple((s, name) for s, name in sorted(inputs["setups"].items()) if name != "paw")
    kpts = {"size": tuple(inputs["kpts"]), "gamma": bool(inputs["gamma"])}
    settings = PlaneWaves(d["functional"], setups, d["smearing_eV"], d["density_tolerance"], d["max_iterations"], kpts,
                          inputs["cutoff"])
    state = plane_wave_state(document_atoms(inputs["atoms"]), settings, log)
    assert state.forces is not None
    return {"energy": state.energy, "forces": np.asarray(state.forces).tolist(), "fermi_level": state.fermi_level,
            "iterations": state.iterations}
