"""Metal data: lattice constants, resistivity against temperature, and the rest, each number with its source.

The numbers live in data/materials.toml. A new metal is a new table there, or in a file of the same layout
named by the environment variable EMFORCE_MATERIALS or by the argument `file`; no code. This is an edge file:
numbers enter in the units of their sources, and `Material.resistivity`, `Material.rho_lambda_internal` hand
them out in internal units.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import units
from .errors import InputError

ENVIRONMENT_VARIABLE = "EMFORCE_MATERIALS"

#: nearest-neighbour distance in lattice constants, and atoms per cubic cell
_NEIGHBOUR = {"fcc": 0.5 * np.sqrt(2.0), "bcc": 0.5 * np.sqrt(3.0)}
_ATOMS = {"fcc": 4, "bcc": 2}

#: the sourced numbers of a metal: key in the file, and the unit it must be given in
_NUMBERS = {
    "density": "kg/m3",
    "melting_temperature": "K",
    "debye_temperature": "K",
    "sommerfeld_gamma": "mJ/(mol K2)",
    "rho_lambda": "1e-16 ohm m2",
    "nominal_valence": "e",
}


@dataclass(frozen=True)
class Sourced:
    """A literature number with its provenance.

    Parameters
    ----------
    value : the number, in `unit`
    unit : its unit, in words
    source : where it is published
    seen : where the value was read when it entered the file
    verified : True if it was read somewhere that can be checked, False if it is still to be checked
    note : condition of the measurement or calculation
    """

    value: float
    unit: str
    source: str
    seen: str
    verified: bool
    note: str = ""


@dataclass(frozen=True, eq=False)
class ResistivityTable:
    """Resistivity of the pure bulk metal against temperature, gathered from one or more sources.

    Parameters
    ----------
    temperature_K : (n,) increasing
    rho_uohm_cm : (n,) positive, increasing
    sources : (n,) where each point is published
    verified : (n,) whether each point was read somewhere that can be checked
    relative_sigma : (n,) standard uncertainty over value; nan where no source gives one; all nan if left out
    """

    temperature_K: NDArray[np.float64]
    rho_uohm_cm: NDArray[np.float64]
    sources: tuple[str, ...]
    verified: tuple[bool, ...]
    relative_sigma: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.relative_sigma):
            object.__setattr__(self, "relative_sigma", np.full(len(self.temperature_K), np.nan))
        for name in ("temperature_K", "rho_uohm_cm", "relative_sigma"):
            array = np.array(getattr(self, name), dtype=float)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        n = len(self.temperature_K)
        lengths = {len(self.rho_uohm_cm), len(self.sources), len(self.verified), len(self.relative_sigma)}
        if n < 2 or lengths != {n}:
            raise InputError("resistivity", n, "two or more temperatures and as many resistivities")
        for name in ("temperature_K", "rho_uohm_cm"):
            array = getattr(self, name)
            if not (np.all(np.isfinite(array)) and np.all(array > 0) and np.all(np.diff(array) > 0)):
                raise InputError(f"resistivity.{name}", array.tolist(), "positive numbers that increase")

    def bracket(self, temperature_K: float) -> slice:
        """Return the table points on either side of a temperature (one point if it is met exactly)."""
        i = int(np.searchsorted(self.temperature_K, temperature_K))
        return slice(i, i + 1) if self.temperature_K[i] == temperature_K else slice(i - 1, i + 1)


@dataclass(frozen=True, eq=False)
class Material:
    """One metal. Numbers are `Sourced`; `None` means that the file has none.

    Parameters
    ----------
    symbol, name : chemical symbol and name
    structure : "fcc" or "bcc"
    lattice_constants : by functional ("PBE") and "experiment", Angstrom
    table : resistivity against temperature
    gpaw_setup : label of the PAW setup ("" is GPAW's default, "6" the six-electron one)
    setup_electrons : its valence electrons per atom
    density, melting_temperature, debye_temperature : kg/m3, K, K
    sommerfeld_gamma : measured electronic heat capacity, mJ/(mol K2), electron-phonon enhancement included
    rho_lambda : resistivity times mean free path, calculated, 1e-16 ohm m2
    nominal_valence : ion charge of the nominal-valence model, in e. A model, not a result
    """

    symbol: str
    name: str
    structure: str
    lattice_constants: Mapping[str, Sourced]
    table: ResistivityTable
    gpaw_setup: str
    setup_electrons: int
    density: Sourced
    melting_temperature: Sourced
    debye_temperature: Sourced | None = None
    sommerfeld_gamma: Sourced | None = None
    rho_lambda: Sourced | None = None
    nominal_valence: Sourced | None = None
    _interpolants: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def mass_amu(self) -> float:
        """Standard atomic mass (ASE's table, IUPAC)."""
        from ase.data import atomic_masses, atomic_numbers  # ASE is not needed to read a lattice constant

        return float(atomic_masses[atomic_numbers[self.symbol]])

    def lattice_constant(self, functional: str = "PBE") -> float:
        """Cubic lattice constant in Angstrom, of a functional or "experiment".

        Raises
        ------
        InputError : no lattice constant of this functional in the file
        """
        try:
            return self.lattice_constants[functional].value
        except KeyError:
            allowed = f"for {self.symbol}: {', '.join(self.lattice_constants)}"
            raise InputError("functional", functional, allowed) from None

    def nearest_neighbour(self, functional: str = "PBE") -> float:
        """Nearest-neighbour distance in Angstrom: a/sqrt(2) in fcc, a sqrt(3)/2 in bcc."""
        return self.lattice_constant(functional) * float(_NEIGHBOUR[self.structure])

    def volume_per_atom(self, functional: str = "PBE") -> float:
        """Volume per atom in cubic Angstrom."""
        return self.lattice_constant(functional) ** 3 / _ATOMS[self.structure]

    @property
    def temperature_range_K(self) -> tuple[float, float]:
        """Temperatures at which the resistivity is known: the table, never above melting."""
        low, high = self.table.temperature_K[[0, -1]]
        return float(low), float(min(high, self.melting_temperature.value))

    def rho_uohm_cm(self, temperature_K: float) -> float:
        """Resistivity of the pure bulk metal in micro-ohm cm: monotone cubic (PCHIP) through the table.

        Raises
        ------
        InputError : a temperature that is not positive, outside the table, or above melting
        """
        temperature_K = self._checked(temperature_K)
        if "rho" not in self._interpolants:
            # slow to import, and not needed for a lattice constant
            from scipy.interpolate import PchipInterpolator

            self._interpolants["rho"] = PchipInterpolator(self.table.temperature_K, self.table.rho_uohm_cm)
        return float(self._interpolants["rho"](temperature_K))

    def rho_sigma_uohm_cm(self, temperature_K: float) -> float | None:
        """Standard uncertainty of `rho_uohm_cm`: the larger one of the table points around the temperature.

        None if a point has none: its source states no uncertainty, or the statement was not seen.
        """
        relative = self.table.relative_sigma[self.table.bracket(self._checked(temperature_K))]
        return None if np.isnan(relative).any() else float(relative.max()) * self.rho_uohm_cm(temperature_K)

    def resistivity(self, temperature_K: float) -> float:
        """Resistivity in internal units (Angstrom, hbar/e^2 = 1); see `rho_uohm_cm`."""
        return self.rho_uohm_cm(temperature_K) * units.uohm_cm

    def resistivity_sources(self, temperature_K: float) -> tuple[tuple[str, ...], bool]:
        """Sources of the table points around a temperature, and whether all of them are verified."""
        points = self.table.bracket(self._checked(temperature_K))
        return tuple(dict.fromkeys(self.table.sources[points])), all(self.table.verified[points])

    @property
    def rho_lambda_internal(self) -> float:
        """Resistivity times mean free path in internal units (square Angstrom, hbar/e^2 = 1)."""
        if self.rho_lambda is None:
            raise InputError("rho_lambda", None, f"a value for {self.symbol} in the materials file")
        return self.rho_lambda.value * 1e-8 * units.uohm_cm * units.m  # 1e-16 ohm m2 = 1e-8 uOhm cm m

    def _checked(self, temperature_K: float) -> float:
        low, high = self.temperature_range_K
        melting = self.melting_temperature.value
        try:
            value = float(temperature_K)
        except (TypeError, ValueError):
            value = float("nan")
        if not low <= value <= high:  # also false for nan
            known = f"its resistivity is known there; it melts at {melting:g} K"
            allowed = f"{low:g} to {high:g} K for {self.symbol} ({known})"
            raise InputError("temperature_K", temperature_K, allowed)
        return value


def materials(file: str | Path | None = None) -> tuple[str, ...]:
    """Return the symbols of the known metals; `file` as in `material`."""
    return tuple(_all(_user_file(file)))


def material(symbol: str, file: str | Path | None = None) -> Material:
    """Return the data of a metal.

    Parameters
    ----------
    symbol : chemical symbol
    file : TOML file with more metals, or with others in place of the built-in ones; without it the file named
        by the environment variable EMFORCE_MATERIALS, if that is set

    Raises
    ------
    InputError : unknown metal, or a file that cannot be read or has a wrong or missing entry
    """
    known = _all(_user_file(file))
    if symbol not in known:
        raise InputError("metal", symbol, ", ".join(known))
    return known[symbol]


def _user_file(file: str | Path | None) -> tuple[str, float] | None:
    """Path and time of change of the user's file: a changed file is read again."""
    if file is None:
        file = os.environ.get(ENVIRONMENT_VARIABLE) or None
    if file is None:
        return None
    try:
        return str(file), Path(file).stat().st_mtime
    except OSError:
        raise InputError("materials file", str(file), "a readable TOML file") from None


@lru_cache(maxsize=8)
def _all(user: tuple[str, float] | None) -> Mapping[str, Material]:
    text = resources.files("emforce").joinpath("data", "materials.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)
    if user is not None:
        try:
            entries |= tomllib.loads(Path(user[0]).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError("materials file", user[0], f"a readable TOML file ({error})") from None
    return MappingProxyType({symbol: _material(symbol, entry) for symbol, entry in entries.items()})


def _material(symbol: str, entry: Any) -> Material:
    from ase.data import atomic_numbers

    if symbol not in atomic_numbers or symbol == "X":
        raise InputError("materials file", symbol, "tables named by a chemical symbol")
    keys = {"name", "structure", "gpaw_setup", "lattice_constant", "resistivity", *_NUMBERS}
    entry = _table(symbol, entry, keys)
    structure = entry.get("structure")
    if structure not in _ATOMS:
        raise InputError(f"{symbol}.structure", structure, "fcc, bcc")
    setup = _table(f"{symbol}.gpaw_setup", entry.get("gpaw_setup"), {"label", "electrons", "source"})
    electrons = setup.get("electrons")
    if not isinstance(electrons, int) or isinstance(electrons, bool) or electrons < 1:
        raise InputError(f"{symbol}.gpaw_setup.electrons", electrons, "a positive whole number")
    constants = _table(f"{symbol}.lattice_constant", entry.get("lattice_constant"), None)
    numbers: dict[str, Any] = {
        key: _sourced(f"{symbol}.{key}", entry[key], unit) for key, unit in _NUMBERS.items() if key in entry
    }
    for key in ("density", "melting_temperature"):
        if key not in numbers:
            allowed = f"a table with value, unit ({_NUMBERS[key]}), source, seen, verified"
            raise InputError(f"{symbol}.{key}", None, allowed)
    return Material(
        symbol=symbol,
        name=str(entry.get("name", symbol)),
        structure=structure,
        lattice_constants=MappingProxyType(
            {k: _sourced(f"{symbol}.lattice_constant.{k}", v, "angstrom") for k, v in constants.items()}
        ),
        table=_resistivity(f"{symbol}.resistivity", entry.get("resistivity")),
        gpaw_setup=str(setup.get("label", "")),
        setup_electrons=electrons,
        **numbers,
    )


def _table(where: str, value: Any, keys: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InputError(where, value, "a table")
    unknown = sorted(set(value) - keys) if keys is not None else []
    if unknown:
        raise InputError(f"{where}.{unknown[0]}", value[unknown[0]], f"keys {', '.join(sorted(keys or ()))}")
    return value


def _sourced(where: str, value: Any, unit: str) -> Sourced:
    entry = _table(where, value, {"value", "unit", "source", "seen", "verified", "note"})
    number = entry.get("value")
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
        raise InputError(f"{where}.value", number, "a positive number")
    if entry.get("unit") != unit:
        raise InputError(f"{where}.unit", entry.get("unit"), repr(unit))
    source, seen, verified = _provenance(where, entry)
    return Sourced(float(number), unit, source, seen, verified, str(entry.get("note", "")))


def _provenance(where: str, entry: dict[str, Any]) -> tuple[str, str, bool]:
    """Source, where it was seen, and whether it is verified: no number enters without the first."""
    source, seen, verified = entry.get("source"), entry.get("seen", ""), entry.get("verified", False)
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{where}.source", source, "author, journal and year, or the database")
    if not isinstance(verified, bool):
        raise InputError(f"{where}.verified", verified, "true or false")
    return source, str(seen), verified


def _resistivity(where: str, blocks: Any) -> ResistivityTable:
    if not isinstance(blocks, list) or not blocks:
        raise InputError(where, blocks, "one or more tables with temperature_K, rho_uohm_cm and source")
    keys = {"temperature_K", "rho_uohm_cm", "relative_sigma", "sigma_source", "source", "seen", "verified", "note"}
    points: list[tuple[float, float, str, bool, float]] = []
    for block in blocks:
        block = _table(where, block, keys)
        source, _, verified = _provenance(where, block)
        sigma = _relative_sigma(where, block)
        try:
            temperatures = [float(t) for t in block["temperature_K"]]
            rho = [float(r) for r in block["rho_uohm_cm"]]
            points += [(t, r, source, verified, sigma) for t, r in zip(temperatures, rho, strict=True)]
        except (KeyError, TypeError, ValueError):
            raise InputError(where, block, "lists of as many temperature_K as rho_uohm_cm") from None
    points.sort()
    return ResistivityTable(
        temperature_K=np.array([p[0] for p in points]),
        rho_uohm_cm=np.array([p[1] for p in points]),
        sources=tuple(p[2] for p in points),
        verified=tuple(p[3] for p in points),
        relative_sigma=np.array([p[4] for p in points]),
    )


def _relative_sigma(where: str, block: dict[str, Any]) -> float:
    """Relative uncertainty of a block, which must say where it comes from; nan if there is none."""
    if "relative_sigma" not in block:
        return float("nan")
    sigma, source = block["relative_sigma"], block.get("sigma_source")
    if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < 1:
        raise InputError(f"{where}.relative_sigma", sigma, "a number between 0 and 1")
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{where}.sigma_source", source, "where relative_sigma comes from")
    return float(sigma)
