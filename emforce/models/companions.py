"""Numbers printed in the companion experiments, from their own formulas, and with our heats of transport.

Two studies of thermomigration: nanowires of aluminium drawn in a temperature gradient, and convection-like columns of Cu, Ag
and Al. Each entry computes the formula from the inputs as printed and puts the result beside the printed number. Where the
two disagree both are shown with their ratio; no input is changed. Where an input or the formula is not printed, nothing is
computed, and the note says what is missing. Flux along the surface:

    J_T = -Q D/(Omega k_B T²) grad T        Q > 0: towards the cold end; sizes only below, as the studies print them
    Omega dsigma = Q dlnT                   stress that stops it
    J_sigma = D grad(sigma)/(k_B T)         flux that this stress drives back
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import constants

from ..materials import material
from ..physics.wire import WireModel
from .parameters import Given

_K, _E = constants.k, constants.e
#: a printed number has two digits or so: agreement within this share
_ROUNDING = 0.05
#: agreement of numbers printed as an order of magnitude: within half an order
_HALF_ORDER = math.sqrt(10)

AL_DRAWING = "drawing of Al nanowires"
COLUMNS = "convection-like columns"
#: direction in which surface atoms were seen to move
OBSERVED: Mapping[str, str] = {"W": "upwind", "Mo": "upwind", "Cu": "downwind", "Au": "downwind"}


@dataclass(frozen=True)
class Entry:
    """One printed number.

    Parameters
    ----------
    study, metal, quantity, unit : what it is
    printed : as printed; None where the study prints no number, only words
    formula, inputs : how it follows, in words; empty where that is not printed
    computed : the formula with the printed inputs, None where one is missing
    with_our_q : the formula with Q* of the database in place of the printed Q; None until there is one, or without Q
    order_only : printed as an order of magnitude
    ours : the formula is ours, for none is printed
    note : what is missing or does not agree
    """

    study: str
    metal: str
    quantity: str
    unit: str
    printed: float | None
    formula: str = ""
    inputs: str = ""
    computed: float | None = None
    with_our_q: float | None = None
    order_only: bool = False
    ours: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the printed number follows from the printed formula and inputs."""
        if self.computed is None or self.printed is None:
            return "not computable"
        ratio = self.computed / self.printed
        if self.ours:
            return f"our formula/printed = {ratio:.2f}"
        if self.order_only:
            return "same order" if 1 / _HALF_ORDER <= ratio <= _HALF_ORDER else f"other order: formula/printed = {ratio:.2g}"
        return "agrees" if abs(ratio - 1) <= _ROUNDING else f"disagrees: formula/printed = {ratio:.2f}"


def entries(q_star: Mapping[str, Given] | None = None) -> tuple[Entry, ...]:
    """Every printed number. `q_star`: heat of transport in eV by metal, as far as there is one."""
    known = {metal: given.value for metal, given in (q_star or {}).items()}
    return (*_drawing(known.get("Al")), *_conduction(), *_columns(known), *_other_metals())


def surface_flux(q_eV: float, d_m2_s: float, omega_m3: float, temperature_K: float, gradient_K_m: float) -> float:
    """|J_T| = Q D |grad T|/(Omega k_B T²), atoms per m² and s."""
    return q_eV * _E * d_m2_s * gradient_K_m / (omega_m3 * _K * temperature_K**2)


def back_stress_MPa(q_eV: float, omega_m3: float, low_K: float, high_K: float) -> float:
    """Q dlnT/Omega in MPa."""
    return q_eV * _E * math.log(high_K / low_K) / omega_m3 * 1e-6


def _drawing(q: float | None) -> list[Entry]:
    study, metal, omega, delta = AL_DRAWING, "Al", 1.66e-29, 3e-10
    T = 0.72 * material("Al").melting_temperature.value
    flux = 3.8e-9 * (40e-9) ** 2 / (4 * omega * 7e-9 * delta)
    printed_flux, gradient = 4.5e22, 1.3e6
    needed = printed_flux * omega * _K * T**2 / (0.07 * _E * gradient)
    exponent = T * math.log(0.014e-4 / needed)
    return [
        Entry(study, metal, "surface flux J_s", "m⁻² s⁻¹", printed_flux, "v Φ_w²/(4 Ω Φ_n δ_s)",
              "v = 3.8 nm/s, Φ_w = 40 nm, Φ_n = 7 nm, Ω = 1.66e-29 m³, δ_s = 3 Å", flux),
        Entry(study, metal, "least gradient ∇T_min for J_s", "K/m", gradient, "J_s Ω k_B T²/(Q D_s)",
              f"J_s as printed, Q = 0.07 eV, T = 0.72 T_m = {T:.0f} K, D_s = 0.014 exp(-…/T) cm²/s",
              note=f"the exponent of D_s is not in our source; the printed result needs D_s = {needed:.2g} m²/s, that is "
                   f"{exponent:.0f} K with the printed prefactor (worked backwards: no check)"),
        Entry(study, metal, "temperature over the neck", "K", 0.05, "∇T_min × length", "1.3e6 K/m, 40 nm", gradient * 40e-9,
              note="the length is not printed; 40 nm is the wire's diameter"),
        Entry(study, metal, "share of the drive cancelled", "%", 99.99, "1 - ∇T_min/∇T", "1.3e6 and 1e10 K/m",
              100 * (1 - gradient / 1e10)),
        Entry(study, metal, "back stress, 400 to 200 °C", "MPa", 134.0, "Q ΔlnT/Ω", "Q = 0.07 eV, Ω = 1.66e-29 m³",
              back_stress_MPa(0.07, omega, 473.15, 673.15),
              None if q is None else back_stress_MPa(q, omega, 473.15, 673.15)),
        Entry(study, metal, "thermal conductivity by the flow of mass", "W/(m K)", 235e-4, "c D Q²/(k_B T²) = Q J_s/∇T_min",
              "Q = 0.07 eV, J_s and ∇T_min as printed", 0.07 * _E * printed_flux / gradient,
              None if q is None else q * _E * printed_flux / gradient, order_only=True,
              note="printed as 4 orders below bulk (235 W/(m K)); c D from the printed flux and gradient"),
        Entry(study, metal, "radial growth during shear", "nm/s", 1.9, note="no formula and no geometry printed"),
        Entry(study, metal, "surface flux during shear, first", "m⁻² s⁻¹", 1.9e22, note="no formula and no geometry printed"),
        Entry(study, metal, "surface flux during shear, last", "m⁻² s⁻¹", 7.1e22, note="no formula and no geometry printed"),
    ]


def _conduction() -> list[Entry]:
    """Heat conduction of thin wires: no formula is printed; ours is that of electrons scattered by the surface."""
    al = material("Al")
    T = 0.72 * al.melting_temperature.value
    rho, path, found = al.resistivity(T), al.rho_lambda_internal, []
    for diameter, printed in ((7.0, 40.0), (40.0, 75.0)):
        ratio = rho / WireModel().resistivity(rho, path, 10 * diameter)
        found.append(Entry(AL_DRAWING, "Al", f"thermal conductivity, wire of {diameter:g} nm", "W/(m K)", printed,
                           "κ_bulk ρ_bulk/ρ(d), Wiedemann-Franz, round wire with a diffuse surface",
                           f"κ_bulk = 235 W/(m K), {T:.0f} K, mean free path {0.1 * path / rho:.1f} nm", 235 * ratio, ours=True,
                           note="the study prints no formula: ours has no grain boundaries, whose scattering lowers κ further"))
    return found


def _columns(q: Mapping[str, float]) -> list[Entry]:
    omega, T, d = 1.18e-29, 673.0, 4.92e-12
    cu = q.get("Cu")
    flux = surface_flux(0.17, d, omega, T, 1e8)
    length = 75e6 * d / (1.14e23 * _K * T)
    low, high = (surface_flux(0.17, 1e-12 * x, omega, T, 1e8) for x in (0.21, 0.64))

    def least(heat: float) -> float:
        return T * -math.expm1(-75e6 * omega / (heat * _E))

    return [
        Entry(COLUMNS, "Cu", "thermal flux J_T", "m⁻² s⁻¹", 1.81e23, "Q D ∇T/(Ω k_B T²)",
              "Q = 0.17 eV, D = 4.92e-12 m²/s (Cu(110), extrapolated), Ω = 1.18e-29 m³, 673 K, 1e8 K/m", flux,
              None if cu is None else surface_flux(cu, d, omega, T, 1e8),
              note=f"with D of molecular dynamics, 0.21 to 0.64e-12 m²/s: {low:.2g} to {high:.2g}"),
        Entry(COLUMNS, "Cu", "stress-driven flux J_σ", "m⁻² s⁻¹", 1.14e23, "D Δσ/(L k_B T)", "Δσ = 75 MPa, D as above",
              note=f"the length L is not printed; the result needs {length * 1e6:.2f} µm (worked backwards: no check)"),
        Entry(COLUMNS, "Cu", "speed of the core, slowest", "nm/s", 19.0, note="the geometry is not printed"),
        Entry(COLUMNS, "Cu", "speed of the core, fastest", "nm/s", 78.0, note="the geometry is not printed"),
        Entry(COLUMNS, "Cu", "least temperature difference ΔT_min", "K", 42.0, "T [1 - exp(-Ω Δσ/Q)]",
              "Δσ = 75 MPa, Q = 0.17 eV, Ω = 1.18e-29 m³, hot end 673 K", least(0.17), None if cu is None else least(cu)),
        Entry(COLUMNS, "Cu", "back stress, scaling", "MPa", 1e2, "Q ΔlnT/Ω", "Q = 0.1 eV, Ω = 10 Å³, ΔlnT = 0.1",
              0.1 * _E * 0.1 / 1e-29 * 1e-6, None if cu is None else cu * _E * 0.1 / 1e-29 * 1e-6, order_only=True),
        Entry(COLUMNS, "Cu", "back stress, largest", "MPa", 75.0, note="an input of ΔT_min"),
    ]


def _other_metals() -> list[Entry]:
    return [
        Entry(COLUMNS, "Ag", "back stress, largest", "MPa", 131.0, note="Q, Ω and the temperatures are not printed"),
        Entry(COLUMNS, "Cu", "surface self-diffusion, 673 K, MD, low", "m²/s", 0.21e-12, note="an input, not a result"),
        Entry(COLUMNS, "Cu", "surface self-diffusion, 673 K, MD, high", "m²/s", 0.64e-12, note="an input, not a result"),
        Entry(COLUMNS, "Cu", "surface self-diffusion, 673 K, Cu(110)", "m²/s", 4.92e-12, note="an input, not a result"),
        Entry(COLUMNS, "Cu", "back stress of classical MD/measured", "", 0.1,
              note="classical MD has no electronic part of Q*: needs Q_lattice and Q_el of the database"),
    ]


@dataclass(frozen=True)
class Direction:
    """Direction of one metal's surface atoms: seen, and from Z* of the database (None: no row)."""

    metal: str
    observed: str
    z_star: float | None = None
    z_star_sigma: float | None = None
    source: str = "no row in the database"

    @property
    def verdict(self) -> str:
        """Agreement, with the distance of Z* from zero in standard uncertainties."""
        if self.z_star is None:
            return "no value yet"
        ours = "upwind" if self.z_star > 0 else "downwind"
        words = "agrees" if ours == self.observed else "disagrees"
        if not self.z_star_sigma:
            return f"{words}, uncertainty not known"
        distance = abs(self.z_star) / self.z_star_sigma
        return f"{words if distance > 1 else 'undecided'}, {distance:.1f} standard uncertainties from zero"


def columns() -> tuple[str, ...]:
    """Heads of a table of entries."""
    return ("study", "metal", "quantity", "unit", "printed", "formula", "inputs", "computed", "with_our_q_star", "verdict",
            "note")


def row(entry: Entry) -> tuple[str, ...]:
    """Cells of an entry, in the order of `columns`; empty where there is no number."""
    numbers = ("" if x is None else f"{x:.4g}" for x in (entry.printed, entry.computed, entry.with_our_q))
    printed, computed, ours = numbers
    return (entry.study, entry.metal, entry.quantity, entry.unit, printed, entry.formula, entry.inputs, computed, ours,
            entry.verdict, entry.note)
