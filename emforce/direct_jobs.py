"""The steps of the direct valence, after the ground states.

    dipoles    d of a host's basis: geometry alone
    mover      one image: what its atoms change in the response, from its matrices and its basis' dipole and displacement matrices
    response   Z of all images of a hop at one hbar/tau, in one host; the host's kernels are shared by the images
    direct     all hbar/tau joined: tau m and Z_direct, the document that `emforce.direct_assess` reads

A response costs a second or two per image and pair of energies; every hbar/tau is a step, so that one hop uses all cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from emforce.embedding_jobs import defect_geometry, image_perturbation, load_tables, nulls, shift_between
from emforce.errors import InputError
from emforce.ground_state_jobs import dft_settings
from emforce.physics.carried import carried, usable_radius
from emforce.physics.direct import Accuracy, embedded_mover, embedded_responses, split
from emforce.physics.direct_embedding import EmbeddedMover, Host
from emforce.physics.embedding import RegionSites
from emforce.physics.lcao import Floats
from emforce.physics.perturbation import Perturbation
from emforce.physics.position import Connection
from emforce.physics.wind import wind
from emforce.steps import Document, Laps, document_atoms, load_matrices
from emforce.store import Finished, Store, save_arrays

#: points on the path of the frequencies where their number is varied (emforce.physics.response_kernel.frequencies)
FINE_PATH = (14, 10)
#: where the region had to end before the radius asked for, it is varied to this share of where it ends
SMALLER_REGION = 0.85
#: numbers of a perturbation that are no arrays
_SCALARS = ("new_orbitals", "alignment", "far_deviation", "curvature")


def dipoles(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `dipoles`: overlap and d of a host at their true translations."""
    from emforce.connection import connection, setups_for

    atoms = document_atoms(inputs["atoms"])
    # the translations of the host's matrices count from where GPAW has the atoms
    atoms.positions = load_matrices(needs["host"]).positions
    made = connection(setups_for(atoms, dft_settings(inputs, store)), atoms)
    names = ("cell", "positions", "orbitals", "R", "s", "d")
    save_arrays(folder, {name: getattr(made, name) for name in names}, "dipoles.npz")
    return {"translations": len(made.R)}


def load_dipoles(step: Finished) -> Connection:
    """Read what the step `dipoles` wrote."""
    a = step.arrays("dipoles.npz")
    return Connection(a["cell"], a["positions"], a["orbitals"], a["R"], a["s"], a["d"])


def mover(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `mover`: an `EmbeddedMover` of one image."""
    from emforce.connection import connection, setups_for

    laps = Laps()
    host, image = load_matrices(needs["host"]), inputs["image"]
    changed = image_perturbation(inputs, needs, image, host, inputs["reach"])
    laps.end("perturbation")
    atoms = document_atoms(image["atoms"])
    setups = setups_for(atoms, dft_settings(inputs, store))
    own = connection(setups, atoms, (image["mover"],), curvature=True)
    laps.end("connection")
    made = embedded_mover((host, load_dipoles(needs["dipoles"])), own, defect_geometry(inputs, image), changed,
                          float(setups[image["mover"]].Nv), inputs["reach"])
    save_mover(folder, made)
    laps.end("mover")
    return {"valence": made.valence, "far_deviation": changed.far_deviation, "timing": laps.seconds}


def save_mover(folder: Path, made: EmbeddedMover) -> None:
    """Write everything about a mover."""
    p = made.perturbation
    arrays: dict[str, np.ndarray] = {"valence": np.array(made.valence)}
    arrays |= {name: getattr(made, name) for name in ("positions", "d_change", "a", "m0")}
    for field in fields(p):
        value = getattr(p, field.name)
        if isinstance(value, RegionSites):
            arrays |= {f"{field.name} cells": value.cells, f"{field.name} atoms": value.atoms}
        else:
            arrays[field.name] = np.array(value)
    save_arrays(folder, arrays, "mover.npz", packed=True)


def load_mover(step: Finished) -> EmbeddedMover:
    """Read what `save_mover` wrote."""
    arrays = step.arrays("mover.npz")
    values: dict[str, object] = {}
    for field in fields(Perturbation):
        if field.name in ("sites", "removed"):
            values[field.name] = RegionSites(arrays[f"{field.name} cells"], arrays[f"{field.name} atoms"])
        else:
            value = arrays[field.name]
            values[field.name] = value.item() if field.name in _SCALARS else value
    return EmbeddedMover(Perturbation(**values), arrays["positions"], arrays["d_change"], arrays["a"],  # type: ignore[arg-type]
                         arrays["m0"], float(arrays["valence"]))


def response(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `response`: Z and its parts of every image, [force][field], null along an axis that was not computed.

    The region ends at `radius` of the output, before the one asked for where the supercell is too small for that. A response that
    varies the radius has no images where it would end as the served one does.
    """
    laps = Laps()
    thin = load_matrices(needs["host"])
    thick = load_matrices(needs["thick"]) if "thick" in needs else thin
    mapping = np.array(inputs["atoms"]) if "thick" in needs else None
    shift = 0.0 if mapping is None else shift_between(thin, thick, mapping)
    host = Host(thick, load_dipoles(needs["dipoles"]), tuple(inputs["axes"]), mapping, shift)
    movers = [load_mover(needs[name]) for name in inputs["movers"]]
    laps.end("reading")
    level = needs["tables"].values["fermi_energy"] + inputs.get("level", 0.0)
    x, y, z = inputs["mesh"]
    radius = usable_radius(movers, host, inputs["radius"])
    if "served_radius" in inputs and usable_radius(movers, host, inputs["served_radius"]) == radius:
        return {"omega": inputs["omega"], "fermi_energy": level, "radius": radius, "images": []}  # nothing is varied
    accuracy = Accuracy((x, y, z), radius, sigma=inputs["sigma"])
    if "explicit" in inputs:
        accuracy = replace(accuracy, explicit=int(inputs["explicit"]), path=FINE_PATH)
    # name of what is varied beside the response itself: radius, and which F
    ways = {"": (radius, False)}
    if "edge" in inputs:
        ways["edge"] = (radius, True)
        if radius < inputs["radius"]:
            ways["region"] = (usable_radius(movers, host, SMALLER_REGION * radius), False)
    images = len(movers)
    movers = [carried(mover, host, r, other) for r, other in ways.values() for mover in movers]
    found = embedded_responses(host, movers, level, inputs["omega"], accuracy, inputs["omega"])
    tables = next(t for t in load_tables(needs["tables"]) if t.sigma == inputs["sigma"])
    centre = int(np.abs(tables.energies - level).argmin())
    if abs(tables.energies[centre] - level) > 1e-6:
        raise InputError("level", level, f"an energy of the tables, {tables.energies.tolist()}")
    ms = [wind(tables, centre, thick.offsets, m.perturbation, radius, mapping, shift).m for m in movers]
    smooth = [response.total - m / inputs["omega"] for m, (response, _) in zip(ms, found, strict=True)]
    varied = [{name: nulls(smooth[way * images + i] - smooth[i]) for way, name in enumerate(ways) if name} for i in range(images)]
    laps.end("response")
    return {
        "omega": inputs["omega"],
        "fermi_energy": level,
        "radius": radius,
        "images": [
            {name: nulls(getattr(r, name)) for name in ("total", "static", "surface", "sea")}
            | {"m": nulls(m), "condition": condition} | more
            for (r, condition), m, more in zip(found, ms, varied, strict=False)
        ],
        "timing": laps.seconds,
    }


def direct(inputs: Document, needs: Mapping[str, Finished], folder: Path, log: Path, store: Store) -> Document:
    """Run the step `direct`: per image [hbar/tau][force][field] of Z and its parts, and what tau m of the wind leaves of it.

    m_free is the m of a polynomial through m/omega, 1, omega that does not know the wind's: a check.
    """
    runs = [needs[name].values for name in inputs["responses"]]
    omegas = np.array([run["omega"] for run in runs])
    images = []
    for i in range(len(runs[0]["images"])):
        entry: Document = {name: [run["images"][i][name] for run in runs] for name in ("total", "static", "surface", "sea")}
        entry["condition"] = max(run["images"][i]["condition"] for run in runs)
        total = np.array(entry["total"], dtype=float)
        m = np.array(runs[0]["images"][i]["m"], dtype=float)
        parts = split(omegas, total, m)
        free = np.linalg.lstsq(omegas[:, None] ** [-1.0, 0.0, 1.0], np.nan_to_num(total).reshape(len(total), -1), rcond=None)[0]
        m_free = np.where(np.isnan(total[0]), np.nan, free[0].reshape(3, 3))
        entry |= {"m": nulls(m), "m_free": nulls(m_free), "z_direct": nulls(parts.z_direct),
                  "z_direct_sigma": nulls(parts.sigma), "drift": [nulls(d) for d in parts.drift]}
        base = np.array(needs[inputs["middle"]].values["images"][i]["total"], dtype=float)
        middle = needs[inputs["middle"]].values["omega"]
        beside = needs[inputs["middle"]].values["images"][i]
        entry["variations"] = [
            {"part": v["part"], "change": nulls(_smooth(needs, v, i, middle) - base + m / middle)}
            for v in inputs["variations"] if needs[v["response"]].values["images"]  # none where nothing was varied
        ]
        if "edge" in beside:
            entry["variations"].append({"part": "edge", "change": beside["edge"]})
        if "region" in beside:
            left = inputs["still_to_come"] * np.array(beside["region"], dtype=float)
            entry["variations"].append({"part": "region", "change": nulls(left)})
        images.append(entry)
    return {"omegas": omegas.tolist(), "fermi_energy": runs[0]["fermi_energy"], "images": images}


def _smooth(needs: Mapping[str, Finished], variation: Document, image: int, omega: float) -> Floats:
    """Z - tau m (3, 3) of a response that something was varied in, with its own m."""
    values = needs[variation["response"]].values["images"][image]
    return np.array(values["total"], dtype=float) - np.array(values["m"], dtype=float) / omega
