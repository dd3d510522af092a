"""The page of `emforce serve`: a real server on a free port, asked over HTTP and looked at in headless Chromium."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from synthetic import environment, failed, provenance, record

from emforce.cli import main
from emforce.database import Database
from emforce.plan import structure_digest
from emforce.query import Question, select
from emforce.relaxed import apply_relaxed
from emforce.serve.snapshot import take
from emforce.serve.structures import locate
from emforce.serve.values import answer
from emforce.settings import load_settings
from emforce.spec import load_spec
from emforce.structure import build_hop

REPOSITORY = Path(__file__).resolve().parent.parent
RELAXED = "structures/relaxed/w110-adatom/3x3x1-4l"


def w_structure_hash() -> str:
    """Hash of the relaxed W structures of the repository, by the code that computes, not by that of the page."""
    settings = load_settings("quick")
    size, layers, vacuum = (getattr(settings.structure, name) for name in ("slab_size", "layers", "vacuum_A"))
    hop = build_hop(load_spec(REPOSITORY / "structures/w110-adatom.toml"), size=size, layers=layers, vacuum=vacuum)
    return structure_digest(apply_relaxed(hop, REPOSITORY / RELAXED))


def fill(location: Path | str) -> None:
    """Three hops, a failure and a published value; made-up numbers of W and Cu, on the repository's W structure."""
    there = provenance(structure_hash=w_structure_hash(), geometry=RELAXED)
    w = {"spec": "w110-adatom", "metal": "W", "facet": "110", "species": "W", "provenance": there}
    with Database(location, create=True) as database:
        database.add(record(k_wind_uohm_cm=-10.0, k_wind_sigma_parts_uohm_cm={"smearing": 2.0}))  # row 1
        database.add(record(site="hop average", fraction=float("nan"), k_wind_uohm_cm=-12.0))
        database.add(record(**w, site="initial", fraction=0.0, k_wind_uohm_cm=40.0))  # row 3
        database.add(record(**w, site="hop average", fraction=float("nan"), k_wind_uohm_cm=50.0))
        database.add(failed(metal="Mo", spec="mo110-adatom", facet="110", species="Mo"))
        published = {"method": "experiment", "basis": "none", "source": "A. Author, J. Tests 1, 2 (1999)", "status": "literature"}
        database.add(record(metal="Al", species="Al", facet="bulk", defect="vacancy", site="hop average", spec="published",
                            hop="nn", fraction=float("nan"), k_wind_uohm_cm=float("nan"), k_wind_sigma_parts_uohm_cm={},
                            provenance=provenance(seen="in a test"), z_star_reported=-17.0,
                            reported_low_K=280.0, reported_high_K=320.0, **published))


def start(*words: str, folder: Path = REPOSITORY) -> tuple[subprocess.Popen[str], str]:
    """A server of its own process on a free port, and its address as it prints it."""
    command = [sys.executable, "-m", "emforce.cli", "serve", "--port", "0", *words]
    server = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in server.stdout:
        lines.append(line)
        if found := re.search(r"http://\S+/", line):
            return server, found.group().rstrip("/")
    raise AssertionError(f"no address: {lines} {server.communicate()}")


def get(address: str) -> tuple[int, str, str]:
    """Status, type and text; refusals as well."""
    try:
        with urllib.request.urlopen(address, timeout=120) as reply:
            return reply.status, reply.headers["content-type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read().decode()


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        missing = "Chromium is not installed; scripts/services.sh installs it"
        pytest.fail(missing) if os.environ.get("EMFORCE_REQUIRE_SERVICES") else pytest.skip(missing)
    return found


def browse(folder: Path, *words: str) -> str:
    """Headless Chromium that can reach this machine and nothing else."""
    offline = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", offline, f"--user-data-dir={folder / 'profile'}",
               "--window-size=1500,1300", "--virtual-time-budget=20000", *words]
    env = {**os.environ, "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True, env=env).stdout


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    location = tmp_path_factory.mktemp("page") / "emforce.db"
    fill(location)
    return location


@pytest.fixture(scope="module")
def page(database):
    before = database.read_bytes()
    server, address = start("--db", str(database))
    yield address
    server.send_signal(signal.SIGTERM)
    _, err = server.communicate(timeout=60)
    assert server.returncode == 0, err
    assert "Traceback" not in err
    assert database.read_bytes() == before  # nothing was written
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass  # the port is free again


def test_json_is_the_answer_of_emforce_query(page, database):
    _, kind, text = get(f"{page}/values.json?{urlencode({'filter': 'metal=W', 'temperature_K': '600', 'direct_model': 'none'})}")
    assert kind.startswith("application/json")
    with Database(database) as opened:
        expected = select(opened, ["metal=W"], Question((600.0,), which="best", direct_model="none")).rows
    assert json.loads(text) == json.loads(json.dumps(expected))
    (row,) = json.loads(text)
    assert row["z_wind"] == pytest.approx(50.0 / row["rho_uohm_cm"])
    assert row["z_star"] == row["z_wind"]


def test_csv_ranked_and_filtered(page):
    _, kind, text = get(f"{page}/values.csv?{urlencode({'which': 'current', 'sort': '|z_wind|', 'filter': 'z_wind<0'})}")
    assert kind.startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["k_wind_uohm_cm"]) for row in rows] == [-12.0, -10.0]
    assert all(row["direction"] in ("downwind", "undecided") for row in rows)


def test_stored_query_evaluates_with_the_same_code(page):
    fields = {"temperature_K": "600", "filter": "metal=Cu,W", "direct_model": "none", "sort": "z_wind"}
    asked = urlencode({**fields, "_shape": "array"})
    _, _, text = get(f"{page}/emforce/best_values.json?{asked}")
    found = json.loads(text)
    expected = json.loads(get(f"{page}/values.json?{urlencode(fields)}")[2])
    assert [row["metal"] for row in found] == ["W", "Cu"]
    assert [row["z_wind"] for row in found] == [row["z_wind"] for row in expected]
    _, _, refused = get(f"{page}/emforce/best_values.json?filter=nonsense%3D1&_shape=array")
    assert "nonsense" in json.loads(refused)[0]["message"]


def test_published_values_keep_their_source(page):
    rows = json.loads(get(f"{page}/values.json?literature=1&filter=metal%3DAl")[2])
    assert [(row["z_star"], row["source"]) for row in rows] == [(-17.0, "A. Author, J. Tests 1, 2 (1999)")]


def test_columns_say_unit_and_sign(page):
    metadata = json.loads(get(f"{page}/-/metadata.json")[2])
    column = metadata["databases"]["emforce"]["tables"]["records"]["columns"]["k_wind_uohm_cm"]
    assert "µΩ cm" in column and "against the electrons" in column
    assert metadata["license"] == "GPL-3.0-or-later"


@pytest.mark.parametrize("asked, word", [("temperature_K=-3", "temperature"), ("filter=metl%3DW", "metl"),
                                         ("sort=%7Cz_star", "sort"), ("wire_diameter_nm=thin", "wire_diameter_nm"),
                                         ("hue=red", "hue"),
                                         ("temperature_K=5000", "5000")])
def test_bad_input_is_one_line(page, asked, word):
    status, kind, text = get(f"{page}/values.csv?{asked}")
    assert status == 400 and kind.startswith("text/plain")
    assert word in text and text.count("\n") == 1


def test_nothing_can_be_written(page):
    status, _, text = get(f"{page}/emforce.json?sql={quote('delete from records')}")
    assert status == 400 and "SELECT" in text


def test_a_row_leads_to_its_structure(page):
    _, _, text = get(f"{page}/record/3")
    assert w_structure_hash() in text and "their hash is the recorded one" in text
    name = "image-0.00.extxyz"
    assert f"/record/3/{name}" in text
    assert get(f"{page}/record/3/{name}")[2] == (REPOSITORY / RELAXED / name).read_text(encoding="utf-8")
    assert get(f"{page}/record/3/0.00.svg")[2].count("<svg") == 1
    assert get(f"{page}/record/3/..%2f..%2fpasswd")[0] == 404
    assert get(f"{page}/record/99")[0] == 404


def test_other_atoms_than_recorded_are_noticed(database):
    with Database(database) as opened:
        row = next(row for row in opened.rows() if row["id"] == 3)
    assert locate(row, REPOSITORY).agrees is True
    changed = {**row, "provenance": {**row["provenance"], "structure_hash": "0" * 20}}
    assert locate(changed, REPOSITORY).agrees is False
    for elsewhere in ("../", "/etc", "as built, not relaxed"):
        assert not locate({**row, "provenance": {**row["provenance"], "geometry": elsewhere}}, REPOSITORY).files


def test_no_page_loads_anything_from_elsewhere(page):
    for path in ("/", "/emforce", "/emforce/records", "/emforce/best_values", "/record/3"):
        status, _, text = get(page + path)
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"([^\"]+)\"", text)
        assert status == 200 and loaded
        assert all(address.startswith(("/", page)) and not address.startswith("//") for address in loaded), loaded


def test_copy_of_either_backend(location, tmp_path):
    fill(location)
    shown = take(location, tmp_path)
    with Database(location) as opened:
        assert answer(shown.path, {"which": "all", "temperature_K": "600"}).rows == select(
            opened, [], Question((600.0,), which="all")).rows
    assert "tester@" in shown.origin or shown.origin == location


def test_figure_has_error_bars_and_units(page):
    status, kind, text = get(f"{page}/figure/bars.svg?filter=metal%3DW")
    assert (status, kind.split(";")[0]) == (200, "image/svg+xml")
    assert "W(110)" in text and "Cu(100)" not in text and "LineCollection" in text
    assert get(f"{page}/figure/pie.svg")[0] == 404


def test_chromium_renders_the_page_without_the_network(page, tmp_path):
    text = browse(tmp_path, "--dump-dom", f"{page}/?sort=%7Cz_wind%7C&temperature_K=600")
    body = re.sub(r"<[^>]+>", " ", text)
    assert "Best values of each hop" in body and "against the electrons" in body
    rows = re.findall(r"<tr>(.*?)</tr>", text[text.index("<tbody>") : text.index("</tbody>")], re.DOTALL)
    assert [re.findall(r"<td>(.*?)</td>", row)[2] for row in rows] == ["W", "Cu"]  # ranked: |Z| of W is the larger
    loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*?(?:src|href)=\"([^\"]+)\"", text)
    assert loaded and all(address.startswith("/") for address in loaded)
    shot = tmp_path / "page.png"
    browse(tmp_path, f"--screenshot={shot}", f"{page}/")
    from matplotlib.image import imread

    pixels = imread(shot)[..., :3]
    assert pixels.shape[:2] == (1300, 1500)
    lower = pixels[450:].reshape(-1, 3)  # the figure, below form and table
    assert (abs(lower - [0x00 / 255, 0x72 / 255, 0xB2 / 255]).max(axis=1) < 0.02).sum() > 500  # bars of the wind part


def test_a_port_that_is_taken_and_no_database(tmp_path, database, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--db", str(database), "--port", port]) == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
    assert main(["serve", "--db", str(tmp_path / "none.db"), "--port", "0"]) == 1
    assert main(["serve", "--db", "mysql://here/there", "--port", "0"]) == 2
    assert main(["serve", "--db", str(database), "--port", "70000"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
