"""Surface states of slabs, local basis against plane waves: is the host right at its surface too?

    python workflows/surface_states.py structures/ag111-adatom.toml structures/w110-adatom.toml --preset quick --workers 2
    python workflows/surface_states.py structures/*-adatom.toml --write      # keep them: emforce/data/surface_states.toml

K(E) steps where a band of surface states begins. What they are off in energy enters sigma of K (part `surface_states`) and of the
heat of transport (its E_F) of every row in the same basis once it is written down. Some minutes a surface, by one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import numpy as np

from emforce import recipe
from emforce.basis import basis_name
from emforce.campaign import Campaign
from emforce.errors import EmforceError, InputError
from emforce.hop import Hop
from emforce.physics.lcao import eigenstates
from emforce.plan import host_step, title_of
from emforce.planewave import slab_bands
from emforce.provenance import git_commit, versions
from emforce.settings import Settings
from emforce.steps import Document, Step, document_atoms, load_matrices
from emforce.store import Finished, Store
from emforce.structure import built_hop, thick_host
from emforce.surface_states import (
    FILE,
    OUTER_LAYERS,
    SurfaceStates,
    WINDOW_eV,
    surface_errors,
    write,
)
from emforce.tables import columns

#: layers of the slab: the two sides' states are still apart, and plane waves take minutes
LAYERS = 8
#: mesh of the comparison, with the middle of the surface Brillouin zone; plane-wave cutoff, eV
MESH, CUTOFF_eV = 6, 350.0
HEADS = ["surface", "basis", "states", "middle of the zone (eV)", "in plane waves", "rms off at E_F (eV)", "largest"]


def slab_step(path: Path, hop: Hop, settings: Settings) -> Step:
    """Step of the clean slab that the hop of a specification is embedded in, with LAYERS layers."""
    if hop.host_unit.pbc[2] or hop.spec.kind == "files":
        raise InputError("SPEC", str(path), "an adatom hop on a surface that is built, fcc(111), (100), (110) or bcc(110), (100)")
    atoms, _ = thick_host(hop.spec, LAYERS, settings.structure.vacuum_A, settings.dft.functional)
    return host_step(atoms, f"{title_of(hop)} slab of {LAYERS} layers", hop.repeat, settings)


def half_mesh(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the n x n mesh with the middle of the zone, one of k and -k, the middle first; and their weights."""
    half = [k for k in np.ndindex(n, n) if k <= (-k[0] % n, -k[1] % n)]
    return np.array([(i / n, j / n, 0.0) for i, j in half]), np.array([1.0 + (k != (-k[0] % n, -k[1] % n)) for k in half]) / n**2


def compared(step: Step, host: Finished, metal: str, facet: str, settings: Settings, log: str) -> SurfaceStates:
    """Both sets of bands of one slab. In the local basis h(k) c = E s(k) c; the norm of a state on an orbital is Re c* (s c)."""
    inputs: Document = step.inputs
    atoms, matrices = document_atoms(inputs["atoms"]), load_matrices(host)
    points, shares = half_mesh(MESH)
    h, s = matrices.at(points)
    energies, states = eigenstates(h, s)
    norms = np.real(states.conj() * (s @ states))
    heights = np.argsort(atoms.positions[:, 2])
    outer = np.isin(np.repeat(np.arange(len(atoms)), matrices.orbitals), [*heights[:OUTER_LAYERS], *heights[-OUTER_LAYERS:]])
    weights, share = norms[:, outer].sum(axis=1), 2 * OUTER_LAYERS / len(atoms)
    own = energies - host.values["fermi_level"]
    bands = int(np.flatnonzero((own <= WINDOW_eV).any(axis=0)).max()) + 1
    kinds = {symbol: one["setup"] for symbol, one in inputs["setups"].items()}
    reference, level = slab_bands(atoms, setups=kinds, functional=settings.dft.functional, kpts=inputs["kpts"], points=points,
                                  smearing=settings.dft.smearing_eV, bands=bands, cutoff=CUTOFF_eV, txt=log,
                                  tolerance=settings.dft.density_tolerance)
    found, errors, at = surface_errors(own, reference - level, weights, share)
    return SurfaceStates(
        metal, facet, basis_name(metal, settings.dft.recipe), settings.dft.functional, LAYERS, tuple(inputs["kpts"]), len(points),
        CUTOFF_eV, settings.dft.smearing_eV, *(tuple(map(float, values)) for values in (found, errors, shares[at])),
        int((at == 0).sum()), f"GPAW {versions()['gpaw']}, emforce {git_commit()[:10]}, {datetime.now(UTC).date()}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("spec", nargs="+", type=Path, help="adatom hops, structures/*.toml")
    parser.add_argument("--write", nargs="?", type=Path, const=Path(str(resources.files("emforce"))) / "data" / FILE,
                        metavar="FILE", help=f"put what was found into a file (default emforce/data/{FILE}, which is read)")
    options = parser.parse_args(arguments)

    # Structures. The clean slab of each specification with LAYERS layers, self-consistent in the local basis.
    settings = recipe.settings(options).without_spin_orbit()
    hops = {path: built_hop(path, settings) for path in options.spec}
    steps = {path: slab_step(path, hop, settings) for path, hop in hops.items()}
    store, table, status = Store(options.store), [HEADS], 0
    with Campaign(store, recipe.placement(options, options.spec)) as campaign:
        failed = campaign.compute(list(steps.values()))

    # Comparison. The same slab in plane waves; states of the local basis that lie on the outer layers, against the plane-wave
    # band of the same number from below.
    for path, step in steps.items():
        spec, host = hops[path].spec, store.find(step.kind, step.key)
        name, began = title_of(hops[path]), time.monotonic()
        try:
            if host is None:
                raise EmforceError(failed[step.name])
            one = compared(step, host, spec.metal, spec.facet, settings, str(store.root / "logs" / f"surface-{path.stem}.txt"))
        except EmforceError as error:
            table.append([name, settings.dft.recipe, "-", "-", "-", "-", f"failed: {error}"])
            status = 1
            continue
        print(f"{name}: plane waves done in {time.monotonic() - began:.0f} s", file=sys.stderr)
        if options.write is not None:
            write([one], options.write)
        own, errors = np.array(one.energies_eV), np.array(one.errors_eV)
        middle = (" ".join(f"{e:+.3f}" for e in some[: one.middle]) or "-" for some in (own, own - errors))
        table.append([name, one.basis, str(len(own)), *middle, f"{one.at_fermi_energy_eV:.3f}",
                      f"{np.abs(errors).max():.3f}" if len(own) else "-"])
    print(columns(table))
    print(f"Surface states within {WINDOW_eV} eV of E_F, slab of {LAYERS} layers; off: local basis less plane waves "
          f"({CUTOFF_eV:g} eV, {settings.dft.functional}).")
    return status


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "surface_states"))
