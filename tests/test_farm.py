"""Graphs of functions, on one worker of this process and on Dask workers; killed workers, failures, Ctrl-C."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import dask
import pytest
import step_functions as f

from emforce.clusters import load_profile
from emforce.errors import CheckError, ConvergenceError, EmforceError, InputError, StoreError
from emforce.farm import run_tasks
from emforce.pools import LOST_LIMIT, Begun, Task, limits_of, open_pool
from emforce.ranked_scf import VARIABLE
from emforce.runner import Outcome
from emforce.step_server import Failure

LOCAL = load_profile("local")
PRELOAD = ("step_functions",)


class Record:
    """Remembers what it is told. Claims every step, but those of `others` first go to somebody else."""

    def __init__(self, others: dict[str, list[str]] | None = None, stop_after: int | None = None) -> None:
        self.events: list[tuple[str, str]] = []
        self.pids: dict[str, list[int]] = {}
        self.others = others or {}
        self.stop_after = stop_after

    def claim(self, name: str) -> str:
        return self.others[name].pop(0) if self.others.get(name) else "mine"

    def begin(self, name: str, host: str, pid: int) -> None:
        self.events.append((name, "begin"))
        self.pids.setdefault(name, []).append(pid)

    def end(self, name: str, failure: Failure | None, seconds: float) -> None:
        self.events.append((name, "done" if failure is None else f"failed: {failure.reason}"))

    def check(self) -> None:
        if self.stop_after is not None and len(self.events) >= self.stop_after:
            raise EmforceError("stop")


def graph(folder: Path) -> dict[str, Task]:
    d = str(folder)
    log = folder / "log"
    return {
        "last": Task(f.write, (d, "last", ("left", "right")), ("left", "right")),
        "left": Task(f.write, (d, "left", ("first",)), ("first",), "scf", 1.0, log),
        "right": Task(f.write, (d, "right", ("first",)), ("first",), "light", 5.0, log),
        "first": Task(f.write, (d, "first"), log=log),
        "bad input": Task(f.fail_input, (), (), "scf", 1.0, log),
        "bad convergence": Task(f.fail_convergence, ()),
        "bad otherwise": Task(f.fail_otherwise, ()),
        "needs bad": Task(f.write, (d, "needs bad"), ("first", "bad convergence")),
        "needs needs bad": Task(f.write, (d, "needs needs bad"), ("needs bad",)),
    }


EXPECTED = {
    "bad input": "metal: 'Xx' is not allowed; allowed: Cu, W",
    "bad convergence": "self-consistency not reached",
    "bad otherwise": "ZeroDivisionError: division by zero",
    "needs bad": "needs bad convergence, which failed: self-consistency not reached",
    "needs needs bad": "needs needs bad, which failed: needs bad convergence, which failed: self-consistency not reached",
}


def check_events(record: Record, tasks: dict[str, Task], failed: dict[str, str]) -> None:
    """Every task ends once, those that ran began before, and nothing begins before what it needs is done."""
    for name, task in tasks.items():
        mine = [event for n, event in record.events if n == name]
        if name not in failed:
            assert mine[-1] == "done" and mine.count("done") == 1 and set(mine[:-1]) == {"begin"}
            for need in task.after:
                assert record.events.index((need, "done")) < record.events.index((name, "begin"))
        else:
            assert mine[-1] == f"failed: {failed[name]}"
            assert set(mine[:-1]) <= (set() if failed[name].startswith("needs ") else {"begin"})


def reasons(failures: dict[str, Failure]) -> dict[str, str]:
    return {name: failure.reason for name, failure in failures.items()}


def test_one_worker(tmp_path):
    record, tasks = Record(), graph(tmp_path)
    with open_pool(LOCAL, 1, PRELOAD) as pool:
        failed = run_tasks(tasks, pool, record)
    assert reasons(failed) == EXPECTED
    assert failed["bad input"].log == str(tmp_path / "log") and failed["bad input"].final
    check_events(record, tasks, reasons(failed))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "last", "left", "log", "right"]
    # short light tasks run in the worker, which is a thread of this process; the others in processes of their own
    here = str(os.getpid())
    pids = {name: (tmp_path / name).read_text() for name in ("first", "last", "left", "right")}
    assert pids["first"] == pids["last"] == here
    assert here not in (pids["left"], pids["right"])
    assert record.pids["left"] == [int(pids["left"])]


def test_workers_that_are_gone_end_the_campaign(tmp_path):
    """Workers that do not come back: a reason, and no endless wait. A pool of its own: a nanny may still replace a killed one."""
    with open_pool(LOCAL, 2) as pool:
        cluster = pool._client.cluster
        cluster.sync(cluster.scale, 0)
        f.wait_for(lambda: pool._running.running_workers() == 0, 60, "the workers' end")
        pool._patience = 2.0
        start = time.monotonic()
        task = Task(f.sleep, (str(tmp_path), "x"), (), "scf", 1.0, tmp_path / "log")
        with pytest.raises(EmforceError, match=r"^no worker for 2 s \(profile local\)"):
            run_tasks({"a": task}, pool, Record())
        assert time.monotonic() - start < 40


def test_dask_gives_the_same_and_survives_killed_workers(tmp_path):
    d = str(tmp_path)
    tasks = graph(tmp_path) | {
        # this one kills the worker, as it is light and short, and the next ones with it where they wait there too
        "always dies": Task(f.die, (d, "always dies", 99), ("last",)),
        **{n: Task(f.write, (d, n, ("last",)), ("last",)) for n in ("after", "after too")},
        "crashes": Task(f.die, (d, "crashes", 99, signal.SIGSEGV), ("after", "after too"), "scf", 1.0, tmp_path / "log"),
    }
    record = Record()
    deaths = 1  # four without this; each takes a worker's start
    with dask.config.set({"distributed.scheduler.allowed-failures": deaths - 1}), open_pool(LOCAL, 2, PRELOAD) as pool:
        where, dashboard, slots = pool.describe()
        assert slots == 2 and "2 processes on this machine" in where and dashboard.startswith("http://127.0.0.1:")
        failed = reasons(run_tasks(tasks, pool, record))
    check_events(record, tasks, failed)
    # a crash is the step's own failure, not its worker's
    assert failed.pop("always dies").startswith("ended by signal 9 (SIGKILL)")
    assert failed.pop("crashes").startswith("ended by signal 11 (SIGSEGV)")
    assert failed == EXPECTED
    assert (tmp_path / "crashes.deaths").read_text() == "x"
    assert (tmp_path / "always dies.deaths").read_text() == "x" * (deaths + 1), "in the worker, then in a process of its own"
    assert {p.name for p in tmp_path.iterdir()} >= {"first", "last", "left", "right", "after", "after too"}
    assert (tmp_path / "first").read_text() != str(os.getpid())


def test_cycles_and_unknown_steps_are_reported_before_anything_runs(tmp_path):
    d = str(tmp_path)
    tasks = {
        "a": Task(f.write, (d, "a")),
        "b": Task(f.write, (d, "b"), ("a", "c")),
        "c": Task(f.write, (d, "c"), ("b",)),
        "d": Task(f.write, (d, "d"), ("nowhere",)),
    }
    with (open_pool(LOCAL, 1) as pool,
          pytest.raises(EmforceError, match=r"wait for each other or for unknown ones: b, c, d$")):
        run_tasks(tasks, pool, Record())
    assert list(tmp_path.iterdir()) == []


def test_an_empty_graph():
    with open_pool(LOCAL, 1) as pool:
        assert run_tasks({}, pool, Record()) == {}


def test_the_first_of_the_mapping_goes_first(tmp_path):
    record = Record()
    names = [f"task {i}" for i in (3, 1, 4, 0, 2)]
    with open_pool(LOCAL, 1) as pool:
        run_tasks({n: Task(f.write, (str(tmp_path), n)) for n in names}, pool, record)
    assert [n for n, event in record.events if event == "begin"] == names


def test_a_full_disk_stops_what_has_not_begun(tmp_path):
    tasks = {"full": Task(f.fail_disk, ())} | {n: Task(f.write, (str(tmp_path), n)) for n in ("x", "y")}
    with open_pool(LOCAL, 1) as pool:
        failed = run_tasks(tasks, pool, Record())
    assert reasons(failed) == {"full": "store x: No space left on device"}
    assert list(tmp_path.iterdir()) == []


def test_steps_of_others_are_asked_for_again_and_nothing_waits_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr("emforce.farm.ELSEWHERE_SECONDS", 0.2)
    others = {"a": ["elsewhere", "elsewhere", "done"], "b": ["elsewhere", "mine"]}
    tasks = {n: Task(f.write, (str(tmp_path), n)) for n in "abc"} | {"after a": Task(f.write, (str(tmp_path), "d"), ("a",))}
    record = Record(others)
    with open_pool(LOCAL, 1) as pool:
        assert run_tasks(tasks, pool, record) == {}
    assert next(n for n, event in record.events if event == "done") == "c"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "c", "d"], "a was done by somebody else"


class LossyPool:
    """Loses every task a number of times."""

    may_repeat = True

    def __init__(self, times: int) -> None:
        self.times, self.submitted, self.queue = times, 0, []

    def submit(self, name: str, task: Task) -> None:
        self.submitted += 1
        lost = Failure("the worker is gone", "lost") if self.submitted <= self.times else None
        self.queue += [Begun(name, "node", self.submitted), (name, Outcome(1.0, 0.1, lost))]

    def free(self, running, tasks):
        return {True: 1 - len(running), False: 1 - len(running)}

    def events(self, timeout):
        found, self.queue = self.queue, []
        return found

    def describe(self):
        return "lossy", "", 1


@pytest.mark.parametrize(("times", "failed"), [(LOST_LIMIT - 1, {}), (99, {"a": "the worker is gone"})])
def test_lost_tasks_are_given_out_again_a_bounded_number_of_times(times, failed):
    pool, record = LossyPool(times), Record()
    assert reasons(run_tasks({"a": Task(f.fail_input, ())}, pool, record)) == failed
    assert pool.submitted == LOST_LIMIT
    assert [e for _, e in record.events].count("begin") == LOST_LIMIT


def test_limits_follow_the_profile():
    limits = limits_of(LOCAL, "scf", ("gpaw",))
    own = LOCAL.steps["scf"]
    assert (limits.memory_GiB, limits.time_s) == (own.memory_GiB, own.time_limit_s)
    assert limits.label == "profile local, class scf"
    assert limits.variables["OMP_NUM_THREADS"] == limits.variables["OPENBLAS_NUM_THREADS"] == "1"
    ranks = replace(LOCAL, steps={**LOCAL.steps, "scf": replace(own, ranks=4)})
    told = json.loads(limits_of(ranks, "scf", ()).variables[VARIABLE])
    assert told == {"ranks": 4, "command": ["mpirun", "-np", "4", "--bind-to", "none", sys.executable]}
    assert VARIABLE not in limits.variables


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
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_farm import LOCAL, PRELOAD, Record, Task, f, open_pool, run_tasks
if __name__ == "__main__":
    folder = sys.argv[1]
    tasks = {{n: Task(f.sleep, (folder, n), (), "scf", 60.0, Path(folder) / "log") for n in ("a", "b")}}
    with open_pool(LOCAL, {workers}, PRELOAD) as pool:
        run_tasks(tasks, pool, Record())
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_stopped_client_leaves_no_process(tmp_path, number, workers):
    program = tmp_path / "client.py"
    program.write_text(CLIENT.format(tests=str(Path(__file__).parent), workers=workers))
    client = subprocess.Popen([sys.executable, str(program), str(tmp_path)], stderr=subprocess.PIPE, start_new_session=True,
                              # tests that a shell started in the background are deaf to SIGINT, and so would be their children
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        files = [tmp_path / f"{name}.pid" for name in ("a", "b")[:workers]]
        f.wait_for(lambda: client.poll() is not None or all(p.exists() and p.read_text() for p in files), 90, "the steps")
        assert client.poll() is None
        pids = [int(p.read_text()) for p in files]
        os.kill(client.pid, number)  # to the client alone: a terminal would reach the workers too
        client.communicate(timeout=30)
        assert client.returncode != 0
        f.wait_for(lambda: not any(f.alive(pid) for pid in pids), 30, "the end of the steps")
    finally:
        try:
            os.killpg(client.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
