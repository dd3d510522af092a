"""Subcommand wires: the sign of Z* in thin wires, and the term that carries it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .options import (
    DIRECT_MODELS,
    AddCommand,
    add_db,
    add_filter,
    add_temperature,
    open_database,
    stored_conditions,
    temperatures,
)

if TYPE_CHECKING:
    from ..database import Database
    from ..physics.valence import SignChange
    from ..stored import Document
    from ..wire_analysis import WireQuestion

_EPILOG = """\
Z*(T, d) = Z_direct + K/rho(d, T), rho of a round wire by surface scattering (Dingle, Chambers) and grain boundaries
(Mayadas, Shatzkes) together, with rho lambda from the bands of the stored host. One line per diameter; for each direct
part Z* ± one standard uncertainty and the probability that Z* > 0 (upwind). The models nominal (ion charge) and drude
(Drude number of the host atom) are no results of emforce. docs/wires.md says more.
"""
_HEADS = {"dft": "Z* (dft)", "nominal": "Z* (model: nominal)", "drude": "Z* (model: drude)", "none": "Z_wind"}


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    wires = add("wires", _wires, "Z* in thin wires: its sign, how sure that is, and which term gives it.", _EPILOG)
    add_filter(wires)
    add_temperature(wires, "temperatures, K (default 300 600 900)")
    add_numbers(wires, "--diameter-nm", "diameters, nm (default 3 5 7 10 20 50); the bulk is always added")
    add_numbers(wires, "--specularity", "share of specular reflection at the surface, 0 to 1 (default 0)")
    add_numbers(wires, "--reflection", "reflection coefficients of grain boundaries, 0 to below 1 (default 0.3)")
    wires.add_argument("--grain-size-nm", type=float, metavar="L",
                       help="distance of grain boundaries along the wire (default: the diameter)")
    wires.add_argument("--direct-model", nargs="+", action="extend", choices=DIRECT_MODELS, metavar="MODEL",
                       help="direct parts: dft (computed), nominal, drude (models), none (default all)")
    wires.add_argument("--drift", action="store_true", help="beside each hop on bcc(110) the drift along [001] and [1-10]")
    wires.add_argument("--format", choices=("table", "json", "csv"), default="table")
    add_db(wires)


def add_numbers(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """An option that takes several numbers, and may be given several times."""
    parser.add_argument(name, nargs="+", action="extend", metavar="X", help=text)


def _wires(options: argparse.Namespace) -> int:
    from .. import wire_analysis
    from ..tables import documents_csv

    asked = question(options)
    with open_database(options) as database:
        stored = stored_hops(database, options.filter, drifts=options.drift)
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True)}
        if not stored:
            from ..query import available

            print(f"emforce: no record meets this; {available(database)}", file=sys.stderr)
            return 1
    rows, notes = wire_analysis.wire_rows(stored, hosts, asked)
    for note in notes:
        print(f"emforce: {note}", file=sys.stderr)
    if not rows:
        return 1
    if options.format == "json":
        print(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    elif options.format == "csv":
        print(documents_csv(rows))
    else:
        print(_as_table(rows, asked))
        changes = list(wire_analysis.sign_changes(stored, hosts, asked))
        print("\n" + "\n".join(_changes(changes)))
    return 0


def question(options: argparse.Namespace, **defaults: tuple[float, ...]) -> WireQuestion:
    """Everything that can be wrong without a database, before the database is opened; `defaults` of what was not given."""
    from ..wire_analysis import WireQuestion

    given: dict[str, Any] = {
        "temperatures_K": temperatures(options),
        "diameters_nm": _numbers("--diameter-nm", options.diameter_nm, options),
        "specularities": _numbers("--specularity", options.specularity, options),
        "reflections": _numbers("--reflection", options.reflection, options),
        "grain_size_nm": options.grain_size_nm,
        "direct_models": tuple(dict.fromkeys(options.direct_model or ())),
    }
    stored_conditions(options)
    return WireQuestion(**{**defaults, **{name: value for name, value in given.items() if value not in ((), None)}})


def _numbers(name: str, words: Sequence[str] | None, options: argparse.Namespace) -> tuple[float, ...]:
    """Numbers, each once; conditions that argparse took for numbers become part of the filter."""
    found: dict[float, None] = {}
    for word in words or ():
        if any(sign in word for sign in "=<>"):
            options.filter = [*options.filter, word]
            continue
        try:
            found[float(word)] = None
        except ValueError:
            raise InputError(name, word, "a number") from None
    return tuple(found)


def stored_hops(database: Database, filters: Sequence[str], *, drifts: bool = False) -> list[Document]:
    """The best of each hop, and with `drifts` of each direction of drift, or the rows of a site where the filter names one."""
    from ..best import best_drifts, best_rows
    from ..query import parse

    conditions = parse(filters)
    rows = database.rows(conditions)
    if any(condition.key.name == "site" for condition in conditions):
        return rows
    return best_rows(rows) + (best_drifts(rows) if drifts else [])


# output


def _as_table(rows: Sequence[Document], asked: WireQuestion) -> str:
    """A block for each hop, scenario and temperature, a line for each diameter."""
    from ..tables import columns

    blocks: dict[str, list[list[Document]]] = {}
    for i in range(0, len(rows), len(asked.direct_models)):
        line = list(rows[i : i + len(asked.direct_models)])
        blocks.setdefault(_title(line[0]), []).append(line)
    texts = []
    for title, lines in blocks.items():
        heads = ["d (nm)", "ρ (µΩ cm)", *(text for name in asked.direct_models for text in (_HEADS[name], "P(>0)")), "direction"]
        table = [heads]
        for line in lines:
            cells = [_diameter(line[0]), f"{line[0]['rho_uohm_cm']:.3g}"]
            for row in line:
                cells += _star(row)
            table.append([*cells, _verdict(line)])
        texts.append(f"{title}\n{_parts(lines[0])}\n{columns(table)}")
    return "\n\n".join(texts)


def _title(row: Document) -> str:
    grain = row["grain_size_nm"]
    grains = "D = d" if grain == "diameter" else f"D = {grain:g} nm"
    place = row["metal"] if row["facet"] == "bulk" else f"{row['metal']}({row['facet']})"
    return (f"{place} {row['defect']}, {row['hop']}, {row['site']}, T = {row['temperature_K']:g} K, "
            f"p = {row['specularity']:g}, R = {row['reflection']:g}, {grains}")


def _parts(line: Sequence[Document]) -> str:
    """K and the direct parts of a block."""
    from ..tables import plus_minus

    texts = [f"K = {plus_minus(line[0]['k_wind_uohm_cm'], line[0]['k_wind_sigma_uohm_cm'])} µΩ cm"]
    for row in line:
        value, sigma, name = row["z_direct_used"], row["z_direct_used_sigma"], row["direct_model"]
        if name == "none":
            continue
        missing = "not computed" if row["direction_total"] == "not computed" else "an interval, shown by emforce query"
        text = missing if value is None else plus_minus(value, sigma) if name == "dft" else f"{value:.3g}"
        texts.append(f"Z_direct ({name if name == 'dft' else f'model: {name}'}) = {text}")
    return "; ".join(texts)


def _diameter(row: Document) -> str:
    return "bulk" if row["wire_diameter_nm"] is None else f"{row['wire_diameter_nm']:g}"


def _star(row: Document) -> list[str]:
    from ..tables import plus_minus

    if row["z_star"] is None:
        return [row["direction_total"], "-"]
    probability = row["probability_upwind"]
    edge = "<0.001" if probability < 0.0005 else ">0.999" if probability > 0.9995 else f"{probability:.3f}"
    return [plus_minus(row["z_star"], row["z_star_sigma"]), edge]


def _verdict(line: Sequence[Document]) -> str:
    """The direction under all direct parts that have a number, with the term that carries it; or where they differ."""
    known = [row for row in line if row["z_star"] is not None]
    directions = dict.fromkeys(row["direction_total"] for row in known)
    if len(directions) > 1:
        return ", ".join(f"{row['direct_model']}: {row['direction_total']}" for row in known)
    carried = {row["carried_by"] for row in known if row["direct_model"] != "none"}
    by = {"wind": " by the wind", "direct": " by the direct part", "both": " by both"}
    term = by.get(next(iter(carried)), "") if len(carried) == 1 else ""
    shares = [f"{row['direct_model']} {100 * row['wind_share']:.0f} %" for row in known if row["direct_model"] != "none"]
    return "".join(directions) + term + (f"; wind {', '.join(shares)}" if term == by["both"] else "")


def _changes(changes: Iterable[tuple[Document, SignChange]]) -> list[str]:
    """Sentences on where Z* changes sign, equal cases left out."""
    lines: dict[str, None] = {"Sign of Z* against the diameter (one standard uncertainty):": None}
    for row, change in changes:
        if row["direct_model"] == "none":
            continue  # the wind alone has one sign in every wire
        where = (f"{row['metal']} {row['site']}, {row['temperature_K']:g} K, p = {row['specularity']:g}, "
                 f"R = {row['reflection']:g}, direct part {row['direct_model']}")
        if change.diameter is not None:
            text = f"changes sign at {_nm(change.diameter)}"
        else:
            text = f"no change of sign from 1 nm to bulk ({'upwind' if change.bulk.value > 0 else 'downwind'})"
        ranges = " and ".join(_range(*pair) for pair in change.undecided)
        lines[f"  {where}: {text}{f'; undecided {ranges}' if ranges else ''}"] = None
    return list(lines)


def _range(low: float, high: float) -> str:
    from ..physics.valence import DIAMETER_RANGE

    thinnest, thickest = low <= 1.001 * DIAMETER_RANGE[0], high >= 0.999 * DIAMETER_RANGE[1]
    if thinnest and thickest:
        return "at every diameter"
    if thinnest:
        return f"below {_nm(high)}"
    return f"above {_nm(low)}" if thickest else f"from {_nm(low)} to {_nm(high)}"


def _nm(angstrom: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(angstrom / 10)))
    return f"{angstrom / 10:.{digits}f} nm"
