"""Energies of a hop's structures in plane waves, and what its formation energy needs.

The error of a local basis in a barrier or a formation energy sits where bonds are made and broken. With n layers set in
kinetics.plane_wave_layers the n upper layers of a slab, with the adatom on them, are cut out of each structure as they stand, and

    E = E_lcao(all) + E_pw(cut) - E_lcao(cut),        F on the atoms kept likewise

with the same k-points in both. The cut cell loses whole grid planes: each atom keeps its place between the grid points, and the
egg-box error of the local basis leaves with it. A bulk cell, and a slab with n = 0, is taken whole: E = E_pw(all).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from emforce.errors import InputError
from emforce.hop import FloatArray, Hop
from emforce.kinetics_plan import KineticsHop, more_kpts, more_words, stationary_step, tight
from emforce.plan import bulk_step, host_grid, setups, title_of
from emforce.settings import Mesh
from emforce.steps import Document, Step, atoms_document, document_atoms
from emforce.store import Finished

#: atoms of a slab whose heights differ by less belong to one layer, Angstrom
SAME_LAYER = 0.5
#: planes are taken from the grid in multiples of this, as GPAW's multigrids want
PLANES = 4


@dataclass(frozen=True)
class Wide:
    """How a structure gets its energy in plane waves.

    Attributes
    ----------
    plane_wave : step of the atoms `kept`
    local : step of the same atoms in the local basis; None where all are kept
    kept : indices in the structure
    """

    plane_wave: Step
    local: Step | None
    kept: tuple[int, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is to be run."""
        return (self.plane_wave,) if self.local is None else (self.plane_wave, self.local)

    def energy(self, found: Mapping[str, Finished], full: float) -> float:
        """Energy in plane waves, eV; `full` is that of all atoms in the local basis, `found` the finished steps by name."""
        wide = float(found[self.plane_wave.name].values["energy"])
        return wide if self.local is None else full + wide - float(found[self.local.name].values["energy"])

    def forces(self, found: Mapping[str, Finished], full: FloatArray) -> FloatArray:
        """Forces (N, 3) in plane waves, eV/Angstrom; `full` are those of all atoms in the local basis, kept where cut away."""
        wide = np.array(found[self.plane_wave.name].values["forces"])
        result = np.array(full)
        result[list(self.kept)] = wide if self.local is None else (
            result[list(self.kept)] + wide - np.array(found[self.local.name].values["forces"]))
        return result


def wide_steps(item: KineticsHop, atoms: Atoms, title: str) -> Wide:
    """Plane waves for one structure of the supercell, its host's upper layers where the settings say so."""
    return _wide(item, atoms, title, (1, 1, 1), lambda layers: upper_atoms(item.hop, layers))


def host_wide_steps(item: KineticsHop) -> Wide:
    """The same for the cell of the host, with the k-points of the supercell."""
    unit = item.hop.host_unit
    return _wide(item, unit, "host", item.hop.repeat, lambda layers: _upper(unit, layers))


def _wide(item: KineticsHop, atoms: Atoms, title: str, repeat: Mesh, upper: Callable[[int], Sequence[int]]) -> Wide:
    """`repeat` : of the cell in the supercell; `upper` : its atoms in that many upper layers."""
    k, layers = item.settings.kinetics, item.cut_layers
    a, b, c = k.plane_wave_bulk_kpts if item.bulk else k.plane_wave_slab_kpts
    kpts = (a * repeat[0], b * repeat[1], c * repeat[2])
    if not layers:
        return Wide(_plane_wave_step(item, atoms, title, kpts, item.gamma), None, tuple(range(len(atoms))))
    kept = upper(layers)
    whole = stationary_step(item, atoms, f"{title}, upper {layers} layers", False, kpts)
    supercell_grid = whole.inputs["grid"]
    small, grid = cut_out(atoms, kept, [n // r for n, r in zip(supercell_grid, repeat, strict=True)])
    local = replace(whole, inputs=whole.inputs | {"atoms": atoms_document(small), "grid": list(grid)}, seconds=5.0 * len(small))
    return Wide(_plane_wave_step(item, small, title, kpts, item.gamma), local, tuple(kept))


def upper_atoms(hop: Hop, layers: int) -> tuple[int, ...]:
    """Atoms of the hop's supercell in the upper `layers` layers of the host, and all that are new, in the order of the images.

    Raises `InputError` where the host has fewer layers, or the images differ in their host sites.
    """
    sites = [image.site_of_atom for image in hop.images]
    if any(not np.array_equal(s, sites[0]) for s in sites):
        raise InputError("images", hop.spec.name, "the same host sites in each, where layers are cut out")
    upper = set(_upper(hop.host_unit, layers))
    unit = len(hop.host_unit)
    return tuple(i for i, site in enumerate(sites[0].tolist()) if site < 0 or site % unit in upper)


def _upper(slab: Atoms, layers: int) -> tuple[int, ...]:
    heights = slab.positions[:, 2]
    order = np.argsort(heights)[::-1]
    steps = np.concatenate([[0], np.cumsum(-np.diff(heights[order]) > SAME_LAYER)])
    if layers > steps[-1] + 1:
        raise InputError("kinetics.plane_wave_layers", layers, f"0 (all) to {steps[-1] + 1}, the layers of the slab")
    return tuple(sorted(int(i) for i in order[steps < layers]))


def cut_out(atoms: Atoms, kept: Sequence[int], grid: Sequence[int]) -> tuple[Atoms, tuple[int, int, int]]:
    """Some atoms of a slab in a lower cell, each with its place between the grid points; and the grid of that cell.

    Parameters
    ----------
    atoms : cell with its third vector along z, not periodic there
    kept : indices of the atoms, upper ones: as many whole planes go from below as the vacuum there allows
    grid : points of the whole cell

    Raises `InputError` for another cell.
    """
    c = atoms.cell.array[2]
    if atoms.pbc[2] or np.abs(c[:2]).max() > 1e-9 or np.abs(atoms.cell.array[:2, 2]).max() > 1e-9:
        raise InputError("cell", atoms.cell.array.tolist(), "a slab whose third cell vector is its normal, along z")
    spacing = c[2] / grid[2]
    height = float(atoms.positions[list(kept), 2].min() - atoms.positions[:, 2].min())
    planes = int(height / spacing / PLANES + 1e-9) * PLANES
    small = atoms[list(kept)]
    small.positions[:, 2] -= planes * spacing
    cell = atoms.cell.array.copy()
    cell[2, 2] -= planes * spacing
    small.set_cell(cell)
    return small, (int(grid[0]), int(grid[1]), int(grid[2]) - planes)


def _plane_wave_step(item: KineticsHop, atoms: Atoms, title: str, kpts: Sequence[int], gamma: bool) -> Step:
    k = item.settings.kinetics
    used = setups(set(atoms.get_chemical_symbols()), item.settings.dft.recipe)
    dft = tight(item.settings)
    return Step("plane_wave", f"{title_of(item.hop)} {title} in plane waves", {
        "atoms": atoms_document(atoms),
        "setups": {symbol: names["setup"] for symbol, names in used.items()},
        "dft": {name: dft[name] for name in ("functional", "smearing_eV", "density_tolerance", "max_iterations")},
        "kpts": list(kpts),
        "gamma": gamma,
        "cutoff": k.plane_wave_cutoff_eV,
    }, seconds=0.3 * len(atoms) ** 2 + 20.0)


@dataclass(frozen=True)
class FormationSteps:
    """What the formation energy needs beside the initial image.

    Attributes
    ----------
    local : in the local basis, "host", for an adatom "bulk" and "bulk, coarser"; empty where no formation energy is defined
    denser : the host with the k-points of each mesh that checks those of the supercell
    host : the host's way into plane waves; bulk : step of the bulk atom there; None where not wanted
    """

    local: Mapping[str, Step]
    denser: tuple[Step, ...] = ()
    host: Wide | None = None
    bulk: Step | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is to be run."""
        return (*self.local.values(), *self.denser, *(self.host.steps if self.host else ()), *((self.bulk,) if self.bulk else ()))

    def energies(self, found: Mapping[str, Finished]) -> dict[str, float]:
        """Energies by the names that `kinetics_assess.formation` takes, eV."""
        energies = {name: float(found[step.name].values["energy"]) for name, step in self.local.items()}
        if self.host is not None:
            energies["host in plane waves"] = self.host.energy(found, energies["host"])
        if self.bulk is not None:
            energies["bulk in plane waves"] = float(found[self.bulk.name].values["energy"])
        return energies

    def denser_energies(self, found: Mapping[str, Finished]) -> tuple[float, ...]:
        """Energies of the host on each of the denser meshes, eV."""
        return tuple(float(found[step.name].values["energy"]) for step in self.denser)


def formation_steps(item: KineticsHop) -> FormationSteps:
    """The steps of the formation energy of the hop's adatom or vacancy.

    The host cell has the k-points of the supercell, so that the two meshes are one. None are needed where no formation energy is
    defined: a mover of another species, structures from files.
    """
    hop, settings = item.hop, item.settings
    spec = hop.spec
    if spec.kind == "files" or spec.species != spec.metal:
        return FormationSteps({})
    unit, k = hop.host_unit, settings.kinetics
    host = stationary_step(item, unit, f"host, {len(unit)} atoms", False)
    inputs = host.inputs | {"grid": host_grid(unit, hop.repeat, settings), "forces": False}

    def on(mesh: Mesh, words: str = "") -> Step:
        """The host with the k-points that the supercell has with `mesh`."""
        kpts = [n * r for n, r in zip(mesh, hop.repeat, strict=True)]
        return replace(host, title=host.title + words, inputs=inputs | {"kpts": kpts}, seconds=7.0 * len(unit))

    found = {"host": on(item.kpts)}
    denser = tuple(on(mesh, more_words(mesh)) for mesh in more_kpts(item))
    wide = host_wide_steps(item) if k.plane_wave else None
    if spec.kind != "adatom":
        return FormationSteps(found, denser, wide)
    source: Document = bulk_step(spec.metal, settings).inputs
    n = settings.host.bulk_kpts
    for name, points in (("bulk", n), ("bulk, coarser", 2 * round(0.375 * n))):
        found[name] = Step("stationary", f"{spec.metal} bulk atom, {points} k-points per axis", {
            "atoms": source["atoms"], "setups": source["setups"], "dft": tight(settings), "kpts": [points] * 3, "gamma": True,
            "grid": source["grid"], "forces": False, "restart": False}, seconds=20.0)
    bulk = _plane_wave_step(item, document_atoms(source["atoms"]), "bulk atom", [n] * 3, True) if k.plane_wave else None
    return FormationSteps(found, denser, wide, bulk)


__all__ = ["FormationSteps", "Wide", "cut_out", "formation_steps", "host_wide_steps", "upper_atoms", "wide_steps"]
