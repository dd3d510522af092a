"""Starts the Dask workers that a profile describes: processes of this machine, or batch jobs.

    profile = load_profile("slurm")
    with start(profile, workers=20) as running:
        future = running.client.submit(step, resources=running.resources("scf"))

Nothing here knows what a step is. Results must be on disk before a step returns: Dask keeps them in memory only.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emforce.cluster_profile import (
    BATCH,
    KINDS,
    LEAST_TCP_S,
    STEP_CLASSES,
    Profile,
    StepLimits,
    load_profile,
    shipped_profiles,
    step_resources,
    worker_resources,
)
from emforce.errors import EmforceError, InputError

#: commands that must be on PATH before anything is submitted
COMMANDS = {"slurm": ("sbatch", "scancel"), "pbs": ("qsub", "qdel"), "lsf": ("bsub", "bkill"), "sge": ("qsub", "qdel")}


@dataclass(frozen=True)
class Running:
    """Workers that take steps.

    Attributes
    ----------
    profile : what was started
    client : distributed.Client
    workers : most workers at once
    check : call it every few seconds while waiting; raises EmforceError when no worker can be expected any more, such as
        after three batch jobs in a row that ended before their workers came
    """

    profile: Profile
    client: Any
    workers: int
    check: Callable[[], None]

    @property
    def dashboard(self) -> str:
        """Address of Dask's page; "" if the profile wants none."""
        return str(self.client.dashboard_link or "") if self.profile.network.dashboard else ""

    def slots(self) -> int:
        """Steps that are worth submitting at once: what all workers together can run when the last one has come.

        On a batch system the jobs are asked for as steps are submitted, so this counts those still in the queue too.
        """
        smallest = min(self.profile.cores(c) for c in STEP_CLASSES)
        return self.workers * (self.profile.job.cores // smallest)

    def running_workers(self) -> int:
        """Workers that are there now."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def resources(self, step_class: str) -> dict[str, float]:
        """What to pass as `resources` when a step is submitted, so that no worker is given more than it has."""
        return step_resources(self.profile, step_class)

    def describe(self) -> str:
        """One line for people."""
        job = self.profile.job
        where = "processes on this machine" if self.profile.kind == "local" else f"{self.profile.kind.upper()} jobs"
        size = f"{job.cores} core{'s' if job.cores > 1 else ''}"
        if self.profile.kind in BATCH:
            size += f", {job.memory}, {job.walltime}"
        at = f"; dashboard {self.dashboard}" if self.dashboard else ""
        upto = "up to " if self.profile.kind in BATCH else ""
        return f"{upto}{self.workers} {where} ({size} each){at}"


def worker_count(profile: Profile, workers: int | None) -> int:
    """Most workers at once.

    Raises
    ------
    InputError if `workers` is given and below 1
    """
    if workers is not None and workers < 1:
        raise InputError("--workers", workers, "1 or more")
    wanted = workers if workers is not None else profile.scaling.workers
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // profile.job.cores, 1)


def check_machine(profile: Profile) -> None:
    """What can be known to be wrong on this machine before anything is started or submitted.

    Raises
    ------
    InputError for a command, interpreter or network interface that is not there
    """
    for command in COMMANDS.get(profile.kind, ()):
        if shutil.which(command) is None:
            raise InputError("kind", profile.kind, f"a machine with {command} on PATH, which this one has not "
                                                   f"(is this a login node of the cluster?), or local")
    python = profile.environment.python
    if profile.kind == "local" and python and shutil.which(python) is None:
        raise InputError("environment.python", python, "an interpreter that is there")
    interface = profile.network.interface
    if interface:
        names = sorted(name for _, name in socket.if_nameindex())
        if interface not in names:
            raise InputError("network.interface", interface, ", ".join(names))
    if any(limits.ranks > 1 for limits in profile.steps.values()) and profile.kind == "local":
        program = profile.environment.mpi_command[0]
        if shutil.which(program) is None:
            raise InputError("environment.mpi_command", program, "a program that is on PATH (steps have several ranks)")


@contextmanager
def start(profile: Profile, workers: int | None = None) -> Iterator[Running]:
    """Workers for the time of the `with` block; they end with it, and with this process if it is killed.

    Raises
    ------
    InputError before anything is started if the profile cannot work on this machine
    EmforceError if workers or scheduler do not start in time
    """
    import dask
    from distributed import Client

    number = worker_count(profile, workers)
    check_machine(profile)
    # workers of this machine are children of this process; what it has in its own environment goes before Dask's settings
    variables = profile.variables if profile.kind == "local" else {}
    with dask.config.set(_dask_settings(profile)), _environment(variables):
        workers_of = _local if profile.kind == "local" else _batch
        connect = f"{profile.timeouts.connect_s}s"
        with workers_of(profile, number) as (cluster, check), Client(cluster, set_as_default=False, timeout=connect) as client:
            if profile.kind in BATCH:
                from emforce.batch import leave_in_time

                client.register_plugin(leave_in_time(profile))
            yield Running(profile, client, number, check)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _dask_settings(profile: Profile) -> dict[str, object]:
    """Dask's configuration for the time that the workers are there."""
    times = profile.timeouts
    return {
        # a step may start processes of its own
        "distributed.worker.daemon": False,
        "distributed.comm.timeouts.connect": f"{times.connect_s}s",
        "distributed.comm.timeouts.tcp": f"{max(times.connect_s, LEAST_TCP_S)}s",
        # a step that no worker takes fails after this time, with its reason; Dask itself would wait for ever
        "distributed.scheduler.no-workers-timeout": f"{times.queue_wait_s}s",
        # steps are long: ask for a worker for each, not for one worker per ten unknown steps of half a second
        "distributed.scheduler.unknown-task-duration": "300s",
        "distributed.deploy.lost-worker-timeout": f"{times.lost_worker_s}s",
        # memory and pausing: steps are processes of their own, with their own limit; a paused worker is one that leaves
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False,
    }


@contextmanager
def _local(profile: Profile, workers: int) -> Iterator[tuple[Any, Callable[[], None]]]:
    from distributed import LocalCluster

    options: dict[str, Any] = {}
    if worker_resources(profile):
        options["resources"] = worker_resources(profile)
    if profile.environment.scratch:
        options["local_directory"] = profile.environment.scratch
    begin = time.monotonic()
    try:
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=profile.job.cores, processes=True, memory_limit=0, silence_logs=50,
            dashboard_address=profile.network.dashboard or None, death_timeout=profile.timeouts.worker_start_s, **options,
        )
    except (OSError, RuntimeError, AssertionError) as error:
        limit = profile.timeouts.worker_start_s
        if time.monotonic() - begin >= limit:  # Dask's own words are an assertion about its nanny
            why = f"not within timeouts.worker_start_s = {limit:g} s; give them longer in a profile, or the machine less to do"
        else:
            why = " ".join(str(error).split()) or type(error).__name__
        raise EmforceError(f"workers of profile {profile.name} do not start: {why}") from error
    with cluster:
        yield cluster, lambda: None


@contextmanager
def _batch(profile: Profile, workers: int) -> Iterator[tuple[Any, Callable[[], None]]]:
    from emforce.batch import QueueWatch, adapt, cluster_of

    refused: list[str] = []
    with cluster_of(profile, refused) as cluster:
        watch = QueueWatch(cluster, profile, refused)
        adapt(cluster, profile, workers)
        watch.wait_for_submission(profile.timeouts.connect_s)
        try:
            yield cluster, watch.check
        finally:
            watch.stop()


__all__ = ["BATCH", "KINDS", "STEP_CLASSES", "Profile", "Running", "StepLimits", "check_machine", "load_profile",
           "shipped_profiles", "start", "step_resources", "worker_count"]
