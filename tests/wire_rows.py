"""A made-up database with wind, direct part and hosts, for the tests of wires and their figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import synthetic

from emforce.database import Database

K = {"Cu": -114.0, "W": 47.0}
Z_DIRECT, Z_SIGMA = 0.8, 0.3
#: of the drift on W(110)
K_DRIFT = {"[001]": -20.0, "[1-10]": 80.0}
OMEGA = {"Cu": 9.1, "W": 7.6}
RHO_LAMBDA = {"Cu": 0.675, "W": 0.84}


def write(path: Path, *, direct: bool = True, host_facet: str = "bulk", **changes: Any) -> str:
    """Hop averages of Cu(100) and W(110) with their hosts; `changes` go into the records."""
    rate = np.array([0.03, 0.05, 0.08, 0.12, 0.2, 0.3])
    with Database(path, create=True) as database:
        for metal, facet in (("Cu", "100"), ("W", "110")):
            names = {"metal": metal, "facet": facet, "species": metal, "site": "hop average", "fraction": math.nan}
            added: dict[str, Any] = {}
            if direct:
                total = 2.0 / rate + Z_DIRECT - 0.5 * rate
                added = {"z_direct": Z_DIRECT, "z_direct_sigma_parts": {"drift": Z_SIGMA},
                         "z_direct_low": Z_DIRECT - Z_SIGMA, "z_direct_high": Z_DIRECT + Z_SIGMA,
                         "z_total_of_tau": {"hbar_over_tau_eV": rate, "values": total}}
            database.add_host(synthetic.host(
                metal=metal, facet=host_facet, rho_lambda_fohm_m2=RHO_LAMBDA[metal], omega_p_eV=OMEGA[metal]))
            database.add(synthetic.record(**{**names, "k_wind_uohm_cm": K[metal], **added, **changes}))
            database.add(synthetic.record(**{**names, "site": "initial", "fraction": 0.0, "k_wind_uohm_cm": 2 * K[metal]}))
    return str(path)


def add_drifts(database: Database) -> None:
    """Rows of the drift on W(110), K along [001] and [1-10]."""
    for direction, k in K_DRIFT.items():
        database.add(synthetic.record(metal="W", facet="110", species="W", site=f"drift {direction}", fraction=math.nan,
                                      k_wind_uohm_cm=k))
