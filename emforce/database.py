"""The parameter database: records and hosts in SQLite (a file) or PostgreSQL (a URL), with the same code.

Nothing is overwritten: a new run of the same thing is a new row, and the newest successful row of an
identity is the one that is served. Each record is one transaction, so that a writer killed at any moment
loses nothing it has finished.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from . import schema
from .best import Hops, best_rows
from .copies import fill
from .errors import InputError, StoreError
from .keys import BY_NAME, DETAILS, HOST_KEYS, KEYS, PHONON_KEYS, Key
from .record import HOP_AVERAGE, Host, Record
from .schema import IDENTITY, SCHEMA_VERSION
from .schema import hosts as _hosts
from .schema import meta as _meta
from .schema import records as _records
from .storage import DEFAULT, ENVIRONMENT, Storage, resolve
from .stored import Document
from .upgrade import version_of

#: standing of a row: the newest of its identity that may be served, a published value, one that was not seen at its
#: source, an older one, and one that failed
STANDINGS = ("current", "literature", "unverified", "superseded", "not served")
_BY_STATUS = {"ok": "current", "literature": "literature", "unverified": "unverified"}

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
        self._storage = Storage(location, create=create)
        self.url, self.name = self._storage.url, self._storage.name
        self._check_schema(create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; the database can still be used afterwards."""
        self._storage.close()

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
        """Store a host and return its row number (that of the newest row, if it has the same content).

        Phonons and spin-orbit coupling that the newest row of the same identity has, and this one does not, are taken over: the
        parts of one host are computed at different times.
        """
        with self._transaction(write=True) as connection:
            return _insert(connection, _hosts, _with_other_parts(connection, host))

    # reading

    def rows(
        self,
        conditions: Sequence[Condition] = (),
        *,
        everything: bool = False,
        details: bool = True,
        standing: Sequence[str] = ("current",),
    ) -> list[Document]:
        """Stored rows as mappings of keys, with "id", "host_id" and "standing" added.

        Parameters
        ----------
        conditions : all must hold; only on stored keys
        everything : rows of any standing
        details : also the keys of kind json (q_of_temperature always)
        standing : which of `STANDINGS` are wanted
        """
        wanted_keys = [key for key in KEYS if key.stored and (details or key.name not in DETAILS)]
        columns = [_records.c[key.name] for key in wanted_keys]
        newest = _is_newest()
        query = sa.select(_records.c.id, _records.c.host_id, newest.label("newest"), *columns)
        query = query.where(*(condition.clause(_records) for condition in conditions))
        wanted = STANDINGS if everything else tuple(standing)
        if not set(wanted) & {"superseded", "not served"}:
            statuses = [status for status, name in _BY_STATUS.items() if name in wanted]
            query = query.where(_records.c.status.in_(statuses), newest)
        with self._transaction() as connection:
            found = [dict(row) for row in connection.execute(query.order_by(_records.c.id)).mappings()]
        for row in found:
            row["standing"] = _standing(str(row["status"]), bool(row.pop("newest")))
        return [row for row in found if row["standing"] in wanted]

    def records(self, conditions: Sequence[Condition] = (), *, everything: bool = False) -> list[Record]:
        """As `rows`, rebuilt as records."""
        return [Record.from_document(row) for row in self.rows(conditions, everything=everything)]

    def hops(
        self,
        *,
        metal: str | None = None,
        facet: str | None = None,
        defect: str | None = None,
        hop: str | None = None,
        species: str | None = None,
        preset: str | None = None,
    ) -> Hops:
        """The best of what is stored about each hop that agrees with all that is given, by the rule of `emforce.best`.

        `database.hops(metal="W", facet="110").at(600)` evaluates them at 600 K.
        """
        asked = {"metal": metal, "facet": facet, "defect": defect, "hop": hop, "species": species, "preset": preset}
        conditions = [Condition(BY_NAME[name], "=", (value,)) for name, value in asked.items() if value is not None]
        conditions.append(Condition(BY_NAME["site"], "=", (HOP_AVERAGE,)))
        hosts = {int(row["id"]): row for row in self.host_rows(everything=True, details=False)}
        return Hops(tuple(best_rows(self.rows(conditions))), hosts)

    def host_rows(self, *, everything: bool = False, details: bool = True) -> list[Document]:
        """Stored hosts as mappings of keys with "id" added: the newest of each identity, or every one."""
        newest = sa.select(sa.func.max(_hosts.c.id)).group_by(*IDENTITY["hosts"])
        columns = [_hosts.c[key.name] for key in HOST_KEYS if key.stored and (details or key.kind != "json")]
        query = sa.select(_hosts.c.id, _hosts.c.content_hash, *columns)
        if not everything:
            query = query.where(_hosts.c.id.in_(newest))
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

    def served(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The combinations of identity keys for which there is a served record."""
        query = sa.select(*(_records.c[name] for name in names)).where(_records.c.status == "ok").distinct()
        with self._transaction() as connection:
            return sorted(tuple(str(value) for value in row) for row in connection.execute(query))

    def restore(self, copy: Path) -> int:
        """Fill this empty database from a copy (`emforce.copies.backup`); returns the number of rows.

        Raises
        ------
        StoreError : this database is not empty, or the copy is of another schema version; nothing is written then
        """
        with self._transaction(write=True) as connection:
            return fill(connection, copy)

    # connections

    def _transaction(self, *, write: bool = False) -> contextlib.AbstractContextManager[Connection]:
        return self._storage.transaction(write=write)

    def _check_schema(self, create: bool) -> None:
        with self._transaction(write=create) as connection:
            if create and not sa.inspect(connection).has_table(_meta.name):
                schema.metadata.create_all(connection)
                connection.execute(_meta.insert().values(name="schema_version", value=str(SCHEMA_VERSION)))
            version = version_of(connection, self.name)
        if version != SCHEMA_VERSION:
            how = f"`emforce migrate --db {self.name}` brings it there and keeps a copy"
            if version > SCHEMA_VERSION:
                how = "this one comes from a newer emforce: use that, or another --db"
            raise InputError("--db", f"{self.name}, schema version {version}", f"schema version {SCHEMA_VERSION}; {how}")


def _is_newest() -> sa.ColumnElement[bool]:
    """Whether no later row of the same identity stands in the way of a row being served."""
    later = _records.alias("later")
    may_be_served = sa.case((_records.c.status == "ok", later.c.status == "ok"), else_=later.c.status.in_(_BY_STATUS))
    same = [later.c[column.name] == column for column in IDENTITY["records"]]
    return ~sa.exists().where(*same, may_be_served, later.c.id > _records.c.id)


def _standing(status: str, newest: bool) -> str:
    if status not in _BY_STATUS:
        return "not served"
    return _BY_STATUS[status] if newest else "superseded"


def _host_identity() -> list[str]:
    return [key.name for key in HOST_KEYS if key.role == "identity"]


def _newest(connection: Connection, table: sa.Table, identity: Mapping[str, str]) -> Any:
    query = sa.select(table.c.id, table.c.content_hash).where(*(table.c[k] == v for k, v in identity.items()))
    return connection.execute(query.order_by(table.c.id.desc()).limit(1)).first()


def _with_other_parts(connection: Connection, host: Host) -> Host:
    """The host, with the phonons and the spin-orbit coupling of the newest row of its identity where it has none of its own."""
    newest = _newest(connection, _hosts, host.identity)
    wanted = not host.phonon_status, "spin_orbit" not in host.provenance
    if newest is None or not any(wanted):
        return host
    row = connection.execute(sa.select(_hosts).where(_hosts.c.id == newest.id)).mappings().one()
    before = Host.from_document(dict(row))
    if wanted[0]:
        host = replace(host, **{name: getattr(before, name) for name in PHONON_KEYS})
    if wanted[1] and "spin_orbit" in before.provenance:
        host = replace(host, provenance={**host.provenance, "spin_orbit": before.provenance["spin_orbit"]})
    return host


def _insert(connection: Connection, table: sa.Table, item: Record | Host, **extra: int | None) -> int:
    content = item.content_hash
    newest = _newest(connection, table, item.identity)
    if newest is not None and newest.content_hash == content:
        return int(newest.id)
    values = {"content_hash": content, **extra, **item.document()}
    return int(connection.execute(table.insert().values(values).returning(table.c.id)).scalar_one())


__all__ = ["DEFAULT", "ENVIRONMENT", "STANDINGS", "Condition", "Database", "Operator", "resolve"]
