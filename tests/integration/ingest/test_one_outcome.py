"""Each command has one outcome, whatever is repeated, early, late, or forgotten by Temporal."""

import uuid
from datetime import timedelta

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError

from orchestration.contract import workflow_id
from orchestration.temporal_client import connect
from persistence.queries import get_order, history
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import (
    Commands,
    approve,
    cancel,
    running,
    start,
    update_address,
)
from tests.support.waiting import until


@pytest.fixture
async def temporal(make_settings: MakeSettings) -> Client:
    settings = make_settings()
    return await connect(
        settings.temporal_host, settings.temporal_port, settings.temporal_namespace
    )


@pytest.fixture
def order_id() -> str:
    """An order that no other test knows: they share one Temporal."""
    return f"O-{uuid.uuid4().hex[:12]}"


async def _forget(client: Client, order_id: str) -> None:
    """Do what Temporal does to a closed run when its retention is over."""
    execution = WorkflowExecution(workflow_id=workflow_id(order_id))
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    )

    async def gone() -> bool:
        try:
            await client.get_workflow_handle(execution.workflow_id).describe()
        except RPCError:
            return True
        return False

    await until(gone)


async def _closed(client: Client, order_id: str) -> None:
    handle = client.get_workflow_handle(workflow_id(order_id))
    await handle.result(rpc_timeout=timedelta(seconds=60))


async def test_repeating_a_command_has_no_second_effect_whatever_became_of_its_order(
    commands: Commands, make_settings: MakeSettings, order_id: str, temporal: Client
) -> None:
    begin, stop = start(order_id, command_id="begin"), cancel(order_id, command_id="stop")
    async with running(make_settings(review_policy="manual"), "ingest", "worker"):
        await commands.send(begin, begin)
        await commands.story(order_id, "order.review_requested")
        await commands.send(stop, stop, begin, stop)
        await commands.all_committed()
        await commands.story(order_id, "order.cancelled")
        await _closed(temporal, order_id)
        at_the_end = await history(commands.db, order_id)

        await commands.send(begin, stop)
        await commands.all_committed()
        assert await history(commands.db, order_id) == at_the_end, "after the end"

        await _forget(temporal, order_id)
        await commands.send(begin, stop)
        await commands.all_committed()
        await _closed(temporal, order_id)
        assert await history(commands.db, order_id) == at_the_end, "forgotten by Temporal"


async def test_a_second_start_is_rejected_as_already_started(
    commands: Commands, make_settings: MakeSettings, order_id: str, temporal: Client
) -> None:
    async with running(make_settings(review_policy="manual"), "ingest", "worker"):
        await commands.send(start(order_id))
        await commands.story(order_id, "order.review_requested")
        (again,) = await commands.send(start(order_id))
        running_still = await commands.outcome(again)
        assert running_still.recorded.type == "order.command_rejected"
        assert "already" in running_still.data["reason"]

        await commands.send(approve(order_id))
        await commands.story(order_id, "order.shipped")
        await _closed(temporal, order_id)
        (again,) = await commands.send(start(order_id))
        ended = await commands.outcome(again)
        assert ended.recorded.type == "order.command_rejected"
        assert "already" in ended.data["reason"]
        assert "shipped" in ended.data["reason"]

        await _forget(temporal, order_id)
        (again,) = await commands.send(start(order_id))
        forgotten = await commands.outcome(again)
        assert forgotten.recorded.type == "order.command_rejected"
        assert "already" in forgotten.data["reason"]


@pytest.mark.parametrize("forgotten", [False, True])
async def test_commands_after_the_end_are_rejected_with_the_final_state(
    commands: Commands,
    make_settings: MakeSettings,
    order_id: str,
    temporal: Client,
    forgotten: bool,
) -> None:
    async with running(make_settings(early_command_ttl_seconds=1), "ingest", "worker"):
        await commands.send(start(order_id))
        await commands.story(order_id, "order.shipped")
        await _closed(temporal, order_id)
        if forgotten:
            await _forget(temporal, order_id)
        late = await commands.send(
            cancel(order_id), update_address(order_id, "54321"), approve(order_id)
        )
        for command_id in late:
            outcome = await commands.outcome(command_id)
            assert outcome.recorded.type == "order.command_rejected"
            assert "shipped" in outcome.data["reason"]


async def test_commands_before_the_start_take_effect_in_their_order_when_it_comes(
    commands: Commands, make_settings: MakeSettings, order_id: str
) -> None:
    async with running(make_settings(), "ingest", "worker"):
        early = await commands.send(
            update_address(order_id, "11111"), update_address(order_id, "22222")
        )
        await commands.all_committed()
        assert await history(commands.db, order_id) == []
        await commands.send(start(order_id))
        types = [(await commands.outcome(command_id)).recorded.type for command_id in early]
        assert types == ["order.address_updated", "order.address_updated"]
        order = await get_order(commands.db, order_id)
        assert order is not None
        assert order.address["zip"] == "22222"
        await commands.story(order_id, "order.shipped")


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_a_decision_before_the_start_counts_when_the_review_comes(
    commands: Commands, make_settings: MakeSettings, order_id: str, verdict: str
) -> None:
    async with running(make_settings(review_policy="manual"), "ingest", "worker"):
        (early,) = await commands.send({**approve(order_id), "type": verdict})
        await commands.send(start(order_id))
        outcome = (await commands.outcome(early)).recorded.type
        assert outcome == {"approve": "order.approved", "reject": "order.rejected"}[verdict]


async def test_a_decision_before_the_start_is_refused_where_nobody_asks_for_one(
    commands: Commands, make_settings: MakeSettings, order_id: str
) -> None:
    async with running(make_settings(review_policy="auto"), "ingest", "worker"):
        (early,) = await commands.send(approve(order_id))
        await commands.send(start(order_id))
        outcome = (await commands.outcome(early)).recorded
        assert outcome.type == "order.command_rejected"
        await commands.story(order_id, "order.shipped")


async def test_a_cancel_before_the_start_cancels_the_order(
    commands: Commands, make_settings: MakeSettings, order_id: str
) -> None:
    async with running(make_settings(), "ingest", "worker"):
        (early,) = await commands.send(cancel(order_id))
        await commands.all_committed()
        await commands.send(start(order_id))
        await commands.story(order_id, "order.cancelled")
        assert (await commands.outcome(early)).recorded.type == "order.cancelled"


async def test_without_a_start_they_are_rejected_and_a_later_start_still_works(
    commands: Commands, make_settings: MakeSettings, order_id: str
) -> None:
    async with running(make_settings(early_command_ttl_seconds=1), "ingest", "worker"):
        early = await commands.send(
            cancel(order_id), approve(order_id), update_address(order_id, "1"),
            {**approve(order_id), "type": "reject"},
        )  # fmt: skip
        for command_id in early:
            outcome = await commands.outcome(command_id)
            assert outcome.recorded.type == "order.command_rejected"
            assert "unknown order" in outcome.data["reason"]
        assert await get_order(commands.db, order_id) is None
        await commands.send(start(order_id))
        await commands.story(order_id, "order.shipped")


async def test_a_command_that_was_rejected_without_a_start_does_not_act_when_repeated_after_it(
    commands: Commands, make_settings: MakeSettings, order_id: str
) -> None:
    settings = make_settings(early_command_ttl_seconds=1, review_policy="manual")
    early = [
        cancel(order_id, command_id="stop"),
        approve(order_id, command_id="yes"),
        update_address(order_id, "99999", command_id="there"),
    ]
    async with running(settings, "ingest", "worker"):
        for command_id in await commands.send(*early):
            outcome = await commands.outcome(command_id)
            assert outcome.recorded.type == "order.command_rejected"
        await commands.send(start(order_id))
        asked = await commands.story(order_id, "order.review_requested")
        await commands.send(*early)
        (last,) = await commands.send(update_address(order_id, "11111"))
        assert (await commands.outcome(last)).recorded.type == "order.address_updated"
        assert await commands.story(order_id, "order.address_updated") == [
            *asked,
            "order.address_updated",
        ]
