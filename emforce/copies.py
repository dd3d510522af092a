"""Copies of a parameter database in a SQLite file, and back: whatever the backend, whatever the schema version."""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .errors import StoreError
from .storage import Storage

TABLES = ("meta", "hosts", "records")


def copy_tables(source: Connection, target: Path, keep: Mapping[str, AbstractSet[int]] | None = None) -> int:
    """Every row of every table behind a connection into a new SQLite file, which is complete or not there at all.

    Parameters
    ----------
    keep : numbers of the rows that are wanted of a table, for those tables of which not all are

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
    tables.reflect(source, only=TABLES)
    rows = 0
    try:
        storage = Storage(part, create=True)
        with storage.transaction(write=True) as connection:
            plain = sa.MetaData()
            for table in tables.sorted_tables:
                fresh = _as_sqlite(table, plain)
                fresh.create(connection)
                found = [dict(row) for row in source.execute(sa.select(table)).mappings()]
                if keep is not None and table.name in keep:
                    found = [row for row in found if row["id"] in keep[table.name]]
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


def backup(location: str | Path | None, target: Path) -> int:
    """Copy a database as it is at one moment, writers or not, into a new SQLite file; returns the number of rows.

    Raises
    ------
    StoreError : there is no database, or the file is there already or cannot be written
    """
    storage = Storage(location)
    with storage.transaction() as connection:
        if not sa.inspect(connection).has_table("meta"):
            raise StoreError(f"{storage.name}: not an emforce database")
        rows = copy_tables(connection, target)
    storage.close()
    return rows


def fill(connection: Connection, source: Path) -> int:
    """Every host and record of a copy into the empty tables behind a connection, with their numbers; returns how many.

    Raises
    ------
    StoreError : the tables are not empty, or the copy has another schema version
    """
    storage = Storage(source)
    tables = sa.MetaData()
    tables.reflect(connection, only=TABLES)
    rows = 0
    with storage.transaction() as copy:
        if not sa.inspect(copy).has_table("meta"):
            raise StoreError(f"{source}: not a copy of an emforce database")
        there, here = (str(c.execute(sa.select(tables.tables["meta"].c.value)).scalar()) for c in (copy, connection))
        if there != here:
            raise StoreError(f"{source}: schema version {there}, not {here}; `emforce migrate --db {source}` brings it there")
        for name in ("hosts", "records"):
            table = tables.tables[name]
            if connection.execute(sa.select(table.c.id).limit(1)).first() is not None:
                raise StoreError("a copy is restored into an empty database only; name another --db")
            # read by the target's columns: both have the same schema
            found = [dict(row) for row in copy.execute(sa.select(table)).mappings()]
            if found:
                connection.execute(table.insert(), found)
            rows += len(found)
            if connection.dialect.name == "postgresql" and found:
                numbers = f"pg_get_serial_sequence('{name}', 'id')"
                connection.exec_driver_sql(f"SELECT setval({numbers}, (SELECT max(id) FROM {name}))")
    storage.close()
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
