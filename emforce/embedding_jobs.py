"""The steps of the wind force, after the ground states.

    tables     Green functions and current matrices of a thick slab or a bulk host: need that host alone
    embedding  one image in one host: m and condition at each width, radius and energy
    wind       all of a hop joined: the document that `emforce.assess` reads

What they cost was measured on Cu(100), preset quick, one core: tables of 8 layers 19 s for one energy and 25 s for five
energies and a second width, since the eigenstates on the k-mesh serve all of them; an embedding 0.5 to 0.8 s per energy; the
perturbation of an image 0.35 s. So the tables are one step per host, which runs beside the self-consistency of the images and
is shared by them; an image is one embedding step with all its energies, and makes its perturbation again rather than reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from emforce.errors import InputError
from emforce.physics.fermi import HostTables, host_tables, level_on_mesh
from emforce.physics.lcao import Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import DefectGeometry, Perturbation, perturbation
from emforce.physics.wind import Wind, wind
from emforce.steps import Document, Laps, load_matrices
from emforce.store import Finished, Store, save_arrays

#: what `numbers` has of an image
NUMBERS = ("alignment", "far_deviation", "curvature", "orbitals")


def defect_geometry(inputs: Document, image: Document) -> DefectGeometry:
    """Where the atoms of an image sit on the host, from the documents of a step."""
    return DefectGeometry(
        cell=np.array(image["atoms"]["cell"]),
        periodic=tuple(image["atoms"]["pbc"]),
        repeat=tuple(inputs["repeat"]),
        positions=np.array(image["atoms"]["positions"]),
        mover=image["mover"],
        site_of_atom=np.array(image["site_of_atom"]),
        removed=np.array(image["removed"], dtype=int),
        host_positions=np.array(inputs["host_positions"]),
    )


def image_perturbation(
    inputs: Document, needs: Mapping[str, Finished], image: Document, host: LCAOMatrices, reach: float
) -> Perturbation:
    """What an image and its displaced copies, finished steps among `needs`, change in the matrices of `host`."""
    defect = load_matrices(needs[image["name"]])
    displaced = {}
    for axis, signs in image["displaced"].items():
        plus = load_matrices(needs[signs["+"]])
        if "-" in signs:
            displaced[int(axis)] = (plus, load_matrices(needs[signs["-"]]), float(inputs["displacement"]))
        else:
            # the site maps u on -u along this axis: the even part of H(u) gives no force along it
            displaced[int(axis)] = (plus, defect, 0.5 * float(inputs["displacement"]))
    return perturbation(host, defect, displaced, defect_geometry(inputs, image), tuple(inputs["matrix_kpts"]), reach)


def region_translations(geometry: DefectGeometry, atoms_per_cell: int, radius: float) -> Ints:
    """Lattice translations (nR, 3) of the host between any two of its sites in a region, closed under R -> -R, in order.

    The region holds the sites within `radius` (A) of the mover. An atom of the defect counts at its own distance, its site by
    as much more as the atom has left it.
    """
    unit = geometry.cell / np.array(geometry.repeat)[:, None]
    centre = geometry.positions[geometry.mover]
    carried = np.flatnonzero(geometry.site_of_atom >= 0)
    apart = geometry.positions[carried] - geometry.host_positions[geometry.site_of_atom[carried]]
    fractional = np.linalg.solve(geometry.cell.T, apart.T).T
    apart = (fractional - np.round(fractional) * geometry.periodic) @ geometry.cell
    reach = radius + float(np.linalg.norm(apart, axis=1).max(initial=0.0)) + 1e-6
    base = geometry.host_positions[:atoms_per_cell]
    heights = 1 / np.linalg.norm(np.linalg.inv(unit), axis=0)  # distance between lattice planes along each axis
    near = np.linalg.solve(unit.T, (centre - base).T).T
    spans = [range(int(np.floor(x.min() - reach / d)), int(np.ceil(x.max() + reach / d)) + 1) if p else range(1)
             for x, d, p in zip(near.T, heights, geometry.periodic, strict=True)]
    cells = np.array([(i, j, k) for i in spans[0] for j in spans[1] for k in spans[2]])
    distance = np.linalg.norm((cells @ unit)[:, None] + base[None] - centre, axis=2)
    inside = cells[(distance <= reach).any(axis=1)]
    if len(inside) == 0:
        raise InputError("radius", radius, f"at least {distance.min():.2f} A, the nearest host atom")
    return np.unique((inside[:, None] - inside[None]).reshape(-1, 3), axis=0)


def shift_between(thin: LCAOMatrices, thick: LCAOMatrices, atoms: Ints) -> float:
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


def nulls(m: Floats) -> list[list[float | None]]:
    """The tensor as nested lists, null where it was not computed."""
    return [[None if np.isnan(x) else float(x) for x in row] for row in m]


def save_tables(folder: Path, tables: Sequence[HostTables]) -> None:
    """Write tables of several widths over the same R, which must be in order and closed under R -> -R.

    G0(-R) = G0(R)^T and B(-R) = B(R)^dagger, where B is imaginary: half of R, and the imaginary part of B, are enough.
    """
    R = tables[0].R
    if not np.array_equal(R[::-1], -R):
        raise InputError("R", R.tolist(), "translations in order, closed under R -> -R")
    half = (len(R) + 1) // 2
    arrays: dict[str, np.ndarray] = {"R": R, "orbitals": tables[0].orbitals}
    for i, t in enumerate(tables):
        arrays |= {f"energies {i}": t.energies, f"sigma {i}": np.array(t.sigma), f"g {i}": t.g[:, :half],
                   f"b {i}": t.b[:, :, :half].imag}
    save_arrays(folder, arrays, "tables.npz")


def load_tables(step: Finished) -> list[HostTables]:
    """Read what `save_tables` wrote."""
    arrays = step.arrays("tables.npz")
    found = []
    for i in range(sum(name.startswith("g ") for name in arrays)):
        g, b = arrays[f"g {i}"], 1j * arrays[f"b {i}"]
        others = len(arrays["R"]) // 2
        g = np.concatenate([g, g[:, :others][:, ::-1].swapaxes(-1, -2)], axis=1)
        b = np.concatenate([b, b[:, :, :others][:, :, ::-1].conj().swapaxes(-1, -2)], axis=2)
        found.append(HostTables(arrays[f"energies {i}"], float(arrays[f"sigma {i}"]), arrays["R"], arrays["orbitals"], g, b))
    return found


def tables(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `tables`: E_F on the mesh, of a slab on half of its points per axis, and the tables relative to it."""
    laps = Laps()
    matrices = load_matrices(needs["host"])
    mesh = tuple(inputs["mesh"])
    level = level_on_mesh(matrices, level_mesh(mesh), needs["host"].values["electrons"], inputs["sigmas"][0])
    laps.end("fermi_energy")
    relative = np.array(inputs["energies"])
    kept = np.concatenate([np.arange(matrices.offsets[a], matrices.offsets[a + 1]) for a in inputs["atoms"]])
    made = host_tables(matrices, (mesh[0], mesh[1], mesh[2]), level + relative, tuple(inputs["sigmas"]),
                       np.array(inputs["translations"]), kept, int(np.abs(relative).argmin()))
    laps.end("tables")
    save_tables(folder, made)
    laps.end("writing")
    return {"fermi_energy": level, "timing": laps.seconds}


def level_mesh(mesh: Sequence[int]) -> tuple[int, int, int]:
    """The mesh that E_F of a host is recounted on: that of its tables, of a slab half of its points per axis."""
    x, y, z = mesh if min(mesh) > 1 else [max(2 * round(n / 4), 2) if n > 1 else 1 for n in mesh]
    return x, y, z


def embedding(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `embedding`: m and condition [width][radius][energy] of one image.

    The first width and radius are served, at all energies; the others measure errors at E_F.
    """
    laps = Laps()
    thin = load_matrices(needs["host"])
    thick = load_matrices(needs["thick"]) if "thick" in needs else thin
    mapping = np.array(inputs["atoms"])
    shift = shift_between(thin, thick, mapping) if "thick" in needs else 0.0
    p = image_perturbation(inputs, needs, inputs["image"], thin, max(inputs["radii"]))
    laps.end("perturbation")
    widths = load_tables(needs["tables"])
    laps.end("reading tables")
    level = needs["tables"].values["fermi_energy"]
    found = winds(widths, level, inputs["radii"],
                  lambda table, i, radius: wind(table, i, thick.offsets, p, radius, mapping, shift))
    laps.end("embedding")
    return found | numbers(p) | {"fermi_energy": level, "energy_shift": shift, "timing": laps.seconds}


def winds(
    widths: Sequence[HostTables], level: float, radii: Sequence[float], at: Callable[[HostTables, int, float], Wind]
) -> Document:
    """m and condition [width][radius][energy]: all energies of the first width and radius, E_F alone of the others."""
    found: Document = {"m": [], "condition": []}
    for number, table in enumerate(widths):
        centre = int(np.abs(table.energies - level).argmin())
        rows = [[at(table, i, radius) for i in (range(len(table.energies)) if place == 0 else [centre])]
                for place, radius in enumerate(radii if number == 0 else radii[:1])]
        found["m"].append([[nulls(w.m) for w in row] for row in rows])
        found["condition"].append([[w.condition for w in row] for row in rows])
    return found


def wind_of_hop(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `wind`: join the embeddings of a hop; m and condition are indexed [width and image][radius][energy].

    "wide" is the embedding at energies far from E_F, where there is one.
    """
    def entry(wanted: Document) -> Document:
        images = [needs[name].values for name in wanted["steps"]]
        return joined(wanted["name"], images[0], images)

    served = [needs[name].values for name in inputs["embeddings"][0]["steps"]]
    found: Document = {"embeddings": [entry(wanted) for wanted in inputs["embeddings"]]}
    if "wide" in inputs:
        found["wide"] = entry(inputs["wide"])
    return found | {name: [values[name] for values in served] for name in NUMBERS}


def joined(name: str, host: Document, images: Sequence[Document]) -> Document:
    """The images of a hop in one host: m and condition indexed [width and image][radius][energy]; `host` has E_F and shift."""
    document = {"name": name, "fermi_energy": host["fermi_energy"], "energy_shift": host["energy_shift"]}
    widths = range(len(images[0]["m"]))
    return document | {q: [image[q][width] for width in widths for image in images] for q in ("m", "condition")}


def numbers(p: Perturbation) -> Document:
    """The numbers of a perturbation that a check looks at."""
    return {"alignment": p.alignment, "far_deviation": p.far_deviation, "curvature": p.curvature, "orbitals": len(p.dh)}
