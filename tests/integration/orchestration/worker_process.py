"""A worker as a process of its own that can be made to die, once, at a named point.

The points lie around what every activity is made of: ``before <operation>`` of a partner,
``after <operation>`` (it has taken effect, nothing is written), ``written <key>`` of an event.
A point fires when a file of its name lies in the directory given. So does ``fail <operation>``,
at which the step fails without the partner being asked, and goes on as a regular activity.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from domain.errors import PartnerUnavailable
from orchestration import gateways
from orchestration.activities.base import Activities
from orchestration.temporal_client import connect
from orchestration.worker import run_worker
from persistence.pool import open_pool


def install(directory: Path) -> None:
    """Wrap the two methods that all activities use."""

    def is_asked_for(name: str) -> bool:
        try:
            (directory / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def point(name: str) -> None:
        if is_asked_for(name):
            os.kill(os.getpid(), signal.SIGKILL)

    ask, write = Activities.ask, Activities.write

    async def asking(self: Activities, operation: str, *args: Any) -> Any:
        point(f"before {operation}")
        if is_asked_for(f"fail {operation}"):
            raise PartnerUnavailable("told to fail")
        answer = await ask(self, operation, *args)
        point(f"after {operation}")
        return answer

    async def writing(self: Activities, key: str, *args: Any, **more: Any) -> Any:
        written = await write(self, key, *args, **more)
        point(f"written {key.partition(':')[0]}")
        return written

    Activities.ask = asking  # type: ignore[method-assign,assignment]
    Activities.write = writing  # type: ignore[method-assign]


async def main() -> None:
    db_url, host, port, order_queue, shipping_queue, directory, faults = sys.argv[1:]
    install(Path(directory))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await open_pool(db_url, "worker", 8)
    client = await connect(host, int(port), "default")
    async with gateways.simulated(db_url, gateways.Faults(faults), seed=1) as partners:
        await run_worker(client, pool, partners, order_queue, shipping_queue, stop)
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
