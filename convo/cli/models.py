"""`convo models`: what can be used here, what a service has, and whether the services answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convo.cli.options import AsJson

if TYPE_CHECKING:
    from convo.cli.output import Table
    from convo.clients.providers import Provider

CHECK_S = 10.0
"""How long a service may take to show that it answers, its retries included."""

UNKNOWN = "?"
"""A limit that nobody tells."""


def models(
    provider: Annotated[
        str | None, typer.Option("--provider", "-p", metavar="PROVIDER", help="Ask that service which models it has.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the services that are set up whether they answer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the models and services that can be used here; without options nothing is asked over the network.

    A service is set up when the configuration names it, or the environment has its key or its address. Keys are never
    shown, only the names of the variables that hold them. With --check the exit code is 1 when a service fails.
    """
    if check:
        _check(provider, as_json=as_json)
    elif provider is not None:
        _list(provider, as_json=as_json)
    else:
        _overview(as_json=as_json)


def _list(provider: str, *, as_json: bool) -> None:
    from convo.cli.output import note, say_json, say_table
    from convo.models import list_models

    listed = list_models(provider)
    if as_json:
        names = ("name", "output_token_limit", "display_name")
        say_json(
            [
                {name: getattr(each, name) for name in names} | {"input_token_limit": each.input_token_limit or None}
                for each in listed
            ]
        )
    elif not listed:
        note(f"{provider} lists no models")
    else:
        rows = [(each.name, _limit(each.input_token_limit), each.display_name) for each in listed]
        say_table((("MODEL", "LIMIT", "CALLED"), rows))


def _check(provider: str | None, *, as_json: bool) -> None:
    """Ask services one by one, and say of each at once what came of it."""
    from convo.cli.output import note, padded, say, say_json
    from convo.models import set_up

    names = set_up() if provider is None else [provider]
    if not names:
        note("no service is set up: docs/models.md tells which variables hold the keys")
    width = max(map(len, names), default=0)
    told = []
    for name, count, failure in _answers(names):
        told.append({"provider": name, "ok": failure is None, "models": count, "error": failure})
        fields = (name, "ok", f"{count} models") if failure is None else (name, "failed", failure)
        if not as_json:
            on_terminal = f"{padded(name, width)}  {fields[1]:6}  {fields[2]}"
            say(on_terminal if sys.stdout.isatty() else "\t".join(" ".join(each.split()) for each in fields))
    if as_json:
        say_json(told)
    if not all(each["ok"] for each in told):
        raise typer.Exit(1)


def _answers(names: Sequence[str]) -> Iterator[tuple[str, int | None, str | None]]:
    """Yield of each service how many models the beginning of its list has, or why it has none for us."""
    from convo.errors import ConvoError, InvalidParameter
    from convo.models import check

    for name in names:
        try:
            yield name, check(name, CHECK_S), None
        except InvalidParameter:  # nobody is called so
            raise
        except ConvoError as error:
            yield name, None, str(error)


def _overview(*, as_json: bool) -> None:
    from convo.cli.output import note, say_json, say_tables
    from convo.config import configuration, path
    from convo.models import default_model, list_models

    told, default = configuration(), default_model()
    limits = {each.name: each.input_token_limit for each in list_models()}
    limits.setdefault(default, 0)
    services = [_service(each) for each in told.providers.values()]
    if as_json:
        models = [{"name": name, "input_token_limit": limit or None} for name, limit in limits.items()]
        aliases = dict(sorted(told.aliases.items()))
        of_file = {"configuration": told.file, "default": default}
        say_json(of_file | {"models": models, "aliases": aliases, "providers": services})
        return
    note(f"configuration: {told.file}" if told.file else f"there is no configuration file {path()}")
    known = [(name, _limit(limit), "default" if name == default else "") for name, limit in limits.items()]
    tables: dict[str, Table] = {"model": (("MODEL", "LIMIT", ""), known)}
    if told.aliases:
        tables["alias"] = ("ALIAS", "MODEL"), sorted(told.aliases.items())
    rows = [(each["name"], each["key_variable"] or "", _key(each), each["url"] or "") for each in services]
    say_tables(tables | {"provider": (("PROVIDER", "KEY", "", "WHERE"), rows)})


def _key(service: Mapping[str, Any]) -> str:
    return "set" if service["has_key"] else "not set" if service["needs_key"] else "-"


def _service(provider: Provider) -> dict[str, Any]:
    """Return what there is to know of a service without asking it."""
    from convo.clients.providers import first_set, url_of
    from convo.clients.server import shown_url

    variable = first_set(provider.key_variables, os.environ)
    url = url_of(provider, os.environ)
    return {
        "name": provider.name,
        "protocol": provider.protocol,
        "url": None if url is None else shown_url(url),
        "key_variable": variable or next(iter(provider.key_variables), None),
        "has_key": variable is not None,
        "needs_key": provider.needs_key and first_set(provider.url_variables, os.environ) is None,
    }


def _limit(tokens: int) -> str:
    return f"{tokens}" if tokens else UNKNOWN
