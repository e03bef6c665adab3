"""Export and import beside loops over sqlite3 and json: python -m benchmarks.exporting.

Each runs in a process of its own: told are messages a second, and the memory at its peak.

    hand-export    reads each table once, and writes each row with json.dumps(), its values as they are stored
    export         store.export(), in convo's own form
    hand-import    json.loads() of each line, executemany() into the same tables in one transaction, synced to the disk
    import         store.import_(), which checks each value, verifies each conversation, and is as durable

The store is one conversation of many turns, and forks of it; or, with --one, a single conversation with a history.
"""

from __future__ import annotations

import argparse
import base64
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import convo
from benchmarks.verifying import build, peak_megabytes
from convo.audits import EVERYONE

TABLES = {
    "conversation": (
        "convo_conversations",
        "id owner name metadata user_author model_author label_salt model parameters input_token_limit trim context"
        " context_salt context_tokens title title_salt first_position turn_count fence journal_length journal_head"
        " forked_from forked_at created_at updated_at",
    ),
    "turn": (
        "convo_turns",
        "number state fence error chosen prev_chosen window_start first_example prompt_tokens prompt_limit model"
        " served_by input_tokens output_tokens latency_ms created_at finished_at prompt_digest parameters request_key"
        " request_hash",
    ),
    "message": (
        "convo_messages",
        "turn side candidate author tokens repaired finish_reason created_at model salt content",
    ),
    "event": ("convo_events", "number kind digest body"),
}
"""The kinds of lines: their tables, and the columns that are told."""

COLUMNS = {kind: names.split() for kind, (_, names) in TABLES.items()}
IDS, TIMES, JSONS = ("id", "forked_from"), ("created_at", "finished_at", "updated_at"), ("metadata", "parameters")


def told(kind: str, row: tuple[Any, ...]) -> str:
    """Return a row as a line: as the database has its values, with bytes as digits."""
    if kind == "event":
        row = (*row[:-1], row[-1].decode())
    values = {"type": kind, **dict(zip(COLUMNS[kind], row, strict=True))}
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=bytes.hex) + "\n"


def understood(line: dict[str, Any], id: bytes | None = None) -> list[Any]:
    """Return the values of a row, from its line; behind the conversation's id, where one is given."""
    values: list[Any] = [] if id is None else [id]
    for name in COLUMNS[line["type"]]:
        value = line[name]
        if value is None:
            values.append(None)
        elif name in IDS:
            values.append(bytes.fromhex(value.replace("-", "")))
        elif name in TIMES:
            values.append(round(datetime.fromisoformat(value).timestamp() * 1000) * 1000)
        elif name in JSONS:
            values.append(json.dumps(value, sort_keys=True))
        elif name == "body":
            values.append(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())
        elif name.endswith(("salt", "digest", "hash", "head")):
            values.append(base64.urlsafe_b64decode(value + "="))
        else:
            values.append(value)
    return values


def hand_export(store: str, file: str) -> None:
    """Write each conversation's rows, each table read once."""
    connection = sqlite3.connect(store)
    rest = {kind: rows_by_conversation(connection, kind) for kind in ("turn", "message", "event")}
    with open(file, "w", encoding="utf-8") as lines:  # noqa: PTH123 - as a few lines of Python do
        wanted = f"SELECT {', '.join(COLUMNS['conversation'])} FROM convo_conversations ORDER BY id"  # noqa: S608 - ours
        for row in connection.execute(wanted):
            lines.write(told("conversation", row))
            for kind, groups in rest.items():
                _, rows = next(groups)
                lines.writelines(told(kind, each[1:]) for each in rows)


def rows_by_conversation(connection: sqlite3.Connection, kind: str) -> Iterator[tuple[bytes, Iterator[Any]]]:
    """Yield the rows of a table by their conversations."""
    table, _ = TABLES[kind]
    order = ", ".join(COLUMNS[kind][:3] if kind == "message" else COLUMNS[kind][:1])
    wanted = f"SELECT conversation_id, {', '.join(COLUMNS[kind])} FROM {table} ORDER BY conversation_id, {order}"  # noqa: S608 - ours
    return groupby(connection.execute(wanted), key=lambda row: row[0])


def export(store: str, file: str) -> None:
    """Write the store as convo does."""
    with convo.Store(f"sqlite:///{store}") as opened:
        opened.export(file, owner=EVERYONE)


def hand_import(store: str, file: str) -> None:
    """Store each line as a row, a thousand of a table at once."""
    convo.Store(f"sqlite:///{store}").close()
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    waiting: dict[str, list[list[Any]]] = {kind: [] for kind in TABLES}
    id = b""
    with open(file, encoding="utf-8") as lines:  # noqa: PTH123 - as a few lines of Python do
        for each in lines:
            line = json.loads(each)
            kind = line["type"]
            if kind == "conversation":
                id = bytes.fromhex(line["id"].replace("-", ""))
                waiting[kind].append(understood(line))
            elif kind in TABLES:
                waiting[kind].append(understood(line, id))
                if len(waiting[kind]) == 1000:
                    flush(connection, waiting)
    flush(connection, waiting)
    connection.execute("COMMIT")


def flush(connection: sqlite3.Connection, waiting: dict[str, list[list[Any]]]) -> None:
    """Store the rows that wait."""
    for kind, rows in waiting.items():
        table, _ = TABLES[kind]
        names = [*([] if kind == "conversation" else ["conversation_id"]), *COLUMNS[kind]]
        marks = ", ".join("?" * len(names))
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608 - ours
        rows.clear()


def import_(store: str, file: str) -> None:
    """Store the file as convo does."""
    with convo.Store(f"sqlite:///{store}") as opened:
        found = opened.import_(file)
    if not found.is_whole:
        raise ValueError(found)


WAYS: dict[str, Callable[[str, str], None]] = {
    "hand-export": hand_export,
    "export": export,
    "hand-import": hand_import,
    "import": import_,
}


def measured(way: str, store: Path, file: Path) -> tuple[float, float]:
    """Run one way in a process of its own: seconds, megabytes."""
    command = [sys.executable, "-m", "benchmarks.exporting", "--way", way, str(store), str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this program
    seconds, megabytes = ran.stdout.split()
    return float(seconds), float(megabytes)


def main() -> None:
    """Run the benchmark, or one way of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--one", action="store_true", help="a single conversation")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        convo.Store("sqlite://").close()  # SQLAlchemy is imported
        started = time.perf_counter()
        WAYS[given.way](*given.paths)
        sys.stdout.write(f"{time.perf_counter() - started} {peak_megabytes()}\n")
        return
    for messages in given.messages:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(compared(Path(folder), messages, one=given.one))


def compared(folder: Path, messages: int, *, one: bool) -> str:
    """Run all ways on a store of about so many messages, and return what each took."""
    store, file = folder / "chats.db", folder / "chats.jsonl"
    build(f"sqlite:///{store}", messages // 2 if one else messages, one=one)
    with convo.Store(f"sqlite:///{store}") as opened:
        count = opened.export(file, owner=EVERYONE).texts
    found = {way: measured(way, store, folder / f"{way}.jsonl") for way in ("hand-export", "export")}
    found |= {way: measured(way, folder / f"{way}.db", file) for way in ("hand-import", "import")}
    return report(count, found)


def report(messages: int, found: dict[str, tuple[float, float]]) -> str:
    """Return what each way took, and convo's as a multiple of those by hand, in words."""
    speed = {way: messages / seconds for way, (seconds, _) in found.items()}
    lines = [f"{messages:,} messages"]
    for way, (seconds, megabytes) in found.items():
        lines.append(f"  {way:12} {seconds:8.2f} s  {speed[way]:9,.0f} messages/s  {megabytes:6.0f} MB")
    ratios = (f"{way} is {speed[way] / speed[f'hand-{way}']:.2f} × by hand" for way in ("export", "import"))
    return "\n".join([*lines, f"  {', '.join(ratios)}"]) + "\n"


if __name__ == "__main__":
    main()
