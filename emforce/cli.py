"""The command `emforce`: build, relax, run, status, query, plot, check.

Nothing is computed here. Heavy packages are imported inside the subcommands, so that `emforce --help` is
quick. Bad input is one line that names field, value and what is allowed, and exit code 2; anything else that
emforce reports is one line and exit code 1; Ctrl-C is one line and exit code 130.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import EmforceError, InputError

if TYPE_CHECKING:
    from .database import Database
    from .record import Host
    from .stored import Document

PRESETS = ("quick", "standard", "production")
STORE = "results/store"
FIGURES = "results/figures"
PLOTS = ("hop", "wind", "host")


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
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted; finished steps are kept, the same command goes on from there", 130)
    except BrokenPipeError:
        # the reader of our output (head, less) left; nothing more to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int) -> int:
    print(f"emforce: {' '.join(message.split())}", file=sys.stderr)
    return code


# subcommands


def _build(options: argparse.Namespace) -> int:
    from . import workflow
    from .relaxed import write_built
    from .structure import describe

    overrides = _overrides(options.set)
    # all are built before the first is written: bad input leaves nothing behind
    hops = workflow.load_hops(options.spec, preset=options.preset, overrides=overrides)
    for hop in hops:
        print(describe(hop))
        folder = options.out / hop.spec.name
        write_built(hop, folder)
        print(f"written to {folder}\n")
    return 0


def _run(options: argparse.Namespace) -> int:
    from . import workflow
    from .database import resolve
    from .query import TABLE_TEMPERATURES_K, result_table

    temperatures = _temperatures(options)
    overrides = _overrides(options.set)
    resolve(options.db)
    _check_run(options.spec, temperatures, options.workers)
    records = workflow.run(
        options.spec,
        preset=options.preset,
        overrides=overrides,
        workers=options.workers,
        database=options.db,
        store=options.store,
    )
    rows = [record.document() for record in records]
    print(result_table(rows, temperatures or TABLE_TEMPERATURES_K))
    print("K_wind = rho Z_wind; ± one standard uncertainty; upwind: along the field, against the electrons.")
    return 0 if rows and all(row["status"] == "ok" for row in rows) else 1


def _relax(options: argparse.Namespace) -> int:
    from .relaxation import relax_hops

    _check_run(options.spec, (), options.workers)
    for folder in relax_hops(options.spec, preset=options.preset, overrides=_overrides(options.set),
                             workers=options.workers, store=options.store):
        print(folder)
    return 0


def _check_run(specs: Sequence[Path], temperatures_K: Sequence[float], workers: int) -> None:
    """Everything that can be known to be wrong before the first step is taken."""
    from .query import bulk_resistivity
    from .structure import load_spec

    if workers < 1:
        raise InputError("--workers", workers, "1 or more")
    for path in specs:
        spec = load_spec(path)
        for T in temperatures_K:
            bulk_resistivity(spec.metal, T)


def _status(options: argparse.Namespace) -> int:
    from . import workflow
    from .database import Database
    from .errors import StoreError

    for line in workflow.status(options.store):
        print(line)
    try:
        with Database(options.db) as database:
            counts = database.counts()
            print(f"{database.name}: {sum(counts.values())} records", end="")
            print(
                f" ({', '.join(f'{n} {status}' for status, n in sorted(counts.items()))})" if counts else ""
            )
    except StoreError as error:
        print(error)
    return 0


def _query(options: argparse.Namespace) -> int:
    from . import query

    temperatures = _temperatures(options)
    query.parse(options.filter)  # before the database, which may not be there
    with _open(options) as database:
        answer = query.select(database, options.filter, temperatures_K=temperatures, everything=options.all)
        for note in answer.notes:
            print(f"emforce: {note}", file=sys.stderr)
        if not answer.rows:
            print(f"emforce: no record meets this; {query.available(database)}", file=sys.stderr)
            if options.format == "json":
                print("[]")
            return 1 if options.format == "table" else 0
    writers = {"table": query.as_table, "json": query.as_json, "csv": query.as_csv}
    print(writers[options.format](answer.rows))
    return 0


def _plot(options: argparse.Namespace) -> int:
    from . import plot, query

    temperatures = _temperatures(options) or query.TABLE_TEMPERATURES_K
    conditions = query.parse(options.filter)
    if any(not condition.key.stored for condition in conditions):
        raise InputError(
            "filter", " ".join(options.filter), "stored keys only, such as metal, facet, hop, preset"
        )
    kinds = options.kind or PLOTS
    figures = []
    with _open(options) as database:
        rows = database.rows(conditions)
        if not rows:
            print(f"emforce: no record meets this; {query.available(database)}", file=sys.stderr)
            return 1
        if "hop" in kinds:
            figures.append((plot.hop_figure(rows), "k-along-hop"))
        if "wind" in kinds:
            figures.append((plot.wind_figure(rows, temperatures), "z-wind"))
        if "host" in kinds:
            for host in _hosts(database, rows):
                stem = re.sub(r"[^\w.-]+", "_", f"host-{host.metal}-{host.facet}-{host.basis}-{host.preset}")
                figures.append((plot.host_figure(host), stem))
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
    from .audit import audit, report

    with _open(options) as database:
        findings = audit(database)
    if not findings:
        print("emforce: no rows to check", file=sys.stderr)
        return 1
    print(report(findings))
    return 1 if any(finding.counts and not finding.passed for finding in findings) else 0


def _open(options: argparse.Namespace) -> Database:
    from .database import Database

    return Database(options.db)


def _temperatures(options: argparse.Namespace) -> tuple[float, ...]:
    """The temperatures given; conditions that argparse took for temperatures become part of the filter."""
    from .query import check_temperature

    words = options.temperature or []
    conditions = [word for word in words if re.search("[=<>]", word)]
    if conditions:
        options.filter = [*options.filter, *conditions]
    found = []
    for word in words:
        if word not in conditions:
            try:
                found.append(check_temperature(float(word)))
            except ValueError:
                raise InputError("temperature", word, "a number of kelvin") from None
    return tuple(found)


def _overrides(pairs: Sequence[str]) -> dict[str, object]:
    """key=value pairs; the value is read as TOML, and as text where that fails."""
    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise InputError("--set", pair, "key=value with a key of the preset file")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found


# the parser


def _parser() -> argparse.ArgumentParser:
    from .keys import help_text

    parser = _Parser(prog="emforce", description="Electromigration forces from first principles.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], int], summary: str, epilog: str = ""
    ) -> _Parser:
        new: _Parser = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        new.set_defaults(command=command)
        return new

    build = add("build", _build, "Make the structures of a specification, to be looked at before a run.")
    _add_specs(build)
    build.add_argument(
        "--out", type=Path, default=Path("structures/built"), help="folder (default %(default)s)"
    )

    relax = add("relax", _relax, "Relax host and images; `run` takes them from structures/relaxed.")
    _add_specs(relax)
    _add_workers(relax)
    relax.add_argument("--store", type=Path, default=Path(STORE), help="finished steps (default %(default)s)")

    run = add("run", _run, "Compute the wind force for each specification and store it.")
    _add_specs(run)
    _add_workers(run)
    run.add_argument("--store", type=Path, default=Path(STORE), help="finished steps (default %(default)s)")
    _add_temperature(run, "temperatures of the table, K (default 300 400 600 800)")
    _add_db(run)

    status = add("status", _status, "What is finished, what is not.")
    status.add_argument(
        "--store", type=Path, default=Path(STORE), help="finished steps (default %(default)s)"
    )
    _add_db(status)

    query = add("query", _query, "Ask the database.", f"keys:\n{help_text()}")
    _add_filter(query)
    _add_temperature(query, "temperatures, K (default 300)")
    query.add_argument("--format", choices=("table", "json", "csv"), default="table")
    query.add_argument("--all", action="store_true", help="superseded and failed rows as well, marked")
    _add_db(query)

    plot = add(
        "plot", _plot, "Draw K along the hop, Z_wind against 1/rho, and the hosts against plane waves."
    )
    _add_filter(plot)
    plot.add_argument("--kind", action="append", choices=PLOTS, help="figure, repeatable (default all)")
    _add_temperature(plot, "temperatures of the points, K (default 300 400 600 800)")
    plot.add_argument(
        "--format", action="append", choices=("pdf", "svg", "png"), help="repeatable (default all)"
    )
    plot.add_argument("--out", type=Path, default=Path(FIGURES), help="folder (default %(default)s)")
    _add_db(plot)

    _add_db(add("check", _check, "Check every stored row again; exit code 1 if one fails."))
    return parser


def _add_specs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", nargs="+", type=Path, metavar="SPEC", help="specification, structures/*.toml")
    parser.add_argument("--preset", choices=PRESETS, default="quick", help="settings (default %(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a field of the preset; repeatable",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, help="steps at the same time (default: cores, %(default)s)")


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "filter",
        nargs="*",
        metavar="FILTER",
        help="conditions that all hold, such as metal=W facet=110 site=saddle 'z_wind<-6' metal=Cu,W",
    )


def _add_temperature(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-T", "--temperature", nargs="+", action="extend", metavar="K", help=text)


def _add_db(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--db",
        metavar="URL",
        help="path or URL of the database (default $EMFORCE_DB, then results/emforce.db)",
    )


if __name__ == "__main__":
    sys.exit(main())
