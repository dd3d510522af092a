"""From a stored row to the values at a temperature, in the bulk metal or in a wire, under a model of the direct part.

    Z_wind, Z*, F/j      `emforce.physics.valence`; sigma(rho) enters where the source of rho gives one
    Z_direct             from DFT, or from a model that is named: see `DIRECT_MODELS`
    D(T)                 D0 exp(-E_a/k_B T);  Gamma(T) = nu0 exp(-E_m/k_B T)
    Q_el, Q*, S          from their table, linear between its temperatures, nothing beyond

rho is that of the bulk metal (`emforce.materials`), or in a wire of diameter d that of `emforce.physics.wire` with the
rho-lambda of the row's own host. Z > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from scipy import constants

from .errors import CheckError, InputError
from .keys import KEYS, SIGMA_OF
from .materials import material
from .physics import valence
from .physics.valence import Estimate
from .physics.wire import WireModel
from .record import direction
from .stored import Document

#: resistivity in µΩ cm of a metal (symbol) at a temperature in K; InputError outside its range
Resistivity = Callable[[str, float], float]
#: direct part of Z*: computed; the ion charge; the Drude number of a host atom; left out. The middle two are models.
DIRECT_MODELS = ("dft", "nominal", "drude", "none")
_BOLTZMANN_eV = constants.k / constants.e
#: e × 1 µΩ cm as a force per current density, fN m²/TA
FORCE_PER_J = constants.e * 1e-8 * 1e12 * 1e15


def bulk_resistivity(metal: str, temperature_K: float) -> float:
    """rho(T) in µΩ cm from `emforce.materials`."""
    return float(material(metal).rho_uohm_cm(temperature_K))


def rho_source(metal: str, temperature_K: float, resistivity: Resistivity = bulk_resistivity) -> str:
    """Source of the resistivity at a temperature; says so where it is not verified."""
    if resistivity is not bulk_resistivity:
        return "given by the caller"
    sources, verified = material(metal).resistivity_sources(temperature_K)
    return "; ".join(sources) + ("" if verified else " (not verified)")


def check_temperature(temperature_K: float) -> float:
    """The temperature, if it can be one; that it lies below melting is seen to where the metal is known."""
    if not (math.isfinite(temperature_K) and temperature_K > 0):
        raise InputError("temperature", temperature_K, "above 0 K and below melting")
    return float(temperature_K)


@dataclass(frozen=True)
class Wire:
    """A wire: diameter in nm, and what scatters electrons in it (lengths of the model in Angstrom)."""

    diameter_nm: float
    model: WireModel = field(default_factory=WireModel)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.diameter_nm) and self.diameter_nm > 0):
            raise InputError("wire diameter", self.diameter_nm, "a positive number of nm")

    def __str__(self) -> str:
        m = self.model
        grain = "d" if m.grain_size == "diameter" else f"{m.grain_size / 10:g} nm"
        grains = f", grains {grain} with R = {m.reflection:g}, {m.combination}" if m.reflection else ""
        return f"{m.geometry} wire d = {self.diameter_nm:g} nm, specularity {m.specularity:g}{grains}"


@dataclass(frozen=True)
class Situation:
    """What a stored row is evaluated for.

    Parameters
    ----------
    temperature_K : above 0 K
    direct_model : one of `DIRECT_MODELS`
    wire : None: bulk
    resistivity : rho(metal, T) of the bulk in µΩ cm
    """

    temperature_K: float = 300.0
    direct_model: str = "dft"
    wire: Wire | None = None
    resistivity: Resistivity = bulk_resistivity
    #: resistivities by metal and host: many rows share them
    _known: dict[tuple[str, object], Document] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature_K", check_temperature(self.temperature_K))
        if self.direct_model not in DIRECT_MODELS:
            raise InputError("direct_model", self.direct_model, ", ".join(DIRECT_MODELS))


def evaluate(row: Mapping[str, Any], at: Situation, host: Mapping[str, Any] | None = None) -> Document:
    """A stored row with all keys of `KEYS`, those that depend on the situation included; None: not computed.

    Parameters
    ----------
    row : as `Database.rows` gives it; details may be missing
    at : the situation
    host : row of the host that the record goes with (`host_of`), for its rho-lambda and plasma energy

    Raises
    ------
    InputError : a temperature at which the metal has molten, or at which its resistivity is not known and needed
    CheckError : a resistivity that is none
    """
    values: Document = {"joined": None, "standing": "current", **row, "temperature_K": at.temperature_K}
    try:
        values |= _resistivity(str(row["metal"]), at, host)
    except InputError:
        if row["k_wind_uohm_cm"] is not None or at.temperature_K > material(str(row["metal"])).melting_temperature.value:
            raise
        # diffusion of the solid needs no resistivity
        values |= {"wire_diameter_nm": None, "rho_uohm_cm": None, "rho_sigma_uohm_cm": None, "rho_source": "not known there"}
    values |= _wind(values, at)
    values |= _total(values, at, host)
    values |= _kinetics(values, at)
    values |= _heat(values, at)
    return {key.name: values.get(key.name) for key in KEYS}


def host_of(row: Mapping[str, Any], hosts: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The host that gives rho lambda and the plasma energy of a row: the one it is tied to, else that of its metal and basis.

    Numbers of the bulk metal are stored with the bulk host, also for hops at a surface, whose rows are tied to no host. Of
    several of the same metal and basis, that of the same preset, then the newest; one that failed its check will not do.
    Published rows have no basis and no host.

    Parameters
    ----------
    row : stored row with "host_id", metal, basis and preset
    hosts : rows of hosts by their id
    """
    tied = hosts.get(row.get("host_id") or 0)
    if tied is not None and tied.get("rho_lambda_fohm_m2"):
        return tied
    same = [host for host in hosts.values() if host.get("rho_lambda_fohm_m2") and host["status"] == "ok"
            and (host["metal"], host["basis"]) == (row["metal"], row["basis"])]
    return max(same, key=lambda host: (host["preset"] == row["preset"], host["id"]), default=tied)


def rho_lambda(host: Mapping[str, Any]) -> Estimate:
    """rho lambda of a host in µΩ cm Å, from its bands; sigma from its comparison with plane waves.

    Raises
    ------
    InputError : the host holds none
    """
    value = host.get("rho_lambda_fohm_m2")
    if not value:
        raise InputError("host", f"{host.get('metal')} {host.get('basis')}", "a host stored with rho_lambda_fohm_m2")
    errors = [0.0]
    pairs = (("dos_compared_per_eV_atom", "dos_plane_wave_per_eV_atom", 1),
             ("omega_p_compared_eV", "omega_p_plane_wave_eV", 2))  # fmt: skip
    for ours, theirs, power in pairs:
        if host.get(ours) and host.get(theirs):
            errors.append(abs((host[ours] / host[theirs]) ** power - 1))
    return Estimate(1e3 * value, 1e3 * value * max(errors))


def _resistivity(metal: str, at: Situation, host: Mapping[str, Any] | None) -> Document:
    asked = (metal, None if host is None or at.wire is None else host["id"])
    if asked not in at._known:
        at._known[asked] = _computed_resistivity(metal, at, host)
    return at._known[asked]


def _computed_resistivity(metal: str, at: Situation, host: Mapping[str, Any] | None) -> Document:
    rho, T = at.resistivity(metal, at.temperature_K), at.temperature_K
    if not 0 < rho < math.inf:
        raise CheckError(f"rho of {metal} at {T:g} K is {rho} µΩ cm, not positive")
    sigma = material(metal).rho_sigma_uohm_cm(T) if at.resistivity is bulk_resistivity else None
    source = rho_source(metal, T, at.resistivity)
    if at.wire is not None:
        path, origin = _path(metal, host)
        found = valence.wire_resistivity(at.wire.model, Estimate(rho, sigma or 0.0), path, 10 * at.wire.diameter_nm)
        rho, sigma = found.value, found.sigma or None
        source = f"{at.wire}, rho lambda = {path.value * 1e-3:.3g} fΩ m² ({origin}); bulk: {source}"
    return {
        "wire_diameter_nm": at.wire.diameter_nm if at.wire else None,
        "rho_uohm_cm": rho,
        "rho_sigma_uohm_cm": sigma,
        "rho_source": source,
    }


def _path(metal: str, host: Mapping[str, Any] | None) -> tuple[Estimate, str]:
    """Resistivity times mean free path in µΩ cm Å, and where it comes from; a published one has no stated uncertainty."""
    if host is not None and host.get("rho_lambda_fohm_m2"):
        return rho_lambda(host), f"bands of the host, {host['basis']}"
    found = material(metal).rho_lambda
    if found is None:
        raise InputError("wire", metal, "metals with a host in the database, or rho_lambda in the materials file")
    return Estimate(1e2 * found.value), found.source


def _wind(row: Document, at: Situation) -> Document:
    K, sigma = row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"]
    if K is None:
        reported = row.get("z_wind_reported") if _reported_at(row, at) else None
        return {"z_wind": reported, "z_wind_sigma": None, "direction": "" if reported is None else "undecided"}
    found = valence.wind_valence(Estimate(K, sigma or 0.0), _rho(row))
    return {
        "z_wind": found.value,
        "z_wind_sigma": None if sigma is None else found.sigma,
        "direction": direction(K, _nan(sigma)),
    }


def _rho(row: Document) -> Estimate:
    return Estimate(row["rho_uohm_cm"], row["rho_sigma_uohm_cm"] or 0.0)


def _reported_at(row: Document, at: Situation) -> bool:
    """Whether the published valences of a row hold at the temperature asked for (in bulk metal)."""
    return at.wire is None and row.get("reported_low_K") is not None and not _beyond(row, at)


def _beyond(row: Document, at: Situation) -> bool:
    """Whether a row was published for temperatures, and not for this one."""
    low, high = row.get("reported_low_K"), row.get("reported_high_K")
    return low is not None and high is not None and not low <= at.temperature_K <= high


def _total(row: Document, at: Situation, host: Mapping[str, Any] | None) -> Document:
    if row.get("source"):
        return _reported_total(row, at)
    found: Document = {"direct_model": at.direct_model, "direction_total": ""}
    direct, interval = _direct(row, at, host)
    found["z_direct_used"] = None if direct is None else direct.value
    if row["z_wind"] is None or row["k_wind_uohm_cm"] is None:
        return found
    known = row["z_wind_sigma"] is not None
    wind = Estimate(row["k_wind_uohm_cm"], row["k_wind_sigma_uohm_cm"] or 0.0)
    if direct is not None:
        total = valence.effective_valence(wind, _rho(row), direct)
        force = valence.force_per_current(wind, _rho(row), direct)
        found |= {
            "z_star": total.value,
            "z_star_sigma": total.sigma if known else None,
            "direction_total": "undecided",
            "force_per_j_fN_m2_TA": FORCE_PER_J * force.value,
            "force_per_j_sigma_fN_m2_TA": FORCE_PER_J * force.sigma if known else None,
        }
        interval = (total.value - total.sigma, total.value + total.sigma) if known else None
    elif interval is not None:
        spread = row["z_wind_sigma"] or 0.0
        interval = (interval[0] + row["z_wind"] - spread, interval[1] + row["z_wind"] + spread)
    if interval is not None:
        low, high = interval
        found |= {"z_star_low": low, "z_star_high": high,
                  "direction_total": "upwind" if low > 0 else "downwind" if high < 0 else "undecided"}
    return found


def _direct(row: Document, at: Situation, host: Mapping[str, Any] | None
            ) -> tuple[Estimate | None, tuple[float, float] | None]:
    """Direct valence, or its interval where there is no single value."""
    if at.direct_model == "none":
        return Estimate(0.0), None
    if at.direct_model == "nominal":
        ion = material(str(row["species"])).nominal_valence
        return None if ion is None else Estimate(ion.value), None
    if at.direct_model == "drude":
        number = drude_number(str(row["metal"]), host)
        return None if number is None else Estimate(number), None
    value, sigma = row.get("z_direct"), row.get("z_direct_sigma")
    low, high = row.get("z_direct_low"), row.get("z_direct_high")
    if value is not None and sigma is not None:
        return Estimate(value, sigma), None
    return None, None if low is None or high is None else (low, high)


def drude_number(metal: str, host: Mapping[str, Any] | None) -> float | None:
    """Drude number of a host atom (`emforce.physics.valence`) from the plasma energy of a host; None without one."""
    if host is None or not host.get("omega_p_eV"):
        return None
    volume = material(metal).volume_per_atom(str(host.get("functional") or "PBE"))
    return valence.drude_number(float(host["omega_p_eV"]), volume)


def _reported_total(row: Document, at: Situation) -> Document:
    """A published Z* as it is, where its temperatures include the one asked for."""
    value, sigma = row["z_star_reported"], row["z_star_reported_sigma"]
    found: Document = {"direct_model": "reported", "direction_total": ""}
    if value is None or not _reported_at(row, at):
        return found
    known = sigma is not None
    return {
        **found,
        "z_star": value,
        "z_star_sigma": sigma,
        "z_star_low": value - sigma if known else None,
        "z_star_high": value + sigma if known else None,
        "direction_total": direction(value, sigma) if known else "undecided",
    }


def _kinetics(row: Document, at: Situation) -> Document:
    kT = _BOLTZMANN_eV * at.temperature_K
    found: Document = {}
    d0, ea, nu0, barrier = (row.get(name) for name in ("d0_m2_s", "ea_eV", "nu0_THz", "barrier_eV"))
    if d0 is not None and ea is not None and not _beyond(row, at):
        found["d_m2_s"] = d0 * math.exp(-ea / kT)
        sigmas = row.get("d0_sigma_m2_s"), row.get("ea_sigma_eV")
        if None not in sigmas:
            # uncertainties of ln D: those of D0 and E_a are taken as independent
            found["d_factor"] = math.exp(min(math.hypot(_nan(sigmas[0]) / d0, _nan(sigmas[1]) / kT), 700.0))
    if nu0 is not None and barrier is not None:
        found["rate_per_s"] = nu0 * 1e12 * math.exp(-barrier / kT)
    return found


def _heat(row: Document, at: Situation) -> Document:
    table: Mapping[str, Sequence[float | None]] = row.get("q_of_temperature") or {}
    values = ("q_el_eV", "q_star_eV", "seebeck_uV_K")
    return {name: _between(table.get("temperature_K", ()), table.get(name, ()), at.temperature_K)
            for value in values for name in (value, SIGMA_OF[value])}


def _between(temperatures: Sequence[float | None], values: Sequence[float | None], T: float) -> float | None:
    """Linear between two points of a table; None beyond its ends or next to a point that was not computed."""
    points = [(t, v) for t, v in zip(temperatures, values, strict=False) if t is not None]
    for (a, x), (b, y) in pairwise(points):
        if a <= T <= b:
            if T in (a, b):
                return x if T == a else y
            return None if x is None or y is None else x + (y - x) * (T - a) / (b - a)
    return points[0][1] if len(points) == 1 and points[0][0] == T else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


__all__ = ["DIRECT_MODELS", "FORCE_PER_J", "Resistivity", "Situation", "Wire", "bulk_resistivity", "check_temperature",
           "drude_number", "evaluate", "host_of", "rho_lambda", "rho_source"]
