"""Questions to the database: a small filter language, rows evaluated at a temperature, ranked.

    metal=W facet=110 site=saddle z_wind<-6        conditions that all hold; any key, = != < <= > >=
    metal=Cu,W                                     any of several
    site=hop average                               text may hold spaces

Stored rows as they are, or the best of each hop (`emforce.best`); published values beside them where asked for. What depends
on temperature, wire and direct model is computed by `emforce.evaluate`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from .best import best_drifts, best_rows
from .database import STANDINGS, Condition, Database, Operator
from .errors import InputError
from .evaluate import (
    Resistivity,
    Situation,
    Wire,
    bulk_resistivity,
    check_temperature,
    evaluate,
    host_of,
    rho_source,
)
from .expression import parse_expression
from .keys import DETAILS, key
from .record import HOP_AVERAGE
from .stored import Document
from .tables import (
    TABLE_TEMPERATURES_K,
    WRITERS,
    as_csv,
    as_json,
    as_table,
    as_yaml,
    columns,
    order,
    plus_minus,
    result_table,
)

DEFAULT_TEMPERATURES_K = (300.0,)

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
        raise InputError(name, word, f"a number{unit}, without the unit") from None
    if not math.isfinite(value):
        raise InputError(name, word, f"a finite number{unit}")
    return value


@dataclass(frozen=True)
class Question:
    """What is asked beside the conditions.

    Parameters
    ----------
    temperatures_K : none: those of a condition temperature_K=..., or 300 K
    which : "current" rows, "all" (superseded and failed ones too), the "best" of each hop, joined, or the best of each "drift"
        along a direction of a surface
    literature : published values as well, those that were seen at their source; unverified ones only where a condition
        on status or standing names them
    direct_model : direct part of Z*, one of `emforce.evaluate.DIRECT_MODELS`
    wire : resistivity of a wire instead of the bulk
    sort : expression (`emforce.expression`) by which rows are ranked, largest first; "": by hop and site
    details : also the keys of kind json
    resistivity : rho(metal, T) of the bulk in µΩ cm
    """

    temperatures_K: tuple[float, ...] = ()
    which: Literal["current", "all", "best", "drift"] = "current"
    literature: bool = False
    direct_model: str = "dft"
    wire: Wire | None = None
    sort: str = ""
    details: bool = True
    resistivity: Resistivity = bulk_resistivity


@dataclass(frozen=True)
class Answer:
    """Rows that meet a question, and notes on what was left out and why."""

    rows: list[Document]
    notes: tuple[str, ...] = ()


def select(database: Database, filters: Sequence[str] = (), question: Question | None = None) -> Answer:
    """Rows that meet the filters, one for each temperature, as mappings of keys.

    Parameters
    ----------
    filters : see `parse`
    question : temperatures and the rest; None: the defaults of `Question`

    Raises
    ------
    InputError : a filter, temperature or expression that is not allowed; a temperature at which every metal
        asked for has molten
    """
    asked = question or Question()
    conditions = parse(filters)
    expression = parse_expression(asked.sort) if asked.sort else None
    situations = [Situation(T, asked.direct_model, asked.wire, asked.resistivity) for T in _temperatures(asked, conditions)]
    rows, later = _stored(database, conditions, asked)
    hosts = {int(row["id"]): row for row in database.host_rows(everything=True, details=False)}
    found, refused, hostless = [], dict[tuple[str, float], InputError](), set[str]()
    for row in rows:
        host = host_of(row, hosts)
        if asked.wire and not row["source"] and not (host and host.get("rho_lambda_fohm_m2")):
            hostless.add(str(row["metal"]))
        for situation in situations:
            try:
                found.append(evaluate(row, situation, host))
            except InputError as error:
                refused[str(row["metal"]), situation.temperature_K] = error
    if refused and not found:
        raise next(iter(refused.values()))
    found = [row for row in found if all(c.holds(row[c.key.name]) for c in later)]
    notes = [f"{metal} at {T:g} K left out: {error}" for (metal, T), error in refused.items()]
    notes += [f"{metal}: no host of its basis with rho lambda is stored; a published one is used" for metal in sorted(hostless)]
    found.sort(key=order)
    if expression is not None:
        for row in found:
            row["rank_value"] = expression.value(row)
        found.sort(key=lambda row: -math.inf if row["rank_value"] is None else row["rank_value"], reverse=True)
        missing = [name for name in expression.names if found and all(row[name] is None for row in found)]
        if missing:
            hint = "" if asked.which == "best" else "; --best joins what is stored about each hop"
            notes.append(f"no row has {', '.join(missing)}: not ranked by {expression.text}{hint}")
    return Answer(found, (*notes, *_reported_notes(found)))


def _temperatures(asked: Question, conditions: Sequence[Condition]) -> tuple[float, ...]:
    named = [float(v) for c in conditions if c.key.name == "temperature_K" and c.operator == "=" for v in c.values]
    chosen = asked.temperatures_K or tuple(named) or DEFAULT_TEMPERATURES_K
    return tuple(check_temperature(T) for T in chosen)


def _stored(database: Database, conditions: Sequence[Condition], asked: Question) -> tuple[list[Document], list[Condition]]:
    """Stored rows, and the conditions that are still to be met once they are evaluated."""
    joined = asked.which in ("best", "drift")
    early = [c for c in conditions if c.key.stored and (not joined or c.key.role == "identity")]
    later = [c for c in conditions if c not in early]
    named = {str(v) for c in conditions if c.key.name in ("status", "standing") and c.operator == "=" for v in c.values}
    wanted = {"current"} | (named & set(STANDINGS)) | ({"literature"} if asked.literature else set())
    if asked.which == "drift":
        return _without_details(best_drifts(database.rows(early)), asked), later
    if asked.which == "best":
        if any(c.key.name == "site" for c in early):
            raise InputError("site", "a condition", "none with --best, which joins what is stored for the hop as a whole")
        average = Condition(key("site"), "=", (HOP_AVERAGE,))
        rows = _without_details(best_rows(database.rows([*early, average])), asked)
        others = sorted(wanted - {"current"})
        return rows + (database.rows(early, details=asked.details, standing=others) if others else []), later
    return database.rows(early, everything=asked.which == "all", details=asked.details, standing=sorted(wanted)), later


def _without_details(rows: Sequence[Document], asked: Question) -> list[Document]:
    """Joined rows without the keys of kind json where these are not asked for: which row is the best hangs on some of them."""
    return [{name: value for name, value in row.items() if asked.details or name not in DETAILS} for row in rows]


def _reported_notes(rows: Sequence[Document]) -> list[str]:
    """Published values hold at their own temperatures only: say which."""
    outside = [row for row in rows if row["reported_low_K"] is not None
               and not row["reported_low_K"] <= row["temperature_K"] <= row["reported_high_K"]]
    if not outside:
        return []
    ranges = sorted({f"{row['metal']} {row['reported_low_K']:.0f} to {row['reported_high_K']:.0f} K" for row in outside})
    return [f"{len(outside)} published rows hold at other temperatures than asked for: {', '.join(ranges)}"]


def available(database: Database) -> str:
    """One line that says what is there, for a question without an answer."""
    total = sum(database.counts().values())
    if not total:
        return f"{database.name} holds no records yet"
    names = ("metal", "facet", "hop", "site", "preset", "method", "spec", "defect", "species")
    served = database.served(names)
    parts = []
    for i, name in enumerate(names[:5]):
        parts.append(f"{name}: {', '.join(sorted({row[i] for row in served})) or 'none'}")
    return f"{database.name} serves {len(served)} of {total} records; {'; '.join(parts)}"


__all__ = ["DEFAULT_TEMPERATURES_K", "TABLE_TEMPERATURES_K", "WRITERS", "Answer", "Question", "Resistivity", "as_csv",
           "as_json", "as_table", "as_yaml", "available", "bulk_resistivity", "check_temperature", "columns", "evaluate",
           "parse", "parse_expression", "plus_minus", "result_table", "rho_source", "select"]
