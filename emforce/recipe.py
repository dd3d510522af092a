"""What the recipes in workflows/ share with `emforce run`: its options, and errors as one line and an exit code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .campaign import Placement
from .commands.options import Parser, add_cluster, add_db, add_settings, add_store, ended, overrides
from .settings import Settings, load_settings


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with --preset, --set, --cluster, --workers, --store and --db."""
    new = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings(new)
    add_cluster(new)
    add_store(new)
    add_db(new)
    return new


def settings(options: argparse.Namespace) -> Settings:
    """The preset with the fields of --set.

    Raises
    ------
    InputError for a field or a value that is not allowed
    """
    return load_settings(options.preset, overrides(options.set))


def placement(options: argparse.Namespace, names: Sequence[object]) -> Placement:
    """Where the steps run, for a campaign on what is named.

    Raises
    ------
    InputError for a profile or a number of workers that is not allowed
    """
    place = Placement(options.cluster, options.workers, tuple(map(str, names)))
    place.check()
    return place


__all__ = ["ended", "parser", "placement", "settings"]
