"""`convo export` and `convo import`: conversations into files, and out of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli import EXIT_FAILURE
from convo.cli.conversations import open_store
from convo.cli.options import AsJson, span
from convo.cli.progress import shown

if TYPE_CHECKING:
    from convo.audits import Everyone
    from convo.errors import InvalidFile
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
    form = _form_written(form, output)
    target: str | Stream = _output() if output == "-" else output
    # a bar has no place among the texts
    is_elsewhere = output != "-" or not sys.stdout.isatty()
    with open_store(context) as store, shown("exporting", is_wanted=is_elsewhere) as progress:
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
    his. Exit code 1 if anything was dropped, refused or in conflict, unless --lenient, and if a file cannot be read.
    """
    from convo.audits import EVERYONE
    from convo.cli.output import say_json

    _check_read(form)
    owner = _owner(context, owner)
    whose: str | Everyone = EVERYONE if owner is None else owner
    terms: dict[str, Any] = {"dry_run": dry_run, "lenient": lenient, "new_ids": new_ids, "format": form, "owner": whose}
    say_more = None if as_json else partial(_tell, of_several=len(files) > 1)
    with open_store(context) as store:
        done = [_import(store, file, terms, say_more) for file in files]
    if as_json:
        say_json(_as_json(done))
    if any(each.error or not (each.report.is_whole or lenient) for each in done):
        raise typer.Exit(EXIT_FAILURE)


def _owner(context: typer.Context, owner: str | None) -> str | None:
    before: str | None = context.obj["owner"]
    return before if owner is None else owner


# ---- which form


def _form_written(form: str | None, output: str) -> str:
    """Return the name of the form that is meant, found before a store is opened."""
    from convo import sinks
    from convo.errors import InvalidInput
    from convo.formats.catalog import form_of

    try:
        return form_of(form, "" if output == "-" else sinks.file_name_of(output))
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--format") from None


def _check_read(form: str | None) -> None:
    from convo.errors import InvalidInput
    from convo.formats.catalog import check_read, form_of

    try:
        if form is not None:
            check_read(form_of(form, ""))
    except InvalidInput as error:
        raise typer.BadParameter(str(error), param_hint="--format") from None


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


@dataclass(slots=True)
class _Read:
    """What became of a file."""

    file: str
    report: ImportReport
    told: list[Imported] = field(default_factory=list)
    """What of it is not wholly in the store, when it is told at the end."""
    error: InvalidFile | None = None
    """Why it was not read, or no further."""


def _import(
    store: Store, file: str, terms: Mapping[str, Any], say_more: Callable[[str, Imported], None] | None
) -> _Read:
    """Import a file, and tell what became of it: at once, or with None at the end."""
    from convo.cli.output import note_error
    from convo.errors import InvalidFile
    from convo.transfers import ImportReport

    read = _Read(file, ImportReport())

    def report(one: Imported) -> None:
        read.report.add(one)
        if not one.is_whole:
            if say_more is None:
                read.told.append(one)
            else:
                say_more(file, one)

    try:
        with shown("importing") as progress:
            store.import_(sys.stdin.buffer if file == "-" else file, report=report, progress=progress, **terms)
    except InvalidFile as error:
        note_error(error)
        read.error = error
    if say_more is not None and (read.error is None or read.report != ImportReport()):
        _show(file, read.report, dry_run=terms["dry_run"])
    return read


def _tell(file: str, one: Imported, *, of_several: bool) -> None:
    """Print what of a conversation is not in the store, and why."""
    from convo.cli.output import say

    where = f"{file}, line {one.line}" if of_several else f"line {one.line}"
    about = f"{one.fate} {one.conversation}" if one.conversation else one.fate
    why = "; ".join(filter(None, [one.why, _listed("dropped: {}", one.dropped)]))
    say(f"{where}: {about}: {why}")


_TOTALS = ("new", "present", "conflicts", "refused", "turns", "texts", "dropped")


def _as_json(done: Sequence[_Read]) -> dict[str, Any]:
    """Return what became of all files, and of each one, for programs."""
    files = [
        {
            "file": each.file,
            "error": None if each.error is None else str(each.error),
            **{name: getattr(each.report, name) for name in _TOTALS},
            "faults": each.told,
        }
        for each in done
    ]
    totals = {name: sum(getattr(each.report, name) for each in done) for name in _TOTALS[:-1]}
    return {**totals, "dropped": sum((each.report.dropped for each in done), Counter()), "files": files}


def _show(file: str, done: ImportReport, *, dry_run: bool) -> None:
    from convo.cli.output import counted, note

    told = f"{'would import' if dry_run else 'imported'} {_counts(done.new, done.turns, done.texts)} from {file}"
    others = [f"{done.present:,} there already"] if done.present else []
    others += [counted(done.conflicts, "conflict")] if done.conflicts else []
    others += [f"{done.refused:,} refused"] if done.refused else []
    others += [_listed("dropped: {}", done.dropped)] if done.dropped else []
    note("; ".join([told, *others]))
