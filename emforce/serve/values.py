"""Questions that come as text from a form, an address or SQL, and rows as cells of a page; `emforce.query` answers them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..database import Database
from ..errors import EmforceError, InputError
from ..evaluate import DIRECT_MODELS, Wire
from ..keys import BY_NAME, KEYS, SIGMA_OF
from ..query import Answer, Question, check_temperature, parse, parse_expression, plus_minus, select
from ..stored import Document
from ..tables import interval

#: what a page may ask, and what holds where nothing is given
DEFAULTS = {"filter": "", "temperature_K": "300", "direct_model": "dft", "which": "best", "literature": "", "sort": "",
            "wire_diameter_nm": ""}  # fmt: skip
WHICH = {"best": "best of each hop", "current": "every served row", "all": "history and failures too"}
#: figures of a page, and their names
FIGURES = {"bars": "parts of Z*", "wind": "Z_wind against 1/ρ", "hop": "K along the hop", "wire": "Z* in wires"}
#: columns of the page; those in which no row has a value are left out
COLUMNS = (
    "rank_value", "metal", "facet", "defect", "hop", "site", "species", "temperature_K", "k_wind_uohm_cm", "z_wind", "direction",
    "z_direct_used", "z_star", "direction_total", "force_per_j_fN_m2_TA", "ea_eV", "d_m2_s", "q_star_eV", "wire_diameter_nm",
    "rho_uohm_cm", "preset", "method", "status", "source",
)  # fmt: skip
_IDENTITY = [key.name for key in KEYS if key.role == "identity"]


@dataclass(frozen=True)
class Asked:
    """A question in the words of the page.

    Parameters
    ----------
    filters : conditions as of `emforce query`
    question : the rest of it
    words : what stands in the fields of the form
    """

    filters: str
    question: Question
    words: Mapping[str, str]


def understand(given: Mapping[str, str]) -> Asked:
    """The question that some fields of the form mean; fields that are absent or empty have their default.

    Raises
    ------
    InputError : an unknown field, a value that is not allowed, an unknown key in a filter or expression
    """
    for name, value in given.items():
        if name not in DEFAULTS:
            raise InputError(name, value, ", ".join(DEFAULTS))
    words = {name: given.get(name, "").strip() or default for name, default in DEFAULTS.items()}
    for name, allowed in (("which", tuple(WHICH)), ("direct_model", DIRECT_MODELS)):
        if words[name] not in allowed:
            raise InputError(name, words[name], ", ".join(allowed))
    parse([words["filter"]])
    if words["sort"]:
        parse_expression(words["sort"])
    diameter, kelvins = words["wire_diameter_nm"], words["temperature_K"].replace(",", " ").split()
    question = Question(
        temperatures_K=tuple(check_temperature(_number("temperature", t)) for t in kelvins),
        which=cast(Literal["current", "all", "best"], words["which"]),
        literature=words["literature"] not in ("", "0"),
        direct_model=words["direct_model"],
        wire=Wire(_number("wire_diameter_nm", diameter)) if diameter else None,
        sort=words["sort"],
    )
    return Asked(words["filter"], question, words)


def answer(database: Path, given: Mapping[str, str]) -> Answer:
    """The answer of `emforce.query.select` to fields of the form."""
    asked = understand(given)
    with Database(database) as opened:
        return select(opened, [asked.filters], asked.question)


def as_json_rows(database: Path, *words: str) -> str:
    """The SQL function emforce_rows: rows as a JSON array, or a single one with what is wrong under "message".

    Parameters
    ----------
    words : filter, temperature_K, direct_model, which, sort, as text; NULL or "" for the default
    """
    names = ("filter", "temperature_K", "direct_model", "which", "sort")
    given = {name: "" if word is None else str(word) for name, word in zip(names, words, strict=True)}
    try:
        return json.dumps(answer(database, given).rows, ensure_ascii=False, allow_nan=False)
    except EmforceError as error:
        return json.dumps([{"message": str(error)}], ensure_ascii=False)


def numbers(database: Path) -> dict[tuple[Any, ...], int]:
    """Row numbers by what tells rows apart, for evaluated rows, which do not carry them."""
    with Database(database) as opened:
        return {_tells(row): int(row["id"]) for row in opened.rows(everything=True, details=False)}


def links(row: Document, known: Mapping[tuple[Any, ...], int]) -> dict[str, int]:
    """Rows that an evaluated row came from, by what was taken from them."""
    if row["joined"]:
        return {group: int(source["id"]) for group, source in row["joined"].items()}
    number = known.get(_tells(row))
    return {} if number is None else {"row": number}


def shown_columns(rows: Sequence[Document]) -> list[str]:
    """Those of `COLUMNS` in which a row has a value."""
    return [name for name in COLUMNS if any(cell(row, name) not in ("", "–") for row in rows)]


def cell(row: Document, name: str) -> str:
    """A value with its standard uncertainty, or its interval, as it stands on the page."""
    value = row[name]
    if name == "status":
        return "" if row["standing"] == "current" else f"{row['standing']}: {row['reason']}".removesuffix(": ")
    between = interval(row, name)
    if between is not None:
        return between
    if value is None:
        return "–"
    if name == "d_m2_s":
        return f"{value:.2e}" + (f" ×/÷ {row['d_factor']:.2g}" if row["d_factor"] is not None else "")
    if name == "z_direct_used":
        computed = row["direct_model"] == "dft"
        return plus_minus(value, row["z_direct_sigma"]) if computed else f"{value:.3g} ({row['direct_model']})"
    if name in SIGMA_OF:
        return plus_minus(value, row[SIGMA_OF[name]])
    return f"{value:.4g}" if BY_NAME[name].kind == "number" else str(value)


def _tells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(row[name] for name in _IDENTITY), row["created"], row["source"], row["k_wind_uohm_cm"], row["z_star_reported"],
            row["d0_m2_s"], row["reported_low_K"], row["reported_high_K"])


def _number(name: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(name, word, "a number") from None


__all__ = ["COLUMNS", "DEFAULTS", "FIGURES", "WHICH", "Asked", "answer", "as_json_rows", "cell", "links", "numbers",
           "shown_columns", "understand"]
