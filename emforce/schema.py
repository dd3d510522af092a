"""The tables of the parameter database, made from `emforce.keys`, and their version.

A change of the tables is a new version: a file in emforce/migrations/versions that brings the one before to it.
`emforce.upgrade` applies them; a test compares what they make with what stands here.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .keys import HOST_KEYS, KEYS, Key

#: as in the table meta, and the name of the newest revision in emforce/migrations/versions
SCHEMA_VERSION = 4


def _column(key: Key) -> sa.Column[Any]:
    kinds: dict[str, Any] = {"text": sa.Text(), "number": sa.Double(), "json": sa.JSON(none_as_null=True)}
    # a column that older rows did not have must say by itself that nothing is in it
    later = key.since > 1
    return sa.Column(
        key.name,
        kinds[key.kind],
        nullable=key.kind == "number" or (later and key.kind == "json"),
        server_default="" if later and key.kind == "text" else None,
    )


metadata = sa.MetaData()
meta = sa.Table("meta", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("content_hash", sa.Text, nullable=False),
    *(_column(key) for key in HOST_KEYS if key.stored),
    sqlite_autoincrement=True,
)
records = sa.Table(
    "records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("host_id", sa.Integer, sa.ForeignKey("hosts.id"), nullable=True),
    *(_column(key) for key in KEYS if key.stored),
    sqlite_autoincrement=True,
)
IDENTITY: dict[str, list[sa.Column[Any]]] = {
    table.name: [table.c[key.name] for key in keys if key.role == "identity"]
    for table, keys in ((records, KEYS), (hosts, HOST_KEYS))
}
sa.Index("ix_hosts_identity", *IDENTITY["hosts"])
# the newest row of an identity is found in the index alone
sa.Index("ix_records_identity", *IDENTITY["records"], records.c.status, records.c.id)
# what questions ask for first
sa.Index("ix_records_hop", records.c.metal, records.c.facet, records.c.site, records.c.hop)
