"""`convo list`, `convo show`, `convo delete`: what is in the store."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from convo.cli.options import AsJson, Reference

if TYPE_CHECKING:
    from convo.conversation import Conversation
    from convo.stores import Store
    from convo.values import Turn


def open_store(context: typer.Context) -> Store:
    """Return the store that the options before the command name."""
    from convo.stores import Store

    return Store(context.obj["database"])


def list_conversations(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to show.")] = 30,
    as_json: AsJson = False,
) -> None:
    """List conversations, the latest active first."""
    from convo.cli.output import note, plain, say, say_json

    with open_store(context) as store:
        talks = store.list(owner=context.obj["owner"], limit=limit)
        if as_json:
            say_json([plain(talk.record) for talk in talks])
        elif not talks:
            note("there are no conversations yet: `convo chat` begins one")
        elif sys.stdout.isatty():
            for line in _table(talks, store.first_texts(talks), shutil.get_terminal_size().columns):
                say(line)
        else:
            for talk in talks:
                fields = (talk.id, talk.name, talk.record.turn_count, plain(talk.updated_at), talk.model, talk.title)
                print("\t".join("" if each is None else str(each).replace("\t", " ") for each in fields))


def _table(talks: Sequence[Conversation], begin: dict[str, str], width: int) -> list[str]:
    """Return a line a conversation: id, name, turns, age, and what it is about in what room is left."""
    from convo.cli.output import age, columns, cut

    now = datetime.now(UTC)
    rows = [
        (
            talk.record.short_id,
            cut(talk.name or "", 24),
            str(talk.record.turn_count),
            age(talk.updated_at, now),
            _about(talk, begin.get(talk.id)),
        )
        for talk in talks
    ]
    return columns(("ID", "NAME", "TURNS", "AGO", "ABOUT"), rows, width)


def _about(talk: Conversation, beginning: str | None) -> str:
    """Return what a conversation is about: where it parts, and its title or how it begins."""
    said = talk.title or beginning or ("[erased]" if talk.record.turn_count else "")
    return f"(fork at {talk.forked_at}) {said}" if talk.forked_from else said


def show(
    context: typer.Context,
    reference: Reference,
    last: Annotated[int | None, typer.Option("--last", "-n", min=1, help="Only the newest turns.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a conversation: its messages, oldest first."""
    from convo.cli.output import say, say_json

    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        turns = talk.turns(last)
        if as_json:
            messages = talk.messages(None if last is None else 2 * last)
            numbers = {each.number for each in turns} | ({0} if last is None else set())
            shown = [each for each in messages if each.turn in numbers]
            examples = talk.examples()
            say_json({"conversation": talk.record, "examples": examples, "messages": shown, "turns": turns})
            return
        opening = talk.turn(0).reply if last is None and talk.record.first_position == 0 else None
        for line in _heading(talk):
            say(line)
        if opening is not None:
            say(f"\n[0] {opening.author}\n{opening.content or '[erased]'}")
        for each in turns:
            say(_as_text(each))


def _heading(talk: Conversation) -> list[str]:
    lines = [f"# {talk.title or talk.name or 'conversation'}", f"id: {talk.id}"]
    lines += [f"name: {talk.name}"] if talk.name else []
    lines += [f"forked from: {talk.forked_from} after turn {talk.forked_at}"] if talk.forked_from else []
    lines += [f"model: {talk.model}", f"created: {talk.created_at:%Y-%m-%d %H:%M:%S} UTC"]
    if talk.context or talk.record.context_tokens:  # they are counted still when it is erased
        lines.append(f"context: {'[erased]' if talk.context is None else talk.context}")
    for each in talk.examples():
        lines.append(f"example: {each.input} => {each.output}")
    return lines


def _as_text(turn: Turn) -> str:
    """Return a turn as it is read: the user's message, and the chosen reply or why there is none."""
    asked, reply = turn.message, turn.reply
    lines = []
    if asked is not None:
        lines += [f"\n[{asked.position}] {asked.author} (turn {turn.number})"]
        lines += ["[erased]" if asked.content is None else asked.content]
    if reply is not None:
        lines += [f"\n[{2 * turn.number}] {reply.author}", "[erased]" if reply.content is None else reply.content]
        others = len(turn.candidates) - 1
        lines += [f"({others} other candidate{'s' if others > 1 else ''})"] if others else []
    else:
        lines.append(f"\n(no answer: {turn.error or 'the model is being asked'})")
        came = ["[erased]" if each.content is None else each.content for each in turn.candidates]
        lines += [f"(what came of one) {each}" for each in came]
    return "\n".join(lines)


def delete(
    context: typer.Context,
    references: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, beginnings of ids, or names.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete conversations, with their journals, for good."""
    from convo.cli.output import note

    with open_store(context) as store:
        found = [store.get(reference, owner=context.obj["owner"]) for reference in references]
        for talk in {each.id: each for each in found}.values():
            named = f"{talk.id}{f' ({talk.name})' if talk.name else ''}, {talk.record.turn_count} turns"
            if not (yes or confirmed("Delete", named)):
                note(f"kept {named}")
                continue
            store.delete(talk.id, owner=context.obj["owner"])
            note(f"deleted {named}")


def confirmed(what: str, named: str) -> bool:
    """Ask a person whether he wants to delete something, say; without one, refuse."""
    from convo.errors import InvalidInput
    from convo.text import inert

    if not sys.stdin.isatty():
        raise InvalidInput(f"nothing was done: add --yes to {what.lower()} {named}")
    print(f"{what} {inert(named)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
