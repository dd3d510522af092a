"""GPAW: self-consistent ground states, matrices in the local basis, forces.

Everything that leaves this file is in emforce's units (eV, Angstrom) and in plain arrays. GPAW's new code is used
throughout. Its Bloch phase is A(k) = sum_R exp(+2 pi i k.R) <0|A|R>, the one of physics/lcao (tests/test_dft.py
compares with a supercell: the wrong sign passes every test of a host with one atom per cell).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms

from emforce.errors import ConvergenceError, InputError
from emforce.physics.lcao import Complexes, Floats, LCAOMatrices, real_space

#: what helps a loop that does not converge
MORE = "raise dft.max_iterations or dft.smearing_eV"


@dataclass(frozen=True)
class DFTSettings:
    """Settings that a host and its defects share, so that their difference is the defect.

    Attributes
    ----------
    functional : exchange and correlation, GPAW's name
    basis : (symbol, basis name) pairs, names as GPAW takes them
    setups : (symbol, PAW setup) pairs, only those that differ from GPAW's default
    smearing_eV : width of the Fermi-Dirac occupation
    grid_A : largest grid spacing
    density_tolerance : change of the density per valence electron at convergence
    max_iterations : of the self-consistency loop
    """

    functional: str = "PBE"
    basis: tuple[tuple[str, str], ...] = ()
    setups: tuple[tuple[str, str], ...] = ()
    smearing_eV: float = 0.1
    grid_A: float = 0.2
    density_tolerance: float = 1e-5
    max_iterations: int = 150

    def __post_init__(self) -> None:
        for name in ("smearing_eV", "grid_A", "density_tolerance"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "a positive number")
        if self.max_iterations < 1:
            raise InputError("max_iterations", self.max_iterations, "at least 1")


@dataclass(frozen=True)
class GroundState:
    """Outcome of one self-consistent calculation.

    Attributes
    ----------
    energy : extrapolated to zero smearing, eV
    fermi_level : eV, on the scale of the matrices; a coarse mesh's, recounted later
    forces : (atoms, 3) eV/A, or None where they were not asked for
    iterations : of the self-consistency loop
    attempts : what was tried and how each ended (emforce.self_consistency); empty where there were no fallbacks
    """

    energy: float
    fermi_level: float
    forces: Floats | None
    iterations: int
    attempts: tuple[Mapping[str, Any], ...] = ()


def grid_points(cell: Floats, spacing: float, repeat: Sequence[int] = (1, 1, 1)) -> tuple[int, int, int]:
    """Grid of the supercell `repeat` x `cell`, whole multiples of `repeat`.

    The same grid around equal atoms in host and supercell makes the egg-box error cancel in H' - H: a host takes
    the grid of its supercell divided by `repeat`, which may be coarser than what the cell would get alone.
    """
    points = []
    for axis in range(3):
        area = np.linalg.norm(np.cross(cell[axis - 2], cell[axis - 1]))
        height = abs(np.linalg.det(cell)) / area  # distance between the planes that the other two vectors span
        multiple = 4 if repeat[axis] == 1 else 2
        points.append(max(int(np.ceil(height / spacing / multiple - 1e-9)) * multiple, 4) * int(repeat[axis]))
    return points[0], points[1], points[2]


def shared_symmetry(structures: Sequence[Atoms], grid: tuple[int, int, int]) -> dict[str, Any]:
    """Space-group operations that every one of `structures` has and that map the grid onto itself, for `calculator`.

    A hop image and its displaced copies are run with the same operations, so that one starts from the other's
    density and wave functions.
    """
    from gpaw.new.symmetry import SymmetryAnalysisBug, create_symmetries_object

    common: list[tuple[Any, Any]] | None = None
    for atoms in structures:
        try:
            found = create_symmetries_object(atoms, symmorphic=False)
        except SymmetryAnalysisBug:  # GPAW finds no closed group for some turned cells: do without
            return {"point_group": False}
        pairs = [
            (r, t)
            for r, t in zip(found.rotation_scc, found.translation_sc, strict=True)
            if np.abs(t * grid - np.round(t * grid)).max() < 1e-3
        ]
        if common is None:
            common = pairs
        else:
            common = [
                (r, t) for r, t in common if any(np.array_equal(r, r2) and np.allclose(t, t2) for r2, t2 in pairs)
            ]
    return {"rotations": np.array([r for r, _ in common or []]), "translations": np.array([t for _, t in common or []])}


def calculator(
    atoms: Atoms,
    settings: DFTSettings,
    kpts: dict[str, Any],
    grid: tuple[int, int, int],
    symmetry: dict[str, Any] | None = None,
    log: Path | None = None,
) -> Any:
    """GPAW calculator in the local basis. `kpts` as GPAW takes it, such as {"size": (2, 2, 1), "gamma": False}.

    `log` is appended to.
    """
    from gpaw import GPAW

    return _closing(GPAW(
        mode="lcao",
        xc=settings.functional,
        basis=dict(settings.basis),
        setups=dict(settings.setups),
        gpts=grid,
        kpts=kpts,
        symmetry=symmetry if symmetry is not None else {},
        occupations={"name": "fermi-dirac", "width": settings.smearing_eV},
        convergence={"density": settings.density_tolerance, "energy": 1e-4},
        maxiter=settings.max_iterations,
        txt=_appended(log),
    ))


def _appended(log: Path | None) -> IO[str] | None:
    """A log to write on in: a step may make several calculators, and what the first ones said is wanted most."""
    return None if log is None else log.open("a", encoding="utf-8")


#: change of the density, electrons per valence electron, above which no end is in sight
ADRIFT = 0.1


def iterate(calc: Any, atoms: Atoms, patience: int | None = None) -> tuple[int, str]:
    """Run the self-consistency loop at the positions of `atoms`; returns its iterations and why it failed, "" if it did not.

    patience : where there is another way to try, the loop is given up when at this iteration or later the density has changed
        by more than `ADRIFT` in each of the last `patience`/2; None: it goes on to its last iteration. Of 738 loops of Al, Cu,
        Ag, Au, W and Mo none that converged was that far off after 20 (November 2026)
    """
    steps = 0
    errors: list[float] = []
    try:
        # GPAW writes into the positions it is given
        for step, context in enumerate(calc.iconverge(atoms.copy(), need_wfs=True), start=1):
            steps = step
            if patience is None:
                continue
            errors.append(_density_change(context))
            if step >= patience and min(errors[-(patience // 2):]) > ADRIFT:
                return steps, f"given up after {steps} iterations, the density still changing by {errors[-1]:.2g} per electron"
    except Exception as error:
        if type(error).__name__ in ("KohnShamConvergenceError", "TooFewBandsError"):
            return steps, f"not reached in {steps} iterations"
        if isinstance(error, ValueError) and "NaN" in str(error):
            return steps, f"diverged after {steps} iterations"
        raise
    return steps, ""


def _density_change(context: Any) -> float:
    """Integral of the size of the last change of the density, electrons per valence electron, the same on all ranks."""
    from gpaw.mpi import broadcast_float

    electrons = context.wfs.nvalence
    return float(broadcast_float(context.dens.error, context.wfs.world)) / electrons if electrons else 0.0


def converge(calc: Any, atoms: Atoms, forces: bool = False) -> GroundState:
    """Bring `calc` to self-consistency at the positions of `atoms`, from the density it has; no fallbacks.

    Raises
    ------
    ConvergenceError if the loop ends before the tolerance is met
    """
    steps, reason = iterate(calc, atoms)
    if reason:
        raise ConvergenceError(f"self-consistency of {atoms.get_chemical_formula()} {reason}; {MORE}")
    return ground_state_of(calc, atoms, forces, steps)


def ground_state_of(calc: Any, atoms: Atoms, forces: bool, iterations: int) -> GroundState:
    """Energy, Fermi level and, if wanted, forces of a converged calculation."""
    atoms = atoms.copy()
    energy = float(calc.get_potential_energy(atoms))
    force = np.array(calc.get_forces(atoms)) if forces else None
    return GroundState(energy, float(calc.get_fermi_level()), force, iterations)


@dataclass(frozen=True)
class PlaneWaves:
    """Settings of a calculation in plane waves.

    Attributes
    ----------
    functional, setups, smearing_eV, density_tolerance, max_iterations : as in DFTSettings
    kpts : mesh as GPAW takes it
    cutoff_eV : of the plane waves
    """

    functional: str
    setups: tuple[tuple[str, str], ...]
    smearing_eV: float
    density_tolerance: float
    max_iterations: int
    kpts: dict[str, Any]
    cutoff_eV: float


def plane_wave_calculator(atoms: Atoms, settings: PlaneWaves, log: Path | None = None) -> Any:
    """GPAW calculator in plane waves; slabs with a dipole layer in the vacuum. `log` is appended to."""
    from gpaw import GPAW

    slab = {} if atoms.pbc[2] else {"poissonsolver": {"dipolelayer": "xy"}}
    return _closing(GPAW(
        mode={"name": "pw", "ecut": settings.cutoff_eV},
        xc=settings.functional,
        setups=dict(settings.setups),
        kpts=settings.kpts,
        occupations={"name": "fermi-dirac", "width": settings.smearing_eV},
        convergence={"density": settings.density_tolerance, "energy": 1e-4},
        maxiter=settings.max_iterations,
        txt=_appended(log),
        **slab,
    ))


def save(calc: Any, path: Path) -> None:
    """Write density and wave functions for a restart, whole or not at all."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.gpw")
    try:
        calc.write(str(temporary), mode="all")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, log: Path | None = None) -> Any:
    """Calculator with the density and wave functions that `save` wrote; `log` is appended to."""
    from gpaw import GPAW

    return _closing(GPAW(str(path), txt=_appended(log)))


def _closing(calc: Any) -> Any:
    calc.log.close_fd = True  # GPAW leaves a stream that it did not open itself open
    return calc


def bloch_matrices(calc: Any, mesh: tuple[int, int, int]) -> tuple[Complexes, Complexes]:
    """H(k), S(k) (N, n, n), eV, of a converged calculation on a full Gamma-centred mesh, last index fastest.

    Only the matrices are built, at the fixed potential: nothing is diagonalised. H(-k) = H(k)* gives half of them.
    """
    from ase.units import Ha

    grid, minus, chosen = _half_grid(mesh)
    builder, basis, states = _states(calc, grid[chosen] / np.array(mesh))
    make = builder.create_scf_loop().hamiltonian.create_hamiltonian_matrix_calculator(calc.dft.potential)
    n = basis.Mmax
    h, s = np.empty((len(grid), n, n), complex), np.empty((len(grid), n, n), complex)
    for i, wfs in _placed(states, grid / np.array(mesh), chosen):
        h[i] = make.calculate_matrix(wfs).data * Ha
        s[i] = wfs.S_MM.data
        if minus[i] != i:
            h[minus[i]], s[minus[i]] = h[i].conj(), s[i].conj()
    return h, s


def _half_grid(mesh: tuple[int, int, int]) -> tuple[Any, list[int], list[int]]:
    """Points of a full mesh (N, 3), the place of -k of each, and the places of one of each pair k, -k."""
    grid = np.array(list(np.ndindex(*mesh)))
    place = {tuple(g): i for i, g in enumerate(map(tuple, np.mod(-grid, mesh)))}
    minus = [place[tuple(g)] for g in grid]
    return grid, minus, [i for i in range(len(grid)) if i <= minus[i]]


def _states(calc: Any, k: Floats) -> tuple[Any, Any, Any]:
    """GPAW's builder, basis and states without coefficients at fractional k-points (nk, 3), for the potential of `calc`."""
    from gpaw.dft import Parameters
    from gpaw.new.logger import Logger

    dft = calc.dft
    parameters = calc.params.todict()
    parameters.pop("h", None)
    parameters |= {
        "gpts": dft.density.nt_sR.desc.size,
        "kpts": k,
        "symmetry": {"point_group": False, "time_reversal": False},
    }
    builder = Parameters(**parameters).dft_component_builder(calc.atoms, log=Logger(None, calc.comm))
    basis = builder.create_basis_set()
    return builder, basis, builder.create_ibz_wave_functions(basis, dft.potential)


def _placed(states: Any, k: Floats, chosen: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Each of GPAW's states with its place in the mesh k (N, 3); those of all `chosen` points, once each."""
    found = 0
    for wfs in states:
        yield chosen[int(np.flatnonzero(np.abs(k[list(chosen)] - wfs.kpt_c).max(axis=1) < 1e-9)[0])], wfs
        found += 1
    assert found == len(chosen)


def spin_orbit_matrices(calc: Any, mesh: tuple[int, int, int]) -> tuple[Complexes, list[tuple[int, int, float]]]:
    """Spin-orbit operator of a converged calculation in its basis, on a full Gamma-centred mesh, last index fastest.

    H_SO(k) = sum_v sigma_v x X_v(k),   X_v(k) = sum_a P_a(k)^dagger (dVL_a)_v P_a(k),   P_a(k) = <p_i|Phi_M(k)>

    dVL = alpha^2/4 <phi_i| (1/r) dU/dr L_v |phi_j> (hartree) inside the augmentation sphere of each atom, from GPAW's
    gpaw.spinorbit.soc: scalar-relativistic partial waves and the spherical part of the self-consistent potential. Time reversal
    gives X_v(-k) = -X_v(k)*.

    Returns
    -------
    X (3, N, n, n), eV, Hermitian; and of each partial wave of the first atom (n, l, xi in eV), l > 0, n = -1 where unbound:
    a shell in this wave alone has xi L.S
    """
    radial = sphere_spin_orbit(calc)
    grid, minus, chosen = _half_grid(mesh)
    _, basis, states = _states(calc, grid[chosen] / np.array(mesh))
    x = np.zeros((3, len(grid), basis.Mmax, basis.Mmax), complex)
    for i, wfs in _placed(states, grid / np.array(mesh), chosen):
        for a, p in wfs.P_aMi.items():
            x[:, i] += 1j * (p.conj() @ radial[a] @ p.T)
        if minus[i] != i:
            x[:, minus[i]] = -x[:, i].conj()
    setup, first, shells = calc.wfs.setups[0], 0, []
    for n, l in zip(setup.n_j, setup.l_j, strict=True):
        if l:  # <m = -l| dV L_z |m = l> of real harmonics is i l xi/2 in size
            shells.append((int(n), int(l), float(2 * abs(radial[0][2, first, first + 2 * l]) / l)))
        first += 2 * l + 1
    return x, shells


def sphere_spin_orbit(calc: Any) -> dict[int, Floats]:
    """D (3, i, i), eV, of each atom of a converged calculation: dVL = i D, real and antisymmetric; see `spin_orbit_matrices`."""
    from ase.units import Ha
    from gpaw.spinorbit import soc

    return {int(a): np.imag(soc(calc.wfs.setups[a], calc.hamiltonian.xc, d_sp)) * Ha for a, d_sp in calc.density.D_asp.items()}


def orbitals_per_atom(calc: Any) -> Any:
    """(atoms,) number of basis functions of each atom."""
    return np.array([setup.nao for setup in calc.dft.setups])


def host_matrices(calc: Any, mesh: tuple[int, int, int]) -> LCAOMatrices:
    """Matrices of a periodic host, every pair of atoms at its nearest image; use odd meshes that hold the orbitals' range."""
    atoms = calc.atoms
    h, s = bloch_matrices(calc, mesh)
    positions = atoms.get_positions() + _wrap(atoms) @ atoms.cell
    return real_space(np.array(atoms.cell), positions, orbitals_per_atom(calc), mesh, h, s)


def folded_matrices(calc: Any, mesh: tuple[int, int, int]) -> LCAOMatrices:
    """Matrices of a supercell with R known modulo the mesh, referring to the positions of the atoms as given.

    GPAW wraps positions into the cell and so relabels the translations of an atom that lies outside; this is undone.
    """
    atoms = calc.atoms
    h, s = bloch_matrices(calc, mesh)
    grid = np.array(list(np.ndindex(*mesh)))
    per_atom = orbitals_per_atom(calc)
    shift = np.repeat(_wrap(atoms), per_atom, axis=0)  # GPAW's copy of an atom sits at position + shift cells
    k = grid / np.array(mesh)
    gauge = np.exp(2j * np.pi * (k @ shift.T))  # Bloch sums: |at position> = exp(2 pi i k.shift) |at position + shift>
    h *= gauge.conj()[:, :, None] * gauge[:, None, :]
    s *= gauge.conj()[:, :, None] * gauge[:, None, :]
    inverse = np.exp(-2j * np.pi * (grid @ k.T)) / len(grid)
    n = h.shape[1]
    h_r = np.real(inverse @ h.reshape(len(grid), -1)).reshape(-1, n, n)
    s_r = np.real(inverse @ s.reshape(len(grid), -1)).reshape(-1, n, n)
    return LCAOMatrices(np.array(atoms.cell), atoms.get_positions(), per_atom, grid, h_r, s_r)


def _wrap(atoms: Atoms) -> Any:
    """Cells (atoms, 3) by which GPAW's wrapped copy of each atom is displaced from its given position."""
    given = atoms.cell.scaled_positions(atoms.get_positions())
    return np.round(atoms.get_scaled_positions() - given).astype(int)


def add_setup_path(folder: Path) -> None:
    """Let GPAW find our bases in `folder`."""
    import gpaw

    text = str(folder)
    if text not in gpaw.setup_paths:
        gpaw.setup_paths.insert(0, text)
