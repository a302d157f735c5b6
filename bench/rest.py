"""Measures the REST API of a whole service of its own under a steady load of starts.

    python -m bench.rest [--rate 200] [--seconds 30] [--faults none|flaky] [--quick]

starts   `rate` POST /orders/{id}/start a second, open loop (a slow answer does not slow the
         load), each to be answered 202; afterwards every one has to stand in the table of orders
status   meanwhile 50 GET status a second of orders already accepted, and as many GET of a bare
         FastAPI endpoint behind the same uvicorn on the same machine, in alternation

All of it, servers and workflows included, shares this machine; latencies are the client's.
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Final

import asyncpg
import httpx

from bench.data import KEPT, LOOK, keep
from devstack import Child, Ports, free_port
from ingest.local import CORE, local_service

Call = Callable[[int], Coroutine[None, None, None]]

STATUS_RATE: Final = 50
DRAIN_SECONDS: Final = 900

ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
_BARE: Final = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def bare() -> dict[str, str]:
    return {"status": "ok"}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


class Load:
    """What was sent and how it was answered."""

    def __init__(self, api: httpx.AsyncClient, bare: httpx.AsyncClient) -> None:
        self.api = api
        self.bare = bare
        self.accepted: list[str] = []
        self.codes: dict[str, Counter[str]] = {n: Counter() for n in ("start", "status", "bare")}
        self.seconds: dict[str, list[float]] = {n: [] for n in ("start", "status", "bare")}

    async def start(self, number: int) -> None:
        """Start one order."""
        order_id = f"R-{number}"
        answer = await self._timed(
            "start", self.api.post(f"/orders/{order_id}/start", json={"initial_address": ADDRESS})
        )
        if answer == "202":
            self.accepted.append(order_id)

    async def look(self, number: int) -> None:
        """Ask for a status, or ask the bare endpoint."""
        if number % 2:
            await self._timed("bare", self.bare.get("/"))
        elif self.accepted:
            order_id = random.choice(self.accepted)
            await self._timed("status", self.api.get(f"/orders/{order_id}/status"))

    async def _timed(self, name: str, call: Awaitable[httpx.Response]) -> str:
        began = time.perf_counter()
        try:
            code = str((await call).status_code)
        except httpx.HTTPError as error:
            code = type(error).__name__
        self.seconds[name].append(time.perf_counter() - began)
        self.codes[name][code] += 1
        return code


async def at_rate(call: Call, rate: float, seconds: float) -> None:
    """Make ``rate`` calls a second whatever becomes of them; return when all are answered."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(call(number))


def client(url: str) -> httpx.AsyncClient:
    """Return a client with room for every request of the load."""
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=500)
    return httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False)


async def measure(rate: int, seconds: int, faults: str, kept: Path) -> bool:
    """Run the whole measurement; tell whether every start was accepted and none lost."""
    with tempfile.TemporaryDirectory(prefix="bench-rest-") as directory:
        api_port, port = free_port(), free_port()
        url = f"http://127.0.0.1:{api_port}"
        settings = {
            "REVIEW_POLICY": "auto",
            "SIMULATED_FAULTS": faults,
            "API_PORT": str(api_port),
            "API_URL": url,
        }
        names = (*CORE, "api")
        async with local_service(
            Path(directory), Ports.free(), print, settings, names, persistent=False
        ) as service:
            child = await Child.spawn(
                "bare",
                [sys.executable, "-c", _BARE, str(port)],
                env=dict(os.environ),
                log_path=Path(directory) / "bare.log",
            )
            async with (
                client(url) as api,
                client(f"http://127.0.0.1:{port}") as bare,
            ):
                load = Load(api, bare)
                await asyncio.sleep(3)
                await asyncio.gather(
                    at_rate(load.start, rate, seconds), at_rate(load.look, 2 * STATUS_RATE, seconds)
                )
                keep(kept, "rest", {"rate": rate, "faults": faults, **report(load)})
                lost = await drained(service.settings.db_url, load.accepted)
            await child.terminate(5)
    everything = load.codes["start"] == Counter({"202": rate * seconds})
    print(f"accepted {len(load.accepted)} of {rate * seconds}, lost {lost}")
    return everything and lost == 0


async def drained(db_url: str, accepted: list[str]) -> int:
    """Wait until every accepted order stands in the table; return how many do not."""
    connection = await asyncpg.connect(db_url)
    began = time.monotonic()
    missing = len(accepted)
    while missing and time.monotonic() - began < DRAIN_SECONDS:
        await asyncio.sleep(2)
        missing = len(accepted) - await connection.fetchval(
            "select count(*) from orders where order_id = any($1::text[])", accepted
        )
    print(f"all orders received {time.monotonic() - began:.0f} s after the load")
    rows = await connection.fetch("select state, count(*) from orders group by 1 order by 1")
    print("states then:", {row["state"]: row["count"] for row in rows})
    await connection.close()
    return missing


def report(load: Load) -> dict[str, dict[str, float]]:
    """Print and return count, answers and percentiles (ms) of each kind of request."""
    found: dict[str, dict[str, float]] = {}
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for name, seconds in load.seconds.items():
        cuts = statistics.quantiles(seconds, n=1000)
        p50, p99, worst = cuts[499] * 1000, cuts[989] * 1000, max(seconds) * 1000
        answers = dict(load.codes[name])
        found[name] = {"count": len(seconds), "p50": p50, "p99": p99, "worst": worst}
        print(
            f"{name:<7} {len(seconds):>6}  p50 {p50:6.1f}  p99 {p99:7.1f}  max {worst:7.1f} ms"
            f"  {answers}"
        )
    return found


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--faults", choices=("none", "flaky"), default="none")
    parser.add_argument("--quick", action="store_true", help=f"a look, kept in {LOOK}")
    given = parser.parse_args()
    kept = LOOK if given.quick else KEPT
    rate, seconds = (20, 5) if given.quick else (given.rate, given.seconds)
    return 0 if asyncio.run(measure(rate, seconds, given.faults, kept)) else 1


if __name__ == "__main__":
    sys.exit(main())
