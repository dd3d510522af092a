"""Options that several subcommands share, and how their text becomes values."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from ..errors import EmforceError, InputError

if TYPE_CHECKING:
    from ..database import Condition, Database
    from ..evaluate import Wire

PRESETS = ("quick", "standard", "production")
STORE = "results/store"
FIGURES = "results/figures"


class AddCommand(Protocol):
    """Adds a subcommand: its name, what it calls, one sentence, and text after its options."""

    def __call__(self, name: str, command: Callable[[argparse.Namespace], int], summary: str,
                 epilog: str = "") -> argparse.ArgumentParser:
        """The parser of the new subcommand."""
        ...


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Print it and leave with exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def ended(call: Callable[[], int], name: str) -> int:
    """What a program ends with: its exit code, or one line on standard error and the code of its error.

    2 for bad input, 3 for a campaign that was cancelled, 130 for Ctrl-C, 1 for what else emforce reports.
    """
    try:
        code = call()
        sys.stdout.flush()
        return code
    except InputError as error:
        return _fail(name, str(error), 2)
    except EmforceError as error:
        return _fail(name, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(name, "interrupted; finished steps are kept, the same command goes on from there", 130)
    except BrokenPipeError:
        # the reader of our output (head, less) left; nothing more to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(name: str, message: str, code: int) -> int:
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


def open_database(options: argparse.Namespace) -> Database:
    """The database that the options name."""
    from ..database import Database

    return Database(options.db)


def temperatures(options: argparse.Namespace) -> tuple[float, ...]:
    """The temperatures given; conditions that argparse took for temperatures become part of the filter."""
    from ..query import check_temperature

    words = options.temperature or []
    conditions = [word for word in words if re.search("[=<>]", word)]
    if conditions:
        options.filter = [*options.filter, *conditions]
    found = []
    for word in words:
        if word not in conditions:
            try:
                found.append(check_temperature(float(word)))
            except ValueError:
                raise InputError("temperature", word, "a number of kelvin") from None
    return tuple(found)


def overrides(pairs: Sequence[str]) -> dict[str, object]:
    """key=value pairs; the value is read as TOML, and as text where that fails."""
    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise InputError("--set", pair, "key=value with a key of the preset file")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found


def add_specs(parser: argparse.ArgumentParser) -> None:
    """Specifications, --preset and --set."""
    parser.add_argument("spec", nargs="+", type=Path, metavar="SPEC", help="specification, structures/*.toml")
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--preset and --set."""
    parser.add_argument("--preset", choices=PRESETS, default="quick", help="settings (default %(default)s)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a field of the preset; repeatable",
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """--cluster and --workers."""
    parser.add_argument(
        "--cluster",
        default="local",
        metavar="NAME|FILE",
        help="profile of the cluster: a shipped one or a TOML file (default %(default)s: this machine)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="steps at the same time, on a batch system jobs (default: what the profile says; local: cores)",
    )


def checked_workers(options: argparse.Namespace) -> int | None:
    """--workers, checked before anything else is looked at."""
    workers: int | None = options.workers
    if workers is not None and workers < 1:
        raise InputError("--workers", workers, "1 or more")
    return workers


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Conditions on the rows."""
    parser.add_argument(
        "filter",
        nargs="*",
        metavar="FILTER",
        help="conditions that all hold, such as metal=W facet=110 site=saddle 'z_wind<-6' metal=Cu,W",
    )


def stored_conditions(options: argparse.Namespace) -> list[Condition]:
    """Conditions of the filter on what is stored.

    Raises
    ------
    InputError for one on a key that is evaluated
    """
    from ..query import parse

    conditions = parse(options.filter)
    if any(not condition.key.stored for condition in conditions):
        raise InputError("filter", " ".join(options.filter), "stored keys only, such as metal, facet, hop, preset")
    return conditions


def add_temperature(parser: argparse.ArgumentParser, text: str) -> None:
    """--temperature."""
    parser.add_argument("-T", "--temperature", nargs="+", action="extend", metavar="K", help=text)


#: as in `emforce.evaluate`, which the help must not import
DIRECT_MODELS = ("dft", "nominal", "drude", "none")


def add_direct_model(parser: argparse.ArgumentParser) -> None:
    """--direct-model."""
    parser.add_argument(
        "--direct-model",
        choices=DIRECT_MODELS,
        default="dft",
        help="direct part of Z*: dft (computed), the models nominal (ion charge) and drude (Drude number of the host atom), "
        "or none (default %(default)s)",
    )


def add_wire(parser: argparse.ArgumentParser) -> None:
    """--wire-diameter-nm and what scatters in a wire."""
    parser.add_argument("--wire-diameter-nm", type=float, metavar="D", help="round wire instead of bulk metal")
    parser.add_argument("--specularity", type=float, metavar="P", help="share of specular reflection at its surface (0)")
    parser.add_argument("--grain-size-nm", type=float, metavar="L", help="distance of its grain boundaries (the diameter)")
    parser.add_argument("--reflection", type=float, metavar="R", help="reflection coefficient of a grain boundary (0)")


def wire(options: argparse.Namespace) -> Wire | None:
    """The wire that the options describe; None: bulk."""
    given = {name: getattr(options, name) for name in ("specularity", "grain_size_nm", "reflection")}
    if options.wire_diameter_nm is None:
        for name, value in given.items():
            if value is not None:
                raise InputError(f"--{name.replace('_', '-')}", value, "only with --wire-diameter-nm")
        return None
    from ..evaluate import Wire
    from ..physics.wire import WireModel

    grain = given["grain_size_nm"]
    model = WireModel(given["specularity"] or 0.0, given["reflection"] or 0.0, "diameter" if grain is None else 10 * grain)
    return Wire(options.wire_diameter_nm, model)


def add_db(parser: argparse.ArgumentParser) -> None:
    """--db."""
    parser.add_argument(
        "--db",
        metavar="URL",
        help="path or URL of the database (default $EMFORCE_DB, then results/emforce.db)",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """--store."""
    parser.add_argument("--store", type=Path, default=Path(STORE), help="finished steps (default %(default)s)")
