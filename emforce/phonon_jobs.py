"""The step of bulk phonons that runs GPAW: forces on the atoms of a supercell with displaced atoms.

    phonons   forces for each displacement of one atom that the symmetry of the crystal asks for

Everything that is made from the forces (emforce.phonon_bands) takes seconds and is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.ground_state_jobs import dft_settings
from emforce.steps import Document, document_atoms
from emforce.store import Finished, Store, save_arrays


def phonons(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `phonons`: forces.npz with forces (displacements, atoms, 3) in eV/A, sums and iterations."""
    from emforce.dft import shared_symmetry
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    perfect = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    mesh = {"size": tuple(inputs["kpts"]), "gamma": False}  # cubic supercells: a shifted mesh keeps their symmetry
    forces, iterations = [], []
    for atom, vector in inputs["displacements"]:
        atoms = perfect.copy()
        atoms.positions[atom] += vector
        start = Start(dft_settings(inputs, store), mesh, grid, shared_symmetry([atoms], grid), log=log, scratch=folder)
        _, state = ground_state(start, atoms, True)
        forces.append(state.forces)
        iterations.append(state.iterations)
    save_arrays(folder, {"forces": np.array(forces)}, "forces.npz")
    return {"iterations": iterations, "atoms": len(perfect)}
