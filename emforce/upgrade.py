"""From an older schema of the parameter database to this one: a copy first, then one transaction.

Killed at any moment, the database is as before or as after. The steps themselves are emforce/migrations/versions (alembic).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .copies import copy_tables
from .errors import InputError, StoreError
from .schema import SCHEMA_VERSION, meta
from .storage import Storage

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Upgraded:
    """What was done: the schema version before and after, and the copy of what was there before (None: nothing to do)."""

    before: int
    after: int
    copy: Path | None


def version_of(connection: Connection, name: str) -> int:
    """Schema version of the database behind a connection.

    Raises
    ------
    StoreError : not an emforce database
    """
    if not sa.inspect(connection).has_table(meta.name):
        raise StoreError(f"{name}: not an emforce database; `emforce run` makes one")
    version = connection.execute(sa.select(meta.c.value).where(meta.c.name == "schema_version")).scalar_one_or_none()
    if version is None or not version.isdigit():
        raise StoreError(f"{name}: no schema version in it; restore it from a copy")
    return int(version)


def upgrade_tables(connection: Connection, before: int, target: int = SCHEMA_VERSION) -> None:
    """Bring the tables behind a connection from version `before` (0: there are none) to `target`, in its transaction."""
    from alembic import command
    from alembic.config import Config

    if not 0 <= before <= target <= SCHEMA_VERSION:
        raise InputError("schema version", (before, target), f"0 to {SCHEMA_VERSION}, the older first")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if before:
        command.stamp(config, str(before), purge=True)
    command.upgrade(config, str(target))


def migrate(location: str | Path | None = None) -> Upgraded:
    """Bring a database to this schema version. Other writers wait; what was there before is copied beside a file first.

    Raises
    ------
    InputError : the database comes from a newer emforce
    StoreError : there is none, or it cannot be read or copied
    """
    storage = Storage(location)
    with storage.transaction(write=True) as connection:
        before = version_of(connection, storage.name)
        if before > SCHEMA_VERSION:
            allowed = f"schema version {SCHEMA_VERSION} or older; this one comes from a newer emforce"
            raise InputError("--db", f"{storage.name}, schema version {before}", allowed)
        copy = None
        if before < SCHEMA_VERSION:
            copy = _free_name(storage, before)
            copy_tables(connection, copy)
            upgrade_tables(connection, before)
    storage.close()
    return Upgraded(before, SCHEMA_VERSION, copy)


def _free_name(storage: Storage, version: int) -> Path:
    """A file that is not there yet: beside a SQLite file, in the working folder for a server."""
    base = Path(storage.name) if storage.is_sqlite else Path(f"{storage.url.database}.db")
    names = (f"{base.stem}.schema{version}{f'-{i}' if i else ''}{base.suffix or '.db'}" for i in range(1000))
    return next(base.with_name(name) for name in names if not base.with_name(name).exists())
