"""A campaign on a real SLURM of two virtual nodes (scripts/slurm.sh), with a job cancelled in the middle. `make test-slurm`.

The command is the cluster example of docs/cluster.md, in the smallest cell: real GPAW, about two minutes.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from emforce.cluster_profile import load_profile
from emforce.clusters import start
from emforce.errors import EmforceError, InputError

pytestmark = [pytest.mark.slurm, pytest.mark.gpaw]

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "slurm.sh"
PROFILE = ROOT / "workflows" / "clusters" / "slurm-test.toml"
SMALLEST = [
    "structure.slab_size=[2,2,1]", "structure.layers=2", "structure.thick_layers=[3,2]", "structure.vacuum_A=4.0",
    "structure.relaxed=''", "dft.recipe=small", "dft.grid_A=0.32", "dft.slab_kpts=[1,1,1]", "host.bulk_kpts=4",
    "host.bulk_matrix_kpts=5", "host.bulk_mesh=16", "host.bulk_mesh_max=16", "host.slab_mesh=16",
    "dft.density_tolerance=1e-3", "embedding.radii_A=[6.0,5.4]", "embedding.energies_eV=[-0.1,0.0,0.1]",
    "direct.compute=false",
]
LIMIT_S = 900.0
#: expected duration of a step whose job is cancelled
LONG_S = 10.0


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    subprocess.run([SCRIPT, "start"], check=True, timeout=900)
    before = os.environ.get("SLURM_CONF")
    line = subprocess.run([SCRIPT, "env"], check=True, text=True, capture_output=True).stdout
    os.environ["SLURM_CONF"] = shlex.split(line)[1].partition("=")[2]
    try:
        yield
    finally:
        subprocess.run([SCRIPT, "stop"], check=True, timeout=120)
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update({"SLURM_CONF": before})


def queue() -> dict[str, str]:
    """State of each job."""
    done = subprocess.run(["squeue", "--noheader", "--format=%A %T"], check=True, text=True, capture_output=True, timeout=60)
    return dict(line.split() for line in done.stdout.splitlines())


def wait_for(what, limit_s: float = LIMIT_S):  # type: ignore[no-untyped-def]
    limit = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.1)
    return found


def job_of(pid: int) -> str | None:
    """The SLURM job that a process belongs to."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((v.partition(b"=")[2].decode() for v in variables if v.startswith(b"SLURM_JOB_ID=")), None)


class Journal:
    """What the campaign writes, read as it grows; jobs of running steps are looked up while they run."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.events: list[dict] = []
        self.jobs: dict[str, list[str]] = {}

    def read(self) -> None:
        for path in self.store.glob("campaigns/*.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            for event in lines[len(self.events):]:
                self.events.append(event)
                if event["event"] == "running" and event.get("owner"):
                    job = job_of(event["owner"]["pid"])
                    if job is not None and self.jobs.setdefault(event["step"], [])[-1:] != [job]:
                        self.jobs[event["step"]].append(job)

    def steps(self, kind: str) -> Counter[str]:
        return Counter(e["step"] for e in self.events if e["event"] == kind)

    def expected(self) -> dict[str, float]:
        return {name: seconds for e in self.events if e["event"] == "plan" for name, _, seconds in e["steps"]}

    def running(self) -> list[str]:
        last = {e["step"]: e["event"] for e in self.events if "step" in e}
        return [name for name, event in last.items() if event == "running" and self.jobs.get(name)]


def run_command(folder: Path) -> list[str]:
    sets = [word for pair in SMALLEST for word in ("--set", pair)]
    return [sys.executable, "-m", "emforce.cli", "run", str(ROOT / "structures" / "cu100-adatom.toml"), "--cluster", str(PROFILE),
            "--store", str(folder / "store"), "--db", str(folder / "emforce.db"), *sets]


def test_campaign_on_two_nodes_with_a_cancelled_job(slurm: None, tmp_path: Path) -> None:
    begin = time.monotonic()
    say = lambda *words: print(f"{time.monotonic() - begin:6.1f} s ", *words, flush=True)  # noqa: E731
    journal = Journal(tmp_path / "store")
    with (tmp_path / "output").open("w") as output:
        campaign = subprocess.Popen(run_command(tmp_path), cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)

    def cancel_one() -> str | None:
        """Cancel the job of a long step, once two nodes work and something is finished."""
        assert campaign.poll() is None, (tmp_path / "output").read_text()
        journal.read()
        if not journal.steps("done") or Counter(queue().values())["RUNNING"] < 2:
            return None
        long = [name for name in journal.running() if journal.expected()[name] >= LONG_S]
        if not long:
            return None
        time.sleep(1.0)
        subprocess.run(["scancel", journal.jobs[long[0]][0]], check=True)
        return long[0]

    try:
        step = wait_for(cancel_one)
        cancelled = journal.jobs[step][0]
        finished = set(journal.steps("done"))
        assert step not in finished
        say(f"{len(finished)} steps finished; job {cancelled} cancelled while it ran {step}")
        assert "running" in status(tmp_path)

        def ended() -> bool:
            journal.read()
            return campaign.poll() is not None

        wait_for(ended)
    finally:
        if campaign.poll() is None:
            campaign.terminate()
            campaign.wait(60)
    journal.read()
    text = (tmp_path / "output").read_text()
    say(f"ended with exit code {campaign.returncode}; jobs of the cancelled step: {' then '.join(journal.jobs[step])}")
    print(text)
    print(status(tmp_path))

    # complete
    assert journal.events[-1] == {"t": journal.events[-1]["t"], "event": "end", "end": "done"}, text
    assert set(journal.steps("done")) == set(journal.expected())
    assert not journal.steps("failed")
    assert "hop average" in text
    # the cancelled step ran again, on another job
    assert len(journal.jobs[step]) == 2
    assert journal.jobs[step][0] == cancelled != journal.jobs[step][1]
    # nothing that was finished ran again
    begun = journal.steps("running")
    assert begun[step] == 2
    assert {name: n for name, n in begun.items() if n != 1 and name != step} == {}
    # both nodes, and nothing is left in the queue
    assert len({job for jobs in journal.jobs.values() for job in jobs}) >= 3
    wait_for(lambda: not queue(), 60)

    again = subprocess.run(run_command(tmp_path), cwd=tmp_path, text=True, capture_output=True, timeout=120)
    assert again.returncode == campaign.returncode
    assert "cached" in again.stderr
    assert len(list((tmp_path / "store" / "campaigns").glob("*.jsonl"))) == 1, "a campaign with nothing to do starts no workers"
    assert not queue()
    say("the same command again computed nothing")


def status(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "emforce.cli", "status", "--store", str(folder / "store"), "--db",
                           str(folder / "emforce.db")], text=True, capture_output=True, timeout=60, check=True)
    return done.stdout


def where(seconds: float) -> tuple[str, str]:
    time.sleep(seconds)
    return os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"]


def profile_with(folder: Path, changes: dict[str, str]):  # type: ignore[no-untyped-def]
    text = PROFILE.read_text()
    for old, new in ({'queue = "main"': 'queue = "main"'} | changes).items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "own.toml"
    path.write_text(text + f'\n[environment]\nvariables = {{ PYTHONPATH = "{Path(__file__).parent}" }}\n')
    return load_profile(path)


def test_unknown_partition_is_told_in_slurms_words(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"SLURM accepts \(sbatch: error: invalid partition specified: mian"), \
            start(profile_with(tmp_path, {'queue = "main"': 'queue = "mian"'})):
        pass
    assert not queue()


def test_job_cancelled_in_the_queue_is_replaced(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wait_for(lambda: not queue(), 60)
    subprocess.run(["sbatch", "--nodes=2", "--output=/dev/null", "--wrap", "sleep 300"], check=True)
    blocker = wait_for(lambda: next(iter(queue()), None))
    with start(profile_with(tmp_path, {}), workers=1) as running:
        future = running.client.submit(where, 0.1)
        waiting = wait_for(lambda: next((job for job, state in queue().items() if state == "PENDING"), None))
        subprocess.run(["scancel", waiting], check=True)
        wait_for(lambda: waiting not in queue() and any(state == "PENDING" for state in queue().values()), 60)
        subprocess.run(["scancel", blocker], check=True)
        wait_for(lambda: running.check() or future.done(), 120)
        assert future.result()[0] not in (blocker, waiting)
    wait_for(lambda: not queue(), 60)


def test_workers_leave_before_the_walltime_and_cut_no_step(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of 150 s, steps of at most 60 s: a job takes steps for 50 to 70 s, then another one goes on."""
    monkeypatch.chdir(tmp_path)
    profile = profile_with(tmp_path, {"00:15:00": "00:02:30", "time_limit_s = 600": "time_limit_s = 60", "= 300": "= 60"})
    begin = time.monotonic()
    with start(profile, workers=1) as running:
        jobs = []
        while len(set(jobs)) < 2:
            future = running.client.submit(where, 8.0, pure=False)
            wait_for(lambda f=future: running.check() or f.done(), 240)
            jobs.append(future.result()[0])
            del future
            assert time.monotonic() - begin < 500
    assert jobs == sorted(jobs, key=int), "a step never ran on a job that had left"
    states = subprocess.run(["scontrol", "show", "job", jobs[0]], text=True, capture_output=True, check=True).stdout
    assert "JobState=COMPLETED" in states, states  # by itself: neither cancelled nor timed out


def test_three_jobs_that_end_at_once_are_an_error(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PROFILE.read_text() + '\n[environment]\nprologue = ["echo no module openblas >&2; exit 3"]\n'
    (tmp_path / "own.toml").write_text(text)
    profile = load_profile(tmp_path / "own.toml")
    with start(profile, workers=1) as running, pytest.raises(EmforceError, match="no module openblas"):
        wait_for(lambda: running.check(), 120)
    wait_for(lambda: not queue(), 60)
