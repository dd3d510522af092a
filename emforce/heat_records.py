"""From a finished transport step and stored rows of a hop to its rows of the heat of transport.

One row for each site at which K(eps) is stored, and one for the hop as a whole. The lattice part belongs to a hop, so that the
total Q* = Q_el(J=0) + lattice part stands in the row of the hop alone. The lattice part counts with the middle of its bounds and
half of their distance as its standard uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emforce import provenance
from emforce.assess import host_error
from emforce.basis import basis_name
from emforce.errors import InputError
from emforce.heat_assess import (
    BOLTZMANN_eV,
    ElectronicPoint,
    Estimated,
    HopWind,
    HostCurves,
    Surroundings,
    electronic_points,
)
from emforce.materials import material
from emforce.physics.heat import Curve, LatticeBounds, TransportCurves, lattice_bounds
from emforce.record import HOP_AVERAGE, Record
from emforce.seebeck import expected_at, measured_at
from emforce.settings import Settings, preset_label
from emforce.steps import Document, Step
from emforce.stored import Check, none_for_nan
from emforce.variations import FERMI, SURFACE

METHOD = "heat of transport, thermal integral of K(E)"
#: Q_el(E=0) at the lowest temperature is off its Sommerfeld form by no more than this share of what the largest mean slope of K
#: between the Fermi energy and the outer half of the window would give: K is smooth on the scale of k_BT
MAX_SOMMERFELD_SHARE = 0.25
#: the same for S against Mott's formula
MAX_MOTT_SHARE = 0.25
NAN = math.nan


@dataclass(frozen=True)
class HeatInput:
    """What the rows of one hop are made from.

    Attributes
    ----------
    rows : stored rows with K(eps), one per site, each with a direct valence where the hop has one, the row of that, and K(eps)
        between slabs of another thickness (`emforce.heat_slabs.other_slabs`) and with other settings
        (`emforce.heat_variations.other_settings`)
    kinetics : stored row with barrier and reaction_atoms; None where there is none
    transport : planned step, with `bulk` among its needs
    """

    settings: Settings
    rows: tuple[Document, ...]
    kinetics: Document | None
    transport: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is to be run, in the order in which it is needed."""
        return (*self.transport.needs.values(), self.transport)


def failures(item: HeatInput, reason: str) -> list[Record]:
    """Rows that say why nothing could be computed."""
    return [Record(**_identity(item, row), status="failed", reason=reason, provenance=_origin(item, row, None, ""))
            for row in item.rows]


def records(item: HeatInput, bulk: Document, transport: Document) -> list[Record]:
    """One record per row, from the values of the finished steps `bulk` and `transport`."""
    check = bulk.get("check")
    energies = item.transport.inputs["energies"]
    served, wider, coarser = (TransportCurves(Curve(energies, transport[name]["n"]), Curve(energies, transport[name]["dos"]))
                              for name in ("served", "wider", "coarser"))
    host = HostCurves(served, wider, coarser, host_error(bulk))
    lattice, word = _lattice(item.kinetics)
    return [_record(item, row, host, (lattice, word) if row["site"] == HOP_AVERAGE else (None, "in the row of the hop"), check)
            for row in item.rows]


def _lattice(kinetics: Document | None) -> tuple[LatticeBounds | None, str]:
    """Bounds of the lattice part from the row of the kinetics, and where they come from or why there are none."""
    if kinetics is None:
        return None, "not computed: no row of the kinetics with a barrier and the atoms that move"
    atoms = kinetics["kinetics_details"]["reaction_atoms"]
    weights = {"mode": atoms["weight_mode"], "path": atoms["weight_path"]}
    positions = {"start": atoms["position_start"], "saddle": atoms["position_saddle"]}
    try:
        found = lattice_bounds(kinetics["barrier_eV"], weights, positions)
    except InputError as error:
        return None, f"not computed: {error}"
    return found, f"energy partition along the path, row {kinetics['id']} of the kinetics"


def hop_wind(row: Mapping[str, Any], settings: Settings) -> HopWind:
    """K(eps) of a stored row with its uncertainty; an interval of Z_direct counts with its middle and half of its length.

    The error of E_F is that of the settings, or that of the energy of the surface states where it was found to be larger. Parts
    of sigma(K) of which the whole K(eps) with the other settings is known stand for themselves.
    """
    parts = row["k_wind_sigma_parts_uohm_cm"] or {}
    changes: dict[str, tuple[Curve, ...]] = {}
    for other in row.get("other_settings", ()):
        curve = Curve(other["energies_eV"], other["change_uohm_cm"])
        changes[other["part"]] = (*changes.get(other["part"], ()), curve)
    apart = {FERMI, SURFACE, *changes}
    known = [part for name, part in parts.items() if part is not None and name not in apart]
    off = float((row["provenance"].get(SURFACE) or {}).get("error_eV", 0.0))
    direct, sigma = row["z_direct"], row["z_direct_sigma"]
    low, high = row["z_direct_low"], row["z_direct_high"]
    if direct is None and low is not None and high is not None:
        direct, sigma = 0.5 * (low + high), 0.5 * (high - low)
    slabs = None if row["facet"] == "bulk" else tuple(
        (Curve(slab["energies_eV"], slab["k_of_energy_uohm_cm"]), slab["share"]) for slab in row.get("other_slabs", ()))
    return HopWind(Curve(row["energies_eV"], row["k_of_energy_uohm_cm"]), math.hypot(*known), settings.host.sigma_eV,
                   max(settings.embedding.fermi_error_eV, off), NAN if direct is None else direct,
                   NAN if sigma is None else sigma, slabs, changes)


def grid(metal: str, settings: Settings) -> list[Surroundings]:
    """The temperatures of the settings at which the resistivity of a metal is known.

    Raises
    ------
    InputError : none of them
    """
    data = material(metal)
    low, high = data.temperature_range_K
    found = []
    for T in settings.heat.temperatures_K:
        if low <= T <= high:
            found.append(Surroundings(T, data.rho_uohm_cm(T), data.rho_sigma_uohm_cm(T), expected_at(metal, T)))
    if not found:
        raise InputError("heat.temperatures_K", settings.heat.temperatures_K, f"some between {low:g} and {high:g} K for {metal}")
    return found


def _record(item: HeatInput, row: Document, host: HostCurves, lattice: tuple[LatticeBounds | None, str],
            check: Document | None) -> Record:
    wind = hop_wind(row, item.settings)
    points = electronic_points(wind, host, grid(str(row["metal"]), item.settings))
    bounds, word = lattice
    total = [_total(point, bounds, item.kinetics) for point in points]
    served = [point.share <= item.settings.heat.max_outside_share for point in points]
    table: dict[str, list[float]] = {"temperature_K": [point.temperature_K for point in points]}
    for name, values in (("q_el", [p.q for p in points]), ("q_star", total)):
        shown = [value if ok else Estimated(NAN, {}) for value, ok in zip(values, served, strict=True)]
        if any(not math.isnan(value.value) for value in shown):
            table |= {f"{name}_eV": [v.value for v in shown], f"{name}_sigma_eV": [v.sigma for v in shown]}
    table |= {"seebeck_uV_K": [p.seebeck.value for p in points], "seebeck_sigma_uV_K": [p.seebeck.sigma for p in points]}
    checks = _checks(wind, host, points[0], bounds, item.kinetics)
    checks.append(Check("host passes against plane waves", float(check is not None and check["passed"]), 1.0, ">="))
    broken = [c for c in checks if not c.passed]
    status = "ok" if not broken else "outside tolerance" if broken[0].name.startswith("host passes") else "failed"
    return Record(
        **_identity(item, row),
        q_of_temperature={name: np.array(values) for name, values in table.items()},
        q_lattice_low_eV=NAN if bounds is None else bounds.low,
        q_lattice_high_eV=NAN if bounds is None else bounds.high,
        q_condition="J=0" if "q_star_eV" in table else "E=0",
        status=status,
        reason="; ".join(str(c) for c in broken),
        checks=tuple(checks),
        provenance=_origin(item, row, check, word) | {"heat": _details(item, row, wind, points, total, bounds)},
    )


def _total(point: ElectronicPoint, bounds: LatticeBounds | None, kinetics: Document | None) -> Estimated:
    """Q* = Q_el(J=0) + the middle of the bounds of the lattice part."""
    if bounds is None or kinetics is None:
        return Estimated(NAN, {})
    middle = 0.5 * (bounds.low + bounds.high)
    barrier = kinetics["barrier_sigma_eV"]
    more = {"lattice_bounds": 0.5 * (bounds.high - bounds.low),
            "barrier": NAN if barrier is None else abs(middle) * barrier / kinetics["barrier_eV"]}
    return Estimated(point.q_open.value + middle, dict(point.q_open.parts) | more)


def _checks(wind: HopWind, host: HostCurves, lowest: ElectronicPoint, bounds: LatticeBounds | None,
            kinetics: Document | None) -> list[Check]:
    T = lowest.temperature_K
    e, k = wind.k.energies, wind.k.values
    far = np.abs(e) >= min(0.5 * np.abs(e).max(), 4 * BOLTZMANN_eV * T)
    steepest = float(np.abs((k[far] - float(wind.k(0.0))) / e[far]).max())
    unit = abs(lowest.sommerfeld / wind.k.slope()) if wind.k.slope() else 0.0
    n, dos = host.served.n, host.served.dos
    slopes = abs(n.slope() / float(n(0.0))) + abs(dos.slope() / float(dos(0.0)))
    mott = math.pi**2 / 3 * (BOLTZMANN_eV * T) * slopes * BOLTZMANN_eV * 1e6
    found = [
        Check(f"Q_el(E=0) against Sommerfeld at {T:g} K", abs(lowest.q.value - lowest.sommerfeld),
              MAX_SOMMERFELD_SHARE * unit * steepest, "<=", "eV"),
        Check(f"S against Mott at {T:g} K", abs(lowest.seebeck.value - lowest.mott), MAX_MOTT_SHARE * mott, "<=", "µV/K"),
    ]
    if bounds is not None and kinetics is not None:
        found.append(Check("bounds of the lattice part against the barrier", max(-bounds.low, bounds.high),
                           kinetics["barrier_eV"] * (1 + 1e-9), "<=", "eV"))
    return found


def _details(item: HeatInput, row: Document, wind: HopWind, points: Sequence[ElectronicPoint], total: Sequence[Estimated],
             bounds: LatticeBounds | None) -> Document:
    """What the table has no column for; lists go along with temperature_K."""
    open_circuit = [p.q_open for p in points]
    quantities = {"q_el_eV": [p.q for p in points], "q_el_open_circuit_eV": open_circuit,
                  "seebeck_uV_K": [p.seebeck for p in points], "q_star_eV": list(total)}
    return {
        "wind_row": row["id"],
        "direct_row": row.get("direct_row"),
        "other_slabs_rows": [slab[name] for slab in row.get("other_slabs", ()) for name in ("row", "lent_by") if name in slab],
        "other_settings_rows": sorted({number for other in row.get("other_settings", ()) for number in other["rows"]}),
        "kinetics_row": None if item.kinetics is None else item.kinetics["id"],
        "z_direct": [none_for_nan(wind.z_direct), none_for_nan(wind.z_direct_sigma)],
        "temperature_K": [p.temperature_K for p in points],
        "q_el_open_circuit_eV": [none_for_nan(q.value) for q in open_circuit],
        "q_el_open_circuit_sigma_eV": [none_for_nan(q.sigma) for q in open_circuit],
        "q_el_open_circuit_measured_seebeck_eV": _measured(row, wind, points),
        "q_el_sommerfeld_eV": [p.sommerfeld for p in points],
        "seebeck_mott_uV_K": [p.mott for p in points],
        "share_beyond_window": [p.share for p in points],
        "z_wind": [p.z_wind for p in points],
        "chemical_potential_eV": [p.mu for p in points],
        "inverse_dos": {name: [none_for_nan(p.inverse_dos[i]) for p in points]
                        for i, name in enumerate(("q_el_eV", "q_el_open_circuit_eV", "seebeck_uV_K"))},
        "sigma_parts": {name: {part: [none_for_nan(v.parts.get(part, NAN)) for v in values] for part in values[0].parts}
                        for name, values in quantities.items() if values and not math.isnan(values[0].value)},
        "lattice_estimates_eV": None if bounds is None else dict(bounds.estimates),
    }


def _measured(row: Document, wind: HopWind, points: Sequence[ElectronicPoint]) -> list[float | None]:
    """Q_el(J=0) with the measured Seebeck coefficient in place of that of the host, where one is known."""
    found: list[float | None] = []
    for p in points:
        pair = measured_at(str(row["metal"]), p.temperature_K)
        z_star = p.z_wind + wind.z_direct
        found.append(None if pair is None else none_for_nan(p.q.value - p.temperature_K * z_star * pair[0] * 1e-6))
    return found


def _identity(item: HeatInput, row: Document) -> dict[str, Any]:
    names = ("spec", "metal", "facet", "defect", "hop", "site", "species")
    settings = item.settings
    return {name: row[name] for name in names} | {
        "preset": preset_label(settings.preset, dict(settings.overrides)),
        "method": METHOD,
        "basis": basis_name(str(row["metal"]), settings.dft.recipe),
        "fraction": NAN if row["fraction"] is None else row["fraction"],
        "hop_vector_angstrom": [NAN if x is None else x for x in row["hop_vector_angstrom"]],
    }


def _origin(item: HeatInput, row: Document, check: Document | None, lattice: str) -> dict[str, object]:
    metal = str(row["metal"])
    verdict = "no plane-wave reference for this metal"
    if check is not None:
        verdict = "passed" if check["passed"] else "; ".join(check["reasons"])
    sources = dict.fromkeys(source for at in grid(metal, item.settings)
                            for source in material(metal).resistivity_sources(at.temperature_K)[0])
    found = provenance.collect(settings_hash=item.settings.digest, structure_hash=row["provenance"]["structure_hash"],
                               host_check=verdict, rho_source="; ".join(sources))
    return found | {"q_lattice": lattice}


__all__ = ["METHOD", "HeatInput", "failures", "grid", "hop_wind", "records"]
