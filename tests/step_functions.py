"""Functions that tests run as steps: importable, so that the processes of steps find them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from emforce.errors import ConvergenceError, InputError, StoreError


def write(folder: str, name: str, needs: tuple[str, ...] = ()) -> str:
    for need in needs:
        assert (Path(folder) / need).exists(), f"{need} was not there"
    (Path(folder) / name).write_text(str(os.getpid()))
    return name


def fail_input() -> None:
    raise InputError("metal", "Xx", "Cu, W")


def fail_convergence() -> None:
    raise ConvergenceError("self-consistency\nnot reached")


def fail_otherwise() -> None:
    raise ZeroDivisionError("division by zero")


def fail_disk() -> None:
    raise StoreError("store x: No space left on device")


def die(folder: str, name: str, times: int, number: int = signal.SIGKILL) -> None:
    """Kill the process that runs this the first `times` times."""
    file = Path(folder) / f"{name}.deaths"
    deaths = len(file.read_text()) if file.exists() else 0
    if deaths < times:
        file.write_text("x" * (deaths + 1))
        os.kill(os.getpid(), number)
    (Path(folder) / name).write_text("lived")


def note_pid(folder: str, name: str, pid: int) -> None:
    """Write a process id, whole or not at all: a test may kill the writer at any moment and read the file."""
    partial = Path(folder) / f".{name}.pid"
    partial.write_text(str(pid))
    os.replace(partial, partial.with_name(f"{name}.pid"))


def sleep(folder: str, name: str, seconds: float = 300.0) -> None:
    note_pid(folder, name, os.getpid())
    time.sleep(seconds)


def say(text: str) -> None:
    print(text)
    print(f"{text} on standard error", file=sys.stderr)


def leave(code: int) -> None:
    os._exit(code)


def fill_memory(gib: float, step_gib: float, pause: float) -> None:
    """Touch memory piece by piece, as a leak does."""
    import numpy as np

    kept = []
    while len(kept) * step_gib < gib:
        kept.append(np.ones(int(step_gib * 2**27)))
        time.sleep(pause)
    time.sleep(30)


def start_child(folder: str) -> None:
    """A step that starts a process of its own and both go on for ever."""
    import subprocess

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    note_pid(folder, "child", child.pid)
    note_pid(folder, "step", os.getpid())
    time.sleep(300)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition, seconds: float = 30.0, what: str = "it") -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what} did not happen in {seconds} s"
        time.sleep(0.05)


def run_step(step, root: str) -> None:
    """Stands for emforce.jobs.execute: a step of a store that does what its inputs say, and is counted."""
    from emforce.store import Store, save_arrays

    def make(folder: Path, log: Path) -> dict[str, float]:
        import numpy as np

        with Path(step.inputs["count"]).open("a") as count:
            count.write(f"{step.title}\n")
        for word, value in step.inputs["do"].items():
            if word == "sleep":
                time.sleep(value)
            elif word == "wait":  # until a file is there
                wait_for(Path(value).exists, 120)
            elif word == "array":
                save_arrays(folder, {"a": np.ones(value)})
            elif word == "fail":
                raise ConvergenceError(value)
            elif word == "fail at first":
                if not Path(value).exists():
                    Path(value).touch()
                    raise RuntimeError("something in the node")
            elif word == "signal":
                os.kill(os.getpid(), value)
        return {"x": 1.0}

    Store(root).run(step.kind, step.key, step.inputs, make)
