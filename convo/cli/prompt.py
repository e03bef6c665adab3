"""`convo prompt`: what a model was given for a turn, or would be given next."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli.conversations import open_store
from convo.cli.options import ARROW, AsJson, Reference

if TYPE_CHECKING:
    from convo.audits import LeftOut, SentRequest

SIDES = ("user", "model")


def prompt(
    context: typer.Context,
    reference: Reference,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="The next message, if it had this text.")] = None,
    turn: Annotated[int | None, typer.Option("--turn", metavar="N", min=1, help="What was sent for this turn.")] = None,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", metavar="K", min=1, help="At its K-th attempt; else at the one that was answered."),
    ] = None,
    why: Annotated[bool, typer.Option("--why", help="Tell tokens, what was left out and why, and the proof.")] = False,
    as_json: AsJson = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the bytes that are posted to the service.")] = False,
) -> None:
    """Show exactly what a model was given for a turn, or would be given next.

    Without --turn it is what was sent for a message that has no answer yet, or what the next message would send. No
    model is called.
    """
    from convo.cli.output import say, say_json

    if raw and (why or as_json):
        raise typer.BadParameter("give --raw by itself: it prints the bytes and nothing else")
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        request = talk.request(turn, text=text, attempt=attempt)
    if raw:
        _say_raw(request)
    elif as_json:
        say_json(as_plain(request))
    else:
        for line in [*_listing(request), *(_reasons(request) if why else [])]:
            say(line)


def as_plain(request: SentRequest) -> dict[str, Any]:
    """Return a request as JSON can hold it: its bodies as the texts that they are."""
    from convo.cli.output import plain

    told: dict[str, Any] = plain(request)
    return told | {"margin": request.margin, "bodies": [each.decode() for each in request.bodies]}


def _say_raw(request: SentRequest) -> None:
    """Print the one body: to the byte in a pipe; on a terminal, where it could act, as say() prints texts."""
    from convo.cli.output import say
    from convo.errors import InvalidInput

    if not request.bodies:
        raise InvalidInput(f"there are no bytes to print, as {request.no_bodies}: --json tells the rest")
    if len(request.bodies) > 1:
        raise InvalidInput(f"{len(request.bodies)} requests are posted, one a candidate: --json has them all")
    if sys.stdout.isatty():
        say(request.bodies[0].decode())
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(request.bodies[0])
    sys.stdout.buffer.flush()


def _listing(request: SentRequest) -> Iterator[str]:
    """Yield what was sent, as it is read."""
    tried = f", attempt {request.attempt} of {request.attempts}" if request.attempts > 1 else ""
    when = f"sent for turn {request.turn}{tried}" if request.attempt else f"to be sent for turn {request.turn}"
    yield f"# {when}: {request.asked_as}"
    if request.context is not None:
        yield f"context: {_shown(request.context.content, request.context.gone)}"
    for each in request.examples:
        yield f"example: {_shown(each.input, each.gone)} {ARROW} {_shown(each.output, each.gone)}"
    for message in request.messages:
        yield f"\n[{message.position}] {message.author} ({SIDES[message.side]})"
        yield _shown(message.content, message.gone)


def _shown(content: str | None, gone: str | None) -> str:
    return content if content is not None else f"[{gone or 'not there yet'}]"


def _reasons(request: SentRequest) -> Iterator[str]:
    """Yield what each part of it cost, what it does not hold and why, and what shows that it is what was sent."""
    yield f"\nattempt: {_attempt(request)}"
    if given := request.parameters.as_dict():
        yield "parameters: " + ", ".join(f"{name}={value}" for name, value in given.items())
    if request.context is not None:
        yield f"context: {_count(request.context.tokens)}"
    for each in request.examples:
        yield f"example {each.position}: {_count(each.tokens)}"
    for message in request.messages:
        yield f"[{message.position}]: {_count(message.tokens)}"
    for left_out in request.left_out:
        yield f"left out: {_named(left_out)}: {left_out.why}"
    yield f"tokens: {request.tokens} of the model's own, of {request.limit}; {request.margin} to spare"
    if request.digest is not None:
        yield f"digest: {request.digest.hex()}, {'proven' if request.proven else 'NOT what is stored now'}"
    posted = f"{len(request.bodies)}, to {request.paths[0]}" if request.bodies else f"none, as {request.no_bodies}"
    yield f"requests: {posted}"


def _attempt(request: SentRequest) -> str:
    if request.at is None:
        return "none yet"
    told = f"{request.attempt} of {request.attempts}, {request.kind}, {request.at:%Y-%m-%d %H:%M:%S} UTC"
    told += ", in pieces" if request.streamed else ""
    return told + (", found too long by its service" if request.refused else "")


def _count(tokens: int | None) -> str:
    return "tokens unknown" if tokens is None else f"{tokens} token{'' if tokens == 1 else 's'}"


def _named(left_out: LeftOut) -> str:
    """Return what was left out, by positions."""
    if left_out.what == "context":
        return "the context"
    if left_out.first == left_out.last:
        return f"{left_out.what[:-1]} {left_out.first}"
    return f"{left_out.what} {left_out.first} to {left_out.last}"
