"""`convo regenerate`, `choose`, `edit`, `fork`, `tree`: other answers, other messages, and where conversations part.

Nothing that was said is changed: another answer is one more candidate, and another message begins a fork.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli.chat import answer, is_unanswered, show_reply
from convo.cli.conversations import open_store
from convo.cli.options import (
    ARROW,
    AsJson,
    Candidates,
    MaxOutput,
    ModelName,
    NewName,
    Reference,
    Stop,
    Temperature,
    TopK,
    TopP,
    given,
    pair,
    piped,
)

if TYPE_CHECKING:
    from convo.conversation import Conversation
    from convo.errors import TurnUnfinished
    from convo.stores import Store
    from convo.values import Branch, Candidate, Turn

SHORT_ID = 13
"""As long as ConversationRecord.short_id."""

STANDS = "stopped; the answers that there were stand"
NOTHING_NEW = "(nothing was said that had not been said before: the choice stands)"


def regenerate(
    context: typer.Context,
    reference: Reference,
    candidates: Candidates = None,
    temperature: Temperature = None,
    model: ModelName = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_output_tokens: MaxOutput = None,
    stop: Stop = None,
    as_json: AsJson = False,
) -> None:
    """Ask for another answer to the last message, and print it.

    It is chosen, and the answers that there were are kept: `convo choose` goes back to one. The options are for this
    time only. A message that was left without an answer gets its first one.
    """
    settings = given(model=model, temperature=temperature, candidate_count=candidates, top_p=top_p, top_k=top_k)
    settings |= given(max_output_tokens=max_output_tokens, stop_sequences=stop or None)
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        try:
            ask_again(talk, settings, as_json=as_json)
        except KeyboardInterrupt:
            from convo.cli.output import note

            note("stopped; the message has no answer yet" if is_unanswered(talk) else STANDS)
            raise


def ask_again(talk: Conversation, settings: dict[str, Any], *, as_json: bool = False) -> None:
    """Ask for another answer to the last message, or for its first one, and print it."""
    from convo.cli.output import note
    from convo.errors import TurnUnfinished

    before = [len(whole(each)) for each in talk.turns(last=1)]
    try:
        reply = talk.regenerate(**settings)
    except TurnUnfinished:
        reply = talk.resume(**settings)
    show_reply(reply, as_json=as_json)
    if [len(reply.candidates)] == before:
        note(NOTHING_NEW)


def choose(
    context: typer.Context,
    reference: Reference,
    candidate: Annotated[
        int | None, typer.Argument(metavar="CANDIDATE", help="Its number; without it, all candidates are shown.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Choose another answer to the last message, which later ones follow; or show which there are."""
    from convo.cli.output import note, say, say_json

    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        turn = last_answered(talk)
        if candidate is not None:
            turn = talk.choose(candidate).turn(turn.number)
        if as_json:
            of_it = {"conversation": talk.id, "turn": turn.number, "chosen": turn.chosen}
            say_json(of_it | {"candidates": whole(turn)})
        elif candidate is None:
            show_candidates(turn)
        else:
            say("[erased]" if turn.reply is None or turn.reply.content is None else turn.reply.content)
            note(f"candidate {candidate} of turn {turn.number} is chosen")


def last_answered(talk: Conversation) -> Turn:
    """Return the last turn.

    Raises:
        TurnNotFound: there is none.
        TurnUnfinished: it has no answer yet.
    """
    from convo.errors import TurnNotFound, TurnUnfinished

    for turn in talk.turns(last=1):
        if turn.chosen is not None:
            return turn
        error = TurnUnfinished(
            conversation=talk.id, turn=turn.number, request_key=None, state=turn.state, error=turn.error
        )
        raise _with_remedy(error)
    raise TurnNotFound(talk.id, 1)


def whole(turn: Turn) -> list[Candidate]:
    """Return the candidates that can be chosen."""
    from convo.values import BROKEN_OFF

    return [each for each in turn.candidates if each.finish_reason not in BROKEN_OFF]


def show_candidates(turn: Turn) -> None:
    """Print the candidates of a turn: on a terminal side by side, in a pipe a row each."""
    from convo.cli.candidates import ERASED, set_out
    from convo.cli.output import say, say_table

    if sys.stdout.isatty():
        for line in set_out(whole(turn), turn.chosen, shutil.get_terminal_size().columns):
            say(line)
        return
    rows = [
        (str(each.index), "chosen" if each.index == turn.chosen else "", each.model or "", each.content or ERASED)
        for each in whole(turn)
    ]
    say_table((("CANDIDATE", "", "MODEL", "TEXT"), rows))


def edit(
    context: typer.Context,
    reference: Reference,
    turn: Annotated[int, typer.Argument(metavar="TURN", help="The number of the turn: `convo show` has it.")],
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="The message; without it, what is piped in, else you change the old one."),
    ] = None,
    name: NewName = None,
    candidates: Candidates = None,
    temperature: Temperature = None,
    model: ModelName = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_output_tokens: MaxOutput = None,
    stop: Stop = None,
    as_json: AsJson = False,
) -> None:
    """Send another message in a turn's place, in a fork, and print the answer.

    The conversation does not change; the fork goes on under an id of its own. The options after --name are for this
    answer only.
    """
    from convo import prepare

    settings = given(model=model, temperature=temperature, candidate_count=candidates, top_p=top_p, top_k=top_k)
    settings |= given(max_output_tokens=max_output_tokens, stop_sequences=stop or None)
    if text is None and not sys.stdin.isatty():
        text = piped()
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        before = message_of(talk, turn)
        text = _typed(before) if text is None else text
        prepare.question(text)  # before there is a fork for it
        with edited(store, talk, turn, name) as made:
            answer(made, text, as_json=as_json, settings=settings)


def message_of(talk: Conversation, number: int) -> str:
    """Return the message of a turn, as it may be edited; an erased one is empty.

    Raises:
        TurnNotFound: there is none of that number, or it is the opening.
    """
    from convo.errors import TurnNotFound

    message = talk.turn(number).message
    if message is None:
        raise TurnNotFound(talk.id, number)
    return message.content or ""


def _typed(text: str) -> str:
    """Return what a person makes of a text; Ctrl-D leaves all as it is, like Ctrl-C."""
    from convo.cli.editor import editor, retyped

    try:
        return retyped(editor([]), text)
    except EOFError:
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def edited(store: Store, talk: Conversation, turn: int, name: str | None = None) -> Iterator[Conversation]:
    """Yield a fork before a turn, to send a message to it; one in which nothing was said after all is not kept.

    It is Conversation.edit() in two steps: so the answer is shown as it comes, and the fork is known whatever happens.
    """
    made = talk.fork(at=turn - 1, name=name)
    tell_of_fork(made)
    try:
        yield made
    finally:
        if made.refresh().record.turn_count < turn:
            store.delete(made.id, owner=made.owner)


def fork(
    context: typer.Context,
    reference: Reference,
    at: Annotated[
        int | None, typer.Option(metavar="TURN", help="The last turn to take over, 0 for none; else all answered ones.")
    ] = None,
    name: NewName = None,
    prompt_context: Annotated[
        str | None, typer.Option("--context", metavar="TEXT", help="Another context for what comes; '' for none.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option("--example", metavar=f"'INPUT {ARROW} OUTPUT'", help="Other examples; repeatable."),
    ] = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Begin a conversation that goes on from a turn of another one, and print its id."""
    from convo.cli.output import say, say_json
    from convo.errors import TurnUnfinished

    wanted = given(at=at, name=name, context=prompt_context, model=model)
    wanted |= given(examples=[pair(each) for each in example or ()] or None)
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        try:
            made = talk.fork(**wanted)
        except TurnUnfinished as error:
            raise _with_remedy(error) from None
        tell_of_fork(made)
        if as_json:
            say_json(made.record)
        else:
            say(made.id)


def tell_of_fork(made: Conversation) -> None:
    """Say which conversation a fork is, and where it parts."""
    from convo.cli.output import note

    named = f" {made.name!r}" if made.name else ""
    note(f"conversation {made.id}{named}, {made.model}")
    note(f"(a fork of {str(made.forked_from)[:SHORT_ID]} after turn {made.forked_at})")


def _with_remedy(error: TurnUnfinished) -> TurnUnfinished:
    return error.with_remedy(f"`convo regenerate {error.conversation}` asks for one")


def tree(context: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """Show the whole tree of forks that a conversation belongs to, and where they part.

    On a terminal a column is the same turn in every row, and a row has its own turns only. In a pipe a row tells id,
    depth, forked_from, forked_at, turns, name, and the beginning of the first message of its own.
    """
    from convo.cli.output import plain, say_json

    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        if as_json:
            branches = store.tree(talk.id, owner=talk.owner)
            say_json([plain(each.record) | {"depth": each.depth, "beginning": each.beginning} for each in branches])
        else:
            show_tree(store, talk)


def show_tree(store: Store, talk: Conversation) -> None:
    """Print the tree of a conversation: on a terminal as a picture, in a pipe a row a conversation."""
    from convo.cli.output import note, say, say_table
    from convo.cli.tree import drawing

    branches = store.tree(talk.id, owner=talk.owner)
    if not sys.stdout.isatty():
        say_table(
            (("ID", "DEPTH", "FORKED FROM", "FORKED AT", "TURNS", "NAME", "BEGINNING"), list(map(_fields, branches)))
        )
        return
    width = shutil.get_terminal_size().columns
    for line in drawing(branches, talk.id, width, sys.stdout.encoding or "utf-8"):
        say(line)
    root = branches[0].record
    if root.forked_from is not None:
        note(f"({root.short_id} is a fork of {root.forked_from} after turn {root.forked_at}, which is gone)")


def _fields(branch: Branch) -> list[str]:
    record = branch.record
    facts = (record.id, branch.depth, record.forked_from, record.forked_at, record.turn_count, record.name)
    return ["" if each is None else str(each) for each in (*facts, branch.beginning)]
