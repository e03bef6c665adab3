"""`convo erase`, `redact`, `forget`, `prune`: texts that go for good, and what is left of them in the files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convo.cli.conversations import confirmed, open_store
from convo.cli.options import AsJson, Reference, span

if TYPE_CHECKING:
    from convo.audits import Erasure, Quote, Remains

Target = "A message's position (`convo show` has it), context, title, example:N, example:N:input or example:N:output."

Candidate = Annotated[int | None, typer.Option(metavar="N", help="Only that one of a reply's candidates.")]
Reason = Annotated[str | None, typer.Option(metavar="CODE", help="A short code for the journal, such as gdpr-17.")]
Scrub = Annotated[
    bool, typer.Option("--scrub/--no-scrub", help="Search the database's files for what went, and remove it there.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def erase(
    context: typer.Context,
    reference: Reference,
    targets: Annotated[list[str], typer.Argument(metavar="TARGET…", help=Target)],
    candidate: Candidate = None,
    reason: Reason = None,
    scrub: Scrub = True,
    as_json: AsJson = False,
) -> None:
    """Erase texts of a conversation for good, with their copies in all forks: all of them, or none.

    A reply's position means all its candidates. The journal tells that the texts were there, and that they went. A
    turn of which a text is erased is in no later prompt.
    """
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        gone = talk.erase(*targets, candidate=candidate, reason=reason, scrub=scrub)
    _show(gone, as_json=as_json)


def redact(
    context: typer.Context,
    reference: Reference,
    target: Annotated[str, typer.Argument(metavar="TARGET", help=Target)],
    replacement: Annotated[str, typer.Argument(metavar="REPLACEMENT", help="What stands there from now on.")],
    candidate: Candidate = None,
    reason: Reason = None,
    scrub: Scrub = True,
    as_json: AsJson = False,
) -> None:
    """Put another text in the place of one for good, in the conversation and in all its forks."""
    with open_store(context) as store:
        talk = store.get(reference, owner=context.obj["owner"])
        gone = talk.redact(target, replacement, candidate=candidate, reason=reason, scrub=scrub)
    _show(gone, as_json=as_json, done="redacted")


def forget(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="Who is to be forgotten.")] = None,
    yes: Yes = False,
    scrub: Scrub = True,
    as_json: AsJson = False,
) -> None:
    """Erase everything of an owner for good: texts, names, metadata, authors and keys.

    The conversations stay, as those of "[forgotten]", with journals that can be checked.
    """
    from convo.cli.output import note

    before = context.obj["owner"]
    owner = before if owner is None else owner
    if not owner:
        raise typer.BadParameter("say who is to be forgotten", param_hint="--owner")
    if before not in (None, owner):
        raise typer.BadParameter(f"it is {before!r} before the command, and {owner!r} behind it", param_hint="--owner")
    with open_store(context) as store:
        if not (yes or confirmed("Forget", f"everything of {owner}")):
            note(f"kept everything of {owner}")
            return
        gone = store.forget(owner, scrub=scrub)
    _show(gone, as_json=as_json)


def prune(
    context: typer.Context,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="A number of s, min, h, d or w: 90d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    yes: Yes = False,
    scrub: Scrub = True,
    as_json: AsJson = False,
) -> None:
    """Erase the texts of all turns that began longer ago, for good; of everyone, or of --owner before the command.

    Of conversations in which nothing happened since, context, examples and title go too. The journals stay.
    """
    from convo.audits import EVERYONE
    from convo.cli.output import note

    owner, age = context.obj["owner"], span(older_than)
    with open_store(context) as store:
        whose = EVERYONE if owner is None else owner
        if not dry_run:
            found = store.prune(age, owner=whose, dry_run=True)
            named = f"{_texts(found)} that are older than {older_than}"
            if found.texts and not (yes or confirmed("Erase", named)):
                note(f"kept {named}")
                return
        gone = store.prune(age, owner=whose, dry_run=dry_run, scrub=scrub)
    _show(gone, as_json=as_json, done="would erase" if dry_run else "erased")


def _show(gone: Erasure, *, as_json: bool, done: str = "erased") -> None:
    """Print what went, and what is left of it."""
    from convo.cli.output import say, say_json

    if as_json:
        say_json(gone)
        return
    if gone.conversations:
        say(f"{done} {_texts(gone)}")
    else:
        say("nothing is there to erase")
    for line in findings(gone.remains) if gone.remains else ():
        say(line)


def _texts(gone: Erasure) -> str:
    from convo.cli.output import counted

    return f"{counted(gone.texts, 'text')} in {counted(gone.conversations, 'conversation')}"


def findings(remains: Remains) -> Iterable[str]:
    """Yield what was found of texts that went, in words."""
    from convo.cli.output import counted

    if remains.files:
        names = ", ".join(Path(each).name for each in remains.files)
        files = f"{counted(len(remains.files), 'file')}, {remains.searched_bytes / 1e6:.1f} MB"
        if remains.texts or remains.too_short:
            yield f"{counted(remains.found_bytes, 'byte')} of it left in {names} ({files} searched)"
        else:
            yield f"{names} ({files}) written anew, and not searched for any text"
    if remains.too_short:
        yield f"({counted(remains.too_short, 'text')} of less than 8 bytes cannot be looked for)"
    if remains.left_out:
        yield f"({counted(remains.left_out, 'text')} more went than were looked for)"
    if remains.quotes is None:
        yield "(the database took too long to tell whether other texts have the same words)"
    elif remains.not_compared:
        yield f"({counted(remains.not_compared, 'text')} not compared with other texts, which would have taken long)"
    for each in remains.quotes or ():
        yield f"the same words stand in {_place(each)}"


def _place(quote: Quote) -> str:
    candidate = "" if quote.candidate is None else f" --candidate {quote.candidate}"
    owner = f" of {quote.owner}" if quote.owner else ""
    return f"{quote.conversation} {quote.target}{candidate}{owner}"
