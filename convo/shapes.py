"""The loose shapes that callers may write, as types: those that the reference page of `chat` documents.

`convo.options` makes values of them. Everything here is for type checkers; nothing is ever created.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Required, TypedDict

from convo.retry import RequestOptions, Retry
from convo.values import Candidate, CitationMetadata, CitationSource, Example, Message, MessagePrompt, Model


class CitationSourceDict(TypedDict, total=False):
    """A CitationSource, as a dictionary."""

    start_index: int | None
    end_index: int | None
    uri: str | None
    license_: str | None


class CitationMetadataDict(TypedDict, total=False):
    """A CitationMetadata, as a dictionary."""

    citation_sources: Sequence[CitationSource | CitationSourceDict]


class MessageDict(TypedDict, total=False):
    """A message, as a dictionary. Without an author its place among others tells who says it."""

    author: str | None
    content: Required[str]
    citation_metadata: CitationMetadata | CitationMetadataDict | None


MessageOptions = str | MessageDict | Message | Candidate
MessagesOptions = MessageOptions | Iterable[MessageOptions]


class ExampleDict(TypedDict):
    """An example, as a dictionary."""

    input: MessageOptions
    output: MessageOptions


ExampleOptions = tuple[MessageOptions, MessageOptions] | Iterable[MessageOptions] | ExampleDict | Example
ExamplesOptions = ExampleOptions | Iterable[ExampleOptions]


class MessagePromptDict(TypedDict, total=False):
    """A prompt, as a dictionary."""

    context: str | None
    examples: ExamplesOptions | None
    messages: MessagesOptions | None


MessagePromptOptions = str | Message | Candidate | Iterable[MessageOptions] | MessagePromptDict | MessagePrompt


class RequestOptionsDict(TypedDict, total=False):
    """RequestOptions, as a dictionary."""

    timeout: float | None
    retry: Retry | None


RequestOptionsType = RequestOptions | RequestOptionsDict

AnyModelNameOptions = str | Model


class TokenCount(TypedDict):
    """What count_message_tokens() returns."""

    token_count: int


class ResponseDict(TypedDict):
    """What ChatResponse.to_dict() returns: JSON, in plain lists and dictionaries."""

    model: str
    context: str
    examples: list[dict[str, Any]]
    messages: list[dict[str, Any] | None]
    temperature: float | None
    candidate_count: int | None
    top_p: float | None
    top_k: int | None
    candidates: list[dict[str, Any]]


class ParameterOptions(TypedDict, total=False):
    """How a model is to answer; what is None or missing is left to the model."""

    temperature: float | None
    """At least 0; 0 gives one candidate, always the same where the model can."""
    top_p: float | None
    """Within [0, 1]."""
    top_k: int | None
    """At least 1."""
    candidate_count: int | None
    """Within [1, 8]: how many different replies to ask for, at most."""
    max_output_tokens: int | None
    """At least 1."""
    stop_sequences: Sequence[str] | None
    """Texts at which an answer ends, without them: from 1 to 16, or fewer where the service takes no more."""


class SettingOptions(ParameterOptions, total=False):
    """What of a conversation's settings may change later, beside its name."""

    model: str | None
    """The model that answers; CONVO_MODEL or the embedded one when None."""
    title: str | None
    """What it is about, for people."""
    metadata: Mapping[str, Any] | None
    """What the application keeps with it: a JSON object."""
    input_token_limit: int | None
    """Replaces the model's own limit."""
    trim: str
    """`minimal`, or `stable` to keep the beginning of the prompt for many turns."""


class CreateOptions(SettingOptions, total=False):
    """What a conversation is created with, beside its name and owner."""

    context: str | None
    """What the model is told first. Fixed from here on, as the examples are."""
    examples: ExamplesOptions | None
    opening: str | None
    """A first message, by the model."""
    messages: MessagesOptions | None
    """A history to start from: pairs, the user's message first."""
    authors: Sequence[str]
    """The names of the user's and the model's side."""
