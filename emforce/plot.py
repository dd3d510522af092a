"""Figures of stored rows: K along the hop, the wind valence against 1/rho, the host against plane waves.

Each function returns a matplotlib `Figure` made without global state; `save` writes it as PDF, SVG and PNG.
Colours are those of Okabe and Ito (safe for colour-blind readers), and each series has its own marker. Axis
labels come from `emforce.keys`. Error bars are one standard uncertainty. The caption names preset, method
and versions.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .best import hop_of, without_doubles
from .errors import EmforceError, InputError
from .keys import BY_NAME, HOST_KEYS
from .query import TABLE_TEMPERATURES_K, Resistivity, bulk_resistivity, rho_source
from .record import HOP_AVERAGE, Host
from .stored import Document

FORMATS = ("pdf", "svg", "png")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: one more than the colours, so that a pair of both comes again after 42 series only
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HOST = {key.name: key for key in HOST_KEYS}
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "emforce",
    "errorbar.capsize": 2.5,
}
_PANEL_INCHES = (3.4, 3.5)
_CAPTION_LINE = 0.14  # inches
_LEGEND_LINE = 0.19
_LEGEND_CHARACTERS = 40


class NothingToDraw(EmforceError):
    """Rows that hold nothing for a figure; the message says what it needs."""


def hop_figure(rows: Iterable[Document]) -> Figure:
    """K along the hop, a panel per metal and facet; the hop average is a line with its uncertainty as a band.

    Parameters
    ----------
    rows : of `Database.rows`, status ok; several hops on a facet are several series

    Raises
    ------
    NothingToDraw : no row has a number to show
    """
    panels = _panels(rows)
    with mpl.rc_context(_STYLE):
        shown = [row for group in panels.values() for row in group]
        height = _height([list(_series(group)) for group in panels.values()])
        figure, axes = _figure(len(panels), shown, f"{_SIGN} Dashed: average along the hop.", panel_height=height)
        for axis, (title, group) in zip(axes, panels.items(), strict=True):
            for i, (label, series) in enumerate(_series(group).items()):
                _draw_hop(axis, series, label, i)
            axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
            axis.set(xlabel=BY_NAME["fraction"].axis, ylabel=BY_NAME["k_wind_uohm_cm"].axis)
            axis.set_title(title)
            _legend_below(axis)
    return figure


def wind_figure(
    rows: Iterable[Document],
    temperatures_K: Sequence[float] = TABLE_TEMPERATURES_K,
    resistivity: Resistivity = bulk_resistivity,
) -> Figure:
    """Z_wind = K/rho against 1/rho, a panel per hop, with the temperature on the upper axis.

    A straight line through the origin with slope K for each site, or, of a hop computed with several settings, for the average
    along it with each, its uncertainty as a band, and error bars at the temperatures. Temperatures outside the known range of
    rho of a metal are left out.

    Raises
    ------
    NothingToDraw : no row has a number to show
    InputError : no temperature is in range
    """
    panels = {title: sorted(_few(group), key=_place) for title, group in _panels(rows, "hop").items()}
    with mpl.rc_context(_STYLE):
        shown = [row for group in panels.values() for row in group]
        lead = f"{_SIGN} Points are set apart sideways for clarity. "
        lead += _rho_sources({row["metal"] for row in shown}, temperatures_K, resistivity)
        legends = [[_label(row, group, ("site", *_SERIES)) for row in group] for group in panels.values()]
        figure, axes = _figure(len(panels), shown, lead, panel_height=_height(legends) + 0.3)
        for axis, (title, group), labels in zip(axes, panels.items(), legends, strict=True):
            found = _resistivities(str(group[0]["metal"]), temperatures_K, resistivity)
            x = 1.0 / np.array(list(found.values()))
            for i, (row, label) in enumerate(zip(group, labels, strict=True)):
                aside = 0.012 * float(x.max()) * (i - (len(group) - 1) / 2)
                _draw_valence(axis, row, (x, aside), i, label)
            axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
            axis.set(xlabel=r"$1/\rho$ (1/(µΩ cm))", ylabel=BY_NAME["z_wind"].axis)
            axis.set_xlim(0, 1.08 * float(x.max()))
            axis.set_title(title)
            upper = axis.secondary_xaxis("top")
            upper.set_xticks(x, [f"{T:g}" for T in found], fontsize=7)
            upper.set_xlabel(BY_NAME["temperature_K"].axis, fontsize=9)
            upper.minorticks_off()
            _legend_below(axis)
    return figure


def host_figure(host: Host) -> Figure:
    """Bands of a host along a path, LCAO over plane waves, with the numbers of the comparison.

    Raises
    ------
    InputError : the host holds no bands
    """
    if host.bands_lcao_eV.size == 0:
        raise InputError("host", f"{host.metal} {host.facet} {host.basis}", "a host stored with bands")
    verdict = f"Host check: {host.status}{'; ' + host.reason if host.reason else ''}."
    source = {"preset": host.preset, "method": f"basis {host.basis}", "provenance": host.provenance}
    with mpl.rc_context(_STYLE):
        figure, (axis, side) = _figure(2, [source], verdict, widths=(3.6, 1.6))
        jumps = np.flatnonzero(np.diff(host.path) <= 0) + 1  # the path goes on elsewhere: no line across
        bands = np.insert(host.bands_lcao_eV, jumps, np.nan, axis=0)
        lines = axis.plot(np.insert(host.path, jumps, host.path[jumps]), bands, color=_COLOURS[0], linewidth=1.1)
        shown = {"LCAO": lines[0]}
        if host.bands_plane_wave_eV.size:
            some = slice(None, None, max(1, len(host.path) // 45))  # dots that leave the lines to be seen
            waves = axis.plot(
                host.path[some],
                host.bands_plane_wave_eV[some],
                color=_COLOURS[1],
                linestyle="none",
                marker="o",
                markersize=3.2,
                markerfacecolor="none",
                markeredgewidth=0.8,
            )
            shown["plane waves"] = waves[0]
        axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
        for distance, _ in host.path_ticks:
            axis.axvline(distance, color="0.85", linewidth=0.7, zorder=0)
        names = ["|".join(_special(part) for part in name.split("|")) for _, name in host.path_ticks]
        axis.set_xticks([distance for distance, _ in host.path_ticks], names)
        axis.set(
            xlim=(host.path[0], host.path[-1]),
            ylim=_energy_window(host),
            xlabel="Wave vector",
            title=_title(host.metal, host.facet),
            ylabel=_HOST["bands_lcao_eV"].axis,
        )
        side.set_axis_off()
        side.legend(list(shown.values()), list(shown), loc="upper left", borderaxespad=0)
        side.text(
            0.0, 0.78, _comparison(host), transform=side.transAxes, va="top", fontsize=7.5, linespacing=1.4
        )
    return figure


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the figure as `stem`.pdf, .svg and .png (300 dots per inch, 256 colours), and return the paths."""
    for name in formats:
        if name not in FORMATS:
            raise InputError("--format", name, ", ".join(FORMATS))
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with mpl.rc_context(_STYLE):
        figure.draw_without_rendering()  # the first layout changes the ticks: the second one leaves room for their labels
        for path in paths:
            # no date inside: the same numbers give the same file
            dated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix)
            figure.savefig(path, dpi=300, metadata=dated)
            if path.suffix == ".png":
                _fewer_colours(path)
    return paths


def different_bands(hosts: Sequence[Host]) -> list[Host]:
    """Of hosts whose comparison with plane waves looks the same, for several settings of a hop, that with the shortest preset."""
    found: list[Host] = []
    for host in sorted(hosts, key=lambda one: len(one.preset)):
        if not any(_look_alike(host, other) for other in found):
            found.append(host)
    return [host for host in hosts if any(host is one for one in found)]


def host_stem(kind: str, host: Host) -> str:
    """Name of the files of a figure of a host."""
    return _stem(kind, host.metal, host.facet, host.basis, host.preset)


def hop_stem(kind: str, row: Mapping[str, Any]) -> str:
    """Name of the files of a figure of a hop."""
    return _stem(kind, *(row[name] for name in ("metal", "facet", "hop", "species")), *hop_of(row)[5:])


# pieces


def _stem(*parts: object) -> str:
    return re.sub(r"[^\w.-]+", "_", "-".join(map(str, parts)))


def _look_alike(host: Host, other: Host) -> bool:
    """Whether bands agree to _SEEN_EV, and the numbers printed beside them to four digits."""
    if (host.metal, host.facet, host.basis) != (other.metal, other.facet, other.basis):
        return False
    bands = ((host.bands_lcao_eV, other.bands_lcao_eV), (host.bands_plane_wave_eV, other.bands_plane_wave_eV))
    if any(mine.shape != theirs.shape for mine, theirs in bands):
        return False
    mine, theirs = (np.array([one.band_rms_eV, one.omega_p_compared_eV, one.dos_compared_per_eV_atom]) for one in (host, other))
    return all(np.allclose(*pair, rtol=0.0, atol=_SEEN_EV, equal_nan=True) for pair in bands) \
        and bool(np.allclose(mine, theirs, rtol=1e-4, atol=0.0, equal_nan=True))


def _fewer_colours(path: Path) -> None:
    """Keep the 256 colours that a drawing of lines and areas has: a third of the size, no difference to be seen."""
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # the tree rounds the paper's white too
    reduced.putpalette(bytes(255 if value >= 254 else value for value in reduced.getpalette() or ()))
    reduced.save(path, optimize=True, dpi=(300, 300))


#: eV: bands that differ by less are one line in a figure
_SEEN_EV = 1e-3
#: characters of a line of a panel's title that names overridden fields
_VARIANT_WRAP = 44
_SERIES = ("hop", "species", "preset", "method", "spec")
_SIGN = (
    "Positive: along the electric field, against the electrons (upwind). "
    "Error bars: one standard uncertainty."
)


def _figure(
    panels: int, rows: Sequence[Document], lead: str, widths: Sequence[float] = (),
    panel_height: float | Sequence[float] = _PANEL_INCHES[1],
) -> tuple[Figure, list[Any]]:
    """Panels in rows of up to three (or of the given widths in inches), of one height or one per row, with the caption below."""
    across = len(widths) or min(panels, 3)
    widths = widths or (_PANEL_INCHES[0],) * across
    down = -(-panels // across)
    inches = max(sum(widths), 4.4)
    text = textwrap.wrap(f"{lead} {_source(rows)}", int(inches * 19))
    bottom = _CAPTION_LINE * (len(text) + 1)
    heights = [panel_height] * down if isinstance(panel_height, (int, float)) else list(panel_height)
    height = sum(heights) + bottom
    rect = (0, bottom / height, 1, 1 - bottom / height)
    layout = ConstrainedLayoutEngine(rect=rect, wspace=0.06, hspace=0.06)
    figure = Figure(figsize=(inches, height), layout=layout)
    caption = "\n".join(text)
    figure.text(0.015, 0.5 * _CAPTION_LINE / height, caption, fontsize=6.5, color="0.25", va="bottom")
    axes = list(figure.subplots(down, across, squeeze=False, width_ratios=widths, height_ratios=heights).flat)
    for axis in axes[panels:]:
        axis.set_visible(False)
    return figure, axes[:panels]


def _draw_hop(axis: Any, series: list[Document], label: str, i: int) -> None:
    colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
    sites = sorted((row for row in series if row["fraction"] is not None), key=lambda row: row["fraction"])
    for row in series:
        if row["site"] == HOP_AVERAGE:
            K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"] or 0.0
            axis.axhspan(K - sigma, K + sigma, color=colour, alpha=0.13, linewidth=0, zorder=0)
            axis.axhline(K, color=colour, linestyle="--", linewidth=1.0)
    axis.errorbar(
        [row["fraction"] for row in sites],
        [row["k_wind_uohm_cm"] for row in sites],
        yerr=[row["k_wind_sigma_uohm_cm"] or 0.0 for row in sites],
        color=colour,
        marker=marker,
        markersize=5,
        linestyle=":",
        linewidth=0.9,
        elinewidth=1.1,
        label=label,
    )
    axis.set_xlim(-0.06, 1.06)


def _draw_valence(axis: Any, row: Document, at: tuple[np.ndarray, float], i: int, label: str) -> None:
    """One site: a line of slope K, and the points at 1/rho shifted sideways by `at[1]`."""
    x, aside = at
    colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
    K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"] or 0.0
    line = np.array([0.0, 1.08 * x.max()])
    axis.plot(line, K * line, color=colour, linewidth=1.0)
    axis.fill_between(line, (K - sigma) * line, (K + sigma) * line, color=colour, alpha=0.08, linewidth=0)
    axis.errorbar(
        x + aside,
        K * x,
        yerr=sigma * x,
        color=colour,
        marker=marker,
        markersize=4.5,
        linestyle="none",
        elinewidth=1.1,
        label=label,
    )


def _panels(rows: Iterable[Document], name: str = "") -> dict[str, list[Document]]:
    """Rows with a number, each once (`without_doubles`), by metal, facet, what moves, and the key `name` if given."""
    panels: dict[str, list[Document]] = {}
    for row in without_doubles(row for row in rows if row["k_wind_uohm_cm"] is not None):
        title = f"{_title(row['metal'], row['facet'])} {row['defect']}"
        panels.setdefault(f"{title}\n{row[name]}" if name else title, []).append(row)
    if not panels:
        raise NothingToDraw("nothing to plot: these rows hold no K")
    return dict(sorted(panels.items()))


def _label(row: Document, group: Sequence[Document], names: Sequence[str]) -> str:
    """The values of those keys in which the rows of a group differ; of the first key if they do not."""
    different = [name for name in names if len({other[name] for other in group}) > 1]
    return ", ".join(str(row[name]) for name in different or names[:1])


def _series(group: Sequence[Document]) -> dict[str, list[Document]]:
    series: dict[str, list[Document]] = {}
    for row in group:
        series.setdefault(_label(row, group, _SERIES), []).append(row)
    return dict(sorted(series.items()))


def _place(row: Document) -> tuple[Any, ...]:
    return (row["hop"], row["species"], row["preset"], 2.0 if row["fraction"] is None else row["fraction"])


def _resistivities(
    metal: str, temperatures_K: Sequence[float], resistivity: Resistivity
) -> dict[float, float]:
    found = {}
    refused: InputError | None = None
    for T in temperatures_K:
        try:
            found[T] = resistivity(metal, T)
        except InputError as error:
            refused = error
    if refused and not found:
        raise refused
    return found


def _rho_sources(metals: set[str], temperatures_K: Sequence[float], resistivity: Resistivity) -> str:
    """Sources of rho(T), each once, for the caption."""
    found: dict[str, list[str]] = {}
    for metal in sorted(metals):
        for T in _resistivities(metal, temperatures_K, resistivity):
            found.setdefault(rho_source(metal, T, resistivity), []).append(f"{metal} {T:g} K")
    return " ".join(f"ρ of {', '.join(where)}: {source}." for source, where in found.items())


def _energy_window(host: Host) -> tuple[float, float]:
    """From just below the lowest band shown, but no deeper than 12 eV, to 6 eV above E_F."""
    lowest = float(np.nanmin(host.bands_lcao_eV))
    return max(lowest - 0.5, -12.0), 6.0


def _special(name: str) -> str:
    return r"$\Gamma$" if name in ("G", "Gamma") else name


def _comparison(host: Host) -> str:
    """The numbers beside the bands: LCAO against plane waves."""
    lines = []
    pairs = (
        ("omega_p_compared_eV", host.omega_p_compared_eV, host.omega_p_plane_wave_eV),
        ("dos_compared_per_eV_atom", host.dos_compared_per_eV_atom, host.dos_plane_wave_per_eV_atom),
    )
    for name, ours, theirs in pairs:
        if np.isfinite(ours):
            lines.append(f"{_HOST[name].axis}\n  LCAO {ours:.3g}")
        if np.isfinite(ours) and np.isfinite(theirs):
            lines[-1] += f"\n  plane waves {theirs:.3g}  ({100 * (ours / theirs - 1):+.1f} %)"
    if np.isfinite(host.band_rms_eV):
        lines.append(f"rms band difference\n  {1000 * host.band_rms_eV:.0f} meV")
    return "\n\n".join(lines)


def _legend_below(axis: Any) -> None:
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        axis.set_ylim(low * (low / high) ** 0.02, high * (high / low) ** 0.05)
    else:
        axis.set_ylim(low - 0.02 * (high - low), high + 0.05 * (high - low))
    handles, labels = axis.get_legend_handles_labels()
    labels = [_wrapped(label) for label in labels]
    lengths = [len(re.sub(r"\\mathrm|[\\{}$_]", "", label)) for label in labels]  # of what is seen
    across = 2 if len(labels) > 1 and max(lengths) < 18 else 1
    axis.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=across, handlelength=1.6
    )


def _wrapped(label: str) -> str:
    """A label of a legend in lines that are no wider than a panel; formulas stay in one."""
    return label if "$" in label else textwrap.fill(label, _LEGEND_CHARACTERS, break_long_words=False)


def _height(legends: Sequence[Sequence[str]]) -> float:
    """Inches of panels with these labels in their legends."""
    most = max(sum(_wrapped(label).count("\n") + 1 for label in labels) for labels in legends)
    return _PANEL_INCHES[1] + 0.8 * _LEGEND_LINE * (most - 1)


def _few(group: list[Document]) -> list[Document]:
    """The rows of a hop, or where it was computed with several settings its averages."""
    averages = [row for row in group if row["site"] == HOP_AVERAGE]
    return averages if averages and len({row["preset"] for row in group}) > 1 else group


def variant(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> str:
    """The preset's overridden fields, in lines of their own; "" where no other of `rows` is of the same hop and site."""
    names = ("metal", "facet", "defect", "hop", "species", "site")
    alike = [other for other in rows if all(other[name] == row[name] for name in names)]
    _, _, changed = str(row["preset"]).partition(" (")
    lines = textwrap.wrap(changed.removesuffix(")"), _VARIANT_WRAP, break_long_words=False)
    return "".join(f"\n{line}" for line in lines) if len(alike) > 1 else ""


def _title(metal: str, facet: str) -> str:
    return f"{metal} bulk" if facet == "bulk" else f"{metal}({facet})"


def _every(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values if value}))


def _source(rows: Sequence[Document]) -> str:
    """Where the numbers come from, in one sentence: preset, method, versions, date."""
    notes = [row["provenance"] for row in rows]
    made = sorted(str(note["created"])[:10] for note in notes if note.get("created"))
    dates = "" if not made else made[0] if made[0] == made[-1] else f"{made[0]} to {made[-1]}"
    parts = [
        f"preset {_every(row['preset'] for row in rows)}",
        _every(row["method"] for row in rows),
        f"emforce {_every(note.get('emforce') for note in notes)}",
        f"GPAW {_every(note.get('gpaw') for note in notes)}",
        dates,
    ]
    return f"Source: {'; '.join(part for part in parts if part)}."
