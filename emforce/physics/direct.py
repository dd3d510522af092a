"""Direct part of the effective valence of a mover: what of its total response Z(tau) does not grow with tau.

    Z(tau) = tau m + Z_direct + O(1/tau),   omega = hbar/tau:   omega Z = m + Z_direct omega + c omega^2 + ...

Z is calculated at several omega (physics/direct_embedding); m and Z_direct are the first two coefficients of a polynomial.
All Z have a resolution in energy of about omega, so that the polynomial takes m at no width at all, and an error of one
per cent in an m from elsewhere, times a long tau, does not get into Z_direct. docs/direct.md says what sigma holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emforce.errors import InputError
from emforce.physics.direct_embedding import (
    EmbeddedMover,
    Host,
    host_dipoles,
    host_kernels,
    meshes,
    pair_term,
    translations,
)
from emforce.physics.fermi import band_energies, half_mesh
from emforce.physics.image_pairs import image_pairs
from emforce.physics.lcao import Floats, Ints, LCAOMatrices
from emforce.physics.perturbation import DefectGeometry, Perturbation
from emforce.physics.position import Connection
from emforce.physics.response_kernel import SPINS, Response, frequencies

#: distance of the path's end from the lowest host band or orbital of the mover, eV
BOTTOM_MARGIN = 3.0


@dataclass(frozen=True)
class Accuracy:
    """Numbers that Z converges with.

    Attributes
    ----------
    mesh : k-points per axis for the smallest omega; a larger one takes fewer in proportion
    radius : of the region, A
    explicit, path : of `frequencies`; least: smallest number of k-points along a sampled axis
    sigma : width of a Gaussian average over the host's bands, eV, as the wind's; `mesh` then holds for every omega
    """

    mesh: tuple[int, int, int]
    radius: float
    explicit: int = 3
    path: tuple[int, int] | None = None
    least: int = 12
    sigma: float = 0.0


# --- from matrices -----------------------------------------------------------------------------------------------------


def embedded_mover(
    host: tuple[LCAOMatrices, Connection],
    image: Connection,
    geometry: DefectGeometry,
    perturbation: Perturbation,
    valence: float,
    reach: float = 0.0,
) -> EmbeddedMover:
    """What the response needs of a defect supercell, from its connection with a, dS/du and dd/du of the mover.

    Parameters
    ----------
    host : matrices and connection of the host that `perturbation` refers to
    image : connection of the supercell with the mover at u = 0; positions as in `geometry`
    valence : charge of the mover's core, as its setup has it
    reach : as it was for `perturbation`
    """
    if image.a is None or image.ds is None or image.dd is None or image.moved != (geometry.mover,):
        raise InputError("image.moved", image.moved, f"the mover, atom {geometry.mover}, with a, dS/du and dd/du")
    pairs, sites = image_pairs(host[0], (image.orbitals, image.positions), geometry, perturbation, reach), perturbation.sites
    # where the atoms are, and where A_k places their orbitals
    at = image.positions[pairs.labels.atoms] + pairs.labels.cells @ image.cell
    place = at.copy()
    unit = geometry.cell / np.array(geometry.repeat)[:, None]
    place[: len(sites.atoms)] = geometry.host_positions[sites.atoms] + sites.cells @ unit
    at, place = at[pairs.label], place[pairs.label]
    off = at - place

    known, pick = pairs.pick(image.R)
    moves = known & pairs.moves
    s, t = np.where(known, image.s[pick], 0.0), image.mask[pairs.orbital] * ~pairs.still
    d_change, a, m0 = np.empty((3, *s.shape)), np.empty((3, *s.shape)), np.empty((3, 3, *s.shape))
    d_host = host_dipoles(host[1], sites)
    for x in range(3):
        full = np.where(known, image.d[x][pick], 0.0) + 0.5 * s * (off[:, None, x] + off[None, :, x])
        d_change[x] = pairs.change(full, d_host[x])
    for u in range(3):
        a[u] = np.where(moves, image.a[u][pick], 0.0)
        b = 0.5 * np.where(moves, image.ds[u][pick], 0.0) + a[u]
        for x in range(3):
            m0[u, x] = np.where(moves, image.dd[u, x][pick], 0.0) + a[u] * (at[None, :, x] - at[:, None, x])
            m0[u, x] += b.T * off[None, :, x] + off[:, None, x] * b
        m0[u, u] += 0.5 * s * (t[:, None] + t[None, :])
    return EmbeddedMover(perturbation, place, d_change, a, m0, valence)


# --- Z(tau) ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """tau m and Z_direct of Z at several omega.

    Attributes
    ----------
    m : (3, 3) eV, what tau multiplies
    z_direct : (3, 3) limit of Z - tau m for long tau; sigma : (3, 3) its uncertainty
    m_sigma : (3, 3) uncertainty of m, eV
    drift : (n_omega, 3, 3) Z - tau m - Z_direct
    """

    m: Floats
    z_direct: Floats
    m_sigma: Floats
    sigma: Floats
    drift: Floats


def split(omegas: Floats, z: Floats, m: Floats | None = None) -> Split:
    """m and Z_direct from Z (n_omega, 3, 3) at omegas (eV): omega Z = m + Z_direct omega + c omega^2 + ..., up to five powers.

    Sigma is the root mean square change when the polynomial loses its last power, and when the data lose the smallest or the
    largest omega: what Z does beyond the polynomial, and what errors of k-mesh and frequencies come to.

    With `m` (3, 3), eV, from elsewhere Z - m/omega is fitted, by up to four powers from the zeroth on; three omega are enough.
    An m that is smeared over some energy asks for a Z averaged over the same (`Accuracy.sigma`), or for omega of that size and
    not much smaller: otherwise the limit of long tau of the difference is not finite.
    """
    omegas, z = np.asarray(omegas, float), np.asarray(z, float)
    least = 5 if m is None else 3
    if len(omegas) < least or len(np.unique(omegas)) != len(omegas) or (omegas <= 0).any():
        raise InputError("omegas", omegas.tolist(), f"{'five' if m is None else 'three'} or more different positive energies")
    order = np.argsort(omegas)
    w = omegas[order]
    y = (z if m is None else z - np.asarray(m) / omegas[:, None, None])[order].reshape(len(w), -1)
    first, powers = (-1.0, 5) if m is None else (0.0, 4)

    def fit(keep: slice, count: int) -> Floats:
        """m (0 where it is given) and Z_direct of Z itself, not of omega Z: large omega do not weigh more."""
        rows = w[keep, None] ** (first + np.arange(max(min(count, len(w[keep])), 1)))
        found = np.full((rows.shape[1], y.shape[1]), np.nan)
        known = ~np.isnan(y).any(axis=0)
        found[:, known] = np.linalg.lstsq(rows, y[keep][:, known], rcond=None)[0]
        pair = found[:2] if m is None else np.stack([0 * found[0], found[0]])
        return pair.reshape(2, *z.shape[1:])

    best = fit(slice(None), powers)
    others = [fit(slice(None), powers - 1), fit(slice(1, None), powers), fit(slice(None, -1), powers)]
    spread = np.sqrt(np.mean([(other - best) ** 2 for other in others], axis=0))
    slope = best[0] if m is None else np.asarray(m, float) + best[0]
    return Split(slope, best[1], spread[0], spread[1], z - slope / omegas[:, None, None] - best[1])


@dataclass(frozen=True)
class DirectResponse:
    """Z(tau) of one mover and its parts; NaN along a force or field axis that was not computed. [force, field]

    Attributes
    ----------
    omegas : (n,) hbar/tau, eV; the electrons' temperature is omega/2 pi
    total : (n, 3, 3) Z; static, surface, sea : its parts as in `Response`, (n, 3, 3)
    split : tau m and Z_direct
    condition : (n,) largest condition number of 1 - G0 W
    radius : A; level : eV, Fermi energy of the embedding host
    """

    omegas: Floats
    total: Floats
    static: Floats
    surface: Floats
    sea: Floats
    split: Split
    condition: Floats
    radius: float
    level: float


def embedded_responses(
    host: Host, movers: Sequence[EmbeddedMover], level: float, omega: float, accuracy: Accuracy, smallest: float
) -> list[tuple[Response, float]]:
    """Z at one omega for every mover in one host, and the largest condition number of each; the host's kernels are shared.

    Parameters
    ----------
    level : Fermi energy on the scale of the embedding host, eV
    smallest : omega that `accuracy.mesh` is meant for, eV
    """
    share = min(1.0, smallest / omega) if accuracy.sigma == 0 else 1.0
    mesh = tuple(max(2 * round(0.5 * n * share), accuracy.least) if n > 1 else 1 for n in accuracy.mesh)
    at = frequencies(level, omega, _bottom(host, movers), accuracy.explicit, accuracy.path)
    per_pair = meshes(at.pairs, (mesh[0], mesh[1], mesh[2]), omega, accuracy.least, accuracy.sigma)
    R, orbitals = translations(movers, accuracy.radius), _used_orbitals(host, movers)
    static = [mover.valence * np.eye(3) for mover in movers]
    surface, sea = (np.zeros((len(movers), 3, 3)) for _ in range(2))
    condition = np.zeros(len(movers))
    columns = list(host.axes)
    for grid in sorted(set(per_pair)):
        places = [p for p, own in enumerate(per_pair) if own == grid]
        for p, table in zip(places, host_kernels(host, at.pairs[places], grid, R, orbitals, accuracy.sigma), strict=True):
            for i, mover in enumerate(movers):
                term = pair_term(mover, host, table, at.density[p], accuracy.radius)
                static[i][:, columns] -= SPINS * term.density
                into = surface if p == 0 else sea
                into[i][:, columns] -= SPINS / (2 * np.pi) * np.real(at.weights[p] * term.value)
                condition[i] = max(condition[i], term.condition)
    unknown = [x for x in range(3) if x not in host.axes]
    for part in (*static, *surface, *sea):
        part[:, unknown] = np.nan
    return [(Response(omega, static[i], surface[i], sea[i]), float(condition[i])) for i in range(len(movers))]


def direct_response(
    host: Host, movers: Sequence[EmbeddedMover], level: float, omegas: Floats, accuracy: Accuracy
) -> list[DirectResponse]:
    """Z(tau) of every mover in one host at several omega, and its split into tau m and Z_direct."""
    omegas = np.asarray(omegas, float)
    if len(omegas) < 5 or (omegas <= 0).any():
        raise InputError("omegas", omegas.tolist(), "at least five positive energies")
    runs = [embedded_responses(host, movers, level, float(w), accuracy, float(omegas.min())) for w in omegas]
    found = []
    for i in range(len(movers)):
        parts = [run[i][0] for run in runs]
        total = np.array([part.total for part in parts])
        found.append(DirectResponse(
            omegas=omegas,
            total=total,
            static=np.array([part.static for part in parts]),
            surface=np.array([part.surface for part in parts]),
            sea=np.array([part.sea for part in parts]),
            split=split(omegas, total),
            condition=np.array([run[i][1] for run in runs]),
            radius=accuracy.radius,
            level=level,
        ))
    return found


def _bottom(host: Host, movers: Sequence[EmbeddedMover]) -> float:
    """An energy below all states: of the host on a coarse mesh, and of the new orbitals alone."""
    matrices = host.matrices
    axes = [2 if np.abs(matrices.R[:, x]).max() else 1 for x in range(3)]
    lowest = [float(band_energies(matrices, half_mesh((axes[0], axes[1], axes[2]))).min())]
    lowest.append(float(band_energies(matrices, np.zeros((1, 3))).min()))
    for mover in movers:
        p = mover.perturbation
        if p.new_orbitals:
            h, s = p.dh[-p.new_orbitals :, -p.new_orbitals :], p.ds[-p.new_orbitals :, -p.new_orbitals :]
            lowest.append(float(np.linalg.eigvals(np.linalg.solve(s, h)).real.min()) + host.energy_shift)
    return min(lowest) - BOTTOM_MARGIN


def _used_orbitals(host: Host, movers: Sequence[EmbeddedMover]) -> Ints:
    """Orbitals of the embedding host's cell that any region uses."""
    own = np.unique(np.concatenate([t.atoms for m in movers for t in (m.perturbation.sites, m.perturbation.removed)]))
    atoms = own if host.atom is None else host.atom[own]
    offsets = host.matrices.offsets
    return np.concatenate([np.arange(offsets[a], offsets[a + 1]) for a in np.unique(atoms)])
