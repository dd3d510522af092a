"""The pages that datasette does not have: best values with a form and figures, and a row down to its structure.

`Pages` is a datasette plugin. Numbers that depend on temperature come from `emforce.query`, never from SQL.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from datasette import Response, hookimpl  # type: ignore[import-untyped]

from .. import query
from ..database import Database
from ..errors import EmforceError, InputError
from ..evaluate import DIRECT_MODELS
from ..keys import BY_NAME, KEYS
from . import values
from .snapshot import NAME, SIGN, Snapshot, meaning

TEMPLATES = Path(__file__).parent.parent / "data" / "serve"
SORTS = ("|z_star|", "|z_wind|", "|z_star|*D", "|z_star|*D*rho", "-z_wind", "|q_star_eV|")
#: details that the page of a row shows in tables of their own
_APART = ("checks", "provenance")
_JSON = {key.name for key in KEYS if key.kind == "json"}
_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json; charset=utf-8", "yaml": "application/yaml; charset=utf-8"}
_SVG = "image/svg+xml; charset=utf-8"
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


def _hook(function: _F) -> _F:
    """Mark a method as one that datasette calls."""
    return cast(_F, hookimpl(function))


class Pages:
    """The plugin.

    Parameters
    ----------
    shown : copy of the database
    root : folder below which structures are looked for
    """

    #: datasette asks each plugin for the name of its module
    __name__ = "emforce-pages"

    def __init__(self, shown: Snapshot, root: Path) -> None:
        self.shown, self.root = shown, root
        self._numbers = values.numbers(shown.path)

    @_hook
    def register_routes(self) -> list[tuple[str, Callable[..., Any]]]:
        """Addresses of the pages."""
        return [
            (r"^/$", self.start),
            (r"^/values\.(?P<format>\w+)$", self.download),
            (r"^/figure/(?P<kind>\w+)\.svg$", self.figure),
            (r"^/record/(?P<id>\d+)$", self.record),
            (r"^/record/(?P<id>\d+)/(?P<name>[\w.-]+)$", self.structure),
        ]

    @_hook
    def prepare_connection(self, conn: Any) -> None:
        """emforce_rows(filter, temperature_K, direct_model, which, sort) in SQL."""
        conn.create_function("emforce_rows", 5, lambda *words: values.as_json_rows(self.shown.path, *words))

    @_hook
    def menu_links(self) -> list[dict[str, str]]:
        """Entries of the menu on every page."""
        return [{"href": "/", "label": "Best values"}, {"href": f"/{NAME}", "label": "Tables and stored queries"}]

    @_hook
    def render_cell(self, value: Any, column: str, table: str | None) -> Any:
        """Arrays and mappings as short readable text; row numbers of records link to their page."""
        import markupsafe

        if table == "records" and column == "id" and value is not None:
            return markupsafe.Markup('<a href="/record/{0}">{0}</a>').format(value)
        if column in _JSON and isinstance(value, str) and len(value) > 60:
            return markupsafe.Markup("<details><summary>{}…</summary><pre>{}</pre></details>").format(value[:40], _pretty(value))
        return None

    async def start(self, request: Any, datasette: Any) -> Any:
        """Best values, or the answer to what the form asks."""
        given = _fields(request)
        problem, rows, words = "", [], dict(values.DEFAULTS) | given
        notes: tuple[str, ...] = ()
        try:
            words = dict(values.understand(given).words)
            found = await _aside(lambda: values.answer(self.shown.path, given))
            rows, notes = found.rows, found.notes
            if not rows:
                problem = await _aside(self._what_is_there)
        except EmforceError as error:
            problem = str(error)
        names = values.shown_columns(rows)
        table = [([values.cell(row, name) for name in names], values.links(row, self._numbers)) for row in rows]
        ours = any(row["k_wind_uohm_cm"] is not None for row in rows)
        context = {
            "title": "Best values of each hop" if words["which"] == "best" else "Values", "sign": SIGN, "words": words,
            "problem": problem, "notes": notes, "heads": [BY_NAME[name] for name in names], "meaning": meaning, "table": table,
            "address": urlencode({k: v for k, v in words.items() if v}), "figures": values.FIGURES if ours else {},
            "models": DIRECT_MODELS, "which": values.WHICH, "sorts": SORTS,
            "shown": self.shown, "tables": f"/{NAME}",
            "sources": sorted({f"ρ of {row['metal']}: {row['rho_source']}" for row in rows if row["k_wind_uohm_cm"] is not None}),
        }  # fmt: skip
        status = 400 if problem and not rows and _is_bad(given) else 200
        return Response.html(await datasette.render_template("emforce_start.html", context, request=request), status=status)

    async def download(self, request: Any) -> Any:
        """The same rows, all keys, as CSV, JSON or YAML."""
        name = request.url_vars["format"]
        if name not in _TYPES:
            return _refused(InputError("format", name, ", ".join(_TYPES)), 404)
        try:
            found = await _aside(lambda: values.answer(self.shown.path, _fields(request)))
        except EmforceError as error:
            return _refused(error)
        text = query.WRITERS[name](found.rows) + "\n"
        return Response(text, content_type=_TYPES[name], headers={"content-disposition": f'inline; filename="emforce.{name}"'})

    async def figure(self, request: Any) -> Any:
        """A figure of these rows, made here."""
        from . import figures  # matplotlib: only where something is drawn

        kind, given = request.url_vars["kind"], _fields(request)
        try:
            return Response(await _aside(lambda: figures.figure(self.shown.path, kind, given)), content_type=_SVG)
        except EmforceError as error:
            return _refused(error, 400 if kind in values.FIGURES else 404)

    async def record(self, request: Any, datasette: Any) -> Any:
        """A row: its values with unit and sign, checks, provenance, structures."""
        from . import structures

        row = await _aside(lambda: self._row(int(request.url_vars["id"])))
        if row is None:
            return _refused(InputError("record", request.url_vars["id"], "a row that is there"), 404)
        found = await _aside(lambda: structures.locate(row, self.root))
        shown = [key for key in KEYS if key.stored and row.get(key.name) not in (None, "", [], {})]
        context = {
            "row": row, "found": found, "sign": SIGN, "meaning": meaning, "pretty": _pretty, "checks": row["checks"] or [],
            "values": [(key, row[key.name]) for key in shown if key.kind != "json"],
            "details": [(key, _pretty(row[key.name])) for key in shown if key.kind == "json" and key.name not in _APART],
            "provenance": row["provenance"] or {}, "raw": f"/{NAME}/records/{row['id']}",
            "host": f"/{NAME}/hosts/{row['host_id']}" if row["host_id"] else "",
        }  # fmt: skip
        return Response.html(await datasette.render_template("emforce_record.html", context, request=request))

    async def structure(self, request: Any) -> Any:
        """A structure of a row: a file of the repository, or as rebuilt (extxyz), or a picture (svg)."""
        from ase.io import write

        from . import figures, structures

        name = request.url_vars["name"]
        row = await _aside(lambda: self._row(int(request.url_vars["id"])))
        found = structures.Found("") if row is None else await _aside(lambda: structures.locate(row, self.root))
        if name in found.files:
            return Response(found.files[name].read_text(encoding="utf-8"), content_type="text/plain; charset=utf-8")
        key, _, suffix = name.rpartition(".")
        atoms = found.images.get(key.removeprefix("image-"))
        if atoms is None or suffix not in ("svg", "extxyz"):
            there = ", ".join([*found.files, *(f"{k}.svg" for k in found.images)])
            return _refused(InputError("structure", name, there or "none: no structure was found"), 404)
        if suffix == "svg":
            return Response(await _aside(lambda: figures.picture(atoms)), content_type=_SVG)
        text = io.StringIO()
        write(text, atoms, format="extxyz")
        return Response(text.getvalue(), content_type="text/plain; charset=utf-8")

    def _row(self, number: int) -> dict[str, Any] | None:
        with Database(self.shown.path) as database:
            return next((row for row in database.rows(everything=True) if row["id"] == number), None)

    def _what_is_there(self) -> str:
        with Database(self.shown.path) as database:
            return f"No record meets this; {query.available(database)}"


async def _aside(work: Callable[[], _T]) -> _T:
    """Work on another thread, so that other requests are answered meanwhile."""
    return await asyncio.to_thread(work)


def _fields(request: Any) -> dict[str, str]:
    return {name: request.args.get(name) or "" for name in request.args}


def _is_bad(given: Mapping[str, str]) -> bool:
    try:
        values.understand(given)
    except InputError:
        return True
    return False


def _refused(error: EmforceError, status: int = 400) -> Any:
    return Response.text(" ".join(str(error).split()) + "\n", status=status)


def _pretty(value: Any) -> str:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, indent=1, ensure_ascii=False)


__all__ = ["TEMPLATES", "Pages"]
