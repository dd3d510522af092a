"""Subcommand phonons."""

from __future__ import annotations

import argparse

from .options import AddCommand, add_cluster, add_db, add_settings, add_store, checked_workers, overrides


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    parser = add("phonons", _phonons, "Compute the phonons of bulk metals and store them with their hosts.")
    parser.add_argument("metal", nargs="+", metavar="METAL", help="chemical symbol, such as Cu")
    add_settings(parser)
    add_cluster(parser)
    add_store(parser)
    add_db(parser)


def _phonons(options: argparse.Namespace) -> int:
    from .. import phonons
    from ..database import resolve

    changes = overrides(options.set)
    resolve(options.db)
    workers = checked_workers(options)
    hosts = phonons.compute(options.metal, preset=options.preset, overrides=changes, workers=workers,
                            database=options.db, store=options.store, cluster=options.cluster)
    print(phonons.report(hosts))
    print("Theta_D: low-temperature limit from the sound velocities; ± numerical uncertainty, without that of the functional.")
    return 0 if all(host.phonon_status == "ok" for host in hosts) else 1
