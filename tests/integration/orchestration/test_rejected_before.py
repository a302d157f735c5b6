"""A command that was rejected in a task that was lost stays without effect."""

import asyncpg
import pytest
from temporalio.client import WorkflowFailureError

from domain.commands import RejectOrder
from domain.errors import Rejected
from domain.events import AddressUpdated, CommandRejected
from orchestration.activities.base import Activities, Write
from orchestration.gateways import Faults, simulated
from persistence.write import Change, record
from tests.integration.persistence.stories import ADDRESS, ELSEWHERE, received
from tests.unit.orchestration.orders import Orders


async def test_an_address_is_not_changed_by_a_command_that_has_been_rejected(
    db: asyncpg.Pool, db_url: str
) -> None:
    async with simulated(db_url, Faults.NONE, seed=1) as gateways:
        activities = Activities(db, gateways)
        refused = CommandRejected(command_type="update-address", reason="unknown order")
        moved = AddressUpdated(address=ELSEWHERE, updated_by="Bo")
        await activities.record(Write.of("R-1", "command:c1", refused, "c1"))
        await record(db, received("R-1"))
        with pytest.raises(Rejected):
            await activities.record(Write.of("R-1", "command:c1", moved, "c1"))
        row = await db.fetchrow("select address->>'street' as street, sequence from orders")
        assert row is not None
        assert tuple(row) == (ADDRESS.street, 2)
        await activities.record(Write.of("R-1", "command:c2", moved, "c2"))
        assert await db.fetchval("select address->>'street' from orders") == ELSEWHERE.street


async def test_an_early_cancel_that_has_been_refused_does_not_cancel(orders: Orders) -> None:
    refused = CommandRejected(command_type="cancel", reason="unknown order")
    await record(orders.db, Change(orders.id("A"), "command:c1", refused, "c1"))
    await orders.cancel("A", command_id="c1")
    await orders.start("A")
    assert await orders.ends("A") == "shipped"


async def test_what_has_been_refused_without_a_start_does_not_act_on_the_order_later(
    orders: Orders,
) -> None:
    """A process that was frozen after it saw no outcome of a command delivers it when it wakes."""
    orders.policy = orders.policy.model_copy(update={"review": "manual"})
    order_id = orders.id("A")
    for name in ("cancel", "reject"):
        refused = CommandRejected(command_type=name, reason="unknown order")
        await record(orders.db, Change(order_id, f"command:{name}-1", refused, f"{name}-1"))
    await orders.start("A")
    await orders.reaches("A", "review_requested")
    await orders.cancel("A", command_id="cancel-1")
    await orders.send(RejectOrder(order_id=order_id, reviewed_by="Bo", command_id="reject-1"))
    await orders.approve("A")
    assert await orders.ends("A") == "shipped"


async def test_a_start_under_the_id_of_a_refused_command_has_no_effect_and_the_next_one_has(
    orders: Orders,
) -> None:
    refused = CommandRejected(command_type="cancel", reason="unknown order")
    await record(orders.db, Change(orders.id("A"), "command:c1", refused, "c1"))
    await orders.start("A", command_id="c1")
    with pytest.raises(WorkflowFailureError):
        await orders.ends("A")
    assert await orders.story("A") == ["command_rejected"]
    await orders.start("A", command_id="c2")
    assert await orders.ends("A") == "shipped"
