"""results/ for readers: a README with every value, where it comes from and the command that repeats it, and a CSV for programs.

    results/README.md     values of each hop at one temperature, provenance and cost of each row, checks
    results/hops.csv      one line per hop: the best that is stored about it (`emforce query --best`), all keys
    results/points.csv    one line per point of each hop and set of settings (`emforce.published_points`)
    results/tensors.csv   one line per component of the tensors K of points (`emforce.published_tensors`)
    results/verdict.csv   `emforce verdict`: computed against observed direction, term by term
    results/comparison.csv  `emforce compare`: computed against published values, one line each

All of it is made from the database, nothing is typed in.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .audit import audit
from .best import GROUPS, Hops, best_drifts, best_rows, holds
from .comparison import MEMORY, Comparison, compare
from .comparison_text import as_csv as comparison_csv
from .comparison_text import as_markdown
from .database import Database
from .errors import InputError
from .models.verdict import Finding, findings
from .models.verdict_text import cells
from .published_points import place, points, points_csv, points_table, settings_text, sigma_table, value_text
from .published_tensors import tensors_csv, tensors_table
from .record import HOP_AVERAGE
from .settings import preset_fields
from .stored import Document
from .tables import as_csv, documents_csv, markdown
from .wire_analysis import WireQuestion

#: subcommand that writes rows with a group of values
_COMMAND = {"wind": "run", "direct": "run", "kinetics": "kinetics", "heat": "heat"}
_GROUP_WORDS = {"wind": "wind", "direct": "direct", "kinetics": "kinetics", "heat": "heat of transport"}
#: columns of the table of values: heading, value, its uncertainty, where an interval stands instead
_VALUES = (
    ("K_wind (µΩ cm)", "k_wind_uohm_cm", "k_wind_sigma_uohm_cm", None),
    ("Z_direct", "z_direct", "z_direct_sigma", ("z_direct_low", "z_direct_high")),
    ("Z*", "z_star", "z_star_sigma", ("z_star_low", "z_star_high")),
    ("E_m (eV)", "barrier_eV", "barrier_sigma_eV", None),
    ("ν0 (THz)", "nu0_THz", "nu0_sigma_THz", None),
    ("D0 (m²/s)", "d0_m2_s", "d0_sigma_m2_s", None),
    ("E_a (eV)", "ea_eV", "ea_sigma_eV", None),
    ("Q_el, E = 0 (eV)", "q_el_eV", "q_el_sigma_eV", None),
    ("Q*, J = 0 (eV)", "q_star_eV", "q_star_sigma_eV", None),
)


def write(database: Database, folder: Path, temperature_K: float = 300.0) -> list[Path]:
    """Write README.md and the files that the head of this one names into a folder; returns the files.

    Raises
    ------
    InputError : the database holds no served hop average, or the temperature is beyond the resistivity of every metal
    """
    rows = database.rows([])
    hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
    best = best_rows(rows)
    if not best:
        raise InputError("--db", "no served hop average", "a database that `emforce run` wrote to")
    hops = _evaluated(best, hosts, temperature_K)
    current = [row for row in rows if row["standing"] == "current" and row["site"] == HOP_AVERAGE]
    verdicts, _ = findings(best + best_drifts(rows), hosts, WireQuestion((temperature_K,), (10.0, 3.0)))
    compared, notes = compare(database, (), temperature_K)
    along = points(rows, hosts, temperature_K)
    text = "\n".join([
        *_head(temperature_K), *_values(hops), "", *_verdict(verdicts), *_points(along), *_compared(compared, notes),
        *_origins(current), "",
        *_reasons(database.rows([], everything=True)),
        *_checks(database)])
    files = {"README.md": text + "\n", "hops.csv": as_csv(hops) + "\n", "points.csv": points_csv(along) + "\n"}
    tensors = tensors_csv(along)
    if tensors:
        files["tensors.csv"] = tensors + "\n"
    if compared:
        files["comparison.csv"] = comparison_csv(compared) + "\n"
    if verdicts:
        files["verdict.csv"] = documents_csv([f.document() for f in verdicts]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
        written.append(folder / name)
    return written


def command_of(row: Mapping[str, Any], group: str) -> str:
    """The command line that computes a row again: specification, preset and overridden fields."""
    preset, changed = preset_fields(str(row["preset"]))
    words = ["emforce", _COMMAND[group], f"structures/{row['spec']}.toml", "--preset", preset]
    for name, value in changed.items():
        if value.startswith("("):  # a tuple: TOML has lists
            value = "[" + value[1:-1].rstrip(",") + "]"
        value = {"True": "true", "False": "false"}.get(value, value)
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def _evaluated(best: Sequence[Document], hosts: Mapping[int, Document], temperature_K: float) -> list[Document]:
    found, reasons = [], []
    for row in best:
        try:
            found += Hops((row,), hosts).at(temperature_K)
        except InputError as error:
            reasons.append(str(error))
    if not found:
        raise InputError("--temperature", temperature_K, f"a temperature at which a resistivity is known: {'; '.join(reasons)}")
    return found


def _head(temperature_K: float) -> list[str]:
    return [
        "# Results",
        "",
        "Written by `workflows/publish.py` from `emforce.db`; nothing here is typed in. `hops.csv`: the same for programs, all "
        "keys (docs/keys.md). `verdict.csv`: computed against observed direction. `comparison.csv`: computed against published "
        "values. Figures: `figures/`. What it means: "
        "docs/results.md.",
        "",
        "Z > 0, K > 0: along the electric field, against the electrons (upwind). Q > 0: towards the cold end. ± one standard "
        f"uncertainty. Averages along the hop, bulk resistivity; Z* and Q at {temperature_K:g} K.",
        "",
    ]


def _values(hops: Sequence[Document]) -> list[str]:
    shown = [column for column in _VALUES if any(value_text(row, *column[1:]) for row in hops)]
    table = [["hop", "path", *(column[0] for column in shown), "settings of the wind force"]]
    return markdown([*table, *([place(row), row["hop"], *(value_text(row, *column[1:]) for column in shown),
                               settings_text(str(row["preset"]))] for row in hops)])


def _verdict(found: Sequence[Finding]) -> list[str]:
    """Computed against observed direction; the models of the direct part are in verdict.csv alone."""
    shown = [f for f in found if f.direct_model in ("", "dft")]
    if not shown:
        return []
    return ["## Computed against observed direction", "",
            "`emforce verdict`; with two models of the direct part beside: `verdict.csv`. Wire: round, specularity 0, grain "
            "boundaries a diameter apart with reflection 0.3. P: probability that the computed sign is the observed one.", "",
            *markdown(cells(shown)), ""]


def _points(along: Sequence[Document]) -> list[str]:
    """K and Z_direct point by point, and what their uncertainties are made of."""
    lines = ["## Points of each hop", "",
             "Every set of settings for itself; the first table takes the best (docs/database.md). s: fraction of the hop. "
             "`points.csv`: the same for programs.", "", *points_table(along), ""]
    whole = tensors_table(along)
    if whole:
        lines += ["## Whole tensors K, µΩ cm", "",
                  "Force ← field, in the axes of the hop: along it, across it, and the normal, on a surface its own, in bulk the "
                  "crystal's z axis without its part along the hop. σ without the parts that other rows measure; 0: forbidden by "
                  "symmetry. `tensors.csv`: the same for programs.", "", *whole, ""]
    for title, names in (
        ("σ of K_wind, µΩ cm", ("k_wind_uohm_cm", "k_wind_sigma_uohm_cm", "k_wind_sigma_parts_uohm_cm")),
        ("σ of Z_direct", ("z_direct", "z_direct_sigma", "z_direct_sigma_parts")),
    ):
        table = sigma_table(along, *names)
        if table:
            lines += [f"## {title}", "", "Named parts (docs/method.md) of hop averages and drifts, added in quadrature; the "
                      "largest in bold; \"open\": not estimated, empty: no row measured it.", "", *table, ""]
    return lines


def _compared(found: Sequence[Comparison], notes: Sequence[str]) -> list[str]:
    """Every computed value beside every published one of the same thing."""
    if not found:
        return []
    lines = ["## Computed against published", "",
             "`emforce compare`; the same for programs: `comparison.csv`. Of the same metal, facet, defect, hop and mover. In σ: "
             "the difference over the combined standard uncertainty, for D0 and D in their logarithm; \"computed alone\": the "
             "source states none, so that this is an upper bound. \"Not comparable\": another quantity or another place. A value "
             f"{MEMORY} has a column of its own, and no verdict rests on it.", "",
             as_markdown(found), ""]
    if notes:
        lines += ["Published values of hops that are not in the database:", "", *(f"- {note}" for note in notes), ""]
    return lines


def _origins(rows: Sequence[Document]) -> list[str]:
    table = [["hop", "values", "geometry", "commit", "GPAW", "date", "cost", "command"]]
    for row in sorted(rows, key=lambda r: (r["metal"], r["facet"], r["hop"], r["id"])):
        groups = [group for group in GROUPS if holds(row, group)]
        if not groups:
            continue
        origin = row["provenance"]
        table.append([
            place(row), ", ".join(_GROUP_WORDS[g] for g in groups), origin.get("geometry", ""),
            str(origin.get("git_commit", ""))[:10], origin.get("gpaw", ""), str(origin.get("created", ""))[:10],
            origin.get("cost") or _force_calls(row),
            f"`{command_of(row, groups[0])}`"])
    return ["## Where each row comes from", "",
            "Time on one core of the machine that ran it; wall time of a machine with other work is longer than needed. Relaxed "
            "geometries are made by `emforce relax SPEC --preset PRESET` first.", "", *markdown(table)]


def _force_calls(row: Document) -> str:
    """What a row of the kinetics says of its cost."""
    details = row.get("kinetics_details") or {}
    calls, seconds = details.get("force_calls"), details.get("force_call_seconds")
    return "not recorded" if calls is None or seconds is None else f"{calls} force calls of {seconds:.0f} s"


def _reasons(rows: Sequence[Document]) -> list[str]:
    """What was computed and is not served, with the reason."""
    failed = [row for row in rows if row["standing"] == "not served" and row["site"] == HOP_AVERAGE]
    if not failed:
        return []
    table = [[place(row), row["method"], row["status"], row["reason"]] for row in failed]
    return ["## Computed and not served", "", *markdown([["hop", "method", "status", "reason"], *table]), ""]


def _checks(database: Database) -> list[str]:
    found = [finding for finding in audit(database) if finding.counts]
    failed = sum(not finding.passed for finding in found)
    return ["## Checks", "", f"`emforce check`: {len(found)} checks of stored rows, {failed} failed."]


__all__ = ["command_of", "write"]
