"""Made-up rows for the tests of database, query, figures and command line. Never written into results/."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from emforce.database import Database
from emforce.record import PROVENANCE, Host, Record
from emforce.stored import Check

TENSOR = np.array([[-135.0 - 1 / 3, 0.1, math.nan], [0.1, -80.0, math.nan], [math.nan, math.nan, math.nan]])


def provenance(**changes: Any) -> dict[str, Any]:
    filled = dict.fromkeys(PROVENANCE, "made up")
    return {**filled, "created": "2025-01-02T03:04:05+00:00", "rho_source": "a test", **changes}


def record(**changes: Any) -> Record:
    """A record whose numbers have no short decimal form."""
    values: dict[str, Any] = {
        "spec": "cu100-adatom", "metal": "Cu", "facet": "100", "defect": "adatom",
        "hop": "hollow-bridge-hollow",
        "site": "saddle", "species": "Cu", "preset": "quick", "method": "embedding", "basis": "vp",
        "fraction": 0.5, "k_wind_uohm_cm": -135.0 - 1 / 3,
        "k_wind_sigma_parts_uohm_cm": {"fermi_energy": 10 / 3, "smearing": 1e-300, "region": math.pi},
        "k_tensor_uohm_cm": TENSOR, "hop_vector_angstrom": np.array([2.5561, 0.0, 0.0]),
        "energies_eV": np.linspace(-0.1, 0.1, 5), "k_of_energy_uohm_cm": np.sqrt(np.arange(5.0)) - 137,
        "residual_force_eV_per_angstrom": 0.0123,
        "checks": (Check("far atoms", 0.003, 0.01, "<=", "eV"),
            Check("smallest eigenvalue of S", 0.02, 1e-4, ">=")),
        "provenance": provenance(),
    }  # fmt: skip
    if "k_wind_uohm_cm" in changes or changes.get("site") == "hop average":
        values["k_tensor_uohm_cm"] = np.full((3, 3), math.nan)
    return Record(**{**values, **changes})


def failed(reason: str = "SCF did not converge", **changes: Any) -> Record:
    return record(
        status="failed", reason=reason, k_wind_uohm_cm=math.nan, k_wind_sigma_parts_uohm_cm={}, **changes
    )


def host(**changes: Any) -> Host:
    path = np.linspace(0.0, 2.0, 41)
    bands = np.stack([path**2 - 3, np.cos(path)], axis=1)
    values: dict[str, Any] = {
        "metal": "Cu", "facet": "100", "basis": "vp", "preset": "quick", "functional": "PBE",
        "fermi_energy_eV": 7.1, "dos_per_eV_atom": 0.29, "omega_p_eV": 9.1,
        "omega_p_compared_eV": 9.1, "dos_compared_per_eV_atom": 0.29, "omega_p_plane_wave_eV": 8.85,
        "path": path, "path_ticks": ((0.0, "G"), (2.0, "X")), "bands_lcao_eV": bands,
        "bands_plane_wave_eV": bands + 0.1, "checks": (Check("plasma energy", 0.028, 0.05),),
        "provenance": provenance(),
    }  # fmt: skip
    return Host(**{**values, **changes})


def write_many(location: str, writer: int, count: int) -> None:
    """One of several writers at once: each has its own hop, and a number that tells writer and turn."""
    with Database(location, create=True) as database:
        for turn in range(count):
            database.add(record(hop=f"hop-{writer}-{turn}", k_wind_uohm_cm=writer + turn / 1000))


def write_until_killed(location: str) -> None:
    """Write records for ever and tell the number of each once it is stored."""
    with Database(location, create=True) as database:
        turn = 0
        while True:
            database.add(record(hop=f"hop-{turn}", k_wind_uohm_cm=-float(turn)))
            print(turn, flush=True)
            turn += 1


def hang_in_transaction(location: str) -> None:
    """Insert a row, tell so, and never commit."""
    database = Database(location, create=True)
    with database._transaction(write=True) as connection:
        connection.exec_driver_sql("INSERT INTO meta VALUES ('half', 'written')")
        print("waiting", flush=True)
        time.sleep(600)


def environment() -> dict[str, str]:
    """Environment in which a new process finds emforce and this file."""
    here = Path(__file__).resolve().parent
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)]),
        "OMP_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    {"kill": write_until_killed, "hang": hang_in_transaction}[sys.argv[1]](sys.argv[2])
