"""Measures how many writes a second one PostgreSQL takes, and what waking the relay costs them.

    python -m bench.commits [--rounds N] [--quick]

1, 4, 16 and 32 writers write refusals for orders of their own, each a commit that has to reach the
disk (the least that ``record`` does). ``after`` is the procedure as it is, with NOTIFY in a
transaction of its own; ``within`` has it in the transaction of the write, where it takes a lock of
the whole server from before the commit until after its flush; ``silent`` has none. A listener is
connected, as a relay is.
"""

import asyncio
import contextlib
import random
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import asyncpg

from bench.command import Options, Telling, options
from devstack import free_port
from devstack.postgres import Postgres
from devstack.server import Home
from domain.events import CommandRejected
from persistence.migrate import migrate
from persistence.write import Change, record

PART: Final = "commits"
ROUNDS: Final = 3
SECONDS: Final = 4.0
WRITERS: Final = (1, 4, 16, 32)

PROCEDURE: Final = "select pg_get_functiondef('record_change_and_wake'::regproc)"
COMMIT: Final = re.compile(r"^ *commit;\n", re.MULTILINE)
NOTIFY: Final = re.compile(r"perform pg_notify\([^;]*;")


async def write_on(db_url: str, name: str, ends: float) -> int:
    """Write for one order until ``ends``; return how often."""
    connection = await asyncpg.connect(db_url)
    data, done = CommandRejected(command_type="cancel", reason="no such order"), 0
    try:
        while time.monotonic() < ends:
            await record(connection, Change(name, f"{name}-{done}", data))
            done += 1
    finally:
        await connection.close()
    return done


async def rate(db_url: str, writers: int, seconds: float) -> float:
    """Return the commits/s of so many writers at once."""
    began = time.monotonic()
    prefix = f"{writers}-{began}"
    done = await asyncio.gather(
        *(write_on(db_url, f"{prefix}-{n}", began + seconds) for n in range(writers))
    )
    return sum(done) / (time.monotonic() - began)


@contextlib.asynccontextmanager
async def database(say: Callable[[str], None]) -> AsyncIterator[str]:
    """Start PostgreSQL as in production, fsync and all, with the tables; give its address."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        (directory / "logs").mkdir()
        home = Home(directory, (), persistent=True, say=say, died=say)
        server = Postgres(home, free_port())
        await server.start()
        try:
            db_url = f"postgresql://orders@{server.where}/orders"
            await migrate(db_url)
            yield db_url
        finally:
            await server.stop()


async def measure(given: Options, telling: Telling, number: int) -> None:
    """Measure the three forms at all numbers of writers, in random order, on a new server."""
    seconds = 1.0 if given.quick else SECONDS
    async with database(telling.now("start")) as db_url:
        listener = await asyncpg.connect(db_url)
        await listener.add_listener("outbox", lambda *_: None)
        after = await listener.fetchval(PROCEDURE)
        forms = {
            "after": after,
            "within": COMMIT.sub("", after),
            "silent": NOTIFY.sub("null;", after),
        }
        for name in random.sample(list(forms), len(forms)):
            await listener.execute(forms[name])
            for writers in WRITERS:
                done = await rate(db_url, writers, seconds)
                telling.keep(
                    {"round": number, "form": name, "writers": writers, "rate": done},
                    f"{name}, {writers} writers: {done:.0f} commits/s",
                )
        await listener.close()


async def rounds(given: Options) -> None:
    """Measure once a round."""
    with Telling(PART, given.rounds * 3 * len(WRITERS), given.directory) as telling:
        for number in range(given.rounds):
            await measure(given, telling, number)


if __name__ == "__main__":
    asyncio.run(rounds(options(__doc__, PART, ROUNDS)))
