"""What a calculation hands over: `Record` (one number of one hop) and `Host` (one host and its check).

Both are frozen, checked on construction, and turn into a JSON-able document and back without losing a bit.
The names of their fields are the stored keys of `emforce.keys`.

Sign: F = e Z E. Z > 0 and K > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import CheckError, InputError
from .keys import HOST_KEYS, KEYS, Key
from .stored import SYMBOL, Array, Check, Stored

SITES = "initial, saddle, final, s=<fraction>, hop average"
#: what the provenance of a served record must hold
PROVENANCE = (
    "emforce",
    "gpaw",
    "ase",
    "numpy",
    "python",
    "settings_hash",
    "structure_hash",
    "git_commit",
    "created",
    "host_check",
    "rho_source",
)
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
HOP_AVERAGE = "hop average"
_SITE = re.compile(r"initial|saddle|final|hop average|s=(0(\.\d+)?|1(\.0+)?)")
_NAN = math.nan


def quadrature(parts: Mapping[str, float]) -> float:
    """sqrt(sum of squares) of the parts that were estimated; nan when there is none."""
    known = [value for value in parts.values() if not math.isnan(value)]
    return math.hypot(*known) if known else _NAN


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


def preset_label(preset: str, overrides: Mapping[str, object]) -> str:
    """Name of a preset with its overridden fields, so that "quick" always means the file as shipped."""
    if not overrides:
        return preset
    changed = ", ".join(f"{name}={overrides[name]}" for name in sorted(overrides))
    return f"{preset} ({changed})"


@dataclass(frozen=True, eq=False)
class Record(Stored):
    """The wind-force constant of one image of one hop, or its average along the hop.

    Z_wind(T) = K/rho(T) is not stored: it is evaluated when asked for. Units are in the names; nan: not
    computed.

    Parameters
    ----------
    spec, metal, facet, defect, hop, site, species, preset, method : the identity, see `emforce.keys`
    basis : name of the LCAO basis
    fraction : position on the hop, 0..1; nan for the hop average
    k_wind_uohm_cm : d̂·K·d̂ at a site; the path average for the hop average
    k_wind_sigma_uohm_cm : its standard uncertainty; when left out, the parts in quadrature
    k_wind_sigma_parts_uohm_cm : named parts, those of `SIGMA_PARTS` and others, >= 0;
        nan: not estimated, kept and shown as such
    k_tensor_uohm_cm : (3, 3), [force axis, field axis]
    hop_vector_angstrom : (3,), from the initial to the final site
    energies_eV, k_of_energy_uohm_cm : (n,) each, K along the hop at energies relative to E_F
    residual_force_eV_per_angstrom : largest force left on a relaxed degree of freedom
    status : one of `STATUSES`; only "ok" is served
    reason : why not ok
    checks : checks of this number; all pass when the status is ok
    provenance : JSON-able mapping with at least the names in `PROVENANCE`

    Raises
    ------
    InputError : a field that is not allowed
    CheckError : status ok, but a check fails, the number is missing, or parts do not add up
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
    hop_vector_angstrom: Array = field(default_factory=lambda: np.full(3, _NAN))
    energies_eV: Array = field(default_factory=lambda: np.zeros(0))
    k_of_energy_uohm_cm: Array = field(default_factory=lambda: np.zeros(0))
    residual_force_eV_per_angstrom: float = _NAN
    status: str = "ok"
    reason: str = ""
    checks: tuple[Check, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def _keys(cls) -> tuple[Key, ...]:
        return KEYS

    def __post_init__(self) -> None:
        parts = dict.fromkeys(SIGMA_PARTS, _NAN)
        parts |= {str(name): float(value) for name, value in self.k_wind_sigma_parts_uohm_cm.items()}
        for name, value in parts.items():
            if value < 0 or math.isinf(value):
                raise InputError(f"uncertainty part {name}", value, "a number >= 0, or nan: not estimated")
        object.__setattr__(self, "k_wind_sigma_parts_uohm_cm", parts)
        if math.isnan(self.k_wind_sigma_uohm_cm):
            object.__setattr__(self, "k_wind_sigma_uohm_cm", quadrature(parts))
        self._freeze("k_tensor_uohm_cm", (3, 3))
        self._freeze("hop_vector_angstrom", (3,))
        self._freeze("energies_eV", (None,))
        self._freeze("k_of_energy_uohm_cm", self.energies_eV.shape)
        super().__post_init__()
        self._match("site", _SITE, SITES)
        self._match("species", SYMBOL, "a chemical symbol")
        if not math.isnan(self.fraction) and not 0 <= self.fraction <= 1:
            raise InputError("fraction", self.fraction, "0 to 1")

    def _may_be_served(self, checks: tuple[Check, ...]) -> None:
        super()._may_be_served(checks)
        problems = [str(check) for check in self.consistency() if not check.passed]
        if problems:
            raise CheckError(f"a record with status ok does not hold together: {'; '.join(problems)}")

    def consistency(self) -> tuple[Check, ...]:
        """What must hold between the fields of a served record."""
        parts = quadrature(self.k_wind_sigma_parts_uohm_cm)
        size = max(abs(self.k_wind_uohm_cm), 1.0)
        finite = math.isfinite(self.k_wind_uohm_cm) and math.isfinite(self.k_wind_sigma_uohm_cm)
        missing = [name for name in PROVENANCE if not self.provenance.get(name)]
        found = [
            Check("K and sigma are finite", float(finite), 1.0, ">="),
            Check(
                "sigma = parts in quadrature",
                abs(self.k_wind_sigma_uohm_cm - parts),
                1e-9 * max(parts, 1.0),
                "<=",
                "µΩ cm",
            ),
            Check(
                f"provenance is complete{', missing ' + ', '.join(missing) if missing else ''}",
                float(len(missing)),
                0.0,
            ),
        ]
        projected = along(self.k_tensor_uohm_cm, self.hop_vector_angstrom)
        if self.site != HOP_AVERAGE and math.isfinite(projected):
            # a hop average follows the tangent of the path, so only a site obeys K = d̂·K·d̂
            found.append(Check("K = d̂·K·d̂", abs(projected - self.k_wind_uohm_cm), 1e-6 * size, "<=", "µΩ cm"))
        return tuple(found)


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
    checks: tuple[Check, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def _keys(cls) -> tuple[Key, ...]:
        return HOST_KEYS

    def __post_init__(self) -> None:
        self._freeze("path", (None,))
        for name in ("bands_lcao_eV", "bands_plane_wave_eV"):
            bands = np.array(getattr(self, name), dtype=float)
            if bands.size == 0:
                object.__setattr__(self, name, bands.reshape(0, 0))
            self._freeze(name, (len(self.path) if bands.size else 0, None))
        ticks = tuple((float(distance), str(name)) for distance, name in self.path_ticks)
        object.__setattr__(self, "path_ticks", ticks)
        super().__post_init__()
