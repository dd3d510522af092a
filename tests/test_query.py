from __future__ import annotations

import csv
import io
import json
import math

import pytest
import synthetic

from emforce import query
from emforce.database import Database
from emforce.errors import InputError
from emforce.keys import KEYS

MELTING_K = {"Cu": 1357.0, "W": 3695.0, "Al": 933.0}


def resistivity(metal: str, temperature_K: float) -> float:
    """A made-up resistivity with the interface of the real one."""
    if metal not in MELTING_K:
        raise InputError("metal", metal, ", ".join(MELTING_K))
    if temperature_K > MELTING_K[metal]:
        raise InputError("temperature", temperature_K, f"below {MELTING_K[metal]} K, melting of {metal}")
    return {"Cu": 1.7, "W": 5.4, "Al": 2.7}[metal] * (temperature_K / 300) ** 1.1


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "emforce.db", create=True) as opened:
        for item in (
            synthetic.record(),
            synthetic.record(site="initial", fraction=0.0, k_wind_uohm_cm=-90.0),
            synthetic.record(site="hop average", fraction=math.nan, k_wind_uohm_cm=-110.0),
            synthetic.record(metal="W", facet="110", species="W", k_wind_uohm_cm=70.0),
            synthetic.record(
                metal="W", facet="110", species="W", site="initial", fraction=0.0, k_wind_uohm_cm=4.0
            ),
            synthetic.record(metal="Al", facet="bulk", species="Al", defect="vacancy", hop="vacancy-110",
                             k_wind_uohm_cm=-20.0),
            synthetic.failed(site="s=0.25", fraction=0.25),
        ):  # fmt: skip
            opened.add(item)
        yield opened


def ask(database, *filters, **options):
    return query.select(database, filters, query.Question(resistivity=resistivity, **options)).rows


def test_valence_is_k_over_rho(database):
    temperatures = (100.0, 300.0, 777.7, 900.0)
    rows = ask(database, temperatures_K=temperatures)
    assert len(rows) == 6 * len(temperatures)
    for row in rows:
        rho = resistivity(row["metal"], row["temperature_K"])
        assert row["rho_uohm_cm"] == rho
        assert row["z_wind"] * rho == pytest.approx(row["k_wind_uohm_cm"], rel=1e-14)
        assert row["z_wind_sigma"] / abs(row["z_wind"]) == pytest.approx(
            row["k_wind_sigma_uohm_cm"] / abs(row["k_wind_uohm_cm"]), rel=1e-14
        )


@pytest.mark.parametrize(
    "filters, count",
    [
        ([], 6), (["metal=W facet=110"], 2), (["metal=W", "site=saddle"], 1), (["site=hop average"], 1),
        (["site='hop average' metal=Cu"], 1), (["metal=Cu,Al"], 4), (["metal!=Cu,Al"], 2),
        (["facet = bulk"], 1),
        (["z_wind<-60"], 2), (["z_wind<=0", "metal=Cu"], 3), (["direction=undecided"], 1),
        (["direction=upwind"], 1),
        (["k_wind_uohm_cm>=70"], 1), (["fraction=0.5,0"], 5), (["temperature_K>300"], 0),
        (["standing=current"], 6),
        (["metal=Au"], 0), (["site=s=0.25"], 0), (["metal=cu"], 0),
    ],
)  # fmt: skip
def test_filters(database, filters, count):
    assert len(ask(database, *filters)) == count


@pytest.mark.parametrize(
    "filters, message",
    [
        (["colour=red"], "key: 'colour'"), (["zwind<3"], "z_wind"), (["metal"], "filter"),
        (["W metal=W"], "filter: 'W'"),
        (["metal="], "metal"), (["metal=Cu,"], "metal"), (["metal<W"], "metal<"),
        (["z_wind<few"], "a number"),
        (["z_wind<1,2"], "single"), (["z_wind=nan"], "finite"), (["k_wind_uohm_cm<inf"], "µΩ cm"),
        (["provenance=x"], "provenance"), (["temperature_K=-3"], "temperature"),
    ],
)  # fmt: skip
def test_bad_filters_are_one_line(database, filters, message):
    with pytest.raises(InputError) as caught:
        ask(database, *filters)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_temperature_from_the_filter(database):
    rows = ask(database, "metal=W", "temperature_K=600")
    assert [row["temperature_K"] for row in rows] == [600.0, 600.0]
    assert [
        row["temperature_K"] for row in ask(database, "site=saddle metal=W", temperatures_K=(400, 500))
    ] == [400, 500]


@pytest.mark.parametrize("temperature", [0.0, -300.0, math.nan, math.inf])
def test_impossible_temperatures(database, temperature):
    with pytest.raises(InputError, match="temperature"):
        ask(database, temperatures_K=(temperature,))


def test_molten_metals_are_left_out_with_a_note_and_refused_when_alone(database):
    answer = query.select(database, (), query.Question((1000.0,), resistivity=resistivity))
    assert {row["metal"] for row in answer.rows} == {"Cu", "W"}
    assert len(answer.notes) == 1 and answer.notes[0].startswith("Al at 1000 K left out")
    with pytest.raises(InputError, match="melting of Al"):
        ask(database, "metal=Al", temperatures_K=(1000.0,))


def test_only_current_rows_unless_all(database):
    database.add(synthetic.record(k_wind_uohm_cm=-50.0))
    assert [row["k_wind_uohm_cm"] for row in ask(database, "metal=Cu site=saddle")] == [-50.0]
    rows = ask(database, "metal=Cu", which="all")
    assert {row["standing"] for row in rows} == {"current", "superseded", "not served"}
    text = query.as_table(rows)
    assert "superseded" in text and "failed: SCF did not converge" in text
    (bad,) = (row for row in rows if row["status"] == "failed")
    assert bad["z_wind"] is None and bad["direction"] == "", "not computed is not undecided"


def test_a_table_has_the_direct_valence_with_its_sigma_or_its_interval(database):
    known = {"z_direct": 0.66, "z_direct_sigma_parts": {"drift": 0.33}, "z_direct_low": 0.33, "z_direct_high": 0.99}
    only_interval = {"z_direct_sigma_parts": {"drift": 2.0}, "z_direct_low": -0.46, "z_direct_high": 0.31}
    database.add(synthetic.record(hop="known", **known))
    database.add(synthetic.record(hop="between", **only_interval))
    assert "0.66 ± 0.33" in query.as_table(ask(database, "hop=known"))
    assert "-0.46 to 0.31" in query.as_table(ask(database, "hop=between"))  # the column is there though no row has a value


def test_json_has_all_keys_with_their_types(database):
    rows = json.loads(query.as_json(ask(database, which="all")))
    allowed = {"text": str, "number": (int, float, type(None)), "json": (list, dict, type(None))}
    assert isinstance(rows, list) and len(rows) == 7
    for row in rows:
        assert list(row) == [key.name for key in KEYS]
        for key in KEYS:
            assert isinstance(row[key.name], allowed[key.kind]), key.name
            if key.kind == "json" and key.since == 1 and key.stored:
                assert row[key.name] is not None, key.name
    needed = {
        "metal", "facet", "hop", "site", "species", "temperature_K", "k_wind_uohm_cm", "k_wind_sigma_uohm_cm",
        "z_wind", "z_wind_sigma", "direction", "preset", "method", "status", "provenance",
    }  # fmt: skip
    assert needed <= set(rows[0])
    assert rows[0]["k_wind_sigma_parts_uohm_cm"]["layers"] is None  # not estimated, and said so
    assert query.as_json([]) == "[]"


def test_csv_reads_back(database):
    rows = ask(database)
    back = list(csv.DictReader(io.StringIO(query.as_csv(rows))))
    assert [float(row["z_wind"]) for row in back] == [row["z_wind"] for row in rows]
    assert json.loads(back[0]["provenance"]) == rows[0]["provenance"]
    assert [row["fraction"] for row in back if row["site"] == "hop average"] == [""]


def test_rows_are_in_the_order_of_the_hop(database):
    assert [row["site"] for row in ask(database, "metal=Cu")] == ["initial", "saddle", "hop average"]


def test_result_table(database):
    text = query.result_table(database.rows(everything=True), resistivity=resistivity)
    lines = text.splitlines()
    assert [
        part in lines[0] for part in ("K_wind (µΩ cm)", "Z_wind(300 K)", "Z_wind(800 K)", "direction")
    ] == [True] * 4
    assert sum("downwind" in line for line in lines) == 4
    assert sum("upwind" in line and "downwind" not in line for line in lines) == 1
    assert sum("undecided" in line for line in lines) == 1
    assert any("failed: SCF did not converge" in line for line in lines)
    hot = query.result_table(database.rows(), (1000.0,), resistivity)
    assert next(line for line in hot.splitlines() if line.startswith("Al")).split()[-2] == "-"


@pytest.mark.parametrize(
    "value, sigma, text",
    [(-135.333, 4.5795, "-135.3 ± 4.6"), (70.0, 12.0, "70 ± 12"), (0.1234, 0.00123, "0.1234 ± 0.0012"),
     (1234.0, 300.0, "1234 ± 300"), (2.0, 0.0, "2.0000 ± 0.0000"), (None, None, "-"), (2.0, None, "2 ± ?")],
)  # fmt: skip
def test_plus_minus(value, sigma, text):
    assert query.plus_minus(value, sigma) == text


def test_what_is_there(database, tmp_path):
    text = query.available(database)
    assert "serves 6 of 7 records" in text and "metal: Al, Cu, W" in text and "\n" not in text
    with Database(tmp_path / "empty.db", create=True) as empty:
        assert "no records yet" in query.available(empty)
