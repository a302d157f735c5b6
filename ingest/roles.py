"""The roles of the service, built from real parts, a function for each."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from domain.errors import Unavailable
from ingest.admission import Admission
from ingest.consumer import CommandConsumer, make_consumer
from ingest.dead_letters import DeadLetters, make_producer
from ingest.handle import CommandHandler
from ingest.metrics import Metrics
from ingest.monitor import serving
from ingest.program import Ready, open_database, open_kafka, open_temporal, patiently
from ingest.settings import Settings
from ingest.topics import check_topics, create_topics
from orchestration.contract import OrderPolicy

if TYPE_CHECKING:
    from orchestration.gateways import Gateways

INGEST_CONNECTIONS: Final = 8
WORKER_CONNECTIONS: Final = 16


def policy(settings: Settings) -> OrderPolicy:
    """Return the rules that an order started under these settings lives by."""
    return OrderPolicy(
        timeout_seconds=settings.workflow_timeout_seconds,
        review=settings.review_policy,
        review_above=settings.review_above,
        review_timeout_seconds=settings.review_timeout_seconds,
        early_command_ttl_seconds=settings.early_command_ttl_seconds,
        shipping_task_queue=settings.shipping_task_queue,
    )


async def ingest(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Consume commands; ready when the group has given this process its partitions."""
    async with AsyncExitStack() as stack:
        pool = await open_database(settings, "ingest", INGEST_CONNECTIONS)
        stack.push_async_callback(pool.close)
        client = await open_temporal(settings)
        await patiently("Kafka", lambda: _topics_fit(settings))
        servers = settings.kafka_bootstrap_servers
        producer = await open_kafka(lambda: make_producer(servers), stack)
        consumer = await open_kafka(lambda: make_consumer(servers, settings.kafka_group_id), stack)
        handler = CommandHandler(client, pool, policy(settings), settings.order_task_queue)
        commands = CommandConsumer(
            consumer,
            settings.commands_topic,
            handler,
            DeadLetters(producer, settings.dead_letter_topic),
            Admission(pool, settings.max_orders_in_motion, settings.workflow_timeout_seconds),
            Metrics(),
            on_joined=ready,
        )
        async with serving(commands, settings.metrics_port, stop):
            await commands.run(stop)


async def worker(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Drive orders: workflows, activities and the partners they call."""
    from orchestration.worker import run_worker

    async with AsyncExitStack() as stack:
        pool = await open_database(settings, "worker", WORKER_CONNECTIONS)
        stack.push_async_callback(pool.close)
        gateways = await stack.enter_async_context(_gateways(settings))
        client = await open_temporal(settings)
        ready()
        await run_worker(
            client, pool, gateways, settings.order_task_queue, settings.shipping_task_queue, stop
        )


async def relay(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Publish the outbox."""
    from persistence.relay import run_relay

    pool = await open_database(settings, "relay", size=1)
    await pool.close()
    ready()
    await run_relay(
        settings.db_url, settings.kafka_bootstrap_servers, settings.events_topic, stop=stop
    )


async def api(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Answer REST requests."""
    from ingest.api.serve import serve

    await serve(settings, stop, ready)


async def board(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Show people what goes on."""
    from board.server import BoardSettings, run_board

    await run_board(
        BoardSettings(
            kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
            events_topic=settings.events_topic,
            api_url=settings.api_url,
            temporal_ui_url=settings.temporal_ui_url,
            port=settings.board_port,
            host=settings.board_host,
        ),
        stop,
        ready,
    )


async def partners(settings: Settings, stop: asyncio.Event, ready: Ready) -> None:
    """Simulate the partners over HTTP."""
    from ingest.partners import serve

    await serve(settings, stop, ready)


async def migrate(settings: Settings, _stop: asyncio.Event, _ready: Ready) -> None:
    """Bring the database to the version of this program."""
    from persistence.migrate import migrate as upgrade

    await patiently("PostgreSQL", lambda: upgrade(settings.db_url))
    print("The database is up to date.")


async def topics(settings: Settings, _stop: asyncio.Event, _ready: Ready) -> None:
    """Create what is missing of the topics."""

    async def create() -> None:
        try:
            await create_topics(
                settings.kafka_bootstrap_servers,
                settings.commands_topic,
                settings.events_topic,
                settings.dead_letter_topic,
            )
        except KafkaError as error:
            raise Unavailable(repr(error)) from error

    await patiently("Kafka", create)
    print("The topics are there.")


async def _topics_fit(settings: Settings) -> None:
    try:
        await check_topics(
            settings.kafka_bootstrap_servers, settings.commands_topic, settings.dead_letter_topic
        )
    except KafkaError as error:
        raise Unavailable(repr(error)) from error


def _gateways(settings: Settings) -> "AbstractAsyncContextManager[Gateways]":
    if settings.gateway_mode == "simulated":
        from ingest.simulation import simulated_partners

        return simulated_partners(settings)
    from orchestration import gateways

    return gateways.http(
        gateways.Urls(
            sales=settings.sales_url,
            screening=settings.screening_url,
            payments=settings.payments_url,
            warehouse=settings.warehouse_url,
            carrier=settings.carrier_url,
        )
    )
