"""Runs one step in a process of its own, with limits of memory and time, and says in one line why it ended.

A crash, a memory leak or an endless loop in GPAW must cost this step and nothing else. For each step that runs at a time, a
worker keeps one step server (emforce.step_server), a process that has imported GPAW and forks a child for each step: that
costs some 20 ms where a new interpreter would cost seconds. The chain worker - server - step is tied together: when the worker
is killed, the server reads the end of its socket, kills the step and ends; when the server is killed, the kernel kills the
step. multiprocessing's own fork server does not do that (its children keep it alive) and cannot be used from a daemonic process.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emforce.step_server import END_SECONDS, GIB, Call, Failure, Limits, attempt, end_tree

#: seconds between two looks at the memory of a running step
WATCH_SECONDS = 0.5
#: seconds for a step server to import what steps need
START_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """End of a step.

    Attributes
    ----------
    seconds : wall-clock time
    peak_GiB : largest resident memory of its first process; nan where it was not a process of its own
    failure : None if it went well
    host, pid : process that ran it; "" and 0 where there was none
    """

    seconds: float
    peak_GiB: float
    failure: Failure | None
    host: str = ""
    pid: int = 0


def run_here(call: Call, log: Path | None) -> Outcome:
    """Call a function in this process. For steps so short that a process of their own would cost more than they do."""
    start = time.monotonic()
    failure, trace = attempt(call, str(log or ""))
    if log is not None and trace:
        _note(log, trace)
    return Outcome(time.monotonic() - start, float("nan"), failure, socket.gethostname(), os.getpid())


def run_apart(call: Call, limits: Limits, log: Path, started: Callable[[int], None] | None = None) -> Outcome:
    """Call a function in a process of its own; `started` is told its process id.

    What it writes to standard output and error goes to `log`. Never raises for what happens to the step; when this thread is
    interrupted, the step's process is ended first.
    """
    start = time.monotonic()
    oom_before = _oom_kills()
    _note(log, f"{limits.label}: started on {socket.gethostname()}")
    pids = [0]

    def note(pid: int) -> None:
        pids.append(pid)
        if started is not None:
            started(pid)

    try:
        end = _take(limits).run(call, limits, log, note)
        failure = _verdict(end, limits, str(log), _oom_kills() > oom_before)
        peak = end.peak
    except (EOFError, ConnectionError, TimeoutError) as error:
        peak = float("nan")
        failure = Failure(f"the process that starts steps was lost ({type(error).__name__})", "lost", str(log))
    seconds = time.monotonic() - start
    _note(log, f"ended after {seconds:.1f} s, at most {peak:.2f} GiB: {failure.reason if failure else 'done'}")
    return Outcome(seconds, peak, failure, socket.gethostname(), pids[-1])


# in the process that wants a step done


@dataclass(frozen=True)
class _End:
    """How a step's process ended, and why we ended it ("" if we did not)."""

    status: int
    peak: float
    result: bytes
    ended_for: str


_free: dict[tuple[object, ...], list[_Server]] = {}
_all: set[_Server] = set()
_lock = threading.Lock()


def _take(limits: Limits) -> _Server:
    """A step server that is free, or a new one."""
    key = (limits.preload, *sorted(limits.variables.items()))
    with _lock:
        waiting = _free.get(key, [])
        while waiting:
            server = waiting.pop()
            if server.alive():
                return server
    return _Server(key, limits)


def close_servers() -> None:
    """End all step servers of this process and with them the steps that they run."""
    with _lock:
        servers = list(_all)
        _free.clear()
    for server in servers:
        server.close()


class _Server:
    """The owner's end of a step server."""

    def __init__(self, key: tuple[object, ...], limits: Limits) -> None:
        self._key = key
        self._socket, theirs = socket.socketpair()
        program = f"from emforce.step_server import serve; serve({theirs.fileno()}, {limits.preload!r}, {sys.path!r})"
        # a session of its own: Ctrl-C at a terminal is for the campaign, which ends its steps itself
        self._process = subprocess.Popen([sys.executable, "-c", program], pass_fds=[theirs.fileno()], start_new_session=True,
                                         stdin=subprocess.DEVNULL, env={**os.environ, **limits.variables})
        theirs.close()
        self._channel = Connection(os.dup(self._socket.fileno()))
        with _lock:
            _all.add(self)
        try:
            if not self._channel.poll(START_SECONDS):
                raise TimeoutError(f"no step server after {START_SECONDS:.0f} s")
            self._channel.recv()
        except BaseException:
            self.close()
            raise

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Safe from another thread than the one that waits for a step."""
        with _lock:
            _all.discard(self)
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # the server ends its step and itself when it reads the end
        except OSError:
            pass
        try:
            self._process.wait(2 * END_SECONDS + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.close()

    def run(self, call: Call, limits: Limits, log: Path, started: Callable[[int], None]) -> _End:
        try:
            self._channel.send((pickle.dumps(call), limits, str(log), os.getcwd()))
            if not self._channel.poll(START_SECONDS):
                raise TimeoutError
            pid = int(self._channel.recv())
            started(pid)
            ended_for = self._watch(pid, limits)
            status, peak, result = self._channel.recv()
        except BaseException:
            self.close()
            raise
        with _lock:
            _free.setdefault(self._key, []).append(self)
        return _End(status, peak, result, ended_for)

    def _watch(self, pid: int, limits: Limits) -> str:
        """Wait for the end of the step, or bring it about; returns why, "" if it ended by itself."""
        begun = time.monotonic()
        pause = WATCH_SECONDS
        while True:
            if limits.time_s is not None:
                pause = min(WATCH_SECONDS, max(begun + limits.time_s - time.monotonic(), 0.0))
            if self._channel.poll(pause):
                return ""
            reason = ""
            if limits.time_s is not None and time.monotonic() - begun >= limits.time_s:
                reason = f"time limit of {limits.time_s:g} s reached ({limits.label})"
            elif limits.memory_GiB is not None and (used := _tree_memory(pid)) > limits.memory_GiB:
                reason = f"out of memory: used {used:.3f} GiB, limit {limits.memory_GiB:g} GiB ({limits.label})"
            if reason:
                end_tree(pid)
                if not self._channel.poll(START_SECONDS):
                    raise TimeoutError
                return reason


def _verdict(end: _End, limits: Limits, log: str, oom: bool) -> Failure | None:
    """From how a process ended to one line."""
    if end.ended_for:
        return Failure(end.ended_for, "time" if end.ended_for.startswith("time") else "memory", log)
    limit = "" if limits.memory_GiB is None else f", limit {limits.memory_GiB:g} GiB ({limits.label})"
    if os.WIFSIGNALED(end.status):
        number = os.WTERMSIG(end.status)
        if number == signal.SIGKILL and oom:
            return Failure(f"killed by the kernel for lack of memory: used {end.peak:.2f} GiB{limit}", "memory", log)
        name = signal.Signals(number).name
        outside = " from outside" if number in (signal.SIGKILL, signal.SIGTERM) else ""
        return Failure(f"ended by signal {number} ({name}){outside}, at {end.peak:.2f} GiB", "signal", log)
    if not end.result:
        return Failure(f"ended with exit code {os.waitstatus_to_exitcode(end.status)} and said no more", "error", log)
    failure: Failure | None = pickle.loads(end.result)
    if failure is not None and failure.cause == "memory":
        return Failure(f"{failure.reason}; used {end.peak:.2f} GiB{limit}", "memory", log)
    return failure


def _tree_memory(pid: int) -> float:
    """Resident memory of a process and what it started, GiB."""
    import psutil  # type: ignore[import-untyped]

    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            try:
                total += one.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    return total / GIB


def _oom_kills() -> int:
    """Processes that the kernel has killed on this machine for lack of memory."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _append(log: Path) -> Any:
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("a", encoding="utf-8")


def _note(log: Path, text: str) -> None:
    try:
        with _append(log) as stream:
            stream.write(f"--- {time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
    except OSError:
        pass  # a full disk: the step itself will say so
