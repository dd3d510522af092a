"""The main job end to end with real GPAW in a cell of a few atoms: far from converged, but every step is the real one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emforce.database import Database
from emforce.query import Question, select
from emforce.store import Store
from emforce.workflow import run, status

pytestmark = pytest.mark.gpaw

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "structures" / "cu100-adatom.toml"
#: a 2x2 cell of two layers and the fewest k-points: about a minute and a half
TINY: dict[str, object] = {
    "structure.slab_size": [2, 2, 1], "structure.layers": 2, "structure.thick_layers": [3, 2],
    "structure.vacuum_A": 4.0, "structure.relaxed": "", "dft.recipe": "small", "dft.grid_A": 0.32,
    "dft.slab_kpts": [1, 1, 1], "host.bulk_kpts": 4, "host.bulk_matrix_kpts": 5,
    "host.bulk_mesh": 16, "host.bulk_mesh_max": 16, "host.slab_mesh": 16,
    "dft.density_tolerance": 1e-3, "embedding.radii_A": [6.0, 5.4], "embedding.energies_eV": [-0.1, 0.0, 0.1],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("main-job")


@pytest.fixture(scope="module")
def records(place: Path):  # type: ignore[no-untyped-def]
    return run([SPEC], preset="quick", overrides=TINY, workers=2, database=str(place / "emforce.db"), store=place / "store")


def test_records_of_each_image_and_the_hop_average(records) -> None:  # type: ignore[no-untyped-def]
    assert [r.site for r in records] == ["initial", "s=0.25", "saddle", "hop average"]
    for r in records:
        assert r.status in ("ok", "outside tolerance"), r.reason
        assert math.isfinite(r.k_wind_uohm_cm)
        assert r.k_wind_sigma_uohm_cm > 0
        assert r.basis.startswith("emf") or "small" in r.basis
    initial, quarter, saddle, mean = (r.k_wind_uohm_cm for r in records)
    assert mean == pytest.approx((initial + 2 * quarter + saddle) / 4)
    # Cu goes with the electrons; even this cell knows
    assert mean < 0


def test_site_symmetry_of_the_hollow_makes_the_in_plane_tensor_isotropic(records) -> None:  # type: ignore[no-untyped-def]
    tensor = records[0].k_tensor_uohm_cm
    assert tensor[1, 1] == pytest.approx(tensor[0, 0], rel=1e-6)
    assert abs(tensor[0, 1]) < 1e-6 * abs(tensor[0, 0])


def test_second_run_computes_nothing(records, place: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    before = {p: p.stat().st_mtime_ns for p in (place / "store" / "steps").rglob("*")}
    again = run([SPEC], preset="quick", overrides=TINY, workers=2, database=str(place / "emforce.db"), store=place / "store")
    assert {p: p.stat().st_mtime_ns for p in (place / "store" / "steps").rglob("*")} == before
    assert [r.k_wind_uohm_cm for r in again] == [r.k_wind_uohm_cm for r in records]
    assert "cached" in capsys.readouterr().err


def test_changed_radius_uses_the_finished_ground_states(records, place: Path) -> None:  # type: ignore[no-untyped-def]
    store = Store(place / "store")
    before = {p.name for p in (store.root / "steps").iterdir()}
    run([SPEC], preset="quick", overrides=TINY | {"embedding.radii_A": [5.9, 5.4]}, workers=1,
        database=str(place / "emforce.db"), store=place / "store")
    new = {p.name for p in (store.root / "steps").iterdir()} - before
    kinds = {name.split("-")[0] for name in new}
    assert {"embedding", "wind"} <= kinds
    assert not kinds & {"bulk", "host", "image", "displaced"}


def test_spin_orbit_coupling_of_copper_changes_little(records, place: Path) -> None:  # type: ignore[no-untyped-def]
    """Host and defect, from the same ground states; the row without it gets the change as a part of sigma."""
    before = {p.name for p in (place / "store" / "steps").iterdir()}
    database = str(place / "emforce.db")
    coupled = run([SPEC], preset="quick", overrides=TINY | {"dft.spin_orbit": True}, workers=1, database=database,
                  store=place / "store")
    new = {p.name.split("-")[0] for p in (place / "store" / "steps").iterdir()} - {name.split("-")[0] for name in before}
    assert new == {"spheres", "spinor_embedding", "spinor_wind", "spin_orbit"}
    for one, without in zip(coupled, records, strict=True):
        assert 1e-3 < abs(one.k_wind_uohm_cm / without.k_wind_uohm_cm - 1) < 0.05
        assert len(one.k_of_energy_uohm_cm) == len(one.energies_eV) == len(without.energies_eV)
        assert "dft.spin_orbit" in one.provenance["direct"]
    with Database(database) as rows:
        served = {(r.site, "spin_orbit" in r.preset): r for r in rows.records()}
    for one, without in zip(coupled, records, strict=True):
        part = served[without.site, False].k_wind_sigma_parts_uohm_cm["spin_orbit"]
        assert part == pytest.approx(abs(one.k_wind_uohm_cm - without.k_wind_uohm_cm))
        assert "spin_orbit" not in served[without.site, True].k_wind_sigma_parts_uohm_cm


def test_unconverged_ground_state_is_recorded_and_never_served(place: Path) -> None:
    database = str(place / "unconverged.db")
    found = run([SPEC], preset="quick", overrides=TINY | {"dft.max_iterations": 2, "dft.density_tolerance": 1e-6}, workers=1,
                database=database, store=place / "unconverged")
    assert {r.status for r in found} == {"unconverged"}
    assert all("self-consistency" in r.reason and "max_iterations" in r.reason for r in found)
    with Database(database) as rows:
        assert not select(rows, [], Question(temperatures_K=(300.0,))).rows
    assert not list((place / "unconverged" / "steps").glob("image-*"))


def test_status_counts_finished_steps(records, place: Path) -> None:  # type: ignore[no-untyped-def]
    lines = status(place / "store")
    assert any("finished steps" in line for line in lines)
    assert any(line.strip().startswith("image: 3 finished") for line in lines)


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EMFORCE_DB": str(folder / "none.db")}
    return subprocess.run([sys.executable, "-m", "emforce.cli", *arguments], cwd=folder, env=environment, text=True,
                          capture_output=True, timeout=120)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metal": '"Xx"'}, "metal"), ({"facet": '"210"'}, "facet"), ({"hop": '"top-top"'}, "hop"),
        ({"colour": '"red"'}, "colour"), ({"images": "[0.0, 1.5]"}, "images"),
    ],
)
def test_bad_specification_is_one_line_exit_2_nothing_written(tmp_path: Path, change: dict[str, str], field: str) -> None:
    lines = {"metal": '"Cu"', "facet": '"100"', "kind": '"adatom"', "hop": '"hollow-bridge-hollow"'} | change
    spec = tmp_path / "bad.toml"
    spec.write_text("".join(f"{k} = {v}\n" for k, v in lines.items()))
    done = command("run", str(spec), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert field in done.stderr
    assert "allowed" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(("spec", "images"), [("cu100-adatom", "[0.0]"), ("au111-adatom", "[0.0, 0.5]")])
def test_images_must_reach_along_the_whole_hop(tmp_path: Path, spec: str, images: str) -> None:
    text = (ROOT / "structures" / f"{spec}.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("images")]
    own = tmp_path / "own.toml"
    own.write_text("\n".join([*lines, f"images = {images}"]))
    done = command("run", str(own), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("emforce: images")
    assert [p.name for p in tmp_path.iterdir()] == ["own.toml"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("--set", "dft.grid=0.2"), "dft.grid"), (("--set", "dft.grid_A=-1"), "dft.grid_A"), (("-T", "5000"), "temperature"),
     (("--workers", "0"), "workers"), (("--set", "host.slab_mesh=33"), "host.slab_mesh")],
)
def test_bad_option_is_one_line_exit_2_nothing_written(tmp_path: Path, arguments: tuple[str, ...], field: str) -> None:
    done = command("run", str(SPEC), *arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert field in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_query_gives_the_agreed_keys(records, place: Path) -> None:  # type: ignore[no-untyped-def]
    done = subprocess.run(
        [sys.executable, "-m", "emforce.cli", "query", "metal=Cu", "--all", "-T", "600", "--format", "json", "--db",
         str(place / "emforce.db")], text=True, capture_output=True, timeout=120, check=True)
    rows = json.loads(done.stdout)
    assert rows
    for key in ("metal", "facet", "hop", "site", "species", "temperature_K", "k_wind_uohm_cm", "k_wind_sigma_uohm_cm", "z_wind",
                "z_wind_sigma", "preset", "method", "provenance"):
        assert key in rows[0], key
    assert rows[0]["z_wind"] == pytest.approx(rows[0]["k_wind_uohm_cm"] / rows[0]["rho_uohm_cm"])
    steps, minutes = rows[0]["provenance"]["cost"].removesuffix(" min of processor time").split(" steps, ")
    assert int(steps) > 5 and 0 < float(minutes) < 30


def test_structures_from_files_give_what_the_builder_gives(records, place: Path) -> None:  # type: ignore[no-untyped-def]
    """Host, thick slab and defects as files, the mover's index and the hop vector are enough."""
    from ase.io import write

    from emforce.structure import build_hop, load_spec, thick_host

    hop = build_hop(load_spec(SPEC), size=(2, 2, 1), layers=2, vacuum=4.0)
    folder = place / "files"
    folder.mkdir()
    write(folder / "host.traj", hop.host_unit)
    write(folder / "thick.traj", thick_host(hop.spec, 3, 4.0, relaxed=hop.host_unit)[0])
    for image in hop.images:
        write(folder / f"{image.label}.traj", image.atoms)
    spec = folder / "own.toml"
    spec.write_text(f"""
name = "own"
metal = "Cu"
facet = "100"
kind = "files"
hop = "as given"
host_file = "{folder / 'host.traj'}"
thick_host_file = "{folder / 'thick.traj'}"
defect_files = ["{folder / 'initial.traj'}", "{folder / 'saddle.traj'}"]
mover = {hop.images[0].mover}
hop_vector = {hop.hop_vector.tolist()}
""")
    found = run([spec], preset="quick", overrides=TINY, workers=2, database=str(place / "own.db"), store=place / "store")
    assert [r.site for r in found] == ["initial", "saddle", "hop average"]
    built = {r.site: r.k_wind_uohm_cm for r in records}
    for own in found[:2]:
        assert own.k_wind_uohm_cm == pytest.approx(built[own.site], rel=1e-3)
    assert found[2].k_wind_uohm_cm == pytest.approx((built["initial"] + built["saddle"]) / 2, rel=1e-3)  # of two points
