"""Which conversation a command means: by name, by id, the latest, or a new one; and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from convo.conversation import Conversation
    from convo.stores import Store


@dataclass(frozen=True, slots=True)
class Selection:
    """A conversation as it was asked for."""

    owner: str | None
    name: str | None
    id: str | None
    latest: bool
    settings: Mapping[str, Any]
    """What may change of a conversation, as Conversation.update() names it."""
    fixed: Mapping[str, Any]
    """What only a new conversation takes: context, examples."""

    def __post_init__(self) -> None:
        if sum((self.name is not None, self.id is not None, self.latest)) > 1:
            raise typer.BadParameter("give one of --name, --id and --continue")

    def take(self, store: Store) -> tuple[Conversation, bool]:
        """Return the conversation, its settings applied, and whether it is new; say which one it is."""
        from convo.errors import NameTaken

        known = self._known(store)
        if known is None:
            try:
                talk = store.create(name=self.name, owner=self.owner, **self.settings, **self.fixed)
                return _introduced(talk), True
            except NameTaken:  # another process was faster
                known = store.find(str(self.name), owner=self.owner)
                if known is None:
                    raise
        return _introduced(self._changed(known)), False

    def _known(self, store: Store) -> Conversation | None:
        from convo.errors import NotFound

        if self.id is not None:
            return store.get(self.id, owner=self.owner)
        if self.latest:
            for talk in store.list(owner=self.owner, limit=1):
                return talk
            raise NotFound("there is no conversation to go on with: `convo chat TEXT` begins one")
        return None if self.name is None else store.find(self.name, owner=self.owner)

    def _changed(self, talk: Conversation) -> Conversation:
        """Apply the settings to a conversation that is there already, and say so."""
        from convo.cli.output import note
        from convo.errors import InvalidInput

        examples = [(each.input, each.output) for each in talk.examples()]
        if self.fixed.get("context", talk.context) != talk.context or self.fixed.get("examples", examples) != examples:
            raise InvalidInput(
                "a conversation's context and examples are fixed: begin another one, under another --name"
            )
        before = talk.version
        if self.settings and talk.update(**self.settings).version != before:
            note("from now on: " + ", ".join(f"{name}={value}" for name, value in self.settings.items()))
        return talk


def _introduced(talk: Conversation) -> Conversation:
    """Say which conversation it is, and who answers."""
    from convo.cli.output import note
    from convo.clients.offline import ELIZA
    from convo.models import RETIRED, stand_in

    served_by = stand_in(talk.model)
    note(f"conversation {talk.id}{f' {talk.name!r}' if talk.name else ''}, {talk.model}")
    if served_by != talk.model:
        note(f"({RETIRED} was switched off in 2024: {served_by} answers instead; choose a model with --model)")
    if served_by == ELIZA.name:
        note(f"({ELIZA.name} is a small rule-based program, not a language model: choose one with --model)")
    return talk
