"""Stores with one safeguard taken out, and the fault that it is there for: what the checker has to say of each.

A safeguard is taken out of the statements on their way to the database, or out of its schema; convo itself is as it is.
Each runs in a process of its own. Where a constraint stands behind the safeguard, that is taken away as well; with it
in place the store has to come through unharmed.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, ForeignKeyConstraint, event, text

import convo
from convo.store.rows import TURNS
from convo.testing import Acknowledged, HistoryClient, violations
from tests.faults.cutting import CutClient
from tests.faults.worker import Tell, Worker

Heard = list[Acknowledged]
Act = Callable[[convo.Conversation], object]


@dataclass(frozen=True)
class Mutation:
    """A safeguard, the fault, and which promises the checker must find broken."""

    fault: Callable[[convo.Store], Heard]
    pattern: str = ""
    """Of statements."""
    instead: str | Callable[[re.Match[str]], str] = ""
    unguard: Callable[[Engine], None] | None = None
    """Takes away the constraint that stands behind the safeguard."""
    broken: frozenset[str] = frozenset()


# ---- the faults


def take_over(store: convo.Store) -> Heard:
    return _overtake(store, lambda talk: talk.send("taken over"), lambda talk: talk.resume())


def ask_again_twice(store: convo.Store) -> Heard:
    return _overtake(store, lambda talk: talk.regenerate(candidate_count=2), lambda talk: talk.regenerate())


def _overtake(store: convo.Store, act: Act, by: Act) -> Heard:
    """One caller's turn is taken over by another; the first answers while the second still waits."""
    waits, goes = threading.Event(), threading.Event()

    def second(request: convo.ChatRequest) -> None:
        waits.set()
        goes.wait(60)

    def first(request: convo.ChatRequest) -> None:
        with store.engine.begin() as connection:
            connection.execute(text("UPDATE convo_turns SET lease_expires = 1 WHERE lease_owner IS NOT NULL"))
        resumed.append(pool.submit(by, other.get("talk")))
        waits.wait(60)

    resumed: list[Any] = []
    other = convo.Store(store.engine, client=HistoryClient(before_answer=second))
    store.client = HistoryClient(before_answer=first)
    with ThreadPoolExecutor(1) as pool:
        with contextlib.suppress(convo.LeaseLost):
            act(store.get("talk"))
        goes.set()
        with contextlib.suppress(convo.LeaseLost):
            resumed[0].result()
    return []


def send_more(store: convo.Store) -> Heard:
    return [_send(store, "more")]


def repeat(store: convo.Store) -> Heard:
    """A client that did not hear the answer sends again, after another one has sent."""
    heard = [_send(store, "first"), _send(store, "second")]
    with contextlib.suppress(convo.ConvoError):
        heard.append(_send(store, "first"))
    return heard


def send_after_a_failure(store: convo.Store) -> Heard:
    """The model fails, and somebody sends as if it had not."""

    def refuse(request: convo.ChatRequest) -> None:
        raise convo.ModelError

    store.client = HistoryClient(before_answer=refuse)
    with contextlib.suppress(convo.ModelError):
        _send(store, "first")
    store.client = HistoryClient()
    with contextlib.suppress(convo.ConvoError):
        return [_send(store, "second")]
    return []


def send_after_a_cut(store: convo.Store) -> Heard:
    """A stream breaks off, is asked for again, and the conversation goes on."""
    cut_and_resume(store)
    return [_send(store, "more")]


def cut_and_resume(store: convo.Store) -> None:
    store.client = CutClient(2)
    with contextlib.suppress(convo.StreamCut):
        list(store.get("talk").stream("cut"))
    store.client = HistoryClient()
    with contextlib.suppress(convo.NoOpenTurn):
        store.get("talk").resume()


def choose_after_a_cut(store: convo.Store) -> Heard:
    """A stream breaks off, is asked for again, and somebody prefers what came the first time."""
    cut_and_resume(store)
    with contextlib.suppress(convo.CandidateNotFound):
        store.get("talk").choose(0)
    return []


def send_while_asked_again(store: convo.Store) -> Heard:
    """Somebody sends while a model is asked for another answer to the turn before."""

    def send(request: convo.ChatRequest) -> None:
        with contextlib.suppress(convo.TurnInFlight):
            other.get("talk").send("meanwhile")

    other = convo.Store(store.engine, client=HistoryClient())
    store.client = HistoryClient(before_answer=send)
    with contextlib.suppress(convo.LeaseLost, convo.StoreError):
        store.get("talk").regenerate(candidate_count=2)
    return []


def fork_earlier(store: convo.Store) -> Heard:
    heard = [_send(store, "more")]
    store.get("talk").fork(at=3)
    return heard


def fork_before_a_late_answer(store: convo.Store) -> Heard:
    """An answer comes when its turn is another's, and the conversation has gone on; somebody forks it before that."""
    _overtake(store, lambda talk: talk.regenerate(candidate_count=2), lambda talk: talk.send("more"))
    store.get("talk").fork(at=3)
    return []


def _send(store: convo.Store, said: str) -> Acknowledged:
    reply = store.get("talk").send(said, request_key=said)
    return Acknowledged(reply.conversation.id, said, said, reply.text)


# ---- what stands behind


def drop_key_index(engine: Engine) -> None:
    [index] = [each for each in TURNS.indexes if "request_key" in each.columns]
    with engine.begin() as connection:
        index.drop(connection)


def drop_follows(engine: Engine) -> None:
    """Let a turn follow one that has no answer; SQLite can only do without all its foreign keys."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "checkout", lambda connection, *_: connection.execute("PRAGMA foreign_keys = OFF"))
        return
    [key] = [each for each in TURNS.constraints if _is_follows(each)]
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE convo_turns DROP CONSTRAINT {key.name}"))


def _is_follows(constraint: object) -> bool:
    return isinstance(constraint, ForeignKeyConstraint) and "prev_chosen" in constraint.column_keys


def leaseless(found: re.Match[str]) -> str:
    """Take no lease, and ask for none."""
    if found["fence"] is None:
        return ""
    return (
        f"SET fence={found['fence']}, lease_owner=CASE WHEN {found['owner']} IS NULL THEN '' END, "
        f"lease_expires=CASE WHEN {found['until']} IS NULL THEN 0 END WHERE"
    )


def lose_commits(engine: Engine) -> None:
    """Undo, in place of a COMMIT, each transaction that stores an answer; its caller hears that all went well."""
    engine_is_finishing = threading.local()

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "UPDATE convo_turns" in statement:
            engine_is_finishing.now = True

    def commit(connection: Any) -> None:
        if engine_is_finishing.__dict__.pop("now", False):
            connection.connection.dbapi_connection.rollback()

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "commit", commit)


MUTATIONS: dict[str, Mutation] = {
    "an answer is stored under any older fence": Mutation(
        take_over, r"(UPDATE convo_turns .*convo_turns\.fence) = ", r"\1 >= ", broken=frozenset({"journal"})
    ),
    "the history is read without its last turn": Mutation(
        send_more, r"(convo_messages\.turn BETWEEN \S+ AND \S+)", r"\1 - 1", broken=frozenset({"reply"})
    ),
    "the history is read in the wrong order": Mutation(
        send_more, r"turn DESC, convo_messages\.side DESC", "turn, convo_messages.side", broken=frozenset({"reply"})
    ),
    "a request's key is not looked for, and need not be unique": Mutation(
        repeat,
        r"convo_turns\.request_key = ",
        "'-' || convo_turns.request_key = ",
        drop_key_index,
        frozenset({"doubled"}),
    ),
    "an open turn looks like an answered one, and may be followed": Mutation(
        send_after_a_failure,
        r"convo_turns\.state,(.*?)convo_turns\.chosen, convo_turns\.lease_owner,(.*?lease_left_ms)(?=.*UNION ALL)",
        r"'done',\1coalesce(convo_turns.chosen, 0), NULL,\2",
        drop_follows,
        frozenset({"state", "order", "journal"}),
    ),
    "a text that broke off is read as history": Mutation(
        send_after_a_cut,
        r"(convo_messages\.candidate) = (convo_turns\.chosen)",
        r"\1 <= \2",
        broken=frozenset({"reply"}),
    ),
    "a text that broke off can be chosen": Mutation(
        choose_after_a_cut,
        r"coalesce\(convo_messages\.finish_reason, ",
        "coalesce('', ",
        broken=frozenset({"state", "journal"}),
    ),
    "a turn whose answer broke off looks answered": Mutation(
        send_after_a_cut,
        r"state=(\S+), (lease_owner=.*) error=(\S+), finished_at",
        r"state=replace(\1, 'failed', 'done'), chosen=0, \2 error=nullif(\3, 'stream_cut'), finished_at",
        broken=frozenset({"state", "journal"}),
    ),
    "another answer is stored under any older fence": Mutation(
        ask_again_twice, r"(UPDATE convo_turns .*convo_turns\.fence) = ", r"\1 >= ", broken=frozenset({"journal"})
    ),
    "whoever asks again holds no lease, and its turn may be followed": Mutation(
        send_while_asked_again,
        r"SET fence=(?P<fence>\S+), lease_owner=(?P<owner>\S+), lease_expires=(?P<until>\(.*\)) WHERE"
        r"| AND convo_turns\.lease_owner IS NOT NULL",
        leaseless,
        drop_follows,
        frozenset({"state", "reply", "journal"}),
    ),
    "a fork has one turn too many": Mutation(
        fork_earlier,
        r"(INSERT INTO convo_(?:turns|messages) .*convo_\w+\.(?:number|turn) <= \S+)",
        r"\1 + 1",
        broken=frozenset({"order", "journal"}),
    ),
    "a fork's journal tells of one turn too many": Mutation(
        fork_earlier,
        r"SELECT convo_events\.number - (\S+) AS",
        r"SELECT convo_events.number + 0 * \1 AS",
        broken=frozenset({"journal"}),
    ),
    "a fork has what was told later": Mutation(
        fork_before_a_late_answer,
        r"(SELECT convo_events\.kind, convo_events\.body.*convo_events\.kind = )",
        r"\1'-' || ",
        broken=frozenset({"journal"}),
    ),
    "a COMMIT does nothing": Mutation(send_more, unguard=lose_commits, broken=frozenset({"lost"})),
}


# ---- running one


def broken_by(name: str, url: str, *, guarded: bool = False, whole: bool = False) -> list[str]:
    """Return which promises are broken; with what stands behind the safeguard if `guarded`, with all if `whole`."""
    [found] = Worker(run, name, url, guarded, whole).end()
    return found


def run(tell: Tell, name: str, url: str, guarded: bool, whole: bool) -> None:
    mutation = MUTATIONS[name]
    with convo.Store(url, client=HistoryClient()) as store:
        store.create(name="talk", messages=["a", "b", "c", "d"])
        heard = [_send(store, "before")]
        if mutation.unguard and not guarded and not whole:
            mutation.unguard(store.engine)
        with (
            contextlib.nullcontext() if whole else rewritten(store.engine, mutation.pattern, mutation.instead) as count
        ):
            store.database.windows.clear()  # so that the history is read
            heard += mutation.fault(store)
            assert whole or not mutation.pattern or count[0], "no statement has this form any more"
        tell(sorted({each.split(":")[0] for each in violations(store, acknowledged=heard)}))


@contextmanager
def rewritten(engine: Engine, pattern: str, instead: str | Callable[[re.Match[str]], str]) -> Iterator[list[int]]:
    """Put `instead` for `pattern` in statements; yield how often that was done."""
    count = [0]

    def rewrite(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> tuple[str, Any]:
        statement, done = re.subn(pattern, instead, statement, flags=re.DOTALL) if pattern else (statement, 0)
        count[0] += done
        return statement, parameters

    event.listen(engine, "before_cursor_execute", rewrite, retval=True)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", rewrite)
