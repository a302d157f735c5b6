"""What every command of the client does: settings, a connection, output, one exit code."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from domain.model import ID_RULE, ORDER_ID_MAX, is_id
from ingest.client.errors import Code, Failed
from ingest.client.http import Api
from ingest.settings import BadSetting, Settings, load_settings


@contextmanager
def connected() -> Iterator[Api]:
    """Lend a connection to the API; turn whatever goes wrong into a line and an exit code."""
    with exits(), Api.open(settings().api_url) as api:
        yield api


@contextmanager
def exits() -> Iterator[None]:
    """End the program by exit code, with one line on standard error."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        if sys.stdout:
            sys.stdout.flush()  # a reader that has gone is noticed here, not at the very end
    except Failed as failure:
        print(f"orders: {failure}", file=sys.stderr)
        raise typer.Exit(failure.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(Code.INTERRUPTED) from None
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        sys.stdout = None
        raise typer.Exit(Code.DONE) from None
    except OSError as error:  # as a full disk; what goes wrong with the API is a Failed
        sys.stdout = None
        print(f"orders: cannot write: {error.strerror}", file=sys.stderr)
        raise typer.Exit(Code.REJECTED) from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left that could be said


def settings() -> Settings:
    """Read the settings; raises ``Failed``."""
    try:
        return load_settings()
    except BadSetting as error:
        raise Failed(Code.USAGE, "; ".join(str(error).splitlines())) from None


def parse(option: str, text: str, example: str) -> object:
    """Return the JSON that an option holds; raises ``Failed``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failed(
            Code.USAGE, f"{option} is not JSON ({error}): give it as '{example}'"
        ) from None


def path(collection: str, name: str, *more: str) -> str:
    """Return a path of the API; raises ``Failed`` for an id that none can have."""
    check_id("order id", name, ORDER_ID_MAX)
    return "/".join(("", collection, name, *more))


def check_id(what: str, text: str, longest: int) -> None:
    """Raise ``Failed`` for an id that none can have."""
    if not is_id(text, longest):
        raise Failed(Code.USAGE, f"{text!r} is no {what}: {ID_RULE}, at most {longest}")


def print_json(document: object) -> None:
    """Print a document on one line, in ASCII, so that any terminal and pipe can take it."""
    print(json.dumps(document), flush=True)
