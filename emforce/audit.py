"""`emforce check`: every stored row is looked at again, from what is in the database alone.

For each row: the stored verdict of each check is the one that its value and limit give; a row with status ok
passes all its checks, is complete and holds together (sigma = parts in quadrature, K = d̂·K·d̂, Z = K/rho,
finite numbers, full provenance); a row with another status says why. Rows that failed are reported, but are
no failure of the database: they are not served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .database import Database
from .errors import EmforceError
from .evaluate import Resistivity, Situation, bulk_resistivity, evaluate
from .record import Host, Record
from .stored import Check, Document
from .tables import columns

_TEMPERATURE_K = 300.0


@dataclass(frozen=True)
class Finding:
    """One thing checked on one row. `counts`: a failure here makes `emforce check` fail."""

    row: str
    name: str
    text: str
    passed: bool
    counts: bool = True

    @property
    def verdict(self) -> str:
        """In words."""
        return "ok" if self.passed else "FAILED" if self.counts else "recorded as not passed"


def audit(database: Database, resistivity: Resistivity = bulk_resistivity) -> list[Finding]:
    """All findings on all rows, superseded and failed ones included."""
    found: list[Finding] = []
    for document in database.host_rows(everything=True):
        name = f"host {document['id']} {document['metal']} {document['facet']} {document['basis']}"
        found += _stored_checks(name, document)
        found.append(_rebuilt(name, Host, document))
    for document in database.rows(everything=True):
        where = f"{document['metal']} {document['facet']} {document['hop']} {document['site']}"
        name = f"record {document['id']} {where}"
        found += _stored_checks(name, document)
        found.append(_rebuilt(name, Record, document))
        if document["status"] == "ok":
            found += _served(name, document, resistivity)
        elif document["status"] != "literature" and not document["reason"]:
            found.append(Finding(name, "reason", f"status {document['status']} without a reason", False))
    return found


def report(findings: Sequence[Finding]) -> str:
    """The findings as a table: a line per row that is in order, a line per check that is not."""
    table = [["row", "check", "verdict"]]
    for row in dict.fromkeys(finding.row for finding in findings):
        mine = [finding for finding in findings if finding.row == row]
        bad = [finding for finding in mine if not finding.passed]
        table += [[row, f"{finding.name}: {finding.text}", finding.verdict] for finding in bad]
        if not bad:
            table.append([row, f"{len(mine)} checks", "ok"])
    failed = sum(not finding.passed and finding.counts for finding in findings)
    return f"{columns(table)}\n{len(findings)} checks, {failed} failed"


def _stored_checks(name: str, document: Document) -> list[Finding]:
    findings = []
    for stored in document["checks"]:
        try:
            check = Check.from_document(stored)
        except (EmforceError, KeyError, TypeError, ValueError) as error:
            findings.append(Finding(name, "check", f"unreadable: {error}", False))
            continue
        if check.passed != stored.get("passed"):
            text = f"{check}; stored verdict {stored.get('passed')} is not that"
            findings.append(Finding(name, check.name, text, False))
        else:
            findings.append(Finding(name, check.name, str(check), check.passed, document["status"] == "ok"))
    return findings


def _rebuilt(name: str, kind: type[Record] | type[Host], document: Document) -> Finding:
    try:
        kind.from_document(document)
    except (EmforceError, KeyError, TypeError, ValueError) as error:
        return Finding(name, "row is readable", str(error), False)
    return Finding(name, "row is readable", "", True)


def _served(name: str, document: Document, resistivity: Resistivity) -> list[Finding]:
    if document["k_wind_uohm_cm"] is None and document["k_wind_sigma_uohm_cm"] is None:
        return []  # a row of the direct part or of the kinetics alone
    try:
        row = evaluate(document, Situation(_TEMPERATURE_K, resistivity=resistivity))
        K = document["k_wind_uohm_cm"]
        difference = abs(row["z_wind"] * row["rho_uohm_cm"] - K)
    except (EmforceError, TypeError) as error:
        return [Finding(name, "z_wind = K/rho", str(error), False)]
    check = Check("z_wind = K/rho", difference, 1e-9 * max(abs(K), 1.0), "<=", "µΩ cm")
    return [Finding(name, check.name, str(check), check.passed)]
