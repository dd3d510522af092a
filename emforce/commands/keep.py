"""Subcommands that keep the database: migrate."""

from __future__ import annotations

import argparse

from .options import AddCommand, add_db


def register(add: AddCommand) -> None:
    """Add the subcommands of this file."""
    migrate = add("migrate", _migrate, "Bring a database of an older emforce to this version; keeps a copy.")
    add_db(migrate)


def _migrate(options: argparse.Namespace) -> int:
    from ..upgrade import migrate

    done = migrate(options.db)
    if done.copy is None:
        print(f"schema version {done.after} already")
    else:
        print(f"schema version {done.before} -> {done.after}; what was there before: {done.copy}")
    return 0
