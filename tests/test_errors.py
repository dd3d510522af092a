"""The error tree: one-line messages with field, value and what is allowed; errors survive pickling."""

from __future__ import annotations

import inspect
import pickle

import pytest

from emforce import errors
from emforce.errors import CheckError, ConvergenceError, EmforceError, InputError, StoreError


def test_input_error_is_one_line_with_field_value_and_allowed():
    error = InputError("temperature_K", -3.0, "above 0")
    assert str(error) == "temperature_K: -3.0 is not allowed; allowed: above 0"
    assert (error.field, error.value, error.allowed) == ("temperature_K", -3.0, "above 0")


def test_text_with_a_line_break_stays_on_one_line():
    assert "\n" not in str(InputError("metal", "C\nu", "Cu"))


@pytest.mark.parametrize("error", [InputError("facet", "777", "100, 110, 111"), ConvergenceError("no"),
                                   CheckError("bad"), StoreError("gone")])
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_one_tree():
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ == errors.__name__:
            assert issubclass(kind, EmforceError), name
