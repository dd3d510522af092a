"""Resistivity of wires and films: limits in closed form, other routes to the same integrals, published numbers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.special import expn

from emforce.errors import InputError
from emforce.physics import wire
from emforce.physics.wire import (
    WireModel,
    diffuse_square_wire_conductivity,
    film_conductivity,
    grain_conductivity,
    round_wire_conductivity,
    square_wire_ratio,
    wire_resistivity,
)

KAPPAS = (1e-3, 0.05, 0.7, 3.0, 40.0, 1e3)


# limits


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_wide_round_wire(p):
    """rho/rho0 = 1 + 3 (1 - p)/(4 kappa) (Dingle): 3/16 of perimeter over area, times the free path."""
    for kappa in (200.0, 2000.0):
        expected = 0.75 * (1 - p) / kappa
        assert 1 / round_wire_conductivity(kappa, p) - 1 == pytest.approx(expected, rel=2 / kappa)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_wide_film(p):
    for kappa in (200.0, 2000.0):
        expected = 0.375 * (1 - p) / kappa
        assert 1 / film_conductivity(kappa, p) - 1 == pytest.approx(expected, rel=2 / kappa)


def test_thin_round_wire():
    """A free path far beyond the wire: sigma/sigma0 = kappa (1 + p)/(1 - p), the mean chord for diffuse walls."""
    for p in (0.0, 0.4, 0.8):
        assert round_wire_conductivity(1e-5, p) == pytest.approx(1e-5 * (1 + p) / (1 - p), rel=1e-3)


def test_thin_film():
    """Sondheimer: sigma/sigma0 = (3 kappa/4) (1 + p)/(1 - p) ln(1/kappa) but for a constant beside the logarithm."""
    slopes = []
    for p in (0.0, 0.5):
        low, high = (film_conductivity(k, p) / (0.75 * k * (1 + p) / (1 - p)) for k in (1e-5, 1e-3))
        slopes.append((low - high) / math.log(100))
    assert slopes == pytest.approx([1.0, 1.0], rel=2e-3)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_film_with_diffuse_walls_in_closed_form(kappa):
    """p = 0: the integral of Fuchs is 1/4 - E_3(kappa) + E_5(kappa), E_n the exponential integrals."""
    expected = 1 - 1.5 / kappa * (0.25 - expn(3, kappa) + expn(5, kappa))
    assert film_conductivity(kappa, 0.0) == pytest.approx(expected, rel=1e-7 + 1e-16 / kappa**2)


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_mirror_walls_do_nothing(kappa, alpha):
    for conductivity in (round_wire_conductivity, film_conductivity):
        assert conductivity(kappa, 1.0, alpha) == pytest.approx(grain_conductivity(alpha), rel=1e-7)


def test_grains():
    """Mayadas and Shatzkes: rho/rho0 = 1 + 3 alpha/2 for small, 4 alpha/3 for large alpha; both branches of the code."""
    for alpha in (1e-4, 1e-3):
        assert 1 / grain_conductivity(alpha) - 1 == pytest.approx(1.5 * alpha, rel=5 * alpha)
    assert 1 / grain_conductivity(1e6) == pytest.approx(4e6 / 3, rel=1e-5)
    assert grain_conductivity(0) == 1
    for alpha in (0.01, 0.5, 0.9999, 1.0001, 3.0, 20.0):
        integral = quad(lambda x, a=alpha: 3 * x**3 / (x + a), 0, 1, epsabs=1e-13)[0]
        assert grain_conductivity(alpha) == pytest.approx(integral, rel=1e-10)


# other routes


def test_specularity_from_diffuse_walls():
    """Dingle: a wire with specularity p is a sum over diffuse wires n times as wide, (1-p)^2 sum n p^(n-1) sigma(n kappa)."""
    for kappa in (0.1, 1.0):
        for p in (0.2, 0.6):
            n = np.arange(1, 80)
            diffuse = np.array([round_wire_conductivity(float(kappa * i), 0.0) for i in n])
            series = (1 - p) ** 2 * float(np.sum(n * p ** (n - 1.0) * diffuse))
            assert round_wire_conductivity(kappa, p) == pytest.approx(series, rel=1e-6)


@pytest.mark.parametrize(("kappa", "p", "alpha"), [(0.3, 0.0, 0.0), (2.0, 0.4, 0.0), (0.5, 0.2, 0.7)])
def test_round_wire_by_adaptive_quadrature(kappa, p, alpha):
    """The formula of the docstring as it stands, with scipy's adaptive rule."""

    def loss(psi, theta):
        h = math.cos(theta) / (math.cos(theta) + alpha)
        x = kappa * math.sin(psi) / (h * math.sin(theta))
        share = (1 - math.exp(-x)) / (1 - p * math.exp(-x))
        return (math.sin(theta) * math.cos(theta) * h) ** 2 * math.sin(psi) * share

    integral = dblquad(loss, 0, math.pi / 2, 0, math.pi / 2, epsabs=1e-8)[0]
    expected = grain_conductivity(alpha) - 12 * (1 - p) / (math.pi * kappa) * integral
    assert round_wire_conductivity(kappa, p, alpha) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("kappa", "p", "alpha"), [(0.5, 0.2, 0.7), (3.0, 0.0, 0.1)])
def test_film_with_grains_by_adaptive_quadrature(kappa, p, alpha):
    """The integral of Mayadas and Shatzkes (1970), with t = 1/u and H = 1 + alpha/(cos(phi) sqrt(1 - 1/t^2))."""

    def loss(phi, u):
        h = 1 + alpha / (math.cos(phi) * math.sqrt(1 - u * u))
        x = kappa * h / u
        share = (1 - math.exp(-x)) / (1 - p * math.exp(-x))
        return (math.cos(phi) / h) ** 2 * (u - u**3) * share

    integral = dblquad(loss, 0, 1, 0, math.pi / 2, epsabs=1e-8)[0]
    expected = grain_conductivity(alpha) - 6 * (1 - p) / (math.pi * kappa) * integral
    assert film_conductivity(kappa, p, alpha) == pytest.approx(expected, rel=1e-6)


def test_chords_of_a_round_wire_by_random_paths():
    """Diffuse walls: 1 - <exp(-l/lambda)> over points and directions, weight 3 cos^2; four standard errors."""
    random = np.random.default_rng(5)
    n, kappa = 400_000, 0.8
    radius = 0.5 * np.sqrt(random.random(n))
    cosine, angle = 2 * random.random(n) - 1, 2 * np.pi * random.random(n)
    sine = np.sqrt(1 - cosine**2)
    b = radius * np.sin(angle)
    back = radius * np.cos(angle) + np.sqrt(0.25 - b**2)
    sample = 3 * cosine**2 * (1 - np.exp(-kappa * back / sine))
    error = sample.std() / np.sqrt(n)
    assert error < 3e-3
    assert round_wire_conductivity(kappa, 0.0) == pytest.approx(sample.mean(), abs=4 * error)


def test_quadrature_is_converged(monkeypatch):
    cases = [(k, p, a) for k in KAPPAS for p in (0.0, 0.6, 0.99) for a in (0.0, 0.05, 2.0)]
    routes = (round_wire_conductivity.__wrapped__, film_conductivity.__wrapped__)
    served = np.array([[route(*case) for route in routes] for case in cases])
    monkeypatch.setattr(wire, "_RATIO", 4.0)
    monkeypatch.setattr(wire, "_PANELS", 12)
    wire._graded.cache_clear()
    finer = np.array([[route(*case) for route in routes] for case in cases])
    wire._graded.cache_clear()
    assert np.abs(served / finer - 1).max() < 1e-7


def test_square_wire():
    """The approximation against Chambers' exact integral for diffuse walls; and that against its own limits."""
    assert diffuse_square_wire_conductivity(500.0) == pytest.approx(1 - 0.75 / 500, abs=3e-6)
    # between the round wires of the same side and of the same diagonal
    assert round_wire_conductivity(0.5, 0.0) < diffuse_square_wire_conductivity(0.5) < round_wire_conductivity(0.5 * 2**0.5, 0.0)
    errors = [square_wire_ratio(k, 0.0) * diffuse_square_wire_conductivity(k) - 1 for k in (2.0, 5.0, 20.0)]
    assert errors == pytest.approx([-0.046, -0.011, -0.0007], abs=0.001)
    with pytest.raises(InputError, match="2 mean free paths or more"):
        square_wire_ratio(1.9, 0.0)


# the model


def test_monotonic():
    base = WireModel(specularity=0.2, reflection=0.3)
    rho = [base.resistivity(5.0, 800.0, d) for d in np.geomspace(5, 1e5, 30)]
    assert np.all(np.diff(rho) < 0) and rho[-1] == pytest.approx(5.0, rel=0.01)
    for name, values, sign in (("specularity", (0.0, 0.5, 1.0), -1), ("reflection", (0.0, 0.2, 0.6), 1),
                               ("grain_size", (10.0, 100.0, math.inf), -1)):
        rho = [dataclasses.replace(base, **{name: v}).resistivity(5.0, 800.0, 60.0) for v in values]
        assert np.all(sign * np.diff(rho) > 0), name


def test_geometries_and_combinations():
    """A film scatters less than a wire. In a round wire electrons along the axis escape walls and grains: less than the sum."""
    for reflection in (0.1, 0.5):
        found = {(g, c): WireModel(0.0, reflection, 50.0, g, c).resistivity(5.0, 800.0, 50.0)
                 for g in ("round", "film") for c in ("combined", "matthiessen")}
        assert found["film", "combined"] < found["round", "combined"] < found["round", "matthiessen"]
        assert found["film", "combined"] == pytest.approx(found["film", "matthiessen"], rel=0.1)
    parts = WireModel(0.3, 0.4, 50.0, "round", "matthiessen").resistivity(5.0, 800.0, 50.0)
    surface = WireModel(0.3).resistivity(5.0, 800.0, 50.0)
    grains = WireModel(1.0, 0.4, 50.0).resistivity(5.0, 800.0, 50.0)
    assert parts == pytest.approx(surface + grains - 5.0, rel=1e-7)


def test_limits_of_the_model():
    assert WireModel(1.0).resistivity(5.0, 800.0, 20.0) == pytest.approx(5.0, rel=1e-7)
    assert WireModel(0.0, 0.3, math.inf).resistivity(5.0, 800.0, 20.0) == WireModel().resistivity(5.0, 800.0, 20.0)
    assert WireModel(0.0, 0.3).resistivity(5.0, 800.0, 1e8) == pytest.approx(5.0, rel=1e-4)
    # thin wire: rho = rho_lambda/d, whatever the temperature
    for rho in (1.0, 3.0):
        assert WireModel().resistivity(rho, 800.0, 0.01) == pytest.approx(800.0 / 0.01, rel=1e-3)


def test_units_are_those_of_the_caller():
    """Homogeneous of degree one in (rho_bulk, rho_lambda): µΩ cm and Angstrom, or internal units, give one ratio."""
    model = WireModel(0.3, 0.2, 70.0)
    assert model.resistivity(5.0 * 0.0243, 800.0 * 0.0243, 55.0) == pytest.approx(0.0243 * model.resistivity(5.0, 800.0, 55.0))
    assert wire_resistivity(5.0, 800.0, 55.0, 0.3, 70.0, 0.2) == model.resistivity(5.0, 800.0, 55.0)
    assert wire_resistivity(5.0, 800.0, 55.0, 0.3, "diameter", 0.2) == WireModel(0.3, 0.2, 55.0).resistivity(5.0, 800.0, 55.0)


def test_measured_layers_of_tungsten():
    """Epitaxial W(001): 5.63 µΩ cm at 390 nm, 27.6 at 4.5 nm ("Surface roughness dependence of the electrical resistivity
    of W(001) layers", 2017, abstract).

    Diffuse walls alone fall short below 9 nm, as that paper found; it ascribes the rest to the mounds of the surface. The
    calculated rho lambda 0.82 fΩ m² gives half of the thinnest layer's resistivity. So a wire's rho is rather too small here.
    """
    model = WireModel(geometry="film")
    assert model.resistivity(5.47, 820.0, 3900.0) == pytest.approx(5.63, rel=0.03)
    assert model.resistivity(5.47, 820.0, 45.0) / 27.6 == pytest.approx(0.49, abs=0.01)


@pytest.mark.parametrize(("name", "value"), [
    ("specularity", -0.1), ("specularity", 1.1), ("specularity", math.nan), ("specularity", "0"), ("specularity", True),
    ("reflection", 1.0), ("reflection", -0.2), ("reflection", None),
    ("grain_size", 0.0), ("grain_size", -3.0), ("grain_size", "d"), ("grain_size", math.nan),
    ("geometry", "hexagonal"), ("combination", "sum"),
])
def test_bad_model(name, value):
    with pytest.raises(InputError) as caught:
        WireModel(**{name: value})
    assert caught.value.field == name and caught.value.value is value


def test_square_wires_with_grains_add_parts():
    with pytest.raises(InputError, match="matthiessen"):
        WireModel(reflection=0.2, geometry="square")
    assert WireModel(0.0, 0.2, 1e3, "square", "matthiessen").resistivity(5.0, 800.0, 1e3) > 5.0


@pytest.mark.parametrize(("arguments", "field"), [
    ((0.0, 800.0, 50.0), "rho_bulk"), ((math.inf, 800.0, 50.0), "rho_bulk"), ((5.0, -1.0, 50.0), "rho_lambda"),
    ((5.0, 800.0, 0.0), "diameter"), ((5.0, 800.0, math.nan), "diameter"), ((5.0, 800.0, math.inf), "diameter"),
    ((5.0, 800.0, "3 nm"), "diameter"),
])
def test_bad_wire(arguments, field):
    with pytest.raises(InputError) as caught:
        WireModel().resistivity(*arguments)
    assert caught.value.field == field
