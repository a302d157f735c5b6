"""What each command comes to in each state: the whole table, on the real workflow.

An order is held in a state, the command delivered as ingest does it, and the order let go. On the
real server: the one that skips time does not tell a worker that an end was refused because a
command came meanwhile, so that a command in the last task had no outcome there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from domain.commands import (
    ApproveOrder,
    CancelOrder,
    Command,
    RejectOrder,
    StartOrder,
    UpdateAddress,
)
from domain.states import TERMINAL, State
from ingest.handle import CommandHandler
from orchestration.contract import CommandMessage, workflow_id
from persistence.queries import get_order
from tests.integration.persistence.stories import assert_row_is_fold
from tests.support.waiting import until
from tests.unit.orchestration.orders import ELSEWHERE, HOME, Orders
from tests.unit.orchestration.partners import Call, Gate, breaks, declines, hangs, works

DEAR: Final = 90_000
DECLINED: Final = 6666

BEGUN: Final = "received validated"
ASKED: Final = f"{BEGUN} review_requested"
PAID: Final = f"{BEGUN} payment_charged"
PAID_AFTER_REVIEW: Final = f"{ASKED} approved payment_charged"
DELIVERED: Final = "shipment_prepared dispatched shipped"
AGAIN: Final = f"{PAID} shipment_prepared dispatch_failed"

NO: Final = "command_rejected"

TABLE: Final[dict[str, dict[str, tuple[str, str]]]] = {
    # state: {command: (its own event, all other events of the order)}
    "unknown": {
        "start": ("received", f"validated payment_charged {DELIVERED}"),
        **dict.fromkeys(("cancel", "update-address", "approve", "reject"), (NO, "")),
    },
    "received": {
        "cancel": ("cancelled", "received"),
        "update-address": ("address_updated", f"{PAID} {DELIVERED}"),
        **dict.fromkeys(("start", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")),
    },
    "received, to be reviewed": {
        "cancel": ("cancelled", "received"),
        "approve": ("approved", f"{ASKED} payment_charged {DELIVERED}"),
        "reject": ("rejected", ASKED),
    },
    "validated": {
        "cancel": ("cancelled", BEGUN),
        "update-address": ("address_updated", f"{PAID} {DELIVERED}"),
        **dict.fromkeys(("start", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")),
    },
    "in_review": {
        "start": (NO, f"{PAID_AFTER_REVIEW} {DELIVERED}"),
        "cancel": ("cancelled", ASKED),
        "update-address": ("address_updated", f"{PAID_AFTER_REVIEW} {DELIVERED}"),
        "approve": ("approved", f"{ASKED} payment_charged {DELIVERED}"),
        "reject": ("rejected", ASKED),
    },
    "approved": {
        "cancel": ("cancelled", f"{ASKED} approved"),
        "update-address": ("address_updated", f"{PAID_AFTER_REVIEW} {DELIVERED}"),
        **dict.fromkeys(("start", "approve", "reject"), (NO, f"{PAID_AFTER_REVIEW} {DELIVERED}")),
    },
    "charged": {
        "cancel": ("cancelled", f"{PAID} payment_refunded"),
        "update-address": ("address_updated", f"{PAID} {DELIVERED}"),
        **dict.fromkeys(("start", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")),
    },
    "shipment_prepared": dict.fromkeys(  # and the carrier asked
        ("start", "cancel", "update-address", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")
    ),
    "dispatch_failed": {
        "cancel": ("cancelled", f"{AGAIN} payment_refunded"),
        "update-address": ("address_updated", f"{AGAIN} {DELIVERED}"),
        **dict.fromkeys(("start", "approve", "reject"), (NO, f"{AGAIN} {DELIVERED}")),
    },
    "dispatched": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")
    ),
    "refunded": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"),
        (NO, f"{PAID} payment_refunded cancelled"),
    ),
    "shipped": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"), (NO, f"{PAID} {DELIVERED}")
    ),
    "rejected": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"), (NO, f"{BEGUN} rejected")
    ),
    "cancelled": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"), (NO, f"{ASKED} cancelled")
    ),
    "failed": dict.fromkeys(
        ("start", "cancel", "update-address", "approve", "reject"),
        (NO, "received failed"),
    ),
}

HELD_AT: Final = {
    "received": "sales.receive",
    "received, to be reviewed": "screening.validate",
    "validated": "payments.charge",
    "approved": "payments.charge",
    "charged": "warehouse.prepare",
    "shipment_prepared": "carrier.dispatch",
    "dispatch_failed": "warehouse.prepare",
    "refunded": "warehouse.prepare",
}
"""Which call of a partner hangs while the order is in the state."""

HELD_BEFORE: Final = {"dispatched": "shipped", "refunded": "cancelled"}
"""Which event cannot be written."""

STOPPED: Final = {"charged": "-1", "dispatch_failed": "-2"}
"""How the key of the shipment ends that a cancel or another address stops."""


@pytest.mark.parametrize("state", TABLE)
async def test_a_command_has_its_outcome_in_this_state(orders: Orders, state: str) -> None:
    async with _held(orders, state):
        await asyncio.gather(*(_begin(orders, state, name) for name in TABLE[state]))
        await asyncio.gather(*(_deliver(orders, name) for name in TABLE[state]))
        if state == "in_review" or state in HELD_AT.keys() - HELD_BEFORE.keys():
            await asyncio.gather(*(orders.has_heard(name) for name in TABLE[state]))
    if state == "in_review":
        await asyncio.gather(orders.approve("start"), orders.approve("update-address"))
    await asyncio.gather(*(_decided(orders, name) for name in TABLE[state]))
    assert {name: await _became(orders, name) for name in TABLE[state]} == TABLE[state]
    for name in TABLE[state]:
        await assert_row_is_fold(orders.db, orders.id(name))
        assert await orders.payment(name) != "charged" or "shipped" in await orders.story(name)


def test_every_state_is_in_the_table_and_every_command() -> None:
    assert set(State) <= set(TABLE)
    assert all(len(TABLE[state]) == 5 for state in State)


@asynccontextmanager
async def _held(orders: Orders, state: str) -> AsyncIterator[None]:
    """Have all orders stop in the state until the block ends."""
    gate = Gate()

    async def until_stopped(call: Call) -> Any:
        """Hang where a stop is to come: a prepare let go meanwhile may still be written."""
        stops = call.key.startswith(("cancel-", "update-address-"))
        if stops and call.key.endswith(STOPPED[state]):
            return await hangs(call)
        return await (gate if call.key.endswith(STOPPED[state]) else works)(call)

    async def declines_first(call: Call) -> Any:
        return await (declines if call.key.endswith("-1") else works)(call)

    if operation := HELD_AT.get(state):
        orders.script.always[operation] = gate
    if state in STOPPED:
        orders.script.always["warehouse.prepare"] = until_stopped
    if state == "dispatch_failed":
        orders.script.always["carrier.dispatch"] = declines_first
    if state == "failed":
        orders.script.always["screening.validate"] = breaks
    if state == "unknown":
        orders.policy = orders.policy.model_copy(update={"early_command_ttl_seconds": 1})
    async with orders.db.acquire() as held:
        if event := HELD_BEFORE.get(state):
            await held.execute(_HOLD_BEFORE.format(event=event))
            await held.execute("select pg_advisory_lock(1)")
        try:
            yield
        finally:
            gate.opened.set()
            await held.execute("select pg_advisory_unlock_all()")


_HOLD_BEFORE: Final = """
create function hold() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock(1); return new; end $$;
create trigger hold before insert on events
    for each row when (new.type = 'order.{event}') execute function hold();
"""


async def _begin(orders: Orders, state: str, name: str) -> None:
    """Start an order and wait until it is where the command is to find it."""
    if state == "unknown":
        return
    reviewed = "review" in state or state in ("approved", "cancelled")
    amount = DEAR if reviewed else DECLINED if state == "rejected" else None
    await orders.start(name, amount=amount)
    if state in ("approved", "cancelled"):
        await orders.reaches(name, "review_requested")
    if state == "approved":
        await orders.approve(name)
    if state == "refunded":
        await orders.goes_on(orders.shipment(name))
    if state in ("cancelled", "refunded"):
        await orders.cancel(name)
    await _stands(orders, name, state)
    if state in TERMINAL:
        await orders.handle(name).result()  # its row ends a moment before its workflow does
    elif state in ("charged", "shipment_prepared"):
        await orders.goes_on(orders.shipment(name))
    elif state == "dispatch_failed":
        await orders.goes_on(orders.shipment(name, 2))
    elif state in HELD_AT and state not in HELD_BEFORE:
        await orders.goes_on(workflow_id(orders.id(name)))


async def _stands(orders: Orders, name: str, state: str) -> None:
    async def there() -> bool:
        order = await get_order(orders.db, orders.id(name))
        return order is not None and order.state == state.partition(",")[0]

    try:
        await until(there)
    except AssertionError as error:
        raise AssertionError(f"{name} is not {state}: {await orders.story(name)}") from error


async def _deliver(orders: Orders, name: str) -> None:
    handler = CommandHandler(orders.client, orders.db, orders.policy, orders.task_queue)
    who: dict[str, Any] = {"order_id": orders.id(name), "command_id": "tested"}
    commands: dict[str, Command] = {
        "start": StartOrder(**who, initial_address=HOME),
        "cancel": CancelOrder(**who, reason="no need", cancelled_by="me"),
        "update-address": UpdateAddress(**who, new_address=ELSEWHERE, updated_by="me"),
        "approve": ApproveOrder(**who, reviewed_by="boss"),
        "reject": RejectOrder(**who, reviewed_by="boss"),
    }
    orders.known.add(orders.id(name))
    await handler.handle(CommandMessage(command=commands[name]))


async def _decided(orders: Orders, name: str) -> None:
    async def so() -> bool:
        order = await get_order(orders.db, orders.id(name))
        answered = any(e.command_id == "tested" for e in await orders.events(name))
        return answered and (order is None or order.state in TERMINAL)

    await until(so)


async def _became(orders: Orders, name: str) -> tuple[str, str]:
    events = await orders.events(name)
    (own,) = [e.type for e in events if e.command_id == "tested"]
    others = [e.type.removeprefix("order.") for e in events if e.command_id != "tested"]
    return own.removeprefix("order."), " ".join(others)
