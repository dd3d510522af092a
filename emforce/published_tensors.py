"""results/tensors.csv and a table of results/README.md: K as a tensor, each component with its uncertainty.

    results/tensors.csv   one line per point and component: force axis, field axis, K and sigma in uOhm cm

The axes are those of the hop: along it, across it, and the normal, on a surface its own, in bulk the crystal's z axis without
its part along the hop (`rotation_to_x` in emforce.plan). No current flows along the normal of a surface, where fields have two
axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from .published_points import place, settings_text
from .stored import Document
from .tables import documents_csv, markdown, plus_minus

AXES = ("along", "across", "normal")
_SAME = ("spec", "metal", "facet", "defect", "hop", "site", "species", "preset", "basis", "fraction")


def components(along: Sequence[Document]) -> list[Document]:
    """One document per known component of the tensors of points whose uncertainties are stored, in the order of the rows."""
    found = []
    for row in along:
        sigma = row["k_tensor_sigma_uohm_cm"]
        if sigma is None:
            continue
        for force, field in product(range(3), _fields(row)):
            if sigma[force][field] is not None:  # only where there is a K
                found.append({name: row[name] for name in _SAME} | {
                    "force": AXES[force], "field": AXES[field],
                    "k_uohm_cm": row["k_tensor_uohm_cm"][force][field], "k_sigma_uohm_cm": sigma[force][field]})
    return found


def tensors_csv(along: Sequence[Document]) -> str:
    """tensors.csv: numbers with all their digits; "" where no tensor has uncertainties."""
    found = components(along)
    return documents_csv(found) if found else ""


def tensors_table(along: Sequence[Document]) -> list[str]:
    """Lines of Markdown: the whole tensor of each point where all force axes were computed; forbidden components are 0."""
    whole = [row for row in along if row["k_tensor_sigma_uohm_cm"] is not None
             and all(row["k_tensor_sigma_uohm_cm"][force][field] is not None for force, field in product(range(3), _fields(row)))]
    if not whole:
        return []
    pairs = list(product(range(3), range(3)))
    table = [["hop", "settings", "point", *(f"{AXES[force]} ← {AXES[field]}" for force, field in pairs)]]
    for row in whole:
        table.append([place(row), settings_text(str(row["preset"])), str(row["site"]),
                      *(_cell(row, force, field) if field in _fields(row) else "" for force, field in pairs)])
    return markdown(table)


def _fields(row: Mapping[str, Any]) -> range:
    return range(3) if row["facet"] == "bulk" else range(2)


def _cell(row: Mapping[str, Any], force: int, field: int) -> str:
    k, sigma = row["k_tensor_uohm_cm"][force][field], row["k_tensor_sigma_uohm_cm"][force][field]
    return "0" if k == sigma == 0.0 else plus_minus(k, sigma)


__all__ = ["AXES", "components", "tensors_csv", "tensors_table"]
