"""Texts that go: from every copy, with what they are checked by, in one transaction; the journal tells."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import event, select, update

import convo
from convo import journal
from convo.erasing import prunable
from convo.store import erasing
from convo.store.rows import CONVERSATIONS, EXAMPLES, MESSAGES, TURNS
from convo.store.tables import Base
from convo.testing import HistoryClient, ScriptedClient, violations
from tests.conftest import database_url
from tests.shells import SyncOnly, store_of
from tests.test_conversation import asked
from tests.test_lease import SlowModel, asking, kinds, outcome, pool, run_out, slow  # noqa: F401 - fixtures
from tests.test_store import refusal, texts

PLANTED = "my number is 4711-0815"
LONG_AGO = timedelta(days=100)


def everywhere(store: convo.Store) -> str:
    """Return all that the tables hold, as one text."""
    with store.engine.connect() as connection:
        return repr([connection.execute(select(each)).all() for each in Base.metadata.sorted_tables])


def rows(store: convo.Store, talk: convo.Conversation, table: object = MESSAGES) -> list[object]:
    with store.engine.connect() as connection:
        id = table.c.id if table is CONVERSATIONS else table.c.conversation_id
        return list(connection.execute(select(table).where(id == talk.id)))


def last_body(talk: convo.Conversation) -> dict[str, object]:
    body = json.loads(talk.events()[-1].body)
    del body["at"]
    return body


def family(store: convo.Store, **settings: object) -> list[convo.Conversation]:
    """Return a conversation of three turns with a fork of each kind: whole, of a deleted one, and parted before."""
    store.client = HistoryClient()
    settings = {"context": "the context", "examples": [("in 0", "out 0"), ("in 1", "out 1")], "title": "t"} | settings
    talk = store.create(**settings)
    for said in (PLANTED, "second", "third"):
        talk.send(said, candidate_count=2)
    between = talk.fork()
    orphan = between.fork()
    orphan.send("of the orphan")
    store.delete(between.id, owner=talk.owner)
    return [talk, talk.fork(at=2), orphan, talk.fork(at=0)]


def grow_old(store: convo.Store, days: int = 200) -> None:
    """Let everything have happened longer ago."""
    with store.engine.begin() as connection:
        then = datetime.now(UTC) - timedelta(days=days)
        connection.execute(update(TURNS).values(created_at=then))
        connection.execute(update(CONVERSATIONS).values(updated_at=then, created_at=then))


def wrong(store: convo.Store) -> list[str]:
    """Return what is wrong with a store in which grow_old() has moved times."""
    return [each for each in violations(store) if not re.search(r"(created|updated)_at: it is not what was told", each)]


# ---- erase


def test_an_erased_text_is_gone_from_every_copy_and_no_other_text_is(store: convo.Store):
    talks = family(store)
    before = [texts(each.refresh()) for each in talks]
    gone = talks[2].erase(1, reason="gdpr-17", scrub=False)
    assert (3, 3, None) == (gone.texts, gone.conversations, gone.remains)
    assert [[None, *each[1:]] for each in before[:3]] + [[]] == [texts(each) for each in talks]
    assert PLANTED not in everywhere(store)
    assert {None} == {row.salt for talk in talks for row in rows(store, talk) if row.turn == 1 and row.side == 0}
    assert [{"fields": [["content", 1, 0, 0]], "reason": "gdpr-17"}] * 3 == list(map(last_body, talks[:3]))
    assert [] == violations(store)
    assert talks[2].record == store.get(talks[2].id).record


def test_a_text_that_another_one_repeats_is_a_text_of_its_own(memory: convo.Store):
    talk = memory.create(model="offline/echo")
    for _ in range(2):
        talk.send("the same words")
    gone = talk.erase(1)
    assert [("2", 0), ("3", None), ("4", 0)] == [(each.target, each.candidate) for each in gone.remains.quotes]
    assert {talk.id} == {each.conversation for each in gone.remains.quotes}
    assert [None, "the same words", "the same words", "the same words"] == texts(talk)


def test_a_replys_position_means_all_candidates_unless_one_is_named(both: convo.Store):
    talk, fork, orphan, _ = family(both)
    fork.regenerate(candidate_count=2)
    assert 2 == talk.erase(2, candidate=1, scrub=False).texts - 1  # one in each of three
    assert [["content", 1, 1, 1]] == last_body(talk)["fields"]
    assert 3 == orphan.erase(2, scrub=False).texts
    assert [None, None] == [each.content for each in fork.turn(1).candidates]
    assert all(each.content for each in fork.turn(2).candidates)
    assert [] == violations(both)


def test_context_title_and_examples_go_from_the_forks_that_have_them(both: convo.Store):
    talk, fork, orphan, early = family(both)
    other = talk.fork(context="another", examples=[("in 0", "out 0")])
    other.update(title="another title")
    counts = [talk.erase(each, scrub=False).texts for each in ("context", "title", "example:1", "example:0:output")]
    assert [4, 4, 8, 4] == counts
    assert (None, None, []) == (fork.refresh().context, orphan.refresh().title, early.examples())
    assert [("in 0", None), (None, None)] == [(row.input, row.output) for row in rows(both, talk, EXAMPLES)]
    assert ("another", "another title", 1) == (other.refresh().context, other.title, len(other.examples()))
    assert (None, None) == (talk.context, talk.title)
    assert [] == violations(both)


def test_what_is_erased_stays_so_and_nothing_is_told_again(both: convo.Store):
    talk = family(both)[0]
    targets: list[int | str] = [1, 2, "context", "title", "example:0", "example:1:input"]
    for target in targets:
        talk.erase(target, scrub=False)
    version = talk.refresh().version
    assert [convo.Erasure(0, 0)] * len(targets) == [talk.erase(each, scrub=False) for each in targets]
    assert version == talk.refresh().version
    refused = [refusal(talk.redact, each, "x") for each in (1, 2, "context", "title", "example:0:input")]
    assert [convo.InvalidInput] * 5 == refused


def test_another_owners_texts_and_other_families_are_left_alone(both: convo.Store):
    talk = family(both, owner="a")[2]
    kept = [both.create(owner=each, messages=[PLANTED, "y"], title="t") for each in ("a", "b")]
    assert 3 == talk.erase(1, scrub=False).texts
    assert [[PLANTED, "y"]] * 2 == list(map(texts, kept))


WRONG = {
    -1: convo.InvalidInput,
    "": convo.InvalidInput,
    "example": convo.InvalidInput,
    "example:x": convo.InvalidInput,
    "example:0:both": convo.InvalidInput,
    "Context": convo.InvalidInput,
    "1 2": convo.InvalidInput,
    True: TypeError,
    None: TypeError,
    0: convo.TurnNotFound,
    3: convo.TurnNotFound,
    4: convo.TurnNotFound,
    999999999: convo.TurnNotFound,
    "example:7:output": convo.NotFound,
    "context": convo.NotFound,
    "title": convo.NotFound,
}


@pytest.mark.parametrize(("target", "error"), WRONG.items())
def test_what_is_no_text_is_a_typed_error(memory: convo.Store, target: object, error: type[Exception]):
    talk = memory.create(messages=["x", "y"])
    for use in (talk.erase, partial(talk.redact, replacement="z")):
        assert error is refusal(use, target)
    assert 2 == talk.refresh().version


def test_candidates_and_reasons_that_are_none_are_refused(memory: convo.Store):
    talk = memory.create(messages=["x", "y"], examples=[("i", "o")])
    large = [2**31, 2**70, 10**5000]
    assert [convo.InvalidInput] * 6 == [
        refusal(use) for each in large for use in (partial(talk.erase, each), partial(talk.erase, 2, candidate=each))
    ]
    assert [TypeError] * 5 == [refusal(talk.erase, 2, candidate=each) for each in ("0", [], 1.5, True, b"0")]
    assert [TypeError] * 2 == [refusal(talk.erase, 2, reason=each) for each in (17, b"x")]
    assert convo.InvalidInput is refusal(talk.erase, -(10**5000))
    reasons = ["", "A", "a b", "ä", "-a", "a" * 65]
    assert [convo.InvalidInput] * 6 == [refusal(talk.erase, 1, reason=each) for each in reasons]
    wrong = [(1, 0), ("context", 0), ("example:0", 1), (2, -1)]
    assert [convo.InvalidInput] * 4 == [refusal(talk.erase, each, candidate=number) for each, number in wrong]
    assert convo.CandidateNotFound is refusal(talk.erase, 2, candidate=1)
    assert convo.InvalidInput is refusal(talk.redact, "example:0", "x")
    assert [convo.InvalidText] * 2 == [refusal(talk.redact, 1, each) for each in (" ", "\0")]
    with pytest.raises(convo.InvalidInput, match=r"'foo' is no text of a conversation: .*example:N:input"):
        talk.erase("foo")
    assert 1 == talk.erase(" 2 ", reason="a.b_c-1").texts


def test_several_texts_go_together_or_none_does(both: convo.Store):
    talk, fork, *_ = family(both)
    before = everywhere(both)
    wrong = [convo.TurnNotFound, convo.NotFound, convo.InvalidInput]
    assert wrong == [refusal(talk.erase, 1, each, 3) for each in (99, "example:9", "foo")]
    assert before == everywhere(both)
    gone = talk.erase(1, "title", 1, "example:0:input", "example:0", 6, reason="r", scrub=False)
    assert (3 + 4 + 2 * 4 + 2 * 2, 4) == (gone.texts, gone.conversations)
    refs = [["content", 1, 0, 0], ["title"], ["input", 0], ["output", 0], ["content", 3, 1, 0], ["content", 3, 1, 1]]
    assert (sorted(map(repr, refs)), None) == (sorted(map(repr, last_body(talk)["fields"])), fork.refresh().title)
    assert 3 == talk.erase(1, 3, scrub=False).texts  # the first of them is gone
    assert [] == violations(both)


def test_more_forks_than_a_statement_takes_lose_a_text_together(both: convo.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(erasing, "BATCH", 3)
    talk = both.create(messages=[PLANTED, "y"], context="c")
    forks = [talk.fork() for _ in range(6)]
    assert 7 == forks[3].redact("context", "another", scrub=False).texts
    assert (7, 7) == (talk.erase(1, scrub=False).texts, len(both.list()))
    assert ({"another"}, {None}) == ({each.refresh().context for each in forks}, {texts(each)[0] for each in forks})
    assert [] == violations(both)


def test_an_opening_is_a_message_too(memory: convo.Store):
    talk = memory.create(opening="hello", model="offline/echo")
    fork = talk.fork()
    assert (2, [None]) == (talk.erase(0).texts, texts(fork))
    assert [] == violations(memory)


# ---- turns that have no answer yet


@pytest.mark.parametrize("use", ["erase", "redact"])
def test_a_message_that_is_being_answered_stays(
    both: convo.Store,
    slow: SlowModel,  # noqa: F811
    pool: ThreadPoolExecutor,  # noqa: F811
    use: str,
):
    talk = both.create(messages=["x", "y"])
    sent = asking(talk, slow, pool)
    wanted = {"erase": talk.erase, "redact": partial(talk.redact, replacement="z")}[use]
    assert convo.TurnInFlight is refusal(wanted, 3)
    assert 1 == wanted(1).texts
    slow.go.set()
    assert ("late", []) == (outcome(sent), [each for each in violations(both) if not each.startswith("reply")])


def test_an_answer_that_is_asked_for_again_keeps_its_turn(
    both: convo.Store,
    slow: SlowModel,  # noqa: F811
    pool: ThreadPoolExecutor,  # noqa: F811
):
    talk = both.create(model="offline/echo")
    talk.send("x")
    fork = talk.fork()
    store_of(talk).client = SyncOnly(ScriptedClient(slow))
    again = pool.submit(both.get(talk.id).regenerate)
    assert slow.called.wait(60)
    assert [convo.TurnInFlight] * 2 == [refusal(fork.erase, each, scrub=False) for each in (1, 2)]
    slow.go.set()
    assert "late" == again.result().text
    assert 2 == fork.erase(1, scrub=False).texts


def test_a_failed_turn_without_its_message_can_be_discarded_only(both: convo.Store):
    both.client = ScriptedClient(ValueError(), "an answer")
    talk = both.create()
    refusal(talk.send, PLANTED, request_key="k")
    talk.erase(1, scrub=False)
    with pytest.raises(convo.InvalidInput, match=r"message of turn 1 was erased: discard\(\)"):
        talk.resume()
    assert convo.InvalidInput is refusal(talk.send, "x", on_unfinished="resume")
    assert convo.IdempotencyConflict is refusal(talk.send, PLANTED, request_key="k")
    assert (None, "an answer") == (talk.discard(), talk.send("y").text)
    assert [] == [each for each in violations(both) if not each.startswith("reply")]


def test_a_turn_whose_message_was_redacted_is_answered_as_it_reads_now(both: convo.Store):
    both.client = ScriptedClient(ValueError())
    talk = both.create()
    refusal(talk.send, PLANTED)
    talk.redact(1, "another text", scrub=False)
    both.client = HistoryClient()
    talk.resume()
    assert ["another text", []] == [texts(talk)[0], violations(both)]


def test_the_answer_to_a_message_that_a_dead_sender_left_is_told_by_the_journal_alone(
    both: convo.Store,
    slow: SlowModel,  # noqa: F811
    pool: ThreadPoolExecutor,  # noqa: F811
):
    talk = both.create()
    sent = asking(talk, slow, pool)
    run_out(both)
    assert 1 == talk.erase(1, scrub=False).texts
    slow.go.set()
    assert convo.LeaseLost is outcome(sent)
    assert ["create", "begin", "fail", "erase", "late"] == kinds(talk)
    assert ("Erased", ()) == (talk.turn(1).error, talk.turn(1).candidates)


# ---- redact


def test_a_redacted_text_is_the_same_one_in_every_copy(both: convo.Store):
    talks = family(both)
    gone = talks[0].redact(1, "my number is [taken out]", reason="r", scrub=False)
    assert (3, 3) == (gone.texts, gone.conversations)
    found = [next(row for row in rows(both, each) if (row.turn, row.side) == (1, 0)) for each in talks[:3]]
    assert 1 == len({(row.content, row.salt, row.tokens) for row in found})
    told = journal.encode(journal.commit("content", found[0].content, found[0].salt))
    assert {"fields": [[["content", 1, 0, 0], told, 6]], "reason": "r"} == last_body(talks[2])
    assert (PLANTED in everywhere(both), []) == (False, violations(both))
    talks[1].send("and now?")
    assert "my number is [taken out]" in [each.content for each in talks[1].last_reply.prompt.messages]


def test_context_title_and_examples_are_redacted_with_their_counts(both: convo.Store):
    talk, fork, *_ = family(both)
    talk.redact("context", "x" * 40, scrub=False)
    talk.redact("title", "another title", scrub=False)
    talk.redact("example:1:output", "x" * 40, scrub=False)
    fork.refresh()
    assert ("x" * 40, 10, "another title") == (fork.context, fork.record.context_tokens, fork.title)
    assert [3, 1 + 10] == [each.tokens for each in fork.examples()]
    told = [json.loads(each.body)["fields"][0] for each in talk.events() if each.kind == "redact"]
    assert [[["context"], 10], [["title"], None], [["output", 1], 11]] == [[each[0], each[2]] for each in told]
    assert convo.InvalidInput is refusal(talk.redact, "title", "two\nlines")
    assert [] == violations(both)


def test_a_context_that_leaves_no_room_beside_it_is_refused(memory: convo.Store):
    talk = memory.create(context="c", messages=["x", "y"])
    fork = talk.fork().update(input_token_limit=20)
    assert convo.InvalidParameter is refusal(talk.redact, "context", "x " * 100)
    assert ("c", "c", []) == (talk.refresh().context, fork.refresh().context, violations(memory))
    assert 2 == talk.redact("context", "x " * 10).texts


def test_all_candidates_of_a_reply_are_redacted(memory: convo.Store):
    talk, fork, *_ = family(memory)
    assert 6 == talk.redact(2, "[taken out]").texts
    assert ["[taken out]"] * 2 == [each.content for each in fork.turn(1).candidates]
    assert ([], []) == (violations(memory), list(memory.preferences()))


# ---- what is sent, shown and told afterwards


def test_a_turn_of_which_a_text_is_erased_is_in_no_prompt(memory: convo.Store):
    memory.client = ScriptedClient(["a 0", "a 1"], ["b 0", "b 1"], ["c 0", "c 1"], "d", "e")
    talk = memory.create(context="context", examples=[("in 0", "out 0"), ("in 1", "out 1")], candidate_count=2)
    for each in ("first", "second", "third"):
        talk.send(each)
    talk.erase(2, candidate=1)  # which nobody chose: nothing changes
    talk.erase(4, candidate=0)
    talk.erase("example:0:input")
    talk.erase("context")
    talk.send("fourth")
    request = memory.client.requests[-1]
    assert ["first", "a 0", "third", "c 0", "fourth"] == asked(memory)[-1]
    assert (None, [("in 1", "out 1")]) == (request.context, [(each.input, each.output) for each in request.examples])
    prompt = talk.as_prompt()
    assert [None, "first", 1] == [prompt.context, prompt.messages[0].content, len(prompt.examples)]
    assert not any(each.content in ("second", "b 0") for each in prompt.messages)
    assert [] == [each for each in violations(memory) if not each.startswith("reply")]
    assert (1, 3) == (talk.turn(4).prompt.first_example, len(memory.client.requests) - 1)


def test_an_erased_candidate_cannot_be_chosen(memory: convo.Store):
    talk, *_ = family(memory)
    talk.erase(6, candidate=1)
    assert convo.CandidateNotFound is refusal(talk.choose, 1)
    talk.erase(6, candidate=0)
    assert [None, None] == [each.content for each in talk.turn(3).candidates]
    new = talk.regenerate().text
    assert (new, 2) == (talk.turn(3).reply.content, talk.turn(3).chosen)
    assert [] == violations(memory)


def test_beginnings_and_preferences_tell_nothing_of_what_is_erased(memory: convo.Store):
    talk, *_ = family(memory)
    talk.choose(1)
    [before] = memory.preferences()
    talk.erase(6, candidate=0)
    assert ([], 1) == (list(memory.preferences()), len(before.rejected))
    talk.erase(1)
    assert PLANTED not in repr([*memory.first_texts([talk]).values(), *memory.tree(talk.id)])


def test_answers_before_and_after_a_text_went_are_not_compared(memory: convo.Store):
    memory.client = ScriptedClient("x", ["one", "two"], "three")
    talk = memory.create()
    talk.send("first")
    talk.send("second", candidate_count=2)
    talk.erase(1)
    talk.regenerate()
    talk.choose(1)
    [preferred] = memory.preferences()
    assert ("two", ["one"]) == (preferred.chosen.content, [each.content for each in preferred.rejected])


def test_a_regenerated_answer_is_asked_for_by_the_same_places(memory: convo.Store):
    talk, *_ = family(memory)
    talk.erase(1)
    talk.erase("example:0")
    talk.regenerate()
    window = last_body(talk)
    begun = json.loads(next(each for each in talk.events() if each.kind == "regenerate").body)
    assert ([1, 0], "candidates" in window, []) == (begun["window"][:2], True, violations(memory))


def test_the_first_example_of_a_prompt_is_told_by_its_position(memory: convo.Store):
    memory.client = HistoryClient()
    examples = [(f"input {number}", "x" * 20) for number in range(4)]
    talk = memory.create(examples=examples, input_token_limit=40)
    talk.erase("example:1")
    talk.send("x" * 80)  # 20 tokens, beside which three examples have no room
    talk.send("x" * 156)
    assert [2, 4] == [each.prompt.first_example for each in talk.turns()]
    assert [2, 0] == [len(memory.database.read(partial(prompt_of, talk=talk, turn=each)).examples) for each in (1, 2)]
    talk.regenerate()
    assert [] == violations(memory)


def prompt_of(repository: convo.ConversationRepository, talk: convo.Conversation, turn: int) -> convo.MessagePrompt:
    prompt = repository.turn(talk.record, turn).prompt
    return repository.prompt(talk.record, turn, start=prompt.window_start, first_example=prompt.first_example)


# ---- forks


def test_a_fork_tells_what_of_its_copied_texts_was_rewritten_later(both: convo.Store):
    talk, *_ = family(both)
    talk.erase(2, candidate=1, scrub=False)
    talk.redact(3, "another", scrub=False)
    talk.erase(5, scrub=False)
    talk.erase("example:0:input", scrub=False)
    talk.redact("context", "a context", scrub=False)
    early, late = talk.fork(at=2), talk.fork()
    told = last_body(early)
    assert [["content", 1, 1, 1], ["input", 0]] == told["erased"]
    assert [["content", 2, 0, 0], ["context"]] == [each[0] for each in told["redacted"]]
    assert set() == {"erased", "redacted"} & last_body(late).keys()
    other = talk.fork(at=1, context="c", examples=[("i", "o")])
    assert ([["content", 1, 1, 1]], False) == (last_body(other)["erased"], "redacted" in last_body(other))
    again = early.fork(at=1)  # which has no copy of the fork event that told it
    assert [["content", 1, 1, 1], ["input", 0]] == last_body(again)["erased"]
    assert [] == violations(both)


def test_a_fork_of_a_pruned_conversation_tells_each_text(both: convo.Store):
    talk, *_ = family(both)
    talk.erase(1, scrub=False)
    grow_old(both)
    both.prune(LONG_AGO, scrub=False)
    made = talk.fork(at=2)
    refs = [["content", 1, 0, 0], ["content", 1, 1, 0], ["content", 1, 1, 1]]
    refs += [["content", 2, 0, 0], ["content", 2, 1, 0], ["content", 2, 1, 1]]
    assert refs == sorted(each for each in last_body(made)["erased"] if each[0] == "content")
    assert [] == wrong(both)


@pytest.mark.parametrize("kind", ["sqlite_store", "postgres_store"])
def test_a_text_is_gone_whoever_forks_meanwhile(request: pytest.FixtureRequest, kind: str):
    with convo.Store(database_url(request, kind)) as store, ThreadPoolExecutor(4) as threads:
        for number in range(4):
            talk = store.create(messages=[PLANTED, "y"], name=f"talk {number}")
            forks = [talk, talk.fork()]
            work = [threads.submit(each.fork) for each in forks * 2]
            work += [threads.submit(each.erase, target, scrub=False) for each in forks for target in (1, 2)]
            for each in work:
                each.result()
        assert (PLANTED in everywhere(store), []) == (False, violations(store))


def test_what_was_erased_behind_a_forks_beginning_is_erased_in_it_too(both: convo.Store):
    talk, *_ = family(both)
    talk.erase("context", "title", scrub=False)
    early = talk.fork(at=1)
    assert convo.Erasure(0, 0) == early.erase("context", scrub=False)
    with pytest.raises(convo.InvalidInput, match="that text is erased"):
        early.redact("context", "x")


# ---- both or nothing


def test_a_failure_in_the_middle_leaves_everything_as_it_was(memory: convo.Store):
    talk, *_ = family(memory)
    before = everywhere(memory)
    uses: list[Callable[[], object]] = [
        lambda: talk.erase(1, scrub=False),
        lambda: talk.redact("example:0:input", "x", scrub=False),
    ]
    for use in uses:
        for point in range(100):
            if refusal(broken_at(memory, point, use)) is None:
                break
            assert before == everywhere(memory)
        assert 10 < point < 90
        before = everywhere(memory)
    assert [] == violations(memory)


class Broken(Exception):
    """What a test breaks a statement with."""


def broken_at(store: convo.Store, point: int, use: Callable[[], object]) -> Callable[[], object]:
    """Return what does `use`, and breaks at a statement."""

    def run() -> None:
        left = [point]

        def execute(*_: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Broken

        event.listen(store.engine, "before_cursor_execute", execute)
        try:
            use()
        finally:
            event.remove(store.engine, "before_cursor_execute", execute)

    return run


# ---- forget


def test_everything_of_an_owner_goes_and_the_journals_stay(both: convo.Store):
    talk, fork, *_ = family(
        both, owner="acme", name="acme's talk", metadata={"id": 4711}, authors=("tom of acme", "cat")
    )
    talk.send("last", request_key="acme-key")
    kept = both.create(owner="b", messages=["kept", "too"])
    gone = both.forget("acme", scrub=False)
    assert 4 == gone.conversations
    found = both.list(owner="[forgotten]")
    assert {None} == {each for one in found for each in (*texts(one), one.name, one.title, one.context)}
    assert [{}] * 4 == [dict(each.metadata) for each in found]
    left = everywhere(both)
    for word in ("acme", PLANTED, "4711", "tom of", "cat'", "in 0", "the context"):
        assert word not in left
    assert ([], ["kept", "too"]) == (violations(both), texts(kept))
    assert convo.Erasure(0, 0) == both.forget("acme", scrub=False)
    assert [convo.ConversationNotFound] * 2 == [refusal(each.refresh) for each in (talk, fork)]
    body = next(last_body(each) for each in found if each.id == talk.id)
    assert ([[1, 4]], "forgotten", True) == (body["turns"], body["reason"], "labels" in body)


def test_an_answer_to_somebody_forgotten_finds_no_message(
    both: convo.Store,
    slow: SlowModel,  # noqa: F811
    pool: ThreadPoolExecutor,  # noqa: F811
):
    talk = both.create(owner="acme", messages=["x", "y"])
    store_of(talk).client = SyncOnly(ScriptedClient(slow))
    sent = pool.submit(both.get(talk.id, owner="acme").send, PLANTED)
    assert slow.called.wait(60)
    both.forget("acme", scrub=False)
    slow.go.set()
    assert convo.ConversationNotFound is outcome(sent)
    [found] = both.list(owner="[forgotten]")
    assert ["create", "history", "begin", "fail", "erase"] == kinds(found)
    assert "slow" not in everywhere(both)
    assert ("Forgotten", None, ()) == (found.turn(2).error, found.turn(2).message.content, found.turn(2).candidates)


def test_nobody_cannot_be_forgotten(memory: convo.Store):
    assert [convo.InvalidInput] * 2 == [refusal(memory.forget, each) for each in ("", "[forgotten]")]
    assert convo.NotFound is refusal(memory.forget, "acme")


# ---- prune


def test_what_is_older_goes_and_what_is_in_use_stays(both: convo.Store):
    talk, fork, orphan, early = family(both)
    grow_old(both)
    talk.send("of today")
    would = both.prune(LONG_AGO, dry_run=True)
    before = everywhere(both)
    gone = both.prune(LONG_AGO, scrub=False)
    assert (would.texts, would.conversations, before == everywhere(both)) == (gone.texts, gone.conversations, False)
    assert [None] * 6 + ["of today"] == texts(talk)[:7]
    assert ("the context", None, None) == (talk.refresh().context, fork.refresh().context, early.refresh().title)
    assert {"turns": [[1, 3]], "reason": "retention"} == last_body(talk)
    assert convo.Erasure(0, 0) == both.prune(LONG_AGO, scrub=False)
    assert [] == wrong(both)
    assert {None} == set(texts(orphan))


def test_an_owners_conversations_are_pruned_alone(memory: convo.Store):
    family(memory, owner="a")
    family(memory, owner="b")
    grow_old(memory)
    memory.prune(LONG_AGO, owner="a")
    found = [{each is None for talk in memory.list(owner=owner) for each in texts(talk)} for owner in ("a", "b")]
    assert [{True}, {False}] == found
    assert [] == wrong(memory)


def test_pruning_is_no_activity(memory: convo.Store):
    talk, *_ = family(memory)
    grow_old(memory, 120)
    talk.send("later")
    with memory.engine.begin() as connection:
        then = datetime.now(UTC) - timedelta(days=90)
        connection.execute(update(TURNS).where(TURNS.c.number == 4).values(created_at=then))
        connection.execute(update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk.id).values(updated_at=then))
    memory.prune(LONG_AGO)
    assert "the context" == talk.refresh().context
    memory.prune(timedelta(days=80))
    assert (None, None) == (talk.refresh().context, talk.title)


def test_a_turn_that_is_being_answered_is_not_pruned(
    both: convo.Store,
    slow: SlowModel,  # noqa: F811
    pool: ThreadPoolExecutor,  # noqa: F811
):
    talk = both.create(messages=["x", "y"], context="c")
    sent = asking(talk, slow, pool)
    grow_old(both)
    assert 2 == both.prune(LONG_AGO, scrub=False).texts
    assert ([None, None, "slow"], "c") == (texts(talk), talk.refresh().context)
    run_out(both)
    if type(both) is convo.Store:
        both.database.owner.is_gone = lambda _: True  # as of a process that died
    grow_old(both)
    assert 2 == both.prune(LONG_AGO, scrub=False).texts
    slow.go.set()
    assert convo.LeaseLost is outcome(sent)


def test_a_conversation_that_was_deleted_meanwhile_counts_nothing(memory: convo.Store):
    talk = memory.create(messages=["x", "y"])
    counting = partial(prunable, id=talk.id, owner="", before=datetime.now(UTC) + timedelta(days=1))
    assert 2 == memory.database.read(counting)
    memory.delete(talk.id)
    assert 0 == memory.database.read(counting)


def test_ages_that_are_none_are_refused(memory: convo.Store):
    assert [convo.InvalidParameter, TypeError, convo.InvalidParameter] == [
        refusal(memory.prune, each) for each in (timedelta(seconds=-1), 90, timedelta(days=999_999_999))
    ]


# ---- at random


def play(seed: int, steps: int, target: str = "sqlite://") -> int:
    """Send, choose, regenerate, fork, discard, delete, erase and redact at random; return how many texts went."""
    chance = random.Random(seed)
    went: list[str] = []
    count = 0
    with convo.Store(target, client=HistoryClient()) as store:
        store.create(context="a context", examples=[("i 0", "o 0"), ("i 1", "o 1")], title="a title")
        for step in range(steps):
            talk = chance.choice(store.list(limit=1000))
            last = talk.record.turn_count
            kind = chance.choice(["send", "send", "regenerate", "choose", "fork", "fork", "erase", "erase", "redact"])
            kind = "delete" if chance.random() < 0.03 and len(store.list()) > 3 else kind
            if kind == "send":
                talk.send(f"words {seed} {step} of a user", candidate_count=chance.randint(1, 2))
            elif kind == "fork":
                given = {"context": f"context {step}"} if chance.random() < 0.2 else {}
                talk.fork(at=chance.randint(0, last), **given)
            elif kind == "delete":
                store.delete(talk.id)
            elif last and kind in ("regenerate", "choose"):
                refusal(talk.regenerate if kind == "regenerate" else partial(talk.choose, 1))
            elif kind in ("erase", "redact"):
                places = [*range(1, 2 * last + 1), "context", "title", "example:0:input", "example:1:output"]
                target = chance.choice(places)
                text = next((each.content for each in talk.messages() if each.position == target), None)
                use = talk.erase if kind == "erase" else partial(talk.redact, replacement=f"put {step}")
                if refusal(use, target, scrub=False) is None:
                    count += 1
                    went += [text] if text and text.startswith("words") else []
        left = everywhere(store)
        assert [] == [each for each in went if each in left]
        assert [] == violations(store), seed
    return count


def test_random_families_stay_as_their_journals_tell():
    assert sum(play(seed, 40) for seed in range(2)) > 10


if __name__ == "__main__":
    runs, length = map(int, sys.argv[1:3])
    sys.stdout.write(f"{sum(play(seed, length) for seed in range(runs))} erased or redacted, 0 left, 0 violations\n")
