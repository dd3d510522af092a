"""Units: closed forms and identities, from CODATA constants that the module does not use."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants as c

from emforce import units


def test_one_angstrom_of_resistivity_is_41_micro_ohm_cm():
    assert 1.0 / units.uohm_cm == pytest.approx(41.0824, abs=1e-4)


def test_resistivity_unit_from_the_quantum_of_resistance():
    # hbar/e^2 = R_K/(2 pi); times 1 Angstrom = 1e-8 cm; in micro-ohm
    klitzing = c.physical_constants["von Klitzing constant"][0]
    assert 1.0 / units.uohm_cm == pytest.approx(klitzing / (2 * np.pi) * 1e-8 * 1e6, rel=1e-9)


def test_room_temperature():
    assert 300 * units.K == pytest.approx(0.0258520, abs=1e-7)


def test_electron_mass_gives_the_rydberg():
    # bohr = 4 pi epsilon0/(m_e e^2), Rydberg = 1/(2 m_e bohr^2) with hbar = e = 1
    bohr = 4 * np.pi * units.epsilon0 / units.m_e
    assert bohr == pytest.approx(units.bohr, rel=1e-9)
    rydberg = c.physical_constants["Rydberg constant times hc in eV"][0]
    assert 1 / (2 * units.m_e * units.bohr**2) == pytest.approx(rydberg, rel=1e-9)


def test_time_units():
    assert units.fs * units.THz == pytest.approx(1e-3, rel=1e-14)
    assert units.s * 1e-15 == pytest.approx(units.fs, rel=1e-14)
    # h x 1 THz = 4.135667 meV
    assert 2 * np.pi * units.THz == pytest.approx(4.135667696e-3, rel=1e-9)


def test_drude_closes_the_circle():
    """hbar/tau = epsilon0 rho (hbar omega_p)^2/hbar, once in internal units and once in SI."""
    rho_uohm_cm, omega_p_eV = 1.7, 9.0
    internal = units.epsilon0 * rho_uohm_cm * units.uohm_cm * omega_p_eV**2
    si = c.epsilon_0 * (rho_uohm_cm * 1e-8) * (omega_p_eV * c.e / c.hbar) ** 2 * c.hbar / c.e
    assert internal == pytest.approx(si, rel=1e-9)
    assert 0.01 < internal < 0.3
