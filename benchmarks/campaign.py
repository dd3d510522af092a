"""What a campaign costs beyond its calculations, and how well two workers share one.

    python benchmarks/campaign.py                       # (a) overhead per step, (b) 10,000 empty steps, (c) a waiting graph
    python benchmarks/campaign.py --quick-job SPEC...   # (c) with the real steps of a job, half an hour; --set makes it small

(a) is measured against a new interpreter for each step, the plain way to isolate it; (b) against the time that the empty steps
take without the farm, one after the other; (c) against one worker and against what the longest chain of the graph allows. With
real steps (c) gives the clock's efficiency, which other work on the machine spoils, and two that it spoils less: from processor
seconds of the steps in the order in which two workers ran them, and from the time in which the two workers were at work.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from emforce import campaign as campaigns
from emforce.campaign import Campaign, Placement
from emforce.jobs import execute
from emforce.ledger import campaign_ids, read_campaign
from emforce.store import Store


def empty(step: campaigns.Step, root: str) -> None:
    """A step that computes nothing, kept in the store as any other."""
    Store(root).run(step.kind, step.key, step.inputs, lambda folder, log: {})


def wait(step: campaigns.Step, root: str) -> None:
    """A step that takes its time and no processor, so that other load on the machine does not change what is measured."""

    def make(folder: Path, log: Path) -> dict[str, float]:
        time.sleep(step.inputs["seconds"])
        return {}

    Store(root).run(step.kind, step.key, step.inputs, make)


def run(root: Path, steps: Sequence[campaigns.Step], workers: int, function: object = None) -> float:
    """Seconds of a campaign, without its progress lines."""
    start = time.monotonic()
    options = () if function is None else (function,)
    with contextlib.redirect_stderr(io.StringIO()), Campaign(Store(root), Placement("local", workers), *options) as campaign:
        failed = campaign.compute(steps)
    if failed:
        sys.exit(f"failed: {failed}")
    return time.monotonic() - start


def overhead(folder: Path, number: int) -> None:
    """(a) Wall time of real steps on one worker, less what GPAW and the writing of its output take."""
    from ase.build import bulk

    from emforce.jobs import atoms_document
    from emforce.plan import setups

    dft = {"functional": "PBE", "recipe": "default", "smearing_eV": 0.2, "grid_A": 0.3, "density_tolerance": 1e-4,
           "max_iterations": 60}
    steps = []
    for i in range(number):
        atoms = bulk("Al", a=4.0 + 0.01 * i)
        steps.append(campaigns.Step("host", f"Al {i}", {
            "atoms": atoms_document(atoms), "setups": setups({"Al"}, "default"), "dft": dft, "kpts": [3, 3, 3],
            "grid": [8, 8, 8], "matrix_kpts": [3, 3, 3], "gamma": True}, seconds=5.0))
    run(folder, steps, 1)
    state = read_campaign(folder, campaign_ids(folder)[-1])
    store = Store(folder)
    gpaw, ends = [], []
    for step in steps:
        found = store.find(step.kind, step.key)
        assert found is not None
        gpaw.append(found.seconds)
        ends.append(state.steps[step.name].since)
    order = sorted(range(number), key=lambda i: ends[i])
    wall = ends[order[-1]] - ends[order[0]]  # the first one's time holds the import of GPAW, once per worker
    each = (wall - sum(gpaw[i] for i in order[1:])) / (number - 1)
    start = time.monotonic()
    for _ in range(3):
        subprocess.run([sys.executable, "-c", f"import {', '.join(campaigns.PRELOAD)}"], check=True)
    interpreter = (time.monotonic() - start) / 3
    print(f"(a) overhead per step: {each:.3f} s beyond the {sum(gpaw) / number:.2f} s of GPAW and its output "
          f"({number} SCF steps of one Al atom; aim < 0.5 s)")
    print(f"    {100 * each / 60:.2f} % of a campaign of 60-s steps (aim < 2 %); {each / interpreter:.3f} of a new interpreter "
          f"with GPAW for each step ({interpreter:.2f} s)")


def many(folder: Path, number: int) -> None:
    """(b) A campaign of empty steps: the first run, the scan of a second one, memory of the scheduler's process."""
    from emforce.cli import main  # noqa: F401  imported before the memory is looked at

    steps = [campaigns.Step("empty", f"empty {i}", {"n": i}, seconds=0.0, resources="light") for i in range(number)]
    plain = folder / "plain"
    start = time.monotonic()
    for step in steps[: number // 10]:
        empty(step, str(plain))
    alone = 10 * (time.monotonic() - start)
    me = psutil.Process()
    before = me.memory_info().rss
    first = run(folder / "farm", steps, 2, empty)
    memory = me.memory_info().rss / 2**30
    again = run(folder / "farm", steps, 2, empty)
    print(f"(b) {number} empty steps on two workers: {first:.1f} s in all (aim < 60 s for 10,000), "
          f"{1000 * first / number:.2f} ms each; {first / alone:.2f} of the steps alone, one after the other ({alone:.1f} s)")
    print(f"    resume, everything found: {again:.2f} s (aim < 5 s), {again / first:.3f} of the first run")
    print(f"    memory of the process with scheduler and client: {memory:.2f} GiB (aim < 1), {before / 2**30:.2f} before")


def report_sharing(one: float, two: float, chain: float, work: float) -> None:
    """Efficiency of two workers and what the graph allows: no schedule beats its longest chain, nor half of its work."""
    allowed = work / (2 * max(chain, work / 2))
    efficiency = one / (2 * two)
    print(f"    one worker {one:.1f} s, two workers {two:.1f} s: speed-up {one / two:.2f}, efficiency {efficiency:.3f}")
    print(f"    longest chain {chain:.1f} s of {work:.1f} s of work: at most {allowed:.3f}; "
          f"reached {efficiency / allowed:.3f} of that (aim >= 0.9)")


def chain_of(steps: Sequence[campaigns.Step], seconds: dict[str, float]) -> float:
    """Longest chain of steps, each after those that it needs."""
    end: dict[str, float] = {}
    for step in steps:
        end[step.name] = seconds[step.name] + max((end[n.name] for n in step.needs.values()), default=0.0)
    return max(end.values())


def sharing(folder: Path) -> None:
    """(c) The graph of the quick job of a hop, each step waiting for a thirtieth of its expected time."""
    from emforce.plan import plan
    from emforce.settings import load_settings
    from emforce.workflow import built_hop

    settings = load_settings("quick")
    wanted = plan(built_hop(Path("structures/cu100-adatom.toml"), settings), settings).steps()
    made: dict[str, campaigns.Step] = {}
    for step in wanted:
        short = max(step.seconds / 30, 0.2)
        needs = {name: made[need.name] for name, need in step.needs.items()}
        made[step.name] = campaigns.Step("wait", step.title, {"seconds": short, "of": step.name}, needs, 1.0 + short)
    steps = list(made.values())
    seconds = {step.name: float(step.inputs["seconds"]) for step in steps}
    walls = []
    campaigns.PRELOAD = ("campaign",)  # what these steps import; the time of that is in (a)
    for workers in (1, 2):
        root = folder / f"w{workers}"
        run(root, steps, workers, wait)
        state = read_campaign(root, campaign_ids(root)[-1])
        # from the first step's start: workers start once per campaign
        begun = min(s.since - s.seconds for s in state.steps.values())
        walls.append(max(s.since for s in state.steps.values()) - begun)
    print(f"(c) graph of {len(steps)} steps, as the quick job of one hop, waiting instead of computing")
    report_sharing(walls[0], walls[1], chain_of(steps, seconds), sum(seconds.values()))


def timed(step: campaigns.Step, root: str) -> None:
    """A real step that notes when it ran and the processor seconds it took."""
    begin, used = time.time(), time.process_time()
    execute(step, root)
    times = {"begin": begin, "end": time.time(), "cpu": time.process_time() - used}
    (Path(root) / "times" / step.name).write_text(json.dumps(times), encoding="utf-8")


def replay(steps: Sequence[campaigns.Step], seconds: dict[str, float], order: Sequence[str], workers: int) -> float:
    """Time until the last end when steps begin in this order, each once a worker is free and what it needs has ended."""
    named = {step.name: step for step in steps}
    free, end = [0.0] * workers, dict.fromkeys(named, 0.0)
    for name in order:
        worker = free.index(min(free))
        begin = max(free[worker], *(end[need.name] for need in named[name].needs.values()), 0.0)
        end[name] = free[worker] = begin + seconds[name]
    return max(end.values())


def quick_job(folder: Path, specs: Sequence[Path], changes: Sequence[str]) -> None:
    """(c) The real thing, into fresh stores."""
    from emforce.commands.options import overrides
    from emforce.settings import load_settings
    from emforce.workflow import prepare

    prepared = prepare(specs, load_settings("quick", overrides(changes)))
    steps = list({step.name: step for item in prepared for step in item.plan.steps()}.values())
    runs = []
    for workers in (1, 2):
        root = folder / f"w{workers}"
        (root / "times").mkdir(parents=True)
        run(root, steps, workers, timed)
        times = {step.name: json.loads((root / "times" / step.name).read_text(encoding="utf-8")) for step in steps}
        wall = max(t["end"] for t in times.values()) - min(t["begin"] for t in times.values())
        cpu = {name: t["cpu"] for name, t in times.items()}
        busy = {name: t["end"] - t["begin"] for name, t in times.items()}
        runs.append((wall, cpu, busy, sorted(times, key=lambda name: times[name]["begin"])))
        print(f"(c) {len(steps)} steps on {workers} worker{'s' if workers > 1 else ''}: {wall:.1f} s from the first start to the "
              f"last end, {sum(cpu.values()):.1f} processor seconds in steps, {sum(busy.values()):.1f} s of steps by the clock")
    (wall1, cpu1, _, _), (wall2, cpu2, busy2, order) = runs
    one, two = sum(cpu1.values()), sum(cpu2.values())
    print("    by the clock, which holds all other work on this machine:")
    report_sharing(wall1, wall2, chain_of(steps, cpu1), one)
    print("    by processor seconds of the steps on two workers, in the order in which these ran them:")
    report_sharing(two, replay(steps, cpu2, order, 2), chain_of(steps, cpu2), two)
    print(f"    (they took {two / one:.2f} times their processor seconds on one worker: memory and cache are shared)")
    print("    by occupation of the two workers, with the clock's seconds of that run for steps, chain and whole:")
    report_sharing(sum(busy2.values()), wall2, chain_of(steps, busy2), sum(busy2.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick-job", nargs="+", type=Path, metavar="SPEC", help="(c) alone, with the real quick job")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of --quick-job: fields of the preset")
    parser.add_argument("--steps", type=int, default=10_000, help="empty steps of (b), default %(default)s")
    parser.add_argument("--scf", type=int, default=8, help="SCF steps of (a), default %(default)s")
    parser.add_argument("--folder", type=Path, help="where the stores are made; default a temporary folder")
    parser.add_argument("--only", choices="abc", help="one part")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="emforce-benchmark-"))
    try:
        if options.quick_job:
            quick_job(folder / "c", options.quick_job, options.set)
            return
        if options.only in (None, "a"):
            overhead(folder / "a", options.scf)
        if options.only in (None, "b"):
            many(folder / "b", options.steps)
        if options.only in (None, "c"):
            sharing(folder / "c")
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    import campaign  # under its own name: workers must find the functions of this file

    campaign.main()
