"""Wind force on an adatom that hops on a surface, step by step.

    python workflows/adatom_hop.py structures/cu100-adatom.toml --preset quick --workers 2

The same as `emforce relax` and `emforce run`, written out: read it as the method section of a paper, change what the question at
hand needs. Finished steps are kept in the store; calling it again goes on from there.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from emforce import workflow
from emforce.errors import EmforceError
from emforce.plan import plan
from emforce.query import bulk_resistivity, result_table
from emforce.relaxation import relax_hops
from emforce.settings import load_settings
from emforce.structure import describe


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="specification of an adatom hop, structures/*.toml")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("results/store"))
    parser.add_argument("--relax", action="store_true", help="relax first; else relaxed structures at hand are taken")
    options = parser.parse_args()

    # Structures. A slab carries one adatom at the initial site, at the saddle and where else the specification asks for an image.
    # The host is the 1x1 cell of the same slab, so that host and defect share grid points and k-points.
    settings = load_settings(options.preset)
    hop = workflow.built_hop(options.spec, settings)
    print(describe(hop))

    # Geometry. Layers relax along the normal, then the mover and its nearest neighbours at each image; at the saddle the mover
    # stays in the plane normal to the hop. It is the largest sensitivity of the wind force: K moves by some 10 uOhm cm per 0.1 A.
    if options.relax:
        folders = relax_hops([options.spec], preset=options.preset, overrides={}, workers=options.workers,
                             store=options.store)
        for folder in folders:
            print(f"relaxed structures in {folder}")
    (hop,) = workflow.load_hops([options.spec], preset=options.preset, overrides={})

    # Calculations. The graph of steps: bulk (N, E_F, comparison with plane waves), thin and thick slabs, images, displaced
    # movers, and one embedding for the whole hop at energies, widths, radii and thicknesses whose spread is the uncertainty.
    steps = plan(hop, settings).steps()
    print(f"{len(steps)} steps: {', '.join(step.title for step in steps)}")
    records = workflow.run([options.spec], preset=options.preset, overrides={}, workers=options.workers,
                           database=None, store=options.store)

    # Values. K = rho Z_wind does not depend on temperature; the bulk's rho(T) sets the scattering time.
    print(result_table([record.document() for record in records]))
    for record in records:
        if record.status != "ok":
            print(f"{record.site}: {record.status}: {record.reason}")
        parts = {name: part for name, part in record.k_wind_sigma_parts_uohm_cm.items() if not math.isnan(part)}
        for name, part in sorted(parts.items(), key=lambda item: -item[1])[:3]:
            print(f"{record.site}: {part:.1f} uOhm cm of the uncertainty from {name}")
    print(f"rho(300 K) of {hop.spec.metal}: {bulk_resistivity(hop.spec.metal, 300.0):.2f} uOhm cm")
    return 0 if all(record.status == "ok" for record in records) else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    try:
        sys.exit(main())
    except EmforceError as error:
        sys.exit(f"adatom_hop: {error}")
