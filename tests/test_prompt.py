"""What trimming keeps: random prompts beside a slow and obvious reference, and the edges by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convo.errors import PromptTooLong
from convo.prompt import STABLE_SHARE, Budget, fit
from convo.values import MINIMAL, MODEL, STABLE, USER, Example, Fit, Message


@dataclass(frozen=True)
class Prompt:
    """The arguments of fit(), and what they cost by plain addition."""

    messages: Sequence[Message]
    limit: int
    examples: Sequence[Example] = ()
    context: str | None = None
    context_tokens: int = 0
    overhead: int = 0
    user_first: bool = False
    unread: int = 0
    """How many messages lie before the first one."""
    trim: str = MINIMAL
    cut: int | None = None

    def fit(self) -> Fit:
        return fit(
            self.context,
            self.examples,
            self.messages,
            context_tokens=self.context_tokens,
            budget=Budget(self.limit, self.overhead, self.user_first),
            first_position=(self.messages[0].position or 0) - self.unread,
            trim=self.trim,
            cut=self.cut,
        )

    def size(self, examples: Sequence[Example], messages: Sequence[Message]) -> int:
        size = self.context_tokens + self.overhead if self.context else 0
        for example in examples:
            size += example.tokens + self.overhead + self.overhead
        for message in messages:
            size += message.tokens + self.overhead
        return size

    def older(self, message: Message) -> int:
        """Return how many messages lie before one, erased ones too."""
        return (message.position or 0) - (self.messages[0].position or 0) + self.unread

    @property
    def least(self) -> int:
        return self.size((), self.messages[-1:])


def message(position: int, tokens: int) -> Message:
    return Message("0", f"message {position}", side=USER if position % 2 else MODEL, tokens=tokens, position=position)


def talk(*tokens: int, newest: int = 9) -> list[Message]:
    """Return messages of these sizes, the last one at the odd position `newest`."""
    first = newest - len(tokens) + 1
    return [message(first + index, each) for index, each in enumerate(tokens)]


def longest_fitting(prompt: Prompt, limit: int) -> int:
    """Return how many of the oldest messages must go so that the rest, with all examples, is within `limit`."""
    for dropped in range(len(prompt.messages)):
        if prompt.size(prompt.examples, prompt.messages[dropped:]) <= limit:
            return dropped
    return len(prompt.messages) - 1


def first_at(prompt: Prompt) -> int:
    """Return the index of the first message at the cut or after it; the newest one's when there is none."""
    for index, each in enumerate(prompt.messages):
        if prompt.cut is None or (each.position or 0) >= prompt.cut:
            return index
    return len(prompt.messages) - 1


def first_kept(prompt: Prompt) -> int:
    """Return the index of the first message that is kept when all examples are."""
    start = longest_fitting(prompt, prompt.limit)
    if prompt.trim == STABLE:
        kept = first_at(prompt)
        fits = prompt.size(prompt.examples, prompt.messages[kept:]) <= prompt.limit
        start = kept if fits else longest_fitting(prompt, int(prompt.limit * STABLE_SHARE))
    is_models = prompt.messages[start].side == MODEL and start < len(prompt.messages) - 1
    return start + 1 if prompt.user_first and is_models else start


def reference(prompt: Prompt) -> Fit | None:
    """Trim as section 6 of the design says it, trying every number of dropped texts; None when nothing helps."""
    newest = len(prompt.messages) - 1
    starts = [(0, first_kept(prompt))] + [(index, newest) for index in range(1, len(prompt.examples) + 1)]
    for first_example, start in starts:
        examples, messages = tuple(prompt.examples[first_example:]), tuple(prompt.messages[start:])
        tokens = prompt.size(examples, messages)
        if tokens <= prompt.limit:
            dropped = prompt.older(messages[0])
            return Fit(tokens, prompt.limit, prompt.context, examples, messages, first_example, dropped, tokens)
    return None


SIZES = st.integers(0, 30)
TRIMS = st.sampled_from([MINIMAL, STABLE])


@st.composite
def any_prompts(draw: st.DrawFn, trim: st.SearchStrategy[str] = TRIMS) -> Prompt:
    """Draw a prompt of any limit; some turns of its history may have been erased."""
    sizes = draw(st.lists(SIZES, min_size=1, max_size=14))
    newest = len(sizes) + draw(st.integers(0, 6))
    erased = draw(st.sets(st.integers(1, 9), max_size=3))
    said = talk(*sizes, newest=newest + 1 - newest % 2)
    kept = [each for each in said[:-1] if (each.position or 0) // 2 not in erased]
    prompt = Prompt(
        messages=[*kept, said[-1]],
        limit=1,
        examples=[Example(f"in {index}", "out", tokens=draw(SIZES)) for index in range(draw(st.integers(0, 5)))],
        context=draw(st.sampled_from([None, "Be brief."])),
        overhead=draw(st.integers(0, 4)),
        user_first=draw(st.booleans()),
        unread=draw(st.integers(0, 20)),
        trim=draw(trim),
        cut=draw(st.sampled_from([None, newest + 9, *(each.position for each in said)])),
    )
    prompt = replace(prompt, context_tokens=draw(SIZES) if prompt.context else 0)
    return replace(prompt, limit=draw(limits(prompt)))


def limits(prompt: Prompt) -> st.SearchStrategy[int]:
    """Draw a limit near one at which a message more, or an example more, just fits; or any."""
    windows = [prompt.size(prompt.examples, prompt.messages[start:]) for start in range(len(prompt.messages))]
    alone = [prompt.size(prompt.examples[start:], prompt.messages[-1:]) for start in range(len(prompt.examples))]
    near = st.builds(int.__add__, st.sampled_from(windows) | st.sampled_from([*alone, 0]), st.integers(-2, 8))
    return (near | st.integers(0, max(windows) + 5)).map(lambda limit: max(limit, 0))


@st.composite
def prompts(draw: st.DrawFn, trim: st.SearchStrategy[str] = TRIMS) -> Prompt:
    """Draw a prompt of which the context and the newest message fit."""
    prompt = draw(any_prompts(trim))
    return replace(prompt, limit=max(prompt.limit, prompt.least))


@settings(max_examples=500)
@given(prompts())
def test_fit_keeps_what_the_obvious_reference_keeps(prompt: Prompt):
    assert reference(prompt) == prompt.fit()


@given(prompts())
def test_fit_is_never_over_the_limit(prompt: Prompt):
    assert prompt.fit().tokens <= prompt.fit().limit == prompt.limit


@given(prompts())
def test_tokens_are_the_sum_of_what_is_kept(prompt: Prompt):
    fitted = prompt.fit()
    assert prompt.size(fitted.examples, fitted.messages) == fitted.tokens


@given(any_prompts())
def test_a_prompt_is_too_long_exactly_when_context_and_newest_message_exceed_the_limit(prompt: Prompt):
    try:
        refused = prompt.fit() is None
    except PromptTooLong:
        refused = True
    assert (prompt.least > prompt.limit) == refused


@given(any_prompts())
def test_too_long_tells_the_figures(prompt: Prompt):
    prompt = replace(prompt, limit=prompt.least - 1)
    with pytest.raises(PromptTooLong) as caught:
        prompt.fit()
    assert (prompt.least, prompt.limit) == (caught.value.tokens, caught.value.limit)


@given(prompts())
def test_the_newest_message_and_the_context_are_always_kept(prompt: Prompt):
    fitted = prompt.fit()
    assert (prompt.context, prompt.messages[-1]) == (fitted.context, fitted.messages[-1])


@given(prompts())
def test_no_example_is_dropped_while_an_older_message_is_kept(prompt: Prompt):
    fitted = prompt.fit()
    assert fitted.dropped_examples == 0 or len(fitted.messages) == 1


@given(prompts())
def test_the_oldest_go_first_and_the_order_stays(prompt: Prompt):
    fitted = prompt.fit()
    kept_examples = list(prompt.examples)[len(prompt.examples) - len(fitted.examples) :]
    kept_messages = list(prompt.messages)[len(prompt.messages) - len(fitted.messages) :]
    assert (kept_examples, kept_messages) == (list(fitted.examples), list(fitted.messages))


@given(prompts())
def test_what_was_dropped_is_counted_erased_and_unread_messages_too(prompt: Prompt):
    fitted = prompt.fit()
    dropped = prompt.older(fitted.messages[0])
    assert (len(prompt.examples) - len(fitted.examples), dropped) == (fitted.dropped_examples, fitted.dropped_messages)


@given(prompts(trim=st.just(MINIMAL)))
def test_minimal_trimming_drops_nothing_that_would_fit(prompt: Prompt):
    fitted = prompt.fit()
    start = len(prompt.messages) - len(fitted.messages)
    if fitted.dropped_examples:
        one_more = prompt.size(prompt.examples[fitted.dropped_examples - 1 :], fitted.messages)
    else:
        # What the model said is not first where the user must be: then it takes two more messages.
        more = 2 if prompt.user_first and start and prompt.messages[start - 1].side == MODEL else 1
        if start < more:
            return
        one_more = prompt.size(prompt.examples, prompt.messages[start - more :])
    assert one_more > prompt.limit


@given(prompts())
def test_the_window_begins_with_the_user_where_the_service_wants_it(prompt: Prompt):
    assert USER == replace(prompt, user_first=True).fit().messages[0].side


@given(prompts(trim=st.just(STABLE)))
def test_a_stable_window_begins_at_its_cut_while_that_fits(prompt: Prompt):
    prompt = replace(prompt, user_first=False)
    since = tuple(prompt.messages[first_at(prompt) :])
    prompt = replace(prompt, limit=max(prompt.limit, prompt.size(prompt.examples, since)))
    assert since == prompt.fit().messages


@given(prompts(trim=st.just(STABLE)))
def test_a_stable_window_that_no_longer_fits_is_cut_to_its_share(prompt: Prompt):
    since = prompt.messages[first_at(prompt) :]
    needed = prompt.size(prompt.examples, since)
    prompt = replace(prompt, limit=max(min(prompt.limit, needed - 1), prompt.least))
    assume(needed > prompt.limit)
    fitted = prompt.fit()
    assert len(fitted.messages) == 1 or fitted.tokens <= STABLE_SHARE * prompt.limit


@given(prompts(trim=st.just(STABLE)))
def test_stable_trimming_never_drops_an_example_that_minimal_trimming_keeps(prompt: Prompt):
    assert replace(prompt, trim=MINIMAL).fit().examples == prompt.fit().examples


def conversation(turns: int, trim: str, limit: int = 2000, *, user_first: bool = False) -> list[Fit]:
    """Return the fits of a conversation of messages of random sizes, each cut where the one before it was."""
    sizes = random.Random(4711)
    said: list[Message] = []
    fits: list[Fit] = []
    for turn in range(1, turns + 1):
        said.append(message(2 * turn - 1, sizes.randint(1, 60)))
        cut = fits[-1].messages[0].position if fits else None
        examples = [Example("in", "out", tokens=40)]
        prompt = Prompt(said, limit, examples, "Be brief.", 20, overhead=4, user_first=user_first, trim=trim, cut=cut)
        fits.append(prompt.fit())
        said.append(message(2 * turn, sizes.randint(1, 60)))
    return fits


def shared_beginnings(fits: Sequence[Fit]) -> float:
    """Return the share of prompts that begin with the whole prompt before them."""
    pairs = list(pairwise(fits))
    return sum(after.messages[: len(before.messages)] == before.messages for before, after in pairs) / len(pairs)


def test_a_stable_conversation_shares_the_beginning_of_most_of_its_prompts():
    assert shared_beginnings(conversation(300, STABLE)) > 0.85  # measured: 0.89


def test_a_minimal_conversation_shares_hardly_any_beginning():
    assert shared_beginnings(conversation(300, MINIMAL)) < 0.2  # measured: 0.14, while nothing had to go


@pytest.mark.parametrize("user_first", [False, True])
@pytest.mark.parametrize("trim", [MINIMAL, STABLE])
def test_a_long_conversation_never_exceeds_the_limit(trim: str, user_first: bool):
    assert max(each.tokens for each in conversation(300, trim, user_first=user_first)) <= 2000


def test_a_stable_conversation_moves_its_beginning_forward_only():
    starts = [each.messages[0].position for each in conversation(300, STABLE)]
    assert sorted(starts) == starts


def test_a_cut_behind_the_newest_message_leaves_the_newest_alone():
    prompt = Prompt(talk(1, 1, 1), limit=100, trim=STABLE, cut=99)
    assert [9] == [each.position for each in prompt.fit().messages]


def test_everything_is_kept_when_the_sum_is_exactly_the_limit():
    prompt = Prompt(talk(5, 5, 5), limit=30, examples=[Example("a", "b", tokens=10)], context="c", context_tokens=5)
    assert (30, 0, 0) == (prompt.fit().tokens, prompt.fit().dropped_examples, prompt.fit().dropped_messages)


def test_one_token_less_drops_the_oldest_message_and_no_example():
    prompt = Prompt(talk(5, 5, 5), limit=29, examples=[Example("a", "b", tokens=10)], context="c", context_tokens=5)
    assert ([8, 9], 0) == ([each.position for each in prompt.fit().messages], prompt.fit().dropped_examples)


def test_an_older_message_is_not_kept_when_one_between_does_not_fit():
    assert [9] == [each.position for each in Prompt(talk(1, 50, 1), limit=10).fit().messages]


@pytest.mark.parametrize(("trim", "cut", "kept"), [(MINIMAL, None, 2), (STABLE, None, 1), (STABLE, 3, 1)])
def test_messages_that_are_not_stored_have_no_position_and_are_trimmed_all_the_same(
    trim: str, cut: int | None, kept: int
):
    said = [replace(each, position=None) for each in talk(5, 5, 5)]
    assert said[3 - kept :] == list(Prompt(said, limit=10, trim=trim, cut=cut).fit().messages)


def test_a_context_without_text_costs_nothing():
    assert 3 == Prompt(talk(1), limit=10, context=None, overhead=2).fit().tokens


def test_the_error_names_the_figures_and_the_remedy():
    with pytest.raises(PromptTooLong, match=r"need 12 tokens, and the limit is 11: shorten the message"):
        Prompt(talk(12), limit=11).fit()
