"""Figures for materials screening: hops ranked by force and by drift, heat of transport, parity, parts of the uncertainty.

The numbers are those of `emforce.screening`; style, colours and caption those of `emforce.plot`. Each function returns a
matplotlib `Figure`; `emforce.plot.save` writes it. Z > 0: along the field, against the electrons.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .best import best_rows, hop_of
from .evaluate import DIRECT_MODELS, Situation, evaluate
from .keys import BY_NAME
from .plot import _COLOURS, _LEGEND_LINE, _MARKERS, _STYLE, NothingToDraw, _figure, _legend_below
from .screening import (
    COMPUTED,
    Hosts,
    Pair,
    Point,
    Screened,
    Shares,
    forces,
    merits,
    names_of,
    pairs,
    sigma_shares,
)
from .stored import Document
from .valence_plot import NAMES

#: kinds of figure, and the names of their files
KINDS = {"force": "force-per-current", "merit": "drift-merit", "heat": "heat-of-transport", "parity": "parity",
         "sigma": "sigma-parts"}  # fmt: skip
#: how filled a marker is: which way the force points
_FILL = {"upwind": "full", "downwind": "none", "undecided": "left"}
_SIGMA_PARTS = {
    "k_wind_sigma_parts_uohm_cm": (r"Uncertainty of $K_\mathrm{wind}$ (µΩ cm)", "Wind force"),
    "z_direct_sigma_parts": (r"Uncertainty of $Z_\mathrm{direct}$ (units of $e$)", "Direct part"),
}
_PARITY_AXES = {"z_star": "$Z^*$ (units of $e$)", "z_wind": r"$Z_\mathrm{wind}$ (units of $e$)"}
_PART_COLOURS = (*_COLOURS, "#000000", "#F0E442")
_HATCHES = ("", "///", "...")


def force_figure(
    rows: Sequence[Document], hosts: Hosts, temperature_K: float = 300.0, models: Sequence[str] = DIRECT_MODELS
) -> Figure:
    """|F|/j = e |Z*| rho of each hop, ranked, under each direct part that has a number; needs no diffusion coefficient.

    Raises
    ------
    NothingToDraw : no hop with K and a Z*
    InputError : a temperature outside the range of every metal
    """
    found = forces(rows, hosts, temperature_K, models)
    if not found.points:
        raise NothingToDraw(f"no force per current density to draw: {_why(found)}")
    lead = (f"Force per current density at {temperature_K:g} K in bulk metal, F/j = e(Z_direct ρ + K); 1 TA/m² is 100 MA/cm². "
            f"{_words(found)}{_rho_words(found, temperature_K)}")
    return _ranking(found, lead, r"$|F|/j = e|Z^*|\rho$ (fN m²/TA)", log=False)


def merit_figure(
    rows: Sequence[Document], published: Sequence[Document], hosts: Hosts, temperature_K: float = 300.0,
    models: Sequence[str] = DIRECT_MODELS,
) -> Figure:
    """|Z*| D rho of each hop with a diffusion coefficient, ranked; the caption names the hops without one.

    Raises
    ------
    NothingToDraw : no hop with K, a Z* and a diffusion coefficient
    InputError : a temperature outside the range of every metal
    """
    found = merits(rows, published, hosts, temperature_K, models)
    if not found.points:
        raise NothingToDraw(f"no figure of merit |Z*| D rho to draw: {_why(found)}")
    exact = sorted({point.hop for point in found.points if not point.d_known})
    without = f" D of {', '.join(exact)} has no stated uncertainty: bars hold that of Z* alone." if exact else ""
    origins = "".join(f" [{i}] {origin}." for i, origin in enumerate(_origins(found), 1))
    lead = (f"Drift per current density v/j = (e/k_B T) |Z*| D ρ at {temperature_K:g} K in bulk metal. {_words(found)}{without}"
            f"{' Published D:' if origins else ''}{origins}{_rho_words(found, temperature_K)}")
    return _ranking(found, lead, r"$|Z^*|\,D\,\rho$ (m²/s µΩ cm)", log=True)


def heat_figure(rows: Sequence[Document], published: Sequence[Document] = ()) -> Figure:
    """Q*(T) with error bars, its electronic part and the bounds of its lattice part; a panel per hop.

    Raises
    ------
    NothingToDraw : no row with q_of_temperature
    """
    best = [row for row in best_rows(rows) if _heat_table(row)]
    names = names_of(best)
    theirs = [row for row in published if row["status"] == "literature" and _heat_table(row) and hop_of(row) in names]
    hops = dict(sorted((name, hop) for hop, name in names.items()))
    if not hops:
        raise NothingToDraw("no heat of transport to draw: no row with q_of_temperature")
    sources = sorted({f"{names[hop_of(row)]}: {row['source']}" for row in theirs})
    lead = ("Positive: towards the cold end. Error bars: one standard uncertainty. Band: bounds of the lattice part."
            f"{' Published: ' if sources else ''}{'; '.join(sources)}{'.' if sources else ''}")
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(len(hops), best, lead)
        for axis, (name, hop) in zip(axes, hops.items(), strict=True):
            (row,) = (row for row in best if hop_of(row) == hop)  # joined: one row for each hop
            _draw_heat(axis, row)
            for other in theirs:
                if hop_of(other) == hop:
                    condition = f", {other['q_condition']}" if other["q_condition"] else ""
                    _heat_line(axis, other, "q_star_eV", 3, f"$Q^*$ published{condition}")
            axis.set_title(f"{name}, {row['q_condition']}" if row["q_condition"] else name)
            axis.set(xlabel=BY_NAME["temperature_K"].axis, ylabel="Heat of transport (eV)")
            axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
            _legend_below(axis)
    return figure


def parity_figure(
    rows: Sequence[Document], published: Sequence[Document], hosts: Hosts, temperature_K: float = 300.0
) -> Figure:
    """Computed against published, a panel for each quantity that a hop has both of, with the diagonal.

    Raises
    ------
    NothingToDraw : no quantity of a hop is both computed and published
    """
    found, notes = pairs(rows, published, hosts, temperature_K)
    if not found:
        raise NothingToDraw("no parity to draw: no quantity of a hop is both computed and published (and seen at its source)"
                            + "".join(f"; {note}" for note in notes))
    sources = {source: i for i, source in enumerate(dict.fromkeys(_origin(pair) for pair in found), 1)}
    quantities = list(dict.fromkeys(pair.quantity for pair in found))
    hops = {pair.hop for pair in found}
    shown = [row for row in best_rows(rows) if names_of([row])[hop_of(row)] in hops] or list(rows)
    lead = ("Line: equal values. Error bars: one standard uncertainty where stated. "
            + " ".join(f"[{i}] {source}." for source, i in sources.items())
            + "".join(f" Left out: {note}." for note in notes))
    with mpl.rc_context(_STYLE):
        most = max(sum(pair.quantity == quantity for pair in found) for quantity in quantities)
        figure, axes = _figure(len(quantities), shown, lead, panel_height=3.0 + _LEGEND_LINE * most)  # for each pair
        for axis, quantity in zip(axes, quantities, strict=True):
            _draw_parity(axis, [pair for pair in found if pair.quantity == quantity], sources)
            _legend_below(axis)
            axis.set_ylim(axis.get_xlim())  # square, after the room that a legend makes
    return figure


def sigma_figure(rows: Sequence[Document]) -> Figure:
    """What the uncertainty of each hop is made of: a bar of length sigma, divided by the shares of the variance.

    Raises
    ------
    NothingToDraw : no hop average with named parts of its uncertainty
    """
    panels = {name: shares for name in _SIGMA_PARTS if (shares := sigma_shares(rows, name))}
    if not panels:
        raise NothingToDraw(f"no parts of an uncertainty to draw: no hop average has {' or '.join(_SIGMA_PARTS)}")
    missing = _missing(panels.values())
    lead = ("Length of a bar: the standard uncertainty σ; its pieces are σ_i²/σ of the parts σ_i that make it up in quadrature."
            f"{' Not estimated: ' if missing else ''}{', '.join(missing)}{'.' if missing else ''}")
    parts = list(dict.fromkeys(part for found in panels.values() for shares in found for part in shares.shares))
    with mpl.rc_context(_STYLE):
        most = max(len(found) for found in panels.values())
        height = 2.4 + 0.34 * most
        figure, axes = _figure(len(panels), best_rows(rows), lead, widths=(5.2,) * len(panels), panel_height=height)
        for axis, (name, found) in zip(axes, panels.items(), strict=True):
            _draw_shares(axis, found, parts)
            axis.set_xlabel(_SIGMA_PARTS[name][0])
            axis.set_title(_SIGMA_PARTS[name][1])
            _legend_under(axis, height, 4)
    return figure


# pieces


def _missing(panels: Iterable[Sequence[Shares]]) -> list[str]:
    """Parts that were not estimated, each with the hops where they were not."""
    words = []
    for found in panels:
        hops: dict[str, list[str]] = {}
        for shares in found:
            for part in shares.missing:
                hops.setdefault(_part_name(part), []).append(shares.hop)
        words += [f"{part} ({'every hop' if len(names) == len(found) else ', '.join(names)})" for part, names in hops.items()]
    return list(dict.fromkeys(words))


def _part_name(part: str) -> str:
    return part.replace("_", " ").replace("fermi", "Fermi").replace("seebeck", "Seebeck")


def _origin(pair: Pair) -> str:
    return f"{pair.source}{f' ({pair.condition})' if pair.condition else ''}"


def _origins(found: Screened) -> list[str]:
    """Sources of published D, each once, in the order in which they are numbered."""
    return list(dict.fromkeys(point.diffusion for point in found.points if point.diffusion not in ("", COMPUTED)))


def _why(found: Screened) -> str:
    return "; ".join(found.left_out) or "no hop average holds K"


def _words(found: Screened) -> str:
    """What the marks mean, what ranks, and what was left out."""
    model, _ = found.ranked()
    left = f" Not drawn: {'; '.join(found.left_out)}." if found.left_out else ""
    intervals = ""
    if any(point.value is None for point in found.points):
        intervals = " Bars without a marker: intervals of the computed direct part; with an arrow they reach zero."
    return ("Filled: upwind (along the field, against the electrons); open: downwind; half filled: undecided within σ. Error "
            "bars: one standard uncertainty; ion charge and Drude number are models of the direct part and have none."
            f"{intervals} Ranked by: {NAMES[model].replace(chr(10), ' ')}.{left}")


def _rho_words(found: Screened, temperature_K: float) -> str:
    sources = sorted({f"{row['metal']}: {evaluate(row, Situation(temperature_K))['rho_source']}" for row in found.rows})
    return f" ρ of {'; '.join(sources)}."


def _ranking(found: Screened, lead: str, label: str, *, log: bool) -> Figure:
    """Entries from the top down, the largest first, a marker for each direct part."""
    _, entries = found.ranked()
    models = [name for name in DIRECT_MODELS if any(point.direct_model == name for point in found.points)]
    origins = _origins(found)
    with mpl.rc_context(_STYLE):
        figure, (axis,) = _figure(1, found.rows, lead, widths=(6.4,), panel_height=1.9 + 0.62 * len(entries))
        names = []
        for at, entry in enumerate(entries):
            for point in entry:
                i = models.index(point.direct_model)
                _draw_point(axis, point, at + 0.17 * (i - (len(models) - 1) / 2), log=log)
            source = entry[0].diffusion
            of_d = "D computed" if source == COMPUTED else f"D published [{origins.index(source) + 1}]" if source else ""
            names.append(f"{entry[0].hop}\n{of_d}" if of_d else entry[0].hop)
            if at:
                axis.axhline(at - 0.5, color="0.88", linewidth=0.6, zorder=0)
        axis.set_yticks(range(len(entries)), names)
        axis.tick_params(axis="y", length=0)
        axis.set(ylim=(len(entries) - 0.5, -0.5), xlabel=label)
        if log:
            axis.set_xscale("log")
        else:
            axis.set_xlim(0, 1.06 * max(point.high for point in found.points))
        handles = [Line2D([], [], color=_COLOURS[DIRECT_MODELS.index(name)], marker=_MARKERS[DIRECT_MODELS.index(name)],
                          linestyle="none", label=NAMES[name].replace("\n", " ")) for name in models]
        axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), columnspacing=1.2)
    return figure


def _draw_point(axis: Any, point: Point, at: float, *, log: bool) -> None:
    i = DIRECT_MODELS.index(point.direct_model)
    if point.value is None:
        # zero lies nowhere on a logarithmic axis: the bar is cut there
        low = point.low or (0.05 * point.high if log else 0.0)
        axis.plot([low, point.high], [at, at], color=_COLOURS[i], linewidth=3.5, solid_capstyle="butt", alpha=0.6,
                  label="_interval")
        if log and not point.low:
            axis.plot(low, at, color=_COLOURS[i], marker="<", markersize=6, label="_reaches zero")
        return
    axis.errorbar(point.value, at, xerr=[[point.value - point.low], [point.high - point.value]], color=_COLOURS[i],
                  marker=_MARKERS[i], markersize=6, fillstyle=_FILL[point.direction], markerfacecoloralt="white",
                  linestyle="none", elinewidth=1.1, label=f"_{point.hop} {point.direct_model}")


def _heat_table(row: Document) -> bool:
    table = row.get("q_of_temperature") or {}
    return any(value is not None for name in ("q_star_eV", "q_el_eV") for value in table.get(name, ()))


def _draw_heat(axis: Any, row: Document) -> None:
    _heat_line(axis, row, "q_star_eV", 0, "$Q^*$ computed")
    _heat_line(axis, row, "q_el_eV", 1, r"$Q_\mathrm{el}$ computed")
    low, high = row["q_lattice_low_eV"], row["q_lattice_high_eV"]
    if low is not None and high is not None:
        axis.axhspan(low, high, color=_COLOURS[2], alpha=0.18, linewidth=0, zorder=0, label=r"$Q_\mathrm{lattice}$, bounds")


def _heat_line(axis: Any, row: Document, name: str, i: int, label: str) -> None:
    """One value of the table against temperature, with its error bars."""
    table = row["q_of_temperature"]
    sigmas = table.get(name.replace("_eV", "_sigma_eV")) or [None] * len(table["temperature_K"])
    points = [(T, q, 0.0 if s is None or math.isnan(s) else s)
              for T, q, s in zip(table["temperature_K"], table.get(name, ()), sigmas, strict=False)
              if q is not None and not math.isnan(q)]
    if points:
        T, q, sigma = zip(*points, strict=True)
        axis.errorbar(T, q, yerr=sigma, color=_COLOURS[i], marker=_MARKERS[i], markersize=4.5, elinewidth=1.1,
                      linestyle="none" if row["source"] else "-", label=label)  # fmt: skip


def _draw_parity(axis: Any, found: Sequence[Pair], sources: dict[str, int]) -> None:
    for i, pair in enumerate(found):
        (x, x_low, x_high), (y, y_low, y_high) = pair.published, pair.computed
        at = "" if pair.temperature_K is None else f", {pair.temperature_K:.0f} K"
        axis.errorbar(x, y, xerr=[[x - x_low], [x_high - x]], yerr=[[y - y_low], [y_high - y]], color=_COLOURS[i % len(_COLOURS)],
                      marker=_MARKERS[(i + i // len(_COLOURS)) % len(_MARKERS)], markersize=5.5, linestyle="none",
                      elinewidth=1.1, label=f"{pair.hop}{at} [{sources[_origin(pair)]}]")
    ends = [end for pair in found for end in (*pair.computed, *pair.published)]
    low, high = min(ends), max(ends)
    if found[0].quantity == "d_m2_s":
        axis.set(xscale="log", yscale="log")
        limits = (low / 3, high * 3)
    else:
        margin = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
        limits = (low - margin, high + margin)
    axis.plot(limits, limits, color="0.5", linewidth=0.9, zorder=0, label="_equal")
    key = _PARITY_AXES.get(found[0].quantity, BY_NAME[found[0].quantity].axis)
    axis.set(xlim=limits, ylim=limits, xlabel=f"{key}, published", ylabel=f"{key}, computed", aspect="equal")


def _draw_shares(axis: Any, found: Sequence[Shares], parts: Sequence[str]) -> None:
    """Stacked bars; a part has its own colour and hatch in every panel."""
    ends = [0.0] * len(found)
    for i, part in enumerate(parts):
        widths = [shares.shares.get(part, 0.0) for shares in found]
        if any(widths):
            axis.barh(range(len(found)), widths, left=ends, height=0.62, color=_PART_COLOURS[i % len(_PART_COLOURS)],
                      hatch=_HATCHES[i // len(_PART_COLOURS) % len(_HATCHES)], edgecolor="white", linewidth=0.4,
                      label=_part_name(part))
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axis.set_yticks(range(len(found)), [shares.hop for shares in found])
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(len(found) - 0.5, -0.5), xlim=(0, 1.05 * max(ends)))


def _legend_under(axis: Any, panel_height: float, across: int) -> None:
    """A legend below the label of the axis, whatever the height of the panel in inches."""
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.5 / (panel_height - 1.6)), ncols=across,
                handlelength=1.4)


def figure_of(
    kind: str, rows: Sequence[Document], published: Sequence[Document], hosts: Hosts, at: tuple[float, Iterable[str]]
) -> tuple[Figure, str]:
    """The figure of a kind of `KINDS` with a name for its files.

    Parameters
    ----------
    rows, published : stored rows of ours and of the literature
    hosts : rows of hosts by their id
    at : temperature in K, and the direct parts of the rankings
    """
    temperature_K, models = at[0], tuple(at[1])
    draw = {
        "force": lambda: force_figure(rows, hosts, temperature_K, models),
        "merit": lambda: merit_figure(rows, published, hosts, temperature_K, models),
        "heat": lambda: heat_figure(rows, published),
        "parity": lambda: parity_figure(rows, published, hosts, temperature_K),
        "sigma": lambda: sigma_figure(rows),
    }
    return draw[kind](), KINDS[kind]


__all__ = ["KINDS", "figure_of", "force_figure", "heat_figure", "merit_figure", "parity_figure", "sigma_figure"]
