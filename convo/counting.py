"""`count_message_tokens`, as the reference pages have it beside `chat`: how long a prompt is, before it is sent."""

from __future__ import annotations

import time

from convo import options, prepare
from convo.call import DEADLINE_S, failing
from convo.clients.base import AnyClient, ChatRequest, CountingClient, check_awaited
from convo.discuss import budget_of, pause_before
from convo.errors import BadModelResponse, CallTimedOut, ModelError
from convo.models import RETIRED, model_name, resolve
from convo.retry import RequestOptions
from convo.shapes import (
    AnyModelNameOptions,
    ExamplesOptions,
    MessagePromptOptions,
    MessagesOptions,
    RequestOptionsType,
    TokenCount,
)
from convo.tokens import estimate


def count_message_tokens(
    *,
    prompt: MessagePromptOptions | None = None,
    context: str | None = None,
    examples: ExamplesOptions | None = None,
    messages: MessagesOptions | None = None,
    model: AnyModelNameOptions | None = RETIRED,
    client: AnyClient | None = None,
    request_options: RequestOptionsType | None = None,
) -> TokenCount:
    """Return how many tokens a whole prompt has, before anything is left out.

    It is the count of the model's service, where that counts before it answers: Anthropic, Gemini and PaLM do. Else it
    is convo's own estimate, with what the service adds to each text, and nothing is sent.

    Raises:
        InvalidInput, AuthorError, TypeError, ValueError, KeyError, ModelNotFound, ModelError: as chat().
    """
    check_awaited(client)
    how = options.request_options(request_options)
    name = prepare.label(model_name(model), "model")
    told, shown, said = options.prompt(prompt, context=context, examples=examples, messages=messages)
    given, made = options.examples(shown), options.sided(said)
    deadline_s = DEADLINE_S if how.timeout is None else how.timeout
    until = time.monotonic() + deadline_s
    service = resolve(name, client, deadline_s=deadline_s)
    counted = None
    if made and isinstance(service.client, CountingClient):
        request = ChatRequest(service.model.name, told, tuple(given), tuple(made))
        counted = _counted(service.client, request, how, until)
    if counted is None:
        budget = budget_of(service.model)
        tokens = budget.of_context(told, estimate(told or "")) + sum(map(budget.of_example, given))
        counted = tokens + sum(map(budget.of_message, made))
    return TokenCount(token_count=counted)


def _counted(client: CountingClient, request: ChatRequest, how: RequestOptions, until: float) -> int | None:
    """Return what a service counts; asked again after a failure, if that is wanted."""
    deadline_s = until - time.monotonic()
    failures = 0
    while (left_s := until - time.monotonic()) > 0:
        try:
            with failing(request):
                counted: object = client.count_tokens(request, deadline_s=left_s)  # of others' code
        except ModelError as error:
            failures += 1
            pause_s = pause_before(how, error, failures, until)
            if pause_s is None:
                raise
            time.sleep(pause_s)
        else:
            if counted is None or (isinstance(counted, int) and counted >= 0):
                return counted
            raise BadModelResponse(f"the client of {request.model} counted {counted!r} tokens")
    raise CallTimedOut(request.model, deadline_s)
