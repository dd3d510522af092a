"""The formats of `emforce export`, and the way from a request to the text of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..database import Condition, Database
from ..errors import InputError
from ..query import available, parse, select
from ..record import HOP_AVERAGE
from .documents import to_csv, to_json, to_yaml
from .dynamics import to_lammps
from .fields import to_festim, to_moose
from .jumps import to_kmc, to_onsager
from .lines import to_emspice, to_migrationfem
from .parameters import Content, name_of
from .request import Request


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    write : makes the text
    rows : how many rows it takes; 0: any number
    temperatures : how many temperatures it takes; 0: any number
    description : for the help
    """

    write: Callable[[Content], str]
    rows: int
    temperatures: int
    description: str


FORMATS: Mapping[str, Format] = MappingProxyType({
    "json": Format(to_json, 0, 0, "all keys, with a JSON Schema (data/export.schema.json)"),
    "yaml": Format(to_yaml, 0, 0, "the same document"),
    "csv": Format(to_csv, 0, 0, "all keys, one line per row"),
    "emspice": Format(to_emspice, 1, 1, "constants of EMspice (name,value)"),
    "migrationfem": Format(to_migrationfem, 1, 1, "parameters of MigrationFEM (Ansys APDL)"),
    "moose": Format(to_moose, 1, 1, "SoretDiffusion and PFParamsPolyFreeEnergy of MOOSE"),
    "festim": Format(to_festim, 1, 1, "Q*(T) for FESTIM (Python)"),
    "lammps": Format(to_lammps, 0, 1, "force per type, units metal"),
    "kmc": Format(to_kmc, 1, 1, "rate table for lattice Monte Carlo (CSV)"),
    "onsager": Format(to_onsager, 1, 1, "jumps, energies and work of the field for onsager (YAML)"),
})


def check(request: Request, to: str) -> None:
    """Complain of what can be wrong without a database.

    Raises
    ------
    InputError : an unknown format, a filter that is none, more temperatures than the format takes
    """
    if to not in FORMATS:
        raise InputError("--to", to, ", ".join(FORMATS))
    parse(request.filters)
    count = FORMATS[to].temperatures
    if count and len(request.question.temperatures_K) != count:
        given = " ".join(f"{T:g}" for T in request.question.temperatures_K) or None
        raise InputError("temperature", given, f"one temperature in K for {to}, such as -T 600")


def export(database: Database, request: Request, to: str) -> str:
    """The text of a file in a format.

    Rows are the best of each hop (`emforce.best`) for the formats of other programs, unless a condition names a site other than
    the hop as a whole.

    Raises
    ------
    InputError : see `check`; no row, more rows than the format takes, or a number that is missing
    """
    check(request, to)
    form = FORMATS[to]
    question = replace(request.question, details=True)
    conditions = parse(request.filters)
    sites = [c for c in conditions if c.key.name == "site"]
    if form.temperatures and all((c.operator, c.values) == ("=", (HOP_AVERAGE,)) for c in sites):
        # the best is that of the hop as a whole, and takes no condition on the site
        question = replace(question, which="best")
        if sites:
            request = replace(request, filters=tuple(_words(c) for c in conditions if c not in sites))
    request = replace(request, question=question)
    answer = select(database, request.filters, question)
    asked = " ".join(request.filters)
    if not answer.rows:
        raise InputError("filter", asked, f"conditions that a row meets; {available(database)}")
    if form.rows and len(answer.rows) > form.rows:
        names = "; ".join(f"{name_of(row)}, {row['preset']}, {row['method']}" for row in answer.rows)
        raise InputError("filter", asked, f"conditions that one row meets, not {len(answer.rows)}: {names}")
    metals = {str(row["metal"]) for row in answer.rows}
    for metal in request.stated:
        if metal and metal not in metals:
            raise InputError("--set", f"{metal}.", f"metals of the rows: {', '.join(sorted(metals))}")
    return form.write(Content(database, request, to, tuple(answer.rows), answer.notes))


def _words(condition: Condition) -> str:
    """A condition as it is asked; the words of a filter need not part where its conditions do."""
    return f"{condition.key.name}{condition.operator}{','.join(map(str, condition.values))}"


__all__ = ["FORMATS", "Format", "check", "export"]
