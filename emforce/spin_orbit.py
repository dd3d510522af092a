"""`emforce spinorbit`: what spin-orbit coupling changes in a bulk host, and what that would do to the wind force.

The numbers stand in the provenance of the host's row, under "spin_orbit": no value that is served, and no uncertainty, contains
them; the rows of `emforce run --set dft.spin_orbit=true` do. Whoever writes the same host again takes them over
(`emforce.database.Database.add_host`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emforce.campaign import Campaign, Placement
from emforce.database import Condition, Database
from emforce.errors import EmforceError, InputError
from emforce.hop_records import host_record
from emforce.keys import BY_NAME
from emforce.materials import material
from emforce.plan import bulk_step
from emforce.record import HOP_AVERAGE, Host
from emforce.refinement import COUPLING
from emforce.settings import Settings, load_settings, preset_label
from emforce.spin_orbit_jobs import fine_step, spin_orbit_step
from emforce.steps import Document, Step
from emforce.store import Finished, Store
from emforce.stored import Check
from emforce.units import uohm_cm

#: the name under which the numbers stand in the provenance of a host
NAME = "spin_orbit"
METHOD = "PAW spin-orbit operator in the local basis, diagonalised with spin at the scalar-relativistic potential"
ESTIMATE = "K_so between K(E_F + dE_F) and K(E_F + dE_F) N/N_so, K(E) of the stored row; not part of any sigma"
#: what the second calculation of the ground state may differ by from the first, eV
MAX_DIFFERENCE_eV = 0.01
#: named points whose levels are printed, by structure
POINTS = {"fcc": ("G", "X", "L"), "bcc": ("G", "H", "N")}
#: a splitting is attributed to a level where the spinor states keep at least this share of it
_SHARE = 0.5


@dataclass(frozen=True)
class SpinOrbitHost:
    """A bulk host with its spin-orbit coupling.

    Attributes
    ----------
    host : the row as stored; provenance["spin_orbit"] is `document`
    document : sums with and without, their relative change, levels of special points, checks
    estimates : of K of each stored hop of this metal: a list of mappings, see `estimate`
    path, ticks : distances along the band path, 1/Angstrom, and its special points
    scalar, spinor : bands on it, eV, each relative to its own Fermi energy
    """

    host: Host
    document: Document
    estimates: list[Document]
    path: np.ndarray
    ticks: list[tuple[float, str]]
    scalar: np.ndarray
    spinor: np.ndarray


def compute(
    metals: Sequence[str], *, preset: str, overrides: Mapping[str, object], workers: int | None, database: str | None,
    store: Path, cluster: str = "local",
) -> list[SpinOrbitHost]:
    """Compute the spin-orbit coupling of bulk metals and store it with their hosts.

    Raises
    ------
    InputError before anything is written when a metal, a setting or a profile is not allowed
    EmforceError when a step failed; CampaignCancelled when somebody stopped it: finished steps are kept
    """
    settings = load_settings(preset, overrides).without_spin_orbit()
    if len(set(metals)) < len(metals):
        raise InputError("METAL", list(metals), "each metal once")
    steps = [fine_step(spin_orbit_step(bulk_step(metal, settings))) for metal in metals]
    place = Placement(cluster, workers, tuple(metals))
    place.check()
    disk = Store(store)
    with Database(database, create=True) as rows:
        with Campaign(disk, place) as campaign:
            failed = campaign.compute([part for step in steps for part in (*step.needs.values(), step)])
        found = [_host(metal, settings, step, disk, failed, rows) for metal, step in zip(metals, steps, strict=True)]
        for one in found:
            rows.add_host(one.host)
    return found


def _host(metal: str, settings: Settings, step: Step, store: Store, failed: Mapping[str, str], rows: Database) -> SpinOrbitHost:
    found: list[Finished] = []
    for one in (*step.needs.values(), step):
        part = store.find(one.kind, one.key)
        if part is None:
            raise EmforceError(f"{one.title}: {failed.get(one.name, 'its output is gone from the store')}")
        found.append(part)
    bulk, done, fine = found
    host = host_record(metal, settings, bulk)
    document = summary(done, fine, material(metal).structure)

    def averages(preset: str) -> list[Document]:
        return rows.rows([Condition(BY_NAME[name], "=", (value,)) for name, value in
                          (("metal", metal), ("site", HOP_AVERAGE), ("preset", preset), ("basis", host.basis))])

    coupled = {_hop(row): row for row in averages(preset_label(settings.preset, dict(settings.overrides) | {COUPLING: True}))}
    estimates = [made for row in averages(host.preset)
                 if (made := estimate(row, document, coupled.get(_hop(row)))) is not None]
    bands = done.arrays("bands.npz")
    return SpinOrbitHost(
        replace(host, provenance={**host.provenance, NAME: document}), document, estimates, bands["path"],
        [(float(at), str(name)) for at, name in done.values["ticks"]], bands["scalar"], bands["spinor"],
    )


def _hop(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("spec", "facet", "defect", "hop", "species"))


def summary(done: Finished, fine: Finished, structure: str) -> Document:
    """The finished steps as they are stored: per atom and in the units of a host's keys; sums of the finer mesh."""
    values = done.values
    both = {name: {**fine.values[name], "coarser": values[name]["served"]} for name in ("scalar", "spinor")}
    sums = {name: {
        "fermi_energy_eV": s["fermi_energy"], "dos_per_eV_atom": s["dos"], "omega_p_eV": s["plasma_energy"],
        "n_eV_angstrom2": s["n"], "rho_lambda_fohm_m2": s["rho_lambda"] / uohm_cm * 1e-3,
    } for name, s in (("without", both["scalar"]["served"]), ("with", both["spinor"]["served"]))}
    check = Check("H(k) of the repeated ground state, difference", values["h_difference_eV"], MAX_DIFFERENCE_eV, unit="eV")
    if not check.passed:
        raise EmforceError(f"spin-orbit coupling: {check}; the ground state of the bulk cell could not be repeated")
    return {
        "method": METHOD, **sums, "change": changes(both["scalar"], both["spinor"]),
        "mesh": both["scalar"]["served"]["mesh"], "mesh_of_host": both["scalar"]["coarser"]["mesh"],
        "n_of_host_mesh_eV_angstrom2": both["scalar"]["coarser"]["n"], "sigma_eV": both["scalar"]["served"]["sigma"],
        "xi_eV": {f"{n}{'spdf'[l]}": round(xi, 5) for n, l, xi in values["shells"] if n > 0},
        "levels": {name: [_level(level) for level in values["points"][name]] for name in POINTS[structure]},
        "checks": [check.document()],
    }


def changes(scalar: Document, spinor: Document) -> Document:
    """Shift of E_F (eV) and relative changes of the sums, each with what the second width and the coarser mesh make of it."""
    found: Document = {}
    for variant in ("served", "wider", "coarser"):
        a, b = scalar[variant], spinor[variant]
        one = {"fermi_energy_eV": b["fermi_energy"] - a["fermi_energy"]}
        one |= {name: b[name] / a[name] - 1 for name in ("dos", "n", "plasma_energy", "rho_lambda")}
        found[variant] = one
    return found


def _level(level: Document) -> Document:
    """A level for people: energies relative to E_F without the coupling, 1 meV; the spinor levels once per Kramers pair."""
    pairs = np.round(np.mean(np.reshape(level["energies"], (-1, 2)), axis=1), 3)
    return {"energy_eV": round(level["energy"], 3), "degeneracy": level["degeneracy"], "with_eV": pairs.tolist(),
            "share": round(level["weight"], 3)}


def splitting(level: Document) -> float | None:
    """Highest minus lowest of what a degenerate level becomes, eV; None for a single level and for one that mixes too much."""
    if level["degeneracy"] < 2 or level["share"] < _SHARE:
        return None
    return float(level["with_eV"][-1] - level["with_eV"][0])


def estimate(row: Mapping[str, Any], document: Document, coupled: Mapping[str, Any] | None = None) -> Document | None:
    """What the host's part of the coupling would make of K of a stored hop; None where the row has no K(E).

    K = m Omega/(e^2 N), and the row has K(E) = m(E) Omega/(e^2 N): m is taken at the shifted Fermi energy. m is linear in the
    current matrix B of the host as N is. If both change alike, the force per current stays and K_so = K(E_F + dE_F); if B keeps
    its size while N changes, K_so = K(E_F + dE_F) N/N_so. The range between these two; the coupling in the defect is left out.
    Beside it stands the computed K of `coupled`, the row of the same hop with `dft.spin_orbit = true`.
    """
    energies, k = row["energies_eV"], row["k_of_energy_uohm_cm"]
    if row["k_wind_uohm_cm"] is None or energies is None or len(energies) < 2:
        return None
    shift = document["change"]["served"]["fermi_energy_eV"]
    if not energies[0] <= shift <= energies[-1]:
        return None
    at = float(np.interp(shift, energies, k))
    other = at / (1 + document["change"]["served"]["n"])
    return {
        "facet": row["facet"], "hop": row["hop"], "defect": row["defect"], "k_wind_uohm_cm": row["k_wind_uohm_cm"],
        "k_wind_sigma_uohm_cm": row["k_wind_sigma_uohm_cm"], "dk_de_uohm_cm_per_eV": float(np.gradient(k, energies)[len(k) // 2]),
        "fermi_shift_eV": shift, "k_low_uohm_cm": min(at, other), "k_high_uohm_cm": max(at, other), "formula": ESTIMATE,
        "k_computed_uohm_cm": None if coupled is None else coupled["k_wind_uohm_cm"],
        "k_computed_sigma_uohm_cm": None if coupled is None else coupled["k_wind_sigma_uohm_cm"],
    }


def documents(found: Sequence[SpinOrbitHost]) -> list[Document]:
    """For programs: one mapping per metal."""
    return [{"metal": one.host.metal, "preset": one.host.preset, "basis": one.host.basis, **one.document,
             "estimates": one.estimates} for one in found]


def report(found: Sequence[SpinOrbitHost]) -> str:
    """Tables for the eye: the host without and with the coupling, levels of special points, what follows for K."""
    from emforce.tables import columns, plus_minus

    hosts = [["metal", "", "E_F (eV)", "DOS(E_F) (1/eV atom)", "hbar omega_p (eV)", "N (eV Å²)", "rho lambda (fΩ m²)"]]
    for one in found:
        for name in ("without", "with"):
            s = one.document[name]
            hosts.append([one.host.metal, name, f"{s['fermi_energy_eV']:.3f}", f"{s['dos_per_eV_atom']:.4f}",
                          f"{s['omega_p_eV']:.3f}", f"{s['n_eV_angstrom2']:.3f}", f"{s['rho_lambda_fohm_m2']:.4f}"])
        c = one.document["change"]
        cells = [_with_spread(c, "fermi_energy_eV", 1.0, "+.3f")]
        cells += [_with_spread(c, name, 100.0, "+.1f") + " %" for name in ("dos", "plasma_energy", "n", "rho_lambda")]
        hosts.append([one.host.metal, "change", *cells])
    levels = [["metal", "point", "level (eV)", "states", "with coupling (eV)", "splitting (eV)"]]
    for one in found:
        for point, entries in one.document["levels"].items():
            for level in entries:
                split = splitting(level)
                if split is not None:
                    values = ", ".join(f"{e:.2f}" for e in level["with_eV"])
                    levels.append([one.host.metal, "Γ" if point == "G" else point, f"{level['energy_eV']:.2f}",
                                   str(level["degeneracy"]), values, f"{split:.2f}"])
    wind = [["hop", "K stored (µΩ cm)", "shift of E_F (eV)", "dK/dE (µΩ cm/eV)", "K with shift and N (µΩ cm), estimate",
             "K with coupling in host and defect"]]
    for one in found:
        for e in one.estimates:
            wind.append([f"{one.host.metal}({e['facet']}) {e['hop']}", plus_minus(e["k_wind_uohm_cm"], e["k_wind_sigma_uohm_cm"]),
                         f"{e['fermi_shift_eV']:+.3f}", f"{e['dk_de_uohm_cm_per_eV']:+.0f}",
                         f"{e['k_low_uohm_cm']:.0f} to {e['k_high_uohm_cm']:.0f}",
                         "not computed" if e["k_computed_uohm_cm"] is None
                         else plus_minus(e["k_computed_uohm_cm"], e["k_computed_sigma_uohm_cm"])])
    text = [columns(hosts), "(in brackets: with the second width of delta, and on the coarser mesh of the host)", "",
            columns(levels), "energies relative to E_F without the coupling"]
    if len(wind) > 1:
        text += ["", columns(wind), ESTIMATE]
    return "\n".join(text)


def _with_spread(change: Document, name: str, factor: float, form: str) -> str:
    """A change, and in brackets what the second width and the host's mesh make of it."""
    served, wider, coarser = (format(factor * change[variant][name], form) for variant in ("served", "wider", "coarser"))
    return f"{served} ({wider}, {coarser})"


__all__ = ["ESTIMATE", "METHOD", "NAME", "SpinOrbitHost", "changes", "compute", "documents", "estimate", "report", "splitting",
           "summary"]
