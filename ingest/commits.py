"""What aiokafka leaves behind of a commit that is given up."""

import asyncio
from typing import Final

from aiokafka.consumer.group_coordinator import GroupCoordinator

_REQUEST: Final = GroupCoordinator._do_commit_offsets.__code__  # noqa: SLF001


def hear_out() -> None:
    """Take note of how the requests end that commits have under way, whatever it is.

    aiokafka (0.14) shields the request from a cancellation, and then nobody fetches its error:
    asyncio reports it, long after the commit was given up and said to be.
    """
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "cr_code", None) is _REQUEST:
            task.add_done_callback(_heard)


def _heard(request: asyncio.Task[object]) -> None:
    if not request.cancelled():
        request.exception()
