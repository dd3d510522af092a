"""Computed against published: what is stored about each hop and host beside every published value of the same thing.

Of a hop, each group of values is the best that is stored (`emforce.best`); a published value counts for it where metal, facet,
defect, hop and mover are the same (for a formation energy, which has no hop, the rest of these). What depends on temperature is
taken at the temperature asked for if the published value holds there, else in the middle of its temperatures. Of a host,
density of states and plasma energy stand beside those of plane waves on the same mesh, and density of states, rho lambda and
Debye temperature beside numbers of `emforce.materials`.

    difference = computed - published
    n          = difference/sigma,  sigma² = sigma_computed² + sigma_published²
    D0, D      n is of ln D: ln(computed/published) over the relative uncertainties

Where one of the two uncertainties is not stated, n is in units of the other alone and `sigma_of` says so: an upper bound of
|n|. A value that was not seen at its source (from memory) stands in fields of its own, with no difference and no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from scipy import constants

from .best import OF_DIFFUSION, best_rows, hop_of, vacancy_alone
from .evaluate import host_of, rho_lambda
from .keys import BY_NAME, HOST_KEYS, SIGMA_OF
from .materials import Sourced, material
from .query import parse
from .screening import names_of, reported_temperature, values_at
from .seebeck import published_heats
from .stored import Document

if TYPE_CHECKING:
    from .database import Database

#: short names of what can be compared, and the keys behind each
QUANTITIES: dict[str, tuple[str, ...]] = {
    "z_star": ("z_star",), "z_wind": ("z_wind",), "k_wind": ("k_wind_uohm_cm",), "barrier": ("barrier_eV",),
    "formation": ("formation_energy_eV",), "ea": ("ea_eV",), "d0": ("d0_m2_s",), "d": ("d_m2_s",), "q_star": ("q_star_eV",),
    "dos": ("dos_compared_per_eV_atom", "dos_per_eV_atom"), "omega_p": ("omega_p_compared_eV",),
    "rho_lambda": ("rho_lambda_fohm_m2",), "debye": ("debye_temperature_K",),
}  # fmt: skip
#: of a hop; it is said that nothing was found for those of the second line only
_OF_HOPS = ("z_star", "z_wind", "k_wind_uohm_cm", "barrier_eV", "formation_energy_eV", "ea_eV", "d0_m2_s", "d_m2_s", "q_star_eV")
_EXPECTED = ("z_star", "barrier_eV", "formation_energy_eV", "ea_eV", "d0_m2_s", "q_star_eV")
_EVALUATED = ("z_star", "z_wind", "d_m2_s", "q_star_eV")
#: compared by their logarithm
LOGARITHMIC = ("d0_m2_s", "d_m2_s")
PLANE_WAVES = "plane waves"
NOTHING = "no published value found"
MEMORY = "from memory, not seen at its source"
#: D(E_F) per eV and atom of gamma in mJ/(mol K2): gamma = (pi k_B)^2 N_A D/3
DOS_OF_GAMMA = 3e-3 * constants.e / (constants.N_A * (constants.pi * constants.k) ** 2)
#: of quantities, as readers know them
SYMBOLS = {
    "z_star": "Z*", "z_wind": "Z_wind", "k_wind_uohm_cm": "K_wind", "barrier_eV": "E_m", "formation_energy_eV": "E_f",
    "ea_eV": "E_a", "d0_m2_s": "D0", "d_m2_s": "D", "q_star_eV": "Q*", "dos_compared_per_eV_atom": "DOS(E_F), same mesh",
    "dos_per_eV_atom": "DOS(E_F)", "omega_p_compared_eV": "ħω_p, same mesh", "rho_lambda_fohm_m2": "ρλ",
    "debye_temperature_K": "Debye temperature",
}  # fmt: skip
_HOST_BY_NAME = {key.name: key for key in HOST_KEYS}


@dataclass(frozen=True)
class Comparison:
    """One quantity of one hop or host, as computed and as published once.

    Attributes
    ----------
    subject : name of the hop or host
    kind : "hop" or "host"
    metal, facet, defect, hop, species : of the hop; of a host its metal and facet
    preset : of the row that the computed value is from
    row : its number in the database
    quantity : name of the key, which holds the unit
    unit : in words
    temperature_K : at which both hold; None: they do not depend on it
    computed, computed_sigma : None: not computed, or (with low and high) known as an interval only
    computed_low, computed_high : the interval
    published, published_sigma : seen at a source that can be checked; None: no such value, or no sigma stated
    from_memory, from_memory_sigma : a value that was not seen at its source
    difference : computed - published; of an interval, to the nearer end, 0 inside
    ratio : computed/published
    sigmas : the difference in units of the combined standard uncertainty
    sigma_of : "both", or whose uncertainty `sigmas` is in units of: "computed alone", "published alone"
    verdict : within 1 σ, within 2 σ, beyond 2 σ; open, with the reason; inside or outside an interval; not comparable; not
        computed; the words of `NOTHING` where no published value was seen; "" for one from memory beside others that were
    method, source, seen, condition : of the published value; PLANE_WAVES: of a host, computed and not published
    verified : whether it was seen at its source; None: there is none
    """

    subject: str
    kind: str
    metal: str
    facet: str
    defect: str
    hop: str
    species: str
    quantity: str
    unit: str
    preset: str = ""
    row: int | None = None
    temperature_K: float | None = None
    computed: float | None = None
    computed_sigma: float | None = None
    computed_low: float | None = None
    computed_high: float | None = None
    published: float | None = None
    published_sigma: float | None = None
    from_memory: float | None = None
    from_memory_sigma: float | None = None
    difference: float | None = None
    ratio: float | None = None
    sigmas: float | None = None
    sigma_of: str = ""
    verdict: str = ""
    method: str = ""
    source: str = ""
    seen: str = ""
    condition: str = ""
    verified: bool | None = None

    def document(self) -> Document:
        """Names and values, in the order above."""
        return asdict(self)


@dataclass(frozen=True)
class _Published:
    """A published value: number, sigma where stated, whose it is, and whether it is of the same thing at all."""

    value: float
    sigma: float | None
    method: str
    source: str
    seen: str
    condition: str
    verified: bool
    same: bool = True


def compare(
    database: Database, filters: Sequence[str] = (), temperature_K: float = 300.0, quantities: Sequence[str] = ()
) -> tuple[list[Comparison], list[str]]:
    """All comparisons that a database allows, and notes on published values that have no computed counterpart.

    Parameters
    ----------
    filters : conditions on stored keys (`emforce.query.parse`); hosts are asked for metal, facet, basis and preset only
    temperature_K : of what depends on it, where the published value holds there
    quantities : of `QUANTITIES`; none: all

    Raises
    ------
    InputError : a filter or temperature that is not allowed
    """
    conditions = parse(filters)
    best = best_rows(database.rows(conditions))
    literature = database.rows(standing=("literature", "unverified"))
    hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
    bulk = [host for host in database.host_rows() if all(
        c.key.name in host and c.key.role == "identity" and c.holds(host[c.key.name]) for c in conditions)]
    wanted = {key for name in quantities for key in QUANTITIES[name]}
    found = [*of_hops(best, literature, hosts, temperature_K), *of_hosts(bulk)]
    if not literature:
        notes = ["the database holds no published values: `emforce reference --store` puts them in"]
    else:
        notes = [] if conditions else without_counterpart(best, literature)
    return [c for c in found if not wanted or c.quantity in wanted], notes


def of_hops(
    best: Sequence[Document], literature: Sequence[Document], hosts: Mapping[int, Mapping[str, Any]], temperature_K: float
) -> list[Comparison]:
    """Comparisons of joined hops.

    Parameters
    ----------
    best : of `best_rows`
    literature : rows of status "literature" or "unverified"
    hosts : rows of hosts by their id, for Z*
    temperature_K : see `compare`
    """
    names = names_of(best)
    found = []
    for row in best:
        subject = f"{names[hop_of(row)]}, {row['hop']}" if row["hop"] not in names[hop_of(row)] else names[hop_of(row)]
        host = host_of(row, hosts)
        here = {T: {**row, **values_at(row, T, host, [])} for T in {temperature_K, *(
            reported_temperature(theirs, temperature_K) for theirs in literature if _counts(theirs, row, "z_star"))}}
        for quantity in _OF_HOPS:
            lines = []
            for theirs in literature:
                T = reported_temperature(theirs, temperature_K)
                if _counts(theirs, row, quantity) and (reported := _reported(theirs, quantity, T)):
                    if quantity == "q_star_eV" and row["q_condition"] != theirs["q_condition"]:
                        reported = replace(reported, same=False, condition=f"{reported.condition} {theirs['q_condition']}")
                    if quantity in OF_DIFFUSION and vacancy_alone(row):
                        reported = replace(reported, same=False,
                                           condition=f"{reported.condition}; ours is that of the vacancy itself")
                    # a formation energy counts for other hops too: it needs no temperature
                    values = here.get(T, here[temperature_K])
                    if quantity != "d_m2_s" or _there(values, quantity):  # D0 and E_a say what is published where D is not ours
                        lines.append(_compared(_blank(row, subject, quantity, T), values, reported))
            if quantity == "q_star_eV" and here[temperature_K]["q_star_eV"] is not None:
                lines += [_compared(_blank(row, subject, quantity, temperature_K), here[temperature_K], heat)
                          for heat in _heats(str(row["metal"]))]
            if not lines and quantity in _EXPECTED and _there(here[temperature_K], quantity):
                lines.append(_computed(_blank(row, subject, quantity, temperature_K), here[temperature_K]))
            if not any(line.published is not None for line in lines):
                lines = [replace(line, verdict=NOTHING) for line in lines]
            found += lines
    return found


def of_hosts(hosts: Iterable[Mapping[str, Any]]) -> list[Comparison]:
    """Comparisons of bulk hosts that passed their check: with plane waves, and with published numbers of the metal."""
    rows = [host for host in hosts if host["facet"] == "bulk" and host["status"] == "ok"]
    found = []
    for host in sorted(rows, key=lambda host: (str(host["metal"]), int(host["id"]))):
        metal, several = str(host["metal"]), sum(other["metal"] == host["metal"] for other in rows) > 1
        subject = f"{metal} host" + (f", {host['basis']}, {host['preset']}" if several else "")

        def blank(quantity: str, host: Mapping[str, Any] = host, subject: str = subject) -> Comparison:
            return Comparison(subject, "host", str(host["metal"]), "bulk", "", "", "", quantity, _HOST_BY_NAME[quantity].unit,
                              preset=str(host["preset"]), row=int(host["id"]), computed=host.get(quantity))

        data = material(metal)
        for ours, theirs in (("dos_compared_per_eV_atom", "dos_plane_wave_per_eV_atom"),
                             ("omega_p_compared_eV", "omega_p_plane_wave_eV")):
            if host.get(ours) is not None and host.get(theirs) is not None:
                source = f"plane waves, {host['functional']}, computed on the same mesh for the check of the host"
                waves = _Published(float(host[theirs]), None, PLANE_WAVES, source, "", "", True)
                found.append(replace(_compared(blank(ours), host, waves), verified=None, verdict="host check passed"))
        if host.get("dos_per_eV_atom") is not None:
            off = _off(host, "dos_compared_per_eV_atom", "dos_plane_wave_per_eV_atom")
            spread = None if off is None else off * float(host["dos_per_eV_atom"])
            found.append(_sourced(replace(blank("dos_per_eV_atom"), computed_sigma=spread), data.sommerfeld_gamma, DOS_OF_GAMMA,
                                  "from the measured heat capacity, electron-phonon enhancement included", same=False))
        if host.get("rho_lambda_fohm_m2") is not None:
            spread = 1e-3 * rho_lambda(host).sigma or None
            found.append(_sourced(replace(blank("rho_lambda_fohm_m2"), computed_sigma=spread), data.rho_lambda, 0.1))
        if host.get("debye_temperature_K") is not None:
            line = replace(blank("debye_temperature_K"), computed_sigma=host.get("debye_temperature_sigma_K"))
            found.append(_sourced(line, data.debye_temperature, 1.0))
        elif host.get("phonon_status"):
            found.append(replace(blank("debye_temperature_K"), verdict="not served", condition=str(host["phonon_status"])))
    return found


def without_counterpart(best: Sequence[Document], literature: Sequence[Document]) -> list[str]:
    """Published values, seen at their source, of hops for which nothing is stored: one sentence for each hop."""
    ours = list(best)
    rows = [row for row in literature if row["status"] == "literature"
            and not any(_counts(row, other, quantity) for other in ours for quantity in _OF_HOPS if _holds(row, quantity))]
    hops: dict[str, dict[str, None]] = {}
    for row in rows:
        place = f"{row['metal']} bulk" if row["facet"] == "bulk" else f"{row['metal']}({row['facet']})"
        known = hops.setdefault(f"{place} {row['defect']}", {})
        known |= {SYMBOLS[quantity]: None for quantity in _OF_HOPS if _holds(row, quantity)}
    return [f"{hop}: {', '.join(quantities)} published, nothing computed" for hop, quantities in hops.items()]


# one comparison


def _blank(row: Mapping[str, Any], subject: str, quantity: str, temperature_K: float) -> Comparison:
    group = BY_NAME[quantity].group or ("kinetics" if quantity == "d_m2_s" else "heat" if quantity == "q_star_eV" else "wind")
    origin = (row.get("joined") or {}).get(group) or {"id": row.get("id"), "preset": row["preset"]}
    metal, facet, defect, hop, species = (str(row[name]) for name in ("metal", "facet", "defect", "hop", "species"))
    return Comparison(subject, "hop", metal, facet, defect, hop, species, quantity, BY_NAME[quantity].unit,
                      preset=str(origin["preset"]), row=origin["id"],
                      temperature_K=temperature_K if quantity in _EVALUATED else None)


def _computed(line: Comparison, values: Mapping[str, Any]) -> Comparison:
    """The line with its computed value, or its interval."""
    name = line.quantity
    value, sigma = values.get(name), _sigma(values, name)
    if value is not None:
        return replace(line, computed=value, computed_sigma=sigma)
    return replace(line, computed_low=values.get(f"{name}_low"), computed_high=values.get(f"{name}_high"))


def _compared(line: Comparison, values: Mapping[str, Any], published: _Published) -> Comparison:
    line = _computed(line, values)
    line = replace(line, method=published.method, source=published.source, seen=published.seen, condition=published.condition,
                   verified=published.verified)
    if not published.verified:
        return replace(line, from_memory=published.value, from_memory_sigma=published.sigma)
    line = replace(line, published=published.value, published_sigma=published.sigma)
    if not _there(values, line.quantity):
        return replace(line, verdict="not computed", row=None, preset="")
    line = _with_difference(line)
    return line if published.same else replace(line, sigmas=None, sigma_of="", verdict="not comparable")


def _with_difference(line: Comparison) -> Comparison:
    theirs = line.published
    assert theirs is not None
    if line.computed is None:
        low, high = line.computed_low, line.computed_high
        assert low is not None and high is not None
        apart = low - theirs if theirs < low else high - theirs if theirs > high else 0.0
        reached = abs(apart) <= (line.published_sigma or 0.0)
        return replace(line, difference=apart, verdict=f"{'inside' if reached else 'outside'} the interval")
    ours, scale = line.computed, (1.0, 1.0)
    difference = gap = ours - theirs
    if line.quantity in LOGARITHMIC:
        gap, scale = math.log(ours / theirs), (1 / ours, 1 / theirs)
    spreads = {"computed": line.computed_sigma, "published": line.published_sigma}
    known = {name: x * s for (name, x), s in zip(spreads.items(), scale, strict=True) if x is not None}
    sigma = math.hypot(*known.values())
    line = replace(line, difference=difference, ratio=ours / theirs if theirs else None)
    missing = [name for name in spreads if name not in known]
    if not sigma:
        return replace(line, verdict=f"open: no σ {' or '.join(missing) or 'above zero'}")
    n = gap / sigma
    verdict = "within 1 σ" if abs(n) <= 1 else "within 2 σ" if abs(n) <= 2 else "beyond 2 σ"
    if missing and abs(n) > 2:
        verdict = f"open: no σ {missing[0]}"
    return replace(line, sigmas=n, sigma_of="both" if not missing else f"{next(iter(known))} alone", verdict=verdict)


def _sourced(line: Comparison, number: Sourced | None, unit: float, condition: str = "", *, same: bool = True) -> Comparison:
    """A host against a number of the materials file."""
    if number is None:
        return replace(line, verdict=NOTHING)
    words = "; ".join(filter(None, (condition, number.note)))
    published = _Published(number.value * unit, None, "", number.source, number.seen, words, number.verified, same)
    values = {line.quantity: line.computed, SIGMA_OF.get(line.quantity, "sigma"): line.computed_sigma}
    done = replace(_compared(line, values, published), computed_sigma=line.computed_sigma)
    return done if number.verified else replace(done, verdict=NOTHING)


# published values


def _counts(theirs: Mapping[str, Any], row: Mapping[str, Any], quantity: str) -> bool:
    """Whether a published row is of the same thing."""
    if quantity == "formation_energy_eV":
        return all(theirs[name] == row[name] for name in ("metal", "facet", "defect", "species"))
    return hop_of(theirs) == hop_of(row)


def _holds(theirs: Mapping[str, Any], quantity: str) -> bool:
    stored = {"z_star": "z_star_reported", "z_wind": "z_wind_reported", "d_m2_s": "d0_m2_s"}.get(quantity, quantity)
    return theirs.get(stored) is not None


def _reported(theirs: Document, quantity: str, temperature_K: float) -> _Published | None:
    values = {**theirs, **values_at(theirs, temperature_K, None, [])} if quantity in _EVALUATED else theirs
    value = values.get(quantity)
    if value is None:
        return None
    origin = theirs.get("provenance") or {}
    condition = str(theirs.get("kinetics_condition") or origin.get("condition") or "")
    return _Published(float(value), _sigma(values, quantity), str(theirs["method"]), str(theirs["source"]),
                      str(origin.get("seen", "")), condition, theirs["status"] == "literature")


def _heats(metal: str) -> list[_Published]:
    """Published heats of transport of a metal: of none is it known that it holds for the same hop."""
    return [_Published(heat.q_eV, None, "", heat.source, heat.seen, f"{heat.where}, not of this hop", heat.verified, same=False)
            for heat in published_heats(metal)]


def _sigma(values: Mapping[str, Any], quantity: str) -> float | None:
    """Standard uncertainty; of D from its factor."""
    if quantity == "d_m2_s":
        factor, value = values.get("d_factor"), values.get("d_m2_s")
        return None if factor is None or value is None else float(value) * math.log(factor)
    sigma = values.get(SIGMA_OF.get(quantity, "sigma"))
    return None if sigma is None else float(sigma)


def _there(values: Mapping[str, Any], quantity: str) -> bool:
    return values.get(quantity) is not None or values.get(f"{quantity}_low") is not None


def _off(host: Mapping[str, Any], ours: str, theirs: str) -> float | None:
    """Relative distance from plane waves."""
    return abs(host[ours] / host[theirs] - 1) if host.get(ours) and host.get(theirs) else None


__all__ = ["DOS_OF_GAMMA", "LOGARITHMIC", "MEMORY", "NOTHING", "PLANE_WAVES", "QUANTITIES", "SYMBOLS", "Comparison", "compare",
           "of_hops", "of_hosts", "without_counterpart"]
