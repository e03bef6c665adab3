"""The catalog: which service answers for a model's name, and within which limits."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from convo.clients.base import LIMITS_S, AnyClient, is_checking, is_patient
from convo.clients.offline import ELIZA, MODELS, OfflineClient
from convo.clients.providers import PALM, Provider, codec_of, first_set, server_of, url_of
from convo.config import GOOGLES, configuration
from convo.errors import (
    BadModelResponse,
    CallTimedOut,
    InvalidParameter,
    LimitUnknown,
    ModelError,
    ModelNotFound,
    RetiredModelWarning,
)
from convo.shapes import AnyModelNameOptions
from convo.values import Model, Parameters

if TYPE_CHECKING:
    from convo.clients.http import HttpClient
    from convo.clients.server import Server

    Served = OfflineClient | HttpClient

RETIRED = "models/chat-bison-001"
"""The documented default of `google.generativeai.chat`; its service was switched off in 2024."""

_OFFLINE = OfflineClient()

EMBEDDED = "offline"
"""How the embedded models' names begin."""

NOWHERE = "http://localhost"
"""The address of a service that is not asked."""

_CLIENTS: dict[tuple[Server, bool], HttpClient] = {}
_GUARD = threading.Lock()


Client = TypeVar("Client", bound=AnyClient)

NO_PARAMETERS = Parameters()

MAX_LIMIT = 2**31
"""What both databases can hold."""


def _start_anew() -> None:
    """Leave the connections to the parent process; called in a child right after the fork."""
    global _GUARD  # noqa: PLW0603 - it may have been held
    _GUARD = threading.Lock()
    _CLIENTS.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)


@dataclass(frozen=True, slots=True)
class Service(Generic[Client]):
    """A model, and the client that calls it."""

    model: Model
    client: Client


def default_model() -> str:
    """Return CONVO_MODEL, else the configuration's model, else the embedded one."""
    given = os.environ.get("CONVO_MODEL")
    return full_name(given) if given else configuration().model or ELIZA.name


def full_name(name: str) -> str:
    """Return the model that an alias of the configuration stands for; any other name as it is."""
    return name if "/" in name else configuration().aliases.get(name, name)


def stand_in(name: str) -> str:
    """Return the model that answers for `name`: the default one for the retired one, unless that is served again."""
    if name != RETIRED or url_of(configuration().providers[PALM], os.environ):
        return name
    return default_model() if default_model() != RETIRED else ELIZA.name


def resolve(
    name: str,
    client: Client | None = None,
    *,
    deadline_s: float = LIMITS_S,
    limit: int | None = None,
    parameters: Parameters = NO_PARAMETERS,
    needs_key: bool = True,
) -> Service[Client | Served]:
    """Return who answers for `name`; a given `client` answers for every name that it knows.

    A limit of the configuration goes before the one that a service tells, which is not asked then; not before a given
    client's. The argument `limit` stands in for the model's own, and a service is not asked then either. The client is
    asked whether it takes the `parameters`, if it can tell. A service is asked for at most `deadline_s` seconds. With
    `needs_key=False` a client that need not ask is only looked at: it has no key.

    Raises:
        ModelNotFound: nobody here serves a model of that name.
        LimitUnknown: nobody tells the model's limit.
        InvalidParameter: the model's service has not such a parameter.
        InvalidInput: nobody tells where its service is, or there is no key for it.
        ModelError: the client could not say; an exception that is not convo's own is its cause.
    """
    name = full_name(name)
    if client is not None:
        return _service(name, client, _Wanted(limit, parameters, deadline_s))
    name, found = _found(name, needs_key=needs_key or not _has_limit(name, limit))
    return _service(name, found, _Wanted(limit, parameters, deadline_s), _configured(name, found))


def _has_limit(name: str, limit: int | None) -> bool:
    return limit is not None or name in configuration().limits


def _found(name: str, *, needs_key: bool = True) -> tuple[str, Served]:
    """Return who has a model, and under which name."""
    if (served_by := stand_in(name)) != name:
        warnings.warn(
            f"{RETIRED} was switched off in 2024: {served_by} answers instead; name a model",
            RetiredModelWarning,
            stacklevel=_depth(),
        )
        name = served_by
    if not needs_key and (seen := looked_at(name)) is not None:
        return name, seen
    if name == RETIRED:
        return name, _client_of(configuration().providers[PALM])
    if name in MODELS:
        return name, _OFFLINE
    provider = configuration().provider_of(name)
    if provider is None:
        raise ModelNotFound(name, _names())
    return name, _client_of(provider)


def looked_at(name: str) -> Served | None:
    """Return a client like the one that is asked for a model, to see what it would post: without key and address.

    None when nobody here serves a model of that name. For the retired one nobody stands in.
    """
    if name in MODELS:
        return _OFFLINE
    provider = configuration().providers[PALM] if name == RETIRED else configuration().provider_of(name)
    if provider is None:
        return None
    from convo.clients.http import HttpClient
    from convo.clients.server import Server

    return HttpClient(Server(codec_of(provider), NOWHERE), fold_examples=provider.fold_examples)


def _names() -> list[str]:
    """Return what names of models may be here."""
    told = configuration()
    known = [f"{each}/…" for each in told.providers if each != PALM]
    return [*MODELS, *known, *(f"{each}/…" for each in GOOGLES), *told.aliases]


def _client_of(provider: Provider) -> HttpClient:
    """Return the client of a service, whose connections are kept; another one when the environment has changed."""
    from convo.clients.http import HttpClient

    wanted = server, folds = server_of(provider, os.environ), provider.fold_examples
    with _GUARD:
        if wanted not in _CLIENTS:
            _CLIENTS[wanted] = HttpClient(server, fold_examples=folds)
        return _CLIENTS[wanted]


def _configured(name: str, client: Served) -> Model | None:
    """Return a model whose limit the configuration tells; None when it does not."""
    limit = configuration().limits.get(name)
    return None if limit is None else client.with_limit(name, limit)


class _Wanted(NamedTuple):
    """How a model is asked for: with which limit instead of its own, which parameters it has to have, and how long."""

    limit: int | None
    parameters: Parameters
    deadline_s: float


def _service(name: str, client: Client, wanted: _Wanted, model: Model | None = None) -> Service[Client]:
    """Return a model and its client, which takes the parameters; the client tells what the model is, if nobody did."""
    if is_checking(client):
        client.check_parameters(name, wanted.parameters)
    if model is None:
        model = _told(name, client, wanted.limit, min(wanted.deadline_s, LIMITS_S))
        _check_limits(model)
    return Service(model, client)


def _told(name: str, client: AnyClient, limit: int | None, deadline_s: float) -> Model:
    """Return a model as its client tells it; one whose limit is given need not be asked for."""
    try:
        if not is_patient(client):
            model = client.get_model(name)
        elif limit is None:
            model = client.get_model_within(name, deadline_s)
        else:
            model = client.with_limit(name, limit)
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
    return model


def _check_limits(model: Model) -> None:
    """Raise BadModelResponse unless a client's model has limits that can be counted with."""
    for name, lowest in (("input_token_limit", 1), ("message_overhead", 0), ("context_window", 1)):
        value = getattr(model, name)
        if name == "context_window" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value < MAX_LIMIT:
            shown = value if isinstance(value, int) and abs(value) < MAX_LIMIT else type(value).__name__
            raise BadModelResponse(f"{name} of the client's model must be a whole number from {lowest}, not {shown!r}")


def _depth() -> int:
    """Return how many calls up from resolve() the program stands that uses convo: a warning is about its line.

    A coroutine that is a task of its own was called by nobody: then it is the event loop's.
    """
    frame, depth = sys._getframe(1), 1  # noqa: SLF001 - the documented way to the frames of callers
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith(f"{__package__}."):
        frame, depth = frame.f_back, depth + 1
    return depth


async def resolve_async(
    name: str,
    client: Client | None = None,
    *,
    deadline_s: float,
    limit: int | None = None,
    parameters: Parameters = NO_PARAMETERS,
    needs_key: bool = True,
) -> Service[Client | Served]:
    """Return who answers for `name` as resolve() does; a client is asked in a thread, as it may wait.

    Raises:
        ModelNotFound, LimitUnknown, InvalidInput, InvalidParameter, ModelError: as resolve().
        CallTimedOut: the client did not say within `deadline_s` seconds.
    """
    name, wanted = full_name(name), _Wanted(limit, parameters, deadline_s)
    if client is None:
        name, served = _found(name, needs_key=needs_key or not _has_limit(name, limit))
        model = _configured(name, served)
        if model is not None or served is _OFFLINE:  # nobody has to be asked
            return _service(name, served, wanted, model)
    asked = served if client is None else client
    import anyio

    from convo.threads import run_apart

    with anyio.move_on_after(deadline_s):
        try:
            return await run_apart(partial(_service, name, asked, wanted), "limits")
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
    return full_name(given if isinstance(given, str) else given.name)


def list_models(provider: str | None = None) -> list[Model]:
    """Return the models that are served here without further ado: the embedded ones, and those in [limits].

    With a `provider`, as names of models begin, its service is asked for all that it has, for at most 30 seconds.
    `input_token_limit` is 0 in that list where nobody tells it: to use such a model, a limit has to be given.

    Raises:
        InvalidParameter: nobody of that name is known.
        InvalidInput: nobody tells where its service is, or there is no key for it.
        ModelError: the service cannot be asked.
    """
    limits = configuration().limits
    if provider is None or provider == EMBEDDED:
        named = {**MODELS, **{name: _limited(name, limit) for name, limit in limits.items()}}
        return [model for name, model in named.items() if provider is None or name in MODELS]
    listed = _named(provider).list_models()
    return [replace(each, input_token_limit=limits.get(each.name, each.input_token_limit)) for each in listed]


def check(provider: str, deadline_s: float) -> int:
    """Ask a service for the beginning of its list, within `deadline_s` seconds; return how many models that has.

    Raises:
        InvalidParameter, InvalidInput, ModelError: as list_models().
    """
    return len(MODELS) if provider == EMBEDDED else _named(provider).check(deadline_s)


def _named(provider: str) -> HttpClient:
    """Return the client of a service, by the beginning of its models' names."""
    known = configuration().providers
    if provider not in known:
        raise InvalidParameter(f"no provider {provider!r}: there are {EMBEDDED}, {', '.join(known)}")
    return _client_of(known[provider])


def set_up() -> list[str]:
    """Return the services that the configuration names, or of which the environment has the address or the key.

    A key alone is not enough where nobody tells an address.
    """
    told, by_environment = configuration(), partial(first_set, environment=os.environ)
    return [
        name
        for name, each in told.providers.items()
        if name in told.named
        or by_environment(each.url_variables)
        or (by_environment(each.key_variables) and each.base_url is not None)
    ]


def _limited(name: str, limit: int) -> Model:
    """Return a model of the configuration's limits, without its service, for which there may be no key."""
    provider = configuration().provider_of(name)
    if name in MODELS or provider is None:
        return _OFFLINE.with_limit(name, limit)
    from convo.clients.wire import limited

    return limited(name, limit, user_first=codec_of(provider).user_first)
