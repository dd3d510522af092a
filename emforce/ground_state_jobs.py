"""The steps that run GPAW. Ground states of hosts and defects, their matrices, and relaxations.

The kinds of steps and what they leave:

    bulk      primitive cell: matrices, Fermi surface, comparison with plane waves
    host      slab or bulk cell that carries or embeds the defect: matrices
    image     defect supercell at one point of the hop: density for restarts, matrices
    displaced the same with the mover moved, from the image's density
    relax     host or image: positions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from emforce.physics.fermi import FermiSurface, band_energies, cubic_fermi_surfaces
from emforce.physics.lcao import LCAOMatrices
from emforce.steps import Document, Laps, document_atoms, save_matrices
from emforce.store import Finished, Store, save_arrays

if TYPE_CHECKING:
    from emforce.dft import GroundState


def dft_settings(inputs: Document, store: Store) -> Any:
    """Settings of a step; its bases are written into the store and put on GPAW's path."""
    from emforce.basis import ensure_bases
    from emforce.dft import DFTSettings, add_setup_path

    symbols = sorted(inputs["setups"])
    folder = store.root / "bases"
    basis = ensure_bases(symbols, folder, inputs["dft"]["recipe"])
    add_setup_path(folder)
    wanted = {k: v for k, v in inputs["dft"].items() if k != "recipe"}
    setups = tuple((s, used["setup"]) for s, used in sorted(inputs["setups"].items()) if used["setup"] != "paw")
    return DFTSettings(basis=tuple(sorted(basis.items())), setups=setups, **wanted)


def _mesh_document(inputs: Document) -> Document:
    """Monkhorst-Pack mesh; half a spacing off Gamma along each periodic axis, unless the step wants Gamma.

    The primitive cell of fcc has no shifted mesh with the symmetry of the crystal: it is sampled through Gamma.
    """
    return {"size": tuple(inputs["kpts"]), "gamma": bool(inputs.get("gamma", False))}


def run_ground_state(inputs: Document, folder: Path, log: Path, store: Store) -> tuple[Any, Document]:
    """Calculator and values of the self-consistent calculation that the inputs of a step describe."""
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    atoms = document_atoms(inputs["atoms"])
    start = Start(dft_settings(inputs, store), _mesh_document(inputs), tuple(inputs["grid"]), log=log, scratch=folder)
    calc, state = ground_state(start, atoms)
    return calc, ground_state_values(state) | {"electrons": float(sum(setup.Nv for setup in calc.dft.setups))}


def ground_state_values(state: GroundState) -> Document:
    """What a step keeps of a ground state."""
    return {"energy": state.energy, "fermi_level": state.fermi_level, "iterations": state.iterations,
            "attempts": [dict(record) for record in state.attempts]}


def host(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `host`: matrices."""
    from emforce.dft import host_matrices

    calc, values = run_ground_state(inputs, folder, log, store)
    save_matrices(folder, host_matrices(calc, tuple(inputs["matrix_kpts"])))
    return values


def bulk(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `bulk`: matrices, sums over the Fermi surface on meshes that grow, comparison with plane waves."""
    from emforce.dft import host_matrices

    laps = Laps()
    calc, values = run_ground_state(inputs, folder, log, store)
    matrices = host_matrices(calc, tuple(inputs["matrix_kpts"]))
    save_matrices(folder, matrices)
    laps.end("dft")
    from emforce.planewave import irreducible_mesh

    def sums(n: int) -> list[FermiSurface]:
        k, weights = irreducible_mesh(calc.atoms, n)
        sigmas = (inputs["sigma"], inputs["sigma_check"])
        return cubic_fermi_surfaces(matrices, values["electrons"], k, weights, sigmas, (n, n, n))

    # denser meshes until N stands still; d bands at E_F (W) need twice the points of an s band (Cu)
    n = inputs["mesh"]
    coarser, (served, wider) = sums(2 * round(0.375 * n))[0], sums(n)
    while abs(coarser.n_cubic / served.n_cubic - 1) > inputs["n_tolerance"] and n < inputs["mesh_max"]:
        n = min(2 * round(0.625 * n), inputs["mesh_max"])
        coarser, (served, wider) = served, sums(n)
    values |= {"mesh": n, "fermi_energy": served.fermi_energy, "dos": served.dos, "n": served.n_cubic,
               "volume": served.volume, "plasma_energy": served.plasma_energy, "rho_lambda": served.rho_lambda,
               "n_check": wider.n_cubic, "n_coarse": coarser.n_cubic}
    laps.end("sums")
    values["check"] = _compare(inputs["symbol"], inputs["dft"]["functional"], matrices, values["electrons"], folder)
    laps.end("check")
    return values | {"timing": laps.seconds}


def _compare(symbol: str, functional: str, matrices: LCAOMatrices, electrons: float, folder: Path) -> Document | None:
    """Standing check against the stored plane-wave reference; None where there is none for this metal and functional."""
    from emforce.errors import InputError
    from emforce.planewave import check_bulk_host, load_reference

    try:
        reference = load_reference(symbol, functional=functional)
    except InputError:
        return None
    result = check_bulk_host(matrices, reference)
    path = reference.path_cartesian @ matrices.cell.T / (2 * np.pi)
    (own,) = cubic_fermi_surfaces(matrices, electrons, reference.kpoints, reference.weights, (reference.sigma,),
                                  (reference.mesh,) * 3)
    bands = band_energies(matrices, path) - own.fermi_energy
    steps = np.linalg.norm(np.diff(reference.path_cartesian, axis=0), axis=1)
    save_arrays(folder, {"bands": bands, "reference": reference.path_energies,
                         "path": np.concatenate([[0.0], np.cumsum(steps)])}, "bands.npz")
    labels = {str(i): letter for i, letter in reference.path_labels.items()}
    return asdict(result) | {"dos": own.dos, "omega_p": own.plasma_energy, "labels": labels,
                             "dos_plane_wave": reference.dos, "omega_p_plane_wave": reference.omega_p}


def image(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `image`: density, matrices, and forces where they are wanted."""
    from emforce.dft import folded_matrices, save, shared_symmetry
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    moved = [atoms, *(_displaced_atoms(atoms, inputs["mover"], d) for d in inputs["displacements"])]
    start = Start(dft_settings(inputs, store), _mesh_document(inputs), grid, shared_symmetry(moved, grid), log=log,
                  scratch=folder)
    calc, state = ground_state(start, atoms, inputs["forces"])
    save(calc, folder / "density.gpw")
    save_matrices(folder, folded_matrices(calc, tuple(inputs["matrix_kpts"])))
    forces = None if state.forces is None else state.forces.tolist()
    return ground_state_values(state) | {"forces": forces}


def _displaced_atoms(atoms: Atoms, mover: int, displacement: Sequence[float]) -> Atoms:
    moved = atoms.copy()
    moved.positions[mover] += displacement
    return moved


def displaced(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `displaced`: matrices with the mover moved, from the image's density, whoever computed that."""
    from emforce.dft import folded_matrices
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import Start

    start = Start(dft_settings(inputs, store), density=needs["image"].folder / "density.gpw", log=log, scratch=folder)
    atoms = _displaced_atoms(document_atoms(inputs["atoms"]), inputs["mover"], inputs["displacement"])
    calc, state = ground_state(start, atoms)
    save_matrices(folder, folded_matrices(calc, tuple(inputs["matrix_kpts"])))
    return ground_state_values(state)


def _marked(atoms: Atoms, directions: np.ndarray) -> Atoms:
    """Atoms that may move otherwise become other species: what is held still breaks symmetry too."""
    marked = atoms.copy()
    marked.numbers += np.rint(np.trace(directions, axis1=1, axis2=2)).astype(int)  # 0, 1, 2 or 3 directions
    return marked


def relax(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `relax`: positions, and the largest force that is left."""
    from emforce.bfgs import relax
    from emforce.dft import shared_symmetry
    from emforce.ranked_scf import ground_state
    from emforce.self_consistency import ATTEMPTS, Start

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    directions = np.array(inputs["directions"])
    start = Start(dft_settings(inputs, store), _mesh_document(inputs), grid,
                  shared_symmetry([atoms, _marked(atoms, directions)], grid), log=log, scratch=folder)
    calc: Any = None
    first, fallbacks = 0, []

    def next_state(moved: Atoms) -> GroundState:
        """From the density of the positions before; what failed once for this structure is not tried again."""
        nonlocal calc, first
        calc, state = ground_state(start, moved, True, calc, ATTEMPTS[first:])
        if len(state.attempts) > 1:
            first = 1
            fallbacks.append([dict(record) for record in state.attempts])
        return state

    trajectory = log.with_suffix(".extxyz")  # beside the log: a killed relaxation goes on from its last step
    relaxed, force, energy, steps = relax(next_state, atoms, directions, inputs["force_tolerance"],
                                          inputs["steps"], trajectory, inputs["stiffness"])
    return {"positions": relaxed.get_positions().tolist(), "force": force, "energy": energy, "steps": steps,
            "attempts": fallbacks}
