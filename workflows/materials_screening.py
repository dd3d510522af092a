"""Materials side by side: which hop is driven hardest by a current, from specifications to a ranking.

    python workflows/materials_screening.py structures/cu-vacancy.toml structures/al-vacancy.toml -T 400 --workers 2

Only what is missing is computed. F/j = e|Z*| rho needs no diffusion coefficient; where one is known, computed or published,
the drift |Z*| D rho is ranked too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from emforce import recipe, screening, screening_plot, workflow
from emforce.commands.options import FIGURES
from emforce.database import Database
from emforce.plot import NothingToDraw, save
from emforce.query import bulk_resistivity, check_temperature
from emforce.record import HOP_AVERAGE
from emforce.reference import reference_records, store
from emforce.tables import columns, result_table


def ranking(found: screening.Screened, unit: str) -> str:
    """The hops, the largest first, under each direct part; an interval where that is what the direct part is."""
    model, entries = found.ranked()
    table = [["rank", "hop", "direct part", unit, "one standard uncertainty", "direction", "D from"]]
    for rank, entry in enumerate(entries, 1):
        for point in sorted(entry, key=lambda point: point.direct_model != model):
            table.append([str(rank) if point.direct_model == model else "", point.hop, point.direct_model,
                          "-" if point.value is None else f"{point.value:.3g}", f"{point.low:.3g} to {point.high:.3g}",
                          point.direction, point.diffusion])
    return "\n".join([columns(table), *(f"left out: {why}" for why in found.left_out)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("spec", nargs="+", type=Path, help="specifications, structures/*.toml")
    parser.add_argument("-T", "--temperature", type=float, default=300.0, metavar="K", help="default %(default)s")
    parser.add_argument("--out", type=Path, default=Path(FIGURES), help="folder of the figures (default %(default)s)")
    options = parser.parse_args(arguments)
    T = check_temperature(options.temperature)

    # Calculations. One campaign over all hops: bulk hosts of one metal are shared, finished steps are not run again.
    prepared = workflow.prepare(options.spec, recipe.settings(options))
    for item in prepared:
        bulk_resistivity(item.hop.spec.metal, T)  # known at T, or an error before anything runs
    records = workflow.compute(prepared, recipe.placement(options, options.spec), store=options.store, database=options.db)
    print(result_table([record.document() for record in records if record.site == HOP_AVERAGE]))

    # Values. K at these settings; barriers and diffusion the best that the database holds, published ones only if they were
    # seen at their source.
    hops = {(item.hop.spec.metal, item.hop.spec.facet, item.hop.spec.kind, item.hop.spec.hop) for item in prepared}
    with Database(options.db) as database:
        store(database, reference_records())
        rows = [row for row in database.rows() if (row["metal"], row["facet"], row["defect"], row["hop"]) in hops
                and (row["preset"] == records[0].preset or row["k_wind_uohm_cm"] is None)]
        published = database.rows(standing=("literature",))
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}

    # Ranking and figures. The direct part is the computed one where every hop has it; models are named as such.
    for title, found in (("|F|/j (fN m²/TA)", screening.forces(rows, hosts, T)),
                         ("|Z*| D ρ (m²/s µΩ cm)", screening.merits(rows, published, hosts, T))):
        print(f"\n{title} at {T:g} K in bulk metal")
        print(ranking(found, title) if found.points else f"nothing to rank: {'; '.join(found.left_out) or 'no K is served'}")
    print("\ndirect part none: the wind alone; nominal, drude: models; upwind: along the field, against the electrons")
    for kind in ("force", "merit"):
        try:
            figure, stem = screening_plot.figure_of(kind, rows, published, hosts, (T, screening_plot.DIRECT_MODELS))
        except NothingToDraw:
            continue  # said above
        for path in save(figure, options.out / stem):
            print(path)
    return 0 if all(record.status == "ok" for record in records) else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "materials_screening"))
