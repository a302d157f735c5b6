"""Keeps the tables running: starts them, again when they die, and tells how far they are."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient

from board.fold import View
from board.tables import REQUEST_SECONDS, LostWrite, Tables

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 2.0
STOP_SECONDS: Final = 12.0
STALLED_LOOKS: Final = 180
"""One and a half minutes, as many as Faust gives its seek. Looks, not seconds: a process that was
frozen has not looked."""


class StaleChangelog(Exception):
    """The changelog belongs to another life of the topic and must be made anew."""


class StandsStill(Exception):
    """Records wait and none comes, as when Faust misses a rebalance amid its recovery."""


class Stuck(Exception):
    """The tables did not end in time. What they have not written yet may still reach the changelog
    and must not come between the rows of those that follow, so the process has to end."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far the tables are.

    ``complete``: they hold everything up to the topic's end as it was at the start. Until then
    ``done`` of ``total`` records have been read. ``behind`` counts the records not read yet after
    that. ``problem`` says what is wrong, if anything: the broker is away, the topic is missing.
    """

    complete: bool = False
    done: int = 0
    total: int = 0
    behind: int = 0
    problem: str | None = None

    @property
    def waits(self) -> bool:
        """Whether nothing is wrong, and there are records yet to be read."""
        return self.problem is None and not (self.complete and self.behind == 0)


class Follower:
    """Follows the events topic for as long as ``run`` runs.

    Whatever ends the tables (broker away for long, a bug in the fold), ``run`` says so in the
    log, counts it in ``restarts`` and starts them again: they take up their rows and go on.

    ``instance`` is a name that no other living process has, frozen ones included: each board has
    a group and a changelog of its own. With a shared one, a board that freezes and wakes up when
    another has taken over would write what it had read over newer rows.
    """

    def __init__(self, bootstrap_servers: str, topic: str, instance: str) -> None:
        self.status = Status(problem="connecting to Kafka")
        self.restarts = 0
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._name = f"board-{instance}-{topic}"
        self._tables: Tables | None = None
        self._at = 0
        """How many records have been read, of the changelog or of the topic."""

    @property
    def views(self) -> Mapping[int, View]:
        """What the fold knows, by partition; not yet everything unless ``status.complete``."""
        return self._tables.views if self._tables else {}

    def rows(self) -> dict[bytes, bytes]:
        """Return the Faust table as it stands."""
        return self._tables.rows() if self._tables else {}

    async def run(self) -> None:
        """Follow until cancelled; raises ``Stuck``."""
        while True:
            try:
                await self._follow()
            except Stuck:
                raise
            except Exception as error:
                self.restarts += 1
                self.status = Status(problem=_text(error))
                log.exception("the tables ended (%d. restart follows)", self.restarts)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self) -> None:
        partitions = await self._prepare()
        self._tables = tables = Tables(self._bootstrap_servers, self._topic, partitions, self._name)
        starting = asyncio.create_task(tables.start())
        try:
            await self._watch(tables, starting)
        except (LostWrite, StaleChangelog):
            await self._end(tables, starting)
            await self._drop(tables.changelog)
            raise
        finally:
            await self._end(tables, starting)

    async def _prepare(self) -> int:
        """Return the topic's partition count; drop a changelog that has another one."""
        async with _admin(self._bootstrap_servers) as admin:
            changelog = Tables.changelog_of(self._name)
            described = await admin.describe_topics([self._topic, changelog])
        counts = {t["topic"]: len(t["partitions"]) for t in described if t["error_code"] == 0}
        if self._topic not in counts:
            raise LookupError(f"topic {self._topic} does not exist yet")
        if counts.get(changelog, counts[self._topic]) != counts[self._topic]:
            await self._drop(changelog)
        return counts[self._topic]

    async def _watch(self, tables: Tables, starting: asyncio.Task[None]) -> None:
        targets: dict[int, int] = {}
        still = 0
        while True:
            before = self._at
            if starting.done() and (crash := tables.crashed() or starting.exception()):
                raise crash
            if crash := tables.crashed():
                raise crash
            if not tables.recovered:
                targets = {}
                self._at, total = tables.recovery_progress()
                self.status = Status(done=self._at, total=total)
            elif len(tables.assigned) < tables.partitions:
                self.status = Status(
                    problem=f"another board named {self._name} reads part of {self._topic}"
                )
            else:
                targets = await self._compare(tables, targets)
            still = still + 1 if self._at == before and self.status.waits else 0
            if still > STALLED_LOOKS:
                raise StandsStill(f"the tables stand still: {self.status}")
            await asyncio.sleep(PROBE_SECONDS)

    async def _compare(self, tables: Tables, targets: dict[int, int]) -> dict[int, int]:
        """Compare where the tables are with where the topic ends; return the ends to be reached."""
        try:
            # Before the ends: what is read meanwhile must not look as if it were beyond them.
            read, ends = await tables.read_up_to(), await tables.ends()
        except Exception as error:  # noqa: BLE001  # told on the page; asked again in a moment
            complete = self.status.complete
            self.status = Status(complete, problem=f"Kafka is away ({_text(error)})")
            return targets
        if ends.keys() != read.keys():
            return targets  # a rebalance came in between: look again
        if any(read[partition] > end for partition, end in ends.items()):
            raise StaleChangelog(f"{tables.changelog} is ahead of {self._topic}")
        targets = targets or ends
        self._at = sum(read.values())
        self.status = Status(
            complete=all(read[p] >= target for p, target in targets.items()),
            done=sum(min(read[p], target) for p, target in targets.items()),
            total=sum(targets.values()),
            behind=sum(end - read[p] for p, end in ends.items()),
        )
        return targets

    async def _end(self, tables: Tables, starting: asyncio.Task[None]) -> None:
        starting.cancel()
        ending = asyncio.create_task(_ended(starting, tables.stop()))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:  # SIGTERM while they end for another reason
            await ending
            raise

    async def _drop(self, changelog: str) -> None:
        log.warning("dropping %s: the tables are rebuilt from %s", changelog, self._topic)
        async with _admin(self._bootstrap_servers) as admin:
            await admin.delete_topics([changelog])
            while changelog in await admin.list_topics():  # noqa: ASYNC110  # the broker's doing
                await asyncio.sleep(PROBE_SECONDS)


async def _ended(starting: asyncio.Task[None], stopping: asyncio.Future[None]) -> None:
    # Not cancelled when it takes too long: Faust's stop does not heed that.
    done, pending = await asyncio.wait({starting, stopping}, timeout=STOP_SECONDS)
    if pending:
        raise Stuck(f"the tables did not end within {STOP_SECONDS:.0f} s")
    errors = [task.exception() for task in done if not task.cancelled()]
    if stopping.cancelled() or stopping.exception():
        raise Stuck(f"the tables did not end: {errors}")


@contextlib.asynccontextmanager
async def _admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {REQUEST_SECONDS:.0f} s"
    return str(error) or type(error).__name__
