"""Finished steps on disk, named by the hash of what went into them.

A step's output is a folder with meta.json (small numbers, inputs, checksums of the files) and files. It appears under
its name by one rename when it is complete, so a killed process leaves nothing that looks finished; a damaged file is
found by its checksum, reported and removed, and computed again where something needs it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emforce.errors import StoreError

Arrays = Mapping[str, NDArray[Any]]
#: leftovers of killed processes are removed when nothing was written to them or to their step's log for so long
LEFTOVER_SECONDS = 86400.0
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def content_hash(value: object) -> str:
    """Hash of a JSON-able document; floats by their exact decimal form, so equal numbers give equal hashes."""
    text = json.dumps(value, sort_keys=True, default=_plain, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be part of a step's inputs")


@dataclass(frozen=True)
class Finished:
    """A finished step: its folder, its small numbers, and how long it took (wall time)."""

    folder: Path
    values: dict[str, Any]
    seconds: float

    def arrays(self, name: str = "arrays.npz") -> dict[str, NDArray[Any]]:
        """The arrays that the step saved."""
        with np.load(self.folder / name, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}


class Store:
    """Folder of finished steps.

    Parameters
    ----------
    root : made if it is not there
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        try:
            for name in ("steps", "partial", "logs"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"store {self.root}: {error.strerror}; choose a folder that can be written") from error

    def remove_leftovers(self) -> None:
        """Remove what killed processes left behind long ago; a step that still runs writes its log."""
        for path in [*(self.root / "partial").iterdir(), *(self.root / "steps").glob(".*-*")]:
            name = path.name.lstrip(".").rpartition("-")[0]
            logs = [self.root / "logs" / f"{name}{suffix}" for suffix in (".txt", ".log")]
            latest = [p.stat().st_mtime for p in (path, *logs) if p.exists()]
            if latest and time.time() - max(latest) > LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)

    def remove_partial(self, name: str) -> None:
        """Remove what a killed process left of a step. For whoever knows that nobody else is computing it."""
        with os.scandir(self.root / "partial") as entries:
            left = [entry.path for entry in entries if entry.name.startswith(f"{name}-")]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)

    def refresh(self) -> None:
        """Look at the folder anew: a network file system remembers for up to a minute that a name was not there."""
        try:
            os.close(os.open(self.root / "steps", os.O_RDONLY))
        except OSError:
            pass  # who reads from it next will say so

    def folder(self, kind: str, key: str) -> Path:
        """Where the output of a step is or will be."""
        return self.root / "steps" / f"{kind}-{key}"

    def log(self, kind: str, key: str) -> Path:
        """GPAW's text of a step."""
        return self.root / "logs" / f"{kind}-{key}.txt"

    def output_log(self, name: str) -> Path:
        """What the process of a step wrote to standard output and error, when it ran and how it ended."""
        return self.root / "logs" / f"{name}.log"

    def find(self, kind: str, key: str) -> Finished | None:
        """The finished step, or None if it is not there or damaged (then it is removed and a line is logged).

        Raises
        ------
        StoreError if it is there and cannot be read now: that is no reason to throw it away
        """
        folder = self.folder(kind, key)
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            values, seconds = dict(meta["values"]), float(meta["seconds"])
            if "digest" in meta and meta["digest"] != _meta_digest(meta):  # the first steps were written without
                raise ValueError("meta.json does not match its checksum")
            for name, digest in meta["files"].items():
                if _digest(folder / name) != digest:
                    raise ValueError(f"{name} does not match its checksum")
        except FileNotFoundError as error:
            if folder.exists():
                self._remove(folder, f"{Path(error.filename).name} is missing")
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._remove(folder, f"{type(error).__name__}: {error}")
            return None
        except OSError as error:
            raise StoreError(f"store {self.root}: {folder.name} cannot be read: {error.strerror or error}") from error
        return Finished(folder, values, seconds)

    def spent(self, kind: str, key: str) -> tuple[float, float | None] | None:
        """Wall and processor time of a finished step in seconds, its files not looked at; None if there is no such step.

        The processor time is None for a step of an emforce that did not record it.
        """
        try:
            meta = json.loads((self.folder(kind, key) / "meta.json").read_text(encoding="utf-8"))
            cpu = meta.get("cpu_seconds")
            return float(meta["seconds"]), None if cpu is None else float(cpu)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _remove(self, folder: Path, reason: str) -> None:
        """Take a damaged step away in one rename, so that nobody sees half of it, and note it in damaged.log."""
        try:
            with (self.root / "damaged.log").open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {folder.name}: {reason}; removed\n")
            aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=self.root / "partial"))
            os.replace(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            raise StoreError(f"store {self.root}: damaged {folder.name} cannot be removed: {error.strerror}") from error

    def run(self, kind: str, key: str, inputs: object, make: Callable[[Path, Path], Mapping[str, Any]]) -> Finished:
        """Return the finished step, computing it first if need be.

        `make(folder, log)` writes files into an empty folder and returns the small numbers.
        """
        done = self.find(kind, key)
        if done is not None:
            return done
        temporary: Path | None = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f"{kind}-{key}-", dir=self.root / "partial"))
            start, spent = time.monotonic(), os.times()
            values = dict(make(temporary, self.log(kind, key)))
            seconds, now = time.monotonic() - start, os.times()
            meta = {
                "kind": kind,
                "inputs": inputs,
                "values": values,
                "seconds": seconds,
                "cpu_seconds": sum(now[:4]) - sum(spent[:4]),
                "files": {p.name: _digest(p) for p in sorted(temporary.iterdir())},
            }
            # as it will be read: JSON turns tuples into lists and keys into text
            meta = json.loads(json.dumps(meta, default=_plain))
            (temporary / "meta.json").write_text(json.dumps(meta | {"digest": _meta_digest(meta)}), encoding="utf-8")
            target = self.folder(kind, key)
            try:
                os.replace(temporary, target)
            except OSError:
                if not (target / "meta.json").is_file():  # else another process finished the same step first
                    raise
        except OSError as error:
            ours = str(error.filename or "").startswith(str(self.root))
            if error.errno not in _DISK_ERRORS and not ours and " written" not in str(error):  # numpy gives no number
                raise  # not about the disk: a failure of the step itself
            raise StoreError(f"store {self.root}: {error.strerror or error}; make room or choose another folder") from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        found = self.find(kind, key)
        if found is None:
            raise StoreError(f"step {kind}-{key} was written but cannot be read back from {self.root}")
        return found


def _meta_digest(meta: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in meta.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_arrays(folder: Path, arrays: Arrays, name: str = "arrays.npz", *, packed: bool = False) -> None:
    """Write arrays into a step's folder; `packed`: compressed quickly, for arrays that are mostly zero."""
    if not packed:
        with (folder / name).open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        return
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
