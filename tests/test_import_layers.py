"""Lower layers never import higher ones, only the edge to GPAW imports GPAW, and `import emforce` is quick.

LAYERS is the order of the package from the bottom up. Modules of one line do not import one another. A new file is
added where it belongs; the test fails until it is. A name here whose file is not written yet does no harm.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "emforce"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("__init__", "units", "errors"),
    ("materials",),
    ("presets", "settings", "keys", "progress", "provenance", "store", "claims", "step_server"),
    ("ledger", "runner"),
    # what to build
    ("spec",),
    ("hop",),
    ("hosts", "site_symmetry"),
    ("sites",),
    ("matching",),
    ("structure",),
    ("relaxed",),
    # formulas: numpy, scipy, errors, units
    ("physics.__init__",),
    ("physics.lcao", "physics.symmetry", "physics.hostcheck"),
    ("physics.lattice_sum",),
    ("physics.primitive", "physics.spin_orbit"),
    ("physics.fermi", "physics.slab", "physics.position"),
    ("physics.embedding", "physics.response_kernel"),
    ("physics.perturbation",),
    ("physics.image_pairs",),
    ("physics.wind", "physics.scattering", "physics.wire"),
    ("physics.direct_embedding",),
    ("physics.carried",),
    ("physics.direct",),
    ("physics.valence",),
    ("physics.heat", "physics.force_constants", "physics.vineyard"),
    ("physics.migration",),
    ("physics.diffusion", "physics.debye", "physics.drift"),
    ("diffusion", "phonon_bands"),
    ("drift",),
    # density functional theory: the only files that import gpaw
    ("dft", "basis", "two_centre"),
    ("self_consistency", "bfgs"),
    ("planewave", "connection"),
    # running
    ("cluster_profile",),
    ("batch",),
    ("clusters",),
    ("steps",),
    ("ranked_scf",),
    ("ground_state_jobs", "embedding_jobs"),
    ("direct_jobs", "direct_plan", "heat_jobs", "kinetics_jobs", "phonon_jobs", "spin_orbit_jobs", "spinor_jobs"),
    ("jobs",),
    ("plan",),
    ("kinetics_plan",),
    ("plane_wave_plan",),
    ("pools",),
    ("farm",),
    ("campaign",),
    # keeping: knows records, not jobs
    ("schema", "storage", "stored", "migrations.__init__", "migrations.env", "migrations.versions.__init__",
     "migrations.versions.v1_wind", "migrations.versions.v2_direct_kinetics_heat", "migrations.versions.v3_phonons",
     "migrations.versions.v4_tensor_sigma"),
    ("copies",),
    ("upgrade",),
    ("record",),
    ("evaluate", "expression", "refinement", "thickness", "surface_states"),
    ("best", "tables"),
    ("wire_analysis", "screening"),
    ("database",),
    ("reference", "seebeck", "served_copy"),
    ("query",),
    ("audit", "comparison"),
    ("comparison_text",),
    ("assess",),
    ("direct_assess", "lift"),
    ("variations",),
    ("hop_records", "heat_assess", "heat_slabs"),
    ("heat_variations",),
    ("heat_records",),
    ("workflow", "heat", "phonons", "spin_orbit"),
    ("relaxation", "kinetics_assess"),
    ("kinetics_records",),
    ("kinetics",),
    # showing
    ("plot",),
    ("valence_plot", "heat_plot"),
    ("screening_plot", "convergence", "phonon_plot", "kinetics_plot", "spin_orbit_plot"),
    ("uncertainty_plot",),
    # using: small models made from evaluated rows
    ("models.__init__", "models.parameters", "models.lattice"),
    ("models.continuum", "models.surface", "models.walkers", "models.terrace", "models.companions"),
    ("models.kmc", "models.verdict", "models.drifts"),
    ("models.verdict_plot", "models.verdict_text", "published_points"),
    ("published_tensors",),
    ("published",),
    ("models.figures",),
    # handing on: files for other programs
    ("export.__init__", "export.request"),
    ("export.parameters",),
    ("export.documents", "export.dynamics", "export.fields", "export.jumps", "export.lines"),
    ("export.formats",),
    # showing to other machines' programs and to a browser
    ("serve.__init__", "serve.listen", "serve.structures", "serve.values"),
    ("serve.snapshot", "serve.figures"),
    ("serve.pages",),
    ("serve.site",),
    ("optimade_server",),
    ("commands.__init__", "commands.options"),
    ("commands.ask", "commands.model", "commands.calculate", "commands.campaign", "commands.export", "commands.keep",
     "commands.kinetics", "commands.serve", "commands.wires", "commands.heat", "commands.phonons",
     "commands.spin_orbit", "commands.compare"),
    ("commands.verdict",),
    ("recipe",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

GPAW_FILES = {"dft", "self_consistency", "ranked_scf", "basis", "planewave", "two_centre", "connection"}
PHYSICS_MAY_IMPORT = {"numpy", "scipy", "emforce"}
#: beyond the order: records and queries must be readable where nothing was computed
KEEPING = {"stored", "record", "database", "query", "audit", "plot", "export.request", "export.parameters", "export.documents",
           "export.dynamics", "export.fields", "export.jumps", "export.lines", "export.formats"}
RUNNING = GPAW_FILES | {"jobs", "plan", "pools", "farm", "campaign", "clusters", "workflow", "relaxation"}
SLOW = ("gpaw", "dask", "distributed", "sqlalchemy", "matplotlib", "pymatgen", "phonopy", "pandas")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(name: str) -> list[tuple[int, str]]:
    """Line and absolute name of every import of a module, those inside functions too."""
    package = ["emforce", *name.split(".")[:-1]]
    found = []
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            found += [(node.lineno, ".".join([*base, alias.name])) for alias in node.names]
    return found


def own_module(imported: str) -> str | None:
    """Return the module of this package that an absolute import name reaches, if it is one of this package."""
    parts = imported.split(".")
    if parts[0] != "emforce":
        return None
    for end in range(len(parts), 1, -1):
        for name in (".".join(parts[1:end]), ".".join([*parts[1:end], "__init__"])):
            if name in MODULES or name in RANK:
                return name
    return "__init__"


def test_the_table_names_each_module_once():
    names = [name for layer in LAYERS for name in layer]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", MODULES)
def test_every_file_has_a_layer(name):
    assert name in RANK, f"emforce/{name.replace('.', '/')}.py is new: add {name!r} to LAYERS in {Path(__file__).name}"


@pytest.mark.parametrize("name", [n for n in MODULES if n in RANK])
def test_lower_layers_never_import_higher_ones(name):
    for line, imported in imports(name):
        other = own_module(imported)
        if other is not None and other != name and other in RANK:
            assert RANK[other] < RANK[name] or other == "__init__", (
                f"emforce/{name.replace('.', '/')}.py:{line} imports {imported}, which is not below it in LAYERS"
            )


@pytest.mark.parametrize("name", MODULES)
def test_only_the_edge_imports_gpaw(name):
    lines = [line for line, imported in imports(name) if imported.split(".")[0] in ("gpaw", "_gpaw")]
    assert not lines or name in GPAW_FILES, f"emforce/{name}.py imports gpaw in lines {lines}"


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("physics.")])
def test_physics_needs_numpy_and_scipy_only(name):
    for line, imported in imports(name):
        top = imported.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        assert top in PHYSICS_MAY_IMPORT, f"emforce/{name.replace('.', '/')}.py:{line} imports {imported}"
        other = own_module(imported)
        assert other is None or other in ("__init__", "units", "errors") or other.startswith("physics."), (
            f"emforce/{name.replace('.', '/')}.py:{line} imports {imported}"
        )


@pytest.mark.parametrize("name", [n for n in MODULES if n in KEEPING])
def test_records_do_not_know_how_they_were_computed(name):
    for line, imported in imports(name):
        other = own_module(imported)
        assert other is None or other not in RUNNING, f"emforce/{name}.py:{line} imports {imported}"


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after running some code."""
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("code", [
    "import emforce",
    "import emforce.units, emforce.errors, emforce.materials",
    "; ".join(f"import emforce.{n.removesuffix('.__init__')}" for n in MODULES if n.startswith("physics.")),
], ids=["emforce", "materials", "physics"])
def test_import_is_quick(code):
    loaded = loaded_after(code)
    slow = [name for name in SLOW if name in loaded]
    assert not slow, f"{code!r} loads {slow}"
    assert len(loaded) < 900, f"{code!r} loads {len(loaded)} modules"


def test_import_emforce_alone_is_very_small():
    assert len(loaded_after("import emforce") - loaded_after("pass")) < 50


def test_package_data_is_declared():
    """Every file under emforce/data goes into the wheel, and the package says that it is typed."""
    import tomllib

    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"py.typed", "data/**/*"} <= set(project["tool"]["setuptools"]["package-data"]["emforce"])
    assert (PACKAGE / "py.typed").exists()
