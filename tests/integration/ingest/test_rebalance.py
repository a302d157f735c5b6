"""Ingest processes join, leave, freeze and are killed while commands flow."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack import Child
from domain.events import AddressUpdated
from persistence.queries import Outcome, history, outcomes_of
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, running, start, update_address
from tests.support.waiting import until

PROCESSES = 3
AT_ONCE = 50
"""So many commands are written together."""


@dataclass(frozen=True)
class Scale:
    """A start and ``updates`` for each order. ``disturbed``: so many times at least, and
    ``to_the_end`` of the flow or not; ``between`` and ``frozen``: seconds at most."""

    orders: int
    updates: int
    disturbed: int
    to_the_end: bool
    between: float
    frozen: float


SHORT = Scale(orders=30, updates=9, disturbed=3, to_the_end=False, between=2.0, frozen=2.0)
LONG = Scale(
    orders=int(os.environ.get("TOGGLE_ORDERS", "1000")),
    updates=19,
    disturbed=6,
    to_the_end=True,
    between=30.0,
    frozen=12.0,
)
"""20,000 commands. A process that is frozen longer than its session may last is thrown out."""


class Members:
    """Ingest processes of one group, toggled at random."""

    def __init__(
        self, environment: dict[str, str], logs: Path, chance: random.Random, frozen: float
    ) -> None:
        self._environment = environment
        self._logs = logs
        self._chance = chance
        self._frozen = frozen
        self.disturbed = 0
        self._children: list[Child | None] = [None] * PROCESSES
        self._next = list[str]()

    async def toggle(self) -> str:
        """Start a process that is away, or kill, end or freeze one that is there."""
        slot = self._chance.randrange(PROCESSES)
        child = self._children[slot]
        if child is None:
            await self._start(slot)
            return f"{slot} started"
        how = self._how()
        self.disturbed += 1
        os.kill(child.pid, signal.Signals[how])
        if how == "SIGSTOP":
            await asyncio.sleep(self._chance.uniform(0, self._frozen))
            os.kill(child.pid, signal.SIGCONT)
            return f"{slot} frozen for a while"
        code = await child.wait()
        assert how != "SIGTERM" or code in ENDED_WELL, f"exit code {code} after SIGTERM"
        self._children[slot] = None
        return f"{slot} {how}"

    async def all_started(self) -> None:
        for slot, child in enumerate(self._children):
            if child is None:
                await self._start(slot)

    async def end(self) -> list[int]:
        """End all processes; return their exit codes."""
        return [await child.terminate(60) for child in self._children if child is not None]

    def _how(self) -> str:
        """Each way once before any comes again."""
        if not self._next:
            self._next = ["SIGKILL", "SIGTERM", "SIGSTOP"]
            self._chance.shuffle(self._next)
        return self._next.pop()

    async def _start(self, slot: int) -> None:
        self._children[slot] = await Child.spawn(
            f"ingest-{slot}",
            [sys.executable, "-m", "ingest.cli", "ingest"],
            env={**os.environ, **self._environment},
            log_path=self._logs / f"ingest-{slot}.log",
        )


ENDED_WELL = (0, -signal.SIGTERM)
"""The latter: Python was still starting, and nobody listened yet."""


@pytest.mark.parametrize(
    "scale",
    [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.chaos)],
)
async def test_every_command_has_its_one_outcome_in_order_though_processes_come_and_go(
    scale: Scale,
    commands: Commands,
    environment: dict[str, str],
    make_settings: MakeSettings,
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("TOGGLE_SEED", "0")) or random.randrange(10**6)
    print(f"TOGGLE_SEED={seed}")
    chance = random.Random(seed)
    # Orders stay where every change of address is applied, however slow this machine is.
    environment |= {"REVIEW_POLICY": "manual", "WORKFLOW_TIMEOUT_SECONDS": "3600"}
    order_ids = [f"T-{seed}-{number}-{uuid.uuid4().hex[:6]}" for number in range(scale.orders)]
    members = Members(environment, tmp_path, chance, scale.frozen)
    async with running(make_settings(review_policy="manual"), "worker"):
        try:
            await members.all_started()
            flow = asyncio.create_task(_send_all(commands, order_ids, scale.updates))
            while members.disturbed < scale.disturbed or (
                scale.to_the_end and await _under_way(flow, commands)
            ):
                await asyncio.sleep(chance.uniform(0, scale.between))
                print(await members.toggle())
            sent = await flow
            await members.all_started()
            await commands.all_committed(patience=300)
            for order_id in order_ids:
                await _has_all(commands, order_id, sent[order_id])
        finally:
            codes = await members.end()
    assert set(codes) <= set(ENDED_WELL)
    assert await commands.dead_letters() == {}
    print(f"{sum(map(len, sent.values()))} commands, disturbed {members.disturbed} times")


async def _send_all(commands: Commands, order_ids: list[str], updates: int) -> dict[str, list[str]]:
    """Write a start and then so many changes for each order; return the command ids."""
    sent: dict[str, list[str]] = defaultdict(list)
    for number in range(updates + 1):
        for first in range(0, len(order_ids), AT_ONCE):
            few = order_ids[first : first + AT_ONCE]
            bodies = [update_address(o, f"{number:05}") if number else start(o) for o in few]
            for order_id, command_id in zip(few, await commands.send(*bodies), strict=True):
                sent[order_id].append(command_id)
            await asyncio.sleep(0.1)
    return sent


async def _under_way(flow: asyncio.Task[dict[str, list[str]]], commands: Commands) -> bool:
    return not flow.done() or await commands.lag() > AT_ONCE


async def _has_all(commands: Commands, order_id: str, command_ids: list[str]) -> None:
    """Each command has been applied, once, and in the order sent."""

    async def outcomes() -> list[Outcome]:
        found = await outcomes_of(commands.db, command_ids)
        return found if len(found) >= len(command_ids) else []

    found = {outcome.command_id: outcome.recorded.type for outcome in await until(outcomes)}
    updates = len(command_ids) - 1
    assert [found[command_id] for command_id in command_ids] == [
        "order.received",
        *["order.address_updated"] * updates,
    ]
    assert await _zips(commands, order_id) == [f"{n + 1:05}" for n in range(updates)]


async def _zips(commands: Commands, order_id: str) -> list[str]:
    events = await history(commands.db, order_id)
    return [event.data.address.zip for event in events if isinstance(event.data, AddressUpdated)]
