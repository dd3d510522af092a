"""Workers as jobs of a batch system: the job that is submitted, jobs that are lost, workers that leave in time.

dask-jobqueue writes and submits the jobs. What it leaves open is done here: a refused submission is told at once; a job
that ends before its worker comes, or is cancelled in the queue, is replaced, and three in a row are an error; a worker
takes no step that would not end before the job's walltime.
"""

from __future__ import annotations

import asyncio
import getpass
import math
import os
import random
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin
from distributed.core import Status

from emforce.cluster_profile import LEAST_TCP_S, Profile, worker_resources
from emforce.errors import EmforceError, InputError

#: environment variable that tells a worker when its batch job ends, seconds since 1970
JOB_END = "EMFORCE_JOB_END"
#: jobs in a row that may end before their worker comes
TRIES = 3
#: seconds between two looks at the queue
_LOOK_S = 5.0
#: seconds that a leaving worker waits for its last result to be fetched
_COLLECT_S = 10.0
_MIB = 2**20


def job_options(profile: Profile) -> dict[str, Any]:
    """What dask-jobqueue's cluster of this kind is made with."""
    job, environment = profile.job, profile.environment
    options: dict[str, Any] = {
        "cores": job.cores, "processes": 1, "memory": f"{profile.memory_bytes} B", "job_name": job.name,
        "queue": job.queue or None, "walltime": _walltime(profile), "interface": profile.network.interface or None,
        "python": environment.python or None, "local_directory": environment.scratch or None,
        "death_timeout": round(profile.timeouts.worker_start_s), "log_directory": str(Path(environment.logs).absolute()),
        "job_script_prologue": _prologue(profile), "job_extra_directives": list(job.directives),
        "job_directives_skip": list(job.skip_directives), "worker_extra_args": _worker_arguments(profile),
    }
    mebibytes = math.ceil(profile.memory_bytes / _MIB)
    account = job.account or None
    if profile.kind == "slurm":
        return options | {"account": account, "job_mem": f"{mebibytes}M", "job_cpu": job.cores}
    if profile.kind == "pbs":
        line = job.resources or f"select=1:ncpus={job.cores}:mpiprocs={job.cores}:mem={mebibytes}mb"
        return options | {"account": account, "resource_spec": line}
    if profile.kind == "lsf":
        return options | {"project": account, "ncpus": job.cores, "mem": profile.memory_bytes}
    line = job.resources or f"h_vmem={math.ceil(mebibytes / job.cores)}M"  # Grid Engine counts it per slot
    return options | {"project": account, "resource_spec": line}


def _walltime(profile: Profile) -> str:
    hours, rest = divmod(profile.walltime_s, 3600)
    minutes, seconds = divmod(rest, 60)
    # LSF knows no seconds
    return f"{hours}:{minutes:02d}" if profile.kind == "lsf" else f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def _prologue(profile: Profile) -> list[str]:
    """Shell lines before the worker: where and when it is, then the user's, then what nothing may change."""
    times = profile.timeouts
    settings = {
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": f"{times.connect_s:g}s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{max(times.connect_s, LEAST_TCP_S):g}s",
        # steps are processes of their own, with their own limit; a paused worker is one that leaves
        **{f"DASK_DISTRIBUTED__WORKER__MEMORY__{part}": "False" for part in ("TARGET", "SPILL", "PAUSE", "TERMINATE")},
    }
    exports = profile.variables | settings
    return [
        f"export {JOB_END}=$(( $(date +%s) + {profile.walltime_s} ))",
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        *profile.environment.prologue,
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        # a worker without it would come, fail and come again
        f"{shlex.quote(profile.environment.python or sys.executable)} -c 'import emforce' || exit 1",
    ]


def _worker_arguments(profile: Profile) -> list[str]:
    margin = profile.timeouts.margin_s
    # the worker leaves by itself before (LeaveInTime); this is for one whose step overruns its own limit
    words = ["--no-dashboard", "--lifetime", f"{profile.walltime_s - margin:.0f}s", "--lifetime-stagger", f"{margin / 2:.0f}s"]
    resources = worker_resources(profile)
    if resources:
        words += ["--resources", ",".join(f"{name}={value:g}" for name, value in resources.items())]
    return words


def cluster_of(profile: Profile, refused: list[str]) -> Any:
    """The cluster, with no job submitted yet; what the batch system says to a refused job is added to `refused`."""
    import dask_jobqueue

    name = f"{profile.kind.upper()}Cluster"
    cluster_class = getattr(dask_jobqueue, name)

    class RecordingJob(cluster_class.job_cls):  # type: ignore[name-defined]
        async def _submit_job(self, script_filename: str) -> Any:
            try:
                return await super()._submit_job(script_filename)
            except (RuntimeError, OSError) as error:
                refused.append(_said(str(error)))
                self.status = Status.failed
                raise

    dashboard = profile.network.dashboard
    scheduler = {"dashboard": bool(dashboard), "dashboard_address": dashboard or None}
    return cluster_class(n_workers=0, job_cls=RecordingJob, scheduler_options=scheduler, silence_logs="critical",
                         **job_options(profile))


def _said(text: str) -> str:
    """The batch system's own words out of dask-jobqueue's message."""
    found = re.search(r"stderr:\n(.*)", text, re.DOTALL)
    lines = [line for line in (found[1] if found else text).splitlines() if line.strip()]
    return " ".join(" ".join(lines).split()) or "no reason given"


class QueueWatch:
    """Looks after the jobs of a running cluster; lives in its event loop.

    Parameters
    ----------
    cluster : of `cluster_of`
    profile : its profile
    refused : the list that was given to `cluster_of`
    """

    def __init__(self, cluster: Any, profile: Profile, refused: list[str]) -> None:
        from tornado.ioloop import PeriodicCallback

        self._cluster = cluster
        self._profile = profile
        self._refused = refused
        self._suspects: set[str] = set()
        self._came: set[str] = set()
        self._failed: list[str] = []
        self._callback = PeriodicCallback(self._look, _LOOK_S * 1000)
        cluster.loop.add_callback(self._callback.start)

    def stop(self) -> None:
        """Look no more."""
        self._cluster.loop.add_callback(self._callback.stop)

    def wait_for_submission(self, seconds: float) -> None:
        """Return when the first job is in the queue.

        Raises
        ------
        InputError with the batch system's words if it refuses the job
        EmforceError if it does not answer in time
        """
        limit = time.monotonic() + seconds
        kind = self._profile.kind.upper()
        while time.monotonic() < limit:
            if any(job.job_id for job in list(self._cluster.workers.values())):
                return
            if self._refused:
                raise InputError("--cluster", self._profile.name, f"a profile whose job {kind} accepts ({self._refused[0]})")
            time.sleep(0.05)
        raise EmforceError(f"{kind} did not take a job within {seconds:g} s; is it running? (timeouts.connect_s)")

    def check(self) -> None:
        """Raise EmforceError if jobs end, one after the other, before their workers come."""
        if len(self._failed) >= TRIES:
            raise EmforceError(f"{len(self._failed)} jobs in a row gave no worker, profile {self._profile.name}: "
                               f"{self._failed[-1]}")

    async def _look(self) -> None:
        here = {worker["name"] for worker in self._cluster.scheduler_info["workers"].values()}
        jobs = {name: job.job_id for name, job in self._cluster.workers.items()}
        came = {job_id for name, job_id in jobs.items() if name in here and job_id}
        if came - self._came:
            self._failed.clear()
        self._came |= came
        # a worker that came and left is Dask's to replace, after lost_worker_s; one that never came is ours
        absent = {name: job_id for name, job_id in jobs.items() if name not in here and job_id not in self._came}
        queued = await self._queued() if any(absent.values()) else set()
        gone = {name for name, job_id in absent.items() if job_id is None or (queued is not None and job_id not in queued)}
        for name in gone & self._suspects:  # twice in a row: one look may fall between end and start
            if len(self._failed) >= TRIES:
                return  # no more jobs that fail the same way
            self._failed.append(self._reason(absent[name]))
            self._cluster.workers.pop(name, None)  # adaptive scaling misses it now, and submits another
        self._suspects = gone

    async def _queued(self) -> set[str] | None:
        """Ids of the user's jobs in the queue, running ones too; None if the batch system does not say."""
        user = getpass.getuser()
        command = {"slurm": ["squeue", "--noheader", "--format=%A", f"--user={user}"], "pbs": ["qselect", "-u", user],
                   "lsf": ["bjobs", "-noheader", "-o", "jobid"], "sge": ["qstat", "-u", user]}[self._profile.kind]
        try:
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE,
                                                           stderr=asyncio.subprocess.DEVNULL)
            out, _ = await asyncio.wait_for(process.communicate(), self._profile.timeouts.connect_s)
        except (OSError, TimeoutError):
            return None
        return None if process.returncode else set(re.findall(r"^\s*(\d+)", out.decode(), re.MULTILINE))

    def _reason(self, job_id: str | None) -> str:
        if job_id is None:
            return f"not accepted: {self._refused[-1]}" if self._refused else "not accepted"
        logs = Path(self._profile.environment.logs)
        files = [path for path in logs.glob(f"*{job_id}*") if path.stat().st_size]
        for path in sorted(files, key=lambda p: p.suffix != ".err"):
            lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            return f"job {job_id} ended, see {path}: {lines[-1][:200]}"
        return f"job {job_id} ended; its output would be in {logs}"


class LeaveInTime(WorkerPlugin):
    """A worker takes no more steps when the longest could not end before the walltime; it ends those it has, and leaves.

    Dask's own `--lifetime` does not wait for running tasks.

    Parameters
    ----------
    longest_s : time limit of the longest step
    margin_s : kept free at the end; the moments of leaving are spread over as much again, so that jobs that began
        together do not all leave together
    """

    name = "emforce-leave-in-time"

    def __init__(self, longest_s: float, margin_s: float) -> None:
        self.longest_s = longest_s
        self.margin_s = margin_s

    def setup(self, worker: Any) -> None:
        """Called by Dask on each worker as it starts."""
        end = os.environ.get(JOB_END)
        if end is not None:
            leave = float(end) - self.longest_s - self.margin_s * (1 + random.random())
            worker.loop.call_later(max(leave - time.time(), 0.0), self._leave, worker)

    async def _leave(self, worker: Any) -> None:
        if worker.status != Status.running:
            return
        worker.status = Status.paused  # no new steps
        while worker.state.executing_count:
            await asyncio.sleep(1.0)
        limit = time.monotonic() + _COLLECT_S
        while worker.data and time.monotonic() < limit:  # the last step's result is still to be fetched
            await asyncio.sleep(0.2)
        await worker.close_gracefully(restart=False, reason="the job's walltime ends")


def leave_in_time(profile: Profile) -> LeaveInTime:
    """The plugin with the profile's times."""
    return LeaveInTime(max(limits.time_limit_s for limits in profile.steps.values()), profile.timeouts.margin_s)


def adapt(cluster: Any, profile: Profile, workers: int) -> None:
    """Scale with the steps that are submitted. A fixed number of jobs would never be made up when one is cancelled."""
    interval_s = 2.0
    cluster.adapt(minimum=min(profile.scaling.minimum, workers), maximum=workers, interval=f"{interval_s}s",
                  wait_count=max(round(profile.scaling.idle_s / interval_s), 1), target_duration="1s")
