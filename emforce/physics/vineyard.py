"""Attempt frequency of a hop by Vineyard's harmonic transition-state theory, from Hessians at its start and its saddle.

G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957):

    Gamma = nu0 exp(-E_m / k_B T),   nu0 = prod_{i=1}^{3n} nu_i(start) / prod'_{j=1}^{3n-1} nu_j(saddle)

over the same n atoms at both ends, the saddle's one unstable mode left out (the prime); classical: hbar does not occur.

Where symmetry puts a plane across the middle of the hop and the top is flat there, or a shallow minimum between two humps, the
rate through that plane is the same product without the softest mode that crosses it, stable as it may be: transition-state
theory asks of the dividing surface that it parts the sites, not that the energy falls off on both sides. E_m is then that of
the humps.
Hessians in eV/Angstrom^2, masses in amu, frequencies in THz; a frequency below zero stands for an imaginary one,
-sqrt(|omega^2|)/2 pi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import constants

from emforce.errors import ConvergenceError, InputError

Floats = NDArray[np.float64]

#: share of a mode in which an atom counts as going along the hop; zero in even modes but for rounding
CROSSING_SHARE = 1e-4
#: frequency of a mass of 1 amu on a spring of 1 eV/Angstrom^2, THz
THz_OF_SPRING = float(np.sqrt(constants.e * 1e20 / constants.atomic_mass) / (2 * np.pi) * 1e-12)


@dataclass(frozen=True)
class Modes:
    """Normal modes.

    Attributes
    ----------
    frequencies_THz : (3n,) increasing; below zero: imaginary
    vectors : (3n, n, 3) mass-weighted eigenvectors, sum over atoms and axes of their squares is 1
    """

    frequencies_THz: Floats
    vectors: Floats

    @property
    def unstable(self) -> int:
        """Number of imaginary frequencies."""
        return int(np.count_nonzero(self.frequencies_THz < 0))


def modes(hessian: Floats, masses: Floats) -> Modes:
    """Normal modes of n atoms in a lattice that is held still.

    Parameters
    ----------
    hessian : (3n, 3n) second derivatives of the energy, symmetric, eV/Angstrom^2, order x, y, z of atom 0, of atom 1, ...
    masses : (n,) amu

    Raises
    ------
    InputError where the shapes do not fit, the Hessian is not symmetric or a mass is not above zero
    """
    h, m = np.asarray(hessian, dtype=float), np.asarray(masses, dtype=float)
    if h.shape != (3 * len(m), 3 * len(m)) or not np.isfinite(h).all():
        raise InputError("hessian", h.shape, f"finite numbers of shape {(3 * len(m), 3 * len(m))}, three per mass")
    if not (m > 0).all():
        raise InputError("masses", m.tolist(), "numbers above zero")
    if np.abs(h - h.T).max(initial=0.0) > 1e-8 * np.abs(h).max(initial=1.0):
        raise InputError("hessian", float(np.abs(h - h.T).max()), "a symmetric matrix")
    root = np.sqrt(np.repeat(m, 3))
    squares, vectors = np.linalg.eigh(h / np.outer(root, root))
    return Modes(np.sign(squares) * np.sqrt(np.abs(squares)) * THz_OF_SPRING, vectors.T.reshape(len(squares), len(m), 3))


def crossing_mode(middle: Modes, atom: int, direction: Floats) -> int | None:
    """Index of the softest mode in which an atom goes along a direction; None where there is none.

    At the middle of a hop that symmetry turns around, modes are even or odd under that operation, and the mover goes along the
    hop in odd ones alone: they cross the plane in the middle.
    """
    unit = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    share = (middle.vectors[:, atom] @ unit) ** 2
    found = np.flatnonzero(share > CROSSING_SHARE)
    return int(found[0]) if found.size else None


def attempt_frequency(start: Modes, saddle: Modes, crossing: int | None = None) -> float:
    """nu0 in THz.

    Parameters
    ----------
    crossing : index of the mode that crosses the plane in the middle, for a middle without an unstable mode

    Raises
    ------
    InputError for different numbers of modes
    ConvergenceError unless the start has no imaginary mode and the saddle exactly one, or none where `crossing` is given
    """
    a, b = start.frequencies_THz, saddle.frequencies_THz
    if a.shape != b.shape:
        raise InputError("modes", (a.shape, b.shape), "as many at the saddle as at the start")
    if start.unstable or saddle.unstable != (crossing is None):
        raise ConvergenceError(f"{start.unstable} imaginary modes at the start and {saddle.unstable} at the saddle, "
                               "wanted 0 and 1: relax further, let more neighbours move, or look for another saddle, "
                               "with images between the start and the middle")
    return float(np.exp(np.log(a).sum() - np.log(np.delete(b, crossing or 0)).sum()))


def frequency_along(hessian: Floats, masses: Floats, atom: int, direction: Floats) -> float:
    """Frequency of one atom along a direction with all others held still, sqrt(d.H.d/m)/2 pi in THz; below zero: imaginary."""
    unit = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    spring = float(unit @ hessian[3 * atom:3 * atom + 3, 3 * atom:3 * atom + 3] @ unit)
    return float(np.sign(spring) * np.sqrt(abs(spring) / masses[atom]) * THz_OF_SPRING)


def migration_entropy(nu0_THz: float, along_hop_THz: float) -> float:
    """Migration entropy S_m/k_B in the classical harmonic limit.

    Convention: nu0 = nu_d exp(S_m/k_B), where nu_d is the frequency of the moving atom along the hop vector at the start with
    every other atom held still (`frequency_along`). Vineyard's split leaves nu_d open; only nu0 enters a rate.

    Raises
    ------
    InputError unless both frequencies are above zero
    """
    if not (nu0_THz > 0 and along_hop_THz > 0):
        raise InputError("frequencies", (nu0_THz, along_hop_THz), "numbers above zero, THz")
    return float(np.log(nu0_THz / along_hop_THz))


def internal_hessian(hessian: Floats) -> Floats:
    """Second derivatives (3n - 3, 3n - 3) of n equal atoms without their common translations, eV/Angstrom^2.

    Raises `InputError` for fewer than two atoms or a matrix of another shape.
    """
    h = np.asarray(hessian, dtype=float)
    n = len(h) // 3
    if n < 2 or h.shape != (3 * n, 3 * n):
        raise InputError("hessian", h.shape, "shape (3n, 3n) of two atoms or more")
    shift = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    rest = np.linalg.qr(np.hstack([shift, np.eye(3 * n)]))[0][:, 3:]  # orthogonal to the translations
    return np.asarray(rest.T @ h @ rest)


def vacancy_entropy(vacancy: Floats, host: Floats) -> float:
    """Formation entropy S_f/k_B of a vacancy in the classical harmonic limit, from the Hessians of two whole cells.

    A crystal of N atoms against the same cell without one of them, the atom that is taken out put back as one of the bulk:

        S_f/k_B = (N-2)/(N-1) sum' ln omega(host) - sum' ln omega(vacancy),

    the sums without the three translations, 3N - 3 and 3N - 6 frequencies; the factor takes as many of the host as the cell with
    the vacancy has, so that neither the unit nor the (one) mass counts. Classical: the temperature does not occur.

    Parameters
    ----------
    vacancy : (3N - 3, 3N - 3) of the N - 1 atoms, eV/Angstrom^2; host : (3N, 3N) of the N atoms

    Raises
    ------
    InputError where the cells do not differ by one atom
    ConvergenceError where one of them is not a minimum
    """
    if len(host) != len(vacancy) + 3:
        raise InputError("hessians", (len(vacancy), len(host)), "three rows more in the host, one atom")
    sums = []
    for name, matrix in (("vacancy", vacancy), ("host", host)):
        squares = np.linalg.eigvalsh(internal_hessian(matrix))
        if squares[0] <= 0:
            raise ConvergenceError(f"{int((squares <= 0).sum())} imaginary modes of the whole cell ({name})")
        sums.append(0.5 * float(np.log(squares).sum()))
    atoms = len(host) // 3
    return (atoms - 2) / (atoms - 1) * sums[1] - sums[0]


__all__ = ["CROSSING_SHARE", "Modes", "THz_OF_SPRING", "attempt_frequency", "crossing_mode", "frequency_along",
           "internal_hessian", "migration_entropy", "modes", "vacancy_entropy"]
