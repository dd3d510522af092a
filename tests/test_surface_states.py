"""Surface states of slabs, local basis against plane waves: which states they are, how far off, and what it does to sigma."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from emforce import surface_states, variations
from emforce.basis import basis_name
from emforce.errors import InputError
from emforce.heat_records import hop_wind
from emforce.settings import load_settings
from emforce.surface_states import SurfaceStates, are_surface_states, parse, surface_errors, write

#: 0.14 eV off at the Fermi energy, whatever far from it
AG = SurfaceStates("Ag", "111", "b", "PBE", 8, (6, 6, 1), 20, 350.0, 0.15,
                   (-0.15, 0.15, 10.0), (0.14, -0.14, 3.0), (0.1, 0.1, 0.8), 2, "GPAW, made up")


def test_a_state_spread_evenly_is_none_and_one_on_the_outer_layers_is():
    """An even spread has the layers' share of itself there; CONCENTRATION of the rest makes a surface state."""
    assert are_surface_states(np.array([0.5, 0.64, 0.66, 1.0]), 0.5).tolist() == [False, False, True, True]
    with pytest.raises(InputError, match="share"):
        are_surface_states(np.zeros(1), 1.0)


def test_a_rigid_shift_of_the_surface_states_is_found_and_nothing_else_counts():
    reference = np.array([[-3.0, -0.4, -0.1, 0.3, 2.0], [-2.9, -0.3, 0.0, 0.45, 2.1]])
    weights = np.array([[0.5, 0.9, 0.5, 0.8, 0.9], [0.5, 0.9, 0.5, 0.8, 0.9]])
    moved = reference + 0.1 * (weights > 0.7)
    energies, errors, points = surface_errors(moved, reference, weights, 0.5)
    assert errors == pytest.approx([0.1] * 3)  # 0.45 + 0.1 is outside of the window, so are -3 and 2
    assert energies == pytest.approx([-0.3, 0.4, -0.2]) and points.tolist() == [0, 0, 1]
    assert surface_errors(reference, reference, weights, 0.5)[1] == pytest.approx([0.0] * 4)
    assert surface_errors(moved, reference, np.full_like(weights, 0.5), 0.5)[1].size == 0
    with pytest.raises(InputError, match="weights"):
        surface_errors(moved, reference[:1], weights, 0.5)
    with pytest.raises(InputError, match="as many bands"):
        surface_errors(moved, reference[:, :2], weights, 0.5)


def test_what_counts_is_the_error_at_the_fermi_energy():
    assert AG.at_fermi_energy_eV == pytest.approx(0.14)
    two = replace(AG, energies_eV=(0.0, 0.15), errors_eV=(0.1, 0.2), weights=(1.0, 3.0))
    share = 3 * math.exp(-0.5)
    assert two.at_fermi_energy_eV == pytest.approx(math.sqrt((0.01 + share * 0.04) / (1 + share)))
    assert replace(AG, energies_eV=(), errors_eV=(), weights=(), middle=0).at_fermi_energy_eV == 0.0


def test_the_file_reads_back_and_refuses_what_it_does_not_know(tmp_path):
    file = tmp_path / "a.toml"
    write([AG], file)
    other = replace(AG, metal="Cu", energies_eV=(), errors_eV=(), weights=(), middle=0)
    write([other], file)
    write([replace(AG, cutoff_eV=400.0)], file)  # once more
    found = parse(file.read_text())
    assert found == {AG.identity: replace(AG, cutoff_eV=400.0), other.identity: other}
    text = file.read_text()
    for bad, message in ((text.replace("errors_eV", "errors"), "errors"), (text + text.partition("\n\n")[2], "one entry")):
        with pytest.raises(InputError, match=message):
            parse(bad)


def test_the_shipped_file_holds_surfaces_in_bases_of_today():
    for (metal, facet, basis, functional), one in surface_states.stored().items():
        assert basis in {basis_name(metal, "default"), basis_name(metal, "small")} and functional in ("PBE", "LDA")
        assert facet in ("111", "100", "110") and len(one.energies_eV) == len(one.errors_eV) == len(one.weights) >= one.middle
        assert all(abs(energy) <= surface_states.WINDOW_eV for energy in one.energies_eV) and one.at_fermi_energy_eV < 0.2


@pytest.fixture
def silver(monkeypatch):
    """A row whose K falls by 100 per eV, with 5 of sigma for 0.05 eV of E_F and 5 of other things."""
    monkeypatch.setattr(variations, "find", lambda *identity: AG if identity == AG.identity else None)
    energies = np.array([-0.6, -0.1, 0.0, 0.1, 0.6])
    return synthetic.record(metal="Ag", species="Ag", facet="111", basis="b", site="hop average", fraction=math.nan,
                            k_wind_uohm_cm=-150.0, energies_eV=energies, k_of_energy_uohm_cm=-150.0 + 100 * energies,
                            k_wind_sigma_parts_uohm_cm={"fermi_energy": 5.0, "geometry": 5.0})


def test_their_error_is_a_part_of_sigma_as_far_as_it_is_more_than_that_of_the_fermi_energy(silver):
    found = variations.with_variations(silver, [silver])
    assert found.k_wind_sigma_parts_uohm_cm["surface_states"] == pytest.approx(math.sqrt(14.0**2 - 5.0**2))
    assert found.k_wind_sigma_uohm_cm == pytest.approx(math.hypot(14.0, 5.0))
    origin = {"states": 3, "error_eV": 0.14, "layers": 8, "origin": AG.origin}
    assert found.provenance["surface_states"] == origin
    assert variations.with_variations(found, [found]) == found
    known = replace(silver, k_wind_sigma_uohm_cm=math.hypot(20.0, 5.0),
                    k_wind_sigma_parts_uohm_cm={"fermi_energy": 20.0, "geometry": 5.0})
    assert variations.with_variations(known, []).k_wind_sigma_parts_uohm_cm["surface_states"] == 0.0


@pytest.mark.parametrize("changes", [
    {"metal": "Au", "species": "Au"}, {"facet": "100"}, {"facet": "bulk"}, {"basis": "c"},
    {"preset": "quick (dft.functional=LDA)"}, {"preset": "of another version (nothing.known=1)"},
    {"energies_eV": np.zeros(0), "k_of_energy_uohm_cm": np.zeros(0)},
    # K is not known at 0.14
    {"energies_eV": np.array([-0.1, 0.0, 0.1]), "k_of_energy_uohm_cm": np.array([-149.0, -150.0, -151.0])},
])
def test_what_was_not_compared_has_no_such_part(silver, changes):
    other = replace(silver, **changes)
    assert variations.with_variations(other, [other]) is other


def test_the_heat_of_transport_takes_the_larger_error_of_the_energy(silver):
    settings = load_settings("quick")
    for row, error in ((silver, settings.embedding.fermi_error_eV), (variations.with_variations(silver, [silver]), 0.14)):
        wind = hop_wind({"id": 1, **row.document()}, settings)
        assert wind.fermi_error == error
        assert wind.k_sigma == pytest.approx(5.0)  # neither of the two is an error of K at a given energy


@pytest.fixture(scope="module")
def workflow():
    path = Path("workflows/surface_states.py")
    spec = importlib.util.spec_from_file_location("surface_states_workflow", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_half_of_the_mesh_holds_one_of_k_and_minus_k(workflow):
    for n in (5, 6):
        points, weights = workflow.half_mesh(n)
        half = np.rint(n * points).astype(int)[:, :2]
        pairs = {frozenset({tuple(k), tuple(-k % n)}) for k in half}
        assert len(half) == len(pairs) and {k for pair in pairs for k in pair} == {(i, j) for i in range(n) for j in range(n)}
        assert half[0].tolist() == [0, 0]
        assert np.rint(n**2 * weights).astype(int).tolist() == [len({tuple(k), tuple(-k % n)}) for k in half]


def test_a_vacancy_has_no_surface(workflow, capsys, tmp_path):
    from emforce import recipe

    assert recipe.ended(lambda: workflow.main(["structures/cu-vacancy.toml", "--store", str(tmp_path / "s")]), "x") == 2
    assert "SPEC" in capsys.readouterr().err and not (tmp_path / "s").exists()


@pytest.mark.gpaw
def test_both_sets_of_bands_of_a_thin_slab_agree_but_for_the_basis(workflow, monkeypatch, capsys, tmp_path):
    """Al(111), four layers: the command's own table; plane waves and basis within 0.4 eV, k and -k of a slab degenerate."""
    for name, value in (("LAYERS", 3), ("OUTER_LAYERS", 1), ("MESH", 2), ("CUTOFF_eV", 200.0)):
        monkeypatch.setattr(workflow, name, value)
    monkeypatch.setattr(surface_states, "CONCENTRATION", 0.0)  # so thin a slab has hardly any: whatever is above the average
    small = [word for field in ("dft.slab_kpts=[1,1,1]", "dft.grid_A=0.3", "structure.layers=3", "dft.recipe=small")
             for word in ("--set", field)]
    options = ["--workers", "1", "--store", str(tmp_path / "s"), "--write", str(tmp_path / "a.toml"), *small]
    assert workflow.main(["structures/al111-adatom.toml", *options]) == 0
    table = capsys.readouterr().out
    (one,) = parse((tmp_path / "a.toml").read_text()).values()
    assert (one.metal, one.facet, one.layers, one.points, one.basis) == ("Al", "111", 3, 4, basis_name("Al", "small"))
    assert one.energies_eV and max(map(abs, one.errors_eV)) < 0.4
    assert f" {len(one.energies_eV)} " in table and f"{one.at_fermi_energy_eV:.3f}" in table
