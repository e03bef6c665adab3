"""The names of `google.generativeai.types` that belong to `chat`: values, the shapes that callers may write, an error.

For programs that write `types.Message` as they did there; everything is defined elsewhere.
"""

from __future__ import annotations

from convo.discuss import ChatResponse
from convo.errors import AuthorError
from convo.retry import RequestOptions
from convo.shapes import (
    AnyModelNameOptions,
    CitationMetadataDict,
    CitationSourceDict,
    ExampleDict,
    ExampleOptions,
    ExamplesOptions,
    MessageDict,
    MessageOptions,
    MessagePromptDict,
    MessagePromptOptions,
    MessagesOptions,
    RequestOptionsType,
    ResponseDict,
    TokenCount,
)
from convo.values import (
    BlockedReason,
    Candidate,
    CitationMetadata,
    CitationSource,
    Example,
    Filter,
    Message,
    MessagePrompt,
    Model,
)

__all__ = [
    "AnyModelNameOptions",
    "AuthorError",
    "BlockedReason",
    "Candidate",
    "ChatResponse",
    "CitationMetadata",
    "CitationMetadataDict",
    "CitationSource",
    "CitationSourceDict",
    "Example",
    "ExampleDict",
    "ExampleOptions",
    "ExamplesOptions",
    "Filter",
    "Message",
    "MessageDict",
    "MessageOptions",
    "MessagePrompt",
    "MessagePromptDict",
    "MessagePromptOptions",
    "MessagesOptions",
    "Model",
    "RequestOptions",
    "RequestOptionsType",
    "ResponseDict",
    "TokenCount",
]
