"""An operator sees that events cannot be published: in ``orders doctor`` and in the metrics."""

from pathlib import Path

import asyncpg
import pytest

from devstack import Endpoints
from ingest.client.doctor import Wrong, checks
from ingest.settings import Settings
from tests.support.rest import running_api
from tests.support.topics import Topics


async def set_aside(db: asyncpg.Pool, order_id: str) -> None:
    await db.execute(
        """
        insert into outbox_set_aside (id, aggregatetype, aggregateid, type, payload, sequence, at,
                                      reason)
        select n, 'order', $1, 'order.shipped', '{}', n, now(), 'too large, number ' || n
        from generate_series(4, 6) n
        """,
        order_id,
    )


async def test_the_doctor_names_orders_whose_events_are_set_aside(
    db: asyncpg.Pool, db_url: str
) -> None:
    (relay,) = [check for check in checks(Settings(db_url=db_url)) if check.name == "relay"]
    assert await relay.look() == "nothing waits to be published"
    await set_aside(db, "A-7")
    with pytest.raises(Wrong, match=r"A-7 from event 4 on \(too large, number 4\).*events.md"):
        await relay.look()


async def test_the_metrics_count_events_that_are_set_aside(
    db: asyncpg.Pool, db_url: str, endpoints: Endpoints, topics: Topics, tmp_path: Path
) -> None:
    await set_aside(db, "A-7")
    environment = {
        **endpoints.as_env(),
        "DB_URL": db_url,
        "COMMANDS_TOPIC": topics.commands,
        "EVENTS_TOPIC": topics.events,
        "DEAD_LETTER_TOPIC": topics.dead_letters,
    }
    async with running_api(environment, tmp_path) as rest:
        numbers = (await rest.http.get("/metrics")).text.splitlines()
    assert "orders_outbox_set_aside 3.0" in numbers
    assert "orders_outbox_oldest_seconds 0.0" in numbers
