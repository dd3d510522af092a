"""Schema version 1: records and hosts with the wind force (emforce 0.1)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None
branch_labels = None
depends_on = None

#: columns in the order of their making: text that is never missing, numbers, JSON
HOSTS = (
    ("text", "metal facet basis preset functional status reason"),
    ("number", "fermi_energy_eV dos_per_eV_atom omega_p_eV n_eV_angstrom2 rho_lambda_fohm_m2"),
    ("number", "dos_compared_per_eV_atom omega_p_compared_eV dos_plane_wave_per_eV_atom"),
    ("number", "omega_p_plane_wave_eV band_rms_eV"),
    ("text", "created"),
    ("json", "path path_ticks bands_lcao_eV bands_plane_wave_eV checks provenance"),
)
RECORDS = (
    ("text", "spec metal facet defect hop site species preset method basis"),
    ("number", "fraction k_wind_uohm_cm k_wind_sigma_uohm_cm"),
    ("json", "k_wind_sigma_parts_uohm_cm k_tensor_uohm_cm hop_vector_angstrom energies_eV"),
    ("json", "k_of_energy_uohm_cm"),
    ("number", "residual_force_eV_per_angstrom"),
    ("text", "status reason created"),
    ("json", "checks provenance"),
)
HOST_IDENTITY = ("metal", "facet", "basis", "preset")
RECORD_IDENTITY = ("spec", "metal", "facet", "defect", "hop", "site", "species", "preset", "method")


def _columns(blocks: tuple[tuple[str, str], ...]) -> list[sa.Column[Any]]:
    kinds: dict[str, Any] = {"text": sa.Text(), "number": sa.Double(), "json": sa.JSON()}
    return [sa.Column(name, kinds[kind], nullable=kind == "number") for kind, names in blocks for name in names.split()]


def _numbered() -> list[sa.Column[Any]]:
    number = sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)
    return [number, sa.Column("content_hash", sa.Text, nullable=False)]


def upgrade() -> None:
    """Make the tables."""
    op.create_table("meta", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
    op.create_table("hosts", *_numbered(), *_columns(HOSTS), sqlite_autoincrement=True)
    host = sa.Column("host_id", sa.Integer, sa.ForeignKey("hosts.id"), nullable=True)
    op.create_table("records", *_numbered(), host, *_columns(RECORDS), sqlite_autoincrement=True)
    op.create_index("ix_hosts_identity", "hosts", HOST_IDENTITY)
    op.create_index("ix_records_identity", "records", RECORD_IDENTITY)
    op.execute("INSERT INTO meta (name, value) VALUES ('schema_version', '1')")
