"""Admission: starts wait in Kafka while nothing can serve them; signals pass."""

import asyncio
import uuid
from collections import Counter

import asyncpg
import pytest

from ingest.admission import Admission
from orchestration.temporal_client import connect
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, approve, cancel, running, start
from tests.support.waiting import until

LIMIT = 3
RUN = uuid.uuid4().hex[:8]
"""Part of every order id: the tests of a run share one Temporal."""


async def _delivered(commands: Commands) -> list[str]:
    """Return which orders Temporal knows, on this test's task queue."""
    settings = commands.settings
    client = await connect(
        settings.temporal_host, settings.temporal_port, settings.temporal_namespace
    )
    found = client.list_workflows(f"TaskQueue = '{settings.order_task_queue}'")
    return sorted([workflow.id async for workflow in found])


async def test_without_a_worker_starts_wait_in_kafka_and_signals_pass(
    commands: Commands, make_settings: MakeSettings
) -> None:
    settings = make_settings(max_orders_in_motion=LIMIT, early_command_ttl_seconds=600)
    async with running(settings, "ingest"):
        await commands.send(*(start(f"W-{n:02}-{RUN}") for n in range(20)))
        await commands.send(cancel(f"EARLY-1-{RUN}"), cancel(f"EARLY-2-{RUN}"))

        async def signals_are_through() -> bool:
            return {f"order-EARLY-{n}-{RUN}" for n in (1, 2)} <= set(await _delivered(commands))

        await until(signals_are_through)
        starts = [name for name in await _delivered(commands) if "order-W-" in name]
        assert len(starts) <= LIMIT
        assert await commands.lag() >= 20 - LIMIT, "what waits is not committed"
    async with running(settings, "ingest", "worker"):
        for n in range(20):
            await commands.story(f"W-{n:02}-{RUN}", "order.shipped")
        await commands.all_committed()


async def test_restarted_without_a_worker_ingest_hands_over_no_further_starts(
    commands: Commands, make_settings: MakeSettings
) -> None:
    settings = make_settings(max_orders_in_motion=LIMIT, early_command_ttl_seconds=600)
    await commands.send(*(cancel(f"EARLY-{n}-{RUN}-R") for n in range(2 * LIMIT)))
    sent = await commands.send(*(start(f"R-{n:02}-{RUN}") for n in range(20)))

    async def starts() -> int:
        return len([name for name in await _delivered(commands) if "order-R-" in name])

    async def looked_at_again() -> bool:
        """A signal behind the starts is through: what there is room for is, too."""
        return f"order-{behind}" in await _delivered(commands)

    for times in range(3):
        async with running(settings, "ingest"):
            await until(starts)
            behind = f"BEHIND-{times}-{RUN}"
            await commands.send(cancel(behind))
            await until(looked_at_again)
        assert await starts() == LIMIT
    async with running(settings, "ingest", "worker"):
        for command_id in sent:
            assert (await commands.outcome(command_id)).recorded.type == "order.received"


async def test_an_inherited_start_that_runs_no_more_makes_room(db: asyncpg.Pool) -> None:
    admission = Admission(db, LIMIT)
    await admission.inherit(["I-1", "I-2", "I-3"])
    await admission.refresh(1.0)
    assert (admission.room, admission.unreceived) == (0, 3)
    admission.keep_running(["I-2", "another"])
    await admission.refresh(1.0)
    assert (admission.room, admission.unreceived) == (2, 1)


async def test_a_delivered_start_that_nobody_will_receive_makes_room(
    db: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workflow was terminated, or knew the command id from another command of the order."""
    full = Admission(db, LIMIT)
    for name in ("D-1", "D-2", "D-3"):
        full.admit(name)
    full.keep_running([])
    await full.refresh(1.0)
    assert (full.room, full.unreceived, full.in_doubt) == (0, 3, False), "delivered just now"
    monkeypatch.setattr("ingest.admission.DOUBTFUL_SECONDS", 0.0)
    assert full.in_doubt
    full.keep_running(["D-2"])
    await full.refresh(1.0)
    assert (full.room, full.unreceived) == (2, 1)


async def test_never_more_orders_in_motion_than_admitted(
    commands: Commands, make_settings: MakeSettings
) -> None:
    """The peak is taken from what was recorded, not from looking now and then."""
    async with running(make_settings(max_orders_in_motion=LIMIT), "ingest", "worker"):
        sent = await commands.send(*(start(f"M-{n}-{RUN}") for n in range(40)))
        for command_id in sent:
            await commands.outcome(command_id)
        for n in range(40):
            await commands.story(f"M-{n}-{RUN}", "order.shipped")
    moves = await commands.db.fetch(
        "select case type when 'order.received' then 1 else -1 end as step from events "
        "where type in ('order.received', 'order.shipped') order by at, type desc"
    )
    now = peak = 0
    for move in moves:
        now += move["step"]
        peak = max(peak, now)
    assert len(moves) == 80
    assert 1 <= peak <= LIMIT


async def test_orders_that_wait_for_a_person_make_room(
    commands: Commands, make_settings: MakeSettings
) -> None:
    settings = make_settings(max_orders_in_motion=LIMIT, review_policy="manual")
    async with running(settings, "ingest", "worker"):
        await commands.send(*(start(f"P-{n}-{RUN}") for n in range(4 * LIMIT)))
        for n in range(4 * LIMIT):
            await commands.story(f"P-{n}-{RUN}", "order.review_requested")
        await commands.send(*(approve(f"P-{n}-{RUN}") for n in range(4 * LIMIT)))
        for n in range(4 * LIMIT):
            await commands.story(f"P-{n}-{RUN}", "order.shipped")


async def test_processes_share_the_room_and_exceed_it_by_one_each_at_most(
    db: asyncpg.Pool,
) -> None:
    limit, processes = 10, 4
    members = [Admission(db, limit) for _ in range(processes)]
    admitted: Counter[int] = Counter()
    for _ in range(20):
        await asyncio.gather(*(member.refresh(1 / processes) for member in members))
        for number, member in enumerate(members):
            while member.room > 0:
                member.admit(f"S-{number}-{admitted[number]}")
                admitted[number] += 1
    assert limit <= admitted.total() <= limit + processes
