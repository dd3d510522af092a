"""Graphs of functions, in this process and on Dask workers; killed workers, failures, Ctrl-C."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emforce.errors import CheckError, ConvergenceError, EmforceError, InputError, StoreError
from emforce.farm import Task, run_tasks

# functions of the graphs: importable, so that workers find them


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


def die(folder: str, name: str, times: int) -> None:
    """Kill the process that runs this, as the kernel does when memory is short, the first `times` times."""
    file = Path(folder) / f"{name}.deaths"
    deaths = len(file.read_text()) if file.exists() else 0
    if deaths < times:
        file.write_text("x" * (deaths + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(folder) / name).write_text("lived")


def sleep(folder: str, name: str) -> None:
    (Path(folder) / f"{name}.pid").write_text(str(os.getpid()))
    time.sleep(300)


def graph(folder: Path) -> dict[str, Task]:
    f = str(folder)
    return {
        "last": Task(write, (f, "last", ("left", "right")), ("left", "right")),
        "left": Task(write, (f, "left", ("first",)), ("first",)),
        "right": Task(write, (f, "right", ("first",)), ("first",)),
        "first": Task(write, (f, "first")),
        "bad input": Task(fail_input, ()),
        "bad convergence": Task(fail_convergence, ()),
        "bad otherwise": Task(fail_otherwise, ()),
        "needs bad": Task(write, (f, "needs bad"), ("first", "bad convergence")),
        "needs needs bad": Task(write, (f, "needs needs bad"), ("needs bad",)),
    }


EXPECTED = {
    "bad input": "metal: 'Xx' is not allowed; allowed: Cu, W",
    "bad convergence": "self-consistency not reached",
    "bad otherwise": "ZeroDivisionError: division by zero",
    "needs bad": "needs bad convergence, which failed: self-consistency not reached",
    "needs needs bad": "needs needs bad, which failed: needs bad convergence, which failed: self-consistency not reached",
}


def check_events(events: list[tuple[str, str]], tasks: dict[str, Task], failed: dict[str, str]) -> None:
    """Every task ends once, those that ran began before, and nothing begins before what it needs is done."""
    for name, task in tasks.items():
        mine = [event for n, event in events if n == name]
        if name not in failed:
            assert mine == ["begin", "done"]
            for need in task.after:
                assert events.index((need, "done")) < events.index((name, "begin"))
        else:
            assert mine[-1] == f"failed: {failed[name]}"
            assert mine[:-1] == ([] if failed[name].startswith("needs ") else ["begin"])


def test_serial(tmp_path):
    events: list[tuple[str, str]] = []
    tasks = graph(tmp_path)
    failed = run_tasks(tasks, 1, lambda name, event: events.append((name, event)))
    assert failed == EXPECTED
    check_events(events, tasks, failed)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "last", "left", "right"]
    assert (tmp_path / "first").read_text() == str(os.getpid())


def test_dask_gives_the_same_and_survives_killed_workers(tmp_path):
    events: list[tuple[str, str]] = []
    f = str(tmp_path)
    tasks = graph(tmp_path) | {
        "dies once": Task(die, (f, "dies once", 1), ("last",)),
        "after": Task(write, (f, "after", ("dies once",)), ("dies once",)),
        "always dies": Task(die, (f, "always dies", 99), ("after",)),
    }
    failed = run_tasks(tasks, 2, lambda name, event: events.append((name, event)))
    reason = failed.pop("always dies")
    assert "KilledWorker" in reason
    assert "\n" not in reason
    assert failed == EXPECTED
    check_events(events, tasks, failed | {"always dies": reason})
    assert (tmp_path / "dies once.deaths").read_text() == "x"
    assert len((tmp_path / "always dies.deaths").read_text()) <= 4
    assert {p.name for p in tmp_path.iterdir()} >= {"first", "last", "left", "right", "dies once", "after"}
    assert (tmp_path / "first").read_text() != str(os.getpid())


@pytest.mark.parametrize("workers", [1, 2])
def test_cycles_and_unknown_steps_are_reported_before_anything_runs(tmp_path, workers):
    f = str(tmp_path)
    tasks = {
        "a": Task(write, (f, "a")),
        "b": Task(write, (f, "b"), ("a", "c")),
        "c": Task(write, (f, "c"), ("b",)),
        "d": Task(write, (f, "d"), ("nowhere",)),
    }
    with pytest.raises(EmforceError, match=r"wait for each other or for unknown ones: b, c, d$"):
        run_tasks(tasks, workers, lambda name, event: None)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_graph():
    assert run_tasks({}, 1, lambda name, event: None) == {}


@pytest.mark.parametrize("error", [
    InputError("layers", 0, "at least 1"), ConvergenceError("not reached"), CheckError("no"), StoreError("full"),
], ids=lambda e: type(e).__name__)
def test_errors_survive_the_way_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


CLIENT = """
import sys
sys.path.insert(0, {tests!r})
from test_farm import Task, run_tasks, sleep
if __name__ == "__main__":
    folder = sys.argv[1]
    run_tasks({{n: Task(sleep, (folder, n)) for n in ("a", "b")}}, {workers}, lambda name, event: None)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGKILL, 2), (signal.SIGINT, 1)],
                         ids=["Ctrl-C", "kill -9", "Ctrl-C serially"])
def test_a_stopped_client_leaves_no_process(tmp_path, number, workers):
    program = tmp_path / "client.py"
    program.write_text(CLIENT.format(tests=str(Path(__file__).parent), workers=workers))
    client = subprocess.Popen([sys.executable, str(program), str(tmp_path)], stderr=subprocess.PIPE, start_new_session=True)
    try:
        limit = time.monotonic() + 90
        files = [tmp_path / f"{name}.pid" for name in ("a", "b")[:workers]]
        while not all(f.exists() and f.read_text() for f in files):
            assert client.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.1)
        workers_pids = [int(f.read_text()) for f in files]
        os.kill(client.pid, number)  # to the client alone: a terminal would reach the workers too
        client.communicate(timeout=20)
        assert client.returncode != 0
        limit = time.monotonic() + 20
        while any(alive(pid) for pid in workers_pids):
            assert time.monotonic() < limit, "a worker goes on"
            time.sleep(0.1)
    finally:
        try:
            os.killpg(client.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
