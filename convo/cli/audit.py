"""`convo verify` and `convo heads`: whether a store is what its journals tell, and where these stand."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli import EXIT_UNSOUND
from convo.cli.conversations import open_store
from convo.cli.options import AsJson
from convo.cli.progress import shown

if TYPE_CHECKING:
    from convo.audits import Head, Verdict
    from convo.stores import Store

NOT_OF_THESE = "none of the heads is of these conversations"
NOT_ANCHORED = "no heads were given: an end that was cut off, or a journal written anew as a whole, is not found"


def heads(context: typer.Context, as_json: AsJson = False) -> None:
    """Print where the journal of each conversation stands, whoever's: id, number of events, digest of the last one.

    Kept elsewhere, the lines let `convo verify --heads` find what was cut off, written anew or taken away since.
    """
    from convo.cli.output import say, say_json

    with open_store(context) as store:
        if as_json:
            say_json(list(store.heads()))
            return
        for each in store.heads():
            say(str(each))


def verify(
    context: typer.Context,
    references: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Ids, beginnings of ids, or names.")
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="All conversations, whoever's.")] = False,
    heads_file: Annotated[
        str | None, typer.Option("--heads", metavar="FILE", help="Lines of `convo heads` that were kept; - for stdin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare conversations with their journals, and tell what is not as it was told; exit code 6 if anything is.

    Without --heads the most that is found is that a store is self-consistent.
    """
    from convo.cli.output import say_json

    if bool(references) == whole:
        raise typer.BadParameter("name conversations, or say --all", param_hint="ID")
    known = [] if heads_file is None else list(_heads_in(heads_file))
    summary = Summary(has_heads=heads_file is not None)
    with open_store(context) as store, _progress(store, is_shown=whole) as progress:
        owner = context.obj["owner"]
        for verdict in store.verify(*references or (), owner=owner, heads=known, progress=progress):
            summary.add(verdict)
            if as_json and not (whole and verdict.is_sound):
                summary.told.append(verdict)
            if not as_json and not verdict.is_sound:
                _show_faults(verdict)
    if as_json:
        say_json(summary.as_json())
    else:
        _show(summary)
    if summary.unsound:
        raise typer.Exit(EXIT_UNSOUND)


_COUNTED = ("conversations", "events", "turns", "texts", "erased", "redacted", "unanswered", "anchored", "faults")


@dataclass(slots=True)
class Summary:
    """What was found in all conversations together."""

    has_heads: bool
    """Whether heads were given."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    broken: Counter[str] = field(default_factory=Counter)
    """How many conversations break which promise."""
    unsound: int = 0
    told: list[Verdict] = field(default_factory=list)
    """Those that are told one by one."""

    def add(self, verdict: Verdict) -> None:
        """Take notice of a conversation."""
        for name in ("events", "turns", "texts", "erased", "redacted", "unanswered"):
            self.counts[name] += getattr(verdict, name)
        self.counts["conversations"] += 1
        self.counts["faults"] += verdict.fault_count
        self.counts["anchored"] += verdict.anchored_at is not None
        self.broken.update(verdict.broken)
        self.unsound += not verdict.is_sound

    def keeps(self, promise: str) -> bool | None:
        """Return whether a promise is kept; None where nothing was given to tell."""
        from convo.audits import Promise

        if promise == Promise.ANCHORED and not self.counts["anchored"] and not self.broken[promise]:
            return None
        return not self.broken[promise]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs: totals, whether each promise is kept, and the conversations that are told."""
        from convo.audits import Promise

        promises = {str(each): self.keeps(each) for each in Promise}
        return {"sound": not self.unsound, **self.counts, "promises": promises, "verdicts": self.told}


def _heads_in(file: str) -> Iterator[Head]:
    """Yield the heads that a file has, line by line.

    Raises:
        InvalidInput: a line is none, or the file cannot be read.
    """
    from convo.audits import Head
    from convo.errors import InvalidInput

    try:
        with contextlib.nullcontext(sys.stdin) if file == "-" else open(file, encoding="utf-8-sig") as lines:  # noqa: PTH123 - one of two
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        yield Head.parse(line)
                    except InvalidInput as error:
                        raise InvalidInput(f"{file}, line {number}: {error}") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is not what `convo heads` printed: it is no UTF-8") from None


@contextlib.contextmanager
def _progress(store: Store, *, is_shown: bool) -> Iterator[Callable[[int], None] | None]:
    """Yield what takes notice of progress: on a terminal a bar, elsewhere nothing."""
    with shown("verifying", is_wanted=is_shown) as tell:
        if tell is None:
            yield None
            return
        total, read = sum(each.length for each in store.heads()), 0

        def advance(count: int) -> None:
            nonlocal read
            read += count
            tell(read, total)

        yield advance


def _show_faults(verdict: Verdict) -> None:
    from convo.cli.output import say

    say(f"conversation {verdict.conversation}")
    for each in verdict.faults:
        say(f"  {each.promise}: {each}")
    if more := verdict.fault_count - len(verdict.faults):
        say(f"  … and {more} more")


def _show(summary: Summary) -> None:
    from convo.audits import Promise
    from convo.cli.output import counted, say

    counts = summary.counts
    say(f"{counted(counts['conversations'], 'conversation')}: {_contents(counts)}")
    for each in Promise:
        say(f"{each:14}{_state(summary, each)}")
    if summary.unsound:
        say(f"{counted(counts['faults'], 'fault')} in {counted(summary.unsound, 'conversation')}")
    elif not counts["anchored"]:
        say("self-consistent")
    elif counts["anchored"] == counts["conversations"]:
        say("as it was when the heads were kept, and self-consistent since")
    else:
        say("self-consistent; those that had a head are as they were when it was kept")


def _contents(counts: dict[str, int]) -> str:
    from convo.cli.output import counted

    told = [counted(counts["events"], "event"), counted(counts["turns"], "turn"), counted(counts["texts"], "text")]
    told += [f"{counts[name]} {name}" for name in ("erased", "redacted", "unanswered") if counts[name]]
    return ", ".join(told)


def _state(summary: Summary, promise: str) -> str:
    from convo.audits import Promise
    from convo.cli.output import counted

    if broken := summary.broken[promise]:
        return f"broken in {counted(broken, 'conversation')}"
    if promise != Promise.ANCHORED:
        return "kept"
    if not summary.counts["anchored"]:
        return NOT_OF_THESE if summary.has_heads else NOT_ANCHORED
    return f"kept: a head of {summary.counts['anchored']:,} of {summary.counts['conversations']:,} was given"
