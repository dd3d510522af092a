"""How the bases in emforce/data/bases.toml were chosen: plane-wave references, scan of recipes, check of the choice.

    python workflows/basis_scan.py lattice Mo W --functional LDA    # lattice constants of another functional, plane waves
    python workflows/basis_scan.py reference Cu W      # plane waves -> emforce/data/planewave/<metal>.json
    python workflows/basis_scan.py scan Cu --shells 1s1p2d 1s2p2d 2s2p2d --evaluations 50
    python workflows/basis_scan.py check Cu W          # self-consistent host of every recipe against plane waves
    python workflows/basis_scan.py geometry Cu         # forces on an adatom slab, every recipe and plane waves

`scan` minimises over the starts of the confinement, the split radii, the d cutoff and the width of Gaussians (downhill
simplex), with s and p cutoffs fixed at 7.5 bohr,

    J = (rms/0.15 eV)^2 + (DOS error/5 %)^2 + (omega_p error/5 %)^2 + (wide rms/0.3 eV)^2/2 + 10 log10(3e-4/s)_+^2

rms: bands within 2 eV of the Fermi level; wide: all valence bands up to 4 eV above it; s: smallest eigenvalue of S(k).
The potential stays that of a large basis (2s2p3d1f), so that an evaluation takes a second; the winner is then made
self-consistent. The simplex is stopped early: what is left is smaller than what the potential of another basis changes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from scipy.optimize import minimize

from emforce.basis import RadialFunction, Recipe, load_recipe, recipes_table, setup_name, write_basis
from emforce.errors import EmforceError
from emforce.materials import material
from emforce.physics.fermi import band_energies, fermi_surface
from emforce.physics.hostcheck import HostCheck
from emforce.physics.lcao import LCAOMatrices
from emforce.planewave import (
    PlaneWaveReference,
    check_bulk_host,
    equilibrium_lattice_constant,
    load_reference,
    plane_wave_reference,
    reference_path,
)

#: mesh of the self-consistent runs, of the matrices, and grid spacing (Angstrom)
SCF_MESH, MATRIX_MESH, GRID = 8, (7, 7, 7), 0.19
#: cutoff of s and p (bohr); start values and bounds of what is varied
CUTOFF = 7.5
START, SPLIT, D_CUTOFF, WIDTH = (0.45, 0.05, 0.8), (0.6, 0.3, 0.85), (6.8, 4.5, 7.5), (1.6, 0.7, 3.5)


def large_basis(symbol: str, setup: str, d_state: bool) -> Recipe:
    """A basis near the limit of bands in this range of cutoffs, for the potential of the scan."""
    d = (RadialFunction(2, "confined", 7.0, (3.5, 2.2)) if d_state else RadialFunction(2, "gaussian", 7.0, width=2.0))
    return Recipe(symbol, "large", setup, (
        RadialFunction(0, "confined", 7.5, (4.0,)), RadialFunction(1, "confined", 7.5, (4.5,)), d,
        RadialFunction(3, "gaussian", 6.0, width=1.5)))


def ground_state(recipe: Recipe, lattice_constant: float, folder: Path) -> Any:
    """GPAW calculator of the bulk metal, self-consistent in this basis."""
    from gpaw import GPAW

    write_basis(recipe, folder)
    structure = material(recipe.symbol).structure
    atoms = bulk(recipe.symbol, structure, a=lattice_constant)
    height = atoms.get_volume() / np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))
    points = 4 * int(np.ceil(height / GRID / 4))
    atoms.calc = GPAW(mode="lcao", xc="PBE", basis=recipe.basis, setups=recipe.setup, gpts=(points,) * 3, txt=None,
                      kpts={"size": (SCF_MESH,) * 3, "gamma": True}, convergence={"density": 1e-4},
                      occupations={"name": "fermi-dirac", "width": 0.1})
    atoms.get_potential_energy()
    return atoms.calc


def matrices(calc: Any, recipe: Recipe, folder: Path) -> LCAOMatrices:
    """H(R), S(R) of a basis in the potential of the calculator."""
    from emforce.dft import host_matrices

    write_basis(recipe, folder)
    fixed = calc.fixed_density(kpts=np.zeros((1, 3)), symmetry="off", basis=recipe.basis, convergence={}, txt=None)
    return host_matrices(fixed, MATRIX_MESH)


def wide_rms(host: LCAOMatrices, reference: PlaneWaveReference) -> float:
    """Rms error of all valence bands up to 4 eV above the Fermi level (eV)."""
    level = fermi_surface(host, reference.electrons, (reference.mesh,) * 3, reference.sigma).fermi_energy
    bands = band_energies(host, reference.path)[:, :reference.path_energies.shape[1]] - level
    return float(np.sqrt(np.mean((bands - reference.path_energies)[reference.path_energies < 4.0] ** 2)))


def objective(check: HostCheck, wide: float) -> float:
    """J of the module's docstring."""
    overlap = max(0.0, float(np.log10(3e-4 / max(check.overlap_min, 1e-12))))
    return ((check.band_rms / 0.15) ** 2 + ((check.dos_ratio - 1) / 0.05) ** 2
            + ((check.omega_p_ratio - 1) / 0.05) ** 2 + 0.5 * (wide / 0.3) ** 2 + 10 * overlap**2)


def variables(shells: str, d_state: bool) -> list[tuple[float, float, float]]:
    """Start value and bounds of everything varied for shells such as "1s2p2d1f", in the order of `recipe_at`."""
    result = []
    for count, letter in re.findall(r"(\d)([spdf])", shells):
        if letter == "f" or (letter == "d" and not d_state):
            result.append(WIDTH)
            continue
        result += ([D_CUTOFF] if letter == "d" else []) + [START] + ([SPLIT] if count == "2" else [])
    return result


def recipe_at(symbol: str, setup: str, shells: str, d_state: bool, x: np.ndarray) -> Recipe:
    """The recipe at one point of the scan; splits are in units of the cutoff there."""
    values = iter(float(v) for v in x)
    functions = []
    for count, letter in re.findall(r"(\d)([spdf])", shells):
        l = "spdf".index(letter)
        if letter == "f" or (letter == "d" and not d_state):
            functions.append(RadialFunction(l, "gaussian", 6.0 if letter == "f" else 7.0, width=round(next(values), 2)))
            continue
        cutoff = round(next(values), 2) if letter == "d" else CUTOFF
        start = round(next(values), 3)
        splits = (round(next(values) * cutoff, 2),) if count == "2" else ()
        functions.append(RadialFunction(l, "confined", cutoff, splits, start=start))
    return Recipe(symbol, "scan", setup, tuple(functions))


def line(title: str, recipe: Recipe, check: HostCheck) -> str:
    """One row of the table that is printed."""
    return (f"{title:24s} {recipe.shells:9s} {recipe.orbitals:3d} orbitals {recipe.cutoff:4.1f} bohr  "
            f"rms {check.band_rms:.3f} eV  DOS {check.dos_ratio:.3f}  omega_p {check.omega_p_ratio:.3f}  "
            f"overlap {check.overlap_min:.1e}  {'passed' if check.passed else '; '.join(check.reasons)}")


def scan(symbol: str, shells: str, evaluations: int, folder: Path) -> None:
    """Minimise J for one choice of shells and print the recipe found, frozen and self-consistent."""
    reference = load_reference(symbol)
    setup = reference.setup
    d_state = symbol != "Al"
    calc = ground_state(large_basis(symbol, setup, d_state), reference.lattice_constant, folder)
    start, low, high = np.array(variables(shells, d_state)).T
    best: list[Any] = [np.inf, None, None]

    def value(x: np.ndarray) -> float:
        inside = np.clip(x, low, high)
        recipe = recipe_at(symbol, setup, shells, d_state, inside)
        try:
            host = matrices(calc, recipe, folder)
            check = check_bulk_host(host, reference)
            result = objective(check, wide_rms(host, reference)) + 100 * float(((x - inside) ** 2).sum())
        except (EmforceError, AssertionError, np.linalg.LinAlgError):
            return 1e3  # no such confined state, or a linearly dependent basis
        if result < best[0]:
            best[:] = [result, recipe, check]
        return result

    simplex = np.array([start, *(start + 0.12 * (high - low) * row for row in np.eye(len(start)))])
    minimize(value, start, method="Nelder-Mead", options={"initial_simplex": simplex, "maxfev": evaluations})
    print(line(f"{symbol} J = {best[0]:.3f}", best[1], best[2]))
    own = ground_state(best[1], reference.lattice_constant, folder)
    print(line(f"{symbol} self-consistent", best[1], check_bulk_host(matrices(own, best[1], folder), reference)))
    for function in best[1].functions:
        print("   ", function, flush=True)


def check_recipes(symbol: str, folder: Path) -> None:
    """Self-consistent host of every recipe of a metal against plane waves."""
    reference = load_reference(symbol)
    for name in recipes_table()[symbol]:
        recipe = load_recipe(symbol, name)
        calc = ground_state(recipe, reference.lattice_constant, folder)
        print(line(f"{symbol}.{name}", recipe, check_bulk_host(matrices(calc, recipe, folder), reference)), flush=True)


def adatom_slab(symbol: str, lattice_constant: float) -> Atoms:
    """Four layers of fcc(100) or bcc(110), two atoms per layer, one adatom above the hollow of the unrelaxed surface."""
    from ase import Atom
    from ase.build import bcc110, fcc100, make_supercell

    fcc = material(symbol).structure == "fcc"
    height = (0.441 if fcc else 0.597) * lattice_constant
    slab = (fcc100 if fcc else bcc110)(symbol, (1, 1, 4), a=lattice_constant, vacuum=5.0)
    slab = make_supercell(slab, [[1, 1, 0], [1, -1, 0], [0, 0, 1]])
    slab.pbc = (True, True, False)
    slab.wrap()
    top = slab.positions[:, 2].max()
    layer = slab.positions[np.isclose(slab.positions[:, 2], top), :2]
    # the hollow is the place in the plane farthest from the atoms of the top layer
    grid = np.array(list(np.ndindex(24, 24))) / 24 @ np.array(slab.cell)[:2, :2]
    images = np.array([p + shift @ np.array(slab.cell)[:2, :2] for p in layer
                       for shift in np.array(list(np.ndindex(3, 3))) - 1])
    place = grid[np.linalg.norm(grid[:, None] - images, axis=2).min(axis=1).argmax()]
    slab.append(Atom(symbol, (*place, top + height)))
    slab.cell[2, 2] += height
    return slab


def geometry(symbol: str, folder: Path) -> None:
    """Forces along z on an adatom slab, every recipe and plane waves: what bulk bands do not show."""
    from gpaw import GPAW, PW

    reference = load_reference(symbol)
    slab = adatom_slab(symbol, reference.lattice_constant)
    common = {"xc": "PBE", "setups": reference.setup, "kpts": (6, 6, 1), "txt": None,
              "occupations": {"name": "fermi-dirac", "width": 0.15}, "convergence": {"density": 1e-4}}
    exact = slab.copy()
    exact.calc = GPAW(mode=PW(500), **common)
    forces = exact.get_forces()[:, 2]
    print(f"{symbol} plane waves: adatom {forces[-1]:.3f} eV/Angstrom, others up to {np.abs(forces[:-1]).max():.3f}")
    for name in recipes_table()[symbol]:
        recipe = load_recipe(symbol, name)
        write_basis(recipe, folder)
        atoms = slab.copy()
        atoms.calc = GPAW(mode="lcao", h=0.18, basis=recipe.basis, **common)
        error = atoms.get_forces()[:, 2] - forces
        print(f"{symbol}.{name}: error on the adatom {error[-1]:+.3f}, rms {np.sqrt(np.mean(error**2)):.3f}, "
              f"largest {np.abs(error).max():.3f} eV/Angstrom", flush=True)


def make_reference(symbol: str, functional: str) -> None:
    """Plane-wave reference at the lattice constant of the materials file, written into the package's data."""
    metal = material(symbol)
    atoms = bulk(symbol, metal.structure, a=float(metal.lattice_constant(functional)))
    reference = plane_wave_reference(atoms, setup_name(symbol), functional=functional)
    reference_path(symbol, functional=functional).write_text(reference.to_json(), encoding="utf-8")
    print(f"{symbol} {functional}: hbar omega_p {reference.omega_p:.3f} eV, DOS {reference.dos:.3f} /eV", flush=True)


def print_lattice_constant(symbol: str, functional: str) -> None:
    """Lattice constant in plane waves with this functional and with PBE, and the materials file's PBE value with the difference.

    A PAW setup has an error of its own (W: 0.02 Angstrom against the all-electron value), which the difference leaves out.
    """
    metal = material(symbol)
    published = float(metal.lattice_constant("PBE"))
    found = {}
    for name in (functional, "PBE"):
        a, open_ = equilibrium_lattice_constant(symbol, metal.structure, published, setup=setup_name(symbol), functional=name)
        found[name] = a
        print(f"{symbol} {name}: a = {a:.4f} Angstrom (the fit leaves {open_:.4f} open)", flush=True)
    difference = found[functional] - found["PBE"]
    print(f"{symbol}: {functional} - PBE {difference:+.4f}; with PBE of the materials file, {published:.4f}: "
          f"{published + difference:.4f}", flush=True)


def main() -> int:
    """Run the step named on the command line for each metal."""
    import gpaw

    parser = argparse.ArgumentParser(description="Choice of the LCAO bases against plane waves")
    parser.add_argument("step", choices=("lattice", "reference", "scan", "check", "geometry"))
    parser.add_argument("metals", nargs="+")
    parser.add_argument("--shells", nargs="+", default=["1s2p2d"])
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--functional", default="PBE", help="of lattice and reference: PBE, LDA, ...")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gpaw.setup_paths.insert(0, folder)
        for symbol in arguments.metals:
            if arguments.step == "scan":
                for shells in arguments.shells:
                    scan(symbol, shells, arguments.evaluations, folder)
            elif arguments.step in ("lattice", "reference"):
                functional_step = {"lattice": print_lattice_constant, "reference": make_reference}[arguments.step]
                functional_step(symbol, arguments.functional)
            else:
                step = {"check": check_recipes, "geometry": geometry}[arguments.step]
                step(symbol, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
