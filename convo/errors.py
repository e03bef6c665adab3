"""Every error that convo raises, one tree.

Callers act on the type; the text names the thing and the remedy, and never holds a message of a conversation.

    ConvoError
    ├── InvalidInput (ValueError)        what was given cannot be used; nothing was stored or paid
    │   ├── InvalidText                  a text that must not enter the store; .position
    │   ├── InvalidFile                  a file that cannot be read or written, or is not what it should be
    │   ├── InvalidParameter             temperature, candidate_count, … outside their range
    │   ├── LimitUnknown                 nobody tells how much a model takes; .model
    │   └── PromptTooLong                context and newest message exceed the limit; .tokens .limit
    ├── AuthorError                      two names on one side, or one name on both
    ├── NotFound (LookupError)
    │   ├── ConversationNotFound         no such id or name, or another owner's
    │   ├── TurnNotFound
    │   ├── CandidateNotFound
    │   └── ModelNotFound (ValueError)   nobody here serves a model of that name
    ├── AmbiguousId                      an id prefix with several matches; .matches
    ├── NameTaken                        the owner has a conversation of that name
    ├── TurnError                        .conversation .turn .request_key .retryable
    │   ├── TurnInFlight                 another sender's turn is being answered; .retry_after_s
    │   ├── TurnUnfinished               a turn was left open: resume() or discard() it; .state .error
    │   ├── NoOpenTurn                   resume() or discard() found nothing to do
    │   ├── VersionConflict              the conversation is not at expected_version; .version
    │   ├── IdempotencyConflict          the same request_key with another text or options
    │   ├── LeaseLost                    the turn was taken over while the model answered
    │   ├── ChoiceClosed                 the choice of an earlier turn stands
    │   └── PromptUnknown                what was sent for a turn cannot be told here
    ├── ModelError                       a model was called, or could have been; .conversation .turn .request_key
    │   ├── ReplyBlocked (ValueError)    no candidate came back; .reasons
    │   ├── BadModelResponse             what came back is not an answer
    │   ├── ServiceError                 the service answered with an error; .status .code .detail .retry_after_s
    │   │   ├── AuthenticationFailed     no key, a wrong one, or one that may not do this
    │   │   ├── RateLimited              too much for now
    │   │   ├── ContextLengthExceeded    the prompt is longer than the model takes
    │   │   ├── BadRequest               the service does not take the request as it is
    │   │   └── ServerFailed             the service is at fault
    │   ├── ConnectionFailed             the service could not be reached
    │   ├── StreamCut                    an answer broke off; what came is kept, beside the turn that is left open
    │   └── CallTimedOut                 no answer before the deadline
    └── StoreError                       .retryable; .conversation .turn .request_key of a turn that it hit
        ├── SchemaOutOfDate              the store's schema is not this release's
        ├── CommitUnknown                the server vanished at a COMMIT: the same call, repeated, tells
        ├── StoreBusy                    another writer held the store too long
        ├── StoreFull
        ├── StoreReadOnly
        ├── StoreCorrupt                 not a database, or a damaged one
        ├── StoreUnavailable             cannot be opened, or the server cannot be reached
        └── StoredDataError              a stored row that this release cannot read
"""

from __future__ import annotations

from collections.abc import Sequence


class ConvoError(Exception):
    """The root of every error that convo raises."""

    retryable = False
    """Whether the same call may succeed later without any change."""


class RetiredModelWarning(UserWarning):
    """The model that was named is no longer served; another one answers."""


class PromptCutWarning(UserWarning):
    """A service counted far fewer tokens than it was sent: it may have left out the beginning without a word."""


class InvalidInput(ConvoError, ValueError):
    """What was given cannot be used. Nothing was stored and nothing was paid."""


class InvalidText(InvalidInput):
    """A text that must not enter the store."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position
        """Index of the first character that is refused; None when the text as a whole is."""


class InvalidFile(InvalidInput):
    """A file that cannot be read or written, or is not what it should be."""


class InvalidParameter(InvalidInput):
    """A model parameter outside its range."""


class LimitUnknown(InvalidInput):
    """Nobody tells how many tokens a model takes, and it is not guessed."""

    def __init__(self, model: str) -> None:
        told = f"nobody tells how many tokens {model} takes: create the conversation with input_token_limit=, give "
        super().__init__(f"{told}chat() a Model that has one, or write it into [limits] of the configuration")
        self.model = model


class PromptTooLong(InvalidInput):
    """The context and the newest message alone exceed the model's limit, or a prompt that was sent before does."""

    def __init__(self, *, tokens: int, limit: int, sent_before: bool = False) -> None:
        what = "the turn's prompt needs" if sent_before else "the context and the newest message need"
        remedy = "edit() the turn to have it trimmed" if sent_before else "shorten the message"
        told = f"{what} {tokens} tokens, and the limit is {limit}: {remedy}"
        super().__init__(f"{told}, or use a model with a larger input_token_limit")
        self.tokens, self.limit = tokens, limit


class AuthorError(ConvoError):
    """Authors must alternate strictly: one name on each side, and not the same."""


class NotFound(ConvoError, LookupError):
    """The thing that was asked for is not there."""


class ConversationNotFound(NotFound):
    """No conversation of this owner has that id, id prefix or name."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no conversation {reference!r}: `convo list` shows those there are")
        self.reference = reference


class TurnNotFound(NotFound):
    """The conversation has no turn of that number."""

    def __init__(self, conversation: str, turn: int) -> None:
        super().__init__(f"conversation {conversation} has no turn {turn}")
        self.conversation, self.turn = conversation, turn


class CandidateNotFound(NotFound):
    """The turn has no candidate of that index, or one that broke off or was erased."""

    def __init__(self, conversation: str, turn: int, candidate: int) -> None:
        super().__init__(f"turn {turn} of conversation {conversation} has no whole candidate {candidate}")
        self.conversation, self.turn, self.candidate = conversation, turn, candidate


class ModelNotFound(NotFound, ValueError):
    """No model of that name is known here."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(f"no model {model!r}: this release serves {', '.join(known)}")
        self.model = model


class AmbiguousId(ConvoError):
    """An id prefix that several conversations share."""

    def __init__(self, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(f"{prefix!r} is the beginning of several ids: {', '.join(matches)}")
        self.prefix = prefix
        self.matches = tuple(matches)


class NameTaken(ConvoError):
    """The owner already has a conversation of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a conversation named {name!r} already: go on with it, or choose another name")
        self.name = name


class TurnError(ConvoError):
    """A turn could not be taken; says of which conversation, turn and request."""

    def __init__(self, message: str, *, conversation: str, turn: int, request_key: str | None = None) -> None:
        super().__init__(message)
        self.conversation = conversation
        self.turn = turn
        self.request_key = request_key


class TurnInFlight(TurnError):
    """Another sender's turn is being answered. Nothing was stored and no model was called."""

    retryable = True

    def __init__(self, *, conversation: str, turn: int, request_key: str | None, retry_after_s: float) -> None:
        told = f"turn {turn} of conversation {conversation} is being answered: "
        told += f"try again in {retry_after_s:.0f} s at most"
        super().__init__(told, conversation=conversation, turn=turn, request_key=request_key)
        self.retry_after_s = retry_after_s


class TurnUnfinished(TurnError):
    """A turn was left without an answer, by an error or a crash: resume() asks again, discard() drops it."""

    def __init__(self, *, conversation: str, turn: int, request_key: str | None, state: str, error: str | None) -> None:
        why = f" ({error})" if error else ""
        told = f"turn {turn} of conversation {conversation} has no answer yet{why}: resume() asks the model again, "
        told += "discard() drops it"
        super().__init__(told, conversation=conversation, turn=turn, request_key=request_key)
        self.state = state
        self.error = error

    def with_remedy(self, remedy: str) -> TurnUnfinished:
        """Return the same error for those who do not call resume() and discard(): a command line, a bot."""
        self.args = (f"turn {self.turn} of conversation {self.conversation} has no answer yet: {remedy}",)
        return self


class NoOpenTurn(TurnError):
    """Every turn of the conversation has its answer."""

    def __init__(self, *, conversation: str, turn: int) -> None:
        super().__init__(f"conversation {conversation} has no unanswered turn", conversation=conversation, turn=turn)


class VersionConflict(TurnError):
    """The conversation changed since the caller read it."""

    def __init__(self, *, conversation: str, turn: int, version: int, expected: int) -> None:
        told = f"conversation {conversation} is at version {version}, not {expected}: read it again"
        super().__init__(told, conversation=conversation, turn=turn)
        self.version = version
        self.expected = expected


class IdempotencyConflict(TurnError):
    """The request key was used before with another text or other options."""

    def __init__(self, *, conversation: str, turn: int, request_key: str) -> None:
        told = f"request key {request_key!r} was used for turn {turn} of conversation {conversation} with another text"
        told += " or other options: use a new key"
        super().__init__(told, conversation=conversation, turn=turn, request_key=request_key)


class LeaseLost(TurnError):
    """The turn was taken over, or discarded, while the model answered; the reply is kept where it still fits."""


class ChoiceClosed(TurnError):
    """Only the last turn's choice can change: later turns follow it."""

    def __init__(self, *, conversation: str, turn: int) -> None:
        told = f"turn {turn} of conversation {conversation} is no longer the last one: its choice stands"
        super().__init__(told, conversation=conversation, turn=turn)


class PromptUnknown(TurnError):
    """What was sent for a turn cannot be told here; the text says why, and where it can."""


class ModelError(ConvoError):
    """A model failed; says at which turn, when it was asked for one."""

    conversation: str | None = None
    turn: int | None = None
    request_key: str | None = None


class ReplyBlocked(ModelError, ValueError):
    """The model returned no candidate."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(f"the model returned no answer (reasons: {', '.join(reasons) or 'none given'})")
        self.reasons = tuple(reasons)


class BadModelResponse(ModelError):
    """What the model returned is not an answer."""

    retryable = True


class ServiceError(ModelError):
    """The service answered with an error."""

    reason = "answered with an error"
    retry_after_s: float | None = None
    """How long the service asks to wait; None when it does not say."""

    def __init__(self, where: str, status: int, *, code: str | None = None, detail: str | None = None) -> None:
        told = f" ({code})" if code else ""
        super().__init__(f"{where} {self.reason}: HTTP {status}{told}")
        self.status = status
        """The HTTP status; 200 of an error that came in the middle of a stream."""
        self.code = code
        """The service's own word for it."""
        self.detail = detail
        """What the service says, for people: it may repeat what was sent, and so stands in no log."""


class AuthenticationFailed(ServiceError):
    """The service knows no such key, or the key may not do this."""

    reason = "does not accept the key: set the provider's environment variable"


class RateLimited(ServiceError):
    """The service has had enough for now."""

    retryable = True
    reason = "wants fewer requests, or has none left for this key"


class ContextLengthExceeded(ServiceError):
    """The prompt is longer than the model takes, though it was trimmed to the limit that is known of it."""

    reason = "finds the prompt too long for the model"


class BadRequest(ServiceError):
    """The service does not take the request as it is."""

    reason = "does not take the request"


class ServerFailed(ServiceError):
    """The service is at fault."""

    retryable = True
    reason = "failed"


class ConnectionFailed(ModelError):
    """The service could not be reached, or hung up before it had answered."""

    retryable = True


class StreamCut(ModelError):
    """The stream of an answer ended before the answer did."""

    retryable = True

    def __init__(self, model: str, *, retryable: bool = True) -> None:
        super().__init__(f"the answer of {model} broke off: what came of it is kept, and the message has no answer yet")
        self.model = model
        self.retryable = retryable


class CallTimedOut(ModelError):
    """The model did not answer before the deadline."""

    retryable = True

    def __init__(self, model: str, deadline_s: float) -> None:
        super().__init__(f"nothing came of {model} within {deadline_s:g} s: try again, or raise deadline_s=")
        self.model = model
        self.deadline_s = deadline_s


class StoreError(ConvoError):
    """The database failed; says of which turn, when it failed while one was taken."""

    conversation: str | None = None
    turn: int | None = None
    request_key: str | None = None


class SchemaOutOfDate(StoreError):
    """The store's schema is not the one of this release."""


class CommitUnknown(StoreError):
    """The connection was lost while a transaction was committed, and did not come back: it may be stored or not."""

    retryable = True

    def __init__(self, where: str) -> None:
        told = f"{where}: the connection was lost at a commit, and whether it is stored is not known: "
        super().__init__(told + "it is safe to send again with the same request_key; without one, look first")


class StoreBusy(StoreError):
    """Another writer held the store for too long."""

    retryable = True


class StoreFull(StoreError):
    """No space is left for the store."""

    retryable = True


class StoreReadOnly(StoreError):
    """The store cannot be written."""


class StoreCorrupt(StoreError):
    """The file is not a database, or a damaged one."""


class StoreUnavailable(StoreError):
    """The store cannot be opened or reached."""

    retryable = True


class StoredDataError(StoreError):
    """A stored row cannot be read by this release."""
