"""Subcommand verdict: computed direction against the observed one, term by term, with a probability."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import AddCommand, add_db, add_filter, add_temperature, open_database
from .wires import add_numbers, question, stored_hops

if TYPE_CHECKING:
    from ..models.verdict import Finding

_EPILOG = """\
Observed: surface atoms of W and Mo go upwind, those of Cu and Au downwind. P: probability that the computed sign is the observed
one, the value taken as normal with its standard uncertainty; two numbers where Z_direct is an interval. One standard uncertainty
decides. The totals with the ion charge (nominal) and the Drude number (drude) are models, no results of emforce.
"""
_TERMS = {("wind", ""): "Z_wind", ("direct", "dft"): "Z_direct", ("total", "dft"): "Z*",
          ("total", "nominal"): "Z* (model: ion charge)", ("total", "drude"): "Z* (model: Drude)"}


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    verdict = add("verdict", _verdict, "Computed direction against the observed one, term by term, with a probability.", _EPILOG)
    add_filter(verdict)
    add_temperature(verdict, "temperatures, K (default 300)")
    add_numbers(verdict, "--diameter-nm", "diameters, nm (default 10 3); the bulk is always added")
    add_numbers(verdict, "--specularity", "share of specular reflection at the surface, 0 to 1 (default 0); one value")
    add_numbers(verdict, "--reflection", "reflection coefficient of grain boundaries, 0 to below 1 (default 0.3); one value")
    verdict.set_defaults(direct_model=None)  # all are shown
    verdict.add_argument("--grain-size-nm", type=float, metavar="L",
                         help="distance of grain boundaries along the wire (default: the diameter)")
    verdict.add_argument("--format", choices=("table", "markdown", "json", "csv"), default="table")
    add_db(verdict)


def _verdict(options: argparse.Namespace) -> int:
    from ..models import verdict
    from ..query import available
    from ..tables import documents_csv

    asked = question(options, temperatures_K=(300.0,), diameters_nm=(10.0, 3.0))
    with open_database(options) as database:
        stored = stored_hops(database, options.filter)
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
        found, notes = verdict.findings(stored, hosts, asked)
        for note in notes:
            print(f"emforce: {note}", file=sys.stderr)
        if not found:
            print(f"emforce: no surface hop of a metal with an observed drift; {available(database)}", file=sys.stderr)
            return 1
    if options.format == "json":
        print(json.dumps([f.document() for f in found], indent=2, ensure_ascii=False, allow_nan=False))
    elif options.format == "csv":
        print(documents_csv([f.document() for f in found]))
    else:
        print(_as_table(found, options.format == "markdown"))
    return 0


def _as_table(found: Sequence[Finding], markdown: bool) -> str:
    from ..tables import columns, plus_minus

    heads = ["hop", "observed", "T (K)", "d (nm)", "term", "value", "P(as observed)", "verdict", "largest uncertainty",
             "sign turns at E_F + (eV)"]
    table = [heads]
    for f in found:
        value = f"{f.low:.3g} to {f.high:.3g}" if f.value is None or f.sigma is None else plus_minus(f.value, f.sigma)
        chance = _chance(f.probability_low)
        if f.probability_low != f.probability_high:
            chance = f"{chance} to {_chance(f.probability_high)}"
        diameter = "any" if f.term == "direct" else "bulk" if f.diameter_nm is None else f"{f.diameter_nm:g}"
        table.append([f"{f.metal}({f.facet}) {f.hop}", f.observed, f"{f.temperature_K:g}", diameter,
                      _TERMS[f.term, f.direct_model], value, chance, f.verdict, f.largest_part, _turning(f)])
    if not markdown:
        return columns(table)
    lines = ["| " + " | ".join(line) + " |" for line in table]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])


def _turning(f: Finding) -> str:
    if f.turns_at_eV is not None:
        return f"{f.turns_at_eV:+.2f}"
    return "" if f.reach_eV is None else f"not within {f.reach_eV:g}"


def _chance(probability: float) -> str:
    return "<0.001" if probability < 0.0005 else ">0.999" if probability > 0.9995 else f"{probability:.3f}"
