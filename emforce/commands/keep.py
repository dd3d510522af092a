"""Subcommands that keep the database: migrate, backup, restore, and the published values in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import AddCommand, add_db


def register(add: AddCommand) -> None:
    """Add the subcommands of this file."""
    add_db(add("migrate", _migrate, "Bring a database of an older emforce to this version; keeps a copy."))

    backup = add("backup", _backup, "Copy the database, as it is at one moment, into a new SQLite file.")
    backup.add_argument("file", type=Path)
    backup.add_argument("--served", action="store_true", help="without superseded rows: what is served and what it rests on")
    add_db(backup)

    restore = add("restore", _restore, "Fill an empty database, or one that is not there yet, from such a copy.")
    restore.add_argument("file", type=Path)
    add_db(restore)

    reference = add("reference", _reference, "Published values and their sources; --store puts them into the database.")
    reference.add_argument("--store", action="store_true", help="store them (again: only what has changed)")
    reference.add_argument("--format", choices=("table", "json"), default="table")
    add_db(reference)


def _migrate(options: argparse.Namespace) -> int:
    from ..upgrade import migrate

    done = migrate(options.db)
    if done.copy is None:
        print(f"schema version {done.after} already")
    else:
        print(f"schema version {done.before} -> {done.after}; what was there before: {done.copy}")
    return 0


def _backup(options: argparse.Namespace) -> int:
    from ..copies import backup
    from ..served_copy import served_copy

    rows = (served_copy if options.served else backup)(options.db, options.file)
    print(f"{options.file}: {rows} rows")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from ..database import Database
    from ..errors import StoreError

    if not options.file.is_file():
        raise StoreError(f"{options.file}: no such copy")
    with Database(options.db, create=True) as database:
        print(f"{database.name}: {database.restore(options.file)} rows")
    return 0


def _reference(options: argparse.Namespace) -> int:
    import json

    from ..reference import as_table, reference_records, store

    records = reference_records()
    if options.store:
        from ..database import Database

        with Database(options.db, create=True) as database:
            print(f"{database.name}: {store(database, records)} published rows")
    elif options.format == "json":
        print(json.dumps([record.document() for record in records], indent=2, ensure_ascii=False))
    else:
        print(as_table(records))
    return 0
