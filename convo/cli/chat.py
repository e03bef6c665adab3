"""`convo chat`: one message and its answer, or a conversation at the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli.conversations import open_store
from convo.cli.options import (
    ARROW,
    AsJson,
    Candidates,
    MaxOutput,
    ModelName,
    Stop,
    Temperature,
    TopK,
    TopP,
    given,
    pair,
    piped,
)
from convo.cli.selection import Selection

if TYPE_CHECKING:
    from convo.conversation import Conversation
    from convo.exchange import Unfinished
    from convo.facts import Reply
    from convo.stores import Store

REMEDY = "add --on-unfinished resume to ask again, or --on-unfinished discard to drop it"

Text = Annotated[
    str | None, typer.Argument(metavar="TEXT", help="The message; without it, what is piped in, else you type.")
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Go on with the conversation of that name, or begin it.")
]
Id = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Go on with that one: an id, its beginning, or a name.")
]
Latest = Annotated[bool, typer.Option("--continue", "-c", help="Go on with the latest active one.")]
Context = Annotated[
    str | None, typer.Option("--context", metavar="TEXT", help="What the model is told first; for a new conversation.")
]
Examples = Annotated[
    list[str] | None,
    typer.Option("--example", metavar=f"'INPUT {ARROW} OUTPUT'", help="How to answer; repeatable; for a new one."),
]
TokenLimit = Annotated[
    int | None, typer.Option(metavar="TOKENS", help="The longest prompt, instead of the model's limit.")
]
OnUnfinished = Annotated[
    str, typer.Option(metavar="raise|resume|discard", help="What to do about a turn that has no answer yet.")
]


def chat(
    context: typer.Context,
    text: Text = None,
    name: Name = None,
    id: Id = None,
    latest: Latest = False,
    model: ModelName = None,
    prompt_context: Context = None,
    example: Examples = None,
    temperature: Temperature = None,
    candidates: Candidates = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_output_tokens: MaxOutput = None,
    stop: Stop = None,
    input_token_limit: TokenLimit = None,
    on_unfinished: OnUnfinished = "raise",
    as_json: AsJson = False,
) -> None:
    """Send a message and print the answer.

    Settings that are given for a conversation that is there already hold from now on; its context and its examples
    are fixed.
    """
    settings = given(model=model, temperature=temperature, candidate_count=candidates, top_p=top_p, top_k=top_k)
    settings |= given(max_output_tokens=max_output_tokens, stop_sequences=stop or None)
    settings |= given(input_token_limit=input_token_limit)
    fixed = given(context=prompt_context, examples=[pair(each) for each in example or ()] or None)
    selection = Selection(context.obj["owner"], name, id, latest, settings, fixed)
    if text is None and not sys.stdin.isatty():
        text = piped()
    _check(text, on_unfinished, as_json=as_json)
    with open_store(context) as store, _selected(store, selection) as talk:
        if text is None:
            from convo.cli.interactive import converse

            converse(store, talk)
        else:
            answer(talk, text, on_unfinished=on_unfinished, as_json=as_json)  # type: ignore[arg-type]  # was checked


def _check(text: str | None, on_unfinished: str, *, as_json: bool) -> None:
    """Refuse what cannot be sent, before anything is opened or stored."""
    from typing import get_args

    from convo import prepare
    from convo.exchange import Unfinished

    prepare.check_choice("on_unfinished", on_unfinished, get_args(Unfinished))
    if text is not None:
        prepare.question(text)
    elif as_json or on_unfinished != "raise":
        raise typer.BadParameter("--json and --on-unfinished need a TEXT: when you type there are /resume and /discard")


@contextlib.contextmanager
def _selected(store: Store, selection: Selection) -> Iterator[Conversation]:
    """Yield the conversation that was asked for; a new one in which nothing was said is not kept."""
    talk, is_new = selection.take(store)
    try:
        yield talk
    finally:
        if is_new and talk.refresh().record.turn_count == 0:
            store.delete(talk.id, owner=talk.owner)


def answer(
    talk: Conversation,
    text: str,
    *,
    on_unfinished: Unfinished = "raise",
    as_json: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Send one message and print the answer; `settings` are for this one only."""
    from convo.cli.output import note
    from convo.errors import ModelError, TurnUnfinished

    try:
        show_answer(talk, text, on_unfinished=on_unfinished, as_json=as_json, settings=settings)
    except TurnUnfinished as error:
        raise error.with_remedy(REMEDY) from None
    except ModelError as error:
        if error.conversation is not None:
            error.add_note(f"turn {error.turn} of {error.conversation} is kept, without an answer: {_again(talk)}")
        raise
    except KeyboardInterrupt:
        kept = f"the message is kept, without an answer: {_again(talk)}"
        note(f"stopped; {kept if is_unanswered(talk) else 'nothing was stored'}")
        raise


def _again(talk: Conversation) -> str:
    return f"`convo regenerate {talk.id}` asks again"


def show_answer(
    talk: Conversation,
    text: str,
    *,
    on_unfinished: Unfinished = "raise",
    as_json: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Send one message and print the answer: on a terminal as it comes, else when it is whole."""
    how: dict[str, Any] = {"on_unfinished": on_unfinished, **(settings or {})}
    if as_json or not sys.stdout.isatty():
        show_reply(talk.send(text, **how), as_json=as_json)
        return
    from convo.cli.output import say, say_piece

    has_begun = False
    try:
        for piece in talk.stream(text, **how):
            say_piece(piece.text)
            has_begun = True
    finally:
        if has_begun:
            say("")
    if talk.last_reply is not None:
        show_reply(talk.last_reply, is_shown=has_begun)


def is_unanswered(talk: Conversation) -> bool:
    """Return whether the last message has no answer yet."""
    latest = talk.turns(last=1)
    return bool(latest) and latest[0].chosen is None


def show_reply(reply: Reply[Conversation], *, as_json: bool = False, is_shown: bool = False) -> None:
    """Print an answer, unless it stands there already, and on standard error what else there is to know of it."""
    from convo.cli.output import dropped, note, say, say_json

    if as_json:
        say_json(_as_json(reply))
        return
    if not is_shown:
        say(reply.text)
    chosen, has_models = _chosen(reply), len({each.model for each in reply.candidates}) > 1
    for other in reply.candidates:
        if other.index != chosen:
            by = f" ({other.model})" if has_models and other.model else ""
            note(f"candidate {other.index}{by}: {'[erased]' if other.content is None else other.content}")
    left_out = dropped(reply.prompt)
    if left_out:
        note(f"({left_out})")


def _chosen(reply: Reply[Conversation]) -> int | None:
    """Return the index of the candidate that was chosen: two may read the same, and it need not be the first."""
    if len(reply.candidates) == 1:
        return reply.candidates[0].index
    return reply.conversation.turn(reply.turn).chosen


def _as_json(reply: Reply[Conversation]) -> dict[str, Any]:
    prompt = reply.prompt
    names = ("tokens", "limit", "dropped_messages", "dropped_examples")
    return {
        "conversation": reply.conversation.id,
        "name": reply.conversation.name,
        "model": reply.conversation.model,
        "turn": reply.turn,
        "text": reply.text,
        "chosen": _chosen(reply),
        "candidates": reply.candidates,
        "usage": reply.usage,
        "prompt": {each: getattr(prompt, each) for each in names if hasattr(prompt, each)},
    }
