"""The structures that a stored row was computed on, found again in the repository and compared with the row's structure hash.

A row says which specification it belongs to, and in its provenance where its geometry came from: a folder of relaxed
structures, or "as built, not relaxed". Both are rebuilt here and hashed; the hash tells whether they are the same atoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from ..errors import EmforceError
from ..lift import placed
from ..plan import structure_digest
from ..relaxed import image_key, relaxed_source
from ..settings import settings_of
from ..structure import built_hop

SPECS = "structures"


@dataclass(frozen=True)
class Found:
    """What was found of the structures of a row.

    Parameters
    ----------
    origin : the folder or specification they come from, relative to the root
    images : structures by key, "host" and the fractions ("0.00", "0.50"); empty where they could not be had
    files : structure files of the repository by name
    agrees : whether their hash is the recorded one; None where they could not be rebuilt
    remark : one sentence for the reader
    """

    origin: str
    images: Mapping[str, Atoms] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    agrees: bool | None = None
    remark: str = ""


def locate(row: Mapping[str, Any], root: Path) -> Found:
    """Find the structures of a stored row (with its details) below a root folder.

    Parameters
    ----------
    row : of `Database.rows`
    root : folder that recorded paths are relative to; holds structures/<spec>.toml
    """
    if row["source"]:
        return Found("", remark="A published value: no structure of ours belongs to it.")
    origin = row["provenance"] or {}
    recorded, geometry = str(origin.get("structure_hash") or ""), str(origin.get("geometry") or "")
    folder = _inside(root, geometry)
    files = {} if folder is None else {p.name: p for p in sorted(folder.glob("*")) if p.suffix in (".extxyz", ".json")}
    spec = root / SPECS / f"{row['spec']}.toml"
    where = geometry if files else f"{SPECS}/{row['spec']}.toml"
    if Path(row["spec"]).name != row["spec"] or not spec.is_file():
        return Found(where, files=files, remark=f"No specification {SPECS}/{row['spec']}.toml below {root}: not rebuilt.")
    try:
        settings = settings_of(str(row["preset"]))
        hop = built_hop(spec, settings)
        source = relaxed_source(hop, folder, settings.dft.functional) if files else None
        hop = placed(hop, source, settings)
    except (EmforceError, OSError) as error:
        return Found(where, files=files, remark=f"Cannot be rebuilt: {error}")
    agrees = structure_digest(hop) == recorded
    images = {"host": hop.host_unit} | {image_key(image.fraction): image.atoms for image in hop.images}
    verdict = "their hash is the recorded one" if agrees else "their hash is not the recorded one: they have changed since"
    what = "Relaxed structures in the repository" if files else "Built from the specification, not relaxed"
    return Found(where, images, files, agrees, f"{what}; {verdict}.")


def _inside(root: Path, recorded: str) -> Path | None:
    """A recorded folder, if it is there and below the root: what a database says must not lead elsewhere."""
    base = root.resolve()
    folder = (base / recorded).resolve()
    return folder if recorded and folder != base and folder.is_relative_to(base) and (folder / "relaxed.json").is_file() else None


__all__ = ["Found", "locate"]
