"""Wind force on an adatom that hops on a surface, step by step.

    python workflows/adatom_hop.py structures/cu100-adatom.toml --preset quick --workers 2

The same as `emforce relax` and `emforce run`, written out: read it as the method section of a paper, change what the question at
hand needs. Finished steps are kept in the store; calling it again goes on from there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from emforce import recipe, workflow
from emforce.query import bulk_resistivity, result_table
from emforce.relaxation import relax_hops
from emforce.structure import describe


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("spec", type=Path, help="specification of an adatom hop, structures/*.toml")
    parser.add_argument("--relax", action="store_true", help="relax first; else relaxed structures at hand are taken")
    options = parser.parse_args(arguments)
    settings, place = recipe.settings(options), recipe.placement(options, [options.spec])

    # Structures. A slab carries one adatom at the initial site, at the saddle and where else the specification asks for an image.
    # The host is the 1x1 cell of the same slab, so that host and defect share grid points and k-points.
    print(describe(workflow.built_hop(options.spec, settings)))

    # Geometry. Layers relax along the normal, then the mover and its nearest neighbours at each image; at the saddle the mover
    # stays in the plane normal to the hop. It is the largest sensitivity of the wind force: K moves by some 10 uOhm cm per 0.1 A.
    if options.relax:
        for folder in relax_hops([options.spec], preset=settings.preset, overrides=dict(settings.overrides),
                                 workers=options.workers, store=options.store, cluster=options.cluster):
            print(f"relaxed structures in {folder}")
    prepared = workflow.prepare([options.spec], settings)

    # Calculations. The graph of steps: bulk (N, E_F, comparison with plane waves), thin and thick slabs, images, displaced
    # movers, and one embedding for the whole hop at energies, widths, radii and thicknesses whose spread is the uncertainty.
    steps = prepared[0].plan.steps()
    print(f"{len(steps)} steps: {', '.join(step.title for step in steps)}")
    records = workflow.compute(prepared, place, store=options.store, database=options.db)

    # Values. K = rho Z_wind does not depend on temperature; the bulk's rho(T) sets the scattering time.
    print(result_table([record.document() for record in records]))
    for record in records:
        if record.status != "ok":
            print(f"{record.site}: {record.status}: {record.reason}")
        parts = {name: part for name, part in record.k_wind_sigma_parts_uohm_cm.items() if not math.isnan(part)}
        for name, part in sorted(parts.items(), key=lambda item: -item[1])[:3]:
            print(f"{record.site}: {part:.1f} uOhm cm of the uncertainty from {name}")
    metal = prepared[0].hop.spec.metal
    print(f"rho(300 K) of {metal}: {bulk_resistivity(metal, 300.0):.2f} uOhm cm")
    return 0 if all(record.status == "ok" for record in records) else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "adatom_hop"))
