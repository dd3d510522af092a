"""The parameter database: records and hosts in SQLite (a file) or PostgreSQL (a URL), with the same code.

Nothing is overwritten: a new run of the same thing is a new row, and the newest successful row of an
identity is the one that is served. Each record is one transaction, so that a writer killed at any moment
loses nothing it has finished. One writer at a time (SQLite's own lock, an advisory lock in PostgreSQL);
readers never wait.

SQLite runs in write-ahead mode, which needs a local file system: for writers on several machines use
PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url

from .errors import InputError, StoreError
from .keys import HOST_KEYS, KEYS, Key
from .record import Host, Record
from .stored import Document

DEFAULT = "results/emforce.db"
ENVIRONMENT = "EMFORCE_DB"
SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 30.0
_POSTGRES_LOCK = 0x656D66  # any number that is ours ("emf")

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Condition:
    """`key operator value`; several values after "=" mean any of them, after "!=" none of them."""

    key: Key
    operator: Operator
    values: tuple[str, ...] | tuple[float, ...]

    def holds(self, value: Any) -> bool:
        """Whether a value of the key meets the condition; what was not computed (None) meets none."""
        if value is None:
            return False
        if self.operator in ("=", "!="):
            return (value in self.values) == (self.operator == "=")
        limit = self.values[0]
        compare = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}
        return compare[self.operator]

    def clause(self, table: sa.Table) -> sa.ColumnElement[bool]:
        """The same as a condition on the column."""
        column = table.c[self.key.name]
        if self.operator in ("=", "!="):
            return column.in_(self.values) if self.operator == "=" else column.not_in(self.values)
        return column.op(self.operator, is_comparison=True)(self.values[0])


def _column(key: Key) -> sa.Column[Any]:
    kinds: dict[str, Any] = {"text": sa.Text(), "number": sa.Double(), "json": sa.JSON()}
    return sa.Column(key.name, kinds[key.kind], nullable=key.kind == "number", comment=key.description)


_metadata = sa.MetaData()
_meta = sa.Table("meta", _metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
_hosts = sa.Table(
    "hosts",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("content_hash", sa.Text, nullable=False),
    *(_column(key) for key in HOST_KEYS if key.stored),
    sqlite_autoincrement=True,
)
_records = sa.Table(
    "records",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("host_id", sa.Integer, sa.ForeignKey("hosts.id"), nullable=True),
    *(_column(key) for key in KEYS if key.stored),
    sqlite_autoincrement=True,
)
_IDENTITY = {
    table.name: [table.c[key.name] for key in keys if key.role == "identity"]
    for table, keys in ((_records, KEYS), (_hosts, HOST_KEYS))
}
for _name, _columns in _IDENTITY.items():
    sa.Index(f"ix_{_name}_identity", *_columns)


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


class Database:
    """Records and hosts behind one URL.

    Parameters
    ----------
    location : path or URL; None: the environment variable EMFORCE_DB, then results/emforce.db
    create : make the database (and its folder) when there is none; a reader must not

    Raises
    ------
    InputError : a location that is not allowed
    StoreError : no database there (and not `create`), unreadable, or of another schema version
    """

    def __init__(self, location: str | Path | None = None, *, create: bool = False) -> None:
        self.url = resolve(location)
        self.name = str(self.url.database if self._sqlite else self.url.render_as_string(hide_password=True))
        if self._sqlite:
            self._prepare_file(Path(str(self.url.database)), create)
        try:
            self._engine = sa.create_engine(
                self._readable_url(create),
                # a connection per transaction: the last one to close folds the log into the file
                poolclass=sa.pool.NullPool if self._sqlite else None,
                connect_args={"timeout": _BUSY_TIMEOUT_S} if self._sqlite else {},
            )
        except ModuleNotFoundError as error:
            message = f"{self.name}: {error.name} is not installed; pip install 'emforce[postgres]'"
            raise StoreError(message) from None
        sa.event.listen(self._engine, "connect", self._on_connect)
        sa.event.listen(self._engine, "begin", self._on_begin)
        self._check_schema(create)

    @property
    def _sqlite(self) -> bool:
        return self.url.drivername.startswith("sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; the database can still be used afterwards."""
        self._engine.dispose()

    # writing

    def add(self, record: Record) -> int:
        """Store a record and return its row number.

        The newest row of the same identity is returned instead if it has the same content. The record is
        tied to the newest host of its metal, facet, basis and preset.
        """
        with self._transaction(write=True) as connection:
            host = _newest(connection, _hosts, {name: getattr(record, name) for name in _host_identity()})
            return _insert(connection, _records, record, host_id=host.id if host else None)

    def add_host(self, host: Host) -> int:
        """Store a host and return its row number (that of the newest row, if it has the same content)."""
        with self._transaction(write=True) as connection:
            return _insert(connection, _hosts, host)

    # reading

    def rows(
        self, conditions: Sequence[Condition] = (), *, everything: bool = False, details: bool = True
    ) -> list[Document]:
        """Stored rows as mappings of keys, with "id", "host_id" and "standing" added.

        Parameters
        ----------
        conditions : all must hold; only on stored keys
        everything : also superseded rows and rows whose status is not ok
        details : also the keys of kind json
        """
        newest = (
            sa.select(sa.func.max(_records.c.id))
            .where(_records.c.status == "ok")
            .group_by(*_IDENTITY["records"])
        )
        columns = [_records.c[key.name] for key in KEYS if key.stored and (details or key.kind != "json")]
        served = _records.c.id.in_(newest)
        query = sa.select(_records.c.id, _records.c.host_id, served.label("served"), *columns)
        query = query.where(*(condition.clause(_records) for condition in conditions))
        if not everything:
            query = query.where(served)
        with self._transaction() as connection:
            found = [dict(row) for row in connection.execute(query.order_by(_records.c.id)).mappings()]
        for row in found:
            ok = row["status"] == "ok"
            row["standing"] = "current" if row.pop("served") else "superseded" if ok else "not served"
        return found

    def records(self, conditions: Sequence[Condition] = (), *, everything: bool = False) -> list[Record]:
        """As `rows`, rebuilt as records."""
        return [Record.from_document(row) for row in self.rows(conditions, everything=everything)]

    def host_rows(self, *, everything: bool = False) -> list[Document]:
        """Stored hosts as mappings of keys with "id" added: the newest of each identity, or every one."""
        newest = sa.select(sa.func.max(_hosts.c.id)).group_by(*_IDENTITY["hosts"])
        query = sa.select(_hosts) if everything else sa.select(_hosts).where(_hosts.c.id.in_(newest))
        with self._transaction() as connection:
            return [dict(row) for row in connection.execute(query.order_by(_hosts.c.id)).mappings()]

    def hosts(self, *, metal: str | None = None, facet: str | None = None) -> list[Host]:
        """The newest host of each metal, facet, basis and preset, whatever its status."""
        return [
            Host.from_document(row)
            for row in self.host_rows()
            if metal in (None, row["metal"]) and facet in (None, row["facet"])
        ]

    def host_of(self, host_id: int) -> Host:
        """The host that a row of `rows` is tied to by its "host_id"."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(_hosts).where(_hosts.c.id == host_id)).mappings().first()
        if row is None:
            raise StoreError(f"{self.name}: no host {host_id}")
        return Host.from_document(dict(row))

    def counts(self) -> dict[str, int]:
        """Number of record rows by status, superseded ones included."""
        query = sa.select(_records.c.status, sa.func.count()).group_by(_records.c.status)
        with self._transaction() as connection:
            return {str(status): int(count) for status, count in connection.execute(query)}

    # connections

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
        if not self._sqlite or create or os.access(path.parent, os.W_OK):
            return self.url
        query = {"mode": "ro", "immutable": "1", "uri": "true"}
        return self.url.set(database=f"file:{quote(str(path.resolve()))}", query=query)

    def _on_connect(self, connection: Any, _: object) -> None:
        if self._sqlite:
            connection.isolation_level = None  # BEGIN is ours, see _on_begin
            connection.execute("PRAGMA foreign_keys = ON")

    def _on_begin(self, connection: Connection) -> None:
        write = connection.get_execution_options().get("emforce_write", False)
        if self._sqlite:
            # IMMEDIATE: a reader that turns writer half way fails at once instead of waiting its turn
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
        elif write:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")

    @contextlib.contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Connection]:
        try:
            engine = self._engine.execution_options(emforce_write=write)
            with engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            reason = str(error.orig).strip().splitlines()
            raise StoreError(f"{self.name}: {reason[0] if reason else type(error.orig).__name__}") from error

    def _check_schema(self, create: bool) -> None:
        with self._transaction(write=create) as connection:
            if create and not sa.inspect(connection).has_table(_meta.name):
                _metadata.create_all(connection)
                connection.execute(_meta.insert().values(name="schema_version", value=str(SCHEMA_VERSION)))
            if not sa.inspect(connection).has_table(_meta.name):
                raise StoreError(f"{self.name}: not an emforce database; `emforce run` makes one")
            query = sa.select(_meta.c.value).where(_meta.c.name == "schema_version")
            version = connection.execute(query).scalar_one_or_none()
        if version != str(SCHEMA_VERSION):
            raise StoreError(
                f"{self.name}: schema version {version}, this emforce reads {SCHEMA_VERSION}; "
                "use the emforce version that wrote it, or another --db"
            )


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


def _host_identity() -> list[str]:
    return [key.name for key in HOST_KEYS if key.role == "identity"]


def _newest(connection: Connection, table: sa.Table, identity: Mapping[str, str]) -> Any:
    query = sa.select(table.c.id, table.c.content_hash).where(*(table.c[k] == v for k, v in identity.items()))
    return connection.execute(query.order_by(table.c.id.desc()).limit(1)).first()


def _insert(connection: Connection, table: sa.Table, item: Record | Host, **extra: int | None) -> int:
    content = item.content_hash
    newest = _newest(connection, table, item.identity)
    if newest is not None and newest.content_hash == content:
        return int(newest.id)
    values = {"content_hash": content, **extra, **item.document()}
    return int(connection.execute(table.insert().values(values).returning(table.c.id)).scalar_one())
