"""Figures of what each standard uncertainty of a hop is made of, and of what K does when its settings change.

One figure per hop. A panel per quantity that is served with named parts: K_wind, Z_direct, barrier, attempt
frequency, formation energy, E_a where it has parts of its own, heat of transport. Bars are the parts themselves, in the unit
of the quantity; they add up in quadrature to the total above them. Parts that were not estimated are named in the panel.
Beside them what is stored about the quantity under other conditions: K against the energy, K under other settings of the same
hop, the attempt frequency against the atoms that move. Style, colours and caption are those of `emforce.plot`. Z > 0, K > 0:
along the field, against the electrons.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .best import best_rows, hop_of, without_doubles
from .keys import BY_NAME, SIGMA_OF
from .plot import _COLOURS, _MARKERS, _STYLE, NothingToDraw, _figure, hop_stem
from .record import HOP_AVERAGE
from .screening import names_of
from .screening_plot import _part_name
from .settings import preset_fields
from .stored import Document
from .tables import plus_minus

#: kinds of figure, and the beginnings of the names of their files
KINDS = {"uncertainty": "uncertainty"}
#: parts below this share of the total are named without a bar: together they change it by less than a thousandth
_SMALL = 0.01
_PANEL_INCHES = 4.1
_LINE_INCHES, _HEAD_INCHES = 0.19, 1.05
_WRAP = 44
#: lines of text that a panel with a curve is high, at least
_CURVE_LINES = 11
_OTHER = "under other settings"
_UNITLESS = "units of $e$"
_WIND, _DIRECT, _KINETICS, _HEAT = _COLOURS[0], _COLOURS[4], _COLOURS[2], _COLOURS[3]


@dataclass(frozen=True)
class Parts:
    """A quantity with the named parts of its uncertainty.

    Attributes
    ----------
    quantity : name of the key
    title : symbol, value and unit
    total : standard uncertainty
    known : parts that were estimated, in the unit of the quantity
    missing : names of those that were not
    """

    quantity: str
    title: str
    total: float
    known: Mapping[str, float]
    missing: tuple[str, ...]

    @property
    def bars(self) -> dict[str, float]:
        """Parts that are drawn, the largest first."""
        large = {name: value for name, value in self.known.items() if value > _SMALL * self.total}
        return dict(sorted(large.items(), key=lambda item: -item[1]))

    @property
    def words(self) -> list[str]:
        """Lines below the bars: parts too small for one, and parts that were not estimated."""
        small = [_part_name(name) for name in self.known if name not in self.bars]
        found = [f"below {100 * _SMALL:g} % of σ: {', '.join(small)}"] if small else []
        if self.missing:
            found.append(f"not estimated: {', '.join(map(_part_name, self.missing))}")
        return [line for text in found for line in textwrap.wrap(text, _WRAP)]


@dataclass(frozen=True)
class _Panel:
    """A panel: its title, its height in lines of text, and what draws it on an axis with room for a number of lines."""

    title: str
    lines: int
    draw: Callable[[Any, int], None]


def parts_of(row: Document, heat: Document | None, temperature_K: float) -> list[Parts]:
    """The quantities of a joined hop that have named parts of their uncertainty.

    Parameters
    ----------
    row : of `emforce.best.best_rows`
    heat : the stored row that its heat of transport is from
    temperature_K : of the heat of transport; the nearest stored one is taken
    """
    details: Mapping[str, Any] = row.get("kinetics_details") or {}
    formation: Mapping[str, Any] = details.get("formation_energy") or {}
    stored = (
        ("k_wind_uohm_cm", row.get("k_wind_sigma_parts_uohm_cm")),
        ("z_direct", row.get("z_direct_sigma_parts")),
        ("barrier_eV", details.get("barrier_sigma_parts_eV")),
        ("nu0_THz", details.get("nu0_sigma_parts_THz")),
        ("formation_energy_eV", formation.get("sigma_parts_eV")),
        ("ea_eV", details.get("ea_sigma_parts_eV")),
    )
    found = [_parts(name, row, parts, "") for name, parts in stored if parts]
    found += _heat_parts(heat or {}, temperature_K)
    return [parts for parts in found if parts is not None]


def uncertainty_figures(rows: Sequence[Document], temperature_K: float = 300.0) -> list[tuple[Figure, str]]:
    """A figure for each hop with a name for its files.

    Parameters
    ----------
    rows : stored rows; quantities are those of the joined row of each hop, and every hop average with K counts beside it
    temperature_K : of the heat of transport, the nearest stored one

    Raises
    ------
    NothingToDraw : no hop has named parts of an uncertainty
    """
    best = best_rows(rows)
    names = names_of(best)
    by_id = {int(row["id"]): row for row in rows}
    found = []
    for row in sorted(best, key=hop_of):
        chosen: Mapping[str, Any] = row.get("joined") or {}
        heat = by_id.get(int(chosen["heat"]["id"])) if "heat" in chosen else None
        quantities = parts_of(row, heat, temperature_K)
        if quantities:
            shown = [by_id[int(origin["id"])] for origin in chosen.values() if int(origin["id"]) in by_id]
            found.append((_drawn(names[hop_of(row)], _panels(row, quantities, rows), shown), hop_stem(KINDS["uncertainty"], row)))
    if not found:
        raise NothingToDraw("no parts of an uncertainty to draw: no served hop average holds named parts")
    return found


# what is drawn


def _heat_parts(heat: Mapping[str, Any], temperature_K: float) -> list[Parts | None]:
    """Electronic and total heat of transport at the stored temperature that is nearest."""
    table: Mapping[str, Any] = (heat.get("provenance") or {}).get("heat") or {}
    temperatures: Sequence[float] = table.get("temperature_K") or ()
    served: Mapping[str, Any] = heat.get("q_of_temperature") or {}
    if not temperatures:
        return []
    at = min(range(len(temperatures)), key=lambda i: abs(temperatures[i] - temperature_K))
    found = []
    for name in ("q_el_eV", "q_star_eV"):
        parts = (table.get("sigma_parts") or {}).get(name)
        if parts and served.get(name) and temperatures[at] in served["temperature_K"]:
            i = served["temperature_K"].index(temperatures[at])
            values = {key: served[key][i] for key in (name, SIGMA_OF[name])}
            found.append(_parts(name, values, {part: column[at] for part, column in parts.items()}, f", {temperatures[at]:g} K"))
    return found


def _parts(quantity: str, values: Mapping[str, Any], parts: Mapping[str, float | None], at: str) -> Parts | None:
    known = {name: float(value) for name, value in parts.items() if value is not None and not math.isnan(value)}
    missing = tuple(name for name in parts if name not in known)
    value, sigma = values.get(quantity), values.get(SIGMA_OF[quantity])
    total = float(sigma) if sigma is not None else math.hypot(*known.values())
    low, high = values.get(f"{quantity}_low"), values.get(f"{quantity}_high")
    if not total > 0 or (value is None and low is None):
        return None
    unit = f" {BY_NAME[quantity].unit}" if BY_NAME[quantity].unit else ""
    number = f"{plus_minus(value, total)}{unit}" if value is not None else f"{low:.2g} to {high:.2g}{unit}"
    symbol = BY_NAME[quantity].label or quantity
    return Parts(quantity, f"{symbol} = {_minus(number)}{at}", total, known, missing)


def _panels(row: Document, quantities: Sequence[Parts], rows: Sequence[Document]) -> list[_Panel]:
    """Panels of one hop: of each quantity its parts, and what is stored about it under other conditions."""
    found = []
    same = [other for other in rows if hop_of(other) == hop_of(row)]
    for parts in quantities:
        count = 1 + len(parts.bars) + len(parts.words)
        found.append(_Panel(parts.title, count, partial(_draw_parts, parts)))
        if parts.quantity == "k_wind_uohm_cm":
            found += _wind_panels(row, same)
        shells = (row.get("kinetics_details") or {}).get("nu0_by_shells_THz") or ()
        if parts.quantity == "nu0_THz" and len(shells) > 1:
            found.append(_Panel(f"{BY_NAME['nu0_THz'].label}, atoms that move", _CURVE_LINES, partial(_draw_shells, row)))
    return found


def _wind_panels(row: Document, same: Sequence[Document]) -> list[_Panel]:
    """K against the energy, and under the other settings that are stored for the hop."""
    found = []
    if len(row.get("energies_eV") or ()) > 1:
        title = BY_NAME["k_of_energy_uohm_cm"].label
        found.append(_Panel(title, _CURVE_LINES, partial(_draw_energies, row, same)))
    settings = [other for other in without_doubles(same) if other["site"] == HOP_AVERAGE and other["k_wind_uohm_cm"] is not None]
    if len(settings) > 1:
        texts = [_setting(other, settings) for other in settings]
        title = f"{BY_NAME['k_wind_uohm_cm'].label} {_OTHER}"
        found.append(_Panel(title, sum(2 + text.count("\n") for text in texts), partial(_draw_settings, row, settings, texts)))
    return found


def _drawn(name: str, panels: Sequence[_Panel], shown: Sequence[Document]) -> Figure:
    other = " Band and filled: K as served; open: under other settings." if any(_OTHER in panel.title for panel in panels) else ""
    lead = (f"{name}: bars are the parts of a standard uncertainty; in quadrature they make its total (dark). Not estimated: in "
            f"no total.{other} K, Z > 0: along the field, against the electrons (upwind). Q > 0: towards the cold end.")
    across = 2 if len(panels) == 4 else min(3, len(panels))
    most = [max(panel.lines for panel in panels[at : at + across]) for at in range(0, len(panels), across)]  # of each row
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(len(panels), shown, lead, widths=(_PANEL_INCHES,) * across,
                               panel_height=[_HEAD_INCHES + _LINE_INCHES * lines for lines in most])
        for i, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
            panel.draw(axis, most[i // across])
            axis.set_title(panel.title, fontsize=9)
        figure.suptitle(name, fontsize=10)
    return figure


def _colour(quantity: str) -> str:
    if quantity.startswith("q_"):
        return _HEAT
    return {"k_wind_uohm_cm": _WIND, "z_direct": _DIRECT}.get(quantity, _KINETICS)


def _draw_parts(parts: Parts, axis: Any, lines: int) -> None:
    """Bars from the top down, the total first; at the bottom what has no bar, in words."""
    names = ["total", *map(_part_name, parts.bars)]
    values = [parts.total, *parts.bars.values()]
    colours = ["0.35"] + [_colour(parts.quantity)] * len(parts.bars)
    axis.barh(range(len(values)), values, height=0.66, color=colours, linewidth=0)
    for at, value in enumerate(values):
        axis.annotate(_number(value), (value, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5)
    axis.set_yticks(range(len(values)), names)
    axis.tick_params(axis="y", length=0)
    axis.text(0.98, 0.02, "\n".join(parts.words), transform=axis.transAxes, ha="right", va="bottom", fontsize=7, color="0.3",
              linespacing=1.4)
    symbol = (BY_NAME[parts.quantity].label or parts.quantity).strip("$")
    unit = BY_NAME[parts.quantity].unit or _UNITLESS
    axis.set(ylim=(lines - 0.35, -0.6), xlim=(0, 1.2 * max(values)), xlabel=rf"$\sigma({symbol})$ ({unit})")
    axis.xaxis.set_major_locator(MaxNLocator(5))


def _draw_energies(row: Document, same: Sequence[Document], axis: Any, _: int) -> None:
    """K against the energy: the average, with the uncertainty of the served value, and the sites."""
    energies, values = np.array(row["energies_eV"]), np.array(row["k_of_energy_uohm_cm"])
    origin = (row.get("joined") or {}).get("wind") or row
    sites = [other for other in same if other["site"] != HOP_AVERAGE and len(other.get("energies_eV") or ()) > 1
             and other["k_wind_uohm_cm"] is not None
             and all(other[name] == origin[name] for name in ("preset", "method", "basis"))]
    for i, site in enumerate(sorted(sites, key=lambda other: float(other["fraction"] or 0.0)), 1):
        axis.plot(site["energies_eV"], site["k_of_energy_uohm_cm"], color=_COLOURS[i % len(_COLOURS)], linewidth=0.9,
                  linestyle=":", marker=_MARKERS[i % len(_MARKERS)], markersize=4, markerfacecolor="white", label=site["site"])
    axis.plot(energies, values, color=_WIND, marker=_MARKERS[0], markersize=4.5, label=HOP_AVERAGE)
    K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"]
    if sigma is not None:
        axis.errorbar([0.0], [K], yerr=[sigma], color="0.35", elinewidth=1.3, linestyle="none", zorder=3, label="served, ± σ")
    _zero_line(axis)
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.02 * (high - low), high + 0.34 * (high - low))  # room for the legend
    axis.set(xlabel=BY_NAME["energies_eV"].axis, ylabel=BY_NAME["k_wind_uohm_cm"].axis)
    axis.legend(loc="upper center", ncols=2, fontsize=7.5, handlelength=1.6, columnspacing=1.2)


def _draw_settings(row: Document, settings: Sequence[Document], texts: Sequence[str], axis: Any, _: int) -> None:
    """K of each row of the hop, the served one with its band."""
    served = (row.get("joined") or {}).get("wind", {}).get("id", row["id"])
    K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"] or 0.0
    axis.axvspan(K - sigma, K + sigma, color=_WIND, alpha=0.13, linewidth=0, zorder=0)
    axis.axvline(K, color=_WIND, linestyle="--", linewidth=0.9, zorder=0)
    for at, other in enumerate(settings):
        axis.errorbar(other["k_wind_uohm_cm"], at, xerr=other["k_wind_sigma_uohm_cm"] or 0.0, color=_WIND, marker="o",
                      markersize=5, markerfacecolor=_WIND if other["id"] == served else "white", linestyle="none", elinewidth=1.1)
    axis.set_yticks(range(len(settings)), texts, fontsize=7)
    axis.tick_params(axis="y", length=0)
    axis.set(ylim=(len(settings) - 0.4, -0.6), xlabel=BY_NAME["k_wind_uohm_cm"].axis)
    axis.margins(x=0.12)
    if axis.get_xlim()[0] < 0 < axis.get_xlim()[1]:
        axis.axvline(0, color="0.6", linewidth=0.7, zorder=0)


def _draw_shells(row: Document, axis: Any, _: int) -> None:
    """Attempt frequency with the mover alone, with one shell of its neighbours, and so on."""
    values, atoms = row["kinetics_details"]["nu0_by_shells_THz"], row["kinetics_details"].get("shell_atoms") or ()
    counts = np.cumsum([len(shell) for shell in atoms]) if len(atoms) == len(values) else np.arange(len(values))
    axis.plot(counts, values, color=_KINETICS, marker="o", markersize=5, linestyle=":", linewidth=0.9)
    sigma = row["nu0_sigma_THz"]
    if sigma is not None:
        axis.errorbar([counts[-1]], [row["nu0_THz"]], yerr=[sigma], color=_KINETICS, elinewidth=1.1, linestyle="none")
    axis.set_xticks(counts)
    axis.margins(x=0.15)
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.set(xlabel="Number of atoms that move" if len(atoms) == len(values) else "Shells of neighbours that move",
             ylabel=BY_NAME["nu0_THz"].axis)


def _setting(row: Document, group: Sequence[Document]) -> str:
    """What tells a row from the others of its hop: overridden fields of its preset, the preset, the method or basis."""
    preset, changed = preset_fields(str(row["preset"]))
    apart = [str(row[name]) for name in ("method", "basis") if len({other[name] for other in group}) > 1]
    if len({preset_fields(str(other["preset"]))[0] for other in group}) > 1 or not changed:
        apart.insert(0, preset)
    fields = [f"{name}={value}" for name, value in changed.items()] or ["as shipped"]
    return "\n".join(textwrap.fill(text, 26, break_long_words=False) for text in (*apart, *fields))


def _zero_line(axis: Any) -> None:
    low, high = axis.get_ylim()
    if low <= 0 <= high:
        axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)


def _number(value: float) -> str:
    """Two digits, without an exponent where that reads well."""
    return f"{value:#.2g}".rstrip(".") if value < 100 else f"{value:.0f}"


def _minus(text: str) -> str:
    """A minus sign in place of the hyphen before a number."""
    return text.replace("-", "−")


__all__ = ["KINDS", "Parts", "parts_of", "uncertainty_figures"]
