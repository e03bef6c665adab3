"""The embedded models: they need no key, no network and no weights, so that everything works on a fresh machine.

`offline/eliza` is a rule-based program, not a language model. `offline/echo` answers with what it was told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.errors import ModelNotFound
from convo.tokens import estimate
from convo.values import Candidate, Example, Message, Model, Parameters, Usage

ELIZA = Model(
    name="offline/eliza",
    input_token_limit=4096,
    display_name="Eliza",
    description="A small rule-based program after Weizenbaum's of 1966; not a language model.",
)
ECHO = Model(
    name="offline/echo",
    input_token_limit=1_000_000,
    display_name="Echo",
    description="Answers with the newest message, word for word; for tests.",
)
MODELS = {model.name: model for model in (ELIZA, ECHO)}


class OfflineClient:
    """The service of the embedded models."""

    def get_model(self, name: str) -> Model:
        """Return the model of that name.

        Raises:
            ModelNotFound: it is not an embedded one.
        """
        if name not in MODELS:
            raise ModelNotFound(name, list(MODELS))
        return MODELS[name]

    def with_limit(self, name: str, limit: int) -> Model:
        """Return the model of that name, with another limit."""
        return replace(self.get_model(name), input_token_limit=limit)

    def get_model_within(self, name: str, deadline_s: float) -> Model:  # noqa: ARG002 - it is known at once
        """Return the model of that name, as get_model() does."""
        return self.get_model(name)

    def chat(self, request: ChatRequest, *, deadline_s: float) -> ChatReply:  # noqa: ARG002 - answers at once
        """Answer `request`; the same request has the same answer."""
        model = self.get_model(request.model)
        count = request.parameters.candidate_count or 1
        texts = _echo(request, count) if model is ECHO else _eliza(request, count)
        candidates = tuple(_ended(index, text, request.parameters) for index, text in enumerate(texts))
        return ChatReply(candidates, usage=_usage(request, candidates), served_by=model.name)

    def stream(self, request: ChatRequest, *, deadline_s: float) -> Iterator[Delta]:
        """Answer as chat() does, word by word."""
        yield from streamed(self.chat(request, deadline_s=deadline_s))


def streamed(reply: ChatReply) -> Iterator[Delta]:
    """Yield a whole answer word by word, one candidate after the other."""
    for each in reply.candidates:
        *words, last = re.findall(r"\s*\S+\s*$|\s*\S+|\s+", str(each.content)) or [""]
        yield from (Delta(word, each.index) for word in words)
        yield Delta(last, each.index, each.finish_reason or "stop")
    yield Delta(usage=reply.usage, filters=reply.filters, served_by=reply.served_by)


def _ended(index: int, text: str, parameters: Parameters) -> Candidate:
    """Return a candidate that ends at a stop sequence, or after as many tokens as it may have."""
    for each in parameters.stop_sequences or ():
        text = text.partition(each)[0]
    end, most = "stop", parameters.max_output_tokens
    while most is not None and estimate(text) > most and len(text) > 1:
        end, text = "length", text[: max(len(text) * most // estimate(text), 1)]
    return Candidate(index, text, end, estimate(text))


def _echo(request: ChatRequest, count: int) -> list[str]:
    newest = str(request.messages[-1].content)
    return [newest if index == 0 else f"{newest} ({index})" for index in range(count)]


def _eliza(request: ChatRequest, count: int) -> list[str]:
    """Answer as an example does whose input is the newest message, else by the script."""
    from convo.clients.eliza import answers

    said = [str(each.content) for each in request.messages if each.side == request.messages[-1].side]
    shown = [str(each.output) for each in request.examples if each.input == said[-1]][-1:]
    more = [text for text in answers(said, count=count + len(shown)) if text not in shown]
    return (shown + more)[:count]


def _usage(request: ChatRequest, candidates: Sequence[Candidate]) -> Usage:
    texts: Sequence[Message | Example] = (*request.examples, *request.messages)
    asked = estimate(request.context or "") + sum(each.tokens for each in texts)
    return Usage(input_tokens=asked, output_tokens=sum(each.tokens for each in candidates))
