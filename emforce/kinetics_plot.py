"""Figures of the kinetics of hops: energy and wind force along the hop, and diffusion coefficients against published ones.

Style, colours and caption are those of `emforce.plot`. Each function returns a matplotlib `Figure`. Bands and error bars are one
standard uncertainty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from . import units
from .best import best_of_each, best_rows, hop_of, rank, vacancy_alone
from .keys import BY_NAME
from .materials import material
from .plot import _COLOURS, _LEGEND_LINE, _MARKERS, _STYLE, NothingToDraw, _figure, _title, hop_stem
from .record import HOP_AVERAGE
from .stored import Document

#: kinds of figure, and the (beginnings of the) names of their files
KINDS = {"path": "path", "diffusion": "diffusion"}
#: m2/s: an atom that hops once in the age of the universe; slower hops do not stretch the figure of the others
_LEAST_D = 1e-38
#: drawn temperatures: of adatoms in K, of the bulk in units of the melting temperature
_ADATOM_K, _BULK_SHARE = (150.0, 900.0), (0.4, 1.0)
_UPPER_TICKS_K = (150, 200, 300, 400, 600, 900, 1300, 2000, 3000)


def path_figures(rows: Sequence[Document]) -> list[tuple[Figure, str]]:
    """Energy and wind force along each hop whose energies are stored, the best of its rows, each with a name for its files.

    Raises
    ------
    NothingToDraw : no hop with energies along it
    """
    def has_path(row: Document) -> bool:
        table = (row.get("kinetics_details") or {}).get("energies_along_hop") or {}
        return len(table.get("fraction", ())) > 1 and row["barrier_eV"] is not None

    found = []
    for hop, row in best_of_each(filter(has_path, rows), "kinetics").items():
        found.append((path_figure(row, [other for other in rows if hop_of(other) == hop]), hop_stem(KINDS["path"], row)))
    if not found:
        raise NothingToDraw("no path to draw: no row holds energies along its hop; `emforce kinetics` computes them")
    return found


def path_figure(row: Document, sites: Sequence[Document]) -> Figure:
    """Energy along a hop on the left, force per current density at its sites on the right.

    Parameters
    ----------
    row : the kinetics of a hop, with energies along it
    sites : rows of the same hop; of those with K the points of the best average are drawn, without one the best of each site

    The second half of a hop whose ends are alike mirrors the first one; mirrored points are open. Where images between the
    stationary points were relaxed, the energies of all images in the local basis stand beside those that are served.
    """
    x, energy = _served_energies(row)
    images = _images_between(row)
    mirrored = float(x.max()) <= 0.5 + 1e-9
    wind = _wind_at_sites(sites)
    note = " Open: mirrored." if mirrored else ""
    note += " Grey: all relaxed images in the local basis, without corrections." if images else ""
    lead = (f"{_title(row['metal'], row['facet'])}, {row['species']} {row['defect']}, {row['hop']}. "
            f"E_m = {row['barrier_eV']:.3f} ± {row['barrier_sigma_eV']:.3f} eV.{note} Lines guide the eye, level at stationary "
            "points. Force: > 0 along the electric field, against the electrons (upwind).")  # fmt: skip
    with mpl.rc_context(_STYLE):
        figure, (left, right) = _figure(2, [row, *wind.values()], lead)
        if images:
            left.plot(*images, color="0.55", marker="D", markersize=4, linestyle="none", zorder=1)
            if mirrored:
                left.plot(1 - images[0], images[1], color="0.55", marker="D", markersize=4, markerfacecolor="white",
                          linestyle="none", zorder=0)  # fmt: skip
        _curve(left, x, energy, mirrored, _COLOURS[0])
        sigma = 1e3 * (row["barrier_sigma_eV"] or 0.0)
        saddle = float(np.interp(0.5, x, energy))
        left.errorbar([0.5], [saddle], yerr=[sigma], color=_COLOURS[0], linestyle="none", elinewidth=1.1)
        left.set(ylabel="Energy (meV)", xlabel=BY_NAME["fraction"].axis, xlim=(-0.05, 1.05))
        right.axhline(0, color="0.6", linewidth=0.7, zorder=0)
        if wind:
            at = np.array(sorted(wind))
            k, error = (np.array([wind[s][name] or 0.0 for s in at]) for name in ("k_wind_uohm_cm", "k_wind_sigma_uohm_cm"))
            right.errorbar(at, k, yerr=error, color=_COLOURS[1], marker="s", markersize=5, linestyle="none", elinewidth=1.1)
            if float(at.max()) <= 0.5 + 1e-9:
                some = at < 0.5 - 1e-9
                right.errorbar(1 - at[some], k[some], yerr=error[some], color=_COLOURS[1], marker="s", markersize=5,
                               markerfacecolor="white", linestyle="none", elinewidth=1.1)  # fmt: skip
        else:
            right.text(0.5, 0.5, "no wind force stored\nfor this hop", transform=right.transAxes, ha="center", va="center",
                       color="0.4")  # fmt: skip
        right.set(ylabel=BY_NAME["k_wind_uohm_cm"].axis, xlabel=BY_NAME["fraction"].axis, xlim=(-0.05, 1.05))
    return figure


def _wind_at_sites(rows: Sequence[Document]) -> dict[float, Document]:
    """The rows of one hop whose K is drawn, by fraction: those of the best average over it, without one the best of each site."""
    held = [row for row in rows if row["k_wind_uohm_cm"] is not None]
    points = [row for row in held if row["site"] != HOP_AVERAGE and row["fraction"] is not None]
    averages = best_of_each([row for row in held if row["site"] == HOP_AVERAGE], "wind").values()
    labels = [(row["preset"], row["basis"]) for row in averages]
    drawn = [row for row in points if not labels or (row["preset"], row["basis"]) in labels]
    found: dict[float, Document] = {}
    for row in sorted(drawn, key=lambda row: rank(row, "wind")):
        found.setdefault(row["fraction"], row)
    return found


def _served_energies(row: Document) -> tuple[np.ndarray, np.ndarray]:
    """Fractions and energies (meV) of the stationary points by the barriers as served.

    Those of the local basis, kinetics_details.energies_along_hop, are others where plane waves or more k-points corrected them.
    """
    points = {0.0: 0.0, 0.5: float(row["barrier_eV"])}
    back = row["kinetics_details"].get("reverse")
    if back:
        points[1.0] = points[0.5] - float(back["barrier_eV"])
    return np.array(list(points)), 1e3 * np.array(list(points.values()))


def _images_between(row: Document) -> tuple[np.ndarray, np.ndarray] | None:
    """Fractions and energies (meV) of all images in the local basis, if there are some between the stationary points."""
    table = row["kinetics_details"].get("energies_as_relaxed") or {}
    x, energy = (np.array(table.get(name, ()), float) for name in ("fraction", "energy_eV"))
    if not set(np.round(x, 9)) - {0.0, 0.5, 1.0}:
        return None
    return x, 1e3 * (energy - energy[0])


def _curve(axis: Any, x: np.ndarray, energy: np.ndarray, mirrored: bool, colour: str) -> None:
    """Points, and a cubic with level ends between neighbouring ones."""
    axis.plot(x, energy, color=colour, marker="o", markersize=5, linestyle="none")
    points, values = x, energy
    if mirrored:
        first = x < 0.5 - 1e-9
        axis.plot(1 - x[first], energy[first], color=colour, marker="o", markersize=5, markerfacecolor="white", linestyle="none")
        points, values = np.append(x, 1 - x[first][::-1]), np.append(energy, energy[first][::-1])
    t = np.linspace(0, 1, 40)
    step = t * t * (3 - 2 * t)
    for i in range(len(points) - 1):
        axis.plot(points[i] + t * (points[i + 1] - points[i]), values[i] + step * (values[i + 1] - values[i]), color=colour,
                  linestyle=":", linewidth=1.0)  # fmt: skip


def diffusion_figure(rows: Sequence[Document], published: Sequence[Document]) -> Figure:
    """D(T) of every hop that has D0 and E_a, a panel for surfaces and one for the bulk, with published ones of the same hops.

    Parameters
    ----------
    rows : stored rows; the joined row of each hop is drawn
    published : rows of the literature; those seen at their source are drawn

    Raises
    ------
    NothingToDraw : no hop with D0 and E_a
    """
    ours = [row for row in best_rows(rows) if _has_line(row)]
    if not ours:
        raise NothingToDraw("no D(T) to draw: no row holds D0 and E_a; `emforce kinetics` computes them")
    theirs = [row for row in published if row["status"] == "literature" and _has_line(row)]
    panels = {"surface": [r for r in ours if r["facet"] != "bulk"], "bulk": [r for r in ours if r["facet"] == "bulk"]}
    panels = {name: group for name, group in panels.items() if group}
    with mpl.rc_context(_STYLE):
        hops = {_place(row) for row in ours}
        known = [row for row in theirs if _place(row) in hops]
        lead = f"Lines and bands: computed, one standard uncertainty of ln D; none below {_LEAST_D:g} m²/s. "
        if known:
            lead += "Symbols: published, within their temperatures; broken lines where these are not stated. "
            lead += "; ".join(sorted({f"{row['metal']}: {row['source']}" for row in known})) + ". "
        lead += " ".join(sorted({f"{row['kinetics_condition'][:1].upper()}{row['kinetics_condition'][1:]}." for row in ours
                                if row.get("kinetics_condition")}))
        beside = {name: [row for row in known if _place(row) in set(map(_place, group))] for name, group in panels.items()}
        most = max(len(group) + len(beside[name]) for name, group in panels.items())
        figure, axes = _figure(len(panels), ours, lead, panel_height=3.7 + _LEGEND_LINE * most)
        for axis, (name, group) in zip(axes, panels.items(), strict=True):
            _draw_diffusion(axis, group, beside[name])
            axis.set_ylim(bottom=max(axis.get_ylim()[0], _LEAST_D))
            axis.set_title("adatoms" if name == "surface" else "bulk", pad=30)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), handlelength=1.6)
    return figure


def _place(row: Document) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("metal", "facet", "defect", "hop", "species"))


def _has_line(row: Mapping[str, Any]) -> bool:
    return row.get("d0_m2_s") is not None and row.get("ea_eV") is not None


def _draw_diffusion(axis: Any, group: Sequence[Document], known: Sequence[Document]) -> None:
    colours = {place: _COLOURS[i % len(_COLOURS)] for i, place in enumerate(sorted({_place(row) for row in group}))}
    for row in sorted(group, key=_place):
        T = np.linspace(*_span(row), num=80)
        d, spread = _values(row, T)
        same = [other for other in group if (other["metal"], other["facet"]) == (row["metal"], row["facet"])]
        apart = [str(row[name]) for name in ("hop", "species", "preset") if len({other[name] for other in same}) > 1]
        alone = ["vacancy alone"] if vacancy_alone(row) else []
        label = ", ".join([_title(row["metal"], row["facet"]), *apart, *alone])
        colour = colours[_place(row)]
        axis.plot(1e3 / T, d, color=colour, label=label)
        axis.fill_between(1e3 / T, d * np.exp(-spread), d * np.exp(spread), color=colour, alpha=0.15, linewidth=0)
    dashes = cycle(("--", "-.", (0, (1, 1.5))))
    for i, row in enumerate(sorted(known, key=_place)):
        stated = row["reported_low_K"] is not None
        lowest, highest = (float(row["reported_low_K"]), float(row["reported_high_K"])) if stated else _span(row)
        T = np.linspace(lowest, highest, 5)
        style: dict[str, Any] = {"linestyle": "none" if stated else next(dashes)}
        if stated:
            style |= {"marker": _MARKERS[i % len(_MARKERS)], "markersize": 4.5}
        name = f"{_title(row['metal'], row['facet'])}, {_short(row['source'])}"
        axis.plot(1e3 / T, _values(row, T)[0], color=colours[_place(row)], markerfacecolor="white", linewidth=1.0, label=name,
                  **style)
    axis.set(yscale="log", xlabel="1000 K / $T$", ylabel=BY_NAME["d_m2_s"].axis)
    low, high = axis.get_xlim()
    ticks = [kelvin for kelvin in _UPPER_TICKS_K if low <= 1e3 / kelvin <= high]
    kept: list[int] = []
    for kelvin in sorted(ticks, reverse=True):  # names that would touch are left out
        if not kept or 1e3 / kelvin - 1e3 / kept[-1] > 0.09 * (high - low):
            kept.append(kelvin)
    upper = axis.secondary_xaxis("top")
    upper.set_xticks([1e3 / kelvin for kelvin in kept], [str(kelvin) for kelvin in kept], fontsize=7)
    upper.set_xlabel(BY_NAME["temperature_K"].axis, fontsize=9)
    upper.minorticks_off()


def _span(row: Mapping[str, Any]) -> tuple[float, float]:
    melting = material(str(row["metal"])).melting_temperature.value
    if row["facet"] == "bulk":
        return _BULK_SHARE[0] * melting, _BULK_SHARE[1] * melting
    return _ADATOM_K[0], min(_ADATOM_K[1], melting)


def _values(row: Mapping[str, Any], T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D in m²/s, and the uncertainty of ln D."""
    d = row["d0_m2_s"] * np.exp(-row["ea_eV"] / (units.K * T))
    relative = (row.get("d0_sigma_m2_s") or 0.0) / row["d0_m2_s"]
    return d, np.hypot(relative, (row.get("ea_sigma_eV") or 0.0) / (units.K * T))


def _short(source: str) -> str:
    """First author and year of a source; the first words of a title where the authors are not known."""
    year = re.search(r"\((\d{4})\)", source)
    author = re.sub(r"^(?:[A-Z]\.[- ]?)+", "", source.split(",")[0]).strip()
    author = author if len(author) <= 24 else author[:23].rstrip() + "…"
    return f"{author} {year[1]}" if year else author


__all__ = ["KINDS", "diffusion_figure", "path_figure", "path_figures"]
