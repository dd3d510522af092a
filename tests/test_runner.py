"""A step in a process of its own: limits, crashes, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import step_functions as f

from emforce import runner
from emforce.runner import run_apart, run_here
from emforce.step_server import CAUSES, Limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")

PRELOAD = ("numpy", "step_functions")


@pytest.fixture(scope="module", autouse=True)
def _no_server_is_left():
    yield
    runner.close_servers()
    assert not runner._all


def apart(tmp_path: Path, function, *arguments, **limits):
    wanted = Limits(label="profile test, class scf", preload=PRELOAD, **limits)
    outcome = run_apart((function, arguments), wanted, tmp_path / "step.log")
    if outcome.failure is not None:
        assert outcome.failure.cause in CAUSES
        assert "\n" not in outcome.failure.reason
        assert outcome.failure.log == str(tmp_path / "step.log")
    return outcome


def test_a_step_runs_in_another_process_and_what_it_says_is_in_its_log(tmp_path):
    started: list[int] = []
    outcome = run_apart((f.write, (str(tmp_path), "a")), Limits(preload=PRELOAD), tmp_path / "step.log", started.append)
    assert outcome.failure is None
    assert 0.01 < outcome.peak_GiB < 2
    assert (tmp_path / "a").read_text() == str(started[0]) != str(os.getpid())
    assert apart(tmp_path, f.say, "hello").failure is None
    log = (tmp_path / "step.log").read_text()
    assert "hello\n" in log and "hello on standard error\n" in log
    assert "at most" in log.splitlines()[-1] and log.splitlines()[-1].endswith("done")


def test_the_process_that_forks_is_used_again(tmp_path):
    apart(tmp_path, f.say, "first")
    servers = set(runner._all)
    start = time.monotonic()
    for _ in range(10):
        assert apart(tmp_path, f.say, "again").failure is None
    assert runner._all == servers
    assert time.monotonic() - start < 10 * 0.5, "a step must not pay for a new interpreter"


@pytest.mark.parametrize(("function", "reason", "cause"), [
    (f.fail_input, "metal: 'Xx' is not allowed; allowed: Cu, W", "inputs"),
    (f.fail_convergence, "self-consistency not reached", "inputs"),
    (f.fail_otherwise, "ZeroDivisionError: division by zero", "error"),
    (f.fail_disk, "store x: No space left on device", "disk"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_failures_have_one_line_and_a_cause(tmp_path, function, reason, cause):
    for outcome in (apart(tmp_path, function), run_here((function, ()), tmp_path / "step.log")):
        assert (outcome.failure.reason, outcome.failure.cause) == (reason, cause)
        assert outcome.failure.final == (cause == "inputs")
        assert str(outcome.failure) == f"{reason}; log {tmp_path / 'step.log'}"
    assert (tmp_path / "step.log").read_text().count("Traceback (most recent call last)") == 2


@pytest.mark.parametrize(("number", "words"), [
    (signal.SIGSEGV, "ended by signal 11 (SIGSEGV)"), (signal.SIGKILL, "ended by signal 9 (SIGKILL) from outside"),
    (signal.SIGABRT, "ended by signal 6 (SIGABRT)"),
])
def test_a_crash_is_named_and_the_next_step_runs(tmp_path, number, words):
    outcome = apart(tmp_path, f.die, str(tmp_path), "x", 1, number)
    assert outcome.failure.reason.startswith(words)
    assert outcome.failure.cause == "signal" and not outcome.failure.final
    if number == signal.SIGSEGV:
        assert "Fatal Python error: Segmentation fault" in (tmp_path / "step.log").read_text()
    assert apart(tmp_path, f.die, str(tmp_path), "x", 1, number).failure is None
    assert (tmp_path / "x").read_text() == "lived"


def test_a_step_that_leaves_without_a_word(tmp_path):
    outcome = apart(tmp_path, f.leave, 7)
    assert outcome.failure.reason == "ended with exit code 7 and said no more"


def test_time_limit(tmp_path):
    start = time.monotonic()
    outcome = apart(tmp_path, f.sleep, str(tmp_path), "x", time_s=2.0)
    assert 2.0 <= time.monotonic() - start < 6.0
    assert outcome.failure.reason == "time limit of 2 s reached (profile test, class scf)"
    assert outcome.failure.cause == "time"
    assert not f.alive(int((tmp_path / "x.pid").read_text()))


def test_memory_limit_of_a_leak(tmp_path):
    outcome = apart(tmp_path, f.fill_memory, 3.0, 0.05, 0.15, memory_GiB=0.4)
    assert outcome.failure.cause == "memory"
    words = outcome.failure.reason.split()
    assert outcome.failure.reason.startswith("out of memory: used ")
    assert 0.4 <= float(words[4]) < 0.7, "it is ended before it is far beyond its limit"
    assert outcome.failure.reason.endswith(" GiB, limit 0.4 GiB (profile test, class scf)")


def test_memory_limit_of_one_large_array(tmp_path):
    """What is asked for at once is refused, before the machine pays for it."""
    outcome = apart(tmp_path, f.fill_memory, 8.0, 8.0, 0.0, memory_GiB=0.5)
    assert outcome.failure.cause == "memory"
    assert outcome.failure.reason.startswith("out of memory: Unable to allocate 8.00 GiB")
    assert outcome.failure.reason.endswith("limit 0.5 GiB (profile test, class scf)")
    assert outcome.peak_GiB < 0.5


def test_what_a_step_started_ends_with_it(tmp_path):
    outcome = apart(tmp_path, f.start_child, str(tmp_path), time_s=3.0)
    assert outcome.failure.cause == "time"
    for name in ("step", "child"):
        f.wait_for(lambda n=name: not f.alive(int((tmp_path / f"{n}.pid").read_text())), 5, f"end of {name}")


OWNER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import step_functions as f
from emforce.runner import run_apart
from emforce.step_server import Limits
run_apart((f.start_child, ({folder!r},)), Limits(), Path({folder!r}) / "step.log")
"""


def test_killing_the_worker_leaves_no_process(tmp_path):
    program = OWNER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    owner = subprocess.Popen([sys.executable, "-c", program])
    files = [tmp_path / "step.pid", tmp_path / "child.pid"]
    f.wait_for(lambda: all(p.exists() and p.read_text() for p in files), 60, "the step")
    owner.kill()
    owner.wait()
    for file in files:
        f.wait_for(lambda p=file: not f.alive(int(p.read_text())), 10, "the end of the step")


def test_a_lost_step_server_is_told(tmp_path):
    def kill_server(pid: int) -> None:
        (server,) = runner._all
        server._process.kill()

    runner.close_servers()
    outcome = run_apart((f.sleep, (str(tmp_path), "x")), Limits(preload=PRELOAD), tmp_path / "step.log", kill_server)
    assert outcome.failure.cause == "lost"
    f.wait_for(lambda: not (tmp_path / "x.pid").exists() or not f.alive(int((tmp_path / "x.pid").read_text())), 10, "its end")
    assert apart(tmp_path, f.say, "on").failure is None, "the next step gets a new one"


def test_memory_counts_what_a_step_started():
    """The tree's memory, not the first process's alone."""
    program = "x = b'x' * 2**28; print(1, flush=True); import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        child.stdout.read(1)
        assert runner._tree_memory(os.getpid()) > runner._tree_memory(child.pid) > 0.25
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
