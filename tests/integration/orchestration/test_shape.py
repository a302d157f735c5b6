"""What a sunny order costs Temporal, and what Temporal's UI shows of one that has trouble."""

import re
from typing import Any, Final

from temporalio.api.sdk.v1 import WorkflowMetadata

from orchestration.contract import workflow_id
from orchestration.temporal_client import query_status
from tests.support.waiting import until
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import raises

TROUBLE: Final = "told to raise"


async def test_a_sunny_order_has_at_most_30_events_and_5_workflow_tasks(orders: Orders) -> None:
    """Sunny: no step took longer than it may, so on a busy machine one of several has to do."""
    sizes: list[tuple[int, int]] = []

    async def small() -> bool:
        name = f"A{len(sizes)}"
        orders.known.clear()
        await orders.start(name)
        assert await orders.ends(name) == "shipped"
        events = [event for told in await orders.histories() for event in told.events]
        tasks = [e for e in events if e.HasField("workflow_task_completed_event_attributes")]
        sizes.append((len(events), len(tasks)))
        return len(events) <= 30 and len(tasks) in (4, 5)

    await until(small)
    print(f"events and workflow tasks: {sizes}")


async def test_a_step_in_trouble_can_be_seen_while_it_runs(orders: Orders) -> None:
    orders.script.always["payments.charge"] = raises
    await orders.start("A")
    await orders.goes_on(workflow_id(orders.id("A")))

    async def told() -> Any:
        status = await query_status(orders.client, orders.id("A"))
        return status if status and status.attempts > 2 and status.last_error else None

    status = await until(told)
    assert (status.state, status.step) == ("validated", "charge")
    assert TROUBLE in status.last_error
    assert status.deadline is not None
    metadata = await orders.handle("A").query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    assert re.fullmatch(rf"charge: \d+ attempts, {TROUBLE}.*", metadata.current_details)
    scheduled = [
        event.user_metadata.summary.data.decode()
        for event in (await orders.handle("A").fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert re.fullmatch(rf'"charge, after: {TROUBLE}.*"', scheduled[0])
    orders.script.always.pop("payments.charge")
    assert await orders.ends("A") == "shipped"


async def test_each_step_of_a_sunny_order_has_its_name_in_the_history(orders: Orders) -> None:
    await orders.start("A")
    assert await orders.ends("A") == "shipped"
    summaries = [
        event.user_metadata.summary.data.decode().strip('"')
        for told in await orders.histories()
        for event in told.events
        if event.HasField("marker_recorded_event_attributes")
        or event.HasField("activity_task_scheduled_event_attributes")
    ]
    for step in ("open", "receive", "validate", "charge", "confirm", "prepare", "dispatch"):
        assert any(summary.partition(",")[0] == step for summary in summaries), summaries
