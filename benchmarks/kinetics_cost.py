"""What the kinetics of a hop costs: force calls with and without symmetry, a displaced run with and without a restart.

    python benchmarks/kinetics_cost.py structures/cu100-adatom.toml --preset standard --store /tmp/fresh

One structure at rest, one displaced run from its density, the same from scratch, and where the preset wants them one
structure in plane waves and one with more k-points are computed on one core; the rest is counted. Structures are taken as
built where they have not been relaxed: the time does not depend on it. Aims: at most 40 force calls a hop, and less than an
hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emforce.campaign import Campaign, Placement
from emforce.commands.options import overrides
from emforce.errors import EmforceError
from emforce.kinetics_plan import (
    KineticsHop,
    check_images,
    more_kpts,
    more_words,
    shells_of,
    stationary_step,
    with_hessians,
)
from emforce.plane_wave_plan import wide_steps
from emforce.relaxed import relaxed_source, take_over
from emforce.settings import Settings, load_settings
from emforce.steps import Step, document_atoms
from emforce.store import Store
from emforce.workflow import built_hop, relaxed_folder

AIM_CALLS, AIM_HOURS, CORES = 40, 1.0, 2


def hop_of(path: Path, settings: Settings) -> tuple[KineticsHop, str]:
    """The hop, relaxed where it has been, and which it is."""
    hop = built_hop(path, settings)
    check_images(hop)
    folder = relaxed_folder(hop, settings)
    source, words = relaxed_source(hop, folder, settings.dft.functional), "as built"
    if source is not None:
        hop, words = take_over(hop, source), f"relaxed, {source.folder}"
    return KineticsHop(hop, settings, folder or Path(), {}, shells_of(hop, settings.kinetics.shells)), words


def seconds(store: Store, steps: Sequence[Step]) -> list[float]:
    """Processor seconds of steps, computed one after the other."""
    with Campaign(store, Placement(workers=1)) as campaign:
        failures = campaign.compute(steps)
    if failures:
        raise EmforceError("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
    found = []
    for step in steps:
        spent = store.spent(step.kind, step.key)
        if spent is None or spent[1] is None:
            raise EmforceError(f"{step.name}: no processor time recorded")
        found.append(spent[1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="as of emforce kinetics")
    parser.add_argument("--store", type=Path, required=True, help="finished steps; a store that holds them is not computed again")
    options = parser.parse_args()
    try:
        settings = load_settings(options.preset, overrides(options.changes))
        item, words = hop_of(options.spec, settings)
        structures = {item.hop.image(f).label: item.hop.image(f).atoms for f in item.fractions}
        points = with_hessians(item, structures)
        first = points[0]
        moved = document_atoms(first.nudged[0].inputs["atoms"])
        moved.positions[first.moved[0].atom] += first.moved[0].vector
        scratch = stationary_step(item, moved, "displaced, from scratch", restart=True)
        timed = {"at rest": first.rest, "displaced, from that density": first.nudged[0], "displaced, from scratch": scratch}
        counts = {"at rest": len(points), "displaced, from that density": sum(len(p.nudged) for p in points)}
        for mesh in more_kpts(item):
            name = "at rest" + more_words(mesh)
            timed[name], counts[name] = stationary_step(item, first.atoms, name, False, mesh), len(points)
        if settings.kinetics.plane_wave:
            wide = wide_steps(item, first.atoms, "initial")
            for name, step in zip(("plane waves", "the same atoms in the local basis"), wide.steps, strict=False):
                timed[name], counts[name] = step, len(points) + 1  # the host as well, as dear at most
        spent = dict(zip(timed, seconds(Store(options.store), list(timed.values())), strict=True))
    except EmforceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    calls = counts["at rest"] + counts["displaced, from that density"]
    plain = len(points) * (1 + 6 * len(item.atoms))
    print(f"{options.spec.stem}, preset {options.preset}, {len(first.atoms)} atoms, {words}; {len(item.atoms)} move")
    for name, value in spent.items():
        print(f"{value:9.1f} s  {name}" + (f", {counts[name]} of them" if name in counts else ""))
    print(f"force calls: {calls} with symmetry, {plain} without: {calls / plain:.3f} "
          f"(aim at most {AIM_CALLS}: {'reached' if calls <= AIM_CALLS else 'not reached'})")
    ratio = spent["displaced, from that density"] / spent["displaced, from scratch"]
    print(f"a displaced run from the density at rest / from scratch: {ratio:.2f}")
    total = sum(counts[name] * spent[name] for name in counts)
    hours = total / CORES / 3600
    print(f"whole hop: {total / 3600:.2f} h of processor time, {hours:.2f} h on {CORES} cores "
          f"(aim less than {AIM_HOURS:g}: {'reached' if hours < AIM_HOURS else 'not reached'})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
