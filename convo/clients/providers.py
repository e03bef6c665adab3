"""Which services there are, where, and with whose key: the ones that convo knows, and those of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convo.errors import InvalidInput

if TYPE_CHECKING:
    from convo.clients.language import Language
    from convo.clients.server import Server

OPENAI, ANTHROPIC, GEMINI, OLLAMA, PALM = "openai", "anthropic", "gemini", "ollama", "palm"
"""The languages, which are the names of the services that speak them."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A service: the beginning of its models' names, its language, where it is, and where its key is kept."""

    name: str
    protocol: str
    base_url: str | None
    """Unless the environment names another one; None when only the environment knows."""
    url_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    strict: bool = True
    """Whether a parameter that the service has not is an error."""
    output_limit: str = "max_completion_tokens"
    """Of a service that speaks as OpenAI's: how it calls the most tokens of an answer."""
    lacks: tuple[str, ...] = ()
    """Parameters that it has not, of a service that speaks as OpenAI's."""
    key_header: str | None = None
    """Where the key of such a service is sent, if not as a bearer's token."""
    fold_examples: bool = False
    """Whether examples are sent as a part of the context, not as turns."""
    num_ctx: int | None = None
    """Of a service that speaks as Ollama: the window in tokens that its models are run with; None leaves it to it."""


KNOWN = (
    Provider(
        OPENAI,
        OPENAI,
        "https://api.openai.com/v1",
        ("OPENAI_BASE_URL",),
        ("OPENAI_API_KEY",),
        lacks=("top_k",),
    ),
    Provider(ANTHROPIC, ANTHROPIC, "https://api.anthropic.com", ("ANTHROPIC_BASE_URL",), ("ANTHROPIC_API_KEY",)),
    Provider(
        GEMINI,
        GEMINI,
        "https://generativelanguage.googleapis.com",
        ("GEMINI_BASE_URL",),
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Provider(OLLAMA, OLLAMA, "http://127.0.0.1:11434", ("OLLAMA_HOST",), ("OLLAMA_API_KEY",), needs_key=False),
    Provider(PALM, PALM, None, ("PALM_BASE_URL",), ("PALM_API_KEY", "GOOGLE_API_KEY"), needs_key=False),
)
"""The services that convo knows; addresses and names of variables are those of their own documentation."""


def server_of(provider: Provider, environment: Mapping[str, str]) -> Server:
    """Return where a service is, and its key.

    Raises:
        InvalidInput: nobody says where, or there is no key.
    """
    from convo.clients.server import Secret, Server

    base_url = url_of(provider, environment)
    if base_url is None:
        raise InvalidInput(
            f"nobody says where {provider.name} is: set {provider.url_variables[0]}, or base_url "
            f"in [providers.{provider.name}] of the configuration"
        )
    variable = first_set(provider.key_variables, environment)
    # A service of one's own, which a variable names, may want no key.
    if variable is None and provider.needs_key and base_url == provider.base_url:
        raise InvalidInput(f"there is no key for {provider.name}: set {' or '.join(provider.key_variables)}")
    return Server(codec_of(provider), base_url, Secret(environment[variable].strip()) if variable else None)


def url_of(provider: Provider, environment: Mapping[str, str]) -> str | None:
    """Return where a service is: as the environment says, else as is known; None when nobody says so."""
    variable = first_set(provider.url_variables, environment)
    base_url = environment[variable] if variable else provider.base_url
    if base_url is None or provider.protocol != OLLAMA:
        return base_url
    return _ollama_url(base_url)


def first_set(variables: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """Return the name of the first of some variables that is set, and not empty."""
    return next((name for name in variables if environment.get(name)), None)


def _ollama_url(host: str) -> str:
    """Return the address that OLLAMA_HOST means, as Ollama's own client reads it (ollama-python, `_parse_host`).

    It may lack the scheme, and then the port too, which is 11434, or the name, which is this machine's. A server
    listens at 0.0.0.0 or [::], but is not there.
    """
    host = host.strip().strip("\"'").strip()
    scheme, found, rest = host.partition("://")
    if not found:
        scheme, rest = "http", host
    address, slash, path = rest.partition("/")
    address = f"[{address}]" if address.count(":") > 1 and not address.startswith("[") else address
    name, _, port = address.rpartition(":") if re.search(r":\d*$", address) else (address, "", "")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104 - nothing listens
    port = port or ("" if found else "11434")
    return f"{scheme}://{name}" + (f":{port}" if port else "") + slash + path


def codec_of(provider: Provider) -> Language:
    """Return the language of a service; each is loaded when it is first spoken.

    Raises:
        InvalidInput: nobody here speaks it.
    """
    if provider.protocol == OPENAI:
        from convo.clients.openai import OpenAI

        return OpenAI(provider.name, provider.strict, provider.output_limit, provider.lacks, provider.key_header)
    if provider.protocol == ANTHROPIC:
        from convo.clients.anthropic import Anthropic

        return Anthropic(provider.name, provider.strict)
    if provider.protocol == GEMINI:
        from convo.clients.gemini import Gemini

        return Gemini(provider.name, provider.strict)
    if provider.protocol == OLLAMA:
        from convo.clients.ollama import Ollama

        return Ollama(provider.name, provider.strict, provider.num_ctx)
    if provider.protocol == PALM:
        from convo.clients.palm import Palm

        return Palm(provider.name, provider.strict)
    raise InvalidInput(f"{provider.name} has the protocol {provider.protocol!r}, which nobody here speaks")
