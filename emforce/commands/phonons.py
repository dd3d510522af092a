"""Subcommand phonons."""

from __future__ import annotations

import argparse

from ..errors import InputError
from .options import PRESETS, AddCommand, add_cluster, add_db, add_store, overrides


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    parser = add("phonons", _phonons, "Compute the phonons of bulk metals and store them with their hosts.")
    parser.add_argument("metal", nargs="+", metavar="METAL", help="chemical symbol, such as Cu")
    parser.add_argument("--preset", choices=PRESETS, default="quick", help="settings (default %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="override a field of the preset; repeatable")
    add_cluster(parser)
    add_store(parser)
    add_db(parser)


def _phonons(options: argparse.Namespace) -> int:
    from .. import phonons
    from ..database import resolve

    changes = overrides(options.set)
    resolve(options.db)
    if options.workers is not None and options.workers < 1:
        raise InputError("--workers", options.workers, "1 or more")
    hosts = phonons.compute(options.metal, preset=options.preset, overrides=changes, workers=options.workers,
                            database=options.db, store=options.store, cluster=options.cluster)
    print(phonons.report(hosts))
    print("Theta_D: low-temperature limit from the sound velocities; ± numerical uncertainty, without that of the functional.")
    return 0 if all(host.phonon_status == "ok" for host in hosts) else 1
