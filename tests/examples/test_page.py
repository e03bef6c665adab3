"""The page about bots: it quotes the example word for word, and its table says what the examples do."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest

import convo
from convo import errors
from examples import asgi_app, telegram_bot
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "bots.md"
EXAMPLE = Path(telegram_bot.__file__).read_text()
*QUOTED, TRIAL = blocks(PAGE, "python")
LINES = re.findall(r"^\| `.*$", PAGE.read_text(), re.MULTILINE)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]
STATUSES = {name: row[3] for row in ROWS for name in re.findall(r"`([A-Z]\w+)`", row[0])}
"""What the table says that each error comes to."""

SAMPLES: dict[str, convo.ConvoError] = {
    "AuthenticationFailed": convo.AuthenticationFailed("openai", 401),
    "BadModelResponse": convo.BadModelResponse(""),
    "BadRequest": convo.BadRequest("openai", 400),
    "CallTimedOut": convo.CallTimedOut("offline/eliza", 20),
    "CommitUnknown": convo.CommitUnknown(""),
    "ConnectionFailed": convo.ConnectionFailed(),
    "ContextLengthExceeded": convo.ContextLengthExceeded("openai", 400),
    "ConversationNotFound": convo.ConversationNotFound(""),
    "IdempotencyConflict": convo.IdempotencyConflict(conversation="", turn=1, request_key=""),
    "InvalidInput": convo.InvalidInput(),
    "InvalidText": convo.InvalidText(""),
    "LeaseLost": convo.LeaseLost("", conversation="", turn=1),
    "LimitUnknown": convo.LimitUnknown("openai/x"),
    "ModelError": convo.ModelError(),
    "NotFound": convo.NotFound(),
    "PromptTooLong": convo.PromptTooLong(tokens=2, limit=1),
    "RateLimited": convo.RateLimited("openai", 429),
    "ReplyBlocked": convo.ReplyBlocked([]),
    "SchemaOutOfDate": convo.SchemaOutOfDate(),
    "ServerFailed": convo.ServerFailed("openai", 500),
    "ServiceError": convo.ServiceError("openai", 418),
    "StoreBusy": convo.StoreBusy(),
    "StoreCorrupt": convo.StoreCorrupt(),
    "StoreFull": convo.StoreFull(),
    "StoreReadOnly": convo.StoreReadOnly(),
    "StoreUnavailable": convo.StoreUnavailable(),
    "StreamCut": convo.StreamCut("offline/eliza"),
    "TurnInFlight": convo.TurnInFlight(conversation="", turn=1, request_key=None, retry_after_s=1),
    "TurnUnfinished": convo.TurnUnfinished(conversation="", turn=1, request_key=None, state="failed", error=None),
    "VersionConflict": convo.VersionConflict(conversation="", turn=1, version=2, expected=1),
}


def told(error: convo.ConvoError) -> tuple[str, str]:
    """Return what the HTTP interface answers to an error: as the table says it, and the body."""
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"method": "POST", "path": "/", "headers": []}
    anyio.run(asgi_app.Exchange(scope, send, send).fail, error)
    head, body = sent
    return str(head["status"]) + ", `Retry-After`" * (b"retry-after" in dict(head["headers"])), body["body"].decode()


def test_the_page_quotes_the_whole_example_in_its_order():
    code = EXAMPLE.partition('"""\n\n')[2]
    assert [line for line in code.splitlines() if line] == [line for line in "".join(QUOTED).splitlines() if line]


def test_each_block_stands_in_the_example_as_it_is():
    assert [] == [each for each in QUOTED if each not in EXAMPLE]


@pytest.mark.parametrize("name", STATUSES)
def test_the_table_tells_the_status_of_each_error(name):
    assert STATUSES[name] == told(SAMPLES[name])[0]


def test_the_table_has_every_error_that_a_turn_may_come_to():
    beyond = {"AmbiguousId", "AuthorError", "CandidateNotFound", "ChoiceClosed", "ConvoError", "InvalidParameter"}
    beyond |= {
        "InvalidFile",
        "ModelNotFound",
        "NameTaken",
        "NoOpenTurn",
        "PromptUnknown",
        "StoreError",
        "StoredDataError",
        "TurnError",
        "TurnNotFound",
    }
    public = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    public -= {"Sequence", "PromptCutWarning", "RetiredModelWarning"}
    assert public - beyond == STATUSES.keys()


@pytest.mark.parametrize("name", STATUSES)
def test_what_goes_on_in_the_server_is_not_told(name):
    status, body = told(SAMPLES[name])
    assert ("detail" in body) == (status < "500")
