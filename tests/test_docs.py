"""The documentation names every field of the presets, and its commands are ones that the program understands."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
from workflow_files import loaded

from emforce.assess import BASIS_MISPLACEMENT, GEOMETRY_SLOPE, UNRELAXED_MISPLACEMENT
from emforce.cli import _parser
from emforce.commands.options import overrides
from emforce.errors import InputError
from emforce.record import SIGMA_PARTS
from emforce.settings import _SECTIONS, load_settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("workflows/*.md"), *ROOT.glob("structures/*.md")])
FIELDS = [f"{section}.{field.name}" for section, kind in _SECTIONS.items() for field in fields(kind)]
#: a command: the program's name where a line or a piece of code begins, up to its end
COMMAND = re.compile(r"(?:^\s{4,}(?:\$ )?|^(?:\$ )?|`)((?:\.venv/bin/)?emforce [a-z][^`\n]*)", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        if page.is_file():
            text = page.read_text(encoding="utf-8").replace("\\\n", " ")
            found += [(page.name, line.strip()) for line in COMMAND.findall(text)]
    return found


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_presets_is_explained(field):
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `{re.escape(field)}` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert len(rows) == 1, f"docs/presets.md needs one row for {field}: | `{field}` | unit | meaning |"
    unit = rows[0][0]
    for suffix, name in (("_eV", "eV"), ("_per_A", "eV/Å"), ("_A", "Å")):
        assert not field.endswith(suffix) or unit == name or (suffix == "_A" and field.endswith("_per_A"))


def test_no_field_is_explained_that_is_not_there():
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+\.\w+)` \|", page, re.MULTILINE))
    assert named <= set(FIELDS)


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_in_the_documentation_parse(page, line):
    words = shlex.split(line, comments=True)
    for stop in ("|", ">", ">>", "&&", ";"):
        if stop in words:
            words = words[: words.index(stop)]
    arguments = [word for word in words[1:] if word not in ("...", "…")]
    if len(arguments) == 1 and arguments[0] in ("build", "relax", "run"):
        return  # the name of the subcommand in a sentence
    if "--help" in arguments:
        return
    options = _parser().parse_args(arguments)
    if hasattr(options, "preset"):
        load_settings(options.preset, overrides(options.set))
    for path in getattr(options, "spec", []):
        shown = str(path)
        if shown.startswith("structures/") and "*" not in shown:
            assert (ROOT / shown).is_file(), f"{page}: {line}"


def test_every_part_of_sigma_is_explained_with_the_numbers_in_use():
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    for part in (*SIGMA_PARTS, "path"):
        assert len(re.findall(rf"^\| `{part}` \|", page, re.MULTILINE)) == 1, part
    (row,) = re.findall(r"^\| `geometry` \| (.*) \|$", page, re.MULTILINE)
    for number in (f"{GEOMETRY_SLOPE:g} µΩ cm per Å", f"{UNRELAXED_MISPLACEMENT:g} Å", f"{BASIS_MISPLACEMENT:g} Å"):
        assert number in row


def test_files_named_in_the_documentation_are_there():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`((?:emforce|workflows|docs|benchmarks|tests)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_commands_are_found():
    assert any(line.startswith("emforce run") for _, line in commands())


def test_exports_in_the_documentation_are_those_of_the_shipped_database(monkeypatch):
    monkeypatch.chdir(ROOT)
    text, commands_run = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8"), []
    tool = loaded("refresh_examples")

    def run(command):
        commands_run.append(command)
        return tool.output_of(command)

    assert tool.refreshed(text, run) == text, "run workflows/refresh_examples.py"
    number = re.search(r"z_star = (-?\d+\.\d\d)", text)[1]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    put_right = tool.refreshed(text.replace(number, wrong), run)
    assert f"z_star = {number}" in put_right and f"z_star = {wrong}" not in put_right
    shown = {re.search(r"--to (\w+)|$", line)[1] for line in commands_run}
    assert shown >= {"csv", "emspice", "moose", "festim", "lammps", "kmc", "onsager"}


def test_an_example_takes_the_present_output():
    commands = "    emforce export a\n    emforce export \\\n        b\n"
    page = f"Words.\n\n{commands}\n```text\n# ...\nz = 1.5 m\n- 7 and a long...\n```\nWords.\n"
    ran = []

    def run(command):
        ran.append(command.split())
        return ["head", "z = -2.25 m", "y = 1", "- 8 and another line", "end"]

    tool = loaded("refresh_examples")
    new = tool.refreshed(page, run)
    assert ran == [["emforce", "export", "b"]]
    assert new == page.replace("z = 1.5 m", "z = -2.25 m").replace("- 7 and a long...", "- 8 and anothe...")
    assert tool.refreshed(new, run) == new
    with pytest.raises(InputError, match="example: 'z = 1.5 m'"):
        tool.refreshed(page, lambda command: ["x = 1"])


@pytest.mark.parametrize("line, other, cut, same", [
    ("z = -14.45903922340589 +- 2.5 [row 796]", "z = -14.459039223405885 +- 2.5 [row 796]", False, True),
    ("z = -14.4590392 +- 2.5", "z = -14.4590393 +- 2.5", False, False),
    ("row 796", "row 797", False, False),
    ("a 1.5", "b 1.5", False, False),
    ("a 1.5", "a 1.5, 2.5", False, False),
    ("0123456789abcdef0", "0123456789abcdef1", False, False),
    ("a 1.25, 3.41...", "a 1.25, 3.4...", True, True),
    ("a 1.25, 3.41...", "a 1.26, 3.41...", True, False),
    ("a 7 and a long...", "a 8 and a long...", True, False),
    ("a 7 and a lo...", "a 7 and a lon...", True, True),
])
def test_lines_of_two_processors_are_alike_but_for_the_last_digit(line, other, cut, same):
    assert loaded("refresh_examples").alike(line, other, cut) == same
