"""The process that forks a child for each step, and that child. It has one thread and knows nothing of campaigns.

`emforce.runner` holds the other end of the socket.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import importlib
import os
import pickle
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NoReturn

from emforce.errors import CheckError, ConvergenceError, EmforceError, InputError, StoreError

#: why a step failed. "inputs": the same inputs fail again (not converged, not allowed); the others may go well next time
CAUSES = ("inputs", "error", "disk", "memory", "time", "signal", "lost", "needs", "stopped")
#: seconds between the request to end (SIGTERM) and the end (SIGKILL)
END_SECONDS = 3.0
#: from this multiple of the memory limit on allocations are refused: what is touched faster than the owner looks must not
#: take the machine down
HARD_MEMORY = 1.5
GIB = 2.0**30
Call = tuple[Callable[..., object], tuple[object, ...]]


@dataclass(frozen=True)
class Failure:
    """Why a step is not there.

    Attributes
    ----------
    reason : one line
    cause : one of CAUSES
    log : file that holds what the step said, "" if there is none
    """

    reason: str
    cause: str = "error"
    log: str = ""

    @property
    def final(self) -> bool:
        """The same inputs would fail again."""
        return self.cause == "inputs"

    def __str__(self) -> str:
        return f"{self.reason}; log {self.log}" if self.log else self.reason


@dataclass(frozen=True)
class Limits:
    """What a step may use, and what it runs in.

    Attributes
    ----------
    label : where the limits come from, such as "profile local, class scf"
    memory_GiB, time_s : None for none
    variables : environment of the step
    preload : modules that the step server imports before the first step
    """

    label: str = "no profile"
    memory_GiB: float | None = None
    time_s: float | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()


def failure_of(error: BaseException, log: str = "") -> Failure:
    """One line and the cause of an exception."""
    text = " ".join(str(error).split()) or type(error).__name__
    cause = "error"
    if isinstance(error, ConvergenceError | InputError | CheckError):
        cause = "inputs"
    elif isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        cause = "disk"
    elif isinstance(error, MemoryError):
        cause, text = "memory", f"out of memory: {text}"
    shown = text if isinstance(error, EmforceError | MemoryError) else f"{type(error).__name__}: {text}"
    return Failure(shown, cause, log)


def end_tree(pid: int) -> None:
    """SIGTERM to a step and all it started, SIGKILL to what is left: mpirun ends its ranks itself if it may."""
    import psutil  # type: ignore[import-untyped]

    try:
        process = psutil.Process(pid)
        every = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for one in every:
            try:
                one.send_signal(number)
            except psutil.Error:
                continue
        _, every = psutil.wait_procs(every, END_SECONDS)


def serve(descriptor: int, preload: tuple[str, ...], path: list[str]) -> None:
    """Fork a child for each call that comes through the socket, until the other side is gone."""
    sys.path[:] = path
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in preload:
        importlib.import_module(name)
    wakeup, alarm = os.pipe()
    os.set_blocking(alarm, False)
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    channel = Connection(descriptor)
    try:
        channel.send("ready")
        while True:
            _serve_one(channel, wakeup)
    except (EOFError, ConnectionError):
        return


def _serve_one(channel: Connection, wakeup: int) -> None:
    call, limits, log, folder = channel.recv()
    answer, tell = os.pipe()
    server = os.getpid()
    pid = os.fork()
    if pid == 0:
        channel.close()
        os.close(answer)
        _step(call, limits, (log, folder), tell, server)
    os.close(tell)
    try:
        channel.send(pid)
        result = b""
        while True:
            ready, _, _ = select.select([channel.fileno(), answer, wakeup], [], [])
            if channel.fileno() in ready:  # no message is expected: the owner is gone
                raise EOFError
            if answer in ready:
                chunk = os.read(answer, 65536)
                result += chunk
            if wakeup in ready:
                os.read(wakeup, 4096)
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                break
            if answer in ready and not chunk:  # it closed the pipe and is about to end
                _, status, usage = os.wait4(pid, 0)
                break
    except (EOFError, ConnectionError):
        end_tree(pid)
        raise
    os.set_blocking(answer, False)
    try:
        while chunk := os.read(answer, 65536):
            result += chunk
    except BlockingIOError:
        pass  # something that the step started and left behind holds the pipe
    os.close(answer)
    _kill_group(pid)
    channel.send((status, usage.ru_maxrss / 2**20, result))


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _step(call: bytes, limits: Limits, place: tuple[str, str], tell: int, server: int) -> NoReturn:
    """The forked child: run the call, tell the outcome, end."""
    code = 1
    try:
        os.setsid()
        die_with(server)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        log, folder = place
        os.chdir(folder)
        _redirect(log)
        os.environ.update(limits.variables)
        if limits.memory_GiB is not None:
            most = int(HARD_MEMORY * limits.memory_GiB * GIB)
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        failure, trace = attempt(pickle.loads(call), log)
        sys.stderr.write(trace)
        data = pickle.dumps(failure)
        sys.stdout.flush()
        sys.stderr.flush()
        while data:
            data = data[os.write(tell, data):]
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _redirect(log: str) -> None:
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)  # a full disk: the step itself will say so
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable(2)


def attempt(call: Call, log: str) -> tuple[Failure | None, str]:
    """Call; returns what went wrong and its traceback."""
    function, arguments = call
    try:
        function(*arguments)
    except Exception as error:  # whatever a step raises is its own failure, the rest goes on
        return failure_of(error, log), traceback.format_exc()
    return None, ""
