"""The two shells: every public name of one is a name of the other, of the same kind, with the same parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator

import pytest

import convo
from tests.shells import open_store

TWINS = {convo.Store: convo.AsyncStore, convo.Conversation: convo.AsyncConversation}
CLIENTS = {
    "chat": (convo.ChatClient.chat, convo.AsyncChatClient.chat_async),
    "stream": (convo.StreamingClient.stream, convo.AsyncStreamingClient.stream_async),
}
ENTRANCES = {"__init__": "__init__", "__enter__": "__aenter__", "__exit__": "__aexit__"}


def members(kind: type) -> dict[str, object]:
    """Return the public members of a class, as they were defined."""
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def pairs() -> Iterator[tuple[str, object, object]]:
    """Yield each name of a sync shell with what it is there, and in the async one."""
    for sync, twin in TWINS.items():
        theirs = members(twin)
        for name, member in members(sync).items():
            yield f"{sync.__name__}.{name}", member, theirs.get(name)
    for name, awaited in ENTRANCES.items():
        yield f"Store.{name}", getattr(convo.Store, name), getattr(convo.AsyncStore, awaited)
    for name, (sync, twin) in CLIENTS.items():
        yield f"ChatClient.{name}", sync, twin


PAIRS = [pytest.param(*each[1:], id=each[0]) for each in pairs()]
METHODS = [each for each in PAIRS if inspect.isfunction(each.values[0])]


def attributes(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def parameters(method: Callable[..., object]) -> list[tuple[str, object, object, str]]:
    """Return the parameters of a method: names, kinds, defaults, and annotations that leave out who awaits."""
    found = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default, sync_name(str(each.annotation))) for each in found]


def yields(method: Callable[..., object]) -> bool:
    """Return whether a method returns what is iterated over, and not a value to wait for."""
    return sync_name(inspect.signature(method).return_annotation).startswith("Iterator[")


def sync_name(annotation: str) -> str:
    """Return an annotation as the sync shell writes it: a store takes clients of either kind, if it is async."""
    annotation = re.sub(r"\bAsync(?=[A-Z])", "", annotation).replace("AnyClient", "ChatClient")
    return re.sub(r"\b(?:Generator|Iterator)\[(\w+).*\]", r"Iterator[\1]", annotation)


def test_no_public_name_of_an_open_store_is_on_one_side_only():
    with open_store("sqlite://", "sync") as sync, open_store("sqlite://", "asyncio") as twin:
        assert attributes(sync) == attributes(twin._inner)


def test_no_public_name_of_a_conversation_is_on_one_side_only():
    with open_store("sqlite://", "sync") as sync, open_store("sqlite://", "asyncio") as twin:
        assert attributes(sync.create()) == attributes(twin.create()._inner)


def test_every_async_name_of_the_package_has_its_twin():
    names = [each for each in convo.__all__ if each.startswith("Async")]
    assert names
    assert [] == [each for each in names if each.removeprefix("Async") not in convo.__all__]


@pytest.mark.parametrize(("sync", "twin"), PAIRS)
def test_twins_are_of_one_kind(sync: object, twin: object):
    assert type(sync) is type(twin)


@pytest.mark.parametrize(("sync", "twin"), METHODS)
def test_what_waits_is_awaited_and_what_yields_yields(sync: Callable[..., object], twin: Callable[..., object]):
    waits = sync.__name__ != "__init__" and not yields(sync)
    assert (waits, yields(sync)) == (inspect.iscoroutinefunction(twin), yields(twin))


@pytest.mark.parametrize("kind", [*TWINS, *TWINS.values()], ids=lambda kind: kind.__name__)
def test_every_public_name_says_what_it_is_for(kind: type):
    assert [] == [name for name, member in members(kind).items() if not inspect.getdoc(member)]


@pytest.mark.parametrize(("sync", "twin"), METHODS)
def test_twins_take_the_same_parameters(sync: Callable[..., object], twin: Callable[..., object]):
    assert parameters(sync) == parameters(twin)


@pytest.mark.parametrize(("sync", "twin"), METHODS)
def test_twins_return_the_same(sync: Callable[..., object], twin: Callable[..., object]):
    found = [sync_name(inspect.signature(each).return_annotation) for each in (sync, twin)]
    assert found[0] == found[1]
