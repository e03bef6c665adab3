"""The values of exports and imports: what left a store, and what became of each conversation that came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export has written."""

    format: str
    """The name of the form."""
    conversations: int
    turns: int
    """Of which anything was written; an opening counts."""
    texts: int
    """Messages and candidates; erased ones do not count."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What the form cannot hold, in plural words, and how many of each. Empty for `jsonl`."""
    files: int = 1
    size_bytes: int = 0


class Fate(StrEnum):
    """What became of a conversation of a file."""

    NEW = "new"
    """It was stored; of a dry run, it would be."""
    PRESENT = "present"
    """The store has it already, and nothing was done."""
    CONFLICT = "conflict"
    """The store has another one of that id, or of that name, and nothing was done."""
    REFUSED = "refused"
    """It is not what it should be, and nothing was done."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a conversation of a file."""

    fate: Fate
    line: int
    """Where it begins in the file, from 1."""
    conversation: str | None = None
    """Its id in this store; None of one that was refused before it had one."""
    turns: int = 0
    """How many were kept."""
    texts: int = 0
    """How many messages and candidates were kept."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What of it was not kept, in plural words, and how many of each."""
    why: str | None = None
    """Why it is a conflict, or was refused; without any text of it."""

    @property
    def is_whole(self) -> bool:
        """Whether everything that the file tells of it is in the store."""
        return self.fate in (Fate.NEW, Fate.PRESENT) and not self.dropped


ANOTHER_OWNERS, ANOTHER_OF_ID = "it is another owner's", "the store has another one of that id"
"""Why a conversation is refused, or a conflict."""

FAULTS_TOLD = 20
"""Of how many conversations a report tells what is missing."""


@dataclass(slots=True)
class ImportReport:
    """What became of all conversations of a file."""

    new: int = 0
    """How many were stored; of a dry run, would be."""
    present: int = 0
    """How many the store had already."""
    conflicts: int = 0
    refused: int = 0
    turns: int = 0
    """How many came, in the new ones."""
    texts: int = 0
    """How many messages and candidates came, in the new ones."""
    dropped: Counter[str] = field(default_factory=Counter)
    """What of the new ones was not kept, in plural words, and how many of each."""
    faults: list[Imported] = field(default_factory=list)
    """The first FAULTS_TOLD of which not everything is in the store now."""

    @property
    def is_whole(self) -> bool:
        """Whether everything that the file tells of is in the store."""
        return not self.faults

    def add(self, one: Imported) -> None:
        """Take notice of what became of one."""
        name = {Fate.NEW: "new", Fate.PRESENT: "present", Fate.CONFLICT: "conflicts", Fate.REFUSED: "refused"}[one.fate]
        setattr(self, name, getattr(self, name) + 1)
        if one.fate == Fate.NEW:
            self.turns += one.turns
            self.texts += one.texts
            self.dropped.update(one.dropped)
        if not one.is_whole and len(self.faults) < FAULTS_TOLD:
            self.faults.append(one)
