"""What the tests of all examples share: a model of the test's own, a store, and somebody who calls meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.callers import TOKENS, known
from tests.examples.fakes import FakeModel
from tests.examples.running import serving


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel() as fake:
        yield fake
        fake.may_answer.set()


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of a store that is not there yet."""
    return f"sqlite:///{tmp_path}/chats.db"


@pytest.fixture
def settings(model: FakeModel, database: str) -> dict[str, str]:
    """Return the environment of an example."""
    return {"MODEL_URL": model.url, "CONVO_DATABASE_URL": database, "API_TOKENS": json.dumps(TOKENS)}


@pytest.fixture
def alice(settings: dict[str, str]) -> Iterator[httpx.Client]:
    """Return a caller of the HTTP interface."""
    with serving("tests.examples.served:api", **settings) as (_, client):
        yield known(client)


@pytest.fixture
def later() -> Iterator[Callable[..., Any]]:
    """Return what calls a function in another thread."""
    with ThreadPoolExecutor(8) as executor:
        yield executor.submit
