"""What a calculation hands over: `Record` (one site of one hop) and `Host` (one host and its check).

Both are frozen, checked on construction, and turn into a JSON-able document and back without losing a bit.
The names of their fields are the stored keys of `emforce.keys`.

Sign: F = e Z E. Z > 0 and K > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import CheckError, InputError
from .keys import DRIFT, HOST_KEYS, KEYS, SIGMA_OF, Key
from .stored import SYMBOL, Array, Check, Stored

SITES = "initial, saddle, final, s=<fraction>, hop average, drift [<direction>]"
#: what the provenance of a served record must hold, what that of one with a wind force must hold as well, and
#: what that of a literature value must hold
ORIGIN = ("emforce", "gpaw", "ase", "numpy", "python", "settings_hash", "structure_hash", "git_commit", "created")
PROVENANCE = (*ORIGIN, "host_check", "rho_source")
LITERATURE = ("seen",)
#: parts of the wind uncertainty that every record states, if only as "not estimated" (nan)
SIGMA_PARTS = (
    "fermi_energy",
    "smearing",
    "region",
    "finite_difference",
    "layers",
    "mesh",
    "geometry",
    "basis",
)
#: columns of the tables that a record may hold
TAU_COLUMNS = ("hbar_over_tau_eV", "values", "remainders")
HEAT_COLUMNS = (
    "temperature_K",
    "q_el_eV", "q_el_sigma_eV",
    "q_star_eV", "q_star_sigma_eV",
    "seebeck_uV_K", "seebeck_sigma_uV_K",
)  # fmt: skip
Q_CONDITIONS = ("", "E=0", "J=0")
HOP_AVERAGE = "hop average"
_SITE = re.compile(r"initial|saddle|final|hop average|drift \[(-?\d)+\]|s=(0(\.\d+)?|1(\.0+)?)")
_NAN = math.nan


def quadrature(parts: Mapping[str, float]) -> float:
    """sqrt(sum of squares) of the parts that were estimated; nan when there is none."""
    known = [value for value in parts.values() if not math.isnan(value)]
    return math.hypot(*known) if known else _NAN


def drift_direction(site: str) -> str:
    """Crystal direction of a site of drift (`emforce.drift`), such as [001]; "" for every other site."""
    return site.removeprefix(DRIFT) if site.startswith(DRIFT) else ""


def is_average(site: str) -> bool:
    """Whether a site stands for the points of a hop: its average, or a drift."""
    return site == HOP_AVERAGE or bool(drift_direction(site))


def direction(value: float, sigma: float) -> str:
    """The direction of a force in words.

    "upwind" (value > 0: along the field, against the electrons), "downwind" (value < 0), "undecided" where
    |value| <= sigma or one of the two is unknown.
    """
    if not abs(value) > sigma:
        return "undecided"
    return "upwind" if value > 0 else "downwind"


def along(tensor: Array, vector: Array) -> float:
    """d̂·K·d̂ for a (3, 3) tensor; components that d̂ does not touch may be nan."""
    length = float(np.linalg.norm(vector))
    if not length > 0:
        return _NAN
    unit = vector / length
    used = np.flatnonzero(np.abs(unit) > 1e-9)
    return float(unit[used] @ tensor[np.ix_(used, used)] @ unit[used])


@dataclass(frozen=True, eq=False)
class Record(Stored):
    """Values of one image of one hop, of the hop as a whole (site "hop average"), or of the drift over all equivalent hops under
    a field along a direction of the surface (site "drift [001]"): those that were computed.

    What depends on the temperature is not stored but evaluated when asked for: Z_wind(T) = K/rho(T), D(T), Q*(T).
    Units are in the names; nan or empty: not computed. A record may hold any of the groups below; a served one holds at
    least one value, and each value has its uncertainty.

    Parameters
    ----------
    spec, metal, facet, defect, hop, site, species, preset, method : the identity, see `emforce.keys`
    basis : name of the LCAO basis
    fraction : position on the hop, 0..1; nan for the hop average and a drift
    hop_vector_angstrom : (3,), from the initial to the final site
    residual_force_eV_per_angstrom : largest force left on a relaxed degree of freedom
    k_wind_uohm_cm : d̂·K·d̂ at a site; the path average for the hop average; e·K_drift·e for a drift along e
    k_wind_sigma_uohm_cm : its standard uncertainty; when left out, the parts in quadrature
    k_wind_sigma_parts_uohm_cm : named parts, those of `SIGMA_PARTS` and others, >= 0;
        nan: not estimated, kept and shown as such
    k_tensor_uohm_cm, k_tensor_sigma_uohm_cm : (3, 3), [force axis, field axis]; the second >= 0 where there is a first, or nan
    energies_eV, k_of_energy_uohm_cm : (n,) each, K along the hop at energies relative to E_F
    z_direct, z_direct_sigma, z_direct_sigma_parts, z_direct_tensor : the direct valence, as those of K
    z_direct_low, z_direct_high : interval of the direct valence; alone, with z_direct nan, where its drift over tau
        exceeds its size; both or neither
    z_total_of_tau : {"hbar_over_tau_eV": (n,), "values": (n,), "remainders": (n,)}, the total response along the hop, and
        what is left of it without tau m, m of the response itself
    z_fermi_sea : Fermi-sea part, a diagnostic
    barrier_eV ... ea_sigma_eV : kinetics of the hop, each value with its sigma; kinetics_condition in words;
        kinetics_details: any JSON-able mapping
    q_of_temperature : columns of `HEAT_COLUMNS`, (n,) each; evaluated between its temperatures, not beyond
    q_lattice_low_eV, q_lattice_high_eV : bounds of the lattice part; both or neither
    q_condition : one of `Q_CONDITIONS`, that of q_star_eV
    z_star_reported ... reported_high_K : values as published; only with status "literature" or "unverified"
    source : publication of a literature row
    status : one of `STATUSES`; only "ok" is served, "literature" when asked for
    reason : why not ok
    checks : checks of the numbers; all pass when the status is ok
    provenance : JSON-able mapping with at least the names in `ORIGIN`, for a wind force those in `PROVENANCE`, for
        literature those in `LITERATURE`

    Raises
    ------
    InputError : a field that is not allowed
    CheckError : status ok, but a check fails, a number is missing, or parts do not add up
    """

    spec: str
    metal: str
    facet: str
    defect: str
    hop: str
    site: str
    species: str
    preset: str
    method: str
    basis: str = ""
    fraction: float = _NAN
    k_wind_uohm_cm: float = _NAN
    k_wind_sigma_uohm_cm: float = _NAN
    k_wind_sigma_parts_uohm_cm: Mapping[str, float] = field(default_factory=dict)
    k_tensor_uohm_cm: Array = field(default_factory=lambda: np.full((3, 3), _NAN))
    k_tensor_sigma_uohm_cm: Array = field(default_factory=lambda: np.full((3, 3), _NAN))
    hop_vector_angstrom: Array = field(default_factory=lambda: np.full(3, _NAN))
    energies_eV: Array = field(default_factory=lambda: np.zeros(0))
    k_of_energy_uohm_cm: Array = field(default_factory=lambda: np.zeros(0))
    z_direct: float = _NAN
    z_direct_sigma: float = _NAN
    z_direct_low: float = _NAN
    z_direct_high: float = _NAN
    z_direct_sigma_parts: Mapping[str, float] = field(default_factory=dict)
    z_direct_tensor: Array = field(default_factory=lambda: np.full((3, 3), _NAN))
    z_total_of_tau: Mapping[str, Array] = field(default_factory=dict)
    z_fermi_sea: float = _NAN
    barrier_eV: float = _NAN
    barrier_sigma_eV: float = _NAN
    formation_energy_eV: float = _NAN
    formation_energy_sigma_eV: float = _NAN
    nu0_THz: float = _NAN
    nu0_sigma_THz: float = _NAN
    d0_m2_s: float = _NAN
    d0_sigma_m2_s: float = _NAN
    ea_eV: float = _NAN
    ea_sigma_eV: float = _NAN
    kinetics_condition: str = ""
    kinetics_details: Mapping[str, Any] = field(default_factory=dict)
    q_of_temperature: Mapping[str, Array] = field(default_factory=dict)
    q_lattice_low_eV: float = _NAN
    q_lattice_high_eV: float = _NAN
    q_condition: str = ""
    z_star_reported: float = _NAN
    z_star_reported_sigma: float = _NAN
    z_wind_reported: float = _NAN
    reported_low_K: float = _NAN
    reported_high_K: float = _NAN
    source: str = ""
    residual_force_eV_per_angstrom: float = _NAN
    status: str = "ok"
    reason: str = ""
    checks: tuple[Check, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def _keys(cls) -> tuple[Key, ...]:
        return KEYS

    def __post_init__(self) -> None:
        for name, always in (("k_wind", SIGMA_PARTS), ("z_direct", ())):
            unit = "_uohm_cm" if name == "k_wind" else ""
            parts = self._freeze_parts(f"{name}_sigma_parts{unit}", always)
            if math.isnan(getattr(self, f"{name}_sigma{unit}")):
                object.__setattr__(self, f"{name}_sigma{unit}", quadrature(parts))
        for name in ("k_tensor_uohm_cm", "k_tensor_sigma_uohm_cm", "z_direct_tensor"):
            self._freeze(name, (3, 3))
        self._freeze("hop_vector_angstrom", (3,))
        self._freeze("energies_eV", (None,))
        self._freeze("k_of_energy_uohm_cm", self.energies_eV.shape)
        self._freeze_table("z_total_of_tau", TAU_COLUMNS)
        self._freeze_table("q_of_temperature", HEAT_COLUMNS)
        object.__setattr__(self, "kinetics_details", json.loads(json.dumps(dict(self.kinetics_details))))
        self._check_numbers()  # before the checks of a served record, which are about what may be missing
        super().__post_init__()
        self._match("site", _SITE, SITES)
        self._match("species", SYMBOL, "a chemical symbol")
        self._one_of("q_condition", Q_CONDITIONS)
        if not math.isnan(self.fraction) and not 0 <= self.fraction <= 1:
            raise InputError("fraction", self.fraction, "0 to 1")

    def _check_numbers(self) -> None:
        """Signs and orders that hold whatever the status."""
        for name in ("nu0_THz", "d0_m2_s", "reported_low_K", "reported_high_K"):
            if getattr(self, name) <= 0:
                raise InputError(name, getattr(self, name), "a positive number, or nan where not computed")
        for name in SIGMA_OF.values():
            if getattr(self, name, 0.0) < 0:
                raise InputError(name, getattr(self, name), "a number >= 0, or nan where not estimated")
        sigma = self.k_tensor_sigma_uohm_cm
        if (sigma < 0).any() or not np.isnan(sigma[np.isnan(self.k_tensor_uohm_cm)]).all():
            raise InputError("k_tensor_sigma_uohm_cm", sigma.tolist(), "numbers >= 0, nan where K is")
        for low, high in (("z_direct_low", "z_direct_high"), ("q_lattice_low_eV", "q_lattice_high_eV"),
                          ("reported_low_K", "reported_high_K")):
            a, b = getattr(self, low), getattr(self, high)
            if math.isnan(a) != math.isnan(b) or a > b:
                raise InputError(f"{low}, {high}", (a, b), "two numbers, the lower first; or neither")
        temperatures = self.q_of_temperature.get("temperature_K", np.ones(1))
        if not (np.all(temperatures > 0) and np.all(np.diff(temperatures) > 0)):
            raise InputError("q_of_temperature", temperatures.tolist(), "temperatures above 0 K that increase")
        reported = [name for name in ("z_star_reported", "z_wind_reported") if not math.isnan(getattr(self, name))]
        if reported and self.status not in ("literature", "unverified"):
            raise InputError(reported[0], getattr(self, reported[0]), "published values, with status literature")

    def _may_be_served(self, checks: tuple[Check, ...]) -> None:
        super()._may_be_served(checks)
        problems = [str(check) for check in self.consistency() if not check.passed]
        if problems:
            raise CheckError(f"a record with status {self.status} does not hold together: {'; '.join(problems)}")

    def consistency(self) -> tuple[Check, ...]:
        """What must hold between the fields of a served record."""
        literature = self.status == "literature"
        found = [Check("at least one value is finite", float(len(self.values())), 1.0, ">=")]
        if not literature:
            found += [Check(f"{name} and its sigma are finite", float(self._has_sigma(name)), 1.0, ">=")
                      for name in self.values()]
            found += self._sums()
        needed = LITERATURE if literature else PROVENANCE if "k_wind_uohm_cm" in self.values() else ORIGIN
        missing = [name for name in needed if not self.provenance.get(name)]
        if literature and not self.source:
            missing.append("source")
        text = f"provenance is complete{', missing ' + ', '.join(missing) if missing else ''}"
        found.append(Check(text, float(len(missing)), 0.0))
        projected = along(self.k_tensor_uohm_cm, self.hop_vector_angstrom)
        if self.site != HOP_AVERAGE and math.isfinite(projected):
            # a hop average follows the tangent of the path, so only a site obeys K = d̂·K·d̂
            size = max(abs(self.k_wind_uohm_cm), 1.0)
            found.append(Check("K = d̂·K·d̂", abs(projected - self.k_wind_uohm_cm), 1e-6 * size, "<=", "µΩ cm"))
        return tuple(found)

    def values(self) -> tuple[str, ...]:
        """Names of the values that the record holds."""
        names = [*(name for name in SIGMA_OF if hasattr(self, name)), "z_wind_reported", "z_direct_low", "q_lattice_low_eV"]
        found = [name for name in names if math.isfinite(getattr(self, name))]
        return tuple(found + [name for name in HEAT_COLUMNS if name in SIGMA_OF and name in self.q_of_temperature])

    def _has_sigma(self, name: str) -> bool:
        if name not in SIGMA_OF:
            return True  # an end of an interval
        if name in HEAT_COLUMNS:
            value = self.q_of_temperature[name]
            sigma = self.q_of_temperature.get(SIGMA_OF[name], np.full(value.shape, _NAN))
            return bool(np.isfinite(sigma[np.isfinite(value)]).all())
        return math.isfinite(getattr(self, SIGMA_OF[name]))

    def _sums(self) -> list[Check]:
        """Uncertainties are their parts in quadrature, and a direct valence lies in its interval."""
        found = []
        if "k_wind_uohm_cm" in self.values():
            parts = quadrature(self.k_wind_sigma_parts_uohm_cm)
            found.append(Check("sigma = parts in quadrature", abs(self.k_wind_sigma_uohm_cm - parts),
                               1e-9 * max(parts, 1.0), "<=", "µΩ cm"))
        if self.z_direct_sigma_parts and math.isfinite(self.z_direct):
            parts = quadrature(self.z_direct_sigma_parts)
            found.append(Check("sigma of z_direct = parts in quadrature", abs(self.z_direct_sigma - parts),
                               1e-9 * max(parts, 1.0)))
        if math.isfinite(self.z_direct) and math.isfinite(self.z_direct_low):
            outside = max(self.z_direct_low - self.z_direct, self.z_direct - self.z_direct_high)
            found.append(Check("z_direct lies in its interval", outside, 1e-9))
        return found


@dataclass(frozen=True, eq=False)
class Host(Stored):
    """A host crystal or slab: its Fermi-surface numbers and its check against plane waves.

    Parameters
    ----------
    metal, facet, basis, preset : the identity
    functional : exchange-correlation functional
    fermi_energy_eV, dos_per_eV_atom, omega_p_eV, n_eV_angstrom2, rho_lambda_fohm_m2 : LCAO, see
        `emforce.keys`
    dos_compared_per_eV_atom, omega_p_compared_eV, dos_plane_wave_per_eV_atom, omega_p_plane_wave_eV,
    band_rms_eV : the comparison, both sides on the same mesh; nan where not made
    path : (k,) distance along the band path; path_ticks : ((distance, name), ...)
    bands_lcao_eV, bands_plane_wave_eV : (k, n) and (k, m), relative to the Fermi energy; (0, 0) where not
        computed
    phonon_status : "ok", "failed: why", or "" where no phonons were computed; only with "ok" are there
        debye_temperature_K, debye_temperature_sigma_K : low-temperature limit and its numerical uncertainty
        phonon_path, phonon_ticks, phonon_bands_THz : as path, path_ticks and the bands, (k,) and (k, 3)
    phonon_details : any JSON-able mapping
    status : "ok", or "outside tolerance" when a check fails
    checks, reason, provenance : as in `Record`, provenance as far as it applies
    """

    metal: str
    facet: str
    basis: str
    preset: str
    functional: str = ""
    status: str = "ok"
    reason: str = ""
    fermi_energy_eV: float = _NAN
    dos_per_eV_atom: float = _NAN
    omega_p_eV: float = _NAN
    n_eV_angstrom2: float = _NAN
    rho_lambda_fohm_m2: float = _NAN
    dos_compared_per_eV_atom: float = _NAN
    omega_p_compared_eV: float = _NAN
    dos_plane_wave_per_eV_atom: float = _NAN
    omega_p_plane_wave_eV: float = _NAN
    band_rms_eV: float = _NAN
    path: Array = field(default_factory=lambda: np.zeros(0))
    path_ticks: tuple[tuple[float, str], ...] = ()
    bands_lcao_eV: Array = field(default_factory=lambda: np.zeros((0, 0)))
    bands_plane_wave_eV: Array = field(default_factory=lambda: np.zeros((0, 0)))
    phonon_status: str = ""
    debye_temperature_K: float = _NAN
    debye_temperature_sigma_K: float = _NAN
    phonon_path: Array = field(default_factory=lambda: np.zeros(0))
    phonon_ticks: tuple[tuple[float, str], ...] = ()
    phonon_bands_THz: Array = field(default_factory=lambda: np.zeros((0, 0)))
    phonon_details: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def _keys(cls) -> tuple[Key, ...]:
        return HOST_KEYS

    def __post_init__(self) -> None:
        for path, ticks, names in (("path", "path_ticks", ("bands_lcao_eV", "bands_plane_wave_eV")),
                                   ("phonon_path", "phonon_ticks", ("phonon_bands_THz",))):
            self._freeze(path, (None,))
            for name in names:
                bands = np.array(getattr(self, name), dtype=float)
                if bands.size == 0:
                    object.__setattr__(self, name, bands.reshape(0, 0))
                self._freeze(name, (len(getattr(self, path)) if bands.size else 0, None))
            pairs = tuple((float(distance), str(name)) for distance, name in getattr(self, ticks))
            object.__setattr__(self, ticks, pairs)
        object.__setattr__(self, "phonon_details", json.loads(json.dumps(dict(self.phonon_details))))
        self._check_phonons()
        super().__post_init__()

    def _check_phonons(self) -> None:
        """Served phonons are complete; without the status ok there is no value."""
        if self.phonon_status not in ("", "ok") and not self.phonon_status.startswith("failed: "):
            raise InputError("phonon_status", self.phonon_status, 'ok, "failed: why", or empty')
        value, sigma = self.debye_temperature_K, self.debye_temperature_sigma_K
        served = self.phonon_status == "ok"
        if served and not (value > 0 and sigma >= 0 and self.phonon_bands_THz.size):
            raise CheckError("phonons with status ok need bands and a positive Debye temperature with its uncertainty")
        if not served and not (math.isnan(value) and math.isnan(sigma) and not self.phonon_bands_THz.size):
            raise InputError("debye_temperature_K", value, "values of phonons only with phonon_status ok")
