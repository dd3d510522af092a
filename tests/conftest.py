"""Fixtures that several test files share: a private PostgreSQL server, and an empty database of each kind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgres():
    """A private PostgreSQL server on a socket of its own; it refuses to run as root."""
    programs = _postgres_programs()
    if programs is None:
        missing = "PostgreSQL server programs (initdb) are not installed; scripts/services.sh installs them"
        # `make test` installs them, so that nothing is left out there
        pytest.fail(missing) if os.environ.get("EMFORCE_REQUIRE_SERVICES") else pytest.skip(missing)
    folder = Path(
        tempfile.mkdtemp(prefix="emforce-pg-", dir="/tmp")
    )  # short: socket paths have 107 characters
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60, **who)

    call(str(programs / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
    settings = f"-k {folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
    call(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", settings, "start")
    try:
        yield folder
    finally:
        call(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "new" / "emforce.db")
    folder = request.getfixturevalue("postgres")
    import psycopg2

    name = f"t{time.monotonic_ns()}"
    with contextlib.closing(
        psycopg2.connect(host=str(folder), user="tester", dbname="postgres")
    ) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"postgresql://tester@/{name}?host={folder}"
