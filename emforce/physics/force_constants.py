"""Second derivatives of the energy from forces of displaced structures, with the fewest displacements that symmetry leaves.

An operation g of the structure turns by R_g and takes atom a to atom p_g(a). Displacing a by u and looking at the force on j is
the same as displacing p_g(a) by R_g u and looking at p_g(j), turned by R_g. So one atom of each orbit is displaced, along
directions that its site symmetry turns into all of space, and the other rows follow:

    H[p_g(a), p_g(j)] = R_g H[a, j] R_g^T,    H[a, j] = d^2 E / dR_a dR_j = -dF_j / dR_a
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from emforce.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Symmetry of a structure as it acts on its atoms.

    Attributes
    ----------
    rotations : (g, 3, 3) Cartesian
    permutations : (g, N) the atom that each atom goes to
    """

    rotations: Floats
    permutations: Integers

    def symmetrized(self, vectors: Floats) -> Floats:
        """(N, 3) vectors on atoms, such as forces, averaged over the group."""
        total = np.zeros_like(vectors)
        for turn, goes in zip(self.rotations, self.permutations, strict=True):
            total[goes] += vectors @ turn.T
        return total / len(self.rotations)

    def keeping(self, atoms: Sequence[int]) -> Group:
        """The operations that map a set of atoms on itself."""
        chosen = sorted(atoms)
        kept = [sorted(goes[chosen].tolist()) == chosen for goes in self.permutations]
        return Group(self.rotations[kept], self.permutations[kept])

    def orbit(self, atom: int) -> list[int]:
        """Atoms that one atom goes to."""
        return sorted({int(goes[atom]) for goes in self.permutations})


@dataclass(frozen=True)
class Displacement:
    """One atom moved by a vector (Angstrom)."""

    atom: int
    vector: tuple[float, float, float]


def displacements(
    group: Group, atoms: Sequence[int], length: float, both_signs: Sequence[int] | None = None
) -> list[Displacement]:
    """Displacements from which the rows of `atoms` in the Hessian follow: one atom per orbit, the first of `atoms` in it.

    Where an operation of the site turns u into -u one run is both; else -u is run too, for central differences.

    Parameters
    ----------
    length : of each displacement, Angstrom
    both_signs : atoms with central differences; None: all. The others are displaced to one side
    """
    if not length > 0:
        raise InputError("displacement", length, "a length above zero")
    found: list[Displacement] = []
    seen: set[int] = set()
    for atom in atoms:
        if atom in seen:
            continue
        orbit = set(group.orbit(atom))
        seen |= orbit
        central = both_signs is None or bool(orbit & set(both_signs))
        for direction in _directions(_site_rotations(group, atom), central):
            vector = length * direction
            found.append(Displacement(atom, _triple(vector)))
            if central and not _inverted(_site_rotations(group, atom), direction):
                found.append(Displacement(atom, _triple(-vector)))
    return found


def hessian_rows(group: Group, moved: Sequence[Displacement], forces: Floats, at_rest: Floats) -> dict[int, Floats]:
    """Rows H[a, j] (N, 3, 3), eV/Angstrom^2, [axis of a, axis of j], of every atom a in the orbits of the displaced ones.

    Parameters
    ----------
    moved : as from `displacements`
    forces : (displacements, N, 3) with each of them, eV/Angstrom
    at_rest : (N, 3) without

    Raises
    ------
    InputError where the displacements of an atom do not span space
    """
    rest = group.symmetrized(at_rest)
    rows: dict[int, Floats] = {}
    for atom in dict.fromkeys(d.atom for d in moved):
        change, step = [], []
        for turn, goes in zip(group.rotations, group.permutations, strict=True):
            if goes[atom] != atom:
                continue
            for d, force in zip(moved, forces, strict=True):
                if d.atom == atom:
                    image = np.empty_like(force)
                    image[goes] = (force - rest) @ turn.T
                    change.append(image.ravel())
                    step.append(turn @ np.array(d.vector))
        if np.linalg.matrix_rank(np.array(step), tol=1e-3 * float(np.linalg.norm(step[0]))) < 3:
            raise InputError("displacements", step, f"vectors that span space under the site symmetry of atom {atom}")
        solved = np.linalg.lstsq(np.array(step), -np.array(change), rcond=None)[0]
        own = solved.reshape(3, -1, 3).transpose(1, 0, 2)  # [j, axis of a, axis of j]
        total: dict[int, tuple[Floats, int]] = {}
        for turn, goes in zip(group.rotations, group.permutations, strict=True):
            turned = np.empty_like(own)
            turned[goes] = turn @ own @ turn.T
            target = int(goes[atom])
            before, count = total.get(target, (np.zeros_like(own), 0))
            total[target] = before + turned, count + 1
        rows |= {target: value / count for target, (value, count) in total.items()}
    return rows


@dataclass(frozen=True)
class Hessian:
    """Second derivatives of the energy for some atoms, the others held still.

    Attributes
    ----------
    atoms : n of them
    matrix : (3n, 3n) symmetric, eV/Angstrom^2; on-site blocks from the sum rule (a uniform translation costs no energy),
        which takes out what the grid holds an atom with (egg-box effect)
    raw : the same with the on-site blocks as computed
    asymmetry : |H - H^T| / |H| (Frobenius) before symmetrization
    noise : root mean square of an element of (H - H^T)/2, eV/Angstrom^2
    sum_rule : largest element of the on-site correction, eV/Angstrom^2
    """

    atoms: tuple[int, ...]
    matrix: Floats
    raw: Floats
    asymmetry: float
    noise: float
    sum_rule: float

    def block(self, atoms: Sequence[int]) -> Hessian:
        """The Hessian of fewer atoms."""
        at = [3 * self.atoms.index(a) + x for a in atoms for x in range(3)]
        return Hessian(tuple(atoms), self.matrix[np.ix_(at, at)], self.raw[np.ix_(at, at)], self.asymmetry, self.noise,
                       self.sum_rule)


def hessian(rows: dict[int, Floats], atoms: Sequence[int]) -> Hessian:
    """Hessian of `atoms` from the rows that `hessian_rows` found."""
    n = len(atoms)
    blocks, full = np.zeros((n, 3, n, 3)), np.zeros((n, 3, n, 3))
    largest = 0.0
    for i, a in enumerate(atoms):
        blocks[i] = rows[a][list(atoms)].transpose(1, 0, 2)
        full[i] = blocks[i]
        excess = rows[a].sum(axis=0)
        full[i, :, i] -= excess
        largest = max(largest, float(np.abs(excess).max()))
    raw, corrected = blocks.reshape(3 * n, 3 * n), full.reshape(3 * n, 3 * n)
    odd = (corrected - corrected.T) / 2
    asymmetry = float(2 * np.linalg.norm(odd) / np.linalg.norm(corrected))
    return Hessian(tuple(int(a) for a in atoms), (corrected + corrected.T) / 2, (raw + raw.T) / 2, asymmetry,
                   float(np.sqrt(np.mean(odd**2))), largest)


def newton_step(matrix: Floats, forces: Floats, longest: float) -> Floats:
    """Step (n, 3) to the stationary point of a quadratic surface, H^-1 F; shortened so that no atom goes farther than `longest`.

    H need not be positive: at a saddle the step goes up along the unstable mode.
    """
    step = np.linalg.solve(matrix, np.asarray(forces, dtype=float).ravel()).reshape(-1, 3)
    return np.asarray(step * min(1.0, longest / max(float(np.linalg.norm(step, axis=1).max()), 1e-12)))


def energy_left(matrix: Floats, forces: Floats) -> float:
    """Energy of the stationary point of a quadratic surface below the present one, F.H^-1.F/2, eV (above it: negative)."""
    f = np.asarray(forces, dtype=float).ravel()
    return float(f @ np.linalg.solve(matrix, f) / 2)


def _triple(vector: Floats) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 9) + 0.0 for v in vector)
    return x, y, z


def _site_rotations(group: Group, atom: int) -> Floats:
    return group.rotations[group.permutations[:, atom] == atom]


def _inverted(rotations: Floats, direction: Floats) -> bool:
    return any(np.allclose(turn @ direction, -direction, atol=1e-3) for turn in rotations)


def _directions(rotations: Floats, central: bool) -> list[Floats]:
    """Fewest runs, then best conditioned: directions whose images under the site's rotations span space."""
    candidates = [np.array(v, dtype=float) for v in np.ndindex(3, 3, 3) if v != (1, 1, 1)]
    candidates = [v - 1.0 for v in candidates]
    candidates = [v / np.linalg.norm(v) for v in candidates if tuple(v) > (0.0, 0.0, 0.0)]
    best: tuple[tuple[int, float], list[Floats]] | None = None
    cost = [1 if not central or _inverted(rotations, d) else 2 for d in candidates]
    for count in (1, 2, 3):
        for numbers in combinations(range(len(candidates)), count):
            runs = sum(cost[i] for i in numbers)
            if best is not None and runs > best[0][0]:
                continue
            chosen = [candidates[i] for i in numbers]
            span = np.concatenate([rotations @ d for d in chosen])
            weakest = float(np.linalg.svd(span, compute_uv=False)[-1]) / np.sqrt(len(span)) if len(span) >= 3 else 0.0
            if weakest < 0.2:
                continue
            rank = (runs, -round(weakest, 6))
            if best is None or rank < best[0]:
                best = rank, chosen
    assert best is not None  # x, y and z always do
    return best[1]


__all__ = ["Displacement", "Group", "Hessian", "displacements", "energy_left", "hessian", "hessian_rows", "newton_step"]
