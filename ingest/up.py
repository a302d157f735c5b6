"""``orders up``: the whole service in the foreground, for development and for a first look."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from devstack import Ports, StackError, preferred_port
from ingest.local import CORE, LocalService, local_service
from ingest.processes import RoleFailed
from ingest.under_make import own_terminal, parent_gone

DIRECTORY: Final = Path(".stack")


def run_up(*, under_make: bool) -> int:
    """Start everything, print the addresses, stay until SIGINT or SIGTERM.

    Returns the exit code: 0 after a signal, 1 when a part could not start or died for good.
    ``under_make``: see ``ingest.under_make``.
    """
    return run_until_signalled(_up, under_make=under_make)


def run_until_signalled(main: Callable[[], Awaitable[int]], *, under_make: bool) -> int:
    """Run ``main`` and return its code; SIGINT and SIGTERM cancel it, which counts as 0."""
    with own_terminal() if under_make else contextlib.nullcontext():
        return asyncio.run(_until_signalled(main, under_make=under_make))


async def _until_signalled(main: Callable[[], Awaitable[int]], *, under_make: bool) -> int:
    task = asyncio.ensure_future(main())

    def stop() -> None:
        if not task.cancelling():
            say("\nStopping ...")
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    orphaned = asyncio.ensure_future(_stop_when_orphaned(stop)) if under_make else None
    try:
        return await task
    except asyncio.CancelledError:
        say("Stopped.")
        return 0
    except (RoleFailed, StackError) as error:
        say(f"Could not start: {error}")
        return 1
    finally:
        if orphaned:
            orphaned.cancel()


async def _stop_when_orphaned(stop: Callable[[], None]) -> None:
    await parent_gone()
    stop()


def say(text: str) -> None:
    """Print a line at once, also into a pipe; one that nobody reads any more is no error."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


async def _up() -> int:
    began = time.monotonic()
    say(f"Starting the order lifecycle service; data and logs in {DIRECTORY}/, Ctrl-C ends it")
    web: dict[str, str] = {}

    def choose_ports(say: Callable[[str], None]) -> Ports:
        web.update(_web_ports())
        return Ports.preferred(say)

    roles = (*CORE, "api", "board")
    async with local_service(DIRECTORY, choose_ports, say, web, roles, persistent=True) as service:
        with _endpoints_file(service.variables):
            say(f"Everything is ready after {time.monotonic() - began:.1f} s\n")
            say(welcome(service))
            say(f"Gone for good: {await service.failed()}")
            return 1


def _web_ports() -> dict[str, str]:
    api = preferred_port("API", 8000, say)
    board = preferred_port("board", 8090, say)
    return {
        "API_PORT": str(api),
        "API_URL": f"http://localhost:{api}",
        "BOARD_PORT": str(board),
    }


@contextlib.contextmanager
def _endpoints_file(variables: Mapping[str, str]) -> Iterator[None]:
    path = DIRECTORY / "endpoints.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def welcome(service: LocalService) -> str:
    """Return the addresses and the lines to paste into another terminal."""
    settings = service.settings
    kcat = f"kcat -P -b {settings.kafka_bootstrap_servers} -t {settings.commands_topic}"
    read = f"kcat -C -b {settings.kafka_bootstrap_servers} -t"
    address = '{"street":"123 Main St","city":"Anytown","state":"CA","zip":"12345"}'
    elsewhere = '{"street":"9 Side St","city":"Anytown","state":"CA","zip":"12345"}'
    dear = '[{"sku":"GOLD","quantity":1,"unit_price":90000}]'
    return f"""\
  Board         http://localhost:{settings.board_port}
  API           {settings.api_url}/docs
  Temporal UI   {settings.temporal_ui_url}
  Temporal      {settings.temporal_host}:{settings.temporal_port}
  Kafka         {settings.kafka_bootstrap_servers}
  PostgreSQL    {settings.db_url}

Send an order, and see what becomes of it:
  echo '{{"type":"start","order_id":"A-1","initial_address":{address}}}' | {kcat}
  {read} {settings.events_topic} -e -q

A dear one waits for a reviewer; approve it (or reject it: "type":"reject"):
  echo '{{"type":"start","order_id":"A-2","initial_address":{address},\
"items":{dear},"currency":"USD"}}' | {kcat}
  echo '{{"type":"approve","order_id":"A-2","reviewed_by":"me"}}' | {kcat}

While it waits, its address may change, and it may be cancelled:
  echo '{{"type":"update-address","order_id":"A-2","new_address":{elsewhere},\
"updated_by":"me"}}' | {kcat}
  echo '{{"type":"cancel","order_id":"A-2","reason":"no longer wanted","cancelled_by":"me"}}' \
| {kcat}

What could not be read as a command, and why:
  {read} {settings.dead_letter_topic} -e -q -f '%s\\n  %h\\n'

Ctrl-C ends everything; the orders are there again after the next start.
"""
