"""Profile of a nanowire whose surface atoms move under capillarity, current and a temperature gradient.

    J_s = -(delta_s C_s D_s/k_BT) d/ds (mu + Q* lnT - e Z* phi_E),   C_s = 1/Omega,   mu = gamma Omega kappa
    kappa = 1/(r sqrt(1 + r'²)) - r''/(1 + r'²)^(3/2),    d/ds = d/dx / sqrt(1 + r'²),   d phi_E/dx = E
    E(x) = I rho/(pi r²)                  the whole current passes each cross-section: crowding at a neck
    d(pi r²)/dt = -Omega d/dx (2 pi r J_s)

x runs along the conventional current when it is positive, so the electrons run from the right end (x = L) to the left one.
Z* > 0 pushes atoms along x, against the electrons: material gathers towards the right end, at which the electrons come
in. Z* < 0 the other way. This is the "upwind" of the experiments: the end that faces the incoming electron current
thickens in W and Mo, the other one thins.

Ends: "blocked" (no atom passes, r' = 0: a wire between two plates that it meets at right angles) or "periodic". The
surface energy is isotropic. Finite volumes in r² conserve the volume to rounding; SciPy's BDF goes on in time.

For small waves r = r0 + eps exp(ikx + s t) of a long wire (W. W. Mullins, J. Appl. Phys. 28, 333 (1957); F. A. Nichols,
W. W. Mullins, Trans. AIME 233, 1840 (1965); the field term follows from the equations above):

    s tau = (k r0)² (1 - (k r0)²) + i k r0 chi,     tau = r0⁴ k_BT/(D_s delta_s gamma Omega),  chi = e Z* E0 r0²/(gamma Omega)

A wave moves with the velocity -chi r0/tau: against the atoms, which is no contradiction. Atoms gather where the flux
falls along its way, upstream of a bulge, where the field is weaker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckError, InputError
from .parameters import SurfaceParameters

Floats = NDArray[np.float64]
Ends = Literal["blocked", "periodic"]
_J_PER_M2 = 0.06241509074460763  # eV/Angstrom²
#: a neck below this share of the mean radius counts as broken: the equations end before
_BROKEN = 0.05


@dataclass(frozen=True)
class Wire:
    """A wire and its load.

    Parameters
    ----------
    radius_nm : r0, of the cylinder with the same volume
    length_nm : L
    current_uA : I, > 0 along +x
    temperature_rise_K : T(L) - T(0); lnT is linear in x
    ends : "blocked" or "periodic"
    cells : number of finite volumes
    """

    radius_nm: float
    length_nm: float
    current_uA: float
    temperature_rise_K: float = 0.0
    ends: Ends = "blocked"
    cells: int = 160

    def __post_init__(self) -> None:
        for name in ("radius_nm", "length_nm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, getattr(self, name), "a positive number of nm")
        for name in ("current_uA", "temperature_rise_K"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(name, getattr(self, name), "a finite number")
        if self.ends not in get_args(Ends):
            raise InputError("ends", self.ends, ", ".join(get_args(Ends)))
        if self.ends == "periodic" and self.temperature_rise_K:
            raise InputError("temperature_rise_K", self.temperature_rise_K, "0 for a periodic wire")
        if not 8 <= self.cells <= 4000:
            raise InputError("cells", self.cells, "8 to 4000")

    @property
    def current_density_MA_cm2(self) -> float:
        """I/(pi r0²)."""
        return self.current_uA * 1e-6 / (math.pi * (self.radius_nm * 1e-7) ** 2) * 1e-6

    @property
    def x_nm(self) -> Floats:
        """Centres of the cells."""
        return (np.arange(self.cells) + 0.5) * self.length_nm / self.cells

    def hourglass_nm(self, neck: float) -> Floats:
        """A profile with its neck in the middle, of `neck` times the radius at the ends; mean r² is r0²."""
        if not 0.1 <= neck <= 1:
            raise InputError("neck", neck, "0.1 to 1")
        shape = 1 + neck + (1 - neck) * np.cos(2 * np.pi * self.x_nm / self.length_nm)
        return np.asarray(self.radius_nm * shape / math.sqrt(np.mean(shape**2)))


@dataclass(frozen=True, eq=False)
class ProfileEvolution:
    """Radius against place and time.

    Parameters
    ----------
    x_nm : (n,) centres of the cells
    time_tau : (m,) times in units of tau
    tau_s : tau in s, nan where D_s is not known
    radius_nm : (m, n)
    broke_tau : time at which a neck fell below 5 % of r0, inf if none did; then the times end there
    """

    x_nm: Floats
    time_tau: Floats
    tau_s: float
    radius_nm: Floats
    broke_tau: float

    def __post_init__(self) -> None:
        for name in ("x_nm", "time_tau", "radius_nm"):
            array = np.array(getattr(self, name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def volume_change(self) -> float:
        """Largest relative change of the volume."""
        volume = np.mean(self.radius_nm**2, axis=1)
        return float(np.abs(volume / volume[0] - 1).max())

    @property
    def asymmetry(self) -> Floats:
        """(m,) (volume of the right half - volume of the left half)/(volume): > 0 for a thicker right end."""
        volume, n = self.radius_nm**2, len(self.x_nm)
        return np.asarray((volume[:, n - n // 2 :].sum(axis=1) - volume[:, : n // 2].sum(axis=1)) / volume.sum(axis=1))

    def thickened(self, current_uA: float, threshold: float = 1e-6) -> str:
        """The end that thickened, in words; "neither" below a relative change of the halves of `threshold`."""
        change = float(self.asymmetry[-1] - self.asymmetry[0])
        if not abs(change) > threshold or current_uA == 0:
            return "neither" if abs(change) <= threshold else "right" if change > 0 else "left"
        upwind = change * current_uA > 0
        return ("the end where the electrons come in" if upwind else "the end where the electrons go out")


def chi(parameters: SurfaceParameters, wire: Wire) -> float:
    """Force of the current against capillarity, e Z* E0 r0²/(gamma Omega), > 0 along x; E0 = I rho/(pi r0²)."""
    force = parameters.z_star * parameters.rho_uohm_cm * wire.current_density_MA_cm2 * 1e-8
    return force * (10 * wire.radius_nm) ** 2 / (parameters.gamma_J_m2 * _J_PER_M2 * parameters.omega_angstrom3)


def heat_number(parameters: SurfaceParameters, wire: Wire) -> float:
    """-Q* (dlnT/dx) r0²/(gamma Omega), the same for the temperature gradient."""
    rise, T = wire.temperature_rise_K, parameters.temperature_K
    if rise == 0:
        return 0.0
    if math.isnan(parameters.q_star_eV):
        raise InputError("q_star_eV", None, "a heat of transport, with a temperature gradient: --set 'q_star_eV=VALUE # SOURCE'")
    if abs(rise) >= 2 * T:
        raise InputError("temperature_rise_K", rise, f"less than {2 * T:g} K")
    slope = math.log((T + 0.5 * rise) / (T - 0.5 * rise)) / (10 * wire.length_nm)
    scale = (10 * wire.radius_nm) ** 2 / (parameters.gamma_J_m2 * _J_PER_M2 * parameters.omega_angstrom3)
    return -parameters.q_star_eV * slope * scale


def tau_s(parameters: SurfaceParameters, radius_nm: float) -> float:
    """tau = r0⁴ k_BT/(D_s delta_s gamma Omega) in s; nan where D_s is not known."""
    p = parameters
    gamma = p.gamma_J_m2 * _J_PER_M2
    return (10 * radius_nm) ** 4 * p.kT_eV / (p.d_s_m2_s * 1e20 * p.delta_s_angstrom * gamma * p.omega_angstrom3)


def growth_rate(k_r0: float, chi_: float = 0.0) -> complex:
    """s tau of a small wave of wave number k r0: real part growth, imaginary part k times minus its velocity."""
    return complex(k_r0**2 * (1 - k_r0**2), k_r0 * chi_)


def evolve(parameters: SurfaceParameters, wire: Wire, radius_nm: Any, times_tau: Any, tolerance: float = 1e-6
           ) -> ProfileEvolution:
    """Radius at the given times (units of tau, increasing from 0 on), from an initial profile (n,) in nm."""
    from scipy.integrate import solve_ivp

    start = np.asarray(radius_nm, dtype=float)
    if start.shape != (wire.cells,) or not np.all(np.isfinite(start)) or start.min() <= _BROKEN * wire.radius_nm:
        raise InputError("radius_nm", start.shape, f"{wire.cells} radii above {_BROKEN:g} of radius_nm")
    times = np.atleast_1d(np.asarray(times_tau, dtype=float))
    if times.size == 0 or not np.all(np.isfinite(times)) or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise InputError("times", times.tolist(), "increasing times from 0 on")
    rate = _rate(wire, chi(parameters, wire), heat_number(parameters, wire))

    def broken(t: float, a: Floats) -> float:
        return float(a.min()) - _BROKEN**2

    broken.terminal = True  # type: ignore[attr-defined]
    done = solve_ivp(lambda t, a: rate(a), (0.0, max(times[-1], 1e-12)), (start / wire.radius_nm) ** 2, method="BDF",
                     t_eval=times, events=broken, jac_sparsity=_pattern(wire), rtol=tolerance, atol=tolerance)
    if not done.success:
        raise CheckError(f"profile stopped at {done.t[-1]:g} tau: {done.message}")
    broke = float(done.t_events[0][0]) if done.t_events[0].size else math.inf
    if done.t.size == 0:
        raise InputError("times", times.tolist(), f"a time before the wire breaks at {broke:.3g} tau")
    tau = tau_s(parameters, wire.radius_nm)
    return ProfileEvolution(wire.x_nm, done.t, tau, wire.radius_nm * np.sqrt(np.maximum(done.y.T, 0.0)), broke)


def _rate(wire: Wire, drive: float, heat: float) -> Callable[[Floats], Floats]:
    """d(r²)/dt with lengths in r0 and times in tau."""
    h = wire.length_nm / wire.radius_nm / wire.cells
    mode: Any = "wrap" if wire.ends == "periodic" else "symmetric"

    def rate(a: Floats) -> Floats:
        # below the event of breaking the solver may try a negative value once
        r = np.pad(np.sqrt(np.maximum(a, 1e-6)), 2, mode=mode)
        slope = (r[2:] - r[:-2]) / (2 * h)
        bend = (r[2:] - 2 * r[1:-1] + r[:-2]) / h**2
        arc = np.sqrt(1 + slope**2)
        kappa = 1 / (r[1:-1] * arc) - bend / arc**3
        # faces: between each cell and the next, the outermost two included
        middle = 0.5 * (r[2:-1] + r[1:-2])
        steep = np.sqrt(1 + ((r[2:-1] - r[1:-2]) / h) ** 2)
        flux = middle * (-(kappa[1:] - kappa[:-1]) / h + drive / middle**2 + heat) / steep
        if wire.ends == "blocked":
            flux[[0, -1]] = 0.0
        return np.asarray(-2 * np.diff(flux) / h)

    return rate


def _pattern(wire: Wire) -> Any:
    """Which radii each rate depends on: two neighbours to each side."""
    from scipy.sparse import lil_matrix

    n = wire.cells
    pattern = lil_matrix((n, n), dtype=int)
    for i in range(n):
        for step in range(-2, 3):
            j = (i + step) % n if wire.ends == "periodic" else min(max(i + step, 0), n - 1)
            pattern[i, j] = 1
    return pattern.tocsc()
