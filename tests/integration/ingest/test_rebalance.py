"""Ingest processes join, leave, freeze and are killed while commands flow."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from devstack import Child
from domain.events import AddressUpdated
from persistence.queries import history
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, running, start, update_address

pytestmark = pytest.mark.chaos

ORDERS = int(os.environ.get("TOGGLE_ORDERS", "60"))
UPDATES = 5
"""Address changes for each order: their order and number can be read from its events."""
TOGGLES = int(os.environ.get("TOGGLES", "6"))
PROCESSES = 3


class Members:
    """Ingest processes of one group, toggled at random."""

    def __init__(self, environment: dict[str, str], logs: Path, chance: random.Random) -> None:
        self._environment = environment
        self._logs = logs
        self._chance = chance
        self._children: list[Child | None] = [None] * PROCESSES

    async def toggle(self) -> str:
        """Start a process that is away, or kill, end or freeze and kill one that is there."""
        slot = self._chance.randrange(PROCESSES)
        child = self._children[slot]
        if child is None:
            await self._start(slot)
            return f"{slot} started"
        how = self._chance.choice(["SIGKILL", "SIGTERM", "SIGSTOP"])
        os.kill(child.pid, signal.Signals[how])
        if how == "SIGSTOP":  # thrown out of the group, it comes back to life and finds that out
            await asyncio.sleep(self._chance.uniform(0, 12))
            os.kill(child.pid, signal.SIGCONT)
            return f"{slot} frozen for a while"
        code = await child.wait()
        assert how != "SIGTERM" or code == 0, f"exit code {code} after SIGTERM"
        self._children[slot] = None
        return f"{slot} {how}"

    async def all_started(self) -> None:
        for slot, child in enumerate(self._children):
            if child is None:
                await self._start(slot)

    async def end(self) -> list[int]:
        """End all processes; return their exit codes."""
        return [await child.terminate(60) for child in self._children if child is not None]

    async def _start(self, slot: int) -> None:
        self._children[slot] = await Child.spawn(
            f"ingest-{slot}",
            [sys.executable, "-m", "ingest.cli", "ingest"],
            env={**os.environ, **self._environment},
            log_path=self._logs / f"ingest-{slot}.log",
        )


async def test_every_command_has_its_one_outcome_in_order_though_processes_come_and_go(
    commands: Commands,
    environment: dict[str, str],
    make_settings: MakeSettings,
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("TOGGLE_SEED", "0")) or random.randrange(10**6)
    print(f"TOGGLE_SEED={seed}")
    chance = random.Random(seed)
    environment["REVIEW_POLICY"] = "manual"  # orders stay where every change of address is applied
    order_ids = [f"T-{seed}-{number}-{uuid.uuid4().hex[:6]}" for number in range(ORDERS)]
    members = Members(environment, tmp_path, chance)
    sent: dict[str, list[str]] = defaultdict(list)

    async def send(round_number: int) -> None:
        for order_id in order_ids:
            command = (
                start(order_id)
                if round_number == 0
                else update_address(order_id, f"{round_number:05}")
            )
            sent[order_id] += await commands.send(command)
            await asyncio.sleep(chance.uniform(0, 0.02))

    async with running(make_settings(review_policy="manual"), "worker"):
        try:
            await members.all_started()
            flow = asyncio.create_task(_all_rounds(send))
            for _ in range(TOGGLES):
                await asyncio.sleep(chance.uniform(0, 4))
                print(await members.toggle())
            await flow
            await members.all_started()
            await commands.all_committed(patience=300)
            for order_id, command_ids in sent.items():
                outcomes = [await commands.outcome(command_id) for command_id in command_ids]
                types = [outcome.recorded.type for outcome in outcomes]
                assert types == ["order.received"] + ["order.address_updated"] * UPDATES
                assert await _zips(commands, order_id) == [f"{n + 1:05}" for n in range(UPDATES)]
        finally:
            codes = await members.end()
    assert codes == [0] * PROCESSES
    assert await commands.dead_letters() == {}


async def _all_rounds(send: Callable[[int], Awaitable[None]]) -> None:
    for round_number in range(UPDATES + 1):
        await send(round_number)


async def _zips(commands: Commands, order_id: str) -> list[str]:
    events = await history(commands.db, order_id)
    return [event.data.address.zip for event in events if isinstance(event.data, AddressUpdated)]
