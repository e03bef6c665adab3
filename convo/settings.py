"""What may stand in the configuration file, as shapes; and what is wrong with a file that has something else.

No value of a file is shown, as it may be a key that was put in the wrong place.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from convo.clients.server import split_url
from convo.errors import InvalidInput

MAX_NAME_BYTES = 1024
"""The longest name of a model: as of all labels that a store keeps."""

NAMES = re.compile(r"[a-z0-9_-]{1,64}")
VARIABLES = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
"""Small letters are left to keys: one that is given as the name of its variable is refused, and not shown."""

HEADERS = re.compile(r"[a-z][a-z-]{1,39}")
"""No digits: a key that is given as the name of its header is refused, and not shown."""

_KEYS = re.compile("(key|token|secret|password|credential)s?$|^auth")

READ_FROM = "keys are read from the environment alone: name the variable with key_variable in the provider's table"


def _one_line(name: str) -> str:
    if not name.strip() or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        msg = f"must be one line of 1 to {MAX_NAME_BYTES} bytes"
        raise ValueError(msg)
    return name


def _whole_name(name: str) -> str:
    if "/" not in _one_line(name):
        msg = "must be the whole name of a model, provider/name, and no alias"
        raise ValueError(msg)
    return name


def _alias(name: str) -> str:
    if "/" in _one_line(name):
        msg = 'has a "/" in it, as only whole names of models have: call it otherwise'
        raise ValueError(msg)
    return name


def _variable(name: str) -> str:
    if not VARIABLES.fullmatch(name):
        msg = "must be the name of an environment variable, in capitals, such as LOCAL_API_KEY: the key is read from it"
        raise ValueError(msg)
    return name


def _provider(name: str) -> str:
    if not NAMES.fullmatch(name) or name in ("offline", "models"):
        msg = "must be called by letters a-z, digits, _ and -, and neither offline, models nor tunedModels"
        raise ValueError(msg)
    return name


def _header(name: str) -> str:
    if not HEADERS.fullmatch(name):
        msg = "must be the name of a header, such as api-key; the key is read from the environment"
        raise ValueError(msg)
    return name


def _url(base_url: str) -> str:
    try:
        split_url(base_url, "it")
    except InvalidInput:
        msg = "must be http(s)://host…, without name or password"
        raise ValueError(msg) from None
    return base_url


WholeName = Annotated[str, AfterValidator(_whole_name)]
Tokens = Annotated[int, Field(ge=1, lt=2**31)]
ParameterName = Literal["temperature", "top_p", "top_k", "candidate_count", "max_output_tokens", "stop_sequences"]


class Table(BaseModel):
    """A table of the file: what is not foreseen is refused, and no value becomes one of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ProviderTable(Table):
    """A service: one of the user's own, or what is other than known of a known one."""

    protocol: Literal["openai", "anthropic", "gemini", "ollama", "palm"] | None = None
    base_url: Annotated[str, AfterValidator(_url)] | None = None
    key_variable: Annotated[str, AfterValidator(_variable)] | None = None
    strict: bool | None = None
    output_limit: Literal["max_completion_tokens", "max_tokens"] | None = None
    lacks: list[ParameterName] | None = None
    key_header: Annotated[str, AfterValidator(_header)] | None = None
    fold_examples: bool | None = None
    num_ctx: Annotated[int, Field(ge=2, lt=2**31)] | None = None


class File(Table):
    """The whole file."""

    model: Annotated[str, AfterValidator(_one_line)] | None = None
    aliases: dict[Annotated[str, AfterValidator(_alias)], WholeName] = {}
    limits: dict[WholeName, Tokens] = {}
    providers: dict[Annotated[str, AfterValidator(_provider)], ProviderTable] = {}


def parse(content: bytes, where: str) -> File:
    """Return what a file says; `where` names it in errors.

    Raises:
        InvalidInput: it is not TOML in UTF-8 (https://toml.io/en/v1.0.0), or has something that is not foreseen.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is not UTF-8 at byte {error.start}: save it as UTF-8") from None
    try:
        told = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not TOML: {_reason(error)}; see https://toml.io") from None
    try:
        return File.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise refused(where, _path(first["loc"]), _remedy(dict(first))) from None


def refused(where: str, path: str, remedy: str) -> InvalidInput:
    """Return the error for what stands at a place of a file."""
    return InvalidInput(f"{where}: {path} {remedy}")


def dotted(*names: str) -> str:
    """Return a place of a file as TOML writes it: providers.local.base_url, limits."local/x"."""
    return ".".join(name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name[:80]) for name in names)


def _reason(error: Exception) -> str:
    """Return why a file is no TOML, and where; not what stands there."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        return "a number is too long, or it nests too deep"
    return re.sub(r"""(['"]).{4,}\1""", "…", str(error), flags=re.DOTALL)


def _path(place: tuple[int | str, ...]) -> str:
    names = [str(each) for each in place if each != "[key]"]  # which is pydantic's mark of a key that is wrong itself
    return dotted(*names) if names else "the whole"


def _remedy(error: dict[str, Any]) -> str:
    """Return what is to be done about what pydantic found."""
    kind, facts = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unforeseen(error["loc"])
    if kind == "value_error":
        return str(facts["error"])
    if kind == "literal_error":
        return f"must be {facts['expected']}"
    if kind in ("greater_than_equal", "less_than"):
        return f"must be a whole number from {facts.get('ge', 1)} and below 2**31"
    return f"must be {_TYPES.get(kind, 'something else')}"


_TYPES = {
    "string_type": "a string",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _unforeseen(place: tuple[int | str, ...]) -> str:
    if _KEYS.search(str(place[-1]).lower()):
        return f"may not stand in the file: {READ_FROM}"
    names = File.model_fields if len(place) == 1 else ProviderTable.model_fields
    return f"is not known: there are {', '.join(names)}"
