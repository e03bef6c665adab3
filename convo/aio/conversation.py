"""AsyncConversation: each transaction in a thread of its store's own, and the model awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from functools import partial
from typing import Any, Self, Unpack

from convo import options, prepare, removal
from convo.audits import Erasure, Head, SentRequest, Verdict
from convo.call import DEADLINE_S
from convo.clients.base import Delta
from convo.exchange import WAIT_S, Conflict, Exchange, Manner, Unfinished
from convo.facts import ConversationFacts, Reply
from convo.performer import Performer
from convo.shapes import ExamplesOptions, ParameterOptions
from convo.values import KEEP, ConversationRecord, Event, Example, Fit, Keep, Message, MessagePrompt, Turn
from convo.view import Opened, View


class AsyncConversation(ConversationFacts):
    """A stored conversation; made by AsyncStore.create(), get(), get_or_create() and list(), and by fork().

    Each method does what the one of the same name of Conversation does, and raises the same errors.
    """

    def __init__(self, performer: Performer, store: Opened, record: ConversationRecord) -> None:
        self._view = View(store, record)
        super().__init__(self._view)
        self._performer = performer

    async def refresh(self) -> Self:
        """Read the conversation's row again; returns the same object."""
        await self._performer.run(self._view.refresh)
        return self

    async def messages(self, last: int | None = None) -> list[Message]:
        """Return the newest `last` messages, or all, oldest first; an unanswered one included."""
        return await self._performer.run(partial(self._view.messages, last))

    async def turns(self, last: int | None = None) -> list[Turn]:
        """Return the newest `last` turns, or all, oldest first, with all their candidates."""
        return await self._performer.run(partial(self._view.turns, last))

    async def turn(self, number: int) -> Turn:
        """Return turn `number`, from 1; 0 is an opening message."""
        return await self._performer.run(partial(self._view.turn, number))

    async def examples(self) -> list[Example]:
        """Return the examples, oldest first, without erased ones."""
        return await self._performer.run(self._view.examples)

    async def events(self) -> list[Event]:
        """Return the journal, oldest first."""
        return await self._performer.run(self._view.events)

    async def verify(self, *, heads: Iterable[Head] = ()) -> Verdict:
        """Return what is found when everything that is stored of it is compared with its journal."""
        return await self._performer.run(partial(self._view.verify, heads))

    async def as_prompt(self, text: str | None = None) -> MessagePrompt:
        """Return context, examples and all messages, and after them `text`, as the prompt that chat() takes."""
        return await self._performer.run(partial(self._view.as_prompt, text))

    async def preview(self, text: str, *, model: str | None = None) -> Fit:
        """Return what would be sent for `text`, without calling a model or storing anything."""
        return await self._performer.outcome(self._view.preview(prepare.question(text), model))

    async def request(
        self, turn: int | None = None, *, text: str | None = None, attempt: int | None = None
    ) -> SentRequest:
        """Return what a model was given for turn `turn`, rebuilt: to the byte, where it is asked over HTTP."""
        return await self._performer.outcome(self._view.request(turn, text, attempt))

    async def send(
        self,
        text: str,
        *,
        request_key: str | None = None,
        expected_version: int | None = None,
        on_unfinished: Unfinished = "raise",
        on_conflict: Conflict = "raise",
        wait_s: float = WAIT_S,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[AsyncConversation]:
        """Send the user's next message; return the model's answer, stored.

        Cancelled, it leaves the turn unanswered, or answered if the answer was being stored.

        Raises:
            CallTimedOut: the model did not answer within `deadline_s` seconds.
        """
        question = prepare.question(text, request_key, expected_version)
        manner = Manner.checked(
            parameters,
            model=model,
            deadline_s=deadline_s,
            on_unfinished=on_unfinished,
            on_conflict=on_conflict,
            wait_s=wait_s,
        )
        return await self._performer.outcome(Exchange(self._view, self, manner).send(question))

    def stream(
        self,
        text: str,
        *,
        request_key: str | None = None,
        expected_version: int | None = None,
        on_unfinished: Unfinished = "raise",
        on_conflict: Conflict = "raise",
        wait_s: float = WAIT_S,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> AsyncGenerator[Delta, None]:
        """Send the user's next message; yield the pieces of candidate 0 as they come.

        A reader that may stop early closes it, as no event loop does so at once: `async with contextlib.aclosing(…)`.

        Raises:
            CallTimedOut: no piece came within `deadline_s` seconds; StreamCut when there had been one.
        """
        question = prepare.question(text, request_key, expected_version)
        manner = Manner.checked(
            parameters,
            model=model,
            deadline_s=deadline_s,
            on_unfinished=on_unfinished,
            on_conflict=on_conflict,
            wait_s=wait_s,
        )
        return self._performer.pieces(Exchange(self._view, self, manner).stream(question))

    async def resume(
        self, *, deadline_s: float = DEADLINE_S, model: str | None = None, **parameters: Unpack[ParameterOptions]
    ) -> Reply[AsyncConversation]:
        """Ask the model again for the turn that an error or a crash left without an answer."""
        manner = Manner.checked(parameters, deadline_s=deadline_s, model=model)
        return await self._performer.outcome(Exchange(self._view, self, manner).resume())

    async def discard(self) -> str | None:
        """Delete the turn that was left without an answer; return its text. The journal keeps that it was there."""
        return await self._performer.run(self._view.discard)

    async def choose(self, candidate: int, *, turn_number: int | None = None) -> Self:
        """Make another candidate of the last turn the one that later turns follow; returns the same object."""
        await self._performer.run(partial(self._view.choose, candidate, turn_number))
        return self

    async def regenerate(
        self,
        *,
        expected_version: int | None = None,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[AsyncConversation]:
        """Ask for another answer to the last turn; the reply has all that may be chosen, old and new."""
        manner = Manner.checked(parameters, deadline_s=deadline_s, model=model)
        return await self._performer.outcome(Exchange(self._view, self, manner).regenerate(expected_version))

    async def fork(
        self,
        *,
        at: int | None = None,
        name: str | None = None,
        context: str | Keep | None = KEEP,
        examples: ExamplesOptions | Keep | None = KEEP,
        model: str | None = None,
    ) -> AsyncConversation:
        """Return a new conversation that begins as this one, up to and with turn `at`; 0 leaves all turns out."""
        steps = self._view.fork(at, name=name, context=context, examples=examples, model=model)
        return AsyncConversation(self._performer, self._view.store, await self._performer.outcome(steps))

    async def edit(
        self,
        turn: int,
        text: str,
        *,
        name: str | None = None,
        request_key: str | None = None,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[AsyncConversation]:
        """Send `text` in the place of turn `turn`, in a fork; the reply's `conversation` is the new one."""
        made = AsyncConversation(self._performer, self._view.store, self.record)
        question, number = prepare.question(text, request_key), options.whole_number(turn, "turn")
        manner = Manner.checked(parameters, model=model, deadline_s=deadline_s)
        new = prepare.forking(self.record, name=name)
        return await self._performer.outcome(Exchange(made._view, made, manner).edit(number, new, question))

    async def erase(
        self,
        target: int | str,
        *others: int | str,
        candidate: int | None = None,
        reason: str | None = None,
        scrub: bool = True,
    ) -> Erasure:
        """Erase texts from the store, with their copies in all forks; the journal tells that they went."""
        return await self._performer.outcome(
            removal.erasure(self._view, (target, *others), candidate, reason, scrub=scrub)
        )

    async def redact(
        self,
        target: int | str,
        replacement: str,
        *,
        candidate: int | None = None,
        reason: str | None = None,
        scrub: bool = True,
    ) -> Erasure:
        """Put another text in the place of one, in the store and in all forks, as erase() takes it away."""
        steps = removal.redaction(self._view, target, replacement, candidate, reason, scrub=scrub)
        return await self._performer.outcome(steps)

    async def update(
        self,
        *,
        model: str | Keep = KEEP,
        title: str | Keep | None = KEEP,
        name: str | Keep | None = KEEP,
        metadata: Mapping[str, Any] | Keep = KEEP,
        input_token_limit: int | Keep | None = KEEP,
        trim: str | Keep = KEEP,
        **parameters: Unpack[ParameterOptions],
    ) -> Self:
        """Change settings from now on; None takes a title, a name, a limit or a parameter away."""
        steps = self._view.update(
            parameters,
            model=model,
            title=title,
            name=name,
            metadata=metadata,
            input_token_limit=input_token_limit,
            trim=trim,
        )
        await self._performer.outcome(steps)
        return self
