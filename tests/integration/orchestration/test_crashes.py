"""The worker is killed with SIGKILL at every point of the story and started again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.orchestration.conftest import Start
from tests.support.waiting import until
from tests.unit.orchestration.orders import NOWHERE, Orders

SUNNY = [
    "written received",
    "before sales.receive",
    "after sales.receive",
    "before screening.validate",
    "after screening.validate",
    "written validated",
    "before payments.charge",
    "after payments.charge",
    "written charged",
    "before warehouse.prepare",
    "after warehouse.prepare",
    "written prepare",
    "before carrier.dispatch",
    "after carrier.dispatch",
    "written dispatched",
    "written shipped",
    "after sales.confirm_shipped",
]
REVIEW = ["written review-requested", "written approved"]
REFUND = ["before payments.refund", "after payments.refund", "written refunded", "written ended"]


@pytest.mark.parametrize("point", SUNNY)
async def test_an_order_ships_once_though_its_worker_dies(
    unserved: Orders, worker: Start, tmp_path: Path, point: str
) -> None:
    async with _dying_at(point, worker, tmp_path):
        await unserved.start("A")
    assert await unserved.ends("A") == "shipped"
    assert await unserved.books("A") == ["charge", "prepare", "dispatch", "confirm_shipped"]
    assert await unserved.payment("A") == "charged"
    story = await unserved.story("A")
    assert len(story) == len(set(story)) == 6
    assert await unserved.decided_in_time("A")


@pytest.mark.parametrize("point", REFUND)
async def test_money_is_given_back_once_though_the_worker_dies(
    unserved: Orders, worker: Start, tmp_path: Path, point: str
) -> None:
    # Shipping is tried for 0.7 of this; the others' 120 s would be 84 s of waiting.
    unserved.policy = unserved.policy.model_copy(update={"timeout_seconds": 40})
    async with _dying_at(point, worker, tmp_path):
        await unserved.start("A", address=NOWHERE)
    assert await unserved.ends("A") == "failed"
    books = await unserved.books("A")
    assert (books.count("charge"), books.count("refund"), books.count("dispatch")) == (1, 1, 0)
    assert await unserved.payment("A") == "refunded"


@pytest.mark.parametrize("point", ["after payments.charge", "after carrier.dispatch"])
async def test_a_cancel_that_comes_while_the_worker_is_dead_finds_the_truth(
    unserved: Orders, worker: Start, tmp_path: Path, point: str
) -> None:
    async def cancel() -> None:
        await unserved.cancel("A", command_id="stop")

    async with _dying_at(point, worker, tmp_path, meanwhile=cancel):
        await unserved.start("A")
    end, books = await unserved.ends("A"), await unserved.books("A")
    if point == "after payments.charge":
        assert (end, await unserved.payment("A")) == ("cancelled", "refunded")
        assert books == ["charge", "refund"]
    else:
        assert (end, await unserved.payment("A")) == ("shipped", "charged")
        assert (books.count("dispatch"), books.count("refund")) == (1, 0)
        assert "too late" in (await unserved.rejections("A"))[0]


@pytest.mark.parametrize("together", [True, False])
async def test_an_approval_before_the_start_counts_though_the_worker_dies_having_written_it(
    unserved: Orders, worker: Start, tmp_path: Path, together: bool
) -> None:
    """``together``: in one task, so that the approval is heard anew, too."""
    impatient = {"review": "manual", "review_timeout_seconds": 20}
    unserved.policy = unserved.policy.model_copy(update=impatient)
    if together:
        await unserved.approve("A")
        await unserved.start("A")
    async with _dying_at("written approved", worker, tmp_path):
        if not together:
            await unserved.approve("A")
            await unserved.has_heard("A")
            await unserved.start("A")
    assert await unserved.ends("A") == "shipped"
    assert await unserved.rejections("A") == []


@pytest.mark.parametrize("kept", ["sales.receive", "screening.validate"])
async def test_a_review_asked_for_in_a_lost_task_goes_on_though_the_order_was_opened_before(
    unserved: Orders, worker: Start, tmp_path: Path, kept: str
) -> None:
    """``kept``: the step that goes on as a regular activity, so that history has all up to it."""
    unserved.policy = unserved.policy.model_copy(update={"timeout_seconds": 20, "review": "manual"})
    (tmp_path / f"fail {kept}").touch()

    async def wait() -> None:
        await _time_is_up(unserved)
        await unserved.approve("A")

    async with _dying_at("written review-requested", worker, tmp_path, meanwhile=wait):
        await unserved.start("A")
    assert await unserved.ends("A") == "shipped"
    asked, approved = (await unserved.events("A"))[2:4]
    assert (asked.type, approved.type) == ("order.review_requested", "order.approved")
    assert approved.data.deadline > (await unserved.events("A"))[0].data.deadline + (
        approved.at - asked.at - timedelta(seconds=1)
    )
    assert await unserved.rejections("A") == []
    await unserved.replay()


async def test_an_order_whose_step_was_cut_off_says_what_the_step_had_failed_by(
    unserved: Orders, worker: Start, tmp_path: Path
) -> None:
    """Not that Temporal heard nothing more of it, which says nothing about the partner."""
    unserved.hurry()
    (tmp_path / "fail sales.receive").touch()

    async def wait() -> None:
        await _time_is_up(unserved)

    async with _dying_at("after sales.receive", worker, tmp_path, meanwhile=wait):
        await unserved.start("A")
    assert await unserved.ends("A") == "failed"
    assert (await unserved.last("A")).data.reason == "receive: told to fail"


async def _time_is_up(orders: Orders) -> None:
    """Wait until all of an order's time is over."""

    async def over() -> bool:
        received = (await orders.events("A"))[0]
        return bool(datetime.now(UTC) > received.data.deadline)

    await until(over)


@asynccontextmanager
async def _dying_at(
    point: str,
    start: Start,
    directory: Path,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[None]:
    """Run a worker while something is begun, see it die at the point, and start the next."""
    (directory / point).touch()
    first = start()
    yield
    died = await asyncio.to_thread(first.wait, 120)
    assert died == -signal.SIGKILL
    if meanwhile:
        await meanwhile()
    start()


async def test_the_worker_ends_in_good_order_while_orders_run(
    unserved: Orders, worker: Start
) -> None:
    first = worker()
    for n in range(20):
        await unserved.start(f"B{n}")
    await unserved.reaches("B0", "received")
    first.terminate()
    assert await asyncio.to_thread(first.wait, 60) == 0
    worker()

    async def shipped() -> bool:
        query = "select count(*) from orders where state = 'shipped'"
        return bool(await unserved.db.fetchval(query) == 20)

    await until(shipped, patience=120)
