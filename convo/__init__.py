"""Keeps conversations with language models in an SQL database.

The public names are loaded when they are first used: importing convo imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from convo.version import __version__ as __version__

if TYPE_CHECKING:
    from convo import types as types
    from convo.aio.conversation import AsyncConversation as AsyncConversation
    from convo.aio.stores import AsyncStore as AsyncStore
    from convo.audits import Erasure as Erasure
    from convo.audits import Fault as Fault
    from convo.audits import Head as Head
    from convo.audits import LeftOut as LeftOut
    from convo.audits import Promise as Promise
    from convo.audits import Quote as Quote
    from convo.audits import Remains as Remains
    from convo.audits import SentExample as SentExample
    from convo.audits import SentMessage as SentMessage
    from convo.audits import SentRequest as SentRequest
    from convo.audits import SentText as SentText
    from convo.audits import Verdict as Verdict
    from convo.clients.base import AsyncChatClient as AsyncChatClient
    from convo.clients.base import AsyncStreamingClient as AsyncStreamingClient
    from convo.clients.base import ChatClient as ChatClient
    from convo.clients.base import ChatReply as ChatReply
    from convo.clients.base import ChatRequest as ChatRequest
    from convo.clients.base import CheckingClient as CheckingClient
    from convo.clients.base import CountingClient as CountingClient
    from convo.clients.base import Delta as Delta
    from convo.clients.base import StreamingClient as StreamingClient
    from convo.conversation import Conversation as Conversation
    from convo.counting import count_message_tokens as count_message_tokens
    from convo.discuss import ChatResponse as ChatResponse
    from convo.discuss import chat as chat
    from convo.discuss import chat_async as chat_async
    from convo.errors import AmbiguousId as AmbiguousId
    from convo.errors import AuthenticationFailed as AuthenticationFailed
    from convo.errors import AuthorError as AuthorError
    from convo.errors import BadModelResponse as BadModelResponse
    from convo.errors import BadRequest as BadRequest
    from convo.errors import CallTimedOut as CallTimedOut
    from convo.errors import CandidateNotFound as CandidateNotFound
    from convo.errors import ChoiceClosed as ChoiceClosed
    from convo.errors import CommitUnknown as CommitUnknown
    from convo.errors import ConnectionFailed as ConnectionFailed
    from convo.errors import ContextLengthExceeded as ContextLengthExceeded
    from convo.errors import ConversationNotFound as ConversationNotFound
    from convo.errors import ConvoError as ConvoError
    from convo.errors import IdempotencyConflict as IdempotencyConflict
    from convo.errors import InvalidFile as InvalidFile
    from convo.errors import InvalidInput as InvalidInput
    from convo.errors import InvalidParameter as InvalidParameter
    from convo.errors import InvalidText as InvalidText
    from convo.errors import LeaseLost as LeaseLost
    from convo.errors import LimitUnknown as LimitUnknown
    from convo.errors import ModelError as ModelError
    from convo.errors import ModelNotFound as ModelNotFound
    from convo.errors import NameTaken as NameTaken
    from convo.errors import NoOpenTurn as NoOpenTurn
    from convo.errors import NotFound as NotFound
    from convo.errors import PromptCutWarning as PromptCutWarning
    from convo.errors import PromptTooLong as PromptTooLong
    from convo.errors import PromptUnknown as PromptUnknown
    from convo.errors import RateLimited as RateLimited
    from convo.errors import ReplyBlocked as ReplyBlocked
    from convo.errors import RetiredModelWarning as RetiredModelWarning
    from convo.errors import SchemaOutOfDate as SchemaOutOfDate
    from convo.errors import ServerFailed as ServerFailed
    from convo.errors import ServiceError as ServiceError
    from convo.errors import StoreBusy as StoreBusy
    from convo.errors import StoreCorrupt as StoreCorrupt
    from convo.errors import StoredDataError as StoredDataError
    from convo.errors import StoreError as StoreError
    from convo.errors import StoreFull as StoreFull
    from convo.errors import StoreReadOnly as StoreReadOnly
    from convo.errors import StoreUnavailable as StoreUnavailable
    from convo.errors import StreamCut as StreamCut
    from convo.errors import TurnError as TurnError
    from convo.errors import TurnInFlight as TurnInFlight
    from convo.errors import TurnNotFound as TurnNotFound
    from convo.errors import TurnUnfinished as TurnUnfinished
    from convo.errors import VersionConflict as VersionConflict
    from convo.facts import Reply as Reply
    from convo.models import get_model as get_model
    from convo.models import list_models as list_models
    from convo.retry import RequestOptions as RequestOptions
    from convo.retry import Retry as Retry
    from convo.store.branches import NewFork as NewFork
    from convo.store.conversations import NewConversation as NewConversation
    from convo.store.given import GivenTurn as GivenTurn
    from convo.store.repository import ConversationRepository as ConversationRepository
    from convo.stores import Store as Store
    from convo.transfers import Exported as Exported
    from convo.transfers import Fate as Fate
    from convo.transfers import Imported as Imported
    from convo.transfers import ImportReport as ImportReport
    from convo.values import BlockedReason as BlockedReason
    from convo.values import Branch as Branch
    from convo.values import Candidate as Candidate
    from convo.values import CitationMetadata as CitationMetadata
    from convo.values import CitationSource as CitationSource
    from convo.values import ConversationRecord as ConversationRecord
    from convo.values import Event as Event
    from convo.values import Example as Example
    from convo.values import Filter as Filter
    from convo.values import Fit as Fit
    from convo.values import Message as Message
    from convo.values import MessagePrompt as MessagePrompt
    from convo.values import Model as Model
    from convo.values import Parameters as Parameters
    from convo.values import Preference as Preference
    from convo.values import PromptRecord as PromptRecord
    from convo.values import Turn as Turn
    from convo.values import Usage as Usage

_HOMES = {
    "convo.aio.conversation": ("AsyncConversation",),
    "convo.aio.stores": ("AsyncStore",),
    "convo.audits": (
        "Fault",
        "Head",
        "Promise",
        "Verdict",
        "LeftOut",
        "SentExample",
        "SentMessage",
        "SentRequest",
        "SentText",
        "Erasure",
        "Quote",
        "Remains",
    ),
    "convo.discuss": (
        "ChatResponse",
        "chat",
        "chat_async",
    ),
    "convo.counting": ("count_message_tokens",),
    "convo.clients.base": (
        "AsyncChatClient",
        "AsyncStreamingClient",
        "ChatClient",
        "ChatReply",
        "ChatRequest",
        "CheckingClient",
        "CountingClient",
        "Delta",
        "StreamingClient",
    ),
    "convo.conversation": ("Conversation",),
    "convo.errors": (
        "AmbiguousId",
        "AuthenticationFailed",
        "AuthorError",
        "BadModelResponse",
        "BadRequest",
        "CallTimedOut",
        "CandidateNotFound",
        "ChoiceClosed",
        "CommitUnknown",
        "ConnectionFailed",
        "ContextLengthExceeded",
        "ConversationNotFound",
        "ConvoError",
        "IdempotencyConflict",
        "InvalidFile",
        "InvalidInput",
        "InvalidParameter",
        "InvalidText",
        "LeaseLost",
        "LimitUnknown",
        "ModelError",
        "ModelNotFound",
        "NameTaken",
        "NoOpenTurn",
        "NotFound",
        "PromptTooLong",
        "PromptUnknown",
        "RateLimited",
        "PromptCutWarning",
        "ReplyBlocked",
        "RetiredModelWarning",
        "SchemaOutOfDate",
        "ServerFailed",
        "ServiceError",
        "StoreBusy",
        "StoreCorrupt",
        "StoreError",
        "StoreFull",
        "StoreReadOnly",
        "StoreUnavailable",
        "StoredDataError",
        "StreamCut",
        "TurnError",
        "TurnInFlight",
        "TurnNotFound",
        "TurnUnfinished",
        "VersionConflict",
    ),
    "convo.facts": ("Reply",),
    "convo.models": (
        "get_model",
        "list_models",
    ),
    "convo.retry": (
        "RequestOptions",
        "Retry",
    ),
    "convo.store.branches": ("NewFork",),
    "convo.store.conversations": ("NewConversation",),
    "convo.store.given": ("GivenTurn",),
    "convo.store.repository": ("ConversationRepository",),
    "convo.stores": ("Store",),
    "convo.transfers": ("Exported", "Fate", "Imported", "ImportReport"),
    "convo.values": (
        "BlockedReason",
        "Branch",
        "Candidate",
        "CitationMetadata",
        "CitationSource",
        "ConversationRecord",
        "Event",
        "Example",
        "Filter",
        "Fit",
        "Message",
        "MessagePrompt",
        "Model",
        "Parameters",
        "Preference",
        "PromptRecord",
        "Turn",
        "Usage",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(["__version__", "types", *_HOME_OF])  # noqa: PLE0605 - one list, from the table above


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name == "types":
        return importlib.import_module("convo.types")
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return list(__all__)
