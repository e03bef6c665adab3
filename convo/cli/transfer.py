"""`convo export` and `convo import`: conversations into files, and out of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli import EXIT_FAILURE
from convo.cli.conversations import open_store
from convo.cli.options import AsJson, span
from convo.cli.progress import shown

if TYPE_CHECKING:
    from convo.audits import Everyone
    from convo.sinks import Stream
    from convo.stores import Store
    from convo.transfers import Exported, Imported, ImportReport

FORMS = "jsonl (everything; read again by `convo import`), md, html, csv, openai, dpo or sharegpt."

Owner = Annotated[str | None, typer.Option("--owner", metavar="OWNER", help="Whose; as before the command.")]


def export(
    context: typer.Context,
    references: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids, beginnings of ids, or names.")
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="All conversations, whoever's.")] = False,
    owner: Owner = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Those in which something happened since: 2w. s, min, h, d or w.")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", "-f", metavar="FORM", help=FORMS)] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|DIR", help="A folder gets a file for each; - is stdout.")
    ] = "-",
) -> None:
    """Write conversations into a file, a folder or a pipe, as they are at one moment.

    Without --format the file's ending tells the form, else it is jsonl. How much was written, and what the form cannot
    hold, is told on standard error.
    """
    from convo.audits import EVERYONE
    from convo.cli.output import note

    owner = _owner(context, owner)
    if whole and (references or owner is not None):
        raise typer.BadParameter("--all means everyone's: name no conversation and no --owner", param_hint="--all")
    if not (references or whole or since or owner is not None):
        raise typer.BadParameter("name conversations, or say --all, --owner or --since", param_hint="ID")
    whose: str | Everyone | None = EVERYONE if whole else owner
    age = None if since is None else span(since)
    target: str | Stream = _output() if output == "-" else output
    with open_store(context) as store, shown("exporting") as progress:
        done = store.export(target, *references or (), format=form, owner=whose, since=age, progress=progress)
    note(_exported(done, output))


def import_(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="jsonl, md, openai or sharegpt; - is stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store nothing, and tell what would be.")] = False,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Read files that were cut or changed, and do not fail for what is dropped."),
    ] = False,
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Make others of them, with ids and journals of their own.")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", "-f", metavar="FORM", help="Else the file's beginning tells.")
    ] = None,
    owner: Owner = None,
    as_json: AsJson = False,
) -> None:
    """Store the conversations of files; what the store has already is left as it is.

    Each comes whole or not at all, and is verified. With --owner only his are taken, and what tells of no owner becomes
    his. Exit code 1 if anything was dropped, refused or in conflict, unless --lenient.
    """
    from convo.audits import EVERYONE

    owner = _owner(context, owner)
    whose: str | Everyone = EVERYONE if owner is None else owner
    terms: dict[str, Any] = {"dry_run": dry_run, "lenient": lenient, "new_ids": new_ids, "format": form, "owner": whose}
    with open_store(context) as store:
        done = [_import(store, file, terms, as_json=as_json) for file in files]
    if any(each is None or not (each.is_whole or lenient) for each in done):
        raise typer.Exit(EXIT_FAILURE)


def _owner(context: typer.Context, owner: str | None) -> str | None:
    before: str | None = context.obj["owner"]
    return before if owner is None else owner


# ---- what is written


class _Screen:
    """A terminal, on which nothing that is written acts."""

    def write(self, content: bytes) -> None:
        """Show some text."""
        from convo.cli.output import say_piece

        say_piece(content.decode())


def _output() -> Stream:
    """Return where standard output goes: to a pipe in bytes."""
    return _Screen() if sys.stdout.isatty() else sys.stdout.buffer


def _exported(done: Exported, output: str) -> str:
    from convo.cli.output import counted

    told = _counts(done.conversations, done.turns, done.texts)
    where = "" if output == "-" else f" to {output}"
    where += f", in {counted(done.files, 'file')}" if done.files != 1 else ""
    return f"exported {told}{where}{_listed(' (left out: {})', done.left_out)}"


def _counts(conversations: int, turns: int, texts: int) -> str:
    from convo.cli.output import counted

    return f"{counted(conversations, 'conversation')}, {counted(turns, 'turn')}, {counted(texts, 'text')}"


def _listed(around: str, counts: Mapping[str, int]) -> str:
    """Return what was left out, in words; nothing when nothing was."""
    return around.format(", ".join(f"{what}: {count:,}" for what, count in counts.items())) if counts else ""


# ---- what is read


def _import(store: Store, file: str, terms: Mapping[str, Any], *, as_json: bool) -> ImportReport | None:
    """Import a file, and tell what became of it; return None when it cannot be read."""
    from convo.cli.output import note_error, say_json
    from convo.errors import InvalidFile

    told: list[Imported] = []

    def report(one: Imported) -> None:
        if not one.is_whole:
            (told.append if as_json else _tell)(one)

    try:
        with shown("importing") as progress:
            source = sys.stdin.buffer if file == "-" else file
            done = store.import_(source, report=report, progress=progress, **terms)
    except InvalidFile as error:
        note_error(error)
        return None
    if as_json:
        say_json({"file": file, **_totals(done), "faults": told})
    else:
        _show(file, done, dry_run=terms["dry_run"])
    return done


def _tell(one: Imported) -> None:
    """Print what of a conversation is not in the store, and why."""
    from convo.cli.output import say

    about = f"line {one.line}: {one.fate}" + (f" {one.conversation}" if one.conversation else "")
    why = "; ".join(filter(None, [one.why, _listed("dropped: {}", one.dropped)]))
    say(f"{about}: {why}")


def _totals(done: ImportReport) -> dict[str, Any]:
    names = ("new", "present", "conflicts", "refused", "turns", "texts", "dropped")
    return {name: getattr(done, name) for name in names}


def _show(file: str, done: ImportReport, *, dry_run: bool) -> None:
    from convo.cli.output import counted, note

    told = f"{'would import' if dry_run else 'imported'} {_counts(done.new, done.turns, done.texts)} from {file}"
    others = [f"{done.present:,} there already"] if done.present else []
    others += [counted(done.conflicts, "conflict")] if done.conflicts else []
    others += [f"{done.refused:,} refused"] if done.refused else []
    others += [_listed("dropped: {}", done.dropped)] if done.dropped else []
    note("; ".join([told, *others]))
