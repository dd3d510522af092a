"""Where tasks run: a thread of this process, or Dask workers. Each task runs in a process of its own (emforce.runner), but
those of class "light" that take less than a second run in the worker.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from emforce.errors import EmforceError
from emforce.runner import Outcome, close_servers, run_apart, run_here
from emforce.step_server import Failure, Limits

if TYPE_CHECKING:
    from emforce.clusters import Profile, Running

#: tasks of class "light" that are expected to take less than this run in the worker itself, seconds
SHORT_SECONDS = 1.0
#: short tasks go to a worker in groups of at most so many: Dask needs some milliseconds for each thing it is given
GROUP = 32
#: groups that are handed out ahead, per worker, so that none waits for the next one
AHEAD = 2
#: a task whose worker, or step server, is lost so many times has failed (Dask's allowed-failures counts the same way)
LOST_LIMIT = 4
#: seconds for the outcome of a task that has ended
RESULT_SECONDS = 60.0
#: seconds between two looks at scheduler and workers
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Task:
    """One call of the graph.

    Attributes
    ----------
    function, arguments : what is called; must be importable and picklable
    after : names of the tasks that must be finished first
    step_class : "light", "scf" or "embedding": which limits of the profile hold
    seconds : expected
    log : file for what it says; None only for short light tasks
    """

    function: Callable[..., object]
    arguments: tuple[object, ...]
    after: tuple[str, ...] = ()
    step_class: str = "light"
    seconds: float = 0.0
    log: Path | None = None

    @property
    def apart(self) -> bool:
        """It runs in a process of its own."""
        return self.log is not None and (self.step_class != "light" or self.seconds >= SHORT_SECONDS)


@dataclass(frozen=True)
class Begun:
    """A task runs, as this process (host "": that is not known)."""

    name: str
    host: str
    pid: int


Event = Begun | tuple[str, Outcome]


class Pool(Protocol):
    """Workers."""

    #: a task whose worker was lost may be given to it again
    may_repeat: bool

    def submit(self, name: str, task: Task) -> None:
        """Start a task, or put it in line for a worker."""
        ...

    def free(self, running: set[str], tasks: Mapping[str, Task]) -> dict[bool, int]:
        """How many more tasks that run apart (True), and that do not (False), are worth submitting."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """What has happened; waits for the first event for `timeout` seconds."""
        ...

    def describe(self) -> tuple[str, str, int]:
        """Workers in words, address of a page, number of tasks at the same time."""
        ...


def limits_of(profile: Profile, step_class: str, preload: tuple[str, ...]) -> Limits:
    """What a profile grants a class of steps."""
    from emforce.ranked_scf import ranks_variable

    own = profile.steps[step_class]
    return Limits(label=f"profile {profile.name}, class {step_class}", memory_GiB=own.memory_GiB, time_s=own.time_limit_s,
                  variables=profile.variables | ranks_variable(profile, step_class), preload=preload)


@contextmanager
def open_pool(profile: Profile, workers: int | None, preload: tuple[str, ...] = ()) -> Iterator[Pool]:
    """Workers of a profile; one local worker is a thread of this process and needs no Dask.

    Raises
    ------
    InputError before anything is started if profile or number are not possible here
    """
    from emforce.clusters import check_machine, start, worker_count

    if profile.kind == "local" and worker_count(profile, workers) == 1:
        check_machine(profile)
        with _pinned(profile):
            pool = _OneWorker(profile, preload)
            try:
                yield pool
            finally:
                pool.close()
        return
    with start(profile, workers) as running:
        yield _DaskPool(running, preload)


@contextmanager
def _pinned(profile: Profile) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in profile.variables}
    os.environ.update(profile.variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _do(task: Task, limits: Limits, begun: Callable[[int], None]) -> Outcome:
    """Run a task where we are."""
    call = (task.function, task.arguments)
    if not task.apart or task.log is None:
        return run_here(call, task.log)
    return run_apart(call, limits, task.log, begun)


class _OneWorker:
    """A thread of this process."""

    may_repeat = True

    def __init__(self, profile: Profile, preload: tuple[str, ...]) -> None:
        self._profile, self._preload = profile, preload
        self._todo: queue.SimpleQueue[tuple[str, Task] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            name, task = item
            limits = limits_of(self._profile, task.step_class, self._preload)
            if not task.apart:
                self._began(name, os.getpid())
            try:
                outcome = _do(task, limits, partial(self._began, name))
            except OSError as error:  # the server was closed under our feet: the campaign stops
                outcome = Outcome(0.0, float("nan"), Failure(str(error), "lost"))
            self._events.put((name, outcome))

    def _began(self, name: str, pid: int) -> None:
        self._events.put(Begun(name, socket.gethostname(), pid))

    def submit(self, name: str, task: Task) -> None:
        self._todo.put((name, task))

    def free(self, running: set[str], tasks: Mapping[str, Task]) -> dict[bool, int]:
        return dict.fromkeys((True, False), 1 - len(running))

    def events(self, timeout: float) -> list[Event]:
        return _drain(self._events, timeout)

    def describe(self) -> tuple[str, str, int]:
        return "one worker in this process", "", 1

    def close(self) -> None:
        self._todo.put(None)
        close_servers()
        self._thread.join(10.0)


def _drain(events: queue.SimpleQueue[Event], timeout: float) -> list[Event]:
    found: list[Event] = []
    try:
        found.append(events.get(timeout=timeout) if timeout > 0 else events.get_nowait())
        while True:
            found.append(events.get_nowait())
    except queue.Empty:
        return found


Named = tuple[tuple[str, Task], ...]


def _on_dask(group: Named, limits: Limits, topic: str) -> list[Outcome]:
    """Run tasks on a Dask worker one after the other, and tell the client where those that run apart are."""
    from distributed import get_worker

    worker = get_worker()

    def begun(name: str, pid: int) -> None:
        worker.log_event(topic, {"name": name, "host": socket.gethostname(), "pid": pid})

    return [_do(task, limits, partial(begun, name)) for name, task in group]


class _DaskPool:
    """Dask workers. A task whose worker dies is given to another one by Dask itself, LOST_LIMIT times in all.

    Short tasks run in the worker, and one that kills it takes those in line behind it along: all of them then run apart.
    """

    may_repeat = True

    def __init__(self, running: Running, preload: tuple[str, ...]) -> None:
        self._running = running
        self._client = running.client
        profile = running.profile
        self._limits = {c: limits_of(profile, c, preload) for c in profile.steps}
        self._slots = running.slots()
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._short: list[tuple[str, Task]] = []
        self._topic = f"emforce-{os.getpid()}-{time.time_ns()}"
        self._client.subscribe_topic(self._topic, self._told)
        self._submitted = 0
        self._patience = profile.timeouts.worker_start_s if profile.kind == "local" else profile.timeouts.queue_wait_s
        self._last_look = self._last_worker = time.monotonic()

    def _told(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        self._events.put(Begun(told["name"], told["host"], told["pid"]))

    def submit(self, name: str, task: Task) -> None:
        if task.apart:
            self._send(((name, task),), self._running.resources(task.step_class))
        else:
            self._short.append((name, task))

    def _send(self, group: Named, resources: dict[str, float] | None = None) -> None:
        self._submitted += 1
        plain = tuple((name, replace(task, after=())) for name, task in group)
        future = self._client.submit(
            _on_dask, plain, self._limits[group[0][1].step_class], self._topic, key=f"{group[0][0]}-{self._submitted}",
            pure=False, priority=-self._submitted, resources=resources or None)
        self._futures[self._submitted] = future
        future.add_done_callback(partial(self._ended, self._submitted, group))

    def _ended(self, number: int, group: Named, future: Any) -> None:
        self._events.put((number, group))

    def _send_short(self) -> None:
        size = max(1, min(GROUP, -(-len(self._short) // self._slots)))
        while self._short:
            self._send(tuple(self._short[:size]))
            del self._short[:size]

    def free(self, running: set[str], tasks: Mapping[str, Task]) -> dict[bool, int]:
        apart = sum(tasks[name].apart for name in running)
        return {True: self._slots - apart, False: AHEAD * GROUP * self._slots - (len(running) - apart)}

    def events(self, timeout: float) -> list[Event]:
        self._look()
        self._send_short()
        found: list[Event] = []
        event: Any
        for event in _drain(self._events, timeout):
            if isinstance(event, Begun):
                found.append(event)
                continue
            number, group = event
            outcomes = _outcomes(self._futures.pop(number), len(group), repeatable=not group[0][1].apart)
            if outcomes is None:  # one of those in line takes the worker down: which, shows in processes of their own
                for name, task in group:
                    self.submit(name, replace(task, seconds=max(task.seconds, SHORT_SECONDS), log=task.log or Path(os.devnull)))
                continue
            for (name, _), outcome in zip(group, outcomes, strict=True):
                if outcome.pid:  # what the worker told on the way may come after the end, or not at all
                    found.append(Begun(name, outcome.host, outcome.pid))
                found.append((name, outcome))
        return found

    def _look(self) -> None:
        """Are scheduler and workers still there?"""
        now = time.monotonic()
        if now - self._last_look < LOOK_SECONDS:
            return
        self._last_look = now
        self._running.check()
        if self._client.status not in ("running", "connecting"):
            raise EmforceError("the connection to Dask's scheduler is lost; finished steps are kept, the same command goes on")
        if not self._futures or self._running.running_workers() > 0:
            self._last_worker = now
        elif now - self._last_worker > self._patience:
            raise EmforceError(
                f"no worker for {self._patience:.0f} s (profile {self._running.profile.name}): jobs wait in the queue for too "
                "long, or end at once; their output says why. Finished steps are kept, the same command goes on")

    def describe(self) -> tuple[str, str, int]:
        return self._running.describe(), self._running.dashboard, self._slots


def _outcomes(future: Any, number: int, repeatable: bool) -> list[Outcome] | None:
    """What became of a group of tasks that has ended; None if its worker was lost too often and it is `repeatable`."""
    from distributed.scheduler import KilledWorker

    failure = Failure("Dask gave the step up because its worker was away for too long", "lost")
    if future.status == "finished":
        try:
            found: list[Outcome] = future.result(timeout=RESULT_SECONDS)
            return found
        except (TimeoutError, OSError) as error:
            failure = Failure(f"the outcome did not come back from the worker ({type(error).__name__})", "lost")
    elif future.status == "error":
        cause = future.exception(timeout=RESULT_SECONDS)
        if isinstance(cause, KilledWorker):
            if repeatable:
                return None
            # no cause "lost": Dask has tried as often as may be
            times = cause.allowed_failures + 1
            failure = Failure(f"its worker was lost {times} times: killed, out of memory, or the node went down", "signal")
        else:
            failure = Failure(f"{type(cause).__name__}: {' '.join(str(cause).split())}", "error")
    return [Outcome(0.0, float("nan"), failure)] * number
