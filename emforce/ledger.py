"""What a campaign did, on disk: a journal that only its own process writes, failed steps, requests to stop.

    campaigns/ID.jsonl    one line per event, appended: plan, running, done, failed, end. A line that was torn by kill -9 or a
                          full disk is passed over; nobody else ever writes to it, so no lock is needed on any file system
    campaigns/ID.beat     changes while the campaign's process lives
    campaigns/ID.cancel   there when somebody asked it to stop
    failed/STEP.json      why a step failed the last time, until it succeeds or `emforce retry`

All of it is for showing and for deciding what to try again; what is finished is what lies in steps/ (emforce.store).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emforce.claims import Owner, is_here, looks_alive, owner_of, process_lives
from emforce.errors import InputError
from emforce.progress import remaining_seconds
from emforce.step_server import Failure

STATES = ("waiting", "running", "done", "failed", "cancelled", "lost")


@dataclass
class StepState:
    """A step of a campaign as the journal tells it.

    Attributes
    ----------
    title, expected : from the plan; seconds
    state : one of STATES
    since : time of the last change, seconds since 1970
    owner : process that runs or ran it, None if that is not known
    seconds : that it took; 0 if it was found in the store
    reason, log : of a failure
    """

    title: str
    expected: float
    state: str = "waiting"
    since: float = 0.0
    owner: Owner | None = None
    seconds: float = 0.0
    reason: str = ""
    log: str = ""


@dataclass
class CampaignState:
    """A campaign as its journal tells it.

    Attributes
    ----------
    end : "" while it has not said how it ended
    alive : its process is there
    where : workers, in words
    slots : steps at the same time
    """

    id: str
    command: str
    specs: tuple[str, ...]
    started: float
    owner: Owner
    where: str = ""
    dashboard: str = ""
    slots: int = 1
    end: str = ""
    ended: float = 0.0
    alive: bool = False
    steps: dict[str, StepState] = field(default_factory=dict)

    def named(self, state: str) -> dict[str, StepState]:
        """Steps in a state."""
        return {name: step for name, step in self.steps.items() if step.state == state}

    @property
    def remaining_s(self) -> float:
        """Expected seconds until all that can be done is done."""
        done = [s for s in self.steps.values() if s.state == "done" and s.seconds > 0]
        running = [(s.expected, time.time() - s.since) for s in self.named("running").values()]
        return remaining_seconds(
            sum(s.expected for s in done), sum(s.seconds for s in done),
            sum(s.expected for s in self.named("waiting").values()), running, self.slots)


class Journal:
    """Writes the journal of a campaign that begins now.

    Parameters
    ----------
    root : the store
    specs : what it was asked to compute
    """

    def __init__(self, root: Path, specs: Sequence[str]) -> None:
        now = time.time()
        # the fraction of the second, so that names sort by time
        self.id = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{int(now % 1 * 0x10000):04x}"
        self.owner = owner_of(os.getpid())
        self.folder = root / "campaigns"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.beat = self.folder / f"{self.id}.beat"
        self._file = os.open(self.folder / f"{self.id}.jsonl", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)
        self._complained = False
        program = Path(sys.argv[0]).name
        self.write({"event": "start", "campaign": self.id, "command": " ".join([program, *sys.argv[1:]]),
                    "specs": list(specs), "owner": self.owner.document()})

    def write(self, event: Mapping[str, Any]) -> None:
        """Append an event. A disk that takes no line costs the line: the campaign does not hang on its table."""
        # the line begins with a line end, so that a torn one before it spoils nothing
        text = f"\n{json.dumps({'t': round(time.time(), 2), **event})}\n"
        try:
            os.write(self._file, text.encode())
        except OSError as error:
            if not self._complained:
                print(f"emforce: the journal {self.folder / self.id}.jsonl cannot be written: {error.strerror}; "
                      "emforce status will know less", file=sys.stderr)
            self._complained = True

    def plan(self, steps: Iterable[tuple[str, str, float]]) -> None:
        """(name, title, expected seconds) of steps to come."""
        self.write({"event": "plan", "steps": list(steps)})

    @property
    def cancelled(self) -> bool:
        """Somebody asked this campaign to stop."""
        return (self.folder / f"{self.id}.cancel").exists()

    def close(self, end: str) -> None:
        """Say how it ended."""
        self.write({"event": "end", "end": end})
        os.close(self._file)


def campaign_ids(root: Path) -> list[str]:
    """All campaigns of a store, the latest last."""
    return sorted(path.stem for path in (Path(root) / "campaigns").glob("*.jsonl"))


def read_campaign(root: Path, campaign: str) -> CampaignState:
    """What the journal says, and whether its process is still there.

    Raises
    ------
    InputError if there is no such campaign
    """
    path = Path(root) / "campaigns" / f"{campaign}.jsonl"
    events = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        raise InputError("--campaign", campaign, ", ".join(campaign_ids(root)[-5:]) or "nothing: no campaign yet") from None
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue  # blank, or torn
    state = _begin(campaign, events)
    for event in events:
        _apply(state, event)
    state.alive = not state.end and looks_alive(state.owner, path.with_suffix(".beat"))
    for step in state.named("running").values():
        gone = step.owner is not None and is_here(step.owner) and not process_lives(step.owner)
        if state.end in ("cancelled", "interrupted"):
            step.state = "cancelled"
        elif not state.alive or (gone and time.time() - step.since > 5.0):
            step.state = "lost"
    return state


def _begin(campaign: str, events: Sequence[Mapping[str, Any]]) -> CampaignState:
    first = next((e for e in events if e.get("event") == "start"), None)
    if first is None:  # its first line was torn: the disk was full when it began
        return CampaignState(campaign, "unknown command", (), 0.0, Owner("unknown", 0, "unknown", 0))
    return CampaignState(campaign, first["command"], tuple(first["specs"]), first["t"], Owner(**first["owner"]))


def _apply(state: CampaignState, event: Mapping[str, Any]) -> None:
    kind = event.get("event")
    if kind == "workers":
        state.where, state.dashboard, state.slots = event["where"], event["dashboard"], event["slots"]
    elif kind == "plan":
        for name, title, expected in event["steps"]:
            state.steps.setdefault(name, StepState(title, expected))
    elif kind == "found":
        for name in event["steps"]:
            if name in state.steps:
                state.steps[name].state = "done"
    elif kind == "end":
        state.end, state.ended = event["end"], event["t"]
    elif event.get("step") in state.steps:
        step = state.steps[event["step"]]
        step.state, step.since = str(kind), event["t"]
        step.seconds = float(event.get("seconds", 0.0))
        step.reason, step.log = event.get("reason", ""), event.get("log", "")
        if event.get("owner"):
            step.owner = Owner(**event["owner"])


def active_campaigns(root: Path) -> list[CampaignState]:
    """Campaigns whose process is there."""
    found = []
    for campaign in campaign_ids(root):
        head = read_head(root, campaign)
        if head is not None and looks_alive(head, Path(root) / "campaigns" / f"{campaign}.beat"):
            state = read_campaign(root, campaign)
            if state.alive:
                found.append(state)
    return found


def read_head(root: Path, campaign: str) -> Owner | None:
    """Process of a campaign, from the first line of its journal."""
    try:
        with (Path(root) / "campaigns" / f"{campaign}.jsonl").open(encoding="utf-8") as stream:
            line = next((line for line in stream if line.strip()), "")
        return Owner(**json.loads(line)["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def request_cancel(root: Path, campaign: str) -> None:
    """Ask a campaign to stop; it looks every second."""
    (Path(root) / "campaigns" / f"{campaign}.cancel").touch()


# failures


def _failures(root: Path) -> Path:
    return Path(root) / "failed"


def remember_failure(root: Path, name: str, title: str, failure: Failure) -> None:
    """Keep why a step failed, in one rename."""
    folder = _failures(root)
    folder.mkdir(exist_ok=True)
    temporary = folder / f".{name}.{os.getpid()}"
    temporary.write_text(json.dumps({"title": title, "t": time.time(), **asdict(failure)}), encoding="utf-8")
    os.replace(temporary, folder / f"{name}.json")


def remembered_failure(root: Path, name: str) -> Failure | None:
    """Why a step failed the last time; None if it did not."""
    try:
        kept = json.loads((_failures(root) / f"{name}.json").read_text(encoding="utf-8"))
        return Failure(kept["reason"], kept["cause"], kept["log"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_failure(root: Path, name: str) -> None:
    """It went well."""
    (_failures(root) / f"{name}.json").unlink(missing_ok=True)


def failed_steps(root: Path) -> dict[str, tuple[str, Failure]]:
    """Title and failure of every step that failed the last time."""
    found = {}
    for path in sorted(_failures(root).glob("[!.]*.json")):
        failure = remembered_failure(root, path.stem)
        if failure is not None:
            found[path.stem] = (str(json.loads(path.read_text(encoding="utf-8")).get("title", path.stem)), failure)
    return found
