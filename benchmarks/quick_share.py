"""Share of the density functional theory in the time of a job.

    python benchmarks/quick_share.py structures/cu100-adatom.toml --workers 2 --store /tmp/fresh
    python benchmarks/quick_share.py --from-store results/store

The first runs the job in a store and a database of its own and knows the wall time, and with it what starting processes,
reading and waiting cost; the second reads the times that each finished step of a store has recorded. Aim: at least 90 % of
the work is GPAW.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

#: steps that are GPAW from beginning to end: self-consistency and matrices
DFT_STEPS = ("host", "image", "displaced", "relax")
AIM = 0.9


def shares(store: Path) -> dict[str, float]:
    """Seconds by part; steps that recorded no parts are "bulk, not split" and "wind, not split"."""
    found: dict[str, float] = {}

    def add(name: str, seconds: float) -> None:
        found[name] = found.get(name, 0.0) + seconds

    for path in sorted((store / "steps").glob("[!.]*/meta.json")):
        meta = json.loads(path.read_text(encoding="utf-8"))
        kind, seconds = meta["kind"], float(meta["seconds"])
        timing = meta["values"].get("timing")
        if kind in DFT_STEPS:
            add(f"dft: {kind}", seconds)
        elif timing is None:
            add(f"{kind}, not split", seconds)
        else:
            for part, value in timing.items():
                add(f"dft: {kind}" if part == "dft" else f"own: {kind}: {part}", value)
            add(f"own: {kind}: other", seconds - sum(timing.values()))
    return found


def report(found: dict[str, float], wall: float | None, workers: int) -> bool:
    """Print parts and ratios; whether the aim is reached."""
    total = sum(found.values())
    dft = sum(seconds for name, seconds in found.items() if name.startswith("dft"))
    unknown = sum(seconds for name, seconds in found.items() if name.endswith("not split"))
    for name, seconds in sorted(found.items(), key=lambda item: -item[1]):
        print(f"{seconds:9.1f} s  {seconds / total:6.1%}  {name}")
    print(f"{total:9.1f} s          all steps")
    limit = f" to {(dft + unknown) / total:.3f}: some steps are not split" if unknown else ""
    print(f"DFT / steps = {dft / total:.3f}{limit}")
    if wall is not None:
        held = wall * workers
        print(f"wall {wall:.1f} s with {workers} workers: steps / (wall x workers) = {total / held:.3f}, "
              f"DFT / (wall x workers) = {dft / held:.3f}; the rest is starting, reading and waiting for other steps")
    print(f"aim {AIM}: {'reached' if dft / total >= AIM else 'not reached'}")
    return dft / total >= AIM


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", type=Path, help="folder for a fresh run; must hold no steps")
    parser.add_argument("--from-store", type=Path, help="read the times of an existing store; nothing is run")
    options = parser.parse_args()
    if options.from_store is not None:
        found = shares(options.from_store)
        if not found:
            parser.error(f"--from-store: no finished steps in {options.from_store}")
        return 0 if report(found, None, 1) else 1
    if not options.specs or options.store is None:
        parser.error("give SPECS and --store, or --from-store")
    if (options.store / "steps").is_dir() and any((options.store / "steps").iterdir()):
        parser.error(f"--store: {options.store} holds steps already; the time of a fresh run needs an empty one")

    from emforce import workflow

    begin = time.monotonic()
    options.store.mkdir(parents=True, exist_ok=True)
    records = workflow.run(options.specs, preset=options.preset, overrides={}, workers=options.workers,
                           database=str(options.store / "benchmark.db"), store=options.store)
    wall = time.monotonic() - begin
    for record in records:
        print(f"{record.spec} {record.site}: {record.status} {record.reason}")
    return 0 if report(shares(options.store), wall, options.workers) else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(main())
