"""Findings of the verdict as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ..record import drift_direction
from ..tables import plus_minus
from .verdict import Finding

_HEADS = ["hop", "current", "observed", "T (K)", "d (nm)", "term", "value", "P(as observed)", "verdict", "largest uncertainty",
          "sign turns at E_F + (eV)"]
_TERMS = {("wind", ""): "Z_wind", ("direct", "dft"): "Z_direct", ("total", "dft"): "Z*",
          ("total", "nominal"): "Z* (model: ion charge)", ("total", "drude"): "Z* (model: Drude)"}


def cells(found: Sequence[Finding]) -> list[list[str]]:
    """The table, its head first, one line per finding."""
    table = [list(_HEADS)]
    for f in found:
        value = f"{f.low:.3g} to {f.high:.3g}" if f.value is None or f.sigma is None else plus_minus(f.value, f.sigma)
        chance = _chance(f.probability_low)
        if f.probability_low != f.probability_high:
            chance = f"{chance} to {_chance(f.probability_high)}"
        diameter = "any" if f.term == "direct" else "bulk" if f.diameter_nm is None else f"{f.diameter_nm:g}"
        current = f"along {drift_direction(f.site) or 'the hop'}"
        table.append([f"{f.metal}({f.facet}) {f.hop}", current, f.observed, f"{f.temperature_K:g}", diameter,
                      _TERMS[f.term, f.direct_model], value, chance, f.verdict, f.largest_part, _turning(f)])
    return table


def _turning(f: Finding) -> str:
    if f.turns_at_eV is not None:
        return f"{f.turns_at_eV:+.2f}"
    return "" if f.reach_eV is None else f"not within {f.reach_eV:g}"


def _chance(probability: float) -> str:
    return "<0.001" if probability < 0.0005 else ">0.999" if probability > 0.9995 else f"{probability:.3f}"


__all__ = ["cells"]
