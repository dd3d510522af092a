"""Schema version 2: direct valence, kinetics, heat of transport and published values beside the wind force.

The content hashes are made again: since this version they leave out what was not computed, so that the columns that are
added here, and later ones, do not make an old result look like another one.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None

NUMBERS = (
    "z_direct z_direct_sigma z_direct_low z_direct_high z_fermi_sea barrier_eV barrier_sigma_eV formation_energy_eV "
    "formation_energy_sigma_eV nu0_THz nu0_sigma_THz d0_m2_s d0_sigma_m2_s ea_eV ea_sigma_eV q_lattice_low_eV "
    "q_lattice_high_eV z_star_reported z_star_reported_sigma z_wind_reported reported_low_K reported_high_K"
)
TEXTS = ("kinetics_condition", "q_condition", "source")
DOCUMENTS = ("z_direct_sigma_parts", "z_direct_tensor", "z_total_of_tau", "kinetics_details", "q_of_temperature")
IDENTITY = ("spec", "metal", "facet", "defect", "hop", "site", "species", "preset", "method")


def upgrade() -> None:
    """Add the columns and indexes, and hash again."""
    for name in NUMBERS.split():
        op.add_column("records", sa.Column(name, sa.Double(), nullable=True))
    for name in TEXTS:
        op.add_column("records", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for name in DOCUMENTS:
        op.add_column("records", sa.Column(name, sa.JSON(), nullable=True))
    op.drop_index("ix_records_identity", "records")
    op.create_index("ix_records_identity", "records", [*IDENTITY, "status", "id"])
    op.create_index("ix_records_hop", "records", ["metal", "facet", "site", "hop"])
    _hash_again()
    op.execute("UPDATE meta SET value = '2' WHERE name = 'schema_version'")


def _hash_again() -> None:
    connection = op.get_bind()
    for name in ("hosts", "records"):
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        for row in connection.execute(sa.select(table).order_by(table.c.id)).mappings().all():
            document = {k: v for k, v in row.items() if k not in ("id", "host_id", "content_hash", "created")}
            connection.execute(table.update().where(table.c.id == row["id"]).values(content_hash=_digest(document)))


def _digest(document: dict[str, Any]) -> str:
    document["provenance"] = {k: v for k, v in document["provenance"].items() if k != "created"}
    filled = {name: value for name, value in document.items() if value not in (None, "", [], {})}
    return hashlib.sha256(json.dumps(filled, sort_keys=True, ensure_ascii=True, allow_nan=False).encode()).hexdigest()
