"""Z* of stored hops in thin wires: which sign, how surely, and by which term.

    Z*(T, d) = Z_direct + K/rho(d, T)      rho(d, T) of `emforce.physics.wire`, with rho lambda of the row's own host

K, Z_direct and their uncertainties come from the database, rho(T) of the bulk from `emforce.materials`; each direct part
(computed, nominal ion charge, Drude number, none) gives its own Z*. What describes the wire (specularity, reflection, grain
size) is a scenario without an uncertainty. rho lambda takes as its uncertainty the larger error of the host against plane
waves, DOS or omega_p^2, as K does for its basis. Z > 0: along the field, against the electrons (upwind).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from .errors import InputError
from .evaluate import DIRECT_MODELS, FORCE_PER_J, Situation, evaluate, host_of, rho_lambda
from .physics.valence import (
    Estimate,
    SignChange,
    effective_valence,
    force_per_current,
    probability_positive,
    sign_change,
    wind_valence,
    wire_resistivity,
)
from .physics.wire import WireModel
from .stored import Document

DIAMETERS_NM = (3.0, 5.0, 7.0, 10.0, 20.0, 50.0)
TEMPERATURES_K = (300.0, 600.0, 900.0)

#: keys of a row of `wire_rows` with their units, in the order of the output
COLUMNS: dict[str, str] = {
    "metal": "", "facet": "", "defect": "", "hop": "", "site": "", "species": "", "preset": "", "temperature_K": "K",
    "specularity": "", "reflection": "", "grain_size_nm": "nm", "wire_diameter_nm": "nm",
    "rho_uohm_cm": "µΩ cm", "rho_sigma_uohm_cm": "µΩ cm", "k_wind_uohm_cm": "µΩ cm", "k_wind_sigma_uohm_cm": "µΩ cm",
    "z_wind": "", "z_wind_sigma": "", "direct_model": "", "z_direct_used": "", "z_direct_used_sigma": "",
    "z_star": "", "z_star_sigma": "", "probability_upwind": "", "direction_total": "", "carried_by": "", "wind_share": "",
    "force_per_j_fN_m2_TA": "fN m²/TA", "force_per_j_sigma_fN_m2_TA": "fN m²/TA", "rho_source": "",
}  # fmt: skip


@dataclass(frozen=True)
class WireQuestion:
    """Wires and temperatures to look at.

    Parameters
    ----------
    temperatures_K : above 0 K and below melting
    diameters_nm : positive; the bulk is always added
    specularities, reflections : every pair is a scenario; ranges of `WireModel`
    grain_size_nm : distance of grain boundaries, or "diameter"
    direct_models : of `DIRECT_MODELS`

    Raises
    ------
    InputError : an empty list, or a value outside its range
    """

    temperatures_K: tuple[float, ...] = TEMPERATURES_K
    diameters_nm: tuple[float, ...] = DIAMETERS_NM
    specularities: tuple[float, ...] = (0.0,)
    reflections: tuple[float, ...] = (0.3,)
    grain_size_nm: float | Literal["diameter"] = "diameter"
    direct_models: tuple[str, ...] = DIRECT_MODELS

    def __post_init__(self) -> None:
        for name in ("temperatures_K", "diameters_nm", "specularities", "reflections", "direct_models"):
            if not getattr(self, name):
                raise InputError(name, (), "one value or more")
        for diameter in self.diameters_nm:
            if not 0 < diameter < math.inf:
                raise InputError("diameter", diameter, "a positive number of nm")
        for T, model in product(self.temperatures_K, self.direct_models):
            Situation(T, model)
        self.models()

    def models(self) -> list[WireModel]:
        """One wire model for each pair of specularity and reflection."""
        grain: float | Literal["diameter"] = "diameter"
        if self.grain_size_nm != "diameter":
            grain = 10 * self.grain_size_nm
        return [WireModel(p, r, grain) for p, r in product(self.specularities, self.reflections)]


@dataclass(frozen=True)
class Hop:
    """A stored hop in bulk metal at a temperature, with one direct part: what Z* in a wire follows from.

    Attributes
    ----------
    bulk : all keys of the row, evaluated in bulk
    k_wind : µΩ cm
    rho_bulk, rho_lambda : µΩ cm, µΩ cm Å
    z_direct : None: not computed, or an interval
    """

    bulk: Document
    k_wind: Estimate
    rho_bulk: Estimate
    rho_lambda: Estimate
    z_direct: Estimate | None


def hop_at(row: Mapping[str, Any], host: Mapping[str, Any], temperature_K: float, direct_model: str) -> Hop:
    """A stored row evaluated in bulk.

    Raises
    ------
    InputError : no K in the row, no rho lambda in the host, a temperature above melting or beyond the known resistivity
    """
    bulk = evaluate(row, Situation(temperature_K, direct_model), host)
    K, sigma = bulk["k_wind_uohm_cm"], bulk["k_wind_sigma_uohm_cm"]
    if K is None or sigma is None:
        raise InputError("row", f"{row['metal']} {row['hop']} {row['site']}", "a row with k_wind_uohm_cm and its sigma")
    direct = None
    if bulk["z_direct_used"] is not None:
        spread = bulk["z_direct_sigma"] if direct_model == "dft" else 0.0
        direct = Estimate(bulk["z_direct_used"], spread or 0.0)
    return Hop(
        bulk=bulk,
        k_wind=Estimate(K, sigma),
        rho_bulk=Estimate(bulk["rho_uohm_cm"], bulk["rho_sigma_uohm_cm"] or 0.0),
        rho_lambda=rho_lambda(host),
        z_direct=direct,
    )


def wire_rows(
    rows: Iterable[Mapping[str, Any]], hosts: Mapping[int, Mapping[str, Any]], asked: WireQuestion
) -> tuple[list[Document], list[str]]:
    """One row for each hop, scenario, temperature, diameter (the bulk last) and direct part; notes on what was left out.

    Parameters
    ----------
    rows : stored rows with K along the hop
    hosts : rows of the hosts by their id
    """
    found: list[Document] = []
    notes: dict[str, None] = {}
    for row, host, model, T in _cases(rows, hosts, asked, notes):
        try:
            hops = [(name, hop_at(row, host, T, name)) for name in asked.direct_models]
        except InputError as error:
            notes[f"{row['metal']} {row['hop']} at {T:g} K left out: {error}"] = None
            continue
        for diameter, (name, hop) in product([*asked.diameters_nm, math.inf], hops):
            found.append(_in_wire(hop, name, model, diameter))
    return found, list(notes)


def sign_changes(
    rows: Iterable[Mapping[str, Any]], hosts: Mapping[int, Mapping[str, Any]], asked: WireQuestion
) -> Iterator[tuple[Document, SignChange]]:
    """Where Z* changes sign with the diameter, for each hop, scenario, temperature and direct part that has a number.

    The mapping beside each holds the keys of `COLUMNS` that say which case it is.
    """
    for row, host, model, T in _cases(rows, hosts, asked, {}):
        for name in asked.direct_models:
            try:
                hop = hop_at(row, host, T, name)
            except InputError:
                continue  # `wire_rows` says so
            if hop.z_direct is not None:
                case = _in_wire(hop, name, model, math.inf)
                yield case, sign_change(model, hop.rho_bulk, hop.rho_lambda, hop.k_wind, hop.z_direct)


# pieces


def _cases(
    rows: Iterable[Mapping[str, Any]],
    hosts: Mapping[int, Mapping[str, Any]],
    asked: WireQuestion,
    notes: dict[str, None],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], WireModel, float]]:
    for row in rows:
        if row.get("k_wind_uohm_cm") is None:
            continue
        host = host_of(row, hosts)
        if host is None or not host.get("rho_lambda_fohm_m2"):
            notes[f"{row['metal']} {row['hop']} left out: no host with rho lambda is stored for it"] = None
            continue
        for model, T in product(asked.models(), asked.temperatures_K):
            yield row, host, model, T


def _in_wire(hop: Hop, direct_model: str, model: WireModel, diameter_nm: float) -> Document:
    """The columns of one case; None where the direct part has no number."""
    rho = wire_resistivity(model, hop.rho_bulk, hop.rho_lambda, 10 * diameter_nm)
    wind = wind_valence(hop.k_wind, rho)
    grain = model.grain_size
    path = f"rho lambda = {1e-3 * hop.rho_lambda.value:.3g} fΩ m² (bands of the host)"
    values: Document = {
        **hop.bulk,
        "specularity": model.specularity,
        "reflection": model.reflection,
        "grain_size_nm": "diameter" if grain == "diameter" else grain / 10,
        "wire_diameter_nm": None if diameter_nm == math.inf else diameter_nm,
        "rho_uohm_cm": rho.value,
        "rho_sigma_uohm_cm": rho.sigma or None,
        "rho_source": hop.bulk["rho_source"] if diameter_nm == math.inf else f"{path}; bulk: {hop.bulk['rho_source']}",
        "z_wind": wind.value,
        "z_wind_sigma": wind.sigma,
        "direct_model": direct_model,
        **dict.fromkeys(("z_star", "z_star_sigma", "probability_upwind", "force_per_j_fN_m2_TA",
                         "force_per_j_sigma_fN_m2_TA")),
        "z_direct_used_sigma": None if hop.z_direct is None else hop.z_direct.sigma,
        "direction_total": _interval_direction(hop, wind) if hop.z_direct is None else "",
        "carried_by": "",
        "wind_share": None,
    }  # fmt: skip
    if hop.z_direct is not None:
        star = effective_valence(hop.k_wind, rho, hop.z_direct)
        force = force_per_current(hop.k_wind, rho, hop.z_direct)
        values |= {
            "z_star": star.value,
            "z_star_sigma": star.sigma,
            "probability_upwind": probability_positive(star),
            "direction_total": _direction(star.value - star.sigma, star.value + star.sigma),
            "carried_by": carried_by(wind.value, hop.z_direct.value),
            "wind_share": wind_share(wind.value, hop.z_direct.value),
            "force_per_j_fN_m2_TA": FORCE_PER_J * force.value,
            "force_per_j_sigma_fN_m2_TA": FORCE_PER_J * force.sigma,
        }
    return {name: values[name] for name in COLUMNS}


def carried_by(wind: float, direct: float) -> str:
    """Which term gives Z* its sign: "wind", "direct", or "both" where they agree; "" for two zeros."""
    terms = {"wind": wind, "direct": direct}
    total = wind + direct
    share = [name for name, term in terms.items() if term * total > 0]
    return "both" if len(share) == 2 else "".join(share)


def wind_share(wind: float, direct: float) -> float | None:
    """|Z_wind| over |Z_wind| + |Z_direct|; None for two zeros."""
    total = abs(wind) + abs(direct)
    return abs(wind) / total if total else None


def _interval_direction(hop: Hop, wind: Estimate) -> str:
    """Direction where Z_direct is an interval or not there at all."""
    low, high = hop.bulk.get("z_direct_low"), hop.bulk.get("z_direct_high")
    if low is None or high is None:
        return "not computed"
    return _direction(low + wind.value - wind.sigma, high + wind.value + wind.sigma)


def _direction(low: float, high: float) -> str:
    return "upwind" if low > 0 else "downwind" if high < 0 else "undecided"


__all__ = ["COLUMNS", "DIAMETERS_NM", "TEMPERATURES_K", "Hop", "WireQuestion", "carried_by", "hop_at", "sign_changes",
           "wind_share", "wire_rows"]
