"""Runs a graph of functions on workers (emforce.pools). Knows no physics and keeps no state.

Results are on disk before a function returns (emforce.store), so a lost worker or a killed client costs the running steps only.
No wait here is without an end: the loop looks every second at cancellation, workers and scheduler.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from typing import Protocol

from emforce.errors import EmforceError
from emforce.pools import LOST_LIMIT, Begun, Pool, Task
from emforce.step_server import Failure

#: the loop comes round at least so often, seconds
POLL_SECONDS = 1.0
#: seconds between two looks at a task that another campaign computes
ELSEWHERE_SECONDS = 2.0


class Watch(Protocol):
    """Who is told what happens, and asked before a task starts."""

    def claim(self, name: str) -> str:
        """"mine": run it; "done": it is there; "elsewhere": somebody else runs it, ask again."""
        ...

    def begin(self, name: str, host: str, pid: int) -> None:
        """A task runs; a second time if its worker was lost."""
        ...

    def end(self, name: str, failure: Failure | None, seconds: float) -> None:
        """A task is done, has failed, or cannot start."""
        ...

    def check(self) -> None:
        """Called every second; raises to stop everything."""
        ...


def run_tasks(tasks: Mapping[str, Task], pool: Pool, watch: Watch) -> dict[str, Failure]:
    """Run all tasks, the first of the mapping first where several can start; returns the failures by name.

    A task that fails takes down what builds on it, and nothing else. When the disk is full nothing more is started.

    Raises
    ------
    EmforceError before anything is run if tasks wait for each other or for one that is not there; later if there is no
    worker for too long or the scheduler is lost
    """
    graph = _Graph(tasks)
    begun: dict[str, int] = {}
    lost: dict[str, int] = {}
    running: set[str] = set()
    elsewhere: dict[str, float] = {}

    def settle(name: str, failure: Failure | None, seconds: float) -> None:
        watch.end(name, failure, seconds)
        for blocked, reason in graph.finish(name, failure):
            watch.end(blocked, reason, 0.0)

    while graph.unfinished and (running or not graph.stopped):
        watch.check()
        now = time.monotonic()
        for name in [n for n, at in elsewhere.items() if now >= at]:
            del elsewhere[name]
            graph.put_back(name)
        while not graph.stopped and (ready := graph.next(pool.free(running, tasks))) is not None:
            verdict = watch.claim(ready)
            if verdict == "mine":
                running.add(ready)
                pool.submit(ready, tasks[ready])
            elif verdict == "done":
                settle(ready, None, 0.0)
            else:
                elsewhere[ready] = now + ELSEWHERE_SECONDS
        for event in pool.events(POLL_SECONDS if running or elsewhere else 0.0):
            if isinstance(event, Begun):
                if event.name in running and begun.get(event.name) != event.pid:
                    begun[event.name] = event.pid
                    watch.begin(event.name, event.host, event.pid)
                continue
            name, outcome = event
            if name not in running:
                continue
            failure = outcome.failure
            if failure is not None and failure.cause == "lost":
                lost[name] = lost.get(name, 0) + 1
                if lost[name] < LOST_LIMIT and pool.may_repeat:
                    pool.submit(name, tasks[name])
                    continue
            running.discard(name)
            settle(name, failure, outcome.seconds)
    return graph.failures


class _Graph:
    """What can start, what has failed, what waits."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._rank = {name: i for i, name in enumerate(tasks)}
        self._open = {name: len(set(task.after)) for name, task in tasks.items()}
        self._next: dict[str, list[str]] = {}
        for name, task in tasks.items():
            for need in set(task.after):
                self._next.setdefault(need, []).append(name)
        self._check()
        self._ready = {kind: [r for n, r in self._rank.items() if not self._open[n] and tasks[n].apart == kind]
                       for kind in (True, False)}
        self._names = list(tasks)
        self.unfinished = len(tasks)
        self.failures: dict[str, Failure] = {}
        self.stopped = False

    def _check(self) -> None:
        left = dict(self._open)
        free = [name for name, n in left.items() if n == 0]
        while free:
            name = free.pop()
            del left[name]
            for after in self._next.get(name, ()):
                left[after] -= 1
                if left[after] == 0:
                    free.append(after)
        if left:
            raise EmforceError(f"steps wait for each other or for unknown ones: {', '.join(sorted(left))}")

    def next(self, free: Mapping[bool, int]) -> str | None:
        """The most urgent task that can start; `free`: how many that run apart, and how many that do not, may."""
        heads = [(ready[0], kind) for kind, ready in self._ready.items() if ready and free[kind] > 0]
        if not heads:
            return None
        rank, kind = min(heads)
        heapq.heappop(self._ready[kind])
        return self._names[rank]

    def put_back(self, name: str) -> None:
        """It could not start after all."""
        heapq.heappush(self._ready[self._tasks[name].apart], self._rank[name])

    def finish(self, name: str, failure: Failure | None) -> list[tuple[str, Failure]]:
        """Note the end of a task; returns those that cannot start because of it."""
        self.unfinished -= 1
        if failure is None:
            for after in self._next.get(name, ()):
                self._open[after] -= 1
                if not self._open[after] and after not in self.failures:
                    self.put_back(after)
            return []
        self.failures[name] = failure
        if failure.cause == "disk":
            self.stopped = True
        blocked: list[tuple[str, Failure]] = []
        stack = [name]
        while stack:
            cause = stack.pop()
            for after in self._next.get(cause, ()):
                if after not in self.failures:
                    why = Failure(f"needs {cause}, which failed: {self.failures[cause].reason}", "needs")
                    self.failures[after] = why
                    blocked.append((after, why))
                    self.unfinished -= 1
                    stack.append(after)
        return blocked
