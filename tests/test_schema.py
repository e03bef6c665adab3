"""The schema's version: the migrations make what the models say, and a store of another release is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

import convo
from convo.errors import SchemaOutOfDate
from convo.store import schema
from convo.store.database import Database
from convo.store.tables import Base
from tests.conftest import upgrade
from tests.processes import run

TABLES = [
    "convo_conversations",
    "convo_events",
    "convo_examples",
    "convo_messages",
    "convo_models",
    "convo_turns",
]

SQLITE_MASTER = "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE 'convo\\_%' ESCAPE '\\' AND sql IS NOT NULL"
CATALOG = {
    "columns": """SELECT table_name, ordinal_position, column_name, data_type, is_nullable, is_identity,
                         column_default, is_generated, generation_expression
                  FROM information_schema.columns WHERE table_name LIKE 'convo\\_%'""",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), condeferrable, condeferred
                      FROM pg_constraint WHERE conrelid::regclass::text LIKE 'convo\\_%'""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'convo\\_%'",
}

Description = dict[str, Any]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Return a database with the tables of this release."""
    opened = Database(url)
    yield opened
    opened.close()


def test_the_models_need_no_further_migration(database: Database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert [] == compare_metadata(context, Base.metadata)


def test_the_migrations_make_exactly_what_the_models_say(database: Database):
    made_by_migrations = describe(database)
    alembic(database, command.downgrade, "base")
    with database.engine.begin() as connection:
        Base.metadata.create_all(connection)
    assert made_by_migrations == describe(database)


def test_down_and_up_again_makes_the_same_tables(database: Database):
    before = describe(database)
    fill(database)
    alembic(database, command.downgrade, "base")
    alembic(database, command.upgrade, "head")
    assert before == describe(database)


def test_a_store_of_the_first_schema_goes_on_after_an_upgrade(database: Database):
    fill(database)
    alembic(database, command.downgrade, "0001")
    alembic(database, command.upgrade, "head")
    with convo.Store(database.engine) as store:
        talk = store.list()[0]
        assert (3, "more") == (talk.send("more").turn, talk.last_reply.text)


def test_down_leaves_no_table_but_the_empty_version(database: Database):
    fill(database)
    alembic(database, command.downgrade, "base")
    with database.engine.connect() as connection:
        left = [schema.VERSION_TABLE]
        assert (left, None) == (inspect(connection).get_table_names(), schema.current(connection))


def test_the_newest_migration_is_the_one_that_this_release_wants():
    script = ScriptDirectory(str(schema.migrations_folder()))
    assert [schema.HEAD] == script.get_heads()


def test_the_known_revisions_end_with_the_newest():
    assert schema.HEAD == schema.revisions()[0]


@pytest.mark.parametrize("command_line", ["upgrade head", "check"])
def test_alembic_runs_in_the_checkout(url: str, command_line: str):
    done = run("-m", "alembic", "-x", f"url={url}", *command_line.split())
    assert (0, "") == (done.returncode, "".join(line for line in done.stderr.splitlines() if "INFO" not in line))


def test_alembic_in_the_checkout_makes_a_store(empty_url: str):
    run("-m", "alembic", "-x", f"url={empty_url}", "upgrade", "head")
    with convo.Store(empty_url) as store:
        assert [] == store.list()


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql://"])
def test_alembic_prints_the_statements_without_a_database(url: str):
    printed = run("-m", "alembic", "-x", f"url={url}", "upgrade", "head", "--sql").stdout
    made = re.findall(r"^CREATE TABLE (\w+)", printed, re.MULTILINE)
    assert sorted([schema.VERSION_TABLE, *TABLES]) == sorted(made)


def test_printing_the_statements_makes_no_file(tmp_path: Path):
    run("-m", "alembic", "-x", f"url=sqlite:///{tmp_path / 'x.db'}", "upgrade", "head", "--sql")
    assert [] == list(tmp_path.iterdir())


def test_a_new_sqlite_file_gets_its_tables_at_once(tmp_path: Path):
    with convo.Store(f"sqlite:///{tmp_path / 'new.db'}") as store:
        assert schema.HEAD == store.database.revision()


def test_an_empty_postgresql_is_refused_with_the_remedy(postgres_url: str):
    with pytest.raises(SchemaOutOfDate, match="no tables of convo yet: run `convo db upgrade`"):
        convo.Store(postgres_url)


def test_a_newer_store_is_refused_with_the_remedy(database: Database):
    set_revision(database, "9999")
    with pytest.raises(SchemaOutOfDate, match=f"schema 9999, which is newer than this release's {schema.HEAD}"):
        convo.Store(database.engine)


def test_a_newer_store_is_not_upgraded(database: Database):
    set_revision(database, "9999")
    with pytest.raises(SchemaOutOfDate, match="upgrade convo"):
        database.upgrade()


def test_an_sqlite_file_of_another_application_is_refused(tmp_path: Path):
    with pytest.raises(SchemaOutOfDate, match="no tables of convo yet: run `convo db upgrade`"):
        convo.Store(of_another_application(f"sqlite:///{tmp_path / 'theirs.db'}"))


def test_no_table_is_added_to_an_sqlite_file_that_is_refused(tmp_path: Path):
    url = of_another_application(f"sqlite:///{tmp_path / 'theirs.db'}")
    with pytest.raises(SchemaOutOfDate):
        convo.Store(url)
    assert ["alembic_version", "users"] == tables(url)


def test_convo_lives_beside_another_application(empty_url: str):
    upgrade(of_another_application(empty_url))
    assert sorted(["alembic_version", "users", schema.VERSION_TABLE, *TABLES]) == tables(empty_url)


def test_the_other_applications_revision_stays(empty_url: str):
    upgrade(of_another_application(empty_url))
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert ["theirs"] == list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    engine.dispose()


def alembic(database: Database, what: Callable[..., None], revision: str) -> None:
    """Run a command of Alembic on a database."""
    with schema.migrating(database.engine) as connection:
        what(schema._config(connection), revision)


def describe(database: Database) -> Description:
    """Return everything that a database tells of convo's tables, but for Alembic's own."""
    with database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            return sqlite_tables(connection)
        found = {name: connection.execute(text(sql)).all() for name, sql in CATALOG.items()}
    return {name: sorted(row for row in rows if "convo_schema" not in str(row)) for name, rows in found.items()}


def sqlite_tables(connection: Connection) -> Description:
    """Return the parts of each statement that made a table or an index: columns in their order, constraints sorted."""
    made = connection.execute(text(SQLITE_MASTER)).all()
    return {name: parts(sql) for name, sql in made if name != schema.VERSION_TABLE}


def parts(sql: str) -> tuple[str, list[str], list[str], str]:
    head, body = sql.split("(", 1)
    body, tail = body.rsplit(")", 1)
    # a column that was added later stands on the line of the one before it
    lines = [" ".join(line.split()) for line in re.split(r",\s*\n|, (?=[a-z_]+ (?:TEXT|INTEGER|BLOB))", body)]
    constraints = [line for line in lines if line.startswith("CONSTRAINT")]
    return head.strip(), [line for line in lines if line not in constraints], sorted(constraints), tail.strip()


def fill(database: Database) -> None:
    """Store a conversation that uses every table."""
    store = convo.Store(database.engine)
    talk = store.create(opening="Hello?", examples=[("a", "b")], messages=["one", "two"], model="offline/echo")
    talk.send("three")
    store.close()


def set_revision(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE convo_schema SET version_num = :revision"), {"revision": revision})


def of_another_application(url: str) -> str:
    """Make the tables of another application that uses Alembic too; return the URL."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    engine.dispose()
    return url


def tables(url: str) -> list[str]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        return sorted(inspect(engine).get_table_names())
    finally:
        engine.dispose()
