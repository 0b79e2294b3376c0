"""Alembic asks this file how to migrate. The connection, with its transaction begun, comes from `upgrade.py`: a migration
that fails half-way is rolled back whole, tables included.
"""

from alembic import context

from trimtab.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
