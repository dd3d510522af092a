"""Runs a graph of functions, serially or on Dask workers. Knows no physics.

Results are on disk before a function returns (emforce.store), so a lost worker or a killed client costs the running steps only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emforce.errors import EmforceError

#: called as report(name, event, seconds) with event "begin", "done" or "failed: reason"
Report = Callable[[str, str], None]


@dataclass(frozen=True)
class Task:
    """One call of the graph.

    Attributes
    ----------
    function, arguments : what is called; must be importable and picklable
    after : names of the tasks that must be finished first
    """

    function: Callable[..., object]
    arguments: tuple[object, ...]
    after: tuple[str, ...] = ()


def run_tasks(tasks: Mapping[str, Task], workers: int, report: Report) -> dict[str, str]:
    """Run all tasks; returns {name: reason} of those that failed or could not start.

    A task that fails takes down what builds on it, and nothing else. `workers` = 1 runs in this process. A task whose
    worker dies runs again, four times in all (Dask's limit), then it counts as failed.

    Raises
    ------
    EmforceError before anything is run, if tasks wait for each other or for one that is not there
    """
    _check_order(tasks)
    if workers == 1:
        return _run_serially(tasks, report)
    return _run_on_dask(tasks, workers, report)


def _check_order(tasks: Mapping[str, Task]) -> None:
    left, before = dict(tasks), -1
    while len(left) != before:
        before = len(left)
        left = {n: t for n, t in left.items() if any(a in left or a not in tasks for a in t.after)}
    if left:
        raise EmforceError(f"steps wait for each other or for unknown ones: {', '.join(sorted(left))}")


def _blocked(task: Task, failed: Mapping[str, str]) -> str | None:
    cause = next((name for name in task.after if name in failed), None)
    return None if cause is None else f"needs {cause}, which failed: {failed[cause]}"


def _run_serially(tasks: Mapping[str, Task], report: Report) -> dict[str, str]:
    failed: dict[str, str] = {}
    left = dict(tasks)
    finished: set[str] = set()
    while left:
        name = next(n for n, t in left.items() if all(a in finished or a in failed for a in t.after))
        task = left.pop(name)
        reason = _blocked(task, failed)
        if reason is None:
            report(name, "begin")
            try:
                task.function(*task.arguments)
            except Exception as error:  # any failure of a step is recorded with its reason, the rest goes on
                reason = _reason(error)
        if reason is None:
            finished.add(name)
            report(name, "done")
        else:
            failed[name] = reason
            report(name, f"failed: {reason}")
    return failed


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, EmforceError) else f"{type(error).__name__}: {text}"


def _run_on_dask(tasks: Mapping[str, Task], workers: int, report: Report) -> dict[str, str]:
    import dask
    from distributed import Client, LocalCluster, as_completed

    # one thread per process: two BLAS threads that fight for one core are many times slower than one
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "60s"})
    failed: dict[str, str] = {}
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                     memory_limit=0, silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        left, finished = dict(tasks), set[str]()
        running: dict[Any, str] = {}
        completed = as_completed(loop=client.loop)
        while left or running:
            for name in [n for n, t in left.items() if all(a in finished or a in failed for a in t.after)]:
                if len(running) >= workers:
                    break
                task = left.pop(name)
                reason = _blocked(task, failed)
                if reason is not None:
                    failed[name] = reason
                    report(name, f"failed: {reason}")
                    continue
                report(name, "begin")
                future = client.submit(task.function, *task.arguments, key=f"{name}-{time.time_ns()}", pure=False)
                running[future.key] = name
                completed.add(future)
            if not running:
                continue
            future = next(completed)
            name = running.pop(future.key)
            if future.status == "finished":
                finished.add(name)
                report(name, "done")
            else:
                failed[name] = _reason(future.exception())
                report(name, f"failed: {failed[name]}")
    return failed
