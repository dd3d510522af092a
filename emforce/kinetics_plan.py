"""From a relaxed hop to the steps of its kinetics: which atoms move, which of them are displaced, what is run.

The Hessian is that of the mover with shells of neighbours around both ends of the hop, the same atoms at start, saddle and end.
Everything is planned in the frame in which the structures were relaxed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms

from emforce.errors import EmforceError, InputError
from emforce.hop import FloatArray, Hop, nearness
from emforce.materials import material
from emforce.physics.force_constants import Displacement, Group, displacements
from emforce.plan import dft_document, setups, title_of
from emforce.settings import Mesh, Settings
from emforce.steps import Document, Step, atoms_document

#: neighbour shells end at these multiples of the nearest distance: 12 of fcc, 8 + 6 of bcc; 6 more of fcc; ...
SHELL_REACH = (1.25, 1.5, 1.8, 2.1)


@dataclass(frozen=True)
class KineticsHop:
    """A relaxed hop whose kinetics is wanted.

    Attributes
    ----------
    hop : with relaxed positions
    settings : of the run
    folder : of the relaxed structures
    energies_eV : energy of each image as relaxed, by fraction
    shells : the mover alone, then the atoms of each shell
    """

    hop: Hop
    settings: Settings
    folder: Path
    energies_eV: Mapping[float, float]
    shells: tuple[tuple[int, ...], ...]

    @property
    def atoms(self) -> tuple[int, ...]:
        """All atoms of the Hessian, the mover first."""
        return tuple(a for shell in self.shells for a in shell)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Images that need a Hessian: start and saddle, and the end where it is another site."""
        return (0.0, 0.5) if self.hop.symmetric else (0.0, 0.5, 1.0)

    @property
    def bulk(self) -> bool:
        """Whether the hop is one in bulk."""
        return bool(self.hop.host_unit.pbc[2])

    @property
    def cut_layers(self) -> int:
        """Upper layers of a slab on which alone plane waves correct the local basis; 0 where they take all atoms."""
        return 0 if self.bulk else self.settings.kinetics.plane_wave_layers

    @property
    def kpts(self) -> Mesh:
        """Mesh of the supercell in the local basis."""
        return self.settings.dft.bulk_kpts if self.bulk else self.settings.dft.slab_kpts

    @property
    def gamma(self) -> bool:
        """Whether the meshes hold Gamma; else they are shifted half a spacing off it, and (111) would lose its threefold axis."""
        return not self.bulk and is_hexagonal(self.hop.host_unit)


@dataclass(frozen=True)
class Stationary:
    """A structure near a stationary point, with what is run for its Hessian.

    Attributes
    ----------
    label : of the image
    atoms : positions that obey `group` exactly
    group : operations that the structure and its k-points have
    rest : step at rest
    moved : displacements; nudged : the step of each
    """

    label: str
    atoms: Atoms
    group: Group
    rest: Step
    moved: tuple[Displacement, ...] = ()
    nudged: tuple[Step, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is to be run."""
        return (self.rest, *self.nudged)


def shells_of(hop: Hop, count: int) -> tuple[tuple[int, ...], ...]:
    """The mover, then `count` shells of neighbours: each atom in the nearest shell that it has around the mover at any end.

    Raises `InputError` where the hop has no initial image and saddle.
    """
    start, saddle = hop.image(0.0), hop.image(0.5)
    end = (start.atoms, start.mover_position + hop.hop_vector)
    if not hop.symmetric:
        end = (hop.image(1.0).atoms, hop.image(1.0).mover_position)
    ratio = nearness(start.mover, [(start.atoms, start.mover_position), (saddle.atoms, saddle.mover_position), end])
    found: list[tuple[int, ...]] = [(start.mover,)]
    inner = 0.0
    for reach in SHELL_REACH[:count]:
        found.append(tuple(int(a) for a in np.flatnonzero((ratio > inner) & (ratio <= reach))))
        inner = reach
    return tuple(found)


def is_hexagonal(slab: Atoms) -> bool:
    """Whether the first two cell vectors are equally long and 60 or 120 degrees apart."""
    a, b, _, _, _, angle = slab.cell.cellpar()
    return bool(abs(a - b) < 1e-6 * a and min(abs(angle - 60), abs(angle - 120)) < 1e-4)


def symmetric_structure(
    atoms: Atoms, kpts: Sequence[int], tolerance: float, gamma: bool = False
) -> tuple[Atoms, Group]:
    """The structure with positions averaged over its symmetry, and the operations that also map the k-points on themselves.

    Parameters
    ----------
    kpts, gamma : mesh of the supercell, with Gamma in it or shifted half a spacing off it
    tolerance : within which positions count as symmetric, Angstrom

    Raises `EmforceError` where spglib finds none.
    """
    import spglib

    cell = atoms.cell.array
    scaled = atoms.cell.scaled_positions(atoms.positions)
    data = spglib.get_symmetry((cell, scaled, atoms.numbers), symprec=tolerance)
    if data is None:
        raise EmforceError(f"spglib finds no symmetry of {atoms.symbols}: are two atoms closer than {tolerance} Angstrom?")
    inverse = np.linalg.inv(cell.T)
    turns, goes, total = [], [], np.zeros_like(scaled)
    for rotation, translation in zip(data["rotations"], data["translations"], strict=True):
        if not _keeps_mesh(rotation, kpts, gamma):
            continue
        moved = scaled @ rotation.T + translation
        delta = moved[:, None, :] - scaled[None, :, :]
        delta -= np.round(delta)
        target = np.linalg.norm(delta @ cell, axis=2).argmin(axis=1)
        turns.append(cell.T @ rotation @ inverse)
        goes.append(target)
        total[target] += scaled[target] + delta[np.arange(len(target)), target]
    if any(len(set(g.tolist())) < len(g) for g in goes):
        raise EmforceError(f"symmetry of {atoms.symbols} within {tolerance} Angstrom maps two atoms on one; lower the tolerance")
    new = atoms.copy()
    new.positions = (total / len(turns)) @ cell
    return new, Group(np.array(turns), np.array(goes, dtype=np.int64))


def _keeps_mesh(rotation: FloatArray, kpts: Sequence[int], gamma: bool) -> bool:
    """Whether a rotation (scaled coordinates) maps a mesh on itself, up to k -> -k."""
    size = np.array(kpts)
    mesh = (np.array(list(np.ndindex(*size))) + (0.0 if gamma else 0.5)) / size  # up to whole numbers
    turned = mesh @ np.linalg.inv(rotation)  # k' = W^-T k

    def names(k: FloatArray) -> set[tuple[int, ...]]:
        return {tuple(int(x) for x in row) for row in np.rint(k * 2 * size).astype(int) % (2 * size)}

    whole = np.abs(turned * 2 * size - np.rint(turned * 2 * size)).max() < 1e-6
    return bool(whole) and names(turned) == names(mesh)


def stationary_step(item: KineticsHop, atoms: Atoms, title: str, restart: bool, kpts: Mesh | None = None) -> Step:
    """Energy and forces of one structure of the supercell in the local basis."""
    from emforce.dft import grid_points

    hop, settings = item.hop, item.settings
    return Step("stationary", f"{title_of(hop)} {title}", {
        "atoms": atoms_document(atoms),
        "setups": setups(set(atoms.get_chemical_symbols()), settings.dft.recipe),
        "dft": tight(settings),
        "kpts": list(kpts or item.kpts),
        "gamma": item.gamma,
        "grid": grid_points(np.array(hop.host_unit.cell), settings.dft.grid_A, hop.repeat),
        "forces": True,
        "restart": restart,
    }, seconds=5.0 * len(atoms))


def more_kpts(item: KineticsHop) -> tuple[Mesh, ...]:
    """The meshes of the supercell that check its k-points, each with one more along each periodic axis; none where not wanted."""
    k = item.settings.kinetics
    found: list[Mesh] = []
    for more in range(1, k.k_points_steps + 1 if k.k_points_check else 1):
        a, b, c = (n + more if p else 1 for n, p in zip(item.kpts, item.hop.host_unit.pbc, strict=True))
        found.append((a, b, c))
    return tuple(found)


def more_words(mesh: Mesh) -> str:
    """What a title says of such a mesh."""
    return f" with {'x'.join(map(str, mesh))} k-points of the supercell"


def central_atoms(item: KineticsHop, groups: Sequence[Group]) -> tuple[int, ...]:
    """Atoms with central differences: as many whole shells, the mover at least, as keep the runs within kinetics.force_calls."""
    k = item.settings.kinetics
    for count in range(len(item.shells), 0, -1):
        central = tuple(a for shell in item.shells[:count] for a in shell)
        calls = sum(1 + len(displacements(g, item.atoms, k.displacement_A, central)) for g in groups)
        if calls <= k.force_calls:
            break
    return central


def with_hessians(item: KineticsHop, structures: Mapping[str, Atoms]) -> list[Stationary]:
    """The steps of the Hessians of a hop's structures, by label of the image."""
    k = item.settings.kinetics
    found = {label: symmetric_structure(atoms, item.kpts, k.symmetry_tolerance_A, item.gamma)
             for label, atoms in structures.items()}
    central = central_atoms(item, [group for _, group in found.values()])
    return [_with_hessian(item, label, atoms, group, central) for label, (atoms, group) in found.items()]


def _with_hessian(item: KineticsHop, label: str, atoms: Atoms, group: Group, central: Sequence[int]) -> Stationary:
    rest = stationary_step(item, atoms, f"{label} at rest", restart=True)
    moved = displacements(group, item.atoms, item.settings.kinetics.displacement_A, central)
    common = {name: rest.inputs[name] for name in ("atoms", "setups", "dft")}
    nudged = [Step("nudged", f"{title_of(item.hop)} {label}: atom {d.atom} displaced, {number} of {len(moved)}",
                   common | {"atom": d.atom, "displacement": list(d.vector)}, {"stationary": rest}, seconds=2.5 * len(atoms))
              for number, d in enumerate(moved, start=1)]
    return Stationary(label, atoms, group, rest, tuple(moved), tuple(nudged))


@dataclass(frozen=True)
class WholeCells:
    """All atoms of the supercell with the vacancy and of its host, for the formation entropy."""

    vacancy: Stationary
    host: Stationary

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is to be run; what the Hessians of the hop have displaced already is the same step."""
        return (*self.vacancy.steps, *self.host.steps)


def whole_cells(item: KineticsHop) -> WholeCells | None:
    """The steps of the formation entropy; None where none is wanted, or the mover leaves no vacancy of its own metal."""
    spec, k = item.hop.spec, item.settings.kinetics
    if not k.formation_entropy or spec.kind != "vacancy" or spec.species != spec.metal:
        return None
    start = item.hop.image(0.0)
    found = []
    for label, atoms, first in ((start.label, start.atoms, start.mover), ("host supercell", item.hop.host_supercell(), 0)):
        symmetric, group = symmetric_structure(atoms, item.kpts, k.symmetry_tolerance_A, item.gamma)
        every = (first, *(a for a in range(len(atoms)) if a != first))
        found.append(_with_hessian(replace(item, shells=(every,)), label, symmetric, group, every))
    return WholeCells(*found)


def moved_on(item: KineticsHop, before: Stationary, shift: FloatArray) -> Stationary:
    """The structure with the atoms of the Hessian moved by `shift` (n, 3), at rest only, with the symmetry of that set."""
    atoms = before.atoms.copy()
    atoms.positions[list(item.atoms)] += shift
    rest = stationary_step(item, atoms, f"{before.label} after a Newton step", restart=False)
    return replace(before, atoms=atoms, group=before.group.keeping(item.atoms), rest=rest, moved=(), nudged=())


def check_images(hop: Hop) -> None:
    """Raises `InputError` where the hop lacks an image that its kinetics needs, or the mass of an atom."""
    for fraction in (0.0, 0.5) if hop.symmetric else (0.0, 0.5, 1.0):
        hop.image(fraction)
    for symbol in sorted(set(hop.image(0.0).atoms.get_chemical_symbols())):
        if not material(symbol).mass_amu > 0:
            raise InputError("mass_amu", symbol, "a mass in the materials file")


def tight(settings: Settings) -> Document:
    """The `dft` section of a step whose forces are differentiated."""
    return dft_document(settings) | {"density_tolerance": settings.kinetics.density_tolerance}


__all__ = ["KineticsHop", "Stationary", "WholeCells", "central_atoms", "check_images", "moved_on", "shells_of",
           "stationary_step", "symmetric_structure", "tight", "whole_cells", "with_hessians"]
