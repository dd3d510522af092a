"""The command `emforce`; its subcommands are in emforce/commands.

Nothing is computed here. Heavy packages are imported inside the subcommands, so that `emforce --help` is
quick. Bad input is one line that names field, value and what is allowed, and exit code 2; anything else that
emforce reports is one line and exit code 1 (3 for a campaign that was cancelled); Ctrl-C is one line and exit code 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .commands import (
    ask,
    calculate,
    campaign,
    compare,
    export,
    heat,
    keep,
    kinetics,
    model,
    phonons,
    serve,
    spin_orbit,
    verdict,
    wires,
)
from .commands.options import Parser, ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    # one thread per process, set before numpy is imported: two threads that share a core with another process are
    # many times slower than one
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    options = _parser().parse_args(arguments)
    return ended(lambda: int(options.command(options)), "emforce")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="emforce", description="Electromigration forces from first principles.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str, epilog: str = "") -> Parser:
        new: Parser = commands.add_parser(name, help=summary, description=summary, epilog=epilog,
                                           formatter_class=argparse.RawDescriptionHelpFormatter)
        new.set_defaults(command=command)
        return new

    for part in (calculate, kinetics, heat, phonons, spin_orbit, campaign, ask, export, keep, wires, verdict, compare, model,
                 serve):
        part.register(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
