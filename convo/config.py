"""The configuration: the default model, aliases, limits and services that the user's own file names.

The file holds no key: it names the variable of the environment that does. It is read when something is asked for that
it may tell, and again when it has changed; pydantic and tomllib are loaded only where there is one.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import platformdirs

from convo.clients.offline import MODELS
from convo.clients.providers import GEMINI, KNOWN, OLLAMA, OPENAI, Provider
from convo.errors import InvalidInput

if TYPE_CHECKING:
    from convo.settings import File, ProviderTable

VARIABLE = "CONVO_CONFIG"
"""Names another file than the one in the user's own folder."""

_MOVERS = ("HOME", "XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA")
"""Variables of the environment that move the user's own folder, on one system or another."""

MAX_BYTES = 2**20
"""The largest file."""

GOOGLES = ("models", "tunedModels")
"""How Google's own names of models begin, which are Gemini's."""

_ONLY_OF = {"output_limit": OPENAI, "lacks": OPENAI, "key_header": OPENAI, "num_ctx": OLLAMA}
"""What can be told of services of one protocol only."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says, together with what is known without it."""

    file: str | None = None
    """Where it is; None when there is none."""
    model: str | None = None
    """The default model's whole name."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Whole names of models, by what stands for them."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Tokens of input, by the whole name of a model."""
    providers: Mapping[str, Provider] = field(default_factory=lambda: {each.name: each for each in KNOWN})
    """All services: the known ones first, as the file alters them."""
    named: frozenset[str] = frozenset()
    """Services that have a table in the file."""

    def provider_of(self, name: str) -> Provider | None:
        """Return whose model a name is; None when no service's."""
        kind, _, bare = name.partition("/")
        return self.providers.get(GEMINI if kind in GOOGLES else kind) if bare else None


class _Seen(NamedTuple):
    """A file as it was read, and what it said."""

    file: Path
    mark: tuple[int, ...]
    """What tells it from one that took its place."""
    configuration: Configuration


_WITHOUT_FILE = Configuration()
_seen = _Seen(Path(), (), _WITHOUT_FILE)


def configuration() -> Configuration:
    """Return what the file says now.

    Raises:
        InvalidInput: it cannot be read or used, or CONVO_CONFIG names one that is not there.
    """
    global _seen  # noqa: PLW0603 - replaced whole, so that threads see one or the other
    file = path()
    is_named = bool(os.environ.get(VARIABLE))
    if not is_named and not os.access(file, os.F_OK):  # none there, or in a folder that is another user's
        return _WITHOUT_FILE
    try:
        if (file, _mark(file.stat())) != _seen[:2]:
            _seen = _read(file)
    except FileNotFoundError:
        if is_named:
            raise InvalidInput(f"there is no configuration file {file}: {VARIABLE} names it") from None
        return _WITHOUT_FILE
    except OSError as error:
        raise InvalidInput(f"the configuration file {file} cannot be read: {error.strerror}") from None
    return _seen.configuration


def path() -> Path:
    """Return where the file is, if there is one: where CONVO_CONFIG says, else in the user's own folder."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given) if given == os.devnull else Path(given).expanduser().absolute()
    return _own(*map(os.environ.get, _MOVERS))


@functools.cache
def _own(*moved: str | None) -> Path:  # noqa: ARG001 - the values of _MOVERS
    """Return where the user's own file is; looked up once, as each turn asks."""
    return platformdirs.user_config_path("convo") / "config.toml"


def _mark(about: os.stat_result) -> tuple[int, ...]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _read(file: Path) -> _Seen:
    """Read a file.

    Raises:
        OSError: it cannot be.
        InvalidInput: it cannot be used.
    """
    from convo.settings import parse

    if not file.is_file() and str(file) != os.devnull:  # a pipe would be waited for
        raise InvalidInput(f"the configuration {file} is no file: name one with {VARIABLE}")
    with file.open("rb") as opened:
        about, content = os.fstat(opened.fileno()), opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"{file} has more than {MAX_BYTES:,} bytes: a configuration is small")
    return _Seen(file, _mark(about), _made(parse(content, str(file)), str(file)))


def _made(told: File, where: str) -> Configuration:
    """Return a file's shapes as a configuration, with what its tables must be for each other."""
    from convo.settings import dotted, refused

    providers = dict(_WITHOUT_FILE.providers)
    for name, table in told.providers.items():
        providers[name] = _provider(name, table, where)
    model = told.aliases.get(told.model, told.model) if told.model else None
    if model and "/" not in model:
        raise refused(where, "model", "must be the whole name of a model, provider/name, or one of [aliases]")
    made = Configuration(where, model, told.aliases, told.limits, providers, frozenset(told.providers))
    for name in told.limits:
        if name not in MODELS and made.provider_of(name) is None:
            raise refused(where, dotted("limits", name), f"is nobody's model: there are {', '.join(providers)}")
    return made


def _provider(name: str, table: ProviderTable, where: str) -> Provider:
    """Return a service as its table says: a known one altered, or another."""
    from convo.settings import dotted, refused

    given: dict[str, Any] = table.model_dump(exclude_none=True)
    known = _WITHOUT_FILE.providers.get(name)
    for needed in () if known else ("protocol", "base_url"):
        if needed not in given:
            raise refused(where, dotted("providers", name), f"has no {needed}: add it, as convo does not know {name}")
    protocol = given.setdefault("protocol", known.protocol if known else "")
    if known and protocol != known.protocol:
        remedy = f"stays {known.protocol}: call a service of another protocol otherwise"
        raise refused(where, dotted("providers", name, "protocol"), remedy)
    for only, of in _ONLY_OF.items():
        if only in given and protocol != of:
            raise refused(where, dotted("providers", name, only), f"is for the protocol {of} only: remove it")
    if "lacks" in given:
        given["lacks"] = tuple(given["lacks"])
    variable = given.pop("key_variable", None)
    if variable:
        given |= {"key_variables": (variable,), "needs_key": True}
    elif "base_url" in given:  # a service of one's own may want no key
        given["needs_key"] = False
    return replace(known or Provider(name, protocol, None), **given)
