"""Where migrations run: on the connection that convo gives, or on `-x url=…`, or on the default store."""

from __future__ import annotations

from alembic import context

from convo.store import schema, urls
from convo.store.tables import Base

OPTIONS = {"target_metadata": Base.metadata, "version_table": schema.VERSION_TABLE}


def run() -> None:
    """Run the migrations that the command asked for."""
    url = context.get_x_argument(as_dictionary=True).get("url") or urls.default_url()
    given = context.config.attributes.get("connection")
    if context.is_offline_mode():
        migrate(url=url, literal_binds=True)
    elif given is not None:
        migrate(connection=given)
    else:
        engine = urls.open_engine(url)
        with schema.migrating(engine) as connection:
            migrate(connection=connection)
        engine.dispose()


def migrate(**where: object) -> None:
    """Run the migrations in a transaction."""
    context.configure(**where, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


run()
