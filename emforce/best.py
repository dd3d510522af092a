"""The best of what is stored about a hop: one row per hop, each group of values from the record that is best for it.

A hop is metal, facet, defect, hop and mover (and the specification, for structures from files). Among its served records
of the hop as a whole (site "hop average") that hold a group of values (wind, direct, kinetics, heat), the best is

    1. that of the higher preset: production, standard, quick, any other;
    2. among those, one whose overridden fields converge it further (a larger cell, a denser mesh, spin-orbit coupling:
       `emforce.refinement`), in whatever basis, before one without, and that before any other with overridden fields. For
       the direct valence a value, be it in another basis or in a smaller cell, comes before an interval. Another
       functional, which measures a part of sigma, comes last;
    3. among those, the one with fewer parts of its uncertainty left open (null): a sigma that lacks a part is small for the wrong
       reason, as is that of an E_a of a vacancy without its formation energy, and of its D0 without the formation entropy;
    4. among those, the one with more fields that converge it further (a larger cell with spin-orbit coupling before either;
       a tighter tolerance of the density and the neighbours that move in a Hessian do not count), and
       of several with the same fields none that another outdoes in them (a slab of 12 layers where there is one of 16);
    5. of two rows of K along the hop whose presets differ in nothing that enters it the one with fewer overridden fields
       (`without_doubles`); among the others, the one with the smaller standard uncertainty (none stated: last;
       of the heat of transport that of Q_el without field at 300 K);
    6. among those, the newest.

Published values take no part. The key `joined` of a row says which record each group came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .evaluate import Situation, Wire, evaluate, host_of
from .keys import KEYS, Group
from .record import HOP_AVERAGE, drift_direction
from .refinement import (
    BASIS,
    FUNCTIONAL,
    FURTHER,
    OTHERWISE,
    along_the_hop,
    outdone,
    refined_fields,
    refinement,
)
from .settings import preset_fields, preset_label
from .stored import Document

PRESETS = ("production", "standard", "quick")
#: the groups that are joined, and for each the uncertainties that decide, the first that is there
GROUPS: dict[Group, tuple[str, ...]] = {
    "wind": ("k_wind_sigma_uohm_cm",),
    "direct": ("z_direct_sigma",),
    "kinetics": ("ea_sigma_eV", "barrier_sigma_eV"),
    "heat": (),
}
#: the uncertainty of a heat of transport is that at this temperature
ROOM_K = 300.0
#: where the named parts of an uncertainty are, for the groups whose parts are stored by name
_PARTS: dict[Group, tuple[str, ...]] = {
    "wind": ("k_wind_sigma_parts_uohm_cm",),
    "direct": ("z_direct_sigma_parts",),
    "kinetics": ("kinetics_details", "barrier_sigma_parts_eV"),
}
#: of self-diffusion, where the vacancy's formation energy is known; else of the vacancy itself: `vacancy_alone`
OF_DIFFUSION = ("ea_eV", "d0_m2_s", "d_m2_s")
_KEYS = {group: [key for key in KEYS if key.stored and key.group == group] for group in GROUPS}


def holds(row: Mapping[str, Any], group: Group) -> bool:
    """Whether a row holds a value of a group."""
    numbers = any(row.get(key.name) is not None for key in _KEYS[group] if key.kind == "number")
    return numbers or (group == "heat" and bool(row.get("q_of_temperature")))


def rank(row: Mapping[str, Any], group: Group) -> tuple[tuple[int, bool, int, bool, int], int, float, int]:
    """The smaller, the better: see the rule above. First what decides before the fields that converge a row further."""
    label = str(row["preset"])
    name, fields = preset_fields(label)
    order = PRESETS.index(name) if name in PRESETS else len(PRESETS)
    any_basis = preset_label(name, {k: v for k, v in fields.items() if k != BASIS})
    no_value = group == "direct" and (row.get("z_direct") is None or refinement(any_basis, group) == OTHERWISE)
    if refinement(any_basis, group) == FURTHER:
        label = any_basis
    before = order, no_value, refinement(label, group), FUNCTIONAL in fields, _left_open(row, group)
    return before, -refined_fields(label, group), _sigma(row, group), -int(row["id"])


def _sigma(row: Mapping[str, Any], group: Group) -> float:
    """The uncertainty that decides, of a heat of transport that of Q_el next to ROOM_K; infinite where none is stated."""
    if group == "heat":
        table = row.get("q_of_temperature") or {}
        pairs = zip(table.get("temperature_K", ()), table.get("q_el_sigma_eV", ()), strict=False)
        return min(((abs(T - ROOM_K), float(sigma)) for T, sigma in pairs if sigma is not None), default=(0.0, math.inf))[1]
    return next((float(row[name]) for name in GROUPS[group] if row.get(name) is not None), math.inf)


def _left_open(row: Mapping[str, Any], group: Group) -> int:
    """Named parts of sigma that were not estimated, and, of a vacancy, a formation energy that E_a or entropy that D0 lacks."""
    if group == "heat":  # each part is a list over the temperatures
        every = row["provenance"].get("heat", {}).get("sigma_parts", {}).get("q_el_eV", {})
        return sum(all(part is None for part in parts) for parts in every.values())
    if group not in _PARTS:
        return 0
    parts: Any = row
    for name in _PARTS[group]:
        parts = parts.get(name) or {}
    open_parts = sum(part is None for part in parts.values())
    if group != "kinetics" or row["defect"] != "vacancy" or row["d0_m2_s"] is None:
        return open_parts
    without_entropy = "formation_entropy" not in (row.get("kinetics_details") or {})
    return open_parts + (2 if vacancy_alone(row) else int(without_entropy))


def hop_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two rows rows of the same hop."""
    names = ("metal", "facet", "defect", "hop", "species") + (("spec",) if row["defect"] == "files" else ())
    return tuple(str(row[name]) for name in names)


def vacancy_alone(row: Mapping[str, Any]) -> bool:
    """Whether D0 and E_a of a computed row are those of a vacancy that is there already: its formation energy is not known.

    Such a D compares with no measured self-diffusion, and is no measure of drift.
    """
    return row["defect"] == "vacancy" and row["d0_m2_s"] is not None and row["formation_energy_eV"] is None


def without_doubles(rows: Iterable[Document]) -> list[Document]:
    """The rows without those that hold K along the hop of another once more.

    Two rows of one site do where their presets differ in nothing that enters it, such as `dft.directions=all` beside the same
    without it (`emforce.refinement.along_the_hop`). The one with fewer overridden fields stays, of equals the newest.
    """
    kept: dict[tuple[object, ...], tuple[tuple[int, int], Document]] = {}
    for row in rows:
        label = str(row["preset"])
        same = (*hop_of(row), row["spec"], row["site"], row["method"], row["basis"], along_the_hop(label))
        order = (len(preset_fields(label)[1]), -int(row["id"]))
        if same not in kept or order < kept[same][0]:
            kept[same] = (order, row)
    return [row for _, row in kept.values()]


def best_of_each(rows: Iterable[Document], group: Group) -> dict[tuple[str, ...], Document]:
    """Of rows that hold a group of values, the best of each hop, by hop in the order in which these appear."""
    hops: dict[tuple[str, ...], list[Document]] = {}
    for row in rows:
        hops.setdefault(hop_of(row), []).append(row)
    return {hop: _best(held, group) for hop, held in hops.items()}


def _best(held: Sequence[Document], group: Group) -> Document:
    """Of the rows of one hop, which all hold a group of values, the best."""
    held = without_doubles(held) if group == "wind" else held

    def is_outdone(row: Document) -> bool:
        own = rank(row, group)[0]
        return any(outdone(str(row["preset"]), str(other["preset"])) and rank(other, group)[0] <= own for other in held)

    return min((row for row in held if not is_outdone(row)), key=lambda row: rank(row, group))


def best_drifts(rows: Sequence[Document]) -> list[Document]:
    """One joined row per hop and direction of drift, as `best_rows` does for hop averages."""
    sites = dict.fromkeys(str(row["site"]) for row in rows if drift_direction(str(row["site"])))
    return [found for site in sites for found in best_rows(rows, site)]


def best_rows(rows: Sequence[Document], site: str = HOP_AVERAGE) -> list[Document]:
    """One joined row per hop, in the order in which the hops appear; only served rows of one site are used."""
    hops: dict[tuple[str, ...], list[Document]] = {}
    for row in rows:
        if row["site"] == site and row["standing"] == "current":
            hops.setdefault(hop_of(row), []).append(row)
    found = []
    for candidates in hops.values():
        chosen: dict[Group, Document] = {}
        for group in GROUPS:
            held = [row for row in candidates if holds(row, group)]
            if held:
                chosen[group] = _best(held, group)
        if not chosen:
            continue  # nothing but values that are not joined
        joined = dict(next(iter(chosen.values())))
        for group in GROUPS:
            source = chosen.get(group)
            nothing = {key.name: "" if key.kind == "text" else None for key in _KEYS[group]}
            joined |= {name: empty if source is None else source.get(name) for name, empty in nothing.items()}
        joined["joined"] = {group: {name: row[name] for name in ("id", "preset", "method", "basis")}
                            for group, row in chosen.items()}
        found.append(joined)
    return found


@dataclass(frozen=True)
class Hops:
    """Hops with the best that is stored about each; `at` evaluates them.

    Parameters
    ----------
    rows : as `best_rows` gives them
    hosts : rows of hosts by their id
    """

    rows: tuple[Document, ...]
    hosts: Mapping[int, Document]

    def at(self, temperature_K: float, *, direct_model: str = "dft", wire: Wire | None = None) -> list[Document]:
        """All keys of each hop at a temperature in K, in bulk or in a wire, with a direct part from `direct_model`.

        Raises
        ------
        InputError : a temperature above melting or beyond the known resistivity, an unknown model
        """
        situation = Situation(temperature_K, direct_model, wire)
        return [evaluate(row, situation, host_of(row, self.hosts)) for row in self.rows]

    def of(self, metal: str) -> Hops:
        """Those of one metal."""
        return replace(self, rows=tuple(row for row in self.rows if row["metal"] == metal))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.rows)


__all__ = ["GROUPS", "OF_DIFFUSION", "PRESETS", "Hops", "best_drifts", "best_of_each", "best_rows", "holds", "hop_of", "rank",
           "vacancy_alone", "without_doubles"]
