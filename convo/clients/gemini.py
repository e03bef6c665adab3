"""Google's Gemini: generateContent.

https://ai.google.dev/api/generate-content (v1beta, read November 2026). The context is its system instruction;
examples are turns before the window, which has to begin with the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from convo.clients.base import ChatReply, ChatRequest, Delta
from convo.clients.language import Language
from convo.clients.wire import (
    FILTERED,
    LENGTH,
    MESSAGE_OVERHEAD,
    STOP,
    TOOL,
    Count,
    IfObject,
    Outgoing,
    Page,
    Piece,
    Shape,
    in_query,
    known,
    limited,
    parsed,
    read,
    turns_of,
)
from convo.errors import BadModelResponse
from convo.values import Candidate, CitationMetadata, CitationSource, Filter, Model, Usage

ENDS = {
    "STOP": STOP,
    "MAX_TOKENS": LENGTH,
    "MALFORMED_FUNCTION_CALL": TOOL,
    **dict.fromkeys(["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"], FILTERED),
}

NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "candidate_count": "candidateCount",
    "max_output_tokens": "maxOutputTokens",
    "stop_sequences": "stopSequences",
}

TOO_LONG = ("exceeds the maximum number of tokens",)
"""There is no code for it, but in the message of an INVALID_ARGUMENT."""


class Part(Shape):
    """A part of a text; a thought is none of the answer."""

    text: str = ""
    thought: bool = False


class Content(Shape):
    """What is said."""

    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """The answer's own text."""
        return "".join(each.text for each in self.parts if not each.thought)


class Source(Shape):
    """Where a part of an answer may come from, its places in bytes."""

    start_index: int | None = Field(None, alias="startIndex")
    end_index: int | None = Field(None, alias="endIndex")
    uri: str | None = None
    license: str | None = None


class Citations(Shape):
    """Where an answer may come from."""

    sources: tuple[Source, ...] = Field((), alias="citationSources")


class Choice(Shape):
    """A candidate, whole or in part; without content when it was withheld."""

    index: int = 0
    content: Content = Content()
    finish_reason: str | None = Field(None, alias="finishReason")
    citations: Citations | None = Field(None, alias="citationMetadata")


class Feedback(Shape):
    """What became of the prompt."""

    block_reason: str | None = Field(None, alias="blockReason")


class Counted(Shape):
    """What an answer cost. Thoughts are paid as output."""

    prompt: Count = Field(None, alias="promptTokenCount")
    candidates: Count = Field(None, alias="candidatesTokenCount")
    thoughts: Count = Field(None, alias="thoughtsTokenCount")


class Answer(Shape):
    """An answer, or a piece of one."""

    candidates: tuple[Choice, ...] = ()
    feedback: Feedback | None = Field(None, alias="promptFeedback")
    usage: Annotated[Counted | None, IfObject] = Field(None, alias="usageMetadata")
    model: str | None = Field(None, alias="modelVersion")


@dataclass(frozen=True)
class Gemini(Language):
    """The codec of generateContent."""

    provider: str = "gemini"

    too_long = TOO_LONG
    user_first = True

    def gives_candidates(self, model: str) -> bool:
        """Return whether a model gives several: those before Gemini 3 do, later ones refuse."""
        return model.partition("/")[2].startswith(("gemini-1.5", "gemini-2"))

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the key; never in the address, which is written into logs."""
        return {"x-goog-api-key": key} if key else {}

    def encode(self, request: ChatRequest, *, streamed: bool) -> Outgoing:
        """Return the request for an answer."""
        given = self.accepted(request)
        settings = {NAMES[name]: value for name, value in given.items()}
        body = _prompt(request) | ({"generationConfig": settings} if settings else {})
        verb = "streamGenerateContent?alt=sse" if streamed else "generateContent"
        return Outgoing(f"/v1beta/{resource(request.model)}:{verb}", body)

    def decode(self, answer: Any) -> ChatReply:  # noqa: ANN401 - JSON from outside
        """Return a whole answer."""
        told = read(Answer, answer, self.provider)
        if not told.candidates and told.feedback is None:
            raise BadModelResponse(f"{self.provider} answered with no candidates, and no word why")
        candidates = tuple(
            Candidate(
                each.index,
                each.content.text,
                known(each.finish_reason, ENDS),
                citation_metadata=cited(each.citations),
            )
            for each in sorted(told.candidates, key=lambda each: each.index)
            if each.content.text
        )
        return ChatReply(candidates, _usage(told.usage), tuple(_withheld(told)), told.model)

    def decode_event(self, piece: Piece) -> Iterator[Delta]:
        """Yield what a piece brings: a text for each candidate, and what it cost so far."""
        answer = parsed(piece.data, self.provider)
        if isinstance(answer, dict) and answer.get("error"):
            raise self.error(200, answer)
        told = read(Answer, answer, self.provider)
        for each in told.candidates:
            yield Delta(each.content.text, each.index, known(each.finish_reason, ENDS))
        yield Delta(usage=_usage(told.usage), filters=tuple(_withheld(told)), served_by=told.model)

    def count(self, request: ChatRequest) -> Outgoing:
        """Return the request for how many tokens a prompt has; only inside a whole request its context counts too."""
        model = resource(request.model)
        return Outgoing(
            f"/v1beta/{model}:countTokens", {"generateContentRequest": {"model": model, **_prompt(request)}}
        )

    def counted(self, answer: Any) -> int:  # noqa: ANN401 - JSON from outside
        """Return how many tokens were counted."""
        return read(Tokens, answer, self.provider).total

    def describe(self, name: str) -> Outgoing:
        """Return the request for what a model is."""
        return Outgoing(f"/v1beta/{resource(name)}")

    def described(self, name: str, answer: Any) -> Model | None:  # noqa: ANN401 - JSON from outside
        """Return a model with its limits."""
        return read(Described, answer, self.provider).as_value(name, user_first=self.user_first)

    def catalog(self, mark: str | None) -> Outgoing:
        """Return the request for a page of the service's models, 1,000 being the most."""
        return Outgoing("/v1beta/models?pageSize=1000" + (f"&pageToken={in_query(mark)}" if mark else ""))

    def listed(self, answer: Any) -> Page:  # noqa: ANN401 - JSON from outside
        """Return those models of a page that chat: there are others."""
        return read(Listing, answer, self.provider).as_page(
            self.provider, "generateContent", user_first=self.user_first
        )


class Tokens(Shape):
    """How many tokens a prompt has."""

    total: int = Field(alias="totalTokens")


class Described(Shape):
    """What a model is."""

    display_name: str = Field("", alias="displayName")
    description: str = ""
    version: str = ""
    input_token_limit: Count = Field(None, alias="inputTokenLimit")
    output_token_limit: Count = Field(None, alias="outputTokenLimit")
    temperature: float | None = None
    max_temperature: float | None = Field(None, alias="maxTemperature")
    top_p: float | None = Field(None, alias="topP")
    top_k: int | None = Field(None, alias="topK")

    def as_value(self, name: str, *, user_first: bool) -> Model | None:
        """Return it as convo's own value; None without a limit."""
        if not self.input_token_limit:
            return None
        told = self.model_dump(include=_TOLD)
        return Model(name, self.input_token_limit, message_overhead=MESSAGE_OVERHEAD, user_first=user_first, **told)


class Listed(Described):
    """A model of the list."""

    name: str
    methods: tuple[str, ...] = Field((), alias="supportedGenerationMethods")


class Listing(Shape):
    """A page of the list; without a field when there are no more, or none at all."""

    models: tuple[Listed, ...] = ()
    next_mark: str | None = Field(None, alias="nextPageToken")

    def as_page(self, provider: str, method: str, *, user_first: bool) -> Page:
        """Return those models that have a method."""
        chatting = [each for each in self.models if method in each.methods]
        named = [(f"{provider}/{each.name.removeprefix('models/')}", each) for each in chatting]
        models = (
            each.as_value(name, user_first=user_first) or limited(name, 0, user_first=user_first)
            for name, each in named
        )
        return Page(tuple(models), self.next_mark or None)


_TOLD = Described.model_fields.keys() - {"input_token_limit"}


def _prompt(request: ChatRequest) -> dict[str, Any]:
    turns = turns_of(request, ("user", "model"))
    return {
        "contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns],
        **({"systemInstruction": {"parts": [{"text": request.context}]}} if request.context else {}),
    }


def resource(name: str) -> str:
    """Return a model's name as a path: gemini/x is models/x; models/x and tunedModels/x are as they are."""
    kind, _, bare = name.partition("/")
    kind = kind if kind in ("models", "tunedModels") else "models"
    return f"{kind}/{quote(bare or name, safe='')}"


def cited(citations: Citations | None) -> CitationMetadata | None:
    """Return where an answer may come from, as convo's own value."""
    if citations is None:
        return None
    told = (CitationSource(each.start_index, each.end_index, each.uri, each.license) for each in citations.sources)
    return CitationMetadata(tuple(told))


def _withheld(told: Answer) -> Iterator[Filter]:
    """Yield why the prompt, or a candidate that has no text, was withheld."""
    if told.feedback and told.feedback.block_reason:
        yield Filter(told.feedback.block_reason)
    for each in told.candidates:
        if not each.content.text and known(each.finish_reason, ENDS) == FILTERED:
            yield Filter(str(each.finish_reason))


def _usage(counted: Counted | None) -> Usage | None:
    if counted is None:
        return None
    output = [each for each in (counted.candidates, counted.thoughts) if each is not None]
    return Usage(counted.prompt, sum(output) if output else None)
