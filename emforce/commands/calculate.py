"""Subcommands that compute: build, relax, run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

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


def register(add: AddCommand) -> None:
    """Add the subcommands of this file."""
    build = add("build", _build, "Make the structures of a specification, to be looked at before a run.")
    add_specs(build)
    build.add_argument("--out", type=Path, default=Path("structures/built"), help="folder (default %(default)s)")

    relax = add("relax", _relax, "Relax host and images; `run` takes them from structures/relaxed.")
    add_specs(relax)
    add_cluster(relax)
    add_store(relax)
    relax.add_argument("--keep", action="store_true",
                       help="host and images that the folder has already stay as they are; only those that it lacks are relaxed")

    run = add("run", _run, "Compute the wind force for each specification and store it.")
    add_specs(run)
    add_cluster(run)
    add_store(run)
    add_temperature(run, "temperatures of the table, K (default 300 400 600 800)")
    add_db(run)


def _build(options: argparse.Namespace) -> int:
    from .. import workflow
    from ..relaxed import write_built
    from ..structure import describe

    changes = overrides(options.set)
    # all are built before the first is written: bad input leaves nothing behind
    hops = workflow.load_hops(options.spec, preset=options.preset, overrides=changes)
    for hop in hops:
        print(describe(hop))
        folder = options.out / hop.spec.name
        write_built(hop, folder)
        print(f"written to {folder}\n")
    return 0


def _run(options: argparse.Namespace) -> int:
    from .. import workflow
    from ..database import resolve
    from ..query import TABLE_TEMPERATURES_K, result_table

    kelvins = temperatures(options)
    changes = overrides(options.set)
    resolve(options.db)
    workers = checked_workers(options)
    _check_run(options.spec, kelvins)
    records = workflow.run(
        options.spec,
        preset=options.preset,
        overrides=changes,
        workers=workers,
        database=options.db,
        store=options.store,
        cluster=options.cluster,
    )
    rows = [record.document() for record in records]
    print(result_table(rows, kelvins or TABLE_TEMPERATURES_K))
    print("Z* = Z_direct + K_wind/rho; ± one standard uncertainty; upwind: along the field, against the electrons.")
    return 0 if rows and all(row["status"] == "ok" for row in rows) else 1


def _relax(options: argparse.Namespace) -> int:
    from ..relaxation import relax_hops

    workers = checked_workers(options)
    _check_run(options.spec, ())
    for folder in relax_hops(options.spec, preset=options.preset, overrides=overrides(options.set),
                             workers=workers, store=options.store, cluster=options.cluster, keep=options.keep):
        print(folder)
    return 0


def _check_run(specs: Sequence[Path], temperatures_K: Sequence[float]) -> None:
    """Everything that can be known to be wrong before the first step is taken."""
    from ..query import bulk_resistivity
    from ..structure import load_spec

    for path in specs:
        spec = load_spec(path)
        for T in temperatures_K:
            bulk_resistivity(spec.metal, T)
