"""Z(tau) of a Cu(100) adatom in two bases that both pass the host check: the same within the stated sigma. Half an hour."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from emforce.workflow import run

pytestmark = [pytest.mark.gpaw, pytest.mark.production]

SPEC = Path(__file__).parent.parent / "structures" / "cu100-adatom.toml"


def test_two_bases_give_one_response(tmp_path):
    found = {}
    for recipe in ("default", "small"):
        records = run([SPEC], preset="quick", overrides={"dft.recipe": recipe}, workers=2,
                      database=str(tmp_path / f"{recipe}.db"), store=tmp_path / "store")
        assert {r.status for r in records} == {"ok"}
        found[recipe] = records
    for one, two in zip(found["default"], found["small"], strict=True):
        k_sigma = math.hypot(one.k_wind_sigma_uohm_cm, two.k_wind_sigma_uohm_cm)
        assert abs(one.k_wind_uohm_cm - two.k_wind_uohm_cm) < k_sigma
        for table in (one.z_total_of_tau, two.z_total_of_tau):
            assert len(table["values"]) >= 3
        totals = np.array([r.z_total_of_tau["values"] for r in (one, two)])
        # sigma of Z(tau): that of K as a share of the part that grows with tau, and that of Z_direct
        share = k_sigma / abs(one.k_wind_uohm_cm)
        allowed = np.hypot(share * np.abs(totals[0]), math.hypot(one.z_direct_sigma, two.z_direct_sigma))
        assert (np.abs(totals[0] - totals[1]) < allowed).all()
