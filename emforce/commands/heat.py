"""Subcommand heat: the heat of transport of hops whose wind force is stored."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .options import (
    AddCommand,
    add_cluster,
    add_db,
    add_specs,
    add_store,
    add_temperature,
    checked_workers,
    overrides,
    temperatures,
)

if TYPE_CHECKING:
    from ..record import Record

_EPILOG = """\
Q*(T) = Q_el(J=0) + lattice part; Q* > 0 drives the atom towards the cold end: J = -(D C/k_BT) Q* grad ln T. Q_el(E=0) is the
thermal integral of the stored K(E), Q_el(J=0) = Q_el(E=0) - T e Z* S with the Seebeck coefficient S of the same host; the lattice
part is a model (energy partition) with bounds, and needs the barrier of `emforce kinetics`. docs/heat.md says more.
"""
_DEFAULT_K = (300.0, 400.0, 600.0, 800.0)


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    heat = add("heat", _heat, "Heat of transport Q*(T) and Seebeck coefficient, from the stored wind force and the bulk host.",
               _EPILOG)
    add_specs(heat)
    add_cluster(heat)
    add_store(heat)
    add_temperature(heat, "temperatures of the table, K (default 300 400 600 800)")
    add_db(heat)


def _heat(options: argparse.Namespace) -> int:
    from ..campaign import Placement
    from ..database import resolve
    from ..heat import Where, run

    kelvins = temperatures(options) or _DEFAULT_K
    changes = overrides(options.set)
    resolve(options.db)
    place = Placement(options.cluster, checked_workers(options), tuple(map(str, options.spec)))
    records = run(options.spec, options.preset, changes, Where(options.db, options.store, place))
    print(heat_table(records, kelvins))
    print("± one standard uncertainty; Q > 0: towards the cold end; -: not computed, or too much of it from beyond the energies "
          "of K.")
    for line in _notes(records):
        print(line)
    return 0 if records and all(record.status == "ok" for record in records) else 1


def heat_table(records: Sequence[Record], temperatures_K: Sequence[float]) -> str:
    """Q_el, Q*, its direction in words, and S beside the measured one; a line per record and temperature."""
    from ..seebeck import measured_at
    from ..tables import columns

    table = [["hop", "site", "T (K)", "Q_el(E=0) (eV)", "Q_el(J=0) (eV)", "Q_lattice (eV)", "Q* (eV)", "direction", "S (µV/K)",
              "S measured"]]
    for record in records:
        hop = f"{record.metal}({record.facet}) {record.hop}"
        if record.status == "failed" and not record.q_of_temperature:
            table.append([hop, record.site, "", f"failed: {record.reason}", *[""] * 6])
            continue
        low, high = record.q_lattice_low_eV, record.q_lattice_high_eV
        bounds = "-" if math.isnan(low) else f"{round(low, 2) + 0.0:+.2f} to {round(high, 2) + 0.0:+.2f}"
        for T in temperatures_K:
            values = values_at(record, T)
            if values is None:
                continue
            found = measured_at(record.metal, T)
            known = "-" if found is None else f"{found[0]:+.1f}{'' if found[1].verified else ' (not verified)'}"
            table.append([hop, record.site, f"{T:g}", *(_shown(*values[name], 3) for name in ("q_el", "q_open")), bounds,
                          _shown(*values["q_star"], 3), direction(values), _shown(*values["seebeck"], 1), known])
    return columns(table)


def values_at(record: Record, temperature_K: float) -> dict[str, tuple[float, float]] | None:
    """Value and sigma of q_el, q_open, q_star (eV) and seebeck (µV/K), linear in the table; None outside it."""
    import numpy as np

    table, details = record.q_of_temperature, record.provenance["heat"]
    known = table["temperature_K"]
    if not known[0] <= temperature_K <= known[-1]:
        return None
    blank = np.full(len(known), math.nan)

    def at(column: Any) -> float:
        values = blank if column is None else np.array([math.nan if x is None else x for x in column], dtype=float)
        return float(np.interp(temperature_K, known, values))

    found = {name: (at(table.get(f"{name}_{unit}")), at(table.get(f"{name}_sigma_{unit}")))
             for name, unit in (("q_el", "eV"), ("q_star", "eV"), ("seebeck", "uV_K"))}
    opened = at(details["q_el_open_circuit_eV"]), at(details["q_el_open_circuit_sigma_eV"])
    # withheld for the same reason as the part without field
    found["q_open"] = opened if math.isfinite(found["q_el"][0]) else (math.nan, math.nan)
    return found


def direction(values: dict[str, tuple[float, float]]) -> str:
    """Where the atom is driven, by Q* or without it by Q_el(J=0): in words, undecided within one standard uncertainty."""
    name = "q_star" if math.isfinite(values["q_star"][0]) else "q_open"
    value, sigma = values[name]
    if not math.isfinite(value):
        return "-"
    part = "" if name == "q_star" else " (electrons)"
    if not abs(value) > sigma:
        return f"undecided{part}"
    return f"towards the {'cold' if value > 0 else 'hot'} end{part}"


def _shown(value: float, sigma: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:+.{digits}f} ± {sigma:.{digits}f}"


def _notes(records: Sequence[Record]) -> list[str]:
    """Sources of the measured Seebeck coefficients, why there is no lattice part, and what was not served."""
    from ..seebeck import measured

    lines = []
    for metal in sorted({record.metal for record in records}):
        for entry in measured(metal):
            lines.append(f"S of {metal} measured: {entry.source}{'' if entry.verified else ' (not verified)'}")
    for record in records:
        word = str(record.provenance.get("q_lattice", ""))
        if word.startswith("not computed"):
            lines.append(f"{record.metal}({record.facet}) {record.hop}: lattice part {word}")
        if record.status != "ok" and record.q_of_temperature:
            lines.append(f"{record.metal}({record.facet}) {record.site}: {record.status}, not served: {record.reason}")
    return lines
