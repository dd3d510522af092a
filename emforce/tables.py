"""Answers as text: tables for the eye, JSON, CSV and YAML for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence

from .errors import InputError
from .evaluate import Resistivity, Situation, bulk_resistivity, evaluate
from .keys import BY_NAME, KEYS, SIGMA_OF, Key
from .record import HOP_AVERAGE, direction, drift_direction
from .stored import Document

TABLE_TEMPERATURES_K = (300.0, 400.0, 600.0, 800.0)
_ALWAYS = ("metal", "facet", "hop", "site", "species", "temperature_K", "k_wind_uohm_cm", "z_wind", "direction")
#: listed where a row has a value
_WHERE_THERE = (
    "wire_diameter_nm", "z_direct_used", "z_star", "direction_total", "force_per_j_fN_m2_TA", "ea_eV", "d_m2_s", "q_star_eV",
    "rank_value",
)  # fmt: skip
_HEADS = {
    "temperature_K": "T (K)", "k_wind_uohm_cm": "K_wind (µΩ cm)", "z_wind": "Z_wind", "z_star": "Z*",
    "z_direct_used": "Z_direct", "direction_total": "total", "force_per_j_fN_m2_TA": "F/j (fN m²/TA)",
    "wire_diameter_nm": "d (nm)", "ea_eV": "E_a (eV)", "d_m2_s": "D (m²/s)", "q_star_eV": "Q* (eV)", "rank_value": "rank",
}  # fmt: skip


def as_json(rows: Iterable[Document]) -> str:
    """A list of objects with the keys of `KEYS`; null for what was not computed."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)


def as_yaml(rows: Iterable[Document]) -> str:
    """The same list as YAML."""
    import yaml  # type: ignore[import-untyped]

    return str(yaml.safe_dump(list(rows), sort_keys=False, allow_unicode=True, width=120)).rstrip("\n")


def as_csv(rows: Iterable[Document]) -> str:
    """One line per row, all keys; arrays and mappings as JSON text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(k.name for k in KEYS)
    for row in rows:
        writer.writerow(_cell(k, row[k.name]) for k in KEYS)
    return out.getvalue().rstrip("\n")


def documents_csv(documents: Sequence[Document], names: Sequence[str] = ()) -> str:
    """One line per document; `names` as the head, or all of the first document; nothing for None."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names or documents[0], extrasaction="ignore" if names else "raise", lineterminator="\n")
    writer.writeheader()
    writer.writerows(documents)
    return out.getvalue().rstrip("\n")


def as_table(rows: Sequence[Document]) -> str:
    """The rows for the eye; a row that is not current says why, one of the literature where it is from."""
    names = [*_ALWAYS, *(name for name in _WHERE_THERE if any(_there(row, name) for row in rows))]
    if "z_star" in names:
        names.insert(names.index("z_star") + 1, "direct_model")
    if any(row["source"] for row in rows):
        names.append("source")
    names += ["preset", "method"]
    marked = any(row["standing"] != "current" for row in rows)
    table = [[_HEADS.get(name, name) for name in names] + ["status"] * marked]
    for row in rows:
        failed = row["standing"] == "not served"
        status = f"{row['status']}: {row['reason']}" if failed else str(row["standing"])
        table.append([_shown(row, name) for name in names] + [status] * marked)
    return columns(table)


def _there(row: Document, name: str) -> bool:
    name = "z_star" if name == "direction_total" else name  # a total without a direct part is no total
    return row[name] is not None or interval(row, name) is not None


def interval(row: Document, name: str) -> str | None:
    """The interval of Z* or the direct valence (computed, not a model of it) where it has no single value; None for all else."""
    stem = {"z_star": "z_star", "z_direct_used": "z_direct"}.get(name)
    if stem is None or row[name] is not None or (name == "z_direct_used" and row["direct_model"] != "dft"):
        return None
    return _between(row, stem)


def _between(row: Document, name: str) -> str | None:
    """The interval of a quantity that has no single value, from the two ends stored beside it."""
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return None if row.get(name) is not None or low is None or high is None else f"{low:.3g} to {high:.3g}"


def _shown(row: Document, name: str) -> str:
    value = row[name]
    between = interval(row, name)
    if between is not None:
        return between
    if name == "z_direct_used" and row["direct_model"] == "dft":
        return plus_minus(value, row["z_direct_sigma"])
    if name == "d_m2_s" and value is not None:
        factor = row["d_factor"]
        return f"{value:.2e}" + (f" ×/÷ {factor:.2g}" if factor is not None else "")
    if name in SIGMA_OF:
        return plus_minus(value, row[SIGMA_OF[name]])
    if BY_NAME[name].kind == "number":
        return "-" if value is None else f"{value:.4g}"
    return str(value)


def result_table(
    rows: Sequence[Document],
    temperatures_K: Sequence[float] = TABLE_TEMPERATURES_K,
    resistivity: Resistivity = bulk_resistivity,
) -> str:
    """The table at the end of a run: one line per site, its valence at each temperature, the direction in words.

    Z* = Z_direct + K_wind/rho where a row has its direct valence, Z_wind = K_wind/rho in a table in which none has. `rows` are
    stored rows (`Database.rows`) or documents of records. A cell is "-" where the metal has molten or the direct valence is
    not known; an interval stands as `low to high`.
    """
    whole = any(row.get("z_direct") is not None or row.get("z_direct_low") is not None for row in rows)
    heads = ["metal", "facet", "hop", "site"]
    name = "Z*" if whole else "Z_wind"
    values = ["K_wind (µΩ cm)", *(["Z_direct"] if whole else [])]
    table = [[*heads, *values, *(f"{name}({T:g} K)" for T in temperatures_K), "direction"]]
    for row in sorted(rows, key=order):
        K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"]
        cells = [str(row[name]) for name in heads]
        if row["status"] != "ok" or K is None:
            why = "no wind force" if row["status"] == "ok" else f"{row['status']}: {row['reason']}"
            table.append([*cells, *["-"] * (len(values) + len(temperatures_K)), why])
            continue
        cells.append(plus_minus(K, sigma))
        if whole:
            cells.append(_or_interval(row, "z_direct"))
        directions = set() if whole else {direction(_nan(K), _nan(sigma))}
        for T in temperatures_K:
            try:
                value = evaluate(row, Situation(T, resistivity=resistivity))
            except InputError:
                cells.append("-")
                continue
            cells.append(_or_interval(value, "z_star") if whole else plus_minus(value["z_wind"], value["z_wind_sigma"]))
            if whole:
                directions.add(str(value["direction_total"]))
        table.append([*cells, (directions.pop() or "-") if len(directions) == 1 else "changes with T"])
    return columns(table)


def _or_interval(row: Document, name: str) -> str:
    """`value ± sigma`, or the interval of a quantity without a single value."""
    return _between(row, name) or plus_minus(row.get(name), row.get(f"{name}_sigma"))


def plus_minus(value: float | None, sigma: float | None) -> str:
    """`value ± sigma`, rounded to two digits of sigma."""
    if value is None:
        return "-"
    if sigma is None:
        return f"{value:.4g} ± ?"
    digits = 0 if sigma == 0 else max(0, 1 - math.floor(math.log10(sigma)))
    digits = 4 if sigma == 0 else digits
    return f"{round(value, digits) + 0.0:.{digits}f} ± {sigma:.{digits}f}"  # + 0.0: no -0


def columns(table: Sequence[Sequence[str]]) -> str:
    """Cells as aligned columns, a rule under the first line."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first line its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    return [lines[0], "|" + " --- |" * len(table[0]), *lines[1:]]


def order(row: Document) -> tuple[object, ...]:
    """Rows of one hop together, from its initial site to its average."""
    fraction = row["fraction"]
    site = str(row["site"])
    last = 2.0 if fraction is None and site == HOP_AVERAGE else 2.5 if drift_direction(site) else 1.5
    names = tuple(row[name] for name in ("metal", "facet", "defect", "hop", "species", "preset"))
    return (*names, last if fraction is None else fraction, row["site"], row.get("temperature_K") or 0.0)


def _cell(asked: Key, value: object) -> str:
    if value is None:
        return ""
    if asked.kind == "json":
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return repr(value) if isinstance(value, float) else str(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


WRITERS: dict[str, Callable[[Sequence[Document]], str]] = {
    "table": as_table, "json": as_json, "csv": as_csv, "yaml": as_yaml,
}  # fmt: skip

__all__ = ["TABLE_TEMPERATURES_K", "WRITERS", "as_csv", "as_json", "as_table", "as_yaml", "columns", "markdown", "order",
           "plus_minus", "result_table"]
