"""Figures and pictures as SVG text: those of `emforce.plot` and `emforce.valence_plot` for a question, and a structure."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from .. import plot, valence_plot
from ..best import hop_of
from ..database import Database
from ..errors import InputError
from ..query import select
from .values import FIGURES, understand

#: matplotlib's settings belong to the process
_ONE_AT_A_TIME = threading.Lock()


def figure(database: Path, kind: str, given: Mapping[str, str]) -> str:
    """A figure of the hops that answer a question, with error bars, as SVG.

    Parameters
    ----------
    database : the file
    kind : one of `emforce.serve.values.FIGURES`
    given : fields of the form; the first temperature counts

    Raises
    ------
    InputError : an unknown kind, a bad field, or no row with a number to draw
    """
    if kind not in FIGURES:
        raise InputError("figure", kind, ", ".join(FIGURES))
    asked = understand(given)
    kelvin = asked.question.temperatures_K[0]
    with Database(database) as opened:
        wanted = {hop_of(row) for row in select(opened, [asked.filters], asked.question).rows if not row["source"]}
        rows = [row for row in opened.rows() if row["k_wind_uohm_cm"] is not None and hop_of(row) in wanted]
        hosts = {int(row["id"]): row for row in opened.host_rows(everything=True)}
    if not rows:
        raise InputError("filter", asked.filters or "(none)", "rows that hold a wind force of ours to draw")
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory() as folder:
        if kind == "hop":
            drawn = plot.hop_figure(rows)
        elif kind == "wind":
            drawn = plot.wind_figure(rows, asked.question.temperatures_K)
        else:
            drawn = valence_plot.figures(rows, hosts, [kind], kelvin)[0][0]
        return plot.save(drawn, Path(folder) / kind, ["svg"])[0].read_text(encoding="utf-8")


def picture(atoms: Atoms) -> str:
    """A structure from above and from the side, as SVG; x and z in Angstrom."""
    from ase.visualize.plot import plot_atoms
    from matplotlib.figure import Figure

    with _ONE_AT_A_TIME:
        drawn = Figure(figsize=(7.0, 3.6), layout="constrained")
        sides: Any = drawn.subplots(1, 2)
        for axis, rotation, title in zip(sides, ("", "-90x"), ("from above", "from the side"), strict=True):
            plot_atoms(atoms, axis, rotation=rotation, show_unit_cell=2)
            axis.set(title=title, xlabel="Å", ylabel="Å")
        text = io.StringIO()
        drawn.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()


__all__ = ["figure", "picture"]
