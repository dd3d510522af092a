"""Profiles of clusters: where the steps of a campaign run. TOML files, checked in full when they are read.

The shipped ones lie in workflows/clusters, one per kind, with a comment line above each field.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emforce.errors import InputError

BATCH = ("slurm", "pbs", "lsf", "sge")
KINDS = ("local", *BATCH)
#: classes of steps: tables and sums of seconds; ground states of GPAW; Green functions of the embedding
STEP_CLASSES = ("light", "scf", "embedding")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: Dask does not work with a shorter time-out of an open connection
LEAST_TCP_S = 30.0
#: memory of worker, nanny and step servers: 240 MiB were measured with one step server
WORKER_GIB = 0.5
_GIB = 2**30
_UNITS = {"MiB": 2**20, "GiB": _GIB, "TiB": 2**40, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_WALLTIME = "D-HH:MM:SS or HH:MM:SS, such as 08:00:00"
_MEMORY = "a number with unit MiB, GiB, TiB, MB, GB or TB, such as 8GiB"


@dataclass(frozen=True)
class Scaling:
    """How many workers.

    Attributes
    ----------
    workers : most workers at once (batch: jobs); 0, only for local: as many as the machine's cores allow
    minimum : workers that are kept while the campaign runs, idle or not
    idle_s : a worker above the minimum that has had nothing to do for so long is given back
    """

    workers: int = 0
    minimum: int = field(default=1, metadata={"kinds": BATCH})
    idle_s: float = field(default=300.0, metadata={"kinds": BATCH})


@dataclass(frozen=True)
class Job:
    """One worker: a process on this machine, or a batch job.

    Attributes
    ----------
    cores : of a worker; steps whose cores (ranks x threads) fit run on it at the same time
    memory : of a batch job, with unit; WORKER_GIB of it are the worker's own
    walltime : of a batch job
    queue : partition or queue; "" for the default one
    account : account or project that pays; "" for the default one
    resources : PBS, SGE: replaces the -l line made from cores and memory; "" for that line
    directives, skip_directives : lines added to the job script's head; lines with these words are left out
    name : of the batch jobs
    """

    cores: int = 1
    memory: str = field(default="", metadata={"kinds": BATCH, "needed": True})
    walltime: str = field(default="", metadata={"kinds": BATCH, "needed": True})
    queue: str = field(default="", metadata={"kinds": BATCH})
    account: str = field(default="", metadata={"kinds": BATCH})
    resources: str = field(default="", metadata={"kinds": ("pbs", "sge")})
    directives: tuple[str, ...] = field(default=(), metadata={"kinds": BATCH})
    skip_directives: tuple[str, ...] = field(default=(), metadata={"kinds": BATCH})
    name: str = field(default="emforce", metadata={"kinds": BATCH})


@dataclass(frozen=True)
class Timeouts:
    """No wait is without end.

    Attributes
    ----------
    queue_wait_s : longest time in the queue; a step that has waited so long without any worker fails and says so
    worker_start_s : a worker that finds no scheduler for so long ends
    connect_s : for one connection between client, scheduler and worker
    lost_worker_s : a worker that is gone for so long is taken for lost, its job is cancelled and replaced
    margin_s : kept free at the end of a job's walltime; a step's limit and three times this must fit in
    """

    queue_wait_s: float = field(default=86400.0, metadata={"kinds": BATCH})
    worker_start_s: float = 120.0
    connect_s: float = 60.0
    lost_worker_s: float = field(default=30.0, metadata={"kinds": BATCH})
    margin_s: float = field(default=120.0, metadata={"kinds": BATCH})


@dataclass(frozen=True)
class Network:
    """Addresses.

    Attributes
    ----------
    interface : network interface that the nodes reach this machine by, such as ib0; "" for Dask's choice
    dashboard : host:port of Dask's page; port 0 for any free one, "" for none
    """

    interface: str = field(default="", metadata={"kinds": BATCH})
    dashboard: str = "127.0.0.1:0"


@dataclass(frozen=True)
class Environment:
    """What a worker finds.

    Attributes
    ----------
    python : interpreter of worker and steps; "" for the one that runs the campaign
    prologue : shell lines before the worker starts: module load, source venv/bin/activate
    variables : environment variables of the workers and of all steps
    threads : of each rank, for BLAS and OpenMP
    scratch : fast folder on the node for Dask's own files; "" for the system's temporary folder
    logs : folder of the batch system's output, seen by all nodes
    mpi_command : starts the ranks of a self-consistent calculation; {ranks} is replaced
    mpi_python : interpreter of the ranks, with a GPAW that has MPI; "" for `python`
    """

    python: str = ""
    prologue: tuple[str, ...] = field(default=(), metadata={"kinds": BATCH})
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    threads: int = 1
    scratch: str = ""
    logs: str = field(default="results/logs", metadata={"kinds": BATCH})
    mpi_command: tuple[str, ...] = ("mpirun", "-np", "{ranks}", "--bind-to", "none")
    mpi_python: str = ""


@dataclass(frozen=True)
class StepLimits:
    """What a step of one class may use.

    Attributes
    ----------
    ranks : MPI ranks of GPAW's self-consistent calculations; 1 for the other classes
    memory_GiB : all ranks together
    time_limit_s : wall-clock time; a step that takes longer is ended and counts as timed out
    """

    ranks: int = 1
    memory_GiB: float = 4.0
    time_limit_s: float = 14400.0


@dataclass(frozen=True)
class Profile:
    """Where and how steps run.

    Attributes
    ----------
    name : of a shipped profile, or the file's
    kind : local, slurm, pbs, lsf or sge
    steps : limits of each of STEP_CLASSES
    """

    name: str
    kind: str
    scaling: Scaling
    job: Job
    timeouts: Timeouts
    network: Network
    environment: Environment
    steps: Mapping[str, StepLimits]

    def cores(self, step_class: str) -> int:
        """Cores that a step of this class keeps busy: ranks times threads."""
        return self.steps[step_class].ranks * self.environment.threads

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of workers and steps: one BLAS thread per core that the step was given."""
        pinned = dict.fromkeys(THREAD_VARIABLES, str(self.environment.threads))
        return pinned | dict(self.environment.variables)

    @property
    def memory_bytes(self) -> int:
        """Memory of a batch job; 0 for local."""
        return parse_memory(self.job.memory) if self.job.memory else 0

    @property
    def memory_of_steps_GiB(self) -> float:
        """What a batch job leaves to its steps."""
        return self.memory_bytes / _GIB - WORKER_GIB

    @property
    def walltime_s(self) -> int:
        """Walltime of a batch job; 0 for local."""
        return parse_walltime(self.job.walltime) if self.job.walltime else 0


def step_resources(profile: Profile, step_class: str) -> dict[str, float]:
    """Share of a worker that a step takes; nothing where a worker runs one step at a time anyway."""
    if profile.job.cores == 1:
        return {}
    wanted = {"cores": float(profile.cores(step_class))}
    if profile.memory_bytes:
        wanted["memory_GiB"] = profile.steps[step_class].memory_GiB
    return wanted


def worker_resources(profile: Profile) -> dict[str, float]:
    """What a worker has, in the names of `step_resources`."""
    if profile.job.cores == 1:
        return {}
    has = {"cores": float(profile.job.cores)}
    return has | {"memory_GiB": profile.memory_of_steps_GiB} if profile.memory_bytes else has


_SECTIONS: dict[str, type] = {"scaling": Scaling, "job": Job, "timeouts": Timeouts, "network": Network,
                              "environment": Environment}


def shipped_profiles() -> tuple[str, ...]:
    """Names of the shipped profiles."""
    folder = files("emforce") / "data" / "clusters"
    return tuple(sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or a TOML file.

    Raises
    ------
    InputError naming file and field, the value and what is allowed
    """
    text = str(name_or_path)
    shipped = shipped_profiles()
    if text in shipped:
        content = (files("emforce") / "data" / "clusters" / f"{text}.toml").read_text(encoding="utf-8")
        return _profile(text, _parse(text, content))
    path = Path(text)
    if path.suffix != ".toml" or not path.is_file():
        near = difflib.get_close_matches(text, shipped, 1)
        hint = f"{near[0]}? All: " if near else ""
        raise InputError("--cluster", text, f"{hint}{', '.join(shipped)}, or a TOML file that is there")
    try:
        return _profile(path.stem, _parse(text, path.read_text(encoding="utf-8")), where=f"{text}: ")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("--cluster", text, f"a file that can be read ({error})") from error


def _parse(where: str, content: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InputError("--cluster", where, f"TOML ({error})") from error


def parse_memory(text: str) -> int:
    """Bytes of a text such as 8GiB.

    Raises
    ------
    ValueError if there is no number or no unit
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text.strip())
    if match is None or match[2] not in _UNITS or float(match[1]) <= 0:
        raise ValueError(text)
    return round(float(match[1]) * _UNITS[match[2]])


def parse_walltime(text: str) -> int:
    """Seconds of D-HH:MM:SS or HH:MM:SS.

    Raises
    ------
    ValueError for another form, or zero
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", text.strip())
    if match is None:
        raise ValueError(text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((24 * days + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise ValueError(text)
    return total


# reading


def _profile(name: str, table: dict[str, Any], where: str = "") -> Profile:
    kind = table.get("kind")
    if kind not in KINDS:
        raise InputError(f"{where}kind", kind, ", ".join(KINDS))
    _known(where, "", table, ("kind", *_SECTIONS, "steps"))
    sections = {s: _section(where, s, cls, table.get(s, {}), str(kind)) for s, cls in _SECTIONS.items()}
    given = _table(where, "steps", table.get("steps", {}))
    _known(where, "steps.", given, STEP_CLASSES)
    steps = {c: _section(where, f"steps.{c}", StepLimits, given.get(c, {}), str(kind)) for c in STEP_CLASSES}
    profile = Profile(name=name, kind=str(kind), steps=MappingProxyType(steps), **sections)
    _check_together(where, profile)
    return profile


def _table(where: str, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}{name}", value, f"a table [{name}]")
    return value


def _known(where: str, prefix: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for name, value in table.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 2, 0.5)
            hint = f"{' or '.join(near)}? All: " if near else ""
            shown = f"a table [{prefix}{name}]" if isinstance(value, dict) else value
            raise InputError(f"{where}{prefix}{name}", shown, f"{hint}{', '.join(allowed)}")


def fields_of(kind: str, section: type) -> tuple[Field[Any], ...]:
    """Fields of a section that a profile of this kind may have."""
    return tuple(f for f in fields(section) if kind in f.metadata.get("kinds", KINDS))


def _section(where: str, name: str, section: type, given: object, kind: str) -> Any:
    table = _table(where, name, given)
    own = fields_of(kind, section)
    _known(where, f"{name}.", table, tuple(f.name for f in own))
    values = {}
    for f in own:
        if f.name in table:
            values[f.name] = _value(f"{where}{name}.{f.name}", f, table[f.name])
        elif f.metadata.get("needed"):
            raise InputError(f"{where}{name}.{f.name}", None, _MEMORY if f.name == "memory" else _WALLTIME)
    return section(**values)


_AT_LEAST = {"workers": 0, "minimum": 0}
_MAY_BE_ZERO = {"idle_s", "margin_s"}


def _value(where: str, f: Field[Any], value: Any) -> Any:
    """The value as the type of its field, checked."""
    if f.type == "int":
        least = _AT_LEAST.get(f.name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(where, value, f"a whole number of at least {least}")
        return value
    if f.type == "float":
        ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not ok or value < 0 or (value == 0 and f.name not in _MAY_BE_ZERO):
            raise InputError(where, value, "a number above zero" if f.name not in _MAY_BE_ZERO else "zero or more")
        return float(value)
    if f.type == "tuple[str, ...]":
        if not isinstance(value, list) or not all(_is_line(v) and v.strip() for v in value):
            raise InputError(where, value, "a list of texts of one line each")
        return tuple(value)
    if str(f.type).startswith("Mapping"):
        return _variables(where, value)
    if not _is_line(value):
        raise InputError(where, value, "a text of one line")
    return _text(where, f.name, value)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _variables(where: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise InputError(where, value, "a table of NAME = \"value\"")
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or not _is_line(text):
            raise InputError(f"{where}.{name}", text, "NAME = \"a text of one line\"")
    return MappingProxyType(dict(value))


def _text(where: str, name: str, value: str) -> str:
    allowed = {"memory": (parse_memory, _MEMORY), "walltime": (parse_walltime, _WALLTIME)}
    if name in allowed:
        parse, words = allowed[name]
        try:
            parse(value)
        except ValueError:
            raise InputError(where, value, words) from None
    if name == "dashboard" and value and not re.fullmatch(r"[\w.\-]*:\d{1,5}", value):
        raise InputError(where, value, "host:port such as 127.0.0.1:8787, port 0 for any free one, or nothing")
    if name in ("queue", "account", "interface", "name") and re.search(r"\s", value):
        raise InputError(where, value, "a name without blanks")
    return value


def _check_together(where: str, profile: Profile) -> None:
    """What no field can be checked for alone."""
    if profile.kind in BATCH and profile.scaling.workers < 1:
        raise InputError(f"{where}scaling.workers", profile.scaling.workers, "the largest number of jobs at once, 1 or more")
    if profile.kind in BATCH and profile.scaling.minimum > profile.scaling.workers:
        raise InputError(f"{where}scaling.minimum", profile.scaling.minimum,
                         f"at most scaling.workers = {profile.scaling.workers}")
    if profile.kind == "sge" and profile.job.cores > 1 and not any("-pe " in line for line in profile.job.directives):
        raise InputError(f"{where}job.directives", profile.job.directives,
                         f"a list with the site's parallel environment, such as \"-pe smp {profile.job.cores}\"")
    if not any("{ranks}" in word for word in profile.environment.mpi_command):
        raise InputError(f"{where}environment.mpi_command", profile.environment.mpi_command, "a command with the word {ranks}")
    for name, limits in profile.steps.items():
        if limits.ranks > 1 and name != "scf":
            raise InputError(f"{where}steps.{name}.ranks", limits.ranks, "1: only self-consistent calculations (scf) have ranks")
        if profile.cores(name) > profile.job.cores:
            threads = profile.environment.threads
            raise InputError(f"{where}steps.{name}.ranks", limits.ranks,
                             f"ranks x {threads} (environment.threads) of at most job.cores = {profile.job.cores}")
        if profile.kind not in BATCH:
            continue
        if limits.memory_GiB > profile.memory_of_steps_GiB:
            raise InputError(f"{where}steps.{name}.memory_GiB", limits.memory_GiB,
                             f"at most {profile.memory_of_steps_GiB:g}: job.memory = {profile.job.memory} less "
                             f"{WORKER_GIB} GiB of the worker itself")
        spare = profile.walltime_s - 3 * profile.timeouts.margin_s  # one to take a step in, one to leave in, one to spread over
        if limits.time_limit_s > spare:
            raise InputError(f"{where}steps.{name}.time_limit_s", limits.time_limit_s,
                             f"at most {spare:.0f}: job.walltime = {profile.job.walltime} less three times timeouts.margin_s")
