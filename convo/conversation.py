"""Conversations as their users hold them: a thin shell that waits, around `exchange` and `turn`, which decide.

Nothing is held between two calls, and no transaction while a model answers. A Conversation is a view of what is
stored: it may be used from several threads, beside others of the same conversation in other processes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Any, Self, Unpack

from convo import options, prepare, removal
from convo.audits import Erasure, Head, SentRequest, Verdict
from convo.call import DEADLINE_S
from convo.clients.base import Delta
from convo.exchange import WAIT_S, Conflict, Exchange, Manner, Unfinished
from convo.facts import ConversationFacts, Reply
from convo.shapes import ExamplesOptions, ParameterOptions
from convo.steps import outcome, pieces
from convo.values import KEEP, ConversationRecord, Event, Example, Fit, Keep, Message, MessagePrompt, Turn
from convo.view import Opened, View


class Conversation(ConversationFacts):
    """A stored conversation; made by Store.create(), get(), get_or_create() and list(), and by fork()."""

    def __init__(self, store: Opened, record: ConversationRecord) -> None:
        self._view = View(store, record)
        super().__init__(self._view)

    def refresh(self) -> Self:
        """Read the conversation's row again; returns the same object."""
        self._view.refresh()
        return self

    def messages(self, last: int | None = None) -> list[Message]:
        """Return the newest `last` messages, or all, oldest first; an unanswered one included."""
        return self._view.messages(last)

    def turns(self, last: int | None = None) -> list[Turn]:
        """Return the newest `last` turns, or all, oldest first, with all their candidates."""
        return self._view.turns(last)

    def turn(self, number: int) -> Turn:
        """Return turn `number`, from 1; 0 is an opening message.

        Raises:
            TurnNotFound: there is none of that number.
        """
        return self._view.turn(number)

    def examples(self) -> list[Example]:
        """Return the examples, oldest first, without erased ones."""
        return self._view.examples()

    def events(self) -> list[Event]:
        """Return the journal, oldest first."""
        return self._view.events()

    def verify(self, *, heads: Iterable[Head] = ()) -> Verdict:
        """Return what is found when everything that is stored of it is compared with its journal.

        Among `heads` are perhaps some of its own that were kept elsewhere: without them nobody can tell whether the
        end of a journal was cut off, or all of it written anew.

        Raises:
            ConversationNotFound: it was deleted.
        """
        return self._view.verify(heads)

    def as_prompt(self, text: str | None = None) -> MessagePrompt:
        """Return context, examples and all messages, and after them `text`, as the prompt that chat() takes.

        Nothing is left out, as chat() does that itself, but turns of which a text was erased.

        Raises:
            TurnInFlight, TurnUnfinished: there is a `text`, and the message before it has no answer.
            InvalidText: as send().
        """
        return self._view.as_prompt(text)

    def preview(self, text: str, *, model: str | None = None) -> Fit:
        """Return what would be sent for `text`, without calling a model or storing anything.

        Raises:
            PromptTooLong, InvalidText, ModelNotFound, TurnInFlight, TurnUnfinished: as send().
            ModelError: the client could not tell the model's limits.
        """
        return outcome(self._view.preview(prepare.question(text), model))

    def request(self, turn: int | None = None, *, text: str | None = None, attempt: int | None = None) -> SentRequest:
        """Return what a model was given for turn `turn`, rebuilt: to the byte, where it is asked over HTTP.

        A turn may have had several attempts, numbered from 1 in the journal's order: further ones after a failure,
        those at another answer, and those that followed a prompt which was found too long. Without `attempt` it is
        the one that the chosen answer came of, else the last one. Without `turn` it is what was sent for the turn that
        is open, or what send() would send next for `text`; without a text, all of that but the message. No model is
        called, nothing is stored, and no key is needed but to ask a service how much its model takes.

        Raises:
            TurnNotFound: there is no such turn.
            PromptUnknown: nothing was sent for the turn, or not at so many attempts; or a fork that has another context
                or other examples cannot tell what the conversation before it sent.
            InvalidParameter: both a turn and a text were given, or an attempt without a turn.
            StoredDataError: the journal cannot be read: somebody has changed it.
            PromptTooLong, InvalidText, ModelNotFound, TurnInFlight, TurnUnfinished, ModelError: as preview().
        """
        return outcome(self._view.request(turn, text, attempt))

    def send(
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
    ) -> Reply[Conversation]:
        """Send the user's next message; return the model's answer, stored.

        A `request_key` makes the call safe to repeat: the same key with the same text returns the stored answer.
        `on_conflict="wait"` queues for at most `wait_s` seconds behind a turn that is being answered. `model` and the
        parameters (temperature, top_p, top_k, candidate_count, max_output_tokens) are for this turn only. The model
        is asked to answer within `deadline_s` seconds, over all its attempts.

        Raises:
            InvalidInput, ModelNotFound: nothing was stored, no model was called.
            TurnInFlight: the turn before is being answered, and was not settled within `wait_s`.
            TurnUnfinished: it was left without an answer, and `on_unfinished` does not say what to do about that.
            VersionConflict, IdempotencyConflict: the conversation or the request is not what the caller thinks.
            ModelError: the model failed; the turn is kept, to be resumed or discarded. If it could not even tell its
                limits, nothing was stored.
            LeaseLost: the turn was taken over while the model answered.
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
        return outcome(Exchange(self._view, self, manner).send(question))

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
    ) -> Generator[Delta, None, None]:
        """Send the user's next message; yield the pieces of candidate 0 as they come.

        The turn begins with the first piece that is asked for, and is stored when the last one was taken: then
        `last_reply` is the whole reply. A stream that breaks off, or is closed early, leaves the turn unanswered; what
        came is kept beside it, as a candidate that nobody chose. For as long as pieces come and are taken the turn
        stays ours; each of them is waited for up to `deadline_s` seconds. An answer that was stored before, under the
        same `request_key`, comes in one piece. Everything else is as with send().

        Raises:
            StreamCut: the model's answer broke off.
            LeaseLost: the turn was taken over, as a piece was not taken for too long.
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
        return pieces(Exchange(self._view, self, manner).stream(question))

    def resume(
        self, *, deadline_s: float = DEADLINE_S, model: str | None = None, **parameters: Unpack[ParameterOptions]
    ) -> Reply[Conversation]:
        """Ask the model again for the turn that an error or a crash left without an answer.

        The conversation's settings hold as they are now; `model` and the parameters are for this turn only.

        Raises:
            NoOpenTurn: every turn has its answer.
            TurnInFlight: somebody is still waiting for it.
            InvalidInput: its message was erased: discard() it.
            ModelError, LeaseLost: as send().
        """
        manner = Manner.checked(parameters, deadline_s=deadline_s, model=model)
        return outcome(Exchange(self._view, self, manner).resume())

    def discard(self) -> str | None:
        """Delete the turn that was left without an answer; return its text. The journal keeps that it was there.

        Raises:
            NoOpenTurn, TurnInFlight: as resume().
        """
        return self._view.discard()

    def choose(self, candidate: int, *, turn_number: int | None = None) -> Self:
        """Make another candidate of the last turn the one that later turns follow; returns the same object.

        Raises:
            CandidateNotFound: the turn has none of that index, or it broke off or was erased.
            ChoiceClosed: `turn_number` is not the last one.
            TurnInFlight, TurnUnfinished: the last turn has no answer yet.
        """
        self._view.choose(candidate, turn_number)
        return self

    def regenerate(
        self,
        *,
        expected_version: int | None = None,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[Conversation]:
        """Ask for another answer to the last turn; the reply has all that may be chosen, old and new.

        The model is given just what it was given before, by the conversation's settings as they are now; `model` and
        the parameters are for this time only. What it says that was not there becomes further candidates, and the
        first of these is chosen; when there is none, and when the model fails, the choice stays as it was.

        Raises:
            TurnNotFound: there is no turn yet.
            TurnInFlight, TurnUnfinished: the last turn has no answer, or another one is asked for already.
            VersionConflict: the conversation is not at `expected_version`: somebody else may have asked again.
            PromptTooLong: the turn's prompt does not fit a model that has not taken it before.
            ModelError, LeaseLost: as send().
        """
        manner = Manner.checked(parameters, deadline_s=deadline_s, model=model)
        return outcome(Exchange(self._view, self, manner).regenerate(expected_version))

    def fork(
        self,
        *,
        at: int | None = None,
        name: str | None = None,
        context: str | Keep | None = KEEP,
        examples: ExamplesOptions | Keep | None = KEEP,
        model: str | None = None,
    ) -> Conversation:
        """Return a new conversation that begins as this one, up to and with turn `at`; 0 leaves all turns out.

        Without `at`, up to the last turn that has an answer. Settings, title and metadata are the same; another
        context, or other examples (None for none), hold for what comes. The copied turns keep their candidates and
        their choices, but not their request keys. This conversation does not change.

        Raises:
            TurnNotFound: there is no turn `at`.
            TurnInFlight, TurnUnfinished: turn `at` has no answer yet.
            NameTaken, InvalidInput, ModelNotFound: as Store.create(); nothing was stored.
        """
        steps = self._view.fork(at, name=name, context=context, examples=examples, model=model)
        return Conversation(self._view.store, outcome(steps))

    def edit(
        self,
        turn: int,
        text: str,
        *,
        name: str | None = None,
        request_key: str | None = None,
        deadline_s: float = DEADLINE_S,
        model: str | None = None,
        **parameters: Unpack[ParameterOptions],
    ) -> Reply[Conversation]:
        """Send `text` in the place of turn `turn`, in a fork; the reply's `conversation` is the new one.

        It is a fork before that turn, and a send() to it; both are begun, or nothing is. A `request_key` makes the
        call safe to repeat: the same key for the same turn returns the answer that is stored in the fork. `model` and
        the parameters are for this turn only. This conversation does not change.

        Raises:
            TurnNotFound: there is no such turn.
            NameTaken: the owner has another conversation of that name.
            InvalidInput, ModelNotFound, IdempotencyConflict: as send().
            ModelError: the model failed; the turn of the fork is kept: `error.conversation` is the fork's id.
        """
        made = Conversation(self._view.store, self.record)
        question, number = prepare.question(text, request_key), options.whole_number(turn, "turn")
        manner = Manner.checked(parameters, model=model, deadline_s=deadline_s)
        new = prepare.forking(self.record, name=name)
        return outcome(Exchange(made._view, made, manner).edit(number, new, question))

    def erase(
        self,
        target: int | str,
        *others: int | str,
        candidate: int | None = None,
        reason: str | None = None,
        scrub: bool = True,
    ) -> Erasure:
        """Erase texts from the store, with their copies in all forks; the journal tells that they went.

        All of them go, or none. A target is the position of a message, "context", "title", or "example:0" (numbered
        from 0; ":input" or ":output" behind it for one of its two texts). A reply's position means all its candidates,
        unless `candidate` names one. A turn of which a text was erased is in no later prompt. `reason` is a short code
        for the journal, and must name nobody. What is erased already stays so. With `scrub` what went is looked for,
        and removed, in the database's files, and these are rebuilt when all was erased already: this takes longer the
        larger they are, and Store.scrub() may do it later.

        Raises:
            InvalidInput: a target, `candidate` or `reason` is no such thing; nothing was erased.
            NotFound: there is no such text.
            TurnInFlight: it is a message of a turn that is being answered.
            StoreError: the store failed; when it has a note, all is erased, and not looked for.
        """
        return outcome(removal.erasure(self._view, (target, *others), candidate, reason, scrub=scrub))

    def redact(
        self,
        target: int | str,
        replacement: str,
        *,
        candidate: int | None = None,
        reason: str | None = None,
        scrub: bool = True,
    ) -> Erasure:
        """Put another text in the place of one, in the store and in all forks, as erase() takes it away.

        Of an example one of its two texts: "example:0:input". Later prompts hold the new text.

        Raises:
            InvalidInput: as erase(); or the text is erased already, or the new one is empty.
            InvalidParameter: a new context is as long as the input_token_limit of one that has it.
            NotFound, TurnInFlight, StoreError: as erase().
        """
        return outcome(removal.redaction(self._view, target, replacement, candidate, reason, scrub=scrub))

    def update(
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
        """Change settings from now on; None takes a title, a name, a limit or a parameter away.

        Context and examples are fixed, as every turn was answered with them. Returns the same object.

        Raises:
            NameTaken: the owner has another conversation of that name.
            InvalidInput, ModelNotFound: what was given cannot be used; nothing was changed.
        """
        steps = self._view.update(
            parameters,
            model=model,
            title=title,
            name=name,
            metadata=metadata,
            input_token_limit=input_token_limit,
            trim=trim,
        )
        outcome(steps)
        return self
