"""``orders doctor``: is every part there, does it answer, and what to do where it does not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from domain.errors import OrderError, Unavailable
from ingest.client.errors import Code, Failed
from ingest.client.http import Api
from ingest.settings import Settings
from ingest.topics import check_topics
from orchestration.temporal_client import check_health, connect, has_workers
from persistence.pool import connect as connect_database
from persistence.queries import unpublished_for
from persistence.set_aside import list_set_aside
from persistence.version import check_version

CHECK_SECONDS: Final = 8.0
RELAY_SECONDS: Final = 10
"""Events that wait this long are not being published."""
SET_ASIDE_NAMED: Final = 5


class Wrong(OrderError):
    """Something answers and is not as it has to be; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at: ``look`` returns what is there and raises what is wrong.

    ``through``: the server without which nothing can be said of it.
    """

    name: str
    where: str
    look: Callable[[], Awaitable[str]]
    remedy: str
    through: str = ""


def run(settings: Settings) -> Code:
    """Make all checks side by side, print a line for each, return the exit code."""
    return asyncio.run(_run(checks(settings)))


def checks(settings: Settings) -> list[Check]:
    """Return what is looked at, the servers first."""
    temporal = f"{settings.temporal_host}:{settings.temporal_port}"
    kafka = settings.kafka_bootstrap_servers
    start = "start it (`orders up` starts everything) or set"
    return [
        Check(
            "PostgreSQL",
            settings.db_url.rpartition("@")[2],
            lambda: _database(settings),
            f"{start} DB_URL",
        ),
        Check("Kafka", kafka, lambda: _kafka(settings), f"{start} KAFKA_BOOTSTRAP_SERVERS"),
        Check(
            "Temporal",
            temporal,
            lambda: _temporal(settings),
            f"{start} TEMPORAL_HOST and TEMPORAL_PORT",
        ),
        Check(
            "API",
            settings.api_url,
            lambda: _api(settings),
            "start it (`orders api`) or set API_URL",
        ),
        Check(
            "ingest",
            settings.kafka_group_id,
            lambda: _ingest(settings),
            "start it: `orders ingest`",
            through="Kafka",
        ),
        Check(
            "worker",
            f"{settings.order_task_queue}, {settings.shipping_task_queue}",
            lambda: _worker(settings),
            "start it: `orders worker`",
            through="Temporal",
        ),
        Check(
            "relay",
            "outbox",
            lambda: _relay(settings),
            "start it: `orders relay`",
            through="PostgreSQL",
        ),
    ]


async def _run(all_checks: list[Check]) -> Code:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it is all told here
    answers = await asyncio.gather(*(_answer(check) for check in all_checks))
    well = {check.name for check, (ok, _) in zip(all_checks, answers, strict=True) if ok}
    wrong = 0
    for check, (ok, text) in zip(all_checks, answers, strict=True):
        if not ok and check.through and check.through not in well:
            print(f"?      {check.name:<10}  {check.where}: not known without {check.through}")
            continue
        wrong += not ok
        print(f"{'ok   ' if ok else 'WRONG'}  {check.name:<10}  {check.where}: {text}")
    print("All is well." if not wrong else f"{wrong} of {len(all_checks)} are wrong.")
    return Code.UNREACHABLE if wrong else Code.DONE


async def _answer(check: Check) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return True, await check.look()
    except TimeoutError:
        return False, f"no answer within {CHECK_SECONDS:.0f} s; {check.remedy}"
    except Unavailable as error:
        return False, f"{error}; {check.remedy}"
    except (KafkaError, OSError):
        return False, f"no answer; {check.remedy}"
    except (OrderError, Failed) as error:  # these say themselves what to do
        return False, str(error)


async def _database(settings: Settings) -> str:
    connection = await connect_database(settings.db_url, "orders-doctor")
    try:
        await check_version(connection)
        return "answers, and has the version of this program"
    finally:
        await connection.close()


async def _kafka(settings: Settings) -> str:
    await check_topics(
        settings.kafka_bootstrap_servers, settings.commands_topic, settings.dead_letter_topic
    )
    return "answers, and the topics are there"


async def _temporal(settings: Settings) -> str:
    client = await connect(
        settings.temporal_host, settings.temporal_port, settings.temporal_namespace
    )
    await check_health(client)
    return f"answers; its UI is at {settings.temporal_ui_url}"


async def _api(settings: Settings) -> str:
    return await asyncio.to_thread(_ask_api, settings.api_url)


def _ask_api(url: str) -> str:
    with Api.open(url) as api:
        found = api.get("/ready", accept=(503,))
    away = {name: d["error"] for name, d in found["dependencies"].items() if not d["ok"]}
    if away:
        texts = ", ".join(f"{name} ({error})" for name, error in away.items())
        raise Wrong(f"answers, and misses {texts}: see there")
    return "answers, and reaches its servers"


async def _ingest(settings: Settings) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([settings.kafka_group_id])
    finally:
        await admin.close()
    members = sum(len(group[5]) for group in answer.groups)
    if not members:
        raise Unavailable("nobody reads commands")
    return f"{members} reading commands"


async def _worker(settings: Settings) -> str:
    client = await connect(
        settings.temporal_host, settings.temporal_port, settings.temporal_namespace
    )
    for queue in (settings.order_task_queue, settings.shipping_task_queue):
        if not await has_workers(client, queue):
            raise Unavailable(f"nobody works on {queue}")
    return "at work"


async def _relay(settings: Settings) -> str:
    connection = await connect_database(settings.db_url, "orders-doctor")
    try:
        seconds = await unpublished_for(connection)
        aside = await list_set_aside(connection, limit=SET_ASIDE_NAMED)
    finally:
        await connection.close()
    if seconds > RELAY_SECONDS:
        raise Unavailable(f"events have been waiting for {seconds:.0f} s to be published")
    if aside:
        names = ", ".join(f"{o.order_id} from event {o.first_sequence} on" for o in aside)
        raise Wrong(
            f"cannot publish events of {names} ({aside[0].reason}): they are set aside, "
            "see docs/events.md"
        )
    return "nothing waits to be published"
