"""Figures of the models: stress in a line, profiles of wires, kinetic Monte Carlo, the companion experiments.

Each function returns a matplotlib `Figure` in the style of `emforce.plot`; `emforce.plot.save` writes it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..plot import _COLOURS, _MARKERS, _STYLE
from . import continuum, walkers
from .companions import Entry
from .continuum import Line, StressEvolution
from .kmc import MetalRun
from .parameters import ContinuumParameters, SurfaceParameters
from .surface import ProfileEvolution, Wire

_SIGN = "Z* > 0: force on the atoms along the field and the conventional current, against the electrons (upwind)."
_TIMES = (("y", 3.156e7), ("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_UM = "Position $x$ (µm)"
_SUBSCRIPT, _MATH = re.compile(r"(\w+)_(\w+)"), r"$\1_\\mathrm{\2}$"


def line_figure(parameters: ContinuumParameters, line: Line, found: StressEvolution, critical_MPa: float | None) -> Figure:
    """Stress along the line at several times (left), and at its two ends against time (right), over the closed forms."""
    with mpl.rc_context(_STYLE):
        text = f"{parameters.metal}, {parameters.temperature_K:g} K, Z* = {parameters.z_star:.3g}, L = {line.length_um:g} µm, " \
               f"j = {line.current_density_MA_cm2:g} MA/cm². {_SIGN} Tension is positive. Lines: finite volumes."
        closed = line.left == line.right == "blocked" and line.temperature_rise_K == 0
        if closed:
            text += " Open symbols: Korhonen's series. Dotted: steady state; dash-dotted: square-root law."
        figure, (left, right) = _figure(2, text)
        some = np.unique(np.linspace(0, len(found.time_s) - 1, 5).astype(int))
        for n, i in enumerate(some):
            colour, t = _COLOURS[n % len(_COLOURS)], found.time_s[i]
            left.plot(found.x_um, found.stress_MPa[i], color=colour, label=_seconds(t))
            if closed:
                dots = slice(len(found.x_um) // 24, None, max(1, len(found.x_um) // 12))
                left.plot(found.x_um[dots], continuum.korhonen_series_MPa(parameters, line, t)[0][dots], color=colour,
                          linestyle="none", marker=_MARKERS[n], markersize=3.5, markerfacecolor="none")
        final = continuum.steady(parameters, line)
        left.plot(final.x_um, final.stress_MPa[0], color="0.3", linestyle=":")
        left.set(xlabel=_UM, ylabel=r"Stress $\sigma$ (MPa)")
        _legend(left)
        for n, (name, series) in enumerate((("$x = 0$", found.left_MPa), ("$x = L$", found.right_MPa))):
            right.plot(found.time_s, series, color=_COLOURS[n], label=name)
        if closed:
            early = found.time_s[found.time_s < 0.15 * (line.length_um * 1e-6) ** 2 / continuum.kappa_m2_s(parameters)]
            law = continuum.short_time_end_MPa(parameters, line, early)
            for sign in (1, -1):
                right.plot(early, sign * law, color="0.3", linestyle="-.", linewidth=0.9)
        if critical_MPa is not None:
            right.axhline(critical_MPa, color=_COLOURS[3], linewidth=0.9, linestyle="--", label="critical")
        right.set(xlabel="Time $t$ (s)", ylabel=r"Stress at the ends (MPa)", xscale="log")
        _legend(right)
    return figure


def wire_figure(runs: Sequence[tuple[SurfaceParameters, Wire, ProfileEvolution]]) -> Figure:
    """Profile of each wire at the first and the last time, with the directions of current, electrons and atoms."""
    with mpl.rc_context(_STYLE):
        wire = runs[0][1]
        text = f"{_SIGN} Conventional current along +x when positive, electrons along -x. Grey: start; " \
               f"r0 = {wire.radius_nm:g} nm, I = {wire.current_uA:g} µA. " + " ".join(
                   f"{p.surface}: {p.temperature_K:g} K, Z* = {p.z_star:.3g}, t = {f.time_tau[-1]:.3g} τ"
                   + (f" = {_seconds(f.time_tau[-1] * f.tau_s)}." if np.isfinite(f.tau_s) else ".") for p, _, f in runs)
        figure, axes = _figure(len(runs), text, height=2.6)
        top = 1.1 * max(float(f.radius_nm.max()) for _, _, f in runs)
        for n, (axis, (p, w, f)) in enumerate(zip(axes, runs, strict=True)):
            colour = _COLOURS[n % len(_COLOURS)]
            for sign in (1, -1):
                axis.plot(f.x_nm, sign * f.radius_nm[0], color="0.6", linewidth=1.0)
                axis.plot(f.x_nm, sign * f.radius_nm[-1], color=colour)
            axis.fill_between(f.x_nm, -f.radius_nm[-1], f.radius_nm[-1], color=colour, alpha=0.15, linewidth=0)
            axis.axhline(0, color="0.7", linewidth=0.6, linestyle=(0, (8, 3, 1, 3)))
            way = float(np.sign(w.current_uA))
            _arrow(axis, (0.25 * w.length_nm, 1.1 * top), way * 0.1 * w.length_nm, "current", "0.2")
            _arrow(axis, (0.75 * w.length_nm, 1.1 * top), -way * 0.1 * w.length_nm, "electrons", "0.2")
            _arrow(axis, (0.5 * w.length_nm, 1.55 * top), way * float(np.sign(p.z_star)) * 0.15 * w.length_nm, "atoms", colour)
            axis.set(xlabel="Position $x$ (nm)", ylabel="Radius $r$ (nm)", ylim=(-top, 2 * top),
                     title=f"{p.surface}, $\\chi$ = {_chi(p, w):.2f}")
    return figure


def kmc_figure(runs: Sequence[MetalRun]) -> Figure:
    """Drift of adatoms against the bias over the closed form (left); mass and steps of an island against time (right)."""
    with mpl.rc_context(_STYLE):
        j = runs[0].current_density_MA_cm2
        lasted = ", ".join(f"{run.drift.time[-1].mean():.3g}/Γ0 ({run.parameters.surface})" for run in runs)
        text = f"{_SIGN} The field is along +x, j = {j:.3g} MA/cm² (far above an experiment's; the drift is linear in it). " \
               "Left: single adatoms; lines: closed form, bars: one standard error. Right: an island; filled: pattern of the " \
               f"steps, open: mean of all atoms; runs of {lasted}; bonds are settings of the model (docs/models.md). " \
               "The axis is linear between -0.3 and 0.3."
        figure, (left, right) = _figure(2, text)
        bias = np.linspace(-1, 1, 41) * 1.15 * max(abs(run.work_kT) for run in runs)
        shown: set[str] = set()
        for n, run in enumerate(runs):
            colour, marker = _COLOURS[n % len(_COLOURS)], _MARKERS[n % len(_MARKERS)]
            d = run.lattice.hop_length
            name = run.lattice.name if run.tensor is None else f"{run.lattice.name}, tensor of {run.parameters.metal}"
            if name not in shown:
                exact = [walkers.exact_drift_velocity(run.lattice, run.lattice.bias(w, tensor=run.tensor))[0] / d for w in bias]
                left.plot(bias, exact, color="0.3", linewidth=1.0, linestyle=("-", "--", ":", "-.")[len(shown) % 4], label=name)
                shown.add(name)
            v, sigma = run.walk.drift_velocity()
            left.errorbar(run.work_kT, v[0] / d, yerr=sigma[0] / d, color=colour, marker=marker, linestyle="none", markersize=5,
                          label=run.parameters.surface)
            time = run.drift.time.mean(axis=1) / run.drift.time[-1].mean()
            step, mass = run.drift.pattern.mean(axis=1), (run.drift.mass @ np.array([1.0, 0.0])).mean(axis=1)
            right.plot(time, step / d, color=colour, marker=marker, markersize=3.5, label=f"{run.parameters.surface}, steps")
            right.plot(time, mass / d, color=colour, marker=marker, markersize=3.5, markerfacecolor="none", linewidth=0.8,
                       linestyle="--", label=f"{run.parameters.surface}, mass")
        for axis in (left, right):
            axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
        left.set(xlabel=r"Bias $w/k_\mathrm{B}T$, $w = e\langle Z\rangle E d$", ylabel=r"Adatom drift $v/(\Gamma_0 d)$")
        right.set(xlabel="Time (share of the run)", ylabel="Displacement along the field (hops $d$)")
        right.set_yscale("symlog", linthresh=0.3)
        _legend(left)
        _legend(right)
    return figure


def companions_figure(entries: Sequence[Entry]) -> Figure:
    """Formula over printed number for each entry that can be computed, with ours where there is a Q*."""
    shown = [e for e in entries if e.computed is not None and e.printed is not None][::-1]
    with mpl.rc_context(_STYLE):
        text = "Printed formula with printed inputs, over the printed number. Band: 5 %, the rounding of a printed number. " \
               "Round: agrees, or the same order where an order is printed. Open: no formula is printed, ours is shown. " \
               "Diamonds: with the heat of transport of the database, where it has one."
        figure, (axis,) = _figure(1, text, height=0.32 * len(shown) + 0.8, width=6.4)
        axis.axvspan(0.95, 1.05, color=_COLOURS[2], alpha=0.25, linewidth=0)
        axis.axvline(1, color="0.4", linewidth=0.8)
        for y, e in enumerate(shown):
            if e.computed is None or e.printed is None:
                continue
            good = e.verdict.startswith(("agrees", "same"))
            colour = _COLOURS[0] if good else _COLOURS[1]
            axis.plot(e.computed / e.printed, y, color=colour, marker="o" if good else "s", markersize=6,
                      markerfacecolor="none" if e.ours else colour)
            if e.with_our_q is not None:
                axis.plot(e.with_our_q / e.printed, y, color="k", marker="D", markersize=5, markerfacecolor="none")
        axis.set_yticks(range(len(shown)), [f"{e.metal}: {_SUBSCRIPT.sub(_MATH, e.quantity)}" for e in shown], fontsize=8)
        axis.set(xscale="log", xlabel="Formula/printed (dimensionless)", ylim=(-0.6, len(shown) - 0.4))
    return figure


# pieces


def _figure(panels: int, text: str, height: float = 3.0, width: float | None = None) -> tuple[Figure, list[Any]]:
    """Panels in a row with a caption below."""
    inches = width or max(3.3 * panels, 4.4)
    lines = textwrap.wrap(text, int(inches * 19))
    bottom = 0.14 * (len(lines) + 1)
    rect = (0, bottom / (height + bottom), 1, height / (height + bottom))
    figure = Figure(figsize=(inches, height + bottom), layout=ConstrainedLayoutEngine(rect=rect, wspace=0.05))
    figure.text(0.015, 0.07 / (height + bottom), "\n".join(lines), fontsize=6.5, color="0.25", va="bottom")
    return figure, list(figure.subplots(1, panels, squeeze=False).flat)


def _legend(axis: Any) -> None:
    axis.legend(fontsize=7, handlelength=1.8, borderaxespad=0.3)


def _arrow(axis: Any, middle: tuple[float, float], half: float, name: str, colour: str) -> None:
    x, y = middle
    if half:
        axis.annotate("", (x + half, y), (x - half, y), arrowprops={"arrowstyle": "->", "color": colour})
        axis.annotate(name, (x, y), (0, 3), textcoords="offset points", fontsize=7.5, color=colour, ha="center", va="bottom")


def _chi(parameters: SurfaceParameters, wire: Wire) -> float:
    from .surface import chi

    return chi(parameters, wire)


def _seconds(t: float) -> str:
    for unit, size in _TIMES:
        if t >= size:
            return f"{t / size:.3g} {unit}"
    return f"{t:.3g} s"
