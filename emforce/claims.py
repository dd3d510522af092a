"""Which process computes a step: lock files that die with their owner, on one machine and across machines.

A claim is a hard link to the campaign's own file, named by the step: made in one go with its content, on NFS too, and on a
full disk. Its owner is alive while its
process is (asked of the kernel where it runs on this machine) or while the owner's beat file changes (asked of the file
system, for other machines, whose clocks need not agree with ours).
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: an owner writes its beat so often
BEAT_SECONDS = 5.0
#: an owner on another machine whose beat stands still for so long is dead
DEAD_SECONDS = 60.0


@dataclass(frozen=True)
class Owner:
    """A process, known across machines.

    Attributes
    ----------
    host, pid : for people
    machine : equal for two processes that can see each other's process id
    ticks : start of the process in clock ticks since boot: process ids come again
    """

    host: str
    pid: int
    machine: str
    ticks: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def owner_of(pid: int) -> Owner:
    """A process of this machine."""
    return Owner(socket.gethostname(), pid, _machine(), _ticks(pid) or 0)


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # containers of one machine do not see each other's processes
    except OSError:
        return socket.gethostname()


def _ticks(pid: int) -> int | None:
    """Start time of a process; 0 where that cannot be told; None if there is no such process, or a dead one."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if words[0] in "ZX" else int(words[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0


def is_here(owner: Owner) -> bool:
    """The owner runs, or ran, where we can look at it."""
    return owner.machine == _machine()


def process_lives(owner: Owner) -> bool:
    """For an owner of this machine: its process is there, and is the same one."""
    ticks = _ticks(owner.pid)
    return ticks is not None and (ticks == owner.ticks or 0 in (ticks, owner.ticks))


class Beat:
    """A file that changes while this process lives.

    Parameters
    ----------
    path : its file
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stop = threading.Event()
        path.touch()
        self._thread = threading.Thread(target=self._go, name="beat", daemon=True)
        self._thread.start()

    def _go(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:
                continue  # a file system that is away for a moment; the others wait DEAD_SECONDS

    def stop(self) -> None:
        """No more beats; the file stays, as it says when."""
        self._stop.set()
        self._thread.join()


class Pulse:
    """Tells whether owners live, from their process or from their beat as this process sees it change."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[float, float]] = {}

    def lives(self, owner: Owner, beat: Path) -> bool:
        """True while it is not known to be dead: beats of other machines are watched for DEAD_SECONDS first."""
        if is_here(owner):
            return process_lives(owner)
        try:
            changed = beat.stat().st_mtime
        except OSError:
            changed = 0.0
        if time.time() - changed > 20 * DEAD_SECONDS:  # beyond what clocks of one cluster differ by
            return False
        now = time.monotonic()
        last, since = self._seen.get(beat, (changed, now))
        if changed != last:
            since = now
        self._seen[beat] = (changed, since)
        return now - since < DEAD_SECONDS


def looks_alive(owner: Owner, beat: Path) -> bool:
    """The same at one glance, by the clocks, for showing only."""
    if is_here(owner):
        return process_lives(owner)
    try:
        return time.time() - beat.stat().st_mtime < DEAD_SECONDS
    except OSError:
        return False


class Claims:
    """The steps that are being computed.

    Parameters
    ----------
    folder : of the claim files, made if it is not there
    campaign : who claims
    owner : our process
    """

    def __init__(self, folder: Path, campaign: str, owner: Owner) -> None:
        self.folder = folder
        self._campaign = campaign
        self._mine: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._own = folder / f".{campaign}"
        self._own.write_text(json.dumps({"campaign": campaign, **owner.document()}), encoding="utf-8")

    def take(self, name: str) -> bool:
        """Claim a step; False if another has."""
        try:
            os.link(self._own, self.folder / name)
        except FileExistsError:
            return False
        self._mine.add(name)
        return True

    def holder(self, name: str) -> tuple[str, Owner] | None:
        """Campaign and process that hold a step; None if nobody does."""
        try:
            held = json.loads((self.folder / name).read_text(encoding="utf-8"))
            return str(held.pop("campaign")), Owner(**held)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return "", Owner("unknown", 0, "unknown", 0)  # damaged: nobody's

    def break_open(self, name: str, campaign: str) -> None:
        """Remove the claim of a dead campaign, and only that: another may have been faster and have claimed again."""
        aside = self.folder / f".{name}.{self._campaign}"
        try:
            os.rename(self.folder / name, aside)
        except FileNotFoundError:
            return
        try:
            taken = str(json.loads(aside.read_text(encoding="utf-8"))["campaign"])
        except (ValueError, KeyError, TypeError):
            taken = ""
        if taken != campaign:
            try:
                os.link(aside, self.folder / name)
            except FileExistsError:
                pass
        aside.unlink(missing_ok=True)

    def release(self, name: str) -> None:
        """Give a step back."""
        if name in self._mine:
            self._mine.discard(name)
            (self.folder / name).unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give all back, as far as the disk allows. Nothing can be claimed after that."""
        for path in [*(self.folder / name for name in self._mine), self._own]:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
        self._mine.clear()
