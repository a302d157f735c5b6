"""Named lines at which a role process can be made to die, set from outside production code.

A point fires once it is armed: a file of its name in the process's own directory. The process
that reaches the point and finds the file removes it and kills itself.
"""

import functools
import importlib
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True)
class Point:
    """``when`` the coroutine function ``where`` (module:name) runs in a process of ``role``."""

    role: str
    where: str
    when: Literal["before", "after"]


POINTS: Final = {
    "command delivered but not committed": Point("ingest", "ingest.handle:deliver", "after"),
    "offsets about to be committed": Point("ingest", "aiokafka:AIOKafkaConsumer.commit", "before"),
    "dead letter written but not committed": Point(
        "ingest", "ingest.dead_letters:DeadLetters.bury", "after"
    ),
    "charge intended but bank not asked": Point(
        "worker", "orchestration.activities.order:intend_charge", "after"
    ),
    "bank charged but not recorded": Point(
        "worker", "orchestration.gateways.payments:SimulatedPayments.charge", "after"
    ),
    "refund intended but bank not asked": Point(
        "worker", "orchestration.activities.order:intend_refund", "after"
    ),
    "bank refunded but not recorded": Point(
        "worker", "orchestration.gateways.payments:SimulatedPayments.refund", "after"
    ),
    "carrier has the parcel but not recorded": Point(
        "worker", "orchestration.gateways.carrier:SimulatedCarrier.dispatch", "after"
    ),
    "event written but workflow not told": Point("worker", "persistence.write:record", "after"),
    "events read but not sent": Point("relay", "persistence.outbox:Shard.read", "after"),
    "events acknowledged but not deleted": Point(
        "relay", "persistence.outbox:Shard.delete", "before"
    ),
    "events deleted": Point("relay", "persistence.outbox:Shard.delete", "after"),
}


def arm(directory: Path, name: str) -> Path:
    """Let the process that looks into ``directory`` die at the point; return what to remove."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.touch()
    return file


def install(role: str, directory: Path) -> None:
    """Make the points of a role able to fire in this process."""
    for name, point in POINTS.items():
        if point.role == role:
            wrap(point.where, functools.partial(_crashing, directory / name, point.when))


def wrap(where: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put ``wrapper(function)`` in the place of the function at ``module:name``."""
    module, _, path = where.partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, wrapper(getattr(owner, name)))


def _crashing(file: Path, when: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            _die_if_armed(file)
        result = await function(*args, **kwargs)
        if when == "after":
            _die_if_armed(file)
        return result

    return wrapped


def _die_if_armed(file: Path) -> None:
    with suppress(FileNotFoundError):
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
