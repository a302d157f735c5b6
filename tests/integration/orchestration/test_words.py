"""What partners say goes into events and into Temporal's UI, whatever it looks like."""

from typing import Any, Final

from domain.errors import Declined, PartnerUnavailable
from domain.model import TEXT_MAX
from orchestration.contract import workflow_id
from tests.unit.orchestration.orders import Orders
from tests.unit.orchestration.partners import Call

WORDS: Final = "Sch\u00e4den\r\n\tan\x00\ud800allem; " * 500
SAID: Final = "Sch\u00e4den an allem; Sch\u00e4den"


async def _says_no(_: Call) -> Any:
    raise Declined(WORDS)


async def _is_in_trouble(_: Call) -> Any:
    raise PartnerUnavailable(WORDS)


async def test_the_reason_of_a_no_is_one_line_of_what_was_said(orders: Orders) -> None:
    orders.script.always["screening.validate"] = _says_no
    await orders.start("A")
    assert await orders.ends("A") == "rejected"
    reason = (await orders.last("A")).data.reason
    assert reason.startswith(SAID)
    assert TEXT_MAX - 2 < len(reason) <= TEXT_MAX


async def test_a_step_in_trouble_goes_on_and_ends_in_time_whatever_the_error_says(
    orders: Orders,
) -> None:
    orders.policy = orders.policy.model_copy(update={"timeout_seconds": 6})
    orders.script.always["warehouse.prepare"] = _is_in_trouble
    await orders.start("A")
    assert await orders.ends("A") == "failed"
    assert await orders.decided_in_time("A")
    await orders.has(workflow_id(orders.id("A")), "child_workflow_execution_completed")
    assert SAID in (await orders.last("A")).data.reason
    assert await orders.payment("A") == "refunded"
