"""Time of questions to a database of 100 000 records, against a scan of the whole table for the same conditions.

    .venv/bin/python benchmarks/query.py [records]

The rows are made up (a number of hops, sites, presets and re-runs per metal) and lie in a temporary folder.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from emforce import query, schema
from emforce.database import Database
from emforce.record import PROVENANCE, Record
from emforce.stored import Check, Document

METALS = ("Cu", "W", "Mo", "Al", "Au", "Ag")
FACETS = ("100", "110", "111", "211", "310", "bulk")
SITES = (("initial", 0.0), ("s=0.25", 0.25), ("saddle", 0.5), ("s=0.75", 0.75), ("hop average", math.nan))
PRESETS = ("quick", "standard", "production")
RERUNS = 4


SCAN = "SELECT id, site, k_wind_uohm_cm FROM records NOT INDEXED WHERE metal = 'W' AND facet = '110' AND status = 'ok'"


def made_up(metal: str, k: float) -> Record:
    """A record of the size of a real one."""
    return Record(
        spec="s", metal=metal, facet="100", defect="adatom", hop="h", site="saddle", species=metal, preset="quick",
        method="made up", basis="vp", fraction=0.5, k_wind_uohm_cm=k,
        k_wind_sigma_parts_uohm_cm={"fermi_energy": 10 / 3, "smearing": 1.2, "region": math.pi, "layers": 2.7},
        energies_eV=np.linspace(-0.3, 0.3, 13), k_of_energy_uohm_cm=np.linspace(-30.1, 40.3, 13),
        checks=tuple(Check(f"check {i}", 0.01 * i, 1.0) for i in range(5)),
        provenance=dict.fromkeys(PROVENANCE, "0123456789abcdef0123456789abcdef"),
    )  # fmt: skip


def fill(database: Database, count: int) -> None:
    """Rows in bulk: the way of a record through `add` is not what is measured here."""
    patterns: dict[str, Document] = {metal: made_up(metal, 10.0).document() for metal in METALS}
    of_hop = list(itertools.product(PRESETS, FACETS, METALS, SITES, range(RERUNS)))
    identities = ((hop, *rest) for hop in itertools.count() for rest in of_hop)
    rng = np.random.default_rng(1)
    with database._transaction(write=True) as connection:
        for batch in batched(itertools.islice(identities, count), 2000):
            connection.execute(schema.records.insert(), [{
                **patterns[metal], "facet": facet, "hop": f"hop {hop}", "spec": f"{metal}{facet}-{hop}", "preset": preset,
                "site": site, "fraction": None if math.isnan(fraction) else fraction, "k_wind_uohm_cm": float(rng.normal(0, 50)),
                "content_hash": f"{hop}-{rerun}", "host_id": None,
            } for hop, preset, facet, metal, (site, fraction), rerun in batch])  # fmt: skip


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call, the first one (cold caches of the program) left out; other work does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


QUESTIONS = (
    ("metal=W facet=110 site=hop average preset=standard", "current", ""),
    ("metal=W facet=110 hop=hop 3", "current", ""),
    ("metal=W facet=110 site=saddle z_wind<-6", "current", ""),
    ("metal=W facet=110", "best", "|z_wind|*rho"),
)


def main() -> None:
    """Print a line per question."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, Database(Path(folder) / "emforce.db", create=True) as database:
        fill(database, count)
        print(f"{count} records, {(Path(folder) / 'emforce.db').stat().st_size / 1e6:.0f} MB")

        def scan() -> int:
            with database._transaction() as connection:
                return len(connection.exec_driver_sql(SCAN).fetchall())

        slow = seconds(scan, 3)
        print(f"{'scan of the table for metal and facet':60} {slow * 1e3:8.0f} ms")
        for text, which, sort in QUESTIONS:
            question = query.Question((600.0,), which=which, sort=sort, details=False)  # type: ignore[arg-type]
            rows = query.select(database, [text], question).rows
            fast = seconds(lambda text=text, question=question: query.select(database, [text], question), 5)  # type: ignore[misc]
            name = text + (" --best" if which == "best" else "")
            print(f"{name:60} {fast * 1e3:8.1f} ms  {len(rows):5} rows  1/{slow / fast:.1f} of the scan")


if __name__ == "__main__":
    main()
