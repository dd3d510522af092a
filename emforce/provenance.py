"""Where a number comes from: versions, commit and time, without importing the heavy packages."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def versions() -> dict[str, str]:
    """Versions of emforce, of Python and of the packages that make the numbers."""
    found = {"python": platform.python_version()}
    for package in ("emforce", "gpaw", "gpaw-data", "ase", "numpy", "scipy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def git_commit() -> str:
    """Commit of the source tree ("-dirty" when tracked source differs), or "not a git checkout"."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():  # a copy installed inside some other repository is not its commit
        return "not a git checkout"
    try:
        commit = _git(here, "rev-parse", "HEAD")
        # "." is the package: a changed result file or note does not change the numbers
        return f"{commit}-dirty" if _git(here, "status", "--porcelain", "-uno", ".") else commit
    except (OSError, subprocess.SubprocessError):
        return "not a git checkout"


def collect(
    *, settings_hash: str, structure_hash: str, host_check: str, rho_source: str
) -> dict[str, object]:
    """The provenance of a record.

    Parameters
    ----------
    settings_hash, structure_hash : content hashes of what went in
    host_check : one line, the verdict of the host against plane waves
    rho_source : source of the resistivity that turns K into Z
    """
    return {
        **versions(),
        "git_commit": git_commit(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings_hash": settings_hash,
        "structure_hash": structure_hash,
        "host_check": host_check,
        "rho_source": rho_source,
    }


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
