from __future__ import annotations

import json
import math

import pytest
import synthetic
from test_query import resistivity

from emforce.audit import audit, report
from emforce.database import Database

TOO_LARGE = {"name": "a", "value": 2, "comparison": "<=", "limit": 1}


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "emforce.db", create=True) as opened:
        opened.add_host(synthetic.host())
        opened.add(synthetic.record())
        opened.add(synthetic.record(site="hop average", fraction=math.nan))
        opened.add(synthetic.failed(site="initial"))
        yield opened


def failures(database):
    return [finding for finding in audit(database, resistivity) if finding.counts and not finding.passed]


def change(database, column, value, row=1):
    with database._transaction(write=True) as connection:
        connection.exec_driver_sql(f"UPDATE records SET {column} = ? WHERE id = ?", (value, row))


def test_all_in_order(database):
    findings = audit(database, resistivity)
    assert failures(database) == []
    assert {finding.row.split()[0] for finding in findings} == {"host", "record"}
    assert any(finding.name == "z_wind = K/rho" for finding in findings)
    text = report(findings)
    assert f"{len(findings)} checks, 0 failed" in text and "Cu 100 hollow-bridge-hollow saddle" in text


def test_a_failed_row_may_hold_failed_checks(database):
    check = synthetic.Check("SCF", 0.1, 0.01)
    database.add(synthetic.failed(checks=(check,)))
    assert failures(database) == []
    assert "recorded as not passed" in report(audit(database, resistivity))


@pytest.mark.parametrize(
    "column, value, words",
    [
        ("k_wind_sigma_uohm_cm", 1.0, "quadrature"), ("k_wind_uohm_cm", -100.0, "K = d̂·K·d̂"),
        ("k_wind_uohm_cm", None, "finite"), ("provenance", "{}", "git_commit"),
        ("metal", "Xx1", "chemical symbol"),
        ("checks", json.dumps([{**TOO_LARGE, "passed": True}]), "verdict"),
        ("checks", json.dumps([{**TOO_LARGE, "passed": False}]), "a = 2"),
        ("checks", json.dumps([{"name": "a"}]), "unreadable"),
    ],
)  # fmt: skip
def test_what_was_altered_is_found(database, column, value, words):
    change(database, column, value)
    assert any(words in f"{finding.name} {finding.text}" for finding in failures(database))


def test_a_failed_row_without_reason(database):
    change(database, "reason", "", row=3)
    assert failures(database)


def test_a_resistivity_that_is_none(database):
    for rho in (0.0, -1.0, math.nan):
        assert any(
            not f.passed for f in audit(database, lambda *_, rho=rho: rho) if f.name == "z_wind = K/rho"
        )
