"""`emforce export`: JSON against its schema, CSV, YAML, what every file carries, refusals, files written whole or not."""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import shlex
import stat
from importlib import resources
from pathlib import Path

import export_rows
import jsonschema
import pytest
import synthetic
import yaml
from export_rows import export, refused

from emforce import cli
from emforce.database import Database
from emforce.errors import InputError
from emforce.export.documents import schema
from emforce.export.formats import FORMATS, check
from emforce.export.formats import export as to_text
from emforce.export.parameters import ascii_text
from emforce.export.request import NAMES, Request, Stated, parse_stated
from emforce.keys import KEYS
from emforce.models.parameters import NAMES as MODEL_NAMES
from emforce.query import Question, select

WHOLE = "metal=Cu facet=bulk -T 600"
#: a command for each format that works with the made-up rows, and the mark of its comments
COMMANDS = {
    "json": (f"{WHOLE} --best", ""), "yaml": (f"{WHOLE} --best", ""), "csv": (f"{WHOLE} --best", "#"),
    "emspice": (f"{WHOLE} --set 'modulus_GPa=100 # a test'", "#"), "migrationfem": (WHOLE, "!"),
    "moose": (f"{WHOLE} --set 'gamma_J_m2=1.5±0.1 # a test'", "#"), "festim": (WHOLE, "#"), "lammps": (WHOLE, "#"),
    "kmc": (f"{WHOLE} --current-MA-cm2 10", "#"), "onsager": (WHOLE, "#"),
}  # fmt: skip


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    return export_rows.write(tmp_path_factory.mktemp("export") / "emforce.db")


@pytest.fixture(scope="module")
def shipped():
    return json.loads(resources.files("emforce").joinpath("data", "export.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator(shipped):
    jsonschema.Draft202012Validator.check_schema(shipped)
    return jsonschema.Draft202012Validator(shipped)


def rows_of(db, *filters, **question):
    with Database(db) as database:
        return select(database, filters, Question(**question)).rows


def test_the_shipped_schema_is_that_of_the_keys(shipped):
    assert shipped == schema()


@pytest.mark.parametrize("command", [
    "", "metal=W -T 300 600.5", "--best -T 600 --direct-model nominal --wire-diameter-nm 5 --reflection 0.3",
    "metal=Cu --set barrier_eV=0.69±0.02 --set 'Cu.nu0_THz=3 # another' --source 'a test'",
])
def test_json_meets_the_schema(capsys, db, validator, command):
    found = json.loads(export(capsys, db, command))
    validator.validate(found)
    assert found["rows"] and set(found["keys"]) == {key.name for key in KEYS}


def test_the_schema_refuses(capsys, db, validator):
    found = json.loads(export(capsys, db, "metal=W facet=110 site=initial --set 'barrier_eV=1 # a test'"))
    validator.validate(found)
    for spoil in (
        lambda d: d.pop("query"), lambda d: d["rows"][0].pop("z_star"), lambda d: d["rows"][0].update(z_star="3"),
        lambda d: d["keys"]["k_wind_uohm_cm"].update(unit="ohm m"), lambda d: d["keys"]["z_star"].update(sign=""),
        lambda d: d.update(more=1), lambda d: d["stated"][0].update(source=""), lambda d: d["query"].update(temperatures_K=[-1]),
        lambda d: d.update(schema="urn:emforce:export:0"), lambda d: d["rows"][0].update(provenance="none"),
    ):  # fmt: skip
        spoiled = copy.deepcopy(found)
        spoil(spoiled)
        assert not validator.is_valid(spoiled)


def test_floats_read_back_as_they_were(capsys, db):
    expected = rows_of(db, "metal=Cu", temperatures_K=(600.0,))
    command = "metal=Cu -T 600"
    assert json.loads(export(capsys, db, command))["rows"] == expected
    assert yaml.safe_load(export(capsys, db, f"{command} --to yaml"))["rows"] == expected
    text = export(capsys, db, f"{command} --to csv")
    plain = [line for line in text.splitlines() if not line.startswith("#")]
    for row, line in zip(expected, csv.DictReader(io.StringIO("\n".join(plain))), strict=True):
        for key in KEYS:
            cell, value = line[key.name], row[key.name]
            assert (cell == "") == (value in (None, "")), key.name
            if value not in (None, ""):
                read = {"number": float, "text": str, "json": json.loads}[key.kind](cell)
                assert read == value, key.name


@pytest.mark.parametrize("to", FORMATS)
def test_every_file_carries_its_meaning(capsys, db, to):
    command, mark = COMMANDS[to]
    text = export(capsys, db, f"{command} --to {to}")
    flat = text if to != "yaml" else " ".join(text.split())
    for words in ("against the electrons", "towards the cold end", "standard uncertainty", "preset quick" if mark else "quick",
                  "emforce export metal=Cu facet=bulk", "settings_hash"):
        assert words in flat, words
    if mark:
        asked = [line for line in text.splitlines() if line.startswith(f"{mark} Query: ")]
        assert len(asked) == 1
        again = shlex.split(asked[0].removeprefix(f"{mark} Query: "))
    else:
        again = shlex.split(yaml.safe_load(text)["query"]["command"])
    # the query in the file makes the same file
    assert again[:2] == ["emforce", "export"] and cli.main(again[1:]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("to", ["emspice", "migrationfem", "moose", "lammps"])
def test_files_of_old_programs_are_ascii(capsys, db, to):
    assert export(capsys, db, f"{COMMANDS[to][0]} --to {to}").isascii()
    assert ascii_text("ρ = 3 ± 0.1 µΩ cm², Å −ν") == "rho = 3 +- 0.1 uOhm cm^2, A -nu"


def test_every_number_has_value_uncertainty_and_source(capsys, db):
    text = export(capsys, db, f"{COMMANDS['moose'][0]} --to moose")
    lines = [line for line in text.splitlines() if line.startswith("# Number: ")]
    values = {line.split()[2]: line for line in lines}
    assert values["gamma_J_m2"] == "# Number: gamma_J_m2 = 1.5 +- 0.1 J/m^2 [stated: a test]"
    barrier = export_rows.KINETICS["barrier_eV"]
    assert values["barrier_eV"].startswith(f"# Number: barrier_eV = {barrier!r} +- 0.02 eV [database row ")
    assert values["barrier_eV"].endswith("a test]") and "preset quick" in values["barrier_eV"]


def test_a_statement_goes_before_the_row(capsys, db):
    text = export(capsys, db, f"{COMMANDS['emspice'][0]} --to emspice --set 'Cu.EA_EV=1.5 # mine' --set 'ea_eV=1.6 # for any'")
    assert "\nEa_ratio,1.5\n" in text and "# Number: ea_eV = 1.5 +- ? eV [stated: mine]" in text


@pytest.mark.parametrize(("command", "words"), [
    ("metal=Cu facet=111 -T 600 --to emspice", "z_star, d0_m2_s, ea_eV, modulus_GPa: None"),
    ("metal=Cu facet=111 -T 600 --to emspice", "--direct-model none, nominal or drude"),
    ("metal=Cu facet=111 -T 600 --to emspice --direct-model none", "d0_m2_s, ea_eV, modulus_GPa: None"),
    ("metal=Cu facet=111 -T 600 --to kmc --direct-model none", "nu0_THz, barrier_eV: None"),
    ("metal=Cu facet=100 -T 600 --to kmc", "--current-MA-cm2: None"),
    ("metal=Cu facet=111 -T 600 --to festim", "q_star_eV: None"),
    ("metal=Cu facet=100 -T 600 --to moose", "defect: 'adatom'"),
    (f"{WHOLE} --to moose", "gamma_J_m2: None"),
    ("metal=Cu -T 600 --to kmc", "conditions that one row meets, not 3"),
    ("facet=bulk -T 600 --to emspice", "not 2"), ("metal=Cu -T 600 --to lammps", "one row for each species"),
    ("metal=Au -T 600", "conditions that a row meets"), ("metall=Au", "metall"), ("k<", "k"),
    ("metal=Cu facet=bulk --to emspice", "one temperature in K for emspice"),
    ("metal=Cu facet=bulk -T 300 600 --to festim", "temperature: '300 600'"), ("-T -3", "temperature"),
    ("--set foo=1 --source x", "--set: 'foo'"), ("--set barrier_eV --source x", "--set: 'barrier_eV'"),
    ("--set barrier_eV=1", "--source: None"), ("--set 'barrier_eV=1 #  '", "--source: None"),
    ("--set barrier_eV=-1 --source x", "a positive number"), ("--set z_star=nan --source x", "a finite number"),
    ("--set barrier_eV=1±0 --source x", "barrier_eV ±: '0'"), ("--set 'barrier_eV=1 eV' --source x", "'1 eV'"),
    ("metal=Cu --set Mo.barrier_eV=1 --source x", "metals of the rows: Cu"),
    (f"{WHOLE} --to festim --set rho_uohm_cm=3 --source x", "together with z_star"),
    (f"{WHOLE} --to emspice --set modulus_GPa=1 --set nx=2.5 --source x", "a whole number"),
    (f"{WHOLE} --to kmc --current-MA-cm2 nan", "--current-MA-cm2: nan"), (f"{WHOLE} --specularity 0.5", "--wire-diameter-nm"),
])
def test_refusals_are_one_line(capsys, db, command, words):
    assert words in refused(capsys, db, command)


def test_an_interval_of_z_is_named(capsys, tmp_path):
    import synthetic

    path = tmp_path / "interval.db"
    with Database(path, create=True) as database:
        database.add(synthetic.record(site="hop average", fraction=math.nan, k_wind_uohm_cm=-110.0, z_direct_low=-3.0,
                                      z_direct_high=1.0))
    assert "z_star (an interval is known: " in refused(capsys, str(path), "metal=Cu -T 600 --to lammps")


def test_a_published_row_says_so(capsys, tmp_path):
    path = str(tmp_path / "literature.db")
    Database(path, create=True).close()
    assert cli.main(["reference", "--store", "--db", path]) == 0
    capsys.readouterr()
    command = "'spec=literature cu-krautheim-1979' --literature -T 1200 --to festim --set 'q_star_eV=0.2 # a test'"
    text = export(capsys, path, command)
    assert "published: G. Krautheim" in text and "D_0 = 6.8" in text
    code = cli.main(["export", *shlex.split(command.replace("1200", "600")), "--db", path])
    assert code == 0 and "published rows hold at other temperatures" in capsys.readouterr().out


def test_a_file_is_whole_or_not_there(capsys, db, tmp_path):
    out = tmp_path / "new" / "cu.txt"
    arguments = ["export", *shlex.split(COMMANDS["emspice"][0]), "--to", "emspice", "--out", str(out), "--db", db]
    assert cli.main(arguments) == 0
    written = out.read_text(encoding="utf-8")
    assert capsys.readouterr().out == "" and written == export(capsys, db, f"{COMMANDS['emspice'][0]} --to emspice")
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert refused(capsys, db, f"metal=Cu facet=111 -T 600 --to emspice --out {out}")
    assert out.read_text(encoding="utf-8") == written and list(out.parent.iterdir()) == [out]
    (tmp_path / "plain").write_text("a file")
    code = cli.main([*arguments[:-4], "--out", str(tmp_path / "plain" / "cu.txt"), "--db", db])
    err = capsys.readouterr().err
    assert code == 1 and len(err.splitlines()) == 1 and "cannot be written" in err
    assert Path(tmp_path / "plain").read_text() == "a file"


def test_statements():
    found = parse_stated(["Cu.barrier_eV = 0.7+-0.1 # a, b", "NU0_thz=3", "z_star=-2±1e-3"], "elsewhere")
    assert found == {"Cu": {"barrier_eV": Stated(0.7, 0.1, "a, b")},
                     "": {"nu0_THz": Stated(3.0, None, "elsewhere"), "z_star": Stated(-2.0, 1e-3, "elsewhere")}}
    for number in (Stated(1 / 3, None, "x"), Stated(-1e-30, 1 / 7, "y z")):
        assert parse_stated([f"z_star={number.text}"])[""]["z_star"] == number
    request = Request(stated=found)
    assert set(request.stated_for("Cu")) == {"barrier_eV", "nu0_THz", "z_star"}
    assert set(request.stated_for("W")) == {"nu0_THz", "z_star"}
    shared = set(NAMES) & set(MODEL_NAMES)
    assert {"z_star", "barrier_eV", "nu0_THz", "d0_m2_s", "ea_eV", "modulus_GPa"} <= shared


def test_formats_of_the_command_are_all():
    from emforce.commands.export import FORMATS as words

    assert tuple(FORMATS) == words == tuple(COMMANDS)
    with pytest.raises(InputError, match="--to: 'xml'"):
        check(Request(), "xml")


def test_a_condition_on_the_average_asks_for_the_best_of_the_hop(tmp_path):
    """The kinetics of a hop are rows of their own: they are joined, not in the way."""
    with Database(tmp_path / "a.db", create=True) as database:
        average = {"site": "hop average", "fraction": math.nan}
        database.add(synthetic.record(**average, k_wind_uohm_cm=-110.0, z_direct=0.5, z_direct_sigma_parts={"region": 0.1}))
        database.add(synthetic.record(**average, preset="quick (kinetics.shells=0)", k_wind_uohm_cm=math.nan,
                                      k_wind_sigma_parts_uohm_cm={}, barrier_eV=0.5, barrier_sigma_eV=0.1))
        question = Question(temperatures_K=(600.0,), direct_model="dft")
        texts = [to_text(database, Request(filters, question), "lammps")
                 for filters in (("metal=Cu", "site=hop average"), ("metal=Cu",), ("metal=Cu", "site=hop", "average"))]
        assert "fix emforce_Cu emforce_Cu addforce" in texts[0] and texts[0] == texts[1] == texts[2]
        with pytest.raises(InputError, match="filter"):
            to_text(database, Request(("metal=Cu", "site=saddle"), question), "lammps")
