"""The lines of convo's own form as they are read: each one of a kind, with all its values, and no others.

What is too large, too deep, of another type or unknown is refused here, before anything is stored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from convo.text import MAX_TEXT_BYTES

_STRICT = ConfigDict(extra="forbid", strict=True, val_json_bytes="base64", allow_inf_nan=False)

Count = Annotated[int, Field(ge=0, lt=2**31)]
Text = Annotated[str, StringConstraints(pattern=r"\A[^\x00]*\z", max_length=MAX_TEXT_BYTES)]
"""Without NUL, which PostgreSQL has not; halves of surrogate pairs are no UTF-8, and refused anyway."""
Label = Annotated[str, StringConstraints(pattern=r"\A[^\x00]*\z", max_length=1024)]
Id = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z")]
Hash = Annotated[bytes, Field(min_length=32, max_length=32)]


@with_config(_STRICT)
class Parameters(TypedDict, total=False):
    """How a model was to answer."""

    temperature: int | float
    top_p: int | float
    top_k: Count
    candidate_count: Count
    max_output_tokens: Count
    stop_sequences: list[Text]


@with_config(_STRICT)
class ConversationLine(TypedDict):
    """A conversation's own row."""

    type: Literal["conversation"]
    id: Id
    owner: Label
    name: Label | None
    metadata: dict[str, Any]
    user_author: Label
    model_author: Label
    label_salt: Hash
    model: Label
    parameters: Parameters
    input_token_limit: Count | None
    trim: Literal["minimal", "stable"]
    context: Text | None
    context_salt: Hash | None
    context_tokens: Count
    title: Label | None
    title_salt: Hash | None
    first_position: Literal[0, 1]
    turn_count: Count
    fence: Count
    journal_length: Count
    journal_head: Hash
    forked_from: Id | None
    forked_at: Count | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


@with_config(_STRICT)
class ExampleLine(TypedDict):
    """An example."""

    type: Literal["example"]
    position: Count
    tokens: Count
    input: Text | None
    input_salt: Hash | None
    output: Text | None
    output_salt: Hash | None


@with_config(_STRICT)
class TurnLine(TypedDict):
    """A turn."""

    type: Literal["turn"]
    number: Count
    state: Literal["in_flight", "failed", "done"]
    fence: Count
    error: Label | None
    chosen: Count | None
    prev_chosen: Count | None
    window_start: Count | None
    first_example: Count | None
    prompt_tokens: Count | None
    prompt_limit: Count | None
    model: Label | None
    served_by: Label | None
    input_tokens: Count | None
    output_tokens: Count | None
    latency_ms: Count | None
    created_at: AwareDatetime
    finished_at: AwareDatetime | None
    prompt_digest: Hash | None
    parameters: Parameters | None
    held: bool
    request_key: Label | None
    request_hash: Hash | None


@with_config(_STRICT)
class MessageLine(TypedDict):
    """A text of a turn."""

    type: Literal["message"]
    turn: Count
    side: Literal[0, 1]
    candidate: Count
    author: Label
    tokens: Count
    repaired: Count
    finish_reason: Label | None
    created_at: AwareDatetime
    model: Label | None
    salt: Hash | None
    content: Text | None


@with_config(_STRICT)
class EventLine(TypedDict):
    """An event of the journal."""

    type: Literal["event"]
    number: Count
    kind: Label
    digest: Hash
    body: dict[str, Any]


@with_config(_STRICT)
class UnlinkedLine(TypedDict):
    """An event that does not follow from the one before it, to the byte."""

    type: Literal["unlinked"]
    number: Count
    kind: Label
    digest: Hash
    body: bytes


@with_config(_STRICT)
class FirstLine(TypedDict):
    """What a file begins with."""

    type: Literal["convo"]
    version: int


@with_config(_STRICT)
class LastLine(TypedDict):
    """What a file ends with."""

    type: Literal["end"]
    conversations: int
    turns: int
    texts: int
    lines: int
    sha256: Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]


AnyLine = ConversationLine | ExampleLine | TurnLine | MessageLine | EventLine | UnlinkedLine | FirstLine | LastLine

_reader: TypeAdapter[AnyLine] = TypeAdapter(Annotated[AnyLine, Field(discriminator="type")])


def parsed(line: bytes) -> dict[str, Any]:
    """Return the values of a line.

    Raises:
        ValueError: it is none of this form; the error tells which value is wrong, and quotes nothing of it.
    """
    try:
        return _reader.validate_json(line)  # type: ignore[return-value]  # one of these dictionaries
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"][1:])
        msg = f"{where}: {first['msg']}" if where else first["msg"]
        raise ValueError(msg) from None
