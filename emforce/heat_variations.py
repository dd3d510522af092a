"""What the functional, the supercell, the basis, spin-orbit coupling and the height of an adatom leave open in a heat of
transport, which is made of the whole of K(E): the rows that measure these parts of the wind force's sigma
(`emforce.variations`) have a K(E) too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import InputError
from .heat_slabs import FEWEST, alike, points_of
from .physics.lcao import Floats
from .physics.wind import hop_average
from .record import HOP_AVERAGE
from .steps import Document
from .variations import HEIGHT, PARTS


def other_settings(row: Document, stored: Sequence[Document]) -> list[Document]:
    """How K(E) differs in the rows that `row["provenance"]["varied"]` names, from the row itself or the one that lends the part.

    Where two averages over a hop do not rest on the same points, the averages over the points that both have are compared, as
    for K at the Fermi energy.

    Returns
    -------
    list of {"part", "rows": ids of the rows compared, "energies_eV", "change_uohm_cm"}, one for each row of another setting;
    none for one that is gone, or whose K(E) is not on the same energies. Of an adatom's height the change is for the misplacement
    """
    found = []
    for part, entries in sorted((row["provenance"].get("varied") or {}).items()):
        for entry in entries if part in (*PARTS.values(), HEIGHT) else ():
            first = _curve(row, entry.get("lent_by", row["preset"]), entry.get("points"), stored)
            second = _curve(row, entry["preset"], entry.get("points"), stored)
            if first is None or second is None:
                continue
            (own_rows, own_energies, own), (rows, energies, other) = first, second
            if np.array_equal(own_energies, energies):
                found.append({"part": part, "rows": [*own_rows, *rows], "energies_eV": energies.tolist(),
                              "change_uohm_cm": (entry.get("share", 1.0) * (other - own)).tolist()})
    return found


def _curve(
    row: Document, preset: str, points: Sequence[float] | None, stored: Sequence[Document]
) -> tuple[list[int], Floats, Floats] | None:
    """Rows of a preset for the site of `row`, or for the points of an average over the hop, with energies and K there."""
    held = [one for one in stored if one["preset"] == preset and alike(row, one, ("method",))
            and len(one["k_of_energy_uohm_cm"] or ()) >= FEWEST]
    newest = sorted(held, key=lambda one: int(one["id"]))
    if points is None:
        same = [one for one in newest if one["site"] == row["site"]]
        return _of(same[-1:])
    if row["site"] != HOP_AVERAGE:  # a drift: K(E) of the points is that along the hop
        return None
    at = {round(float(one["fraction"]), 6): one for one in newest if one["fraction"] is not None}
    if not set(points) <= at.keys():
        return None
    return _of([at[point] for point in points], symmetric=max(points_of(row, stored)) < 1 - 1e-6)


def _of(rows: Sequence[Document], symmetric: bool | None = None) -> tuple[list[int], Floats, Floats] | None:
    """Ids, energies and K of one row, or the average over the points of a hop (`symmetric`: see `hop_average`)."""
    if not rows or any(one["energies_eV"] != rows[0]["energies_eV"] for one in rows):
        return None
    numbers, energies = [int(one["id"]) for one in rows], np.array(rows[0]["energies_eV"], float)
    k = np.array([one["k_of_energy_uohm_cm"] for one in rows], float)
    if symmetric is None:
        return numbers, energies, k[0]
    fractions = np.array([one["fraction"] for one in rows], float)
    try:
        return numbers, energies, np.array([hop_average(fractions, values, symmetric) for values in k.T])
    except InputError:  # they do not reach from end to end
        return None


__all__ = ["other_settings"]
