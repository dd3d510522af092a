"""Do the computed forces point where the microscope saw the atoms go? Term by term, with a probability.

For each surface hop (current along it), and where the surface is anisotropic for the drift under a current along its axes
(`emforce.drift`), of a metal whose drift was observed (`emforce.models.companions.OBSERVED`), each diameter and each term

    wind            K/rho(d, T) alone
    direct          Z_direct alone; it does not depend on the wire
    total           Z* = Z_direct + K/rho(d, T), with the computed direct part and with each model of it

the value with its standard uncertainty, and the probability that its sign is the observed one: the value is taken as normal
with that uncertainty. Where Z_direct is an interval there are two probabilities, for its two ends. As everywhere in emforce one
standard uncertainty decides: "as observed" or "against" where the sign holds over it, "undecided" else. Which part of the
uncertainty is the largest, and so what would decide, is said beside it.

Z > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..best import hop_of
from ..errors import InputError
from ..evaluate import DIRECT_MODELS, host_of
from ..physics.valence import Estimate, probability_positive
from ..record import is_average
from ..stored import Document
from ..wire_analysis import WireQuestion, wire_rows
from .companions import OBSERVED

#: probability of a sign that holds over one standard uncertainty
DECIDED = probability_positive(Estimate(1.0, 1.0))
TERMS = ("wind", "direct", "total")


@dataclass(frozen=True)
class Finding:
    """One term of one hop in one wire.

    Attributes
    ----------
    metal, facet, hop, site, preset : which hop; site "hop average": current along the hop, "drift [001]": along that direction
    observed : "upwind" or "downwind"
    term : of TERMS
    direct_model : of the total: dft (computed), nominal or drude (models); "" for the wind, dft for the direct part
    temperature_K : of rho
    diameter_nm : None for the bulk, and for the direct part, which does not depend on it
    low, high : the value minus and plus its standard uncertainty; where the direct part is an interval, its ends likewise
    value, sigma : None where the direct part is an interval
    probability_low, probability_high : that the sign is the observed one; equal where there is a value
    largest_part : name of the largest part of the uncertainty, with its share of the variance; "" where unknown
    turns_at_eV : the smallest shift of E_F, either way, that turns the sign, from the stored K(E); None: none within the
        stored energies, or the term has no value or no K(E). `reach_eV` : how far the stored energies go, both ways
    """

    metal: str
    facet: str
    hop: str
    site: str
    preset: str
    observed: str
    term: str
    direct_model: str
    temperature_K: float
    diameter_nm: float | None
    low: float
    high: float
    value: float | None
    sigma: float | None
    probability_low: float
    probability_high: float
    largest_part: str
    turns_at_eV: float | None = None
    reach_eV: float | None = None

    @property
    def verdict(self) -> str:
        """as observed, against, or undecided."""
        if self.probability_low >= DECIDED:
            return "as observed"
        return "against" if self.probability_high <= 1 - DECIDED else "undecided"

    def document(self) -> Document:
        """All fields and the verdict, for JSON and CSV."""
        return {**self.__dict__, "verdict": self.verdict}


def findings(
    rows: Iterable[Mapping[str, Any]], hosts: Mapping[int, Mapping[str, Any]], asked: WireQuestion
) -> tuple[list[Finding], list[str]]:
    """Every term of hop averages and drifts on surfaces of the observed metals, the bulk first; notes on what was left out.

    Parameters
    ----------
    rows : stored rows, joined per hop (`emforce.best`)
    hosts : rows of the hosts by their id
    asked : temperatures, diameters and the wire; its direct models are not used, all are shown

    Raises
    ------
    InputError : more than one specularity or reflection: a verdict is about one kind of wire
    """
    for name in ("specularities", "reflections"):
        if len(getattr(asked, name)) != 1:
            raise InputError(name, getattr(asked, name), "one value for the verdict")
    found: list[Finding] = []
    notes: list[str] = []
    question = WireQuestion(asked.temperatures_K, tuple(sorted(asked.diameters_nm, reverse=True)), asked.specularities,
                            asked.reflections, asked.grain_size_nm, DIRECT_MODELS)
    stored = list(rows)
    first = {hop: n for n, hop in enumerate(dict.fromkeys(map(hop_of, stored)))}
    for row in sorted(stored, key=lambda row: first[hop_of(row)]):  # the drifts of a hop behind it
        if row["metal"] not in OBSERVED or row["facet"] == "bulk" or not is_average(str(row["site"])):
            continue
        wires, said = wire_rows([row], hosts, question)
        notes += said
        if host_of(row, hosts) is not None:
            found += sorted(_of_hop(row, wires), key=lambda f: (f.temperature_K, f.term == "direct"))
    return found, notes


def _of_hop(row: Mapping[str, Any], wires: Sequence[Document]) -> Iterator[Finding]:
    bulk_first = sorted(wires, key=lambda w: -(w["wire_diameter_nm"] or math.inf))
    direct_said: set[float] = set()
    for wire in bulk_first:
        wind = Estimate(wire["z_wind"], wire["z_wind_sigma"] or 0.0)
        rho, model = wire["rho_uohm_cm"], wire["direct_model"]
        if model == "none":
            yield _finding(row, wire, ("wind", ""), (wind, wind), _largest(_wind_parts(row, rho)), _turns(row, rho, 0.0))
            continue
        computed = model == "dft"
        ends = _direct_ends(row, wire)
        if ends is None:
            continue
        if computed and wire["temperature_K"] not in direct_said:
            direct_said.add(wire["temperature_K"])
            yield _finding(row, {**wire, "wire_diameter_nm": None}, ("direct", "dft"), ends, _largest(_direct_parts(row)))
        totals = [Estimate(end.value + wind.value, math.hypot(end.sigma, wind.sigma)) for end in ends]
        parts = _wind_parts(row, rho) | (_direct_parts(row) if computed else {})
        turns = _turns(row, rho, ends[0].value) if ends[0] == ends[1] else (None, None)
        yield _finding(row, wire, ("total", model), (totals[0], totals[1]), _largest(parts), turns)


def _direct_ends(row: Mapping[str, Any], wire: Document) -> tuple[Estimate, Estimate] | None:
    """The direct part of a wire's row twice, or the two ends of its interval; None: not computed."""
    if wire["z_direct_used"] is not None:
        value = Estimate(wire["z_direct_used"], wire["z_direct_used_sigma"] or 0.0)
        return value, value
    low, high = row.get("z_direct_low"), row.get("z_direct_high")
    if wire["direct_model"] != "dft" or low is None or high is None:
        return None
    return Estimate(low), Estimate(high)


def _finding(
    row: Mapping[str, Any], wire: Document, which: tuple[str, str], ends: tuple[Estimate, Estimate], largest: str,
    turns: tuple[float | None, float | None] = (None, None),
) -> Finding:
    observed = OBSERVED[row["metal"]]
    chances = sorted(probability_positive(end) if observed == "upwind" else 1 - probability_positive(end) for end in ends)
    one = ends[0] == ends[1]
    return Finding(
        metal=row["metal"], facet=row["facet"], hop=row["hop"], site=row["site"], preset=row["preset"], observed=observed,
        term=which[0], direct_model=which[1], temperature_K=wire["temperature_K"], diameter_nm=wire["wire_diameter_nm"],
        low=min(e.value - e.sigma for e in ends), high=max(e.value + e.sigma for e in ends),
        value=ends[0].value if one else None, sigma=ends[0].sigma if one else None,
        probability_low=chances[0], probability_high=chances[1], largest_part=largest,
        turns_at_eV=turns[0], reach_eV=turns[1],
    )  # fmt: skip


def _turns(row: Mapping[str, Any], rho_uohm_cm: float, direct: float) -> tuple[float | None, float | None]:
    """Where Z_direct + K(E)/rho changes its sign next to E_F, by straight lines between the stored energies, and their reach."""
    energies, forces = row.get("energies_eV"), row.get("k_of_energy_uohm_cm")
    if energies is None or forces is None or len(energies) < 2:
        return None, None
    e, z = np.asarray(energies, dtype=float), direct + np.asarray(forces, dtype=float) / rho_uohm_cm
    crossings = [a + (b - a) * y / (y - z_b) for a, b, y, z_b in zip(e, e[1:], z, z[1:], strict=False) if y * z_b < 0]
    crossings += [float(x) for x in e[z == 0]]
    return (float(min(crossings, key=abs)) if crossings else None), float(min(-e[0], e[-1]))


def _wind_parts(row: Mapping[str, Any], rho_uohm_cm: float) -> dict[str, float]:
    """Parts of sigma(K)/rho."""
    parts = row.get("k_wind_sigma_parts_uohm_cm") or {}
    return {f"wind: {name}": value / rho_uohm_cm for name, value in parts.items() if value is not None}


def _direct_parts(row: Mapping[str, Any]) -> dict[str, float]:
    """Parts of the uncertainty of the direct part; of an interval, half its length beside the rest."""
    parts = {f"direct: {name}": value for name, value in (row.get("z_direct_sigma_parts") or {}).items() if value is not None}
    low, high = row.get("z_direct_low"), row.get("z_direct_high")
    if row.get("z_direct") is None and low is not None and high is not None and not parts:
        parts = {"direct: interval": (high - low) / 2}
    return parts


def _largest(parts: Mapping[str, float]) -> str:
    total = sum(value * value for value in parts.values())
    if not total > 0:
        return ""
    name = max(parts, key=lambda n: abs(parts[n]))
    return f"{name} ({100 * parts[name] ** 2 / total:.0f} %)"


__all__ = ["DECIDED", "TERMS", "Finding", "findings"]
