"""The application behind `emforce serve`: datasette on a copy of the database, with our pages and metadata."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

from ..errors import EmforceError
from .listen import address, open_port, run
from .snapshot import describe, take

#: rows are evaluated in Python inside a query: more time than datasette's one second
_SETTINGS = {"sql_time_limit_ms": 20000, "max_returned_rows": 100000, "default_page_size": 50, "suggest_facets": False,
             "allow_download": True, "default_cache_ttl": 0}  # fmt: skip


def serve(location: str | None, root: Path, host: str, port: int) -> None:
    """Show a database until stopped.

    Parameters
    ----------
    location : path or URL; None: the environment variable EMFORCE_DB, then results/emforce.db
    root : folder that recorded paths of structures are relative to
    host, port : where to listen; port 0: any that is free

    Raises
    ------
    InputError, StoreError : no such database, another schema version, a port that is taken
    """
    with tempfile.TemporaryDirectory(prefix="emforce-serve-") as folder, open_port(host, port) as listening:
        application, origin = _application(location, root, Path(folder))
        say_where("page", origin, listening)
        run(application, listening)


def say_where(what: str, origin: str, listening: socket.socket) -> None:
    """One line for whoever started it, with the address."""
    print(f"{what} of {origin}: {address(listening)} (read-only; Ctrl-C stops it)", flush=True)


def _application(location: str | None, root: Path, folder: Path) -> tuple[Any, str]:
    shown = take(location, folder)
    try:
        from datasette.app import Datasette  # type: ignore[import-untyped]
        from datasette.plugins import pm  # type: ignore[import-untyped]

        from .pages import TEMPLATES, Pages
    except ModuleNotFoundError as error:
        raise EmforceError(f"{error.name} is not installed; pip install 'emforce[serve]'") from None
    pm.register(Pages(shown, root))
    site = Datasette(immutables=[str(shown.path)], metadata=describe(shown), settings=_SETTINGS, template_dir=str(TEMPLATES))
    return site.app(), shown.origin


__all__ = ["say_where", "serve"]
