"""Bulk hosts side by side: density of states, plasma energy and rho lambda of a list of metals, beside what is published.

    python workflows/host_table.py Cu Al W --preset quick --workers 2

Every force of this package stands on the bands of the host; a host that does not agree with plane waves carries no served
force. Finished steps are kept in the store: a hop of the same metal and settings uses them, and the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from emforce import recipe
from emforce.campaign import Campaign
from emforce.comparison import DOS_OF_GAMMA
from emforce.database import Database
from emforce.evaluate import rho_lambda
from emforce.hop_records import host_record
from emforce.materials import Sourced, material
from emforce.plan import bulk_step
from emforce.settings import preset_label
from emforce.store import Store
from emforce.tables import columns, plus_minus

HEADS = ["metal", "a (Å)", "DOS (1/eV)", "from γ", "ħω_p (eV)", "ρλ (fΩ m²)", "published",
         "DOS, ω_p off plane waves", "band rms (eV)", "status"]


def shown(number: Sourced | None, unit: float) -> str:
    """A published number, with a question mark where it was not seen at its source."""
    return "-" if number is None else f"{number.value * unit:.3g}{'' if number.verified else ' ?'}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = recipe.parser(__doc__)
    parser.add_argument("metal", nargs="+", help="chemical symbols")
    options = parser.parse_args(arguments)

    # Structure and calculation. The primitive cell at the lattice constant of the functional, self-consistent in the LCAO basis
    # of the preset; H(R) and S(R); Fermi-surface sums on meshes that grow until N changes by less than host.n_tolerance:
    # D = (2/N_k) sum delta(E_F - E), N = (2/N_k) sum delta(E_F - E) v^2, (hbar omega_p)^2 = hbar^2 e^2 N/(eps_0 Omega).
    settings, place = recipe.settings(options), recipe.placement(options, options.metal)
    steps = {metal: bulk_step(metal, settings) for metal in options.metal}
    store = Store(options.store)
    with Database(options.db, create=True) as database, Campaign(store, place) as campaign:
        failed = campaign.compute(list(steps.values()))

        # Values. The standard uncertainty is the difference from plane waves, both on the mesh of these; the measured heat
        # capacity gamma holds the electron-phonon enhancement, which a band structure has not.
        table, sources, served = [HEADS], [], True
        for metal, step in steps.items():
            data, finished = material(metal), store.find(step.kind, step.key)
            published = [shown(data.sommerfeld_gamma, DOS_OF_GAMMA), shown(data.rho_lambda, 0.1)]
            lattice = f"{data.lattice_constant(settings.dft.functional):.3f}"
            sources += [f"{metal}, {what}: {number.source}{'' if number.verified else ' (not verified)'}" for what, number in
                        (("γ", data.sommerfeld_gamma), ("ρλ", data.rho_lambda)) if number is not None]
            if finished is None:
                table.append([metal, lattice, "-", published[0], "-", "-", published[1], "-", "-",
                              f"failed: {failed[step.name]}"])
                served = False
                continue
            host = host_record(metal, settings, finished)
            database.add_host(host)
            product, compared = rho_lambda(host.document()), finished.values["check"]
            errors = [None, None, None] if compared is None else [
                abs(compared["dos_ratio"] - 1) * host.dos_per_eV_atom, abs(compared["omega_p_ratio"] - 1) * host.omega_p_eV,
                product.sigma * 1e-3]
            off = "no reference" if compared is None else ", ".join(
                f"{100 * (compared[name] - 1):+.1f} %" for name in ("dos_ratio", "omega_p_ratio"))
            table.append([
                metal, lattice, plus_minus(host.dos_per_eV_atom, errors[0]), published[0], plus_minus(host.omega_p_eV, errors[1]),
                plus_minus(product.value * 1e-3, errors[2]), published[1], off,
                "-" if compared is None else f"{host.band_rms_eV:.3f}", f"{host.status}{host.reason and ': '}{host.reason}"])
            served = served and host.status == "ok"
    print(columns(table))
    label = preset_label(settings.preset, dict(settings.overrides))
    print(f"{settings.dft.functional}, preset {label}; per atom, both spins; ± what is off plane waves on their mesh; from γ: "
          "measured heat capacity, electron-phonon enhancement included; ?: not verified")
    print("\n".join(sources))
    return 0 if served else 1


if __name__ == "__main__":  # Dask's worker processes import this file
    sys.exit(recipe.ended(main, "host_table"))
