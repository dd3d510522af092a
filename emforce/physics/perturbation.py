"""What a defect changes: the matrices of a defect supercell against those of its host, around the mover.

Only pairs of atoms inside the Wigner-Seitz cell of the supercell around the mover are unique, so each atom is taken at
its image nearest to the mover. The defect's energy zero is aligned with the host's on the atoms farthest away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError
from emforce.physics.embedding import RegionSites, on_sites
from emforce.physics.lcao import Floats, Ints, LCAOMatrices

#: an atom farther than this from its host site has left it, Angstrom
LEFT = 0.01


@dataclass(frozen=True)
class Images:
    """Each defect atom at its image nearest to the mover.

    Attributes
    ----------
    shifts : (atoms, 3) supercell translation of each atom
    positions : (atoms, 3) position of that image, A
    distances : (atoms,) from the mover, A
    """

    shifts: Ints
    positions: Floats
    distances: Floats


def nearest_images(positions: Floats, cell: Floats, periodic: tuple[bool, bool, bool], centre: Floats) -> Images:
    """Nearest image of each atom to `centre` under the supercell's translations."""
    reach = [range(-2, 3) if p else range(1) for p in periodic]
    shifts = np.array([(i, j, k) for i in reach[0] for j in reach[1] for k in reach[2]])
    # start from the image that is nearest in fractional coordinates: atoms may be given any number of cells away
    apart = np.linalg.solve(cell.T, (positions - centre).T).T
    base = -np.round(apart).astype(int) * np.array(periodic)
    vectors = (positions + base @ cell)[:, None, :] + (shifts @ cell)[None] - centre
    lengths = np.linalg.norm(vectors, axis=2)
    # ties are broken by order, with a tolerance, so that rounding cannot split a symmetric pair at random
    best = np.argmax(lengths < lengths.min(axis=1, keepdims=True) + 1e-6, axis=1)
    pick = np.arange(len(positions))
    return Images(base + shifts[best], vectors[pick, best] + centre, lengths[pick, best])


def gather(matrices: LCAOMatrices, mesh: tuple[int, int, int], shifts: Ints) -> tuple[Floats, Floats]:
    """Dense H and S (n, n) between the images `shifts` of all atoms of a supercell.

    `matrices` holds R folded on `mesh` (as `folded` returns it); a pair at translation R reads R modulo the mesh.
    """
    where = np.full(mesh, -1)
    where[tuple(np.mod(matrices.R, mesh).T)] = np.arange(len(matrices.R))
    between = np.mod(shifts[None, :, :] - shifts[:, None, :], mesh)
    index = where[between[..., 0], between[..., 1], between[..., 2]]
    atom = np.repeat(np.arange(len(shifts)), matrices.orbitals)
    pick = (index[np.ix_(atom, atom)], *np.ix_(np.arange(matrices.n), np.arange(matrices.n)))
    return matrices.h[pick], matrices.s[pick]


def host_matrix(host: LCAOMatrices, sites: RegionSites) -> tuple[Floats, Floats]:
    """Dense H and S of the perfect host between the orbitals of `sites`."""
    h, s = on_sites(host.orbitals, host.R, (host.h, host.s), sites)
    return h, s


@dataclass(frozen=True)
class Perturbation:
    """Everything about a defect that the embedding needs, on all atoms of its supercell.

    Orbitals are ordered: those of host sites that carry an atom (in the order of `sites`), then new ones.

    Attributes
    ----------
    sites : host sites that carry an atom of the defect
    removed : host sites without an atom
    site_distance, removed_distance : from the mover, A
    site_orbitals : (sites,) orbitals per site; new_orbitals: number of orbitals the host does not have
    dh, ds : (n, n) H' - H and S' - S, on the aligned energy scale of the host; on new orbitals H' and S' themselves
    gradient_h, gradient_s : (3, n, n) dH'/du and dS'/du along x, y, z; NaN along an axis that was not computed
    alignment : energy that was subtracted, eV; far_deviation: what the far atoms' on-site energies still scatter by, eV
    curvature : norm of the second difference over that of the first, a measure of the finite-difference error
    """

    sites: RegionSites
    removed: RegionSites
    site_distance: Floats
    removed_distance: Floats
    site_orbitals: Ints
    new_orbitals: int
    dh: Floats
    ds: Floats
    gradient_h: Floats
    gradient_s: Floats
    alignment: float
    far_deviation: float
    curvature: float

    def __post_init__(self) -> None:
        n = int(self.site_orbitals.sum()) + self.new_orbitals
        for name, shape in (("dh", (n, n)), ("ds", (n, n)), ("gradient_h", (3, n, n)), ("gradient_s", (3, n, n))):
            if getattr(self, name).shape != shape:
                raise InputError(f"Perturbation.{name}", getattr(self, name).shape, f"shape {shape}")


def on_site_shift(h: Floats, s: Floats, h0: Floats, slices: list[slice]) -> Floats:
    """Shift of each atom's on-site energies, trace of S^-1 (H' - H) per orbital, eV."""
    return np.array([np.trace(np.linalg.solve(s[c, c], h[c, c] - h0[c, c])) / (c.stop - c.start) for c in slices])


def decode_sites(index: Ints, repeat: tuple[int, int, int], atoms_per_cell: int, shifts: Ints) -> RegionSites:
    """Host cell and atom of supercell sites numbered as by repetition (first axis slowest, atoms fastest)."""
    cell_number, atom = np.divmod(np.asarray(index, int), atoms_per_cell)
    cells = np.array(np.unravel_index(cell_number, repeat)).T
    return RegionSites(cells + shifts * np.array(repeat), atom)


@dataclass(frozen=True)
class DefectGeometry:
    """Where the atoms of a defect supercell sit on the host.

    Attributes
    ----------
    cell : (3, 3) of the supercell; periodic : per axis
    repeat : the supercell is the host cell repeated so often
    positions : (atoms, 3) of the defect at its hop position, A
    mover : index of the mover
    site_of_atom : (atoms,) host-supercell site, -1 for an atom that the host does not have
    removed : host-supercell sites without an atom
    host_positions : (sites, 3) of the host supercell
    """

    cell: Floats
    periodic: tuple[bool, bool, bool]
    repeat: tuple[int, int, int]
    positions: Floats
    mover: int
    site_of_atom: Ints
    removed: Ints
    host_positions: Floats


def wrap_shifts(positions: Floats, cell: Floats, periodic: tuple[bool, bool, bool]) -> Ints:
    """Translation (atoms, 3) by which wrapping into the cell moves each atom, as GPAW does it: 0 for atoms inside."""
    scaled = np.linalg.solve(cell.T, positions.T).T
    return np.asarray(-np.floor(scaled).astype(int) * np.array(periodic))


def perturbation(
    host: LCAOMatrices,
    defect: LCAOMatrices,
    displaced: dict[int, tuple[LCAOMatrices, LCAOMatrices, float]],
    geometry: DefectGeometry,
    mesh: tuple[int, int, int],
    reach: float = 0.0,
) -> Perturbation:
    """Difference of a defect from its host and its derivative with respect to the mover's position.

    Parameters
    ----------
    host : matrices of the host cell, every pair at its nearest image
    defect : matrices of the supercell on the folded mesh; translations refer to `geometry.positions`
    displaced : {axis: (matrices at +delta, at -delta, delta in A)}, same folding
    mesh : k-mesh of the supercell's matrices
    reach : host sites outside the Wigner-Seitz cell, up to this distance from the mover (A), are kept with the couplings to
        them of the new orbitals, and of atoms that have left their site, which the folded mesh holds. These orbitals reach
        beyond the cell: without the couplings the basis is cut, the overlap of defect and host together loses its
        positive definiteness, and a region radius gives a wild value now and then. Two host sites that are where they
        were are perturbed inside the cell only.

    Raises
    ------
    InputError if host and defect do not match
    """
    images = nearest_images(geometry.positions, geometry.cell, geometry.periodic, geometry.positions[geometry.mover])
    per_cell = len(host.orbitals)
    order = np.concatenate([np.flatnonzero(geometry.site_of_atom >= 0), np.flatnonzero(geometry.site_of_atom < 0)])
    on_site = order[geometry.site_of_atom[order] >= 0]
    host_images = _site_shifts(geometry, on_site, images)
    sites = decode_sites(geometry.site_of_atom[on_site], geometry.repeat, per_cell, host_images)
    if not np.array_equal(host.orbitals[sites.atoms], defect.orbitals[on_site]):
        raise InputError("defect", "orbitals per atom", "the same number as on the host site it sits on")

    orbital_order = np.concatenate([np.arange(defect.offsets[a], defect.offsets[a + 1]) for a in order])
    pick = np.ix_(orbital_order, orbital_order)

    def dense(matrices: LCAOMatrices) -> tuple[Floats, Floats]:
        h, s = gather(matrices, mesh, images.shifts)
        return h[pick], s[pick]

    h1, s1 = dense(defect)
    h0, s0 = host_matrix(host, sites)
    n0 = len(h0)
    sizes = host.orbitals[sites.atoms]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    slices = [slice(int(starts[i]), int(starts[i + 1])) for i in range(len(sizes))]
    distance = images.distances[on_site]
    distant = np.flatnonzero(distance >= np.quantile(distance, 0.7) - 1e-6)
    shift = on_site_shift(h1, s1, h0, slices)
    alignment = float(shift[distant].mean())
    h1 = h1 - alignment * s1

    gradient_h = np.full((3, len(h1), len(h1)), np.nan)
    gradient_s = np.full((3, len(h1), len(h1)), np.nan)
    curvature = 0.0
    shifts_of: dict[int, tuple[float, float]] = {}
    for axis, (plus, minus, delta) in displaced.items():
        (hp, sp), (hm, sm) = dense(plus), dense(minus)
        above = alignment + _far_shift(hp - alignment * sp, sp, h1, slices, distant)
        below = alignment + _far_shift(hm - alignment * sm, sm, h1, slices, distant)
        shifts_of[axis] = (above, below)
        hp, hm = hp - above * sp, hm - below * sm
        gradient_h[axis] = (hp - hm) / (2 * delta)
        gradient_s[axis] = (sp - sm) / (2 * delta)
        ratio = np.linalg.norm(hp + hm - 2 * h1) / max(float(np.linalg.norm(hp - hm)), 1e-300)
        curvature = max(curvature, float(ratio))

    dh, ds = h1.copy(), s1.copy()
    dh[:n0, :n0] -= h0
    ds[:n0, :n0] -= s0
    outer = outer_copies(host, geometry, images, sites, reach)
    fresh = np.flatnonzero(geometry.site_of_atom < 0)
    if len(outer.atoms) and len(fresh):

        def far(matrices: LCAOMatrices) -> tuple[Floats, Floats]:
            return between(matrices, mesh, (fresh, images.shifts[fresh]), (outer.atoms, outer.shifts))

        h2, s2 = far(defect)
        dh = _insert(dh, n0, h2 - alignment * s2)
        ds = _insert(ds, n0, s2)
        wide_h = np.full((3, *dh.shape), np.nan)
        wide_s = np.full((3, *dh.shape), np.nan)
        for axis, (plus, minus, delta) in displaced.items():
            (hp, sp), (hm, sm) = far(plus), far(minus)
            hp, hm = hp - shifts_of[axis][0] * sp, hm - shifts_of[axis][1] * sm
            wide_h[axis] = _insert(gradient_h[axis], n0, (hp - hm) / (2 * delta))
            wide_s[axis] = _insert(gradient_s[axis], n0, (sp - sm) / (2 * delta))
        gradient_h, gradient_s = wide_h, wide_s
        left = left_site(geometry)
        inner = np.flatnonzero(left[on_site])
        if len(inner):
            union = RegionSites(np.concatenate([sites.cells[inner], outer.sites.cells]),
                                np.concatenate([sites.atoms[inner], outer.sites.atoms]))
            rows = np.concatenate([np.arange(slices[i].start, slices[i].stop) for i in inner])
            cut = len(rows)
            weight = pair_weights(mesh, images.shifts[on_site][inner], outer.shifts, left[outer.atoms])
            weight = np.repeat(np.repeat(weight, sizes[inner], axis=0), host.orbitals[outer.sites.atoms], axis=1)
            h2, s2 = between(defect, mesh, (on_site[inner], images.shifts[on_site][inner]), (outer.atoms, outer.shifts))
            h_host, s_host = (x[:cut, cut:] for x in host_matrix(host, union))
            cols = np.arange(n0, n0 + h2.shape[1])
            for matrix, change in ((dh, h2 - alignment * s2 - h_host), (ds, s2 - s_host)):
                matrix[np.ix_(rows, cols)] = weight * change
                matrix[np.ix_(cols, rows)] = (weight * change).T
        sites = RegionSites(np.concatenate([sites.cells, outer.sites.cells]),
                            np.concatenate([sites.atoms, outer.sites.atoms]))
        distance = np.concatenate([distance, outer.distances])
        sizes = host.orbitals[sites.atoms]
    removed_images = nearest_images(
        geometry.host_positions[geometry.removed].reshape(-1, 3),
        geometry.cell,
        geometry.periodic,
        geometry.positions[geometry.mover],
    )
    return Perturbation(
        sites=sites,
        removed=decode_sites(geometry.removed, geometry.repeat, per_cell, removed_images.shifts),
        site_distance=distance,
        removed_distance=removed_images.distances,
        site_orbitals=np.asarray(sizes),
        new_orbitals=len(h1) - n0,
        dh=dh,
        ds=ds,
        gradient_h=gradient_h,
        gradient_s=gradient_s,
        alignment=alignment,
        far_deviation=float(shift[distant].std()),
        curvature=curvature,
    )


@dataclass(frozen=True)
class OuterCopies:
    """Periodic copies of defect atoms that stand for host sites outside the Wigner-Seitz cell.

    Attributes
    ----------
    atoms, shifts : index and supercell translation of each copy
    sites : the host sites; distances: from the mover, A
    """

    atoms: Ints
    shifts: Ints
    sites: RegionSites
    distances: Floats


def outer_copies(
    host: LCAOMatrices, geometry: DefectGeometry, images: Images, inside: RegionSites, reach: float
) -> OuterCopies:
    """Host sites within `reach` of the mover that are not in `inside` and whose copy in the supercell carries an atom."""
    per_cell = len(host.orbitals)
    centre = geometry.positions[geometry.mover]
    unit = geometry.cell / np.array(geometry.repeat)[:, None]
    base = geometry.host_positions[:per_cell]
    heights = 1 / np.linalg.norm(np.linalg.inv(unit), axis=0)  # distance between lattice planes along each axis
    middle = np.linalg.solve(unit.T, centre - base.mean(axis=0)) * geometry.periodic
    spans = [
        range(int(np.floor(c - reach / d - 1)), int(np.ceil(c + reach / d + 1)) + 1) if p else range(1)
        for c, d, p in zip(middle, heights, geometry.periodic, strict=True)
    ]
    cells = np.array([(i, j, k) for i in spans[0] for j in spans[1] for k in spans[2]])
    vectors = (cells @ unit)[:, None, :] + base[None] - centre
    distances = np.linalg.norm(vectors, axis=2)
    known = {(*c, a) for c, a in zip(inside.cells.tolist(), inside.atoms.tolist(), strict=True)}
    atom_on = {int(s): i for i, s in enumerate(geometry.site_of_atom) if s >= 0}
    atoms, shifts, site_cells, site_atoms, lengths = [], [], [], [], []
    for c, a in zip(*np.nonzero(distances <= reach), strict=True):
        if (*cells[c].tolist(), int(a)) in known:
            continue
        copy, place = np.divmod(cells[c], geometry.repeat)
        site = int(np.ravel_multi_index(tuple(place), geometry.repeat)) * per_cell + int(a)
        atom = atom_on.get(site)
        if atom is None:
            continue
        gap = np.linalg.solve(geometry.cell.T, geometry.positions[atom] - geometry.host_positions[site])
        atoms.append(atom)
        shifts.append(copy - np.round(gap).astype(int) * np.array(geometry.periodic))
        site_cells.append(cells[c])
        site_atoms.append(int(a))
        lengths.append(distances[c, a])
    return OuterCopies(np.array(atoms, dtype=int), np.array(shifts, dtype=int).reshape(-1, 3),
                       RegionSites(np.array(site_cells, dtype=int).reshape(-1, 3), np.array(site_atoms, dtype=int)),
                       np.array(lengths))


def between(
    matrices: LCAOMatrices, mesh: tuple[int, int, int], rows: tuple[Ints, Ints], cols: tuple[Ints, Ints]
) -> tuple[Floats, Floats]:
    """H and S between two lists of (atoms, translations) of a folded supercell; zero where the mesh cannot tell the pair."""
    where = np.full(mesh, -1)
    where[tuple(np.mod(matrices.R, mesh).T)] = np.arange(len(matrices.R))

    def orbitals(atoms: Ints) -> tuple[Ints, Ints]:
        sizes = matrices.orbitals[atoms]
        index = [np.arange(matrices.offsets[a], matrices.offsets[a + 1]) for a in atoms]
        return np.concatenate(index), np.repeat(np.arange(len(atoms)), sizes)

    apart = cols[1][None, :, :] - rows[1][:, None, :]
    unique = (2 * np.abs(apart) < np.array(mesh)).all(axis=2)
    folded = np.mod(apart, mesh)
    index = where[folded[..., 0], folded[..., 1], folded[..., 2]]
    (row, row_atom), (col, col_atom) = orbitals(rows[0]), orbitals(cols[0])
    pairs = np.ix_(row_atom, col_atom)
    pick = (index[pairs], *np.ix_(row, col))
    return np.where(unique[pairs], matrices.h[pick], 0.0), np.where(unique[pairs], matrices.s[pick], 0.0)


def left_site(geometry: DefectGeometry) -> NDArray[np.bool_]:
    """(atoms,) whether an atom on a host site has left it by more than `LEFT`."""
    on = geometry.site_of_atom >= 0
    gap = np.zeros_like(geometry.positions)
    gap[on] = geometry.positions[on] - geometry.host_positions[geometry.site_of_atom[on]]
    scaled = np.linalg.solve(geometry.cell.T, gap.T).T
    gap -= (np.round(scaled) * np.array(geometry.periodic)) @ geometry.cell
    return np.asarray(np.linalg.norm(gap, axis=1) > LEFT)


def pair_weights(mesh: tuple[int, int, int], rows: Ints, cols: Ints, both: NDArray[np.bool_]) -> Floats:
    """Share of the change of a coupling (rows, cols) that belongs to its first atom.

    A copy in the next supercell of an atom that left its site has left its own as well, where the site that it stands for has
    not: half. 0 where the folded mesh cannot tell the pair from others.
    """
    apart = cols[None, :, :] - rows[:, None, :]
    told = (2 * np.abs(apart) < np.array(mesh)).all(axis=2)
    return np.asarray(told * np.where(both, 0.5, 1.0)[None, :])


def _insert(matrix: Floats, n0: int, coupling: Floats) -> Floats:
    """Put rows and columns of outer sites between the host's n0 orbitals and the new ones; `coupling` is new x outer."""
    n, extra = len(matrix), coupling.shape[1]
    out = np.zeros((n + extra, n + extra))
    kept = np.concatenate([np.arange(n0), np.arange(n0 + extra, n + extra)])
    out[np.ix_(kept, kept)] = matrix
    out[n0 + extra :, n0 : n0 + extra] = coupling
    out[n0 : n0 + extra, n0 + extra :] = coupling.T
    return out


def _far_shift(h: Floats, s: Floats, reference: Floats, slices: list[slice], far: Ints) -> float:
    return float(on_site_shift(h, s, reference, [slices[i] for i in far]).mean())


def _site_shifts(geometry: DefectGeometry, on_site: Ints, images: Images) -> Ints:
    """Supercell translation of the host site under each atom's nearest image (a relaxed atom may cross a cell face)."""
    sites = geometry.host_positions[geometry.site_of_atom[on_site]]
    gap = np.linalg.solve(geometry.cell.T, (images.positions[on_site] - sites).T).T
    return np.asarray(np.round(gap).astype(int) * np.array(geometry.periodic))
