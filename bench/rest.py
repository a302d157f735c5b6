"""Measures the REST API of a whole service of its own under a steady load of starts.

    python -m bench.rest [--rate 200] [--seconds 30] [--faults none|flaky] [--drain 900] [--ahead]
                         [--quick]

starts   `rate` POST /orders/{id}/start a second, open loop (a slow answer does not slow the
         load), each to be answered 202; afterwards every order has to come to its end
status   meanwhile 50 GET status a second, half of them of orders that are known (200), half of
         accepted ones, most of which still wait in Kafka (404); and as many GET of a bare
         FastAPI endpoint behind the same uvicorn on the same machine, in alternation

All of it, servers, workflows and this client included, shares the machine. A latency is counted
from the moment at which the request was due, so the client's own delay is part of it; how late
the client was is told apart (``late``). ``--ahead`` gives the API and what it needs, Kafka and
PostgreSQL, ten times the weight that others have for the scheduler, as ``cpu_shares`` in
docker-compose.yml does, and so for the bare endpoint and the client, which stands for other
machines; that needs root.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
import uvloop

from bench.data import KEPT, LOOK, keep
from bench.meter import Meter, Usage
from bench.service import ADDRESS, Service, running_service
from devstack import Child, free_port
from ingest.local import CORE

Call = Callable[[int, float], Coroutine[None, None, None]]

STATUS_RATE: Final = 50
LOOK_SECONDS: Final = 5
AHEAD: Final = -10
"""A niceness that stands for 9,548 where 0 stands for 1,024 (sched_prio_to_weight in Linux)."""
_BARE: Final = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/")
async def bare() -> dict[str, str]:
    return {"status": "ok"}
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
"""
_STATES: Final = """
select count(*) as received, count(*) filter (where state = any($2::text[])) as ended
from orders where order_id = any($1::text[])
"""
_ENDS: Final = ["shipped", "rejected", "cancelled", "failed"]


def give_weight(pid: int) -> None:
    """Give a process, and its session where Linux weighs those, ten times the usual weight."""
    psutil.Process(pid).nice(AHEAD)
    with contextlib.suppress(FileNotFoundError):  # a kernel without autogroups
        Path(f"/proc/{pid}/autogroup").write_text(str(AHEAD))


class Load:
    """What was sent and how it was answered."""

    def __init__(
        self, http: aiohttp.ClientSession, api: str, bare: str, received: list[str]
    ) -> None:
        self.http = http
        self.received = received
        self.api = api
        self.bare = bare
        self.accepted: list[str] = []
        self.codes: dict[str, Counter[str]] = {n: Counter() for n in ("start", "status", "bare")}
        self.seconds: dict[str, list[float]] = {n: [] for n in ("start", "status", "bare", "late")}

    async def start(self, number: int, due: float) -> None:
        """Start one order."""
        order_id = f"R-{number}"
        url = f"{self.api}/orders/{order_id}/start"
        body = {"initial_address": ADDRESS}
        if await self._timed("start", due, "POST", url, json=body) == "202":
            self.accepted.append(order_id)

    async def look(self, number: int, due: float) -> None:
        """Ask for a status, or ask the bare endpoint."""
        if number % 2:
            await self._timed("bare", due, "GET", self.bare)
        elif known := self.received if number % 4 else self.accepted:
            order_id = random.choice(known)
            await self._timed("status", due, "GET", f"{self.api}/orders/{order_id}/status")

    async def _timed(self, name: str, due: float, method: str, url: str, **more: Any) -> str:  # noqa: ANN401 - of aiohttp
        self.seconds["late"].append(time.monotonic() - due)
        try:
            async with self.http.request(method, url, **more) as answer:
                await answer.read()
                code = str(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            code = type(error).__name__
        self.seconds[name].append(time.monotonic() - due)
        self.codes[name][code] += 1
        return code


async def at_rate(call: Call, rate: float, seconds: float) -> None:
    """Make ``rate`` calls a second whatever becomes of them; return when all are answered."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(call(number, due))


async def measure(given: argparse.Namespace, kept: Path) -> bool:
    """Run the whole measurement; tell whether every start was accepted and none lost."""
    api_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{api_port}"
    settings = {
        "REVIEW_POLICY": "auto",
        "SIMULATED_FAULTS": given.faults,
        "API_PORT": str(api_port),
        "API_URL": url,
    }
    async with running_service(print, settings, (*CORE, "api")) as service:
        bare = await Child.spawn("bare", [sys.executable, "-c", _BARE, str(port)])
        try:
            connector = aiohttp.TCPConnector(limit=500)
            async with aiohttp.ClientSession(connector=connector) as http:
                load = Load(http, url, f"http://127.0.0.1:{port}/", service.received)
                if given.ahead:
                    stack, api = service.local.stack, service.local.roles["api"]
                    servers = (stack.postgres.pid, stack.kafka.pid)
                    for pid in (api.pid, *servers, bare.pid, os.getpid()):
                        give_weight(pid)
                await asyncio.sleep(3)
                meter = await service.meter(bare=bare.pid)
                usage = await under_load(meter, load, given.rate, given.seconds)
            answers = report(load)
            print(_cores(usage), flush=True)
            orders = await drained(service, load.accepted, given.drain)
        finally:
            await bare.terminate(5)
    told = {"what": given.what, "rate": given.rate, "faults": given.faults, "drain": given.drain}
    keep(kept, "rest", {**told, **answers, "usage": asdict(usage), "orders": orders})
    print(f"accepted {len(load.accepted)} of {given.rate * given.seconds}, then {orders}")
    everything = load.codes["start"] == Counter({"202": given.rate * given.seconds})
    return everything and orders["ended"] == len(load.accepted)


async def under_load(meter: Meter, load: Load, rate: int, seconds: int) -> Usage:
    """Send everything; return what was used meanwhile."""
    gc.collect()
    gc.freeze()  # or the client stops for a while, and measures that
    meter.restart()
    await asyncio.gather(
        at_rate(load.start, rate, seconds), at_rate(load.look, 2 * STATUS_RATE, seconds)
    )
    return meter.usage()


async def drained(service: Service, accepted: list[str], seconds: int) -> dict[str, int]:
    """Wait until every accepted order has ended, ``seconds`` at most; return how many have."""
    began = time.monotonic()
    while True:
        (row,) = await service.db.fetch(_STATES, accepted, _ENDS)
        found = dict(row)
        passed = time.monotonic() - began
        print(f"{passed:4.0f} s after the load: {found}", flush=True)
        if found["ended"] == len(accepted) or passed >= seconds:
            return {"accepted": len(accepted), **found, "seconds": round(passed)}
        await asyncio.sleep(LOOK_SECONDS)


def report(load: Load) -> dict[str, dict[str, float]]:
    """Print and return count and percentiles (ms) of each kind of request."""
    found: dict[str, dict[str, float]] = {}
    for name, seconds in load.seconds.items():
        cuts = statistics.quantiles(seconds, n=1000)
        p50, p99, worst = cuts[499] * 1000, cuts[989] * 1000, max(seconds) * 1000
        found[name] = {"count": len(seconds), "p50": p50, "p99": p99, "worst": worst}
        print(
            f"{name:<7} {len(seconds):>6}  p50 {p50:6.1f}  p99 {p99:7.1f}  max {worst:7.1f} ms"
            f"  {dict(load.codes.get(name, {}))}"
        )
    return found


def _cores(usage: Usage) -> str:
    parts = {**usage.cpu, "others": usage.others * usage.seconds}
    used = ", ".join(f"{name} {cpu / usage.seconds:.2f}" for name, cpu in parts.items())
    return f"cores for {usage.seconds:.0f} s: {used}, idle {usage.idle:.2f}"


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--faults", choices=("none", "flaky"), default="none")
    parser.add_argument("--drain", type=int, default=900, help="wait so many s for the orders' end")
    parser.add_argument("--what", default="as it is", help="the name of this in the report")
    parser.add_argument("--ahead", action="store_true", help="weights as in docker-compose.yml")
    parser.add_argument("--quick", action="store_true", help=f"a look, kept in {LOOK}")
    parser.add_argument("--aside", action="store_true", help=f"all of it, kept in {LOOK}")
    given = parser.parse_args()
    if given.quick:
        given.rate, given.seconds = 20, 5
    return 0 if uvloop.run(measure(given, LOOK if given.quick or given.aside else KEPT)) else 1


if __name__ == "__main__":
    sys.exit(main())
