"""One function per expensive step. A job is pure: documents in, a finished step out.

A job is called as job(inputs, needs, folder, log, store): it reads the finished steps `needs`, writes files into the empty
`folder` and returns small numbers. The files `*_jobs.py` hold the functions, this one the list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from emforce import (
    direct_jobs,
    embedding_jobs,
    ground_state_jobs,
    heat_jobs,
    kinetics_jobs,
    phonon_jobs,
    spin_orbit_jobs,
    spinor_jobs,
)
from emforce.steps import Document, Step, atoms_document
from emforce.store import Finished, Store

Job = Callable[[Document, Mapping[str, Finished], Path, Path, Store], Document]

#: what runs a step, by its kind
JOBS: dict[str, Job] = {
    "bulk": ground_state_jobs.bulk,
    "host": ground_state_jobs.host,
    "image": ground_state_jobs.image,
    "displaced": ground_state_jobs.displaced,
    "relax": ground_state_jobs.relax,
    "stationary": kinetics_jobs.stationary,
    "nudged": kinetics_jobs.nudged,
    "plane_wave": kinetics_jobs.plane_wave,
    "tables": embedding_jobs.tables,
    "embedding": embedding_jobs.embedding,
    "wind": embedding_jobs.wind_of_hop,
    "dipoles": direct_jobs.dipoles,
    "mover": direct_jobs.mover,
    "response": direct_jobs.response,
    "direct": direct_jobs.direct,
    "transport": heat_jobs.transport,
    "phonons": phonon_jobs.phonons,
    "spin_orbit": spin_orbit_jobs.spin_orbit,
    "spin_orbit_fine": spin_orbit_jobs.fine,
    "spheres": spinor_jobs.spheres,
    "spinor_embedding": spinor_jobs.spinor_embedding,
    "spinor_wind": spinor_jobs.spinor_wind,
}


def execute(step: Step, store_root: str) -> str:
    """Run a step, and before it what it needs and is not there; returns its name. Safe from several processes."""
    _finished(step, Store(store_root))
    return step.name


def _finished(step: Step, store: Store) -> Finished:
    done = store.find(step.kind, step.key)
    if done is not None:
        return done
    needs = {name: _finished(need, store) for name, need in step.needs.items()}
    job = JOBS[step.kind]
    return store.run(step.kind, step.key, step.inputs,
                     lambda folder, log: job(step.inputs, needs, folder, log, store))


__all__ = ["JOBS", "Document", "Job", "Step", "atoms_document", "execute"]
