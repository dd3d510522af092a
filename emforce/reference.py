"""Published values with their sources, as records of the same shape as ours: data/reference.toml.

A row whose number was seen where it can be checked has status "literature"; any other has status "unverified" and takes
part in no comparison and no figure. Numbers stand in the file as printed and are converted here. This is an edge file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from scipy import constants

from .errors import InputError
from .keys import SIGMA_OF
from .record import HOP_AVERAGE, Record
from .tables import columns, plus_minus

if TYPE_CHECKING:
    from .database import Database

#: hop of a vacancy by structure: what bulk self-diffusion and electromigration measure is its average
_VACANCY_HOPS = {"fcc": "vacancy-110", "bcc": "vacancy-111"}
_KCAL_MOL_eV = constants.calorie * 1e3 / constants.N_A / constants.e
_ZERO_CELSIUS_K = constants.zero_Celsius
#: name in the file: key of the record, and the factor from the printed unit to that of the key
_NUMBERS: dict[str, tuple[str, float]] = {
    "d0_cm2_s": ("d0_m2_s", 1e-4),
    "d0_sigma_cm2_s": ("d0_sigma_m2_s", 1e-4),
    "ea_eV": ("ea_eV", 1.0),
    "ea_sigma_eV": ("ea_sigma_eV", 1.0),
    "ea_kcal_mol": ("ea_eV", _KCAL_MOL_eV),
    "barrier_eV": ("barrier_eV", 1.0),
    "barrier_sigma_eV": ("barrier_sigma_eV", 1.0),
    "formation_energy_eV": ("formation_energy_eV", 1.0),
    "formation_energy_sigma_eV": ("formation_energy_sigma_eV", 1.0),
    "k_wind_uohm_cm": ("k_wind_uohm_cm", 1.0),
    "z_star": ("z_star_reported", 1.0),
    "z_star_sigma": ("z_star_reported_sigma", 1.0),
    "z_wind": ("z_wind_reported", 1.0),
}
_TEXTS = ("id", "metal", "facet", "defect", "hop", "species", "method", "condition", "source", "seen")
_OTHERS = ("verified", "temperature_K", "temperature_C")


@dataclass(frozen=True)
class Direction:
    """A direction that was seen without a number: where, "upwind", "downwind" or "both", and the source."""

    metal: str
    where: str
    direction: str
    source: str
    seen: str


@lru_cache(maxsize=1)
def _file() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("emforce").joinpath("data", "reference.toml").read_text(encoding="utf-8"))


def reference_records() -> list[Record]:
    """The published values, in the order of the file; status "literature" or "unverified"."""
    return [record_of(entry) for entry in _file()["value"]]


def directions() -> list[Direction]:
    """Directions of motion that were published without a number."""
    return [Direction(**entry) for entry in _file()["direction"]]


def record_of(entry: Mapping[str, Any]) -> Record:
    """The record of one entry of the file.

    Raises
    ------
    InputError : an unknown name, no source, no number, or a field that a record does not allow
    """
    where = f"reference {entry.get('id')}"
    known = {*_NUMBERS, *_TEXTS, *_OTHERS}
    for name in entry:
        if name not in known:
            raise InputError(where, name, ", ".join(sorted(known)))
    for name in ("id", "metal", "method", "source", "seen"):
        if not str(entry.get(name, "")).strip():
            raise InputError(f"{where}.{name}", entry.get(name), "text that is not empty")
    if not isinstance(entry.get("verified"), bool):
        raise InputError(f"{where}.verified", entry.get("verified"), "true or false")
    metal, condition = str(entry["metal"]), str(entry.get("condition", ""))
    numbers = {key: entry[name] * factor for name, (key, factor) in _NUMBERS.items() if name in entry}
    shift = 0.0 if "temperature_K" in entry else _ZERO_CELSIUS_K
    low, high = entry.get("temperature_K") or entry.get("temperature_C") or (None, None)
    if low is not None and high is not None:
        numbers |= {"reported_low_K": low + shift, "reported_high_K": high + shift}
    return Record(
        spec=f"literature {entry['id']}",
        metal=metal,
        facet=str(entry.get("facet", "bulk")),
        defect=str(entry.get("defect", "vacancy")),
        hop=str(entry.get("hop") or _vacancy_hop(metal)),
        site=HOP_AVERAGE,
        species=str(entry.get("species", metal)),
        preset="literature",
        method=str(entry["method"]),
        source=str(entry["source"]),
        kinetics_condition=condition if "z_star" not in entry else "",
        status="literature" if entry["verified"] else "unverified",
        reason="" if entry["verified"] else "not seen at a source that can be checked",
        provenance={"seen": entry["seen"], "condition": condition},
        **numbers,
    )


def _vacancy_hop(metal: str) -> str:
    from .materials import material

    return _VACANCY_HOPS[material(metal).structure]


def store(database: Database, records: Sequence[Record]) -> int:
    """Put the published values into a database; what is there already with the same content is not stored again."""
    return len({database.add(record) for record in records})


def as_table(records: Sequence[Record]) -> str:
    """The values for the eye: number, temperatures, source; unverified ones are marked. Then the directions."""
    table = [["metal", "facet", "quantity", "value", "T (K)", "status", "method", "source"]]
    for record in records:
        low, high = record.reported_low_K, record.reported_high_K
        span = "" if math.isnan(low) else f"{low:.0f} to {high:.0f}"
        for name in record.values():
            cells = [record.metal, record.facet, name, _shown(record, name), span, record.status]
            table.append([*cells, record.method, record.source])
    lines = [columns(table), "", "Directions that were published without a number:"]
    lines += [f"  {d.metal}, {d.where}: {d.direction} ({d.source})" for d in directions()]
    return "\n".join(lines)


def _shown(record: Record, name: str) -> str:
    value, sigma = float(getattr(record, name)), float(getattr(record, SIGMA_OF[name]))
    if math.isnan(sigma):
        return f"{value:.4g}"
    return plus_minus(value, sigma) if abs(value) > 1e-3 else f"{value:.2g} ± {sigma:.1g}"


__all__ = ["Direction", "as_table", "directions", "record_of", "reference_records", "store"]
