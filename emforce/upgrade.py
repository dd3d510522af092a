"""From an older schema of the parameter database to this one: a copy first, then one transaction.

Killed at any moment, the database is as before or as after. The steps themselves are emforce/migrations/versions (alembic).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

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


def copy_tables(source: Connection, target: Path) -> int:
    """Every row of every table behind a connection into a new SQLite file, which is complete or not there at all.

    Returns
    -------
    number of rows

    Raises
    ------
    StoreError : the file is there already, or cannot be written
    """
    if target.exists():
        raise StoreError(f"{target}: there already; name a new file")
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    tables = sa.MetaData()
    tables.reflect(source, only=("meta", "hosts", "records"))
    rows = 0
    try:
        storage = Storage(part, create=True)
        with storage.transaction(write=True) as connection:
            plain = sa.MetaData()
            for table in tables.sorted_tables:
                fresh = _as_sqlite(table, plain)
                fresh.create(connection)
                found = [dict(row) for row in source.execute(sa.select(table)).mappings()]
                rows += len(found)
                if found:
                    connection.execute(fresh.insert(), found)
        storage.close()
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.link(part, target)  # unlike a rename, never over a file that another process made meanwhile
    except OSError as error:
        raise StoreError(f"{target}: cannot write the copy: {error}") from None
    finally:
        for leftover in part.parent.glob(f"{part.name}*"):
            leftover.unlink()
    return rows


def _as_sqlite(table: sa.Table, metadata: sa.MetaData) -> sa.Table:
    """The table with types and indexes that SQLite knows."""
    kinds: dict[str, Any] = {"JSON": sa.JSON(), "TEXT": sa.Text(), "INTEGER": sa.Integer()}
    columns = []
    for column in table.columns:
        kind = kinds.get(column.type.__visit_name__.upper(), sa.Double())
        keys = [sa.ForeignKey(key.target_fullname) for key in column.foreign_keys]
        default = "" if isinstance(column.server_default, sa.DefaultClause) and not column.primary_key else None
        columns.append(sa.Column(column.name, kind, *keys, primary_key=column.primary_key, nullable=column.nullable,
                                 server_default=default))
    fresh = sa.Table(table.name, metadata, *columns, sqlite_autoincrement=bool("id" in table.c))
    for index in table.indexes:
        sa.Index(index.name, *(fresh.c[column.name] for column in index.columns))
    return fresh
