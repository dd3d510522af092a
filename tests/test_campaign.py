"""Campaigns on a store: nothing finished is run again, whoever is killed, whatever is full, and it is told what happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import step_functions as f

import emforce.campaign
from emforce import claims, cli
from emforce.campaign import Campaign, Placement, cancel, retry
from emforce.claims import Claims, Pulse, owner_of
from emforce.commands.campaign import campaign_lines
from emforce.errors import InputError, StoreError
from emforce.jobs import Step
from emforce.ledger import (
    Journal,
    active_campaigns,
    campaign_ids,
    failed_steps,
    read_campaign,
    remember_failure,
)
from emforce.step_server import Failure
from emforce.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _no_gpaw_where_none_is_needed(request, monkeypatch):
    if not request.node.get_closest_marker("gpaw"):
        monkeypatch.setattr(emforce.campaign, "PRELOAD", ("step_functions",))


def step(root: Path, title: str, needs: tuple[Step, ...] = (), seconds: float = 0.0, **do: Any) -> Step:
    """A step that does what `do` says; those of zero seconds run in the worker."""
    inputs = {"count": str(root.parent / "runs"), "do": {k.replace("_", " "): v for k, v in do.items()}, "title": title}
    return Step("test", title, inputs, {n.title: n for n in needs}, seconds, "light")


def runs(root: Path) -> Counter[str]:
    file = root.parent / "runs"
    return Counter(file.read_text().split("\n")[:-1] if file.exists() else [])


def compute(root: Path, steps: list[Step], workers: int = 1) -> dict[str, str]:
    with Campaign(Store(root), Placement("local", workers, ("a.toml",)), f.run_step) as campaign:
        return campaign.compute(steps)


def latest(root: Path):
    return read_campaign(root, campaign_ids(root)[-1])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_finished_steps_are_not_run_again_and_the_account_says_so(root, capsys):
    a = step(root, "a")
    b = step(root, "b", (a,), seconds=2.0)
    assert compute(root, [b]) == {}
    c = step(root, "c", (b,))
    assert compute(root, [c]) == {}
    assert compute(root, [a, b, c]) == {}
    assert runs(root) == {"a": 1, "b": 1, "c": 1}
    assert len(campaign_ids(root)) == 2, "a campaign with nothing to do leaves no trace"
    state = latest(root)
    assert (state.end, state.alive, state.specs) == ("done", False, ("a.toml",))
    assert {s.title: s.state for s in state.steps.values()} == dict.fromkeys("abc", "done")
    assert [s.title for s in state.steps.values() if s.seconds > 0] == ["c"]
    assert state.steps[c.name].owner == owner_of(os.getpid())
    err = capsys.readouterr().err
    assert "cached" in err and state.id in err
    lines = campaign_lines(state)
    assert any("done       3 of 3 (2 found in the store" in line for line in lines)
    assert not any((root / "claims").iterdir()) and not any((root / "partial").iterdir())
    log = Store(root).output_log(b.name).read_text()
    assert "profile local, class light: started on" in log and log.strip().endswith("done")


def test_what_a_finished_step_was_made_from_may_be_gone(root):
    a = step(root, "a")
    b, c = step(root, "b", (a,)), step(root, "c", (a,))
    d = step(root, "d", (b, c))
    store = Store(root)
    assert compute(root, [d]) == {}

    def without(*gone: Step) -> Store:
        for one in gone:
            shutil.rmtree(store.folder(one.kind, one.key))
        return Store(root)

    without(a, b)
    assert compute(root, [d]) == {} and runs(root) == dict.fromkeys("abcd", 1)
    assert len(campaign_ids(root)) == 1, "nothing to do"
    # a step that is asked for is computed, with what it needs itself
    assert compute(root, [b, d]) == {} and runs(root) == {"a": 2, "b": 2, "c": 1, "d": 1}
    # and one that is needed by what is not there any more: c is gone but so is d, b is there
    without(a, c, d)
    assert compute(root, [d]) == {} and runs(root) == {"a": 3, "b": 2, "c": 2, "d": 2}
    # a failure of what nobody needs is nobody's
    without(a)
    remember_failure(root, a.name, a.title, Failure("not converged", "inputs"))
    assert compute(root, [d]) == {}


def test_a_failure_takes_down_what_needs_it_and_is_told_with_its_log(root, capsys):
    bad = step(root, "bad", seconds=2.0, signal=int(signal.SIGSEGV))
    steps = [step(root, "after", (bad,)), step(root, "good")]
    failed = compute(root, steps)
    log = root / "logs" / f"{bad.name}.log"
    assert set(failed) == {bad.name, steps[0].name}
    assert failed[bad.name].startswith("ended by signal 11 (SIGSEGV)") and failed[bad.name].endswith(f"log {log}")
    assert failed[steps[0].name].startswith(f"needs {bad.name}, which failed: ended by signal 11")
    assert "Segmentation fault" in log.read_text()
    state = latest(root)
    assert state.end == "failed"
    text = "\n".join(campaign_lines(state))
    assert "done       1 of 3" in text and "waiting    1 (1 of them need a step that failed)" in text
    assert f"failed     bad: {failed[bad.name].rpartition('; log ')[0]}" in text and f"{bad.name}; log {log}" in text
    assert runs(root) == {"bad": 1, "good": 1}
    assert not any((root / "partial").iterdir()), "what the killed step left is cleared away"


def test_which_failures_are_tried_again(root):
    marker = root.parent / "tried"
    flaky = step(root, "flaky", fail_at_first=str(marker))
    hopeless = step(root, "hopeless", fail="not converged after all fallbacks")
    after = step(root, "after", (hopeless,))
    first = compute(root, [flaky, after])
    assert set(first) == {flaky.name, hopeless.name, after.name}
    second = compute(root, [flaky, after])
    assert set(second) == {hopeless.name, after.name}
    assert runs(root) == {"flaky": 2, "hopeless": 1}, "what failed because of its inputs is not tried again"
    assert "not converged after all fallbacks" in second[hopeless.name]
    assert second[after.name].startswith(f"needs {hopeless.name}, which failed")
    assert set(failed_steps(root)) == {hopeless.name}
    with pytest.raises(InputError, match="STEP: 'nothing' is not allowed"):
        retry(Store(root), ["nothing"])
    assert set(retry(Store(root))) == {hopeless.name}
    assert retry(Store(root)) == {}
    compute(root, [hopeless])
    assert runs(root)["hopeless"] == 2


def test_damage_is_reported_and_computed_again_where_it_is_needed(root):
    a = step(root, "a", array=1000)
    b = step(root, "b", (a,))
    compute(root, [b])
    file = Store(root).folder(a.kind, a.key) / "arrays.npz"
    data = bytearray(file.read_bytes())
    data[500] ^= 4
    file.write_bytes(data)
    assert compute(root, [b]) == {}
    assert runs(root) == {"a": 1, "b": 1}
    assert f"{a.name}: ValueError: arrays.npz does not match its checksum; removed" in (root / "damaged.log").read_text()
    assert compute(root, [step(root, "c", (a,)), b]) == {}
    assert runs(root) == {"a": 2, "b": 1, "c": 1}


# processes that are killed

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from test_campaign import *
if __name__ == "__main__":
    root = Path(sys.argv[1])
    wait = {{"wait": str(root.parent / "go")}}
    a = step(root, "a")
    steps = [a, step(root, "b", (a,)), step(root, "slow", (a,), 2.0, **wait), step(root, "d", (), -1.0)]
    emforce.campaign.PRELOAD = ("step_functions",)
    with Campaign(Store(root), Placement("local", {workers}), f.run_step) as campaign:
        failed = campaign.compute(steps)
    sys.exit(1 if failed else 0)
"""
TITLES = {"a", "b", "slow", "d"}


def client(root: Path, workers: int = 1) -> subprocess.Popen[str]:
    program = root.parent / "client.py"
    program.write_text(PROGRAM.format(tests=str(TESTS), workers=workers))
    return subprocess.Popen([sys.executable, str(program), str(root)], stderr=subprocess.PIPE, text=True)


def slow_runs(root: Path):
    """The process of the slow step, once it runs and the account knows it."""
    for campaign in campaign_ids(root):
        state = read_campaign(root, campaign)
        for name in state.named("running"):
            owner = state.steps[name].owner
            if state.steps[name].title == "slow" and owner is not None:
                return owner.pid
    return None


def test_kill_9_of_the_client_then_the_same_again(root):
    killed = client(root)
    f.wait_for(lambda: slow_runs(root) and runs(root)["slow"], 60, "the slow step")
    assert [s.alive for s in active_campaigns(root)] == [True]
    pid = slow_runs(root)
    killed.kill()
    killed.communicate()
    f.wait_for(lambda: not f.alive(pid), 20, "the end of the step")
    assert active_campaigns(root) == []
    state = latest(root)
    assert [s.title for s in state.named("lost").values()] == ["slow"]
    lines = "\n".join(campaign_lines(state))
    assert "lost: its process" in lines and "lost       slow on " in lines
    finished = {s.title for s in state.named("done").values()}
    assert "a" in finished and "slow" not in finished
    assert list((root / "claims").iterdir()), "its claims are still there"
    (root.parent / "go").touch()
    again = client(root)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    count = runs(root)
    assert set(count) == TITLES
    assert count.pop("slow") == 2
    assert set(count.values()) == {1}, "finished steps are not run again"
    assert latest(root).end == "done"
    assert not any((root / "partial").iterdir()) and not any((root / "claims").glob("[!.]*"))


def test_two_campaigns_at_once_on_one_store(root):
    both = [client(root), client(root)]
    f.wait_for(lambda: slow_runs(root), 60, "the slow step")
    f.wait_for(lambda: len(campaign_ids(root)) == 2, 60, "the second campaign")
    time.sleep(2.0)
    (root.parent / "go").touch()
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert runs(root) == dict.fromkeys(TITLES, 1), "no step was computed twice"
    assert sum("slow: being computed by campaign" in err for err in errors) == 1
    assert not any((root / "claims").iterdir())


def test_cancel(root, capsys):
    running = client(root)
    f.wait_for(lambda: slow_runs(root), 60, "the slow step")
    pid = slow_runs(root)
    campaign = campaign_ids(root)[-1]
    assert cli.main(["cancel", "--store", str(root)]) == 0
    assert campaign in capsys.readouterr().out
    _, err = running.communicate(timeout=60)
    assert "CampaignCancelled" in err  # the program above has no command line around it
    assert not f.alive(pid)
    state = read_campaign(root, campaign)
    assert state.end == "cancelled"
    assert [s.title for s in state.named("cancelled").values()] == ["slow"]
    assert cli.main(["status", "--store", str(root), "--campaign", campaign]) == 0
    assert "cancelled  slow" in capsys.readouterr().out
    assert not any((root / "claims").iterdir())
    with pytest.raises(InputError, match="no campaign is running"):
        cancel(Store(root), "")


def test_a_cancelled_run_has_an_exit_code_of_its_own(tmp_path, monkeypatch, capsys):
    from emforce import workflow

    def stop(*_: object, **__: object) -> None:
        raise emforce.campaign.CampaignCancelled("campaign x was cancelled")

    monkeypatch.setattr(workflow, "run", stop)
    spec = tmp_path / "cu.toml"
    spec.write_text('metal = "Cu"\nfacet = "100"\nkind = "adatom"\n')
    assert cli.main(["run", str(spec)]) == 3
    assert capsys.readouterr().err == "emforce: campaign x was cancelled\n"


def test_sigterm_leaves_no_step_and_says_how_it_ended(root):
    running = client(root)
    f.wait_for(lambda: slow_runs(root), 60, "the slow step")
    pid = slow_runs(root)
    running.terminate()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "terminated; finished steps are kept" in err and "Traceback" not in err
    assert not f.alive(pid)
    assert latest(root).end == "interrupted"
    assert not any((root / "claims").iterdir())


# claims and journals


def test_claims_of_the_dead_are_broken_and_those_of_the_living_are_not(tmp_path, monkeypatch):
    me = owner_of(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = owner_of(child.pid)
    child.wait()
    mine, other = Claims(tmp_path, "mine", me), Claims(tmp_path, "other", dead)
    assert other.take("s") and not mine.take("s")
    assert mine.holder("s") == ("other", dead) and mine.holder("t") is None
    pulse = Pulse()
    assert not pulse.lives(dead, tmp_path / "beat") and pulse.lives(me, tmp_path / "beat")
    mine.break_open("s", "other")
    assert mine.take("s") and not other.take("s")
    other.break_open("s", "other")  # it looked at the old claim, and is late
    assert other.holder("s") == ("mine", me), "a claim that was taken in the meantime stays"
    mine.release("s")
    assert other.take("s")
    # an owner that had the same process id before is not the owner
    assert not pulse.lives(claims.Owner(me.host, me.pid, me.machine, me.ticks - 5), tmp_path / "beat")
    # on another machine: by the beat as it is seen to change
    monkeypatch.setattr(claims, "DEAD_SECONDS", 0.5)
    far = claims.Owner("node7", 4, "another machine", 9)
    beat = tmp_path / "far.beat"
    beat.touch()
    for _ in range(4):
        assert pulse.lives(far, beat)
        time.sleep(0.2)
        os.utime(beat)
    assert pulse.lives(far, beat)
    time.sleep(0.6)
    assert not pulse.lives(far, beat)
    assert not claims.looks_alive(far, beat) and not claims.looks_alive(far, tmp_path / "none")


def test_a_torn_line_spoils_nothing(tmp_path):
    journal = Journal(tmp_path, ["a"])
    journal.plan([("s", "step", 5.0), ("t", "other", 5.0)])
    os.write(journal._file, b'\n{"t": 1, "event": "runn')  # kill -9, or a disk that filled up
    journal.write({"event": "done", "step": "t", "seconds": 1.0})
    state = read_campaign(tmp_path, journal.id)
    assert {s.title: s.state for s in state.steps.values()} == {"step": "waiting", "other": "done"}
    assert state.alive and state.remaining_s == pytest.approx(1.0), "the other took a fifth of what was expected"
    journal.close("done")
    assert not read_campaign(tmp_path, journal.id).alive
    with pytest.raises(InputError, match="--campaign: 'x' is not allowed"):
        read_campaign(tmp_path, "x")


@pytest.mark.parametrize(("place", "field"), [
    (Placement("slurn"), "--cluster: 'slurn'"), (Placement("local", 0), "--workers: 0"),
])
def test_bad_placement_is_told_before_anything_is_written(root, place, field):
    with pytest.raises(InputError, match=field):
        place.check()
    assert not root.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_stops_with_one_line_and_goes_on_when_there_is_room(tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(disk)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of a given size: {done.stderr.strip()}")
    try:
        root = disk / "store"
        steps = [step(tmp_path / "x", name, (), 2.0 - 0.1 * i, array=60_000) for i, name in enumerate("abcd")]
        with pytest.raises(StoreError, match="No space left on device; make room or choose another folder") as caught:
            compute(root, steps)
        assert "\n" not in str(caught.value)
        store = Store(root)
        finished = [s.title for s in steps if store.find(s.kind, s.key) is not None]
        assert finished == ["a", "b"], "480 kB each: two fit"
        assert runs(tmp_path / "x") == {"a": 1, "b": 1, "c": 1}, "nothing is started that cannot be kept"
        assert not any((root / "partial").iterdir()) and len(list((root / "steps").iterdir())) == 2
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert compute(root, steps) == {}
        assert runs(tmp_path / "x") == {"a": 1, "b": 1, "c": 2, "d": 1}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# real steps on Dask workers


@pytest.mark.gpaw
def test_kill_9_of_a_worker_during_a_self_consistency_loop(root):
    from test_jobs import image

    first, moved = image()
    other, _ = image(density_tolerance=1e-5)
    killed: list[int] = []

    def kill() -> None:
        def running():
            return [s.owner.pid for i in campaign_ids(root) for s in read_campaign(root, i).named("running").values() if s.owner]

        f.wait_for(running, 90, "a step")
        (text,) = [root / "logs" / f"{first.name}.txt"]
        f.wait_for(lambda: text.exists() and "iter:" in text.read_text(), 60, "its first iteration")
        state = latest(root)
        worker = psutil.Process(state.steps[first.name].owner.pid).parent().parent()
        killed.append(worker.pid)
        worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with Campaign(Store(root), Placement("local", 2)) as campaign:
        assert campaign.compute([moved, other]) == {}
    killer.join()
    assert killed
    events = (root / "campaigns" / f"{campaign_ids(root)[-1]}.jsonl").read_text()
    assert events.count(f'"event": "running", "step": "{first.name}"') == 2, "it began again on another worker"
    assert all(Store(root).find(s.kind, s.key) is not None for s in (first, moved, other))
    assert not any((root / "partial").iterdir())
