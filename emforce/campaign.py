"""Computes steps and keeps account of it: what is in the store is not run again, what another campaign computes is waited for.

    with Campaign(store, Placement("local", 2, specs)) as campaign:
        failures = campaign.compute(steps)

Several calls of `compute` in one campaign share the workers, which start with the first step that must be run.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from emforce.claims import Beat, Claims, Owner, Pulse, owner_of
from emforce.errors import EmforceError, InputError, StoreError
from emforce.farm import run_tasks
from emforce.jobs import Step, execute
from emforce.ledger import (
    Journal,
    active_campaigns,
    failed_steps,
    forget_failure,
    remember_failure,
    remembered_failure,
    request_cancel,
)
from emforce.pools import Pool, Task, open_pool
from emforce.progress import Progress
from emforce.step_server import Failure
from emforce.store import Store

#: what the steps import: step servers load it once
PRELOAD = ("gpaw.new.ase_interface", "gpaw.lcao.tools", "emforce.dft", "emforce.jobs", "emforce.physics.wind")
#: another campaign's step is waited for so long, or ten times its expected duration if that is longer; then we run it too
ELSEWHERE_LIMIT = 3600.0
EXIT_CANCELLED = 3
EXIT_TERMINATED = 143


class CampaignCancelled(EmforceError):
    """Somebody asked the campaign to stop."""

    exit_code = EXIT_CANCELLED


@dataclass(frozen=True)
class Placement:
    """Where a campaign runs and for whom.

    Attributes
    ----------
    cluster : name of a shipped profile, or a TOML file
    workers : steps at the same time (batch systems: jobs); None for what the profile says
    specs : what is computed, for the list of campaigns
    """

    cluster: str = "local"
    workers: int | None = None
    specs: tuple[str, ...] = ()

    def check(self) -> None:
        """What can be known to be wrong before anything is written.

        Raises
        ------
        InputError for a profile or a number of workers that is not allowed, or that this machine cannot serve
        """
        from emforce.clusters import check_machine, load_profile, worker_count
        from emforce.ranked_scf import check_ranks

        profile = load_profile(self.cluster)
        worker_count(profile, self.workers)
        check_machine(profile)
        check_ranks(profile)


class Campaign:
    """Steps on workers, with their account.

    Parameters
    ----------
    store : finished steps, journal, claims, failures
    placement : checked here: a bad profile is known before anything runs
    run_step : what a step is run with, called with the step and the store's folder; importable

    Raises
    ------
    InputError for a profile or a number of workers that is not allowed
    """

    def __init__(self, store: Store, placement: Placement, run_step: Callable[[Step, str], object] = execute) -> None:
        from emforce.clusters import load_profile

        placement.check()
        self._profile = load_profile(placement.cluster)
        self._store, self._placement, self._run_step = store, placement, run_step
        self._stack = ExitStack()
        self._open: tuple[Journal, Claims, Pool] | None = None
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is None:
            return
        journal, claims, _ = self._open
        try:
            self._stack.close()  # workers end first: then nobody runs a step that others may claim
        finally:
            claims.release_all()
            journal.close(_end_of(error, self._failed))

    def _start(self) -> tuple[Journal, Claims, Pool]:
        if self._open is None:
            store = self._store
            try:
                store.remove_leftovers()
                journal = Journal(store.root, self._placement.specs)
                claims = Claims(store.root / "claims", journal.id, journal.owner)
                self._stack.callback(Beat(journal.beat).stop)
            except OSError as error:
                raise StoreError(f"store {store.root}: {error.strerror}; make room or choose another folder") from error
            try:
                self._stack.enter_context(_terminable())
                pool = self._stack.enter_context(open_pool(self._profile, self._placement.workers, PRELOAD))
            except BaseException:
                claims.release_all()
                journal.close("failed")
                raise
            where, dashboard, slots = pool.describe()
            journal.write({"event": "workers", "where": f"{self._profile.name}: {where}", "dashboard": dashboard, "slots": slots})
            print(f"campaign {journal.id}: {where}", file=sys.stderr)
            self._open = journal, claims, pool
        return self._open

    def compute(self, steps: Sequence[Step]) -> dict[str, str]:
        """Run what is not in the store, longest chains first; returns the reasons of failed steps by name.

        Of what the steps build on only what one that is not in the store needs: a finished step goes without what it was made
        from. A step that failed before for a reason that lies in its inputs (no convergence after all fallbacks, a value that is
        not allowed) is not tried again: `emforce retry` forgets it. Any other failure is.

        Raises
        ------
        StoreError when the disk is full; finished steps are kept
        CampaignCancelled, KeyboardInterrupt, SystemExit when somebody stops it
        EmforceError when there is no worker for too long
        """
        named, needs = _names(steps)
        found = {name for name, step in named.items() if self._store.find(step.kind, step.key) is not None}
        kept = found | _wanted([step.name for step in steps], needs, found)
        named = {name: step for name, step in named.items() if name in kept}
        needs = {name: tuple(need for need in needs[name] if need in kept) for name in named}
        old = {name: failure for name in named.keys() - found
               if (failure := remembered_failure(self._store.root, name)) is not None and failure.final}
        failures = _with_dependents(old, needs)
        titles = _titles(named)
        todo = sorted(named.keys() - found - failures.keys(), key=_urgency(named, needs))
        slots = 1
        if todo:
            journal, claims, pool = self._start()
            journal.plan((name, titles[name], step.seconds) for name, step in named.items())
            if found:
                journal.write({"event": "found", "steps": sorted(found)})
            slots = pool.describe()[2]
        with Progress([(titles[n], s.seconds) for n, s in named.items()], workers=slots) as progress:
            for name in named:
                if name in found:
                    progress.finish(titles[name], note="cached")
                elif name in failures:
                    progress.finish(titles[name], note=f"failed before: {failures[name]}; emforce retry to try again")
            if todo:
                account = _Account(self._store, journal, claims, progress, {n: (named[n], titles[n]) for n in named})
                for name, failure in failures.items():
                    account.record(name, failure, 0.0)
                tasks = {n: self._task(n, named[n], tuple(x for x in needs[n] if x not in found)) for n in todo}
                failures |= run_tasks(tasks, pool, account)
        self._failed = self._failed or bool(failures)
        full = next((f for f in failures.values() if f.cause == "disk"), None)
        if full is not None:
            raise StoreError(f"{full.reason}; nothing more was started, finished steps are kept")
        return {name: str(failure) for name, failure in failures.items()}

    def _task(self, name: str, step: Step, after: tuple[str, ...]) -> Task:
        return Task(self._run_step, (step, str(self._store.root)), after, getattr(step, "resources", "scf"), step.seconds,
                    self._store.output_log(name))


def _end_of(error: BaseException | None, failed: bool) -> str:
    if error is None:
        return "failed" if failed else "done"
    if isinstance(error, CampaignCancelled):
        return "cancelled"
    return "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the campaign as Ctrl-C does: batch systems and service managers send it first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        print("emforce: terminated; finished steps are kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _names(steps: Sequence[Step]) -> tuple[dict[str, Step], dict[str, tuple[str, ...]]]:
    """Steps by name, each after those that it needs; and the names of what each needs."""
    found: dict[str, Step] = {}
    needs: dict[str, tuple[str, ...]] = {}
    name_of: dict[int, str] = {}  # of each object: a name is a hash over all that the step builds on
    stack = [(step, False) for step in reversed(steps)]
    while stack:
        step, seen = stack.pop()
        if id(step) in name_of:
            continue
        if not seen:
            stack.append((step, True))
            stack += [(need, False) for need in step.needs.values()]
            continue
        name = name_of[id(step)] = step.name
        if name not in found:
            found[name] = step
            needs[name] = tuple(name_of[id(need)] for need in step.needs.values())
    return found, needs


def _wanted(asked: Sequence[str], needs: dict[str, tuple[str, ...]], found: set[str]) -> set[str]:
    """The steps asked for and what those that are not found build on. `needs` names each step after what it needs."""
    wanted = set(asked)
    for name in reversed(needs):
        if name in wanted and name not in found:
            wanted.update(needs[name])
    return wanted


def _titles(named: Mapping[str, Step]) -> dict[str, str]:
    """Titles that tell the steps apart."""
    count: dict[str, int] = {}
    for step in named.values():
        count[step.title] = count.get(step.title, 0) + 1
    return {n: s.title if count[s.title] == 1 else f"{s.title} [{n.rpartition('-')[2][:8]}]" for n, s in named.items()}


def _with_dependents(failures: Mapping[str, Failure], needs: Mapping[str, tuple[str, ...]]) -> dict[str, Failure]:
    """Those that cannot start because of failures are failures too. `needs` names each step after what it needs."""
    found = dict(failures)
    for name, wanted in needs.items():
        cause = next((n for n in wanted if n in found), None)
        if name not in found and cause is not None:
            found[name] = Failure(f"needs {cause}, which failed: {found[cause].reason}", "needs")
    return found


def _urgency(named: dict[str, Step], needs: Mapping[str, tuple[str, ...]]) -> Callable[[str], float]:
    """Minus the seconds from the start of a step to the end of the longest chain that waits for it."""
    after = dict.fromkeys(named, 0.0)
    for name in reversed(named):
        total = named[name].seconds + after[name]
        for need in needs[name]:
            after[need] = max(after[need], total)
    return lambda name: -(named[name].seconds + after[name])


class _Account:
    """Progress line, journal, claims and failures of the steps that run."""

    def __init__(self, store: Store, journal: Journal, claims: Claims, progress: Progress,
                 steps: Mapping[str, tuple[Step, str]]) -> None:
        self._store, self._journal, self._claims, self._progress = store, journal, claims, progress
        self._steps = steps
        self._pulse = Pulse()
        self._asked: dict[str, float] = {}
        self._elsewhere: set[str] = set()
        self._last_look = 0.0

    def claim(self, name: str) -> str:
        step, title = self._steps[name]
        if not self._claims.take(name):
            holder = self._claims.holder(name)
            if holder is None:
                return "elsewhere"  # given back just now: look again soon
            campaign, owner = holder
            since = self._asked.setdefault(name, time.monotonic())
            if time.monotonic() - since > max(ELSEWHERE_LIMIT, 10 * step.seconds):
                self._say(f"{title}: campaign {campaign} ({owner}) takes too long; run here too")
                return "mine"
            if self._pulse.lives(owner, self._journal.folder / f"{campaign}.beat"):
                if name not in self._elsewhere:
                    self._elsewhere.add(name)
                    self._say(f"{title}: being computed by campaign {campaign} ({owner}); waiting for it")
                return "elsewhere"
            self._claims.break_open(name, campaign)
            if not self._claims.take(name):
                return "elsewhere"
        # looked at after the claim: whoever held it before has finished, or will never
        if self._store.find(step.kind, step.key) is not None:
            return "done"
        self._store.remove_partial(name)
        return "mine"

    def begin(self, name: str, host: str, pid: int) -> None:
        self._progress.begin(self._steps[name][1])
        mine = self._journal.owner
        owner = None if not host else owner_of(pid) if host == mine.host else Owner(host, pid, host, 0)
        self._journal.write({"event": "running", "step": name, "owner": owner.document() if owner else None})

    def end(self, name: str, failure: Failure | None, seconds: float) -> None:
        title = self._steps[name][1]
        self._store.refresh()
        self.record(name, failure, seconds)
        note = "by another campaign" if seconds == 0 else ""
        self._progress.finish(title, note=note if failure is None else f"failed: {failure}")
        self._claims.release(name)

    def record(self, name: str, failure: Failure | None, seconds: float) -> None:
        """Into the journal, and for the next campaign."""
        root = self._store.root
        if failure is None:
            self._journal.write({"event": "done", "step": name, "seconds": round(seconds, 6)})
            forget_failure(root, name)
            self._store.remove_partial(name)  # of a worker that was lost
            return
        self._journal.write({"event": "waiting" if failure.cause == "needs" else "failed", "step": name,
                             "reason": failure.reason, "log": failure.log})
        if failure.cause == "needs":
            return
        self._store.remove_partial(name)
        try:
            remember_failure(root, name, self._steps[name][1], failure)
        except OSError:
            pass  # a full disk; the step is tried again, and fails again if it must

    def check(self) -> None:
        now = time.monotonic()
        if now - self._last_look < 1.0:
            return
        self._last_look = now
        if self._journal.cancelled:
            raise CampaignCancelled(f"campaign {self._journal.id} was cancelled; finished steps are kept, "
                                    "the same command goes on from there")

    def _say(self, text: str) -> None:
        print(f"emforce: {text}", file=sys.stderr)


def cancel(store: Store, campaign: str, wait_s: float = 60.0) -> list[str]:
    """Ask campaigns to stop ("" for the only one that runs) and wait for it; returns those that stopped.

    Raises
    ------
    InputError if none runs, or several do and none is named
    EmforceError if it has not stopped after `wait_s` seconds
    """
    active = {state.id: state for state in active_campaigns(store.root)}
    if not active:
        raise InputError("ID", campaign, "nothing: no campaign is running on this store")
    chosen = campaign or (next(iter(active)) if len(active) == 1 else "")
    if chosen not in active:
        raise InputError("ID", campaign, ", ".join(active))
    request_cancel(store.root, chosen)
    limit = time.monotonic() + wait_s
    while any(state.id == chosen for state in active_campaigns(store.root)):
        if time.monotonic() > limit:
            raise EmforceError(f"campaign {chosen} was asked to stop and has not after {wait_s:.0f} s ({active[chosen].owner})")
        time.sleep(0.3)
    return [chosen]


def retry(store: Store, names: Sequence[str] = ()) -> dict[str, tuple[str, Failure]]:
    """Forget failures, all or those of the named steps; returns title and reason of what will be tried again.

    Raises
    ------
    InputError for a step that has no failure
    """
    failed = failed_steps(store.root)
    for name in names:
        if name not in failed:
            raise InputError("STEP", name, ", ".join(failed) or "nothing: no step has failed")
    chosen = {name: failed[name] for name in failed if not names or name in names}
    for name in chosen:
        forget_failure(store.root, name)
    return chosen
