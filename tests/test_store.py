"""Finished steps on disk: whole or not at all, whoever is killed and whatever is damaged."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emforce import store as store_module
from emforce.errors import ConvergenceError, StoreError
from emforce.store import Store, content_hash, save_arrays


def make(folder: Path, log: Path) -> dict[str, Any]:
    save_arrays(folder, {"a": np.arange(6.0).reshape(2, 3)})
    log.write_text("ran\n", encoding="utf-8")
    return {"energy": 0.1, "nested": {"list": (1, 2)}, "number": np.float64(2.5)}


def never(folder: Path, log: Path) -> dict[str, Any]:
    raise AssertionError("a finished step was computed again")


def step_names(root: Path) -> list[str]:
    return sorted(p.name for p in (root / "steps").iterdir())


def test_a_step_is_computed_once(tmp_path):
    store = Store(tmp_path)
    assert store.find("image", "k") is None
    first = store.run("image", "k", {"x": 1}, make)
    again = Store(tmp_path).run("image", "k", {"x": 1}, never)
    for done in (first, again):
        assert done.values == {"energy": 0.1, "nested": {"list": [1, 2]}, "number": 2.5}
        assert done.seconds >= 0
        assert done.arrays()["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert step_names(tmp_path) == ["image-k"]
    assert store.log("image", "k").read_text() == "ran\n"
    assert json.loads((first.folder / "meta.json").read_text())["inputs"] == {"x": 1}


def test_packed_arrays_are_smaller_and_the_same(tmp_path):
    arrays = {"mostly zero": np.where(np.arange(90000) % 50 == 0, np.pi, 0.0).reshape(300, 300), "number": np.array(3)}

    def write(folder: Path, log: Path) -> dict[str, Any]:
        save_arrays(folder, arrays, "plain.npz")
        save_arrays(folder, arrays, "packed.npz", packed=True)
        return {}

    done = Store(tmp_path).run("mover", "k", {}, write)
    for name in ("plain.npz", "packed.npz"):
        back = done.arrays(name)
        assert set(back) == set(arrays) and all(np.array_equal(back[key], arrays[key]) for key in arrays)
    assert (done.folder / "packed.npz").stat().st_size < 0.1 * (done.folder / "plain.npz").stat().st_size


def test_time_and_processor_time_of_a_step(tmp_path):
    def sleep(folder: Path, log: Path) -> dict[str, Any]:
        time.sleep(0.3)
        return {}

    def work(folder: Path, log: Path) -> dict[str, Any]:
        start = time.process_time()
        while time.process_time() - start < 0.32:  # what is recorded counts in ticks of 0.01 s
            pass
        return {}

    store = Store(tmp_path)
    store.run("image", "asleep", {}, sleep)
    store.run("image", "busy", {}, work)
    wall, cpu = store.spent("image", "asleep")
    assert wall >= 0.3 > 2 * cpu
    wall, cpu = store.spent("image", "busy")
    assert cpu >= 0.29 and wall >= 0.29
    assert store.spent("image", "never") is None


def test_a_step_that_fails_leaves_nothing(tmp_path):
    def fail(folder: Path, log: Path) -> dict[str, Any]:
        (folder / "half").write_text("half")
        raise ConvergenceError("not reached")

    with pytest.raises(ConvergenceError, match="not reached"):
        Store(tmp_path).run("image", "k", {}, fail)
    assert step_names(tmp_path) == []
    assert Store(tmp_path).run("image", "k", {}, make).values["energy"] == 0.1


def test_values_that_json_cannot_hold_leave_nothing(tmp_path):
    with pytest.raises(TypeError, match="object cannot be part"):
        Store(tmp_path).run("image", "k", {}, lambda folder, log: {"x": object()})
    assert step_names(tmp_path) == []


def test_a_missing_file_of_the_step_itself_is_not_blamed_on_the_store(tmp_path):
    def fail(folder: Path, log: Path) -> dict[str, Any]:
        raise FileNotFoundError("no PAW setup of Xx")  # as GPAW raises it

    with pytest.raises(FileNotFoundError, match="PAW setup"):
        Store(tmp_path).run("image", "k", {}, fail)


# kill -9

PROGRAM = """
import sys, time
from pathlib import Path
from emforce.store import Store
def slow(folder, log):
    (folder / "density.gpw").write_bytes(b"x" * 100000)
    log.write_text("half")
    print("begun", flush=True)
    time.sleep({seconds})
    return {{"pid": {pid}}}
print(Store(sys.argv[1]).run("image", "k", {{}}, slow).values["pid"])
"""


def process(root: Path, seconds: float, pid: int = 0) -> subprocess.Popen[str]:
    program = PROGRAM.format(seconds=seconds, pid=pid)
    return subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_nothing_that_looks_finished(tmp_path):
    child = process(tmp_path, 60)
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    store = Store(tmp_path)
    assert store.find("image", "k") is None
    assert step_names(tmp_path) == []
    (left,) = (tmp_path / "partial").iterdir()
    assert left.name.startswith("image-k-")
    assert store.run("image", "k", {}, make).values["energy"] == 0.1
    assert not (tmp_path / "damaged.log").exists()

    # the leftover goes when it and its logs are old, and not before; or when somebody knows that nobody works on it
    old = time.time() - 2 * store_module.LEFTOVER_SECONDS
    os.utime(left, (old, old))
    store.remove_leftovers()
    assert left.exists(), "its log was written just now: the step may be running"
    os.utime(store.log("image", "k"), (old, old))
    store.remove_leftovers()
    assert not left.exists()
    (tmp_path / "partial" / "image-k-1").mkdir()
    (tmp_path / "partial" / "image-l-1").mkdir()
    store.remove_partial("image-k")
    assert [p.name for p in (tmp_path / "partial").iterdir()] == ["image-l-1"]
    assert step_names(tmp_path) == ["image-k"]
    assert Store(tmp_path).find("image", "k") is not None


def test_two_processes_race_on_one_step(tmp_path):
    children = [process(tmp_path, 0.5, pid) for pid in (1, 2)]
    outputs = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert all(o[0] == "begun" for o in outputs)
    assert outputs[0][1] == outputs[1][1], "both must return what is on disk"
    assert step_names(tmp_path) == ["image-k"]


# damage


def shorten(folder: Path) -> None:
    path = folder / "arrays.npz"
    path.write_bytes(path.read_bytes()[:-7])


def flip(folder: Path) -> None:
    path = folder / "arrays.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_number(folder: Path) -> None:
    path = folder / "meta.json"
    path.write_text(path.read_text().replace("0.1", "0.2"))


DAMAGES = {
    "shortened": shorten,
    "one bit": flip,
    "file gone": lambda folder: (folder / "arrays.npz").unlink(),
    "meta gone": lambda folder: (folder / "meta.json").unlink(),
    "meta empty": lambda folder: (folder / "meta.json").write_text(""),
    "meta is a list": lambda folder: (folder / "meta.json").write_text("[]"),
    "meta is no text": lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe\x00"),
    "meta without files": lambda folder: (folder / "meta.json").write_text('{"values": {}, "seconds": 1}'),
    "files is a list": lambda folder: (folder / "meta.json").write_text('{"values": {}, "seconds": 1, "files": []}'),
    "number changed": change_number,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_reported_and_computed_again(tmp_path, damage):
    store = Store(tmp_path)
    damage(store.run("image", "k", {}, make).folder)
    assert store.run("image", "k", {}, make).values["energy"] == 0.1
    lines = (tmp_path / "damaged.log").read_text().splitlines()
    assert len(lines) == 1
    assert "image-k: " in lines[0]
    assert lines[0].endswith("removed")
    assert step_names(tmp_path) == ["image-k"]
    store.run("image", "k", {}, never)


def test_a_step_that_cannot_be_read_now_is_kept(tmp_path, monkeypatch):
    store = Store(tmp_path)
    folder = store.run("image", "k", {}, make).folder

    def busy(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(store_module, "_digest", busy)
    with pytest.raises(StoreError, match="image-k cannot be read: Too many open files"):
        store.find("image", "k")
    monkeypatch.undo()
    assert folder.exists()
    store.run("image", "k", {}, never)


def test_steps_written_without_a_digest_of_the_numbers_are_read(tmp_path):
    folder = Store(tmp_path).run("image", "k", {}, make).folder
    meta = json.loads((folder / "meta.json").read_text())
    del meta["digest"]
    (folder / "meta.json").write_text(json.dumps(meta))
    assert Store(tmp_path).run("image", "k", {}, never).values["energy"] == 0.1


# disks


def test_a_store_in_the_place_of_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="choose a folder that can be written") as caught:
            Store(root)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "steps").chmod(0o500)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            store.run("image", "k", {}, make)
    finally:
        (tmp_path / "steps").chmod(0o700)


def small_disk(path: Path, options: str) -> None:
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of a given size: {done.stderr.strip()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    small_disk(disk, "size=400k")
    try:
        store = Store(disk)
        store.run("image", "small", {}, make)

        def large(folder: Path, log: Path) -> dict[str, Any]:
            save_arrays(folder, {"a": np.ones(10**6)})
            return {}

        def raw(folder: Path, log: Path) -> dict[str, Any]:
            with (folder / "raw").open("wb") as stream:
                np.ones(10**6).tofile(stream)  # numpy's message has no error number
            return {}

        for step in (large, raw):
            with pytest.raises(StoreError, match="make room or choose another folder") as caught:
                store.run("image", "large", {}, step)
            assert "\n" not in str(caught.value)
            assert step_names(disk) == ["image-small"]
        store.run("image", "small", {}, never)
        assert store.run("image", "other", {}, make).values["energy"] == 0.1
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert Store(disk).run("image", "small", {}, never).values["energy"] == 0.1
        with pytest.raises(StoreError, match="Read-only file system"):
            Store(disk).run("image", "new", {}, make)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# hashes


def test_hash_is_stable_and_sees_every_number():
    document = {"cell": [[1.0, 0.0], [0.1, 2.0]], "name": "x", "mesh": (3, 3, 1), "flag": True, "none": None}
    first = content_hash(document)
    assert content_hash(dict(reversed(document.items()))) == first
    assert content_hash(document | {"mesh": [3, 3, 1]}) == first
    assert content_hash(document | {"cell": np.array(document["cell"])}) == first
    assert content_hash(document | {"mesh": np.array([3, 3, 1])}) == first
    changes = [{"cell": [[1.0, 0.0], [np.nextafter(0.1, 1), 2.0]]}, {"name": "y"}, {"mesh": (3, 1, 3)}, {"flag": False},
               {"flag": None}, {"more": 0}]
    hashes = {first, *(content_hash(document | change) for change in changes)}
    assert len(hashes) == 1 + len(changes)


def test_hash_is_the_same_in_another_process():
    program = "from emforce.store import content_hash; print(content_hash({'b': [0.1, 1e-9, -3], 'a': 'ü'}))"
    found = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout.strip() for seed in ("1", "2")}
    assert found == {content_hash({"a": "ü", "b": [0.1, 1e-9, -3]})}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_hash_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match="JSON"):
        content_hash({"x": value})


def test_hash_refuses_objects():
    with pytest.raises(TypeError, match="cannot be part of a step's inputs"):
        content_hash({"x": Path("a")})
