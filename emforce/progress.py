"""Progress of a run on the screen: which step, how long it took so far, how long the rest will take.

On a terminal one line is updated each second; elsewhere (a file, a batch job) a line is written per finished
step:

    step 5/23  Cu(100) initial: displaced -x   elapsed 2:13  remaining 6:40
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO


def remaining_seconds(expected_done: float, seconds_done: float, expected_waiting: float,
                      running: Iterable[tuple[float, float]], workers: int) -> float:
    """Expected seconds until all is done.

    What is left, scaled by how long finished steps took against what was expected of them, shared among the workers.

    Parameters
    ----------
    expected_done, seconds_done : sums over the finished steps
    expected_waiting : sum over those that have not begun
    running : (expected, so far) seconds of those under way
    workers : steps that run at the same time
    """
    scale = seconds_done / expected_done if expected_done > 0 else 1.0
    left = scale * expected_waiting + sum(max(scale * expected - so_far, 0.0) for expected, so_far in running)
    return left / max(workers, 1)


class Progress:
    """Named steps with expected durations. Thread-safe: several steps may be under way at once.

    Parameters
    ----------
    steps : (name, expected seconds) of each; more can be planned later
    stream : where to write; default standard error
    workers : steps that run at the same time, for the estimate before the first is done
    clock : seconds, monotonic

    The remaining time is the expected time of what is left, scaled by how long finished steps took against
    what was expected of them. Steps found in the store ("cached") cost nothing and do not count in that
    scale.
    """

    def __init__(
        self,
        steps: Iterable[tuple[str, float]] = (),
        *,
        stream: TextIO | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._workers = max(1, workers)
        self._clock = clock
        self._start = clock()
        self._expected: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._finished: set[str] = set()
        self._waiting = 0.0  # expected seconds of steps neither begun nor finished
        self._expected_done = 0.0
        self._seconds_done = 0.0
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self.plan(steps)

    def plan(self, steps: Iterable[tuple[str, float]]) -> None:
        """Add steps to those expected; a step already known keeps its place."""
        with self._lock:
            for name, seconds in steps:
                if name not in self._expected:
                    self._expected[name] = max(float(seconds), 0.0)
                    self._waiting += self._expected[name]

    def begin(self, name: str) -> None:
        """A step starts."""
        with self._lock:
            self._leave_waiting(name)
            self._begun[name] = self._clock()
            if self._terminal:
                self._draw(name)

    def finish(self, name: str, *, note: str = "") -> None:
        """A step is done; note: "cached", "failed", ... is shown in brackets."""
        with self._lock:
            self._leave_waiting(name)
            now = self._clock()
            begun = self._begun.pop(name, now)
            self._finished.add(name)
            if not note and self._expected[name] > 0:
                self._expected_done += self._expected[name]
                self._seconds_done += now - begun
            if self._terminal:
                self._draw(name)
            else:
                self._write(self._line(f"{name} ({note})" if note else name) + "\n")

    def _leave_waiting(self, name: str) -> None:
        expected = self._expected.setdefault(name, 0.0)
        if name not in self._begun and name not in self._finished:
            self._waiting = max(self._waiting - expected, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """`begin` and `finish` around a block; an error marks the step as failed and goes on its way."""
        self.begin(name)
        try:
            yield
        except BaseException:
            self.finish(name, note="failed")
            raise
        self.finish(name)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining_s(self) -> float:
        """Expected seconds until the last planned step is done."""
        with self._lock:
            now = self._clock()
            running = [(self._expected[name], now - begun) for name, begun in self._begun.items()]
            return remaining_seconds(self._expected_done, self._seconds_done, self._waiting, running, self._workers)

    def close(self) -> None:
        """End the updating line."""
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        with self._lock:
            if self._terminal and self._expected:
                self._write("\n")

    def __enter__(self) -> Self:
        if self._terminal:
            self._stop.clear()
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tick(self) -> None:
        while not self._stop.wait(1.0):
            with self._lock:
                self._draw()

    def _draw(self, name: str = "") -> None:
        shown = next(iter(self._begun), name)
        if shown:
            width = shutil.get_terminal_size().columns - 1  # a wrapped line could not be drawn over
            self._write(f"\r\033[K{self._line(shown)[:width]}")

    def _line(self, name: str) -> str:
        number = min(len(self._finished) + bool(self._begun and self._terminal), len(self._expected))
        times = f"elapsed {clock_text(self.elapsed_s)}  remaining {clock_text(self.remaining_s)}"
        return f"step {number}/{len(self._expected)}  {name}   {times}"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def clock_text(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    whole = round(max(seconds, 0.0))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
