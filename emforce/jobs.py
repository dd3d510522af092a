"""One function per expensive step of the wind force. A job is pure: documents in, a finished step out.

    bulk      primitive cell: matrices, Fermi surface, comparison with plane waves
    host      slab or bulk cell that carries or embeds the defect: matrices
    image     defect supercell at one point of the hop: density for restarts, matrices
    displaced the same with the mover moved, from the image's density
    relax     host or image: positions
    wind      embedding of all images of a hop: K(E) for each region, width and thick slab

Inputs are JSON-able documents; their hash, with that of the steps they build on, names the output.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from emforce.physics.fermi import (
    FermiSurface,
    band_energies,
    cubic_fermi_surfaces,
    fermi_energy,
    half_mesh,
    host_tables,
)
from emforce.physics.lcao import Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import DefectGeometry, Perturbation, perturbation
from emforce.physics.wind import wind
from emforce.store import Finished, Store, content_hash, save_arrays

#: raise when a job gives other numbers for the same inputs
VERSION = 1
Document = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """A step of the graph.

    Attributes
    ----------
    kind : bulk, host, image, displaced or wind
    title : for people
    inputs : JSON-able
    needs : steps whose output this one reads, by the name it knows them under
    seconds : expected duration, for the progress line
    """

    kind: str
    title: str
    inputs: Document
    needs: Mapping[str, Step] = field(default_factory=dict)
    seconds: float = 60.0

    @property
    def key(self) -> str:
        """Content hash of the step and everything it builds on."""
        return content_hash([VERSION, self.kind, self.inputs, {name: step.key for name, step in self.needs.items()}])

    @property
    def name(self) -> str:
        """Unique name of the step's output."""
        return f"{self.kind}-{self.key}"


def atoms_document(atoms: Atoms) -> Document:
    """Structure as plain lists; positions rounded to 1e-9 Angstrom so that equal structures hash equally."""
    return {
        "symbols": list(atoms.get_chemical_symbols()),
        "positions": (np.round(atoms.get_positions(), 9) + 0.0).tolist(),
        "cell": (np.round(np.array(atoms.cell), 9) + 0.0).tolist(),
        "pbc": [bool(p) for p in atoms.pbc],
    }


def document_atoms(document: Mapping[str, Any]) -> Atoms:
    """The inverse of `atoms_document`."""
    return Atoms(document["symbols"], positions=document["positions"], cell=document["cell"], pbc=document["pbc"])


def execute(step: Step, store_root: str) -> str:
    """Run a step, and before it what it needs and is not there; returns its name. Safe from several processes."""
    _finished(step, Store(store_root))
    return step.name


def _finished(step: Step, store: Store) -> Finished:
    done = store.find(step.kind, step.key)
    if done is not None:
        return done
    needs = {name: _finished(need, store) for name, need in step.needs.items()}
    job = _JOBS[step.kind]
    return store.run(step.kind, step.key, step.inputs,
                     lambda folder, log: job(step.inputs, needs, folder, log, store))


class _Laps:
    """Seconds spent on the named parts of a step, for benchmarks."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, part: str) -> None:
        """What has passed since the part before belongs to `part`."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


# ground states


def _dft_settings(inputs: Document, store: Store) -> Any:
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
    """Monkhorst-Pack mesh; shifted off Gamma along axes with an even number of points, unless the step wants Gamma.

    The primitive cell of fcc has no shifted mesh with the symmetry of the crystal: it is sampled through Gamma.
    """
    return {"size": tuple(inputs["kpts"]), "gamma": bool(inputs.get("gamma", False))}


def _run_ground_state(inputs: Document, store: Store, log: Path) -> tuple[Any, Document]:
    from emforce.dft import calculator, converge

    atoms = document_atoms(inputs["atoms"])
    settings = _dft_settings(inputs, store)
    calc = calculator(atoms, settings, _mesh_document(inputs), tuple(inputs["grid"]), log=log)
    state = converge(calc, atoms)
    values = {"energy": state.energy, "fermi_level": state.fermi_level, "iterations": state.iterations}
    values["electrons"] = float(sum(setup.Nv for setup in calc.dft.setups))
    return calc, values


def save_matrices(folder: Path, matrices: LCAOMatrices, prefix: str = "") -> None:
    """Write matrices as arrays."""
    names = ("cell", "positions", "orbitals", "R", "h", "s")
    save_arrays(folder, {name: getattr(matrices, name) for name in names}, f"{prefix}matrices.npz")


def load_matrices(step: Finished) -> LCAOMatrices:
    """Read what `save_matrices` wrote."""
    return LCAOMatrices(**step.arrays("matrices.npz"))


def _host(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    from emforce.dft import host_matrices

    calc, values = _run_ground_state(inputs, store, log)
    save_matrices(folder, host_matrices(calc, tuple(inputs["matrix_kpts"])))
    return values


def _bulk(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    from emforce.dft import host_matrices

    laps = _Laps()
    calc, values = _run_ground_state(inputs, store, log)
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
    values["check"] = _compare(inputs["symbol"], matrices, values["electrons"], folder)
    laps.end("check")
    return values | {"timing": laps.seconds}


def _compare(symbol: str, matrices: LCAOMatrices, electrons: float, folder: Path) -> Document | None:
    """Standing check against the stored plane-wave reference; None where there is none for this metal."""
    from emforce.errors import InputError
    from emforce.planewave import check_bulk_host, load_reference

    try:
        reference = load_reference(symbol)
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


def _image(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    from emforce.dft import calculator, converge, folded_matrices, save, shared_symmetry

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    moved = [atoms, *(_displaced_atoms(atoms, inputs["mover"], d) for d in inputs["displacements"])]
    calc = calculator(atoms, _dft_settings(inputs, store), _mesh_document(inputs), grid,
                      shared_symmetry(moved, grid), log)
    state = converge(calc, atoms, forces=inputs["forces"])
    save(calc, folder / "density.gpw")
    save_matrices(folder, folded_matrices(calc, tuple(inputs["matrix_kpts"])))
    forces = None if state.forces is None else state.forces.tolist()
    return {"energy": state.energy, "fermi_level": state.fermi_level, "iterations": state.iterations, "forces": forces}


def _displaced_atoms(atoms: Atoms, mover: int, displacement: Sequence[float]) -> Atoms:
    moved = atoms.copy()
    moved.positions[mover] += displacement
    return moved


def _displaced(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    from emforce.dft import converge, folded_matrices, load

    _dft_settings(inputs, store)  # the bases must be on GPAW's path
    calc = load(needs["image"].folder / "density.gpw", log)
    atoms = _displaced_atoms(document_atoms(inputs["atoms"]), inputs["mover"], inputs["displacement"])
    state = converge(calc, atoms)
    save_matrices(folder, folded_matrices(calc, tuple(inputs["matrix_kpts"])))
    return {"energy": state.energy, "fermi_level": state.fermi_level, "iterations": state.iterations}


def _relax(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    from emforce.dft import calculator, relax, shared_symmetry

    atoms = document_atoms(inputs["atoms"])
    grid = tuple(inputs["grid"])
    calc = calculator(atoms, _dft_settings(inputs, store), _mesh_document(inputs), grid,
                      shared_symmetry([atoms], grid), log)
    trajectory = log.with_suffix(".extxyz")  # beside the log: a killed relaxation goes on from its last step
    relaxed, force, energy, steps = relax(calc, atoms, np.array(inputs["directions"]), inputs["force_tolerance"],
                                          inputs["steps"], trajectory)
    return {"positions": relaxed.get_positions().tolist(), "force": force, "energy": energy, "steps": steps}


# embedding


def _perturbation(inputs: Document, needs: Mapping[str, Finished], image: Document, host: LCAOMatrices) -> Perturbation:
    name = image["name"]
    defect = load_matrices(needs[name])
    displaced = {}
    for axis, signs in image["displaced"].items():
        plus = load_matrices(needs[signs["+"]])
        if "-" in signs:
            displaced[int(axis)] = (plus, load_matrices(needs[signs["-"]]), float(inputs["displacement"]))
        else:
            # the site maps u on -u along this axis: the even part of H(u) gives no force along it
            displaced[int(axis)] = (plus, defect, 0.5 * float(inputs["displacement"]))
    geometry = DefectGeometry(
        cell=np.array(image["atoms"]["cell"]),
        periodic=tuple(image["atoms"]["pbc"]),
        repeat=tuple(inputs["repeat"]),
        positions=np.array(image["atoms"]["positions"]),
        mover=image["mover"],
        site_of_atom=np.array(image["site_of_atom"]),
        removed=np.array(image["removed"], dtype=int),
        host_positions=np.array(inputs["host_positions"]),
    )
    reach = max(max(embedding["radii"]) for embedding in inputs["embeddings"])
    return perturbation(host, defect, displaced, geometry, tuple(inputs["matrix_kpts"]), reach)


def _translations(perturbations: Sequence[Perturbation]) -> Ints:
    """All lattice translations between sites of a region, closed under R -> -R."""
    found: set[tuple[int, ...]] = set()
    for p in perturbations:
        cells = np.unique(np.concatenate([p.sites.cells, p.removed.cells]), axis=0)
        found |= {tuple(int(x) for x in d) for d in (cells[:, None] - cells[None]).reshape(-1, 3)}
    return np.array(sorted(found))


def _shift_between(thin: LCAOMatrices, thick: LCAOMatrices, atoms: Ints) -> float:
    """Energy zero of the thick slab minus that of the thin one, eV, from on-site energies of the thin one's upper half."""
    height = thin.positions[:, 2]
    upper = np.flatnonzero(height > np.median(height) - 1e-6)
    shifts = []
    for a in upper:
        rows = slice(thin.offsets[a], thin.offsets[a + 1])
        cols = slice(thick.offsets[atoms[a]], thick.offsets[atoms[a] + 1])
        h0, s0 = thin.block((0, 0, 0))
        h1, _ = thick.block((0, 0, 0))
        difference = np.linalg.solve(s0[rows, rows], h1[cols, cols] - h0[rows, rows])
        shifts.append(np.trace(difference) / len(difference))
    return float(np.mean(shifts))


def _nulls(m: Floats) -> list[list[float | None]]:
    """The tensor as nested lists, null where it was not computed."""
    return [[None if np.isnan(x) else float(x) for x in row] for row in m]


def _wind(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    laps = _Laps()
    host = load_matrices(needs["host"])
    perturbations = [_perturbation(inputs, needs, image, host) for image in inputs["images"]]
    translations = _translations(perturbations)
    laps.end("perturbation")
    results = []
    for embedding in inputs["embeddings"]:
        thick = load_matrices(needs[embedding["host"]])
        mapping = np.array(embedding["atoms"])
        shift = _shift_between(host, thick, mapping) if embedding["host"] != "host" else 0.0
        mesh = tuple(embedding["mesh"])
        coarse = [max(2 * round(n / 4), 2) if n > 1 else 1 for n in mesh]
        bands = band_energies(thick, half_mesh((coarse[0], coarse[1], coarse[2])))
        level = fermi_energy(bands, needs[embedding["host"]].values["electrons"], inputs["sigma"])
        relative = np.array(inputs["energies"] if embedding["window"] else [0.0])
        energies, centre = level + relative, int(np.abs(relative).argmin())
        used = sorted(set(mapping.tolist()))
        kept = np.concatenate([np.arange(thick.offsets[a], thick.offsets[a + 1]) for a in used])
        laps.end("fermi_energy")
        tables = host_tables(thick, mesh, energies, tuple(embedding["sigmas"]), translations, kept, centre)
        laps.end("tables")
        entry: Document = {"name": embedding["name"], "fermi_energy": level, "energy_shift": shift}
        entry |= {"m": [], "condition": []}
        for number, table in enumerate(tables):
            for p in perturbations:
                # the first width and radius are served, at all energies; the others measure errors at E_F
                rows = []
                for place, radius in enumerate(embedding["radii"] if number == 0 else embedding["radii"][:1]):
                    at = range(len(table.energies)) if place == 0 else [centre]
                    rows.append([wind(table, i, thick.offsets, p, radius, mapping, shift) for i in at])
                entry["m"].append([[_nulls(w.m) for w in row] for row in rows])
                entry["condition"].append([[w.condition for w in row] for row in rows])
        results.append(entry)
        laps.end("embedding")
    # m and condition are indexed [width and image][radius][energy]; variations of width and radius hold E_F alone
    return {
        "embeddings": results,
        "alignment": [p.alignment for p in perturbations],
        "far_deviation": [p.far_deviation for p in perturbations],
        "curvature": [p.curvature for p in perturbations],
        "orbitals": [len(p.dh) for p in perturbations],
        "translations": len(translations),
        "timing": laps.seconds,
    }


_JOBS = {"host": _host, "bulk": _bulk, "image": _image, "displaced": _displaced, "wind": _wind, "relax": _relax}
