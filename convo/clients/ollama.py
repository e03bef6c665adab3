"""Ollama's chat: models on a machine of one's own.

https://github.com/ollama/ollama/blob/main/docs/api.md (read November 2026). The context goes first, as a system
message; examples are turns before the window. It streams unless it is told not to, gives one candidate a request, and
cuts what exceeds its window without a word, at its beginning and while it answers, unless it is told not to do that
either (`truncate` and `shift`, since release 0.12.6: https://github.com/ollama/ollama/pull/12582).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.language import Language
from convo.clients.wire import (
    LENGTH,
    MESSAGE_OVERHEAD,
    NDJSON,
    STOP,
    Count,
    Outgoing,
    Page,
    Piece,
    Shape,
    bare_name,
    beside_output,
    known,
    limited,
    parsed,
    read,
    turns_of,
)
from convo.errors import BadModelResponse
from convo.values import Candidate, Model, Usage

DEFAULT_WINDOW = 4096
"""The smallest window that a server runs a model with when nobody says otherwise (docs/faq.md of Ollama)."""

_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)

ENDS = {"stop": STOP, "length": LENGTH}

TOO_LONG = (
    "exceeds the context length",
    "exceeds context length",
    "exceeds maximum context length",
    "exceeds the available context size",
    "longer than the context length",
)
"""What its releases say when they may not cut a prompt; there is no code for it."""


class Said(Shape):
    """A message, or what a line adds to it."""

    content: str = ""


class Line(Shape):
    """An answer, or a line of one; the last line tells what it cost, some releases without what was cached."""

    message: Said | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: Count = None
    eval_count: Count = None
    model: str | None = None


class Described(Shape):
    """What a model is."""

    parameters: str = ""
    """Lines of its file, such as "num_ctx 8192"."""
    model_info: Mapping[str, Any] = {}


class Listed(Shape):
    """A model of the list."""

    name: str


class Listing(Shape):
    """The list: what is on this machine."""

    models: tuple[Listed, ...]


@dataclass(frozen=True)
class Ollama(Language):
    """The codec of /api/chat."""

    provider: str = "ollama"
    num_ctx: int | None = None
    """The window in tokens that its models are run with; None leaves it to their files and the server."""

    framing = NDJSON
    too_long = TOO_LONG
    lists_limits = False
    cuts_prompts = True
    """Releases before 0.12.6 do not know `truncate`."""

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for one candidate."""
        given = self.accepted(request)
        given.pop("candidate_count", None)
        options = {} if self.num_ctx is None else {"num_ctx": self.num_ctx}
        names = {"max_output_tokens": "num_predict", "stop_sequences": "stop"}
        options |= {names.get(name, name): value for name, value in given.items()}
        messages = [{"role": "system", "content": request.context}] if request.context else []
        messages += [{"role": role, "content": text} for role, text in turns_of(request, ("user", "assistant"))]
        body: dict[str, Any] = {
            "model": bare_name(request.model),
            "messages": messages,
            "stream": streamed,
            "truncate": False,
            "shift": False,
            **({"options": options} if options else {}),
        }
        return Outgoing("/api/chat", body)

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Line, answer, self.provider)
        if told.message is None or not told.done:
            raise BadModelResponse(f"{self.provider} answered with no message, or half of one")
        text = told.message.content
        candidates = (Candidate(0, text, known(told.done_reason, ENDS)),) if text else ()
        return ChatReply(candidates, _usage(told), served_by=told.model)

    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what a line brings: text, and with the last one why it ends and what it cost."""
        answer = parsed(piece.data, self.provider)
        if isinstance(answer, dict) and answer.get("error"):
            raise self.error(200, answer)
        told = read(Line, answer, self.provider)
        text = told.message.content if told.message else ""
        if told.done:
            end = known(told.done_reason, ENDS) or ""
            yield Delta(text, finish_reason=end, usage=_usage(told), served_by=told.model)
        elif text:
            yield Delta(text)

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        return Outgoing("/api/show", {"model": bare_name(name)})

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits: of the window that it is run with, which also has to hold the answer.

        That is the `num_ctx` that is asked for, else the one of its file. Without any the server decides, by its
        memory; it never runs less than DEFAULT_WINDOW, unless the model was trained with less.
        """
        told = read(Described, answer, self.provider)
        found = _NUM_CTX.search(told.parameters)
        trained = [each for key, each in told.model_info.items() if key.endswith(".context_length")]
        sizes = [each for each in trained if isinstance(each, int) and each > 0]
        window = self.num_ctx or (int(found[1][:12]) if found else min([DEFAULT_WINDOW, *sizes]))
        if window <= 1:
            return None
        return Model(name, beside_output(window), message_overhead=MESSAGE_OVERHEAD, context_window=window)

    def catalog(self, mark: str | None) -> Outgoing:  # noqa: ARG002 - there is one page
        """Return the request for the models on its machine."""
        return Outgoing("/api/tags")

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return what it lists: names alone; each has to be asked for its limits."""
        told = read(Listing, answer, self.provider).models
        return Page(tuple(limited(f"{self.provider}/{each.name}", 0, user_first=self.user_first) for each in told))


def _usage(line: Line) -> Usage | None:
    counted = (line.prompt_eval_count, line.eval_count)
    return None if counted == (None, None) else Usage(*counted)
