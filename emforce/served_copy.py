"""A copy of a parameter database for publication: what is served and what that rests on, without what it superseded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .copies import backup, copy_tables
from .database import Database
from .storage import Storage
from .stored import Document

#: in the provenance of the heat of transport: the rows that it was computed from
_ROWS_OF_HEAT = ("wind_row", "direct_row", "kinetics_row")
#: lists of such rows
_LISTS_OF_HEAT = ("other_slabs_rows", "other_settings_rows")


def served_copy(location: str | Path | None, target: Path) -> int:
    """Copy a database, as it is at one moment, without superseded rows into a new SQLite file; returns the number of rows.

    Kept are rows of every other standing (failed ones too: they say why), the rows that the heat of transport of a kept row
    was computed from, the hosts of kept rows, and the newest host of each identity. Numbers of rows stay what they are.

    Raises
    ------
    StoreError : there is no database, or the file is there already or cannot be written
    """
    whole = target.with_name(f".{target.name}.whole-{os.getpid()}")
    try:
        backup(location, whole)
        with Database(whole) as database:
            records = rested_on(database.rows(everything=True))
            hosts = {int(row["id"]) for row in database.host_rows(details=False)}
        hosts |= {int(row["host_id"]) for row in records if row["host_id"] is not None}
        storage = Storage(whole)
        with storage.transaction() as connection:
            rows = copy_tables(connection, target, {"records": {int(row["id"]) for row in records}, "hosts": hosts})
        storage.close()
        return rows
    finally:
        for leftover in whole.parent.glob(f"{whole.name}*"):
            leftover.unlink()


def rested_on(rows: Sequence[Document]) -> list[Document]:
    """Of all rows those that are not superseded, and those that one of these was computed from."""
    served = [row for row in rows if row["standing"] != "superseded"]
    heats = [row["provenance"].get("heat", {}) for row in served]
    under = {heat.get(name) for heat in heats for name in _ROWS_OF_HEAT}
    under |= {number for heat in heats for name in _LISTS_OF_HEAT for number in heat.get(name, ())}
    return [row for row in rows if row["standing"] != "superseded" or row["id"] in under]


__all__ = ["rested_on", "served_copy"]
