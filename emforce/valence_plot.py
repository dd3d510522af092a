"""Figures of the effective valence: its two parts per metal, Z* against the diameter of a wire, Z against the scattering time.

Style, colours and caption are those of `emforce.plot`. Each function returns a matplotlib `Figure`; `emforce.plot.save`
writes it. Z > 0: along the field, against the electrons. Error bars and bands are one standard uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from . import units
from .best import best_rows, hop_of
from .evaluate import DIRECT_MODELS, Situation, evaluate, host_of
from .keys import BY_NAME
from .plot import _COLOURS, _MARKERS, _STYLE, NothingToDraw, _figure, _legend_below, _title, variant
from .record import HOP_AVERAGE
from .stored import Document
from .wire_analysis import WireQuestion, wire_rows

Hosts = Mapping[int, Mapping[str, Any]]

#: kinds of figure, and the (beginnings of the) names of their files
KINDS = {"bars": "z-star-parts", "wire": "z-star-wire", "tau": "z-of-tau"}
#: direct parts in words; the models are called so wherever they are shown
NAMES = {"dft": "computed", "nominal": "model:\nion charge", "drude": "model:\nDrude number", "none": "wind alone"}
_LINES = {"dft": "-", "nominal": "--", "drude": "-.", "none": ":"}
_SIGN = "Positive: along the electric field, against the electrons (upwind)."
_VALENCE = r"Effective valence $Z^*$ (units of $e$)"
_DIRECT, _WIND = _COLOURS[4], _COLOURS[0]


def figures(
    rows: Sequence[Document], hosts: Hosts, kinds: Sequence[str] | None, temperature_K: float,
    published: Sequence[Document] = (),
) -> list[tuple[Figure, str]]:
    """Figures with a name for their files: the kinds asked for, of `KINDS`, or without any those that the rows have data for.

    Parameters
    ----------
    rows : stored rows; what is stored about a hop is joined as `emforce.best` does, but for the figure against tau
    hosts : rows of hosts by their id
    temperature_K : of bars and wires
    published : rows of the literature, for the bars
    """
    best = best_rows(rows)
    averages = [row for row in best if row["k_wind_uohm_cm"] is not None]
    hosted = [row for row in averages if (host_of(row, hosts) or {}).get("rho_lambda_fohm_m2")]
    rates = [row for row in rows if row.get("z_total_of_tau") and row["k_wind_uohm_cm"] is not None and host_of(row, hosts)]
    there = {"bars": averages, "wire": hosted, "tau": rates}
    wanted = [kind for kind in KINDS if kind in kinds] if kinds else [kind for kind in KINDS if there[kind]]
    draw: dict[str, Callable[[], list[tuple[Figure, str]]]] = {
        "bars": lambda: [(bars_figure(best, hosts, temperature_K, published), KINDS["bars"])],
        "wire": lambda: [(wire_figure(best, hosts, WireQuestion(temperatures_K=(temperature_K,))), KINDS["wire"])],
        # sites where they are asked for, the averages of the hops otherwise
        "tau": lambda: _tau_figures([row for row in rates if row["site"] == HOP_AVERAGE] or rates or rows, hosts),
    }
    return [figure for kind in wanted for figure in draw[kind]()]


def bars_figure(
    rows: Iterable[Document], hosts: Hosts, temperature_K: float = 300.0, published: Sequence[Document] = ()
) -> Figure:
    """Z_direct and Z_wind stacked, with Z* and its uncertainty, under each direct part; a panel per metal and facet.

    Published Z* and Z_wind of the same hop stand beside them where they hold at this temperature and were seen at their
    source; the caption names those that hold at others.

    Parameters
    ----------
    rows : stored rows with K; the hop averages are drawn
    hosts : rows of hosts by their id, for the Drude number
    temperature_K : of rho in Z_wind = K/rho
    published : rows of the literature; those with another status are left out

    Raises
    ------
    NothingToDraw : no hop average with a number
    InputError : a temperature outside the range of a metal
    """
    panels = _averages(rows)
    hops = {hop_of(row) for group in panels.values() for row in group}
    reported = [row for row in published if row["status"] == "literature" and hop_of(row) in hops
                and (row["z_star_reported"] is not None or row["z_wind_reported"] is not None)]
    with mpl.rc_context(_STYLE):
        shown = [row for group in panels.values() for row in group]
        sources = sorted({f"{row['metal']}: {evaluate(row, Situation(temperature_K))['rho_source']}" for row in shown})
        lead = (f"{_SIGN} Bulk metal at {temperature_K:g} K, hop averages. Ion charge and Drude number are models of the direct "
                f"part, without an uncertainty. ρ of {'; '.join(sources)}.{_reported_words(reported, temperature_K)}")
        most = max(len(group) for group in panels.values())
        columns = len(DIRECT_MODELS) * most + sum(_holds(row, temperature_K) for row in reported)
        width = max(3.4, (0.97 if most == 1 else 1.1) * columns)  # inches: names below the bars stay apart
        figure, axes = _figure(len(panels), shown, lead, widths=(width,) * min(len(panels), 3))
        for axis, (title, group) in zip(axes, panels.items(), strict=True):
            at = _draw_bars(axis, group, hosts, temperature_K)
            _draw_reported(axis, [row for row in reported if hop_of(row) in map(hop_of, group)], temperature_K, at)
            axis.set_title(title)
            axis.set_ylabel(_VALENCE)
            _legend_below(axis)
    return figure


def wire_figure(rows: Iterable[Document], hosts: Hosts, asked: WireQuestion | None = None) -> Figure:
    """Z* against the diameter of a wire, a panel per metal and facet, a line and band for each direct part.

    Parameters
    ----------
    rows : stored rows with K; the hop averages are drawn
    hosts : rows of hosts by their id, for rho lambda
    asked : the first temperature, specularity and reflection are drawn; diameters from the smallest to ten times the largest

    Raises
    ------
    NothingToDraw : no hop average with K and a host
    InputError : a value outside its range
    """
    asked = asked or WireQuestion(temperatures_K=(300.0,))
    low, high = min(asked.diameters_nm), 10 * max(asked.diameters_nm)
    drawn = replace(
        asked,
        temperatures_K=asked.temperatures_K[:1],
        specularities=asked.specularities[:1],
        reflections=asked.reflections[:1],
        diameters_nm=tuple(float(d) for d in np.geomspace(low, high, 33)),
    )
    panels = _averages(rows)
    lines = {title: _wires(group, hosts, drawn) for title, group in panels.items()}
    lines = {title: found for title, found in lines.items() if found}
    if not lines:
        raise NothingToDraw("no wires to draw: these rows have no K, or no host with rho lambda is stored for them")
    with mpl.rc_context(_STYLE):
        shown = [row for title in lines for row in panels[title]]
        figure, axes = _figure(len(lines), shown, _wire_caption(lines, drawn))
        for axis, (title, series) in zip(axes, lines.items(), strict=True):
            _draw_wires(axis, series)
            axis.set_title(title)
            _scale(axis, low, high)
            axis.set(xlabel=BY_NAME["wire_diameter_nm"].axis, ylabel=_VALENCE)
            _legend_below(axis)
    return figure


def tau_figure(rows: Iterable[Document], hosts: Hosts) -> Figure:
    """Z along the hop against the scattering rate, with its two parts: tau m, and what is left of Z.

    tau m = K/rho(tau), rho(tau) = 1/(eps0 omega_p^2 tau) with omega_p of the host. Two panels for each row.

    Raises
    ------
    NothingToDraw : no row with z_total_of_tau, K and a host
    """
    found = []
    for row in rows:
        host = host_of(row, hosts)
        if row.get("z_total_of_tau") and row.get("k_wind_uohm_cm") is not None and host and host.get("omega_p_eV"):
            found.append((row, float(host["omega_p_eV"])))
    if not found:
        raise NothingToDraw("no response against tau to draw: no row with z_total_of_tau and K whose host is stored")
    with mpl.rc_context(_STYLE):
        lead = (f"{_SIGN} Line: wind part τm = K/ρ(τ), with its uncertainty, ρ(τ) = 1/(ε0 ωp² τ) and ωp of the host. "
                "Remainder: Z − τm with the m of the response's own region, which ends before that of K where the supercell is "
                "too small (vacancies of fcc metals, Al(111)); its limit for long τ is the direct part.")
        drawn = [row for row, _ in found]
        figure, axes = _figure(2 * len(found), drawn, lead, widths=(3.4, 3.4) * min(len(found), 2))
        for i, (row, omega_p_eV) in enumerate(found):
            _draw_tau(axes[2 * i], axes[2 * i + 1], row, omega_p_eV)
            axes[2 * i].set_title(
                f"{_title(row['metal'], row['facet'])} {row['defect']}\n{row['hop']}, {row['site']}{variant(row, drawn)}")
            axes[2 * i + 1].set_title("What does not grow with τ\n")
            for axis in axes[2 * i : 2 * i + 2]:
                axis.set(xlabel=r"Scattering rate $\hbar/\tau$ (eV)", ylabel=r"Valence along the hop (units of $e$)")
                axis.axhline(0, color="0.3", linewidth=0.8)
                _legend_below(axis)
    return figure


# pieces


def _tau_figures(rows: Sequence[Document], hosts: Hosts) -> list[tuple[Figure, str]]:
    """A figure against the scattering rate for each metal, with names for their files."""
    ordered = sorted(rows, key=lambda row: (*hop_of(row), len(str(row["preset"])), str(row["preset"])))
    metals = sorted({str(row["metal"]) for row in ordered})
    return [(tau_figure([row for row in ordered if row["metal"] == metal], hosts), f"{KINDS['tau']}-{metal}") for metal in metals]


def _averages(rows: Iterable[Document]) -> dict[str, list[Document]]:
    """Hop averages with K, by metal, facet and what moves."""
    panels: dict[str, list[Document]] = {}
    for row in rows:
        if row["site"] == HOP_AVERAGE and row["k_wind_uohm_cm"] is not None:
            panels.setdefault(f"{_title(row['metal'], row['facet'])} {row['defect']}", []).append(row)
    if not panels:
        raise NothingToDraw("no valences to draw: none of these rows is a hop average that holds K")
    return dict(sorted(panels.items()))


def _draw_bars(axis: Any, group: Sequence[Document], hosts: Hosts, temperature_K: float) -> int:
    """One bar for each hop and direct part that has a number; negative parts hang from zero. Returns the number of bars."""
    at, names = 0, []
    for row in group:
        for model in DIRECT_MODELS:
            values = evaluate(row, Situation(temperature_K, model), host_of(row, hosts))
            direct, wind, total = values["z_direct_used"], values["z_wind"], values["z_star"]
            if direct is None or total is None:
                if model == "dft":
                    names.append(f"{NAMES[model]}:\nno value" if values["z_direct_low"] is None else f"{NAMES[model]}:\ninterval")
                    at += 1
                continue
            first = axis.get_legend_handles_labels()[1]
            parts = (("direct part", direct, _DIRECT, "///"), ("wind part", wind, _WIND, ""))
            ends = {True: 0.0, False: 0.0}
            for label, value, colour, hatch in parts:
                axis.bar(at, value, bottom=ends[value > 0], width=0.62, color=colour, hatch=hatch, edgecolor="white",
                         linewidth=0.5, label=label if label not in first else None)
                ends[value > 0] += value
            axis.errorbar(at, total, yerr=values["z_star_sigma"], color="black", marker="D", markersize=4.5, elinewidth=1.1,
                          markerfacecolor="white", label="sum $Z^*$" if "sum $Z^*$" not in first else None)
            names.append(NAMES[model] if len(group) == 1 else f"{NAMES[model]}\n{row['hop']}")
            at += 1
    axis.axhline(0, color="0.3", linewidth=0.8)
    axis.set_xticks(range(at), names, fontsize=7)
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-0.6, at - 0.4)
    axis.margins(y=0.1)
    return at


def _holds(row: Document, temperature_K: float) -> bool:
    """Whether a published valence holds at a temperature; where the source gives none, nobody knows."""
    low, high = row["reported_low_K"], row["reported_high_K"]
    return low is not None and high is not None and bool(low <= temperature_K <= high)


def _draw_reported(axis: Any, reported: Sequence[Document], temperature_K: float, at: int) -> None:
    """Published values to the right of the bars: a column for each row."""
    drawn = [row for row in reported if _holds(row, temperature_K)]
    ticks, names = list(axis.get_xticks()), [tick.get_text() for tick in axis.get_xticklabels()]
    for i, row in enumerate(drawn):
        for name, marker, label in (("z_star_reported", "*", "published $Z^*$"),
                                    ("z_wind_reported", "v", r"published $Z_\mathrm{wind}$")):
            if row[name] is not None:
                first = label not in axis.get_legend_handles_labels()[1]
                sigma = row["z_star_reported_sigma"] if name == "z_star_reported" else None
                both = row["z_star_reported"] is not None and row["z_wind_reported"] is not None
                aside = (-0.15 if name == "z_star_reported" else 0.15) if both else 0.0
                axis.errorbar(at + i + aside, row[name], yerr=sigma, color=_COLOURS[1], marker=marker, markersize=8,
                              linestyle="none", elinewidth=1.1, label=label if first else None)
        names.append(f"published:\n{'measured' if row['method'].startswith('measured') else 'calculated'}")
    if drawn:
        axis.set_xticks([*ticks, *range(at, at + len(drawn))], names, fontsize=7)
        axis.set_xlim(-0.6, at + len(drawn) - 0.4)


def _reported_words(reported: Sequence[Document], temperature_K: float) -> str:
    """Sources of the published values, and which of them hold at other temperatures."""
    words = ""
    for holds, lead in ((True, "Published"), (False, "Published for other temperatures, not drawn")):
        named = [f"{row['metal']}, {row['source']}{_range_words(row)}" for row in reported
                 if _holds(row, temperature_K) == holds]
        words += f" {lead}: {'; '.join(named)}." if named else ""
    return words


def _range_words(row: Document) -> str:
    low, high = row["reported_low_K"], row["reported_high_K"]
    return " (temperatures not stated)" if low is None or high is None else f" ({low:.0f} to {high:.0f} K)"


def _wires(group: Sequence[Document], hosts: Hosts, asked: WireQuestion) -> dict[str, list[Document]]:
    """Rows of `wire_rows` by a label for hop and direct part, those with a number."""
    series: dict[str, list[Document]] = {}
    for row in wire_rows(group, hosts, asked)[0]:
        if row["z_star"] is not None:
            name = NAMES[row["direct_model"]].replace("\n", " ")
            label = name if len(group) == 1 else f"{row['hop']}, {name}"
            series.setdefault(label, []).append(row)
    return series


def _draw_wires(axis: Any, series: Mapping[str, Sequence[Document]]) -> None:
    models = list(DIRECT_MODELS)
    for label, rows in series.items():
        model = rows[0]["direct_model"]
        i = models.index(model)
        wires = [row for row in rows if row["wire_diameter_nm"] is not None]
        bulk = next(row for row in rows if row["wire_diameter_nm"] is None)
        x = np.array([row["wire_diameter_nm"] for row in wires])
        z, sigma = (np.array([row[name] for row in wires]) for name in ("z_star", "z_star_sigma"))
        axis.plot(x, z, color=_COLOURS[i], linestyle=_LINES[model], label=label)
        axis.fill_between(x, z - sigma, z + sigma, color=_COLOURS[i], alpha=0.14, linewidth=0)
        axis.errorbar(x[-1] * 1.35 * 1.22**i, bulk["z_star"], yerr=bulk["z_star_sigma"], color=_COLOURS[i],
                      marker=_MARKERS[i], markersize=4, elinewidth=1.0)  # fmt: skip
    axis.axhline(0, color="0.3", linewidth=0.8)


def _scale(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis from `low` to `high` with the bulk beyond its end."""
    ticks = [d for decade in (1, 10, 100, 1000) for d in (decade, 3 * decade) if low <= d <= high]
    bulk = high * 1.35 * 1.22**1.5
    axis.set(xscale="log", xlim=(0.93 * low, high * 1.35 * 1.22**4))
    axis.set_xticks([*ticks, bulk], [*(f"{d:g}" for d in ticks), "bulk"])
    axis.minorticks_off()
    axis.axvline(1.12 * high, color="0.8", linewidth=0.7)


def _wire_caption(lines: Mapping[str, Mapping[str, Sequence[Document]]], asked: WireQuestion) -> str:
    rows = {row["metal"]: row for series in lines.values() for found in series.values() for row in found[:1]}
    grain = "d" if asked.grain_size_nm == "diameter" else f"{asked.grain_size_nm:g} nm"
    sources = "; ".join(f"{metal}: {row['rho_source']}" for metal, row in sorted(rows.items()))
    return (f"{_SIGN} Bands: one standard uncertainty. Symbols at the right: bulk. Round wire at {asked.temperatures_K[0]:g} K, "
            f"specularity {asked.specularities[0]:g}, grain boundaries at a distance {grain} with reflection "
            f"{asked.reflections[0]:g} (Dingle; Mayadas and Shatzkes; together). ρ of {sources}.")


def _draw_tau(left: Any, right: Any, row: Document, omega_p_eV: float) -> None:
    """Z and its growing part on the left, the rest on the right."""
    table = row["z_total_of_tau"]
    rate, total = (np.array(table[name], dtype=float) for name in ("hbar_over_tau_eV", "values"))
    scale = units.uohm_cm * units.epsilon0 * omega_p_eV**2  # K/rho(tau) = K scale/rate
    K, sigma = scale * row["k_wind_uohm_cm"], scale * (row["k_wind_sigma_uohm_cm"] or 0.0)
    x = np.geomspace(rate.min(), rate.max(), 60)
    left.plot(x, K / x, color=_COLOURS[0], label=r"wind part $\tau m$")
    left.fill_between(x, (K - sigma) / x, (K + sigma) / x, color=_COLOURS[5], alpha=0.3, linewidth=0, label=r"its uncertainty")
    left.plot(rate, total, color=_COLOURS[1], marker="o", markersize=4.5, linestyle="none", label=r"total $Z(\tau)$")
    right.plot(rate, table.get("remainders", total - K / rate), color=_COLOURS[2], marker="^", markersize=4.5, linestyle=":",
               label=r"remainder $Z - \tau m$")
    if row.get("z_direct") is not None:
        right.errorbar(0, row["z_direct"], yerr=row["z_direct_sigma"], color="black", marker="D", markersize=4.5,
                       markerfacecolor="white", label=r"$Z_\mathrm{direct}$, $\tau \to \infty$")
    elif row.get("z_direct_low") is not None:
        right.plot([0, 0], [row["z_direct_low"], row["z_direct_high"]], color="black", linewidth=3, solid_capstyle="butt",
                   label="direct part: interval")
    for axis in (left, right):
        axis.set_xlim(-0.04 * rate.max(), 1.05 * rate.max())


__all__ = ["KINDS", "NAMES", "bars_figure", "figures", "tau_figure", "wire_figure"]
