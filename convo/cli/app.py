"""The commands, and the options that stand before them."""

from __future__ import annotations

from typing import Annotated

import typer

from convo.cli import audit, branches, chat, conversations, db, erase, models, prompt, transfer
from convo.version import __version__

app = typer.Typer(
    name="convo",
    help="Keep conversations with language models in an SQL database.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich would cost each start a quarter of a second
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"convo {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            "-d",
            metavar="URL",
            envvar="CONVO_DATABASE_URL",
            show_envvar=True,
            help="sqlite:///chats.db or postgresql://user@host/name; else your own store (see `convo db path`).",
        ),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="OWNER", help="Whose conversations are meant; else those of nobody.")
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Keep conversations with language models in an SQL database."""
    context.obj = {"database": database or None, "owner": owner}


app.command("chat")(chat.chat)
app.command("list")(conversations.list_conversations)
app.command("show")(conversations.show)
app.command("prompt")(prompt.prompt)
app.command("regenerate")(branches.regenerate)
app.command("choose")(branches.choose)
app.command("edit")(branches.edit)
app.command("fork")(branches.fork)
app.command("tree")(branches.tree)
app.command("verify")(audit.verify)
app.command("heads")(audit.heads)
app.command("export")(transfer.export)
app.command("import")(transfer.import_)
app.command("delete")(conversations.delete)
app.command("erase")(erase.erase)
app.command("redact")(erase.redact)
app.command("forget")(erase.forget)
app.command("prune")(erase.prune)
app.command("models")(models.models)
app.add_typer(db.app, name="db")
