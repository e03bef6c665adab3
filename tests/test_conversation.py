"""A conversation: what send() stores and returns, what can be read back, previews, choices, settings of one turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import convo
from convo.testing import ScriptedClient
from tests.shells import store_of
from tests.test_store import refusal, stored_rows, texts

USAGE = convo.Usage(input_tokens=11, output_tokens=7)


def talk_with(store: convo.Store, *answers: object, **settings: object) -> convo.Conversation:
    """Return a new conversation with a model that gives `answers`."""
    store.client = ScriptedClient(*answers)
    return store.create(model="scripted", **settings)


def asked(store: convo.Store) -> list[list[str | None]]:
    """Return the texts of every prompt that the model got."""
    return [[each.content for each in request.messages] for request in store.client.requests]


def reply_of(*contents: str, finish_reason: str | None = "stop", served_by: str | None = None) -> convo.ChatReply:
    made = tuple(convo.Candidate(index, text, finish_reason) for index, text in enumerate(contents))
    return convo.ChatReply(made, usage=USAGE, served_by=served_by)


def leave_open(talk: convo.Conversation) -> None:
    """Leave a turn without an answer."""
    store_of(talk).client = ScriptedClient(convo.ModelError("down"))
    with pytest.raises(convo.ModelError):
        talk.send("open")


def test_send_stores_the_question_and_the_answer(store: convo.Store):
    talk = talk_with(store, "one", "two")
    talk.send("a")
    talk.send("b")
    found = [(each.position, each.turn, each.side, each.author, each.content) for each in talk.messages()]
    assert [(1, 1, 0, "0", "a"), (2, 1, 1, "1", "one"), (3, 2, 0, "0", "b"), (4, 2, 1, "1", "two")] == found


def test_the_model_gets_the_context_the_examples_and_all_messages(store: convo.Store):
    talk = talk_with(store, opening="o", messages=["a", "b"], context="c", examples=[("d", "e")])
    talk.send("f")
    request = store.client.requests[0]
    sent = (request.model, request.context, [(each.input, each.output) for each in request.examples], asked(store))
    assert ("scripted", "c", [("d", "e")], [["o", "a", "b", "f"]]) == sent


def test_the_reply_tells_everything_about_the_answer(store: convo.Store):
    talk = talk_with(store, reply_of("one", "two", finish_reason="length", served_by="x-1"), candidate_count=2)
    reply = talk.send("a")
    candidates = [(each.index, each.content, each.finish_reason) for each in reply.candidates]
    told = (reply.text, candidates, reply.usage, reply.turn, reply.conversation is talk)
    assert ("one", [(0, "one", "length"), (1, "two", "length")], USAGE, 1, True) == told


def test_the_turn_remembers_what_the_reply_told(store: convo.Store):
    talk = talk_with(store, reply_of("one", "two", served_by="x-1"), candidate_count=2)
    reply = talk.send("a", request_key="k")
    turn = talk.turn(1)
    told = (turn.number, turn.state, turn.chosen, turn.reply, turn.usage, turn.served_by, turn.request_key, turn.error)
    assert (1, "done", 0, reply.candidates[0], USAGE, "x-1", "k", None) == told


def test_the_turn_remembers_the_prompt_by_its_figures(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"], examples=[("d", "e")])
    fit, prompt = talk.send("f").prompt, talk.turn(2).prompt
    assert (fit.tokens, fit.limit, 1, 0) == (prompt.tokens, prompt.limit, prompt.window_start, prompt.first_example)


def test_all_candidates_are_kept_and_the_first_is_chosen(store: convo.Store):
    talk = talk_with(store, ["one", "two", "three"], candidate_count=3)
    talk.send("a")
    turn = talk.turn(1)
    assert (["one", "two", "three"], 0, ["a", "one"]) == (
        [each.content for each in turn.candidates],
        turn.chosen,
        texts(talk),
    )


def test_an_opening_stands_before_the_first_turn(store: convo.Store):
    talk = talk_with(store, "one", opening="o")
    talk.send("a")
    assert [(0, "1", "o"), (1, "0", "a"), (2, "1", "one")] == [
        (m.position, m.author, m.content) for m in talk.messages()
    ]


def test_named_authors_stand_on_every_message(store: convo.Store):
    talk = talk_with(store, ["one", "two"], authors=("tom", "cat"), opening="o", messages=["a", "b"], candidate_count=2)
    reply = talk.send("c")
    assert ["cat", "tom", "cat", "tom", "cat"] == [each.author for each in talk.messages()]
    assert ["cat", "cat"] == [each.author for each in talk.turn(2).candidates]
    assert [each.author for each in talk.turn(2).candidates] == [each.author for each in reply.candidates]


@pytest.mark.parametrize("is_open", [False, True], ids=["settled", "open"])
@pytest.mark.parametrize("opening", [None, "o"], ids=["bare", "opening"])
def test_the_last_messages_are_the_end_of_all(store: convo.Store, opening: str | None, is_open: bool):
    talk = talk_with(store, ["one", "two"], opening=opening, messages=list("abcd"), candidate_count=2)
    talk.send("e")
    talk.choose(1)
    if is_open:
        leave_open(talk)
    every = talk.messages()
    counts = range(len(every) + 3)
    assert [every[len(every) - min(n, len(every)) :] for n in counts] == [talk.messages(last=n) for n in counts]


def test_the_last_of_an_empty_conversation_is_nothing(store: convo.Store):
    talk = store.create()
    assert [[]] * 4 == [talk.messages(), talk.messages(last=3), talk.turns(), talk.turns(last=3)]


def test_an_unanswered_message_is_among_the_messages(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    leave_open(talk)
    assert ["a", "b", "open"] == texts(talk)


def test_the_last_turns_are_the_end_of_all(store: convo.Store):
    talk = store.create(opening="o", messages=list("abcdef"))
    every = talk.turns()
    expected = [[3, 2, 1][:n][::-1] for n in range(5)]
    assert [1, 2, 3] == [each.number for each in every]
    assert expected == [[each.number for each in talk.turns(last=n)] for n in range(5)]


def test_a_turn_is_the_same_read_alone_or_among_others(store: convo.Store):
    talk = talk_with(store, ["one", "two"], messages=["a", "b"], candidate_count=2)
    talk.send("c")
    assert talk.turns() == [talk.turn(1), talk.turn(2)]


def test_turn_0_is_the_opening(store: convo.Store):
    turn = store.create(opening="o").turn(0)
    assert (0, "done", None, "o") == (turn.number, turn.state, turn.message, turn.reply.content)


def test_a_turn_that_is_not_there_is_not_found(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    numbers = [0, 2, -1, 2**31, 2**63, 2**200]
    assert [convo.TurnNotFound] * len(numbers) == [refusal(talk.turn, number) for number in numbers]


def test_any_number_of_last_messages_may_be_asked_for(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    assert [["a", "b"]] * 3 == [[each.content for each in talk.messages(last=n)] for n in (2**31, 2**64, 2**200)]


def test_a_wrong_number_of_last_messages_is_refused(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    expected = [convo.InvalidParameter, TypeError, TypeError, TypeError]
    for use in (talk.messages, talk.turns):
        assert expected == [refusal(use, last=number) for number in (-1, True, 1.5, "1")]


def test_a_preview_is_the_prompt_of_the_send_that_follows(store: convo.Store):
    said = [f"{number} {'x' * 40}" for number in range(20)]
    talk = talk_with(store, context="c", examples=[("d", "e")], messages=said, input_token_limit=100)
    preview = talk.preview("next")
    assert preview == talk.send("next").prompt
    assert preview.dropped_messages > 0


def test_a_preview_stores_nothing_and_calls_nobody(store: convo.Store):
    talk = talk_with(store, messages=["a", "b"])
    before = stored_rows(store)
    talk.preview("next")
    assert (before, []) == (stored_rows(store), store.client.requests)


def test_a_preview_that_does_not_fit_says_so(store: convo.Store):
    talk = talk_with(store, input_token_limit=5)
    assert convo.PromptTooLong is refusal(talk.preview, "x" * 100)


def test_a_preview_of_another_model_keeps_its_limit(store: convo.Store):
    store.client = None
    talk = store.create(model="offline/echo")
    assert [1_000_000, 4096] == [talk.preview("a").limit, talk.preview("a", model="offline/eliza").limit]


def test_the_next_prompt_of_an_open_turn_cannot_be_told(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    leave_open(talk)
    assert convo.TurnUnfinished is refusal(talk.preview, "next")


def test_the_next_prompt_follows_the_choice(store: convo.Store):
    talk = talk_with(store, ["one", "two", "three"], candidate_count=3)
    talk.send("a")
    talk.choose(2)
    talk.send("b")
    assert ["a", "three", "b"] == asked(store)[1]


def test_a_choice_can_be_taken_back(store: convo.Store):
    talk = talk_with(store, ["one", "two"], candidate_count=2)
    talk.send("a")
    assert [["a", "two"], ["a", "one"]] == [texts(talk.choose(each)) for each in (1, 0)]


def test_a_choice_of_an_earlier_turn_is_closed(store: convo.Store):
    talk = talk_with(store, ["one", "two"], candidate_count=2)
    talk.send("a")
    talk.send("b")
    before = talk.turns()
    assert convo.ChoiceClosed is refusal(talk.choose, 1, turn_number=1)
    assert before == talk.turns()


def test_a_candidate_that_is_not_there_is_not_found(store: convo.Store):
    talk = talk_with(store, ["one", "two"], candidate_count=2)
    talk.send("a")
    indices = [2, -1, 2**31, 2**200]
    assert [convo.CandidateNotFound] * len(indices) == [refusal(talk.choose, index) for index in indices]
    assert [TypeError] * 3 == [refusal(talk.choose, index) for index in (True, 1.0, "1")]


def test_there_is_nothing_to_choose_without_a_turn(store: convo.Store):
    talks = [store.create(), store.create(opening="o")]
    assert [convo.TurnNotFound] * 2 == [refusal(talk.choose, 0) for talk in talks]


def test_a_turn_that_is_not_there_has_no_choice(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    refused = [refusal(talk.choose, 0, turn_number=number) for number in (2, -1, 2**64)]
    assert [convo.TurnNotFound] * 3 == refused


def test_an_unanswered_turn_has_no_choice(store: convo.Store):
    talk = store.create(messages=["a", "b"])
    leave_open(talk)
    assert [convo.TurnUnfinished, convo.ChoiceClosed] == [
        refusal(talk.choose, 0),
        refusal(talk.choose, 0, turn_number=1),
    ]


def test_another_object_sends_to_the_new_model(store: convo.Store):
    first = talk_with(store)
    second = store.get(first.id)
    first.update(model="better", temperature=0.5)
    second.send("a")
    request = store.client.requests[0]
    assert ("better", 0.5, "better") == (request.model, request.parameters.temperature, second.turn(1).model)


def test_another_object_previews_for_the_new_model(store: convo.Store):
    first = store.create(model="offline/echo")
    second = store.get(first.id)
    first.update(model="offline/eliza")
    assert 4096 == second.preview("a").limit


def test_two_objects_of_one_conversation_alternate(store: convo.Store):
    first = talk_with(store)
    second = store.get(first.id)
    for number in range(6):
        (first, second)[number % 2].send(f"m{number}")
    assert [f"m{number}" for number in range(6) for _ in range(2)] == texts(first)
    assert texts(first)[:-1] == asked(store)[-1]


OVERRIDES = {
    "temperature": 0.25,
    "top_p": 0.5,
    "top_k": 4,
    "candidate_count": 2,
    "max_output_tokens": 9,
    "stop_sequences": ("END",),
}


def test_settings_of_one_turn_are_used_for_it_alone(store: convo.Store):
    talk = talk_with(store, temperature=1.0, top_k=1)
    kept = talk.parameters
    talk.send("a", model="other", **OVERRIDES)
    talk.send("b")
    used = [(request.model, request.parameters) for request in store.client.requests]
    once = convo.Parameters(temperature=1.0, top_k=1, candidate_count=1)
    assert [("other", convo.Parameters(**OVERRIDES)), ("scripted", once)] == used
    assert ("scripted", kept) == (talk.refresh().model, talk.parameters)


def test_settings_of_one_turn_are_stored_with_it(store: convo.Store):
    talk = talk_with(store, temperature=1.0)
    talk.send("a", model="other", **OVERRIDES)
    talk.send("b", top_k=3)
    expected = [("other", convo.Parameters(**OVERRIDES)), ("scripted", convo.Parameters(temperature=1.0, top_k=3))]
    assert expected == [(each.model, each.parameters) for each in talk.turns()]


def test_wrong_settings_of_one_turn_store_nothing(store: convo.Store):
    talk = talk_with(store)
    before = stored_rows(store)
    wrong: Sequence[dict[str, object]] = [
        {"foo": 1},
        {"temperature": -1},
        {"deadline_s": 0},
        {"on_unfinished": "maybe"},
    ]
    wrong = [*wrong, {"deadline_s": float("nan")}, {"on_unfinished": None}, {"candidate_count": 9}]
    expected = [TypeError, *[convo.InvalidParameter] * 6]
    assert expected == [refusal(talk.send, "a", **each) for each in wrong]
    assert (before, []) == (stored_rows(store), store.client.requests)


class Particular(ScriptedClient):
    """A model whose service has no top_k."""

    def check_parameters(self, name: str, parameters: convo.Parameters) -> None:
        if parameters.top_k is not None:
            raise convo.InvalidParameter(f"{name} has no top_k")


def test_a_parameter_that_the_service_lacks_stores_nothing(store: convo.Store):
    store.client = Particular()
    talk = store.create()
    before = stored_rows(store)
    assert convo.InvalidParameter is refusal(talk.send, "a", top_k=4)
    assert (before, []) == (stored_rows(store), store.client.requests)


def test_a_parameter_that_the_service_lacks_is_refused_at_creation(store: convo.Store):
    store.client = Particular()
    assert convo.InvalidParameter is refusal(store.create, top_k=4)
    assert 0 == stored_rows(store)["convo_conversations"]


def test_a_model_that_lacks_a_parameter_of_the_conversation_is_refused(store: convo.Store):
    talk = store.create(model="offline/echo", top_k=4)
    store.client = Particular()
    assert convo.InvalidParameter is refusal(talk.update, model="another")
    talk.update(model="another", top_k=None)
    assert "a" == talk.send("a").text


def test_the_longest_answer_is_left_out_of_one_window(store: convo.Store):
    store.client = ScriptedClient(model=convo.Model("m", 750, context_window=1000))
    talk = store.create()
    limits = [talk.send("a").prompt.limit, talk.send("a", max_output_tokens=100).prompt.limit]
    assert [750, 900] == limits
    assert 600 == talk.update(max_output_tokens=400).preview("a").limit


def test_a_model_with_two_limits_has_its_own_for_the_prompt(store: convo.Store):
    store.client = ScriptedClient(model=convo.Model("m", 750))
    assert 750 == store.create(max_output_tokens=100).send("a").prompt.limit


def test_a_limit_that_is_given_is_the_limit_itself(store: convo.Store):
    store.client = ScriptedClient(model=convo.Model("m", 750, context_window=1000))
    assert 990 == store.create(input_token_limit=990, max_output_tokens=100).send("a").prompt.limit


def test_an_unknown_model_of_one_turn_stores_nothing(store: convo.Store):
    talk = store.create(model="offline/echo")
    before = stored_rows(store)
    assert convo.ModelNotFound is refusal(talk.send, "a", model="offline/nobody")
    assert before == stored_rows(store)


def test_the_version_is_the_length_of_the_journal(store: convo.Store):
    talk = talk_with(store, ["one", "two"], messages=["a", "b"], candidate_count=2)
    talk.send("c")
    talk.choose(1)
    talk.update(title="t")
    assert len(talk.events()) == talk.version == store.get(talk.id).version


def test_times_are_utc_and_in_order(store: convo.Store):
    talk = talk_with(store)
    talk.send("a")
    turn = talk.turn(1)
    times = [talk.created_at, turn.created_at, turn.finished_at]
    assert times == sorted(times)
    assert {0.0} == {each.utcoffset().total_seconds() for each in times}
    assert turn.finished_at == talk.updated_at == store.get(talk.id).updated_at
