"""How a turn is taken from its first transaction to its last, whichever shell waits: begin → ask → finish, or fail.

Everything here is a generator of steps; see `steps`. What is begun is always brought to an end: finished, or marked
as left without an answer, with what came of one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Literal, NamedTuple, TypedDict, TypeVar, Unpack, get_args

from convo import branching, options, prepare, sampling, turn
from convo.asking import LEASE_MARGIN_S, Ask, Begun
from convo.call import DEADLINE_S
from convo.clients.base import AnyClient, ChatReply, Delta
from convo.errors import (
    ContextLengthExceeded,
    ConversationNotFound,
    ConvoError,
    ModelError,
    NoOpenTurn,
    PromptTooLong,
    StoreError,
    StoreFull,
    StreamCut,
    TurnInFlight,
    TurnUnfinished,
)
from convo.facts import ConversationFacts, Reply, reply_of_answer, reply_of_turn
from convo.models import Service
from convo.shapes import ParameterOptions
from convo.steps import Await, Call, Close, Left, Listen, Next, Pause, Show, Steps, Work
from convo.store.answering import Answer, Attempt
from convo.store.branches import NewFork
from convo.store.repository import ConversationRepository
from convo.streaming import END, Draft
from convo.tokens import raised
from convo.turn import Question
from convo.values import BROKEN_OFF, CANCELLED, STREAM_CUT, Candidate, ConversationRecord, Parameters, Turn
from convo.view import View

Talk = TypeVar("Talk", bound=ConversationFacts)

Unfinished = Literal["raise", "resume", "discard"]
"""What send() does about a turn that was left without an answer."""

Conflict = Literal["raise", "wait"]
"""What send() does about a turn that is being answered."""

UNFINISHED, CONFLICT = get_args(Unfinished), get_args(Conflict)

WAIT_S = DEADLINE_S + LEASE_MARGIN_S
"""How long send() waits for a turn that is being answered: as long as its lease, when nobody says otherwise."""

RENEW_S = 10.0
"""How often a stream renews its lease at most; a lease is longer than that in any case."""

FAILING_S = 2.0
"""How long a caller whose turn failed tries to have that stored; what one PostgreSQL statement waits comes on top."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""How long somebody waits before he looks again whether another process's turn has its answer."""

Answered = tuple[ConversationRecord, Turn]
"""A turn that was answered before."""

Opening = tuple[Service[AnyClient], Begun | Answered]
"""What the first transaction of a turn leads to, and who answers."""

Asking = Callable[[AnyClient, Begun, float], Steps[ChatReply]]
"""How a model is asked, and for how many seconds: for a whole answer, or in pieces."""


class MannerOptions(TypedDict, total=False):
    """The arguments of Manner, but for the parameters."""

    model: str | None
    deadline_s: float
    on_unfinished: Unfinished
    on_conflict: Conflict
    wait_s: float


class Manner(NamedTuple):
    """How a caller wants his turn to be taken."""

    model: str | None = None
    overrides: Parameters = Parameters()
    deadline_s: float = DEADLINE_S
    on_unfinished: Unfinished = "raise"
    on_conflict: Conflict = "raise"
    wait_s: float = WAIT_S

    @classmethod
    def checked(cls, parameters: ParameterOptions, **wanted: Unpack[MannerOptions]) -> Manner:
        """Return what a caller wants.

        Raises:
            InvalidParameter, TypeError: it cannot be had.
        """
        manner = cls(overrides=sampling.parameters(parameters), **wanted)
        prepare.check_choice("on_unfinished", manner.on_unfinished, UNFINISHED)
        prepare.check_choice("on_conflict", manner.on_conflict, CONFLICT)
        options.check_deadline(manner.deadline_s)
        prepare.check_wait(manner.wait_s)
        return manner


class Exchange(Generic[Talk]):
    """One call that has a model asked for a turn, for the shell `talk` of a view."""

    def __init__(self, view: View, talk: Talk, manner: Manner) -> None:
        self._view = view
        self._talk = talk
        self._manner = manner
        self._id = view.record.id
        self._end = contextlib.ExitStack()
        self._holder = ""
        self._is_open = False
        self._draft: Draft | None = None
        self._answer: Answer | None = None
        self._attempt: Attempt | None = None
        self._has_shown = False
        self._is_streamed = False

    def send(self, question: Question) -> Steps[Reply[Talk]]:
        """Ask `question`; return the reply, stored."""
        return self._take(self._in_line(question), self._call)

    def resume(self) -> Steps[Reply[Talk]]:
        """Ask again for the turn that was left without an answer."""
        return self._take(self._begin(self._again), self._call)

    def regenerate(self, expected_version: int | None) -> Steps[Reply[Talk]]:
        """Ask for another answer to the last turn."""
        return self._take(self._begin(partial(self._anew, expected_version)), self._call)

    def edit(self, number: int, new: NewFork, question: Question) -> Steps[Reply[Talk]]:
        """Ask `question` in the place of turn `number`, in a fork, which the view shows from then on."""
        return self._take(self._begin(partial(self._instead, number, new, question)), self._call)

    def stream(self, question: Question) -> Steps[Reply[Talk]]:
        """Ask `question`; show the answer as it comes, or in one piece when it is there already; store it."""
        self._is_streamed = True
        reply = yield from self._take(self._in_line(question), self._listen)
        if not self._has_shown and reply.text:
            yield Show(Delta(reply.text))
        return reply

    def _take(self, begin: Steps[Opening], ask: Asking) -> Steps[Reply[Talk]]:
        """Begin a turn, or find it answered; ask the model, and store what it says."""
        with self._end:
            try:
                service, begun = yield from begin
                if not isinstance(begun, Begun):
                    return self._answered(*begun)
                self._view.record, self._attempt = begun.record, begun.attempt
                started = time.monotonic()
                begun, reply = yield from self._asked(service.client, begun, ask)
                self._answer = answer = prepare.answer(reply, round((time.monotonic() - started) * 1000))
                stored: Reply[Talk] = yield Work(lambda: self._finish(begun, answer), must_run=True)
            except GeneratorExit:  # nobody performs another step: the attempt ends here, unmarked
                raise
            except BaseException as error:
                if isinstance(error, ModelError) and (attempt := self._attempt):
                    at = (self._view.record.id, attempt.turn, attempt.request_key)
                    error.conversation, error.turn, error.request_key = at
                if self._is_open or (self._holder and not isinstance(error, Exception)):
                    failure = error  # Python takes `error` away before the step is performed
                    yield Work(lambda: self._fail(failure), must_run=True)
                raise
            return stored

    def _in_line(self, question: Question) -> Steps[Opening]:
        """Begin a turn; behind those that are being answered or wait to be, if the caller wants to wait."""
        manner, pause_s, is_unfinished, has_resumed = self._manner, FIRST_PAUSE_S, False, False
        waits, until = manner.on_conflict == "wait", time.monotonic() + manner.wait_s
        if waits:
            id, line = self._view.record.id, self._view.store.line
            place = line.new_place()
            self._end.callback(line.leave, id, place)
            line.join(id, place)
            yield Await(place, manner.wait_s)
        while True:
            try:
                if is_unfinished:
                    question, is_unfinished, has_resumed = (yield from self._resume_first(question)), False, True
                return (yield from self._begin(partial(self._ask, question)))
            except TurnInFlight:  # of another process, or resumed by one
                if not waits or time.monotonic() + pause_s > until:
                    raise
            except TurnUnfinished:
                if manner.on_unfinished != "resume" or (has_resumed and (not waits or time.monotonic() > until)):
                    raise
                is_unfinished = True
                continue
            yield Pause(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)

    def _begin(self, begin: Callable[[Ask], Begun | Answered]) -> Steps[Opening]:
        """Run the first transaction of a turn, with the limits of the model that is to answer."""

        def work(ask: Ask) -> Begun | Answered:
            if not self._holder:
                self._holder = self._end.enter_context(self._view.database.owner.attempt())
            begun = begin(ask._replace(lease_owner=self._holder, is_streamed=self._is_streamed))
            if isinstance(begun, Begun):
                self._is_open = True
            return begun

        manner = self._manner
        return (yield from self._view.for_model(manner.model, manner.overrides, manner.deadline_s, work))

    def _ask(self, question: Question, ask: Ask) -> Begun | Answered:
        begin = turn.begin_instead if self._manner.on_unfinished == "discard" else turn.begin
        seen = self._view.record
        begun: Begun | Answered = self._view.write(
            lambda repository: begin(repository, seen, question, ask),
            strike=lambda repository: turn.begin_at_once(repository, seen, question, ask),
            request_key=question.request_key,
        )
        return begun

    def _again(self, ask: Ask) -> Begun:
        id, owner = self._view.record.id, self._view.record.owner
        return self._view.write(lambda repository: turn.resume(repository, id, owner, ask))

    def _anew(self, expected_version: int | None, ask: Ask) -> Begun:
        id, owner = self._view.record.id, self._view.record.owner
        return self._view.write(lambda repository: branching.regenerate(repository, id, owner, ask, expected_version))

    def _instead(self, number: int, new: NewFork, question: Question, ask: Ask) -> Begun | Answered:
        id, owner = self._view.record.id, self._view.record.owner

        def work(repository: ConversationRepository) -> Begun | Answered:
            begun = branching.edit(repository, id, owner, number, new, question, ask)
            if isinstance(begun, Begun):  # whoever is cancelled while it is stored has a turn there, and never hears
                self._id = begun.record.id
            return begun

        return self._view.write(work, request_key=question.request_key)

    def _resume_first(self, question: Question) -> Steps[Question]:
        """Answer the open turn; return `question` as it is to be asked after that."""
        view = View(self._view.store, self._view.record)  # of our own: its version is the one that this answer leaves
        try:
            yield from Exchange(view, self._talk, Manner(deadline_s=self._manner.deadline_s)).resume()
        except NoOpenTurn:  # somebody else settled it
            return question
        finally:
            self._view.record = view.record
        if question.expected_version is None:
            return question
        return question._replace(expected_version=view.record.version)

    def _call(self, client: AnyClient, begun: Begun, deadline_s: float) -> Steps[ChatReply]:
        """Ask the model, holding nothing."""
        reply: ChatReply = yield Call(client, begun.request, deadline_s)
        return reply

    def _listen(self, client: AnyClient, begun: Begun, deadline_s: float) -> Steps[ChatReply]:
        """Ask the model, and show its answer as it comes, staying the turn's holder for as long as it does."""
        self._draft = draft = Draft(begun.request)
        pieces = yield Listen(client, begun.request, deadline_s)
        renewed = time.monotonic()
        try:
            while (piece := (yield Next(pieces))) is not END:
                text = draft.add(piece)
                if time.monotonic() - renewed >= RENEW_S:
                    yield Work(lambda: self._renew(begun))
                    renewed = time.monotonic()
                if text:
                    self._has_shown = True
                    yield Show(Delta(text))
        except GeneratorExit:
            raise
        except BaseException as error:
            with contextlib.suppress(Exception):  # what matters is why we close it
                yield Close(pieces)
            if draft.is_whole and isinstance(error, ModelError | Left):  # it was paid for, and all that began has ended
                return draft.reply()
            if isinstance(error, ModelError) and draft.has_begun:
                raise StreamCut(begun.request.model, retryable=error.retryable) from error
            raise
        return draft.reply()

    def _asked(self, client: AnyClient, begun: Begun, ask: Asking) -> Steps[tuple[Begun, ChatReply]]:
        """Ask the model; once more, with less, when its service finds the prompt too long. Return what was answered."""
        until = time.monotonic() + self._manner.deadline_s
        try:
            return begun, (yield from ask(client, begun, self._manner.deadline_s))
        except ContextLengthExceeded as error:
            too_long = error
        shorter: Begun = yield Work(lambda: self._shortened(begun, too_long))
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise too_long
        self._attempt = shorter.attempt
        return shorter, (yield from ask(client, shorter, left_s))

    def _shortened(self, begun: Begun, error: ContextLengthExceeded) -> Begun:
        """Return the turn with a shorter prompt, after one that its service found too long.

        Raises:
            ContextLengthExceeded: there is none.
            LeaseLost, ConversationNotFound: as turn.shortened().
        """
        factor = raised(begun.fit.limit, begun.fit.estimate)
        try:
            shorter = self._view.database.read(lambda repository: turn.shortened(repository, begun, factor))
        except PromptTooLong:
            shorter = None
        if shorter is None:
            raise error
        self._view.database.calibration.raise_to(begun.ask.model.name, factor)
        return shorter

    def _renew(self, begun: Begun) -> None:
        """Let the lease begin anew.

        Raises:
            LeaseLost: somebody else has taken the turn over: the answer would not count.
        """
        try:
            is_ours = self._view.write(lambda repository: turn.renew(repository, begun), within_s=FAILING_S)
        except StoreError:  # the store may be back before the answer is whole, and nobody may have come meanwhile
            return
        if not is_ours:
            raise turn.lease_lost(begun, "what came of its answer is dropped")

    def _answered(self, record: ConversationRecord, answered: Turn) -> Reply[Talk]:
        """Return the reply that was stored before."""
        self._view.record = record
        self._view.last_reply = reply = reply_of_turn(answered, self._talk)
        return reply

    def _finish(self, begun: Begun, answer: Answer) -> Reply[Talk]:
        """Store what the model said."""
        stored, counts = self._view.write(
            lambda repository: turn.finish(repository, begun, answer),
            strike=lambda repository: turn.finish_at_once(repository, begun, answer),
            turn_number=begun.attempt.turn,
            request_key=begun.attempt.request_key,
        )
        self._is_open, self._holder = False, ""
        self._view.record = stored.record
        if not counts:
            raise turn.lease_lost(begun)
        if answer.usage is not None:
            calibration = self._view.database.calibration
            calibration.learn(begun.ask.model.name, answer.usage.input_tokens, begun.fit.estimate)
        self._view.last_reply = reply = reply_of_answer(begun, answer, stored, self._talk)
        return reply

    def _fail(self, error: BaseException) -> None:
        """Mark the turn as left without an answer; should that fail too, this attempt is at its end all the same."""
        view, why = self._view, _reason(error)
        came = self._came(why if why in BROKEN_OFF else STREAM_CUT)
        id, owner, attempt = self._id, view.record.owner, self._attempt

        def mark(came: Sequence[Candidate]) -> ConversationRecord | None:
            return view.write(
                lambda repository: turn.fail(repository, id, owner, self._holder, why, came, attempt=attempt),
                within_s=FAILING_S,
            )

        try:
            try:
                view.record = mark(came) or view.record
            except StoreFull:  # there may be room for the mark alone
                view.record = mark(()) or view.record
        except ConversationNotFound:  # deleted, or never stored: there is no turn
            pass
        except ConvoError as second:
            error.add_note(f"the turn could not be marked as failed: {second}")

    def _came(self, why: str) -> Sequence[Candidate]:
        """Return what the model said so far, if anything: the whole answer, when it was the store that failed."""
        if self._answer is not None:
            return self._answer.candidates
        return self._draft.partial(why) if self._draft else ()


def _reason(error: BaseException) -> str:
    if isinstance(error, StreamCut):
        return STREAM_CUT
    return type(error).__name__ if isinstance(error, Exception) else CANCELLED
