"""Kinetics of hops: from relaxed structures to stored barriers, attempt frequencies and diffusion coefficients.

The relaxed structures are stationary points up to the forces that the relaxation left; the start is one of the whole path, the
saddle is exact where symmetry fixes it. With the Hessian that the attempt frequency needs anyway, Newton steps x + H^-1 F take
any point to its stationary point where larger forces are left, a saddle that symmetry does not fix included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from emforce.campaign import Campaign, Placement
from emforce.database import Database
from emforce.errors import InputError
from emforce.hop import FloatArray
from emforce.kinetics_assess import Point
from emforce.kinetics_plan import (
    KineticsHop,
    Stationary,
    WholeCells,
    check_images,
    more_kpts,
    more_words,
    moved_on,
    shells_of,
    stationary_step,
    whole_cells,
    with_hessians,
)
from emforce.kinetics_records import Outcome, kinetics_record
from emforce.physics.force_constants import Hessian, hessian, hessian_rows, newton_step
from emforce.plane_wave_plan import FormationSteps, Wide, formation_steps, wide_steps
from emforce.record import Record
from emforce.relaxed import image_key, read_relaxed, relaxed_source, take_over
from emforce.settings import Settings, load_settings
from emforce.steps import Step
from emforce.store import Finished, Store
from emforce.variations import add_with_variations
from emforce.workflow import built_hop, check_names, relaxed_folder

#: longest Newton step of an atom, Angstrom
LONGEST_STEP = 0.1
#: a structure that went farther than this from where its Hessian was computed gets a new one, Angstrom
HESSIAN_REACH = 0.1

#: runs what is not finished; reasons of failed steps by name
Compute = Callable[[Sequence[Step]], dict[str, str]]


def prepare(path: Path, settings: Settings) -> KineticsHop:
    """The relaxed hop of a specification; another vacuum of its folder is carried over, Newton steps do the rest.

    Raises
    ------
    InputError where it has not been relaxed, or lacks an image
    """
    hop = built_hop(path, settings)
    check_images(hop)
    folder = relaxed_folder(hop, settings)
    source = relaxed_source(hop, folder, settings.dft.functional)
    if folder is None or source is None or source.folder != folder:
        raise InputError("SPEC", str(path), f"a relaxed hop; run `emforce relax {path} --preset {settings.preset}` first "
                         f"(nothing in {folder or 'structure.relaxed, which is empty'})")
    hop = take_over(hop, source)
    _, relaxation = read_relaxed(folder)
    keys = {f: image_key(f) for f in hop.spec.with_between().images}
    energies = {f: float(relaxation.energies_eV[k]) for f, k in keys.items() if k in relaxation.energies_eV}
    return KineticsHop(hop, settings, folder, energies, shells_of(hop, settings.kinetics.shells))


def kinetics(
    spec_paths: Sequence[Path],
    *,
    preset: str,
    overrides: Mapping[str, object],
    workers: int | None,
    database: str | None,
    store: Path,
    cluster: str = "local",
) -> list[Record]:
    """Compute and store the kinetics of every specification; returns the records, failed ones included.

    Raises
    ------
    InputError before anything is written when a specification, a setting or a profile is not allowed
    StoreError when the disk is full; CampaignCancelled when somebody stopped it: finished steps are kept, no record is written
    """
    settings = load_settings(preset, overrides).without_spin_orbit().as_relaxed()
    if settings.kinetics.k_points_steps > 1 and not settings.kinetics.k_points_check:
        raise InputError("kinetics.k_points_steps", settings.kinetics.k_points_steps, "1 where kinetics.k_points_check is false")
    items = [prepare(path, settings) for path in spec_paths]
    check_names([item.hop for item in items])
    place = Placement(cluster, workers, tuple(map(str, spec_paths)))
    place.check()
    disk = Store(store)
    with Database(database, create=True) as rows:
        with Campaign(disk, place) as campaign:
            outcomes = explore(items, disk, campaign.compute)
        return add_with_variations(rows, [kinetics_record(outcome) for outcome in outcomes])


@dataclass
class _Search:
    """A stationary point on its way."""

    item: KineticsHop
    fraction: float
    at: Stationary
    hessian: Hessian | None = None
    travelled: FloatArray | None = None
    before: float = 0.0
    newton: int = 0
    calls: int = 0
    seconds: list[float] = field(default_factory=list)
    done: bool = False


def explore(items: Sequence[KineticsHop], store: Store, compute: Compute) -> list[Outcome]:
    """Stationary points, Hessians and energies of hops."""
    searches: list[_Search] = []
    extra = {item.hop.spec.name: formation_steps(item) for item in items}
    whole = {item.hop.spec.name: whole_cells(item) for item in items}
    for item in items:
        images = [item.hop.image(f) for f in item.fractions]
        ends = with_hessians(item, {i.label: i.atoms for i in images})
        searches += [_Search(item, i.fraction, end) for i, end in zip(images, ends, strict=True)]
    beside = [step for more in (*extra.values(), *whole.values()) if more is not None for step in more.steps]
    failed = compute([step for s in searches for step in s.at.steps] + beside)
    reasons: dict[str, str] = {}
    while True:
        for search in searches:
            name = search.item.hop.spec.name
            reason = _failure(search.at.steps, failed)
            if reason:
                reasons.setdefault(name, f"{search.at.label}: {reason}")
            search.done = search.done or name in reasons
            if not search.done:
                _advance(search, store)
        waiting = [step for s in searches if not s.done for step in s.at.steps]
        if not waiting:
            break
        failed |= compute(waiting)
    last = [(s, *_last_steps(s)) for s in searches if s.item.hop.spec.name not in reasons]
    failed |= compute([step for _, wide, checks in last for step in _both(wide, checks)])
    found = []
    for item in items:
        name = item.hop.spec.name
        own = [x for x in last if x[0].item is item]
        if name in reasons:
            found.append(Outcome(item, reason=reasons[name]))
            continue
        outcome = _outcome(item, own, extra[name], failed, store)
        cells = whole[name]
        found.append(outcome if cells is None else _with_entropy(outcome, cells, failed, store))
    return found


def _with_entropy(outcome: Outcome, cells: WholeCells, failed: Mapping[str, str], store: Store) -> Outcome:
    """The outcome with the Hessians of whole cells, or a note on why there are none."""
    reason = _failure(cells.steps, failed)
    if reason:
        return replace(outcome, notes={**outcome.notes, "not computed: formation entropy": reason})
    vacancy, host = (_hessian(cell, _at_rest(cell, store), range(len(cell.atoms)), store)[0]
                     for cell in (cells.vacancy, cells.host))
    return replace(outcome, whole=(vacancy, host), whole_calls=len(cells.steps))


def _failure(steps: Sequence[Step], failed: Mapping[str, str]) -> str:
    reasons = [failed[s.name] for s in steps if s.name in failed]
    return next((r for r in reasons if not r.startswith("needs ")), reasons[0] if reasons else "")


def _read(store: Store, step: Step) -> Finished:
    found = store.find(step.kind, step.key)
    if found is None:
        raise InputError("store", step.name, f"the output of the finished step {step.title}; run the same command again")
    return found


def _advance(search: _Search, store: Store) -> None:
    """Take over what finished; done, or the next structure."""
    item, at, chosen = search.item, search.at, list(search.item.atoms)
    rest = _at_rest(at, store)
    search.calls += len(at.steps)
    if at.nudged:
        search.hessian, seconds = _hessian(at, rest, chosen, store)
        search.seconds += seconds
        search.travelled = np.zeros((len(chosen), 3))
    assert search.hessian is not None and search.travelled is not None
    force = at.group.symmetrized(rest)[chosen]
    largest = float(np.linalg.norm(force, axis=1).max())
    if search.newton == 0:
        search.before = largest
    k = item.settings.kinetics
    if largest <= k.force_tolerance_eV_per_A or search.newton >= k.newton_steps:
        search.done = True
        return
    step = newton_step(search.hessian.matrix, force, LONGEST_STEP)
    search.newton += 1
    search.travelled += step
    search.at = moved_on(item, at, step)
    if float(np.linalg.norm(search.travelled, axis=1).max()) > HESSIAN_REACH:
        (search.at,) = with_hessians(item, {at.label: search.at.atoms})


def _at_rest(at: Stationary, store: Store) -> FloatArray:
    """Forces (N, 3) of the structure as it stands, eV/Angstrom."""
    return np.array(_read(store, at.rest).values["forces"])


def _hessian(at: Stationary, rest: FloatArray, atoms: Sequence[int], store: Store) -> tuple[Hessian, list[float]]:
    """Hessian of some atoms from forces at rest and the finished displacements, and what each of these took, s."""
    finished = [_read(store, step) for step in at.nudged]
    rows = hessian_rows(at.group, at.moved, np.array([f.values["forces"] for f in finished]), rest)
    return hessian(rows, atoms), [f.seconds for f in finished]


def _last_steps(search: _Search) -> tuple[Wide | None, tuple[Step, ...]]:
    """Plane waves, and the local basis with ever more k-points, where they are wanted."""
    item, at = search.item, search.at
    k = item.settings.kinetics
    wide = wide_steps(item, at.atoms, at.label) if k.plane_wave else None
    checks = [stationary_step(item, at.atoms, at.label + more_words(mesh), False, mesh) for mesh in more_kpts(item)]
    return wide, tuple(replace(check, inputs=check.inputs | {"forces": False}) for check in checks)


def _both(wide: Wide | None, checks: Sequence[Step]) -> list[Step]:
    return [*(wide.steps if wide else ()), *checks]


def _outcome(
    item: KineticsHop, found: Sequence[tuple[_Search, Wide | None, tuple[Step, ...]]], extra: FormationSteps,
    failed: Mapping[str, str], store: Store,
) -> Outcome:
    wanted = [*extra.steps, *(step for _, wide, checks in found for step in _both(wide, checks))]
    notes = {f"not computed: {step.title}": failed[step.name] for step in wanted if step.name in failed}
    points = {search.fraction: _point(search, wide, checks, failed, store) for search, wide, checks in found}
    if any(step.name in failed for step in extra.steps):
        return Outcome(item, points, notes=notes)
    finished = _all(store, extra.steps)
    return Outcome(item, points, extra.energies(finished), extra.denser_energies(finished), notes)


def _all(store: Store, steps: Sequence[Step]) -> dict[str, Finished]:
    return {step.name: _read(store, step) for step in steps}


def _point(search: _Search, wide: Wide | None, checks: Sequence[Step], failed: Mapping[str, str], store: Store) -> Point:
    chosen = list(search.item.atoms)
    values = _read(store, search.at.rest).values
    energy, forces = float(values["energy"]), np.array(values["forces"])
    assert search.hessian is not None
    point = Point(
        fraction=search.fraction, positions=np.array(search.at.atoms.positions), energy=energy,
        forces=search.at.group.symmetrized(forces)[chosen], forces_before=search.before,
        newton_steps=search.newton, hessian=search.hessian, force_calls=search.calls,
        force_call_seconds=float(np.mean(search.seconds)),
    )
    if wide is not None and not any(step.name in failed for step in wide.steps):
        found = _all(store, wide.steps)
        moved = search.at.group.symmetrized(wide.forces(found, forces))[chosen]
        point = replace(point, plane_wave=wide.energy(found, energy), plane_wave_forces=moved)
    if not any(check.name in failed for check in checks):
        point = replace(point, denser=tuple(float(_read(store, check).values["energy"]) for check in checks))
    return point


__all__ = ["explore", "kinetics", "prepare"]
