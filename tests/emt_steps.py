"""Runs the steps of kinetics with ASE's EMT potential in place of GPAW, and relaxes hops with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedPlane
from ase.optimize import BFGS

from emforce.hop import Hop
from emforce.kinetics_plan import KineticsHop, shells_of
from emforce.relaxed import with_positions
from emforce.settings import load_settings
from emforce.steps import Step, document_atoms
from emforce.store import Store
from emforce.structure import build_hop, load_spec

ROOT = Path(__file__).parent.parent


def energy_and_forces(atoms: Atoms) -> tuple[float, np.ndarray]:
    work = atoms.copy()
    work.calc = EMT()
    return float(work.get_potential_energy()), work.get_forces()


def run_emt(step: Step) -> dict[str, Any]:
    atoms = document_atoms(step.inputs["atoms"])
    if step.kind == "nudged":
        atoms.positions[step.inputs["atom"]] += step.inputs["displacement"]
    energy, forces = energy_and_forces(atoms)
    if step.kind == "plane_wave":
        energy *= 1.01  # so that the two bases differ
    return {"energy": energy, "forces": forces.tolist(), "fermi_level": 0.0, "iterations": 1}


class EMTCampaign:
    """What `emforce.kinetics.explore` calls to have steps run."""

    def __init__(self, store: Store, broken: Mapping[str, str] | None = None) -> None:
        self.store, self.broken, self.ran = store, dict(broken or {}), []

    def compute(self, steps: Sequence[Step]) -> dict[str, str]:
        failed = {}
        for step in steps:
            reason = next((r for word, r in self.broken.items() if word in step.title), None)
            if reason:
                failed[step.name] = reason
                continue
            if self.store.find(step.kind, step.key) is None:
                self.ran.append(step)
            self.store.run(step.kind, step.key, step.inputs, lambda folder, log, step=step: run_emt(step))
        return failed


def emt_hop(name: str, size: tuple[int, int, int], layers: int, overrides: Mapping[str, object] | None = None,
            force: float = 1e-4, atoms: str = "all") -> KineticsHop:
    """A hop relaxed with EMT: the bottom layer of a slab held, the mover of a saddle in the plane across the hop."""
    settings = load_settings("quick", dict(overrides or {}))
    hop = build_hop(load_spec(ROOT / "structures" / f"{name}.toml"), size=size, layers=layers, vacuum=5.0, functional="PBE")
    positions = {}
    for image in hop.images:
        work = image.atoms.copy()
        constraints: list[Any] = []
        if not work.pbc[2]:
            constraints.append(FixAtoms(np.flatnonzero(work.positions[:, 2] < work.positions[:, 2].min() + 0.5)))
        if 0 < image.fraction < 1:
            constraints.append(FixedPlane(image.mover, hop.hop_vector))
        work.set_constraint(constraints)
        work.calc = EMT()
        BFGS(work, logfile=None).run(fmax=force, steps=200)
        positions[image.fraction] = work.positions
    hop = with_positions(hop, images=positions)
    return KineticsHop(hop, settings, Path("nowhere"), {}, shells_of(hop, settings.kinetics.shells))


def whole_hop(item: KineticsHop) -> Hop:
    return item.hop
