"""Convergence of the wind force of one hop in one setting, everything else held.

    python workflows/convergence_study.py structures/cu100-adatom.toml --vary dft.smearing_eV 0.1 0.15 0.2 --workers 2
    python workflows/convergence_study.py structures/w110-adatom.toml --vary embedding.radii_A 6.2 6.8 7.4

Only what the setting changes is computed: a radius needs new embeddings and no new ground state. All values are one graph of
steps, so that they share the workers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from emforce import recipe, workflow
from emforce.commands.options import FIGURES, overrides
from emforce.convergence import convergence_figure, points, varied
from emforce.errors import InputError
from emforce.plot import save
from emforce.record import HOP_AVERAGE
from emforce.settings import preset_label
from emforce.tables import columns, plus_minus


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("spec", type=Path, help="specification of the hop, structures/*.toml")
    parser.add_argument("--vary", nargs="+", required=True, metavar=("FIELD", "VALUE"),
                        help="field of the preset and its values; a number for a list of numbers replaces its first one")
    parser.add_argument("--out", type=Path, default=Path(FIGURES), help="folder of the figure (default %(default)s)")
    options = parser.parse_args(arguments)
    field, *texts = options.vary
    if len(texts) < 2:
        raise InputError("--vary", " ".join(options.vary), "a field of the preset and two or more values of it")

    # Settings. One preset, one field at several values; the graph of each is made before anything runs.
    values = [overrides([f"{field}={text}"])[field] for text in texts]
    base = recipe.settings(options)
    settings = varied(base, field, values)
    prepared = [workflow.prepare([options.spec], one)[0] for one in settings]

    # Calculations. Steps with equal inputs are one step, whichever value they belong to; what is in the store is not run again.
    place = recipe.placement(options, [options.spec])
    records = workflow.compute(prepared, place, store=options.store, database=options.db)
    found = points(values, [r for r in records if r.site == HOP_AVERAGE], [item.plan for item in prepared])

    # Values. K of the hop average at each value, its uncertainty (of this preset's own convergence errors, the varied one among
    # them), the change since the value before, and how many steps were new.
    table, before = [[field, "K_wind (µΩ cm)", "change", "new steps", "status"]], None
    for point in found:
        K, sigma = point.record.k_wind_uohm_cm, point.record.k_wind_sigma_uohm_cm
        served = point.record.status == "ok"
        change = f"{K - before:+.1f}" if served and before is not None else "-"
        table.append([point.text, plus_minus(K, sigma) if served else "-", change, f"{point.new_steps} of {point.steps}",
                      f"{point.record.status}{point.record.reason and ': '}{point.record.reason}"])
        before = K if served else None
    print(columns(table))
    print(f"{prepared[0].hop.spec.name}, average along the hop, preset {preset_label(base.preset, dict(base.overrides))}; "
          "K > 0: along the field, against the electrons; ± one standard uncertainty")
    for path in save(convergence_figure(field, found), options.out / f"convergence-{prepared[0].hop.spec.name}-{field}"):
        print(path)
    return 0 if all(point.record.status == "ok" for point in found) else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "convergence_study"))
