"""Codes that solve for concentration fields: MOOSE (module phase_field) and FESTIM.

MOOSE (github.com/idaholab/moose, modules/phase_field): SoretDiffusion has the residual D Q c/(k_B T²) grad T . grad test,
which is J = -D c Q/(k_B T²) grad T of whatever c is (src/kernels/SoretDiffusion.C). PFParamsPolyFreeEnergy has vacancies as
c: D0 is the "Diffusivity prefactor for vacancies in m^2/s", Em and Ef are in eV, surface_energy in J/m², and its own property
Qstar is -4.0 eV in the source (src/materials/PFParamsPolyFreeEnergy.C). A vacancy goes against the atom it changes places with,
so Q of vacancies is -Q*, as a property of another name (Q_name = Qheat).

FESTIM (github.com/festim-dev/FESTIM): J = -D grad c - D c Q/(k_B T²) grad T (festim/concentration/mobile.py). Material takes Q,
a number or a function of T in eV. Before that it took H = {"free_enthalpy", "entropy"} in J/mol, documented as free_enthalpy +
entropy T (festim/materials/material.py); but the transport equation of such a version computed free_enthalpy T + entropy. The
file therefore holds both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import constants

from ..errors import InputError
from ..materials import material
from .parameters import Content, Number, Parameters, comments, preface

#: eV per particle in J/mol
_J_MOL = constants.e * constants.N_A
_NEIGHBOURS = {"fcc": 12, "bcc": 8}


def to_moose(content: Content) -> str:
    """Blocks Kernels and Materials for vacancies in the bulk, with Q*(T) where the row has a table."""
    row = content.row
    if row["defect"] != "vacancy":
        raise InputError("defect", row["defect"], "vacancy: PFParamsPolyFreeEnergy describes vacancies in a crystal")
    p = content.parameters()
    table, q = _table(p)
    d0, em = _vacancy_prefactor(p), p.take("barrier_eV")
    ef, gamma = p.take("formation_energy_eV"), p.take("gamma_J_m2")
    p.check("MOOSE")
    remarks = [
        "units: D0 m^2/s; Em and Ef eV; surface_energy J/m^2; Qheat eV; T K",
        "c is the vacancy fraction. Qheat = -Q*: a vacancy goes against the atom it changes places with",
        "PFParamsPolyFreeEnergy sets its own property Qstar = -4.0 eV in its source: take Qheat, as the kernel below does",
        "int_width, polynomial_order, length_scale and time_scale are settings of your problem: define the first two at the "
        "top of your input, as in int_width = 60.0",
        "variables c, w and T as in modules/phase_field/test/tests/SoretDiffusion/split_temp.i",
    ]
    lines = comments(preface(content, p.taken, remarks), "#")
    lines += _block("Kernels", {"emforce_soret": {
        "type": "SoretDiffusion", "variable": "w", "c": "c", "T": "T", "diff_name": "D", "Q_name": "Qheat"}})
    heat = {"type": "GenericConstantMaterial", "prop_names": "Qheat", "prop_values": repr(-q.value)}
    if len(table) > 1:
        data = " ".join(f"{point[0]!r} {-point[1]!r}" for point in table)
        heat = {"type": "PiecewiseLinearInterpolationMaterial", "property": "Qheat", "variable": "T", "xy_data": f"'{data}'"}
    lines += _block("Materials", {
        "emforce_vacancies": {
            "type": "PFParamsPolyFreeEnergy", "c": "c", "T": "T", "int_width": "${int_width}",
            "polynomial_order": "${polynomial_order}", "D0": repr(d0.value), "Em": repr(em.value), "Ef": repr(ef.value),
            "surface_energy": repr(gamma.value)},
        "emforce_heat_of_transport": heat})  # fmt: skip
    return "\n".join(lines)


def _block(name: str, parts: dict[str, dict[str, str]]) -> list[str]:
    lines = [f"[{name}]"]
    for part, values in parts.items():
        lines += [f"  [{part}]", *(f"    {key} = {value}" for key, value in values.items()), "  []"]
    return [*lines, "[]"]


def _vacancy_prefactor(p: Parameters) -> Number:
    """D_v0 = z nu0 d²/6 of a vacancy that jumps to z neighbours at distance d, unless stated."""
    stated = p.optional("d0_vacancy_m2_s")
    nu0 = None if stated else p.optional("nu0_THz")
    if stated is not None:
        return stated
    if nu0 is None:
        return p.take("d0_vacancy_m2_s")
    neighbours = _NEIGHBOURS[material(p.metal).structure]
    hop = p.hop_length()
    value = neighbours * nu0.value * 1e12 * (hop.value * 1e-10) ** 2 / 6
    sigma = None if nu0.sigma is None else nu0.sigma / nu0.value * value
    return p.derived(Number("d0_vacancy_m2_s", value, "m²/s", sigma, f"{neighbours} nu0 d²/6 from nu0 and the hop"))


@dataclass(frozen=True)
class Line:
    """Q*(T) = intercept + slope T in eV, and how far the table lies from it at most."""

    intercept_eV: float
    slope_eV_K: float
    deviation_eV: float

    def at(self, temperature_K: float) -> float:
        """Q* in eV."""
        return self.intercept_eV + self.slope_eV_K * temperature_K


def fit(table: list[tuple[float, float]]) -> Line:
    """Least-squares line through (T, Q*); one point gives a constant."""
    if len(table) == 1:
        return Line(table[0][1], 0.0, 0.0)
    T, q = np.array(table).T
    centre = T.mean()
    slope = float(((T - centre) * (q - q.mean())).sum() / ((T - centre) ** 2).sum())
    intercept = float(q.mean() - slope * centre)
    return Line(intercept, slope, float(np.abs(intercept + slope * T - q).max()))


def _table(p: Parameters) -> tuple[list[tuple[float, float]], Number]:
    """Points (T, Q*) of the atoms, and Q* at the temperature asked for; what is stated is one point."""
    stored = p.row.get("q_of_temperature") or {}
    points = [(float(T), float(q)) for T, q in zip(stored.get("temperature_K", ()), stored.get("q_star_eV") or (), strict=False)
              if q is not None]
    q = p.take("q_star_eV")
    if q.source.startswith("stated") or not points:
        return [(p.temperature(), q.value)], q
    return points, q


def to_festim(content: Content) -> str:
    """A Python file with Q(T) for festim.Material, and the older {"free_enthalpy", "entropy"}; D_0 and E_D where known."""
    p = content.parameters()
    table, q = _table(p)
    d0, ea = p.optional("d0_m2_s"), p.optional("ea_eV")
    p.check("FESTIM")
    line = fit(table)
    spread = "not known" if q.sigma is None else f"± {q.sigma!r} eV at {p.temperature()!r} K"
    remarks = [
        "units: Q eV, T K, D_0 m²/s, E_D eV, H J/mol (entropy J/(mol K))",
        "FESTIM's flux is J = -D grad c - D c Q/(k_B T²) grad T: Q has the sign of Q*, > 0 towards the cold end",
        f"Q is a straight line through {len(table)} temperature(s), {table[0][0]!r} to {table[-1][0]!r} K, and not known beyond; "
        f"largest deviation {line.deviation_eV!r} eV; uncertainty {spread}",
        "H is documented as free_enthalpy + entropy T; a version that takes H but computes free_enthalpy T + entropy in its "
        "transport equation (look into festim/concentration/mobile.py) needs H_AS_SOLVED",
        "FESTIM has no electric field: Z* is not used by it",
    ]
    lines = comments(preface(content, p.taken, remarks), "#", plain=False)
    free, entropy = line.intercept_eV * _J_MOL, line.slope_eV_K * _J_MOL
    for name, number in (("D_0", d0), ("E_D", ea)):
        if number is not None:
            lines.append(f"{name} = {number.value!r}")
    lines += [
        f"Q_INTERCEPT_EV = {line.intercept_eV!r}",
        f"Q_SLOPE_EV_K = {line.slope_eV_K!r}",
        f'H = {{"free_enthalpy": {free!r}, "entropy": {entropy!r}}}',
        f'H_AS_SOLVED = {{"free_enthalpy": {entropy!r}, "entropy": {free!r}}}',
        "", "",
        "def Q(T):",
        '    """Heat of transport in eV, > 0 towards the cold end."""',
        "    return Q_INTERCEPT_EV + Q_SLOPE_EV_K * T",
    ]
    return "\n".join(lines)


__all__ = ["Line", "fit", "to_festim", "to_moose"]
