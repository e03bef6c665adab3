"""The window: the newest messages that fit, read page by page, and what 300 turns of real text make of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, text, update

import convo
from convo import journal
from convo.prompt import STABLE_SHARE, Budget, fit
from convo.store.history import FIRST_PAGE
from convo.store.rows import MESSAGES, TURNS
from convo.testing import ScriptedClient

LINES = [
    line for line in (Path(__file__).parent / "samples/reference-page.txt").read_text().splitlines() if line.strip()
]
LIMIT = 512
EXAMPLES = [("What does chat return?", "A ChatResponse."), ("And when it is blocked?", "Filters tell why.")]
CONTEXT = "Answer from the reference page, in one sentence."


@pytest.fixture
def store(sync_store: convo.Store) -> convo.Store:
    """Return a store by one shell only: the window is that of the repository, which both have."""
    return sync_store


def random_talk(store: convo.Store, dice: random.Random) -> convo.Conversation:
    """Store a conversation of random length; some turns have another choice than the first, some were erased."""
    said = ["x" * dice.choice([1, 7, 40, 300, 2000]) for _ in range(2 * dice.choice([0, 1, 31, 32, 33, 70, 150]))]
    talk = store.create(messages=said, opening=dice.choice([None, "o" * 50]))
    for number in range(talk.record.first_position, talk.record.turn_count + 1):
        if number and dice.random() < 0.3:
            choose_another(store, talk, number)
        if dice.random() < 0.1:
            erase(store, talk, number, side=dice.choice([0, 1]) if number else 1)
    return talk


def choose_another(store: convo.Store, talk: convo.Conversation, number: int) -> None:
    """Make the reply of a turn candidate 1, beside an unchosen one, as the choice of its time would have."""
    mine = (MESSAGES.c.conversation_id == talk.id, MESSAGES.c.turn == number, MESSAGES.c.side == 1)
    unchosen = {"conversation_id": talk.id, "turn": number, "side": 1, "candidate": 0, "author": "1", "tokens": 9}
    unchosen |= {"repaired": 0, "created_at": talk.created_at, "salt": b"x", "content": "unchosen"}
    turns = update(TURNS).where(TURNS.c.conversation_id == talk.id)
    with store.engine.begin() as connection:
        connection.execute(update(MESSAGES).where(*mine).values(candidate=1))
        connection.execute(insert(MESSAGES), unchosen)
        connection.execute(turns.where(TURNS.c.number == number).values(chosen=1))
        connection.execute(turns.where(TURNS.c.number == number + 1).values(prev_chosen=1))


def erase(store: convo.Store, talk: convo.Conversation, number: int, side: int) -> None:
    of_it = (MESSAGES.c.conversation_id == talk.id, MESSAGES.c.turn == number, MESSAGES.c.side == side)
    with store.engine.begin() as connection:
        connection.execute(update(MESSAGES).where(*of_it).values(content=None, salt=None))


def slow_window(
    turns: list[list[convo.Message]], budget: int, overhead: int, last_length: int | None
) -> tuple[list[convo.Message], int]:
    """Return what window() returns, from a list of all turns, oldest first."""
    page, left, read = FIRST_PAGE if last_length is None else last_length + 2, turns, []
    while left and sum(each.tokens + overhead for each in read) <= budget:
        left, newer = left[:-page], left[-page:]
        read = [each for turn in newer if all(each.content for each in turn) for each in turn] + read
        page *= 2
    return read, sum(len(turn) for turn in left)


def read_window(
    store: convo.Store, talk: convo.Conversation, before: int, budget: int, overhead: int, last_length: int | None
) -> tuple[list[convo.Message], int]:
    def work(repository: convo.ConversationRepository) -> tuple[list[convo.Message], int]:
        window = repository.window(talk.record, before, budget, overhead, last_length=last_length)
        assert sum(each.tokens for each in window.messages) == window.tokens
        assert sum(len(each.content or "") for each in window.messages) == window.characters
        newest = window.messages[-3:]
        assert list(map(journal.sealed_message, newest)) == list(window.sealing(len(newest)).sealed)
        return list(window.messages), max(2 * window.first_turn - 1 - talk.record.first_position, 0)

    return store.database.read(work)


def all_turns(talk: convo.Conversation) -> list[list[convo.Message]]:
    said: dict[int, list[convo.Message]] = {}
    for each in talk.messages():
        said.setdefault(each.turn, []).append(each)
    return [said[number] for number in sorted(said)]


@pytest.mark.parametrize("seed", range(4))
def test_the_window_is_that_of_a_reader_of_everything(sync_store: convo.Store, seed: int):
    dice = random.Random(seed)
    for _ in range(4):
        talk = random_talk(sync_store, dice)
        turns = all_turns(talk)
        for _ in range(12):
            before = dice.randint(1, talk.record.turn_count + 1)
            budget, overhead = dice.choice([0, 1, 100, 1000, 10**6]), dice.choice([0, 4])
            length = dice.choice([None, 0, 1, 5, 40, 10**4])
            known = [turn for turn in turns if turn[0].turn < before]
            read = read_window(sync_store, talk, before, budget, overhead, length)
            assert slow_window(known, budget, overhead, length) == read


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("trim", ["minimal", "stable"])
def test_the_prompt_is_that_of_a_reader_of_everything(sync_store: convo.Store, seed: int, trim: str):
    dice = random.Random(seed)
    for _ in range(6):
        talk = random_talk(sync_store, dice)
        limit, overhead, user_first = dice.choice([60, 200, 3000, 10**6]), dice.choice([0, 4]), dice.random() < 0.5
        model = convo.Model("m", limit, message_overhead=overhead, user_first=user_first)
        sync_store.client = ScriptedClient(model=model)
        talk.update(trim=trim)
        preview = talk.preview("next")
        kept = [each for turn in all_turns(talk) if all(each.content for each in turn) for each in turn]
        everything = [*kept, preview.messages[-1]]
        whole = fit(None, (), everything, context_tokens=0, budget=Budget(limit, overhead, user_first), trim=trim)
        assert (whole.messages, whole.tokens) == (preview.messages, preview.tokens)


def something_happens(talk: convo.Conversation, dice: random.Random, number: int) -> None:
    """Do one of the things that a window depends on."""
    if dice.random() < 0.6:
        talk.send("s" * dice.choice([1, 40, 300]))
    elif dice.random() < 0.3 and talk.record.turn_count:
        talk.erase(dice.randint(1, 2 * talk.record.turn_count), scrub=False)
    elif dice.random() < 0.3 and talk.record.turn_count:
        talk.regenerate(candidate_count=2)
    elif dice.random() < 0.5:
        talk.update(input_token_limit=dice.choice([400, 1000, 5000]), trim=dice.choice(["minimal", "stable"]))
    else:
        talk.update(title=str(number))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_remembered_is_what_would_be_read(sync_store: convo.Store, seed: int):
    dice = random.Random(seed)
    sync_store.client = ScriptedClient(*["r" * dice.choice([1, 40, 300]) for _ in range(50)])
    said = ["x" * dice.choice([1, 7, 40, 300]) for _ in range(2 * dice.choice([0, 1, 33, 70]))]
    talk = sync_store.create(
        messages=said, examples=[("a", "b")], opening=dice.choice([None, "o"]), input_token_limit=900
    )
    used = 0
    for number in range(60):
        something_happens(talk, dice, number)
        used += sync_store.database.windows.of(talk.record) is not None
        remembered = talk.preview("next")
        sync_store.database.windows.clear()
        assert remembered == talk.preview("next")
        assert (remembered.dropped_messages, remembered.estimate) == (
            talk.preview("next").dropped_messages,
            talk.preview("next").estimate,
        )
        if dice.random() < 0.7:
            talk.send("so that it is remembered")
    assert used > 10


def long_talk(
    store: convo.Store, *, turns: int = 300, user_first: bool = False, **settings: object
) -> convo.Conversation:
    """Hold a conversation of real text with a model that answers with it, under a small limit."""
    model = convo.Model("reader", LIMIT, message_overhead=3, user_first=user_first)
    replies = [LINES[(7 * number) % len(LINES)] for number in range(turns)]
    store.client = ScriptedClient(*replies, model=model)
    talk = store.create(model="reader", context=CONTEXT, examples=EXAMPLES, input_token_limit=LIMIT, **settings)
    for number in range(turns):
        talk.send(LINES[number % len(LINES)])
    return talk


def counted_prompts(talk: convo.Conversation, overhead: int = 3) -> list[int]:
    """Return what each turn's prompt had, counted anew from the stored texts."""
    costs = {each.position: each.tokens + overhead for each in talk.messages()}
    fixed = talk.record.context_tokens + overhead + sum(each.tokens + 2 * overhead for each in talk.examples())
    return [
        fixed + sum(costs[position] for position in range(turn.prompt.window_start, 2 * turn.number))
        for turn in talk.turns()
    ]


def starts(talk: convo.Conversation) -> list[int]:
    return [turn.prompt.window_start for turn in talk.turns()]


def test_300_turns_of_real_text_never_exceed_the_limit_and_lose_nothing(store: convo.Store):
    talk = long_talk(store)
    counted = counted_prompts(talk)
    assert counted == [turn.prompt.tokens for turn in talk.turns()]
    assert max(counted) <= LIMIT
    assert {0} == {turn.prompt.first_example for turn in talk.turns()}
    assert list(range(1, 601)) == [each.position for each in talk.messages()]
    last = store.client.requests[-1]
    assert (CONTEXT, EXAMPLES) == (last.context, [(each.input, each.output) for each in last.examples])


@pytest.fixture
def memory() -> Iterator[convo.Store]:
    """Return a store in memory: trimming is the same on every database."""
    with convo.Store("sqlite://") as opened:
        yield opened


def test_minimal_trimming_keeps_every_message_that_fits(memory: convo.Store):
    talk = long_talk(memory)
    costs = {each.position: each.tokens + 3 for each in talk.messages()}
    room = [LIMIT - turn.prompt.tokens for turn in talk.turns()]
    fitting = [at for at, free in zip(starts(talk), room, strict=True) if at > 1 and costs[at - 1] <= free]
    assert [] == fitting


def test_stable_trimming_keeps_its_cut_until_the_limit_is_met(memory: convo.Store):
    talk = long_talk(memory, trim="stable", opening="Ask me.")
    counted, begins = counted_prompts(talk), starts(talk)
    costs = {each.position: each.tokens + 3 for each in talk.messages()}
    moved = [index for index in range(1, 300) if begins[index] != begins[index - 1]]
    uncut = [counted[index] + sum(costs[at] for at in range(begins[index - 1], begins[index])) for index in moved]
    assert max(counted) <= LIMIT < min(uncut)
    assert max(counted[index] for index in moved) <= LIMIT * STABLE_SHARE
    assert len(moved) < 100


@pytest.mark.parametrize("trim", ["minimal", "stable"])
def test_a_window_for_a_user_first_model_begins_with_the_user(memory: convo.Store, trim: str):
    talk = long_talk(memory, trim=trim, user_first=True, opening="Ask me.")
    assert {1} == {begin % 2 for begin in starts(talk)}
    assert counted_prompts(talk) == [turn.prompt.tokens for turn in talk.turns()]
    assert {0} == {request.messages[0].side for request in memory.client.requests}


def test_an_opening_is_dropped_and_counted_like_any_message(memory: convo.Store):
    talk = long_talk(memory, turns=40, opening="Ask me.")
    dropped = talk.preview("next").dropped_messages
    kept = len(talk.preview("next").messages) - 1
    assert len(talk.messages()) == dropped + kept


def test_a_huge_message_leaves_only_itself(memory: convo.Store):
    talk = long_talk(memory, turns=5)
    used = talk.record.context_tokens + 3
    reply = talk.send("x" * 4 * (LIMIT - used - 3))
    assert (LIMIT, 2, 10, 1) == (
        reply.prompt.tokens,
        reply.prompt.dropped_examples,
        reply.prompt.dropped_messages,
        len(reply.prompt.messages),
    )


def test_the_window_grows_back_after_a_huge_message(memory: convo.Store):
    memory.client = ScriptedClient("short", model=convo.Model("m", 1000))
    talk = memory.create(messages=["x" * 20] * 200)
    talk.send("x" * 3990)
    talk.update(input_token_limit=5000)
    assert 203 == len(talk.send("next").prompt.messages)


def test_an_erased_turn_is_sent_to_nobody(memory: convo.Store):
    memory.client = ScriptedClient()
    talk = memory.create(messages=list("abcdef"))
    with memory.engine.begin() as connection:
        connection.execute(text("UPDATE convo_messages SET content = NULL, salt = NULL WHERE turn = 2 AND side = 0"))
    talk.send("g")
    assert ["a", "b", "e", "f", "g"] == [each.content for each in memory.client.requests[0].messages]
