"""Questions to the database: a small filter language, and the valence at a temperature.

    metal=W facet=110 site=saddle z_wind<-6        conditions that all hold; any key, = != < <= > >=
    metal=Cu,W                                     any of several
    site=hop average                               text may hold spaces

The wind valence is evaluated here: Z_wind(T) = K/rho(T), sigma(Z) = sigma(K)/rho(T), with rho(T) of the bulk
metal from `emforce.materials`. Z > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from .database import Condition, Database, Operator
from .errors import InputError
from .evaluate import Resistivity, Situation, bulk_resistivity, check_temperature, evaluate, rho_source
from .keys import KEYS, Key, key
from .record import HOP_AVERAGE, direction
from .stored import Document

DEFAULT_TEMPERATURES_K = (300.0,)
TABLE_TEMPERATURES_K = (300.0, 400.0, 600.0, 800.0)

_CONDITION = re.compile(r"(?<!\S)([A-Za-z]\w*)\s*(!=|<=|>=|=|<|>)\s*")
_GRAMMAR = "conditions such as metal=W, site=saddle, z_wind<-6"


def parse(filters: Sequence[str]) -> list[Condition]:
    """Conditions from the words of a filter.

    Raises
    ------
    InputError : not a condition, an unknown key, a number that is none, or an order asked of text
    """
    text = " ".join(filters).strip()
    found = list(_CONDITION.finditer(text))
    if not text:
        return []
    if not found or found[0].start() > 0:
        raise InputError("filter", text[: found[0].start()].strip() if found else text, _GRAMMAR)
    ends = [match.start() for match in found[1:]] + [len(text)]
    return [
        _condition(match.group(1), cast(Operator, match.group(2)), text[match.end() : end].strip())
        for match, end in zip(found, ends, strict=True)
    ]


def _condition(name: str, operator: Operator, value: str) -> Condition:
    asked = key(name)
    words = [word.strip().strip("'\"") for word in value.split(",")]
    if asked.kind == "json":
        raise InputError("filter", name, "a key that is text or a number; this is an array or mapping")
    if not all(words):
        raise InputError(name, value, "a value, or several separated by commas")
    if operator not in ("=", "!=") and (asked.kind == "text" or len(words) > 1):
        allowed = "a single number; text and several values take = or !="
        raise InputError(f"{name}{operator}", value, allowed)
    if asked.kind == "text":
        return Condition(asked, operator, tuple(words))
    return Condition(asked, operator, tuple(_finite(name, word) for word in words))


def _finite(name: str, word: str) -> float:
    unit = f" in {key(name).unit}" if key(name).unit else ""
    try:
        value = float(word)
    except ValueError:
        raise InputError(name, word, f"a number{unit}") from None
    if not math.isfinite(value):
        raise InputError(name, word, f"a finite number{unit}")
    return value


@dataclass(frozen=True)
class Answer:
    """Rows that meet a question, and notes on what was left out and why."""

    rows: list[Document]
    notes: tuple[str, ...] = ()


def select(
    database: Database,
    filters: Sequence[str] = (),
    *,
    temperatures_K: Sequence[float] | None = None,
    everything: bool = False,
    resistivity: Resistivity = bulk_resistivity,
) -> Answer:
    """Rows that meet the filters, one for each temperature, as mappings of keys.

    Parameters
    ----------
    filters : see `parse`
    temperatures_K : by default those of a filter temperature_K=..., or 300 K
    everything : also superseded rows and those whose status is not ok
    resistivity : rho(metal, T) in µΩ cm

    Raises
    ------
    InputError : a filter or temperature that is not allowed; a temperature at which every metal asked for
        has molten
    """
    conditions = parse(filters)
    named = [v for c in conditions if c.key.name == "temperature_K" and c.operator == "=" for v in c.values]
    chosen = temperatures_K or [float(v) for v in named] or DEFAULT_TEMPERATURES_K
    chosen = tuple(check_temperature(T) for T in chosen)
    stored = [c for c in conditions if c.key.stored]
    later = [c for c in conditions if not c.key.stored]
    rows, refused = [], dict[tuple[str, float], InputError]()
    for row in database.rows(stored, everything=everything):
        for T in chosen:
            try:
                rows.append(evaluate(row, Situation(T, resistivity=resistivity)))
            except InputError as error:
                refused[str(row["metal"]), T] = error
    if refused and not rows:
        raise next(iter(refused.values()))
    rows = [row for row in rows if all(c.holds(row[c.key.name]) for c in later)]
    notes = tuple(f"{metal} at {T:g} K left out: {error}" for (metal, T), error in refused.items())
    return Answer(sorted(rows, key=_order), notes)


def available(database: Database) -> str:
    """One line that says what is there, for a question without an answer."""
    rows = database.rows(everything=True, details=False)
    if not rows:
        return f"{database.name} holds no records yet"
    served = [row for row in rows if row["standing"] == "current"]
    parts = []
    for name in ("metal", "facet", "hop", "site", "preset"):
        parts.append(f"{name}: {', '.join(sorted({str(row[name]) for row in served})) or 'none'}")
    return f"{database.name} serves {len(served)} of {len(rows)} records; {'; '.join(parts)}"


# output

_LISTED = (
    "metal",
    "facet",
    "hop",
    "site",
    "species",
    "temperature_K",
    "K_wind",
    "z_wind",
    "direction",
    "preset",
    "method",
)


def as_json(rows: Iterable[Document]) -> str:
    """A list of objects with the keys of `KEYS`; null for what was not computed."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)


def as_csv(rows: Iterable[Document]) -> str:
    """One line per row, all keys; arrays and mappings as JSON text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(k.name for k in KEYS)
    for row in rows:
        writer.writerow(_cell(k, row[k.name]) for k in KEYS)
    return out.getvalue().rstrip("\n")


def as_table(rows: Sequence[Document]) -> str:
    """The rows for the eye; a row that is not current says why."""
    heads = {"K_wind": "K_wind (µΩ cm)", "z_wind": "Z_wind", "temperature_K": "T (K)"}
    marked = any(row["standing"] != "current" for row in rows)
    table = [[heads.get(name, name) for name in _LISTED] + ["status"] * marked]
    for row in rows:
        cells = {
            **row,
            "temperature_K": f"{row['temperature_K']:g}",
            "K_wind": plus_minus(row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"]),
            "z_wind": plus_minus(row["z_wind"], row["z_wind_sigma"]),
        }
        status = row["standing"] if row["status"] == "ok" else f"{row['status']}: {row['reason']}"
        table.append([str(cells[name]) for name in _LISTED] + [status] * marked)
    return columns(table)


def result_table(
    rows: Sequence[Document],
    temperatures_K: Sequence[float] = TABLE_TEMPERATURES_K,
    resistivity: Resistivity = bulk_resistivity,
) -> str:
    """The table at the end of a run: one line per site, Z_wind at each temperature, the direction in words.

    `rows` are stored rows (`Database.rows`) or documents of records. A cell is "-" where the metal has
    molten.
    """
    heads = ["metal", "facet", "hop", "site", "K_wind (µΩ cm)"]
    table = [[*heads, *(f"Z_wind({T:g} K)" for T in temperatures_K), "direction"]]
    for row in sorted(rows, key=_order):
        K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"]
        cells = [str(row[name]) for name in heads[:4]]
        if row["status"] != "ok":
            blank = ["-"] * len(temperatures_K)
            table.append([*cells, "-", *blank, f"{row['status']}: {row['reason']}"])
            continue
        valences = []
        for T in temperatures_K:
            try:
                rho = resistivity(str(row["metal"]), T)
                valences.append(plus_minus(K / rho, sigma / rho))
            except InputError:
                valences.append("-")
        table.append([*cells, plus_minus(K, sigma), *valences, direction(_nan(K), _nan(sigma))])
    return columns(table)


def plus_minus(value: float | None, sigma: float | None) -> str:
    """`value ± sigma`, rounded to two digits of sigma."""
    if value is None:
        return "-"
    if sigma is None:
        return f"{value:.4g} ± ?"
    digits = 0 if sigma == 0 else max(0, 1 - math.floor(math.log10(sigma)))
    digits = 4 if sigma == 0 else digits
    return f"{value:.{digits}f} ± {sigma:.{digits}f}"


def columns(table: Sequence[Sequence[str]]) -> str:
    """Cells as aligned columns, a rule under the first line."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def _cell(asked: Key, value: object) -> str:
    if value is None:
        return ""
    if asked.kind == "json":
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return repr(value) if isinstance(value, float) else str(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _order(row: Document) -> tuple[object, ...]:
    fraction = row["fraction"]
    last = 2.0 if fraction is None and row["site"] == HOP_AVERAGE else 1.5
    names = tuple(row[name] for name in ("metal", "facet", "defect", "hop", "species", "preset"))
    return (*names, last if fraction is None else fraction, row["site"], row.get("temperature_K") or 0.0)


__all__ = ["DEFAULT_TEMPERATURES_K", "TABLE_TEMPERATURES_K", "Answer", "Resistivity", "as_csv", "as_json", "as_table",
           "available", "bulk_resistivity", "check_temperature", "columns", "evaluate", "parse", "plus_minus",
           "result_table", "rho_source", "select"]
