"""What every stored thing shares: checks, a document that keeps every bit, and a content hash."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from .errors import CheckError, InputError
from .keys import Key

Array = npt.NDArray[np.float64]
Document = dict[str, Any]

STATUSES = ("ok", "failed", "unconverged", "outside tolerance", "literature", "unverified")
SYMBOL = re.compile(r"[A-Z][a-z]?")
_FACET = re.compile(r"bulk|\d{3,4}")


@dataclass(frozen=True)
class Check:
    """A number against its limit: passes when `value comparison limit` holds (never for nan)."""

    name: str
    value: float
    limit: float
    comparison: Literal["<=", ">="] = "<="
    unit: str = ""

    def __post_init__(self) -> None:
        if self.comparison not in ("<=", ">="):
            raise InputError(f"check {self.name}: comparison", self.comparison, "<=, >=")
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "limit", float(self.limit))

    @property
    def passed(self) -> bool:
        """Whether the check holds."""
        return self.value <= self.limit if self.comparison == "<=" else self.value >= self.limit

    def document(self) -> Document:
        """As stored: the fields and the verdict."""
        return {
            "name": self.name,
            "value": _plain(self.value),
            "comparison": self.comparison,
            "limit": _plain(self.limit),
            "unit": self.unit,
            "passed": self.passed,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild; the stored verdict is left out (`emforce check` compares it)."""
        return cls(
            document["name"],
            _number(document["value"]),
            _number(document["limit"]),
            document["comparison"],
            document.get("unit", ""),
        )

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} = {self.value:.4g}{unit}, limit {self.comparison} {self.limit:.4g}{unit}"


class Stored:
    """What `Record` and `Host` share: field checks, document and back, hash, equality by content."""

    status: str
    reason: str
    checks: tuple[Check, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in self._keys():
            if not key.stored:
                continue
            value = getattr(self, key.name)
            if key.kind == "text":
                if not isinstance(value, str) or (key.role == "identity" and not value.strip()):
                    raise InputError(key.name, value, "text that is not empty")
            elif key.kind == "number":
                value = float(value)
                if math.isinf(value):
                    raise InputError(key.name, value, "a finite number, or nan where not computed")
                object.__setattr__(self, key.name, value)
        self._match("metal", SYMBOL, "a chemical symbol")
        self._match("facet", _FACET, "bulk, or Miller indices such as 110")
        self._one_of("status", STATUSES)
        checks = tuple(self.checks)
        object.__setattr__(self, "checks", checks)
        names = [check.name for check in checks]
        if len(set(names)) < len(names):
            raise InputError("checks", names, "each name once")
        object.__setattr__(self, "provenance", json.loads(json.dumps(dict(self.provenance))))
        if self.status in ("ok", "literature"):
            self._may_be_served(checks)
        elif not self.reason:
            raise InputError("reason", "", "why the status is not ok, in words")

    @classmethod
    def _keys(cls) -> tuple[Key, ...]:
        raise NotImplementedError

    def _may_be_served(self, checks: tuple[Check, ...]) -> None:
        failed = [str(check) for check in checks if not check.passed]
        if failed:
            raise CheckError(f"a record with status ok has a failing check: {'; '.join(failed)}")

    def _match(self, name: str, pattern: re.Pattern[str], allowed: str) -> None:
        if not pattern.fullmatch(getattr(self, name)):
            raise InputError(name, getattr(self, name), allowed)

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, name) not in allowed:
            raise InputError(name, getattr(self, name), ", ".join(allowed))

    def _freeze(self, name: str, shape: tuple[int | None, ...]) -> None:
        """Store a read-only copy of an array field after checking its shape (None: any length)."""
        array = np.array(getattr(self, name), dtype=float)
        fits = array.ndim == len(shape) and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise InputError(name, array.shape, f"shape {shape}")
        if np.isinf(array).any():
            raise InputError(name, "inf", "finite numbers, or nan where not computed")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _freeze_table(self, name: str, columns: tuple[str, ...]) -> None:
        """Columns of equal length by name, as read-only arrays; the first of `columns` is there if any is."""
        given = dict(getattr(self, name))
        unknown = sorted(set(given) - set(columns))
        if unknown or (given and columns[0] not in given):
            raise InputError(name, sorted(given), f"{columns[0]} with any of {', '.join(columns[1:])}")
        try:
            table = {str(column): np.array(values, dtype=float) for column, values in given.items()}
        except (TypeError, ValueError):
            raise InputError(name, given, "lists of numbers") from None
        lengths = {array.shape for array in table.values()}
        if len(lengths) > 1 or any(len(shape) != 1 for shape in lengths):
            raise InputError(name, sorted(lengths), "lists of equal length")
        for array in table.values():
            if np.isinf(array).any():
                raise InputError(name, "inf", "finite numbers, or nan where not computed")
            array.setflags(write=False)
        object.__setattr__(self, name, table)

    def _freeze_parts(self, name: str, always: tuple[str, ...] = ()) -> dict[str, float]:
        """Named parts of an uncertainty, those of `always` stated as not estimated (nan) where they are not given."""
        parts = dict.fromkeys(always, math.nan)
        parts |= {str(part): _number(value) for part, value in getattr(self, name).items()}
        for part, value in parts.items():
            if value < 0 or math.isinf(value):
                raise InputError(f"uncertainty part {part}", value, "a number >= 0, or nan: not estimated")
        object.__setattr__(self, name, parts)
        return parts

    def document(self) -> Document:
        """All stored keys as text, numbers, lists and mappings; None for what was not computed."""
        found = {key.name: _plain(getattr(self, key.name)) for key in self._keys() if key.stored}
        for key in self._keys():
            if key.since > 1 and key.kind == "json" and not _filled(found.get(key.name)):
                found[key.name] = None
        return found

    @property
    def content_hash(self) -> str:
        """SHA-256 of the document without the time of its making: the same result has the same hash.

        What was not computed is left out, so that a key that is added later does not change the hash.
        """
        document = self.document()
        document.pop("created")
        document["provenance"] = {k: v for k, v in document["provenance"].items() if k != "created"}
        document = {name: value for name, value in document.items() if value not in (None, "", [], {})}
        text = json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        """The keys that say which thing this is; the newest of one identity is served."""
        return {key.name: getattr(self, key.name) for key in self._keys() if key.role == "identity"}

    @property
    def created(self) -> str:
        """When the record was made (UTC, ISO 8601), from the provenance; "" if that does not say."""
        return str(self.provenance.get("created", ""))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `document`. Raises what the constructor raises."""
        values: Document = {}
        for key in cls._keys():
            if not key.stored or key.name == "created":
                continue
            value = document[key.name]
            if key.kind == "number":
                values[key.name] = _number(value)
            elif value is None:
                continue  # not computed: the default of the field says so
            elif key.name == "checks":
                values[key.name] = tuple(Check.from_document(check) for check in value)
            elif isinstance(value, list) and not key.name.endswith("_ticks"):
                values[key.name] = np.array(value, dtype=float)  # None becomes nan
            else:
                values[key.name] = value
        return cls(**values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.document() == other.document()

    def __hash__(self) -> int:
        return hash(self.content_hash)


def none_for_nan(value: float) -> float | None:
    """The number, None where it was not computed: JSON has no nan."""
    return None if math.isnan(value) else float(value)


def _plain(value: Any) -> Any:
    """JSON-able form; nan becomes None. JSON writes the shortest text that reads back, so no bit is lost."""
    if isinstance(value, Check):
        return value.document()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return none_for_nan(value) if isinstance(value, float) else value


def _filled(value: Any) -> bool:
    """Whether a plain value holds anything at all: a tensor of nothing but None does not."""
    if isinstance(value, Mapping):
        return bool(value)
    if isinstance(value, list):
        return any(_filled(item) for item in value)
    return value is not None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
