"""Which error of convo's each code of a database becomes, and what of it is never shown."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import traceback
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

import convo
from convo.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from convo.store import faults
from convo.testing import HistoryClient

CANARY = "nobody".upper()
"""Not as it stands in a line of this file: a traceback shows those."""

STATES = {
    "08006": (StoreUnavailable, "lost"),
    "25006": (StoreReadOnly, "final"),
    "25P03": (StoreUnavailable, "lost"),
    "28P01": (StoreUnavailable, "final"),
    "3D000": (StoreUnavailable, "final"),
    "40001": (StoreBusy, "busy"),
    "40P01": (StoreBusy, "busy"),
    "42501": (StoreReadOnly, "final"),
    "42P01": (StoreUnavailable, "final"),
    "53100": (StoreFull, "final"),
    "53300": (StoreUnavailable, "final"),
    "55P03": (StoreBusy, "busy"),
    "57014": (StoreBusy, "final"),
    "57P01": (StoreUnavailable, "lost"),
    "57P02": (StoreUnavailable, "lost"),
    "57P03": (StoreUnavailable, "lost"),
    "58030": (StoreUnavailable, "final"),
    "XX000": (StoreError, "final"),
    "XX001": (StoreCorrupt, "final"),
    "XX002": (StoreCorrupt, "final"),
}


def of_postgres(state: str) -> DBAPIError:
    cause = psycopg.errors.lookup(state)() if state in psycopg.errors._sqlcodes else psycopg.OperationalError()
    cause.sqlstate = state
    return OperationalError("SELECT 1", {}, cause)


def of_sqlite(code: int) -> DBAPIError:
    cause = sqlite3.OperationalError()
    cause.sqlite_errorcode = code
    return OperationalError("SELECT 1", {}, cause)


def retry(error: DBAPIError) -> str:
    return "lost" if faults.is_lost(error) else "busy" if faults.is_busy(error) else "final"


@pytest.mark.parametrize("state", STATES)
def test_a_sqlstate_has_its_error_and_its_way_to_be_tried_again(state: str):
    error = of_postgres(state)
    assert STATES[state] == (type(faults.translate(error, "here")), retry(error))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_PROTOCOL, StoreBusy),
        (sqlite3.SQLITE_READONLY, StoreReadOnly),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable),
        (sqlite3.SQLITE_CORRUPT, StoreCorrupt),
        (sqlite3.SQLITE_NOTADB, StoreCorrupt),
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_CANTOPEN, StoreUnavailable),
    ],
)
def test_a_code_of_sqlite_has_its_error(code: int, kind: type[StoreError]):
    assert kind is type(faults.translate(of_sqlite(code), "here"))


def test_a_write_that_failed_on_a_full_disk_is_full():
    assert StoreFull is type(faults.translate(of_sqlite(sqlite3.SQLITE_IOERR_WRITE), "here", is_full=True))


def test_the_context_of_an_error_may_quote_a_row():
    cause = SimpleNamespace(sqlstate="57014", diag=SimpleNamespace(context="unnamed portal with $1 = 'canary'"))
    assert faults.quotes_a_row(DataError("SELECT 1", {}, cause))


QUOTING = """
ALTER DATABASE {name} SET log_parameter_max_length_on_error = -1;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ begin raise sqlstate '57014'; end $$;
CREATE TRIGGER refuse BEFORE INSERT ON convo_messages FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def test_a_server_that_tells_parameters_in_its_errors_shows_none_here(postgres_store_url: str):
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        connection.execute(QUOTING.format(name=connection.info.dbname))
    with convo.Store(postgres_store_url, client=HistoryClient()) as store, pytest.raises(StoreBusy) as failed:
        store.create().send(CANARY)
    assert CANARY not in "".join(traceback.format_exception(failed.value))


def test_a_place_where_files_cannot_be_locked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreUnavailable, match="cannot be locked"):
        convo.Store(f"sqlite:///{tmp_path / 'chats.db'}")


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path):
    (tmp_path / "chats.db.lock.next").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable, match="see what is in its place"):
        convo.Store(f"sqlite:///{tmp_path / 'chats.db'}")
    assert not (tmp_path / "elsewhere").exists()
