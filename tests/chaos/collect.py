"""Reads the evidence with aiokafka, asyncpg and temporalio; shares no code with the service."""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client

from tests.chaos.evidence import Entry, EventRow, Evidence, OrderRow, PaymentRow, Record, Run

_PREFIX: Final = "order-"
FORGOTTEN_MOST: Final = 30
"""The newest; deleting costs the development server more than running an order."""
_ORDER_COLUMNS: Final = (
    "address, items, amount, currency, reason, payment_id, shipment_id, tracking_number, sequence"
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the evidence lies."""

    db_url: str
    bootstrap: str
    temporal: str
    commands_topic: str
    events_topic: str
    dead_letter_topic: str
    group_id: str


async def collect(places: Places, evidence: Evidence) -> None:
    """Fill in what topics, tables, books and Temporal say now."""
    evidence.commands = await read_topic(places.bootstrap, places.commands_topic)
    evidence.published = await read_topic(places.bootstrap, places.events_topic)
    evidence.dead_letters = await read_topic(places.bootstrap, places.dead_letter_topic)
    evidence.lag = await lag(places)
    connection = await _connect(places.db_url)
    try:
        await _read_tables(connection, evidence)
    finally:
        await connection.close()
    evidence.runs = await _read_runs(places.temporal)


async def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Return all records of a topic, those of one partition in their order."""
    partitions = await _partitions(bootstrap, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    records: list[Record] = []
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += map(_record, batch)
    finally:
        await consumer.stop()
    return sorted(records, key=lambda r: (r.partition, r.offset))


async def watch_topic(bootstrap: str, topic: str, seen: dict[str, datetime]) -> None:
    """Note down when each event comes to a consumer, on and on, whatever the broker does."""
    partitions = await _partitions(bootstrap, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(partitions)
        while True:
            with contextlib.suppress(KafkaError):
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    now = datetime.now(UTC)
                    for record in map(_record, batch):
                        seen.setdefault(record.headers.get("ce_id", ""), now)
            await asyncio.sleep(0.02)  # getmany() awaits nothing while it has records
    finally:
        await consumer.stop()


async def lag(places: Places) -> dict[int, int]:
    """Return for each partition of commands how many records are not committed."""
    partitions = await _partitions(places.bootstrap, places.commands_topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=places.bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=places.bootstrap)
    await admin.start()
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        committed = await admin.list_consumer_group_offsets(places.group_id)
    finally:
        await consumer.stop()
        await admin.close()
    return {
        tp.partition: end - max(committed[tp].offset if tp in committed else 0, 0)
        for tp, end in ends.items()
    }


async def unsettled(places: Places) -> dict[str, int]:
    """Return how much of what is still in motion; empty when nothing is."""
    waiting = sum((await lag(places)).values())
    connection = await _connect(places.db_url)
    try:
        outbox = await connection.fetchval("select count(*) from outbox")
        open_orders = await connection.fetchval(
            "select count(*) from orders"
            " where state not in ('shipped', 'rejected', 'cancelled', 'failed')"
        )
    finally:
        await connection.close()
    client = await Client.connect(places.temporal)
    found = await client.count_workflows(
        f"ExecutionStatus = 'Running' and ({_IS_ORDER} or {_IS_SHIPMENT})"
    )
    counts = {
        "uncommitted commands": waiting,
        "open orders": open_orders,
        "outbox rows": outbox,
        "running workflows": found.count,
    }
    return {what: count for what, count in counts.items() if count}


_IS_ORDER: Final = "WorkflowType = 'OrderWorkflow'"
_IS_SHIPMENT: Final = "WorkflowType = 'ShippingWorkflow'"


async def _partitions(bootstrap: str, topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return sorted(TopicPartition(topic, part["partition"]) for part in described[0]["partitions"])


def _record(read: Any) -> Record:
    headers = {name: value.decode(errors="replace") for name, value in read.headers}
    at = datetime.fromtimestamp(read.timestamp / 1000, UTC)
    return Record(read.topic, read.partition, read.offset, read.key, read.value or b"", headers, at)


async def _connect(db_url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(db_url)
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
        )
    return connection


async def _read_tables(connection: asyncpg.Connection, evidence: Evidence) -> None:
    for row in await connection.fetch(
        f"select order_id, state, deadline, {_ORDER_COLUMNS} from orders"  # noqa: S608
    ):
        columns: dict[str, Any] = dict(row)
        order = OrderRow(
            columns.pop("order_id"), columns.pop("state"), columns.pop("deadline"), columns
        )
        evidence.orders[order.order_id] = order
    for row in await connection.fetch(
        "select order_id, sequence, type, command_id, data, at from events"
        " order by order_id, sequence"
    ):
        evidence.events.setdefault(row["order_id"], []).append(EventRow(**row))
    evidence.payments = [
        PaymentRow(**row)
        for row in await connection.fetch(
            "select payment_id, order_id, status, amount, currency from payments"
        )
    ]
    evidence.books = [
        Entry(**row)
        for row in await connection.fetch(
            "select key, operation, order_id, detail, at from partners.ledger order by at"
        )
    ]
    evidence.outbox = await connection.fetchval("select count(*) from outbox")
    evidence.set_aside = await connection.fetchval("select count(*) from outbox_set_aside")


async def _read_runs(address: str) -> dict[str, Run]:
    """Return the newest run of each order, a finished one with its result.

    A shipment that still runs stands there as well, under its workflow's id.
    """
    client = await Client.connect(address)
    newest: dict[str, tuple[Any, Run]] = {}
    async for found in client.list_workflows(_IS_ORDER):
        order_id = found.id.removeprefix(_PREFIX)
        if order_id in newest and newest[order_id][0] > found.start_time:
            continue
        status = found.status.name if found.status else "UNKNOWN"
        result = None
        if status == "COMPLETED":
            result = await client.get_workflow_handle(found.id, run_id=found.run_id).result()
        newest[order_id] = (found.start_time, Run(status, result))
    runs = {order_id: run for order_id, (_, run) in newest.items()}
    async for found in client.list_workflows(f"ExecutionStatus = 'Running' and {_IS_SHIPMENT}"):
        runs[found.id] = Run("RUNNING", None)
    return runs


async def forget_finished(address: str) -> set[str]:
    """Delete finished runs of orders from Temporal, as its retention does; return whose."""
    client = await Client.connect(address)

    async def forget(workflow_id: str, run_id: str) -> str:
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
        )
        return workflow_id.removeprefix(_PREFIX)

    found = client.list_workflows(
        f"ExecutionStatus != 'Running' and {_IS_ORDER}", limit=FORGOTTEN_MOST
    )
    return set(await asyncio.gather(*[forget(run.id, run.run_id) async for run in found]))
