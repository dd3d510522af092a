"""Subcommands that ask the database: query, plot, check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .options import (
    DIRECT_MODELS,
    FIGURES,
    AddCommand,
    add_db,
    add_direct_model,
    add_filter,
    add_temperature,
    add_wire,
    open_database,
    stored_conditions,
    temperatures,
    wire,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..database import Database
    from ..record import Host
    from ..stored import Document

#: kinds of figure (docs/plots.md); those of `emforce.plot`, `emforce.valence_plot` and `emforce.screening_plot`
PLOTS = ("headline", "hop", "wind", "host", "bars", "wire", "tau", "force", "merit", "heat", "heat-terms", "parity", "sigma",
         "uncertainty", "phonons", "path", "diffusion")
_KINDS = """\
kinds:
  headline Z_direct, Z_wind and Z* of the metals whose drift was observed, in bulk and in a thin wire
  hop      K along the hop
  wind     Z_wind = K/rho against 1/rho
  host     bands of the hosts against plane waves
  bars     Z_direct, Z_wind and Z* under each direct part, published values beside them
  wire     Z* against the diameter of a wire
  tau      response against the scattering rate, and its two parts
  force    |F|/j = e|Z*|rho per hop, ranked: force per current density
  merit    |Z*| D rho per hop, ranked: drift per current density; needs a diffusion coefficient
  heat     heat of transport Q*(T)
  heat-terms  its terms with uncertainties and published values, and the Seebeck coefficient of the host
  parity   computed against published
  sigma    parts of the uncertainty per hop
  uncertainty  a figure per metal: parts of the uncertainty of each quantity, and K at other energies and settings
  phonons  phonon bands of the bulk hosts
  path     energy and wind force along each hop
  diffusion D(T) of the hops against published ones
"""


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
    which.add_argument("--drift", action="store_const", const="drift", dest="which",
                       help="the same for the drift along each direction of a surface on which it differs: bcc(110)")
    query.add_argument("--literature", action="store_true", help="published values beside ours, with their source")
    add_direct_model(query)
    add_wire(query)
    query.add_argument("--sort", default="", metavar="EXPR",
                       help="rank by an expression, largest first, such as '|z_star|*D'; --sort=-z_wind: smallest first")
    query.add_argument("--format", choices=("table", "json", "csv", "yaml"), default="table")
    add_db(query)

    plot = add(
        "plot", _plot, "Draw figures of what is stored (PDF, SVG, PNG): each kind there is data for, or those asked for.",
        _KINDS,
    )
    add_filter(plot)
    plot.add_argument("--kind", action="append", choices=PLOTS, metavar="KIND",
                      help=f"figure, repeatable: {', '.join(PLOTS)} (default: all there is data for)")
    add_temperature(plot, "temperatures, K: the points of wind (default 300 400 600 800); the others take the first")
    plot.add_argument("--direct-model", action="append", choices=DIRECT_MODELS,
                      help="direct part of Z* in force and merit, repeatable (default: each that has a number)")
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
    from .. import plot, query

    kelvins = temperatures(options) or query.TABLE_TEMPERATURES_K
    conditions = stored_conditions(options)
    figures, missing = [], []
    with open_database(options) as database:
        rows = database.rows(conditions)
        if not rows:
            print(f"emforce: no record meets this; {query.available(database)}", file=sys.stderr)
            return 1
        drawing = _Drawing(rows, _published(database, rows), {int(row["id"]): row for row in database.host_rows(everything=True)},
                           database, kelvins, tuple(options.direct_model or DIRECT_MODELS))  # fmt: skip
        for kind in dict.fromkeys(options.kind or PLOTS):
            try:
                figures += drawing.figures(kind)
            except plot.NothingToDraw as error:
                missing.append(str(error))
    if options.kind or not figures:
        for line in missing:
            print(f"emforce: {line}", file=sys.stderr)
    for figure, stem in figures:
        for path in plot.save(figure, options.out / stem, options.format or plot.FORMATS):
            print(path)
    return 1 if (options.kind and missing) or not figures else 0


@dataclass(frozen=True)
class _Drawing:
    """What the figures are made from: stored rows, those of the literature, hosts, temperatures, direct parts."""

    rows: Sequence[Document]
    published: Sequence[Document]
    hosts: Mapping[int, Document]
    database: Database
    kelvins: Sequence[float]
    models: Sequence[str]

    def figures(self, kind: str) -> list[tuple[Figure, str]]:
        """The figures of a kind with names for their files.

        Raises
        ------
        NothingToDraw : the rows hold nothing for it
        """
        from .. import (
            heat_plot,
            kinetics_plot,
            phonon_plot,
            plot,
            screening_plot,
            uncertainty_plot,
            valence_plot,
        )

        if kind in valence_plot.KINDS:
            return valence_plot.figures(self.rows, self.hosts, [kind], self.kelvins[0], self.published)
        if kind in screening_plot.KINDS:
            at = self.kelvins[0], self.models
            return [screening_plot.figure_of(kind, self.rows, self.published, self.hosts, at)]
        if kind == "headline":
            from ..best import best_drifts, best_rows
            from ..models import verdict_plot

            shown = best_rows(self.rows) + best_drifts(self.rows)
            return [(verdict_plot.headline_figure(shown, self.hosts, self.kelvins[0]), verdict_plot.STEM)]
        if kind in heat_plot.KINDS:
            return [(heat_plot.terms_figure(self.rows), heat_plot.KINDS[kind])]
        if kind in uncertainty_plot.KINDS:
            return uncertainty_plot.uncertainty_figures(self.rows, self.kelvins[0])
        if kind == "path":
            return kinetics_plot.path_figures(self.rows)
        if kind == "diffusion":
            return [(kinetics_plot.diffusion_figure(self.rows, self.published), kinetics_plot.KINDS[kind])]
        if kind == "phonons":
            found = self._hosts("phonon_bands_THz", "no host with phonons is stored; `emforce phonons` computes them")
            return [(phonon_plot.phonon_figure(host), plot.host_stem(phonon_plot.KINDS[kind], host)) for host in found]
        if kind == "hop":
            return [(plot.hop_figure(self.rows), "k-along-hop")]
        if kind == "wind":
            return [(plot.wind_figure(self.rows, self.kelvins), "z-wind")]
        found = plot.different_bands(self._hosts("bands_lcao_eV", "no host with bands is stored; no host check is drawn"))
        return [(plot.host_figure(host), plot.host_stem("host", host)) for host in found]

    def _hosts(self, bands: str, missing: str) -> list[Host]:
        """The hosts with the bands of a field, of the metals in the rows; `NothingToDraw` with `missing` if there is none."""
        from ..plot import NothingToDraw

        metals = {row["metal"] for row in self.rows}
        hosts = [host for host in self.database.hosts() if host.metal in metals and getattr(host, bands).size]
        if not hosts:
            raise NothingToDraw(missing)
        return hosts


def _published(database: Database, rows: Sequence[Document]) -> list[Document]:
    """Rows of the literature, seen at their source, of the metals in the rows."""
    metals = {row["metal"] for row in rows}
    return [row for row in database.rows(standing=("literature",)) if row["metal"] in metals]


def _check(options: argparse.Namespace) -> int:
    from ..audit import audit, report

    with open_database(options) as database:
        findings = audit(database)
    if not findings:
        print("emforce: no rows to check", file=sys.stderr)
        return 1
    print(report(findings))
    return 1 if any(finding.counts and not finding.passed for finding in findings) else 0
