"""Subcommand model: what the parameters do in a line, on a wire, on a surface; and the companion experiments' numbers."""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .options import (
    FIGURES,
    AddCommand,
    add_db,
    add_direct_model,
    add_filter,
    add_temperature,
    open_database,
    temperatures,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..models.parameters import Given
    from ..stored import Document

_SIGN = "Z* > 0: force along the field and the conventional current, against the electrons (upwind)"
_EPILOG = """\
Numbers come from the best row of each hop that meets the filter. What it does not hold is given with its source:
  --set 'd0_m2_s=7.5e-8 # EMspice' --set 'W.gamma_J_m2=1 # a round number'      (METAL. in front: for that metal only)
Each model prints a table and writes a figure (PDF, PNG) and a CSV file. docs/models.md has the equations.
"""


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    model = add("model", lambda options: 2, "Use the parameters: stress in a line, a wire's profile, Monte Carlo.", _EPILOG)
    kinds = model.add_subparsers(dest="kind", required=True, metavar="MODEL")

    def new(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text, epilog=_EPILOG,
                                                           formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.set_defaults(command=command)
        add_filter(parser)
        add_temperature(parser, "temperature, K (default 600)")
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="given",
                            help="a number that the row does not hold, with its source after #; repeatable")
        add_direct_model(parser)
        parser.add_argument("--out", type=Path, default=Path(FIGURES), help="folder (default %(default)s)")
        add_db(parser)
        return parser

    def number(parser: argparse.ArgumentParser, name: str, default: float | None, text: str, kind: Any = float) -> None:
        shown = "" if default is None else " (default %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="X", help=f"{text}{shown}")

    line = new("continuum", _continuum, "Stress in a line under current and in a temperature gradient.")
    number(line, "--length-um", 20.0, "length, µm")
    number(line, "--current-MA-cm2", 0.1, "current density along +x, MA/cm²")
    number(line, "--temperature-rise-K", 0.0, "T(L) - T(0), K")
    number(line, "--critical-MPa", None, "tension at which a void nucleates, MPa; without it neither void time nor Blech limit")
    wire = new("surface", _surface, "Profile of a nanowire under current.")
    number(wire, "--radius-nm", 5.0, "radius of the cylinder of the same volume, nm")
    number(wire, "--length-nm", 40.0, "length, nm")
    number(wire, "--current-uA", 100.0, "current along +x, µA")
    number(wire, "--neck", 0.7, "radius in the middle over that at the ends, at the start")
    number(wire, "--time-tau", 0.7, "time, in units of tau = r0⁴ k_BT/(D_s delta_s gamma Omega)")
    kmc = new("kmc", _kmc, "Adatoms and steps under current: drift velocities and directions.")
    number(kmc, "--bias-kT", 0.5, "largest |w|/k_BT among the metals; sets the current density")
    number(kmc, "--current-MA-cm2", None, "current density along the hop instead, MA/cm²")
    number(kmc, "--lost-bond-kT", 4.0, "setting of the model: barrier per neighbour lost, k_BT")
    number(kmc, "--kept-bond-kT", 1.0, "setting of the model: barrier per neighbour kept, k_BT")
    number(kmc, "--corner-kT", 1.0, "setting of the model: barrier of a hop round a corner, k_BT")
    number(kmc, "--events", 3000, "events in each replica of the island", int)
    number(kmc, "--seed", 1, "seed of the random numbers", int)
    new("companions", _companions, "Printed numbers of the companion experiments, from their formulas and with our Q*.")


# the four models


def _continuum(options: argparse.Namespace) -> int:
    import numpy as np

    from ..models import continuum as c
    from ..models.parameters import ContinuumParameters

    (row,) = _rows(options, at_most=1)
    p = ContinuumParameters.from_row(row, _given_for(options, row))
    line = c.Line(options.length_um, options.current_MA_cm2, options.temperature_rise_K)
    tau = (line.length_um * 1e-6) ** 2 / c.kappa_m2_s(p)
    found = c.evolve(p, line, tau * np.geomspace(1e-4, 3, 60))
    final = c.steady(p, line)
    lines = [("force e Z* E", _g(1e7 * c.force_eV_per_angstrom(p, line)), "meV/µm"),
             ("kappa = D B Ω/k_BT", _g(c.kappa_m2_s(p)), "m²/s"),
             ("time L²/kappa", _g(tau), "s"), ("drift velocity", _g(c.drift_velocity_nm_s(p, line)), "nm/s"),
             ("steady stress at x = 0", _g(final.left_MPa[0]), "MPa"), ("steady stress at x = L", _g(final.right_MPa[0]), "MPa")]
    if options.critical_MPa is not None:
        lines.append(("void after", _g(c.nucleation_time_s(p, line, options.critical_MPa)), "s"))
        lines.append(("Blech (jL)_c, ends at ∓critical", _g(c.blech_product_A_cm(p, 2 * options.critical_MPa)), "A/cm"))
    _show([("quantity", "value", "unit"), *lines])
    _show([("parameter", "value", "source"), *p.table()])
    from ..models.figures import line_figure

    data = [(t, x, s) for t, row_ in zip(found.time_s[::6], found.stress_MPa[::6], strict=True)
            for x, s in zip(found.x_um, row_, strict=True)]
    _write(options, f"model-continuum-{p.metal}", line_figure(p, line, found, options.critical_MPa),
           ("time_s", "x_um", "stress_MPa"), data, "stress > 0: tension; x along the conventional current")
    return 0


def _surface(options: argparse.Namespace) -> int:
    import numpy as np

    from ..models import surface as s
    from ..models.parameters import SurfaceParameters

    wire = s.Wire(options.radius_nm, options.length_nm, options.current_uA)
    start = wire.hourglass_nm(options.neck)
    metals = [SurfaceParameters.from_row(row, _given_for(options, row)) for row in _rows(options, surfaces=True)]
    times = options.time_tau * np.linspace(0, 1, 11)
    runs = [(p, wire, s.evolve(p, wire, start, times)) for p in metals]
    table = [("surface", "Z*", "chi", "tau (s)", "right half - left half", "volume change", "thickens", "breaks (tau)")]
    for p, _, found in runs:
        table.append((p.surface, f"{p.z_star:.3g}", f"{s.chi(p, wire):.3g}", _g(found.tau_s), f"{found.asymmetry[-1]:+.3g}",
                      f"{found.volume_change:.1g}", found.thickened(wire.current_uA), _g(found.broke_tau)))
    _show(table)
    for p, _, _ in runs:
        _show([(p.surface, "value", "source"), *p.table()])
    from ..models.figures import wire_figure

    data = [(p.metal, p.facet, t, x, r) for p, _, found in runs for t, radii in zip(found.time_tau, found.radius_nm, strict=True)
            for x, r in zip(found.x_nm, radii, strict=True)]
    _write(options, "model-surface", wire_figure(runs), ("metal", "facet", "time_tau", "x_nm", "radius_nm"), data,
           "x along the conventional current when it is positive; the electrons come in at x = L")
    return 0


def _kmc(options: argparse.Namespace) -> int:
    from ..models.drifts import stored_drifts
    from ..models.kmc import Settings, current_for_bias, run_metal
    from ..models.parameters import HopParameters
    from ..models.terrace import Bonds
    from ..query import Question

    rows = _rows(options, surfaces=True)
    metals = [HopParameters.from_row(row, _given_for(options, row)) for row in rows]
    question = Question(temperatures_K=(metals[0].temperature_K,), direct_model=options.direct_model)
    with open_database(options) as database:
        drifts = [{} if "z_star" in _given_for(options, row) else
                  {name: z for name, (z, _, _) in stored_drifts(database, row, question).items()} for row in rows]
    j = options.current_MA_cm2 if options.current_MA_cm2 is not None else current_for_bias(metals, options.bias_kT)
    bonds = Bonds(options.lost_bond_kT, options.kept_bond_kT, options.corner_kT)
    settings = Settings(events=options.events, bonds=bonds, seed=options.seed)
    runs = [run_metal(p, j, settings, each) for p, each in zip(metals, drifts, strict=True)]
    print(f"j = {j:.4g} MA/cm² along the hop; velocities along the field in hops per 1/Gamma0; ± one standard error")
    table = [("metal", "<Z>", "w/k_BT", "adatoms", "closed form", "island, mass", "island, steps", "mass goes", "Gamma0 (1/s)")]
    data = []
    for run in runs:
        v, p = run.summary(), run.parameters
        way = "upwind" if v["mass"] > 0 else "downwind"
        sure = abs(v["mass"]) > 3 * v["mass_sigma"]
        table.append((p.surface, f"{p.z_star:.3g}", f"{run.work_kT:.4g}", _pm(v["adatom"], v["adatom_sigma"]),
                      f"{v['adatom_exact']:.5f}", _pm(v["mass"], v["mass_sigma"]), _pm(v["steps"], v["steps_sigma"]),
                      way if sure else "undecided", _g(p.gamma0_per_s)))
        data.append((p.metal, p.facet, p.temperature_K, j, run.work_kT, *v.values()))
    _show(table)
    for run, each in zip(runs, drifts, strict=True):
        said = [(f"Z* along {name}", f"{z:.4g}", "rows of the drift: hops take the tensor") for name, z in each.items()]
        _show([(run.parameters.surface, "value", "source"), *run.parameters.table(), *said])
    from ..models.figures import kmc_figure

    heads = ("metal", "facet", "temperature_K", "current_density_MA_cm2", "work_kT", *(f"{name}_hops_gamma0" for name in v))
    _write(options, "model-kmc", kmc_figure(runs), heads, data, "velocities > 0: along the field; in hops times Gamma0")
    return 0


def _companions(options: argparse.Namespace) -> int:
    from ..models import companions as c
    from ..models.figures import companions_figure
    from ..models.parameters import Given

    rows = _rows(options, at_most=None, needed=False)
    q = {str(row["metal"]): Given(row["q_star_eV"], f"row {row.get('id')}") for row in rows if row["q_star_eV"] is not None}
    for metal, given in _given(options).items():
        if metal and "q_star_eV" in given:
            q[metal] = given["q_star_eV"]
    entries = c.entries(q)
    shown = [0, *(i for i, name in enumerate(c.columns()) if name in ("metal", "quantity", "unit", "printed", "computed",
                                                                       "with_our_q_star", "verdict"))][1:]
    _show([tuple(cells[i] or "-" for i in shown) for cells in (c.columns(), *map(c.row, entries))])
    table = [("metal", "seen", "Z* of the database", "row", "verdict")]
    for metal, seen in c.OBSERVED.items():
        surfaces = [row for row in rows if row["metal"] == metal and row["facet"] != "bulk"]
        found = next((row for row in surfaces if _valence(row)[0] is not None), None)
        z, sigma = (None, None) if found is None else _valence(found)
        name = "-" if found is None else f"{found['facet']} {found['hop']}"
        direction = c.Direction(metal, seen, z, sigma)
        table.append((metal, seen, "-" if z is None else _pm(z, sigma or math.nan), name, direction.verdict))
    _show(table)
    _write(options, "model-companions", companions_figure(entries), c.columns(), map(c.row, entries),
           "sizes as printed; Q* > 0: towards the cold end")
    return 0


# pieces


def _rows(
    options: argparse.Namespace, at_most: int | None = 6, needed: bool = True, surfaces: bool = False
) -> list[Document]:
    """The best row of each hop that meets the filter, evaluated at the temperature; with `surfaces` without those in bulk."""
    from .. import query

    kelvins = temperatures(options) or (600.0,)
    if len(kelvins) != 1:
        raise InputError("temperature", " ".join(map(str, kelvins)), "one temperature")
    question = query.Question(temperatures_K=kelvins, which="best", direct_model=options.direct_model)
    query.parse(options.filter)
    _given(options)
    with open_database(options) as database:
        answer = query.select(database, options.filter, question)
        there = query.available(database)
    for note in answer.notes:
        print(f"emforce: {note}", file=sys.stderr)
    rows, names = [], []
    for row in answer.rows:
        name = f"{row['metal']} {row['facet']} {row['hop']}"
        if surfaces and row["facet"] == "bulk":
            print(f"emforce: {name} left out: the model is one of surfaces", file=sys.stderr)
        else:
            rows.append(row)
            names.append(name)
    if needed and not names:
        raise InputError("filter", " ".join(options.filter), f"conditions that a row meets; {there}")
    if at_most is not None and len(names) > at_most:
        allowed = f"conditions that {at_most} hop(s) meet, not {len(names)}: {', '.join(names)}"
        raise InputError("filter", " ".join(options.filter), allowed)
    return rows


def _given(options: argparse.Namespace) -> dict[str, dict[str, Given]]:
    from ..models.parameters import parse_given

    return parse_given(options.given)


def _given_for(options: argparse.Namespace, row: Document) -> dict[str, Given]:
    given = _given(options)
    return {**given.get("", {}), **given.get(str(row["metal"]), {})}


def _valence(row: Document) -> tuple[float | None, float | None]:
    """Z*, or the wind part where there is no total, with its uncertainty."""
    name = "z_star" if row["z_star"] is not None else "z_wind"
    return row[name], row[f"{name}_sigma"]


def _write(options: argparse.Namespace, stem: str, figure: Figure, heads: Sequence[str], data: Iterable[Sequence[Any]],
           words: str) -> None:
    """Figure and CSV file; the units are in the names of the columns, the sign convention in the first line."""
    from ..plot import save

    paths = save(figure, options.out / stem, ("pdf", "png"))
    path = options.out / f"{stem}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {_SIGN}; {words}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows([f"{cell:.7g}" if isinstance(cell, float) else cell for cell in line] for line in data)
    for each in (*paths, path):
        print(each)


def _show(table: Sequence[Sequence[str]]) -> None:
    from ..tables import columns

    print(f"{columns(table)}\n")


def _g(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _pm(value: float, sigma: float) -> str:
    return f"{value:.4g} ± {sigma:.2g}" if math.isfinite(sigma) else f"{value:.4g}"
