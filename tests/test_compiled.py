"""Statements are compiled once in a process, and still are each caller's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, Select, create_engine, literal, select

from tests.compiled import COMPILED


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    engines = [create_engine("sqlite://") for _ in range(2)]
    yield engines
    for each in engines:
        each.dispose()


def asked(engine: Engine, statement: Select[tuple[str]]) -> str | None:
    with engine.connect() as connection:
        return connection.execute(statement).scalar()


def test_what_one_engine_has_compiled_another_one_takes_with_its_own_values(engines: list[Engine]):
    name = uuid.uuid4().hex
    one, another = (select(literal(each).label(name)) for each in ("a", "b"))
    before = len(COMPILED)
    assert ["a", "b"] == [asked(engine, each) for engine, each in zip(engines, (one, another), strict=True)]
    assert before + 1 == len(COMPILED)


def test_each_kind_of_database_has_its_own(engines: list[Engine], postgres_url: str):
    server = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    statement = select(literal("a").label(uuid.uuid4().hex))
    before = len(COMPILED)
    assert ["a", "a"] == [asked(engine, statement) for engine in (engines[0], server)]
    server.dispose()
    assert before + 2 <= len(COMPILED)
