"""Measured Seebeck coefficients of pure metals and published heats of transport, each with its source: data/seebeck.toml.

For comparison only: nothing computed rests on them but one part of an uncertainty.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from .errors import InputError

#: K around a single temperature within which a value holds
_NEAR_K = 10.0


@dataclass(frozen=True)
class Measured:
    """One published series.

    Attributes
    ----------
    metal : symbol
    temperature_K, seebeck_uV_K : increasing temperatures and the values there
    source, seen : where it is published, and where it was read
    verified : whether that can be checked
    """

    metal: str
    temperature_K: tuple[float, ...]
    seebeck_uV_K: tuple[float, ...]
    source: str
    seen: str
    verified: bool

    def at(self, temperature_K: float) -> float | None:
        """Linear between the temperatures, None beyond; a single one holds within 10 K."""
        known = self.temperature_K
        if len(known) == 1:
            return self.seebeck_uV_K[0] if abs(temperature_K - known[0]) <= _NEAR_K else None
        # room temperature is 300 K here and 303 K there
        if not known[0] - _NEAR_K <= temperature_K <= known[-1]:
            return None
        return float(np.interp(temperature_K, known, self.seebeck_uV_K))


@dataclass(frozen=True)
class PublishedHeat:
    """One published heat of transport in eV (> 0: towards the cold end) of a metal; `where`: what it is for."""

    metal: str
    where: str
    q_eV: float
    source: str
    seen: str
    verified: bool


@lru_cache(maxsize=1)
def _file() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("emforce").joinpath("data", "seebeck.toml").read_text(encoding="utf-8"))


def measured_of(entry: Mapping[str, Any]) -> Measured:
    """One entry of the file.

    Raises
    ------
    InputError : a missing name, temperatures that do not increase, lists of different length, no source
    """
    where = f"seebeck.toml {entry.get('metal')}"
    names = ("metal", "temperature_K", "seebeck_uV_K", "source", "seen", "verified")
    if sorted(entry) != sorted(names):
        raise InputError(where, sorted(entry), ", ".join(names))
    T, S = tuple(map(float, entry["temperature_K"])), tuple(map(float, entry["seebeck_uV_K"]))
    if not T or len(T) != len(S) or list(T) != sorted(set(T)) or T[0] <= 0:
        raise InputError(f"{where}.temperature_K", T, "increasing temperatures above 0 K, one for each value")
    if not str(entry["source"]).strip() or not isinstance(entry["verified"], bool):
        raise InputError(f"{where}.source", entry["source"], "a source, and verified = true or false")
    return Measured(str(entry["metal"]), T, S, str(entry["source"]), str(entry["seen"]), entry["verified"])


def measured(metal: str) -> tuple[Measured, ...]:
    """What was measured on a metal; empty where nothing is known here."""
    return tuple(measured_of(entry) for entry in _file()["value"] if entry["metal"] == metal)


def published_heats(metal: str) -> tuple[PublishedHeat, ...]:
    """Heats of transport that were published for a metal; empty where nothing is known here."""
    return tuple(PublishedHeat(**entry) for entry in _file()["heat_of_transport"] if entry["metal"] == metal)


def measured_at(metal: str, temperature_K: float) -> tuple[float, Measured] | None:
    """The value at a temperature and the series it is from, a verified one if there is one."""
    found = [(value, entry) for entry in measured(metal) if (value := entry.at(temperature_K)) is not None]
    return min(found, key=lambda pair: not pair[1].verified, default=None)


def expected_at(metal: str, temperature_K: float) -> float | None:
    """The verified measured value in uV/K; beyond its temperatures in proportion to T from the nearest one. For error estimates.

    None where nothing verified is known.
    """
    known = [entry for entry in measured(metal) if entry.verified]
    found = [(entry, min(entry.temperature_K, key=lambda T: abs(T - temperature_K))) for entry in known]
    if not found:
        return None
    entry, nearest = min(found, key=lambda pair: abs(pair[1] - temperature_K))
    value = entry.at(temperature_K)
    return entry.seebeck_uV_K[entry.temperature_K.index(nearest)] * temperature_K / nearest if value is None else value


__all__ = ["Measured", "PublishedHeat", "expected_at", "measured", "measured_at", "measured_of", "published_heats"]
