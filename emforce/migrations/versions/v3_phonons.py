"""Schema version 3: phonons of the hosts. The content hashes stay: what was not computed is not part of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

NUMBERS = ("debye_temperature_K", "debye_temperature_sigma_K")
DOCUMENTS = ("phonon_path", "phonon_ticks", "phonon_bands_THz", "phonon_details")


def upgrade() -> None:
    """Add the columns."""
    op.add_column("hosts", sa.Column("phonon_status", sa.Text(), nullable=False, server_default=""))
    for name in NUMBERS:
        op.add_column("hosts", sa.Column(name, sa.Double(), nullable=True))
    for name in DOCUMENTS:
        op.add_column("hosts", sa.Column(name, sa.JSON(), nullable=True))
    op.execute("UPDATE meta SET value = '3' WHERE name = 'schema_version'")
