"""Subcommand compare: computed values beside every published one of the same thing."""

from __future__ import annotations

import argparse
import sys

from .options import (
    AddCommand,
    add_db,
    add_filter,
    add_temperature,
    open_database,
    stored_conditions,
    temperatures,
)

#: as in `emforce.comparison`, which the help must not import
QUANTITIES = ("z_star", "z_wind", "k_wind", "barrier", "formation", "ea", "d0", "d", "q_star", "dos", "omega_p", "rho_lambda",
              "debye")
_EPILOG = """\
quantities:
  z_star z_wind k_wind      Z*, Z_wind, K_wind of a hop
  barrier formation         barrier E_m and formation energy E_f of a hop
  ea d0 d                   D0 exp(-E_a/k_B T): activation energy, prefactor, D at a temperature where the published one holds
  q_star                    heat of transport
  dos omega_p               of a host: density of states, plasma energy against plane waves; the first also from the heat capacity
  rho_lambda debye          of a host: resistivity times mean free path, Debye temperature

In σ: difference over the combined standard uncertainty (D0 and D: of their logarithm); where only one of the two is stated, over
that, and it is said which. Values that were not seen at their source stand in a column of their own; no verdict rests on them.
"""


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    compare = add("compare", _compare, "Computed values beside every published one of the same thing.", _EPILOG)
    add_filter(compare)
    compare.add_argument("--quantity", action="append", choices=QUANTITIES, metavar="QUANTITY",
                         help=f"repeatable: {', '.join(QUANTITIES)} (default: all)")
    add_temperature(compare, "temperature, K, where the published value holds there (default 300); the first is taken")
    compare.add_argument("--format", choices=("table", "markdown", "csv", "json"), default="table")
    add_db(compare)


def _compare(options: argparse.Namespace) -> int:
    from .. import comparison
    from ..comparison_text import WRITERS
    from ..query import available

    kelvins = temperatures(options)
    stored_conditions(options)  # everything that can be wrong without a database, before it is opened
    with open_database(options) as database:
        found, notes = comparison.compare(database, options.filter, kelvins[0] if kelvins else 300.0, options.quantity or ())
        for note in notes:
            print(f"emforce: {note}", file=sys.stderr)
        if not found:
            print(f"emforce: nothing to compare; {available(database)}", file=sys.stderr)
            return 1
    print(WRITERS[options.format](found))
    return 0
