"""One setting varied, everything else held: K along the hop with its uncertainty against the value.

A study computes only what the value changes: steps of equal inputs have equal names and are in the store already.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .errors import InputError
from .keys import BY_NAME
from .plan import HopPlan
from .plot import _COLOURS, _STYLE, NothingToDraw, _figure, _title
from .record import Record
from .settings import Settings, load_settings


@dataclass(frozen=True)
class Point:
    """One value of a study.

    Attributes
    ----------
    text : the value as it is shown
    place : where it stands on an axis; None for what is not a number
    record : of the hop average at this value, failed ones included
    new_steps, steps : steps that no value before it has, and all of them
    """

    text: str
    place: float | None
    record: Record
    new_steps: int
    steps: int


def varied(base: Settings, field: str, values: Sequence[object]) -> list[Settings]:
    """Settings at each value of one field.

    A number for a field that is a list of numbers with the served one first (embedding.radii_A, structure.thick_layers) goes
    to the front, and the others stay, to measure the error.

    Raises
    ------
    InputError for a field or value that is not allowed, fewer than two values, or two equal ones
    """
    section, _, name = field.partition(".")
    held = getattr(getattr(base, section, None), name, None)
    found = []
    for value in values:
        if isinstance(held, tuple) and isinstance(value, int | float) and not isinstance(value, bool):
            value = [value, *(other for other in held if other != value)]
        found.append(load_settings(base.preset, {**dict(base.overrides), field: value}))
    if len({settings.digest for settings in found}) < max(len(found), 2):
        raise InputError("--vary", [field, *values], "a field of the preset and two or more different values of it")
    return found


def points(values: Sequence[object], records: Sequence[Record], plans: Sequence[HopPlan]) -> list[Point]:
    """The study as a table: one point for each value, with the record of the hop average at it."""
    seen: set[str] = set()
    found = []
    for value, record, plan in zip(values, records, plans, strict=True):
        names = {step.name for step in plan.steps()}
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = value if isinstance(value, str) else json.dumps(value)
        found.append(Point(text, float(value) if number else None, record, len(names - seen), len(names)))  # type: ignore[arg-type]
        seen |= names
    return found


def convergence_figure(field: str, found: Sequence[Point]) -> Figure:
    """K of the hop average with one standard uncertainty against the value of a field.

    Raises
    ------
    NothingToDraw : no value with a served K
    """
    served = [point for point in found if point.record.status == "ok"]
    if not served:
        raise NothingToDraw(f"no K to draw: at no value of {field} was one served")
    row: dict[str, Any] = served[0].record.document()
    row["preset"] = f"{row['preset']} and {field} as on the axis"
    missing = [point.text for point in found if point not in served]
    lead = ("Average along the hop. Positive: along the electric field, against the electrons (upwind). Error bars: one standard "
            f"uncertainty.{f' Not served: {field} = ' if missing else ''}{', '.join(missing)}{'.' if missing else ''}")
    numbers = [point.place for point in served if point.place is not None]
    with mpl.rc_context(_STYLE):
        figure, (axis,) = _figure(1, [row], lead)
        on_a_scale = len(numbers) == len(served)
        places = numbers if on_a_scale else [float(i) for i in range(len(served))]
        axis.errorbar(places, [p.record.k_wind_uohm_cm for p in served], yerr=[p.record.k_wind_sigma_uohm_cm for p in served],
                      color=_COLOURS[0], marker="o", markersize=5, linestyle=":", linewidth=0.9, elinewidth=1.1)
        if not on_a_scale:
            axis.set_xticks(places, [point.text for point in served], fontsize=7)
        axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
        axis.set(xlabel=field, ylabel=BY_NAME["k_wind_uohm_cm"].axis)
        axis.set_title(f"{_title(row['metal'], row['facet'])}, {row['hop']}")
    return figure


__all__ = ["Point", "convergence_figure", "points", "varied"]
