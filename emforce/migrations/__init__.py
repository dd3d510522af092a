"""Migrations of the parameter database (alembic); `emforce.upgrade` runs them."""
