"""How much room convo's tables take beside the texts that are in them, by number of turns.

The turns are taken, not given: each has what a live one leaves, the request's key excepted. A table counts with its
indexes; at last when it is PACKED, too, as a table that is written to keeps some room free.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from benchmarks import texts
from benchmarks.parts.rounds import Figures
from benchmarks.places import DISK, Places
from benchmarks.plan import Plan
from benchmarks.systems.base import file_of, is_sqlite
from benchmarks.systems.convo import Convo

PACKED = "packed"

TEXTS = "SELECT sum(octet_length(content)) FROM convo_messages"
SIZES = """SELECT relname, pg_table_size(oid) + pg_indexes_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relname LIKE 'convo\\_%' ORDER BY 1"""
BY_PAGES = """SELECT master.tbl_name, sum(stat.pgsize) FROM dbstat AS stat JOIN sqlite_master AS master
    ON master.name = stat.name WHERE master.tbl_name LIKE 'convo\\_%' ESCAPE '\\' GROUP BY 1"""


def measure(plan: Plan, places: Places) -> Figures:
    """Measure on all databases; of interest to convo alone."""
    return {database: _on(plan, places, database) for database in plan.databases}


def _on(plan: Plan, places: Places, database: str) -> Figures:
    found: Figures = {}
    with places.fresh(database) as place:
        (id,) = Convo().seed(place.url, 0, 1)
        session = Convo().open(place.url)
        number = 0
        for turns in plan.storage_turns:
            plan.told(f"storage on {database}: {turns:,} turns")
            while number < turns:
                session.turn(id, texts.question(number), texts.answer(number))
                number += 1
            place.settle()
            found[str(turns)] = _figures(place.url)
        session.close()
        place.pack()
        found[PACKED] = _figures(place.url)
    return found


def _figures(url: str) -> Figures:
    text_bytes, tables = in_file(file_of(url)) if is_sqlite(url) else _on_server(url)
    return {
        "text_bytes": text_bytes,
        "tables": tables,
        "ratios": {name: size / text_bytes for name, size in tables.items()},
        "ratio": sum(tables.values()) / text_bytes,
    }


def in_file(file: str) -> tuple[int, dict[str, int]]:
    """Return the bytes of the texts, and of each table, in an SQLite file."""
    connection = sqlite3.connect(file)
    try:
        text_bytes = connection.execute("SELECT sum(length(CAST(content AS BLOB))) FROM convo_messages").fetchone()[0]
        try:
            tables = dict(connection.execute(BY_PAGES))
        except sqlite3.OperationalError:  # this SQLite was built without dbstat
            tables = by_dropping(connection)
    finally:
        connection.close()
    return text_bytes, tables


def by_dropping(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the bytes of each table: the pages that are free when it is dropped, from a copy."""
    with tempfile.TemporaryDirectory(dir=DISK if DISK.is_dir() else None) as folder:
        copy = Path(folder) / "copy.db"
        connection.execute("VACUUM INTO ?", (str(copy),))
        copied = sqlite3.connect(copy, isolation_level=None)
        (page,) = copied.execute("PRAGMA page_size").fetchone()
        names = [name for (name,) in copied.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        tables, before = {}, 0
        for name in names:
            if name.startswith("convo_"):
                copied.execute(f'DROP TABLE "{name}"')
                (free,) = copied.execute("PRAGMA freelist_count").fetchone()
                tables[name], before = page * (free - before), free
        copied.close()
    return tables


def _on_server(url: str) -> tuple[int, dict[str, int]]:
    import psycopg

    with psycopg.connect(url) as connection:
        (text_bytes,) = connection.execute(TEXTS).fetchone() or (0,)
        return int(text_bytes), dict(connection.execute(SIZES).fetchall())
