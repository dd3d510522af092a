"""The one error tree of emforce.

A message carries the value, the limit and what to do. The command line turns `InputError` into one line
and exit code 2, every other `EmforceError` into one line and exit code 1.
"""

from __future__ import annotations


class EmforceError(Exception):
    """Anything that emforce itself reports."""

    #: of the command that ends with it
    exit_code = 1


class InputError(EmforceError):
    """A value given by the user that is not allowed.

    Parameters
    ----------
    field : name of the option, key or file that holds the value
    value : what was given
    allowed : what would be accepted, in words
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}: {value!r} is not allowed; allowed: {allowed}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, object, str]]:
        """Rebuild from the three arguments, so that the error survives the way between processes."""
        return type(self), (self.field, self.value, self.allowed)


class ConvergenceError(EmforceError):
    """A calculation that did not reach its tolerance. Never served as a value."""


class CheckError(EmforceError):
    """A stored or computed result that fails one of its own checks."""


class StoreError(EmforceError):
    """A file of the store or the database that cannot be read or written."""
