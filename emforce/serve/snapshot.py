"""A copy of the database to show, and what it says about itself: titles, units, signs, sources, licence and stored queries.

The page never opens the database itself: it shows a copy made by `emforce.copies.backup`, as of one moment, from SQLite or
PostgreSQL. Writers go on meanwhile; a restart shows what they wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ..copies import backup
from ..database import Database
from ..keys import HOST_KEYS, KEYS, Key
from .values import DEFAULTS

NAME = "emforce"
SIGN = ("Force on the atom F = e Z E. Z > 0: along the electric field, against the electrons (upwind); "
        "Z < 0: with the electrons (downwind).")
_SHOWN = (
    "rank_value", "metal", "facet", "defect", "hop", "site", "species", "temperature_K", "k_wind_uohm_cm", "k_wind_sigma_uohm_cm",
    "rho_uohm_cm", "z_wind", "z_wind_sigma", "direction", "direct_model", "z_direct_used", "z_star", "z_star_sigma",
    "z_star_low", "z_star_high", "direction_total", "force_per_j_fN_m2_TA", "d_m2_s", "q_star_eV", "preset", "method", "source",
    "rho_source",
)  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A copy of a database.

    Parameters
    ----------
    path : the file
    origin : name of the database that it is a copy of, without a password
    taken : when, UTC, ISO 8601
    """

    path: Path
    origin: str
    taken: str


def take(location: str | None, folder: Path) -> Snapshot:
    """Copy a database into a folder.

    Raises
    ------
    InputError : a location that is not allowed, a database of another schema version
    StoreError : no database there, or one that cannot be read
    """
    with Database(location) as database:
        origin = database.name
    path = folder / f"{NAME}.db"
    backup(location, path)
    return Snapshot(path, origin, datetime.now(UTC).isoformat(timespec="seconds"))


def describe(shown: Snapshot) -> dict[str, Any]:
    """Metadata for datasette: every column with its meaning, unit and sign from `emforce.keys`; the stored queries."""
    common = {
        "license": licence(),
        "source": f"{shown.origin}, as of {shown.taken}; the publication of a published value is in its column source",
    }
    tables = {
        "records": {"title": "Records: one site of one hop, or its average", "columns": _columns(KEYS), "sort_desc": "id",
                    "description": f"As stored, nothing evaluated. {SIGN}", **common},
        "hosts": {"title": "Hosts: bands and sums of the perfect metal", "columns": _columns(HOST_KEYS), "sort_desc": "id",
                  **common},
    }  # fmt: skip
    title = "emforce: electromigration forces from first principles"
    database = {"title": "The tables and stored queries", "description": SIGN, "tables": tables, "queries": _queries(), **common}
    return {"title": title, "description": SIGN, **common, "databases": {NAME: database}}


def licence() -> str:
    """Licence as the package states it (SPDX)."""
    return str(dict(metadata.metadata("emforce").json).get("license_expression") or "see LICENSE")


def _columns(keys: tuple[Key, ...]) -> dict[str, str]:
    return {key.name: meaning(key) for key in keys if key.stored}


def meaning(key: Key) -> str:
    """Description, unit and sign of a key in one line."""
    return key.description + (f" [{key.unit}]" if key.unit else "") + (f"; {key.sign}" if key.sign else "")


def _queries() -> dict[str, dict[str, Any]]:
    picked = ",\n  ".join(f"json_extract(value, '$.{name}') AS {name}" for name in (*_SHOWN, "message"))
    words = ("filter as of `emforce query`, such as metal=W facet=110 z_wind<-6; "
             f"temperature_K (empty: {DEFAULTS['temperature_K']}); direct_model dft, nominal, drude or none; "
             "sort: an expression such as |z_star|*D")
    found = {
        name: {
            "title": title,
            "description": f"{text} Evaluated by emforce itself (SQL function emforce_rows), not in SQL. Fields: {words}.",
            "sql": f"SELECT\n  {picked}\nFROM json_each(emforce_rows(:filter, :temperature_K, :direct_model, '{which}', :sort))",
            "params": ["filter", "temperature_K", "direct_model", "sort"], "hide_sql": True,
        }
        for name, which, title, text in (
            ("best_values", "best", "Best values of each hop at a temperature", "One row per hop, the best of what is stored."),
            ("site_values", "current", "Every site at a temperature", "Every served row: sites along the hop and averages."),
        )
    }  # fmt: skip
    found["history"] = {
        "title": "History: every row, newest first", "description": "Superseded, failed and published rows as well.",
        "sql": "SELECT id, created, metal, facet, defect, hop, site, preset, method, k_wind_uohm_cm, k_wind_sigma_uohm_cm, "
               "z_direct, z_direct_sigma, status, reason, source FROM records ORDER BY id DESC",
    }  # fmt: skip
    found["published_values"] = {
        "title": "Published values and their sources", "description": "Unverified: the number was not seen at its source.",
        "sql": "SELECT id, metal, facet, defect, hop, z_star_reported, z_star_reported_sigma, z_wind_reported, reported_low_K, "
               "reported_high_K, d0_m2_s, ea_eV, kinetics_condition, status, source FROM records "
               "WHERE status IN ('literature', 'unverified') ORDER BY metal, defect, id",
    }  # fmt: skip
    return found


__all__ = ["NAME", "SIGN", "Snapshot", "describe", "licence", "meaning", "take"]
