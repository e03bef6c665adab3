"""`convo db`: where the store is, whether its schema is this release's, how it becomes so, and what its files hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convo.cli.conversations import open_store
from convo.cli.options import AsJson

if TYPE_CHECKING:
    from sqlalchemy import URL

    from convo.store.database import Database

app = typer.Typer(help="Look after the store's schema and files.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def path(context: typer.Context) -> None:
    """Print the store's URL, without its password."""
    from convo.cli.output import say
    from convo.store.urls import parsed_url, shown_url

    say(shown_url(parsed_url(_url(context))))


@app.command()
def check(context: typer.Context) -> None:
    """Say whether this release can use the store as it is; exit code 1 when it cannot."""
    from convo.cli.output import note
    from convo.store import schema

    missing = _missing_file(_url(context))
    if missing is not None:
        note(f"there is no store at {missing} yet: the first `convo chat` creates it")
        return
    database = _open(context)
    try:
        database.check_schema()
        note(f"{database.where} has schema {schema.HEAD}, as this release needs")
    finally:
        database.close()


@app.command()
def upgrade(context: typer.Context) -> None:
    """Bring the store to this release's schema; back it up first."""
    from convo.cli.output import note
    from convo.store import schema

    database = _open(context)
    try:
        before = database.revision()
        database.upgrade()
        done = "has already" if before == schema.HEAD else "now has"
        note(f"{database.where} {done} schema {schema.HEAD}")
    finally:
        database.close()


@app.command()
def backup(
    context: typer.Context, file: Annotated[str, typer.Argument(metavar="FILE", help="A file that is not there yet.")]
) -> None:
    """Copy an SQLite store, as it is at one moment, into a new file, which can be opened as a store.

    Nobody has to wait meanwhile. For PostgreSQL there is pg_dump.
    """
    from convo.cli.output import note

    with open_store(context) as store:
        size_bytes = store.backup(file)
    note(f"{file} has {size_bytes:,} bytes")


@app.command()
def scrub(context: typer.Context, as_json: AsJson = False) -> None:
    """Look for texts that were erased, given on standard input, one a line; remove what is left of them in the files.

    Without any the files are rebuilt, unseen. Texts that still stand somewhere are named, whoever's they are.
    """
    from convo.cli.erase import findings
    from convo.cli.output import say, say_json

    lines = [] if sys.stdin.isatty() else sys.stdin.read().splitlines()
    with open_store(context) as store:
        remains = store.scrub([each for each in lines if each.strip()])
    if as_json:
        say_json(remains)
        return
    for line in findings(remains):
        say(line)


def _url(context: typer.Context) -> str | URL:
    from convo.store.urls import default_url

    return context.obj["database"] or default_url()


def _open(context: typer.Context) -> Database:
    from convo.store.database import Database

    return Database(_url(context))


def _missing_file(url: str | URL) -> Path | None:
    """Return the file of an SQLite store that is not there yet: looking must not create it."""
    from convo.store import sqlite
    from convo.store.urls import parsed_url

    parsed = parsed_url(url)
    file = sqlite.file_of(parsed) if parsed.drivername.startswith("sqlite") else None
    return file if file and not file.exists() else None
