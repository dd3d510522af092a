"""Put the present output of the commands of docs/exports.md into that page.

    .venv/bin/python workflows/refresh_examples.py [--check]

A command is an indented line `emforce export ...`, with its continuation lines; the fenced block after it shows lines of its
output in their order, "..." for those left out, and "..." at the end of a line that is cut. Each shown line becomes the next line
of the output that begins alike up to its first number or hash, and stays as it is where that has the same words and hashes and
numbers within 1e-9 of its own: processors differ in the last digit. `--check` writes nothing and exits with 2 where the page is
not up to date.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from emforce.cli import main as emforce
from emforce.errors import InputError
from emforce.recipe import ended

PAGE = Path(__file__).parent.parent / "docs" / "exports.md"
#: commands, what stands between the last of them and the block, and the block
EXAMPLE = re.compile(r"(?P<commands>(?:^    [^\n]*\n)+)(?P<open>\n+```\w+\n)(?P<shown>.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
#: a number or a hash, which two versions of a line do not have in common, and how many characters before it they must share
NUMBER = re.compile(r"-?\d|\b[0-9a-f]{16,}\b")
SHARED = 28
#: a hash or a number, whole
VALUE = re.compile(r"\b[0-9a-f]{16,}\b|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
LEFT_OUT = re.compile(r"^\W*\.\.\.$")


def output_of(command: str) -> list[str]:
    """Lines that a command prints; its one line of error where it refuses."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        emforce(shlex.split(command)[1:])
    return (out.getvalue() or error.getvalue()).splitlines()


def refreshed(text: str, run: Callable[[str], list[str]] = output_of) -> str:
    """The page with the present output of its commands.

    Raises
    ------
    InputError : a line that the output of its command does not have any more
    """

    def block(found: re.Match[str]) -> str:
        command = found["commands"].replace("\\\n", " ").strip().splitlines()[-1].strip()
        if not command.startswith("emforce export"):
            return found[0]
        lines = iter(run(command))
        shown = [_present(line, lines, command) for line in found["shown"].splitlines()]
        return found["commands"] + found["open"] + "".join(f"{line}\n" for line in shown)

    return EXAMPLE.sub(block, text)


def _present(shown: str, lines: Iterator[str], command: str) -> str:
    if LEFT_OUT.match(shown):
        return shown
    cut = shown.endswith("...")
    for line in lines:
        if _beginning(line) == _beginning(shown):
            present = line[: len(shown) - 3] + "..." if cut else line.rstrip()
            return shown if alike(shown, present, cut) else present
    raise InputError("example", shown, f"a line of what this prints: {command}")


def alike(line: str, other: str, cut: bool = False) -> bool:
    """Whether two lines have the same words, and numbers to 1e-9 of their size; a word at the end of cut ones may be half."""
    if cut:
        line, other = (re.sub(r"[-+.\w]*$", "", one.removesuffix("...")) for one in (line, other))
    values, others = VALUE.findall(line), VALUE.findall(other)
    return VALUE.split(line) == VALUE.split(other) and all(
        a == b or ("." in a and "." in b and math.isclose(float(a), float(b), rel_tol=1e-9))
        for a, b in zip(values, others, strict=True))


def _beginning(line: str) -> str:
    return NUMBER.split(line, maxsplit=1)[0][:SHARED].rstrip()


def main() -> int:
    """Refresh the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 2 where the page is not up to date")
    options = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    new = refreshed(text)
    if not options.check:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        raise InputError("docs/exports.md", "other lines than its commands print", "run workflows/refresh_examples.py")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main, "refresh_examples"))
