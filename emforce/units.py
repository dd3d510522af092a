"""Units. Inside emforce: eV, Angstrom, e = hbar = 1, temperatures as kT in eV.

A number is multiplied by its unit when it enters and divided by it when it leaves, in the edge files only.
All constants come from scipy.constants (CODATA).

>>> round(uohm_cm, 6)          # one uOhm cm is this many Angstrom (resistivity in hbar/e^2 x Angstrom)
0.024341
"""

from __future__ import annotations

from scipy import constants as _c

eV = 1.0
Angstrom = 1.0

#: one kelvin as an energy kT, in eV
K = _c.k / _c.e
#: resistivity: hbar/e^2 x 1 Angstrom in micro-ohm cm (41.0824), and the internal value of 1 micro-ohm cm
_angstrom_in_uohm_cm = _c.hbar / _c.e**2 * 1e-10 * 1e8
uohm_cm = 1.0 / _angstrom_in_uohm_cm
#: one metre, one second, one femtosecond and one THz (1/time) in internal units (time in hbar/eV)
m = 1e10
s = _c.e / _c.hbar
fs = 1e-15 * s
THz = 1e12 / s
#: vacuum permittivity in e^2/(eV Angstrom), e = 1
epsilon0 = _c.epsilon_0 / _c.e * 1e-10
#: electron mass in hbar^2/(eV Angstrom^2), hbar = 1
m_e = _c.m_e * _c.e * 1e-20 / _c.hbar**2
#: one bohr in Angstrom
bohr = _c.physical_constants["Bohr radius"][0] * 1e10
