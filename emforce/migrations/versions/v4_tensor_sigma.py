"""Schema version 4: uncertainty of each component of the tensor K. The content hashes stay: older rows have none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("records", sa.Column("k_tensor_sigma_uohm_cm", sa.JSON(), nullable=True))
    op.execute("UPDATE meta SET value = '4' WHERE name = 'schema_version'")
