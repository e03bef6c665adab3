"""The catalog: which service answers for a model's name, and within which limits."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from convo.clients.base import AnyClient
from convo.clients.offline import ELIZA, MODELS, OfflineClient
from convo.errors import BadModelResponse, CallTimedOut, ModelError, ModelNotFound, RetiredModelWarning
from convo.shapes import AnyModelNameOptions
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
        _check_limits(model)
        return Service(model, client)
    if name == RETIRED:
        served_by = default_model() if default_model() != RETIRED else ELIZA.name
        warnings.warn(
            f"{RETIRED} was switched off in 2024: {served_by} answers instead; name a model",
            RetiredModelWarning,
            stacklevel=_depth(),
        )
        name = served_by
    return Service(_OFFLINE.get_model(name), _OFFLINE)


def _check_limits(model: Model) -> None:
    """Raise BadModelResponse unless a client's model has limits that can be counted with."""
    for name, lowest in (("input_token_limit", 1), ("message_overhead", 0)):
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise BadModelResponse(f"{name} of the client's model must be a whole number from {lowest}, not {value!r}")


def _depth() -> int:
    """Return how many calls up from resolve() the program stands that uses convo: a warning is about its line.

    A coroutine that is a task of its own was called by nobody: then it is the event loop's.
    """
    frame, depth = sys._getframe(1), 1  # noqa: SLF001 - the documented way to the frames of callers
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(f"{__package__}."):
        frame, depth = frame.f_back, depth + 1
    return depth


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
        try:
            return await run_apart(partial(resolve, name, client), "limits")
        except RuntimeError as error:  # there can be no more threads: resolve() itself raises none
            raise ModelError(f"the client could not be asked for {name}: {error}") from error
    raise CallTimedOut(name, deadline_s)


def get_model(name: AnyModelNameOptions, *, client: AnyClient | None = None) -> Model:
    """Return a model with its limits, as the given `client` tells them, or whoever serves it here.

    Raises:
        TypeError: `name` is neither a name nor a Model.
        ModelNotFound: nobody here serves a model of that name.
        ModelError: the client could not say.
    """
    return resolve(model_name(name), client).model


def model_name(given: AnyModelNameOptions | None) -> str:
    """Return the name of a model that is given by name or as a Model; of the default one when None.

    Raises:
        TypeError: it is something else.
    """
    if given is None:
        return default_model()
    if not isinstance(given, str | Model):
        msg = f"a model must be a name, such as {ELIZA.name!r}, or a Model, not {type(given).__name__}"
        raise TypeError(msg)
    return given if isinstance(given, str) else given.name


def list_models() -> list[Model]:
    """Return the models that are served here without further ado."""
    return list(MODELS.values())
