"""Parts of an uncertainty that come from the same hop computed with other settings: functional, supercell, basis and others.

    emforce run structures/w110-adatom.toml --set dft.functional=LDA

stores rows of their own. They also measure what the functional leaves open in the rows without that change: those get the
part `functional`, sigma = |K(LDA) - K|, and likewise for Z_direct. Only one field of `PARTS` may differ, everything else of
the preset's label, the method, and whether the structures were relaxed are the same; of several such rows the largest change
counts. It does not matter which of the rows was computed first. Of two supercells or two bases either measures the part of the
other.

Rows that differ in the thickness of the embedding slab alone measure the part `thickness`, |D| L'/sqrt(L^2 + L'^2) with their
difference D (`emforce.thickness`), as far as it is more than `layers`, the same of the two slabs of one calculation:
sqrt(D^2 L'^2/(L^2 + L'^2) - layers^2). Together they are the larger of the two.

Rows of kinetics get parts of these kinds in the same way: of barrier, attempt frequency, formation energy, E_a and D0. Sigma of
the last two, which are made of the others, has the part `numerical`, all of it that is not from other rows, beside them. Their
parts `cell` and `layers`, null for want of another row, give way to `supercell` where a row varies them.

Rows of an adatom moved off its height measure the part `mover_height` (`emforce.lift`), as far as it is more than `geometry`.

Of hop averages, and of drifts, which are averages too, that do not rest on the same points of the hop, the averages over the
points that both have are compared; so is a drift with rows that have the points but no drift of their own.

Of a surface whose states were compared with plane waves (`emforce.surface_states`) K gets the part `surface_states`: the larger
change of K(E) from E_F to E_F +- their rms error there, as far as it is more than `fermi_energy`, the same with the error of E_F.

A part that a row lacks is lent to it by a row that it converges further, or that is in another basis, or of which it computes
more: that of quick (structure.thick_layers=(16, 12)) gets the functional from quick and quick (dft.functional=LDA). No sigma is
to be smaller than another for want of a part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emforce.database import Condition, Database
from emforce.errors import InputError
from emforce.keys import BY_NAME
from emforce.lift import lift_between, misplacement_A
from emforce.physics.wind import hop_average
from emforce.record import HOP_AVERAGE, Record, drift_direction, is_average, quadrature
from emforce.refinement import BASIS, COUPLING, FUNCTIONAL, OTHERWISE, TOLERANCE, refinement
from emforce.settings import preset_fields, preset_label, settings_of
from emforce.stored import none_for_nan
from emforce.surface_states import SurfaceStates, find
from emforce.thickness import SLAB, other_layers, share

#: the part of another cell
SUPERCELL = "supercell"
#: the fields of the cell, and what a row of kinetics states as not varied (null): a null that goes once a row varies the field
ANSWERS = {"structure.slab_size": "cell", "structure.bulk_size": "cell", "structure.primitive_size": "cell",
           "structure.layers": "layers"}
#: field of the settings, and the part of sigma that a row with another value of it measures
PARTS = {
    FUNCTIONAL: "functional",
    **dict.fromkeys(ANSWERS, SUPERCELL),
    BASIS: "second_basis",
    COUPLING: "spin_orbit",
    TOLERANCE: "self_consistency",
}
#: parts of which both rows get the change, and not only the one without the overridden field
MUTUAL = (SUPERCELL, "second_basis")
#: the part that slabs of another thickness measure, and the one that a row has of its own two slabs
THICKNESS, LAYERS = "thickness", "layers"
#: the part of an adatom's height, where it is more than what the slope of all metals makes of it
HEIGHT, GEOMETRY = "mover_height", "geometry"
#: the part of an error in the energy of surface states, where it is more than what the error of E_F makes
SURFACE, FERMI = "surface_states", "fermi_energy"
#: parts that count as far as they are more than another one of the row
BEYOND = {THICKNESS: LAYERS, SURFACE: FERMI, HEIGHT: GEOMETRY}
UNRELAXED = "as built, not relaxed"
#: the value, its sigma, and where the parts of it are
_Quantity = tuple[str, str, tuple[str, ...]]
_OF_WIND: tuple[_Quantity, ...] = (
    ("k_wind_uohm_cm", "k_wind_sigma_uohm_cm", ("k_wind_sigma_parts_uohm_cm",)),
    ("z_direct", "z_direct_sigma", ("z_direct_sigma_parts",)),
)
_DETAILS = "kinetics_details"
_OF_KINETICS: tuple[_Quantity, ...] = (
    ("barrier_eV", "barrier_sigma_eV", (_DETAILS, "barrier_sigma_parts_eV")),
    ("nu0_THz", "nu0_sigma_THz", (_DETAILS, "nu0_sigma_parts_THz")),
    ("formation_energy_eV", "formation_energy_sigma_eV", (_DETAILS, "formation_energy", "sigma_parts_eV")),
    ("ea_eV", "ea_sigma_eV", (_DETAILS, "ea_sigma_parts_eV")),
    ("d0_m2_s", "d0_sigma_m2_s", (_DETAILS, "d0_sigma_parts_m2_s")),
)
#: where the parts `cell` and `layers` are
_WITH_NULLS = ((_DETAILS, "barrier_sigma_parts_eV"), (_DETAILS, "nu0_sigma_parts_THz"),
               (_DETAILS, "formation_energy", "sigma_parts_eV"))
#: part of a sigma whose own parts are not stored by name: all of it that is not from other rows
NUMERICAL = "numerical"
#: what two rows must both have, or both lack, for the difference of a quantity to be one of the same thing
_UNLIKE: Mapping[str, Callable[[Record], bool]] = {
    "ea_eV": lambda record: record.defect == "vacancy" and not math.isnan(record.formation_energy_eV),
    "d0_m2_s": lambda record: "formation_entropy" in record.kinetics_details,
}
_SAME_HOP = ("spec", "metal", "facet", "defect", "hop", "species", "method")


def varied_field(preset: str, other: str) -> str | None:
    """The field of `PARTS` by which the preset label `other` differs from `preset`; None where it is not exactly one of them."""
    name, fields = preset_fields(preset)
    other_name, other_fields = preset_fields(other)
    changed = [field for field in {**fields, **other_fields} if fields.get(field) != other_fields.get(field)]
    return changed[0] if name == other_name and len(changed) == 1 and changed[0] in PARTS else None


def with_variations(record: Record, others: Iterable[Record]) -> Record:
    """The record with the parts of its uncertainties that rows of the same hop with other settings measure.

    `others` may be of any site, and of other hops, which are left out; of several rows of one site and preset the last counts.
    `record.provenance["varied"]` has what they are from: {part: [{preset, k_wind_uohm_cm, z_direct}]}, or the quantities of
    kinetics; of another slab "share", L'/sqrt(L^2 + L'^2); and for a hop average over fewer points "points", their fractions,
    with the averages over them of the other row and ("own_...") of this one; of an adatom's height "share", the misplacement
    over the lift. A part that is lent has "lent_by", the preset of the row that it was measured on, whose values are then the
    "own_...". A record that is not served, or for which there is none, is returned as it is, without the parts that it may have
    had.
    """
    if record.status != "ok":
        return record
    same_hop = [other for other in others if all(getattr(record, name) == getattr(other, name) for name in _SAME_HOP)]
    latest = {other.preset: other for other in same_hop if other.site == record.site}
    averages = {other.preset: other for other in same_hop if drift_direction(record.site) and other.site == HOP_AVERAGE}
    found = _measured(record, (averages | latest).values(), same_hop)
    states = _surface_states(record)
    lent: dict[str, list[dict[str, Any]]] = {}
    for lender in latest.values():
        if _lends(lender, record):
            others = [other for other in latest.values() if _open_to(record, varied_field(lender.preset, other.preset))]
            if preset_fields(lender.preset)[1].get(SLAB) == preset_fields(record.preset)[1].get(SLAB):
                others += [other for other in latest.values() if other_layers(lender.preset, other.preset)]
            others += [other for other in latest.values() if lift_between(lender.preset, other.preset)]
            for part, entries in _measured(lender, others, same_hop).items():
                own = {f"own_{name}": none_for_nan(getattr(lender, name)) for name, _, _ in _quantities(record)}
                lent.setdefault(part, []).extend(own | entry | {"lent_by": lender.preset} for entry in entries)
    found = lent | found
    changed: dict[str, Any] = {}
    for name, sigma, place in _quantities(record):
        value = getattr(record, name)
        if math.isnan(value):
            continue
        kept = _own_parts(record, sigma, place)
        measured = {part: [abs(entry[name] - own) * entry.get("share", 1.0) for entry in entries
                           if entry[name] is not None and (own := entry.get(f"own_{name}", value)) is not None]
                    for part, entries in found.items()}
        largest = {part: max(changes) for part, changes in sorted(measured.items()) if changes}
        if states is not None and name == _OF_WIND[0][0]:
            largest[SURFACE] = _change_within(record, states.at_fermi_energy_eV)
        for part, of_the_row in BEYOND.items():
            if part in largest:
                known = none_for_nan(kept.get(of_the_row, 0.0)) or 0.0
                largest[part] = math.sqrt(max(largest[part] ** 2 - known ** 2, 0.0))
        parts = kept | largest
        if not parts and not _stored_parts(record, place):
            continue  # a sigma without parts, and nothing to add to it
        if place in _WITH_NULLS and SUPERCELL in largest:
            answered = _answered(record, found[SUPERCELL])
            parts = {part: size for part, size in parts.items() if part not in answered}
        changed[sigma] = quadrature(parts)
        if place[0] != _DETAILS:
            changed[place[0]] = parts
        elif largest or _stored_parts(record, place):
            changed[_DETAILS] = _with_parts(changed.get(_DETAILS, record.kinetics_details), place[1:], parts)
    origin = {k: v for k, v in record.provenance.items() if k not in ("varied", SURFACE)}
    if states is not None:
        origin[SURFACE] = {"states": len(states.energies_eV), "error_eV": round(states.at_fermi_energy_eV, 4),
                           "layers": states.layers, "origin": states.origin}
    if found:
        origin["varied"] = {part: sorted(entries, key=lambda e: (str(e["preset"]), str(e.get("lent_by", ""))))
                            for part, entries in sorted(found.items())}
    updated = replace(record, **changed, provenance=origin)
    return record if updated == record else updated


def _quantities(record: Record) -> tuple[_Quantity, ...]:
    """Those of a row of the wind force, or those of a row of kinetics."""
    return _OF_KINETICS if math.isnan(record.k_wind_uohm_cm) and not math.isnan(record.barrier_eV) else _OF_WIND


def _surface_states(record: Record) -> SurfaceStates | None:
    """What is known of the surface states of a row's host; None in bulk, where nothing is, or where the row has no K(E) there."""
    if record.facet == "bulk" or len(record.energies_eV) < 2 or _quantities(record) is not _OF_WIND:
        return None
    try:
        functional = settings_of(record.preset).dft.functional
    except InputError:  # a label of another version
        return None
    found = find(record.metal, record.facet, record.basis, functional)
    return found if found is not None and found.at_fermi_energy_eV <= float(np.abs(record.energies_eV[[0, -1]]).min()) else None


def _change_within(record: Record, error_eV: float) -> float:
    """Largest change of K from E_F to E_F +- an error."""
    at = np.interp([-error_eV, 0.0, error_eV], record.energies_eV, record.k_of_energy_uohm_cm)
    return float(np.abs(at - at[1]).max())


def _own_parts(record: Record, sigma: str, place: tuple[str, ...]) -> dict[str, float]:
    """The parts of a sigma that are not from other rows; nan for one that was not estimated."""
    parts = _stored_parts(record, place)
    if not parts and place[0] == _DETAILS:
        return {NUMERICAL: getattr(record, sigma)}
    others = (*PARTS.values(), *BEYOND)
    if place in _WITH_NULLS and SUPERCELL in parts:
        parts = dict.fromkeys(_answered(record, record.provenance.get("varied", {}).get(SUPERCELL, ()))) | dict(parts)
    return {k: math.nan if v is None else float(v) for k, v in parts.items() if k not in others}


def _answered(record: Record, entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """The parts, null otherwise, that rows of other cells have measured; `entries` as in `provenance["varied"]`."""
    varied = (varied_field(entry.get("lent_by", record.preset), entry["preset"]) for entry in entries)
    return {ANSWERS[field] for field in varied if field}


def _stored_parts(record: Record, place: tuple[str, ...]) -> Mapping[str, Any]:
    parts: Any = getattr(record, place[0])
    for name in place[1:]:
        parts = parts.get(name, {})
    return parts


def _with_parts(details: Mapping[str, Any], place: tuple[str, ...], parts: Mapping[str, float]) -> dict[str, Any]:
    """The details of a row of kinetics with the named parts of one sigma."""
    if not place:
        return {name: none_for_nan(value) for name, value in parts.items()}
    return {**details, place[0]: _with_parts(details.get(place[0], {}), place[1:], parts)}


def _measured(record: Record, others: Iterable[Record], same_hop: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """The rows that measure parts of a record's sigma, by part; see `with_variations`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for other in others:
        field = _measured_field(record, other)
        if field is not None:
            found.setdefault(PARTS[field], []).append({"preset": other.preset} | _compared(record, other, same_hop))
        for part, size in _shares(record, other).items():
            compared = {"preset": other.preset, "share": size} | _compared(record, other, same_hop)
            if settings_of(record.preset).direct != settings_of(other.preset).direct:
                compared["z_direct"] = None
            found.setdefault(part, []).append(compared)
    return found


def _shares(record: Record, other: Record) -> dict[str, float]:
    """Parts of sigma on a surface that are a share of what another row differs by, with that share."""
    if record.facet == "bulk" or _quantities(record) is not _OF_WIND or not _comparable(record, other):
        return {}
    found = {}
    layers, lift = other_layers(record.preset, other.preset), lift_between(record.preset, other.preset)
    if layers is not None:
        found[THICKNESS] = share(*layers)
    if lift is not None and not math.isnan(misplaced := misplacement_A(record)):
        found[HEIGHT] = misplaced / abs(lift)
    return found


def _lends(lender: Record, record: Record) -> bool:
    """Whether `record` is `lender`, of the same site and kind of structure, converged further, in another basis, or with more
    computed besides (force axes, a direct valence or none), or several of these.
    """
    name, fields = preset_fields(record.preset)
    lenders_name, lenders_fields = preset_fields(lender.preset)
    bases = [one.pop(BASIS, None) for one in (fields, lenders_fields)]
    lenders_fields.pop("direct.compute", None)  # without a direct valence it has no part of one to lend
    if name != lenders_name or not lenders_fields.items() <= fields.items() or not _comparable(lender, record):
        return False
    more = {field: value for field, value in fields.items() if field not in lenders_fields}
    group = "wind" if _quantities(record) is _OF_WIND else "kinetics"
    return refinement(preset_label(name, more), group) != OTHERWISE if more else bases[0] != bases[1]


def _comparable(record: Record, other: Record) -> bool:
    """Whether both are of one site and both, or neither, relaxed, and the other is served."""
    relaxed = [one.provenance.get("geometry") == UNRELAXED for one in (record, other)]
    same = other.site == record.site or (drift_direction(record.site) != "" and other.site == HOP_AVERAGE)
    return same and other.status == "ok" and relaxed[0] == relaxed[1]


def _compared(record: Record, other: Record, same_hop: Sequence[Record]) -> dict[str, Any]:
    """Values of another row to compare with, None where it has none of the same thing; see `with_variations`."""
    quantities = _quantities(record)
    names = [name for name, _, _ in quantities]
    if quantities is _OF_KINETICS:
        unlike = {name for name, of in _UNLIKE.items() if any(map(of, (record, other))) != all(map(of, (record, other)))}
        return {name: None if name in unlike else none_for_nan(getattr(other, name)) for name in names}
    points, theirs = _points(record, same_hop), _points(other, same_hop)
    if other.site == record.site and (not points or not theirs or points.keys() == theirs.keys()):
        return {name: none_for_nan(getattr(other, name)) for name in names}
    if not points or not theirs:
        return dict.fromkeys(names)
    shared = sorted(points.keys() & theirs.keys())
    symmetric = max(points) < 1 - 1e-6
    found: dict[str, Any] = {"points": shared}
    weights = record.provenance.get("drift", {}).get("weights", [])
    for prefix, rows in (("own_", points), ("", theirs)):
        for name in names:
            values = np.array([_at_point(rows[f], name, weights) for f in shared])
            try:
                found[prefix + name] = none_for_nan(hop_average(np.array(shared), values, symmetric))
            except InputError:  # they do not reach from end to end
                found[prefix + name] = None
    return found


def _at_point(point: Record, name: str, weights: Sequence[float]) -> float:
    """Value of a point that a hop average, or a drift with these weights of the field along and across the hop, rests on."""
    if not weights:
        return float(getattr(point, name))
    tensor = {"k_wind_uohm_cm": point.k_tensor_uohm_cm, "z_direct": point.z_direct_tensor}[name]
    return float(np.dot(weights, tensor[0, : len(weights)]))


def _points(average: Record, same_hop: Iterable[Record]) -> dict[float, Record]:
    """Rows of the points that a hop average or a drift rests on, by fraction; none for a row that is no average."""
    if not is_average(average.site):
        return {}
    return {round(row.fraction, 6): row for row in same_hop if row.preset == average.preset
            and row.status == "ok" and not math.isnan(row.fraction)}


def _measured_field(record: Record, other: Record) -> str | None:
    """The field that measures a part of `record`'s sigma, where it is the only difference of two rows of one hop."""
    field = varied_field(record.preset, other.preset)
    if field is None or not _comparable(record, other):
        return None
    if field == TOLERANCE and _quantities(record) is _OF_KINETICS:  # which has one of its own
        return None
    return field if _open_to(record, field) else None


def _open_to(record: Record, field: str | None) -> bool:
    """Whether a row can get the part of a field: not where it has the field overridden itself, mutual parts apart."""
    return field is not None and (field not in preset_fields(record.preset)[1] or PARTS[field] in MUTUAL)


def add_with_variations(rows: Database, records: Iterable[Record]) -> list[Record]:
    """Store records, each with what stored rows say about its parts, then the rows about which these records say something.

    Returns the records as they were stored, in their order.
    """
    made = list(records)
    stored = [with_variations(record, [*_of_hop(rows, record), *made]) for record in made]
    for record in stored:
        rows.add(record)
    for record in {tuple(getattr(record, name) for name in _SAME_HOP): record for record in stored}.values():
        same_hop = _of_hop(rows, record)
        for older in same_hop:
            updated = with_variations(older, same_hop)
            if updated is not older:
                rows.add(updated)
    return stored


def _of_hop(rows: Database, record: Record) -> list[Record]:
    """Served rows of all sites of the same hop, by the same method."""
    return rows.records([Condition(BY_NAME[name], "=", (str(getattr(record, name)),)) for name in _SAME_HOP])


__all__ = ["FERMI", "HEIGHT", "PARTS", "SURFACE", "THICKNESS", "UNRELAXED", "add_with_variations", "varied_field",
           "with_variations"]
