"""How a role is a program: settings, logs, signals, servers waited for, one clear last line."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Protocol, TypeVar

import asyncpg
import structlog
import tenacity
from temporalio.client import Client

from domain.errors import OrderError, Unavailable
from ingest import notify
from ingest.client.errors import Code, Failed
from ingest.client.program import exits
from ingest.client.program import settings as client_settings
from ingest.header_keys import tolerate_any_header_key
from ingest.log import configure_logging
from ingest.outage import KAFKA_AWAY
from ingest.settings import BadSetting, Settings, load_settings
from orchestration.temporal_client import connect
from persistence.pool import open_pool
from persistence.version import check_version

STARTUP_SECONDS: Final = 30.0
"""How long a role waits for a server that does not answer yet, before it gives up."""

REMEDY: Final = {
    "PostgreSQL": "start it (`orders up` starts everything) or set DB_URL",
    "Temporal": "start it (`orders up` starts everything) or set TEMPORAL_HOST and TEMPORAL_PORT",
    "Kafka": "start it (`orders up` starts everything) or set KAFKA_BOOTSTRAP_SERVERS",
}

Ready = Callable[[], None]
RoleMain = Callable[[Settings, asyncio.Event, Ready], Awaitable[None]]
ResultT = TypeVar("ResultT")
log = structlog.get_logger(__name__)


class CannotStart(OrderError):
    """A role cannot begin its work; the text is one line that says what to do."""


class KafkaClient(Protocol):
    """What aiokafka's consumer and producer have in common."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""


ClientT = TypeVar("ClientT", bound=KafkaClient)


def run_role(name: str, main: RoleMain) -> int:
    """Run a role until it ends or SIGTERM or SIGINT asks it to finish; return the exit code.

    0: it finished what it had begun. 1: it could not start, or it broke; the last line of
    standard error says why.
    """
    try:
        settings = load_settings()
    except BadSetting as error:
        print(f"orders {name}: {error}", file=sys.stderr)
        return 1
    configure_logging(settings.log_format)
    tolerate_any_header_key()  # ingest reads commands, the API all topics, the board events
    last_line = ""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_signalled(main, settings))
    except* OrderError as errors:
        last_line = str(_first(errors))
    except* Exception as errors:
        log.exception("broken")
        last_line = f"broke down: {_first(errors)!r}"
    if last_line:
        print(f"orders {name}: {last_line}", file=sys.stderr)
    return 1 if last_line else 0


def run_command(main: Callable[[Settings], Awaitable[None]]) -> None:
    """Run a command that talks to the servers and ends by itself.

    Ends the program like the commands of the client: with one line and an exit code.
    """
    with exits():
        settings = client_settings()
        configure_logging(settings.log_format, libraries=False)
        try:
            asyncio.run(_as_coroutine(main(settings)))
        except Unavailable as error:
            raise Failed(Code.UNREACHABLE, str(error)) from None
        except OrderError as error:
            raise Failed(Code.REJECTED, str(error)) from None


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def open_database(settings: Settings, role: str, size: int) -> asyncpg.Pool:
    """Open a pool on a database of the right version; the caller closes it."""

    async def opened() -> asyncpg.Pool:
        pool = await open_pool(settings.db_url, f"orders-{role}", size)
        try:
            await check_version(pool)
        except BaseException:
            await pool.close()
            raise
        return pool

    return await patiently("PostgreSQL", opened)


async def open_temporal(settings: Settings) -> Client:
    """Connect to Temporal."""
    return await patiently(
        "Temporal",
        lambda: connect(
            settings.temporal_host, settings.temporal_port, settings.temporal_namespace
        ),
    )


async def open_kafka(make: Callable[[], ClientT], stack: AsyncExitStack) -> ClientT:
    """Start a Kafka client made by ``make``; leaving ``stack`` stops it."""
    client = await patiently("Kafka", lambda: _start(make))
    stack.push_async_callback(client.stop)
    return client


async def patiently(server: str, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Return what ``call`` returns, trying for ``STARTUP_SECONDS`` while it is ``Unavailable``.

    Raises ``CannotStart`` with the remedy after that.
    """

    def say_once(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome:
            log.warning("waiting", server=server, reason=str(state.outcome.exception()))

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(Unavailable),
        stop=tenacity.stop_after_delay(STARTUP_SECONDS),
        wait=tenacity.wait_random_exponential(0.2, max=2),
        before_sleep=say_once,
        reraise=True,
    )

    async def attempt() -> ResultT:
        return await call()

    try:
        return await retrying(attempt)
    except Unavailable as error:
        raise CannotStart(f"{server} does not answer ({error}): {REMEDY[server]}") from error


async def _start(make: Callable[[], ClientT]) -> ClientT:
    client = make()
    try:
        await client.start()
    except KAFKA_AWAY as error:
        await client.stop()  # aiokafka: also what did not start has to be stopped
        raise Unavailable(repr(error)) from error
    return client


async def _until_signalled(main: RoleMain, settings: Settings) -> None:
    """Let a role finish what it began on a signal; one that is not ready yet just ends."""
    stop, is_ready = asyncio.Event(), asyncio.Event()

    def ready() -> None:
        if not is_ready.is_set():
            is_ready.set()
            # What is there by now stays: looking through all of it for garbage again and again
            # would stop the process for a tenth of a second and more each time.
            gc.collect()
            gc.freeze()
            notify.ready()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    work = asyncio.ensure_future(main(settings, stop, ready))
    told = asyncio.ensure_future(stop.wait())
    await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not work.done() and not is_ready.is_set():
        work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _first(errors: BaseExceptionGroup) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
