"""Profiles of clusters and the workers they start: real Dask workers, and shell scripts as a batch system that fails.

The same on a real SLURM: test_slurm.py.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from emforce import cluster_profile
from emforce.cluster_profile import (
    BATCH,
    KINDS,
    STEP_CLASSES,
    StepLimits,
    fields_of,
    load_profile,
    parse_memory,
    parse_walltime,
    shipped_profiles,
)
from emforce.clusters import check_machine, start, worker_count
from emforce.errors import EmforceError, InputError

FOLDER = Path(__file__).parent.parent / "workflows" / "clusters"
SECTIONS = dict(cluster_profile._SECTIONS)
LOCAL = 'kind = "local"\n'
#: a worker takes 2 s to start, and much longer where the machine is overloaded
PATIENCE_S = 120.0
SLURM = 'kind = "slurm"\n[job]\nmemory = "8GiB"\nwalltime = "24:00:00"\n[scaling]\nworkers = 2\n'


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(text: str, name: str = "own.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def edited(kind: str, changes: dict[str, str]) -> str:
    """A shipped profile with fields changed, as a user would: {"job.cores": "4"}."""
    lines, section = [], ""
    left = dict(changes)
    for line in (FOLDER / f"{kind}.toml").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        name = section + line.partition(" = ")[0]
        if " = " in line and not line.startswith("#") and name in left:
            line = f"{line.partition(' = ')[0]} = {left.pop(name)}"
        lines.append(line)
    assert not left
    return "\n".join(lines)


# the files


def test_shipped_profiles_are_those_of_the_folder_and_load():
    assert set(shipped_profiles()) == {p.stem for p in FOLDER.glob("*.toml")} >= set(KINDS)
    for name in shipped_profiles():
        by_name, by_path = load_profile(name), load_profile(FOLDER / f"{name}.toml")
        assert by_name == by_path
        assert set(by_name.steps) == set(STEP_CLASSES)
        assert by_name.name == name
    assert [load_profile(k).kind for k in KINDS] == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_field_is_explained_and_each_explained_field_is_read(kind):
    text = (FOLDER / f"{kind}.toml").read_text()
    table = tomllib.loads(text)
    for section, cls in SECTIONS.items():
        assert set(table[section]) == {f.name for f in fields_of(kind, cls)}, section
    for step_class in STEP_CLASSES:
        assert set(table["steps"][step_class]) == {f.name for f in fields(StepLimits)}
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if re.match(r"\w+ = |\[steps", line):
            assert lines[i - 1].startswith("# "), f"{kind}.toml: no comment above {line!r}"


def test_what_the_shipped_files_say_is_what_a_field_left_out_has():
    """But for the sizes that differ on purpose between one machine and a cluster."""
    own = {"workers", "memory", "walltime", "idle_s", "worker_start_s", "margin_s", "memory_GiB", "time_limit_s"}
    for kind in KINDS:
        table = tomllib.loads((FOLDER / f"{kind}.toml").read_text())
        shipped = load_profile(kind)
        for section, cls in SECTIONS.items():
            for f in fields_of(kind, cls):
                if f.name not in own and f.default is not None and f.name != "variables":
                    assert getattr(getattr(shipped, section), f.name) == f.default, (kind, section, f.name)
        assert table["kind"] == kind


EDITS = {"job.cores": "4", "job.memory": '"15500 MiB"', "job.walltime": '"1-02:03:30"', "job.queue": '"long"',
         "job.account": '"m123"', "environment.prologue": '["module load openblas"]',
         "environment.python": '"/opt/venv/bin/python"',
         "environment.variables": '{ GPAW_SETUP_PATH = "/opt/my setups" }', "steps.scf.ranks": "4"}
EXPECTED = {
    "slurm": ["#SBATCH -J emforce", "#SBATCH -p long", "#SBATCH -A m123", "#SBATCH -n 1", "#SBATCH --cpus-per-task=4",
              "#SBATCH --mem=15500M", "#SBATCH -t 26:03:30", "#SBATCH --extra"],
    "pbs": ["#PBS -N emforce", "#PBS -q long", "#PBS -A m123", "#PBS -l select=1:ncpus=4:mpiprocs=4:mem=15500mb",
            "#PBS -l walltime=26:03:30", "#PBS --extra"],
    "lsf": ["#BSUB -J emforce", "#BSUB -q long", '#BSUB -P "m123"', "#BSUB -n 4", '#BSUB -R "span[hosts=1]"',
            "#BSUB -W 26:03", "#BSUB --extra", "#BSUB -M 16253"],
    "sge": ["#$ -N emforce", "#$ -q long", "#$ -P m123", "#$ -l h_vmem=3875M", "#$ -l h_rt=26:03:30", "#$ -cwd", "#$ -pe smp 4"],
}


@pytest.mark.parametrize("kind", BATCH)
def test_job_script_that_would_be_submitted(kind, write, tmp_path, monkeypatch):
    from emforce.batch import JOB_END, cluster_of

    monkeypatch.chdir(tmp_path)
    (tmp_path / "lsf.conf").write_text("LSF_UNIT_FOR_LIMITS=MB\n")
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    directive = "-pe smp 4" if kind == "sge" else "--extra"
    profile = load_profile(write(edited(kind, EDITS | {"job.directives": f'["{directive}"]'})))
    with cluster_of(profile, []) as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    for line in EXPECTED[kind]:
        assert line in lines
    assert f"export {JOB_END}=$(( $(date +%s) + 93810 ))" in lines
    assert "export OMP_NUM_THREADS=1" in lines
    assert "export GPAW_SETUP_PATH='/opt/my setups'" in lines
    # what a module changes is set right after it
    assert lines.index("module load openblas") < lines.index("export OMP_NUM_THREADS=1")
    assert f"cd {tmp_path} || exit 1" in lines
    assert lines[-2] == "/opt/venv/bin/python -c 'import emforce' || exit 1"
    worker = lines[-1]
    assert worker.startswith("/opt/venv/bin/python -m distributed.cli.dask_worker tcp://")
    for words in ("--nthreads 4", "--resources cores=4,memory_GiB=14.6", "--death-timeout 300", "--lifetime 93510s",
                  "--lifetime-stagger 150s", "--nanny"):
        assert words in worker


def test_directives_left_out_and_own_resource_line(write):
    from emforce.batch import cluster_of

    text = edited("pbs", {"job.resources": '"nodes=1:ppn=1,mem=8gb"', "job.skip_directives": '["-N"]'})
    with cluster_of(load_profile(write(text)), []) as cluster:
        script = cluster.job_script()
    assert "#PBS -l nodes=1:ppn=1,mem=8gb" in script
    assert "select=" not in script
    assert "#PBS -N" not in script


# bad profiles


BAD = [
    ('kind = "slrum"', "kind", "local, slurm, pbs, lsf, sge"),
    ("", "kind", "local, slurm, pbs, lsf, sge"),
    (LOCAL + "[job]\ncoers = 2", "job.coers", "cores"),
    (LOCAL + "[jobs]\ncores = 2", "jobs", "job"),
    (LOCAL + "job = 3", "job", "a table [job]"),
    (LOCAL + '[job]\nqueue = "long"', "job.queue", "cores"),
    (LOCAL + "[job]\ncores = 0", "job.cores", "at least 1"),
    (LOCAL + "[job]\ncores = 1.5", "job.cores", "a whole number"),
    (LOCAL + "[job]\ncores = true", "job.cores", "a whole number"),
    (LOCAL + "[scaling]\nworkers = -1", "scaling.workers", "at least 0"),
    (LOCAL + "[steps.scf]\nranks = 2", "steps.scf.ranks", "job.cores = 1"),
    (LOCAL + "[environment]\nthreads = 2", "steps.light.ranks", "ranks x 2"),
    (LOCAL + "[steps.dft]\nranks = 2", "steps.dft", "light, scf, embedding"),
    (LOCAL + "[steps.scf]\nmemory_GiB = 0", "steps.scf.memory_GiB", "above zero"),
    (LOCAL + "[steps.scf]\nmemory_GiB = nan", "steps.scf.memory_GiB", "above zero"),
    (LOCAL + '[environment]\nmpi_command = ["mpirun"]', "environment.mpi_command", "{ranks}"),
    (LOCAL + '[environment]\nmpi_command = "mpirun -n {ranks}"', "environment.mpi_command", "a list"),
    (LOCAL + '[environment.variables]\n"A B" = "1"', "environment.variables.A B", "NAME"),
    (LOCAL + "[environment.variables]\nA = 1", "environment.variables.A", "text"),
    (LOCAL + '[network]\ndashboard = "yes"', "network.dashboard", "host:port"),
    (LOCAL + "[timeouts]\nconnect_s = 0", "timeouts.connect_s", "above zero"),
    (LOCAL + '[timeouts]\nconnect_s = "60"', "timeouts.connect_s", "a number"),
    (SLURM.replace('"8GiB"', '"8"'), "job.memory", "unit"),
    (SLURM.replace('"8GiB"', '"8 gigs"'), "job.memory", "MiB, GiB"),
    (SLURM.replace('memory = "8GiB"\n', ""), "job.memory", "unit"),
    (SLURM.replace('"24:00:00"', '"24h"'), "job.walltime", "HH:MM:SS"),
    (SLURM.replace('"24:00:00"', '"24:00"'), "job.walltime", "HH:MM:SS"),
    (SLURM.replace('"24:00:00"', '"00:00:00"'), "job.walltime", "HH:MM:SS"),
    (SLURM.replace('"24:00:00"', '"04:00:00"'), "steps.light.time_limit_s", "job.walltime = 04:00:00"),
    (SLURM.replace('"8GiB"', '"4GiB"'), "steps.light.memory_GiB", "at most 3.5"),
    (SLURM.replace("workers = 2", "workers = 0"), "scaling.workers", "1 or more"),
    (SLURM.replace("workers = 2", "workers = 2\nminimum = 3"), "scaling.minimum", "at most"),
    (SLURM.replace("[job]", '[job]\nqueue = "a b"'), "job.queue", "blanks"),
    (SLURM.replace("[job]", '[job]\nresources = "x"'), "job.resources", "memory"),
    (SLURM.replace("[job]", '[job]\ndirectives = ["a\\nb"]'), "job.directives", "one line"),
    (SLURM.replace("slurm", "sge").replace("[job]", "[job]\ncores = 4"), "job.directives", "-pe smp 4"),
]


@pytest.mark.parametrize(("text", "field", "allowed"), BAD, ids=[f"{f}-{i}" for i, (_, f, _) in enumerate(BAD)])
def test_bad_profile_names_file_field_value_and_what_is_allowed(write, text, field, allowed):
    path = write(text)
    with pytest.raises(InputError) as error:
        load_profile(path)
    assert error.value.field == f"{path}: {field}"
    assert allowed in error.value.allowed
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "words"), [
    (SLURM.replace('"8GiB"', '"8"'), "job.memory"), (SLURM, "sbatch on PATH"), (LOCAL + "[job]\ncoers = 2", "job.coers"),
])
def test_command_with_a_bad_profile_is_one_line_exit_2_nothing_written(write, tmp_path, text, words):
    folder = tmp_path / "here"
    folder.mkdir()
    spec = FOLDER.parent.parent / "structures" / "cu100-adatom.toml"
    done = subprocess.run([sys.executable, "-m", "emforce.cli", "run", str(spec), "--cluster", str(write(text))], cwd=folder,
                          env={**os.environ, "PATH": "/nowhere"}, text=True, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert words in done.stderr and "allowed" in done.stderr
    assert list(folder.iterdir()) == []


def test_near_names():
    with pytest.raises(InputError, match=r"slrum.*slurm\?"):
        load_profile("slrum")


def test_files_that_are_not_profiles(write, tmp_path):
    with pytest.raises(InputError, match="TOML"):
        load_profile(write("kind = \n"))
    with pytest.raises(InputError, match="TOML file that is there"):
        load_profile(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="can be read"):
        load_profile(binary)


@pytest.mark.parametrize(("text", "number"), [("1GiB", 2**30), ("1.5 GiB", 3 * 2**29), ("2000MB", 2 * 10**9)])
def test_memory(text, number):
    assert parse_memory(text) == number


@pytest.mark.parametrize(("text", "number"), [("00:00:01", 1), ("2-03:04:05", 183845), ("100:00:00", 360000)])
def test_walltime(text, number):
    assert parse_walltime(text) == number


def test_machine_without_the_batch_system_says_so_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"kind: 'slurm' is not allowed; allowed: a machine with sbatch on PATH"), \
            start(load_profile("slurm")):
        pass


def test_unknown_interface_and_interpreter(write, monkeypatch):
    for command in ("sbatch", "scancel", "squeue"):
        fake(write, command, "exit 1")
    monkeypatch.setenv("PATH", f"{write('').parent}:{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"network.interface: 'ib7' is not allowed; allowed: .*lo"):
        check_machine(load_profile(write(edited("slurm", {"network.interface": '"ib7"'}))))
    with pytest.raises(InputError, match=r"environment.python: '/none/python'"):
        check_machine(load_profile(write(edited("local", {"environment.python": '"/none/python"'}))))


def test_number_of_workers(write):
    profile = load_profile("local")
    cores = len(os.sched_getaffinity(0))
    assert worker_count(profile, None) == cores
    assert worker_count(profile, 7) == 7
    assert worker_count(load_profile(write(edited("local", {"job.cores": str(4 * cores)}))), None) == 1
    with pytest.raises(InputError, match=r"--workers: 0"):
        worker_count(profile, 0)


# workers of this machine


def environment(names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def span(seconds: float, path: str = "") -> tuple[float, float, int]:
    """When it began and ended, and where; the file counts how often it began."""
    if path:
        with open(path, "a") as file:
            file.write("x")
    begin = time.time()
    time.sleep(seconds)
    return begin, time.time(), os.getpid()


def overlap(a: tuple[float, float, int], b: tuple[float, float, int]) -> float:
    return min(a[1], b[1]) - max(a[0], b[0])


def test_local_workers_are_processes_of_one_thread(write, monkeypatch):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "EMF_TEST")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("EMF_TEST", raising=False)
    text = edited("local", {"environment.variables": '{ EMF_TEST = "a b" }'})
    with start(load_profile(write(text)), workers=2) as running:
        assert running.slots() == 2
        assert running.running_workers() == 2
        assert running.dashboard.startswith("http://127.0.0.1:")
        assert "2 processes on this machine" in running.describe()
        assert running.dashboard in running.describe()
        assert running.resources("scf") == {}
        running.check()
        found = running.client.submit(environment, names).result(timeout=PATIENCE_S)
        assert found == {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "EMF_TEST": "a b"}
        futures = [running.client.submit(span, 0.5, pure=False) for _ in range(2)]
        a, b = (f.result(timeout=PATIENCE_S) for f in futures)
        assert a[2] != b[2] and os.getpid() not in (a[2], b[2])
        pids = (a[2], b[2])
    assert environment(names)["OMP_NUM_THREADS"] == "7" and "EMF_TEST" not in os.environ
    limit = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_workers_that_start_too_slowly_name_the_time_that_was_given(write):
    profile = load_profile(write(edited("local", {"timeouts.worker_start_s": "0.1"}), "mine.toml"))
    words = r"^workers of profile mine do not start: not within timeouts.worker_start_s = 0.1 s; "
    with pytest.raises(EmforceError, match=words), start(profile, workers=1):
        pass


def test_steps_share_a_worker_as_far_as_its_cores_go_and_none_waits_for_ever(write):
    """Two cores: two steps of one rank at once; one of two ranks alone; one of three never, and that is said in time."""
    profile = load_profile(write(edited("local", {"job.cores": "2", "steps.scf.ranks": "2", "network.dashboard": '""',
                                                  "environment.mpi_command": '["env", "{ranks}"]'})))
    profile = replace(profile, timeouts=replace(profile.timeouts, queue_wait_s=2.0))
    with start(profile, workers=1) as running:
        assert running.slots() == 2
        assert running.dashboard == ""
        assert "dashboard" not in running.describe()
        light, scf = running.resources("light"), running.resources("scf")
        assert (light, scf) == ({"cores": 1.0}, {"cores": 2.0})
        small = [running.client.submit(span, 0.6, resources=light, pure=False) for _ in range(2)]
        large = [running.client.submit(span, 0.6, resources=scf, pure=False) for _ in range(2)]
        a, b, c, d = (f.result(timeout=PATIENCE_S) for f in [*small, *large])
        assert overlap(a, b) > 0.2
        assert max(overlap(c, d), overlap(a, c), overlap(a, d), overlap(b, c), overlap(b, d)) < 0.05
        never = running.client.submit(span, 0.0, resources={"cores": 3.0}, pure=False)
        assert "NoValidWorker" in type(never.exception(timeout=PATIENCE_S)).__name__


def test_a_worker_whose_job_ends_soon_ends_its_step_takes_no_other_and_leaves(write, tmp_path):
    from emforce.batch import JOB_END, LeaveInTime

    counter = tmp_path / "runs"
    end = time.time() + 3600
    text = edited("local", {"environment.variables": f'{{ {JOB_END} = "{end:.0f}" }}'})
    with start(load_profile(write(text)), workers=1) as running:
        longer = running.client.submit(span, 5.0, str(counter), pure=False)
        while not counter.exists():
            time.sleep(0.05)
        # steps of this length could just end in time if they began within the next second
        running.client.register_plugin(LeaveInTime(longest_s=end - time.time() - 1.0, margin_s=0.01))
        time.sleep(1.5)
        queued = running.client.submit(span, 0.1, pure=False)
        begun, ended, _ = longer.result(timeout=PATIENCE_S)
        assert ended - begun >= 5.0
        limit = time.monotonic() + PATIENCE_S
        while running.running_workers():
            assert time.monotonic() < limit, "the worker stays"
            time.sleep(0.1)
        assert counter.read_text() == "x"
        assert queued.status == "pending"


# a batch system of shell scripts


def fake(write, name: str, body: str) -> None:  # type: ignore[no-untyped-def]
    path = write(f"#!/bin/sh\n{body}\n", name)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def batch_system(write, tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    """SLURM's commands; a job is a process of this machine."""
    from emforce import batch

    monkeypatch.setattr(batch, "_LOOK_S", 0.3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    fake(write, "sbatch", f"""cd {tmp_path}
rm -f pid job.err
setsid sh -c 'echo $$; exec bash '$1' 2>job.err' >pid &
until [ -s pid ] && [ -e job.err ]; do sleep 0.05; done
cat pid; cat pid >>jobs
mkdir -p results/logs; mv job.err results/logs/emforce-$(cat pid).err""")
    fake(write, "squeue", f"for p in $(cat {tmp_path}/jobs); do kill -0 $p 2>/dev/null && echo $p; done; exit 0")
    fake(write, "scancel", "for p in $*; do kill -- -$p 2>/dev/null; done; exit 0")
    changes = {"network.interface": '"lo"', "environment.variables": f'{{ PYTHONPATH = "{Path(__file__).parent}" }}',
               "timeouts.connect_s": "20", "job.queue": '"main"'}
    return lambda more: load_profile(write(edited("slurm", changes | more)))


def test_refused_job_is_told_in_the_batch_systems_words(batch_system, write):
    fake(write, "sbatch", "echo 'sbatch: error: invalid partition specified: main' >&2; exit 1")
    with pytest.raises(InputError, match=r"SLURM accepts \(sbatch: error: invalid partition specified: main\)"), \
            start(batch_system({})):
        pass


def test_batch_system_that_does_not_answer(batch_system, write):
    fake(write, "sbatch", "sleep 6; echo 1")
    with pytest.raises(EmforceError, match=r"did not take a job within 1 s.*timeouts.connect_s"), \
            start(batch_system({"timeouts.connect_s": "1"})):
        pass


def check_until(running, done) -> None:  # type: ignore[no-untyped-def]
    limit = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < limit
        running.check()
        time.sleep(0.1)


def test_jobs_that_end_at_once_are_an_error_after_three(batch_system, tmp_path):
    words = r"3 jobs in a row gave no worker, profile own: job \d+ ended, see .*: no module openblas"
    with start(batch_system({"environment.prologue": '["echo no module openblas >&2; exit 3"]'}), workers=1) as running:
        future = running.client.submit(span, 0.1)
        with pytest.raises(EmforceError, match=words):
            check_until(running, future.done)
    time.sleep(1.0)
    assert len((tmp_path / "jobs").read_text().split()) == 3


def test_node_without_emforce(batch_system, tmp_path):
    (tmp_path / "emforce").mkdir()  # a folder of that name that cannot be imported
    (tmp_path / "emforce" / "__init__.py").write_text("raise ImportError('not for this node')")
    changes = {"environment.variables": f'{{ PYTHONPATH = "{tmp_path}" }}'}
    with start(batch_system(changes), workers=1) as running, pytest.raises(EmforceError, match=r"ImportError: not for this node"):
        check_until(running, lambda: running.running_workers() > 0)


def test_a_cancelled_job_is_replaced_and_its_step_runs_again(batch_system, tmp_path):
    with start(batch_system({"timeouts.lost_worker_s": "2"}), workers=1) as running:
        assert running.slots() == 1
        counter = tmp_path / "runs"
        future = running.client.submit(span, 2.0, str(counter), pure=False)
        check_until(running, lambda: counter.exists() and counter.read_text() == "x")  # the file is there before its letter
        (job,) = (tmp_path / "jobs").read_text().split()
        os.killpg(int(job), 15)
        check_until(running, future.done)
        assert future.status == "finished"
        assert counter.read_text() == "xx"
    first, second = (tmp_path / "jobs").read_text().split()
    assert first == job != second
    limit = time.monotonic() + 20
    while Path(f"/proc/{second}").exists() and "Z" not in Path(f"/proc/{second}/stat").read_text().split()[2]:
        assert time.monotonic() < limit, "the job goes on after the campaign"
        time.sleep(0.1)
