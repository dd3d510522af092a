"""The heat of transport: from specifications and what is stored about their hops to stored records.

K(eps) and Z* come from the rows of `emforce run`, barrier and moving atoms from those of `emforce kinetics`; what is computed
here is the transport function of the bulk host, and the thermal integrals. With dft.spin_orbit K(eps) and host are those of
spinors; direct valence and kinetics are without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emforce.basis import basis_name
from emforce.best import best_of_each, hop_of, rank
from emforce.campaign import Campaign, Placement
from emforce.database import Condition, Database
from emforce.errors import EmforceError, InputError
from emforce.heat_jobs import transport_step
from emforce.heat_records import HeatInput, failures, grid, records
from emforce.heat_slabs import FEWEST, other_slabs
from emforce.heat_variations import other_settings
from emforce.keys import BY_NAME
from emforce.plan import bulk_step
from emforce.record import HOP_AVERAGE, Record
from emforce.settings import Settings, load_settings, preset_label
from emforce.spec import Spec
from emforce.spin_orbit_jobs import spin_orbit_step
from emforce.steps import Document, cost
from emforce.store import Store
from emforce.structure import load_spec

#: sections of the settings that change nothing about K(eps)
_OWN = ("heat.", "kinetics.", "phonons.")
#: the direct valence of a row
_DIRECT = ("z_direct", "z_direct_sigma", "z_direct_low", "z_direct_high")


@dataclass(frozen=True)
class Where:
    """Database, store, and where steps run."""

    database: str | None
    store: Path
    place: Placement


def heat(spec_paths: Sequence[Path], settings: Settings, where: Where) -> list[Record]:
    """Compute and store the heat of transport of every specification; returns the records, failed ones included.

    Raises
    ------
    InputError before anything is computed when a specification has no stored K(eps) of this preset and basis
    """
    where.place.check()
    with Database(where.database) as rows:
        items = [_input(load_spec(path), settings, rows) for path in spec_paths]
    store = Store(where.store)
    with Campaign(store, where.place) as campaign:
        failed = campaign.compute([step for item in items for step in item.steps])
    found = [record for item in items for record in _made(item, store, failed)]
    with Database(where.database) as rows:
        for record in found:
            rows.add(record)
    return found


def _made(item: HeatInput, store: Store, failed: Mapping[str, str]) -> list[Record]:
    bulk = item.transport.needs["bulk"]
    reason = next((failed[step.name] for step in item.steps if step.name in failed), None)
    if reason is not None:
        return failures(item, reason)
    first, second = store.find(bulk.kind, bulk.key), store.find(item.transport.kind, item.transport.key)
    if first is None or second is None:
        raise EmforceError("the transport function was computed but is gone from the store; run the same command again")
    spent = cost([item.transport], store)
    made = records(item, first.values, second.values)
    return [replace(record, provenance={**record.provenance, "cost": spent}) for record in made]


def _input(spec: Spec, settings: Settings, database: Database) -> HeatInput:
    """The stored rows that a specification needs, and the step that is to be run."""
    grid(spec.metal, settings)  # bad temperatures are known before anything runs
    same = [Condition(BY_NAME[name], "=", (value,)) for name, value in (("spec", spec.name), ("metal", spec.metal))]
    stored = [row for row in database.rows(same) if (row["facet"], row["hop"]) == (spec.facet, spec.hop)]
    label = preset_label(settings.preset, {k: v for k, v in settings.overrides if not k.startswith(_OWN)})
    basis = basis_name(spec.metal, settings.dft.recipe)
    wind = [row for row in stored if (row["preset"], row["basis"]) == (label, basis) and row["k_wind_uohm_cm"] is not None
            and len(row["k_of_energy_uohm_cm"] or ()) >= FEWEST]
    if not wind:
        raise InputError("SPEC", spec.name, f"one whose wind force is stored with preset {label} and basis {basis} (emforce run)")
    newest = {str(row["site"]): row for row in sorted(wind, key=lambda row: int(row["id"]))}
    ordered = sorted(newest.values(), key=lambda row: 2.0 if row["fraction"] is None else float(row["fraction"]))
    rows = tuple(_with_direct(row, stored) | {"other_slabs": other_slabs(row, stored),
                                              "other_settings": other_settings(row, stored)} for row in ordered)
    bulk = bulk_step(spec.metal, settings)
    step = transport_step(bulk, settings.heat, spin_orbit_step(bulk) if settings.dft.spin_orbit else None)
    return HeatInput(settings, rows, _kinetics(stored, rows[0], label), step)


def _with_direct(row: Document, stored: Sequence[Document]) -> Document:
    """The row, where it has no direct valence with that of the best row of the same hop and site, and the id of the lender."""
    if _has_direct(row):
        return {**row, "direct_row": row["id"]}
    held = [other for other in stored if other["site"] == row["site"] and other["status"] == "ok" and _has_direct(other)]
    lender = best_of_each(held, "direct").get(hop_of(row))
    if lender is None:
        return {**row, "direct_row": None}
    return {**row, **{name: lender[name] for name in _DIRECT}, "direct_row": lender["id"]}


def _has_direct(row: Document) -> bool:
    return row["z_direct"] is not None or row["z_direct_low"] is not None


def _kinetics(stored: Sequence[Document], like: Document, label: str) -> Document | None:
    """The row of the kinetics of the same hop: of this preset if there is one, else the best."""
    held = [row for row in stored if hop_of(row) == hop_of(like) and row["site"] == HOP_AVERAGE and row["barrier_eV"] is not None
            and "reaction_atoms" in (row["kinetics_details"] or {})]
    return min(held, key=lambda row: (row["preset"] != label, rank(row, "kinetics")), default=None)


def run(spec_paths: Sequence[Path], preset: str, overrides: Mapping[str, object], where: Where) -> list[Record]:
    """`heat` with the settings of a preset.

    Raises
    ------
    InputError : a specification, a setting or a profile that is not allowed, or nothing stored to start from
    """
    return heat(spec_paths, load_settings(preset, overrides).as_relaxed(), where)


__all__ = ["Where", "heat", "run"]
