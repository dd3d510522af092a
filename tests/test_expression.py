from __future__ import annotations

import math

import pytest

from emforce.errors import InputError
from emforce.expression import parse_expression

ROW = {"z_star": -4.0, "d_m2_s": 1e-12, "rho_uohm_cm": 2.0, "k_wind_uohm_cm": -8.0, "temperature_K": 600.0, "z_direct": None}


@pytest.mark.parametrize(
    "text, value",
    [
        ("z_star", -4.0), ("|z_star|*D", 4e-12), ("|z_star|*D*rho", 8e-12), ("-|z_star|", -4.0), ("1 + 2*3", 7.0),
        ("(1+2)*3", 9.0), ("2^3^2", 512.0), ("-2^2", -4.0), ("2**-1", 0.5), ("8/2/2", 2.0),
        ("1-2-3", -4.0), ("|-1|*|2-5|", 3.0), ("||-3|-5|", 2.0),
        ("abs(z_star) + sqrt(4)", 6.0), ("log10(D)", -12.0), ("log(exp(2))", 2.0), ("K/rho", -4.0), ("1.5e2 - .5", 149.5),
        ("--2", 2.0), ("T", 600.0),
        ("z_direct", None), ("z_direct*0", None), ("1/0", None), ("log(0)", None), ("exp(1000)", None), ("(-1)^0.5", None),
    ],
)  # fmt: skip
def test_arithmetic(text, value):
    found = parse_expression(text).value(ROW)
    assert found is None if value is None else found == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "keys and numbers"), ("foo", "key: 'foo'"), ("z_star +", "the end"), ("(1", "the end"), ("|1", "the end"),
        ("1 2", "'2'"),
        ("metal", "a number"), ("__import__('os')", "__import__"), ("z_star.real", "'.real'"), ("z_star; 1", "';"),
        ("a" * 400, "300"),
        ("(" * 60 + "1" + ")" * 60, "40"), ("abs", "key: 'abs'"), ("1 = 1", "'= 1'"), ("lambda: 1", "': 1'"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_one_line(text, word):
    with pytest.raises(InputError) as caught:
        parse_expression(text)
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_it_says_which_keys_it_needs():
    assert parse_expression("|z_star|*D + z_star").names == ("z_star", "d_m2_s")
    assert math.isclose(parse_expression(" 1 ").value({}), 1.0)
