"""An ASGI application on a port of this machine, until it is told to stop; then the port is free again."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from typing import Any

from ..errors import InputError


def open_port(host: str, port: int) -> socket.socket:
    """A socket that already listens; port 0 takes one that is free.

    Raises
    ------
    InputError : a port that is none or is taken, or a host that is not this machine
    """
    if not 0 <= port <= 65535:
        raise InputError("--port", port, "0 (any that is free) to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        allowed = f"an address and a port of this machine that are free ({error.strerror or error})"
        raise InputError("--host, --port", f"{host}:{port}", allowed) from None


def address(listening: socket.socket) -> str:
    """http://host:port/ of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(application: Any, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are finished within three seconds."""
    import uvicorn

    config = uvicorn.Config(application, log_level="warning", lifespan="on", timeout_graceful_shutdown=3)
    # uvicorn stops gracefully and then raises the signal again: let it end us cleanly, so that the copy is removed
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


__all__ = ["address", "open_port", "run"]
