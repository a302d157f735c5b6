"""A commit that is given up leaves no error behind that nobody fetched."""

import asyncio
import gc
from typing import Any, Final

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata

from ingest.commits import hear_out

OFFSETS: Final = {TopicPartition("orders.commands", 0): OffsetAndMetadata(1, "")}


class Stalled(GroupCoordinator):  # type: ignore[misc] # aiokafka has no types
    """A coordinator whose broker answers when told, and says no."""

    group_id, generation, member_id, coordinator_id = "group", 1, "member", 0

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def _send_req(self, _request: object) -> None:
        await self.answers.wait()
        raise UnknownMemberIdError("group")


@pytest.mark.parametrize("heard", [True, False])
async def test_the_error_of_a_given_up_commit_is_fetched(heard: bool) -> None:
    """Without it asyncio reports the error: that is how aiokafka is."""
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    stalled = Stalled()
    request = asyncio.ensure_future(stalled._do_commit_offsets(None, OFFSETS))
    commit = asyncio.ensure_future(_shielded(request))
    for _ in range(3):  # until both wait
        await asyncio.sleep(0)
    commit.cancel()
    if heard:
        hear_out()
    stalled.answers.set()
    await asyncio.wait({request, commit})
    del request, commit
    gc.collect()
    await asyncio.sleep(0)
    assert [context["message"] for context in told] == (
        [] if heard else ["Task exception was never retrieved"]
    )


async def _shielded(request: asyncio.Future[None]) -> None:
    await asyncio.shield(request)
