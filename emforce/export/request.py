"""What is asked of an export: rows, temperature, and the numbers that the user adds with their sources."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import InputError
from ..query import Question

#: what a user may state, with its unit and meaning
NAMES: Mapping[str, tuple[str, str]] = MappingProxyType({
    "z_star": ("", "effective valence of the atom, > 0 along the field"),
    "barrier_eV": ("eV", "barrier of the hop"),
    "formation_energy_eV": ("eV", "formation energy of the vacancy"),
    "nu0_THz": ("THz", "attempt frequency of the hop"),
    "hop_angstrom": ("Å", "length of the hop"),
    "d0_m2_s": ("m²/s", "prefactor of D = D0 exp(-E_a/k_BT) of the atoms"),
    "ea_eV": ("eV", "activation energy of D"),
    "d0_vacancy_m2_s": ("m²/s", "prefactor of D_v = D_v0 exp(-E_m/k_BT) of vacancies"),
    "q_star_eV": ("eV", "heat of transport of the atoms, > 0 towards the cold end"),
    "rho_uohm_cm": ("µΩ cm", "resistivity"),
    "omega_angstrom3": ("Å³", "atomic volume"),
    "modulus_GPa": ("GPa", "elastic modulus B of the line in its confinement, dC/C = -dsigma/B"),
    "gamma_J_m2": ("J/m²", "surface energy"),
    "h_cu_m": ("m", "EMspice hCu: thickness of the metal line"),
    "ta_res_ohm_m": ("ohm m", "EMspice Ta_res: resistivity of the liner"),
    "h_ta_m": ("m", "EMspice hTa: thickness of the liner"),
    "nx": ("", "EMspice nx: points of a branch"),
    "wire_length": ("", "EMspice wire_length: normalized length"),
    "t_total_s": ("s", "EMspice t_total: time of one step"),
})
#: z_star has either sign, and a heat of transport too; the others are sizes
_SIGNED = ("z_star", "q_star_eV")
_LOWER = {name.lower(): name for name in NAMES}
_STATED = re.compile(r"(?:([A-Z][a-z]?)\.)?(\w+)\s*=\s*([^#±]+?)\s*(?:(?:±|\+-)\s*([^#]+?)\s*)?(?:#\s*(.*?)\s*)?")


@dataclass(frozen=True)
class Stated:
    """A number from the user: value, standard uncertainty (None: not known) and source."""

    value: float
    sigma: float | None
    source: str

    @property
    def text(self) -> str:
        """As --set takes it."""
        spread = "" if self.sigma is None else f"±{self.sigma!r}"
        return f"{self.value!r}{spread} # {self.source}"


def parse_stated(texts: Iterable[str], source: str = "") -> dict[str, dict[str, Stated]]:
    """Numbers as "NAME=VALUE", "METAL.NAME=VALUE±SIGMA # SOURCE", by metal ("" for every metal).

    Parameters
    ----------
    source : of those that name none

    Raises
    ------
    InputError : not of this form, an unknown name, no number that can be, or no source
    """
    found: dict[str, dict[str, Stated]] = {}
    for text in texts:
        match = _STATED.fullmatch(text.strip())
        if match is None:
            raise InputError("--set", text, "NAME=VALUE or METAL.NAME=VALUE±SIGMA, with '# SOURCE' or --source")
        metal, word, number, spread, own = match.groups()
        name = _LOWER.get(word.lower())
        if name is None:
            raise InputError("--set", word, ", ".join(NAMES))
        origin = " ".join((own or source).split())
        if not origin:
            raise InputError("--source", None, f"where {name} comes from: --source TEXT, or --set '{name}=... # TEXT'")
        value = _number(name, number, positive=name not in _SIGNED)
        sigma = None if spread is None else _number(f"{name} ±", spread, positive=True)
        found.setdefault(metal or "", {})[name] = Stated(value, sigma, origin)
    return found


def _number(name: str, text: str, positive: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (positive and value <= 0):
        kind = "a positive number" if positive else "a finite number"
        raise InputError(f"--set {name}", text, f"{kind} in the unit of its name")
    return value


@dataclass(frozen=True)
class Request:
    """What is asked.

    Parameters
    ----------
    filters : conditions on the rows (`emforce.query.parse`)
    question : temperatures, direct model, wire
    stated : numbers from the user, by metal ("" for every metal)
    current_MA_cm2 : current density along the first hop, for rates under a field; None: not given
    """

    filters: tuple[str, ...] = ()
    question: Question = field(default_factory=Question)
    stated: Mapping[str, Mapping[str, Stated]] = field(default_factory=dict)
    current_MA_cm2: float | None = None

    def __post_init__(self) -> None:
        if self.current_MA_cm2 is not None and not math.isfinite(self.current_MA_cm2):
            raise InputError("--current-MA-cm2", self.current_MA_cm2, "a finite number")

    def stated_for(self, metal: str) -> dict[str, Stated]:
        """Numbers for one metal: its own before those for every metal."""
        return {**self.stated.get("", {}), **self.stated.get(metal, {})}

    def command(self, to: str, database: str) -> str:
        """The command that makes the same file, word for word, with the defaults written out."""
        q = self.question
        words = ["emforce", "export", *self.filters]
        if q.temperatures_K:
            words += ["-T", *map(repr, q.temperatures_K)]
        words += ["--to", to, "--direct-model", q.direct_model]
        words += ["--best"] * (q.which == "best") + ["--literature"] * q.literature
        if q.wire is not None:
            m = q.wire.model
            words += ["--wire-diameter-nm", repr(q.wire.diameter_nm), "--specularity", repr(m.specularity),
                      "--reflection", repr(m.reflection)]
            words += [] if m.grain_size == "diameter" else ["--grain-size-nm", repr(m.grain_size / 10)]
        if self.current_MA_cm2 is not None:
            words.append(f"--current-MA-cm2={self.current_MA_cm2!r}")
        for metal, numbers in self.stated.items():
            for name, number in numbers.items():
                words += ["--set", f"{metal + '.' if metal else ''}{name}={number.text}"]
        return shlex.join([*words, "--db", database])


__all__ = ["NAMES", "Request", "Stated", "parse_stated"]
