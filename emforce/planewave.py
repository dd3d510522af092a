"""Plane-wave reference of a bulk metal: what the LCAO hosts are measured against.

The bands of the bulk metal are computed with GPAW in plane waves (same PAW setup, functional and lattice constant as
the LCAO host) on the inequivalent points of a mesh, on the points displaced from them by a small +-dk along x, y and
z (velocities), and on the standard path of the Brillouin zone. From them follow, by the same formulas
as for an LCAO host, the Fermi level, the density of states and the plasma frequency.

GPAW is imported only where a calculation is made; reading a stored reference needs numpy and scipy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erfc

from emforce.dft import DFTSettings, converge
from emforce.errors import CheckError, InputError, StoreError
from emforce.physics.fermi import band_energies, fermi_surface, gaussian
from emforce.physics.hostcheck import HostCheck, Tolerance, compare_host
from emforce.physics.lcao import LCAOMatrices
from emforce.self_consistency import self_consistent
from emforce.units import epsilon0

if TYPE_CHECKING:
    from ase import Atoms

Floats = NDArray[np.float64]

FORMAT = 2
#: smearing of the self-consistent run (Fermi-Dirac, eV), its k-points per axis, and most iterations of the first attempt
SCF_WIDTH = 0.1
SCF_MESH = 16
SCF_ITERATIONS = 333
#: displacement of the k-points for the velocities, 1/Angstrom
STEP = 0.01
#: bands above the last occupied one that are converged, and that are carried along to help the others
BANDS_ABOVE = 2
BANDS_EXTRA = 4
#: velocities are computed at points with a band this near the Fermi level (eV); nothing else enters the sums
WINDOW = 1.0


@dataclass(frozen=True)
class PlaneWaveReference:
    """Bands, velocities and what follows from them for one bulk metal in plane waves.

    Attributes
    ----------
    symbol, setup, functional : element, name of the PAW setup ("paw" is GPAW's default one), functional
    structure, lattice_constant : "fcc" or "bcc" and its cubic lattice constant (Angstrom)
    cell : primitive cell, rows are vectors (3, 3), Angstrom; all k-points are in units of its reciprocal vectors
    cutoff : plane-wave cutoff (eV)
    electrons : valence electrons per cell (one atom)
    mesh, sigma : k-points per axis, k = (i + 1/2)/mesh, and width of the Gaussian delta (eV)
    kpoints, weights : inequivalent points (K, 3) and their weights (K,), sum 1
    energies : bands on them (K, B), eV, in order of energy
    speed2 : mean over the three Cartesian directions of v^2 (K, B), eV^2 Angstrom^2 (hbar = 1). Per direction the mean
        of the squared forward and backward difference, so that bands crossing at the point keep their slope.
        Zero further than WINDOW from the Fermi level.
    fermi_level : eV, from the number of electrons with Gaussian occupation on this mesh
    dos : density of states at the Fermi level, both spins, per eV and atom
    transport : N = 2 sum_k w delta(E_F - E) v^2 per cell and direction, eV Angstrom^2
    omega_p : hbar times plasma frequency, eV
    path, path_labels, path_energies : points (P, 3), labels (index: letter), bands relative to fermi_level (P, B)
    provenance : versions and settings (text to text)
    """

    symbol: str
    setup: str
    functional: str
    structure: str
    lattice_constant: float
    cell: Floats
    cutoff: float
    electrons: float
    mesh: int
    sigma: float
    kpoints: Floats
    weights: Floats
    energies: Floats
    speed2: Floats
    fermi_level: float
    dos: float
    transport: float
    omega_p: float
    path: Floats
    path_labels: dict[int, str]
    path_energies: Floats
    provenance: dict[str, str]

    def __post_init__(self) -> None:
        for name in ("cell", "kpoints", "weights", "energies", "speed2", "path", "path_energies"):
            array = np.array(getattr(self, name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.energies.shape != self.speed2.shape or len(self.energies) != len(self.weights):
            raise CheckError(f"plane-wave reference of {self.symbol}: energies {self.energies.shape}, squared speeds "
                             f"{self.speed2.shape} and weights {self.weights.shape} do not belong together")
        if abs(self.weights.sum() - 1.0) > 1e-9:
            raise CheckError(f"plane-wave reference of {self.symbol}: the k-point weights add up to "
                             f"{self.weights.sum():.6f}, not to 1")
        if len(self.path) != len(self.path_energies):
            raise CheckError(f"plane-wave reference of {self.symbol}: {len(self.path)} points on the path, but bands "
                             f"at {len(self.path_energies)}")

    @cached_property
    def volume(self) -> float:
        """Volume of the cell (Angstrom^3)."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def path_cartesian(self) -> Floats:
        """Path in Cartesian coordinates (P, 3), 1/Angstrom, 2 pi included: for a host in another primitive cell."""
        return np.asarray(2 * np.pi * self.path @ np.linalg.inv(self.cell).T)

    def to_json(self) -> str:
        """The reference as text, a line per field: energies to 1e-5 eV, squared speeds to 1e-3."""
        document: dict[str, Any] = {"format": FORMAT}
        document |= {field.name: getattr(self, field.name) for field in fields(self)}
        # whole numbers, exact and short: k-points in units of 1/(2 mesh), weights as counts
        document["kpoints"] = np.rint(self.kpoints * 2 * self.mesh).astype(int)
        document["weights"] = np.rint(self.weights * self.mesh**3).astype(int)
        for name, digits in (("energies", 5), ("path_energies", 5), ("path", 9), ("cell", 12)):
            document[name] = np.round(document[name], digits)
        speed2 = np.round(self.speed2, 3).tolist()
        document["speed2"] = [[value or 0 for value in row] for row in speed2]
        lines = []
        for key, value in document.items():
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            lines.append(f"{json.dumps(key)}: {json.dumps(plain, separators=(',', ':'))}")
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> PlaneWaveReference:
        """Inverse of `to_json`; raises StoreError for another format."""
        try:
            document = json.loads(text)
            if document.pop("format") != FORMAT:
                raise StoreError(f"plane-wave reference of another format than {FORMAT}; make it again")
            document["path_labels"] = {int(index): label for index, label in document["path_labels"].items()}
            document["kpoints"] = np.array(document["kpoints"]) / (2 * document["mesh"])
            document["weights"] = np.array(document["weights"]) / document["mesh"] ** 3
            return cls(**document)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"not a plane-wave reference: {error}") from error


def fermi_level(energies: Floats, weights: Floats, electrons: float, sigma: float) -> float:
    """Energy at which the bands hold the electrons: sum_k w erfc((E - E_F)/(sqrt2 sigma)) = electrons (eV).

    The occupation is the integral of the Gaussian delta of width sigma (eV) used for everything at the Fermi level.
    """
    def surplus(level: float) -> float:
        occupation = erfc((energies - level) / (np.sqrt(2) * sigma))
        return float(weights @ occupation.sum(axis=1)) - electrons

    low, high = float(energies.min()) - 10 * sigma, float(energies.max()) + 10 * sigma
    if surplus(high) < 0:
        raise CheckError(f"{energies.shape[1]} bands cannot hold {electrons} electrons; compute more bands")
    return float(brentq(surplus, low, high, xtol=1e-10))


def fermi_sums(energies: Floats, weights: Floats, speed2: Floats, level: float, sigma: float) -> tuple[float, float]:
    """Density of states (1/eV) and N = 2 sum_k w delta(level - E) v^2 (eV Angstrom^2), per cell, both spins."""
    weighted = 2 * weights[:, None] * gaussian(level - energies, sigma)
    return float(weighted.sum()), float((weighted * speed2).sum())


def plasma_frequency(transport: float, volume: float) -> float:
    """hbar omega_p = sqrt(hbar^2 e^2 N / (epsilon0 Omega)) in eV, N in eV Angstrom^2 per cell, Omega in Angstrom^3."""
    return float(np.sqrt(transport / (epsilon0 * volume)))


def speed_squared(centre: Floats, forward: Floats, backward: Floats, step: float) -> Floats:
    """Mean of the squared forward and backward difference of sorted bands (K, B) over a step (1/Angstrom).

    Equal to the squared central difference up to (E'' step/2)^2 for a smooth band. Where two bands cross at the point
    itself (symmetry lines of the mesh), the central difference of sorted bands is zero and this keeps the slope.
    """
    return 0.5 * (((forward - centre) / step) ** 2 + ((centre - backward) / step) ** 2)


def irreducible_mesh(atoms: Atoms, mesh: int) -> tuple[Floats, Floats]:
    """Inequivalent points (K, 3) of the mesh k = (i + 1/2)/mesh and their weights (K,), from the point group (spglib).

    The mesh is shifted off the symmetry planes, on which a Gamma-centred mesh spends a large part of its points: for
    Cu with 24 points per axis and sigma = 0.15 eV that one misses N by 15 %, this one by 0.6 %. In fcc the shifted mesh
    has not the symmetry of the crystal, but points of it that the crystal maps on each other have the same bands.
    """
    import spglib

    crystal = (np.array(atoms.cell), atoms.get_scaled_positions(), atoms.get_atomic_numbers())
    rotations = np.unique(spglib.get_symmetry(crystal)["rotations"], axis=0)
    grid = 2 * np.array(list(np.ndindex(mesh, mesh, mesh))) + 1  # k = grid / (2 mesh): whole numbers, exact
    period = 2 * mesh
    place = period ** np.arange(3)
    # time reversal: -k has the bands of k
    images = [sign * grid @ rotation % period @ place for rotation in rotations for sign in (1, -1)]
    _, chosen, count = np.unique(np.min(images, axis=0), return_index=True, return_counts=True)
    points = grid[chosen] / period
    return np.asarray(points - np.rint(points)), np.asarray(count / count.sum())


def standard_path(atoms: Atoms, spacing: float = 0.06) -> tuple[Floats, dict[int, str]]:
    """Standard path of the Brillouin zone with points about `spacing` (1/Angstrom) apart, and labels by index."""
    path = atoms.cell.bandpath(density=1 / spacing)
    points = np.array(path.kpts)
    labels: dict[int, str] = {}
    for letter, special in path.special_points.items():
        for index in np.flatnonzero(np.abs(points - special).max(axis=1) < 1e-9):
            labels[int(index)] = letter
    return points, dict(sorted(labels.items()))


def _steps(atoms: Atoms) -> Floats:
    """STEP along x, y and z (rows), in units of the reciprocal vectors."""
    return np.asarray(STEP * np.array(atoms.cell).T / (2 * np.pi))


def _bands(calc: Any, points: Floats, bands: int, txt: str | None, chunk: int = 256) -> Floats:
    """Bands (K, bands) in eV at any points, for the density held by the calculator."""
    result = np.empty((len(points), bands))
    for start in range(0, len(points), chunk):
        part = points[start:start + chunk]
        fixed = calc.fixed_density(kpts=part, symmetry="off", nbands=bands + BANDS_EXTRA, txt=txt,
                                   convergence={"bands": bands, "eigenstates": 1e-9})
        for k in range(len(part)):
            result[start + k] = np.sort(fixed.get_eigenvalues(kpt=k)[:bands])
    return result


def plane_wave_reference(atoms: Atoms, setup: str = "paw", *, functional: str = "PBE", mesh: int = 24,
                         sigma: float = 0.15, cutoff: float = 500.0, txt: str | None = None) -> PlaneWaveReference:
    """Compute the reference of a bulk metal with one atom in its primitive fcc or bcc cell.

    Parameters
    ----------
    atoms : primitive cell, as made by ase.build.bulk
    setup : GPAW's name of the PAW setup
    functional : exchange and correlation; GPAW needs a setup made with it
    mesh, sigma : k-points per axis and width of the Gaussian delta (eV)
    cutoff : plane-wave cutoff (eV)
    txt : where GPAW writes its log
    """
    from gpaw import GPAW, PW

    if len(atoms) != 1:
        raise InputError("atoms", atoms.get_chemical_formula(), "a primitive cell with one atom")
    lattice = atoms.cell.get_bravais_lattice()
    structure = {"FCC": "fcc", "BCC": "bcc"}.get(lattice.name)
    if structure is None:
        raise InputError("atoms", lattice.name, "an fcc or bcc lattice")
    atoms = atoms.copy()

    def calculator(_: Atoms) -> Any:
        return GPAW(mode=PW(cutoff), xc=functional, setups=setup, kpts={"size": (SCF_MESH,) * 3, "gamma": True}, txt=txt,
                    occupations={"name": "fermi-dirac", "width": SCF_WIDTH}, convergence={"density": 1e-6},
                    maxiter=SCF_ITERATIONS)

    calc, _ = self_consistent(calculator, atoms, DFTSettings(smearing_eV=SCF_WIDTH, max_iterations=SCF_ITERATIONS))
    electrons = float(calc.get_number_of_electrons())
    bands = int(np.ceil(electrons / 2)) + BANDS_ABOVE

    points, weights = irreducible_mesh(atoms, mesh)
    path, labels = standard_path(atoms)
    energies = _bands(calc, points, bands, txt)
    level = fermi_level(energies, weights, electrons, sigma)
    near = np.flatnonzero((np.abs(energies - level) < WINDOW).any(axis=1))
    speed2 = np.zeros_like(energies)
    for step in _steps(atoms):
        both = _bands(calc, np.concatenate([points[near] + step, points[near] - step]), bands, txt)
        speed2[near] += speed_squared(energies[near], both[: len(near)], both[len(near) :], STEP) / 3
    speed2[np.abs(energies - level) >= WINDOW] = 0.0
    dos, transport = fermi_sums(energies, weights, speed2, level, sigma)
    path_energies = _bands(calc, path, bands, txt) - level
    provenance = {"code": "GPAW plane waves", "gpaw": metadata.version("gpaw"),
                  "gpaw-data": metadata.version("gpaw-data"), "scf_mesh": f"{SCF_MESH}^3 Gamma-centred",
                  "scf_smearing": f"Fermi-Dirac {SCF_WIDTH} eV", "velocity_step": f"{STEP} 1/Angstrom",
                  "velocity_window": f"{WINDOW} eV"}
    return PlaneWaveReference(
        symbol=atoms.get_chemical_symbols()[0], setup=setup, functional=functional, structure=structure,
        lattice_constant=float(lattice.a), cell=np.array(atoms.cell), cutoff=cutoff, electrons=electrons, mesh=mesh,
        sigma=sigma, kpoints=points, weights=weights, energies=energies, speed2=speed2, fermi_level=level, dos=dos,
        transport=transport, omega_p=plasma_frequency(transport, float(atoms.get_volume())), path=path,
        path_labels=labels, path_energies=path_energies, provenance=provenance)


def slab_bands(atoms: Atoms, *, setups: Mapping[str, str], functional: str, kpts: Sequence[int], smearing: float, points: Floats,
               bands: int, cutoff: float = 350.0, tolerance: float = 1e-4, txt: str | None = None) -> tuple[Floats, float]:
    """Bands of a slab in plane waves, self-consistent, for a comparison with those of a local basis.

    Parameters
    ----------
    atoms : a slab with two equal sides, which needs no dipole layer; plane waves repeat it along z, its vacuum apart
    kpts, smearing, tolerance : mesh off Gamma, Fermi-Dirac width (eV) and largest density error of the self-consistent run
    points : (points, 3) fractional k-points; bands : how many of the lowest are wanted there

    Returns
    -------
    energies (points, bands) and Fermi energy, eV

    Raises
    ------
    ConvergenceError if the self-consistent run does not get there
    """
    from gpaw import GPAW, PW

    repeated = atoms.copy()
    repeated.pbc = True
    calc = GPAW(mode=PW(cutoff), xc=functional, setups=dict(setups), kpts={"size": tuple(kpts), "gamma": False}, txt=txt,
                mixer={"backend": "pulay", "beta": 0.05, "nmaxold": 5, "weight": 100.0}, maxiter=SCF_ITERATIONS,
                occupations={"name": "fermi-dirac", "width": smearing}, convergence={"density": tolerance})
    state = converge(calc, repeated)
    return _bands(calc, points, bands, txt), state.fermi_level


def equilibrium_lattice_constant(symbol: str, structure: str, guess: float, *, setup: str = "paw", functional: str = "PBE",
                                 cutoff: float = 500.0, kpts: int = 10) -> tuple[float, float]:
    """Lattice constant of least energy in plane waves, and what the fit leaves open (Angstrom).

    Energies at seven lattice constants, 1 % apart around `guess`, fitted by a cubic in a^-2 (Birch's equation of state, third
    order); the second number is the change when the two outermost are left out. Where the five inner ones do not hold the minimum
    the seven move after it, by two steps at a time and at most 6 %.

    Parameters
    ----------
    symbol, structure : element, "fcc" or "bcc"
    guess : where to look, Angstrom
    setup, functional, cutoff, kpts : as in `plane_wave_reference`; kpts of the mesh around Gamma

    Raises
    ------
    CheckError : no minimum within the lattice constants computed
    """
    from ase.build import bulk
    from gpaw import GPAW, PW

    def energy(a: float) -> float:
        atoms = bulk(symbol, structure, a=a)
        atoms.calc = GPAW(mode=PW(cutoff), xc=functional, setups=setup, kpts={"size": (kpts,) * 3, "gamma": True}, txt=None,
                          occupations={"name": "fermi-dirac", "width": SCF_WIDTH}, convergence={"density": 1e-6})
        return float(atoms.get_potential_energy())

    return followed_minimum(energy, guess)


def followed_minimum(energy: Callable[[float], float], guess: float) -> tuple[float, float]:
    """Minimum of an energy (eV) over the lattice constant, as `equilibrium_lattice_constant` finds it."""
    known: dict[int, float] = {}
    centre = 0
    while True:
        steps = range(centre - 3, centre + 4)
        for step in steps:
            if step not in known:
                known[step] = energy(guess * (1 + 0.01 * step))
        constants, energies = guess * (1 + 0.01 * np.array(steps)), np.array([known[step] for step in steps])
        try:
            all_points, inner = (birch_minimum(constants[part], energies[part]) for part in (slice(None), slice(1, -1)))
            return all_points, abs(all_points - inner)
        except CheckError:
            if abs(centre) >= 6:
                raise
            centre += 2 if energies[-1] < energies[0] else -2


def birch_minimum(constants: Floats, energies: Floats) -> float:
    """Lattice constant (Angstrom) at the minimum of a cubic in a^-2 through energies (eV); CheckError if there is none inside."""
    x = constants**-2.0
    centre, width = x.mean(), np.ptp(x)
    fit = np.polynomial.Polynomial.fit((x - centre) / width, energies - energies.mean(), 3)
    stationary = fit.deriv().roots()
    found = [float(np.real(r)) for r in stationary if abs(np.imag(r)) < 1e-9 and fit.deriv(2)(np.real(r)) > 0]
    inside = [(centre + width * r) ** -0.5 for r in found if abs(r) <= 0.5 * 1.02]
    if len(inside) != 1:
        raise CheckError(f"no energy minimum between lattice constants {constants.min():.3f} and {constants.max():.3f} Angstrom")
    return float(inside[0])


def reference_path(symbol: str, directory: Path | None = None, functional: str = "PBE") -> Path:
    """File of a stored reference, in emforce/data/planewave or a directory: <symbol>.json (PBE) or <symbol>.<functional>.json."""
    folder = Path(str(files("emforce"))) / "data" / "planewave" if directory is None else directory
    return folder / (f"{symbol}.json" if functional == "PBE" else f"{symbol}.{functional}.json")


def load_reference(symbol: str, directory: Path | None = None, functional: str = "PBE") -> PlaneWaveReference:
    """The stored reference of a metal with a functional; InputError with the references that there are."""
    path = reference_path(symbol, directory, functional)
    if not path.is_file():
        have = ", ".join(sorted(p.stem for p in path.parent.glob("*.json")))
        raise InputError("metal", path.stem, f"a metal with a plane-wave reference: {have or 'none is stored'}")
    return PlaneWaveReference.from_json(path.read_text(encoding="utf-8"))


def check_bulk_host(matrices: LCAOMatrices, reference: PlaneWaveReference,
                    tolerance: Tolerance | None = None) -> HostCheck:
    """Compare the LCAO host of a bulk metal, in a primitive cell, with its plane-wave reference.

    Fermi level, density of states and plasma frequency on the reference's mesh with its smearing; bands on its path.
    The smallest eigenvalue of S(k) is taken over the path and over points off every mesh.
    """
    if matrices.volume > 1.01 * reference.volume or matrices.volume < 0.99 * reference.volume:
        raise InputError("host", f"{matrices.volume:.3f} Angstrom^3",
                         f"the primitive cell of {reference.symbol}, {reference.volume:.3f} Angstrom^3")
    surface = fermi_surface(matrices, reference.electrons, (reference.mesh,) * 3, reference.sigma)
    path = reference.path_cartesian @ np.array(matrices.cell).T / (2 * np.pi)
    scattered = np.random.default_rng(1).random((200, 3))
    overlap = min(float(np.linalg.eigvalsh(matrices.at(k)[1]).min()) for k in (path, scattered))
    return compare_host(band_energies(matrices, path) - surface.fermi_energy, reference.path_energies,
                        dos=(surface.dos, reference.dos), omega_p=(surface.plasma_energy, reference.omega_p),
                        overlap_min=overlap, tolerance=tolerance)
