"""Numbers of one row for a consumer: value, unit, uncertainty and source of each, or a refusal that names what is missing.

A number comes from the user, else from the row; nothing is filled in. Conventions of emforce, which every file repeats:

    F = e Z E on the atom;  Z > 0 along the field, against the electrons (upwind)
    J = -D C Q*/(k_B T²) grad T of the atoms;  Q* > 0 towards the cold end
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from ..database import Database
from ..errors import InputError
from ..keys import BY_NAME, SIGMA_OF
from ..materials import material
from ..models.drifts import stored_drifts
from ..stored import Document
from .request import NAMES, Request, Stated

SIGN = ("the force on the atom is F = e Z E; Z > 0: along the electric field, against the electrons (upwind); "
        "Z < 0: with the electrons (downwind)")
HEAT = "J = -D C Q*/(k_B T²) grad T of the atoms; Q* > 0: towards the cold end"
UNCERTAINTY = "± is one standard uncertainty; '± ?': not known; the direct models nominal and drude add none to Z*"
_ASCII = str.maketrans({"µ": "u", "Ω": "Ohm", "Å": "A", "±": "+-", "²": "^2", "³": "^3", "−": "-", "·": "*", "×": "x",
                        "ρ": "rho", "σ": "sigma", "Γ": "Gamma", "ν": "nu", "–": "-", "—": "-", "’": "'", "é": "e"})


@dataclass(frozen=True)
class Number:
    """A value in `unit` with its standard uncertainty (None: not known) and source."""

    name: str
    value: float
    unit: str
    sigma: float | None
    source: str

    @property
    def line(self) -> str:
        """One line with everything; the value reads back as the same float."""
        spread = "?" if self.sigma is None else repr(self.sigma)
        return f"{self.name} = {self.value!r} ± {spread}{' ' + self.unit if self.unit else ''} [{self.source}]"


class Parameters:
    """Takes numbers from what is stated, then from an evaluated row, and remembers which were asked for."""

    def __init__(self, row: Mapping[str, Any], stated: Mapping[str, Stated]) -> None:
        self.row, self.stated = row, stated
        self.taken: list[Number] = []
        self.missing: list[str] = []
        self.metal = str(row["metal"])
        if "rho_uohm_cm" in stated and "z_star" not in stated:
            allowed = "together with z_star: Z_wind = K/rho of a row holds for its own rho (a wire: --wire-diameter-nm)"
            raise InputError("--set rho_uohm_cm", stated["rho_uohm_cm"].value, allowed)

    def optional(self, name: str) -> Number | None:
        """The number called `name`, if there is one."""
        found = self._stated(name) or self._stored(name)
        if found is not None and found not in self.taken:
            self.taken.append(found)
        return found

    def take(self, name: str) -> Number:
        """The number called `name`; nan, and noted as missing, where there is none."""
        return self.optional(name) or self._lacking(name)

    def derived(self, number: Number) -> Number:
        """Note a number that was made from others."""
        self.taken.append(number)
        return number

    def rho(self) -> Number:
        """Resistivity with the source that the row names."""
        return self._stated_or("rho_uohm_cm", str(self.row.get("rho_source") or ""))

    def z_star(self) -> Number:
        """Z* under the direct model asked for, which is part of its source."""
        model = {"none": "wind part alone, no direct part", "dft": "direct part: dft", "reported": "as published"}
        words = str(self.row.get("direct_model"))
        return self._stated_or("z_star", model.get(words, f"direct part: model {words}") + f", {self._origin('wind')}")

    def volume(self) -> Number:
        """Atomic volume from the measured lattice constant, unless stated."""
        stated = self.optional("omega_angstrom3")
        if stated is not None:
            return stated
        metal = material(self.metal)
        source = f"lattice constant: {metal.lattice_constants['experiment'].source}"
        return self.derived(Number("omega_angstrom3", metal.volume_per_atom("experiment"), "Å³", None, source))

    def hop_length(self) -> Number:
        """Length of the hop vector, unless stated."""
        stated, vector = self.optional("hop_angstrom"), self.row.get("hop_vector_angstrom")
        if stated is not None:
            return stated
        if not vector or None in vector:
            return self._lacking("hop_angstrom")
        length = float(np.linalg.norm(np.array(vector, dtype=float)))
        return self.derived(Number("hop_angstrom", length, "Å", None, f"hop vector, {self._origin()}"))

    def temperature(self) -> float:
        """The temperature for which the row was evaluated."""
        return float(self.row["temperature_K"])

    def check(self, consumer: str) -> None:
        """Complain of all that is missing in one line."""
        if not self.missing:
            return
        words = (f"numbers that {consumer} needs and {name_of(self.row)} does not hold: state them with --set NAME=VALUE "
                 "--source TEXT")
        if "z_star" in self.missing:
            low, high = self.row.get("z_star_low"), self.row.get("z_star_high")
            known = "" if low is None else f" (an interval is known: {low:.4g} to {high:.4g})"
            words += f"; z_star{known} also with --direct-model none, nominal or drude"
        raise InputError(", ".join(self.missing), None, words)

    def _stated_or(self, name: str, source: str) -> Number:
        found = self._stated(name) or self._stored(name, source)
        if found is None:
            return self._lacking(name)
        return self.derived(found)

    def _stated(self, name: str) -> Number | None:
        given = self.stated.get(name)
        return None if given is None else Number(name, given.value, _unit(name), given.sigma, f"stated: {given.source}")

    def _stored(self, name: str, source: str = "") -> Number | None:
        value = self.row.get(name)
        if value is None or not math.isfinite(value):
            return None
        group = BY_NAME[name].group if name in BY_NAME else ""
        group = "heat" if name == "q_star_eV" else group
        words = source or self._origin(group)
        extra = {"kinetics": "kinetics_condition", "heat": "q_condition"}.get(group)
        if extra and self.row.get(extra) and not source:
            words += f", {self.row[extra]}"
        return Number(name, float(value), _unit(name), self.row.get(SIGMA_OF.get(name, "")), words)

    def _origin(self, group: str = "") -> str:
        return origin(self.row, group)

    def _lacking(self, name: str) -> Number:
        self.missing.append(name)
        return Number(name, math.nan, _unit(name), None, "missing")


@dataclass(frozen=True)
class Content:
    """What goes into a file.

    Parameters
    ----------
    database : where more rows can be asked for
    request : what was asked
    to : name of the format
    rows : evaluated rows
    notes : what was left out, and why
    """

    database: Database
    request: Request
    to: str
    rows: tuple[Document, ...]
    notes: tuple[str, ...] = ()

    @property
    def row(self) -> Document:
        """The only row."""
        return self.rows[0]

    def parameters(self, row: Document | None = None) -> Parameters:
        """Numbers of a row (None: the only one)."""
        chosen = self.row if row is None else row
        return Parameters(chosen, self.request.stated_for(str(chosen["metal"])))

    def drifts(self, p: Parameters) -> dict[str, tuple[float, float, str]]:
        """Z* along crystal directions of the surface, as `stored_drifts`; none where Z* is stated, which is a number."""
        return {} if "z_star" in p.stated else stored_drifts(self.database, p.row, self.request.question)

    @property
    def command(self) -> str:
        """The command that makes this file."""
        return self.request.command(self.to, self.database.name)


def preface(content: Content, numbers: Iterable[Number] = (), remarks: Sequence[str] = ()) -> list[str]:
    """Lines that every file carries: signs, uncertainty, query, provenance, each number with its source, remarks."""
    lines = [f"emforce {version()}, export to {content.to}", f"Sign: {SIGN}", f"Heat of transport: {HEAT}",
             f"Uncertainty: {UNCERTAINTY}", f"Query: {content.command}"]
    lines += [line for row in content.rows for line in provenance(row)]
    lines += [f"Number: {number.line}" for number in numbers]
    lines += [f"Note: {note}" for note in (*remarks, *content.notes)]
    return lines


def provenance(row: Mapping[str, Any]) -> list[str]:
    """Where a row comes from, in a line or two."""
    made_on = f"; created {row['created']}" if row.get("created") else ""
    lines = [f"Row: {name_of(row)} at {row['temperature_K']!r} K; {origin(row)}{made_on}"]
    made = row.get("provenance") or {}
    hashes = [f"{name} {made[name]}" for name in ("git_commit", "settings_hash", "structure_hash") if made.get(name)]
    lines += [f"Provenance: {', '.join(hashes)}"] if hashes else []
    return lines


def name_of(row: Mapping[str, Any]) -> str:
    """Metal, facet, defect, hop and site."""
    return " ".join(str(row[key]) for key in ("metal", "facet", "defect", "hop", "site") if row.get(key))


def origin(row: Mapping[str, Any], group: str = "") -> str:
    """Publication of a row, or preset and method of the record that a group of its values came from."""
    if row.get("source"):
        return f"published: {row['source']}"
    joined = row.get("joined") or {}
    made = joined.get(group)
    if made is not None:
        return f"database row {made['id']}, preset {made['preset']}, {made['method']}, basis {made['basis']}"
    if joined:
        return "database rows " + ", ".join(f"{each['id']} ({name}, preset {each['preset']})" for name, each in joined.items())
    return f"database, preset {row.get('preset')}, {row.get('method')}, basis {row.get('basis')}"


def version() -> str:
    """Version of emforce."""
    return metadata.version("emforce")


def ascii_text(text: str) -> str:
    """The same in ASCII, for programs that read nothing else."""
    plain = unicodedata.normalize("NFKD", text.translate(_ASCII))
    return plain.encode("ascii", "ignore").decode()


def comments(lines: Iterable[str], mark: str, plain: bool = True) -> list[str]:
    """Comment lines, one for each line."""
    flat = (" ".join(line.split()) for line in lines)
    return [f"{mark} {ascii_text(line) if plain else line}" for line in flat]


def _unit(name: str) -> str:
    return NAMES[name][0] if name in NAMES else BY_NAME[name].unit


__all__ = ["HEAT", "SIGN", "UNCERTAINTY", "Content", "Number", "Parameters", "ascii_text", "comments", "name_of", "origin",
           "preface", "provenance", "version"]
