"""Comparisons as text: a table for readers, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from .comparison import LOGARITHMIC, MEMORY, NOTHING, PLANE_WAVES, SYMBOLS, Comparison
from .tables import columns, documents_csv, markdown, plus_minus

_HEADS = ["hop or host", "quantity", "T (K)", "computed", "published", "difference", "in σ", "verdict", "source", MEMORY]


def cells(found: Sequence[Comparison], *, of_hosts: bool = False) -> tuple[list[list[str]], list[str]]:
    """The table for readers, its head first, and the sources that it numbers.

    `of_hosts` : the same without the column of temperatures and with the ratio instead of the difference
    """
    sources: dict[str, int] = {}
    for line in found:
        if line.source:
            sources.setdefault(_origin(line), len(sources) + 1)
    heads = [head for head in _HEADS if not (of_hosts and head == "T (K)")]
    if of_hosts:
        heads[heads.index("difference")], heads[heads.index("published")] = "off by", "published, or plane waves"
    table = [heads]
    for line in found:
        unit = f" ({line.unit})" if line.unit else ""
        number = f"[{sources[_origin(line)]}]" if line.source else ""
        kind = line.method.split(",")[0]  # measured or calculated
        published = _text(line.published, line.published_sigma, "plane waves" if line.method == PLANE_WAVES else "no σ stated")
        if line.verdict == NOTHING:
            published = NOTHING
        memory = "" if line.from_memory is None else " ".join(filter(None, (
            _text(line.from_memory, line.from_memory_sigma, "no σ stated"), number, kind)))
        kelvin = "" if line.temperature_K is None else f"{line.temperature_K:.0f}"
        row = [line.subject, f"{SYMBOLS[line.quantity]}{unit}", kelvin,
               _ours(line), published, _apart(line, of_hosts), _in_sigma(line), "" if line.verdict == NOTHING else line.verdict,
               "" if line.from_memory is not None else f"{number} {kind}".strip(), memory]
        table.append([cell for head, cell in zip(_HEADS, row, strict=True) if not (of_hosts and head == "T (K)")])
    return table, [f"[{number}] {origin}" for origin, number in sources.items()]


def _origin(line: Comparison) -> str:
    method = "" if line.method == PLANE_WAVES else line.method
    parts = [line.source, method, line.condition, f"seen: {line.seen}" if line.seen else ""]
    return ". ".join(filter(None, parts))


def _text(value: float | None, sigma: float | None, unknown: str) -> str:
    if value is None:
        return ""
    if abs(value) < 1e-3:
        return f"{value:.1e} ± {sigma:.1e}" if sigma is not None else f"{value:.1e} ({unknown})"
    return plus_minus(value, sigma) if sigma is not None else f"{value:.4g} ({unknown})"


def _ours(line: Comparison) -> str:
    if line.computed is not None:
        return _text(line.computed, line.computed_sigma, "no σ") if line.computed_sigma is not None else f"{line.computed:.4g}"
    if line.computed_low is not None and line.computed_high is not None:
        return f"{line.computed_low:.3g} to {line.computed_high:.3g}"
    return ""


def _apart(line: Comparison, relative: bool) -> str:
    if line.difference is None:
        return ""
    if line.quantity in LOGARITHMIC and line.ratio:
        return f"factor {line.ratio:.2g}"
    if relative and line.ratio:
        return f"{100 * (line.ratio - 1):+.1f} %"
    return f"{line.difference:+.3g}"


def _in_sigma(line: Comparison) -> str:
    if line.sigmas is None:
        return ""
    return f"{line.sigmas:+.1f}" + ("" if line.sigma_of == "both" else f" ({line.sigma_of})")


def _blocks(found: Sequence[Comparison]) -> list[tuple[str, list[list[str]], list[str]]]:
    parts = (("Hops", "hop", False), ("Hosts", "host", True))
    return [(title, *cells(some, of_hosts=host)) for title, kind, host in parts
            if (some := [line for line in found if line.kind == kind])]


def as_table(found: Sequence[Comparison]) -> str:
    """Aligned columns, hops before hosts, the sources of each below it."""
    return "\n\n".join("\n".join([columns(table), *sources]) for _, table, sources in _blocks(found))


def as_markdown(found: Sequence[Comparison]) -> str:
    """The same in Markdown, a heading of the third level for hops and for hosts."""
    blocks = []
    for title, table, sources in _blocks(found):
        blocks.append("\n".join([f"### {title}", "", *markdown(table), "", *(f"- {source}" for source in sources)]).rstrip())
    return "\n\n".join(blocks)


def as_json(found: Sequence[Comparison]) -> str:
    """A list of objects with the attributes of `Comparison`; null for what is not there."""
    return json.dumps([line.document() for line in found], indent=2, ensure_ascii=False, allow_nan=False)


def as_csv(found: Sequence[Comparison]) -> str:
    """One line per comparison, the attributes of `Comparison` as columns; empty for what is not there."""
    return documents_csv([line.document() for line in found])


WRITERS: dict[str, Callable[[Sequence[Comparison]], str]] = {
    "table": as_table, "markdown": as_markdown, "csv": as_csv, "json": as_json,
}  # fmt: skip

__all__ = ["WRITERS", "as_csv", "as_json", "as_markdown", "as_table", "cells"]
