"""Parameters of the models, from an evaluated row of the database and from what the user gives with a source.

A row holds what was computed. What it does not hold yet must be given (`Given`, a number with its source); nothing is
filled in. Where the direct part of Z* is not there, the wind part alone is taken and the source says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from scipy import constants

from ..errors import InputError
from ..materials import material

Row = Mapping[str, Any]
_NAN = math.nan
#: Boltzmann constant in eV/K
K_BOLTZMANN_eV = constants.k / constants.e

#: what a user may give, and its meaning
NAMES: Mapping[str, str] = MappingProxyType({
    "z_star": "effective valence, > 0 along the field",
    "barrier_eV": "barrier of the hop",
    "nu0_THz": "attempt frequency of the hop",
    "hop_angstrom": "length of the hop",
    "d0_m2_s": "prefactor of D = D0 exp(-E_a/k_BT)",
    "ea_eV": "activation energy of D",
    "q_star_eV": "heat of transport, > 0 towards the cold end",
    "rho_uohm_cm": "resistivity",
    "omega_angstrom3": "atomic volume",
    "modulus_GPa": "elastic modulus B of the line in its confinement, dC/C = -dsigma/B",
    "gamma_J_m2": "surface energy",
    "delta_s_angstrom": "thickness of the layer that diffuses on a surface",
})
_GIVEN = re.compile(r"(?:([A-Z][a-z]?)\.)?(\w+)\s*=\s*([^#]+?)\s*(?:#\s*(.*))?")


@dataclass(frozen=True)
class Given:
    """A number from the user, and where it comes from."""

    value: float
    source: str = ""


def parse_given(texts: Iterable[str]) -> dict[str, dict[str, Given]]:
    """Numbers given as "NAME=VALUE # SOURCE" or "METAL.NAME=VALUE # SOURCE", by metal ("" for every metal).

    Raises
    ------
    InputError : not of this form, an unknown name, or no finite number
    """
    found: dict[str, dict[str, Given]] = {}
    for text in texts:
        match = _GIVEN.fullmatch(text.strip())
        if match is None:
            raise InputError("--set", text, "'NAME=VALUE # SOURCE' or 'METAL.NAME=VALUE # SOURCE'")
        metal, name, number, source = match.groups()
        if name not in NAMES:
            raise InputError("--set", name, ", ".join(NAMES))
        try:
            value = float(number)
        except ValueError:
            value = _NAN
        if not math.isfinite(value):
            raise InputError(f"--set {name}", number, "a finite number in the unit of its name")
        found.setdefault(metal or "", {})[name] = Given(value, source or "")
    return found


class _Taker:
    """Takes numbers from what is given, then from the row, and remembers where each came from."""

    def __init__(self, row: Row, given: Mapping[str, Given]) -> None:
        self.row, self.given = row, given
        self.sources: dict[str, str] = {}
        self.missing: list[str] = []
        names = (row.get(key) for key in ("metal", "facet", "defect", "hop", "site"))
        self.name = " ".join(str(name) for name in names if name)
        stored = f", row {row['id']}" if row.get("id") is not None else ""
        self.origin = f"database{stored}: {self.name}, preset {row.get('preset', '?')}"

    def take(self, name: str, detail: str = "", needed: bool = True) -> float:
        """The number called `name`; nan, and noted as missing if it is needed, where there is none."""
        if name in self.given:
            self.sources[name] = self.given[name].source or "given without a source"
            return self.given[name].value
        value = self.row.get(name)
        if value is not None and math.isfinite(value):
            self.sources[name] = f"{self.origin}{', ' + detail if detail else ''}"
            return float(value)
        if needed:
            self.missing.append(name)
        return _NAN

    def valence(self) -> tuple[float, float]:
        """Z* and its uncertainty; the wind part alone where the row has no total."""
        if "z_star" in self.given:
            return self.take("z_star"), _NAN
        for name, words in (("z_star", f"direct part: {self.row.get('direct_model', '')}"),
                            ("z_wind", f"wind part only, the direct part is {self._left_out()}")):
            if self.row.get(name) is not None:
                value = self.take(name, words)
                self.sources["z_star"] = self.sources.pop(name)
                sigma = self.row.get(f"{name}_sigma")
                return value, _NAN if sigma is None else float(sigma)
        self.missing.append("z_star")
        return _NAN, _NAN

    def _left_out(self) -> str:
        low, high = (self.row.get(f"z_direct_{end}") for end in ("low", "high"))
        return "not computed" if low is None or high is None else f"an interval, {low:.3g} to {high:.3g}"

    def resistivity(self) -> float:
        """rho at the temperature of the row."""
        value = self.take("rho_uohm_cm")
        if "rho_uohm_cm" not in self.given and math.isfinite(value):
            self.sources["rho_uohm_cm"] = str(self.row.get("rho_source") or self.origin)
        return value

    def volume(self) -> float:
        """Atomic volume from the measured lattice constant, if not given."""
        if "omega_angstrom3" in self.given:
            return self.take("omega_angstrom3")
        metal = material(str(self.row["metal"]))
        self.sources["omega_angstrom3"] = f"lattice constant: {metal.lattice_constants['experiment'].source}"
        return metal.volume_per_atom("experiment")

    def check(self) -> None:
        """Complain of all that is missing in one line."""
        if self.missing:
            allowed = f"values that {self.name} does not hold yet: give them with --set 'NAME=VALUE # SOURCE'"
            raise InputError(", ".join(self.missing), None, allowed)

    def temperature(self) -> float:
        """The temperature for which the row was evaluated."""
        T = self.row.get("temperature_K")
        if T is None or not 0 < T < math.inf:
            raise InputError("temperature_K", T, "a row evaluated at a temperature above 0 K")
        return float(T)


@dataclass(frozen=True)
class _Parameters:
    """What all models share; see the subclasses."""

    metal: str
    temperature_K: float
    z_star: float
    z_star_sigma: float
    rho_uohm_cm: float
    sources: Mapping[str, str] = field(kw_only=True)

    @property
    def surface(self) -> str:
        """Metal and facet, such as W(100); the metal alone where there is no facet."""
        facet = getattr(self, "facet", "")
        return f"{self.metal}({facet})" if facet else self.metal

    #: fields that must be positive; those of the second tuple may also be nan
    _positive: ClassVar[tuple[str, ...]] = ("temperature_K", "rho_uohm_cm")
    _optional: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        for name in (*self._positive, *self._optional):
            value = getattr(self, name)
            if not 0 < value < math.inf and not (name in self._optional and math.isnan(value)):
                raise InputError(name, value, "a positive number")
        if not math.isfinite(self.z_star):
            raise InputError("z_star", self.z_star, "a finite number")

    @property
    def kT_eV(self) -> float:
        """k_B T in eV."""
        return K_BOLTZMANN_eV * self.temperature_K

    def table(self) -> list[tuple[str, str, str]]:
        """Name with unit, value, and source of every number."""
        lines = [("temperature_K", f"{self.temperature_K:g}", "asked for")]
        for each in fields(self):
            name = each.name
            if name in self.sources:
                value = getattr(self, name)
                sigma = self.z_star_sigma if name == "z_star" else _NAN
                text = f"{value:.6g}" if math.isnan(sigma) else f"{value:.4g} ± {sigma:.2g}"
                lines.append((name, text, self.sources[name]))
        return lines


@dataclass(frozen=True)
class HopParameters(_Parameters):
    """One hop of a surface atom.

    Parameters
    ----------
    metal, temperature_K, z_star, z_star_sigma, rho_uohm_cm : Z* is the hop number <Z>, > 0 along the field
    facet : surface
    hop_angstrom : length |d| of the hop
    barrier_eV, nu0_THz : nan where not known; then times are in units of 1/Gamma0
    sources : where each number comes from
    """

    facet: str
    hop_angstrom: float
    barrier_eV: float = _NAN
    nu0_THz: float = _NAN

    _positive: ClassVar[tuple[str, ...]] = ("temperature_K", "rho_uohm_cm", "hop_angstrom")
    _optional: ClassVar[tuple[str, ...]] = ("barrier_eV", "nu0_THz")

    @classmethod
    def from_row(cls, row: Row, given: Mapping[str, Given] | None = None) -> Self:
        """Parameters from an evaluated row and given numbers; InputError names what is missing."""
        taker = _Taker(row, given or {})
        T = taker.temperature()
        z, sigma = taker.valence()
        rho = taker.resistivity()
        vector = row.get("hop_vector_angstrom")
        length = {} if vector is None or None in vector else {"hop_angstrom": float(np.linalg.norm(vector))}
        taker.row = {**row, **length}
        hop = taker.take("hop_angstrom")
        barrier, nu0 = taker.take("barrier_eV", needed=False), taker.take("nu0_THz", needed=False)
        taker.check()
        return cls(str(row["metal"]), T, z, sigma, rho, str(row["facet"]), hop, barrier, nu0, sources=taker.sources)

    @property
    def gamma0_per_s(self) -> float:
        """Gamma0 = nu0 exp(-E_m/k_BT) in 1/s without field; nan where barrier or attempt frequency is missing."""
        return self.nu0_THz * 1e12 * math.exp(-self.barrier_eV / self.kT_eV)

    def force_eV_per_angstrom(self, current_density_MA_cm2: float) -> float:
        """e <Z> E with E = rho j; 1 µΩ cm times 1 MA/cm² is 100 V/m."""
        return self.z_star * self.rho_uohm_cm * current_density_MA_cm2 * 1e-8

    def work_eV(self, current_density_MA_cm2: float) -> float:
        """w = e <Z> E |d| for a hop along the field."""
        return self.force_eV_per_angstrom(current_density_MA_cm2) * self.hop_angstrom


@dataclass(frozen=True)
class ContinuumParameters(_Parameters):
    """A line under current and in a temperature gradient.

    Parameters
    ----------
    metal, temperature_K, z_star, z_star_sigma, rho_uohm_cm : at the middle of the line; Z* > 0 along the field
    d0_m2_s, ea_eV : D(T) = D0 exp(-E_a/k_BT)
    omega_angstrom3 : atomic volume
    modulus_GPa : B, dC/C = -dsigma/B
    q_star_eV : heat of transport, > 0 towards the cold end; nan where not known
    sources : where each number comes from
    """

    d0_m2_s: float
    ea_eV: float
    omega_angstrom3: float
    modulus_GPa: float
    q_star_eV: float = _NAN

    _positive: ClassVar[tuple[str, ...]] = ("temperature_K", "rho_uohm_cm", "d0_m2_s", "ea_eV", "omega_angstrom3", "modulus_GPa")

    @classmethod
    def from_row(cls, row: Row, given: Mapping[str, Given] | None = None) -> Self:
        """Parameters from an evaluated row and given numbers; InputError names what is missing."""
        taker = _Taker(row, given or {})
        T = taker.temperature()
        z, sigma = taker.valence()
        rho = taker.resistivity()
        words = str(row.get("kinetics_condition") or "")
        d0, ea = taker.take("d0_m2_s", words), taker.take("ea_eV", words)
        omega, modulus = taker.volume(), taker.take("modulus_GPa")
        q = taker.take("q_star_eV", str(row.get("q_condition") or ""), needed=False)
        taker.check()
        return cls(str(row["metal"]), T, z, sigma, rho, d0, ea, omega, modulus, q, sources=taker.sources)

    def d_m2_s(self, temperature_K: Any) -> Any:
        """D(T) in m²/s, of a number or an array."""
        return self.d0_m2_s * np.exp(-self.ea_eV / (K_BOLTZMANN_eV * temperature_K))


@dataclass(frozen=True)
class SurfaceParameters(_Parameters):
    """The surface of a nanowire.

    Parameters
    ----------
    metal, temperature_K, z_star, z_star_sigma, rho_uohm_cm : Z* of a surface atom, > 0 along the field
    omega_angstrom3 : atomic volume
    gamma_J_m2 : surface energy, isotropic
    delta_s_angstrom : thickness of the layer that moves; delta_s C_s = delta_s/Omega atoms per area
    d_s_m2_s : surface self-diffusion coefficient of mass transport; nan where not known (times then in units of tau)
    q_star_eV : heat of transport, nan where not known
    facet : of the row that Z* is from
    sources : where each number comes from
    """

    omega_angstrom3: float
    gamma_J_m2: float
    delta_s_angstrom: float
    d_s_m2_s: float = _NAN
    q_star_eV: float = _NAN
    facet: str = ""

    _positive: ClassVar[tuple[str, ...]] = ("temperature_K", "rho_uohm_cm", "omega_angstrom3", "gamma_J_m2", "delta_s_angstrom")
    _optional: ClassVar[tuple[str, ...]] = ("d_s_m2_s",)

    @classmethod
    def from_row(cls, row: Row, given: Mapping[str, Given] | None = None) -> Self:
        """Parameters from an evaluated row and given numbers; InputError names what is missing.

        The layer that moves is one atomic layer, Omega^(1/3), if not given.
        """
        taker = _Taker(row, given or {})
        T = taker.temperature()
        z, sigma = taker.valence()
        rho, omega, gamma = taker.resistivity(), taker.volume(), taker.take("gamma_J_m2")
        delta = taker.take("delta_s_angstrom", needed=False)
        if math.isnan(delta):
            delta = omega ** (1 / 3)
            taker.sources["delta_s_angstrom"] = "one atomic layer, Omega^(1/3)"
        words = str(row.get("kinetics_condition") or "")
        d0, ea = taker.take("d0_m2_s", words, needed=False), taker.take("ea_eV", words, needed=False)
        d_s = d0 * math.exp(-ea / (K_BOLTZMANN_eV * T))
        if not math.isnan(d_s):
            taker.sources["d_s_m2_s"] = f"D0 exp(-E_a/k_BT), {taker.sources['d0_m2_s']}"
        q = taker.take("q_star_eV", str(row.get("q_condition") or ""), needed=False)
        taker.check()
        return cls(str(row["metal"]), T, z, sigma, rho, omega, gamma, delta, d_s, q, str(row.get("facet") or ""),
                   sources=taker.sources)
