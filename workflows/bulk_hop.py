"""Wind force on an atom that jumps into a vacancy, with the convergence of K in the size of the region and the mesh.

    python workflows/bulk_hop.py structures/cu-vacancy.toml --preset quick --workers 2

The mover sits between two half-vacancies: its own site and the empty one are both taken out of the host, and the mover is
a new atom.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from emforce import units, workflow
from emforce.errors import EmforceError
from emforce.plan import plan
from emforce.query import result_table
from emforce.settings import load_settings
from emforce.store import Store


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="specification of a vacancy hop, structures/*-vacancy.toml")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("results/store"))
    options = parser.parse_args()

    # Structures: a supercell of the bulk with the mover at the initial site and at the saddle, relaxed where `emforce relax`
    # was run before.
    settings = load_settings(options.preset)
    (hop,) = workflow.load_hops([options.spec], preset=options.preset, overrides={})
    for image in hop.images:
        print(f"{image.label}: {len(image.atoms)} atoms in {hop.repeat} host cells, {len(image.removed)} sites without an atom")

    # Calculations: host, images, displaced movers, the primitive cell for N, and the embedding in the infinite crystal.
    records = workflow.run([options.spec], preset=options.preset, overrides={}, workers=options.workers,
                           database=None, store=options.store)
    print(result_table([record.document() for record in records]))
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        print(f"{record.site}: {record.status}: {record.reason}")

    # Convergence, from the finished steps: K along the hop at E_F for every radius, on both meshes. K = m Omega/(e^2 N).
    graph, store = plan(hop, settings), Store(options.store)
    wind, bulk = (store.find(step.kind, step.key) for step in (graph.wind, graph.bulk))
    if wind is None or bulk is None:
        return 1
    scale = bulk.values["volume"] / bulk.values["n"] / units.uohm_cm
    at_fermi = int(np.argmin(np.abs(settings.embedding.energies_eV)))
    for number, embedding in enumerate(wind.values["embeddings"]):
        radii = settings.embedding.radii_A if number == 0 else settings.embedding.radii_A[:1]
        for image, m in zip(hop.images, embedding["m"], strict=False):  # the first width comes first
            along = [scale * per_energy[at_fermi if number == 0 else 0][0][0] for per_energy in m]
            values = ", ".join(f"{k:+.1f} ({r:g} A)" for k, r in zip(along, radii, strict=True))
            print(f"{embedding['name']}, {image.label}: K along the hop {values} uOhm cm")
    return 1 if failed else 0


if __name__ == "__main__":  # Dask's worker processes import this file
    try:
        sys.exit(main())
    except EmforceError as error:
        sys.exit(f"bulk_hop: {error}")
