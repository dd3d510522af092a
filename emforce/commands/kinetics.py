"""Subcommand kinetics: barrier, attempt frequency, formation energy, diffusion coefficient."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .options import AddCommand, add_cluster, add_db, add_specs, add_store, checked_workers, overrides

EPILOG = """Takes the relaxed structures of `emforce relax`. E_m: barrier; nu0: Vineyard's attempt frequency;
E_f: formation energy; D(T) = D0 exp(-E_a/k_B T); +- one standard uncertainty of what was varied."""


def register(add: AddCommand) -> None:
    """Add the subcommand."""
    command = add("kinetics", _kinetics, "Compute barrier, attempt frequency and diffusion coefficient of each hop.", EPILOG)
    add_specs(command)
    add_cluster(command)
    add_store(command)
    add_db(command)


def _kinetics(options: argparse.Namespace) -> int:
    from ..database import resolve
    from ..kinetics import kinetics

    workers = checked_workers(options)
    changes = overrides(options.set)
    resolve(options.db)
    specs: Sequence[Path] = options.spec
    records = kinetics(specs, preset=options.preset, overrides=changes, workers=workers, database=options.db,
                       store=options.store, cluster=options.cluster)
    rows = [record.document() for record in records]
    print(kinetics_table(rows))
    for row in rows:
        if row["status"] == "ok":
            print(f"{row['spec']}: {row['kinetics_condition'] or row['kinetics_details'].get('diffusion', '')}")
        else:
            print(f"{row['spec']}: {row['status']}, not served: {row['reason']}")
    return 0 if rows and all(row["status"] == "ok" for row in rows) else 1


def kinetics_table(rows: Sequence[dict[str, Any]]) -> str:
    """Table of kinetics rows, one line a hop; "-" where a value was not computed."""
    head = ("hop", "status", "E_m eV", "in LCAO", "nu0 THz", "S_m/k_B", "E_f eV", "S_f/k_B", "D0 m²/s", "E_a eV", "force calls")
    lines = [head]
    for row in rows:
        more = row["kinetics_details"] or {}
        calls = more.get("force_calls")
        each = more.get("force_call_seconds")
        lines.append((
            row["spec"], row["status"], _with_sigma(row, "barrier_eV"), _plain(more.get("barrier_lcao_eV")),
            _with_sigma(row, "nu0_THz"), _plain(more.get("migration_entropy_kB")), _with_sigma(row, "formation_energy_eV"),
            _entropy(more.get("formation_entropy") or {}),
            _scientific(row["d0_m2_s"], row["d0_sigma_m2_s"]), _with_sigma(row, "ea_eV"),
            "-" if calls is None else f"{calls} of {each:.0f} s",
        ))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _plain(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _entropy(found: dict[str, Any]) -> str:
    value, sigma = found.get("value_kB"), found.get("sigma_kB")
    return "-" if value is None else f"{value:.2f}" + ("" if sigma is None else f" ± {sigma:.2f}")


def _with_sigma(row: dict[str, Any], name: str) -> str:
    value = row[name]
    base, _, unit = name.rpartition("_")
    sigma = row[f"{base}_sigma_{unit}"]
    return "-" if value is None else f"{value:.3f} ± {sigma:.3f}"


def _scientific(value: float | None, sigma: float | None) -> str:
    return "-" if value is None or sigma is None else f"{value:.2e} ± {sigma:.0e}"


__all__ = ["kinetics_table", "register"]
