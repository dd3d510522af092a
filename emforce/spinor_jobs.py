"""The steps of the wind force with spin-orbit coupling, host and defect (dft.spin_orbit = true).

    spheres            D of the atoms of a metal: the ground state of its primitive cell once more
    spinor_embedding   all images of a hop in one host: the tables of its spinors are made and used, not kept
    spinor_wind        the embeddings of a hop joined: the document that `emforce.assess` reads

H and S are those without the coupling, of the same steps as without. The operator is made of D, geometry and basis alone
(`RealSpaceBasis.spin_orbit`): of the host, the slab that it is embedded in, every image, and it with its mover displaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from emforce.embedding_jobs import (
    NUMBERS,
    defect_geometry,
    image_perturbation,
    joined,
    level_mesh,
    numbers,
    shift_between,
    winds,
)
from emforce.ground_state_jobs import dft_settings, run_ground_state
from emforce.physics.embedding import on_sites
from emforce.physics.fermi import HostTables, host_tables, level_on_mesh
from emforce.physics.image_pairs import image_pairs
from emforce.physics.lcao import Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import Perturbation
from emforce.physics.spin_orbit import SpinOrbit, SpinOrbitChange
from emforce.physics.wind import Wind, wind
from emforce.steps import Document, Laps, Step, document_atoms, load_matrices
from emforce.store import Finished, Store, save_arrays

#: displacement of the mover for dA/du, Angstrom; the functions are analytic in it
STEP_A = 0.01
#: inputs of the step `bulk` that fix its ground state
_GROUND_STATE = ("symbol", "atoms", "setups", "dft", "kpts", "gamma", "grid")


def spheres_step(bulk: Step) -> Step:
    """Step of D of a metal, from its planned bulk step."""
    symbol = bulk.inputs["symbol"]
    return Step("spheres", f"{symbol} spin-orbit coupling in the spheres", {name: bulk.inputs[name] for name in _GROUND_STATE},
                {}, seconds=60)


def spheres(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spheres`."""
    from emforce.dft import sphere_spin_orbit

    calc, values = run_ground_state(inputs, folder, log, store)
    save_arrays(folder, {inputs["symbol"]: sphere_spin_orbit(calc)[0]}, "spheres.npz")
    return values


def spinor_step(
    title: str, common: Document, embedding: Document, translations: Sequence[Sequence[int]], images: Sequence[Document],
    needs: Mapping[str, Step],
) -> Step:
    """Step of all images of a hop in one host.

    Parameters
    ----------
    common : geometry, setups, settings of the density functional theory
    embedding : of the wind force, as `emforce.plan` makes it; translations : that its tables need
    needs : host, its thick slab ("thick") if there is one, images with their displaced copies, "spheres"
    """
    inputs = common | {"images": list(images), "translations": [list(r) for r in translations]}
    inputs |= {name: embedding[name] for name in ("atoms", "mesh", "sigmas", "radii", "energies")}
    host = needs["thick" if "thick" in needs else "host"]
    orbitals = 2 * 17 * len(host.inputs["atoms"]["symbols"])
    seconds = 3e-9 * float(np.prod(embedding["mesh"])) * orbitals**3 / 2 + 60.0 * len(images)
    inputs |= {"host_atoms": needs["host"].inputs["atoms"], "thick_atoms": host.inputs["atoms"]}
    return Step("spinor_embedding", f"{title} with spin-orbit coupling embedded in {embedding['name']}", inputs, dict(needs),
                seconds=seconds, resources="embedding")


@dataclass(frozen=True)
class _Operator:
    """The spin-orbit operator i A_v of a structure: orbitals of each atom, translations R, A (3, nR, n, n) in eV."""

    orbitals: Ints
    R: Ints
    a: Floats


def spinor_embedding(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spinor_embedding`: of each image m and condition [width][radius][energy], and the numbers of its checks.

    The first width and radius are served, at all energies; the others measure errors at E_F.
    """
    laps = Laps()
    found = needs["spheres"].arrays("spheres.npz")
    thin = load_matrices(needs["host"])
    thick = load_matrices(needs["thick"]) if "thick" in needs else thin
    mapping, energies = np.array(inputs["atoms"]), np.array(inputs["energies"])
    shift = shift_between(thin, thick, mapping) if "thick" in needs else 0.0
    # the translations of a host's matrices count from where GPAW has the atoms
    on_thin = _operator(inputs["host_atoms"], inputs, store, found, thin.positions)
    on_thick = _operator(inputs["thick_atoms"], inputs, store, found, thick.positions) if "thick" in needs else on_thin
    crystal = SpinOrbit.along_z(thick, on_thick.R, on_thick.a)
    laps.end("operator")
    mesh = (int(inputs["mesh"][0]), int(inputs["mesh"][1]), int(inputs["mesh"][2]))
    electrons = needs["thick" if "thick" in needs else "host"].values["electrons"]
    level = level_on_mesh(crystal, level_mesh(mesh), electrons, inputs["sigmas"][0])
    laps.end("fermi_energy")
    kept = np.concatenate([np.arange(thick.offsets[a], thick.offsets[a + 1]) for a in sorted(set(inputs["atoms"]))])
    tables = host_tables(crystal, mesh, level + energies, tuple(inputs["sigmas"]), np.array(inputs["translations"]), kept,
                         int(np.abs(energies).argmin()))
    laps.end("tables")
    images = []
    for image in inputs["images"]:
        p = image_perturbation(inputs, needs, image, thin, max(inputs["radii"]))
        coupling = _change(inputs, image, (thin, on_thin), p, partial(_operator, image["atoms"], inputs, store, found))
        laps.end("perturbation")

        def at(table: HostTables, i: int, radius: float, p: Perturbation = p, coupling: SpinOrbitChange = coupling) -> Wind:
            return wind(table, i, thick.offsets, p, radius, mapping, shift, coupling)

        images.append(winds(tables, level, inputs["radii"], at) | numbers(p))
        laps.end("embedding")
    return {"fermi_energy": level, "energy_shift": shift, "images": images, "timing": laps.seconds}


def spinor_wind(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `spinor_wind`: as the step `wind`, m and condition indexed [width and image][radius][energy]."""
    def entry(name: str) -> Document:
        values = needs[name].values
        return joined(name, values, values["images"])

    served = needs[inputs["embeddings"][0]].values["images"]
    found: Document = {"embeddings": [entry(name) for name in inputs["embeddings"]]}
    if "wide" in inputs:
        found["wide"] = entry(inputs["wide"])
    return found | {name: [image[name] for image in served] for name in NUMBERS}


def _operator(document: Document, inputs: Document, store: Store, found: Mapping[str, Floats], positions: Floats) -> _Operator:
    """The operator of a structure at `positions`."""
    from emforce.connection import RealSpaceBasis, setups_for

    atoms = document_atoms(document)
    atoms.positions = positions
    basis = RealSpaceBasis(setups_for(atoms, dft_settings(inputs, store)), atoms)
    return _Operator(basis.orbitals, basis.R, basis.spin_orbit(found))


def _change(
    inputs: Document, image: Document, host: tuple[LCAOMatrices, _Operator], p: Perturbation, at: Callable[[Floats], _Operator]
) -> SpinOrbitChange:
    """What an image changes in the operator, and its slopes along the axes of dH/du; `at` gives the operator at positions."""
    geometry = defect_geometry(inputs, image)
    whole = at(geometry.positions)
    pairs = image_pairs(host[0], (whole.orbitals, geometry.positions), geometry, p, max(inputs["radii"]))
    own = on_sites(host[1].orbitals, host[1].R, host[1].a, p.sites)
    change = np.array([pairs.change(pairs.of(whole.R, x), y) for x, y in zip(whole.a, own, strict=True)])
    gradient = np.full((3, *change.shape), np.nan)
    for axis in (int(axis) for axis in image["displaced"]):
        sides = []
        for sign in (1, -1):
            moved = geometry.positions.copy()
            moved[geometry.mover, axis] += sign * STEP_A
            there = at(moved)
            sides.append(np.array([pairs.of(there.R, x) for x in there.a]))
        gradient[axis] = (sides[0] - sides[1]) / (2 * STEP_A) * pairs.moves
    return SpinOrbitChange(change, gradient)


__all__ = ["spheres", "spheres_step", "spinor_embedding", "spinor_step", "spinor_wind"]
