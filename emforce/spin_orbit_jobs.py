"""The step `spin_orbit`: the spin-orbit operator of a bulk host in its local basis, and what it changes at the Fermi energy.

It needs the finished step `bulk`, whose matrices it takes. The self-consistent potential is not kept there: the same calculation
is run again (a primitive cell, seconds) and its H(k) compared with that of `bulk`. Fermi energy, density of states, N and rho
lambda are summed with and without the coupling on the mesh on which N of `bulk` stood still, and on a coarser one, with both
widths of the Gaussian delta.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.ground_state_jobs import _run_ground_state
from emforce.physics.fermi import FermiSurface, band_energies, cubic_fermi_surfaces
from emforce.physics.lcao import Bloch, LCAOMatrices, real_space_odd
from emforce.physics.spin_orbit import SpinOrbit, split_levels
from emforce.steps import Document, Laps, Step, document_atoms, load_matrices
from emforce.store import Finished, Store, save_arrays

#: share of the points along each axis that the second mesh has
COARSER = 0.75
#: levels of a point are listed where they lie within this of the Fermi energy, eV (below, above)
WINDOW = (-9.0, 6.0)
#: inputs of the step `bulk` that fix its ground state and its matrices
_SHARED = ("symbol", "atoms", "setups", "dft", "kpts", "gamma", "grid", "matrix_kpts", "sigma", "sigma_check")


def spin_orbit_step(bulk: Step) -> Step:
    """Step of the spin-orbit coupling of a planned bulk host."""
    inputs = {name: bulk.inputs[name] for name in _SHARED} | {"coarser": COARSER, "window": list(WINDOW)}
    return Step("spin_orbit", f"{bulk.inputs['symbol']} spin-orbit coupling", inputs, {"bulk": bulk}, seconds=300)


def spin_orbit(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spin_orbit`: sums "scalar" and "spinor", levels of special points, bands.npz, operator.npz."""
    from emforce.dft import host_matrices, spin_orbit_matrices

    laps = Laps()
    before = needs["bulk"].values
    scalar = load_matrices(needs["bulk"])
    calc, again = _run_ground_state(inputs, folder, log, store)
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
    for name, bands, per_band in (("scalar", scalar, 2), ("spinor", crystal, 1)):
        values[name] = _sums(bands, inputs, before["electrons"], before["mesh"], coarse, per_band)
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


def _difference(a: LCAOMatrices, b: LCAOMatrices) -> float:
    """Largest difference of two H(k) over a few points, eV: the second calculation is the first one."""
    k = np.random.default_rng(2).random((4, 3))
    return float(np.abs(a.at(k)[0] - b.at(k)[0]).max())


def _sums(bands: Bloch, inputs: Document, electrons: float, mesh: int, coarse: int, per_band: int) -> Document:
    """Sums over the Fermi surface "served", "wider" (second width) and "coarser" (second mesh)."""
    from emforce.planewave import irreducible_mesh

    atoms = document_atoms(inputs["atoms"])
    found: dict[str, FermiSurface] = {}
    narrow, wide = inputs["sigma"], inputs["sigma_check"]
    for n, sigmas in ((mesh, {"served": narrow, "wider": wide}), (coarse, {"coarser": narrow})):
        k, weights = irreducible_mesh(atoms, n)
        surfaces = cubic_fermi_surfaces(bands, electrons, k, weights, tuple(sigmas.values()), (n, n, n), per_band)
        found |= dict(zip(sigmas, surfaces, strict=True))
    return {name: {"fermi_energy": s.fermi_energy, "dos": s.dos, "n": s.n_cubic, "plasma_energy": s.plasma_energy,
                   "rho_lambda": s.rho_lambda, "sigma": s.sigma, "mesh": s.mesh[0]} for name, s in found.items()}


def _special_path(inputs: Document) -> tuple[Document, dict[str, np.ndarray]]:
    """The standard path with its distances (1/Angstrom) and names, and the special points by name."""
    from emforce.planewave import standard_path

    atoms = document_atoms(inputs["atoms"])
    k, labels = standard_path(atoms)
    cartesian = 2 * np.pi * k @ np.linalg.inv(np.array(atoms.cell)).T
    steps = np.linalg.norm(np.diff(cartesian, axis=0, prepend=cartesian[:1]), axis=1)
    for i in labels:
        if i + 1 in labels:
            steps[i + 1] = 0.0  # the path goes on elsewhere
    distance = np.cumsum(steps)
    names: dict[float, str] = {}
    for i, letter in labels.items():
        at = float(distance[i])
        names[at] = f"{names[at]}|{letter}" if at in names else letter
    points = {letter: k[i] for i, letter in labels.items()}
    return {"k": k, "distance": distance, "ticks": [[at, name] for at, name in names.items()]}, points


__all__ = ["spin_orbit", "spin_orbit_step"]
