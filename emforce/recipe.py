"""What the recipes in workflows/ share with `emforce run`: its options, and errors as one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from .campaign import Placement
from .commands.options import add_cluster, add_db, add_settings, add_store, overrides
from .errors import EmforceError, InputError
from .settings import Settings, load_settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as everywhere."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with --preset, --set, --cluster, --workers, --store and --db."""
    new = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_settings(new)
    add_cluster(new)
    add_store(new)
    add_db(new)
    return new


def settings(options: argparse.Namespace) -> Settings:
    """The preset with the fields of --set.

    Raises
    ------
    InputError for a field or a value that is not allowed
    """
    return load_settings(options.preset, overrides(options.set))


def placement(options: argparse.Namespace, names: Sequence[object]) -> Placement:
    """Where the steps run, for a campaign on what is named.

    Raises
    ------
    InputError for a profile or a number of workers that is not allowed
    """
    place = Placement(options.cluster, options.workers, tuple(map(str, names)))
    place.check()
    return place


def ended(main: Callable[[], int], name: str) -> int:
    """Call the recipe; its exit code, or that of its error: 2 for bad input, as the command line has it."""
    try:
        return main()
    except InputError as error:
        code, message = 2, str(error)
    except EmforceError as error:
        code, message = error.exit_code, str(error)
    except KeyboardInterrupt:
        code, message = 130, "interrupted; finished steps are kept, the same command goes on from there"
    print(f"{name}: {' '.join(message.split())}", file=sys.stderr)
    return code


__all__ = ["ended", "parser", "placement", "settings"]
