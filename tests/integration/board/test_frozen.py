"""A board that freezes in the middle of its work and wakes up behind another one's back."""

import asyncio
import signal
import sys

import pytest

from devstack import Endpoints
from tests.integration.board.test_tables import (
    INSTANCE,
    PATIENCE,
    PROCESS,
    assert_same,
    caught_up,
    changelog_has_grown,
    following,
    made_up_events,
    publish,
)
from tests.support.topics import Topics
from tests.support.waiting import until

OTHER = "other"


@pytest.mark.chaos
async def test_a_frozen_board_that_wakes_up_spoils_nobody_s_rows(
    endpoints: Endpoints, topics: Topics
) -> None:
    made = made_up_events(3_000, seed=8)
    await publish(endpoints, topics.events, made[:9_000])
    frozen = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, endpoints.kafka_bootstrap, topics.events, INSTANCE
    )
    try:
        await until(lambda: changelog_has_grown(endpoints, topics.events), patience=PATIENCE)
        frozen.send_signal(signal.SIGSTOP)
        await changelog_has_grown(endpoints, topics.events)  # how far, to compare with later
        async with following(endpoints, topics.events, OTHER) as other:
            await caught_up(other)
            await publish(endpoints, topics.events, made[9_000:])
            await caught_up(other)
            frozen.send_signal(signal.SIGCONT)
            await until(lambda: changelog_has_grown(endpoints, topics.events), patience=PATIENCE)
    finally:
        frozen.kill()
        await frozen.wait()
    for instance in (INSTANCE, OTHER):  # from their changelogs
        async with following(endpoints, topics.events, instance) as again:
            await caught_up(again)
            await assert_same(again, endpoints, topics.events)
