"""The catalog: which service answers for a model's name, and within which limits."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from convo.clients.base import AnyClient
from convo.clients.offline import ELIZA, MODELS, OfflineClient
from convo.clients.providers import GEMINI, KNOWN, PALM, Provider, server_of
from convo.errors import (
    BadModelResponse,
    CallTimedOut,
    LimitUnknown,
    ModelError,
    ModelNotFound,
    RetiredModelWarning,
)
from convo.shapes import AnyModelNameOptions
from convo.values import Model

if TYPE_CHECKING:
    from convo.clients.http import HttpClient
    from convo.clients.server import Server

    Served = OfflineClient | HttpClient

RETIRED = "models/chat-bison-001"
"""The documented default of `google.generativeai.chat`; its service was switched off in 2024."""

_OFFLINE = OfflineClient()

PROVIDERS = {each.name: each for each in KNOWN}
PROVIDERS |= {"models": PROVIDERS[GEMINI], "tunedModels": PROVIDERS[GEMINI]}
"""Who has a model, by the beginning of its name."""

_CLIENTS: dict[Server, HttpClient] = {}
_GUARD = threading.Lock()
os.register_at_fork(after_in_child=_CLIENTS.clear)  # their connections are the parent's


Client = TypeVar("Client", bound=AnyClient)


@dataclass(frozen=True, slots=True)
class Service(Generic[Client]):
    """A model, and the client that calls it."""

    model: Model
    client: Client


def default_model() -> str:
    """Return CONVO_MODEL, else the embedded model."""
    return os.environ.get("CONVO_MODEL") or ELIZA.name


def stand_in(name: str) -> str:
    """Return the model that answers for `name`: the default one for the retired one, unless that is served again."""
    if name != RETIRED or os.environ.get("PALM_BASE_URL"):
        return name
    return default_model() if default_model() != RETIRED else ELIZA.name


def resolve(name: str, client: Client | None = None, *, limit: int | None = None) -> Service[Client | Served]:
    """Return who answers for `name`; a given `client` answers for every name that it knows.

    A `limit` stands in for the model's own when nobody tells that.

    Raises:
        ModelNotFound: nobody here serves a model of that name.
        LimitUnknown: nobody tells the model's limit.
        InvalidInput: nobody tells where its service is, or there is no key for it.
        ModelError: the client could not say; an exception that is not convo's own is its cause.
    """
    if client is not None:
        return _service(name, client, limit)
    return _service(*_found(name), limit)


def _found(name: str) -> tuple[str, Served]:
    """Return who has a model, and under which name."""
    if (served_by := stand_in(name)) != name:
        warnings.warn(
            f"{RETIRED} was switched off in 2024: {served_by} answers instead; name a model",
            RetiredModelWarning,
            stacklevel=_depth(),
        )
        name = served_by
    if name == RETIRED:
        return name, _client_of(PROVIDERS[PALM])
    provider, _, bare = name.partition("/")
    if name in MODELS:
        return name, _OFFLINE
    if provider not in PROVIDERS or not bare:
        raise ModelNotFound(name, [*MODELS, *(f"{each}/…" for each in PROVIDERS if each != PALM)])
    return name, _client_of(PROVIDERS[provider])


def _client_of(provider: Provider) -> HttpClient:
    """Return the client of a service, whose connections are kept; another one when the environment has changed."""
    from convo.clients.http import HttpClient

    server = server_of(provider, os.environ)
    with _GUARD:
        if server not in _CLIENTS:
            _CLIENTS[server] = HttpClient(server)
        return _CLIENTS[server]


def _service(name: str, client: Client, limit: int | None) -> Service[Client]:
    """Return a model's limits and its client."""
    try:
        model = client.get_model(name)
    except LimitUnknown:
        if limit is None:
            raise
        model = Model(name, limit)
    except (ModelError, ModelNotFound):
        raise
    except Exception as error:
        raise ModelError(f"the client failed with {type(error).__name__} when asked for {name}") from error
    if not isinstance(model, Model):
        raise BadModelResponse(f"get_model() of the client must return a Model, not a {type(model).__name__}")
    _check_limits(model)
    return Service(model, client)


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
    name: str, client: Client | None = None, *, deadline_s: float, limit: int | None = None
) -> Service[Client | Served]:
    """Return who answers for `name` as resolve() does; a client is asked in a thread, as it may wait.

    Raises:
        ModelNotFound, LimitUnknown, InvalidInput, ModelError: as resolve().
        CallTimedOut: the client did not say within `deadline_s` seconds.
    """
    found: tuple[str, Client | Served] = _found(name) if client is None else (name, client)
    if found[1] is _OFFLINE:
        return _service(*found, limit)
    import anyio

    from convo.threads import run_apart

    with anyio.move_on_after(deadline_s):
        try:
            return await run_apart(partial(_service, *found, limit), "limits")
        except RuntimeError as error:  # there can be no more threads: _service() itself raises none
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
