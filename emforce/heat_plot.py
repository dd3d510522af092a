"""Figure of the heat of transport: its terms against temperature beside published values, and S of the host.

Style, colours and caption are those of `emforce.plot`. Q > 0: towards the cold end. Bands are one standard uncertainty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .best import best_of_each
from .keys import BY_NAME
from .plot import _COLOURS, _STYLE, NothingToDraw, _figure, _legend_below, _title
from .record import HOP_AVERAGE
from .seebeck import measured, published_heats
from .stored import Document

#: kinds of figure, and the names of their files
KINDS = {"heat-terms": "heat-terms"}
_SIGN = "Q > 0: towards the cold end. Bands: one standard uncertainty; of the lattice part: its bounds."


def terms_figure(rows: Iterable[Document]) -> Figure:
    """Terms of Q*(T) and S(T), two panels for each hop: what was computed, and what was measured or published.

    Parameters
    ----------
    rows : stored rows; of each hop the best hop average with a heat of transport is drawn

    Raises
    ------
    NothingToDraw : no such row
    """
    best = best_of_each(
        (row for row in rows if row["site"] == HOP_AVERAGE and (row.get("provenance") or {}).get("heat")), "heat")
    if not best:
        raise NothingToDraw("no terms of the heat of transport to draw: no hop average made by `emforce heat`")
    drawn = [best[hop] for hop in sorted(best)]
    with mpl.rc_context(_STYLE):
        lead = f"{_SIGN} {_sources({str(row['metal']) for row in drawn})}"
        figure, axes = _figure(2 * len(drawn), drawn, lead, widths=(3.6, 3.4) * min(len(drawn), 2), panel_height=4.4)
        for i, row in enumerate(drawn):
            _draw_terms(axes[2 * i], row)
            _draw_seebeck(axes[2 * i + 1], row)
            axes[2 * i].set_title(f"{_title(row['metal'], row['facet'])} {row['defect']}\n{row['hop']}")
            axes[2 * i + 1].set_title("Host\n")
            for axis in axes[2 * i : 2 * i + 2]:
                axis.set_xlabel(BY_NAME["temperature_K"].axis)
                axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
                _legend_below(axis)
    return figure


def _draw_terms(axis: Any, row: Document) -> None:
    details: Mapping[str, Any] = row["provenance"]["heat"]
    table = row["q_of_temperature"]
    T, q = _numbers(table["temperature_K"]), _numbers(table.get("q_el_eV"), len(table["temperature_K"]))
    # withheld where that without field is
    opened = np.where(np.isnan(q), np.nan, _numbers(details["q_el_open_circuit_eV"]))
    other = np.where(np.isnan(q), np.nan, _numbers(details["q_el_open_circuit_measured_seebeck_eV"]))
    sigma = _numbers(table.get("q_el_sigma_eV"), len(T))
    _band(axis, T, (q, sigma), 0, r"$Q_\mathrm{el}(E=0)$")
    _band(axis, T, (opened, _numbers(details["q_el_open_circuit_sigma_eV"])), 1, r"$Q_\mathrm{el}(J=0)$")
    if np.isfinite(other).any():
        axis.plot(T, other, color=_COLOURS[1], linestyle=":", label=r"$Q_\mathrm{el}(J=0)$, measured $S$")
    if row["q_lattice_low_eV"] is not None:
        axis.axhspan(row["q_lattice_low_eV"], row["q_lattice_high_eV"], color=_COLOURS[2], alpha=0.15, linewidth=0, zorder=0,
                     label="lattice part, bounds")
    if "q_star_eV" in table:
        _band(axis, T, (_numbers(table["q_star_eV"]), _numbers(table["q_star_sigma_eV"])), 3, r"$Q^*(J=0)$")
    known = [entry for entry in published_heats(str(row["metal"])) if entry.verified]
    for entry, line in zip(known, ("--", "-.", ":"), strict=False):
        axis.axhline(entry.q_eV, color="0.4", linestyle=line, linewidth=1.0, label=f"published, {entry.where}")
    axis.set_ylabel("Heat of transport (eV)")


def _draw_seebeck(axis: Any, row: Document) -> None:
    table, details = row["q_of_temperature"], row["provenance"]["heat"]
    T = _numbers(table["temperature_K"])
    _band(axis, T, (_numbers(table["seebeck_uV_K"]), _numbers(table["seebeck_sigma_uV_K"])), 0, r"$\tau$ constant")
    axis.plot(T, _numbers(details["inverse_dos"]["seebeck_uV_K"]), color=_COLOURS[0], linestyle="--", label=r"$\tau\propto1/$DOS")
    for entry in measured(str(row["metal"])):
        single = len(entry.temperature_K) == 1
        axis.plot(entry.temperature_K, entry.seebeck_uV_K, color="0.2", marker="o" if single else "", markersize=4.5,
                  linestyle="none" if single else "-", fillstyle="full" if entry.verified else "none",
                  label="measured" if entry.verified else "measured (not verified)")
    axis.set_ylabel(BY_NAME["seebeck_uV_K"].axis)


def _band(axis: Any, T: np.ndarray, estimate: tuple[np.ndarray, np.ndarray], i: int, label: str) -> None:
    value, sigma = estimate
    if not np.isfinite(value).any():
        return
    axis.plot(T, value, color=_COLOURS[i], label=label)
    axis.fill_between(T, value - sigma, value + sigma, color=_COLOURS[i], alpha=0.12, linewidth=0)


def _numbers(values: Sequence[float | None] | None, length: int = 0) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in (values or [None] * length)], dtype=float)


def _sources(metals: set[str]) -> str:
    """Where the measured and published values are from."""
    lines = []
    for metal in sorted(metals):
        lines += [f"S of {metal}: {entry.source}." for entry in measured(metal)]
        lines += [f"Q of {metal}, {entry.where}: {entry.source}." for entry in published_heats(metal) if entry.verified]
    return " ".join(lines)


__all__ = ["KINDS", "terms_figure"]
