"""Wind force on an atom that jumps into a vacancy, with the convergence of K in the size of the region and the mesh.

    python workflows/bulk_hop.py structures/cu-vacancy.toml --preset quick --workers 2

The mover sits between two half-vacancies: its own site and the empty one are both taken out of the host, and the mover is
a new atom.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emforce import recipe, units, workflow
from emforce.query import result_table
from emforce.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("spec", type=Path, help="specification of a vacancy hop, structures/*-vacancy.toml")
    options = parser.parse_args(arguments)
    settings, place = recipe.settings(options), recipe.placement(options, [options.spec])

    # Structures: a supercell of the bulk with the mover at the initial site and at the saddle, relaxed where `emforce relax`
    # was run before.
    (item,) = prepared = workflow.prepare([options.spec], settings)
    hop = item.hop
    for image in hop.images:
        print(f"{image.label}: {len(image.atoms)} atoms in {hop.repeat} host cells, {len(image.removed)} sites without an atom")

    # Calculations: host, images, displaced movers, the primitive cell for N, and the embedding in the infinite crystal.
    records = workflow.compute(prepared, place, store=options.store, database=options.db)
    print(result_table([record.document() for record in records]))
    failed = [record for record in records if record.status != "ok"]
    for record in failed:
        print(f"{record.site}: {record.status}: {record.reason}")

    # Convergence, from the finished steps: K along the hop at E_F for every radius, on both meshes. K = m Omega/(e^2 N).
    store = Store(options.store)
    wind, bulk = (store.find(step.kind, step.key) for step in (item.plan.wind, item.plan.bulk))
    if wind is None or bulk is None:
        return 1
    scale = bulk.values["volume"] / bulk.values["n"] / units.uohm_cm
    at_fermi = int(np.argmin(np.abs(settings.embedding.energies_eV)))
    for number, embedding in enumerate(wind.values["embeddings"]):
        radii = settings.embedding.radii_A if number == 0 else settings.embedding.radii_A[:1]
        for image, m in zip(hop.images, embedding["m"], strict=False):  # the first width comes first
            # the window of energies is that of the first radius; the others are at E_F alone
            along = [scale * found[at_fermi if len(found) > 1 else 0][0][0] for found in m]
            values = ", ".join(f"{k:+.1f} ({r:g} A)" for k, r in zip(along, radii, strict=True))
            print(f"{embedding['name']}, {image.label}: K along the hop {values} uOhm cm")
    return 1 if failed else 0


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "bulk_hop"))
