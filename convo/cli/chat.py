"""`convo chat`: one message and its answer, or a conversation at the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli.conversations import AsJson, open_store

if TYPE_CHECKING:
    from convo.conversation import Conversation, Store, Unfinished
    from convo.facts import Reply

ARROW = "=>"
REMEDY = "add --on-unfinished resume to ask again, or --on-unfinished discard to drop it"


def chat(
    context: typer.Context,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="The message; without it, standard input when piped, else you type.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go on with the conversation of that name, or begin it.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Go on with that one: an id, its beginning, or a name.")
    ] = None,
    latest: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the latest active one.")] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model that answers.")] = None,
    prompt_context: Annotated[
        str | None, typer.Option("--context", metavar="TEXT", help="What the model is told first; for a new one.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option("--example", metavar=f"'INPUT {ARROW} OUTPUT'", help="How to answer; repeatable; for a new one."),
    ] = None,
    temperature: Annotated[float | None, typer.Option(metavar="T", help="At least 0.")] = None,
    candidates: Annotated[int | None, typer.Option(metavar="N", help="How many replies to ask for, 1 to 8.")] = None,
    top_p: Annotated[float | None, typer.Option(metavar="P", help="Within 0 and 1.")] = None,
    top_k: Annotated[int | None, typer.Option(metavar="K", help="At least 1.")] = None,
    input_token_limit: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="The longest prompt, instead of the model's limit.")
    ] = None,
    on_unfinished: Annotated[
        str, typer.Option(metavar="raise|resume|discard", help="What to do about a turn that has no answer yet.")
    ] = "raise",
    as_json: AsJson = False,
) -> None:
    """Send a message and print the answer.

    Settings that are given for a conversation that is there already hold from now on; its context and its examples
    are fixed.
    """
    settings: dict[str, Any] = {
        "model": model,
        "temperature": temperature,
        "candidate_count": candidates,
        "top_p": top_p,
        "top_k": top_k,
        "input_token_limit": input_token_limit,
    }
    fixed: dict[str, Any] = {"context": prompt_context, "examples": [_pair(each) for each in example or ()] or None}
    if sum((name is not None, id is not None, latest)) > 1:
        raise typer.BadParameter("give one of --name, --id and --continue")
    if text is None and not sys.stdin.isatty():
        text = _piped()
    with open_store(context) as store:
        talk = _conversation(store, context.obj["owner"], name, id, latest, _given(settings), _given(fixed))
        if text is None:
            from convo.cli.interactive import converse

            converse(talk)
        else:
            answer(talk, text, on_unfinished=on_unfinished, as_json=as_json)  # type: ignore[arg-type]  # send() checks it


def answer(talk: Conversation, text: str, *, on_unfinished: Unfinished = "raise", as_json: bool = False) -> None:
    """Send one message and print the answer."""
    from convo.cli.output import note
    from convo.errors import TurnUnfinished

    try:
        reply = talk.send(text, on_unfinished=on_unfinished)
    except TurnUnfinished as error:
        raise error.with_remedy(REMEDY) from None
    except KeyboardInterrupt:
        note(f"stopped; the message is kept, without an answer: next time, {REMEDY}")
        raise
    show_reply(reply, as_json=as_json)


def show_reply(reply: Reply[Conversation], *, as_json: bool = False) -> None:
    """Print an answer, and on standard error what else there is to know of it."""
    from convo.cli.output import dropped, note, say, say_json

    if as_json:
        say_json(_as_json(reply))
        return
    say(reply.text)
    for other in reply.candidates[1:]:
        note(f"candidate {other.index}: {other.content}")
    left_out = dropped(reply.prompt)
    if left_out:
        note(f"({left_out})")


def _as_json(reply: Reply[Conversation]) -> dict[str, Any]:
    prompt = reply.prompt
    names = ("tokens", "limit", "dropped_messages", "dropped_examples")
    return {
        "conversation": reply.conversation.id,
        "name": reply.conversation.name,
        "model": reply.conversation.model,
        "turn": reply.turn,
        "text": reply.text,
        "candidates": reply.candidates,
        "usage": reply.usage,
        "prompt": {each: getattr(prompt, each) for each in names if hasattr(prompt, each)},
    }


def _conversation(
    store: Store,
    owner: str | None,
    name: str | None,
    id: str | None,
    latest: bool,
    settings: dict[str, Any],
    fixed: dict[str, Any],
) -> Conversation:
    """Return the conversation that was asked for, with its settings, and say which one it is."""
    from convo.cli.output import note
    from convo.errors import NotFound

    known = None
    if id is not None:
        known = store.get(id, owner=owner)
    elif latest:
        known = next(iter(store.list(owner=owner, limit=1)), None)
        if known is None:
            raise NotFound("there is no conversation to go on with: `convo chat TEXT` begins one")
    elif name is not None:
        known = store.find(name, owner=owner)
    talk = _changed(known, settings, fixed) if known else store.create(name=name, owner=owner, **settings, **fixed)
    note(f"conversation {talk.id}{f' {talk.name!r}' if talk.name else ''}, {talk.model}")
    if talk.model == "offline/eliza":
        note("(offline/eliza is a small rule-based program, not a language model: choose one with --model)")
    return talk


def _changed(talk: Conversation, settings: dict[str, Any], fixed: dict[str, Any]) -> Conversation:
    """Apply settings to a conversation that is there already, and say so."""
    from convo.cli.output import note
    from convo.errors import InvalidInput

    if fixed:
        raise InvalidInput("a conversation's context and examples are fixed: begin another one, under another --name")
    before = talk.version
    if settings and talk.update(**settings).version != before:
        note("from now on: " + ", ".join(f"{name}={value}" for name, value in settings.items()))
    return talk


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _pair(example: str) -> tuple[str, str]:
    """Split an example at its arrow."""
    given, arrow, wanted = example.partition(ARROW)
    if not arrow or not given.strip() or not wanted.strip():
        raise typer.BadParameter(f"write 'INPUT {ARROW} OUTPUT', not {example!r}", param_hint="--example")
    return given.strip(), wanted.strip()


def _piped() -> str:
    """Return what was piped in; the line end that echo adds is not part of the message."""
    from convo.errors import InvalidText

    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InvalidText(f"standard input is not UTF-8 at byte {error.start}", position=error.start) from None
