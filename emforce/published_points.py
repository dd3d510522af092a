"""results/ point by point: K and Z_direct along each hop, each set of settings for itself, and what each sigma is made of.

    results/points.csv    one line per point and set of settings: all numbers and words of it (docs/keys.md)

The same rows are two tables of results/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .best import holds
from .errors import InputError
from .evaluate import Situation, evaluate, host_of
from .keys import KEYS
from .record import is_average
from .settings import preset_fields
from .stored import Document
from .tables import documents_csv, markdown, order, plus_minus

#: columns of points.csv: what can be read without a parser, of the wind and the direct force
COLUMNS = tuple(key.name for key in KEYS if key.kind != "json" and key.group in ("", "wind", "direct")
                and key.role in ("identity", "value", "evaluated"))


def points(rows: Sequence[Mapping[str, Any]], hosts: Mapping[int, Document], temperature_K: float) -> list[Document]:
    """Served rows of the wind force at one temperature in K: the points of each hop, its average behind them.

    Rows come in the order of the hops, their settings and the points along the way, without those of metals whose resistivity is
    not known at the temperature.
    """
    found = []
    for row in rows:
        if row["standing"] == "current" and holds(row, "wind"):
            with suppress(InputError):
                found.append(evaluate(row, Situation(temperature_K), host_of(row, hosts)))
    return sorted(found, key=order)


def points_csv(found: Sequence[Document]) -> str:
    """points.csv: numbers with all their digits, nothing where there is none."""
    return documents_csv(found, COLUMNS)


def points_table(found: Sequence[Document]) -> list[str]:
    """Lines of Markdown: K, Z_direct and Z* at each point and on average, one line each."""
    table = [["hop", "settings", "point", "s", "K_wind (µΩ cm)", "Z_direct", "Z*"]]
    for row in found:
        fraction = "" if row["fraction"] is None else f"{row['fraction']:g}"
        table.append([place(row), settings_text(str(row["preset"])), row["site"], fraction,
                      value_text(row, "k_wind_uohm_cm", "k_wind_sigma_uohm_cm"),
                      value_text(row, "z_direct", "z_direct_sigma", ("z_direct_low", "z_direct_high")),
                      value_text(row, "z_star", "z_star_sigma", ("z_star_low", "z_star_high"))])
    return markdown(table)


def sigma_table(found: Sequence[Document], value: str, sigma: str, parts: str) -> list[str]:
    """Lines of Markdown: the named parts of a standard uncertainty of each hop average and drift, the largest in bold.

    A part that was not estimated is "open", one that nothing measured is left empty.
    """
    averages = [row for row in found if is_average(str(row["site"])) and row[value] is not None and row[parts]]
    if not averages:
        return []
    names = list(dict.fromkeys(name for row in averages for name in row[parts]))
    table = [["hop", "settings", "of", "σ", *names]]
    for row in averages:
        known = [part for part in row[parts].values() if part is not None]
        cells = []
        for name in names:
            part = row[parts].get(name)
            text = "" if name not in row[parts] else "open" if part is None else f"{part:.2g}"
            cells.append(f"**{text}**" if part is not None and part == max(known) and part > 0 else text)
        table.append([place(row), settings_text(str(row["preset"])), str(row["site"]), f"{row[sigma]:.2g}", *cells])
    return markdown(table)


def place(row: Mapping[str, Any]) -> str:
    """A hop in a table: metal and facet, what moves where it is not an adatom of the host."""
    where = row["metal"] if row["facet"] == "bulk" else f"{row['metal']}({row['facet']})"
    mover = "" if row["species"] == row["metal"] else f", {row['species']}"
    return f"{where} {row['defect']}{mover}"


def settings_text(preset: str) -> str:
    """A preset's label in a table: its name alone, or with the fields that were changed."""
    name, changed = preset_fields(preset)
    return ", ".join([name, *(f"{field}={value}" for field, value in changed.items())])


def value_text(row: Mapping[str, Any], value: str, sigma: str, ends: tuple[str, str] | None = None) -> str:
    """`value ± sigma`, an interval where there is no single value, nothing where there is neither."""
    number = row.get(value)
    if number is not None:
        spread = row.get(sigma)
        if abs(number) < 1e-3 and spread is not None:
            return f"{number:.1e} ± {spread:.1e}"
        return f"{number:.3g}" if spread is None else plus_minus(number, spread)
    if ends and row.get(ends[0]) is not None and row.get(ends[1]) is not None:
        return f"{row[ends[0]]:.3g} to {row[ends[1]]:.3g}"
    return ""


__all__ = ["COLUMNS", "place", "points", "points_csv", "points_table", "settings_text", "sigma_table", "value_text"]
