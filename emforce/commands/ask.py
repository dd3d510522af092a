"""Subcommands that ask the database: query, plot, check."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .options import (
    FIGURES,
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

if TYPE_CHECKING:
    from ..database import Database
    from ..record import Host
    from ..stored import Document

PLOTS = ("hop", "wind", "host", "bars", "wire", "tau")


def register(add: AddCommand) -> None:
    """Add the subcommands of this file."""
    from ..keys import help_text

    query = add("query", _query, "Ask the database.", f"keys:\n{help_text()}")
    add_filter(query)
    add_temperature(query, "temperatures, K (default 300)")
    which = query.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_const", const="all", default="current", dest="which",
                       help="superseded and failed rows as well, marked")
    which.add_argument("--best", action="store_const", const="best", dest="which",
                       help="one row per hop: each group of values from the record that is best for it (docs/database.md)")
    query.add_argument("--literature", action="store_true", help="published values beside ours, with their source")
    add_direct_model(query)
    add_wire(query)
    query.add_argument("--sort", default="", metavar="EXPR",
                       help="rank by an expression, largest first, such as '|z_star|*D'; --sort=-z_wind: smallest first")
    query.add_argument("--format", choices=("table", "json", "csv", "yaml"), default="table")
    add_db(query)

    plot = add(
        "plot", _plot, "Draw K along the hop, Z_wind against 1/rho, the hosts against plane waves, the parts of Z* (bars), "
        "Z* against the diameter of a wire, and Z against the scattering rate (tau), as far as the rows hold them."
    )
    add_filter(plot)
    plot.add_argument("--kind", action="append", choices=PLOTS, help="figure, repeatable (default: all there is data for)")
    add_temperature(plot, "temperatures of the points, K (default 300 400 600 800)")
    plot.add_argument(
        "--format", action="append", choices=("pdf", "svg", "png"), help="repeatable (default all)"
    )
    plot.add_argument("--out", type=Path, default=Path(FIGURES), help="folder (default %(default)s)")
    add_db(plot)

    add_db(add("check", _check, "Check every stored row again; exit code 1 if one fails."))


def _query(options: argparse.Namespace) -> int:
    from .. import query

    kelvins = temperatures(options)
    # everything that can be wrong without a database, before the database, which may not be there
    query.parse(options.filter)
    question = query.Question(
        temperatures_K=kelvins, which=options.which, literature=options.literature, direct_model=options.direct_model,
        wire=wire(options), sort=options.sort, details=options.format != "table",
    )  # fmt: skip
    if options.sort:
        query.parse_expression(options.sort)
    with open_database(options) as database:
        answer = query.select(database, options.filter, question)
        for note in answer.notes:
            print(f"emforce: {note}", file=sys.stderr)
        if not answer.rows:
            print(f"emforce: no record meets this; {query.available(database)}", file=sys.stderr)
            if options.format in ("json", "yaml"):
                print("[]")
            return 1 if options.format == "table" else 0
    print(query.WRITERS[options.format](answer.rows))
    return 0


def _plot(options: argparse.Namespace) -> int:
    from .. import plot, query, valence_plot

    kelvins = temperatures(options) or query.TABLE_TEMPERATURES_K
    conditions = query.parse(options.filter)
    if any(not condition.key.stored for condition in conditions):
        raise InputError(
            "filter", " ".join(options.filter), "stored keys only, such as metal, facet, hop, preset"
        )
    kinds = options.kind or PLOTS
    figures = []
    with open_database(options) as database:
        # records of the direct part or the kinetics alone have no K to draw
        rows = [row for row in database.rows(conditions) if row["k_wind_uohm_cm"] is not None]
        if not rows:
            print(f"emforce: no record meets this; {query.available(database)}", file=sys.stderr)
            return 1
        if "hop" in kinds:
            figures.append((plot.hop_figure(rows), "k-along-hop"))
        if "wind" in kinds:
            figures.append((plot.wind_figure(rows, kelvins), "z-wind"))
        if "host" in kinds:
            for host in _hosts(database, rows):
                stem = re.sub(r"[^\w.-]+", "_", f"host-{host.metal}-{host.facet}-{host.basis}-{host.preset}")
                figures.append((plot.host_figure(host), stem))
        valence = [kind for kind in kinds if kind in valence_plot.KINDS] if options.kind else None
        if valence != []:
            hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
            figures += valence_plot.figures(rows, hosts, valence, kelvins[0])
    for figure, stem in figures:
        for path in plot.save(figure, options.out / stem, options.format or plot.FORMATS):
            print(path)
    return 0


def _hosts(database: Database, rows: Sequence[Document]) -> list[Host]:
    """The hosts with bands of the metals in the rows."""
    metals = {row["metal"] for row in rows}
    hosts = [host for host in database.hosts() if host.metal in metals and host.bands_lcao_eV.size]
    if not hosts:
        print("emforce: no host with bands is stored; no host check is drawn", file=sys.stderr)
    return hosts


def _check(options: argparse.Namespace) -> int:
    from ..audit import audit, report

    with open_database(options) as database:
        findings = audit(database)
    if not findings:
        print("emforce: no rows to check", file=sys.stderr)
        return 1
    print(report(findings))
    return 1 if any(finding.counts and not finding.passed for finding in findings) else 0
