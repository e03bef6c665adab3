"""The catalog: which service answers for a model's name, and within which limits."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from convo.clients.base import AnyClient
from convo.clients.offline import ELIZA, MODELS, OfflineClient
from convo.errors import BadModelResponse, CallTimedOut, ModelError, ModelNotFound, RetiredModelWarning
from convo.values import Model

RETIRED = "models/chat-bison-001"
"""The documented default of `google.generativeai.chat`; its service was switched off in 2024."""

_OFFLINE = OfflineClient()


Client = TypeVar("Client", bound=AnyClient)


@dataclass(frozen=True, slots=True)
class Service(Generic[Client]):
    """A model, and the client that calls it."""

    model: Model
    client: Client


def default_model() -> str:
    """Return CONVO_MODEL, else the embedded model."""
    return os.environ.get("CONVO_MODEL") or ELIZA.name


def resolve(name: str, client: Client | None = None) -> Service[Client | OfflineClient]:
    """Return who answers for `name`; a given `client` answers for every name that it knows.

    Raises:
        ModelNotFound: nobody here serves a model of that name.
        ModelError: the given client could not say; an exception that is not convo's own is its cause.
    """
    if client is not None:
        try:
            model = client.get_model(name)
        except (ModelError, ModelNotFound):
            raise
        except Exception as error:
            raise ModelError(f"the client failed with {type(error).__name__} when asked for {name}") from error
        if not isinstance(model, Model):
            raise BadModelResponse(f"get_model() of the client must return a Model, not a {type(model).__name__}")
        return Service(model, client)
    if name == RETIRED:
        served_by = default_model() if default_model() != RETIRED else ELIZA.name
        warnings.warn(
            f"{RETIRED} was switched off in 2024: {served_by} answers instead; name a model",
            RetiredModelWarning,
            stacklevel=2,
        )
        name = served_by
    return Service(_OFFLINE.get_model(name), _OFFLINE)


async def resolve_async(
    name: str, client: Client | None = None, *, deadline_s: float
) -> Service[Client | OfflineClient]:
    """Return who answers for `name` as resolve() does; a given client is asked in a thread, as it may wait.

    Raises:
        ModelNotFound, ModelError: as resolve().
        CallTimedOut: the client did not say within `deadline_s` seconds.
    """
    if client is None:
        return resolve(name)
    import anyio

    from convo.threads import run_apart

    with anyio.move_on_after(deadline_s):
        return await run_apart(partial(resolve, name, client), "limits")
    raise CallTimedOut(name, deadline_s)


def get_model(name: str) -> Model:
    """Return a model with its limits.

    Raises:
        ModelNotFound: nobody here serves a model of that name.
    """
    return resolve(name).model


def list_models() -> list[Model]:
    """Return the models that are served here without further ado."""
    return list(MODELS.values())
