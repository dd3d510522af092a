"""Subcommand spinorbit."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .options import AddCommand, add_cluster, add_db, add_settings, add_store, checked_workers, overrides

FORMATS = ("pdf", "svg", "png")


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    parser = add("spinorbit", _spin_orbit,
                 "Compute what spin-orbit coupling changes in bulk metals and estimate what it would do to the wind force.")
    parser.add_argument("metal", nargs="+", metavar="METAL", help="chemical symbol, such as Au")
    add_settings(parser)
    add_cluster(parser)
    add_store(parser)
    add_db(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default %(default)s")
    parser.add_argument("--figure", type=Path, metavar="PATH", help="draw the bands near E_F with and without it (pdf, svg, png)")


def _spin_orbit(options: argparse.Namespace) -> int:
    from .. import spin_orbit
    from ..database import resolve

    changes = overrides(options.set)
    resolve(options.db)
    workers = checked_workers(options)
    figure: Path | None = options.figure
    if figure is not None and figure.suffix.lstrip(".") not in FORMATS:
        raise InputError("--figure", str(figure), f"a file that ends in {', '.join('.' + name for name in FORMATS)}")
    found = spin_orbit.compute(options.metal, preset=options.preset, overrides=changes, workers=workers,
                               database=options.db, store=options.store, cluster=options.cluster)
    if options.format == "json":
        import json

        print(json.dumps(spin_orbit.documents(found), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(spin_orbit.report(found))
    if figure is not None:
        from ..spin_orbit_plot import save_figure

        save_figure(found, figure)
    return 0
