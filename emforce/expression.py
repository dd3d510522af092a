"""Arithmetic over keys, for ranking: |z_star|*D, log10(d_m2_s), k_wind_uohm_cm/rho.

    numbers, keys of kind number, the short names of `SHORT`, + - * / ^, brackets, |x|, and the functions of `FUNCTIONS`

Each key enters in its own unit, so the result is in the product of those units. Read by a parser of its own: nothing of
it is ever run as Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import InputError
from .keys import key

SHORT = {"D": "d_m2_s", "K": "k_wind_uohm_cm", "Q": "q_star_eV", "T": "temperature_K", "rho": "rho_uohm_cm"}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "abs": abs, "exp": math.exp, "log": math.log, "log10": math.log10, "sqrt": math.sqrt,
}  # fmt: skip
GRAMMAR = "keys and numbers with + - * / ^ ( ) |x| abs exp log log10 sqrt, such as |z_star|*D"
_LONGEST, _DEEPEST = 300, 40
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z]\w*)|(\*\*|[-+*/^()|]))")

#: value for a row; a missing value raises KeyError
_Term = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Parameters
    ----------
    text : as given
    names : the keys that it needs
    """

    text: str
    names: tuple[str, ...]
    _term: _Term

    def value(self, row: Mapping[str, Any]) -> float | None:
        """Value for a row; None where a key has none, or where the arithmetic has no finite result."""
        try:
            value = self._term(row)
        except (KeyError, ArithmeticError, ValueError):
            return None
        return value if isinstance(value, float | int) and math.isfinite(value) else None


def parse_expression(text: str) -> Expression:
    """Read an expression.

    Raises
    ------
    InputError : a name that is no key of kind number, or text that is no expression
    """
    reader = _Reader(text)
    term = reader.sum(0)
    if reader.kind != "end":
        reader.refuse()
    return Expression(text.strip(), tuple(dict.fromkeys(reader.names)), term)


class _Reader:
    """Recursive descent: sum - product - sign - power - atom."""

    def __init__(self, text: str) -> None:
        if not text.strip() or len(text) > _LONGEST:
            raise InputError("--sort", text[:40], f"up to {_LONGEST} characters: {GRAMMAR}")
        self.text, self.position = text, 0
        self.kind, self.token = "", ""
        self.names: list[str] = []
        self.next()

    def refuse(self) -> NoReturn:
        raise InputError("--sort", self.text, f"{GRAMMAR}; not understood from {self.token or 'the end'!r} on")

    def next(self) -> None:
        if not self.text[self.position :].strip():
            self.kind, self.token = "end", ""
            return
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            self.token = self.text[self.position :].strip()[:10]
            self.refuse()
        self.position = match.end()
        self.kind = ("number", "name", "sign")[match.lastindex - 1] if match.lastindex else "end"
        self.token = str(match.group(match.lastindex or 0))

    def take(self, sign: str) -> bool:
        if self.kind == "sign" and self.token == sign:
            self.next()
            return True
        return False

    def sum(self, depth: int) -> _Term:
        if depth > _DEEPEST:
            raise InputError("--sort", self.text[:40], f"at most {_DEEPEST} brackets within one another")
        left = self.product(depth)
        while self.kind == "sign" and self.token in "+-":
            left = _joined(self.sign(), left, self.product(depth))
        return left

    def product(self, depth: int) -> _Term:
        left = self.signed(depth)
        while self.kind == "sign" and self.token in "*/":
            left = _joined(self.sign(), left, self.signed(depth))
        return left

    def sign(self) -> str:
        token = self.token
        self.next()
        return token

    def signed(self, depth: int) -> _Term:
        negative = False
        while self.kind == "sign" and self.token in "+-":
            negative ^= self.sign() == "-"
        power = self.power(depth)
        return (lambda row: -power(row)) if negative else power

    def power(self, depth: int) -> _Term:
        base = self.atom(depth)
        if self.take("^") or self.take("**"):
            return _joined("^", base, self.signed(depth + 1))
        return base

    def atom(self, depth: int) -> _Term:
        if self.kind == "number":
            number = float(self.sign())
            return lambda row: number
        if self.kind == "name":
            return self.named(depth)
        if self.take("("):
            return self.closed(")", depth)
        if self.take("|"):
            inner = self.closed("|", depth)
            return lambda row: abs(inner(row))
        self.refuse()

    def closed(self, closing: str, depth: int) -> _Term:
        inner = self.sum(depth + 1)
        if not self.take(closing):
            self.refuse()
        return inner

    def named(self, depth: int) -> _Term:
        name = self.sign()
        if name in FUNCTIONS and self.take("("):
            function, inner = FUNCTIONS[name], self.closed(")", depth)
            return lambda row: function(inner(row))
        asked = key(SHORT.get(name, name))
        if asked.kind != "number":
            raise InputError("--sort", name, "a key that is a number")
        self.names.append(asked.name)
        return lambda row: _number(row, asked.name)


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if value is None:
        raise KeyError(name)
    return float(value)


def _joined(sign: str, left: _Term, right: _Term) -> _Term:
    if sign == "+":
        return lambda row: left(row) + right(row)
    if sign == "-":
        return lambda row: left(row) - right(row)
    if sign == "*":
        return lambda row: left(row) * right(row)
    if sign == "/":
        return lambda row: left(row) / right(row)
    return lambda row: math.pow(left(row), right(row))


__all__ = ["FUNCTIONS", "GRAMMAR", "SHORT", "Expression", "parse_expression"]
