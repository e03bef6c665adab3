"""`chat`, as the reference page of `google.generativeai.chat` documents it: one answer, nothing stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from convo import options
from convo.call import DEADLINE_S, call
from convo.clients.base import ChatClient, ChatRequest
from convo.errors import InvalidInput, ReplyBlocked
from convo.models import RETIRED, resolve
from convo.options import ExamplesOptions, MessageOptions, MessagesOptions
from convo.prompt import Budget, fit
from convo.text import clean_text
from convo.tokens import estimate
from convo.values import Candidate, Example, Filter, Fit, Message, Parameters


@dataclass(frozen=True)
class ChatResponse:
    """A model's answer to a chat, with everything that it takes to go on."""

    model: str
    context: str
    examples: tuple[Example, ...]
    messages: tuple[Message, ...]
    """As they were given, each with its author."""
    candidates: tuple[Candidate, ...]
    """The unique ones, best first; none when all were blocked."""
    filters: tuple[Filter, ...]
    parameters: Parameters
    prompt: Fit
    """What was sent, and how much was left out to fit the model's limit."""
    served_by: str
    """The model that answered."""
    _client: ChatClient | None = field(default=None, repr=False, compare=False)

    @property
    def last(self) -> str | None:
        """The text of the first candidate; None when all were blocked."""
        return self.candidates[0].content if self.candidates else None

    def reply(self, message: MessageOptions) -> ChatResponse:
        """Go on with `message`; returns a new response, and leaves this one as it is.

        Raises:
            ReplyBlocked: there is no answer to go on from.
        """
        if not self.candidates:
            raise ReplyBlocked([each.reason for each in self.filters])
        chosen = self.candidates[0]
        answered = Message(chosen.author, chosen.content, tokens=chosen.tokens)
        return _chat(
            self.model,
            self.context,
            self.examples,
            [*self.messages, answered, options.message(message)],
            self.parameters,
            self._client,
        )


def chat(
    *,
    model: str = RETIRED,
    context: str | None = None,
    examples: ExamplesOptions | None = None,
    messages: MessagesOptions | None = None,
    temperature: float | None = None,
    candidate_count: int | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    client: ChatClient | None = None,
) -> ChatResponse:
    """Ask a model to go on with a chat.

    The prompt is the context, the examples and the newest messages that fit the model's input_token_limit.

    Raises:
        InvalidInput, AuthorError, TypeError, ValueError, KeyError: what was given cannot be used; nothing was sent.
        ModelNotFound: nobody serves that model.
        ModelError: the model failed.
    """
    parameters = options.parameters(
        {"temperature": temperature, "candidate_count": candidate_count, "top_p": top_p, "top_k": top_k}
    )
    given = options.examples(examples)
    told = "" if context is None else clean_text(context, "context")
    return _chat(model, told, given, options.messages(messages), parameters, client)


def _chat(
    model: str,
    context: str,
    examples: Sequence[Example],
    messages: Sequence[Message],
    parameters: Parameters,
    client: ChatClient | None,
) -> ChatResponse:
    given = options.messages(messages)
    if not given:
        raise InvalidInput("there is nothing to answer: give at least one message")
    service = resolve(model, client)
    found = service.model
    prompt = fit(
        context or None,
        examples,
        given,
        context_tokens=estimate(context),
        budget=Budget(found.input_token_limit, found.message_overhead, found.user_first),
    )
    request = ChatRequest(found.name, prompt.context, prompt.examples, prompt.messages, parameters)
    reply = call(service.client, request, deadline_s=DEADLINE_S)
    author = options.AUTHORS[1 - given[-1].side] if len(given) == 1 else given[-2].author
    return ChatResponse(
        model=model,
        context=context,
        examples=tuple(examples),
        messages=tuple(given),
        candidates=tuple(replace(each, author=author) for each in reply.candidates),
        filters=reply.filters,
        parameters=parameters,
        prompt=prompt,
        served_by=reply.served_by or found.name,
        _client=client,
    )
