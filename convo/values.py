"""The values that convo gives and takes: frozen, plain, quick to build.

They hold facts and no behaviour; nothing here knows of a database, a socket or a clock.
Times are aware UTC datetimes; `tokens` are the base estimate of `convo.tokens` unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

USER, MODEL = 0, 1
"""The two sides of a conversation; names of authors are only labels of them."""

IN_FLIGHT, FAILED, DONE = "in_flight", "failed", "done"
"""The states of a turn: being answered, left without an answer, answered."""

UNANSWERED = "unanswered"
"""The error of a turn that was given without an answer: nobody has asked a model yet."""

STREAM_CUT, CANCELLED = "stream_cut", "cancelled"
BROKEN_OFF = (STREAM_CUT, CANCELLED)
"""Why an answer is not whole: the `finish_reason` of a candidate that is kept, but can neither be chosen nor sent."""

MINIMAL, STABLE = "minimal", "stable"
"""How the window is trimmed: as little as possible, or in larger steps that keep the beginning of the prompt."""


class Keep:
    """The mark of an argument that was not given, where None has a meaning of its own."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep()


class DictLike(Mapping[str, Any]):
    """A value that also reads as the dictionary which `google.generativeai.types` documents: ``message["content"]``.

    What is unset has no key. Values of one class are equal when all their fields are; beside a dictionary, or a value
    of another class, what they read as counts.
    """

    __slots__ = ()
    KEYS: ClassVar[tuple[str, ...]] = ()
    """The fields that the dictionary has, in its order."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - as a dictionary's
        if key in self.KEYS and (value := getattr(self, key)) is not None:
            return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (key for key in self.KEYS if getattr(self, key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if type(self) is type(other):
            compared = [each.name for each in fields(self) if each.compare]  # type: ignore[arg-type]  # a dataclass
            return all(getattr(self, name) == getattr(other, name) for name in compared)
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, key) for key in self.KEYS))

    def __repr__(self) -> str:
        shown = [each for each in fields(self) if each.repr and getattr(self, each.name) != each.default]  # type: ignore[arg-type]  # a dataclass
        return f"{type(self).__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in shown)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CitationSource(DictLike):
    """Where a part of an answer may come from."""

    KEYS = ("start_index", "end_index", "uri", "license_")

    start_index: int | None = None
    """Of the first byte of that part, in UTF-8."""
    end_index: int | None = None
    """Of the byte after its last one."""
    uri: str | None = None
    license_: str | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CitationMetadata(DictLike):
    """The sources of an answer."""

    KEYS = ("citation_sources",)

    citation_sources: tuple[CitationSource, ...] = ()

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - as a dictionary's
        return list(DictLike.__getitem__(self, key))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Message(DictLike):
    """One text by one author."""

    KEYS = ("author", "content", "citation_metadata")

    author: str = ""
    """Who says it; "" leaves it to the place among other messages."""
    content: str | None = None
    """None once erased."""
    side: int = USER
    tokens: int = 0
    position: int | None = None
    """From 1, alternating user and model; 0 is an opening message by the model. None when not stored."""
    turn: int | None = None
    candidate: int = 0
    """Which of the model's alternatives this is; 0 for a user's message."""
    finish_reason: str | None = None
    repaired: int = 0
    """How many characters of a model's reply had to be replaced before it could be stored."""
    created_at: datetime | None = None
    salt: bytes | None = field(default=None, repr=False, compare=False)
    """Makes the journal's commitment to the content unguessable; erased with it."""
    citation_metadata: CitationMetadata | None = None
    """Of an answer of chat(); none is stored."""
    model: str | None = None
    """Of a stored candidate: the model that gave it, where that is another one than its turn's."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Example(DictLike):
    """An input with the output that the model should have given."""

    KEYS = ("input", "output")

    input: str | None
    output: str | None
    """Each None once erased."""
    tokens: int = 0
    """Of both texts."""
    input_salt: bytes | None = field(default=None, repr=False, compare=False)
    output_salt: bytes | None = field(default=None, repr=False, compare=False)
    position: int | None = field(default=None, repr=False, compare=False)
    """From 0, erased ones counted; None when not stored."""

    def __getitem__(self, key: str) -> Message:
        return Message("", DictLike.__getitem__(self, key))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MessagePrompt(DictLike):
    """What a model is given: a context, examples and messages, both oldest first."""

    KEYS = ("context", "examples", "messages")

    context: str | None = None
    examples: tuple[Example, ...] = ()
    messages: tuple[Message, ...] = ()

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - as a dictionary's
        value = DictLike.__getitem__(self, key)
        return value if isinstance(value, str) else list(value)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidate(DictLike):
    """One of the model's alternative replies, numbered from 0 as stored."""

    KEYS = ("author", "content", "citation_metadata")

    index: int
    content: str | None
    finish_reason: str | None = None
    tokens: int = 0
    repaired: int = 0
    author: str = "1"
    citation_metadata: CitationMetadata | None = None
    """Where parts of it may come from, of a service that tells; none is stored."""
    model: str | None = None
    """The model that gave it, by name, of a stored one; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the provider counted of a call, in its own tokens; None where it does not say."""

    input_tokens: int | None = None
    """Of the prompt, once: where a service gives one candidate a request, it was sent for each of them."""
    output_tokens: int | None = None
    """Of all candidates together, and of what the model thought before."""


class BlockedReason(StrEnum):
    """The documented reasons why content was withheld."""

    BLOCKED_REASON_UNSPECIFIED = "BLOCKED_REASON_UNSPECIFIED"
    SAFETY = "SAFETY"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Filter(DictLike):
    """Why a candidate was withheld."""

    KEYS = ("reason", "message")

    reason: str
    """A BlockedReason where the service's word is one; else that word."""
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the model is to answer; None leaves the choice to the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: tuple[str, ...] | None = None

    def as_dict(self) -> dict[str, float | int | tuple[str, ...]]:
        """Return what is set."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Model:
    """A model and its limits."""

    name: str
    input_token_limit: int
    output_token_limit: int | None = None
    display_name: str = ""
    description: str = ""
    base_model_id: str = ""
    version: str = ""
    supported_generation_methods: tuple[str, ...] = ("generateMessage", "countMessageTokens")
    """In the words of the PaLM API: every model that convo knows can chat."""
    temperature: float | None = None
    """What the model uses when none is asked for, as the two below; None where that is not known."""
    max_temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    context_window: int | None = None
    """The one window, in tokens, that has to hold the prompt and the answer; None where each has a limit of its own.
    `input_token_limit` then leaves room for the longest answer, or a quarter of the window."""
    message_overhead: int = 0
    """Tokens that its service adds to each message, for role marks and the like."""
    user_first: bool = False
    """Whether its service wants the first message of the window to be the user's."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What trimming made of a prompt: what is sent, and how much was left out."""

    tokens: int
    """Of the model's own, as far as they can be known before it has counted them."""
    limit: int
    context: str | None
    examples: tuple[Example, ...]
    """Oldest first."""
    messages: tuple[Message, ...]
    """Oldest first; the last one is the newest user message."""
    dropped_examples: int = 0
    dropped_messages: int = 0
    estimate: int = 0
    """The base estimate of what is sent, with the service's overhead: the tokens, before any factor."""
    first_example: int = field(default=0, compare=False)
    """Position of the first example that is sent; how many there are, erased ones counted, when none is."""


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """What the store remembers of the prompt of a turn: by reference, never a copy of its texts."""

    tokens: int
    limit: int
    window_start: int
    """Position of the first message that was sent."""
    first_example: int
    """Position of the first example that was sent; their number, erased ones counted, when none was."""
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Turn:
    """A user message and the model's candidates."""

    number: int
    state: str
    message: Message | None
    """None only for turn 0, the opening."""
    candidates: tuple[Candidate, ...] = ()
    chosen: int | None = None
    model: str | None = None
    served_by: str | None = None
    parameters: Parameters = Parameters()
    prompt: PromptRecord | None = None
    """None for a turn of a history that was given."""
    usage: Usage | None = None
    latency_ms: int | None = None
    error: str | None = None
    """The type of the error that left the turn without an answer."""
    request_key: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def reply(self) -> Candidate | None:
        """The chosen candidate; None while there is none."""
        return next((candidate for candidate in self.candidates if candidate.index == self.chosen), None)


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """A conversation's own row: what it is, and where its turns and its journal stand."""

    id: str
    owner: str
    name: str | None
    title: str | None
    metadata: Mapping[str, Any]
    model: str
    context: str | None
    context_tokens: int
    parameters: Parameters
    authors: tuple[str, str]
    input_token_limit: int | None
    trim: str
    first_position: int
    """0 with an opening message, else 1."""
    turn_count: int
    fence: int
    version: int
    """The length of the journal."""
    journal_head: bytes = field(repr=False)
    created_at: datetime
    updated_at: datetime
    context_salt: bytes | None = field(default=None, repr=False, compare=False)
    forked_from: str | None = None
    """The id of the conversation that it is a fork of; that one may be gone."""
    forked_at: int | None = None
    """The last turn that both have, 0 for none."""

    @property
    def short_id(self) -> str:
        """The beginning of the id that holds its time: unique among conversations of different milliseconds."""
        return self.id[:13]


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a conversation's journal."""

    number: int
    """From 1, without a gap."""
    kind: str
    body: bytes
    """Canonical JSON: what was hashed."""
    digest: bytes


@dataclass(frozen=True, slots=True)
class Branch:
    """A conversation in the tree of its forks."""

    record: ConversationRecord
    depth: int
    """How many forks lie between it and the root, which has 0."""
    beginning: str | None
    """Of the first message that it does not share with the conversation it is a fork of; None while there is none."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What a person preferred to what."""

    conversation: str
    """Its id."""
    turn: int
    prompt: MessagePrompt
    """What the answers were given to; without the messages that did not fit."""
    chosen: Candidate
    rejected: tuple[Candidate, ...]
    """In the order of their index."""
