"""The step `transport`: N(eps) and the density of states of a bulk host around its Fermi energy, for S(T) and tau(eps).

It needs the finished step `bulk`, with spin-orbit coupling the step `spin_orbit` too, and no self-consistency of its own.
N(eps) = (2/N_k) sum delta(eps - e) v^2 per axis, of spinors half of that, with two widths of the Gaussian delta. Slopes of N need
more points than N: the mesh is finer than the one that made N of the bulk stand still, unless that one is dense already; a second
mesh serves for the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emforce.physics.fermi import bands_and_velocities, surface_from_bands
from emforce.physics.lcao import Bloch
from emforce.settings import Heat
from emforce.steps import Document, Step, document_atoms, load_matrices, load_spinors
from emforce.store import Finished, Store

#: points along each axis over those of the step `bulk`, where that stays below DENSE; on Cu 40 points in place of 60 change
#: S(300 K) by 14 %
FINER, DENSE = 1.5, 84
#: otherwise the second mesh has this share of its points
COARSER = 0.7


def transport_step(bulk: Step, settings: Heat, coupling: Step | None = None) -> Step:
    """Step of the transport function of a planned bulk host; `coupling`: its step `spin_orbit`, where spinors are wanted."""
    count = max(round(settings.window_eV / settings.spacing_eV), 2)
    energies = [round(settings.spacing_eV * i, 9) for i in range(-count, count + 1)]
    needs, words = {"bulk": bulk}, ""
    if coupling is not None:
        needs, words = needs | {"spin_orbit": coupling}, " with spin-orbit coupling"
    return Step("transport", f"{bulk.inputs['symbol']} transport function{words}", {
        "atoms": bulk.inputs["atoms"],
        "energies": energies,
        "sigmas": [settings.sigma_eV, settings.sigma_check_eV],
        "meshes": [FINER, DENSE, COARSER],
    }, needs, seconds=60 if coupling is None else 300, resources="embedding")


def transport(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `transport`: curves "served", "wider" and "coarser", each with n (eV A^2) and dos (1/eV) per cell.

    Energies are relative to the Fermi energy of the step `bulk`, of spinors to theirs.
    """
    from emforce.planewave import irreducible_mesh

    bulk = needs["bulk"].values
    scalar, atoms = load_matrices(needs["bulk"]), document_atoms(inputs["atoms"])
    matrices: Bloch = scalar
    level, per_band = bulk["fermi_energy"], 2
    if "spin_orbit" in needs:
        matrices = load_spinors(scalar, needs["spin_orbit"])
        level, per_band = needs["spin_orbit"].values["spinor"]["served"]["fermi_energy"], 1
    levels = level + np.array(inputs["energies"])
    narrow, wide = inputs["sigmas"]
    found: Document = {}
    for mesh, wanted in zip(_meshes(bulk["mesh"]), ({"served": narrow, "wider": wide}, {"coarser": narrow}), strict=True):
        k, weights = irreducible_mesh(atoms, mesh)
        energies, v = bands_and_velocities(matrices, k)
        for name, sigma in wanted.items():
            surfaces = [surface_from_bands(energies, v, at, sigma, scalar.volume, (mesh,) * 3, len(weights) * weights, per_band)
                        for at in levels]
            found[name] = {"mesh": mesh, "sigma": sigma, "n": [s.n_cubic for s in surfaces], "dos": [s.dos for s in surfaces]}
    return found


def _meshes(bulk: int) -> tuple[int, int]:
    """Points along each axis that are served, and those of the second mesh; both even."""
    fine = 2 * round(0.5 * FINER * bulk)
    return (fine, bulk) if fine <= DENSE else (bulk, 2 * round(0.5 * COARSER * bulk))


__all__ = ["transport", "transport_step"]
