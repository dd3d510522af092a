"""The steps of spin-orbit coupling in a bulk host.

    spin_orbit       the operator in the local basis, levels of special points, bands, and the sums over the Fermi surface with
                     and without it on the mesh on which N of the step `bulk` stood still, and on a coarser one
    spin_orbit_fine  the same sums on a finer mesh: between two meshes N of W can stand still by chance

The first needs the finished step `bulk`, whose matrices it takes. The self-consistent potential is not kept there: the same
calculation is run again (a primitive cell) and its H(k) compared with that of `bulk`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.ground_state_jobs import run_ground_state
from emforce.physics.fermi import FermiSurface, band_energies, cubic_fermi_surfaces
from emforce.physics.hostcheck import joined_path
from emforce.physics.lcao import Bloch, LCAOMatrices, real_space_odd
from emforce.physics.spin_orbit import SpinOrbit, split_levels
from emforce.steps import Document, Laps, Step, document_atoms, load_matrices, load_spinors
from emforce.store import Finished, Store, save_arrays

#: share of the points along each axis that the second mesh has
COARSER = 0.75
#: points of the finer mesh over those of `bulk`, and the most of them along each axis
FINER, DENSE = 1.5, 84
#: levels of a point are listed where they lie within this of the Fermi energy, eV (below, above)
WINDOW = (-9.0, 6.0)
#: inputs of the step `bulk` that fix its ground state and its matrices
_SHARED = ("symbol", "atoms", "setups", "dft", "kpts", "gamma", "grid", "matrix_kpts", "sigma", "sigma_check")


def spin_orbit_step(bulk: Step) -> Step:
    """Step of the spin-orbit coupling of a planned bulk host."""
    inputs = {name: bulk.inputs[name] for name in _SHARED} | {"coarser": COARSER, "window": list(WINDOW)}
    return Step("spin_orbit", f"{bulk.inputs['symbol']} spin-orbit coupling", inputs, {"bulk": bulk}, seconds=300)


def fine_step(first: Step) -> Step:
    """Step of the sums on a finer mesh, after `spin_orbit_step`."""
    inputs = {name: first.inputs[name] for name in ("atoms", "sigma", "sigma_check")} | {"finer": FINER, "dense": DENSE}
    return Step("spin_orbit_fine", f"{first.inputs['symbol']} spin-orbit coupling, finer mesh", inputs,
                {"bulk": first.needs["bulk"], "spin_orbit": first}, seconds=300, resources="embedding")


def spin_orbit(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spin_orbit`: sums "scalar" and "spinor", levels of special points, bands.npz, operator.npz."""
    from emforce.dft import host_matrices, spin_orbit_matrices

    laps = Laps()
    before = needs["bulk"].values
    scalar = load_matrices(needs["bulk"])
    calc, again = run_ground_state(inputs, folder, log, store)
    mesh = (int(inputs["matrix_kpts"][0]), int(inputs["matrix_kpts"][1]), int(inputs["matrix_kpts"][2]))
    difference = _difference(scalar, host_matrices(calc, mesh))
    operator, shells = spin_orbit_matrices(calc, mesh)
    translations, a = real_space_odd(scalar.cell, scalar.positions, scalar.orbitals, mesh, operator)
    save_arrays(folder, {"R": translations, "a": a}, "operator.npz")
    crystal = SpinOrbit.along_z(scalar, translations, a)
    laps.end("dft")
    values: Document = {"h_difference_eV": difference, "iterations": again["iterations"], "mesh": before["mesh"],
                        "shells": [list(shell) for shell in shells]}
    coarse = 2 * round(0.5 * inputs["coarser"] * before["mesh"])
    narrow, wide = inputs["sigma"], inputs["sigma_check"]
    wanted = {"served": (before["mesh"], narrow), "wider": (before["mesh"], wide), "coarser": (coarse, narrow)}
    for name, bands, per_band in (("scalar", scalar, 2), ("spinor", crystal, 1)):
        values[name] = _sums(bands, inputs, before["electrons"], wanted, per_band)
    laps.end("sums")
    level = values["scalar"]["served"]["fermi_energy"]
    path, points = _special_path(inputs)
    window = level + inputs["window"][0], level + inputs["window"][1]
    values["points"] = {name: [{
        "energy": s.energy - level, "degeneracy": s.degeneracy, "energies": (s.energies - level).tolist(), "weight": s.weight,
    } for s in split_levels(crystal, k, window)] for name, k in points.items()}
    save_arrays(folder, {"path": path["distance"], "scalar": band_energies(scalar, path["k"]) - level,
                         "spinor": band_energies(crystal, path["k"]) - values["spinor"]["served"]["fermi_energy"]}, "bands.npz")
    laps.end("bands")
    return values | {"ticks": path["ticks"], "timing": laps.seconds}


def fine(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spin_orbit_fine`: sums "scalar" and "spinor" with both widths."""
    before = needs["bulk"].values
    scalar = load_matrices(needs["bulk"])
    crystal = load_spinors(scalar, needs["spin_orbit"])
    n = max(before["mesh"], min(2 * round(0.5 * inputs["finer"] * before["mesh"]), inputs["dense"]))
    wanted = {"served": (n, inputs["sigma"]), "wider": (n, inputs["sigma_check"])}
    return {name: _sums(bands, inputs, before["electrons"], wanted, per_band)
            for name, bands, per_band in (("scalar", scalar, 2), ("spinor", crystal, 1))}


def _difference(a: LCAOMatrices, b: LCAOMatrices) -> float:
    """Largest difference of two H(k) over a few points, eV: the second calculation is the first one."""
    k = np.random.default_rng(2).random((4, 3))
    return float(np.abs(a.at(k)[0] - b.at(k)[0]).max())


def _sums(bands: Bloch, inputs: Document, electrons: float, wanted: Mapping[str, tuple[int, float]], per_band: int) -> Document:
    """Sums over the Fermi surface by name, for (mesh, width) each."""
    from emforce.planewave import irreducible_mesh

    atoms = document_atoms(inputs["atoms"])
    found: dict[str, FermiSurface] = {}
    for n in sorted({mesh for mesh, _ in wanted.values()}):
        names = [name for name, (mesh, _) in wanted.items() if mesh == n]
        k, weights = irreducible_mesh(atoms, n)
        sigmas = tuple(wanted[name][1] for name in names)
        surfaces = cubic_fermi_surfaces(bands, electrons, k, weights, sigmas, (n, n, n), per_band)
        found |= dict(zip(names, surfaces, strict=True))
    return {name: {"fermi_energy": s.fermi_energy, "dos": s.dos, "n": s.n_cubic, "plasma_energy": s.plasma_energy,
                   "rho_lambda": s.rho_lambda, "sigma": s.sigma, "mesh": s.mesh[0]} for name, s in found.items()}


def _special_path(inputs: Document) -> tuple[Document, dict[str, np.ndarray]]:
    """The standard path with its distances (1/Angstrom) and names, and the special points by name."""
    from emforce.planewave import standard_path

    atoms = document_atoms(inputs["atoms"])
    k, labels = standard_path(atoms)
    cartesian = 2 * np.pi * k @ np.linalg.inv(np.array(atoms.cell)).T
    steps = np.linalg.norm(np.diff(cartesian, axis=0, prepend=cartesian[:1]), axis=1)
    distance, ticks = joined_path(np.cumsum(steps), labels)
    points = {letter: k[i] for i, letter in labels.items()}
    return {"k": k, "distance": distance, "ticks": [[at, name] for at, name in ticks]}, points


__all__ = ["fine", "fine_step", "spin_orbit", "spin_orbit_step"]
