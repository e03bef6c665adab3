"""The picture of a tree of forks: a row a conversation, and turns from left to right, so that one sees where they part.

A column is the same turn in every row, and a row has its own turns only: what a fork shares stands in the rows above
it, up to the corner where it parts. So a fork hangs below the row that *has* the turn it parts after, which need not
be the conversation it was made of: who edits the same turn a hundred times gets a hundred rows below one corner, and
no picture grows wider with its depth. The forks of a row stand below it from the last to part to the first: what leads
down to a later row passes left of everything between.

Where not all turns have room, those stay at which something begins, parts or ends, and the room that is left tells
how far they lie apart. Nothing here prints; a text of a conversation comes out inert, and on one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convo.cli.output import cut
from convo.values import Branch, ConversationRecord


class Marks(NamedTuple):
    """The characters of a picture."""

    own: str
    """A turn that the asked-for conversation has."""
    other: str
    line: str
    gap: str
    """A line along turns that have no room."""
    start: str
    """Before the first turn."""
    corner: str
    tee: str
    bar: str
    ellipsis: str


BOXES = Marks("●", "○", "─", "┄", "┬", "╰", "├", "│", "…")
ASCII = Marks("*", "o", "-", ".", "+", "`", "+", "|", "...")

ABOUT = 24
"""How many columns the text behind the picture has at least, where the picture can do with less."""

SHORT_ID, LONG_ID = 13, 36
"""An id is as long as its shortest form that is unique here."""

LABEL = 24
"""The longest name that is shown whole."""

SAID = 8
"""A beginning that would have less room is left out."""

NOTHING = "(nothing said since)"
ERASED = "[erased]"


@dataclass(frozen=True, slots=True)
class _Row:
    branch: Branch
    parts: int | None
    """The last turn that it shares; None of the root, which shares none."""
    own: float
    """The last of its turns that the asked-for conversation has too."""
    pending: Sequence[int]
    """The turns after which rows further down part, of which the lines pass here."""

    @property
    def record(self) -> ConversationRecord:
        return self.branch.record


def drawing(branches: Sequence[Branch], asked: str, width: int, encoding: str = "utf-8") -> list[str]:
    """Return the lines of the picture of a tree, as Store.tree() tells it; the conversation of id `asked` is marked.

    They fit `width` columns from 40 on, and `encoding` can hold them.
    """
    marks = BOXES if _written("".join(BOXES), encoding) == "".join(BOXES) else ASCII
    id_size = _id_size(branches)
    free = width - id_size - len("*     TURNS  ")
    rows = list(_rows(branches, asked))
    places = _places(branches, max(free - ABOUT, free // 2, 6))
    pictures = [_axis(places, rows), *(_picture(row, places, marks) for row in rows)]
    size = max(map(len, pictures))
    lines = [f"  {'ID':{id_size}}  {pictures[0]:{size}}  TURNS  ABOUT"]
    for row, picture in zip(rows, pictures[1:], strict=True):
        mark = "*" if row.record.id == asked else " "
        about = _about(row, max(free - size, 0), marks.ellipsis, encoding)
        fixed = f"{mark} {row.record.id[:id_size]}  {picture:{size}}  {row.record.turn_count:5}"
        lines.append(f"{fixed}  {about}".rstrip())
    return lines


def _rows(branches: Sequence[Branch], asked: str) -> Iterator[_Row]:
    """Yield the rows from above to below: behind each one those that hang on it."""
    root = branches[0].record.id
    parts = {each.record.id: each.record.forked_at or 0 for each in branches[1:]}
    above: dict[str, str] = {}
    below: dict[str, list[Branch]] = {}
    for each in branches[1:]:
        at, has_it = parts[each.record.id], each.record.forked_from or root
        while has_it != root and parts[has_it] >= at:
            has_it = above[has_it]
        above[each.record.id] = has_it
        below.setdefault(has_it, []).append(each)
    own: dict[str, float] = {asked: float("inf")}
    line = asked
    while line != root:
        own[above[line]] = parts[line]
        line = above[line]
    left, pending = [branches[0]], Counter[int]()
    while left:
        each = left.pop()
        part = parts.get(each.record.id)
        if part is not None:
            pending[part] -= 1
        passing = [turn for turn, count in pending.items() if count]
        yield _Row(each, part, own.get(each.record.id, -1), passing)
        hanging = sorted(below.get(each.record.id, ()), key=lambda each: (each.record.created_at, each.record.id))
        hanging.sort(key=lambda each: parts[each.record.id], reverse=True)
        pending.update(parts[each.record.id] for each in hanging)
        left += reversed(hanging)


def _places(branches: Sequence[Branch], room: int) -> dict[int, int]:
    """Return the columns of the turns that are shown: all of them, or else those that matter, or else close together.

    Turn 0, before the first one, is shown where something parts there.
    """
    counts = {each.record.turn_count for each in branches}
    parting = {each.record.forked_at or 0 for each in branches[1:]}
    first, last = 0 if 0 in parting else 1, max(counts)
    if last < first:
        return {}
    for step in (3, 2):
        if (last - first) * step < room:
            return {turn: (turn - first) * step for turn in range(first, last + 1)}
    follow = {turn + 1 for turn in parting if turn < last}
    shown = sorted(turn for turn in {first, *counts, *parting, *follow} if turn >= first)
    steps = len(shown) - 1
    for step in (3, 2, 1):
        if steps * step < room:
            return _spread(shown, step, room - 1 - steps * step)
    return {turn: place * (room - 1) // steps for place, turn in enumerate(shown)}


def _spread(shown: Sequence[int], step: int, left: int) -> dict[int, int]:
    """Return columns `step` apart, and further apart where turns are left out, by how many these are."""
    missing = shown[-1] - shown[0] + 1 - len(shown)
    return {
        turn: place * step + left * (turn - shown[0] - place) // max(missing, 1) for place, turn in enumerate(shown)
    }


def _picture(row: _Row, places: Mapping[int, int], marks: Marks) -> str:
    """Return the row of a conversation: what passes by, its corner, and its own turns."""
    cells: dict[int, str] = dict.fromkeys((places[turn] for turn in row.pending), marks.bar)
    before, at = 0, -1
    if row.parts is not None:
        before, at = row.parts, places[row.parts]
        cells[at] = marks.tee if at in cells else marks.corner
        cells[at + 1] = marks.line
    elif 0 in places:
        at = places[0]
        cells[at] = marks.start
    for turn, place in places.items():
        if not before < turn <= row.record.turn_count:
            continue
        to = max(place, places.get(row.parts or 0, -1) + 1)  # two turns may share a column, a corner and a turn do not
        if at >= 0:
            joint = marks.line if turn == before + 1 else marks.gap
            cells |= dict.fromkeys(range(at + 1, to), joint)
        cells[to] = marks.own if turn <= row.own else marks.other
        before, at = turn, to
    return "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))


def _axis(places: Mapping[int, int], rows: Sequence[_Row]) -> str:
    """Return the numbers of turns above their columns: those after which something parts go first, then what fits."""
    parting = {row.parts for row in rows if row.parts is not None}
    cells: dict[int, str] = {}
    for turn in sorted(places, key=lambda turn: (turn not in parting, turn)):
        number, place = str(turn), places[turn]
        if cells.keys().isdisjoint(range(place - 1, place + len(number) + 1)):
            cells |= dict(enumerate(number, place))
    return "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))


def _about(row: _Row, room: int, ellipsis: str, encoding: str) -> str:
    """Return the name, and the beginning of the first message that is its own, in at most `room` columns."""
    from rich.cells import cell_len

    label = row.record.name or (row.record.title if row.parts is None else None)
    named = cut(_written(label, encoding), min(LABEL, room), ellipsis) + " " if label else ""
    left = room - cell_len(named)
    beginning = row.branch.beginning
    if beginning is None and row.record.turn_count > (row.record.forked_at or 0):
        said = ERASED if left >= len(ERASED) else ""
    elif beginning is None:
        said = NOTHING if left >= len(NOTHING) else ""
    else:
        said = f'"{cut(_written(beginning, encoding), left - 2, ellipsis)}"' if left >= SAID else ""
    return f"{named}{said}".rstrip()


def _written(text: str, encoding: str) -> str:
    """Return a text as `encoding` can hold it."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _id_size(branches: Sequence[Branch]) -> int:
    """Return how much of an id tells it from the others."""
    ids = [each.record.id for each in branches]
    return next(size for size in range(SHORT_ID, LONG_ID + 1) if len({id[:size] for id in ids}) == len(ids))
