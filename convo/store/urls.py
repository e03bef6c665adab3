"""Which database a URL means: SQLite's and PostgreSQL's, and how one is shown to people."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from urllib.parse import unquote

import platformdirs
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from convo.errors import ConvoError, InvalidInput
from convo.store import postgres, sqlite

_SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""The parts of a URL's query that nobody is shown: https://www.postgresql.org/docs/current/libpq-connect.html."""

_SQLITE = ("sqlite", "sqlite+pysqlite", "sqlite+aiosqlite")
"""Not pysqlcipher: the plain driver would store its users' texts unencrypted."""


def default_url() -> str | URL:
    """Return CONVO_DATABASE_URL, else the store in the user's own data folder."""
    given = os.environ.get("CONVO_DATABASE_URL")
    return given or URL.create("sqlite", database=str(platformdirs.user_data_path("convo") / "convo.db"))


def parsed_url(url: str | URL) -> URL:
    """Return the parts of a URL.

    Raises:
        InvalidInput: it is none; the error does not show it, as a password may stand anywhere in it.
    """
    with _unquoted():
        return make_url(url)


@contextlib.contextmanager
def _unquoted() -> Iterator[None]:
    """Refuse what is no URL with an error that quotes nothing of it, as SQLAlchemy's do."""
    try:
        yield
    except ConvoError:
        raise
    except (ArgumentError, ValueError):
        raise InvalidInput("that is no database URL: write sqlite:///chats.db or postgresql://user@host/name") from None


def shown_url(url: URL) -> str:
    """Return a URL for people: without its password, and readable."""
    return unquote(url.difference_update_query(_SECRETS).render_as_string(hide_password=True))


def open_engine(url: str | URL) -> Engine:
    """Return an engine that follows convo's rules; `url` is sqlite:///path, sqlite:// or postgresql://….

    Raises:
        InvalidInput: no URL of SQLite or PostgreSQL.
        StoreUnavailable: the file cannot be created, or the driver is not installed.
    """
    with _unquoted():
        return _make_engine(make_url(url))


def _make_engine(url: URL) -> Engine:
    if url.drivername in _SQLITE:
        return sqlite.make_engine(url.set(drivername="sqlite"))
    if url.drivername.split("+")[0] in ("postgresql", "postgres"):
        return postgres.attached(postgres.make_engine(url), is_ours=True)
    raise InvalidInput(f"convo keeps its store in SQLite or PostgreSQL, not in {url.drivername}: see `convo --help`")
