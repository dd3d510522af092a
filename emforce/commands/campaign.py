"""Subcommands about campaigns: status, retry, cancel."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .options import AddCommand, add_db, add_store

if TYPE_CHECKING:
    from ..ledger import CampaignState, StepState

#: seconds between two looks of `status --watch`
WATCH_SECONDS = 2.0
#: steps of a kind that are shown before the rest is only counted
SHOWN = 20


def register(add: AddCommand) -> None:
    """Add the subcommands of this file."""
    status = add("status", _status, "What is done, running, failed and waiting, and how long the rest will take.")
    status.add_argument("--campaign", metavar="ID", help="this one (default: those that run, else the latest)")
    status.add_argument("--watch", action="store_true", help="again and again while a campaign runs")
    add_store(status)
    add_db(status)

    retry = add("retry", _retry, "Forget failures: the next `run` tries those steps again, whatever the reason was.")
    retry.add_argument("step", nargs="*", metavar="STEP", help="names as `status` shows them (default: all that failed)")
    add_store(retry)

    cancel = add("cancel", _cancel, "Stop a running campaign: its steps are ended, what is finished is kept.")
    cancel.add_argument("id", nargs="?", default="", metavar="ID", help="campaign (default: the only one that runs)")
    add_store(cancel)


def _status(options: argparse.Namespace) -> int:
    if options.watch:
        return _watch(options)
    for line in _campaign_lines(options.store, options.campaign):
        print(line)
    from .. import workflow
    from ..database import Database
    from ..errors import StoreError

    for line in workflow.status(options.store):
        print(line)
    try:
        with Database(options.db) as database:
            counts = database.counts()
            print(f"{database.name}: {sum(counts.values())} records", end="")
            print(f" ({', '.join(f'{n} {status}' for status, n in sorted(counts.items()))})" if counts else "")
    except StoreError as error:
        print(error)
    return 0


def _watch(options: argparse.Namespace) -> int:
    before: list[str] = []
    while True:
        lines = _campaign_lines(options.store, options.campaign)
        if sys.stdout.isatty():
            print("\033[H\033[2J" + "\n".join(lines), flush=True)
        elif lines != before:
            print("\n".join(lines), flush=True)
        before = lines
        if not _chosen(options.store, options.campaign)[1]:
            return 0
        time.sleep(WATCH_SECONDS)


def _chosen(store: Path, campaign: str | None) -> tuple[list[CampaignState], bool]:
    """Campaigns to be shown, and whether one of them runs."""
    from ..ledger import active_campaigns, campaign_ids, read_campaign

    if campaign is not None:
        states = [read_campaign(store, campaign)]
    else:
        states = active_campaigns(store)
        if not states:
            states = [read_campaign(store, latest) for latest in campaign_ids(store)[-1:]]
    return states, any(state.alive for state in states)


def _campaign_lines(store: Path, campaign: str | None) -> list[str]:
    found: list[str] = []
    for state in _chosen(store, campaign)[0]:
        found += campaign_lines(state)
    return found


def campaign_lines(state: CampaignState) -> list[str]:
    """A campaign for people."""
    from ..progress import clock_text

    if state.alive:
        how = f"running on {state.owner} since {_clock(state.started)}"
    elif state.end:
        how = f"{state.end} at {_clock(state.ended)}"
    else:
        how = f"lost: its process {state.owner} is gone; the same command goes on"
    lines = [f"campaign {state.id}: {how}", f"  command    {state.command}"]
    if state.where and state.alive:
        lines.append(f"  workers    {state.where}")
    done = state.named("done")
    cached = sum(1 for step in done.values() if not step.seconds)
    took = sum(step.seconds for step in done.values())
    lines.append(f"  done       {len(done)} of {len(state.steps)} ({cached} found in the store; {clock_text(took)} of work)")
    for name in ("running", "lost", "cancelled"):
        lines += _listed(name, state.named(name))
    failed = state.named("failed")
    for name, step in list(failed.items())[:SHOWN]:
        lines += [f"  failed     {step.title}: {step.reason}", f"             {name}; log {step.log or 'none'}"]
    lines += [f"  failed     and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    waiting = state.named("waiting")
    blocked = sum(1 for step in waiting.values() if step.reason)
    cannot = f" ({blocked} of them need a step that failed)" if blocked else ""
    lines.append(f"  waiting    {len(waiting)}{cannot}")
    if state.alive:
        lines.append(f"  remaining  about {clock_text(state.remaining_s)}")
    return lines


def _listed(label: str, steps: dict[str, StepState]) -> list[str]:
    from ..progress import clock_text

    lines = []
    for step in list(steps.values())[:SHOWN]:
        where = f" on {step.owner}" if step.owner else ""
        so_far = f" ({clock_text(time.time() - step.since)} of about {clock_text(step.expected)})" if label == "running" else ""
        again = ": its process is gone" if label == "lost" else ""
        lines.append(f"  {label:9s}  {step.title}{where} since {_clock(step.since)}{so_far}{again}")
    return lines + ([f"  {label:9s}  and {len(steps) - SHOWN} more"] if len(steps) > SHOWN else [])


def _clock(seconds: float) -> str:
    """Local time, with the date if it is not today's."""
    at = time.localtime(seconds)
    today = at[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", at)


def _retry(options: argparse.Namespace) -> int:
    from ..campaign import retry
    from ..store import Store

    forgotten = retry(Store(options.store), options.step)
    for name, (title, failure) in forgotten.items():
        print(f"{title}: {failure.reason}\n  {name}: forgotten, the next run tries it again")
    if not forgotten:
        print(f"{options.store}: no step has failed")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from ..campaign import cancel
    from ..store import Store

    for campaign in cancel(Store(options.store), options.id):
        print(f"campaign {campaign} has stopped; finished steps are kept, the same command goes on")
    return 0
