"""A running service for the tests of a module; orders have ids of their own."""

from collections.abc import AsyncIterator

import pytest

from devstack import Endpoints
from persistence.pool import open_pool
from tests.support.databases import fresh_database
from tests.support.rest import Rest, running_api
from tests.support.service import Service, running_service
from tests.support.topics import Topics, fresh_topics, names_for


@pytest.fixture(scope="module")
async def environment(
    request: pytest.FixtureRequest, endpoints: Endpoints, template_database: str
) -> AsyncIterator[dict[str, str]]:
    """What the role processes are told: servers, and names that no other test uses."""
    unique = names_for(request.node.name)
    topics = await fresh_topics(endpoints.kafka_bootstrap, unique)
    async with fresh_database(endpoints.db_url, template_database) as url:
        yield {
            **endpoints.as_env(),
            "DB_URL": url,
            "COMMANDS_TOPIC": topics.commands,
            "EVENTS_TOPIC": topics.events,
            "DEAD_LETTER_TOPIC": topics.dead_letters,
            "KAFKA_GROUP_ID": unique("group"),
            "ORDER_TASK_QUEUE": unique("order-tq"),
            "SHIPPING_TASK_QUEUE": unique("shipping-tq"),
            "LOG_FORMAT": "json",
            "WORKFLOW_TIMEOUT_SECONDS": "60",  # no test here is about the limit; CI may be slow
        }


@pytest.fixture(scope="module")
async def service(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """Ingest, worker and relay as processes."""
    pool = await open_pool(environment["DB_URL"], application_name="tests", size=4)
    topics = Topics(
        environment["COMMANDS_TOPIC"],
        environment["EVENTS_TOPIC"],
        environment["DEAD_LETTER_TOPIC"],
    )
    try:
        logs = tmp_path_factory.mktemp("logs")
        async with running_service(environment, topics, pool, logs) as running:
            yield running
    finally:
        await pool.close()


@pytest.fixture(scope="module")
async def rest(
    service: Service,  # noqa: ARG001 - has to run
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Rest]:
    """The REST API of the service, as a process."""
    async with running_api(environment, tmp_path_factory.mktemp("api")) as running:
        yield running
