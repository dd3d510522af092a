"""Figure of the phonons of a bulk metal: frequencies along the path, density of modes, Debye temperature beside the measured one.

Style and caption are those of `emforce.plot`.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .errors import InputError
from .keys import HOST_KEYS
from .plot import _COLOURS, _STYLE, _figure, _special, _title
from .record import Host

#: kinds of figure, and the beginnings of the names of their files
KINDS = {"phonons": "phonons"}
_AXIS = {key.name: key.axis for key in HOST_KEYS}


def phonon_figure(host: Host) -> Figure:
    """Phonon bands of a host with the density of modes beside them.

    Raises
    ------
    InputError : the host holds no phonons
    """
    if host.phonon_bands_THz.size == 0:
        raise InputError("host", f"{host.metal} {host.facet} {host.preset}", "a host stored with phonons")
    source = {"preset": host.preset, "method": f"finite displacements with phonopy, basis {host.basis}",
              "provenance": host.provenance}  # fmt: skip
    details = host.phonon_details
    top = 1.06 * float(host.phonon_bands_THz.max())
    with mpl.rc_context(_STYLE):
        figure, (axis, side) = _figure(2, [source], _words(host), widths=(3.6, 1.6))
        jumps = np.flatnonzero(np.diff(host.phonon_path) <= 0) + 1  # the path goes on elsewhere: no line across
        bands = np.insert(host.phonon_bands_THz, jumps, np.nan, axis=0)
        axis.plot(np.insert(host.phonon_path, jumps, host.phonon_path[jumps]), bands, color=_COLOURS[0], linewidth=1.2)
        for distance, _ in host.phonon_ticks:
            axis.axvline(distance, color="0.85", linewidth=0.7, zorder=0)
        names = ["|".join(_special(part) for part in name.split("|")) for _, name in host.phonon_ticks]
        axis.set_xticks([distance for distance, _ in host.phonon_ticks], names)
        axis.set(xlim=(host.phonon_path[0], host.phonon_path[-1]), ylim=(0, top), xlabel="Wave vector",
                 ylabel=_AXIS["phonon_bands_THz"], title=_title(host.metal, host.facet))  # fmt: skip
        if "dos_frequency_THz" in details:
            frequency, modes = np.array(details["dos_frequency_THz"]), np.array(details["dos_per_THz_atom"])
            side.plot(modes, frequency, color=_COLOURS[0], linewidth=1.0)
            side.fill_betweenx(frequency, 0, modes, color=_COLOURS[0], alpha=0.15, linewidth=0)
        side.set(ylim=(0, top), xlim=(0, None), xlabel="Modes\n(1/(THz atom))", yticklabels=[])
    return figure


def _words(host: Host) -> str:
    """The numbers of the caption."""
    d = host.phonon_details
    words = (f"Debye temperature, low-temperature limit: {host.debye_temperature_K:.0f} ± {host.debye_temperature_sigma_K:.0f} K "
             "(numerical uncertainty")  # fmt: skip
    if "debye_measured_K" in d:
        words += f"; measured {d['debye_measured_K']:g} K: {d['debye_measured_source']}"
    words += f"). Highest frequency {d['highest_THz']:.2f} THz. Supercell of {d['supercell_atoms']} atoms."
    return words


__all__ = ["KINDS", "phonon_figure"]
