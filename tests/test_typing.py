"""What type checkers see: a typed program that uses every public name is accepted, and each wrong use is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import convo
from convo import types

STORES = """
import convo
import io
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from convo import types
from convo.testing import ScriptedClient
from sqlalchemy.orm import Session

with convo.Store("sqlite://", client=ScriptedClient("a", ["b", "c"])) as store:
    talk: convo.Conversation = store.create(
        context="Be brief.", examples=[("i", "o")], messages=["a", "b"], temperature=0.5, metadata={"k": 1}
    )
    reply = talk.send("hi", request_key="k", top_k=3, on_unfinished="resume")
    text: str = reply.text
    usage: convo.Usage | None = reply.usage
    counted: int | None = usage.input_tokens if usage else None
    same: convo.Conversation = reply.conversation.choose(0).update(title=None).refresh()
    window: tuple[convo.Message, ...] = talk.preview("next").messages
    fitted: convo.Fit | convo.PromptRecord | None = reply.prompt
    texts: list[str | None] = [each.content for each in talk.messages(last=2)]
    turns: list[convo.Turn] = talk.turns()
    candidates: tuple[convo.Candidate, ...] = turns[0].candidates
    examples: list[convo.Example] = talk.examples()
    events: list[convo.Event] = talk.events()
    record: convo.ConversationRecord = talk.record
    parameters: convo.Parameters = record.parameters
    names: list[str] = [each.id for each in store.list(limit=5)]
    whole: convo.MessagePrompt = talk.as_prompt("next")
    another: convo.Reply[convo.Conversation] = talk.regenerate(candidate_count=2, model="offline/echo")
    fork: convo.Conversation = talk.fork(at=1, name="fork", context=None, examples=[("i", "o")], model="offline/echo")
    edited: convo.Conversation = talk.edit(1, "ho", temperature=0.5).conversation
    lineage: list[tuple[int, str | None]] = [(each.depth, each.record.forked_from) for each in store.tree(talk.id)]
    preferred: list[convo.Preference] = list(store.preferences(owner=None))
    rejected: list[str | None] = [each.content for each in preferred[0].rejected] + [preferred[0].chosen.model]
    branches: list[convo.Branch] = store.tree(talk.id)
    heads: list[convo.Head] = list(store.heads())
    verdicts: list[convo.Verdict] = [talk.verify(heads=heads), *store.verify(progress=print)]
    faults: list[convo.Fault] = [fault for each in verdicts for fault in each.faults]
    broken: list[convo.Promise] = [fault.promise for fault in faults]
    sent: convo.SentRequest = talk.request(1, attempt=1)
    sent_texts: list[str | None] = [each.content for each in sent.messages] + [each.output for each in sent.examples]
    sent_message: convo.SentMessage = talk.request(text="next").messages[-1]
    sent_example: convo.SentExample | None = sent.examples[0] if sent.examples else None
    sent_context: convo.SentText | None = sent.context
    dropped: tuple[convo.LeftOut, ...] = sent.left_out
    proof: tuple[bool | None, bytes | None, int] = sent.proven, sent.digest, sent.margin
    posted: list[tuple[str, bytes]] = list(zip(sent.paths, sent.bodies))
    gone: convo.Erasure = talk.erase(1, reason="gdpr-17", scrub=False)
    gone = talk.redact("example:0:input", "taken out", candidate=None)
    left: convo.Remains | None = store.prune(timedelta(days=90), owner="acme", dry_run=True).remains
    texts_gone: int = store.forget("acme").texts + gone.conversations
    quoted: tuple[convo.Quote, ...] | None = store.scrub(["taken out"]).quotes
    exported_here: convo.Exported = store.export("chats.md", talk.id, since=timedelta(days=7), progress=print)
    not_written: dict[str, int] = dict(exported_here.left_out)
    came: list[convo.Imported] = []
    report: convo.ImportReport = store.import_(io.BytesIO(), owner="acme", dry_run=True, report=came.append)
    stored: list[str | None] = [each.conversation for each in came if each.fate is convo.Fate.NEW]
    is_whole: bool = report.is_whole and not report.faults
    copied_bytes: int = store.backup(Path("copy.db"))

def rows(session: Session) -> convo.ConversationRecord:
    repository = convo.ConversationRepository(session)
    given = convo.GivenTurn(convo.Message("0", "hi"), [convo.Message("1", "hello", side=1)])
    record = repository.create(convo.NewConversation(model="offline/echo", history=[given]))
    return repository.fork(record, 0, convo.NewFork(name="fork"))

async def main() -> None:
    async with convo.AsyncStore("sqlite://", client=ScriptedClient("a")) as store:
        talk: convo.AsyncConversation = await store.get_or_create("talk", context="Be brief.")
        reply = await talk.send("hi", on_conflict="wait", wait_s=5)
        same: convo.AsyncConversation = await reply.conversation.choose(0)
        async for piece in talk.stream("ho"):
            text: str = piece.text
        last: convo.Reply[convo.AsyncConversation] | None = talk.last_reply
        listed: list[convo.AsyncConversation] = await store.list(limit=5, after=talk)
        prompt: convo.MessagePrompt = await talk.as_prompt()
        sent: convo.SentRequest = await talk.request(1)
        edited: convo.AsyncConversation = (await talk.edit(1, "ho")).conversation
        sound: list[bool] = [each.is_sound async for each in store.verify()]
        lengths: list[int] = [each.length async for each in store.heads()]
        chosen: list[int] = [each.chosen.index async for each in store.preferences()]
        exported: convo.Exported = await store.export(io.BytesIO(), format="html")
        imported: convo.ImportReport = await store.import_("chats.md", format="md")
        kept: convo.AsyncConversation = await store.create_from(await convo.chat_async(prompt=prompt), name="kept")

def said(talk: convo.Conversation) -> list[str]:
    pieces: Sequence[convo.Delta] = list(talk.stream("hi", request_key="k", top_k=3))
    return [piece.text for piece in pieces]
"""

CHATS = """
cited = convo.CitationMetadata((convo.CitationSource(start_index=0, end_index=2, uri="u", license_="MIT"),))
how = convo.RequestOptions(timeout=5, retry=convo.Retry(attempts=3))
response: convo.ChatResponse = convo.chat(
    model=convo.get_model("offline/eliza"),
    context="Be brief.",
    examples=[("i", "o"), {"input": "i", "output": {"content": "o"}}, convo.Example("i", "o")],
    messages=["a", {"author": "1", "content": "b", "citation_metadata": cited}, convo.Message("0", "c")],
    temperature=0.5,
    candidate_count=3,
    top_p=0.9,
    top_k=40,
    client=ScriptedClient("a", "b", "c"),
    request_options=how,
)
last: str | None = response.last
response.last = response.candidates[0]
response.last = "by hand"
response = response.reply({"content": "ho"}, request_options={"timeout": 5})
contents: list[str] = [candidate["content"] for candidate in response.candidates]
reasons: list[str] = [each.reason for each in response.filters if each.reason == convo.BlockedReason.SAFETY]
filters: list[convo.Filter] = response.filters
left_out: int = response.prompt.dropped_messages
saved: types.ResponseDict = response.to_dict()
counted_tokens: int = convo.count_message_tokens(messages="hi", model="offline/echo")["token_count"]
limits: list[int] = [model.input_token_limit for model in convo.list_models()]
listed_models: list[convo.Model] = convo.list_models(provider="offline") + convo.list_models(None)
model: convo.Model = convo.get_model("offline/echo", client=ScriptedClient())
kept: convo.Conversation = store.create_from(response, name="kept", title="t")

async def chatting() -> convo.ChatResponse:
    response = await convo.chat_async(messages="hi", client=Awaited())
    return await response.reply_async("ho", {"retry": convo.Retry()})

shapes: list[
    types.AnyModelNameOptions
    | types.ExampleOptions
    | types.ExamplesOptions
    | types.MessageOptions
    | types.MessagesOptions
    | types.MessagePromptOptions
    | types.RequestOptionsType
] = []
source: types.CitationSourceDict = {"uri": "u"}
sources: types.CitationMetadataDict = {"citation_sources": [source, types.CitationSource(uri="v")]}
message: types.MessageDict = {"content": "hi", "citation_metadata": sources}
pair: types.ExampleDict = {"input": message, "output": types.Message(content="ho")}
prompt: types.MessagePromptDict = {"context": "c", "examples": [pair], "messages": [message]}
count: types.TokenCount = convo.count_message_tokens(prompt=prompt)

def written(response: types.ChatResponse) -> tuple[types.Candidate, types.Filter | None]:
    filters = [each for each in response.filters if each["reason"] is not types.BlockedReason.OTHER]
    return response.candidates[0], filters[0] if filters else None

values: tuple[types.Example, types.MessagePrompt, types.Model, types.CitationMetadata, types.RequestOptions] = (
    types.Example("i", "o"),
    types.MessagePrompt("c", (types.Example("i", "o"),), (types.Message("0", "hi"),)),
    types.Model("m", 4096),
    types.CitationMetadata(),
    types.RequestOptions(timeout=5),
)
strangers: type[types.AuthorError] = convo.AuthorError
"""

CLIENTS = """
from collections.abc import AsyncIterator, Iterator

class Waiting:
    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, input_token_limit=4096)

    def chat(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return convo.ChatReply((convo.Candidate(0, request.messages[-1].content),))

    def stream(self, request: convo.ChatRequest, *, deadline_s: float) -> Iterator[convo.Delta]:
        yield convo.Delta("a", finish_reason="stop")

    def check_parameters(self, name: str, parameters: convo.Parameters) -> None:
        if parameters.stop_sequences:
            raise convo.InvalidParameter("it has no stop_sequences")

    def count_tokens(self, request: convo.ChatRequest, *, deadline_s: float) -> int | None:
        return len(request.messages)

class Awaited:
    def get_model(self, name: str) -> convo.Model:
        return convo.Model(name, input_token_limit=4096)

    async def chat_async(self, request: convo.ChatRequest, *, deadline_s: float) -> convo.ChatReply:
        return convo.ChatReply((), filters=(convo.Filter("SAFETY"),))

    async def stream_async(self, request: convo.ChatRequest, *, deadline_s: float) -> AsyncIterator[convo.Delta]:
        yield convo.Delta("a", finish_reason="stop")

waiting: convo.ChatClient = Waiting()
streaming: convo.StreamingClient = Waiting()
checking: convo.CheckingClient = Waiting()
counting: convo.CountingClient = Waiting()
awaited: convo.AsyncChatClient = Awaited()
streaming_awaited: convo.AsyncStreamingClient = Awaited()
"""

ERRORS = """
try:
    store.get("nobody")
except (convo.ConversationNotFound, convo.AmbiguousId, convo.NotFound, convo.NameTaken) as error:
    retry: bool = error.retryable
except convo.LimitUnknown as error:
    unknown: str = error.model
except convo.PromptTooLong as error:
    over: int = error.tokens - error.limit
except (convo.InvalidText, convo.InvalidFile, convo.InvalidParameter, convo.InvalidInput, convo.AuthorError) as error:
    told: str = str(error)
except convo.TurnInFlight as error:
    pause_s: float = error.retry_after_s
except convo.TurnUnfinished as error:
    state: str = error.state
except (convo.NoOpenTurn, convo.VersionConflict, convo.IdempotencyConflict, convo.LeaseLost) as error:
    number: int = error.turn
except (convo.ChoiceClosed, convo.PromptUnknown, convo.TurnError) as error:
    key: str | None = error.request_key
except (convo.TurnNotFound, convo.CandidateNotFound) as error:
    which: int = error.turn
except convo.ModelNotFound as error:
    wanted: str = error.model
except convo.ReplyBlocked as error:
    why: tuple[str, ...] = error.reasons
except (convo.RateLimited, convo.ServerFailed) as error:
    asked_s: float | None = error.retry_after_s
except (convo.AuthenticationFailed, convo.BadRequest, convo.ContextLengthExceeded, convo.ServiceError) as error:
    status: int = error.status
except convo.ConnectionFailed as error:
    once_more: bool = error.retryable
except (convo.BadModelResponse, convo.StreamCut, convo.CallTimedOut, convo.ModelError) as error:
    again: bool = error.retryable
except (convo.StoreBusy, convo.StoreFull, convo.StoreReadOnly, convo.StoreCorrupt, convo.StoreUnavailable) as error:
    hit: str | None = error.conversation
except (convo.SchemaOutOfDate, convo.CommitUnknown, convo.StoredDataError, convo.StoreError) as error:
    turn: int | None = error.turn
except convo.ConvoError:
    raise
warned: list[type[UserWarning]] = [convo.RetiredModelWarning, convo.PromptCutWarning]
release: str = convo.__version__
"""

# A dictionary by itself passes for the strings that its keys are: the shapes of the page are iterables.
WRONG = [
    "talk.send(5)",
    "talk.send('hi', temprature=1)",
    "number: int = reply.text",
    "store.create(contxt='Be brief.')",
    "talk.send('hi', on_unfinished='retry')",
    "talk.id = 'another'",
    "convo.chat('hi')",
    "talk.stream('hi', on_conflict='queue')",
    "convo.Store('sqlite://', client=object())",
    "none: str = response.last",
    "convo.chat(messages=5)",
    "convo.chat(messages=[5])",
    "convo.chat(messages=[{'role': 'user', 'content': 'hi'}])",
    "convo.chat(messages='hi', temperature='hot')",
    "convo.chat(messages='hi', candidate_count=1.5)",
    "convo.chat(messages='hi', examples=5)",
    "convo.chat(messages='hi', model=5)",
    "convo.chat(messages=types.MessageDict(author='x'))",
    "convo.chat(messages='hi', client=Awaited())",
    "convo.chat(messages='hi', client=object())",
    "convo.chat(messages='hi', request_options={'timeot': 5})",
    "convo.chat(messages='hi', request_options={'retry': 3})",
    "response.last = 5",
    "response.reply(['a', 'b'])",
    "response.candidates[0].content = 'x'",
    "response.candidates[0]['content'] = 'x'",
    "waiter: convo.ChatResponse = convo.chat_async(messages='hi')",
    "store.create_from(response, context='another')",
    "store.create_from('hi')",
    "convo.get_model(5)",
    "convo.list_models(provider=5)",
    "convo.list_models(page_size=5)",
    "counted_as: str = convo.count_message_tokens(messages='hi')['token_count']",
    "saved['filters']",
    "convo.Retry(tries=3)",
    "talk.as_prompt(5)",
    "talk.fork(1)",
    "talk.fork(at='1')",
    "talk.edit('1', 'x')",
    "talk.regenerate('x')",
    "talk.request('1')",
    "talk.request(1, 'text')",
    "talk.erase(1.5)",
    "talk.redact(1)",
    "store.prune(90)",
    "store.export(5)",
    "store.export(io.StringIO())",
    "store.import_('chats.md', owner=5)",
    "store.import_(io.StringIO())",
    "wrong_report: convo.Exported = store.import_('chats.md')",
    "store.forget()",
    "async_fork: convo.AsyncConversation = talk.fork()",
]

PROGRAM = STORES + CLIENTS + CHATS + ERRORS


def wrong_lines(tmp_path: Path, program: str) -> dict[int, str]:
    """Return the numbers of the lines in which mypy finds an error, with what it says.

    It keeps what it found out about convo and the libraries where the daily command does: that takes it twenty seconds.
    """
    path = tmp_path / "program.py"
    path.write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", str(path)]
    found = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False)
    return {int(line): told for line, told in re.findall(r"program\.py:(\d+): error: (.*)", found.stdout)}


def test_a_typed_program_is_accepted_and_each_wrong_use_is_found(tmp_path: Path):
    lines = PROGRAM.count("\n")
    found = wrong_lines(tmp_path, PROGRAM + "\n".join(WRONG) + "\n")
    assert {} == {line: told for line, told in found.items() if line <= lines}
    assert [] == [use for number, use in enumerate(WRONG, lines + 1) if number not in found]


def test_the_typed_program_uses_every_public_name():
    used = set(re.findall(r"\bconvo\.(\w+)", PROGRAM)) | {"types"}
    assert sorted(used - {"testing"}) == convo.__all__
    assert sorted(set(re.findall(r"\btypes\.(\w+)", PROGRAM))) == types.__all__
