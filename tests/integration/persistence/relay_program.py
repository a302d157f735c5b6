"""A relay as a process that may send itself a signal at a chosen step.

    relay_program.py DB_URL BOOTSTRAP TOPIC [SIGNAL STEP BEFORE]

Steps: ``read`` (rows are read, nothing sent), ``written`` (a batch went to the broker's socket,
no answer yet), ``acknowledged`` (before the delete), ``deleted``. It lets ``BEFORE`` of them pass.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.produce import ProduceRequest

from persistence.outbox import Shard
from persistence.publisher import Publisher
from persistence.relay import run_relay


def arrange_end(number: int, step: str, before: int) -> None:
    """Signal this process at the end of the step, once ``before`` of them have passed."""
    left = before

    def reached() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            left = sys.maxsize
            os.kill(os.getpid(), number)

    owner: Any
    owner, name, counts = {
        "read": (Shard, "read", bool),
        "written": (
            AIOKafkaConnection,
            "send",
            lambda request: isinstance(request, ProduceRequest),
        ),
        "acknowledged": (Publisher, "send", lambda sent: bool(sent.acknowledged)),
        "deleted": (Shard, "delete", lambda _: True),
    }[step]
    original = getattr(owner, name)
    wrap = _after_writing if step == "written" else _after_awaiting
    setattr(owner, name, wrap(original, counts, reached))


def _after_awaiting(
    original: Any, counts: Callable[[Any], bool], reached: Callable[[], None]
) -> Any:
    async def wrapped(*arguments: Any) -> Any:
        result = await original(*arguments)
        if counts(result):
            reached()
        return result

    return wrapped


def _after_writing(
    original: Any, counts: Callable[[Any], bool], reached: Callable[[], None]
) -> Any:
    def wrapped(self: Any, request: Any, **options: Any) -> Any:
        answer = original(self, request, **options)
        if counts(request):
            reached()
        return answer

    return wrapped


async def main() -> None:
    db_url, bootstrap, topic, *ending = sys.argv[1:]
    if ending:
        name, step, before = ending
        arrange_end(signal.Signals[name], step, int(before))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_relay(db_url, bootstrap, topic, stop=stop)


asyncio.run(main())
