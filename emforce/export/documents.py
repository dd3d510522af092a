"""JSON, YAML and CSV: all keys of the rows, with units, signs, query and stated numbers. Floats read back as they were."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from ..keys import KEYS, Key
from .parameters import HEAT, SIGN, UNCERTAINTY, Content, preface, version

#: names the layout of the document; another layout gets another number
SCHEMA_ID = "urn:emforce:export:1"
_CONVENTIONS = ("sign", "heat_of_transport", "uncertainty")
_STATED = ("metal", "name", "value", "sigma", "unit", "source")


def document(content: Content) -> dict[str, Any]:
    """The whole export as one mapping; `schema` describes it."""
    from .request import NAMES

    request, q = content.request, content.request.question
    stated = [
        {"metal": metal, "name": name, "value": number.value, "sigma": number.sigma, "unit": NAMES[name][0],
         "source": number.source}
        for metal, numbers in request.stated.items() for name, number in numbers.items()
    ]  # fmt: skip
    return {
        "schema": SCHEMA_ID,
        "emforce": version(),
        "conventions": dict(zip(_CONVENTIONS, (SIGN, HEAT, UNCERTAINTY), strict=True)),
        "query": {
            "command": content.command, "filters": list(request.filters), "temperatures_K": list(q.temperatures_K),
            "which": q.which, "literature": q.literature, "direct_model": q.direct_model,
            "wire": None if q.wire is None else str(q.wire), "database": content.database.name,
        },
        "keys": {key.name: {"unit": key.unit, "sign": key.sign, "meaning": key.description} for key in KEYS},
        "stated": stated,
        "notes": list(content.notes),
        "rows": [dict(row) for row in content.rows],
    }  # fmt: skip


def to_json(content: Content) -> str:
    """The document as JSON; it meets data/export.schema.json."""
    return json.dumps(document(content), indent=2, ensure_ascii=False, allow_nan=False)


def to_yaml(content: Content) -> str:
    """The same document as YAML."""
    import yaml  # type: ignore[import-untyped]

    return str(yaml.safe_dump(document(content), sort_keys=False, allow_unicode=True, width=120)).rstrip("\n")


def to_csv(content: Content) -> str:
    """One line per row; in front, behind "#", the preface and the unit and sign of each column.

    Text is quoted, numbers are not; arrays and mappings are JSON text.
    """
    numbers = [pair for each in content.request.stated.values() for pair in each.items()]
    stated = [f"stated {name}: {number.text}" for name, number in numbers]
    lines = preface(content, remarks=stated)
    lines += [f"Column {key.name}: unit {key.unit or 'none'}; {key.sign or key.description}" for key in KEYS]
    out = io.StringIO()
    for line in lines:
        out.write(f"# {' '.join(line.split())}\n")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(key.name for key in KEYS)
    for row in content.rows:
        writer.writerow(_cell(key, row[key.name]) for key in KEYS)
    return out.getvalue().rstrip("\n")


def _cell(key: Key, value: Any) -> Any:
    if value is None:
        return ""
    if key.kind == "number":
        return float(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False) if key.kind == "json" else str(value)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document, made from `emforce.keys.KEYS`.

    `python -m emforce.export.documents > emforce/data/export.schema.json` writes the shipped file.
    """
    text, number = {"type": "string"}, {"type": ["number", "null"]}
    kinds: Mapping[str, Any] = {"number": number, "text": {"type": ["string", "null"]},
                                "json": {"type": ["array", "object", "null"]}}
    row = {key.name: {**kinds[key.kind], "description": _described(key)} for key in KEYS}
    fixed = {key.name: _object({"unit": {"const": key.unit}, "sign": {"const": key.sign}, "meaning": text}) for key in KEYS}
    stated = {name: text for name in _STATED} | {"value": {"type": "number"}, "sigma": number,
                                                 "source": {"type": "string", "minLength": 1}}
    query = {"command": text, "filters": {"type": "array", "items": text},
             "temperatures_K": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
             "which": {"enum": ["current", "all", "best"]}, "literature": {"type": "boolean"}, "direct_model": text,
             "wire": {"type": ["string", "null"]}, "database": text}
    whole = _object({
        "schema": {"const": SCHEMA_ID}, "emforce": text, "conventions": _object(dict.fromkeys(_CONVENTIONS, text)),
        "query": _object(query), "keys": _object(fixed), "stated": {"type": "array", "items": _object(stated)},
        "notes": {"type": "array", "items": text}, "rows": {"type": "array", "items": _object(row)},
    })  # fmt: skip
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID,
            "title": "Export of the emforce parameter database", "description": SIGN, **whole}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _described(key: Key) -> str:
    return "; ".join(part for part in (key.description, f"unit {key.unit}" if key.unit else "", key.sign) if part)


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, ensure_ascii=False))
