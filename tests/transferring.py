"""What the tests of exports and imports have in common: a store as a file of bytes, and a store made of one."""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import convo
from convo import journal
from convo.audits import EVERYONE
from convo.testing import ScriptedClient
from tests.auditing import RandomStore

Line = dict[str, Any]


def exported(store: convo.Store, *references: str, **asked: Any) -> bytes:
    """Return what is exported of everyone's conversations, in convo's own form."""
    file = io.BytesIO()
    store.export(file, *references, **({"owner": EVERYONE} | asked))
    return file.getvalue()


def imported(store: convo.Store, file: bytes, **terms: Any) -> tuple[convo.ImportReport, list[convo.Imported]]:
    """Import a file; return what came of it as a whole, and of each conversation."""
    told: list[convo.Imported] = []
    return store.import_(io.BytesIO(file), report=told.append, **terms), told


def fates(told: list[convo.Imported]) -> list[str]:
    return [str(each.fate) for each in told]


def unsound(store: convo.Store) -> list[convo.Verdict]:
    return [each for each in store.verify() if not each.is_sound]


@contextmanager
def random_store(seed: int, steps: int = 15) -> Iterator[convo.Store]:
    """Yield a store in memory in which people did things at random."""
    with convo.Store("sqlite://") as store:
        RandomStore(store, random.Random(seed)).run(steps)
        yield store


def parsed(file: bytes) -> list[Line]:
    return [json.loads(each) for each in file.splitlines()]


def written(lines: list[Line]) -> bytes:
    """Return a file of lines, whose last one counts and hashes the others."""
    body = "".join(f"{json.dumps(each, ensure_ascii=False, separators=(',', ':'))}\n" for each in lines[:-1])
    digest = journal.hashlib.sha256(body.encode("utf-8", "surrogatepass"))
    last = lines[-1] | {"lines": len(lines) - 1, "sha256": digest.hexdigest()}
    return body.encode("utf-8", "surrogatepass") + json.dumps(last, separators=(",", ":")).encode() + b"\n"


def relinked(lines: list[Line]) -> list[Line]:
    """Return the lines of one conversation whose journal a forger has linked anew."""
    head, count = journal.GENESIS, 0
    for each in lines:
        if each["type"] == "event":
            count += 1
            head = journal.link(head, each["number"], each["kind"], journal.written(each["body"]))
            each["digest"] = journal.encode(head)
    for each in lines:
        if each["type"] == "conversation":
            each |= {"journal_head": journal.encode(head), "journal_length": count}
    return lines


def salt(line: Line) -> bytes:
    return base64.urlsafe_b64decode(line["salt"] + "=")


def small(store: convo.Store) -> convo.Conversation:
    """Store a conversation with a context, an example, and a turn of each kind; return it."""
    store.client = ScriptedClient(("one", "two"), "three", ValueError())
    talk = store.create(
        name="small", owner="acme", title="Title", context="Context", examples=[("in", "out")], opening="Opening",
        messages=["given", "answer"], metadata={"n": [1, 1.5, None]}, temperature=0.5, candidate_count=2,
    )  # fmt: skip
    talk.send("asked", request_key="key")
    talk.choose(1)
    talk.send("more", candidate_count=1)
    try:
        talk.send("failed")
    except convo.ModelError:
        return talk
    raise AssertionError("it was answered")


def failure(kind: type[Exception], use: Callable[[], object]) -> str:
    """Return what the error of just that type says, which `use` raises."""
    with pytest.raises(kind) as caught:
        use()
    assert type(caught.value) is kind
    return str(caught.value)
