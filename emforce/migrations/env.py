"""Runs the migrations on the connection that `emforce.upgrade` opened, within its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
