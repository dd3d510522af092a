"""The main job: from specifications to stored records. Reads like the method section: structures, steps, values, records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from emforce.campaign import Campaign, Placement
from emforce.database import Database
from emforce.errors import InputError
from emforce.hop import Hop
from emforce.hop_records import Prepared, records, relaxed_folder
from emforce.lift import placed
from emforce.plan import plan
from emforce.record import Record
from emforce.relaxed import Source, relaxed_source
from emforce.settings import Settings, load_settings
from emforce.store import Store
from emforce.structure import built_hop
from emforce.variations import add_with_variations


def load_hops(spec_paths: Sequence[Path], *, preset: str, overrides: Mapping[str, object]) -> list[Hop]:
    """Structures of specifications as a preset builds them, relaxed where relaxed structures are at hand."""
    settings = load_settings(preset, overrides)
    return [_hop(path, settings)[0] for path in spec_paths]


def _hop(path: Path, settings: Settings) -> tuple[Hop, Source | None]:
    hop = built_hop(path, settings)
    source = relaxed_source(hop, relaxed_folder(hop, settings), settings.dft.functional)
    return placed(hop, source, settings), source


def run(
    spec_paths: Sequence[Path],
    *,
    preset: str,
    overrides: Mapping[str, object],
    workers: int | None,
    database: str | None,
    store: Path,
    cluster: str = "local",
) -> list[Record]:
    """Compute and store the wind force of every specification; returns the records, failed ones included.

    `cluster` names a profile or its file; `workers`: steps at the same time (batch systems: jobs), None for the profile's.

    Raises
    ------
    InputError before anything is written when a specification, a setting or a profile is not allowed
    StoreError when the disk is full; CampaignCancelled when somebody stopped it: finished steps are kept, no record is written
    """
    prepared = prepare(spec_paths, load_settings(preset, overrides))
    return compute(prepared, Placement(cluster, workers, tuple(map(str, spec_paths))), store=store, database=database)


def prepare(spec_paths: Sequence[Path], settings: Settings) -> list[Prepared]:
    """Hops of specifications with the graph of steps that computes each of them; nothing is written.

    Raises
    ------
    InputError when a specification is not allowed, two have one name, or a hop does not reach from end to end
    """
    prepared = []
    for path in spec_paths:
        hop, source = _hop(path, settings)
        _check_reach(hop)
        prepared.append(Prepared(hop, settings, plan(hop, settings), source))
    check_names([item.hop for item in prepared])
    return prepared


def check_names(hops: Sequence[Hop]) -> None:
    """Raises `InputError` where two specifications of one campaign have the same name."""
    names = [hop.spec.name for hop in hops]
    if len(set(names)) < len(names):
        raise InputError("SPEC", names, "specifications with different names")


def compute(prepared: Sequence[Prepared], place: Placement, *, store: Path, database: str | None) -> list[Record]:
    """Run what is not in the store, of all hops in one campaign; store and return the records of each, in their order.

    Raises
    ------
    InputError before anything is written when the profile is not allowed; StoreError, CampaignCancelled as `run`
    """
    place.check()
    disk = Store(store)
    with Database(database, create=True) as rows:
        failed = _compute(prepared, disk, place)
        found = []
        for item in prepared:
            made, host = records(item, disk, failed)
            if host is not None:
                rows.add_host(host)
            found += add_with_variations(rows, made)
    return found


def _check_reach(hop: Hop) -> None:
    """The average along the hop needs points from end to end, or half of them where the way back mirrors the way there."""
    fractions = [image.fraction for image in hop.images]
    needed = (0.0, 0.5) if hop.symmetric else (0.0, 1.0)
    if min(fractions) > needed[0] + 1e-6 or max(fractions) < needed[1] - 1e-6:
        raise InputError("images", fractions, f"points of the hop that reach from {needed[0]:g} to {needed[1]:g}")


def _compute(prepared: Sequence[Prepared], store: Store, place: Placement) -> dict[str, str]:
    """Run what is not finished; returns the reasons of failed steps by name."""
    with Campaign(store, place) as campaign:
        return campaign.compute([step for item in prepared for step in item.plan.last()])


def status(store: Path) -> list[str]:
    """Lines that say what the store holds: finished steps by kind with their time, and damage that was found."""
    folder = Path(store) / "steps"
    if not folder.is_dir():
        return [f"{store}: no step has been run"]
    import json

    kinds: dict[str, list[float]] = {}
    for meta in folder.glob("[!.]*/meta.json"):
        data = json.loads(meta.read_text(encoding="utf-8"))
        kinds.setdefault(data["kind"], []).append(float(data["seconds"]))
    lines = [f"{store}: {sum(map(len, kinds.values()))} finished steps"]
    lines += [f"  {kind}: {len(t)} finished, {sum(t) / 60:.1f} min in all" for kind, t in sorted(kinds.items())]
    partial = Path(store) / "partial"
    running = sorted(p.name for p in partial.iterdir()) if partial.is_dir() else []
    if running:
        lines.append(f"  {len(running)} under way or left by a killed process: {', '.join(running)}")
    damaged = Path(store) / "damaged.log"
    if damaged.is_file():
        lines.append(f"  damaged steps that were removed: {damaged}")
    return lines


__all__ = ["Prepared", "built_hop", "check_names", "compute", "load_hops", "prepare", "relaxed_folder", "run", "status"]
