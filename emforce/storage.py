"""Where the parameter database lies, and transactions on it: SQLite (a file) or PostgreSQL (a URL), the same for both.

One writer at a time (SQLite's own lock, an advisory lock in PostgreSQL); readers never wait. SQLite runs in write-ahead
mode, which needs a local file system: for writers on several machines use PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from .errors import InputError, StoreError

DEFAULT = "results/emforce.db"
ENVIRONMENT = "EMFORCE_DB"
_BUSY_TIMEOUT_S = 30.0
_POSTGRES_LOCK = 0x656D66  # any number that is ours ("emf")


def resolve(location: str | Path | None = None) -> URL:
    """The URL of a path or URL; None: that of the variable EMFORCE_DB, or else results/emforce.db.

    Raises
    ------
    InputError : neither a path nor a sqlite or postgresql URL
    """
    text = str(location) if location is not None else os.environ.get(ENVIRONMENT) or DEFAULT
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    allowed = "a path, sqlite:///path or postgresql://user@host/name"
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise InputError("--db", text.partition("://")[0] + "://...", allowed) from None
    backend = url.drivername.partition("+")[0]
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg2")
    if backend != "sqlite" or not url.database or url.database == ":memory:":
        raise InputError("--db", url.render_as_string(hide_password=True), allowed)
    return url


class Storage:
    """Transactions on the database at a URL, whatever is in it.

    Parameters
    ----------
    location : path or URL; None: the environment variable EMFORCE_DB, then results/emforce.db
    create : make the file (and its folder) when there is none

    Raises
    ------
    InputError : a location that is not allowed
    StoreError : no file there (and not `create`), or one that cannot be read
    """

    def __init__(self, location: str | Path | None = None, *, create: bool = False) -> None:
        self.url = resolve(location)
        self.name = str(self.url.database if self.is_sqlite else self.url.render_as_string(hide_password=True))
        if self.is_sqlite:
            self._prepare_file(Path(str(self.url.database)), create)
        try:
            self.engine = sa.create_engine(
                self._readable_url(create),
                # a connection per transaction: the last one to close folds the log into the file
                poolclass=sa.pool.NullPool if self.is_sqlite else None,
                connect_args={"timeout": _BUSY_TIMEOUT_S} if self.is_sqlite else {},
            )
        except ModuleNotFoundError as error:
            message = f"{self.name}: {error.name} is not installed; pip install 'emforce[postgres]'"
            raise StoreError(message) from None
        sa.event.listen(self.engine, "connect", self._on_connect)
        sa.event.listen(self.engine, "begin", self._on_begin)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.url.drivername.startswith("sqlite")

    @contextlib.contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """A connection within one transaction, committed at the end; one writer at a time.

        Raises
        ------
        StoreError : what the database itself complains about, in one line
        """
        try:
            with self.engine.execution_options(emforce_write=write).begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            reason = str(error.orig).strip().splitlines()
            raise StoreError(f"{self.name}: {reason[0] if reason else type(error.orig).__name__}") from error

    def close(self) -> None:
        """Close what is open; it can still be used afterwards."""
        self.engine.dispose()

    def _prepare_file(self, path: Path, create: bool) -> None:
        if path.is_dir():
            raise InputError("--db", str(path), "a file, not a folder")
        if not path.exists() and not create:
            raise StoreError(f"{path}: no database there yet; `emforce run` makes one")
        if not create:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_ahead(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot write the database: {error}") from None

    def _readable_url(self, create: bool) -> URL:
        """The URL to connect to; write-ahead mode needs help in a folder that we may only read."""
        path = Path(self.name)
        if not self.is_sqlite or create or os.access(path.parent, os.W_OK):
            return self.url
        query = {"mode": "ro", "immutable": "1", "uri": "true"}
        return self.url.set(database=f"file:{quote(str(path.resolve()))}", query=query)

    def _on_connect(self, connection: Any, _: object) -> None:
        if self.is_sqlite:
            connection.isolation_level = None  # BEGIN is ours, see _on_begin
            connection.execute("PRAGMA foreign_keys = ON")

    def _on_begin(self, connection: Connection) -> None:
        write = connection.get_execution_options().get("emforce_write", False)
        if self.is_sqlite:
            # IMMEDIATE: a reader that turns writer half way fails at once instead of waiting its turn
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
        elif write:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
        else:  # as in SQLite: a reader sees one moment, however many questions it asks
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _write_ahead(path: Path) -> None:
    """Make the file, in write-ahead mode; several processes may do so at once."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # the change of mode does not wait for its lock as other statements do
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
