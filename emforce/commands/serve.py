"""The subcommand serve: the database as a page in the browser, or as an OPTIMADE server."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import AddCommand, add_db


def register(add: AddCommand) -> None:
    """Add the subcommand of this file."""
    serve = add("serve", _serve, "Show the database in a browser: browse, filter, rank, plot, download, provenance.",
                "Read-only, on this machine, without the network; shows a copy taken at the start, from SQLite or PostgreSQL.\n"
                "Needs the extra packages: pip install 'emforce[serve]'.")
    serve.add_argument("--optimade", action="store_true",
                       help="an OPTIMADE server of the structures instead, with fields _emforce_...")
    serve.add_argument("-T", "--temperature", type=float, default=300.0, metavar="K",
                       help="with --optimade: temperature of its values, K (default %(default)s); the page asks for it")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine only)")
    serve.add_argument("--port", type=int, default=8001, help="port (default %(default)s; 0: any that is free)")
    serve.add_argument("--root", type=Path, default=Path(),
                       help="folder that holds structures/, to which recorded paths are relative (default: this folder)")
    add_db(serve)


def _serve(options: argparse.Namespace) -> int:
    if options.optimade:
        from ..optimade_server import serve_optimade

        serve_optimade(options.db, options.root, (options.host, options.port), options.temperature)
    else:
        from ..serve.site import serve

        serve(options.db, options.root, options.host, options.port)
    return 0
