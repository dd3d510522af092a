from __future__ import annotations

import io
import threading

import pytest

from emforce.progress import Progress, clock_text


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_per_finished_step_off_a_terminal():
    clock, out = Clock(), io.StringIO()
    with Progress([("a", 10), ("b", 20), ("c", 30)], stream=out, clock=clock) as progress:
        assert progress.remaining_s == 60
        with progress.step("a"):
            clock.now = 20.0  # twice as long as expected: so will be the others
        progress.finish("b", note="cached")
        with progress.step("c"):
            clock.now = 50.0
            assert progress.remaining_s == pytest.approx(60 - 30)
            clock.now = 80.0
    assert out.getvalue().splitlines() == [
        "step 1/3  a   elapsed 0:20  remaining 1:40",
        "step 2/3  b (cached)   elapsed 0:20  remaining 1:00",
        "step 3/3  c   elapsed 1:20  remaining 0:00",
    ]


def test_one_updating_line_on_a_terminal():
    out = Terminal()
    with Progress([("a", 1), ("b", 1)], stream=out) as progress:
        with progress.step("a"):
            pass
        with progress.step("b"):
            pass
    text = out.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    assert all(line.startswith("\033[K") for line in text.split("\r")[1:])
    assert "step 1/2  a" in text and "step 2/2  b" in text


def test_a_failed_step_says_so_and_lets_the_error_pass():
    out = io.StringIO()
    progress = Progress([("a", 1)], stream=out)
    with pytest.raises(ValueError), progress.step("a"):
        raise ValueError
    assert "a (failed)" in out.getvalue()


def test_steps_of_several_threads_and_unplanned_ones():
    out = io.StringIO()
    progress = Progress([(f"s{i}", 1) for i in range(20)], stream=out, workers=4)

    def work(first: int) -> None:
        for i in range(first, 20, 4):
            with progress.step(f"s{i}"):
                pass

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.finish("more")
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == [f"{i}/20" for i in range(1, 21)] + ["21/21"]
    assert progress.remaining_s == 0


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (59.6, "1:00"), (400, "6:40"), (3725, "1:02:05"), (-1, "0:00")]
)
def test_clock_text(seconds, text):
    assert clock_text(seconds) == text
