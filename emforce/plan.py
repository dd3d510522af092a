"""From a hop and settings to the graph of steps that compute its wind force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk as bulk_cell

from emforce.direct_plan import COUPLINGS, DirectHop, direct_step
from emforce.drift import axes_of
from emforce.embedding_jobs import defect_geometry, region_translations
from emforce.errors import InputError
from emforce.hop import FloatArray, Hop, Image, frozen_atoms
from emforce.materials import material
from emforce.physics.perturbation import DefectGeometry
from emforce.settings import Settings
from emforce.site_symmetry import force_directions
from emforce.spin_orbit_jobs import spin_orbit_step
from emforce.spinor_jobs import spheres_step, spinor_step
from emforce.steps import Document, Step, atoms_document
from emforce.structure import thick_host


@dataclass(frozen=True)
class HopPlan:
    """Steps of one hop.

    Attributes
    ----------
    hop : turned so that the hop vector lies along x
    bulk : step of the bulk host
    wind : joins the embeddings
    direct : joins the responses of the direct valence; None where it is not wanted
    spin_orbit : sums over the Fermi surface of the bulk host with spin-orbit coupling; None without it
    images : step of each image's ground state
    ground_states : every step that runs GPAW but `bulk`, under the name by which the embeddings know it
    """

    hop: Hop
    bulk: Step
    wind: Step
    images: tuple[Step, ...]
    ground_states: Mapping[str, Step]
    direct: Step | None
    spin_orbit: Step | None = None

    def steps(self) -> tuple[Step, ...]:
        """All steps, each after those that it needs."""
        return _in_order(self.last())

    def last(self) -> list[Step]:
        """Those whose values the records are made of."""
        return [*self._of_wind(), *([] if self.direct is None else [self.direct])]

    def wind_steps(self) -> tuple[Step, ...]:
        """Those of them that the wind force needs."""
        return _in_order(self._of_wind())

    def _of_wind(self) -> list[Step]:
        return [self.bulk, self.wind, *([] if self.spin_orbit is None else [self.spin_orbit])]


def _in_order(last: Sequence[Step]) -> tuple[Step, ...]:
    """The steps and all that they build on, each after what it needs."""
    found: dict[str, Step] = {}

    def visit(step: Step) -> None:
        for need in step.needs.values():
            visit(need)
        found.setdefault(step.name, step)

    for step in last:
        visit(step)
    return tuple(found.values())


def rotation_to_x(vector: FloatArray, keep_z: bool) -> FloatArray:
    """Rotation matrix that turns `vector` to +x; about z for slabs (`keep_z`), where the in-plane part goes to x."""
    v = np.array(vector, dtype=float)
    if keep_z:
        v[2] = 0.0
    x = v / np.linalg.norm(v)
    helper = np.array([0.0, 0.0, 1.0]) if abs(x[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    z = helper - x * (helper @ x)
    z /= np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def turned_atoms(atoms: Atoms, rotation: FloatArray) -> Atoms:
    """The same structure in turned axes, cell and positions."""
    new = atoms.copy()
    new.set_cell(np.array(atoms.cell) @ rotation.T, scale_atoms=False)
    new.set_positions(atoms.get_positions() @ rotation.T)
    return new


def turned_hop(hop: Hop) -> Hop:
    """The hop with its vector along x: force and field along the hop are then one component of every tensor."""
    rotation = rotation_to_x(hop.hop_vector, keep_z=not hop.host_unit.pbc[2])
    images = tuple(
        Image(i.fraction, i.label, frozen_atoms(turned_atoms(i.atoms, rotation)), i.mover, i.site_of_atom, i.removed)
        for i in hop.images
    )
    return Hop(hop.spec, frozen_atoms(turned_atoms(hop.host_unit, rotation)), hop.repeat, images,
               np.round(rotation @ hop.hop_vector, 12) + 0.0, hop.symmetric)


def setups(species: set[str], recipe: str) -> dict[str, dict[str, str]]:
    """PAW setup and basis of each species; the basis file's name holds a digest of its content, so keys follow it."""
    from emforce.basis import load_recipe

    recipes = {symbol: load_recipe(symbol, recipe) for symbol in sorted(species)}
    return {symbol: {"setup": r.setup, "basis": r.filename} for symbol, r in recipes.items()}


def dft_document(settings: Settings) -> Document:
    """The settings of the density functional theory that are part of a step's inputs."""
    d = settings.dft
    return {"functional": d.functional, "recipe": d.recipe, "smearing_eV": d.smearing_eV, "grid_A": d.grid_A,
            "density_tolerance": d.density_tolerance, "max_iterations": d.max_iterations}


def bulk_step(metal: str, settings: Settings) -> Step:
    """Step of the primitive bulk cell of a metal."""
    from emforce.dft import grid_points

    data = material(metal)
    atoms = bulk_cell(metal, data.structure, a=data.lattice_constant(settings.dft.functional))
    atoms.positions += 0.25 * np.array(atoms.cell).sum(axis=0)
    h = settings.host
    return Step("bulk", f"{metal} bulk host", {
        "symbol": metal,
        "atoms": atoms_document(atoms),
        "setups": setups({metal}, settings.dft.recipe),
        "dft": dft_document(settings),
        "kpts": [h.bulk_kpts] * 3,
        "gamma": True,
        "grid": grid_points(np.array(atoms.cell), settings.dft.grid_A),
        "matrix_kpts": [h.bulk_matrix_kpts] * 3,
        "mesh": h.bulk_mesh,
        "mesh_max": h.bulk_mesh_max,
        "n_tolerance": h.n_tolerance,
        "sigma": h.sigma_eV,
        "sigma_check": h.sigma_check_eV,
    }, seconds=60)


def host_grid(atoms: Atoms, repeat: Sequence[int], settings: Settings) -> list[int]:
    """Grid of a host cell: that of its supercell, so that the egg-box error of equal atoms is equal in both."""
    from emforce.dft import grid_points

    grid = grid_points(np.array(atoms.cell), settings.dft.grid_A, repeat)
    return [n // r for n, r in zip(grid, repeat, strict=True)]


def host_step(atoms: Atoms, title: str, repeat: Sequence[int], settings: Settings) -> Step:
    """Step of a host cell, with the k-points that its supercell has."""
    slab = not atoms.pbc[2]
    kpts = settings.dft.slab_kpts if slab else settings.dft.bulk_kpts
    matrix = [settings.dft.matrix_kpts * r if p else 1 for r, p in zip(repeat, atoms.pbc, strict=True)]
    return Step("host", title, {
        "atoms": atoms_document(atoms),
        "setups": setups(set(atoms.get_chemical_symbols()), settings.dft.recipe),
        "dft": dft_document(settings),
        "kpts": [k * r for k, r in zip(kpts, repeat, strict=True)],
        "grid": host_grid(atoms, repeat, settings),
        "matrix_kpts": matrix,
    }, seconds=7.0 * len(atoms))


def displaced_axes(image: Image, host: Atoms, settings: Settings) -> dict[int, tuple[str, ...]]:
    """Cartesian axes along which the mover is displaced and the signs that are needed, in the turned frame.

    Where the site maps an axis on its opposite one displacement is enough: the other is its mirror image, and the
    even part of H(u) exerts no force along the axis.
    """
    symmetry = force_directions(image, host)
    axes = (0,) if settings.dft.directions == "hop" else symmetry.axes
    signs: dict[int, tuple[str, ...]] = {}
    for axis in axes:
        unit = np.eye(3)[axis]
        mirrored = any(np.allclose(r @ unit, -unit, atol=1e-3) for r in symmetry.rotations)
        one_is_enough = mirrored and settings.dft.directions == "hop"
        signs[axis] = ("+",) if one_is_enough else ("+", "-")
    return signs


def image_steps(hop: Hop, image: Image, settings: Settings) -> tuple[Step, dict[str, dict[str, Step]]]:
    """Ground state of an image and the displaced runs that start from it: {axis: {sign: step}}."""
    from emforce.dft import grid_points

    title = f"{title_of(hop)} {image.label}"
    slab = not hop.host_unit.pbc[2]
    wanted = displaced_axes(image, hop.host_unit, settings)
    delta = settings.dft.displacement_A
    vectors = {(a, s): (delta if s == "+" else -delta) * np.eye(3)[a] for a, signs in wanted.items() for s in signs}
    common = {
        "atoms": atoms_document(image.atoms),
        "mover": image.mover,
        "setups": setups(set(image.atoms.get_chemical_symbols()), settings.dft.recipe),
        "dft": dft_document(settings),
        "matrix_kpts": [settings.dft.matrix_kpts if p else 1 for p in image.atoms.pbc],
    }
    first = Step("image", title, common | {
        "kpts": settings.dft.slab_kpts if slab else settings.dft.bulk_kpts,
        "grid": grid_points(np.array(hop.host_unit.cell), settings.dft.grid_A, hop.repeat),
        "displacements": [v.tolist() for v in vectors.values()],
        "forces": settings.dft.forces,
    }, seconds=4.0 * len(image.atoms))
    moved: dict[str, dict[str, Step]] = {}
    for (axis, sign), vector in vectors.items():
        step = Step("displaced", f"{title}: mover displaced {sign}{'xyz'[axis]}",
                    common | {"displacement": vector.tolist()}, {"image": first}, seconds=2.0 * len(image.atoms))
        moved.setdefault(str(axis), {})[sign] = step
    return first, moved


def title_of(hop: Hop) -> str:
    """Name of a hop for people, such as W(110)."""
    return f"{hop.spec.metal}({hop.spec.facet})"


def plan(hop: Hop, settings: Settings) -> HopPlan:
    """The graph of steps of one hop."""
    slab = not hop.host_unit.pbc[2]
    flat = turned_hop(hop)
    host = host_step(flat.host_unit, f"{title_of(hop)} host, {len(flat.host_unit)} atoms", flat.repeat, settings)
    needs: dict[str, Step] = {"host": host}
    images, documents = [], []
    for image in flat.images:
        first, moved = image_steps(flat, image, settings)
        name = f"image {image.fraction:g}"
        needs[name] = first
        images.append(first)
        named = {}
        for axis, signs in moved.items():
            named[axis] = {sign: f"{name} {sign}{axis}" for sign in signs}
            needs |= {f"{name} {sign}{axis}": step for sign, step in signs.items()}
        documents.append({"name": name, "atoms": atoms_document(image.atoms), "mover": image.mover, "displaced": named,
                          "site_of_atom": image.site_of_atom.tolist(), "removed": list(image.removed)})
    embeddings = _embeddings(hop, flat, settings, needs) if slab else _bulk_embeddings(flat, settings)
    if settings.dft.spin_orbit:
        return _with_spin_orbit(flat, settings, tuple(images), needs, documents, embeddings)
    wind = wind_step(flat, settings, needs, documents, embeddings, _wide(embeddings[0], settings))
    direct = None
    if settings.direct.compute:
        common = _matrices_document(flat, settings)
        in_plane = bool(axes_of(hop.spec, material(hop.spec.metal).structure))  # the field across the hop counts in the drift
        hop_alone = settings.dft.directions == "hop" and not in_plane
        axes = (0,) if hop_alone else (0, 1) if slab else (0, 1, 2)
        labels = [image.label for image in flat.images]
        tables = [wind.needs[entry["steps"][0]].needs["tables"] for entry in wind.inputs["embeddings"]]
        others = list(zip(embeddings[1:], tables[1:], strict=True))
        direct = direct_step(DirectHop(title_of(hop), common, documents, labels, needs, embeddings[0], tables[0], others,
                                       settings.embedding.fermi_error_eV, axes), settings.direct)
    return HopPlan(flat, bulk_step(hop.spec.metal, settings), wind, tuple(images), needs, direct)


def _with_spin_orbit(
    flat: Hop, settings: Settings, images: tuple[Step, ...], needs: Mapping[str, Step], documents: Sequence[Document],
    embeddings: Sequence[Document],
) -> HopPlan:
    """The graph of steps of the wind force of spinors; no direct valence."""
    common = _matrices_document(flat, settings)
    if set(common["setups"]) != {flat.spec.metal}:
        raise InputError("dft.spin_orbit", True, f"false where atoms of another kind than {flat.spec.metal} take part")
    bulk = bulk_step(flat.spec.metal, settings)
    spheres = spheres_step(bulk)
    geometries = [defect_geometry(common, document) for document in documents]
    wide = _wide(embeddings[0], settings)
    parts: dict[str, Step] = {}
    for wanted in [*embeddings, *([] if wide is None else [wide])]:
        used = {name: step for name, step in needs.items() if name == "host" or name.startswith("image ")} | {"spheres": spheres}
        if wanted["host"] != "host":
            used["thick"] = needs[wanted["host"]]
        translations = _translations(flat, wanted, geometries)
        parts[wanted["name"]] = spinor_step(title_of(flat), common, wanted, translations, documents, used)
    sums = spin_orbit_step(bulk)
    inputs: Document = {"embeddings": [wanted["name"] for wanted in embeddings]}
    if wide is not None:
        inputs["wide"] = wide["name"]
    wind = Step("spinor_wind", f"{title_of(flat)} wind force with spin-orbit coupling", inputs, parts, seconds=0.1,
                resources="light")
    return HopPlan(flat, bulk, wind, images, needs, None, sums)


def _matrices_document(flat: Hop, settings: Settings) -> Document:
    """What every step has among its inputs that makes matrices of the basis of a hop's images."""
    species = {symbol for image in flat.images for symbol in image.atoms.get_chemical_symbols()}
    return hop_document(flat, settings) | {"setups": setups(species, settings.dft.recipe), "dft": dft_document(settings)}


def _translations(flat: Hop, wanted: Document, geometries: Sequence[DefectGeometry]) -> list[list[int]]:
    """Lattice translations of the host in the regions around all images."""
    cells = {tuple(int(x) for x in r) for g in geometries
             for r in region_translations(g, len(flat.host_unit), max(wanted["radii"]))}
    return [list(r) for r in sorted(cells)]


def hop_document(flat: Hop, settings: Settings) -> Document:
    """What every step that embeds an image of a hop has among its inputs."""
    return {
        "repeat": list(flat.repeat),
        "host_positions": atoms_document(flat.host_supercell())["positions"],
        "matrix_kpts": [settings.dft.matrix_kpts if p else 1 for p in flat.host_unit.pbc],
        "displacement": settings.dft.displacement_A,
    }


def wind_step(
    flat: Hop, settings: Settings, needs: Mapping[str, Step], images: Sequence[Document], embeddings: Sequence[Document],
    wide: Document | None = None,
) -> Step:
    """Tables of each embedding host, an embedding of each image in each of them, and the step that joins these.

    `wide` is the embedding host of energies far from E_F, None for none.
    """
    common = hop_document(flat, settings)
    parts: dict[str, Step] = {}

    def entry(wanted: Document) -> Document:
        steps = _embedding_steps(flat, common, needs, images, wanted)
        parts.update(steps)
        return {"name": wanted["name"], "steps": list(steps)}

    inputs: Document = {"embeddings": [entry(wanted) for wanted in embeddings]}
    if wide is not None:
        inputs["wide"] = entry(wide)
    return Step("wind", f"{title_of(flat)} wind force", inputs, parts, seconds=0.1, resources="light")


def _embedding_steps(
    flat: Hop, common: Document, needs: Mapping[str, Step], images: Sequence[Document], wanted: Document
) -> dict[str, Step]:
    """An embedding of each image in one host, all with the same tables; `common`: as `hop_document` gives it."""
    title = title_of(flat)
    tables = tables_step(flat, wanted, needs[wanted["host"]], [defect_geometry(common, i) for i in images])
    found = {}
    for image, hop_image in zip(images, flat.images, strict=True):
        used = [image["name"], *(name for signs in image["displaced"].values() for name in signs.values())]
        own = {name: needs[name] for name in ("host", *used)} | {"tables": tables}
        if wanted["host"] != "host":
            own["thick"] = needs[wanted["host"]]
        found[f"{image['name']} in {wanted['name']}"] = Step(
            "embedding", f"{title} {hop_image.label} embedded in {wanted['name']}", common | {
                "image": image,
                "atoms": wanted["atoms"],
                "radii": wanted["radii"],
                "couplings": COUPLINGS,
                "variations": "at the Fermi energy",
            }, own, seconds=1.0 + 0.05 * len(hop_image.atoms) * len(wanted["energies"]), resources="embedding")
    return found


def tables_step(flat: Hop, wanted: Document, host: Step, geometries: Sequence[DefectGeometry]) -> Step:
    """Green functions and current matrices of an embedding host, wide enough for the regions around all images."""
    orbitals = 17 * len(host.inputs["atoms"]["symbols"])
    # tables of bulk hosts made before had E_F of half as many points, and in cells of several primitive ones the velocities of
    # states that mix
    changed = flat.spec.facet == "bulk" or flat.spec.kind == "files"
    marked = {"states": "of the primitive cell, E_F of the whole mesh"} if changed else {}
    return Step("tables", f"{title_of(flat)} Green functions of {wanted['name']}", {
        "mesh": wanted["mesh"],
        "sigmas": wanted["sigmas"],
        "energies": wanted["energies"],
        "atoms": sorted(set(wanted["atoms"])),
        "translations": _translations(flat, wanted, geometries),
    } | marked, {"host": host}, seconds=5e-9 * float(np.prod(wanted["mesh"])) * orbitals**3 / 2, resources="embedding")


def _embeddings(hop: Hop, flat: Hop, settings: Settings, needs: dict[str, Step]) -> list[Document]:
    """Embeddings in thick slabs: the first with the whole energy window, the others at E_F for the error.

    A host given as a file without a thick slab is its own embedding, on two meshes.
    """
    rotation = rotation_to_x(hop.hop_vector, keep_z=True)
    found = []
    layer_counts = settings.structure.thick_layers
    if hop.spec.kind == "files":
        if hop.spec.thick_host_file is None:
            atoms = list(range(len(flat.host_unit)))
            meshes = [settings.host.slab_mesh, 2 * round(0.4 * settings.host.slab_mesh)]
            return [_embedding("host", atoms, (n, n, 1), i == 0, settings) for i, n in enumerate(meshes)]
        layer_counts = layer_counts[:1]  # one file, one thick slab
    for number, layers in enumerate(layer_counts):
        atoms, mapping = thick_host(hop.spec, layers, settings.structure.vacuum_A, settings.dft.functional,
                                    relaxed=hop.host_unit)
        name = f"thick {layers}"
        title = f"{title_of(hop)} slab of {layers} layers"
        needs[name] = host_step(turned_atoms(atoms, rotation), title, flat.repeat, settings)
        n = settings.host.slab_mesh if number == 0 else 2 * round(0.4 * settings.host.slab_mesh)
        found.append(_embedding(name, np.asarray(mapping).tolist(), (n, n, 1), number == 0, settings))
    return found


def _bulk_embeddings(flat: Hop, settings: Settings) -> list[Document]:
    """Embeddings in the bulk cell, on two meshes: points along each axis follow the length of the cell vectors."""
    data = material(flat.spec.metal)
    nearest = data.nearest_neighbour(settings.dft.functional)
    lengths = flat.host_unit.cell.lengths()
    found = []
    for number, scale in enumerate((1.0, 0.75)):
        mesh = [max(2 * round(0.5 * scale * settings.host.embedding_mesh * nearest / length), 2) for length in lengths]
        atoms = list(range(len(flat.host_unit)))
        found.append(_embedding("host", atoms, tuple(mesh), number == 0, settings))
    return found


def _embedding(host: str, atoms: list[int], mesh: tuple[int, ...], served: bool, settings: Settings) -> Document:
    h, e = settings.host, settings.embedding
    return {
        "name": f"{host}, {'x'.join(map(str, mesh))} k-points",
        "host": host,
        "atoms": atoms,
        "mesh": list(mesh),
        "sigmas": [h.sigma_eV, h.sigma_check_eV] if served else [h.sigma_eV],
        "radii": list(e.radii_A) if served else [e.radii_A[0]],
        "energies": list(e.energies_eV) if served else [0.0],
    }


def _wide(served: Document, settings: Settings) -> Document | None:
    """The served embedding at the energies far from E_F, with one width and one radius; None where there are no such energies."""
    energies = list(settings.embedding.wide_energies_eV)
    if not energies:
        return None
    return served | {"name": f"{served['name']}, far from E_F", "sigmas": served["sigmas"][:1], "radii": served["radii"][:1],
                     "energies": energies}


def structure_digest(hop: Hop) -> str:
    """Content hash of host and images."""
    from emforce.store import content_hash

    parts: list[Any] = [atoms_document(hop.host_unit), list(hop.repeat)]
    return content_hash(parts + [[i.fraction, atoms_document(i.atoms), i.mover] for i in hop.images])
