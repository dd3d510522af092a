"""Stress in a finite line under current and in a temperature gradient (Korhonen's equation with thermomigration).

    J = -(D C/k_BT) (dmu/dx - e Z* E + Q* dlnT/dx),  mu = -Omega sigma       sigma > 0: tension
    dC/C = -dsigma/B                                                          more atoms: compression
    d(Omega sigma)/dt = d/dx [ (D B Omega/k_BT) ( d(Omega sigma)/dx + e Z* E - Q* dlnT/dx ) ]

x runs along the conventional current when it is positive; E = rho j. Atoms with Z* > 0 go along x, those with Z* < 0
against it. Q* > 0 drives atoms to the cold end (some codes write the Soret term with the other sign). A blocked end lets
no atom pass; an open end is a free surface, sigma = 0. D does not depend on the stress here.

Cell-centred finite volumes: what leaves a cell enters the next, so that atoms are conserved to rounding. SciPy's BDF or
Radau go on in time. Source of the equation: M. A. Korhonen, P. Borgesen, K. N. Tu, C.-Y. Li, J. Appl. Phys. 73, 3790 (1993).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckError, InputError
from .parameters import ContinuumParameters

Floats = NDArray[np.float64]
End = Literal["blocked", "open"]
#: 1 eV/Angstrom^3 in MPa
MPa_PER_eV_A3 = 160217.6634
#: 1 m²/s in Angstrom²/s, and 1 um in Angstrom
_A2_PER_M2, _A_PER_UM = 1e20, 1e4


@dataclass(frozen=True)
class Line:
    """A line and its load.

    Parameters
    ----------
    length_um : length L
    current_density_MA_cm2 : j, > 0 along +x (1 MA/cm² = 1e10 A/m²)
    temperature_rise_K : T(L) - T(0); the profile is linear, and the temperature of the parameters is in the middle
    left, right : "blocked" or "open"
    cells : number of finite volumes
    """

    length_um: float
    current_density_MA_cm2: float
    temperature_rise_K: float = 0.0
    left: End = "blocked"
    right: End = "blocked"
    cells: int = 200

    def __post_init__(self) -> None:
        if not 0 < self.length_um < math.inf:
            raise InputError("length_um", self.length_um, "a positive number of micrometres")
        for name in ("current_density_MA_cm2", "temperature_rise_K"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(name, getattr(self, name), "a finite number")
        for name in ("left", "right"):
            if getattr(self, name) not in get_args(End):
                raise InputError(name, getattr(self, name), ", ".join(get_args(End)))
        if not 4 <= self.cells <= 100_000:
            raise InputError("cells", self.cells, "4 to 100000")


@dataclass(frozen=True, eq=False)
class StressEvolution:
    """Stress against place and time.

    Parameters
    ----------
    x_um : (n,) centres of the cells
    time_s : (m,)
    stress_MPa : (m, n), > 0 tension
    left_MPa, right_MPa : (m,) at the two ends
    lost_um : (m,) length of line whose atoms have left through open ends (the void), 0 for blocked ones
    """

    x_um: Floats
    time_s: Floats
    stress_MPa: Floats
    left_MPa: Floats
    right_MPa: Floats
    lost_um: Floats

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            array = np.array(getattr(self, name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, name, array)


class _Problem:
    """The line as d s/dt = A s + b with s = Omega sigma in eV, lengths in units of L, times in units of L²/kappa."""

    def __init__(self, parameters: ContinuumParameters, line: Line) -> None:
        p, n = parameters, line.cells
        self.n, self.h, self.line, self.parameters = n, 1.0 / n, line, p
        faces, centres = np.linspace(0, 1, n + 1), (np.arange(n) + 0.5) / n
        T = p.temperature_K + line.temperature_rise_K * (faces - 0.5)
        if T.min() <= 0:
            raise InputError("temperature_rise_K", line.temperature_rise_K, f"less than {2 * p.temperature_K:g} K")
        if line.temperature_rise_K and math.isnan(p.q_star_eV):
            allowed = "a heat of transport, with a temperature gradient: --set 'q_star_eV=VALUE # SOURCE'"
            raise InputError("q_star_eV", None, allowed)
        self.x_um = centres * line.length_um
        heat = p.q_star_eV * line.temperature_rise_K / T if line.temperature_rise_K else np.zeros(n + 1)
        #: driving force times L at the faces, eV: > 0 moves atoms along x
        self.drive = force_eV_per_angstrom(p, line) * line.length_um * _A_PER_UM - heat
        mid = p.d_m2_s(p.temperature_K) / p.temperature_K
        self.mobility = p.d_m2_s(T) / T / mid
        self.time_s = line.length_um**2 * 1e-12 / kappa_m2_s(p)
        self.to_MPa = MPa_PER_eV_A3 / p.omega_angstrom3

    def matrix(self) -> tuple[Any, Floats]:
        """A (sparse) and b."""
        from scipy.sparse import csc_matrix, diags

        n, h = self.n, self.h
        inner = self.mobility[1:-1] / h**2
        below, above, middle = inner.copy(), inner.copy(), np.zeros(n)
        middle[:-1] -= inner
        middle[1:] -= inner
        flow = self.mobility * self.drive
        if self.line.left == "blocked":
            flow[0] = 0.0
        else:
            middle[0] -= 2 * self.mobility[0] / h**2
        if self.line.right == "blocked":
            flow[-1] = 0.0
        else:
            middle[-1] -= 2 * self.mobility[-1] / h**2
        return csc_matrix(diags([below, middle, above], [-1, 0, 1])), np.diff(flow) / h

    def ends(self, s: Floats) -> tuple[Floats, Floats]:
        """Omega sigma on the end faces: no flux through a blocked one, zero on an open one."""
        left = s[0] + 0.5 * self.h * self.drive[0] if self.line.left == "blocked" else 0.0 * s[0]
        right = s[-1] - 0.5 * self.h * self.drive[-1] if self.line.right == "blocked" else 0.0 * s[-1]
        return left, right

    def evolution(self, times_s: Floats, s: Floats) -> StressEvolution:
        left, right = self.ends(s)
        strain = self.to_MPa / (1e3 * self.parameters.modulus_GPa)
        lost = s.mean(axis=0) * strain * self.line.length_um
        return StressEvolution(self.x_um, times_s, s.T * self.to_MPa, left * self.to_MPa, right * self.to_MPa, lost)


def evolve(parameters: ContinuumParameters, line: Line, times_s: Any, method: Literal["BDF", "Radau"] = "BDF",
           tolerance: float = 1e-7) -> StressEvolution:
    """Stress at the given times (s, increasing, >= 0), from a line without stress at time 0."""
    from scipy.integrate import solve_ivp

    times = np.atleast_1d(np.asarray(times_s, dtype=float))
    if times.size == 0 or not np.all(np.isfinite(times)) or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise InputError("times_s", times.tolist(), "increasing times from 0 s on")
    problem = _Problem(parameters, line)
    a, b = problem.matrix()
    scale = max(float(np.abs(problem.drive).max()), 1e-300)
    done = solve_ivp(lambda t, s: a @ s + b, (0.0, max(times[-1] / problem.time_s, 1e-12)), np.zeros(problem.n), method=method,
                     jac=a, t_eval=times / problem.time_s, rtol=tolerance, atol=tolerance * scale)
    if not done.success:
        raise CheckError(f"stress evolution stopped at {done.t[-1] * problem.time_s:g} s: {done.message}")
    return problem.evolution(times, done.y)


def steady(parameters: ContinuumParameters, line: Line) -> StressEvolution:
    """The stress at which nothing moves any more (time inf): Omega dsigma = -(e Z* E dx - Q* dlnT), summed cell by cell.

    One open end: sigma = 0 there. Two blocked ends: no net stress. Two open ends carry a current of atoms instead and
    have the stationary state of the equations.
    """
    problem = _Problem(parameters, line)
    a, b = problem.matrix()
    if line.left == line.right == "open":
        from scipy.sparse.linalg import spsolve

        s = spsolve(a, -b)
    else:
        s = np.concatenate([[0.0], -np.cumsum(problem.drive[1:-1]) * problem.h])
        if line.left == "open":
            s -= 0.5 * problem.h * problem.drive[0]
        elif line.right == "open":
            s -= s[-1] - 0.5 * problem.h * problem.drive[-1]
        else:
            s -= s.mean()
    return problem.evolution(np.array([math.inf]), s[:, None])


def nucleation_time_s(parameters: ContinuumParameters, line: Line, critical_MPa: float) -> float:
    """Time at which the tension somewhere at an end first reaches a critical stress; inf if it never does.

    Both ends must be blocked: a void has an open end already.
    """
    from scipy.integrate import solve_ivp

    if not 0 < critical_MPa < math.inf:
        raise InputError("critical stress", critical_MPa, "a positive number of MPa")
    if (line.left, line.right) != ("blocked", "blocked"):
        raise InputError("ends", (line.left, line.right), "two blocked ends, for a void to nucleate")
    final = steady(parameters, line)
    if max(final.left_MPa[0], final.right_MPa[0]) <= critical_MPa:
        return math.inf
    problem = _Problem(parameters, line)
    a, b = problem.matrix()

    def reached(t: float, s: Floats) -> float:
        return float(max(problem.ends(s))) * problem.to_MPa - critical_MPa

    reached.terminal = True  # type: ignore[attr-defined]
    scale = float(np.abs(problem.drive).max())
    span, begin, state = 1.0, 0.0, np.zeros(problem.n)
    while True:
        done = solve_ivp(lambda t, s: a @ s + b, (begin, begin + span), state, method="BDF", jac=a, events=reached,
                         rtol=1e-7, atol=1e-7 * scale, first_step=1e-8 if begin == 0 else None)
        if done.t_events[0].size:
            return float(done.t_events[0][0] * problem.time_s)
        if not done.success or begin > 1e4:
            raise CheckError(f"no void after {begin * problem.time_s:g} s, though the steady stress exceeds the critical one")
        begin, state, span = done.t[-1], done.y[:, -1], 10 * span


# closed forms, at one temperature


def kappa_m2_s(parameters: ContinuumParameters) -> float:
    """Korhonen's kappa = D B Omega/k_BT at the temperature of the parameters, m²/s."""
    p = parameters
    return float(p.d_m2_s(p.temperature_K) * p.modulus_GPa * 1e3 / MPa_PER_eV_A3 * p.omega_angstrom3 / p.kT_eV)


def force_eV_per_angstrom(parameters: ContinuumParameters, line: Line) -> float:
    """e Z* rho j, > 0 along x; 1 µΩ cm times 1 MA/cm² is 100 V/m."""
    return parameters.z_star * parameters.rho_uohm_cm * line.current_density_MA_cm2 * 1e-8


def stress_slope_MPa_um(parameters: ContinuumParameters, line: Line) -> float:
    """Slope of the steady stress without a temperature gradient, dsigma/dx = -e Z* rho j/Omega."""
    slope = -force_eV_per_angstrom(parameters, line) / parameters.omega_angstrom3
    return slope * MPa_PER_eV_A3 * _A_PER_UM


def korhonen_series_MPa(parameters: ContinuumParameters, line: Line, time_s: float, terms: int = 200) -> tuple[Floats, Floats]:
    """Korhonen's series of a line with two blocked ends: the stress at x_um (the cells of `line`), and at (0, L).

    sigma = G {x - L/2 + (4L/pi²) sum_{n odd} cos(n pi x/L) exp(-n² pi² kappa t/L²)/n²}, G = `stress_slope_MPa_um`.
    """
    reduced = kappa_m2_s(parameters) * time_s / (line.length_um * 1e-6) ** 2
    n = np.arange(1, 2 * terms, 2)
    weight = np.exp(-(n**2) * np.pi**2 * reduced) / n**2
    x = np.concatenate([(np.arange(line.cells) + 0.5) / line.cells, [0.0, 1.0]])
    s = x - 0.5 + 4 / np.pi**2 * np.cos(np.pi * np.outer(x, n)) @ weight
    s = s * stress_slope_MPa_um(parameters, line) * line.length_um
    return s[:-2], s[-2:]


def short_time_end_MPa(parameters: ContinuumParameters, line: Line, time_s: Any) -> Any:
    """Stress at x = 0 while the ends do not know of each other: -G 2 sqrt(kappa t/pi); at x = L the opposite."""
    length = 2e6 * np.sqrt(kappa_m2_s(parameters) * np.asarray(time_s) / np.pi)
    return -stress_slope_MPa_um(parameters, line) * length


def blech_product_A_cm(parameters: ContinuumParameters, stress_difference_MPa: float) -> float:
    """(j L)_c = Delta sigma Omega/(e |Z*| rho) in A/cm; Delta sigma between the two ends, inf for Z* = 0."""
    if parameters.z_star == 0:
        return math.inf
    energy = stress_difference_MPa / MPa_PER_eV_A3 * parameters.omega_angstrom3  # eV = e V
    return energy / (abs(parameters.z_star) * parameters.rho_uohm_cm * 1e-6)


def drift_velocity_nm_s(parameters: ContinuumParameters, line: Line) -> float:
    """v = (D/k_BT) e Z* rho j, > 0 along x."""
    d = parameters.d_m2_s(parameters.temperature_K) * _A2_PER_M2
    return float(d / parameters.kT_eV * force_eV_per_angstrom(parameters, line) * 0.1)


def thermal_stress_MPa(q_star_eV: float, omega_angstrom3: float, low_K: float, high_K: float) -> float:
    """Stress difference that stops thermomigration: Omega dsigma = Q* dlnT (tension at the hot end for Q* > 0)."""
    return q_star_eV * math.log(high_K / low_K) / omega_angstrom3 * MPa_PER_eV_A3
