"""What the screening figures draw: numbers of stored hops side by side, and what was left out and why.

    F/j      = e |Z*| rho               force per current density; rho cancels from the wind part, Z_direct rho + K
    merit    = |Z*| D rho               drift velocity per current density, v/j = (e/k_B T) |Z*| D rho
    share    = sigma_i^2/sigma          of a part sigma_i of an uncertainty: the shares add up to sigma

Hops are joined as `emforce.best` does. Published values count only with status "literature" (seen at their source), for the
same metal, facet, defect, hop and mover, and each says so. Z* > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .best import OF_DIFFUSION, best_rows, hop_of, vacancy_alone
from .errors import InputError
from .evaluate import DIRECT_MODELS, FORCE_PER_J, Situation, evaluate, host_of
from .keys import SIGMA_OF
from .stored import Document

Hosts = Mapping[int, Mapping[str, Any]]

#: what can be compared with published values of the same hop, in the order of the panels
PARITY = ("z_star", "z_wind", "barrier_eV", "formation_energy_eV", "ea_eV", "d_m2_s", "q_star_eV")
#: those of them that are evaluated at a temperature
_EVALUATED = ("z_star", "z_wind", "d_m2_s", "q_star_eV")
COMPUTED = "computed"
#: direct parts in the order in which they may rank: what was computed before models
_RANKING = ("dft", "none", "drude", "nominal")


@dataclass(frozen=True)
class Point:
    """A figure of merit of one hop under one direct part.

    Attributes
    ----------
    hop, direct_model : what it is of
    value : not negative; None where the direct part is an interval
    low, high : ends of one standard uncertainty, or of the interval
    direction : of the force: upwind, downwind or undecided
    diffusion : where D comes from: "computed", a source, or "" where D plays no part
    d_known : whether the uncertainty of D is in low and high
    """

    hop: str
    direct_model: str
    value: float | None
    low: float
    high: float
    direction: str
    diffusion: str = ""
    d_known: bool = True


@dataclass(frozen=True)
class Screened:
    """Points of one figure of merit, the rows behind them, and sentences on what was left out."""

    points: tuple[Point, ...]
    rows: tuple[Document, ...]
    left_out: tuple[str, ...]

    def ranked(self) -> tuple[str, list[tuple[Point, ...]]]:
        """The direct part that ranks, and the points of each hop (and source of D), the largest first.

        It is the first of computed, wind alone, Drude number, ion charge with a number for every hop; else the first that is
        there, and an interval counts with its upper end.
        """
        entries: dict[tuple[str, str], list[Point]] = {}
        for point in self.points:
            entries.setdefault((point.hop, point.diffusion), []).append(point)
        models = [name for name in _RANKING if any(point.direct_model == name for point in self.points)]
        everywhere = [name for name in models if all(
            any(p.direct_model == name and p.value is not None for p in entry) for entry in entries.values())]
        model = (everywhere or models)[0]

        def size(entry: Sequence[Point]) -> float:
            chosen = [p for p in entry if p.direct_model == model] or entry
            return chosen[0].high if chosen[0].value is None else chosen[0].value

        return model, [tuple(entry) for entry in sorted(entries.values(), key=size, reverse=True)]


@dataclass(frozen=True)
class Pair:
    """One quantity as computed and as published.

    Attributes
    ----------
    quantity : name of the key
    hop, source, condition : what it is of, and whose the published value is
    temperature_K : at which both hold; None: they do not depend on it
    computed, published : value, and the ends of one standard uncertainty (equal to the value: none stated)
    """

    quantity: str
    hop: str
    source: str
    condition: str
    temperature_K: float | None
    computed: tuple[float, float, float]
    published: tuple[float, float, float]


@dataclass(frozen=True)
class Shares:
    """An uncertainty by its parts: `shares` of the named parts add up to `sigma`; `missing` were not estimated."""

    hop: str
    sigma: float
    shares: Mapping[str, float]
    missing: tuple[str, ...]


def names_of(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, ...], str]:
    """A name for each hop: metal, facet and what moves, with mover and hop where these do not tell it."""
    found: dict[tuple[str, ...], str] = {}
    for row in rows:
        place = f"{row['metal']} bulk" if row["facet"] == "bulk" else f"{row['metal']}({row['facet']})"
        mover = "" if row["species"] == row["metal"] else f" {row['species']}"
        found[hop_of(row)] = f"{place}{mover} {row['defect']}"
    texts = list(found.values())
    return {hop: text if texts.count(text) == 1 else f"{text}, {hop[3]}" for hop, text in found.items()}


def forces(rows: Sequence[Document], hosts: Hosts, temperature_K: float, models: Sequence[str] = DIRECT_MODELS) -> Screened:
    """|F|/j = e |Z*| rho in fN m²/TA of each hop with K, under each direct part that has a number or an interval.

    Raises
    ------
    InputError : a temperature at which no metal of the rows has a known resistivity
    """
    return _screened(rows, hosts, (temperature_K, models), None)


def merits(
    rows: Sequence[Document], published: Sequence[Document], hosts: Hosts, temperature_K: float,
    models: Sequence[str] = DIRECT_MODELS,
) -> Screened:
    """|Z*| D rho in m²/s µΩ cm of each hop with K and a diffusion coefficient.

    D is the hop's own where it was computed (of a vacancy: self-diffusion, with its formation energy), else each verified
    published one of the same hop whose temperatures include the one asked for. sigma(ln merit)^2 = (sigma_F/F)^2 + sigma(ln
    D)^2, to first order.

    Raises
    ------
    InputError : as `forces`
    """
    return _screened(rows, hosts, (temperature_K, models), published)


def pairs(
    rows: Sequence[Document], published: Sequence[Document], hosts: Hosts, temperature_K: float
) -> tuple[list[Pair], list[str]]:
    """Every quantity of `PARITY` that a hop has both computed and published, and sentences on what does not compare.

    Values that depend on temperature are taken at `temperature_K` where the published one holds there, else in the middle of
    its temperatures. Z* is the one with the computed direct part; models do not count.
    """
    found: list[Pair] = []
    notes: list[str] = []
    ours = {hop_of(row): row for row in best_rows(rows)}
    names = names_of(ours.values())
    for theirs in _verified(published):
        row = ours.get(hop_of(theirs))
        if row is None:
            continue
        T = reported_temperature(theirs, temperature_K)
        reported = {**theirs, **values_at(theirs, T, None, notes)}
        computed = values_at(row, T, host_of(row, hosts), notes if reported["z_star"] is not None else [])
        for quantity in PARITY:
            if quantity == "q_star_eV" and row["q_condition"] != theirs["q_condition"]:
                continue
            if quantity in OF_DIFFUSION and vacancy_alone(row):
                continue
            here, there = _ends({**row, **computed}, quantity), _ends(reported, quantity)
            if here and there:
                found.append(Pair(quantity, names[hop_of(row)], str(theirs["source"]), str(theirs["kinetics_condition"]),
                                  T if quantity in _EVALUATED else None, here, there))
    return found, notes


def values_at(row: Document, temperature_K: float, host: Mapping[str, Any] | None, notes: list[str]) -> Document:
    """A row at a temperature; where its resistivity is not known, or it has molten, what needs none is left, and a note."""
    try:
        return evaluate(row, Situation(temperature_K), host)
    except InputError as error:
        notes.append(f"Z* of {row['metal']} {row['defect']} at {temperature_K:g} K: {error}")
    try:
        return evaluate({**row, "k_wind_uohm_cm": None, "k_wind_sigma_uohm_cm": None}, Situation(temperature_K), host)
    except InputError:
        return dict.fromkeys(_EVALUATED)


def reported_temperature(theirs: Mapping[str, Any], temperature_K: float) -> float:
    """The temperature asked for where a published row holds at it, else the middle of its temperatures."""
    low, high = theirs["reported_low_K"], theirs["reported_high_K"]
    if low is None or high is None or low <= temperature_K <= high:
        return temperature_K
    return float(low + high) / 2


def sigma_shares(rows: Sequence[Document], name: str) -> list[Shares]:
    """The parts of an uncertainty of each hop, the largest sigma first.

    Parameters
    ----------
    name : k_wind_sigma_parts_uohm_cm or z_direct_sigma_parts
    """
    best = best_rows(rows)
    names = names_of(best)
    found = []
    for row in best:
        parts: Mapping[str, float | None] = row.get(name) or {}
        known = {part: float(value) for part, value in parts.items() if value is not None and not math.isnan(value)}
        sigma = math.hypot(*known.values())
        if sigma > 0:
            shares = {part: value**2 / sigma for part, value in known.items()}
            found.append(Shares(names[hop_of(row)], sigma, shares, tuple(part for part in parts if part not in known)))
    return sorted(found, key=lambda shares: -shares.sigma)


# pieces


def _verified(published: Iterable[Document]) -> list[Document]:
    return [row for row in published if row["status"] == "literature"]


def _screened(
    rows: Sequence[Document], hosts: Hosts, asked: tuple[float, Sequence[str]], published: Sequence[Document] | None
) -> Screened:
    temperature_K, models = asked
    best = [row for row in best_rows(rows) if row["k_wind_uohm_cm"] is not None]
    names = names_of(best)
    points: list[Point] = []
    shown: list[Document] = []
    left_out: dict[str, list[str]] = {}
    refused: InputError | None = None
    situations = [Situation(temperature_K, model) for model in models]
    for row in best:
        name = names[hop_of(row)]
        try:
            values = [evaluate(row, at, host_of(row, hosts)) for at in situations]
        except InputError as error:
            refused = error
            left_out.setdefault(str(error), []).append(name)
            continue
        forced = [point for document in values if (point := _force(name, document))]
        if not forced:
            left_out.setdefault(f"no Z* with direct part {' or '.join(models)}", []).append(name)
        elif published is not None:
            diffusing = _diffusion(values[0], published, temperature_K)
            if not diffusing:
                left_out.setdefault("no diffusion data", []).append(f"{name}{_elsewhere(row, published)}")
            forced = [_merit(point, *coefficient) for coefficient in diffusing for point in forced if point.high > 0]
        points += forced
        shown += [row] if forced else []
    if refused and not points:
        raise refused
    return Screened(tuple(points), tuple(shown), tuple(f"{why}: {', '.join(hops)}" for why, hops in left_out.items()))


def _force(name: str, values: Document) -> Point | None:
    """|F|/j of an evaluated row; None where it has neither a Z* nor an interval."""
    value, sigma = values["force_per_j_fN_m2_TA"], values["force_per_j_sigma_fN_m2_TA"] or 0.0
    model, direction = values["direct_model"], values["direction_total"]
    if value is not None:
        return Point(name, model, abs(value), max(abs(value) - sigma, 0.0), abs(value) + sigma, direction)
    ends = [values["z_star_low"], values["z_star_high"]]
    if None in ends:
        return None
    low, high = (FORCE_PER_J * values["rho_uohm_cm"] * end for end in ends)
    nearest = 0.0 if low < 0 < high else min(abs(low), abs(high))
    return Point(name, model, None, nearest, max(abs(low), abs(high)), direction)


def _diffusion(
    values: Document, published: Iterable[Document], temperature_K: float
) -> list[tuple[float, float | None, str]]:
    """D, its factor of uncertainty (None: not stated) and where it comes from."""
    if values["d_m2_s"] is not None and not vacancy_alone(values):
        return [(values["d_m2_s"], values["d_factor"], COMPUTED)]
    found = []
    for row in _verified(published):
        if hop_of(row) == hop_of(values) and row["d0_m2_s"] is not None:
            theirs = evaluate(row, Situation(temperature_K))
            if theirs["d_m2_s"] is not None:
                known = row["reported_low_K"] is not None
                words = [row["kinetics_condition"], "" if known else "temperatures not stated"]
                found.append((theirs["d_m2_s"], theirs["d_factor"], f"{row['source']} ({'; '.join(filter(None, words))})"
                              if any(words) else str(row["source"])))
    return found


def _elsewhere(row: Document, published: Iterable[Document]) -> str:
    """The temperatures at which published D of this hop hold, where none holds at the one asked for."""
    ranges = sorted({f"{theirs['reported_low_K']:.0f} to {theirs['reported_high_K']:.0f} K" for theirs in _verified(published)
                     if hop_of(theirs) == hop_of(row) and theirs["d0_m2_s"] is not None and theirs["reported_low_K"] is not None})
    return f" (published: {', '.join(ranges)})" if ranges else ""


def _merit(force: Point, D: float, factor: float | None, origin: str) -> Point:
    """|Z*| rho of a force times D."""
    scale = D / FORCE_PER_J
    if not force.value:  # an interval, or a zero, which a ratio has no uncertainty for
        spread = factor or 1.0
        return Point(force.hop, force.direct_model, None, scale * force.low / spread, scale * force.high * spread,
                     force.direction, origin, factor is not None)
    relative = (force.high - force.value) / force.value
    spread = math.exp(min(math.hypot(relative, math.log(factor or 1.0)), 700.0))
    value = scale * force.value
    return Point(force.hop, force.direct_model, value, value / spread, value * spread, force.direction, origin,
                 factor is not None)


def _ends(values: Document, quantity: str) -> tuple[float, float, float] | None:
    """Value and the ends of one standard uncertainty; None: no value."""
    value = values.get(quantity)
    if value is None:
        return None
    if quantity == "d_m2_s":
        factor = values.get("d_factor") or 1.0
        return value, value / factor, value * factor
    sigma = values.get(SIGMA_OF[quantity]) or 0.0
    return value, value - sigma, value + sigma


__all__ = ["COMPUTED", "PARITY", "Pair", "Point", "Screened", "Shares", "forces", "merits", "names_of", "pairs",
           "reported_temperature", "sigma_shares", "values_at"]
