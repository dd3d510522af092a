"""Figure of the bands of bulk metals near E_F, without and with spin-orbit coupling.

Style and caption are those of `emforce.plot`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .errors import StoreError
from .keys import HOST_KEYS
from .plot import _COLOURS, _STYLE, _figure, _special, _title, save
from .spin_orbit import SpinOrbitHost

#: energies shown, eV from E_F
_WINDOW = (-7.0, 4.0)
_AXIS = {key.name: key.axis for key in HOST_KEYS}


def spin_orbit_figure(found: Sequence[SpinOrbitHost]) -> Figure:
    """Bands without and with the coupling, a panel per metal, each set relative to its own Fermi energy."""
    sources = [{"preset": one.host.preset, "method": f"basis {one.host.basis}", "provenance": one.host.provenance}
               for one in found]
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(len(found), sources, _words(found), widths=tuple(3.6 for _ in found))
        for axis, one in zip(axes, found, strict=True):
            jumps = np.flatnonzero(np.diff(one.path) <= 0) + 1  # the path goes on elsewhere: no line across
            distance = np.insert(one.path, jumps, one.path[jumps])
            for bands, colour, style, width, name in (
                (one.scalar, _COLOURS[1], "--", 0.9, "without"), (one.spinor[:, ::2], _COLOURS[0], "-", 1.1, "with spin–orbit"),
            ):
                whole = np.insert(bands, jumps, np.nan, axis=0)
                axis.plot(distance, whole, color=colour, linestyle=style, linewidth=width)[0].set_label(name)
            axis.axhline(0, color="0.6", linewidth=0.7, zorder=0)
            for at, _ in one.ticks:
                axis.axvline(at, color="0.85", linewidth=0.7, zorder=0)
            names = ["|".join(_special(part) for part in name.split("|")) for _, name in one.ticks]
            axis.set_xticks([at for at, _ in one.ticks], names)
            axis.set(xlim=(one.path[0], one.path[-1]), ylim=_WINDOW, xlabel="Wave vector", ylabel=_AXIS["bands_lcao_eV"],
                     title=_title(one.host.metal, one.host.facet))  # fmt: skip
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, handlelength=1.6)
    return figure


def _words(found: Sequence[SpinOrbitHost]) -> str:
    parts = []
    for one in found:
        c = one.document["change"]["served"]
        parts.append(f"{one.host.metal}: E_F {1000 * c['fermi_energy_eV']:+.0f} meV, DOS(E_F) {100 * c['dos']:+.1f} %, "
                     f"N {100 * c['n']:+.1f} %.".replace(" -", " −"))
    return " ".join([*parts, "Spin–orbit coupling at the scalar-relativistic potential, not self-consistent."])


def save_figure(found: Sequence[SpinOrbitHost], path: Path) -> None:
    """Write the figure to a file, its kind after the name's ending.

    Raises
    ------
    StoreError : the folder cannot be written
    """
    try:
        save(spin_orbit_figure(found), path.with_suffix(""), (path.suffix[1:],))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


__all__ = ["save_figure", "spin_orbit_figure"]
