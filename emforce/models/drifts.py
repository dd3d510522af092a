"""Z* along the crystal directions of a surface on which it differs between them, from the rows of the drift (`emforce.drift`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..database import Database
from ..materials import material
from ..query import Question, select
from ..record import HOP_AVERAGE, drift_direction
from .lattice import lattice_of


def stored_drifts(database: Database, row: Mapping[str, Any], question: Question) -> dict[str, tuple[float, float, str]]:
    """Z* along each of the lattice's directions for the hop of an evaluated row, Z_wind where that row has no Z*.

    Returns {direction: (value, sigma, preset)}; empty where the surface has no such directions, one of them is not stored, or the
    row is not that of an adatom's hop as a whole.
    """
    if row["defect"] != "adatom" or row["site"] != HOP_AVERAGE:
        return {}
    directions = lattice_of(material(str(row["metal"])).structure, str(row["facet"]), 1.0).directions
    if not directions:
        return {}
    name = "z_wind" if row["z_star"] is None else "z_star"
    filters = [f"{key}={row[key]}" for key in ("metal", "facet", "defect", "hop", "species")]
    rows = select(database, filters, replace(question, which="drift", sort="", details=False)).rows
    found = {drift_direction(str(each["site"])): (each[name], each[f"{name}_sigma"], str(each["preset"]))
             for each in rows if each[name] is not None}
    return {name: found[name] for name in directions} if found.keys() == directions.keys() else {}


__all__ = ["stored_drifts"]
