"""PostgreSQL hangs under the API and comes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack import Endpoints
from ingest.api.parts import READ_SECONDS
from tests.chaos.links import Link, Mode
from tests.support.rest import ADDRESS, Rest, running_api
from tests.support.topics import Topics
from tests.support.waiting import until

HANGS = READ_SECONDS + 12
"""Less than it takes until a query that nobody answers has given its connection back (18 s)."""


@pytest.fixture
async def link(db_url: str) -> AsyncIterator[Link]:
    parts = urlsplit(db_url)
    async with Link("PostgreSQL", parts.hostname or "", parts.port or 0) as link:
        yield link


@pytest.fixture
async def rest(
    link: Link, endpoints: Endpoints, db_url: str, topics: Topics, tmp_path: Path
) -> AsyncIterator[Rest]:
    """The API alone: nothing reads the commands that it puts on the topic."""
    parts = urlsplit(db_url)
    environment = {
        **endpoints.as_env(),
        "DB_URL": db_url.replace(f":{parts.port}/", f":{link.port}/"),
        "COMMANDS_TOPIC": topics.commands,
        "EVENTS_TOPIC": topics.events,
        "DEAD_LETTER_TOPIC": topics.dead_letters,
        "LOG_FORMAT": "json",
    }
    async with running_api(environment, tmp_path) as running:
        yield running
        link.set(Mode.PASS)


async def test_reads_are_503_at_once_and_commands_are_accepted_with_a_key_and_without(
    rest: Rest, link: Link
) -> None:
    assert (await rest.http.get("/orders")).status_code == 200

    link.set(Mode.STALL)
    read = await rest.http.get("/orders", timeout=HANGS)
    assert read.status_code == 503
    assert int(read.headers["retry-after"]) > 0

    key = {"Idempotency-Key": "key-1"}
    body = {"initial_address": ADDRESS}
    first = await rest.http.post("/orders/A-1/start", json=body, headers=key)
    again = await rest.http.post("/orders/A-1/start", json=body, headers=key)
    other = await rest.http.post(
        "/orders/A-1/start", json={"initial_address": ADDRESS | {"zip": "1"}}, headers=key
    )
    without = await rest.start("A-2")
    answers = [answer.status_code for answer in (first, again, other, without)]
    assert answers == [202, 202, 409, 202]
    assert first.json()["record"] == again.json()["record"]

    link.set(Mode.PASS)

    async def back() -> bool:
        return (await rest.http.get("/orders")).status_code == 200

    await until(back)
