"""`chat`, as the reference page of `google.generativeai.chat` documents it: one answer, nothing stored.

Named as in the original, since a module named `chat` would hide the function. Like a turn, a chat is written once, as
steps, which chat() performs where it stands and chat_async() awaits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from convo import options, prepare, sampling
from convo.call import DEADLINE_S
from convo.clients.base import AnyClient, ChatClient, ChatReply, ChatRequest, check_awaited, check_waiting
from convo.errors import CallTimedOut, ContextLengthExceeded, InvalidInput, ModelError, PromptTooLong, ReplyBlocked
from convo.models import RETIRED, Service, model_name
from convo.prompt import Budget, fit
from convo.retry import RequestOptions
from convo.shapes import (
    AnyModelNameOptions,
    CreateOptions,
    ExamplesOptions,
    MessageOptions,
    MessagePromptOptions,
    MessagesOptions,
    RequestOptionsType,
    ResponseDict,
)
from convo.steps import Call, Pause, Resolve, Steps, outcome
from convo.tokens import estimate, raised
from convo.values import (
    MODEL,
    Candidate,
    Example,
    Filter,
    Fit,
    Message,
    MessagePrompt,
    Model,
    Parameters,
    Usage,
)


@dataclass(kw_only=True)
class ChatResponse:
    """A model's answer to a chat, with everything that it takes to go on.

    Its messages, examples, candidates and filters also read as the documented dictionaries: ``candidate["content"]``.
    """

    model: str
    """As it was asked for."""
    context: str
    """"" when there is none."""
    examples: list[Example]
    """Oldest first."""
    messages: list[Message | None]
    """Oldest first, each with its author; the last one is the answer, None when all candidates were blocked."""
    temperature: float | None
    """What was asked for, as of the three parameters below: None left it to the model."""
    candidate_count: int | None
    candidates: list[Candidate]
    """The unique ones, best first; none when all were blocked."""
    filters: list[Filter]
    """Why candidates were withheld."""
    top_p: float | None = None
    top_k: int | None = None
    prompt: Fit
    """What was sent, and how much was left out to fit the model's limit."""
    served_by: str
    """The model that answered."""
    usage: Usage | None = None
    """What the service says the answer cost."""
    _client: AnyClient | None = field(default=None, repr=False, compare=False)

    @property
    def last(self) -> str | None:
        """The text of the answer that reply() goes on from: candidate 0, until another one is set; None when blocked.

        Set it to another candidate, or to any other message: the next reply() follows it. An author that is not named
        stays; another one than in the turns before is an AuthorError.
        """
        answer = self.messages[-1]
        return None if answer is None else options.message(answer).content

    @last.setter
    def last(self, answer: MessageOptions) -> None:
        """Let the next reply() follow `answer`, in the place of the last message."""
        said: list[Any] = [*self.messages[:-1], options.message(answer)]
        made = replace(options.messages(said)[-1], side=MODEL)
        if isinstance(answer, Candidate):
            made = replace(made, candidate=answer.index, finish_reason=answer.finish_reason)
        self.messages[-1] = made

    def reply(self, message: MessageOptions, request_options: RequestOptionsType | None = None) -> ChatResponse:
        """Go on with `message`, under the same settings; returns a new response, and leaves this one as it is.

        Raises:
            ReplyBlocked: there is no answer to go on from; it is a ValueError, with the reasons.
            TypeError: the client can only be awaited.
            InvalidInput, AuthorError, TypeError, ValueError: `message` cannot be used; nothing was sent.
            ModelError: as chat().
        """
        check_waiting(self._client, "reply()", "reply_async()")
        return outcome(_discuss(self._next(message), self._client, options.request_options(request_options)))

    async def reply_async(
        self, message: MessageOptions, request_options: RequestOptionsType | None = None
    ) -> ChatResponse:
        """Go on as reply() does, and let others run meanwhile."""
        how = options.request_options(request_options)
        return await _awaited(_discuss(self._next(message), self._client, how))

    def to_dict(self) -> ResponseDict:
        """Return what chat() was told, and the candidates, as plain dictionaries and lists that JSON can hold.

        Without its candidates, and with another message, it is what chat() takes to go on.
        """
        return ResponseDict(
            model=self.model,
            context=self.context,
            examples=_plain(self.examples),
            messages=_plain(self.messages),
            temperature=self.temperature,
            candidate_count=self.candidate_count,
            top_p=self.top_p,
            top_k=self.top_k,
            candidates=_plain(self.candidates),
        )

    def as_settings(self) -> CreateOptions:
        """Return what Store.create() takes to go on from here.

        Raises:
            ReplyBlocked: there is no answer to go on from.
            InvalidInput: the messages were changed, and do not end with one.
        """
        said = options.sided(self._answered())
        opening = said.pop(0).content if said[0].side == MODEL else None
        if not said or said[-1].side != MODEL:
            raise InvalidInput("a chat is kept when it ends with the model's answer to a message: reply() first")
        return CreateOptions(
            model=model_name(self.model),
            context=self.context,
            examples=self.examples,
            opening=opening,
            messages=said,
            authors=(said[-2].author, said[-1].author),
            temperature=self.temperature,
            candidate_count=self.candidate_count,
            top_p=self.top_p,
            top_k=self.top_k,
        )

    def _next(self, message: MessageOptions) -> Chat:
        said: list[Any] = [*self._answered(), options.message(message)]
        given = {name: getattr(self, name) for name in ("temperature", "candidate_count", "top_p", "top_k")}
        return _chat(self.model, None, given, context=self.context, examples=self.examples, messages=said)

    def _answered(self) -> list[Message]:
        """Return the messages, which end with an answer.

        Raises:
            ReplyBlocked: they do not.
        """
        if self.last is None:
            raise ReplyBlocked([each.reason for each in self.filters])
        return self.messages  # type: ignore[return-value]  # only the last one may be None


def chat(
    *,
    model: AnyModelNameOptions | None = RETIRED,
    context: str | None = None,
    examples: ExamplesOptions | None = None,
    messages: MessagesOptions | None = None,
    temperature: float | None = None,
    candidate_count: int | None = None,
    top_p: float | None = None,
    top_k: float | None = None,
    prompt: MessagePromptOptions | None = None,
    client: ChatClient | None = None,
    request_options: RequestOptionsType | None = None,
) -> ChatResponse:
    """Ask a model to go on with a chat; `prompt` is another way to give context, examples and messages.

    What is sent is the context, the newest message, and the examples and newest messages that fit the model's
    input_token_limit: `response.prompt` tells what was left out. A model that is None is the default one: CONVO_MODEL,
    else the embedded one. Only unique candidates come back, and one at temperature 0. `request_options` has a timeout,
    in seconds, and a Retry.

    Raises:
        InvalidInput, AuthorError, TypeError, ValueError, KeyError: what was given cannot be used; nothing was sent.
        PromptTooLong: the context and the newest message alone exceed the limit; nothing was sent.
        ModelNotFound: nobody serves that model.
        ModelError: the model failed.
    """
    check_waiting(client, "chat()", "chat_async()")
    parameters = {"temperature": temperature, "candidate_count": candidate_count, "top_p": top_p, "top_k": top_k}
    asked = _chat(model, prompt, parameters, context=context, examples=examples, messages=messages)
    return outcome(_discuss(asked, client, options.request_options(request_options)))


async def chat_async(
    *,
    model: AnyModelNameOptions | None = RETIRED,
    context: str | None = None,
    examples: ExamplesOptions | None = None,
    messages: MessagesOptions | None = None,
    temperature: float | None = None,
    candidate_count: int | None = None,
    top_p: float | None = None,
    top_k: float | None = None,
    prompt: MessagePromptOptions | None = None,
    client: AnyClient | None = None,
    request_options: RequestOptionsType | None = None,
) -> ChatResponse:
    """Ask a model as chat() does, and let others run meanwhile; a client that cannot be awaited runs in a thread.

    Raises:
        CallTimedOut: no answer within the timeout.
    """
    check_awaited(client)
    parameters = {"temperature": temperature, "candidate_count": candidate_count, "top_p": top_p, "top_k": top_k}
    asked = _chat(model, prompt, parameters, context=context, examples=examples, messages=messages)
    return await _awaited(_discuss(asked, client, options.request_options(request_options)))


@dataclass(frozen=True, slots=True)
class Chat:
    """What is asked of which model, checked."""

    model: str
    prompt: MessagePrompt
    parameters: Parameters
    limit: int | None = None
    """Of a Model that was given, if it has one: a service is not asked for it then."""

    def fitted(self, model: Model, factor: float = 1.0) -> Fit:
        """Return the prompt without what exceeds the model's limit, by the estimate times a factor.

        Raises:
            PromptTooLong: the context and the newest message alone exceed it.
        """
        context = self.prompt.context or ""
        return fit(
            context or None,
            self.prompt.examples,
            self.prompt.messages,
            context_tokens=estimate(context),
            budget=budget_of(model, factor),
        )

    def shortened(self, model: Model, refused: Fit) -> Fit | None:
        """Return a shorter prompt than one that was too long; None when there is none."""
        try:
            prompt = self.fitted(model, raised(refused.limit, refused.estimate))
        except PromptTooLong:
            return None
        return prompt if prompt.estimate < refused.estimate else None

    def call(self, service: Service[AnyClient], prompt: Fit, until: float) -> Call:
        """Return the step that asks for the answer to a prompt."""
        request = ChatRequest(service.model.name, prompt.context, prompt.examples, prompt.messages, self.parameters)
        return Call(service.client, request, max(until - time.monotonic(), 0))


def _chat(
    model: AnyModelNameOptions | None,
    prompt: MessagePromptOptions | None,
    parameters: Mapping[str, Any],
    *,
    context: str | None,
    examples: ExamplesOptions | None,
    messages: MessagesOptions | None,
) -> Chat:
    name = prepare.label(model_name(model), "model")
    told, shown, said = options.prompt(prompt, context=context, examples=examples, messages=messages)
    made = MessagePrompt(told, tuple(options.examples(shown)), tuple(options.discussion(said)))
    limit = model.input_token_limit or None if isinstance(model, Model) else None  # a listed one may have none
    return Chat(name, made, sampling.parameters(parameters), limit)


def budget_of(model: Model, factor: float = 1.0) -> Budget:
    """Return what a prompt for a model may hold."""
    return Budget(model.input_token_limit, model.message_overhead, model.user_first, factor)


def _discuss(asked: Chat, client: AnyClient | None, how: RequestOptions) -> Steps[ChatResponse]:
    """Find out who answers, leave out what does not fit, and ask; again after a failure, if that is wanted."""
    deadline_s = DEADLINE_S if how.timeout is None else how.timeout
    until = time.monotonic() + deadline_s
    failures = 0
    while (left_s := until - time.monotonic()) > 0:
        try:
            service = yield Resolve(asked.model, client, left_s, asked.limit, asked.parameters)
            prompt, reply = yield from _answered(asked, service, until)
        except ModelError as error:
            failures += 1
            pause_s = pause_before(how, error, failures, until)
            if pause_s is None:
                raise
            yield Pause(pause_s)
        else:
            return _response(asked, prompt, reply, client, service.model.name)
    raise CallTimedOut(asked.model, deadline_s)


def pause_before(how: RequestOptions, error: ModelError, failures: int, until: float) -> float | None:
    """Return how long to wait before the next call, in seconds; None when there is to be none."""
    pause_s = how.retry.pause_s(failures) if how.retry and error.retryable else None
    return None if pause_s is None or time.monotonic() + pause_s >= until else pause_s


def _answered(asked: Chat, service: Service[AnyClient], until: float) -> Steps[tuple[Fit, ChatReply]]:
    """Ask a model; once more, with less, when its service finds the prompt too long. Return what was answered."""
    prompt = asked.fitted(service.model)
    try:
        return prompt, (yield asked.call(service, prompt, until))
    except ContextLengthExceeded:
        shorter = asked.shortened(service.model, prompt)
        if shorter is None:
            raise
    return shorter, (yield asked.call(service, shorter, until))


def _response(asked: Chat, prompt: Fit, reply: ChatReply, client: AnyClient | None, model: str) -> ChatResponse:
    said = asked.prompt.messages
    author = said[-2].author if len(said) > 1 else options.AUTHORS[MODEL]
    candidates = [replace(each, author=author) for each in reply.candidates]
    parameters = asked.parameters
    return ChatResponse(
        model=asked.model,
        context=asked.prompt.context or "",
        examples=list(asked.prompt.examples),
        messages=[*said, _said(candidates[0]) if candidates else None],
        temperature=parameters.temperature,
        candidate_count=parameters.candidate_count,
        candidates=candidates,
        filters=list(reply.filters),
        top_p=parameters.top_p,
        top_k=parameters.top_k,
        prompt=prompt,
        served_by=reply.served_by or model,
        usage=reply.usage,
        _client=client,
    )


def _said(candidate: Candidate) -> Message:
    return Message(
        candidate.author,
        candidate.content,
        side=MODEL,
        tokens=candidate.tokens,
        candidate=candidate.index,
        finish_reason=candidate.finish_reason,
        repaired=candidate.repaired,
        citation_metadata=candidate.citation_metadata,
    )


async def _awaited(steps: Steps[ChatResponse]) -> ChatResponse:
    from convo.performer import Performer  # which needs an event loop's library

    return await Performer().outcome(steps)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a value, or a part of one
    """Return documented values as the dictionaries that they read as."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
