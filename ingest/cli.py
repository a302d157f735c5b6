"""The command line ``orders``. Heavy modules are imported by the command that needs them."""

import io
import sys
from typing import Annotated

import typer

from ingest.client.commands import AsJson, register

app = typer.Typer(
    name="orders",
    help="Drives each order that arrives as a Kafka command to its end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dead_letters = typer.Typer(
    help="Look at what could not become a command; send it again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
register(app)
app.add_typer(dead_letters, name="dead-letters")


def _run(name: str) -> None:
    from ingest import roles
    from ingest.program import RoleMain, run_role

    main: RoleMain = getattr(roles, name)
    raise typer.Exit(run_role(name, main))


UnderMake = Annotated[
    bool, typer.Option(hidden=True, help="make runs this: end with it, answer Ctrl-C for it.")
]


@app.command()
def up(under_make: UnderMake = False) -> None:
    """Start everything here and stay in the foreground."""
    from ingest.up import run_up

    raise typer.Exit(run_up(under_make=under_make))


@app.command()
def demo(under_make: UnderMake = False) -> None:
    """Start everything, play some orders, print their stories."""
    from ingest.demo import run_demo

    raise typer.Exit(run_demo(under_make=under_make))


@app.command()
def ingest() -> None:
    """Role: take commands from Kafka to their orders."""
    _run("ingest")


@app.command()
def worker() -> None:
    """Role: drive orders and call the partners."""
    _run("worker")


@app.command()
def relay() -> None:
    """Role: publish what has happened on Kafka."""
    _run("relay")


@app.command()
def api() -> None:
    """Role: answer REST requests."""
    _run("api")


@app.command()
def board() -> None:
    """Role: the web page for operators and reviewers."""
    _run("board")


@app.command()
def partners() -> None:
    """Role: simulated partners over HTTP, for GATEWAY_MODE=http."""
    _run("partners")


@app.command()
def migrate() -> None:
    """Bring the database to the version of this program."""
    _run("migrate")


@app.command()
def topics() -> None:
    """Create the topics that are missing."""
    _run("topics")


@dead_letters.command("list")
def list_dead_letters(as_json: AsJson = False) -> None:
    """Print a line for each dead letter: id, time, reason."""
    from ingest import program, replay

    program.run_command(lambda settings: replay.list_all(settings, as_json=as_json))


@dead_letters.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False
) -> None:
    """Print one dead letter whole: reason, key, headers, value."""
    from ingest import program, replay

    program.run_command(lambda settings: replay.show(settings, letter_id, as_json=as_json))


@dead_letters.command("replay")
def replay_dead_letters(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
) -> None:
    """Send dead letters again as commands.

    They keep their first id, so it is safe to repeat.
    """
    from ingest import program, replay

    if bool(ids) == everything:
        raise typer.BadParameter("name the ids to send again, or give --all")
    program.run_command(lambda settings: replay.replay(settings, ids or [], everything=everything))


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        code = error.exit_code
        print(_wrong_usage(error), file=sys.stderr)
    sys.exit(code)


def _wrong_usage(error: typer.TyperException) -> str:
    text, context = error.format_message(), getattr(error, "ctx", None)
    if "\n" in text:  # the help, where a command was left out
        return text
    return f"orders: {text} (`{context.command_path if context else 'orders'} --help` says more)"


if __name__ == "__main__":
    main()
