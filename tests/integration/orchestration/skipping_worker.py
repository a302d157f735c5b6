"""A worker as a process of its own, on a server that skips time and with partners over HTTP."""

import asyncio
import signal
import sys
from pathlib import Path

from orchestration import gateways
from orchestration.temporal_client import connect
from orchestration.worker import workers
from persistence.pool import open_pool
from tests.integration.orchestration.worker_process import install


async def main() -> None:
    db_url, address, order_queue, shipping_queue, directory, url = sys.argv[1:]
    install(Path(directory))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    host, _, port = address.rpartition(":")
    pool = await open_pool(db_url, "worker", 8)
    client = await connect(host, int(port), "default")
    async with gateways.http(gateways.Urls(url, url, url, url, url)) as partners:
        # Not ``run_worker``: this server knows no schedules, which the reconciler needs. Nothing
        # is cached, since it leaves tasks for ever to the dead worker that had the workflow.
        orders, shipments = workers(client, pool, partners, order_queue, shipping_queue, cached=0)
        async with orders, shipments:
            await stop.wait()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
