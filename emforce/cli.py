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
from typing import NoReturn

from .commands import (
    ask,
    calculate,
    campaign,
    export,
    heat,
    keep,
    kinetics,
    model,
    phonons,
    serve,
    verdict,
    wires,
)
from .errors import EmforceError, InputError


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    # one thread per process, set before numpy is imported: two threads that share a core with another process are
    # many times slower than one
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _fail(str(error), 2)
    except EmforceError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; finished steps are kept, the same command goes on from there", 130)
    except BrokenPipeError:
        # the reader of our output (head, less) left; nothing more to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int) -> int:
    print(f"emforce: {' '.join(message.split())}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="emforce", description="Electromigration forces from first principles.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str, epilog: str = "") -> _Parser:
        new: _Parser = commands.add_parser(name, help=summary, description=summary, epilog=epilog,
                                           formatter_class=argparse.RawDescriptionHelpFormatter)
        new.set_defaults(command=command)
        return new

    for part in (calculate, kinetics, heat, phonons, campaign, ask, export, keep, wires, verdict, model, serve):
        part.register(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
