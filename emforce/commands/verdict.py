"""Subcommand verdict: computed direction against the observed one, term by term, with a probability."""

from __future__ import annotations

import argparse
import json
import sys

from .options import AddCommand, add_db, add_filter, add_temperature, open_database
from .wires import add_numbers, question, stored_hops

_EPILOG = """\
Observed: surface atoms of W and Mo go upwind, those of Cu and Au downwind. P: probability that the computed sign is the observed
one, the value taken as normal with its standard uncertainty; two numbers where Z_direct is an interval. One standard uncertainty
decides. The totals with the ion charge (nominal) and the Drude number (drude) are models, no results of emforce.
"""


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
    from ..models import verdict, verdict_text
    from ..query import available
    from ..tables import columns, documents_csv, markdown

    asked = question(options, temperatures_K=(300.0,), diameters_nm=(10.0, 3.0))
    with open_database(options) as database:
        stored = stored_hops(database, options.filter, drifts=True)
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
        table = verdict_text.cells(found)
        print("\n".join(markdown(table)) if options.format == "markdown" else columns(table))
    return 0
