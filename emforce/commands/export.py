"""Subcommand export: parameters as files that other programs read."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from ..errors import StoreError
from .options import (
    AddCommand,
    add_db,
    add_direct_model,
    add_filter,
    add_temperature,
    add_wire,
    open_database,
    temperatures,
    wire,
)

#: as in `emforce.export.formats`, which the help must not import
FORMATS = ("json", "yaml", "csv", "emspice", "migrationfem", "moose", "festim", "lammps", "kmc", "onsager")
_EPILOG = """\
json, yaml, csv hold all keys of the rows. The others take one temperature and the best record of each hop (or the site that a
condition names), and refuse in one line that says which numbers are missing. What the database does not hold is stated with
its source:
  --set d0_m2_s=7.5e-8 --source 'EMspice'  or  --set 'd0_m2_s=7.5e-8 # EMspice'      (W.d0_m2_s=...: for that metal only)
Every file carries units, sign convention, uncertainty, provenance and its own query. docs/exports.md has an example of each.
"""


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    export = add("export", _export, "Write parameters as a file that another program reads.", _EPILOG)
    add_filter(export)
    add_temperature(export, "temperature, K (json, yaml, csv: temperatures, default 300)")
    export.add_argument("--to", choices=FORMATS, default="json", metavar="FORMAT",
                        help=f"{', '.join(FORMATS)} (default %(default)s)")
    export.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: print)")
    export.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="stated",
                        help="a number that the rows do not hold, VALUE or VALUE±SIGMA, with its source after #; repeatable")
    export.add_argument("--source", default="", metavar="TEXT", help="source of the numbers of --set that name none")
    export.add_argument("--best", action="store_const", const="best", default="current", dest="which",
                        help="json, yaml, csv: one row per hop, joined (docs/database.md)")
    export.add_argument("--literature", action="store_true", help="published values beside ours, with their source")
    export.add_argument("--current-MA-cm2", type=float, metavar="J", dest="current",
                        help="kmc: current density along the first hop, for rates under a field")
    add_direct_model(export)
    add_wire(export)
    add_db(export)


def _export(options: argparse.Namespace) -> int:
    from ..export.formats import check, export
    from ..export.request import Request, parse_stated
    from ..query import Question

    kelvins = temperatures(options)
    question = Question(temperatures_K=kelvins, which=options.which, literature=options.literature,
                        direct_model=options.direct_model, wire=wire(options))
    stated = parse_stated(options.stated, options.source)
    request = Request(tuple(options.filter), question, stated, options.current)
    # everything that can be wrong without a database, before the database
    check(request, options.to)
    with open_database(options) as database:
        text = export(database, request, options.to)
    if options.out is None:
        print(text)
    else:
        _write(options.out, text + "\n")
        print(options.out, file=sys.stderr)
    return 0


def _write(path: Path, text: str) -> None:
    """The whole file or none: it takes its name when it is complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from None
