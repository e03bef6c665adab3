"""The way from one schema to the next: nothing is lost, nothing half done, and only one upgrade runs at a time."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

import convo
from convo.errors import StoreCorrupt
from convo.store import schema
from convo.store.database import Database
from convo.store.tables import Base
from tests.conftest import upgrade
from tests.processes import HERE, run, run_at_once

NEXT_MIGRATION = '''
"""A made-up next schema: SQLite has to build the table anew for it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    anew = "always" if op.get_context().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("convo_conversations", recreate=anew) as table:
        table.add_column(sa.Column("colour", sa.Text()))
'''

OPEN = "import sys, convo; print(convo.Store(sys.argv[1]).database.revision())"
UPGRADE = "import sys; from convo.store.database import Database; Database(sys.argv[1]).upgrade()"

OPEN_AT_ONCE = "import sys\nfrom convo.stores import Store\nimport alembic.command\n# go\nStore(sys.argv[1]).close()"
UPGRADE_AT_ONCE = """
import sys
from convo.store.database import Database
from convo.store.tables import Base
import alembic.command
database = Database(sys.argv[1])
# go
database.upgrade()
"""

Counts = dict[str, int]


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """Return the checkout of a made-up next release, which has one more migration."""
    checkout = tmp_path / "next"
    for folder in ("convo", "migrations"):
        shutil.copytree(HERE / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "alembic.ini", checkout)
    (checkout / "migrations/versions/0004_next.py").write_text(NEXT_MIGRATION)
    its_schema = checkout / "convo/store/schema.py"
    its_schema.write_text(its_schema.read_text().replace(f'HEAD = "{schema.HEAD}"', 'HEAD = "0004"'))
    return checkout


@pytest.fixture
def filled_url(url: str) -> str:
    """Return the URL of a store with a conversation that uses every table."""
    with convo.Store(url) as store:
        talk = store.create(opening="Hello?", examples=[("a", "b")], messages=["one", "two"], model="offline/echo")
        talk.send("three")
        store.database.write(lambda repository: repository.keep_factor("offline/echo", 1.0))
    return url


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return an application's own engine on an SQLite file, with one connection that is used again and again."""
    engine = create_engine(f"sqlite:///{tmp_path / 'chats.db'}", pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    """Return an empty PostgreSQL database."""
    opened = Database(postgres_url)
    yield opened
    opened.close()


def test_a_store_of_an_older_release_is_refused_with_the_remedy(filled_url: str, next_release: Path):
    said = run("-c", OPEN, filled_url, folder=next_release).stderr.splitlines()[-1]
    remedy = "the store has schema 0003 and this release needs 0004: back it up, then run `convo db upgrade`"
    assert f"convo.errors.SchemaOutOfDate: {remedy}" == said


def test_an_older_store_is_never_upgraded_by_itself(filled_url: str, next_release: Path):
    run("-c", OPEN, filled_url, folder=next_release)
    assert "0003" == revision(filled_url)


def test_an_upgrade_keeps_every_row(filled_url: str, next_release: Path):
    before = counts(filled_url)
    done = run("-c", UPGRADE, filled_url, folder=next_release)
    assert (0, "0004", before) == (done.returncode, revision(filled_url), counts(filled_url))


def test_an_upgrade_by_alembic_keeps_every_row(filled_url: str, next_release: Path):
    before = counts(filled_url)
    done = run("-m", "alembic", "-x", f"url={filled_url}", "upgrade", "head", folder=next_release)
    assert (0, "0004", before) == (done.returncode, revision(filled_url), counts(filled_url))


def test_an_upgrade_refuses_rows_that_refer_to_nothing(tmp_path: Path, next_release: Path):
    said = run("-c", UPGRADE, broken(tmp_path), folder=next_release).stderr.splitlines()[-1]
    broken_rows = "rows of the migrated store refer to rows that are not there; nothing was changed"
    assert f"convo.errors.StoreCorrupt: {broken_rows}" == said


def test_a_refused_upgrade_changes_nothing(tmp_path: Path, next_release: Path):
    url = broken(tmp_path)
    before = contents(url)
    run("-c", UPGRADE, url, folder=next_release)
    assert before == contents(url)


def test_broken_rows_of_another_application_are_its_own_affair(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id INTEGER PRIMARY KEY, of INTEGER REFERENCES users)"))
        connection.execute(text("INSERT INTO users VALUES (1, 2)"))
    database = Database(engine)
    database.upgrade()
    assert schema.HEAD == database.revision()


def test_foreign_keys_are_off_while_sqlite_migrates(engine: Engine):
    with shown_at(engine, "CREATE TABLE convo_", "PRAGMA foreign_keys") as seen:
        Database(engine).upgrade()
    assert [0] * len(Base.metadata.tables) == seen


def test_foreign_keys_are_on_again_after_an_upgrade(engine: Engine):
    Database(engine).upgrade()
    assert 1 == foreign_keys(engine)


def test_foreign_keys_are_on_again_after_a_failed_upgrade(tmp_path: Path):
    engine = create_engine(broken(tmp_path), pool_size=1, max_overflow=0)
    with pytest.raises(StoreCorrupt):
        Database(engine).upgrade()
    assert 1 == foreign_keys(engine)
    engine.dispose()


def test_an_upgrade_that_fails_half_way_leaves_no_table(engine: Engine):
    with pytest.raises(InterruptedError), interrupted_at(engine, "CREATE TABLE convo_messages"):
        Database(engine).upgrade()
    with engine.connect() as connection:
        assert schema.is_empty(connection)


def test_an_upgrade_on_postgresql_may_take_its_time(postgres: Database):
    with shown_at(postgres.engine, "CREATE TABLE convo_turns", "SHOW statement_timeout") as seen:
        postgres.upgrade()
    assert ["0"] == seen


def test_an_upgrade_waits_for_another_one_to_end(postgres: Database):
    with shown_at(postgres.engine, "SELECT pg_advisory_xact_lock", "SHOW lock_timeout") as seen:
        postgres.upgrade()
    assert ["0"] == seen


def test_an_upgrade_does_not_wait_long_for_those_who_use_the_tables(postgres: Database):
    with shown_at(postgres.engine, "CREATE TABLE convo_turns", "SHOW lock_timeout") as seen:
        postgres.upgrade()
    assert ["5s"] == seen


def test_an_upgrade_leaves_the_timeouts_as_they_were(postgres: Database):
    postgres.upgrade()
    with postgres.engine.connect() as connection:
        timeouts = [connection.scalar(text(f"SHOW {name}")) for name in ("statement_timeout", "lock_timeout")]
    assert ["30s", "5s"] == timeouts


def test_four_processes_open_a_new_file_at_once(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert [(0, "", "")] * 4 == run_at_once(OPEN_AT_ONCE, [[url]] * 4)


def test_four_processes_upgrade_at_once(empty_url: str):
    assert [(0, "", "")] * 4 == run_at_once(UPGRADE_AT_ONCE, [[empty_url]] * 4)


def test_an_upgrade_of_an_upgraded_store_does_nothing(filled_url: str):
    before = counts(filled_url)
    upgrade(filled_url)
    assert before == counts(filled_url)


def revision(url: str) -> str | None:
    database = Database(url)
    try:
        return database.revision()
    finally:
        database.close()


def counts(url: str) -> Counts:
    """Return how many rows each table has."""
    names = ("conversations", "turns", "messages", "examples", "events")
    database = Database(url)
    with database.engine.connect() as connection:
        found = {name: connection.scalar(text(f"SELECT count(*) FROM convo_{name}")) for name in names}
    database.close()
    return found


def broken(folder: Path) -> str:
    """Make an SQLite store with an event of no conversation; return its URL."""
    path = folder / "broken.db"
    upgrade(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO convo_events VALUES (zeroblob(16), 1, 'create', x'', x'')")
        connection.commit()
    return f"sqlite:///{path}"


def contents(url: str) -> list[str]:
    """Return a whole SQLite file as statements."""
    with contextlib.closing(sqlite3.connect(str(make_url(url).database))) as connection:
        return list(connection.iterdump())


def foreign_keys(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()


@contextlib.contextmanager
def shown_at(engine: Engine, beginning: str, query: str) -> Iterator[list[Any]]:
    """Collect what `query` returns just before each statement that begins so."""
    seen: list[Any] = []

    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.strip().startswith(beginning) and schema.VERSION_TABLE not in statement:
            seen.append(cursor.connection.cursor().execute(query).fetchone()[0])

    event.listen(engine, "before_cursor_execute", look)
    yield seen
    event.remove(engine, "before_cursor_execute", look)


@contextlib.contextmanager
def interrupted_at(engine: Engine, beginning: str) -> Iterator[None]:
    """Raise InterruptedError in the place of a statement that begins so."""

    def interrupt(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.strip().startswith(beginning):
            raise InterruptedError

    event.listen(engine, "before_cursor_execute", interrupt)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", interrupt)
