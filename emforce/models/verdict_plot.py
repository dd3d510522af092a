"""The observed metals at a glance: Z_direct, Z_wind and Z* with error bars, in bulk and in a thin wire."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ..evaluate import bulk_resistivity, rho_source
from ..plot import _COLOURS, _STYLE, NothingToDraw, _figure, _title
from ..record import drift_direction
from ..stored import Document
from ..wire_analysis import WireQuestion
from .companions import OBSERVED
from .verdict import Finding, findings

STEM = "headline"
#: metal, facet, hop, site
_Column = tuple[str, str, str, str]
#: diameter of the wire of the third panel, nm
WIRE_NM = 3.0
_SHOWN = {
    ("direct", "dft"): (r"$Z_\mathrm{direct}$", _COLOURS[4], "^"),
    ("wind", ""): (r"$Z_\mathrm{wind}$", _COLOURS[0], "o"),
    ("total", "dft"): (r"$Z^* = Z_\mathrm{direct} + Z_\mathrm{wind}$", "black", "D"),
}


def headline_figure(
    rows: Sequence[Document], hosts: Mapping[int, Mapping[str, Any]], temperature_K: float = 300.0, wire_nm: float = WIRE_NM
) -> Figure:
    """Z_direct (left), Z_wind and Z* in bulk metal (middle) and in a wire (right), a column per hop or direction of drift.

    An arrow at the top of each column points where the surface atoms of the metal were seen to drift.

    Parameters
    ----------
    rows : stored rows, joined per hop, and per direction of drift where they are wanted
    hosts : rows of the hosts by their id
    temperature_K : of rho
    wire_nm : diameter of the wire, rough surface (specularity 0), grain boundaries a diameter apart with reflection 0.3

    Raises
    ------
    NothingToDraw : no surface hop of a metal whose drift was observed
    InputError : a temperature outside the range of a metal
    """
    found, _ = findings(rows, hosts, WireQuestion((temperature_K,), (wire_nm,)))
    if not found:
        raise NothingToDraw(f"no headline to draw: no surface hop with K of {', '.join(OBSERVED)} whose host is stored")
    names = list(dict.fromkeys(_column(f) for f in sorted(found, key=lambda f: (f.observed, f.metal, f.facet))))
    shown = [row for row in rows if (row["metal"], row["facet"], row["hop"], row["site"]) in names]
    sources = sorted({f"{metal}: {rho_source(metal, temperature_K, bulk_resistivity)}" for metal, *_ in names})
    drift = any(drift_direction(site) for *_, site in names)
    lead = (f"Positive: along the electric field, against the electrons (upwind). Hop averages, {temperature_K:g} K"
            f"{'; where a direction is named: drift over all hops under a current along it' if drift else ''}. Error bars: one "
            f"standard uncertainty; thick bars: intervals. Arrows: observed drift, up for upwind. Wire: round, {wire_nm:g} nm, "
            f"specularity 0, grain boundaries a diameter apart with reflection 0.3. ρ of {'; '.join(sources)}.")
    with mpl.rc_context(_STYLE):
        width = max(2.6, 0.48 * len(names) + 0.7)
        figure, axes = _figure(3, shown, lead, widths=(width,) * 3)
        panels = (("Direct part", ("direct",), None), ("Bulk metal", ("wind", "total"), None),
                  (f"Wire of {wire_nm:g} nm", ("wind", "total"), wire_nm))
        for axis, (title, terms, diameter) in zip(axes, panels, strict=True):
            _draw(axis, [f for f in found if f.term in terms and f.diameter_nm == diameter], names)
            axis.set_title(title)
        axes[0].set_ylabel("Valence along the current (units of $e$)")
        handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        axes[1].legend(handles.values(), handles, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def _column(f: Finding) -> _Column:
    return f.metal, f.facet, f.hop, f.site


def _direction(site: str) -> str:
    """Crystal direction of a drift in math text, the hop in words."""
    name = drift_direction(site)
    return "$" + re.sub(r"-(\d)", r"\\bar{\1}", name) + "$" if name else "along hop"


def _draw(axis: Any, found: Sequence[Finding], names: Sequence[_Column]) -> None:
    for f in found:
        look = _SHOWN.get((f.term, f.direct_model))
        if look is None:
            continue  # the models of the direct part have figures of their own
        name, colour, marker = look
        label = name if name not in axis.get_legend_handles_labels()[1] else None
        at = names.index(_column(f)) + {"wind": -0.13, "total": 0.13, "direct": 0.0}[f.term]
        if f.value is None:
            axis.plot([at, at], [f.low, f.high], color=colour, linewidth=4, solid_capstyle="butt", label=label)
        else:
            axis.errorbar(at, f.value, yerr=f.sigma, color=colour, marker=marker, markersize=5, elinewidth=1.2, linestyle="none",
                          markerfacecolor="white" if f.term == "total" else colour, label=label)
    axis.axhline(0, color="0.3", linewidth=0.8)
    low, high = axis.get_ylim()
    reach = 0.16 * (high - low)
    axis.set(xlim=(-0.6, len(names) - 0.4), ylim=(low, high + 1.5 * reach))
    for i, metal in enumerate(name[0] for name in names):
        up = OBSERVED[metal] == "upwind"
        tail, head = (high + 0.1 * reach, high + 1.2 * reach) if up else (high + 1.2 * reach, high + 0.1 * reach)
        axis.annotate("", (i, head), (i, tail), arrowprops={"arrowstyle": "-|>", "color": _COLOURS[1], "lw": 1.6})
    several = {name[:3] for name in names if drift_direction(name[3])}  # hops beside whose average there are drifts
    ticks = [_title(*name[:2]) + (f"\n{_direction(name[3])}" if name[:3] in several else "") for name in names]
    axis.set_xticks(range(len(names)), ticks, fontsize=6.5)
    axis.tick_params(axis="x", length=0)


__all__ = ["STEM", "headline_figure"]
