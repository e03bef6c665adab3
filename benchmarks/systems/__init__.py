"""What is compared: convo, its peers, and the floor; a module each, which alone imports the packages of its system."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.systems.base import System


class Entry(NamedTuple):
    """Where a system is, and what it needs."""

    module: str
    packages: tuple[str, ...]
    """As they are called in the package index; the first one names the system in reports."""


ENTRIES = {
    "floor": Entry("floor", ("psycopg",)),
    "convo": Entry("convo", ("convo", "sqlalchemy", "psycopg")),
    "convo-cold": Entry("convo", ("convo", "sqlalchemy", "psycopg")),
    "langchain": Entry("langchain", ("langchain-community", "langchain-core", "sqlalchemy", "psycopg")),
    "openai-agents": Entry("openai_agents", ("openai-agents", "sqlalchemy", "asyncpg")),
    "openai-agents-limit": Entry("openai_agents", ("openai-agents", "sqlalchemy", "asyncpg")),
    "adk": Entry("adk", ("google-adk", "sqlalchemy", "aiosqlite", "asyncpg")),
    "adk-limit": Entry("adk", ("google-adk", "sqlalchemy", "aiosqlite", "asyncpg")),
    "llama-index": Entry("llama_index", ("llama-index-core", "sqlalchemy", "aiosqlite", "asyncpg")),
}
"""The systems by name, in the order of the reports."""


def load(name: str) -> System:
    """Return the system of that name, with its packages imported.

    Raises:
        ImportError: one of them is not installed.
    """
    system: System = import_module(f"benchmarks.systems.{ENTRIES[name].module}").SYSTEMS[name]
    return system
