"""Metal data: what must hold whatever the numbers are, and independent numbers against one another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import constants as c

from emforce import units
from emforce.errors import InputError
from emforce.materials import Material, Sourced, material, materials

METALS = ("Cu", "Au", "Al", "Ag", "W", "Mo")


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch):
    monkeypatch.delenv("EMFORCE_MATERIALS", raising=False)


@pytest.fixture(params=METALS)
def metal(request) -> Material:
    return material(request.param)


def sourced(metal: Material) -> dict[str, Sourced]:
    found = dict(metal.lattice_constants)
    for f in dataclasses.fields(metal):
        if isinstance(value := getattr(metal, f.name), Sourced):
            found[f.name] = value
    return found


def test_the_metals_of_the_project_are_there():
    assert materials() == METALS


def test_every_number_has_a_source(metal):
    for name, number in sourced(metal).items():
        assert len(number.source) > 8, name
        assert len(number.seen) > 8 or number.seen == "definition", name
        assert not (number.verified and "memory" in number.seen), name
    assert all(len(s) > 8 for s in metal.table.sources)


def test_the_lattice_constant_used_is_verified(metal):
    assert metal.lattice_constants["PBE"].verified
    assert metal.lattice_constants["experiment"].verified


def test_density_follows_from_measured_lattice_constant_and_mass(metal):
    density = metal.mass_amu * c.atomic_mass / (metal.volume_per_atom("experiment") * 1e-30)
    assert density == pytest.approx(metal.density.value, rel=0.01)


def test_pbe_lattice_constant_is_near_the_measured_one(metal):
    assert metal.lattice_constant("PBE") == pytest.approx(metal.lattice_constant("experiment"), rel=0.025)


def test_nearest_neighbour_against_explicit_lattice(metal):
    from ase.build import bulk

    atoms = bulk(metal.symbol, metal.structure, a=metal.lattice_constant("PBE")).repeat(3)
    distances = atoms.get_all_distances(mic=True)
    assert metal.nearest_neighbour("PBE") == pytest.approx(distances[distances > 0.1].min(), rel=1e-12)
    assert metal.volume_per_atom("PBE") == pytest.approx(atoms.get_volume() / len(atoms), rel=1e-12)


def test_resistivity_increases_with_temperature(metal):
    low, high = metal.temperature_range_K
    rho = [metal.rho_uohm_cm(t) for t in np.linspace(low, high, 400)]
    assert np.all(np.diff(rho) > 0)


def test_resistivity_is_roughly_linear_above_room_temperature(metal):
    """Phonon scattering: d ln rho/d ln T is between 1 and 1.4 in every metal, also where two sources meet."""
    _, high = metal.temperature_range_K
    t = np.arange(300.0, 0.95 * high, 25.0)
    rho = np.array([metal.rho_uohm_cm(x) for x in t])
    slope = np.gradient(np.log(rho), np.log(t))
    assert slope.min() > 0.95
    assert slope.max() < 1.45


def test_resistivity_goes_through_the_table(metal):
    for t, rho in zip(metal.table.temperature_K, metal.table.rho_uohm_cm, strict=True):
        if t <= metal.temperature_range_K[1]:
            assert metal.rho_uohm_cm(t) == pytest.approx(rho, rel=1e-12)


def test_table_covers_100_K_to_hot(metal):
    low, high = metal.temperature_range_K
    assert low <= 100
    assert high >= 800
    assert high <= metal.melting_temperature.value


def test_resistivity_round_trip_of_units(metal):
    assert metal.resistivity(300) / units.uohm_cm == pytest.approx(metal.rho_uohm_cm(300), rel=1e-14)


def test_rho_lambda_gives_a_mean_free_path_of_tens_of_nanometres(metal):
    mean_free_path = metal.rho_lambda_internal / metal.resistivity(293.15)  # Angstrom
    assert 80 < mean_free_path < 600


def test_rho_lambda_is_near_a_free_electron_count_of_order_one(metal):
    """rho lambda = m_e v_F/(n e^2) with k_F^3 = 3 pi^2 n is 3 pi^2/k_F^2 in units of hbar/e^2."""
    k_F = np.sqrt(3 * np.pi**2 / metal.rho_lambda_internal)
    electrons = k_F**3 / (3 * np.pi**2) * metal.volume_per_atom("experiment")
    assert 0.3 < electrons < 3


def test_mean_free_path_of_copper():
    copper = material("Cu")
    assert copper.rho_lambda_internal / copper.resistivity(293) == pytest.approx(399, rel=0.01)


def test_sommerfeld_gamma_is_of_the_order_of_one_state_per_eV(metal):
    gamma = metal.sommerfeld_gamma.value * 1e-3  # J/(mol K2)
    dos_per_eV = gamma * 3 / (np.pi**2 * c.k**2 * c.N_A) * c.e
    assert 0.2 < dos_per_eV < 1.0


def test_arrays_are_read_only(metal):
    with pytest.raises(ValueError):
        metal.table.rho_uohm_cm[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        metal.symbol = "X"


def test_setup_electrons_agree_with_the_setups_shipped(metal):
    import gzip
    import re
    from importlib.util import find_spec
    from pathlib import Path

    folder = Path(find_spec("gpaw_data").submodule_search_locations[0]) / "setups"
    name = ".".join(part for part in (metal.symbol, metal.gpaw_setup, "PBE", "gz") if part)
    with gzip.open(folder / name) as file:
        text = file.read(3000).decode()
    assert float(re.search(r'<atom [^>]*valence="([\d.]+)"', text).group(1)) == metal.setup_electrons


def test_sources_of_a_temperature():
    sources, verified = material("Cu").resistivity_sources(450)
    assert len(sources) == 1
    assert "Matula" in sources[0]
    assert verified
    assert material("Mo").resistivity_sources(450)[1] is False
    # between two sources: both are named
    assert len(material("W").resistivity_sources(290)[0]) == 2


def test_uncertainty_of_the_resistivity():
    tungsten = material("W")
    assert tungsten.rho_sigma_uohm_cm(650) == pytest.approx(0.02 * tungsten.rho_uohm_cm(650))
    assert tungsten.rho_sigma_uohm_cm(290) is None  # one of the two points around has none
    assert material("Cu").rho_sigma_uohm_cm(300) is None
    with pytest.raises(InputError, match="temperature_K"):
        tungsten.rho_sigma_uohm_cm(5000)


def test_tungsten_of_two_compilations():
    """White and Minges (1997), which the table holds, against Forsythe and Worthing (1925), from another copy."""
    old = {500: 10.56, 600: 13.23, 700: 16.09, 800: 19.00, 1000: 24.93, 1500: 40.36, 2000: 56.67}
    tungsten = material("W")
    for T, rho in old.items():
        assert rho == pytest.approx(tungsten.rho_uohm_cm(T), abs=1.2 * tungsten.rho_sigma_uohm_cm(T))


def test_every_uncertainty_has_a_source():
    import tomllib
    from importlib import resources

    entries = tomllib.loads((resources.files("emforce") / "data" / "materials.toml").read_text(encoding="utf-8"))
    blocks = [block for entry in entries.values() for block in entry["resistivity"]]
    stated = [block for block in blocks if "relative_sigma" in block]
    assert stated and all(len(block["sigma_source"]) > 20 for block in stated)


@pytest.mark.parametrize("temperature", [0, -1, 50, 1358, 1e9, float("nan"), float("inf"), "hot", None])
def test_bad_temperature(temperature):
    with pytest.raises(InputError, match="temperature_K: .*100 to 1357.6 K for Cu") as caught:
        material("Cu").rho_uohm_cm(temperature)
    assert caught.value.field == "temperature_K"


@pytest.mark.parametrize("name", ["Xx", "", "cu", "Copper", "name", None])
def test_unknown_metal_lists_the_known_ones(name):
    with pytest.raises(InputError, match="Cu, Au, Al, Ag, W, Mo"):
        material(name)


def test_unknown_functional():
    with pytest.raises(InputError, match="PBE, LDA, experiment"):
        material("Cu").lattice_constant("B3LYP")


NICKEL = """
[Ni]
structure = "fcc"
[Ni.gpaw_setup]
label = ""
electrons = 10
source = "test"
[Ni.lattice_constant.PBE]
value = 3.52
unit = "angstrom"
source = "a test, not a measurement"
verified = false
[Ni.density]
value = 8900
unit = "kg/m3"
source = "a test, not a measurement"
[Ni.melting_temperature]
value = 1728
unit = "K"
source = "a test, not a measurement"
[[Ni.resistivity]]
temperature_K = [100, 300, 900]
rho_uohm_cm = [1.0, 7.2, 38.0]
source = "a test, not a measurement"
"""


def test_a_metal_by_a_file_and_no_code(tmp_path, monkeypatch):
    file = tmp_path / "metals.toml"
    file.write_text(NICKEL)
    assert material("Ni", file).rho_uohm_cm(300) == 7.2
    assert material("Ni", file).rho_lambda is None
    with pytest.raises(InputError):
        material("Ni")
    monkeypatch.setenv("EMFORCE_MATERIALS", str(file))
    assert materials()[-1] == "Ni"
    assert material("Ni").table.verified == (False,) * 3
    assert material("Cu").symbol == "Cu"


@pytest.mark.parametrize(("old", "new", "where"), [
    ('structure = "fcc"', 'structure = "hcp"', "Ni.structure"),
    ("electrons = 10", "electrons = 0", "Ni.gpaw_setup.electrons"),
    ("value = 3.52", "value = -3.52", "Ni.lattice_constant.PBE.value"),
    ("value = 3.52", "value = nan", "Ni.lattice_constant.PBE.value"),
    ('unit = "angstrom"', 'unit = "bohr"', "Ni.lattice_constant.PBE.unit"),
    ('source = "a test, not a measurement"\nverified', "verified", "Ni.lattice_constant.PBE.source"),
    ("verified = false", 'verified = "no"', "Ni.lattice_constant.PBE.verified"),
    ("[100, 300, 900]", "[100, 300]", "Ni.resistivity"),
    ("[100, 300, 900]", "[100, 300, 300]", "resistivity.temperature_K"),
    ("[1.0, 7.2, 38.0]", "[1.0, 7.2, 3.0]", "resistivity.rho_uohm_cm"),
    ("[1.0, 7.2, 38.0]", "[1.0, 7.2, 38.0]\nrelative_sigma = 2", "Ni.resistivity.relative_sigma"),
    ("[1.0, 7.2, 38.0]", "[1.0, 7.2, 38.0]\nrelative_sigma = 0.1", "Ni.resistivity.sigma_source"),
    ("[Ni.density]", "[Ni.weight]", "Ni.weight"),
    ("[Ni.melting_temperature]", "[Ni.debye_temperature]", "Ni.melting_temperature"),
    ("[Ni]", "Ni = 3\n[Nj]", "materials file"),
    ("[Ni]", "[Ni", "materials file"),
])
def test_a_wrong_entry_is_named(tmp_path, old, new, where):
    assert old in NICKEL
    file = tmp_path / "metals.toml"
    file.write_text(NICKEL.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        material("Ni", file)
    assert where in caught.value.field


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="readable TOML"):
        materials(tmp_path / "none.toml")
