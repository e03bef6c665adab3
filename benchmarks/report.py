"""What was measured, as tables: aligned for a terminal, or in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts.storage import PACKED
from benchmarks.plan import CONVO, FAR, FLOOR
from benchmarks.systems import ENTRIES

Figures = dict[str, Any]
Results = dict[str, Figures]
"""By part: what it is about, and its figures."""

BEGINNING, END = "<!-- tables -->", "<!-- /tables -->"
"""Between these the tables stand in a page."""

NEAR = 1_000
"""The length of a usual conversation, whose figures stand beside those of a very long one."""

GROWING = "Messages are those at the start: each turn adds two. Of few turns p99 is the longest."

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as they are shown; the first column has names."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def plain(self) -> str:
        """Return it aligned, for a terminal."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(row))
            for row in (list(zip(cells, widths, strict=True)) for cells in (self.head, *self.rows))
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        note = f"\n{self.note}" if self.note else ""
        return f"{self.title}\n\n" + "\n".join(line.rstrip() for line in lines) + f"\n{note}"

    def markdown(self) -> str:
        """Return it in Markdown."""
        rule = ["---", *["--:" for _ in self.head[1:]]]
        rows = [[f"**{cells[0]}**", *cells[1:]] if cells[0] == CONVO else list(cells) for cells in self.rows]
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.head, rule, *rows)]
        note = f"\n{self.note}\n" if self.note else ""
        return f"### {self.title}\n\n" + "\n".join(lines) + f"\n{note}"


def tables(results: Results) -> list[Table]:
    """Return the tables of all parts that were measured."""
    return [table for name, make in MAKERS.items() if name in results for table in make(results[name]["figures"])]


def markdown(results: Results) -> str:
    """Return all tables in Markdown, and how they came about."""
    parts = [f"{each.markdown()}\n" for each in tables(results)]
    return "\n".join([*parts, "### How this was measured\n", *_abouts(results)]) + "\n"


def replace_tables(page: Path, text: str) -> None:
    """Put the tables into a page, in the place of those that are there.

    Raises:
        ValueError: the page does not say where.
    """
    before = page.read_text(encoding="utf-8")
    head, begun, rest = before.partition(BEGINNING)
    _, ended, tail = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{page} has no {BEGINNING} with {END} after it")
    page.write_text(f"{head}{BEGINNING}\n\n{text.strip()}\n\n{END}{tail}", encoding="utf-8")


def _abouts(results: Results) -> Iterable[str]:
    """Yield a line for each set of circumstances, with the parts that it holds for."""
    parts: dict[str, list[str]] = {}
    for name, each in results.items():
        about = each["about"]
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        line = (
            f"{about['date'][:10]}, {about['cpu']}, {about['cores']} cores, Python {about['python']}, "
            f"SQLite {about['sqlite']}"
            + (f", PostgreSQL {about['postgresql']}" if about["postgresql"] else "")
            + f"; {versions}."
            + "".join(f" Left out: {name}, as {why}." for name, why in about["missing"].items())
        )
        parts.setdefault(line, []).append(name)
    for line, names in parts.items():
        yield f"- {', '.join(names)}: {line}"


def number(value: float | None) -> str:
    """Return a number with about three digits that say something."""
    if value is None:
        return NONE
    if 0 < value < 0.1:
        return f"{value:.2g}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def times_floor(value: float | None) -> str:
    """Return a multiple of the floor."""
    return NONE if value is None else f"{number(value)}×"


def _cell(found: Figures, show: Callable[[Figures], str]) -> str:
    """Return a cell of a system that was measured, or what there is instead."""
    return "failed" if "failed" in found else show(found) if found else NONE


def _timed(found: Figures) -> str:
    return f"{number(found['median_ms'])} ({times_floor(found['ratio'])})"


def _note(figures: Iterable[Figures]) -> str:
    """Return why systems failed."""
    failed = {f"{name} failed: {each['failed']}" for some in figures for name, each in some.items() if "failed" in each}
    return " ".join(sorted(failed))


def _systems(figures: Iterable[Figures]) -> list[str]:
    """Return all systems that are in any of the figures, in the usual order."""
    there = {name for each in figures for name in each}
    return [name for name in ("python", *ENTRIES) if name in there]


def _turns(figures: Figures) -> Iterable[Table]:
    for database, by_size in figures.items():
        sizes = list(by_size)
        systems = _systems(by_size.values())

        def time(found: Figures) -> str:
            return f"{number(found['median_ms'])} / {number(found['p99_ms'])} ({times_floor(found['ratio'])})"

        yield Table(
            f"A turn on {NAMES[database]}: median ms / p99 ms (× the floor), by messages in the conversation",
            ["system", *(f"{int(size):,}" for size in sizes)],
            [[name, *(_cell(by_size[size].get(name, {}), time) for size in sizes)] for name in systems],
            " ".join(filter(None, (GROWING, _note(by_size.values())))),
        )
        if str(NEAR) in by_size and len(by_size) > 1:
            yield _growth(database, by_size, systems)
        yield _costs(database, by_size, systems)


def _growth(database: str, by_size: Figures, systems: Sequence[str]) -> Table:
    def growth(name: str, size: str) -> str:
        here, near = by_size[size].get(name, {}), by_size[str(NEAR)].get(name, {})
        return (
            f"{number(here['median_ms'] / near['median_ms'])}×" if "median_ms" in here and "median_ms" in near else NONE
        )

    return Table(
        f"A turn on {NAMES[database]} beside one of the same system with {NEAR:,} messages, by messages",
        ["system", *(f"{int(size):,}" for size in by_size)],
        [[name, *(growth(name, size) for size in by_size)] for name in systems],
    )


def _costs(database: str, by_size: Figures, systems: Sequence[str]) -> Table:
    sizes = [int(size) for size in by_size]
    near = min(sizes, key=lambda size: abs(size - NEAR))
    far = max((size for size in sizes if size <= FAR), default=near)
    shown = {
        "CPU ms": lambda found: number(found["cpu_ms"]),
        "CPU × floor": lambda found: times_floor(found["cpu_ratio"]),
        "statements": lambda found: f"{found['statements']:g}",
        "commits": lambda found: f"{found['commits']:g}",
        "rows read": lambda found: f"{round(found['rows']):,}",
        "messages in the prompt": lambda found: f"{found['prompt']:g}",
        "bytes a message": lambda found: f"{round(found['bytes_per_message']):,}",
        "peak MB": lambda found: f"{round(found['megabytes']):,}",
        "turns timed": lambda found: f"{found['times']}",
    }

    def cell(name: str, show: Callable[[Figures], str]) -> str:
        one, other = (_cell(by_size[str(size)].get(name, {}), show) for size in (near, far))
        return one if one == other else f"{one} / {other}"

    lengths = f"{near:,}" if near == far else f"{near:,} / {far:,}"
    return Table(
        f"What a turn takes on {NAMES[database]}, with {lengths} messages in the conversation",
        ["system", *shown],
        [[name, *(cell(name, show) for show in shown.values())] for name in systems],
    )


def _resume(figures: Figures) -> Iterable[Table]:
    columns = [(database, size) for database, by_size in figures.items() for size in by_size]
    cells = [figures[database][size] for database, size in columns]
    yield Table(
        "To resume by id alone: median ms (× the floor), by messages in the conversation",
        ["system", *(f"{NAMES[database]}, {int(size):,}" for database, size in columns)],
        [[name, *(_cell(each.get(name, {}), _timed) for each in cells)] for name in _systems(cells)],
        _note(cells),
    )


def _crowd(figures: Figures) -> Iterable[Table]:
    for database, by_crowd in figures.items():
        shown = {
            "turns/s": lambda found: number(found["turns_per_s"]),
            "median ms": lambda found: number(found["median_ms"]),
            "p99 ms": lambda found: number(found["p99_ms"]),
        }
        yield Table(
            f"Conversations that take turns at the same time, on {NAMES[database]}",
            ["system", *(f"{crowd} at once: {what}" for crowd in by_crowd for what in shown)],
            [
                [name, *(_cell(each.get(name, {}), show) for each in by_crowd.values() for show in shown.values())]
                for name in _systems(by_crowd.values())
            ],
            _note(by_crowd.values()),
        )


def _start(figures: Figures) -> Iterable[Table]:
    yield Table(
        "A process that is started for one turn: median ms (× the floor)",
        ["system", *(NAMES[database] for database in figures)],
        [
            [name, *(_cell(each.get(name, {}), _timed) for each in figures.values())]
            for name in _systems(figures.values())
        ],
        _note(figures.values()),
    )


def _export(figures: Figures) -> Iterable[Table]:
    shown = {
        "messages/s": lambda found: number(found["messages_per_s"]),
        "peak MB": lambda found: number(found["megabytes"]),
        "MB written": lambda found: number(found["bytes"] / 1e6),
    }
    yield Table(
        "An export of one long conversation to JSON lines",
        ["system", *(f"{NAMES[database]}: {what}" for database in figures for what in shown)],
        [
            [name, *(_cell(each.get(name, {}), show) for each in figures.values() for show in shown.values())]
            for name in _systems(figures.values())
        ],
        _note(figures.values()),
    )


def _fork(figures: Figures) -> Iterable[Table]:
    yield Table(
        "A fork beside the same INSERT … SELECT by hand",
        ["database", "by hand, ms", "convo, ms", "×"],
        [
            [
                NAMES[database],
                number(each[FLOOR]["median_ms"]),
                number(each[CONVO]["median_ms"]),
                times_floor(each[CONVO]["ratio"]),
            ]
            for database, each in figures.items()
        ],
    )


def _storage(figures: Figures) -> Iterable[Table]:
    for database, by_turns in figures.items():
        names = sorted({name for each in by_turns.values() for name in each["ratios"]})
        yield Table(
            f"Bytes of convo's tables, with indexes, for each byte of text on {NAMES[database]}, by turns",
            ["table", *(turns if turns == PACKED else f"{int(turns):,}" for turns in by_turns)],
            [
                *([name, *(number(each["ratios"].get(name)) for each in by_turns.values())] for name in names),
                ["all", *(number(each["ratio"]) for each in by_turns.values())],
                ["bytes of text", *(f"{each['text_bytes']:,}" for each in by_turns.values())],
            ],
        )


def _stable(figures: Figures) -> Iterable[Table]:
    yield Table(
        "How much of a prompt is the beginning of the prompt before, in a conversation beyond its limit",
        ["trim", "mean", "median", "least", "tokens of the average prompt"],
        [
            [trim, *(f"{each[name]:.1%}" for name in ("mean", "median", "minimum")), number(each["mean_tokens"])]
            for trim, each in figures.items()
        ],
    )


MAKERS: dict[str, Callable[[Figures], Iterable[Table]]] = {
    "turns": _turns,
    "resume": _resume,
    "crowd": _crowd,
    "start": _start,
    "export": _export,
    "fork": _fork,
    "storage": _storage,
    "stable": _stable,
}
