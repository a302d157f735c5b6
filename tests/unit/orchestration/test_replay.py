"""Recorded histories still replay: a change that breaks orders under way is found here.

``RECORD_HISTORIES=1`` writes the histories anew from the current code; do that only for a change
that is guarded as docs/workflows.md says, and keep the old files beside the new ones.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError, WorkflowHistory

from domain.events import Failed, Received
from orchestration.contract import RECONCILE_WORKFLOW, workflow_id
from orchestration.workflows.order import ENDS_REVIEW, HEARS_FIRST, KEEPS_REVIEW
from orchestration.workflows.order_commands import ASKS_WHAT_WAS_REFUSED, FORGETS_REFUSED
from orchestration.workflows.order_shipping import MOVES_AT_ONCE
from persistence.write import Change, record
from tests.support.waiting import until
from tests.unit.orchestration.orders import HOME, NOWHERE, REPLAYER, Orders
from tests.unit.orchestration.partners import hangs_after_effect, raises

HISTORIES = Path(__file__).parent / "histories"
DEAR = 90_000


async def _ships(orders: Orders) -> None:
    await orders.start("A")


async def _approved(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.move("A")
    await orders.approve("A")


async def _rejected(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.reject("A")


async def _review_timed_out(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)


async def _review_ran_out(orders: Orders) -> None:
    await orders.send(await orders.was_asked("A", timedelta(days=3), amount=DEAR))


async def _cancelled(orders: Orders) -> None:
    await orders.cancel("A")
    await orders.start("A")


async def _declined(orders: Orders) -> None:
    await orders.start("A", amount=6666)


async def _late_charge(orders: Orders) -> None:
    orders.hurry()
    orders.script.always["payments.charge"] = hangs_after_effect
    await orders.start("A")


async def _dispatch_refused(orders: Orders) -> None:
    orders.hurry()
    await orders.start("A", address=NOWHERE)


async def _moved_in_the_pause(orders: Orders) -> None:
    await orders.start("A", address=NOWHERE)

    async def thrice() -> bool:
        return (await orders.story("A")).count("dispatch_failed") >= 3

    await until(thrice, every=0.02)
    await orders.move("A")


async def _moved_while_packing(orders: Orders) -> None:
    await _packing(orders)
    await orders.move("A")
    await orders.reaches("A", "address_updated")
    orders.script.always.pop("warehouse.prepare")


async def _cancelled_while_packing(orders: Orders) -> None:
    await _packing(orders)
    await orders.cancel("A")


async def _packing(orders: Orders) -> None:
    orders.script.always["warehouse.prepare"] = raises
    await orders.start("A")
    await orders.goes_on(orders.shipment("A"))


async def _shipping_cut_off(orders: Orders) -> None:
    orders.hurry()
    orders.policy = orders.policy.model_copy(update={"shipping_task_queue": "nobody-serves-this"})
    await orders.start("A")


async def _retried(orders: Orders) -> None:
    for operation in ("screening.validate", "payments.charge", "carrier.dispatch"):
        orders.script.next[operation] = [raises] * 30
    await orders.start("A")


async def _cancelled_while_charging(orders: Orders) -> None:
    orders.script.always["payments.charge"] = hangs_after_effect
    await orders.start("A")
    await orders.goes_on(workflow_id(orders.id("A")))
    await orders.cancel("A")


async def _cancelled_in_review(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.start("A")
    await orders.cancel("A")


async def _too_late(orders: Orders) -> None:
    orders.script.always["carrier.dispatch"] = hangs_after_effect
    await orders.start("A")
    await orders.goes_on(orders.shipment("A"))
    await orders.move("A")
    await orders.cancel("A")
    await orders.has(orders.shipment("A"), "workflow_execution_signaled")
    orders.script.always.clear()


async def _never_started(orders: Orders) -> None:
    await orders.cancel("A")
    await orders.move("A")


async def _started_again_later(orders: Orders) -> None:
    """Temporal has forgotten the order; PostgreSQL has not."""
    received = Received(address=HOME, deadline=datetime(2020, 1, 1, tzinfo=UTC))
    await record(orders.db, Change(orders.id("A"), "received", received, "one"))
    await record(orders.db, Change(orders.id("A"), "ended", Failed(reason="long ago")))
    await orders.start("A")


async def _reconciled(orders: Orders) -> None:
    await orders.start("A", amount=DEAR)
    await orders.reaches("A", "review_requested")
    await orders.handle("A").terminate("a test")
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await orders.db.execute("update orders set decide_by = $1, deadline = $1", past)
    await orders.client.execute_workflow(
        RECONCILE_WORKFLOW,
        orders.policy,
        id=f"reconcile-{orders.tag}",
        task_queue=orders.task_queue,
    )


async def _partner_gone(orders: Orders) -> None:
    orders.hurry()
    orders.script.always["sales.receive"] = raises
    await orders.start("A")


async def _bank_gone(orders: Orders) -> None:
    orders.hurry()
    orders.script.always["payments.charge"] = hangs_after_effect
    for operation in ("payments.find", "payments.void", "payments.refund"):
        orders.script.always[operation] = raises
    await orders.start("A")
    await orders.reaches("A", "failed")
    orders.script.always.clear()


PATHS: dict[str, Callable[[Orders], Awaitable[None]]] = {
    path.__name__.strip("_"): path
    for path in (
        _ships,
        _approved,
        _rejected,
        _review_timed_out,
        _review_ran_out,
        _cancelled,
        _declined,
        _late_charge,
        _dispatch_refused,
        _moved_in_the_pause,
        _moved_while_packing,
        _cancelled_while_packing,
        _shipping_cut_off,
        _retried,
        _cancelled_while_charging,
        _cancelled_in_review,
        _too_late,
        _never_started,
        _started_again_later,
        _reconciled,
        _partner_gone,
        _bank_gone,
    )
}


@pytest.mark.skipif("RECORD_HISTORIES" not in os.environ, reason="writes the histories anew")
@pytest.mark.parametrize("path", PATHS)
async def test_record(orders: Orders, path: str) -> None:
    orders.tag = path
    await PATHS[path](orders)
    with suppress(WorkflowFailureError):  # one that never sees a start ends failed
        await orders.ends("A")
    for number, history in enumerate(await orders.histories()):
        _write(HISTORIES / f"{path}-{number}.json", history)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_has_been_recorded(path: str) -> None:
    assert (HISTORIES / f"{path}-0.json").exists()


@pytest.mark.parametrize("file", sorted(HISTORIES.glob("*.json")), ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    recorded = await asyncio.to_thread(file.read_text)
    await REPLAYER.replay_workflow(WorkflowHistory.from_json(_workflow_id(file), recorded))


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        (MOVES_AT_ONCE, "moved_in_the_pause_before"),
        (FORGETS_REFUSED, "cancelled_before"),
        (ASKS_WHAT_WAS_REFUSED, "rejected_before"),
        (KEEPS_REVIEW, "review_timed_out_before"),
        (KEEPS_REVIEW, "partner_gone_before"),
        (ENDS_REVIEW, "review_ran_out_before"),
        (HEARS_FIRST, "approved_unheard_before"),
    ],
)
async def test_the_guard_of_a_change_is_needed(
    monkeypatch: pytest.MonkeyPatch, patch: str, path: str
) -> None:
    """Without it a step gets what another one had returned, or Temporal sees that they differ."""
    guard = workflow.patched
    monkeypatch.setattr(workflow, "patched", lambda asked: asked == patch or guard(asked))
    with pytest.raises((workflow.NondeterminismError, RuntimeError)):
        await test_a_recorded_history_replays(HISTORIES / f"{path}-0.json")


def _write(file: Path, history: WorkflowHistory) -> None:
    """Write a history without stack traces and identities, which name places on this machine."""
    text = re.sub(r'"(stackTrace|identity)": "(\\.|[^"\\])*"', r'"\1": ""', history.to_json())
    file.write_text(text)


def _workflow_id(file: Path) -> str:
    path, _, number = file.stem.rpartition("-")
    return f"order-A-{path}" if number == "0" else f"shipping-A-{path}-{number}"
