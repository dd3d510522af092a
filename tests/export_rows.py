"""A made-up database with everything an export can take: adatoms on Cu(100), Cu(111) and W(110), vacancies in Cu and W."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import synthetic

from emforce import cli
from emforce.database import Database

#: numbers without a short decimal form, so that a lost digit shows
K = {"Cu": -114.0 - 1 / 3, "W": 47.0 + 1 / 7}
Z_DIRECT, Z_SIGMA = 0.8 + 1 / 9, 0.3
B = 2.5561 + 1 / 3000
KINETICS = {"barrier_eV": 0.7 + 1 / 70, "barrier_sigma_eV": 0.02, "nu0_THz": 3 + 1 / 3, "nu0_sigma_THz": 0.4,
            "formation_energy_eV": 1.07 + 1 / 90, "formation_energy_sigma_eV": 0.03, "d0_m2_s": 3.1e-5 / 3, "d0_sigma_m2_s": 1e-6,
            "ea_eV": 1.9 + 1 / 30, "ea_sigma_eV": 0.05, "kinetics_condition": "a test"}
HEAT_T = np.array([300.0, 600.0, 900.0])
HEAT_Q = 0.17 + 1 / 30 + 1e-4 / 3 * HEAT_T


def heat() -> dict[str, Any]:
    blank = np.full(3, math.nan)
    return {"q_of_temperature": {"temperature_K": HEAT_T, "q_el_eV": blank, "q_el_sigma_eV": blank, "q_star_eV": HEAT_Q,
                                 "q_star_sigma_eV": np.full(3, 0.01), "seebeck_uV_K": blank, "seebeck_sigma_uV_K": blank},
            "q_condition": "E=0"}


def write(path: Path) -> str:
    with Database(path, create=True) as database:
        for metal, facet, defect, hop, length in (
            ("Cu", "100", "adatom", "hollow-bridge-hollow", B), ("Cu", "111", "adatom", "fcc-bridge-hcp", B / math.sqrt(3)),
            ("W", "110", "adatom", "hollow-bridge-hollow", 2.757), ("Cu", "bulk", "vacancy", "vacancy-110", B),
            ("W", "bulk", "vacancy", "vacancy-111", 2.757),
        ):
            names = {"metal": metal, "facet": facet, "defect": defect, "hop": hop, "species": metal,
                     "hop_vector_angstrom": np.array([length, 0.0, 0.0])}
            direct = {"z_direct": Z_DIRECT, "z_direct_sigma_parts": {"drift": Z_SIGMA}, "z_direct_low": Z_DIRECT - Z_SIGMA,
                      "z_direct_high": Z_DIRECT + Z_SIGMA}
            full = {**direct, **KINETICS, **heat()} if facet != "111" else {}
            database.add(synthetic.record(**names, site="hop average", fraction=math.nan, k_wind_uohm_cm=K[metal], **full))
            database.add(synthetic.record(**names, site="initial", fraction=0.0, k_wind_uohm_cm=0.8 * K[metal]))
    return str(path)


def export(capsys: Any, db: str, command: str) -> str:
    """What `emforce export COMMAND` prints; it must succeed and say nothing else."""
    code = cli.main(["export", *shlex.split(command), "--db", db])
    printed = capsys.readouterr()
    assert code == 0 and printed.err == "", printed.err
    return str(printed.out)


def refused(capsys: Any, db: str, command: str) -> str:
    """The one line with which a command is refused."""
    code = cli.main(["export", *shlex.split(command), "--db", db])
    printed = capsys.readouterr()
    assert code == 2 and printed.out == "" and len(printed.err.splitlines()) == 1, printed
    return str(printed.err)
