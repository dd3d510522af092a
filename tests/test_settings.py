"""Presets and overrides: each field is checked and named, and the digest follows the numbers."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest

from emforce.errors import InputError
from emforce.settings import _SECTIONS, load_settings, preset_fields, preset_label, presets, settings_of

FIELDS = [(f"{section}.{f.name}", str(f.type)) for section, kind in _SECTIONS.items() for f in fields(kind)]

WRONG: dict[str, list[Any]] = {
    "Mesh": [3, [3, 3], [3, 3, 0], [3, 3, 1.5], "331", [3, 3, True], None],
    "int": ["3", 2.5, True, None, [3]],
    "float": ["0.1", True, None, [0.1], float("nan"), float("inf")],
    "bool": ["true", 1, None],
    "str": [3, None, True],
    "tuple[int, ...]": [8, [], [8.5], ["8"], [True], [0]],
    "tuple[str, ...]": ["region", ["radius"], [1], 3],
    "tuple[float, ...]": [5.0, [], ["5"], [None], [float("nan")]],
}


def value_of(settings: Any, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(settings, section), field)


def changed(name: str, kind: str, value: Any) -> dict[str, Any]:
    """An allowed value unlike the preset's."""
    special = {
        "dft.directions": {"hop": "all", "all": "hop"}.get(value),
        "embedding.fermi_error_eV": 0.2 if value != 0.2 else 0.1,
        "embedding.energies_eV": [-0.3, *value[1:-1], 0.3] if name == "embedding.energies_eV" else None,
        "structure.mover_lift_A": 0.05 if name == "structure.mover_lift_A" else None,
        "host.bulk_mesh_max": value + 2 if isinstance(value, int) else None,
    }
    if special.get(name) is not None:
        return {name: special[name]} | ({"embedding.energies_eV": [-0.2, 0.0, 0.2]} if name.endswith("error_eV") else {})
    if kind == "Mesh":
        return {name: [value[0] + 1, *value[1:]]}
    if kind == "int":
        return {name: value + 2}
    if kind == "float":
        return {name: value * 1.001}
    if kind == "bool":
        return {name: not value}
    if kind == "str":
        return {name: value + "x"}
    if kind == "tuple[str, ...]":
        return {name: value[:-1]}
    return {name: [*value[:-1], value[-1] + 1]}


def test_presets_are_there():
    assert {"quick", "standard", "production"} <= set(presets())


@pytest.mark.parametrize("preset", presets())
def test_every_preset_loads(preset):
    settings = load_settings(preset)
    assert settings.preset == preset
    assert settings.overrides == ()
    assert load_settings(preset).digest == settings.digest
    assert hash(settings) == hash(load_settings(preset))


def test_an_unknown_preset():
    with pytest.raises(InputError, match=r"preset: 'fast' is not allowed; allowed: .*quick"):
        load_settings("fast")


@pytest.mark.parametrize("name", ["dft.smearing", "smearing_eV", "nothing.grid_A", "", "dft.", "dft.grid_A.x"])
def test_unknown_fields(name):
    with pytest.raises(InputError, match=r"--set: .*dft\.grid_A"):
        load_settings("quick", {name: 1})


@pytest.mark.parametrize(("name", "kind"), FIELDS, ids=[n for n, _ in FIELDS])
def test_wrong_types_name_the_field(name, kind):
    for value in WRONG[kind]:
        if name == "embedding.wide_energies_eV" and value == []:
            assert load_settings("quick", {name: value}).embedding.wide_energies_eV == ()
            continue
        with pytest.raises(InputError) as caught:
            load_settings("quick", {name: value})
        assert caught.value.field == name, value
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [
    ("structure.layers", 0), ("structure.vacuum_A", -1.0), ("structure.thick_layers", [1]), ("dft.smearing_eV", 0.0),
    ("dft.grid_A", 0), ("dft.density_tolerance", -1e-4), ("dft.max_iterations", 0), ("dft.matrix_kpts", 2),
    ("dft.directions", "x"), ("dft.displacement_A", 0.0), ("host.bulk_kpts", 0), ("host.bulk_matrix_kpts", 8),
    ("host.bulk_mesh", 63), ("host.slab_mesh", 1), ("host.embedding_mesh", -2), ("host.sigma_eV", 0.0),
    ("embedding.radii_A", [5.0, -1.0]), ("embedding.energies_eV", [0.0, -0.1, 0.1]), ("embedding.energies_eV", [-0.1, 0.1]),
    ("embedding.energies_eV", [0.0, 0.1]), ("embedding.fermi_error_eV", -0.1),
    ("embedding.wide_energies_eV", [0.4, -0.4]), ("embedding.wide_energies_eV", [-0.4, 0.2]), ("embedding.wide_energies_eV", 0.4),
    ("direct.omegas_eV", [0.1, 0.2]), ("direct.omegas_eV", [0.1, 0.2, -0.3]),
])
def test_wrong_values_name_the_field(name, value):
    with pytest.raises(InputError) as caught:
        load_settings("quick", {name: value})
    assert caught.value.field == name


@pytest.mark.parametrize(("name", "kind"), FIELDS, ids=[n for n, _ in FIELDS])
def test_digest_follows_every_field(name, kind):
    base = load_settings("quick")
    other = load_settings("quick", changed(name, kind, value_of(base, name)))
    assert value_of(other, name) != value_of(base, name)
    assert other.digest != base.digest
    same = load_settings("quick", {name: value_of(base, name)})
    assert same.digest == base.digest
    assert same.overrides == ((name, value_of(base, name)),)


def test_digest_does_not_follow_the_name():
    quick = load_settings("quick")
    numbers = {f"{section}.{key}": value for section in _SECTIONS for key, value in asdict(getattr(quick, section)).items()}
    assert load_settings("standard", numbers).digest == quick.digest
    assert load_settings("standard").digest != quick.digest
    # the same number written as 5 and 5.0
    assert load_settings("quick", {"structure.vacuum_A": 7}).digest == load_settings("quick", {"structure.vacuum_A": 7.0}).digest


def test_preset_label():
    assert preset_label("quick", {}) == "quick"
    assert preset_label("quick", {"mesh": 48, "delta": 0.02}) == "quick (delta=0.02, mesh=48)"


@pytest.mark.parametrize("fields", [
    {}, {"dft.functional": "LDA"}, {"structure.slab_size": (4, 4, 1), "dft.functional": "LDA"},
    {"embedding.radii_A": (7.4, 8.0), "direct.compute": False, "host.sigma_eV": 0.1, "direct.vary": ("region", "edge")},
])
def test_a_label_tells_its_settings(fields):
    settings = load_settings("quick", fields)
    label = preset_label(settings.preset, dict(settings.overrides))
    assert preset_fields(label) == ("quick", {name: str(value) for name, value in fields.items()})
    assert settings_of(label) == settings


def test_a_label_with_a_field_that_is_gone():
    with pytest.raises(InputError, match=r"dft\.colour"):
        settings_of("quick (dft.colour=red)")


def test_the_measured_lattice_constant_is_no_functional():
    with pytest.raises(InputError, match=r"dft\.functional"):
        load_settings("quick", {"dft.functional": "experiment"})
