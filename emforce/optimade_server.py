"""An OPTIMADE server of the structures behind the database, read-only, with the values of each as fields `_emforce_...`.

An entry is a stored row of one site together with the image of the hop that it was computed on, found and rebuilt by
`emforce.serve.structures`. Its fields are the keys of `emforce.keys` (text and numbers) evaluated at one temperature in bulk
metal, and those of the hop's average under `_emforce_hop_average_...`. Published values are entries of /references. The
filter language and the replies are those of optimade-python-tools, on a collection in memory (mongomock).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ase import Atoms

from .database import Database
from .errors import EmforceError, InputError
from .evaluate import Situation, evaluate, host_of
from .keys import KEYS, Key
from .record import HOP_AVERAGE
from .relaxed import image_key
from .serve.listen import open_port, run
from .serve.site import say_where
from .serve.snapshot import SIGN, Snapshot, licence, take
from .serve.structures import Found, locate
from .stored import Document

PREFIX = "_emforce_"
#: our units in the Unified Code for Units of Measure, which OPTIMADE asks for
UCUM = {"": "1", "µΩ cm": "uOhm.cm", "eV": "eV", "eV/Å": "eV/Ao", "Å": "Ao", "THz": "THz", "m²/s": "m2/s", "K": "K", "nm": "nm",
        "1/s": "/s", "fN m²/TA": "fN.m2/TA", "µV/K": "uV/K"}  # fmt: skip
#: fields of the hop's average beside those of the site
AVERAGED = ("k_wind_uohm_cm", "k_wind_sigma_uohm_cm", "z_wind", "z_wind_sigma", "direction", "z_star", "z_star_sigma")
_SITE_KEYS = tuple(key for key in KEYS if key.kind != "json" and key.name != "rank_value")
_OF_ROW = ("spec", "metal", "facet", "defect", "hop", "species", "preset", "method", "basis")


@dataclass(frozen=True)
class Entries:
    """What is served: documents of OPTIMADE structures and references."""

    structures: tuple[Document, ...]
    references: tuple[Document, ...]
    #: rows without a structure that could be found, with the reason
    left_out: tuple[str, ...]


def serve_optimade(location: str | None, root: Path, listen: tuple[str, int], temperature_K: float) -> None:
    """Answer OPTIMADE requests until stopped.

    Parameters
    ----------
    location : path or URL of the database; None: as everywhere
    root : folder below which structures are looked for
    listen : host and port
    temperature_K : at which the values are evaluated

    Raises
    ------
    InputError, StoreError : no such database, a port that is taken, no structure to serve, an impossible temperature
    """
    Situation(temperature_K)
    with tempfile.TemporaryDirectory(prefix="emforce-optimade-") as folder, open_port(*listen) as listening:
        shown = take(location, Path(folder))
        found = entries(shown, root, temperature_K)
        if not found.structures:
            reason = found.left_out[0] if found.left_out else "it has no rows of single sites"
            raise InputError("--db", shown.origin, f"a database with rows whose structures are below {root.resolve()}; {reason}")
        application = create(found)
        for line in found.left_out:
            print(line)
        say_where(f"OPTIMADE server ({len(found.structures)} structures at {temperature_K:g} K)", shown.origin, listening)
        run(application, listening)


def entries(shown: Snapshot, root: Path, temperature_K: float) -> Entries:
    """OPTIMADE documents of the served rows and of the published ones."""
    situation = Situation(temperature_K)
    with Database(shown.path) as database:
        rows = database.rows()
        published = database.rows(standing=("literature", "unverified"))
        hosts = {int(row["id"]): row for row in database.host_rows(everything=True, details=False)}
    averages = {_hop(row): row for row in rows if row["site"] == HOP_AVERAGE}
    places: dict[tuple[str, ...], Found] = {}
    structures, left_out = [], []
    for row in rows:
        if row["fraction"] is None:
            continue
        place = (*_hop(row), str(row["provenance"].get("structure_hash")), str(row["provenance"].get("geometry")))
        if place not in places:
            places[place] = locate(row, root)
        found = places[place]
        atoms = found.images.get(image_key(row["fraction"]))
        if atoms is None or not found.agrees:
            left_out.append(f"row {row['id']} ({row['metal']} {row['facet']} {row['site']}) left out: {found.remark}")
            continue
        try:
            value = evaluate(row, situation, host_of(row, hosts))
            average = averages.get(_hop(row))
            mean = {} if average is None else evaluate(average, situation, host_of(average, hosts))
        except InputError as error:
            left_out.append(f"row {row['id']} ({row['metal']}) left out: {error}")
            continue
        structures.append(_structure(row, atoms, {"value": value, "mean": mean, "origin": found.origin}))
    return Entries(tuple(structures), tuple(_reference(row) for row in published), tuple(left_out))


def fields() -> list[Document]:
    """The provider's fields with description (sign included), unit and type, as OPTIMADE's /info/structures gives them."""
    found = [_field(key, name_of(key.name), "") for key in _SITE_KEYS]
    found += [_field(key, name_of(key.name, "hop_average_"), "Average along the hop: ") for key in KEYS if key.name in AVERAGED]
    for name, text in (("structure_hash", "Content hash of host and images of the hop, as recorded and as found"),
                       ("geometry", "Folder of the relaxed structures, or the specification they were built from")):
        found.append({"name": PREFIX + name, "description": text, "type": "string", "sortable": True,
                      "queryable": "all mandatory"})
    return found


def name_of(key: str, part: str = "") -> str:
    """Name of a key as a field of the provider: OPTIMADE allows lower case only."""
    return f"{PREFIX}{part}{key.lower()}"


def create(found: Entries) -> Any:
    """The ASGI application; without the network (no list of providers is asked for).

    Raises
    ------
    EmforceError : the packages of OPTIMADE are not installed
    """
    try:
        import mongomock  # noqa: F401  (imported by optimade when it is too late to say so)
        from optimade.models import (  # type: ignore[import-untyped]
            Implementation,
            Provider,
        )
        from optimade.server.config import ServerConfig  # type: ignore[import-untyped]
        from optimade.server.create_app import create_app  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise EmforceError(f"{error.name} is not installed; pip install 'emforce[serve]'") from None
    about = metadata.metadata("emforce")
    description = f"{about['Summary']}. {SIGN} Licence: {licence()}."
    config = ServerConfig(
        insert_test_data=False, insert_from_jsonl=None, mongo_uri=f"mongodb://memory-{id(found)}:27017", log_level="warning",
        custom_landing_page=str(Path(__file__).parent / "data" / "serve" / "optimade.html"),
        license=None, index_base_url=None,  # a licence given here would be looked up on the network
        provider=Provider(prefix="emforce", name="emforce", description=description, homepage=None),
        implementation=Implementation(name="emforce", version=about["Version"], source_url=None, maintainer=None),
        provider_fields={"structures": fields()},
    )  # fmt: skip
    for handler in logging.getLogger("optimade").handlers:
        handler.setLevel(logging.WARNING)
    application = create_app(config)
    collections = application.state.entry_collections
    for name, documents in (("structures", found.structures), ("references", found.references)):
        if documents:
            collections[name].insert([dict(document) for document in documents])
    return application


def _hop(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in _OF_ROW)


def _structure(row: Document, atoms: Atoms, about: Mapping[str, Any]) -> Document:
    from optimade.adapters.structures.ase import from_ase_atoms  # type: ignore[import-untyped]

    plain = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    document: Document = from_ase_atoms(plain).model_dump(exclude_unset=True, mode="json")
    document |= {
        "id": f"record-{row['id']}", "type": "structures", "immutable_id": None,
        "last_modified": datetime.fromisoformat(row["created"]).astimezone(UTC),
    }  # fmt: skip
    document |= {name_of(key.name): about["value"][key.name] for key in _SITE_KEYS}
    document |= {name_of(name, "hop_average_"): about["mean"].get(name) for name in AVERAGED}
    document |= {PREFIX + "structure_hash": row["provenance"]["structure_hash"], PREFIX + "geometry": about["origin"]}
    return document


def _reference(row: Document) -> Document:
    modified = datetime.fromisoformat(row["created"]).astimezone(UTC) if row["created"] else None
    what = f"{row['metal']} {row['facet']} {row['defect']}, mover {row['species']}: {row['method']}"
    seen = "" if row["status"] == "literature" else " (not seen at its source)"
    return {"id": f"record-{row['id']}", "type": "references", "last_modified": modified, "immutable_id": None,
            "title": what, "note": f"{row['source']}{seen}"}  # fmt: skip


def _field(key: Key, name: str, lead: str) -> Document:
    text = lead + key.description + (f"; {key.sign}" if key.sign else "")
    found: Document = {"name": name, "description": text, "type": "float" if key.kind == "number" else "string", "sortable": True,
                       "queryable": "all mandatory"}
    if key.kind == "number":
        found["unit"] = UCUM[key.unit]
    return found


__all__ = ["AVERAGED", "PREFIX", "Entries", "create", "entries", "fields", "name_of", "serve_optimade"]
